#![allow(clippy::unwrap_used, reason = "a failing helper fails its test")]

use super::*;
use crate::load_reports::peer::tests::node;
use envoy_types::pb::envoy::config::endpoint::v3::ClusterStats;
use envoy_types::pb::envoy::service::load_stats::v3::load_reporting_service_client::LoadReportingServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use weir_engine::observation::Report;
use weir_engine::units::Moment;

struct Rig {
    service: Service,
    clusters: watch::Sender<Arc<Vec<String>>>,
    reports: mpsc::Receiver<Report>,
    status: watch::Receiver<status::Status>,
    stop: CancellationToken,
}

fn rig(clusters: &[&str]) -> Rig {
    let (clusters, watched) =
        watch::channel(Arc::new(clusters.iter().map(|&name| name.to_owned()).collect()));
    let stop = CancellationToken::new();
    let config = Config {
        interval: Duration::from_millis(10),
        clusters: watched,
        own_cluster: "weir".to_owned(),
        stop: stop.clone(),
    };
    let (intake, reports) = Intake::new(64);
    let (service, status) = Service::new(config, intake, Arc::new(|| Moment::from_millis(7_000)));
    Rig { service, clusters, reports, status, stop }
}

fn hello() -> LoadStatsRequest {
    LoadStatsRequest { node: Some(node("n1", "z1")), cluster_stats: Vec::new() }
}

fn report(cluster: &str) -> LoadStatsRequest {
    LoadStatsRequest {
        node: None,
        cluster_stats: vec![ClusterStats {
            cluster_name: cluster.to_owned(),
            load_report_interval: Some(protobuf::Duration { seconds: 1, nanos: 0 }),
            ..ClusterStats::default()
        }],
    }
}

type Sent = mpsc::Sender<Result<LoadStatsRequest, Status>>;

fn converse(rig: &Rig) -> (Sent, Answers) {
    let (sent, inbound) = mpsc::channel(8);
    (sent, rig.service.accept(ReceiverStream::new(inbound)).unwrap())
}

#[tokio::test(start_paused = true)]
async fn the_first_message_is_answered_with_what_to_report() {
    let rig = rig(&["shop"]);
    let (sent, mut answers) = converse(&rig);
    sent.send(Ok(hello())).await.unwrap();
    let response = answers.next().await.unwrap().unwrap();
    assert_eq!(response.clusters, ["shop"]);
    assert!(response.report_endpoint_granularity && !response.send_all_clusters);
    assert_eq!(
        response.load_reporting_interval,
        Some(protobuf::Duration { seconds: 1, nanos: 0 }),
        "10 ms are clamped"
    );
}

#[tokio::test(start_paused = true)]
async fn without_names_all_clusters_are_asked_for() {
    let rig = rig(&[]);
    let (sent, mut answers) = converse(&rig);
    sent.send(Ok(hello())).await.unwrap();
    let response = answers.next().await.unwrap().unwrap();
    assert!(response.send_all_clusters && response.clusters.is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_list_is_asked_for_on_the_open_stream_and_the_same_is_not() {
    let rig = rig(&["a"]);
    let (sent, mut answers) = converse(&rig);
    sent.send(Ok(hello())).await.unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap().clusters, ["a"]);
    rig.clusters.send(Arc::new(vec!["a".to_owned()])).unwrap();
    let waited = timeout(Duration::from_secs(1), answers.next()).await;
    assert!(waited.is_err(), "the same list needs no word");
    rig.clusters.send(Arc::new(vec!["b".to_owned()])).unwrap();
    assert_eq!(answers.next().await.unwrap().unwrap().clusters, ["b"]);
}

#[tokio::test(start_paused = true)]
async fn later_messages_become_reports() {
    let mut rig = rig(&["shop"]);
    let (sent, mut answers) = converse(&rig);
    sent.send(Ok(hello())).await.unwrap();
    answers.next().await.unwrap().unwrap();
    sent.send(Ok(report("shop"))).await.unwrap();
    drop(sent);
    assert!(answers.next().await.is_none());
    let report = rig.reports.recv().await.unwrap();
    assert_eq!((report.cluster.as_str(), report.zone.as_str()), ("shop", "z1"));
    let status = rig.status.borrow().clone();
    assert_eq!((status.delivered, status.last_error), (1, None));
}

#[tokio::test(start_paused = true)]
async fn malformed_messages_end_the_stream_with_a_reason() {
    let rig = rig(&["shop"]);
    let (sent, mut answers) = converse(&rig);
    sent.send(Ok(LoadStatsRequest::default())).await.unwrap();
    let refusal = answers.next().await.unwrap().unwrap_err();
    assert_eq!(refusal.code(), tonic::Code::InvalidArgument);
    assert!(refusal.message().contains("node.id"), "{refusal}");
    assert!(answers.next().await.is_none());
    assert!(rig.status.borrow().last_error.as_ref().unwrap().text.contains("node.id"));
}

#[tokio::test(start_paused = true)]
async fn a_break_is_no_failure_and_frees_its_place() {
    let rig = rig(&["shop"]);
    let (sent, mut answers) = converse(&rig);
    assert_eq!(rig.service.streams(), 1);
    sent.send(Ok(hello())).await.unwrap();
    answers.next().await.unwrap().unwrap();
    sent.send(Err(Status::unavailable("connection reset"))).await.unwrap();
    assert!(answers.next().await.is_none());
    drop(answers);
    assert_eq!(rig.service.streams(), 0);
    assert_eq!(rig.status.borrow().last_error, None);
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_does_not_hold_a_place() {
    let rig = rig(&["shop"]);
    let (_sent, mut answers) = converse(&rig);
    assert!(timeout(Duration::from_secs(6), answers.next()).await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn streams_end_and_none_begins_once_weir_stops() {
    let rig = rig(&["shop"]);
    let (sent, mut answers) = converse(&rig);
    sent.send(Ok(hello())).await.unwrap();
    answers.next().await.unwrap().unwrap();
    rig.stop.cancel();
    assert!(answers.next().await.is_none());
    let refused = rig.service.accept(ReceiverStream::new(mpsc::channel(1).1));
    assert_eq!(refused.err().unwrap().code(), tonic::Code::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn streams_are_bounded() {
    let rig = rig(&["shop"]);
    let open: Vec<_> = (0..STREAMS_MAX).map(|_| converse(&rig)).collect();
    let refused = rig.service.accept(ReceiverStream::new(mpsc::channel(1).1));
    assert_eq!(refused.err().unwrap().code(), tonic::Code::ResourceExhausted);
    drop(open);
    assert_eq!(rig.service.streams(), 0);
}

#[tokio::test]
async fn a_client_is_served_over_a_real_connection_up_to_the_message_limit() {
    let mut rig = rig(&["shop"]);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(rig.service.server())
        .serve_with_incoming(TcpListenerStream::new(listener));
    let client = async {
        let mut client =
            LoadReportingServiceClient::connect(format!("http://{address}")).await.unwrap();
        let (sent, outbound) = mpsc::channel(4);
        sent.send(hello()).await.unwrap();
        let mut answers =
            client.stream_load_stats(ReceiverStream::new(outbound)).await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap().unwrap().clusters, ["shop"]);
        sent.send(report("shop")).await.unwrap();
        assert_eq!(rig.reports.recv().await.unwrap().cluster.as_str(), "shop");
        sent.send(report(&"x".repeat(MESSAGE_BYTES_MAX))).await.unwrap();
        // The stream ends; a client may see that as an error or as an end.
        while let Ok(Some(_)) = answers.message().await {}
        assert!(rig.reports.try_recv().is_err());
    };
    tokio::select! {
        served = server => served.unwrap(),
        () = client => {}
    }
}
