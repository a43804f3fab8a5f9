//! Which steps to ask for next, and what to do when a server will not have it.
//!
//! Pure: no clock and no server here, so that every course of answers can be tried.

use std::ops::Range;
use std::time::Duration;

use weir_collectors::prometheus::history::Remedy;

/// A Prometheus gives no more points of one series.
const STEPS_MAX: u64 = 11_000;
/// The first page tells how many series there are.
const STEPS_FIRST: u64 = 40;
/// A page is to have about so many points: some ten megabytes, a second of a server's work.
const POINTS: u64 = 400_000;
/// A page is at most so many times as long as the one before.
const GROWTH: u64 = 4;
/// Asked again so often before giving up: with the waits below, after half a minute.
const TRIES_MAX: u32 = 6;
/// The first wait; doubled each time.
const WAIT: Duration = Duration::from_secs(1);

/// A walk over steps.
#[derive(Clone, Debug)]
pub(super) struct Pages {
    next: u64,
    end: u64,
    size: u64,
    /// Half of what was refused last: no page is longer again.
    most: u64,
    tries: u32,
}

/// What to do after a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Ask again after a while, maybe for less.
    Again(Duration),
    /// Nothing helps.
    GiveUp,
}

impl Pages {
    /// Over these steps.
    pub(super) fn over(steps: Range<u64>) -> Self {
        Self { next: steps.start, end: steps.end, size: STEPS_FIRST, most: STEPS_MAX, tries: 0 }
    }

    /// The steps to ask for; nothing after the last.
    pub(super) fn next(&self) -> Option<Range<u64>> {
        let end = self.end.min(self.next + self.size);
        (self.next < end).then_some(self.next..end)
    }

    /// The page is there, with so many points.
    pub(super) fn took(&mut self, points: usize) {
        let Some(page) = self.next() else { return };
        let length = page.end - page.start;
        let fitting = POINTS * length / (points as u64).max(1);
        self.size = fitting.clamp(1, self.size * GROWTH).min(self.most);
        self.next = page.end;
        self.tries = 0;
    }

    /// The page could not be had.
    pub(super) fn failed(&mut self, remedy: Remedy) -> Reaction {
        let length = self.next().map_or(0, |page| page.end - page.start);
        if remedy == Remedy::Nothing {
            return Reaction::GiveUp;
        }
        if remedy == Remedy::Less && length > 1 {
            self.size = length / 2;
            self.most = self.size;
            return Reaction::Again(Duration::ZERO);
        }
        self.tries += 1;
        if self.tries >= TRIES_MAX {
            return Reaction::GiveUp;
        }
        Reaction::Again(WAIT * 2_u32.pow(self.tries - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a server says to a page.
    #[derive(Clone, Debug)]
    enum Answer {
        Points(usize),
        Failure(Remedy),
    }

    fn answers() -> impl Strategy<Value = Vec<Answer>> {
        let answer = prop_oneof![
            4 => (0_usize..3_000_000).prop_map(Answer::Points),
            1 => Just(Answer::Failure(Remedy::Less)),
            1 => Just(Answer::Failure(Remedy::Later)),
        ];
        prop::collection::vec(answer, 0..60)
    }

    proptest! {
        #[test]
        fn every_step_comes_once_and_in_order(
            start in 0_u64..1_000,
            count in 0_u64..50_000,
            answers in answers(),
        ) {
            let mut pages = Pages::over(start..start + count);
            let mut answers = answers.into_iter();
            let mut expected = start;
            while let Some(page) = pages.next() {
                prop_assert_eq!(page.start, expected);
                prop_assert!(page.end > page.start && page.end - page.start <= STEPS_MAX);
                match answers.next().unwrap_or(Answer::Points(5_000)) {
                    Answer::Points(points) => {
                        expected = page.end;
                        pages.took(points);
                    }
                    Answer::Failure(remedy) => {
                        if pages.failed(remedy) == Reaction::GiveUp {
                            return Ok(());
                        }
                    }
                }
            }
            prop_assert_eq!(expected, start + count);
        }

        #[test]
        fn a_server_with_any_limit_is_read_to_the_end(limit in 1_u64..20_000, count in 1_u64..5_000) {
            let mut pages = Pages::over(0..count);
            let mut asked = 0;
            while let Some(page) = pages.next() {
                let length = page.end - page.start;
                if length > limit {
                    prop_assert_eq!(pages.failed(Remedy::Less), Reaction::Again(Duration::ZERO));
                } else {
                    pages.took(1);
                }
                asked += 1;
            }
            prop_assert!(asked <= 20 + 4 * count / limit, "{asked} pages");
        }
    }

    #[test]
    fn gives_up_after_a_while() {
        for remedy in [Remedy::Later, Remedy::Less] {
            let mut pages = Pages::over(0..STEPS_FIRST);
            let (mut waited, mut tries) = (Duration::ZERO, 0);
            while let Reaction::Again(wait) = pages.failed(remedy) {
                waited += wait;
                tries += 1;
            }
            assert_eq!(waited, Duration::from_secs(31), "{tries} tries");
            assert_eq!(pages.failed(Remedy::Nothing), Reaction::GiveUp);
        }
    }

    #[test]
    fn an_answer_ends_the_count_of_failures() {
        let mut pages = Pages::over(0..100_000);
        for _ in 0..100 {
            assert_eq!(pages.failed(Remedy::Later), Reaction::Again(WAIT));
            pages.took(1_000_000);
        }
    }

    #[test]
    fn pages_grow_to_what_a_server_bears() {
        let series = 100_u64;
        let mut pages = Pages::over(0..1_000_000);
        let mut lengths = Vec::new();
        while let Some(page) = pages.next().filter(|page| page.end < 1_000_000) {
            let length = page.end - page.start;
            lengths.push(length);
            pages.took(usize::try_from(length * series).unwrap());
        }
        assert_eq!(lengths[..6], [40, 160, 640, 2_560, 4_000, 4_000]);
    }
}
