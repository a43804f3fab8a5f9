//! What Weir writes into Istio's rules, in a real API server, with an istiod that makes clusters of it and a
//! stock Envoy that has them; and policies that go only once it is put back.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use weir::kubernetes::writing::Writes;
use weir_engine::goal::EjectionLimits;
use weir_engine::names::ServiceId;
use weir_proxy_adapter::writers::balancing::Balanced;
use weir_tests::cluster::identity::Identity;
use weir_tests::cluster::istiod::{self, Istiod};
use weir_tests::cluster::kubelet::{REGION, ZONES};
use weir_tests::cluster::{Cluster, free, soon};
use weir_tests::weir::Weir;
use weir_tests::world::write;

use crate::governed::definition;
use crate::istio::{self, Way};
use crate::stage::Test;
use crate::writer::{Writer, balanced};

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("ruled::rules_come_and_go", &["istiod", "envoy"], rules_come_and_go),
        Test::new("ruled::a_policy_waits_for_its_release", &["istiod"], waits_for_its_release),
        Test::new("ruled::a_policy_goes_after_the_deadline", &["istiod"], goes_after_the_deadline),
    ]
}

fn rule(namespace: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {{name: of-people, namespace: {namespace}, annotations: {{of: people}}}}
spec:
  host: shop
  trafficPolicy:
    connectionPool: {{http: {{http1MaxPendingRequests: 77}}}}
"
    )
}

pub(crate) fn wanted(namespace: &str, distribute: &[Value]) -> Balanced {
    Balanced {
        service: ServiceId::new(namespace, "shop"),
        policy: format!("{namespace}/shop").as_str().into(),
        distribute: distribute.to_vec(),
        ejection: EjectionLimits::default(),
        slow_start: Duration::from_secs(30),
    }
}

const RULE: [&str; 2] = ["destinationrules.networking.istio.io", "of-people"];

async fn rules_come_and_go(cluster: Arc<Cluster>) {
    let namespace = "ruled";
    let istiod = Istiod::start(&cluster, "istiod-ruled").await;
    istio::one_version(&cluster, namespace).await;
    let client = istio::client_of_one(&cluster, ("client", namespace), Way::to(istiod.ads)).await;
    let name = format!("outbound|80||{}", istiod::host(namespace, "shop"));
    let made = async || {
        let dump = client.envoy.admin.config_dump().await.unwrap();
        let named = |key: &str| {
            istio::search(&dump, key, &|one| {
                one["name"] == name.as_str() || one["cluster_name"] == name.as_str()
            })
            .cloned()
            .unwrap_or_default()
        };
        (named("cluster"), named("endpoint_config"))
    };
    let zone = |at: usize| format!("{REGION}/{}/*", ZONES[at]);
    let ways = json!({"from": zone(0), "to": {zone(0): 80, zone(1): 20}});
    let writes = Writes { destination_rules: true, ..Writes::default() };
    let shown = balanced(vec![wanted(namespace, &[])]);
    let mut writer = Writer::start(&cluster, namespace, writes, shown);
    writer.says("no DestinationRule is there").await;
    cluster.apply(&rule(namespace)).await;
    let before = cluster.authored(namespace, RULE).await;

    soon("the proxy detects outliers as the policy has it", async || {
        let (cluster, _) = made().await;
        let outliers = &cluster["outlier_detection"];
        outliers["max_ejection_percent"] == 20 && outliers["base_ejection_time"] == "10s"
    })
    .await;
    let (shop, endpoints) = made().await;
    assert!(shop.to_string().contains("slow_start"), "{shop}");
    assert_eq!(shop["common_lb_config"]["healthy_panic_threshold"], json!({}), "no panic");
    let priorities = |endpoints: &Value| {
        let all = endpoints["endpoints"].as_array().cloned().unwrap_or_default();
        all.iter().filter(|one| one["priority"].as_u64().unwrap_or(0) > 0).count()
    };
    assert_eq!(priorities(&endpoints), 0, "no zone goes before another: {endpoints}");

    writer.show(balanced(vec![wanted(namespace, &[ways])]));
    soon("the zones have their weights at the proxy", async || {
        let (_, endpoints) = made().await;
        let all = endpoints["endpoints"].as_array().cloned().unwrap_or_default();
        let weight = |zone: &str| {
            let of = all.iter().filter(|one| one["locality"]["zone"] == zone);
            of.filter_map(|one| one["load_balancing_weight"].as_u64()).sum::<u64>()
        };
        let [near, far, third] = ZONES.map(weight);
        near > 0 && far > 0 && near == 4 * far && third == 0
    })
    .await;

    writer.show(balanced(Vec::new()));
    soon("all is as it was found", async || cluster.authored(namespace, RULE).await == before)
        .await;
    soon("also at the proxy", async || made().await.0.get("outlier_detection").is_none()).await;
    writer.show(balanced(vec![wanted(namespace, &[])]));
    soon("it is written again", async || cluster.authored(namespace, RULE).await != before).await;
    writer.stop().await;
    assert_eq!(writer.release().await, 1);
    assert_eq!(cluster.authored(namespace, RULE).await, before, "also when released by hand");
}

fn policy(namespace: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: {{name: shop, namespace: {namespace}}}
spec:
  targetRefs: [{{group: '', kind: Service, name: shop}}]
  mode: Enforce
"
    )
}

async fn enforcing(cluster: &Cluster, namespace: &str, room: &Path) -> Weir {
    let crds = cluster.peers.folder("istiod").join("crds");
    cluster.define(&crds).await;
    cluster.define(&definition()).await;
    istio::one_version(cluster, namespace).await;
    cluster.apply(&rule(namespace)).await;
    cluster.apply(&policy(namespace)).await;
    let kubeconfig = cluster.kubeconfig(Identity::Admin);
    let config = format!(
        "data_dir: data
kubernetes: {{kubeconfig: {}, namespaces: [{namespace}], writes: [destination_rules]}}
",
        kubeconfig.display()
    );
    write(room, "weir.yaml", &config);
    let weir = Weir::start(room, free()).await;
    soon("the policy has a finalizer, and the rule fields", async || {
        let policy = cluster.authored(namespace, ["atp", "shop"]).await;
        let rule = cluster.authored(namespace, RULE).await;
        policy["metadata"]["finalizers"] == json!(["weir.dev/release"])
            && rule["spec"]["trafficPolicy"]["outlierDetection"]["maxEjectionPercent"] == 20
    })
    .await;
    weir
}

async fn delete(cluster: &Cluster, namespace: &str) -> Duration {
    let began = Instant::now();
    let words = ["delete", "atp", "shop", "--namespace", namespace, "--timeout=90s"];
    cluster.kubectl(&words, "").await.unwrap();
    began.elapsed()
}

async fn waits_for_its_release(cluster: Arc<Cluster>) {
    // A Weir that looked at all namespaces would look at the finalizer too.
    let _apart = cluster.apart().await;
    let namespace = "released";
    let room = cluster.room("weir-released");
    let weir = enforcing(&cluster, namespace, &room).await;
    let took = delete(&cluster, namespace).await;
    let policy = &cluster.authored(namespace, RULE).await["spec"]["trafficPolicy"];
    assert_eq!(policy.as_object().unwrap().len(), 1, "put back before it went: {policy}");
    assert!(took < Duration::from_secs(25), "{took:?}");
    assert!(!weir.said("ReleaseTimedOut"));
}

/// Refuses every change of rules in a namespace.
const REFUSING: &str = "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: stuck}
spec:
  matchConstraints:
    resourceRules:
      - {apiGroups: [networking.istio.io], apiVersions: ['*'], operations: [UPDATE], resources: [destinationrules]}
  validations: [{expression: 'false', message: rules are frozen}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: stuck}
spec:
  policyName: stuck
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: stuck}}}
";

async fn goes_after_the_deadline(cluster: Arc<Cluster>) {
    // A Weir that looked at all namespaces would look at the finalizer too.
    let _apart = cluster.apart().await;
    let namespace = "stuck";
    let room = cluster.room("weir-stuck");
    let weir = enforcing(&cluster, namespace, &room).await;
    cluster.apply(REFUSING).await;
    let mut tries = 0;
    soon("rules are frozen", async || {
        tries += 1;
        // One that is there already would change nothing, and be asked of nobody.
        let label = format!("try=n{tries}");
        let words = ["label", RULE[0], RULE[1], "--namespace", namespace, "--overwrite", &label];
        cluster.kubectl(&words, "").await.is_err()
    })
    .await;
    let took = delete(&cluster, namespace).await;
    assert!(took >= Duration::from_secs(28) && took < Duration::from_secs(50), "{took:?}");
    let sources = weir.ask("/api/v1/sources").await.to_string();
    assert!(sources.contains("rules are frozen"), "{sources}");
    soon("an event says so", async || {
        let events = ["get", "events.events.k8s.io", "--namespace", namespace, "--output", "json"];
        cluster.kubectl(&events, "").await.unwrap().contains("ReleaseTimedOut")
    })
    .await;
    let thaw = "validatingadmissionpolicybinding/stuck";
    cluster.kubectl(&["delete", thaw, "validatingadmissionpolicy/stuck"], "").await.unwrap();
    soon("once it may, all is put back", async || {
        let rule = cluster.authored(namespace, RULE).await;
        rule["spec"]["trafficPolicy"].get("outlierDetection").is_none()
    })
    .await;
}
