//! A plain wgpu render loop, off-screen: agents move where they recall that they should be, in the same encoder as they
//! are drawn with, while a retrieval over a million patterns goes on behind, a slice a frame.
//!
//! ```sh
//! cargo run --release --example frame_loop -- [--patterns 1000000] [--queries 16] [--agents 400] [--frames 100]
//!     [--budget MILLISECONDS] [--device NAME] [--out FOLDER]
//! ```
//!
//! The device is the host's: attractor records into its encoders, and neither submits nor waits. `NAME` is part of an
//! adapter's name or driver; the first adapter on Vulkan, Metal or DX12 otherwise. Writes `frame_*.png` and
//! `frame_times.svg`.

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use attractor::record::{RecordTargets, Rows};
use attractor::{Device, Memory, MemoryOptions, Patterns, RetrieveOptions, Rule, wgpu};
use harness::Rng;
use plotters::prelude::*;

type Result<T, E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// Pixels of a side.
const SIDE: u32 = 384;
/// Places on the agents' way, the floats that each is known by, and how sharply it is recalled: between two places a
/// cue is near both, and what is recalled goes smoothly from one to the other.
const PLACES: usize = 64;
const CODE: usize = 16;
const BETA: f32 = 6.0;
/// Frames before anything is timed.
const WARM_UP: usize = 10;

/// What to show.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// Patterns of the long retrieval.
    pub patterns: usize,
    /// Its queries.
    pub queries: usize,
    /// What moves.
    pub agents: usize,
    /// Frames of the loop without a job.
    pub frames: usize,
    /// GPU time a frame for the job.
    pub budget: Duration,
    /// Part of the adapter's name or driver.
    pub device: Option<String>,
    /// Where pictures go.
    pub out: PathBuf,
}

impl Default for Arguments {
    fn default() -> Self {
        Self {
            patterns: 1_000_000,
            queries: 16,
            agents: 400,
            frames: 100,
            budget: Duration::from_millis(8),
            device: None,
            out: "frame_loop".into(),
        }
    }
}

/// Times of frames, in milliseconds.
#[derive(Debug, Default)]
pub struct Report {
    /// Without a job.
    pub empty: Vec<f64>,
    /// With a slice of the job in each.
    pub sliced: Vec<f64>,
    /// With the same retrieval whole in one of them.
    pub whole: Vec<f64>,
    /// Whether job and one-shot gave the same bits.
    pub same_bits: bool,
    /// The table.
    pub text: String,
}

/// A random vector of length one.
fn direction(rng: &mut Rng, length: usize) -> Vec<f32> {
    let vector = rng.vector(length);
    let norm = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
    vector.into_iter().map(|v| v / norm).collect()
}

/// The host: a device, a target to draw to, and the agents.
struct Host {
    device: wgpu::Device,
    queue: wgpu::Queue,
    name: String,
    target: wgpu::Texture,
    draw: wgpu::RenderPipeline,
    group: wgpu::BindGroup,
    cues: wgpu::Buffer,
    positions: wgpu::Buffer,
    way: Memory,
    codes: Vec<Vec<f32>>,
    rng: Rng,
    agents: usize,
    frame: usize,
}

const SHADER: &str = "
@group(0) @binding(0) var<storage, read> positions: array<vec2<f32>>;

struct Corner {
    @builtin(position) at: vec4<f32>,
    @location(0) colour: vec3<f32>,
}

@vertex
fn corner(@builtin(vertex_index) vertex: u32, @builtin(instance_index) agent: u32) -> Corner {
    var corners = array(vec2(0.0, 1.0), vec2(-0.87, -0.5), vec2(0.87, -0.5));
    let share = f32(agent) / f32(arrayLength(&positions));
    let colour = 0.55 + 0.45 * cos(6.28 * (share + vec3(0.0, 0.33, 0.67)));
    return Corner(vec4(positions[agent] + 0.02 * corners[vertex], 0.0, 1.0), colour);
}

@fragment
fn colour(corner: Corner) -> @location(0) vec4<f32> {
    return vec4(corner.colour, 1.0);
}
";

impl Host {
    fn new(arguments: &Arguments) -> Result<Self> {
        let adapter = adapter(arguments.device.as_deref())?;
        let info = adapter.get_info();
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("host"),
            required_features: Device::recommended_features(&adapter),
            required_limits: wgpu::Limits::default().or_better_values_from(&Device::recommended_limits(&adapter)),
            ..Default::default()
        }))?;
        let mut rng = Rng(1);
        let codes: Vec<Vec<f32>> = (0..PLACES).map(|_| direction(&mut rng, CODE)).collect();
        let place = |i: usize| {
            let angle = i as f32 / PLACES as f32 * std::f32::consts::TAU;
            [0.85 * (3.0 * angle).sin(), 0.85 * (2.0 * angle).cos()]
        };
        let guest = Device::from_wgpu(&device, &queue)?;
        let mut way = MemoryOptions::new(CODE, Rule::softmax(BETA)).value_dim(2).build(&guest)?;
        way.add(Patterns::new(&codes.concat()).values(&(0..PLACES).flat_map(place).collect::<Vec<f32>>()))?;
        way.warm_up(arguments.agents, &RetrieveOptions::default())?;

        let buffer = |label, floats: usize, usage| {
            let size = 4 * floats as u64;
            device.create_buffer(&wgpu::BufferDescriptor { label, size, usage, mapped_at_creation: false })
        };
        let storage = wgpu::BufferUsages::STORAGE;
        let cues = buffer(Some("cues"), arguments.agents * CODE, storage | wgpu::BufferUsages::COPY_DST);
        let positions = buffer(Some("positions"), arguments.agents * 2, storage);
        let target = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("target"),
            size: wgpu::Extent3d { width: SIDE, height: SIDE, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::RENDER_ATTACHMENT | wgpu::TextureUsages::COPY_SRC,
            view_formats: &[],
        });
        let source = wgpu::ShaderSource::Wgsl(SHADER.into());
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("agents"), source });
        let draw = device.create_render_pipeline(&wgpu::RenderPipelineDescriptor {
            label: Some("agents"),
            layout: None,
            vertex: wgpu::VertexState {
                module: &module,
                entry_point: None,
                compilation_options: Default::default(),
                buffers: &[],
            },
            primitive: Default::default(),
            depth_stencil: None,
            multisample: Default::default(),
            fragment: Some(wgpu::FragmentState {
                module: &module,
                entry_point: None,
                compilation_options: Default::default(),
                targets: &[Some(target.format().into())],
            }),
            multiview_mask: None,
            cache: None,
        });
        let group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("agents"),
            layout: &draw.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: positions.as_entire_binding() }],
        });
        let name = format!("{} ({:?})", info.name, info.backend);
        let agents = arguments.agents;
        Ok(Self { device, queue, name, target, draw, group, cues, positions, way, codes, rng, agents, frame: 0 })
    }

    /// What each agent remembers of where it should be now: something between two places, and noise.
    fn cues(&mut self) -> Vec<f32> {
        let mut cues = Vec::with_capacity(self.agents * CODE);
        for agent in 0..self.agents {
            let at = (agent as f32 / self.agents as f32 * PLACES as f32 + self.frame as f32 * 0.05) % PLACES as f32;
            let (from, to) = (&self.codes[at as usize], &self.codes[(at as usize + 1) % PLACES]);
            let share = at.fract();
            cues.extend(from.iter().zip(to).map(|(a, b)| (a + share * (b - a)) * 1.5 + 0.05 * self.rng.unit()));
        }
        cues
    }

    /// One frame: the agents recall and are drawn; `behind` records whatever else. Returns its milliseconds, until the
    /// device is done.
    fn frame(&mut self, mut behind: impl FnMut(&mut wgpu::CommandEncoder) -> Result<()>) -> Result<f64> {
        let start = Instant::now();
        let cues = self.cues();
        self.queue.write_buffer(&self.cues, 0, bytemuck::cast_slice(&cues));
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("frame") });
        let recording = RecordTargets::new(self.agents, Rows::new(&self.cues), Rows::new(&self.positions));
        self.way.record(&mut encoder, &recording, &RetrieveOptions::default())?;
        let view = self.target.create_view(&Default::default());
        let ops = wgpu::Operations {
            load: wgpu::LoadOp::Clear(wgpu::Color { r: 0.05, g: 0.05, b: 0.08, a: 1.0 }),
            store: wgpu::StoreOp::Store,
        };
        let colour = wgpu::RenderPassColorAttachment { view: &view, depth_slice: None, resolve_target: None, ops };
        let descriptor = wgpu::RenderPassDescriptor {
            label: Some("agents"),
            color_attachments: &[Some(colour)],
            ..Default::default()
        };
        {
            // What was recalled a moment ago is drawn; no processor has seen it.
            let mut pass = encoder.begin_render_pass(&descriptor);
            pass.set_pipeline(&self.draw);
            pass.set_bind_group(0, &self.group, &[]);
            pass.draw(0..3, 0..self.agents as u32);
        }
        behind(&mut encoder)?;
        self.queue.submit([encoder.finish()]);
        // The host's own way of keeping one frame from overtaking the next.
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        self.frame += 1;
        Ok(start.elapsed().as_secs_f64() * 1e3)
    }

    fn save(&self, path: &Path) -> Result<()> {
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("picture"),
            size: u64::from(4 * SIDE * SIDE),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(4 * SIDE), rows_per_image: None };
        encoder.copy_texture_to_buffer(
            self.target.as_image_copy(),
            wgpu::TexelCopyBufferInfo { buffer: &staging, layout },
            self.target.size(),
        );
        self.queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |_| ());
        self.device.poll(wgpu::PollType::wait_indefinitely())?;
        let pixels = staging.get_mapped_range(..)?.to_vec();
        image::save_buffer(path, &pixels, SIDE, SIDE, image::ColorType::Rgba8)?;
        Ok(())
    }
}

fn adapter(name: Option<&str>) -> Result<wgpu::Adapter> {
    let adapters = pollster::block_on(Device::adapters());
    let fits = |adapter: &&wgpu::Adapter| {
        let info = adapter.get_info();
        let named = |name: &str| {
            [&info.name, &info.driver].iter().any(|text| text.to_lowercase().contains(&name.to_lowercase()))
        };
        info.backend != wgpu::Backend::Gl && name.is_none_or(named)
    };
    adapters.iter().find(fits).cloned().ok_or_else(|| "no such adapter on Vulkan, Metal or DX12".into())
}

fn median(times: &[f64]) -> f64 {
    quantile(times, 0.5)
}

fn quantile(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((share * (sorted.len() - 1) as f64).round() as usize).copied().unwrap_or(0.0)
}

/// Runs the loop: without a job, with one in slices, and with the same work at once.
pub fn run(arguments: &Arguments) -> Result<Report> {
    std::fs::create_dir_all(&arguments.out)?;
    let mut host = Host::new(arguments)?;
    let mut rng = Rng(2);
    let guest = Device::from_wgpu(&host.device, &host.queue)?;
    let mut large = MemoryOptions::new(CODE, Rule::softmax(4.0)).build(&guest)?;
    let piece = 1 << 16;
    for start in (0..arguments.patterns).step_by(piece) {
        let rows = piece.min(arguments.patterns - start);
        large.add(&rng.vector(rows * CODE))?;
    }
    let queries = rng.vector(arguments.queries * CODE);
    let options = RetrieveOptions::default();
    large.warm_up(arguments.queries, &options)?;

    let mut report = Report::default();
    for _ in 0..WARM_UP {
        host.frame(|_| Ok(()))?;
    }
    for _ in 0..arguments.frames {
        report.empty.push(host.frame(|_| Ok(()))?);
    }
    host.save(&arguments.out.join("frame_empty.png"))?;

    let (mut job, mut pending) = large.job(&queries, &options)?;
    let sliced = loop {
        report.sliced.push(host.frame(|encoder| Ok(job.advance(encoder, arguments.budget).map(drop)?))?);
        if report.sliced.len() == 20 {
            host.save(&arguments.out.join("frame_sliced.png"))?;
        }
        if let Some(answer) = pending.try_take() {
            break answer?;
        }
    };

    // The same, in one frame of a few.
    let source = wgpu::util::DeviceExt::create_buffer_init(
        &host.device,
        &wgpu::util::BufferInitDescriptor {
            label: Some("queries"),
            contents: bytemuck::cast_slice(&queries),
            usage: wgpu::BufferUsages::STORAGE,
        },
    );
    let mut pending = None;
    for i in 0..20 {
        report.whole.push(host.frame(|encoder| {
            if i == 10 {
                let rows = Rows::new(&source);
                pending = Some(large.record_readback(encoder, arguments.queries, rows, &options)?);
            }
            Ok(())
        })?);
    }
    host.save(&arguments.out.join("frame_last.png"))?;
    let whole = pending.ok_or("nothing was recorded")?.wait()?;
    report.same_bits = whole == sliced;

    let budget = arguments.budget.as_secs_f64() * 1e3;
    let allowed = 1.2 * (median(&report.empty) + budget);
    let text = &mut report.text;
    writeln!(
        text,
        "{}: {} agents; behind them {} queries, {} patterns",
        host.name, host.agents, arguments.queries, arguments.patterns
    )?;
    writeln!(text, "{:22} {:>7} {:>9} {:>9} {:>9}  ms", "frames", "count", "median", "95 %", "longest")?;
    for (name, times) in
        [("without a job", &report.empty), ("a slice in each", &report.sliced), ("all of it in one", &report.whole)]
    {
        let (count, middle) = (times.len(), median(times));
        writeln!(
            text,
            "{name:22} {count:>7} {middle:>9.2} {:>9.2} {:>9.2}",
            quantile(times, 0.95),
            quantile(times, 1.0)
        )?;
    }
    let kept = if median(&report.sliced) <= allowed { "kept" } else { "not kept" };
    writeln!(
        text,
        "budget {budget} ms: 1.2 x (median without a job + budget) = {allowed:.2} ms, {kept} by the median"
    )?;
    let same = if report.same_bits { "the same bits" } else { "DIFFERENT bits" };
    writeln!(text, "the job took {} slices, and gives {same} as the retrieval at once", job.slices())?;
    plot(&arguments.out.join("frame_times.svg"), &report, budget)?;
    Ok(report)
}

fn plot(path: &Path, report: &Report, budget: f64) -> Result<()> {
    let root = SVGBackend::new(path, (900, 420)).into_drawing_area();
    root.fill(&WHITE)?;
    let all: Vec<f64> = [&report.empty, &report.sliced, &report.whole].into_iter().flatten().copied().collect();
    let longest = all.iter().fold(1.0f64, |most, time| most.max(*time));
    let shortest = all.iter().fold(longest, |least, time| least.min(*time)).max(0.01);
    let mut chart = ChartBuilder::on(&root)
        .caption("Frame times: agents alone, with a job in slices, with the same work in one frame", ("sans-serif", 17))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(56)
        .build_cartesian_2d(0..all.len(), (shortest * 0.8..longest * 1.3).log_scale())?;
    chart.configure_mesh().x_desc("frame").y_desc("ms").draw()?;
    let mut first = 0;
    for (name, times, colour) in [
        ("without a job", &report.empty, BLUE),
        ("a slice in each", &report.sliced, RGBColor(0, 130, 60)),
        ("all of it in one", &report.whole, RED),
    ] {
        let points = times.iter().enumerate().map(|(i, time)| (first + i, *time));
        chart
            .draw_series(LineSeries::new(points, &colour))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
        first += times.len();
    }
    let allowed = 1.2 * (median(&report.empty) + budget);
    chart
        .draw_series(LineSeries::new([(0, allowed), (all.len(), allowed)], BLACK.mix(0.4)))?
        .label("1.2 x (median without + budget)")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 18, y)], BLACK.mix(0.4)));
    chart.configure_series_labels().background_style(WHITE.mix(0.85)).border_style(BLACK.mix(0.3)).draw()?;
    root.present()?;
    Ok(())
}

impl Arguments {
    fn read() -> Result<Self> {
        let mut arguments = Self::default();
        let mut words = std::env::args().skip(1);
        while let Some(flag) = words.next() {
            let value = words.next().ok_or_else(|| format!("{flag} needs a value"))?;
            let number = || value.parse::<usize>().map_err(|_| format!("{flag} takes a number, got {value}"));
            match flag.as_str() {
                "--patterns" => arguments.patterns = number()?.max(1),
                "--queries" => arguments.queries = number()?.max(1),
                "--agents" => arguments.agents = number()?.max(1),
                "--frames" => arguments.frames = number()?.max(1),
                "--budget" => {
                    let milliseconds: f64 =
                        value.parse().map_err(|_| format!("{flag} takes milliseconds, got {value}"))?;
                    arguments.budget = Duration::try_from_secs_f64(1e-3 * milliseconds)?;
                }
                "--device" => arguments.device = Some(value),
                "--out" => arguments.out = value.into(),
                _ => return Err(format!("{flag} is not one of the flags that the example's first lines list").into()),
            }
        }
        Ok(arguments)
    }
}

fn main() -> ExitCode {
    match Arguments::read().and_then(|arguments| Ok((run(&arguments)?, arguments))) {
        Ok((report, arguments)) => {
            print!("{}", report.text);
            println!("pictures and plot: {}", arguments.out.display());
            if report.same_bits { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("frame_loop: {error}");
            ExitCode::FAILURE
        }
    }
}
