//! What the examples share: the device that is asked for, the images of MNIST, and what the examples of the wider
//! family have in common.
#![allow(dead_code, reason = "each example uses its own part")]

pub mod family;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use attractor::Device;
use attractor::device::{DeviceOptions, SoftwareAdapters};
use harness::{backends, idx};

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How far a measured rate may be from the published one.
pub const TOLERANCE: f64 = 0.03;

/// Pixels of an image, from side to side and from top to bottom.
pub const SIDE: usize = 28;
/// Pixels of an image.
pub const PIXELS: usize = SIDE * SIDE;

/// The command line of an example.
pub struct Arguments {
    pub device: Device,
    /// What the example's own flag names, or its environment variable.
    pub data: Option<PathBuf>,
}

impl Arguments {
    /// Reads `--device`, `--software` and the example's own `flag`, for which `variable` of the environment stands in.
    pub fn read(flag: &str, variable: &str) -> Result<Self> {
        let mut asked = AskedDevice::default();
        let mut data = std::env::var_os(variable).map(PathBuf::from);
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            if asked.takes(&argument, &mut arguments)? {
                continue;
            }
            match argument.as_str() {
                own if own == flag => data = Some(arguments.next().ok_or(format!("{flag} takes a value"))?.into()),
                other => {
                    return Err(format!("{other}: expected --device NAME, --software or {flag} PATH").into());
                }
            }
        }
        let device = asked.open()?;
        println!("on {}", device.info());
        Ok(Self { device, data })
    }
}

/// The device of `--device NAME` and `--software`.
#[derive(Default)]
pub struct AskedDevice {
    options: DeviceOptions,
    cpu: bool,
}

impl AskedDevice {
    /// The CPU engine, unless something else is asked for.
    pub fn cpu() -> Self {
        Self { cpu: true, ..Self::default() }
    }

    /// Whether `argument` was one of the two, of which the value is the next of `rest`.
    pub fn takes(&mut self, argument: &str, rest: &mut impl Iterator<Item = String>) -> Result<bool> {
        match argument {
            "--device" => {
                let name = rest.next().ok_or("--device takes a value")?;
                let mut options = std::mem::take(&mut self.options);
                self.cpu = name == "cpu";
                if !matches!(name.as_str(), "auto" | "cpu") {
                    options = options
                        .backends(backends::named(&name).ok_or_else(|| {
                            format!("--device {name}: expected auto, cpu, vulkan, gl, metal or dx12")
                        })?);
                }
                self.options = options;
            }
            "--software" => self.options = std::mem::take(&mut self.options).software(SoftwareAdapters::Require),
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Opens it.
    pub fn open(&self) -> Result<Device> {
        Ok(if self.cpu { Device::cpu() } else { pollster::block_on(Device::with_options(&self.options))? })
    }
}

/// Runs an example: exit status 0 on success, 1 on a failure, which is one line on stderr.
pub fn run(example: impl FnOnce() -> Result<()>) -> ExitCode {
    match example() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Where data lies that is too large for the project: beside its folder.
pub fn shared(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared").join(path)
}

/// Images of the MNIST test set.
pub struct Digits {
    /// From 0 to 255.
    pixels: Vec<f32>,
    /// Whether all 10,000 are there.
    pub complete: bool,
}

impl Digits {
    /// The images of the file that is asked for, else all 10,000 where they lie beside the project, else the 1,000 that
    /// the project carries.
    pub fn load(asked: Option<&Path>) -> Result<Self> {
        let beside = ["data/mnist/t10k-images-idx3-ubyte", "data/mnist/t10k-images-idx3-ubyte.gz"].map(shared);
        let carried =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("cli/assets/mnist/t10k-images-first1000-idx3-ubyte.gz");
        let found = beside.into_iter().find(|path| path.is_file());
        let path = asked.map(Path::to_path_buf).or(found).unwrap_or(carried);
        let named = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let file = File::open(&path).map_err(|why| named(&why))?;
        let images = idx::read(file, None).map_err(|why| named(&why))?;
        if (images.height, images.width) != (SIDE, SIDE) {
            return Err(named(&"expected images of 28 x 28 pixels").into());
        }
        let count = images.count();
        println!("{count} images of the MNIST test set");
        let pixels = images.pixels.iter().map(|pixel| ((pixel + 1.0) * 127.5).round()).collect();
        Ok(Self { pixels, complete: count >= 10_000 })
    }

    pub fn len(&self) -> usize {
        self.pixels.len() / PIXELS
    }

    /// Images `first .. first + count`, each pixel as `scale` has it.
    pub fn rows(&self, first: usize, count: usize, scale: impl Fn(f32) -> f32) -> Vec<f32> {
        self.pixels[first * PIXELS..(first + count) * PIXELS].iter().map(|pixel| scale(*pixel)).collect()
    }
}

/// The lower half of every image set to 0.
pub fn hide_lower_half(images: &mut [f32]) {
    for image in images.chunks_exact_mut(PIXELS) {
        image[PIXELS / 2..].fill(0.0);
    }
}

/// The share of rows of `got` that `succeeds` finds good beside the same row of `expected`.
pub fn rate(got: &[f32], expected: &[f32], succeeds: impl Fn(&[f32], &[f32]) -> bool) -> f64 {
    let rows = got.chunks_exact(PIXELS).zip(expected.chunks_exact(PIXELS));
    let good = rows.filter(|(got, expected)| succeeds(got, expected)).count();
    good as f64 / (got.len() / PIXELS) as f64
}

/// Prints the end of a row of a table, and tells whether the measured rate is too far from the published one.
pub fn differs(measured: f64, published: f64) -> bool {
    println!("{measured:>9.3} {published:>9.3} {:>9.3}", (measured - published).abs());
    (measured - published).abs() > TOLERANCE
}

/// Fails where rates differ, unless there were too few images for the protocol.
pub fn conclude(differ: usize, complete: bool) -> Result<()> {
    if !complete {
        println!(
            "The protocol takes the mean of 5 runs over all 10,000 images, which are not here (--images FILE, or \
             ATTRACTOR_MNIST):\nthis was one run on what is, and the published figures are only indicative."
        );
        return Ok(());
    }
    match differ {
        0 => {
            println!("Every rate is within {TOLERANCE} of the published one.");
            Ok(())
        }
        differ => Err(format!("{differ} rates differ from the published ones by more than {TOLERANCE}").into()),
    }
}
