//! The shape of a `test.yaml`, and the way from it to a test; all problems at once, at their lines.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use weir_engine::goal::Goals;
use weir_engine::names::{Address, ServiceId};
use weir_policies::check;
use weir_policies::problem::{Code, Problem};
use weir_policies::reader::{At, Limits, read as parse};
use weir_policies::source::Source;

use super::{Claim, Expectation, Test};
use crate::config::{Check, parse_duration};
use crate::goals;
use crate::times::When;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct File {
    /// What it is about, in a sentence.
    #[serde(default)]
    description: String,
    /// Where the journal is, relative to this file; beside it by default.
    journal: Option<At<String>>,
    /// Policies to decide by instead of the recorded goals, relative to this file.
    #[serde(default)]
    policies: Vec<At<String>>,
    /// Whether every decision must be the recorded one; so by default, unless policies are named.
    identical: Option<At<bool>>,
    /// What must hold.
    #[serde(default)]
    expect: Vec<At<Expect>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Expect {
    service: Option<At<String>>,
    from: Option<At<String>>,
    until: Option<At<String>>,
    within: Option<At<String>>,
    ejects: Option<At<String>>,
    never_ejects: Option<At<String>>,
    returns: Option<At<String>>,
    ejected_most: Option<At<usize>>,
    moved_most_percent: Option<At<f64>>,
    weight: Option<Weight>,
    keeps: Option<At<String>>,
    rests: Option<At<bool>>,
    holds: Option<At<bool>>,
    new_version_most_percent: Option<At<f64>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Weight {
    endpoint: At<String>,
    at_least: Option<At<f64>>,
    at_most: Option<At<f64>>,
}

/// Reads a test's file.
pub(super) fn read(path: &Path) -> Result<Test, Vec<Problem>> {
    let shown = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|cause| {
        let what = format!("cannot be read: {cause}");
        vec![Problem::of_file(&shown, Code::Unreadable, &what, "name a test's file")]
    })?;
    let file: File = parse(&shown, &bytes, &Limits::DOCUMENT)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut check = Check::of(path, Source { path: &shown, text: &text });
    let folder = path.parent().unwrap_or(Path::new(""));
    let expectations = file.expect.iter().enumerate();
    let expectations = expectations.filter_map(|one| expectation(one, &mut check)).collect();
    let goals = policies(folder, &file.policies, &mut check);
    let identical = file.identical.as_ref();
    if let (Some(wanted), false) = (identical.filter(|it| it.value), file.policies.is_empty()) {
        let what = "other policies decide otherwise than was recorded".to_owned();
        check.wrong(wanted.span, "identical", what, "leave identical out, or policies");
    }
    if let (Some(unwanted), true) = (identical.filter(|it| !it.value), file.expect.is_empty()) {
        let what = "expects nothing".to_owned();
        check.wrong(unwanted.span, "identical", what, "write something under expect");
    }
    if !check.problems.is_empty() {
        return Err(check.problems);
    }
    Ok(Test {
        path: path.to_owned(),
        description: file.description,
        journal: file.journal.map_or_else(|| folder.to_owned(), |it| folder.join(it.value)),
        identical: identical.map_or(file.policies.is_empty(), |it| it.value),
        goals,
        expectations,
    })
}

fn policies(folder: &Path, named: &[At<String>], check: &mut Check<'_>) -> Option<Goals> {
    if named.is_empty() {
        return None;
    }
    let paths: Vec<_> = named.iter().map(|it| folder.join(&it.value)).collect();
    let checked = goals::documents(&paths).and_then(|documents| check::check(&documents));
    match checked {
        Ok(checked) => Some(checked.goals),
        Err(problems) => {
            check.problems.extend(problems);
            None
        }
    }
}

fn expectation(
    (index, written): (usize, &At<Expect>),
    check: &mut Check<'_>,
) -> Option<Expectation> {
    let field = format!("expect[{index}]");
    let expect = &written.value;
    let mut when = |text: &Option<At<String>>, name: &str| {
        let text = text.as_ref()?;
        let when = When::parse(&text.value);
        if when.is_none() {
            let what = format!("{:?} is no time", text.value);
            check.wrong(text.span, &format!("{field}.{name}"), what, When::HINT);
        }
        when
    };
    let (from, until) = (when(&expect.from, "from"), when(&expect.until, "until"));
    let service = expect.service.as_ref().and_then(|name| service(name, &field, check));
    let within = expect.within.as_ref().and_then(|text| {
        let within = parse_duration(&text.value);
        if within.is_none() {
            let what = format!("{:?} is no duration", text.value);
            check.wrong(
                text.span,
                &format!("{field}.within"),
                what,
                "write it as 500ms, 5s or 1m30s",
            );
        }
        within
    });
    let claims = claims(expect, within);
    let timed = matches!(claims.as_slice(), [Claim::Ejects(..) | Claim::Returns(..)]);
    if let (Some(within), false) = (&expect.within, timed) {
        let what = "only ejects and returns happen within a time".to_owned();
        check.wrong(within.span, &format!("{field}.within"), what, "use from and until");
    }
    let count = claims.len();
    let Ok([claim]) = <[Claim; 1]>::try_from(claims) else {
        let what = format!("says {count} things to expect");
        let mend = "write one of ejects, neverEjects, returns, ejectedMost, movedMostPercent, weight, keeps, rests: true, holds: true, newVersionMostPercent";
        check.wrong(written.span, &field, what, mend);
        return None;
    };
    Some(Expectation { service, from, until, claim })
}

fn service(name: &At<String>, field: &str, check: &mut Check<'_>) -> Option<ServiceId> {
    let id = ServiceId::try_from(name.value.clone()).ok().filter(|id| !id.namespace.is_empty());
    if id.is_none() {
        let what = format!("{:?} is no service", name.value);
        check.wrong(
            name.span,
            &format!("{field}.service"),
            what,
            "write it as namespace/name: demo/shop",
        );
    }
    id
}

/// What an entry claims: one thing, if it is well written.
fn claims(expect: &Expect, within: Option<Duration>) -> Vec<Claim> {
    let address = |text: &At<String>| Address::from(text.value.as_str());
    let any = |text: &At<String>| (text.value != "any").then(|| address(text));
    let weight = |it: &Weight| {
        let (least, most) = (it.at_least.as_ref(), it.at_most.as_ref());
        let bounds = (least.map_or(0.0, |it| it.value), most.map_or(f64::INFINITY, |it| it.value));
        Claim::Weight(address(&it.endpoint), bounds.0, bounds.1)
    };
    [
        expect.ejects.as_ref().map(|it| Claim::Ejects(address(it), within)),
        expect.never_ejects.as_ref().map(|it| Claim::NeverEjects(any(it))),
        expect.returns.as_ref().map(|it| Claim::Returns(address(it), within)),
        expect.ejected_most.as_ref().map(|it| Claim::EjectedMost(it.value)),
        expect.moved_most_percent.as_ref().map(|it| Claim::MovedMost(it.value / 100.0)),
        expect.weight.as_ref().map(weight),
        expect.keeps.as_ref().map(|it| Claim::Keeps(it.value.clone())),
        expect.rests.as_ref().filter(|it| it.value).map(|_| Claim::Rests),
        expect.holds.as_ref().filter(|it| it.value).map(|_| Claim::Holds),
        expect.new_version_most_percent.as_ref().map(|it| Claim::NewVersionMost(it.value / 100.0)),
    ]
    .into_iter()
    .flatten()
    .collect()
}
