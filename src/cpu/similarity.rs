//! Scores of states against keys: approximate ones in `f32` for scans over everything, exact ones in `f64` for the few
//! patterns that matter.
#![allow(clippy::inline_always, reason = "see `simd`")]

use crate::cpu::pack::{Form, Packed, Query};
use crate::cpu::product::{Absolute, Matrix, Prefetch, Squared, Term, Times, product};
use crate::cpu::simd::vector::{MAX_LANES, MAX_VECTORS, Simd, Work, by_vectors};
use crate::exact::scores::{self, MIN_NORM};
use crate::rule::Similarity;

/// The exact similarity of a state with each of some keys. Every level gives the same bits.
pub(super) struct Exact<'a> {
    pub similarity: Similarity,
    pub query: &'a Query,
    pub keys: &'a [f32],
    pub norms: &'a [f64],
    pub scores: &'a mut [f64],
}

impl Work for Exact<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let rows = self.keys.chunks_exact(self.keys.len() / self.norms.len());
        for ((score, key), norm) in self.scores.iter_mut().zip(rows).zip(self.norms) {
            *score = scores::similarity(self.similarity, &self.query.exact, self.query.norm, key, *norm);
        }
    }
}

/// Terms of one chain of a sum in [`Form::Panel`]: longer sums are the sum of such chains.
pub(super) const CHAIN: usize = 128;

/// Approximate scores `beta similarity + bias` of a tile of keys: `scores[t * width + q]` in a panel,
/// `scores[q * pitch + t]` in rows. They are finite for queries that are
/// [well scaled](super::error_bound::is_well_scaled).
pub(super) struct Scores<'a> {
    pub similarity: Similarity,
    pub block: &'a Packed,
    pub keys: &'a [f32],
    pub bias: &'a [f32],
    pub norms: &'a [f64],
    pub pitch: usize,
    pub scores: &'a mut [f32],
    /// In [`Form::Rows`], whether to read keys in the order of memory, because no cache holds them.
    pub in_order: bool,
    pub prefetch: &'a mut Prefetch,
}

impl Scores<'_> {
    /// The factor of a sum, before `beta`.
    #[inline(always)]
    fn factor(similarity: Similarity, norm: f64) -> f32 {
        match similarity {
            Similarity::Dot => 1.0,
            Similarity::Cosine => (1.0 / norm.max(MIN_NORM)) as f32,
            Similarity::Euclidean => -0.5,
            Similarity::Manhattan => -1.0,
        }
    }

    #[inline(always)]
    fn panel<S: Simd, T: Term, const V: usize>(self, simd: S, term: T) {
        let (width, count) = (V * S::LANES, self.bias.len());
        let stride = self.keys.len() / count;
        let once = [1.0; MAX_VECTORS * MAX_LANES];
        for start in (0..stride).step_by(CHAIN) {
            let depth = CHAIN.min(stride - start);
            let keys = Matrix { data: &self.keys[start..], rows: count, depth, row: stride, step: 1 };
            let before = (start > 0).then_some(&once[..]);
            product::<S, T, V>(simd, term, keys, &self.block.data[start * width..], before, self.scores, self.prefetch);
        }
        let betas: [S::Vector; V] = std::array::from_fn(|v| simd.read(&self.block.betas[v * S::LANES..]));
        for t in 0..count {
            let (factor, bias) = (simd.splat(Self::factor(self.similarity, self.norms[t])), simd.splat(self.bias[t]));
            let parts = self.scores[t * width..(t + 1) * width].chunks_exact_mut(S::LANES);
            for (part, beta) in parts.zip(betas) {
                simd.write(part, simd.mul_add(beta, simd.mul(simd.read(part), factor), bias));
            }
        }
    }

    #[inline(always)]
    fn rows<S: Simd, T: Term>(self, simd: S, term: T) {
        let count = self.bias.len();
        let stride = self.keys.len() / count;
        let queries = self.block.data.chunks_exact(self.block.width).zip(&self.block.betas);
        for ((x, beta), scores) in queries.zip(self.scores.chunks_exact_mut(self.pitch)) {
            let mut at = 0;
            while at + 8 <= count {
                let keys = &self.keys[at * stride..];
                let sums = match self.in_order {
                    true => sums_in_order::<S, T, 8>(simd, term, x, keys, stride),
                    false => sums::<S, T, 8>(simd, term, x, keys, stride),
                };
                scores[at..at + 8].copy_from_slice(&sums);
                at += 8;
            }
            while at < count {
                scores[at] = sums::<S, T, 1>(simd, term, x, &self.keys[at * stride..], stride)[0];
                at += 1;
            }
            for (t, score) in scores[..count].iter_mut().enumerate() {
                *score = beta * (*score * Self::factor(self.similarity, self.norms[t])) + self.bias[t];
            }
        }
    }
}

/// [`sums`], one key after the other, bit-exact. Processors prefetch what is read in the order of memory, here into the
/// second-level cache, which has more outstanding misses than the first.
#[inline(always)]
fn sums_in_order<S: Simd, T: Term, const M: usize>(
    simd: S,
    term: T,
    x: &[f32],
    keys: &[f32],
    stride: usize,
) -> [f32; M] {
    let mut result = [0.0; M];
    for (m, result) in result.iter_mut().enumerate() {
        let (key, mut lanes) = (&keys[m * stride..(m + 1) * stride], simd.splat(0.0));
        let (parts, whole) = (key.chunks_exact(S::LANES), stride / S::LANES * S::LANES);
        for (key, x) in parts.zip(x.chunks_exact(S::LANES)) {
            simd.prefetch_ahead(key);
            lanes = term.add(simd, lanes, simd.read(key), simd.read(x));
        }
        if whole < stride {
            lanes = term.add(simd, lanes, simd.read_part(&key[whole..]), simd.read(&x[whole..]));
        }
        *result = simd.reduce_sum(lanes);
    }
    result
}

/// The sums of one state with `M` keys, one vector of coordinates at a time.
#[inline(always)]
fn sums<S: Simd, T: Term, const M: usize>(simd: S, term: T, x: &[f32], keys: &[f32], stride: usize) -> [f32; M] {
    let mut lanes = [simd.splat(0.0); M];
    let mut c = 0;
    while c + S::LANES <= stride {
        let x = simd.read(&x[c..]);
        for (m, lanes) in lanes.iter_mut().enumerate() {
            let key = &keys[m * stride + c..];
            // The hardware prefetcher does not recognise streams of rows that are far apart.
            simd.prefetch(key.as_ptr().wrapping_add(M * stride));
            *lanes = term.add(simd, *lanes, simd.read(key), x);
        }
        c += S::LANES;
    }
    if c < stride {
        let x = simd.read(&x[c..]);
        for (m, lanes) in lanes.iter_mut().enumerate() {
            *lanes = term.add(simd, *lanes, simd.read_part(&keys[m * stride + c..(m + 1) * stride]), x);
        }
    }
    let mut result = [0.0; M];
    for (result, lanes) in result.iter_mut().zip(lanes) {
        *result = simd.reduce_sum(lanes);
    }
    result
}

impl Work for Scores<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        macro_rules! terms {
            ($term:expr) => {
                match self.block.form {
                    Form::Rows => self.rows(simd, $term),
                    Form::Panel => by_vectors!(S, self.block.width, self.panel::<S, _; V>(simd, $term)),
                }
            };
        }
        match self.similarity {
            Similarity::Dot | Similarity::Cosine => terms!(Times),
            Similarity::Euclidean => terms!(Squared),
            Similarity::Manhattan => terms!(Absolute),
        }
    }
}
