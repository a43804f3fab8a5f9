//! The lists by which proxies find a side's backends: files, replaced as a whole by a rename,
//! so that nobody ever reads half of one.

use serde_json::{Value, json};
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A side's list.
#[derive(Debug)]
pub(super) struct Membership {
    path: PathBuf,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Weir's: `endpoints`, a list of `address`es.
    Endpoints,
    /// Envoy's: a discovery response with the load assignment of this service.
    Assignment { service: String },
}

impl Membership {
    /// A list for Weir to read.
    pub(super) fn file(directory: &Path, side: &str) -> Membership {
        Membership { path: directory.join(side).join("endpoints.yaml"), form: Form::Endpoints }
    }

    /// A list for Envoy to read.
    pub(super) fn assignment(directory: &Path, side: &str) -> Membership {
        let path = directory.join(side).join("endpoints.json");
        Membership { path, form: Form::Assignment { service: format!("demo-{side}") } }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// How an Envoy cluster finds its endpoints here.
    pub(super) fn eds(&self) -> Value {
        // No `watched_directory`: it costs an inotify instance more, and only moves into place
        // are to be noticed, as Envoy does by itself.
        let source = json!({"path": self.path});
        let mut eds = json!({
            "eds_config": {"resource_api_version": "V3", "path_config_source": source},
        });
        if let Form::Assignment { service } = &self.form {
            eds["service_name"] = json!(service);
        }
        eds
    }

    /// Replaces the list.
    pub(super) fn write(&self, addresses: &[SocketAddr]) -> io::Result<()> {
        let directory = self.path.parent().expect("a list lies in its side's directory");
        std::fs::create_dir_all(directory)?;
        let text = match &self.form {
            Form::Endpoints => endpoints(addresses),
            Form::Assignment { service } => assignment(service, addresses).to_string(),
        };
        // Beside the directory that is watched: only the finished file enters it.
        let draft = directory.with_extension("draft");
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, &self.path)
    }
}

fn endpoints(addresses: &[SocketAddr]) -> String {
    let mut text =
        String::from(if addresses.is_empty() { "endpoints: []\n" } else { "endpoints:\n" });
    for address in addresses {
        writeln!(text, "  - address: \"{address}\"").expect("a string takes any text");
    }
    text
}

fn assignment(service: &str, addresses: &[SocketAddr]) -> Value {
    let endpoint = |address: &SocketAddr| {
        let socket = json!({"address": address.ip(), "port_value": address.port()});
        json!({"endpoint": {"address": {"socket_address": socket}}})
    };
    let endpoints = addresses.iter().map(endpoint).collect::<Vec<_>>();
    json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": service,
        "endpoints": [{"lb_endpoints": endpoints}],
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn addresses(ports: &[u16]) -> Vec<SocketAddr> {
        ports.iter().map(|port| SocketAddr::from(([127, 0, 0, 1], *port))).collect()
    }

    #[test]
    fn weir_reads_a_list_of_addresses() {
        let directory = TempDir::new().unwrap();
        let list = Membership::file(directory.path(), "governed");
        list.write(&addresses(&[1001, 1002])).unwrap();
        let expected =
            "endpoints:\n  - address: \"127.0.0.1:1001\"\n  - address: \"127.0.0.1:1002\"\n";
        assert_eq!(std::fs::read_to_string(list.path()).unwrap(), expected);
        list.write(&[]).unwrap();
        assert_eq!(std::fs::read_to_string(list.path()).unwrap(), "endpoints: []\n");
    }

    #[test]
    fn a_list_is_alone_in_its_directory() {
        let directory = TempDir::new().unwrap();
        let list = Membership::assignment(directory.path(), "plain");
        list.write(&addresses(&[1001])).unwrap();
        list.write(&addresses(&[1002])).unwrap();
        let within = list.path().parent().unwrap().read_dir().unwrap();
        assert_eq!(within.count(), 1);
        let text = std::fs::read_to_string(list.path()).unwrap();
        assert!(text.contains("1002") && !text.contains("1001"), "{text}");
    }
}
