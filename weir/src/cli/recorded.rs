//! Options of commands that read journals.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use weir_engine::names::{Address, ServiceId};

use super::{Output, Report};
use crate::times::{When, when};

/// Journals.
#[derive(Debug, Subcommand)]
pub enum Journal {
    /// List a journal's segments.
    Ls {
        /// A segment's file, a folder of them, or a data folder.
        journal: PathBuf,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Print what was decided, and why.
    Show(Show),
    /// Check that nothing was changed, left out or damaged.
    Verify {
        /// A segment's file, a folder of them, or a data folder.
        journal: PathBuf,
        /// How to print.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Write what was seen and decided, for other tools.
    Export {
        /// What of it.
        #[command(flatten)]
        part: Stretch,
        /// The form: JSON lines hold everything, CSV is a row for each endpoint and step.
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
    },
}

/// A stretch of a journal.
#[derive(Args, Clone, Debug)]
pub struct Stretch {
    /// A segment's file, a folder of them, or a data folder.
    pub journal: PathBuf,
    /// Only this service.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = service)]
    pub service: Option<ServiceId>,
    /// Not before: 2026-11-30T10:02:00Z, 10:02 (UTC) or +90s.
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub from: Option<When>,
    /// Not after.
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub until: Option<When>,
}

/// What is to be shown of a journal.
#[derive(Args, Clone, Debug)]
pub struct Show {
    /// What of it.
    #[command(flatten)]
    pub part: Stretch,
    /// Every decision, not only those that come to something else than the one before.
    #[arg(long)]
    pub all: bool,
}

/// A form that other tools read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object for each step.
    Jsonl,
    /// One row for each endpoint and step.
    Csv,
}

/// A replay's options.
#[derive(Args, Clone, Debug)]
pub struct Replay {
    /// A segment's file, a folder of them, or a data folder.
    pub journal: PathBuf,
    /// Decide by these policies too, and show both side by side.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Write what was seen, with what this build decides on it, as a new journal into this folder.
    #[arg(long, value_name = "DIR", conflicts_with = "policy")]
    pub write: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// A difference's options.
#[derive(Args, Clone, Debug)]
pub struct Diff {
    /// A data folder, a folder of segments or a segment's file: its end is what is now.
    #[arg(env = "WEIR_DATA_DIR", value_name = "DIR")]
    pub journal: PathBuf,
    /// Only this service.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = service)]
    pub service: Option<ServiceId>,
    /// Also print what proxies have and would get as Envoy's objects, and as the fields of Kubernetes'.
    #[arg(long)]
    pub objects: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// An explanation's options.
#[derive(Args, Clone, Debug)]
pub struct Explain {
    /// A decision's number, or NAMESPACE/NAME, or NAMESPACE/NAME/ENDPOINT.
    #[arg(value_name = "DECISION|SERVICE[/ENDPOINT]", value_parser = about)]
    pub about: About,
    /// When: the last decision at or before that time; the journal's last one if left out.
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub at: Option<When>,
    /// A segment's file, a folder of them, or a data folder.
    #[arg(long, env = "WEIR_DATA_DIR", value_name = "DIR")]
    pub journal: PathBuf,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// What is to be explained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum About {
    /// A decision, by its number.
    Decision(u64),
    /// One endpoint.
    Endpoint(ServiceId, Address),
    /// A service.
    Service(ServiceId),
}

fn about(text: &str) -> Result<About, String> {
    if let Ok(number) = text.parse() {
        return Ok(About::Decision(number));
    }
    let parts: Vec<&str> = text.splitn(3, '/').collect();
    match parts.as_slice() {
        [_, _] => service(text).map(About::Service),
        [namespace, name, endpoint] if !endpoint.is_empty() => {
            let id = service(&format!("{namespace}/{name}"))?;
            Ok(About::Endpoint(id, Address::from(*endpoint)))
        }
        _ => Err("write a decision's number, demo/shop or demo/shop/10.0.0.7:8080".to_owned()),
    }
}

/// A test's options.
#[derive(Args, Clone, Debug)]
pub struct Test {
    /// Folders with a test.yaml in them or below them, or such files.
    #[arg(required = true, value_name = "DIR")]
    pub paths: Vec<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t = Results::Table)]
    pub output: Results,
}

/// How to print what came of tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Results {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// For continuous integration.
    Junit,
}

/// A question to a journal.
#[derive(Args, Clone, Debug)]
pub struct WhatIf {
    /// A segment of a journal, or the folder that they are in.
    #[arg(value_name = "JOURNAL")]
    pub journal: PathBuf,
    /// A policy to try; may be given several times.
    #[arg(long = "policy", required = true, value_name = "FILE")]
    pub policies: Vec<PathBuf>,
    /// The service that is asked about; needed where the journal has several.
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = service)]
    pub service: Option<ServiceId>,
    /// From when on, in RFC 3339: 2026-11-30T14:00:00Z.
    #[arg(long, value_name = "TIME")]
    pub from: Option<jiff::Timestamp>,
    /// Until when.
    #[arg(long, value_name = "TIME")]
    pub to: Option<jiff::Timestamp>,
    /// Runs of each policy on the twin.
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub seeds: u16,
    /// What a million requests to another zone cost, in any currency.
    #[arg(long, value_name = "PRICE", value_parser = price)]
    pub cost_per_million_cross_zone: Option<f64>,
    /// How to print the answer.
    #[arg(short, long, value_enum, default_value_t = Report::Table)]
    pub output: Report,
}

fn price(text: &str) -> Result<f64, String> {
    let price = text.parse().ok().filter(|price: &f64| price.is_finite() && *price >= 0.0);
    price.ok_or_else(|| "write a number that is not negative".to_owned())
}

/// A service's name; `default` where no namespace is given.
pub(super) fn service(name: &str) -> Result<ServiceId, String> {
    let whole = if name.contains('/') { name.to_owned() } else { format!("default/{name}") };
    let id = ServiceId::try_from(whole).ok().filter(|id| !id.namespace.is_empty());
    id.ok_or_else(|| "write it as namespace/name: demo/shop".to_owned())
}
