//! Whether a query of the user's own is one that Prometheus would take.

use promql_parser::parser;

/// What stands for the service's name while a query is checked.
const BACKEND: &str = "backend";

/// What stands for the window while a query is checked.
const WINDOW: &str = "1m";

/// Brackets inside one another: the parser's memory grows with them, and no query needs more.
const DEPTH_MAX: usize = 64;

/// Arithmetic signs in one query: the parser's time grows with their square, and 200 take less
/// than a millisecond.
const SIGNS_MAX: usize = 200;

/// What is wrong with a query, and how to mend it.
pub(super) fn check(query: &str) -> Result<(), (String, String)> {
    let filled = query.replace("{{backend}}", BACKEND).replace("{{window}}", WINDOW);
    if let Some((_, after)) = filled.split_once("{{") {
        let name: String = after.chars().take_while(|c| c.is_alphanumeric()).take(40).collect();
        let mend = "only {{backend}} and {{window}} are filled in".to_owned();
        return Err((format!("unknown placeholder `{{{{{name}}}}}`"), mend));
    }
    brackets(&filled)?;
    durations(&filled)?;
    let mend = "try it in Prometheus, with a name for {{backend}} and 1m for {{window}}";
    parser::parse(&filled).map(|_| ()).map_err(|error| (said(&error), mend.to_owned()))
}

fn said(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    format!("no query: {}", crate::source::quoted(line))
}

/// The longest duration that is written as a number of seconds: three centuries.
const SECONDS_MAX: f64 = 1e10;

/// Refuses numbers where a duration stands that are none: the parser does not survive them.
fn durations(query: &str) -> Result<(), (String, String)> {
    let (mut in_range, mut after_offset) = (0_usize, false);
    let mut chars = query.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' | '`' => skip_text(&mut chars, c)?,
            '[' => in_range += 1,
            ']' => in_range = in_range.saturating_sub(1),
            c if c.is_alphanumeric() || c == '.' || c == '_' => {
                let mut word = String::from(c);
                let goes_on = |word: &str, c: char| {
                    let exponent = word.starts_with(|c: char| c.is_ascii_digit() || c == '.')
                        && word.ends_with(['e', 'E']);
                    c.is_alphanumeric() || c == '.' || c == '_' || exponent && "+-".contains(c)
                };
                while let Some(c) = chars.next_if(|c| goes_on(&word, *c)) {
                    word.push(c);
                }
                let number = word.parse::<f64>().ok();
                let fits = number.is_none_or(|number| (0.0..=SECONDS_MAX).contains(&number));
                if (in_range > 0 || after_offset) && !fits {
                    let what = format!("no query: {} is no duration", crate::source::quoted(&word));
                    return Err((what, "write it as 30s, 5m or 1h".to_owned()));
                }
                after_offset = word.eq_ignore_ascii_case("offset");
            }
            _ => {}
        }
    }
    Ok(())
}

/// Refuses brackets that do not match, in words better than the parser's, and what would cost it
/// much.
fn brackets(query: &str) -> Result<(), (String, String)> {
    let mut open = Vec::new();
    let mut signs = 0;
    let mut chars = query.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' | '\'' | '`' => skip_text(&mut chars, c)?,
            '(' | '[' | '{' => open.push(c),
            ')' | ']' | '}' if open.pop() != Some(opening(c)) => {
                return Err((format!("no query: `{c}` closes nothing"), "remove it".to_owned()));
            }
            '+' | '-' | '*' | '/' | '%' | '^' => signs += 1,
            _ => {}
        }
        if signs > SIGNS_MAX {
            let what = format!("no query: more than {SIGNS_MAX} arithmetic signs");
            return Err((what, "record a part of it as a rule in Prometheus".to_owned()));
        }
        if open.len() > DEPTH_MAX {
            let what = format!("no query: more than {DEPTH_MAX} brackets inside one another");
            return Err((what, "simplify it".to_owned()));
        }
    }
    match open.pop() {
        Some(c) => Err((format!("no query: `{c}` is never closed"), "close it".to_owned())),
        None => Ok(()),
    }
}

fn opening(closing: char) -> char {
    match closing {
        ')' => '(',
        ']' => '[',
        _ => '{',
    }
}

fn skip_text(chars: &mut impl Iterator<Item = char>, quote: char) -> Result<(), (String, String)> {
    while let Some(c) = chars.next() {
        if c == quote {
            return Ok(());
        }
        if c == '\\' && quote != '`' {
            chars.next();
        }
    }
    Err((format!("no query: `{quote}` is never closed"), "close the quote".to_owned()))
}
