//! A study in the words that tables, programs and pages share.

use serde::Serialize;
use weir_engine::goal::{Goal, Indicator, Mode, Objective};
use weir_simulator::twin::{Doubt, Figure, Found, Tally};

use super::study::{Outcome, Study};

/// What cross-zone requests cost, where that is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price(pub(super) Option<f64>);

/// A number and the least and the most of it over seeds and worlds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Ranged {
    pub(super) value: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

/// How an objective stands.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Promise {
    pub(super) name: String,
    pub(super) target: f64,
    /// The part of the requests that is good; nothing where a recording cannot say.
    pub(super) good: Option<f64>,
    /// The part of the error budget that requests at this rate burn: 1 burns it exactly.
    pub(super) budget_burnt: Option<f64>,
}

/// What the recording or a policy on its twin came to.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Column {
    pub(super) policy: String,
    pub(super) mode: &'static str,
    pub(super) requests: f64,
    pub(super) p50_ms: Ranged,
    pub(super) p99_ms: Ranged,
    pub(super) error_ratio: Ranged,
    pub(super) refused_ratio: f64,
    pub(super) cross_zone_ratio: Option<f64>,
    /// Of a month at this rate.
    pub(super) cross_zone_cost: Option<f64>,
    pub(super) ejections: Ranged,
    pub(super) churn: Ranged,
    pub(super) objectives: Vec<Promise>,
}

/// The whole answer.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Answer {
    pub(super) service: String,
    pub(super) conclusive: bool,
    pub(super) doubts: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) seconds: f64,
    pub(super) seeds: u16,
    /// What was recorded.
    pub(super) recorded: Option<Column>,
    /// The recorded policy first, each on the twin.
    pub(super) policies: Vec<Column>,
    pub(super) checks: Vec<Check>,
    pub(super) twin: Option<Twin>,
}

/// One figure of the check.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Check {
    pub(super) figure: &'static str,
    pub(super) recorded: f64,
    pub(super) twin: f64,
}

/// What the twin is made of.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Twin {
    pub(super) clients: u32,
    pub(super) ticks_late: usize,
    pub(super) sigma: f64,
    pub(super) cross_zone_ms: f64,
    pub(super) patience_ms: f64,
    pub(super) load_rps: Vec<(f64, f64)>,
    pub(super) endpoints: Vec<Endpoint>,
}

/// What an endpoint is made of.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Endpoint {
    pub(super) address: String,
    pub(super) workers: [u32; 3],
    pub(super) workers_declared: bool,
    pub(super) work_ms: Vec<(f64, f64)>,
    pub(super) error_ratio: Vec<(f64, f64)>,
}

/// A policy by its name and its goal, as its author wrote it.
pub(super) struct Named<'a> {
    pub(super) name: String,
    pub(super) goal: &'a Goal,
}

/// What is said where no twin can be made.
pub(super) fn of_doubt(service: String, doubt: &Doubt, seeds: u16, notes: Vec<String>) -> Answer {
    Answer {
        service,
        conclusive: false,
        doubts: vec![doubt.to_string()],
        notes,
        seconds: 0.0,
        seeds,
        recorded: None,
        policies: Vec::new(),
        checks: Vec::new(),
        twin: None,
    }
}

/// What is said of a study. The first name is the recorded policy's.
pub(super) fn of_study(
    service: String,
    study: &Study,
    names: &[Named<'_>],
    (seeds, price): (u16, Price),
    notes: Vec<String>,
) -> Answer {
    let seconds = study.counted.1 - study.counted.0;
    let columns = study.outcomes.iter().zip(names);
    let objectives = objectives(names);
    let recorded = names.first().map(|named| {
        let column = column(named, &study.recorded, &objectives);
        Column { policy: "recorded".to_owned(), ..priced(column, price, seconds) }
    });
    let policies =
        columns.map(|(outcome, named)| priced(column(named, outcome, &objectives), price, seconds));
    let check = |figure: &Figure| Check {
        figure: figure.key(),
        recorded: study.held_out.1.figure(*figure),
        twin: study.held_out.0.figure(*figure),
    };
    Answer {
        service,
        conclusive: study.doubts.is_empty(),
        doubts: study.doubts.iter().map(|doubt| said(doubt, names)).collect(),
        notes,
        seconds,
        seeds,
        recorded,
        policies: policies.collect(),
        checks: Figure::ALL.iter().map(check).collect(),
        twin: Some(twin(&study.found)),
    }
}

fn said(doubt: &Doubt, names: &[Named<'_>]) -> String {
    let text = doubt.to_string();
    match doubt {
        Doubt::Open { policy, .. } | Doubt::Impatient { policy: Some(policy), .. } => {
            let name = names.get(*policy).filter(|_| *policy > 0);
            name.map_or(text.clone(), |named| {
                text.replacen(&format!("policy {policy}"), &named.name, 1)
            })
        }
        Doubt::Silent
        | Doubt::Short { .. }
        | Doubt::Few { .. }
        | Doubt::Large { .. }
        | Doubt::Wide { .. }
        | Doubt::Untimed
        | Doubt::Thin { .. }
        | Doubt::Off(_)
        | Doubt::Unexplained { .. }
        | Doubt::Impatient { policy: None, .. } => text,
    }
}

/// Where a column's numbers come from.
trait Source {
    /// The pooled runs that stand for it.
    fn likely(&self) -> &Tally;

    /// A number of them, with its least and most.
    fn ranged(&self, of: &dyn Fn(&Tally) -> f64) -> Ranged;

    /// A count of one run.
    fn counted(&self, of: &dyn Fn(&Tally) -> f64) -> Ranged;
}

impl Source for Tally {
    fn likely(&self) -> &Tally {
        self
    }

    fn ranged(&self, of: &dyn Fn(&Tally) -> f64) -> Ranged {
        let value = of(self);
        Ranged { value, least: value, most: value }
    }

    fn counted(&self, of: &dyn Fn(&Tally) -> f64) -> Ranged {
        self.ranged(of)
    }
}

impl Source for Outcome {
    fn likely(&self) -> &Tally {
        Self::likely(self)
    }

    fn ranged(&self, of: &dyn Fn(&Tally) -> f64) -> Ranged {
        let (least, most) = self.span(of);
        Ranged { value: of(self.likely()), least, most }
    }

    fn counted(&self, of: &dyn Fn(&Tally) -> f64) -> Ranged {
        // Worlds are pooled over seeds.
        let runs = self.by_seed.len().max(1) as f64;
        let worlds = self.worlds.iter().map(|world| of(world) / runs);
        let values = worlds.chain(self.by_seed.iter().map(of));
        let start = (f64::INFINITY, f64::NEG_INFINITY);
        let (least, most) =
            values.fold(start, |(least, most), value| (least.min(value), most.max(value)));
        Ranged { value: of(self.likely()) / runs, least, most }
    }
}

/// The promises of all policies: whatever governs, each can be asked how it stands.
fn objectives<'a>(names: &[Named<'a>]) -> Vec<&'a Objective> {
    let mut all: Vec<&Objective> = Vec::new();
    for one in names.iter().flat_map(|named| &named.goal.objectives) {
        let same = |known: &&Objective| {
            known.name == one.name && known.target == one.target && known.indicator == one.indicator
        };
        if !all.iter().any(same) {
            all.push(one);
        }
    }
    all
}

fn column(named: &Named<'_>, source: &dyn Source, objectives: &[&Objective]) -> Column {
    let tally = source.likely();
    Column {
        policy: named.name.clone(),
        mode: mode(named.goal.mode),
        requests: source.counted(&|tally| tally.requests + tally.refused).value,
        p50_ms: source.ranged(&|tally| tally.figure(Figure::P50)),
        p99_ms: source.ranged(&|tally| tally.figure(Figure::P99)),
        error_ratio: source.ranged(&|tally| tally.figure(Figure::Errors)),
        refused_ratio: tally.refused_ratio(),
        cross_zone_ratio: tally.cross_zone_ratio(),
        cross_zone_cost: None,
        ejections: source.counted(&|tally| f64::from(tally.ejections)),
        churn: source.counted(&|tally| tally.churn),
        objectives: objectives.iter().map(|one| promise(one, tally)).collect(),
    }
}

/// Seconds of a month, of 30 days.
const MONTH: f64 = 30.0 * 86_400.0;

fn priced(column: Column, Price(price): Price, seconds: f64) -> Column {
    let per_month = column.requests / seconds.max(1e-9) * MONTH;
    let cost = |ratio: f64| price.map(|price| ratio * per_month / 1e6 * price);
    Column { cross_zone_cost: column.cross_zone_ratio.and_then(cost), ..column }
}

fn promise(objective: &Objective, tally: &Tally) -> Promise {
    let good = tally.good(objective);
    let allowed = (1.0 - objective.target.value()).max(f64::EPSILON);
    Promise {
        name: match &objective.indicator {
            Indicator::Latency { threshold } => format!("{} ({threshold})", objective.name),
            Indicator::Availability | Indicator::Prometheus { .. } => objective.name.clone(),
        },
        target: objective.target.value(),
        good,
        budget_burnt: good.map(|good| (1.0 - good) / allowed),
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Observe => "Observe",
        Mode::Recommend => "Recommend",
        Mode::Enforce => "Enforce",
    }
}

fn twin(found: &Found) -> Twin {
    let endpoint = |one: &weir_simulator::twin::Endpoint| Endpoint {
        address: one.address.clone(),
        workers: [one.workers.0, one.workers.1, one.workers.2],
        workers_declared: one.declared,
        work_ms: one.works_ms.clone(),
        error_ratio: one.errors.clone(),
    };
    Twin {
        clients: found.clients,
        ticks_late: found.ticks_late,
        sigma: found.sigma,
        cross_zone_ms: found.cross_zone_ms,
        patience_ms: found.patience.as_secs_f64() * 1e3,
        load_rps: found.load.clone(),
        endpoints: found.endpoints.iter().map(endpoint).collect(),
    }
}
