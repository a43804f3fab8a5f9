//! The texts that both read: real ones, nasty ones, broken ones, and hundreds made of their
//! pieces.

use std::time::{SystemTime, UNIX_EPOCH};

use weir_collectors::exposition::line::Format;

use super::Page;

/// Lines that are right or wrong each by itself, a job each, so that each has a verdict.
const LINES: [&str; 76] = [
    "a 1",
    "a{} 1",
    "a  1  ",
    "a{}1",
    "a{x=\"1\"}1",
    "a+1",
    "a{x=\"1\",} 1",
    "a { x = \"1\" , y = \"2\" } 1",
    "a{ x=\"1\" } 1",
    "job:a:rate5m{x=\"1\"} 1",
    ":a 1",
    "a:b:c 1",
    "_a1 1",
    "a{_x=\"1\"} 1",
    "a{x=\"\"} 1",
    "a{x=\"\",y=\"1\"} 1",
    "a{x=\"{,}=\\\"} 1\"} 3",
    "a{x=\"# not a comment\"} 3",
    "a{x=\"c:\\\\dir\\nline\"} 3",
    "a{x=\"\\d+\\\\\"} 3",
    "a{x=\"\\t\"} 3",
    "a{x=\"日本\",y=\"é\"} 3",
    "a{x=\"\\é\"} 3",
    "a{x=\"tab\there\"} 3",
    "a NaN",
    "a nan",
    "a +NaN",
    "a -NaN",
    "a +Inf",
    "a -Inf",
    "a Inf",
    "a inf",
    "a Infinity",
    "a -infinity",
    "a -0",
    "a 007",
    "a .5",
    "a 5.",
    "a .",
    "a 1e3",
    "a 1E-3",
    "a 1e999",
    "a -1e999",
    "a 1e-999",
    "a 0x10",
    "a 1_000",
    "a 1p4",
    "a 12345678901234567890",
    "a 9007199254740993",
    "a 2.0487804878048780921062643756159",
    "a 4.9e-324",
    "a 1.7976931348623157e308",
    "a one",
    "a",
    "a{}",
    "a{x=\"1\"",
    "a{x=\"1} 1",
    "a{x=1} 1",
    "a{x} 1",
    "a{,} 1",
    "a{x=\"1\",,y=\"2\"} 1",
    "a{x=\"1\" y=\"2\"} 1",
    "a{x:y=\"1\"} 1",
    "a{1x=\"1\"} 1",
    "a{x=\"1\",x=\"2\"} 1",
    "a{x=\"1\"} 1 2 3",
    "a 1 1.5",
    "a 1 -5",
    "a 1 +5",
    "a 1 x",
    "1a 1",
    "a-b 1",
    "{} 1",
    "{x=\"1\"} 1",
    "a 1\r",
    "é 1",
];

/// What we read and 2.42 does not: quoted names and exemplars in plain text, which later targets
/// write, and space before the name, which its own documentation allows.
const ONLY_OURS: [&str; 6] = [
    " a 1",
    "\ta\t1\t",
    "a 1 # {x=\"1\"} 1",
    "{\"my.metric\"} 1",
    "{\"my.metric\",\"a.b\"=\"1\"} 1",
    "a{\"a.b\"=\"1\"} 1",
];

/// Whether Prometheus 2.42 may refuse what we take: see [`ONLY_OURS`].
pub(super) fn only_ours(body: &str) -> bool {
    body.strip_suffix('\n').is_some_and(|line| ONLY_OURS.contains(&line))
}

/// All pages.
pub(super) fn pages() -> Vec<Page> {
    let plain = |body: String| Page { body, format: Format::Text };
    let mut pages = vec![plain(envoy()), plain(nasty()), openmetrics()];
    pages.extend(LINES.iter().chain(&ONLY_OURS).map(|line| plain(format!("{line}\n"))));
    // Without a line feed at the end, and between other lines.
    pages.push(plain("a 1\nb 2".to_owned()));
    pages.push(plain("# TYPE a counter\n\n \t\na 1\n#\n# \n# HELP a\n#no space\nb 2\n".to_owned()));
    pages.push(plain("a 1\na 1\na{x=\"\"} 1\n".to_owned()));
    pages.push(plain(String::new()));
    pages.extend(spliced(150).into_iter().map(plain));
    pages
}

/// As Envoy 1.40 writes it.
fn envoy() -> String {
    let mut text = String::new();
    for name in ["rq_error", "rq_success", "rq_total"] {
        text += &format!("# TYPE envoy_cluster_endpoint_{name} counter\n");
        for (at, endpoint) in ["127.0.0.1:19913", "[::1]:19914", "10.0.0.1:80"].iter().enumerate() {
            text += &format!(
                "envoy_cluster_endpoint_{name}{{envoy_cluster_name=\"shop.a\",\
                 envoy_endpoint_address=\"{endpoint}\"}} {}\n",
                at * 1_000_003
            );
        }
    }
    text += "# TYPE envoy_cluster_manager_cluster_added counter\n";
    text += "envoy_cluster_manager_cluster_added{} 1\n\n";
    text += "# TYPE envoy_cluster_upstream_rq_time histogram\n";
    for (le, count) in [("0.5", 5), ("1", 5), ("3600000", 6), ("+Inf", 6)] {
        text += &format!(
            "envoy_cluster_upstream_rq_time_bucket{{envoy_cluster_name=\"shop\",le=\"{le}\"}} {count}\n"
        );
    }
    text += "envoy_cluster_upstream_rq_time_sum{envoy_cluster_name=\"shop\"} 2.0487804878048780921062643756159\n";
    text + "envoy_cluster_upstream_rq_time_count{envoy_cluster_name=\"shop\"} 6\n"
}

/// All that is allowed, with times of its own.
fn nasty() -> String {
    let now = UNIX_EPOCH.elapsed().map_or(0, |now| now.as_millis());
    format!(
        "# HELP nasty_total a \\\\ b \\n c \"d\" {{e}}\n# TYPE nasty_total counter\n\
         nasty_total{{path=\"C:\\\\DIR\\\\\",error=\"Cannot find file:\\n\\\"FILE.TXT\\\"\"}} 1.458255915e9\n\
         nasty_total{{q=\"sum(rate(a{{b=\\\"c\\\"}}[5m])) by (d), e\"}} 3\n\
         job:nasty:rate5m{{}} 0.25\n\
         with_time 12.47 {now}\n\
         with_time{{x=\"1\"}} NaN {now}\n\
         something_weird{{problem=\"division by zero\"}} +Inf 3982045\n"
    )
}

/// With exemplars, units and an end.
fn openmetrics() -> Page {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
    let body = format!(
        "# HELP req_seconds Latency.\n# TYPE req_seconds histogram\n# UNIT req_seconds seconds\n\
         req_seconds_bucket{{le=\"0.1\"}} 8 # {{trace_id=\"a # b\"}} 0.067\n\
         req_seconds_bucket{{le=\"+Inf\"}} 10 # {{trace_id=\"x\"}} 9.8 {now:.3}\n\
         req_seconds_count 10\nreq_seconds_sum 10.5\n\
         # TYPE t gauge\nt{{x=\"1\"}} 2 {now:.3}\n# EOF\n"
    );
    Page { body, format: Format::OpenMetrics }
}

/// Lines with a piece of one replaced by a piece of another, always the same ones.
fn spliced(count: usize) -> Vec<String> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut below = |bound: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % bound
    };
    (0..count)
        .map(|_| {
            let (one, other) = (LINES[below(LINES.len())], LINES[below(LINES.len())]);
            let one: Vec<char> = one.chars().collect();
            let other: Vec<char> = other.chars().collect();
            let head = &one[..below(one.len() + 1)];
            let tail = &other[below(other.len() + 1)..];
            head.iter().chain(tail).collect::<String>() + "\n"
        })
        .collect()
}
