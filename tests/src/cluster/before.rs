//! The relay in this process, before a control plane of others, with opinions that a test sets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use weir_engine::units::Moment;
use weir_proxy_adapter::relay::server::{Config, Counts, Handle, Relay, Token, Upstream};
use weir_proxy_adapter::relay::{Opinion, Opinions, Stand};

/// A running relay; it ends when it is dropped.
#[derive(Debug)]
pub struct Before {
    /// Where proxies connect.
    pub ads: SocketAddr,
    handle: Handle,
    began: Instant,
    _tasks: JoinSet<()>,
}

/// A control plane in plain text.
pub fn plain(address: SocketAddr) -> Upstream {
    let address = format!("http://{address}").parse().unwrap();
    Upstream { address, authority: None, identity: None, server_name: None }
}

impl Before {
    /// Starts one with these opinions.
    pub async fn start(upstream: Upstream, opinions: Opinions) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let ads = listener.local_addr().unwrap();
        let began = Instant::now();
        let now = move || moment(began);
        let config = Config { upstream, certificate: None, token: Token::Optional };
        let (relay, handle) = Relay::new(config, Arc::new(now));
        handle.opine(Arc::new(opinions), now());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            relay.run(listener, CancellationToken::new()).await.unwrap();
        });
        Self { ads, handle, began, _tasks: tasks }
    }

    /// From now on it thinks this.
    pub fn opine(&self, opinions: Opinions) {
        self.handle.opine(Arc::new(opinions), moment(self.began));
    }

    /// What has come of it so far.
    pub fn counts(&self) -> Counts {
        self.handle.tally.counts()
    }
}

fn moment(began: Instant) -> Moment {
    Moment::from_millis(1_000_000).plus(began.elapsed())
}

/// Opinions of endpoints wherever they are listed: times so much; zero is out.
pub fn opinions(stands: &[(SocketAddr, f64)]) -> Opinions {
    let stands = stands.iter().map(|(address, multiplier)| {
        let out = *multiplier == 0.0;
        let multiplier = if out { 1.0 } else { *multiplier };
        ((Arc::from(address.ip().to_string()), address.port()), Stand { multiplier, out })
    });
    Opinions { anywhere: Arc::new(Opinion { stands: stands.collect() }), ..Opinions::default() }
}
