//! The peak rates of multiply-adds and of reads of this processor, for benches to compare products and scans with.

#![allow(clippy::inline_always, reason = "see `simd`")]

use rayon::prelude::*;

use crate::cpu::aligned::AlignedVec;
use crate::cpu::simd::level::Level;
use crate::cpu::simd::vector::{Simd, Work};

/// Independent chains: more than a processor starts before the first completes.
const CHAINS: usize = 12;

struct Chains(u32);

impl Work for Chains {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let (factor, term) = (simd.splat(0.5), simd.splat(1.0));
        // One variable for each: an array would be kept in memory, which takes twice as long.
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h, mut i, mut j, mut k, mut l]: [_; CHAINS] =
            std::array::from_fn(|chain| simd.splat(1.5 + chain as f32 / 16.0));
        for _ in 0..self.0 {
            a = simd.mul_add(a, factor, term);
            b = simd.mul_add(b, factor, term);
            c = simd.mul_add(c, factor, term);
            d = simd.mul_add(d, factor, term);
            e = simd.mul_add(e, factor, term);
            f = simd.mul_add(f, factor, term);
            g = simd.mul_add(g, factor, term);
            h = simd.mul_add(h, factor, term);
            i = simd.mul_add(i, factor, term);
            j = simd.mul_add(j, factor, term);
            k = simd.mul_add(k, factor, term);
            l = simd.mul_add(l, factor, term);
        }
        [a, b, c, d, e, f, g, h, i, j, k, l].into_iter().map(|sum| simd.reduce_sum(sum)).sum()
    }
}

/// Runs multiply-adds on this thread for `turns` turns of a loop. Returns the number of operations, two for each.
pub fn multiply_adds(turns: u32) -> u64 {
    let level = Level::best();
    std::hint::black_box(level.run(Chains(std::hint::black_box(turns))));
    2 * u64::from(turns) * (CHAINS * level.lanes()) as u64
}

/// Floats in memory that is allocated as patterns are.
#[derive(Debug)]
pub struct Reads(AlignedVec<f32>);

impl Reads {
    /// `bytes` bytes, rounded down to whole MiB.
    pub fn of(bytes: usize) -> Self {
        const FLOATS: usize = (1 << 20) / size_of::<f32>();
        let mut numbers = AlignedVec::zeros((bytes >> 20) * FLOATS);
        // Pages that were never written are one page of zeros.
        numbers.fill(1.0);
        Self(numbers)
    }

    /// Reads all of them once on every thread. Returns the number of bytes.
    pub fn read(&self) -> usize {
        let sum: f32 = self.0.par_chunks(1 << 16).map(|numbers| Level::best().run(Sum(numbers))).sum();
        std::hint::black_box(sum);
        self.0.len() * size_of::<f32>()
    }
}

/// The sum of floats whose number is a multiple of four vectors.
struct Sum<'a>(&'a [f32]);

impl Work for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let [mut a, mut b, mut c, mut d] = [simd.splat(0.0); 4];
        for part in self.0.chunks_exact(4 * S::LANES) {
            a = simd.add(a, simd.read(part));
            b = simd.add(b, simd.read(&part[S::LANES..]));
            c = simd.add(c, simd.read(&part[2 * S::LANES..]));
            d = simd.add(d, simd.read(&part[3 * S::LANES..]));
        }
        simd.reduce_sum(simd.add(simd.add(a, b), simd.add(c, d)))
    }
}
