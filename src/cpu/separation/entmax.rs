//! Entmax (sparsemax at `alpha = 2`): the threshold of a row of scores.
//!
//! With `u_i = max t - t_i`, `t = (alpha-1) z` and `s = max t - tau`, the weights are `[s - u_i]_+ ^ q`, `q =
//! 1/(alpha-1)`, and `s` in `[n^(1-alpha), 1]` makes them sum to 1. Distances below the maximum keep their precision
//! however large the scores are.

use super::{Entry, Weigher};

/// `1/(alpha-1)`.
pub fn power(alpha: f64) -> f64 {
    1.0 / (alpha - 1.0)
}

/// `u` of a score: how far `(alpha-1) z` is below the maximum of the row.
pub fn below(max: f64, alpha: f64, score: f64) -> f64 {
    max - (alpha - 1.0) * score
}

/// `[gap]_+ ^ q`.
pub fn raw(gap: f64, q: f64) -> f64 {
    match gap > 0.0 {
        false => 0.0,
        true if q == 1.0 => gap,
        true if q == 2.0 => gap * gap,
        true => gap.powf(q),
    }
}

/// Solves a row of at least one entry; leaves the entries in falling order of score.
pub fn solve(entries: &mut [Entry], alpha: f64) -> Weigher {
    entries.sort_unstable_by(super::preferred);
    let max = (alpha - 1.0) * entries[0].0;
    // Nothing at 1 or more below the maximum can have weight.
    let reach = entries.partition_point(|entry| below(max, alpha, entry.0) < 1.0).max(1);
    let distances = entries[..reach].iter().map(|entry| below(max, alpha, entry.0));
    let q = power(alpha);
    let s = if alpha == 2.0 {
        linear(distances)
    } else if alpha == 1.5 {
        quadratic(distances)
    } else {
        let distances: Vec<f64> = distances.collect();
        root(alpha, reach, |s| {
            let mut sums = Sums::default();
            for u in &distances {
                sums.add(s - u, q);
            }
            sums
        })
    };
    let sum = entries[..reach].iter().map(|entry| raw(s - below(max, alpha, entry.0), q)).sum();
    Weigher::Entmax { max, s, alpha, sum }
}

/// `sum (s - u_i)_+ = 1` for rising `u` (Held et al. 1974; Martins and Astudillo 2016): the last `u` below the threshold
/// that it implies is the last of the support.
fn linear(rising: impl Iterator<Item = f64>) -> f64 {
    let (mut sum, mut s) = (0.0, 1.0);
    for (i, u) in rising.enumerate() {
        if u >= s {
            break;
        }
        sum += u;
        s = (1.0 + sum) / (i + 1) as f64;
    }
    s
}

/// `sum (s - u_i)_+^2 = 1` for rising `u` (Peters et al. 2019): from the mean and the sum of squared deviations of the
/// support, updated as by Welford.
fn quadratic(rising: impl Iterator<Item = f64>) -> f64 {
    let (mut mean, mut squares, mut s) = (0.0f64, 0.0f64, 1.0f64);
    for (i, u) in rising.enumerate() {
        if u >= s {
            break;
        }
        let n = (i + 1) as f64;
        let delta = u - mean;
        mean += delta / n;
        squares += delta * (u - mean);
        s = mean + ((1.0 - squares) / n).max(0.0).sqrt();
    }
    s
}

/// `sum [s - u]_+^q` and its derivative.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sums {
    value: f64,
    slope: f64,
}

impl Sums {
    pub fn add(&mut self, gap: f64, q: f64) {
        if gap > 0.0 {
            let weight = raw(gap, q);
            self.value += weight;
            self.slope += q * weight / gap;
        }
    }

    pub fn merge(&mut self, other: &Self) {
        self.value += other.value;
        self.slope += other.slope;
    }
}

/// `s` such that the `n` raw weights sum to 1, by Newton on the logarithms, where the sum of equal scores is a straight
/// line, kept within a bracket: a step that leaves it, or that gains too little, is replaced by its middle. Each
/// evaluation may be a pass over all patterns.
pub fn root(alpha: f64, n: usize, evaluate: impl Fn(f64) -> Sums) -> f64 {
    /// How near to 1 the sum comes; the weights are normalised afterwards.
    const CLOSE: f64 = 1e-14;
    let (mut low, mut high) = ((1.0 - alpha) * (n.max(1) as f64).ln(), 0.0f64);
    let mut y = high;
    let mut before = f64::INFINITY;
    for _ in 0..200 {
        let s = y.exp();
        let sums = evaluate(s);
        let error = sums.value.ln();
        if error.abs() <= CLOSE {
            break;
        }
        if error > 0.0 {
            high = y;
        } else {
            low = y;
        }
        let newton = y - error * sums.value / (s * sums.slope);
        let middle = 0.5 * (low + high);
        let next = if newton > low && newton < high && error.abs() <= 0.5 * before { newton } else { middle };
        before = error.abs();
        if next == y || high - low <= f64::EPSILON * low.abs() {
            break;
        }
        y = next;
    }
    y.exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weights(alpha: f64, scores: &[f64]) -> Vec<f64> {
        let mut entries: Vec<Entry> = scores.iter().copied().zip(0..).collect();
        let weigher = solve(&mut entries, alpha);
        scores.iter().copied().zip(0..).map(|entry| weigher.weight(entry)).collect()
    }

    fn close(got: &[f64], expected: &[f64], within: f64) {
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < within, "{got:?} is not {expected:?}");
        }
    }

    #[test]
    fn hand_computed() {
        close(&weights(2.0, &[1.0, 0.6, 0.2]), &[0.7, 0.3, 0.0], 1e-15);
        close(&weights(1.5, &[0.8, 0.4]), &[0.64, 0.36], 1e-14);
        close(&weights(1.5, &[0.0, 5.0]), &[0.0, 1.0], 1e-15);
        // q = 1/2: sqrt(s) + sqrt(s - 0.2) = 1 at s = 0.36.
        close(&weights(3.0, &[1.0, 0.9]), &[0.6, 0.4], 1e-14);
    }

    #[test]
    fn closed_forms_agree_with_the_root() {
        let scores: Vec<f64> = (0..500).map(|i| f64::from(i * 7919 % 1009) / 700.0).collect();
        for alpha in [1.5, 2.0] {
            close(&weights(alpha, &scores), &weights(alpha + 1e-12, &scores), 1e-10);
        }
    }

    #[test]
    fn any_alpha_sums_to_one_in_few_evaluations() {
        for alpha in [1.001, 1.05, 1.25, 1.75, 2.5, 4.0, 6.0] {
            for spread in [0.0, 1e-9, 0.01, 1.0, 100.0] {
                let distances: Vec<f64> =
                    (0..1000).map(|i| (alpha - 1.0) * spread * f64::from(i * 7919 % 1009) / 1009.0).collect();
                let count = std::cell::Cell::new(0);
                let sums = |s: f64| {
                    count.set(count.get() + 1);
                    let mut sums = Sums::default();
                    for u in &distances {
                        sums.add(s - u, power(alpha));
                    }
                    sums
                };
                let s = root(alpha, distances.len(), sums);
                let sum = sums(s).value;
                // A root that is a rounding away weighs gap^q, so the sum is as steep as that at large alpha.
                assert!((sum - 1.0).abs() < 1e-9 * alpha * alpha, "alpha {alpha} spread {spread}: {sum}");
                assert!(count.get() < 70, "alpha {alpha} spread {spread}: {} evaluations", count.get());
            }
        }
    }
}
