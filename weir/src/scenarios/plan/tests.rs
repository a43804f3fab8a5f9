use super::*;

fn read(text: &str) -> Result<Plan, Vec<Problem>> {
    Plan::from_bytes("a", "a.yaml", text.as_bytes())
}

#[track_caller]
fn refused(text: &str, line: usize, what: &str) {
    let problems = read(text).unwrap_err();
    let found = problems.iter().any(|p| p.line == line && p.what.contains(what));
    assert!(found, "nothing about {what:?} on line {line}: {problems:#?}");
}

#[test]
fn the_least_file_is_a_usual_fleet() {
    let plan = read("load: [{rps: 2400}]\nbackends: [{count: 10}]").unwrap();
    let scenario = plan.scenario(3, 100);
    assert_eq!((scenario.seed, scenario.proxies, scenario.backends.len()), (3, 100, 10));
    assert_eq!(scenario.counted, (40.0, 90.0));
    assert_eq!(scenario.telemetry.ticks_late, 1);
}

#[test]
fn endpoints_may_be_made_to_declare_their_workers() {
    let mut plan = read("load: [{rps: 2400}]\nbackends: [{count: 10}]").unwrap();
    assert!(!plan.scenario(1, 1).telemetry.declares_workers);
    plan.declare_workers();
    assert!(plan.scenario(1, 1).telemetry.declares_workers);
}

#[test]
fn faults_and_steps_have_their_times() {
    let text = "load: [{rps: 100}, {from: 40s, rps: 200}]
backends:
  - {count: 1, speed: 0.5, faults: [{from: 40s, until: 70s, slowness: 5, easing: true}]}
  - {count: 1, faults: [{from: 40s, until: 80s, errors: 0.3}]}
  - {count: 1, antagonist: {slowness: 2.5, on: 1s, off: 2s}}
";
    let scenario = read(text).unwrap().scenario(1, 5);
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} for {b}");
    close(scenario.load.at(39.0), 100.0);
    close(scenario.load.at(41.0), 200.0);
    let [slow, failing, pestered] = &scenario.backends[..] else { panic!() };
    close(slow.slowness.at(10.0), 2.0);
    close(slow.slowness.at(40.0), 10.0);
    close(slow.slowness.at(55.0), 6.0);
    close(slow.slowness.at(71.0), 2.0);
    close(failing.errors.at(50.0), 0.3);
    close(failing.errors.at(90.0), 0.0);
    let slow = (0..1_000).filter(|at| pestered.slowness.at(f64::from(*at) / 10.0) > 1.0).count();
    assert!((150..550).contains(&slow), "a third of the time: {slow}");
}

#[test]
fn mistakes_are_found_at_their_lines() {
    refused("load: []\nbackends: [{count: 10}]", 1, "no load");
    refused("load: [{rps: 1}]\nbackends: []", 2, "no backends");
    refused("load: [{rps: -1}]\nbackends: [{count: 1}]", 1, "outside");
    refused("load: [{rps: 1}]\nbackends: [{count: 0}]", 2, "none or too many");
    refused("load: [{rps: 1}]\nbackends: [{count: 1, zone: c}]", 2, "no zone");
    refused("load: [{rps: 1}]\nbackends: [{count: 1}]\ncounted_until: 200s", 3, "no part");
    refused("load: [{rps: 1}]\nbackends: [{count: 1}]\ntimeout: soon", 3, "no duration");
    refused("load: [{rps: 1}]\nbackends: [{cuont: 1}]", 2, "cuont");
    refused(
        "load: [{rps: 1}]\nbackends:\n  - count: 1\n    faults: [{from: 9s, until: 3s, errors: 1}]",
        4,
        "no order",
    );
}

const LOAD: &str = "load: [{rps: 100}]\n";

fn scenario(text: &str) -> Scenario {
    read(&format!("{LOAD}{text}")).unwrap().scenario(1, 10)
}

#[test]
fn retries_and_pools_have_envoys_defaults() {
    let plain = scenario("backends: [{count: 1}]\nretries: {}\npool: {max_connections: 7}");
    let retries = plain.retries.unwrap();
    assert_eq!((retries.max, retries.on_errors, retries.per_try), (1, true, None));
    assert_eq!((retries.concurrency_min, retries.avoids_previous), (3, false));
    assert!((retries.budget_percent - 20.0).abs() < 1e-9);
    let pool = plain.pool.unwrap();
    assert_eq!(
        (pool.max_connections, pool.max_pending_requests, pool.max_requests),
        (7, 1024, 1024)
    );
    refused(&format!("{LOAD}backends: [{{count: 1}}]\nretries: {{max: 99}}"), 3, "too many");
    refused(&format!("{LOAD}backends: [{{count: 1}}]\npool: {{max_requests: 0}}"), 3, "0");
    refused(
        &format!("{LOAD}backends: [{{count: 1}}]\nclasses: [{{share: 0, cost: 1}}]"),
        3,
        "outside",
    );
}

#[test]
fn faults_reach_a_zone_or_everybody() {
    let scenario = scenario(
        "backends:
  - {count: 1, zone: a, faults: [{from: 10s, until: 30s, slowness: 2}]}
  - {count: 1, zone: b}
zones: [{name: a, demand: 1}, {name: b, demand: 1}]
chain: {backends: [{count: 1, zone: b}]}
faults:
  - {zone: b, from: 20s, until: 40s, errors: 0.5}
  - {from: 20s, until: 40s, slowness: 3, errors: 0.1}
",
    );
    let [a, b] = &scenario.backends[..] else { panic!() };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-9, "{a} for {b}");
    close(a.slowness.at(15.0), 2.0);
    close(a.slowness.at(25.0), 6.0);
    close(a.slowness.at(35.0), 3.0);
    close(a.errors.at(25.0), 0.1);
    close(b.slowness.at(25.0), 3.0);
    close(b.errors.at(25.0), 0.55);
    close(b.errors.at(45.0), 0.0);
    close(scenario.chain.unwrap().backends[0].errors.at(25.0), 0.55);
    let nowhere =
        format!("{LOAD}backends: [{{count: 1}}]\nfaults: [{{zone: c, from: 1s, until: 2s}}]");
    refused(&nowhere, 3, "no zone");
    let never = format!("{LOAD}backends: [{{count: 1}}]\nfaults: [{{from: 2s, until: 2s}}]");
    refused(&never, 3, "no time");
}

#[test]
fn a_deployment_replaces_one_after_another() {
    let scenario = scenario(
        "backends:
  - {count: 2, rolling: {from: 10s, every: 5s, gap: 1s}, cold: {slowness: 4, lasts: 8s}}
  - {count: 1}
",
    );
    let present: Vec<(f64, f64)> = scenario.backends.iter().map(|one| one.present[0]).collect();
    let always = f64::INFINITY;
    assert_eq!(present, [(0.0, 10.0), (0.0, 15.0), (11.0, always), (16.0, always), (0.0, always)]);
    assert!((scenario.backends[3].cold.unwrap().lasts - 8.0).abs() < 1e-9);
}

#[test]
fn an_autoscaler_has_its_bounds() {
    let text = "backends:
  - {count: 1}
  - {count: 4, autoscale: {min: 2, max: 9, target: 0.6, lag: 30s}}
";
    let scenario = scenario(text);
    assert_eq!(scenario.backends.len(), 10);
    let scaler = &scenario.autoscalers[0];
    assert_eq!((scaler.members.clone(), scaler.initial, scaler.least), (1..10, 4, 2));
    assert_eq!((scaler.every.as_secs(), scaler.lag.as_secs()), (15, 30));
    let wrong = |group: &str, what| refused(&format!("{LOAD}backends: [{group}]"), 2, what);
    wrong("{count: 1, autoscale: {min: 2, max: 9, target: 0.6}}", "not between");
    wrong("{count: 9, autoscale: {min: 2, max: 5, target: 0.6}}", "not between");
    wrong("{count: 3, autoscale: {min: 2, max: 5, target: 6}}", "outside");
    let rolling = "rolling: {from: 1s, every: 1s}";
    wrong(&format!("{{count: 3, {rolling}, autoscale: {{min: 1, max: 5, target: 1}}}}"), "either");
    let chain = "chain: {backends: [{count: 1, autoscale: {min: 1, max: 1, target: 1}}]}";
    refused(&format!("{LOAD}backends: [{{count: 1}}]\n{chain}"), 3, "only the first");
}

#[test]
fn telemetry_is_lost_and_lies() {
    let scenario = scenario(
        "backends: [{count: 2}, {count: 3}]
telemetry:
  lost: 0.2
  silent: [{from: 1s, until: 2s}]
  lies: {part: 0.1, from: 3s, until: 4s, errors: 0.3, about: 1}
",
    );
    let telemetry = &scenario.telemetry;
    assert!((telemetry.lost - 0.2).abs() < 1e-9 && telemetry.is_silent(1.5));
    let lies = telemetry.lies.as_ref().unwrap();
    assert_eq!(lies.about, 2..5);
    let text =
        "backends: [{count: 2}]\ntelemetry: {lies: {part: 1, from: 1s, until: 2s, about: 1}}";
    refused(&format!("{LOAD}{text}"), 3, "no group 1");
    let text = "backends: [{count: 2}]\ntelemetry: {silent: [{from: 3s, until: 2s}]}";
    refused(&format!("{LOAD}{text}"), 3, "no time");
}
