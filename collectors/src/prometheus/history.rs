//! What a server remembers: the recipes' series at evenly spaced times of the past, page by page.
//!
//! A range query gives each series' newest sample at each of these times, so that one scrape per
//! step is seen where steps are no shorter than scrapes. What becomes of a step's samples is the
//! same as with live answers.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use weir_engine::observation::Report;
use weir_engine::units::Moment;

use super::answer::{self, Answer, AnswerError, Labels, Point};
use super::query::{Query, Values, escaped};
use super::recipe::Recipe;
use super::track::{Clocks, Line, Shown, Tracks};
use super::{CONCURRENCY, Client, Error, read, transport};
use crate::http;

/// Largest page: two million points at 25 bytes each, and the series' labels.
const PAGE_MAX: usize = 128 * 1024 * 1024;
/// Largest list of names.
const NAMES_MAX: usize = 16 * 1024 * 1024;
/// How long the server may evaluate a page, in milliseconds: half of Prometheus' own limit.
const EVALUATION_MAX_MS: i64 = 60_000;
/// How long a page may take, evaluation included.
const PATIENCE: Duration = Duration::from_secs(90);
/// Samples of this long are looked at to tell how often there is one.
const LOOKED_AT: Duration = Duration::from_secs(600);
/// As with live answers: samples older than this are no evidence, twice that is no news.
const STALE_AFTER: Duration = Duration::from_secs(60);

/// Evenly spaced times, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first; whole seconds.
    pub first: Moment,
    /// The last; whole steps after the first.
    pub last: Moment,
    /// From one to the next; whole seconds.
    pub step: Duration,
}

/// What may help against a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// To ask for less.
    Less,
    /// To ask again later.
    Later,
    /// Nothing that the asker could do by itself.
    Nothing,
}

impl Error {
    /// What may help. Servers use one kind of refusal for several things, so the advice is a
    /// guess that costs little if it is wrong.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Http(http::Error::TooLong { .. }) => Remedy::Less,
            Self::Http(http::Error::Status { status, .. }) => match status.as_u16() {
                413 | 422 | 504 => Remedy::Less,
                429 | 500..=599 => Remedy::Later,
                _ => Remedy::Nothing,
            },
            Self::Http(http::Error::Transport { reason, .. }) | Self::Transport { reason, .. } => {
                if *reason == "timed out" {
                    Remedy::Less
                } else {
                    Remedy::Later
                }
            }
            Self::Answer(AnswerError::Refused { kind, text }) => of_refusal(kind, text),
            Self::Answer(AnswerError::Malformed(_) | AnswerError::Partial { .. }) => Remedy::Later,
            Self::Answer(AnswerError::NoData | AnswerError::TooMany)
            | Self::Http(http::Error::ContentType { .. })
            | Self::Skew { .. }
            | Self::Nothing { .. }
            | Self::NotOneNumber { .. }
            | Self::Query(_) => Remedy::Nothing,
        }
    }
}

/// By the words of Prometheus, Thanos and Mimir.
fn of_refusal(kind: &str, text: &str) -> Remedy {
    let too_much = ["exceed", "limit", "too many", "too large"];
    match kind {
        "execution" | "timeout" | "canceled" => Remedy::Less,
        "too_many_requests" | "unavailable" | "internal" => Remedy::Later,
        _ if too_much.iter().any(|words| text.contains(words)) => Remedy::Less,
        _ => Remedy::Nothing,
    }
}

impl Client {
    /// A client with the patience that questions about the past need.
    pub fn of_the_past(url: &str, options: &http::Options) -> Result<Self, http::BuildError> {
        Self::within(url, options, PATIENCE)
    }

    /// The names of the metrics that a selector finds in a while of the past; all names without
    /// one.
    pub async fn names(&self, selector: Option<&Query>, span: Span) -> Result<Vec<String>, Error> {
        let mut url = self.inner.base_url().clone();
        let path = format!("{}/api/v1/label/__name__/values", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.query_pairs_mut()
            .append_pair("start", &seconds(span.first).to_string())
            .append_pair("end", &seconds(span.last).to_string())
            .extend_pairs(selector.map(|selector| ("match[]", selector.as_str())));
        let response = http::get(self.inner.inner(), url, "application/json").await?;
        Ok(answer::decode_as::<Names>(&read(response, NAMES_MAX).await?)?.0)
    }

    /// How often there is a sample of a metric at some time; nothing where that cannot be told.
    pub async fn sampled_every(
        &self,
        selector: &str,
        at: Moment,
    ) -> Result<Option<Duration>, Error> {
        let lookback = LOOKED_AT.as_secs();
        let most = format!("topk(1, count_over_time({selector}[{lookback}s]))");
        let answer = self.at(&Query::render(&most, &Values::new())?, at).await?;
        let Answer::Computed(series) = answer else { return Ok(None) };
        let Some(series) = series.first() else { return Ok(None) };
        let metric = selector.split('{').next().unwrap_or(selector);
        let Ok(one) = Query::render(&exactly(metric, &series.labels), &Values::new()) else {
            return Ok(None);
        };
        let samples = self.at(&one.over(LOOKED_AT), at).await?;
        let Answer::Raw(series) = samples else { return Ok(None) };
        Ok(series.first().and_then(|series| usual_distance(&series.points)))
    }

    async fn at(&self, query: &Query, at: Moment) -> Result<Answer, Error> {
        let asked = self.inner.query(query.as_str()).at(seconds(at)).timeout(EVALUATION_MAX_MS);
        let response = asked.get_raw().await.map_err(|error| transport(&error))?;
        Ok(answer::decode(&read(response, PAGE_MAX).await?)?)
    }

    async fn range(&self, query: &Query, span: Span) -> Result<Answer, Error> {
        let (first, last) = (seconds(span.first), seconds(span.last));
        let asked = self.inner.query_range(query.as_str(), first, last, span.step.as_secs_f64());
        let response = asked.timeout(EVALUATION_MAX_MS).get_raw().await;
        let response = response.map_err(|error| transport(&error))?;
        Ok(answer::decode(&read(response, PAGE_MAX).await?)?)
    }
}

/// An answer's list of names.
#[derive(Deserialize)]
struct Names(Vec<String>);

fn seconds(at: Moment) -> i64 {
    i64::try_from(at.millis() / 1000).unwrap_or(i64::MAX)
}

/// A selector of the one series that has these labels.
fn exactly(metric: &str, labels: &Labels) -> String {
    let labels = labels.iter().filter(|(name, _)| *name != "__name__");
    let labels: Vec<String> =
        labels.map(|(name, value)| format!("{name}=\"{}\"", escaped(value, '"'))).collect();
    format!("{metric}{{{}}}", labels.join(","))
}

/// The median distance of points, in whole seconds.
fn usual_distance(points: &[Point]) -> Option<Duration> {
    let mut distances: Vec<i64> = points.windows(2).map(|two| two[1].at - two[0].at).collect();
    distances.sort_unstable();
    let median = *distances.get(distances.len() / 2)?;
    let rounded = u64::try_from(median).ok()?.saturating_add(500) / 1000;
    Some(Duration::from_secs(rounded.max(1)))
}

/// Makes reports of what a server remembers, step by step.
#[derive(Debug)]
pub struct History {
    recipes: Vec<(Recipe, Tracks)>,
    stale_after: Duration,
}

/// The series of some steps, as far as they were not taken yet.
#[derive(Debug)]
pub struct Page {
    /// Per recipe.
    lines: Vec<Vec<Waiting>>,
}

/// A series and which of its points is next.
#[derive(Debug)]
struct Waiting {
    line: Line,
    next: usize,
}

impl Page {
    /// How many points it has.
    pub fn points(&self) -> usize {
        self.lines.iter().flatten().map(|waiting| waiting.line.points.len()).sum()
    }
}

impl History {
    /// What these recipes find, at steps of this length.
    pub fn new(recipes: Vec<Recipe>, step: Duration) -> Self {
        let recipes = recipes.into_iter().map(|recipe| (recipe, Tracks::default())).collect();
        Self { recipes, stale_after: STALE_AFTER.max(step * 2) }
    }

    /// So long before a step may lie what its reports depend on.
    pub fn reach(&self) -> Duration {
        self.stale_after * 2
    }

    /// Asks for all series at some times. Memory does not change, so a page may be asked for
    /// again.
    pub async fn page(&self, client: &Client, span: Span) -> Result<Page, Error> {
        let asks = self.recipes.iter().map(async |(recipe, _)| {
            let lines = Line::all(recipe, client.range(&recipe.query, span).await?);
            let waiting = lines.into_iter().map(|line| Waiting { line, next: 0 });
            Ok::<_, Error>(waiting.collect())
        });
        let asks: Vec<_> = asks.collect();
        let lines = stream::iter(asks).buffered(CONCURRENCY).try_collect().await?;
        Ok(Page { lines })
    }

    /// The reports of one step: what was counted since the step before it. Steps are taken in
    /// ascending order, page by page.
    pub fn step(&mut self, page: &mut Page, at: Moment) -> Vec<Report> {
        let theirs = i64::try_from(at.millis()).unwrap_or(i64::MAX);
        let (stale_after, gap_max) = (self.stale_after, self.reach());
        let clocks = Clocks { ours: at, theirs, stale_after, gap_max };
        let mut reports = Vec::new();
        for ((recipe, tracks), waiting) in self.recipes.iter_mut().zip(&mut page.lines) {
            let shown: Vec<Shown<'_>> =
                waiting.iter_mut().filter_map(|waiting| waiting.show(theirs)).collect();
            reports.extend(tracks.take(recipe, &shown, clocks));
        }
        reports
    }
}

impl Waiting {
    /// The line and its points up to a time; nothing where it has none. One that contradicts
    /// itself has none at any time, and is shown as unknown.
    fn show(&mut self, until: i64) -> Option<Shown<'_>> {
        let points = self.line.points.get(self.next..).unwrap_or_default();
        let count = points.iter().take_while(|point| point.at <= until).count();
        self.next += count;
        (count > 0 || self.line.points.is_empty()).then(|| (&self.line, &points[..count]))
    }
}

#[cfg(test)]
mod tests;
