//! Scores of one state against one key: rough ones in `f32` for scans over everything, with a bound on their error, and
//! exact ones in `f64` for the few patterns that matter.

use crate::rule::Similarity;

/// Partial sums kept side by side, so that the compiler can use vector registers without reordering any sum.
const LANES: usize = 8;
/// Norms are at least this.
const SMALLEST_NORM: f64 = 1e-12;

/// `sum_c term(x_c, k_c)`, in [`LANES`] interleaved partial sums and then pairwise.
#[inline(always)]
#[allow(clippy::inline_always, reason = "the term must be inlined into the lanes to become vector code")]
fn sum32(x: &[f32], k: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (k_blocks, k_rest) = k.as_chunks::<LANES>();
    for (x, k) in x_blocks.iter().zip(k_blocks) {
        for lane in 0..LANES {
            lanes[lane] += term(x[lane], k[lane]);
        }
    }
    for (lane, (x, k)) in x_rest.iter().zip(k_rest).enumerate() {
        lanes[lane] += term(*x, *k);
    }
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
}

/// [`sum32`] in `f64`.
#[inline(always)]
#[allow(clippy::inline_always, reason = "as above")]
fn sum64(x: &[f64], k: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
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

/// A state that is compared with keys.
#[derive(Clone, Debug)]
pub(super) struct Query {
    /// Its position in the batch, by which masks know it.
    pub position: usize,
    /// The state, padded to the stride of a key.
    pub exact: Vec<f64>,
    rough: Vec<f32>,
    pub norm: f64,
}

impl Query {
    pub fn new(position: usize, exact: Vec<f64>) -> Self {
        let norm = exact.iter().map(|x| x * x).sum::<f64>().sqrt();
        let rough = exact.iter().map(|x| *x as f32).collect();
        Self { position, exact, rough, norm }
    }
}

/// `similarity(x, k)` in `f64`, for a key of norm `norm`. Euclidean is computed from differences: expanding the square
/// would cancel where distances are small beside the norms.
pub(super) fn exact(similarity: Similarity, x: &Query, key: &[f32], norm: f64) -> f64 {
    let x_row = &x.exact;
    match similarity {
        Similarity::Dot => sum64(x_row, key, |x, k| x * k),
        Similarity::Cosine => sum64(x_row, key, |x, k| x * k) / (x.norm.max(SMALLEST_NORM) * norm.max(SMALLEST_NORM)),
        Similarity::Euclidean => -0.5 * sum64(x_row, key, |x, k| (x - k) * (x - k)),
        Similarity::Manhattan => -sum64(x_row, key, |x, k| (x - k).abs()),
    }
}

/// `similarity(x, k)` from `f32` sums; in `f64` where those overflow or fall below the normal range.
pub(super) fn rough(similarity: Similarity, x: &Query, key: &[f32], norm: f64) -> f64 {
    let row = &x.rough;
    let sum = match similarity {
        Similarity::Dot => sum32(row, key, |x, k| x * k),
        Similarity::Cosine if x.norm * norm < 1e-25 => f32::NAN,
        Similarity::Cosine => sum32(row, key, |x, k| x * k),
        Similarity::Euclidean => sum32(row, key, |x, k| (x - k) * (x - k)),
        Similarity::Manhattan => sum32(row, key, |x, k| (x - k).abs()),
    };
    if !sum.is_finite() {
        return exact(similarity, x, key, norm);
    }
    let sum = f64::from(sum);
    match similarity {
        Similarity::Dot => sum,
        Similarity::Cosine => sum / (x.norm.max(SMALLEST_NORM) * norm.max(SMALLEST_NORM)),
        Similarity::Euclidean => -0.5 * sum,
        Similarity::Manhattan => -sum,
    }
}

/// How far [`rough`] may be from [`exact`], for any key of a norm up to `largest`: the first-order bound of a sum of
/// `d / LANES` roundings a lane, with room for the rounding of the state and of the terms, and for what underflows.
pub(super) fn rough_error(similarity: Similarity, x: &Query, largest: f64) -> f64 {
    let d = x.exact.len() as f64;
    let roundings = (d / LANES as f64 + 16.0) * f64::from(f32::EPSILON);
    let underflow = d * 1e-44;
    match similarity {
        Similarity::Dot => roundings * x.norm * largest + underflow,
        // Below the norm's clamp the product is divided by more than the norms, so this holds there, too.
        Similarity::Cosine => 2.0 * roundings + 1e-18,
        Similarity::Euclidean => roundings * (x.norm + largest) * (x.norm + largest) + underflow,
        Similarity::Manhattan => roundings * d.sqrt() * (x.norm + largest) + underflow,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Similarity; 4] = [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean, Similarity::Manhattan];

    fn norm(key: &[f32]) -> f64 {
        key.iter().map(|k| f64::from(*k) * f64::from(*k)).sum::<f64>().sqrt()
    }

    #[test]
    fn every_length_is_summed_whole() {
        for n in 0..40 {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let query = Query::new(0, x.iter().map(|v| f64::from(*v)).collect());
            let expected: f64 = x.iter().map(|v| f64::from(v * v)).sum();
            assert_eq!(rough(Similarity::Dot, &query, &x, norm(&x)), expected, "length {n}");
            assert_eq!(exact(Similarity::Dot, &query, &x, norm(&x)), expected, "length {n}");
        }
    }

    #[test]
    fn rough_scores_are_within_their_bound() {
        let mut seed = 1u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 40) as f64 / f64::from(1u32 << 23) - 1.0
        };
        for d in [1, 7, 64, 1000] {
            for scale in [1e-25, 1e-3, 1.0, 1e3, 1e15, 1e25] {
                for _ in 0..20 {
                    let query = Query::new(0, (0..d).map(|_| next() * scale).collect());
                    let key: Vec<f32> = (0..d).map(|_| (next() * scale) as f32).collect();
                    for similarity in ALL {
                        let error =
                            rough(similarity, &query, &key, norm(&key)) - exact(similarity, &query, &key, norm(&key));
                        let bound = rough_error(similarity, &query, norm(&key));
                        assert!(error.abs() <= bound, "{similarity:?} d {d} scale {scale}: {error} above {bound}");
                    }
                }
            }
        }
    }

    #[test]
    fn small_distances_far_from_the_origin() {
        let x: Vec<f64> = vec![1000.0, -999.5];
        let query = Query::new(0, x);
        let key = [1000.0625f32, -999.5];
        for score in [rough, exact] {
            assert_eq!(score(Similarity::Euclidean, &query, &key, norm(&key)), -0.5 * 0.0625 * 0.0625);
        }
    }
}
