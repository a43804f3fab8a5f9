//! Offers, and what a person's approval brings into force: what was seen, and nothing else.

use core::time::Duration;

use weir_engine::approval::{Approval, Offer, OfferId, Word};
use weir_engine::decide;
use weir_engine::decision::{Decision, ServiceDecision};
use weir_engine::goal::Mode;
use weir_engine::topology::{BalancerPolicy, ClusterForm};

use crate::toy::{
    BROKEN, FINE, Mesh, SLOW, Seen, Toy, assert_equal_shares, id, only, out, predicted, traffic,
};

/// Enough that two may be out at once.
const COUNT: usize = 20;
const LAST: usize = COUNT - 1;

const WELL: [Seen; COUNT] = [FINE; COUNT];
const BAD_LAST: [Seen; COUNT] = with(WELL, LAST, BROKEN);
const BAD_FIRST_TOO: [Seen; COUNT] = with(BAD_LAST, 0, BROKEN);
const SLOW_LAST: [Seen; COUNT] = with(WELL, LAST, SLOW);

const HOUR: Duration = Duration::from_secs(3_600);

const fn with(mut all: [Seen; COUNT], index: usize, seen: Seen) -> [Seen; COUNT] {
    all[index] = seen;
    all
}

fn recommending() -> Mesh {
    let mut mesh = Mesh::of(&[("shop", COUNT)]);
    mesh.goals[0].mode = Mode::Recommend;
    mesh
}

fn offer(decision: &Decision) -> Offer {
    only(decision).offer.clone().expect("something is offered")
}

fn approval(service: &ServiceDecision) -> &Approval {
    service.approval.as_ref().expect("something is approved")
}

/// A second in which a person says something.
fn told(mesh: &mut Mesh, seen: &[Seen], offer: u64, lasts: Option<Duration>) -> Decision {
    mesh.at = mesh.at.plus(Duration::from_secs(1));
    let mut observation = mesh.observe(vec![traffic("shop", seen)]);
    let until = lasts.map(|lasts| mesh.at.plus(lasts));
    observation.words = vec![Word { service: id("shop"), offer, until, by: "ann".to_owned() }];
    decide(&mut mesh.state, &observation, &Toy)
}

#[test]
fn an_offer_keeps_its_number_while_it_is_the_same() {
    let mut mesh = recommending();
    assert_eq!(only(&mesh.seconds(10, &[&WELL])).offer, None, "nothing to do");
    let first = offer(&mesh.seconds(5, &[&BAD_LAST]));
    let reach = &first.scope.endpoints;
    assert_eq!((reach.len(), reach[0].out, reach[0].address.as_str()), (1, true, "10.0.0.019:80"));
    assert_eq!(offer(&mesh.seconds(10, &[&BAD_LAST])), first);
    assert_ne!(offer(&mesh.seconds(5, &[&BAD_FIRST_TOO])).number, first.number);
}

#[test]
fn what_is_approved_is_done_and_nothing_else() {
    let mut mesh = recommending();
    let number = offer(&mesh.seconds(10, &[&BAD_LAST])).number;
    let decision = told(&mut mesh, &BAD_LAST, number, Some(HOUR));
    assert_eq!(predicted(only(&decision))[LAST], 0.0);
    assert_eq!(approval(only(&decision)).by, "ann");
    assert_eq!(only(&decision).offer, None, "all of it is in force");
    let decision = mesh.seconds(3, &[&BAD_FIRST_TOO]);
    let service = only(&decision);
    assert_eq!(out(service), [0, LAST], "it says what it would do");
    assert!(predicted(service)[0] > 0.045, "nobody approved this: {:?}", predicted(service));
    assert_eq!(predicted(service)[LAST], 0.0);
    let beyond = offer(&decision);
    let decision = told(&mut mesh, &BAD_FIRST_TOO, beyond.number, Some(HOUR));
    assert_eq!([predicted(only(&decision))[0], predicted(only(&decision))[LAST]], [0.0, 0.0]);
}

/// What recovers comes back though nobody says a word.
#[test]
fn an_approval_does_not_freeze_anything() {
    let mut mesh = recommending();
    let number = offer(&mesh.seconds(10, &[&BAD_LAST])).number;
    told(&mut mesh, &BAD_LAST, number, Some(HOUR));
    let decision = mesh.seconds(600, &[&WELL]);
    assert_equal_shares(only(&decision));
    assert_eq!(approval(only(&decision)).number, number);
    let decision = mesh.seconds(5, &[&BAD_LAST]);
    assert_eq!(predicted(only(&decision))[LAST], 0.0, "it is still approved");
}

#[test]
fn weights_stay_within_what_was_approved() {
    let mut mesh = recommending();
    mesh.goals[0].balancing.weight_min = 0.02;
    // Round robin takes every weight as it is.
    mesh.services[0].clusters[0].form = ClusterForm {
        policy: BalancerPolicy::RoundRobin,
        locality_weighted: false,
        ..ClusterForm::native()
    };
    let decision = mesh.seconds(60, &[&SLOW_LAST]);
    assert_equal_shares(only(&decision));
    let first = offer(&decision);
    let least =
        first.scope.endpoints.iter().find(|reach| reach.address.as_str() == "10.0.0.019:80");
    let least = least.expect("the slow one is named").least;
    told(&mut mesh, &SLOW_LAST, first.number, Some(HOUR));
    // It gets what it is given, half as much.
    let decision = mesh.seconds(120, &[&with(WELL, LAST, Seen(50, 0, 80.0))]);
    let slow = predicted(only(&decision))[LAST];
    assert!(slow < 0.04, "{slow}");
    let slower = with(WELL, LAST, Seen(50, 0, 800.0));
    let decision = mesh.seconds(120, &[&slower]);
    let weights = &only(&decision).endpoints;
    assert!(weights[LAST].weight < least - 0.1, "it would go on: {:?}", weights[LAST]);
    assert!(
        predicted(only(&decision))[LAST] > 0.8 * least / COUNT as f64,
        "{:?}",
        predicted(only(&decision))
    );
    assert_ne!(offer(&decision).number, first.number);
}

#[test]
fn time_a_word_and_a_policy_end_it() {
    let ways: [fn(&mut Mesh, u64) -> Decision; 3] = [
        |mesh, _| mesh.seconds(61, &[&BAD_LAST]),
        |mesh, number| told(mesh, &BAD_LAST, number, None),
        |mesh, _| {
            mesh.goals[0].mode = Mode::Observe;
            mesh.second(&[&BAD_LAST])
        },
    ];
    for end in ways {
        let mut mesh = recommending();
        let number = offer(&mesh.seconds(10, &[&BAD_LAST])).number;
        told(&mut mesh, &BAD_LAST, number, Some(Duration::from_secs(60)));
        let decision = mesh.seconds(5, &[&BAD_LAST]);
        assert_eq!(predicted(only(&decision))[LAST], 0.0);
        let decision = end(&mut mesh, number);
        assert_equal_shares(only(&decision));
        assert_eq!(only(&decision).approval, None);
    }
}

#[test]
fn a_second_word_prolongs_it() {
    let mut mesh = recommending();
    let number = offer(&mesh.seconds(10, &[&BAD_LAST])).number;
    told(&mut mesh, &BAD_LAST, number, Some(Duration::from_secs(60)));
    told(&mut mesh, &BAD_LAST, number, Some(HOUR));
    let decision = mesh.seconds(100, &[&BAD_LAST]);
    assert_eq!(approval(only(&decision)).number, number);
}

#[test]
fn only_what_is_offered_can_be_approved() {
    let mut mesh = recommending();
    let number = offer(&mesh.seconds(10, &[&BAD_LAST])).number;
    for (wrong, lasts) in [(number + 1, Some(HOUR)), (0, Some(HOUR)), (number, None)] {
        let decision = told(&mut mesh, &BAD_LAST, wrong, lasts);
        assert_equal_shares(only(&decision));
        assert_eq!(offer(&decision).number, number, "the offer stands");
    }
    for mode in [Mode::Observe, Mode::Enforce] {
        mesh.goals[0].mode = mode;
        assert_eq!(only(&mesh.seconds(5, &[&BAD_LAST])).offer, None);
    }
}

#[test]
fn an_approval_outlives_a_restart_and_a_promotion() {
    let mut mesh = recommending();
    let number = offer(&mesh.seconds(10, &[&BAD_LAST])).number;
    told(&mut mesh, &BAD_LAST, number, Some(HOUR));
    mesh.seconds(3, &[&BAD_LAST]);
    mesh.restart();
    let decision = mesh.second(&[&BAD_LAST]);
    assert_eq!(predicted(only(&decision))[LAST], 0.0);
    mesh.goals[0].mode = Mode::Enforce;
    let decision = mesh.second(&[&WELL]);
    assert_eq!(
        predicted(only(&decision))[LAST],
        0.0,
        "what is out is not let in to be tried again"
    );
}

#[test]
fn an_offer_is_named_as_people_write_it() {
    let id = OfferId { service: id("shop"), number: 118 };
    assert_eq!(id.to_string(), "demo/shop@118");
    assert_eq!("demo/shop@118".parse(), Ok(id));
    for wrong in ["demo/shop", "shop@3", "demo/shop@", "demo/shop@-1", "demo/shop@x", "@"] {
        assert!(wrong.parse::<OfferId>().is_err(), "{wrong}");
    }
}
