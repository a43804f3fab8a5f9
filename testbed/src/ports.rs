//! Free ports on loopback, without the usual race.
//!
//! "Bind port 0, close, hope" loses when anything takes the port in between. So a port of our
//! own stays reserved by a socket that is bound but never listens: the kernel gives it to
//! nobody else, refuses connections to it, and lets a second socket with `SO_REUSEPORT` listen
//! on it whenever its owner wants to.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as BlockingListener};
use std::sync::{Mutex, PoisonError};

use tokio::net::{TcpListener, TcpSocket};

/// Connections which may wait to be accepted: more than one burst of a generator opens.
const BACKLOG: u32 = 1024;

/// Where [`unused`] looks: below the range from which Linux takes ports for outgoing
/// connections (32,768 up), so that no connection takes the port by accident.
const UNUSED: std::ops::Range<u16> = 20_000..32_768;

/// Ports tried before giving up; with a hundred in use the first is free 99 times in 100.
const TRIES: u64 = 64;

/// A port on loopback that stays ours while this lives, listening or not.
#[derive(Debug)]
pub struct Reserved {
    address: SocketAddr,
    _socket: TcpSocket,
}

impl Reserved {
    /// Reserves a port that nobody uses.
    pub fn any() -> io::Result<Reserved> {
        Reserved::at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Reserves this one, for what has to be found at the same place every time.
    pub fn at(address: SocketAddr) -> io::Result<Reserved> {
        let socket = reusable(address)?;
        Ok(Reserved { address: socket.local_addr()?, _socket: socket })
    }

    /// The reserved address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts to listen on the reserved port; dropping the listener stops that.
    pub fn listen(&self) -> io::Result<TcpListener> {
        reusable(self.address)?.listen(BACKLOG)
    }
}

fn reusable(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// Ports that [`unused`] has given: their programs may not have bound them yet.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// A port that nobody uses now, for a program that wants a number and binds it soon (without
/// `SO_REUSEPORT`, or it could have a [`Reserved`] one). A process gets each only once.
pub fn unused() -> io::Result<u16> {
    let span = u64::from(UNUSED.end - UNUSED.start);
    let chance = RandomState::new();
    let mut refused = None;
    for attempt in 0..TRIES {
        let offset = u16::try_from(chance.hash_one(attempt) % span).expect("below a u16's span");
        let port = UNUSED.start + offset;
        match BlockingListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).insert(port) => {
                return Ok(port);
            }
            Ok(_) => refused = Some(io::ErrorKind::AddrInUse.into()),
            Err(error) => refused = Some(error),
        }
    }
    Err(refused.expect("at least one port was tried"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn a_reserved_port_refuses_until_it_listens() {
        let port = Reserved::any().unwrap();
        let refused = |error: io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
        assert!(TcpStream::connect(port.address()).await.is_err_and(refused));
        let listener = port.listen().unwrap();
        TcpStream::connect(port.address()).await.unwrap();
        drop(listener);
        assert!(TcpStream::connect(port.address()).await.is_err_and(refused));
        let _listener = port.listen().unwrap();
        TcpStream::connect(port.address()).await.unwrap();
    }

    #[tokio::test]
    async fn a_reserved_port_is_nobody_elses() {
        let port = Reserved::any().unwrap();
        let taken = |error: io::Error| error.kind() == io::ErrorKind::AddrInUse;
        assert!(BlockingListener::bind(port.address()).is_err_and(taken));
    }

    #[test]
    fn an_unused_port_can_be_bound() {
        let port = unused().unwrap();
        assert!(UNUSED.contains(&port));
        BlockingListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    }
}
