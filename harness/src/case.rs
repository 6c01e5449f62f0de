//! A problem with its queries, retrieved on a device and judged by the reference.

use attractor::reference::{Answer, Problem};
use std::ops::Range;

use attractor::{
    Device, Mask, Memory, MemoryOptions, PatternId, Patterns, Precision, Retrieval, RetrieveOptions, Rule,
};
use attractor::{Update, retrieval::Status};

use crate::bound::{bound, worst};
use crate::rng::Rng;
use crate::update_bound::{sums_bound, update_share};

/// Rows to store, of which some parts may be absent.
pub fn patterns<'a>(keys: &'a [f32], values: Option<&'a [f32]>, bias: Option<&'a [f32]>) -> Patterns<'a> {
    let patterns = Patterns::new(keys);
    let patterns = values.map_or(patterns, |values| patterns.values(values));
    bias.map_or(patterns, |bias| patterns.bias(bias))
}

/// A problem with its queries. Whatever is absent or empty is not used.
#[derive(Clone, Debug)]
pub struct Case {
    /// The rule.
    pub rule: Rule,
    /// Coordinates of a key.
    pub dim: usize,
    /// Coordinates of a value, where values are not the keys.
    pub value_dim: Option<usize>,
    /// `N x d`.
    pub keys: Vec<f32>,
    /// `N x value_dim`.
    pub values: Option<Vec<f32>>,
    /// One for each pattern.
    pub bias: Option<Vec<f32>>,
    /// `B x N`, true where that query may use that pattern.
    pub keep: Option<Vec<bool>>,
    /// `B x d`, true where a coordinate is known.
    pub clamp: Option<Vec<bool>>,
    /// `B x d`, added to the sums of every update.
    pub field: Option<Vec<f32>>,
    /// `B`, in place of the rule's beta.
    pub betas: Option<Vec<f32>>,
    /// `B` positions of patterns that are left out.
    pub exclude: Option<Vec<Option<usize>>>,
    /// `B` ranges of positions that queries see.
    pub rows: Option<Vec<Range<usize>>>,
    /// How patterns are stored.
    pub precision: Precision,
    /// The largest window, in bytes.
    pub window_bytes: Option<u64>,
    /// `B x d`.
    pub queries: Vec<f32>,
    /// The number of updates, or the most of them.
    pub steps: u32,
    /// Stop early at this.
    pub tolerance: Option<f32>,
}

impl Case {
    /// A case of one update whose numbers are uniform in [-1, 1).
    pub fn random(seed: u64, batch: usize, patterns: usize, dim: usize, value_dim: Option<usize>, rule: Rule) -> Self {
        let mut rng = Rng(seed);
        Self {
            rule,
            dim,
            value_dim,
            keys: rng.vector(patterns * dim),
            values: value_dim.map(|value_dim| rng.vector(patterns * value_dim)),
            bias: None,
            keep: None,
            clamp: None,
            field: None,
            betas: None,
            exclude: None,
            rows: None,
            precision: Precision::F32,
            window_bytes: None,
            queries: rng.vector(batch * dim),
            steps: 1,
            tolerance: None,
        }
    }

    /// The number of queries.
    pub fn batch(&self) -> usize {
        self.queries.len() / self.dim
    }

    /// The number of patterns.
    pub fn patterns(&self) -> usize {
        self.keys.len() / self.dim
    }

    /// Query `b`.
    pub fn query(&self, b: usize) -> &[f32] {
        &self.queries[b * self.dim..(b + 1) * self.dim]
    }

    /// The same case as query `b` alone sees it.
    pub fn problem(&self, b: usize) -> Problem<'_> {
        let n = self.patterns();
        Problem {
            values: self.values.as_deref(),
            bias: self.bias.as_deref(),
            keep: self.keep.as_deref().map(|keep| &keep[b * n..(b + 1) * n]),
            clamp: self.clamp.as_deref().map(|clamp| &clamp[b * self.dim..(b + 1) * self.dim]),
            field: self.field.as_deref().map(|field| &field[b * self.dim..(b + 1) * self.dim]),
            beta: self.betas.as_ref().map(|betas| betas[b]),
            exclude: self.exclude.as_ref().and_then(|exclude| exclude[b]),
            rows: self.rows.as_ref().map(|rows| rows[b].clone()),
            number: b as u32,
            ..Problem::new(self.rule, self.dim, &self.keys)
        }
    }

    /// What the reference gives for query `b`.
    pub fn reference(&self, b: usize) -> Answer {
        match self.tolerance {
            None => self.problem(b).retrieve(self.query(b), self.steps),
            Some(tolerance) => self.problem(b).converge(self.query(b), self.steps, f64::from(tolerance)),
        }
    }

    /// The case's own options, without reports.
    pub fn options(&self) -> RetrieveOptions {
        let mut options = match self.tolerance {
            None => RetrieveOptions::steps(self.steps),
            Some(tolerance) => RetrieveOptions::converge(self.steps, tolerance),
        };
        if let Some(keep) = &self.keep {
            options = options.mask(Mask::keep_per_query(keep));
        }
        if let Some(known) = &self.clamp {
            options = options.clamp(known);
        }
        if let Some(field) = &self.field {
            options = options.field(field);
        }
        if let Some(betas) = &self.betas {
            options = options.betas(betas);
        }
        if let Some(exclude) = &self.exclude {
            // Ids of a memory that is filled once are positions.
            let ids: Vec<_> = exclude.iter().map(|position| position.map(|at| PatternId(at as u64))).collect();
            options = options.exclude(&ids);
        }
        if let Some(rows) = &self.rows {
            options = options.rows(rows);
        }
        options
    }

    /// The case's patterns on a device.
    pub fn build(&self, device: &Device) -> attractor::Result<Memory> {
        let mut options = MemoryOptions::new(self.dim, self.rule).precision(self.precision);
        if let Some(value_dim) = self.value_dim {
            options = options.value_dim(value_dim);
        }
        if self.bias.is_some() {
            options = options.bias();
        }
        if let Some(bytes) = self.window_bytes {
            options = options.window_bytes(bytes);
        }
        let mut memory = options.build(device)?;
        memory.add(patterns(&self.keys, self.values.as_deref(), self.bias.as_deref()))?;
        Ok(memory)
    }

    /// The worst error of the sampled queries as a share of its bound; right where it is at most 1. Keys are taken as
    /// they are: those of a store in fewer bits have to be what it rounds to.
    pub fn judge(&self, got: &Retrieval, sample: impl IntoIterator<Item = usize>) -> f64 {
        let shape = (got.batch, got.dim, got.value_dim);
        let counts = [got.steps.len(), got.converged.len(), got.change.len()];
        if shape != (self.batch(), self.dim, self.value_dim.unwrap_or(self.dim)) || counts != [got.batch; 3] {
            return f64::INFINITY;
        }
        let mut share = 0.0f64;
        for b in sample {
            let expected = self.reference(b);
            if self.is_wider() {
                let nothing_left = expected.local.is_empty() == (got.status[b] == Status::NothingLeft);
                if got.steps[b] != expected.steps || !nothing_left {
                    return f64::INFINITY;
                }
                share = share.max(update_share(self, b, &expected, got.output_row(b), got.state_row(b)));
                continue;
            }
            let bound = self.output_bound(b, &expected);
            let error = worst(got.output_row(b), &expected.output).max(worst(got.state_row(b), &expected.state));
            let change = worst(&got.change[b..=b], &[expected.change]);
            if got.steps[b] != expected.steps {
                return f64::INFINITY;
            }
            share = share.max(error / bound).max(change / (2.0 * bound));
        }
        share
    }

    /// Whether the answer is judged by the bounds of sums that are not normalised, and of what ends an update.
    fn is_wider(&self) -> bool {
        !self.rule.separation.is_normalized()
            || self.rule.update != Update::default()
            || self.betas.is_some()
            || self.field.is_some()
    }

    /// How far a coordinate of the output for query `b` may be from `expected`.
    pub fn output_bound(&self, b: usize, expected: &Answer) -> f64 {
        if self.is_wider() {
            return sums_bound(self, b, expected).output;
        }
        let values = self.values.as_deref().unwrap_or(&self.keys);
        bound(self.rule, self.dim, &self.keys, values, self.query(b), self.steps)
    }
}
