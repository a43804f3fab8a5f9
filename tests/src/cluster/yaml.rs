//! `kubectl`, for what it does best: apply documents, and say what is wrong with them.

use std::process::Stdio;
use std::time::Duration;

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
}
