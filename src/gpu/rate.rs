//! How fast a kernel runs on a device: assumed from the kind of device until a job has timed it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::handles::Handles;

/// Seconds for one unit of work ([`Work::units`](super::dispatch::Work::units)) of one pipeline, once it has been
/// timed.
#[derive(Debug, Default)]
pub(crate) struct KernelRate(AtomicU64);

impl KernelRate {
    pub fn get(&self) -> Option<f64> {
        let seconds = f64::from_bits(self.0.load(Ordering::Relaxed));
        (seconds > 0.0).then_some(seconds)
    }

    pub fn set(&self, seconds: f64) {
        self.0.store(seconds.to_bits(), Ordering::Relaxed);
    }
}

impl Handles {
    /// Seconds for one unit of work of a kernel that was never timed. Too low a guess costs one late frame, too high a
    /// guess a few short slices.
    pub fn initial_rate(&self) -> f64 {
        let units_per_second = match self.adapter.device_type {
            wgpu::DeviceType::DiscreteGpu => 1e12,
            wgpu::DeviceType::IntegratedGpu | wgpu::DeviceType::VirtualGpu | wgpu::DeviceType::Other => 1e11,
            wgpu::DeviceType::Cpu => 5e8,
        };
        1.0 / units_per_second
    }

    /// Seconds that a dispatch takes besides its work.
    pub fn overhead(&self) -> f64 {
        match self.adapter.device_type {
            wgpu::DeviceType::Cpu => 20e-6,
            _ => 4e-6,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_unknown_until_it_is_set() {
        let rate = KernelRate::default();
        assert_eq!(rate.get(), None);
        rate.set(2.5e-10);
        assert_eq!(rate.get(), Some(2.5e-10));
    }
}
