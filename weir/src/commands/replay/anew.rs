//! A journal decided anew, written as another one.

use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::{counted, unreadable};
use crate::cli::Output;
use crate::commands::OK;
use crate::recording::{Recording, hex};
use crate::replay::BUILD;
use crate::replay::anew::{Anew, AnewError, write};

/// Writes it, and says what came of it.
pub(super) fn run(recording: &Recording, folder: &Path, output: Output) -> anyhow::Result<u8> {
    let anew = match write(recording, folder) {
        Ok(anew) => anew,
        Err(AnewError::Replay(error)) => return unreadable(&error),
        Err(AnewError::Occupied(folder)) => {
            writeln!(anstream::stderr(), "error: {}", AnewError::Occupied(folder))?;
            return Ok(super::BAD_INPUT);
        }
        Err(AnewError::Store(error)) => return Err(error.into()),
    };
    match output {
        Output::Table => tell(&anew, folder)?,
        Output::Json => writeln!(anstream::stdout(), "{:#}", document(&anew))?,
    }
    Ok(OK)
}

fn tell(anew: &Anew, folder: &Path) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    let (steps, different) = (anew.steps, anew.different);
    let segments = counted(anew.segments, "segment");
    writeln!(out, "written   {segments}, {steps} steps, to {}", folder.display())?;
    if let Some(torn) = &anew.torn {
        writeln!(out, "torn      {torn}: left out; all before is there")?;
    }
    if different == 0 {
        writeln!(out, "identical every decision is the recorded one")?;
    } else {
        writeln!(out, "decided   {different} of {steps} decisions are others, by weir {BUILD}")?;
    }
    let link = hex(&anew.link.0);
    writeln!(
        out,
        "chain     begins anew and ends with link {link}: it proves nothing of the other"
    )?;
    Ok(())
}

fn document(anew: &Anew) -> serde_json::Value {
    json!({
        "segments": anew.segments,
        "steps": anew.steps,
        "different": anew.different,
        "torn": anew.torn,
        "last_link": hex(&anew.link.0),
    })
}
