//! Shapes around every boundary, on every device and under both strategies that every device has: right, repeatable,
//! and independent of the batch.

use attractor::internals::{Faults, Overrides, Strategy, forced};
use attractor::partial::PartialOptions;
use attractor::retrieval::WeightsOf;
use attractor::{
    Device, Memory, MemoryOptions, Patterns, Precision, Retrieval, RetrieveOptions, Rule, Separation, Similarity,
};
use harness::Case;

fn memory(device: &Device, case: &Case, window_bytes: Option<u64>) -> Memory {
    let mut options = MemoryOptions::new(case.dim, case.rule);
    if let Some(value_dim) = case.value_dim {
        options = options.value_dim(value_dim);
    }
    if let Some(bytes) = window_bytes {
        options = options.window_bytes(bytes);
    }
    let mut memory = options.build(device).unwrap();
    match &case.values {
        Some(values) => memory.add(Patterns::new(&case.keys).values(values)).unwrap(),
        None => memory.add(&case.keys).unwrap(),
    };
    memory
}

fn options(case: &Case, overrides: &Overrides) -> RetrieveOptions {
    forced(RetrieveOptions::steps(case.steps), overrides.clone(), Faults::POISON)
}

fn run(memory: &Memory, case: &Case, overrides: &Overrides) -> Retrieval {
    memory.retrieve_blocking(&case.queries, &options(case, overrides)).unwrap()
}

/// Retrieves twice, in fresh garbage each time, compares the bits, and judges a sample of the answers.
fn check(name: &str, device: &Device, case: &Case, window_bytes: Option<u64>, overrides: &Overrides) {
    let memory = memory(device, case, window_bytes);
    let first = run(&memory, case, overrides);
    let second = run(&memory, case, overrides);
    let describe = || {
        format!(
            "{name}: B {} N {} d {} dv {:?} windows {window_bytes:?} {overrides:?}",
            case.batch(),
            memory.len(),
            case.dim,
            case.value_dim
        )
    };
    assert_eq!(first, second, "two runs differ: {}", describe());
    let stride = case.batch().div_ceil(7);
    let sample = (0..case.batch()).step_by(stride).chain(case.batch().checked_sub(1));
    let share = case.judge(&first, sample);
    assert!(share <= 1.0, "{share:.2} times the bound: {}", describe());
}

fn strategies() -> [Overrides; 3] {
    let strategy = |strategy| Overrides { strategy: Some(strategy), ..Overrides::default() };
    [Overrides::default(), strategy(Strategy::FusedStream), strategy(Strategy::Staged)]
}

/// The sizes at which something changes: vectors of 4, tiles of 16, 32 and 64, and primes.
const SMALL: [usize; 12] = [1, 2, 3, 7, 15, 16, 17, 31, 33, 63, 64, 65];

#[test]
fn batches() {
    for (name, device) in harness::thorough_devices() {
        for batch in SMALL.into_iter().chain([127, 128, 129, 251]) {
            let case = Case::random(batch as u64, batch, 101, 19, None, Rule::softmax(0.7));
            for overrides in strategies() {
                check(name, device, &case, None, &overrides);
            }
        }
    }
}

#[test]
fn patterns() {
    for (name, device) in harness::thorough_devices() {
        for patterns in SMALL.into_iter().chain([127, 128, 129, 1021, 4096, 4097]) {
            let case = Case::random(patterns as u64, 5, patterns, 13, Some(6), Rule::softmax(-0.9));
            for overrides in strategies() {
                check(name, device, &case, None, &overrides);
            }
        }
    }
}

#[test]
fn dimensions() {
    for (name, device) in harness::thorough_devices() {
        for dim in SMALL.into_iter().chain([127, 128, 129, 255, 257, 784, 1023, 1025, 1031]) {
            let case = Case::random(dim as u64, 3, 67, dim, None, Rule::softmax(0.3));
            for overrides in strategies() {
                check(name, device, &case, None, &overrides);
            }
        }
    }
}

#[test]
fn value_dimensions() {
    for (name, device) in harness::thorough_devices() {
        for value_dim in SMALL.into_iter().chain([127, 129, 1023, 1031]) {
            let case = Case::random(value_dim as u64, 6, 70, 11, Some(value_dim), Rule::softmax(1.1));
            for overrides in strategies() {
                check(name, device, &case, None, &overrides);
            }
        }
    }
}

#[test]
fn several_steps() {
    for (name, device) in harness::thorough_devices() {
        for steps in [2, 3, 10] {
            for value_dim in [None, Some(5)] {
                let case = Case { steps, ..Case::random(3, 9, 200, 24, value_dim, Rule::softmax(0.5)) };
                for overrides in strategies() {
                    check(name, device, &case, None, &overrides);
                }
            }
        }
    }
}

#[test]
fn windows_and_splits_and_blocks() {
    for (name, device) in harness::thorough_devices() {
        let case = Case { steps: 2, ..Case::random(11, 37, 1000, 10, Some(9), Rule::softmax(0.8)) };
        // Rows of 12 floats: windows of 1, 7, 64, 333 rows and one for all.
        for window_bytes in [48, 7 * 48, 64 * 48, 333 * 48, 1 << 20] {
            for strategy in [Strategy::FusedStream, Strategy::Staged] {
                for (rows_per_split, splits, query_block) in [
                    (None, None, None),
                    (Some(1), Some(3), Some(5)),
                    (Some(100), None, Some(37)),
                    (None, Some(1), Some(1)),
                ] {
                    if window_bytes == 48 && splits.is_some() {
                        continue;
                    }
                    let overrides = Overrides {
                        strategy: Some(strategy),
                        rows_per_split,
                        splits,
                        query_block,
                        ..Overrides::default()
                    };
                    check(name, device, &case, Some(window_bytes), &overrides);
                }
            }
        }
    }
}

#[test]
fn extreme_betas_give_no_nan() {
    for (name, device) in harness::thorough_devices() {
        for beta in [0.0, 1e-30, -1e-30, 1e30, -1e30, 200.0, -200.0] {
            let case = Case::random(5, 4, 300, 12, None, Rule::softmax(beta));
            for overrides in strategies() {
                let got = run(&memory(device, &case, None), &case, &overrides);
                assert!(got.output.iter().all(|v| v.is_finite()), "{name} beta {beta} {overrides:?}");
                if beta.abs() < 1e3 {
                    let share = case.judge(&got, 0..4);
                    assert!(share <= 1.0, "{name} beta {beta} {overrides:?}: {share:.2} times the bound");
                }
            }
        }
    }
}

#[test]
fn patterns_added_one_by_one_or_all_at_once() {
    for (name, device) in harness::thorough_devices() {
        let case = Case::random(21, 3, 200, 6, None, Rule::softmax(1.0));
        let mut memory = Memory::new(device, case.dim, case.rule).unwrap();
        for (i, key) in case.keys.chunks_exact(case.dim).enumerate() {
            assert_eq!(memory.add(key).unwrap().get(0).unwrap().0, i as u64);
        }
        assert!(memory.capacity() >= memory.len());
        for overrides in strategies() {
            let got = run(&memory, &case, &overrides);
            assert!(case.judge(&got, 0..3) <= 1.0, "{name}");
        }
        memory.clear();
        assert!(memory.is_empty());
        let other = Case::random(22, 3, 9, 6, None, Rule::softmax(1.0));
        assert_eq!(memory.add(&other.keys).unwrap().get(0).unwrap().0, 200, "ids are not used again");
        assert!(other.judge(&run(&memory, &other, &Overrides::default()), 0..3) <= 1.0, "{name} after clear");
    }
}

#[test]
fn a_query_alone_gives_the_bits_that_it_gives_in_a_batch() {
    for (name, device) in harness::thorough_devices() {
        for (batch, plan_for) in [(70, 70), (9, 9), (1100, 1100)] {
            let case = Case { steps: 2, ..Case::random(31, batch, 500, 18, Some(7), Rule::softmax(0.9)) };
            let memory = memory(device, &case, Some(16 << 10));
            let together = options(&case, &Overrides::default()).plan_for(plan_for);
            let together = memory.retrieve_blocking(&case.queries, &together).unwrap();
            for b in [0, 1, batch / 2, batch - 1] {
                let alone = RetrieveOptions::steps(2).plan_for(plan_for);
                let alone = memory.retrieve_blocking(case.query(b), &alone).unwrap();
                assert_eq!(alone.output_row(0), together.output_row(b), "{name} B {batch} query {b}");
                assert_eq!(alone.state_row(0), together.state_row(b), "{name} B {batch} query {b}");
            }
        }
    }
}

#[test]
fn a_hundred_thousand_patterns() {
    for (name, device) in harness::thorough_devices() {
        for (batch, dim) in [(1, 16), (33, 16)] {
            let case = Case::random(41, batch, 100_003, dim, None, Rule::softmax(2.0));
            check(name, device, &case, None, &Overrides::default());
            check(name, device, &case, Some(1 << 20), &Overrides::default());
        }
    }
}

/// Queries that invocations hold: widths around each multiple of the columns that are unrolled, values beside keys,
/// more and fewer queries than an invocation holds, rules, masks and stores.
#[test]
fn held_queries() {
    let hold = Overrides { strategy: Some(Strategy::FusedRegister), ..Overrides::default() };
    for (name, device) in harness::gpus() {
        for (batch, dim, value_dim) in
            [(1, 1, None), (5, 13, Some(70)), (65, 16, None), (130, 29, Some(3)), (257, 64, None), (40, 127, None)]
        {
            let case = Case { steps: 2, ..Case::random(71, batch, 333, dim, value_dim, Rule::softmax(0.8)) };
            for (window_bytes, rows_per_split, splits, query_block) in
                [(None, None, None, None), (Some(100 * 512), Some(1), Some(2), Some(33))]
            {
                let overrides = Overrides { rows_per_split, splits, query_block, ..hold.clone() };
                check(name, device, &case, window_bytes, &overrides);
            }
        }
        for (similarity, separation, precision) in [
            (Similarity::Cosine, Separation::Softmax1, Precision::F32),
            (Similarity::Euclidean, Separation::Softmax, Precision::I8),
            (Similarity::Manhattan, Separation::Softmax, Precision::F16),
        ] {
            let rule = Rule::new(similarity, separation, 0.9);
            let mut numbers = harness::Rng(73);
            let mut case = Case::random(72, 70, 101, 18, Some(7), rule);
            // -1, 0 and 1: what every store holds as it is.
            case.keys.iter_mut().chain(case.values.as_mut().unwrap()).for_each(|v| *v = (1.49 * *v).round());
            case.bias = Some(numbers.vector(101));
            case.keep = Some((0..70 * 101).map(|_| numbers.unit() > 0.0).collect());
            case.precision = precision;
            let options = forced(case.options(), hold.clone(), Faults::POISON);
            let Some(got) = case.run(name, device, &options) else { continue };
            let share = case.judge(&got, 0..70);
            assert!(share <= 1.0, "{name} {rule:?} {precision:?}: {share:.2} times the bound");
        }
    }
}

/// The tiles that hardware takes for large batches: rules, masks, stores, terms, edges, and the search over all
/// patterns.
#[test]
fn large_tiles() {
    // SwiftShader compiles them for minutes.
    for (name, device) in harness::gpus().filter(|(name, _)| name != "swiftshader") {
        for (similarity, separation, precision, value_dim) in [
            (Similarity::Dot, Separation::Softmax, Precision::F32, Some(131)),
            (Similarity::Euclidean, Separation::Sparsemax, Precision::I8, None),
            (Similarity::Manhattan, Separation::Softmax1, Precision::F16, Some(7)),
            (Similarity::Dot, Separation::Entmax { alpha: 3.0 }, Precision::F32, None),
        ] {
            let rule = Rule::new(similarity, separation, 0.01);
            let mut numbers = harness::Rng(74);
            let mut case = Case { steps: 2, ..Case::random(75, 130, 4500, 22, value_dim, rule) };
            // -1, 0 and 1: what every store holds as it is.
            case.keys.iter_mut().chain(case.values.iter_mut().flatten()).for_each(|v| *v = (1.49 * *v).round());
            case.keep = Some((0..130 * 4500).map(|_| numbers.unit() > -0.97).collect());
            case.precision = precision;
            let overrides =
                Overrides { strategy: Some(Strategy::Staged), queries_per_invocation: Some(8), ..Overrides::default() };
            let Some(got) = case.run(name, device, &forced(case.options(), overrides, Faults::POISON)) else {
                continue;
            };
            let share = case.judge(&got, [0, 64, 127, 128, 129]);
            assert!(share <= 1.0, "{name} {rule:?} {precision:?}: {share:.2} times the bound");
        }
    }
}

/// More workgroups than one dimension of a grid may have: one for each query in `load_queries` and `update_states` is
/// cut by the query block, so the largest grid is that of splits and queries.
#[test]
fn more_workgroups_than_one_dimension_holds() {
    for (name, device) in harness::thorough_devices() {
        let case = Case::random(51, 70_000, 5, 3, None, Rule::softmax(1.0));
        check(name, device, &case, None, &Overrides::default());
        // 1,000 splits x 100 queries in one dispatch.
        let case = Case::random(52, 100, 64_000, 1, None, Rule::softmax(1.0));
        let overrides = Overrides {
            strategy: Some(Strategy::Staged),
            rows_per_split: Some(64),
            splits: Some(1000),
            ..Overrides::default()
        };
        check(name, device, &case, None, &overrides);
        let overrides =
            Overrides { strategy: Some(Strategy::FusedStream), rows_per_split: Some(32), ..Overrides::default() };
        check(name, device, &case, None, &overrides);
    }
}

/// The widths around which tiles of few rows are cut, keys or values or both, in each store and on each path: few
/// queries and many, online and listed scores, reports, partial states.
#[test]
fn wide_rows() {
    let separations = [
        Separation::Softmax,
        Separation::Softmax1,
        Separation::Sparsemax,
        Separation::Entmax { alpha: 1.5 },
        Separation::TopK { k: 2 },
    ];
    for (name, device) in harness::thorough_devices() {
        for (dim, value_dim) in [
            (4095, None),
            (4096, None),
            (4097, None),
            (4097, Some(3)),
            (3, Some(4097)),
            (8193, Some(4099)),
            (65_537, None),
            (838_860, None),
            (838_861, None),
            (5, Some(838_861)),
        ] {
            let widest = dim.max(value_dim.unwrap_or(0));
            // A GPU has a limit of its own, and a software one takes its time.
            if !device.is_cpu() && widest > 4099 {
                continue;
            }
            let many = if widest > 100_000 { 3 } else { 40 };
            for (number, separation) in separations.into_iter().enumerate() {
                let precision = Precision::ALL[(number + dim) % Precision::ALL.len()];
                for batch in if widest > 100_000 { &[1, 8][..] } else { &[1, 4, 8, 33][..] } {
                    // The scores are of order one.
                    let rule = Rule::new(Similarity::Dot, separation, 2.0 / (dim as f32).sqrt());
                    let mut case = Case::random(81, *batch, many, dim, value_dim, rule);
                    // -1, 0 and 1: what every store holds as it is.
                    case.keys.iter_mut().chain(case.values.iter_mut().flatten()).for_each(|v| *v = (1.49 * *v).round());
                    case.precision = precision;
                    // Between attractors an update multiplies the rounding of the one before.
                    case.steps = if widest > 100_000 || !device.is_cpu() { 1 } else { 2 };
                    wide(name, device, &case);
                }
            }
        }
    }
}

/// Judges an answer, what is reported with it, and what its parts make of it.
fn wide(name: &str, device: &Device, case: &Case) {
    let describe = format!("{name} {:?} {:?} B {} d {}", case.rule, case.precision, case.batch(), case.dim);
    let sample = if case.dim > 100_000 { vec![case.batch() - 1] } else { vec![0, case.batch() - 1] };
    let Some(memory) = case.memory(name, device) else { return };
    let energy = !matches!(case.rule.separation, Separation::TopK { .. });
    let mut options = case.options().weights(WeightsOf::All).statistics().top(2);
    if energy {
        options = options.energy();
    }
    let got = memory.retrieve_blocking(&case.queries, &options).unwrap();
    let share = case.judge(&got, sample.iter().copied());
    assert!(share <= 1.0, "{share:.2} times the bound: {describe}");
    let (weights, statistics) = (got.weights.as_ref().unwrap(), got.statistics.as_ref().unwrap());
    for b in sample {
        let n = case.patterns();
        let expected = case.reference(b);
        let off = harness::worst(&weights[b * n..(b + 1) * n], &expected.weights);
        assert!(off < 1e-4, "weights off by {off}: {describe}");
        let largest = expected.weights.iter().copied().fold(0.0, f64::max);
        assert!((f64::from(statistics[b].largest) - largest).abs() < 1e-4, "largest weight: {describe}");
        let state: Vec<f64> = got.state_row(b).iter().map(|x| f64::from(*x)).collect();
        if let (Some(energy), Some(expected)) = (&got.energy, case.problem(b).energy(&state)) {
            // A difference of squares of norms.
            let largest = case.keys.chunks_exact(case.dim).map(|key| key.iter().map(|k| k * k).sum::<f32>());
            let scale = f64::from(largest.fold(1.0, f32::max)) + expected.abs();
            let off = (energy[b] - expected).abs() / scale;
            assert!(off < 1e-4, "energy off by {off}: {describe}");
        }
    }
    if case.steps == 1 {
        let part = |subset| PartialOptions::default().subset(subset);
        let parts = [0..1, 1..case.patterns()]
            .map(|subset| memory.retrieve_partial_blocking(case.query(0), &part(subset)).unwrap().remove(0));
        let whole = parts.into_iter().reduce(|a, b| a.merge(b).unwrap()).unwrap().finish();
        let off = harness::worst(&whole.output, &case.reference(0).output);
        assert!(off < 1e-4, "parts off by {off}: {describe}");
    }
}
