//! How the API server is reached: from within the cluster, or as a kubeconfig says.

use std::path::PathBuf;

use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

/// Where the API server is, and who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// By the service account that every pod has.
    #[default]
    InCluster,
    /// By a kubeconfig.
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// The context in it; its current one if none is named.
        context: Option<String>,
    },
}

/// Why the API server cannot even be asked.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// This is no pod, or one without a token.
    #[error(
        "no service account is mounted here; run within a cluster, or name a kubeconfig: \
         kubernetes: {{kubeconfig: PATH}}"
    )]
    NotInCluster(#[source] InClusterError),
    /// The file is none.
    #[error("kubeconfig {}", .path.display())]
    Kubeconfig {
        /// Which.
        path: PathBuf,
        /// Why.
        source: Box<KubeconfigError>,
    },
    /// Certificates or credentials in it are none.
    #[error("the API server's certificates or credentials cannot be used")]
    Client(#[source] Box<kube::Error>),
}

/// A client. Opens no connection yet; must be called within a runtime.
pub async fn client(reach: &Reach) -> Result<Client, ReachError> {
    let mut config = match reach {
        Reach::InCluster => Config::incluster().map_err(ReachError::NotInCluster)?,
        Reach::Kubeconfig { path, context } => {
            let wrong =
                |source| ReachError::Kubeconfig { path: path.clone(), source: Box::new(source) };
            let options = KubeConfigOptions { context: context.clone(), ..Default::default() };
            let read = Kubeconfig::read_from(path).map_err(wrong)?;
            Config::from_custom_kubeconfig(read, &options).await.map_err(wrong)?
        }
    };
    // Whoever asks waits and asks again at its own pace, and says so meanwhile.
    config.default_retry = false;
    Client::try_from(config).map_err(|cause| ReachError::Client(Box::new(cause)))
}
