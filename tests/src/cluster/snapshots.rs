//! A control plane as many are: a server on go-control-plane's snapshot cache, fed from a file.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::Value;
use tokio::net::TcpStream;
use weir_testbed::child::{Child, Program};
use weir_testbed::ports;

use super::{Cluster, SOON};

/// A running server; killed when dropped.
#[derive(Debug)]
pub struct Snapshots {
    /// The process.
    pub child: Child,
    /// Where proxies connect.
    pub ads: SocketAddr,
    room: PathBuf,
}

impl Snapshots {
    /// Starts one that serves these resources: lists of `clusters`, `endpoints` and `routes`.
    ///
    /// # Panics
    ///
    /// When it does not listen in time.
    pub async fn start(cluster: &Cluster, name: &str, resources: &Value) -> Self {
        let room = cluster.room(name);
        let ads = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()));
        let file = room.join("resources.json");
        std::fs::write(&file, resources.to_string()).unwrap();
        let mut child = Child::start(Program {
            name: "go-control-plane".to_owned(),
            path: cluster.peers.program("go-control-plane"),
            arguments: vec![ads.to_string().into(), file.into()],
            environment: Vec::new(),
            log: room.join("go-control-plane.log"),
        })
        .unwrap();
        let listens = async || TcpStream::connect(ads).await.is_ok();
        child.ready(SOON, listens).await.unwrap_or_else(|error| panic!("{error}"));
        Self { child, ads, room }
    }

    /// Serves these from now on.
    pub fn write(&self, resources: &Value) {
        let half = self.room.join("resources.half");
        std::fs::write(&half, resources.to_string()).unwrap();
        std::fs::rename(half, self.room.join("resources.json")).unwrap();
    }
}
