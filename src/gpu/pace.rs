//! How fast kernels go on a device: first taken from what kind of device it is, then from what jobs were timed at.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::context::Context;
use super::kernel::Pipeline;
use super::record::Call;

/// No dispatch is expected to take longer, unless a host says otherwise: three frames, far from any watchdog.
pub(super) const DISPATCH_BOUND: Duration = Duration::from_millis(50);
/// The most that one measurement changes a pace by. A slice may have been held up by what has nothing to do with it.
const CHANGE: [f64; 2] = [0.7, 4.0];
/// How far a pace may get from the first guess; whatever is beyond was not measured right.
const RANGE: f64 = 1e4;
/// Of a slice's expected time, the part that has to be work rather than overhead for it to tell a pace.
const TELLING: f64 = 0.2;

/// Seconds for one unit of work ([`Work::units`](super::record::Work::units)) of one pipeline, as far as it is known.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU64);

impl Pace {
    pub fn get(&self) -> Option<f64> {
        let seconds = f64::from_bits(self.0.load(Ordering::Relaxed));
        (seconds > 0.0).then_some(seconds)
    }

    fn set(&self, seconds: f64) {
        self.0.store(seconds.to_bits(), Ordering::Relaxed);
    }
}

impl Context {
    /// The pace of a kernel that was never timed. A guess that is too fast costs one late frame, one that is too slow a
    /// few short slices.
    pub fn first_pace(&self) -> f64 {
        let units_per_second = match self.adapter.device_type {
            wgpu::DeviceType::DiscreteGpu => 1e12,
            wgpu::DeviceType::IntegratedGpu | wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => 1e11,
            wgpu::DeviceType::Cpu => 5e8,
        };
        1.0 / units_per_second
    }

    /// Seconds of a dispatch that does nothing.
    pub fn overhead(&self) -> f64 {
        match self.adapter.device_type {
            wgpu::DeviceType::Cpu => 20e-6,
            _ => 4e-6,
        }
    }

    /// The longest that one dispatch is expected to take.
    pub fn dispatch_bound(&self) -> Duration {
        Duration::from_nanos(self.dispatch_bound.load(Ordering::Relaxed))
    }

    /// Sets the longest that one dispatch is expected to take.
    pub fn set_dispatch_bound(&self, bound: Duration) {
        self.dispatch_bound.store(bound.as_nanos().clamp(1, u64::MAX.into()) as u64, Ordering::Relaxed);
    }
}

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
    pub fn new(context: &Context, calls: &[Call]) -> Self {
        let mut work: Vec<(Arc<Pipeline>, f64)> = Vec::new();
        for call in calls {
            let seconds = (call.estimate - context.overhead()).max(0.0);
            match work.iter_mut().find(|(pipeline, _)| Arc::ptr_eq(pipeline, &call.pipeline)) {
                Some((_, sum)) => *sum += seconds,
                None => work.push((call.pipeline.clone(), seconds)),
            }
        }
        Self {
            work,
            seconds: calls.iter().map(|call| call.estimate).sum(),
            overhead: context.overhead() * calls.len() as f64,
            certain: calls.iter().all(|call| call.certain),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_as_it_is_set() {
        let pace = Pace::default();
        assert_eq!(pace.get(), None);
        pace.set(2.5e-10);
        assert_eq!(pace.get(), Some(2.5e-10));
    }
}
