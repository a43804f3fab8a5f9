//! Pools reports over clients: the one place where many proxies' words become one row.
//!
//! Sums are plain, but for judging one reporter weighs at most a tenth where at least ten report:
//! counts are winsorised per reporter, then pooled. A median of ratios would be ruled by the
//! reporters with the fewest requests.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Report, Row, Sample, ServiceTraffic, Verdict, ZoneTraffic};
use crate::names::{ClusterName, Place};
use crate::topology::{ServiceTopology, Topology};

/// Where at least so many reporters speak of an endpoint, none weighs more than its part of them.
const REPORTERS_FOR_A_QUORUM: usize = 10;

/// Pools reports into one row per service and endpoint. The order of reports does not matter;
/// reports of unknown clusters and samples of undeclared endpoints are left out.
pub fn fold(reports: &[Report], topology: &Topology) -> Vec<ServiceTraffic> {
    let owners = owners(topology);
    let mut by_service: BTreeMap<usize, Vec<&Report>> = BTreeMap::new();
    for report in reports {
        if let Some(&service) = owners.get(&report.cluster) {
            by_service.entry(service).or_default().push(report);
        }
    }
    by_service
        .into_iter()
        .map(|(service, reports)| fold_service(&topology.services[service], reports))
        .collect()
}

fn owners(topology: &Topology) -> BTreeMap<&ClusterName, usize> {
    let mut owners = BTreeMap::new();
    for (index, service) in topology.services.iter().enumerate() {
        owners.extend(service.clusters.iter().map(|cluster| (&cluster.name, index)));
    }
    owners
}

fn fold_service(service: &ServiceTopology, mut reports: Vec<&Report>) -> ServiceTraffic {
    // A total order, so that floating-point sums do not depend on the order of arrival.
    reports.sort_by(|a, b| {
        (&a.reporter, &a.cluster, a.source, a.at).cmp(&(&b.reporter, &b.cluster, b.source, b.at))
    });
    let mut zones: Vec<&Place> = reports.iter().map(|report| &report.zone).collect();
    zones.sort();
    zones.dedup();
    let pool = Pool::of(service, &reports);
    ServiceTraffic {
        service: service.service.clone(),
        clients: pool.clients,
        reporters: pool.reporters,
        rows: pool.rows(),
        totals: pool.totals,
        zones: if zones.len() < 2 { Vec::new() } else { by_zone(service, &reports, &zones) },
    }
}

fn by_zone(service: &ServiceTopology, reports: &[&Report], zones: &[&Place]) -> Vec<ZoneTraffic> {
    zones
        .iter()
        .map(|&zone| {
            let own: Vec<&Report> =
                reports.iter().copied().filter(|report| report.zone == *zone).collect();
            ZoneTraffic { zone: zone.clone(), rows: Pool::of(service, &own).rows() }
        })
        .collect()
}

/// One endpoint while it is being summed.
#[derive(Clone, Default)]
struct Column {
    row: Row,
    known: bool,
    /// (requests, errors) of each reporter that had any.
    votes: Vec<(f64, f64)>,
}

struct Pool {
    columns: Vec<Column>,
    totals: Option<Row>,
    clients: u32,
    reporters: u32,
}

impl Pool {
    /// Sums sorted reports.
    fn of(service: &ServiceTopology, reports: &[&Report]) -> Self {
        let mut pool = Self {
            columns: alloc::vec![Column::default(); service.endpoints.len()],
            totals: None,
            clients: 0,
            reporters: 0,
        };
        for node in reports.chunk_by(|a, b| a.reporter == b.reporter) {
            let mut votes = alloc::vec![(0.0, 0.0); service.endpoints.len()];
            let clients_before = pool.clients;
            for client in node.chunk_by(|a, b| a.cluster == b.cluster) {
                pool.add_client(service, client, &mut votes);
            }
            pool.reporters += u32::from(pool.clients > clients_before);
            for (column, vote) in pool.columns.iter_mut().zip(votes) {
                if vote.0 > 0.0 {
                    column.votes.push(vote);
                }
            }
        }
        pool
    }

    fn add_client(
        &mut self,
        service: &ServiceTopology,
        reports: &[&Report],
        votes: &mut [(f64, f64)],
    ) {
        let counting: Vec<&&Report> =
            reports.iter().filter(|report| report.source == service.counts).collect();
        let counted = counting.iter().any(|report| report.complete || !report.samples.is_empty());
        self.clients += u32::from(counted);
        let mut seen = alloc::vec![false; self.columns.len()];
        for report in reports {
            let counts = report.source == service.counts;
            self.add_totals(report, counts);
            let mut listed = alloc::vec![false; self.columns.len()];
            let mut likely = 0;
            for sample in &report.samples {
                let Some(index) = service.index_near(&sample.endpoint, likely) else { continue };
                likely = index + 1;
                let column = &mut self.columns[index];
                column.add_levels(sample);
                if counts && let Some(requests) = sample.requests {
                    column.add_counts(sample, requests);
                    votes[index].0 += requests as f64;
                    votes[index].1 += sample.errors.unwrap_or(0) as f64;
                    listed[index] = true;
                }
            }
            if counts {
                for index in 0..self.columns.len() {
                    if listed[index] || report.complete {
                        let exposure = &mut self.columns[index].row.exposure;
                        *exposure = exposure.saturating_add(report.window);
                        self.columns[index].known = true;
                        seen[index] = true;
                    }
                }
            }
        }
        for (column, seen) in self.columns.iter_mut().zip(seen) {
            column.row.clients += u32::from(seen);
        }
    }

    /// Counts come from the believed source alone; latency from whoever has it.
    fn add_totals(&mut self, report: &Report, counts: bool) {
        let Some(sample) = &report.totals else { return };
        let totals = self.totals.get_or_insert_default();
        if counts {
            add(&mut totals.requests, sample.requests);
            add(&mut totals.errors, sample.errors);
            add(&mut totals.timeouts, sample.timeouts);
            add(&mut totals.local_failures, sample.local_failures);
            totals.exposure = totals.exposure.saturating_add(report.window);
            totals.clients += 1;
        }
        if let Some(latency) = &sample.latency {
            totals.latency.add(latency);
        }
    }

    fn rows(&self) -> Arc<[Row]> {
        let columns = self.columns.iter().enumerate().filter(|(_, column)| column.known);
        columns
            .map(|(index, column)| {
                let (judged_requests, judged_errors) = winsorised(&column.votes);
                Row {
                    endpoint: u32::try_from(index).unwrap_or(u32::MAX),
                    judged_requests,
                    judged_errors,
                    ..column.row.clone()
                }
            })
            .collect()
    }
}

/// Adds a count from outside, which may be any number.
fn add(sum: &mut u64, count: Option<u64>) {
    *sum = sum.saturating_add(count.unwrap_or(0));
}

impl Column {
    fn add_counts(&mut self, sample: &Sample, requests: u64) {
        add(&mut self.row.requests, Some(requests));
        add(&mut self.row.errors, sample.errors.map(|errors| errors.min(requests)));
        add(&mut self.row.timeouts, sample.timeouts);
        add(&mut self.row.local_failures, sample.local_failures);
        if let Some(in_flight) = sample.in_flight.filter(|value| value.is_finite()) {
            *self.row.in_flight.get_or_insert(0.0) += in_flight;
        }
    }

    /// What may come from any source, since it is counted nowhere else.
    fn add_levels(&mut self, sample: &Sample) {
        if let Some(latency) = &sample.latency {
            self.row.latency.add(latency);
            self.known = true;
        }
        if let Some(verdict) = sample.verdict {
            self.row.opinions += 1;
            self.row.ejected_by += u32::from(verdict != Verdict::Healthy);
            self.known = true;
        }
    }
}

/// Sums (requests, errors) so that none of ten or more reporters weighs more than a tenth.
fn winsorised(votes: &[(f64, f64)]) -> (f64, f64) {
    let cap = largest_vote(votes);
    votes.iter().fold((0.0, 0.0), |(requests, errors), &(own, failed)| {
        let weight = if own > cap { cap / own } else { 1.0 };
        (requests + own * weight, errors + failed.min(own) * weight)
    })
}

/// The largest `t` with t <= sum(min(own, t)) / 10; unlimited for fewer than ten reporters.
fn largest_vote(votes: &[(f64, f64)]) -> f64 {
    if votes.len() < REPORTERS_FOR_A_QUORUM {
        return f64::INFINITY;
    }
    let mut sorted: Vec<f64> = votes.iter().map(|vote| vote.0).collect();
    sorted.sort_by(f64::total_cmp);
    let quorum = REPORTERS_FOR_A_QUORUM as f64;
    // With the k largest capped at t: t = (sum of the others) / (10 - k), for the least such k
    // whose t does not exceed the smallest capped vote.
    let mut below: f64 = sorted.iter().sum();
    let mut cap = f64::INFINITY;
    for (capped, &largest) in sorted.iter().rev().enumerate().take(REPORTERS_FOR_A_QUORUM) {
        let limit = below / (quorum - capped as f64);
        if largest <= limit {
            break;
        }
        below -= largest;
        // At least ten reporters: capping nine leaves the rest to set the limit.
        let left = quorum - (capped + 1) as f64;
        cap = if left > 0.0 { below / left } else { sorted[sorted.len() - 1 - capped] };
    }
    cap
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latency;
    use crate::names::ServiceId;
    use crate::observation::Source;
    use crate::topology::{ClientCluster, ClusterForm, Endpoint};
    use crate::units::{Millis, Moment};
    use core::time::Duration;
    use proptest::prelude::*;

    fn topology(endpoints: &[&str]) -> Topology {
        Topology {
            services: alloc::vec![ServiceTopology {
                service: ServiceId::new("demo", "shop"),
                endpoints: endpoints
                    .iter()
                    .map(|&address| Endpoint {
                        address: address.into(),
                        locality: crate::names::Locality::default(),
                        concurrency: None,
                        ready: true,
                    })
                    .collect(),
                clusters: alloc::vec![
                    ClientCluster { name: "one".into(), form: ClusterForm::native() },
                    ClientCluster { name: "two".into(), form: ClusterForm::native() },
                ],
                counts: Source::LoadReport,
            }],
        }
    }

    fn report(node: &str, cluster: &str, counts: &[(&str, u64, u64)]) -> Report {
        Report {
            reporter: node.into(),
            cluster: cluster.into(),
            zone: "".into(),
            source: Source::LoadReport,
            at: Moment::from_millis(1_000),
            window: Duration::from_secs(1),
            complete: true,
            samples: counts
                .iter()
                .map(|&(endpoint, requests, errors)| Sample {
                    endpoint: endpoint.into(),
                    requests: Some(requests),
                    errors: Some(errors),
                    ..Sample::default()
                })
                .collect(),
            totals: None,
        }
    }

    fn only(traffic: &[ServiceTraffic]) -> &ServiceTraffic {
        assert_eq!(traffic.len(), 1);
        &traffic[0]
    }

    #[test]
    fn sums_over_clients_and_takes_an_unlisted_endpoint_for_idle() {
        let folded = fold(
            &[report("n", "one", &[("a", 10, 1)]), report("n", "two", &[("a", 5, 0), ("b", 3, 0)])],
            &topology(&["a", "b"]),
        );
        let traffic = only(&folded);
        assert_eq!((traffic.clients, traffic.reporters), (2, 1));
        let rows: Vec<_> = traffic
            .rows
            .iter()
            .map(|row| (row.endpoint, row.requests, row.errors, row.clients))
            .collect();
        assert_eq!(rows, [(0, 15, 1, 2), (1, 3, 0, 2)]);
        assert_eq!(traffic.rows[0].span(), Duration::from_secs(1));
    }

    #[test]
    fn a_second_source_adds_latency_but_no_counts() {
        let mut log = report("n", "one", &[("a", 7, 7)]);
        log.source = Source::AccessLog;
        log.complete = false;
        let mut latency = Latency::default();
        latency.record(Millis::clamped(12.0));
        log.samples[0].latency = Some(latency);
        let folded = fold(&[report("n", "one", &[("a", 10, 1)]), log], &topology(&["a"]));
        let row = &only(&folded).rows[0];
        assert_eq!((row.requests, row.errors), (10, 1));
        assert!((row.latency.sum_ms - 12.0).abs() < 1e-9);
    }

    #[test]
    fn two_sources_of_totals_are_not_counted_twice() {
        let mut pushed = report("n", "one", &[("a", 10, 1)]);
        pushed.totals = Some(Sample { requests: Some(12), ..Sample::default() });
        let mut scraped = report("n", "one", &[]);
        scraped.source = Source::Scrape;
        let mut latency = Latency::default();
        latency.record(Millis::clamped(5.0));
        scraped.totals =
            Some(Sample { requests: Some(11), latency: Some(latency), ..Sample::default() });
        let folded = fold(&[pushed, scraped], &topology(&["a"]));
        let totals = only(&folded).totals.as_ref().unwrap();
        assert_eq!((totals.requests, totals.clients), (12, 1));
        assert!((totals.latency.count - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_nobody_reported_is_unknown() {
        let mut partial = report("n", "one", &[("a", 10, 1)]);
        partial.complete = false;
        let folded = fold(&[partial], &topology(&["a", "b"]));
        assert_eq!(only(&folded).rows.len(), 1, "b is unknown, not idle");
        assert!(fold(&[report("n", "foreign", &[("a", 1, 1)])], &topology(&["a"])).is_empty());
    }

    #[test]
    fn a_late_report_widens_the_span_instead_of_the_rate() {
        let twice = [report("n", "one", &[("a", 10, 0)]), report("n", "one", &[("a", 10, 0)])];
        let folded = fold(&twice, &topology(&["a"]));
        assert_eq!(only(&folded).rows[0].rate(), Some(10.0));
    }

    #[test]
    fn one_liar_among_twenty_weighs_a_tenth() {
        let mut reports: Vec<Report> =
            (0..19).map(|n| report(&format!("n{n:02}"), "one", &[("a", 100, 0)])).collect();
        reports.push(report("liar", "one", &[("a", 1_000_000, 1_000_000)]));
        let folded = fold(&reports, &topology(&["a"]));
        let row = &only(&folded).rows[0];
        assert!(row.judged_errors / row.judged_requests <= 0.1 + 1e-9, "{row:?}");
    }

    #[test]
    fn zones_are_split_where_there_are_two() {
        let mut other = report("m", "two", &[("a", 4, 0)]);
        other.zone = "z2".into();
        let folded = fold(&[report("n", "one", &[("a", 6, 0)]), other], &topology(&["a"]));
        let zones: Vec<_> =
            only(&folded).zones.iter().map(|z| (z.zone.as_str(), z.rows[0].requests)).collect();
        assert_eq!(zones, [("", 6), ("z2", 4)]);
    }

    proptest! {
        #[test]
        fn order_does_not_matter_and_no_reporter_rules(
            counts in prop::collection::vec((0_u64..2_000, 0_u64..2_000), 1..40),
            rotate in 0_usize..40,
        ) {
            let mut reports: Vec<Report> = counts
                .iter()
                .enumerate()
                .map(|(n, &(requests, errors))| report(&format!("n{n:02}"), "one", &[("a", requests, errors.min(requests))]))
                .collect();
            let topology = topology(&["a"]);
            let folded = fold(&reports, &topology);
            let turn = rotate % reports.len();
            reports.rotate_left(turn);
            prop_assert_eq!(&fold(&reports, &topology), &folded);
            let votes: Vec<(f64, f64)> = counts.iter().filter(|c| c.0 > 0).map(|c| (c.0 as f64, 0.0)).collect();
            if votes.len() >= 10 {
                let cap = largest_vote(&votes);
                let sum: f64 = votes.iter().map(|v| v.0.min(cap)).sum();
                for vote in &votes {
                    prop_assert!(vote.0.min(cap) <= sum / 10.0 * (1.0 + 1e-9));
                }
            }
        }
    }
}
