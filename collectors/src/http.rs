//! The one HTTP client of sources that Weir asks.
//!
//! Whoever answers is not trusted: connecting and answering have a deadline, bodies are read in
//! pieces and cut off at a bound (after decompression, so that a small bomb counts as what it
//! becomes), and no redirect leads anywhere that the configuration does not name.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Response, Url};

/// Longest wait for a connection: a host that needs longer is not in the same data centre.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for a whole answer: older answers than this are hardly evidence.
pub(crate) const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How to present oneself to a server.
#[derive(Clone, Default)]
pub struct Options {
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// Certificates in PEM to trust instead of the system's.
    pub ca_pem: Option<Vec<u8>>,
    /// More headers: `X-Scope-OrgID` for Mimir, for example.
    pub headers: Vec<(String, String)>,
}

/// Who asks. Never shown, neither in logs nor by `Debug`.
#[derive(Clone)]
pub enum Credentials {
    /// A bearer token.
    Bearer(String),
    /// User and password.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: String,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(..)",
            Self::Basic { .. } => "Basic(..)",
        })
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Options")
            .field("credentials", &self.credentials)
            .field("ca_pem", &self.ca_pem.as_ref().map(Vec::len))
            .field("headers", &names)
            .finish()
    }
}

/// A setting that no client can be built from.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Not a URL.
    #[error("{url:?} is no URL: write http://host:port")]
    NotAUrl {
        /// What was given.
        url: String,
    },
    /// Neither `http` nor `https`.
    #[error("{url}: only http and https are spoken, not {scheme}")]
    Scheme {
        /// The URL without credentials.
        url: String,
        /// Its scheme.
        scheme: String,
    },
    /// A header that HTTP does not allow.
    #[error("header {name:?} has a name or a value that HTTP does not allow")]
    Header {
        /// Its name.
        name: String,
    },
    /// No certificate in what should be some.
    #[error("no certificate in PEM found: give a file with BEGIN CERTIFICATE")]
    Certificate(#[source] Option<reqwest::Error>),
    /// Anything else.
    #[error("cannot build an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// An answer that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing, or not all of it, arrived.
    #[error("no answer: {reason}")]
    Transport {
        /// What kind of failure, in a word people know.
        reason: &'static str,
        /// The cause.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that is no success.
    #[error("answered {status}{hint}")]
    Status {
        /// The status.
        status: reqwest::StatusCode,
        /// What to do about it.
        hint: &'static str,
    },
    /// An answer of another kind than was asked for.
    #[error("answered {found:?}, not {expected}: is this the right address?")]
    ContentType {
        /// What came.
        found: String,
        /// What should have.
        expected: &'static str,
    },
    /// A body without end.
    #[error("answer longer than {} MiB", .limit / (1024 * 1024))]
    TooLong {
        /// The bound in bytes.
        limit: usize,
    },
}

impl From<reqwest::Error> for Error {
    fn from(source: reqwest::Error) -> Self {
        // The URL may carry a query of kilobytes; whoever shows the error knows the target.
        Self::Transport { reason: reason(&source), source: source.without_url() }
    }
}

impl Error {
    /// An answer of this status, which is no success.
    pub fn of_status(status: reqwest::StatusCode) -> Self {
        Self::Status { status, hint: hint(status) }
    }
}

/// What kind of failure it is, in a word people know.
pub fn reason(error: &reqwest::Error) -> &'static str {
    if error.is_timeout() {
        "timed out"
    } else if error.is_connect() {
        "cannot connect"
    } else if error.is_body() || error.is_decode() {
        "cut off"
    } else {
        "request failed"
    }
}

/// Builds the client: TLS by rustls with ring, and the bounds above.
pub fn client(options: &Options) -> Result<Client, BuildError> {
    patient(options, TOTAL_TIMEOUT)
}

/// As [`client`], with another bound on the time that a whole answer may take.
pub fn patient(options: &Options, patience: Duration) -> Result<Client, BuildError> {
    // The process may have installed it before; then nothing is left to do.
    if rustls::crypto::CryptoProvider::get_default().is_none()
        && rustls::crypto::ring::default_provider().install_default().is_err()
    {
        tracing::debug!("another TLS provider was installed meanwhile");
    }
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(patience)
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        .default_headers(headers(options)?);
    if let Some(pem) = &options.ca_pem {
        let certificates = Certificate::from_pem_bundle(pem)
            .map_err(|error| BuildError::Certificate(Some(error)))?;
        if certificates.is_empty() {
            return Err(BuildError::Certificate(None));
        }
        builder = builder.tls_certs_only(certificates);
    }
    builder.build().map_err(BuildError::Client)
}

fn headers(options: &Options) -> Result<HeaderMap, BuildError> {
    let mut headers = HeaderMap::new();
    for (name, value) in &options.headers {
        let header = || BuildError::Header { name: name.clone() };
        let value = HeaderValue::from_str(value).map_err(|_| header())?;
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| header())?, value);
    }
    if let Some(credentials) = &options.credentials {
        headers.insert(AUTHORIZATION, authorization(credentials)?);
    }
    Ok(headers)
}

fn authorization(credentials: &Credentials) -> Result<HeaderValue, BuildError> {
    let invalid = || BuildError::Header { name: AUTHORIZATION.to_string() };
    let mut value = match credentials {
        Credentials::Bearer(token) => HeaderValue::from_str(&format!("Bearer {}", token.trim())),
        Credentials::Basic { user, password } => HeaderValue::from_str(&format!(
            "Basic {}",
            base64(format!("{user}:{password}").as_bytes())
        )),
    }
    .map_err(|_| invalid())?;
    value.set_sensitive(true);
    Ok(value)
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let mut bits = 0_u32;
        for at in 0..3 {
            bits = bits << 8 | u32::from(three.get(at).copied().unwrap_or(0));
        }
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) & 63;
            let present = digit <= three.len();
            text.push(if present { char::from(DIGITS[index as usize]) } else { '=' });
        }
    }
    text
}

/// A target's address, checked.
pub fn target(url: &str) -> Result<Url, BuildError> {
    let parsed = Url::parse(url).map_err(|_| BuildError::NotAUrl { url: url.to_owned() })?;
    match parsed.scheme() {
        "http" | "https" if parsed.has_host() => Ok(parsed),
        scheme => Err(BuildError::Scheme { url: shown(&parsed), scheme: scheme.to_owned() }),
    }
}

/// An address as people may see it: without credentials and query.
pub fn shown(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    let path = if url.path() == "/" { "" } else { url.path() };
    format!("{}://{host}{port}{path}", url.scheme())
}

/// Asks for a page.
pub async fn get(client: &Client, url: Url, accept: &'static str) -> Result<Response, Error> {
    Ok(client.get(url).header(ACCEPT, accept).send().await?)
}

/// An answer's body, read in pieces up to a bound.
#[derive(Debug)]
pub struct Body {
    response: Response,
    limit: usize,
    read: usize,
}

impl Body {
    /// The body of a successful answer of one of these content types.
    pub fn of(
        response: Response,
        limit: usize,
        types: &[&str],
        expected: &'static str,
    ) -> Result<Self, Error> {
        let status = response.status();
        if !status.is_success() {
            return Err(Error::of_status(status));
        }
        let found = content_type(&response);
        if !types.contains(&found.as_str()) {
            return Err(Error::ContentType { found, expected });
        }
        Ok(Self::unchecked(response, limit))
    }

    /// Any body, also that of a refusal.
    pub fn unchecked(response: Response, limit: usize) -> Self {
        Self { response, limit, read: 0 }
    }

    /// The next piece; nothing at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let chunk = self.response.chunk().await?;
        self.read += chunk.as_ref().map_or(0, Bytes::len);
        if self.read > self.limit { Err(Error::TooLong { limit: self.limit }) } else { Ok(chunk) }
    }

    /// All of it.
    pub async fn all(mut self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// An answer's content type without parameters, in lower case.
pub fn content_type(response: &Response) -> String {
    let value = response.headers().get(reqwest::header::CONTENT_TYPE);
    let text = value.and_then(|value| value.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// The server's time as `Date` says it, in milliseconds since 1970.
pub fn date(response: &Response) -> Option<i64> {
    let text = response.headers().get(reqwest::header::DATE)?.to_str().ok()?;
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(date.timestamp().as_millisecond())
}

fn hint(status: reqwest::StatusCode) -> &'static str {
    match status.as_u16() {
        300..=399 => ": redirects are not followed, give the final address",
        401 | 403 => ": check the credentials",
        404 => ": check the address's path",
        429 => ": asked too often, raise the interval",
        _ => "",
    }
}

#[cfg(test)]
mod tests;
