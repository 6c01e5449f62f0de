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
    }
}

/// `exp(z - max z)` over its sum.
fn softmax(scores: &[f64]) -> Vec<f64> {
    let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = scores.iter().map(|z| (z - max).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|e| e / sum).collect()
}

/// `[(alpha-1) z - tau]_+ ^ (1/(alpha-1))` with tau by bisection (Blondel et al. 2019): the weights' sum falls from at
/// least 1 at `tau = max - 1` to 0 at `tau = max`, so 200 halvings leave nothing of the bracket.
fn entmax(scores: &[f64], alpha: f64) -> Vec<f64> {
    let t: Vec<f64> = scores.iter().map(|z| (alpha - 1.0) * z).collect();
    let max = t.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weight = |t: f64, tau: f64| (t - max - tau).max(0.0).powf(1.0 / (alpha - 1.0));
    let (mut low, mut high) = (-1.0, 0.0);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        let sum: f64 = t.iter().map(|&t| weight(t, middle)).sum();
        if sum >= 1.0 {
            low = middle;
        } else {
            high = middle;
        }
    }
    let weights: Vec<f64> = t.iter().map(|&t| weight(t, low)).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|p| p / sum).collect()
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
