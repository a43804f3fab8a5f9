//! What a server has, looked at before anything is recorded.

use std::time::Duration;

use weir_collectors::prometheus::history::Span;
use weir_collectors::prometheus::mesh::Mesh;
use weir_collectors::prometheus::query::{Query, Values};
use weir_collectors::prometheus::recipe::Recipe;
use weir_collectors::prometheus::{Client, Error};
use weir_engine::units::Moment;

use super::time::{STEP_MAX, STEP_MIN};

/// Unless the server scrapes less often.
pub(super) const STEP: Duration = Duration::from_secs(15);

/// So many names are shown of what is there instead.
const SHOWN_MAX: usize = 12;

/// Words by which metrics of proxies can be told.
const WORDS: [&str; 8] =
    ["istio", "envoy", "linkerd", "response", "request", "upstream", "http", "grpc"];

/// Whose metrics there are: those asked for, or the first of all meshes that has some. Else what is
/// missing, in words.
pub(super) async fn mesh(
    client: &Client,
    asked: Option<Mesh>,
    span: Span,
) -> Result<Result<Mesh, String>, Error> {
    let candidates = asked.map_or(Mesh::ALL.to_vec(), |mesh| vec![mesh]);
    for mesh in &candidates {
        let essential = Query::render(mesh.essential(), &Values::new())?;
        if !client.names(Some(&essential), span).await?.is_empty() {
            return Ok(Ok(*mesh));
        }
    }
    let there = client.names(None, span).await?;
    Ok(Err(missing(&candidates, &there, &found(client, &candidates, span).await?)))
}

/// What the recipes find at all, beside what is essential.
async fn found(client: &Client, meshes: &[Mesh], span: Span) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for mesh in meshes {
        for Recipe { query, .. } in mesh.recipes()? {
            found.extend(client.names(Some(&query), span).await?);
        }
    }
    Ok(found)
}

/// Says what is missing, and what is there instead.
fn missing(asked: &[Mesh], there: &[String], found: &[String]) -> String {
    let essentials: Vec<&str> = asked.iter().map(|mesh| mesh.essential()).collect();
    let asked_for = essentials.join(" or ");
    if there.is_empty() {
        return format!(
            "the server has no metrics at all between --start and --end, asked for {asked_for}: \
             does it keep data for so long, and is this the right tenant?"
        );
    }
    if asked == [Mesh::Envoy] && found.iter().any(|name| name.starts_with("envoy_cluster")) {
        return format!(
            "the server has no {asked_for} but only what Envoy counts of whole clusters: switch \
             on per_endpoint_stats in the clusters' track_cluster_stats"
        );
    }
    let has = |mesh: &Mesh| {
        let metric = mesh.essential().split('{').next().unwrap_or_default();
        there.iter().any(|name| name == metric)
    };
    let instead: Vec<&str> = Mesh::ALL
        .iter()
        .filter(|mesh| !asked.contains(mesh) && has(mesh))
        .map(|m| m.name())
        .collect();
    if let Some(first) = instead.first() {
        return format!(
            "the server has no {asked_for} between --start and --end; there is what --preset \
             {first} asks for"
        );
    }
    format!("the server has no {asked_for} between --start and --end; it has {}", named(there))
}

/// The names most like what was looked for.
fn named(there: &[String]) -> String {
    let near = |name: &&String| WORDS.iter().any(|word| name.contains(word));
    let mut names: Vec<&String> = there.iter().filter(near).collect();
    if names.is_empty() {
        names = there.iter().collect();
    }
    let shown: Vec<&str> = names.iter().take(SHOWN_MAX).map(|name| name.as_str()).collect();
    let more = if there.len() > shown.len() { ", ..." } else { "" };
    format!("{} metrics: {}{more}", there.len(), shown.join(", "))
}

/// How often the server has a sample of the mesh's metrics, where that can be told.
pub(super) async fn sampled_every(
    client: &Client,
    mesh: Mesh,
    (start, end): (Moment, Moment),
) -> Result<Option<Duration>, Error> {
    let length = end.since(start);
    // Data may have begun late or ended early.
    for part in [length, length / 2, length / 4, length * 3 / 4, Duration::ZERO] {
        let every = client.sampled_every(mesh.essential(), start.plus(part)).await?;
        if every.is_some() {
            return Ok(every);
        }
    }
    Ok(None)
}

/// The step to take, and a word on one that does not fit.
pub(super) fn step(asked: Option<Duration>, every: Option<Duration>) -> (Duration, Option<String>) {
    let every = every.unwrap_or(STEP_MIN);
    let fitting = STEP.max(every).min(STEP_MAX);
    let step = asked.unwrap_or(fitting);
    let word = (step < every).then(|| {
        format!(
            "the server has a sample every {every:?} only, so steps of {step:?} see nothing new \
             now and then and twice as much after it; take --step {fitting:?} or longer"
        )
    });
    (step, word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_no_shorter_than_the_time_between_samples() {
        let seconds = Duration::from_secs;
        for (asked, every, expected, said) in [
            (None, None, 15, false),
            (None, Some(5), 15, false),
            (None, Some(30), 30, false),
            (None, Some(300), 60, true),
            (Some(5), Some(5), 5, false),
            (Some(5), Some(15), 5, true),
            (Some(60), Some(15), 60, false),
        ] {
            let (step, word) = step(asked.map(seconds), every.map(seconds));
            assert_eq!((step, word.is_some()), (seconds(expected), said), "{asked:?} {every:?}");
        }
    }

    #[track_caller]
    fn check(asked: &[Mesh], there: &[&str], found: &[&str], expected: &str) {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        let said = missing(asked, &owned(there), &owned(found));
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn what_is_missing_is_named_with_what_is_there() {
        check(&[Mesh::Istio], &[], &[], "no metrics at all");
        check(&[Mesh::Istio], &[], &[], r#"istio_requests_total{reporter="destination"}"#);
        check(&[Mesh::Istio], &["response_total"], &[], "--preset linkerd");
        let totals = ["envoy_cluster_upstream_rq_xx"];
        check(&[Mesh::Envoy], &totals, &totals, "per_endpoint_stats");
        check(&Mesh::ALL, &["up", "go_gc"], &[], "it has 2 metrics: up, go_gc");
        check(
            &Mesh::ALL,
            &["up", "nginx_http_requests"],
            &[],
            "2 metrics: nginx_http_requests, ...",
        );
    }
}
