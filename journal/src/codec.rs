//! The body of a frame, from format 2 on: a kind, and fields.
//!
//! What is counted stands in columns of whole numbers ([`column`]), over all endpoints of all
//! services at once; names stand in a segment once ([`names`]). Topology, goals and decisions,
//! which are rare at rest, are postcard's bytes with their layouts ([`crate::layout`]), compressed.
//! Writer and reader remember the frames before in the same segment, and nothing from outside it.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use thiserror::Error;
use weir_engine::decision::ServiceDecision;
use weir_engine::goal::Goals;
use weir_engine::names::ServiceId;
use weir_engine::observation::Observation;
use weir_engine::topology::Topology;
use weir_engine::units::Moment;

use crate::layout::{Layout, StateImage, Unreadable};
use crate::{Pushed, Record, Step};
use bytes::{Corrupt, unzigzag, zigzag};
use lists::Lengths;
use names::{Cursor, Read, Written};
use sheet::{In, Out, field};

pub(crate) mod bytes;
mod column;
mod float;
mod foreign;
mod latency;
mod lists;
mod names;
mod pack;
mod rows;
mod sheet;
mod traffic;

const OPENED: u8 = 1;
const STEP: u8 = 2;
const CLOSED: u8 = 3;

const UNRECORDED: u8 = 1;

/// More rows, services and the like in one frame are damage, not data: 100,000 endpoints seen from
/// twenty zones. It bounds what bytes can make a reader allocate to some 300 MB.
const ITEMS_MAX: u64 = 1 << 21;

/// Why a body cannot be read.
#[derive(Debug, Error)]
pub(crate) enum BodyError {
    /// Its bytes are not a writer's.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// They are, but of a build with other structures.
    #[error("{what}: {cause}")]
    Other {
        /// What it holds.
        what: &'static str,
        /// Why not.
        #[source]
        cause: Unreadable,
    },
    /// A kind of record that this build does not know.
    #[error("a record of kind {0}, which a newer weir writes")]
    Kind(u8),
}

/// What of a frame's allowed items is left.
#[derive(Debug)]
struct Room(u64);

impl Room {
    fn take(&mut self, count: u64) -> Result<usize, Corrupt> {
        self.0 = self.0.checked_sub(count).ok_or(Corrupt("a list of an absurd length"))?;
        usize::try_from(count).map_err(|_| Corrupt("a list of an absurd length"))
    }
}

/// A place in two columns of a service's names.
#[derive(Debug)]
struct ServiceCursor {
    namespace: Cursor,
    name: Cursor,
}

/// The layouts of what is kept as postcard.
#[derive(Clone, Debug)]
struct Layouts {
    topology: Layout,
    goals: Layout,
    changed: Layout,
}

impl Layouts {
    fn own() -> Self {
        Self {
            topology: Layout::of::<Topology>(),
            goals: Layout::of::<Goals>(),
            changed: Layout::of::<ServiceDecision>(),
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let mut plain = Vec::new();
        for one in [&self.topology, &self.goals, &self.changed] {
            bytes::put_sized(&mut plain, one.as_bytes());
        }
        pack::write(out, &plain, &[]);
    }

    fn read(packed: &[u8]) -> Option<Self> {
        let plain = pack::read(&mut &*packed, &[])?;
        let rest = &mut &plain[..];
        let mut next = || Some(Layout::from_bytes(bytes::sized(rest)?));
        Some(Self { topology: next()?, goals: next()?, changed: next()? })
    }
}

/// The last decision of each service that stands in a segment, plain: the next one is much alike.
type Changed = BTreeMap<ServiceId, Vec<u8>>;

/// Makes the bodies of a segment's frames.
#[derive(Debug, Default)]
pub(crate) struct Encoder {
    out: Out,
    names: Written,
    at: u64,
    layouts_told: bool,
    changed: Changed,
}

fn plain(value: &impl Serialize) -> Vec<u8> {
    postcard::to_allocvec(value).expect("a record is plain data")
}

impl Encoder {
    pub(crate) fn body(&mut self, record: &Record) -> Vec<u8> {
        let kind = match record {
            Record::Opened { at, build, model, epoch, state } => {
                self.write_at(*at);
                self.out.blob(field::BUILD).extend(build.as_bytes());
                self.out.blob(field::MODEL).extend(model.as_bytes());
                if let Some(epoch) = epoch {
                    bytes::put(self.out.blob(field::EPOCH), *epoch);
                }
                pack::write(self.out.blob(field::STATE_LAYOUT), state.layout().as_bytes(), &[]);
                pack::write(self.out.blob(field::STATE), state.bytes(), &[]);
                OPENED
            }
            Record::Step(step) => {
                self.write_step(step);
                STEP
            }
            Record::Closed { at } => {
                self.write_at(*at);
                CLOSED
            }
        };
        let mut body = vec![kind];
        self.out.finish(&mut body);
        body
    }

    fn write_at(&mut self, at: Moment) {
        bytes::put(self.out.blob(field::AT), zigzag(at.millis().wrapping_sub(self.at)));
        self.at = at.millis();
    }

    fn write_step(&mut self, step: &Step) {
        self.out.blob(field::DIGEST).extend(step.decision);
        self.write_observation(&step.observation);
        lists::write_pushed(&mut self.out, &mut self.names, &step.pushed);
        lists::write_lengths(&mut self.out, step);
        if !step.changed.is_empty() {
            self.tell_layouts();
        }
        let mut cursor = ServiceCursor::new(field::CHANGED_NAMESPACE, field::CHANGED_NAME);
        for decision in &step.changed {
            cursor.push((&mut self.out, &mut self.names), &decision.service);
            let plain = plain(decision);
            let last = self.changed.entry(decision.service.clone()).or_default();
            pack::write(self.out.blob(field::CHANGED), &plain, last);
            *last = plain;
        }
    }

    fn write_observation(&mut self, observation: &Observation) {
        self.write_at(observation.at);
        let (out, names) = (&mut self.out, &mut self.names);
        traffic::write(out, names, &observation.traffic);
        lists::write_indicated(out, names, &observation.indicated);
        lists::write_receipts(out, names, &observation.receipts);
        lists::write_logs(out, names, &observation.logs);
        lists::write_fitted(out, names, &observation.fitted);
        lists::write_words(out, names, &observation.words);
        if let Some(budget) = observation.log_budget {
            bytes::put(out.blob(field::LOG_BUDGET), budget.into());
        }
        if observation.unrecorded {
            out.blob(field::FLAGS).push(UNRECORDED);
        }
        if let Some(topology) = &observation.topology {
            pack::write(out.blob(field::TOPOLOGY), &plain(topology), &[]);
        }
        if let Some(goals) = &observation.goals {
            pack::write(out.blob(field::GOALS), &plain(goals), &[]);
        }
        if observation.topology.is_some() || observation.goals.is_some() {
            self.tell_layouts();
        }
    }

    fn tell_layouts(&mut self) {
        if !self.layouts_told {
            Layouts::own().write(self.out.blob(field::LAYOUTS));
            self.layouts_told = true;
        }
    }
}

/// Reads the bodies of a segment's frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    from: In,
    names: Read,
    at: u64,
    layouts: Option<(Layouts, Layouts)>,
    changed: Changed,
}

impl Decoder {
    pub(crate) fn record(&mut self, body: &[u8]) -> Result<Record, BodyError> {
        let (&kind, fields) = body.split_first().ok_or(Corrupt("an empty frame"))?;
        self.from.open(fields)?;
        let record = match kind {
            OPENED => Record::Opened {
                at: self.read_at()?,
                build: self.text(field::BUILD)?,
                model: self.text(field::MODEL)?,
                epoch: self.from.take_from(field::EPOCH, bytes::varint),
                state: self.state()?,
            },
            STEP => Record::Step(Box::new(self.step()?)),
            CLOSED => Record::Closed { at: self.read_at()? },
            other => return Err(BodyError::Kind(other)),
        };
        self.from.check()?;
        Ok(record)
    }

    fn read_at(&mut self) -> Result<Moment, Corrupt> {
        let difference = self.from.take_from(field::AT, bytes::varint).ok_or(Corrupt("a time"))?;
        self.at = self.at.wrapping_add(unzigzag(difference));
        Ok(Moment::from_millis(self.at))
    }

    fn text(&self, number: usize) -> Result<String, Corrupt> {
        let bytes = self.from.blob(number).unwrap_or_default();
        Ok(std::str::from_utf8(bytes).map_err(|_| Corrupt("a text"))?.to_owned())
    }

    fn state(&mut self) -> Result<StateImage, Corrupt> {
        let mut packed = |number| {
            self.from.take_from(number, |rest| pack::read(rest, &[])).ok_or(Corrupt("the state"))
        };
        let layout = Layout::from_bytes(&packed(field::STATE_LAYOUT)?);
        Ok(StateImage::new(layout, packed(field::STATE)?))
    }

    fn step(&mut self) -> Result<Step, BodyError> {
        let digest = self.from.blob(field::DIGEST).unwrap_or_default();
        let decision = digest.try_into().map_err(|_| Corrupt("a decision's digest"))?;
        if let Some(told) = self.from.blob(field::LAYOUTS) {
            let told = Layouts::read(told).ok_or(Corrupt("the layouts"))?;
            self.layouts = Some((told, Layouts::own()));
        }
        let (observation, pushed) = self.observation()?;
        Ok(Step { observation, decision, changed: self.changed()?, pushed })
    }

    /// What was seen, and what was pushed: the lengths of their lists stand together.
    fn observation(&mut self) -> Result<(Observation, Vec<Pushed>), BodyError> {
        let at = self.read_at()?;
        let mut room = Room(ITEMS_MAX);
        let (from, names) = (&mut self.from, &mut self.names);
        let lengths = Lengths::read(from, &mut room)?;
        let traffic = traffic::read(from, names, lengths.traffic, &mut room)?;
        let indicated = lists::read_indicated(from, names, lengths.indicated)?;
        let receipts = lists::read_receipts(from, names, lengths.receipts)?;
        let logs = lists::read_logs(from, names, lengths.logs)?;
        let fitted = lists::read_fitted(from, names, lengths.fitted)?;
        let words = lists::read_words(from, names, lengths.words)?;
        let pushed = lists::read_pushed(from, names, lengths.pushed)?;
        let budget = from.take_from(field::LOG_BUDGET, bytes::varint);
        let flags = from.blob(field::FLAGS).and_then(|flags| flags.first()).copied();
        let observation = Observation {
            at,
            topology: self.blob(field::TOPOLOGY, "the topology", |layouts| &layouts.topology)?,
            goals: self.blob(field::GOALS, "the goals", |layouts| &layouts.goals)?,
            traffic,
            indicated,
            receipts,
            logs,
            log_budget: budget
                .map(|n| u32::try_from(n).map_err(|_| Corrupt("the log budget")))
                .transpose()?,
            unrecorded: flags.unwrap_or(0) & UNRECORDED != 0,
            fitted,
            words,
        };
        Ok((observation, pushed))
    }

    fn blob<T: DeserializeOwned>(
        &mut self,
        number: usize,
        what: &'static str,
        layout: fn(&Layouts) -> &Layout,
    ) -> Result<Option<T>, BodyError> {
        let Some(packed) = self.from.blob(number) else { return Ok(None) };
        let plain = pack::read(&mut &*packed, &[]).ok_or(Corrupt(what))?;
        self.as_laid_out(&plain, what, layout).map(Some)
    }

    fn as_laid_out<T: DeserializeOwned>(
        &self,
        plain: &[u8],
        what: &'static str,
        layout: fn(&Layouts) -> &Layout,
    ) -> Result<T, BodyError> {
        let (told, own) = self.layouts.as_ref().ok_or(Corrupt("layouts that are not told"))?;
        layout(told).read(layout(own), plain).map_err(|cause| BodyError::Other { what, cause })
    }

    fn changed(&mut self) -> Result<Vec<Arc<ServiceDecision>>, BodyError> {
        let mut cursor = ServiceCursor::new(field::CHANGED_NAMESPACE, field::CHANGED_NAME);
        let mut changed = Vec::new();
        while self.from.is_left(field::CHANGED) {
            let service = cursor.next(&mut self.from, &mut self.names)?;
            let last = self.changed.remove(&service).unwrap_or_default();
            let plain = self.from.take_from(field::CHANGED, |rest| pack::read(rest, &last));
            let plain = plain.ok_or(Corrupt("a decision"))?;
            let decision = self.as_laid_out(&plain, "a decision", |layouts| &layouts.changed)?;
            self.changed.insert(service, plain);
            changed.push(Arc::new(decision));
        }
        Ok(changed)
    }
}

#[cfg(test)]
mod tests;
