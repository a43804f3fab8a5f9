//! Judging one series of samples by its own past: is this unusual, has it changed, what comes next.
//!
//! All parts are plain data with a fixed size, see each sample once and know only the past. What
//! they say is ranked among what they have said before ([`rank`]), so that a threshold is a rate
//! of alarms and not a number of somebody's units.

pub mod alarm;
pub mod baseline;
pub mod change;
pub mod forecast;
pub mod joint;
pub mod novelty;
pub mod peers;
pub mod period;
pub mod rank;
pub mod recent;
pub mod season;
