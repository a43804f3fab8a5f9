//! Options of what a person tells a running Weir.

use std::path::PathBuf;

use clap::Args;

use super::Output;

/// What is approved of a running Weir.
#[derive(Args, Clone, Debug)]
pub struct Approve {
    /// The offer, as the page, the log and `weir approve` alone show it; without one, list them.
    #[arg(value_name = "NAMESPACE/NAME@NUMBER")]
    pub offer: Option<String>,
    /// For how long it may be done: 90s, 1h30m, at most 720h. One hour if not said.
    #[arg(long = "for", value_name = "DURATION")]
    pub lasts: Option<String>,
    /// Take the approval back: shares are equal again at once.
    #[arg(long, conflicts_with = "lasts", requires = "offer")]
    pub withdraw: bool,
    /// Who approves, for the journal.
    #[arg(long, env = "USER", hide_env_values = true, value_name = "NAME")]
    pub by: Option<String>,
    /// The configuration file of the Weir that runs.
    #[arg(short, long, env = "WEIR_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Its data folder, if not as the configuration says.
    #[arg(long, env = "WEIR_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}
