//! A state as the scan of 8-bit rows reads it: in integers of 16 bits.

use crate::cpu::pack::Query;
use crate::cpu::simd::int8::{MAX_MAGNITUDES, PART};
use crate::cpu::simd::level::vectorized;
use crate::exact::scores::MIN_NORM;
use crate::rule::Similarity;

/// A state `y` (which cosine divides by its norm) near `y^ = step integers`.
#[derive(Clone, Debug)]
pub(in crate::cpu) struct LevelQuery {
    /// Padded with zeros to whole parts.
    pub integers: Vec<i16>,
    pub step: f64,
    /// At least `|y|`.
    pub norm: f64,
    /// At least `|y^|`.
    pub rounded_norm: f64,
    /// At least `|y - y^|`.
    pub error: f64,
}

impl LevelQuery {
    /// A state of `dim` coordinates; `None` where its sums could leave 32 bits.
    pub fn new(similarity: Similarity, query: &Query, dim: usize) -> Option<Self> {
        let state = &query.exact[..dim];
        let divisor = if similarity == Similarity::Cosine { query.norm.max(MIN_NORM) } else { 1.0 };
        // Rounding to the nearest adds half a unit to a magnitude, at most.
        let room = MAX_MAGNITUDES as f64 - dim as f64 / 2.0 - 1.0;
        if room < MAX_MAGNITUDES as f64 / 2.0 {
            return None;
        }
        let mut integers = vec![0i16; dim.next_multiple_of(PART)];
        let to = &mut integers[..dim];
        let (step, magnitudes, squares, wholes, off) = vectorized(|| {
            let (mut largest, mut sum) = (0.0f64, 0.0f64);
            for x in state {
                let y = (x / divisor).abs();
                largest = if y > largest { y } else { largest };
                sum += y;
            }
            let step = (largest / f64::from(i16::MAX)).max(sum / room);
            // A step that is subnormal has no precision: all integers are zero then.
            let step = if step >= f64::MIN_POSITIVE { step } else { f64::INFINITY };
            let (mut magnitudes, mut squares) = (0i64, 0i64);
            let (mut wholes, mut off) = (0.0f64, 0.0f64);
            for (to, x) in to.iter_mut().zip(state) {
                let y = x / divisor;
                *to = (y / step).round() as i16;
                let rounded = if *to == 0 { 0.0 } else { step * f64::from(*to) };
                let integer = i64::from(*to);
                magnitudes += integer.abs();
                squares += integer * integer;
                wholes += y * y;
                off += (y - rounded) * (y - rounded);
            }
            (if step.is_finite() { step } else { 0.0 }, magnitudes, squares, wholes, off)
        });
        if magnitudes > MAX_MAGNITUDES {
            return None;
        }
        // With room for the rounding of the sums, and of each quotient and product.
        let up = 1.0 + (dim as f64 + 16.0) * f64::EPSILON;
        let norm = wholes.sqrt() * up;
        let error = off.sqrt() * up + 4.0 * f64::EPSILON * norm;
        Some(Self { integers, step, norm, rounded_norm: step * (squares as f64).sqrt() * up, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_near_their_integers_and_never_leave_32_bits() {
        let spread = |d: usize, scale: f64| (0..d).map(|i| scale * ((i * 7919 % 1009) as f64 / 504.0 - 1.0)).collect();
        let states: Vec<Vec<f64>> = [1, 3, 384, 520, 5000, 100_000]
            .into_iter()
            .flat_map(|d| [1.0, 1e-40, 1e37, 1e-300, 1e-310, 0.0].map(|scale| spread(d, scale)))
            .chain([1, 512, 513, 600, 100_000].map(|d| vec![-f64::from(f32::MAX); d]))
            .collect();
        for state in states {
            let dim = state.len();
            for similarity in [Similarity::Dot, Similarity::Cosine] {
                let query = Query::new(0, 1.0, state.clone());
                let integers = LevelQuery::new(similarity, &query, dim).unwrap();
                let sum: i64 = integers.integers.iter().map(|x| i64::from(*x).abs()).sum();
                assert!(sum <= MAX_MAGNITUDES, "d {dim}: {sum}");
                let divisor = if similarity == Similarity::Cosine { query.norm.max(MIN_NORM) } else { 1.0 };
                let off = state.iter().zip(&integers.integers);
                let off = off.map(|(x, to)| (x / divisor - integers.step * f64::from(*to)).powi(2)).sum::<f64>().sqrt();
                assert!(integers.error >= off, "d {dim}: {} for {off}", integers.error);
                let norm = state.iter().map(|x| (x / divisor).powi(2)).sum::<f64>().sqrt();
                assert!(integers.norm >= norm && integers.rounded_norm + integers.error >= norm * (1.0 - 1e-12));
                let usual = norm > 1e-290 && dim <= 5000;
                assert!(!usual || integers.error <= 1e-3 * norm, "d {dim}: {} of {norm}", integers.error);
            }
        }
    }

    #[test]
    fn states_too_wide_for_32_bits_are_refused() {
        let query = Query::new(0, 1.0, vec![1.0; 17_000_000]);
        assert!(LevelQuery::new(Similarity::Dot, &query, 17_000_000).is_none());
    }
}
