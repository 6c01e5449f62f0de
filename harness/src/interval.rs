//! Intervals in which the values of one update must lie, whatever the rounding of an `f32` implementation is.
//!
//! A score `z_i = beta s_i + b_i` may be off by
//!
//! ```text
//! e_i = u (d + 16) |beta| S_i  +  4 u (|beta s_i| + |b_i|),   u = 2^-24
//! ```
//!
//! (on a device that flushes numbers below the normal ones to zero, by the product of `|beta|` and what is flushed
//! more), where `S_i` sums the magnitudes of the terms of the similarity `s_i` (Higham, Accuracy and Stability, section
//! 3.1). A weight rises with its own score and falls with all others, under every separation. So it lies between the
//! weight for `z_i - e_i` beside `z_j + e_j`, and that for `z_i + e_i` beside `z_j - e_j`: no first order is needed,
//! ties and edges of supports included. For top-k, the patterns that may and those that must be among the k follow
//! from the same intervals; of equal rows the one of smaller index comes first. What stands between scores and
//! weights adds
//!
//! ```text
//! r_i = eps (32 + 3 |z_i - max z| + N / 2) relative to the weight,   eps = 2 u,
//! ```
//!
//! for an exponential as WGSL allows it (3 + 2 |argument| ulps), a power, and a sum of N. For entmax up to alpha = 2,
//! the score of a pattern may be off by another `16 eps (1 + |z_i - max z|)` from the subtraction of the threshold.
//!
//! An output is a sum of rows by weights in these intervals that add up to one (for softmax1 to one at the most):
//! its least and its largest value are those of a linear program that takes the rows in order. The sum itself rounds by
//! `eps (16 + N / 2) sum_i p_i |v_ij|`, and what falls below the normal numbers may be flushed to zero.

use attractor::reference::{separate, similarity};
use attractor::{FixedPoint, Pattern, PatternId, Precision, Rule, Separation, Similarity, Statistics, Status};

use crate::case::Case;
use crate::trial::Trial;

/// Half a unit in the last place.
const U: f64 = f32::EPSILON as f64 / 2.0;
const EPSILON: f64 = f32::EPSILON as f64;
/// The least normal number.
const TINY: f64 = f32::MIN_POSITIVE as f64;

/// A weight that is less than this share of the heaviest may be taken for zero: it is far below the rounding of any
/// sum of weights. (In the sum of rows, this is as much below the largest entry.)
const LOST: f64 = f64::EPSILON * 16.0;

/// Rows as a memory stores them.
#[derive(Clone, Debug)]
pub struct Store {
    keys: Vec<f32>,
    values: Option<Vec<f32>>,
    bias: Option<Vec<f32>>,
    dim: usize,
    value_dim: Option<usize>,
    /// Whether the device may take numbers below the normal ones for zero, as GPUs may.
    pub flushes: bool,
}

impl Store {
    /// The rows as they are given.
    pub fn new(case: &Case) -> Self {
        let Case { keys, values, bias, dim, value_dim, .. } = case.clone();
        Self { keys, values, bias, dim, value_dim, flushes: false }
    }

    /// Pattern `i` is stored as `pattern`.
    pub fn set(&mut self, i: usize, pattern: &Pattern) {
        self.keys[i * self.dim..(i + 1) * self.dim].copy_from_slice(&pattern.key);
        if let (Some(values), Some(dim), Some(value)) = (&mut self.values, self.value_dim, &pattern.value) {
            values[i * dim..(i + 1) * dim].copy_from_slice(value);
        }
        if let Some(bias) = &mut self.bias {
            bias[i] = pattern.bias;
        }
    }

    /// What is wrong with the rounding of the stored rows.
    pub fn wrong(&self, trial: &Trial) -> Option<String> {
        let case = &trial.case;
        if self.bias != case.bias {
            return Some("the biases that are stored are not those that were given".into());
        }
        let keys = (&self.keys[..], &case.keys[..], self.dim);
        let values = self.values.as_deref().zip(case.values.as_deref()).zip(self.value_dim);
        let all = [Some(keys), values.map(|((stored, given), dim)| (stored, given, dim))];
        for (stored, given, dim) in all.into_iter().flatten() {
            for (i, (stored, given)) in stored.chunks(dim).zip(given.chunks(dim)).enumerate() {
                if trial.removed.contains(&i) {
                    continue;
                }
                let largest = given.iter().fold(0.0f64, |most, x| most.max(f64::from(x.abs())));
                for (stored, given) in stored.iter().zip(given) {
                    let given = f64::from(*given);
                    let off = match case.precision {
                        Precision::F32 => 0.0,
                        // Half a unit of eleven bits, or of the denormals.
                        Precision::F16 => (given.abs() / 2048.0).max(2.0f64.powi(-25)),
                        // Half a level, and the rounding of the scale, which may be flushed to zero.
                        Precision::I8 if largest < 127.5 * TINY => largest,
                        Precision::I8 => largest / 254.0 * 1.0001,
                    };
                    let error = (f64::from(*stored) - given).abs();
                    if error > off || error.is_nan() {
                        return Some(format!("pattern {i}: {given:e} is stored as {stored:e} ({:?})", case.precision));
                    }
                }
            }
        }
        None
    }
}

/// What may come of one update of one query.
pub struct Expected<'a> {
    trial: &'a Trial,
    store: &'a Store,
    query: usize,
    rule: Rule,
    /// Positions of the usable patterns; everything below is by place among them.
    usable: Vec<usize>,
    scores: Vec<f64>,
    errors: Vec<f64>,
    least: Vec<f64>,
    most: Vec<f64>,
    weights: Vec<f64>,
}

/// The largest of some numbers, none of which is NaN.
fn largest(of: &[f64]) -> f64 {
    of.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

impl<'a> Expected<'a> {
    /// The update of `state` for query `query`.
    pub fn new(trial: &'a Trial, store: &'a Store, query: usize, state: &[f32], rounded: bool) -> Self {
        let case = &trial.case;
        let (n, alive) = (case.patterns(), trial.alive());
        let keeps = |i: usize| case.keep.as_ref().is_none_or(|keep| keep[query * n + i]);
        let usable: Vec<usize> = (0..n).filter(|i| alive[*i] && keeps(*i)).collect();
        let state: Vec<f64> = state.iter().map(|x| f64::from(*x)).collect();
        let (mut scores, mut errors) = (Vec::new(), Vec::new());
        for i in &usable {
            let (score, error) = Self::score(store, case.rule, *i, &state, rounded);
            scores.push(score);
            errors.push(error);
        }
        // Top-k counts what is stored, usable or not, but keeps no more than is usable.
        let weights = separate(case.rule.separation, &scores);
        let mut expected = Self {
            trial,
            store,
            query,
            rule: case.rule,
            least: vec![0.0; usable.len()],
            most: vec![0.0; usable.len()],
            usable,
            scores,
            errors,
            weights,
        };
        expected.bound();
        expected
    }

    /// The score of pattern `i`, and how far it may be off.
    fn score(store: &Store, rule: Rule, i: usize, x: &[f64], rounded: bool) -> (f64, f64) {
        let key: Vec<f64> = store.keys[i * store.dim..(i + 1) * store.dim].iter().map(|k| f64::from(*k)).collect();
        let s = similarity(rule.similarity, x, &key);
        let beta = f64::from(rule.beta);
        let bias = store.bias.as_ref().map_or(0.0, |bias| f64::from(bias[i]));
        let pairs = || x.iter().zip(&key);
        let norm = |row: &[f64]| row.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
        let (terms, moved) = match rule.similarity {
            Similarity::Dot => (pairs().map(|(x, k)| (x * k).abs()).sum(), 0.0),
            Similarity::Cosine => {
                // The norms round, too.
                let terms: f64 = pairs().map(|(x, k)| (x * k).abs()).sum();
                (2.0 * terms / (norm(x) * norm(&key)), 0.0)
            }
            // The state's own rounding counts for more than that of the terms where keys are near and far from zero.
            Similarity::Euclidean => {
                (-s, pairs().map(|(x, k)| (x - k).abs() * x.abs() * U + (x * U) * (x * U)).sum::<f64>())
            }
            Similarity::Manhattan => (-s, pairs().map(|(x, _)| x.abs() * U).sum::<f64>()),
        };
        let moved = if rounded { moved } else { 0.0 };
        let error = U * (x.len() as f64 + 16.0) * beta.abs() * terms
            + 4.0 * U * ((beta * s).abs() + bias.abs())
            + beta.abs() * moved;
        // Elements, products, and the score itself.
        let sum = |row: &[f64]| row.iter().map(|x| x.abs()).sum::<f64>();
        let d = x.len() as f64;
        let flushed = match rule.similarity {
            Similarity::Dot => d + sum(x) + sum(&key),
            Similarity::Cosine => (d + sum(x) / norm(x) + sum(&key)) / norm(&key) + d / norm(x),
            Similarity::Euclidean => d + 2.0 * pairs().map(|(x, k)| (x - k).abs()).sum::<f64>(),
            Similarity::Manhattan => 2.0 * d,
        };
        let flushed = if store.flushes { TINY * (1.0 + beta.abs() * flushed) } else { 0.0 };
        (beta * s + bias + 0.0, error + flushed)
    }

    /// Relative rounding of the weight of the pattern at place `i`, beside that of its score.
    fn relative(&self, i: usize) -> f64 {
        let far = match self.rule.separation {
            // The pattern of score zero may be the largest.
            Separation::Softmax1 => largest(&self.scores).max(0.0),
            _ => largest(&self.scores),
        } - self.scores[i];
        EPSILON * (32.0 + 3.0 * far + self.usable.len() as f64 / 2.0)
    }

    fn bound(&mut self) {
        let count = self.usable.len();
        if count == 0 {
            return;
        }
        match self.rule.separation {
            Separation::Softmax => self.bound_softmax(&vec![true; count], count, &[]),
            Separation::Softmax1 => self.bound_softmax(&vec![true; count], count, &[0.0]),
            Separation::TopK { k } => {
                let possible: Vec<bool> = (0..count).map(|i| self.rank(i).0 < k).collect();
                self.bound_softmax(&possible, k.min(count), &[]);
            }
            Separation::Sparsemax => self.bound_entmax(2.0),
            Separation::Entmax { alpha } => self.bound_entmax(f64::from(alpha)),
        }
        let heaviest = largest(&self.most);
        for i in 0..count {
            let relative = self.relative(i);
            if self.most[i] < LOST * heaviest {
                self.least[i] = 0.0;
            }
            self.least[i] = (self.least[i] * (1.0 - relative) - TINY).clamp(0.0, 1.0);
            self.most[i] = (self.most[i] * (1.0 + relative) + TINY).min(1.0 + 64.0 * EPSILON);
        }
    }

    /// How many patterns surely come before the one at place `i`, and how many may.
    fn rank(&self, i: usize) -> (usize, usize) {
        let (mut surely, mut maybe) = (0, 0);
        for j in (0..self.usable.len()).filter(|j| *j != i) {
            if self.same(i, j) {
                let before = usize::from(j < i);
                surely += before;
                maybe += before;
                continue;
            }
            surely += usize::from(self.scores[j] - self.errors[j] > self.scores[i] + self.errors[i]);
            maybe += usize::from(self.scores[j] + self.errors[j] >= self.scores[i] - self.errors[i]);
        }
        (surely, maybe)
    }

    /// Whether two patterns have one score for every query.
    fn same(&self, i: usize, j: usize) -> bool {
        let (a, b) = (self.usable[i], self.usable[j]);
        let key = |i: usize| &self.store.keys[i * self.store.dim..(i + 1) * self.store.dim];
        let bias = |i: usize| self.store.bias.as_ref().map_or(0.0, |bias| bias[i]);
        key(a) == key(b) && bias(a) == bias(b)
    }

    /// Softmax over `k` of the patterns that are `possible`, and some of exact scores.
    fn bound_softmax(&mut self, possible: &[bool], k: usize, exact: &[f64]) {
        let count = self.usable.len();
        let surely: Vec<bool> = (0..count).map(|i| possible[i] && (k == count || self.rank(i).1 < k)).collect();
        for i in (0..count).filter(|i| possible[*i]) {
            let (low, high) = (self.scores[i] - self.errors[i], self.scores[i] + self.errors[i]);
            let others = || (0..count).filter(|j| *j != i && possible[*j]);
            // Beside the largest others that there may be, and the least that there must be.
            let mut largest: Vec<f64> = others().map(|j| self.scores[j] + self.errors[j] - low).collect();
            largest.sort_by(|a, b| b.total_cmp(a));
            let mut sum = 1.0;
            sum += largest.iter().take(k - 1).map(|z| z.exp()).sum::<f64>();
            sum += exact.iter().map(|z| (z - low).exp()).sum::<f64>();
            self.least[i] = if surely[i] { 1.0 / sum } else { 0.0 };
            let mut least: Vec<f64> = Vec::new();
            let mut sum = 1.0;
            let mut missing = k - 1;
            for j in others() {
                let z = self.scores[j] - self.errors[j] - high;
                if surely[j] {
                    sum += z.exp();
                    missing = missing.saturating_sub(1);
                } else {
                    least.push(z);
                }
            }
            least.sort_by(f64::total_cmp);
            sum += least.iter().take(missing).map(|z| z.exp()).sum::<f64>();
            sum += exact.iter().map(|z| (z - high).exp()).sum::<f64>();
            self.most[i] = 1.0 / sum;
        }
    }

    fn bound_entmax(&mut self, alpha: f64) {
        let count = self.usable.len();
        let top = largest(&self.scores);
        let gain = alpha - 1.0;
        if alpha <= 2.0 {
            for i in 0..count {
                self.errors[i] += 16.0 * EPSILON * (1.0 + (self.scores[i] - top).abs().min(1.0 / gain));
            }
        }
        // What is too far below to have weight, whatever its rounding, moves nothing.
        let floor = (0..count).map(|i| self.scores[i] - self.errors[i]).fold(f64::NEG_INFINITY, f64::max) - 1.0 / gain;
        let near: Vec<usize> = (0..count).filter(|i| self.scores[*i] + self.errors[*i] >= floor).collect();
        if alpha <= 2.0 {
            // A weight moves with its score less than its score does, and the threshold by no more than the largest
            // error.
            let error = near.iter().map(|i| self.errors[*i]).fold(0.0, f64::max);
            let heaviest = largest(&self.weights);
            for &i in &near {
                let off = self.errors[i] + error;
                let moved = |by: f64| {
                    let p = self.weights[i];
                    if p > 0.0 {
                        // (p^gain + gain by)^(1/gain), relative to p.
                        let inner = gain * by * p.powf(-gain);
                        if inner <= -1.0 { 0.0 } else { p * (inner.ln_1p() / gain).exp() }
                    } else {
                        let inner = 1.0 + gain * (self.scores[i] - top + by) + (gain * heaviest.ln()).exp_m1();
                        if inner <= 0.0 { 0.0 } else { inner.powf(1.0 / gain) }
                    }
                };
                (self.least[i], self.most[i]) = (moved(-off), moved(off).min(1.0));
            }
            return;
        }
        // The slope of a small weight is without bound: each by itself.
        for (place, &i) in near.iter().enumerate() {
            let shifted = |own: f64, others: f64| {
                let scores: Vec<f64> = near
                    .iter()
                    .map(|j| self.scores[*j] + self.errors[*j] * if *j == i { own } else { others })
                    .collect();
                separate(self.rule.separation, &scores)[place]
            };
            let (least, most) = (shifted(-1.0, 1.0), shifted(1.0, -1.0));
            (self.least[i], self.most[i]) = (least, most);
        }
    }

    /// Whether this status may be.
    pub fn status(&self, got: Status) -> Result<(), String> {
        let expected = if self.usable.is_empty() { Status::NothingLeft } else { Status::Answered };
        if got == expected { Ok(()) } else { Err(format!("status {got:?} of {} usable patterns", self.usable.len())) }
    }

    /// The least and the largest of `sum_i p_i v_i` for one column of rows.
    fn range(&self, column: &[f64]) -> (f64, f64) {
        let mut rows: Vec<(f64, f64, f64)> =
            column.iter().zip(&self.least).zip(&self.most).map(|((v, least), most)| (*v, *least, *most)).collect();
        rows.sort_by(|a, b| a.0.total_cmp(&b.0));
        let sum: f64 = rows.iter().map(|(v, least, _)| v * least).sum();
        let taken: f64 = rows.iter().map(|(_, least, _)| least).sum();
        // What softmax1 gives to no pattern goes to none: there, rows are taken as far as they serve.
        let all = self.rule.separation != Separation::Softmax1;
        let extreme = |rows: &mut dyn Iterator<Item = &(f64, f64, f64)>, serves: &dyn Fn(f64) -> bool| {
            let (mut sum, mut left) = (sum, (1.0 - taken).max(0.0));
            for (v, least, most) in rows.filter(|(v, ..)| all || serves(*v)) {
                let more = (most - least).min(left).max(0.0);
                sum += more * v;
                left -= more;
            }
            sum
        };
        let rounding = {
            let mass: f64 = rows.iter().map(|(v, _, most)| (v * most.min(1.0)).abs()).sum();
            let largest = rows.iter().fold(0.0f64, |most, (v, ..)| most.max(v.abs()));
            let count = rows.len() as f64;
            EPSILON * (16.0 + count / 2.0) * mass.min(2.0 * largest) + TINY * (count + 1.0)
        };
        let least = extreme(&mut rows.iter(), &|v| v < 0.0);
        let most = extreme(&mut rows.iter().rev(), &|v| v > 0.0);
        (least - rounding, most + rounding)
    }

    fn within(&self, rows: &[f32], columns: usize, c: usize, got: f32) -> Result<(), String> {
        let column: Vec<f64> = self.usable.iter().map(|i| f64::from(rows[i * columns + c])).collect();
        let (least, most) = if column.is_empty() { (0.0, 0.0) } else { self.range(&column) };
        let value = f64::from(got);
        if got.is_finite() && value >= least && value <= most {
            return Ok(());
        }
        let exact: f64 = column.iter().zip(&self.weights).map(|(v, p)| v * p).sum();
        Err(format!("column {c} is {got:e}, not within {least:e} and {most:e}, the reference has {exact:e}"))
    }

    /// Whether this state may be.
    pub fn state(&self, got: &[f32]) -> Result<(), String> {
        let dim = self.store.dim;
        if got.len() != dim {
            return Err(format!("{} columns", got.len()));
        }
        for (c, got) in got.iter().enumerate() {
            let known = self.trial.case.clamp.as_ref().is_some_and(|clamp| clamp[self.query * dim + c]);
            if known && !self.usable.is_empty() {
                let given = self.trial.case.query(self.query)[c];
                // Zero has one sign or the other.
                if *got != given {
                    return Err(format!("column {c} is clamped to {given:e} and is {got:e}"));
                }
                continue;
            }
            self.within(&self.store.keys, dim, c, *got)?;
        }
        Ok(())
    }

    /// Whether this output may be.
    pub fn output(&self, got: &[f32]) -> Result<(), String> {
        let (rows, columns) = match (&self.store.values, self.store.value_dim) {
            (Some(values), Some(columns)) => (values, columns),
            _ => (&self.store.keys, self.store.dim),
        };
        if got.len() != columns {
            return Err(format!("{} columns", got.len()));
        }
        got.iter().enumerate().try_for_each(|(c, got)| self.within(rows, columns, c, *got))
    }

    /// Holds the largest change of a coordinate against the two states. It saturates.
    pub fn change(before: &[f32], after: &[f32], got: f32) -> Result<(), String> {
        let moves = before.iter().zip(after).map(|(a, b)| (f64::from(*b) - f64::from(*a)).abs());
        let change = moves.fold(0.0, f64::max);
        let size = before.iter().chain(after).fold(0.0f64, |most, x| most.max(f64::from(x.abs())));
        // Either state is known up to its rounding.
        let off = 4.0 * EPSILON * size + TINY;
        let saturated = change + off > f64::from(f32::MAX) && got == f32::MAX;
        if saturated || (f64::from(got) - change).abs() <= off {
            return Ok(());
        }
        Err(format!("{got:e} instead of {change:e}"))
    }

    /// The weights of all positions.
    pub fn weights(&self, got: &[f32]) -> Result<(), String> {
        let mut places = self.usable.iter().enumerate().peekable();
        let mut sum = 0.0;
        for (position, got) in got.iter().enumerate() {
            match places.next_if(|(_, i)| **i == position) {
                Some((place, _)) => self.weight(place, *got)?,
                None if *got == 0.0 => {}
                None => return Err(format!("pattern {position} is not usable and has weight {got:e}")),
            }
            sum += f64::from(*got);
        }
        let off = EPSILON * (64.0 + self.usable.len() as f64);
        let right = match self.rule.separation {
            _ if self.usable.is_empty() => sum == 0.0,
            Separation::Softmax1 => sum <= 1.0 + off,
            _ => (sum - 1.0).abs() <= off,
        };
        if right { Ok(()) } else { Err(format!("the weights sum to {sum}")) }
    }

    fn weight(&self, place: usize, got: f32) -> Result<(), String> {
        let (least, most, position) = (self.least[place], self.most[place], self.usable[place]);
        if f64::from(got) >= least && f64::from(got) <= most {
            return Ok(());
        }
        let exact = self.weights[place];
        Err(format!(
            "the weight of pattern {position} is {got:e}, not within {least:e} and {most:e}, the reference has \
             {exact:e}"
        ))
    }

    /// The patterns of largest weight, of which `asked` were asked for. The id of a pattern is its position.
    pub fn top(&self, asked: usize, ids: &[Option<PatternId>], weights: &[f32]) -> Result<(), String> {
        let count = asked.min(self.trial.case.patterns());
        let there = count.min(self.usable.len());
        if ids.len() != count || weights.len() != count {
            return Err(format!("{} top patterns instead of {count}", ids.len()));
        }
        let mut places = Vec::new();
        for (rank, (id, weight)) in ids.iter().zip(weights).enumerate() {
            if rank >= there {
                if id.is_some() || *weight != 0.0 {
                    return Err(format!("rank {rank} of {there} is pattern {id:?} with {weight:e}"));
                }
                continue;
            }
            let place = self.usable.iter().position(|i| *id == Some(PatternId(*i as u64)));
            let Some(place) = place.filter(|place| !places.contains(place)) else {
                return Err(format!("rank {rank} is pattern {id:?}, which is not usable or comes twice"));
            };
            self.weight(place, *weight)?;
            if rank > 0 && *weight > weights[rank - 1] {
                return Err(format!("rank {rank} has more weight than the one before"));
            }
            places.push(place);
        }
        for (rank, place) in places.iter().enumerate() {
            // Nothing of what comes later, or not at all, comes surely before.
            for other in (0..self.usable.len()).filter(|other| !places[..=rank].contains(other)) {
                let before = match self.same(*place, other) {
                    true => other < *place,
                    false => self.scores[other] - self.errors[other] > self.scores[*place] + self.errors[*place],
                };
                if before {
                    let (position, other) = (self.usable[*place], self.usable[other]);
                    return Err(format!("rank {rank} is pattern {position} although {other} comes before it"));
                }
            }
        }
        Ok(())
    }

    /// Whether these statistics may be.
    pub fn statistics(&self, got: &Statistics) -> Result<(), String> {
        // Weights that a flush to zero, or the smallest numbers, make nothing of.
        let surely = self.least.iter().filter(|p| **p > TINY).count();
        // An exponential is above zero, however small the number that holds it.
        let maybe = match self.rule.separation {
            Separation::Softmax | Separation::Softmax1 => self.usable.len(),
            Separation::TopK { k } => k.min(self.usable.len()),
            _ => self.most.iter().filter(|p| **p > TINY).count(),
        };
        if (got.support as usize) < surely || got.support as usize > maybe {
            return Err(format!("a support of {}, not within {surely} and {maybe}", got.support));
        }
        let (least, most) =
            (self.least.iter().copied().fold(0.0, f64::max), self.most.iter().copied().fold(0.0, f64::max));
        let value = f64::from(got.largest);
        if !(least..=most).contains(&value) {
            return Err(format!("a largest weight of {value:e}, not within {least:e} and {most:e}"));
        }
        // -p ln p rises up to 1/e and falls beyond it.
        let term = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
        let peak = (-1.0f64).exp();
        let (mut low, mut high) = (0.0, 0.0);
        for (least, most) in self.least.iter().zip(&self.most) {
            let (a, b) = (term(*least), term(most.min(1.0)));
            low += a.min(b);
            high += if *least < peak && *most > peak { term(peak) } else { a.max(b) };
        }
        let rounding = EPSILON * (64.0 + self.usable.len() as f64);
        let value = f64::from(got.perplexity);
        let nothing = self.usable.is_empty() && value == 0.0;
        // A softmax1 may weigh nothing: then there is nothing to be perplexed about.
        let scale = 1.0 + rounding * (1.0 + high.abs());
        if !nothing && !(low.exp() / scale - rounding..=high.exp() * scale + rounding).contains(&value) {
            return Err(format!("a perplexity of {value}, not within {} and {}", low.exp(), high.exp()));
        }
        let stored = self.trial.alive().iter().filter(|alive| **alive).count() as f32;
        let kind = match got {
            Statistics { largest, .. } if *largest >= 0.99 => FixedPoint::Single,
            Statistics { perplexity, .. } if *perplexity >= stored / 2.0 => FixedPoint::Global,
            _ => FixedPoint::Metastable,
        };
        if kind == got.kind { Ok(()) } else { Err(format!("{:?} instead of {kind:?}", got.kind)) }
    }

    /// The energy of the state that came.
    pub fn energy(&self, state: &[f32], got: f64) -> Result<(), String> {
        let (trial, store) = (self.trial, self.store);
        let alive = trial.alive();
        let left: Vec<usize> = (0..alive.len()).filter(|i| alive[*i]).collect();
        let rows = |rows: &[f32], columns: usize| -> Vec<f32> {
            left.iter().flat_map(|i| &rows[i * columns..(i + 1) * columns]).copied().collect()
        };
        let (keys, n) = (rows(&store.keys, store.dim), trial.case.patterns());
        let bias = store.bias.as_ref().map(|bias| rows(bias, 1));
        let keep =
            trial.case.keep.as_ref().map(|keep| left.iter().map(|i| keep[self.query * n + i]).collect::<Vec<_>>());
        let problem = attractor::reference::Problem {
            bias: bias.as_deref(),
            keep: keep.as_deref(),
            ..attractor::reference::Problem::new(self.rule, store.dim, &keys)
        };
        let x: Vec<f64> = state.iter().map(|x| f64::from(*x)).collect();
        let expected = problem.energy(&x).ok_or("an energy of a rule that has none")?;
        if expected.is_infinite() {
            return if got == expected { Ok(()) } else { Err(format!("an energy of {got:e} instead of {expected:e}")) };
        }
        // Scores move the pooled term by no more than the largest of their errors, of those that may have weight.
        let of_state = Expected::new(trial, store, self.query, state, true);
        let (scores, errors) = (&of_state.scores, &of_state.errors);
        let mut moved = 0.0f64;
        for i in (0..scores.len()).filter(|i| of_state.most[*i] > TINY) {
            moved = moved.max(errors[i] + EPSILON * 32.0 * (1.0 + scores[i].abs()));
        }
        let beta = f64::from(self.rule.beta).abs();
        let count = (left.len() as f64 + 1.0).ln();
        let mut off = (moved + EPSILON * 32.0 * (1.0 + count)) / beta;
        if self.rule.similarity == Similarity::Dot {
            let square = |row: &[f32]| row.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>();
            let largest = keys.chunks(store.dim).map(square).fold(0.0, f64::max);
            off += EPSILON * (store.dim as f64 + 16.0) * (square(state) + largest) + TINY;
        }
        if (got - expected).abs() <= off {
            return Ok(());
        }
        Err(format!("an energy of {got:e}, not within {off:e} of {expected:e}"))
    }
}
