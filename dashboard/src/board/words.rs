//! From the engine's types to the dashboard's, without a word of judgement.

use std::time::Duration;

use weir_engine::decision::{self, EndpointDecision, Reason};
use weir_engine::goal::{self, Goal, Indicator, Objective, OnStale};
use weir_engine::warning;

use crate::view::decision::EvidenceView;
use crate::view::plain;
use crate::view::service::{EndpointState, LimitView, Mode, Stance, WarningKind};

pub(crate) fn mode(mode: goal::Mode) -> Mode {
    match mode {
        goal::Mode::Observe => Mode::Observe,
        goal::Mode::Recommend => Mode::Recommend,
        goal::Mode::Enforce => Mode::Enforce,
    }
}

pub(crate) fn stance(stance: &decision::Stance) -> Stance {
    match stance {
        decision::Stance::Resting => Stance::Resting,
        decision::Stance::Steering => Stance::Steering,
        decision::Stance::Holding(_) => Stance::Holding,
        decision::Stance::Decaying { .. } => Stance::Decaying,
    }
}

pub(crate) fn state(state: decision::EndpointState) -> EndpointState {
    match state {
        decision::EndpointState::Serving => EndpointState::Serving,
        decision::EndpointState::Joining => EndpointState::Joining,
        decision::EndpointState::Probation => EndpointState::Probation,
        decision::EndpointState::Ejected { .. } => EndpointState::Ejected,
        decision::EndpointState::NotReady => EndpointState::NotReady,
    }
}

pub(crate) fn warning(kind: warning::Kind) -> WarningKind {
    match kind {
        warning::Kind::Unusual => WarningKind::Unusual,
        warning::Kind::Shifted => WarningKind::Shifted,
        warning::Kind::Apart => WarningKind::Apart,
        warning::Kind::Ahead => WarningKind::Ahead,
        warning::Kind::Misfit => WarningKind::Misfit,
    }
}

/// The measure behind an endpoint's reason, where a measure decided.
pub(crate) fn evidence(endpoint: &EndpointDecision) -> Option<EvidenceView> {
    let view = |name: &str, measured, at_least, limit, unit: &str| {
        Some(EvidenceView { name: name.into(), measured, at_least, limit, unit: unit.into() })
    };
    match &endpoint.reason {
        Reason::Failing(failing) => {
            let measured =
                if failing.requests > 0.0 { failing.errors / failing.requests } else { 0.0 };
            let at_least = Some(failing.bound.value());
            view("failed requests", measured, at_least, failing.limit.value(), "ratio")
        }
        Reason::Slow(slow) => {
            view("mean latency against peers", slow.own.value(), None, slow.peers.value(), "ms")
        }
        Reason::ServiceTime { own, peers, .. } => {
            view("service time against peers", own.value(), None, peers.value(), "ms")
        }
        Reason::Equal
        | Reason::Unknown
        | Reason::Proving { .. }
        | Reason::Remainder
        | Reason::NotReady
        | Reason::EjectedByProxies { .. } => None,
    }
}

/// The limits that a goal sets.
pub(crate) fn limits(goal: &Goal) -> Vec<LimitView> {
    let ejection = &goal.ejection;
    let balancing = &goal.balancing;
    let on_stale = match goal.evaluation.on_stale {
        OnStale::Fallback => "hold, then go back to equal shares",
        OnStale::Freeze => "hold",
    };
    let changes = goal.guardrails.max_changes_per_minute;
    [
        ("Endpoints out at once", format!("at most {}", ejection.max_ejected)),
        ("Endpoints healthy", format!("at least {}", ejection.min_health)),
        (
            "An ejection lasts",
            format!("{} to {}", span(ejection.base_time), span(ejection.max_time)),
        ),
        (
            "Weight of an endpoint",
            format!("{:.2} to {:.1} x the equal share", balancing.weight_min, balancing.weight_max),
        ),
        ("Traffic moved in 15 s", format!("at most {}", balancing.max_step)),
        (
            "Changes in a minute",
            changes.map_or_else(|| "unlimited".into(), |changes| format!("at most {changes}")),
        ),
        ("Requests needed to judge", format!("at least {}", goal.evaluation.min_samples)),
        ("Without fresh telemetry", on_stale.into()),
    ]
    .map(|(name, value)| LimitView { name: name.into(), value })
    .into()
}

/// What an objective promises, in one line.
pub(crate) fn promise(objective: &Objective) -> String {
    let target = trimmed(objective.target.value() * 100.0);
    let over = span(objective.window);
    match &objective.indicator {
        Indicator::Availability => format!("{target} % of requests succeed over {over}"),
        Indicator::Latency { threshold } => {
            let threshold = trimmed(threshold.value());
            format!("{target} % of requests within {threshold} ms over {over}")
        }
        Indicator::Prometheus { .. } => {
            format!("{target} % of {} are good over {over}", plain(&objective.name))
        }
    }
}

/// A number with at most three decimals, none of them zeros at the end.
pub(crate) fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A duration in the largest unit that says it in whole numbers: `28 d`, `90 s`.
pub(crate) fn span(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let whole =
        units.into_iter().find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    match whole {
        Some((unit, name)) => format!("{} {name}", seconds / unit),
        None if seconds == 0 && !duration.is_zero() => format!("{} ms", duration.as_millis()),
        None => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_engine::units::{Millis, Ratio};

    #[track_caller]
    fn promises(indicator: Indicator, expected: &str) {
        let objective = Objective {
            name: "o".into(),
            target: Ratio::clamped(0.999),
            window: Duration::from_secs(28 * 86_400),
            indicator,
        };
        assert_eq!(promise(&objective), expected);
    }

    #[test]
    fn objectives_read_as_promises() {
        promises(Indicator::Availability, "99.9 % of requests succeed over 28 d");
        let threshold = Millis::clamped(500.0);
        promises(Indicator::Latency { threshold }, "99.9 % of requests within 500 ms over 28 d");
    }

    #[test]
    fn durations_take_their_largest_whole_unit() {
        for (seconds, text) in [(0, "0 s"), (90, "90 s"), (300, "5 min"), (7_200, "2 h")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
        assert_eq!(span(Duration::from_millis(250)), "250 ms");
    }
}
