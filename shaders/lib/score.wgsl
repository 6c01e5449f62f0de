// Scores that no arithmetic turns into an infinity or a NaN, which WGSL cannot test for: real scores stay within
// SCORE_LIMIT, the score of a pattern that does not count is NO_SCORE, and the difference of any two is finite, also
// times log2(e), by which drivers make exp of exp2.

const SCORE_LIMIT: f32 = 1.0e38;
const NO_SCORE: f32 = -1.2e38;

fn bounded_score(z: f32) -> f32 {
    return clamp(z, -SCORE_LIMIT, SCORE_LIMIT);
}

fn counts(z: f32) -> bool {
    return z >= -SCORE_LIMIT;
}

// exp(z - maximum), and exactly 0 for a pattern that does not count.
fn softmax_weight(z: f32, maximum: f32) -> f32 {
    return select(0.0, exp(z - maximum), counts(z));
}

// The factor by which sums under maximum `before` shrink under maximum `after >= before`.
fn shrink(before: f32, after: f32) -> f32 {
    return exp(before - after);
}
