//! Chance as a function of (seed, request number): who sends what when, how heavy a request
//! is, and whether it is one of those that a fault hits.
//!
//! Both sides of a comparison must meet the same world (common random numbers), else their
//! difference is partly luck. A generator with state cannot give that: two sides that serve
//! requests in different orders would take different numbers from it. A hash of the request's
//! own number can.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header in which a request carries its [`Draw`], as `seed.number`.
pub const HEADER: HeaderName = HeaderName::from_static("weir-draw");

/// Envoy's count of attempts, when its route is told to send one; a retry draws anew.
const ATTEMPT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");

/// All the chance that one request meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The run's seed.
    pub seed: u64,
    /// The request's number within the run.
    pub number: u64,
    /// Which attempt at the request this is, from 1.
    pub attempt: u32,
}

/// Which question a draw answers: each has numbers of its own.
#[derive(Clone, Copy)]
enum Question {
    Gap = 1,
    Listener,
    Service,
    ServiceAngle,
    Failure,
}

impl Draw {
    /// The first attempt at request `number`.
    pub fn first(seed: u64, number: u64) -> Draw {
        Draw { seed, number, attempt: 1 }
    }

    /// What a request's headers say; `None` where it carries no draw.
    pub fn read(headers: &HeaderMap) -> Option<Draw> {
        let (seed, number) = headers.get(HEADER)?.to_str().ok()?.split_once('.')?;
        let attempt = headers.get(ATTEMPT).and_then(|value| value.to_str().ok()?.parse().ok());
        Some(Draw {
            seed: seed.parse().ok()?,
            number: number.parse().ok()?,
            attempt: attempt.unwrap_or(1),
        })
    }

    /// What [`Draw::read`] reads back.
    pub fn header(self) -> HeaderValue {
        let text = format!("{}.{}", self.seed, self.number);
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .expect("two numbers and a dot make a header")
    }

    /// The time since the arrival before, in mean gaps (exponential: a Poisson process).
    pub fn gap(self) -> f64 {
        -self.uniform(Question::Gap).ln()
    }

    /// Which of `listeners` the request goes to, all alike.
    pub fn listener(self, listeners: usize) -> usize {
        let wide = u128::from(self.hash(Question::Listener)) * listeners as u128;
        usize::try_from(wide >> 64).expect("a product's upper half is below the factor")
    }

    /// How heavy the request is: lognormal with mean 1, whose logarithm deviates by `sigma`.
    /// A retry weighs what the first attempt weighed.
    pub fn weight(self, sigma: f64) -> f64 {
        let first = Draw { attempt: 1, ..self };
        let radius = (-2.0 * first.uniform(Question::Service).ln()).sqrt();
        let angle = std::f64::consts::TAU * first.uniform(Question::ServiceAngle);
        (sigma * radius * angle.cos() - sigma * sigma / 2.0).exp()
    }

    /// Whether a fault that hits `ratio` of all requests hits this one.
    pub fn fails(self, ratio: f64) -> bool {
        self.uniform(Question::Failure) < ratio
    }

    /// A number within (0, 1), neither end included.
    fn uniform(self, question: Question) -> f64 {
        const STEP: f64 = 1.0 / (1_u64 << 53) as f64;
        ((self.hash(question) >> 11) as f64 + 0.5) * STEP
    }

    fn hash(self, question: Question) -> u64 {
        let asked = u64::from(self.attempt) << 8 | question as u64;
        [self.number, asked].iter().fold(scatter(self.seed), |hash, word| scatter(hash ^ word))
    }
}

/// One step of SplitMix64: every bit of the input reaches every bit of the output.
fn scatter(word: u64) -> u64 {
    let word = word.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MANY: u64 = 50_000;

    fn mean(of: impl Fn(Draw) -> f64) -> f64 {
        (0..MANY).map(|number| of(Draw::first(7, number))).sum::<f64>() / MANY as f64
    }

    #[track_caller]
    fn check(mean: f64, expected: f64, within: f64) {
        assert!((mean - expected).abs() < within, "{mean} is not {expected} +- {within}");
    }

    #[test]
    fn gaps_have_mean_one() {
        check(mean(Draw::gap), 1.0, 0.02);
    }

    #[test]
    fn weights_have_mean_one() {
        check(mean(|draw| draw.weight(0.8)), 1.0, 0.02);
    }

    #[test]
    fn weights_are_lognormal() {
        let below_median = |draw: Draw| f64::from(draw.weight(0.8) < (-0.32_f64).exp());
        check(mean(below_median), 0.5, 0.01);
        let above_two_sigma = |draw: Draw| f64::from(draw.weight(0.8) > (1.6_f64 - 0.32).exp());
        check(mean(above_two_sigma), 0.0228, 0.003);
    }

    #[test]
    fn faults_hit_their_ratio() {
        check(mean(|draw| f64::from(draw.fails(0.3))), 0.3, 0.01);
    }

    #[test]
    fn listeners_are_alike() {
        for listener in 0..40 {
            check(mean(|draw| f64::from(draw.listener(40) == listener)), 0.025, 0.004);
        }
    }

    #[test]
    fn whether_it_fails_says_nothing_of_its_weight() {
        let failing = |draw: Draw| if draw.fails(0.5) { draw.weight(0.8) } else { 0.0 };
        check(mean(failing), 0.5, 0.02);
    }

    #[test]
    fn a_retry_weighs_the_same_and_may_fare_better() {
        let retry = |draw: Draw| Draw { attempt: 2, ..draw };
        let same = |draw: Draw| draw.weight(0.8) / retry(draw).weight(0.8);
        check(mean(same), 1.0, f64::EPSILON);
        check(mean(|draw| f64::from(draw.fails(0.5) && retry(draw).fails(0.5))), 0.25, 0.01);
    }

    proptest! {
        #[test]
        fn a_header_carries_a_draw(seed: u64, number: u64) {
            let draw = Draw::first(seed, number);
            let headers = HeaderMap::from_iter([(HEADER, draw.header())]);
            prop_assert_eq!(Draw::read(&headers), Some(draw));
        }

        #[test]
        fn a_strange_header_is_no_draw(text in "[ -~]*") {
            let value = HeaderValue::from_str(&text).unwrap();
            let read = Draw::read(&HeaderMap::from_iter([(HEADER, value)]));
            let numbers = text.split_once('.').map(|(a, b)| (a.parse::<u64>(), b.parse::<u64>()));
            prop_assert_eq!(read.is_some(), matches!(numbers, Some((Ok(_), Ok(_)))));
        }
    }
}
