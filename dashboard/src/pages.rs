//! Pages for people: made on the server, complete without a script, live with a small one.

use std::sync::Arc;

use askama::Template;
use axum::Router;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use weir_engine::names::ServiceId;

use crate::api::RangeName;
use crate::board::Snapshot;
use crate::chart::heat::Metric;
use crate::web::problem::{Problem, Wrong};
use crate::web::{Shared, answer};

mod decision;
mod fleet;
mod mesh;
mod rollout;
mod service;
pub(crate) mod text;

use text::Frame;

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/", get(fleet_page))
        .route("/services/{namespace}/{name}", get(service_page))
        .route("/services/{namespace}/{name}/heat.png", get(heat))
        .route("/decisions", get(decisions_page))
        .route("/decisions/{id}", get(decision_page))
        .route("/policies", get(policies_page))
        .route("/proxies", get(proxies_page))
        .route("/assets/weir.css", get(style))
        .route("/assets/weir.js", get(script))
        .route("/assets/weir.svg", get(logo))
        .route("/favicon.ico", get(logo))
}

const STYLE: &[u8] = include_bytes!("../assets/weir.css");
const SCRIPT: &[u8] = include_bytes!("../assets/weir.js");
const LOGO: &[u8] = include_bytes!("../assets/weir.svg");

async fn style(headers: HeaderMap) -> Response {
    answer::tagged(&headers, "text/css; charset=utf-8", STYLE.to_vec())
}

async fn script(headers: HeaderMap) -> Response {
    answer::tagged(&headers, "text/javascript; charset=utf-8", SCRIPT.to_vec())
}

async fn logo(headers: HeaderMap) -> Response {
    answer::tagged(&headers, "image/svg+xml", LOGO.to_vec())
}

/// A page of a template, for a client that may hold an older copy.
fn page(headers: &HeaderMap, template: &impl Template) -> Result<Response, Problem> {
    let page = template.render().map_err(|error| Wrong::Rendering.because(error.to_string()))?;
    Ok(answer::html(headers, page))
}

/// What is wrong, as a page.
fn or_page(result: Result<Response, Problem>) -> Response {
    result.unwrap_or_else(Problem::page)
}

fn frame(shared: &Shared, snapshot: &Snapshot, place: &'static str) -> Frame {
    Frame::of(snapshot, shared.now(), place)
}

async fn fleet_page(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let snapshot = shared.web.board.read();
    let template = fleet::FleetPage::of(&snapshot, frame(&shared, &snapshot, "fleet"));
    or_page(page(&headers, &template))
}

/// What of a service is shown.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct ServiceQuery {
    range: Option<RangeName>,
    metric: Option<MetricName>,
    endpoints: Option<EndpointsName>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MetricName {
    Errors,
    P99,
    Load,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum EndpointsName {
    All,
}

impl ServiceQuery {
    fn view(&self) -> service::View {
        service::View {
            range: self.range.unwrap_or_default().into(),
            metric: match self.metric {
                None | Some(MetricName::Errors) => Metric::Errors,
                Some(MetricName::P99) => Metric::P99,
                Some(MetricName::Load) => Metric::Load,
            },
            all: self.endpoints.is_some(),
        }
    }
}

type ServiceQueryResult = Result<Query<ServiceQuery>, axum::extract::rejection::QueryRejection>;

async fn service_page(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<(String, String)>,
    query: ServiceQueryResult,
    headers: HeaderMap,
) -> Response {
    let snapshot = shared.web.board.read();
    or_page((|| {
        let view = crate::api::checked(query)?.view();
        let service = crate::api::find(&snapshot, &id)?;
        let frame = Frame::about(&snapshot, shared.now(), "service", Some(service.id));
        page(&headers, &service::ServicePage::of(&snapshot, service, view, frame))
    })())
}

async fn heat(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<(String, String)>,
    query: ServiceQueryResult,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let view = crate::api::checked(query)?.view();
    let snapshot = shared.web.board.read();
    let service = crate::api::find(&snapshot, &id)?;
    let picture = crate::chart::heat::png(&service.matrix(view.range), view.metric)
        .map_err(|error| Wrong::Rendering.because(error.to_string()))?;
    Ok(answer::tagged(&headers, "image/png", picture))
}

async fn decision_page(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let snapshot = shared.web.board.read();
    or_page((|| {
        let detail = crate::api::find_decision(&snapshot, &id)?;
        let (namespace, name) = (&detail.decision.namespace, &detail.decision.name);
        let about = ServiceId::new(namespace, name);
        let frame = Frame::about(&snapshot, shared.now(), "decision", Some(&about));
        page(&headers, &decision::DecisionPage::of(&snapshot, detail, frame))
    })())
}

async fn policies_page(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let snapshot = shared.web.board.read();
    let frame = frame(&shared, &snapshot, "policies");
    or_page(page(&headers, &mesh::PoliciesPage::of(&snapshot, frame)))
}

async fn proxies_page(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    let snapshot = shared.web.board.read();
    let frame = frame(&shared, &snapshot, "proxies");
    or_page(page(&headers, &mesh::ProxiesPage::of(&snapshot, frame)))
}

/// Decisions have their list on the fleet's page; a shortened address leads there.
async fn decisions_page() -> Response {
    (axum::http::StatusCode::SEE_OTHER, [(header::LOCATION, "/#decisions")]).into_response()
}
