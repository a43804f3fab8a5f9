//! The policies that are tried: of one service, or told why not.

use std::path::{Path, PathBuf};

use weir_engine::goal::Goal;
use weir_engine::names::ServiceId;
use weir_policies::check::check;
use weir_policies::problem::{Code, Problem};

use crate::goals::documents;

/// A policy with the name that people know it by.
#[derive(Clone, Debug)]
pub(super) struct Tried {
    pub(super) name: String,
    pub(super) goal: Goal,
}

/// Reads all policies; all problems at once.
pub(super) fn read(paths: &[PathBuf], service: &ServiceId) -> Result<Vec<Tried>, Vec<Problem>> {
    let (mut tried, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        match one(path, service) {
            Ok(goal) => tried.push(Tried { name: path.display().to_string(), goal }),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(tried) } else { Err(problems) }
}

/// What a policy wants of a service. One of another service may mean this one; nobody guesses.
fn one(path: &Path, service: &ServiceId) -> Result<Goal, Vec<Problem>> {
    let shown = path.display().to_string();
    let checked = check(&documents(&[path.to_owned()])?)?;
    if let Some(goal) = checked.goals.of(service) {
        return Ok(goal.clone());
    }
    let others: Vec<String> =
        checked.goals.services.iter().map(|goal| goal.service.to_string()).collect();
    let what = match others.as_slice() {
        [] => "governs no service".to_owned(),
        others => {
            format!("governs {}, and the journal is asked about {service}", others.join(", "))
        }
    };
    let ServiceId { namespace, name } = service;
    let mend = format!(
        "write namespace: {namespace} under metadata and name: {name} under targetRefs, or name \
         another service with --service"
    );
    Err(vec![Problem::of_file(&shown, Code::Unreadable, &what, &mend)])
}
