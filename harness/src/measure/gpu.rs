//! What only a GPU has to say: its floors (copies, multiply-adds), the time that it spends on a retrieval by its own
//! clock, and the time that recording one takes.

use std::time::Instant;

use attractor::record::{RecordTargets, Rows};
use attractor::{Device, Memory, RetrieveOptions, wgpu};

use super::Result;
use super::timestamps::Timestamps;

/// Multiply-adds of independent vectors, by every invocation: `LOOPS` times 16 of four each.
const MULTIPLY: &str = "
@group(0) @binding(0) var<storage, read_write> out: array<vec4<f32>>;
const LOOPS: u32 = 2048u;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let x = out[id.x % 64u];
    let a = x * 0.5 + vec4<f32>(0.25);
    var s0 = x; var s1 = x + a; var s2 = x - a; var s3 = x * a;
    var s4 = a; var s5 = a + s1; var s6 = a - s2; var s7 = a * s3;
    for (var i = 0u; i < LOOPS; i += 1u) {
        s0 = fma(s0, x, a); s1 = fma(s1, x, a); s2 = fma(s2, x, a); s3 = fma(s3, x, a);
        s4 = fma(s4, x, a); s5 = fma(s5, x, a); s6 = fma(s6, x, a); s7 = fma(s7, x, a);
        s0 = fma(s0, a, x); s1 = fma(s1, a, x); s2 = fma(s2, a, x); s3 = fma(s3, a, x);
        s4 = fma(s4, a, x); s5 = fma(s5, a, x); s6 = fma(s6, a, x); s7 = fma(s7, a, x);
    }
    out[id.x] = s0 + s1 + s2 + s3 + s4 + s5 + s6 + s7;
}
";
const MULTIPLY_FLOPS: u64 = 2048 * 16 * 4 * 2;
const INVOCATIONS: u64 = 256 * 8192;
/// Bytes of each of the two buffers that are copied: more than a cache holds; less where the device's limit is lower,
/// or where a processor copies.
const COPIED: u64 = 1 << 30;
const COPIED_BY_SOFTWARE: u64 = 1 << 27;

/// A device of the harness itself, for its clock.
pub struct Gpu {
    adapter: wgpu::Adapter,
    device: wgpu::Device,
    queue: wgpu::Queue,
    clock: Timestamps,
}

impl Gpu {
    /// Opens the adapter that `like` lives on a second time, with timestamps.
    pub fn open(like: &Device) -> Result<Self> {
        let (theirs, _) = like.wgpu().ok_or("the CPU engine has no clock of its own")?;
        let wanted = theirs.adapter_info();
        let adapters = pollster::block_on(Device::adapters());
        let same = |adapter: &&wgpu::Adapter| {
            let info = adapter.get_info();
            (info.name, info.backend, info.driver) == (wanted.name.clone(), wanted.backend, wanted.driver.clone())
        };
        let adapter = adapters.iter().find(same).ok_or("the adapter is gone")?;
        let timestamps = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::TIMESTAMP_QUERY_INSIDE_ENCODERS;
        if !adapter.features().contains(timestamps) {
            return Err("this adapter has no timestamps in encoders".into());
        }
        let matrices = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        let wished = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP | matrices;
        #[allow(unsafe_code, reason = "as the library's own device")]
        // SAFETY: of what is experimental, only cooperative matrices are asked for, and only the library uses them.
        let experimental_features = unsafe { wgpu::ExperimentalFeatures::enabled() };
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("attractor.bench"),
            required_features: timestamps | (wished & adapter.features()),
            required_limits: adapter.limits(),
            experimental_features,
            ..Default::default()
        }))?;
        Ok(Self { adapter: adapter.clone(), clock: Timestamps::new(&device, &queue), device, queue })
    }

    /// A handle for memories on this device, tuned as `like` is.
    pub fn handle(&self, like: &Device) -> Result<Device> {
        let device = Device::from_wgpu_with_adapter(&self.adapter, &self.device, &self.queue)?;
        if let Some(tuning) = like.tuning() {
            device.set_tuning(tuning);
        }
        Ok(device)
    }

    fn is_software(&self) -> bool {
        self.device.adapter_info().device_type == wgpu::DeviceType::Cpu
    }

    /// Seconds that the device spends on what `record` records, by its own clock.
    pub fn clocked(&self, record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>) -> Result<f64> {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.write_timestamp(self.clock.set(), 0);
        record(&mut encoder)?;
        encoder.write_timestamp(self.clock.set(), 1);
        self.clock.resolve(&mut encoder);
        self.queue.submit([encoder.finish()]);
        self.clock.seconds(&self.device)
    }

    /// Bytes a second of copying a buffer, counting what is read and what is written; the best of several.
    pub fn copies(&self) -> Result<f64> {
        let limits = self.device.limits();
        let most = if self.is_software() { COPIED_BY_SOFTWARE } else { COPIED };
        let size = most.min(limits.max_buffer_size / 2).next_multiple_of(4);
        let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = || {
            self.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
        };
        let (from, to) = (buffer(), buffer());
        let mut best = f64::INFINITY;
        for _ in 0..6 {
            let time = self.clocked(|encoder| {
                for _ in 0..4 {
                    encoder.copy_buffer_to_buffer(&from, 0, &to, 0, size);
                }
                Ok(())
            })?;
            best = best.min(time / 4.0);
        }
        Ok(2.0 * size as f64 / best)
    }

    /// Operations a second of multiply-adds in registers; the best of several.
    pub fn multiply_adds(&self) -> Result<f64> {
        let source = wgpu::ShaderSource::Wgsl(MULTIPLY.into());
        let module = self.device.create_shader_module(wgpu::ShaderModuleDescriptor { label: None, source });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: None,
            layout: None,
            module: &module,
            entry_point: Some("main"),
            compilation_options: Default::default(),
            cache: None,
        });
        let out = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 16 * INVOCATIONS,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: out.as_entire_binding() }],
        });
        // A software adapter would be busy for minutes.
        let workgroups = INVOCATIONS / 256 / if self.is_software() { 256 } else { 1 };
        let mut best = f64::INFINITY;
        for _ in 0..6 {
            let time = self.clocked(|encoder| {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                pass.set_pipeline(&pipeline);
                pass.set_bind_group(0, &group, &[]);
                pass.dispatch_workgroups(workgroups as u32, 1, 1);
                Ok(())
            })?;
            best = best.min(time);
        }
        Ok((workgroups * 256 * MULTIPLY_FLOPS) as f64 / best)
    }
}

/// Queries and answers in buffers of the harness, to be recorded again and again.
pub struct Recorded {
    memory: Memory,
    options: RetrieveOptions,
    queries: wgpu::Buffer,
    output: wgpu::Buffer,
    count: usize,
}

impl Recorded {
    /// `memory` lives on `gpu`.
    pub fn new(gpu: &Gpu, memory: Memory, queries: &[f32], options: RetrieveOptions) -> Self {
        let count = queries.len() / memory.dim();
        let buffer = |floats: usize| {
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
            let size = 4 * floats as u64;
            gpu.device.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
        };
        let (asked, output) = (buffer(queries.len()), buffer(count * memory.value_dim()));
        gpu.queue.write_buffer(&asked, 0, bytemuck::cast_slice(queries));
        Self { memory, options, queries: asked, output, count }
    }

    /// Seconds of one retrieval: on the device, and of recording it on this thread.
    pub fn run(&self, gpu: &Gpu) -> Result<(f64, f64)> {
        let mut recording = 0.0;
        let on_device = gpu.clocked(|encoder| {
            let job = RecordTargets::new(self.count, Rows::new(&self.queries), Rows::new(&self.output));
            let start = Instant::now();
            self.memory.record(encoder, &job, &self.options)?;
            recording = start.elapsed().as_secs_f64();
            Ok(())
        })?;
        Ok((on_device, recording))
    }
}
