//! Which of several policies governs a service: the oldest.
//!
//! As the Gateway API has it for policies that are not merged: the one made first, and among
//! those of one age, or of none, the first by `namespace/name`. A policy without a date is taken
//! for younger than any with one.

use std::collections::HashMap;

use weir_engine::names::{PolicyName, ServiceId};

use super::{Conflict, Entry, Set};
use crate::problem::Code;
use crate::source::{Finding, Span};

/// What a policy may govern.
#[derive(Clone, Debug, Default)]
pub(super) struct Ruling {
    pub(super) governs: Vec<ServiceId>,
    pub(super) conflicts: Vec<Conflict>,
}

/// One ruling per entry, in their order. Losers are told in their file.
pub(super) fn resolve(set: &mut Set<'_>) -> Vec<Ruling> {
    let mut rulings = vec![Ruling::default(); set.entries.len()];
    let mut order: Vec<usize> = (0..set.entries.len()).collect();
    order.sort_by_cached_key(|at| set.entries.get(*at).map(age));
    let mut owners: HashMap<ServiceId, PolicyName> = HashMap::new();
    for at in order {
        let (Some(entry), Some(ruling)) = (set.entries.get(at), rulings.get_mut(at)) else {
            continue;
        };
        let name = PolicyName::from(entry.policy.metadata.to_string());
        let mut told = Vec::new();
        for (index, (service, span)) in targets(entry).into_iter().enumerate() {
            match owners.get(&service) {
                // Named twice by one policy, which its own check refuses.
                Some(winner) if *winner == name => {}
                Some(winner) => {
                    told.push(conflicted(index, span, &service, winner));
                    ruling.conflicts.push(Conflict { service, winner: winner.clone() });
                }
                None => {
                    owners.insert(service.clone(), name.clone());
                    ruling.governs.push(service);
                }
            }
        }
        if let Some(file) = set.files.get_mut(entry.file) {
            for finding in told {
                file.add(finding);
            }
        }
    }
    rulings
}

/// Sorts older policies first.
fn age(entry: &Entry) -> (bool, Option<String>, String) {
    let metadata = &entry.policy.metadata;
    let moment = metadata.creation_timestamp.as_ref().map(|moment| moment.as_str().to_owned());
    (moment.is_none(), moment, metadata.to_string())
}

fn targets(entry: &Entry) -> Vec<(ServiceId, Span)> {
    let namespace = entry.policy.metadata.namespace();
    let targets = entry.policy.spec.target_refs.iter();
    targets
        .map(|target| (ServiceId::new(namespace, target.name.as_str()), target.name.span))
        .collect()
}

fn conflicted(index: usize, span: Span, service: &ServiceId, winner: &PolicyName) -> Finding {
    Finding {
        span,
        field: format!("spec.targetRefs[{index}].name"),
        code: Code::Conflicted,
        what: format!("`{service}` is governed by the older policy `{winner}`, not by this one"),
        mend: "remove the target here, or there".to_owned(),
    }
}
