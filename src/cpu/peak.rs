//! The fastest multiply-adds of this processor, for benches to hold products against.

#![allow(clippy::inline_always, reason = "as in simd.rs")]

use super::simd::{Level, Simd, Work};

/// Chains that do not wait for each other: more than a processor starts before the first is through.
const CHAINS: usize = 12;

struct Chains(u32);

impl Work for Chains {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let (factor, term) = (simd.splat(0.5), simd.splat(1.0));
        let mut sums = [simd.splat(1.5); CHAINS];
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = simd.mul_add(*sum, factor, term);
            }
        }
        sums.into_iter().map(|sum| simd.sum(sum)).sum()
    }
}

/// Multiply-adds on this thread, in `turns` of some dozens: how many operations they were, two each.
pub fn multiply_adds(turns: u32) -> u64 {
    let level = Level::best();
    std::hint::black_box(level.run(Chains(std::hint::black_box(turns))));
    2 * u64::from(turns) * (CHAINS * level.lanes()) as u64
}
