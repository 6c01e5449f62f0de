//! Measures many memories in one, and networks, beside what a caller would do without them:
//!
//! `cargo bench --locked --bench groups [-- vulkan]`, on the CPU engine or the first Vulkan adapter.
//!
//! Groups: 64 groups of patterns of 64 dimensions, each asked by 64 queries of its own. They lie in one memory, where
//! every query sees the rows of its group, and beside that in 64 memories that are asked in turn. The third is one
//! memory of all patterns that 64 queries see whole: as many pairs of a query and a pattern.
//!
//! Networks: 100 iterations of a resonator of three codebooks in one call, beside the same loop closed by the caller,
//! who multiplies on the CPU and asks each codebook for one update at a time.

use std::hint::black_box;
use std::ops::Range;

use attractor::internals::counts;
use attractor::rule::Zero;
use attractor::{Device, Memory, RetrieveOptions, Rule};
use harness::measure::beside::{self, medians};
use harness::{NetworkCase, Rng};

const ROUNDS: usize = 15;
/// Groups, and the queries of each.
const GROUPS: usize = 64;
const ASKED: usize = 64;
const DIM: usize = 64;
/// Patterns of a group.
const SIZES: [usize; 3] = [32, 128, 512];
/// Coordinates, vectors of a codebook and problems of a network.
const NETWORKS: [(usize, usize, usize); 4] = [(64, 10, 1), (256, 10, 1), (512, 30, 8), (1500, 79, 64)];
const ITERATIONS: u32 = 100;

fn main() {
    let vulkan = std::env::args().any(|arg| arg == "vulkan");
    let device = if vulkan { beside::vulkan().expect("a Vulkan adapter") } else { Device::cpu() };
    println!("{}, {} threads, medians of {ROUNDS}", device.info(), rayon::current_num_threads());
    for size in SIZES {
        groups(&device, size);
    }
    for (dim, rows, batch) in NETWORKS {
        network(&device, dim, rows, batch);
    }
}

fn groups(device: &Device, size: usize) {
    let rule = Rule::softmax(0.5);
    let keys = Rng(1).vector(GROUPS * size * DIM);
    let queries = Rng(2).vector(GROUPS * ASKED * DIM);
    let memory = |keys: &[f32]| {
        let mut memory = Memory::new(device, DIM, rule).expect("a memory");
        memory.add(keys).expect("room for patterns");
        memory
    };
    let all = memory(&keys);
    let each: Vec<Memory> = keys.chunks(size * DIM).map(memory).collect();
    let rows: Vec<Range<usize>> =
        (0..GROUPS * ASKED).map(|query| query / ASKED * size..(query / ASKED + 1) * size).collect();
    let (plain, of_group) = (RetrieveOptions::default(), RetrieveOptions::default().rows(&rows));
    let grouped = || all.retrieve_blocking(&queries, &of_group).expect("an answer").output;
    let in_turn = || -> Vec<f32> {
        let asked = each.iter().zip(queries.chunks(ASKED * DIM));
        asked
            .flat_map(|(memory, queries)| memory.retrieve_blocking(queries, &plain).expect("an answer").output)
            .collect()
    };
    let off = grouped().iter().zip(in_turn()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-4, "groups and memories differ by {off}");
    let whole = || all.retrieve_blocking(&queries[..ASKED * DIM], &plain).expect("an answer").output;
    let [grouped, in_turn, whole] =
        medians(ROUNDS, [&|| drop(black_box(grouped())), &|| drop(black_box(in_turn())), &|| drop(black_box(whole()))]);
    println!(
        "{GROUPS} groups of {size:3}, {ASKED} queries each: {grouped:8.2} ms; memories in turn {in_turn:8.2} ms, \
         {:.2} times as long; one memory of all {whole:8.2} ms, {:.2} of that",
        in_turn / grouped,
        grouped / whole
    );
}

fn network(device: &Device, dim: usize, rows: usize, batch: usize) {
    let case = NetworkCase::resonator(3, dim, (3, rows), batch, Zero::Plus, false);
    let memories = case.memories(device).expect("memories");
    let run = || case.retrieve(&memories, &RetrieveOptions::steps(ITERATIONS)).expect("an answer");
    let closed = || {
        let mut states: Vec<Vec<f32>> = case.starts[1..].iter().map(|start| start.repeat(batch)).collect();
        for number in (0..ITERATIONS).flat_map(|_| 0..3) {
            let mut query = case.starts[0].clone();
            for other in (0..3).filter(|other| *other != number) {
                query.iter_mut().zip(&states[other]).for_each(|(x, y)| *x *= y);
            }
            let options = RetrieveOptions::default();
            states[number] = memories[number].retrieve_blocking(&query, &options).expect("an answer").state;
        }
        states
    };
    let (found, (_, vectors)) = (run(), case.network(&memories));
    let states = closed();
    assert!((0..3).all(|number| found.state(vectors[number + 1]) == states[number]), "both loops end alike");
    let before = counts(device).0;
    run();
    let submissions = counts(device).0 - before;
    let [inside, outside] = medians(ROUNDS, [&|| drop(black_box(run())), &|| drop(black_box(closed()))]);
    println!(
        "resonator, d {dim:4}, 3 books of {rows:2}, {batch:2} problems, {ITERATIONS} iterations: {inside:8.2} ms in \
         {submissions} submissions; closed by the caller {outside:8.2} ms, {:.2} times as long",
        outside / inside
    );
}
