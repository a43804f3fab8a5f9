//! What a request asks of whichever backend it reaches, in a header.

use http::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

/// The header: microseconds of work, luck, the client's zone, whether it counts.
pub(super) const HEADER: HeaderName = HeaderName::from_static("weir-errand");

/// What a request asks of a backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Errand {
    /// How long it takes a worker at usual speed.
    pub work: Duration,
    /// It fails at a backend of which a larger part of requests fails: 0 to 1.
    pub luck: f64,
    /// The client's zone, by number.
    pub zone: usize,
    /// Whether it is one of those that are counted.
    pub counted: bool,
}

impl Errand {
    /// What [`Errand::read`] reads back, to the microsecond.
    pub(super) fn header(self) -> HeaderValue {
        let Errand { work, luck, zone, counted } = self;
        let text = format!("{} {luck} {zone} {}", work.as_micros(), u8::from(counted));
        HeaderValue::from_maybe_shared(bytes::Bytes::from(text))
            .expect("numbers and spaces make a header")
    }

    /// What a request's headers say; `None` where they say nothing of the kind.
    pub(super) fn read(headers: &HeaderMap) -> Option<Errand> {
        let mut words = headers.get(HEADER)?.to_str().ok()?.split(' ');
        let errand = Errand {
            work: Duration::from_micros(words.next()?.parse().ok()?),
            luck: words.next()?.parse().ok()?,
            zone: words.next()?.parse().ok()?,
            counted: words.next()? == "1",
        };
        words.next().is_none().then_some(errand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<Errand> {
        let value = HeaderValue::from_str(text).unwrap();
        Errand::read(&HeaderMap::from_iter([(HEADER, value)]))
    }

    proptest! {
        #[test]
        fn a_header_carries_an_errand(work: u32, luck in 0.0..1.0_f64, zone: u8, counted: bool) {
            let (work, zone) = (Duration::from_micros(work.into()), zone.into());
            let errand = Errand { work, luck, zone, counted };
            prop_assert_eq!(read(errand.header().to_str().unwrap()), Some(errand));
        }
    }

    #[test]
    fn anything_else_is_no_errand() {
        for text in ["", "1", "1 0.5 0", "1 0.5 0 1 1", "x 0.5 0 1", "-1 0.5 0 1"] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
