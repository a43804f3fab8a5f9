//! Axes: where a value stands, and where the ticks are.

/// From values to positions.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::commands) struct Axis {
    /// Values at its two ends.
    ends: (f64, f64),
    /// Positions of them.
    places: (f64, f64),
    log: bool,
}

/// Steps of a decade that people read well.
const STEPS: [f64; 3] = [1.0, 2.0, 5.0];

/// More ticks than this are too many.
const TICKS_MAX: usize = 6;

impl Axis {
    /// A logarithmic one around positive values: some room, and ends that are ticks.
    pub(in crate::commands) fn log(values: impl Iterator<Item = f64>, places: (f64, f64)) -> Self {
        let (least, most) = values
            .filter(|value| *value > 0.0)
            .fold((f64::INFINITY, 0.0_f64), |(least, most), v| (least.min(v), most.max(v)));
        let (least, most) = if most > 0.0 { (least, most) } else { (1.0, 10.0) };
        Self { ends: (below(least * 0.9), above(most * 1.1)), places, log: true }
    }

    /// A linear one from 0 to at least `most`.
    pub(in crate::commands) fn linear(most: f64, places: (f64, f64)) -> Self {
        Self { ends: (0.0, above(most.max(1e-9))), places, log: false }
    }

    /// One of exactly these ends.
    pub(in crate::commands) fn exact(ends: (f64, f64), places: (f64, f64)) -> Self {
        Self { ends, places, log: false }
    }

    /// Where a value stands; what is outside stands at the end.
    pub(in crate::commands) fn place(&self, value: f64) -> f64 {
        let (from, to) = self.ends;
        let part = if self.log {
            (value.max(from) / from).ln() / (to / from).ln()
        } else {
            (value - from) / (to - from)
        };
        self.places.0 + (self.places.1 - self.places.0) * part.clamp(0.0, 1.0)
    }

    /// Round values to mark.
    pub(in crate::commands) fn ticks(&self) -> Vec<f64> {
        let (from, to) = self.ends;
        if !self.log {
            let step = above((to - from) / TICKS_MAX as f64);
            let count = ((to - from) / step + 1e-9).floor();
            return (0..=whole(count)).map(|index| from + step * f64::from(index)).collect();
        }
        let all = round_between(from, to, &STEPS);
        if all.len() <= TICKS_MAX { all } else { round_between(from, to, &STEPS[..1]) }
    }
}

fn whole(value: f64) -> u32 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a handful of ticks"
    )]
    let whole = value.clamp(0.0, 100.0) as u32;
    whole
}

fn round_between(from: f64, to: f64, steps: &[f64]) -> Vec<f64> {
    let mut decade = 10.0_f64.powf(from.log10().floor());
    let mut values = Vec::new();
    while decade <= to * 1.000_001 {
        let round = steps.iter().map(|step| step * decade);
        values.extend(round.filter(|v| (from * 0.999_999..=to * 1.000_001).contains(v)));
        decade *= 10.0;
    }
    values
}

/// The next round value below.
fn below(value: f64) -> f64 {
    let decade = 10.0_f64.powf(value.log10().floor());
    let fits = STEPS.iter().rev().map(|step| step * decade).find(|round| *round <= value);
    fits.unwrap_or(decade)
}

/// The next round value above.
fn above(value: f64) -> f64 {
    let decade = 10.0_f64.powf(value.log10().floor());
    let fits = STEPS.iter().map(|step| step * decade).find(|round| *round >= value * 0.999_999);
    fits.unwrap_or(decade * 10.0)
}

/// A tick's value as short as it is exact.
pub(in crate::commands) fn label(value: f64) -> String {
    let text = format!("{value:.5}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(a: f64, b: f64) {
        assert!((a - b).abs() < 1e-6, "{a} for {b}");
    }

    #[test]
    fn ends_and_ticks_are_round() {
        let axis = Axis::log([80.0, 420.0, 0.0].into_iter(), (0.0, 100.0));
        assert_eq!(
            axis.ticks().iter().map(|tick| label(*tick)).collect::<Vec<_>>(),
            ["50", "100", "200", "500"]
        );
        close(axis.place(50.0), 0.0);
        close(axis.place(500.0), 100.0);
        close(axis.place(50.0 * 10.0_f64.sqrt()), 50.0);
        close(axis.place(0.0), 0.0);
        let wide = Axis::log([0.003, 40.0].into_iter(), (0.0, 1.0));
        let labels: Vec<String> = wide.ticks().into_iter().map(label).collect();
        assert_eq!(labels, ["0.01", "0.1", "1", "10"]);
        let linear = Axis::linear(47.0, (100.0, 0.0));
        assert_eq!(
            linear.ticks().into_iter().map(label).collect::<Vec<_>>(),
            ["0", "10", "20", "30", "40", "50"]
        );
        close(linear.place(25.0), 50.0);
    }
}
