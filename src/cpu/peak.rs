//! The fastest multiply-adds and reads of this processor, for benches to hold products and scans against.

#![allow(clippy::inline_always, reason = "as in simd.rs")]

use rayon::prelude::*;

use crate::cpu::aligned::AlignedVec;
use crate::cpu::simd::level::Level;
use crate::cpu::simd::vector::{Simd, Work};

/// Chains that do not wait for each other: more than a processor starts before the first is through.
const CHAINS: usize = 12;

struct Chains(u32);

impl Work for Chains {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let (factor, term) = (simd.splat(0.5), simd.splat(1.0));
        // By name: an array that a loop goes over is kept in memory, which takes twice as long.
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

/// Multiply-adds on this thread, in `turns` of some dozens: how many operations they were, two each.
pub fn multiply_adds(turns: u32) -> u64 {
    let level = Level::best();
    std::hint::black_box(level.run(Chains(std::hint::black_box(turns))));
    2 * u64::from(turns) * (CHAINS * level.lanes()) as u64
}

/// Numbers that lie in memory as patterns do.
#[derive(Debug)]
pub struct Reads(AlignedVec<f32>);

impl Reads {
    /// So many bytes, in whole MiB.
    pub fn of(bytes: usize) -> Self {
        const FLOATS: usize = (1 << 20) / size_of::<f32>();
        let mut numbers = AlignedVec::zeros((bytes >> 20) * FLOATS);
        // What was never written is one page of zeros, over and over.
        numbers.fill(1.0);
        Self(numbers)
    }

    /// Reads all of them once, with every thread, and nothing else; how many bytes they are.
    pub fn read(&self) -> usize {
        let sum: f32 = self.0.par_chunks(1 << 16).map(|numbers| Level::best().run(Sum(numbers))).sum();
        std::hint::black_box(sum);
        self.0.len() * size_of::<f32>()
    }
}

/// The sum of numbers, of which there are whole fours of vectors.
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
