//! Partial states: any split, merged in any order, answers as the whole; and bytes that are not one are refused.

mod common;

use attractor::{Device, Error, Memory, Partial, Rule, Separation, Similarity, Status};
use common::{Case, Numbers};

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

/// Merges all in an order, and a tree, that the numbers choose; through bytes.
fn merge(mut parts: Vec<Partial>, numbers: &mut Numbers) -> Partial {
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

#[test]
fn any_split_in_any_order_is_the_whole() {
    for similarity in [Similarity::Dot, Similarity::Euclidean] {
        for (seed, separation) in separations().into_iter().enumerate() {
            for (beta, value_dim) in [(2.0, None), (0.01, Some(3)), (-1.0, Some(5)), (1e30, None)] {
                let rule = Rule::new(similarity, separation, beta);
                let mut numbers = Numbers(seed as u64);
                let mut case = Case::random(seed as u64 + 70, 3, 150, 6, value_dim, rule);
                case.bias = Some(numbers.vector(150));
                let memory = cpu(&case);
                let whole = memory.retrieve_with_blocking(&case.queries, &case.options().statistics()).unwrap();
                for shards in 1..=7 {
                    let mut cuts: Vec<usize> = (1..shards).map(|_| numbers.bits() as usize % 151).collect();
                    cuts.extend([0, 150]);
                    cuts.sort_unstable();
                    let parts: Vec<Vec<Partial>> = cuts
                        .windows(2)
                        .map(|cut| memory.retrieve_partial_blocking(&case.queries, cut[0]..cut[1], 0).unwrap())
                        .collect();
                    for b in 0..3 {
                        let parts = parts.iter().map(|part| part[b].clone()).collect();
                        let got = merge(parts, &mut numbers).finish();
                        let what = format!("{rule:?}, {shards} shards, query {b}");
                        for (got, expected) in [(&got.output[..], whole.output(b)), (&got.state, whole.state(b))] {
                            let expected: Vec<f64> = expected.iter().map(|v| f64::from(*v)).collect();
                            let worst = common::worst(got, &expected);
                            assert!(worst <= 1e-5, "{what}: off by {worst}");
                        }
                        assert_eq!((got.patterns, got.status), (150, Status::Answered), "{what}");
                        let expected = whole.statistics.as_ref().unwrap()[b];
                        let told = got.statistics;
                        assert!((told.perplexity / expected.perplexity - 1.0).abs() < 1e-4, "{what}: {told:?}");
                        assert!((told.largest - expected.largest).abs() < 1e-5, "{what}: {told:?}");
                        if !matches!(separation, Separation::Softmax | Separation::Softmax1) && beta < 1e3 {
                            assert_eq!(told.support, expected.support, "{what}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn ties_across_shards_keep_the_smaller_id() {
    let rule = Rule::new(Similarity::Dot, Separation::TopK { k: 1 }, 1.0);
    let shard = |value: f32, first_id| {
        let mut memory = Memory::with_values(&Device::cpu(), 1, 1, rule).unwrap();
        memory.add_with_values(&[1.0], &[value]).unwrap();
        memory.retrieve_partial_blocking(&[1.0], 0..1, first_id).unwrap().remove(0)
    };
    for (a, b) in [(shard(5.0, 0), shard(7.0, 1)), (shard(7.0, 1), shard(5.0, 0))] {
        assert_eq!(a.merge(b).unwrap().finish().output, [5.0]);
    }
}

#[test]
fn nothing_merges_and_finishes() {
    for separation in separations() {
        let case = Case::random(3, 1, 20, 4, Some(2), Rule::new(Similarity::Dot, separation, 1.0));
        let memory = cpu(&case);
        let part = |range| memory.retrieve_partial_blocking(&case.queries, range, 0).unwrap().remove(0);
        let nothing = Partial::from_bytes(&part(7..7).to_bytes()).unwrap();
        let finished = nothing.clone().merge(part(0..0)).unwrap().finish();
        assert_eq!(
            (finished.status, finished.output, finished.state),
            (Status::NothingLeft, vec![0.0; 2], vec![0.0; 4])
        );
        assert_eq!(nothing.merge(part(0..20)).unwrap().finish(), part(0..20).finish());
    }
}

#[test]
fn others_and_bad_arguments_are_refused() {
    let partial = |dim, rule| {
        let case = Case::random(3, 1, 5, dim, None, rule);
        cpu(&case).retrieve_partial_blocking(&case.queries, 0..5, 0).unwrap().remove(0)
    };
    let one = partial(3, Rule::softmax(1.0));
    for other in [partial(3, Rule::softmax(2.0)), partial(4, Rule::softmax(1.0))] {
        assert!(matches!(one.clone().merge(other), Err(Error::Shape { .. })));
    }
    let memory = cpu(&Case::random(3, 1, 5, 3, None, Rule::softmax(1.0)));
    #[allow(clippy::reversed_empty_ranges, reason = "it must be refused")]
    for range in [0..6, 9..9, 4..2, 0..usize::MAX] {
        let error = memory.retrieve_partial_blocking(&[0.0; 3], range, 0).unwrap_err();
        assert!(error.to_string().contains("subset"), "{error}");
    }
    assert!(memory.retrieve_partial_blocking(&[0.0; 4], 0..5, 0).is_err());
    assert!(memory.retrieve_partial_blocking(&[f32::NAN; 3], 0..5, 0).is_err());
}

/// Every truncation, every byte set to extremes, and lengths that ask for the absurd: an error, or a partial state that
/// can be merged and finished. Never a panic.
#[test]
fn hostile_bytes() {
    for separation in separations() {
        let case = Case::random(3, 1, 4, 3, Some(2), Rule::new(Similarity::Dot, separation, 1.0));
        let good = cpu(&case).retrieve_partial_blocking(&case.queries, 0..4, 0).unwrap().remove(0);
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
        for at in (22..bytes.len() - 8).step_by(8) {
            let mut bad = bytes.clone();
            bad[at..at + 8].copy_from_slice(&(u64::MAX / 3).to_le_bytes());
            if let Ok(read) = Partial::from_bytes(&bad) {
                let _ = read.finish();
            }
        }
    }
}
