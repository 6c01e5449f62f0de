//! What this processor can do: bytes that it reads and multiply-adds that it makes, with every thread.

use std::hint::black_box;
use std::time::Instant;

use rayon::prelude::*;

/// Bytes a second of reading 1 GiB, the best of several.
pub fn bandwidth() -> f64 {
    let bytes = vec![1u64; 1 << 27];
    let best = (0..7)
        .map(|_| {
            let start = Instant::now();
            let sum: u64 = bytes
                .par_chunks(1 << 17)
                .map(|chunk| {
                    let mut lanes = [0u64; 16];
                    for part in chunk.as_chunks::<16>().0 {
                        (0..16).for_each(|lane| lanes[lane] ^= part[lane]);
                    }
                    lanes.iter().fold(0, |all, lane| all ^ lane)
                })
                .reduce(|| 0, |a, b| a ^ b);
            black_box(sum);
            start.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    size_of_val(bytes.as_slice()) as f64 / best
}

/// Operations a second of multiply-adds in registers, the best of several.
pub fn multiply_adds() -> f64 {
    let rate = |_| {
        let start = Instant::now();
        let flops: u64 = rayon::broadcast(|_| attractor::internals::multiply_adds(1 << 20)).into_iter().sum();
        flops as f64 / start.elapsed().as_secs_f64()
    };
    (0..7).map(rate).fold(0.0, f64::max)
}
