//! One expectation, watched step by step.

use weir_engine::decision::{Decision, EndpointDecision, ServiceDecision, Stance};
use weir_engine::names::Address;
use weir_engine::units::Moment;

use super::{Claim, Expectation, Outcome};
use crate::times::shown;

/// What was seen of one expectation so far.
#[derive(Debug)]
pub(super) struct Watch<'a> {
    expectation: &'a Expectation,
    /// The journal's first step.
    start: Option<Moment>,
    /// Steps of the service within the stretch.
    steps: u64,
    /// Whether the endpoint was out within the stretch.
    was_out: bool,
    /// When what was expected came about.
    met: Option<Moment>,
    /// When and how it was broken first.
    broken: Option<(Moment, String)>,
    /// Parts of the traffic moved.
    moved: f64,
    /// Services seen where several are, and none is named.
    unclear: Option<String>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(expectation: &'a Expectation) -> Self {
        Self {
            expectation,
            start: None,
            steps: 0,
            was_out: false,
            met: None,
            broken: None,
            moved: 0.0,
            unclear: None,
        }
    }

    /// Looks at a step's decision.
    pub(super) fn see(&mut self, decision: &Decision) {
        let at = decision.at;
        let start = *self.start.get_or_insert(at);
        let (from, until) = self.expectation.stretch(start);
        if at < from || at > until {
            return;
        }
        if let Claim::NewVersionMost(most) = self.expectation.claim {
            self.look_at_version(decision, most);
        } else if let Some(service) = self.service(decision) {
            self.steps += 1;
            self.look(service, at);
        }
    }

    fn look_at_version(&mut self, decision: &Decision, most: f64) {
        let asked = self.expectation.service.as_ref();
        let mut rollouts = decision.rollouts.iter();
        let Some(rollout) = rollouts.find(|one| asked.is_none_or(|id| one.service == *id)) else {
            return;
        };
        self.steps += 1;
        let weight = rollout.weight.value();
        let how = format!("{} got {:.1} %", rollout.canary, 100.0 * weight);
        self.broken(decision.at, (weight > most + 1e-9).then_some(how));
    }

    fn service<'d>(&mut self, decision: &'d Decision) -> Option<&'d ServiceDecision> {
        let mut services = decision.services.iter();
        if let Some(id) = &self.expectation.service {
            return services.find(|one| one.service == *id).map(AsRef::as_ref);
        }
        if decision.services.len() > 1 {
            let names: Vec<String> = services.map(|one| one.service.to_string()).collect();
            self.unclear.get_or_insert(names.join(", "));
            return None;
        }
        services.next().map(AsRef::as_ref)
    }

    fn look(&mut self, service: &ServiceDecision, at: Moment) {
        let out = || service.endpoints.iter().filter(|endpoint| endpoint.is_ejected());
        let of = |address: &Address| service.endpoints.iter().find(|one| one.address == *address);
        let why = |endpoint: &EndpointDecision| {
            format!("{} was out: {}", endpoint.address, endpoint.reason)
        };
        match &self.expectation.claim {
            Claim::Ejects(address, _) => {
                if of(address).is_some_and(EndpointDecision::is_ejected) {
                    self.met.get_or_insert(at);
                }
            }
            Claim::Returns(address, _) => match of(address) {
                Some(endpoint) if endpoint.is_ejected() => self.was_out = true,
                Some(_) if self.was_out => _ = self.met.get_or_insert(at),
                Some(_) | None => {}
            },
            Claim::NeverEjects(address) => {
                let found = out().find(|one| address.as_ref().is_none_or(|it| one.address == *it));
                self.broken(at, found.map(why));
            }
            Claim::EjectedMost(most) => {
                let count = out().count();
                self.broken(at, (count > *most).then(|| format!("{count} out")));
            }
            Claim::MovedMost(_) => self.moved += service.moved.value(),
            Claim::Weight(address, least, most) => {
                let outside = of(address).filter(|one| !(*least..=*most).contains(&one.weight));
                self.broken(at, outside.map(|one| format!("it was {:.3}", one.weight)));
            }
            Claim::Keeps(objective) => {
                let status = service.objectives.iter().find(|one| one.name == *objective);
                self.broken(
                    at,
                    match status {
                        None => Some("there is no such objective".to_owned()),
                        Some(status) if status.budget_left < 0.0 => Some(format!(
                            "its budget was overspent: {:.1} % left",
                            100.0 * status.budget_left
                        )),
                        Some(_) => None,
                    },
                );
            }
            Claim::Rests => {
                let steers = service.stance == Stance::Steering;
                self.broken(at, steers.then(|| service.summary()));
            }
            // Of rollouts, not of services.
            Claim::NewVersionMost(_) => {}
            Claim::Holds => {
                let holds = matches!(service.stance, Stance::Holding(_));
                self.broken(at, (!holds).then(|| service.summary()));
            }
        }
    }

    fn broken(&mut self, at: Moment, how: Option<String>) {
        if let (None, Some(how)) = (&self.broken, how) {
            self.broken = Some((at, how));
        }
    }

    /// What came of it.
    pub(super) fn outcome(self) -> Outcome {
        let expectation = self.expectation;
        let service = expectation.service.as_ref().map(|id| format!("{id} ")).unwrap_or_default();
        let claim = &expectation.claim;
        let start = self.start.unwrap_or_default();
        let time = |at: Option<Moment>, word: &str| {
            at.map(|at| format!("{word} {} ", shown(at))).unwrap_or_default()
        };
        let from = expectation.from.map(|when| when.of(start));
        let until = expectation.until.map(|when| when.of(start));
        let what = format!("{}{}{service}{claim}", time(from, "from"), time(until, "until"));
        Outcome { what, came: self.judge(from.unwrap_or(start)) }
    }

    fn judge(self, from: Moment) -> Result<String, String> {
        if let Some(names) = self.unclear {
            return Err(format!(
                "the journal has several services: name one of {names} under service"
            ));
        }
        if self.steps == 0 {
            return Err("the journal has no step of that service in that time".to_owned());
        }
        match &self.expectation.claim {
            Claim::Ejects(_, within) | Claim::Returns(_, within) => match self.met {
                Some(met) if within.is_none_or(|within| met.since(from) <= within) => {
                    Ok(format!("after {:?}", met.since(from)))
                }
                Some(met) => Err(format!("only after {:?}", met.since(from))),
                None => Err("it never was so".to_owned()),
            },
            Claim::MovedMost(most) if self.moved > *most => {
                Err(format!("{:.1} % were moved", 100.0 * self.moved))
            }
            Claim::MovedMost(_) => Ok(format!("{:.1} % were moved", 100.0 * self.moved)),
            Claim::NeverEjects(_)
            | Claim::EjectedMost(_)
            | Claim::Weight(..)
            | Claim::Keeps(_)
            | Claim::Rests
            | Claim::Holds
            | Claim::NewVersionMost(_) => match self.broken {
                Some((at, how)) => Err(format!("at {}: {how}", shown(at))),
                None => Ok(format!("in {} steps", self.steps)),
            },
        }
    }
}
