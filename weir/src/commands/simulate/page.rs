//! What a simulation came to, as one page with plots: no script, nothing from elsewhere.
//!
//! Every plot has its numbers in a table beside it, for those who do not see it.

use std::fmt::Write as _;
use std::io::Write as _;

use weir_dashboard::chart::escaped;

use super::story::{PEER, Story};
use super::{Plan, Rival};
use crate::scenarios::Row;

pub(in crate::commands) mod axis;
mod rivals;
pub(in crate::commands) mod seconds;

/// How pages look.
pub(in crate::commands) const STYLE: &str = include_str!("page/page.css");

/// Prints the page.
pub(super) fn print(rows: &[Row], plans: &[Plan], stories: &[Story]) -> anyhow::Result<()> {
    writeln!(anstream::stdout(), "{}", page(rows, plans, stories))?;
    Ok(())
}

fn page(rows: &[Row], plans: &[Plan], stories: &[Story]) -> String {
    let scenarios: Vec<&[Row]> = rows.chunk_by(|a, b| a.scenario == b.scenario).collect();
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Weir: simulated scenarios</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1>Simulated scenarios</h1>"
    );
    if let Some(row) = rows.first() {
        put(&mut page, &format!("<p class=\"soft\">{}</p>", row.said()));
    }
    put(&mut page, "</header>\n<main>\n");
    put(&mut page, &overview(&scenarios));
    for (index, (rows, plan)) in scenarios.iter().zip(plans).enumerate() {
        put(&mut page, &scenario(rows, plan, stories.get(index)));
    }
    put(&mut page, "</main>\n</body>\n</html>");
    page
}

fn put(page: &mut String, text: &str) {
    page.push_str(text);
}

/// One line for each scenario: where to find it, and how Weir stands to what it stands above.
fn overview(scenarios: &[&[Row]]) -> String {
    let peer = PEER.name();
    let mut table = format!(
        "<section class=\"card\"><h2>Overview</h2><div class=\"scroll\"><table><thead><tr>\
         <th scope=\"col\">scenario</th><th scope=\"col\">what happens</th>\
         <th scope=\"col\" class=\"num\">p99 to {peer}</th>\
         <th scope=\"col\" class=\"num\">errors to {peer}</th></tr></thead><tbody>"
    );
    for rows in scenarios {
        let Some(first) = rows.first() else { continue };
        let name = escaped(&first.scenario);
        let of = |rival: Rival| rows.iter().find(|row| row.rival == rival.name());
        let cells = match (of(Rival::Weir), of(PEER)) {
            (Some(weir), Some(other)) => {
                let p99 = weir.p99_ms / other.p99_ms.max(f64::MIN_POSITIVE);
                // As in the documentation: an error in ten thousand is no error.
                let errors = (weir.error_ratio + 1e-4) / (other.error_ratio + 1e-4);
                format!("{}{}", ratio(p99), ratio(errors))
            }
            _ => "<td class=\"num\">-</td><td class=\"num\">-</td>".to_owned(),
        };
        put(
            &mut table,
            &format!(
                "<tr><th scope=\"row\"><a href=\"#{name}\">{name}</a></th><td>{}</td>{cells}</tr>",
                escaped(&first.description)
            ),
        );
    }
    table
        + "</tbody></table></div><p class=\"soft\">Below 1 Weir is better. Errors are compared \
             as (a + 0.0001) / (b + 0.0001).</p></section>\n"
}

fn ratio(value: f64) -> String {
    let class = match value {
        value if value <= 0.95 => " good",
        value if value >= 1.05 => " bad",
        _ => "",
    };
    format!("<td class=\"num{class}\">{value:.2}</td>")
}

fn scenario(rows: &[Row], plan: &Plan, story: Option<&Story>) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let name = escaped(&first.scenario);
    let mut section = format!(
        "<section class=\"card\" id=\"{name}\" aria-labelledby=\"{name}-title\">\
         <h2 id=\"{name}-title\">{name}</h2><p>{}</p>",
        escaped(&first.description)
    );
    put(&mut section, &rivals::plot(rows));
    put(&mut section, &numbers(rows));
    if let Some(story) = story {
        put(&mut section, &seconds::plots(story, plan.counted()));
    }
    section + "</section>\n"
}

fn numbers(rows: &[Row]) -> String {
    let mut table = String::from(
        "<details><summary>Numbers</summary><div class=\"scroll\"><table><thead><tr>\
         <th scope=\"col\">rival</th><th scope=\"col\" class=\"num\">p50 ms</th>\
         <th scope=\"col\" class=\"num\">p99 ms</th><th scope=\"col\" class=\"num\">errors</th>\
         <th scope=\"col\" class=\"num\">retries</th><th scope=\"col\" class=\"num\">refused</th>\
         <th scope=\"col\" class=\"num\">other zone</th>\
         <th scope=\"col\" class=\"num\">goodput rps</th></tr></thead><tbody>",
    );
    for row in rows {
        let percent = |part: f64| format!("{:.3} %", part * 100.0);
        let cells = [
            format!("{:.1}", row.p50_ms),
            format!("{:.0}", row.p99_ms),
            percent(row.error_ratio),
            percent(row.retry_ratio),
            percent(row.overflow_ratio),
            format!("{:.1} %", row.cross_zone_ratio * 100.0),
            format!("{:.0}", row.goodput_rps),
        ];
        put(&mut table, &format!("<tr><th scope=\"row\">{}</th>", row.rival));
        for cell in cells {
            put(&mut table, &format!("<td class=\"num\">{cell}</td>"));
        }
        put(&mut table, "</tr>");
    }
    table + "</tbody></table></div></details>"
}

/// Adds formatted text to a string.
fn add(to: &mut String, text: std::fmt::Arguments<'_>) {
    to.write_fmt(text).expect("a string takes everything");
}

#[cfg(test)]
mod tests;
