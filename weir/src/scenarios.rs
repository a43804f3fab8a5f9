//! Scenarios as files, the policy that Weir governs them by, and how a run is
//! told: what `weir simulate` and
//! `weir arena` play alike.

use std::path::{Path, PathBuf};

use weir_policies::problem::{Code, Problem};

mod file;
mod plan;
mod policy;
mod row;

pub(crate) use plan::Plan;
pub(crate) use policy::Policy;
pub(crate) use row::{Row, Runs};

/// Reads what a run is made of: scenarios, in all of which endpoints declare their workers if
/// `declared`, and a policy, or the usual one.
pub(crate) fn read(
    scenarios: &[PathBuf],
    declared: bool,
    policy: Option<&Path>,
) -> Result<(Vec<Plan>, Policy), Vec<Problem>> {
    Ok((plans(scenarios, declared)?, Policy::of(policy)?))
}

/// Reads all scenarios; all problems at once.
fn plans(paths: &[PathBuf], declared: bool) -> Result<Vec<Plan>, Vec<Problem>> {
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
    if declared {
        plans.iter_mut().for_each(Plan::declare_workers);
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
