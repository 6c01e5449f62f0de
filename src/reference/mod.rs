//! The oracle: plain `f64` loops over the formulas, too simple to be wrong, slow, and sharing no code with the engines
//! that it judges.
//!
//! ```text
//! z_i = beta * similarity(x, k_i) + b_i      similarity
//! p   = separation(z)                        separation
//! x'  = sum_i p_i k_i,  y = sum_i p_i v_i    projection
//! ```
//!
//! ```
//! use attractor::{Rule, reference::Problem};
//! let keys = [1.0, 0.0, 0.0, 1.0]; // two patterns of two dimensions
//! let answer = Problem::new(Rule::softmax(8.0), 2, &keys).retrieve(&[0.9, 0.1], 1);
//! assert!(answer.weights[0] > 0.99);
//! ```

mod projection;
mod separation;
mod similarity;

pub use projection::project;
pub use separation::separate;
pub use similarity::similarity;

use crate::rule::Rule;

/// Everything that one retrieval depends on, besides the query.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// Similarity, separation and beta.
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
    /// `max |x' - x|` of the last step.
    pub change: f64,
}

impl<'a> Problem<'a> {
    /// A problem with neither values, bias nor mask.
    pub fn new(rule: Rule, dim: usize, keys: &'a [f32]) -> Self {
        Self { rule, dim, keys, values: None, bias: None, keep: None }
    }

    /// The number of patterns.
    pub fn patterns(&self) -> usize {
        self.keys.len() / self.dim
    }

    /// The scores of state `x`, one per pattern.
    pub fn scores(&self, x: &[f64]) -> Vec<f64> {
        let mut scores = Vec::with_capacity(self.patterns());
        for i in 0..self.patterns() {
            let key: Vec<f64> = self.keys[i * self.dim..(i + 1) * self.dim].iter().map(|&k| f64::from(k)).collect();
            let mut z = f64::from(self.rule.beta) * similarity(self.rule.similarity, x, &key);
            if let Some(bias) = self.bias {
                z += f64::from(bias[i]);
            }
            if let Some(keep) = self.keep
                && !keep[i]
            {
                z = f64::NEG_INFINITY;
            }
            scores.push(z);
        }
        scores
    }

    /// `steps` updates (at least one) from `query`.
    pub fn retrieve(&self, query: &[f32], steps: u32) -> Answer {
        let mut x: Vec<f64> = query.iter().map(|&q| f64::from(q)).collect();
        let mut scores = Vec::new();
        let mut weights = Vec::new();
        let mut change = 0.0;
        for _ in 0..steps {
            scores = self.scores(&x);
            weights = separate(self.rule.separation, &scores);
            let next = project(&weights, self.keys, self.dim);
            change = 0.0;
            for c in 0..self.dim {
                change = f64::max(change, (next[c] - x[c]).abs());
            }
            x = next;
        }
        let output = match self.values {
            Some(values) => project(&weights, values, values.len() / self.patterns()),
            None => x.clone(),
        };
        Answer { output, state: x, weights, scores, change }
    }
}
