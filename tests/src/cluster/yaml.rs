//! `kubectl`, for what it does best: apply documents, and say what is wrong with them.

use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::timeout;

use super::Cluster;
use super::identity::Identity;

/// How long a command may take; Istio's definitions are the longest, with four seconds.
const WITHIN: Duration = Duration::from_secs(60);

impl Cluster {
    /// Runs `kubectl` as an administrator; `apply` is made server-side and strict. What it
    /// prints, or what it says where it fails.
    pub async fn kubectl(&self, arguments: &[&str], input: &str) -> Result<String, String> {
        let mut command = Command::new(self.peers.program("kube"));
        command.arg("kubectl").args(arguments).env("KUBECONFIG", self.kubeconfig(Identity::Admin));
        if arguments.first() == Some(&"apply") {
            command.args(["--server-side", "--force-conflicts", "--validate=strict"]);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let exchange = async {
            // A program that has no use for its input may close it.
            stdin.write_all(input.as_bytes()).await.ok();
            drop(stdin);
            child.wait_with_output().await.unwrap()
        };
        let ended = timeout(WITHIN, exchange).await;
        let ended = ended.map_err(|_| format!("kubectl {arguments:?} took over {WITHIN:?}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if ended.status.success() { Ok(text(&ended.stdout)) } else { Err(text(&ended.stderr)) }
    }

    /// An object as its author sees it: without what the API server and controllers keep in it.
    ///
    /// # Panics
    ///
    /// When there is no such object.
    pub async fn authored(&self, namespace: &str, [kind, name]: [&str; 2]) -> Value {
        let get = ["get", kind, name, "--namespace", namespace, "--output", "json"];
        let mut object: Value =
            serde_json::from_str(&self.kubectl(&get, "").await.unwrap()).unwrap();
        // An istiod of another test writes there what it makes of it.
        object.as_object_mut().unwrap().remove("status");
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.retain(|key, value| {
            let of_server =
                ["resourceVersion", "generation", "managedFields"].contains(&key.as_str());
            !of_server && value.as_object().is_none_or(|map| !map.is_empty())
        });
        object
    }
}
