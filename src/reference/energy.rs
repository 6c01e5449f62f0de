//! Energies, straight from the table: one branch a row of it.

use super::{Problem, potential, separate};
use crate::rule::{Activation, Separation, Similarity};

impl Problem<'_> {
    /// The energy of state `x`, or `None` for a rule that has none. Infinite where a softmax has nothing left.
    ///
    /// ```text
    /// softmax            -1/beta lse(z)              + 1/2 |x|^2 + 1/beta log N + 1/2 M^2
    /// softmax1           -1/beta log(1 + sum exp z)  + 1/2 |x|^2 + 1/beta log(N + 1) + 1/2 M^2
    /// sparse             -1/beta (<p, z> + H(p))     + 1/2 |x|^2 + 1/2 M^2
    /// ```
    ///
    /// for dot similarity, `M` the largest norm of a key, masked or not, and
    /// `H(p) = sum (p - p^alpha) / (alpha (alpha-1))`; for euclidean similarity the first term alone, and none for
    /// softmax1. Separations that are not normalised have `-gain/beta sum F(z)` where states are signs, under dot
    /// similarity. A field adds `-<field, x>` to each.
    pub fn energy(&self, x: &[f64]) -> Option<f64> {
        let beta = self.beta_of(1);
        let n = self.patterns() as f64;
        let scores = self.scores(x);
        let max = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum = |offset: f64| scores.iter().map(|z| (z - offset).exp()).sum::<f64>();
        let sparse = |alpha: f64| {
            let mut pooled = 0.0;
            for (p, z) in separate(self.rule.separation, &scores).iter().zip(&scores) {
                if *p > 0.0 {
                    pooled += p * z + (p - p.powf(alpha)) / (alpha * (alpha - 1.0));
                }
            }
            pooled
        };
        let (pooled, constant) = match self.rule.separation {
            Separation::Softmax if max == f64::NEG_INFINITY => return Some(f64::INFINITY),
            Separation::Softmax => (max + sum(max).ln(), n.ln() / beta),
            Separation::Softmax1 => {
                let max = f64::max(max, 0.0);
                (max + ((-max).exp() + sum(max)).ln(), (n + 1.0).ln() / beta)
            }
            Separation::Sparsemax => (sparse(2.0), 0.0),
            Separation::Entmax { alpha } => (sparse(f64::from(alpha)), 0.0),
            Separation::TopK { .. } => return None,
            Separation::Linear | Separation::Power { .. } | Separation::Rectified { .. } | Separation::Step { .. } => {
                let signs = matches!(self.rule.update.activation, Activation::Sign { .. });
                if beta == 0.0 || self.rule.similarity != Similarity::Dot || !signs {
                    return None;
                }
                let left = scores.iter().filter(|z| **z > f64::NEG_INFINITY);
                let pooled: f64 = left.map(|z| potential(self.rule.separation, *z)).sum();
                return Some(-f64::from(self.rule.update.gain) * pooled / beta - self.of_field(x));
            }
        };
        let constant = constant - self.of_field(x);
        match (self.rule.similarity, self.rule.separation) {
            _ if beta == 0.0 => None,
            (Similarity::Dot, _) => {
                let mut largest = 0.0f64;
                for key in self.keys.chunks_exact(self.dim) {
                    largest = largest.max(key.iter().map(|k| f64::from(*k).powi(2)).sum());
                }
                let square: f64 = x.iter().map(|x| x * x).sum();
                Some(-pooled / beta + 0.5 * square + constant + 0.5 * largest)
            }
            (Similarity::Euclidean, Separation::Softmax1) => None,
            (Similarity::Euclidean, _) => Some(-pooled / beta - self.of_field(x)),
            _ => None,
        }
    }

    /// `<field, x>`.
    fn of_field(&self, x: &[f64]) -> f64 {
        self.field.map_or(0.0, |field| field.iter().zip(x).map(|(field, x)| f64::from(*field) * x).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::Rule;

    #[test]
    fn hand_computed() {
        let ln = f64::ln;
        // Scores ln 3 and 0 at x = (ln 3, 0), beta = 1, keys of norm 1.
        let keys = [1.0, 0.0, 0.0, 1.0];
        let x = [ln(3.0), 0.0];
        let energy = |similarity, separation, x: &[f64]| {
            Problem::new(Rule::new(similarity, separation, 1.0), 2, &keys).energy(x)
        };
        let close = |got: Option<f64>, expected: f64| {
            assert!((got.unwrap() - expected).abs() < 1e-14, "{got:?} is not {expected}");
        };
        let square = 0.5 * ln(3.0) * ln(3.0);
        close(energy(Similarity::Dot, Separation::Softmax, &x), -ln(4.0) + square + ln(2.0) + 0.5);
        close(energy(Similarity::Dot, Separation::Softmax1, &x), -ln(5.0) + square + ln(3.0) + 0.5);
        // Sparsemax of scores (0.6, 0.2): p = (0.7, 0.3), H = (1 - 0.58) / 2.
        close(energy(Similarity::Dot, Separation::Sparsemax, &[0.6, 0.2]), -(0.48 + 0.21) + 0.5 * 0.4 + 0.5);
        // Both keys at the same distance 1/2 sqrt 2 of (1/2, 1/2): scores -1/4, p = (1/2, 1/2), H = 1/4.
        close(energy(Similarity::Euclidean, Separation::Sparsemax, &[0.5, 0.5]), 0.0);
        close(energy(Similarity::Euclidean, Separation::Softmax, &[0.5, 0.5]), 0.25 - ln(2.0));
        for none in [
            energy(Similarity::Euclidean, Separation::Softmax1, &x),
            energy(Similarity::Cosine, Separation::Softmax, &x),
            energy(Similarity::Manhattan, Separation::Sparsemax, &x),
            energy(Similarity::Dot, Separation::TopK { k: 1 }, &x),
            Problem::new(Rule::softmax(0.0), 2, &keys).energy(&x),
        ] {
            assert_eq!(none, None);
        }
    }
}
