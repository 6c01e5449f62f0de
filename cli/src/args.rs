//! Flags that more than one command takes.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use attractor::Device;
use attractor::device::{AdapterChoice, DeviceKind, DeviceOptions, SoftwareAdapters, user_cache_folder};
use attractor::tuning::Tuning;
use attractor::wgpu::{Backends, DeviceType};
use attractor::{Precision, Similarity};
use clap::ValueEnum;
use harness::backends;

use crate::failure::Failure;

/// Where to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// What only `bench` takes.
    All,
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
            _ => match backends::named(text) {
                Some(backends) => Self::Backend(backends),
                None => Self::Index(text.parse().map_err(|_| {
                    "expected auto, cpu, vulkan, metal, dx12, gl, or an index that `attractor devices` lists".to_owned()
                })?),
            },
        })
    }
}

/// The flags that choose a device.
#[derive(clap::Args, Clone, Debug)]
pub struct DeviceArgs {
    /// Where to compute: auto (the best GPU, else the CPU engine), cpu, vulkan, metal, dx12, gl, or an index that
    /// `attractor devices` lists.
    #[arg(long, value_name = "DEVICE", default_value = "auto", allow_hyphen_values = true)]
    pub device: Place,
    /// Take a software adapter (lavapipe, llvmpipe, SwiftShader, WARP): for conformance, not for speed.
    #[arg(long)]
    pub software: bool,
}

impl DeviceArgs {
    /// Opens the device asked for.
    pub fn open(&self) -> Result<Device, Failure> {
        let options = match self.device {
            Place::Cpu if self.software => {
                return Err(Failure::Usage(
                    "--software picks a software GPU adapter and --device cpu is the native engine: use one of them"
                        .into(),
                ));
            }
            Place::Cpu => return Ok(Device::cpu()),
            Place::Auto | Place::All => DeviceOptions::default(),
            Place::Backend(backends) => DeviceOptions::default().backends(backends),
            Place::Index(index) => DeviceOptions::default().adapter(AdapterChoice::Index(index)),
        };
        let software = if self.software { SoftwareAdapters::Require } else { SoftwareAdapters::Refuse };
        let mut options = options.software(software);
        if let Some(folder) = user_cache_folder() {
            options = options.pipeline_cache(folder);
        }
        let device = pollster::block_on(Device::with_options(&options)).map_err(|error| match error {
            attractor::Error::NoAdapter { .. } if !self.software && self.has_software() => {
                Failure::Work(format!("{error} (software adapters are taken with --software)"))
            }
            error => error.into(),
        })?;
        // An index picks one adapter whatever it is, so the other flag has to be held against it here.
        if self.software && device.info().kind != DeviceKind::Software {
            return Err(Failure::Work(format!("--software was asked for, but {} is not software", device.info())));
        }
        Ok(device)
    }

    /// Whether a software adapter is among those that `--device` allows. An index takes software without being told.
    fn has_software(&self) -> bool {
        let allowed = match self.device {
            Place::Backend(backends) => backends,
            Place::Index(_) => return false,
            _ => Backends::all(),
        };
        pollster::block_on(Device::adapters()).iter().any(|adapter| {
            let info = adapter.get_info();
            info.device_type == DeviceType::Cpu && allowed.contains(Backends::from(info.backend))
        })
    }
}

/// Which tuning to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tunings {
    Stored,
    None,
    File(PathBuf),
}

impl From<OsString> for Tunings {
    fn from(text: OsString) -> Self {
        match text.to_str() {
            Some("stored") => Self::Stored,
            Some("none") => Self::None,
            _ => Self::File(text.into()),
        }
    }
}

/// The flag that chooses a tuning.
#[derive(clap::Args, Clone, Debug)]
pub struct TuningArgs {
    /// The tuning of a GPU: stored (what `attractor tune` has kept for it, else the defaults), none (the
    /// defaults), or a file of `attractor tune --out`.
    #[arg(long, value_name = "TUNING", default_value = "stored")]
    tuning: Tunings,
}

impl TuningArgs {
    /// The file to read, where one is named.
    pub fn file(&self) -> Option<&Path> {
        match &self.tuning {
            Tunings::File(file) => Some(file),
            _ => None,
        }
    }

    /// Sets it on a device.
    pub fn apply(&self, device: &Device) -> Result<(), Failure> {
        match &self.tuning {
            Tunings::File(file) => device.set_tuning(Tuning::read(file, device)?),
            _ => self.apply_stored(device),
        }
        Ok(())
    }

    /// Sets what is stored for a device on it, unless something else was asked for.
    pub fn apply_stored(&self, device: &Device) {
        if self.tuning == Tunings::Stored
            && let Some(folder) = user_cache_folder()
        {
            device.load_tuning(&folder);
        }
    }
}

/// The flags that choose a device and its tuning.
#[derive(clap::Args, Clone, Debug)]
pub struct TunedArgs {
    #[command(flatten)]
    pub device: DeviceArgs,
    #[command(flatten)]
    pub tuning: TuningArgs,
}

impl TunedArgs {
    /// Opens the device asked for, tuned.
    pub fn open(&self) -> Result<Device, Failure> {
        let device = self.device.open()?;
        self.tuning.apply(&device)?;
        Ok(device)
    }
}

/// Refuses a file to write whose name does not end as its format is called.
pub fn check_extension(flag: &str, file: &Path, extension: &str) -> Result<(), Failure> {
    if file.extension().is_some_and(|given| given.eq_ignore_ascii_case(extension)) {
        return Ok(());
    }
    Err(Failure::Usage(format!("{flag} {}: expected a name that ends in .{extension}", file.display())))
}

/// A number that is neither NaN nor infinite.
pub fn finite(text: &str) -> Result<f32, String> {
    match text.parse::<f32>() {
        Ok(value) if value.is_finite() => Ok(value),
        Ok(_) => Err("must be a finite f32".into()),
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

/// How a state is compared with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimilarityArg {
    /// <x, k>
    Dot,
    /// <x, k> / (|x| |k|)
    Cosine,
    /// -1/2 |x - k|^2
    Euclidean,
    /// -|x - k|_1
    Manhattan,
}

impl From<SimilarityArg> for Similarity {
    fn from(arg: SimilarityArg) -> Self {
        match arg {
            SimilarityArg::Dot => Self::Dot,
            SimilarityArg::Cosine => Self::Cosine,
            SimilarityArg::Euclidean => Self::Euclidean,
            SimilarityArg::Manhattan => Self::Manhattan,
        }
    }
}

/// How patterns are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    /// As they are
    F32,
    /// As halves
    F16,
    /// As bytes, with a scale per row
    I8,
    /// As they are, and the keys as bytes beside them: few queries read the bytes, and answers are exact
    I8Exact,
}

impl From<PrecisionArg> for Precision {
    fn from(arg: PrecisionArg) -> Self {
        match arg {
            PrecisionArg::F32 => Self::F32,
            PrecisionArg::F16 => Self::F16,
            PrecisionArg::I8 => Self::I8,
            PrecisionArg::I8Exact => Self::I8Exact,
        }
    }
}
