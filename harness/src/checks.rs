//! The cases of `attractor verify`, and how their answers are judged. The retrieval between is the caller's, who may
//! wait for it or await it.

use attractor::explain::Explanation;
use attractor::internals::{Faults, Overrides, Strategy, forced, forced_search};
use attractor::reference::similarity;
use attractor::retrieval::Status;
use attractor::retrieval::{Statistics, WeightsOf};
use attractor::rule::{Activation, Next, Zero};
use attractor::{Device, Error, Hits, Memory, Precision, Retrieval, RetrieveOptions, Rule, SearchOptions};
use attractor::{Separation, Similarity, Update};

use crate::bound::worst;
use crate::case::Case;
use crate::rng::Rng;

/// A case, and what it covers.
#[expect(clippy::struct_excessive_bools, reason = "each is a yes or no of its own")]
pub struct Check {
    /// In words.
    pub what: String,
    /// The problem.
    pub case: Case,
    /// Whether weights, statistics and the nearest patterns are asked for, and judged.
    reports: bool,
    /// What is searched for besides, and judged.
    nearest: Option<SearchOptions>,
    /// Whether numbers leave `f32`, so that a GPU may refuse them.
    far: bool,
    /// A strategy that the plan has to take, and its kernel.
    forced: Option<(Strategy, &'static str)>,
    /// Whether weights are asked for, and judged.
    weights: bool,
    /// Whether some states come back, and all answers are those of the last update of all.
    cycles: bool,
    /// Whether candidates are to be listed by bounds, however few the patterns; the largest weights are asked for.
    bounds: bool,
}

/// A check that is ready to be answered.
pub struct Asked {
    /// The case's patterns on the device.
    pub memory: Memory,
    /// What is asked of it.
    pub options: RetrieveOptions,
    /// What is searched for besides.
    pub nearest: Option<SearchOptions>,
    /// How it will be answered.
    pub told: Explanation,
}

/// The answers to a check.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// What was retrieved.
    pub got: Retrieval,
    /// What was found, if anything is searched for.
    pub hits: Option<Hits>,
}

impl Asked {
    /// The answers, for which this thread waits.
    pub fn answer(&self, check: &Check) -> attractor::Result<Answered> {
        let queries = &check.case.queries;
        let got = self.memory.retrieve_blocking(queries, &self.options)?;
        let hits = self.nearest.as_ref().map(|options| self.memory.search_blocking(queries, options)).transpose()?;
        Ok(Answered { got, hits })
    }
}

/// How a check came out.
pub enum Outcome {
    /// The error as a share of its bound.
    Share(f64),
    /// The device lacks what the case needs; why.
    Unsupported(String),
    /// The device says that its numbers do not reach so far.
    Refused,
}

/// At most so many queries of a batch are judged.
const JUDGED: usize = 12;
/// How far a weight or a statistic may be off: a weight is at most one, and scores are of order one.
const WEIGHT_BOUND: f64 = 2e-5;

impl Check {
    fn new(what: impl Into<String>, case: Case) -> Self {
        let (reports, far, weights, cycles, bounds) = (false, false, false, false, false);
        Self { what: what.into(), case, reports, nearest: None, far, forced: None, weights, cycles, bounds }
    }

    /// What is to be retrieved on `device`: the case's queries, from this memory, with these options.
    pub fn ask(&self, device: &Device) -> attractor::Result<Asked> {
        let mut options = self.case.options();
        if self.reports {
            options = options.weights(WeightsOf::All).statistics().top(5);
        }
        if self.bounds {
            options = options.top(5);
        }
        if self.weights {
            options = options.weights(WeightsOf::All).top(5);
        }
        let overrides = Overrides {
            strategy: self.forced.map(|(strategy, _)| strategy),
            bounds: self.bounds.then_some(true),
            ..Overrides::default()
        };
        let nearest = self.nearest.clone().map(|nearest| forced_search(nearest, overrides.clone(), Faults::NONE));
        let options = forced(options, overrides, Faults::NONE);
        let memory = self.case.build(device)?;
        let told = memory.explain(self.case.batch(), &options)?;
        Ok(Asked { memory, options, nearest, told })
    }

    /// What came of it on `device`, and by which kernels.
    pub fn judge(
        &self,
        device: &Device,
        answered: attractor::Result<(Answered, Explanation)>,
    ) -> attractor::Result<(Outcome, String)> {
        let case = &self.case;
        let (Answered { got, hits }, told) = match answered {
            Ok(answered) => answered,
            Err(error @ Error::Unsupported { .. }) => {
                return Ok((Outcome::Unsupported(error.to_string()), String::new()));
            }
            Err(Error::Range { .. } | Error::Parameter { parameter: "beta", .. }) if self.far && !device.is_cpu() => {
                return Ok((Outcome::Refused, String::new()));
            }
            Err(error) => return Err(error),
        };
        if let Some((_, kernel)) = self.forced
            && !device.is_cpu()
            && told.kernels.iter().all(|work| work.kernel != kernel)
        {
            return Ok((Outcome::Unsupported(format!("{kernel} does not run here")), String::new()));
        }
        // What only prepares and cleans up is in every plan.
        let mut kernels: Vec<&str> = told.kernels.iter().map(|work| work.kernel).collect();
        kernels.retain(|kernel| {
            ![
                "load_queries",
                "compact_queries",
                "update_states",
                "advance_states",
                "find_cycles",
                "write_rows",
                "copy_states",
            ]
            .contains(kernel)
        });
        kernels.dedup();
        // The CPU engine has no kernels: the strategy's name stands before what it does.
        let name = || told.strategy.split(':').next().unwrap_or_default().to_owned();
        let kernels = if kernels.is_empty() { name() } else { kernels.join(" ") };
        let each = case.batch().div_ceil(JUDGED);
        let sample = || (0..case.batch()).step_by(each);
        if self.cycles {
            let round = sample().map(|b| went_round(case, &got, b)).fold(0.0, f64::max);
            return Ok((Outcome::Share(round), kernels));
        }
        let mut share = case.judge(&got, sample());
        if self.weights {
            share = sample().map(|b| weighed(case, &got, b)).fold(share, f64::max);
        }
        if self.reports {
            share = sample().map(|b| reported(case, &got, b)).fold(share, f64::max);
        }
        if let Some(hits) = &hits {
            share = sample().map(|b| found(case, hits, b)).fold(share, f64::max);
        }
        Ok((Outcome::Share(share), kernels))
    }
}

/// A hash of every bit of an answer, so that two versions can be compared: FNV-1a of 64 bits.
pub fn bits_of(Answered { got, hits }: &Answered) -> u64 {
    fn add(hash: &mut u64, bytes: &[u8]) {
        for byte in bytes {
            *hash = (*hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    let mut hash = 0xcbf2_9ce4_8422_2325;
    let floats = |hash: &mut u64, of: &[f32]| of.iter().for_each(|v| add(hash, &v.to_bits().to_le_bytes()));
    floats(&mut hash, &got.output);
    floats(&mut hash, &got.state);
    floats(&mut hash, &got.change);
    got.steps.iter().for_each(|steps| add(&mut hash, &steps.to_le_bytes()));
    got.converged.iter().for_each(|converged| add(&mut hash, &[u8::from(*converged)]));
    floats(&mut hash, got.weights.as_deref().unwrap_or_default());
    for Statistics { support, perplexity, largest, .. } in got.statistics.iter().flatten() {
        add(&mut hash, &support.to_le_bytes());
        floats(&mut hash, &[*perplexity, *largest]);
    }
    if let Some(top) = &got.top {
        top.ids.iter().for_each(|id| add(&mut hash, &id.map_or(u64::MAX, |id| id.0).to_le_bytes()));
        floats(&mut hash, &top.weight);
    }
    if let Some(hits) = hits {
        hits.ids.iter().for_each(|id| add(&mut hash, &id.map_or(u64::MAX, |id| id.0).to_le_bytes()));
        floats(&mut hash, &hits.similarity);
        hits.found.iter().flatten().for_each(|found| add(&mut hash, &found.to_le_bytes()));
    }
    hash
}

/// What was reported of query `b`, as a share of what it may be off.
fn reported(case: &Case, got: &Retrieval, b: usize) -> f64 {
    let n = case.patterns();
    let (Some(weights), Some(statistics), Some(top)) = (&got.weights, &got.statistics, &got.top) else {
        return f64::INFINITY;
    };
    let expected = case.reference(b).weights;
    let weights = &weights[b * n..(b + 1) * n];
    let Statistics { largest, .. } = statistics[b];
    let most = expected.iter().copied().fold(0.0, f64::max);
    let mut error = worst(weights, &expected).max(worst(&[largest], &[most]));
    let mut falling = expected.clone();
    falling.sort_unstable_by(|a, b| b.total_cmp(a));
    for (rank, largest) in falling.iter().enumerate().take(top.k) {
        let (id, weight) = (top.ids[b * top.k + rank], top.weight[b * top.k + rank]);
        // A pattern that does not exist has no weight.
        let full = id.and_then(|id| expected.get(id.0 as usize)).copied().unwrap_or(0.0);
        error = error.max(worst(&[weight], &[full])).max(worst(&[weight], &[*largest]));
    }
    error / WEIGHT_BOUND
}

/// The weights that were reported of query `b`, as a share of what they may be off, and the largest of them.
fn weighed(case: &Case, got: &Retrieval, b: usize) -> f64 {
    let n = case.patterns();
    let (Some(weights), Some(top)) = (&got.weights, &got.top) else { return f64::INFINITY };
    let expected = case.reference(b).weights;
    let most = expected.iter().fold(1.0f64, |most, weight| most.max(weight.abs()));
    let mut error = worst(&weights[b * n..(b + 1) * n], &expected);
    for rank in 0..top.k {
        let (id, weight) = (top.ids[b * top.k + rank], top.weight[b * top.k + rank]);
        let full = id.and_then(|id| expected.get(id.0 as usize)).copied().unwrap_or(f64::NAN);
        error = error.max(worst(&[weight], &[full]));
    }
    error / (WEIGHT_BOUND * most)
}

/// Whether query `b` has the state after all updates, and stopped before where its states came back: 0 or infinite.
fn went_round(case: &Case, got: &Retrieval, b: usize) -> f64 {
    let last = case.problem(b).retrieve(case.query(b), case.steps);
    let right = got.status[b] == Status::Cycle && got.steps[b] < case.steps;
    if right && worst(got.state_row(b), &last.state) == 0.0 { 0.0 } else { f64::INFINITY }
}

/// What was found of query `b`, as a share of what it may be off: each similarity beside the one that belongs at its
/// rank and beside that of its own pattern, and the count beside those that rounding leaves open.
fn found(case: &Case, hits: &Hits, b: usize) -> f64 {
    let wide = |row: &[f32]| -> Vec<f64> { row.iter().map(|x| f64::from(*x)).collect() };
    let query = wide(case.query(b));
    let similarities = case.keys.chunks_exact(case.dim).map(|key| similarity(case.rule.similarity, &query, &wide(key)));
    let similarities: Vec<f64> = similarities.collect();
    let keeps = |i: &usize| case.keep.as_ref().is_none_or(|keep| keep[b * case.patterns() + i]);
    let mut falling: Vec<f64> = (0..similarities.len()).filter(keeps).map(|i| similarities[i]).collect();
    falling.sort_unstable_by(|a, b| b.total_cmp(a));
    let factor = match case.rule.similarity {
        Similarity::Euclidean => -2.0,
        Similarity::Manhattan => -1.0,
        _ => 1.0,
    };
    let within = SIMILARITY_BOUND * falling.iter().fold(1.0f64, |most, s| most.max(s.abs()));
    let mut error = 0.0f64;
    let mut count = 0;
    for ((id, measured), expected) in hits.of(b).zip(&falling) {
        let own = similarities.get(id.0 as usize).copied().unwrap_or(f64::NAN);
        let got = f64::from(measured) / factor;
        error = [got - expected, got - own].map(|off| off.abs() / within).into_iter().fold(error, f64::max);
        error = if own.is_nan() { f64::INFINITY } else { error };
        count += 1;
    }
    let Some(all) = hits.found.as_ref().map(|found| found[b]) else {
        return if count == falling.len().min(hits.k) { error } else { f64::INFINITY };
    };
    let (sure, open) = (THRESHOLD + within, THRESHOLD - within);
    let least = falling.iter().filter(|s| **s > sure).count() as u64;
    let most = falling.iter().filter(|s| **s >= open).count() as u64;
    let counted = (least..=most).contains(&all) && count as u64 == all.min(hits.k as u64);
    if counted { error } else { f64::INFINITY }
}

/// How far a similarity may be off, over the largest.
const SIMILARITY_BOUND: f64 = 1e-5;
/// The least similarity of the searches that have a threshold.
const THRESHOLD: f64 = -8.0;

const SEPARATIONS: [(&str, Separation); 6] = [
    ("softmax", Separation::Softmax),
    ("softmax1", Separation::Softmax1),
    ("sparsemax", Separation::Sparsemax),
    ("entmax 1.5", Separation::Entmax { alpha: 1.5 }),
    ("entmax 3", Separation::Entmax { alpha: 3.0 }),
    ("top 7", Separation::TopK { k: 7 }),
];

/// All of them.
pub fn checks() -> Vec<Check> {
    let dot = |separation, beta| Rule::new(Similarity::Dot, separation, beta);
    let softmax = Rule::softmax(1.0);
    let mut checks = Vec::new();
    for (seed, similarity) in Similarity::ALL.into_iter().enumerate() {
        for (name, separation) in SEPARATIONS {
            let rule = Rule::new(similarity, separation, 1.5);
            let case = Case { steps: 2, ..Case::random(seed as u64, 5, 203, 21, None, rule) };
            let what = format!("{similarity}, {name}, 2 steps");
            checks.push(Check { reports: true, ..Check::new(what, case) });
        }
    }
    for (what, batch, patterns, dim) in [
        ("one pattern", 1, 1, 1),
        ("one query", 1, 10_007, 128),
        ("five queries", 5, 4_099, 96),
        ("some queries", 33, 1_031, 65),
        ("many queries", 257, 1_031, 64),
        ("many queries", 300, 517, 128),
        ("wide keys", 130, 259, 515),
        ("wide keys, one query", 1, 1_031, 1_030),
    ] {
        checks.push(Check::new(what, Case::random(40, batch, patterns, dim, None, softmax)));
        for (name, precision) in [("f16", Precision::F16), ("8 bits", Precision::I8)] {
            let mut case = Case::random(41, batch, patterns, dim, None, softmax);
            case.precision = precision;
            case.keys = stored(precision, &case.keys, dim);
            checks.push(Check::new(format!("{what}, {name}"), case));
        }
    }
    for (strategy, kernel, precision) in [
        (Strategy::FusedStream, "fused_stream", Precision::F32),
        (Strategy::FusedRegister, "fused_register", Precision::F32),
        (Strategy::FusedMatrix, "fused_matrix", Precision::F16),
        (Strategy::Staged, "similarity", Precision::F32),
    ] {
        let mut case = Case { steps: 2, precision, ..Case::random(45, 133, 2_053, 62, None, softmax) };
        case.keys = stored(precision, &case.keys, case.dim);
        checks
            .push(Check { forced: Some((strategy, kernel)), ..Check::new(format!("all by {kernel}, 2 steps"), case) });
    }
    for (name, separation) in &SEPARATIONS[2..] {
        let listed = Case::random(50, 40, 5_003, 70, None, dot(*separation, 2.0));
        checks.push(Check::new(format!("{name}, listed"), listed));
        // So flat that no list holds what has weight.
        let flat = Case::random(51, 3, 20_011, 6, None, dot(*separation, 1e-3));
        checks.push(Check::new(format!("{name}, searched"), flat));
    }
    checks.extend(settings());
    checks.extend(family());
    let base = || Case::random(60, 19, 300, 22, Some(35), softmax);
    checks.push(Check::new("values of their own", base()));
    let mut rng = Rng(61);
    let mut flags = |count: usize| -> Vec<bool> { (0..count).map(|_| rng.unit() < 0.3).collect() };
    let mut masked = base();
    masked.keep = Some(flags(19 * 300));
    // Nothing is left to this one.
    if let Some(keep) = &mut masked.keep {
        keep[600..900].fill(false);
    }
    checks.push(Check::new("a mask for each query", masked));
    checks.push(Check::new("a bias", Case { bias: Some(Rng(62).vector(300)), ..base() }));
    let clamped = Case { clamp: Some(flags(19 * 22)), steps: 3, ..Case::random(63, 19, 300, 22, None, softmax) };
    checks.push(Check::new("clamped coordinates, 3 steps", clamped));
    checks.push(Check::new("small windows", Case { window_bytes: Some(64 * 88), ..base() }));
    for beta in [0.0, -1.0, 30.0] {
        checks.push(Check::new(format!("beta {beta}"), Case::random(64, 19, 300, 22, None, Rule::softmax(beta))));
    }
    // Queries that arrive well within the cap, at a temperature at which rounding moves no query over the tolerance.
    let settles = Case::random(65, 30, 60, 24, None, Rule::softmax(8.0));
    let queries = settles.keys[..30 * 24].iter().map(|k| 0.9 * k).collect();
    let settles = Case { steps: 12, tolerance: Some(1e-2), queries, ..settles };
    checks.push(Check::new("until convergence", settles));
    let small = |rule, dim, keys: &[f32], query: &[f32]| {
        let (keys, queries) = (keys.to_vec(), query.to_vec());
        let case = Case::random(0, 1, keys.len() / dim, dim, None, rule);
        Check { reports: true, ..Check::new("", Case { keys, queries, ..case }) }
    };
    for (alpha, query) in [(1.000_000_1, 0.75), (1.0001, -0.25), (10.0, 0.11), (20.0, 0.05), (50.0, 0.02), (1e6, 0.0)] {
        let check = small(dot(Separation::Entmax { alpha }, 1.0), 1, &[1.0, 0.0], &[query]);
        checks.push(Check { what: format!("entmax {alpha}"), ..check });
    }
    // Products, squares, norms and sums that leave f32 although every row and every mean is finite.
    let rule = |similarity, beta| Rule::new(similarity, Separation::Softmax, beta);
    for (what, rule, dim, keys, query) in [
        ("large products", dot(Separation::Softmax, 1e-38), 1, &[1e20, 2e20][..], &[1e20][..]),
        ("small products", dot(Separation::Softmax, 1e38), 1, &[1e-19, 2e-19, 3e-19], &[1e-19]),
        ("large squares", rule(Similarity::Euclidean, 1e-38), 1, &[1e20, 2e20], &[0.0]),
        ("a large key", rule(Similarity::Cosine, 3.0), 2, &[3e38, 3e38, 1.0, 0.5], &[1.0, 1.0]),
        ("a large query", rule(Similarity::Cosine, 3.0), 2, &[1.0, 1.0, 1.0, 0.5], &[3e38, 3e38]),
        ("large differences", rule(Similarity::Manhattan, 1e-38), 2, &[3e38, 3e38, 2e38, 2e38], &[0.0, 0.0]),
        ("a mean of large rows", softmax, 1, &[3e38, 2e38], &[0.0]),
        ("large rows that cancel", softmax, 1, &[3e38, -3e38], &[0.0]),
        ("a large mean, sparse", dot(Separation::Sparsemax, 1.0), 1, &[3e38, 2e38], &[0.0]),
        ("many large rows", softmax, 1, &[1e36; 1000], &[0.0]),
    ] {
        checks.push(Check { what: what.to_owned(), far: true, ..small(rule, dim, keys, query) });
    }
    checks
}

/// What the settings of kernels depend on: widths of keys and values, queries of an invocation, stores, masks and
/// terms.
fn settings() -> Vec<Check> {
    let (stream, register) = (Strategy::FusedStream, Strategy::FusedRegister);
    let mut checks = Vec::new();
    for (strategy, kernel, batch, dim, value_dim, similarity, precision, masked) in [
        (register, "fused_register", 130, 29, Some(27), Similarity::Euclidean, Precision::I8, true),
        (register, "fused_register", 40, 127, Some(3), Similarity::Euclidean, Precision::F16, false),
        (register, "fused_register", 257, 13, Some(14), Similarity::Euclidean, Precision::I8, true),
        (register, "fused_register", 70, 61, None, Similarity::Manhattan, Precision::F32, true),
        (stream, "fused_stream", 1, 3, None, Similarity::Euclidean, Precision::F16, false),
        (stream, "fused_stream", 2, 300, None, Similarity::Manhattan, Precision::I8, true),
        (stream, "fused_stream", 9, 515, Some(190), Similarity::Dot, Precision::I8, false),
        (stream, "fused_stream", 9, 701, Some(390), Similarity::Euclidean, Precision::I8, true),
    ] {
        let rule = Rule::new(similarity, Separation::Softmax, 0.3);
        let mut case = stored_case(Case::random(52, batch, 203, dim, value_dim, rule), precision);
        case.bias = Some(Rng(53).vector(203));
        case.keep = masked.then(|| Rng(54).vector(batch * 203).iter().map(|x| *x > -0.4).collect());
        let what = format!("{similarity}, {precision}{} by {kernel}", if masked { ", a mask," } else { "" });
        checks.push(Check { forced: Some((strategy, kernel)), reports: !masked, ..Check::new(what, case) });
    }
    for (precision, dim, value_dim) in
        [(Precision::F16, 70, None), (Precision::I8, 70, None), (Precision::I8, 21, Some(300))]
    {
        let rule = Rule::new(Similarity::Dot, Separation::Sparsemax, 2.0);
        let case = stored_case(Case::random(55, 33, 2_003, dim, value_dim, rule), precision);
        checks.push(Check::new(format!("sparsemax, {precision}, listed"), case));
    }
    for (batch, dim, similarity, precision, masked) in [
        (1, 9, Similarity::Euclidean, Precision::F16, false),
        (2, 70, Similarity::Manhattan, Precision::I8, true),
        (6, 133, Similarity::Cosine, Precision::I8, true),
    ] {
        let rule = Rule::new(similarity, Separation::Entmax { alpha: 1.5 }, 0.6);
        let mut case = stored_case(Case::random(57, batch, 2_003, dim, None, rule), precision);
        case.keep = masked.then(|| Rng(58).vector(batch * 2_003).iter().map(|x| *x > -0.4).collect());
        let what =
            format!("{similarity}, entmax 1.5, {precision}{}, few queries", if masked { ", a mask" } else { "" });
        checks.push(Check::new(what, case));
    }
    for (batch, similarity, precision) in [
        (3, Similarity::Euclidean, Precision::F32),
        (2, Similarity::Manhattan, Precision::I8),
        (40, Similarity::Euclidean, Precision::F16),
        (33, Similarity::Cosine, Precision::F32),
    ] {
        let rule = Rule::new(similarity, Separation::Softmax, 0.6);
        let mut case = stored_case(Case::random(59, batch, 3_003, 25, None, rule), precision);
        case.bias = Some(Rng(58).vector(3_003));
        let nearest = match similarity {
            Similarity::Euclidean => SearchOptions::from(20).at_most(-2.0 * THRESHOLD as f32),
            _ => SearchOptions::from(20),
        };
        let what = format!("{similarity}, {precision}, a bias, the nearest");
        checks.push(Check { nearest: Some(nearest), ..Check::new(what, case) });
    }
    for (batch, dim, similarity, separation, with_bias, masked) in [
        (1, 70, Similarity::Euclidean, Separation::Sparsemax, true, false),
        (2, 133, Similarity::Cosine, Separation::TopK { k: 7 }, false, true),
        (4, 21, Similarity::Dot, Separation::Entmax { alpha: 1.5 }, true, false),
        (9, 64, Similarity::Euclidean, Separation::TopK { k: 7 }, false, true),
        (2, 16, Similarity::Dot, Separation::TopK { k: 7 }, false, false),
    ] {
        let rule = Rule::new(similarity, separation, 0.6);
        let mut case = stored_case(Case::random(67, batch, 5_003, dim, None, rule), Precision::I8Exact);
        case.bias = with_bias.then(|| Rng(58).vector(5_003));
        case.keep = masked.then(|| Rng(58).vector(batch * 5_003).iter().map(|x| *x > -0.4).collect());
        let what = format!("{similarity}, {separation}, by bounds");
        let nearest = (!masked).then(|| SearchOptions::from(20));
        checks.push(Check { bounds: true, nearest, ..Check::new(what, case) });
    }
    let rule = Rule::new(Similarity::Dot, Separation::TopK { k: 1100 }, 1.0);
    checks.push(Check::new("top 1100, searched", Case::random(56, 2, 5_003, 5, None, rule)));
    checks
}

/// The rules and updates of the wider family: each kind of weight by each strategy, each activation, and what queries
/// have of their own.
fn family() -> Vec<Check> {
    let strategies = [
        (Strategy::FusedStream, "fused_stream", 5),
        (Strategy::FusedRegister, "fused_register", 70),
        (Strategy::Staged, "separation", 37),
    ];
    let mut checks = Vec::new();
    let signs = Update::default().activation(Activation::Sign { zero: Zero::Keep });
    for (strategy, kernel, batch) in strategies {
        for (separation, without_self) in [
            (Separation::Linear, false),
            (Separation::Power { n: 3 }, false),
            (Separation::Power { n: 3 }, true),
            (Separation::Rectified { n: 2 }, false),
            (Separation::Rectified { n: 2 }, true),
            (Separation::Step { threshold: 1.0 }, false),
        ] {
            let update = if without_self { signs.remove_self() } else { signs };
            let case = Case { steps: 1, ..bipolar(80, batch, 203, 33, Rule::new(Similarity::Dot, separation, 0.5)) };
            let mut case = Case { rule: case.rule.then(update), ..case };
            // Some with records of their own.
            if matches!(separation, Separation::Power { .. } | Separation::Rectified { n: 2 }) && without_self {
                case.betas = Some((0..batch).map(|b| if b % 3 == 0 { 0.25 } else { 0.5 }).collect());
                case.exclude = Some((0..batch).map(|b| (b % 2 == 0).then_some(b % 203)).collect());
                case.rows = Some((0..batch).map(|b| b * 2..100 + b).collect());
            }
            let what = format!("{separation}{} by {kernel}", if without_self { " without self" } else { "" });
            checks.push(Check { forced: Some((strategy, kernel)), ..Check::new(what, case) });
        }
    }
    for activation in [
        Activation::None,
        Activation::Sign { zero: Zero::Plus },
        Activation::Sign { zero: Zero::Zero },
        Activation::Tanh,
        Activation::Normalize,
        Activation::Phasor,
        Activation::SoftmaxBlocks { width: 6 },
        Activation::ArgmaxBlocks { width: 10 },
        Activation::SoftmaxBlocks { width: 150 },
        Activation::ArgmaxBlocks { width: 75 },
    ] {
        let update = Update::default().activation(activation).gain(0.7).carry(0.2).damping(0.25);
        let update = if let Activation::Sign { .. } = activation { update.damping(0.0) } else { update };
        let mut case = Case::random(81, 9, 100, 150, None, Rule::new(Similarity::Dot, Separation::Linear, 0.01));
        case.rule = case.rule.then(update);
        case.field = Some(Rng(82).vector(9 * 150));
        case.clamp = (activation == Activation::Tanh).then(|| (0..9 * 150).map(|i| i % 4 == 0).collect());
        checks.push(Check::new(format!("linear, then {update}"), case));
    }
    let softmax = Rule::softmax(0.5).then(signs.activation(Activation::Sign { zero: Zero::Plus }).remove_self());
    let mut case = bipolar(83, 6, 100, 30, softmax);
    case.betas = Some(vec![0.5, 0.1, 0.05, 1.0, 0.3, 0.7]);
    case.field = Some(Rng(84).vector(6 * 30));
    checks.push(Check::new("softmax without self, betas and a field", case));
    let rule = Rule::new(Similarity::Dot, Separation::Softmax1, 2.0);
    let drawn = Update::default().activation(Activation::Sign { zero: Zero::Keep }).temperature(0.01, 7).blocks(4);
    checks.push(Check::new("softmax1, drawn in blocks", Case::random(85, 6, 100, 30, None, rule.then(drawn))));
    let rule = Rule::new(Similarity::Euclidean, Separation::Sparsemax, 2.0).then(Update::default().gain(0.5));
    checks.push(Check::new("sparsemax with a gain", Case::random(86, 40, 300, 30, None, rule)));
    let mut values = Case::random(87, 20, 300, 30, Some(30), Rule::softmax(1.0));
    values.rule = values.rule.then(Update::default().next(Next::Values).carry(1.0));
    checks.push(Check::new("values that go on", values));
    // What queries have of their own, under the rules that list candidates.
    for (batch, separation) in [
        (3, Separation::Sparsemax),
        (40, Separation::TopK { k: 7 }),
        (1, Separation::Softmax),
        (150, Separation::Softmax),
    ] {
        let mut case = Case::random(88, batch, 403, 30, None, Rule::new(Similarity::Dot, separation, 2.0));
        case.betas = Some((0..batch).map(|b| 0.5 + b as f32 / batch as f32).collect());
        case.exclude = Some((0..batch).map(|b| Some(3 * b % 403)).collect());
        case.rows = Some((0..batch).map(|b| 100 * (b * 4 / batch)..100 * (b * 4 / batch) + 100).collect());
        case.keep = (batch == 40).then(|| Rng(58).vector(batch * 403).iter().map(|x| *x > -0.4).collect());
        checks.push(Check::new(format!("{separation}, what {batch} queries have of their own"), case));
    }
    // Weights in full.
    for separation in [Separation::Power { n: 3 }, Separation::Rectified { n: 2 }, Separation::Step { threshold: 0.1 }]
    {
        let mut case = Case::random(89, 7, 203, 21, None, Rule::new(Similarity::Dot, separation, 0.3));
        case.betas = (separation == Separation::Power { n: 3 }).then(|| vec![0.3; 7]);
        checks.push(Check { weights: true, ..Check::new(format!("{separation}, its weights"), case) });
    }
    let mut without = bipolar(90, 7, 203, 21, Rule::new(Similarity::Dot, Separation::Power { n: 3 }, 0.125));
    without.rule = without.rule.then(signs.remove_self());
    without.betas = Some(vec![0.125; 7]);
    checks.push(Check { weights: true, ..Check::new("power 3 without self, its weights", without) });
    // Signs that go round.
    let mut cycle = bipolar(91, 20, 4, 64, Rule::new(Similarity::Dot, Separation::Linear, 1.0));
    cycle.rule = cycle.rule.then(signs.gain(-1.0));
    let cycle = Case { steps: 31, tolerance: Some(0.5), ..cycle };
    checks.push(Check { cycles: true, ..Check::new("signs that go round", cycle) });
    checks
}

/// A case of signs.
fn bipolar(seed: u64, batch: usize, patterns: usize, dim: usize, rule: Rule) -> Case {
    let mut case = Case::random(seed, batch, patterns, dim, None, rule);
    for row in [&mut case.keys, &mut case.queries] {
        for x in row.iter_mut() {
            *x = if *x < 0.0 { -1.0 } else { 1.0 };
        }
    }
    case
}

/// A case whose keys and values are as a store has them.
fn stored_case(mut case: Case, precision: Precision) -> Case {
    case.precision = precision;
    case.keys = stored(precision, &case.keys, case.dim);
    case.values = case.values.zip(case.value_dim).map(|(values, columns)| stored(precision, &values, columns));
    case
}

/// Keys as a store in fewer bits has them, so that the reference sees what the device does.
fn stored(precision: Precision, keys: &[f32], dim: usize) -> Vec<f32> {
    match precision {
        Precision::F32 | Precision::I8Exact => keys.to_vec(),
        Precision::F16 => keys.iter().map(|k| half::f16::from_f32(*k).to_f32()).collect(),
        Precision::I8 => {
            // Whole numbers of a power of two, with the largest in each row: the scale is exact, and so is every
            // product.
            let row = |key: &[f32]| {
                let whole = |(c, k): (usize, &f32)| if c == 0 { 127.0 } else { (k * 127.0).round() };
                key.iter().enumerate().map(move |one| whole(one) / 128.0).collect::<Vec<f32>>()
            };
            keys.chunks_exact(dim).flat_map(row).collect()
        }
        other => unreachable!("{other} is of another version"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hash of nothing is that of the definition, and every bit counts.
    #[test]
    fn every_bit_is_hashed() {
        let answered = |got: &Retrieval| Answered { got: got.clone(), hits: None };
        assert_eq!(bits_of(&answered(&Retrieval::default())), 0xcbf2_9ce4_8422_2325);
        let mut one = Retrieval::default();
        (one.output, one.steps) = (vec![1.0], vec![3]);
        let changes: [fn(&mut Retrieval); 5] = [
            |other| other.output[0] += f32::EPSILON,
            |other| other.output[0] = -1.0,
            |other| other.steps[0] = 4,
            |other| other.state = vec![0.0],
            |other| other.weights = Some(vec![0.5]),
        ];
        for change in changes {
            let mut other = one.clone();
            change(&mut other);
            assert_ne!(bits_of(&answered(&other)), bits_of(&answered(&one)));
        }
    }

    /// A wrong answer is found in every case, however little of it is wrong.
    #[test]
    fn damage_is_found() {
        let device = Device::cpu();
        for check in checks().iter().step_by(7) {
            let case = &check.case;
            let memory = case.build(&device).unwrap();
            let mut got = memory.retrieve_blocking(&case.queries, &case.options()).unwrap();
            assert!(case.judge(&got, [0]) <= 1.0, "{}", check.what);
            let off = 2.0 * case.output_bound(0, &case.reference(0));
            got.output[0] += off as f32;
            assert!(case.judge(&got, [0]) > 1.0, "{}: {off} is not seen", check.what);
            got.output[0] = f32::NAN;
            assert_eq!(case.judge(&got, [0]), f64::INFINITY, "{}", check.what);
        }
    }
}
