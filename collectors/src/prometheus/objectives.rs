//! Objectives that the user's own queries count: good and all events per second, asked again and
//! again and made into counts of the time in between.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use weir_engine::names::ServiceId;
use weir_engine::observation::Indicated;

use super::query::Values;
use super::{Client, Error};
use crate::status::Publisher;
use crate::{Now, http};

/// A rate looks back over at least this: four scrapes of a server that scrapes every 15 s.
const WINDOW_LEAST: Duration = Duration::from_secs(60);

/// An answer speaks for no more time than so many intervals: what was not asked is unknown.
const SPEAKS_FOR: u32 = 3;

/// One objective and its queries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Whose objective.
    pub service: ServiceId,
    /// The objective's name.
    pub objective: String,
    /// Good events per second.
    pub good: String,
    /// All events per second.
    pub total: String,
}

/// A server to ask for objectives.
#[derive(Debug)]
pub struct Config {
    /// Its address.
    pub url: String,
    /// How to present oneself to it.
    pub http: http::Options,
    /// Time from one round to the next.
    pub interval: Duration,
    /// What to ask; follows the policies in force.
    pub wanted: watch::Receiver<Arc<Vec<Wanted>>>,
}

/// An objective that stays unknown for now.
#[derive(Debug, thiserror::Error)]
#[error("objective {objective} of {service} is unknown: {error}")]
struct Unknown {
    service: ServiceId,
    objective: String,
    #[source]
    error: Error,
}

impl Config {
    /// Asks until `cancel`. No failure ends it: `status` says so, and the budget stands still.
    pub async fn run(
        mut self,
        answers: mpsc::Sender<Indicated>,
        status: Publisher,
        now: Now,
        cancel: CancellationToken,
    ) {
        let client = match Client::new(&self.url, &self.http) {
            Ok(client) => client,
            Err(error) => {
                status.failed(now(), &error);
                return cancel.cancelled().await;
            }
        };
        let interval = self.interval;
        let mut asking = Asking { client, interval, asked: BTreeMap::new(), now };
        let mut ticks = tokio::time::interval_at(Instant::now() + interval, interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wanted = Arc::clone(&self.wanted.borrow_and_update());
            let round = asking.round(&wanted, &answers, &status);
            if cancel.run_until_cancelled(round).await.is_none() {
                return;
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                _ = ticks.tick() => {}
                Ok(()) = self.wanted.changed() => ticks.reset(),
            }
        }
    }
}

struct Asking {
    client: Client,
    interval: Duration,
    /// When each objective was last known.
    asked: BTreeMap<(ServiceId, String), Instant>,
    now: Now,
}

impl Asking {
    async fn round(
        &mut self,
        wanted: &[Wanted],
        answers: &mpsc::Sender<Indicated>,
        status: &Publisher,
    ) {
        let mut failure = None;
        for wanted in wanted {
            match self.one(wanted).await {
                // A step that is far behind loses answers rather than holding the queries up.
                Ok(indicated) => drop(answers.try_send(indicated)),
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        match failure {
            Some(unknown) => status.failed((self.now)(), &unknown),
            None if wanted.is_empty() => {}
            None => status.succeeded((self.now)()),
        }
    }

    async fn one(&mut self, wanted: &Wanted) -> Result<Indicated, Unknown> {
        let Wanted { service, objective, good, total } = wanted;
        let unknown =
            |error| Unknown { service: service.clone(), objective: objective.clone(), error };
        let window = format!("{}s", self.interval.max(WINDOW_LEAST).as_secs());
        let values = Values::from([("backend", &*service.name), ("window", window.as_str())]);
        let total = self.client.measure(total, &values, &self.now).await.map_err(unknown)?;
        let good = self.client.measure(good, &values, &self.now).await.map_err(unknown)?;
        let at = Instant::now();
        let before = self.asked.insert((service.clone(), objective.clone()), at);
        let since = before.map_or(self.interval, |before| at - before);
        let seconds = since.min(self.interval * SPEAKS_FOR).as_secs_f64();
        Ok(Indicated {
            service: service.clone(),
            objective: objective.clone(),
            good: good.min(total) * seconds,
            total: total * seconds,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]

    use super::*;
    use crate::status::Kind;
    use crate::testing::{Canned, serve};
    use weir_engine::units::Moment;

    const NOW: u64 = 1_700_000_000_000;

    fn number(value: &str) -> Canned {
        let body = format!(
            r#"{{"status":"success","data":{{"resultType":"scalar","result":[1,"{value}"]}}}}"#
        );
        Canned::new("200 OK", "application/json", &body)
    }

    fn wanted(good: &str) -> Wanted {
        Wanted {
            service: ServiceId::new("shop", "sear\"ch"),
            objective: "found".to_owned(),
            good: good.to_owned(),
            total: r#"total{b="{{backend}}"}"#.to_owned(),
        }
    }

    /// Asks of a server that answers `good` to everything but the total of ten per second.
    async fn ask(good: &'static str, wanted: Wanted) -> (Option<Indicated>, Option<String>) {
        let server = serve(move |request| {
            let backend = request.path.contains("b%3D%22sear%5C%22ch%22");
            assert!(backend || request.path.contains("good"), "{}", request.path);
            number(if backend { "10" } else { good })
        })
        .await;
        let (publisher, mut status) = Publisher::new("p", Kind::Prometheus, "");
        let (sender, mut answers) = mpsc::channel(8);
        let config = Config {
            url: server.url(),
            http: http::Options::default(),
            interval: Duration::from_secs(15),
            wanted: watch::channel(Arc::new(vec![wanted])).1,
        };
        let cancel = CancellationToken::new();
        let now: Now = Arc::new(|| Moment::from_millis(NOW));
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(config.run(sender, publisher, now, cancel.clone()));
        let done = |s: &crate::status::Status| s.last_error.is_some() || s.last_success.is_some();
        let status = status.wait_for(done).await.unwrap().clone();
        cancel.cancel();
        tasks.join_next().await.unwrap().unwrap();
        (answers.try_recv().ok(), status.last_error.map(|failure| failure.text))
    }

    #[tokio::test]
    async fn rates_become_counts_of_the_time_in_between() {
        let (indicated, error) = ask("4", wanted("good")).await;
        let indicated = indicated.unwrap();
        let asked = wanted("");
        let expected = Indicated {
            service: asked.service,
            objective: asked.objective,
            good: 60.0,
            total: 150.0,
        };
        assert_eq!((indicated, error), (expected, None));
        let (indicated, _) = ask("11", wanted("good")).await;
        let good = indicated.unwrap().good;
        assert!((good - 150.0).abs() < 1e-9, "no more are good than there are: {good}");
    }

    #[tokio::test]
    async fn what_is_no_number_is_unknown_and_never_zero() {
        let (indicated, error) = ask("NaN", wanted("good")).await;
        assert_eq!(indicated, None);
        let error = error.unwrap();
        assert!(error.starts_with("objective found of shop/sear\"ch is unknown"), "{error}");
        let (indicated, error) = ask("1", wanted("good{b={{backend}}}")).await;
        assert!(indicated.is_none() && error.unwrap().contains("stands outside quotes"));
    }
}
