//! A network namespace, in which the addresses of pods and services are this machine's own.
//!
//! EndpointSlices refuse loopback addresses, so a backend has to listen on a pod's real one; in
//! a namespace of our own every address of the pods' range is local without anybody's leave, no
//! packet leaves, and two runs do not meet. A process cannot move itself without unsafe code, so
//! it runs itself once more under `unshare`.

use std::process::{Command, ExitCode};

/// Set in the process inside.
const INSIDE: &str = "WEIR_MESH_NAMESPACE";

/// The address of the only machine.
pub const NODE: &str = "10.0.0.1";

/// The addresses of pods; each node has its own part.
pub const PODS: &str = "10.244.0.0/16";

/// The addresses of services. Nobody serves them: proxies go to pods.
pub const SERVICES: &str = "10.96.0.0/16";

/// Whether this process runs inside.
pub fn inside() -> bool {
    std::env::var_os(INSIDE).is_some()
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum Forbidden {
    /// The kernel, or `unshare`, does not let us.
    #[error("network namespaces are not allowed here: {0}")]
    Unshare(String),
    /// A program is missing.
    #[error("{0} is not installed: apt-get install iproute2 util-linux")]
    Missing(&'static str),
}

/// The way in that this machine allows.
fn way() -> Result<&'static [&'static str], Forbidden> {
    const WAYS: [&[&str]; 2] = [&["--user", "--map-root-user", "--net"], &["--net"]];
    let mut said = Vec::new();
    for way in WAYS {
        let tried = Command::new("unshare").args(way).args(["--", "ip", "link"]).output();
        let tried = tried.map_err(|_| Forbidden::Missing("unshare"))?;
        if tried.status.success() {
            return Ok(way);
        }
        said.push(String::from_utf8_lossy(&tried.stderr).trim().to_owned());
    }
    Err(Forbidden::Unshare(said.join("; ")))
}

/// Runs this program once more, inside, with the same arguments, and gives its exit code.
pub fn enter() -> Result<ExitCode, Forbidden> {
    let way = way()?;
    let own = std::env::current_exe().expect("a running program has a path");
    let mut again = Command::new("unshare");
    // It ends with us, however we end, as its own children end with it.
    again
        .args(way)
        .args(["--", "setpriv", "--pdeathsig", "KILL", "--"])
        .arg(own)
        .args(std::env::args_os().skip(1));
    let ended = again.env(INSIDE, "1").status();
    let ended = ended.map_err(|_| Forbidden::Missing("unshare"))?;
    Ok(u8::try_from(ended.code().unwrap_or(1)).map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Makes the addresses local. Once, inside.
///
/// # Panics
///
/// When `ip` refuses.
pub fn furnish() {
    for words in [
        "link set lo up".to_owned(),
        format!("address add {NODE}/32 dev lo"),
        format!("route add local {PODS} dev lo"),
        format!("route add local {SERVICES} dev lo"),
    ] {
        let done = Command::new("ip").args(words.split(' ')).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "ip {words}: {said}");
    }
}
