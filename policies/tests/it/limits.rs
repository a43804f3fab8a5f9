//! Every bound, one below, at and above it; and that texts made to cost much cost little.

use weir_policies::check::{Document, FILES_MAX, POLICIES_MAX, check};
use weir_policies::problem::{Code, Problem};
use weir_policies::reader::{Limits, PROBLEMS_MAX, read};

use super::{check_one, policy};

const LIMITS: Limits = Limits { bytes_max: 1000, nodes_max: 40, depth_max: 5 };

/// Whether a limit is passed by a text.
fn is_too_much(text: &str) -> bool {
    match read::<serde_json::Value>("a.yaml", text.as_bytes(), &LIMITS) {
        Ok(_) => false,
        Err(problems) => {
            assert!(problems.iter().all(|problem| problem.code == Code::TooMuch), "{problems:?}");
            true
        }
    }
}

#[track_caller]
fn is_bounded_at(limit: usize, text: impl Fn(usize) -> String) {
    assert!(!is_too_much(&text(limit - 1)));
    assert!(!is_too_much(&text(limit)));
    assert!(is_too_much(&text(limit + 1)));
    assert!(is_too_much(&text(2 * limit)));
}

#[test]
fn bytes() {
    is_bounded_at(LIMITS.bytes_max, |length| format!("\"{}\"", "a".repeat(length - 2)));
}

#[test]
fn nodes() {
    is_bounded_at(LIMITS.nodes_max, |nodes| format!("[{}]", "a,".repeat(nodes - 1)));
}

#[test]
fn depth() {
    is_bounded_at(LIMITS.depth_max, |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth)));
    is_bounded_at(LIMITS.depth_max, |depth| {
        let open: String = (0..depth).map(|at| format!("{}a:\n", " ".repeat(at))).collect();
        format!("{open}{}b", " ".repeat(depth))
    });
}

#[test]
fn bytes_of_a_policy_file() {
    let padded = |length: usize| {
        let text = policy("p", "targetRefs: [{kind: Service, name: a}]");
        format!("{text}#{}", "x".repeat(length - text.len() - 1))
    };
    let max = Limits::DOCUMENT.bytes_max;
    assert!(check_one(&padded(max - 1)).is_ok());
    assert!(check_one(&padded(max)).is_ok());
    let problems = check_one(&padded(max + 1)).unwrap_err();
    assert_eq!(problems.first().unwrap().code, Code::TooMuch);
}

#[test]
fn targets_and_objectives() {
    let with = |targets: usize| {
        let refs: String =
            (0..targets).map(|at| format!("- {{kind: Service, name: s{at}}}\n")).collect();
        policy("p", &format!("targetRefs:\n{refs}"))
    };
    assert!(check_one(&with(0)).is_err());
    for count in [1, 15, 16] {
        assert_eq!(check_one(&with(count)).unwrap().goals.services.len(), count);
    }
    assert!(check_one(&with(17)).is_err());
    assert!(check_one(&with(32)).is_err());
}

#[test]
fn files() {
    let documents: Vec<Document> =
        (0..=FILES_MAX).map(|at| Document::new(format!("{at}.yaml"), "")).collect();
    assert!(check(documents.split_at(FILES_MAX).0).is_ok());
    assert_eq!(check(&documents).unwrap_err().first().unwrap().code, Code::TooMuch);
}

#[test]
fn policies() {
    const PER_FILE: usize = 1000;
    let file = |file: usize, count: usize| {
        let texts: Vec<String> = (0..count)
            .map(|at| policy(&format!("p{file}-{at}"), "targetRefs: [{kind: Service, name: a}]"))
            .collect();
        Document::new(format!("{file}.yaml"), texts.join("---\n"))
    };
    let mut documents: Vec<Document> =
        (0..POLICIES_MAX / PER_FILE).map(|at| file(at, PER_FILE)).collect();
    let checked = check(&documents).unwrap();
    assert_eq!(checked.policies.len(), POLICIES_MAX);
    assert!(checked.warnings.len() <= documents.len() * (PROBLEMS_MAX + 1));
    documents.push(file(POLICIES_MAX, 1));
    let mut problems = check(&documents).unwrap_err();
    problems.retain(Problem::is_error);
    assert_eq!(problems.iter().map(|problem| problem.code).collect::<Vec<_>>(), [Code::TooMuch]);
}

#[test]
fn problems() {
    let text: String = (0..1000).map(|at| format!("f{at}: 1\n")).collect();
    let problems = check_one(&text).unwrap_err();
    assert_eq!(problems.len(), PROBLEMS_MAX + 1);
    assert_eq!(problems.last().unwrap().code, Code::NotShown);
}

/// Whether a query is taken.
fn takes(query: &str) -> bool {
    let indicator = format!("{{type: Prometheus, prometheus: {{total: a, good: '{query}'}}}}");
    let objective = format!("{{name: o, targetPercent: 9, indicator: {indicator}}}");
    let spec = format!("targetRefs: [{{kind: Service, name: a}}]\nobjectives: [{objective}]");
    check_one(&policy("p", &spec)).is_ok()
}

/// Long queries, some of which make a parser call itself as often as they are long.
#[test]
fn queries() {
    for (limit, query) in [
        (200, (|count| "a+".repeat(count) + "a") as fn(usize) -> String),
        (200, |count| "-".repeat(count) + "a"),
        (200, |count| "a^".repeat(count) + "a"),
        (64, |count| format!("{}a{}", "(".repeat(count), ")".repeat(count))),
        (4096, |count| "a".repeat(count)),
    ] {
        assert!(takes(&query(limit - 1)));
        assert!(takes(&query(limit)));
        assert!(!takes(&query(limit + 1)));
        assert!(!takes(&query(2 * limit)));
    }
    assert!(takes(&("a and ".repeat(680) + "a")));
    assert!(!takes(&("a[1m:1m]".to_owned() + &"[1m:1m]".repeat(580))));
}

/// Texts made to cost much: each is refused, or read, without doing more than the limits allow.
/// The time is printed, not judged: machines differ, limits do not.
#[test]
fn bombs() {
    let depth = 128 * 1024;
    let billion = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\n";
    let bombs = [
        ("aliases", billion.repeat(1000)),
        ("lists in lists", "[".repeat(2 * depth)),
        ("maps in maps", "{a: ".repeat(depth / 2)),
        (
            "block maps in block maps",
            (0..700).map(|at| format!("{}a:\n", " ".repeat(at))).collect(),
        ),
        ("dashes", "- ".repeat(depth)),
        ("question marks", "? ".repeat(depth)),
        ("one long list", format!("[{}]", "1,".repeat(depth - 1))),
        ("one long key", format!("{}: 1", "a".repeat(depth))),
        ("keys without values", "a:\n".repeat(depth / 2)),
        ("new keys without end", (0..30_000).map(|at| format!("{at}:\n")).collect()),
        ("as many keys as may be", (0..9_990).map(|at| format!("{at}:\n")).collect()),
        ("mistakes behind as many labels as may be", {
            let good: String = (0..9_800).map(|at| format!("    l{at}: a\n")).collect();
            let wrong: String = (0..60).map(|at| format!("    w{at}: 1\n")).collect();
            policy("p", "").replace("spec:", &format!("  labels:\n{good}{wrong}spec:"))
        }),
        ("open quote", format!("a: \"{}", "\\n".repeat(depth - 10))),
        ("tags", "!a ".repeat(depth / 2)),
        ("anchors", (0..20_000).map(|at| format!("- &a{at} x\n")).collect()),
        ("comments", "# a\n".repeat(depth / 2)),
        ("documents", "---\n".repeat(depth / 2)),
        ("wrong entries", policy("p", &format!("targetRefs: [{}]", "1,".repeat(9000)))),
        ("many wrong documents", format!("{}---\n", policy("p", "a: 1")).repeat(1500)),
    ];
    for (name, text) in bombs {
        let start = std::time::Instant::now();
        let outcome = check_one(&text);
        println!("{name}: {} bytes, {:?}", text.len(), start.elapsed());
        assert_eq!(outcome.is_ok(), name == "comments", "{name}");
        assert!(outcome.err().is_none_or(|problems| problems.len() <= PROBLEMS_MAX + 2));
    }
}
