//! A problem with its queries, asked of a device and judged by the reference: of `attractor verify`, and of the tests.

use attractor::reference::{Answer, Problem};
use attractor::{Device, Mask, Memory, MemoryOptions, Patterns, Precision, Retrieval, RetrieveOptions, Rule};

/// A small generator with a name for its numbers: same seed, same numbers, on every platform (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    pub fn vector(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.unit()).collect()
    }
}

/// How far an `f32` answer may be from the reference for one query.
///
/// A score is a sum of `d` products: its rounding is at most a few epsilon times `|beta| sum_c |x_c k_c|`, and a score
/// that is off by `e` moves the output by at most `2 e max|v|`. The sums over `N` weights add a random walk of
/// roundings. So: `epsilon max|v| (32 + sqrt N + 8 kappa)` with `kappa = |beta| max_i sum_c |x_c k_ic|`, once a step.
pub fn bound(rule: Rule, dim: usize, keys: &[f32], values: &[f32], query: &[f32], steps: u32) -> f64 {
    let largest = |of: &[f32]| of.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let kappa = keys
        .chunks_exact(dim)
        .map(|key| key.iter().zip(query).map(|(k, x)| (f64::from(*k) * f64::from(*x)).abs()).sum::<f64>())
        .fold(0.0, f64::max)
        * f64::from(rule.beta.abs());
    let patterns = (keys.len() / dim) as f64;
    let largest = f64::from(largest(values).max(largest(keys)));
    f64::from(f32::EPSILON) * largest * (32.0 + patterns.sqrt() + 8.0 * kappa) * f64::from(steps)
}

/// The worst difference of two rows; infinite where one is longer, or is not a number.
pub fn worst(got: &[f32], expected: &[f64]) -> f64 {
    if got.len() != expected.len() {
        return f64::INFINITY;
    }
    // NaN must not be lost in a maximum.
    got.iter().zip(expected).fold(0.0, |most, (g, e)| {
        let error = (f64::from(*g) - e).abs();
        if error.is_nan() { f64::INFINITY } else { most.max(error) }
    })
}

/// A problem with its queries. Whatever is absent or empty is not used.
#[derive(Clone, Debug)]
pub struct Case {
    pub rule: Rule,
    pub dim: usize,
    pub value_dim: Option<usize>,
    pub keys: Vec<f32>,
    pub values: Option<Vec<f32>>,
    pub bias: Option<Vec<f32>>,
    /// `B x N`, true where that query may use that pattern.
    pub keep: Option<Vec<bool>>,
    /// `B x d`, true where a coordinate is known.
    pub clamp: Option<Vec<bool>>,
    pub precision: Precision,
    pub window_bytes: Option<u64>,
    pub queries: Vec<f32>,
    pub steps: u32,
    /// Stop early at this.
    pub tolerance: Option<f32>,
}

impl Case {
    pub fn random(seed: u64, batch: usize, patterns: usize, dim: usize, value_dim: Option<usize>, rule: Rule) -> Self {
        let mut numbers = Numbers(seed);
        Self {
            rule,
            dim,
            value_dim,
            keys: numbers.vector(patterns * dim),
            values: value_dim.map(|value_dim| numbers.vector(patterns * value_dim)),
            bias: None,
            keep: None,
            clamp: None,
            precision: Precision::F32,
            window_bytes: None,
            queries: numbers.vector(batch * dim),
            steps: 1,
            tolerance: None,
        }
    }

    pub fn batch(&self) -> usize {
        self.queries.len() / self.dim
    }

    pub fn patterns(&self) -> usize {
        self.keys.len() / self.dim
    }

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
            ..Problem::new(self.rule, self.dim, &self.keys)
        }
    }

    pub fn reference(&self, b: usize) -> Answer {
        match self.tolerance {
            None => self.problem(b).retrieve(self.query(b), self.steps),
            Some(tolerance) => self.problem(b).converge(self.query(b), self.steps, f64::from(tolerance)),
        }
    }

    /// The case's own options; whoever asks adds reports.
    pub fn options(&self) -> RetrieveOptions {
        let mut options = match self.tolerance {
            None => RetrieveOptions::steps(self.steps),
            Some(tolerance) => RetrieveOptions::converge(self.steps, tolerance),
        };
        options.mask = self.keep.as_deref().map(Mask::keep_per_query);
        options.clamp.clone_from(&self.clamp);
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
        memory.add_patterns(&Patterns {
            keys: &self.keys,
            values: self.values.as_deref(),
            bias: self.bias.as_deref(),
        })?;
        Ok(memory)
    }

    /// The worst error of the sampled queries as a share of its bound; right where it is at most 1. Keys are taken as they
    /// are: those of a store in fewer bits have to be what it rounds to.
    pub fn judge(&self, got: &Retrieval, sample: impl IntoIterator<Item = usize>) -> f64 {
        let shape = (got.batch, got.dim, got.value_dim);
        let counts = [got.steps.len(), got.converged.len(), got.change.len()];
        if shape != (self.batch(), self.dim, self.value_dim.unwrap_or(self.dim)) || counts != [got.batch; 3] {
            return f64::INFINITY;
        }
        let values = self.values.as_deref().unwrap_or(&self.keys);
        let mut share = 0.0f64;
        for b in sample {
            let expected = self.reference(b);
            let bound = bound(self.rule, self.dim, &self.keys, values, self.query(b), self.steps);
            let error = worst(got.output(b), &expected.output).max(worst(got.state(b), &expected.state));
            let change = worst(&got.change[b..=b], &[expected.change]);
            if got.steps[b] != expected.steps {
                return f64::INFINITY;
            }
            share = share.max(error / bound).max(change / (2.0 * bound));
        }
        share
    }
}
