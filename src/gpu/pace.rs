//! What a slice is expected to take, and what is learned from what it took.

use std::sync::Arc;

use super::context::Context;
use super::pipelines::Pipeline;
use super::schedule::Compiled;

/// The most that one measurement changes a pace by. A slice may have been held up by what has nothing to do with it.
const CHANGE: [f64; 2] = [0.7, 4.0];
/// How far a pace may get from the first guess; whatever is beyond was not measured right.
const RANGE: f64 = 1e4;
/// Of a slice's expected time, the part that has to be work rather than overhead for it to tell a pace.
const TELLING: f64 = 0.2;

/// What the dispatches of a slice are expected to take.
pub(crate) struct Expected {
    /// Seconds of work by pipeline, without overhead.
    work: Vec<(Arc<Pipeline>, f64)>,
    seconds: f64,
    overhead: f64,
    /// Whether they do all that they may do.
    certain: bool,
    first: f64,
}

impl Expected {
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
            certain: dispatches.iter().all(|call| !call.data_dependent),
            first: context.first_pace(),
        }
    }

    /// What the slice is expected to take.
    pub fn seconds(&self) -> f64 {
        self.seconds
    }

    /// Learns from what the slice took: each pipeline's pace moves by its share of the work. What may have had nothing to
    /// do tells nothing by being quick.
    pub fn learn(&self, took: f64) {
        let expected = self.seconds - self.overhead;
        let ratio = (took - self.overhead) / expected;
        if !ratio.is_finite() || took <= 0.0 || expected < TELLING * self.seconds || (ratio < 1.0 && !self.certain) {
            return;
        }
        let ratio = ratio.clamp(CHANGE[0], CHANGE[1]);
        for (pipeline, seconds) in &self.work {
            let pace = pipeline.pace.get().unwrap_or(self.first) * ratio.powf(seconds / expected);
            pipeline.pace.set(pace.clamp(self.first / RANGE, self.first * RANGE));
        }
    }
}
