//! Online softmax over tiles (Milakov and Gimelshein 2018): a running maximum and a running sum per query.

/// Folds one row of scores into the running maximum and sum of its query and turns the scores into `exp(z - max)`.
/// Returns the factor by which everything that was accumulated under the old maximum must shrink.
pub(super) fn softmax_tile(scores: &mut [f32], max: &mut f32, sum: &mut f32) -> f32 {
    let before = *max;
    *max = scores.iter().copied().fold(before, f32::max);
    let shrink = (before - *max).exp();
    let mut tile_sum = 0.0;
    for score in scores {
        *score = (*score - *max).exp();
        tile_sum += *score;
    }
    *sum = *sum * shrink + tile_sum;
    shrink
}
