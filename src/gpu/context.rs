//! A wgpu device with everything that this library keeps for it.

use std::ops::Deref;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::handles::Handles;
use super::limits::{experimental, minimum_limits};
use super::matrices::Ability;
use super::pipeline_cache::PipelineCache;
use super::pipelines::Pipelines;
use super::poller::Poller;
use super::timestamps::TimestampQueries;
use crate::device::options::DeviceOptions;
use crate::error::{Error, Result};
use crate::sync::lock;
use crate::tuning::Tuning;

/// The environment variable that keeps wgpu's checks in every shader.
const CHECKED: &str = "ATTRACTOR_CHECKED";
/// The bound on one dispatch unless a host sets another: three frames, far below any watchdog's limit.
const DISPATCH_BOUND: Duration = Duration::from_millis(50);

/// A device's handles, and the services that live as long as the device: pipelines, polling, timing, tuning.
#[derive(Debug)]
pub(crate) struct Context {
    /// The first field, so that it is dropped first: its thread must leave the device before the device is dropped.
    pub poller: Poller,
    handles: Handles,
    pub pipelines: Pipelines,
    pub stamp: AtomicU32,
    /// The settings that plans depend on.
    pub tuning: Mutex<Tuning>,
    /// The most nanoseconds that one dispatch may be estimated to take.
    pub dispatch_bound: AtomicU64,
    /// Timestamp queries that are not in use.
    pub idle_timestamps: Mutex<Vec<TimestampQueries>>,
    /// How often a call waited inside the device.
    pub waits: AtomicU64,
    /// Held by the thread that submits, on GL.
    pub submitting: Mutex<()>,
}

impl Context {
    /// Features that are requested where the adapter has them. None is required.
    pub const WISHES: wgpu::Features =
        wgpu::Features::SHADER_F16.union(wgpu::Features::SUBGROUP).union(wgpu::Features::TIMESTAMP_QUERY);

    /// An instance over all backends, with the usual environment overrides of wgpu.
    pub fn instance() -> wgpu::Instance {
        wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env())
    }

    /// Opens `adapter` with its own limits.
    pub async fn open(adapter: &wgpu::Adapter, options: &DeviceOptions) -> Result<Self> {
        let info = adapter.get_info();
        let mut features = Self::WISHES;
        features.set(wgpu::Features::SHADER_F16, !options.without_f16);
        features.set(wgpu::Features::SUBGROUP, !options.without_subgroups);
        features.set(wgpu::Features::PIPELINE_CACHE, options.pipeline_cache.is_some());
        features &= adapter.features();
        let limits = adapter.limits();
        let configurations = adapter.cooperative_matrix_properties();
        // The feature is requested only where a kernel can use it.
        let offered = adapter.features() & Ability::FEATURE;
        let cooperates = !options.without_cooperative_matrices
            && Ability::new(&info, features | offered, &limits, &configurations).is_some();
        features.set(Ability::FEATURE, cooperates);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("attractor"),
            required_features: features,
            required_limits: limits,
            experimental_features: experimental(cooperates),
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| Error::NoAdapter {
            operation: "Device::with_options",
            asked: info.name.clone(),
            found: format!("an adapter that refuses to open: {error}"),
        })?;
        let context = Self::new(device, queue, info, &configurations, true, options.checked_shaders)?;
        if let Some(folder) = &options.pipeline_cache
            && let Some(cache) = PipelineCache::open(&context, folder)
        {
            let _ = context.pipelines.cache.set(cache);
        }
        Ok(context)
    }

    /// A context on a host's device. `configurations` are the cooperative matrices that its adapter reports.
    pub fn host(
        device: wgpu::Device,
        queue: wgpu::Queue,
        configurations: &[wgpu::CooperativeMatrixProperties],
    ) -> Result<Self> {
        let info = device.adapter_info();
        Self::new(device, queue, info, configurations, false, false)
    }

    fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        adapter: wgpu::AdapterInfo,
        configurations: &[wgpu::CooperativeMatrixProperties],
        owned: bool,
        checked: bool,
    ) -> Result<Self> {
        let limits = device.limits();
        let mut short = None;
        minimum_limits().check_limits_with_fail_fn(&limits, false, |limit, need, allowed| {
            // Only limits that concern buffers and compute are checked.
            if ["bind", "storage_buffer", "uniform_buffer", "compute", "buffer_size"]
                .iter()
                .any(|of| limit.contains(of))
            {
                short.get_or_insert((limit, need, allowed));
            }
        });
        if let Some((limit, need, allowed)) = short {
            return Err(Error::Limit { operation: "Device::from_wgpu", limit, need, allowed });
        }
        let checked = checked || std::env::var_os(CHECKED).is_some_and(|value| !value.is_empty() && value != "0");
        Ok(Self {
            tuning: Mutex::new(Tuning::of(adapter.device_type)),
            poller: Poller::default(),
            handles: Handles::new(device, queue, adapter, configurations, owned, checked),
            pipelines: Pipelines::default(),
            stamp: AtomicU32::new(1),
            dispatch_bound: AtomicU64::new(DISPATCH_BOUND.as_nanos() as u64),
            idle_timestamps: Mutex::default(),
            waits: AtomicU64::new(0),
            submitting: Mutex::default(),
        })
    }

    /// How often something was submitted, and how often a call waited inside the device.
    pub fn counts(&self) -> (u64, u64) {
        (self.handles.submissions(), self.waits.load(Ordering::Relaxed))
    }

    /// Has kernels compiled through a host's cache from now on. Returns whether it does: a device has one cache.
    pub fn use_pipeline_cache(&self, cache: wgpu::PipelineCache) -> bool {
        self.pipelines.cache.set(PipelineCache::host(cache)).is_ok()
    }

    /// Writes the pipeline cache to its file, where it has one.
    pub fn save_pipeline_cache(&self) {
        if let Some(cache) = self.pipelines.cache.get() {
            cache.save();
        }
    }

    /// The settings that plans depend on.
    pub fn tuning(&self) -> Tuning {
        *lock(&self.tuning)
    }

    /// Sets what plans depend on from now on.
    pub fn set_tuning(&self, tuning: Tuning) {
        *lock(&self.tuning) = tuning;
    }

    /// The longest that one dispatch may be estimated to take.
    pub fn dispatch_bound(&self) -> Duration {
        Duration::from_nanos(self.dispatch_bound.load(Ordering::Relaxed))
    }

    /// Sets the longest that one dispatch may be estimated to take.
    pub fn set_dispatch_bound(&self, bound: Duration) {
        self.dispatch_bound.store(bound.as_nanos().clamp(1, u64::MAX.into()) as u64, Ordering::Relaxed);
    }

    /// A completion stamp, never zero: unlike the last 2^24 stamps, and unlikely to be in a buffer by chance.
    pub fn next_stamp(&self) -> u32 {
        0x5a00_0001 ^ (self.stamp.fetch_add(1, Ordering::Relaxed) & 0x00ff_ffff).rotate_left(1)
    }
}

/// A context is used as its handles where no service is needed.
impl Deref for Context {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.handles
    }
}
