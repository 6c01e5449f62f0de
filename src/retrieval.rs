//! What is asked of a retrieval, when it stops, and what it reports.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::gpu::plan::choice::Hints;
use crate::id::PatternId;
use crate::mask::Mask;
use crate::room::{copy, elements, room, zeros};
use crate::store::{Layout, Names};

/// When the iteration `x <- x'` stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    /// After exactly this many updates, at least 1; on a GPU at most 1,048,575.
    Steps(u32),
    /// As soon as `max |x' - x| <= tolerance`, or after `max_steps` updates. Each query stops by itself.
    Converge {
        /// The cap on updates, at least 1; on a GPU at most 1,048,575.
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
    /// Report the energy of every state from the query on ([`Retrieval::energy_trace`]); on a GPU of at most 2^20
    /// states.
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

    /// A copy, or an error where the host has no room for the flags and queries that it lists.
    pub(crate) fn try_clone(&self, operation: &'static str) -> Result<Self> {
        let Self { stop, energy, trace, top, statistics, plan_for, round_to_half, .. } = *self;
        Ok(Self {
            stop,
            energy,
            trace,
            top,
            statistics,
            weights: match &self.weights {
                WeightsOf::None => WeightsOf::None,
                WeightsOf::All => WeightsOf::All,
                WeightsOf::Queries(queries) => WeightsOf::Queries(copy(operation, "weights", queries)?),
            },
            mask: self.mask.clone(),
            clamp: self.clamp.as_deref().map(|clamp| copy(operation, "clamp", clamp)).transpose()?,
            plan_for,
            round_to_half,
            hints: self.hints.clone(),
        })
    }

    /// Refuses options that do not fit a batch of `batch` queries against `memory`.
    pub(crate) fn validate(&self, operation: &'static str, batch: usize, memory: &Facing) -> Result<()> {
        let refuse = |parameter, expected, got: String| Err(Error::Parameter { operation, parameter, expected, got });
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
            mask.check(operation, batch, memory)?;
        }
        if let Some(clamp) = &self.clamp
            && batch.checked_mul(memory.dim) != Some(clamp.len())
        {
            let flags = batch as u128 * memory.dim as u128;
            return Err(Error::Shape {
                operation,
                expected: format!("a clamp of {batch} x {} = {flags} flags", memory.dim),
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

    /// Refuses reports: `operation` writes to buffers of the caller's, which have no place for them.
    pub(crate) fn without_reports(&self, operation: &'static str) -> Result<()> {
        let reports = [
            ("energy", self.energy),
            ("trace", self.trace),
            ("top", self.top > 0),
            ("statistics", self.statistics),
            ("weights", self.weights != WeightsOf::None),
        ];
        match reports.iter().find(|(_, asked)| *asked) {
            None => Ok(()),
            Some((name, _)) => {
                let what = format!(
                    "the option `{name}`: buffers of the caller's have no place for that report \
                     (Memory::record_answers and Memory::job bring it to the host), which"
                );
                Err(Error::Unsupported { operation, what })
            }
        }
    }
}

/// What a memory has that options must fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facing {
    pub dim: usize,
    /// Positions in use.
    pub patterns: usize,
    /// What the positions mean.
    pub generation: u64,
}

/// The queries whose weights are asked for.
#[derive(Clone, Debug)]
pub(crate) enum Weighed {
    None,
    All,
    /// With the place of each in the order that was asked for; by rising query, then place.
    Some(Vec<(usize, usize)>),
}

impl Weighed {
    pub fn new(operation: &'static str, weights: &WeightsOf) -> Result<Self> {
        Ok(match weights {
            WeightsOf::None => Self::None,
            WeightsOf::All => Self::All,
            WeightsOf::Queries(queries) => {
                let mut places = room(operation, "weights", queries.len())?;
                places.extend(queries.iter().enumerate().map(|(place, query)| (*query, place)));
                places.sort_unstable();
                Self::Some(places)
            }
        })
    }

    /// Those of `part`, with their places, by rising query.
    pub fn of(&self, part: Range<usize>) -> impl Iterator<Item = (usize, usize)> + '_ {
        let (all, some): (_, &[(usize, usize)]) = match self {
            Self::None => (0..0, &[]),
            Self::All => (part, &[]),
            Self::Some(places) => {
                let before = |end: usize| places.partition_point(|(query, _)| *query < end);
                (0..0, &places[before(part.start)..before(part.end)])
            }
        };
        all.map(|query| (query, query)).chain(some.iter().copied())
    }

    /// The first place of `query`, if it is asked for.
    pub fn place(&self, query: usize) -> Option<usize> {
        self.of(query..query + 1).next().map(|(_, place)| place)
    }

    /// For each query that is asked for again: the first place, and the other.
    pub fn repeated(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let some: &[(usize, usize)] = if let Self::Some(places) = self { places } else { &[] };
        some.chunk_by(|a, b| a.0 == b.0).flat_map(|same| same[1..].iter().map(|(_, place)| (same[0].1, *place)))
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
    /// The query has a coordinate beyond the range in which the device computes right answers, which depends on the
    /// keys, the biases and beta: the output and the state are zero, and reports of weights mean nothing. Only of
    /// queries in a caller's buffer; others are refused with [`Error::Range`](crate::Error::Range), which names the
    /// range.
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

/// The patterns of largest weight of every query, in falling order of weight (of score, where weights are equal; then of
/// rising position).
///
/// ```
/// use attractor::{Device, Memory, PatternId, RetrieveOptions, Rule};
/// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(4.0))?;
/// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
/// let options = RetrieveOptions::default().top(1);
/// let top = memory.retrieve_with_blocking(&[0.2, 0.9], &options)?.top.unwrap();
/// assert_eq!(top.ids, [Some(PatternId(1))]);
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Top {
    /// Patterns per query: what was asked for, or `N` where there are fewer.
    pub k: usize,
    /// `B x k` patterns, as the retrieval saw the memory: what is removed or added later changes none of them. `None`
    /// where fewer than `k` patterns are stored or left by the mask.
    pub ids: Vec<Option<PatternId>>,
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
    /// The weights of the last step, `N` for each query asked for, in that order. [`Retrieval::id_at`] tells which
    /// pattern the weight at a position is of.
    pub weights: Option<Vec<f32>>,
    /// The pattern at each position, as the retrieval saw the memory.
    pub(crate) names: Names,
}

impl Retrieval {
    /// A retrieval of `batch` queries without answers, and with room for everything that `options` ask for.
    pub(crate) fn with_room(
        operation: &'static str,
        layout: &Layout,
        batch: usize,
        patterns: usize,
        names: &Names,
        options: &RetrieveOptions,
    ) -> Result<Self> {
        fn rows<T>(operation: &'static str, what: &'static str, asked: bool, length: usize) -> Result<Option<Vec<T>>> {
            asked.then(|| room(operation, what, length)).transpose()
        }
        let (dim, value_dim) = (layout.dim, layout.output_dim());
        let k = options.top.min(patterns);
        let weighed = match &options.weights {
            WeightsOf::None => None,
            WeightsOf::All => Some(batch),
            WeightsOf::Queries(queries) => Some(queries.len()),
        };
        let top = match options.top {
            0 => None,
            _ => Some(Top {
                k,
                ids: room(operation, "top patterns", elements(batch, k))?,
                weight: room(operation, "top patterns", elements(batch, k))?,
            }),
        };
        Ok(Self {
            batch,
            dim,
            value_dim,
            patterns,
            output: room(operation, "outputs", elements(batch, value_dim))?,
            state: room(operation, "states", elements(batch, dim))?,
            steps: room(operation, "steps", batch)?,
            change: room(operation, "changes", batch)?,
            converged: room(operation, "convergence", batch)?,
            status: room(operation, "statuses", batch)?,
            clamped: options.clamp.is_some(),
            energy: rows(operation, "energies", options.energy, batch)?,
            energy_trace: rows(operation, "energies", options.trace, batch)?,
            top,
            statistics: rows(operation, "statistics", options.statistics, batch)?,
            weights: weighed.map(|rows| zeros(operation, "weights", elements(rows, patterns))).transpose()?,
            names: names.clone(),
        })
    }

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
