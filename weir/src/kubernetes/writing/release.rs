//! Puts back everything at once, for instance before Weir is removed.

use std::collections::BTreeMap;

use kube::api::ListParams;
use serde_json::Value;
use weir_collectors::kubernetes::trouble::Trouble;
use weir_proxy_adapter::writers::fields;
use weir_proxy_adapter::writers::routes::{self, Kind, Plan};

use super::balancing::{RULES, SERVICES};
use super::objects::{Names, Objects, place};
use super::{Restore, Result, WriteTrouble, Writes, pods};
use crate::kubernetes::finalizing::{FINALIZER, POLICIES, change};

impl Objects {
    /// Puts back everything that Weir has ever written, and takes its finalizers away; how many objects
    /// that were. What `writes` does not name it may have no right to look at: then nothing is there.
    ///
    /// # Errors
    ///
    /// The first of what the API server does not let it do; all else is done.
    pub async fn release(&self, writes: Writes) -> Result<usize> {
        let routes = Kind::COMMON.into_iter().chain([Kind::LinkerdRoute]);
        let mut all: Vec<Result<usize>> = Vec::new();
        for kind in routes {
            let put = self.put_all_back(kind.names(), (routes::LABEL, routes::restore)).await;
            all.push(unless_forbidden(put, writes.kinds().contains(&kind)));
        }
        for (names, asked) in [(RULES, writes.destination_rules), (SERVICES, writes.linkerd)] {
            let put = self.put_all_back(names, (fields::LABEL, fields::restore)).await;
            all.push(unless_forbidden(put, asked));
        }
        let kept = pods::keep(self, &BTreeMap::new()).await;
        all.push(unless_forbidden(kept, writes.draining));
        all.push(unless_forbidden(self.let_go().await, writes.any()));
        all.into_iter().sum()
    }

    async fn put_all_back(&self, names: Names, (label, restore): (&str, Restore)) -> Result<usize> {
        let mut count = 0;
        for object in self.written(names, label).await? {
            if let Plan::LetGo { patch } = restore(&object) {
                count += usize::from(self.bring_back(names, &object, &patch).await?);
            }
        }
        Ok(count)
    }

    /// Policies may go without Weir.
    async fn let_go(&self) -> Result<usize> {
        let mut count = 0;
        for namespace in self.namespaces.each() {
            let all = ListParams::default();
            for policy in self.list(POLICIES, namespace.as_deref(), &all).await? {
                let metadata = &policy["metadata"];
                let finalizers = metadata["finalizers"].as_array().into_iter().flatten();
                let finalizers: Vec<&str> = finalizers.filter_map(Value::as_str).collect();
                if !finalizers.contains(&FINALIZER) {
                    continue;
                }
                let version = metadata["resourceVersion"].as_str().unwrap_or_default();
                let change = change((version, finalizers.into_iter()), false);
                let done = self.merge(POLICIES, place(&policy), &change).await?;
                count += usize::from(done);
            }
        }
        Ok(count)
    }
}

fn unless_forbidden(result: Result<usize>, asked: bool) -> Result<usize> {
    match result {
        Err(WriteTrouble::Cluster(Trouble::Forbidden { .. })) if !asked => Ok(0),
        result => result,
    }
}
