//! The bootstrap of proxyless gRPC clients: the file that `GRPC_XDS_BOOTSTRAP` names.

use serde_json::{Value, json};

use super::{HostPort, Identity, Problem};

/// What the bootstrap of a gRPC client is asked to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcOptions {
    /// Who the client is: its id has to be unique among clients and proxies.
    pub node: Identity,
    /// Where Weir's xDS port is: one address, or more of replicas, of which the first that answers
    /// is taken.
    pub weir: Vec<HostPort>,
    /// The namespace in which `xds:///NAME` looks; none: `xds:///NAMESPACE/NAME`.
    pub namespace: Option<String>,
}

/// Writes the bootstrap, as JSON.
///
/// # Errors
///
/// All that is wrong with the options.
pub fn grpc(options: &GrpcOptions) -> Result<String, Vec<Problem>> {
    let problems = check(options);
    if !problems.is_empty() {
        return Err(problems);
    }
    let servers = options.weir.iter().map(|at| {
        json!({
            "server_uri": at.to_string(),
            "channel_creds": [{ "type": "insecure" }],
            "server_features": ["xds_v3"],
        })
    });
    let Identity { id, cluster, locality } = &options.node;
    let mut node = json!({
        "id": id,
        "locality": {
            "region": locality.region.as_str(),
            "zone": locality.zone.as_str(),
            "sub_zone": locality.sub_zone.as_str(),
        },
    });
    if let Some(cluster) = cluster {
        node["cluster"] = json!(cluster);
    }
    let mut bootstrap = json!({ "xds_servers": servers.collect::<Vec<_>>(), "node": node });
    if let Some(namespace) = &options.namespace {
        let template = format!("{namespace}/%s");
        bootstrap["client_default_listener_resource_name_template"] = Value::String(template);
    }
    let text = serde_json::to_string_pretty(&bootstrap).expect("string keys and no numbers");
    Ok(text + "\n")
}

fn check(options: &GrpcOptions) -> Vec<Problem> {
    let mut problems = Vec::new();
    if options.weir.is_empty() {
        let mend = "give the address of its xDS port";
        problems.push(Problem::new("", "where weir listens is not said", mend));
    }
    if let Some(port) = options.weir.iter().find(|at| at.port == 0) {
        problems.push(Problem::new("", format!("{port} has no port"), "give weir's xDS port"));
    }
    if options.node.id.as_deref().unwrap_or_default().is_empty() {
        let mend = "give an id that no other client has";
        problems.push(Problem::new("", "who the client is is not said", mend));
    }
    if options.namespace.as_ref().is_some_and(|name| name.contains(['/', '%'])) {
        let mend = "write the name alone";
        problems.push(Problem::new("", "a namespace has neither / nor %", mend));
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(namespace: Option<&str>) -> GrpcOptions {
        GrpcOptions {
            node: Identity { id: Some("client-1".to_owned()), ..Identity::default() },
            weir: vec!["127.0.0.1:18010".parse().unwrap()],
            namespace: namespace.map(str::to_owned),
        }
    }

    #[test]
    fn leads_to_weir_and_into_a_namespace() {
        let text = grpc(&options(Some("demo"))).unwrap();
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["xds_servers"][0]["server_uri"], "127.0.0.1:18010");
        assert_eq!(read["client_default_listener_resource_name_template"], "demo/%s");
        assert_eq!(read["node"]["id"], "client-1");
        assert!(!grpc(&options(None)).unwrap().contains("template"));
    }

    #[test]
    fn says_all_that_is_wrong() {
        let wrong = GrpcOptions {
            node: Identity::default(),
            weir: vec!["127.0.0.1:0".parse().unwrap()],
            namespace: Some("a/b".to_owned()),
        };
        assert_eq!(grpc(&wrong).unwrap_err().len(), 3);
    }
}
