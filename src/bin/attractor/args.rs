//! Flags that more than one command takes.

use std::str::FromStr;

use attractor::wgpu::Backends;
use attractor::{AdapterChoice, Device, DeviceOptions, Software};

use crate::failure::Failure;

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Auto,
    Cpu,
    Backend(Backends),
    Index(usize),
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "auto" => Self::Auto,
            "cpu" => Self::Cpu,
            "vulkan" => Self::Backend(Backends::VULKAN),
            "metal" => Self::Backend(Backends::METAL),
            "dx12" => Self::Backend(Backends::DX12),
            "gl" => Self::Backend(Backends::GL),
            _ => Self::Index(text.parse().map_err(|_| {
                "expected auto, cpu, vulkan, metal, dx12, gl, or an index that `attractor devices` lists".to_owned()
            })?),
        })
    }
}

/// The flags that choose a device.
#[derive(clap::Args, Clone, Debug)]
pub struct DeviceArgs {
    /// Where to compute: auto (the best GPU, else the CPU engine), cpu, vulkan, metal, dx12, gl, or an index that
    /// `attractor devices` lists.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: Place,
    /// Take a software adapter (lavapipe, llvmpipe, SwiftShader, WARP): for conformance, not for speed.
    #[arg(long)]
    pub software: bool,
}

impl DeviceArgs {
    /// Opens the device asked for.
    pub fn open(&self) -> Result<Device, Failure> {
        let (backends, adapter) = match self.device {
            Place::Cpu if self.software => {
                return Err(Failure::Usage(
                    "--software picks a software GPU adapter and --device cpu is the native engine: use one of them"
                        .into(),
                ));
            }
            Place::Cpu => return Ok(Device::cpu()),
            Place::Auto => (None, None),
            Place::Backend(backends) => (Some(backends), None),
            Place::Index(index) => (None, Some(AdapterChoice::Index(index))),
        };
        let software = if self.software { Software::Require } else { Software::Refuse };
        let options = DeviceOptions { backends, adapter, software, ..DeviceOptions::default() };
        let device = pollster::block_on(Device::with_options(&options)).map_err(|error| match error {
            attractor::Error::NoAdapter { .. } if !self.software => {
                Failure::Work(format!("{error} (software adapters are taken with --software)"))
            }
            error => error.into(),
        })?;
        // An index picks one adapter whatever it is, so the other flag has to be held against it here.
        if self.software && device.info().kind != "software" {
            return Err(Failure::Work(format!("--software was asked for, but {} is not software", device.info())));
        }
        Ok(device)
    }
}

/// A number that is neither NaN nor infinite.
pub fn finite(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err("must be finite".into()),
        Err(_) => Err("not a number".into()),
    }
}

/// A number of [0, 1].
pub fn fraction(text: &str) -> Result<f32, String> {
    match finite(text)? {
        value if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("must be between 0 and 1".into()),
    }
}

/// A count of at least one.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("must be at least 1".into()),
        Ok(count) => Ok(count),
        Err(_) => Err("not a whole number".into()),
    }
}
