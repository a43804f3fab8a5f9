//! A client's requests on their way to a foreign server.

use bytes::Bytes;

use super::envelope::unmarked;
use super::fields::{Fields, Malformed, inner, put_bytes, rewritten, text};
use crate::session::Dialect;

// envoy.service.discovery.v3: of DiscoveryRequest, then of DeltaDiscoveryRequest.
const VERSION: u32 = 1;
const NODE: u32 = 2;
const NAMES: u32 = 3;
const TYPE: u32 = 4;
const NONCE: u32 = 5;
const ERROR: u32 = 6;
const DELTA_NODE: u32 = 1;
const DELTA_TYPE: u32 = 2;
const DELTA_SUBSCRIBE: u32 = 3;
const DELTA_UNSUBSCRIBE: u32 = 4;
const DELTA_INITIAL: u32 = 5;
const DELTA_NONCE: u32 = 6;
const DELTA_ERROR: u32 = 7;
// Of envoy.config.core.v3.Node and its locality.
const ID: u32 = 1;
const LOCALITY: u32 = 4;
const ZONE: u32 = 2;
// Of google.rpc.Status, and of an entry of a map.
const MESSAGE: u32 = 2;
const KEY: u32 = 1;

/// A request, as far as the relay reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Who asks. The first one of a stream has to say so: a server may not survive one without.
    pub node: Option<Client>,
    /// What is asked for.
    pub type_url: String,
    /// Which response it answers; empty: none.
    pub nonce: String,
    /// Names: all that are wanted, or those that are wanted from now on.
    pub names: Vec<String>,
    /// Names that are wanted no more; only in incremental ones.
    pub unwanted: Vec<String>,
    /// Names that the client has already; only in incremental ones.
    pub initial: Vec<String>,
    /// What was wrong with the response that it answers, if it was refused.
    pub error: Option<String>,
}

/// Who asks, as far as it matters here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Client {
    /// Its name.
    pub id: String,
    /// The zone in which it runs; empty where it does not say.
    pub zone: String,
}

impl Client {
    fn read(node: &[u8]) -> Result<Self, Malformed> {
        let locality = inner(node, LOCALITY)?;
        Ok(Self { id: text(node, ID)?.to_owned(), zone: text(locality, ZONE)?.to_owned() })
    }
}

/// What is changed before a server sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Another nonce; empty: an answer to nothing.
    pub nonce: Option<String>,
    /// Another version, where the stream has one for all; without one: the client's, as the server gave it.
    pub version: Option<String>,
    /// Whether what the client said of an error is left out: it was not about what the server sent.
    pub forgive: bool,
    /// Whether names are left out, which go by themselves; only of incremental ones.
    pub nameless: bool,
    /// Whether the versions of resources that the client has are blanked, so that a server sends all of
    /// them: what was changed on the way is not what it believes the client has. The names stay, since
    /// servers find by them what is gone.
    pub blank: bool,
}

impl Request {
    /// Reads a request.
    ///
    /// # Errors
    ///
    /// If it is no message of its kind.
    pub fn read(bytes: &[u8], dialect: Dialect) -> Result<Self, Malformed> {
        let mut request = Self::default();
        for field in Fields::of(bytes) {
            let field = field?;
            match (field.number, dialect) {
                (NODE, Dialect::StateOfTheWorld) | (DELTA_NODE, Dialect::Incremental) => {
                    request.node = Some(Client::read(field.bytes()?)?);
                }
                (TYPE, Dialect::StateOfTheWorld) | (DELTA_TYPE, Dialect::Incremental) => {
                    field.text()?.clone_into(&mut request.type_url);
                }
                (NONCE, Dialect::StateOfTheWorld) | (DELTA_NONCE, Dialect::Incremental) => {
                    field.text()?.clone_into(&mut request.nonce);
                }
                (NAMES, Dialect::StateOfTheWorld) | (DELTA_SUBSCRIBE, Dialect::Incremental) => {
                    request.names.push(field.text()?.to_owned());
                }
                (ERROR, Dialect::StateOfTheWorld) | (DELTA_ERROR, Dialect::Incremental) => {
                    request.error = Some(text(field.bytes()?, MESSAGE)?.to_owned());
                }
                (DELTA_UNSUBSCRIBE, Dialect::Incremental) => {
                    request.unwanted.push(field.text()?.to_owned());
                }
                (DELTA_INITIAL, Dialect::Incremental) => {
                    request.initial.push(text(field.bytes()?, KEY)?.to_owned());
                }
                _ => {}
            }
        }
        Ok(request)
    }
}

/// The request as the server is to see it: with versions that it gave itself, whatever the client has.
///
/// # Errors
///
/// If it is no message of its kind.
pub fn for_server(bytes: &[u8], dialect: Dialect, change: &Change) -> Result<Bytes, Malformed> {
    let nonce_field = match dialect {
        Dialect::StateOfTheWorld => NONCE,
        Dialect::Incremental => DELTA_NONCE,
    };
    let mut out = rewritten(bytes, |field, out| match (field.number, dialect) {
        (number, _) if number == nonce_field && change.nonce.is_some() => Ok(true),
        (VERSION, Dialect::StateOfTheWorld) if change.version.is_some() => Ok(true),
        (ERROR, Dialect::StateOfTheWorld) | (DELTA_ERROR, Dialect::Incremental) => {
            Ok(change.forgive)
        }
        (VERSION, Dialect::StateOfTheWorld) => {
            // A version that the server did not give makes some send everything again, for ever.
            let version = field.text()?;
            let own = unmarked(version);
            if own != version {
                put_bytes(out, VERSION, own.as_bytes());
            }
            Ok(own != version)
        }
        (DELTA_SUBSCRIBE | DELTA_UNSUBSCRIBE, Dialect::Incremental) => Ok(change.nameless),
        (DELTA_INITIAL, Dialect::Incremental) if change.blank => {
            let key = text(field.bytes()?, KEY)?;
            let mut entry = Vec::new();
            put_bytes(&mut entry, KEY, key.as_bytes());
            put_bytes(out, DELTA_INITIAL, &entry);
            Ok(true)
        }
        _ => Ok::<_, Malformed>(false),
    })?;
    if let Some(nonce) = change.nonce.as_ref().filter(|nonce| !nonce.is_empty()) {
        put_bytes(&mut out, nonce_field, nonce.as_bytes());
    }
    let version = change.version.as_ref().filter(|_| dialect == Dialect::StateOfTheWorld);
    if let Some(version) = version.filter(|version| !version.is_empty()) {
        put_bytes(&mut out, VERSION, version.as_bytes());
    }
    Ok(out.into())
}

/// An answer of the relay's own to an incremental response.
pub(super) fn taken(type_url: &str, nonce: &str) -> Bytes {
    let mut out = Vec::new();
    put_bytes(&mut out, DELTA_TYPE, type_url.as_bytes());
    put_bytes(&mut out, DELTA_NONCE, nonce.as_bytes());
    out.into()
}

/// A request of the relay's own for names, which answers nothing.
pub(super) fn asking(bytes: &[u8]) -> Result<Bytes, Malformed> {
    let change = Change { nonce: Some(String::new()), forgive: true, ..Change::default() };
    for_server(bytes, Dialect::Incremental, &change)
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
    use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
    use envoy_types::pb::google::rpc::Status;
    use prost::Message;

    use super::*;

    fn whole() -> DiscoveryRequest {
        DiscoveryRequest {
            version_info: "v/182~w0123456789ab".to_owned(),
            node: Some(Node {
                id: "edge-1".to_owned(),
                locality: Some(Locality { zone: "b".to_owned(), ..Default::default() }),
                ..Default::default()
            }),
            resource_names: vec!["a".to_owned(), "b".to_owned()],
            type_url: "t".to_owned(),
            response_nonce: "weir:4".to_owned(),
            error_detail: Some(Status { message: "no".to_owned(), ..Default::default() }),
            ..Default::default()
        }
    }

    fn incremental() -> DeltaDiscoveryRequest {
        let had = [("a", "v1"), ("b", "v2~w00")].map(|(k, v)| (k.to_owned(), v.to_owned()));
        DeltaDiscoveryRequest {
            type_url: "t".to_owned(),
            resource_names_subscribe: vec!["c".to_owned()],
            resource_names_unsubscribe: vec!["d".to_owned()],
            initial_resource_versions: had.into(),
            response_nonce: "weir:4".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn a_request_says_who_asks_for_what_and_answers_what() {
        let read = Request::read(&whole().encode_to_vec(), Dialect::StateOfTheWorld).unwrap();
        let client = Client { id: "edge-1".to_owned(), zone: "b".to_owned() };
        assert_eq!(read.node, Some(client));
        assert_eq!((read.names.len(), read.error.as_deref()), (2, Some("no")));
        let read = Request::read(&incremental().encode_to_vec(), Dialect::Incremental).unwrap();
        assert_eq!((read.node, read.nonce.as_str(), read.error), (None, "weir:4", None));
        assert_eq!((read.names, read.unwanted), (vec!["c".to_owned()], vec!["d".to_owned()]));
        let mut initial = read.initial;
        initial.sort();
        assert_eq!(initial, ["a", "b"]);
    }

    #[test]
    fn a_server_sees_its_own_versions_and_nonces_only() {
        let change = Change { nonce: Some("n7".to_owned()), ..Change::default() };
        let bytes =
            for_server(&whole().encode_to_vec(), Dialect::StateOfTheWorld, &change).unwrap();
        let expected = DiscoveryRequest {
            version_info: "v/182".to_owned(),
            response_nonce: "n7".to_owned(),
            ..whole()
        };
        assert_eq!(DiscoveryRequest::decode(bytes).unwrap(), expected);
    }

    #[test]
    fn a_refusal_becomes_an_acceptance_of_what_the_server_sent() {
        let change = Change {
            nonce: Some("n7".to_owned()),
            version: Some("v/183".to_owned()),
            forgive: true,
            ..Change::default()
        };
        let bytes =
            for_server(&whole().encode_to_vec(), Dialect::StateOfTheWorld, &change).unwrap();
        let expected = DiscoveryRequest {
            version_info: "v/183".to_owned(),
            response_nonce: "n7".to_owned(),
            error_detail: None,
            ..whole()
        };
        assert_eq!(DiscoveryRequest::decode(bytes).unwrap(), expected);
    }

    #[test]
    fn names_that_a_client_has_stay_and_their_versions_are_blanked() {
        let change = Change { nonce: Some(String::new()), blank: true, ..Change::default() };
        let bytes =
            for_server(&incremental().encode_to_vec(), Dialect::Incremental, &change).unwrap();
        let expected = DeltaDiscoveryRequest {
            initial_resource_versions: ["a", "b"].map(|k| (k.to_owned(), String::new())).into(),
            response_nonce: String::new(),
            ..incremental()
        };
        assert_eq!(DeltaDiscoveryRequest::decode(bytes).unwrap(), expected);
    }

    #[test]
    fn what_needs_no_change_is_the_same_to_the_byte() {
        let mut bytes = incremental().encode_to_vec();
        put_bytes(&mut bytes, 1_000, b"what is this");
        let same = for_server(&bytes, Dialect::Incremental, &Change::default()).unwrap();
        assert_eq!(same, bytes);
        let plain = DiscoveryRequest { version_info: "v/182".to_owned(), ..whole() };
        let bytes = plain.encode_to_vec();
        let same = for_server(&bytes, Dialect::StateOfTheWorld, &Change::default()).unwrap();
        assert_eq!(same, bytes);
    }
}
