//! One run second by second: Weir beside what it stands above, and what Weir decided.

use weir_simulator::trace::{Second, Trace};

use super::super::story::{PEER, Step, Story};
use super::axis::{Axis, label};
use super::{Rival, add};

const WIDTH: u32 = 960;
/// Left and right end of the time axis.
pub(in crate::commands) const TIME: (f64, f64) = (64.0, 940.0);
pub(in crate::commands) const TOP: f64 = 8.0;

/// A row of the table is so many seconds.
const SPAN: usize = 5;

/// So many endpoints whose share strays most are coloured.
const COLOURS: usize = 8;

/// A share within this part of an equal one is not told apart by colour.
const STRAY_MIN: f64 = 0.25;

/// So many endpoints that were out have a line of their own; rarely are there more.
const LINES_MAX: usize = 20;

/// The plots of a run and their numbers.
pub(super) fn plots(story: &Story, counted: (f64, f64)) -> String {
    let length = story.weir.seconds.len().max(story.peer.seconds.len());
    let time = Axis::exact((0.0, length.max(1) as f64), TIME);
    let (weir, peer) = (Rival::Weir.name(), PEER.name());
    let mut html = format!(
        "<h3>Second by second</h3><p class=\"soft\">Requests by the second in which they were \
         sent, first seed. Between {} s and {} s they count. <span class=\"key weir\"></span> {weir} \
         <span class=\"key other\"></span> {peer}</p>",
        counted.0, counted.1
    );
    let p99 = |second: &Second| second.p99_ms();
    let errors = |second: &Second| (second.requests > 0).then_some(f64::from(second.errors));
    let all = story.weir.seconds.iter().chain(&story.peer.seconds);
    let most = all.clone().filter_map(errors).fold(0.0, f64::max);
    let axis = Axis::log(all.filter_map(p99), (138.0, TOP));
    let frame = Frame { time: &time, counted };
    let both = |value: &dyn Fn(&Second) -> Option<f64>| {
        let values = |trace: &Trace| trace.seconds.iter().map(value).collect::<Vec<_>>();
        [("other", values(&story.peer)), ("weir", values(&story.weir))]
    };
    html += &frame.lines("p99 in ms by second", (&axis, 138.0), &both(&p99));
    if most > 0.0 {
        let axis = Axis::linear(most, (108.0, TOP));
        html += &frame.lines("errors by second", (&axis, 108.0), &both(&errors));
    } else {
        html += "<h4>errors by second</h4><p class=\"soft\">None in either run.</p>";
    }
    html += &frame.shares(&story.steps);
    html += &outs(&story.steps, &time);
    html + &numbers(story)
}

/// What all plots over time share.
pub(in crate::commands) struct Frame<'a> {
    pub(in crate::commands) time: &'a Axis,
    pub(in crate::commands) counted: (f64, f64),
}

impl Frame<'_> {
    fn open(&self, title: &str, (axis, bottom): (&Axis, f64)) -> String {
        let (from, until) = (self.time.place(self.counted.0), self.time.place(self.counted.1));
        let height = bottom + 22.0;
        let mut svg = format!(
            "<h4>{title}</h4><div class=\"scroll\"><svg viewBox=\"0 0 {WIDTH} {height}\" \
             role=\"img\" aria-label=\"{title}; numbers below\">\
             <rect class=\"ground\" x=\"{0}\" y=\"{TOP}\" width=\"{1}\" height=\"{2}\"/>\
             <rect class=\"counted\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{3:.1}\" height=\"{2}\"/>",
            TIME.0,
            TIME.1 - TIME.0,
            bottom - TOP,
            until - from
        );
        for tick in axis.ticks() {
            let y = axis.place(tick);
            add(
                &mut svg,
                format_args!(
                    "<line class=\"rule\" x1=\"{}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                     <text class=\"tick\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                    TIME.0,
                    TIME.1,
                    TIME.0 - 6.0,
                    y + 4.0,
                    label(tick)
                ),
            );
        }
        for tick in self.time.ticks() {
            add(
                &mut svg,
                format_args!(
                    "<text class=\"tick\" x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\">{} s</text>",
                    self.time.place(tick),
                    bottom + 16.0,
                    label(tick)
                ),
            );
        }
        svg
    }

    /// Values by second as lines, each of a class.
    pub(in crate::commands) fn lines(
        &self,
        title: &str,
        (axis, bottom): (&Axis, f64),
        lines: &[(&str, Vec<Option<f64>>)],
    ) -> String {
        let mut svg = self.open(title, (axis, bottom));
        for (class, values) in lines {
            let path = path(values, (self.time, axis));
            add(&mut svg, format_args!("<path class=\"line {class}\" d=\"{path}\"/>"));
        }
        svg + "</svg></div>"
    }

    /// What each endpoint shall get, one above the other.
    pub(in crate::commands) fn shares(&self, steps: &[Step]) -> String {
        let axis = Axis::exact((0.0, 100.0), (138.0, TOP));
        let title = "shares decided by Weir, in %";
        let mut svg = self.open(title, (&axis, 138.0));
        let count = steps.first().map_or(0, |step| step.shares.len());
        let colours = colours(steps, count);
        for (backend, colour) in colours.iter().enumerate() {
            let class = match colour {
                Some(colour) => format!("c{colour}"),
                None => format!("calm{}", backend % 2),
            };
            let path = band(steps, backend, (self.time, &axis));
            if !path.is_empty() {
                add(&mut svg, format_args!("<path class=\"{class}\" d=\"{path}\"/>"));
            }
        }
        svg += "</svg></div>";
        let keys = colours.iter().enumerate().filter_map(|(backend, colour)| {
            let class = (*colour)?;
            Some(format!("<span class=\"key c{class}\"></span> {backend} "))
        });
        let keys: String = keys.collect();
        if keys.is_empty() {
            return svg + "<p class=\"soft\">No endpoint strays far from an equal share.</p>";
        }
        svg + &format!("<p class=\"soft\">Endpoints that stray most, numbered from 0: {keys}</p>")
    }
}

fn path(values: &[Option<f64>], (time, axis): (&Axis, &Axis)) -> String {
    let mut path = String::new();
    let mut on = false;
    for (index, value) in values.iter().enumerate() {
        let Some(value) = *value else {
            on = false;
            continue;
        };
        let (x, y) = (time.place(index as f64 + 0.5), axis.place(value));
        add(&mut path, format_args!("{}{x:.1} {y:.1}", if on { "L" } else { "M" }));
        on = true;
    }
    path
}

/// Which endpoints stray most from an equal share, coloured in order of number.
fn colours(steps: &[Step], count: usize) -> Vec<Option<usize>> {
    let mut strays = vec![0.0_f64; count];
    for step in steps {
        let present = step.shares.iter().flatten().count() as f64;
        for (stray, share) in strays.iter_mut().zip(&step.shares) {
            *stray = stray.max(share.map_or(0.0, |share| (share * present - 1.0).abs()));
        }
    }
    let mut order: Vec<usize> = (0..count).filter(|index| strays[*index] >= STRAY_MIN).collect();
    order.sort_by(|a, b| strays[*b].total_cmp(&strays[*a]).then(a.cmp(b)));
    order.truncate(COLOURS);
    order.sort_unstable();
    let mut colours = vec![None; count];
    for (colour, index) in order.into_iter().enumerate() {
        colours[index] = Some(colour);
    }
    colours
}

/// A backend's share over time, above those before it: runs of equal shares are one rectangle.
fn band(steps: &[Step], backend: usize, (time, axis): (&Axis, &Axis)) -> String {
    let edges = |step: &Step| {
        let below: f64 = step.shares[..backend].iter().flatten().sum();
        (below * 100.0, (below + step.shares[backend].unwrap_or(0.0)) * 100.0)
    };
    let same = |a: &(f64, f64), b: &(f64, f64)| (a.0 - b.0).abs() + (a.1 - b.1).abs() < 0.01;
    let mut path = String::new();
    let mut index = 0;
    while let Some(step) = steps.get(index) {
        let run = edges(step);
        let start = index;
        while steps.get(index).is_some_and(|step| same(&edges(step), &run)) {
            index += 1;
        }
        if run.1 - run.0 > 1e-3 {
            let end = steps.get(index).map_or(f64::INFINITY, |step| step.at);
            let (left, right) = (time.place(steps[start].at), time.place(end.min(1e9)));
            let (low, high) = (axis.place(run.0), axis.place(run.1));
            add(&mut path, format_args!("M{left:.1} {low:.2}V{high:.2}H{right:.1}V{low:.2}Z"));
        }
    }
    path
}

/// Who was out when.
pub(in crate::commands) fn outs(steps: &[Step], time: &Axis) -> String {
    let count = steps.first().map_or(0, |step| step.out.len());
    let ever: Vec<usize> =
        (0..count).filter(|index| steps.iter().any(|step| step.out[*index])).collect();
    if ever.is_empty() {
        return "<h4>ejected by weir</h4><p class=\"soft\">Nobody.</p>".to_owned();
    }
    let shown = &ever[..ever.len().min(LINES_MAX)];
    let height = 16 * shown.len() + 6;
    let mut svg = format!(
        "<h4>ejected by weir</h4><div class=\"scroll\"><svg viewBox=\"0 0 {WIDTH} {height}\" \
         role=\"img\" aria-label=\"who was ejected when; numbers below\">"
    );
    for (line, &backend) in shown.iter().enumerate() {
        let y = 16 * line + 4;
        add(
            &mut svg,
            format_args!(
                "<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{backend}</text>\
                 <rect class=\"ground\" x=\"{}\" y=\"{y}\" width=\"{}\" height=\"11\"/>",
                TIME.0 - 6.0,
                y + 10,
                TIME.0,
                TIME.1 - TIME.0
            ),
        );
        for run in steps.chunk_by(|a, b| a.out[backend] == b.out[backend]) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            if first.out[backend] {
                let (left, right) = (time.place(first.at), time.place(last.at + 1.0));
                add(
                    &mut svg,
                    format_args!(
                        "<rect class=\"out\" x=\"{left:.1}\" y=\"{y}\" width=\"{:.1}\" height=\"11\"/>",
                        right - left
                    ),
                );
            }
        }
    }
    svg += "</svg></div>";
    if ever.len() > shown.len() {
        let more = ever.len() - shown.len();
        svg += &format!("<p class=\"soft\">And {more} more.</p>");
    }
    svg
}

fn numbers(story: &Story) -> String {
    let (weir, peer) = (Rival::Weir.name(), PEER.name());
    let mut table = format!(
        "<details><summary>Numbers, by {SPAN} seconds</summary><div class=\"scroll\"><table><thead>\
         <tr><th scope=\"col\">from</th><th scope=\"col\" class=\"num\">highest p99 ms, {weir}</th>\
         <th scope=\"col\" class=\"num\">{peer}</th><th scope=\"col\" class=\"num\">errors, {weir}</th>\
         <th scope=\"col\" class=\"num\">{peer}</th><th scope=\"col\">out</th>\
         <th scope=\"col\" class=\"num\">least share</th><th scope=\"col\" class=\"num\">largest</th>\
         </tr></thead><tbody>"
    );
    let length = story.weir.seconds.len().min(story.peer.seconds.len());
    for from in (0..length).step_by(SPAN) {
        let until = (from + SPAN).min(length);
        let cells = |trace: &Trace| {
            let seconds = &trace.seconds[from..until];
            let p99 = seconds.iter().filter_map(Second::p99_ms).fold(0.0, f64::max);
            let errors: u32 = seconds.iter().map(|second| second.errors).sum();
            (p99, errors)
        };
        let ((p99, errors), (peer_p99, peer_errors)) = (cells(&story.weir), cells(&story.peer));
        let within = |step: &&Step| (from as f64..until as f64).contains(&step.at);
        let steps: Vec<&Step> = story.steps.iter().filter(within).collect();
        let mut out: Vec<String> = Vec::new();
        for backend in 0..steps.first().map_or(0, |step| step.out.len()) {
            if steps.iter().any(|step| step.out[backend]) {
                out.push(backend.to_string());
            }
        }
        let shares = steps.iter().flat_map(|step| step.shares.iter().flatten());
        let (least, most) =
            shares.fold((f64::INFINITY, 0.0_f64), |(least, most), s| (least.min(*s), most.max(*s)));
        let percent = |share: f64| {
            if share.is_finite() { format!("{:.1} %", share * 100.0) } else { "-".to_owned() }
        };
        add(
            &mut table,
            format_args!(
                "<tr><th scope=\"row\">{from} s</th><td class=\"num\">{p99:.0}</td>\
                 <td class=\"num\">{peer_p99:.0}</td><td class=\"num\">{errors}</td>\
                 <td class=\"num\">{peer_errors}</td><td>{}</td><td class=\"num\">{}</td>\
                 <td class=\"num\">{}</td></tr>",
                if out.is_empty() { "-".to_owned() } else { out.join(", ") },
                percent(least),
                percent(most)
            ),
        );
    }
    table + "</tbody></table></div></details>"
}
