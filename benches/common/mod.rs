//! What benches share: their data.

/// `length` numbers from a normal distribution, the same for the same seed (SplitMix64, Box and Muller).
pub fn normal(seed: u64, length: usize) -> Vec<f32> {
    let mut state = seed;
    let mut unit = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 40) as f32 + 0.5) / (1u32 << 24) as f32
    };
    (0..length).map(|_| (-2.0 * unit().ln()).sqrt() * (std::f32::consts::TAU * unit()).cos()).collect()
}
