//! What the benches of retrievals have in common: where they run, which rows they measure, and medians of works that
//! alternate.

use std::time::Instant;

use attractor::device::{DeviceOptions, SoftwareAdapters};
use attractor::wgpu::Backends;
use attractor::{Device, Memory, MemoryOptions, Rule, Separation, Similarity};

use super::Result;
use crate::rng::Rng;

/// Coordinates of a pattern.
pub const DIM: usize = 384;

/// What the arguments of a bench say: `[cpu|vulkan [NAME]]`.
pub struct Place {
    /// The CPU engine, or a Vulkan adapter.
    pub device: Device,
    /// 100,000 patterns on the CPU engine, 16,384 on an adapter.
    pub patterns: usize,
    only: String,
}

impl Place {
    /// Opens the device, and prints it.
    pub fn from_args(rounds: usize) -> Result<Self> {
        // Cargo adds `--bench`.
        let mut args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
        let (device, patterns) = match args.next().as_deref() {
            None | Some("cpu") => (Device::cpu(), 100_000),
            Some("vulkan") => (vulkan()?, 16_384),
            Some(other) => return Err(format!("expected cpu or vulkan, got {other}").into()),
        };
        println!("{}, N = {patterns}, d = {DIM}, medians of {rounds}", device.info());
        Ok(Self { device, patterns, only: args.next().unwrap_or_default() })
    }

    /// Whether a row of this name is asked for.
    pub fn measures(&self, row: &str) -> bool {
        row.contains(&self.only)
    }

    /// Random patterns, compared by cosine at a beta of 20.
    pub fn memory(&self, separation: Separation) -> Result<Memory> {
        self.memory_of(&Self::options(separation))
    }

    /// The options of [`Place::memory`].
    pub fn options(separation: Separation) -> MemoryOptions {
        MemoryOptions::new(DIM, Rule::new(Similarity::Cosine, separation, 20.0))
    }

    /// Random patterns, in a memory of these options.
    pub fn memory_of(&self, options: &MemoryOptions) -> Result<Memory> {
        let mut memory = options.build(&self.device)?;
        memory.add(&Rng(1).vector(self.patterns * DIM))?;
        Ok(memory)
    }
}

/// The first Vulkan adapter.
pub fn vulkan() -> attractor::Result<Device> {
    let options = DeviceOptions::default().backends(Backends::VULKAN).software(SoftwareAdapters::Allow);
    pollster::block_on(Device::with_options(&options))
}

/// Median milliseconds of each work, which alternate in every round. Each runs once before, uncounted: the first
/// compiles kernels.
pub fn medians<const N: usize>(rounds: usize, works: [&dyn Fn(); N]) -> [f64; N] {
    for work in works {
        work();
    }
    let mut times = works.map(|_| Vec::with_capacity(rounds));
    for _ in 0..rounds {
        for (work, times) in works.iter().zip(&mut times) {
            let begun = Instant::now();
            work();
            times.push(1e3 * begun.elapsed().as_secs_f64());
        }
    }
    times.map(|mut times| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    })
}
