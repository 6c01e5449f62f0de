//! Softmax and softmax1, online over tiles (Milakov and Gimelshein 2018): a running maximum and a running sum.

use super::{Entry, Weigher};

/// Turns one tile of scores (`-inf` where masked) into weights `exp(z - max)`, after raising the running maximum, and
/// adds them to the running sum. Returns the factor by which what was summed under the old maximum must shrink.
pub fn tile(scores: &[f64], weights: &mut [f32], max: &mut f64, sum: &mut f64) -> f32 {
    let before = *max;
    *max = scores.iter().copied().fold(before, f64::max);
    if *max == f64::NEG_INFINITY {
        // Nothing usable so far: no difference of infinities is taken.
        weights.fill(0.0);
        return 1.0;
    }
    let shrink = shrink(before, *max);
    let mut tile_sum = 0.0f32;
    for (weight, score) in weights.iter_mut().zip(scores) {
        *weight = ((*score - *max) as f32).exp();
        tile_sum += *weight;
    }
    *sum = *sum * shrink + f64::from(tile_sum);
    shrink as f32
}

/// `exp(before - max)`, also where there was nothing before.
pub fn shrink(before: f64, max: f64) -> f64 {
    if before == max { 1.0 } else { (before - max).exp() }
}

/// The weigher of a row whose largest score is `max` and whose `exp(z - max)` sum to `sum`. Softmax1 has one more score,
/// zero, whose weight is nobody's; far below it the sum is infinite and all weights are zero, as they should be.
pub fn weigher(max: f64, sum: f64, plus_one: bool) -> Weigher {
    if max == f64::NEG_INFINITY {
        return Weigher::Nothing;
    }
    Weigher::Softmax { max, sum: if plus_one { sum + (-max).exp() } else { sum } }
}

/// Solves a row of at least one entry.
pub fn solve(entries: &[Entry], plus_one: bool) -> Weigher {
    let max = entries.iter().fold(f64::NEG_INFINITY, |max, entry| max.max(entry.0));
    weigher(max, entries.iter().map(|entry| (entry.0 - max).exp()).sum(), plus_one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masked_tiles_before_between_and_after() {
        let masked = [f64::NEG_INFINITY; 2];
        let (mut max, mut sum) = (f64::NEG_INFINITY, 0.0);
        let mut weights = [9.0; 2];
        for scores in [masked, [0.0, f64::NEG_INFINITY], masked, [3.0f64.ln(), 0.0]] {
            tile(&scores, &mut weights, &mut max, &mut sum);
        }
        assert!((max - 3.0f64.ln()).abs() < 1e-12 && (sum - 5.0 / 3.0).abs() < 1e-6, "{max} {sum}");
        assert!(weigher(f64::NEG_INFINITY, 0.0, true).is_nothing());
    }

    #[test]
    fn softmax1_far_below_zero_weighs_nothing() {
        let weigher = solve(&[(-1e30, 0)], true);
        assert_eq!(weigher.weight((-1e30, 0)), 0.0);
        assert_eq!(solve(&[(1e30, 0)], true).weight((1e30, 0)), 1.0);
    }
}
