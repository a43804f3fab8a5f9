//! The picture of a service: shares, decisions and heat over one time axis.
//!
//! Two drawings side by side: a gutter of fixed width with the rows' names, and a plot as wide as
//! the page. Inside the plot positions along time are percentages and texts keep their size, so
//! one drawing fits a phone and a wall.

use super::escaped;
use super::heat::{self, Metric};
use crate::board::matrix::Matrix;
use crate::view::decision::{DecisionSummary, Kind};
use crate::view::{Time, plain};

/// Room for decision markers above the shares.
const MARKERS: u32 = 22;
/// Height of the shares.
const SHARES: u32 = 150;
/// Room between shares and heat.
const GAP: u32 = 14;
/// Room for times below the heat.
const AXIS: u32 = 22;
/// So tall is the heat map of many endpoints at most.
const HEAT_MAX: u32 = 460;
/// A row that has a name is so tall.
const ROW: u32 = 18;
/// So many rows have names: as many as fit the height.
const NAMED_MAX: usize = (HEAT_MAX / ROW) as usize;
/// So many endpoints have a band of their own; the rest of a large service is one band.
const BANDS_MAX: usize = 60;
/// So many endpoints whose share strays most are coloured.
const COLOURS: usize = 8;
/// A share that strays less than this part of an equal one is not told apart by colour.
const STRAY_MIN: f64 = 0.25;
/// Markers drawn at most: closer ones could not be told apart or hit.
const MARKERS_MAX: usize = 40;

/// The picture, ready to stand in a page.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceChart {
    /// Names of the rows.
    pub(crate) gutter: String,
    /// The plot.
    pub(crate) plot: String,
    /// Class of each address's colour, in the matrix's order; empty for the calm ones.
    pub(crate) colours: Vec<Option<usize>>,
    /// Where the heat map stands in the plot, for the pointer: top and height in pixels.
    pub(crate) heat: (u32, u32),
}

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Drawing<'a> {
    pub(crate) matrix: &'a Matrix,
    pub(crate) decisions: &'a [DecisionSummary],
    pub(crate) metric: Metric,
    /// Where the heat map's picture is.
    pub(crate) heat_url: &'a str,
}

impl Drawing<'_> {
    pub(crate) fn draw(&self) -> ServiceChart {
        let rows = self.matrix.rows.len();
        let count = u32::try_from(rows.max(1)).unwrap_or(u32::MAX);
        let heat_height = (count.saturating_mul(ROW)).clamp(ROW, HEAT_MAX);
        let top = MARKERS + SHARES + GAP;
        let height = top + heat_height + AXIS;
        let colours = self.colours();
        let mut plot = format!(
            r#"<svg class="plot" width="100%" height="{height}" role="group" aria-label="{}">"#,
            escaped(&self.label())
        );
        self.shares(&mut plot, &colours);
        self.heat(&mut plot, (top, heat_height));
        self.axis(&mut plot, (top + heat_height, height));
        self.markers(&mut plot, top + heat_height);
        plot.push_str("</svg>");
        let gutter = self.gutter((top, heat_height), height, &colours);
        ServiceChart { gutter, plot, colours, heat: (top, heat_height) }
    }

    /// The picture in words.
    fn label(&self) -> String {
        let rows = self.matrix.present;
        let mut text =
            format!("Traffic share and {} of {rows} endpoints over time", self.metric.label());
        if let Some((row, column, worst)) = heat::worst(self.matrix, self.metric) {
            let address = plain(self.matrix.addresses[row].as_str());
            let offset = self.matrix.scale.step * u32::try_from(column).unwrap_or(u32::MAX);
            let at = Time(self.matrix.start.plus(offset)).clock();
            put!(text, "; worst: {address}, {worst} at {at}");
        }
        text
    }

    /// The endpoints whose share strays most from an equal one get colours, in order of address.
    fn colours(&self) -> Vec<Option<usize>> {
        let equal = 1.0 / self.matrix.present.max(1) as f64;
        let mut strays: Vec<(usize, f64)> = Vec::new();
        for (index, row) in self.matrix.rows.iter().enumerate() {
            let cells = row.iter().flatten();
            let stray = cells.map(|cell| (f64::from(cell.share) - equal).abs()).fold(0.0, f64::max);
            if stray / equal >= STRAY_MIN {
                strays.push((index, stray));
            }
        }
        strays.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        strays.truncate(COLOURS);
        strays.sort_by_key(|(index, _)| *index);
        let mut colours = vec![None; self.matrix.rows.len()];
        for (colour, (index, _)) in strays.into_iter().enumerate() {
            colours[index] = Some(colour);
        }
        colours
    }

    /// Bands of the shares from top to bottom in the rows' order: which rows each sums up.
    fn bands(&self, colours: &[Option<usize>]) -> Vec<(Option<usize>, Vec<usize>)> {
        let rows = 0..self.matrix.rows.len();
        if rows.len() <= BANDS_MAX {
            return rows.map(|row| (colours[row], vec![row])).collect();
        }
        let (strays, rest): (Vec<usize>, Vec<usize>) =
            rows.partition(|&row| colours[row].is_some());
        let strays = strays.into_iter().map(|row| (colours[row], vec![row]));
        strays.chain([(None, rest)]).collect()
    }

    fn shares(&self, svg: &mut String, colours: &[Option<usize>]) {
        let columns = self.matrix.scale.columns;
        put!(
            svg,
            r#"<rect class="plot-ground" y="{MARKERS}" width="100%" height="{SHARES}"/><svg y="{MARKERS}" width="100%" height="{SHARES}" viewBox="0 0 {columns} 1000" preserveAspectRatio="none" aria-hidden="true">"#
        );
        let mut below = vec![0.0_f64; columns];
        // From the bottom up, so that the first row is on top, as in the heat map.
        for (index, (colour, rows)) in self.bands(colours).iter().enumerate().rev() {
            let lower = below.clone();
            let mut known = vec![false; columns];
            for &row in rows {
                for (x, cell) in self.matrix.rows[row].iter().enumerate() {
                    if let Some(cell) = cell {
                        below[x] += f64::from(cell.share);
                        known[x] = true;
                    }
                }
            }
            let class = match colour {
                Some(colour) => format!("c{colour}"),
                None => format!("calm{}", index % 2),
            };
            let path = band(&lower, &below, &known);
            if !path.is_empty() {
                put!(svg, r#"<path class="{class}" d="{path}"/>"#);
            }
        }
        svg.push_str("</svg>");
    }

    fn heat(&self, svg: &mut String, (top, height): (u32, u32)) {
        put!(
            svg,
            r#"<rect class="plot-ground" y="{top}" width="100%" height="{height}"/><image class="heat" href="{}" x="0" y="{top}" width="100%" height="{height}" preserveAspectRatio="none"/>"#,
            escaped(self.heat_url)
        );
        let rows = self.matrix.rows.len();
        if rows <= NAMED_MAX {
            for row in 1..rows {
                let y = top + ROW * u32::try_from(row).unwrap_or(0);
                put!(svg, r#"<line class="rule" x1="0" x2="100%" y1="{y}" y2="{y}"/>"#);
            }
        }
    }

    fn axis(&self, svg: &mut String, (bottom, height): (u32, u32)) {
        let scale = self.matrix.scale;
        let span = crate::board::read::millis(scale.step) * scale.columns as u64;
        // Five labels: every minute of five, every three of fifteen.
        let every = span / 5;
        let start = self.matrix.start.millis();
        let mut at = start.div_ceil(every) * every;
        while at <= start + span {
            let x = (at - start) as f64 / span as f64 * 100.0;
            let text = Time(weir_engine::units::Moment::from_millis(at)).minute();
            let anchor = if x > 94.0 {
                "end"
            } else if x < 6.0 {
                "start"
            } else {
                "middle"
            };
            put!(
                svg,
                r#"<line class="tick" x1="{x:.2}%" x2="{x:.2}%" y1="{MARKERS}" y2="{}"/><text class="axis" x="{x:.2}%" y="{}" text-anchor="{anchor}">{text}</text>"#,
                bottom + 4,
                height - 5,
            );
            at += every;
        }
    }

    fn markers(&self, svg: &mut String, bottom: u32) {
        let scale = self.matrix.scale;
        let start = self.matrix.start.millis();
        let span = crate::board::read::millis(scale.step) * scale.columns as u64;
        let shown = self.decisions.iter().filter(|decision| {
            let at = decision.at.0.millis();
            at >= start && at < start + span && decision.kind != Kind::First
        });
        // Oldest first, so that the newest lies on top and comes last under the Tab key.
        let shown: Vec<_> = shown.take(MARKERS_MAX).collect();
        for decision in shown.into_iter().rev() {
            let x = (decision.at.0.millis() - start) as f64 / span as f64 * 100.0;
            let kind = kind_class(decision.kind);
            let label =
                escaped(&format!("{} {}: {}", decision.at.clock(), decision.title, decision.why));
            put!(
                svg,
                r#"<a href="/decisions/{}" class="marker k-{kind}" aria-label="{label}"><title>{label}</title><line x1="{x:.2}%" x2="{x:.2}%" y1="14" y2="{bottom}"/><circle cx="{x:.2}%" cy="9" r="5"/></a>"#,
                decision.id
            );
        }
    }

    fn gutter(&self, (top, heat): (u32, u32), height: u32, colours: &[Option<usize>]) -> String {
        let mut svg =
            format!(r#"<svg class="gutter" width="100%" height="{height}" aria-hidden="true">"#);
        let middle = MARKERS + SHARES / 2;
        for (y, text) in [(MARKERS + 10, "100 %"), (middle + 4, "share"), (MARKERS + SHARES, "0 %")]
        {
            put!(svg, r#"<text class="axis" x="96%" y="{y}" text-anchor="end">{text}</text>"#);
        }
        let rows = self.matrix.rows.len();
        if rows <= NAMED_MAX {
            for (row, address) in self.matrix.addresses.iter().enumerate() {
                let y = top + ROW * u32::try_from(row).unwrap_or(0) + ROW - 5;
                let gone = if row >= self.matrix.present { " gone" } else { "" };
                let name = escaped(&shortened(&plain(address.as_str())));
                put!(
                    svg,
                    r#"<text class="row-name{gone}" x="95%" y="{y}" text-anchor="end">{name}</text>"#
                );
                if let Some(colour) = colours[row] {
                    let y = y - 9;
                    put!(
                        svg,
                        r#"<rect class="c{colour}" x="97%" y="{y}" width="4" height="12" rx="1"/>"#
                    );
                }
            }
        } else {
            let y = top + heat / 2;
            put!(
                svg,
                r#"<text class="axis" x="96%" y="{y}" text-anchor="end">{rows} endpoints</text>"#
            );
        }
        svg.push_str("</svg>");
        svg
    }
}

/// The end of a long name: what tells addresses apart stands there.
fn shortened(name: &str) -> String {
    const MAX: usize = 19;
    let count = name.chars().count();
    if count <= MAX {
        return name.to_owned();
    }
    format!("…{}", name.chars().skip(count - MAX + 1).collect::<String>())
}

/// The class of a kind's colour.
pub(crate) const fn kind_class(kind: Kind) -> &'static str {
    match kind {
        Kind::Ejected => "ejected",
        Kind::Probation => "probation",
        Kind::Rollout => "rollout",
        Kind::Stance => "stance",
        Kind::Policy => "policy",
        Kind::Restored => "restored",
        Kind::Endpoints => "endpoints",
        Kind::Shares => "shares",
        Kind::First => "first",
    }
}

/// A band between two lines as a closed path of steps, broken where nothing is known. Runs of equal
/// columns are one step, so a steady hour is a rectangle.
fn band(lower: &[f64], upper: &[f64], known: &[bool]) -> String {
    let mut path = String::new();
    let height = |share: f64| (1.0 - share.clamp(0.0, 1.0)) * 1_000.0;
    let mut x = 0;
    while x < known.len() {
        if !known[x] {
            x += 1;
            continue;
        }
        let start = x;
        while x < known.len() && known[x] {
            x += 1;
        }
        if (start..x).all(|x| upper[x] - lower[x] < 1e-4) {
            continue;
        }
        put!(path, "M{start} {:.0}", height(upper[start]));
        for (end, level) in runs(upper, start, x, height) {
            put!(path, "V{level:.0}H{end}");
        }
        let mut back: Vec<_> = runs(lower, start, x, height);
        back.reverse();
        for index in 0..back.len() {
            let begins = back.get(index + 1).map_or(start, |(end, _)| *end);
            put!(path, "V{:.0}H{begins}", back[index].1);
        }
        path.push('Z');
    }
    path
}

/// Runs of equal height: where each ends, and its height in whole steps.
fn runs(line: &[f64], start: usize, end: usize, height: impl Fn(f64) -> f64) -> Vec<(usize, f64)> {
    let mut runs: Vec<(usize, f64)> = Vec::new();
    for (x, share) in line.iter().enumerate().take(end).skip(start) {
        let level = height(*share).round();
        match runs.last_mut() {
            Some(run) if (run.1 - level).abs() < 0.5 => run.0 = x + 1,
            _ => runs.push((x + 1, level)),
        }
    }
    runs
}

#[cfg(test)]
mod tests;
