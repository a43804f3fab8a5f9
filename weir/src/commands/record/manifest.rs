//! What a recording was asked for: kept beside its journal, so that the same command goes on and
//! another one does not.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use weir_collectors::prometheus::mesh::Mesh;
use weir_engine::goal::Goals;
use weir_engine::units::Moment;

use super::time::Steps;
use crate::recording::hex;
use crate::times::shown;

/// The file's name.
const NAME: &str = "recording.json";

/// Its form.
const VERSION: u32 = 1;

/// A recording's request, with nothing left open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    version: u32,
    /// The server, without credentials.
    pub(super) server: String,
    pub(super) preset: String,
    pub(super) start: Time,
    pub(super) end: Time,
    pub(super) step_seconds: u64,
    /// SHA-256 of the goals.
    pub(super) policies: String,
}

/// A time as it was written and as it was understood.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Time {
    pub(super) written: String,
    pub(super) millis: u64,
}

/// What is asked for now; what is left open fits everything.
#[derive(Clone, Debug)]
pub(super) struct Request {
    /// The server, without credentials.
    pub(super) server: String,
    pub(super) preset: Option<Mesh>,
    pub(super) start: Time,
    pub(super) end: Time,
    pub(super) step: Option<Duration>,
    pub(super) policies: String,
}

impl Request {
    /// The request with what it left open.
    pub(super) fn settled(&self, preset: Mesh, step: Duration) -> Manifest {
        Manifest {
            version: VERSION,
            server: self.server.clone(),
            preset: preset.name().to_owned(),
            start: self.start.clone(),
            end: self.end.clone(),
            step_seconds: step.as_secs(),
            policies: self.policies.clone(),
        }
    }
}

impl Time {
    /// What is written means the same as long as it is written the same: a week before now is a
    /// week before the recording began.
    fn differs(&self, other: &Self) -> bool {
        self.written != other.written && self.millis != other.millis
    }

    fn shown(&self) -> String {
        format!("{} ({})", self.written, shown(Moment::from_millis(self.millis)))
    }
}

impl Manifest {
    /// The one in a folder, if there is one.
    pub(super) fn load(folder: &Path) -> anyhow::Result<Option<Self>> {
        let path = folder.join(NAME);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => {
                return refuse_a_foreign_journal(folder).map(|()| None);
            }
            Err(cause) => return Err(cause).context(format!("cannot read {}", path.display())),
        };
        let unreadable = || {
            let path = path.display();
            format!("{path} is not what weir record writes: name another --out")
        };
        let manifest: Self = serde_json::from_slice(&text).with_context(unreadable)?;
        if manifest.version != VERSION {
            bail!("{}", unreadable());
        }
        Ok(Some(manifest))
    }

    /// Writes it: whole or not at all.
    pub(super) fn keep(&self, folder: &Path) -> anyhow::Result<()> {
        let (path, fresh) = (folder.join(NAME), folder.join("recording.new"));
        let text = serde_json::to_vec_pretty(self).context("writing down what is recorded")?;
        let written = fs::write(&fresh, text).and_then(|()| fs::rename(&fresh, &path));
        written.with_context(|| format!("cannot write {}", path.display()))
    }

    /// Whose metrics.
    pub(super) fn mesh(&self) -> anyhow::Result<Mesh> {
        let named = Mesh::ALL.into_iter().find(|mesh| mesh.name() == self.preset);
        named.with_context(|| format!("preset {} is unknown to this Weir", self.preset))
    }

    /// The steps.
    pub(super) fn steps(&self) -> anyhow::Result<Steps> {
        let at = |time: &Time| Moment::from_millis(time.millis);
        let step = Duration::from_secs(self.step_seconds);
        Steps::between(at(&self.start), at(&self.end), step).map_err(anyhow::Error::msg)
    }

    /// Refuses to go on with a recording that was asked for otherwise.
    pub(super) fn refuse_another(&self, asked: &Request, folder: &Path) -> anyhow::Result<()> {
        let mut differences = Vec::new();
        let mut differs = |name: &str, kept: &str, now: &str| {
            differences.push(format!("{name} was {kept} and is {now}"));
        };
        if self.server != asked.server {
            differs("--prometheus", &self.server, &asked.server);
        }
        if self.start.differs(&asked.start) {
            differs("--start", &self.start.shown(), &asked.start.shown());
        }
        if self.end.differs(&asked.end) {
            differs("--end", &self.end.shown(), &asked.end.shown());
        }
        if let Some(preset) = asked.preset.filter(|preset| preset.name() != self.preset) {
            differs("--preset", &self.preset, preset.name());
        }
        if let Some(step) = asked.step.filter(|step| step.as_secs() != self.step_seconds) {
            differs("--step", &format!("{}s", self.step_seconds), &format!("{step:?}"));
        }
        if self.policies != asked.policies {
            differences.push("the policies are others".to_owned());
        }
        if differences.is_empty() {
            return Ok(());
        }
        let folder = folder.display();
        let differences = differences.join(", ");
        bail!(
            "{folder} has a recording of something else: {differences}; name another --out, or \
             delete {folder} to begin anew"
        )
    }
}

/// A journal that others wrote must not get a past.
fn refuse_a_foreign_journal(folder: &Path) -> anyhow::Result<()> {
    if folder.join("journal").exists() {
        let folder = folder.display();
        bail!("{folder} has a journal that weir record did not write: name another --out");
    }
    Ok(())
}

/// Tells goals from others.
pub(super) fn digest(goals: &Goals) -> String {
    let bytes = postcard::to_allocvec(goals).expect("goals are plain data");
    hex(&Sha256::digest(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> Request {
        let time = |written: &str, millis| Time { written: written.to_owned(), millis };
        Request {
            server: "http://p:9090".to_owned(),
            preset: None,
            start: time("-7d", 1_700_000_000_000),
            end: time("now", 1_700_604_800_000),
            step: None,
            policies: digest(&Goals::default()),
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut Request), expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let manifest = request().settled(Mesh::Istio, Duration::from_secs(15));
        manifest.keep(folder.path()).unwrap();
        let kept = Manifest::load(folder.path()).unwrap().unwrap();
        assert_eq!(kept, manifest);
        let mut asked = request();
        change(&mut asked);
        let refused = kept.refuse_another(&asked, folder.path());
        let said = refused.err().map(|error| error.to_string()).unwrap_or_default();
        assert_eq!(said.is_empty(), expected.is_empty(), "{said}");
        for words in expected {
            assert!(said.contains(words), "{said}");
        }
    }

    #[test]
    fn the_same_goes_on_and_another_is_refused() {
        check(|_| {}, &[]);
        check(|asked| asked.preset = Some(Mesh::Istio), &[]);
        check(|asked| asked.step = Some(Duration::from_secs(15)), &[]);
        // The same words an hour later, or the same moment in other words.
        check(|asked| asked.start.millis += 3_600_000, &[]);
        check(|asked| "2023-11-14T22:13:20Z".clone_into(&mut asked.start.written), &[]);
        check(
            |asked| {
                "-8d".clone_into(&mut asked.start.written);
                asked.start.millis -= 86_400_000;
            },
            &["--start was -7d (2023-11-14T22:13:20Z) and is -8d", "another --out"],
        );
        check(|asked| "http://q".clone_into(&mut asked.server), &["--prometheus", "http://q"]);
        check(|asked| asked.preset = Some(Mesh::Envoy), &["--preset was istio and is envoy"]);
        check(|asked| asked.step = Some(Duration::from_secs(30)), &["--step was 15s and is 30s"]);
        check(|asked| asked.policies.clear(), &["the policies are others"]);
    }

    #[test]
    fn a_live_journal_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Manifest::load(folder.path()).unwrap().is_none());
        fs::create_dir(folder.path().join("journal")).unwrap();
        let error = Manifest::load(folder.path()).unwrap_err().to_string();
        assert!(error.contains("did not write"), "{error}");
    }
}
