//! Patterns by id: what is removed, updated and read back, on every device.

use attractor::retrieval::WeightsOf;
use attractor::{Error, Memory, MemoryOptions, PatternId, Patterns, Precision, RetrieveOptions, Rule};
use harness::{Case, Rng};

/// The stored rows in the order of their positions, as a case for the reference.
fn case_of(memory: &Memory, rule: Rule, queries: &[f32]) -> Case {
    let ids = (0..memory.position_count()).filter_map(|position| memory.id_at(position));
    let keys: Vec<f32> = ids.flat_map(|id| memory.get(id).unwrap().key).collect();
    Case { keys, queries: queries.to_vec(), ..Case::random(0, 1, 1, memory.dim(), None, rule) }
}

#[test]
fn what_is_removed_has_no_weight_and_what_is_updated_counts() {
    for (name, device) in harness::devices() {
        let rule = Rule::softmax(1.5);
        let mut numbers = Rng(7);
        let mut memory = MemoryOptions::new(6, rule).window_bytes(20 * 32).build(device).unwrap();
        let ids: Vec<PatternId> = memory.add(&numbers.vector(50 * 6)).unwrap().iter().collect();
        let queries = numbers.vector(5 * 6);
        for id in [0, 7, 19, 20, 49] {
            memory.remove(ids[id]).unwrap();
            assert!(!memory.contains(ids[id]));
        }
        let row = numbers.vector(6);
        memory.update(ids[30], Patterns::new(&row)).unwrap();
        assert_eq!(memory.get(ids[30]).unwrap().key, row, "{name}");
        assert_eq!((memory.len(), memory.position_count()), (45, 50), "{name}");

        let check = |memory: &Memory| {
            let options = RetrieveOptions::default().weights(WeightsOf::All).top(3);
            let got = memory.retrieve_blocking(&queries, &options).unwrap();
            let case = case_of(memory, rule, &queries);
            assert!(case.judge(&got, 0..5) <= 1.0, "{name}");
            for (position, weight) in got.weights.as_ref().unwrap()[..memory.position_count()].iter().enumerate() {
                assert_eq!(*weight > 0.0, memory.id_at(position).is_some(), "{name} position {position}");
            }
            let best = got.top.as_ref().unwrap().ids[0].unwrap();
            assert!(memory.contains(best), "{name}");
            let all = got.weights.as_ref().unwrap()[..memory.position_count()].iter().copied();
            let (position, _) = all.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            assert_eq!(got.id_at(position), Some(best), "{name}");
        };
        check(&memory);
        // Freed positions are filled first, ids are new.
        let added: Vec<PatternId> = memory.add(&numbers.vector(8 * 6)).unwrap().iter().collect();
        assert_eq!(added.first(), Some(&PatternId(50)), "{name}");
        assert_eq!((memory.len(), memory.position_count(), memory.id_at(0)), (53, 53, Some(PatternId(50))), "{name}");
        check(&memory);

        let only = memory.mask_where(|id| id == ids[30]);
        let got = memory.retrieve_blocking(&queries, &RetrieveOptions::default().mask(only)).unwrap();
        for b in 0..5 {
            assert_eq!(got.output_row(b), row, "{name}: one pattern is all there is");
        }
    }
}

/// What was asked before a change names patterns as they were then, however positions are used again.
#[test]
fn answers_on_their_way_name_the_patterns_that_they_saw() {
    let rows = |memory: &mut Memory| memory.add(&[1.0, 0.0, 0.0, 1.0, -1.0, 0.0]).unwrap().iter().collect::<Vec<_>>();
    // The place of the nearest pattern is filled by another.
    let change = |memory: &mut Memory, nearest: PatternId| {
        memory.remove(nearest).unwrap();
        memory.add(&[0.0, -1.0]).unwrap().get(0).unwrap()
    };
    let options = RetrieveOptions::default().top(2).weights(WeightsOf::All);
    let query = [0.1f32, 0.9];
    let check = |got: &attractor::Retrieval, ids: &[PatternId], what: &str| {
        let top = got.top.as_ref().unwrap();
        assert_eq!(top.ids, [Some(ids[1]), Some(ids[0])], "{what}");
        let weights = got.weights.as_ref().unwrap();
        assert_eq!(weights[1], top.weight[0], "{what}");
        let named: Vec<Option<PatternId>> = (0..4).map(|position| got.id_at(position)).collect();
        assert_eq!(named, [Some(ids[0]), Some(ids[1]), Some(ids[2]), None], "{what}");
    };
    for (name, device) in harness::devices() {
        let mut memory = Memory::new(device, 2, Rule::softmax(3.0)).unwrap();
        let ids = rows(&mut memory);
        let answer = memory.retrieve(&query, &options).unwrap();
        let other = change(&mut memory, ids[1]);
        check(&answer.wait().unwrap(), &ids, name);
        let now = memory.retrieve_blocking(&[0.0, -1.0], &options).unwrap();
        assert_eq!(now.top.unwrap().ids[0], Some(other), "{name}");
        if device.is_cpu() {
            continue;
        }
        let (host, queue) = device.wgpu().unwrap();
        let mut memory = Memory::new(device, 2, Rule::softmax(3.0)).unwrap();
        let ids = rows(&mut memory);
        let (mut job, answer) = memory.job(&query, &options).unwrap();
        change(&mut memory, ids[1]);
        let mut encoder = host.create_command_encoder(&Default::default());
        while !job.is_done() {
            job.advance(&mut encoder, std::time::Duration::from_secs(1)).unwrap();
        }
        queue.submit([encoder.finish()]);
        check(&answer.wait().unwrap(), &ids, name);
    }
}

#[test]
fn a_mask_of_a_memory_that_has_changed_is_refused() {
    for (name, device) in harness::devices() {
        let rule = Rule::softmax(3.0);
        let mut memory = Memory::new(device, 2, rule).unwrap();
        let ids: Vec<PatternId> = memory.add(&[1.0, 0.0, 0.0, 1.0, -1.0, 0.0]).unwrap().iter().collect();
        let ask = |memory: &Memory, mask: &attractor::Mask| {
            let options = RetrieveOptions::default().mask(mask.clone());
            let partial = attractor::partial::PartialOptions::default().mask(mask.clone());
            let got = memory.retrieve_blocking(&[0.2, 0.3], &options);
            let partial = memory.retrieve_partial_blocking(&[0.2, 0.3], &partial);
            assert_eq!(got.is_ok(), partial.is_ok(), "{name}");
            got.map(|got| got.output)
        };
        let stale = |memory: &Memory, mask: &attractor::Mask, word: &str| {
            let error = ask(memory, mask).unwrap_err();
            assert!(matches!(error, Error::Stale { what: "mask", .. }), "{name}: {error}");
            assert!(error.to_string().contains(word), "{name}: {error}");
        };
        let first = memory.mask_where(|id| id == ids[0]);
        assert_eq!(ask(&memory, &first).unwrap(), [1.0, 0.0], "{name}");
        memory.remove(ids[1]).unwrap();
        assert_eq!(ask(&memory, &first).unwrap(), [1.0, 0.0], "{name}: a removal changes no position's meaning");
        // The place is filled again: the length is what it was.
        memory.add(&[0.0, -1.0]).unwrap();
        assert_eq!(memory.position_count(), 3);
        stale(&memory, &first, "other patterns");
        let again = memory.mask_where(|id| id == ids[0]);
        let copy = memory.rebuild(device).unwrap();
        assert_eq!(ask(&copy, &again).unwrap(), [1.0, 0.0], "{name}: the same ids at the same positions");
        memory.add(&[0.5, 0.5]).unwrap();
        stale(&memory, &again, "had 3 positions");
        let before = memory.mask_where(|_| true);
        memory.clear();
        memory.add(&[1.0; 8]).unwrap();
        stale(&memory, &before, "other patterns");
        let mut other = Memory::new(device, 2, rule).unwrap();
        other.add(&[1.0; 8]).unwrap();
        stale(&other, &memory.mask_where(|_| true), "another memory");
        // Flags are the caller's.
        let flags = attractor::Mask::keep(&[true, false, false, false]);
        memory.remove(memory.id_at(1).unwrap()).unwrap();
        memory.add(&[7.0, 7.0]).unwrap();
        assert_eq!(ask(&memory, &flags).unwrap(), [1.0, 1.0], "{name}");
        if device.is_cpu() {
            continue;
        }
        // An update while a job is under way moves the pattern.
        let moves = memory.mask_where(|_| true);
        let job = memory.job(&[0.2, 0.3], &RetrieveOptions::default()).unwrap();
        let id = memory.id_at(0).unwrap();
        memory.remove(memory.id_at(3).unwrap()).unwrap();
        memory.update(id, Patterns::new(&[3.0, 3.0])).unwrap();
        stale(&memory, &moves, "other patterns");
        drop(job);
    }
}

#[test]
fn unknown_ids_and_wrong_rows_change_nothing() {
    for (name, device) in harness::devices() {
        let mut memory = MemoryOptions::new(3, Rule::softmax(1.0)).value_dim(2).build(device).unwrap();
        memory.add(Patterns::new(&[1.0; 6]).values(&[2.0; 4])).unwrap();
        let before = memory.get(PatternId(1)).unwrap();
        assert_eq!(
            (before.key.as_slice(), before.value.as_deref(), before.bias),
            (&[1.0; 3][..], Some(&[2.0; 2][..]), 0.0)
        );
        let good = Patterns::new(&[5.0; 3]).values(&[5.0; 2]);
        assert!(matches!(memory.update(PatternId(2), good), Err(Error::UnknownId { .. })), "{name}");
        assert!(memory.remove(PatternId(9)).unwrap_err().to_string().contains("id 9"), "{name}");
        assert!(matches!(memory.get(PatternId(u64::MAX)), Err(Error::UnknownId { .. })), "{name}");
        for bad in [
            Patterns::new(&[5.0; 6]).values(&[5.0; 4]),
            Patterns::new(good.keys()),
            Patterns::new(&[f32::NAN; 3]).values(&[5.0; 2]),
            good.bias(&[1.0]),
        ] {
            assert!(memory.update(PatternId(1), bad).is_err(), "{name}");
        }
        assert_eq!(memory.get(PatternId(1)).unwrap(), before, "{name}");
        memory.remove(PatternId(0)).unwrap();
        memory.remove(PatternId(1)).unwrap();
        assert!(
            matches!(memory.retrieve_blocking(&[0.0; 3], &RetrieveOptions::default()), Err(Error::Empty { .. })),
            "{name}"
        );
    }
}

#[test]
fn every_precision_reads_back_what_it_stores() {
    for (name, device) in harness::devices() {
        for (precision, error) in [(Precision::F32, 0.0), (Precision::F16, 1.0 / 2048.0), (Precision::I8, 0.5 / 127.0)]
        {
            let mut numbers = Rng(3);
            let options = MemoryOptions::new(7, Rule::softmax(1.0)).value_dim(5).bias().precision(precision);
            let mut memory = options.build(device).unwrap();
            let (keys, values) = (numbers.vector(9 * 7), numbers.vector(9 * 5));
            let bias = numbers.vector(9);
            let patterns = Patterns::new(&keys).values(&values).bias(&bias);
            for (i, id) in memory.add(patterns).unwrap().iter().enumerate() {
                let got = memory.get(id).unwrap();
                assert_eq!(got.bias, bias[i], "{name}");
                let near = |got: &[f32], stored: &[f32]| {
                    got.len() == stored.len() && got.iter().zip(stored).all(|(g, s)| (g - s).abs() <= error * 1.001)
                };
                assert!(near(&got.key, &keys[i * 7..(i + 1) * 7]), "{name} {precision:?}");
                assert!(near(&got.value.unwrap(), &values[i * 5..(i + 1) * 5]), "{name} {precision:?}");
            }
        }
    }
}
