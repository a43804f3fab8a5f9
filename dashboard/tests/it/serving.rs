//! The listener itself: slow and idle clients, and the end.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use weir_dashboard::web::serve::serve;

use crate::ask::site;
use crate::story::{Story, at};

struct Server {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    tasks: JoinSet<std::io::Result<()>>,
}

async fn start() -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let router = site(&Story::whole().board, at(300));
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, router, async move {
        let _closed = stopped.await;
    }));
    Server { address, stop, tasks }
}

async fn ask(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

async fn first_line(stream: &mut TcpStream) -> String {
    let mut head = [0; 15];
    let read = tokio::time::timeout(Duration::from_secs(20), stream.read_exact(&mut head)).await;
    read.unwrap().unwrap();
    String::from_utf8(head.to_vec()).unwrap()
}

#[tokio::test]
async fn trickling_clients_do_not_keep_others_waiting() {
    let server = start().await;
    let mut idle = Vec::new();
    for _ in 0..100 {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        idle.push(stream);
    }
    let mut honest = ask(server.address, "/healthz").await;
    assert_eq!(first_line(&mut honest).await, "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn shutdown_ends_streams_that_would_never_end() {
    let mut server = start().await;
    let mut events = ask(server.address, "/api/v1/events").await;
    assert_eq!(first_line(&mut events).await, "HTTP/1.1 200 OK");
    server.stop.send(()).unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(20), server.tasks.join_next()).await;
    ended.expect("ends within the deadline").unwrap().unwrap().unwrap();
    let mut rest = Vec::new();
    let closed = tokio::time::timeout(Duration::from_secs(20), events.read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "the stream is closed");
}
