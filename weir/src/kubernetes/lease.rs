//! Who decides, of several replicas: a lease in the API server. Pure; [`leading`](super::leading)
//! moves the bytes.
//!
//! Two rules make it safe. No clock is compared with another's: a replica takes the lease when it has
//! itself watched the same record stand unchanged for longer than the holder may lead without
//! renewing. And a replaced record must be the one that was read, by its version, so that of two who
//! try one wins. Clocks of unequal speed can still make two believe that they lead; then the epoch,
//! which every change of holder raises, tells them apart: whoever takes orders refuses a lower one.
//!
//! Written here because no crate fences: those that exist tell when to lead, not which leader an
//! order is from.

use std::time::Duration;

use weir_engine::units::Moment;

/// How long a record must stand unchanged before another may take it.
pub const LEASE: Duration = Duration::from_secs(15);

/// How long a leader leads after the renewal that it began last. The rest of [`LEASE`] is for clocks
/// that run apart by up to a sixth each way, and for a step under way.
pub const RENEW_WITHIN: Duration = Duration::from_secs(10);

/// Time between two attempts.
pub const RETRY: Duration = Duration::from_secs(2);

/// What stands in the API server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Who holds it; empty when it was given back.
    pub holder: String,
    /// How often the holder changed (`leaseTransitions`): the epoch of the holder.
    pub epoch: u64,
    /// Told apart from the record before; its time is the holder's, and means nothing here.
    pub renewed: String,
    /// Where the holder tells others what it serves; empty when it does not say.
    pub serves_at: String,
    /// Where the holder's pages are; empty when it does not say.
    pub pages_at: String,
    /// The version that has to be named to replace it.
    pub version: String,
}

/// What the API server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// This stands there now, read or just written.
    Stands(Record),
    /// There is none.
    None,
    /// Somebody was faster, or nobody knows whether it was written.
    Lost,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Read the record.
    Read,
    /// Make it, where there is none.
    Create(Record),
    /// Put this in place of the record of that version.
    Replace(Record),
}

/// One replica's part.
#[derive(Clone, Debug)]
pub struct Election {
    own: Own,
    seen: Option<Seen>,
    term: Option<Term>,
    highest: u64,
    writing: bool,
}

/// Who takes part.
#[derive(Clone, Debug, Default)]
pub struct Own {
    /// Its name, which must be no other's, not even an earlier life's.
    pub name: String,
    /// Where it tells others what it serves.
    pub serves_at: String,
    /// Where its pages are.
    pub pages_at: String,
    /// The name of an earlier life that is over for certain. What that one held is free.
    pub earlier: Option<String>,
}

#[derive(Clone, Debug)]
struct Seen {
    record: Record,
    since: Moment,
}

/// Somebody else who decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// Which leader this is.
    pub epoch: u64,
    /// Where it tells what it serves.
    pub serves_at: String,
    /// Where its pages are; empty when it does not say.
    pub pages_at: String,
}

/// The right to decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Which leader this is.
    pub epoch: u64,
    /// Until when, on this process's own clock.
    pub until: Moment,
}

impl Term {
    /// Whether it still lasts.
    pub fn lasts(&self, now: Moment) -> bool {
        now < self.until
    }
}

impl Election {
    /// A replica. `highest`: the highest epoch that it has ever seen.
    pub fn new(own: Own, highest: u64) -> Self {
        Self { own, seen: None, term: None, highest, writing: false }
    }

    /// The right to decide, if it has it and it lasts.
    pub fn term(&self, now: Moment) -> Option<Term> {
        self.term.filter(|term| term.lasts(now))
    }

    /// The highest epoch that was seen.
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Who holds it, as far as is known.
    pub fn holder(&self) -> Option<&str> {
        self.seen.as_ref().map(|seen| seen.record.holder.as_str())
    }

    /// Somebody else who holds it and has renewed it lately, and says where it serves.
    pub fn leader(&self, now: Moment) -> Option<Leader> {
        let Seen { record, since } = self.seen.as_ref()?;
        let leads = !record.serves_at.is_empty()
            && ![self.own.name.as_str(), ""].contains(&record.holder.as_str())
            && now.since(*since) < LEASE;
        leads.then(|| Leader {
            epoch: record.epoch,
            serves_at: record.serves_at.clone(),
            pages_at: record.pages_at.clone(),
        })
    }

    /// What to ask for now. `stamp` tells this renewal from the one before.
    pub fn ask(&mut self, now: Moment, stamp: &str) -> Ask {
        let Some(seen) = &self.seen else { return Ask::Read };
        let held = &seen.record;
        let mine = held.holder == self.own.name;
        let ended = self.own.earlier.as_ref() == Some(&held.holder);
        let free = held.holder.is_empty() || ended || now.since(seen.since) >= LEASE;
        if !mine && !free {
            return Ask::Read;
        }
        // One's own record of which the term has run out was nobody else's meanwhile.
        let epoch = if mine { held.epoch } else { held.epoch.max(self.highest) + 1 };
        let version = held.version.clone();
        Ask::Replace(self.held(epoch, stamp, version))
    }

    /// The record to make where there is none.
    fn first(&mut self, stamp: &str) -> Ask {
        Ask::Create(self.held(self.highest + 1, stamp, String::new()))
    }

    /// The record as it is to stand while this replica holds it.
    fn held(&mut self, epoch: u64, stamp: &str, version: String) -> Record {
        self.writing = true;
        Record {
            holder: self.own.name.clone(),
            epoch,
            renewed: stamp.to_owned(),
            serves_at: self.own.serves_at.clone(),
            pages_at: self.own.pages_at.clone(),
            version,
        }
    }

    /// Takes an answer to what was asked for at `asked`. What is returned is to be asked for at once.
    pub fn hear(
        &mut self,
        answer: Answer,
        (asked, now): (Moment, Moment),
        stamp: &str,
    ) -> Option<Ask> {
        let wrote = std::mem::take(&mut self.writing);
        match answer {
            Answer::Lost => {
                // What stands there after a lost write is not known: the next thing is to read it.
                // A lost read changes nothing: what was seen still has to be named to be replaced.
                if wrote {
                    self.seen = None;
                }
                None
            }
            Answer::None => {
                self.seen = None;
                self.term = None;
                (!wrote).then(|| self.first(stamp))
            }
            Answer::Stands(record) => {
                self.highest = self.highest.max(record.epoch);
                let mine = record.holder == self.own.name;
                if mine && wrote {
                    // From when it was asked: the others cannot have seen it before.
                    let until = asked.plus(RENEW_WITHIN);
                    self.term = Some(Term { epoch: record.epoch, until });
                } else if !mine {
                    self.term = None;
                }
                let known = self.seen.as_ref().filter(|seen| seen.record == record);
                let since = known.map_or(now, |seen| seen.since);
                let ended = self.own.earlier.as_ref() == Some(&record.holder);
                let free = !wrote && (ended || record.holder.is_empty());
                self.seen = Some(Seen { record, since });
                free.then(|| self.ask(now, stamp))
            }
        }
    }

    /// Gives the lease back, if it is held: whoever reads it next may take it at once.
    pub fn release(&mut self, stamp: &str) -> Option<Ask> {
        self.term.take()?;
        let held = &self.seen.as_ref()?.record;
        let mine = held.holder == self.own.name;
        mine.then(|| {
            Ask::Replace(Record {
                holder: String::new(),
                serves_at: String::new(),
                pages_at: String::new(),
                renewed: stamp.to_owned(),
                ..held.clone()
            })
        })
    }
}

#[cfg(test)]
mod tests;
