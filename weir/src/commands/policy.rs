//! `weir policy check`, `weir policy schema` and `weir policy crd`.

use std::io::Write;
use std::path::Path;

use anyhow::Context;
use weir_policies::check::{Checked, Services, check_among};
use weir_policies::problem::{Colour, Problem, render};

use super::{BAD_INPUT, FINDINGS, OK};
use crate::cli::{Output, Policy};
use crate::config::{self, Given};
use crate::goals;

/// Runs the command.
pub fn run(command: &Policy, colour: Colour) -> anyhow::Result<u8> {
    match command {
        Policy::Schema => {
            write!(anstream::stdout(), "{}", weir_policies::schema::schema())?;
            Ok(OK)
        }
        Policy::Crd => {
            let yaml = serde_saphyr::to_string(&weir_policies::crd::definition())
                .context("writing the definition")?;
            write!(anstream::stdout(), "{yaml}")?;
            Ok(OK)
        }
        Policy::Check { paths, config, output } => {
            let known = config.as_ref().map(|file| services(file)).transpose();
            let documents = known.and_then(|known| Ok((goals::documents(paths)?, known)));
            let (problems, summary, code) = match documents {
                Err(problems) => (problems, None, BAD_INPUT),
                Ok((documents, known)) => match check_among(&documents, known.as_ref()) {
                    Err(problems) => (problems, None, FINDINGS),
                    Ok(checked) => {
                        let text = summary(&checked, documents.len());
                        (checked.warnings, Some(text), OK)
                    }
                },
            };
            show(&problems, summary.as_deref(), (*output, colour))?;
            Ok(code)
        }
    }
}

/// The services in a configuration file.
fn services(file: &Path) -> Result<Services, Vec<Problem>> {
    let given = Given { file: Some(file.to_owned()), ..Given::default() };
    Ok(config::known(&config::load(given)?.services))
}

fn summary(checked: &Checked, files: usize) -> String {
    let mut text = format!(
        "{}, {}, {}",
        counted(files, "file"),
        counted(checked.policies.len(), "policy"),
        counted(checked.goals.services.len(), "governed service")
    );
    if !checked.goals.rollouts.is_empty() {
        text += &format!(", {}", counted(checked.goals.rollouts.len(), "rollout"));
    }
    text + ": no mistakes"
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
