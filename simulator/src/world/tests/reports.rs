use super::*;
use crate::scenario::Lies;
use weir_engine::observation::Source;

/// Requests, errors and mean latency that were reported, proxy by proxy.
fn told(scenario: &Scenario) -> Vec<(u64, u64, f64)> {
    let mut told = vec![(0, 0, (0.0, 0.0)); scenario.proxies];
    run(scenario, Rival::LeastRequest, |tick| {
        for report in &tick.reports {
            let proxy = report.reporter.as_str().strip_prefix("proxy-").unwrap();
            let sums = &mut told[proxy.parse::<usize>().unwrap()];
            for sample in &report.samples {
                sums.0 += sample.requests.unwrap_or(0);
                sums.1 += sample.errors.unwrap_or(0);
                if let Some(latency) = &sample.latency {
                    sums.2.0 += latency.sum_ms;
                    sums.2.1 += latency.count;
                }
            }
        }
        None
    });
    told.into_iter().map(|(all, errors, (sum, count))| (all, errors, sum / count)).collect()
}

#[test]
fn a_part_of_reports_is_lost() {
    let all: u64 = told(&short()).iter().map(|proxy| proxy.0).sum();
    let mut scenario = short();
    scenario.telemetry.lost = 0.3;
    let some = told(&scenario);
    let some: u64 = some.iter().map(|proxy| proxy.0).sum();
    let part = some as f64 / all as f64;
    assert!((part - 0.7).abs() < 0.06, "{part}");
    let same = run(&short(), LR, |_| None);
    assert_eq!(run(&scenario, LR, |_| None), same, "what happens is as before");
}

#[test]
fn nothing_arrives_of_a_silence() {
    let mut scenario = short();
    scenario.telemetry.silences = vec![(3.0, 6.0)];
    let mut seen = Vec::new();
    run(&scenario, LR, |tick| {
        let counted = tick.reports.iter().filter(|report| report.source == Source::LoadReport);
        seen.push((tick.at.millis() / 1_000, counted.count()));
        None
    });
    let silent: Vec<u64> =
        seen.iter().filter(|(_, count)| *count == 0).map(|seen| seen.0).collect();
    assert_eq!(silent, [0, 3, 4, 5]);
}

#[test]
fn liars_tell_what_is_not_so() {
    let mut scenario = short();
    scenario.load = Curve::level(400.0);
    let honest = told(&scenario);
    scenario.telemetry.lies =
        Some(Lies { part: 0.25, during: (0.0, 60.0), about: 0..10, errors: 0.4, latency: 3.0 });
    let scenario = scenario;
    let lying = told(&scenario);
    for (proxy, (honest, lying)) in honest.iter().zip(&lying).enumerate() {
        assert_eq!(honest.0, lying.0);
        if proxy % 4 == 3 {
            let part = lying.1 as f64 / lying.0 as f64;
            assert!((part - 0.4).abs() < 0.2, "{part}");
            assert!((lying.2 / honest.2 - 3.0).abs() < 0.01);
        } else {
            assert_eq!(honest, lying);
        }
    }
    let lies = scenario.telemetry.lies.as_ref().unwrap();
    assert!(lies.is_told_of(9, 59.9) && !lies.is_told_of(9, 60.0) && !lies.is_told_of(10, 1.0));
    let score = run(&scenario, LR, |_| None);
    assert_eq!(score.errors, 0, "nothing of it is true");
}

#[test]
fn a_trace_tells_the_same_run_second_by_second() {
    let mut scenario = short();
    scenario.backends[3].errors = Curve::between(4.0, 6.0, 0.0, 1.0);
    let (score, trace) = trace(&scenario, Rival::LeastRequest, |_| None);
    assert_eq!(score, run(&scenario, Rival::LeastRequest, |_| None));
    let counted = &trace.seconds[2..10];
    assert_eq!(counted.iter().map(|s| u64::from(s.requests)).sum::<u64>(), score.requests);
    assert_eq!(counted.iter().map(|s| u64::from(s.errors)).sum::<u64>(), score.errors);
    let failed: Vec<bool> = counted.iter().map(|second| second.errors > 0).collect();
    assert_eq!(failed, [false, false, true, true, false, false, false, false]);
    for (index, count) in score.by_backend.iter().enumerate() {
        assert_eq!(counted.iter().map(|s| u64::from(s.by_backend[index])).sum::<u64>(), *count);
    }
    assert!(counted[0].p99_ms().is_some_and(|p99| (100.0..400.0).contains(&p99)));
}
