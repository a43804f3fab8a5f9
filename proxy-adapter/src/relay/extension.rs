//! Envoy Gateway's extension server: each `ClusterLoadAssignment` that it makes passes by here before it goes
//! to proxies.
//!
//! `envoygateway.extension.EnvoyGatewayExtension.PostEndpointsModify`, by
//! <https://github.com/envoyproxy/gateway/blob/v1.9.1/proto/extension/service.proto>: a request and a response
//! with the assignment as field 1. It is called when Envoy Gateway translates, so an opinion acts with the
//! next translation.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::server::{Grpc, UnaryService};
use tonic::{Request, Response, Status};

use super::assignment::Floor;
use super::envelope;
use super::fields::{Malformed, last, put_bytes};
use super::opinions::Opinions;
use super::{Patched, Refusal};
use crate::raw::Raw;
use crate::server::{Connections, configure};

const PATH: &str = "/envoygateway.extension.EnvoyGatewayExtension/PostEndpointsModify";
const ASSIGNMENT: u32 = 1;

/// Envoy Gateway itself, a few replicas of it, and nobody else.
const CONNECTIONS_MAX: usize = 64;

/// The largest message that Envoy Gateway sends unless it is told otherwise is 4 MiB.
const MESSAGE_MAX: usize = 64 << 20;

/// Answers Envoy Gateway.
#[derive(Clone, Debug)]
pub struct Extension {
    opinions: watch::Receiver<Arc<Opinions>>,
}

impl Extension {
    /// A server that says what was published last.
    pub fn new(opinions: watch::Receiver<Arc<Opinions>>) -> Self {
        Self { opinions }
    }

    /// Answers until `stop`.
    ///
    /// # Errors
    ///
    /// If the socket fails.
    pub async fn run(
        self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error> {
        let connections = Connections::new(listener, CONNECTIONS_MAX);
        let tonic = configure(tonic::transport::Server::builder());
        tonic.serve_with_incoming_shutdown(self, connections, stop.cancelled_owned()).await
    }

    /// The response to a request.
    fn answer(&self, request: &Bytes) -> Result<Bytes, Malformed> {
        let Some(field) = last(request, ASSIGNMENT)? else { return Ok(Bytes::new()) };
        let assignment = request.slice_ref(field.bytes()?);
        let opinions = self.opinions.borrow().clone();
        let name = envelope::own_name(&assignment)?;
        let floor = Floor { healthy: opinions.healthy };
        match opinions.patch(&name, &assignment, floor, |_| false) {
            Patched::Same => Ok(wrapped(&assignment)),
            Patched::Changed(changed) => Ok(wrapped(&changed)),
            Patched::Refused(refusal) => {
                withheld(&name, &refusal);
                Ok(wrapped(&assignment))
            }
        }
    }
}

fn wrapped(assignment: &Bytes) -> Bytes {
    let mut out = Vec::with_capacity(assignment.len() + 8);
    put_bytes(&mut out, ASSIGNMENT, assignment);
    out.into()
}

fn withheld(name: &str, refusal: &Refusal) {
    tracing::warn!(name, %refusal, "endpoints for Envoy Gateway are not changed");
}

impl UnaryService<Bytes> for Extension {
    type Response = Bytes;
    type Future = Ready<Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<Bytes>) -> Self::Future {
        let answer = self.answer(request.get_ref());
        ready(
            answer.map(Response::new).map_err(|error| Status::invalid_argument(error.to_string())),
        )
    }
}

impl tonic::codegen::Service<http::Request<Body>> for Extension {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != PATH {
            let words = "only PostEndpointsModify is answered: list Endpoints, and nothing else, under \
                         extensionManager.hooks.xdsTranslator.post";
            return Box::pin(ready(Ok(Status::unimplemented(words).into_http())));
        }
        let extension = self.clone();
        let mut grpc = Grpc::new(Raw).max_decoding_message_size(MESSAGE_MAX);
        Box::pin(async move { Ok(grpc.unary(extension, request).await) })
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
    use prost::Message;

    use super::*;

    fn extension(opinions: Opinions) -> Extension {
        Extension::new(watch::channel(Arc::new(opinions)).1)
    }

    #[test]
    fn without_an_opinion_the_assignment_comes_back_as_it_is() {
        let assignment = ClusterLoadAssignment { cluster_name: "a".into(), ..Default::default() };
        let mut bytes = assignment.encode_to_vec();
        put_bytes(&mut bytes, 1_000, b"what is this");
        let mut request = Vec::new();
        put_bytes(&mut request, ASSIGNMENT, &bytes);
        let expected = request.clone();
        put_bytes(&mut request, 2, b"");
        let answer = extension(Opinions::default()).answer(&request.into()).unwrap();
        assert_eq!(answer, expected);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        let extension = extension(Opinions::default());
        assert!(extension.answer(&Bytes::from_static(&[0x0a, 9])).is_err());
        assert_eq!(extension.answer(&Bytes::new()), Ok(Bytes::new()));
    }
}
