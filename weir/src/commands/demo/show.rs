//! What the demo shows on a terminal. The result goes to standard output, all else to standard
//! error, so that `-o json` prints one document and nothing more.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::sync::watch;
use weir_testbed::demo::{Outcome, Phase, Progress, Scene};
use weir_testbed::load::SideLive;

use crate::cli::Output;

/// What there is to see, and where.
pub(super) fn welcome(page: Option<SocketAddr>) -> anyhow::Result<()> {
    let mut out = anstream::stderr();
    writeln!(
        out,
        "Two fleets of 40 proxies with 10 backends each get the same requests and faults."
    )?;
    writeln!(out, "Weir governs the first; the second has least request and outlier detection.")?;
    if let Some(page) = page {
        writeln!(out, "Watch the reasons: http://{page}/services/demo/shop")?;
    }
    Ok(())
}

/// Says that the script begins again.
pub(super) fn again(page: Option<SocketAddr>) -> anyhow::Result<()> {
    let page = page.map(|page| format!(" (page: http://{page}/)")).unwrap_or_default();
    writeln!(anstream::stderr(), "\nOnce more from the start; Ctrl-C ends it{page}")?;
    Ok(())
}

/// Shows progress until the run is over: a live line per side on a terminal, a line per scene
/// otherwise.
pub(super) async fn live(mut seen: watch::Receiver<Progress>) -> anyhow::Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let bars = terminal.then(Bars::new).transpose()?;
    let mut last = None;
    while seen.changed().await.is_ok() {
        let progress = seen.borrow_and_update().clone();
        if let Some(bars) = &bars {
            bars.show(&progress);
        }
        if progress.scene != last && progress.scene.is_some() {
            last = progress.scene;
            if let (Some(scene), false) = (progress.scene, terminal) {
                writeln!(anstream::stderr(), "{}: {}", scene.name(), words(scene))?;
            }
        }
    }
    // The run's own end is awaited elsewhere.
    std::future::pending().await
}

struct Bars {
    group: indicatif::MultiProgress,
    scene: ProgressBar,
    governed: ProgressBar,
    plain: ProgressBar,
}

impl Bars {
    fn new() -> anyhow::Result<Self> {
        let group = indicatif::MultiProgress::new();
        let line = || -> anyhow::Result<ProgressBar> {
            let style = ProgressStyle::with_template("{msg}")?;
            Ok(group.add(ProgressBar::new_spinner().with_style(style)))
        };
        let (scene, governed, plain) = (line()?, line()?, line()?);
        Ok(Self { group, scene, governed, plain })
    }

    fn show(&self, progress: &Progress) {
        let Some(scene) = progress.scene else { return };
        let left = whole_seconds(progress.remaining);
        self.scene.set_message(format!("{:<10} {} ({left} s left)", scene.name(), words(scene)));
        self.governed.set_message(side("with Weir", &progress.governed));
        self.plain.set_message(side("without", &progress.plain));
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // A terminal that is gone cannot be cleared, and need not be.
        self.group.clear().unwrap_or_default();
    }
}

fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_millis() > 0)
}

fn side(name: &str, live: &SideLive) -> String {
    let seen = &live.so_far;
    format!(
        "  {name:<10} {:>5.0} rps   p50 {:>4.0} ms   p99 {:>5.0} ms   errors {:>7}",
        live.rps,
        seen.p50_ms,
        seen.p99_ms,
        percent(seen.error_ratio),
    )
}

fn words(scene: Scene) -> &'static str {
    match scene {
        Scene::WarmUp => "connections open, Weir takes its first decisions",
        Scene::Pause => "no fault, not counted",
        Scene::Departure => "five of ten backends leave, load falls; not counted",
        Scene::Healthy => "no fault",
        Scene::Slow => "one backend takes ten times as long",
        Scene::Errors => "one backend fails 30 % of its requests",
        Scene::Cold => "five backends join five times as slow, easing over 30 s",
        Scene::AllFail => "every backend fails 20 %: nobody should be ejected",
    }
}

fn percent(ratio: f64) -> String {
    format!("{:.2} %", ratio * 100.0)
}

/// Above this part of late requests the figures speak of the machine, not of the balancing.
const LATE_MOST: f64 = 0.01;

/// Prints what the run showed.
pub(super) fn outcome(outcome: &Outcome, output: Output) -> anyhow::Result<()> {
    let mut out = anstream::stdout();
    match output {
        Output::Json => writeln!(out, "{}", serde_json::to_string_pretty(outcome)?)?,
        Output::Table => {
            writeln!(out, "{}", table(outcome))?;
            writeln!(out, "Each pair: with Weir / without. A timeout counts 2,000 ms.")?;
        }
    }
    if outcome.late_ratio > LATE_MOST {
        tracing::warn!(
            late = percent(outcome.late_ratio),
            "requests were sent late: the machine is too busy for these figures; \
             end what else runs, or lower --rate"
        );
    }
    Ok(())
}

fn table(outcome: &Outcome) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["phase", "p50 ms", "p99 ms", "errors", "p99 ratio", "errors ratio"]);
    for phase in &outcome.phases {
        table.add_row(row(phase));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(phase: &Phase) -> [String; 6] {
    let (with, without) = (&phase.governed, &phase.plain);
    let errors = |side: &weir_testbed::load::Summary| side.error_ratio;
    [
        phase.name.to_owned(),
        format!("{:.0} / {:.0}", with.p50_ms, without.p50_ms),
        format!("{:.0} / {:.0}", with.p99_ms, without.p99_ms),
        format!("{} / {}", percent(errors(with)), percent(errors(without))),
        ratio(with.p99_ms, without.p99_ms),
        // A ten-thousandth is added to both, so that nothing is divided by nothing.
        ratio(errors(with) + 0.0001, errors(without) + 0.0001),
    ]
}

fn ratio(with: f64, without: f64) -> String {
    if without > 0.0 { format!("{:.2}x", with / without) } else { String::new() }
}
