//! How long a slice is estimated to take, and how its measured time corrects the rates of its kernels.

use std::sync::Arc;

use super::context::Context;
use super::pipelines::Pipeline;
use super::schedule::Compiled;

/// The smallest and the largest factor by which one measurement changes a rate. Other work may have delayed the slice.
const MAX_CHANGE: [f64; 2] = [0.7, 4.0];
/// The largest ratio of a rate and its initial guess, either way; measurements beyond it are wrong.
const MAX_RATIO: f64 = 1e4;
/// The least share of work, rather than overhead, in the estimate of a slice that corrects rates.
const MIN_WORK_SHARE: f64 = 0.2;

/// The estimate for the dispatches of a slice.
pub(crate) struct Estimate {
    /// Seconds of work by pipeline, without overhead.
    work: Vec<(Arc<Pipeline>, f64)>,
    seconds: f64,
    overhead: f64,
    /// Whether the work may be less, depending on the data.
    data_dependent: bool,
    initial_rate: f64,
}

impl Estimate {
    pub fn new(context: &Context, dispatches: &[Compiled]) -> Self {
        let mut work: Vec<(Arc<Pipeline>, f64)> = Vec::new();
        for call in dispatches {
            let seconds = (call.estimate - context.overhead()).max(0.0);
            match work.iter_mut().find(|(pipeline, _)| Arc::ptr_eq(pipeline, &call.pipeline)) {
                Some((_, sum)) => *sum += seconds,
                None => work.push((call.pipeline.clone(), seconds)),
            }
        }
        Self {
            work,
            seconds: dispatches.iter().map(|call| call.estimate).sum(),
            overhead: context.overhead() * dispatches.len() as f64,
            data_dependent: dispatches.iter().any(|call| call.data_dependent),
            initial_rate: context.initial_rate(),
        }
    }

    /// The seconds that the slice is estimated to take.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Corrects the rate of each pipeline, in proportion to its share of the work, by the seconds that the slice took.
    /// A slice whose work depends on the data does not raise a rate: it may have had little to do.
    pub fn learn(&self, took: f64) {
        let expected = self.seconds - self.overhead;
        let ratio = (took - self.overhead) / expected;
        if !ratio.is_finite()
            || took <= 0.0
            || expected < MIN_WORK_SHARE * self.seconds
            || (ratio < 1.0 && self.data_dependent)
        {
            return;
        }
        let ratio = ratio.clamp(MAX_CHANGE[0], MAX_CHANGE[1]);
        for (pipeline, seconds) in &self.work {
            let rate = pipeline.rate.get().unwrap_or(self.initial_rate) * ratio.powf(seconds / expected);
            pipeline.rate.set(rate.clamp(self.initial_rate / MAX_RATIO, self.initial_rate * MAX_RATIO));
        }
    }
}
