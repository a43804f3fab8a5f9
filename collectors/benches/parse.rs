//! How fast Envoy's text of 1,000 endpoints is read and each value put where it belongs, beside
//! two rivals in the same run: `cargo bench -p weir-collectors --bench parse`.
//!
//! *warm*: the layout is that of the last text, as it is nearly always. *cold*: the first text.
//! *moved*: one endpoint more at the front, so that every line stands elsewhere. The rivals are
//! what one writes in ten minutes: split at spaces and look the series up in a `HashMap`, with
//! the labels left as they are (*split*) or taken apart into a map (*labels*).
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints and may panic")]

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::hint::black_box;
use std::time::Instant;

use weir_collectors::exposition::line::Sample;
use weir_collectors::exposition::{Key, Reader, Sink};

const ENDPOINTS: u32 = 1_000;
/// Rounds per candidate, interleaved; the median is printed.
const ROUNDS: usize = 41;

/// The families that Envoy 1.40 prints per endpoint, in its order and form.
const FAMILIES: [(&str, &str); 10] = [
    ("cx_connect_fail", "counter"),
    ("cx_total", "counter"),
    ("rq_error", "counter"),
    ("rq_success", "counter"),
    ("rq_timeout", "counter"),
    ("rq_total", "counter"),
    ("cx_active", "gauge"),
    ("healthy", "gauge"),
    ("rq_active", "gauge"),
    ("rq_pending_active", "gauge"),
];

fn text(first: u32, round: u32) -> String {
    let mut text = String::new();
    for (family, (name, kind)) in (1_u32..).zip(FAMILIES) {
        writeln!(text, "# TYPE envoy_cluster_endpoint_{name} {kind}").unwrap();
        for endpoint in first..ENDPOINTS {
            let value = (endpoint * 7 + round * 13) * family % 100_000;
            writeln!(
                text,
                "envoy_cluster_endpoint_{name}{{envoy_cluster_name=\"shop\",\
                 envoy_endpoint_address=\"10.{}.{}.{}:8080\"}} {value}",
                endpoint / 65_536,
                endpoint / 256 % 256,
                endpoint % 256,
            )
            .unwrap();
        }
    }
    text
}

/// Columns by key, as the scraper keeps them.
#[derive(Default)]
struct Columns {
    keys: HashMap<String, Key>,
    values: Vec<f64>,
}

impl Sink for Columns {
    fn resolve(&mut self, sample: &Sample<'_>) -> Key {
        let name = format!("{}{:?}", sample.name, sample.labels);
        let values = &mut self.values;
        *self.keys.entry(name).or_insert_with(|| {
            values.push(f64::NAN);
            Key::of(values.len() - 1)
        })
    }

    fn value(&mut self, key: Key, value: f64, _timestamp: Option<i64>) {
        self.values[key.index()] = value;
    }
}

fn ours(reader: &mut Reader, columns: &mut Columns, text: &str) -> u64 {
    reader.begin();
    for chunk in text.as_bytes().chunks(64 * 1024) {
        reader.push(chunk, columns).unwrap();
    }
    reader.finish(columns).unwrap().samples
}

fn split(values: &mut HashMap<String, f64>, text: &str) -> u64 {
    let mut samples = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let value = value.parse().unwrap();
        match values.get_mut(series) {
            Some(slot) => *slot = value,
            None => drop(values.insert(series.to_owned(), value)),
        }
        samples += 1;
    }
    samples
}

type Labelled = HashMap<(String, BTreeMap<String, String>), f64>;

fn labels(values: &mut Labelled, text: &str) -> u64 {
    let mut samples = 0;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let (name, rest) = series.split_once('{').unwrap();
        let pairs = rest.trim_end_matches('}').split(',').filter_map(|pair| pair.split_once('='));
        let labels =
            pairs.map(|(name, value)| (name.to_owned(), value.trim_matches('"').to_owned()));
        values.insert((name.to_owned(), labels.collect()), value.parse().unwrap());
        samples += 1;
    }
    samples
}

fn median_seconds(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn main() {
    let (mut reader, mut columns) = (Reader::default(), Columns::default());
    let (mut split_values, mut label_values) = (HashMap::new(), Labelled::new());
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    let mut bytes: BTreeMap<&str, usize> = BTreeMap::new();
    let mut run = |name: &'static str, text: &str, work: &mut dyn FnMut(&str) -> u64| {
        let started = Instant::now();
        black_box(work(text));
        times.entry(name).or_default().push(started.elapsed().as_secs_f64());
        bytes.insert(name, text.len());
    };
    for round in 0..u32::try_from(ROUNDS).unwrap() {
        let (shorter, text) = (text(1, round), text(0, round));
        run("cold", &text, &mut |text| ours(&mut Reader::default(), &mut Columns::default(), text));
        ours(&mut reader, &mut columns, &shorter);
        run("moved", &text, &mut |text| ours(&mut reader, &mut columns, text));
        run("warm", &text, &mut |text| ours(&mut reader, &mut columns, text));
        run("split", &text, &mut |text| split(&mut split_values, text));
        run("labels", &text, &mut |text| labels(&mut label_values, text));
    }
    let lines = f64::from(ENDPOINTS) * FAMILIES.len() as f64;
    let rival = median_seconds(times["split"].clone());
    println!("{ENDPOINTS} endpoints, {lines} series, {:.2} MB", bytes["warm"] as f64 / 1e6);
    for name in ["warm", "moved", "cold", "split", "labels"] {
        let seconds = median_seconds(times[name].clone());
        println!(
            "{name:>7}: {:>6.3} GB/s {:>7.1} Mseries/s {:>8.3} ms {:>6.2}x split",
            bytes[name] as f64 / seconds / 1e9,
            lines / seconds / 1e6,
            seconds * 1e3,
            rival / seconds,
        );
    }
}
