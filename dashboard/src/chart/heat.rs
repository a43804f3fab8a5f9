//! The heat map: endpoints by time, a pixel a cell, as an indexed PNG.
//!
//! Low values are translucent and high ones opaque, so that the same picture reads on a light and
//! on a dark page.

use crate::board::matrix::Matrix;
use crate::board::track::Cell;
use crate::view::service::EndpointState;

/// What the colours say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Metric {
    /// Part of the requests that failed.
    #[default]
    Errors,
    /// 99th percentile of latency against the service's usual one.
    P99,
    /// Requests against an equal share.
    Load,
}

impl Metric {
    pub(crate) const ALL: [Self; 3] = [Self::Errors, Self::P99, Self::Load];

    /// As it is written in a query.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Errors => "errors",
            Self::P99 => "p99",
            Self::Load => "load",
        }
    }

    /// As people read it.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Errors => "Errors",
            Self::P99 => "p99",
            Self::Load => "Load",
        }
    }

    const fn scale(self) -> &'static [Level] {
        match self {
            Self::Errors => &ERRORS,
            Self::P99 => &P99,
            Self::Load => &LOAD,
        }
    }
}

/// A colour for all values from one bound up to the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Level {
    from: f64,
    colour: [u8; 4],
    /// What the legend says; levels without a word are between two with one.
    label: &'static str,
}

const fn level(from: f64, colour: [u8; 4], label: &'static str) -> Level {
    Level { from, colour, label }
}

const ERRORS: [Level; 7] = [
    level(0.0, [46, 160, 132, 62], "none"),
    level(1e-9, [240, 190, 70, 150], "some"),
    level(0.01, [240, 165, 50, 215], "1 %"),
    level(0.05, [236, 124, 40, 245], "5 %"),
    level(0.1, [222, 82, 46, 255], "10 %"),
    level(0.25, [198, 44, 58, 255], "25 %"),
    level(0.5, [146, 18, 74, 255], "50 %"),
];

const P99: [Level; 6] = [
    level(0.0, [70, 140, 200, 50], "usual"),
    level(1.3, [70, 132, 214, 105], ""),
    level(2.0, [88, 112, 224, 170], "2 x"),
    level(4.0, [122, 82, 216, 220], "4 x"),
    level(8.0, [166, 48, 180, 250], "8 x"),
    level(16.0, [176, 22, 104, 255], "16 x"),
];

const LOAD: [Level; 6] = [
    level(0.0, [20, 150, 150, 22], "none"),
    level(0.1, [20, 150, 150, 62], ""),
    level(0.5, [18, 146, 150, 118], "half"),
    level(0.85, [14, 138, 146, 170], "equal"),
    level(1.25, [10, 112, 138, 225], "1.25 x"),
    level(2.0, [12, 70, 120, 255], "2 x"),
];

/// Out, and so without requests.
const OUT: [u8; 4] = [120, 130, 142, 88];

/// Indices of the palette: nothing known, out, then the levels.
const UNKNOWN: u8 = 0;
const OUT_INDEX: u8 = 1;
const FIRST_LEVEL: u8 = 2;

/// The metric's value of each cell; none where nothing is known.
struct Values {
    metric: Metric,
    usual: f64,
}

impl Values {
    fn of(matrix: &Matrix, metric: Metric) -> Self {
        let cells = matrix.rows.iter().flatten().flatten();
        let usual = match metric {
            Metric::Errors => 1.0,
            Metric::P99 => median(cells.map(|cell| f64::from(cell.p99_ms)).filter(|v| !v.is_nan())),
            Metric::Load => {
                let busy = cells.filter(|cell| cell.known && cell.requests > 0);
                median(busy.map(|cell| f64::from(cell.requests)))
            }
        };
        Self { metric, usual }
    }

    fn value(&self, cell: &Cell) -> Option<f64> {
        let value = match self.metric {
            Metric::Errors if cell.known && cell.requests > 0 => {
                f64::from(cell.errors) / f64::from(cell.requests)
            }
            Metric::P99 if !cell.p99_ms.is_nan() => f64::from(cell.p99_ms),
            Metric::Load if cell.known => f64::from(cell.requests),
            Metric::Errors | Metric::P99 | Metric::Load => return None,
        };
        (self.usual > 0.0).then(|| value / self.usual)
    }

    fn index(&self, cell: &Cell) -> u8 {
        let idle = !cell.known || cell.requests == 0;
        if cell.state == EndpointState::Ejected && idle {
            return OUT_INDEX;
        }
        let Some(value) = self.value(cell) else { return UNKNOWN };
        let above = self.metric.scale().iter().filter(|level| value >= level.from).count();
        FIRST_LEVEL + u8::try_from(above.saturating_sub(1)).unwrap_or(0)
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    if values.is_empty() {
        return 0.0;
    }
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// The heat map of a matrix: a row per endpoint, a pixel per cell.
pub(crate) fn png(matrix: &Matrix, metric: Metric) -> Result<Vec<u8>, png::EncodingError> {
    let values = Values::of(matrix, metric);
    let cells = matrix.rows.iter().flatten();
    let mut pixels: Vec<u8> =
        cells.map(|cell| cell.as_ref().map_or(UNKNOWN, |cell| values.index(cell))).collect();
    let height = u32::try_from(matrix.rows.len().max(1)).unwrap_or(u32::MAX);
    let width = u32::try_from(matrix.scale.columns).unwrap_or(u32::MAX);
    if pixels.is_empty() {
        pixels = vec![UNKNOWN; matrix.scale.columns];
    }
    let colours: Vec<[u8; 4]> = [[0, 0, 0, 0], OUT]
        .into_iter()
        .chain(metric.scale().iter().map(|level| level.colour))
        .collect();
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(colours.iter().flat_map(|c| [c[0], c[1], c[2]]).collect::<Vec<_>>());
    encoder.set_trns(colours.iter().map(|c| c[3]).collect::<Vec<_>>());
    // Most rows repeat the one value: the cheapest compression already makes them vanish.
    encoder.set_compression(png::Compression::Fast);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(file)
}

/// A swatch of the legend: colour, opacity (0 to 1) and what it says.
pub(crate) struct Swatch {
    pub(crate) colour: String,
    pub(crate) opacity: String,
    pub(crate) label: &'static str,
}

/// The legend of a metric, from little to much.
pub(crate) fn legend(metric: Metric) -> Vec<Swatch> {
    let levels = metric.scale().iter().map(|level| (level.colour, level.label));
    levels
        .chain([(OUT, "out")])
        .map(|([red, green, blue, alpha], label)| Swatch {
            colour: format!("#{red:02x}{green:02x}{blue:02x}"),
            opacity: format!("{:.2}", f64::from(alpha) / 255.0),
            label,
        })
        .collect()
}

/// The worst cell in words, for those who do not see the picture.
pub(crate) fn worst(matrix: &Matrix, metric: Metric) -> Option<(usize, usize, String)> {
    let values = Values::of(matrix, metric);
    let mut worst: Option<(usize, usize, f64)> = None;
    for (row, cells) in matrix.rows.iter().enumerate() {
        for (column, cell) in cells.iter().enumerate() {
            let value = cell.as_ref().and_then(|cell| values.value(cell));
            if let Some(value) = value
                && worst.is_none_or(|(.., most)| value > most)
            {
                worst = Some((row, column, value));
            }
        }
    }
    let (row, column, value) = worst?;
    let text = match metric {
        Metric::Errors => format!("{:.1} % failed", value * 100.0),
        Metric::P99 => format!("{value:.1} times the usual p99"),
        Metric::Load => format!("{value:.1} times the usual load"),
    };
    Some((row, column, text))
}

#[cfg(test)]
mod tests;
