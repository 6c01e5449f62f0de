//! Random trials: a memory, what is asked of it and how, of ordinary and extreme numbers. Each is judged by
//! [`crate::interval`] against the reference, and one that fails is shrunk to what can be pasted into a test.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use attractor::{
    Device, Error, Mask, Memory, Partial, PartialOptions, PatternId, Precision, Retrieval, RetrieveOptions, Rule,
    Separation, Similarity, Status, WeightsOf,
};

use crate::case::Case;
use crate::interval::{Expected, Store};
use crate::rng::Rng;

/// How a memory is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The calling thread waits.
    Blocking,
    /// The answer is awaited.
    Awaited,
    /// Parts of the memory are asked apart, and merged: one update, of which the rows come.
    Parts,
}

/// One retrieval from one memory. Whatever is absent or empty is not used.
#[derive(Clone, Debug)]
pub struct Trial {
    /// The problem.
    pub case: Case,
    /// Patterns that are removed before the memory is asked.
    pub removed: Vec<usize>,
    /// How it is asked.
    pub way: Way,
    /// Whether energies are asked for.
    pub energy: bool,
    /// Whether statistics are asked for.
    pub statistics: bool,
    /// Whether all weights are asked for.
    pub weights: bool,
    /// How many of the largest weights are asked for.
    pub top: usize,
}

/// How a trial came out.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Every value is within its bound.
    Right,
    /// The call, or a query's status, says that there is no answer.
    Refused(String),
    /// What is wrong.
    Wrong(String),
}

impl Outcome {
    fn is_wrong(&self) -> bool {
        matches!(self, Self::Wrong(_))
    }
}

/// What numbers of one tensor are like.
#[derive(Clone, Copy)]
enum Palette {
    Unit,
    /// Small whole numbers, so that there are ties.
    Whole,
    /// About as large as this.
    Scale(f32),
    /// Of every magnitude.
    Mixed,
    Denormal,
    /// Plus and minus the largest that there are.
    Huge,
    Zero,
}

impl Rng {
    /// Ten to the power of a uniform number.
    fn power(&mut self, least: f32, most: f32) -> f32 {
        let exponent = least + (most - least) * 0.5 * (self.unit() + 1.0);
        10.0f32.powf(exponent).clamp(f32::MIN_POSITIVE, f32::MAX)
    }

    fn palette(&mut self, extreme: bool) -> Palette {
        if !extreme {
            return match self.below(4) {
                0 => Palette::Whole,
                1 => Palette::Scale(self.pick(&[0.01, 0.1, 4.0, 30.0])),
                _ => Palette::Unit,
            };
        }
        match self.below(9) {
            0 => Palette::Mixed,
            1 => Palette::Denormal,
            2 => Palette::Huge,
            3 => Palette::Zero,
            4 => Palette::Scale(self.pick(&[1e-38, 1e-30, 1e-23, 1e-19, 1e-12])),
            5 => Palette::Scale(self.pick(&[1e12, 1e18, 1e19, 1.9e19, 1e30, 1e38])),
            6 => Palette::Scale(self.power(-38.0, 38.0)),
            _ => Palette::Unit,
        }
    }

    fn number(&mut self, palette: Palette) -> f32 {
        if self.once_in(40) {
            return 0.0;
        }
        match palette {
            Palette::Unit => self.unit(),
            Palette::Whole => (2.49 * self.unit()).round(),
            Palette::Scale(scale) => scale * self.unit(),
            Palette::Mixed => self.power(-40.0, 38.0) * self.unit().signum(),
            Palette::Denormal => 1e-38 * self.unit() * self.pick(&[1.0, 1e-2, 1e-5]),
            Palette::Huge => self.pick(&[3e38, 2e38, 1e38, 3.4e38, f32::MAX]) * self.unit().signum(),
            Palette::Zero => 0.0,
        }
    }

    fn numbers(&mut self, palette: Palette, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.number(palette)).collect()
    }
}

/// Whether the trial of this number has extreme numbers; the others hold what is usual.
pub fn is_extreme(number: usize) -> bool {
    number.is_multiple_of(3)
}

/// The trial of this number under a seed.
pub fn trial(seed: u64, number: usize) -> Trial {
    let mut rng = Rng(seed ^ (number as u64).wrapping_mul(0x2545_f491_4f6c_dd1d));
    let extreme = is_extreme(number);
    let n = &mut rng;
    let dim = n.pick(&[1, 1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 31, 33, 64, 70]);
    let patterns = match n.below(12) {
        0 => 1,
        1 => 130 + n.below(140),
        2 => 33 + n.below(40),
        _ => 1 + n.below(20),
    };
    let batch = match n.below(12) {
        0 => 17 + n.below(50),
        _ => 1 + n.below(5),
    };
    let value_dim = if n.once_in(3) { Some(n.pick(&[1, 2, 3, 5, 8, 33])) } else { None };
    let similarity =
        n.pick(&[Similarity::Dot, Similarity::Dot, Similarity::Cosine, Similarity::Euclidean, Similarity::Manhattan]);
    let alpha = match n.below(6) {
        0 if extreme => n.pick(&[1.000_000_1, 1.0001, 1.001, 10.0, 20.0, 50.0, 1e3, 1e6]),
        1 => 1.0 + n.power(-2.0, 1.0),
        _ => n.pick(&[1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0]),
    };
    let separation = match n.below(7) {
        0 | 1 => Separation::Softmax,
        2 => Separation::Softmax1,
        3 => Separation::Sparsemax,
        4 | 5 => Separation::Entmax { alpha },
        _ => Separation::TopK { k: n.pick(&[1, 2, 3, 5, 9, 40, 1000]) },
    };
    let (keys, queries) = (n.palette(extreme), n.palette(extreme));
    let mut case = Case::random(0, batch, patterns, dim, value_dim, Rule::new(similarity, separation, 1.0));
    case.keys = n.numbers(keys, patterns * dim);
    case.queries = n.numbers(queries, batch * dim);
    if let Some(value_dim) = value_dim {
        let palette = n.palette(extreme);
        case.values = Some(n.numbers(palette, patterns * value_dim));
    }
    // Queries near a key, as recall has them.
    if n.once_in(3) {
        for b in 0..batch {
            let key = n.below(patterns);
            for c in 0..dim {
                case.queries[b * dim + c] = case.keys[key * dim + c] * (1.0 + 0.1 * n.unit()).min(1.0);
            }
        }
    }
    // Equal rows.
    if n.once_in(4) {
        for _ in 0..patterns.div_ceil(3) {
            let (from, to) = (n.below(patterns), n.below(patterns));
            case.keys.copy_within(from * dim..(from + 1) * dim, to * dim);
        }
    }
    if n.once_in(4) {
        let scale = if extreme { n.pick(&[1.0, 100.0, 1e30, 1e30, 1e-30, 3e38]) } else { n.pick(&[1.0, 5.0]) };
        let flat = n.once_in(3);
        case.bias = Some(
            (0..patterns)
                .map(|_| {
                    let unit = if flat { n.pick(&[-1.0, 1.0]) } else { n.unit() };
                    if n.once_in(4) { 0.0 } else { scale * unit }
                })
                .collect(),
        );
    }
    case.rule.beta = beta(n, &case, extreme);
    if n.once_in(4) {
        let share = n.pick(&[0.0, 0.3, 0.9]);
        case.keep = Some((0..batch * patterns).map(|_| n.unit() > 2.0 * share - 1.0).collect());
        if n.once_in(3) {
            let b = n.below(batch);
            case.keep.as_mut().expect("it is there")[b * patterns..(b + 1) * patterns].fill(false);
        }
    }
    if n.once_in(5) {
        case.clamp = Some((0..batch * dim).map(|_| n.once_in(3)).collect());
    }
    case.precision = n.pick(&[Precision::F32, Precision::F32, Precision::F32, Precision::F16, Precision::I8]);
    if n.once_in(4) {
        let row = 4 * dim.max(value_dim.unwrap_or(0)).next_multiple_of(4);
        case.window_bytes = Some((row * (1 + n.below(patterns))) as u64);
    }
    if n.once_in(3) {
        case.steps = 2 + n.below(3) as u32;
        if n.once_in(2) {
            case.tolerance = Some(n.pick(&[1e-6, 1e-3, 0.1, 1.0, 1e30]));
        }
    }
    let removed = if n.once_in(4) && patterns > 1 {
        (0..patterns).filter(|_| n.once_in(3)).take(patterns - 1).collect()
    } else {
        Vec::new()
    };
    let way = match n.below(6) {
        0 | 1 => Way::Awaited,
        2 if case.steps == 1 && case.clamp.is_none() => Way::Parts,
        _ => Way::Blocking,
    };
    let mut trial = Trial { case, removed, way, energy: false, statistics: false, weights: false, top: 0 };
    if way != Way::Parts {
        trial.energy = n.once_in(3);
        trial.weights = n.once_in(2);
        trial.statistics = n.once_in(3);
        trial.top = if n.once_in(3) { n.pick(&[1, 2, 5, 12]) } else { 0 };
    }
    // Some rules have no energy: that is refused, and tells nothing.
    let defined = match similarity {
        Similarity::Dot => !matches!(separation, Separation::TopK { .. }),
        Similarity::Euclidean => !matches!(separation, Separation::TopK { .. } | Separation::Softmax1),
        Similarity::Cosine | Similarity::Manhattan => false,
    };
    trial.energy &= defined && trial.case.rule.beta != 0.0;
    trial
}

/// A temperature at which the scores are of some ordinary size, where there is one; else any.
fn beta(n: &mut Rng, case: &Case, extreme: bool) -> f32 {
    if extreme && n.once_in(4) {
        return n.pick(&[0.0, -1.0, 1e38, -1e38, 1e-38, 1e-30, 1e30, 1.0]);
    }
    let unit = Rule { beta: 1.0, ..case.rule };
    let problem = Case { rule: unit, bias: None, keep: None, ..case.clone() };
    let query: Vec<f64> = problem.query(0).iter().map(|x| f64::from(*x)).collect();
    let scores = problem.problem(0).scores(&query);
    let most = scores.iter().fold(0.0f64, |most, z| most.max(z.abs()));
    let target = n.pick(&[0.01, 0.3, 1.0, 1.0, 3.0, 10.0, 30.0, 300.0, 1e5]);
    let beta = (target / most.max(1e-300)).clamp(1e-38, 3e38) as f32;
    let beta = if most == 0.0 { 1.0 } else { beta };
    match n.below(12) {
        0 => -beta,
        1 => 0.0,
        _ => beta,
    }
}

impl Trial {
    /// Which patterns are left.
    pub fn alive(&self) -> Vec<bool> {
        (0..self.case.patterns()).map(|i| !self.removed.contains(&i)).collect()
    }

    fn options(&self, steps: u32, tolerance: Option<f32>) -> RetrieveOptions {
        let case = Case { steps, tolerance, ..self.case.clone() };
        let mut options = case.options().top(self.top).weights(match self.weights {
            true => WeightsOf::All,
            false => WeightsOf::None,
        });
        (options.energy, options.statistics) = (self.energy, self.statistics);
        options
    }

    fn build(&self, device: &Device) -> attractor::Result<Memory> {
        let mut memory = self.case.build(device)?;
        for i in &self.removed {
            memory.remove(PatternId(*i as u64))?;
        }
        Ok(memory)
    }

    fn ask(&self, memory: &Memory, options: &RetrieveOptions) -> attractor::Result<Retrieval> {
        match self.way {
            Way::Blocking | Way::Parts => memory.retrieve_with_blocking(&self.case.queries, options),
            Way::Awaited => pollster::block_on(memory.retrieve_with(&self.case.queries, options)),
        }
    }

    /// What the memory stores of its rows.
    fn stored(&self, memory: &Memory) -> attractor::Result<Store> {
        let mut store = Store::new(&self.case);
        store.flushes = !memory.device().is_cpu();
        if self.case.precision != Precision::F32 {
            for i in (0..self.case.patterns()).filter(|i| !self.removed.contains(i)) {
                store.set(i, &memory.get(PatternId(i as u64))?);
            }
        }
        Ok(store)
    }

    /// Asks the device, and judges what comes. `damage` is done to the answer before.
    pub fn run(&self, device: &Device, damage: impl Fn(&mut Retrieval)) -> Outcome {
        let asked = catch_unwind(AssertUnwindSafe(|| self.outcome(device, &damage)));
        match asked {
            Ok(Ok(outcome)) => outcome,
            // Finite numbers and sound options are refused for their range, or because a device lacks something.
            Ok(Err(
                error @ (Error::Range { .. }
                | Error::Parameter { parameter: "beta", .. }
                | Error::Unsupported { .. }
                | Error::Limit { .. }),
            )) => Outcome::Refused(error.to_string()),
            Ok(Err(error)) => Outcome::Wrong(format!("error: {error}")),
            Err(_) => Outcome::Wrong("it panicked".into()),
        }
    }

    fn outcome(&self, device: &Device, damage: &dyn Fn(&mut Retrieval)) -> attractor::Result<Outcome> {
        let memory = self.build(device)?;
        let store = self.stored(&memory)?;
        if let Some(wrong) = store.wrong(self) {
            return Ok(Outcome::Wrong(wrong));
        }
        if self.way == Way::Parts {
            return self.parts(&memory, &store);
        }
        let max = self.case.steps;
        // The states on the way, by retrievals of fewer steps: each update is judged by itself, from the state that the
        // device had.
        let mut states = vec![self.case.queries.clone()];
        let mut changes: Vec<Vec<f32>> = Vec::new();
        let mut refused: Vec<Option<Status>> = vec![None; self.case.batch()];
        for steps in 1..=max {
            let mut plain = self.options(steps, None).top(0).weights(WeightsOf::None);
            (plain.energy, plain.statistics) = (false, false);
            let got = self.ask(&memory, &plain)?;
            for (b, status) in got.status.iter().enumerate() {
                if !matches!(status, Status::Answered | Status::NothingLeft) {
                    refused[b].get_or_insert(*status);
                }
            }
            states.push(got.state);
            changes.push(got.change);
        }
        let mut got = self.ask(&memory, &self.options(max, self.case.tolerance))?;
        damage(&mut got);
        for (b, refused) in refused.iter_mut().enumerate() {
            if !matches!(got.status[b], Status::Answered | Status::NothingLeft) {
                refused.get_or_insert(got.status[b]);
            }
            if refused.is_some() {
                continue;
            }
            if let Err(wrong) = self.judge(&store, &got, &states, &changes, b) {
                return Ok(Outcome::Wrong(format!("query {b}: {wrong}")));
            }
        }
        match refused.iter().flatten().next() {
            Some(status) => Ok(Outcome::Refused(format!("status {status:?}"))),
            None => Ok(Outcome::Right),
        }
    }

    /// Judges the answer to query `b`.
    fn judge(
        &self,
        store: &Store,
        got: &Retrieval,
        states: &[Vec<f32>],
        changes: &[Vec<f32>],
        b: usize,
    ) -> Result<(), String> {
        let case = &self.case;
        let row = |rows: &[f32]| rows[b * case.dim..(b + 1) * case.dim].to_vec();
        let steps = got.steps[b];
        if steps == 0 || steps > case.steps {
            return Err(format!("{steps} steps of at most {}", case.steps));
        }
        // Whether it stopped where its own changes say.
        for (step, changes) in changes.iter().enumerate().take(case.steps as usize) {
            let (step, change) = (step as u32 + 1, changes[b]);
            let Some(tolerance) = case.tolerance else {
                if steps != case.steps {
                    return Err(format!("{steps} steps instead of {}", case.steps));
                }
                break;
            };
            // A change that differs in the last digits from one way to the other.
            let margin = 1e-5 * tolerance.max(change);
            if step < steps && change < tolerance - margin {
                return Err(format!("went on after step {step}, which changed {change:e} under {tolerance:e}"));
            }
            if step == steps && step < case.steps && change > tolerance + margin {
                return Err(format!("stopped after step {step}, which changed {change:e} over {tolerance:e}"));
            }
        }
        let mut expected = None;
        for step in 1..=steps as usize {
            let before = row(&states[step - 1]);
            let update = Expected::new(self, store, b, &before, step > 1);
            let after = if step == steps as usize { got.state(b).to_vec() } else { row(&states[step]) };
            update.state(&after).map_err(|wrong| format!("state of step {step}: {wrong}"))?;
            let change = if step == steps as usize { got.change[b] } else { changes[step - 1][b] };
            Expected::change(&before, &after, change).map_err(|wrong| format!("change of step {step}: {wrong}"))?;
            expected = Some(update);
        }
        let expected = expected.expect("there is a step");
        if got.converged[b] != (got.change[b] <= case.tolerance.unwrap_or(attractor::DEFAULT_TOLERANCE)) {
            return Err(format!("converged {} at a change of {:e}", got.converged[b], got.change[b]));
        }
        expected.status(got.status[b])?;
        expected.output(got.output(b)).map_err(|wrong| format!("output: {wrong}"))?;
        if self.weights {
            let n = case.patterns();
            let weights = got.weights.as_ref().ok_or("no weights")?;
            expected.weights(weights.get(b * n..(b + 1) * n).ok_or("too few weights")?)?;
        }
        if self.top > 0 {
            let top = got.top.as_ref().ok_or("no top")?;
            let ranks = b * top.k..(b + 1) * top.k;
            expected.top(self.top, &top.ids[ranks.clone()], &top.weight[ranks])?;
        }
        if self.statistics {
            expected.statistics(&got.statistics.as_ref().ok_or("no statistics")?[b])?;
        }
        if self.energy {
            expected.energy(got.state(b), got.energy.as_ref().ok_or("no energy")?[b])?;
        }
        Ok(())
    }

    /// Asks parts of the memory, and judges what they come to.
    fn parts(&self, memory: &Memory, store: &Store) -> attractor::Result<Outcome> {
        let n = self.case.patterns();
        let cuts = [0, n / 3, n / 2, n];
        let mut merged: Vec<Option<Partial>> = vec![None; self.case.batch()];
        for cut in cuts.windows(2) {
            let mut options = PartialOptions::default().subset(cut[0]..cut[1]);
            options.mask = self.case.keep.as_deref().map(Mask::keep_per_query);
            let parts = memory.retrieve_partial_blocking(&self.case.queries, &options)?;
            for (merged, part) in merged.iter_mut().zip(parts) {
                // Over the wire, as parts go.
                let part = Partial::from_bytes(&part.to_bytes())?;
                *merged = Some(match merged.take() {
                    Some(before) => before.merge(part)?,
                    None => part,
                });
            }
        }
        for (b, merged) in merged.into_iter().enumerate() {
            let Some(merged) = merged else { return Ok(Outcome::Wrong("no parts".into())) };
            let finished = merged.finish();
            if !matches!(finished.status, Status::Answered | Status::NothingLeft) {
                return Ok(Outcome::Refused(format!("status {:?}", finished.status)));
            }
            let expected = Expected::new(self, store, b, self.case.query(b), false);
            let judged = expected
                .status(finished.status)
                .and_then(|()| expected.state(&finished.state))
                .and_then(|()| expected.output(&finished.output));
            if let Err(wrong) = judged {
                return Ok(Outcome::Wrong(format!("query {b} of merged parts: {wrong}")));
            }
        }
        Ok(Outcome::Right)
    }

    /// A smaller trial that is wrong, too, and what is wrong with it.
    pub fn shrunk(&self, device: &Device, damage: impl Fn(&mut Retrieval)) -> (Self, String) {
        /// Trials that are asked, at the most.
        const MOST: usize = 400;
        let mut best = (self.clone(), String::new());
        if let Outcome::Wrong(why) = self.run(device, &damage) {
            best.1 = why;
        }
        let mut asked = 0;
        loop {
            let before = asked;
            let mut smaller = false;
            for candidate in best.0.smaller() {
                if asked >= MOST {
                    return best;
                }
                asked += 1;
                if let outcome @ Outcome::Wrong(_) = candidate.run(device, &damage) {
                    debug_assert!(outcome.is_wrong());
                    if let Outcome::Wrong(why) = outcome {
                        best = (candidate, why);
                    }
                    smaller = true;
                    break;
                }
            }
            if !smaller || asked == before {
                return best;
            }
        }
    }

    /// Trials that are a little smaller or plainer.
    fn smaller(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let case = &self.case;
        let (batch, n) = (case.batch(), case.patterns());
        let mut with = |change: &dyn Fn(&mut Self)| {
            let mut trial = self.clone();
            change(&mut trial);
            all.push(trial);
        };
        if batch > 1 {
            for b in [0..batch / 2, batch / 2..batch] {
                with(&|trial| *trial = trial.queries(b.clone()));
            }
        }
        let mut size = n / 2;
        while size >= 1 {
            for start in (0..n).step_by(size) {
                let end = n.min(start + size);
                if end - start < n {
                    with(&|trial| *trial = trial.without_patterns(start..end));
                }
            }
            size /= 2;
            if n > 40 && size < 4 {
                break;
            }
        }
        let optional: [(bool, Change<'_>); 12] = [
            (case.values.is_some(), &|t| (t.case.values, t.case.value_dim) = (None, None)),
            (case.bias.is_some(), &|t| t.case.bias = None),
            (case.keep.is_some(), &|t| t.case.keep = None),
            (case.clamp.is_some(), &|t| t.case.clamp = None),
            (case.window_bytes.is_some(), &|t| t.case.window_bytes = None),
            (case.tolerance.is_some(), &|t| t.case.tolerance = None),
            (case.steps > 1, &|t| t.case.steps -= 1),
            (!self.removed.is_empty(), &|t| t.removed.clear()),
            (self.energy, &|t| t.energy = false),
            (self.statistics, &|t| t.statistics = false),
            (self.weights, &|t| t.weights = false),
            (self.top > 0, &|t| t.top = 0),
        ];
        for (there, change) in optional {
            if there {
                with(change);
            }
        }
        if case.precision != Precision::F32 {
            with(&|t| t.case.precision = Precision::F32);
        }
        if self.way != Way::Blocking {
            with(&|t| t.way = Way::Blocking);
        }
        if case.dim > 1 {
            let half = case.dim / 2;
            with(&|trial| *trial = trial.without_columns(0..half));
            with(&|trial| *trial = trial.without_columns(half..trial.case.dim));
            for c in 0..case.dim.min(9) {
                with(&|trial| *trial = trial.without_columns(c..c + 1));
            }
        }
        // Plainer numbers, of which a case may have many.
        for which in 0..3 {
            let count = self.tensor(which).map_or(0, <[f32]>::len);
            for at in 0..count.min(24) {
                let old = self.tensor(which).expect("it is there")[at];
                let digit = format!("{old:.0e}").parse().unwrap_or(old);
                for plain in [0.0, 1.0, digit] {
                    // Zero before one before one digit before all others.
                    let rank = |x: f32| {
                        if x == 0.0 {
                            0
                        } else if x == 1.0 {
                            1
                        } else {
                            2 + u8::from(x != digit)
                        }
                    };
                    if rank(plain) < rank(old) {
                        with(&|trial| {
                            if let Some(tensor) = trial.tensor_mut(which) {
                                tensor[at] = plain;
                            }
                        });
                    }
                }
            }
        }
        all
    }

    fn tensor(&self, which: usize) -> Option<&[f32]> {
        match which {
            0 => Some(&self.case.queries),
            1 => Some(&self.case.keys),
            _ => self.case.values.as_deref(),
        }
    }

    fn tensor_mut(&mut self, which: usize) -> Option<&mut Vec<f32>> {
        match which {
            0 => Some(&mut self.case.queries),
            1 => Some(&mut self.case.keys),
            _ => self.case.values.as_mut(),
        }
    }

    /// With these queries alone.
    fn queries(&self, range: std::ops::Range<usize>) -> Self {
        let mut trial = self.clone();
        let (dim, n) = (self.case.dim, self.case.patterns());
        trial.case.queries = self.case.queries[range.start * dim..range.end * dim].to_vec();
        trial.case.keep = self.case.keep.as_ref().map(|keep| keep[range.start * n..range.end * n].to_vec());
        trial.case.clamp = self.case.clamp.as_ref().map(|clamp| clamp[range.start * dim..range.end * dim].to_vec());
        trial
    }

    fn without_patterns(&self, range: std::ops::Range<usize>) -> Self {
        let mut trial = self.clone();
        let n = self.case.patterns();
        let left: Vec<usize> = (0..n).filter(|i| !range.contains(i)).collect();
        let rows = |rows: &[f32], columns: usize| -> Vec<f32> {
            left.iter().flat_map(|i| &rows[i * columns..(i + 1) * columns]).copied().collect()
        };
        trial.case.keys = rows(&self.case.keys, self.case.dim);
        trial.case.values = self.case.values.as_ref().zip(self.case.value_dim).map(|(values, dim)| rows(values, dim));
        trial.case.bias = self.case.bias.as_ref().map(|bias| rows(bias, 1));
        let flags = |keep: &Vec<bool>| keep.chunks(n).flat_map(|row| left.iter().map(|i| row[*i])).collect();
        trial.case.keep = self.case.keep.as_ref().map(flags);
        trial.removed = (0..left.len()).filter(|i| self.removed.contains(&left[*i])).collect();
        trial
    }

    fn without_columns(&self, range: std::ops::Range<usize>) -> Self {
        let mut trial = self.clone();
        let dim = self.case.dim;
        let left = |c: usize| !range.contains(&(c % dim));
        let floats = |rows: &[f32]| rows.iter().enumerate().filter(|(c, _)| left(*c)).map(|(_, x)| *x).collect();
        trial.case.keys = floats(&self.case.keys);
        trial.case.queries = floats(&self.case.queries);
        let flags = |flags: &Vec<bool>| flags.iter().enumerate().filter(|(c, _)| left(*c)).map(|(_, x)| *x).collect();
        trial.case.clamp = self.case.clamp.as_ref().map(flags);
        trial.case.dim = dim - range.len();
        trial
    }
}

type Change<'a> = &'a dyn Fn(&mut Trial);

/// As Rust.
impl fmt::Display for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Case { rule, dim, value_dim, precision, window_bytes, steps, tolerance, .. } = &self.case;
        let vector =
            |rows: &Option<Vec<f32>>| rows.as_ref().map_or("None".into(), |rows| format!("Some(vec!{rows:?})"));
        let flags =
            |flags: &Option<Vec<bool>>| flags.as_ref().map_or("None".into(), |flags| format!("Some(vec!{flags:?})"));
        writeln!(f, "Trial {{")?;
        writeln!(f, "    case: Case {{")?;
        let (similarity, beta) = (rule.similarity, rule.beta);
        writeln!(
            f,
            "        rule: Rule::new(Similarity::{similarity:?}, Separation::{:?}, {beta:?}),",
            rule.separation
        )?;
        writeln!(f, "        dim: {dim},\n        value_dim: {value_dim:?},")?;
        writeln!(f, "        keys: vec!{:?},", self.case.keys)?;
        writeln!(f, "        values: {},\n        bias: {},", vector(&self.case.values), vector(&self.case.bias))?;
        writeln!(f, "        keep: {},\n        clamp: {},", flags(&self.case.keep), flags(&self.case.clamp))?;
        writeln!(f, "        precision: Precision::{precision:?},\n        window_bytes: {window_bytes:?},")?;
        writeln!(f, "        queries: vec!{:?},", self.case.queries)?;
        writeln!(f, "        steps: {steps},\n        tolerance: {tolerance:?},\n    }},")?;
        writeln!(f, "    removed: vec!{:?},\n    way: Way::{:?},", self.removed, self.way)?;
        let Self { energy, statistics, weights, top, .. } = self;
        writeln!(f, "    energy: {energy},\n    statistics: {statistics},\n    weights: {weights},\n    top: {top},")?;
        write!(f, "}}")
    }
}

/// What came of many trials.
#[derive(Debug, Default)]
pub struct Tally {
    /// The number of trials that are right.
    pub right: usize,
    /// The number of trials without an answer.
    pub refused: usize,
    /// Numbers of the trials that are wrong, what is wrong, and the trials shrunk, as far as these are wanted.
    pub wrong: Vec<(usize, String, Option<Trial>)>,
}

/// Runs the trials of these numbers, and calls `each` after every one. The first `shrink` that are wrong are shrunk.
pub fn run(
    device: &Device,
    seed: u64,
    numbers: impl IntoIterator<Item = usize>,
    shrink: usize,
    mut each: impl FnMut(),
) -> Tally {
    let mut tally = Tally::default();
    for number in numbers {
        let trial = trial(seed, number);
        match trial.run(device, |_| ()) {
            Outcome::Right => tally.right += 1,
            Outcome::Refused(_) => tally.refused += 1,
            Outcome::Wrong(_) if tally.wrong.len() < shrink => {
                let (shrunk, why) = trial.shrunk(device, |_| ());
                tally.wrong.push((number, why, Some(shrunk)));
            }
            Outcome::Wrong(why) => tally.wrong.push((number, why, None)),
        }
        each();
    }
    tally
}
