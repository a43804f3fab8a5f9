//! Discovery messages on the wire.
//!
//! Own message types instead of the generated ones, for two reasons. The generated `Any` owns its
//! bytes, so every stream would copy every resource once more than needed; and Envoy sends 61 kB
//! of `node` with each request, of which three fields are read: what a type does not list is
//! skipped, not decoded. A test holds these types against the generated ones.

use std::collections::HashMap;

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

use crate::session::{Ask, Dialect, NodeInfo, Request, Response};

/// How Weir names itself to proxies.
const IDENTIFIER: &str = "weir";

#[derive(Clone, PartialEq, Message)]
struct DiscoveryRequest {
    #[prost(string, tag = "1")]
    version_info: String,
    #[prost(message, optional, tag = "2")]
    node: Option<NodeMessage>,
    #[prost(string, repeated, tag = "3")]
    resource_names: Vec<String>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    response_nonce: String,
    #[prost(message, optional, tag = "6")]
    error_detail: Option<ErrorDetail>,
}

#[derive(Clone, PartialEq, Message)]
struct DeltaDiscoveryRequest {
    #[prost(message, optional, tag = "1")]
    node: Option<NodeMessage>,
    #[prost(string, tag = "2")]
    type_url: String,
    #[prost(string, repeated, tag = "3")]
    resource_names_subscribe: Vec<String>,
    #[prost(string, repeated, tag = "4")]
    resource_names_unsubscribe: Vec<String>,
    #[prost(map = "string, string", tag = "5")]
    initial_resource_versions: HashMap<String, String>,
    #[prost(string, tag = "6")]
    response_nonce: String,
    #[prost(message, optional, tag = "7")]
    error_detail: Option<ErrorDetail>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeMessage {
    #[prost(string, tag = "1")]
    id: String,
    /// A struct; only its size is of interest.
    #[prost(bytes = "bytes", tag = "3")]
    metadata: Bytes,
    #[prost(message, optional, tag = "4")]
    locality: Option<Locality>,
    #[prost(string, tag = "6")]
    user_agent_name: String,
    #[prost(string, tag = "7")]
    user_agent_version: String,
    #[prost(message, optional, tag = "8")]
    user_agent_build_version: Option<BuildVersion>,
}

#[derive(Clone, PartialEq, Message)]
struct Locality {
    #[prost(string, tag = "2")]
    zone: String,
}

#[derive(Clone, PartialEq, Message)]
struct BuildVersion {
    #[prost(message, optional, tag = "1")]
    version: Option<SemanticVersion>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct SemanticVersion {
    #[prost(uint32, tag = "1")]
    major: u32,
    #[prost(uint32, tag = "2")]
    minor: u32,
    #[prost(uint32, tag = "3")]
    patch: u32,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorDetail {
    #[prost(string, tag = "2")]
    message: String,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct ControlPlane {
    #[prost(string, tag = "1")]
    identifier: String,
}

#[derive(Clone, PartialEq, Message)]
struct DiscoveryResponse {
    #[prost(string, tag = "1")]
    version_info: String,
    #[prost(message, repeated, tag = "2")]
    resources: Vec<Any>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    nonce: String,
    #[prost(message, optional, tag = "6")]
    control_plane: Option<ControlPlane>,
}

#[derive(Clone, PartialEq, Message)]
struct DeltaDiscoveryResponse {
    #[prost(string, tag = "1")]
    system_version_info: String,
    #[prost(message, repeated, tag = "2")]
    resources: Vec<DeltaResource>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    nonce: String,
    #[prost(string, repeated, tag = "6")]
    removed_resources: Vec<String>,
    #[prost(message, optional, tag = "7")]
    control_plane: Option<ControlPlane>,
}

#[derive(Clone, PartialEq, Message)]
struct DeltaResource {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(message, optional, tag = "2")]
    resource: Option<Any>,
    #[prost(string, tag = "3")]
    name: String,
}

impl From<NodeMessage> for NodeInfo {
    fn from(node: NodeMessage) -> Self {
        let build = node.user_agent_build_version.and_then(|build| build.version);
        let version = build.map_or(node.user_agent_version, |version| {
            format!("{}.{}.{}", version.major, version.minor, version.patch)
        });
        let agent = format!("{} {version}", node.user_agent_name).trim().to_owned();
        let zone = node.locality.unwrap_or_default().zone;
        Self { id: node.id, zone, agent, metadata_bytes: node.metadata.len() }
    }
}

impl From<DiscoveryRequest> for Request {
    fn from(request: DiscoveryRequest) -> Self {
        Self {
            node: request.node.map(Into::into),
            type_url: request.type_url,
            nonce: request.response_nonce,
            error: request.error_detail.map(|detail| detail.message),
            ask: Ask::Names { version: request.version_info, names: request.resource_names },
        }
    }
}

impl From<DeltaDiscoveryRequest> for Request {
    fn from(request: DeltaDiscoveryRequest) -> Self {
        Self {
            node: request.node.map(Into::into),
            type_url: request.type_url,
            nonce: request.response_nonce,
            error: request.error_detail.map(|detail| detail.message),
            ask: Ask::Changes {
                subscribe: request.resource_names_subscribe,
                unsubscribe: request.resource_names_unsubscribe,
                has: request.initial_resource_versions.into_iter().collect(),
            },
        }
    }
}

fn control_plane() -> ControlPlane {
    ControlPlane { identifier: IDENTIFIER.to_owned() }
}

impl From<Response> for DiscoveryResponse {
    fn from(response: Response) -> Self {
        let type_url = response.kind.to_string();
        let any = |body: &Bytes| Any { type_url: type_url.clone(), value: body.clone() };
        Self {
            version_info: response.version.to_string(),
            resources: response.resources.iter().map(|resource| any(&resource.body)).collect(),
            nonce: response.nonce,
            control_plane: Some(control_plane()),
            type_url,
        }
    }
}

impl From<Response> for DeltaDiscoveryResponse {
    fn from(response: Response) -> Self {
        let type_url = response.kind.to_string();
        let any = |body: &Bytes| Any { type_url: type_url.clone(), value: body.clone() };
        let resources = response.resources.iter().map(|resource| DeltaResource {
            version: resource.version.to_string(),
            resource: Some(any(&resource.body)),
            name: resource.name.to_string(),
        });
        Self {
            system_version_info: response.version.to_string(),
            resources: resources.collect(),
            removed_resources: response.removed.iter().map(ToString::to_string).collect(),
            nonce: response.nonce,
            control_plane: Some(control_plane()),
            type_url,
        }
    }
}

/// Reads and writes the messages of one dialect.
#[derive(Clone, Copy, Debug)]
pub struct DiscoveryCodec(pub Dialect);

impl Codec for DiscoveryCodec {
    type Encode = Response;
    type Decode = Request;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for DiscoveryCodec {
    type Item = Response;
    type Error = Status;

    fn encode(&mut self, response: Response, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        match self.0 {
            Dialect::StateOfTheWorld => put(&DiscoveryResponse::from(response), buffer),
            Dialect::Incremental => put(&DeltaDiscoveryResponse::from(response), buffer),
        }
    }
}

impl Decoder for DiscoveryCodec {
    type Item = Request;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Request>, Status> {
        read(self.0, buffer).map(Some)
    }
}

fn put(message: &impl Message, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
    buffer.reserve(message.encoded_len());
    encode(message, buffer)
}

fn encode(message: &impl Message, buffer: &mut impl BufMut) -> Result<(), Status> {
    message.encode(buffer).map_err(|error| Status::internal(format!("cannot encode: {error}")))
}

fn read(dialect: Dialect, buffer: impl Buf) -> Result<Request, Status> {
    let request = match dialect {
        Dialect::StateOfTheWorld => DiscoveryRequest::decode(buffer).map(Request::from),
        Dialect::Incremental => DeltaDiscoveryRequest::decode(buffer).map(Request::from),
    };
    request.map_err(|error| Status::invalid_argument(format!("not a discovery request: {error}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use envoy_types::pb::envoy::config::core::v3::Node;
    use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
    use envoy_types::pb::envoy::service::discovery::v3 as generated;
    use envoy_types::pb::envoy::r#type::v3::SemanticVersion as GeneratedVersion;
    use envoy_types::pb::google::protobuf::{Struct, Value};
    use envoy_types::pb::google::rpc::Status as GeneratedStatus;

    use super::*;
    use crate::resource::{Resource, TypeUrl};
    use crate::view::PushVersion;

    fn node() -> Node {
        let version = GeneratedVersion { major_number: 1, minor_number: 40, patch: 2 };
        let build = envoy_types::pb::envoy::config::core::v3::BuildVersion {
            version: Some(version),
            ..Default::default()
        };
        Node {
            id: "n1".into(),
            user_agent_name: "envoy".into(),
            user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(build)),
            metadata: Some(Struct {
                fields: std::iter::once(("k".to_owned(), Value::default())).collect(),
            }),
            client_features: vec!["a feature".into()],
            ..Default::default()
        }
    }

    #[test]
    fn reads_what_the_generated_types_write() {
        let error = GeneratedStatus { code: 3, message: "no".into(), ..Default::default() };
        let request = generated::DiscoveryRequest {
            version_info: "1.2".into(),
            node: Some(node()),
            resource_names: vec!["a".into(), "b".into()],
            type_url: "t".into(),
            response_nonce: "7".into(),
            error_detail: Some(error.clone()),
            ..Default::default()
        };
        let read_back = read(Dialect::StateOfTheWorld, &*request.encode_to_vec()).unwrap();
        let info = read_back.node.unwrap();
        assert_eq!((&*info.id, &*info.agent), ("n1", "envoy 1.40.2"));
        assert_eq!(info.metadata_bytes, node().metadata.unwrap().encoded_len());
        assert_eq!((&*read_back.type_url, &*read_back.nonce), ("t", "7"));
        assert_eq!(read_back.error.as_deref(), Some("no"));
        let names = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(read_back.ask, Ask::Names { version: "1.2".into(), names });

        let request = generated::DeltaDiscoveryRequest {
            node: Some(node()),
            type_url: "t".into(),
            resource_names_subscribe: vec!["a".into()],
            resource_names_unsubscribe: vec!["b".into()],
            initial_resource_versions: std::iter::once(("c".into(), "9".into())).collect(),
            response_nonce: "7".into(),
            error_detail: Some(error),
            ..Default::default()
        };
        let read_back = read(Dialect::Incremental, &*request.encode_to_vec()).unwrap();
        assert_eq!((&*read_back.type_url, &*read_back.nonce), ("t", "7"));
        assert_eq!(read_back.error.as_deref(), Some("no"));
        let ask = Ask::Changes {
            subscribe: vec!["a".into()],
            unsubscribe: vec!["b".into()],
            has: vec![("c".into(), "9".into())],
        };
        assert_eq!(read_back.ask, ask);
    }

    #[test]
    fn writes_what_the_generated_types_read() {
        let resource = Arc::new(Resource::new("a", &5_u32));
        let response = Response {
            kind: TypeUrl::Endpoints,
            version: PushVersion { epoch: 2, sequence: 9 },
            nonce: "7".into(),
            resources: vec![resource.clone()],
            removed: vec!["gone".into()],
        };
        let mut bytes = Vec::new();
        encode(&DiscoveryResponse::from(response.clone()), &mut bytes).unwrap();
        let sotw = generated::DiscoveryResponse::decode(&*bytes).unwrap();
        assert_eq!((&*sotw.version_info, &*sotw.nonce), ("2.9", "7"));
        assert_eq!(sotw.type_url, TypeUrl::Endpoints.as_str());
        assert_eq!(sotw.resources[0].type_url, TypeUrl::Endpoints.as_str());
        assert_eq!(sotw.resources[0].value, resource.body);
        assert_eq!(sotw.control_plane.unwrap().identifier, "weir");

        bytes.clear();
        encode(&DeltaDiscoveryResponse::from(response), &mut bytes).unwrap();
        let delta = generated::DeltaDiscoveryResponse::decode(&*bytes).unwrap();
        assert_eq!((&*delta.system_version_info, &*delta.nonce), ("2.9", "7"));
        assert_eq!(delta.type_url, TypeUrl::Endpoints.as_str());
        assert_eq!(delta.resources[0].name, "a");
        assert_eq!(delta.resources[0].version, resource.version.to_string());
        assert_eq!(delta.resources[0].resource.as_ref().unwrap().value, resource.body);
        assert_eq!(delta.removed_resources, ["gone"]);
    }

    #[test]
    fn nonsense_is_an_invalid_argument() {
        for dialect in [Dialect::StateOfTheWorld, Dialect::Incremental] {
            let status = read(dialect, &[0xff_u8, 0xff, 0xff][..]).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
            // Invalid UTF-8 in a type URL.
            let tag = if dialect == Dialect::Incremental { 0x12 } else { 0x22 };
            let status = read(dialect, &[tag, 1, 0xff][..]).unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument);
        }
    }
}
