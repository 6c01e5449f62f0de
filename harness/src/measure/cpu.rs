//! What this processor can do: bytes that it reads and multiply-adds that it makes, with every thread.

use std::time::Instant;

/// Bytes a second of reading 1 GiB, the best of several.
pub fn bandwidth() -> f64 {
    let reads = attractor::internals::Reads::of(1 << 30);
    let rate = |_| {
        let start = Instant::now();
        let bytes = reads.read();
        bytes as f64 / start.elapsed().as_secs_f64()
    };
    (0..7).map(rate).fold(0.0, f64::max)
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
