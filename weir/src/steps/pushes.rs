//! What proxies are told anew, for the journal.

use weir_journal::Pushed;
use weir_proxy_adapter::resource::{Change, Snapshot, To, Version};

/// What this snapshot tells proxies that the last one did not.
pub(super) fn news(snapshot: &Snapshot, last: Option<&Snapshot>) -> Vec<Pushed> {
    if last == Some(snapshot) {
        return Vec::new();
    }
    snapshot.changes_since(last).into_iter().map(pushed).collect()
}

fn pushed(change: Change) -> Pushed {
    Pushed {
        kind: change.kind.short().to_owned(),
        name: change.name.to_string(),
        to: match change.to {
            To::All => String::new(),
            To::Zone(zone) => format!("zone {zone}"),
            To::Node(node) => format!("node {node}"),
        },
        version: change.version.map(Version::bits),
    }
}
