//! What a plan says that it does, against counts by hand.

use std::time::Duration;

use attractor::explain::KernelWork;
use attractor::internals::{Faults, Overrides, Strategy, forced};
use attractor::{
    Error, Memory, MemoryOptions, Precision, RetrieveOptions, Rule, SearchOptions, Separation, Similarity,
};

fn memory(device: &attractor::Device, patterns: usize, dim: usize, rule: Rule, precision: Precision) -> Memory {
    let mut memory = MemoryOptions::new(dim, rule).precision(precision).build(device).unwrap();
    memory.add(&vec![0.5; patterns * dim]).unwrap();
    memory
}

fn work(kernels: &[KernelWork], stem: &str) -> KernelWork {
    let mut all = KernelWork::default();
    for one in kernels.iter().filter(|work| work.kernel == stem) {
        all.dispatches += one.dispatches;
        all.workgroups += one.workgroups;
        all.bytes += one.bytes;
        all.flops += one.flops;
    }
    all
}

const B: u64 = 256;
const N: u64 = 16_384;
const D: u64 = 64;

/// 256 queries by 16,384 patterns of 64, each query in the registers of one invocation: patterns are loaded once for
/// all queries of a workgroup, queries once a split, and no score leaves the registers.
#[test]
fn many_queries_are_held() {
    for (name, device) in harness::gpus() {
        // Whole dispatches are counted here.
        device.set_max_dispatch_time(Duration::from_secs(60));
        let memory = memory(device, N as usize, D as usize, Rule::softmax(1.0), Precision::F32);
        let told = memory.explain(B as usize, &RetrieveOptions::default()).unwrap();
        assert!(told.strategy.starts_with("fused_register"), "{name}: {told}");
        let hold = work(&told.kernels, "fused_register");
        assert_eq!(hold.flops, 4 * B * N * D, "{name}: both products");
        let splits = N.div_ceil(told.rows_per_split as u64);
        let groups = hold.workgroups / splits;
        // A workgroup of 64 has 1, 2 or 4 queries each.
        assert!([4, 2, 1].contains(&groups) && hold.workgroups.is_multiple_of(splits), "{name}: {told}");
        let bytes = groups * N * 4 * D + splits * B * (4 * D + 8 + 4 * D);
        assert_eq!(hold.bytes, bytes, "{name}: rows for each group, and for each split the queries and their sums");
        assert!(told.workspace_bytes <= 64 << 20, "{name}: {told}");
    }
}

/// The same by cooperative matrices, where an adapter has them: each product twice, for two halves of a query and of a
/// weight; patterns are loaded as halves once for all queries of a workgroup.
#[test]
fn many_queries_go_through_cooperative_matrices() {
    for (name, device) in harness::gpus() {
        // Whole dispatches are counted here.
        device.set_max_dispatch_time(Duration::from_secs(60));
        let memory = memory(device, N as usize, D as usize, Rule::softmax(1.0), Precision::F16);
        let overrides = Overrides { strategy: Some(Strategy::FusedMatrix), ..Overrides::default() };
        let options = forced(RetrieveOptions::default(), overrides, Faults::NONE);
        let told = memory.explain(B as usize, &options).unwrap();
        if !told.strategy.starts_with("fused_matrix") {
            println!("SKIP {name}: no cooperative matrices of halves that add up in f32");
            continue;
        }
        let whole = work(&told.kernels, "fused_matrix");
        assert_eq!(whole.flops, 2 * 4 * B * N * D, "{name}: both products, twice");
        let splits = N.div_ceil(told.rows_per_split as u64);
        let groups = whole.workgroups / splits;
        // 4 subgroups of 8 or 16 queries each.
        assert!([B / 32, B / 64].contains(&groups) && whole.workgroups.is_multiple_of(splits), "{name}: {told}");
        let bytes = groups * N * 2 * D + splits * B * (4 * D + 8 + 4 * D);
        assert_eq!(whole.bytes, bytes, "{name}: rows for each group, and for each split the queries and their sums");
        let rounded = memory.explain(B as usize, &options.round_to_half()).unwrap();
        assert_eq!(work(&rounded.kernels, "fused_matrix").flops, 4 * B * N * D, "{name}: both products, once");
        assert!(told.workspace_bytes <= 64 << 20, "{name}: {told}");
    }
}

/// The same where no query is held: products in tiles of 64 queries and 128 patterns, each operand loaded once a tile.
#[test]
fn many_queries_go_tile_by_tile() {
    for (name, device) in harness::gpus() {
        // Whole dispatches are counted here.
        device.set_max_dispatch_time(Duration::from_secs(60));
        for (precision, row) in [(Precision::F32, 4 * D), (Precision::F16, 2 * D)] {
            let memory = memory(device, N as usize, D as usize, Rule::softmax(1.0), precision);
            let overrides = Overrides { strategy: Some(Strategy::Staged), ..Overrides::default() };
            let options = forced(RetrieveOptions::default(), overrides, Faults::NONE);
            let told = memory.explain(B as usize, &options).unwrap();
            assert!(told.strategy.starts_with("staged"), "{name}: {told}");
            let (chunk, splits) = (told.chunk as u64, told.splits as u64);
            let chunks = N.div_ceil(chunk);

            let similarity = work(&told.kernels, "similarity");
            assert!(similarity.dispatches >= chunks, "{name}: {told}");
            assert_eq!(similarity.flops, 2 * B * N * D, "{name}: a multiply-add for each element of each pair");
            let (key_tiles, query_tiles) = (N / 128, B / 64);
            assert_eq!(similarity.workgroups, key_tiles * query_tiles, "{name}");
            let bytes = query_tiles * N * row + key_tiles * B * 4 * D + 4 * B * N;
            assert_eq!(
                similarity.bytes, bytes,
                "{name}: keys for each tile of queries, queries for each of keys, scores"
            );

            let projection = work(&told.kernels, "projection");
            assert_eq!(projection.flops, 2 * B * N * D, "{name}");
            // All 16 column vectors are one workgroup's.
            let rest = N - (chunks - 1) * chunk;
            let partials = (chunks - 1) * splits + rest.div_ceil(told.rows_per_split as u64);
            let bytes = 4 * B * N + query_tiles * N * row + partials * B * 4 * D;
            assert_eq!(projection.bytes, bytes, "{name}: weights, rows for each tile of queries, partial sums");

            assert_eq!(work(&told.kernels, "separation").bytes, 12 * B * N, "{name}: two reads, one write");
            assert!(told.flops() < 4 * B * N * D * 11 / 10, "{name}: little besides the two products: {told}");
            assert!(told.workspace_bytes <= 64 << 20 && told.windows == 1, "{name}: {told}");
            assert!(told.submissions <= 16, "{name}, a slow device: {told}");
        }
    }
}

/// One query streams: every pattern is read once.
#[test]
fn one_query_reads_each_pattern_once() {
    const N: u64 = 100_000;
    const D: u64 = 128;
    for (name, device) in harness::gpus() {
        for (precision, row, terms) in [(Precision::F32, 4 * D, 0), (Precision::I8, D, 16)] {
            let memory = memory(device, N as usize, D as usize, Rule::softmax(1.0), precision);
            let told = memory.explain(1, &RetrieveOptions::default()).unwrap();
            let stream = work(&told.kernels, "fused_stream");
            assert_eq!(stream.flops, 4 * N * D, "{name}");
            let partials = N.div_ceil(told.rows_per_split as u64);
            let bytes = N * (row + terms) + partials * (4 * D + 8 + 4 * D);
            assert_eq!(stream.bytes, bytes, "{name}: rows, and for each split the query and its sums");
            assert!(told.bytes() < N * (row + terms) * 105 / 100, "{name}: {told}");
        }
    }
}

#[test]
fn steps_reports_and_rules_are_counted() {
    for (name, device) in harness::devices() {
        let rule = Rule::new(Similarity::Cosine, Separation::Entmax { alpha: 1.5 }, 1.0);
        let memory = memory(device, 3000, 20, rule, Precision::F32);
        let one = memory.explain(50, &RetrieveOptions::steps(1)).unwrap();
        let ten = memory.explain(50, &RetrieveOptions::steps(10)).unwrap();
        let reports = memory.explain(50, &RetrieveOptions::steps(1).top(5).statistics()).unwrap();
        assert!(one.to_string().contains("50 queries against 3000 patterns"), "{name}: {one}");
        assert_eq!((one.batch, one.patterns), (50, 3000), "{name}");
        if device.is_cpu() {
            assert!(one.kernels.is_empty() && one.submissions == 0, "{one}");
            continue;
        }
        assert!(one.to_string().contains("merge_candidates") && one.dispatches() > 5, "{name}: {one}");
        assert!(ten.flops() > 8 * one.flops() && reports.flops() > one.flops(), "{name}: {ten}");
    }
}

/// Sparse rules record the search over all patterns that only lists which overflow need: two dispatches a pass, however
/// many patterns there are.
#[test]
fn a_search_is_two_dispatches_a_pass() {
    const BATCH: usize = 5;
    const PATTERNS: usize = 4200;
    let entmax = |alpha| Separation::Entmax { alpha };
    for (name, device) in harness::gpus() {
        // Whole dispatches are counted here.
        device.set_max_dispatch_time(Duration::from_secs(60));
        for (separation, passes) in [
            (Separation::Sparsemax, 10),
            (entmax(1.5), 10),
            // A pivot is searched for first.
            (entmax(3.0), 12 + 10),
            // The list of top-k never overflows, or is not made.
            (Separation::TopK { k: 64 }, 0),
        ] {
            let memory = memory(device, PATTERNS, 4, Rule::new(Similarity::Dot, separation, 1.0), Precision::F32);
            let told = memory.explain(BATCH, &RetrieveOptions::default()).unwrap();
            assert!(told.chunk >= PATTERNS, "{name}: all scores at once: {told}");
            let count = |stem| work(&told.kernels, stem).dispatches;
            let searched = u64::from(passes > 0);
            // For the list and for weights: one kernel reads each pattern once for few queries, but where weights are
            // steep their scores are the bits that the passes tried.
            let steep = passes > 10;
            let (streamed, tiled) = if steep { (0, 1 + searched) } else { (1 + searched, 0) };
            assert_eq!(count("stream_similarity"), streamed, "{name}: {told}");
            assert_eq!(count("similarity"), passes + tiled, "{name}: by pass: {told}");
            assert_eq!(count("bracket_threshold"), searched + passes, "{name}: {told}");
            // prepare, compact for all and for those that go on; a list; threshold, compact, gather, finish; two
            // exports; and after the search, scores, weigh, projection, merge and finish.
            let rest = 3 + 3 + 4 + 2 + 5 * searched;
            assert_eq!(told.dispatches(), rest + searched + 2 * passes, "{name}: {told}");
        }
    }
}

#[test]
fn what_cannot_be_retrieved_is_not_explained() {
    for (name, device) in harness::devices() {
        let stored = memory(device, 3, 2, Rule::softmax(1.0), Precision::F32);
        let error = stored.explain(0, &RetrieveOptions::default()).unwrap_err();
        assert!(error.to_string().contains("batch"), "{name}: {error}");
        assert!(stored.explain(1, &RetrieveOptions::steps(0)).is_err(), "{name}");
        let empty = Memory::new(device, 2, Rule::softmax(1.0)).unwrap();
        assert!(matches!(empty.explain(1, &RetrieveOptions::default()), Err(Error::Empty { .. })), "{name}");
        let cosine = Rule::new(Similarity::Cosine, Separation::Softmax, 1.0);
        let stored = memory(device, 3, 2, cosine, Precision::F32);
        let error = stored.explain(1, &RetrieveOptions::default().energy()).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{name}: {error}");
    }
}

/// A search scores and ranks, and neither weighs nor sums; longer batches and more patterns are more of the same.
#[test]
fn searches_are_counted() {
    for (name, device) in harness::devices() {
        let rule = Rule::new(Similarity::Cosine, Separation::Entmax { alpha: 1.5 }, 3.0);
        let stored = memory(device, 4096, 32, rule, Precision::F32);
        let told = stored.explain_search(64, 10).unwrap();
        assert_eq!((told.batch, told.patterns), (64, 4096), "{name}");
        let named: Vec<&str> = told.kernels.iter().map(|kernel| kernel.kernel).collect();
        assert_eq!(named.contains(&"rank_hits"), !device.is_cpu(), "{name}: {told}");
        for absent in ["projection", "update_states", "merge", "gather_support", "weights"] {
            assert!(!named.contains(&absent), "{name}: {told}");
        }
        if !device.is_cpu() {
            let scored = work(&told.kernels, "similarity").flops + work(&told.kernels, "stream_similarity").flops;
            assert!(scored >= 2 * 64 * 4096 * 32, "{name}: {told}");
            let counted = SearchOptions::from(10).at_least(0.5);
            assert!(stored.explain_search(64, counted).unwrap().dispatches() > told.dispatches(), "{name}");
        }
        let error = stored.explain_search(0, 10).unwrap_err().to_string();
        assert!(error.starts_with("Memory::explain_search: batch must be at least 1"), "{name}: {error}");
        assert!(stored.explain_search(1, 0).is_err(), "{name}");
        let empty = Memory::new(device, 2, Rule::softmax(1.0)).unwrap();
        assert!(matches!(empty.explain_search(1, 1), Err(Error::Empty { .. })), "{name}");
        // No search is run for it, however long the batch.
        assert_eq!(stored.explain_search(1 << 40, 10).unwrap().batch, 1 << 40, "{name}");
    }
}
