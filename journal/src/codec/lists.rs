//! What else an observation lists: receipts, log volumes, objectives' counts, fitted
//! weights, people's words and pushes.

use std::time::Duration;

use weir_engine::approval::Word;
use weir_engine::names::Node;
use weir_engine::observation::{Fitted, Indicated, LogVolume, Outcome, Receipt};
use weir_engine::units::Moment;

use super::bytes::{self, Corrupt, unzigzag, zigzag};
use super::names::{Cursor, Read, Written};
use super::rows::{read_duration, write_duration};
use super::sheet::{In, Out, field};
use super::{Room, ServiceCursor};
use crate::{Pushed, Step};

const LOG_WINDOW: [usize; 2] = [field::LOG_WINDOW, field::LOG_WINDOW_NANOS];

/// How a push was answered.
const TAKEN: u64 = 0;
const SILENT: u64 = 1;
const REFUSED: u64 = 2;

pub(super) fn write_receipts(out: &mut Out, names: &mut Written, receipts: &[Receipt]) {
    let mut node = Cursor::new(field::RECEIPT_NODE);
    let mut service = ServiceCursor::new(field::RECEIPT_NAMESPACE, field::RECEIPT_NAME);
    let mut refusal = Cursor::new(field::REFUSAL);
    let mut last = 0;
    for receipt in receipts {
        node.push((out, names), receipt.node.as_str());
        service.push((out, names), &receipt.service);
        out.push(field::DECISION, zigzag(receipt.decision.wrapping_sub(last)));
        last = receipt.decision;
        out.push(
            field::OUTCOME,
            match &receipt.outcome {
                Outcome::Taken => TAKEN,
                Outcome::Silent => SILENT,
                Outcome::Refused(_) => REFUSED,
            },
        );
        if let Outcome::Refused(words) = &receipt.outcome {
            refusal.push((out, names), words);
        }
    }
}

pub(super) fn read_receipts(
    from: &mut In,
    names: &mut Read,
    count: usize,
) -> Result<Vec<Receipt>, Corrupt> {
    let mut node = Cursor::new(field::RECEIPT_NODE);
    let mut service = ServiceCursor::new(field::RECEIPT_NAMESPACE, field::RECEIPT_NAME);
    let mut refusal = Cursor::new(field::REFUSAL);
    let mut last = 0_u64;
    let mut receipts = Vec::with_capacity(count);
    for _ in 0..count {
        let node = Node::from(&*node.next(from, names)?);
        let service = service.next(from, names)?;
        last = last.wrapping_add(unzigzag(from.next(field::DECISION)));
        let outcome = match from.next(field::OUTCOME) {
            TAKEN => Outcome::Taken,
            SILENT => Outcome::Silent,
            REFUSED => Outcome::Refused(refusal.next(from, names)?.to_string()),
            _ => return Err(Corrupt("a receipt's outcome")),
        };
        receipts.push(Receipt { node, service, decision: last, outcome });
    }
    Ok(receipts)
}

pub(super) fn write_logs(out: &mut Out, names: &mut Written, logs: &[LogVolume]) {
    let mut node = Cursor::new(field::LOG_NODE);
    let mut last = Duration::ZERO;
    for log in logs {
        node.push((out, names), log.node.as_str());
        out.push(field::LOG_ENTRIES, log.entries);
        out.push(field::LOG_COUNTS, log.requests.is_some().into());
        out.push(field::LOG_REQUESTS, log.requests.unwrap_or(0));
        write_duration(out, LOG_WINDOW, log.window, last);
        last = log.window;
    }
}

pub(super) fn read_logs(
    from: &mut In,
    names: &mut Read,
    count: usize,
) -> Result<Vec<LogVolume>, Corrupt> {
    let mut node = Cursor::new(field::LOG_NODE);
    let mut last = Duration::ZERO;
    let mut logs = Vec::with_capacity(count);
    for _ in 0..count {
        let node = Node::from(&*node.next(from, names)?);
        let entries = from.next(field::LOG_ENTRIES);
        let counted = from.next(field::LOG_COUNTS) != 0;
        let requests = from.next(field::LOG_REQUESTS);
        last = read_duration(from, LOG_WINDOW, last)?;
        logs.push(LogVolume { node, entries, requests: counted.then_some(requests), window: last });
    }
    Ok(logs)
}

pub(super) fn write_indicated(out: &mut Out, names: &mut Written, indicated: &[Indicated]) {
    let mut service = ServiceCursor::new(field::INDICATED_NAMESPACE, field::INDICATED_NAME);
    let mut objective = Cursor::new(field::OBJECTIVE);
    for one in indicated {
        service.push((out, names), &one.service);
        objective.push((out, names), &one.objective);
        out.push_float(field::GOOD, one.good, 0.0);
        out.push_float(field::TOTAL, one.total, 0.0);
    }
}

pub(super) fn read_indicated(
    from: &mut In,
    names: &mut Read,
    count: usize,
) -> Result<Vec<Indicated>, Corrupt> {
    let mut service = ServiceCursor::new(field::INDICATED_NAMESPACE, field::INDICATED_NAME);
    let mut objective = Cursor::new(field::OBJECTIVE);
    let mut indicated = Vec::with_capacity(count);
    for _ in 0..count {
        indicated.push(Indicated {
            service: service.next(from, names)?,
            objective: objective.next(from, names)?.to_string(),
            good: from.next_float(field::GOOD, 0.0)?,
            total: from.next_float(field::TOTAL, 0.0)?,
        });
    }
    Ok(indicated)
}

pub(super) fn write_fitted(out: &mut Out, names: &mut Written, fitted: &[Fitted]) {
    let mut service = ServiceCursor::new(field::FITTED_NAMESPACE, field::FITTED_NAME);
    for one in fitted {
        service.push((out, names), &one.service);
        out.push(field::FITTED_VERSION, one.version);
        bytes::put_sized(out.blob(field::WEIGHTS), &one.weights);
    }
}

pub(super) fn read_fitted(
    from: &mut In,
    names: &mut Read,
    count: usize,
) -> Result<Vec<Fitted>, Corrupt> {
    let mut service = ServiceCursor::new(field::FITTED_NAMESPACE, field::FITTED_NAME);
    let mut fitted = Vec::with_capacity(count);
    for _ in 0..count {
        let service = service.next(from, names)?;
        let version = from.next(field::FITTED_VERSION);
        let weights = from
            .take_from(field::WEIGHTS, |rest| Some(bytes::sized(rest)?.to_vec()))
            .ok_or(Corrupt("fitted weights"))?;
        fitted.push(Fitted { service, version, weights });
    }
    Ok(fitted)
}

pub(super) fn write_words(out: &mut Out, names: &mut Written, words: &[Word]) {
    let mut service = ServiceCursor::new(field::WORD_NAMESPACE, field::WORD_NAME);
    let mut by = Cursor::new(field::WORD_BY);
    for word in words {
        service.push((out, names), &word.service);
        out.push(field::WORD_OFFER, word.offer);
        // Zero for none; the last moment of all is not one that anybody names.
        let until = word.until.map_or(0, |until| until.millis().saturating_add(1));
        out.push(field::WORD_UNTIL, until);
        by.push((out, names), &word.by);
    }
}

pub(super) fn read_words(
    from: &mut In,
    names: &mut Read,
    count: usize,
) -> Result<Vec<Word>, Corrupt> {
    let mut service = ServiceCursor::new(field::WORD_NAMESPACE, field::WORD_NAME);
    let mut by = Cursor::new(field::WORD_BY);
    let mut words = Vec::with_capacity(count);
    for _ in 0..count {
        let service = service.next(from, names)?;
        let offer = from.next(field::WORD_OFFER);
        let until = from.next(field::WORD_UNTIL).checked_sub(1).map(Moment::from_millis);
        words.push(Word { service, offer, until, by: by.next(from, names)?.to_string() });
    }
    Ok(words)
}

pub(super) fn write_pushed(out: &mut Out, names: &mut Written, pushed: &[Pushed]) {
    let mut kind = Cursor::new(field::PUSHED_KIND);
    let mut name = Cursor::new(field::PUSHED_NAME);
    let mut to = Cursor::new(field::PUSHED_TO);
    for one in pushed {
        kind.push((out, names), &one.kind);
        name.push((out, names), &one.name);
        to.push((out, names), &one.to);
        out.push(field::PUSHED_KNOWN, one.version.is_some().into());
        out.push(field::PUSHED_VERSION, one.version.unwrap_or(0));
    }
}

pub(super) fn read_pushed(
    from: &mut In,
    names: &mut Read,
    count: usize,
) -> Result<Vec<Pushed>, Corrupt> {
    let mut kind = Cursor::new(field::PUSHED_KIND);
    let mut name = Cursor::new(field::PUSHED_NAME);
    let mut to = Cursor::new(field::PUSHED_TO);
    let mut pushed = Vec::with_capacity(count);
    for _ in 0..count {
        let kind = kind.next(from, names)?.to_string();
        let name = name.next(from, names)?.to_string();
        let to = to.next(from, names)?.to_string();
        let known = from.next(field::PUSHED_KNOWN) != 0;
        let version = from.next(field::PUSHED_VERSION);
        pushed.push(Pushed { kind, name, to, version: known.then_some(version) });
    }
    Ok(pushed)
}

/// How many there are of each list, without the zeros at the end.
pub(super) fn write_lengths(out: &mut Out, step: &Step) {
    let observation = &step.observation;
    let lengths = [
        observation.traffic.len(),
        observation.indicated.len(),
        observation.receipts.len(),
        observation.logs.len(),
        observation.fitted.len(),
        observation.words.len(),
        step.pushed.len(),
    ];
    let told = lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
    for length in &lengths[..told] {
        bytes::put(out.blob(field::COUNTS), *length as u64);
    }
}

/// How many there are of each: a varint each.
#[derive(Debug)]
pub(super) struct Lengths {
    pub(super) traffic: u64,
    pub(super) indicated: usize,
    pub(super) receipts: usize,
    pub(super) logs: usize,
    pub(super) fitted: usize,
    pub(super) words: usize,
    pub(super) pushed: usize,
}

impl Lengths {
    pub(super) fn read(from: &mut In, room: &mut Room) -> Result<Self, Corrupt> {
        // A longer list than this build knows is of a later one; a shorter one of an earlier.
        let mut next = || from.take_from(field::COUNTS, bytes::varint).unwrap_or(0);
        Ok(Self {
            traffic: next(),
            indicated: room.take(next())?,
            receipts: room.take(next())?,
            logs: room.take(next())?,
            fitted: room.take(next())?,
            words: room.take(next())?,
            pushed: room.take(next())?,
        })
    }
}
