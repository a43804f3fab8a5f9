//! `/api/v1`: what programs read. Everything that a page shows can be had here too.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use utoipa::openapi::OpenApi;
use utoipa::{IntoParams, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::board::Snapshot;
use crate::board::read::{Range, Service};
use crate::view::decision::{DecisionDetail, DecisionId, DecisionPage};
use crate::view::health::{GoneEvent, HealthView, StepEvent};
use crate::view::mesh::{PolicyView, ProxyView, SourceView};
use crate::view::offer::OfferView;
use crate::view::service::{HistoryView, ServiceDetail, ServiceSummary};
use crate::web::Shared;
use crate::web::answer;
use crate::web::problem::{Problem, Wrong};

pub(crate) mod events;
pub(crate) mod tries;
pub(crate) mod verdicts;

/// Decisions on one page if not asked otherwise.
const PAGE: usize = 50;

/// Decisions on one page, and endpoints of one history, at most.
const PAGE_MAX: usize = 200;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Weir",
        description = "What Weir sees, decides and why. Read only.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(StepEvent, GoneEvent)),
    tags(
        (name = "services", description = "Governed services and their endpoints"),
        (name = "decisions", description = "Decisions that changed something, with their reasons"),
        (name = "verdicts", description = "What is proven of new versions, for tools that roll out"),
        (name = "mesh", description = "Policies, proxies and telemetry sources"),
        (name = "events", description = "What happens, as it happens"),
        (name = "health", description = "Whether the process is alive and ready"),
    )
)]
struct Description;

pub(crate) fn router() -> (Router<Arc<Shared>>, OpenApi) {
    let (router, description) = OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(services))
        .routes(routes!(service))
        .routes(routes!(history))
        .routes(routes!(decisions))
        .routes(routes!(decision))
        .routes(routes!(offers))
        .routes(routes!(verdicts::verdict))
        .routes(routes!(verdicts::flagger))
        .routes(routes!(policies))
        .routes(routes!(proxies))
        .routes(routes!(sources))
        .routes(routes!(events::events))
        .routes(routes!(alive))
        .routes(routes!(ready))
        .split_for_parts();
    (router.route("/api/openapi.json", get(openapi)), description)
}

async fn openapi(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    answer::tagged(&headers, "application/json", shared.openapi.clone().into_bytes())
}

/// All services at a glance, in order of namespace and name.
#[utoipa::path(get, path = "/api/v1/services", tag = "services",
    responses((status = 200, body = Vec<ServiceSummary>)))]
async fn services(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    answer::json(&headers, &shared.web.board.read().summaries())
}

/// One service with its endpoints, limits and latest decisions.
#[utoipa::path(get, path = "/api/v1/services/{namespace}/{name}", tag = "services",
    params(("namespace" = String, Path), ("name" = String, Path)),
    responses(
        (status = 200, body = ServiceDetail),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
async fn service(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let snapshot = shared.web.board.read();
    let service = find(&snapshot, &id)?;
    Ok(answer::json(&headers, &service.detail(&snapshot)))
}

/// What waits for a person's approval, in order of service. Approving is done on the machine, by
/// `weir approve` or over the socket in the data folder: nothing can be changed here.
#[utoipa::path(get, path = "/api/v1/offers", tag = "decisions",
    responses((status = 200, body = Vec<OfferView>)))]
async fn offers(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    answer::json(&headers, &shared.web.board.read().offers())
}

/// What of a service's history is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryQuery {
    /// `5m` in columns of a second (default), or `15m` in columns of five.
    #[param(inline)]
    range: Option<RangeName>,
    /// Leave out so many endpoints; none by default.
    offset: Option<usize>,
    /// How many endpoints: 1 to 200, 200 by default.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

/// How far back.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::ToSchema)]
pub(crate) enum RangeName {
    /// Five minutes in columns of a second.
    #[default]
    #[serde(rename = "5m")]
    Short,
    /// A quarter of an hour in columns of five seconds.
    #[serde(rename = "15m")]
    Long,
}

impl From<RangeName> for Range {
    fn from(name: RangeName) -> Self {
        match name {
            RangeName::Short => Self::Short,
            RangeName::Long => Self::Long,
        }
    }
}

/// The last minutes of a service: share, requests, errors and latency per endpoint and column.
#[utoipa::path(get, path = "/api/v1/services/{namespace}/{name}/history", tag = "services",
    params(("namespace" = String, Path), ("name" = String, Path), HistoryQuery),
    responses(
        (status = 200, body = HistoryView),
        (status = 400, body = Problem, content_type = "application/problem+json"),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
async fn history(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<(String, String)>,
    query: Result<Query<HistoryQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = checked(query)?;
    let range = query.range.unwrap_or_default().into();
    let limit = bounded(query.limit.unwrap_or(PAGE_MAX))?;
    let snapshot = shared.web.board.read();
    let service = find(&snapshot, &id)?;
    Ok(answer::json(&headers, &service.matrix(range).view(query.offset.unwrap_or(0), limit)))
}

/// Which decisions are asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DecisionsQuery {
    /// Only those of this service, as `namespace/name`.
    service: Option<String>,
    /// The `next` of the page before.
    cursor: Option<String>,
    /// How many: 1 to 200, 50 by default.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
}

/// Decisions that changed something, newest first.
#[utoipa::path(get, path = "/api/v1/decisions", tag = "decisions", params(DecisionsQuery),
    responses(
        (status = 200, body = DecisionPage),
        (status = 400, body = Problem, content_type = "application/problem+json")))]
async fn decisions(
    State(shared): State<Arc<Shared>>,
    query: Result<Query<DecisionsQuery>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = checked(query)?;
    let of = query.service.as_deref().map(service_name).transpose()?;
    let limit = bounded(query.limit.unwrap_or(PAGE))?;
    let before = query.cursor.as_deref().map(cursor).transpose()?.unwrap_or(u64::MAX);
    let snapshot = shared.web.board.read();
    let older = snapshot.decisions(of).filter(|(number, _)| *number < before);
    let mut page: Vec<_> = older.take(limit + 1).collect();
    let more = page.len() > limit;
    page.truncate(limit);
    let next = page.last().filter(|_| more).map(|(number, _)| number.to_string());
    let items = page.into_iter().map(|(_, detail)| detail.decision.clone()).collect();
    Ok(answer::json(&headers, &DecisionPage { items, next }))
}

/// One decision with what it was made of.
#[utoipa::path(get, path = "/api/v1/decisions/{id}", tag = "decisions",
    params(("id" = DecisionId, Path)),
    responses(
        (status = 200, body = DecisionDetail),
        (status = 404, body = Problem, content_type = "application/problem+json")))]
async fn decision(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Ok(answer::json(&headers, &find_decision(&shared.web.board.read(), &id)?))
}

/// Policies, with what is wrong with them and where.
#[utoipa::path(get, path = "/api/v1/policies", tag = "mesh",
    responses((status = 200, body = Vec<PolicyView>)))]
async fn policies(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    answer::json(&headers, &shared.web.board.read().policies())
}

/// Proxies, with what they were sent and what they answered.
#[utoipa::path(get, path = "/api/v1/proxies", tag = "mesh",
    responses((status = 200, body = Vec<ProxyView>)))]
async fn proxies(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    answer::json(&headers, &shared.web.board.read().proxies())
}

/// Telemetry sources, with when they last worked and what went wrong since.
#[utoipa::path(get, path = "/api/v1/sources", tag = "mesh",
    responses((status = 200, body = Vec<SourceView>)))]
async fn sources(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    answer::json(&headers, &shared.web.board.read().sources())
}

/// Whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "health",
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn alive() -> &'static str {
    "ok\n"
}

/// Whether Weir is ready to govern, and why or why not.
#[utoipa::path(get, path = "/readyz", tag = "health",
    responses((status = 200, body = HealthView), (status = 503, body = HealthView)))]
async fn ready(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let snapshot = shared.web.board.read();
    let health = snapshot.health();
    let mut response = answer::json(&headers, health);
    if !health.ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// A query, or what is wrong with it.
pub(crate) fn checked<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Problem> {
    match query {
        Ok(Query(query)) => Ok(query),
        Err(rejection) => Err(Wrong::Query.because(rejection.body_text())),
    }
}

/// The named service, or what is wrong with the name.
pub(crate) fn find<'a>(
    snapshot: &'a Snapshot,
    (namespace, name): &(String, String),
) -> Result<Service<'a>, Problem> {
    snapshot.service(namespace, name).ok_or_else(|| {
        Wrong::Service.because(format!(
            "there is no service {namespace}/{name}; /api/v1/services lists those that there are"
        ))
    })
}

/// The named decision, or what is wrong with the name.
pub(crate) fn find_decision(snapshot: &Snapshot, id: &str) -> Result<DecisionDetail, Problem> {
    let number: DecisionId =
        id.parse().map_err(|error| Wrong::Decision.because(format!("{id:?}: {error}")))?;
    snapshot.decision(number).ok_or_else(|| {
        Wrong::Decision.because(format!(
            "decision {number} changed nothing or is no longer kept; \
             /api/v1/decisions lists those kept"
        ))
    })
}

fn bounded(limit: usize) -> Result<usize, Problem> {
    let wrong = || Wrong::Query.because(format!("limit is {limit}; it may be 1 to {PAGE_MAX}"));
    (1..=PAGE_MAX).contains(&limit).then_some(limit).ok_or_else(wrong)
}

fn service_name(text: &str) -> Result<(&str, &str), Problem> {
    text.split_once('/').ok_or_else(|| {
        Wrong::Query.because(format!("service is {text:?}; it is written namespace/name"))
    })
}

fn cursor(text: &str) -> Result<u64, Problem> {
    text.parse().map_err(|_| {
        Wrong::Query.because(format!("cursor is {text:?}; hand back the `next` of the page before"))
    })
}
