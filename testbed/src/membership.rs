//! The lists by which proxies find backends: files, replaced as a whole by a rename, so that
//! nobody ever reads half of one.

use serde_json::{Value, json};
use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// One backend on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where it listens.
    pub address: SocketAddr,
    /// The zone that it stands in; empty for none.
    pub zone: String,
    /// Requests that it works on at once, where it says so. Envoy has no word for it.
    pub concurrency: Option<usize>,
}

impl Listed {
    /// One of which nothing but its address is known.
    pub fn plain(address: SocketAddr) -> Listed {
        Listed { address, zone: String::new(), concurrency: None }
    }
}

/// A list.
#[derive(Debug)]
pub struct Membership {
    path: PathBuf,
    form: Form,
}

#[derive(Debug)]
enum Form {
    /// Weir's: `endpoints`, a list of `address`es.
    Endpoints,
    /// Envoy's: a discovery response with the load assignment of a service.
    Assignment { service: String },
}

impl Membership {
    /// A list for Weir to read.
    pub fn file(directory: &Path, side: &str) -> Membership {
        Membership { path: directory.join(side).join("endpoints.yaml"), form: Form::Endpoints }
    }

    /// A list for Envoy to read.
    pub fn assignment(directory: &Path, side: &str) -> Membership {
        let path = directory.join(side).join("endpoints.json");
        Membership { path, form: Form::Assignment { service: side.to_owned() } }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How an Envoy cluster finds its endpoints here.
    pub fn eds(&self) -> Value {
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
    pub fn write(&self, listed: &[Listed]) -> io::Result<()> {
        let directory = self.path.parent().expect("a list lies in its side's directory");
        std::fs::create_dir_all(directory)?;
        let text = match &self.form {
            Form::Endpoints => endpoints(listed),
            Form::Assignment { service } => assignment(service, listed).to_string(),
        };
        // Beside the directory that is watched: only the finished file enters it.
        let draft = directory.with_extension("draft");
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, &self.path)
    }
}

fn endpoints(listed: &[Listed]) -> String {
    let mut text = String::from(if listed.is_empty() { "endpoints: []\n" } else { "endpoints:\n" });
    for Listed { address, zone, concurrency } in listed {
        let mut add = |line: std::fmt::Arguments<'_>| {
            text.write_fmt(line).expect("a string takes any text");
        };
        add(format_args!("  - address: \"{address}\"\n"));
        if !zone.is_empty() {
            add(format_args!("    locality: {{zone: {}}}\n", json!(zone)));
        }
        if let Some(concurrency) = concurrency {
            add(format_args!("    concurrency: {concurrency}\n"));
        }
    }
    text
}

/// A locality per zone, in the order in which they come.
fn assignment(service: &str, listed: &[Listed]) -> Value {
    let mut zones: Vec<&str> = Vec::new();
    for one in listed {
        if !zones.contains(&one.zone.as_str()) {
            zones.push(&one.zone);
        }
    }
    let endpoint = |one: &Listed| {
        let socket = json!({"address": one.address.ip(), "port_value": one.address.port()});
        json!({"endpoint": {"address": {"socket_address": socket}}})
    };
    let locality = |zone: &str| {
        let endpoints = listed.iter().filter(|one| one.zone == zone).map(endpoint);
        let mut locality = json!({"lb_endpoints": endpoints.collect::<Vec<_>>()});
        if !zone.is_empty() {
            locality["locality"] = json!({"zone": zone});
        }
        locality
    };
    json!({"resources": [{
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": service,
        "endpoints": zones.into_iter().map(locality).collect::<Vec<_>>(),
    }]})
}

#[cfg(test)]
mod tests {
    use super::*;
    use tempfile::TempDir;

    fn addresses(ports: &[u16]) -> Vec<Listed> {
        let plain = |port: &u16| Listed::plain(SocketAddr::from(([127, 0, 0, 1], *port)));
        ports.iter().map(plain).collect()
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
    fn what_is_known_of_a_backend_stands_in_the_list() {
        let directory = TempDir::new().unwrap();
        let known =
            Listed { zone: "a".to_owned(), concurrency: Some(8), ..addresses(&[1001])[0].clone() };
        let list = Membership::file(directory.path(), "governed");
        list.write(std::slice::from_ref(&known)).unwrap();
        let expected = "endpoints:\n  - address: \"127.0.0.1:1001\"\n    locality: {zone: \"a\"}\n    \
                        concurrency: 8\n";
        assert_eq!(std::fs::read_to_string(list.path()).unwrap(), expected);
        let list = Membership::assignment(directory.path(), "plain");
        let other = Listed { zone: "b".to_owned(), ..addresses(&[1003])[0].clone() };
        list.write(&[
            known.clone(),
            other,
            Listed { zone: "a".to_owned(), ..addresses(&[1002])[0].clone() },
        ])
        .unwrap();
        let value: Value = serde_json::from_slice(&std::fs::read(list.path()).unwrap()).unwrap();
        let localities = value["resources"][0]["endpoints"].as_array().unwrap();
        let zones = localities.iter().map(|one| one["locality"]["zone"].as_str().unwrap());
        assert_eq!(zones.collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(localities[0]["lb_endpoints"].as_array().unwrap().len(), 2);
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
