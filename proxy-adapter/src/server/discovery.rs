//! The gRPC services: all types on one stream, or one type each.
//!
//! Written by hand over tonic's server parts, because the generated services insist on the
//! generated messages (see `wire`).

use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::{Status, Streaming};

use super::Door;
use crate::resource::TypeUrl;
use crate::session::{Dialect, Request, Response};
use crate::wire::DiscoveryCodec;

/// Bytes of a request: ten thousand names fit.
const REQUEST_MAX: usize = 1 << 20;

/// One of the gRPC services.
pub trait Offer: Send + Sync + 'static {
    /// Its full name.
    const NAME: &'static str;
    /// Its methods, state of the world and incremental.
    const METHODS: (&'static str, &'static str);
    /// The type that it carries; none: all.
    const ONLY: Option<TypeUrl>;
}

/// All types on one stream (ADS).
#[derive(Clone, Copy, Debug)]
pub enum Aggregated {}

impl Offer for Aggregated {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
    const METHODS: (&'static str, &'static str) =
        ("StreamAggregatedResources", "DeltaAggregatedResources");
    const ONLY: Option<TypeUrl> = None;
}

/// Endpoints only (EDS).
#[derive(Clone, Copy, Debug)]
pub enum OnlyEndpoints {}

impl Offer for OnlyEndpoints {
    const NAME: &'static str = "envoy.service.endpoint.v3.EndpointDiscoveryService";
    const METHODS: (&'static str, &'static str) = ("StreamEndpoints", "DeltaEndpoints");
    const ONLY: Option<TypeUrl> = Some(TypeUrl::Endpoints);
}

/// Routes only (RDS).
#[derive(Clone, Copy, Debug)]
pub enum OnlyRoutes {}

impl Offer for OnlyRoutes {
    const NAME: &'static str = "envoy.service.route.v3.RouteDiscoveryService";
    const METHODS: (&'static str, &'static str) = ("StreamRoutes", "DeltaRoutes");
    const ONLY: Option<TypeUrl> = Some(TypeUrl::Route);
}

/// Runtime layers only (RTDS).
#[derive(Clone, Copy, Debug)]
pub enum OnlyRuntime {}

impl Offer for OnlyRuntime {
    const NAME: &'static str = "envoy.service.runtime.v3.RuntimeDiscoveryService";
    const METHODS: (&'static str, &'static str) = ("StreamRuntime", "DeltaRuntime");
    const ONLY: Option<TypeUrl> = Some(TypeUrl::Runtime);
}

/// A discovery service, to be mounted on a tonic server.
#[derive(Debug)]
pub struct Discovery<S> {
    door: Door,
    service: PhantomData<fn() -> S>,
}

impl<S> Discovery<S> {
    pub(super) fn new(door: Door) -> Self {
        Self { door, service: PhantomData }
    }
}

impl<S> Clone for Discovery<S> {
    fn clone(&self) -> Self {
        Self::new(self.door.clone())
    }
}

impl<S: Offer> NamedService for Discovery<S> {
    const NAME: &'static str = S::NAME;
}

type Pending<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<S: Offer> Service<http::Request<Body>> for Discovery<S> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pending<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let method = request.uri().path().rsplit('/').next().unwrap_or_default();
        let dialect = if method == S::METHODS.0 {
            Dialect::StateOfTheWorld
        } else if method == S::METHODS.1 {
            Dialect::Incremental
        } else {
            let status = Status::unimplemented(format!("{} has no such method", S::NAME));
            return Box::pin(async move { Ok(status.into_http()) });
        };
        let entry = Entry { door: self.door.clone(), dialect, only: S::ONLY };
        Box::pin(async move {
            let mut grpc = Grpc::new(DiscoveryCodec(dialect))
                .apply_max_message_size_config(Some(REQUEST_MAX), None);
            Ok(grpc.streaming(entry, request).await)
        })
    }
}

/// One call.
struct Entry {
    door: Door,
    dialect: Dialect,
    only: Option<TypeUrl>,
}

impl StreamingService<Request> for Entry {
    type Response = Response;
    type ResponseStream = ReceiverStream<Result<Response, Status>>;
    type Future = Pending<Result<tonic::Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<Request>>) -> Self::Future {
        let responses = self.door.enter(request, self.dialect, self.only);
        Box::pin(async move { Ok(tonic::Response::new(ReceiverStream::new(responses?))) })
    }
}
