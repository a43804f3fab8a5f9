//! What policies say of zones, ejections and newcomers, in Istio's rules and annotations for Linkerd.

use std::collections::BTreeMap;

use kube::api::ListParams;
use serde_json::Value;
use weir_engine::units::Moment;
use weir_proxy_adapter::writers::balancing::{Balanced, Unfit};
use weir_proxy_adapter::writers::fields::{self, Fields};
use weir_proxy_adapter::writers::{istio, linkerd};

use super::objects::{Names, place};
use super::{Result, Seen, Went, WriteTrouble, Writing};

pub(super) const RULES: Names =
    ("networking.istio.io", "v1", "DestinationRule", "destinationrules");

pub(super) const SERVICES: Names = ("", "v1", "Service", "services");

const PROFILES: Names = ("linkerd.io", "v1alpha2", "ServiceProfile", "serviceprofiles");

/// What one object shall have, and why not all of it.
type Meant<'a> = (&'a Value, Fields, Option<Unfit>);

impl Writing {
    /// Brings Istio's rules to what is wanted, and back.
    pub(super) async fn rules(&mut self, wanted: &[Balanced], (now, went): (Moment, &mut Went)) {
        let set = self.set_rules(wanted, (now, went)).await;
        self.rest_back((RULES, (fields::LABEL, fields::restore)), set, went).await;
    }

    async fn set_rules(
        &mut self,
        wanted: &[Balanced],
        (now, went): (Moment, &mut Went),
    ) -> Result<Seen> {
        let mut seen = Seen::new();
        for (namespace, wanted) in by_namespace(wanted) {
            let rules = self.objects.list(RULES, Some(namespace), &ListParams::default()).await?;
            for one in wanted {
                let meant = istio::rule(&rules, &one.service).map(|rule| {
                    let (fields, unfit) = istio::fields(rule, one);
                    (rule, fields, unfit)
                });
                self.set(RULES, one, meant, (now, went, &mut seen)).await;
            }
        }
        Ok(seen)
    }

    /// Brings annotations of Services to what is wanted, and back.
    pub(super) async fn services(&mut self, wanted: &[Balanced], (now, went): (Moment, &mut Went)) {
        let set = self.set_services(wanted, (now, went)).await;
        self.rest_back((SERVICES, (fields::LABEL, fields::restore)), set, went).await;
    }

    async fn set_services(
        &mut self,
        wanted: &[Balanced],
        (now, went): (Moment, &mut Went),
    ) -> Result<Seen> {
        let mut seen = Seen::new();
        for (namespace, wanted) in by_namespace(wanted) {
            let all = ListParams::default();
            let services = self.objects.list(SERVICES, Some(namespace), &all).await?;
            let profiles = self.objects.list(PROFILES, Some(namespace), &all).await?;
            for one in wanted {
                let named = |service: &&Value| service["metadata"]["name"] == *one.service.name;
                let Some(service) = services.iter().find(named) else { continue };
                let meant = linkerd::without_profile(&profiles, &one.service)
                    .map(|()| (service, linkerd::fields(service, one), None));
                self.set(SERVICES, one, meant, (now, went, &mut seen)).await;
            }
        }
        Ok(seen)
    }

    /// Brings one object to what is wanted of it.
    async fn set(
        &mut self,
        names: Names,
        wanted: &Balanced,
        meant: std::result::Result<Meant<'_>, Unfit>,
        (now, went, seen): (Moment, &mut Went, &mut Seen),
    ) {
        let mut say = |unfit: Unfit| {
            went.tried(Err(WriteTrouble::Unfit(unfit.clone())));
            went.unfit.push((wanted.clone(), unfit));
        };
        let (object, fields, unfit) = match meant {
            Ok(meant) => meant,
            Err(unfit) => return say(unfit),
        };
        if let Some(unfit) = unfit {
            say(unfit);
        }
        let (namespace, name) = place(object);
        seen.insert((namespace.to_owned(), name.to_owned()));
        let plan = fields::plan(object, &fields);
        let done = self.settle((names, object), plan, (&[&*wanted.service.name], now)).await;
        if matches!(done, Ok(true)) {
            tracing::info!(kind = names.2, name, namespace, "fields are written");
        }
        went.tried(done.map(drop));
    }
}

fn by_namespace(wanted: &[Balanced]) -> BTreeMap<&str, Vec<&Balanced>> {
    let mut spaces: BTreeMap<&str, Vec<&Balanced>> = BTreeMap::new();
    for one in wanted {
        spaces.entry(&*one.service.namespace).or_default().push(one);
    }
    spaces
}
