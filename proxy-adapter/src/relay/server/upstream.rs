//! The way to the server that decides: one connection and one stream for each of a proxy's.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::uri::PathAndQuery;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::{KeyAndValueRef, MetadataMap};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Uri};
use tonic::{Request, Status, Streaming};

use crate::raw::Raw;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How often a quiet connection is tried. Servers of this kind close one that is tried more often than
/// every 15 s.
const KEEPALIVE: Duration = Duration::from_secs(30);

/// How long the other side may take to answer that.
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);

/// The largest response that is taken: a mesh of tens of thousands of endpoints in one message.
const RESPONSE_MAX: usize = 256 << 20;

/// Requests that may wait for a server that does not read.
const REQUESTS_MAX: usize = 1_024;

/// Headers of one connection, which are not the proxy's.
const HOP: [&str; 8] = [
    "te",
    "content-type",
    "user-agent",
    "grpc-accept-encoding",
    "grpc-encoding",
    "grpc-timeout",
    "connection",
    "x-forwarded-for",
];

/// Where the server is, and how to present oneself.
#[derive(Clone)]
pub struct Upstream {
    /// `http://istiod.istio-system:15010` or `https://…`.
    pub address: Uri,
    /// The certificates by which the server is known, in PEM; none: those of the system are not used, and
    /// `https` cannot be.
    pub authority: Option<Vec<u8>>,
    /// The relay's own certificate and key, in PEM, where the server asks for one.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// The name in the server's certificate, where it is not the address's.
    pub server_name: Option<String>,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the key.
        f.debug_struct("Upstream")
            .field("address", &self.address)
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl Upstream {
    /// How to connect.
    ///
    /// # Errors
    ///
    /// If the certificates are none.
    pub fn endpoint(&self) -> Result<Endpoint, tonic::transport::Error> {
        let endpoint = Endpoint::from(self.address.clone())
            .connect_timeout(CONNECT)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_ANSWER)
            .keep_alive_while_idle(true);
        if self.address.scheme_str() != Some("https") {
            return Ok(endpoint);
        }
        let mut tls = ClientTlsConfig::new();
        if let Some(authority) = &self.authority {
            tls = tls.ca_certificate(Certificate::from_pem(authority));
        }
        if let Some((certificate, key)) = &self.identity {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        endpoint.tls_config(tls)
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Streaming<Bytes>, Status>> + Send>>;

/// A stream to the server. It is opened while requests already wait for it.
pub(super) struct Stream {
    requests: mpsc::Sender<Bytes>,
    responses: Responses,
}

enum Responses {
    Opening(Opening),
    Open(Box<Streaming<Bytes>>),
}

impl Stream {
    /// Opens a stream of that method, for whom the metadata name.
    pub(super) fn open(endpoint: &Endpoint, path: PathAndQuery, metadata: &MetadataMap) -> Self {
        let (requests, waiting) = mpsc::channel(REQUESTS_MAX);
        let mut request = Request::new(ReceiverStream::new(waiting));
        *request.metadata_mut() = forwarded(metadata);
        let endpoint = endpoint.clone();
        let opening = async move {
            let channel = endpoint.connect().await.map_err(|error| unreachable(&error))?;
            let mut client =
                tonic::client::Grpc::new(channel).max_decoding_message_size(RESPONSE_MAX);
            client.ready().await.map_err(|error| unreachable(&error))?;
            Ok(client.streaming(request, path, Raw).await?.into_inner())
        };
        Self { requests, responses: Responses::Opening(Box::pin(opening)) }
    }

    /// Sends a request, or says that the server does not read.
    pub(super) fn send(&self, request: Bytes) -> Result<(), Status> {
        self.requests.try_send(request).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Status::unavailable("the control plane does not read; try again")
            }
            mpsc::error::TrySendError::Closed(_) => ended(),
        })
    }

    /// The next response. A call that is given up loses nothing.
    pub(super) async fn next(&mut self) -> Result<Bytes, Status> {
        loop {
            match &mut self.responses {
                Responses::Opening(opening) => {
                    self.responses = Responses::Open(Box::new(opening.await?));
                }
                Responses::Open(stream) => {
                    return stream.message().await?.ok_or_else(ended);
                }
            }
        }
    }
}

fn ended() -> Status {
    Status::unavailable("the control plane has ended the stream")
}

fn unreachable(error: &tonic::transport::Error) -> Status {
    let mut causes = Vec::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    Status::unavailable(format!("the control plane cannot be reached: {}", causes.join(": ")))
}

/// What the proxy says of itself: its token and names, and nothing of its connection.
fn forwarded(metadata: &MetadataMap) -> MetadataMap {
    let mut forwarded = MetadataMap::new();
    for entry in metadata.iter() {
        match entry {
            KeyAndValueRef::Ascii(key, value) if !HOP.contains(&key.as_str()) => {
                forwarded.append(key, value.clone());
            }
            KeyAndValueRef::Binary(key, value) => {
                forwarded.append_bin(key, value.clone());
            }
            KeyAndValueRef::Ascii(..) => {}
        }
    }
    forwarded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_proxy_says_of_itself_goes_on_and_what_its_connection_says_does_not() {
        let mut metadata = MetadataMap::new();
        for (key, value) in [
            ("authorization", "Bearer t"),
            ("clusterid", "Kubernetes"),
            ("xds_header_a", "b"),
            ("te", "trailers"),
            ("user-agent", "envoy"),
            ("grpc-timeout", "1S"),
        ] {
            metadata.append(key, value.parse().unwrap());
        }
        metadata.append_bin("id-bin", tonic::metadata::MetadataValue::from_bytes(b"\x01"));
        let forwarded = forwarded(&metadata);
        let mut keys: Vec<String> = forwarded
            .keys()
            .map(|key| match key {
                tonic::metadata::KeyRef::Ascii(key) => key.to_string(),
                tonic::metadata::KeyRef::Binary(key) => key.to_string(),
            })
            .collect();
        keys.sort();
        assert_eq!(keys, ["authorization", "clusterid", "id-bin", "xds_header_a"]);
    }

    #[test]
    fn keys_are_never_shown() {
        let upstream = Upstream {
            address: Uri::from_static("https://istiod:15012"),
            authority: None,
            identity: Some((b"public".to_vec(), b"secret".to_vec())),
            server_name: None,
        };
        assert!(!format!("{upstream:?}").contains("secret"));
    }
}
