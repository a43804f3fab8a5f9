#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::*;
use crate::testing::{Canned, serve};

const MIB: usize = 1024 * 1024;

async fn fetch(canned: Canned, limit: usize) -> Result<Vec<u8>, Error> {
    let server = serve(move |_| canned.clone()).await;
    let client = client(&Options::default()).unwrap();
    let response = get(&client, target(&server.url()).unwrap(), "text/plain").await?;
    Body::of(response, limit, &["text/plain"], "plain text")?.all().await
}

#[tokio::test]
async fn bodies_are_whole_or_refused() {
    let plain = |body: &str| Canned::new("200 OK", "text/plain; charset=UTF-8", body);
    assert_eq!(fetch(plain("x 1\n"), MIB).await.unwrap(), b"x 1\n");
    assert_eq!(fetch(plain(&"x".repeat(100)), 100).await.unwrap().len(), 100);
    assert!(matches!(fetch(plain(&"x".repeat(101)), 100).await, Err(Error::TooLong { .. })));
    let cut = plain("x 1\n").cut_short();
    assert!(matches!(fetch(cut, MIB).await, Err(Error::Transport { reason: "cut off", .. })));
}

#[tokio::test]
async fn other_answers_say_what_to_do() {
    let words = |error: Result<Vec<u8>, Error>| error.unwrap_err().to_string();
    let html = Canned::new("200 OK", "text/html", "<html>");
    assert_eq!(
        words(fetch(html, MIB).await),
        "answered \"text/html\", not plain text: is this the right address?"
    );
    let redirect = Canned::new("302 Found", "text/plain", "").with("location: http://169.254.1.1/");
    assert_eq!(
        words(fetch(redirect, MIB).await),
        "answered 302 Found: redirects are not followed, give the final address"
    );
    let denied = Canned::new("401 Unauthorized", "text/plain", "");
    assert_eq!(words(fetch(denied, MIB).await), "answered 401 Unauthorized: check the credentials");
}

#[tokio::test]
async fn nobody_there_is_an_error_with_a_cause() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let client = client(&Options::default()).unwrap();
    let error = get(&client, target(&url).unwrap(), "text/plain").await.unwrap_err();
    let line = crate::status::one_line(&error);
    assert!(line.starts_with("no answer: cannot connect"), "{line}");
    assert!(line.contains("refused"), "{line}");
}

#[tokio::test]
async fn credentials_and_headers_are_sent_and_never_shown() {
    let server = serve(|request| Canned::new("200 OK", "text/plain", &request.head)).await;
    let options = Options {
        credentials: Some(Credentials::Basic { user: "u".into(), password: "secret!".into() }),
        headers: vec![("X-Scope-OrgID".into(), "tenant".into())],
        ..Options::default()
    };
    let shown = format!("{options:?}");
    assert!(!shown.contains("secret") && shown.contains("X-Scope-OrgID"), "{shown}");
    let client = client(&options).unwrap();
    let response = get(&client, target(&server.url()).unwrap(), "text/plain").await.unwrap();
    let head = response.text().await.unwrap().to_lowercase();
    assert!(head.contains("authorization: basic dtpzzwnyzxqh"), "{head}");
    assert!(head.contains("x-scope-orgid: tenant"), "{head}");
}

#[test]
fn base64_is_the_standard_one() {
    for (plain, encoded) in
        [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
    {
        assert_eq!(base64(plain.as_bytes()), encoded);
    }
}

#[test]
fn settings_that_cannot_work_are_named() {
    let words = |url: &str| target(url).unwrap_err().to_string();
    assert_eq!(words("localhost"), "\"localhost\" is no URL: write http://host:port");
    assert!(words("file:///etc/passwd").contains("only http and https"));
    assert_eq!(shown(&target("http://u:p@h:1/x?y=z").unwrap()), "http://h:1/x");
    let options = Options { ca_pem: Some(b"nothing".to_vec()), ..Options::default() };
    assert!(matches!(client(&options), Err(BuildError::Certificate(_))));
    let options = Options { headers: vec![("a b".into(), "c".into())], ..Options::default() };
    assert_eq!(
        client(&options).unwrap_err().to_string(),
        "header \"a b\" has a name or a value that HTTP does not allow"
    );
}
