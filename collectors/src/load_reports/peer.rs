//! Who reports, and the addresses that it speaks of: what load reports and access logs share.

use std::net::{IpAddr, SocketAddr};

use envoy_types::pb::envoy::config::core::v3 as core;
use weir_engine::names::{Address, Node, Place};

/// Longest node id, cluster or place name in bytes: Kubernetes allows 253 for a name, Istio joins
/// three of them. Longer ones are no names.
const NAME_BYTES_MAX: usize = 1_024;

/// Why a message cannot be used. The sender is told so in its own words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The first message does not say who sends it.
    #[error("the first message has no node.id; set node.id in the proxy's bootstrap")]
    NoNode,
    /// A name that is longer than any real one.
    #[error("{0} is {1} bytes long; at most {NAME_BYTES_MAX} are accepted")]
    LongName(&'static str, usize),
    /// More entries than one proxy can mean.
    #[error("{count} {what} in one message; at most {limit} are accepted")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How much.
        count: usize,
        /// How much is accepted.
        limit: usize,
    },
    /// A count that no proxy can reach in one interval.
    #[error("cluster {0}: a count of {1} in one interval is not plausible")]
    ImplausibleCount(String, u64),
    /// An interval that runs backwards or is no duration.
    #[error("cluster {0}: load_report_interval is no positive duration")]
    BadInterval(String),
}

/// A reporting proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) node: Node,
    pub(crate) zone: Place,
}

impl Peer {
    /// Reads a node's id and zone.
    pub(crate) fn of(node: Option<&core::Node>) -> Result<Self, Malformed> {
        let node = node.filter(|node| !node.id.is_empty()).ok_or(Malformed::NoNode)?;
        let zone = node.locality.as_ref().map_or("", |locality| locality.zone.as_str());
        Ok(Self { node: checked("node.id", &node.id)?.into(), zone: checked("zone", zone)?.into() })
    }
}

/// The text, if it is short enough for a name.
pub(crate) fn checked<'a>(what: &'static str, text: &'a str) -> Result<&'a str, Malformed> {
    if text.len() > NAME_BYTES_MAX {
        return Err(Malformed::LongName(what, text.len()));
    }
    Ok(text)
}

/// The address as `ip:port`; nothing for what is no IP address with a port (pipes, internal
/// listeners, named ports): discovery cannot name these either.
pub(crate) fn address_of(address: Option<&core::Address>) -> Option<Address> {
    let core::address::Address::SocketAddress(socket) = address?.address.as_ref()? else {
        return None;
    };
    let core::socket_address::PortSpecifier::PortValue(port) = socket.port_specifier.as_ref()?
    else {
        return None;
    };
    // Envoy writes `::1` without brackets here.
    let ip: IpAddr = socket.address.parse().ok()?;
    let port = u16::try_from(*port).ok().filter(|&port| port != 0)?;
    Some(Address::from(SocketAddr::new(ip, port).to_string()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// An address as Envoy sends it.
    pub(crate) fn socket_address(ip: &str, port: u32) -> core::Address {
        core::Address {
            address: Some(core::address::Address::SocketAddress(core::SocketAddress {
                address: ip.to_owned(),
                port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port)),
                ..core::SocketAddress::default()
            })),
        }
    }

    /// A node as Envoy sends it.
    pub(crate) fn node(id: &str, zone: &str) -> core::Node {
        core::Node {
            id: id.to_owned(),
            locality: Some(core::Locality { zone: zone.to_owned(), ..core::Locality::default() }),
            ..core::Node::default()
        }
    }

    #[track_caller]
    fn check(ip: &str, port: u32, expected: Option<&str>) {
        let found = address_of(Some(&socket_address(ip, port)));
        assert_eq!(found.as_ref().map(Address::as_str), expected);
    }

    #[test]
    fn addresses_read_as_discovery_writes_them() {
        check("127.0.0.1", 80, Some("127.0.0.1:80"));
        check("::1", 8080, Some("[::1]:8080"));
        check("0:0:0:0:0:0:0:1", 8080, Some("[::1]:8080"));
        check("127.0.0.1", 0, None);
        check("127.0.0.1", 65_536, None);
        check("shop.local", 80, None);
        check("", 80, None);
        let pipe = core::Address {
            address: Some(core::address::Address::Pipe(core::Pipe {
                path: "/run/x".to_owned(),
                mode: 0,
            })),
        };
        assert_eq!(address_of(Some(&pipe)), None);
        assert_eq!(address_of(None), None);
    }

    #[test]
    fn a_peer_needs_a_name_of_sane_length() {
        let peer = Peer::of(Some(&node("n1", "z1"))).unwrap();
        assert_eq!((peer.node.as_str(), peer.zone.as_str()), ("n1", "z1"));
        assert_eq!(Peer::of(None), Err(Malformed::NoNode));
        assert_eq!(Peer::of(Some(&node("", "z1"))), Err(Malformed::NoNode));
        let long = "n".repeat(NAME_BYTES_MAX + 1);
        assert_eq!(
            Peer::of(Some(&node(&long, ""))),
            Err(Malformed::LongName("node.id", NAME_BYTES_MAX + 1))
        );
        assert!(Peer::of(Some(&node(&long[1..], ""))).is_ok());
    }
}
