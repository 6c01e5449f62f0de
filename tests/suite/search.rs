//! Searches: the nearest patterns of every similarity, thresholds and their counts, masks and removed patterns, against
//! similarities that are computed here; and what is refused.

use attractor::internals::{Faults, Overrides, compiled};
use attractor::record::{RecordTargets, Rows, SearchTargets, TopRows};
use attractor::reference::similarity;
use attractor::retrieval::{MAX_TOP, Status};
use attractor::{Device, Error, Hits, Mask, Memory, MemoryOptions, PatternId, Patterns, Precision};
use attractor::{RetrieveOptions, Rule, SearchOptions, Separation, Similarity, wgpu};
use harness::Rng;
use harness::host::{Host, hosts};
use wgpu::util::DeviceExt;

/// A memory and, as it stores them, its keys.
struct Stored {
    memory: Memory,
    keys: Vec<Option<Vec<f64>>>,
}

impl Stored {
    /// Random patterns with biases, of which no search knows, in small windows; every seventh is removed.
    fn random(device: &Device, rule: Rule, precision: Precision, patterns: usize, dim: usize) -> Option<Self> {
        let mut rng = Rng(7);
        let window = (patterns * dim) as u64;
        let options = MemoryOptions::new(dim, rule).precision(precision).bias().window_bytes(window);
        let mut memory = options.build(device).ok()?;
        let bias: Vec<f32> = rng.vector(patterns).iter().map(|b| 50.0 * b).collect();
        let ids = memory.add(Patterns::new(&rng.vector(patterns * dim)).bias(&bias)).unwrap();
        let keys = ids.iter().map(|id| Some(memory.get(id).unwrap().key.iter().map(|k| f64::from(*k)).collect()));
        let mut keys: Vec<Option<Vec<f64>>> = keys.collect();
        for position in (0..patterns).step_by(7).skip(1) {
            memory.remove(PatternId(position as u64)).unwrap();
            keys[position] = None;
        }
        Some(Self { memory, keys })
    }

    /// What a query should find: measures, nearest first, and positions.
    fn expected(&self, query: &[f32], keep: impl Fn(usize) -> bool) -> Vec<(f64, usize)> {
        let query: Vec<f64> = query.iter().map(|x| f64::from(*x)).collect();
        let kind = self.memory.rule().similarity;
        let scored = |(position, key): (usize, &Option<Vec<f64>>)| {
            key.as_ref().filter(|_| keep(position)).map(|key| (similarity(kind, &query, key), position))
        };
        let mut all: Vec<(f64, usize)> = self.keys.iter().enumerate().filter_map(scored).collect();
        all.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        all.into_iter().map(|(score, position)| (measure(kind) * score, position)).collect()
    }
}

/// Judges the hits of one query. Ranks are exact on the CPU engine; elsewhere patterns may change places whose
/// similarities differ by the rounding of `f32` sums.
fn judge(hits: &Hits, b: usize, expected: &[(f64, usize)], exact: bool, what: &str) {
    let got: Vec<(PatternId, f32)> = hits.of(b).collect();
    assert_eq!(got.len(), expected.len().min(hits.k), "{what}: hits");
    for (rank, ((id, measured), (most, position))) in got.iter().zip(expected).enumerate() {
        let what = format!("{what} rank {rank}");
        let within = 4e-6 * (1.0 + most.abs());
        assert!((f64::from(*measured) - most).abs() <= within, "{what}: {measured} for {most}");
        let own = expected.iter().find(|(_, position)| *position as u64 == id.0);
        let (own, _) = own.unwrap_or_else(|| panic!("{what}: {id:?} cannot be found"));
        assert!((f64::from(*measured) - own).abs() <= within, "{what}: {measured} of {id:?}, which has {own}");
        assert!(!exact || id.0 == *position as u64, "{what}: {id:?} for {position}");
    }
    for (i, (id, _)) in got.iter().enumerate() {
        assert!(!got[..i].iter().any(|(other, _)| other == id), "{what}: {id:?} twice");
    }
    for place in got.len()..hits.k {
        let at = b * hits.k + place;
        assert_eq!((hits.ids[at], hits.similarity[at]), (None, 0.0), "{what}: place {place}");
    }
}

/// What a similarity is reported as, over what it is.
fn measure(kind: Similarity) -> f64 {
    match kind {
        Similarity::Euclidean => -2.0,
        Similarity::Manhattan => -1.0,
        _ => 1.0,
    }
}

/// The rules of a memory have no say in what is near.
fn rule(kind: Similarity, number: usize) -> Rule {
    let all = [
        (Separation::Softmax, 0.0),
        (Separation::Entmax { alpha: 1.5 }, -3.0),
        (Separation::TopK { k: 2 }, 1e-20),
        (Separation::Softmax1, 4.0),
    ];
    let (separation, beta) = all[number % all.len()];
    Rule::new(kind, separation, beta)
}

#[test]
fn nearest_patterns_of_every_similarity() {
    for (name, device) in harness::thorough_devices() {
        for (number, kind) in Similarity::ALL.into_iter().enumerate() {
            for (precision, dim) in
                [(Precision::F32, 21), (Precision::F16, 33), (Precision::I8, 70), (Precision::I8Exact, 37)]
            {
                let Some(stored) = Stored::random(device, rule(kind, number), precision, 1203, dim) else { continue };
                let mut rng = Rng(8);
                for (batch, top) in [(1, 1), (1, 10), (3, 64), (5, MAX_TOP), (40, 10), (130, 7)] {
                    let queries = rng.vector(batch * dim);
                    let hits = stored.memory.search_blocking(&queries, top).unwrap();
                    assert_eq!((hits.batch, hits.k, &hits.found), (batch, top, &None));
                    for (b, query) in queries.chunks(dim).enumerate() {
                        let what = format!("{name} {kind} {precision} top {top} query {b} of {batch}");
                        assert_eq!(hits.status[b], Status::Answered, "{what}");
                        judge(&hits, b, &stored.expected(query, |_| true), device.is_cpu(), &what);
                    }
                }
            }
        }
    }
}

/// A memory with fewer patterns than are asked for gives all, in order.
#[test]
fn small_memories_give_all_they_have() {
    for (name, device) in harness::devices() {
        for (number, kind) in Similarity::ALL.into_iter().enumerate() {
            for patterns in [1, 2, 15] {
                let Some(stored) = Stored::random(device, rule(kind, number), Precision::F32, patterns, 5) else {
                    continue;
                };
                let queries = Rng(9).vector(3 * 5);
                let hits = stored.memory.search_blocking(&queries, SearchOptions::default()).unwrap();
                assert_eq!((hits.k, hits.ids.len()), (patterns, 3 * patterns));
                for (b, query) in queries.chunks(5).enumerate() {
                    let what = format!("{name} {kind} of {patterns}");
                    judge(&hits, b, &stored.expected(query, |_| true), device.is_cpu(), &what);
                }
            }
        }
    }
}

#[test]
fn thresholds_cut_and_count() {
    for (name, device) in harness::thorough_devices() {
        for (number, kind) in Similarity::ALL.into_iter().enumerate() {
            let dim = 12;
            let Some(stored) = Stored::random(device, rule(kind, number), Precision::F32, 2503, dim) else { continue };
            for (batch, seed) in [(1, 10), (4, 11), (50, 12)] {
                let queries = Rng(seed).vector(batch * dim);
                for (rank, top) in [(0, 10), (4, 10), (9, 10), (300, 10), (300, MAX_TOP), (1500, 40)] {
                    // Half-way to the next, so that no rounding decides; of the first query.
                    let first = stored.expected(&queries[..dim], |_| true);
                    let bound = f64::midpoint(first[rank].0, first[rank + 1].0) as f32;
                    let options = SearchOptions::default().top(top);
                    let distance = measure(kind) < 0.0;
                    let options = if distance { options.at_most(bound) } else { options.at_least(bound) };
                    let hits = stored.memory.search_blocking(&queries, &options).unwrap();
                    let found = hits.found.as_ref().unwrap();
                    assert_eq!(found[0], rank as u64 + 1, "{name} {kind} top {top} of {batch}");
                    for (b, query) in queries.chunks(dim).enumerate() {
                        let what = format!("{name} {kind} rank {rank} top {top} query {b} of {batch}");
                        let all = stored.expected(query, |_| true);
                        let bound = f64::from(bound);
                        let meets = all.partition_point(|(m, _)| if distance { *m <= bound } else { *m >= bound });
                        // Another query may have a pattern at the threshold.
                        let near = all.iter().filter(|(m, _)| (m - bound).abs() < 1e-5 * (1.0 + bound.abs())).count();
                        assert!(found[b].abs_diff(meets as u64) <= near as u64, "{what}: {} for {meets}", found[b]);
                        if near == 0 {
                            judge(&hits, b, &all[..meets], device.is_cpu(), &what);
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn masks_leave_out() {
    for (name, device) in harness::devices() {
        let (dim, patterns) = (9, 403);
        let rule = Rule::new(Similarity::Cosine, Separation::Softmax, 1.0);
        let Some(stored) = Stored::random(device, rule, Precision::F32, patterns, dim) else { continue };
        for batch in [1, 2, 37] {
            let queries = Rng(14).vector(batch * dim);
            // The first query may use nothing, the second one pattern, the others a third.
            let keep = |b: usize, position: usize| match b {
                0 => false,
                1 => position == 40,
                _ => (position + b).is_multiple_of(3),
            };
            let flags: Vec<bool> = (0..batch * patterns).map(|i| keep(i / patterns, i % patterns)).collect();
            let options = SearchOptions::default().top(12).at_least(-1.0).mask(Mask::keep_per_query(&flags));
            let hits = stored.memory.search_blocking(&queries, options).unwrap();
            for (b, query) in queries.chunks(dim).enumerate() {
                let expected = stored.expected(query, |position| keep(b, position));
                let what = format!("{name} query {b} of {batch}");
                judge(&hits, b, &expected, device.is_cpu(), &what);
                assert_eq!(hits.found.as_ref().unwrap()[b], expected.len() as u64, "{what}");
                let status = if expected.is_empty() { Status::NothingLeft } else { Status::Answered };
                assert_eq!(hits.status[b], status, "{what}");
            }
        }
    }
}

/// Scores that lie on the threshold count, however few patterns of a tile a query may use: whole numbers, whose sums
/// are exact on every engine.
#[test]
fn thresholds_count_ties_under_sparse_masks() {
    let (dim, patterns) = (6, 2003);
    let mut rng = Rng(21);
    let mut whole = |count: usize| -> Vec<f32> { rng.vector(count).iter().map(|x| (3.0 * x).round()).collect() };
    let (keys, queries) = (whole(patterns * dim), whole(40 * dim));
    for (name, device) in harness::devices() {
        let mut memory = Memory::new(device, dim, Rule::new(Similarity::Dot, Separation::Softmax, 1.0)).unwrap();
        memory.add(&keys).unwrap();
        for (batch, step) in [(1, 5), (1, 90), (40, 5), (40, 90)] {
            let keep = |b: usize, position: usize| (position + b % 2).is_multiple_of(step);
            let flags: Vec<bool> = (0..batch * patterns).map(|i| keep(i / patterns, i % patterns)).collect();
            let options = SearchOptions::from(1).at_least(2.0).mask(Mask::keep_per_query(&flags));
            let hits = memory.search_blocking(&queries[..batch * dim], options).unwrap();
            for (b, query) in queries[..batch * dim].chunks(dim).enumerate() {
                let product = |key: &[f32]| key.iter().zip(query).map(|(k, x)| k * x).sum::<f32>();
                let meets = |(position, key): &(usize, &[f32])| keep(b, *position) && product(key) >= 2.0;
                let expected = keys.chunks(dim).enumerate().filter(meets).count();
                let found = hits.found.as_ref().unwrap()[b];
                assert_eq!(found, expected as u64, "{name}: query {b} of {batch}, one of {step} kept");
            }
        }
    }
}

/// Equal patterns are found by rising position, also where no list holds all of them.
#[test]
fn ties_keep_their_order() {
    for (name, device) in harness::devices() {
        for (kind, key) in
            [(Similarity::Dot, [0.0, 0.0]), (Similarity::Cosine, [1.0, 2.0]), (Similarity::Euclidean, [3.0, 1.0])]
        {
            let mut memory = Memory::new(device, 2, Rule::new(kind, Separation::Softmax, 1.0)).unwrap();
            memory.add(&key.repeat(6000)).unwrap();
            for (batch, top) in [(1, 3), (1, MAX_TOP), (33, 100)] {
                let hits = memory.search_blocking(&[1.0, 1.0].repeat(batch), top).unwrap();
                for b in 0..batch {
                    let ids: Vec<u64> = hits.of(b).map(|(id, _)| id.0).collect();
                    assert_eq!(ids, (0..top as u64).collect::<Vec<u64>>(), "{name} {kind} top {top} query {b}");
                }
            }
        }
    }
}

/// Keys and queries of very different norms: the CPU engine is exact, whatever scans can tell apart.
#[test]
fn the_cpu_engine_is_exact_on_any_scale() {
    if !harness::runs_on("cpu") {
        return;
    }
    let (dim, patterns) = (17, 3000);
    for kind in Similarity::ALL {
        for spread in [0.0f32, 3.0, 15.0] {
            let mut rng = Rng(15);
            let mut scaled = |rows: usize| -> Vec<f32> {
                let mut keys = rng.vector(rows * dim);
                for row in keys.chunks_mut(dim) {
                    let scale = 10f32.powf(spread * (2.0 * rng.unit() - 1.0));
                    for k in row {
                        *k *= scale;
                    }
                }
                keys
            };
            let mut memory = Memory::new(&Device::cpu(), dim, Rule::new(kind, Separation::Softmax, 1.0)).unwrap();
            memory.add(&scaled(patterns)).unwrap();
            let keys = (0..patterns as u64).map(|id| memory.get(PatternId(id)).unwrap().key);
            let keys = keys.map(|key| Some(key.iter().map(|k| f64::from(*k)).collect())).collect();
            let (stored, queries) = (Stored { memory, keys }, scaled(40));
            for batch in [1, 40] {
                let hits = stored.memory.search_blocking(&queries[..batch * dim], 20).unwrap();
                for (b, query) in queries[..batch * dim].chunks(dim).enumerate() {
                    let expected = stored.expected(query, |_| true);
                    let got: Vec<u64> = hits.of(b).map(|(id, _)| id.0).collect();
                    for (rank, id) in got.into_iter().enumerate() {
                        let own = expected.iter().find(|(_, position)| *position as u64 == id).unwrap().0;
                        let gap = (own - expected[rank].0).abs();
                        assert!(gap <= 1e-13 * expected[rank].0.abs(), "{kind} spread {spread} query {b} rank {rank}");
                    }
                }
            }
        }
    }
}

/// Similarities next to the end of `f32`, and distances beyond it, meet the thresholds that they should.
#[test]
fn thresholds_hold_at_the_end_of_the_range() {
    if !harness::runs_on("cpu") {
        return;
    }
    let found = |kind, query: f32, options: SearchOptions| {
        let mut memory = Memory::new(&Device::cpu(), 1, Rule::new(kind, Separation::Softmax, 1.0)).unwrap();
        memory.add(&[3e38, 2e38, -3e38]).unwrap();
        let hits = memory.search_blocking(&[query], options.top(1)).unwrap();
        (hits.found.unwrap()[0], hits.similarity[0])
    };
    let any = SearchOptions::default;
    assert_eq!(found(Similarity::Dot, 1.0, any().at_least(1.8e38)), (2, 3e38));
    assert_eq!(found(Similarity::Dot, 1.0, any().at_least(2.5e38)), (1, 3e38));
    assert_eq!(found(Similarity::Dot, 1e10, any().at_least(3.4e38)), (2, f32::MAX));
    assert_eq!(found(Similarity::Manhattan, 0.0, any().at_most(1.8e38)), (0, 0.0));
    assert_eq!(found(Similarity::Manhattan, 0.0, any().at_most(2.5e38)), (1, 2e38));
    assert_eq!(found(Similarity::Euclidean, 0.0, any().at_most(3.4e38)), (0, 0.0));
    assert_eq!(found(Similarity::Euclidean, 0.0, any().at_most(f32::MAX)), (3, f32::MAX));
}

/// A search finds what a retrieval reports, and its answer sees the memory as it was.
#[test]
fn pending_searches_see_their_memory() {
    for (name, device) in harness::devices() {
        let rule = Rule::new(Similarity::Cosine, Separation::Softmax, 5.0);
        let mut rng = Rng(16);
        let mut memory = Memory::new(device, 8, rule).unwrap();
        memory.add(&rng.vector(500 * 8)).unwrap();
        let queries = rng.vector(6 * 8);
        let now = memory.search_blocking(&queries, 5).unwrap();
        let top = memory.retrieve_blocking(&queries, &RetrieveOptions::default().top(5)).unwrap().top.unwrap();
        assert_eq!(now.ids, top.ids, "{name}");
        let pending = memory.search(&queries, 5).unwrap();
        for id in now.ids.iter().flatten() {
            if memory.contains(*id) {
                memory.remove(*id).unwrap();
            }
        }
        memory.add(&rng.vector(50 * 8)).unwrap();
        assert_eq!(pollster::block_on(pending).unwrap(), now, "{name}");
        assert!(memory.search_blocking(&queries, 5).unwrap().ids.iter().all(|id| !now.ids.contains(id)), "{name}");
        let none = memory.search_blocking(&[], 5).unwrap();
        assert_eq!((none.batch, none.ids.len()), (0, 0));
    }
}

/// After a warm-up a search compiles nothing.
#[test]
fn warm_searches_compile_nothing() {
    for (name, device) in harness::gpus() {
        let device = harness::reopened(device);
        let mut rng = Rng(20);
        let mut memory = Memory::new(&device, 8, Rule::new(Similarity::Cosine, Separation::Softmax, 5.0)).unwrap();
        memory.add(&rng.vector(700 * 8)).unwrap();
        for batch in [1, 40] {
            let options = SearchOptions::from(5).at_least(0.1);
            memory.warm_up_search(batch, &options).unwrap();
            let warm = compiled(&device);
            memory.search_blocking(&rng.vector(batch * 8), &options).unwrap();
            assert_eq!(compiled(&device), warm, "{name}: {batch} queries");
        }
        assert!(matches!(memory.warm_up_search(0, 5), Err(Error::Parameter { parameter: "batch", .. })), "{name}");
        assert!(matches!(memory.warm_up_search(usize::MAX, 5), Err(Error::Limit { .. })), "{name}");
    }
}

/// Whatever the workspace holds from before.
#[test]
fn nothing_is_read_that_was_not_written() {
    for (name, device) in harness::gpus() {
        let rule = Rule::new(Similarity::Euclidean, Separation::Softmax, 5.0);
        let mut rng = Rng(17);
        let mut memory = Memory::new(device, 8, rule).unwrap();
        memory.add(&rng.vector(700 * 8)).unwrap();
        for batch in [1, 30] {
            let queries = rng.vector(batch * 8);
            let options = SearchOptions::default().top(20).at_most(2.0);
            let poisoned = attractor::internals::forced_search(options.clone(), Overrides::default(), Faults::POISON);
            let expected = memory.search_blocking(&queries, options).unwrap();
            assert_eq!(memory.search_blocking(&queries, poisoned).unwrap(), expected, "{name}");
        }
    }
}

#[test]
fn wrong_input_is_refused() {
    for (name, device) in harness::devices() {
        let build = |kind| {
            let mut memory = Memory::new(device, 2, Rule::new(kind, Separation::Softmax, 1.0)).unwrap();
            memory.add(&[1.0, 0.0, 0.0, 1.0]).unwrap();
            memory
        };
        let (dot, euclidean) = (build(Similarity::Dot), build(Similarity::Euclidean));
        let refused = |memory: &Memory, queries: &[f32], options: SearchOptions| {
            let blocking = memory.search_blocking(queries, &options).unwrap_err();
            let pending = memory.search(queries, options).map(|_| ()).unwrap_err();
            assert!(blocking.to_string().contains("Memory::search_blocking"), "{name}: {blocking}");
            assert_eq!(std::mem::discriminant(&blocking), std::mem::discriminant(&pending), "{name}: {pending}");
            blocking
        };
        let query = [1.0, 1.0];
        for (memory, options, says) in [
            (&dot, SearchOptions::from(0), "at least 1 and at most 1024"),
            (&dot, SearchOptions::from(1025), "at least 1 and at most 1024"),
            (&dot, SearchOptions::from(1).plan_for(0), "plan_for must be at least 1, got 0"),
            (&dot, SearchOptions::from(2).at_least(f32::NAN), "finite"),
            (&dot, SearchOptions::from(2).at_least(f32::INFINITY), "finite"),
            (&dot, SearchOptions::from(2).at_most(1.0), "which take at_least"),
            (&euclidean, SearchOptions::from(2).at_least(1.0), "which take at_most"),
            (&euclidean, SearchOptions::from(2).at_most(f32::NAN), "finite"),
        ] {
            let error = refused(memory, &query, options);
            assert!(matches!(error, Error::Parameter { .. }) && error.to_string().contains(says), "{name}: {error}");
        }
        assert!(matches!(refused(&dot, &[1.0], 1.into()), Error::Shape { .. }));
        assert!(matches!(refused(&dot, &[1.0, f32::NAN], 1.into()), Error::NotFinite { .. }));
        let short = SearchOptions::from(1).mask(Mask::keep(&[true]));
        assert!(matches!(refused(&dot, &query, short), Error::Shape { .. }));
        let empty = Memory::new(device, 2, Rule::softmax(1.0)).unwrap();
        assert!(matches!(refused(&empty, &query, 1.into()), Error::Empty { .. }));
        // A distance below zero is one that no pattern has.
        let none = euclidean.search_blocking(&query, SearchOptions::from(2).at_most(-1.0)).unwrap();
        assert_eq!((none.found, none.ids, &none.status[..]), (Some(vec![0]), vec![None; 2], &[Status::Answered][..]));
        if !device.is_cpu() {
            assert!(matches!(refused(&euclidean, &[1e30, 0.0], 1.into()), Error::Range { .. }), "{name}");
        }
    }
}

/// A search knows neither beta nor biases, and sums no rows: none of them limits what a GPU searches, and no error
/// names them.
#[test]
fn the_range_of_a_search_is_that_of_similarities() {
    for (name, device) in harness::devices() {
        let rule = Rule::new(Similarity::Dot, Separation::TopK { k: 900 }, 1e30);
        let mut memory = MemoryOptions::new(2, rule).value_dim(1).bias().build(device).unwrap();
        let rows: Vec<f32> = (0..1000).flat_map(|i| [1e30, i as f32 * 1e26]).collect();
        memory.add(Patterns::new(&rows).values(&[3e38; 1000]).bias(&[3e38; 1000])).unwrap();
        let hits = memory.search_blocking(&[0.0, 1.0], SearchOptions::from(900).at_least(1e26)).unwrap();
        assert_eq!((hits.found, hits.ids[0]), (Some(vec![999]), Some(PatternId(999))), "{name}");
        if device.is_cpu() {
            continue;
        }
        let error = memory.search_blocking(&[3e9, 0.0], 1).unwrap_err().to_string();
        assert!(error.contains("beside keys as they are") && !error.contains("beta"), "{name}: {error}");
        let mut near = MemoryOptions::new(2, Rule { similarity: Similarity::Euclidean, ..rule }).build(device).unwrap();
        near.add(&[1.0, 0.0, 3e38, 0.0]).unwrap();
        let error = near.search_blocking(&[0.0, 0.0], 1).unwrap_err().to_string();
        assert!(error.contains("row 1") && error.contains("similarities of at most"), "{name}: {error}");
        assert!(!error.contains("beta"), "{name}: {error}");
    }
}

/// What a recording wrote into a buffer.
fn written(host: &Host, mut encoder: wgpu::CommandEncoder, buffer: &wgpu::Buffer) -> Vec<u32> {
    let staging = host.buffer(buffer.size(), wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    host.queue.submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
    host.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let view = staging.get_mapped_range(..).unwrap();
    bytemuck::pod_collect_to_vec(&view)
}

const GARBAGE: u32 = 0xdead_beef;

/// Hits in a host's buffer are those of a search, and nothing else is written.
#[test]
fn recorded_searches_write_their_hits() {
    for host in hosts() {
        let (name, dim, batch) = (&host.name, 7, 21);
        for (patterns, places, least) in [(900, 6, None), (900, 40, Some(0.9f32)), (3, 5, None)] {
            let rule = Rule::new(Similarity::Euclidean, Separation::Softmax, 3.0);
            let mut rng = Rng(18);
            let options = MemoryOptions::new(dim, rule).window_bytes(8192);
            let mut memory = options.build(&host.guest()).unwrap();
            memory.add(&rng.vector(patterns * dim)).unwrap();
            let mut queries = rng.vector(batch * dim);
            let options = SearchOptions::from(places);
            let options = least.map_or(options.clone(), |least| options.at_most(least));
            let expected = memory.search_blocking(&queries, &options).unwrap();
            (queries[2 * dim], queries[5 * dim + 3]) = (f32::NAN, 3e38);

            // Queries from word 1 side by side; positions from 1,000, similarities from 3,000 and reports from 6,000,
            // with words between rows.
            let mut words = vec![GARBAGE; 7000];
            words[1..][..batch * dim].copy_from_slice(bytemuck::cast_slice(&queries));
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
            let contents = bytemuck::cast_slice(&words);
            let buffer =
                host.device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents, usage });
            let rows = |word: u64, stride: usize| Rows::at(&buffer, 4 * word).stride(stride as u32);
            let targets = SearchTargets::new(batch, Rows::at(&buffer, 4), rows(1000, places + 2))
                .similarity(rows(3000, places + 1))
                .report(rows(6000, 5));
            let mut encoder = host.device.create_command_encoder(&Default::default());
            memory.record_search(&mut encoder, &targets, &options).unwrap();
            let after = written(&host, encoder, &buffer);
            let mut open = words.clone();
            for b in 0..batch {
                let what = format!("{name} {patterns} patterns, query {b}");
                let refused = [(2, 1), (5, 16)].into_iter().find(|(query, _)| *query == b).map(|(_, status)| status);
                let hits: Vec<(PatternId, f32)> = expected.of(b).filter(|_| refused.is_none()).collect();
                for place in 0..places {
                    let (position, similarity) = (1000 + b * (places + 2) + place, 3000 + b * (places + 1) + place);
                    let (at, measured) = hits.get(place).map_or((u32::MAX, 0.0), |(id, m)| (id.0 as u32, *m));
                    assert_eq!((after[position], after[similarity]), (at, measured.to_bits()), "{what} place {place}");
                    (open[position], open[similarity]) = (after[position], after[similarity]);
                }
                let report = 6000 + 5 * b..6004 + 5 * b;
                let found = expected.found.as_ref().map_or(hits.len() as u64, |found| found[b]);
                let found = if refused.is_some() { 0 } else { found };
                let told = [found as u32, hits.len() as u32, refused.unwrap_or(0)];
                assert!(after[report.start] != 0 && after[report.start] == after[6000], "{what}: one stamp");
                assert_eq!(after[report.start + 1..report.end], told, "{what}");
                open[report.clone()].copy_from_slice(&after[report]);
            }
            assert!(open == after, "{name}: a word that is not ours to write");
        }
    }
}

/// The patterns of largest weight in a host's buffer are those that a retrieval reports.
#[test]
fn recorded_retrievals_write_their_largest_weights() {
    let rules = [
        (Separation::Softmax, 2.0),
        (Separation::Softmax1, 2.0),
        (Separation::Sparsemax, 2.0),
        (Separation::Sparsemax, 1e-3),
        (Separation::Entmax { alpha: 1.25 }, 2.0),
        (Separation::Entmax { alpha: 1.5 }, 1e-3),
        (Separation::Entmax { alpha: 3.0 }, 2.0),
        (Separation::TopK { k: 4 }, 2.0),
    ];
    for host in hosts() {
        let device = host.guest();
        for (number, (separation, beta)) in rules.into_iter().enumerate() {
            let kind = Similarity::ALL[number % 4];
            let (dim, batch, places) = (13, 9, 6);
            let mut rng = Rng(19);
            let mut memory = Memory::new(&device, dim, Rule::new(kind, separation, beta)).unwrap();
            memory.add(&rng.vector(5003 * dim)).unwrap();
            let queries = rng.vector(batch * dim);
            for steps in [1, 2] {
                let options = RetrieveOptions::steps(steps);
                let expected = memory.retrieve_blocking(&queries, &options.clone().top(places)).unwrap();
                let top = expected.top.unwrap();
                let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
                let contents = bytemuck::cast_slice(&queries);
                let source =
                    host.device.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents, usage });
                let buffer = host.buffer(4 * (batch * (dim + 3 * places)) as u64, usage);
                let at = |word: usize| Rows::at(&buffer, 4 * word as u64);
                let first = batch * dim;
                let rows = TopRows::new(places, at(first))
                    .weights(at(first + batch * places))
                    .similarity(at(first + 2 * batch * places));
                let targets = RecordTargets::new(batch, Rows::new(&source), at(0)).top(rows);
                let mut encoder = host.device.create_command_encoder(&Default::default());
                memory.record(&mut encoder, &targets, &options).unwrap();
                let after = written(&host, encoder, &buffer);
                let what = format!("{} {kind} {separation:?} beta {beta}, {steps} steps", host.name);
                let output: Vec<u32> = expected.output.iter().map(|x| x.to_bits()).collect();
                assert_eq!(after[..first], output, "{what}: output");
                let (positions, rest) = after[first..].split_at(batch * places);
                let (weights, similarities) = rest.split_at(batch * places);
                let ids: Vec<u32> = top.ids.iter().map(|id| id.map_or(u32::MAX, |id| id.0 as u32)).collect();
                assert_eq!(positions, ids, "{what}");
                for (got, weight) in weights.iter().zip(&top.weight) {
                    let got = f32::from_bits(*got);
                    assert!((got - weight).abs() <= 1e-5 * weight.max(1e-3), "{what}: weight {got} for {weight}");
                }
                let expected: Vec<u32> = top.similarity.iter().map(|s| s.to_bits()).collect();
                assert_eq!(similarities, expected, "{what}: similarities");
            }
        }
    }
}

#[test]
fn wrong_recordings_are_refused() {
    for host in hosts() {
        let mut memory = Memory::new(&host.guest(), 2, Rule::softmax(1.0)).unwrap();
        let usage = wgpu::BufferUsages::STORAGE;
        let (small, large) = (host.buffer(16, usage), host.buffer(4096, usage));
        let refused = |memory: &Memory, positions: &wgpu::Buffer, top: usize| {
            let targets = SearchTargets::new(4, Rows::new(&large), Rows::new(positions));
            let mut encoder = host.device.create_command_encoder(&Default::default());
            memory.record_search(&mut encoder, &targets, top).unwrap_err()
        };
        assert!(matches!(refused(&memory, &large, 2), Error::Empty { .. }), "{}", host.name);
        memory.add(&[1.0, 0.0]).unwrap();
        assert!(matches!(refused(&memory, &small, 2), Error::Shape { .. }), "{}", host.name);
        assert!(matches!(refused(&memory, &large, 0), Error::Parameter { .. }), "{}", host.name);
        for k in [0, 1025] {
            let mut encoder = host.device.create_command_encoder(&Default::default());
            let targets = RecordTargets::new(1, Rows::new(&large), Rows::new(&large));
            let targets = targets.top(TopRows::new(k, Rows::new(&large)));
            let error = memory.record(&mut encoder, &targets, &RetrieveOptions::default()).unwrap_err();
            assert!(matches!(error, Error::Parameter { parameter: "top", .. }), "{}: {error}", host.name);
        }
    }
    if harness::runs_on("cpu") {
        for (_, device) in harness::gpus() {
            let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0)).unwrap();
            memory.add(&[1.0, 0.0]).unwrap();
            let (gpu, _) = device.wgpu().unwrap();
            let descriptor = wgpu::BufferDescriptor {
                label: None,
                size: 64,
                usage: wgpu::BufferUsages::STORAGE,
                mapped_at_creation: false,
            };
            let buffer = gpu.create_buffer(&descriptor);
            let targets = SearchTargets::new(1, Rows::new(&buffer), Rows::new(&buffer));
            let mut encoder = gpu.create_command_encoder(&Default::default());
            let error = memory.record_search(&mut encoder, &targets, 1).unwrap_err();
            assert!(matches!(error, Error::NeedsGpu { .. }), "{error}");
        }
    }
}
