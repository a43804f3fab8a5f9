//! `weir demo`.
use crate::cli::Demo;
/// Runs the demonstration.
pub fn run(_asked: &Demo) -> anyhow::Result<u8> {
    anyhow::bail!("not there yet")
}
