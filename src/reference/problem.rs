//! One query's updates.

use std::ops::Range;

use super::projection::project;
use super::similarity::similarity;
use crate::rule::{Next, Rule, Schedule};

/// Everything that one retrieval depends on, besides the query.
#[derive(Clone, Debug)]
pub struct Problem<'a> {
    /// Similarity, separation, beta and update.
    pub rule: Rule,
    /// `d`, the length of a key and of a query.
    pub dim: usize,
    /// `N x d`, row-major.
    pub keys: &'a [f32],
    /// `N x dv`, row-major; the keys themselves when absent.
    pub values: Option<&'a [f32]>,
    /// `N` scores to add, when present.
    pub bias: Option<&'a [f32]>,
    /// `N` flags, `true` where a pattern may be used; all when absent.
    pub keep: Option<&'a [bool]>,
    /// `d` flags, `true` where a coordinate stays as the query has it; none when absent.
    pub clamp: Option<&'a [bool]>,
    /// `d` numbers to add to the sums of every update, when present.
    pub field: Option<&'a [f32]>,
    /// Beta in place of the rule's, when present.
    pub beta: Option<f32>,
    /// The pattern that is left out, when present.
    pub exclude: Option<usize>,
    /// The positions of the patterns that may be used; all when absent.
    pub rows: Option<Range<usize>>,
    /// The number of the query in its batch, of which what is drawn by chance depends.
    pub number: u32,
}

/// What the reference computes for one query.
#[derive(Clone, Debug)]
pub struct Answer {
    /// `y`, from the weights of the last step.
    pub output: Vec<f64>,
    /// The last state.
    pub state: Vec<f64>,
    /// The weights of the last step, one per pattern.
    pub weights: Vec<f64>,
    /// The scores of the last step, one per pattern; `-inf` where masked.
    pub scores: Vec<f64>,
    /// `h` of the last step: what the activation was applied to. Empty where no pattern was left.
    pub local: Vec<f64>,
    /// `max |x' - x|` of the last step; where coordinates move in blocks, of the steps of the last sweep.
    pub change: f64,
    /// Updates done.
    pub steps: u32,
    /// The query and every state after it.
    pub states: Vec<Vec<f64>>,
}

impl<'a> Problem<'a> {
    /// A problem with neither values, bias, mask nor field.
    pub fn new(rule: Rule, dim: usize, keys: &'a [f32]) -> Self {
        Self {
            rule,
            dim,
            keys,
            values: None,
            bias: None,
            keep: None,
            clamp: None,
            field: None,
            beta: None,
            exclude: None,
            rows: None,
            number: 0,
        }
    }

    /// The number of patterns.
    pub fn patterns(&self) -> usize {
        self.keys.len() / self.dim
    }

    /// Beta in update number `step`, from 1.
    pub fn beta_of(&self, step: u32) -> f64 {
        let beta = f64::from(self.beta.unwrap_or(self.rule.beta));
        let Some(Schedule { last, steps }) = self.rule.update.schedule else { return beta };
        let ratio = f64::from(last) / f64::from(self.rule.beta);
        let share = if steps > 1 { f64::from(step.min(steps) - 1) / f64::from(steps - 1) } else { 1.0 };
        beta * ratio.powf(share)
    }

    /// The scores of state `x` at the beta of the first update, one per pattern.
    pub fn scores(&self, x: &[f64]) -> Vec<f64> {
        self.scores_of(x, 1)
    }

    /// The scores of state `x` in update number `step`, one per pattern.
    fn scores_of(&self, x: &[f64], step: u32) -> Vec<f64> {
        let mut scores = Vec::with_capacity(self.patterns());
        for i in 0..self.patterns() {
            let key: Vec<f64> = self.keys[i * self.dim..(i + 1) * self.dim].iter().map(|&k| f64::from(k)).collect();
            let mut z = self.beta_of(step) * similarity(self.rule.similarity, x, &key);
            if let Some(bias) = self.bias {
                z += f64::from(bias[i]);
            }
            if !self.uses(i) {
                z = f64::NEG_INFINITY;
            }
            // Zero has one sign, so that ties are ties.
            scores.push(z + 0.0);
        }
        scores
    }

    /// Whether the query may use pattern `i`.
    fn uses(&self, i: usize) -> bool {
        self.keep.is_none_or(|keep| keep[i])
            && self.exclude != Some(i)
            && self.rows.as_ref().is_none_or(|rows| rows.contains(&i))
    }

    /// `steps` updates (at least one) from `query`.
    pub fn retrieve(&self, query: &[f32], steps: u32) -> Answer {
        // No change is below zero, so none stops early.
        self.converge(query, steps, -1.0)
    }

    /// Updates from `query` until `max |x' - x| <= tolerance`, at most `max_steps` (at least one). States that come
    /// back are not looked for.
    pub fn converge(&self, query: &[f32], max_steps: u32, tolerance: f64) -> Answer {
        let mut x: Vec<f64> = query.iter().map(|&q| f64::from(q)).collect();
        let mut states = vec![x.clone()];
        let mut last = Step::default();
        let mut change = 0.0;
        let mut steps = 0;
        while steps < max_steps {
            last = self.step(&x, &x, steps + 1);
            if let (Some(clamp), false) = (self.clamp, last.local.is_empty()) {
                for c in 0..self.dim {
                    if clamp[c] {
                        last.next[c] = f64::from(query[c]);
                    }
                }
            }
            if steps.is_multiple_of(self.rule.update.blocks) {
                change = 0.0;
            }
            for (next, x) in last.next.iter().zip(&x) {
                change = f64::max(change, (next - x).abs());
            }
            x.clone_from(&last.next);
            states.push(x.clone());
            steps += 1;
            if change <= tolerance && steps.is_multiple_of(self.rule.update.blocks) {
                break;
            }
        }
        let Step { weights, scores, sum, local, .. } = last;
        let output = match self.values {
            Some(values) => project(&weights, values, values.len() / self.patterns()),
            None => sum,
        };
        Answer { output, state: x, weights, scores, local, change, steps, states }
    }

    /// Update number `step` of state `x`, from what `query` recalls. They are the same vector but in a network.
    pub(super) fn step(&self, query: &[f64], x: &[f64], step: u32) -> Step {
        let scores = self.scores_of(query, step);
        let coupling = self.self_coupling(&scores, step);
        let undivided = match (self.rule.update.next, self.values) {
            (Next::Values, Some(values)) => project(&coupling.weights, values, self.dim),
            _ => project(&coupling.weights, self.keys, self.dim),
        };
        let sum = undivided.iter().map(|sum| sum / coupling.divisor).collect();
        let weights = coupling.weights.iter().map(|weight| weight / coupling.divisor).collect();
        if scores.iter().all(|z| *z == f64::NEG_INFINITY) {
            return Step { weights, scores, sum, local: Vec::new(), next: vec![0.0; self.dim] };
        }
        let local = self.local(&undivided, &coupling, x);
        let next = self.advance(&local, x, step);
        Step { weights, scores, sum, local, next }
    }
}

/// One update.
#[derive(Default)]
pub(super) struct Step {
    pub weights: Vec<f64>,
    pub scores: Vec<f64>,
    /// The sums that go on.
    pub sum: Vec<f64>,
    /// `h`; empty where no pattern is left.
    pub local: Vec<f64>,
    pub next: Vec<f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_computed_convergence_and_clamp() {
        // Sparsemax at beta 10 takes one key whole at once, and stays.
        let rule = Rule::new(crate::Similarity::Dot, crate::Separation::Sparsemax, 10.0);
        let keys = [1.0, 0.0, 0.0, 1.0];
        let answer = Problem::new(rule, 2, &keys).converge(&[0.75, 0.25], 9, 1e-6);
        assert_eq!((answer.state, answer.steps, answer.change), (vec![1.0, 0.0], 2, 0.0));
        assert_eq!(answer.states, [[0.75, 0.25], [1.0, 0.0], [1.0, 0.0]]);
        // The first coordinate is held: the state keeps it, the output does not.
        let clamped = Problem { clamp: Some(&[true, false]), ..Problem::new(rule, 2, &keys) };
        let answer = clamped.retrieve(&[0.75, 0.25], 2);
        assert_eq!((answer.state, answer.output), (vec![0.75, 0.0], vec![1.0, 0.0]));
        let nothing = Problem { keep: Some(&[false, false]), ..clamped }.retrieve(&[0.75, 0.25], 1);
        assert_eq!((nothing.state, nothing.output, nothing.weights), (vec![0.0; 2], vec![0.0; 2], vec![0.0; 2]));
    }
}
