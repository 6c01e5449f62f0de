//! The WGSL engine. `plan` chooses sizes, `retrieve` is the pipeline as a list of dispatches, `dispatch` says what each
//! binds, `record` encodes them, `answers` turns what comes back into a [`Retrieval`]; each stage's host file shares its
//! stem with a shader. `shader` links texts, `kernel` compiles them.

mod answers;
mod buffer;
mod candidates;
mod compact;
mod complaints;
mod cooperate;
mod cue;
mod dispatch;
mod explain;
mod export;
mod finish;
mod gather;
mod hold;
mod job;
mod kernel;
mod merge;
mod module;
mod pace;
mod partial;
mod pipeline_cache;
pub(crate) mod plan;
mod prepare;
mod projection;
mod quirks;
mod range;
mod read;
mod readback;
mod record;
mod refine;
mod retrieve;
mod separation;
mod shader;
mod sift;
mod similarity;
mod stored;
mod stream;
mod submit;
mod threshold;
mod weigh;
mod workspace;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::device::DeviceOptions;
use crate::error::{Error, Result};
use crate::fork;
use crate::mask::Mask;
use crate::pending::Pending;
use crate::retrieval::{Retrieval, RetrieveOptions, Weighed};
use crate::rule::{Rule, Similarity};
use crate::store::{Alive, EncodedRows, Growth, Layout, NewRows, Precision, Snapshot, View, Windows, decode};
use crate::tuning::Tuning;
use answers::{Answers, Facts};
use buffer::Binding;
use complaints::Complaints;
pub(crate) use job::Job;
use pipeline_cache::PipelineCache;
use plan::{Plan, Shape, Sizes};
use range::{Magnitudes, States, Written};
pub(crate) use readback::Awaited;
use readback::Staged;
use retrieve::{Bits, Kind, Targets, Task};
pub(crate) use submit::Waiting;
use workspace::Workspace;

/// For the project's own tests.
pub mod internals {
    /// Submissions that were made for a device, and calls that waited inside it.
    pub fn counts(device: &crate::Device) -> (u64, u64) {
        match &device.kind {
            crate::device::Kind::Cpu => (0, 0),
            crate::device::Kind::Gpu(context) => context.counts(),
        }
    }

    /// Pipelines that were compiled for a device.
    pub fn compiled(device: &crate::Device) -> usize {
        match &device.kind {
            crate::device::Kind::Cpu => 0,
            crate::device::Kind::Gpu(context) => context.pipelines.count(),
        }
    }

    /// Watches every kernel that is compiled for a device from here on; says whether it is now watched by this one.
    pub fn watch(device: &crate::Device, watch: Watch) -> bool {
        match &device.kind {
            crate::device::Kind::Cpu => false,
            crate::device::Kind::Gpu(context) => context.watch.set(watch).is_ok(),
        }
    }

    pub use super::cooperate::Ability;
    pub use super::kernel::{Access, KERNELS, Kernel, Variant, Watch};
    pub use super::plan::{Hints, ITERATION_LIMIT, Plan, Regime, Shape};
    pub use super::shader::{Constant, link};
}

/// The environment variable that keeps wgpu's checks in every shader.
const CHECKED: &str = "ATTRACTOR_CHECKED";
/// No binding is larger, on any backend: Vulkan and DX12 stop at 2^31 - 4.
const LARGEST_BINDING: u64 = (1 << 31) - 4;
/// What the kernels need of a device ([`Context::least_limits`]).
const STORAGE_BUFFERS: u32 = 8;
const WORKGROUP_BYTES: u32 = 14 << 10;
const INVOCATIONS: u32 = 256;
/// Bytes of the largest parameters.
const PARAMS: u64 = 256;
/// A block of queries has its rows, its scores and its lists in one buffer each, none larger.
const SMALLEST_BINDING: u64 = 32 << 20;
/// Bytes of an upload after which pending writes are flushed on a device of ours.
const UPLOAD: usize = 32 << 20;
/// Bytes of queries, of masks, and of answers that one submission of ours takes, as far as queries can be cut apart.
const PART: u64 = 64 << 20;
/// Updates of one retrieval, at the most: each is recorded, whether or not queries stop before it.
const MOST_STEPS: u32 = (1 << 20) - 1;
/// Dispatches that one encoder of the caller's takes, at the most.
const MOST_RECORDED: usize = 1 << 20;

/// A wgpu device and everything of ours that lives as long as it.
#[derive(Debug)]
pub(crate) struct Context {
    /// The first field, so that it is dropped first: its thread has left the device when the device is dropped.
    poller: readback::Poller,
    device: wgpu::Device,
    queue: wgpu::Queue,
    adapter: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    /// What cooperative matrices it has.
    cooperate: Option<cooperate::Ability>,
    /// Whether the device is ours to submit to and wait on.
    owned: bool,
    pipelines: kernel::Pipelines,
    pipeline_cache: OnceLock<PipelineCache>,
    /// Whether shaders keep wgpu's checks.
    checked: bool,
    watch: OnceLock<kernel::Watch>,
    /// A layout of one storage buffer, to learn whether a caller's is of this device.
    owner: OnceLock<wgpu::BindGroupLayout>,
    stamp: AtomicU32,
    /// What plans go by.
    tuning: Mutex<Tuning>,
    /// Nanoseconds that a dispatch is expected to take, at the most.
    dispatch_bound: AtomicU64,
    /// Timers that are not in use.
    probes: Mutex<Vec<job::Probe>>,
    /// Calls that submitted, and calls that waited inside the device.
    submissions: AtomicU64,
    waits: AtomicU64,
    /// Held by whoever submits on GL.
    submitting: Mutex<()>,
    /// What the device has to say against calls that have returned.
    complaints: Complaints,
}

impl Context {
    /// Features that a device of ours asks for where the adapter has them, and that nothing depends on.
    pub const WISHES: wgpu::Features =
        wgpu::Features::SHADER_F16.union(wgpu::Features::SUBGROUP).union(wgpu::Features::TIMESTAMP_QUERY);

    /// What the kernels need of a device; WebGPU's defaults have all of it.
    pub fn least_limits() -> wgpu::Limits {
        wgpu::Limits {
            max_bind_groups: 1,
            max_bindings_per_bind_group: STORAGE_BUFFERS + 1,
            max_storage_buffers_per_shader_stage: STORAGE_BUFFERS,
            max_uniform_buffers_per_shader_stage: 1,
            max_dynamic_uniform_buffers_per_pipeline_layout: 1,
            max_uniform_buffer_binding_size: PARAMS,
            max_storage_buffer_binding_size: SMALLEST_BINDING,
            max_buffer_size: SMALLEST_BINDING,
            max_compute_workgroup_storage_size: WORKGROUP_BYTES,
            max_compute_invocations_per_workgroup: INVOCATIONS,
            max_compute_workgroup_size_x: INVOCATIONS,
            max_compute_workgroup_size_y: 64,
            max_compute_workgroup_size_z: 1,
            max_compute_workgroups_per_dimension: 65_535,
            ..wgpu::Limits::downlevel_webgl2_defaults()
        }
    }

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
        Self::least_limits().check_limits_with_fail_fn(&limits, false, |limit, need, allowed| {
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
            poller: readback::Poller::default(),
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
    fn checked(&self) -> bool {
        self.checked
    }

    fn pipeline_cache(&self) -> Option<&wgpu::PipelineCache> {
        self.pipeline_cache.get().map(|kept| &kept.cache)
    }

    fn watch(&self) -> Option<&kernel::Watch> {
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
    fn next_stamp(&self) -> u32 {
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

/// Leave to use experimental features, for who asks for one.
#[allow(unsafe_code, reason = "cooperative matrices are experimental in wgpu 30")]
fn experimental(asked: bool) -> wgpu::ExperimentalFeatures {
    // SAFETY: of what is experimental, only cooperative matrices are asked for. What they may do that is not defined is to
    // reach beyond a buffer, or to be multiplied by a part of a subgroup: all fragments come from shared memory, within
    // arrays sized for them, and no branch around them depends on an invocation.
    if asked { unsafe { wgpu::ExperimentalFeatures::enabled() } } else { wgpu::ExperimentalFeatures::disabled() }
}

/// Rows in a caller's buffer, for [`Memory::record`](crate::Memory::record). The buffer needs `STORAGE` usage; queries,
/// outputs, states and reports may share a buffer as long as their rows do not overlap.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The buffer.
    pub buffer: &'a wgpu::Buffer,
    /// Where the first row starts, in bytes; a multiple of 4.
    pub offset: u64,
    /// Words from one row to the next; the width of a row when absent.
    pub stride: Option<u32>,
}

impl<'a> Rows<'a> {
    /// Rows side by side from the start of `buffer`.
    pub fn new(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0, stride: None }
    }

    /// Rows side by side from byte `offset` of `buffer`.
    pub fn at(buffer: &'a wgpu::Buffer, offset: u64) -> Self {
        Self { buffer, offset, stride: None }
    }

    fn stride(&self, columns: usize) -> u64 {
        self.stride.map_or(columns as u64, u64::from)
    }

    /// Refuses rows that do not fit the buffer; `count` is at least 1.
    fn check(&self, operation: &'static str, what: &'static str, count: usize, columns: usize) -> Result<()> {
        let refuse = |expected: String, got: String| {
            Err(Error::Shape { operation, expected: format!("{what}: {expected}"), got })
        };
        if !self.buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return refuse("a buffer with STORAGE usage".into(), format!("{:?}", self.buffer.usage()));
        }
        if !self.offset.is_multiple_of(4) {
            return refuse("an offset that is a multiple of 4".into(), self.offset.to_string());
        }
        let stride = self.stride(columns);
        if stride < columns as u64 {
            return refuse(format!("a stride of at least {columns} words"), stride.to_string());
        }
        // Rows are counted in 32 bits where they are read and written.
        let before = u32::try_from(count).ok().and_then(|count| u64::from(count).checked_sub(1)?.checked_mul(stride));
        let words = before.and_then(|before| before.checked_add(columns as u64));
        let end = words.and_then(|words| words.checked_mul(4)).and_then(|bytes| bytes.checked_add(self.offset));
        match end {
            Some(end) if end <= self.buffer.size() => Ok(()),
            _ => refuse(
                format!("{count} rows of {columns} words, {stride} apart, from byte {}", self.offset),
                format!("a buffer of {} bytes", self.buffer.size()),
            ),
        }
    }
}

/// [`Rows`] that are held.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    buffer: wgpu::Buffer,
    offset: u64,
    stride: Option<u32>,
}

impl Place {
    /// Rows side by side from byte `offset` of `buffer`.
    fn at(buffer: &wgpu::Buffer, offset: u64) -> Self {
        Self { buffer: buffer.clone(), offset, stride: None }
    }

    fn stride(&self, columns: usize) -> u64 {
        self.stride.map_or(columns as u64, u64::from)
    }
}

impl From<Rows<'_>> for Place {
    fn from(rows: Rows<'_>) -> Self {
        Self { buffer: rows.buffer.clone(), offset: rows.offset, stride: rows.stride }
    }
}

/// Where [`Memory::record`](crate::Memory::record) reads `count` queries from and writes their answers to.
///
/// Queries that are NaN, infinite or out of [range](crate::Memory#range) cannot be refused here: such a query gets a
/// row of zeros, and its report's status has bit 0 (not finite) or bit 4 (out of range) set. Bit 1 is set where no
/// pattern is left.
#[derive(Clone, Copy, Debug)]
pub struct Recording<'a> {
    /// `B`, the number of queries.
    pub count: usize,
    /// `B x d` f32.
    pub queries: Rows<'a>,
    /// `B x dv` f32.
    pub output: Rows<'a>,
    /// `B x d` f32, the last states, if wanted.
    pub state: Option<Rows<'a>>,
    /// `B x 4` words, if wanted: a completion stamp (never 0), updates done, the last update's largest change of a
    /// coordinate (f32 bits), and a status (bit 0: the query was not finite; bit 1: no pattern could have weight).
    pub report: Option<Rows<'a>>,
}

/// Rows of one window on the device, padded as [`Layout`] says.
#[derive(Clone, Debug)]
pub(crate) struct StoredRows {
    keys: Binding,
    values: Option<Binding>,
    /// Four floats a row: the factor of its similarity (1, or under cosine the inverse norm), its bias, and the scales of
    /// its key and value. Absent where all of them would be trivial.
    terms: Option<Binding>,
}

/// Patterns on a device and what retrieves from them.
#[derive(Debug)]
pub(crate) struct Engine {
    context: Arc<Context>,
    layout: Layout,
    rule: Rule,
    windows: Windows<StoredRows>,
    magnitudes: Magnitudes,
    /// The workspace that recordings share: on one queue, each is through with it before the next begins.
    recorded: Mutex<Option<Arc<Workspace>>>,
    /// The patterns that are left, as bits, since they last changed.
    left: Mutex<Option<Binding>>,
    /// Workspaces for retrievals of ours, which may span several submissions: one taken out by each.
    spare: Arc<Mutex<Vec<Arc<Workspace>>>>,
}

impl Engine {
    pub fn new(context: Arc<Context>, layout: Layout, rule: Rule) -> Self {
        let windows = Windows::new(layout.max_rows);
        let (recorded, left, spare) = (Mutex::default(), Mutex::default(), Arc::default());
        Self { context, layout, rule, windows, magnitudes: Magnitudes::default(), recorded, left, spare }
    }

    pub fn capacity(&self) -> usize {
        self.windows.capacity()
    }

    /// Other patterns are left than before.
    pub fn others_left(&mut self) {
        *self.left.get_mut().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub fn clear(&mut self) {
        self.windows.clear();
        self.magnitudes.clear();
    }

    /// Forgets all patterns and leaves their buffers to whoever still reads them.
    pub fn leave(&mut self) {
        self.windows.drop_all();
        self.magnitudes.clear();
    }

    fn has_terms(&self) -> bool {
        self.rule.similarity == Similarity::Cosine || self.layout.bias || self.layout.precision == Precision::I8
    }

    pub fn reserve(&mut self, additional: usize, growth: Growth) -> Result<()> {
        let (layout, terms) = (self.layout, self.has_terms());
        let context = self.context.clone();
        let usage = buffer::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        self.windows.reserve(additional, growth, |rows| {
            context.present()?;
            let create = |label, row: usize| -> Result<Binding> {
                Ok(Binding::from(&buffer::create(&context, label, (rows * row) as u64, usage)?))
            };
            let element = layout.precision.bytes();
            Ok(StoredRows {
                keys: create("attractor.keys", element * layout.key_stride())?,
                values: match layout.value_dim {
                    Some(_) => Some(create("attractor.values", element * layout.value_stride())?),
                    None => None,
                },
                terms: if terms { Some(create("attractor.terms", 16)?) } else { None },
            })
        })
    }

    /// Stores rows whose shapes and finiteness have been checked and for which there is room.
    pub fn add(&mut self, rows: &NewRows<'_>) -> Result<()> {
        let Self { context, layout, rule, windows, magnitudes, .. } = self;
        magnitudes.try_reserve("Memory::add", rows.keys.len() / layout.dim, layout)?;
        let piece = (UPLOAD / (4 * layout.key_stride().max(layout.value_stride()))).max(1);
        let filled = windows.fill(rows.keys.len() / layout.dim, |window, at, range| {
            for start in range.clone().step_by(piece) {
                let end = range.end.min(start + piece);
                let part = rows.slice(start..end, layout.dim, layout.value_dim);
                magnitudes.add(context.write_rows(window, at + start - range.start, &part, layout, *rule)?);
                if end < range.end {
                    // An upload of gigabytes must not stage gigabytes.
                    context.flush()?;
                }
            }
            Ok(())
        });
        magnitudes.truncate(windows.len());
        filled
    }

    /// Replaces the row at `position`, which is stored.
    pub fn overwrite(&mut self, position: usize, rows: &NewRows<'_>) -> Result<()> {
        let (window, at) = self.windows.row(position);
        let written = self.context.write_rows(window, at, rows, &self.layout, self.rule)?;
        self.magnitudes.overwrite(position, &written);
        Ok(())
    }

    fn shape(&self, batch: usize, options: &RetrieveOptions) -> Shape {
        self.shape_of(self.rule, self.windows.len() as u64, batch, options)
    }

    /// The shape of a retrieval by `rule` from `patterns` of those that are stored.
    fn shape_of(&self, rule: Rule, patterns: u64, batch: usize, options: &RetrieveOptions) -> Shape {
        let softmax = matches!(Kind::of(rule, patterns), Kind::Softmax { .. });
        // Euclidean scores would lose by cancellation what their products keep.
        let products = matches!(rule.similarity, Similarity::Dot | Similarity::Cosine);
        let weighs = options.statistics || options.top > 0 || options.weights != crate::WeightsOf::None;
        let features = self.context.device.features();
        Shape {
            batch: batch as u64,
            patterns,
            key_vectors: (self.layout.key_stride() / 4) as u32,
            value_vectors: (self.layout.value_stride() / 4) as u32,
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            unrolls_slowly: quirks::unrolls_slowly(self.context.adapter.backend, features),
            cooperate: self.context.cooperate.filter(|_| products && self.layout.precision == Precision::F16),
            parts: if options.round_to_half { 1 } else { 2 },
            fused: softmax,
            lists: !softmax || weighs || options.energy || options.trace,
            cue: rule.similarity == Similarity::Cosine,
            previous: weighs,
            result: self.layout.value_dim.is_some() || options.clamp.is_some(),
        }
    }

    /// The sizes of a retrieval of this shape, as the device is tuned now.
    fn sizing(&self, shape: Shape, options: &RetrieveOptions) -> Sizing {
        let mut tuning = self.context.tuning();
        // Whoever asks for one cannot know.
        if quirks::needs_small_tiles(&self.context.adapter) {
            tuning.tile_batch = u64::MAX;
        }
        let plan = Plan::new(&shape, &tuning, &options.hints);
        let staged = plan.staged(&shape, &tuning, &options.hints);
        let searching = staged.searching(&shape, &tuning, &options.hints);
        let sizes = Sizes::new(&plan, &staged, &shape);
        Sizing { shape, tuning, plan, staged, searching, sizes }
    }

    fn facts(&self, alive: Option<&Alive>) -> Facts {
        let patterns = self.windows.len();
        Facts {
            layout: self.layout,
            rule: self.rule,
            patterns,
            stored: alive.map_or(patterns, Alive::count),
            largest_square: self
                .magnitudes
                .squares
                .iter()
                .enumerate()
                .filter(|(position, _)| alive.is_none_or(|alive| alive[*position]))
                .fold(0.0, |most, (_, square)| square.max(most)),
        }
    }

    /// Refuses more updates than a device is given.
    fn check_steps(operation: &'static str, options: &RetrieveOptions) -> Result<()> {
        let (need, allowed) = (options.max_steps().into(), MOST_STEPS.into());
        match need <= allowed {
            true => Ok(()),
            false => Err(Error::Limit { operation, limit: "updates of one retrieval on a GPU", need, allowed }),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what a recording is made of")]
    pub fn record(
        &self,
        operation: &'static str,
        encoder: &mut wgpu::CommandEncoder,
        job: &Recording<'_>,
        options: &RetrieveOptions,
        timestamps: Option<wgpu::ComputePassTimestampWrites<'_>>,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<()> {
        if job.count == 0 {
            return Ok(());
        }
        let targets = self.targets(operation, job)?;
        self.record_targets(operation, encoder, targets, options, timestamps, view, snapshot).map(|_| ())
    }

    /// A caller's buffers, if they fit.
    fn targets(&self, operation: &'static str, recording: &Recording<'_>) -> Result<Targets> {
        let Recording { count, queries, output, state, report } = recording;
        let (dim, output_dim) = (self.layout.dim, self.layout.output_dim());
        let all = [
            ("queries", Some(queries), dim),
            ("output", Some(output), output_dim),
            ("state", state.as_ref(), dim),
            ("report", report.as_ref(), finish::REPORT_WORDS as usize),
        ];
        for (what, rows, columns) in all {
            if let Some(rows) = rows {
                rows.check(operation, what, *count, columns)?;
            }
        }
        for (i, (what, rows, _)) in all.iter().enumerate() {
            let Some(rows) = rows else { continue };
            let seen = |(_, other, _): &(_, Option<&Rows<'_>>, _)| other.is_some_and(|o| o.buffer == rows.buffer);
            if !all[..i].iter().any(seen) {
                self.context.check_owner(operation, what, rows.buffer)?;
            }
        }
        Ok(Targets {
            count: *count,
            queries: (*queries).into(),
            output: (*output).into(),
            state: state.map(Place::from),
            report: report.map(Place::from),
            weighed: None,
            energy: None,
            trace: Vec::new(),
            top: None,
            weights: Vec::new(),
        })
    }

    /// Refuses rows so far apart that no binding spans those of a block.
    fn check_spans(&self, operation: &'static str, targets: &Targets, sizing: &Sizing) -> Result<()> {
        let (dim, output_dim) = (self.layout.dim, self.layout.output_dim());
        let limits = &self.context.limits;
        let allowed = limits.max_storage_buffer_binding_size;
        let between = (targets.count.min(sizing.plan.query_block as usize) as u64).saturating_sub(1);
        let all = [
            (Some(&targets.queries), dim),
            (Some(&targets.output), output_dim),
            (targets.state.as_ref(), dim),
            (targets.report.as_ref(), finish::REPORT_WORDS as usize),
        ];
        for (place, columns) in all {
            let Some(place) = place else { continue };
            let words = between.saturating_mul(place.stride(columns)).saturating_add(columns as u64);
            // A binding starts where the device allows, before the first of them.
            let need = words.saturating_mul(4).saturating_add(limits.min_storage_buffer_offset_alignment.into());
            if need > allowed {
                let limit = "max_storage_buffer_binding_size, for rows of one block";
                return Err(Error::Limit { operation, limit, need, allowed });
            }
        }
        Ok(())
    }

    /// Records a retrieval for `count` queries in a buffer of the caller's, and what brings the answers to the host once
    /// the caller has submitted it.
    #[expect(clippy::too_many_arguments, reason = "what a recording is made of")]
    pub fn record_answers(
        &self,
        operation: &'static str,
        encoder: &mut wgpu::CommandEncoder,
        count: usize,
        queries: Rows<'_>,
        options: &RetrieveOptions,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<Pending<Retrieval>> {
        let facts = self.facts(view.alive());
        if count > 0 {
            queries.check(operation, "queries", count, self.layout.dim)?;
            self.context.check_owner(operation, "queries", queries.buffer)?;
            Self::check_steps(operation, options)?;
        }
        let mut collected = Collected::new(operation, &facts, view, count, options)?;
        if count == 0 {
            return Ok(Pending::native(Box::pin(std::future::ready(Ok(collected.finish())))));
        }
        let (positions, places): (Vec<usize>, Vec<usize>) =
            Weighed::new(operation, &options.weights)?.of(0..count).unzip();
        let answers = Answers::new(facts, options, count, &positions);
        let (target, staging) = self.context.answers(answers.size)?;
        let targets = answers.targets(&target, queries.into());
        let stamp = self.record_targets(operation, encoder, targets, options, None, view, snapshot)?;
        encoder.copy_buffer_to_buffer(&target, 0, &staging, 0, staging.size());
        let staged = Staged::on_submit(self.context.clone(), staging, encoder);
        let laid = Laid { stamp, answers, places };
        let coming = async move {
            collected.take(&laid, &staged.come().await?)?;
            Ok(collected.finish())
        };
        Ok(Pending::device(self.context.clone(), None, Box::pin(coming)))
    }

    /// Records what answers `targets`, and returns the stamp that the answers carry.
    #[expect(clippy::too_many_arguments, reason = "what a recording is made of")]
    fn record_targets(
        &self,
        operation: &'static str,
        encoder: &mut wgpu::CommandEncoder,
        targets: Targets,
        options: &RetrieveOptions,
        timestamps: Option<wgpu::ComputePassTimestampWrites<'_>>,
        view: &View,
        snapshot: Snapshot,
    ) -> Result<u32> {
        Self::check_steps(operation, options)?;
        let (count, stamp) = (targets.count, self.context.next_stamp());
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(count), options), options);
        self.check_spans(operation, &targets, &sizing)?;
        let workspace = {
            let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
            match &*recorded {
                Some(workspace) if workspace.sizes.hold(&sizing.sizes) && !options.hints.garbage => workspace.clone(),
                _ => {
                    let workspace = Workspace::new(&self.context, sizing.sizes, options.hints.garbage)?;
                    recorded.insert(Arc::new(workspace)).clone()
                }
            }
        };
        let task = self.task(&sizing, workspace, options, view.alive(), 0..count, stamp)?;
        // Whole before anything is recorded: an error leaves the encoder as it was.
        let mut program = task.program(targets);
        let mut calls = Vec::new();
        while !program.is_done() {
            calls.append(&mut program.next(f64::INFINITY)?);
            if calls.len() > MOST_RECORDED {
                let (need, allowed) = (calls.len() as u64, MOST_RECORDED as u64);
                return Err(Error::Limit { operation, limit: "dispatches in one encoder", need, allowed });
            }
        }
        let encode = || record::encode(&self.context, encoder, &calls, timestamps);
        buffer::scoped(&self.context, "record", encode)??;
        // Until the host has run it, what it reads stays.
        encoder.on_submitted_work_done(move || drop(snapshot));
        Ok(stamp)
    }

    /// The task for queries `part` of a batch.
    fn task(
        &self,
        sizing: &Sizing,
        workspace: Arc<Workspace>,
        options: &RetrieveOptions,
        alive: Option<&Alive>,
        part: impl Iterator<Item = usize> + Clone,
        stamp: u32,
    ) -> Result<Task> {
        Ok(Task {
            context: self.context.clone(),
            layout: self.layout,
            rule: self.rule,
            windows: self.windows.filled().cloned().collect(),
            range: 0..self.windows.len(),
            plan: sizing.plan.clone(),
            staged: sizing.staged.clone(),
            searching: sizing.searching.clone(),
            shape: sizing.shape,
            workspace,
            keep: self.keep(options.mask.as_ref(), alive, part.clone())?,
            known: self.known(options.clamp.as_deref(), part)?,
            max_steps: options.max_steps(),
            tolerance: options.tolerance(),
            stops_early: options.stops_early(),
            stamp,
            damage: options.hints.damage,
            query_range: self.query_range("Memory::retrieve", States::of(options), alive)?,
        })
    }

    /// The mask and the patterns that are left, as bits for queries `part`.
    fn keep(
        &self,
        mask: Option<&Mask>,
        alive: Option<&Alive>,
        part: impl Iterator<Item = usize>,
    ) -> Result<Option<Bits>> {
        if mask.is_none() && alive.is_none() {
            return Ok(None);
        }
        let patterns = self.windows.len();
        if let (None, Some(alive)) = (mask, alive) {
            let mut left = self.left.lock().unwrap_or_else(PoisonError::into_inner);
            let words = match &*left {
                Some(words) => words.clone(),
                None => {
                    let bits = bytemuck::cast_slice(alive.words());
                    left.insert(Binding::from(&self.context.upload("attractor.left", bits)?)).clone()
                }
            };
            return Ok(Some(Bits { words, stride: 0 }));
        }
        let per_query = mask.is_some_and(Mask::is_per_query);
        // One row serves all queries where they share it.
        let rows = part.take(if per_query { usize::MAX } else { 1 });
        let keeps = |b: usize, i: usize| {
            mask.is_none_or(|mask| mask.keeps(b, i, patterns)) && alive.is_none_or(|alive| alive[i])
        };
        let bits = pack(rows.map(|b| (0..patterns).map(move |i| keeps(b, i))));
        self.upload_bits("attractor.keep", &bits, if per_query { patterns.div_ceil(32) } else { 0 })
    }

    /// The clamped coordinates of queries `part`, as bits.
    fn known(&self, clamp: Option<&[bool]>, part: impl Iterator<Item = usize>) -> Result<Option<Bits>> {
        let Some(clamp) = clamp else { return Ok(None) };
        let dim = self.layout.dim;
        let bits = pack(part.map(|b| clamp[b * dim..(b + 1) * dim].iter().copied()));
        self.upload_bits("attractor.known", &bits, dim.div_ceil(32))
    }

    fn upload_bits(&self, label: &'static str, words: &[u32], stride: usize) -> Result<Option<Bits>> {
        let buffer = self.context.upload(label, bytemuck::cast_slice(words))?;
        Ok(Some(Bits { words: Binding::from(&buffer), stride: stride as u32 }))
    }

    /// Submits a retrieval of checked queries.
    pub fn retrieve(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        view: &View,
        waiting: Waiting,
    ) -> Result<Pending<Retrieval>> {
        let layout = self.layout;
        let batch = queries.len() / layout.dim;
        let facts = self.facts(view.alive());
        let mut collected = Collected::new(operation, &facts, view, batch, options)?;
        if batch == 0 {
            return Ok(Pending::native(Box::pin(std::future::ready(Ok(collected.finish())))));
        }
        Self::check_steps(operation, options)?;
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(batch), options), options);
        let workspace = match options.hints.garbage {
            false => self.workspace(&sizing)?,
            true => Arc::new(Workspace::new(&self.context, sizing.sizes, true)?),
        };
        let weighed = Weighed::new(operation, &options.weights)?;
        let alive = view.alive();
        let asked = Asked { queries, options, weighed: &weighed, alive, facts, sizing: &sizing, workspace: &workspace };
        let mut parts: Vec<(Staged, Laid)> = Vec::new();
        for part in self.parts(batch, &sizing, options) {
            let Part { task, targets, target, staging, laid } = self.part(&asked, part)?;
            parts.push((self.context.submit(task.program(targets), &target, staging, waiting)?, laid));
        }
        self.give_back(workspace);
        let submission = parts.last().and_then(|(staged, _)| staged.submission());
        let coming = async move {
            for (staged, laid) in parts {
                collected.take(&laid, &staged.come().await?)?;
            }
            Ok(collected.finish())
        };
        Ok(Pending::device(self.context.clone(), submission, Box::pin(coming)))
    }

    /// Queries `part` of what is asked: uploaded, with somewhere for their answers, and ready to be recorded.
    fn part(&self, asked: &Asked<'_>, part: std::ops::Range<usize>) -> Result<Part> {
        let Asked { queries, options, weighed, alive, facts, sizing, workspace } = *asked;
        let (context, dim) = (&self.context, self.layout.dim);
        // Positions within the part, each with its place in the order that was asked for.
        let (positions, places): (Vec<usize>, Vec<usize>) =
            weighed.of(part.clone()).map(|(query, place)| (query - part.start, place)).unzip();
        let stamp = context.next_stamp();
        let task = self.task(sizing, workspace.clone(), options, alive, part.clone(), stamp)?;
        let answers = Answers::new(facts, options, part.len(), &positions);
        let rows = &queries[part.start * dim..part.end * dim];
        let source = context.upload("attractor.queries", bytemuck::cast_slice(rows))?;
        let (mut target, staging) = context.answers(answers.size)?;
        if options.hints.garbage {
            let poison = vec![0xa5; answers.size as usize];
            let (usage, filled) = (target.usage(), Some(fill(&poison)));
            target = buffer::create_with(context, "attractor.answers", answers.size, usage, filled)?;
        }
        let targets = answers.targets(&target, Place::at(&source, 0));
        Ok(Part { task, targets, target, staging, laid: Laid { stamp, answers, places } })
    }

    /// Cuts a batch so that uploads, masks and answers of one part stay within the buffers that any device allows. A
    /// query of its own may be larger than that: then the device's own limits decide.
    fn parts(
        &self,
        batch: usize,
        sizing: &Sizing,
        options: &RetrieveOptions,
    ) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let part = self.part_size(sizing, options);
        (0..batch).step_by(part).map(move |start| start..batch.min(start + part))
    }

    /// Queries of one part.
    fn part_size(&self, sizing: &Sizing, options: &RetrieveOptions) -> usize {
        let weights = options.weights != crate::WeightsOf::None;
        let answers = Answers::bytes_per_query(self.facts(None), options, weights);
        let mask = if options.mask.as_ref().is_some_and(Mask::is_per_query) { self.windows.len() / 8 } else { 0 };
        let bytes = answers.max(4 * self.layout.dim as u64).max(mask as u64);
        let block = sizing.plan.query_block as usize;
        let fits = ((PART / bytes) as usize).max(1);
        if fits > block { fits / block * block } else { fits }
    }

    /// A workspace that serves `sizing`, to be given back once everything that uses it has been submitted.
    fn workspace(&self, sizing: &Sizing) -> Result<Arc<Workspace>> {
        let spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop();
        match spare.filter(|workspace| workspace.sizes.hold(&sizing.sizes)) {
            Some(workspace) => Ok(workspace),
            None => Ok(Arc::new(Workspace::new(&self.context, sizing.sizes, false)?)),
        }
    }

    fn give_back(&self, workspace: Arc<Workspace>) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
    }
}

/// The sizes of one retrieval.
struct Sizing {
    shape: Shape,
    tuning: Tuning,
    plan: Plan,
    staged: Plan,
    searching: Plan,
    sizes: Sizes,
}

/// What copies `bytes` to the start of a mapped buffer.
fn fill(bytes: &[u8]) -> impl FnOnce(&mut wgpu::BufferViewMut) {
    move |view: &mut wgpu::BufferViewMut| view.slice(..bytes.len()).copy_from_slice(bytes)
}

/// Rows of flags as rows of whole words, the first flag in the lowest bit.
fn pack<R: Iterator<Item = bool>>(rows: impl Iterator<Item = R>) -> Vec<u32> {
    let mut words = Vec::new();
    for row in rows {
        let first = words.len();
        for (i, flag) in row.enumerate() {
            if i % 32 == 0 {
                words.push(0);
            }
            words[first + i / 32] |= u32::from(flag) << (i % 32);
        }
    }
    words
}

impl Context {
    /// A buffer for `size` bytes of answers, and the one in which the host reads them.
    fn answers(&self, size: u64) -> Result<(wgpu::Buffer, wgpu::Buffer)> {
        let usage = buffer::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let answers = buffer::create(self, "attractor.answers", size, usage)?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = buffer::create(self, "attractor.staging", answers.size(), usage)?;
        Ok((answers, staging))
    }

    /// A storage buffer that starts with `bytes`.
    fn upload(&self, label: &'static str, bytes: &[u8]) -> Result<wgpu::Buffer> {
        buffer::create_with(self, label, bytes.len() as u64, buffer::STORAGE, Some(fill(bytes)))
    }

    /// Writes checked rows from row `at` of a window. Returns how large they are, as they are stored.
    fn write_rows(
        &self,
        to: &StoredRows,
        at: usize,
        rows: &NewRows<'_>,
        layout: &Layout,
        rule: Rule,
    ) -> Result<Written> {
        self.write_encoded(to, at, &EncodedRows::new(rows, layout), layout, rule)
    }

    /// [`Context::write_rows`], of rows in the form in which they are stored.
    fn write_encoded(
        &self,
        to: &StoredRows,
        at: usize,
        rows: &EncodedRows<'_>,
        layout: &Layout,
        rule: Rule,
    ) -> Result<Written> {
        let write = |to: &Binding, row: usize, bytes: &[u8]| self.write(&to.buffer, (at * row) as u64, bytes);
        let element = layout.precision.bytes();
        let stored = element * layout.key_stride();
        write(&to.keys, stored, &rows.keys.rows)?;
        if let (Some(to), Some(values)) = (&to.values, &rows.values) {
            write(to, element * layout.value_stride(), &values.rows)?;
        }
        let squares = rows.keys.rows.chunks_exact(stored).zip(rows.keys.scales.iter()).map(|(row, scale)| {
            let row = decode(row, layout.dim, layout.precision, *scale);
            row.iter().map(|k| f64::from(*k) * f64::from(*k)).sum::<f64>()
        });
        let squares: Vec<f64> = squares.collect();
        if let Some(to) = &to.terms {
            let terms: Vec<[f32; 4]> = (0..rows.count)
                .map(|i| {
                    let cosine = rule.similarity == Similarity::Cosine;
                    let factor = if cosine { 1.0 / squares[i].sqrt().max(1e-12) } else { 1.0 };
                    let bias = rows.bias.as_ref().map_or(0.0, |bias| bias[i]);
                    let value_scale = rows.values.as_ref().map_or(1.0, |values| values.scales[i]);
                    [factor as f32, bias, rows.keys.scales[i], value_scale]
                })
                .collect();
            write(to, 16, bytemuck::cast_slice(&terms))?;
        }
        let values = rows.values.as_ref().zip(layout.value_dim).map_or_else(Vec::new, |(values, columns)| {
            let stored = values.rows.chunks_exact(element * layout.value_stride()).zip(values.scales.iter());
            let largest = |row: Vec<f32>| row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            stored.map(|(row, scale)| largest(decode(row, columns, layout.precision, *scale))).collect()
        });
        let bias = |row: usize| rows.bias.as_ref().map_or(0.0, |bias| bias[row].abs());
        let biases = if layout.bias { (0..rows.count).map(bias).collect() } else { Vec::new() };
        Ok(Written { squares, values, biases })
    }

    /// Refuses a buffer of another device.
    fn check_owner(&self, operation: &'static str, what: &'static str, buffer: &wgpu::Buffer) -> Result<()> {
        let layout = self.owner.get_or_init(|| {
            self.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
                label: Some("attractor.owner"),
                entries: &[wgpu::BindGroupLayoutEntry {
                    binding: 0,
                    visibility: wgpu::ShaderStages::COMPUTE,
                    ty: wgpu::BindingType::Buffer {
                        ty: wgpu::BufferBindingType::Storage { read_only: true },
                        has_dynamic_offset: false,
                        min_binding_size: None,
                    },
                    count: None,
                }],
            })
        });
        match buffer::is_of(&self.device, layout, buffer) {
            true => Ok(()),
            false => Err(Error::OtherDevice { operation, what }),
        }
    }

    /// Refuses a device that is gone: it makes buffers without a word, and only their mapping fails.
    fn present(&self) -> Result<()> {
        self.upload("attractor.probe", &[]).map(|_| ())
    }

    /// Schedules a write for the next submission.
    fn write(&self, to: &wgpu::Buffer, offset: u64, bytes: &[u8]) -> Result<()> {
        let Some(size) = wgpu::BufferSize::new(bytes.len() as u64) else { return Ok(()) };
        // `Queue::write_buffer` says nothing of a device that is gone.
        let staged = buffer::scoped(self, "write", || {
            let view = self.queue.write_buffer_with(to, offset, size);
            view.map(|mut view| view.copy_from_slice(bytes))
        })?;
        staged.ok_or_else(|| Error::Lost { operation: "write", message: "the device takes nothing any more".into() })
    }

    /// Has a device of ours begin what has been scheduled; a host's does so when the host submits.
    fn flush(&self) -> Result<()> {
        match self.owned {
            true => buffer::scoped(self, "write", || self.hand_in(None)).map(|_| ()),
            false => Ok(()),
        }
    }
}

/// A batch that is asked, whose parts have a workspace in common.
#[derive(Clone, Copy)]
struct Asked<'a> {
    queries: &'a [f32],
    options: &'a RetrieveOptions,
    weighed: &'a Weighed,
    alive: Option<&'a Alive>,
    facts: Facts,
    sizing: &'a Sizing,
    workspace: &'a Arc<Workspace>,
}

/// Queries that are answered together.
struct Part {
    task: Task,
    targets: Targets,
    /// Where their answers come to, and where the host reads them.
    target: wgpu::Buffer,
    staging: wgpu::Buffer,
    laid: Laid,
}

/// How the answers of a part are laid out, and the stamp that they carry.
struct Laid {
    stamp: u32,
    answers: Answers,
    /// For each query whose weights are reported: its place in the order that was asked for.
    places: Vec<usize>,
}

/// Answers on their way into one retrieval.
struct Collected {
    retrieval: Retrieval,
    tolerance: f32,
}

impl Collected {
    fn new(
        operation: &'static str,
        facts: &Facts,
        view: &View,
        batch: usize,
        options: &RetrieveOptions,
    ) -> Result<Self> {
        let retrieval = Retrieval::with_room(operation, &facts.layout, batch, facts.patterns, &view.names, options)?;
        Ok(Self { retrieval, tolerance: options.tolerance() })
    }

    fn take(&mut self, laid: &Laid, bytes: &[u8]) -> Result<()> {
        laid.answers.take(&mut self.retrieval, bytes, laid.stamp, self.tolerance, &laid.places)
    }

    fn finish(self) -> Retrieval {
        self.retrieval
    }
}
