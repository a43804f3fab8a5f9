//! What proxies do with requests beside choosing.

use std::time::Duration;

use weir_policies::reader::At;
use weir_simulator::scenario::{Class, Pool, Retries};

use super::super::file;
use crate::config::Check;

/// As many retries of one request as anybody would allow.
const RETRIES_MAX: u32 = 10;

/// Envoy's defaults of its circuit breakers and of its retry budget.
const BREAKER: u32 = 1_024;
const BUDGET_PERCENT: f64 = 20.0;
const CONCURRENCY_MIN: u32 = 3;

pub(super) fn retries(written: &file::Retries, field: &str, check: &mut Check<'_>) -> Retries {
    let max = written.max.as_ref().map_or(1, |max| {
        if !(1..=RETRIES_MAX).contains(&max.value) {
            let what = format!("{} retries are none or too many", max.value);
            check.wrong(max.span, field, what, "write 1 to 10");
        }
        max.value
    });
    let percent = written.budget_percent.as_ref();
    let per_try = written.per_try_timeout.as_ref();
    Retries {
        max,
        on_errors: written.errors.unwrap_or(true),
        per_try: per_try.map(|_| check.duration(per_try, field, Duration::ZERO).max(LEAST)),
        budget_percent: percent.map_or(BUDGET_PERCENT, |p| check.number(p, field, (0.0, 100.0))),
        concurrency_min: value(written.min_retry_concurrency.as_ref(), CONCURRENCY_MIN),
        avoids_previous: written.avoid_previous,
    }
}

/// A shorter try is none.
const LEAST: Duration = Duration::from_millis(1);

pub(super) fn pool(written: &file::Pool, field: &str, check: &mut Check<'_>) -> Pool {
    let limits = [&written.max_connections, &written.max_pending_requests, &written.max_requests];
    for limit in limits.into_iter().flatten().filter(|limit| limit.value == 0) {
        let what = "a limit of 0 lets nothing through".to_owned();
        check.wrong(limit.span, field, what, "write at least 1");
    }
    let [max_connections, max_pending_requests, max_requests] =
        limits.map(|limit| value(limit.as_ref(), BREAKER));
    Pool { max_connections, max_pending_requests, max_requests }
}

fn value(written: Option<&At<u32>>, default: u32) -> u32 {
    written.map_or(default, |written| written.value)
}

pub(super) fn classes(written: &[file::Class], check: &mut Check<'_>) -> Vec<Class> {
    let class = |(index, class): (usize, &file::Class)| {
        let field = format!("classes[{index}]");
        Class {
            share: check.number(&class.share, &field, (0.001, 1e3)),
            cost: check.number(&class.cost, &field, (0.001, 1e3)),
        }
    };
    written.iter().enumerate().map(class).collect()
}
