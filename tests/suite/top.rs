//! Thresholds of the patterns of largest weight: which are reported and how many there are, against the reference.

use attractor::record::Rows;
use attractor::reference::{similarity, top};
use attractor::retrieval::{MAX_TOP, Top, WeightsOf};
use attractor::{Error, Mask, Memory, RetrieveOptions, Rule, Separation, Similarity, wgpu};
use harness::host::hosts;
use harness::{Case, Rng};
use wgpu::util::DeviceExt;

/// The ids of query `b`, which come first, and how many patterns were found.
fn ids(top: &Top, b: usize) -> (Vec<u64>, u64) {
    let row = &top.ids[b * top.k..(b + 1) * top.k];
    let listed: Vec<u64> = row.iter().map_while(|id| id.map(|id| id.0)).collect();
    assert!(row[listed.len()..].iter().all(Option::is_none));
    let empty = b * top.k + listed.len()..(b + 1) * top.k;
    assert!(top.weight[empty.clone()].iter().chain(&top.similarity[empty]).all(|number| *number == 0.0));
    (listed, top.found.as_ref().unwrap()[b])
}

fn separations() -> [Separation; 5] {
    [
        Separation::Softmax,
        Separation::Softmax1,
        Separation::Sparsemax,
        Separation::Entmax { alpha: 1.5 },
        Separation::TopK { k: 40 },
    ]
}

/// A number between the `rank`-th and the next, where they are far enough apart that no rounding decides.
fn between(numbers: &[f64], rank: usize) -> Option<f32> {
    let (above, below) = (numbers[rank], numbers[rank + 1]);
    ((above - below).abs() > 1e-4 * (above.abs() + below.abs()) + 1e-6).then(|| f64::midpoint(above, below) as f32)
}

#[test]
fn least_weights_cut_and_count() {
    for (name, device) in harness::thorough_devices() {
        let mut cut = 0;
        for kind in Similarity::ALL {
            for separation in separations() {
                let mut case = Case::random(3, 3, 700, 6, Some(2), Rule::new(kind, separation, 2.0));
                case.bias = Some(Rng(4).vector(700));
                case.steps = 2;
                case.window_bytes = Some(256 * 32);
                let Some(memory) = case.memory(name, device) else { continue };
                for b in 0..3 {
                    let expected = case.reference(b);
                    let order = top(&expected.weights, &expected.scores, MAX_TOP);
                    let weights: Vec<f64> = order.iter().map(|i| expected.weights[*i]).collect();
                    for (rank, k) in [(0, 1), (3, 2), (3, 10), (20, 5), (200, 3), (200, 400)] {
                        let Some(least) = between(&weights, rank).filter(|least| *least >= 1.0 / 1024.0) else {
                            continue;
                        };
                        let options = case.options().top(k).weight_at_least(least);
                        let got = memory.retrieve_blocking(&case.queries, &options).unwrap().top.unwrap();
                        let what = format!("{name} {kind} {separation} query {b} rank {rank} k {k}");
                        let (listed, found) = ids(&got, b);
                        assert_eq!((listed.len(), found), ((rank + 1).min(k), rank as u64 + 1), "{what}");
                        for (place, id) in listed.iter().enumerate() {
                            let near = (expected.weights[*id as usize] - weights[place]).abs();
                            assert!(near <= 2e-5, "{what}: {id} at {place}");
                        }
                        cut += 1;
                    }
                }
            }
        }
        assert!(cut > 40, "{name}: {cut} thresholds");
    }
}

/// Under biases the most similar pattern may not be among those of largest weight: then it is neither reported nor
/// counted.
#[test]
fn similarities_cut_what_is_listed() {
    for (name, device) in harness::thorough_devices() {
        for kind in Similarity::ALL {
            for separation in separations() {
                let mut case = Case::random(5, 2, 300, 5, None, Rule::new(kind, separation, 1.0));
                case.bias = Some(Rng(6).vector(300).iter().map(|b| 3.0 * b).collect());
                let Some(memory) = case.memory(name, device) else { continue };
                let k = 25;
                for b in 0..2 {
                    let whole = memory.retrieve_blocking(&case.queries, &case.options().top(k)).unwrap().top.unwrap();
                    let row = b * k..(b + 1) * k;
                    let query: Vec<f64> = case.query(b).iter().map(|x| f64::from(*x)).collect();
                    let distance = matches!(kind, Similarity::Euclidean | Similarity::Manhattan);
                    let factor = match kind {
                        Similarity::Euclidean => -2.0,
                        Similarity::Manhattan => -1.0,
                        _ => 1.0,
                    };
                    let measure = |id: u64| {
                        let key = case.keys[id as usize * 5..][..5].iter().map(|k| f64::from(*k)).collect::<Vec<_>>();
                        factor * similarity(kind, &query, &key)
                    };
                    let listed: Vec<u64> = whole.ids[row].iter().flatten().map(|id| id.0).collect();
                    let mut measures: Vec<f64> = listed.iter().map(|id| measure(*id)).collect();
                    measures.sort_by(|a, b| if distance { a.total_cmp(b) } else { b.total_cmp(a) });
                    let Some(bound) = between(&measures, 7) else { continue };
                    let options = case.options().top(k);
                    let options = if distance { options.at_most(bound) } else { options.at_least(bound) };
                    let got = memory.retrieve_blocking(&case.queries, &options).unwrap().top.unwrap();
                    let meets =
                        |id: &u64| if distance { measure(*id) <= bound.into() } else { measure(*id) >= bound.into() };
                    let expected: Vec<u64> = listed.into_iter().filter(meets).collect();
                    assert_eq!(expected.len(), 8);
                    assert_eq!(ids(&got, b), (expected, 8), "{name} {kind} {separation} query {b}");
                    let both = options.weight_at_least(1.0 / 1024.0);
                    let (few, found) = ids(&memory.retrieve_blocking(&case.queries, &both).unwrap().top.unwrap(), b);
                    assert!(few.iter().all(meets) && found >= few.len() as u64, "{name} {kind} {separation} query {b}");
                }
            }
        }
    }
}

/// Weights that are equal all count, at their own value, and as many as can have a weight are listed.
#[test]
fn as_many_patterns_as_can_have_a_weight_count() {
    for (name, device) in harness::devices() {
        for patterns in [1usize, 2, 3, 7, 1000, 1024, 1025, 3000] {
            let mut memory = Memory::new(device, 2, Rule::softmax(1.0)).unwrap();
            memory.add(&[0.5, 0.25].repeat(patterns)).unwrap();
            let ask = |options: RetrieveOptions| {
                let top = memory.retrieve_blocking(&[1.0, 1.0], &options.top(2)).unwrap().top.unwrap();
                (ids(&top, 0), top.weight[0])
            };
            let expected = patterns.min(2) as u64;
            let least = 1.0 / patterns as f32 * (1.0 - 1e-5);
            if patterns <= 1000 {
                let ((listed, found), _) = ask(RetrieveOptions::default().weight_at_least(least));
                assert_eq!((listed, found), ((0..expected).collect(), patterns as u64), "{name}: {patterns}");
                if patterns > 1 {
                    let above = RetrieveOptions::default().weight_at_least(1.0 / patterns as f32 * (1.0 + 1e-5));
                    assert_eq!(ask(above).0, (Vec::new(), 0), "{name}: {patterns}");
                }
            }
            let ((_, found), weight) = ask(RetrieveOptions::default().weight_at_least(1.0 / 1024.0));
            let expected = if patterns <= 1000 || weight >= 1.0 / 1024.0 { patterns.min(1024) } else { 0 };
            assert_eq!(found, expected as u64, "{name}: {patterns} of {weight}");
        }
    }
}

/// Jobs, recordings that are read back, futures and batches in one plan all say the same.
#[test]
fn every_way_to_retrieve_has_thresholds() {
    for host in hosts() {
        let device = host.guest();
        let case = Case::random(8, 5, 500, 7, None, Rule::softmax(3.0));
        let Some(memory) = case.memory(&host.name, &device) else { continue };
        let keep: Vec<bool> = (0..500).map(|i| i % 3 > 0).collect();
        let options = RetrieveOptions::steps(2)
            .top(4)
            .at_least(0.2)
            .weight_at_least(0.01)
            .mask(Mask::keep(&keep))
            .weights(WeightsOf::All)
            .energy();
        let expected = memory.retrieve_blocking(&case.queries, &options).unwrap();
        let found = expected.top.as_ref().unwrap().found.clone().unwrap();
        assert!(found.iter().any(|found| *found > 4), "{found:?}");
        for b in 0..5 {
            let weights = &expected.weights.as_ref().unwrap()[b * 500..(b + 1) * 500];
            let most = weights.iter().filter(|weight| **weight >= 0.01).count() as u64;
            assert!(found[b] <= most, "{}: {found:?} of {most}", host.name);
        }
        let (mut job, answer) = memory.job(&case.queries, &options).unwrap();
        let buffer = host.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&case.queries),
            usage: wgpu::BufferUsages::STORAGE,
        });
        let mut encoder = host.device.create_command_encoder(&Default::default());
        while !job.advance(&mut encoder, std::time::Duration::from_secs(100)).unwrap().done {}
        let recorded = memory.record_readback(&mut encoder, 5, Rows::new(&buffer), &options).unwrap();
        host.queue.submit([encoder.finish()]);
        host.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        assert_eq!(answer.wait().unwrap(), expected, "{}", host.name);
        assert_eq!(recorded.wait().unwrap(), expected, "{}", host.name);
        assert_eq!(memory.retrieve(&case.queries, &options).unwrap().wait().unwrap(), expected, "{}", host.name);
    }
}

#[test]
fn thresholds_outside_their_domain_are_refused() {
    for (name, device) in harness::devices() {
        let memory = |kind| {
            let mut memory = Memory::new(device, 2, Rule::new(kind, Separation::Softmax, 1.0)).unwrap();
            memory.add(&[1.0, 0.0]).unwrap();
            memory
        };
        let (dot, near) = (memory(Similarity::Dot), memory(Similarity::Euclidean));
        let refused = |memory: &Memory, named: &str, options: RetrieveOptions| match memory
            .retrieve_blocking(&[1.0, 0.0], &options)
        {
            Err(Error::Parameter { parameter, .. }) => assert_eq!(parameter, named, "{name}: {options:?}"),
            other => panic!("{name}: {options:?} gives {other:?}"),
        };
        let top = || RetrieveOptions::default().top(3);
        for weight in [0.0, -0.5, f32::NAN, f32::INFINITY, 1.000_001, 0.000_976, 1e-30] {
            refused(&dot, "weight_at_least", top().weight_at_least(weight));
        }
        for weight in [1.0, 1.0 / 1024.0] {
            dot.retrieve_blocking(&[1.0, 0.0], &top().weight_at_least(weight)).unwrap();
        }
        for bound in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            refused(&dot, "at_least", top().at_least(bound));
            refused(&near, "at_most", top().at_most(bound));
        }
        refused(&dot, "at_most", top().at_most(0.5));
        refused(&near, "at_least", top().at_least(0.5));
        refused(&dot, "at_least", RetrieveOptions::default().at_least(0.5));
        refused(&dot, "weight_at_least", RetrieveOptions::default().weight_at_least(0.5));
        refused(&near, "at_most", RetrieveOptions::default().at_most(0.5));
        refused(&dot, "plan_for", top().plan_for(0));
    }
}
