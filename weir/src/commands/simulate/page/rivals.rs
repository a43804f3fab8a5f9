//! Rivals side by side: p99 and error ratio, each on a logarithmic axis.

use super::axis::{Axis, label};
use super::{Rival, Row, add};

const WIDTH: u32 = 960;
const ROW: u32 = 21;
const TOP: u32 = 26;
const BOTTOM: u32 = 24;

/// Where the two plots stand, from left to right.
const P99: (f64, f64) = (262.0, 545.0);
const ERRORS: (f64, f64) = (640.0, 905.0);

/// The plot.
pub(super) fn plot(rows: &[Row]) -> String {
    let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
    let bottom = TOP + count.saturating_mul(ROW);
    let height = bottom + BOTTOM;
    let mut svg = format!(
        "<div class=\"scroll\"><svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" \
         aria-label=\"{}\">",
        said(rows)
    );
    let p99 = Axis::log(rows.iter().map(|row| row.p99_ms), P99);
    let errors = Axis::log(rows.iter().map(|row| row.error_ratio * 100.0), ERRORS);
    panel(&mut svg, "p99 ms", &p99, (P99, bottom));
    panel(&mut svg, "errors %", &errors, (ERRORS, bottom));
    for (row, index) in rows.iter().zip(0..) {
        let y = TOP + ROW * index + ROW / 2;
        let class = if row.rival == Rival::Weir.name() { "weir" } else { "other" };
        let name = row.rival;
        add(
            &mut svg,
            format_args!(
                "<text class=\"name {class}\" x=\"244\" y=\"{}\" text-anchor=\"end\">{name}</text>",
                y + 4
            ),
        );
        let text = if row.p99_ms > 0.0 { format!("{:.0}", row.p99_ms) } else { String::new() };
        dot(&mut svg, (&p99, row.p99_ms), (class, y), &text);
        let percent = row.error_ratio * 100.0;
        dot(&mut svg, (&errors, percent), (class, y), &short(percent));
    }
    svg + "</svg></div>"
}

fn panel(svg: &mut String, title: &str, axis: &Axis, ((left, right), bottom): ((f64, f64), u32)) {
    add(
        svg,
        format_args!(
            "<text class=\"title\" x=\"{left}\" y=\"16\">{title}</text>\
             <rect class=\"ground\" x=\"{left}\" y=\"{TOP}\" width=\"{}\" height=\"{}\"/>",
            right - left,
            bottom - TOP
        ),
    );
    for tick in axis.ticks() {
        let x = axis.place(tick);
        add(
            svg,
            format_args!(
                "<line class=\"rule\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\"/>\
                 <text class=\"tick\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                bottom + 16,
                label(tick)
            ),
        );
    }
}

/// A value as a dot with its number; nothing at all is an empty one at the axis' end.
fn dot(svg: &mut String, (axis, value): (&Axis, f64), (class, y): (&str, u32), text: &str) {
    let x = axis.place(value);
    let none = if value > 0.0 { "" } else { " none" };
    add(
        svg,
        format_args!(
            "<circle class=\"dot {class}{none}\" cx=\"{x:.1}\" cy=\"{y}\" r=\"5\"/>\
             <text class=\"value {class}\" x=\"{:.1}\" y=\"{}\">{text}</text>",
            x + 10.0,
            y + 4
        ),
    );
}

/// A percentage in few digits.
fn short(percent: f64) -> String {
    match percent {
        percent if percent <= 0.0 => "0".to_owned(),
        percent if percent < 1.0 => format!("{percent:.3}"),
        percent => format!("{percent:.1}"),
    }
}

/// The plot in words: who is best, and Weir.
fn said(rows: &[Row]) -> String {
    let weir = rows.iter().find(|row| row.rival == Rival::Weir.name());
    let weir = weir.map(|row| {
        format!("; weir: p99 {:.0} ms, errors {} %", row.p99_ms, short(row.error_ratio * 100.0))
    });
    let count = rows.len();
    format!("p99 and error ratio of {count} rivals{}; numbers below", weir.unwrap_or_default())
}
