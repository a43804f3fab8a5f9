//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use weir_simulator::rivals::Rival;

use crate::config::{Given, Origin, parse_duration};

mod approve;
mod bootstrap;
mod recorded;

pub use approve::Approve;
pub use bootstrap::{Bootstrap, Envoy, Grpc, GrpcBootstrap, TelemetryProfile};
pub use recorded::{
    About, Diff, Explain, Format, Journal, Replay, Results, Show, Stretch, Test, WhatIf,
};

/// Governs a service mesh's traffic by goals.
#[derive(Debug, Parser)]
#[command(name = "weir", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// When to colour output.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, display_order = 900)]
    pub color: Color,
}

/// When to colour output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Collect, decide and push, until stopped.
    Run(Run),
    /// Watch Weir move real requests away from failing endpoints of a real Envoy.
    Demo(Demo),
    /// Compare Weir with the balancers of proxies in a simulated mesh.
    Simulate(Simulate),
    /// Play scenarios on real Envoy processes: Weir and other balancers, one after another.
    Arena(Arena),
    /// Try policies on a twin of a recorded service.
    WhatIf(WhatIf),
    /// Measure the judges on labelled data.
    #[command(subcommand)]
    Evaluate(Evaluate),
    /// Decide again what a journal recorded: the same, or by another policy.
    Replay(Replay),
    /// Check what is expected of decisions on kept journals.
    Test(Test),
    /// Say why a decision was taken, what else could have been done, and what came of it.
    Explain(Explain),
    /// Show what enforcing would change now.
    Diff(Diff),
    /// List what policies in Recommend offer, approve it, or take an approval back.
    Approve(Approve),
    /// Look at what was recorded.
    #[command(subcommand)]
    Journal(Journal),
    /// Make a journal of what a Prometheus remembers, to try Weir on.
    Record(Record),
    /// Check policies.
    #[command(subcommand)]
    Policy(Policy),
    /// Write what Envoy needs to know.
    #[command(subcommand)]
    Envoy(Envoy),
    /// Put back everything that was written into objects of a Kubernetes cluster, as it was found.
    Release(Run),
    /// Write what gRPC clients without a proxy need to know.
    #[command(subcommand)]
    Grpc(Grpc),
    /// Show the configuration in force.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print completions for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
}

/// Where the configuration comes from.
#[derive(Args, Clone, Debug, Default)]
pub struct Run {
    /// The configuration file.
    #[arg(short, long, env = "WEIR_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where proxies connect: xDS, load reports, access log.
    #[arg(long, env = "WEIR_LISTEN_XDS", value_name = "ADDRESS")]
    pub listen_xds: Option<SocketAddr>,
    /// Where the API and the pages are.
    #[arg(long, env = "WEIR_LISTEN_API", value_name = "ADDRESS")]
    pub listen_api: Option<SocketAddr>,
    /// Where the metrics are.
    #[arg(long, env = "WEIR_LISTEN_METRICS", value_name = "ADDRESS")]
    pub listen_metrics: Option<SocketAddr>,
    /// Where the journal and the last good state are.
    #[arg(long, env = "WEIR_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// The folder of policies.
    #[arg(long, env = "WEIR_POLICIES", value_name = "DIR")]
    pub policies: Option<PathBuf>,
    /// Time from one decision to the next.
    #[arg(long, env = "WEIR_TICK", value_name = "DURATION", value_parser = duration)]
    pub tick: Option<Duration>,
}

impl Run {
    /// What was given, and whether by flag or environment. `matches` are those of this command.
    pub fn given(&self, matches: &clap::ArgMatches) -> Given {
        let origin = |id: &str, name: &'static str| match matches.value_source(id) {
            Some(clap::parser::ValueSource::EnvVariable) => Origin::Environment(name),
            _ => Origin::Flag,
        };
        Given {
            file: self.config.clone(),
            xds: self.listen_xds.map(|v| (v, origin("listen_xds", "WEIR_LISTEN_XDS"))),
            api: self.listen_api.map(|v| (v, origin("listen_api", "WEIR_LISTEN_API"))),
            metrics: self
                .listen_metrics
                .map(|v| (v, origin("listen_metrics", "WEIR_LISTEN_METRICS"))),
            data_dir: self.data_dir.clone().map(|v| (v, origin("data_dir", "WEIR_DATA_DIR"))),
            policies: self.policies.clone().map(|v| (v, origin("policies", "WEIR_POLICIES"))),
            tick: self.tick.map(|v| (v, origin("tick", "WEIR_TICK"))),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text).ok_or_else(|| "write it as 500ms, 1s or 1m30s".to_owned())
}

/// The demonstration's options.
#[derive(Args, Clone, Debug)]
pub struct Demo {
    /// End after one run of the script of faults.
    #[arg(long)]
    pub once: bool,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
    /// Scale the load: 1 is 1,200 requests per second a side.
    #[arg(long, default_value_t = 1.0)]
    pub rate: f64,
    /// Start a real Prometheus as well, which scrapes the Envoy and is asked by Weir.
    #[arg(long)]
    pub prometheus: bool,
    /// Draws of arrivals, service times and injected errors.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Scale the length of phases and pauses: 1 is 30 and 15 seconds.
    #[arg(long, default_value_t = 1.0)]
    pub pace: f64,
    /// Let nobody govern either side: shows how much of a difference is noise.
    #[arg(long)]
    pub ungoverned: bool,
}

/// A simulation's options.
#[derive(Args, Clone, Debug)]
pub struct Simulate {
    /// Files of scenarios; a folder is all of its files.
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<PathBuf>,
    /// The policy that Weir governs by; 99.9 % available and 99 % under 500 ms if left out.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Who is compared, by name; all if left out.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = rival)]
    pub rivals: Vec<Rival>,
    /// How many proxies the clients' requests come through.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub proxies: u16,
    /// Runs of each scenario and rival; their requests are pooled.
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    pub seeds: u16,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed_base: u64,
    /// Let endpoints declare how many requests they work on at once, whatever a scenario says.
    #[arg(long)]
    pub declare_workers: bool,
    /// Also record what Weir saw and decided under the first seed, as a journal in DIR/SCENARIO.
    #[arg(long, value_name = "DIR")]
    pub journal: Option<PathBuf>,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Report::Table)]
    pub output: Report,
}

/// How to print what a simulation came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Report {
    /// For people.
    Table,
    /// For programs.
    Json,
    /// One file with plots, for a browser.
    Html,
}

/// The arena's options.
#[derive(Args, Clone, Debug)]
pub struct Arena {
    /// Files of scenarios; a folder is all of its files.
    #[arg(required = true, value_name = "SCENARIO")]
    pub scenarios: Vec<PathBuf>,
    /// The policy that Weir governs by; 99.9 % available and 99 % under 500 ms if left out.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Who is compared, by name: the first with each of the others.
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = rival, default_value = "weir,least-request+od")]
    pub rivals: Vec<Rival>,
    /// How many proxies the clients' requests come through, spread over Envoy processes.
    #[arg(long, value_name = "COUNT", default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=400))]
    pub proxies: u16,
    /// Runs of each scenario and rival, in real time.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub seeds: u16,
    /// The first seed.
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    pub seed_base: u64,
    /// Divide rates and multiply service times and patience by so much; what the machine carries if left out.
    #[arg(long, value_name = "FACTOR", value_parser = factor)]
    pub scale: Option<f64>,
    /// Let endpoints declare how many requests they work on at once, whatever a scenario says.
    #[arg(long)]
    pub declare_workers: bool,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse().ok().filter(|factor| (1.0..=100.0).contains(factor));
    factor.ok_or_else(|| "write a number from 1 to 100".to_owned())
}

fn rival(name: &str) -> Result<Rival, String> {
    let names = || Rival::ALL.map(Rival::name).join(", ");
    Rival::named(name).ok_or_else(|| format!("nobody is called so; there are {}", names()))
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub enum Evaluate {
    /// Anomalies in series of the Numenta Anomaly Benchmark, by its own scoring.
    Nab(Labelled),
    /// Faults injected into pods, as the Nezha project publishes them.
    Nezha(Labelled),
    /// Issues injected into the PetShop application, as its data set publishes them.
    Petshop(Labelled),
    /// Forecasts of periodic load: breaches of a line, and how long before they are foretold.
    Forecast(Labelled),
    /// What another policy would have come to, foretold from recordings of scenarios.
    Twin {
        /// Files of scenarios; a folder is all of its files.
        #[arg(required = true, value_name = "SCENARIO")]
        scenarios: Vec<PathBuf>,
        /// Recordings of each scenario.
        #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
        seeds: u16,
        /// The first seed.
        #[arg(long, value_name = "SEED", default_value_t = 1)]
        seed_base: u64,
        /// How to print the result.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Whether a new version is worse than the one in use, on simulated and on recorded pairs.
    Canary {
        /// A folder of recorded pairs; simulations alone if left out.
        #[arg(value_name = "DIR")]
        folder: Option<PathBuf>,
        /// How to print the result.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
}

/// A folder of labelled data.
#[derive(Args, Clone, Debug)]
pub struct Labelled {
    /// The folder, laid out as its source publishes it.
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Policies.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Check files and folders of policies; all problems at once.
    Check {
        /// Files or folders.
        #[arg(required = true)]
        paths: Vec<PathBuf>,
        /// Check too that services which a rollout names are in this weir.yaml.
        #[arg(short, long, value_name = "FILE")]
        config: Option<PathBuf>,
        /// How to print what is found.
        #[arg(short, long, value_enum, default_value_t = Output::Table)]
        output: Output,
    },
    /// Print the JSON Schema (draft 7) of policies, for editors.
    Schema,
    /// Print the definition of policies as custom resources of Kubernetes.
    Crd,
}

/// The configuration.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print the settings in force.
    View {
        /// Where the settings come from.
        #[command(flatten)]
        run: Run,
        /// Also print where each setting comes from.
        #[arg(long)]
        origin: bool,
    },
}

/// A recording's options.
#[derive(Args, Clone, Debug)]
pub struct Record {
    /// The server that is asked; Thanos, Mimir and VictoriaMetrics will do too.
    #[arg(long, value_name = "URL")]
    pub prometheus: String,
    /// From when: 2026-05-04T10:00:00Z, or -7d for seven days ago.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub start: String,
    /// Until when.
    #[arg(long, value_name = "TIME", default_value = "now", allow_hyphen_values = true)]
    pub end: String,
    /// Whose metrics; those that are there if left out.
    #[arg(long, value_enum)]
    pub preset: Option<MeshPreset>,
    /// The folder of policies to decide by, changing nothing.
    #[arg(long, value_name = "DIR")]
    pub policies: Option<PathBuf>,
    /// Time from one decision to the next; 15s if left out, more where the server scrapes less often.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub step: Option<Duration>,
    /// Where the journal shall be.
    #[arg(long, value_name = "DIR", default_value = "weir-recording")]
    pub out: PathBuf,
    /// File with a bearer token for the server.
    #[arg(long, value_name = "FILE", conflicts_with = "user")]
    pub token_file: Option<PathBuf>,
    /// User for basic authentication.
    #[arg(long, value_name = "NAME", requires = "password_file")]
    pub user: Option<String>,
    /// File with the user's password.
    #[arg(long, value_name = "FILE", requires = "user")]
    pub password_file: Option<PathBuf>,
    /// File with certificates in PEM to trust instead of the system's.
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// One more header, like 'X-Scope-OrgID: shop'; may be given several times.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub header: Vec<(String, String)>,
}

/// A mesh whose metrics are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MeshPreset {
    /// Istio's standard metrics.
    Istio,
    /// Linkerd's proxies.
    Linkerd,
    /// Envoy's own, with statistics per endpoint.
    Envoy,
}

fn header(text: &str) -> Result<(String, String), String> {
    let parts = text.split_once(':').filter(|(name, _)| !name.trim().is_empty());
    let (name, value) = parts.ok_or_else(|| "write it as NAME: VALUE".to_owned())?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
