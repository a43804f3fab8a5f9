//! The relay's settings: where proxies connect, and who decides.

use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;
use weir_policies::reader::At;
use weir_proxy_adapter::relay::server::{Certificate, Config, Token, Upstream};

use super::check::Check;

/// As written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Relay {
    /// Where proxies connect that another control plane configures.
    pub listen: At<String>,
    /// That control plane.
    pub upstream: UpstreamEntry,
    /// File with the relay's own certificate for proxies, in PEM, and those that vouch for it; plain text
    /// without.
    pub cert_file: Option<At<String>>,
    /// File with its key.
    pub key_file: Option<At<String>>,
    /// Whether a proxy has to send a token, which is handed on; `false` by default.
    #[serde(default)]
    pub require_token: bool,
}

/// Where an Envoy Gateway calls.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvoyGateway {
    /// The address that its `extensionManager.service` names.
    pub listen: At<String>,
}

/// A control plane.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamEntry {
    /// `http://istiod.istio-system:15010` or `https://istiod.istio-system.svc:15012`.
    pub address: At<String>,
    /// File with the certificates by which it is known, in PEM.
    pub ca_file: Option<At<String>>,
    /// File with the certificate that it is shown, in PEM, where it asks for one.
    pub cert_file: Option<At<String>>,
    /// File with its key.
    pub key_file: Option<At<String>>,
    /// The name in its certificate, where that is not the address's.
    pub server_name: Option<String>,
}

/// In force.
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Where proxies connect.
    pub listen: SocketAddr,
    /// How to relay.
    pub relay: Config,
}

/// Checks what was written; problems go to the check.
pub(super) fn relay(written: Relay, check: &mut Check<'_>) -> Option<RelayConfig> {
    let listen = super::check::socket(&written.listen, "relay.listen", check);
    let upstream = upstream(written.upstream, check);
    let certificate = pair(written.cert_file, written.key_file, "relay", check);
    let certificate = certificate.map(|(chain, key)| Certificate { chain, key });
    let token = if written.require_token { Token::Required } else { Token::Optional };
    let relay = Config { upstream: upstream?, certificate, token };
    Some(RelayConfig { listen: listen?, relay })
}

fn upstream(written: UpstreamEntry, check: &mut Check<'_>) -> Option<Upstream> {
    const FIELD: &str = "relay.upstream";
    let at = written.address.span;
    let authority = written.ca_file.and_then(|path| read(&path, check));
    let identity = pair(written.cert_file, written.key_file, FIELD, check);
    let address: http::Uri = written.address.value.parse().unwrap_or_default();
    let secure = match address.scheme_str() {
        Some("http") => false,
        Some("https") => true,
        Some(_) | None => {
            let what = format!("{:?} is no address of a control plane", written.address.value);
            check.wrong(at, FIELD, what, "write http://istiod.istio-system:15010 or https://…");
            return None;
        }
    };
    if secure && authority.is_none() {
        let mend = "add ca_file: with the mesh's root certificate (Istio: root-cert.pem of the \
                    config map istio-ca-root-cert)";
        check.contradicts(at, FIELD, "nothing says by which certificate the server is known", mend);
    }
    if !secure && (authority.is_some() || identity.is_some()) {
        let what = "certificates are of no use without https";
        check.contradicts(at, FIELD, what, "write https://, or leave ca_file and cert_file out");
    }
    Some(Upstream { address, authority, identity, server_name: written.server_name })
}

/// A certificate and its key, neither without the other.
fn pair(
    certificate: Option<At<String>>,
    key: Option<At<String>>,
    field: &str,
    check: &mut Check<'_>,
) -> Option<(Vec<u8>, Vec<u8>)> {
    match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let certificate = read(&certificate, check);
            let key = read(&key, check);
            certificate.zip(key)
        }
        (None, None) => None,
        (Some(one), None) => {
            check.contradicts(one.span, field, "a certificate without a key", "add key_file: PATH");
            None
        }
        (None, Some(one)) => {
            let mend = "add cert_file: PATH";
            check.contradicts(one.span, field, "a key without a certificate", mend);
            None
        }
    }
}

fn read(path: &At<String>, check: &mut Check<'_>) -> Option<Vec<u8>> {
    let full = check.folder.join(Path::new(&path.value));
    let read = std::fs::read(&full);
    check.file(read, &full, path.span)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::{Given, from_bytes};

    #[track_caller]
    fn problems(relay: &str, expected: &[&str]) {
        let text = format!("relay: {relay}\n");
        let problems = match from_bytes(Path::new("weir.yaml"), text.as_bytes(), Given::default()) {
            Ok(config) => {
                assert!(config.relay.is_some());
                Vec::new()
            }
            Err(problems) => problems,
        };
        let said: Vec<&str> = problems.iter().map(|problem| problem.what.as_str()).collect();
        assert_eq!(said.len(), expected.len(), "{said:?}");
        for (said, expected) in said.iter().zip(expected) {
            assert!(said.contains(expected), "{said}");
        }
    }

    #[test]
    fn a_relay_says_where_and_to_whom() {
        problems("{listen: '127.0.0.1:0', upstream: {address: 'http://istiod:15010'}}", &[]);
        problems("{listen: here, upstream: {address: 'http://istiod:15010'}}", &["no address"]);
        problems("{listen: '127.0.0.1:0', upstream: {address: 'istiod:15010'}}", &["no address"]);
        problems("{listen: '127.0.0.1:0'}", &["upstream"]);
    }

    #[test]
    fn certificates_are_whole_and_of_use() {
        let upstream = |fields| format!("{{listen: '127.0.0.1:0', upstream: {{{fields}}}}}");
        problems(&upstream("address: 'https://istiod:15012'"), &["by which certificate"]);
        problems(
            &upstream("address: 'https://istiod:15012', ca_file: nowhere.pem"),
            &["nowhere.pem cannot be read", "by which certificate"],
        );
        problems(&upstream("address: 'http://istiod:15010', cert_file: c"), &["without a key"]);
    }
}
