//! The rendered documents under `deploy/kustomize`, resolved as kustomize does it, and what has to
//! hold of everything that is installed: a pod with no more rights than it needs, and a `weir.yaml`
//! that Weir takes.

use weir::config::{Given, from_bytes};
use weir_policies::problem::{Colour, render};

use super::*;

const FOLDERS: [&str; 3] = ["base", "istio-relay", "edge"];

/// All documents of a kustomization: its files', and those of the folders that it names.
fn resolve(folder: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(folder.join("kustomization.yaml"));
    let text = text.unwrap_or_else(|cause| panic!("{}: {cause}", folder.display()));
    let own: Value = serde_saphyr::from_str(&text).unwrap();
    let resources = own["resources"].as_array().unwrap();
    let paths = resources.iter().map(|resource| folder.join(resource.as_str().unwrap()));
    paths.flat_map(|path| if path.is_dir() { resolve(&path) } else { documents(&path) }).collect()
}

fn documents(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|c| panic!("{}: {c}", path.display()));
    let documents: Result<Vec<Value>, _> = serde_saphyr::from_multiple(&text);
    let documents = documents.unwrap_or_else(|cause| panic!("{}: {cause}", path.display()));
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

fn of(folder: &str) -> Vec<Value> {
    resolve(&root().join("deploy/kustomize").join(folder))
}

fn one<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|document| document["kind"] == kind).collect()
}

#[test]
fn folders_hold_what_they_say() {
    for folder in FOLDERS {
        let documents = of(folder);
        let kinds: BTreeSet<&str> = documents.iter().map(|d| d["kind"].as_str().unwrap()).collect();
        let workload = if folder == "edge" { "DaemonSet" } else { "Deployment" };
        for kind in [workload, "Service", "ServiceAccount", "ConfigMap", "NetworkPolicy"] {
            assert!(kinds.contains(kind), "{folder} has no {kind}");
        }
        assert_eq!(kinds.contains("ClusterRole"), folder != "edge", "{folder}");
        let mut names = BTreeSet::new();
        for document in &documents {
            let name = document["metadata"]["name"].as_str().unwrap();
            assert!(names.insert((document["kind"].as_str(), name)), "{folder}: {name} twice");
            let namespace = document["metadata"].get("namespace");
            assert!(namespace.is_none_or(|namespace| namespace == "weir"), "{folder}: {name}");
        }
        let all = files(&format!("deploy/kustomize/{folder}"), ".yaml");
        assert_eq!(all.len(), 2, "{all:?}: a file that nothing names is not installed");
    }
}

/// What the strictest of Kubernetes' standards for pods asks for, and more.
#[test]
fn pods_may_do_nothing_more_than_they_need() {
    for folder in FOLDERS {
        let documents = of(folder);
        let workloads = [one(&documents, "Deployment"), one(&documents, "DaemonSet")].concat();
        let [workload] = workloads[..] else { panic!("{folder}: {}", workloads.len()) };
        let pod = &workload["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for field in ["hostNetwork", "hostPID", "hostIPC"] {
            assert!(pod.get(field).is_none(), "{folder}: {field}");
        }
        let volumes = pod["volumes"].as_array().unwrap();
        assert!(volumes.iter().all(|volume| volume.get("hostPath").is_none()), "{folder}");
        let asked = documents.iter().any(|document| document["kind"] == "ClusterRole");
        assert_eq!(
            pod["automountServiceAccountToken"], asked,
            "{folder}: a token only to ask with"
        );
        let [container] = &pod["containers"].as_array().unwrap()[..] else { panic!("one") };
        let security = &container["securityContext"];
        assert_eq!(security["allowPrivilegeEscalation"], false);
        assert_eq!(security["readOnlyRootFilesystem"], true);
        assert_eq!(security["capabilities"], json!({"drop": ["ALL"]}));
        assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/healthz");
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
        let limit = if folder == "edge" { "64Mi" } else { "128Mi" };
        assert_eq!(container["resources"]["limits"]["memory"], limit);
    }
}

/// Every right by its name: nothing of all kinds, no secrets, and written is only what is Weir's.
#[test]
fn roles_name_what_they_give() {
    for folder in FOLDERS {
        let documents = of(folder);
        for role in [one(&documents, "ClusterRole"), one(&documents, "Role")].concat() {
            for rule in role["rules"].as_array().unwrap() {
                let text = rule.to_string();
                assert!(!text.contains('*') && !text.contains("secret"), "{folder}: {text}");
                let strings = |field: &str| -> Vec<String> {
                    serde_json::from_value(rule[field].clone()).unwrap()
                };
                let writes = strings("verbs")
                    .iter()
                    .any(|verb| !["get", "list", "watch"].contains(&verb.as_str()));
                let ours = ["adaptivetrafficpolicies/status", "events", "leases"];
                let of_ours = strings("resources").iter().all(|of| ours.contains(&of.as_str()));
                assert!(!writes || of_ours, "{folder}: {text}");
            }
        }
    }
}

/// Services and policies lead to the pods, and only to ports that these have.
#[test]
fn ports_are_there() {
    for folder in FOLDERS {
        let documents = of(folder);
        let workload = [one(&documents, "Deployment"), one(&documents, "DaemonSet")].concat()[0];
        let template = &workload["spec"]["template"];
        let labels = template["metadata"]["labels"].as_object().unwrap();
        let ports = template["spec"]["containers"][0]["ports"].as_array().unwrap();
        let names: BTreeSet<&str> =
            ports.iter().map(|port| port["name"].as_str().unwrap()).collect();
        for service in one(&documents, "Service") {
            for (key, value) in service["spec"]["selector"].as_object().unwrap() {
                assert_eq!(labels.get(key), Some(value), "{folder}: {key}");
            }
            for port in service["spec"]["ports"].as_array().unwrap() {
                assert!(names.contains(port["targetPort"].as_str().unwrap()), "{folder}: {port}");
            }
        }
        let policy = one(&documents, "NetworkPolicy")[0];
        for rule in policy["spec"]["ingress"].as_array().unwrap() {
            assert!(!rule["from"].as_array().unwrap().is_empty(), "{folder}: open to all: {rule}");
            for port in rule["ports"].as_array().unwrap() {
                assert!(names.contains(port["port"].as_str().unwrap()), "{folder}: {port}");
            }
        }
    }
}

/// A `weir.yaml` with the files that it names, none of which is here, made up.
fn furnished(text: &str, folder: &Path) -> String {
    let text = text.replace("/etc/weir", &folder.display().to_string());
    for line in text.lines().filter(|line| line.contains("_file: ")) {
        let path = Path::new(line.split_once(": ").unwrap().1);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "made up").unwrap();
    }
    text
}

#[test]
fn weir_takes_what_is_installed() {
    for folder in FOLDERS {
        let documents = of(folder);
        let configs = one(&documents, "ConfigMap");
        let text = configs.iter().find_map(|map| map["data"]["weir.yaml"].as_str()).unwrap();
        let place = tempfile::tempdir().unwrap();
        let text = furnished(text, place.path());
        let read = from_bytes(Path::new("weir.yaml"), text.as_bytes(), Given::default());
        let config = read.unwrap_or_else(|p| panic!("{folder}: {}", render(&p, Colour::Never)));
        assert_eq!(config.relay.is_some(), folder == "istio-relay");
        assert_eq!(config.kubernetes.is_some(), folder != "edge");
        for map in configs.iter().filter(|map| map["metadata"]["name"] == "weir-policies") {
            for (name, policy) in map["data"].as_object().unwrap() {
                let document =
                    weir_policies::check::Document::new(name.as_str(), policy.as_str().unwrap());
                let checked = weir_policies::check::check(&[document]);
                assert!(checked.is_ok(), "{folder}: {name}");
            }
        }
    }
}
