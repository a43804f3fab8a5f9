use super::*;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use std::time::Duration;
use weir_engine::approval::Word;
use weir_engine::latency::Latency;
use weir_engine::observation::{
    Fitted, Indicated, LogVolume, Outcome, Receipt, Row, ServiceTraffic, ZoneTraffic,
};

/// Counts, fractions of ten and of nanoseconds, and whatever else 64 bits can be.
fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (0_u32..200).prop_map(f64::from),
        2 => (0_u32..2_000).prop_map(|n| f64::from(n) / 10.0),
        2 => (0_u64..1 << 40, -9_i64..9)
            .prop_map(|(n, off)| f64::from_bits((n as f64 / 1e6).to_bits().saturating_add_signed(off))),
        1 => any::<u64>().prop_map(f64::from_bits),
        1 => prop::sample::select(vec![f64::NAN, -f64::NAN, f64::INFINITY, -0.0, -3.0, 1e300, 5e-324]),
    ]
}

fn count() -> impl Strategy<Value = u64> {
    prop_oneof![3 => Just(0), 6 => 0_u64..100, 1 => any::<u64>()]
}

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![6 => 0_u32..10, 1 => any::<u32>()]
}

fn length() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => (0_u64..3_000).prop_map(Duration::from_millis),
        1 => (any::<u64>(), 0_u32..1_000_000_000).prop_map(|(s, n)| Duration::new(s, n)),
    ]
}

fn latency() -> impl Strategy<Value = Latency> {
    let usual = vec(prop_oneof![2 => Just(0_u32), 1 => 1_u32..50], 0..25).prop_map(|counts| {
        let numbered = (20_u8..).zip(counts).filter(|(_, count)| *count > 0);
        numbered.map(|(bucket, count)| (bucket, f64::from(count))).collect::<Vec<_>>()
    });
    let odd = vec((any::<u8>(), float()), 0..6);
    let buckets = prop_oneof![4 => usual, 1 => odd];
    (option::of(float()), float(), buckets).prop_map(|(count, sum_ms, buckets)| Latency {
        count: count.unwrap_or(buckets.iter().map(|(_, count)| count).sum()),
        sum_ms,
        buckets,
    })
}

fn row() -> impl Strategy<Value = Row> {
    let counts = (count(), count(), count(), count());
    let judged = (option::of(float()), option::of(float()));
    let levels = (option::of(float()), number(), number(), number());
    (number(), counts, judged, length(), levels, latency()).prop_map(
        |(endpoint, counts, judged, exposure, levels, latency)| Row {
            endpoint,
            requests: counts.0,
            errors: counts.1,
            timeouts: counts.2,
            local_failures: counts.3,
            judged_requests: judged.0.unwrap_or(counts.0 as f64),
            judged_errors: judged.1.unwrap_or(counts.1 as f64),
            exposure,
            clients: levels.1,
            in_flight: levels.0,
            latency,
            ejected_by: levels.2,
            opinions: levels.3,
        },
    )
}

/// In order and of many endpoints, or in whatever order.
fn rows() -> impl Strategy<Value = Arc<[Row]>> {
    (any::<bool>(), vec(row(), 0..12), 1_usize..40).prop_map(|(ordered, rows, times)| {
        let many = rows.iter().cycle().take(if ordered { rows.len() * times } else { rows.len() });
        let numbered = many.cloned().zip(0_u32..);
        numbered
            .map(|(row, n)| Row { endpoint: if ordered { n } else { row.endpoint }, ..row })
            .collect()
    })
}

/// What zones saw; the whole is often their sum, though never quite in this order of adding.
fn traffic() -> impl Strategy<Value = ServiceTraffic> {
    let zones = vec((name(), rows()), 0..4);
    let whole = (rows(), any::<bool>(), option::of(row()));
    (service(), number(), number(), zones, whole).prop_map(
        |(service, clients, reporters, zones, (mut rows, summed, totals))| {
            if let (true, Some((_, first))) = (summed, zones.first()) {
                let sum = |row: &Row| {
                    let others = zones[1..].iter().flat_map(|(_, rows)| &rows[..]);
                    let alike = others.filter(|other| other.endpoint == row.endpoint);
                    let mut sum = row.clone();
                    alike.for_each(|other| sum.add(other));
                    sum
                };
                rows = first.iter().map(sum).collect();
            }
            let zones = zones.into_iter();
            let zones = zones.map(|(zone, rows)| ZoneTraffic { zone: zone.as_str().into(), rows });
            ServiceTraffic { service, clients, reporters, rows, totals, zones: zones.collect() }
        },
    )
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[ab]", 1 => any::<String>()]
}

fn service() -> impl Strategy<Value = ServiceId> {
    (name(), name()).prop_map(|(namespace, name)| ServiceId::new(&namespace, &name))
}

fn receipt() -> impl Strategy<Value = Receipt> {
    let outcome = prop_oneof![
        3 => Just(Outcome::Taken),
        1 => Just(Outcome::Silent),
        1 => name().prop_map(Outcome::Refused),
    ];
    (name(), service(), count(), outcome).prop_map(|(node, service, decision, outcome)| Receipt {
        node: node.as_str().into(),
        service,
        decision,
        outcome,
    })
}

fn lists() -> impl Strategy<Value = Observation> {
    let log = (name(), count(), option::of(count()), length()).prop_map(
        |(node, entries, requests, window)| LogVolume {
            node: node.as_str().into(),
            entries,
            requests,
            window,
        },
    );
    let indicated =
        (service(), name(), float(), float()).prop_map(|(service, objective, good, total)| {
            Indicated { service, objective, good, total }
        });
    let fitted = (service(), count(), any::<Vec<u8>>())
        .prop_map(|(service, version, weights)| Fitted { service, version, weights });
    let until = option::of((0..u64::MAX).prop_map(Moment::from_millis));
    let word = (service(), count(), until, name()).prop_map(|(service, offer, until, by)| Word {
        service,
        offer,
        until,
        by,
    });
    let spoken = (vec(receipt(), 0..4), vec(word, 0..3));
    (vec(log, 0..4), vec(indicated, 0..3), vec(fitted, 0..3), spoken).prop_map(
        |(logs, indicated, fitted, (receipts, words))| Observation {
            logs,
            indicated,
            fitted,
            receipts,
            words,
            ..Observation::default()
        },
    )
}

fn observation() -> impl Strategy<Value = Observation> {
    let declared = option::weighted(0.2, Just(Topology::default()));
    let wanted = option::weighted(0.2, Just(Goals::default()));
    let flags = (option::of(any::<u32>()), any::<bool>());
    (any::<u64>(), lists(), vec(traffic(), 0..3), declared, wanted, flags).prop_map(
        |(at, lists, traffic, topology, goals, (log_budget, unrecorded))| Observation {
            at: Moment::from_millis(at),
            traffic,
            topology,
            goals,
            log_budget,
            unrecorded,
            ..lists
        },
    )
}

fn step() -> impl Strategy<Value = Record> {
    let pushed = (name(), name(), name(), option::of(any::<u64>()))
        .prop_map(|(kind, name, to, version)| Pushed { kind, name, to, version });
    let parts = (observation(), any::<[u8; 16]>(), vec(pushed, 0..3));
    parts.prop_map(|(observation, decision, pushed)| {
        Record::Step(Box::new(Step { observation, decision, changed: vec![], pushed }))
    })
}

/// All bits: a number that is none equals nothing.
#[track_caller]
fn assert_same(read: &Record, written: &Record) {
    let (Record::Step(read), Record::Step(written)) = (read, written) else {
        return assert_eq!(read, written);
    };
    let bits = |step: &Step| plain(&step.observation);
    if bits(read) != bits(written) {
        assert_eq!(read.observation, written.observation);
        panic!("bits differ");
    }
    assert_eq!((read.decision, &read.changed), (written.decision, &written.changed));
}

fn recorded() -> Vec<Record> {
    let file = include_bytes!("../../tests/golden/v1.weir");
    crate::Reader::open(file).unwrap().1.map(Result::unwrap).collect()
}

#[track_caller]
fn check(records: &[Record]) -> Vec<Vec<u8>> {
    let (mut encoder, mut decoder) = (Encoder::default(), Decoder::default());
    let mut bodies = Vec::new();
    for record in records {
        let body = encoder.body(record);
        assert_same(&decoder.record(&body).unwrap(), record);
        bodies.push(body);
    }
    bodies
}

proptest! {
    #[test]
    fn what_is_written_is_read_bit_for_bit(records in vec(step(), 1..5)) {
        check(&records);
    }

    #[test]
    fn no_bytes_panic(kind in 1_u8..4, bytes in vec(any::<u8>(), 0..200)) {
        let body: Vec<u8> = [kind].into_iter().chain(bytes).collect();
        let mut decoder = Decoder::default();
        drop(decoder.record(&body));
        drop(decoder.record(&body));
    }

    #[test]
    fn no_change_of_a_frame_panics(
        records in vec(step(), 1..3),
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut decoder = Decoder::default();
        for mut body in check(&records) {
            for (at, byte) in &changes {
                let at = at.index(body.len());
                body[at] = *byte;
            }
            drop(decoder.record(&body));
        }
    }
}

#[test]
fn a_recording_of_a_real_mesh_comes_back() {
    let records = recorded();
    assert!(
        records
            .iter()
            .any(|record| matches!(record, Record::Step(step) if !step.changed.is_empty()))
    );
    let bodies = check(&records);
    let size: usize = bodies.iter().map(Vec::len).sum();
    let old = include_bytes!("../../tests/golden/v1.weir").len();
    assert!(size < old * 6 / 10, "{size} of {old} bytes");
}

#[test]
fn what_a_later_build_adds_is_skipped_and_what_an_earlier_one_lacks_is_default() {
    let record = &recorded()[1];
    let mut body = Encoder::default().body(record);
    bytes::put(&mut body, 1_000 << 1);
    bytes::put_sized(&mut body, b"a field of next year's");
    assert_same(&Decoder::default().record(&body).unwrap(), record);

    let mut bare = vec![STEP];
    for (number, bytes) in [(field::AT, &[0][..]), (field::DIGEST, &[7; 16])] {
        bytes::put(&mut bare, (number as u64) << 1);
        bytes::put_sized(&mut bare, bytes);
    }
    let read = Decoder::default().record(&bare).unwrap();
    let Record::Step(read) = read else { panic!("{read:?}") };
    assert_eq!(read.observation, Observation::default());
}

#[test]
fn an_absurd_number_of_rows_is_refused() {
    let rows: Vec<Row> =
        (0..3_000_000).map(|endpoint| Row { endpoint, ..Row::default() }).collect();
    let traffic = vec![ServiceTraffic { rows: rows.into(), ..ServiceTraffic::default() }];
    let observation = Observation { traffic, ..Observation::default() };
    let step = Step { observation, decision: [0; 16], changed: vec![], pushed: vec![] };
    let body = Encoder::default().body(&Record::Step(Box::new(step)));
    assert!(body.len() < 200);
    let error = Decoder::default().record(&body).unwrap_err().to_string();
    assert!(error.contains("absurd length"), "{error}");
}

#[test]
fn a_segment_says_in_which_epoch_it_was_decided() {
    for epoch in [None, Some(0), Some(7), Some(u64::MAX)] {
        let opened = Record::Opened {
            at: Moment::from_millis(5),
            build: "1.0.0".to_owned(),
            model: "reference".to_owned(),
            epoch,
            state: StateImage::of(&1_u8),
        };
        let body = Encoder::default().body(&opened);
        assert_eq!(Decoder::default().record(&body).unwrap(), opened);
    }
}
