// Scores as unsigned keys in the same order; both zeros are one key.

fn key_of(z: f32) -> u32 {
    let bits = bitcast<u32>(select(z, 0.0, z == 0.0));
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

fn score_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, (key & 0x80000000u) != 0u));
}
