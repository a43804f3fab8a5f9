//! What keeps `weir run` from starting, and what does not.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use weir_testbed::ports;
use weir_tests::proxy::{self, Proxy};
use weir_tests::until;
use weir_tests::weir::{Weir, run};
use weir_tests::world::{policy, write};

use super::{FAILED, refused};

fn unused() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, ports::unused().unwrap()))
}

#[test]
fn a_used_port_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    for name in ["xds", "api", "metrics"] {
        let mut arguments = vec!["run".to_owned(), "--data-dir".to_owned(), data.clone()];
        for other in ["xds", "api", "metrics"] {
            let address = if other == name { taken.clone() } else { "127.0.0.1:0".to_owned() };
            arguments.extend([format!("--listen-{other}"), address]);
        }
        let (setting, flag) = (format!("listen.{name}"), format!("--listen-{name}"));
        refused(&run(arguments), FAILED, &[&taken, "in use", &setting, &flag]);
    }
}

#[test]
fn an_address_of_another_machine_is_named() {
    let ended = run(["run", "--listen-xds", "192.0.2.1:18010"]);
    refused(&ended, FAILED, &["192.0.2.1:18010", "no such address", "listen.xds"]);
}

#[test]
fn a_data_folder_that_cannot_be_written_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "file", "");
    let file = folder.path().join("file").display().to_string();
    for data in ["/proc/weir", &file] {
        let any = "127.0.0.1:0";
        let flags = ["run", "--data-dir", data, "--listen-xds", any, "--listen-api", any];
        let ended = run(flags.into_iter().chain(["--listen-metrics", any]));
        refused(&ended, FAILED, &[data, "data_dir"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_prometheus_is_said_and_everything_else_runs() {
    let nobody = unused();
    let folder = tempfile::tempdir().unwrap();
    let service = "services: [{name: shop, endpoints: {telemetry: true}}]";
    let config = format!(
        "data_dir: data\n{service}\nsources: [{{prometheus: {{url: 'http://{nobody}'}}}}]\n"
    );
    write(folder.path(), "weir.yaml", &config);
    let weir = Weir::start(folder.path(), unused()).await;
    let source = async || {
        let sources = weir.ask("/api/v1/sources").await.as_array().cloned().unwrap_or_default();
        sources.into_iter().find(|source| source["kind"] == "prometheus").unwrap_or_default()
    };
    until("it is shown", async || source().await["error"].is_string()).await;
    let source = source().await;
    assert!(source["target"].as_str().unwrap().contains(&nobody.to_string()), "{source}");
    assert!(source["error"].as_str().unwrap().contains("refused"), "{source}");
    weir.more_steps(2).await;
    let said = weir.events().into_iter().filter(|event| event["message"] == "source failed");
    assert_eq!(said.count(), 1, "it is said once, not at every try");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_policy_folder_is_said_and_mended_while_it_runs() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "weir.yaml", "data_dir: data\npolicies: goals\n");
    let weir = Weir::start(folder.path(), unused()).await;
    let policies = async || weir.ask("/api/v1/policies").await[0].clone();
    until("it is shown", async || policies().await["state"] == "refused").await;
    let problem = policies().await["problems"][0].clone();
    assert!(problem["what"].as_str().unwrap().contains("goals"), "{problem}");
    assert!(problem["mend"].as_str().unwrap().contains("policies"), "{problem}");
    assert!(weir.said("goals"));

    write(folder.path(), "goals/shop.yaml", &policy("Observe"));
    until("it is in force", async || policies().await["state"] == "inForce").await;
    assert_eq!(policies().await["name"], "demo/shop");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_filter_that_cannot_be_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let mut command = weir_tests::weir::command(["run", "--data-dir", &data]);
    // It ends at once, on an address that this machine does not have.
    command.args(["--listen-xds", "192.0.2.1:18010"]).env("WEIR_LOG", "weir=loud");
    let ended = command.output().unwrap().into();
    refused(&ended, FAILED, &["WEIR_LOG=weir=loud", "debug", "info is used"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_that_another_weir_uses_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "weir.yaml", "data_dir: data\n");
    let mut first = Weir::start(folder.path(), unused()).await;
    let data = folder.path().join("data").display().to_string();
    let any = "127.0.0.1:0";
    let flags = ["run", "--data-dir", &data, "--listen-xds", any, "--listen-api", any];
    let second = run(flags.into_iter().chain(["--listen-metrics", any]));
    refused(&second, FAILED, &[&data, "another Weir", "data_dir"]);
    first.more_steps(2).await;
    first.child.kill().await.unwrap();
    Weir::start(folder.path(), unused()).await.more_steps(2).await;
    for segment in weir_tests::journal::segments(&folder.path().join("data")) {
        segment.replay();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_state_is_said_and_the_one_before_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let service = "{namespace: demo, name: shop, endpoints: {file: shop.yaml}}";
    write(folder.path(), "weir.yaml", &format!("data_dir: data\nservices: [{service}]\n"));
    let saved = |generation: u8| folder.path().join(format!("data/state/last-good.{generation}"));
    write(folder.path(), "shop.yaml", "endpoints: [127.0.0.1:1, 127.0.0.1:2]");
    let mut weir = Weir::start(folder.path(), unused()).await;
    until("one is saved", async || saved(0).is_file()).await;
    write(folder.path(), "shop.yaml", "endpoints: [127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3]");
    until("two are saved", async || saved(1).is_file()).await;
    weir.child.kill().await.unwrap();
    std::fs::write(saved(0), "damaged").unwrap();
    std::fs::remove_file(folder.path().join("shop.yaml")).unwrap();

    let weir = Weir::start(folder.path(), unused()).await;
    assert!(weir.said("a saved state is passed over") && weir.said("last-good.0"));
    let mut proxy = Proxy::subscribe(weir.xds, "proxy-1").await.unwrap();
    assert_eq!(proxy::ports(&proxy.next().await.unwrap())[..2], [1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_services_says_that_it_only_watches() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "weir.yaml", "data_dir: data\n");
    let weir = Weir::start(folder.path(), unused()).await;
    assert!(weir.said("no service is configured") && weir.said("--config FILE"));
}
