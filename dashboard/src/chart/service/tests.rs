use super::*;
use crate::board::track::{Cell, FINE};
use crate::view::decision::DecisionId;
use crate::view::service::{EndpointState, Mode};
use proptest::prelude::*;
use weir_engine::units::Moment;

fn matrix(addresses: &[String], share: impl Fn(usize, usize) -> f32) -> Matrix {
    let cell = |row, column| Cell {
        requests: 10,
        errors: 0,
        p99_ms: 40.0,
        share: share(row, column),
        state: EndpointState::Serving,
        known: true,
    };
    let rows = (0..addresses.len())
        .map(|row| (0..FINE.columns).map(|column| Some(cell(row, column))).collect());
    Matrix {
        scale: FINE,
        start: Moment::from_millis(1_795_505_400_000),
        addresses: addresses.iter().map(|address| address.as_str().into()).collect(),
        present: addresses.len(),
        rows: rows.collect(),
    }
}

fn decision(why: &str) -> DecisionSummary {
    DecisionSummary {
        id: DecisionId { sequence: 7, place: 0 },
        at: Time(Moment::from_millis(1_795_505_410_000)),
        namespace: "a".into(),
        name: "b".into(),
        kind: Kind::Ejected,
        title: "Ejected".into(),
        why: why.into(),
        mode: Mode::Enforce,
        acted: true,
        moved: 0.1,
    }
}

fn draw(matrix: &Matrix, decisions: &[DecisionSummary]) -> ServiceChart {
    Drawing { matrix, decisions, metric: Metric::Errors, heat_url: "/heat.png?a=1&b=2" }.draw()
}

#[test]
fn a_steady_share_is_one_rectangle() {
    let addresses = ["a".to_owned(), "b".to_owned()];
    let chart = draw(&matrix(&addresses, |_, _| 0.5), &[]);
    assert!(chart.plot.contains(r#"d="M0 500V500H300V1000H0Z""#), "{}", chart.plot);
    assert_eq!(chart.colours, [None, None]);
}

#[test]
fn an_endpoint_whose_share_strays_has_a_colour() {
    let addresses: Vec<String> = (0..4).map(|index| index.to_string()).collect();
    let share = |row, column| if row == 2 && column > 100 { 0.0 } else { 0.25 };
    let chart = draw(&matrix(&addresses, share), &[]);
    assert_eq!(chart.colours, [None, None, Some(0), None]);
}

#[test]
fn a_large_service_is_drawn_in_few_bands() {
    let addresses: Vec<String> = (0..2_000).map(|index| index.to_string()).collect();
    let chart = draw(&matrix(&addresses, |_, _| 0.000_5), &[]);
    assert_eq!(chart.plot.matches("<path").count(), 1);
    assert!(chart.plot.len() < 20_000, "{}", chart.plot.len());
}

#[test]
fn decisions_outside_the_picture_are_not_marked() {
    let addresses = ["a".to_owned()];
    let mut early = decision("early");
    early.at = Time(Moment::from_millis(1_795_505_399_999));
    let chart = draw(&matrix(&addresses, |_, _| 1.0), &[decision("in time"), early]);
    assert_eq!(chart.plot.matches("class=\"marker").count(), 1);
}

proptest! {
    /// Whatever names and reasons hold, the drawing stays markup of its own: removing what it
    /// writes itself leaves no bracket or quote that a name could have brought.
    #[test]
    fn foreign_text_never_becomes_markup(name in "\\PC{0,40}", why in "\\PC{0,40}") {
        let hostile = format!("<script>\"'&{name}");
        let chart = draw(
            &matrix(std::slice::from_ref(&hostile), |_, _| 1.0),
            &[decision(&format!("</title><img src=x onerror=1>{why}"))],
        );
        for svg in [&chart.plot, &chart.gutter] {
            prop_assert!(!svg.contains("<script"), "{svg}");
            prop_assert!(!svg.contains("<img"), "{svg}");
            prop_assert_eq!(svg.matches('<').count(), svg.matches('>').count());
            let quotes = svg.matches('"').count();
            prop_assert_eq!(quotes % 2, 0);
        }
    }
}
