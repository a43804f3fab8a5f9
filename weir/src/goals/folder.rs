//! Policies in files: which there are, what stands in them, and whether they have changed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use weir_policies::check::{Document, FILES_MAX};
use weir_policies::problem::{Code, Problem};

/// Folders inside one another that are looked into.
const DEPTH_MAX: usize = 8;

/// A file as far as its change can be seen from outside.
pub(super) type Fingerprint = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

pub(super) fn fingerprint(folder: &Path) -> Result<Fingerprint, String> {
    let mut found = Fingerprint::new();
    collect(folder, DEPTH_MAX, &mut found)?;
    Ok(found)
}

fn collect(folder: &Path, depth: usize, found: &mut Fingerprint) -> Result<(), String> {
    let failed = |cause| format!("{} cannot be listed: {cause}", folder.display());
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let hidden = path.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        if hidden {
            continue;
        }
        // Follows links: a mounted ConfigMap is made of them.
        let Ok(metadata) = std::fs::metadata(&path) else { continue };
        if metadata.is_dir() && depth > 0 {
            collect(&path, depth - 1, found)?;
        } else if is_policy(&path) && found.len() <= FILES_MAX {
            found.insert(path, (metadata.modified().ok(), metadata.len()));
        }
    }
    Ok(())
}

fn is_policy(path: &Path) -> bool {
    let extension = path.extension().map(|extension| extension.to_string_lossy().into_owned());
    extension.is_some_and(|extension| ["yaml", "yml", "json"].contains(&extension.as_str()))
}

pub(super) fn read(files: &Fingerprint) -> Result<Vec<Document>, String> {
    let read = |path: &PathBuf| {
        let bytes = std::fs::read(path)
            .map_err(|cause| format!("{} cannot be read: {cause}", path.display()))?;
        Ok(Document::new(path.display().to_string(), bytes))
    };
    files.keys().map(read).collect()
}

/// The documents of files and folders, as `weir policy check` is given them.
pub fn documents(paths: &[PathBuf]) -> Result<Vec<Document>, Vec<Problem>> {
    let mut files = Fingerprint::new();
    let mut problems = Vec::new();
    for path in paths {
        let before = files.len();
        let listed = if path.is_dir() {
            collect(path, DEPTH_MAX, &mut files).and_then(|()| {
                let found = files.len() > before || paths.len() > 1;
                let what = "holds no policies: no file there ends in .yaml, .yml or .json";
                if found { Ok(()) } else { Err(what.to_owned()) }
            })
        } else {
            files.insert(path.clone(), (None, 0));
            Ok(())
        };
        if let Err(what) = listed {
            let mend = "name files or folders that this user may read";
            problems.push(Problem::of_file(
                &path.display().to_string(),
                Code::Unreadable,
                &what,
                mend,
            ));
        }
    }
    let mut documents = Vec::new();
    for path in files.keys() {
        match std::fs::read(path) {
            Ok(bytes) => documents.push(Document::new(path.display().to_string(), bytes)),
            Err(cause) => {
                let what = format!("cannot be read: {cause}");
                let mend = "name files or folders that this user may read";
                let shown = path.display().to_string();
                problems.push(Problem::of_file(&shown, Code::Unreadable, &what, mend));
            }
        }
    }
    if problems.is_empty() { Ok(documents) } else { Err(problems) }
}
