//! A real Prometheus that scrapes the demo's Envoy, for `--prometheus`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use weir_testbed::child::{Child, Program};
use weir_testbed::ports;

/// Time for Prometheus to start.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// A running Prometheus.
pub(super) struct Started {
    /// The process.
    pub(super) child: Child,
    /// Where it answers.
    pub(super) url: String,
}

/// Starts it on a free port.
pub(super) async fn start(folder: &Path, envoy: SocketAddr) -> anyhow::Result<Started> {
    let path = find()?;
    let port = ports::unused().context("finding a free port for Prometheus")?;
    let config = folder.join("prometheus.yml");
    let text = format!(
        "global: {{scrape_interval: 1s}}
scrape_configs:
  - job_name: envoy
    metrics_path: /stats/prometheus
    static_configs: [{{targets: [\"{envoy}\"]}}]
"
    );
    std::fs::write(&config, text).context("writing Prometheus' configuration")?;
    let flag = |name: &str, value: String| format!("--{name}={value}").into();
    let mut child = Child::start(Program {
        name: "Prometheus".to_owned(),
        path,
        arguments: vec![
            flag("config.file", config.display().to_string()),
            flag("storage.tsdb.path", folder.join("prometheus").display().to_string()),
            flag("web.listen-address", format!("127.0.0.1:{port}")),
        ],
        environment: vec![],
        log: folder.join("prometheus.log"),
    })?;
    let url = format!("http://127.0.0.1:{port}");
    let answers = async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok();
    child.ready(READY_WITHIN, answers).await?;
    Ok(Started { child, url })
}

fn find() -> anyhow::Result<PathBuf> {
    let built = PathBuf::from(".build/prometheus/usr/bin/prometheus");
    let known = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&known).map(|folder| folder.join("prometheus"));
    std::iter::once(built).chain(folders).find(|path| path.is_file()).ok_or_else(|| {
        anyhow::anyhow!(
            "no Prometheus here; `make prometheus` brings one, or: apt-get install prometheus"
        )
    })
}
