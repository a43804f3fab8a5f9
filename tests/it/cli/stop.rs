//! How `weir run` ends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::Duration;

use tokio::time::timeout;
use weir_testbed::ports;
use weir_tests::journal;
use weir_tests::proxy::Proxy;
use weir_tests::until;
use weir_tests::weir::Weir;
use weir_tests::world::write;

use super::{FAILED, OK};

/// How long it may take to end in order.
const ENDS_WITHIN: Duration = Duration::from_secs(5);

struct Started {
    weir: Weir,
    folder: tempfile::TempDir,
    /// Clients that hold on: an event stream, half a request, an xDS stream.
    _clients: (TcpStream, TcpStream, Proxy),
}

async fn started() -> Started {
    let folder = tempfile::tempdir().unwrap();
    let endpoints = "endpoints: [127.0.0.1:1, 127.0.0.1:2]";
    write(folder.path(), "shop.yaml", endpoints);
    let service = "namespace: demo, name: shop, clusters: [shop], write_clusters: true";
    let config =
        format!("data_dir: data\nservices: [{{{service}, endpoints: {{file: shop.yaml}}}}]\n");
    write(folder.path(), "weir.yaml", &config);
    let xds = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()));
    let weir = Weir::start(folder.path(), xds).await;
    weir.more_steps(2).await;
    let mut events = TcpStream::connect(weir.api.address()).unwrap();
    events.set_read_timeout(Some(ENDS_WITHIN)).unwrap();
    write!(events, "GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", weir.api.address()).unwrap();
    assert!(events.read(&mut [0; 64]).unwrap() > 0, "the stream has begun");
    let mut half = TcpStream::connect(weir.api.address()).unwrap();
    half.write_all(b"GET /api/v1/serv").unwrap();
    let mut proxy = Proxy::subscribe(weir.xds, "proxy-1").await.unwrap();
    let first = proxy.next().await.unwrap();
    proxy.take(&first).await;
    Started { weir, folder, _clients: (events, half, proxy) }
}

fn signal(weir: &Weir, name: &str) {
    let id = weir.child.id().to_string();
    assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
}

async fn ends_in_order(by: &str) {
    let Started { mut weir, folder, _clients } = started().await;
    signal(&weir, by);
    let ended = timeout(ENDS_WITHIN, weir.child.exited()).await;
    let status = ended.expect("it ends in time, whoever holds on").unwrap();
    assert_eq!(status.code(), Some(OK), "{}", weir.child.log_tail());
    let segments = journal::segments(&folder.path().join("data"));
    assert!(segments.last().unwrap().closed, "the journal is closed");
    assert!(segments.iter().all(|segment| !segment.steps.is_empty()));
    assert!(folder.path().join("data/state/last-good.0").is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_it_in_order() {
    ends_in_order("TERM").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupt_ends_it_in_order() {
    ends_in_order("INT").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_it_at_once() {
    let Started { mut weir, folder: _folder, _clients } = started().await;
    signal(&weir, "TERM");
    until("it says that it stops", async || weir.said("a second signal stops at once")).await;
    signal(&weir, "TERM");
    let ended = timeout(ENDS_WITHIN, weir.child.exited()).await;
    let status = ended.expect("it ends in time").unwrap();
    // The first may have been enough: then it ended in order.
    let at_once = weir.child.log_tail().contains("stopped at once");
    assert_eq!(status.code(), Some(if at_once { FAILED } else { OK }));
}
