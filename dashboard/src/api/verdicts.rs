//! `/api/v1/verdicts`: what is proven of a new version, for tools that move the traffic themselves.
//!
//! Flagger asks by POST, since it can only POST; the question changes nothing here, so it is no
//! more than a GET with a longer query, and may be asked by whoever may ask for the rest.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use weir_engine::names::ServiceId;
use weir_engine::units::{Moment, Ratio};

use super::checked;
use crate::board::track::COARSE;
use crate::board::verdict::Asked;
use crate::view::rollout::Finding;
use crate::view::verdict::VerdictView;
use crate::web::Shared;
use crate::web::answer;
use crate::web::problem::{Problem, Wrong};

/// Where Flagger asks: the only path to which anything may be posted.
pub(crate) const FLAGGER: &str = "/api/v1/verdicts/flagger";

/// Fewer seconds hold no two looks of a minute each.
const WINDOW_LEAST: Duration = Duration::from_secs(120);

/// Which pair is asked about, and how it is judged.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct VerdictQuery {
    /// The new version's service, as `name` in the same namespace or as `namespace/name`.
    canary: String,
    /// How far back requests count at most, `2m` to `15m`; 15m by default. No further than to
    /// where the new version was two minutes without a request.
    window: Option<String>,
    /// The part of all requests that the new version gets next, in percent; 100 by default: what
    /// it may still do wrong then has to fit the objectives.
    next_percent: Option<f64>,
}

/// What is proven of a new version beside the one in use.
///
/// From the policy's rollout where Weir moves the requests, else from the last minutes of both
/// services, which have to be known to Weir.
#[utoipa::path(get, path = "/api/v1/verdicts/{namespace}/{service}", tag = "verdicts",
    params(("namespace" = String, Path), ("service" = String, Path,
        description = "The version in use, or the service that clients call"), VerdictQuery),
    responses(
        (status = 200, body = VerdictView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
pub(crate) async fn verdict(
    State(shared): State<Arc<Shared>>,
    Path((namespace, service)): Path<(String, String)>,
    query: Result<Query<VerdictQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = checked(query)?;
    let asked = Asked {
        canary: within(&namespace, &query.canary),
        service: ServiceId::new(&namespace, &service),
        window: window(query.window.as_deref())?,
        next: next(query.next_percent)?,
        since: Moment::from_millis(0),
    };
    Ok(answer::json(&headers, &judged(&shared, &asked)?))
}

/// What Flagger posts, as far as it is read.
#[derive(Debug, Deserialize, ToSchema)]
pub(crate) struct FlaggerHook {
    /// The Canary's name.
    name: String,
    /// Its namespace.
    namespace: String,
    /// Which of its versions is tried: a hash of what was applied.
    #[serde(default)]
    checksum: String,
    /// What stands under the webhook's `metadata`.
    #[serde(default)]
    metadata: FlaggerMetadata,
}

/// What a webhook may say under `metadata`. Flagger passes on text only.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct FlaggerMetadata {
    /// The service of the version in use; `NAME-primary` by default.
    service: Option<String>,
    /// The service of the new version; `NAME-canary` by default.
    canary: Option<String>,
    /// As in the query of a GET.
    window: Option<String>,
    /// As in the query of a GET.
    next_percent: Option<String>,
    /// What an inconclusive verdict is: `wait` (the default) or `pass`.
    #[serde(default)]
    on_inconclusive: OnInconclusive,
    /// What a 200 says: that the canary may `advance` (the default), or that it has to be rolled
    /// back, for a webhook of type `rollback`.
    #[serde(default)]
    ask: Ask,
}

/// What to make of an inconclusive verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum OnInconclusive {
    #[default]
    Wait,
    Pass,
}

/// What a webhook wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Ask {
    #[default]
    Advance,
    Rollback,
}

/// Whether a canary of Flagger's may go on, as its webhooks ask: 200 is yes, all else no.
///
/// Changes nothing: Flagger can only POST.
#[utoipa::path(post, path = "/api/v1/verdicts/flagger", tag = "verdicts",
    request_body = FlaggerHook,
    responses(
        (status = 200, description = "Yes", body = VerdictView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "No: it is worse", body = Problem,
            content_type = "application/problem+json"),
        (status = 425, description = "Not yet: nothing is proven", body = Problem,
            content_type = "application/problem+json")))]
pub(crate) async fn flagger(
    State(shared): State<Arc<Shared>>,
    hook: Result<Json<FlaggerHook>, JsonRejection>,
) -> Result<Response, Problem> {
    let Json(hook) = hook.map_err(|rejection| Wrong::Hook.because(rejection.body_text()))?;
    let FlaggerHook { name, namespace, checksum, metadata } = hook;
    let service = metadata.service.unwrap_or_else(|| format!("{name}-primary"));
    let canary = metadata.canary.unwrap_or_else(|| format!("{name}-canary"));
    let percent =
        metadata.next_percent.as_deref().map(|text| text.parse().map_err(|_| percent_wrong(text)));
    let canary = within(&namespace, &canary);
    let mut asked = Asked {
        service: within(&namespace, &service),
        canary,
        window: window(metadata.window.as_deref())?,
        next: next(percent.transpose()?)?,
        since: Moment::from_millis(0),
    };
    // Only what Weir knows is remembered.
    if shared.web.board.read().knows(&asked.canary) {
        asked.since = shared.tries.since(&asked.canary, &checksum, shared.now());
    }
    let view = judged(&shared, &asked)?;
    let untried = shared.web.board.read().untried(&asked);
    if !untried {
        shared.tries.seen(&asked.canary);
    }
    match refusal(view.verdict, metadata.ask, metadata.on_inconclusive) {
        None => Ok(Json(view).into_response()),
        Some(Wrong::NotProven) if untried => first(&shared, &asked, view),
        Some(wrong) => Err(wrong.because(view.text)),
    }
}

/// A version that gets no requests yet may take its first step.
fn first(shared: &Shared, asked: &Asked, view: VerdictView) -> Result<Response, Problem> {
    if shared.tries.may_go(&asked.canary, shared.now()) {
        let text = format!("{}; it may be tried", view.text);
        return Ok(Json(VerdictView { text, ..view }).into_response());
    }
    Err(Wrong::NotProven.because(format!(
        "{}, though its first step was let go: if it gets some, give it under services in weir.yaml the \
         clusters that proxies call it by",
        view.text
    )))
}

/// Why the answer is no, if it is.
fn refusal(verdict: Finding, ask: Ask, on_inconclusive: OnInconclusive) -> Option<Wrong> {
    match (ask, verdict, on_inconclusive) {
        (Ask::Advance, Finding::Fail, _) => Some(Wrong::Worse),
        (Ask::Advance, Finding::Inconclusive, OnInconclusive::Wait) => Some(Wrong::NotProven),
        (Ask::Rollback, Finding::Pass | Finding::Inconclusive, _) => Some(Wrong::NotWorse),
        (Ask::Advance, Finding::Pass, _)
        | (Ask::Advance, Finding::Inconclusive, OnInconclusive::Pass)
        | (Ask::Rollback, Finding::Fail, _) => None,
    }
}

fn judged(shared: &Shared, asked: &Asked) -> Result<VerdictView, Problem> {
    let verdict = shared.web.board.read().verdict(asked, shared.web.judge);
    verdict.map_err(|unknown| {
        Wrong::Pair.because(format!(
            "nothing is known of {unknown}, so {} cannot be compared with {}: name it under \
             services in weir.yaml with its endpoints and clusters, or correct the name; \
             /api/v1/services lists what is known",
            asked.canary, asked.service
        ))
    })
}

/// A service by its name alone, or with its namespace.
fn within(namespace: &str, name: &str) -> ServiceId {
    let (namespace, name) = name.split_once('/').unwrap_or((namespace, name));
    ServiceId::new(namespace, name)
}

fn window(text: Option<&str>) -> Result<Duration, Problem> {
    let most = COARSE.step * u32::try_from(COARSE.columns).unwrap_or(u32::MAX);
    let Some(text) = text else { return Ok(most) };
    let window = text.parse::<jiff::SignedDuration>().ok().and_then(|it| it.try_into().ok());
    let window = window.filter(|window| (WINDOW_LEAST..=most).contains(window));
    window.ok_or_else(|| {
        Wrong::Query.because(format!("window is {text:?}; write 2m to 15m, as 5m or 90s"))
    })
}

fn next(percent: Option<f64>) -> Result<Ratio, Problem> {
    let percent = percent.unwrap_or(100.0);
    if percent > 0.0 && percent <= 100.0 {
        Ok(Ratio::clamped(percent / 100.0))
    } else {
        Err(percent_wrong(&percent.to_string()))
    }
}

fn percent_wrong(text: &str) -> Problem {
    Wrong::Query.because(format!(
        "nextPercent is {text:?}; it is what the new version gets next, above 0 and up to 100"
    ))
}
