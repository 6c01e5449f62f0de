//! Partial states on every device: any split, merged in any order, answers as the whole; and bytes that are not one are
//! refused.

use attractor::partial::{MergedRetrieval, Partial, PartialOptions};
use attractor::retrieval::Status;
use attractor::rule::{Activation, Zero};
use attractor::{
    Device, Error, Mask, Memory, MemoryOptions, PatternId, Patterns, Precision, Retrieval, RetrieveOptions, Rule,
    Separation, Similarity, Update,
};
use harness::{Case, Rng};

fn separations() -> [Separation; 8] {
    [
        Separation::Softmax,
        Separation::Softmax1,
        Separation::Sparsemax,
        Separation::Entmax { alpha: 1.05 },
        Separation::Entmax { alpha: 1.5 },
        Separation::Entmax { alpha: 4.0 },
        Separation::TopK { k: 3 },
        Separation::TopK { k: 1000 },
    ]
}

fn cpu(case: &Case) -> Memory {
    case.memory("cpu", &Device::cpu()).unwrap()
}

fn subset(range: std::ops::Range<usize>) -> PartialOptions {
    PartialOptions::default().subset(range)
}

/// Merges all in an order, and a tree, that the numbers choose; through bytes.
fn merge(mut parts: Vec<Partial>, numbers: &mut Rng) -> Partial {
    while parts.len() > 1 {
        let pick = numbers.bits() as usize % parts.len();
        let a = parts.swap_remove(pick);
        let pick = numbers.bits() as usize % parts.len();
        let b = parts.swap_remove(pick);
        let a = Partial::from_bytes(&a.to_bytes()).unwrap();
        parts.push(a.merge(Partial::from_bytes(&b.to_bytes()).unwrap()).unwrap());
    }
    parts.pop().unwrap()
}

/// Cuts `0..patterns` into as many parts, some of them perhaps empty.
fn cuts(patterns: usize, parts: usize, numbers: &mut Rng) -> Vec<std::ops::Range<usize>> {
    let mut ends: Vec<usize> = (1..parts).map(|_| numbers.bits() as usize % (patterns + 1)).collect();
    ends.extend([0, patterns]);
    ends.sort_unstable();
    ends.windows(2).map(|ends| ends[0]..ends[1]).collect()
}

/// Whether `got` is query `b` of `whole`, which the CPU engine computed in one piece.
fn is_the_whole(what: &str, got: &MergedRetrieval, whole: &Retrieval, b: usize) {
    let largest = whole.output.iter().chain(&whole.state).fold(1.0f32, |most, v| most.max(v.abs()));
    for (got, expected) in [(&got.output[..], whole.output_row(b)), (&got.state, whole.state_row(b))] {
        let expected: Vec<f64> = expected.iter().map(|v| f64::from(*v)).collect();
        let worst = harness::worst(got, &expected);
        assert!(worst <= 1e-5 * f64::from(largest), "{what}: off by {worst}");
    }
    assert_eq!(got.status, whole.status[b], "{what}");
    let expected = whole.statistics.as_ref().unwrap()[b];
    let told = got.statistics;
    assert!((told.perplexity - expected.perplexity).abs() <= 1e-4 * expected.perplexity, "{what}: {told:?}");
    assert!((told.largest - expected.largest).abs() < 1e-5, "{what}: {told:?} {expected:?}");
}

/// The answer is of the patterns that were stored when it was asked for, whatever happens to them before it is taken;
/// polled once a frame, it needs no executor.
#[test]
fn a_pending_state_sees_the_patterns_as_they_were() {
    for (seed, separation) in separations().into_iter().enumerate() {
        let rule = Rule::new(Similarity::Dot, separation, 2.0);
        let case = Case::random(40 + seed as u64, 3, 200, 5, Some(2), rule);
        for (name, device) in harness::devices() {
            let mut memory = case.memory(name, device).unwrap();
            let options = PartialOptions::default();
            let bytes = |states: Vec<Partial>| states.iter().map(Partial::to_bytes).collect::<Vec<_>>();
            let expected = bytes(memory.retrieve_partial_blocking(&case.queries, &options).unwrap());
            let mut polled = memory.retrieve_partial(&case.queries, &options).unwrap();
            let waited = memory.retrieve_partial(&case.queries, &options).unwrap();
            let other = Patterns::new(&[9.0; 5]).values(&[7.0; 2]);
            memory.update(PatternId(3), other).unwrap();
            memory.remove(PatternId(4)).unwrap();
            memory.add(other).unwrap();
            memory.clear();
            memory.add(other).unwrap();
            let got = loop {
                if let Some(got) = polled.try_take() {
                    break got.unwrap();
                }
                std::thread::yield_now();
            };
            assert_eq!(bytes(got), expected, "{name}, {separation}: polled");
            assert_eq!(bytes(waited.wait().unwrap()), expected, "{name}, {separation}: waited for");
        }
    }
}

#[test]
fn any_split_in_any_order_is_the_whole() {
    for (name, device) in harness::devices() {
        // On a GPU every part is a submission or three.
        let shards: &[usize] = if device.is_cpu() { &[1, 2, 3, 4, 5, 6, 7] } else { &[1, 2, 5] };
        for similarity in [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean] {
            for (seed, separation) in separations().into_iter().enumerate() {
                for (beta, value_dim) in [(2.0, None), (0.01, Some(3)), (-1.0, Some(5)), (1e30, None)] {
                    let rule = Rule::new(similarity, separation, beta);
                    let mut numbers = Rng(seed as u64);
                    let mut case = Case::random(seed as u64 + 70, 3, 150, 6, value_dim, rule);
                    case.bias = Some(numbers.vector(150));
                    case.window_bytes = Some(64 * 32);
                    let whole = cpu(&case).retrieve_blocking(&case.queries, &case.options().statistics()).unwrap();
                    let memory = case.memory(name, device).unwrap();
                    for &shards in shards {
                        let parts: Vec<Vec<Partial>> = cuts(150, shards, &mut numbers)
                            .into_iter()
                            .map(|cut| memory.retrieve_partial_blocking(&case.queries, &subset(cut)).unwrap())
                            .collect();
                        for b in 0..3 {
                            let parts = parts.iter().map(|part| part[b].clone()).collect();
                            let got = merge(parts, &mut numbers).finish();
                            let what = format!("{name}, {rule:?}, {shards} shards, query {b}");
                            is_the_whole(&what, &got, &whole, b);
                            assert_eq!(got.patterns, 150, "{what}");
                            if !matches!(separation, Separation::Softmax | Separation::Softmax1) && beta < 1e3 {
                                assert_eq!(got.statistics.support, whole.statistics.as_ref().unwrap()[b].support);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The patterns of largest weight of all parts are those of the whole, whatever the split, the mask, and what is gone.
#[test]
fn the_patterns_of_largest_weight_are_those_of_the_whole() {
    for (name, device) in harness::devices() {
        let shards: &[usize] = if device.is_cpu() { &[1, 2, 5] } else { &[1, 2] };
        for (number, similarity) in Similarity::ALL.into_iter().enumerate() {
            for (seed, separation) in separations().into_iter().enumerate() {
                // Every engine and similarity has each separation in one of three.
                if !device.is_cpu() && (seed + number) % 3 > 0 {
                    continue;
                }
                let mut numbers = Rng(seed as u64);
                let rule = Rule::new(similarity, separation, if number == 1 { -1.5 } else { 1.5 });
                let mut case = Case::random(seed as u64 + 90, 3, 210, 6, (seed % 2 == 0).then_some(2), rule);
                case.bias = Some(numbers.vector(210));
                case.window_bytes = Some(64 * 32);
                let keep: Vec<bool> = (0..3 * 210).map(|i| i / 210 < 2 && numbers.unit() > -0.6).collect();
                let mask = Mask::keep_per_query(&keep);
                let stored = |name, device| {
                    let mut memory = case.memory(name, device).unwrap();
                    for id in [0, 63, 64, 209] {
                        memory.remove(PatternId(id)).unwrap();
                    }
                    memory
                };
                let (memory, single) = (stored(name, device), stored("cpu", &Device::cpu()));
                for (top, &shards) in [1, 5, 300].into_iter().flat_map(|top| shards.iter().map(move |n| (top, n))) {
                    let options = RetrieveOptions::default().mask(mask.clone()).top(top);
                    let whole = single.retrieve_blocking(&case.queries, &options).unwrap().top.unwrap();
                    let parts: Vec<Vec<Partial>> = cuts(210, shards, &mut numbers)
                        .into_iter()
                        .map(|cut| subset(cut).mask(mask.clone()).top(top).index_offset(1000))
                        .map(|part| memory.retrieve_partial_blocking(&case.queries, &part).unwrap())
                        .collect();
                    for b in 0..3 {
                        let got = merge(parts.iter().map(|part| part[b].clone()).collect(), &mut numbers).finish().top;
                        let what = format!("{name}, {rule:?}, top {top} of {shards} shards, query {b}");
                        let row = b * whole.k..(b + 1) * whole.k;
                        let ids: Vec<u64> = whole.ids[row.clone()].iter().flatten().map(|id| id.0 + 1000).collect();
                        assert_eq!(got.len(), ids.len(), "{what}");
                        assert!(got.windows(2).all(|pair| pair[0].weight >= pair[1].weight), "{what}: {got:?}");
                        for (rank, (got, id)) in got.iter().zip(&ids).enumerate() {
                            let (weight, near) = (whole.weight[row.start + rank], whole.similarity[row.start + rank]);
                            assert!((got.weight - weight).abs() < 2e-5, "{what} rank {rank}: {got:?} for {weight}");
                            assert!(!device.is_cpu() || got.index == *id, "{what} rank {rank}: {got:?} for {id}");
                            if got.index == *id {
                                let within = 1e-5 * (1.0 + near.abs());
                                assert!(
                                    (got.similarity - near).abs() < within,
                                    "{what} rank {rank}: {got:?} for {near}"
                                );
                            }
                        }
                        let same = got.iter().filter(|got| ids.contains(&got.index)).count();
                        assert!(same + 1 >= ids.len(), "{what}: {got:?} for {ids:?}");
                    }
                }
            }
        }
    }
}

/// Masks of one row and of many, with a query that may use nothing and one that may use one pattern; removed patterns;
/// narrow stores.
#[test]
fn masked_and_removed_patterns_are_not_covered() {
    for (name, device) in harness::devices() {
        for (seed, separation) in separations().into_iter().enumerate() {
            for precision in Precision::ALL {
                let rule = Rule::new(Similarity::Dot, separation, 1.5);
                let mut numbers = Rng(seed as u64 + 5);
                let mut case = Case::random(seed as u64, 4, 90, 5, Some(7), rule);
                case.precision = precision;
                case.window_bytes = Some(32 * 8 * 4);
                let mut keep: Vec<bool> = (0..4 * 90).map(|_| numbers.unit() > -0.2).collect();
                keep[90..180].fill(false);
                keep[180..270].fill(false);
                keep[200] = true;
                let gone = [0, 31, 32, 89];
                let stored = |name, device| {
                    let mut memory = case.memory(name, device).unwrap();
                    for id in gone {
                        memory.remove(PatternId(id)).unwrap();
                    }
                    memory
                };
                let (memory, single) = (stored(name, device), stored("cpu", &Device::cpu()));
                for mask in [Mask::keep_per_query(&keep), Mask::keep(&keep[..90])] {
                    let options = RetrieveOptions::default().mask(mask.clone()).statistics();
                    let whole = single.retrieve_blocking(&case.queries, &options).unwrap();
                    let parts: Vec<Vec<Partial>> = cuts(90, 3, &mut numbers)
                        .into_iter()
                        .map(|cut| subset(cut).mask(mask.clone()))
                        .map(|part| memory.retrieve_partial_blocking(&case.queries, &part).unwrap())
                        .collect();
                    for b in 0..4 {
                        let parts = parts.iter().map(|part| part[b].clone()).collect();
                        let got = merge(parts, &mut numbers).finish();
                        let what = format!("{name}, {separation:?}, {precision:?}, query {b}");
                        is_the_whole(&what, &got, &whole, b);
                        let row = if mask.is_per_query() { b } else { 0 };
                        let usable = (0..90).filter(|i| keep[row * 90 + i] && !gone.contains(&(*i as u64))).count();
                        assert_eq!(got.patterns, usable as u64, "{what}");
                    }
                }
            }
        }
    }
}

/// More candidates than any list of a device holds, and more places than it selects from.
#[test]
fn parts_with_long_lists_are_exact() {
    let rules = [
        Rule::new(Similarity::Dot, Separation::Sparsemax, 1e-3),
        Rule::new(Similarity::Euclidean, Separation::Entmax { alpha: 1.5 }, 0.02),
        Rule::new(Similarity::Dot, Separation::Entmax { alpha: 3.0 }, 1e-3),
        Rule::new(Similarity::Dot, Separation::TopK { k: 2000 }, 1.0),
        Rule::new(Similarity::Dot, Separation::TopK { k: 20_000 }, 1.0),
    ];
    for (name, device) in harness::devices() {
        for rule in rules {
            let mut case = Case::random(9, 3, 9001, 4, None, rule);
            // One query is sharp: its list does not overflow.
            case.queries[8..].iter_mut().for_each(|x| *x *= 3e3);
            let whole = cpu(&case).retrieve_blocking(&case.queries, &case.options().statistics()).unwrap();
            let memory = case.memory(name, device).unwrap();
            let mut numbers = Rng(1);
            let parts: Vec<Vec<Partial>> = [0..8000, 8000..9001]
                .into_iter()
                .map(|cut| memory.retrieve_partial_blocking(&case.queries, &subset(cut)).unwrap())
                .collect();
            for b in 0..3 {
                let parts = parts.iter().map(|part| part[b].clone()).collect();
                let got = merge(parts, &mut numbers).finish();
                is_the_whole(&format!("{name}, {rule:?}, query {b}"), &got, &whole, b);
            }
        }
    }
}

#[test]
fn across_devices_parts_are_one_memory() {
    for (seed, separation) in separations().into_iter().enumerate() {
        let rule = Rule::new(Similarity::Dot, separation, 2.0);
        let case = Case::random(seed as u64, 2, 100, 6, Some(2), rule);
        let whole = cpu(&case).retrieve_blocking(&case.queries, &case.options().statistics()).unwrap();
        let step = 100_usize.div_ceil(harness::devices().len());
        let parts: Vec<Vec<Partial>> = harness::devices()
            .iter()
            .enumerate()
            .map(|(i, (name, device))| {
                let cut = (i * step).min(100)..((i + 1) * step).min(100);
                let memory = case.memory(name, device).unwrap();
                // As a future, too.
                memory.retrieve_partial(&case.queries, &subset(cut)).and_then(pollster::block_on).unwrap()
            })
            .collect();
        for b in 0..2 {
            let parts = parts.iter().map(|part| part[b].clone()).collect();
            let got = merge(parts, &mut Rng(3)).finish();
            is_the_whole(&format!("{separation:?}, query {b}"), &got, &whole, b);
        }
    }
}

#[test]
fn ties_across_shards_keep_the_smaller_id() {
    let rule = Rule::new(Similarity::Dot, Separation::TopK { k: 1 }, 1.0);
    for (name, device) in harness::devices() {
        let shard = |value: f32, index_offset| {
            let mut memory = MemoryOptions::new(1, rule).value_dim(1).build(device).unwrap();
            memory.add(Patterns::new(&[1.0]).values(&[value])).unwrap();
            let options = PartialOptions::default().index_offset(index_offset);
            memory.retrieve_partial_blocking(&[1.0], &options).unwrap().remove(0)
        };
        for (a, b) in [(shard(5.0, 0), shard(7.0, 1)), (shard(7.0, 1), shard(5.0, 0))] {
            assert_eq!(a.merge(b).unwrap().finish().output, [5.0], "{name}");
        }
    }
}

#[test]
fn nothing_merges_and_finishes() {
    for (name, device) in harness::devices() {
        for separation in separations() {
            let case = Case::random(3, 1, 20, 4, Some(2), Rule::new(Similarity::Dot, separation, 1.0));
            let memory = case.memory(name, device).unwrap();
            let part = |range| memory.retrieve_partial_blocking(&case.queries, &subset(range)).unwrap().remove(0);
            let nothing = Partial::from_bytes(&part(7..7).to_bytes()).unwrap();
            let finished = nothing.clone().merge(part(0..0)).unwrap().finish();
            assert_eq!(
                (finished.status, finished.output, finished.state),
                (Status::NothingLeft, vec![0.0; 2], vec![0.0; 4])
            );
            assert_eq!(nothing.merge(part(0..20)).unwrap().finish(), part(0..20).finish(), "{name}");
            let empty = MemoryOptions::new(4, case.rule).value_dim(2).build(device).unwrap();
            let all = PartialOptions::default();
            assert_eq!(empty.retrieve_partial_blocking(&case.queries, &all).unwrap()[0].patterns(), 0, "{name}");
            assert!(memory.retrieve_partial_blocking(&[], &all).unwrap().is_empty(), "{name}");
        }
    }
}

#[test]
fn others_and_bad_arguments_are_refused() {
    for (name, device) in harness::devices() {
        let partial = |dim, rule| {
            let case = Case::random(3, 1, 5, dim, None, rule);
            let memory = case.memory(name, device).unwrap();
            memory.retrieve_partial_blocking(&case.queries, &PartialOptions::default()).unwrap().remove(0)
        };
        let one = partial(3, Rule::softmax(1.0));
        for other in [partial(3, Rule::softmax(2.0)), partial(4, Rule::softmax(1.0))] {
            assert!(matches!(one.clone().merge(other), Err(Error::Shape { .. })), "{name}");
        }
        let memory = Case::random(3, 1, 5, 3, None, Rule::softmax(1.0)).memory(name, device).unwrap();
        let counting = |top| memory.retrieve_partial_blocking(&[0.0; 3], &PartialOptions::default().top(top));
        let error = counting(2).unwrap().remove(0).merge(counting(3).unwrap().remove(0)).unwrap_err().to_string();
        assert!(error.contains("2 patterns of largest weight") && error.contains("3 patterns"), "{name}: {error}");
        let error = counting(1025).unwrap_err().to_string();
        assert!(error.contains("top must be at most 1024, got 1025"), "{name}: {error}");
        #[allow(clippy::reversed_empty_ranges, reason = "it must be refused")]
        for range in [0..6, 9..9, 4..2, 0..usize::MAX] {
            let error = memory.retrieve_partial_blocking(&[0.0; 3], &subset(range)).unwrap_err();
            assert!(error.to_string().contains("subset"), "{name}: {error}");
        }
        for mask in [Mask::keep(&[true; 4]), Mask::keep_per_query(&[true; 10])] {
            let error = memory.retrieve_partial_blocking(&[0.0; 3], &subset(0..2).mask(mask)).unwrap_err();
            assert!(error.to_string().contains("mask"), "{name}: {error}");
        }
        assert!(memory.retrieve_partial_blocking(&[0.0; 4], &subset(0..5)).is_err(), "{name}");
        assert!(memory.retrieve_partial_blocking(&[f32::NAN; 3], &subset(0..5)).is_err(), "{name}");
    }
}

/// Sums by weights that are not normalised, of parts in any order; what an update makes of them is the caller's.
#[test]
fn sums_of_parts_are_those_of_the_whole() {
    if !harness::runs_on("cpu") {
        return;
    }
    let sign = Update::default().activation(Activation::Sign { zero: Zero::Keep });
    let separations = [
        Separation::Linear,
        Separation::Power { n: 3 },
        Separation::Rectified { n: 2 },
        Separation::Step { threshold: 1.0 },
    ];
    for (seed, separation) in separations.into_iter().chain([Separation::Softmax]).enumerate() {
        for update in [sign, sign.remove_self()] {
            let mut numbers = Rng(seed as u64);
            let rule = Rule::new(Similarity::Dot, separation, 0.5).then(update);
            let (batch, patterns, dim) = (3, 300, 12);
            let mut signs = |length: usize| -> Vec<f32> {
                (0..length).map(|_| if numbers.once_in(2) { 1.0 } else { -1.0 }).collect()
            };
            let (keys, queries) = (signs(patterns * dim), signs(batch * dim));
            let case = Case { keys, queries, ..Case::random(seed as u64, batch, patterns, dim, Some(2), rule) };
            let memory = cpu(&case);
            let ranges = cuts(patterns, 4, &mut numbers);
            let part = |range| memory.retrieve_partial_blocking(&case.queries, &subset(range).top(3)).unwrap();
            let mut parts: Vec<Vec<Partial>> = (0..batch).map(|_| Vec::new()).collect();
            for range in ranges {
                parts.iter_mut().zip(part(range)).for_each(|(parts, part)| parts.push(part));
            }
            let options = RetrieveOptions::default().top(3);
            let whole = memory.retrieve_blocking(&case.queries, &options).unwrap();
            let top = whole.top.as_ref().unwrap();
            for (b, parts) in parts.into_iter().enumerate() {
                let merged = merge(parts, &mut numbers).finish();
                assert_eq!((merged.status, merged.patterns), (Status::Answered, 300), "{rule}");
                let largest = whole.output.iter().fold(1.0f32, |most, v| most.max(v.abs()));
                for (got, expected) in merged.output.iter().zip(whole.output_row(b)) {
                    assert!((got - expected).abs() <= 1e-5 * largest, "{rule}: {got} for {expected}");
                }
                let expected = case.problem(b).retrieve(case.query(b), 1);
                let query = case.query(b);
                let local = |c: usize| f64::from(merged.state[c]) - merged.self_coupling * f64::from(query[c]);
                for (c, expected) in expected.local.iter().enumerate() {
                    assert!((local(c) - expected).abs() <= 1e-4 * (1.0 + expected.abs()), "{rule}: {}", local(c));
                }
                assert_eq!(merged.self_coupling == 0.0, !update.remove_self, "{rule}");
                for (got, (id, weight)) in merged.top.iter().zip(top.ids.iter().zip(&top.weight).skip(3 * b)) {
                    assert_eq!(Some(PatternId(got.index)), *id, "{rule}");
                    assert!((got.weight - weight).abs() <= 1e-5 * (1.0 + weight.abs()), "{rule}: {got:?} {weight}");
                }
            }
            let nothing = part(7..7).remove(0).finish();
            assert_eq!((nothing.status, nothing.self_coupling), (Status::NothingLeft, 0.0), "{rule}");
            assert_eq!(nothing.output, [0.0; 2], "{rule}");
        }
    }
    // Beyond the range of `f32`, and of `f64`.
    for (beta, n) in [(1e4, 12), (1e30, 63)] {
        let case = Case::random(1, 1, 9, 4, None, Rule::new(Similarity::Dot, Separation::Power { n }, beta));
        let memory = cpu(&case);
        let part = |range| memory.retrieve_partial_blocking(&case.queries, &subset(range)).unwrap().remove(0);
        let merged = merge(vec![part(0..3), part(3..9)], &mut Rng(2)).finish();
        assert_eq!((merged.status, &merged.output[..]), (Status::OutOfRange, &[0.0; 4][..]), "{beta} {n}");
    }
    let even = Case::random(1, 1, 9, 4, None, Rule::new(Similarity::Dot, Separation::Power { n: 2 }, 1.0));
    let error = cpu(&even).retrieve_partial_blocking(&even.queries, &subset(0..9).top(1)).unwrap_err().to_string();
    assert!(error.contains("retrieve_partial_blocking") && error.contains("power 2"), "{error}");
}

/// Every truncation, every byte set to extremes, and lengths that ask for the absurd: an error, or a partial state that
/// can be merged and finished. Never a panic.
#[test]
fn hostile_bytes() {
    if !harness::runs_on("cpu") {
        return;
    }
    for separation in separations().into_iter().chain([Separation::Linear, Separation::Step { threshold: 0.5 }]) {
        let case = Case::random(3, 1, 4, 3, Some(2), Rule::new(Similarity::Dot, separation, 1.0));
        let good = cpu(&case).retrieve_partial_blocking(&case.queries, &subset(0..4).top(3)).unwrap().remove(0);
        let bytes = good.to_bytes();
        assert_eq!(Partial::from_bytes(&bytes).unwrap(), good);
        for length in 0..bytes.len() {
            assert!(Partial::from_bytes(&bytes[..length]).is_err(), "{separation:?} cut to {length}");
        }
        assert!(Partial::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut bad = bytes.clone();
                bad[at] = value;
                if at < 12 && bad != bytes {
                    assert!(Partial::from_bytes(&bad).is_err(), "byte {at} is magic or version");
                }
                if let Ok(read) = Partial::from_bytes(&bad) {
                    let _ = read.clone().finish();
                    if let Ok(merged) = read.merge(good.clone()) {
                        let _ = merged.finish();
                    }
                }
            }
        }
        // The patterns of largest score are behind the widths, the number of patterns and the text of the update: 20
        // bytes each.
        assert_eq!(bytes[54..66], *[&4u64.to_le_bytes()[..], b"none"].concat());
        let (count, first) = (66, 74);
        assert_eq!(bytes[count..first], 3u64.to_le_bytes());
        let refused = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut bad = bytes.clone();
            change(&mut bad);
            let error = Partial::from_bytes(&bad).unwrap_err();
            assert!(matches!(error, Error::Shape { .. }), "{separation:?}: {error}");
        };
        for count_of in [2u64, 4, 1024, 1025, u64::MAX] {
            refused(&|bad| bad[count..first].copy_from_slice(&count_of.to_le_bytes()));
        }
        refused(&|bad| bad[first..first + 40].rotate_left(20));
        for score in [f64::NAN, f64::INFINITY, 1e300] {
            refused(&|bad| bad[first..first + 8].copy_from_slice(&score.to_le_bytes()));
        }
        refused(&|bad| bad[first + 16..first + 20].copy_from_slice(&f32::NAN.to_le_bytes()));
        for at in (22..bytes.len() - 8).step_by(8) {
            let mut bad = bytes.clone();
            bad[at..at + 8].copy_from_slice(&(u64::MAX / 3).to_le_bytes());
            if let Ok(read) = Partial::from_bytes(&bad) {
                let _ = read.finish();
            }
        }
    }
}

/// A part without patterns is sent as any other, however wide its rows are.
#[test]
fn empty_parts_are_sent() {
    let separations =
        [Separation::Softmax, Separation::Sparsemax, Separation::TopK { k: 2 }, Separation::Power { n: 3 }];
    for separation in separations {
        for (dim, value_dim) in [(1, None), (300, None), (5, Some(700))] {
            let rule = Rule::new(Similarity::Dot, separation, 1.0);
            let options = MemoryOptions::new(dim, rule);
            let options = value_dim.map_or(options.clone(), |columns| options.value_dim(columns));
            let memory = options.build(&Device::cpu()).unwrap();
            let options = PartialOptions::default().top(7);
            let part = memory.retrieve_partial_blocking(&vec![0.5; dim], &options).unwrap().remove(0);
            let bytes = part.to_bytes();
            assert_eq!(Partial::from_bytes(&bytes).unwrap(), part, "{separation:?} {dim} {value_dim:?}");
            assert!(Partial::from_bytes(&bytes[..bytes.len() - 1]).is_err());
            assert!(Partial::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
        }
    }
}
