#![allow(clippy::unwrap_used, reason = "test helpers")]

use super::*;
use crate::required::or_skip;
use http::StatusCode;
use serde_json::json;
use tempfile::TempDir;

const WITHIN: Duration = Duration::from_secs(60);

async fn start(directory: &TempDir, bootstrap: Value) -> Option<Result<Envoy, EnvoyError>> {
    let path = or_skip("envoy", find())?;
    let options = Options { directory: directory.path(), concurrency: 1 };
    Some(Envoy::start(&path, bootstrap, options).await)
}

/// A listener on a port of the kernel's choice which answers by itself.
fn bootstrap() -> Value {
    let address = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    let route = json!({"match": {"prefix": "/"}, "direct_response": {"status": 204}});
    let manager = json!({
        "@type": "type.googleapis.com/envoy.extensions.filters.network\
                  .http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "here",
        "route_config": {"virtual_hosts": [{"name": "v", "domains": ["*"], "routes": [route]}]},
        "http_filters": [{"name": "router", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}],
    });
    let filter = json!({"name": "http", "typed_config": manager});
    let chain = json!({"filters": [filter]});
    json!({"static_resources": {"listeners": [
        {"name": "here", "address": address, "filter_chains": [chain]}]}})
}

#[tokio::test]
async fn envoy_serves_and_tells_what_it_knows() {
    let directory = TempDir::new().unwrap();
    let Some(envoy) = start(&directory, bootstrap()).await else { return };
    let mut envoy = envoy.unwrap();
    envoy.serving(WITHIN).await.unwrap();
    let here = envoy.admin.listeners().await.unwrap()["here"];
    // Any HTTP server can be asked as an admin interface is.
    let (status, _) = Admin::new(here).get("/any").await.unwrap();
    assert_eq!(status, StatusCode::NO_CONTENT);
    let admin = envoy.admin;
    let counted = async || admin.stat("http.here.downstream_rq_2xx").await.is_ok_and(|n| n == 1);
    assert!(eventually(WITHIN, counted).await);
    assert!(admin.config_dump().await.unwrap()["configs"].is_array());
    assert!(admin.clusters().await.unwrap().is_object());
    assert_eq!(envoy.child.stop().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn what_envoy_refuses_is_told_in_its_words() {
    let directory = TempDir::new().unwrap();
    let wrong = json!({"no_such_field": 1});
    let Some(envoy) = start(&directory, wrong).await else { return };
    let message = envoy.unwrap_err().to_string();
    assert!(message.contains("no_such_field"), "{message}");
}
