//! The chart and the kustomizations with a real Helm, a real kubectl and a real API server: what is
//! rendered is taken, what is installed may do what it needs and nothing else, and what is removed
//! is gone.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec,
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;
use weir::config::{Given, from_bytes};
use weir::kubernetes::rights::{RIGHTS, Right, Scope, WRITING};
use weir_policies::problem::{Colour, render};
use weir_tests::cluster::identity::Identity;
use weir_tests::cluster::{Cluster, soon, workload};
use weir_tests::root;
use weir_tests::weir::Weir;

use crate::governed::definition;
use crate::stage::Test;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::new("deploy::every_values_file_is_taken", WATCHED, every_values_file_is_taken),
        Test::new("deploy::watched_is_checked", WATCHED, watched_is_checked),
        Test::new("deploy::kustomizations_are_the_chart", &["helm"], kustomizations_are_the_chart),
        Test::new("deploy::mistakes_are_refused", &["helm"], mistakes_are_refused),
        Test::new("deploy::it_comes_and_goes", WATCHED, it_comes_and_goes),
    ]
}

/// Where Helm makes kinds of the Prometheus operator.
const WATCHED: &[&str] = &["helm", "prometheus-operator"];

/// The service account's name and namespace are those that the API server's tokens know.
const HOME: &str = "weir";

/// How long Helm may take.
const WITHIN: Duration = Duration::from_secs(90);

/// What the chart is rendered for, where no API server is asked.
const KUBERNETES: &str = "1.36.3";

fn chart() -> String {
    root().join("deploy/chart/weir").display().to_string()
}

fn values(name: &str) -> String {
    format!("{}/ci/{name}-values.yaml", chart())
}

/// Runs Helm as an administrator: what it prints, or what it says where it fails.
async fn helm(cluster: &Cluster, arguments: &[&str]) -> Result<String, String> {
    let home = cluster.room("helm");
    let mut command = Command::new(cluster.peers.program("helm"));
    command.args(arguments).env("KUBECONFIG", cluster.kubeconfig(Identity::Admin));
    for folder in ["HELM_CACHE_HOME", "HELM_CONFIG_HOME", "HELM_DATA_HOME"] {
        command.env(folder, &home);
    }
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = timeout(WITHIN, command.output()).await;
    let ended = ended.map_err(|_| format!("helm {arguments:?} took over {WITHIN:?}"))?.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if ended.status.success() { Ok(text(&ended.stdout)) } else { Err(text(&ended.stderr)) }
}

/// The chart rendered as for the release `weir` in its namespace.
async fn rendered(cluster: &Cluster, more: &[&str]) -> Result<String, String> {
    let chart = chart();
    let common = ["template", "weir", &chart, "-n", HOME, "--kube-version", KUBERNETES];
    helm(cluster, &[&common, more].concat()).await
}

/// The namespaces that the values files speak of. Weir's own takes no pod that the strictest of
/// Kubernetes' standards refuses.
async fn namespaces(cluster: &Cluster) {
    cluster.define(&definition()).await;
    for name in ["shop", "till"] {
        cluster.namespace(name).await;
    }
    let own = std::fs::read_to_string(root().join("deploy/kustomize/namespace/namespace.yaml"));
    cluster.apply(&own.unwrap()).await;
}

/// The Prometheus operator's kinds, as far as the chart makes any.
async fn operators(cluster: &Cluster) {
    cluster.define(&cluster.peers.folder("prometheus-operator").join("crds")).await;
}

fn documents(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).unwrap();
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// What `weir.yaml` says to Weir; the files that it names are made up.
fn taken_by_weir(documents: &[Value], room: &Path) -> Result<(), String> {
    let maps = documents.iter().filter(|document| document["kind"] == "ConfigMap");
    let text = maps.into_iter().find_map(|map| map["data"]["weir.yaml"].as_str()).unwrap();
    let text = text.replace("/etc/weir", &room.display().to_string());
    for line in text.lines().filter(|line| line.contains("_file: ")) {
        let path = Path::new(line.split_once(": ").unwrap().1);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "made up").unwrap();
    }
    let read = from_bytes(Path::new("weir.yaml"), text.as_bytes(), Given::default());
    read.map(drop).map_err(|problems| render(&problems, Colour::Never))
}

/// What the API server says of documents when nothing is to be written.
async fn said(cluster: &Cluster, documents: &str) -> Result<String, String> {
    cluster.kubectl(&["apply", "--dry-run=server", "--filename", "-"], documents).await
}

async fn every_values_file_is_taken(cluster: Arc<Cluster>) {
    namespaces(&cluster).await;
    operators(&cluster).await;
    let room = cluster.room("deploy-values");
    let (mut seen, mut kinds) = (0, BTreeSet::new());
    for entry in Path::new(&chart()).join("ci").read_dir().unwrap() {
        let path = entry.unwrap().path();
        let shown = path.display();
        let text = rendered(&cluster, &["-f", path.to_str().unwrap()]).await;
        let documents = documents(&text.unwrap_or_else(|said| panic!("{shown}: {said}")));
        taken_by_weir(&documents, &room).unwrap_or_else(|said| panic!("{shown}: {said}"));
        let list = json!({"apiVersion": "v1", "kind": "List", "items": documents}).to_string();
        let taken = said(&cluster, &list).await;
        let taken = taken.unwrap_or_else(|said| panic!("{shown}: {said}"));
        assert_eq!(taken.lines().count(), documents.len(), "{shown}: {taken}");
        kinds
            .extend(documents.iter().map(|document| document["kind"].as_str().unwrap().to_owned()));
        seen += 1;
    }
    assert!(seen >= 7, "values files are there and are found");
    assert!(MISTAKES.iter().all(|(kind, ..)| kinds.contains(*kind)), "{kinds:?}");
}

/// A mistake in what is rendered for the Prometheus operator: the kind, the text, what stands there
/// instead, and words of the refusal.
const MISTAKES: [(&str, &str, &str, &str); 4] = [
    ("ServiceMonitor", "interval:", "every:", ".spec.endpoints[0].every: field not declared"),
    ("ServiceMonitor", "interval: 15s", "interval: 15", "spec.endpoints[0].interval"),
    ("PrometheusRule", "expr: weir_ready", "query: weir_ready", ".query: field not declared"),
    ("PrometheusRule", "for: 2m", "for: two minutes", "spec.groups[0].rules[0].for"),
];

/// The operator's own definitions refuse mistakes; the rules are those of the file, whose templates
/// are for Prometheus and not for Helm; and there is a Service to be scraped.
async fn watched_is_checked(cluster: Arc<Cluster>) {
    namespaces(&cluster).await;
    operators(&cluster).await;
    let text = rendered(&cluster, &["-f", &values("replicas")]).await.unwrap();
    for (kind, part, by, words) in MISTAKES {
        let mut parts = text.split("\n---\n");
        let good = parts.find(|one| one.contains(&format!("\nkind: {kind}\n"))).unwrap();
        assert!(good.contains(part), "{part:?} is not in {good}");
        let refusal = said(&cluster, &good.replacen(part, by, 1)).await.expect_err(by);
        assert!(refusal.contains(words), "{by}: {refusal}");
    }
    let documents = documents(&text);
    let of = |kind: &'static str| documents.iter().filter(move |one| one["kind"] == kind);
    let rules = std::fs::read_to_string(root().join("deploy/prometheus/weir.rules.yaml")).unwrap();
    let rules: Value = serde_saphyr::from_str(&rules).unwrap();
    assert_eq!(of("PrometheusRule").next().unwrap()["spec"], rules);
    let monitor = &of("ServiceMonitor").next().unwrap()["spec"];
    let wanted = monitor["selector"]["matchLabels"].as_object().unwrap();
    let selected = of("Service").filter(|service| {
        wanted.iter().all(|(label, value)| service["metadata"]["labels"][label] == *value)
    });
    let ports: Vec<&Value> = selected.map(|service| &service["spec"]["ports"]).collect();
    let [ports] = ports[..] else { panic!("one Service is scraped, not {ports:?}") };
    let named = |port: &Value| port["name"] == monitor["endpoints"][0]["port"];
    assert!(ports.as_array().unwrap().iter().any(named), "{ports}");
}

/// The rendered files that people apply without Helm are the chart's, and kustomize takes them.
/// `WEIR_WRITE=kustomize` renders them anew.
async fn kustomizations_are_the_chart(cluster: Arc<Cluster>) {
    namespaces(&cluster).await;
    let anew = std::env::var_os("WEIR_WRITE").is_some_and(|what| what == "kustomize");
    let image = ["--set".to_owned(), "image.repository=registry.example/weir".to_owned()];
    let of = |name: &str| ["-f".to_owned(), values(name)];
    for (folder, more) in
        [("base", image), ("istio-relay", of("istio-relay")), ("edge", of("edge"))]
    {
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let text = rendered(&cluster, &[&["--skip-tests"], &more[..]].concat()).await.unwrap();
        let wanted =
            format!("# Rendered from deploy/chart/weir: see deploy/kustomize/README.md.\n{text}");
        let folder = root().join("deploy/kustomize").join(folder);
        let file = folder.join("weir.yaml");
        if anew {
            std::fs::write(&file, &wanted).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap();
        let how = "WEIR_WRITE=kustomize make test-mesh ARGS=deploy";
        assert!(kept == wanted, "{} is not what the chart says: {how}", file.display());
        let folder = folder.to_str().unwrap();
        let whole = cluster.kubectl(&["kustomize", folder], "").await.unwrap();
        assert!(!whole.contains("managed-by: Helm"), "{folder}");
        said(&cluster, &whole).await.unwrap_or_else(|said| panic!("{folder}: {said}"));
    }
}

/// What a schema cannot refuse is refused by the chart, in words that say how to mend it.
async fn mistakes_are_refused(cluster: Arc<Cluster>) {
    let image = "image.repository=registry.example/weir";
    for (set, words) in [
        ("replicas=1", "image.repository is not set"),
        ("image.repository=x,config.tick=1", "at '/config/tick'"),
        ("image.repository=x,colour=blue", "additional properties 'colour' not allowed"),
        ("image.repository=x,replicas=2,config.kubernetes=null", "without config.kubernetes"),
        ("image.repository=x,replicas=2,data.persistent=true", "one replica of a Deployment"),
        ("image.repository=x,kind=DaemonSet,data.persistent=true", "one replica of a Deployment"),
    ] {
        let said = rendered(&cluster, &["--set", set]).await.unwrap_err();
        assert!(said.contains(words), "{set}: {said}");
    }
    rendered(&cluster, &["--set", image]).await.expect("an image is all that has to be named");
}

/// Everything that an account can be allowed to do with a kind.
const VERBS: [&str; 8] =
    ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Kinds that Weir has no business with.
const OTHERS: [(&str, &str); 7] = [
    ("", "secrets"),
    ("", "configmaps"),
    ("", "pods/exec"),
    ("", "events"),
    ("apps", "deployments"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("networking.istio.io", "envoyfilters"),
];

/// Whether the installed Weir may do something.
async fn may(cluster: &Cluster, namespace: &str, kind: (&str, &str), verb: &str) -> bool {
    let (resource, part) = match kind.1.split_once('/') {
        Some((resource, part)) => (resource, Some(part.to_owned())),
        None => (kind.1, None),
    };
    let what = ResourceAttributes {
        group: Some(kind.0.to_owned()),
        resource: Some(resource.to_owned()),
        subresource: part,
        // Its lease is read and renewed by name, and made by none.
        name: (resource == "leases" && verb != "create").then(|| "weir".to_owned()),
        namespace: (resource != "nodes").then(|| namespace.to_owned()),
        verb: Some(verb.to_owned()),
        ..ResourceAttributes::default()
    };
    let spec = SubjectAccessReviewSpec {
        resource_attributes: Some(what),
        user: Some(format!("system:serviceaccount:{HOME}:weir")),
        groups: Some(vec!["system:serviceaccounts".to_owned(), "system:authenticated".to_owned()]),
        ..SubjectAccessReviewSpec::default()
    };
    let reviews: Api<SubjectAccessReview> = Api::all(cluster.admin.clone());
    let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
    let answer = reviews.create(&PostParams::default(), &review).await.unwrap();
    answer.status.unwrap().allowed
}

/// Whether a right is needed with these words of `kubernetes.writes`, or with a `relay`, as its row says.
fn asked(right: &Right, writes: &[&str]) -> bool {
    let Some((_, only)) = right.why.split_once("only with writes:") else { return true };
    match only.trim().trim_start_matches('[').trim_end_matches(']') {
        "" => writes.iter().any(|word| *word != "relay"),
        "other than draining, or a relay" => writes.iter().any(|word| *word != "draining"),
        word => writes.contains(&word),
    }
}

/// What differs between what Weir may do in a namespace and what its own table says that it needs
/// there, with these words of `kubernetes.writes`.
async fn surplus(
    cluster: &Cluster,
    namespace: &str,
    (scopes, writes): (&[Scope], &[&str]),
) -> Vec<String> {
    let all = || RIGHTS.iter().chain(WRITING);
    let needed = all().filter(|right| asked(right, writes) && scopes.contains(&right.scope));
    let needed: Vec<_> = needed.map(|right| ((right.group, right.resource), right.verbs)).collect();
    let kinds = all().map(|right| (right.group, right.resource)).chain(OTHERS);
    let kinds: BTreeSet<_> = kinds.collect();
    let mut differ = Vec::new();
    for kind in kinds {
        for verb in VERBS {
            let wanted = needed.iter().any(|(of, verbs)| *of == kind && verbs.contains(&verb));
            if may(cluster, namespace, kind, verb).await != wanted {
                let what = if wanted { "is missing" } else { "is too much" };
                differ.push(format!("{verb} {}/{} in {namespace} {what}", kind.0, kind.1));
            }
        }
    }
    differ
}

/// The configuration that was installed, for a Weir of this machine: it goes to the API server by the
/// token of the installed account, since there is no pod to mount one into.
pub(crate) async fn installed(cluster: &Cluster) -> Value {
    let maps: Api<ConfigMap> = Api::namespaced(cluster.admin.clone(), HOME);
    let text = maps.get("weir").await.unwrap().data.unwrap()["weir.yaml"].clone();
    let mut config: Value = serde_saphyr::from_str(&text).unwrap();
    config["data_dir"] = json!("data");
    config["kubernetes"]["kubeconfig"] = json!(cluster.kubeconfig(Identity::Weir));
    config
}

/// What Weir does with these rights: it reads endpoints and policies, and says what became of them.
async fn it_works_with_them(cluster: &Cluster) {
    cluster.apply(&workload::service("shop", "deployed")).await;
    cluster.apply(POLICY).await;
    let room = cluster.room("weir-deployed");
    let config = installed(cluster).await.to_string();
    std::fs::write(room.join("weir.yaml"), config).unwrap();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let weir = Weir::start(&room, any).await;
    let accepted = ["wait", "-n", "shop", "--timeout=60s", "atp/deployed"];
    let condition =
        "--for=jsonpath={.status.ancestors[0].conditions[?(@.type==\"Accepted\")].status}=True";
    cluster.kubectl(&[&accepted[..], &[condition]].concat(), "").await.unwrap();
    // Policies of other tests may have finalizers, which it has no right to take away: nothing is written here.
    let finalizers = "may not patch adaptivetrafficpolicies in namespace";
    let lacks = |said: &Value| {
        let error = said["error"].as_str().unwrap_or_default();
        error.contains("may not") && !error.contains(finalizers)
    };
    let sources = weir.ask("/api/v1/sources").await;
    let lacking: Vec<_> = sources.as_array().unwrap().iter().filter(|one| lacks(one)).collect();
    assert!(lacking.is_empty() && !weir.events().iter().any(lacks), "{lacking:?}");
}

const POLICY: &str = "apiVersion: weir.dev/v1alpha1
kind: AdaptiveTrafficPolicy
metadata: {name: deployed, namespace: shop}
spec:
  targetRefs: [{group: '', kind: Service, name: deployed}]
";

/// What of the release is there, wherever and of whatever kind.
async fn left(cluster: &Cluster) -> Vec<String> {
    let kinds =
        cluster.kubectl(&["api-resources", "--verbs=list", "-o", "name"], "").await.unwrap();
    // Events and readings are nobody's.
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let all = kinds.join(",");
    let asked = ["get", &all, "-A", "-l", "app.kubernetes.io/instance=weir", "-o", "name"];
    cluster.kubectl(&asked, "").await.unwrap().lines().map(str::to_owned).collect()
}

/// Installed, looked at, upgraded to a second replica with rights in two namespaces only, removed.
async fn it_comes_and_goes(cluster: Arc<Cluster>) {
    let _home = cluster.home().await;
    namespaces(&cluster).await;
    operators(&cluster).await;
    let (chart, image) = (chart(), "image.repository=registry.example/weir");
    let common = ["-n", HOME, "--wait", "--timeout", "60s"];
    let install = ["install", "weir", &chart, "--set", image];
    let notes = helm(&cluster, &[&install[..], &common].concat()).await.unwrap();
    assert!(notes.contains("kubectl -n weir port-forward service/weir-api 9980"), "{notes}");
    let watched = [Scope::Watched, Scope::Cluster];
    assert_eq!(surplus(&cluster, "shop", (&watched, &[])).await, Vec::<String>::new());
    assert_eq!(surplus(&cluster, HOME, (&watched, &[])).await, Vec::<String>::new());
    it_works_with_them(&cluster).await;
    let relay = "config.relay.upstream.address=http://istiod.istio-system:15010";
    let upgrade = ["upgrade", "weir", &chart, "--reuse-values", "--set", relay];
    helm(&cluster, &[&upgrade[..], &common].concat()).await.unwrap();
    assert_eq!(surplus(&cluster, "shop", (&watched, &["relay"])).await, Vec::<String>::new());

    let more = values("replicas");
    let all = ["routes", "draining", "destination_rules", "linkerd"];
    let set = format!("config.kubernetes.writes={{{}}}", all.join(","));
    let upgrade = ["upgrade", "weir", &chart, "-f", &more, "--set", &set];
    let notes = helm(&cluster, &[&upgrade[..], &common].concat()).await.unwrap();
    assert!(notes.contains("kubectl -n weir exec deployment/weir -- /weir release"), "{notes}");
    assert_eq!(surplus(&cluster, "shop", (&watched, &all)).await, Vec::<String>::new());
    assert_eq!(surplus(&cluster, "till", (&watched, &all)).await, Vec::<String>::new());
    let own = [Scope::Own, Scope::Cluster];
    assert_eq!(
        surplus(&cluster, HOME, (&own, &all)).await,
        Vec::<String>::new(),
        "its lease, no policies"
    );
    assert_eq!(surplus(&cluster, "default", (&[Scope::Cluster], &all)).await, Vec::<String>::new());
    let deployments: Api<Deployment> = Api::namespaced(cluster.admin.clone(), HOME);
    let status = deployments.get("weir").await.unwrap().status.unwrap();
    assert_eq!(status.ready_replicas, Some(2), "the namespace's standard takes its pods");

    let there = left(&cluster).await.join("\n");
    assert!(there.contains("servicemonitor") && there.contains("prometheusrule"), "{there}");
    helm(&cluster, &["uninstall", "weir", "-n", HOME, "--wait"]).await.unwrap();
    soon("nothing of it is left", async || left(&cluster).await.is_empty()).await;
    let releases = helm(&cluster, &["list", "-a", "-q", "-n", HOME]).await.unwrap();
    assert_eq!(releases.trim(), "");
    let definition = ["get", "crd", "adaptivetrafficpolicies.weir.dev", "-o", "name"];
    cluster.kubectl(&definition, "").await.expect("policies outlive it");
    assert!(!may(&cluster, "shop", ("", "services"), "list").await);
}
