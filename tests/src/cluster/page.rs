//! Follows what a page of the documentation says, word for word.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use super::Cluster;
use super::identity::Identity;
use crate::weir::binary;

/// How long the commands of one block may take.
const WITHIN: Duration = Duration::from_secs(120);

/// The root of the repository, where a reader of the pages stands.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The first block of shell commands under a heading of a page.
///
/// # Panics
///
/// When the page has no such heading, or no commands there.
pub fn commands(page: &str, heading: &str) -> String {
    block(page, heading, "sh")
}

/// The first block of this language under a heading of a page.
///
/// # Panics
///
/// As [`commands`].
pub fn block(page: &str, heading: &str, language: &str) -> String {
    let all = blocks(page, heading, language);
    let first = all.into_iter().next();
    first.unwrap_or_else(|| panic!("{page}: no {language} under {heading:?}"))
}

/// All blocks of this language under a heading of a page.
///
/// # Panics
///
/// When the page has no such heading.
pub fn blocks(page: &str, heading: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
    let (_, below) = text
        .split_once(&format!("\n## {heading}\n"))
        .unwrap_or_else(|| panic!("{page}: no heading {heading:?}"));
    let section = below.split("\n## ").next().unwrap_or(below);
    let begin = format!("```{language}\n");
    let blocks = section.split(&begin).skip(1).filter_map(|rest| rest.split_once("\n```"));
    blocks.map(|(block, _)| format!("{block}\n")).collect()
}

/// Whether the program is there by which a page makes certificates.
///
/// # Errors
///
/// How to get it.
pub fn openssl() -> Result<(), String> {
    let tried = std::process::Command::new("openssl").arg("version").output();
    let there = tried.is_ok_and(|tried| tried.status.success());
    there.then_some(()).ok_or_else(|| "it is not installed: apt-get install openssl".to_owned())
}

impl Cluster {
    /// Runs commands in a folder, as an administrator of this cluster who has the repository's `deploy` and
    /// its `weir` at hand; what they print. They stop at the first that fails.
    ///
    /// # Errors
    ///
    /// What they say where one fails.
    pub async fn follow(&self, folder: &Path, commands: &str) -> Result<String, String> {
        let programs = folder.join("bin");
        std::fs::create_dir_all(&programs).unwrap();
        program(&programs, "kubectl", &self.peers.program("kube"), "kubectl ");
        program(&programs, "weir", binary(), "");
        if self.peers.have("helm") {
            program(&programs, "helm", &self.peers.program("helm"), "");
        }
        if !folder.join("deploy").exists() {
            std::os::unix::fs::symlink(root().join("deploy"), folder.join("deploy")).unwrap();
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(programs).chain(std::env::split_paths(&path));
        let mut shell = Command::new("bash");
        shell.args(["-euo", "pipefail", "-c", commands]).current_dir(folder);
        shell.env("PATH", std::env::join_paths(path).unwrap());
        shell.env("KUBECONFIG", self.kubeconfig(Identity::Admin)).env("HOME", folder);
        shell.stdin(Stdio::null()).kill_on_drop(true);
        let ended = timeout(WITHIN, shell.output()).await;
        let ended = ended.map_err(|_| format!("over {WITHIN:?}: {commands}"))?.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if ended.status.success() { Ok(text(&ended.stdout)) } else { Err(text(&ended.stderr)) }
    }
}

/// A program under the name that people call it by.
fn program(folder: &Path, name: &str, path: &Path, first: &str) {
    let script = format!("#!/bin/sh\nexec '{}' {first}\"$@\"\n", path.display());
    let file = folder.join(name);
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}
