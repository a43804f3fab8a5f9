//! Format 1: LZ4 of a postcard-encoded record, without layouts. Those that its last build had stand
//! in `v1.layouts`.

use std::error::Error;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;
use weir_engine::decision::ServiceDecision;
use weir_engine::observation::Observation;
use weir_engine::units::Moment;

use crate::codec::bytes;
use crate::frame::FRAME_MAX;
use crate::layout::{Layout, StateImage};
use crate::{Record, Step};

#[derive(Deserialize)]
enum Written {
    Opened { at: Moment, build: String, model: String, state: Vec<u8> },
    Step(Box<WrittenStep>),
    Closed { at: Moment },
}

#[derive(Deserialize)]
struct WrittenStep {
    observation: Observation,
    decision: [u8; 16],
    changed: Vec<Arc<ServiceDecision>>,
}

struct Layouts {
    own: Layout,
    record: Layout,
    state: Layout,
}

static LAYOUTS: LazyLock<Layouts> = LazyLock::new(|| {
    let mut rest: &[u8] = include_bytes!("v1.layouts");
    let mut next = || Layout::from_bytes(bytes::sized(&mut rest).unwrap_or_default());
    Layouts { own: Layout::of::<Written>(), record: next(), state: next() }
});

/// Reads a frame's body.
pub(crate) fn record(body: &[u8]) -> Result<Record, Box<dyn Error + Send + Sync>> {
    let (length, packed) = lz4_flex::block::uncompressed_size(body)?;
    // LZ4 makes no more than 255 bytes of one.
    if length > FRAME_MAX || length / 255 > packed.len() {
        return Err("it claims an absurd length".into());
    }
    let plain = lz4_flex::block::decompress(packed, length)?;
    let written: Written = LAYOUTS.record.read(&LAYOUTS.own, &plain)?;
    Ok(match written {
        Written::Opened { at, build, model, state } => Record::Opened {
            at,
            build,
            model,
            epoch: None,
            state: StateImage::new(LAYOUTS.state.clone(), state),
        },
        Written::Step(step) => Record::Step(Box::new(Step {
            observation: step.observation,
            decision: step.decision,
            changed: step.changed,
            pushed: Vec::new(),
        })),
        Written::Closed { at } => Record::Closed { at },
    })
}
