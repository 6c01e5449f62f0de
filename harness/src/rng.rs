//! One random generator, SplitMix64: the same seed gives the same numbers on every platform.

use std::f32::consts::TAU;

use rayon::prelude::*;

/// What the state advances by with each number.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// SplitMix64 (Steele, Lea and Flood 2014). The field is the state, which starts as the seed.
#[derive(Clone, Debug)]
pub struct Rng(pub u64);

impl Rng {
    /// A stream of its own for each number: what is drawn from one does not depend on how much is drawn from another.
    pub fn stream(seed: u64, stream: u64) -> Self {
        let start = Self(seed).bits() ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93);
        Self(start)
    }

    /// The generator after `count` numbers.
    fn after(seed: u64, count: u64) -> Self {
        Self(seed.wrapping_add(count.wrapping_mul(STEP)))
    }

    /// 64 random bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1), of 24 bits, all of which an `f32` keeps.
    pub fn uniform(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 24) as f32
    }

    /// Uniform in [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    /// A whole number below `end`, 0 where `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end.max(1) as u64) as usize
    }

    /// True once in `times` on average.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// One of these.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Normally distributed with mean 0 and deviation 1 (Box and Muller 1958).
    pub fn normal(&mut self) -> f32 {
        // One minus the uniform keeps the logarithm finite.
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (TAU * self.uniform()).cos()
    }

    /// `length` numbers, uniform in [-1, 1).
    pub fn vector(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.unit()).collect()
    }

    /// `length` numbers, each 1 or -1.
    pub fn signs(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| if self.once_in(2) { 1.0 } else { -1.0 }).collect()
    }
}

/// `length` normally distributed numbers, the same for the same seed, drawn by every thread.
pub fn normal(seed: u64, length: usize) -> Vec<f32> {
    (0..length).into_par_iter().map(|i| Rng::after(seed, 2 * i as u64).normal()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_paper() {
        let mut rng = Rng(1_234_567);
        // Of the reference implementation, seed 1234567.
        let expected = [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!(expected.map(|_| rng.bits()), expected);
    }

    #[test]
    fn numbers_drawn_by_every_thread_are_those_of_one() {
        let mut rng = Rng(9);
        assert_eq!(normal(9, 100), (0..100).map(|_| rng.normal()).collect::<Vec<_>>());
    }

    #[test]
    fn distributions_have_their_moments() {
        let (mut rng, count) = (Rng(3), 100_000);
        let moments = |numbers: Vec<f32>| {
            let mean = numbers.iter().sum::<f32>() / count as f32;
            (mean, numbers.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count as f32)
        };
        let (mean, variance) = moments((0..count).map(|_| rng.uniform()).collect());
        assert!((mean - 0.5).abs() < 0.01 && (variance - 1.0 / 12.0).abs() < 0.01, "{mean} {variance}");
        let (mean, variance) = moments(rng.vector(count));
        assert!(mean.abs() < 0.01 && (variance - 1.0 / 3.0).abs() < 0.01, "{mean} {variance}");
        let (mean, variance) = moments(normal(4, count));
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.02, "{mean} {variance}");
    }
}
