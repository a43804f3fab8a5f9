//! Policies in a real API server: read, acted on and told of, by the rights of Weir's table.

use std::sync::Arc;

use serde_json::{Value, json};
use weir_tests::cluster::{Cluster, soon};
use weir_tests::weir::Weir;

use crate::site::Site;
use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    vec![Test::new("policies::acted_on_and_told", &[], acted_on_and_told)]
}

impl Site {
    fn policies(&self) -> String {
        format!("/apis/weir.dev/v1alpha1/namespaces/{}/adaptivetrafficpolicies", self.namespace)
    }

    /// The endpoints of `web`, of which nobody has pods.
    async fn list(&self, addresses: &[&str]) {
        let endpoints: Vec<Value> =
            addresses.iter().map(|address| json!({ "addresses": [address] })).collect();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": "web-1", "namespace": self.namespace,
                "labels": { "kubernetes.io/service-name": "web" },
            },
            "addressType": "IPv4",
            "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
            "endpoints": endpoints,
        });
        self.cluster.apply(&slice.to_string()).await;
    }

    /// A policy for `web`.
    async fn policy(&self, name: &str, good: &str) {
        let policy = json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "AdaptiveTrafficPolicy",
            "metadata": { "name": name, "namespace": self.namespace },
            "spec": {
                "mode": "Enforce",
                "targetRefs": [{ "group": "", "kind": "Service", "name": "web" }],
                "objectives": [{
                    "name": "orders", "targetPercent": 99,
                    "indicator": {
                        "type": "Prometheus", "prometheus": { "good": good, "total": "all" },
                    },
                }],
            },
        });
        self.cluster.apply(&policy.to_string()).await;
    }

    /// Waits until a policy's conditions are these, as `type=status/reason`.
    async fn becomes(&self, policy: &str, expected: [&str; 2]) {
        let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
        soon(&format!("{policy} becomes {expected:?}"), async || {
            let policy = self.get(&format!("{}/{policy}", self.policies())).await;
            let all = policy["status"]["ancestors"][0]["conditions"].as_array().cloned();
            let shown = |one: &Value| {
                format!("{}={}/{}", text(one, "type"), text(one, "status"), text(one, "reason"))
            };
            all.unwrap_or_default().iter().map(shown).collect::<Vec<_>>() == expected
        })
        .await;
    }

    /// The reasons of the events so far.
    async fn events(&self) -> Vec<String> {
        let root = format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace);
        let events = self.get(&root).await["items"].as_array().cloned().unwrap_or_default();
        events.iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }
}

/// How many endpoints of `web` Weir knows.
async fn endpoints(weir: &Weir, site: &Site) -> usize {
    let service = weir.ask(&format!("/api/v1/services/{}/web", site.namespace)).await;
    service["endpoints"].as_array().map_or(0, Vec::len)
}

async fn acted_on_and_told(cluster: Arc<Cluster>) {
    let site = Site::open(cluster, "told").await;
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": { "name": "web", "namespace": site.namespace },
        "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
    });
    site.cluster.apply(&service.to_string()).await;
    site.list(&["10.250.0.1", "10.250.0.2", "10.250.0.3"]).await;
    let room = site.room("weir", None, "").await;
    let weir = Weir::start_by(&room, |program| program).await;
    site.policy("web", "ok").await;
    soon("its endpoints are known", async || endpoints(&weir, &site).await == 3).await;
    site.becomes("web", ["Accepted=True/Accepted", "Programmed=True/Programmed"]).await;

    site.list(&["10.250.0.1", "10.250.0.2", "10.250.0.3", "10.250.0.4"]).await;
    soon("a new one is known", async || endpoints(&weir, &site).await == 4).await;
    site.list(&[]).await;
    soon("a loss of all is withheld", async || weir.said("source dropped most endpoints")).await;
    assert_eq!(endpoints(&weir, &site).await, 4);

    // What the definition cannot know, Weir says.
    site.policy("web", "sum(").await;
    site.becomes("web", ["Accepted=False/Invalid", "Programmed=True/Programmed"]).await;
    site.policy("web", "ok").await;
    site.becomes("web", ["Accepted=True/Accepted", "Programmed=True/Programmed"]).await;
    site.policy("younger", "ok").await;
    site.becomes("younger", ["Accepted=False/Conflicted", "Programmed=False/Conflicted"]).await;
    soon("both are told of", async || {
        let events = site.events().await;
        ["PolicyInvalid", "PolicyConflicted"].iter().all(|one| events.iter().any(|it| it == one))
    })
    .await;

    let sources = weir.ask("/api/v1/sources").await;
    let wrong = sources.as_array().unwrap().iter().filter(|source| !source["error"].is_null());
    let wrong: Vec<&Value> = wrong.collect();
    assert!(wrong.is_empty(), "the table's rights are enough: {wrong:#?}");
}
