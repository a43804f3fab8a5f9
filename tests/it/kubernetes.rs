//! A real Kubernetes API server: what Weir reads there, what it writes, and by which rights.
//!
//! The server is whoever `WEIR_TEST_KUBECONFIG` leads to, as an administrator; without it these tests
//! say that they are skipped. Weir itself asks as a service account that has the rights of its own
//! table and no others.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::{Value, json};
use weir::kubernetes::rights::{RIGHTS, Scope};
use weir_policies::crd::definition;
use weir_testbed::required::or_skip;
use weir_tests::until;
use weir_tests::weir::Weir;

/// A namespace of a test's own in a real cluster.
struct Cluster {
    client: Client,
    kubeconfig: Value,
    namespace: String,
}

impl Cluster {
    /// The cluster, with Weir's definition, its rights, and a Service of three endpoints.
    async fn open(test: &str) -> Option<Self> {
        let path =
            std::env::var_os("WEIR_TEST_KUBECONFIG").ok_or("WEIR_TEST_KUBECONFIG is not set");
        let path = or_skip("kubernetes", path)?;
        let text = std::fs::read_to_string(path).unwrap();
        let read = Kubeconfig::from_yaml(&text).unwrap();
        let options = KubeConfigOptions::default();
        let config = Config::from_custom_kubeconfig(read, &options).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let kubeconfig = serde_saphyr::from_str(&text).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let cluster = Self { client, kubeconfig, namespace: format!("{test}-{now}") };
        cluster.prepare().await;
        Some(cluster)
    }

    async fn prepare(&self) {
        let namespace = json!({ "apiVersion": "v1", "kind": "Namespace" });
        self.apply("/api/v1/namespaces", &self.namespace, namespace).await;
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
        let name = definition()["metadata"]["name"].as_str().unwrap().to_owned();
        self.apply(definitions, &name, definition()).await;
        let account = json!({ "apiVersion": "v1", "kind": "ServiceAccount" });
        self.apply(&self.core("serviceaccounts"), "weir", account).await;
        self.grant().await;
        let service = json!({
            "apiVersion": "v1", "kind": "Service",
            "spec": { "ports": [{ "name": "http", "port": 80, "targetPort": 8080 }] },
        });
        self.apply(&self.core("services"), "web", service).await;
        self.list(&["10.244.0.1", "10.244.0.2", "10.244.0.3"]).await;
    }

    fn core(&self, resource: &str) -> String {
        format!("/api/v1/namespaces/{}/{resource}", self.namespace)
    }

    fn policies(&self) -> String {
        format!("/apis/weir.dev/v1alpha1/namespaces/{}/adaptivetrafficpolicies", self.namespace)
    }

    /// Exactly the table's rights: in the namespace where that is enough.
    async fn grant(&self) {
        let rules = |wide: bool| -> Vec<Value> {
            let rights = RIGHTS.iter().filter(|right| (right.scope == Scope::Cluster) == wide);
            let rule = |right: &weir::kubernetes::rights::Right| {
                json!({
                    "apiGroups": [right.group], "resources": [right.resource], "verbs": right.verbs,
                })
            };
            rights.map(rule).collect()
        };
        let group = "rbac.authorization.k8s.io";
        let subject =
            json!([{ "kind": "ServiceAccount", "name": "weir", "namespace": self.namespace }]);
        let own = format!("/apis/{group}/v1/namespaces/{}", self.namespace);
        for (role, root, wide) in
            [("Role", own, false), ("ClusterRole", format!("/apis/{group}/v1"), true)]
        {
            let name = if wide { self.namespace.as_str() } else { "weir" };
            let version = format!("{group}/v1");
            let rules = json!({ "apiVersion": version, "kind": role, "rules": rules(wide) });
            self.apply(&format!("{root}/{}s", role.to_lowercase()), name, rules).await;
            let binding = json!({
                "apiVersion": version, "kind": format!("{role}Binding"), "subjects": subject,
                "roleRef": { "apiGroup": group, "kind": role, "name": name },
            });
            self.apply(&format!("{root}/{}bindings", role.to_lowercase()), name, binding).await;
        }
    }

    /// The endpoints of `web`.
    async fn list(&self, addresses: &[&str]) {
        let endpoints: Vec<Value> =
            addresses.iter().map(|address| json!({ "addresses": [address] })).collect();
        let slice = json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": { "labels": { "kubernetes.io/service-name": "web" } },
            "addressType": "IPv4",
            "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
            "endpoints": endpoints,
        });
        let root = format!("/apis/discovery.k8s.io/v1/namespaces/{}", self.namespace);
        self.apply(&format!("{root}/endpointslices"), "web-1", slice).await;
    }

    /// A policy for `web`.
    async fn policy(&self, name: &str, good: &str) {
        let policy = json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "AdaptiveTrafficPolicy",
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
        self.apply(&self.policies(), name, policy).await;
    }

    /// By server-side apply, asked again while the server does not know the resource yet.
    async fn apply(&self, root: &str, name: &str, mut object: Value) {
        object["metadata"]["name"] = json!(name);
        let uri = format!("{root}/{name}?fieldManager=test&force=true");
        until(&format!("{uri} is applied"), async || {
            let request = http::Request::patch(&uri)
                .header("content-type", "application/apply-patch+yaml")
                .body(object.to_string().into_bytes())
                .unwrap();
            match self.client.request::<Value>(request).await {
                Ok(_) => true,
                Err(kube::Error::Api(status)) if status.code == 404 => false,
                Err(error) => panic!("{uri}: {error}"),
            }
        })
        .await;
    }

    async fn get(&self, path: &str) -> Value {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.client.request::<Value>(request).await.unwrap_or_default()
    }

    /// A policy's conditions as `type=status/reason`.
    async fn conditions(&self, policy: &str) -> Vec<String> {
        let policy = self.get(&format!("{}/{policy}", self.policies())).await;
        let all = policy["status"]["ancestors"][0]["conditions"].as_array().cloned();
        let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
        all.unwrap_or_default()
            .iter()
            .map(|one| {
                let (kind, status) = (text(one, "type"), text(one, "status"));
                format!("{kind}={status}/{}", text(one, "reason"))
            })
            .collect()
    }

    async fn becomes(&self, policy: &str, expected: [&str; 2]) {
        until(&format!("{policy} becomes {expected:?}"), async || {
            self.conditions(policy).await == expected
        })
        .await;
    }

    /// The reasons of the events so far.
    async fn events(&self) -> Vec<String> {
        let root = format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace);
        let events = self.get(&root).await["items"].as_array().cloned().unwrap_or_default();
        events.iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
    }

    /// A folder in which Weir runs as its service account.
    async fn folder(&self) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let accounts: Api<ServiceAccount> = Api::namespaced(self.client.clone(), &self.namespace);
        let spec = Some(TokenRequestSpec::default());
        let asked = TokenRequest { spec, ..TokenRequest::default() };
        let parameters = PostParams::default();
        let token = accounts.create_token_request("weir", &parameters, &asked).await.unwrap();
        let mut kubeconfig = self.kubeconfig.clone();
        kubeconfig["users"][0]["user"] = json!({ "token": token.status.unwrap().token });
        kubeconfig["contexts"][0]["context"]["namespace"] = json!(self.namespace);
        std::fs::write(folder.path().join("kube.yaml"), kubeconfig.to_string()).unwrap();
        let config = format!(
            "data_dir: data\nkubernetes: {{kubeconfig: kube.yaml, namespaces: [{}], lease: weir}}\n",
            self.namespace
        );
        std::fs::write(folder.path().join("weir.yaml"), config).unwrap();
        folder
    }
}

async fn weir(folder: &Path) -> Weir {
    Weir::start_by(folder, |program| program).await
}

/// How many endpoints of `web` Weir knows.
async fn endpoints(weir: &Weir, cluster: &Cluster) -> usize {
    let service = weir.ask(&format!("/api/v1/services/{}/web", cluster.namespace)).await;
    service["endpoints"].as_array().map_or(0, Vec::len)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_in_the_cluster_is_acted_on_and_told() {
    let Some(cluster) = Cluster::open("story").await else { return };
    let folder = cluster.folder().await;
    let weir = weir(folder.path()).await;
    cluster.policy("web", "ok").await;
    until("its endpoints are known", async || endpoints(&weir, &cluster).await == 3).await;
    cluster.becomes("web", ["Accepted=True/Accepted", "Programmed=True/Programmed"]).await;

    cluster.list(&["10.244.0.1", "10.244.0.2", "10.244.0.3", "10.244.0.4"]).await;
    until("a new one is known", async || endpoints(&weir, &cluster).await == 4).await;
    cluster.list(&[]).await;
    until("a loss of all is withheld", async || weir.said("source dropped most endpoints")).await;
    assert_eq!(endpoints(&weir, &cluster).await, 4);

    // What the definition cannot know, Weir says.
    cluster.policy("web", "sum(").await;
    cluster.becomes("web", ["Accepted=False/Invalid", "Programmed=True/Programmed"]).await;
    cluster.policy("web", "ok").await;
    cluster.becomes("web", ["Accepted=True/Accepted", "Programmed=True/Programmed"]).await;
    cluster.policy("younger", "ok").await;
    cluster.becomes("younger", ["Accepted=False/Conflicted", "Programmed=False/Conflicted"]).await;
    until("both are told of", async || {
        let events = cluster.events().await;
        ["PolicyInvalid", "PolicyConflicted"].iter().all(|one| events.iter().any(|it| it == one))
    })
    .await;

    let sources = weir.ask("/api/v1/sources").await;
    let wrong = sources.as_array().unwrap().iter().filter(|source| !source["error"].is_null());
    let wrong: Vec<&Value> = wrong.collect();
    assert!(wrong.is_empty(), "the table's rights are enough: {wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_replicas_decides_and_hands_over() {
    let Some(cluster) = Cluster::open("lease").await else { return };
    let (one, other) = (cluster.folder().await, cluster.folder().await);
    let mut first = weir(one.path()).await;
    until("the first decides", async || first.said("this replica decides")).await;
    let second = weir(other.path()).await;
    until("the second has read the lease", async || {
        let sources = second.ask("/api/v1/sources").await;
        let mut all = sources.as_array().into_iter().flatten();
        all.any(|one| {
            let target = one["target"].as_str().unwrap_or_default();
            target.starts_with("lease") && !one["lastSuccess"].is_null()
        })
    })
    .await;
    cluster.policy("web", "ok").await;
    until("the first governs", async || endpoints(&first, &cluster).await == 3).await;
    assert!(!second.said("this replica decides"), "there is one already");
    assert_eq!(endpoints(&second, &cluster).await, 0, "it has decided nothing");
    first.child.stop().await.unwrap();
    until("the other decides", async || second.said("\"epoch\":2")).await;
    until("and governs", async || endpoints(&second, &cluster).await == 3).await;
}
