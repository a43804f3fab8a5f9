//! Connections that cannot hold the server up.
//!
//! Neither hyper nor tonic ends a connection whose other side has stopped reading as long as its
//! kernel answers, or bounds how many there are. So the listener is ours: a cap on connections,
//! a deadline for the first byte, a deadline for writes, and a way for a stream to end the
//! connection it runs on.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Sleep, sleep};
use tokio_stream::Stream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// Time that a connection may take to send its first byte.
const FIRST_BYTE: Duration = Duration::from_secs(5);
/// Time that the other side may refuse to read.
pub(super) const STALLED: Duration = Duration::from_secs(20);
/// The deadlines of a connection.
#[derive(Clone, Copy, Debug)]
struct Deadlines {
    first_byte: Duration,
    stalled: Duration,
}

/// Pause after a failed accept, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepted connections, for tonic's `serve_with_incoming_shutdown`.
#[derive(Debug)]
pub struct Connections {
    listener: TcpListener,
    slots: Arc<Semaphore>,
    deadlines: Deadlines,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Connections {
    /// At most `most` connections at a time through this listener; more are closed at once.
    pub fn new(listener: TcpListener, most: usize) -> Self {
        let deadlines = Deadlines { first_byte: FIRST_BYTE, stalled: STALLED };
        Self { listener, slots: Arc::new(Semaphore::new(most)), deadlines, pause: None }
    }

    fn accept(&self, socket: TcpStream) -> Option<Connection> {
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            tracing::warn!("too many connections, one closed");
            return None;
        };
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(%error, "cannot set TCP_NODELAY");
        }
        let peer = Peer { address: socket.peer_addr().ok(), end: CancellationToken::new() };
        let ended = Box::pin(peer.end.clone().cancelled_owned());
        let deadlines = self.deadlines;
        let silent = Some(Box::pin(sleep(deadlines.first_byte)));
        Some(Connection { socket, peer, deadlines, ended, silent, stalled: None, _slot: slot })
    }
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            if let Some(pause) = &mut this.pause {
                ready!(pause.as_mut().poll(cx));
                this.pause = None;
            }
            match ready!(this.listener.poll_accept(cx)) {
                Ok((socket, _)) => {
                    if let Some(connection) = this.accept(socket) {
                        return Poll::Ready(Some(Ok(connection)));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    this.pause = Some(Box::pin(sleep(ACCEPT_PAUSE)));
                }
            }
        }
    }
}

/// The other side of a connection, found in the extensions of its requests.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: Option<SocketAddr>,
    end: CancellationToken,
}

impl Peer {
    /// Ends the connection with all its streams.
    pub fn disconnect(&self) {
        self.end.cancel();
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    socket: TcpStream,
    peer: Peer,
    deadlines: Deadlines,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    silent: Option<Pin<Box<Sleep>>>,
    stalled: Option<Pin<Box<Sleep>>>,
    _slot: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl Connection {
    fn check_end(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.ended.as_mut().poll(cx) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionAborted.into()),
            Poll::Pending => Ok(()),
        }
    }

    /// Lets a write that makes no progress fail in the end.
    fn watch<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.deadlines.stalled)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.check_end(cx)?;
        let read = Pin::new(&mut this.socket).poll_read(cx, buffer);
        if read.is_ready() {
            this.silent = None;
        } else if let Some(silent) = &mut this.silent {
            ready!(silent.as_mut().poll(cx));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(cx, bytes);
        this.watch(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, bytes);
        this.watch(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_stream::StreamExt;

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    /// Both ends of a connection with these deadlines, and the listener.
    async fn pair(
        deadlines: Deadlines,
        most: usize,
    ) -> (Connection, TcpStream, Connections, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut connections = Connections { deadlines, ..Connections::new(listener, most) };
        let client = TcpStream::connect(address).await.unwrap();
        let server = connections.next().await.unwrap().unwrap();
        (server, client, connections, address)
    }

    fn deadlines(first_byte: Duration, stalled: Duration) -> Deadlines {
        Deadlines { first_byte, stalled }
    }

    #[tokio::test]
    async fn a_connection_that_says_nothing_is_closed() {
        let (mut server, _client, ..) = pair(deadlines(SHORT, STALLED), 9).await;
        let read = server.read_u8().await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_connection_that_has_spoken_may_be_silent() {
        let (mut server, mut client, ..) = pair(deadlines(SHORT, STALLED), 9).await;
        client.write_u8(7).await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), 7);
        assert!(tokio::time::timeout(3 * SHORT, server.read_u8()).await.is_err());
    }

    #[tokio::test]
    async fn a_peer_that_does_not_read_fails_the_write() {
        let (mut server, _client, ..) = pair(deadlines(FIRST_BYTE, SHORT), 9).await;
        let written = server.write_all(&vec![0; 64 << 20]).await;
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_stream_can_end_its_connection() {
        let (mut server, _client, ..) = pair(deadlines(FIRST_BYTE, STALLED), 9).await;
        let peer = server.connect_info();
        let (read, ()) = tokio::join!(server.read_u8(), async { peer.disconnect() });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn connections_beyond_the_limit_are_closed_until_one_ends() {
        let (server, _client, mut connections, address) =
            pair(deadlines(FIRST_BYTE, STALLED), 1).await;
        let mut second = TcpStream::connect(address).await.unwrap();
        let refused = async { second.read_u8().await.unwrap_err().kind() };
        let accepted = connections.next();
        tokio::select! {
            _ = accepted => panic!("one too many"),
            kind = refused => assert_eq!(kind, io::ErrorKind::UnexpectedEof),
        }
        drop(server);
        let _third = TcpStream::connect(address).await.unwrap();
        assert!(connections.next().await.unwrap().is_ok());
    }
}
