//! What a foreign server's clusters say of how proxies use their endpoints. They are read and never
//! changed.

use bytes::Bytes;

use super::fields::{Malformed, inner, last, text};

// Field numbers of envoy.config.cluster.v3.Cluster.
const NAME: u32 = 1;
const TYPE: u32 = 2;
const EDS_CONFIG: u32 = 3;
const SERVICE_NAME: u32 = 2;
const COMMON: u32 = 27;
const PANIC: u32 = 1;
const PERCENT: u32 = 1;
/// `Cluster.DiscoveryType.EDS`.
const EDS: u64 = 3;

/// Below this part of healthy endpoints proxies ignore health, where a cluster does not say otherwise.
const DEFAULT_PANIC: f64 = 0.5;

/// A cluster whose endpoints are discovered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Cluster {
    /// The name under which proxies ask for its endpoints.
    pub(super) assignment: String,
    /// The part of healthy endpoints, 0 to 1, below which proxies ignore health; zero: they never do.
    pub(super) panic: f64,
}

impl Cluster {
    /// Reads a cluster; none if its endpoints come from elsewhere.
    pub(super) fn read(cluster: &Bytes) -> Result<Option<Self>, Malformed> {
        let kind = last(cluster, TYPE)?.map_or(Ok(0), |kind| kind.varint())?;
        if kind != EDS {
            return Ok(None);
        }
        let name = text(cluster, NAME)?;
        let service = text(inner(cluster, EDS_CONFIG)?, SERVICE_NAME)?;
        let assignment = if service.is_empty() { name } else { service };
        Ok(Some(Self { assignment: assignment.to_owned(), panic: panic(cluster)? }))
    }
}

fn panic(cluster: &[u8]) -> Result<f64, Malformed> {
    let Some(common) = last(cluster, COMMON)? else { return Ok(DEFAULT_PANIC) };
    let Some(percent) = last(common.bytes()?, PANIC)? else { return Ok(DEFAULT_PANIC) };
    // A message without its number is a number of zero.
    let value = last(percent.bytes()?, PERCENT)?.map_or(Ok(0.0), |value| value.double())?;
    Ok(if value.is_finite() { (value / 100.0).clamp(0.0, 1.0) } else { DEFAULT_PANIC })
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::cluster::v3 as api;
    use envoy_types::pb::envoy::config::cluster::v3::cluster::{
        ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig,
    };
    use envoy_types::pb::envoy::r#type::v3::Percent;
    use prost::Message;

    use super::*;

    fn cluster(service: &str, panic: Option<f64>) -> Bytes {
        let common = panic.map(|value| CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value }),
            ..Default::default()
        });
        let cluster = api::Cluster {
            name: "shop".to_owned(),
            cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
            eds_cluster_config: Some(EdsClusterConfig {
                service_name: service.to_owned(),
                ..Default::default()
            }),
            common_lb_config: common,
            ..Default::default()
        };
        cluster.encode_to_vec().into()
    }

    #[test]
    fn a_cluster_says_what_it_asks_for_and_when_it_panics() {
        for (service, panic, expected) in [
            ("", None, ("shop", 0.5)),
            ("shop-a", Some(30.0), ("shop-a", 0.3)),
            ("", Some(0.0), ("shop", 0.0)),
            ("", Some(f64::NAN), ("shop", 0.5)),
        ] {
            let read = Cluster::read(&cluster(service, panic)).unwrap().unwrap();
            assert_eq!(read.assignment, expected.0);
            assert!((read.panic - expected.1).abs() < 1e-12, "{read:?}");
        }
    }

    #[test]
    fn a_cluster_with_endpoints_of_its_own_is_none_of_ours() {
        let fixed = api::Cluster { name: "shop".to_owned(), ..Default::default() };
        assert_eq!(Cluster::read(&fixed.encode_to_vec().into()), Ok(None));
        assert!(Cluster::read(&Bytes::from_static(&[0x0a, 9])).is_err());
    }
}
