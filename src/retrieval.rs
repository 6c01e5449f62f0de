//! What is asked of a retrieval, when it stops, and what it reports.

use crate::error::{Error, Result};
use crate::gpu::plan::Hints;
use crate::mask::Mask;

/// When the iteration `x <- x'` stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    /// After exactly this many updates, at least 1.
    Steps(u32),
    /// As soon as `max |x' - x| <= tolerance`, or after `max_steps` updates. Each query stops by itself.
    Converge {
        /// The cap on updates, at least 1.
        max_steps: u32,
        /// The largest change of a coordinate that counts as none, above 0.
        tolerance: f32,
    },
}

/// The tolerance under which [`Retrieval::converged`] is judged when [`Stop::Steps`] names none.
pub const DEFAULT_TOLERANCE: f32 = 1e-4;
/// The most patterns that [`RetrieveOptions::top`] may ask for.
pub const MAX_TOP: usize = 1024;

/// Queries whose weights are reported in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WeightsOf {
    /// None.
    #[default]
    None,
    /// Every query: `B x N` weights leave the device.
    All,
    /// These, by position in the batch.
    Queries(Vec<usize>),
}

/// Options of one retrieval.
///
/// ```
/// use attractor::RetrieveOptions;
/// let options = RetrieveOptions::converge(50, 1e-5).statistics().top(3).energy();
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes or no of its own")]
pub struct RetrieveOptions {
    /// When to stop; one update by default.
    pub stop: Stop,
    /// Report the energy of the last state ([`Retrieval::energy`]).
    pub energy: bool,
    /// Report the energy of every state from the query on ([`Retrieval::energy_trace`]).
    pub trace: bool,
    /// Report this many patterns of largest weight ([`Retrieval::top`]), at most [`MAX_TOP`]; none at 0.
    pub top: usize,
    /// Report support, perplexity, largest weight and the kind of fixed point ([`Retrieval::statistics`]).
    pub statistics: bool,
    /// Report the weights in full for these queries ([`Retrieval::weights`]).
    pub weights: WeightsOf,
    /// Which patterns may be used; all when absent.
    pub mask: Option<Mask>,
    /// `B x d` flags, row-major: coordinates that are known and stay as the query has them in every state.
    pub clamp: Option<Vec<bool>>,
    /// Choose kernels, tiles and splits as for a batch of this many queries instead of the batch at hand. With it held
    /// fixed, a query gives the same bits alone as in any batch (on one device, with one memory).
    pub plan_for: Option<usize>,
    /// Let queries and weights be rounded to halves (11 bits) where cooperative matrices multiply them, which halves the
    /// products: [`RetrieveOptions::round_to_half`].
    pub round_to_half: bool,
    /// Overrides of the plan, for tests and measurements; every setting gives a right answer.
    #[doc(hidden)]
    pub hints: Hints,
}

impl Default for RetrieveOptions {
    fn default() -> Self {
        Self::steps(1)
    }
}

impl RetrieveOptions {
    /// Stop after `steps` updates.
    pub fn steps(steps: u32) -> Self {
        Self {
            stop: Stop::Steps(steps),
            energy: false,
            trace: false,
            top: 0,
            statistics: false,
            weights: WeightsOf::None,
            mask: None,
            clamp: None,
            plan_for: None,
            round_to_half: false,
            hints: Hints::default(),
        }
    }

    /// Stop when no coordinate moves by more than `tolerance`, or after `max_steps` updates.
    pub fn converge(max_steps: u32, tolerance: f32) -> Self {
        Self { stop: Stop::Converge { max_steps, tolerance }, ..Self::default() }
    }

    /// Sets [`RetrieveOptions::energy`].
    pub fn energy(mut self) -> Self {
        self.energy = true;
        self
    }

    /// Sets [`RetrieveOptions::trace`].
    pub fn trace(mut self) -> Self {
        self.trace = true;
        self
    }

    /// Sets [`RetrieveOptions::top`].
    pub fn top(mut self, patterns: usize) -> Self {
        self.top = patterns;
        self
    }

    /// Sets [`RetrieveOptions::statistics`].
    pub fn statistics(mut self) -> Self {
        self.statistics = true;
        self
    }

    /// Sets [`RetrieveOptions::weights`].
    pub fn weights(mut self, of: WeightsOf) -> Self {
        self.weights = of;
        self
    }

    /// Sets [`RetrieveOptions::mask`].
    pub fn mask(mut self, mask: Mask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Sets [`RetrieveOptions::clamp`].
    pub fn clamp(mut self, known: &[bool]) -> Self {
        self.clamp = Some(known.to_vec());
        self
    }

    /// Sets [`RetrieveOptions::plan_for`].
    pub fn plan_for(mut self, batch: usize) -> Self {
        self.plan_for = Some(batch);
        self
    }

    /// Sets [`RetrieveOptions::round_to_half`]. It matters where a batch meets patterns that are stored as
    /// [`Precision::F16`](crate::Precision::F16) on a device with cooperative matrices; everything else stays as exact as
    /// it is.
    ///
    /// Without it, queries and weights go into such products as sums of two halves, and answers are as good as `f32` makes
    /// them. With it, a score `z_i` may be off by `e_i = 2^-11 |beta| sum_c |x_c k_ic|` more, and the output of one update,
    /// in each coordinate, by `(2^-10 + 2 max_i e_i) max|v|`.
    pub fn round_to_half(mut self) -> Self {
        self.round_to_half = true;
        self
    }

    /// The cap on updates.
    pub(crate) fn max_steps(&self) -> u32 {
        match self.stop {
            Stop::Steps(steps) => steps,
            Stop::Converge { max_steps, .. } => max_steps,
        }
    }

    pub(crate) fn tolerance(&self) -> f32 {
        match self.stop {
            Stop::Steps(_) => DEFAULT_TOLERANCE,
            Stop::Converge { tolerance, .. } => tolerance,
        }
    }

    /// Whether a query stops before the cap once it has converged.
    pub(crate) fn stops_early(&self) -> bool {
        matches!(self.stop, Stop::Converge { .. })
    }

    /// The queries whose weights are asked for, in order.
    pub(crate) fn weight_queries(&self, batch: usize) -> Vec<usize> {
        match &self.weights {
            WeightsOf::None => Vec::new(),
            WeightsOf::All => (0..batch).collect(),
            WeightsOf::Queries(queries) => queries.clone(),
        }
    }

    /// Whether the weights of query `b` are asked for.
    pub(crate) fn weighs(&self, b: usize) -> bool {
        match &self.weights {
            WeightsOf::None => false,
            WeightsOf::All => true,
            WeightsOf::Queries(queries) => queries.contains(&b),
        }
    }

    /// Refuses options that do not fit a batch of `batch` queries of `dim` against `patterns`.
    pub(crate) fn validate(&self, batch: usize, dim: usize, patterns: usize) -> Result<()> {
        const OPERATION: &str = "Memory::retrieve";
        let refuse =
            |parameter, expected, got: String| Err(Error::Parameter { operation: OPERATION, parameter, expected, got });
        match self.stop {
            Stop::Steps(0) => return refuse("steps", "at least 1", "0".into()),
            Stop::Converge { max_steps: 0, .. } => return refuse("max_steps", "at least 1", "0".into()),
            Stop::Converge { tolerance, .. } if !(tolerance > 0.0 && tolerance.is_finite()) => {
                return refuse("tolerance", "finite and above 0", tolerance.to_string());
            }
            _ => {}
        }
        if self.top > MAX_TOP {
            return refuse("top", "at most 1024", self.top.to_string());
        }
        if let Some(mask) = &self.mask {
            mask.check(OPERATION, batch, patterns)?;
        }
        if let Some(clamp) = &self.clamp
            && clamp.len() != batch * dim
        {
            return Err(Error::Shape {
                operation: OPERATION,
                expected: format!("a clamp of {batch} x {dim} = {} flags", batch * dim),
                got: format!("{} flags", clamp.len()),
            });
        }
        if let WeightsOf::Queries(queries) = &self.weights
            && let Some(query) = queries.iter().find(|query| **query >= batch)
        {
            return refuse("weights", "positions within the batch", query.to_string());
        }
        Ok(())
    }
}

/// What a query's answer is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// An answer.
    #[default]
    Answered,
    /// Every pattern is masked: the weights, the output and the state are zero.
    NothingLeft,
    /// The query has a NaN or an infinity, which nobody could refuse before it reached the device: the output and the
    /// state are zero, and reports of weights say nothing. Only of queries in a caller's buffer
    /// ([`Memory::record_answers`](crate::Memory::record_answers)).
    NotFinite,
    /// The query has a coordinate beyond the range in which the device computes right answers, which depends on the keys,
    /// the biases and beta: the output and the state are zero, and reports of weights mean nothing. Only of queries in a
    /// caller's buffer; others are refused with [`Error::Range`](crate::Error::Range), which names the range.
    OutOfRange,
}

/// The kinds of fixed point of Ramsauer et al., told from the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FixedPoint {
    /// One pattern: the largest weight is at least 0.99.
    Single,
    /// An average over all: the perplexity is at least `N / 2`.
    Global,
    /// An average over some.
    Metastable,
}

/// What the weights of one query's last step look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Statistics {
    /// Patterns whose weight is above zero (in `f32`: for softmax, those within 103 of the largest score).
    pub support: u32,
    /// `exp(-sum_i p_i ln p_i)`: how many patterns the weights are spread over.
    pub perplexity: f32,
    /// The largest weight.
    pub largest: f32,
    /// What this makes of the state.
    pub kind: FixedPoint,
}

impl Statistics {
    /// Judges the kind against `patterns`, the number of patterns in the memory.
    pub(crate) fn new(support: u32, perplexity: f32, largest: f32, patterns: usize) -> Self {
        let kind = if largest >= 0.99 {
            FixedPoint::Single
        } else if perplexity >= patterns as f32 / 2.0 {
            FixedPoint::Global
        } else {
            FixedPoint::Metastable
        };
        Self { support, perplexity, largest, kind }
    }
}

/// The patterns of largest weight of every query, in falling order of weight (of score, where weights are equal; then of
/// rising index).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Top {
    /// Patterns per query: what was asked for, or `N` where there are fewer.
    pub k: usize,
    /// `B x k` positions of patterns; `u32::MAX` where fewer than `k` patterns are left by the mask.
    pub index: Vec<u32>,
    /// `B x k` weights.
    pub weight: Vec<f32>,
}

/// The answers to one batch of `B` queries against `N` patterns of `d` dimensions (values: `dv`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Retrieval {
    /// `B`, the number of queries.
    pub batch: usize,
    /// `d`, the width of a state.
    pub dim: usize,
    /// `dv`, the width of an output.
    pub value_dim: usize,
    /// `N`, the number of patterns.
    pub patterns: usize,
    /// `y = sum_i p_i v_i`, from the weights of the last step; `B x dv`, row-major.
    pub output: Vec<f32>,
    /// The last state `x' = sum_i p_i k_i`, clamped coordinates as in the query; `B x d`, row-major.
    pub state: Vec<f32>,
    /// Updates done, per query.
    pub steps: Vec<u32>,
    /// `max |x' - x|` of the last update, per query.
    pub change: Vec<f32>,
    /// Whether `change` is within the tolerance ([`DEFAULT_TOLERANCE`] under [`Stop::Steps`]), per query.
    pub converged: Vec<bool>,
    /// Whether there is an answer, per query.
    pub status: Vec<Status>,
    /// Whether coordinates were clamped: then a state is a fixed point of the clamped update only.
    pub clamped: bool,
    /// The energy of the last state, per query, if asked for.
    pub energy: Option<Vec<f64>>,
    /// The energies of the query and of every state after it, per query (`steps + 1` of them), if asked for.
    pub energy_trace: Option<Vec<Vec<f64>>>,
    /// The patterns of largest weight in the last step, if asked for.
    pub top: Option<Top>,
    /// What the weights of the last step look like, per query, if asked for.
    pub statistics: Option<Vec<Statistics>>,
    /// The weights of the last step, `N` for each query asked for, in that order.
    pub weights: Option<Vec<f32>>,
}

impl Retrieval {
    /// The output of query `b`, `dv` long.
    ///
    /// # Panics
    /// If `b` is not below [`Retrieval::batch`].
    pub fn output(&self, b: usize) -> &[f32] {
        &self.output[b * self.value_dim..(b + 1) * self.value_dim]
    }

    /// The last state of query `b`, `d` long.
    ///
    /// # Panics
    /// If `b` is not below [`Retrieval::batch`].
    pub fn state(&self, b: usize) -> &[f32] {
        &self.state[b * self.dim..(b + 1) * self.dim]
    }
}
