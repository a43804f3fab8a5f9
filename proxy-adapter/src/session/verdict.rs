//! What a client says of a response: taken, refused, or nothing at all.

use std::sync::Arc;

use weir_engine::units::Moment;

use super::Dialect;
use super::slot::Owed;
use super::watch::{Outstanding, Watch};
use crate::resource::{Resource, TypeUrl};

type Resources = Vec<Arc<Resource>>;

/// Bytes kept of a client's reason. Envoy's may quote the whole resource.
const WORDS_MAX: usize = 1024;
/// Bytes of a client's reason that are searched for names: Envoy names the culprit first.
const SEARCHED: usize = 16 << 10;
/// A name shorter than this is only found between quotes, lest it be an English word.
const PLAIN_NAME: usize = 4;

/// A client's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// It took these.
    Taken {
        /// Their type.
        kind: TypeUrl,
        /// All that the response carried.
        resources: Vec<Arc<Resource>>,
    },
    /// It refused the response because of these.
    Refused {
        /// Their type.
        kind: TypeUrl,
        /// The ones that it names, or all that were new to it.
        resources: Vec<Arc<Resource>>,
        /// Its reason, in one line.
        words: String,
    },
    /// It has not answered in time: unknown, not applied.
    Silent {
        /// Their type.
        kind: TypeUrl,
        /// All that the response carried.
        resources: Vec<Arc<Resource>>,
    },
}

/// A client's refusal, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// When it came.
    pub at: Moment,
    /// The resources it is about.
    pub names: Vec<Arc<str>>,
    /// The client's words, in one line.
    pub words: String,
}

impl Watch {
    /// Takes a client's answer to the response with this nonce; one to an unknown response says
    /// nothing.
    pub(super) fn judge(
        &mut self,
        nonce: &str,
        error: Option<String>,
        (dialect, now): (Dialect, Moment),
    ) -> Vec<Event> {
        let Some(position) = self.outstanding.iter().position(|sent| sent.nonce == nonce) else {
            return Vec::new();
        };
        let mut answered: Vec<Outstanding> = match dialect {
            Dialect::Incremental => {
                let answered = self.outstanding.remove(position);
                // Clients answer in order: older ones whose silence was reported stay unanswered.
                let mut index = 0;
                self.outstanding.retain(|sent| {
                    index += 1;
                    index > position || !sent.overdue
                });
                answered.into_iter().collect()
            }
            // A client that has got further has taken what came before.
            Dialect::StateOfTheWorld => self.outstanding.drain(..=position).collect(),
        };
        let refused = error.and_then(|words| answered.pop().map(|response| (words, response)));
        let mut events: Vec<_> =
            answered.into_iter().map(|response| self.take(response, now)).collect();
        events.extend(refused.map(|(words, response)| self.refuse(response, &words, now)));
        events
    }

    fn take(&mut self, response: Outstanding, now: Moment) -> Event {
        for resource in &response.resources {
            if let Some(slot) = self.slots.get_mut(&resource.name) {
                slot.take(resource);
            }
        }
        // Who has taken a whole state has that and nothing else.
        self.fresh |= self.has_wildcard();
        self.acked = Some(response.version);
        self.lag = Some(now.since(response.at));
        Event::Taken { kind: self.kind, resources: response.resources }
    }

    fn refuse(&mut self, response: Outstanding, words: &str, now: Moment) -> Event {
        let (blamed, innocent) = self.blamed(response.resources, words);
        let words = one_line(words, WORDS_MAX);
        let owed = if self.pace.is_quiet(now) { Owed::Nothing } else { Owed::Repair };
        for resource in blamed.iter().chain(&innocent) {
            if let Some(slot) = self.slots.get_mut(&resource.name) {
                slot.fall_back(owed);
                self.pending.insert(resource.name.clone());
            }
        }
        for resource in &blamed {
            if let Some(slot) = self.slots.get_mut(&resource.name) {
                slot.refuse(resource, now);
            }
        }
        self.pace.refused(now);
        let names = blamed.iter().map(|resource| resource.name.clone()).collect();
        self.refusal = Some(Refusal { at: now, names, words: words.clone() });
        Event::Refused { kind: self.kind, resources: blamed, words }
    }

    /// The culprits: of what is new to the client, what it names; else all that is new; else all.
    /// And what is new but not to blame: the client may have applied it, or not.
    fn blamed(&self, resources: Resources, words: &str) -> (Resources, Resources) {
        let is_new = |resource: &Arc<Resource>| {
            let good = self.slots.get(&resource.name).and_then(|slot| slot.good.as_ref());
            good.is_none_or(|good| good.version != resource.version)
        };
        let words = &words[..words.floor_char_boundary(SEARCHED)];
        let new: Resources = resources.iter().filter(|one| is_new(one)).cloned().collect();
        let (named, others): (Resources, Resources) =
            new.into_iter().partition(|one| mentions(words, &one.name));
        match (named.is_empty(), others.is_empty()) {
            (false, _) => (named, others),
            (true, false) => (others, Vec::new()),
            (true, true) => (resources, Vec::new()),
        }
    }

    /// Reports responses that have had no answer in time, each once.
    pub(super) fn silence(&mut self, now: Moment) -> Vec<Event> {
        let kind = self.kind;
        let overdue = self.outstanding.iter_mut().filter(|sent| !sent.overdue && sent.due() <= now);
        let report = |sent: &mut Outstanding| {
            sent.overdue = true;
            Event::Silent { kind, resources: sent.resources.clone() }
        };
        overdue.map(report).collect()
    }
}

/// Whether the text names this resource, not merely contains its letters.
fn mentions(words: &str, name: &str) -> bool {
    let part_of_name = |c: char| c.is_alphanumeric() || "-_./:|~".contains(c);
    words.match_indices(name).any(|(start, _)| {
        let before = words[..start].chars().next_back();
        let after = words[start + name.len()..].chars().next();
        let quoted = matches!((before, after), (Some('"'), Some('"')) | (Some('\''), Some('\'')));
        let after_ends = match after {
            // `name: reason`, `name.`
            Some(':' | '.') => {
                words[start + name.len() + 1..].chars().next().is_none_or(|c| !part_of_name(c))
            }
            other => other.is_none_or(|c| !part_of_name(c)),
        };
        let alone = before.is_none_or(|c| !part_of_name(c)) && after_ends;
        quoted || (alone && name.len() >= PLAIN_NAME)
    })
}

/// Text from outside as one line of bounded length, control characters escaped: it ends up in
/// logs and on pages.
pub(super) fn one_line(text: &str, bytes: usize) -> String {
    let mut line = String::new();
    for c in text.chars() {
        let before = line.len();
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
        if line.len() > bytes - '…'.len_utf8() {
            line.truncate(before);
            line.push('…');
            break;
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, name: &str, mentioned: bool) {
        assert_eq!(mentions(words, name), mentioned, "{name} in {words}");
    }

    #[test]
    fn a_refusals_words_name_a_resource_or_do_not() {
        check("Error adding/updating cluster(s) shop-v1: Proto constraint", "shop-v1", true);
        check("Error adding/updating cluster(s) shop-v1: Proto constraint", "shop", false);
        check("invalid: cluster_name: \"a\"\nendpoints {", "a", true);
        check("there is a fault", "a", false);
        check("unknown cluster shop.", "shop", true);
        check("unknown cluster shop.example.com", "shop", false);
        check("outbound|80||shop.svc: bad", "outbound|80||shop.svc", true);
        check("", "shop", false);
    }

    #[test]
    fn words_from_outside_become_one_bounded_line() {
        assert_eq!(one_line("a\nb\u{1b}[31m", 64), "a\\nb\\u{1b}[31m");
        for (text, bytes) in [("x".repeat(5000), 1024), ("é\n".repeat(3000), 1024)] {
            let line = one_line(&text, bytes);
            assert!(line.len() <= bytes && line.ends_with('…') && !line.contains('\n'));
        }
    }
}
