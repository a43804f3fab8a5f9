//! Secrets from files: read once, never shown.

use std::path::Path;

use weir_collectors::http::{Credentials, Options};

use super::check::Check;
use super::file::Http;

/// Reads what a server is to be shown; problems go to the check.
pub(super) fn options(http: Http, check: &mut Check<'_>) -> Options {
    unfit(&http, check);
    let user = http.user.map(|user| user.value);
    let token = http.bearer_token_file.and_then(|path| text(&path.value, path.span, check));
    let password = http.password_file.and_then(|path| text(&path.value, path.span, check));
    let ca_pem = http.ca_file.and_then(|path| {
        let full = check.folder.join(&path.value);
        let read = std::fs::read(&full);
        check.file(read, &full, path.span)
    });
    let credentials = match (token, user, password) {
        (Some(token), _, _) => Some(Credentials::Bearer(token)),
        (None, Some(user), Some(password)) => Some(Credentials::Basic { user, password }),
        (None, _, _) => None,
    };
    Options { credentials, ca_pem, headers: http.headers.into_iter().collect() }
}

/// A user has a password, and nobody shows two things at once.
fn unfit(http: &Http, check: &mut Check<'_>) {
    let problem = match (&http.bearer_token_file, &http.user, &http.password_file) {
        (Some(_), Some(one), _) | (Some(_), None, Some(one)) => {
            Some((one.span, "bearer_token_file and user exclude each other", "keep one of them"))
        }
        (None, Some(user), None) => {
            Some((user.span, "a user without a password", "add password_file: PATH"))
        }
        (None, None, Some(file)) => {
            Some((file.span, "a password without a user", "add user: NAME"))
        }
        _ => None,
    };
    if let Some((span, what, mend)) = problem {
        check.contradicts(span, "http", what, mend);
    }
}

fn text(path: &str, span: weir_policies::source::Span, check: &mut Check<'_>) -> Option<String> {
    let full = check.folder.join(Path::new(path));
    let read = std::fs::read_to_string(&full);
    check.file(read, &full, span).map(|text| text.trim_end().to_owned())
}
