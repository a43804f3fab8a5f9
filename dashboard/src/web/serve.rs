//! Serving a router with bounds: so many connections, so long for a request's head.
//!
//! `axum::serve` has neither, and a thousand clients that send a byte a second would then hold a
//! thousand connections for ever. Here each has seconds to say what it wants, and one more than
//! the bound waits until another goes.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// Connections at once: event streams and as many again for pages, each with a few per browser.
const CONNECTIONS_MAX: usize = 256;

/// A request's head has this long to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// The most bytes of a request's head.
const HEAD_MAX: usize = 32 * 1024;

/// How long connections may take to end once shutdown begins. Event streams do not end of
/// themselves; their clients come back to the next process.
const DRAIN: Duration = Duration::from_secs(1);

/// How long to wait after a refused accept: what is exhausted (files) needs others to finish.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves `router` on `listener` until `shutdown` ends, then lets running answers finish.
///
/// # Errors
///
/// None yet: an accept that fails is logged and tried again, since what is exhausted comes back.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut connections = JoinSet::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (closing, closed) = watch::channel(());
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            (stream, place) = accept(&listener, &places) => {
                let (router, closed) = (router.clone(), closed.clone());
                connections.spawn(async move {
                    if let Err(error) = converse(stream, router, closed).await {
                        tracing::debug!(%error, "connection ended");
                    }
                    drop(place);
                });
            }
        }
    }
    drop((listener, closing));
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(DRAIN, ended).await.is_err() {
        tracing::debug!("connections cut at shutdown");
    }
    connections.shutdown().await;
    Ok(())
}

/// Answers one connection's requests until it ends or the server closes; then the running answer
/// is the last.
async fn converse(
    stream: TcpStream,
    router: Router,
    mut closed: watch::Receiver<()>,
) -> hyper::Result<()> {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut connection = pin!(connection);
    tokio::select! {
        ended = connection.as_mut() => ended,
        // The other end is dropped when the server closes; nothing is ever sent.
        _ = closed.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        let place = Arc::clone(places).acquire_owned().await.expect("never closed");
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
