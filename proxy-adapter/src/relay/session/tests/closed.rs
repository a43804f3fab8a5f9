//! Whatever happens, in the end a client has what the server sent with the opinion in it.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Serve(usize, Vec<(u8, u32)>),
    Want(u8),
    Opine(Vec<(u8, f64)>),
    Again,
    Wait(u64),
    Refuse,
    Reconnect,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

fn step() -> impl Strategy<Value = Step> {
    let weights = prop::collection::btree_map(1..5_u8, 1..4_u32, 1..4)
        .prop_map(|map| map.into_iter().collect());
    let stands = prop::collection::btree_map(
        1..5_u8,
        prop_oneof![Just(0.0), Just(0.5), Just(2.0), Just(8.0)],
        0..4,
    );
    prop_oneof![
        3 => (0..3_usize, weights).prop_map(|(name, weights)| Step::Serve(name, weights)),
        2 => (1..8_u8).prop_map(Step::Want),
        3 => stands.prop_map(|map| Step::Opine(map.into_iter().collect())),
        1 => Just(Step::Again),
        1 => prop_oneof![Just(1), Just(25), Just(5_000), Just(61_000)].prop_map(Step::Wait),
        1 => Just(Step::Refuse),
        1 => Just(Step::Reconnect),
    ]
}

fn take(site: &mut Site, step: Step, thought: &mut Vec<(u8, f64)>) {
    match step {
        Step::Serve(name, weights) => site.serve(NAMES[name], &weights),
        Step::Want(set) => {
            let wanted = NAMES.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0);
            site.want(&wanted.map(|(_, name)| *name).collect::<Vec<_>>());
        }
        Step::Opine(stands) => {
            site.opine(opinions(&stands));
            *thought = stands;
        }
        Step::Again => {
            let request = site.client.again();
            let out = site.session.request(&request, site.now).unwrap();
            site.carry(out);
        }
        Step::Wait(millis) => site.wait(millis),
        Step::Refuse => site.client.refuses_next = 1,
        Step::Reconnect => {
            site.session =
                Session::new(site.client.dialect, Arc::new(opinions(thought)), Arc::default());
            site.server = site.server.clone().reconnected();
            site.client = site.client.clone().reconnected();
            let request = site.client.begin();
            let out = site.session.request(&request, site.now).unwrap();
            site.carry(out);
        }
    }
}

proptest! {
    #[test]
    fn clients_converge(
        incremental in any::<bool>(),
        gateway in any::<bool>(),
        steps in prop::collection::vec(step(), 1..40),
        last in prop::collection::btree_map(1..5_u8, prop_oneof![Just(0.25), Just(4.0)], 0..4),
    ) {
        let dialect = if incremental { Dialect::Incremental } else { Dialect::StateOfTheWorld };
        let manner = if gateway { Manner::Gateway } else { Manner::Istiod };
        let mut site = Site::new(dialect, manner);
        let mut thought = Vec::new();
        site.want(&["a"]);
        for step in steps {
            take(&mut site, step, &mut thought);
        }
        site.client.refuses_next = 0;
        site.want(&NAMES);
        let served = [(1, 2), (2, 1), (3, 1), (4, 1)];
        for name in NAMES {
            site.serve(name, &served);
        }
        site.wait(61_000);
        // Another opinion than any before, which nobody has refused.
        site.opine(opinions(&[(1, 3.0)]));
        let last: Vec<(u8, f64)> = last.into_iter().collect();
        site.opine(opinions(&last));
        let changed = !last.is_empty();
        let expected = served.map(|(number, weight)| {
            let multiplier = last.iter().find(|one| one.0 == number).map_or(1.0, |one| one.1);
            let scaled = f64::from(weight) * multiplier * 1_000.0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small")]
            (number, if changed { scaled as u32 } else { weight })
        });
        for name in NAMES {
            prop_assert_eq!(site.client.weights(name), weights(&expected), "{}", name);
        }
        prop_assert_eq!(site.server.lost, 0);
    }

    #[test]
    fn nothing_that_is_said_makes_it_panic(
        incremental in any::<bool>(),
        messages in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)), 0..20),
    ) {
        let dialect = if incremental { Dialect::Incremental } else { Dialect::StateOfTheWorld };
        let mut site = Site::new(dialect, Manner::Istiod);
        site.want(&["a"]);
        for (from_client, bytes) in messages {
            let bytes = Bytes::from(bytes);
            if from_client {
                drop(site.session.request(&bytes, site.now));
            } else {
                drop(site.session.response(&bytes, site.now));
            }
        }
    }
}
