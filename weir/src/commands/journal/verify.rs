//! `weir journal verify`: checksums, and the chain over all segments.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::json;
use weir_journal::Link;

use super::Failed;
use crate::cli::Output;
use crate::commands::replay::{broken, counted, killed};
use crate::commands::{FINDINGS, OK};
use crate::recording::{Pages, ReadError, Recording, hex};

/// What is found wrong, in words, and how much was read.
#[derive(Default)]
struct Found {
    records: u64,
    wrong: Vec<String>,
    torn: Option<String>,
    first: Option<Link>,
    /// The segment before, and the link that it ends with.
    last: Option<(PathBuf, Link)>,
}

/// Verifies all segments.
pub(super) fn run(journal: &Path, output: Output) -> Result<u8, Failed> {
    let recording = Recording::open(journal)?;
    let mut found = Found::default();
    let last = recording.segments().len().saturating_sub(1);
    for (index, path) in recording.segments().iter().enumerate() {
        found.read(path, index == last)?;
    }
    let segments = recording.segments().len();
    match output {
        Output::Json => print_json(&found, segments)?,
        Output::Table => print(&found, segments)?,
    }
    Ok(if found.wrong.is_empty() { OK } else { FINDINGS })
}

impl Found {
    fn last_link(&self) -> Option<Link> {
        self.last.as_ref().map(|(_, link)| *link)
    }

    fn read(&mut self, path: &Path, is_last: bool) -> Result<(), Failed> {
        let pages = Pages::read(path).map_err(ReadError::from)?;
        let mut records = match pages.records() {
            Ok(records) => records,
            Err(error) => {
                self.wrong.push(error.to_string());
                self.last = None;
                return Ok(());
            }
        };
        let link = records.segment.link;
        self.first.get_or_insert(link);
        if let Some((before, _)) = self.last.as_ref().filter(|(_, last)| *last != link) {
            self.wrong.push(broken(before, path));
        }
        for record in records.by_ref() {
            match record {
                Ok(_) => self.records += 1,
                Err(error @ ReadError::Damaged { .. }) => {
                    let torn = matches!(
                        &error,
                        ReadError::Damaged { cause: weir_journal::Damage::Torn { .. }, .. }
                    );
                    if torn && is_last {
                        self.torn = Some(error.to_string());
                    } else {
                        self.wrong.push(error.to_string());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.last = Some((path.to_owned(), records.link()));
        Ok(())
    }
}

fn shown(link: Option<Link>) -> String {
    link.map(|link| hex(&link.0)).unwrap_or_default()
}

fn print(found: &Found, segments: usize) -> Result<(), Failed> {
    let mut out = anstream::stdout();
    writeln!(out, "{}, {} records", counted(segments, "segment"), found.records)?;
    for wrong in &found.wrong {
        writeln!(out, "damaged  {wrong}")?;
    }
    if let Some(torn) = &found.torn {
        writeln!(out, "torn     {}", killed(torn))?;
    }
    if found.wrong.is_empty() {
        writeln!(
            out,
            "whole    checksums and chain hold, from link {} to {}",
            shown(found.first),
            shown(found.last_link())
        )?;
        if found.first != Some(Link::default()) {
            writeln!(out, "         it goes on from segments that were deleted or moved")?;
        }
    }
    Ok(())
}

fn print_json(found: &Found, segments: usize) -> Result<(), Failed> {
    let document = json!({
        "whole": found.wrong.is_empty(),
        "segments": segments,
        "records": found.records,
        "damaged": found.wrong,
        "torn": found.torn,
        "first_link": shown(found.first),
        "last_link": shown(found.last_link()),
    });
    writeln!(anstream::stdout(), "{document:#}")?;
    Ok(())
}
