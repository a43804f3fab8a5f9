//! Pictures that stand in a line of text or a table's cell.

use std::fmt::Write as _;

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
        let _ =
            write!(svg, r#"<svg class="strip" width="{width}" height="10" aria-hidden="true">"#);
        let mut x = 0;
        for (state, count) in states(counts) {
            for _ in 0..count {
                let class = state_class(state);
                let _ = write!(
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
            let _ = write!(
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

/// Requests of the last minutes with the failed ones at the bottom; decoration.
pub(crate) fn spark(columns: &Log<Column>) -> String {
    let (width, height) = (120.0, 26.0);
    let per_point = 5;
    let newest: Vec<_> = columns.iter().rev().take(SPARK * per_point).map(|(_, c)| c).collect();
    let mut points: Vec<(f64, f64)> = newest
        .chunks(per_point)
        .map(|chunk| {
            let sums = chunk.iter().filter_map(|column| column.sums());
            let sum = sums.fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
            let count = chunk.len() as f64;
            (sum.0 as f64 / count, sum.1 as f64 / count)
        })
        .collect();
    points.reverse();
    let most = points.iter().map(|point| point.0).fold(1.0, f64::max);
    let area = |value: fn(&(f64, f64)) -> f64| {
        let step = width / SPARK as f64;
        let start = width - step * points.len() as f64;
        let mut path = format!("M{start:.1} {height}");
        for (index, point) in points.iter().enumerate() {
            let x = start + step * index as f64;
            let y = height - value(point) / most * (height - 2.0);
            let _ = write!(path, "L{x:.1} {y:.1}L{:.1} {y:.1}", x + step);
        }
        let _ = write!(path, "L{width} {height}Z");
        path
    };
    if points.is_empty() {
        return format!(
            r#"<svg class="spark" width="{width}" height="{height}" aria-hidden="true"></svg>"#
        );
    }
    format!(
        r#"<svg class="spark" width="{width}" height="{height}" aria-hidden="true"><path class="spark-all" d="{}"/><path class="spark-bad" d="{}"/></svg>"#,
        area(|point| point.0),
        area(|point| point.1),
    )
}
