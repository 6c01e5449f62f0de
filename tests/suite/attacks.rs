//! Inputs that hurt: one pattern, nothing left, ties at the boundary, far-off centres, extreme temperatures, steep and
//! shallow entropies, long iterations. Every engine, judged by the reference.

use std::sync::{Mutex, MutexGuard, PoisonError};

use attractor::internals::{Faults, Overrides, forced};
use attractor::reference::{Problem, project, separate};
use attractor::retrieval::{Status, WeightsOf};
use attractor::{
    Device, Error, Mask, MemoryOptions, Precision, Result, Retrieval, RetrieveOptions, Rule, Separation, Similarity,
};
use harness::Rng;

fn separations() -> Vec<Separation> {
    let mut all = vec![
        Separation::Softmax,
        Separation::Softmax1,
        Separation::Sparsemax,
        Separation::TopK { k: 1 },
        Separation::TopK { k: 7 },
    ];
    all.extend([1.05, 1.5, 1.75, 2.5, 6.0].map(|alpha| Separation::Entmax { alpha }));
    all
}

/// One separation for each way to find a threshold.
const KINDS: [Separation; 5] = [
    Separation::Softmax,
    Separation::Sparsemax,
    Separation::Entmax { alpha: 1.5 },
    Separation::Entmax { alpha: 3.0 },
    Separation::TopK { k: 7 },
];

const ALPHAS: [f32; 9] = [1.05, 1.2, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0];

/// A problem, and how it is asked.
#[derive(Clone)]
struct Attack {
    name: String,
    rule: Rule,
    dim: usize,
    keys: Vec<f32>,
    queries: Vec<f32>,
    /// `N`.
    bias: Option<Vec<f32>>,
    /// `B x N`.
    keep: Option<Vec<bool>>,
    /// `B x d`.
    known: Option<Vec<bool>>,
    precision: Precision,
    steps: u32,
}

/// What the reference says of one query.
struct Expected {
    state: Vec<f64>,
    output: Vec<f64>,
    weights: Vec<f64>,
}

impl Attack {
    fn new(name: &str, rule: Rule, dim: usize, keys: Vec<f32>, queries: Vec<f32>) -> Self {
        let (bias, keep, known, precision, steps) = (None, None, None, Precision::F32, 1);
        Self { name: name.to_owned(), rule, dim, keys, queries, bias, keep, known, precision, steps }
    }

    /// Uniform keys and queries in [-1, 1).
    fn random(name: &str, rule: Rule, seed: u64, batch: usize, patterns: usize, dim: usize) -> Self {
        let mut numbers = Rng(seed);
        let keys = numbers.vector(patterns * dim);
        Self::new(name, rule, dim, keys, numbers.vector(batch * dim))
    }

    fn batch(&self) -> usize {
        self.queries.len() / self.dim
    }

    fn patterns(&self) -> usize {
        self.keys.len() / self.dim
    }

    fn options(&self) -> RetrieveOptions {
        let options = RetrieveOptions::steps(self.steps).weights(WeightsOf::All).statistics().top(9);
        let mut options = forced(options, Overrides::default(), Faults::POISON);
        if let Some(keep) = &self.keep {
            options = options.mask(Mask::keep_per_query(keep));
        }
        if let Some(known) = &self.known {
            options = options.clamp(known);
        }
        options
    }

    fn try_ask(&self, device: &Device) -> Result<Retrieval> {
        let mut options = MemoryOptions::new(self.dim, self.rule).precision(self.precision);
        if self.bias.is_some() {
            options = options.bias();
        }
        let mut memory = options.build(device).unwrap();
        memory.add(harness::patterns(&self.keys, None, self.bias.as_deref()))?;
        memory.retrieve_blocking(&self.queries, &self.options())
    }

    /// The keys as they are stored.
    fn stored(&self) -> Vec<f32> {
        match self.precision {
            Precision::F32 | Precision::I8Exact => self.keys.clone(),
            Precision::F16 => self.keys.iter().map(|k| half::f16::from_f32(*k).to_f32()).collect(),
            Precision::I8 => {
                let quantise = |key: &[f32]| -> Vec<f32> {
                    let scale = key.iter().fold(0.0f32, |most, k| most.max(k.abs())) / 127.0;
                    key.iter().map(|k| if scale > 0.0 { (k / scale).round() * scale } else { 0.0 }).collect()
                };
                self.keys.chunks_exact(self.dim).flat_map(quantise).collect()
            }
            other => unreachable!("{other} is of another version"),
        }
    }

    /// The reference's answer.
    fn expect(&self, q: usize, stored: &[f32]) -> Expected {
        let (n, d) = (self.patterns(), self.dim);
        let keep = self.keep.as_ref().map(|keep| &keep[q * n..(q + 1) * n]);
        let problem = Problem { keep, bias: self.bias.as_deref(), ..Problem::new(self.rule, d, stored) };
        let query: Vec<f64> = self.queries[q * d..(q + 1) * d].iter().map(|x| f64::from(*x)).collect();
        let mut state = query.clone();
        let mut weights = Vec::new();
        for _ in 0..self.steps {
            weights = separate(self.rule.separation, &problem.scores(&state));
            state = project(&weights, stored, d);
            if let Some(known) = &self.known
                && weights.iter().any(|w| *w > 0.0)
            {
                for (c, x) in state.iter_mut().enumerate() {
                    if known[q * d + c] {
                        *x = query[c];
                    }
                }
            }
        }
        let output = project(&weights, stored, d);
        Expected { state, output, weights }
    }

    /// Asks one device. Returns what is wrong, if anything.
    fn judge(&self, device: &Device) -> Vec<String> {
        match self.try_ask(device) {
            Ok(got) => self.find_faults(&got),
            // What a GPU flushes to zero would be seen under such a beta.
            Err(Error::Parameter { parameter: "beta", .. })
                if !device.is_cpu() && self.rule.similarity == Similarity::Cosine && self.rule.beta.abs() > 1e19 =>
            {
                Vec::new()
            }
            Err(error) => vec![error.to_string()],
        }
    }

    /// What is wrong with an answer, if anything.
    fn find_faults(&self, got: &Retrieval) -> Vec<String> {
        let n = self.patterns();
        let stored = self.stored();
        let mut wrong = Vec::new();
        let all = got.weights.as_ref().unwrap();
        let (statistics, top) = (got.statistics.as_ref().unwrap(), got.top.as_ref().unwrap());
        for q in 0..self.batch() {
            let expected = self.expect(q, &stored);
            let weights = &all[q * n..(q + 1) * n];
            let mut say = |what: String| wrong.push(format!("query {q}: {what}"));
            let allowed = |of: &[f64]| 2e-5 * of.iter().fold(1.0f64, |most, v| most.max(v.abs()));

            let error = harness::worst(got.state_row(q), &expected.state);
            if error > allowed(&expected.state) {
                say(format!("state off by {error:.2e}"));
            }
            let error = harness::worst(got.output_row(q), &expected.output);
            if error > allowed(&expected.output) {
                say(format!("output off by {error:.2e}"));
            }
            let error = harness::worst(weights, &expected.weights);
            if error > 2e-5 {
                say(format!("weights off by {error:.2e}"));
            }
            let apart = (0..n).filter(|&i| {
                (weights[i] > 0.0) != (expected.weights[i] > 0.0)
                    && expected.weights[i].max(f64::from(weights[i])) >= 1e-6
            });
            let apart = apart.count();
            if apart > 0 {
                say(format!("{apart} patterns more or less in the support"));
            }
            let (sum, ideal) =
                (weights.iter().map(|w| f64::from(*w)).sum::<f64>(), expected.weights.iter().sum::<f64>());
            if (sum - ideal).abs() > 1e-5 || sum.is_nan() {
                say(format!("weights sum to {sum} instead of {ideal}"));
            }
            let nothing =
                ideal == 0.0 && self.keep.as_ref().is_some_and(|keep| !keep[q * n..(q + 1) * n].contains(&true));
            if (got.status[q] == Status::NothingLeft) != nothing {
                say(format!("status {:?}", got.status[q]));
            }
            let support = weights.iter().filter(|w| **w > 0.0).count();
            if statistics[q].support.abs_diff(support as u32) > 0
                && !matches!(self.rule.separation, Separation::Softmax | Separation::Softmax1)
            {
                say(format!("support {} told, {support} weights", statistics[q].support));
            }
            let largest = expected.weights.iter().fold(0.0f64, |most, w| most.max(*w));
            if (f64::from(statistics[q].largest) - largest).abs() > 2e-5 {
                say(format!("largest {} instead of {largest}", statistics[q].largest));
            }
            for rank in 0..top.k {
                let (id, weight) = (top.ids[q * top.k + rank], top.weight[q * top.k + rank]);
                let full = id.and_then(|id| weights.get(id.0 as usize)).copied().unwrap_or(0.0);
                if (weight - full).abs() > 2e-5 || !weight.is_finite() {
                    say(format!("top {rank} is {id:?} with {weight}, its weight is {full}"));
                }
            }
        }
        wrong
    }
}

/// Keeps the device to one thread of the test run: on GL wgpu lets a thread panic when another has kept the context
/// busy for some seconds, as a software driver does.
fn alone() -> MutexGuard<'static, ()> {
    static DEVICES: Mutex<()> = Mutex::new(());
    DEVICES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs attacks on every device and fails with all that went wrong.
fn all_withstand(attacks: &[Attack]) {
    let mut failures = Vec::new();
    let _alone = alone();
    for (name, device) in harness::thorough_devices() {
        for attack in attacks {
            let wrong = attack.judge(device);
            if let Some(first) = wrong.first() {
                failures.push(format!("{name}: {} {:?}: {first} ({} findings)", attack.name, attack.rule, wrong.len()));
            }
        }
    }
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), attacks.len(), failures.join("\n"));
}

#[test]
fn a_single_pattern_has_all_the_weight() {
    let mut attacks = Vec::new();
    for similarity in Similarity::ALL {
        for separation in separations() {
            for beta in [-3.0, 0.0, 1e-30, 1.0, 1e30] {
                let rule = Rule::new(similarity, separation, beta);
                attacks.push(Attack { steps: 2, ..Attack::random("one pattern", rule, 1, 2, 1, 5) });
            }
        }
    }
    all_withstand(&attacks);
}

#[test]
fn masks_down_to_nothing() {
    let mut attacks = Vec::new();
    for (patterns, dim, separations) in [(40, 3, separations()), (5000, 6, KINDS.to_vec())] {
        for similarity in [Similarity::Dot, Similarity::Euclidean] {
            for &separation in &separations {
                // Flat enough that many patterns stay candidates.
                let rule = Rule::new(similarity, separation, 0.5);
                let mut attack = Attack::random("masks", rule, 7, 6, patterns, dim);
                let mut numbers = Rng(70);
                let mut keep = vec![false; 6 * patterns];
                let rows = keep.chunks_exact_mut(patterns);
                for (q, row) in rows.enumerate() {
                    for (i, flag) in row.iter_mut().enumerate() {
                        *flag = match q {
                            0 | 4 => false,
                            1 => numbers.unit() > 0.8,
                            2 => i == patterns - 1,
                            3 => i == patterns / 2 || i == 0,
                            _ => true,
                        };
                    }
                }
                attack.keep = Some(keep);
                attack.steps = 2;
                attacks.push(attack);
            }
        }
    }
    all_withstand(&attacks);
}

/// Small whole numbers: scores are exact in any order of summation, and many are equal.
fn whole(numbers: &mut Rng, count: usize, most: f32) -> Vec<f32> {
    (0..count).map(|_| (numbers.unit() * (most + 0.5)).round()).collect()
}

#[test]
fn ties_at_the_boundary_keep_the_smaller_index() {
    let mut attacks = Vec::new();
    for (patterns, ks) in [(50, vec![1, 2, 7, 49, 50, 51]), (9000, vec![1, 7, 100, 1024, 1025, 5000, 8999])] {
        for k in ks {
            for (similarity, beta) in [(Similarity::Dot, 1.0), (Similarity::Dot, 0.0), (Similarity::Manhattan, -0.5)] {
                let mut numbers = Rng(k as u64);
                let rule = Rule::new(similarity, Separation::TopK { k }, beta);
                let (keys, queries) = (whole(&mut numbers, patterns * 4, 1.0), whole(&mut numbers, 3 * 4, 1.0));
                attacks.push(Attack::new("ties", rule, 4, keys, queries));
            }
        }
    }
    all_withstand(&attacks);
}

#[test]
fn duplicates_share_their_weight() {
    let mut attacks = Vec::new();
    for copies in [2, 1500] {
        for separation in separations() {
            for beta in [0.3, 4.0, 1e30] {
                let mut numbers = Rng(copies as u64);
                let rule = Rule::new(Similarity::Dot, separation, beta);
                let distinct = whole(&mut numbers, 3 * 4, 3.0);
                let keys = distinct.chunks_exact(4).cycle().take(3 * copies).flatten().copied().collect();
                let queries = whole(&mut numbers, 2 * 4, 3.0);
                attacks.push(Attack::new("duplicates", rule, 4, keys, queries));
            }
        }
    }
    all_withstand(&attacks);
}

/// Keys and queries within `spread` of a centre of norm `norm`.
fn far(similarity: Similarity, separation: Separation, beta: f32, norm: f32, spread: f32, dim: usize) -> Attack {
    let mut numbers = Rng(11);
    let centre: Vec<f32> = numbers.vector(dim).iter().map(|c| c.signum() * norm / (dim as f32).sqrt()).collect();
    let mut near = |count: usize| -> Vec<f32> {
        (0..count).flat_map(|_| &centre).map(|c| c + spread * numbers.unit() / (dim as f32).sqrt()).collect()
    };
    let (keys, queries) = (near(300), near(5));
    Attack::new(
        &format!("centre {norm}, spread {spread}, d = {dim}"),
        Rule::new(similarity, separation, beta),
        dim,
        keys,
        queries,
    )
}

#[test]
fn distances_hold_up_far_from_the_origin() {
    let mut attacks = Vec::new();
    for dim in [3, 16, 100] {
        for separation in
            [Separation::Softmax, Separation::Sparsemax, Separation::Entmax { alpha: 1.5 }, Separation::TopK { k: 5 }]
        {
            attacks.push(far(Similarity::Euclidean, separation, 800.0, 1e3, 0.1, dim));
            attacks.push(far(Similarity::Euclidean, separation, 30.0, 1e3, 0.5, dim));
            attacks.push(far(Similarity::Manhattan, separation, 40.0 / (dim as f32).sqrt(), 1e3, 0.1, dim));
        }
        // The one rule that sees a shift of every score.
        attacks.push(far(Similarity::Euclidean, Separation::Softmax1, 800.0, 1e3, 0.1, dim));
    }
    all_withstand(&attacks);
}

/// Finite rows whose products, squares, norms or sums leave `f32` at either end.
fn far_out() -> Vec<Attack> {
    let mut attacks = Vec::new();
    let mut add = |similarity, separation, beta: f32, dim: usize, keys: &[f32], queries: &[f32]| {
        let rule = Rule::new(similarity, separation, beta);
        attacks.push(Attack::new("far out", rule, dim, keys.to_vec(), queries.to_vec()));
    };
    for separation in separations() {
        let mut plain = |similarity, beta, dim, keys: &[f32], queries: &[f32]| {
            add(similarity, separation, beta, dim, keys, queries);
        };
        // Scores.
        plain(Similarity::Dot, 1e-38, 1, &[1e20, 2e20], &[1e20]);
        plain(Similarity::Dot, 1.0, 1, &[1e20, 2e20], &[1e20]);
        plain(Similarity::Dot, 1e38, 1, &[1e-19, 2e-19, 3e-19], &[1e-19]);
        plain(Similarity::Dot, 3e38, 2, &[3e38, -3e38, 3e38, 1.0], &[3e38, 3e38]);
        plain(Similarity::Dot, 0.0, 1, &[3e38, 1e38], &[3e38]);
        plain(Similarity::Dot, -1e-40, 1, &[1e20, 2e20], &[1e20]);
        plain(Similarity::Euclidean, 1e-38, 1, &[1e20, 2e20], &[0.0]);
        plain(Similarity::Euclidean, 1e30, 1, &[1e-16, 2e-16], &[1e-16]);
        plain(Similarity::Euclidean, 0.0, 1, &[1e20, 2e20], &[0.0]);
        plain(Similarity::Cosine, 3.0, 2, &[3e38, 3e38, 1.0, 0.5], &[1.0, 1.0]);
        plain(Similarity::Cosine, 3.0, 2, &[1.0, 1.0, 1.0, 0.5], &[3e38, 3e38]);
        plain(Similarity::Cosine, 3.0, 2, &[1e-40, 1e-40, 1.0, 0.5], &[1e-42, 1e-43]);
        plain(Similarity::Manhattan, 1e-38, 2, &[3e38, 3e38, 2e38, 2e38], &[0.0, 0.0]);
        plain(Similarity::Manhattan, 0.0, 2, &[3e38, 3e38, 2e38, 2e38], &[-3e38, 0.0]);
        // Sums of rows.
        plain(Similarity::Dot, 1.0, 1, &[3e38, 2e38], &[0.0]);
        plain(Similarity::Dot, 1.0, 1, &[3e38, -3e38], &[0.0]);
        plain(Similarity::Dot, 1.0, 1, &[f32::MAX, f32::MAX, f32::MAX], &[0.0]);
        plain(Similarity::Dot, 1.0, 1, &[1e36; 1000], &[0.0]);
        // Below the normal numbers a device may see zeros, which are ties to a rule that selects.
        if !matches!(separation, Separation::TopK { .. }) {
            plain(Similarity::Dot, 1.0, 2, &[1e-40, 1e-42, 3e-40, -1e-44], &[1.0, 1.0]);
        }
    }
    for similarity in Similarity::ALL {
        for separation in separations() {
            for beta in [3e38, -3e38] {
                let rule = Rule::new(similarity, separation, beta);
                let mut attack = Attack::random("beyond f32", rule, 6, 3, 90, 7);
                attack.keys.iter_mut().for_each(|k| *k *= 30.0);
                attacks.push(attack);
            }
        }
    }
    for attack in attacks.clone() {
        // Alone, and with many others, which may be answered by other kernels.
        let queries = attack.queries.repeat(70);
        attacks.push(Attack { steps: 2, ..attack.clone() });
        attacks.push(Attack { queries, ..attack });
    }
    attacks
}

/// The CPU engine answers them; a GPU answers right or refuses, naming the range.
#[test]
fn numbers_that_leave_f32_are_answered_right_or_refused() {
    let mut failures = Vec::new();
    let _alone = alone();
    for (name, device) in harness::thorough_devices() {
        let (mut answered, mut refused) = (0, 0);
        for attack in far_out() {
            let wrong = match attack.try_ask(device) {
                Ok(got) => {
                    answered += 1;
                    attack.find_faults(&got)
                }
                Err(Error::Range { .. } | Error::Parameter { parameter: "beta", .. }) if !device.is_cpu() => {
                    refused += 1;
                    Vec::new()
                }
                Err(error) => vec![error.to_string()],
            };
            if let Some(first) = wrong.first() {
                let queries = &attack.queries[..attack.dim];
                let (rule, keys) = (attack.rule, &attack.keys[..attack.keys.len().min(6)]);
                failures.push(format!("{name}: {rule:?} {keys:?} {queries:?} {} steps: {first}", attack.steps));
            }
        }
        println!("{name}: {answered} answered right, {refused} refused");
    }
    assert!(failures.is_empty(), "{}:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn extreme_temperatures() {
    let mut attacks = Vec::new();
    for (patterns, separations) in [(90, separations()), (5000, KINDS.to_vec())] {
        for similarity in Similarity::ALL {
            for &separation in &separations {
                for beta in [0.0f32, -1.0, 1e-30, -1e-30, 1e6, 1e30, -1e30] {
                    // With thousands of patterns two scores may be within rounding of each other, which 1e6 and more
                    // would tell apart.
                    if patterns > 90 && beta.abs() > 1.0 {
                        continue;
                    }
                    let rule = Rule::new(similarity, separation, beta);
                    attacks.push(Attack::random("temperature", rule, 5, 3, patterns, 7));
                }
            }
        }
    }
    all_withstand(&attacks);
}

#[test]
fn every_alpha() {
    let mut attacks = Vec::new();
    for alpha in ALPHAS {
        for beta in [0.01, 1.0, 20.0] {
            for similarity in Similarity::ALL {
                let rule = Rule::new(similarity, Separation::Entmax { alpha }, beta);
                attacks.push(Attack::random("N = 300", rule, 3, 2, 300, 5));
                // More candidates than a list takes.
                if beta < 2.0 && (similarity == Similarity::Dot || alpha > 2.0) {
                    attacks.push(Attack::random("N = 5000", rule, 3, 2, 5000, 16));
                }
            }
        }
    }
    all_withstand(&attacks);
}

#[test]
fn many_steps() {
    let mut attacks = Vec::new();
    for similarity in Similarity::ALL {
        for separation in separations() {
            let rule = Rule::new(similarity, separation, 3.0);
            attacks.push(Attack { steps: 50, ..Attack::random("50 steps", rule, 8, 3, 120, 6) });
        }
    }
    all_withstand(&attacks);
}

#[test]
fn clamped_coordinates_stay() {
    let mut attacks = Vec::new();
    for separation in separations() {
        for similarity in Similarity::ALL {
            let mut attack = Attack::random("clamp", Rule::new(similarity, separation, 2.0), 9, 4, 60, 37);
            let mut numbers = Rng(90);
            // None, all, and some coordinates of a query.
            let known = |q: usize, draw: f32| q != 0 && (q == 1 || draw > 0.0);
            attack.known = Some((0..4 * 37).map(|i| known(i / 37, numbers.unit())).collect());
            attack.steps = 4;
            attacks.push(attack);
        }
    }
    all_withstand(&attacks);
}

#[test]
fn halves_and_bytes() {
    let mut attacks = Vec::new();
    for precision in [Precision::F16, Precision::I8] {
        for similarity in Similarity::ALL {
            for separation in separations() {
                let mut attack = Attack::random("stored", Rule::new(similarity, separation, 2.0), 10, 3, 200, 13);
                // A row of zeros, a tiny row and a large one.
                attack.keys[..13].fill(0.0);
                attack.keys[13..26].iter_mut().for_each(|k| *k *= 1e-3);
                attack.keys[26..39].iter_mut().for_each(|k| *k *= 30.0);
                attack.precision = precision;
                attacks.push(attack);
            }
        }
    }
    all_withstand(&attacks);
}

#[test]
fn a_bias_shifts_scores() {
    let mut attacks = Vec::new();
    for similarity in Similarity::ALL {
        for separation in separations() {
            // Ordinary ones, and one that outweighs every similarity in favour of a pattern or against it.
            for most in [1.0, 1e4, -1e30] {
                let mut attack = Attack::random("bias", Rule::new(similarity, separation, 1.5), 13, 3, 150, 9);
                let mut bias = Rng(130).vector(150);
                bias[77] *= most;
                attack.bias = Some(bias);
                attack.steps = 2;
                attacks.push(attack);
            }
        }
    }
    all_withstand(&attacks);
}

/// Bits of everything that a query is told.
fn bits(got: &Retrieval, q: usize) -> Vec<u32> {
    let mut bits: Vec<u32> = got.output_row(q).iter().chain(got.state_row(q)).map(|v| v.to_bits()).collect();
    let statistics = got.statistics.as_ref().unwrap()[q];
    bits.extend([got.steps[q], got.change[q].to_bits(), u32::from(got.converged[q])]);
    bits.extend([statistics.support, statistics.perplexity.to_bits(), statistics.largest.to_bits()]);
    let top = got.top.as_ref().unwrap();
    let row = q * top.k..(q + 1) * top.k;
    bits.extend(top.ids[row.clone()].iter().map(|id| id.map_or(u32::MAX, |id| id.0 as u32)));
    bits.extend(top.weight[row].iter().map(|w| w.to_bits()));
    bits
}

#[test]
fn a_query_does_not_see_its_batch() {
    const DIM: usize = 12;
    const BATCH: usize = 41;
    let _alone = alone();
    let mut numbers = Rng(12);
    // Clusters: queries at a key stop at once, queries between keys go on.
    let keys = numbers.vector(400 * DIM);
    let mut queries = numbers.vector(BATCH * DIM);
    for q in (0..BATCH).step_by(3) {
        queries[q * DIM..(q + 1) * DIM].copy_from_slice(&keys[q * DIM..(q + 1) * DIM]);
    }
    for (name, device) in harness::thorough_devices() {
        for separation in separations() {
            for similarity in [Similarity::Dot, Similarity::Euclidean] {
                let rule = Rule::new(similarity, separation, 8.0);
                let mut memory = MemoryOptions::new(DIM, rule).build(device).unwrap();
                memory.add(&keys).unwrap();
                let options = RetrieveOptions::converge(40, 1e-5).statistics().top(4).plan_for(BATCH);
                let ask = |queries: &[f32]| memory.retrieve_blocking(queries, &options).unwrap();
                let together = ask(&queries);
                let mut steps = together.steps.clone();
                for q in 0..BATCH {
                    if q % 8 == 0 {
                        let alone = ask(&queries[q * DIM..(q + 1) * DIM]);
                        assert_eq!(bits(&alone, 0), bits(&together, q), "{name} {rule:?} query {q}");
                    }
                    let (last, problem) = (together.steps[q], Problem::new(rule, DIM, &keys));
                    let expected = problem.retrieve(&queries[q * DIM..(q + 1) * DIM], last);
                    let error = harness::worst(together.state_row(q), &expected.state);
                    assert!(error <= 2e-5, "{name} {rule:?} query {q}: {error:.2e} after {last} steps");
                    assert!(together.converged[q] || last == 40, "{name} {rule:?} query {q}: stopped at {last}");
                }
                let tail = ask(&queries[17 * DIM..]);
                for q in 17..BATCH {
                    assert_eq!(bits(&tail, q - 17), bits(&together, q), "{name} {rule:?} query {q} of a tail");
                }
                steps.sort_unstable();
                steps.dedup();
                println!("{name} {rule:?}: stopped at {steps:?}");
            }
        }
    }
}
