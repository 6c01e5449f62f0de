//! How far rounding may take an answer in `f32` from the reference.

use attractor::Rule;

/// How far an `f32` answer may be from the reference for one query.
///
/// A score is a sum of `d` products: its rounding is at most a few epsilon times `|beta| sum_c |x_c k_c|`, and a score
/// that is off by `e` moves the output by at most `2 e max|v|`. The sums over `N` weights add a random walk of
/// roundings. So: `epsilon max|v| (32 + sqrt N + 8 kappa)` with `kappa = |beta| max_i sum_c |x_c k_ic|`, once a step.
pub fn bound(rule: Rule, dim: usize, keys: &[f32], values: &[f32], query: &[f32], steps: u32) -> f64 {
    let largest = |of: &[f32]| of.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let kappa = keys
        .chunks_exact(dim)
        .map(|key| key.iter().zip(query).map(|(k, x)| (f64::from(*k) * f64::from(*x)).abs()).sum::<f64>())
        .fold(0.0, f64::max)
        * f64::from(rule.beta.abs());
    let patterns = (keys.len() / dim) as f64;
    let largest = f64::from(largest(values).max(largest(keys)));
    f64::from(f32::EPSILON) * largest * (32.0 + patterns.sqrt() + 8.0 * kappa) * f64::from(steps)
}

/// The largest difference of two rows; infinite where their lengths differ, or where one has a NaN.
pub fn worst(got: &[f32], expected: &[f64]) -> f64 {
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    // NaN must not be lost in a maximum.
    got.iter().zip(expected).fold(0.0, |most, (g, e)| {
        let error = (f64::from(*g) - e).abs();
        if error.is_nan() { f64::INFINITY } else { most.max(error) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_answers_are_seen() {
        assert_eq!(worst(&[1.0, 2.0], &[1.0, 2.5]), 0.5);
        assert_eq!(worst(&[1.0, f32::NAN], &[1.0, 2.0]), f64::INFINITY);
        assert_eq!(worst(&[1.0], &[1.0, 2.0]), f64::INFINITY);
    }
}
