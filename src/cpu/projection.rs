//! Weighted sums of rows.

/// `sums = sums * shrink + sum_t weights[t] * rows[t]`, each row as long as `sums`.
pub(super) fn project(sums: &mut [f32], shrink: f32, weights: &[f32], rows: &[f32]) {
    if shrink != 1.0 {
        for sum in sums.iter_mut() {
            *sum *= shrink;
        }
    }
    for (weight, row) in weights.iter().zip(rows.chunks_exact(sums.len())) {
        for (sum, value) in sums.iter_mut().zip(row) {
            *sum += weight * value;
        }
    }
}
