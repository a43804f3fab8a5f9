//! What the page is told of everything around the engine: sources, proxies, policies, health.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;
use weir_collectors::status::{Kind, Status};
use weir_dashboard::board::Board;
use weir_dashboard::view::Time;
use weir_dashboard::view::health::{CheckView, HealthView};
use weir_dashboard::view::mesh::{
    PolicyState, PolicyView, ProblemView, ProxyView, Severity, SourceView, SubscriptionView, Sync,
};
use weir_dashboard::view::service::Mode as ShownMode;
use weir_engine::goal::{Goal, Indicator, Mode};
use weir_engine::units::Moment;
use weir_policies::in_force::InForce;
use weir_policies::problem::Problem;
use weir_proxy_adapter::server;
use weir_proxy_adapter::session::TypeStatus;

use crate::governed::Sources;
use crate::kubernetes::leading::Standing;

/// Telemetry is good if some source brought something within this time.
const FRESH: std::time::Duration = std::time::Duration::from_secs(30);

/// What there is to show.
#[derive(Debug)]
pub struct Feeds {
    /// Telemetry sources and discovery.
    pub statuses: Vec<watch::Receiver<Status>>,
    /// Streams of proxies.
    pub proxies: watch::Receiver<Arc<Vec<server::ProxyView>>>,
    /// What of the last snapshot is not in force.
    pub standing: watch::Receiver<Arc<server::Standing>>,
    /// Policies.
    pub policies: watch::Receiver<InForce>,
    /// The discovered endpoints.
    pub discovered: Sources,
    /// Whether proxies are answered.
    pub serves: watch::Receiver<bool>,
    /// How it stands with the lease, where there are other replicas.
    pub lease: Option<watch::Receiver<Standing>>,
}

impl Feeds {
    /// Tells the board how everything stands.
    pub fn show(&self, board: &Board, now: Moment) {
        let statuses = self.statuses.iter().map(|status| status.borrow().clone());
        let cluster = self.discovered.cluster.as_ref();
        let cluster = cluster.map(|found| Arc::clone(&found.statuses.borrow())).unwrap_or_default();
        let statuses = statuses.filter(|status| !status.is_idle());
        let statuses: Vec<Status> = statuses.chain(cluster.iter().cloned()).collect();
        let proxies = proxies(&self.proxies.borrow());
        board.set_health(self.health(&statuses, now));
        board.set_sources(statuses.into_iter().map(source).collect());
        board.set_proxies(proxies);
        board.set_policies(policies(&self.policies.borrow()));
    }
}

fn source(status: Status) -> SourceView {
    SourceView {
        name: status.name,
        kind: status.kind.to_string(),
        target: status.target,
        last_success: status.last_success.map(Time),
        error: status.last_error.map(|failure| failure.text),
        delivered: status.delivered,
        dropped: status.dropped,
    }
}

/// One row per node: a proxy may hold several streams.
fn proxies(streams: &[server::ProxyView]) -> Vec<ProxyView> {
    let mut nodes: BTreeMap<&str, ProxyView> = BTreeMap::new();
    for stream in streams {
        let node = stream.node.as_str();
        let proxy = nodes.entry(node).or_insert_with(|| ProxyView {
            node: node.to_owned(),
            version: stream.agent.clone(),
            connected: true,
            last_seen: Some(Time(stream.connected)),
            ..ProxyView::default()
        });
        proxy.types.extend(stream.types.iter().map(subscription));
    }
    nodes.into_values().collect()
}

fn subscription(status: &TypeStatus) -> SubscriptionView {
    let version = |version: &Option<weir_proxy_adapter::view::PushVersion>| {
        version.map(|version| version.to_string()).unwrap_or_default()
    };
    let sync = match status {
        TypeStatus { refusal: Some(_), .. } => Sync::Refused,
        TypeStatus { sent: None, .. } => Sync::NotSent,
        TypeStatus { pending: true, .. } => Sync::Pending,
        TypeStatus { .. } => Sync::Synced,
    };
    SubscriptionView {
        kind: status.kind.short().to_owned(),
        sync,
        sent_version: version(&status.sent),
        taken_version: version(&status.acked),
        sent: None,
        lag_ms: status.lag.map(|lag| lag.as_secs_f64() * 1_000.0),
        error: status.refusal.as_ref().map(|refusal| refusal.words.clone()),
    }
}

fn policies(in_force: &InForce) -> Vec<PolicyView> {
    let checked = in_force.checked();
    let refused = in_force.refused();
    let of_file = |path: &str| -> Vec<ProblemView> {
        let warnings = checked.warnings.iter().chain(refused);
        warnings.filter(|problem| problem.path == path).map(problem).collect()
    };
    let mut views: Vec<PolicyView> = checked
        .policies
        .iter()
        .map(|policy| {
            let wrong = refused.iter().any(|problem| problem.path == policy.path);
            let governs = policy.governs.iter();
            let goal = governs.clone().find_map(|service| checked.goals.of(service));
            PolicyView {
                name: policy.name.to_string(),
                path: policy.path.clone(),
                targets: governs.map(ToString::to_string).collect(),
                mode: Some(shown(policy.mode)),
                suspended: policy.suspended,
                objectives: goal.map(objectives).unwrap_or_default(),
                state: match () {
                    () if wrong => PolicyState::LastGood,
                    () if policy.governs.is_empty() => PolicyState::Conflicted,
                    () => PolicyState::InForce,
                },
                problems: of_file(&policy.path),
            }
        })
        .collect();
    let known: Vec<&str> = checked.policies.iter().map(|policy| policy.path.as_str()).collect();
    let mut strangers: Vec<&str> = refused
        .iter()
        .map(|problem| problem.path.as_str())
        .filter(|p| !known.contains(p))
        .collect();
    strangers.dedup();
    views.extend(strangers.into_iter().map(|path| PolicyView {
        path: path.to_owned(),
        state: PolicyState::Refused,
        problems: of_file(path),
        ..PolicyView::default()
    }));
    views
}

fn shown(mode: Mode) -> ShownMode {
    match mode {
        Mode::Observe => ShownMode::Observe,
        Mode::Recommend => ShownMode::Recommend,
        Mode::Enforce => ShownMode::Enforce,
    }
}

fn objectives(goal: &Goal) -> Vec<String> {
    let percent = |ratio: weir_engine::units::Ratio| ratio.value() * 100.0;
    goal.objectives
        .iter()
        .map(|objective| {
            let target = percent(objective.target);
            match &objective.indicator {
                Indicator::Availability => format!("{target:.6} % succeed", target = Short(target)),
                Indicator::Latency { threshold } => {
                    format!("{} % within {threshold}", Short(target))
                }
                Indicator::Prometheus { .. } => {
                    format!("{} % good by {}", Short(target), objective.name)
                }
            }
        })
        .collect()
}

/// A percentage without trailing zeros.
struct Short(f64);

impl std::fmt::Display for Short {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = format!("{:.6}", self.0);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

fn problem(problem: &Problem) -> ProblemView {
    ProblemView {
        severity: if problem.is_error() { Severity::Error } else { Severity::Warning },
        code: problem.code.as_str().to_owned(),
        path: problem.path.clone(),
        line: u32::try_from(problem.line).unwrap_or(u32::MAX),
        column: u32::try_from(problem.column).unwrap_or(u32::MAX),
        what: problem.what.clone(),
        mend: problem.mend.clone(),
        text: problem.render(weir_policies::problem::Colour::Never),
    }
}

impl Feeds {
    /// Ready is who answers proxies: what is held back or missing is told, but is no reason to
    /// send proxies elsewhere.
    fn health(&self, statuses: &[Status], now: Moment) -> HealthView {
        let serves = *self.serves.borrow();
        let mut checks = vec![
            check("xds", serves, self.serving(serves)),
            // Without telemetry Weir holds what was: an explicit mode, not a failure.
            check("telemetry", true, telemetry(statuses, now)),
            self.endpoints(),
            pushes(&self.standing.borrow()),
        ];
        // Whoever follows serves as well as whoever decides.
        checks.extend(self.lease.as_ref().map(|lease| leads(&lease.borrow(), now)));
        HealthView { ready: serves, checks }
    }

    fn serving(&self, serves: bool) -> String {
        if serves {
            return "serving".to_owned();
        }
        let all = self.discovered.all();
        let unlisted = all.iter().filter(|(_, found)| !found.listed);
        let unlisted = some(unlisted.map(|(service, _)| service.to_string()));
        if unlisted.is_empty() {
            return "no proxy is answered before policies and services have been read from the \
                Kubernetes API: see /api/v1/sources for what is in the way"
                .to_owned();
        }
        format!(
            "no proxy is answered before the endpoints are known of {unlisted}: \
             see /api/v1/sources for what is in the way"
        )
    }

    fn endpoints(&self) -> CheckView {
        let all = self.discovered.all();
        let withheld =
            all.iter().filter(|(_, found)| found.withheld > 0).map(|(service, found)| {
                let (gone, all) = (found.withheld, found.endpoints.len());
                format!("{gone} of {all} of {service}")
            });
        let withheld = some(withheld);
        if withheld.is_empty() {
            return check("endpoints", true, "all sources are believed".to_owned());
        }
        let text = format!(
            "no longer listed but still served: {withheld}; a loss of most endpoints is believed \
             after 60 s"
        );
        check("endpoints", false, text)
    }
}

/// The first few, and how many more.
fn some(names: impl Iterator<Item = String>) -> String {
    const NAMED_MAX: usize = 3;
    let names: Vec<String> = names.collect();
    let listed = names.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => listed,
        more => format!("{listed} and {more} more"),
    }
}

fn check(name: &str, passes: bool, text: String) -> CheckView {
    CheckView { name: name.to_owned(), passes, text }
}

fn telemetry(statuses: &[Status], now: Moment) -> String {
    let judging = |kind| !matches!(kind, Kind::Endpoints | Kind::Objectives | Kind::Kubernetes);
    let telemetry = statuses.iter().filter(|status| judging(status.kind));
    let fresh = telemetry
        .filter(|s| s.last_success.is_some_and(|at| now.since(at) < FRESH))
        .map(|status| status.name.as_str())
        .collect::<Vec<_>>();
    if fresh.is_empty() {
        "no telemetry yet: everything holds as it is; point a proxy at Weir (weir envoy bootstrap)"
            .to_owned()
    } else {
        format!("fresh from {}", fresh.join(", "))
    }
}

fn leads(standing: &Standing, now: Moment) -> CheckView {
    let text = match (standing.term.filter(|term| term.lasts(now)), &standing.leader) {
        (Some(term), _) => format!("this replica decides, in epoch {}", term.epoch),
        (None, Some(leader)) => {
            format!("follows {}, which decides in epoch {}", leader.serves_at, leader.epoch)
        }
        (None, None) => "nobody is known to decide: what was served last is served".to_owned(),
    };
    check("lease", true, text)
}

fn pushes(standing: &server::Standing) -> CheckView {
    let withheld = standing.withheld.len() + standing.frozen.len();
    let text = match withheld {
        0 => "all that is decided is sent".to_owned(),
        count => format!("{count} held back: see the proxies page"),
    };
    check("pushes", withheld == 0, text)
}
