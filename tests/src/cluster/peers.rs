//! Which real control planes are there: what `tests/peers/build.sh` has built and told.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The variable with a line `NAME FOLDER` for each, as the script prints them.
const BUILT: &str = "WEIR_PEERS_BUILT";

/// The folders of those that are there, by name. A folder holds the program, which bears the same
/// name, and files that come with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peers(BTreeMap<String, PathBuf>);

impl Peers {
    /// What the variable lists.
    pub fn told() -> Self {
        let told = std::env::var_os(BUILT).unwrap_or_default();
        Self::read(&told.to_string_lossy())
    }

    fn read(text: &str) -> Self {
        let pairs = text.lines().filter_map(|line| line.split_once(' '));
        Self(pairs.map(|(name, folder)| (name.to_owned(), PathBuf::from(folder.trim()))).collect())
    }

    /// Whether this one is there.
    pub fn have(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// The folder of one that is there.
    ///
    /// # Panics
    ///
    /// When it is not: a test says what it needs before it starts.
    pub fn folder(&self, name: &str) -> &Path {
        self.0.get(name).unwrap_or_else(|| panic!("no real {name}; `make test-mesh` builds it"))
    }

    /// The program of one that is there.
    pub fn program(&self, name: &str) -> PathBuf {
        self.folder(name).join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_prints_is_read() {
        let peers = Peers::read("etcd /cache/etcd-1\nkube /a cache/kube-2\n\nnonsense\n");
        assert_eq!(peers.folder("kube"), Path::new("/a cache/kube-2"));
        assert_eq!(peers.program("etcd"), Path::new("/cache/etcd-1/etcd"));
        assert!(!peers.have("nonsense") && !peers.have("istiod"));
    }
}
