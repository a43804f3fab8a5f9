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
