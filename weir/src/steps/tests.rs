//! Two loops side by side, without sockets: one decides, the other serves what it decided.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use weir_collectors::access_log;
use weir_engine::goal::Goals;
use weir_engine::names::Locality;
use weir_engine::topology::{ClientCluster, ClusterForm, Endpoint, ServiceTopology};
use weir_proxy_adapter::resource::{TypeUrl, Version};
use weir_proxy_adapter::server::{Config, Server};

use super::*;
use crate::kubernetes::leading::Standing;
use crate::kubernetes::lease::Term;
use crate::replicas::{Published, Served, Told};
use crate::store::last_good::{decode, encode};

/// A loop, and the other ends of what goes on between replicas.
struct Replica {
    steps: Steps,
    standing: watch::Sender<Standing>,
    tells: watch::Sender<Told>,
    published: watch::Receiver<Published>,
    heard: mpsc::Sender<Heard>,
    told: mpsc::Receiver<Heard>,
    reports: mpsc::Sender<Report>,
}

impl Replica {
    fn new(state: State<Memory>) -> Self {
        let clock = Clock::start(None);
        let (reports, reported) = mpsc::channel(8);
        let (standing, stands) = watch::channel(Standing::default());
        let (publishes, published) = watch::channel(Published::default());
        let (hears, heard) = mpsc::channel(1);
        let (tells, told) = watch::channel(Told::default());
        let (telling, to_leader) = mpsc::channel(1);
        let replicas = Replicas { standing: stands, published: publishes, heard, told, telling };
        let (_, log, _) = access_log::Service::new(
            access_log::Config { stop: CancellationToken::default() },
            clock.shared(),
        );
        let governed = Arc::new(Governed { services: vec![service()], settled: true });
        let inputs = Inputs {
            reports: reported,
            log,
            indicated: mpsc::channel(1).1,
            fitted: mpsc::channel(1).1,
            said: mpsc::channel(1).1,
            policies: watch::channel(InForce::default()).1,
            at_work: None,
            governed: watch::channel(governed).1,
            replicas: Some(replicas),
            discovered: Sources::default(),
        };
        let outputs = Outputs {
            journal: None,
            last_good: None,
            board: Arc::new(Board::new(clock.now())),
            publisher: Server::new(Config::new(1), clock.shared()).1,
            seen: mpsc::channel(1).0,
            serving: watch::channel(false).0,
            clusters: watch::channel(Arc::default()).0,
            cluster: None,
            objectives: None,
            relay: None,
            opinions: watch::channel(Arc::default()).0,
        };
        let setup = Setup { native: Native::default(), log_budget: 1, clock };
        let steps = Steps::new(setup, inputs, outputs, state);
        Self { steps, standing, tells, published, heard: hears, told: to_leader, reports }
    }

    fn lead(&self, epoch: u64) {
        let until = self.steps.setup.clock.now().plus(Duration::from_secs(10));
        self.standing
            .send_replace(Standing { term: Some(Term { epoch, until }), ..Standing::default() });
    }

    fn hear(&mut self, served: &Served) {
        // As it comes over the wire.
        let served = Some(Arc::new(decode(&encode(served)).unwrap()));
        self.tells.send_modify(|told| *told = Told { served, words: told.words + 1 });
        self.steps.adopt();
    }

    fn served(&self) -> Served {
        (**self.published.borrow().served.as_ref().unwrap()).clone()
    }

    fn endpoints(&self) -> Option<Version> {
        let last = self.steps.last.as_ref()?;
        Some(last.types.get(&TypeUrl::Endpoints)?.get("shop")?.version)
    }
}

fn service() -> crate::config::Service {
    crate::config::Service {
        id: ServiceId::new("demo", "shop"),
        clusters: vec!["shop".into()],
        form: ClusterForm::native(),
        writes_clusters: false,
        per_endpoint_stats: false,
        endpoints: Endpoints::Dns("shop:80".to_owned()),
        counts: weir_engine::observation::Source::LoadReport,
    }
}

/// What an earlier life knew: so many endpoints.
fn known(count: u8) -> State<Memory> {
    let endpoint = |number: u8| Endpoint {
        address: format!("10.0.0.{number}:80").into(),
        locality: Locality::default(),
        concurrency: None,
        ready: true,
    };
    let topology = ServiceTopology {
        service: ServiceId::new("demo", "shop"),
        endpoints: (1..=count).map(endpoint).collect(),
        clusters: vec![ClientCluster { name: "shop".into(), form: ClusterForm::native() }],
        counts: weir_engine::observation::Source::LoadReport,
    };
    let observation = Observation {
        at: Moment::from_millis(1_000),
        topology: Some(Topology { services: vec![topology] }),
        goals: Some(Goals::default()),
        ..Observation::default()
    };
    let mut state = State::default();
    weir_engine::decide(&mut state, &observation, &Reference);
    state
}

fn report() -> Report {
    Report {
        reporter: "proxy".into(),
        cluster: "shop".into(),
        zone: "".into(),
        source: weir_engine::observation::Source::LoadReport,
        at: Moment::from_millis(1_000),
        window: Duration::from_secs(1),
        complete: true,
        samples: Vec::new(),
        totals: None,
    }
}

#[test]
fn a_follower_serves_what_the_leader_serves_and_goes_on_from_it() {
    let (mut leader, mut follower) = (Replica::new(known(3)), Replica::new(State::default()));
    leader.lead(1);
    leader.steps.step();
    follower.steps.step();
    assert_eq!(follower.endpoints(), None, "it decides nothing");
    follower.hear(&leader.served());
    assert!(leader.endpoints().is_some());
    assert_eq!(follower.endpoints(), leader.endpoints());
    let sequence = follower.steps.state.sequence;
    follower.lead(2);
    follower.steps.step();
    assert_eq!(follower.served().number(), (2, sequence + 1), "it goes on where the other was");
    assert_eq!(follower.endpoints(), leader.endpoints(), "a change of leader changes nothing");
}

#[test]
fn each_step_says_that_it_holds_and_only_news_are_told() {
    let mut leader = Replica::new(known(3));
    leader.lead(1);
    leader.steps.step();
    let first = leader.served().number();
    leader.steps.step();
    leader.steps.step();
    assert_eq!((leader.served().number(), leader.published.borrow().steps), (first, 3));
}

#[test]
fn nothing_earlier_is_taken() {
    let served = |epoch, sequence, count| Served {
        epoch,
        services: [ServiceId::new("demo", "shop")].into(),
        state: State { sequence, ..known(count) },
    };
    let mut follower = Replica::new(State::default());
    follower.hear(&served(2, 7, 3));
    let three = follower.endpoints();
    assert!(three.is_some());
    for (epoch, sequence) in [(1, 100), (2, 6), (2, 7)] {
        follower.hear(&served(epoch, sequence, 2));
        assert_eq!(follower.endpoints(), three, "{epoch}.{sequence}");
    }
    follower.hear(&served(2, 8, 2));
    let two = follower.endpoints();
    assert_ne!(two, three);
    follower.hear(&served(3, 1, 3));
    assert_eq!(follower.endpoints(), three, "a later leader counts from wherever it was");
    follower.lead(4);
    follower.hear(&served(4, 9, 2));
    assert_eq!(follower.endpoints(), three, "who decides follows nobody");
}

/// They would fade if nobody renewed them.
#[test]
fn opinions_are_renewed_by_each_word_of_the_leader() {
    let mut follower = Replica::new(State::default());
    let clock = follower.steps.setup.clock.clone();
    let upstream = relay::Upstream {
        address: "http://127.0.0.1:1".parse().unwrap(),
        authority: None,
        identity: None,
        server_name: None,
    };
    let config = relay::Config { upstream, certificate: None, token: relay::Token::Optional };
    let (_relay, handle) = relay::Relay::new(config, clock.shared());
    follower.steps.outputs.relay = Some(handle);
    let renewed = |follower: &Replica| follower.steps.outputs.relay.as_ref().unwrap().renewed();
    let served = Served { epoch: 1, services: BTreeSet::new(), state: known(3) };
    follower.hear(&served);
    let thought = Arc::clone(&follower.steps.outputs.opinions.borrow());
    let first = renewed(&follower);
    while clock.now() == first {
        std::hint::spin_loop();
    }
    follower.hear(&served);
    assert!(renewed(&follower) > first);
    assert_eq!(thought, *follower.steps.outputs.opinions.borrow());
}

#[test]
fn what_a_followers_proxies_report_is_the_leaders_to_judge() {
    let (mut leader, mut follower) = (Replica::new(known(3)), Replica::new(State::default()));
    follower.reports.try_send(report()).unwrap();
    follower.steps.step();
    let heard = follower.told.try_recv().unwrap();
    assert_eq!(heard.reports.len(), 1);
    follower.steps.step();
    assert!(follower.told.try_recv().is_err(), "nothing is told twice");
    leader.lead(1);
    leader.heard.try_send(heard).unwrap();
    let heard = leader.steps.hear(Moment::from_millis(2_000));
    assert_eq!(heard.reports, [report()]);
}
