use super::*;
use weir_engine::comparison::{Measured, Verdict};
use weir_engine::units::Ratio;

fn rollout(phase: Phase, reason: Reason) -> RolloutDecision {
    RolloutDecision {
        offer: None,
        service: ServiceId::new("shop", "search"),
        policy: "shop/search".into(),
        mode: Mode::Enforce,
        stable: ServiceId::new("shop", "search-v6"),
        canary: ServiceId::new("shop", "search-v7"),
        weight: Ratio::clamped(0.02),
        phase,
        steps: [0.02, 0.1].map(Ratio::clamped).to_vec(),
        failures: 0,
        verdict: Verdict::default(),
        reason,
        yields: None,
    }
}

const STEP: Phase = Phase::Stepping { step: 1 };
const GOES_ON: Reason = Reason::Gathering;

/// What is told a minute after `before` was.
#[track_caller]
fn check(before: &RolloutDecision, after: &RolloutDecision, expected: Option<(Turn, &str)>) {
    let minute = (Duration::from_secs(60), Duration::from_secs(10));
    let turned = turn(Some(&Stood::of(before)), after, minute);
    let told = turned.map(|turned| (turned, title(after, turned)));
    assert_eq!(told, expected.map(|(turned, text)| (turned, text.to_owned())));
}

#[test]
fn what_changes_is_told_once_and_in_a_few_words() {
    let step = rollout(STEP, GOES_ON);
    check(&step, &step, None);
    check(&step, &rollout(STEP, Reason::Moving { to: Ratio::clamped(0.1) }), None);
    let first = rollout(Phase::Stepping { step: 0 }, GOES_ON);
    check(&first, &step, Some((Turn::Phase, "Step 2 of 2: 10 % to shop/search-v7")));
    for (phase, text) in [
        (Phase::Watching, "shop/search-v7 takes over"),
        (Phase::Done, "shop/search-v7 has taken over"),
        (Phase::GivenUp, "shop/search-v7 given up"),
        (Phase::Paused, "shop/search-v7 paused at 2.0 %"),
    ] {
        check(&step, &rollout(phase, GOES_ON), Some((Turn::Phase, text)));
    }
    let failed = RolloutDecision { failures: 1, ..step.clone() };
    check(&step, &failed, Some((Turn::Failure, "shop/search-v7 failed an evaluation")));
    let other = RolloutDecision { canary: ServiceId::new("shop", "v8"), ..step.clone() };
    check(&step, &other, Some((Turn::Phase, "Step 2 of 2: 10 % to shop/v8")));
    let observed = RolloutDecision { mode: Mode::Observe, ..other };
    check(&step, &observed, Some((Turn::Phase, "Would roll out shop/v8")));
    let enforced = RolloutDecision { mode: Mode::Enforce, ..observed.clone() };
    check(&observed, &enforced, Some((Turn::Phase, "Step 2 of 2: 10 % to shop/v8")));
}

#[test]
fn holds_are_told_as_they_begin_and_end_but_not_all_the_time() {
    let goes_on = rollout(STEP, GOES_ON);
    let silent = |seconds| rollout(STEP, Reason::Silent { age: Duration::from_secs(seconds) });
    check(&goes_on, &silent(16), Some((Turn::Held, "Rollout of shop/search-v7 held")));
    check(&silent(16), &silent(17), None);
    check(&silent(17), &goes_on, Some((Turn::Resumed, "Rollout of shop/search-v7 goes on")));
    let soon = (Duration::from_secs(5), Duration::from_secs(10));
    assert_eq!(turn(Some(&Stood::of(&goes_on)), &silent(16), soon), None);
}

#[test]
fn a_view_says_the_evidence_in_words_and_in_numbers() {
    let measured = |events| Measured::Part { events, requests: 500.0 };
    let errors = Comparison {
        signal: Signal::Errors,
        finding: comparison::Finding::Fail,
        canary: measured(25.0),
        stable: measured(1.0),
        ratio: Some(25.0),
        lower: 3.1,
        upper: None,
        chance: Ratio::clamped(0.002),
        at_most: None,
    };
    let verdict = Verdict { finding: comparison::Finding::Fail, comparisons: vec![errors] };
    let given_up = RolloutDecision { verdict, ..rollout(Phase::GivenUp, Reason::Worse) };
    insta::assert_debug_snapshot!(view(&given_up));
    insta::assert_snapshot!(why(&given_up));
}
