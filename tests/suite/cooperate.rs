//! Products by cooperative matrices of halves, wherever an adapter has them: as good as `f32` unless asked to round, on
//! shapes around every boundary and on inputs that halves are bad at.

#![allow(unsafe_code, reason = "a host must vouch for experimental features")]

use attractor::internals::{Faults, Overrides, Strategy, forced};
use attractor::retrieval::Status;
use attractor::wgpu::{self, Features};
use attractor::{Device, Precision, Retrieval, RetrieveOptions, Rule, Separation, Similarity};
use harness::{Case, Rng};

fn cooperate() -> Overrides {
    Overrides { strategy: Some(Strategy::FusedMatrix), ..Overrides::default() }
}

/// The devices with cooperative matrices that suit; the others are printed as skips.
fn cooperating() -> impl Iterator<Item = &'static (String, Device)> {
    harness::gpus().filter(|(name, device)| {
        let case = Case { precision: Precision::F16, ..Case::random(1, 1, 1, 1, None, Rule::softmax(1.0)) };
        let options = forced(RetrieveOptions::default(), cooperate(), Faults::POISON);
        let told = case.memory(name, device).map(|memory| memory.explain(1, &options).unwrap());
        let able = told.is_some_and(|told| told.strategy.starts_with("fused_matrix"));
        if !able {
            eprintln!("SKIP {name}: no cooperative matrices of halves that add up in f32");
        }
        able
    })
}

/// The nearest number with 11 bits: a half, where it is neither too large nor too small for one.
fn half(v: f32) -> f32 {
    let bits = v.to_bits();
    f32::from_bits((bits + 0xfff + (bits >> 13 & 1)) & !0x1fff)
}

/// A random case whose patterns are halves as they are.
fn halves(seed: u64, batch: usize, patterns: usize, dim: usize, value_dim: Option<usize>, rule: Rule) -> Case {
    let mut case = Case::random(seed, batch, patterns, dim, value_dim, rule);
    case.keys.iter_mut().chain(case.values.iter_mut().flatten()).for_each(|v| *v = half(*v));
    case.precision = Precision::F16;
    case
}

fn run(name: &str, device: &Device, case: &Case, overrides: &Overrides) -> Retrieval {
    case.run(name, device, &forced(case.options(), overrides.clone(), Faults::POISON)).unwrap()
}

/// Retrieves twice, in fresh garbage each time, compares the bits, and judges a sample of the answers.
fn check(name: &str, device: &Device, case: &Case, overrides: &Overrides) -> f64 {
    let got = run(name, device, case, overrides);
    assert_eq!(got, run(name, device, case, overrides), "{name}: two runs differ");
    let stride = case.batch().div_ceil(9);
    let share = case.judge(&got, (0..case.batch()).step_by(stride).chain(case.batch().checked_sub(1)));
    let Case { rule, dim, value_dim, window_bytes, steps, .. } = case;
    let (batch, patterns) = (case.batch(), case.patterns());
    assert!(
        share <= 1.0,
        "{name}: {share:.2} times the bound: B {batch} N {patterns} d {dim} dv {value_dim:?} windows {window_bytes:?} \
         steps {steps} {rule:?} {overrides:?}"
    );
    share
}

/// Batches, patterns, widths of keys and of values around the sizes at which something changes: fragments of 8 and 16,
/// tiles of 32 and 64 patterns, groups of 32 and 64 queries, 128 columns.
#[test]
fn shapes_around_every_boundary() {
    let rule = Rule::softmax(0.7);
    for (name, device) in cooperating() {
        for batch in [1, 8, 17, 31, 32, 33, 63, 64, 65, 129] {
            check(name, device, &halves(batch as u64, batch, 101, 19, None, rule), &cooperate());
        }
        for patterns in [1, 2, 7, 8, 9, 31, 32, 33, 63, 64, 65, 127, 128, 129, 1021, 4097] {
            check(name, device, &halves(patterns as u64, 5, patterns, 13, Some(6), rule), &cooperate());
        }
        for dim in [1, 8, 9, 17, 31, 128] {
            check(name, device, &halves(dim as u64, 9, 77, dim, None, rule), &cooperate());
        }
        for value_dim in [1, 16, 117] {
            let steps = 1 + value_dim as u32 % 2;
            let case = Case { steps, ..halves(value_dim as u64, 6, 70, 11, Some(value_dim), rule) };
            check(name, device, &case, &cooperate());
        }
    }
}

#[test]
fn windows_splits_blocks_and_steps() {
    for (name, device) in cooperating() {
        for value_dim in [None, Some(9)] {
            let case = Case { steps: 3, ..halves(11, 37, 1000, 10, value_dim, Rule::softmax(0.8)) };
            for window_bytes in [None, Some(7 * 24), Some(333 * 24)] {
                for (rows_per_split, splits, query_block) in
                    [(None, None, None), (Some(1), Some(3), Some(5)), (Some(200), None, Some(37))]
                {
                    let overrides = Overrides { rows_per_split, splits, query_block, ..cooperate() };
                    check(name, device, &Case { window_bytes, ..case.clone() }, &overrides);
                }
            }
        }
    }
}

#[test]
fn masks_biases_and_rules() {
    for (name, device) in cooperating() {
        for similarity in [Similarity::Dot, Similarity::Cosine] {
            for separation in [Separation::Softmax, Separation::Softmax1, Separation::TopK { k: 1000 }] {
                let mut numbers = Rng(73);
                let mut case = halves(72, 41, 131, 18, Some(7), Rule::new(similarity, separation, 2.9));
                case.bias = Some(numbers.vector(131));
                let keep: Vec<bool> = (0..41 * 131).map(|i| i >= 131 && numbers.unit() > 0.0).collect();
                case.keep = Some(keep);
                case.steps = 2;
                check(name, device, &case, &cooperate());
                let got = run(name, device, &case, &cooperate());
                assert!(got.output_row(0).iter().all(|v| *v == 0.0), "{name}: the first query may use none");
                assert_eq!(got.status[0], Status::NothingLeft, "{name}");
            }
        }
        // What it cannot do exactly is done in another way.
        for (similarity, separation, precision) in [
            (Similarity::Euclidean, Separation::Softmax, Precision::F16),
            (Similarity::Dot, Separation::Sparsemax, Precision::F16),
            (Similarity::Dot, Separation::Softmax, Precision::F32),
        ] {
            let case = Case { precision, ..halves(74, 5, 40, 6, None, Rule::new(similarity, separation, 1.0)) };
            check(name, device, &case, &cooperate());
        }
    }
}

#[test]
fn a_query_alone_gives_the_bits_that_it_gives_in_a_batch() {
    for (name, device) in cooperating() {
        let mut case = Case { steps: 2, ..halves(31, 70, 500, 18, Some(7), Rule::softmax(3.9)) };
        // Some go on raising their references long after the others.
        case.queries.iter_mut().enumerate().for_each(|(i, x)| *x *= (i / 18) as f32);
        let options = forced(RetrieveOptions::steps(2).plan_for(70), cooperate(), Faults::POISON);
        let together = case.run(name, device, &options).unwrap();
        for b in [0, 1, 35, 69] {
            let alone = Case { queries: case.query(b).to_vec(), ..case.clone() };
            let alone = alone.run(name, device, &options).unwrap();
            assert_eq!(alone.output_row(0), together.output_row(b), "{name} query {b}");
            assert_eq!(alone.state_row(0), together.state_row(b), "{name} query {b}");
        }
    }
}

/// Inputs that halves are bad at, or that move the reference.
fn attacks() -> Vec<(&'static str, Case)> {
    let case = |seed, beta| halves(seed, 20, 700, 24, None, Rule::softmax(beta));
    let mut all = Vec::new();
    // Weights that are almost those of the maximum alone.
    all.push(("large beta", case(1, 300.0)));
    all.push(("negative beta", case(2, -40.0)));
    // Pairs of patterns that differ in the last bit of one element, which beta makes count.
    let mut ties = case(3, 900.0);
    for pair in ties.keys.chunks_exact_mut(48) {
        let (one, other) = pair.split_at_mut(24);
        other.copy_from_slice(one);
        other[7] = half(other[7] * 1.000_976_6);
    }
    all.push(("near ties", ties));
    // Large products that cancel, so that what is left is in the low bits.
    let mut cancel = case(4, 1.0);
    for (row, of) in cancel.keys.chunks_exact_mut(24).zip(1..) {
        (0..12).for_each(|c| row[c] = half(30.0 + (of % 13) as f32));
        (12..24).for_each(|c| row[c] = half(-row[c - 12] + row[c] / 8.0));
    }
    for query in cancel.queries.chunks_exact_mut(24) {
        (12..24).for_each(|c| query[c] = query[c - 12]);
    }
    all.push(("cancellation", cancel));
    // The largest halves.
    let mut large = case(5, 3e-6);
    large.keys.iter_mut().for_each(|v| *v = if *v < -0.9 { -65_504.0 } else { half(65_504.0 * *v) });
    all.push(("65504", large));
    // Halves that have lost bits, down to the smallest one, and queries as small, of which the change would be judged.
    let mut small = case(6, 3e6 * 262_144.0);
    small.queries.iter_mut().for_each(|x| *x /= 262_144.0);
    small.keys.iter_mut().for_each(|v| *v = (*v * 40.0).round() / 16_777_216.0);
    all.push(("subnormal halves", small));
    // Queries beyond what halves hold on either side, and elements far below the largest.
    let mut wide = case(7, 1.0);
    for (b, query) in wide.queries.chunks_exact_mut(24).enumerate() {
        let scale = 10f32.powi(2 * b as i32 - 28);
        query.iter_mut().enumerate().for_each(|(c, x)| *x *= scale * 0.5f32.powi(c as i32 / 4));
    }
    all.push(("queries of every magnitude", wide));
    // Scores that go up by a little with every pattern, past the reference again and again; and down.
    for (name, direction) in [("rising scores", 0.2f32), ("falling scores", -0.2)] {
        let mut slope = case(8, 1.0);
        slope.queries.chunks_exact_mut(24).for_each(|query| query[0] = 1.0);
        slope.keys.chunks_exact_mut(24).enumerate().for_each(|(i, key)| key[0] = half(direction * i as f32));
        all.push((name, slope));
    }
    all
}

#[test]
fn inputs_that_halves_are_bad_at() {
    for (name, device) in cooperating() {
        for (attack, case) in attacks() {
            for rows_per_split in [None, Some(64)] {
                let overrides = Overrides { rows_per_split, ..cooperate() };
                let share = check(name, device, &case, &overrides);
                println!("{name}: {attack}: {share:.3} of the bound");
            }
        }
    }
}

#[test]
fn extreme_betas_give_no_nan() {
    for (name, device) in cooperating() {
        for beta in [0.0, 1e-30, 1e30, -1e30] {
            let got = run(name, device, &halves(5, 4, 300, 12, None, Rule::softmax(beta)), &cooperate());
            assert!(got.output.iter().all(|v| v.is_finite()), "{name} beta {beta}");
        }
    }
}

/// A host's device multiplies fragments if the host asked for all that this takes, and does without otherwise.
#[test]
fn a_host_says_what_is_used() {
    let case = halves(6, 40, 130, 12, None, Rule::softmax(1.0));
    for (name, adapter) in harness::adapters() {
        let takes = Features::EXPERIMENTAL_COOPERATIVE_MATRIX | Features::SHADER_F16 | Features::SUBGROUP;
        for features in [takes, takes - Features::SUBGROUP, Features::empty()] {
            if !adapter.features().contains(features) {
                continue;
            }
            let descriptor = wgpu::DeviceDescriptor {
                required_features: features,
                required_limits: adapter.limits(),
                // SAFETY: of what is experimental only cooperative matrices are asked for, and only the library uses
                // them.
                experimental_features: unsafe { wgpu::ExperimentalFeatures::enabled() },
                ..Default::default()
            };
            let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
            let shared = Device::from_wgpu_with_adapter(&adapter, &device, &queue).unwrap();
            let memory = case.memory(&name, &shared).unwrap();
            let options = forced(RetrieveOptions::default(), cooperate(), Faults::POISON);
            let cooperates = memory.explain(40, &options).unwrap().strategy.starts_with("fused_matrix");
            let able = cooperating().any(|(other, _)| *other == name);
            assert_eq!(cooperates, able && features == takes, "{name}: {features:?}");
            let got = memory.retrieve_blocking(&case.queries, &options).unwrap();
            assert!(case.judge(&got, 0..40) <= 1.0, "{name}: {features:?}");
        }
    }
}

/// Of two kinds of patterns, one has all the value and so little weight that no half of its size could tell it from
/// zero, and there are many of it: 2^-14 to 2^-36 of the largest weight each.
#[test]
fn many_small_weights_are_not_lost() {
    const N: usize = 8192;
    for (name, device) in cooperating() {
        for exponent in [14, 20, 25, 28, 32, 36] {
            let mut case = halves(1, 3, N, 4, Some(2), Rule::softmax(std::f32::consts::LN_2));
            case.queries = [1.0, 0.0, 0.0, 0.0].repeat(3);
            let (keys, values) = (&mut case.keys, case.values.as_mut().unwrap());
            for i in 0..N {
                let light = i % 64 != 5;
                keys[4 * i..4 * i + 4].copy_from_slice(&[if light { -(exponent as f32) } else { 0.0 }, 0.0, 0.0, 0.0]);
                values[2 * i..2 * i + 2].copy_from_slice(&[f32::from(u8::from(light)), 1.0]);
            }
            let got = run(name, device, &case, &cooperate());
            let expected = case.reference(0).output;
            // A weight is off by at most 2^-22 of itself and 2^-36 of the largest, beside what `f32` does.
            let light = (N - N / 64) as f64 / (N / 64) as f64;
            let bound = 16.0 * f64::from(f32::EPSILON) * expected[0].max(1e-9) + 2f64.powi(-36) * light;
            let error = (f64::from(got.output_row(0)[0]) - expected[0]).abs();
            assert!(error <= bound, "{name}: 2^-{exponent}: off by {error:e} of {:e}, allowed {bound:e}", expected[0]);
        }
    }
}

/// Rounding is as bad as it says and no worse; without it, a kernel that rounds is caught.
#[test]
fn rounding_is_asked_for() {
    for (name, device) in cooperating() {
        let mut rounded = 0.0f64;
        for (beta, seed) in [(0.5f32, 1), (4.0, 2), (20.0, 3)] {
            let case = halves(seed, 40, 300, 24, Some(20), Rule::softmax(beta));
            let options = forced(RetrieveOptions::default(), cooperate(), Faults::POISON);
            let got = case.run(name, device, &options.clone().round_to_half()).unwrap();
            for b in 0..40 {
                let sums = case
                    .keys
                    .chunks_exact(24)
                    .map(|key| key.iter().zip(case.query(b)).map(|(k, x)| f64::from((k * x).abs())).sum::<f64>());
                let scores = f64::from(beta) * sums.fold(0.0, f64::max) * 2f64.powi(-11);
                let bound =
                    2f64.powi(-10) + 2.0 * scores + harness::bound(case.rule, 24, &case.keys, &[1.0], case.query(b), 1);
                let error = harness::worst(got.output_row(b), &case.reference(b).output);
                assert!(error <= bound, "{name} beta {beta}: off by {error:e}, allowed {bound:e}");
            }
            rounded = rounded.max(case.judge(&got, 0..40));
            let faults = Faults { constant: Some(("fused_matrix", ("PARTS", 1))), ..Faults::POISON };
            let damaged = case.run(name, device, &forced(options, cooperate(), faults)).unwrap();
            assert_eq!(damaged, got, "{name}: the damage is to round");
        }
        println!("{name}: {rounded:.1} times the bound of f32 where it rounds");
        assert!(rounded > 1.0, "{name}: rounding must show");
    }
}

/// Each of these must be seen in the answers.
#[test]
fn a_damaged_kernel_is_caught() {
    let case = halves(62, 70, 500, 20, None, Rule::softmax(1.0));
    for (name, device) in cooperating() {
        assert!(case.judge(&run(name, device, &case, &cooperate()), 0..70) <= 1.0, "{name}: it is sound");
        for damage in [("KEYS", 2), ("OUT", 2), ("SUBGROUPS", 2)] {
            let faults = Faults { constant: Some(("fused_matrix", damage)), ..Faults::POISON };
            let options = forced(case.options(), cooperate(), faults);
            let share = case.judge(&case.run(name, device, &options).unwrap(), 0..70);
            assert!(share > 1.0, "{name}: {damage:?} gives {share:.2} times the bound");
        }
        // Subgroups that are smaller than was thought do the work of the last once more.
        if device.info().kind == attractor::device::DeviceKind::Software {
            let faults = Faults { constant: Some(("fused_matrix", ("WORKGROUP", 64))), ..Faults::POISON };
            let options = forced(case.options(), cooperate(), faults);
            let share = case.judge(&case.run(name, device, &options).unwrap(), 0..70);
            assert!(share <= 1.0, "{name}: twice as many subgroups give {share:.2} times the bound");
        }
    }
}
