//! One kept-alive HTTP/1.1 connection, and how a request is put to it.
//!
//! A connection is polled only together with a request, in that request's own future, which
//! saves a task and a wake-up for each answer. What happens to an idle one is noticed at its
//! next use: a request that never left goes out again on a fresh connection.

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::HOST;
use http::{HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::End;

type Body = Empty<Bytes>;
type Sender = SendRequest<Body>;

/// An answer's body at most: proxies' error texts are a line.
const BODY_MAX: usize = 64 * 1024;

/// The name under which the service is asked for.
const SHOP: HeaderValue = HeaderValue::from_static("shop.demo");

/// A connection, ready for a request.
pub(crate) struct Wire {
    sender: Sender,
    connection: Pin<Box<Connection<TokioIo<TcpStream>, Body>>>,
}

/// Why there was no answer. The caller counts them alike; only [`ask`] tells them apart.
pub(crate) enum Broken {
    /// The connection was gone before the request left.
    Unsent,
    /// The connection broke, or the answer was no HTTP.
    Reset,
}

/// The one header by which a request says what it asks of a backend.
pub(crate) type Header = (HeaderName, HeaderValue);

/// Puts a request to `address`, over `idle` where that is still alive, and returns the status
/// with the connection for the next one, if it is still good.
pub(crate) async fn ask(
    idle: Option<Wire>,
    address: SocketAddr,
    header: Header,
) -> Result<(StatusCode, Option<Wire>), Broken> {
    if let Some(wire) = idle {
        match wire.ask(header.clone()).await {
            Err(Broken::Unsent) => {}
            answered => return answered,
        }
    }
    Wire::connect(address).await.ok_or(Broken::Reset)?.ask(header).await
}

/// As [`ask`], for as long as a client waits from `due` on: how it ended and after how long, and
/// the connection. An answer is waited for `grace` longer than counts, so that a proxy's own
/// timeout is heard.
pub(crate) async fn ask_within(
    (timeout, grace): (Duration, Duration),
    due: Instant,
    idle: Option<Wire>,
    address: SocketAddr,
    header: Header,
) -> (End, Duration, Option<Wire>) {
    let answer = timeout_at(due + timeout + grace, ask(idle, address, header)).await;
    let took = due.elapsed();
    let (end, wire) = match answer {
        Err(_) => (End::TimedOut, None),
        Ok(Err(_)) if took > timeout => (End::TimedOut, None),
        Ok(Err(_)) => (End::Reset, None),
        Ok(Ok((status, wire))) => (End::answered(status, took, timeout), wire),
    };
    (end, took, wire)
}

impl Wire {
    async fn connect(address: SocketAddr) -> Option<Wire> {
        let stream = TcpStream::connect(address).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await.ok()?;
        Some(Wire { sender, connection: Box::pin(connection) })
    }

    async fn ask(self, header: Header) -> Result<(StatusCode, Option<Wire>), Broken> {
        let Wire { sender, mut connection } = self;
        let exchange = pin!(exchange(sender, header));
        match select(connection.as_mut(), exchange).await {
            Either::Right((answer, _)) => {
                let (status, sender) = answer?;
                Ok((status, Some(Wire { sender, connection })))
            }
            // The connection has ended, but the answer may have come before. Only its drop
            // tells the sender so.
            Either::Left((_, exchange)) => {
                drop(connection);
                exchange.await.map(|(status, _)| (status, None))
            }
        }
    }
}

async fn exchange(
    mut sender: Sender,
    (name, value): Header,
) -> Result<(StatusCode, Sender), Broken> {
    sender.ready().await.map_err(|_| Broken::Unsent)?;
    let mut request = Request::new(Empty::new());
    request.headers_mut().insert(HOST, SHOP);
    request.headers_mut().insert(name, value);
    let sent = sender.try_send_request(request).await;
    let response = sent.map_err(|mut error| match error.take_message() {
        Some(_) => Broken::Unsent,
        None => Broken::Reset,
    })?;
    let status = response.status();
    let body = Limited::new(response.into_body(), BODY_MAX);
    body.collect().await.map_err(|_| Broken::Reset)?;
    Ok((status, sender))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::{Backend, Service};
    use crate::draws::{self, Draw};

    #[tokio::test]
    async fn a_connection_closed_while_idle_costs_no_request() {
        let mut backend = Backend::start("shop-0", Service::SHOP).unwrap();
        let draw = |number| (draws::HEADER, Draw::first(1, number).header());
        let (_, wire) = ask(None, backend.address(), draw(0)).await.ok().unwrap();
        backend.leave().await;
        backend.join().unwrap();
        let (status, wire) = ask(wire, backend.address(), draw(1)).await.ok().unwrap();
        assert_eq!(status, StatusCode::OK);
        backend.leave().await;
        assert!(matches!(ask(wire, backend.address(), draw(2)).await, Err(Broken::Reset)));
    }
}
