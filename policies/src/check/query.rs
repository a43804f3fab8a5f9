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
    let mend = "try it in Prometheus, with a name for {{backend}} and 1m for {{window}}";
    parser::parse(&filled).map(|_| ()).map_err(|error| (said(&error), mend.to_owned()))
}

fn said(error: &str) -> String {
    let line = error.lines().next().unwrap_or_default();
    format!("no query: {}", crate::source::quoted(line))
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

fn skip_text(chars: &mut std::str::Chars<'_>, quote: char) -> Result<(), (String, String)> {
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
