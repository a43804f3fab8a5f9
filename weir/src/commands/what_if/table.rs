//! An answer for people.

use comfy_table::{CellAlignment, Table, presets};

use super::report::{Answer, Column, Ranged};

/// The answer in words and tables.
pub(super) fn text(answer: &Answer) -> String {
    let mut text = String::new();
    if !answer.policies.is_empty() {
        let Answer { service, seconds, seeds, .. } = answer;
        text += &format!("{service}, {seconds:.0} s, {seeds} seeds\n{}\n\n", table(answer));
        text += "recorded: as it was; other columns: on the twin, with the least and the most of \
                 seeds and of\nworlds that the recording does not tell apart. Churn 2 moves all \
                 traffic once. Journals hold no\nbytes: what crosses zones is counted in requests.\n";
        text += &checked(answer);
    }
    for note in &answer.notes {
        text += &format!("note: {note}\n");
    }
    if answer.conclusive {
        return text + "conclusive: the twin comes to what was recorded\n";
    }
    for doubt in &answer.doubts {
        text += &format!("inconclusive: {doubt}\n");
    }
    text
}

fn checked(answer: &Answer) -> String {
    let figures = answer.checks.iter().map(|check| {
        let (name, said): (_, fn(f64) -> String) = match check.figure {
            "p50_ms" => ("p50", ms),
            "p99_ms" => ("p99", ms),
            _ => ("errors", percent),
        };
        format!("{name} {} ({})", said(check.twin), said(check.recorded))
    });
    let figures: Vec<String> = figures.collect();
    format!("held-out ticks, twin (recorded): {}\n", figures.join(", "))
}

type Line<'a> = (String, Box<dyn Fn(&Column) -> String + 'a>);

/// The lines of the table: what each says of a column.
pub(super) fn lines(answer: &Answer) -> Vec<Line<'_>> {
    let mut lines: Vec<Line<'_>> = vec![
        ("mode".to_owned(), Box::new(|column| column.mode.to_owned())),
        ("p50".to_owned(), Box::new(|column| ranged(column.p50_ms, ms))),
        ("p99".to_owned(), Box::new(|column| ranged(column.p99_ms, ms))),
        ("errors".to_owned(), Box::new(|column| ranged(column.error_ratio, percent))),
    ];
    let columns = || answer.recorded.iter().chain(&answer.policies);
    if columns().any(|column| column.refused_ratio > 0.0) {
        lines.push((
            "of them turned away".to_owned(),
            Box::new(|column| percent(column.refused_ratio)),
        ));
    }
    let promises = columns().next().map_or(&[][..], |column| &column.objectives);
    for (index, promise) in promises.iter().enumerate() {
        let of = move |column: &Column| {
            let found = column.objectives.get(index);
            found.map_or("-".to_owned(), |one| match (one.good, one.budget_burnt) {
                (Some(good), Some(burnt)) => format!("{}, burns {burnt:.1}x", percent(good)),
                _ => "not in a journal".to_owned(),
            })
        };
        let name = format!("{}, {} good", promise.name, share(promise.target));
        lines.push((name, Box::new(of)));
    }
    if columns().any(|column| column.cross_zone_ratio.is_some()) {
        let of = |column: &Column| {
            column.cross_zone_ratio.map_or("-".to_owned(), |part| format!("{:.1} %", part * 100.0))
        };
        lines.push(("other zone".to_owned(), Box::new(of)));
    }
    if columns().any(|column| column.cross_zone_cost.is_some()) {
        let of = |column: &Column| {
            column.cross_zone_cost.map_or("-".to_owned(), |cost| format!("{cost:.2}"))
        };
        lines.push(("cost of that, 30 days".to_owned(), Box::new(of)));
    }
    lines.push((
        "ejections".to_owned(),
        Box::new(|column| ranged(column.ejections, |count| format!("{count:.0}"))),
    ));
    lines.push((
        "churn".to_owned(),
        Box::new(|column| ranged(column.churn, |churn| format!("{churn:.2}"))),
    ));
    lines
}

fn table(answer: &Answer) -> Table {
    let columns: Vec<&Column> = answer.recorded.iter().chain(&answer.policies).collect();
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    let mut header = vec![String::new()];
    header.extend(columns.iter().map(|column| column.policy.clone()));
    table.set_header(header);
    for (name, of) in lines(answer) {
        let mut row = vec![name];
        row.extend(columns.iter().map(|column| of(column)));
        table.add_row(row);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn ranged(Ranged { value, least, most }: Ranged, said: impl Fn(f64) -> String) -> String {
    let (value, least, most) = (said(value), said(least), said(most));
    if least == most { value } else { format!("{value} ({least} to {most})") }
}

fn ms(value: f64) -> String {
    if value < 10.0 { format!("{value:.2} ms") } else { format!("{value:.0} ms") }
}

fn percent(part: f64) -> String {
    format!("{:.3} %", part * 100.0)
}

/// A target in as few digits as it has.
fn share(part: f64) -> String {
    let text = format!("{:.4}", part * 100.0);
    format!("{} %", text.trim_end_matches('0').trim_end_matches('.'))
}
