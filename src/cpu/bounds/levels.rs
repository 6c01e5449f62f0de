//! Keys in 8 bits beside their rows in `f32`, with how far each is from its row.
#![allow(clippy::inline_always, reason = "see `simd`")]

use rayon::prelude::*;

use crate::cpu::aligned::AlignedVec;
use crate::cpu::simd::int8::PART;
use crate::cpu::simd::level::vectorized;
use crate::error::Result;
use crate::exact::scores::MIN_NORM;
use crate::room::{copy_first, zeros};
use crate::rule::Similarity;
use crate::store::quantize_bounded;

/// Rows of one task where many are stored.
const ROWS_PER_TASK: usize = 256;

/// The keys of one window in 8 bits: `k^_i = scale_i level_i` near the key `k_i`, which cosine divides by its norm.
#[derive(Debug)]
pub(in crate::cpu) struct Levels {
    similarity: Similarity,
    /// Levels of one row, the padding zero.
    stride: usize,
    levels: AlignedVec<i8>,
    scales: Vec<f32>,
    /// At least `|k_i - k^_i|`; infinite where that is beyond `f32`.
    errors: Vec<f32>,
    /// `|k^_i|^2`, for euclidean.
    squares: Option<Vec<f64>>,
}

/// Consecutive rows of [`Levels`].
#[derive(Clone, Copy)]
pub(in crate::cpu) struct LevelRows<'a> {
    pub levels: &'a [i8],
    pub scales: &'a [f32],
    pub errors: &'a [f32],
    /// Empty where there are none.
    pub squares: &'a [f64],
}

impl Levels {
    /// `rows` rows of zeros, for a similarity of which [levels are kept](crate::store::Layout::keeps_levels).
    pub fn allocate(operation: &'static str, rows: usize, dim: usize, similarity: Similarity) -> Result<Self> {
        let stride = dim.next_multiple_of(PART);
        let squares = (similarity == Similarity::Euclidean).then(|| zeros(operation, "squares", rows));
        Ok(Self {
            similarity,
            stride,
            levels: AlignedVec::try_zeros(operation, rows.saturating_mul(stride))?,
            scales: zeros(operation, "scales", rows)?,
            errors: zeros(operation, "errors", rows)?,
            squares: squares.transpose()?,
        })
    }

    /// A copy with the same number of rows, of which the first `used` are copied.
    pub fn try_clone(&self, operation: &'static str, used: usize) -> Result<Self> {
        let squares = self.squares.as_ref().map(|squares| copy_first(operation, "squares", squares, used));
        Ok(Self {
            similarity: self.similarity,
            stride: self.stride,
            levels: self.levels.try_clone(operation, used * self.stride)?,
            scales: copy_first(operation, "scales", &self.scales, used)?,
            errors: copy_first(operation, "errors", &self.errors, used)?,
            squares: squares.transpose()?,
        })
    }

    /// Stores keys from row `at` on: rows of `columns` floats with their norms, padded to `pitch`.
    pub fn store(&mut self, at: usize, keys: &[f32], (columns, pitch): (usize, usize), norms: &[f64]) {
        let (count, stride, similarity) = (norms.len(), self.stride, self.similarity);
        let levels = self.levels[at * stride..(at + count) * stride].par_chunks_mut(stride * ROWS_PER_TASK);
        let scales = self.scales[at..at + count].par_chunks_mut(ROWS_PER_TASK);
        let errors = self.errors[at..at + count].par_chunks_mut(ROWS_PER_TASK);
        let keys = keys.par_chunks(pitch * ROWS_PER_TASK).zip(norms.par_chunks(ROWS_PER_TASK));
        levels.zip(scales).zip(errors).zip(keys).for_each(|(((levels, scales), errors), (keys, norms))| {
            let rows = levels.chunks_exact_mut(stride).zip(scales).zip(errors);
            for (((levels, scale), error), (key, norm)) in rows.zip(keys.chunks_exact(pitch).zip(norms)) {
                let divisor = if similarity == Similarity::Cosine { norm.max(MIN_NORM) } else { 1.0 };
                (*scale, *error) = vectorized(|| quantize_bounded(&key[..columns], divisor, &mut levels[..columns]));
            }
        });
        if let Some(squares) = &mut self.squares {
            for (row, square) in squares[at..at + count].iter_mut().enumerate() {
                let levels = &self.levels[(at + row) * stride..][..stride];
                let sum: i64 = levels.iter().map(|level| i64::from(*level) * i64::from(*level)).sum();
                let scale = f64::from(self.scales[at + row]);
                *square = scale * scale * sum as f64;
            }
        }
    }

    /// `count` rows from row `at` on.
    pub fn rows(&self, at: usize, count: usize) -> LevelRows<'_> {
        LevelRows {
            levels: &self.levels[at * self.stride..(at + count) * self.stride],
            scales: &self.scales[at..at + count],
            errors: &self.errors[at..at + count],
            squares: self.squares.as_ref().map_or(&[], |squares| &squares[at..at + count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::scores::key_norm;

    const BOUND: [Similarity; 3] = [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean];

    #[test]
    fn errors_are_upper_bounds_and_tight() {
        let pattern = |scale: f32| (0..37).map(|i| scale * ((i * 7919 % 101) as f32 / 50.0 - 1.0)).collect::<Vec<_>>();
        let mut one = vec![0.0; 37];
        one[36] = -3.0;
        let keys: Vec<Vec<f32>> = [1.0, 1e-3, 1e3, 1e-30, 1e-44, 1e38, f32::MAX / 1.5]
            .into_iter()
            .map(pattern)
            .chain([vec![0.0; 37], vec![f32::MAX; 37], one])
            .collect();
        for similarity in BOUND {
            let mut all = Levels::allocate("test", keys.len(), 37, similarity).unwrap();
            let norms: Vec<f64> = keys.iter().map(|key| key_norm(key)).collect();
            all.store(0, &keys.concat(), (37, 37), &norms);
            for (i, key) in keys.iter().enumerate() {
                let rows = all.rows(i, 1);
                assert!(rows.levels[37..].iter().all(|level| *level == 0), "padding is zero");
                let divisor = if similarity == Similarity::Cosine { norms[i].max(MIN_NORM) } else { 1.0 };
                let off = key.iter().zip(rows.levels).map(|(key, level)| {
                    (f64::from(*key) / divisor - f64::from(rows.scales[0]) * f64::from(*level)).powi(2)
                });
                let (off, error) = (off.sum::<f64>().sqrt(), f64::from(rows.errors[0]));
                let most = off * (1.0 + 1e-6) + 1e-15 * norms[i] / divisor + 2e-45;
                assert!(error >= off && error <= most, "{similarity:?} {i}: {error} for {off}");
                if similarity == Similarity::Euclidean {
                    let level = |level: &i8| (f64::from(rows.scales[0]) * f64::from(*level)).powi(2);
                    let square: f64 = rows.levels.iter().map(level).sum();
                    assert!((rows.squares[0] - square).abs() <= 1e-13 * square, "{i}");
                }
            }
        }
    }

    #[test]
    fn copies_keep_the_rows_in_use() {
        let mut all = Levels::allocate("test", 3, 5, Similarity::Euclidean).unwrap();
        let keys: Vec<f32> = (0..15).map(|i| i as f32).collect();
        let norms: Vec<f64> = keys.chunks(5).map(key_norm).collect();
        all.store(0, &keys, (5, 5), &norms);
        let copy = all.try_clone("test", 2).unwrap();
        let (from, to) = (all.rows(0, 2), copy.rows(0, 2));
        assert_eq!((from.levels, from.scales, from.errors), (to.levels, to.scales, to.errors));
        assert_eq!(from.squares, to.squares);
        assert!(copy.rows(2, 1).levels.iter().all(|level| *level == 0));
    }
}
