//! The store of 8-bit rows with bounds on GPUs: few queries of what lists hold answer from 8 bits as from `f32` rows.

use attractor::device::DeviceOptions;
use attractor::internals::{Faults, Overrides, Strategy, forced, forced_search};
use attractor::record::{Rows, SearchTargets};
use attractor::retrieval::WeightsOf;
use attractor::{Device, Hits, Mask, Memory, PatternId, Retrieval, RetrieveOptions, Rule, SearchOptions, Separation};
use attractor::{Similarity, wgpu};
use harness::Rng;
use harness::index_check::Seen;
use wgpu::util::DeviceExt;

use crate::exact::{SIMILARITIES, adversarial, both, separations};
use crate::record::read;

/// The kernel that reads 8-bit rows.
const BOUNDS: &str = "stream_bounds";

/// What has bounds list candidates in memories of any size, where they serve.
fn always() -> Overrides {
    Overrides { bounds: Some(true), ..Overrides::default() }
}

/// Whether `options` would answer from 8-bit rows.
fn is_bounded(memory: &Memory, batch: usize, options: &RetrieveOptions) -> bool {
    memory
        .explain(batch, &forced(options.clone(), always(), Faults::NONE))
        .unwrap()
        .kernels
        .iter()
        .any(|work| work.kernel == BOUNDS)
}

/// How far two answers are apart, over the largest coordinate; infinite where other patterns are reported.
fn apart(expected: &Retrieval, got: &Retrieval) -> f32 {
    if let (Some(expected), Some(got)) = (&expected.top, &got.top) {
        let weights = expected.weight.iter().zip(&got.weight).map(|(expected, got)| (expected - got).abs());
        if expected.ids != got.ids || weights.fold(0.0, f32::max) > 2e-6 {
            return f32::INFINITY;
        }
    }
    if expected.status != got.status {
        return f32::INFINITY;
    }
    let rows = || expected.output.iter().zip(&got.output);
    let largest = expected.output.iter().fold(1e-30f32, |most, x| most.max(x.abs()));
    rows().fold(0.0, |most, (expected, got)| f32::max(most, (expected - got).abs())) / largest
}

/// Asserts that both memories answer alike.
fn ask(memories: &[Memory; 2], what: &str, queries: &[f32], options: &RetrieveOptions) {
    let options = &forced(options.clone(), always(), Faults::NONE);
    let [expected, got] = memories.each_ref().map(|memory| memory.retrieve_blocking(queries, options).unwrap());
    let off = apart(&expected, &got);
    assert!(off <= 2e-6, "{what}: off by {off}");
}

/// Asserts that both memories find the same patterns, in the same order, with the same similarities.
fn search(memories: &[Memory; 2], what: &str, queries: &[f32], options: impl Into<SearchOptions>) -> Hits {
    let options = forced_search(options.into(), always(), Faults::NONE);
    let [expected, got] = memories.each_ref().map(|memory| memory.search_blocking(queries, &options).unwrap());
    assert_eq!(expected.ids, got.ids, "{what}");
    let bits = |hits: &Hits| hits.similarity.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(&expected), bits(&got), "{what}");
    assert_eq!(expected, got, "{what}");
    got
}

#[test]
fn random_memories_answer_as_f32_rows_do() {
    for (name, device) in harness::gpus() {
        let count = if ["llvmpipe", "swiftshader"].contains(&name.as_str()) { 12 } else { 200 };
        let mut bounded = 0;
        for seed in 0..count {
            let mut rng = Rng(seed + 1);
            let mut pick = |count: usize| rng.below(count);
            let (patterns, dim) = ([1, 5, 130, 1100, 4500][pick(5)], [1, 2, 15, 16, 17, 64, 100, 384][pick(8)]);
            let (similarity, separation) = (SIMILARITIES[pick(4)], separations()[pick(7)]);
            let beta = [0.3, 8.0, 60.0, -2.0][pick(4)];
            let (batch, with_bias) = ([1, 2, 5, 16, 33][pick(5)], pick(3) == 0);
            let sparse = matches!(separation, Separation::Sparsemax | Separation::Entmax { .. });
            let rule = Rule::new(similarity, separation, if sparse { f32::abs(beta) } else { beta });
            let mut numbers = Rng(1000 + seed);
            let (keys, bias) = (numbers.vector(patterns * dim), numbers.vector(patterns));
            let window = [None, Some(dim.next_multiple_of(4) as u64 * 4 * 300)][pick(2)];
            let mut memories = both(device, rule, dim, &keys, with_bias.then_some(&bias[..]), window);
            // Near stored patterns and elsewhere.
            let mut queries = numbers.vector(batch * dim);
            for (query, key) in queries.chunks_exact_mut(dim).zip(keys.chunks_exact(dim)).step_by(2) {
                query.iter_mut().zip(key).for_each(|(x, k)| *x = 0.2 * *x + k);
            }
            let what =
                format!("{name} {seed}: {similarity} {separation:?} {beta} N {patterns} d {dim} B {batch} {window:?}");
            bounded += u32::from(is_bounded(&memories[1], batch, &RetrieveOptions::default()));
            ask(&memories, &what, &queries, &RetrieveOptions::default());
            ask(&memories, &what, &queries, &RetrieveOptions::default().top(7.min(patterns)));
            search(&memories, &what, &queries, 10.min(patterns));
            let keep: Vec<bool> = (0..batch * patterns).map(|_| numbers.unit() > 0.7).collect();
            ask(&memories, &what, &queries, &RetrieveOptions::default().mask(Mask::keep_per_query(&keep)).top(3));
            for memory in &mut memories {
                (0..patterns as u64).step_by(3).for_each(|id| memory.remove(PatternId(id)).unwrap());
            }
            if patterns > 1 {
                ask(&memories, &what, &queries, &RetrieveOptions::default().top(2));
                search(&memories, &what, &queries, 5);
            }
        }
        assert!(bounded > count as u32 / 3, "{name}: {bounded} of {count} by bounds");
    }
}

#[test]
fn searches_among_difficult_rows_find_what_f32_rows_do() {
    for (name, device) in harness::thorough_devices().filter(|(_, device)| !device.is_cpu()) {
        for (dim, patterns) in [(1, 2500), (3, 4000), (20, 9000), (384, 3000)] {
            let keys = adversarial(dim, patterns);
            let mut queries = Rng(7).vector(4 * dim);
            queries.extend(&keys[..3 * dim]);
            queries.extend(vec![0.0; dim]);
            for similarity in SIMILARITIES {
                let rule = Rule::new(similarity, Separation::Softmax, 1.0);
                let memories = both(device, rule, dim, &keys, None, Some(dim.next_multiple_of(4) as u64 * 4 * 3500));
                for k in [1, 10, 100, 500] {
                    let what = format!("{name} {similarity} d {dim} k {k}");
                    search(&memories, &what, &queries, k);
                    for query in queries.chunks_exact(dim) {
                        search(&memories, &what, query, k);
                    }
                }
            }
        }
    }
}

#[test]
fn sparse_rules_of_difficult_rows_are_those_of_f32() {
    for (name, device) in harness::thorough_devices().filter(|(_, device)| !device.is_cpu()) {
        for (dim, patterns) in [(1, 2500), (20, 9000), (384, 1500)] {
            let keys = adversarial(dim, patterns);
            let queries = Rng(9).vector(5 * dim);
            for similarity in SIMILARITIES {
                for separation in separations() {
                    for beta in [1e-3, 30.0] {
                        let memories = both(device, Rule::new(similarity, separation, beta), dim, &keys, None, None);
                        let what = format!("{name} {similarity} {separation:?} beta {beta} d {dim}");
                        ask(&memories, &what, &queries, &RetrieveOptions::default().top(5));
                    }
                }
            }
        }
    }
}

/// Equal scores at the k-th place and all patterns inside: lists overflow, and ties keep the smaller id.
#[test]
fn ties_and_lists_that_overflow_are_exact() {
    for (name, device) in harness::quick_devices().filter(|(_, device)| !device.is_cpu()) {
        let (dim, patterns) = (24, 9_000);
        let row = Rng(3).vector(dim);
        let mut keys: Vec<f32> = row.iter().copied().cycle().take(patterns * dim).collect();
        let other = Rng(4).vector(dim);
        // One query whose list overflows beside one of which it does not.
        let queries = [&row[..], &other[..]].concat();
        for similarity in SIMILARITIES {
            for separation in separations() {
                let memories = both(device, Rule::new(similarity, separation, 4.0), dim, &keys, None, None);
                let what = format!("{name} {similarity} {separation:?}");
                ask(&memories, &what, &queries, &RetrieveOptions::default().top(6));
                let hits = search(&memories, &what, &queries, 6);
                let first: Vec<_> = (0..6).map(|id| Some(PatternId(id))).collect();
                assert_eq!(hits.ids[..6], first, "{what}");
            }
        }
        // Nine better patterns anywhere, and ties from the tenth on.
        for i in 0..9 {
            let key = &mut keys[(i * 997 + 17) * dim..][..dim];
            key.iter_mut().zip(&row).for_each(|(k, x)| *k = (1.0 + 0.001 * (i + 1) as f32) * x);
        }
        // A few of the many ties elsewhere, so that the list of one query does not overflow.
        for (i, key) in keys.chunks_exact_mut(dim).enumerate().filter(|(i, _)| i % 997 != 17 && i % 50 != 0) {
            key.fill(0.01 * (i as f32 % 7.0));
        }
        let rule = Rule::new(Similarity::Dot, Separation::TopK { k: 12 }, 1.0);
        let memories = both(device, rule, dim, &keys, None, None);
        let hits = search(&memories, name, &row, 12);
        let expected: Vec<u64> = (0..9).rev().map(|i| i * 997 + 17).chain([0, 50, 100]).collect();
        assert_eq!(hits.ids.iter().map(|id| id.unwrap().0).collect::<Vec<_>>(), expected, "{name}");
        ask(&memories, name, &queries, &RetrieveOptions::default().top(12));
    }
}

#[test]
fn rows_that_change_keep_their_bounds() {
    for (name, device) in harness::quick_devices().filter(|(_, device)| !device.is_cpu()) {
        let dim = 19;
        let rule = Rule::new(Similarity::Euclidean, Separation::TopK { k: 4 }, 2.0);
        let mut memories = both(device, rule, dim, &Rng(1).vector(700 * dim), None, Some(20 * 4 * 100));
        let mut rng = Rng(5);
        for round in 0..10 {
            let (row, more) = (rng.vector(dim), rng.vector(30 * dim));
            let id = PatternId(round * 37);
            for memory in &mut memories {
                memory.update(id, &row[..]).unwrap();
                memory.remove(PatternId(round * 37 + 1)).unwrap();
                memory.add(&more[..]).unwrap();
            }
            let pattern = memories[1].get(id).unwrap();
            assert_eq!(pattern.key, row, "rows come back as they were given");
            let what = format!("{name} round {round}");
            ask(&memories, &what, &row, &RetrieveOptions::default().top(4));
            assert_eq!(search(&memories, &what, &row, 3).ids[0], Some(id), "{what}");
        }
        for memory in &mut memories {
            memory.clear();
            memory.add(&rng.clone().vector(50 * dim)[..]).unwrap();
        }
        ask(&memories, name, &rng.vector(dim), &RetrieveOptions::default().top(4));
        search(&memories, name, &rng.vector(dim), 50);
    }
}

/// States that a step leaves are asked of the 8-bit rows, too, and queries that stopped are not.
#[test]
fn several_steps_are_those_of_f32() {
    for (name, device) in harness::quick_devices().filter(|(_, device)| !device.is_cpu()) {
        for similarity in SIMILARITIES {
            for separation in [Separation::Sparsemax, Separation::Entmax { alpha: 1.5 }] {
                let keys = Rng(11).vector(1500 * 40);
                let memories = both(device, Rule::new(similarity, separation, 6.0), 40, &keys, None, None);
                let queries: Vec<f32> = keys[..6 * 40].iter().zip(Rng(12).vector(240)).map(|(k, n)| k + n).collect();
                let what = format!("{name} {similarity} {separation:?}");
                ask(&memories, &what, &queries, &RetrieveOptions::steps(3).top(4));
                ask(&memories, &what, &queries, &RetrieveOptions::converge(6, 1e-3).top(4));
            }
        }
    }
}

/// What is answered from 8-bit rows, and what from those in `f32`.
#[test]
fn explanations_tell_which_rows_are_read() {
    for (name, device) in harness::gpus() {
        let keys = Rng(2).vector(900 * 8);
        for (similarity, separation, batch, options, bounded) in [
            (Similarity::Cosine, Separation::TopK { k: 10 }, 1, RetrieveOptions::default(), true),
            (Similarity::Dot, Separation::Sparsemax, 4, RetrieveOptions::default().top(20), true),
            (Similarity::Euclidean, Separation::Entmax { alpha: 1.5 }, 16, RetrieveOptions::steps(2), true),
            (Similarity::Manhattan, Separation::TopK { k: 10 }, 1, RetrieveOptions::default(), false),
            (Similarity::Dot, Separation::Softmax, 1, RetrieveOptions::default().top(3), false),
            (Similarity::Dot, Separation::TopK { k: 1000 }, 1, RetrieveOptions::default(), false),
            (Similarity::Dot, Separation::TopK { k: 600 }, 1, RetrieveOptions::default(), false),
            (Similarity::Dot, Separation::Entmax { alpha: 3.0 }, 1, RetrieveOptions::default(), false),
            (Similarity::Dot, Separation::Sparsemax, 1, RetrieveOptions::default().statistics(), false),
            (Similarity::Dot, Separation::Sparsemax, 1, RetrieveOptions::default().energy(), false),
            (Similarity::Dot, Separation::Sparsemax, 1, RetrieveOptions::default().weights(WeightsOf::All), false),
            (Similarity::Dot, Separation::Sparsemax, 100, RetrieveOptions::default(), false),
        ] {
            let memories = both(device, Rule::new(similarity, separation, 2.0), 8, &keys, None, None);
            let told = memories.each_ref().map(|memory| is_bounded(memory, batch, &options));
            assert_eq!(told, [false, bounded], "{name}: {similarity} {separation:?} of {batch}, {options:?}");
            ask(&memories, name, &Rng(3).vector(batch * 8), &options);
        }
        let rule = Rule::new(Similarity::Dot, Separation::Sparsemax, 2.0);
        let [_, memory] = both(device, rule, 8, &keys, None, None);
        let staged = Overrides { strategy: Some(Strategy::Staged), ..always() };
        let never = Overrides { bounds: Some(false), ..Overrides::default() };
        for overrides in [staged, never] {
            let told = memory.explain(1, &forced(RetrieveOptions::default(), overrides, Faults::NONE)).unwrap();
            assert!(told.kernels.iter().all(|work| work.kernel != BOUNDS), "{name}");
        }
        // Otherwise the tuning tells from which size on.
        for (least, bounded) in [(900 * 8, true), (900 * 8 + 1, false)] {
            let device = harness::reopened(device);
            let mut tuning = device.tuning().unwrap();
            assert!(tuning.set("bounds_min_coordinates", least));
            device.set_tuning(tuning);
            let [_, memory] = both(&device, rule, 8, &keys, None, None);
            let told = memory.explain(1, &RetrieveOptions::default()).unwrap();
            assert_eq!(told.kernels.iter().any(|work| work.kernel == BOUNDS), bounded, "{name} {least}");
        }
    }
}

/// A recorded search finds what one that is submitted finds.
#[test]
fn recorded_searches_are_bounded_too() {
    for (name, device) in harness::quick_devices().filter(|(_, device)| !device.is_cpu()) {
        let (dim, k) = (33, 7);
        let rule = Rule::new(Similarity::Cosine, Separation::Softmax, 1.0);
        let [_, memory] = both(device, rule, dim, &Rng(21).vector(3000 * dim), None, None);
        let queries = Rng(22).vector(3 * dim);
        let (gpu, queue) = device.wgpu().unwrap();
        let contents = bytemuck::cast_slice(&queries);
        let usage = wgpu::BufferUsages::STORAGE;
        let rows = gpu.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents, usage });
        let usage = usage | wgpu::BufferUsages::COPY_SRC;
        let descriptor = wgpu::BufferDescriptor { label: None, size: 1024, usage, mapped_at_creation: false };
        let positions = gpu.create_buffer(&descriptor);
        let options = forced_search(k.into(), always(), Faults::NONE);
        let mut encoder = gpu.create_command_encoder(&Default::default());
        memory
            .record_search(
                &mut encoder,
                &SearchTargets::new(3, Rows::new(&rows), Rows::new(&positions)),
                options.clone(),
            )
            .unwrap();
        let got = read(gpu, queue, encoder, &positions);
        let expected = memory.search_blocking(&queries, options).unwrap();
        let got: Vec<_> = got[..3 * k].iter().map(|position| Some(PatternId((*position).into()))).collect();
        assert_eq!(expected.ids, got, "{name}");
    }
}

/// Bounds that are too narrow, lists that keep too little and overflows that go unnoticed give other answers.
#[test]
fn damaged_bounds_are_caught() {
    for (name, like) in harness::quick_devices().filter(|(_, device)| !device.is_cpu()) {
        let dim = 24;
        // Scores that differ by less than the bounds are wide, of queries in one half of the coordinates; and as many
        // that are equal, of one in the other.
        let mut rng = Rng(3);
        let mut half = |first: usize| {
            let mut row = rng.vector(dim);
            row[first..first + dim / 2].fill(0.0);
            row
        };
        let (center, other) = (half(0), half(12));
        let mut noise = Rng(4);
        let mut near = |count: usize| -> Vec<f32> {
            let noise = noise.vector(count * dim);
            noise.iter().zip(center.iter().cycle()).map(|(noise, center)| center + 0.1 * noise).collect()
        };
        let mut keys = near(6000);
        keys.extend(other.iter().cycle().take(6000 * dim));
        let queries = [near(3), other].concat();
        let rule = Rule::new(Similarity::Dot, Separation::Sparsemax, 3.0);
        let answers = |device: &Device| {
            let [_, memory] = both(device, rule, dim, &keys, None, None);
            let found = memory.search_blocking(&queries, forced_search(20.into(), always(), Faults::NONE)).unwrap();
            let options = forced(RetrieveOptions::default().top(9), always(), Faults::NONE);
            (found, memory.retrieve_blocking(&queries, &options).unwrap())
        };
        let sound = answers(like);
        for (stem, from, to) in [
            (BOUNDS, "let off = (number.z + number.w) * term.x", "let off = 0.02 * number.z * term.x"),
            (BOUNDS, "vec2<f32>(product - off, product + off)", "vec2<f32>(product - off, product + 0.02 * off)"),
            (BOUNDS, "vec2<f32>(product - off, product + off)", "vec2<f32>(product + 0.9 * off, product + off)"),
            ("filter_candidates", "(key_of(z) >= floor)", "(key_of(z) >= floor + 0x40000u)"),
            ("settle_listed", "let lost = head.dropped != 0u", "let lost = head.dropped == 1u"),
            ("compare_listed", "similarity = bounded_score(params.beta * similarity + bias);", "similarity += 1.0;"),
        ] {
            let device = harness::reopened_with(like, DeviceOptions::default());
            let seen = Seen::watch(&device, move |of: &str, text: &str| {
                assert!(of != stem || text.contains(from), "{stem} has no {from}");
                if of == stem { text.replace(from, to) } else { text.to_owned() }
            });
            assert!(answers(&device) != sound, "{name}: {stem} with {to} changes no answer");
            drop(seen);
        }
    }
}
