//! `weir journal ls`.

use std::io::Write;
use std::path::Path;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;
use weir_engine::units::Moment;
use weir_journal::Record;

use super::Failed;
use crate::cli::Output;
use crate::commands::OK;
use crate::recording::{Pages, ReadError, Recording};
use crate::times::shown;

/// What is told of a segment, without deciding anything again.
struct Line {
    file: String,
    bytes: usize,
    origin: Option<(String, String)>,
    epoch: Option<u64>,
    from: Option<Moment>,
    until: Option<Moment>,
    steps: u64,
    end: String,
}

/// Lists the segments.
pub(super) fn run(journal: &Path, output: Output) -> Result<u8, Failed> {
    let recording = Recording::open(journal)?;
    let lines: Result<Vec<Line>, Failed> =
        recording.segments().iter().map(|path| line(path)).collect();
    let lines = lines?;
    let mut out = anstream::stdout();
    match output {
        Output::Json => {
            let segments: Vec<_> = lines.iter().map(document).collect();
            writeln!(out, "{:#}", json!({ "segments": segments }))?;
        }
        Output::Table => writeln!(out, "{}", table(&lines))?,
    }
    Ok(OK)
}

fn line(path: &Path) -> Result<Line, Failed> {
    let pages = Pages::read(path).map_err(ReadError::from)?;
    let mut line = Line {
        file: path.display().to_string(),
        bytes: pages.size(),
        origin: None,
        epoch: None,
        from: None,
        until: None,
        steps: 0,
        end: "goes on".to_owned(),
    };
    let records = match pages.records() {
        Ok(records) => records,
        Err(error) => {
            line.end = error.to_string();
            return Ok(line);
        }
    };
    for record in records {
        match record {
            Ok(Record::Opened { at, build, model, epoch, .. }) => {
                line.epoch = epoch;
                (line.from, line.until) = (Some(at), Some(at));
                line.origin = Some((build, model));
            }
            Ok(Record::Step(step)) => {
                line.steps += 1;
                line.until = Some(step.observation.at);
            }
            Ok(Record::Closed { at }) => {
                line.until = Some(at);
                "closed".clone_into(&mut line.end);
            }
            Err(ReadError::Damaged { cause, .. }) => line.end = cause.to_string(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(line)
}

fn table(lines: &[Line]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["segment", "from", "until", "steps", "KiB", "epoch", "written by", "end"]);
    let time = |at: Option<Moment>| at.map(shown).unwrap_or_default();
    for line in lines {
        let origin = line.origin.as_ref();
        table.add_row([
            line.file.clone(),
            time(line.from),
            time(line.until),
            line.steps.to_string(),
            line.bytes.div_ceil(1024).to_string(),
            line.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
            origin.map(|(build, model)| format!("{build}, {model}")).unwrap_or_default(),
            line.end.clone(),
        ]);
    }
    for column in table.column_iter_mut().skip(3).take(3) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn document(line: &Line) -> serde_json::Value {
    json!({
        "file": line.file,
        "bytes": line.bytes,
        "build": line.origin.as_ref().map(|(build, _)| build),
        "model": line.origin.as_ref().map(|(_, model)| model),
        "epoch": line.epoch,
        "from": line.from.map(shown),
        "until": line.until.map(shown),
        "steps": line.steps,
        "end": line.end,
    })
}
