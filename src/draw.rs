//! What is drawn by chance, from counters: the same numbers on every device, whatever order they are drawn in.

/// The permutation of O'Neill's PCG with 32 bits of state (Jarzynski and Olano 2020).
pub(crate) fn permuted(x: u32) -> u32 {
    let state = x.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}

/// A number in [0, 1), a multiple of 2^-24, for one coordinate of one query in one update.
pub(crate) fn uniform(seed: u32, query: u32, step: u32, coordinate: u32) -> f32 {
    let hash = permuted(permuted(permuted(permuted(seed) ^ query) ^ step) ^ coordinate);
    (hash >> 8) as f32 / 16_777_216.0
}

/// Which coordinates move in update number `step`, from 1: those that leave this remainder by `blocks`. Each sweep of
/// `blocks` updates moves every coordinate once, in an order that starts anywhere.
pub(crate) fn moving_block(blocks: u32, seed: u32, step: u32) -> u32 {
    let (sweep, place) = ((step - 1) / blocks, (step - 1) % blocks);
    let start = permuted(permuted(seed) ^ sweep) % blocks;
    if place >= start { place - start } else { place + (blocks - start) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread() {
        let drawn: Vec<f32> = (0..40_000).map(|i| uniform(7, i % 10, i / 100, i % 100)).collect();
        let mean = drawn.iter().map(|x| f64::from(*x)).sum::<f64>() / 40_000.0;
        assert!((mean - 0.5).abs() < 0.006 && drawn.iter().all(|x| (0.0..1.0).contains(x)), "{mean}");
        assert_ne!(uniform(7, 0, 1, 0), uniform(8, 0, 1, 0));
    }

    #[test]
    fn each_sweep_moves_every_block_once() {
        for blocks in [1, 2, 7, 1000, u32::MAX] {
            for sweep in 0..3 {
                let updates = 1 + sweep * blocks.min(1000)..=(sweep + 1) * blocks.min(1000);
                let mut moved: Vec<u32> = updates.map(|step| moving_block(blocks, 3, step)).collect();
                moved.sort_unstable();
                moved.dedup();
                assert_eq!(moved.len(), blocks.min(1000) as usize, "{blocks}");
                assert!(moved.iter().all(|block| *block < blocks));
            }
        }
        let starts: Vec<u32> = (0..8).map(|sweep| moving_block(1000, 3, 1 + 1000 * sweep)).collect();
        assert!(starts.windows(2).any(|pair| pair[0] != pair[1]), "{starts:?}");
    }
}
