//! An answer as one page with plots: no script, nothing from elsewhere.

use std::collections::BTreeMap;

use weir_dashboard::chart::escaped;
use weir_engine::latency::Latency;
use weir_engine::units::Ratio;
use weir_simulator::twin::Seen;

use super::report::Answer;
use super::study::{Recorded, Study};
use super::table;
use crate::commands::simulate::page::STYLE;
use crate::commands::simulate::page::axis::Axis;
use crate::commands::simulate::page::seconds::{Frame, TIME, TOP, outs};
use crate::commands::simulate::story::Step;

/// What happened in one second.
#[derive(Debug, Default)]
struct Second {
    latency: Latency,
    requests: u64,
    errors: u64,
}

impl Second {
    fn p99_ms(&self) -> Option<f64> {
        Some(self.latency.quantile(Ratio::clamped(0.99))?.value())
    }

    fn error_percent(&self) -> Option<f64> {
        (self.requests > 0).then(|| 100.0 * self.errors as f64 / self.requests as f64)
    }
}

/// The page. Plots stand where there is a twin.
pub(super) fn page(answer: &Answer, study: Option<(&Study, &Recorded)>) -> String {
    let service = escaped(&answer.service);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Weir: what if, {service}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>What if: {service}</h1><p class=\"soft\">{:.0} s, {} seeds. Recorded: as it \
         was. Other columns: on a twin, with the least and the most of seeds and of worlds that \
         the recording does not tell apart.</p></header>\n<main>\n",
        answer.seconds, answer.seeds
    );
    page += &verdict(answer);
    if !answer.policies.is_empty() {
        page += &numbers(answer);
    }
    if let Some((study, recorded)) = study {
        let before = seconds(&recorded.steps);
        for (outcome, column) in study.outcomes.iter().zip(&answer.policies) {
            page += &format!(
                "<section class=\"card\"><h2>{}</h2><p class=\"soft\">The first seed. \
                 <span class=\"key weir\"></span> on the twin <span class=\"key other\"></span> \
                 recorded. What counts is shaded.</p>",
                escaped(&column.policy)
            );
            page += &plots(&outcome.story, &before, study);
            page += "</section>\n";
        }
    }
    page + "</main>\n</body>\n</html>"
}

fn verdict(answer: &Answer) -> String {
    let mut card = "<section class=\"card\"><h2>".to_owned();
    card += if answer.conclusive {
        "<span class=\"good\">Conclusive</span></h2><p>The twin comes to what was recorded.</p>"
    } else {
        "<span class=\"bad\">Inconclusive</span></h2>"
    };
    for line in answer.doubts.iter().chain(&answer.notes) {
        card += &format!("<p>{}</p>", escaped(line));
    }
    card + "</section>\n"
}

fn numbers(answer: &Answer) -> String {
    let mut table = "<section class=\"card\"><h2>Side by side</h2><div class=\"scroll\"><table>\
                     <thead><tr><th scope=\"col\"></th>"
        .to_owned();
    let columns = || answer.recorded.iter().chain(&answer.policies);
    for column in columns() {
        table += &format!("<th scope=\"col\" class=\"num\">{}</th>", escaped(&column.policy));
    }
    table += "</tr></thead><tbody>";
    for (name, of) in table::lines(answer) {
        table += &format!("<tr><th scope=\"row\">{}</th>", escaped(&name));
        for column in columns() {
            table += &format!("<td class=\"num\">{}</td>", escaped(&of(column)));
        }
        table += "</tr>";
    }
    table
        + "</tbody></table></div><p class=\"soft\">Churn 2 moves all traffic once. Journals hold \
           no bytes: what crosses zones is counted in requests.</p></section>\n"
}

/// What happened second by second.
fn seconds(steps: &[Seen]) -> Vec<Second> {
    let start = steps.first().map(|first| first.at).unwrap_or_default();
    let mut by_second: BTreeMap<u64, Second> = BTreeMap::new();
    for step in steps {
        let second = by_second.entry(step.at.since(start).as_secs()).or_default();
        for row in step.traffic.iter().flat_map(|traffic| traffic.rows.iter()) {
            second.latency.add(&row.latency);
            second.requests += row.requests;
            second.errors += row.errors;
        }
    }
    let last = by_second.keys().next_back().copied().unwrap_or(0);
    (0..=last).map(|second| by_second.remove(&second).unwrap_or_default()).collect()
}

fn plots(story: &[Seen], before: &[Second], study: &Study) -> String {
    let played = seconds(story);
    let length = played.len().max(before.len()).max(1);
    let time = Axis::exact((0.0, length as f64), TIME);
    let frame = Frame { time: &time, counted: study.counted };
    let both = |of: fn(&Second) -> Option<f64>| {
        let values = |seconds: &[Second]| seconds.iter().map(of).collect::<Vec<_>>();
        [("other", values(before)), ("weir", values(&played))]
    };
    let all = |lines: &[(&str, Vec<Option<f64>>)]| {
        lines.iter().flat_map(|(_, values)| values.iter().flatten().copied()).collect::<Vec<f64>>()
    };
    let p99 = both(Second::p99_ms);
    let axis = Axis::log(all(&p99).into_iter(), (138.0, TOP));
    let mut html = frame.lines("p99 in ms by second", (&axis, 138.0), &p99);
    let errors = both(Second::error_percent);
    let most = all(&errors).into_iter().fold(0.0, f64::max);
    if most > 0.0 {
        let axis = Axis::linear(most, (108.0, TOP));
        html += &frame.lines("errors in % by second", (&axis, 108.0), &errors);
    }
    let steps = steps(story, study.found.endpoints.len());
    html += &frame.shares(&steps);
    html + &outs(&steps, &time)
}

fn steps(story: &[Seen], endpoints: usize) -> Vec<Step> {
    let step = |seen: &Seen| {
        let at = seen.at.millis() as f64 / 1e3;
        Some(Step::of(at, seen.decided.as_deref()?, endpoints))
    };
    story.iter().filter_map(step).collect()
}
