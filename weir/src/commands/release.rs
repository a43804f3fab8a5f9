//! `weir release`.

use std::io::Write;

use weir_collectors::kubernetes::reach;
use weir_policies::problem::{Colour, render};

use super::run::runtime;
use super::{BAD_INPUT, OK};
use crate::config::{self, Given};
use crate::kubernetes::writing::Objects;

/// Puts back everything that Weir has written into objects of a cluster.
pub fn release(given: Given, colour: Colour) -> anyhow::Result<u8> {
    let config = match config::load(given) {
        Ok(config) => config,
        Err(problems) => {
            writeln!(anstream::stderr(), "{}", render(&problems, colour))?;
            return Ok(BAD_INPUT);
        }
    };
    let Some(kubernetes) = &config.kubernetes else {
        let words = "nothing to release: the configuration names no Kubernetes cluster";
        writeln!(
            anstream::stderr(),
            "{words}; add kubernetes: {{}}, or name another file with -c"
        )?;
        return Ok(BAD_INPUT);
    };
    let count = runtime()?.block_on(async {
        let client = reach::client(&kubernetes.reach).await?;
        let objects = Objects::new(client, kubernetes.namespaces.clone());
        anyhow::Ok(objects.release(kubernetes.writes).await?)
    })?;
    writeln!(anstream::stdout(), "{count} objects are as they were found")?;
    Ok(OK)
}
