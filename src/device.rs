//! Where a memory lives and computes: a GPU through wgpu, a device that the host application owns, or the CPU engine.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::fork;
use crate::gpu;
use crate::tuning::Tuning;

/// Handle to a device; clones share it. See [`Device::new`].
///
/// A process may end while an answer is awaited, by returning from `main` or by `std::process::exit`: the thread that
/// polls for it is outside of the driver by then. Threads of the program that call this library themselves should be
/// joined before.
///
/// Threads and drivers do not survive a `fork`. In the child of a process that has made a device, every call that would
/// compute gives [`Error::Forked`]; make the first device after forking, or start a new program. A child should end by
/// `_exit` or `exec`, as the exit handlers of some drivers wait for threads that are not there.
#[derive(Clone, Debug)]
pub struct Device {
    pub(crate) kind: Kind,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Cpu,
    Gpu(Arc<gpu::Context>),
}

/// Which software adapters (lavapipe, llvmpipe, SwiftShader, WARP) a search may return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Software {
    /// None: they are for conformance, not for speed.
    #[default]
    Refuse,
    /// Any, after all hardware.
    Allow,
    /// Nothing else.
    Require,
}

/// One adapter, picked by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdapterChoice {
    /// Position in [`Device::adapters`].
    Index(usize),
    /// The first adapter whose name or driver contains this, without regard to case.
    Name(String),
}

/// What to look for in [`Device::with_options`]. The default is [`Device::new`]'s search.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes or no of its own")]
pub struct DeviceOptions {
    /// Only these backends; all when absent.
    pub backends: Option<wgpu::Backends>,
    /// One adapter by index or name. An adapter asked for in this way may be software.
    pub adapter: Option<AdapterChoice>,
    /// Which software adapters count.
    pub software: Software,
    /// Keep `SHADER_F16` off even where the adapter has it.
    pub without_f16: bool,
    /// Keep `SUBGROUP` off even where the adapter has it.
    pub without_subgroups: bool,
    /// Keep the checks that wgpu writes into shaders that it does not know (indices clamped, loops counted), to look
    /// for a fault in ours, which go without. `ATTRACTOR_CHECKED=1` in the environment does it for every device, a
    /// host's too.
    pub checked_shaders: bool,
    /// A folder in which compiled kernels are kept from one run to the next, such as [`user_cache_folder`], where the
    /// backend lets them out (Vulkan; Metal, DX12 and many drivers keep their own). They are written when the last
    /// handle of the device and the last memory on it go, and by [`Device::save_pipeline_cache`]; a file that is
    /// damaged, or not this adapter's, driver's and crate version's, is ignored. Nothing is kept when absent.
    ///
    /// [`user_cache_folder`]: crate::user_cache_folder
    pub pipeline_cache: Option<PathBuf>,
    /// Keep `EXPERIMENTAL_COOPERATIVE_MATRIX` off even where the adapter has it.
    pub without_cooperative_matrices: bool,
}

/// What a device or an adapter is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The adapter's name, or the CPU engine's.
    pub name: String,
    /// `Vulkan`, `Metal`, `Dx12`, `Gl`, `BrowserWebGpu`, or `native` for the CPU engine.
    pub backend: String,
    /// The driver and its version, as far as it tells.
    pub driver: String,
    /// `discrete`, `integrated`, `virtual`, `software`, `other` or `cpu engine`.
    pub kind: &'static str,
}

impl fmt::Display for DeviceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Browsers may keep the name to themselves.
        let name = if self.name.is_empty() { "unnamed adapter" } else { &self.name };
        write!(f, "{name} ({}, {})", self.backend, self.kind)
    }
}

impl From<&wgpu::AdapterInfo> for DeviceInfo {
    fn from(info: &wgpu::AdapterInfo) -> Self {
        let kind = match info.device_type {
            wgpu::DeviceType::DiscreteGpu => "discrete",
            wgpu::DeviceType::IntegratedGpu => "integrated",
            wgpu::DeviceType::VirtualGpu => "virtual",
            wgpu::DeviceType::Cpu => "software",
            wgpu::DeviceType::Other => "other",
        };
        let driver = [info.driver.as_str(), info.driver_info.as_str()];
        Self {
            name: info.name.clone(),
            backend: format!("{:?}", info.backend),
            driver: driver.into_iter().filter(|s| !s.is_empty()).collect::<Vec<_>>().join(" "),
            kind,
        }
    }
}

impl Device {
    /// The best hardware adapter with that adapter's own limits, or, where there is none, the CPU engine, which is said
    /// once through `log`. Never a software adapter.
    pub async fn new() -> Result<Self> {
        Self::with_options(&DeviceOptions::default()).await
    }

    /// A device that fits `options`. Falls back to the CPU engine only where nothing in particular was asked for.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where a backend, an adapter or software was asked for and is not there;
    /// [`Error::Device`] where the adapter refuses to open.
    pub async fn with_options(options: &DeviceOptions) -> Result<Self> {
        fork::check("Device::with_options")?;
        fork::watch();
        let particular =
            options.backends.is_some() || options.adapter.is_some() || options.software == Software::Require;
        let adapters = Self::adapters().await;
        let Some(adapter) = choose(&adapters, options) else {
            if particular {
                return Err(no_adapter(&adapters, options));
            }
            log::info!("attractor: no hardware adapter; using the CPU engine");
            return Ok(Self::cpu());
        };
        match gpu::Context::open(adapter, options).await {
            Ok(context) => {
                log::info!("attractor: using {}", DeviceInfo::from(&context.adapter));
                Ok(Self { kind: Kind::Gpu(Arc::new(context)) })
            }
            Err(error) if !particular => {
                log::warn!("attractor: {error}; using the CPU engine");
                Ok(Self::cpu())
            }
            Err(error) => Err(error),
        }
    }

    /// The native engine: every core, no GPU.
    pub fn cpu() -> Self {
        fork::watch();
        Self { kind: Kind::Cpu }
    }

    /// The features of `adapter` that a host does well to ask for when it opens a device that it will share with
    /// [`Device::from_wgpu`]. None of them is needed: without timestamps, jobs go by cautious estimates.
    ///
    /// ```no_run
    /// # async fn open(adapter: attractor::wgpu::Adapter) -> Result<(), Box<dyn std::error::Error>> {
    /// use attractor::{Device, wgpu};
    /// let (device, queue) = adapter
    ///     .request_device(&wgpu::DeviceDescriptor {
    ///         required_features: Device::required_features(&adapter), // and the host's own
    ///         required_limits: wgpu::Limits::default().or_better_values_from(&Device::required_limits(&adapter)),
    ///         ..Default::default()
    ///     })
    ///     .await?;
    /// let shared = Device::from_wgpu(&device, &queue)?;
    /// # drop(shared); Ok(()) }
    /// ```
    pub fn required_features(adapter: &wgpu::Adapter) -> wgpu::Features {
        gpu::Context::WISHES & adapter.features()
    }

    /// The limits that a host does well to ask for: what must be, which is no more than WebGPU's defaults, with
    /// buffers and bindings as large as `adapter` allows, so that memories need few windows. [`Device::from_wgpu`]
    /// takes a device with the defaults as well, and one with less as long as it is no less than
    /// [`Device::least_limits`].
    pub fn required_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
        let allowed = adapter.limits();
        wgpu::Limits {
            max_buffer_size: allowed.max_buffer_size,
            max_storage_buffer_binding_size: allowed.max_storage_buffer_binding_size,
            ..Self::least_limits()
        }
    }

    /// The least limits of a host's device, as far as they matter here; all others are as low as they go.
    pub fn least_limits() -> wgpu::Limits {
        gpu::limits::least_limits()
    }

    /// Bounds what one dispatch is expected to take on the GPU, 50 ms unless set: longer ones are recorded in parts,
    /// with the same bits. All handles of this device share the bound; the CPU engine has no use for it.
    pub fn bound_dispatches(&self, bound: std::time::Duration) {
        if let Kind::Gpu(context) = &self.kind {
            context.set_dispatch_bound(bound);
        }
    }

    /// Compiles kernels through `cache` from here on, whose data stays the host's to load and to save. Says whether
    /// it does: a device has one cache, from here or from [`DeviceOptions::pipeline_cache`], and the CPU engine none.
    pub fn use_pipeline_cache(&self, cache: wgpu::PipelineCache) -> bool {
        match &self.kind {
            Kind::Cpu => false,
            Kind::Gpu(context) => context.use_pipeline_cache(cache),
        }
    }

    /// Writes what has been compiled so far to the folder of [`DeviceOptions::pipeline_cache`], for a program that
    /// does not end by dropping its devices. Where that fails the log says so.
    pub fn save_pipeline_cache(&self) {
        if let Kind::Gpu(context) = &self.kind {
            context.save_pipeline_cache();
        }
    }

    /// What plans on this device go by; `None` for the CPU engine, which has no use for it.
    pub fn tuning(&self) -> Option<Tuning> {
        match &self.kind {
            Kind::Cpu => None,
            Kind::Gpu(context) => Some(context.tuning()),
        }
    }

    /// Sets what plans on this device go by from now on: of all its handles and memories. Jobs and recordings that have
    /// begun go on as they were. The CPU engine has no use for it.
    pub fn set_tuning(&self, tuning: Tuning) {
        if let Kind::Gpu(context) = &self.kind {
            context.set_tuning(tuning);
        }
    }

    /// A device that the host application owns. It is used within the limits and features that the host asked for; no
    /// callback is installed on it, nothing waits on it, and nothing is submitted but what [`Memory::retrieve`] is
    /// asked to submit.
    ///
    /// # Errors
    /// [`Error::Limit`] where the limits are too small for the kernels (less than WebGPU's defaults).
    ///
    /// [`Memory::retrieve`]: crate::Memory::retrieve
    pub fn from_wgpu(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Self> {
        fork::check("Device::from_wgpu")?;
        fork::watch();
        let context = gpu::Context::host(device.clone(), queue.clone(), &[])?;
        Ok(Self { kind: Kind::Gpu(Arc::new(context)) })
    }

    /// The same of a device that the host has opened on `adapter`. Only an adapter tells which cooperative matrices
    /// it has: with it they are used, as far as the host has asked for `EXPERIMENTAL_COOPERATIVE_MATRIX`,
    /// `SHADER_F16` and `SUBGROUP`. The first is not among [`Device::required_features`], as it takes wgpu's
    /// [`ExperimentalFeatures::enabled`](wgpu::ExperimentalFeatures::enabled), which is for the host to decide.
    ///
    /// # Errors
    /// As [`Device::from_wgpu`].
    pub fn from_wgpu_on(adapter: &wgpu::Adapter, device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Self> {
        fork::check("Device::from_wgpu_on")?;
        fork::watch();
        let configurations = adapter.cooperative_matrix_properties();
        let context = gpu::Context::host(device.clone(), queue.clone(), &configurations)?;
        Ok(Self { kind: Kind::Gpu(Arc::new(context)) })
    }

    /// Every adapter of this machine, hardware and software, in the order that [`AdapterChoice::Index`] counts. A
    /// browser tells of one at the most, which it prefers.
    pub async fn adapters() -> Vec<wgpu::Adapter> {
        // Without WebGPU, or on a thread that has none, wgpu panics.
        #[cfg(target_arch = "wasm32")]
        if !wgpu::util::is_browser_webgpu_supported().await {
            return Vec::new();
        }
        gpu::Context::instance().enumerate_adapters(wgpu::Backends::all()).await
    }

    /// Whether this is the CPU engine.
    pub fn is_cpu(&self) -> bool {
        matches!(self.kind, Kind::Cpu)
    }

    /// The wgpu device behind this one, unless it is the CPU engine.
    pub fn wgpu(&self) -> Option<(&wgpu::Device, &wgpu::Queue)> {
        match &self.kind {
            Kind::Cpu => None,
            Kind::Gpu(context) => Some((&context.device, &context.queue)),
        }
    }

    /// What this device is.
    pub fn info(&self) -> DeviceInfo {
        match &self.kind {
            Kind::Cpu => DeviceInfo {
                name: format!("CPU engine, {} threads", rayon::current_num_threads()),
                backend: "native".into(),
                driver: format!("attractor {}", env!("CARGO_PKG_VERSION")),
                kind: "cpu engine",
            },
            Kind::Gpu(context) => (&context.adapter).into(),
        }
    }
}

fn is_software(adapter: &wgpu::Adapter) -> bool {
    adapter.get_info().device_type == wgpu::DeviceType::Cpu
}

fn computes(adapter: &wgpu::Adapter) -> bool {
    adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS)
}

/// Smaller is better.
fn rank(adapter: &wgpu::Adapter) -> (u32, u32) {
    let info = adapter.get_info();
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    };
    (kind, u32::from(info.backend == wgpu::Backend::Gl))
}

fn choose<'a>(adapters: &'a [wgpu::Adapter], options: &DeviceOptions) -> Option<&'a wgpu::Adapter> {
    let of_backend = |adapter: &&wgpu::Adapter| {
        let backend = wgpu::Backends::from(adapter.get_info().backend);
        computes(adapter) && options.backends.is_none_or(|asked| asked.contains(backend))
    };
    match &options.adapter {
        Some(AdapterChoice::Index(index)) => adapters.get(*index).filter(of_backend),
        Some(AdapterChoice::Name(name)) => {
            let name = name.to_lowercase();
            adapters.iter().filter(of_backend).find(|adapter| {
                let info = adapter.get_info();
                [info.name, info.driver, info.driver_info].iter().any(|s| s.to_lowercase().contains(&name))
            })
        }
        None => adapters
            .iter()
            .filter(of_backend)
            .filter(|adapter| match options.software {
                Software::Refuse => !is_software(adapter),
                Software::Allow => true,
                Software::Require => is_software(adapter),
            })
            .min_by_key(|adapter| rank(adapter)),
    }
}

fn no_adapter(adapters: &[wgpu::Adapter], options: &DeviceOptions) -> Error {
    let mut asked = Vec::new();
    if let Some(backends) = options.backends {
        asked.push(format!("backend {backends:?}"));
    }
    match &options.adapter {
        Some(AdapterChoice::Index(index)) => asked.push(format!("index {index}")),
        Some(AdapterChoice::Name(name)) => asked.push(format!("name \"{name}\"")),
        None => asked.push(
            match options.software {
                Software::Refuse => "hardware only",
                Software::Allow => "hardware or software",
                Software::Require => "software only",
            }
            .into(),
        ),
    }
    let found: Vec<String> = adapters.iter().map(|a| DeviceInfo::from(&a.get_info()).to_string()).collect();
    Error::NoAdapter { asked: asked.join(", "), found: if found.is_empty() { "none".into() } else { found.join("; ") } }
}
