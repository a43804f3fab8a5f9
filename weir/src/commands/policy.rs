//! `weir policy check` and `weir policy schema`.

use std::io::Write;

use weir_policies::check::check;
use weir_policies::problem::{Colour, Problem, render};

use super::{BAD_INPUT, FINDINGS, OK};
use crate::cli::{Output, Policy};
use crate::goals;

/// Runs the command.
pub fn run(command: &Policy, colour: Colour) -> anyhow::Result<u8> {
    match command {
        Policy::Schema => {
            write!(anstream::stdout(), "{}", weir_policies::schema::schema())?;
            Ok(OK)
        }
        Policy::Check { paths, output } => {
            let (problems, summary, code) = match goals::documents(paths) {
                Err(problems) => (problems, None, BAD_INPUT),
                Ok(documents) => match check(&documents) {
                    Err(problems) => (problems, None, FINDINGS),
                    Ok(checked) => {
                        let governed = checked.goals.services.len();
                        let policies = checked.policies.len();
                        let files = documents.len();
                        let text = format!(
                            "{}, {}, {}: no mistakes",
                            counted(files, "file"),
                            counted(policies, "policy"),
                            counted(governed, "governed service")
                        );
                        (checked.warnings, Some(text), OK)
                    }
                },
            };
            show(&problems, summary.as_deref(), (*output, colour))?;
            Ok(code)
        }
    }
}

fn counted(count: usize, word: &str) -> String {
    let plural = match word.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{word}s"),
    };
    format!("{count} {}", if count == 1 { word } else { &plural })
}

fn show(
    problems: &[Problem],
    summary: Option<&str>,
    (output, colour): (Output, Colour),
) -> anyhow::Result<()> {
    match output {
        Output::Json => {
            let document = serde_json::json!({ "ok": summary.is_some(), "problems": problems });
            writeln!(anstream::stdout(), "{document:#}")?;
        }
        Output::Table => {
            if !problems.is_empty() {
                writeln!(anstream::stderr(), "{}", render(problems, colour))?;
            }
            if let Some(summary) = summary {
                writeln!(anstream::stdout(), "{summary}")?;
            } else {
                let errors = problems.iter().filter(|problem| problem.is_error()).count();
                writeln!(anstream::stderr(), "{} found", counted(errors, "mistake"))?;
            }
        }
    }
    Ok(())
}
