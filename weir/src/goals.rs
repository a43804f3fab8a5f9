//! The folder of policies: read, watched, and kept in force.
//!
//! Watched by looking once a second at each file's size and time of change: that sees the swapped
//! links of a mounted ConfigMap and network file systems too, where notifications do not come.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use weir_collectors::kubernetes::discovery;
use weir_policies::check::{Document, FILES_MAX, Reach, Services};
use weir_policies::in_force::{InForce, Outcome};
use weir_policies::problem::{Code, Colour, Problem};

/// How often the folder is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Folders inside one another that are looked into.
const DEPTH_MAX: usize = 8;

/// A file as far as its change can be seen from outside.
type Fingerprint = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// The folder and what of it is in force.
#[derive(Debug)]
pub struct Goals {
    folder: Option<PathBuf>,
    seen: Option<Result<Fingerprint, String>>,
    known: Known,
    in_force: InForce,
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
    pub fn open(folder: Option<PathBuf>, mut known: Known) -> (Self, watch::Receiver<InForce>) {
        let mut in_force = InForce::default();
        in_force.know(known.all());
        let (published, reader) = watch::channel(in_force.clone());
        let mut goals = Self { folder, seen: None, known, in_force, published };
        if goals.folder.is_none() {
            goals.in_force.offer(&[]);
            goals.published.send_replace(goals.in_force.clone());
        }
        goals.look();
        (goals, reader)
    }

    /// Watches the folder until `cancel`.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        while cancel.run_until_cancelled(ticks.tick()).await.is_some() {
            self.look();
        }
    }

    fn look(&mut self) {
        let Some(folder) = &self.folder else { return };
        if self.known.has_changed() {
            self.in_force.know(self.known.all());
            self.seen = None;
        }
        let now = fingerprint(folder);
        if self.seen.as_ref() == Some(&now) {
            return;
        }
        let outcome = match now.as_ref().map_err(Clone::clone).and_then(read) {
            Ok(documents) => self.in_force.offer(&documents),
            Err(what) => {
                let mend = "make the folder readable, or name another with policies: DIR";
                let path = folder.display().to_string();
                self.in_force.refuse(vec![Problem::of_file(&path, Code::Unreadable, &what, mend)])
            }
        };
        self.seen = Some(now);
        self.tell(outcome);
        self.published.send_replace(self.in_force.clone());
    }

    fn tell(&self, outcome: Outcome) {
        let checked = self.in_force.checked();
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
                for problem in self.in_force.refused() {
                    let problem = problem.render(Colour::Never);
                    tracing::error!(%problem, "policies refused; {consequence}");
                }
            }
        }
    }
}

fn fingerprint(folder: &Path) -> Result<Fingerprint, String> {
    let mut found = Fingerprint::new();
    collect(folder, DEPTH_MAX, &mut found)?;
    Ok(found)
}

fn collect(folder: &Path, depth: usize, found: &mut Fingerprint) -> Result<(), String> {
    let failed = |cause| format!("{} cannot be listed: {cause}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        // Follows links: a mounted ConfigMap is made of them.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_dir() && depth > 0 {
            collect(&path, depth - 1, found)?;
        } else if is_policy(&path) && found.len() <= FILES_MAX {
            found.insert(path, (metadata.modified().ok(), metadata.len()));
        }
    }
    Ok(())
}

fn is_policy(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension.as_str()))
}

fn read(files: &Fingerprint) -> Result<Vec<Document>, String> {
    let read = |path: &PathBuf| {
        let bytes = std::fs::read(path)
            .map_err(|cause| format!("{} cannot be read: {cause}", path.display()))?;
        Ok(Document::new(path.display().to_string(), bytes))
    };
    files.keys().map(read).collect()
}

/// The documents of files and folders, as `weir policy check` is given them.
pub fn documents(paths: &[PathBuf]) -> Result<Vec<Document>, Vec<Problem>> {
    let mut files = Fingerprint::new();
    let mut problems = Vec::new();
    for path in paths {
        let before = files.len();
        let listed = if path.is_dir() {
            collect(path, DEPTH_MAX, &mut files).and_then(|()| {
                let found = files.len() > before || paths.len() > 1;
                let what = "holds no policies: no file there ends in .yaml, .yml or .json";
                if found { Ok(()) } else { Err(what.to_owned()) }
            })
        } else {
            files.insert(path.clone(), (None, 0));
            Ok(())
        };
        if let Err(what) = listed {
            let mend = "name files or folders that this user may read";
            problems.push(Problem::of_file(
                &path.display().to_string(),
                Code::Unreadable,
                &what,
                mend,
            ));
        }
    }
    let mut documents = Vec::new();
    for path in files.keys() {
        match std::fs::read(path) {
            Ok(bytes) => documents.push(Document::new(path.display().to_string(), bytes)),
            Err(cause) => {
                let what = format!("cannot be read: {cause}");
                let mend = "name files or folders that this user may read";
                let shown = path.display().to_string();
                problems.push(Problem::of_file(&shown, Code::Unreadable, &what, mend));
            }
        }
    }
    if problems.is_empty() { Ok(documents) } else { Err(problems) }
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
        let (mut goals, reader) = Goals::open(Some(folder.path().to_owned()), nobody());
        assert_eq!(reader.borrow().goals().services.len(), 1);
        std::fs::write(folder.path().join("shop.yaml"), POLICY.replace("Enforce", "Enforced"))
            .unwrap();
        goals.look();
        assert_eq!(reader.borrow().goals().services.len(), 1);
        assert_eq!(reader.borrow().refused()[0].line, 6);
        std::fs::write(folder.path().join("shop.yaml"), POLICY.replace("Enforce", "Observe"))
            .unwrap();
        goals.look();
        assert!(reader.borrow().refused().is_empty());
        std::fs::remove_file(folder.path().join("shop.yaml")).unwrap();
        goals.look();
        assert!(reader.borrow().goals().services.is_empty());
    }

    #[test]
    fn a_missing_folder_is_a_problem_and_not_an_end() {
        let (goals, reader) = Goals::open(Some("/nowhere/policies".into()), nobody());
        drop(goals);
        assert!(reader.borrow().refused()[0].what.contains("/nowhere/policies"));
    }
}
