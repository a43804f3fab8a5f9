//! Keeps one kind of object current: lists it, watches it, and starts over where it has to.
//!
//! Written on the client's own `list` and `watch` rather than on `kube::runtime::watcher`, for three
//! things that cannot be seen from outside of that one: it keeps bookmarks to itself, so that a quiet
//! stream and a dead one look alike until the whole watch is over (5 min); it says nothing when it
//! starts over, so that no status can; and a 410 that comes as the answer's status, not as an event,
//! makes it ask for the same version for ever.
//!
//! <https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes>

use std::fmt;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use kube::api::{Api, ListParams, WatchEvent, WatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use tokio::time::{sleep, timeout};

use super::trouble::{Place, Trouble};

/// Objects per answer, as other clients have it: a list of a large cluster comes in bounded pieces.
const PAGE: u32 = 500;

/// Objects of one kind that are kept: ten times the endpoints that one process is built for, at a
/// hundred to an EndpointSlice.
pub const OBJECTS_MAX: usize = 100_000;

/// How long one page, or a watch's first byte, may take.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long a watch may be silent. API servers send a bookmark about once a minute; half as much
/// again is late.
pub const SILENCE_MAX: Duration = Duration::from_secs(90);

/// A watch that was not refused within this time is open: refusals come at once.
const OPEN_AFTER: Duration = Duration::from_secs(2);

/// The first wait after a failure, and the longest; with jitter, so that many clients that lost
/// one server do not come back at once.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// What became of the objects.
#[derive(Debug)]
pub enum Event<K> {
    /// These are all; whatever else was known is gone.
    Listed(Vec<K>),
    /// This one is new, or has changed.
    Applied(K),
    /// This one is gone.
    Deleted(K),
    /// Nothing changed, and the server is there.
    Alive,
    /// Something is wrong. What was known stands; asked for again after a while.
    Failed(Trouble),
}

/// One kind of object at one place, listed and watched. Never ends.
pub fn follow<K>(api: Api<K>, place: Place) -> impl Stream<Item = Event<K>> + Send
where
    K: Resource + Clone + fmt::Debug + DeserializeOwned + Send + 'static,
{
    let watch = Watch { api, place, at: At::Unlisted, retry: retry().build(), wait: None };
    stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await;
        Some((event, watch))
    })
}

/// Waits that grow, with jitter.
pub fn retry() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_jitter()
        .with_factor(2.0)
        .with_min_delay(RETRY.0)
        .with_max_delay(RETRY.1)
        .without_max_times()
}

struct Watch<K> {
    api: Api<K>,
    place: Place,
    at: At<K>,
    retry: ExponentialBackoff,
    wait: Option<Duration>,
}

/// How far it has come.
enum At<K> {
    /// Nothing is known.
    Unlisted,
    /// All was listed, or seen, up to this version.
    Seen(String),
    /// News come by this stream.
    Watching(Open<K>),
}

struct Open<K> {
    version: String,
    stream: BoxStream<'static, kube::Result<WatchEvent<K>>>,
    /// Whether it was refused can no longer be.
    open: bool,
    /// Whether anything came.
    heard: bool,
}

impl<K> Watch<K>
where
    K: Resource + Clone + fmt::Debug + DeserializeOwned + Send + 'static,
{
    async fn next(&mut self) -> Event<K> {
        loop {
            if let Some(wait) = self.wait.take() {
                sleep(wait).await;
            }
            match self.step().await {
                Ok(Some(event)) => return event,
                Ok(None) => {}
                Err(trouble) => {
                    self.pause(trouble.retry_after());
                    return Event::Failed(trouble);
                }
            }
        }
    }

    async fn step(&mut self) -> Result<Option<Event<K>>, Trouble> {
        // Put back unless this step ends in a failure that must begin with a list.
        match std::mem::replace(&mut self.at, At::Unlisted) {
            At::Unlisted => {
                let (objects, version) = self.list().await?;
                self.at = At::Seen(version);
                Ok(Some(Event::Listed(objects)))
            }
            At::Seen(version) => {
                self.at = At::Seen(version.clone());
                let parameters = WatchParams::default();
                let opening = self.api.watch(&parameters, &version);
                let opened = within(&self.place, opening).await?;
                let stream = match opened {
                    Ok(stream) => stream.boxed(),
                    Err(error) => return self.refused(&error),
                };
                self.at = At::Watching(Open { version, stream, open: false, heard: false });
                Ok(None)
            }
            At::Watching(open) => self.listen(open).await,
        }
    }

    /// Everything, page by page, and the version that it was true at.
    async fn list(&mut self) -> Result<(Vec<K>, String), Trouble> {
        let mut objects = Vec::new();
        let mut parameters = ListParams::default().limit(PAGE);
        loop {
            let page = within(&self.place, self.api.list(&parameters)).await?;
            let page = page.map_err(|error| Trouble::of(&error, &self.place, "list"))?;
            objects.extend(page.items);
            if objects.len() > OBJECTS_MAX {
                return Err(Trouble::TooMany { place: self.place.clone(), most: OBJECTS_MAX });
            }
            let Some(next) = page.metadata.continue_.filter(|token| !token.is_empty()) else {
                return Ok((objects, page.metadata.resource_version.unwrap_or_default()));
            };
            parameters = parameters.continue_token(&next);
        }
    }

    async fn listen(&mut self, mut open: Open<K>) -> Result<Option<Event<K>>, Trouble> {
        let patience = if open.open { SILENCE_MAX } else { OPEN_AFTER };
        let heard = timeout(patience, open.stream.next()).await;
        match heard {
            Err(_) if !open.open => {
                open.open = true;
                self.at = At::Watching(open);
                Ok(Some(Event::Alive))
            }
            Err(_) => {
                self.at = At::Seen(open.version);
                Err(Trouble::Silent { place: self.place.clone(), after: SILENCE_MAX })
            }
            Ok(None) => {
                // The server ends every watch after some minutes; one that ends without a word
                // is not asked for again at once.
                if !open.heard {
                    self.pause(None);
                }
                self.at = At::Seen(open.version);
                Ok(None)
            }
            Ok(Some(Err(error))) => {
                self.at = At::Seen(open.version);
                self.refused(&error)
            }
            Ok(Some(Ok(WatchEvent::Error(status)))) => {
                self.at = At::Seen(open.version);
                self.refused(&kube::Error::Api(status))
            }
            Ok(Some(Ok(event))) => Ok(self.news(open, event)),
        }
    }

    fn news(&mut self, open: Open<K>, event: WatchEvent<K>) -> Option<Event<K>> {
        let (version, event) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                (object.resource_version(), Event::Applied(object))
            }
            WatchEvent::Deleted(object) => (object.resource_version(), Event::Deleted(object)),
            WatchEvent::Bookmark(mark) => (Some(mark.metadata.resource_version), Event::Alive),
            WatchEvent::Error(_) => return None,
        };
        self.retry = retry().build();
        let version = version.filter(|version| !version.is_empty()).unwrap_or(open.version);
        self.at = At::Watching(Open { version, open: true, heard: true, ..open });
        Some(event)
    }

    /// A refused watch. One whose version is too old (410) begins with a list again, which is no
    /// trouble: it happens to whoever was away.
    fn refused(&mut self, error: &kube::Error) -> Result<Option<Event<K>>, Trouble> {
        if matches!(error, kube::Error::Api(status) if status.code == 410) {
            tracing::debug!(place = %self.place, "the version is too old; listing anew");
            self.at = At::Unlisted;
            self.pause(None);
            return Ok(None);
        }
        Err(Trouble::of(error, &self.place, "watch"))
    }

    fn pause(&mut self, asked: Option<Duration>) {
        let own = self.retry.next().unwrap_or(RETRY.1).min(RETRY.1);
        self.wait = Some(asked.map_or(own, |asked| asked.clamp(own, RETRY.1)));
    }
}

async fn within<T>(place: &Place, asking: impl Future<Output = T>) -> Result<T, Trouble> {
    timeout(ANSWER_WITHIN, asking)
        .await
        .map_err(|_| Trouble::Silent { place: place.clone(), after: ANSWER_WITHIN })
}
