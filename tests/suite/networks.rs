//! Networks on every device: resonators, bidirectional memories and hops give what the reference gives, in order and
//! together, of reals and of complex numbers; permuted factors permute answers; bad networks are refused by name.

use attractor::network::{Network, NetworkRetrieval, Product, VectorId};
use attractor::reference::{Factor, NetworkProblem, NetworkUpdate, Problem};
use attractor::retrieval::{Status, Stop};
use attractor::rule::{Activation, Next, Zero};
use attractor::{Device, Error, Memory, MemoryOptions, RetrieveOptions, Rule, Separation, Similarity, Update};
use harness::Rng;

/// One update of a case: its memory's rule and rows, its target, its factors, and whether these are complex.
struct Step {
    rule: Rule,
    keys: Vec<f32>,
    values: Option<Vec<f32>>,
    target: usize,
    factors: Vec<(usize, bool)>,
    complex: bool,
}

/// A network with its starts.
struct Case {
    dim: usize,
    starts: Vec<Vec<f32>>,
    steps: Vec<Step>,
    together: bool,
}

impl Case {
    fn batch(&self) -> usize {
        self.starts.iter().map(|start| start.len() / self.dim).max().unwrap()
    }

    fn memories(&self, device: &Device) -> attractor::Result<Vec<Memory>> {
        self.steps
            .iter()
            .map(|step| {
                let mut options = MemoryOptions::new(self.dim, step.rule);
                if step.values.is_some() {
                    options = options.value_dim(self.dim);
                }
                let mut memory = options.build(device)?;
                memory.add(harness::patterns(&step.keys, step.values.as_deref(), None))?;
                Ok(memory)
            })
            .collect()
    }

    fn run(&self, device: &Device, options: &RetrieveOptions) -> attractor::Result<NetworkRetrieval> {
        let memories = self.memories(device)?;
        let (network, _) = self.network(&memories);
        let starts: Vec<&[f32]> = self.starts.iter().map(Vec::as_slice).collect();
        network.retrieve_blocking(&starts, options)
    }

    fn network<'m>(&self, memories: &'m [Memory]) -> (Network<'m>, Vec<VectorId>) {
        let mut network = Network::new(self.dim);
        let ids: Vec<VectorId> = self.starts.iter().map(|_| network.vector()).collect();
        for (step, memory) in self.steps.iter().zip(memories) {
            let (first, rest) = (step.factors[0], &step.factors[1..]);
            let mut product = if step.complex { Product::complex(ids[first.0]) } else { Product::real(ids[first.0]) };
            for (vector, conjugated) in rest {
                product = match conjugated {
                    true => product.times_conjugate(ids[*vector]),
                    false => product.times(ids[*vector]),
                };
            }
            network.update(ids[step.target], memory, product);
        }
        if self.together {
            network.together();
        }
        (network, ids)
    }

    /// What the reference gives for query `b`.
    fn reference(&self, b: usize, stop: Stop) -> attractor::reference::NetworkAnswer {
        let updates = self.steps.iter().map(|step| NetworkUpdate {
            problem: Problem {
                values: step.values.as_deref(),
                number: b as u32,
                ..Problem::new(step.rule, self.dim, &step.keys)
            },
            target: step.target,
            factors: step
                .factors
                .iter()
                .map(|(vector, conjugated)| Factor { vector: *vector, conjugated: *conjugated })
                .collect(),
            complex: step.complex,
        });
        let problem = NetworkProblem { updates: updates.collect(), together: self.together };
        let row = |start: &Vec<f32>| -> Vec<f64> {
            let row = if start.len() == self.dim { &start[..] } else { &start[b * self.dim..(b + 1) * self.dim] };
            row.iter().map(|x| f64::from(*x)).collect()
        };
        let vectors: Vec<Vec<f64>> = self.starts.iter().map(row).collect();
        match stop {
            Stop::Converge { max_steps, tolerance } => problem.converge(&vectors, max_steps, f64::from(tolerance)),
            Stop::Steps(steps) => problem.converge(&vectors, steps, -1.0),
            _ => panic!("no such stop"),
        }
    }

    /// Compares all queries with the reference; states may be off by `tolerance`.
    fn judge(&self, name: &str, device: &Device, options: &RetrieveOptions, tolerance: f64) {
        let Some(got) = harness::supported(name, self.run(device, options)) else { return };
        assert_eq!(got.batch, self.batch());
        let memories = self.memories(&Device::cpu()).unwrap();
        let (_, ids) = self.network(&memories);
        for b in 0..self.batch() {
            let expected = self.reference(b, options.get_stop());
            for (id, expected) in ids.iter().zip(&expected.vectors) {
                let worst = harness::worst(got.state_row(*id, b), expected);
                assert!(worst <= tolerance, "{name}: query {b}, {id:?}: off by {worst}");
            }
            if got.status[b] == Status::Cycle {
                // It stopped where the vectors are those of the last iteration that was allowed.
                assert!(got.steps[b] < expected.steps && expected.change > 0.0, "{name}: query {b}");
                continue;
            }
            assert_eq!(got.steps[b], expected.steps, "{name}: query {b}");
            assert!((f64::from(got.change[b]) - expected.change).abs() <= 2.0 * tolerance, "{name}: query {b}");
            let status = if expected.nothing_left { Status::NothingLeft } else { Status::Answered };
            assert_eq!(got.status[b], status, "{name}: query {b}");
        }
    }
}

fn bipolar(rng: &mut Rng, length: usize) -> Vec<f32> {
    (0..length).map(|_| if rng.once_in(2) { 1.0 } else { -1.0 }).collect()
}

/// A resonator network of `factors` codebooks of `rows`: composites of random rows, from the sign of the sum of a book.
fn resonator(seed: u64, dim: usize, factors: usize, rows: usize, batch: usize, zero: Zero, together: bool) -> Case {
    let mut rng = Rng(seed);
    let books: Vec<Vec<f32>> = (0..factors).map(|_| bipolar(&mut rng, rows * dim)).collect();
    let mut composites = vec![1.0; batch * dim];
    for composite in composites.chunks_exact_mut(dim) {
        for book in &books {
            let row = rng.below(rows) * dim;
            composite.iter_mut().zip(&book[row..row + dim]).for_each(|(x, y)| *x *= y);
        }
    }
    let mut starts = vec![composites];
    for book in &books {
        let sum = |c: usize| book.chunks_exact(dim).map(|row| row[c]).sum::<f32>();
        starts.push((0..dim).map(|c| if sum(c) >= 0.0 { 1.0 } else { -1.0 }).collect());
    }
    let update = Update::default().activation(Activation::Sign { zero });
    let steps = books.into_iter().enumerate().map(|(f, keys)| Step {
        rule: Rule::resonator().then(update),
        keys,
        values: None,
        target: f + 1,
        factors: (0..=factors).filter(|vector| *vector != f + 1).map(|vector| (vector, false)).collect(),
        complex: false,
    });
    Case { dim, starts, steps: steps.collect(), together }
}

#[test]
fn resonators_are_bit_exact_in_order_and_together() {
    for (name, device) in harness::devices() {
        for together in [false, true] {
            for (seed, (dim, factors, rows, batch)) in
                [(100, 2, 5, 7), (257, 3, 8, 5), (63, 4, 3, 3), (1, 2, 1, 1), (300, 6, 3, 2)].into_iter().enumerate()
            {
                let zero = if seed % 2 == 0 { Zero::Plus } else { Zero::Zero };
                let case = resonator(seed as u64, dim, factors, rows, batch, zero, together);
                for options in
                    [RetrieveOptions::steps(1), RetrieveOptions::steps(5), RetrieveOptions::converge(40, 1e-6)]
                {
                    case.judge(name, device, &options, 0.0);
                }
            }
        }
    }
}

#[test]
fn a_hundred_iterations_are_submitted_once() {
    let case = resonator(7, 256, 3, 10, 4, Zero::Plus, false);
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
        let case = resonator(5, 128, 3, 6, 4, Zero::Plus, true);
        let options = RetrieveOptions::converge(30, 1e-6);
        let Some(plain) = harness::supported(name, case.run(device, &options)) else { continue };
        // Vectors 1, 2 and 3 become 3, 1 and 2.
        let place = [0, 3, 1, 2];
        let mut permuted = resonator(5, 128, 3, 6, 4, Zero::Plus, true);
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
        let (dim, rows, batch) = (32, 4, 3);
        let mut rng = Rng(9);
        let mut phasors = |count: usize| -> Vec<f32> {
            let angles = (0..count * dim / 2).map(|_| rng.unit() * std::f32::consts::TAU);
            angles.flat_map(|angle| [angle.cos(), angle.sin()]).collect()
        };
        let (shapes, colours) = (phasors(rows), phasors(rows));
        let composites: Vec<f32> = (0..batch)
            .flat_map(|b| {
                let (x, y) = (&shapes[b * dim..(b + 1) * dim], &colours[(b + 1) * dim..(b + 2) * dim]);
                let pairs = x.as_chunks::<2>().0.iter().zip(y.as_chunks::<2>().0);
                pairs.flat_map(|(x, y)| [x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]]).collect::<Vec<_>>()
            })
            .collect();
        let starts = vec![composites, phasors(batch), phasors(batch)];
        for rule in [
            Rule::attention_resonator(2.0),
            Rule::new(Similarity::Dot, Separation::Linear, 1.0).then(Update::default().activation(Activation::Phasor)),
        ] {
            let step = |keys: &Vec<f32>, target, other| Step {
                rule,
                keys: keys.clone(),
                values: None,
                target,
                factors: vec![(0, false), (other, true)],
                complex: true,
            };
            let steps = vec![step(&shapes, 1, 2), step(&colours, 2, 1)];
            let case = Case { dim, starts: starts.clone(), steps, together: false };
            case.judge(name, device, &RetrieveOptions::steps(2), 2e-4);
        }
    }
}

#[test]
fn one_state_goes_through_several_memories() {
    for (name, device) in harness::devices() {
        let (dim, batch) = (20, 6);
        let mut rng = Rng(3);
        let mut hop = |patterns: usize| Step {
            rule: Rule::memory_network(),
            keys: rng.vector(patterns * dim),
            values: Some(rng.vector(patterns * dim)),
            target: 0,
            factors: vec![(0, false)],
            complex: false,
        };
        let steps = vec![hop(30), hop(5), hop(100)];
        let case = Case { dim, starts: vec![Rng(8).vector(batch * dim)], steps, together: false };
        case.judge(name, device, &RetrieveOptions::steps(1), 2e-4);
        case.judge(name, device, &RetrieveOptions::steps(2), 2e-2);
    }
}

#[test]
fn bidirectional_memories_recall_pairs() {
    for (name, device) in harness::devices() {
        let (dim, patterns, batch) = (64, 4, 5);
        let mut rng = Rng(12);
        let (a, b) = (bipolar(&mut rng, patterns * dim), bipolar(&mut rng, patterns * dim));
        let step = |keys: &Vec<f32>, values: &Vec<f32>, target, from| Step {
            rule: Rule::bidirectional(),
            keys: keys.clone(),
            values: Some(values.clone()),
            target,
            factors: vec![(from, false)],
            complex: false,
        };
        assert_eq!(Rule::bidirectional().update.next, Next::Values);
        let steps = vec![step(&a, &b, 1, 0), step(&b, &a, 0, 1)];
        let starts = vec![bipolar(&mut rng, batch * dim), vec![1.0; dim]];
        let case = Case { dim, starts, steps, together: false };
        case.judge(name, device, &RetrieveOptions::converge(20, 1e-6), 0.0);
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
