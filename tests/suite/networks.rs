//! Networks on every device: resonators, bidirectional memories and hops give what the reference gives, in order and
//! together, of reals and of complex numbers; permuted factors permute answers; bad networks are refused by name.

use attractor::network::{Network, Product};
use attractor::retrieval::Status;
use attractor::rule::{Activation, Next, Zero};
use attractor::{Device, Error, Memory, RetrieveOptions, Rule, Separation, Similarity, Update};
use harness::NetworkCase;

/// Compares all queries with the reference; states may be off by `tolerance`.
fn judge(case: &NetworkCase, name: &str, device: &Device, options: &RetrieveOptions, tolerance: f64) {
    let Some(got) = harness::supported(name, case.run(device, options)) else { return };
    let share = case.judge(&got, options.get_stop(), tolerance).unwrap();
    assert!(share <= 1.0, "{name}: {share} of {tolerance}");
}

#[test]
fn resonators_are_bit_exact_in_order_and_together() {
    for (name, device) in harness::devices() {
        for together in [false, true] {
            for (seed, (dim, factors, rows, batch)) in
                [(100, 2, 5, 7), (257, 3, 8, 5), (63, 4, 3, 3), (1, 2, 1, 1), (300, 6, 3, 2)].into_iter().enumerate()
            {
                let zero = if seed % 2 == 0 { Zero::Plus } else { Zero::Zero };
                let case = NetworkCase::resonator(seed as u64, dim, (factors, rows), batch, zero, together);
                for options in
                    [RetrieveOptions::steps(1), RetrieveOptions::steps(5), RetrieveOptions::converge(40, 1e-6)]
                {
                    judge(&case, name, device, &options, 0.0);
                }
            }
        }
    }
}

#[test]
fn a_hundred_iterations_are_submitted_once() {
    let case = NetworkCase::resonator(7, 256, (3, 10), 4, Zero::Plus, false);
    for (name, device) in harness::devices().iter().filter(|(_, device)| !device.is_cpu()) {
        let memories = case.memories(device).unwrap();
        let (network, _) = case.network(&memories);
        let starts: Vec<&[f32]> = case.starts.iter().map(Vec::as_slice).collect();
        let counted = |steps: u32| {
            let before = attractor::internals::counts(device);
            let found = network.retrieve_blocking(&starts, &RetrieveOptions::steps(steps)).unwrap();
            assert_eq!(found.steps, [steps; 4]);
            let after = attractor::internals::counts(device);
            (after.0 - before.0, after.1 - before.1)
        };
        // Kernels are compiled, and what they take is learned.
        counted(1);
        assert_eq!(counted(100), counted(1), "{name}: submissions and waits");
        assert_eq!(counted(100).0, 1, "{name}");
    }
}

#[test]
fn permuted_factors_permute_answers() {
    for (name, device) in harness::devices() {
        let case = NetworkCase::resonator(5, 128, (3, 6), 4, Zero::Plus, true);
        let options = RetrieveOptions::converge(30, 1e-6);
        let Some(plain) = harness::supported(name, case.run(device, &options)) else { continue };
        // Vectors 1, 2 and 3 become 3, 1 and 2.
        let place = [0, 3, 1, 2];
        let mut permuted = NetworkCase::resonator(5, 128, (3, 6), 4, Zero::Plus, true);
        for (vector, start) in case.starts.iter().enumerate() {
            permuted.starts[place[vector]].clone_from(start);
        }
        for step in &mut permuted.steps {
            step.target = place[step.target];
            step.factors.iter_mut().for_each(|(vector, _)| *vector = place[*vector]);
        }
        let got = permuted.run(device, &options).unwrap();
        let memories = case.memories(device).unwrap();
        let (_, ids) = case.network(&memories);
        for vector in 0..4 {
            assert_eq!(got.state(ids[place[vector]]), plain.state(ids[vector]), "{name}: vector {vector}");
        }
        assert_eq!(got.steps, plain.steps);
    }
}

#[test]
fn complex_products_unbind_phasors() {
    for (name, device) in harness::devices() {
        for rule in [
            Rule::attention_resonator(2.0),
            Rule::new(Similarity::Dot, Separation::Linear, 1.0).then(Update::default().activation(Activation::Phasor)),
        ] {
            let case = NetworkCase::phasors(rule);
            judge(&case, name, device, &RetrieveOptions::steps(2), 2e-4);
        }
    }
}

#[test]
fn one_state_goes_through_several_memories() {
    for (name, device) in harness::devices() {
        let case = NetworkCase::hops();
        judge(&case, name, device, &RetrieveOptions::steps(1), 2e-4);
        judge(&case, name, device, &RetrieveOptions::steps(2), 2e-2);
    }
}

#[test]
fn bidirectional_memories_recall_pairs() {
    for (name, device) in harness::devices() {
        assert_eq!(Rule::bidirectional().update.next, Next::Values);
        let case = NetworkCase::pairs();
        judge(&case, name, device, &RetrieveOptions::converge(20, 1e-6), 0.0);
    }
}

#[test]
fn queries_whose_states_come_back_stop_where_the_last_iteration_would() {
    for (name, device) in harness::devices() {
        for together in [false, true] {
            let case = NetworkCase::periods(together);
            for most in [6, 7, 50, 51, 52, 53, 54, 55, 1000] {
                let options = RetrieveOptions::converge(most, 1e-6);
                judge(&case, name, device, &options, 0.0);
                let found = case.run(device, &options).unwrap();
                let on_cpu = case.run(&Device::cpu(), &options).unwrap();
                assert_eq!((&found.status, &found.steps), (&on_cpu.status, &on_cpu.steps), "{name}, {most} at most");
                if most >= 50 {
                    let cycle = Status::Cycle;
                    assert_eq!(found.status, [cycle, cycle, Status::Answered, cycle], "{name}, {most} at most");
                    assert!(found.steps.iter().all(|steps| *steps < 20), "{name}: {:?}", found.steps);
                }
            }
            // Without a tolerance nothing stops early.
            let found = case.run(device, &RetrieveOptions::steps(60)).unwrap();
            assert_eq!((found.steps, found.status), (vec![60; 4], vec![Status::Answered; 4]), "{name}");
        }
    }
}

/// Sums that grow from update to update.
#[test]
fn states_out_of_range_have_not_converged() {
    for (name, device) in harness::devices() {
        let mut memory = Memory::new(device, 16, Rule::new(Similarity::Dot, Separation::Linear, 1.0)).unwrap();
        let keys: Vec<f32> = (0..20 * 16).map(|i| if i * i % 7 < 3 { 1.0 } else { -1.0 }).collect();
        memory.add(&keys).unwrap();
        let mut network = Network::new(16);
        let vector = network.vector();
        network.update(vector, &memory, vector);
        let found = network.retrieve_blocking(&[&keys[..48]], &RetrieveOptions::converge(60, 1e-6)).unwrap();
        assert_eq!(found.status, [Status::OutOfRange; 3], "{name}");
        assert_eq!(found.converged, [false; 3], "{name}: {:?}", found.change);
    }
}

#[test]
fn bad_networks_are_refused_by_name() {
    for (name, device) in harness::quick_devices() {
        let memory = |dim: usize| {
            let mut memory = Memory::new(device, dim, Rule::resonator()).unwrap();
            memory.add(&vec![1.0; dim]).unwrap();
            memory
        };
        let (four, five, empty) = (memory(4), memory(5), Memory::new(device, 4, Rule::resonator()).unwrap());
        let elsewhere = {
            let mut memory = Memory::new(&Device::cpu(), 4, Rule::resonator()).unwrap();
            memory.add(&[1.0; 4]).unwrap();
            memory
        };
        let ones = [1.0f32; 8];
        let options = RetrieveOptions::converge(5, 1e-6);
        let refused = |network: &Network<'_>, starts: &[&[f32]], options: &RetrieveOptions, word: &str| {
            let error = network.retrieve_blocking(starts, options).unwrap_err();
            let text = error.to_string();
            assert!(text.contains("Network::retrieve_blocking") && text.contains(word), "{name}: {text}");
            assert!(network.retrieve(starts, options).err().is_some_and(|error| error.to_string().contains(word)));
        };
        let of = |memory: &Memory| -> bool { memory.dim() == 4 };
        assert!(of(&four));
        let mut network = Network::new(4);
        let (input, state) = (network.vector(), network.vector());
        refused(&network, &[&ones, &ones], &options, "at least one");
        network.update(state, &four, Vec::new());
        refused(&network, &[&ones, &ones], &options, "at least one vector");
        let mut network = Network::new(4);
        let (input_of, state_of) = (network.vector(), network.vector());
        assert_eq!((input, state), (input_of, state_of));
        network.update(state, &five, [input, state]);
        refused(&network, &[&ones, &ones], &options, "4 dimensions");
        let mut network = Network::new(4);
        let (input, state) = (network.vector(), network.vector());
        network.update(state, &four, [input, state]);
        refused(&network, &[&ones], &options, "start");
        refused(&network, &[&ones[..7], &ones], &options, "4 for all queries");
        refused(&network, &[&ones, &ones[..0]], &options, "4 for all queries");
        let nan = [f32::NAN; 8];
        refused(&network, &[&nan, &ones], &options, "NaN");
        refused(&network, &[&ones, &ones], &RetrieveOptions::steps(0), "steps");
        refused(&network, &[&ones, &ones], &options.clone().top(3), "`top`");
        refused(&network, &[&ones, &ones], &options.clone().field(&ones), "`field`");
        refused(&network, &[&ones, &ones], &options.clone().rows(std::slice::from_ref(&(0..1))), "2 ranges");
        network.update(state, &four, [input, state]).together();
        refused(&network, &[&ones, &ones], &options, "second time");
        let mut network = Network::new(4);
        let (input, state) = (network.vector(), network.vector());
        network.update(state, &empty, [input, state]);
        assert!(matches!(network.retrieve_blocking(&[&ones, &ones], &options), Err(Error::Empty { .. })));
        if name != "cpu" {
            let mut network = Network::new(4);
            let (input, state) = (network.vector(), network.vector());
            network.update(state, &four, [input, state]).update(input, &elsewhere, state);
            refused(&network, &[&ones, &ones], &options, "several devices");
        }
        let mut network = Network::new(5);
        let (input, state) = (network.vector(), network.vector());
        network.update(state, &five, Product::complex(input).times_conjugate(state));
        refused(&network, &[&[1.0; 5], &[1.0; 5]], &options, "even dimension");
        let mut other = Network::new(4);
        for _ in 0..5 {
            other.vector();
        }
        let stray = other.vector();
        let mut network = Network::new(4);
        let state = network.vector();
        network.update(state, &four, stray);
        refused(&network, &[&ones], &options, "of this network");
    }
}
