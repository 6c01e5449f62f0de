//! Weights to a state or an output.

/// `sum_i p_i row_i` over rows of `columns` elements.
pub fn project(weights: &[f64], rows: &[f32], columns: usize) -> Vec<f64> {
    let mut sum = vec![0.0; columns];
    for (i, weight) in weights.iter().enumerate() {
        for c in 0..columns {
            sum[c] += weight * f64::from(rows[i * columns + c]);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_computed() {
        assert_eq!(project(&[0.25, 0.75], &[4.0, 8.0, 0.0, 4.0], 2), [1.0, 5.0]);
        assert_eq!(project(&[], &[], 3), [0.0; 3]);
    }
}
