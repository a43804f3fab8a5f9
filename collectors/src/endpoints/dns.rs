//! Follows a name in DNS: every address that it resolves to is an endpoint.
//!
//! Through the system's resolver, so that its configuration, search path and `/etc/hosts` hold.
//! It does not tell how long an answer may be kept, hence a fixed pace. A failure keeps what was
//! known: that a name cannot be resolved is no word on the endpoints behind it.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};
use weir_engine::topology::Endpoint;

use super::{ENDPOINTS_MAX, Outlet, REFRESH, plain, reachable};

/// How long an answer may take before that is a failure: the resolver's own first attempt takes
/// 5 s by default.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum DnsError {
    #[error("{0:?} is no name with a port; write shop.internal:8080")]
    NotAName(String),
    #[error("cannot resolve {0}")]
    Lookup(String, #[source] io::Error),
    #[error("no answer for {0} within {ANSWER_WITHIN:?}")]
    TooSlow(String),
    #[error("{0} has no address that an endpoint can have")]
    Empty(String),
}

/// Resolves the name now and every few seconds. Never ends.
pub(super) async fn follow(name: &str, outlet: &mut Outlet) {
    let mut last: Option<Vec<Endpoint>> = None;
    loop {
        let too_slow = || fall_back(&DnsError::TooSlow(name.to_owned()), last.as_ref(), outlet);
        match resolve(name, too_slow).await {
            Ok(endpoints) => {
                outlet.list(endpoints.clone());
                last = Some(endpoints);
            }
            Err(error) => fall_back(&error, last.as_ref(), outlet),
        }
        sleep(REFRESH).await;
    }
}

/// What was known stands, and time passes for what is withheld of it.
fn fall_back(error: &DnsError, last: Option<&Vec<Endpoint>>, outlet: &mut Outlet) {
    outlet.fail(error);
    if let Some(endpoints) = last {
        outlet.propose(endpoints.clone());
    }
}

/// Asks once and waits for the answer, however long: the resolver's thread cannot be called back,
/// and asking anew beside it would pile up threads. Says so each time that the wait is too long.
async fn resolve(name: &str, mut too_slow: impl FnMut()) -> Result<Vec<Endpoint>, DnsError> {
    let port = name.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
    if port.is_none_or(|port| port == 0) {
        return Err(DnsError::NotAName(name.to_owned()));
    }
    let mut lookup = pin!(lookup_host(name));
    loop {
        match timeout(ANSWER_WITHIN, &mut lookup).await {
            Ok(Ok(addresses)) => return endpoints(name, addresses),
            Ok(Err(error)) => return Err(DnsError::Lookup(name.to_owned(), error)),
            Err(_) => too_slow(),
        }
    }
}

fn endpoints(
    name: &str,
    addresses: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<Endpoint>, DnsError> {
    let endpoints: Vec<Endpoint> =
        addresses.filter_map(reachable).take(ENDPOINTS_MAX).map(plain).collect();
    if endpoints.is_empty() {
        return Err(DnsError::Empty(name.to_owned()));
    }
    Ok(endpoints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(addresses: &[&str], expected: Option<&[&str]>) {
        let parsed = addresses.iter().map(|text| text.parse().expect("an address"));
        let read = endpoints("shop:80", parsed).ok().map(|endpoints| {
            endpoints.iter().map(|endpoint| endpoint.address.to_string()).collect::<Vec<_>>()
        });
        let expected: Option<Vec<String>> =
            expected.map(|addresses| addresses.iter().map(|&text| text.to_owned()).collect());
        assert_eq!(read, expected);
    }

    #[test]
    fn every_reachable_address_is_an_endpoint() {
        check(&["10.0.0.1:80", "[fd00::1]:80"], Some(&["10.0.0.1:80", "[fd00::1]:80"]));
        check(&["0.0.0.0:80", "10.0.0.1:80"], Some(&["10.0.0.1:80"]));
        check(&["0.0.0.0:80"], None);
        check(&[], None);
    }

    #[tokio::test]
    async fn a_name_needs_a_port_and_an_address_is_its_own_name() {
        for bad in ["shop", "shop:", "shop:0", "shop:http", "shop:70000", ""] {
            assert!(matches!(resolve(bad, || ()).await, Err(DnsError::NotAName(_))), "{bad}");
        }
        let found =
            resolve("127.0.0.1:80", || ()).await.expect("no resolver is asked for an address");
        assert_eq!(found, [plain(([127, 0, 0, 1], 80).into())]);
    }
}
