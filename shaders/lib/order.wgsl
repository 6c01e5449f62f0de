// Scores as unsigned keys in the same order; both zeros are one key.

fn key_of(z: f32) -> u32 {
    let bits = bitcast<u32>(select(z, 0.0, z == 0.0));
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn score_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u));
}

// The score of a key from which others are counted. Below zero, a subnormal number is zero to some devices where scores
// are compared, and never to the host: so it is zero to both.
fn pivot_of(key: u32) -> f32 {
    return select(score_of(key), 0.0, key >= 0x7f800000u && key < 0x80000000u);
}
