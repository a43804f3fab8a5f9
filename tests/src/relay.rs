//! A wire that can be cut: connections are passed on until somebody says no.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use weir_testbed::ports::Reserved;

/// A port of its own that leads to another one, while it is open. Closed at first: connections
/// are refused.
#[derive(Debug)]
pub struct Relay {
    port: Reserved,
    tasks: JoinSet<()>,
}

impl Relay {
    /// A relay that leads nowhere yet.
    pub fn closed() -> Self {
        Self { port: Reserved::any().unwrap(), tasks: JoinSet::new() }
    }

    /// Where it listens when it is open.
    pub fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Passes connections on to `target` from now on.
    pub fn open(&mut self, target: SocketAddr) {
        let listener = self.port.listen().unwrap();
        self.tasks.spawn(pass(listener, target));
    }

    /// Breaks all connections and refuses new ones.
    pub async fn cut(&mut self) {
        self.tasks.shutdown().await;
    }
}

async fn pass(listener: TcpListener, target: SocketAddr) {
    let mut connections = JoinSet::new();
    while let Ok((mut from, _)) = listener.accept().await {
        connections.spawn(async move {
            if let Ok(mut to) = TcpStream::connect(target).await {
                // A broken connection is what this is for.
                copy_bidirectional(&mut from, &mut to).await.ok();
            }
        });
        while connections.try_join_next().is_some() {}
    }
}
