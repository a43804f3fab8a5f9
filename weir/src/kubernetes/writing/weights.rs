//! A rollout's weights in routes.

use std::collections::BTreeSet;

use kube::api::ListParams;
use weir_engine::units::Moment;
use weir_proxy_adapter::writers::routes::{self, Kind, Wanted, concerns, plan};

use super::objects::place;
use super::{Result, Seen, Went, Writing};

impl Writing {
    /// Brings the routes of a kind to what is wanted, and back where nobody wants anything of them.
    pub(super) async fn weights(
        &mut self,
        kind: Kind,
        wanted: &[Wanted],
        (now, went): (Moment, &mut Went),
    ) {
        let set = self.split(kind, wanted, (now, went)).await;
        self.rest_back((kind.names(), (routes::LABEL, routes::restore)), set, went).await;
    }

    async fn split(
        &mut self,
        kind: Kind,
        wanted: &[Wanted],
        (now, went): (Moment, &mut Went),
    ) -> Result<Seen> {
        let spaces: BTreeSet<&str> = wanted.iter().map(|one| &*one.stable.namespace).collect();
        let mut seen = Seen::new();
        for namespace in spaces {
            let parameters = ListParams::default();
            for object in self.objects.list(kind.names(), Some(namespace), &parameters).await? {
                let Some(one) = wanted.iter().find(|one| concerns(kind, &object, one)) else {
                    continue;
                };
                let (space, name) = place(&object);
                seen.insert((space.to_owned(), name.to_owned()));
                let services = [&one.service, &one.stable, &one.canary].map(|id| &*id.name);
                let plan = plan(kind, &object, one);
                let done = self.settle((kind.names(), &object), plan, (&services, now)).await;
                if matches!(done, Ok(true)) {
                    let weight = one.weight.value();
                    tracing::info!(kind = kind.names().2, name, weight, "weights are written");
                }
                went.tried(done.map(drop));
            }
        }
        Ok(seen)
    }
}
