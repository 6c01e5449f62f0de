//! Every similarity with every separation, with bias, masks, clamps, early stops and reports, against the reference;
//! and exact answers where lists of candidates overflow.

use attractor::reference;
use attractor::retrieval::{FixedPoint, Status, WeightsOf};
use attractor::{Mask, Memory, Precision, Retrieval, RetrieveOptions, Rule, Separation, Similarity};
use harness::{Case, Rng};

fn separations() -> Vec<Separation> {
    let mut all = vec![Separation::Softmax, Separation::Softmax1, Separation::Sparsemax];
    all.extend([1.05, 1.25, 1.5, 1.75, 3.0, 6.0].map(|alpha| Separation::Entmax { alpha }));
    all.extend([1, 5, 70, 100_000].map(|k| Separation::TopK { k }));
    all
}

fn close(got: &[f32], expected: &[f64], within: f64, what: &str) {
    let error = harness::worst(got, expected);
    let largest = expected.iter().fold(1.0f64, |most, v| most.max(v.abs()));
    assert!(error <= within * largest, "{what}: off by {error}");
}

/// Judges the similarity of a pattern with the state before the last, as it is reported.
fn similar(case: &Case, expected: &reference::Answer, index: usize, got: f32, what: &str) {
    let kind = case.rule.similarity;
    let before = &expected.states[expected.states.len() - 2];
    let key: Vec<f64> = case.keys[index * case.dim..][..case.dim].iter().map(|k| f64::from(*k)).collect();
    let similarity = reference::similarity(kind, before, &key);
    let measured = match kind {
        Similarity::Euclidean => -2.0 * similarity,
        Similarity::Manhattan => -similarity,
        _ => similarity,
    };
    let near = (f64::from(got) - measured).abs() <= 1e-4 * (1.0 + measured.abs());
    assert!(near, "{what}: similarity {got} of pattern {index} for {measured}");
}

/// Judges everything that a retrieval reports.
fn judge(case: &Case, got: &Retrieval, what: &str) {
    let n = case.patterns();
    for b in 0..case.batch() {
        let what = format!("{what} {:?} query {b}", case.rule);
        let expected = case.reference(b);
        assert_eq!(got.steps[b], expected.steps, "{what}");
        close(got.output_row(b), &expected.output, 2e-5, &format!("{what} output"));
        close(got.state_row(b), &expected.state, 2e-5, &format!("{what} state"));
        let weights = &got.weights.as_ref().unwrap()[b * n..(b + 1) * n];
        close(weights, &expected.weights, 2e-5, &format!("{what} weights"));
        let nothing = expected.scores.iter().all(|z| *z == f64::NEG_INFINITY);
        assert_eq!(got.status[b] == Status::NothingLeft, nothing, "{what}");

        let statistics = got.statistics.as_ref().unwrap()[b];
        let told = reference::statistics(&expected.weights);
        assert!((f64::from(statistics.perplexity) - told.perplexity).abs() <= 1e-3 * told.perplexity, "{what}");
        assert!((f64::from(statistics.largest) - told.largest).abs() <= 2e-5, "{what}");
        let sure = expected.weights.iter().filter(|p| **p > 1e-6).count();
        assert!(statistics.support as usize >= sure && statistics.support as usize <= n, "{what}");

        let top = got.top.as_ref().unwrap();
        let expected_top = reference::top(&expected.weights, &expected.scores, top.k);
        for place in 0..top.k {
            let (id, weight) = (top.ids[b * top.k + place], top.weight[b * top.k + place]);
            match expected_top.get(place) {
                None => assert_eq!((id, weight, top.similarity[b * top.k + place]), (None, 0.0, 0.0), "{what}"),
                Some(i) => {
                    let index = id.expect("a pattern").0 as usize;
                    assert!((f64::from(weight) - expected.weights[*i]).abs() <= 2e-5, "{what} place {place}");
                    // After several steps states differ by a rounding, and so may the order of almost equal scores.
                    let gap = (expected.scores[index] - expected.scores[*i]).abs();
                    assert!(gap <= 1e-4 * (1.0 + expected.scores[*i].abs()), "{what} place {place}: {index} for {i}");
                    similar(case, &expected, index, top.similarity[b * top.k + place], &what);
                }
            }
        }
        if let Some(traces) = &got.energy_trace {
            assert_eq!(traces[b].len(), expected.states.len(), "{what}");
            for (energy, state) in traces[b].iter().zip(&expected.states) {
                let expected = case.problem(b).energy(state).unwrap();
                let right = (energy - expected).abs() <= 2e-5 * (1.0 + expected.abs()) || *energy == expected;
                assert!(right, "{what}: energy {energy} for {expected}");
            }
            assert_eq!(got.energy.as_ref().unwrap()[b], *traces[b].last().unwrap());
        }
    }
}

fn everything(case: &Case) -> RetrieveOptions {
    let options = case.options().statistics().top(9).weights(WeightsOf::All);
    if case.problem(0).energy(&vec![0.0; case.dim]).is_some() { options.energy().trace() } else { options }
}

fn check(case: &Case, what: &str) {
    for (name, device) in harness::thorough_devices() {
        if let Some(got) = case.run(name, device, &everything(case)) {
            judge(case, &got, &format!("{name} {what}"));
        }
    }
}

#[test]
fn every_rule_with_everything() {
    let mut seed = 0;
    for similarity in Similarity::ALL {
        for separation in separations() {
            for (beta, patterns) in [(1.5, 130), (-0.8, 77), (30.0, 131), (1e-4, 90), (2.0, 1)] {
                seed += 1;
                let mut numbers = Rng(seed);
                let (batch, dim) = (11, 7);
                let rule = Rule::new(similarity, separation, beta);
                let mut case = Case::random(seed, batch, patterns, dim, (seed % 2 == 0).then_some(5), rule);
                case.window_bytes = Some(20 * 32);
                case.bias = Some(numbers.vector(patterns));
                if seed % 3 == 0 {
                    case.keep = Some((0..batch * patterns).map(|_| numbers.unit() > 0.8).collect());
                }
                if seed % 5 == 0 {
                    case.clamp = Some((0..batch * dim).map(|_| numbers.unit() > 0.4).collect());
                }
                check(&case, "one step");
            }
        }
    }
}

#[test]
fn each_query_stops_by_itself() {
    for (seed, separation) in separations().into_iter().enumerate() {
        let rule = Rule::new(Similarity::Euclidean, separation, 6.0);
        let case =
            Case { steps: 30, tolerance: Some(1e-3), ..Case::random(seed as u64 + 500, 20, 40, 6, Some(3), rule) };
        for (name, device) in harness::thorough_devices() {
            let Some(memory) = case.memory(name, device) else { continue };
            let options = case.options().statistics().plan_for(20);
            let Some(together) = harness::supported(name, memory.retrieve_blocking(&case.queries, &options)) else {
                continue;
            };
            for b in 0..case.batch() {
                let alone = memory.retrieve_blocking(case.query(b), &options).unwrap();
                assert_eq!(alone.state_row(0), together.state_row(b), "{name} {rule:?}");
                assert_eq!(alone.output_row(0), together.output_row(b), "{name} {rule:?}");
                assert_eq!(alone.steps[0], together.steps[b]);
                // A query that stopped did as many fixed steps would.
                let fixed = options.clone().stop(attractor::retrieval::Stop::Steps(alone.steps[0]));
                let fixed = memory.retrieve_blocking(case.query(b), &fixed).unwrap();
                assert_eq!((&fixed.state, &fixed.output), (&alone.state, &alone.output), "{name} {rule:?}");
                let expected = case.reference(b);
                // At the edge of the tolerance a rounding may cost a step.
                assert!(together.steps[b].abs_diff(expected.steps) <= 1, "{name} {rule:?}");
                let settled = harness::worst(together.state_row(b), &expected.state);
                assert!(settled < 2e-3, "{name} {rule:?} query {b}: {settled}");
            }
        }
    }
}

#[test]
fn lists_that_overflow_are_exact() {
    for separation in separations() {
        for beta in [0.0, 1e-3] {
            for (name, device) in harness::thorough_devices() {
                let rule = Rule::new(Similarity::Dot, separation, beta);
                // A list of a GPU holds 4,096 candidates; a software adapter takes its time to search many more.
                let large = device.is_cpu() || name != "lavapipe" || separation == Separation::Sparsemax;
                let n = if large { 150_000 } else { 20_011 };
                let mut case = Case::random(77, 1, n, 3, None, rule);
                case.keep = Some((0..n).map(|i| i % 7 != 0).collect());
                let options = case.options().weights(WeightsOf::All).statistics();
                let Some(got) = case.run(name, device, &options) else { continue };
                let expected = case.reference(0);
                let what = format!("{name} {rule:?}");
                close(got.output_row(0), &expected.output, 2e-6, &what);
                // The CPU engine scores candidates in f64. The shaders' scores are f32, and next to the threshold a
                // weight of a large alpha has no bounded slope.
                let within = if device.is_cpu() { 1e-8 } else { 2e-5 };
                close(got.weights.as_ref().unwrap(), &expected.weights, within, &what);
                let above = |least: f64| expected.weights.iter().filter(|p| **p > least).count();
                let support = got.statistics.unwrap()[0].support as usize;
                let (least, most) = if device.is_cpu() { (above(0.0), above(0.0)) } else { (above(1e-6), n) };
                assert!((least..=most).contains(&support), "{what}: support {support} of {}", above(0.0));
                if beta == 0.0 {
                    continue;
                }
                // Without statistics the largest weights follow from what the last step leaves.
                let top = case.run(name, device, &case.options().top(3)).unwrap().top.unwrap();
                let weights: Vec<f64> =
                    top.ids.iter().map(|id| expected.weights[id.expect("there are more").0 as usize]).collect();
                close(&top.weight, &weights, within, &what);
                let mut falling = expected.weights.clone();
                falling.sort_unstable_by(|a, b| b.total_cmp(a));
                close(&top.weight, &falling[..3], within, &what);
            }
        }
    }
}

#[test]
fn nothing_left_is_zero_and_said() {
    for separation in separations() {
        let rule = Rule::new(Similarity::Dot, separation, 1.0);
        let case = Case::random(5, 3, 10, 4, Some(2), rule);
        let mut keep = vec![true; 30];
        keep[10..20].fill(false);
        for (name, device) in harness::thorough_devices() {
            let options = RetrieveOptions::steps(2).mask(Mask::keep_per_query(&keep)).top(4).statistics();
            let Some(got) = case.run(name, device, &options.weights(WeightsOf::Queries(vec![2, 1]))) else { continue };
            assert_eq!(got.status, [Status::Answered, Status::NothingLeft, Status::Answered], "{name} {rule:?}");
            assert_eq!((got.output_row(1), got.state_row(1)), (&[0.0; 2][..], &[0.0; 4][..]));
            assert!(got.output.iter().chain(&got.state).all(|v| v.is_finite()));
            assert_eq!(got.top.unwrap().ids[4..8], [None; 4]);
            let weights = got.weights.unwrap();
            assert_eq!((weights.len(), &weights[10..]), (20, &[0.0; 10][..]));
        }
    }
}

#[test]
fn extreme_betas_are_finite_and_choose_the_best() {
    for similarity in Similarity::ALL {
        for separation in separations() {
            for beta in [1e30f32, -1e30, -1e20, 1e-38, 0.0] {
                let rule = Rule::new(similarity, separation, beta);
                let case = Case::random(9, 3, 60, 5, None, rule);
                for (name, device) in harness::thorough_devices() {
                    let Some(got) = case.run(name, device, &case.options().statistics()) else { continue };
                    for b in 0..3 {
                        let expected = case.reference(b);
                        close(got.output_row(b), &expected.output, 2e-5, &format!("{name} {rule:?}"));
                    }
                }
            }
        }
    }
}

#[test]
fn euclidean_holds_far_from_the_origin() {
    for separation in separations() {
        let rule = Rule::new(Similarity::Euclidean, separation, 200.0);
        let mut case = Case::random(13, 6, 200, 8, None, rule);
        for row in case.keys.chunks_exact_mut(8).chain(case.queries.chunks_exact_mut(8)) {
            for v in row {
                *v = 353.5 + 0.05 * *v;
            }
        }
        for (name, device) in harness::thorough_devices() {
            let options = case.options().weights(WeightsOf::All);
            let Some(got) = case.run(name, device, &options) else { continue };
            for b in 0..6 {
                let weights = &got.weights.as_ref().unwrap()[b * 200..(b + 1) * 200];
                close(weights, &case.reference(b).weights, 2e-5, &format!("{name} {rule:?}"));
            }
        }
    }
}

#[test]
fn narrow_stores_are_as_good_as_they_say() {
    for (precision, allowed) in [(Precision::F16, 1e-3), (Precision::I8, 1e-2)] {
        for separation in [Separation::Softmax, Separation::Sparsemax, Separation::TopK { k: 3 }] {
            let rule = Rule::new(Similarity::Cosine, separation, 8.0);
            let case = Case { precision, ..Case::random(21, 9, 300, 32, Some(6), rule) };
            for (name, device) in harness::thorough_devices() {
                let Some(got) = case.run(name, device, &case.options()) else { continue };
                for b in 0..9 {
                    let error = harness::worst(got.output_row(b), &case.reference(b).output);
                    assert!(error > 0.0 && error < 10.0 * allowed, "{name} {precision:?} {rule:?}: {error}");
                }
            }
        }
    }
}

#[test]
fn kinds_of_fixed_points() {
    for (beta, expected) in [(100.0, FixedPoint::Single), (0.01, FixedPoint::Global), (5.0, FixedPoint::Metastable)] {
        let mut case = Case::random(3, 1, 40, 16, None, Rule::softmax(beta));
        let first = case.keys[..16].to_vec();
        if expected == FixedPoint::Metastable {
            // Three copies share the weight.
            (1..3).for_each(|copy| case.keys[copy * 16..(copy + 1) * 16].copy_from_slice(&first));
        }
        case.queries = first;
        for (name, device) in harness::thorough_devices() {
            let Some(got) = case.run(name, device, &case.options().statistics()) else { continue };
            assert_eq!(got.statistics.unwrap()[0].kind, expected, "{name} beta {beta}");
        }
    }
}

#[test]
fn only_what_is_asked_for_is_reported() {
    let case = Case::random(3, 2, 30, 4, None, Rule::softmax(1.0));
    for (name, device) in harness::thorough_devices() {
        let plain = case.run(name, device, &case.options()).unwrap();
        let none = (plain.statistics, plain.top, plain.weights, plain.energy, plain.energy_trace);
        assert_eq!(none, (None, None, None, None, None), "{name}");
        let top = case.run(name, device, &case.options().top(2)).unwrap();
        assert!(top.top.is_some() && top.statistics.is_none() && top.weights.is_none(), "{name}");
        let weights = case.run(name, device, &case.options().weights(WeightsOf::All)).unwrap();
        assert!(weights.weights.is_some() && weights.statistics.is_none() && weights.top.is_none(), "{name}");
        let energy = case.run(name, device, &case.options().energy()).unwrap();
        assert!(energy.energy.is_some() && energy.energy_trace.is_none() && energy.statistics.is_none(), "{name}");
    }
}

#[test]
fn across_devices_narrow_rows_are_the_same() {
    for precision in [Precision::F16, Precision::I8] {
        let mut case = Case::random(4, 1, 50, 9, Some(3), Rule::softmax(1.0));
        case.precision = precision;
        // Rows of all magnitudes that halves hold, down to scales that are no normal f32.
        for (i, row) in case.keys.chunks_exact_mut(9).enumerate() {
            let scale = 10f32.powi(i as i32 - 45);
            for v in row {
                *v *= scale;
            }
        }
        let rows = |name: &str, device| -> Vec<attractor::Pattern> {
            let memory = case.memory(name, device).unwrap();
            (0..50).map(|id| memory.get(attractor::PatternId(id)).unwrap()).collect()
        };
        let (first, device) = &harness::devices()[0];
        let expected = rows(first, device);
        for (name, device) in &harness::devices()[1..] {
            assert_eq!(rows(name, device), expected, "{name} {precision:?}");
        }
    }
}

/// Softmax1 so far below zero that no weight is above zero in `f32`: there is no support on any engine.
#[test]
fn weights_that_vanish_are_no_support() {
    let rule = Rule::new(Similarity::Euclidean, Separation::Softmax1, 1.0);
    for (name, device) in harness::thorough_devices() {
        let mut memory = Memory::new(device, 1, rule).unwrap();
        memory.add(&[0.0, 1.0, 2.0]).unwrap();
        let options = RetrieveOptions::default().statistics().weights(WeightsOf::All);
        let got = memory.retrieve_blocking(&[200.0], &options).unwrap();
        let told = got.statistics.unwrap()[0];
        assert_eq!((got.weights.unwrap(), told.support), (vec![0.0; 3], 0), "{name}");
        assert_eq!((told.perplexity, told.largest), (0.0, 0.0), "{name}");
    }
}
