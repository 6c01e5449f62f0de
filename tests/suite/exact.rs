//! The store of 8-bit rows with bounds: its answers are those of `f32` rows, whatever the patterns.

use attractor::{
    Device, Mask, Memory, MemoryOptions, PatternId, Precision, Retrieval, RetrieveOptions, Rule, Separation, Similarity,
};
use harness::Rng;

pub const SIMILARITIES: [Similarity; 4] =
    [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean, Similarity::Manhattan];

/// Memories of the same patterns in `f32` and with bounds.
pub fn both(
    device: &Device,
    rule: Rule,
    dim: usize,
    keys: &[f32],
    bias: Option<&[f32]>,
    window_bytes: Option<u64>,
) -> [Memory; 2] {
    [Precision::F32, Precision::I8Exact].map(|precision| {
        let mut options = MemoryOptions::new(dim, rule).precision(precision);
        if bias.is_some() {
            options = options.bias();
        }
        if let Some(bytes) = window_bytes {
            options = options.window_bytes(bytes);
        }
        let mut memory = options.build(device).unwrap();
        memory.add(harness::patterns(keys, None, bias)).unwrap();
        memory
    })
}

/// Asserts that two answers are bit-identical.
fn same(what: &str, expected: &Retrieval, got: &Retrieval) {
    let bits = |rows: &[f32]| rows.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&expected.state), bits(&got.state), "{what}");
    assert_eq!(bits(&expected.output), bits(&got.output), "{what}");
    if let (Some(expected), Some(got)) = (&expected.top, &got.top) {
        assert_eq!(expected.ids, got.ids, "{what}");
        assert_eq!(bits(&expected.weight), bits(&got.weight), "{what}");
    }
    assert_eq!(expected.statistics, got.statistics, "{what}");
}

fn ask(memories: &[Memory; 2], what: &str, queries: &[f32], options: &RetrieveOptions) {
    let [expected, got] = memories.each_ref().map(|memory| memory.retrieve_blocking(queries, options).unwrap());
    same(what, &expected, &got);
}

/// Separations of all kinds that lists answer, and softmax.
pub fn separations() -> [Separation; 7] {
    [
        Separation::TopK { k: 1 },
        Separation::TopK { k: 10 },
        Separation::Sparsemax,
        Separation::Entmax { alpha: 1.5 },
        Separation::Entmax { alpha: 1.2 },
        Separation::Entmax { alpha: 40.0 },
        Separation::Softmax,
    ]
}

#[test]
fn random_memories_answer_as_f32_rows_do() {
    if !harness::runs_on("cpu") {
        return;
    }
    for seed in 0..200 {
        let mut rng = Rng(seed + 1);
        let mut pick = |count: usize| rng.below(count);
        let (patterns, dim) = ([1, 5, 130, 1100, 5000][pick(5)], [1, 2, 15, 16, 17, 64, 100, 384][pick(8)]);
        let (similarity, separation) = (SIMILARITIES[pick(4)], separations()[pick(7)]);
        let beta = [0.3, 8.0, 60.0, -2.0][pick(4)];
        let (batch, with_bias) = ([1, 2, 5, 8, 9, 33][pick(6)], pick(3) == 0);
        let sparse = matches!(separation, Separation::Sparsemax | Separation::Entmax { .. });
        let rule = Rule::new(similarity, separation, if sparse { f32::abs(beta) } else { beta });
        let mut numbers = Rng(1000 + seed);
        let (keys, bias) = (numbers.vector(patterns * dim), numbers.vector(patterns));
        let window = [None, Some(dim.next_multiple_of(4) as u64 * 4 * 300)][pick(2)];
        let memories = both(&Device::cpu(), rule, dim, &keys, with_bias.then_some(&bias[..]), window);
        // Near stored patterns and elsewhere.
        let mut queries = numbers.vector(batch * dim);
        for (query, key) in queries.chunks_exact_mut(dim).zip(keys.chunks_exact(dim)).step_by(2) {
            query.iter_mut().zip(key).for_each(|(x, k)| *x = 0.2 * *x + k);
        }
        let what = format!("seed {seed}: {similarity} {separation:?} {beta} N {patterns} d {dim} B {batch}");
        ask(&memories, &what, &queries, &RetrieveOptions::default());
        ask(&memories, &what, &queries, &RetrieveOptions::steps(3).top(7.min(patterns)).statistics());
        let keep: Vec<bool> = (0..patterns).map(|_| numbers.unit() > 0.7).collect();
        ask(&memories, &what, &queries, &RetrieveOptions::default().mask(Mask::keep(&keep)).top(3));
    }
}

/// Exact search by plain loops in `f64`.
fn nearest(similarity: Similarity, keys: &[f32], dim: usize, query: &[f32], k: usize) -> Vec<usize> {
    let norm = |row: &[f32]| row.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt().max(1e-12);
    let mut scores: Vec<(f64, usize)> = keys
        .chunks_exact(dim)
        .map(|key| {
            let pairs = || key.iter().zip(query).map(|(k, x)| (f64::from(*k), f64::from(*x)));
            match similarity {
                Similarity::Dot => pairs().map(|(k, x)| k * x).sum(),
                Similarity::Cosine => pairs().map(|(k, x)| k * x).sum::<f64>() / norm(key) / norm(query),
                Similarity::Euclidean => -0.5 * pairs().map(|(k, x)| (k - x).powi(2)).sum::<f64>(),
                _ => -pairs().map(|(k, x)| (k - x).abs()).sum::<f64>(),
            }
        })
        .enumerate()
        .map(|(index, score)| (score, index))
        .collect();
    scores.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    scores.truncate(k);
    scores.into_iter().map(|(_, index)| index).collect()
}

/// Norms from 1e-3 to 1e3 in one memory, rows that differ by less than their error in 8 bits, zeros and subnormal rows.
pub fn adversarial(dim: usize, patterns: usize) -> Vec<f32> {
    let mut rng = Rng(dim as u64);
    let center = rng.vector(dim);
    let mut keys = Vec::with_capacity(patterns * dim);
    for i in 0..patterns {
        let noise = rng.vector(dim);
        let size = 10f32.powf(6.0 * (i as f32 / patterns as f32) - 3.0);
        keys.extend((0..dim).map(|c| match i % 6 {
            0 => size * noise[c],
            1 => size * (center[c] + 1e-3 * noise[c]),
            2 => center[c] + 1e-4 * noise[c],
            3 if i % 4 == 3 => 0.0,
            3 => 1e-41 * noise[c],
            4 => size * if c == i % dim { 1.0 } else { 1e-3 * noise[c] },
            _ => center[c],
        }));
    }
    keys
}

#[test]
fn top_k_of_difficult_rows_is_exact() {
    if !harness::runs_on("cpu") {
        return;
    }
    for (dim, patterns) in [(1, 2500), (3, 4000), (20, 4000), (384, 3000), (1001, 1200)] {
        let keys = adversarial(dim, patterns);
        let mut queries = Rng(7).vector(4 * dim);
        queries.extend(&keys[..3 * dim]);
        queries.extend(vec![0.0; dim]);
        for similarity in SIMILARITIES {
            for k in [1, 10, 100] {
                let memories =
                    both(&Device::cpu(), Rule::new(similarity, Separation::TopK { k }, 1.0), dim, &keys, None, None);
                for (q, query) in queries.chunks_exact(dim).enumerate() {
                    let what = format!("{similarity} d {dim} k {k} query {q}");
                    let options = RetrieveOptions::default().top(k);
                    ask(&memories, &what, query, &options);
                    // Sums in another order may exchange scores that are equal but for their rounding.
                    if q < 4 && dim > 1 {
                        let got = memories[1].retrieve_blocking(query, &options).unwrap().top.unwrap();
                        let expected = nearest(similarity, &keys, dim, query, k);
                        let equal =
                            |id: &Option<PatternId>| keys.chunks_exact(dim).nth(id.unwrap().0 as usize).unwrap();
                        for (id, expected) in got.ids.iter().zip(expected) {
                            let expected = Some(PatternId(expected as u64));
                            assert!(*id == expected || equal(id) == equal(&expected) || k == 100, "{what}");
                        }
                    }
                }
                ask(&memories, &format!("{similarity} d {dim} k {k}"), &queries, &RetrieveOptions::steps(2).top(k));
            }
        }
    }
}

#[test]
fn sparse_rules_of_difficult_rows_are_those_of_f32() {
    if !harness::runs_on("cpu") {
        return;
    }
    for (dim, patterns) in [(1, 2500), (20, 4000), (384, 3000)] {
        let keys = adversarial(dim, patterns);
        let queries = Rng(9).vector(5 * dim);
        for similarity in SIMILARITIES {
            for separation in separations() {
                for beta in [1e-3, 1.0, 300.0] {
                    let memories =
                        both(&Device::cpu(), Rule::new(similarity, separation, beta), dim, &keys, None, None);
                    let [expected, got] = memories
                        .each_ref()
                        .map(|memory| memory.retrieve_blocking(&queries, &RetrieveOptions::default().top(5)).unwrap());
                    let what = format!("{similarity} {separation:?} beta {beta} d {dim}");
                    let largest = expected.output.iter().fold(1.0f32, |most, x| most.max(x.abs()));
                    for (got, expected) in got.output.iter().zip(&expected.output) {
                        assert!((got - expected).abs() <= 2e-6 * largest, "{what}: {got} for {expected}");
                    }
                    assert_eq!(expected.top.unwrap().ids, got.top.unwrap().ids, "{what}");
                }
            }
        }
    }
}

/// Equal scores at the k-th place and all patterns inside: lists overflow, and ties keep the smaller id.
#[test]
fn ties_and_lists_that_overflow_are_exact() {
    if !harness::runs_on("cpu") {
        return;
    }
    let (dim, patterns) = (24, 30_000);
    let row = Rng(3).vector(dim);
    let mut keys: Vec<f32> = row.iter().copied().cycle().take(patterns * dim).collect();
    for similarity in SIMILARITIES {
        for separation in separations() {
            let memories = both(&Device::cpu(), Rule::new(similarity, separation, 4.0), dim, &keys, None, None);
            ask(&memories, &format!("{similarity} {separation:?}"), &row, &RetrieveOptions::default().top(6));
        }
    }
    // Nine better patterns anywhere, and ties from the tenth on.
    for i in 0..9 {
        let key = &mut keys[(i * 3331 + 17) * dim..][..dim];
        key.iter_mut().zip(&row).for_each(|(k, x)| *k = (1.0 + 0.001 * (i + 1) as f32) * x);
    }
    let rule = Rule::new(Similarity::Dot, Separation::TopK { k: 12 }, 1.0);
    let memories = both(&Device::cpu(), rule, dim, &keys, None, None);
    let got = memories[1].retrieve_blocking(&row, &RetrieveOptions::default().top(12)).unwrap().top.unwrap();
    let expected: Vec<u64> = (0..9).rev().map(|i| i * 3331 + 17).chain([0, 1, 2]).collect();
    assert_eq!(got.ids.iter().map(|id| id.unwrap().0).collect::<Vec<_>>(), expected);
    ask(&memories, "ties", &row, &RetrieveOptions::default().top(12));
}

/// The largest sums of products, which must not leave 32 bits.
#[test]
fn wide_rows_of_the_largest_magnitudes_are_exact() {
    if !harness::runs_on("cpu") {
        return;
    }
    for dim in [512, 520, 100_000] {
        let mut keys = vec![3e4f32; 4 * dim];
        keys[dim..2 * dim].iter_mut().for_each(|k| *k = -*k);
        keys[2 * dim..3 * dim].iter_mut().step_by(2).for_each(|k| *k = -*k);
        keys[3 * dim] = 2.9e4;
        for similarity in SIMILARITIES {
            let memories =
                both(&Device::cpu(), Rule::new(similarity, Separation::TopK { k: 2 }, 1e-9), dim, &keys, None, None);
            for sign in [1.0, -1.0] {
                let query = vec![sign * 2e4; dim];
                ask(&memories, &format!("{similarity} d {dim}"), &query, &RetrieveOptions::default().top(2));
            }
        }
    }
}

#[test]
fn rows_that_change_keep_their_bounds() {
    if !harness::runs_on("cpu") {
        return;
    }
    let dim = 19;
    let rule = Rule::new(Similarity::Euclidean, Separation::TopK { k: 4 }, 2.0);
    let mut memories = both(&Device::cpu(), rule, dim, &Rng(1).vector(700 * dim), None, Some(20 * 4 * 100));
    let mut rng = Rng(5);
    for round in 0..40 {
        let (row, more) = (rng.vector(dim), rng.vector(3 * dim));
        let id = PatternId(round * 17);
        for memory in &mut memories {
            memory.update(id, &row[..]).unwrap();
            memory.remove(PatternId(round * 17 + 1)).unwrap();
            memory.add(&more[..]).unwrap();
        }
        let pattern = memories[1].get(id).unwrap();
        assert_eq!(pattern.key, row, "rows come back as they were given");
        ask(&memories, &format!("round {round}"), &row, &RetrieveOptions::default().top(4));
        let got = memories[1].retrieve_blocking(&row, &RetrieveOptions::default().top(1)).unwrap().top.unwrap();
        assert_eq!(got.ids, [Some(id)]);
    }
    for memory in &mut memories {
        memory.clear();
        memory.add(&rng.clone().vector(50 * dim)[..]).unwrap();
    }
    ask(&memories, "after clear", &rng.vector(dim), &RetrieveOptions::default().top(4));
}

/// Real embeddings, where the machine has them.
#[test]
fn every_query_of_the_packages_finds_what_exact_search_finds() {
    if !harness::runs_on("cpu") {
        return;
    }
    let Some(folder) = std::env::var_os("ATTRACTOR_PACKAGES") else {
        println!("SKIP: ATTRACTOR_PACKAGES names no folder of embeddings");
        return;
    };
    let file = std::path::Path::new(&folder).join("packages-minilm384.safetensors");
    let bytes = std::fs::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let rows = |name: &str| -> Vec<f32> {
        let halves = tensors.tensor(name).unwrap().data().as_chunks::<2>().0.to_vec();
        halves.into_iter().map(|half| half::f16::from_le_bytes(half).to_f32()).collect()
    };
    let (keys, queries) = (rows("keys"), rows("queries"));
    let dim = 384;
    assert_eq!(queries.len(), 1000 * dim);
    let rule = Rule::new(Similarity::Cosine, Separation::TopK { k: 10 }, 20.0);
    let memories = both(&Device::cpu(), rule, dim, &keys, None, None);
    for (q, query) in queries.chunks_exact(dim).enumerate() {
        let options = RetrieveOptions::default().top(10);
        ask(&memories, &format!("query {q}"), query, &options);
        if q % 10 == 0 {
            let got = memories[1].retrieve_blocking(query, &options).unwrap().top.unwrap();
            let got: Vec<usize> = got.ids.iter().map(|id| id.unwrap().0 as usize).collect();
            assert_eq!(got, nearest(Similarity::Cosine, &keys, dim, query, 10), "query {q}");
        }
    }
    for separation in [Separation::Sparsemax, Separation::Entmax { alpha: 1.5 }] {
        for beta in [40.0, 20.0, 10.0, 5.0] {
            let memories =
                both(&Device::cpu(), Rule::new(Similarity::Cosine, separation, beta), dim, &keys, None, None);
            for query in queries.chunks_exact(dim).step_by(20) {
                ask(&memories, &format!("{separation:?} beta {beta}"), query, &RetrieveOptions::default());
            }
        }
    }
}
