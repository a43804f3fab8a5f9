//! Whatever happens on the way, a client that answers ends up with what is in force.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Clone, Debug)]
enum Step {
    /// Contents of clusters and endpoints; zero is none.
    Publish([u32; 4], [u32; 4]),
    /// Wants the endpoints of this one, or no longer.
    Toggle(usize),
    /// Answers the oldest response.
    Answer,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let content = || prop::array::uniform4(0_u32..4);
    let step = prop_oneof![
        (content(), content()).prop_map(|(c, e)| Step::Publish(c, e)),
        (0..4_usize).prop_map(Step::Toggle),
        Just(Step::Answer),
        Just(Step::Answer),
        (0_u64..3_000).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 1..60)
}

/// A client that applies what it is told.
struct Client {
    stream: Stream,
    inbox: Vec<Response>,
    has: BTreeMap<(TypeUrl, Arc<str>), u32>,
    wants: Vec<&'static str>,
    content: Vec<(TypeUrl, &'static str, u32)>,
}

impl Client {
    fn new(dialect: Dialect) -> Self {
        let mut stream = Stream::new(dialect);
        let inbox = match dialect {
            Dialect::StateOfTheWorld => stream.names(Cluster, "", &[]),
            Dialect::Incremental => stream.change(Cluster, &[], &[]),
        };
        Self { stream, inbox, has: BTreeMap::new(), wants: Vec::new(), content: Vec::new() }
    }

    fn step(&mut self, step: &Step) {
        let responses = match step {
            Step::Publish(clusters, endpoints) => {
                let kinds = [(Cluster, clusters), (Endpoints, endpoints)];
                self.content = kinds
                    .iter()
                    .flat_map(|(kind, all)| NAMES.iter().zip(*all).map(|(n, c)| (*kind, *n, *c)))
                    .filter(|(_, _, content)| *content > 0)
                    .collect();
                self.stream.publish(&self.content)
            }
            Step::Toggle(index) => self.toggle(NAMES[*index]),
            Step::Answer if self.inbox.is_empty() => Vec::new(),
            Step::Answer => {
                let response = self.inbox.remove(0);
                self.apply(&response);
                let names =
                    if response.kind == Endpoints { self.wants.clone() } else { Vec::new() };
                self.stream.ack(&[response], &names)
            }
            Step::Pass(millis) => self.stream.pass(*millis),
        };
        let pushes = responses.iter().filter(|one| one.kind == Endpoints).count();
        assert!(pushes <= 2, "one addition and one removal at most");
        self.inbox.extend(responses);
    }

    fn toggle(&mut self, name: &'static str) -> Vec<Response> {
        let wanted = !self.wants.contains(&name);
        self.wants.retain(|other| *other != name);
        if wanted {
            self.wants.push(name);
        } else if self.stream.session.dialect == Dialect::Incremental || !self.is_behind() {
            // Of what it drops and wants again before it has read on, a server of the state of the
            // world never hears: a client has to keep that.
            self.has.remove(&(Endpoints, name.into()));
        }
        match self.stream.session.dialect {
            Dialect::Incremental if wanted => self.stream.change(Endpoints, &[name], &[]),
            Dialect::Incremental => self.stream.change(Endpoints, &[], &[name]),
            // With the last nonce that it read; if there is a later one, it asks again with that.
            Dialect::StateOfTheWorld => {
                let watch = self.stream.session.watches.get(&Endpoints);
                let last = watch.map_or("", |watch| watch.last_nonce()).to_owned();
                let nonce = if self.is_behind() { "an earlier one" } else { &last };
                let names = self.wants.clone();
                self.stream.names(Endpoints, nonce, &names)
            }
        }
    }

    /// Whether a response about endpoints has not been read.
    fn is_behind(&self) -> bool {
        self.inbox.iter().any(|response| response.kind == Endpoints)
    }

    fn apply(&mut self, response: &Response) {
        if response.kind == Cluster && self.stream.session.dialect == Dialect::StateOfTheWorld {
            self.has.retain(|(kind, _), _| *kind != Cluster);
        }
        for resource in &response.resources {
            let dropped = response.kind == Endpoints && !self.wants.contains(&&*resource.name);
            if !dropped || self.stream.session.dialect == Dialect::StateOfTheWorld {
                let empty = Resource::empty(response.kind, &resource.name);
                let content = match empty {
                    Some(empty) if empty.version == resource.version => 0,
                    _ => u32::decode(resource.body.clone()).unwrap(),
                };
                self.has.insert((response.kind, resource.name.clone()), content);
            }
        }
        for name in &response.removed {
            self.has.remove(&(response.kind, name.clone()));
        }
    }

    fn settle(&mut self) {
        for _ in 0..200 {
            while !self.inbox.is_empty() {
                self.step(&Step::Answer);
            }
            self.step(&Step::Pass(500));
        }
    }

    /// All clusters, and the endpoints that it wants, as published. Endpoints that are no longer
    /// published stay what they were.
    fn check(&self) {
        let has = |kind, name: &str| self.has.get(&(kind, name.into())).copied().unwrap_or(0);
        for name in NAMES {
            let published = |kind| {
                let find = self.content.iter().find(|(k, n, _)| *k == kind && *n == name);
                find.map_or(0, |(_, _, content)| *content)
            };
            assert_eq!(has(Cluster, name), published(Cluster), "cluster {name}");
            if self.wants.contains(&name) && published(Endpoints) > 0 {
                assert_eq!(has(Endpoints, name), published(Endpoints), "endpoints of {name}");
            }
        }
        assert_eq!(self.stream.session.wake(), None, "nothing is left to do");
    }
}

proptest! {
    #[test]
    fn a_client_that_answers_ends_up_with_what_is_in_force(steps in steps(), delta: bool) {
        let dialect = if delta { Dialect::Incremental } else { Dialect::StateOfTheWorld };
        let mut client = Client::new(dialect);
        for step in &steps {
            client.step(step);
        }
        client.settle();
        client.check();
    }
}
