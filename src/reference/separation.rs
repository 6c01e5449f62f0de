//! Scores to weights, straight from the definitions: whole rows, a sort where a sort is the simplest.

use std::cmp::Ordering;

use crate::rule::Separation;

/// The weights of one row of scores (`-inf` where masked). All zero when no score is finite.
pub fn separate(rule: Separation, scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if max == f64::NEG_INFINITY {
        return vec![0.0; scores.len()];
    }
    match rule {
        Separation::Softmax => softmax(scores),
        Separation::Softmax1 => {
            let mut extended = scores.to_vec();
            extended.push(0.0);
            let mut weights = softmax(&extended);
            weights.pop();
            weights
        }
        Separation::Sparsemax => entmax(scores, 2.0),
        Separation::Entmax { alpha } => entmax(scores, f64::from(alpha)),
        Separation::TopK { k } => {
            let mut order: Vec<usize> = (0..scores.len()).collect();
            // Not by `total_cmp`, to which the two zeros are no tie.
            let falling = |i: usize, j: usize| scores[j].partial_cmp(&scores[i]).unwrap_or(Ordering::Equal);
            order.sort_by(|&i, &j| falling(i, j).then(i.cmp(&j)));
            let mut kept = vec![f64::NEG_INFINITY; scores.len()];
            for &i in order.iter().take(k) {
                kept[i] = scores[i];
            }
            softmax(&kept)
        }
        Separation::Linear | Separation::Power { .. } | Separation::Rectified { .. } | Separation::Step { .. } => {
            scores.iter().map(|z| if *z > f64::NEG_INFINITY { slope(rule, *z) } else { 0.0 }).collect()
        }
    }
}

/// `F'(z)` of a separation that is not normalised: the weight.
fn slope(rule: Separation, z: f64) -> f64 {
    match rule {
        Separation::Linear => z,
        Separation::Power { n } => z.powi(n as i32),
        Separation::Rectified { n } => z.max(0.0).powi(n as i32),
        Separation::Step { threshold } => f64::from(z >= f64::from(threshold)),
        _ => f64::NAN,
    }
}

/// The potential `F(z)` of a separation that is not normalised.
///
/// # Panics
/// For a separation that is.
pub fn potential(rule: Separation, z: f64) -> f64 {
    match rule {
        Separation::Linear => z * z / 2.0,
        Separation::Power { n } => z.powi(n as i32 + 1) / f64::from(n + 1),
        Separation::Rectified { n } => z.max(0.0).powi(n as i32 + 1) / f64::from(n + 1),
        Separation::Step { threshold } => (z - f64::from(threshold)).max(0.0),
        _ => panic!("{rule} is normalised"),
    }
}

/// `exp(z - max z)` over its sum.
fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = scores.iter().map(|z| (z - max).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

/// `p_i = [(alpha-1) z_i - tau]_+ ^ (1/(alpha-1))` with weights that sum to 1 (Peters et al. 2019). The unknown is not
/// `tau` but the smallest weight `p` of the support, which belongs to the score `z`:
///
/// ```text
/// p_i = ((alpha-1) (z_i - z) + p^(alpha-1)) ^ (1/(alpha-1))
/// ```
///
/// Its sum rises with `p`, and in logarithms it is well conditioned for every alpha: under a large alpha
/// `p^(alpha-1)` vanishes beside any `tau` although `p` does not.
fn entmax(scores: &[f64], alpha: f64) -> Vec<f64> {
    let gain = alpha - 1.0;
    let mut falling: Vec<f64> = scores.iter().copied().filter(|z| *z > f64::NEG_INFINITY).collect();
    falling.sort_by(|a, b| b.total_cmp(a));
    // A score has weight where those above it, with no weight left for itself, sum to less than 1.
    let sum_above = |least: f64| -> f64 {
        falling.iter().take_while(|z| **z > least).map(|z| (gain * (z - least)).powf(1.0 / gain)).sum()
    };
    let support = falling.partition_point(|least| sum_above(*least) < 1.0);
    let least = falling[support - 1];
    // The logarithm of `p^(alpha-1)`, by bisection: weights below e^-745 are zero in `f64`.
    let weight = |z: f64, log: f64| (log_of_sum(gain * (z - least), log) / gain).exp();
    let (mut low, mut high) = (-745.0 * gain.max(1.0), 0.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        let sum: f64 = falling[..support].iter().map(|z| weight(*z, middle)).sum();
        if sum >= 1.0 {
            high = middle;
        } else {
            low = middle;
        }
    }
    let weights: Vec<f64> = scores.iter().map(|z| if *z >= least { weight(*z, high) } else { 0.0 }).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|p| p / sum).collect()
}

/// `ln(x + e^y)` for `x >= 0`.
fn log_of_sum(x: f64, y: f64) -> f64 {
    if x == 0.0 {
        y
    } else if x.ln() < y {
        y + (x * (-y).exp()).ln_1p()
    } else {
        x.ln() + (y.exp() / x).ln_1p()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(got: &[f64], expected: &[f64]) {
        assert_eq!(got.len(), expected.len());
        for (g, e) in got.iter().zip(expected) {
            assert!((g - e).abs() < 1e-14, "{got:?} is not {expected:?}");
        }
    }

    #[test]
    fn hand_computed() {
        let ln = f64::ln;
        close(&separate(Separation::Softmax, &[ln(1.0), ln(3.0)]), &[0.25, 0.75]);
        close(&separate(Separation::Softmax1, &[ln(1.0), ln(2.0)]), &[0.25, 0.5]);
        // sparsemax: tau = (1.0 + 0.6 - 1) / 2 = 0.3
        close(&separate(Separation::Sparsemax, &[1.0, 0.6, 0.2]), &[0.7, 0.3, 0.0]);
        close(&separate(Separation::Sparsemax, &[0.0, 5.0]), &[0.0, 1.0]);
        // entmax 1.5 of a tie: [t - tau]^2 = 1/2 each
        close(&separate(Separation::Entmax { alpha: 1.5 }, &[2.0, 2.0]), &[0.5, 0.5]);
        // entmax 1.5 of (0.8, 0.4): t = (0.4, 0.2), (0.4-tau)^2 + (0.2-tau)^2 = 1 at tau = 0.3 - sqrt(0.49)
        close(&separate(Separation::Entmax { alpha: 1.5 }, &[0.8, 0.4]), &[0.64, 0.36]);
        close(&separate(Separation::TopK { k: 2 }, &[ln(1.0), ln(3.0), ln(1.0)]), &[0.25, 0.75, 0.0]);
        close(&separate(Separation::TopK { k: 1 }, &[-0.0, 0.0]), &[1.0, 0.0]);
        close(&separate(Separation::TopK { k: 9 }, &[ln(1.0), ln(3.0)]), &[0.25, 0.75]);
    }

    #[test]
    fn a_row_with_nothing_left_weighs_nothing() {
        for rule in [Separation::Softmax, Separation::Softmax1, Separation::Sparsemax, Separation::TopK { k: 1 }] {
            assert_eq!(separate(rule, &[f64::NEG_INFINITY; 3]), [0.0; 3]);
        }
    }

    #[test]
    fn huge_scores_stay_finite() {
        close(&separate(Separation::Softmax, &[1e300, -1e300]), &[1.0, 0.0]);
        close(&separate(Separation::Softmax1, &[-1e300, -1e300]), &[0.0, 0.0]);
    }
}
