//! What is asked of a retrieval, and when it stops.

use super::bound::Bound;
use super::per_query::PerQuery;
use super::top::{MAX_TOP, Thresholds};
use crate::error::{Error, Result};
use crate::mask::{Mask, MemoryExtent};
use crate::room::copy;
use crate::rule::{Rule, Separation, Similarity};
use crate::strategy::{Faults, Overrides};

/// When the iteration `x <- x'` stops.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
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

/// The tolerance under which [`Retrieval::converged`](crate::Retrieval::converged) is judged when [`Stop::Steps`] names
/// none.
pub const DEFAULT_TOLERANCE: f32 = 1e-4;

/// Queries whose weights are reported in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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
    pub(crate) stop: Stop,
    pub(crate) energy: bool,
    pub(crate) trace: bool,
    pub(crate) top: usize,
    pub(crate) thresholds: Thresholds,
    pub(crate) statistics: bool,
    pub(crate) weights: WeightsOf,
    pub(crate) mask: Option<Mask>,
    pub(crate) clamp: Option<Vec<bool>>,
    pub(crate) per_query: PerQuery,
    pub(crate) plan_for: Option<usize>,
    pub(crate) round_to_half: bool,
    /// What tests and measurements set ([`internals`](crate::internals)).
    pub(crate) overrides: Overrides,
    pub(crate) faults: Faults,
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
            thresholds: Thresholds::default(),
            statistics: false,
            weights: WeightsOf::None,
            mask: None,
            clamp: None,
            per_query: PerQuery::default(),
            plan_for: None,
            round_to_half: false,
            overrides: Overrides::default(),
            faults: Faults::NONE,
        }
    }

    /// Stop when no coordinate moves by more than `tolerance`, or after `max_steps` updates.
    pub fn converge(max_steps: u32, tolerance: f32) -> Self {
        Self { stop: Stop::Converge { max_steps, tolerance }, ..Self::default() }
    }

    /// Stops as `stop` says; by default after one update.
    pub fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    /// Reports the energy of the last state ([`Retrieval::energy`](crate::Retrieval::energy)).
    pub fn energy(mut self) -> Self {
        self.energy = true;
        self
    }

    /// Reports the energy of every state from the query on
    /// ([`Retrieval::energy_trace`](crate::Retrieval::energy_trace)); on a GPU of at most 2^20 states.
    pub fn trace(mut self) -> Self {
        self.trace = true;
        self
    }

    /// Reports this many patterns of largest weight ([`Retrieval::top`](crate::Retrieval::top)), at most [`MAX_TOP`];
    /// none at 0, the default.
    pub fn top(mut self, patterns: usize) -> Self {
        self.top = patterns;
        self
    }

    /// Of the patterns that [`RetrieveOptions::top`] asks for, reports those alone of at least this weight, and how
    /// many patterns have it, reported or not ([`Top::found`](crate::retrieval::Top::found)): at least 1/1024, so that
    /// no more than [`MAX_TOP`] patterns can have it, and at most 1.
    ///
    /// ```
    /// use attractor::{Device, Memory, PatternId, RetrieveOptions, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(2.0))?;
    /// memory.add(&[1.0, 0.0, 0.9, 0.1, 0.0, 1.0])?;
    /// let options = RetrieveOptions::default().top(1).weight_at_least(0.25);
    /// let top = memory.retrieve_blocking(&[1.0, 0.0], &options)?.top.unwrap();
    /// assert_eq!((top.ids, top.found), (vec![Some(PatternId(0))], Some(vec![2]))); // weights 0.51, 0.42 and 0.07
    /// # Ok::<(), attractor::Error>(())
    /// ```
    pub fn weight_at_least(mut self, weight: f32) -> Self {
        self.thresholds.weight = Some(weight);
        self
    }

    /// Of the patterns that [`RetrieveOptions::top`] asks for, reports those alone of at least this similarity
    /// ([`Top::similarity`](crate::retrieval::Top::similarity)), and how many these are
    /// ([`Top::found`](crate::retrieval::Top::found)). For dot and cosine similarity.
    ///
    /// Patterns that are not among those of largest weight are not looked at: under biases and a beta below 0 they may
    /// be more similar. [`Memory::search`](crate::Memory::search) finds and counts all of a similarity.
    pub fn at_least(mut self, similarity: f32) -> Self {
        self.thresholds.similarity = Some(Bound::AtLeast(similarity));
        self
    }

    /// As [`RetrieveOptions::at_least`], those alone within this distance: for euclidean similarity, of which it is the
    /// square `|x - k|^2`, and for manhattan similarity.
    pub fn at_most(mut self, distance: f32) -> Self {
        self.thresholds.similarity = Some(Bound::AtMost(distance));
        self
    }

    /// Reports support, perplexity, largest weight and the kind of fixed point
    /// ([`Retrieval::statistics`](crate::Retrieval::statistics)).
    pub fn statistics(mut self) -> Self {
        self.statistics = true;
        self
    }

    /// Reports the weights in full for these queries ([`Retrieval::weights`](crate::Retrieval::weights)); by default
    /// for none.
    pub fn weights(mut self, of: WeightsOf) -> Self {
        self.weights = of;
        self
    }

    /// Uses only the patterns that `mask` keeps; by default all.
    pub fn mask(mut self, mask: Mask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Keeps the coordinates of `known`, `B x d` flags, row-major, as the query has them in every state.
    pub fn clamp(mut self, known: &[bool]) -> Self {
        self.clamp = Some(known.to_vec());
        self
    }

    /// Chooses kernels, tiles and splits as for a batch of this many queries instead of the batch at hand. With it held
    /// fixed, a query gives the same bits alone as in any batch (on one device, with one memory). At least 1.
    pub fn plan_for(mut self, batch: usize) -> Self {
        self.plan_for = Some(batch);
        self
    }

    /// Lets queries and weights be rounded to halves (11 bits) where cooperative matrices multiply them, which halves
    /// the products. It matters where a batch meets patterns that are stored as
    /// [`Precision::F16`](crate::Precision::F16) on a device with cooperative matrices; everything else stays as exact
    /// as it is.
    ///
    /// Without it, queries and weights go into such products as sums of two halves, and answers are as good as `f32`
    /// makes them. With it, a score `z_i` may be off by `e_i = 2^-11 |beta| sum_c |x_c k_ic|` more, and the output of
    /// one update, in each coordinate, by `(2^-10 + 2 max_i e_i) max|v|`.
    pub fn round_to_half(mut self) -> Self {
        self.round_to_half = true;
        self
    }

    /// When the retrieval stops.
    pub fn get_stop(&self) -> Stop {
        self.stop
    }

    /// Whether [`RetrieveOptions::energy`] was called.
    pub fn get_energy(&self) -> bool {
        self.energy
    }

    /// Whether [`RetrieveOptions::trace`] was called.
    pub fn get_trace(&self) -> bool {
        self.trace
    }

    /// What [`RetrieveOptions::top`] set.
    pub fn get_top(&self) -> usize {
        self.top
    }

    /// What [`RetrieveOptions::weight_at_least`] set.
    pub fn get_weight_at_least(&self) -> Option<f32> {
        self.thresholds.weight
    }

    /// What [`RetrieveOptions::at_least`] set.
    pub fn get_at_least(&self) -> Option<f32> {
        self.thresholds.similarity.and_then(Bound::at_least)
    }

    /// What [`RetrieveOptions::at_most`] set.
    pub fn get_at_most(&self) -> Option<f32> {
        self.thresholds.similarity.and_then(Bound::at_most)
    }

    /// Whether [`RetrieveOptions::statistics`] was called.
    pub fn get_statistics(&self) -> bool {
        self.statistics
    }

    /// What [`RetrieveOptions::weights`] set.
    pub fn get_weights(&self) -> &WeightsOf {
        &self.weights
    }

    /// What [`RetrieveOptions::mask`] set.
    pub fn get_mask(&self) -> Option<&Mask> {
        self.mask.as_ref()
    }

    /// What [`RetrieveOptions::clamp`] set.
    pub fn get_clamp(&self) -> Option<&[bool]> {
        self.clamp.as_deref()
    }

    /// What [`RetrieveOptions::plan_for`] set.
    pub fn get_plan_for(&self) -> Option<usize> {
        self.plan_for
    }

    /// Whether [`RetrieveOptions::round_to_half`] was called.
    pub fn get_round_to_half(&self) -> bool {
        self.round_to_half
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

    /// Whether states are something else than the outputs of a memory, which has values if `values`.
    pub(crate) fn states_apart(&self, rule: &Rule, values: bool) -> bool {
        values || self.clamp.is_some() || self.per_query.field.is_some() || !rule.update.is_plain()
    }

    /// Whether a query stops before the cap once it has converged.
    pub(crate) fn stops_early(&self) -> bool {
        matches!(self.stop, Stop::Converge { .. })
    }

    /// A copy, or an error where the host has no room for the flags and queries that it lists.
    pub(crate) fn try_clone(&self, operation: &'static str) -> Result<Self> {
        let Self { stop, energy, trace, top, thresholds, statistics, plan_for, round_to_half, .. } = *self;
        Ok(Self {
            stop,
            energy,
            trace,
            top,
            thresholds,
            statistics,
            weights: match &self.weights {
                WeightsOf::None => WeightsOf::None,
                WeightsOf::All => WeightsOf::All,
                WeightsOf::Queries(queries) => WeightsOf::Queries(copy(operation, "weights", queries)?),
            },
            mask: self.mask.clone(),
            clamp: self.clamp.as_deref().map(|clamp| copy(operation, "clamp", clamp)).transpose()?,
            per_query: self.per_query.try_clone(operation)?,
            plan_for,
            round_to_half,
            overrides: self.overrides.clone(),
            faults: self.faults.clone(),
        })
    }

    /// How many patterns of largest weight are listed of `patterns`, so that all that are reported or counted are.
    pub(crate) fn listed(&self, patterns: usize) -> usize {
        self.thresholds.listed(self.top).min(patterns)
    }

    /// Refuses options that do not fit a batch of `batch` queries against `memory`, whose similarity this is.
    pub(crate) fn validate(
        &self,
        operation: &'static str,
        batch: usize,
        similarity: Similarity,
        memory: &MemoryExtent,
    ) -> Result<()> {
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
        self.thresholds.check(operation, self.top, similarity)?;
        check_plan_for(operation, self.plan_for)?;
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
        self.per_query.validate(operation, batch, memory)?;
        if let WeightsOf::Queries(queries) = &self.weights
            && let Some(query) = queries.iter().find(|query| **query >= batch)
        {
            return refuse("weights", "positions within the batch", query.to_string());
        }
        Ok(())
    }

    /// Refuses reports that are not defined under `rule`: what is told of weights as a distribution, where they are none,
    /// and the patterns of largest weight, where these are not those of largest score.
    pub(crate) fn check_rule(&self, operation: &'static str, rule: &Rule) -> Result<()> {
        let separation = rule.separation;
        let even = matches!(separation, Separation::Power { n } if n.is_multiple_of(2));
        let what = match () {
            () if separation.is_normalized() => return Ok(()),
            () if self.statistics => "statistics of",
            () if self.thresholds.weight.is_some() => "a least weight among",
            () if self.top > 0 && even => "the largest of",
            () => return Ok(()),
        };
        let what = format!("the option for {what} the weights of {separation}, which are not those of a distribution,");
        Err(Error::Unsupported { operation, what })
    }

    /// Refuses reports: `operation` writes to buffers of the caller's, which have no place for them.
    pub(crate) fn without_reports(&self, operation: &'static str) -> Result<()> {
        let reports = [
            ("energy", self.energy),
            ("trace", self.trace),
            ("top", self.top > 0),
            ("weight_at_least", self.thresholds.weight.is_some()),
            (self.thresholds.similarity.map_or("at_least", Bound::name), self.thresholds.similarity.is_some()),
            ("statistics", self.statistics),
            ("weights", self.weights != WeightsOf::None),
        ];
        match reports.iter().find(|(_, asked)| *asked) {
            None => Ok(()),
            Some((name, _)) => {
                let what = format!(
                    "the option `{name}`: buffers of the caller's have no place for that report \
                     (Memory::record_readback and Memory::job bring it to the host), which"
                );
                Err(Error::Unsupported { operation, what })
            }
        }
    }
}

/// Refuses a plan for no query.
///
/// # Errors
/// [`Error::Parameter`].
pub(crate) fn check_plan_for(operation: &'static str, batch: Option<usize>) -> Result<()> {
    match batch {
        Some(0) => {
            let (parameter, expected, got) = ("plan_for", "at least 1", "0".into());
            Err(Error::Parameter { operation, parameter, expected, got })
        }
        _ => Ok(()),
    }
}
