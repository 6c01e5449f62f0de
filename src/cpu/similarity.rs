//! Scores of one tile: a few queries against a few keys, both in rows of whole vectors of [`LANES`] or fewer floats.

/// Partial sums kept side by side, so that the compiler can use vector registers without reordering any sum.
const LANES: usize = 8;

/// `<x, k>` of two rows of the same length, summed in [`LANES`] interleaved partial sums and then pairwise.
pub(super) fn dot(x: &[f32], k: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (x_blocks, x_rest) = x.as_chunks::<LANES>();
    let (k_blocks, k_rest) = k.as_chunks::<LANES>();
    for (x, k) in x_blocks.iter().zip(k_blocks) {
        for lane in 0..LANES {
            lanes[lane] += x[lane] * k[lane];
        }
    }
    for (lane, (x, k)) in x_rest.iter().zip(k_rest).enumerate() {
        lanes[lane] += x * k;
    }
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
}

/// Scores are kept within this, so that the difference of any two is finite.
const LIMIT: f32 = 1.0e38;

/// `scores[q * tile + t] = beta * <queries[q], keys[t]>` for rows of `stride` floats; `tile` is the number of keys.
pub(super) fn scores(beta: f32, queries: &[f32], keys: &[f32], stride: usize, scores: &mut [f32]) {
    let tile = keys.len() / stride;
    for (t, key) in keys.chunks_exact(stride).enumerate() {
        for (q, query) in queries.chunks_exact(stride).enumerate() {
            scores[q * tile + t] = (beta * dot(query, key)).clamp(-LIMIT, LIMIT);
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_length_is_summed_whole() {
        for n in 0..40 {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let expected: f32 = x.iter().map(|v| v * v).sum();
            assert_eq!(super::dot(&x, &x), expected, "length {n}");
        }
    }
}
