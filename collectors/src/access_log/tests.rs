#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use super::*;
use crate::access_log::entry::tests::answered;
use crate::load_reports::peer::tests::node;
use envoy_types::pb::envoy::data::accesslog::v3::{HttpAccessLogEntry, TcpAccessLogEntry};
use envoy_types::pb::envoy::service::accesslog::v3::access_log_service_client::AccessLogServiceClient;
use envoy_types::pb::envoy::service::accesslog::v3::stream_access_logs_message::{
    HttpAccessLogEntries, Identifier, TcpAccessLogEntries,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};

const LATER: Moment = Moment::from_millis(8_000);

fn service() -> (Service, Handle, watch::Receiver<status::Status>, CancellationToken) {
    let stop = CancellationToken::new();
    let (service, handle, status) =
        Service::new(Config { stop: stop.clone() }, Arc::new(|| Moment::from_millis(7_000)));
    (service, handle, status, stop)
}

fn message(entries: Vec<HttpAccessLogEntry>) -> StreamAccessLogsMessage {
    StreamAccessLogsMessage {
        identifier: None,
        log_entries: Some(LogEntries::HttpLogs(HttpAccessLogEntries { log_entry: entries })),
    }
}

fn hello(entries: Vec<HttpAccessLogEntry>) -> StreamAccessLogsMessage {
    StreamAccessLogsMessage {
        identifier: Some(Identifier { node: Some(node("n1", "z1")), log_name: "weir".to_owned() }),
        ..message(entries)
    }
}

async fn serve(service: &Service, messages: Vec<StreamAccessLogsMessage>) -> Result<(), Status> {
    let inbound = tokio_stream::iter(messages.into_iter().map(Ok));
    service.serve(inbound).await.map(|_| ())
}

#[tokio::test(start_paused = true)]
async fn entries_of_a_stream_are_its_first_messages_nodes() {
    let (service, handle, status, _stop) = service();
    let messages = vec![
        hello(vec![answered("shop", 1, 200)]),
        message(vec![answered("shop", 1, 500), HttpAccessLogEntry::default()]),
        StreamAccessLogsMessage {
            identifier: None,
            log_entries: Some(LogEntries::TcpLogs(TcpAccessLogEntries {
                log_entry: vec![TcpAccessLogEntry::default(); 3],
            })),
        },
    ];
    serve(&service, messages).await.unwrap();
    let drained = handle.drain(LATER);
    assert_eq!(drained.reports.len(), 1);
    let report = &drained.reports[0];
    assert_eq!((report.reporter.as_str(), report.zone.as_str()), ("n1", "z1"));
    assert_eq!((report.samples[0].requests, report.samples[0].errors), (Some(2), Some(1)));
    assert_eq!(drained.volumes[0].entries, 6);
    assert_eq!(drained.left_out, LeftOut { tcp: 3, unattributed: 1, overflow: 0 });
    assert!(status.borrow().last_success.is_some());
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_a_node_is_refused_with_a_reason() {
    let (service, _handle, status, _stop) = service();
    let refusal = serve(&service, vec![message(Vec::new())]).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::InvalidArgument);
    assert!(status.borrow().last_error.as_ref().unwrap().text.contains("node.id"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_does_not_hold_a_place() {
    let (service, ..) = service();
    let refusal = service.serve(tokio_stream::pending()).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::DeadlineExceeded);
    assert_eq!(service.streams(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_break_keeps_what_was_logged_and_is_no_failure() {
    let (service, handle, status, _stop) = service();
    let inbound = tokio_stream::iter([
        Ok(hello(vec![answered("shop", 1, 200)])),
        Err(Status::unavailable("connection reset")),
    ]);
    service.serve(inbound).await.unwrap();
    assert_eq!(handle.drain(LATER).reports.len(), 1);
    assert_eq!(handle.drain(Moment::from_millis(9_000)).volumes, [], "the node is gone");
    assert_eq!(status.borrow().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn streams_end_once_weir_stops() {
    let (service, handle, _status, stop) = service();
    let (sent, inbound) = mpsc::channel(4);
    sent.send(Ok(hello(Vec::new()))).await.unwrap();
    let serving = service.serve(ReceiverStream::new(inbound));
    let stopping = async {
        tokio::task::yield_now().await;
        assert_eq!(handle.drain(LATER).volumes[0].entries, 0, "the stream is open");
        stop.cancel();
    };
    let (served, ()) = tokio::join!(serving, stopping);
    served.unwrap();
    assert_eq!(service.streams(), 0);
}

#[tokio::test(start_paused = true)]
async fn streams_are_bounded() {
    let (service, ..) = service();
    let mut held: Vec<_> = Vec::new();
    for _ in 0..STREAMS_MAX {
        held.push(service.shared.places.try_acquire().unwrap());
    }
    let refusal = serve(&service, vec![hello(Vec::new())]).await.unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::ResourceExhausted);
    drop(held);
    serve(&service, vec![hello(Vec::new())]).await.unwrap();
}

#[tokio::test]
async fn a_client_is_served_over_a_real_connection_up_to_the_message_limit() {
    let (service, handle, ..) = service();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(service.server())
        .serve_with_incoming(TcpListenerStream::new(listener));
    let client = async {
        let mut client =
            AccessLogServiceClient::connect(format!("http://{address}")).await.unwrap();
        let log = tokio_stream::iter([hello(vec![answered("shop", 1, 200)])]);
        client.stream_access_logs(log).await.unwrap();
        assert_eq!(handle.drain(LATER).reports.len(), 1);
        let long = answered(&"x".repeat(MESSAGE_BYTES_MAX), 1, 200);
        let log = tokio_stream::iter([hello(vec![long])]);
        client.stream_access_logs(log).await.unwrap_err();
        assert_eq!(handle.drain(Moment::from_millis(9_000)).reports.len(), 0);
    };
    tokio::select! {
        served = server => served.unwrap(),
        () = client => {}
    }
}
