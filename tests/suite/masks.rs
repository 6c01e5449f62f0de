//! What masks and removed patterns leave out is skipped, tile by tile, and nothing else: answers are those of a memory
//! that holds only the patterns that are left.

use std::ops::Range;

use attractor::internals::{Faults, Overrides, Strategy, forced};
use attractor::partial::PartialOptions;
use attractor::retrieval::{Status, WeightsOf};
use attractor::{Device, Mask, Precision, Retrieval, RetrieveOptions, Rule, Separation, Similarity};
use harness::{Case, Rng};

/// More than four of the largest tiles, with an edge.
const PATTERNS: usize = 700;
const SEPARATIONS: [Separation; 7] = [
    Separation::Softmax,
    Separation::Softmax1,
    Separation::Sparsemax,
    Separation::Entmax { alpha: 1.5 },
    Separation::Entmax { alpha: 3.0 },
    Separation::TopK { k: 4 },
    Separation::TopK { k: 300 },
];

/// A case whose keys and values every store holds as they are: -1, 0 and 1.
fn case(seed: u64, batch: usize, rule: Rule, precision: Precision) -> Case {
    let mut case = Case::random(seed, batch, PATTERNS, 24, Some(5), rule);
    case.keys.iter_mut().chain(case.values.as_mut().unwrap()).for_each(|v| *v = (1.49 * *v).round());
    case.bias = Some(Rng(seed + 1).vector(PATTERNS));
    case.precision = precision;
    case
}

fn of(keeps: impl Fn(usize) -> bool) -> Vec<bool> {
    (0..PATTERNS).map(keeps).collect()
}

fn within(ranges: &[Range<usize>]) -> Vec<bool> {
    of(|i| ranges.iter().any(|range| range.contains(&i)))
}

/// Which patterns are left, by name.
fn shared() -> Vec<(&'static str, Vec<bool>)> {
    let numbers = Rng(5).vector(PATTERNS);
    let random = |least: f32| numbers.iter().map(|number| *number > least).collect();
    vec![
        ("the first", of(|i| i == 0)),
        ("the last", of(|i| i + 1 == PATTERNS)),
        ("one inside", of(|i| i == 300)),
        ("all but one", of(|i| i != 128)),
        ("two at an edge", of(|i| i == 127 || i == 128)),
        ("edges of tiles", within(&[0..1, 31..33, 63..65, 127..129, 255..257, 383..384, 512..513])),
        ("whole tiles", within(&[128..256, 512..640])),
        ("all but whole tiles", within(&[0..128, 384..512, 672..PATTERNS])),
        ("runs that cross tiles", within(&[100..140, 500..530])),
        ("few at random", random(0.94)),
        ("most at random", random(-0.7)),
    ]
}

/// The case of a memory that holds only the patterns that are left.
fn reduced(case: &Case, keep: &[bool]) -> Case {
    let rows = |rows: &[f32]| -> Vec<f32> {
        let rows = rows.chunks_exact(rows.len() / PATTERNS).zip(keep);
        rows.filter(|(_, keep)| **keep).flat_map(|(row, _)| row.iter().copied()).collect()
    };
    Case {
        keys: rows(&case.keys),
        values: case.values.as_deref().map(rows),
        bias: case.bias.as_deref().map(rows),
        keep: None,
        ..case.clone()
    }
}

/// Every way of computing softmax, or the plan's own.
fn strategies(device: &Device, separation: Separation) -> Vec<Option<Strategy>> {
    let mut all = vec![None];
    if !device.is_cpu() && separation == Separation::Softmax {
        all.extend([Strategy::FusedStream, Strategy::FusedRegister, Strategy::Staged].map(Some));
    }
    all
}

fn options(case: &Case, strategy: Option<Strategy>) -> RetrieveOptions {
    forced(
        case.options().top(3).statistics().weights(WeightsOf::All),
        Overrides { strategy, ..Overrides::default() },
        Faults::POISON,
    )
}

/// Holds an answer to that of the reference for the patterns that are left.
fn judge(left: &Case, got: &Retrieval, keep: &[bool], what: &str) {
    let share = left.judge(got, 0..left.batch());
    assert!(share <= 1.0, "{what}: {share:.2} times the bound");
    let weights = got.weights.as_ref().expect("asked for");
    for (b, row) in weights.chunks_exact(PATTERNS).enumerate() {
        let expected = left.reference(b).weights;
        let of_left = row.iter().zip(keep).filter(|(_, keep)| **keep).map(|(weight, _)| *weight);
        for (weight, expected) in of_left.zip(&expected) {
            assert!((f64::from(weight) - expected).abs() <= 2e-5, "{what} query {b}: weight {weight} for {expected}");
        }
        let masked = row.iter().zip(keep).filter(|(_, keep)| !**keep);
        assert!(masked.into_iter().all(|(weight, _)| *weight == 0.0), "{what} query {b}: weight of what is left out");
    }
    let top = got.top.as_ref().expect("asked for");
    for (at, id) in top.ids.iter().enumerate() {
        assert!(id.is_none_or(|id| keep[id.0 as usize]), "{what}: {id:?} in place {at} is left out");
        assert_eq!(id.is_some(), at % top.k < left.patterns(), "{what}: place {at}");
    }
}

/// Both forms of the CPU engine, and few and many queries on adapters, there in one store each.
fn each_case(mut check: impl FnMut(&str, &Device, &Case)) {
    for (name, device) in harness::thorough_devices() {
        for (number, separation) in SEPARATIONS.into_iter().enumerate() {
            let similarities = [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean, Similarity::Manhattan];
            for (which, (batch, steps)) in [(1, 1), (3, 2), (40, 1)].into_iter().enumerate() {
                for (store, precision) in Precision::ALL.into_iter().enumerate() {
                    if !device.is_cpu() && store != (number + which) % Precision::ALL.len() {
                        continue;
                    }
                    let rule = Rule::new(similarities[(number + store) % 4], separation, 1.5);
                    // Between attractors an update multiplies the rounding of the one before.
                    let steps = if device.is_cpu() { steps } else { 1 };
                    let case = Case { steps, ..case(100 + number as u64, batch, rule, precision) };
                    check(name, device, &case);
                }
            }
        }
    }
}

#[test]
fn a_mask_answers_as_a_memory_of_what_is_left() {
    each_case(|name, device, case| {
        let Some(memory) = case.memory(name, device) else { return };
        for strategy in strategies(device, case.rule.separation) {
            for (which, keep) in shared() {
                let what =
                    format!("{name} {:?} {:?} B {} {strategy:?}: {which}", case.rule, case.precision, case.batch());
                let options = options(case, strategy).mask(Mask::keep(&keep));
                let got = memory.retrieve_blocking(&case.queries, &options).unwrap();
                judge(&reduced(case, &keep), &got, &keep, &what);
            }
        }
    });
}

#[test]
fn removed_patterns_are_as_if_they_had_never_been() {
    each_case(|name, device, case| {
        for (which, keep) in [shared().swap_remove(6), shared().swap_remove(7), shared().swap_remove(9)] {
            // Windows that end inside of tiles.
            let case = Case { window_bytes: Some(150 * 24 * 4), ..case.clone() };
            let what = format!("{name} {:?} {:?} B {}: {which}", case.rule, case.precision, case.batch());
            let Some(mut memory) = case.memory(name, device) else { return };
            let ids: Vec<_> = (0..PATTERNS).map(|i| memory.id_at(i).expect("a pattern")).collect();
            ids.iter().zip(&keep).filter(|(_, keep)| !**keep).for_each(|(id, _)| memory.remove(*id).unwrap());
            let left = reduced(&case, &keep);
            judge(&left, &memory.retrieve_blocking(&case.queries, &options(&case, None)).unwrap(), &keep, &what);
            // And a mask on top of them.
            let mask = within(&[100..200, 600..680]);
            let both: Vec<bool> = keep.iter().zip(&mask).map(|(a, b)| *a && *b).collect();
            let options = options(&case, None).mask(Mask::keep(&mask));
            judge(&reduced(&case, &both), &memory.retrieve_blocking(&case.queries, &options).unwrap(), &both, &what);
        }
    });
}

#[test]
fn queries_leave_out_tiles_of_their_own() {
    each_case(|name, device, case| {
        let (batch, numbers) = (case.batch(), Rng(6).vector(case.batch() * PATTERNS));
        let each = |keeps: &dyn Fn(usize, usize) -> bool| -> Vec<bool> {
            (0..batch * PATTERNS).map(|at| keeps(at / PATTERNS, at % PATTERNS)).collect()
        };
        let masks = [
            ("one tile each", each(&|b, i| i / 128 == b % 6)),
            ("one each", each(&|b, i| i == b * 97 % PATTERNS)),
            ("the last query alone", each(&|b, i| if b + 1 == batch { i > 600 } else { i == 5 })),
            ("tiles in turn, some at random", each(&|b, i| (i / 32 + b) % 3 == 0 && numbers[b * PATTERNS + i] > 0.5)),
            ("nothing for some", each(&|b, i| b % 2 == 1 && i / 64 == 4)),
        ];
        let Some(memory) = case.memory(name, device) else { return };
        for strategy in strategies(device, case.rule.separation) {
            for (which, keep) in &masks {
                let what = format!("{name} {:?} {:?} B {batch} {strategy:?}: {which}", case.rule, case.precision);
                let case = Case { keep: Some(keep.clone()), ..case.clone() };
                let got = memory.retrieve_blocking(&case.queries, &options(&case, strategy)).unwrap();
                let share = case.judge(&got, 0..batch);
                assert!(share <= 1.0, "{what}: {share:.2} times the bound");
                for b in 0..batch {
                    let nothing = !keep[b * PATTERNS..(b + 1) * PATTERNS].contains(&true);
                    assert_eq!(got.status[b] == Status::NothingLeft, nothing, "{what} query {b}");
                }
            }
        }
    });
}

#[test]
fn partial_states_skip_what_is_left_out() {
    for (name, device) in harness::thorough_devices() {
        for separation in SEPARATIONS {
            let case = case(140, 3, Rule::new(Similarity::Dot, separation, 1.5), Precision::F32);
            let Some(memory) = case.memory(name, device) else { continue };
            for (which, keep) in shared() {
                let left = reduced(&case, &keep);
                let part = |positions: Range<usize>| {
                    let options = PartialOptions::default().subset(positions).mask(Mask::keep(&keep));
                    memory.retrieve_partial_blocking(&case.queries, &options).unwrap()
                };
                for (b, (first, second)) in part(0..333).into_iter().zip(part(333..PATTERNS)).enumerate() {
                    let merged = first.merge(second).unwrap().finish();
                    let error = harness::worst(&merged.output, &left.reference(b).output);
                    assert!(error <= 2e-5, "{name} {separation:?} {which} query {b}: off by {error}");
                }
            }
        }
    }
}

/// A kernel that ignores the mask, or skips tiles that overlap others, answers wrongly.
#[test]
fn a_kernel_that_skips_wrongly_is_caught() {
    let rule = |separation| Rule::new(Similarity::Dot, separation, 1.5);
    let many = case(150, 70, rule(Separation::Softmax), Precision::F32);
    let few = case(151, 3, rule(Separation::Softmax), Precision::F32);
    let few_sparse = case(152, 3, rule(Separation::Sparsemax), Precision::F32);
    let keep = of(|i| (i / 128) % 2 == 0);
    let by = |strategy| Overrides { strategy: Some(strategy), ..Overrides::default() };
    let damages = [
        (&many, by(Strategy::Staged), ("similarity", ("KEEP", 0))),
        (&many, by(Strategy::Staged), ("projection", ("SKIPPED", 100))),
        (&many, by(Strategy::FusedRegister), ("fused_register", ("KEEP", 0))),
        (&many, by(Strategy::FusedRegister), ("fused_register", ("SKIPPED", 100))),
        (&few, by(Strategy::FusedStream), ("fused_stream", ("KEEP", 0))),
        (&few_sparse, Overrides::default(), ("stream_similarity", ("KEEP", 0))),
    ];
    for (name, device) in harness::gpus() {
        for (case, overrides, damage) in &damages {
            let Some(memory) = case.memory(name, device) else { continue };
            let left = reduced(case, &keep);
            let share = |faults| {
                let options = forced(case.options(), overrides.clone(), faults).mask(Mask::keep(&keep));
                left.judge(&memory.retrieve_blocking(&case.queries, &options).unwrap(), 0..case.batch())
            };
            let sound = share(Faults::NONE);
            assert!(sound <= 1.0, "{name} {damage:?}: sound kernels give {sound:.2} times the bound");
            let damaged = share(Faults { constant: Some(*damage), ..Faults::NONE });
            assert!(damaged > 1.0, "{name}: {damage:?} gives {damaged:.2} times the bound");
        }
    }
}
