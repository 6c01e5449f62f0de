// Scores as unsigned keys in the same order; both zeros are one key. It is the bits that tell them apart: a compiler
// may take the sign of a zero for nothing.

fn key_of(z: f32) -> u32 {
    let stored = bitcast<u32>(z);
    let bits = select(stored, 0u, stored == 0x80000000u);
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
