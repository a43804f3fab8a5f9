//! Whoever keeps changing a field back wants it otherwise: after a few rounds it is theirs. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use weir_engine::units::Moment;

/// How long a field is left alone after a fight.
pub(super) const PEACE: Duration = Duration::from_secs(10 * 60);

/// So many rounds in that time are a fight.
const ROUNDS: usize = 3;

/// When objects were changed back, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Fights {
    rounds: BTreeMap<String, Vec<Moment>>,
}

impl Fights {
    /// Somebody has changed an object back. If that is one time too many: how often it was.
    pub(super) fn lost(&mut self, object: &str, now: Moment) -> Option<usize> {
        self.rounds.retain(|_, rounds| rounds.iter().any(|at| now.since(*at) < PEACE));
        let rounds = self.rounds.entry(object.to_owned()).or_default();
        rounds.retain(|at| now.since(*at) < PEACE);
        if rounds.len() < ROUNDS {
            rounds.push(now);
            return None;
        }
        Some(rounds.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_three_rounds_it_is_theirs_for_a_while() {
        let at = |seconds: u64| Moment::from_millis(seconds * 1_000);
        let mut fights = Fights::default();
        for second in [0, 10, 20] {
            assert_eq!(fights.lost("a", at(second)), None);
        }
        assert_eq!(fights.lost("a", at(30)), Some(3));
        assert_eq!(fights.lost("b", at(30)), None, "another one's is another fight");
        assert_eq!(fights.lost("a", at(599)), Some(3));
        assert_eq!(fights.lost("a", at(601)), None, "it is tried again");
    }
}
