//! Policies: from a folder, from the API server, or from both; watched, and kept in force.
//!
//! The folder is watched by looking once a second at each file's size and time of change: that sees
//! the swapped links of a mounted ConfigMap and network file systems too, where notifications do not
//! come. Objects of the API server are watched as it offers it ([`objects`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_collectors::kubernetes::discovery;
use weir_policies::check::{Reach, Services};
use weir_policies::in_force::{InForce, Outcome};
use weir_policies::parts::{Part, Parts};
use weir_policies::problem::{Code, Colour, Problem};

mod folder;
pub mod objects;

pub use folder::documents;
use folder::{Fingerprint, fingerprint, read};
use objects::{Change, Objects};

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long changes of objects are gathered before they are checked together.
const GATHER: Duration = Duration::from_millis(200);

/// Where policies come from, and what of them is in force.
#[derive(Debug)]
pub struct Goals {
    folder: Option<PathBuf>,
    seen: Option<Result<Fingerprint, String>>,
    objects: Option<Objects>,
    known: Known,
    parts: Parts,
    changed: bool,
    published: watch::Sender<InForce>,
}

/// The services that there are, as far as they are known.
#[derive(Debug)]
pub struct Known {
    /// Those of the configuration.
    pub configured: Services,
    /// Those of a cluster, where one is asked; none inside before it has answered.
    pub cluster: Option<watch::Receiver<Option<Arc<discovery::Services>>>>,
}

impl Known {
    /// All; none while not all are known.
    fn all(&mut self) -> Option<Services> {
        let Some(cluster) = &mut self.cluster else { return Some(self.configured.clone()) };
        let there = cluster.borrow_and_update().clone()?;
        let served = there.keys().map(|id| (id.clone(), Reach::Served));
        Some(served.chain(self.configured.clone()).collect())
    }

    fn has_changed(&self) -> bool {
        self.cluster.as_ref().is_some_and(|cluster| cluster.has_changed().unwrap_or(false))
    }
}

impl Goals {
    /// Reads the folder once, and gives what is in force from then on.
    pub fn open(
        folder: Option<PathBuf>,
        mut known: Known,
        objects: Option<Objects>,
    ) -> (Self, watch::Receiver<InForce>) {
        let mut parts = Parts::default();
        parts.know(known.all());
        parts.all_read(objects.is_none());
        let (published, reader) = watch::channel(InForce::default());
        let changed = true;
        let mut goals = Self { folder, seen: None, objects, known, parts, changed, published };
        goals.look();
        goals.settle();
        (goals, reader)
    }

    /// Watches until `cancel`.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        let mut gathered = tokio::time::interval(GATHER);
        loop {
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                _ = gathered.tick(), if self.changed => self.settle(),
                _ = looks.tick() => self.look(),
                change = next(&mut self.objects) => self.take(change),
            }
        }
    }

    fn look(&mut self) {
        if self.known.has_changed() {
            self.parts.know(self.known.all());
            self.changed = true;
        }
        let Some(folder) = &self.folder else { return };
        let now = fingerprint(folder);
        if self.seen.as_ref() == Some(&now) {
            return;
        }
        let said = now.as_ref().map_err(Clone::clone).and_then(read);
        let said = said.map_err(|what| vec![unreadable(folder, &what)]);
        self.parts.offer(Part::Folder, said);
        self.seen = Some(now);
        self.changed = true;
    }

    fn take(&mut self, change: Change) {
        match change {
            Change::Said(name, document) => {
                self.parts.offer(Part::Object(name), Ok(vec![document]));
            }
            Change::Gone(name) => self.parts.remove(&Part::Object(name)),
            Change::All { objects, complete } => {
                self.parts.keep_objects(&objects.keys().cloned().collect());
                for (name, document) in objects {
                    self.parts.offer(Part::Object(name), Ok(vec![document]));
                }
                self.parts.all_read(complete);
            }
        }
        self.changed = true;
    }

    fn settle(&mut self) {
        self.changed = false;
        let outcome = self.parts.settle();
        self.tell(outcome);
        self.published.send_replace(self.parts.in_force().clone());
    }

    fn tell(&self, outcome: Outcome) {
        let in_force = self.parts.in_force();
        let checked = in_force.checked();
        match outcome {
            Outcome::Taken => {
                tracing::info!(policies = checked.policies.len(), "policies in force");
                for warning in &checked.warnings {
                    tracing::warn!(problem = %warning.render(Colour::Never), "policy warning");
                }
            }
            Outcome::Unchanged => {}
            Outcome::Refused => {
                let consequence = match checked.policies.len() {
                    0 => "no policy is in force",
                    _ => "the last good ones stay in force",
                };
                for problem in in_force.refused() {
                    let problem = problem.render(Colour::Never);
                    tracing::error!(%problem, "policies refused; {consequence}");
                }
            }
        }
    }
}

/// The next change of an object; never where there are none.
async fn next(objects: &mut Option<Objects>) -> Change {
    match objects {
        Some(objects) => objects.next().await,
        None => std::future::pending().await,
    }
}

fn unreadable(folder: &Path, what: &str) -> Problem {
    let mend = "make the folder readable, or name another with policies: DIR";
    Problem::of_file(&folder.display().to_string(), Code::Unreadable, what, mend)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: {name: shop, namespace: demo}
spec:
  targetRefs: [{group: '', kind: Service, name: shop}]
  mode: Enforce
";

    fn nobody() -> Known {
        Known { configured: Services::new(), cluster: None }
    }

    #[test]
    fn a_wrong_file_keeps_the_last_good_goals_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("shop.yaml"), POLICY).unwrap();
        let (mut goals, reader) = Goals::open(Some(folder.path().to_owned()), nobody(), None);
        assert_eq!(reader.borrow().goals().services.len(), 1);
        std::fs::write(folder.path().join("shop.yaml"), POLICY.replace("Enforce", "Enforced"))
            .unwrap();
        goals.look();
        goals.settle();
        assert_eq!(reader.borrow().goals().services.len(), 1);
        assert_eq!(reader.borrow().refused()[0].line, 6);
        std::fs::write(folder.path().join("shop.yaml"), POLICY.replace("Enforce", "Observe"))
            .unwrap();
        goals.look();
        goals.settle();
        assert!(reader.borrow().refused().is_empty());
        std::fs::remove_file(folder.path().join("shop.yaml")).unwrap();
        goals.look();
        goals.settle();
        assert!(reader.borrow().goals().services.is_empty());
    }

    #[test]
    fn a_missing_folder_is_a_problem_and_not_an_end() {
        let (goals, reader) = Goals::open(Some("/nowhere/policies".into()), nobody(), None);
        drop(goals);
        assert!(reader.borrow().refused()[0].what.contains("/nowhere/policies"));
    }
}
