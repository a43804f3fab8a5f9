//! Scenarios as files, and the goal that Weir governs them by: what `weir simulate` and
//! `weir arena` play alike.

use std::path::{Path, PathBuf};

use weir_engine::goal::{Goal, Indicator, Mode, Objective};
use weir_engine::units::{Millis, Ratio};
use weir_policies::check::{Document, check};
use weir_policies::problem::{Code, Problem};
use weir_simulator::world;

mod file;
mod plan;

pub(crate) use plan::Plan;

/// Reads all scenarios; all problems at once.
pub(crate) fn plans(paths: &[PathBuf]) -> Result<Vec<Plan>, Vec<Problem>> {
    let (mut plans, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        let files = match files(path) {
            Ok(files) => files,
            Err(found) => {
                problems.extend(found);
                continue;
            }
        };
        for file in files {
            match Plan::read(&file) {
                Ok(plan) => plans.push(plan),
                Err(found) => problems.extend(found),
            }
        }
    }
    if problems.is_empty() { Ok(plans) } else { Err(problems) }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, Vec<Problem>> {
    let unreadable = |what: String| {
        let mend = "name scenario files, or a folder of them";
        vec![Problem::of_file(&path.display().to_string(), Code::Unreadable, &what, mend)]
    };
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let listed = std::fs::read_dir(path).map_err(|cause| unreadable(cause.to_string()))?;
    let paths = listed.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "yaml")).collect();
    files.sort();
    if files.is_empty() { Err(unreadable("holds no .yaml file".to_owned())) } else { Ok(files) }
}

/// What Weir governs by: a policy of the user's, or what most would want.
pub(crate) fn goal(policy: Option<&Path>) -> Result<Goal, Vec<Problem>> {
    let mut goal = match policy {
        None => usual(),
        Some(path) => {
            let shown = path.display().to_string();
            let wrong = |what: &str, mend: &str| {
                vec![Problem::of_file(&shown, Code::Unreadable, what, mend)]
            };
            let bytes = std::fs::read(path).map_err(|cause| {
                wrong(&format!("cannot be read: {cause}"), "name a policy file")
            })?;
            let checked = check(&[Document::new(shown.clone(), bytes)])?;
            let first = checked.goals.services.into_iter().next();
            first.ok_or_else(|| wrong("governs no service", "name one under targetRefs"))?
        }
    };
    goal.service = world::service();
    goal.mode = Mode::Enforce;
    Ok(goal)
}

fn usual() -> Goal {
    let objective = |name: &str, target: f64, indicator: Indicator| Objective {
        name: name.into(),
        target: Ratio::clamped(target),
        window: std::time::Duration::from_secs(3_600),
        indicator,
    };
    let threshold = Millis::clamped(500.0);
    let mut goal = Goal::of_unclaimed(world::service());
    goal.objectives = vec![
        objective("available", 0.999, Indicator::Availability),
        objective("fast", 0.99, Indicator::Latency { threshold }),
    ];
    goal
}
