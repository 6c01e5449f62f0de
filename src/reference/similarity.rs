//! Scores before beta and bias, straight from the definitions.

use crate::rule::Similarity;

/// `similarity(x, k)` of a state and a key of the same length.
pub fn similarity(rule: Similarity, x: &[f64], k: &[f64]) -> f64 {
    let mut dot = 0.0;
    let mut x_square = 0.0;
    let mut k_square = 0.0;
    let mut distance_square = 0.0;
    let mut distance_absolute = 0.0;
    for c in 0..x.len() {
        dot += x[c] * k[c];
        x_square += x[c] * x[c];
        k_square += k[c] * k[c];
        distance_square += (x[c] - k[c]) * (x[c] - k[c]);
        distance_absolute += (x[c] - k[c]).abs();
    }
    match rule {
        Similarity::Dot => dot,
        Similarity::Cosine => dot / (x_square.sqrt().max(1e-12) * k_square.sqrt().max(1e-12)),
        Similarity::Euclidean => -0.5 * distance_square,
        Similarity::Manhattan => -distance_absolute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_computed() {
        let (x, k) = ([3.0, 4.0], [-4.0, 3.0]);
        assert_eq!(similarity(Similarity::Dot, &x, &k), 0.0);
        assert_eq!(similarity(Similarity::Dot, &x, &x), 25.0);
        assert_eq!(similarity(Similarity::Cosine, &x, &x), 1.0);
        assert_eq!(similarity(Similarity::Cosine, &x, &[-3.0, -4.0]), -1.0);
        assert_eq!(similarity(Similarity::Cosine, &x, &[0.0, 0.0]), 0.0);
        assert_eq!(similarity(Similarity::Euclidean, &x, &k), -25.0);
        assert_eq!(similarity(Similarity::Manhattan, &x, &k), -8.0);
    }
}
