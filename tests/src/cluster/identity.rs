//! Who may ask the API server: a token each, and what Kubernetes takes its holder for.

use std::path::{Path, PathBuf};

use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde_json::json;

/// Somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// May do everything.
    Admin,
    /// The service account `weir` of the namespace `weir`: may do what roles bound to it say.
    Weir,
    /// A user of whom nobody has heard.
    Stranger,
}

impl Identity {
    const ALL: [Self; 3] = [Self::Admin, Self::Weir, Self::Stranger];

    fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Weir => "weir",
            Self::Stranger => "stranger",
        }
    }

    /// A line of the API server's file of tokens: token, user, id, groups.
    fn line(self) -> &'static str {
        match self {
            Self::Admin => "admin-token,admin,1,system:masters\n",
            Self::Weir => {
                "weir-token,system:serviceaccount:weir:weir,2,\
                 \"system:serviceaccounts,system:serviceaccounts:weir\"\n"
            }
            Self::Stranger => "stranger-token,stranger,3,\n",
        }
    }
}

/// The API server's file of tokens.
pub(super) fn tokens() -> String {
    Identity::ALL.iter().map(|identity| identity.line()).collect()
}

/// The path of a kubeconfig.
pub fn kubeconfig(folder: &Path, identity: Identity) -> PathBuf {
    folder.join(format!("{}.kubeconfig", identity.name()))
}

/// Writes everybody's kubeconfig for the API server at `api`.
pub(super) fn write_kubeconfigs(folder: &Path, api: &str) {
    for identity in Identity::ALL {
        let name = identity.name();
        let cluster =
            json!({"server": format!("https://{api}"), "certificate-authority": authority(folder)});
        let user = json!({"token": format!("{name}-token")});
        let context = json!({"cluster": "mesh", "user": name, "namespace": "default"});
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "mesh", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "mesh", "context": context}],
            "current-context": "mesh",
        });
        std::fs::write(kubeconfig(folder, identity), config.to_string()).unwrap();
    }
}

/// What vouches for the API server: it makes a certificate for itself when it starts.
pub(super) fn authority(folder: &Path) -> PathBuf {
    folder.join("certificates/apiserver.crt")
}

/// A client of somebody.
///
/// # Panics
///
/// Before the API server has started: its certificate is not there yet.
pub async fn client(folder: &Path, identity: Identity) -> Client {
    let config = Kubeconfig::read_from(kubeconfig(folder, identity)).unwrap();
    let options = KubeConfigOptions::default();
    let config = Config::from_custom_kubeconfig(config, &options).await.unwrap();
    Client::try_from(config).unwrap()
}
