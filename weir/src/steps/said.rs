//! Words of people: which can be taken now, and what they hear.

use weir_engine::approval::{OfferId, Scope, Word};
use weir_engine::state::State;
use weir_models::reference::Memory;

use crate::control::{Done, Refusal, Said};
use crate::times;

/// Words that a step takes, with what each comes to.
#[derive(Debug)]
pub(super) struct Heard(Vec<(Said, Done)>);

/// Sorts out those that the next step can take. The others are answered at once: what is no longer
/// offered, or cannot be written down, changes nothing.
pub(super) fn heard(said: Vec<Said>, state: &State<Memory>, recording: bool) -> Heard {
    let sorted = said.into_iter().filter_map(|one| {
        let done = if recording { done(&one.word, state) } else { Err(Refusal::Unrecorded) };
        match done {
            Ok(done) => Some((one, done)),
            Err(refusal) => {
                // Who asked may be gone.
                drop(one.answer.send(Err(refusal)));
                None
            }
        }
    });
    Heard(sorted.collect())
}

impl Heard {
    /// For the observation.
    pub(super) fn words(&self) -> Vec<Word> {
        self.0.iter().map(|(said, _)| said.word.clone()).collect()
    }

    /// Once the step is taken.
    pub(super) fn answer(self) {
        for (Said { word, answer }, done) in self.0 {
            let verb = if word.until.is_some() { "approved" } else { "approval withdrawn" };
            let until = done.until.as_deref();
            tracing::info!(by = word.by, until, offer = done.id, "{verb}: {}", done.text);
            drop(answer.send(Ok(done)));
        }
    }
}

fn done(word: &Word, state: &State<Memory>) -> Result<Done, Refusal> {
    let Meant { text, lasting } = meant(word, state)?;
    let until = word.until.filter(|_| !lasting).map(times::shown);
    Ok(Done { id: id(word, word.offer).to_string(), until, text })
}

fn id(word: &Word, number: u64) -> OfferId {
    OfferId { service: word.service.clone(), number }
}

/// What a word is about.
struct Meant {
    text: String,
    /// Whether it stays for good.
    lasting: bool,
}

fn meant(word: &Word, state: &State<Memory>) -> Result<Meant, Refusal> {
    let service = state.services.iter().find(|one| one.topology.service == word.service);
    let memory = service.map(|service| &service.approval);
    let shares = |scope: &Scope| Ok(Meant { text: scope.to_string(), lasting: false });
    if let Some(approval) = memory.and_then(|memory| memory.approval.as_ref())
        && approval.number == word.offer
    {
        return shares(&approval.scope);
    }
    let offer = memory.and_then(|memory| memory.offer.as_ref());
    let rollout = state.rollouts.iter().filter_map(|one| one.last.as_ref());
    let mut rollout = rollout.filter(|rollout| rollout.service == word.service);
    let step = rollout.find_map(|last| Some((last, last.offer?)));
    let waits = offer.map(|offer| offer.number).or(step.map(|(_, step)| step.number));
    let withdraws = word.until.is_none();
    match (
        offer.filter(|one| one.number == word.offer),
        step.filter(|one| one.1.number == word.offer),
    ) {
        (None, None) => Err(Refusal::Unknown { current: waits.map(|number| id(word, number)) }),
        _ if withdraws => Err(Refusal::NotApproved),
        (Some(offer), _) => shares(&offer.scope),
        (None, Some((last, _))) => {
            Ok(Meant { text: last.offered().unwrap_or_default(), lasting: true })
        }
    }
}
