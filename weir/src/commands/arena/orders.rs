//! A scenario's requests for the testbed, and what they came to as the simulator would count it.

use std::time::Duration;

use weir_simulator::draws::{self, Arrival};
use weir_simulator::scenario::Scenario;
use weir_simulator::score::Score;
use weir_testbed::arena::{Errand, Order, Outcome};
use weir_testbed::load::End;

/// The requests, in order of time. Those after the last one that can still disturb a counted one
/// are left out.
pub(super) fn orders(scenario: &Scenario) -> Vec<Order> {
    let until = scenario.counted.1 + scenario.timeout.as_secs_f64();
    let until = Duration::from_secs_f64(until.min(scenario.length));
    let mut orders = Vec::new();
    let mut at = Duration::ZERO;
    for number in 0_u64.. {
        if at >= until {
            break;
        }
        let Arrival { proxy, gap } = draws::arrival(scenario, number, at.as_secs_f64());
        let errand = Errand {
            work: scenario.service.0.mul_f64(draws::work(scenario, number)),
            luck: draws::luck(scenario, number),
            zone: proxy % scenario.zones.len(),
            counted: is_counted(scenario, at),
        };
        orders.push(Order { at, proxy, errand });
        at += whole_micros(gap).unwrap_or(until);
    }
    orders
}

/// Time as the simulator has it.
fn whole_micros(seconds: f64) -> Option<Duration> {
    let micros = Duration::try_from_secs_f64(seconds).ok()?.as_micros();
    Some(Duration::from_micros(u64::try_from(micros).ok()?.max(1)))
}

fn is_counted(scenario: &Scenario, at: Duration) -> bool {
    let (from, until) = scenario.counted;
    (from..until).contains(&at.as_secs_f64())
}

/// What was counted, and the part of all requests that left late.
pub(super) fn score(scenario: &Scenario, orders: &[Order], outcomes: &[Outcome]) -> (Score, f64) {
    let mut score = Score::default();
    for (order, outcome) in orders.iter().zip(outcomes) {
        if !order.errand.counted {
            continue;
        }
        score.requests += 1;
        let took = match outcome.end {
            End::Succeeded(took) => Some(took),
            End::TimedOut => Some(scenario.timeout),
            End::Refused | End::Reset | End::Unsent => None,
        };
        score.errors += u64::from(!matches!(outcome.end, End::Succeeded(_)));
        score.latencies_ms.extend(took.map(|took| took.as_secs_f64() * 1e3));
    }
    score.sort();
    let late = outcomes.iter().filter(|outcome| outcome.late).count();
    (score, late as f64 / outcomes.len().max(1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_simulator::rivals::Rival;
    use weir_simulator::world;

    fn scenario() -> Scenario {
        let zones = vec![("a".to_owned(), 0.7), ("b".to_owned(), 0.3)];
        Scenario { length: 22.0, counted: (10.0, 20.0), zones, ..Scenario::fleet(5) }
    }

    #[test]
    fn they_are_the_requests_that_the_simulator_draws() {
        let scenario = scenario();
        let orders = orders(&scenario);
        let counted = orders.iter().filter(|order| order.errand.counted);
        let simulated = world::run(&scenario, Rival::RoundRobin, |_| None);
        assert_eq!(counted.clone().count() as u64, simulated.requests);
        assert!(counted.clone().all(|order| order.errand.zone == order.proxy % 2));
        assert!(orders.windows(2).all(|pair| pair[0].at < pair[1].at));
        let work: f64 = counted.clone().map(|order| order.errand.work.as_secs_f64()).sum();
        let mean = work / counted.count() as f64;
        assert!((mean / 0.040 - 1.0).abs() < 0.05, "{mean}");
    }

    #[test]
    fn only_what_is_counted_counts_and_only_answers_and_timeouts_have_a_latency() {
        let scenario = scenario();
        let ended = |at: u64, end| {
            let at = Duration::from_secs(at);
            let counted = is_counted(&scenario, at);
            let errand = Errand { work: Duration::ZERO, luck: 0.5, zone: 0, counted };
            (Order { at, proxy: 0, errand }, Outcome { end, late: false })
        };
        let (orders, mut outcomes): (Vec<_>, Vec<_>) = [
            ended(9, End::TimedOut),
            ended(10, End::Succeeded(Duration::from_millis(30))),
            ended(12, End::Refused),
            ended(13, End::Unsent),
            ended(19, End::TimedOut),
            ended(20, End::Reset),
        ]
        .into_iter()
        .unzip();
        outcomes[0].late = true;
        let (score, late) = score(&scenario, &orders, &outcomes);
        assert_eq!((score.requests, score.errors), (4, 3));
        assert_eq!(score.latencies_ms, [30.0, 2_000.0]);
        assert!((late - 1.0 / 6.0).abs() < 1e-9);
    }
}
