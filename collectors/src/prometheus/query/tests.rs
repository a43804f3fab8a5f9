#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::*;
use promql_parser::label::{MatchOp, Matchers};
use proptest::prelude::*;

fn values<'a>(backend: &'a str, window: &'a str) -> Values<'a> {
    Values::from([("backend", backend), ("window", window)])
}

#[track_caller]
fn check(template: &str, backend: &str, expected: &str) {
    assert_eq!(Query::render(template, &values(backend, "5m")).unwrap().as_str(), expected);
}

#[track_caller]
fn check_error(template: &str, backend: &str, expected: &str) {
    let error = Query::render(template, &values(backend, "5m")).unwrap_err().to_string();
    assert!(error.contains(expected), "{error}");
}

#[test]
fn fills_placeholders_in() {
    check("up", "x", "up");
    check(
        r#"sum(rate(a{b="{{backend}}"}[{{ window }}]))"#,
        "shop",
        r#"sum(rate(a{b="shop"}[5m]))"#,
    );
    check(r#"a{b="{{backend}}"}"#, "a\"b\\c\nd\u{1}", r#"a{b="a\"b\\c\nd\x01"}"#);
    check(r"a{b='{{backend}}'}", "it's \"x\"", r#"a{b='it\'s "x"'}"#);
    check("a{b=`.\"x`}", "x", "a{b=`.\"x`}");
    check(r#"a{b=~"{{backend}}.*"}"#, "x.y", r#"a{b=~"x\\.y.*"}"#);
    check(r#"a{b !~ "{{backend}}"}"#, ".*", r#"a{b !~ "\\.\\*"}"#);
    check(r#"a{b="\"{{backend}}"}"#, "x", r#"a{b="\"x"}"#);
    check("a # \"\n + b{c=\"{{backend}}\"}", "x", "a # \"\n + b{c=\"x\"}");
}

#[test]
fn says_what_is_wrong_with_a_template() {
    check_error(r#"a{b="{{backend"}"#, "x", "not closed");
    check_error(
        r#"a{b="{{beckend}}"}"#,
        "x",
        "unknown placeholder {{beckend}}: there are {{backend}}, {{window}}",
    );
    check_error("{{backend}}", "up", "stands outside quotes");
    check_error("a{b=`{{backend}}`}", "x", "between backquotes: put it in double quotes");
    check_error("sum(", "x", "not a PromQL query");
    check_error("", "x", "not a PromQL query");
    check_error(&format!("a{{b=\"{}\"}}", "x".repeat(QUERY_MAX)), "x", "longer than 8 KiB");
}

#[test]
fn only_numbers_and_durations_stand_outside_quotes() {
    for good in ["5m", "1h30m", "250ms", "0.99", "5", "1y"] {
        assert!(is_number_or_duration(good), "{good}");
    }
    for bad in ["", "m", "5x", "5m)", "up", "5m 5m", "1.", ".5", "5.m", "-1", "1.5m"] {
        assert!(!is_number_or_duration(bad), "{bad}");
    }
}

#[test]
fn selectors_become_ranges_and_nothing_else_does() {
    let over = |query: &str| {
        let query = Query::render(query, &Values::new()).unwrap();
        query.over(Duration::from_secs(120)).as_str().to_owned()
    };
    assert_eq!(over(r#"a{b="c"} "#), r#"a{b="c"}[120s]"#);
    assert_eq!(over("a[5m]"), "a[5m]");
    assert_eq!(over("sum by (pod) (a)"), "sum by (pod) (a)");
    assert_eq!(over("rate(a[1m])"), "rate(a[1m])");
}

/// A query's shape: everything but what its strings say.
fn shape(expr: &Expr) -> String {
    fn matchers(matchers: &Matchers) -> String {
        let one = |ms: &[promql_parser::label::Matcher]| {
            ms.iter()
                .map(|m| match &m.op {
                    MatchOp::Equal => format!("{}=", m.name),
                    MatchOp::NotEqual => format!("{}!=", m.name),
                    MatchOp::Re(_) => format!("{}=~", m.name),
                    MatchOp::NotRe(_) => format!("{}!~", m.name),
                })
                .collect::<Vec<_>>()
                .join(",")
        };
        let or: Vec<String> = matchers.or_matchers.iter().map(|ms| one(ms)).collect();
        format!("{{{} or {}}}", one(&matchers.matchers), or.join(" or "))
    }
    match expr {
        Expr::VectorSelector(v) => format!("{:?}{}", v.name, matchers(&v.matchers)),
        Expr::MatrixSelector(m) => {
            format!("{:?}{}[{:?}]", m.vs.name, matchers(&m.vs.matchers), m.range)
        }
        Expr::Aggregate(a) => format!("{}({})", a.op, shape(&a.expr)),
        Expr::Call(c) => {
            let args: Vec<String> = c.args.args.iter().map(|arg| shape(arg)).collect();
            format!("{}({})", c.func.name, args.join(";"))
        }
        Expr::Binary(b) => format!("({} {} {})", shape(&b.lhs), b.op, shape(&b.rhs)),
        Expr::Paren(p) => format!("({})", shape(&p.expr)),
        Expr::Unary(u) => format!("-{}", shape(&u.expr)),
        Expr::Subquery(s) => format!("{}[{:?}]", shape(&s.expr), s.range),
        Expr::NumberLiteral(n) => n.val.to_string(),
        Expr::StringLiteral(_) => "text".to_owned(),
        Expr::Extension(_) => "extension".to_owned(),
    }
}

/// What the first matcher of the first selector compares with.
fn matched(expr: &Expr) -> String {
    match expr {
        Expr::VectorSelector(v) => v.matchers.matchers[0].value.clone(),
        Expr::MatrixSelector(m) => m.vs.matchers.matchers[0].value.clone(),
        Expr::Call(c) => matched(&c.args.args[0]),
        Expr::Aggregate(a) => matched(&a.expr),
        Expr::Binary(b) => matched(&b.lhs),
        other @ (Expr::Paren(_)
        | Expr::Unary(_)
        | Expr::Subquery(_)
        | Expr::NumberLiteral(_)
        | Expr::StringLiteral(_)
        | Expr::Extension(_)) => panic!("{other}"),
    }
}

const TEMPLATES: [&str; 6] = [
    r#"a{b="{{backend}}"}"#,
    r"a{b='{{backend}}',c='d'}",
    r#"a{b=~"{{backend}}"}"#,
    r#"a{b!="{{backend}}"}[5m]"#,
    r#"sum(rate(a{b="{{backend}}"}[{{window}}])) / sum(c)"#,
    r"sum by (le) (a{b !~ '{{backend}}'})",
];

fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("\"} or vector(1) #".to_owned()),
        Just("'".to_owned()),
        Just("\\".to_owned()),
        Just("\\\"".to_owned()),
        Just("{{backend}}".to_owned()),
        Just("}}".to_owned()),
        Just("\n".to_owned()),
        Just("\u{0}".to_owned()),
        "\\PC{0,6}",
        any::<char>().prop_map(String::from),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn no_value_changes_a_query(value in hostile(), at in 0..TEMPLATES.len()) {
        let template = TEMPLATES[at];
        let render = |value: &str| Query::render(template, &values(value, "5m"));
        let harmless = parse(render("x").unwrap().as_str()).unwrap();
        let query = render(&value).unwrap();
        let parsed = parse(query.as_str()).unwrap();
        prop_assert_eq!(shape(&parsed), shape(&harmless));
        let literal = template.contains('~');
        let expected = if literal { regex_literal(&value) } else { value };
        prop_assert_eq!(matched(&parsed), expected);
    }

    #[test]
    fn no_value_gets_in_outside_quotes(value in hostile()) {
        if let Ok(query) = Query::render("rate(a[{{window}}])", &values("x", &value)) {
            prop_assert!(query.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b"()[].".contains(&b)));
        }
    }
}
