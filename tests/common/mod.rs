//! One runner for every implementation: the CPU engine and each adapter of this machine, judged by the reference.
//!
//! Which adapters must be there is said by `ATTRACTOR_REQUIRE_ADAPTERS`: a comma-separated list of names (`lavapipe`,
//! `llvmpipe`, `swiftshader`). A missing adapter is printed as a skip, and fails the test when it is on the list.
#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod host;
pub mod watch;

use std::sync::{Once, OnceLock};

use attractor::reference::{Answer, Problem};
use attractor::{
    AdapterChoice, Device, DeviceOptions, Error, Mask, Memory, MemoryOptions, Patterns, Precision, Retrieval,
    RetrieveOptions, Rule,
};

/// Adapters that every run looks for, besides all hardware: a name to require it by, the backend, and how the adapter
/// says that it is the one.
const SOFTWARE: &[(&str, wgpu::Backend, &str)] = &[
    ("lavapipe", wgpu::Backend::Vulkan, "llvmpipe"),
    ("llvmpipe", wgpu::Backend::Gl, "llvmpipe"),
    // `VK_ADD_DRIVER_FILES` brings it in (`test.sh`).
    ("swiftshader", wgpu::Backend::Vulkan, "swiftshader"),
];

use attractor::wgpu;

/// Every device to test on, by name. The CPU engine comes first.
pub fn devices() -> &'static [(String, Device)] {
    static DEVICES: OnceLock<Vec<(String, Device)>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let required = std::env::var("ATTRACTOR_REQUIRE_ADAPTERS").unwrap_or_default();
        let mut devices = vec![("cpu".to_owned(), Device::cpu())];
        let adapters = pollster::block_on(Device::adapters());
        let mut open = |name: &str, index: usize| {
            let options = DeviceOptions { adapter: Some(AdapterChoice::Index(index)), ..DeviceOptions::default() };
            match pollster::block_on(Device::with_options(&options)) {
                Ok(device) => devices.push((name.to_owned(), device)),
                Err(error) => panic!("{name} is there and does not open: {error}"),
            }
        };
        for &(name, backend, says) in SOFTWARE {
            let found = adapters.iter().position(|adapter| {
                let info = adapter.get_info();
                info.backend == backend && info.name.to_lowercase().contains(says)
            });
            match found {
                Some(index) => open(name, index),
                None => {
                    eprintln!("SKIP {name}: no {backend:?} adapter here says {says}");
                    let fatal = required.split(',').any(|asked| asked.trim() == name);
                    assert!(!fatal, "{name} is required by ATTRACTOR_REQUIRE_ADAPTERS and is not there");
                }
            }
        }
        for (index, adapter) in adapters.iter().enumerate() {
            let info = adapter.get_info();
            if info.device_type != wgpu::DeviceType::Cpu {
                open(&format!("{} ({:?})", info.name, info.backend), index);
            }
        }
        devices
    })
}

/// [`devices`] without those on which a minute's work takes an hour: SwiftShader runs each invocation between two
/// barriers as a fibre. `ATTRACTOR_SLOW=swiftshader` leaves it in.
pub fn quick_devices() -> impl Iterator<Item = &'static (String, Device)> {
    static SAID: Once = Once::new();
    let all = std::env::var("ATTRACTOR_SLOW").is_ok_and(|slow| slow.contains("swiftshader"));
    devices().iter().filter(move |(name, _)| {
        let runs = all || name != "swiftshader";
        if !runs {
            SAID.call_once(|| eprintln!("SKIP swiftshader: it takes too long there; set ATTRACTOR_SLOW=swiftshader"));
        }
        runs
    })
}

/// The devices that have an encoder to record into.
pub fn gpus() -> impl Iterator<Item = &'static (String, Device)> {
    devices().iter().filter(|(_, device)| !device.is_cpu())
}

/// Which of `adapters` an open device is on.
fn index_of(adapters: &[wgpu::Adapter], device: &Device) -> usize {
    let same = |adapter: &wgpu::Adapter| attractor::DeviceInfo::from(&adapter.get_info()) == device.info();
    adapters.iter().position(same).expect("the adapter of an open device is listed")
}

/// The adapter of every device but the CPU engine, and its name.
pub fn adapters() -> Vec<(String, wgpu::Adapter)> {
    let adapters = pollster::block_on(Device::adapters());
    gpus().map(|(name, device)| (name.clone(), adapters[index_of(&adapters, device)].clone())).collect()
}

/// A host's own device on every adapter that the tests use: WebGPU's default limits, no features. Errors that nobody
/// handles panic; [`host::Host`] listens to them instead.
pub fn hosts() -> Vec<(String, wgpu::Device, wgpu::Queue)> {
    let open = |(name, adapter): (String, wgpu::Adapter)| {
        let descriptor = wgpu::DeviceDescriptor { label: Some("host"), ..Default::default() };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        (name, device, queue)
    };
    adapters().into_iter().map(open).collect()
}

/// Another device of ours on the adapter of an open one.
pub fn reopened(device: &Device) -> Device {
    reopened_with(device, DeviceOptions::default())
}

/// The same with options of its own, but for the adapter.
pub fn reopened_with(device: &Device, options: DeviceOptions) -> Device {
    let adapters = pollster::block_on(Device::adapters());
    let adapter = Some(AdapterChoice::Index(index_of(&adapters, device)));
    pollster::block_on(Device::with_options(&DeviceOptions { adapter, ..options })).unwrap()
}

/// A small generator with a name for its numbers: same seed, same numbers, on every platform (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [-1, 1).
    pub fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u32 << 23) as f32 - 1.0
    }

    pub fn vector(&mut self, length: usize) -> Vec<f32> {
        (0..length).map(|_| self.unit()).collect()
    }
}

/// How far an `f32` answer may be from the reference for one query.
///
/// A score is a sum of `d` products: its rounding is at most a few epsilon times `|beta| sum_c |x_c k_c|`, and a score
/// that is off by `e` moves the output by at most `2 e max|v|`. The sums over `N` weights add a random walk of
/// roundings. So: `epsilon max|v| (32 + sqrt N + 8 kappa)` with `kappa = |beta| max_i sum_c |x_c k_ic|`, once a step.
pub fn bound(rule: Rule, dim: usize, keys: &[f32], values: &[f32], query: &[f32], steps: u32) -> f64 {
    let largest = |of: &[f32]| of.iter().fold(0.0f64, |most, v| most.max(f64::from(v.abs())));
    let kappa = keys
        .chunks_exact(dim)
        .map(|key| key.iter().zip(query).map(|(k, x)| f64::from((k * x).abs())).sum::<f64>())
        .fold(0.0, f64::max)
        * f64::from(rule.beta.abs());
    let patterns = (keys.len() / dim) as f64;
    let largest = largest(values).max(largest(keys));
    f64::from(f32::EPSILON) * largest * (32.0 + patterns.sqrt() + 8.0 * kappa) * f64::from(steps)
}

/// The worst difference of two rows.
pub fn worst(got: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(got.len(), expected.len());
    // NaN must not be lost in a maximum.
    got.iter().zip(expected).fold(0.0, |most, (g, e)| {
        let error = (f64::from(*g) - e).abs();
        if error.is_nan() { f64::INFINITY } else { most.max(error) }
    })
}

/// A problem with its queries. Whatever is absent or empty is not used.
#[derive(Clone, Debug)]
pub struct Case {
    pub rule: Rule,
    pub dim: usize,
    pub value_dim: Option<usize>,
    pub keys: Vec<f32>,
    pub values: Option<Vec<f32>>,
    pub bias: Option<Vec<f32>>,
    /// `B x N`, true where that query may use that pattern.
    pub keep: Option<Vec<bool>>,
    /// `B x d`, true where a coordinate is known.
    pub clamp: Option<Vec<bool>>,
    pub precision: Precision,
    pub window_bytes: Option<u64>,
    pub queries: Vec<f32>,
    pub steps: u32,
    /// Stop early at this.
    pub tolerance: Option<f32>,
}

impl Case {
    pub fn random(seed: u64, batch: usize, patterns: usize, dim: usize, value_dim: Option<usize>, rule: Rule) -> Self {
        let mut numbers = Numbers(seed);
        Self {
            rule,
            dim,
            value_dim,
            keys: numbers.vector(patterns * dim),
            values: value_dim.map(|value_dim| numbers.vector(patterns * value_dim)),
            bias: None,
            keep: None,
            clamp: None,
            precision: Precision::F32,
            window_bytes: None,
            queries: numbers.vector(batch * dim),
            steps: 1,
            tolerance: None,
        }
    }

    pub fn batch(&self) -> usize {
        self.queries.len() / self.dim
    }

    pub fn patterns(&self) -> usize {
        self.keys.len() / self.dim
    }

    pub fn query(&self, b: usize) -> &[f32] {
        &self.queries[b * self.dim..(b + 1) * self.dim]
    }

    /// The same case as query `b` alone sees it.
    pub fn problem(&self, b: usize) -> Problem<'_> {
        let n = self.patterns();
        Problem {
            values: self.values.as_deref(),
            bias: self.bias.as_deref(),
            keep: self.keep.as_deref().map(|keep| &keep[b * n..(b + 1) * n]),
            clamp: self.clamp.as_deref().map(|clamp| &clamp[b * self.dim..(b + 1) * self.dim]),
            ..Problem::new(self.rule, self.dim, &self.keys)
        }
    }

    pub fn reference(&self, b: usize) -> Answer {
        match self.tolerance {
            None => self.problem(b).retrieve(self.query(b), self.steps),
            Some(tolerance) => self.problem(b).converge(self.query(b), self.steps, f64::from(tolerance)),
        }
    }

    /// The case's own options; tests add reports.
    pub fn options(&self) -> RetrieveOptions {
        let mut options = match self.tolerance {
            None => RetrieveOptions::steps(self.steps),
            Some(tolerance) => RetrieveOptions::converge(self.steps, tolerance),
        };
        options.mask = self.keep.as_deref().map(Mask::keep_per_query);
        options.clamp.clone_from(&self.clamp);
        options
    }

    /// The case's patterns on a device; `None`, said on standard error, where the device does not support them.
    pub fn memory(&self, name: &str, device: &Device) -> Option<Memory> {
        let mut options = MemoryOptions::new(self.dim, self.rule).precision(self.precision);
        if let Some(value_dim) = self.value_dim {
            options = options.value_dim(value_dim);
        }
        if self.bias.is_some() {
            options = options.bias();
        }
        if let Some(bytes) = self.window_bytes {
            options = options.window_bytes(bytes);
        }
        let mut memory = supported(name, options.build(device))?;
        let added = memory.add_patterns(&Patterns {
            keys: &self.keys,
            values: self.values.as_deref(),
            bias: self.bias.as_deref(),
        });
        supported(name, added)?;
        Some(memory)
    }

    /// Retrieves the case's queries; `None`, said on standard error, where the device does not support it.
    pub fn run(&self, name: &str, device: &Device, options: &RetrieveOptions) -> Option<Retrieval> {
        supported(name, self.memory(name, device)?.retrieve_with_blocking(&self.queries, options))
    }

    /// The worst error of the sampled queries as a share of its bound; right where it is at most 1.
    pub fn judge(&self, got: &Retrieval, sample: impl IntoIterator<Item = usize>) -> f64 {
        assert_eq!((got.batch, got.dim), (self.batch(), self.dim));
        assert_eq!(got.value_dim, self.value_dim.unwrap_or(self.dim));
        assert_eq!((got.steps.len(), got.converged.len(), got.change.len()), (got.batch, got.batch, got.batch));
        let values = self.values.as_deref().unwrap_or(&self.keys);
        let mut share = 0.0f64;
        for b in sample {
            let expected = self.reference(b);
            let bound = bound(self.rule, self.dim, &self.keys, values, self.query(b), self.steps);
            let error = worst(got.output(b), &expected.output).max(worst(got.state(b), &expected.state));
            let change = (f64::from(got.change[b]) - expected.change).abs();
            assert_eq!(got.steps[b], expected.steps);
            share = share.max(error / bound).max(change / (2.0 * bound));
        }
        share
    }
}

/// The result, `None` where it is that the device does not support what was asked, which is said on standard error.
pub fn supported<T>(name: &str, result: attractor::Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error @ Error::Unsupported { .. }) => {
            assert!(name != "cpu", "the CPU engine supports everything: {error}");
            eprintln!("SKIP {name}: {error}");
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}
