//! What benches compute on.

use rayon::prelude::*;

/// `length` numbers from a normal distribution, the same for the same seed (SplitMix64, Box and Muller).
pub fn normal(seed: u64, length: usize) -> Vec<f32> {
    let unit = |count: u64| {
        let mut z = seed.wrapping_add(count.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) >> 40) as f32 + 0.5) / (1u32 << 24) as f32
    };
    let number = |i| {
        let [radius, angle] = [2 * i as u64 + 1, 2 * i as u64 + 2].map(unit);
        (-2.0 * radius.ln()).sqrt() * (std::f32::consts::TAU * angle).cos()
    };
    (0..length).into_par_iter().map(number).collect()
}
