use kube::{Client, Config};

use super::*;

fn at(seconds: u64) -> Moment {
    Moment::from_millis(seconds * 1_000)
}

/// Nobody is asked: only what would be done is looked at.
fn finalizing(done: Option<watch::Receiver<Option<Done>>>) -> Finalizing {
    let config = Config::new("http://127.0.0.1:9".parse().unwrap());
    let client = Client::try_from(config).unwrap();
    let policies = watch::channel(Arc::default()).1;
    let clock = Clock::start(None);
    let events = Events::new(client.clone(), policies.clone(), clock.clone());
    let namespaces = weir_collectors::kubernetes::discovery::Namespaces::All;
    let objects = Objects::new(client, namespaces);
    let inputs = Inputs { policies, done, standing: None };
    Finalizing::new(objects, inputs, events, clock).0
}

fn policy(enforced: bool, has: bool, deleting: bool) -> Object {
    let finalizers = if has { vec![FINALIZER.to_owned()] } else { Vec::new() };
    Object { finalizers, deleting, enforced, ..Object::default() }
}

#[tokio::test]
async fn only_an_enforced_policy_waits() {
    let name = PolicyName::from("shop/web");
    let mut writes = finalizing(Some(watch::channel(None).1));
    for (enforced, has, step) in [
        (true, false, Step::Set),
        (true, true, Step::Stay),
        (false, true, Step::Take),
        (false, false, Step::Stay),
    ] {
        assert_eq!(writes.step((&name, &policy(enforced, has, false)), at(1)), step);
    }
    let mut reads = finalizing(None);
    assert_eq!(reads.step((&name, &policy(true, false, false)), at(1)), Step::Stay);
    assert_eq!(reads.step((&name, &policy(true, true, true)), at(1)), Step::Take);
}

#[tokio::test]
async fn it_goes_once_all_is_put_back_or_after_the_deadline() {
    let (tell, done) = watch::channel(None);
    let mut writes = finalizing(Some(done));
    let (name, going) = (PolicyName::from("shop/web"), policy(true, true, true));
    assert_eq!(writes.step((&name, &going), at(100)), Step::Stay);
    let with = |at, policies: &[&PolicyName]| {
        Some(Done { at, policies: policies.iter().copied().cloned().collect() })
    };
    tell.send_replace(with(at(99), &[]));
    assert_eq!(writes.step((&name, &going), at(101)), Step::Stay, "that was before");
    tell.send_replace(with(at(101), &[&name]));
    assert_eq!(writes.step((&name, &going), at(102)), Step::Stay, "it is still wanted");
    assert_eq!(writes.step((&name, &going), at(130)), Step::TakeLate);
    tell.send_replace(with(at(103), &[]));
    assert_eq!(writes.step((&name, &going), at(104)), Step::Take);
    assert_eq!(writes.step((&name, &policy(true, false, true)), at(104)), Step::Stay);
}
