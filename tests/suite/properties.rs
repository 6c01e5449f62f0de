//! What must hold whatever the numbers are, on every device that supports the rule.

use attractor::retrieval::WeightsOf;
use attractor::{Retrieval, RetrieveOptions, Rule, Separation, Similarity};
use harness::Case;
use proptest::prelude::*;

fn separation() -> impl Strategy<Value = Separation> {
    prop_oneof![
        Just(Separation::Softmax),
        Just(Separation::Softmax1),
        Just(Separation::Sparsemax),
        (1.05f32..6.0).prop_map(|alpha| Separation::Entmax { alpha }),
        Just(Separation::Entmax { alpha: 1.5 }),
        (1usize..20).prop_map(|k| Separation::TopK { k }),
    ]
}

fn similarity() -> impl Strategy<Value = Similarity> {
    prop_oneof![
        Just(Similarity::Dot),
        Just(Similarity::Cosine),
        Just(Similarity::Euclidean),
        Just(Similarity::Manhattan)
    ]
}

prop_compose! {
    fn case()(
        similarity in similarity(),
        separation in separation(),
        beta in -3.0f32..8.0,
        seed in any::<u64>(),
        batch in 1usize..12,
        patterns in 1usize..90,
        dim in 1usize..12,
        value_dim in prop::option::of(1usize..6),
    ) -> Case {
        Case::random(seed, batch, patterns, dim, value_dim, Rule::new(similarity, separation, beta))
    }
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 60,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_260_101),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Everything about the case on every device that supports it.
fn each(case: &Case, mut judge: impl FnMut(&str, Retrieval)) {
    for (name, device) in harness::thorough_devices() {
        if let Some(got) = case.run(name, device, &case.options().weights(WeightsOf::All)) {
            judge(name, got);
        }
    }
}

/// Both cases on every device that supports them.
fn both(a: &Case, b: &Case, mut judge: impl FnMut(&str, &[f32], &[f32])) {
    for (name, device) in harness::thorough_devices() {
        let run = |case: &Case| case.run(name, device, &case.options().weights(WeightsOf::All));
        if let (Some(a), Some(b)) = (run(a), run(b)) {
            judge(name, &a.weights.unwrap(), &b.weights.unwrap());
        }
    }
}

fn assert_close(name: &str, a: &[f32], b: &[f32], within: f64) {
    let b: Vec<f64> = b.iter().map(|v| f64::from(*v)).collect();
    let worst = harness::worst(a, &b);
    assert!(worst <= within, "{name}: off by {worst}");
}

fn with(case: &Case, separation: Separation) -> Case {
    Case { rule: Rule { separation, ..case.rule }, ..case.clone() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn weights_sum_to_one(case in case()) {
        each(&case, |name, got| {
            for row in got.weights.unwrap().chunks_exact(case.patterns()) {
                let sum: f64 = row.iter().map(|p| f64::from(*p)).sum();
                assert!(row.iter().all(|p| *p >= 0.0));
                match case.rule.separation {
                    Separation::Softmax1 => assert!(sum <= 1.0 + 1e-5, "{name}: {sum}"),
                    _ => assert!((sum - 1.0).abs() <= 1e-5, "{name}: {sum}"),
                }
            }
        });
    }

    #[test]
    fn a_constant_added_to_all_scores_changes_nothing(case in case(), constant in -50.0f32..50.0) {
        prop_assume!(case.rule.separation != Separation::Softmax1);
        // Sixteenths, which are added without rounding beside scores of this size.
        let constant = (constant * 16.0).round() / 16.0;
        let shifted = Case { bias: Some(vec![constant; case.patterns()]), ..case.clone() };
        both(&case, &shifted, |name, a, b| assert_close(name, a, b, 1e-4));
    }

    #[test]
    fn permuted_patterns_have_permuted_weights(case in case()) {
        let mut reversed = case.clone();
        reversed.keys = case.keys.chunks_exact(case.dim).rev().flatten().copied().collect();
        if let (Some(values), Some(dv)) = (&case.values, case.value_dim) {
            reversed.values = Some(values.chunks_exact(dv).rev().flatten().copied().collect());
        }
        both(&case, &reversed, |name, a, b| {
            let back: Vec<f32> = b.chunks_exact(case.patterns()).flat_map(|row| row.iter().rev()).copied().collect();
            assert_close(name, a, &back, 1e-5);
        });
    }

    #[test]
    fn softmax1_is_softmax_with_a_zero_pattern(case in case()) {
        let mut one = with(&case, Separation::Softmax1);
        one.rule.similarity = Similarity::Dot;
        let mut appended = with(&one, Separation::Softmax);
        appended.keys.extend(vec![0.0; case.dim]);
        if let (Some(values), Some(dv)) = (&mut appended.values, case.value_dim) {
            values.extend(vec![0.0; dv]);
        }
        for (name, device) in harness::thorough_devices() {
            let run = |case: &Case| case.run(name, device, &case.options());
            if let (Some(a), Some(b)) = (run(&one), run(&appended)) {
                assert_close(name, &a.output, &b.output, 1e-5);
                assert_close(name, &a.state, &b.state, 1e-5);
            }
        }
    }

    #[test]
    fn entmax_approaches_softmax(case in case()) {
        let limits = (with(&case, Separation::Entmax { alpha: 1.001 }), with(&case, Separation::Softmax));
        both(&limits.0, &limits.1, |name, a, b| assert_close(name, a, b, 2e-2));
    }

    #[test]
    fn topk_of_all_is_softmax(case in case(), more in 0usize..3) {
        let all = with(&case, Separation::TopK { k: case.patterns() + more });
        both(&all, &with(&case, Separation::Softmax), |name, a, b| assert_close(name, a, b, 1e-6));
    }

    #[test]
    fn sparsemax_is_entmax_2(case in case()) {
        let entmax = with(&case, Separation::Entmax { alpha: 2.0 });
        both(&with(&case, Separation::Sparsemax), &entmax, |name, a, b| assert_close(name, a, b, 1e-6));
    }

    #[test]
    fn the_energy_never_rises(case in case(), clamp in any::<bool>()) {
        let mut case = case;
        case.rule.beta = case.rule.beta.abs().max(0.01);
        case.steps = 6;
        if clamp {
            case.clamp = Some((0..case.queries.len()).map(|i| i % 3 == 0).collect());
        }
        prop_assume!(case.problem(0).energy(&vec![0.0; case.dim]).is_some());
        for (name, device) in harness::thorough_devices() {
            let Some(got) = case.run(name, device, &case.options().energy().trace()) else { continue };
            for trace in got.energy_trace.unwrap() {
                assert_eq!(trace.len(), 7);
                for pair in trace.windows(2) {
                    let rounding = 1e-5 * (1.0 + pair[0].abs());
                    assert!(pair[1] <= pair[0] + rounding, "{name} {:?}: {pair:?}", case.rule);
                }
            }
        }
    }

    #[test]
    fn a_separated_pattern_is_a_fixed_point_of_a_sparse_rule(seed in any::<u64>(), alpha in 1.05f32..6.0) {
        let mut case = Case::random(seed, 1, 12, 10, None, Rule::softmax(1.0));
        case.queries = case.keys[..10].to_vec();
        let scores = case.problem(0).scores(&case.queries.iter().map(|x| f64::from(*x)).collect::<Vec<_>>());
        let gap = scores[0] - scores[1..].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        prop_assume!(gap > 1e-2);
        // Just beyond the margin m/beta.
        let beta = (1.001 / (f64::from(alpha) - 1.0) / gap) as f32;
        case.rule = Rule::new(Similarity::Dot, Separation::Entmax { alpha }, beta);
        for (name, device) in harness::thorough_devices() {
            let Some(got) = case.run(name, device, &RetrieveOptions::converge(9, 1e-6)) else { continue };
            assert_eq!((&got.state, got.steps[0], got.change[0]), (&case.queries, 1, 0.0), "{name}");
        }
    }

    #[test]
    fn a_query_does_not_see_its_batch(case in case(), tolerance in 1e-4f32..1e-1) {
        let case = Case { steps: 12, tolerance: Some(tolerance), ..case };
        for (name, device) in harness::thorough_devices() {
            let Some(memory) = case.memory(name, device) else { continue };
            let options = case.options().plan_for(8);
            let Some(all) = harness::supported(name, memory.retrieve_blocking(&case.queries, &options)) else {
                continue;
            };
            for b in 0..case.batch() {
                let alone = memory.retrieve_blocking(case.query(b), &options).unwrap();
                assert_eq!((alone.state_row(0), alone.output_row(0)), (all.state_row(b), all.output_row(b)), "{name}");
                assert_eq!((alone.steps[0], alone.change[0]), (all.steps[b], all.change[b]), "{name}");
            }
        }
    }
}
