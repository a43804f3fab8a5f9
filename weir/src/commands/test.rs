//! `weir test`: what is expected of decisions on kept journals.

use std::io::Write;
use std::time::{Duration, Instant};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use serde_json::json;
use weir_collectors::status::one_line;
use weir_policies::problem::{Colour, render};

use super::replay::{counted, help};
use super::{BAD_INPUT, FINDINGS, OK};
use crate::cli::{Results, Test as Asked};
use crate::cores;
use crate::expectations::{Outcome, Test};

/// A test, what came of it, and how long it took.
struct Done {
    name: String,
    description: String,
    outcomes: Vec<Outcome>,
    /// Why its journal cannot be decided again.
    error: Option<String>,
    took: Duration,
}

/// Runs the command.
pub fn run(asked: &Asked, colour: Colour) -> anyhow::Result<u8> {
    let found: Result<Vec<Vec<Test>>, _> =
        asked.paths.iter().map(|path| Test::find(path)).collect();
    let tests: Vec<Test> = match found {
        Ok(tests) => tests.into_iter().flatten().collect(),
        Err(problems) => {
            anstream::eprintln!("{}", render(&problems, colour));
            return Ok(BAD_INPUT);
        }
    };
    let done = cores::on_all(tests.len(), "tests", |job| {
        let began = Instant::now();
        (tests[job].run(), began.elapsed())
    });
    let mut all = Vec::new();
    for (test, (outcomes, took)) in tests.iter().zip(done) {
        let (outcomes, error) = match outcomes {
            Ok(outcomes) => (outcomes, None),
            Err(error) => {
                let help = help(&error).map_or_else(String::new, |help| format!("; {help}"));
                (Vec::new(), Some(one_line(&error) + &help))
            }
        };
        let name = test.path.parent().unwrap_or(&test.path).display().to_string();
        all.push(Done { name, description: test.description.clone(), outcomes, error, took });
    }
    match asked.output {
        Results::Table => print(&all)?,
        Results::Json => print_json(&all)?,
        Results::Junit => print_junit(&all)?,
    }
    let holds = |done: &Done| done.outcomes.iter().all(|outcome| outcome.came.is_ok());
    Ok(if all.iter().any(|done| done.error.is_some()) {
        BAD_INPUT
    } else if all.iter().all(holds) {
        OK
    } else {
        FINDINGS
    })
}

fn print(all: &[Done]) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    let (mut held, mut failed) = (0, 0);
    for done in all {
        let about = if done.description.is_empty() { "" } else { ": " };
        writeln!(out, "{}{about}{}", done.name, done.description)?;
        if let Some(error) = &done.error {
            failed += 1;
            writeln!(out, "  ERROR   {error}")?;
        }
        for Outcome { what, came } in &done.outcomes {
            match came {
                Ok(how) => {
                    held += 1;
                    writeln!(out, "  ok      {what} ({how})")?;
                }
                Err(how) => {
                    failed += 1;
                    writeln!(out, "  FAILED  {what}: {how}")?;
                }
            }
        }
    }
    let tests = counted(all.len(), "test");
    writeln!(out, "{tests}: {} held, {failed} failed", counted(held, "expectation"))?;
    Ok(())
}

fn print_json(all: &[Done]) -> anyhow::Result<()> {
    let tests = all.iter().map(|done| {
        let outcomes = done.outcomes.iter().map(|Outcome { what, came }| {
            let how = came.as_ref().unwrap_or_else(|how| how);
            json!({ "what": what, "held": came.is_ok(), "how": how })
        });
        json!({
            "test": done.name,
            "description": done.description,
            "seconds": done.took.as_secs_f64(),
            "error": done.error,
            "expectations": outcomes.collect::<Vec<_>>(),
        })
    });
    let document = json!({ "tests": tests.collect::<Vec<_>>() });
    writeln!(anstream::stdout(), "{document:#}")?;
    Ok(())
}

fn print_junit(all: &[Done]) -> anyhow::Result<()> {
    let mut report = Report::new("weir test");
    for done in all {
        let mut suite = TestSuite::new(done.name.as_str());
        suite.set_time(done.took);
        if let Some(error) = &done.error {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Error);
            status.set_message(error.as_str());
            suite.add_test_case(TestCase::new("the journal can be decided again", status));
        }
        for Outcome { what, came } in &done.outcomes {
            let status = match came {
                Ok(_) => TestCaseStatus::success(),
                Err(how) => {
                    let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                    status.set_message(how.as_str());
                    status
                }
            };
            let mut case = TestCase::new(what.as_str(), status);
            case.set_classname(done.name.as_str());
            suite.add_test_case(case);
        }
        report.add_test_suite(suite);
    }
    writeln!(anstream::stdout(), "{}", report.to_string()?)?;
    Ok(())
}
