//! What a retrieval reports.

use crate::id::PatternId;
use crate::store::Names;

/// What a query's answer is worth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// An answer.
    #[default]
    Answered,
    /// Every pattern is masked: the weights, the output and the state are zero.
    NothingLeft,
    /// The query has a NaN or an infinity, which could not be refused before it reached the device: the output and the
    /// state are zero, and reports of weights say nothing. Only of queries in a caller's buffer
    /// ([`Memory::record_readback`](crate::Memory::record_readback)).
    NotFinite,
    /// The output and the state are zero, and reports of weights mean nothing: a coordinate of the query is beyond the
    /// range in which the device computes right answers, which depends on the keys, the biases and beta; or an update
    /// took a coordinate of the state or of the output beyond the range of `f32`, and was the last. The first only of
    /// queries in a caller's buffer; others are refused with [`Error::Range`](crate::Error::Range), which names the
    /// range. The second only of rules whose sums can grow: weights that are not normalised, or updates that end with
    /// more than the sums.
    OutOfRange,
    /// An answer whose state comes back after two or more updates and would for ever: parallel updates of signs may end
    /// so. The state is that after the last update that was allowed ([`Stop::Converge`](crate::retrieval::Stop)), and
    /// the query stopped as soon as that was known. Only of rules whose states are discrete (activations `sign` and
    /// `argmax blocks`, without damping, temperature, blocks and schedule).
    Cycle,
}

/// The kinds of fixed point of Ramsauer et al., told from the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
pub struct Statistics {
    /// Patterns whose weight is above zero (in `f32`: for softmax, those within 103 of the largest score).
    pub support: u32,
    /// `exp(-sum_i p_i ln p_i)`: how many patterns the weights are spread over; 0 where none has weight.
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

/// The patterns of largest weight of every query, in falling order of weight (of score, where weights are equal; then
/// of rising position).
///
/// ```
/// use attractor::{Device, Memory, PatternId, RetrieveOptions, Rule};
/// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(4.0))?;
/// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
/// let options = RetrieveOptions::default().top(1);
/// let top = memory.retrieve_blocking(&[0.2, 0.9], &options)?.top.unwrap();
/// assert_eq!(top.ids, [Some(PatternId(1))]);
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Top {
    /// Patterns per query: what was asked for, or `N` where there are fewer.
    pub k: usize,
    /// `B x k` patterns, as the retrieval saw the memory: what is removed or added later changes none of them. `None`
    /// where fewer than `k` patterns are stored, left by the mask, or meet the thresholds.
    pub ids: Vec<Option<PatternId>>,
    /// `B x k` weights. 0 where there is no pattern.
    pub weight: Vec<f32>,
    /// `B x k` similarities with the state that the last step started from, as those of [`Hits`](crate::Hits): dot
    /// products or cosines, or distances, squared under euclidean similarity. 0 where there is no pattern.
    pub similarity: Vec<f32>,
    /// How many patterns meet the thresholds, per query, if there is one: with
    /// [`RetrieveOptions::weight_at_least`](crate::RetrieveOptions::weight_at_least) of all patterns, otherwise of the
    /// `k` of largest weight.
    pub found: Option<Vec<u64>>,
}

/// The answers to one batch of `B` queries against `N` patterns of `d` dimensions (values: `dv`).
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
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
    /// Whether `change` is within the tolerance ([`DEFAULT_TOLERANCE`](crate::retrieval::DEFAULT_TOLERANCE) under
    /// [`Stop::Steps`](crate::retrieval::Stop::Steps)), per query.
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
    /// The weights of the last step, `N` for each query asked for, in that order. [`Retrieval::id_at`] tells which
    /// pattern the weight at a position is of.
    pub weights: Option<Vec<f32>>,
    /// The pattern at each position, as the retrieval saw the memory.
    pub(crate) names: Names,
}

impl Retrieval {
    /// The pattern that was at `position` when the retrieval saw the memory: whose weight is at `position` of each row
    /// of
    /// [`Retrieval::weights`]. What is removed or added later does not change it. `None` where no pattern was.
    pub fn id_at(&self, position: usize) -> Option<PatternId> {
        self.names.id(position)
    }

    /// The output of query `b`, `dv` long.
    ///
    /// # Panics
    /// If `b` is not below [`Retrieval::batch`].
    pub fn output_row(&self, b: usize) -> &[f32] {
        &self.output[b * self.value_dim..(b + 1) * self.value_dim]
    }

    /// The last state of query `b`, `d` long.
    ///
    /// # Panics
    /// If `b` is not below [`Retrieval::batch`].
    pub fn state_row(&self, b: usize) -> &[f32] {
        &self.state[b * self.dim..(b + 1) * self.dim]
    }
}
