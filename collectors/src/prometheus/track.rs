//! From an answer's series to reports: what each counter grew by since its last sample.
//!
//! Counts are taken from raw samples and their own times, never from rates: an extrapolated rate
//! cannot be turned back into the requests that were counted.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use weir_engine::names::{Address, ClusterName, Node};
use weir_engine::observation::{Report, Sample, Source};
use weir_engine::units::Moment;

use super::answer::{Answer, Labels, Point, Series};
use super::recipe::{Recipe, What};
use crate::counters::{events, is_count};
use crate::histogram;

/// A server's clock beside ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clocks {
    /// Now, by our clock.
    pub(super) ours: Moment,
    /// Now, by the server's: milliseconds since 1970.
    pub(super) theirs: i64,
    /// Samples older than this are no evidence.
    pub(super) stale_after: Duration,
    /// Counts over a longer gap than this are no news.
    pub(super) gap_max: Duration,
}

/// Samples from the future by more than this are nonsense; up to it they are rounding.
const AHEAD_MAX_MS: i64 = 5_000;

/// What one recipe's series were at last.
#[derive(Debug, Default)]
pub(super) struct Tracks {
    series: HashMap<String, Point>,
    /// When a target's series were last sampled, by who, where and what it is.
    targets: HashMap<String, i64>,
}

/// One endpoint (or a cluster as a whole) of one reporter.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Subject {
    reporter: String,
    cluster: String,
    endpoint: Option<String>,
}

/// Growth of all that is counted of a subject.
#[derive(Debug, Default)]
struct Grown {
    window: i64,
    at: i64,
    counts: BTreeMap<Measure, f64>,
    within: Vec<(f64, f64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Measure {
    Requests,
    Errors,
    Timeouts,
    LocalFailures,
    LatencySum,
}

/// A series and what it is about, worked out once however many of its points are taken in.
#[derive(Debug)]
pub(super) struct Line {
    name: String,
    target: String,
    /// None: the series does not say what it is about.
    subject: Option<Subject>,
    labels: Labels,
    raw: bool,
    /// In ascending order of time.
    pub(super) points: Vec<Point>,
}

impl Line {
    /// An answer's series in the order of their names.
    pub(super) fn all(recipe: &Recipe, answer: Answer) -> Vec<Self> {
        let (series, raw) = match answer {
            Answer::Raw(series) => (series, true),
            Answer::Computed(series) => (series, false),
        };
        let line = |(name, Series { labels, points }): (String, Series)| Self {
            target: target_of(&labels),
            subject: subject_of(recipe, &labels),
            name,
            labels,
            raw,
            points,
        };
        once_each(series).into_iter().map(line).collect()
    }
}

/// A line and those of its points that are taken in together.
pub(super) type Shown<'a> = (&'a Line, &'a [Point]);

/// One series as an answer shows it.
struct Seen<'a> {
    points: &'a [Point],
    ended: bool,
    raw: bool,
    /// When its target was last read before.
    born: Option<i64>,
}

/// How a series changed.
enum Change {
    /// By this much, in this many milliseconds up to this time.
    Grew { by: f64, window: i64, at: i64 },
    /// Nothing new was sampled.
    NoNews,
    /// Not to be known.
    Unknown,
}

impl Tracks {
    /// What happened since the last answer. Whatever cannot be believed is left out.
    pub(super) fn absorb(
        &mut self,
        recipe: &Recipe,
        answer: Answer,
        clocks: Clocks,
    ) -> Vec<Report> {
        let lines = Line::all(recipe, answer);
        let shown: Vec<Shown<'_>> = lines.iter().map(|line| (line, &line.points[..])).collect();
        self.take(recipe, &shown, clocks)
    }

    /// As [`Self::absorb`], of points that were picked from an answer.
    pub(super) fn take(
        &mut self,
        recipe: &Recipe,
        shown: &[Shown<'_>],
        clocks: Clocks,
    ) -> Vec<Report> {
        let newest = newest_by_target(shown);
        let mut subjects: BTreeMap<&Subject, Grown> = BTreeMap::new();
        let mut next = Vec::new();
        for &(line, points) in shown {
            let Some(subject) = &line.subject else { continue };
            let target = line.target.as_str();
            let points = usable(points);
            let seen = Seen {
                points,
                // A series that ended while its target is read on is gone, which is no doubt.
                ended: points.last().is_some_and(|last| newest.get(target) > Some(&last.at)),
                raw: line.raw,
                born: self.targets.get(target).copied().filter(|_| line.raw),
            };
            let change = self.change(&line.name, &seen, clocks);
            subjects.entry(subject).or_default().add(recipe, &line.labels, &change);
            next.extend(points.last().map(|&last| (line.name.as_str(), last)));
        }
        self.remember(next, newest, clocks);
        reports(subjects, clocks)
    }

    /// What was missing this time is remembered as long as a gap may last.
    fn remember(
        &mut self,
        series: Vec<(&str, Point)>,
        targets: HashMap<&str, i64>,
        clocks: Clocks,
    ) {
        let since = clocks.theirs.saturating_sub(millis(clocks.gap_max));
        self.series.retain(|_, last| last.at >= since);
        self.targets.retain(|_, at| *at >= since);
        for (name, last) in series {
            put(&mut self.series, name, last);
        }
        for (target, at) in targets {
            put(&mut self.targets, target, at);
        }
    }

    fn change(&self, name: &str, seen: &Seen<'_>, clocks: Clocks) -> Change {
        let Some(newest) = seen.points.last() else { return Change::Unknown };
        let age = clocks.theirs.saturating_sub(newest.at);
        if age < -AHEAD_MAX_MS || (age > millis(clocks.stale_after) && !seen.ended) {
            return Change::Unknown;
        }
        let Some(start) = self.start(name, seen, clocks) else {
            return if seen.ended { Change::NoNews } else { Change::Unknown };
        };
        if start.at >= newest.at {
            return Change::NoNews;
        }
        let mut by = 0.0;
        let mut last = start.value;
        for point in seen.points.iter().filter(|point| point.at > start.at) {
            let fell = point.value < last;
            if fell && !seen.raw {
                // A sum falls when one of its parts leaves; that is no restart of the rest.
                return Change::Unknown;
            }
            by += if fell { point.value } else { point.value - last };
            last = point.value;
        }
        Change::Grew { by, window: newest.at - start.at, at: newest.at }
    }

    /// From where a series' growth counts: its last sample, or zero if it began since its target
    /// was last read, or else, at first sight, the last sample but one.
    fn start(&self, name: &str, seen: &Seen<'_>, clocks: Clocks) -> Option<Point> {
        let newest = seen.points.last()?;
        let in_time = |at: i64| newest.at.saturating_sub(at) <= millis(clocks.gap_max);
        let known = self.series.get(name).copied().filter(|last| in_time(last.at));
        let newborn = || {
            let at = seen.born.filter(|&at| seen.points.iter().all(|point| point.at > at))?;
            in_time(at).then_some(Point { at, value: 0.0 })
        };
        let fresh = || {
            let point = seen.points.get(seen.points.len().checked_sub(2)?)?;
            in_time(point.at).then_some(*point)
        };
        if self.series.contains_key(name) { known.or_else(fresh) } else { newborn().or_else(fresh) }
    }
}

/// Series by their names; those that come twice contradict themselves and are left out.
fn once_each(series: Vec<Series>) -> BTreeMap<String, Series> {
    let mut once = BTreeMap::new();
    let mut twice = Vec::new();
    for series in series {
        let name = format!("{:?}", series.labels);
        if once.insert(name.clone(), series).is_some() {
            twice.push(name);
        }
    }
    for name in twice {
        // Kept without points: what it counts is unknown, not nothing.
        if let Some(series) = once.get_mut(&name) {
            series.points.clear();
        }
    }
    once
}

/// A series' points since the last one that is no count; none if that is the newest.
fn usable(points: &[Point]) -> &[Point] {
    let bad = points.iter().rposition(|point| !is_count(point.value));
    &points[bad.map_or(0, |at| at + 1)..]
}

/// When each target was last read.
fn newest_by_target<'a>(shown: &[Shown<'a>]) -> HashMap<&'a str, i64> {
    let mut newest = HashMap::new();
    for (line, points) in shown {
        if let Some(last) = points.last() {
            let at = newest.entry(line.target.as_str()).or_insert(last.at);
            *at = last.at.max(*at);
        }
    }
    newest
}

/// Inserts; copies the name only of what is new.
fn put<T>(into: &mut HashMap<String, T>, name: &str, value: T) {
    if let Some(known) = into.get_mut(name) {
        *known = value;
    } else {
        into.insert(name.to_owned(), value);
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn subject_of(recipe: &Recipe, labels: &Labels) -> Option<Subject> {
    let endpoint = match &recipe.endpoint {
        Some(naming) => Some(naming.of(labels)?),
        None => None,
    };
    Some(Subject {
        reporter: recipe.reporter.of(labels)?,
        cluster: recipe.cluster.of(labels)?,
        endpoint,
    })
}

/// What Prometheus scraped the series from.
fn target_of(labels: &Labels) -> String {
    let of = |label: &str| labels.get(label).map_or("", String::as_str);
    [of("job"), of("instance"), of("pod")].join("\n")
}

impl Grown {
    fn add(&mut self, recipe: &Recipe, labels: &Labels, change: &Change) {
        let name = labels.get("__name__");
        let rules = recipe
            .rules
            .iter()
            .filter(|rule| rule.metric.is_none() || rule.metric.as_ref() == name);
        if let Change::Grew { window, at, .. } = *change {
            self.window = self.window.max(window);
            self.at = self.at.max(at);
        }
        for rule in rules {
            let by = match (rule.when.holds(labels), change) {
                (true, Change::Grew { by, .. }) => *by,
                (false, Change::Grew { .. }) => 0.0,
                (true, Change::Unknown) => f64::NAN,
                (_, Change::NoNews) | (false, Change::Unknown) => continue,
            };
            self.count(rule.what, by, labels);
        }
    }

    fn count(&mut self, what: What, by: f64, labels: &Labels) {
        let (measure, by) = match what {
            What::Requests => (Measure::Requests, by),
            What::Errors => (Measure::Errors, by),
            What::Timeouts => (Measure::Timeouts, by),
            What::LocalFailures => (Measure::LocalFailures, by),
            What::LatencySum(unit) => (Measure::LatencySum, by * unit),
            What::LatencyWithin(unit) => {
                let bound = labels.get("le").and_then(|le| le.parse().ok()).unwrap_or(f64::NAN);
                return self.count_within(bound * unit, by);
            }
        };
        // NaN is unknown, and a sum with an unknown part is unknown.
        *self.counts.entry(measure).or_default() += by;
    }

    fn count_within(&mut self, bound: f64, by: f64) {
        match self.within.iter_mut().find(|(other, _)| other.total_cmp(&bound).is_eq()) {
            Some((_, count)) => *count += by,
            None => self.within.push((bound, by)),
        }
    }

    fn sample(mut self, endpoint: Option<String>) -> Sample {
        let counts = &self.counts;
        let of = |measure: Measure| counts.get(&measure).copied().and_then(events);
        let part = |measure: Measure, whole: Option<u64>| {
            of(measure).zip(whole).map(|(part, whole)| part.min(whole))
        };
        let requests = of(Measure::Requests);
        let errors = part(Measure::Errors, requests);
        let sum = counts.get(&Measure::LatencySum).copied();
        self.within.sort_by(|a, b| a.0.total_cmp(&b.0));
        Sample {
            endpoint: Address::from(endpoint.unwrap_or_default()),
            requests,
            errors,
            timeouts: part(Measure::Timeouts, errors),
            local_failures: part(Measure::LocalFailures, errors),
            latency: sum.and_then(|sum| histogram::split(&self.within, sum)),
            ..Sample::default()
        }
    }
}

fn reports(subjects: BTreeMap<&Subject, Grown>, clocks: Clocks) -> Vec<Report> {
    let mut reports: Vec<Report> = Vec::new();
    for (subject, grown) in subjects {
        let Ok(window) = u64::try_from(grown.window) else { continue };
        let at = ours(grown.at, clocks);
        let sample = grown.sample(subject.endpoint.clone());
        let says_something =
            sample.requests.is_some() || sample.errors.is_some() || sample.latency.is_some();
        if window == 0 || !says_something {
            continue;
        }
        let mut report = Report {
            reporter: Node::from(subject.reporter.as_str()),
            cluster: ClusterName::from(subject.cluster.as_str()),
            zone: "".into(),
            source: Source::Prometheus,
            at,
            window: Duration::from_millis(window),
            // A series that is missing may be one whose scrape failed.
            complete: false,
            samples: Vec::new(),
            totals: None,
        };
        if subject.endpoint.is_none() {
            report.totals = Some(sample);
            reports.push(report);
            continue;
        }
        // Endpoints that one proxy's scrape brought share a report.
        let last = reports.last_mut().filter(|last| {
            last.totals.is_none()
                && (&last.reporter, &last.cluster, last.at, last.window)
                    == (&report.reporter, &report.cluster, report.at, report.window)
        });
        if let Some(last) = last {
            last.samples.push(sample);
        } else {
            report.samples.push(sample);
            reports.push(report);
        }
    }
    reports
}

/// A moment of the server's on our clock.
fn ours(at: i64, clocks: Clocks) -> Moment {
    let age = u64::try_from(clocks.theirs.saturating_sub(at)).unwrap_or(0);
    Moment::from_millis(clocks.ours.millis().saturating_sub(age))
}

#[cfg(test)]
mod tests;
