// The running maximum where weights are functions of one score each: it only tells whether any pattern counts, and
// nothing is scaled. For kernels that use `lib/score`.

fn level_of(z: f32) -> f32 {
    return select(NO_SCORE, 0.0, z >= -SCORE_LIMIT);
}

fn levels_of(z: vec4<f32>) -> vec4<f32> {
    return select(vec4<f32>(NO_SCORE), vec4<f32>(0.0), z >= vec4<f32>(-SCORE_LIMIT));
}

// Where there was nothing before, the sums are zero.
fn rescale(before: f32, after: f32) -> f32 {
    return 1.0;
}
