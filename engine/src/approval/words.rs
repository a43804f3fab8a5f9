//! Offers in words, and their names as people write them.

use alloc::string::String;
use core::fmt;
use core::str::FromStr;

use super::{NotAnOffer, OfferId, Reach, Scope};
use crate::units::Ratio;

/// A sentence names so many endpoints; the rest are counted.
const NAMED_MAX: usize = 5;

impl fmt::Display for OfferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.service, self.number)
    }
}

impl fmt::Display for NotAnOffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an offer is written namespace/name@number, as Weir shows it")
    }
}

impl core::error::Error for NotAnOffer {}

impl FromStr for OfferId {
    type Err = NotAnOffer;

    fn from_str(text: &str) -> Result<Self, NotAnOffer> {
        let (service, number) = text.rsplit_once('@').ok_or(NotAnOffer)?;
        let service = String::from(service).try_into().map_err(|_| NotAnOffer)?;
        Ok(Self { service, number: number.parse().map_err(|_| NotAnOffer)? })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        for reach in self.endpoints.iter().take(NAMED_MAX) {
            write!(f, "{comma}{reach}")?;
            comma = ", ";
        }
        if let Some(others @ 1..) = self.endpoints.len().checked_sub(NAMED_MAX) {
            write!(f, "{comma}and {others} more")?;
        }
        if self.shed > Ratio::ZERO {
            write!(f, "{comma}turn away up to {:.1} % of the requests", 100.0 * self.shed.value())?;
            comma = ", ";
        }
        if self.zones {
            write!(f, "{comma}prefer endpoints near to the clients")?;
        }
        Ok(())
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, out, least, most } = self;
        match (out, *least < 1.0, *most > 1.0) {
            (true, ..) => write!(f, "eject {address}"),
            (false, true, false) => write!(f, "{address} down to {least:.2} x an equal share"),
            (false, false, _) => write!(f, "{address} up to {most:.2} x an equal share"),
            (false, true, true) => {
                write!(f, "{address} between {least:.2} x and {most:.2} x an equal share")
            }
        }
    }
}
