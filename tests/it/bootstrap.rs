//! Every bootstrap that Weir writes is one that the real Envoy takes.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

use weir_engine::names::ServiceId;
use weir_proxy_adapter::bootstrap::{
    Destination, Identity, Listener, Options, Protocol, Telemetry, generate, merge,
};
use weir_testbed::{envoy, required};

fn options(telemetry: Telemetry, protocol: Protocol, weir: &[&str]) -> Options {
    let to_shop = |port: u16| Listener {
        at: format!("127.0.0.1:{port}").parse().unwrap(),
        to: Destination::Cluster("shop".into()),
    };
    let by_route = Listener {
        at: "127.0.0.1:8082".parse().unwrap(),
        to: Destination::Route(ServiceId::new("demo", "shop")),
    };
    Options {
        telemetry,
        // A plain n is a boolean to Envoy.
        node: Identity { id: Some("n".into()), cluster: Some("off".into()), ..Default::default() },
        admin: Some("127.0.0.1:9901".parse().unwrap()),
        weir: weir.iter().map(|text| text.parse().unwrap()).collect(),
        protocol,
        clusters_min: 1,
        access_log: telemetry == Telemetry::Push,
        listeners: vec![to_shop(8080), to_shop(8081), by_route],
    }
}

/// What Envoy says of a file; nothing if it takes it.
fn refusal(envoy: &Path, name: &str, text: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(name);
    std::fs::write(&file, text).unwrap();
    let flags = ["--mode", "validate", "--log-level", "error", "-c"];
    let output = Command::new(envoy).args(flags).arg(file).output().unwrap();
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

const VARIANTS: [(Telemetry, Protocol, &[&str]); 4] = [
    (Telemetry::Push, Protocol::Delta, &["10.0.0.1:7400", "10.0.0.2:7400"]),
    (Telemetry::Push, Protocol::StateOfTheWorld, &["weir.mesh:7400"]),
    (Telemetry::Scrape, Protocol::Delta, &["[::1]:7400"]),
    (Telemetry::Scrape, Protocol::StateOfTheWorld, &["weir-0.weir:7400", "weir-1.weir:7400"]),
];

#[test]
fn envoy_takes_what_is_generated() {
    let Some(envoy) = required::or_skip("envoy", envoy::find()) else { return };
    for (telemetry, protocol, weir) in VARIANTS {
        let text = generate(&options(telemetry, protocol, weir)).unwrap();
        assert_eq!(refusal(&envoy, "envoy.yaml", &text), None, "{text}");
    }
}

/// A bootstrap of somebody else's, with another server for ADS and a listener of its own.
const OWN: &str = r#"{
  "node": {"id": "n", "cluster": "web", "metadata": {"version": "1.10", "ratio": 0.1}},
  "dynamicResources": {
    "adsConfig": {
      "apiType": "GRPC",
      "transportApiVersion": "V3",
      "grpcServices": [{"envoyGrpc": {"clusterName": "control"}}]
    },
    "cdsConfig": {"ads": {}, "resourceApiVersion": "V3"}
  },
  "staticResources": {
    "listeners": [{
      "name": "web",
      "address": {"socketAddress": {"address": "127.0.0.1", "portValue": 8080}},
      "filterChains": [{"filters": [{
        "name": "http",
        "typedConfig": {
          "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
          "statPrefix": "web",
          "routeConfig": {"virtualHosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "control"}}]
          }]},
          "httpFilters": [{
            "name": "router",
            "typedConfig": {
              "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
            }
          }]
        }
      }]}]
    }],
    "clusters": [{
      "name": "control",
      "type": "STATIC",
      "loadAssignment": {"clusterName": "control"},
      "typedExtensionProtocolOptions": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
          "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
          "explicitHttpConfig": {"http2ProtocolOptions": {}}
        }
      }
    }]
  }
}"#;

/// The least that Envoy needs to ask anybody for anything.
const LEAST: &str = "node: {id: 'n', cluster: 'web'}";

#[test]
fn envoy_takes_what_is_merged() {
    let Some(envoy) = required::or_skip("envoy", envoy::find()) else { return };
    // What has no number that YAML would read as text is the same in both forms.
    let yaml = OWN.replace(", \"ratio\": 0.1", "");
    for (telemetry, protocol, weir) in VARIANTS {
        for (name, own) in [("envoy.json", OWN), ("envoy.yaml", &yaml), ("least.yaml", LEAST)] {
            let named = options(telemetry, protocol, weir);
            let options = Options { node: Identity::default(), access_log: true, ..named };
            let merged = merge(own, &options).unwrap();
            assert_eq!(refusal(&envoy, name, &merged.yaml), None, "{name}: {}", merged.yaml);
        }
    }
}
