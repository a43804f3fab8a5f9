//! Folders and files of data, and what is wrong with them.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use weir_policies::problem::{Code, Problem};

use super::Found;

/// More problems than this in one file say that the file is of another kind.
pub(super) const PROBLEMS_MAX: usize = 10;

/// Folders within folders; published data nests three deep at most.
const DEPTH_MAX: usize = 6;

/// A problem of a whole file or folder.
pub(super) fn problem(path: &Path, code: Code, what: &str, mend: &str) -> Problem {
    Problem::of_file(&path.display().to_string(), code, what, mend)
}

/// A problem at a line, counted from 1.
pub(super) fn problem_at(path: &Path, line: u64, what: &str, mend: &str) -> Problem {
    let whole = problem(path, Code::WrongValue, what, mend);
    Problem { line: usize::try_from(line).unwrap_or(usize::MAX), ..whole }
}

/// All files below a folder with this ending, in the order of their paths.
pub(super) fn files(folder: &Path, ending: &str) -> Found<Vec<PathBuf>> {
    let (mut found, mut open) = (Vec::new(), vec![(folder.to_owned(), 0)]);
    while let Some((folder, depth)) = open.pop() {
        let unreadable = |cause: std::io::Error| {
            let what = format!("cannot be read: {cause}");
            vec![problem(&folder, Code::Unreadable, &what, "name a folder of data")]
        };
        for entry in std::fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.is_dir() && depth < DEPTH_MAX {
                open.push((path, depth + 1));
            } else if path.extension().is_some_and(|end| end.eq_ignore_ascii_case(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

/// A JSON file of a known shape.
pub(super) fn json<T: DeserializeOwned>(path: &Path, shape: &str) -> Found<T> {
    let bytes = std::fs::read(path).map_err(|cause| {
        let what = format!("cannot be read: {cause}");
        vec![problem(path, Code::Unreadable, &what, &format!("it must hold {shape}"))]
    })?;
    serde_json::from_slice(&bytes).map_err(|cause| {
        let whole = problem(path, Code::Syntax, &cause.to_string(), &format!("write {shape}"));
        vec![Problem { line: cause.line().max(1), column: cause.column().max(1), ..whole }]
    })
}
