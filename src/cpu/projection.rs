//! Weighted sums of rows.

/// `sums = sums * shrink + sum_t weights[t] * rows[t]` over rows of the length of `sums`, for a scan.
pub(super) fn project(sums: &mut [f32], shrink: f32, weights: &[f32], rows: &[f32]) {
    if shrink != 1.0 {
        for sum in sums.iter_mut() {
            *sum *= shrink;
        }
    }
    for (weight, row) in weights.iter().zip(rows.chunks_exact(sums.len())) {
        // Most weights of a sharp or masked row are zero, and rows are finite.
        if *weight != 0.0 {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += weight * value;
            }
        }
    }
}

/// `sums += weight * row`, for the rows of a support.
pub(super) fn add(sums: &mut [f64], weight: f64, row: &[f32]) {
    for (sum, value) in sums.iter_mut().zip(row) {
        *sum += weight * f64::from(*value);
    }
}
