//! A node's runtime layer (RTDS): how much of its traffic it logs.

use envoy_types::pb::envoy::service::runtime::v3::Runtime;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use weir_engine::decision::Sampling;

use crate::validate::Fault;

/// The layer's name, in the bootstrap and on the wire.
pub const RUNTIME_LAYER: &str = "weir";

/// The key that the access log's `runtime_filter` asks for: whole per cent of requests logged.
pub const ACCESS_LOG_PERCENT: &str = "weir.access_log_percent";

/// The layer with a node's sampling: a plain number of whole per cent. Envoy takes a
/// `FractionalPercent` here, as a struct or as text, and silently ignores it.
pub(super) fn layer(sampling: &Sampling) -> Result<Runtime, Fault> {
    if sampling.percent > 100 {
        return Err(Fault::Sampling(sampling.percent));
    }
    let percent = Value { kind: Some(Kind::NumberValue(sampling.percent.into())) };
    // One field only: fields are a hash map, whose order would make the bytes differ.
    let fields = [(ACCESS_LOG_PERCENT.to_owned(), percent)].into();
    Ok(Runtime { name: RUNTIME_LAYER.to_owned(), layer: Some(Struct { fields }) })
}
