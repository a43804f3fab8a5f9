//! A real Envoy as a child process.
//!
//! Its admin port is chosen by the kernel and told through a file, so that no free port has
//! to be guessed; listeners may do the same (port 0) and be asked for by
//! [`Admin::listeners`].

mod admin;

pub use admin::{Admin, AdminError};

use crate::child::{Child, ChildError, Program};
use serde_json::Value;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The variable that names another Envoy than the build's own.
const VARIABLE: &str = "WEIR_ENVOY";

/// Where the build puts Envoy, under the repository.
const BUILT: &str = ".build/envoy/envoy";

/// How long the admin port may take to come up: Envoy needs 0.2 s, a busy machine more.
const ADMIN_WITHIN: Duration = Duration::from_secs(30);

/// How often the admin port is tried.
const TRY_EVERY: Duration = Duration::from_millis(20);

/// No Envoy to start.
#[derive(Debug, thiserror::Error)]
pub enum Missing {
    /// The variable names something else.
    #[error("WEIR_ENVOY names {0}, which is no file")]
    Named(PathBuf),
    /// The build's own is not there.
    #[error(
        "no Envoy at {BUILT} here or above; `make envoy` installs it there, \
         or set WEIR_ENVOY to the path of one"
    )]
    NotBuilt,
}

/// Why Envoy is not there.
#[derive(Debug, thiserror::Error)]
pub enum EnvoyError {
    /// The binary is missing.
    #[error(transparent)]
    Missing(#[from] Missing),
    /// Its configuration could not be written.
    #[error("Envoy's configuration could not be written: {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The process did not come up.
    #[error(transparent)]
    Child(#[from] ChildError),
}

/// The Envoy to use: what `WEIR_ENVOY` names, else the build's own in the working directory
/// or one above it.
pub fn find() -> Result<PathBuf, Missing> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        let named = PathBuf::from(named);
        return if named.is_file() { Ok(named) } else { Err(Missing::Named(named)) };
    }
    let here = std::env::current_dir().map_err(|_| Missing::NotBuilt)?;
    let built = here.ancestors().map(|directory| directory.join(BUILT));
    built.into_iter().find(|path| path.is_file()).ok_or(Missing::NotBuilt)
}

/// How to start Envoy.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Where its configuration, its log and its admin address are written.
    pub directory: &'a Path,
    /// Its worker threads.
    pub concurrency: u32,
}

/// A running Envoy, killed when dropped.
#[derive(Debug)]
pub struct Envoy {
    /// The process.
    pub child: Child,
    /// Its admin interface.
    pub admin: Admin,
}

impl Envoy {
    /// Starts Envoy on a bootstrap configuration whose `admin` section is replaced, and waits
    /// until its admin interface answers. It may not serve yet: see [`Envoy::serving`].
    pub async fn start(
        path: &Path,
        bootstrap: Value,
        options: Options<'_>,
    ) -> Result<Envoy, EnvoyError> {
        let config = options.directory.join("envoy.json");
        let told = options.directory.join("envoy-admin");
        let bootstrap = with_admin(bootstrap).to_string();
        std::fs::write(&config, bootstrap)
            .and_then(|()| remove_if_there(&told))
            .map_err(|source| EnvoyError::Write { path: config.clone(), source })?;
        let mut child = Child::start(program(path, &config, &told, options))?;
        let mut admin = None;
        let answers = async || {
            admin = admin_told(&told);
            match &admin {
                Some(admin) => admin.get("/ready").await.is_ok(),
                None => false,
            }
        };
        child.ready(ADMIN_WITHIN, answers).await?;
        Ok(Envoy { child, admin: admin.expect("ready only once it was told") })
    }

    /// Waits until Envoy serves: all clusters and listeners are initialised.
    pub async fn serving(&mut self, within: Duration) -> Result<(), EnvoyError> {
        let Envoy { child, admin } = self;
        Ok(child.ready(within, async || admin.serving().await).await?)
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

fn with_admin(mut bootstrap: Value) -> Value {
    let address = serde_json::json!({"address": "127.0.0.1", "port_value": 0});
    bootstrap["admin"] = serde_json::json!({"address": {"socket_address": address}});
    bootstrap
}

fn program(path: &Path, config: &Path, told: &Path, options: Options<'_>) -> Program {
    let concurrency = options.concurrency.to_string();
    let flags = ["--disable-hot-restart", "--log-level", "warning", "--concurrency"];
    let mut arguments = flags.map(Into::into).to_vec();
    arguments.extend([concurrency.into(), "--config-path".into(), config.into()]);
    arguments.extend(["--admin-address-path".into(), told.into()]);
    Program {
        name: "Envoy".to_owned(),
        path: path.to_owned(),
        arguments,
        environment: Vec::new(),
        log: options.directory.join("envoy.log"),
    }
}

/// The admin address once Envoy has told it in full.
fn admin_told(file: &Path) -> Option<Admin> {
    let address: SocketAddr = std::fs::read_to_string(file).ok()?.trim().parse().ok()?;
    Some(Admin::new(address))
}

/// Waits until `condition` holds and says whether it did within the time: for what Envoy
/// shows some time after it was told.
pub async fn eventually(within: Duration, mut condition: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + within;
    loop {
        if condition().await {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        sleep(TRY_EVERY).await;
    }
}

#[cfg(test)]
mod tests;
