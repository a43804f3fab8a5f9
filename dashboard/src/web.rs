//! The two routers: one for the API and the pages, one for the metrics.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header;
use axum::middleware;
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::Semaphore;
use weir_engine::units::Moment;

use crate::api::tries::Tries;
use crate::board::Board;
use crate::board::verdict::Judge;
use crate::{api, pages};

pub(crate) mod answer;
pub(crate) mod elsewhere;
pub mod problem;
pub mod serve;
mod shield;

/// Open event streams at once: some dozens of people, each with a tab or two.
const STREAMS_MAX: usize = 64;

/// The largest body that is read: a webhook's, of some hundred bytes.
const BODY_MAX: usize = 64 * 1024;

/// What the routers need.
#[derive(Clone)]
pub struct Web {
    /// Where everything is read from.
    pub board: Arc<Board>,
    /// What time it is: pages say how old things are.
    pub clock: Arc<dyn Fn() -> Moment + Send + Sync>,
    /// Who judges new versions that no rollout judges.
    pub judge: Judge,
    /// Names by which the API may be asked for.
    pub hosts: Hosts,
    /// Where the pages of the replica that decides are, while it is another one: what is asked here is
    /// answered there.
    pub leader: Arc<dyn Fn() -> Option<SocketAddr> + Send + Sync>,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// Names by which the API may be asked for. A page of a foreign site can make a browser ask any
/// address under the site's own name (DNS rebinding); the name in the request gives it away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// `localhost` and loopback addresses: right for a listener on loopback.
    Loopback,
    /// These as well: what people type to get here, without port.
    Also(Vec<String>),
}

/// What handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) web: Web,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) openapi: String,
    /// Tries of new versions that were asked about.
    pub(crate) tries: Tries,
    pub(crate) asker: elsewhere::Asker,
}

impl Shared {
    pub(crate) fn now(&self) -> Moment {
        (self.web.clock)()
    }
}

/// The API, its events, health and the pages.
pub fn router(web: Web) -> Router {
    let (api, openapi) = api::router();
    let openapi = openapi.to_pretty_json().expect("the description has string keys only");
    let streams = Arc::new(Semaphore::new(STREAMS_MAX));
    let (tries, asker) = (Tries::default(), elsewhere::asker());
    let shared = Arc::new(Shared { web, streams, openapi, tries, asker });
    Router::new()
        .merge(api)
        .merge(pages::router())
        .fallback(problem::unknown_path)
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), elsewhere::hand_on))
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), shield::shield))
        .with_state(shared)
}

/// The metrics, for a listener of their own.
pub fn metrics_router(board: Arc<Board>) -> Router {
    Router::new().route("/metrics", get(metrics)).with_state(board)
}

/// What Prometheus expects of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

async fn metrics(State(board): State<Arc<Board>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, OPEN_METRICS)], board.metrics().text())
}
