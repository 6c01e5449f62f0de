//! A device that memories live on: opening it, taking part in a host's, and what it is set to.

use std::sync::Arc;

use super::info::DeviceInfo;
use super::options::{DeviceOptions, SoftwareAdapters};
use super::select::{choose, no_adapter};
use crate::error::Result;
use crate::fork;
use crate::gpu::Context;
use crate::tuning::Tuning;
use crate::wait;

/// Handle to a device; clones share it. See [`Device::new`].
///
/// A process may end while an answer is awaited, by returning from `main` or by `std::process::exit`: the thread that
/// polls for it is outside of the driver by then. Threads of the program that call this library themselves should be
/// joined before.
///
/// Threads and drivers do not survive a `fork`. In the child of a process that has made a device, every call that would
/// compute gives [`Error::Forked`](crate::Error::Forked); make the first device after forking, or start a new program.
/// A child should end by `_exit` or `exec`, as the exit handlers of some drivers wait for threads that are not there.
#[derive(Clone, Debug)]
pub struct Device {
    pub(crate) backend: Backend,
}

#[derive(Clone, Debug)]
pub(crate) enum Backend {
    Cpu,
    Gpu(Arc<Context>),
}

impl Device {
    /// The best hardware adapter with that adapter's own limits, or, where there is none, the CPU engine, which is
    /// reported once through `log`. Never a software adapter.
    pub async fn new() -> Result<Self> {
        Self::with_options(&DeviceOptions::default()).await
    }

    /// [`Device::new`], waiting on this thread.
    ///
    /// # Errors
    /// As [`Device::new`], and [`Error::Unsupported`](crate::Error::Unsupported) in a browser, where nothing can wait.
    pub fn new_blocking() -> Result<Self> {
        wait::block_on("Device::new_blocking", Self::new())
    }

    /// A device that fits `options`. Falls back to the CPU engine only where nothing in particular was asked for.
    ///
    /// # Errors
    /// [`Error::NoAdapter`](crate::Error::NoAdapter) where a backend, an adapter or software was asked for and does
    /// not exist, or refuses to open.
    pub async fn with_options(options: &DeviceOptions) -> Result<Self> {
        fork::check("Device::with_options")?;
        fork::watch();
        let particular =
            options.backends.is_some() || options.adapter.is_some() || options.software == SoftwareAdapters::Require;
        let adapters = Self::adapters().await;
        let Some(adapter) = choose(&adapters, options) else {
            if particular {
                return Err(no_adapter(&adapters, options));
            }
            log::info!("attractor: no hardware adapter; using the CPU engine");
            return Ok(Self::cpu());
        };
        match Context::open(adapter, options).await {
            Ok(context) => {
                log::info!("attractor: using {}", DeviceInfo::from(&context.adapter));
                Ok(Self { backend: Backend::Gpu(Arc::new(context)) })
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
        Self { backend: Backend::Cpu }
    }

    /// The features of `adapter` that a host does well to ask for when it opens a device that it will share with
    /// [`Device::from_wgpu`]. None of them is needed: without timestamps, jobs use cautious estimates.
    ///
    /// ```no_run
    /// # async fn open(adapter: attractor::wgpu::Adapter) -> Result<(), Box<dyn std::error::Error>> {
    /// use attractor::{Device, wgpu};
    /// let (device, queue) = adapter
    ///     .request_device(&wgpu::DeviceDescriptor {
    ///         required_features: Device::recommended_features(&adapter), // and the host's own
    ///         required_limits: wgpu::Limits::default().or_better_values_from(&Device::recommended_limits(&adapter)),
    ///         ..Default::default()
    ///     })
    ///     .await?;
    /// let shared = Device::from_wgpu(&device, &queue)?;
    /// # drop(shared); Ok(()) }
    /// ```
    pub fn recommended_features(adapter: &wgpu::Adapter) -> wgpu::Features {
        Context::WISHES & adapter.features()
    }

    /// The limits that a host does well to ask for: what must be, which is no more than WebGPU's defaults, with
    /// buffers and bindings as large as `adapter` allows, so that memories need few windows. [`Device::from_wgpu`]
    /// takes a device with the defaults as well, and one with less as long as it is no less than
    /// [`Device::minimum_limits`].
    pub fn recommended_limits(adapter: &wgpu::Adapter) -> wgpu::Limits {
        let allowed = adapter.limits();
        wgpu::Limits {
            max_buffer_size: allowed.max_buffer_size,
            max_storage_buffer_binding_size: allowed.max_storage_buffer_binding_size,
            ..Self::minimum_limits()
        }
    }

    /// The least limits of a host's device, as far as they matter here; all others are as low as they go.
    pub fn minimum_limits() -> wgpu::Limits {
        crate::gpu::limits::minimum_limits()
    }

    /// Bounds what one dispatch is expected to take on the GPU, 50 ms unless set: longer ones are recorded in parts,
    /// with the same bits. All handles of this device share the bound; the CPU engine has no use for it.
    pub fn set_max_dispatch_time(&self, bound: std::time::Duration) {
        if let Backend::Gpu(context) = &self.backend {
            context.set_dispatch_bound(bound);
        }
    }

    /// Compiles kernels through `cache` from here on, whose data stays the host's to load and to save. Says whether
    /// it does: a device has one cache, from here or from [`DeviceOptions::pipeline_cache`], and the CPU engine none.
    pub fn use_pipeline_cache(&self, cache: wgpu::PipelineCache) -> bool {
        match &self.backend {
            Backend::Cpu => false,
            Backend::Gpu(context) => context.use_pipeline_cache(cache),
        }
    }

    /// Writes what has been compiled so far to the folder of [`DeviceOptions::pipeline_cache`], for a program that
    /// does not end by dropping its devices. Where that fails the log says so.
    pub fn save_pipeline_cache(&self) {
        if let Backend::Gpu(context) = &self.backend {
            context.save_pipeline_cache();
        }
    }

    /// The tuning that plans on this device use; `None` for the CPU engine, which has none.
    pub fn tuning(&self) -> Option<Tuning> {
        match &self.backend {
            Backend::Cpu => None,
            Backend::Gpu(context) => Some(context.tuning()),
        }
    }

    /// Sets the tuning that plans on this device use from now on, for all its handles and memories. Jobs and recordings
    /// that have begun go on as they were. The CPU engine has no use for it.
    pub fn set_tuning(&self, tuning: Tuning) {
        if let Backend::Gpu(context) = &self.backend {
            context.set_tuning(tuning);
        }
    }

    /// A device that the host application owns. It is used within the limits and features that the host asked for; no
    /// callback is installed on it, nothing waits on it, and nothing is submitted but what [`Memory::retrieve`] is
    /// asked to submit.
    ///
    /// # Errors
    /// [`Error::Limit`](crate::Error::Limit) where the limits are too small for the kernels (less than WebGPU's
    /// defaults).
    ///
    /// [`Memory::retrieve`]: crate::Memory::retrieve
    pub fn from_wgpu(device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Self> {
        fork::check("Device::from_wgpu")?;
        fork::watch();
        let context = Context::host(device.clone(), queue.clone(), &[])?;
        Ok(Self { backend: Backend::Gpu(Arc::new(context)) })
    }

    /// The same of a device that the host has opened on `adapter`. Only an adapter tells which cooperative matrices
    /// it has: with it they are used, as far as the host has asked for `EXPERIMENTAL_COOPERATIVE_MATRIX`,
    /// `SHADER_F16` and `SUBGROUP`. The first is not among [`Device::recommended_features`], as it takes wgpu's
    /// [`ExperimentalFeatures::enabled`](wgpu::ExperimentalFeatures::enabled), which is for the host to decide.
    ///
    /// # Errors
    /// As [`Device::from_wgpu`].
    pub fn from_wgpu_with_adapter(adapter: &wgpu::Adapter, device: &wgpu::Device, queue: &wgpu::Queue) -> Result<Self> {
        fork::check("Device::from_wgpu_with_adapter")?;
        fork::watch();
        let configurations = adapter.cooperative_matrix_properties();
        let context = Context::host(device.clone(), queue.clone(), &configurations)?;
        Ok(Self { backend: Backend::Gpu(Arc::new(context)) })
    }

    /// Every adapter of this machine, hardware and software, in the order that
    /// [`AdapterChoice::Index`](crate::device::AdapterChoice::Index) counts. A browser tells of at most one, which it
    /// prefers.
    pub async fn adapters() -> Vec<wgpu::Adapter> {
        // Without WebGPU, or on a thread that has none, wgpu panics.
        #[cfg(target_arch = "wasm32")]
        if !wgpu::util::is_browser_webgpu_supported().await {
            return Vec::new();
        }
        Context::instance().enumerate_adapters(wgpu::Backends::all()).await
    }

    /// Whether this is the CPU engine.
    pub fn is_cpu(&self) -> bool {
        matches!(self.backend, Backend::Cpu)
    }

    /// The wgpu device behind this one, unless it is the CPU engine.
    pub fn wgpu(&self) -> Option<(&wgpu::Device, &wgpu::Queue)> {
        match &self.backend {
            Backend::Cpu => None,
            Backend::Gpu(context) => Some((&context.device, &context.queue)),
        }
    }

    /// What this device is.
    pub fn info(&self) -> DeviceInfo {
        match &self.backend {
            Backend::Cpu => DeviceInfo::cpu(),
            Backend::Gpu(context) => (&context.adapter).into(),
        }
    }
}
