//! What is told of one row of weights.

/// Support, perplexity and the largest of a row of weights.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Weights above zero.
    pub support: usize,
    /// `exp(-sum p ln p)`.
    pub perplexity: f64,
    /// The largest weight.
    pub largest: f64,
}

/// The statistics of `weights`.
pub fn statistics(weights: &[f64]) -> Statistics {
    let mut support = 0;
    let mut entropy = 0.0;
    let mut largest = 0.0f64;
    for p in weights {
        if *p > 0.0 {
            support += 1;
            entropy -= p * p.ln();
            largest = largest.max(*p);
        }
    }
    let perplexity = if support == 0 { 0.0 } else { entropy.exp() };
    Statistics { support, perplexity, largest }
}

/// The positions of the `k` patterns of largest weight (then of largest score, then of smallest index), of those that
/// are not masked.
pub fn top(weights: &[f64], scores: &[f64], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..weights.len()).filter(|i| scores[*i] > f64::NEG_INFINITY).collect();
    order.sort_by(|&i, &j| {
        weights[j].total_cmp(&weights[i]).then((scores[j] + 0.0).total_cmp(&(scores[i] + 0.0))).then(i.cmp(&j))
    });
    order.truncate(k);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_computed() {
        let even = statistics(&[0.5, 0.0, 0.5]);
        assert_eq!((even.support, even.largest), (2, 0.5));
        assert!((even.perplexity - 2.0).abs() < 1e-15);
        assert_eq!(statistics(&[0.0; 2]), Statistics { support: 0, perplexity: 0.0, largest: 0.0 });
        let scores = [0.0, f64::NEG_INFINITY, 1.0, 5.0, 1.0, 2.0];
        assert_eq!(top(&[0.0, 0.0, 0.0, 1.0, 0.0, 0.0], &scores, 4), [3, 5, 2, 4]);
        assert!(top(&[0.0; 2], &[f64::NEG_INFINITY; 2], 2).is_empty());
    }
}
