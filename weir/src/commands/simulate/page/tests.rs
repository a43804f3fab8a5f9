use weir_simulator::score::Score;
use weir_simulator::trace::{Second, Trace};

use super::super::story::Step;
use super::*;

fn plan() -> Plan {
    let text = "description: x & y\nload: [{rps: 1}]\nbackends: [{count: 2}]";
    Plan::from_bytes("a<b", "a.yaml", text.as_bytes()).unwrap()
}

fn row(rival: Rival, p99_ms: f64, errors: u64) -> Row {
    let runs = crate::scenarios::Runs { proxies: 1, seeds: 1 };
    let score = Score { requests: 100, errors, latencies_ms: vec![p99_ms], ..Score::default() };
    Row::of(&plan(), rival, runs, score)
}

fn second(requests: u32, errors: u32, latency: f64) -> Second {
    Second { requests, errors, latencies_ms: vec![latency], by_backend: vec![requests] }
}

fn story() -> Story {
    let step = |at: f64, out: bool| Step {
        at,
        shares: vec![Some(if out { 0.0 } else { 0.5 }), Some(if out { 1.0 } else { 0.5 })],
        out: vec![out, false],
    };
    Story {
        weir: Trace { seconds: vec![second(10, 1, 20.0), second(10, 0, 30.0)] },
        peer: Trace { seconds: vec![second(10, 3, 20.0), second(10, 4, 300.0)] },
        steps: vec![step(0.0, false), step(1.0, true)],
    }
}

#[test]
fn the_page_stands_alone_and_names_are_escaped() {
    let rows = [row(Rival::Weir, 50.0, 0), row(PEER, 100.0, 1)];
    let page = page(&rows, &[plan()], &[story()]);
    assert!(page.contains("a&lt;b") && page.contains("x &amp; y") && !page.contains("a<b"));
    for foreign in ["http:", "https:", "<script", "<link", "url(", "@import", "src="] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    // Half the p99, and (0 + 0.0001) / (0.01 + 0.0001) of the errors.
    assert!(page.contains("<td class=\"num good\">0.50</td><td class=\"num good\">0.01</td>"));
    // The first endpoint is out from the first second on.
    assert!(page.contains("class=\"out\"") && page.contains("<td>0</td>"));
    let svgs = page.matches("<svg").count();
    assert_eq!(svgs, page.matches("role=\"img\" aria-label=").count());
    assert_eq!(svgs, 5, "rivals, p99, errors, shares, ejections");
}

#[test]
fn nothing_at_all_has_plots_as_well() {
    let story = Story { weir: Trace::default(), peer: Trace::default(), steps: Vec::new() };
    let page = page(&[row(Rival::Weir, 0.0, 0)], &[plan()], &[story]);
    assert!(!page.contains("NaN") && !page.contains("inf"));
    assert!(page.contains("Nobody.") && page.contains("None in either run."));
}
