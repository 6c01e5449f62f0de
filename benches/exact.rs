//! Measures the store [`Precision::I8Exact`], alternating with [`Precision::F32`], on the CPU engine or an adapter:
//!
//! `cargo bench --locked --bench exact [-- [vulkan] [NAME [PATTERNS]]]`. NAME selects the rows whose names contain it.
//!
//! The memory has patterns of 384 dimensions, by default 100,000, compared by cosine. On the CPU engine each round also
//! reads as many bytes as the 8-bit rows have, as fast as all threads can: the floor of one query. There, with
//! `ATTRACTOR_PACKAGES`, it tells how many of 12,000 real embeddings are scored again from their `f32` rows, too
//! (`examples/packages.rs` describes the folder). On an adapter [`Precision::I8`] alternates with both, and searches
//! are measured.

use std::hint::black_box;
use std::path::Path;

use attractor::internals::{Reads, rescored};
use attractor::{Device, Memory, MemoryOptions, Precision, RetrieveOptions, Rule, Separation, Similarity};
use harness::Rng;
use harness::measure::beside::{self, DIM, medians};

const ROUNDS: usize = 31;

/// Rules whose candidates lists hold.
const RULES: [(&str, Separation, f32); 3] = [
    ("topk 10", Separation::TopK { k: 10 }, 20.0),
    ("sparsemax", Separation::Sparsemax, 40.0),
    ("entmax 1.5", Separation::Entmax { alpha: 1.5 }, 80.0),
];

fn main() {
    // Cargo adds `--bench`.
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let vulkan = args.first().is_some_and(|first| first == "vulkan");
    if vulkan {
        args.remove(0);
    }
    let only = args.first().map_or("", String::as_str);
    let patterns = args.get(1).map_or(100_000, |count| count.parse().expect("a number of patterns"));
    let place = if vulkan { beside::vulkan().expect("a Vulkan adapter") } else { Device::cpu() };
    let threads = rayon::current_num_threads();
    println!("{}, N = {patterns}, d = {DIM}, cosine, {threads} threads, medians of {ROUNDS}", place.info());
    if vulkan {
        return on_adapter(&place, patterns, only);
    }
    if let Some(folder) = std::env::var_os("ATTRACTOR_PACKAGES") {
        count(&Path::new(&folder).join("packages-minilm384.safetensors"));
    }
    let floor = Reads::of(patterns * DIM);
    for (name, separation, beta) in RULES {
        let rule = Rule::new(Similarity::Cosine, separation, beta);
        let [f32, exact] =
            [Precision::F32, Precision::I8Exact].map(|precision| memory(&place, rule, precision, patterns));
        for batch in [1, 2, 4, 8, 16, 64] {
            let row = format!("{name}, B {batch}");
            if row.contains(only) {
                measure(&f32, &exact, &floor, &row, batch);
            }
        }
    }
}

fn memory(device: &Device, rule: Rule, precision: Precision, patterns: usize) -> Memory {
    let mut memory = MemoryOptions::new(DIM, rule).precision(precision).build(device).expect("a memory");
    memory.add(&Rng(1).vector(patterns * DIM)).expect("room for patterns");
    memory
}

/// Prints the median times of three stores on an adapter, which alternate.
fn on_adapter(device: &Device, patterns: usize, only: &str) {
    for (name, separation, beta) in RULES {
        let rule = Rule::new(Similarity::Cosine, separation, beta);
        let stores = [Precision::F32, Precision::I8, Precision::I8Exact];
        let memories = stores.map(|precision| memory(device, rule, precision, patterns));
        for batch in [1, 4, 16] {
            let queries = &Rng(7).vector(batch * DIM)[..];
            let print = |row: String, works: [&dyn Fn(); 3]| {
                if !row.contains(only) {
                    return;
                }
                let [f32, i8, exact] = medians(ROUNDS, works);
                let (beside_f32, beside_i8) = (f32 / exact, i8 / exact);
                println!(
                    "{row:24} f32 {f32:8.2} ms, i8 {i8:8.2} ms, i8-exact {exact:8.2} ms: {beside_f32:.2} and \
                     {beside_i8:.2} times faster"
                );
            };
            let ids = |memory: &Memory| memory.search_blocking(queries, 10).expect("hits").ids;
            assert_eq!(ids(&memories[0]), ids(&memories[2]), "both stores find the same");
            let retrieve = memories.each_ref().map(|memory| {
                move || {
                    drop(black_box(memory.retrieve_blocking(queries, &RetrieveOptions::default()).expect("an answer")));
                }
            });
            print(format!("{name}, B {batch}"), retrieve.each_ref().map(|work| work as &dyn Fn()));
            let search = memories
                .each_ref()
                .map(|memory| move || drop(black_box(memory.search_blocking(queries, 10).expect("hits"))));
            if name == RULES[0].0 {
                print(format!("search 10, B {batch}"), search.each_ref().map(|work| work as &dyn Fn()));
            }
        }
    }
}

/// Prints how many patterns of a file are scored again for its queries.
fn count(file: &Path) {
    let bytes = std::fs::read(file).expect("a file of embeddings");
    let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
    let rows = |name: &str| -> Vec<f32> {
        let halves = tensors.tensor(name).expect("keys and queries").data().as_chunks::<2>().0;
        halves.iter().map(|half| half::f16::from_le_bytes(*half).to_f32()).collect()
    };
    let (keys, queries) = (rows("keys"), rows("queries"));
    let entmax = |beta| (Separation::Entmax { alpha: 1.5 }, beta);
    let top = |k| (Separation::TopK { k }, 1.0);
    for (separation, beta) in [top(1), top(10), entmax(40.0), entmax(20.0), entmax(10.0), entmax(5.0)] {
        let rule = Rule::new(Similarity::Cosine, separation, beta);
        let counts = rescored(rule, DIM, &keys, &queries).expect("room");
        let listed: Vec<usize> = counts.iter().copied().flatten().collect();
        let mean = listed.iter().sum::<usize>() as f64 / listed.len().max(1) as f64;
        println!(
            "{separation:?}, beta {beta}: of {} patterns {mean:.1} are scored again on average, at most {}; all for {} \
             of {} queries",
            keys.len() / DIM,
            listed.iter().max().unwrap_or(&0),
            counts.len() - listed.len(),
            counts.len()
        );
    }
}

/// Prints the median times of both stores and of the floor, which alternate.
fn measure(f32: &Memory, exact: &Memory, floor: &Reads, row: &str, batch: usize) {
    let queries = Rng(7).vector(batch * DIM);
    for (what, options) in [("", RetrieveOptions::default()), (", top 10", RetrieveOptions::default().top(10))] {
        let retrieve = |memory: &Memory| memory.retrieve_blocking(&queries, &options).expect("an answer");
        let (expected, got) = (retrieve(f32), retrieve(exact));
        assert_eq!(expected.state, got.state, "{row}: the answers of both stores are the same");
        let works: [&dyn Fn(); 3] = [&|| drop(black_box(retrieve(f32))), &|| drop(black_box(retrieve(exact))), &|| {
            black_box(floor.read());
        }];
        let [f32, exact, floor] = medians(ROUNDS, works);
        println!(
            "{:24} f32 {f32:8.2} ms, i8-exact {exact:8.2} ms: {:.2} times faster; floor {floor:.2} ms",
            format!("{row}{what}"),
            f32 / exact
        );
    }
}
