//! Networks with their starts, run on a device and judged by the reference; and those of `attractor verify`.

use attractor::network::{Network, NetworkRetrieval, Product, VectorId};
use attractor::reference::{Factor, NetworkProblem, NetworkUpdate, Problem};
use attractor::retrieval::{Status, Stop};
use attractor::rule::{Activation, Zero};
use attractor::{Device, Memory, MemoryOptions, RetrieveOptions, Rule, Separation, Similarity, Update};

use crate::bound::worst;
use crate::case::patterns;
use crate::rng::Rng;

/// One update of a network, with its memory.
pub struct NetworkStep {
    /// The rule of its memory.
    pub rule: Rule,
    /// The keys of its memory.
    pub keys: Vec<f32>,
    /// Their values, if they are not the keys.
    pub values: Option<Vec<f32>>,
    /// The number of the vector that is updated.
    pub target: usize,
    /// The numbers of the vectors whose product is the query, and whether each is conjugated.
    pub factors: Vec<(usize, bool)>,
    /// Whether products are of complex numbers.
    pub complex: bool,
}

/// A network with its starts.
pub struct NetworkCase {
    /// Coordinates of every vector.
    pub dim: usize,
    /// What each vector starts as: a row for each query, or one for all.
    pub starts: Vec<Vec<f32>>,
    /// The updates of an iteration.
    pub steps: Vec<NetworkStep>,
    /// Whether all of them see the vectors as they were before the iteration.
    pub together: bool,
}

impl NetworkCase {
    /// Queries.
    pub fn batch(&self) -> usize {
        self.starts.iter().map(|start| start.len() / self.dim).max().unwrap()
    }

    /// Patterns of all memories.
    pub fn patterns(&self) -> usize {
        self.steps.iter().map(|step| step.keys.len() / self.dim).sum()
    }

    /// The memory of each update.
    pub fn memories(&self, device: &Device) -> attractor::Result<Vec<Memory>> {
        self.steps
            .iter()
            .map(|step| {
                let mut options = MemoryOptions::new(self.dim, step.rule);
                if step.values.is_some() {
                    options = options.value_dim(self.dim);
                }
                let mut memory = options.build(device)?;
                memory.add(patterns(&step.keys, step.values.as_deref(), None))?;
                Ok(memory)
            })
            .collect()
    }

    /// What `device` answers.
    pub fn run(&self, device: &Device, options: &RetrieveOptions) -> attractor::Result<NetworkRetrieval> {
        self.retrieve(&self.memories(device)?, options)
    }

    /// What the network of these memories answers.
    pub fn retrieve(&self, memories: &[Memory], options: &RetrieveOptions) -> attractor::Result<NetworkRetrieval> {
        let (network, _) = self.network(memories);
        let starts: Vec<&[f32]> = self.starts.iter().map(Vec::as_slice).collect();
        network.retrieve_blocking(&starts, options)
    }

    /// The network of these memories, and its vectors.
    pub fn network<'m>(&self, memories: &'m [Memory]) -> (Network<'m>, Vec<VectorId>) {
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
    pub fn reference(&self, b: usize, stop: Stop) -> attractor::reference::NetworkAnswer {
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

    /// The largest difference of `got` from the reference, as a share of `tolerance`; infinite where a query stopped
    /// elsewhere or with another status. A tolerance of 0 asks for equal numbers.
    pub fn judge(&self, got: &NetworkRetrieval, stop: Stop, tolerance: f64) -> attractor::Result<f64> {
        let memories = self.memories(&Device::cpu())?;
        let (_, ids) = self.network(&memories);
        if got.batch != self.batch() {
            return Ok(f64::INFINITY);
        }
        let share = |off: f64, allowed: f64| if off == 0.0 { 0.0 } else { off / allowed };
        let mut most = 0.0f64;
        for b in 0..self.batch() {
            let expected = self.reference(b, stop);
            for (id, expected) in ids.iter().zip(&expected.vectors) {
                most = most.max(share(worst(got.state_row(*id, b), expected), tolerance));
            }
            let right = match got.status[b] {
                // It stopped where the vectors are those of the last iteration that was allowed.
                Status::Cycle => got.steps[b] <= expected.steps && expected.change > 0.0,
                status => {
                    most = most.max(share((f64::from(got.change[b]) - expected.change).abs(), 2.0 * tolerance));
                    let as_expected = if expected.nothing_left { Status::NothingLeft } else { Status::Answered };
                    got.steps[b] == expected.steps && status == as_expected
                }
            };
            if !right {
                return Ok(f64::INFINITY);
            }
        }
        Ok(most)
    }

    /// A resonator network of `factors` codebooks of `rows`: composites of random rows, from the sign of the sum of a
    /// book.
    pub fn resonator(
        seed: u64,
        dim: usize,
        (factors, rows): (usize, usize),
        batch: usize,
        zero: Zero,
        together: bool,
    ) -> Self {
        let mut rng = Rng(seed);
        let books: Vec<Vec<f32>> = (0..factors).map(|_| rng.signs(rows * dim)).collect();
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
        let steps = books.into_iter().enumerate().map(|(f, keys)| NetworkStep {
            rule: Rule::resonator().then(update),
            keys,
            values: None,
            target: f + 1,
            factors: (0..=factors).filter(|vector| *vector != f + 1).map(|vector| (vector, false)).collect(),
            complex: false,
        });
        Self { dim, starts, steps: steps.collect(), together }
    }

    /// The products of two phasors, which attention or outer products take apart.
    pub fn phasors(rule: Rule) -> Self {
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
        let step = |keys: Vec<f32>, target, other| NetworkStep {
            rule,
            keys,
            values: None,
            target,
            factors: vec![(0, false), (other, true)],
            complex: true,
        };
        Self { dim, starts, steps: vec![step(shapes, 1, 2), step(colours, 2, 1)], together: false }
    }

    /// One state that goes through three memories.
    pub fn hops() -> Self {
        let (dim, batch) = (20, 6);
        let mut rng = Rng(3);
        let mut hop = |patterns: usize| NetworkStep {
            rule: Rule::memory_network(),
            keys: rng.vector(patterns * dim),
            values: Some(rng.vector(patterns * dim)),
            target: 0,
            factors: vec![(0, false)],
            complex: false,
        };
        let steps = vec![hop(30), hop(5), hop(100)];
        Self { dim, starts: vec![Rng(8).vector(batch * dim)], steps, together: false }
    }

    /// Two layers that recall each other.
    pub fn pairs() -> Self {
        let (dim, patterns, batch) = (64, 4, 5);
        let mut rng = Rng(12);
        let (a, b) = (rng.signs(patterns * dim), rng.signs(patterns * dim));
        let step = |keys: &[f32], values: &[f32], target, from| NetworkStep {
            rule: Rule::bidirectional(),
            keys: keys.to_vec(),
            values: Some(values.to_vec()),
            target,
            factors: vec![(from, false)],
            complex: false,
        };
        let steps = vec![step(&a, &b, 1, 0), step(&b, &a, 0, 1)];
        let starts = vec![rng.signs(batch * dim), vec![1.0; dim]];
        Self { dim, starts, steps, together: false }
    }

    /// Two states that memories take round: periods of 6, 2, 1 and 3 iterations.
    pub fn periods(together: bool) -> Self {
        let dim = 256;
        let mut rng = Rng(21);
        let [flipped, fixed] = [rng.signs(dim), rng.signs(dim)];
        let ring = [rng.signs(dim), rng.signs(dim), rng.signs(dim)];
        let rows = |rows: &[&Vec<f32>]| -> Vec<f32> { rows.iter().flat_map(|row| row.iter().copied()).collect() };
        let minus: Vec<f32> = flipped.iter().map(|x| -x).collect();
        let step = |keys, values, vector| NetworkStep {
            rule: Rule::bidirectional(),
            keys,
            values: Some(values),
            target: vector,
            factors: vec![(vector, false)],
            complex: false,
        };
        let steps = vec![
            step(rows(&[&flipped, &fixed]), rows(&[&minus, &fixed]), 0),
            step(rows(&[&ring[0], &ring[1], &ring[2], &fixed]), rows(&[&ring[1], &ring[2], &ring[0], &fixed]), 1),
        ];
        let starts = vec![rows(&[&flipped, &flipped, &fixed, &fixed]), rows(&[&ring[0], &fixed, &fixed, &ring[1]])];
        Self { dim, starts, steps, together }
    }
}

/// A network of `attractor verify`.
pub struct NetworkCheck {
    /// In words.
    pub what: &'static str,
    /// The problem.
    pub case: NetworkCase,
    /// What is asked.
    pub options: RetrieveOptions,
    tolerance: f64,
}

impl NetworkCheck {
    /// What `device` answers, how far it is off as a share of what it may be, and a hash of its bits.
    pub fn run(&self, device: &Device) -> attractor::Result<(f64, u64)> {
        let got = self.case.run(device, &self.options)?;
        let memories = self.case.memories(&Device::cpu())?;
        let (_, ids) = self.case.network(&memories);
        let words = ids.iter().flat_map(|id| got.state(*id)).map(|x| x.to_bits());
        let bytes = words.chain(got.steps.iter().copied()).flat_map(u32::to_le_bytes);
        let hash = bytes
            .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        Ok((self.case.judge(&got, self.options.get_stop(), self.tolerance)?, hash))
    }
}

/// The networks of `attractor verify`.
pub fn network_checks() -> Vec<NetworkCheck> {
    let attention = Rule::attention_resonator(2.0);
    let outer =
        Rule::new(Similarity::Dot, Separation::Linear, 1.0).then(Update::default().activation(Activation::Phasor));
    let resonator = NetworkCase::resonator;
    let check = |what, case, options, tolerance| NetworkCheck { what, case, options, tolerance };
    let settles = || RetrieveOptions::converge(40, 1e-6);
    vec![
        check("resonator, in order", resonator(1, 257, (3, 8), 5, Zero::Zero, false), RetrieveOptions::steps(5), 0.0),
        check("resonator, together", resonator(4, 300, (6, 3), 2, Zero::Plus, true), settles(), 0.0),
        check("resonator of many problems", resonator(2, 63, (4, 3), 70, Zero::Plus, false), settles(), 0.0),
        check("phasors, by attention", NetworkCase::phasors(attention), RetrieveOptions::steps(2), 2e-4),
        check("phasors, by outer products", NetworkCase::phasors(outer), RetrieveOptions::steps(2), 2e-4),
        check("three hops", NetworkCase::hops(), RetrieveOptions::steps(1), 2e-4),
        check("pairs, both ways", NetworkCase::pairs(), settles(), 0.0),
        check("states that come back", NetworkCase::periods(false), settles(), 0.0),
    ]
}
