//! Weir beside another control plane: the relay before it, and the extension that an Envoy Gateway asks.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::watch;
use weir_proxy_adapter::relay::Opinions;
use weir_proxy_adapter::relay::extension::Extension;
use weir_proxy_adapter::relay::server::{Handle, Relay};

use super::{Assembly, bind};
use crate::config::Config;

/// The sockets for proxies and a gateway of another control plane.
#[derive(Debug, Default)]
pub struct Listeners {
    relay: Option<TcpListener>,
    envoy_gateway: Option<TcpListener>,
}

impl Listeners {
    /// Binds what is configured.
    pub(super) async fn bind(config: &Config) -> anyhow::Result<Self> {
        let mut listeners = Self::default();
        if let Some(relay) = &config.relay {
            let listener = bind(relay.listen, "relay.listen", "it in weir.yaml").await?;
            listeners.relay = Some(listener);
        }
        if let Some(listen) = config.envoy_gateway {
            let listener = bind(listen, "envoy_gateway.listen", "it in weir.yaml").await?;
            listeners.envoy_gateway = Some(listener);
        }
        Ok(listeners)
    }
}

/// What is ready to serve them.
pub(super) struct Beside {
    listeners: Listeners,
    relay: Option<Relay>,
    thought: watch::Receiver<Arc<Opinions>>,
}

/// Where decisions go.
pub(super) struct Outlets {
    pub(super) relay: Option<Handle>,
    pub(super) opinions: watch::Sender<Arc<Opinions>>,
}

impl Assembly {
    /// Makes it ready: nobody is served before the first decision is known.
    pub(super) fn beside(&self, listeners: Listeners) -> (Beside, Outlets) {
        let (relay, handle) = self.config.relay.clone().map_or((None, None), |config| {
            let (relay, handle) = Relay::new(config.relay, self.clock.shared());
            (Some(relay), Some(handle))
        });
        let (opinions, thought) = watch::channel(Arc::default());
        (Beside { listeners, relay, thought }, Outlets { relay: handle, opinions })
    }

    /// Serves from now on. What an earlier life thought is known by now, so no proxy that comes back sees
    /// weights go and come.
    pub(super) fn serve_beside(&mut self, beside: Beside) -> anyhow::Result<Option<SocketAddr>> {
        let Beside { listeners, relay, thought } = beside;
        let address = listeners.relay.as_ref().map(TcpListener::local_addr).transpose()?;
        if let Some((relay, listener)) = relay.zip(listeners.relay) {
            let stop = self.rest.clone();
            self.spawn("the relay", async move { Ok(relay.run(listener, stop).await?) });
        }
        if let Some(listener) = listeners.envoy_gateway {
            let (extension, stop) = (Extension::new(thought), self.rest.clone());
            self.spawn("the extension of Envoy Gateway", async move {
                Ok(extension.run(listener, stop).await?)
            });
        }
        Ok(address)
    }
}
