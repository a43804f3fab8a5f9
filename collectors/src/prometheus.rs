//! Asks a Prometheus server, or one that speaks like it: Thanos, Mimir, VictoriaMetrics.
//!
//! Asked for are raw samples of counters, with their own times; growth is computed here. An
//! answer is believed only if it is whole: a warning, a stale or future sample, a duplicate, a
//! number that no counter can have make the count that they touch unknown, never zero. The client
//! library is used as transport only: what comes back is bounded, checked and decoded by us.

use std::error::Error as StdError;
use std::time::Duration;

use backon::BackoffBuilder;
use futures_util::{StreamExt, stream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use weir_engine::observation::Report;
use weir_engine::units::Moment;

use crate::http::{self, Body};
use crate::status::{Publisher, one_line};
use crate::{Intake, Now};

mod answer;
pub mod history;
pub mod mesh;
pub mod objectives;
pub mod query;
pub mod recipe;
mod track;

use answer::Answer;
pub use answer::AnswerError;
use query::{Query, QueryError, Values};
use recipe::Recipe;
use track::{Clocks, Tracks};

/// Largest answer: 40,000 series with eight samples each.
const BODY_MAX: usize = 16 * 1024 * 1024;
/// Largest explanation of a refusal.
const REFUSAL_MAX: usize = 64 * 1024;
/// Queries under way at once: Prometheus evaluates each on one core, and others ask it too.
const CONCURRENCY: usize = 2;
/// How long the server may evaluate, in milliseconds: less than we wait for its answer.
const EVALUATION_MAX_MS: i64 = 4_500;
/// A round of queries may take this part of the time.
const PACE: u32 = 4;
/// First and longest wait after a failure.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));
/// A server's clock that is off by more than this makes every sample's age a guess.
const SKEW_MAX: Duration = Duration::from_secs(30);
/// Off by more than this is worth a warning.
const SKEW_WARN: Duration = Duration::from_secs(5);
/// The server tells its time in whole seconds: off by less than this is not off.
const SKEW_GRAIN: Duration = Duration::from_millis(1_500);

/// One server to ask.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its address: `http://prometheus:9090`, with a path where there is one.
    pub url: String,
    /// How to present oneself to it.
    pub http: http::Options,
    /// Time from one round to the next, at least. Asking more often than it scrapes brings
    /// nothing.
    pub interval: Duration,
    /// Samples older than this are no evidence; at least two of its scrapes.
    pub stale_after: Duration,
    /// What to ask.
    pub recipes: Vec<Recipe>,
}

impl Config {
    /// A server that scrapes every 15 s, as most do.
    pub fn of(url: &str, recipes: Vec<Recipe>) -> Self {
        Self {
            url: url.to_owned(),
            http: http::Options::default(),
            interval: Duration::from_secs(5),
            stale_after: Duration::from_secs(60),
            recipes,
        }
    }

    /// The poller, or what cannot work.
    pub fn build(self) -> Result<Poller, http::BuildError> {
        // Two scrapes must lie within what is asked for, even if the last is nearly stale.
        let lookback = self.stale_after * 2;
        let watched = |recipe: Recipe| (recipe.over(lookback), Tracks::default());
        Ok(Poller {
            client: Client::new(&self.url, &self.http)?,
            interval: self.interval,
            stale_after: self.stale_after,
            recipes: self.recipes.into_iter().map(watched).collect(),
        })
    }

    /// Asks the server until `cancel`. No failure ends it, not even a setting that cannot work:
    /// `status` says so.
    pub async fn run(self, intake: Intake, status: Publisher, now: Now, cancel: CancellationToken) {
        match self.build() {
            Ok(poller) => poller.run(intake, status, now, cancel).await,
            Err(error) => {
                status.failed(now(), &error);
                cancel.cancelled().await;
            }
        }
    }
}

/// Why a query brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No usable response.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// No response.
    #[error("no answer: {reason}: {cause}")]
    Transport {
        /// What kind of failure, in a word people know.
        reason: &'static str,
        /// What the transport says.
        cause: String,
    },
    /// A response that says nothing.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// Its clock is too far from ours.
    #[error("the server's clock is {seconds} s away from ours: synchronise them")]
    Skew {
        /// How far.
        seconds: u64,
    },
    /// Success, and nothing in it.
    #[error("no series found for {query}")]
    Nothing {
        /// What was asked.
        query: String,
    },
    /// Not the one number that was asked for.
    #[error("not one usable number but {found} for {query}")]
    NotOneNumber {
        /// What came instead.
        found: String,
        /// What was asked.
        query: String,
    },
    /// The query cannot be made.
    #[error(transparent)]
    Query(#[from] QueryError),
}

/// A recipe that failed.
#[derive(Debug, thiserror::Error)]
#[error("{recipe}: {error}")]
struct Failed {
    recipe: String,
    #[source]
    error: Error,
}

/// Asks one server.
#[derive(Clone)]
pub struct Client {
    inner: prometheus_http_query::Client,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = http::shown(self.inner.base_url());
        f.debug_struct("Client").field("url", &url).finish_non_exhaustive()
    }
}

/// An answer and both clocks' time as it began.
struct Received {
    answer: Answer,
    ours: Moment,
    theirs: i64,
}

impl Client {
    /// A client of the server at this address.
    pub fn new(url: &str, options: &http::Options) -> Result<Self, http::BuildError> {
        Self::within(url, options, http::TOTAL_TIMEOUT)
    }

    /// As [`Self::new`], for answers that may take so long.
    fn within(
        url: &str,
        options: &http::Options,
        patience: Duration,
    ) -> Result<Self, http::BuildError> {
        let target = http::target(url)?;
        let not_a_url = |_| http::BuildError::NotAUrl { url: http::shown(&target) };
        let base = target.as_str().trim_end_matches('/');
        let inner = prometheus_http_query::Client::from(http::patient(options, patience)?, base);
        Ok(Self { inner: inner.map_err(not_a_url)? })
    }

    /// The one number that a query of the user's comes to. `{{backend}}` and `{{window}}` are
    /// filled in. Nothing is nothing: an empty answer, NaN and their like are errors, never zero.
    pub async fn measure(
        &self,
        template: &str,
        values: &Values<'_>,
        now: &Now,
    ) -> Result<f64, Error> {
        let query = Query::render(template, values)?;
        let received = self.ask(&query, now).await?;
        one_number(&received.answer)
            .map_err(|found| Error::NotOneNumber { found, query: query.to_string() })
    }

    async fn ask(&self, query: &Query, now: &Now) -> Result<Received, Error> {
        let response = self.inner.query(query.as_str()).timeout(EVALUATION_MAX_MS).get_raw().await;
        let response = response.map_err(|error| transport(&error))?;
        let ours = now();
        let theirs = server_time(&response, ours)?;
        let answer = answer::decode(&read(response, BODY_MAX).await?)?;
        Ok(Received { answer, ours, theirs })
    }
}

/// The body of an answer, or why there is none.
async fn read(response: reqwest::Response, limit: usize) -> Result<Vec<u8>, Error> {
    let refused = !response.status().is_success();
    if refused && http::content_type(&response) == "application/json" {
        return Err(refusal(response).await);
    }
    let body = Body::of(response, limit, &["application/json"], "a Prometheus answer")?;
    Ok(body.all().await?)
}

/// The library lends its cause only, and that one's words begin with the whole query; what lies
/// below is what people want to know.
fn transport(error: &prometheus_http_query::Error) -> Error {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<reqwest::Error>());
    Error::Transport {
        reason: cause.map_or("request failed", http::reason),
        cause: cause.and_then(StdError::source).map(one_line).unwrap_or_default(),
    }
}

/// A refusal explains itself in the body.
async fn refusal(response: reqwest::Response) -> Error {
    let status = response.status();
    let body = Body::unchecked(response, REFUSAL_MAX).all().await;
    match body.map(|body| answer::decode(&body)) {
        Ok(Err(explained @ AnswerError::Refused { .. })) => Error::Answer(explained),
        _ => Error::Http(http::Error::of_status(status)),
    }
}

/// The server's time by its own clock, which all ages are reckoned by.
fn server_time(response: &reqwest::Response, ours: Moment) -> Result<i64, Error> {
    let ours = i64::try_from(ours.millis()).unwrap_or(i64::MAX);
    let Some(theirs) = http::date(response) else { return Ok(ours) };
    let skew = Duration::from_millis(theirs.abs_diff(ours));
    if skew > SKEW_MAX {
        return Err(Error::Skew { seconds: skew.as_secs() });
    }
    if skew > SKEW_WARN {
        tracing::warn!(seconds = skew.as_secs(), "the server's clock is away from ours");
    }
    Ok(if skew > SKEW_GRAIN { theirs } else { ours })
}

fn one_number(answer: &Answer) -> Result<f64, String> {
    let Answer::Computed(series) = answer else { return Err("a range of samples".to_owned()) };
    match &series[..] {
        [] => Err("nothing".to_owned()),
        [one] => match one.points[..] {
            [point] if point.value.is_finite() && point.value >= 0.0 => Ok(point.value),
            [point] => Err(point.value.to_string()),
            _ => Err("no number".to_owned()),
        },
        many => Err(format!("{} series", many.len())),
    }
}

/// Asks one server again and again.
#[derive(Debug)]
pub struct Poller {
    client: Client,
    interval: Duration,
    stale_after: Duration,
    recipes: Vec<(Recipe, Tracks)>,
}

impl Poller {
    /// Asks until `cancel`.
    pub async fn run(
        mut self,
        intake: Intake,
        status: Publisher,
        now: Now,
        cancel: CancellationToken,
    ) {
        let retry = backon::ExponentialBuilder::default()
            .with_min_delay(RETRY.0)
            .with_max_delay(RETRY.1)
            .with_jitter()
            .without_max_times();
        let mut delays = retry.build();
        while !cancel.is_cancelled() {
            let started = Instant::now();
            let outcomes = tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                outcomes = self.round(&now) => outcomes,
            };
            let failed = publish(outcomes, &intake, &status, &now);
            let pause = if failed {
                delays.next().unwrap_or(RETRY.1).max(self.interval.min(RETRY.1))
            } else {
                delays = retry.build();
                let taken = started.elapsed();
                self.interval.max(taken * PACE).saturating_sub(taken)
            };
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Asks everything once.
    async fn round(&mut self, now: &Now) -> Vec<Result<Vec<Report>, Failed>> {
        let (client, stale_after) = (&self.client, self.stale_after);
        let asks: Vec<_> = self
            .recipes
            .iter_mut()
            .map(|(recipe, tracks)| one(client, recipe, tracks, stale_after, now))
            .collect();
        stream::iter(asks).buffer_unordered(CONCURRENCY).collect().await
    }
}

async fn one(
    client: &Client,
    recipe: &Recipe,
    tracks: &mut Tracks,
    stale_after: Duration,
    now: &Now,
) -> Result<Vec<Report>, Failed> {
    let failed = |error| Failed { recipe: recipe.name.clone(), error };
    let Received { answer, ours, theirs } = client.ask(&recipe.query, now).await.map_err(failed)?;
    let (Answer::Raw(series) | Answer::Computed(series)) = &answer;
    if series.is_empty() {
        return Err(failed(Error::Nothing { query: recipe.query.to_string() }));
    }
    let clocks = Clocks { ours, theirs, stale_after, gap_max: stale_after * 2 };
    Ok(tracks.absorb(recipe, answer, clocks))
}

/// Hands over what there is; says whether to wait before asking again. That one query finds
/// nothing is usual (a preset asks for per-endpoint statistics that may be off) and no failure
/// as long as another finds something.
fn publish(
    outcomes: Vec<Result<Vec<Report>, Failed>>,
    intake: &Intake,
    status: &Publisher,
    now: &Now,
) -> bool {
    let (mut found, mut failure, mut nothing) = (false, None, None);
    for outcome in outcomes {
        match outcome {
            Ok(reports) => {
                found = true;
                for report in reports {
                    status.deliver(intake, report);
                }
            }
            Err(empty) if matches!(empty.error, Error::Nothing { .. }) => nothing = Some(empty),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    let to_wait = failure.is_some();
    match failure.or(nothing.filter(|_| !found)) {
        Some(error) => status.failed(now(), &error),
        None => status.succeeded(now()),
    }
    to_wait
}

#[cfg(test)]
mod tests;
