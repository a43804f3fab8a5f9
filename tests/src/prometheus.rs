//! A real Prometheus.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpStream;
use weir_testbed::child::{Child, Program};
use weir_testbed::ports;

/// How long it may take to start: a second, and a busy machine needs more.
const START_WITHIN: Duration = Duration::from_secs(30);

/// The binary: `WEIR_PROMETHEUS`, or the one on the path.
///
/// # Errors
///
/// How to get it.
pub fn find() -> Result<PathBuf, String> {
    let named = std::env::var_os("WEIR_PROMETHEUS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = || {
        std::env::split_paths(&path).map(|dir| dir.join("prometheus")).find(|file| file.is_file())
    };
    let how = "no prometheus: make prometheus brings it, or set WEIR_PROMETHEUS";
    named.or_else(found).ok_or_else(|| how.to_owned())
}

/// A running one; killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    /// Where it is asked.
    pub address: SocketAddr,
    _child: Child,
}

impl Prometheus {
    /// Starts it on `prometheus.yml` in a folder, and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it does not in time; the message ends with its log.
    pub async fn start(folder: &Path) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()));
        let config = folder.join("prometheus.yml");
        let data = folder.join("prometheus-data");
        let mut child = Child::start(Program {
            name: "Prometheus".to_owned(),
            path: find().unwrap(),
            arguments: vec![
                format!("--config.file={}", config.display()).into(),
                format!("--storage.tsdb.path={}", data.display()).into(),
                format!("--web.listen-address={address}").into(),
            ],
            environment: Vec::new(),
            log: folder.join("prometheus.log"),
        })
        .unwrap();
        let listens = async || TcpStream::connect(address).await.is_ok();
        child.ready(START_WITHIN, listens).await.unwrap_or_else(|error| panic!("{error}"));
        Self { address, _child: child }
    }
}
