//! Events of whoever writes into objects of others: at their own pace, and no trouble if they are lost.

use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::events::v1::Event;
use kube::Client;
use kube::api::{Api, PostParams};
use tokio::sync::watch;
use tokio::time::timeout;

use super::events::{Note, Pace};
use super::telling::event;
use crate::clock::Clock;
use crate::goals::objects::ByName;

/// How long one answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Posts events about policies.
pub struct Events {
    client: Client,
    objects: watch::Receiver<Arc<ByName>>,
    clock: Clock,
    pace: Pace,
}

impl std::fmt::Debug for Events {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Events").field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl Events {
    /// By this client, about these policies.
    pub fn new(client: Client, objects: watch::Receiver<Arc<ByName>>, clock: Clock) -> Self {
        Self { client, objects, clock, pace: Pace::default() }
    }

    /// Says it once, in the log and in the cluster.
    pub async fn say(&mut self, note: Note) {
        tracing::warn!(policy = note.policy.as_str(), reason = note.reason, "{}", note.text);
        let now = self.clock.now();
        if !self.pace.pass(now) {
            return;
        }
        let event = event(&note, &Arc::clone(&self.objects.borrow()), now);
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        match timeout(ANSWER_WITHIN, api.create(&PostParams::default(), &event)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => tracing::warn!(namespace, %error, "an event is lost"),
            Err(_) => tracing::warn!(namespace, "an event is lost: the API server is silent"),
        }
    }
}
