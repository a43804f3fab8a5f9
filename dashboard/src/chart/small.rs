//! Pictures that stand in a line of text or a table's cell.

use crate::board::log::Log;
use crate::board::track::Column;
use crate::view::service::{EndpointCounts, EndpointState};

/// So many endpoints are drawn one by one; more become parts of a bar.
const SQUARES_MAX: u32 = 30;

/// Columns of a sparkline.
const SPARK: usize = 60;

pub(crate) const fn state_class(state: EndpointState) -> &'static str {
    match state {
        EndpointState::Serving => "serving",
        EndpointState::Joining => "joining",
        EndpointState::Probation => "probation",
        EndpointState::Ejected => "ejected",
        EndpointState::NotReady => "not-ready",
    }
}

fn states(counts: &EndpointCounts) -> [(EndpointState, u32); 5] {
    [
        (EndpointState::Serving, counts.serving),
        (EndpointState::Joining, counts.joining),
        (EndpointState::Probation, counts.probation),
        (EndpointState::Ejected, counts.ejected),
        (EndpointState::NotReady, counts.not_ready),
    ]
}

/// Endpoints by state: a square each, or one bar for many. Decoration: the numbers stand beside it.
pub(crate) fn endpoint_strip(counts: &EndpointCounts) -> String {
    let mut svg = String::new();
    if counts.total <= SQUARES_MAX {
        let width = (counts.total * 9).max(1);
        put!(svg, r#"<svg class="strip" width="{width}" height="10" aria-hidden="true">"#);
        let mut x = 0;
        for (state, count) in states(counts) {
            for _ in 0..count {
                let class = state_class(state);
                put!(
                    svg,
                    r#"<rect class="s-{class}" x="{x}" y="1" width="7" height="8" rx="1.5"/>"#
                );
                x += 9;
            }
        }
    } else {
        svg.push_str(r#"<svg class="strip" width="180" height="10" aria-hidden="true">"#);
        let scale = 180.0 / f64::from(counts.total.max(1));
        let mut x = 0.0;
        for (state, count) in states(counts).into_iter().filter(|(_, count)| *count > 0) {
            let width = (f64::from(count) * scale).max(1.5);
            let class = state_class(state);
            put!(
                svg,
                r#"<rect class="s-{class}" x="{x:.1}" y="1" width="{width:.1}" height="8"/>"#
            );
            x += width;
        }
    }
    svg.push_str("</svg>");
    svg
}

/// A part of a whole as a bar; decoration, the number stands beside it.
pub(crate) fn bar(part: f64, class: &str) -> String {
    let percent = part.clamp(0.0, 1.0) * 100.0;
    format!(
        r#"<svg class="bar" width="100%" height="6" aria-hidden="true"><rect class="bar-ground" width="100%" height="6" rx="3"/><rect class="bar-{class}" width="{percent:.1}%" height="6" rx="3"/></svg>"#
    )
}

/// A measure against its limit on one line; decoration, the numbers stand beside it.
pub(crate) fn measure(measured: f64, at_least: Option<f64>, limit: f64) -> String {
    let most = measured.max(limit).max(at_least.unwrap_or(0.0)).max(f64::MIN_POSITIVE) * 1.08;
    let percent = |value: f64| (value / most * 100.0).clamp(0.0, 100.0);
    let sure = percent(at_least.unwrap_or(measured));
    let (measured, limit) = (percent(measured), percent(limit));
    format!(
        r#"<svg class="measure" width="100%" height="22" aria-hidden="true"><rect class="bar-ground" y="7" width="100%" height="8" rx="2"/><rect class="m-likely" y="7" width="{measured:.1}%" height="8" rx="2"/><rect class="m-sure" y="7" width="{sure:.1}%" height="8" rx="2"/><line class="m-limit" x1="{limit:.1}%" x2="{limit:.1}%" y1="2" y2="20"/></svg>"#
    )
}

/// The error ratio that reaches the top of a sparkline.
const SPARK_ERRORS: f64 = 0.05;

/// Requests of the last minutes, and the error ratio in front of them; decoration.
pub(crate) fn spark(columns: &Log<Column>) -> String {
    const WIDTH: f64 = 120.0;
    const HEIGHT: f64 = 28.0;
    const PER_POINT: usize = 5;
    let newest: Vec<_> = columns.iter().rev().take(SPARK * PER_POINT).map(|(_, c)| c).collect();
    let points = newest.chunks(PER_POINT).map(|chunk| {
        let sums = chunk.iter().filter_map(|column| column.sums());
        let (requests, errors) = sums.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
        let ratio = if requests > 0 { errors as f64 / requests as f64 } else { 0.0 };
        (requests as f64 / chunk.len() as f64, (ratio / SPARK_ERRORS).min(1.0))
    });
    let mut points: Vec<_> = points.collect();
    points.reverse();
    let most = points.iter().map(|point| point.0).fold(1.0, f64::max) * 1.2;
    let step = WIDTH / SPARK as f64;
    let start = WIDTH - step * points.len() as f64;
    let area = |height: &dyn Fn(&(f64, f64)) -> f64| {
        let mut path = format!("M{start:.1} {HEIGHT}");
        for (index, point) in points.iter().enumerate() {
            let x = start + step * index as f64;
            put!(path, "V{:.1}H{:.1}", HEIGHT - height(point) * HEIGHT, x + step);
        }
        path + &format!("V{HEIGHT}Z")
    };
    let mut svg =
        format!(r#"<svg class="spark" width="{WIDTH}" height="{HEIGHT}" aria-hidden="true">"#);
    if !points.is_empty() {
        let all = area(&|point| point.0 / most);
        let bad = area(&|point| point.1);
        put!(svg, r#"<path class="spark-all" d="{all}"/><path class="spark-bad" d="{bad}"/>"#);
    }
    svg + "</svg>"
}
