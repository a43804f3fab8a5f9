//! A namespace in which Weir runs as a service account with the rights of its own table and no
//! others.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};
use tokio::sync::OwnedRwLockReadGuard;
use weir::kubernetes::rights::{RIGHTS, Right, Scope};
use weir_tests::cluster::Cluster;
use weir_tests::cluster::identity::Identity;
use weir_tests::world::write;

use crate::governed::definition;

/// The namespace.
pub(crate) struct Site {
    pub(crate) cluster: Arc<Cluster>,
    pub(crate) namespace: &'static str,
    _apart: OwnedRwLockReadGuard<()>,
}

impl Site {
    /// Makes it, with Weir's definition and account.
    pub(crate) async fn open(cluster: Arc<Cluster>, namespace: &'static str) -> Self {
        let apart = cluster.apart().await;
        cluster.define(&definition()).await;
        cluster.namespace(namespace).await;
        let site = Self { cluster, namespace, _apart: apart };
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": { "name": "weir", "namespace": namespace },
        });
        site.cluster.apply(&account.to_string()).await;
        site.grant(false).await;
        site.grant(true).await;
        site
    }

    /// Exactly the table's rights: in the namespace where that is enough.
    async fn grant(&self, wide: bool) {
        let rule = |right: &Right| {
            json!({
                "apiGroups": [right.group], "resources": [right.resource], "verbs": right.verbs,
            })
        };
        let rights = RIGHTS.iter().filter(|right| (right.scope == Scope::Cluster) == wide);
        let rules: Vec<Value> = rights.map(rule).collect();
        let group = "rbac.authorization.k8s.io";
        let (kind, place) = if wide {
            ("ClusterRole", json!({ "name": format!("weir-{}", self.namespace) }))
        } else {
            ("Role", json!({ "name": "weir", "namespace": self.namespace }))
        };
        let version = format!("{group}/v1");
        let role = json!({
            "apiVersion": version, "kind": kind, "metadata": place, "rules": rules,
        });
        let binding = json!({
            "apiVersion": version, "kind": format!("{kind}Binding"), "metadata": place,
            "roleRef": { "apiGroup": group, "kind": kind, "name": place["name"] },
            "subjects": [
                { "kind": "ServiceAccount", "name": "weir", "namespace": self.namespace },
            ],
        });
        self.cluster.apply(&format!("{role}\n---\n{binding}")).await;
    }

    /// A folder in which Weir runs as its account, with this after `kubernetes:` in its
    /// configuration. `by`: an address by which the API server is reached in place of its own.
    pub(crate) async fn room(&self, name: &str, by: Option<SocketAddr>, more: &str) -> PathBuf {
        let accounts: Api<ServiceAccount> =
            Api::namespaced(self.cluster.admin.clone(), self.namespace);
        let spec = Some(TokenRequestSpec::default());
        let asked = TokenRequest { spec, ..TokenRequest::default() };
        let parameters = PostParams::default();
        let token = accounts.create_token_request("weir", &parameters, &asked).await.unwrap();
        let admin = std::fs::read_to_string(self.cluster.kubeconfig(Identity::Admin)).unwrap();
        let mut kubeconfig: Value = serde_json::from_str(&admin).unwrap();
        kubeconfig["users"][0]["user"] = json!({ "token": token.status.unwrap().token });
        kubeconfig["contexts"][0]["context"]["namespace"] = json!(self.namespace);
        if let Some(by) = by {
            let api = &mut kubeconfig["clusters"][0]["cluster"];
            api["server"] = json!(format!("https://{by}"));
            api["tls-server-name"] = json!("kubernetes.default.svc");
        }
        let room = self.cluster.room(&format!("{}-{name}", self.namespace));
        write(&room, "kube.yaml", &kubeconfig.to_string());
        let config = format!(
            "data_dir: data
kubernetes: {{kubeconfig: kube.yaml, namespaces: [{}], lease: weir}}
{more}",
            self.namespace
        );
        write(&room, "weir.yaml", &config);
        room
    }

    /// An object, or null.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        self.cluster.admin.request::<Value>(request).await.unwrap_or_default()
    }
}
