//! From the file as written to a configuration without doubts; all problems at once.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_collectors::prometheus::query::{Query, Values};
use weir_collectors::prometheus::recipe::What;
use weir_engine::names::{ClusterName, ServiceId};
use weir_engine::observation::Source as Counts;
use weir_engine::topology::ClusterForm;
use weir_policies::problem::{Code, Problem};
use weir_policies::reader::At;
use weir_policies::source::{Finding, Source, Span};

use super::balancer::form;
use super::{
    Config, Endpoints, Given, KubernetesConfig, Origin, Preset, PrometheusConfig, ScrapeConfig,
    Service, SourceConfig, file, kubernetes, secrets,
};
use crate::store::journal;

const XDS_PORT: u16 = 18_010;
const API_PORT: u16 = 9_980;
const METRICS_PORT: u16 = 9_981;

/// A tick is no shorter: load reports come once a second at most, and every step costs a push.
pub(crate) const TICK_MIN: Duration = Duration::from_millis(100);
/// Nor longer: past it evidence is stale before it is used.
const TICK_MAX: Duration = Duration::from_secs(60);
/// How a service's source of endpoints is written.
pub(super) const ONE_SOURCE: &str = "write one of file: PATH, dns: NAME:PORT, kubernetes: {port: PORT}, \
     telemetry: true or versions: true";
/// Proxies report no faster.
const REPORTS_MIN: Duration = Duration::from_secs(1);
/// A proxy renders all its statistics for each scrape.
const SCRAPE_MIN: Duration = Duration::from_millis(100);
/// No server scrapes faster than this, so asking faster brings nothing.
const ASK_MIN: Duration = Duration::from_secs(1);

/// A check under way: the file, and what was found.
pub(crate) struct Check<'a> {
    source: Source<'a>,
    pub(super) folder: PathBuf,
    pub(crate) problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    /// Of the file at `path`, whose text is at hand; names in it are relative to its folder.
    pub(crate) fn of(path: &Path, source: Source<'a>) -> Self {
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        Self { source, folder, problems: Vec::new() }
    }

    pub(super) fn refuse(
        &mut self,
        span: Span,
        field: &str,
        (code, what, mend): (Code, String, &str),
    ) {
        let finding = Finding { span, field: field.to_owned(), code, what, mend: mend.to_owned() };
        self.problems.push(self.source.problem(finding));
    }

    pub(crate) fn wrong(&mut self, span: Span, field: &str, what: String, mend: &str) {
        self.refuse(span, field, (Code::WrongValue, what, mend));
    }

    pub(super) fn contradicts(&mut self, span: Span, field: &str, what: &str, mend: &str) {
        self.refuse(span, field, (Code::Contradiction, what.to_owned(), mend));
    }

    /// What a file named in the configuration contains.
    pub(super) fn file<T>(
        &mut self,
        read: std::io::Result<T>,
        path: &Path,
        span: Span,
    ) -> Option<T> {
        match read {
            Ok(content) => Some(content),
            Err(cause) => {
                let what = format!("{} cannot be read: {cause}", path.display());
                self.wrong(span, "", what, "name a file that this user may read");
                None
            }
        }
    }

    pub(crate) fn duration(
        &mut self,
        text: Option<&At<String>>,
        field: &str,
        default: Duration,
    ) -> Duration {
        let Some(text) = text else { return default };
        parse_duration(&text.value).unwrap_or_else(|| {
            let what = format!("{:?} is no duration", text.value);
            self.wrong(text.span, field, what, "write it as 500ms, 1s or 1m30s");
            default
        })
    }

    /// A duration that is no shorter than `least`.
    fn interval(
        &mut self,
        text: Option<&At<String>>,
        field: &str,
        (default, least): (Duration, Duration),
    ) -> Duration {
        let duration = self.duration(text, field, default);
        if let (true, Some(written)) = (duration < least, text) {
            let what = format!("an interval of {duration:?} is below {least:?}");
            self.wrong(written.span, field, what, &format!("use at least {least:?}"));
        }
        duration
    }
}

/// A Gateway API duration: `1s`, `500ms`, `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    if text.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|at| (1..=5).contains(at))?;
        let number: u64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let (unit, length) = [("ms", 1), ("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
            .into_iter()
            .find(|(unit, _)| rest.starts_with(unit))?;
        sum += Duration::from_millis(number * length);
        rest = &rest[unit.len()..];
    }
    Some(sum)
}

pub(super) fn config(
    file: file::File,
    path: &Path,
    bytes: &[u8],
    given: Given,
) -> Result<Config, Vec<Problem>> {
    let shown = path.display().to_string();
    let text = String::from_utf8_lossy(bytes);
    let mut check = Check::of(path, Source { path: &shown, text: &text });
    let mut origins = std::collections::BTreeMap::new();
    let here = || Origin::File(path.to_owned());
    let written = |is: bool| if is { here() } else { Origin::Default };
    let mut settle = |name: &'static str, origin: Origin| drop(origins.insert(name, origin));
    settle("sources", written(!file.sources.is_empty()));
    settle("services", written(!file.services.is_empty()));
    settle("envoy_gateway", written(file.envoy_gateway.is_some()));
    settle("relay", written(file.relay.is_some()));
    settle("listen.hosts", written(!file.listen.hosts.is_empty()));
    settle("kubernetes", written(file.kubernetes.is_some()));
    settle("journal.max_mib", written(file.journal.max_mib.is_some()));
    let sources = sources(file.sources, &mut check);
    let counts = counts(&sources);
    let kubernetes = file.kubernetes.map(|it| kubernetes::config(it, counts, &mut check));
    let mut address =
        |name, given: Option<(SocketAddr, Origin)>, written: Option<At<String>>, port| {
            let from_file = written.as_ref().and_then(|written| socket(written, name, &mut check));
            let (address, origin) = given
                .or_else(|| from_file.map(|address| (address, here())))
                .unwrap_or((SocketAddr::from((Ipv4Addr::LOCALHOST, port)), Origin::Default));
            settle(name, origin);
            address
        };
    let xds = address("listen.xds", given.xds, file.listen.xds, XDS_PORT);
    let api = address("listen.api", given.api, file.listen.api, API_PORT);
    let metrics = address("listen.metrics", given.metrics, file.listen.metrics, METRICS_PORT);
    let folder = check.folder.clone();
    let (data_dir, origin) = given
        .data_dir
        .or_else(|| file.data_dir.map(|dir| (folder.join(dir), here())))
        .unwrap_or((PathBuf::from("weir-data"), Origin::Default));
    settle("data_dir", origin);
    let (policies, origin) = given
        .policies
        .or_else(|| file.policies.map(|dir| (folder.join(dir), here())))
        .map_or((None, Origin::Default), |(dir, origin)| (Some(dir), origin));
    settle("policies", origin);
    let from_file = check.duration(file.tick.as_ref(), "tick", Duration::from_secs(1));
    let (tick, origin) = given.tick.unwrap_or((from_file, written(file.tick.is_some())));
    settle("tick", origin);
    if !(TICK_MIN..=TICK_MAX).contains(&tick) {
        let span = file.tick.as_ref().map_or(Span { start: 0, end: 0 }, |tick| tick.span);
        let what = format!("a tick of {tick:?} is outside {TICK_MIN:?} to {TICK_MAX:?}");
        check.wrong(span, "tick", what, "write a tick between 100ms and 60s; 1s suits most");
    }
    let config = Config {
        xds,
        api,
        metrics,
        hosts: hosts(file.listen.hosts, &mut check),
        data_dir,
        journal_max: journal_max(file.journal.max_mib, &mut check),
        tick,
        policies,
        services: services(file.services, (counts, kubernetes.as_ref()), &mut check),
        kubernetes,
        sources,
        envoy_gateway: file
            .envoy_gateway
            .and_then(|written| socket(&written.listen, "envoy_gateway.listen", &mut check)),
        relay: file.relay.and_then(|relay| super::relay::relay(relay, &mut check)),
        origins,
    };
    if check.problems.is_empty() { Ok(config) } else { Err(check.problems) }
}

pub(super) fn socket(
    written: &At<String>,
    field: &str,
    check: &mut Check<'_>,
) -> Option<SocketAddr> {
    let parsed = written.value.parse().ok();
    if parsed.is_none() {
        let what = format!("{:?} is no address with a port", written.value);
        check.wrong(written.span, field, what, "write 127.0.0.1:18010 or [::1]:18010");
    }
    parsed
}

/// Names as browsers send them, less the port.
fn hosts(written: Vec<At<String>>, check: &mut Check<'_>) -> Vec<String> {
    for host in &written {
        if host.value.is_empty() || host.value.contains(['/', ' ', ',', '*']) {
            let what = format!("{:?} is no host name", host.value);
            let mend = "write what people type, without scheme and port: weir.example.org";
            check.wrong(host.span, "listen.hosts", what, mend);
        } else if !host.value.starts_with('[') && host.value.contains(':') {
            let what = format!("{:?} has a port", host.value);
            check.wrong(host.span, "listen.hosts", what, "leave the port out: any will do");
        }
    }
    written.into_iter().map(|host| host.value).collect()
}

fn journal_max(written: Option<At<u64>>, check: &mut Check<'_>) -> u64 {
    const MIB_MIN: u64 = 32;
    let Some(mib) = written else { return journal::Bounds::TOTAL };
    if mib.value < MIB_MIN {
        let what = format!("{} MiB are too little for a journal", mib.value);
        check.wrong(mib.span, "journal.max_mib", what, "give it at least 32");
    }
    mib.value.max(MIB_MIN).saturating_mul(1 << 20)
}

/// Whose counts are believed: pushed ones before scraped ones before Prometheus' ones.
fn counts(sources: &[SourceConfig]) -> Counts {
    let rank = |source: &SourceConfig| match source {
        SourceConfig::Push { .. } => Counts::LoadReport,
        SourceConfig::Scrape(_) => Counts::Scrape,
        SourceConfig::Prometheus(_) => Counts::Prometheus,
    };
    sources.iter().map(rank).min().unwrap_or(Counts::LoadReport)
}

fn services(
    entries: Vec<file::Service>,
    (counts, kubernetes): (Counts, Option<&KubernetesConfig>),
    check: &mut Check<'_>,
) -> Vec<Service> {
    let mut ids = BTreeSet::new();
    let mut clusters = BTreeSet::new();
    let mut services = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let field = format!("services[{index}]");
        let span = entry.name.span;
        let service = service(entry, &field, (counts, kubernetes), check);
        if !ids.insert(service.id.clone()) {
            let what = format!("service {} stands twice", service.id);
            check.refuse(span, &field, (Code::DuplicateName, what, "merge the two entries"));
        }
        for cluster in &service.clusters {
            if !clusters.insert(cluster.clone()) {
                let what = format!("cluster {cluster} leads to two services");
                let mend = "name each cluster once: its requests belong to one service";
                check.refuse(span, &field, (Code::DuplicateName, what, mend));
            }
        }
        services.push(service);
    }
    services.sort_by(|a, b| a.id.cmp(&b.id));
    services
}

fn service(
    entry: file::Service,
    field: &str,
    (counts, kubernetes): (Counts, Option<&KubernetesConfig>),
    check: &mut Check<'_>,
) -> Service {
    let namespace = entry.namespace.as_ref().map_or("default", |name| name.value.as_str());
    for name in entry.namespace.iter().chain([&entry.name]) {
        if name.value.is_empty() || name.value.contains('/') {
            let what = format!("{:?} is no name of a service or namespace", name.value);
            check.wrong(name.span, field, what, "use a name without slashes");
        }
    }
    let id = ServiceId::new(namespace, &entry.name.value);
    let mut clusters: Vec<ClusterName> =
        entry.clusters.iter().map(|name| name.value.as_str().into()).collect();
    let endpoints = match &entry.endpoints.value.kubernetes {
        Some(of) => {
            kubernetes::alone(&entry.endpoints, field, check);
            kubernetes::service((of, entry.endpoints.span), &id, (field, kubernetes), check)
        }
        None => endpoints(&entry.endpoints, field, check),
    };
    if clusters.is_empty() && endpoints != Endpoints::Versions {
        clusters.push(entry.name.value.as_str().into());
    }
    clusters.sort();
    refuse_own_clusters(&entry, &endpoints, field, check);
    if let (true, Some(balancer)) = (entry.write_clusters, &entry.balancer)
        && !balancer.value.is_only_of_a_client()
    {
        let what = "balancer describes clusters that others write".to_owned();
        let mend = "leave out write_clusters, or all of balancer but client";
        check.refuse(balancer.span, field, (Code::Contradiction, what, mend));
    }
    let form = match entry.balancer {
        None if entry.write_clusters => ClusterForm::native(),
        Some(balancer) if entry.write_clusters => {
            let client = form(&balancer.value, field, check).client;
            ClusterForm { client, ..ClusterForm::native() }
        }
        Some(balancer) => form(&balancer.value, field, check),
        None => ClusterForm { locality_weighted: false, ..ClusterForm::native() },
    };
    if endpoints == Endpoints::Telemetry && entry.write_clusters {
        let what = "endpoints that only telemetry names cannot be served to proxies".to_owned();
        let mend = "name a file or a DNS name; telemetry serves observing and advising only";
        check.refuse(entry.endpoints.span, field, (Code::Contradiction, what, mend));
    }
    Service {
        id,
        clusters,
        form,
        writes_clusters: entry.write_clusters,
        per_endpoint_stats: counts != Counts::LoadReport,
        endpoints,
        counts,
    }
}

/// A service that is only a route has no cluster, and so nothing to say of one.
fn refuse_own_clusters(
    entry: &file::Service,
    endpoints: &Endpoints,
    field: &str,
    check: &mut Check<'_>,
) {
    let speaks = entry.write_clusters || !entry.clusters.is_empty() || entry.balancer.is_some();
    if *endpoints == Endpoints::Versions && speaks {
        let what = "a service whose endpoints are its versions' has no clusters of its own";
        let mend = "write clusters, write_clusters and balancer at the services of the versions";
        check.contradicts(entry.endpoints.span, field, what, mend);
    }
}

fn endpoints(written: &At<file::Endpoints>, field: &str, check: &mut Check<'_>) -> Endpoints {
    let file::Endpoints { file, dns, telemetry, versions, .. } = &written.value;
    match (file, dns, telemetry, versions) {
        (Some(file), None, false, false) => Endpoints::File(check.folder.join(file)),
        (None, Some(dns), false, false) => {
            let port = dns.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            if port.is_none() {
                let what = format!("{dns:?} has no port");
                check.wrong(written.span, field, what, "write dns: name:port");
            }
            Endpoints::Dns(dns.clone())
        }
        (None, None, true, false) => Endpoints::Telemetry,
        (None, None, false, true) => Endpoints::Versions,
        _ => {
            let what = "a service has exactly one source of endpoints".to_owned();
            check.refuse(written.span, field, (Code::Contradiction, what, ONE_SOURCE));
            Endpoints::Telemetry
        }
    }
}

fn sources(entries: Vec<At<file::SourceEntry>>, check: &mut Check<'_>) -> Vec<SourceConfig> {
    let push = SourceConfig::Push { interval: REPORTS_MIN, entries_per_second: 2_000 };
    if entries.is_empty() {
        return vec![push];
    }
    let mut sources = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let field = format!("sources[{index}]");
        match (entry.value.push, entry.value.scrape, entry.value.prometheus) {
            (Some(push), None, None) => {
                if sources.iter().any(|source| matches!(source, SourceConfig::Push { .. })) {
                    let what = "push stands twice".to_owned();
                    let mend = "merge the two: all proxies push to the one xDS port";
                    check.refuse(entry.span, &field, (Code::DuplicateName, what, mend));
                }
                sources.push(pushed(&push, &field, check));
            }
            (None, Some(scrape), None) => sources.push(scraped(scrape, &field, check)),
            (None, None, Some(server)) => sources.push(asked(server, &field, check)),
            _ => {
                let what = "a source is exactly one of push, scrape and prometheus".to_owned();
                let mend = "begin a new list entry, with a dash, for each source";
                check.refuse(entry.span, &field, (Code::Contradiction, what, mend));
            }
        }
    }
    sources
}

fn pushed(push: &file::Push, field: &str, check: &mut Check<'_>) -> SourceConfig {
    let interval = check.interval(push.interval.as_ref(), field, (REPORTS_MIN, REPORTS_MIN));
    let entries = push.entries_per_second.as_ref();
    SourceConfig::Push {
        interval,
        entries_per_second: entries.map_or(2_000, |entries| entries.value.max(1)),
    }
}

fn scraped(scrape: file::Scrape, field: &str, check: &mut Check<'_>) -> SourceConfig {
    let interval = Duration::from_secs(1);
    let interval = check.interval(scrape.interval.as_ref(), field, (interval, SCRAPE_MIN));
    if scrape.targets.value.is_empty() {
        let mend = "name Envoy admin addresses: targets: [http://127.0.0.1:9901]";
        check.wrong(scrape.targets.span, field, "no target to scrape".to_owned(), mend);
    }
    for target in &scrape.targets.value {
        if let Err(cause) = weir_collectors::http::target(&target.value) {
            check.wrong(target.span, field, cause.to_string(), "write http://127.0.0.1:9901");
        }
    }
    SourceConfig::Scrape(ScrapeConfig {
        targets: scrape.targets.value.into_iter().map(|target| target.value).collect(),
        interval,
        http: secrets::options(scrape.http, check),
    })
}

fn asked(server: file::Prometheus, field: &str, check: &mut Check<'_>) -> SourceConfig {
    let interval = Duration::from_secs(5);
    let interval = check.interval(server.interval.as_ref(), field, (interval, ASK_MIN));
    if let Err(cause) = weir_collectors::http::target(&server.url.value) {
        check.wrong(server.url.span, field, cause.to_string(), "write http://prometheus:9090");
    }
    let preset = match server.preset.as_ref().map(|preset| preset.value.as_str()) {
        None | Some("envoy") => Preset::Envoy,
        Some("istio") => Preset::Istio,
        Some("none") => Preset::None,
        Some(other) => {
            let what = format!("{other:?} is no preset");
            let span = server.preset.as_ref().map_or(Span { start: 0, end: 0 }, |p| p.span);
            check.wrong(span, field, what, "use envoy, istio or none");
            Preset::Envoy
        }
    };
    SourceConfig::Prometheus(PrometheusConfig {
        url: server.url.value,
        interval,
        preset,
        queries: queries(server.queries, field, check),
        http: secrets::options(server.http, check),
    })
}

/// The user's own queries, each parsed before it is ever sent.
fn queries(written: file::Queries, field: &str, check: &mut Check<'_>) -> Vec<(What, Query)> {
    let file::Queries { requests, errors, timeouts, local_failures } = written;
    let all = [
        (What::Requests, requests),
        (What::Errors, errors),
        (What::Timeouts, timeouts),
        (What::LocalFailures, local_failures),
    ];
    let mut queries = Vec::new();
    for (what, text) in all {
        let Some(text) = text else { continue };
        match Query::render(&text.value, &Values::new()) {
            Ok(query) => queries.push((what, query)),
            Err(cause) => {
                check.wrong(text.span, field, cause.to_string(), "try it in Prometheus first");
            }
        }
    }
    queries
}
