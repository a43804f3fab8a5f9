//! Envoy's outlier detection, as one proxy does it by itself.
//!
//! Failures in a row put a backend out at once; the part that failed is looked at once per
//! interval, and only then is anybody let back in. All that failed counts alike, timeouts as 504.
//! How many may be out is a hard limit with a sharp edge: of fewer than ten backends the default
//! tenth is nobody, since `always_eject_one_host` is off (earlier versions always let one go).
//!
//! Source: envoyproxy/envoy, source/common/upstream/outlier_detection_impl.cc (00c7146) and
//! outlier_detection.proto; the fixes that 1.40's changelog lists do not touch them. Off by default
//! and left out: gateway failures, local origin errors, jitter, extensions. One thing is mended:
//! what success rate just put out, failure percentage does not put out (and count) once more in
//! the same sweep.

mod host;

use host::Host;

/// How it is configured. Times are in microseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// Time between sweeps.
    pub interval: u64,
    /// How long the first ejection lasts; the n-th in a row lasts n times as long.
    pub base_ejection: u64,
    /// How long one may last at most.
    pub max_ejection: u64,
    /// Percentage of members that may be out at once.
    pub max_ejection_percent: f64,
    /// Lets one be out whatever the percentage.
    pub always_eject_one: bool,
    /// Failures in a row that put a member out.
    pub consecutive_5xx: u32,
    /// Compares success rates with one another; nothing where not enforced.
    pub success_rate: Option<SuccessRate>,
    /// Compares each one's failures with a limit; nothing where not enforced.
    pub failure_percentage: Option<FailurePercentage>,
}

/// Puts out who is far below the mean of success rates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuccessRate {
    /// Members with enough requests that there must be.
    pub hosts_min: usize,
    /// Requests per interval that are enough.
    pub requests_min: u64,
    /// Standard deviations below the mean that are too far.
    pub deviations: f64,
}

/// Puts out who fails too much.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FailurePercentage {
    /// Members with enough requests that there must be.
    pub hosts_min: usize,
    /// Requests per interval that are enough.
    pub requests_min: u64,
    /// Percentage of failures that is too much.
    pub threshold: f64,
}

const SECOND: u64 = 1_000_000;

impl Default for Settings {
    /// Envoy's defaults.
    fn default() -> Self {
        Self {
            interval: 10 * SECOND,
            base_ejection: 30 * SECOND,
            max_ejection: 300 * SECOND,
            max_ejection_percent: 10.0,
            always_eject_one: false,
            consecutive_5xx: 5,
            success_rate: Some(SuccessRate { hosts_min: 5, requests_min: 100, deviations: 1.9 }),
            failure_percentage: None,
        }
    }
}

impl Settings {
    /// As a careful operator sets it, our choice: sweeps every second, reacts to three failures
    /// in a row and to a fifth failing, ejects for 10 s and half of the members at most. Success
    /// rate stays at its defaults. A rival that nobody tuned would flatter us.
    pub fn tuned() -> Self {
        Self {
            interval: SECOND,
            base_ejection: 10 * SECOND,
            max_ejection_percent: 50.0,
            consecutive_5xx: 3,
            failure_percentage: Some(FailurePercentage {
                hosts_min: 3,
                requests_min: 20,
                threshold: 20.0,
            }),
            ..Self::default()
        }
    }
}

/// What one proxy thinks of its backends.
#[derive(Clone, Debug)]
pub struct Outliers {
    settings: Settings,
    hosts: Vec<Option<Host>>,
    sweep_at: u64,
}

impl Outliers {
    /// For so many backends, none of which is a member yet.
    pub fn new(backends: usize, settings: Settings) -> Self {
        Self { settings, hosts: vec![None; backends], sweep_at: settings.interval }
    }

    /// Who belongs to the cluster, usable or not. Who leaves is forgotten.
    pub fn set_members(&mut self, members: &[usize]) {
        let mut hosts = vec![None; self.hosts.len()];
        for &backend in members {
            if let (Some(new), Some(old)) = (hosts.get_mut(backend), self.hosts.get_mut(backend)) {
                *new = Some(old.take().unwrap_or_default());
            }
        }
        self.hosts = hosts;
    }

    /// Forgets one, which is a new host now.
    pub fn reset(&mut self, backend: usize) {
        if let Some(host) = self.host(backend) {
            *host = Host::default();
        }
    }

    /// Whether one is ejected.
    pub fn is_out(&self, backend: usize) -> bool {
        self.hosts.get(backend).and_then(Option::as_ref).is_some_and(Host::is_out)
    }

    /// A request ended. Says whether that put its backend out.
    pub fn ended(&mut self, backend: usize, failed: bool, now: u64) -> bool {
        let consecutive = self.settings.consecutive_5xx;
        let Some(host) = self.host(backend) else { return false };
        if host.count(failed) != consecutive || host.is_out() {
            return false;
        }
        // Anew even where the limit keeps it in: the next try takes as many failures again.
        host.forget_row();
        self.eject(backend, now)
    }

    /// Does what is due once per interval. Says whether anybody went out or came back.
    pub fn sweep(&mut self, now: u64) -> bool {
        let interval = self.settings.interval;
        if now < self.sweep_at {
            return false;
        }
        self.sweep_at = now - now % interval + interval;
        let mut changed = false;
        let settings = self.settings;
        for host in self.hosts.iter_mut().flatten() {
            changed |= host.release(&settings, now);
            host.turn();
        }
        for backend in self.suspects() {
            changed |= self.eject(backend, now);
        }
        for host in self.hosts.iter_mut().flatten() {
            host.relax(interval, now);
        }
        changed
    }

    fn host(&mut self, backend: usize) -> Option<&mut Host> {
        self.hosts.get_mut(backend).and_then(Option::as_mut)
    }

    fn eject(&mut self, backend: usize, now: u64) -> bool {
        let settings = self.settings;
        let allowed = self.may_eject();
        let host = self.host(backend).filter(|host| allowed && !host.is_out());
        host.map(|host| host.eject(&settings, now)).is_some()
    }

    fn may_eject(&self) -> bool {
        let all = self.hosts.iter().flatten();
        let out = all.clone().filter(|host| host.is_out()).count();
        let percent = 100.0 * (out + 1) as f64 / all.count() as f64;
        let settings = &self.settings;
        percent <= settings.max_ejection_percent || (settings.always_eject_one && out == 0)
    }

    /// Who did badly in the interval that ended, by success rate, then by failure percentage.
    fn suspects(&self) -> Vec<usize> {
        let by_rate = self.settings.success_rate.into_iter().flat_map(|rule| {
            let rates = self.rates(rule.requests_min, rule.hosts_min);
            let least = least_rate(&rates, rule.deviations);
            rates.into_iter().filter(move |&(_, rate)| rate < least)
        });
        let by_failures = self.settings.failure_percentage.into_iter().flat_map(|rule| {
            let rates = self.rates(rule.requests_min, rule.hosts_min);
            rates.into_iter().filter(move |&(_, rate)| 100.0 - rate >= rule.threshold)
        });
        by_rate.chain(by_failures).map(|(backend, _)| backend).collect()
    }

    /// Percentages that succeeded, of members with enough requests, if enough of them have.
    fn rates(&self, requests_min: u64, hosts_min: usize) -> Vec<(usize, f64)> {
        let hosts = self.hosts.iter().enumerate();
        let rate = |(backend, host): (usize, &Option<Host>)| {
            let rate = host.as_ref().filter(|host| !host.is_out())?.rate(requests_min)?;
            Some((backend, rate))
        };
        let rates: Vec<_> = hosts.filter_map(rate).collect();
        if rates.len() < hosts_min { Vec::new() } else { rates }
    }
}

fn least_rate(rates: &[(usize, f64)], deviations: f64) -> f64 {
    let count = rates.len() as f64;
    let mean = rates.iter().map(|(_, rate)| rate).sum::<f64>() / count;
    let squares = rates.iter().map(|(_, rate)| (rate - mean) * (rate - mean));
    mean - deviations * (squares.sum::<f64>() / count).sqrt()
}

#[cfg(test)]
mod tests;
