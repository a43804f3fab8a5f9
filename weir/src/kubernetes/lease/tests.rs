//! Replicas on one lease, with clocks of their own, pauses, and a network that loses answers.

use super::*;
use proptest::prelude::*;

fn own(name: &str) -> Own {
    Own { name: name.to_owned(), serves_at: format!("{name}:18010"), ..Own::default() }
}

/// The API server: one record, replaced only by whoever names its version.
#[derive(Default)]
struct Server {
    record: Option<Record>,
    version: u64,
}

impl Server {
    fn answer(&mut self, ask: &Ask) -> Answer {
        let standing = self.record.clone();
        match (ask, standing) {
            (Ask::Read | Ask::Replace(_), None) => Answer::None,
            (Ask::Read, Some(record)) => Answer::Stands(record),
            (Ask::Create(new), None) => self.put(new),
            (Ask::Replace(new), Some(old)) if new.version == old.version => self.put(new),
            (Ask::Create(_) | Ask::Replace(_), Some(_)) => Answer::Lost,
        }
    }

    fn put(&mut self, new: &Record) -> Answer {
        self.version += 1;
        let record = Record { version: self.version.to_string(), ..new.clone() };
        self.record = Some(record.clone());
        Answer::Stands(record)
    }
}

/// What takes orders: proxies, the store. Refuses those of a lower epoch.
#[derive(Default)]
struct Ordered {
    highest: u64,
    taken: Vec<(u64, usize)>,
}

impl Ordered {
    fn order(&mut self, epoch: u64, from: usize) -> bool {
        if epoch < self.highest {
            return false;
        }
        self.highest = epoch;
        self.taken.push((epoch, from));
        true
    }
}

/// A replica and its clock.
struct Replica {
    election: Election,
    /// How fast its clock runs, in thousandths.
    rate: u64,
    next: u64,
    /// An order that it has decided on and not given yet.
    pending: Option<u64>,
}

impl Replica {
    fn new(index: usize, rate: u64) -> Self {
        let election = Election::new(own(&format!("replica-{index}")), 0);
        Self { election, rate, next: 0, pending: None }
    }

    fn clock(&self, real: u64) -> Moment {
        Moment::from_millis(1_000 + real * self.rate / 1_000)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// It stands still.
    Pause,
    /// No word of it gets through.
    Cut,
    /// What it asks for is done, and the answer is lost.
    Deaf,
    /// Somebody deletes the lease.
    Deleted,
}

#[derive(Clone, Debug)]
struct Fault {
    kind: Kind,
    who: usize,
    at: u64,
    for_ms: u64,
}

impl Fault {
    fn strikes(&self, kind: Kind, who: usize, real: u64) -> bool {
        self.kind == kind && self.who == who && (self.at..self.at + self.for_ms).contains(&real)
    }
}

/// Whose orders were taken, and how often two led at once.
struct Run {
    taken: Vec<(u64, usize)>,
    both: u64,
    led: u64,
}

const STEP: u64 = 100;

fn run(rates: &[u64], faults: &[Fault], for_ms: u64) -> Run {
    let mut server = Server::default();
    let mut ordered = Ordered::default();
    let mut replicas: Vec<Replica> =
        rates.iter().enumerate().map(|(index, rate)| Replica::new(index, *rate)).collect();
    let (mut both, mut led) = (0, 0);
    for real in (0..for_ms / STEP).map(|step| step * STEP) {
        if faults.iter().any(|fault| fault.kind == Kind::Deleted && fault.at == real) {
            server.record = None;
        }
        let cut = |kind, who| faults.iter().any(|fault| fault.strikes(kind, who, real));
        let mut leaders = 0;
        for (index, replica) in replicas.iter_mut().enumerate() {
            let now = replica.clock(real);
            leaders += u64::from(replica.election.term(now).is_some());
            if cut(Kind::Pause, index) {
                continue;
            }
            // An order decided before a pause leaves after it, whatever happened meanwhile.
            if let Some(epoch) = replica.pending.take() {
                ordered.order(epoch, index);
            }
            replica.pending = replica.election.term(now).map(|term| term.epoch);
            if real >= replica.next {
                replica.next = real + 2_000;
                attempt(
                    replica,
                    &mut server,
                    (now, real),
                    (cut(Kind::Cut, index), cut(Kind::Deaf, index)),
                );
            }
        }
        both += u64::from(leaders > 1);
        led += u64::from(leaders > 0);
    }
    Run { taken: ordered.taken, both, led }
}

fn attempt(
    replica: &mut Replica,
    server: &mut Server,
    (now, real): (Moment, u64),
    (cut, deaf): (bool, bool),
) {
    let stamp = real.to_string();
    let mut ask = Some(replica.election.ask(now, &stamp));
    while let Some(asked) = ask {
        let answer = if cut { Answer::Lost } else { server.answer(&asked) };
        let answer = if deaf { Answer::Lost } else { answer };
        ask = replica.election.hear(answer, (now, now), &stamp);
    }
}

fn faults() -> impl Strategy<Value = Vec<Fault>> {
    let kinds = vec![Kind::Pause, Kind::Cut, Kind::Deaf, Kind::Deleted];
    let one = (prop::sample::select(kinds), 0..3_usize, 0..1_200_u64, 1..400_u64);
    let one =
        one.prop_map(|(kind, who, at, ms)| Fault { kind, who, at: at * STEP, for_ms: ms * STEP });
    prop::collection::vec(one, 0..8)
}

fn deletes(faults: &[Fault]) -> bool {
    faults.iter().any(|fault| fault.kind == Kind::Deleted)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    /// Clocks may run apart by 30 % each way, anybody may pause or be cut off at any time, and the
    /// lease may be deleted: orders that are taken never go back to an earlier leader's, and no
    /// epoch is two replicas'.
    #[test]
    fn no_order_of_a_former_leader_is_taken(rates in prop::collection::vec(700..1_300_u64, 3), faults in faults()) {
        let run = run(&rates, &faults, 160_000);
        prop_assert!(run.taken.is_sorted_by_key(|(epoch, _)| *epoch));
        if !deletes(&faults) {
            for pair in run.taken.windows(2) {
                prop_assert!(pair[0].0 != pair[1].0 || pair[0].1 == pair[1].1, "{:?}", pair);
            }
        }
    }

    /// With clocks that run apart by no more than 15 % each way two never lead at once.
    #[test]
    fn two_never_lead_at_once_by_fair_clocks(rates in prop::collection::vec(850..1_150_u64, 3), faults in faults()) {
        if !deletes(&faults) {
            prop_assert_eq!(run(&rates, &faults, 160_000).both, 0);
        }
    }
}

#[test]
fn one_leads_within_seconds_and_goes_on() {
    let run = run(&[1_000, 1_000, 1_000], &[], 60_000);
    assert!(run.led >= 590, "{} of 600", run.led);
    assert!(run.taken.iter().all(|(epoch, who)| (*epoch, *who) == (1, 0)));
}

#[test]
fn another_leads_within_twenty_seconds_of_a_loss() {
    let dead = Fault { kind: Kind::Pause, who: 0, at: 30_000, for_ms: 600_000 };
    let run = run(&[1_000, 1_000, 1_000], &[dead], 50_000);
    assert_eq!(run.taken.last().unwrap().0, 2, "the second epoch has begun");
}

/// A replica with a server of its own, and how the time goes on.
struct Rig {
    election: Election,
    server: Server,
    now: u64,
}

impl Rig {
    fn go(&mut self, seconds: u64) -> Option<Term> {
        self.now += seconds;
        let now = Moment::from_millis(self.now * 1_000);
        let stamp = self.now.to_string();
        let mut ask = Some(self.election.ask(now, &stamp));
        while let Some(asked) = ask {
            let answer = self.server.answer(&asked);
            ask = self.election.hear(answer, (now, now), &stamp);
        }
        self.election.term(now)
    }
}

fn rig(name: &str, server: Server) -> Rig {
    Rig { election: Election::new(own(name), 0), server, now: 100 }
}

#[test]
fn a_lease_that_was_given_back_is_taken_at_once() {
    let mut first = rig("a", Server::default());
    first.go(0);
    assert_eq!(first.go(2).unwrap().epoch, 1);
    let ask = first.election.release("bye").unwrap();
    first.server.answer(&ask);
    assert_eq!(first.election.term(Moment::from_millis(102_000)), None, "it decides no more");
    let mut second = rig("b", first.server);
    assert_eq!(second.go(0).unwrap().epoch, 2);
}

#[test]
fn nobody_takes_what_is_renewed_however_old_its_time_is() {
    let mut holder = rig("a", Server::default());
    holder.go(0);
    let mut other = rig("b", std::mem::take(&mut holder.server));
    for _ in 0..30 {
        assert_eq!(other.go(2), None);
        holder.server = std::mem::take(&mut other.server);
        assert!(holder.go(2).is_some());
        other.server = std::mem::take(&mut holder.server);
    }
    for _ in 0..7 {
        assert_eq!(other.go(2), None);
    }
    assert_eq!((0..3).find_map(|_| other.go(2)).unwrap().epoch, 2);
}

/// The lease was deleted by hand: its count begins anew, epochs do not.
#[test]
fn an_epoch_never_comes_twice() {
    let mut rig = rig("a", Server::default());
    rig.election = Election::new(own("a"), 41);
    rig.go(0);
    assert_eq!(rig.go(2).unwrap().epoch, 42);
}

#[test]
fn a_leader_that_cannot_renew_stops_by_its_own_clock() {
    let mut rig = rig("a", Server::default());
    rig.go(0);
    let term = rig.go(2).unwrap();
    assert!(term.lasts(Moment::from_millis(111_999)));
    assert!(!term.lasts(Moment::from_millis(112_000)));
}

#[test]
fn what_an_earlier_life_held_is_taken_at_once_and_is_another_epoch() {
    let mut first = rig("a", Server::default());
    first.go(0);
    let own = Own { earlier: Some("a".to_owned()), ..own("b") };
    let mut second = Rig { election: Election::new(own, 1), server: first.server, now: 103 };
    assert_eq!(second.go(0).unwrap().epoch, 2);
    let mut former = Rig { server: second.server, ..first };
    former.go(3);
    assert_eq!(former.go(2), None, "were it not over, it would lead no more");
}

#[test]
fn others_know_where_the_leader_serves_while_it_leads() {
    let mut first = rig("a", Server::default());
    first.go(0);
    first.go(2);
    assert_eq!(first.election.leader(Moment::from_millis(102_000)), None, "it is that itself");
    let ask = first.election.release("bye").unwrap();
    let mut other = rig("b", std::mem::take(&mut first.server));
    other.go(0);
    let leader = |seconds: u64| other.election.leader(Moment::from_millis(seconds * 1_000));
    let expected = Leader { epoch: 1, serves_at: "a:18010".to_owned(), pages_at: String::new() };
    assert_eq!(
        (leader(100), leader(114), leader(115)),
        (Some(expected.clone()), Some(expected), None)
    );
    other.server.answer(&ask);
    let mut third = rig("c", std::mem::take(&mut other.server));
    let read = third.server.answer(&Ask::Read);
    third.election.hear(read, (Moment::default(), Moment::default()), "1");
    assert_eq!(third.election.leader(Moment::default()), None, "it was given back");
}
