//! The lease in the API server: [`lease`](super::lease) decides, this moves the bytes.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, ResourceExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use weir_collectors::kubernetes::trouble::{Place, Trouble};
use weir_collectors::status::{Kind, Publisher, Status};
use weir_engine::units::Moment;

use super::lease::{Answer, Ask, Election, LEASE, Leader, Own, RETRY, Record, Term};
use crate::clock::Clock;

/// How long one answer may take: two fit into the time in which a leader must renew.
const ANSWER_WITHIN: Duration = Duration::from_secs(4);

/// The file in the data folder that remembers the highest epoch, and by which name it was led.
const REMEMBERED: &str = "epoch";

/// The annotation of the lease that says where its holder tells others what it serves.
const SERVES_AT: &str = "weir.dev/serves-at";

/// The one that says where its pages are.
const PAGES_AT: &str = "weir.dev/pages-at";

/// How it stands with the lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// The right to decide, if this replica has it.
    pub term: Option<Term>,
    /// Who holds the lease, as far as is known.
    pub holder: Option<Arc<str>>,
    /// Somebody else who decides, and can be followed.
    pub leader: Option<Leader>,
}

/// Whether this replica may write now: it decides, or there are no others.
pub(super) fn may_write(standing: Option<&watch::Receiver<Standing>>, now: Moment) -> bool {
    standing.is_none_or(|one| one.borrow().term.is_some_and(|term| term.lasts(now)))
}

/// What a replica brings to the election.
#[derive(Clone, Debug)]
pub struct Stand<'a> {
    /// The lease's name.
    pub lease: &'a str,
    /// Where this replica tells others what it serves; empty if nowhere.
    pub serves_at: String,
    /// Where its pages are; empty if nowhere.
    pub pages_at: String,
    /// Its data folder.
    pub folder: &'a Path,
    /// Whether nobody else can be using that folder: an earlier life that did is over.
    pub alone: bool,
}

/// One replica's part in the election.
pub struct Leading {
    election: Election,
    api: Api<Lease>,
    name: String,
    namespace: String,
    clock: Clock,
    folder: PathBuf,
    standing: watch::Sender<Standing>,
    publisher: Publisher,
}

impl std::fmt::Debug for Leading {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Leading").field("election", &self.election).finish_non_exhaustive()
    }
}

impl Leading {
    /// A replica that wants to lead by a lease in its own namespace.
    pub fn new(
        client: &Client,
        Stand { lease: name, serves_at, pages_at, folder, alone }: Stand<'_>,
        clock: Clock,
    ) -> (Self, watch::Receiver<Standing>, watch::Receiver<Status>) {
        let namespace = client.default_namespace().to_owned();
        let place = format!("lease {namespace}/{name}");
        let (publisher, status) = Publisher::new("kubernetes", Kind::Kubernetes, &place);
        let (standing, reader) = watch::channel(Standing::default());
        let (highest, earlier) = remembered(folder);
        let earlier = earlier.filter(|_| alone);
        let own = Own { name: identity(), serves_at, pages_at, earlier };
        let leading = Self {
            election: Election::new(own, highest),
            api: Api::namespaced(client.clone(), &namespace),
            name: name.to_owned(),
            namespace,
            clock,
            folder: folder.to_owned(),
            standing,
            publisher,
        };
        (leading, reader, status)
    }

    /// Stands for election until `stop`, then gives the lease back.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            let round = async {
                self.attempt().await;
                sleep(RETRY).await;
            };
            if stop.run_until_cancelled(round).await.is_none() {
                return self.release().await;
            }
        }
    }

    async fn attempt(&mut self) {
        let now = self.clock.now();
        let mut ask = Some(self.election.ask(now, &stamp(now)));
        while let Some(asked) = ask {
            let began = self.clock.now();
            let answer = self.put(asked).await;
            let now = self.clock.now();
            ask = self.election.hear(answer, (began, now), &stamp(now));
        }
        self.tell();
    }

    async fn release(&mut self) {
        let now = self.clock.now();
        let ask = self.election.release(&stamp(now));
        self.standing.send_replace(Standing::default());
        if let Some(ask) = ask
            && matches!(self.put(ask).await, Answer::Stands(_))
        {
            tracing::info!(lease = %self.name, "the lease is given back");
        }
    }

    fn tell(&mut self) {
        let now = self.clock.now();
        let term = self.election.term(now);
        let leader = self.election.leader(now);
        let holder = self.election.holder().map(Arc::from);
        let before = self.standing.borrow().term;
        match (before.map(|term| term.epoch), term.map(|term| term.epoch)) {
            (before, Some(epoch)) if before != Some(epoch) => {
                tracing::info!(lease = %self.name, epoch, "this replica decides");
                remember(&self.folder, epoch, holder.as_deref().unwrap_or_default());
            }
            (Some(epoch), None) => {
                tracing::warn!(lease = %self.name, epoch, "this replica decides no more");
            }
            _ => {}
        }
        self.standing.send_replace(Standing { term, holder, leader });
    }

    /// Asks the API server, and says in the status what is wrong.
    async fn put(&self, ask: Ask) -> Answer {
        let place = Place {
            resource: "leases",
            group: "coordination.k8s.io",
            namespace: Some(self.namespace.clone()),
        };
        let (verb, asking) = match &ask {
            Ask::Read => ("get", self.read()),
            Ask::Create(record) | Ask::Replace(record) => {
                let verb = if matches!(ask, Ask::Create(_)) { "create" } else { "update" };
                return self.noted(verb, place, self.write(verb, record)).await;
            }
        };
        self.noted(verb, place, asking).await
    }

    async fn noted(
        &self,
        verb: &'static str,
        place: Place,
        asking: impl Future<Output = kube::Result<Answer>>,
    ) -> Answer {
        let at = self.clock.now();
        match timeout(ANSWER_WITHIN, asking).await {
            Ok(Ok(answer)) => {
                self.publisher.succeeded(at);
                answer
            }
            // Another was faster, which is how it should be.
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Answer::Lost,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Answer::None,
            Ok(Err(error)) => {
                self.publisher.failed(at, &Trouble::of(&error, &place, verb));
                Answer::Lost
            }
            Err(_) => {
                self.publisher.failed(at, &Trouble::Silent { place, after: ANSWER_WITHIN });
                Answer::Lost
            }
        }
    }

    async fn read(&self) -> kube::Result<Answer> {
        let found = self.api.get_opt(&self.name).await?;
        Ok(found.map_or(Answer::None, |lease| Answer::Stands(record(&lease))))
    }

    async fn write(&self, verb: &str, new: &Record) -> kube::Result<Answer> {
        let lease = lease(&self.name, new);
        let parameters = PostParams::default();
        let written = match verb {
            "create" => self.api.create(&parameters, &lease).await?,
            _ => self.api.replace(&self.name, &parameters, &lease).await?,
        };
        Ok(Answer::Stands(record(&written)))
    }
}

/// A moment as what tells one renewal from the next.
fn stamp(now: Moment) -> String {
    now.millis().to_string()
}

fn lease(name: &str, record: &Record) -> Lease {
    let renewed = record.renewed.parse().ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let seconds = i32::try_from(LEASE.as_secs()).expect("a few seconds");
    Lease {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            resource_version: Some(record.version.clone()).filter(|version| !version.is_empty()),
            annotations: Some(annotations(record)).filter(|all| !all.is_empty()),
            ..ObjectMeta::default()
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(record.holder.clone()),
            // Given back: whoever comes next need not wait.
            lease_duration_seconds: Some(if record.holder.is_empty() { 1 } else { seconds }),
            lease_transitions: i32::try_from(record.epoch).ok(),
            renew_time: renewed.map(MicroTime),
            ..LeaseSpec::default()
        }),
    }
}

fn annotations(record: &Record) -> BTreeMap<String, String> {
    let all = [(SERVES_AT, &record.serves_at), (PAGES_AT, &record.pages_at)];
    let all = all.into_iter().filter(|(_, at)| !at.is_empty());
    all.map(|(name, at)| (name.to_owned(), at.clone())).collect()
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.clone().unwrap_or_default();
    Record {
        holder: spec.holder_identity.unwrap_or_default(),
        epoch: spec.lease_transitions.and_then(|count| u64::try_from(count).ok()).unwrap_or(0),
        renewed: spec.renew_time.map(|at| at.0.to_string()).unwrap_or_default(),
        serves_at: lease.annotations().get(SERVES_AT).cloned().unwrap_or_default(),
        pages_at: lease.annotations().get(PAGES_AT).cloned().unwrap_or_default(),
        version: lease.resource_version().unwrap_or_default(),
    }
}

/// The host's name, which is the pod's, and something that no other life had.
fn identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    // Keyed at random, anew in each process.
    let life = RandomState::new().hash_one(());
    format!("{}_{life:016x}", host.trim())
}

/// The highest epoch that this folder has seen lead, and by which name.
fn remembered(folder: &Path) -> (u64, Option<String>) {
    let text = std::fs::read_to_string(folder.join(REMEMBERED)).unwrap_or_default();
    let mut lines = text.lines().map(str::trim);
    let epoch = lines.next().and_then(|line| line.parse().ok()).unwrap_or(0);
    (epoch, lines.next().filter(|name| !name.is_empty()).map(str::to_owned))
}

/// A lease that is deleted begins to count anew; its epochs shall not.
fn remember(folder: &Path, epoch: u64, name: &str) {
    let path = folder.join(REMEMBERED);
    if let Err(error) = std::fs::write(&path, format!("{epoch}\n{name}\n")) {
        tracing::warn!(path = %path.display(), %error, "the epoch is not remembered");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_the_lease_that_it_is_written_as() {
        let written = Record {
            holder: "weir-0_1".to_owned(),
            epoch: 7,
            renewed: "1700000000000".to_owned(),
            serves_at: "10.0.0.7:18010".to_owned(),
            pages_at: "10.0.0.7:9980".to_owned(),
            version: "42".to_owned(),
        };
        let read = record(&lease("weir", &written));
        assert_eq!(Record { renewed: written.renewed.clone(), ..read.clone() }, written);
        assert_eq!(read.renewed, "2023-11-14T22:13:20Z");
    }

    #[test]
    fn epochs_are_remembered() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(remembered(folder.path()), (0, None));
        remember(folder.path(), 9, "weir-0_1");
        assert_eq!(remembered(folder.path()), (9, Some("weir-0_1".to_owned())));
        std::fs::write(folder.path().join(REMEMBERED), "9\n").unwrap();
        assert_eq!(remembered(folder.path()), (9, None), "as earlier builds wrote it");
    }

    #[test]
    fn no_two_lives_have_one_name() {
        assert_ne!(identity(), identity());
    }
}
