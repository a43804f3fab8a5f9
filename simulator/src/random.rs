//! Randomness that is a function of a seed and a number: no stream to share, no order to keep.

/// A small generator (SplitMix64: Steele, Lea and Flood, OOPSLA 2014).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random(u64);

impl Random {
    /// The generator of one purpose (`stream`) and one thing (`number`) under a seed.
    pub fn of(seed: u64, stream: u64, number: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xA24B_AED4_963E_E407));
        let mixed = random.next() ^ number.wrapping_mul(0x9FB2_1C65_1E98_DF25);
        Self(mixed)
    }

    #[expect(clippy::should_implement_trait, reason = "an endless source is no iterator")]
    /// The next 64 bits.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Uniform in (0, 1).
    pub fn unit(&mut self) -> f64 {
        ((self.next() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// Uniform in 0..count; zero of nothing.
    pub fn below(&mut self, count: usize) -> usize {
        let wide = u128::from(self.next()) * count as u128;
        usize::try_from(wide >> 64).unwrap_or(0)
    }

    /// Exponential with mean one.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(self.unit())
    }

    /// Normal with mean zero and deviation one (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (2.0 * self.exponential()).sqrt();
        radius * libm::cos(core::f64::consts::TAU * self.unit())
    }

    /// Lognormal with mean one.
    pub fn lognormal(&mut self, sigma: f64) -> f64 {
        libm::exp(sigma * self.normal() - sigma * sigma / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(of: impl Fn(&mut Random) -> f64) -> f64 {
        let sum: f64 = (0..100_000).map(|number| of(&mut Random::of(1, 2, number))).sum();
        sum / 100_000.0
    }

    #[test]
    fn has_the_right_moments() {
        assert!((mean(Random::unit) - 0.5).abs() < 0.01);
        assert!((mean(Random::exponential) - 1.0).abs() < 0.02);
        assert!(mean(Random::normal).abs() < 0.02);
        assert!((mean(|r| r.normal() * r.normal()).abs()) < 0.02);
        assert!((mean(|r| r.lognormal(0.8)) - 1.0).abs() < 0.02);
        assert!((mean(|r| r.below(10) as f64) - 4.5).abs() < 0.05);
    }
}
