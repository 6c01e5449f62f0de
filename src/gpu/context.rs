//! A wgpu device and everything of ours that lives as long as it.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::complaints::Complaints;
use super::cooperate;
use super::job::Probe;
use super::kernel;
use super::limits::{LARGEST_BINDING, experimental, least_limits};
use super::pace;
use super::pipeline_cache::PipelineCache;
use super::readback::Poller;
use crate::device::DeviceOptions;
use crate::error::{Error, Result};
use crate::fork;
use crate::tuning::Tuning;

/// The environment variable that keeps wgpu's checks in every shader.
const CHECKED: &str = "ATTRACTOR_CHECKED";

/// A wgpu device and everything of ours that lives as long as it.
#[derive(Debug)]
pub(crate) struct Context {
    /// The first field, so that it is dropped first: its thread has left the device when the device is dropped.
    pub poller: Poller,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub adapter: wgpu::AdapterInfo,
    pub limits: wgpu::Limits,
    /// What cooperative matrices it has.
    pub cooperate: Option<cooperate::Ability>,
    /// Whether the device is ours to submit to and wait on.
    pub owned: bool,
    pub pipelines: kernel::Pipelines,
    pub pipeline_cache: OnceLock<PipelineCache>,
    /// Whether shaders keep wgpu's checks.
    pub checked: bool,
    pub watch: OnceLock<kernel::Watch>,
    /// A layout of one storage buffer, to learn whether a caller's is of this device.
    pub owner: OnceLock<wgpu::BindGroupLayout>,
    pub stamp: AtomicU32,
    /// What plans go by.
    pub tuning: Mutex<Tuning>,
    /// Nanoseconds that a dispatch is expected to take, at the most.
    pub dispatch_bound: AtomicU64,
    /// Timers that are not in use.
    pub probes: Mutex<Vec<Probe>>,
    /// Calls that submitted, and calls that waited inside the device.
    pub submissions: AtomicU64,
    pub waits: AtomicU64,
    /// Held by whoever submits on GL.
    pub submitting: Mutex<()>,
    /// What the device has to say against calls that have returned.
    pub complaints: Complaints,
}

impl Context {
    /// Features that a device of ours asks for where the adapter has them, and that nothing depends on.
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
        // What can use it, where the adapter has it.
        let offered = adapter.features() & cooperate::Ability::FEATURE;
        let cooperates = !options.without_cooperative_matrices
            && cooperate::Ability::new(&info, features | offered, &limits, &configurations).is_some();
        features.set(cooperate::Ability::FEATURE, cooperates);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("attractor"),
            required_features: features,
            required_limits: limits,
            experimental_features: experimental(cooperates),
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| Error::Device {
            operation: "Device::with_options",
            why: format!("{} refuses to open: {error}", info.name),
        })?;
        let context = Self::new(device, queue, info, &configurations, true, options.checked_shaders)?;
        if let Some(folder) = &options.pipeline_cache
            && let Some(cache) = PipelineCache::open(&context, folder)
        {
            context.keep_pipelines(cache);
        }
        Ok(context)
    }

    /// Takes part in a host's device, of which only the adapter tells what cooperative matrices it has.
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
        least_limits().check_limits_with_fail_fn(&limits, false, |limit, need, allowed| {
            // What has nothing to do with buffers and compute is none of our business.
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
        let cooperate = cooperate::Ability::new(&adapter, device.features(), &limits, configurations);
        Ok(Self {
            tuning: Mutex::new(Tuning::of(adapter.device_type)),
            device,
            queue,
            adapter,
            limits,
            cooperate,
            owned,
            pipelines: kernel::Pipelines::default(),
            pipeline_cache: OnceLock::new(),
            checked: checked || std::env::var_os(CHECKED).is_some_and(|value| !value.is_empty() && value != "0"),
            watch: OnceLock::new(),
            owner: OnceLock::new(),
            poller: Poller::default(),
            stamp: AtomicU32::new(1),
            dispatch_bound: AtomicU64::new(pace::DISPATCH_BOUND.as_nanos() as u64),
            probes: Mutex::default(),
            submissions: AtomicU64::new(0),
            waits: AtomicU64::new(0),
            submitting: Mutex::default(),
            complaints: Complaints::default(),
        })
    }

    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    /// Submits: the one place that does.
    pub fn hand_in(&self, commands: Option<wgpu::CommandBuffer>) -> wgpu::SubmissionIndex {
        self.submissions.fetch_add(1, Ordering::Relaxed);
        self.queue.submit(commands)
    }

    /// Calls that submitted, and calls that waited inside the device.
    pub fn counts(&self) -> (u64, u64) {
        (self.submissions.load(Ordering::Relaxed), self.waits.load(Ordering::Relaxed))
    }

    fn keep_pipelines(&self, cache: PipelineCache) -> bool {
        self.pipeline_cache.set(cache).is_ok()
    }

    /// Compiles from here on through a host's cache, unless there is one already, which is said.
    pub fn use_pipeline_cache(&self, cache: wgpu::PipelineCache) -> bool {
        self.keep_pipelines(PipelineCache::host(cache))
    }

    /// Writes what has been compiled to the cache's file, where it has one.
    pub fn save_pipeline_cache(&self) {
        if let Some(cache) = self.pipeline_cache.get() {
            cache.save();
        }
    }

    /// Whether shaders keep wgpu's checks.
    pub fn checked(&self) -> bool {
        self.checked
    }

    pub fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        self.pipeline_cache.get().map(|kept| &kept.cache)
    }

    pub fn watch(&self) -> Option<&kernel::Watch> {
        self.watch.get()
    }

    pub fn adapter(&self) -> &wgpu::AdapterInfo {
        &self.adapter
    }

    /// What plans go by.
    pub fn tuning(&self) -> Tuning {
        *self.tuning.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets what plans go by from now on.
    pub fn set_tuning(&self, tuning: Tuning) {
        *self.tuning.lock().unwrap_or_else(PoisonError::into_inner) = tuning;
    }

    /// The most bytes of one window.
    pub fn window_limit(&self) -> u64 {
        self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size).min(LARGEST_BINDING) / 16 * 16
    }

    /// A stamp that no other run of this device has, and that no buffer holds by chance: never zero.
    pub fn next_stamp(&self) -> u32 {
        0x5a00_0001 ^ (self.stamp.fetch_add(1, Ordering::Relaxed) & 0x00ff_ffff).rotate_left(1)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // The threads that a driver would wait for are not in the child of a fork.
        if fork::is_child() {
            std::mem::forget((self.device.clone(), self.queue.clone()));
        }
    }
}
