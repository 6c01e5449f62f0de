//! The WGSL engine. `plan` chooses sizes, `retrieve` lists the dispatches of the stages (`prepare`, then `stream` or
//! `similarity`, `separation` and `projection`, then `merge`, `finish` and `export`), `record` encodes them; each stage's
//! host file shares its stem with a shader. `shader` links texts, `kernel` compiles them.

mod buffer;
mod export;
mod finish;
mod kernel;
mod merge;
pub(crate) mod plan;
mod prepare;
mod projection;
mod readback;
mod record;
mod retrieve;
mod separation;
mod shader;
mod similarity;
mod stream;
mod workspace;

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::device::DeviceOptions;
use crate::error::{Error, Result};
use crate::retrieval::{Retrieval, RetrieveOptions, Stop};
use crate::rule::Rule;
use crate::store::{Layout, Windows, pad_rows, stride};
use plan::{Plan, Shape, Sizes};
use readback::Staged;
use workspace::Workspace;

/// For the project's own tests.
pub mod internals {
    pub use super::kernel::{Access, KERNELS, Kernel};
    pub use super::plan::{Hints, ITERATION_LIMIT, Plan, Regime, Shape};
    pub use super::shader::{Constant, link};
}

/// No binding is larger, on any backend: Vulkan and DX12 stop at 2^31 - 4.
const LARGEST_BINDING: u64 = (1 << 31) - 4;
/// What the kernels need of a device; WebGPU's defaults have all of it.
const STORAGE_BUFFERS: u32 = 6;
const WORKGROUP_BYTES: u32 = 14 << 10;
const INVOCATIONS: u32 = 256;
/// Multiply-adds of one submission of ours, at the most: a fraction of a second on slow hardware.
const SUBMISSION_COST: u64 = 50_000_000_000;
/// Bytes of an upload after which pending writes are flushed on a device of ours.
const UPLOAD: usize = 32 << 20;

/// A wgpu device and everything of ours that lives as long as it.
#[derive(Debug)]
pub(crate) struct Context {
    device: wgpu::Device,
    queue: wgpu::Queue,
    adapter: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    /// Whether the device is ours to submit to and wait on.
    owned: bool,
    pipelines: kernel::Pipelines,
    poller: readback::Poller,
    stamp: AtomicU32,
}

impl Context {
    /// An instance over all backends, with the usual environment overrides of wgpu.
    pub fn instance() -> wgpu::Instance {
        wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env())
    }

    /// Opens `adapter` with its own limits.
    pub async fn open(adapter: &wgpu::Adapter, options: &DeviceOptions) -> Result<Self> {
        let info = adapter.get_info();
        let mut features = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | wgpu::Features::TIMESTAMP_QUERY;
        features.set(wgpu::Features::SHADER_F16, !options.without_f16);
        features.set(wgpu::Features::SUBGROUP, !options.without_subgroups);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("attractor"),
            required_features: features & adapter.features(),
            required_limits: adapter.limits(),
            ..Default::default()
        };
        let (device, queue) = adapter.request_device(&descriptor).await.map_err(|error| Error::Device {
            operation: "Device::with_options",
            why: format!("{} refuses to open: {error}", info.name),
        })?;
        Self::new(device, queue, info, true)
    }

    /// Takes part in a host's device.
    pub fn host(device: wgpu::Device, queue: wgpu::Queue) -> Result<Self> {
        let info = device.adapter_info();
        Self::new(device, queue, info, false)
    }

    fn new(device: wgpu::Device, queue: wgpu::Queue, adapter: wgpu::AdapterInfo, owned: bool) -> Result<Self> {
        let limits = device.limits();
        let needs = [
            ("max_storage_buffers_per_shader_stage", STORAGE_BUFFERS, limits.max_storage_buffers_per_shader_stage),
            ("max_compute_workgroup_storage_size", WORKGROUP_BYTES, limits.max_compute_workgroup_storage_size),
            ("max_compute_invocations_per_workgroup", INVOCATIONS, limits.max_compute_invocations_per_workgroup),
            ("max_compute_workgroup_size_x", INVOCATIONS, limits.max_compute_workgroup_size_x),
            ("max_compute_workgroups_per_dimension", 65_535, limits.max_compute_workgroups_per_dimension),
            (
                "max_dynamic_uniform_buffers_per_pipeline_layout",
                1,
                limits.max_dynamic_uniform_buffers_per_pipeline_layout,
            ),
        ];
        for (limit, need, allowed) in needs {
            if allowed < need {
                let (need, allowed) = (need.into(), allowed.into());
                return Err(Error::Limit { operation: "Device::from_wgpu", limit, need, allowed });
            }
        }
        Ok(Self {
            device,
            queue,
            adapter,
            limits,
            owned,
            pipelines: kernel::Pipelines::default(),
            poller: readback::Poller::default(),
            stamp: AtomicU32::new(1),
        })
    }

    pub fn device(&self) -> &wgpu::Device {
        &self.device
    }

    pub fn queue(&self) -> &wgpu::Queue {
        &self.queue
    }

    pub fn adapter(&self) -> &wgpu::AdapterInfo {
        &self.adapter
    }

    /// The most bytes of one window.
    pub fn window_limit(&self) -> u64 {
        self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size).min(LARGEST_BINDING) / 16 * 16
    }

    /// Workgroups that keep this device busy.
    fn parallel(&self) -> u64 {
        match self.adapter.device_type {
            wgpu::DeviceType::Cpu => 16,
            _ => 512,
        }
    }

    /// A stamp that no other run of this device has, and that no buffer holds by chance: never zero.
    fn next_stamp(&self) -> u32 {
        0x5a00_0001 ^ (self.stamp.fetch_add(1, Ordering::Relaxed) & 0x00ff_ffff).rotate_left(1)
    }
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

    fn check(&self, what: &'static str, count: usize, columns: usize) -> Result<()> {
        let refuse = |expected: String, got: String| {
            Err(Error::Shape { operation: "Memory::record", expected: format!("{what}: {expected}"), got })
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
        let words = (count as u64 - 1).checked_mul(stride).map(|words| words + columns as u64);
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

/// Where [`Memory::record`](crate::Memory::record) reads `count` queries from and writes their answers to.
///
/// Values that are NaN or infinite cannot be refused here: such a query gets a row of zeros and bit 0 of its report's
/// status.
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
#[derive(Debug)]
pub(crate) struct StoredRows {
    keys: wgpu::Buffer,
    values: Option<wgpu::Buffer>,
}

/// Patterns on a device and what retrieves from them.
#[derive(Debug)]
pub(crate) struct Engine {
    context: Arc<Context>,
    layout: Layout,
    rule: Rule,
    windows: Windows<StoredRows>,
    /// The workspace that recordings share: on one queue, each is through with it before the next begins.
    recorded: Mutex<Option<Arc<Workspace>>>,
    /// Workspaces for retrievals of ours, which may span several submissions: one taken out by each.
    spare: Mutex<Vec<Workspace>>,
}

impl Engine {
    pub fn new(context: Arc<Context>, layout: Layout, rule: Rule) -> Self {
        let windows = Windows::new(layout.max_rows);
        Self { context, layout, rule, windows, recorded: Mutex::default(), spare: Mutex::default() }
    }

    pub fn capacity(&self) -> usize {
        self.windows.capacity()
    }

    pub fn clear(&mut self) {
        self.windows.clear();
    }

    pub fn reserve(&mut self, additional: usize) -> Result<()> {
        let (layout, device) = (self.layout, self.context.device());
        let usage = buffer::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        self.windows.reserve(additional, |rows| {
            let create = |label, stride: usize| buffer::create(device, label, (rows * stride * 4) as u64, usage);
            Ok(StoredRows {
                keys: create("attractor.keys", layout.key_stride())?,
                values: match layout.value_dim {
                    Some(_) => Some(create("attractor.values", layout.value_stride())?),
                    None => None,
                },
            })
        })
    }

    /// Stores rows whose shapes and finiteness have been checked and for which there is room.
    pub fn add(&mut self, keys: &[f32], values: Option<&[f32]>) {
        let (layout, context) = (self.layout, self.context.clone());
        self.windows.fill(keys.len() / layout.dim, |window, at, range| {
            context.write_rows(&window.keys, at, &keys[range.start * layout.dim..range.end * layout.dim], layout.dim);
            if let (Some(to), Some(values), Some(columns)) = (&window.values, values, layout.value_dim) {
                context.write_rows(to, at, &values[range.start * columns..range.end * columns], columns);
            }
        });
    }

    fn shape(&self, batch: usize) -> Shape {
        Shape {
            batch: batch as u64,
            patterns: self.windows.len() as u64,
            key_vectors: (self.layout.key_stride() / 4) as u32,
            value_vectors: (self.layout.value_stride() / 4) as u32,
            parallel: self.context.parallel(),
        }
    }

    fn task<'a>(
        &'a self,
        plan: &'a Plan,
        shape: &'a Shape,
        workspace: &'a Workspace,
        options: &RetrieveOptions,
        stamp: u32,
    ) -> retrieve::Task<'a> {
        let Stop::Steps(steps) = options.stop else {
            unreachable!("refused before the engine is called");
        };
        retrieve::Task {
            context: &self.context,
            layout: self.layout,
            beta: self.rule.beta,
            windows: self.windows.filled().collect(),
            plan,
            shape,
            workspace,
            steps,
            stamp,
            damage: options.hints.damage,
        }
    }

    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        job: &Recording<'_>,
        options: &RetrieveOptions,
    ) -> Result<()> {
        if job.count == 0 {
            return Ok(());
        }
        job.queries.check("queries", job.count, self.layout.dim)?;
        job.output.check("output", job.count, self.layout.output_dim())?;
        if let Some(state) = &job.state {
            state.check("state", job.count, self.layout.dim)?;
        }
        if let Some(report) = &job.report {
            report.check("report", job.count, finish::REPORT_WORDS as usize)?;
        }
        let shape = self.shape(options.plan_for.unwrap_or(job.count));
        let plan = Plan::new(&shape, &options.hints);
        let sizes = Sizes::new(&plan, &shape);
        let workspace = {
            let mut recorded = self.recorded.lock().unwrap_or_else(PoisonError::into_inner);
            match &*recorded {
                Some(workspace) if workspace.sizes.hold(&sizes) && !options.hints.garbage => workspace.clone(),
                _ => {
                    let workspace = Arc::new(Workspace::new(&self.context.device, sizes, options.hints.garbage)?);
                    *recorded = Some(workspace.clone());
                    workspace
                }
            }
        };
        let calls = self.task(&plan, &shape, &workspace, options, self.context.next_stamp()).calls(job)?;
        calls.encode(encoder, 0..calls.len())
    }

    /// Submits a retrieval of checked queries; the answer comes with the [`Pending`].
    pub fn retrieve(&self, queries: &[f32], options: &RetrieveOptions) -> Result<Pending> {
        let layout = self.layout;
        let batch = queries.len() / layout.dim;
        let mut pending = Pending { layout, batch, tolerance: options.tolerance(), parts: Vec::new() };
        if batch == 0 {
            return Ok(pending);
        }
        let shape = self.shape(options.plan_for.unwrap_or(batch));
        let plan = Plan::new(&shape, &options.hints);
        let sizes = Sizes::new(&plan, &shape);
        let spare = {
            let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
            spare.pop().filter(|workspace| workspace.sizes.hold(&sizes) && !options.hints.garbage)
        };
        let workspace = match spare {
            Some(workspace) => workspace,
            None => Workspace::new(&self.context.device, sizes, options.hints.garbage)?,
        };
        // Uploads and answers of one part stay within the smallest buffer that any device allows.
        let words = layout.dim.max(layout.dim + layout.value_dim.unwrap_or(0) + finish::REPORT_WORDS as usize);
        let block = plan.query_block as usize;
        let part = ((64 << 20) / (4 * words) / block).max(1) * block;
        for queries in queries.chunks(part * layout.dim) {
            let stamp = self.context.next_stamp();
            let task = self.task(&plan, &shape, &workspace, options, stamp);
            let staged = self.submit(&task, queries, options.hints.garbage)?;
            pending.parts.push(Part { staged, stamp, count: queries.len() / layout.dim });
        }
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(workspace);
        Ok(pending)
    }

    /// Uploads, records, submits and asks for the answers of one part of a batch.
    fn submit(&self, task: &retrieve::Task<'_>, queries: &[f32], garbage: bool) -> Result<Staged> {
        let context = &self.context;
        let device = &context.device;
        let count = queries.len() / self.layout.dim;
        let fill = |bytes: &[u8]| {
            let bytes = bytes.to_vec();
            Some(move |view: &mut wgpu::BufferViewMut| view.slice(..bytes.len()).copy_from_slice(&bytes))
        };
        let bytes: &[u8] = bytemuck::cast_slice(queries);
        let source =
            buffer::create_with(device, "attractor.queries", bytes.len() as u64, buffer::STORAGE, fill(bytes))?;
        let answers = Answers::new(self.layout, count);
        let usage = buffer::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let poison = vec![0xa5; if garbage { answers.size as usize } else { 0 }];
        let device_answers = match garbage {
            false => buffer::create(device, "attractor.answers", answers.size, usage)?,
            true => buffer::create_with(device, "attractor.answers", answers.size, usage, fill(&poison))?,
        };
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = buffer::create(device, "attractor.staging", answers.size, usage)?;
        let job = Recording {
            count,
            queries: Rows::new(&source),
            output: Rows::at(&device_answers, answers.output),
            state: answers.state.map(|offset| Rows::at(&device_answers, offset)),
            report: Some(Rows::at(&device_answers, answers.report)),
        };
        let calls = task.calls(&job)?;
        let submission = buffer::scoped(device, "submit", || {
            let mut submission = None;
            for range in calls.cut(SUBMISSION_COST) {
                let last = range.end == calls.len();
                let mut encoder =
                    device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("attractor") });
                calls.encode(&mut encoder, range)?;
                if last {
                    encoder.copy_buffer_to_buffer(&device_answers, 0, &staging, 0, staging.size());
                }
                submission = Some(context.queue.submit([encoder.finish()]));
            }
            Ok(submission)
        })??;
        let submission =
            submission.ok_or_else(|| Error::Lost { operation: "submit", message: "nothing was submitted".into() })?;
        Ok(Staged::new(context.clone(), staging, submission))
    }
}

impl Context {
    /// Writes tight rows of `columns` into padded rows from row `at`, in pieces; a device of ours is flushed between
    /// them, so that an upload of gigabytes does not stage gigabytes.
    fn write_rows(&self, to: &wgpu::Buffer, at: usize, rows: &[f32], columns: usize) {
        let stride = stride(columns);
        let piece = (UPLOAD / (4 * stride)).max(1);
        let mut row = at;
        for rows in rows.chunks(piece * columns) {
            let padded = pad_rows(rows, columns);
            self.queue.write_buffer(to, (row * stride * 4) as u64, bytemuck::cast_slice(&padded));
            row += rows.len() / columns;
            if self.owned && rows.len() == piece * columns {
                self.queue.submit([]);
            }
        }
    }
}

/// Where the answers of one part lie within their buffer, in bytes.
struct Answers {
    report: u64,
    output: u64,
    /// Apart from the output only where there are values.
    state: Option<u64>,
    size: u64,
}

impl Answers {
    fn new(layout: Layout, count: usize) -> Self {
        let count = count as u64;
        let output = count * 4 * u64::from(finish::REPORT_WORDS);
        let after = output + count * 4 * layout.output_dim() as u64;
        let state = layout.value_dim.map(|_| after);
        let size = after + state.map_or(0, |_| count * 4 * layout.dim as u64);
        Self { report: 0, output, state, size }
    }
}

/// A retrieval that has been submitted.
pub(crate) struct Pending {
    layout: Layout,
    batch: usize,
    tolerance: f32,
    parts: Vec<Part>,
}

struct Part {
    staged: Staged,
    stamp: u32,
    count: usize,
}

impl Pending {
    pub fn wait(mut self) -> Result<Retrieval> {
        let parts = std::mem::take(&mut self.parts);
        let mut retrieval = self.empty();
        for Part { staged, stamp, count } in parts {
            self.take(&mut retrieval, &staged.wait()?, stamp, count)?;
        }
        Ok(retrieval)
    }

    async fn finish(mut self) -> Result<Retrieval> {
        let parts = std::mem::take(&mut self.parts);
        let mut retrieval = self.empty();
        for Part { staged, stamp, count } in parts {
            self.take(&mut retrieval, &staged.bytes().await?, stamp, count)?;
        }
        Ok(retrieval)
    }

    fn empty(&self) -> Retrieval {
        Retrieval {
            batch: self.batch,
            dim: self.layout.dim,
            value_dim: self.layout.output_dim(),
            ..Retrieval::default()
        }
    }

    /// Appends the answers of one part, refusing any query whose report does not carry the stamp.
    fn take(&self, to: &mut Retrieval, bytes: &[u8], stamp: u32, count: usize) -> Result<()> {
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(bytes);
        let answers = Answers::new(self.layout, count);
        let floats = |from: u64, columns: usize| {
            let from = from as usize / 4;
            words[from..from + count * columns].iter().map(|&word| f32::from_bits(word))
        };
        for (query, report) in words.chunks_exact(finish::REPORT_WORDS as usize).take(count).enumerate() {
            if report[0] != stamp {
                return Err(Error::Lost {
                    operation: "retrieve",
                    message: format!(
                        "query {query} carries stamp {:#x} instead of {stamp:#x}: its commands did not complete",
                        report[0]
                    ),
                });
            }
            let change = f32::from_bits(report[2]);
            to.steps.push(report[1]);
            to.change.push(change);
            to.converged.push(change <= self.tolerance);
        }
        to.output.extend(floats(answers.output, self.layout.output_dim()));
        match answers.state {
            Some(state) => to.state.extend(floats(state, self.layout.dim)),
            None => to.state.extend(floats(answers.output, self.layout.dim)),
        }
        Ok(())
    }
}

impl IntoFuture for Pending {
    type Output = Result<Retrieval>;
    type IntoFuture = std::pin::Pin<Box<dyn Future<Output = Result<Retrieval>> + Send>>;
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.finish())
    }
}
