//! The last state known to be good, on disk: three generations, each whole or not there.
//!
//! Written to a temporary file, synced, renamed. A generation whose checksum does not match is
//! passed over for the one before it; a later start never sees a mix of two.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};
use weir_engine::history::History;
use weir_engine::state::State;
use weir_models::reference::Memory;

use super::{StoreError, doing, sync_folder};

/// So many generations are kept: one that may be torn, one before it, and one to spare.
const GENERATIONS: usize = 3;

const MAGIC: &[u8; 8] = b"WEIRGOOD";

/// The format that this build writes; another one is passed over as if it were not there.
const VERSION: u16 = 1;

const HEAD: usize = 8 + 2 + 32;

/// Where the generations stand.
#[derive(Clone, Debug)]
pub struct LastGood {
    folder: PathBuf,
}

/// A generation that was passed over, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Which file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

impl LastGood {
    /// Uses a folder, which is made if it is not there.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        doing("make the folder", folder, fs::create_dir_all(folder))?;
        Ok(Self { folder: folder.to_owned() })
    }

    fn path(&self, generation: usize) -> PathBuf {
        self.folder.join(format!("last-good.{generation}"))
    }

    /// Writes a new generation; the oldest one goes.
    pub fn save<T: Serialize>(&self, value: &T) -> Result<(), StoreError> {
        let whole = encode(value);
        let fresh = self.folder.join("last-good.new");
        let mut file = doing("write", &fresh, fs::File::create(&fresh))?;
        let written = file.write_all(&whole);
        doing("write", &fresh, written.and_then(|()| file.sync_all()))?;
        for generation in (0..GENERATIONS - 1).rev() {
            let from = self.path(generation);
            if from.exists() {
                let to = self.path(generation + 1);
                doing("rename", &from, fs::rename(&from, to))?;
            }
        }
        doing("rename", &fresh, fs::rename(&fresh, self.path(0)))?;
        sync_folder(&self.folder)
    }

    /// The newest whole generation, if there is one, and those that were passed over.
    pub fn load<T: DeserializeOwned>(&self) -> (Option<T>, Vec<PassedOver>) {
        let mut passed_over = Vec::new();
        for generation in 0..GENERATIONS {
            let path = self.path(generation);
            let bytes = match fs::read(&path) {
                Ok(bytes) => bytes,
                Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => continue,
                Err(cause) => {
                    passed_over.push(PassedOver { path, why: cause.to_string() });
                    continue;
                }
            };
            match decode(&bytes) {
                Ok(value) => return (Some(value), passed_over),
                Err(why) => passed_over.push(PassedOver { path, why }),
            }
        }
        (None, passed_over)
    }
}

/// The state without the telemetry of the last seconds, which means nothing to a later process.
pub fn lasting(state: &State<Memory>) -> State<Memory> {
    let mut lasting = state.clone();
    for service in &mut lasting.services {
        let fresh = service.history.fresh;
        service.history = History::default();
        service.history.fresh = fresh;
    }
    lasting
}

/// A value as it stands in a file and goes to another replica: with the format that this build
/// writes and a checksum before it.
///
/// # Panics
///
/// Never: what is saved is plain data, which postcard always encodes.
pub fn encode<T: Serialize>(value: &T) -> Vec<u8> {
    let body = postcard::to_allocvec(value).expect("what is saved is plain data");
    let mut whole = MAGIC.to_vec();
    whole.extend(VERSION.to_le_bytes());
    whole.extend(Sha256::digest(&body));
    whole.extend(body);
    whole
}

/// What [`encode`] was given, or what is wrong with it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let (head, body) = bytes.split_at_checked(HEAD).ok_or_else(|| "it is too short".to_owned())?;
    if &head[..8] != MAGIC {
        return Err("it is not a saved state".to_owned());
    }
    let version = u16::from_le_bytes([head[8], head[9]]);
    if version != VERSION {
        return Err(format!("its format is {version}, this build reads {VERSION}"));
    }
    if head[10..] != Sha256::digest(body)[..] {
        return Err("its checksum does not match".to_owned());
    }
    postcard::from_bytes(body).map_err(|cause| format!("it cannot be read: {cause}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, LastGood) {
        let folder = tempfile::tempdir().unwrap();
        let store = LastGood::open(folder.path()).unwrap();
        (folder, store)
    }

    #[test]
    fn the_newest_is_read() {
        let (_folder, store) = store();
        assert_eq!(store.load::<String>(), (None, vec![]));
        for text in ["one", "two", "three", "four"] {
            store.save(&text.to_owned()).unwrap();
        }
        assert_eq!(store.load(), (Some("four".to_owned()), vec![]));
    }

    #[test]
    fn a_damaged_one_is_passed_over_and_named() {
        let (_folder, store) = store();
        store.save(&"old".to_owned()).unwrap();
        store.save(&"new".to_owned()).unwrap();
        let whole = fs::read(store.path(0)).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(store.path(0), &bytes).unwrap();
            let (value, passed_over) = store.load::<String>();
            assert_eq!(value.as_deref(), Some("old"), "byte {at}");
            assert_eq!(passed_over.len(), 1);
            fs::write(store.path(0), &whole[..at]).unwrap();
            assert_eq!(store.load::<String>().0.as_deref(), Some("old"), "cut at {at}");
        }
    }

    /// A crash between any two operations of saving leaves a whole generation.
    #[test]
    fn a_crash_between_any_two_steps_loses_at_most_the_newest() {
        let (_folder, store) = store();
        store.save(&"old".to_owned()).unwrap();
        // Crashed while writing, before any rename.
        fs::write(store.folder.join("last-good.new"), b"torn").unwrap();
        assert_eq!(store.load::<String>().0.as_deref(), Some("old"));
        // Crashed after the old one made room and before the new one took its place.
        fs::rename(store.path(0), store.path(1)).unwrap();
        assert_eq!(store.load::<String>().0.as_deref(), Some("old"));
        store.save(&"new".to_owned()).unwrap();
        assert_eq!(store.load::<String>().0.as_deref(), Some("new"));
    }

    #[test]
    fn an_unwritable_folder_is_named_with_a_way_to_mend() {
        let error = LastGood::open(Path::new("/proc/weir")).unwrap_err().to_string();
        assert!(error.contains("/proc/weir"), "{error}");
    }
}
