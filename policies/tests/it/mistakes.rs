//! Every kind of mistake as people read it: place, excerpt, and how to mend it.

use insta::assert_snapshot;
use weir_engine::names::ServiceId;
use weir_policies::check::{Document, Reach, Services, check, check_among};
use weir_policies::problem::{Code, Colour, render};

use super::{GOOD, policy, said};

/// The good policy with one part of its text replaced.
#[track_caller]
fn spoilt(part: &str, by: &str) -> String {
    assert!(GOOD.contains(part), "{part:?} is not in the good policy");
    said(&GOOD.replacen(part, by, 1))
}

macro_rules! mistakes {
    ($($name:ident: $part:expr => $by:expr;)*) => {$(
        #[test]
        fn $name() {
            assert_snapshot!(spoilt($part, $by));
        }
    )*};
}

mistakes! {
    unknown_field: "maxStepPercent" => "maxSteppercent";
    unknown_field_with_nothing_near: "maxStepPercent" => "speed";
    unknown_value: "mode: Enforce" => "mode: enforce";
    unknown_value_with_nothing_near: "onStale: Fallback" => "onStale: Panic";
    missing_field: "targetPercent: 99\n" => "# targetPercent: 99\n";
    blank_field: "mode: Enforce" => "mode:";
    blank_section: "    interval: 1s\n    minSamples: 150\n    staleAfter: 20s\n    onStale: Fallback\n" => "";
    number_in_quotes: "minSamples: 150" => "minSamples: \"150\"";
    number_with_a_sign: "maxStepPercent: 25" => "maxStepPercent: 25%";
    fraction_for_a_count: "minSamples: 150" => "minSamples: 1.5";
    not_finite: "maxStepPercent: 25" => "maxStepPercent: .nan";
    too_large_for_a_float: "targetPercent: 99.95" => "targetPercent: 1e999";
    text_for_a_bool: "isRolling: true" => "isRolling: yes";
    number_for_text: "name: payments\n  namespace" => "name: 123\n  namespace";
    map_for_a_list: "    - group: \"\"\n      kind: Service\n      name: payments" => "    name: payments";
    scalar_for_a_map: "slowStart: { window: 1m }" => "slowStart: 1m";
    out_of_range: "maxStepPercent: 25" => "maxStepPercent: 0";
    no_duration: "interval: 1s" => "interval: 1 second";
    no_unit: "interval: 1s" => "interval: 1";
    day_in_a_timer: "maxEjectionTime: 5m" => "maxEjectionTime: 1d";
    duration_out_of_range: "staleAfter: 20s" => "staleAfter: 5m";
    no_window: "duration: 4w" => "duration: 672h30m";
    window_out_of_range: "duration: 4w" => "duration: 52w";
    calendar_window: "isRolling: true" => "isRolling: false";
    goal_of_everything: "targetPercent: 99.95" => "targetPercent: 100";
    name_with_capitals: "name: availability" => "name: Availability";
    looser_ejection: "maxEjectionPercent: 20" => "maxEjectionPercent: 30";
    looser_health: "minHealthPercent: 70" => "minHealthPercent: 50";
    looser_step: "maxStepPercent: 25" => "maxStepPercent: 80";
    ejection_times_the_wrong_way: "baseEjectionTime: 10s" => "baseEjectionTime: 10m";
    weights_the_wrong_way: "min: 10, max: 200" => "min: 200, max: 10";
    objectives_of_one_name: "name: latency" => "name: availability";
    target_of_another_kind: "kind: Service" => "kind: HTTPRoute";
    target_of_another_group: "group: \"\"" => "group: gateway.networking.k8s.io";
    latency_without_threshold: "        latency: { threshold: 250ms }\n" => "";
    latency_under_availability: "type: Latency" => "type: Availability";
    another_kind_of_document: "kind: AdaptiveTrafficPolicy" => "kind: Deployment";
    kind_misspelt: "kind: AdaptiveTrafficPolicy" => "kind: AdaptiveTrafficpolicy";
    another_version: "weir.dev/v1alpha1" => "weir.dev/v2";
    key_twice: "mode: Enforce" => "mode: Enforce\n  mode: Observe";
    tab: "  mode: Enforce" => "\tmode: Enforce";
    quote_never_closed: "group: \"\"" => "group: \"";
    bracket_never_closed: "{ window: 1m }" => "{ window: 1m";
    colon_in_text: "team: money" => "team: money: more";
    alias: "mode: Enforce" => "mode: *other";
    tag: "mode: Enforce" => "mode: !!str Enforce";
    key_that_is_no_text: "team: money" => "? [a, b]\n    : money";
}

#[test]
fn no_targets() {
    assert_snapshot!(said(&policy("p", "targetRefs: []")));
}

#[test]
fn a_target_twice() {
    let spec =
        "targetRefs:\n- {kind: Service, name: a, sectionName: http}\n- {kind: Service, name: a}";
    assert_snapshot!(said(&policy("p", spec)));
}

#[test]
fn queries() {
    for (name, query) in [
        ("placeholder", "sum(rate(a{b=\"{{pod}}\"}[{{window}}]))"),
        ("unclosed", "sum(rate(a[{{window}}])"),
        ("closes_nothing", "sum(a))"),
        ("unquoted", "sum(rate(a{b={{backend}}}[{{window}}]))"),
        ("unknown_function", "summ(rate(a[{{window}}]))"),
        ("open_quote", "a{b=\"c}"),
    ] {
        let spec = format!(
            "targetRefs: [{{kind: Service, name: a}}]\nobjectives:\n- name: o\n  targetPercent: 99\n  indicator:\n    type: Prometheus\n    prometheus:\n      total: sum(rate(a[{{{{window}}}}]))\n      good: {query}"
        );
        assert_snapshot!(format!("query_{name}"), said(&policy("p", &spec)));
    }
}

#[test]
fn rollout() {
    let spec = "\
targetRefs: [{kind: Service, name: a}]
rollout:
  stableRef: {name: a}
  canaryRef: {name: a, port: 70000}
  stepWeights: [10, 5, 50]
  maxWeight: 40
";
    let with_port = said(&policy("p", spec));
    assert_snapshot!("rollout_port", with_port);
    assert_snapshot!("rollout", said(&policy("p", &spec.replace(", port: 70000", ""))));
}

#[test]
fn rollout_of_two_services_to_what_clients_call() {
    let spec = "\
targetRefs: [{kind: Service, name: a}, {kind: Service, name: b}]
rollout:
  stableRef: {name: a}
  canaryRef: {name: b}
  stepWeights: [10]
";
    assert_snapshot!(said(&policy("p", spec)));
}

#[test]
fn rollout_that_is_right_says_what_does_not_act_yet() {
    let spec = "\
targetRefs: [{kind: Service, name: a}]
objectives:
- name: paid
  targetPercent: 99
  indicator: {type: Prometheus, prometheus: {good: sum(a), total: sum(b)}}
rollout:
  stableRef: {name: a, port: 80}
  canaryRef: {name: b}
  stepWeights: [10]
";
    assert_snapshot!(said(&policy("p", spec)));
}

#[test]
fn rollout_to_services_that_are_not_there() {
    let spec = "\
targetRefs: [{kind: Service, name: a}]
rollout:
  stableRef: {name: a-v1}
  canaryRef: {name: a-v2}
  stepWeights: [10]
";
    let known = |names: &[(&str, Reach)]| -> Services {
        names.iter().map(|(name, reach)| (ServiceId::new("default", name), *reach)).collect()
    };
    let against = |services: &Services| {
        let document = Document::new("shop.yaml", policy("p", spec));
        let checked = check_among(&[document], Some(services));
        checked.map_err(|problems| format!("{}\n", render(&problems, Colour::Never)))
    };
    assert_snapshot!("rollout_to_unknown", against(&known(&[])).unwrap_err());
    let hearsay =
        known(&[("a", Reach::Watched), ("a-v1", Reach::Routed), ("a-v2", Reach::Watched)]);
    assert_snapshot!("rollout_to_hearsay", against(&hearsay).unwrap_err());
    let right = known(&[("a", Reach::Routed), ("a-v1", Reach::Served), ("a-v2", Reach::Served)]);
    assert_eq!(against(&right).unwrap().goals.rollouts.len(), 1);
}

#[test]
fn cost() {
    let spec = "\
targetRefs: [{kind: Service, name: a}]
cost:
  currency: euro
  perGiB:
  - from: a/*/b
    to: {'*': -1}
";
    assert_snapshot!(said(&policy("p", spec)));
}

#[test]
fn no_effect() {
    let spec = "\
targetRefs: [{kind: Service, name: a}]
loadBalancing:
  type: Equal
  weightRange: {min: 10}
  maxStepPercent: 10
unsafe:
  maxStepPercent: 30
  minHealthPercent: 70
";
    assert_snapshot!(said(&policy("p", spec)));
}

#[test]
fn zones_the_wrong_way() {
    let spec = "\
targetRefs: [{kind: Service, name: a}]
loadBalancing:
  zoneAware:
    preferLocal: {minEndpointsInZoneThreshold: 9}
";
    assert_snapshot!(said(&policy("p", spec)));
}

#[test]
fn all_at_once() {
    let text = "\
apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata:
  name: My Policy
spec:
  targetRefs:
  - kind: Service
  - kind: Service
    name: a
    port: 80
  mode: enforce
  objectives:
  - targetPercent: 101
  - name: slow
    indicator: {type: Latency}
  evaluation:
    interval: 0s
  ejection:
    maxEjectionPercent: 90
  guardrail:
    maxChangesPerMinute: 6
---
apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
spec:
  targetRefs: a
";
    assert_snapshot!(said(text));
}

#[test]
fn mistakes_before_the_end_of_the_text_are_shown_too() {
    let good = policy("p", "targetRefs: [{kind: Service, name: a}]\nmode: enforce");
    assert_snapshot!(said(&format!("{good}---\na: 'b\n")));
}

#[test]
fn two_policies_of_one_name() {
    let text = policy("p", "targetRefs: [{kind: Service, name: a}]");
    let documents = [Document::new("one.yaml", text.clone()), Document::new("two.yaml", text)];
    assert_snapshot!(render(&check(&documents).unwrap_err(), Colour::Never));
}

#[test]
fn not_utf8() {
    let documents = [Document::new("one.yaml", b"a: b\nc: \xff\n".to_vec())];
    assert_snapshot!(render(&check(&documents).unwrap_err(), Colour::Never));
}

#[test]
fn a_long_line_is_cut_around_the_mistake() {
    let labels: String = (0..200).map(|at| format!("\"l{at}\":\"x\",")).collect();
    let text = format!(
        "{{\"apiVersion\":\"weir.dev/v1alpha1\",\"kind\":\"AdaptiveTrafficPolicy\",\"metadata\":{{\"name\":\"p\",\"labels\":{{{labels}\"z\":1}}}},\"spec\":{{\"targetRefs\":[{{\"kind\":\"Service\",\"name\":\"a\"}}]}}}}"
    );
    assert_snapshot!(said(&text));
}

#[test]
fn the_older_policy_governs() {
    let dated = |name: &str, date: &str, targets: &str| {
        policy(name, &format!("targetRefs: [{targets}]"))
            .replace("metadata:\n", &format!("metadata:\n{date}"))
    };
    let both = "{kind: Service, name: a}, {kind: Service, name: b}";
    let one = "{kind: Service, name: a}";
    let text = [
        dated("aa", "", both),
        dated("young", "  creationTimestamp: 2026-02-01T00:00:00Z\n", one),
        dated("old", "  creationTimestamp: 2026-01-01T00:00:00Z\n", one),
        dated("ab", "", "{kind: Service, name: b}"),
    ]
    .join("---\n");
    let checked = super::check_one(&text).unwrap();
    assert_snapshot!(render(&checked.warnings, Colour::Never));
    let owners: Vec<String> = checked
        .goals
        .services
        .iter()
        .map(|goal| format!("{} by {}", goal.service, goal.policy))
        .collect();
    assert_eq!(owners, ["default/a by default/old", "default/b by default/aa"]);
    let ab = checked.policies.iter().find(|policy| policy.name.as_str() == "default/ab").unwrap();
    assert_eq!(ab.conflicts.first().unwrap().winner.as_str(), "default/aa");
    assert!(ab.governs.is_empty());
}

#[test]
fn a_problem_is_data_too() {
    let problems = super::check_one(&GOOD.replace("maxStepPercent", "maxSteppercent")).unwrap_err();
    let [problem] = problems.as_slice() else { panic!("one problem") };
    assert_eq!((problem.code, problem.line, problem.column), (Code::UnknownField, 39, 5));
    assert_snapshot!(serde_json::to_string_pretty(problem).unwrap());
}

#[test]
fn colours_are_the_callers_choice() {
    let problems = super::check_one("a: b").unwrap_err();
    let problem = problems.first().unwrap();
    assert!(problem.render(Colour::Always).contains('\u{1b}'));
    assert!(!problem.to_string().contains('\u{1b}'));
}

#[test]
fn no_control_character_of_a_file_reaches_a_terminal() {
    let name = "a\\e[31m";
    let text = GOOD.replacen("mode: Enforce", &format!("\"{name}\": 1"), 1);
    assert!(!said(&text).contains('\u{1b}'));
    let raw = GOOD.replacen("mode: Enforce", "mode: \"\u{85}\u{9b}31m\"", 1);
    assert!(!said(&raw).chars().any(|c| c.is_control() && c != '\n'), "{}", said(&raw));
}
