//! `weir what-if`: what it says where there is nothing to ask.

use weir_engine::observation::Observation;
use weir_engine::state::State;
use weir_engine::topology::{ServiceTopology, Topology};
use weir_engine::units::Moment;
use weir_journal::{Link, Record, StateImage, Step, Writer};
use weir_models::reference::Memory;
use weir_tests::weir::run;
use weir_tests::world::write;

use super::{BAD_INPUT, FINDINGS, USAGE, refused};

const POLICY: &str = "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: { name: shop, namespace: demo }
spec:
  targetRefs: [{ group: '', kind: Service, name: shop }]
  mode: Enforce
";

/// A journal of ten silent steps of these services.
fn journal(services: &[&str]) -> Vec<u8> {
    let mut writer = Writer::new(Link::default());
    let mut bytes = writer.header();
    let state = StateImage::of(&State::<Memory>::default());
    let at = Moment::from_millis(1_000);
    let opened =
        Record::Opened { at, build: "test".into(), model: "reference".into(), epoch: None, state };
    bytes.extend(writer.frame(&opened));
    let topology = |service: &&str| ServiceTopology {
        service: (*service).to_owned().try_into().unwrap(),
        endpoints: Vec::new(),
        clusters: Vec::new(),
        counts: weir_engine::observation::Source::LoadReport,
    };
    for second in 1..=10 {
        let declared = Topology { services: services.iter().map(topology).collect() };
        let observation = Observation {
            at: Moment::from_millis(1_000 * second),
            topology: (second == 1).then_some(declared),
            ..Observation::default()
        };
        let step = Step { observation, decision: [0; 16], changed: Vec::new(), pushed: Vec::new() };
        bytes.extend(writer.frame(&Record::Step(Box::new(step))));
    }
    bytes
}

#[test]
fn mistakes_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    write(folder.path(), "p.yaml", POLICY);
    let policy = path("p.yaml");
    let ask = |journal: &str, more: &[&str]| {
        run(["what-if", journal, "--policy", policy.as_str()].iter().chain(more))
    };
    std::fs::create_dir(path("empty")).unwrap();
    write(folder.path(), "foreign.weir", "this is no journal at all");
    std::fs::write(path("one.weir"), journal(&["demo/cart"])).unwrap();
    std::fs::write(path("two.weir"), journal(&["demo/cart", "demo/shop"])).unwrap();
    let mut damaged = journal(&["demo/shop"]);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0x55;
    std::fs::write(path("damaged.weir"), damaged).unwrap();
    for (journal, more, words) in [
        ("nowhere", &[][..], &["nowhere"][..]),
        ("empty", &[], &["holds no journal"]),
        ("foreign.weir", &[], &["foreign.weir", "not a journal"]),
        ("damaged.weir", &[], &["damaged.weir", "byte"]),
        ("two.weir", &[], &["demo/cart, demo/shop", "--service"]),
        ("two.weir", &["--service", "demo/basket"], &["demo/basket", "demo/cart"]),
        ("one.weir", &[], &["p.yaml", "governs demo/shop", "name: cart"]),
    ] {
        refused(&ask(&path(journal), more), BAD_INPUT, words);
    }
    refused(
        &ask(&path("two.weir"), &["--service", "shop"]),
        BAD_INPUT,
        &["default/shop", "demo/cart"],
    );
    refused(&ask(&path("two.weir"), &["--from", "yesterday"]), USAGE, &["--from"]);
}

#[test]
fn silence_is_inconclusive() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "p.yaml", POLICY);
    let journal_at = folder.path().join("j.weir");
    std::fs::write(&journal_at, journal(&["demo/shop"])).unwrap();
    let (at, policy) = (journal_at.display().to_string(), folder.path().join("p.yaml"));
    let policy = policy.display().to_string();
    let asked = ["what-if", at.as_str(), "--policy", policy.as_str()];
    let ended = run(asked);
    assert_eq!(ended.code, Some(FINDINGS), "{}", ended.stderr);
    let last = ended.stdout.lines().last();
    assert_eq!(last, Some("inconclusive: no traffic of the service is recorded"));
    let ended = run(asked.iter().chain(&["-o", "json"]));
    let answer: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&answer["conclusive"], &answer["service"]), (&false.into(), &"demo/shop".into()));
}
