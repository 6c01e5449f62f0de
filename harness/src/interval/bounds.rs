//! What may come of one update: scores, weights and thresholds between bounds.

use attractor::reference::{separate, similarity};
use attractor::{Rule, Separation, Similarity};

use crate::trial::Trial;

use super::store::Store;
use super::{EPSILON, LOST, TINY, U};

/// What may come of one update of one query.
pub struct Expected<'a> {
    pub(super) trial: &'a Trial,
    pub(super) store: &'a Store,
    pub(super) query: usize,
    pub(super) rule: Rule,
    /// Positions of the usable patterns; everything below is by place among them.
    pub(super) usable: Vec<usize>,
    pub(super) scores: Vec<f64>,
    pub(super) errors: Vec<f64>,
    pub(super) least: Vec<f64>,
    pub(super) most: Vec<f64>,
    pub(super) weights: Vec<f64>,
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
            other => unreachable!("{other} is of another version"),
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
            other => unreachable!("{other} is of another version"),
        };
        let flushed = if store.flushes { TINY * (1.0 + beta.abs() * flushed) } else { 0.0 };
        (beta * s + bias + 0.0, error + flushed)
    }

    /// Relative rounding of the weight of the pattern at place `i`, beside that of its score.
    pub(super) fn relative(&self, i: usize) -> f64 {
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
            other => unreachable!("{other} is of another version"),
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
    pub(super) fn rank(&self, i: usize) -> (usize, usize) {
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
    pub(super) fn same(&self, i: usize, j: usize) -> bool {
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
}
