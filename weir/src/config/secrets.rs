//! Secrets from files: read once, never shown.

use std::path::Path;

use weir_collectors::http::{Credentials, Options};

use super::check::Check;
use super::file::Http;

/// Reads what a server is to be shown; problems go to the check.
pub(super) fn options(http: Http, check: &mut Check<'_>) -> Options {
    let token = http.bearer_token_file.and_then(|path| text(&path.value, path.span, check));
    let password = http.password_file.and_then(|path| text(&path.value, path.span, check));
    let ca_pem = http.ca_file.and_then(|path| {
        let full = check.folder.join(&path.value);
        let read = std::fs::read(&full);
        check.file(read, &full, path.span)
    });
    let credentials = match (token, http.user, password) {
        (Some(token), _, _) => Some(Credentials::Bearer(token)),
        (None, Some(user), Some(password)) => Some(Credentials::Basic { user, password }),
        (None, _, _) => None,
    };
    Options { credentials, ca_pem, headers: http.headers.into_iter().collect() }
}

fn text(path: &str, span: weir_policies::source::Span, check: &mut Check<'_>) -> Option<String> {
    let full = check.folder.join(Path::new(path));
    let read = std::fs::read_to_string(&full);
    check.file(read, &full, span).map(|text| text.trim_end().to_owned())
}
