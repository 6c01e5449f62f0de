//! Similarities and scores of single patterns, in `f64`.

use crate::rule::{Rule, Similarity};

/// Norms are at least this.
pub(crate) const MIN_NORM: f64 = 1e-12;

/// Partial sums kept side by side, so that the compiler can use vector registers without reordering any sum.
const LANES: usize = 8;

/// `sum_c term(x_c, k_c)`, in [`LANES`] interleaved partial sums and then pairwise.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the term must be inlined into the lanes to become vector code")]
fn sum(x: &[f64], k: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; LANES];
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (k_blocks, k_rest) = k.as_chunks::<LANES>();
    for (x, k) in x_blocks.iter().zip(k_blocks) {
        for lane in 0..LANES {
            lanes[lane] += term(x[lane], f64::from(k[lane]));
        }
    }
    for (lane, (x, k)) in x_rest.iter().zip(k_rest).enumerate() {
        lanes[lane] += term(*x, f64::from(*k));
    }
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
}

/// The norm of a row, in [`LANES`] interleaved partial sums: zeros after the row change no bit of it.
#[inline(always)]
#[allow(clippy::inline_always, reason = "vector code of the caller's instruction set")]
pub(crate) fn norm<T: Copy + Into<f64>>(row: &[T]) -> f64 {
    let mut squares = [0.0; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    let add = |squares: &mut [f64; LANES], part: &[T]| {
        for (x, sum) in part.iter().zip(squares) {
            let x: f64 = (*x).into();
            *sum += x * x;
        }
    };
    for part in whole {
        add(&mut squares, part);
    }
    add(&mut squares, rest);
    squares.iter().sum::<f64>().sqrt()
}

/// The norm of a key, summed in order: what engines store of every key.
pub(crate) fn key_norm(key: &[f32]) -> f64 {
    key.iter().map(|k| f64::from(*k) * f64::from(*k)).sum::<f64>().sqrt()
}

/// `similarity(x, k)` for a state and a key with their norms. Euclidean is computed from differences: expanding the
/// square would cancel where distances are small beside the norms.
#[inline(always)]
#[allow(clippy::inline_always, reason = "vector code of the caller's instruction set")]
pub(crate) fn similarity(similarity: Similarity, x: &[f64], x_norm: f64, key: &[f32], key_norm: f64) -> f64 {
    match similarity {
        Similarity::Dot => sum(x, key, |x, k| x * k),
        Similarity::Cosine => sum(x, key, |x, k| x * k) / (x_norm.max(MIN_NORM) * key_norm.max(MIN_NORM)),
        Similarity::Euclidean => -0.5 * sum(x, key, |x, k| (x - k) * (x - k)),
        Similarity::Manhattan => -sum(x, key, |x, k| (x - k).abs()),
    }
}

/// The score `beta similarity + bias`. Zero has one sign, so that ties are ties.
#[inline]
pub(crate) fn score(beta: f64, similarity: f64, bias: f32) -> f64 {
    beta * similarity + f64::from(bias) + 0.0
}

/// Scores patterns against one query.
pub(crate) struct Scorer {
    rule: Rule,
    query: Vec<f64>,
    norm: f64,
}

impl Scorer {
    pub fn new(rule: Rule, query: &[f32]) -> Self {
        let query: Vec<f64> = query.iter().map(|x| f64::from(*x)).collect();
        Self { rule, norm: norm(&query), query }
    }

    /// The similarity of a key as long as the query, and its score.
    pub fn score(&self, key: &[f32], bias: f32) -> (f64, f64) {
        let similarity = similarity(self.rule.similarity, &self.query, self.norm, key, key_norm(key));
        (similarity, score(f64::from(self.rule.beta), similarity, bias))
    }
}
