//! What is asked of a retrieval, when it stops, and what it reports.

use crate::error::{Error, Result};
use crate::gpu::plan::Hints;

/// When the iteration `x <- x'` stops.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Stop {
    /// After exactly this many updates, at least 1.
    Steps(u32),
    /// As soon as `max |x' - x| <= tolerance`, or after `max_steps` updates.
    Converge {
        /// The cap on updates, at least 1.
        max_steps: u32,
        /// The largest change of a coordinate that counts as none, above 0.
        tolerance: f32,
    },
}

/// The tolerance under which [`Retrieval::converged`] is judged when [`Stop::Steps`] names none.
pub const DEFAULT_TOLERANCE: f32 = 1e-4;

/// Options of one retrieval.
///
/// ```
/// use attractor::RetrieveOptions;
/// let options = RetrieveOptions::steps(3);
/// # let _ = options;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RetrieveOptions {
    /// When to stop; one update by default.
    pub stop: Stop,
    /// Choose kernels, tiles and splits as for a batch of this many queries instead of the batch at hand. With it held
    /// fixed, a query gives the same bits alone as in any batch (on one device, with one memory).
    pub plan_for: Option<usize>,
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
        Self { stop: Stop::Steps(steps), plan_for: None, hints: Hints::default() }
    }

    /// Stop when no coordinate moves by more than `tolerance`, or after `max_steps` updates.
    pub fn converge(max_steps: u32, tolerance: f32) -> Self {
        Self { stop: Stop::Converge { max_steps, tolerance }, ..Self::default() }
    }

    /// Sets [`RetrieveOptions::plan_for`].
    pub fn plan_for(mut self, batch: usize) -> Self {
        self.plan_for = Some(batch);
        self
    }

    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |parameter, expected, got: String| {
            Err(Error::Parameter { operation: "retrieve", parameter, expected, got })
        };
        match self.stop {
            Stop::Steps(0) => refuse("steps", "at least 1", "0".into()),
            Stop::Converge { max_steps: 0, .. } => refuse("max_steps", "at least 1", "0".into()),
            Stop::Converge { tolerance, .. } if !(tolerance > 0.0 && tolerance.is_finite()) => {
                refuse("tolerance", "finite and above 0", tolerance.to_string())
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn tolerance(&self) -> f32 {
        match self.stop {
            Stop::Steps(_) => DEFAULT_TOLERANCE,
            Stop::Converge { tolerance, .. } => tolerance,
        }
    }
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
    /// `y = sum_i p_i v_i`, from the weights of the last step; `B x dv`, row-major.
    pub output: Vec<f32>,
    /// The last state `x' = sum_i p_i k_i`; `B x d`, row-major.
    pub state: Vec<f32>,
    /// Updates done, per query.
    pub steps: Vec<u32>,
    /// `max |x' - x|` of the last update, per query.
    pub change: Vec<f32>,
    /// Whether `change` is within the tolerance ([`DEFAULT_TOLERANCE`] under [`Stop::Steps`]), per query.
    pub converged: Vec<bool>,
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
