//! Weights that are not normalised, what ends an update, and what each query has of its own, against the reference.

use attractor::record::Rows;
use attractor::retrieval::Status;
use attractor::rule::{Activation, Next, Zero};
use attractor::{Device, Error, MemoryOptions, Precision, Retrieval, Rule, Separation, Similarity, Update, wgpu};
use harness::{Case, Rng};
use wgpu::util::DeviceExt;

const SEPARATIONS: [Separation; 8] = [
    Separation::Linear,
    Separation::Power { n: 1 },
    Separation::Power { n: 2 },
    Separation::Power { n: 5 },
    Separation::Rectified { n: 1 },
    Separation::Rectified { n: 3 },
    Separation::Step { threshold: 0.25 },
    Separation::Softmax,
];
const KEEP: Activation = Activation::Sign { zero: Zero::Keep };
const PLUS: Activation = Activation::Sign { zero: Zero::Plus };
const ZERO: Activation = Activation::Sign { zero: Zero::Zero };

/// Every activation of states of 4 coordinates, or of a multiple of 4.
const ACTIVATIONS: [Activation; 10] = [
    Activation::None,
    KEEP,
    PLUS,
    ZERO,
    Activation::Tanh,
    Activation::Normalize,
    Activation::Phasor,
    Activation::SoftmaxBlocks { width: 4 },
    Activation::ArgmaxBlocks { width: 2 },
    Activation::ArgmaxBlocks { width: 4 },
];

fn none() -> Update {
    Update::default()
}

fn dot(separation: Separation, beta: f32) -> Rule {
    Rule::new(Similarity::Dot, separation, beta)
}

/// The answer of a device.
fn run(name: &str, device: &Device, case: &Case) -> Retrieval {
    let answer = case.build(device).and_then(|memory| memory.retrieve_blocking(&case.queries, &case.options()));
    answer.unwrap_or_else(|error| panic!("{name}: {}: {error}", case.rule))
}

/// Judges a case of one update on every device.
fn judge(what: &str, case: &Case) {
    // As many queries as the reference answers quickly.
    let every = (case.batch() * case.keys.len()).div_ceil(1 << 21).max(1);
    for (name, device) in harness::devices() {
        let got = run(name, device, case);
        let share = case.judge(&got, (0..case.batch()).step_by(every));
        let shape = (case.batch(), case.patterns(), case.dim);
        assert!(share <= 1.0, "{name}: {what}: {} of {shape:?}: {share} times the bound", case.rule);
        assert!(got.state.iter().chain(&got.output).all(|x| x.is_finite()), "{name}: {what}: {}", case.rule);
    }
}

/// Asserts that every query has the states and outputs of the reference, bit for bit.
fn equal(what: &str, case: &Case) {
    let expected: Vec<_> = (0..case.batch()).map(|b| case.reference(b)).collect();
    for (name, device) in harness::devices() {
        let got = run(name, device, case);
        for (b, expected) in expected.iter().enumerate() {
            let what = format!("{name}: {what}: {}: query {b} of {:?}", case.rule, case.precision);
            let narrow = |row: &[f64]| row.iter().map(|x| *x as f32).collect::<Vec<_>>();
            assert_eq!(got.state_row(b), narrow(&expected.state), "{what}");
            assert_eq!(got.output_row(b), narrow(&expected.output), "{what}");
            if got.status[b] != Status::Cycle {
                assert_eq!(got.steps[b], expected.steps, "{what}");
                assert_eq!(f64::from(got.change[b]), expected.change, "{what}");
            }
        }
    }
}

/// A case whose keys, values and queries are signs. Queries are near to patterns.
fn bipolar(seed: u64, batch: usize, patterns: usize, dim: usize, rule: Rule) -> Case {
    let mut rng = Rng(seed);
    let keys = rng.signs(patterns * dim);
    let mut queries = Vec::new();
    for b in 0..batch {
        let from = b % patterns * dim;
        queries.extend(keys[from..from + dim].iter().map(|x| if rng.once_in(6) { -x } else { *x }));
    }
    Case { keys, queries, ..Case::random(seed, batch, patterns, dim, None, rule) }
}

/// Rows that halves and 8-bit levels have as they are: whole numbers, with the largest level in each row.
fn whole(rng: &mut Rng, rows: usize, dim: usize) -> Vec<f32> {
    (0..rows * dim).map(|i| if i % dim == 0 { 127.0 } else { rng.below(255) as f32 - 127.0 }).collect()
}

#[test]
fn every_separation_with_every_activation() {
    for (s, separation) in SEPARATIONS.into_iter().enumerate() {
        for (a, activation) in ACTIVATIONS.into_iter().enumerate() {
            let seed = (100 * s + a) as u64;
            let rule = dot(separation, 0.7).then(none().activation(activation));
            judge("alone", &Case::random(seed, 3, 40, 8, None, rule));
            let mixed = none().activation(activation).gain(-1.5).carry(0.4).damping(0.3);
            let case = Case::random(seed, 5, 33, 4, Some(3), rule.then(mixed));
            let mut rng = Rng(seed + 7);
            judge("mixed", &Case { field: Some(rng.vector(5 * 4)), bias: Some(rng.vector(33)), ..case });
        }
    }
}

#[test]
fn similarities_and_temperatures() {
    for similarity in [Similarity::Dot, Similarity::Cosine, Similarity::Euclidean, Similarity::Manhattan] {
        for (s, separation) in SEPARATIONS.into_iter().enumerate() {
            for beta in [1.3, -0.6] {
                let rule = Rule::new(similarity, separation, beta).then(none().activation(Activation::Tanh));
                judge("similarity", &Case::random(s as u64, 4, 70, 12, None, rule));
            }
        }
    }
}

#[test]
fn separations_that_are_normalised_end_with_updates_too() {
    let separations = [
        Separation::Softmax1,
        Separation::Sparsemax,
        Separation::Entmax { alpha: 1.5 },
        Separation::TopK { k: 5 },
        Separation::TopK { k: 500 },
    ];
    for (s, separation) in separations.into_iter().enumerate() {
        for activation in ACTIVATIONS {
            let rule = dot(separation, 2.0).then(none().activation(activation).carry(1.0));
            judge("normalised", &Case::random(s as u64, 4, 70, 12, None, rule));
        }
    }
}

#[test]
fn what_each_query_has_of_its_own() {
    for (s, separation) in SEPARATIONS.into_iter().chain([Separation::Sparsemax, Separation::TopK { k: 3 }]).enumerate()
    {
        let mut rng = Rng(s as u64);
        let (batch, patterns, dim) = (7, 300, 6);
        let plain = Case::random(s as u64, batch, patterns, dim, None, dot(separation, 0.8));
        let betas = Some(rng.vector(batch));
        let field = Some(rng.vector(batch * dim));
        let exclude = Some((0..batch).map(|b| (b % 3 > 0).then_some(40 * b)).collect::<Vec<_>>());
        let rows = Some(vec![0..300, 0..0, 5..6, 120..140, 128..256, 299..300, 17..290]);
        let keep = Some((0..batch * patterns).map(|_| !rng.once_in(3)).collect::<Vec<_>>());
        let clamp = Some((0..batch * dim).map(|_| rng.once_in(3)).collect::<Vec<_>>());
        let bias = Some(rng.vector(patterns));
        let cases = [
            ("betas", Case { betas: betas.clone(), ..plain.clone() }),
            ("field", Case { field: field.clone(), ..plain.clone() }),
            ("exclude", Case { exclude: exclude.clone(), ..plain.clone() }),
            ("rows", Case { rows: rows.clone(), ..plain.clone() }),
            ("mask", Case { keep: keep.clone(), ..plain.clone() }),
            ("clamp", Case { clamp: clamp.clone(), ..plain.clone() }),
            ("bias", Case { bias: bias.clone(), ..plain.clone() }),
            ("all", Case { betas, field, exclude, rows, keep, clamp, bias, ..plain.clone() }),
        ];
        for (what, case) in cases {
            judge(what, &case);
            judge(what, &Case { window_bytes: Some(8 * 4 * 100), ..case.clone() });
            let tanh = case.rule.then(none().activation(Activation::Tanh).carry(0.5));
            judge(what, &Case { rule: tanh, ..case });
        }
    }
}

#[test]
fn values_go_on() {
    for separation in SEPARATIONS {
        for (a, activation) in ACTIVATIONS.into_iter().enumerate() {
            let update = none().activation(activation).next(Next::Values).carry(1.0);
            judge("values", &Case::random(a as u64, 5, 90, 8, Some(8), dot(separation, 0.6).then(update)));
        }
    }
    // Three hops, as in a memory network: the state added each time.
    let hops = Rule::new(Similarity::Dot, Separation::Linear, 1.0).then(none().next(Next::Values).carry(1.0));
    let mut case = bipolar(3, 4, 9, 5, hops);
    (case.value_dim, case.values, case.steps) = (Some(5), Some(Rng(5).signs(45)), 3);
    equal("three hops", &case);
}

#[test]
fn sizes_around_boundaries() {
    let separations = [
        Separation::Linear,
        Separation::Power { n: 3 },
        Separation::Rectified { n: 2 },
        Separation::Step { threshold: 0.1 },
    ];
    let mut number = 0;
    for patterns in [1, 2, 31, 32, 33, 127, 128, 129, 1000, 2500] {
        for dim in [1, 2, 4, 5, 64, 100] {
            for batch in [1, 3, 16, 65] {
                number += 1;
                let fits = |activation: &&Activation| match activation {
                    Activation::Phasor => dim % 2 == 0,
                    Activation::SoftmaxBlocks { width } | Activation::ArgmaxBlocks { width } => dim % width == 0,
                    _ => true,
                };
                let fitting: Vec<&Activation> = ACTIVATIONS.iter().filter(fits).collect();
                let update = none().activation(*fitting[number % fitting.len()]).carry(0.5);
                let rule = dot(separations[number / 2 % 4], 0.9).then(update);
                let value_dim = [None, Some(3)][number / 8 % 2];
                let case = Case::random(number as u64, batch, patterns, dim, value_dim, rule);
                let window_bytes = [None, Some(dim as u64 * 4 * 300 + 1024)][number % 2];
                judge("size", &Case { window_bytes, ..case });
            }
        }
    }
}

#[test]
fn every_store() {
    for precision in [Precision::F16, Precision::I8, Precision::I8Exact] {
        for (s, separation) in SEPARATIONS.into_iter().enumerate() {
            for (batch, dim) in [(1, 5), (9, 24), (40, 100)] {
                let mut rng = Rng(s as u64);
                let (keys, queries) = (whole(&mut rng, 150, dim), rng.vector(batch * dim));
                let (values, bias) = (whole(&mut rng, 150, 4), rng.vector(150));
                let update = none().activation(Activation::Normalize).carry(0.1);
                let case =
                    Case::random(1, batch, 150, dim, Some(4), dot(separation, 1.0 / (100 * dim) as f32).then(update));
                let (values, bias) = (Some(values), Some(bias));
                judge("store", &Case { precision, keys, queries, values, bias, ..case });
            }
        }
    }
}

/// Self-couplings taken away, under every separation that has a potential, and under softmax.
#[test]
fn self_couplings() {
    let thresholds = [0.0, 3.0, -2.5].map(|threshold| Separation::Step { threshold });
    let all =
        SEPARATIONS.into_iter().chain(thresholds).chain([Separation::Power { n: 3 }, Separation::Rectified { n: 2 }]);
    for (s, separation) in all.enumerate() {
        for (beta, dim) in [(1.0, 9), (0.25, 40), (-0.5, 16), (0.1, 100)] {
            let steep = matches!(separation, Separation::Power { n } | Separation::Rectified { n } if n > 2);
            let beta = if steep { beta / 2.0 } else { beta };
            for activation in [KEEP, PLUS] {
                let rule = dot(separation, beta).then(none().activation(activation).remove_self());
                let case = bipolar(s as u64, 9, 70, dim, rule);
                judge("signs", &case);
                let mut rng = Rng(s as u64);
                let (field, bias) = (Some(rng.vector(9 * dim)), Some(rng.vector(70)));
                let clamp = Some((0..9 * dim).map(|_| rng.once_in(5)).collect::<Vec<_>>());
                judge("signs of more", &Case { field, bias, clamp, ..case });
            }
        }
    }
    // Under a linear separation, states are any numbers.
    let graded = none().activation(Activation::Tanh).gain(0.1).carry(0.2).damping(0.4).remove_self();
    let case = bipolar(4, 5, 40, 20, dot(Separation::Linear, 0.3).then(graded));
    judge("graded", &Case { queries: Rng(3).vector(100), ..case });
}

/// Signs: sums of whole numbers, which are exact in every order. Several steps, every convention of a zero.
#[test]
fn bipolar_answers_are_equal() {
    let rules = [
        (Separation::Linear, true),
        (Separation::Linear, false),
        (Separation::Power { n: 1 }, true),
        (Separation::Power { n: 3 }, true),
        (Separation::Power { n: 2 }, false),
        (Separation::Rectified { n: 1 }, false),
        (Separation::Rectified { n: 3 }, false),
        (Separation::Step { threshold: 3.0 }, true),
        (Separation::Step { threshold: 2.0 }, false),
    ];
    for (r, (separation, remove_self)) in rules.into_iter().enumerate() {
        for activation in [KEEP, PLUS, ZERO] {
            if remove_self && activation == ZERO {
                continue;
            }
            let update = none().activation(activation);
            let rule = dot(separation, 1.0).then(if remove_self { update.remove_self() } else { update });
            for (batch, patterns, dim, steps) in [(1, 5, 16, 5), (17, 33, 20, 6), (40, 140, 12, 3), (3, 1500, 8, 4)] {
                let mut case = bipolar(r as u64, batch, patterns, dim, rule);
                case.steps = steps;
                let field = |rng: &mut Rng| (0..batch * dim).map(|_| rng.below(9) as f32 - 4.0).collect();
                equal("field", &Case { field: Some(field(&mut Rng(8))), steps: 2, ..case.clone() });
                equal("carried", &Case { rule: rule.then(rule.update.carry(-3.0).gain(2.0)), ..case.clone() });
                for precision in [Precision::F32, Precision::F16, Precision::I8, Precision::I8Exact] {
                    equal("steps", &Case { precision, ..case.clone() });
                }
                equal("stops", &Case { tolerance: Some(0.5), steps: 30, ..case.clone() });
                equal("blocks", &Case { rule: rule.then(rule.update.blocks(3)), ..case.clone() });
                let sweeps = rule.then(rule.update.blocks(dim as u32));
                equal("sweeps", &Case { rule: sweeps, tolerance: Some(0.5), steps: 80, ..case });
            }
        }
    }
}

/// Draws are those of the reference but where rounding decides.
#[test]
fn draws_are_the_same_on_every_device() {
    for temperature in [0.5, 20.0] {
        let rule =
            dot(Separation::Linear, 0.1).then(none().activation(KEEP).temperature(temperature, 77).remove_self());
        let case = Case { steps: 3, ..bipolar(5, 70, 30, 50, rule) };
        let expected: Vec<f32> = (0..70).flat_map(|b| case.reference(b).state).map(|x| x as f32).collect();
        for (name, device) in harness::devices() {
            let got = run(name, device, &case);
            let equal = got.state.iter().zip(&expected).filter(|(got, expected)| got == expected).count();
            assert!(equal as f64 >= 0.998 * expected.len() as f64, "{name}: {equal} of {}", expected.len());
        }
    }
}

#[test]
fn beta_changes_from_update_to_update() {
    for separation in [Separation::Softmax, Separation::Linear, Separation::Sparsemax] {
        let update = none().activation(Activation::Tanh).carry(0.5).schedule(3.0, 4);
        let mut case = Case::random(2, 6, 50, 5, Some(3), dot(separation, 0.5).then(update));
        for betas in [None, Some(vec![0.2, 0.5, -0.5, 1.0, 0.0, 2.0])] {
            for steps in 1..7 {
                (case.betas, case.steps) = (betas.clone(), steps);
                let expected: Vec<_> = (0..6).map(|b| case.reference(b)).collect();
                for (name, device) in harness::devices() {
                    let got = run(name, device, &case);
                    for (b, expected) in expected.iter().enumerate() {
                        let off = harness::worst(got.state_row(b), &expected.state);
                        assert!(off < 1e-4, "{name}: {separation} after {steps}: {off}");
                    }
                }
            }
        }
    }
}

#[test]
fn nothing_left_is_zero_whatever_ends_an_update() {
    for separation in SEPARATIONS {
        for activation in ACTIVATIONS {
            let update = none().activation(activation).carry(2.0);
            let mut case = Case::random(1, 2, 3, 4, None, dot(separation, 1.0).then(update));
            case.rows = Some(vec![1..1, 0..3]);
            case.field = Some(vec![1.0; 8]);
            judge("nothing left", &case);
            for (name, device) in harness::devices() {
                let got = run(name, device, &case);
                assert_eq!(got.status, [Status::NothingLeft, Status::Answered], "{name}");
                assert_eq!((got.state_row(0), got.output_row(0)), (&[0.0; 4][..], &[0.0; 4][..]), "{name}");
            }
        }
    }
}

#[test]
fn sums_that_diverge_are_told() {
    for separation in [Separation::Power { n: 3 }, Separation::Power { n: 63 }, Separation::Rectified { n: 9 }] {
        let mut case = Case::random(1, 4, 20, 8, None, dot(separation, 3.0));
        case.queries[..8].fill(1e3);
        case.queries[8..].iter_mut().for_each(|x| *x *= 1e-3);
        case.steps = 12;
        for (name, device) in harness::devices() {
            let memory = case.build(device).unwrap();
            // A GPU refuses what leaves the range of its numbers at once.
            let got = match memory.retrieve_blocking(&case.queries, &case.options()) {
                Err(Error::Range { .. }) if !device.is_cpu() && separation != (Separation::Power { n: 3 }) => continue,
                got => got.unwrap(),
            };
            assert_eq!(got.status[0], Status::OutOfRange, "{name}: {separation}");
            assert!(got.steps[0] < 12 && !got.converged[0], "{name}: {separation}");
            assert_eq!((got.state_row(0), got.output_row(0)), (&[0.0; 8][..], &[0.0; 8][..]), "{name}");
            assert!(got.state.iter().chain(&got.output).chain(&got.change).all(|x| x.is_finite()), "{name}");
            assert_eq!(got.status[1], Status::Answered, "{name}: {separation}");
        }
    }
    let grows = dot(Separation::Softmax, 1.0).then(none().carry(1e20));
    let case = Case { steps: 4, ..Case::random(1, 2, 9, 4, None, grows) };
    for (name, device) in harness::devices() {
        let got = run(name, device, &case);
        assert_eq!(got.status, [Status::OutOfRange; 2], "{name}");
        assert!(got.state.iter().chain(&got.output).all(|x| *x == 0.0), "{name}");
    }
}

/// Asserts that an error names its operation and these words.
fn refused<T: std::fmt::Debug>(result: attractor::Result<T>, operation: &str, words: &[&str]) {
    let message = result.expect_err("refused").to_string();
    assert!(message.starts_with(operation), "{message}");
    for word in words {
        assert!(message.contains(word), "{message} does not say {word}");
    }
}

#[test]
fn rules_that_are_not_defined_are_refused() {
    let device = Device::cpu();
    let build = |dim, rule| MemoryOptions::new(dim, rule).build(&device);
    let sign = none().activation(KEEP);
    let linear = |update| dot(Separation::Linear, 1.0).then(update);
    let outside = [
        (dot(Separation::Power { n: 0 }, 1.0), "n"),
        (dot(Separation::Rectified { n: 64 }, 1.0), "n"),
        (dot(Separation::Step { threshold: f32::INFINITY }, 1.0), "threshold"),
        (linear(none().blocks(0)), "blocks"),
        (linear(none().gain(f32::NAN)), "gain"),
        (linear(none().carry(f32::INFINITY)), "carry"),
        (linear(none().damping(1.0)), "damping"),
        (linear(none().temperature(1.0, 0)), "temperature"),
        (linear(sign.temperature(-1.0, 0)), "temperature"),
        (linear(none().schedule(0.0, 4)), "schedule"),
        (linear(none().activation(Activation::SoftmaxBlocks { width: 0 })), "width"),
        (dot(Separation::Power { n: 3 }, 1.0).then(none().remove_self()), "remove_self"),
        (dot(Separation::Sparsemax, 1.0).then(sign.remove_self()), "remove_self"),
        (Rule::new(Similarity::Cosine, Separation::Linear, 1.0).then(sign.remove_self()), "remove_self"),
    ];
    for (rule, word) in outside {
        refused(build(4, rule), "MemoryOptions::build", &[word]);
    }
    let blocks = linear(none().activation(Activation::ArgmaxBlocks { width: 3 }));
    refused(build(5, linear(none().activation(Activation::Phasor))), "MemoryOptions::build", &["even dimension", "5"]);
    refused(build(5, blocks), "MemoryOptions::build", &["multiple of 3", "5"]);
    refused(build(5, linear(none().next(Next::Values))), "MemoryOptions::build", &["without values"]);
    let wide = MemoryOptions::new(5, linear(none().next(Next::Values))).value_dim(6).build(&device);
    refused(wide, "MemoryOptions::build", &["values of 5", "6"]);
}

#[test]
fn what_a_query_has_of_its_own_is_checked() {
    let device = Device::cpu();
    let case = Case::random(1, 2, 5, 3, None, dot(Separation::Linear, 1.0));
    let memory = case.build(&device).unwrap();
    let ask = |options: attractor::RetrieveOptions| memory.retrieve_blocking(&case.queries, &options);
    let refuse = |options, words: &[&str]| refused(ask(options), "Memory::retrieve_blocking", words);
    let options = attractor::RetrieveOptions::default;
    refuse(options().field(&[0.0; 5]), &["2 x 3 = 6", "5"]);
    refuse(options().field(&[0.0, 1.0, f32::NAN, 0.0, 0.0, 0.0]), &["field", "NaN"]);
    refuse(options().betas(&[1.0]), &["2 betas", "1"]);
    refuse(options().betas(&[1.0, f32::INFINITY]), &["betas", "inf"]);
    refuse(options().exclude(&[None]), &["2 patterns", "1"]);
    refuse(options().rows(std::slice::from_ref(&(0..5))), &["2 ranges", "1"]);
    refuse(options().rows(&[0..5, 3..6]), &["rows", "3..6 of 5"]);
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    refuse(options().rows(&[0..5, 3..2]), &["rows", "3..2 of 5"]);
    refuse(options().statistics(), &["statistics", "linear"]);
    let modern = Case { rule: Rule::softmax(1.0), ..case.clone() }.build(&device).unwrap();
    let asked = modern.retrieve_blocking(&case.queries, &options().betas(&[1.0, 0.0]).energy());
    refused(asked, "Memory::retrieve_blocking", &["energy at beta = 0"]);
    assert!(ask(options().exclude(&[Some(attractor::PatternId(99)), None])).is_ok(), "nothing to leave out");

    let rule = dot(Separation::Power { n: 3 }, 1.0).then(none().activation(KEEP).remove_self());
    let case = bipolar(3, 2, 4, 6, rule);
    let mut memory = case.build(&device).unwrap();
    refused(memory.add(&[1.0, 1.0, -1.0, 0.5, 1.0, 1.0]), "Memory::add", &["keys", "1 and -1", "0.5"]);
    let asked = memory.retrieve_blocking(&[1.0, 1.0, -1.0, -1.0, 1.0, 0.0], &options());
    refused(asked, "Memory::retrieve_blocking", &["queries", "1 and -1"]);
    // Under a linear separation states are any numbers.
    let linear = Case { rule: dot(Separation::Linear, 1.0).then(none().remove_self()), ..case };
    assert!(linear.build(&device).unwrap().retrieve_blocking(&[0.5; 6], &options()).is_ok());
}

/// A pattern that is left out is told by its id, wherever it is.
#[test]
fn patterns_left_out_are_told_by_id() {
    for (name, device) in harness::devices() {
        let rule = dot(Separation::Linear, 1.0);
        let mut memory = MemoryOptions::new(1, rule).build(device).unwrap();
        let first: Vec<_> = memory.add(&[1.0, 2.0, 4.0]).unwrap().iter().collect();
        memory.remove(first[1]).unwrap();
        let second: Vec<_> = memory.add(&[8.0, 16.0]).unwrap().iter().collect();
        let asked = [None, Some(first[0]), Some(first[1]), Some(second[0]), Some(second[1])];
        let options = attractor::RetrieveOptions::default().exclude(&asked);
        let got = memory.retrieve_blocking(&[1.0; 5], &options).unwrap();
        // Sums of squares.
        assert_eq!(got.output, [337.0, 336.0, 337.0, 273.0, 81.0], "{name}");
    }
}

/// States that come back: the state is that after all updates, and the query stops as soon as that is known.
#[test]
fn cycles_are_told() {
    // An anti-memory: each state is followed by its opposite.
    let opposite = dot(Separation::Linear, -1.0).then(none().activation(KEEP));
    let mut two = bipolar(6, 5, 3, 40, opposite);
    // Sequences: values are the patterns that follow, and the last is followed by the first. Rows of a Hadamard matrix.
    let follows = dot(Separation::Linear, 1.0).then(none().activation(PLUS).next(Next::Values));
    let row =
        |i: usize| (0..16).map(move |c: usize| if (i & c).count_ones().is_multiple_of(2) { 1.0f32 } else { -1.0 });
    let rows = |from: usize, count: usize| (from..from + count).flat_map(row).collect::<Vec<_>>();
    let mut five = Case::random(1, 5, 5, 16, Some(16), follows);
    let following = [rows(2, 4), rows(1, 1)].concat();
    (five.keys, five.queries, five.values) = (rows(1, 5), rows(1, 5), Some(following));
    let winners =
        dot(Separation::Linear, 1.0).then(none().activation(Activation::ArgmaxBlocks { width: 8 }).next(Next::Values));
    let unit = |at: usize| (0..8).map(move |c| f32::from(u8::from(c == at)));
    let units = |shift: usize| (0..3).flat_map(|i| unit((i + shift) % 3)).collect::<Vec<_>>();
    let mut three = Case::random(1, 3, 3, 8, Some(8), winners);
    (three.keys, three.queries, three.values) = (units(0), units(0), Some(units(1)));
    for (case, period) in [(&mut two, 2), (&mut five, 5), (&mut three, 3)] {
        for max_steps in [1, 2, 3, 4, 7, 8, 16, 17, 100, 101, 102, 103, 104] {
            case.steps = max_steps;
            let expected: Vec<_> = (0..case.batch()).map(|b| case.reference(b)).collect();
            case.tolerance = Some(1e-3);
            for (name, device) in harness::devices() {
                let got = run(name, device, case);
                for (b, expected) in expected.iter().enumerate() {
                    let what = format!("{name}: {}: {max_steps}", case.rule);
                    let narrow = |row: &[f64]| row.iter().map(|x| *x as f32).collect::<Vec<_>>();
                    assert_eq!(got.state_row(b), narrow(&expected.state), "{what}");
                    assert_eq!(got.output_row(b), narrow(&expected.output), "{what}");
                    assert!(!got.converged[b] && got.change[b] > 0.5, "{what}");
                    assert_eq!((max_steps - got.steps[b]) % period, 0, "{what}");
                    if max_steps > 30 {
                        assert_eq!(got.status[b], Status::Cycle, "{what}");
                        assert!(got.steps[b] < 25, "{what}: {} updates", got.steps[b]);
                    }
                }
            }
            case.tolerance = None;
        }
    }
    // A fixed point is none.
    let fixed = dot(Separation::Linear, 1.0).then(none().activation(KEEP).remove_self());
    let case = Case { steps: 50, tolerance: Some(1e-3), ..bipolar(6, 5, 2, 60, fixed) };
    for (name, device) in harness::devices() {
        let got = run(name, device, &case);
        assert!(got.status.iter().all(|status| *status == Status::Answered), "{name}");
        assert!(got.converged.iter().all(|converged| *converged), "{name}");
    }
}

/// Networks whose energy no update of one coordinate raises, of any signs.
#[test]
fn energies_fall_coordinate_by_coordinate() {
    let rules = [2, 3, 4].map(|order| match order {
        2 => dot(Separation::Linear, 1.0),
        order => dot(Separation::Power { n: order - 1 }, 0.125),
    });
    for (r, rule) in rules.into_iter().chain([dot(Separation::Rectified { n: 2 }, 0.25)]).enumerate() {
        for field in [false, true] {
            let (dim, batch) = (24, 6);
            let update = none().activation(KEEP).remove_self().blocks(dim as u32);
            let mut rng = Rng(70 + r as u64);
            let mut case = bipolar(9 + r as u64, batch, 30, dim, rule.then(update));
            case.queries = rng.signs(batch * dim);
            case.field = field.then(|| rng.vector(batch * dim));
            case.steps = 3 * dim as u32;
            for (name, device) in harness::devices() {
                let memory = case.build(device).unwrap();
                let got = memory.retrieve_blocking(&case.queries, &case.options().trace().energy()).unwrap();
                let (traces, energies) = (got.energy_trace.unwrap(), got.energy.unwrap());
                for (b, trace) in traces.iter().enumerate() {
                    assert_eq!(trace.len(), case.steps as usize + 1, "{name}");
                    let largest = trace.iter().fold(1.0f64, |most, e| most.max(e.abs()));
                    // Those of the first state and of the last: rounding may end a tie in between.
                    let last = &got.state[b * dim..(b + 1) * dim];
                    for (told, state) in [(trace[0], case.query(b)), (trace[trace.len() - 1], last)] {
                        let state: Vec<f64> = state.iter().map(|x| f64::from(*x)).collect();
                        let expected = case.problem(b).energy(&state).unwrap();
                        assert!((told - expected).abs() <= 1e-5 * largest, "{name}: {}: {told} {expected}", case.rule);
                    }
                    let rises = trace.windows(2).find(|pair| pair[1] > pair[0] + 1e-6 * largest);
                    assert!(rises.is_none(), "{name}: {}: {rises:?}", case.rule);
                    assert!(trace[0] - energies[b] > 0.0, "{name}: {}: no update lowers it", case.rule);
                }
            }
        }
    }
}

/// Stored patterns within the capacity of a network are its fixed points.
#[test]
fn stored_patterns_stay() {
    let cases = [
        (dot(Separation::Linear, 1.0), 8),
        (dot(Separation::Power { n: 2 }, 1.0 / 128.0), 60),
        (dot(Separation::Power { n: 3 }, 1.0 / 128.0), 200),
        (dot(Separation::Softmax, 0.5), 300),
    ];
    for (rule, patterns) in cases {
        let rule = rule.then(none().activation(KEEP).remove_self());
        let case = bipolar(12, 8, patterns, 128, rule);
        let case = Case { queries: case.keys[..8 * 128].to_vec(), steps: 9, tolerance: Some(1e-3), ..case };
        for (name, device) in harness::devices() {
            let got = run(name, device, &case);
            assert_eq!(got.state, case.queries, "{name}: {rule}");
            assert_eq!(got.steps, [1; 8], "{name}: {rule}");
        }
    }
}

/// Queries of one group have the bits that they have among others.
#[test]
fn a_group_alone_is_the_group_among_others() {
    for (s, separation) in SEPARATIONS.into_iter().chain([Separation::Sparsemax]).enumerate() {
        for batch in [1, 3, 20] {
            let ends = [0, 1, 100, 137, 700, 701, 1900];
            let (dim, groups) = (10, ends.len() - 1);
            let mut case = Case::random(s as u64, groups * batch, 1900, dim, Some(3), dot(separation, 0.7));
            let ranges: Vec<_> = ends.windows(2).map(|ends| ends[0]..ends[1]).collect();
            case.rows = Some((0..groups * batch).map(|b| ranges[b / batch].clone()).collect());
            judge("groups", &case);
            for (name, device) in harness::devices() {
                let memory = case.build(device).unwrap();
                let plan_for = groups * batch;
                let ask = |queries: &[f32], rows: &[std::ops::Range<usize>]| {
                    let options = attractor::RetrieveOptions::default().plan_for(plan_for).rows(rows);
                    memory.retrieve_blocking(queries, &options).unwrap()
                };
                let all = ask(&case.queries, case.rows.as_ref().unwrap());
                for (g, range) in ranges.iter().enumerate() {
                    let queries = &case.queries[g * batch * dim..(g + 1) * batch * dim];
                    let alone = ask(queries, &vec![range.clone(); batch]);
                    for b in 0..batch {
                        let bits = |row: &[f32]| row.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                        let among = g * batch + b;
                        assert_eq!(bits(alone.state_row(b)), bits(all.state_row(among)), "{name}: {separation}");
                        assert_eq!(bits(alone.output_row(b)), bits(all.output_row(among)), "{name}: {separation}");
                    }
                }
            }
        }
    }
}

/// Reports of weights that are not normalised.
#[test]
fn weights_and_the_largest_of_them() {
    let separations = [
        Separation::Linear,
        Separation::Power { n: 3 },
        Separation::Rectified { n: 2 },
        Separation::Step { threshold: 0.25 },
    ];
    for (s, separation) in separations.into_iter().enumerate() {
        for update in [none(), none().activation(KEEP).remove_self()] {
            let case = bipolar(s as u64, 9, 300, 14, dot(separation, 0.25).then(update));
            let case = Case { betas: Some(Rng(1).vector(9).iter().map(|b| b.abs() + 0.1).collect()), ..case };
            for (name, device) in harness::devices() {
                let memory = case.build(device).unwrap();
                let options = case.options().top(5).weights(attractor::retrieval::WeightsOf::All);
                let got = memory.retrieve_blocking(&case.queries, &options).unwrap();
                let (weights, top) = (got.weights.unwrap(), got.top.unwrap());
                for b in 0..9 {
                    let expected = case.reference(b);
                    let what = format!("{name}: {}", case.rule);
                    for (got, expected) in weights[300 * b..300 * (b + 1)].iter().zip(&expected.weights) {
                        assert!((f64::from(*got) - expected).abs() <= 1e-5 * (1.0 + expected.abs()), "{what}");
                    }
                    let mut order: Vec<usize> = (0..300).collect();
                    order.sort_by(|i, j| expected.scores[*j].total_cmp(&expected.scores[*i]).then(i.cmp(j)));
                    for (place, index) in order.iter().take(5).enumerate() {
                        assert_eq!(top.ids[5 * b + place], Some(attractor::PatternId(*index as u64)), "{what}");
                        let (listed, full) = (top.weight[5 * b + place], weights[300 * b + index]);
                        // A GPU weighs in f32, the host what is listed in f64.
                        let within = if device.is_cpu() { 0.0 } else { 1e-5 * full.abs() };
                        assert!((listed - full).abs() <= within, "{what}: {listed} and {full}");
                    }
                }
            }
        }
    }
}

/// A job, a recording and a memory whose rows stream give the bits of the one-shot call.
#[test]
fn jobs_recordings_and_streams_give_the_same_bits() {
    for (name, device) in harness::gpus() {
        let (gpu, queue) = device.wgpu().unwrap();
        let power = dot(Separation::Power { n: 3 }, 0.125).then(none().activation(KEEP).remove_self());
        let softmax = dot(Separation::Softmax, 0.5).then(none().activation(Activation::Tanh).gain(0.5).carry(0.3));
        let sparse = dot(Separation::Sparsemax, 1.0).then(none().activation(PLUS));
        let values = dot(Separation::Linear, 0.1).then(none().activation(Activation::Normalize).next(Next::Values));
        for (r, rule) in [power, softmax, sparse, values].into_iter().enumerate() {
            for own in [false, true] {
                let mut case = bipolar(20 + r as u64, 9, 700, 16, rule);
                (case.steps, case.tolerance) = (12, Some(1e-3));
                if rule.update.next == Next::Values {
                    (case.value_dim, case.values) = (Some(16), Some(Rng(5).signs(700 * 16)));
                }
                if own {
                    case.betas = Some((0..9).map(|b| 0.1 + 0.05 * b as f32).collect());
                    case.exclude = Some((0..9).map(|b| (b % 2 == 0).then_some(90 * b)).collect());
                    case.rows = Some((0..9).map(|b| 50 * b..300 + 50 * b).collect());
                    case.field = Some(Rng(6).vector(9 * 16));
                }
                // The windows are those of the memory that streams.
                case.window_bytes = Some(50 * 16 * 4);
                let (memory, options) = (case.build(device).unwrap(), case.options());
                let expected = memory.retrieve_blocking(&case.queries, &options).unwrap();
                let what = format!("{name}: {rule}, {own}");
                let (mut job, answer) = memory.job(&case.queries, &options).unwrap();
                while !job.is_done() {
                    let mut encoder = gpu.create_command_encoder(&Default::default());
                    job.advance(&mut encoder, std::time::Duration::from_millis(1)).unwrap();
                    queue.submit([encoder.finish()]);
                }
                assert_eq!(answer.wait().unwrap(), expected, "{what}: a job");
                let contents = bytemuck::cast_slice(&case.queries);
                let usage = wgpu::BufferUsages::STORAGE;
                let descriptor = wgpu::util::BufferInitDescriptor { label: None, contents, usage };
                let rows = gpu.create_buffer_init(&descriptor);
                let mut encoder = gpu.create_command_encoder(&Default::default());
                let recorded = memory.record_readback(&mut encoder, 9, Rows::new(&rows), &options).unwrap();
                queue.submit([encoder.finish()]);
                assert_eq!(recorded.wait().unwrap(), expected, "{what}: a recording");
                let mut streams = MemoryOptions::new(16, rule).device_bytes(8 * 50 * 16 * 4);
                if let Some(value_dim) = case.value_dim {
                    streams = streams.value_dim(value_dim).device_bytes(2 * 8 * 50 * 16 * 4);
                }
                let mut streamed = streams.build(device).unwrap();
                streamed.add(harness::patterns(&case.keys, case.values.as_deref(), None)).unwrap();
                let streamed = streamed.retrieve_blocking(&case.queries, &options).unwrap();
                assert_eq!(streamed, expected, "{what}: rows that stream");
            }
        }
    }
}
