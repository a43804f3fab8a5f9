//! What pages have in common: the frame around them, and how numbers and ages read.

use weir_engine::names::ServiceId;
use weir_engine::units::Moment;

use crate::board::Snapshot;
use crate::board::read::{Service, millis};
use crate::chart::service::kind_class;
use crate::view::Time;
use crate::view::decision::{DecisionSummary, Kind};
use crate::view::service::{EndpointState, Mode, Stance};

/// A loop that has not stepped for so long is stuck: ten ticks of the default second.
const STUCK_MS: u64 = 10_000;

/// What stands around every page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// Which page this is.
    pub(crate) place: &'static str,
    /// `ready`, `not ready` or `starting`, for the chip in the corner.
    pub(crate) health: &'static str,
    /// What the chip says.
    pub(crate) health_text: String,
    /// What needs attention, on every page.
    pub(crate) alarms: Vec<Alarm>,
    /// When the last step was taken.
    pub(crate) at: Option<Time>,
    pub(crate) now: Moment,
}

/// Something that needs attention.
#[derive(Clone, Debug)]
pub(crate) struct Alarm {
    /// `bad` or `warn`.
    pub(crate) class: &'static str,
    pub(crate) title: String,
    /// What it means and what to do.
    pub(crate) text: String,
    /// Where more stands.
    pub(crate) link: Option<(&'static str, &'static str)>,
}

impl Frame {
    pub(crate) fn of(snapshot: &Snapshot, now: Moment, place: &'static str) -> Self {
        Self::about(snapshot, now, place, None)
    }

    /// The frame of a page about one service: others' troubles do not stand there.
    pub(crate) fn about(
        snapshot: &Snapshot,
        now: Moment,
        place: &'static str,
        service: Option<&ServiceId>,
    ) -> Self {
        let health = snapshot.health();
        let (class, text) = match (health.ready, snapshot.at()) {
            (true, _) => ("ready", "Ready".to_owned()),
            (false, None) if health.checks.is_empty() => ("starting", "Starting".to_owned()),
            (false, _) => {
                let failing = health.checks.iter().filter(|check| !check.passes);
                let names: Vec<_> = failing.map(|check| check.name.as_str()).collect();
                ("not-ready", format!("Not ready: {}", names.join(", ")))
            }
        };
        let at = snapshot.at().map(Time);
        let alarms = alarms(snapshot, now, service);
        Self { place, health: class, health_text: text, alarms, at, now }
    }

    /// Whether a page of the navigation is the current one.
    pub(crate) fn current(&self, place: &str) -> &'static str {
        if self.place == place { " aria-current=page" } else { "" }
    }
}

fn alarms(snapshot: &Snapshot, now: Moment, service: Option<&ServiceId>) -> Vec<Alarm> {
    let mut alarms = Vec::new();
    alarms.extend(stuck(snapshot, now));
    alarms.extend(stale(snapshot, service));
    let failing = snapshot.health().checks.iter().filter(|check| !check.passes);
    alarms.extend(failing.map(|check| Alarm {
        class: "warn",
        title: format!("Not ready: {}", check.name),
        text: check.text.clone(),
        link: None,
    }));
    let wrong = snapshot.policies().iter().filter(|policy| policy.is_wrong()).count();
    if wrong > 0 {
        alarms.push(Alarm {
            class: "warn",
            title: format!("{} not in force as written", counted(wrong, "policy", "policies")),
            text: "What was last good stays in force.".into(),
            link: Some(("/policies", "See the lines")),
        });
    }
    let refusing = snapshot.proxies().iter().filter(|proxy| proxy.refuses()).count();
    if refusing > 0 {
        alarms.push(Alarm {
            class: "bad",
            title: format!(
                "{} the last push",
                counted(refusing, "proxy refuses", "proxies refuse")
            ),
            text: "What was taken before stays in force there.".into(),
            link: Some(("/proxies", "See why")),
        });
    }
    alarms
}

fn stuck(snapshot: &Snapshot, now: Moment) -> Option<Alarm> {
    let quiet = millis(now.since(snapshot.at()?));
    (quiet >= STUCK_MS).then(|| Alarm {
        class: "bad",
        title: format!("No step for {}", age(quiet)),
        text: "Weir's loop does not run; proxies keep what they have. Look into its log.".into(),
        link: None,
    })
}

fn stale(snapshot: &Snapshot, about: Option<&ServiceId>) -> Option<Alarm> {
    let asked = snapshot.services().filter(|service| about.is_none_or(|about| about == service.id));
    let stale = asked.filter(Service::is_stale).map(|service| service.summary());
    let stale: Vec<_> = stale.collect();
    let oldest = stale.iter().filter_map(|service| service.telemetry_age_ms).max();
    let since = oldest.map_or(String::new(), |oldest| format!(" for {}", age(oldest)));
    (!stale.is_empty()).then(|| Alarm {
        class: "bad",
        title: match about {
            Some(_) => format!("No fresh telemetry{since}"),
            None => format!(
                "No fresh telemetry{since}: {}",
                counted(stale.len(), "service is affected", "services are affected")
            ),
        },
        text: "Weir moves nothing on old evidence; shares stay, then go back to equal.".into(),
        link: Some(("/#sources", "See the sources")),
    })
}

/// `1 policy`, `3 policies`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {many}", grouped(count as u64)) }
}

/// A whole number with its thousands apart: `12,400`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// How long ago, or for how long, in milliseconds.
pub(crate) fn age(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{} s", ms / 1_000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} d", ms / 86_400_000),
    }
}

/// Stands where nothing is known.
pub(crate) const UNKNOWN: &str = "–";

/// A part in per cent with as many digits as say something.
pub(crate) fn percent(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent == 0.0 {
        "0 %".into()
    } else if percent.abs() < 0.01 {
        "< 0.01 %".into()
    } else if percent.abs() < 1.0 {
        format!("{percent:.2} %")
    } else if percent.abs() < 10.0 {
        format!("{percent:.1} %")
    } else {
        format!("{percent:.0} %")
    }
}

/// A good ratio: its distance from 100 % decides the digits.
pub(crate) fn percent_good(ratio: f64) -> String {
    let bad = (1.0 - ratio) * 100.0;
    let digits = match bad {
        bad if bad >= 10.0 => 0,
        bad if bad >= 1.0 => 1,
        bad if bad >= 0.1 => 2,
        _ => 3,
    };
    if bad <= 0.0 { "100 %".into() } else { format!("{:.digits$} %", ratio * 100.0) }
}

pub(crate) fn percent_or_unknown(ratio: Option<f64>) -> String {
    ratio.map_or_else(|| UNKNOWN.into(), percent)
}

/// Requests per second.
pub(crate) fn rate(rate: Option<f64>) -> String {
    match rate {
        None => UNKNOWN.into(),
        Some(rate) if rate < 10.0 => format!("{rate:.1}"),
        Some(rate) => grouped(whole(rate)),
    }
}

/// A latency in milliseconds, or in seconds from ten on.
pub(crate) fn latency(ms: Option<f64>) -> String {
    match ms {
        None => UNKNOWN.into(),
        Some(ms) if ms < 10.0 => format!("{ms:.1} ms"),
        Some(ms) if ms < 10_000.0 => format!("{} ms", grouped(whole(ms))),
        Some(ms) => format!("{:.1} s", ms / 1e3),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded and clamped; the cast saturates"
)]
pub(crate) fn whole(number: f64) -> u64 {
    number.round().max(0.0) as u64
}

pub(crate) const fn mode_label(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "Observe",
        Mode::Recommend => "Recommend",
        Mode::Enforce => "Enforce",
    }
}

pub(crate) const fn mode_class(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "observe",
        Mode::Recommend => "recommend",
        Mode::Enforce => "enforce",
    }
}

pub(crate) const fn stance_label(stance: Stance, acts: bool) -> &'static str {
    match (stance, acts) {
        (Stance::Resting, _) => "At rest",
        (Stance::Steering, true) => "Steering",
        (Stance::Steering, false) => "Would steer",
        (Stance::Holding, _) => "Holding",
        (Stance::Decaying, _) => "Going back",
    }
}

/// What stands beside a stance's label: the text without the words that the label says.
pub(crate) fn beside_stance(stance: Stance, text: &str) -> String {
    let (before, after) = match stance {
        Stance::Steering => text.split_once("; ").unwrap_or((text, "")),
        Stance::Resting | Stance::Holding | Stance::Decaying => {
            text.split_once(": ").unwrap_or(("", text))
        }
    };
    let rest = if after.is_empty() { before } else { after };
    let mut letters = rest.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    first + letters.as_str()
}

pub(crate) const fn stance_class(stance: Stance) -> &'static str {
    match stance {
        Stance::Resting => "resting",
        Stance::Steering => "steering",
        Stance::Holding => "holding",
        Stance::Decaying => "decaying",
    }
}

pub(crate) const fn state_label(state: EndpointState) -> &'static str {
    match state {
        EndpointState::Serving => "serving",
        EndpointState::Joining => "joining",
        EndpointState::Probation => "on probation",
        EndpointState::Ejected => "out",
        EndpointState::NotReady => "not ready",
    }
}

/// A path to a service's page; whatever is in the names stays in its place.
pub(crate) fn service_path(namespace: &str, name: &str) -> String {
    format!("/services/{}/{}", segment(namespace), segment(name))
}

/// Text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'~') {
            safe.push(char::from(byte));
        } else if byte == b'.' && text != "." && text != ".." {
            safe.push('.');
        } else {
            safe.push_str(&format!("%{byte:02X}"));
        }
    }
    safe
}

/// One line of a list of decisions.
#[derive(Clone, Debug)]
pub(crate) struct FeedLine {
    pub(crate) path: String,
    pub(crate) kind: &'static str,
    pub(crate) clock: String,
    pub(crate) time: String,
    pub(crate) title: String,
    pub(crate) why: String,
    pub(crate) service: String,
    pub(crate) service_path: String,
    /// Whether it is what Weir would have done.
    pub(crate) advice: bool,
    pub(crate) mode: &'static str,
}

impl FeedLine {
    pub(crate) fn of(decision: &DecisionSummary) -> Self {
        Self {
            path: format!("/decisions/{}", decision.id),
            kind: kind_class(decision.kind),
            clock: decision.at.clock(),
            time: decision.at.to_string(),
            title: decision.title.clone(),
            why: decision.why.clone(),
            service: format!("{}/{}", decision.namespace, decision.name),
            service_path: service_path(&decision.namespace, &decision.name),
            advice: !decision.acted
                && matches!(
                    decision.kind,
                    Kind::Ejected | Kind::Probation | Kind::Restored | Kind::Shares
                ),
            mode: mode_label(decision.mode),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_the_digits_that_say_something() {
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.000_01), "< 0.01 %");
        assert_eq!(percent(0.0042), "0.42 %");
        assert_eq!(percent(0.305), "30 %");
        assert_eq!(percent_good(0.999_63), "99.963 %");
        assert_eq!(percent_good(1.0), "100 %");
        assert_eq!(percent_good(0.95), "95.0 %");
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(rate(Some(9.96)), "10.0");
        assert_eq!(latency(Some(12_345.0)), "12.3 s");
        assert_eq!(latency(None), "–");
    }

    #[test]
    fn ages_take_a_unit_that_fits() {
        for (ms, text) in
            [(350, "350 ms"), (12_000, "12 s"), (300_000, "5 min"), (7_200_000, "2 h")]
        {
            assert_eq!(age(ms), text);
        }
    }

    #[test]
    fn a_stance_is_not_said_twice() {
        let beside = |stance, text| beside_stance(stance, text);
        assert_eq!(
            beside(Stance::Resting, "at rest: no imbalance is proven"),
            "No imbalance is proven"
        );
        assert_eq!(beside(Stance::Steering, "steering; 1 of 2 out: a"), "1 of 2 out: a");
        assert_eq!(beside(Stance::Holding, "holding: 1 of 3"), "1 of 3");
    }

    #[test]
    fn names_stay_one_segment_of_a_path() {
        assert_eq!(segment("a/b?c#d e%\"é"), "a%2Fb%3Fc%23d%20e%25%22%C3%A9");
        assert_eq!(segment(".."), "%2E%2E");
        assert_eq!(segment("shop-1.eu"), "shop-1.eu");
    }
}
