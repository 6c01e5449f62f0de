//! A guest on a device that the host owns: within its limits, beside its passes, and leaving no trace.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use attractor::internals::counts;
use attractor::record::{RecordTargets, Rows};
use attractor::{Device, Error, Memory, Pending, Retrieval, RetrieveOptions, Rule, Separation, Similarity, wgpu};
use harness::Case;
use harness::host::{Host, hosts};
use wgpu::util::DeviceExt;

/// One rule of each kind; where kernels take long to compile, one of them.
fn rules(name: &str) -> Vec<Rule> {
    let mut rules = vec![
        Rule::softmax(1.0),
        Rule::new(Similarity::Cosine, Separation::Sparsemax, 2.0),
        Rule::new(Similarity::Euclidean, Separation::TopK { k: 5 }, 1.0),
    ];
    rules.truncate(if harness::is_quick(name) { 3 } else { 1 });
    rules
}

/// A pass of the host's own: adds 1 to every word of a buffer.
struct Own {
    pipeline: wgpu::ComputePipeline,
    words: wgpu::Buffer,
    group: wgpu::BindGroup,
}

impl Own {
    const SOURCE: &str = "@group(0) @binding(0) var<storage, read_write> words: array<u32>;
        @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) { words[id.x] += 1u; }";

    fn new(host: &wgpu::Device) -> Self {
        let source = wgpu::ShaderSource::Wgsl(Self::SOURCE.into());
        let module = host.create_shader_module(wgpu::ShaderModuleDescriptor { label: Some("own"), source });
        let pipeline = host.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some("own"),
            layout: None,
            module: &module,
            entry_point: None,
            compilation_options: Default::default(),
            cache: None,
        });
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let contents = bytemuck::cast_slice(&[0u32; 64]);
        let words = host.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: Some("own"), contents, usage });
        let group = host.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("own"),
            layout: &pipeline.get_bind_group_layout(0),
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: words.as_entire_binding() }],
        });
        Self { pipeline, words, group }
    }

    fn record(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(&self.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        pass.dispatch_workgroups(1, 1, 1);
    }
}

fn floats(host: &wgpu::Device, values: &[f32]) -> wgpu::Buffer {
    let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
    let contents = bytemuck::cast_slice(values);
    host.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: Some("host"), contents, usage })
}

/// Polls as a host does, until the answer is there.
fn await_in_frames(host: &wgpu::Device, pending: &mut Pending<Retrieval>) -> Retrieval {
    for _ in 0..60_000 {
        if let Some(answer) = pending.try_take() {
            return answer.unwrap();
        }
        host.poll(wgpu::PollType::Poll).unwrap();
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("no answer within a minute");
}

#[test]
fn the_default_limits_do_and_the_hosts_handlers_stay() {
    for Host { name, device: host, queue, .. } in hosts() {
        let errors = Arc::new(Mutex::new(Vec::<String>::new()));
        let lost = Arc::new(AtomicUsize::new(0));
        let heard = errors.clone();
        host.on_uncaptured_error(Arc::new(move |error: wgpu::Error| heard.lock().unwrap().push(error.to_string())));
        let counted = lost.clone();
        host.set_device_lost_callback(move |_, _| {
            counted.fetch_add(1, Ordering::Relaxed);
        });

        let device = Device::from_wgpu(&host, &queue).unwrap();
        let own = Own::new(&host);
        let mut frames = 0;
        for rule in rules(&name) {
            let case = Case::random(21, 30, 900, 20, Some(6), rule);
            // Two memories on one device, and one of another handle.
            let memories =
                [case.memory(&name, &device), case.memory(&name, &Device::from_wgpu(&host, &queue).unwrap())];
            let before = counts(&device);
            for memory in memories.into_iter().flatten() {
                let queries = floats(&host, &case.queries);
                let output = floats(&host, &[0.0; 30 * 6]);
                let recording = RecordTargets::new(30, Rows::new(&queries), Rows::new(&output));
                let options = RetrieveOptions::steps(2);
                let mut encoder = host.create_command_encoder(&Default::default());
                own.record(&mut encoder);
                memory.record(&mut encoder, &recording, &options).unwrap();
                own.record(&mut encoder);
                let rows = Rows::new(&queries);
                let mut answer = memory.record_readback(&mut encoder, 30, rows, &options).unwrap();
                queue.submit([encoder.finish()]);
                let (mut job, mut late) = memory.job(&case.queries, &options).unwrap();
                while !job.is_done() {
                    let mut encoder = host.create_command_encoder(&Default::default());
                    job.advance(&mut encoder, Duration::from_millis(4)).unwrap();
                    own.record(&mut encoder);
                    queue.submit([encoder.finish()]);
                    frames += 1;
                }
                frames += 2;
                let answer = await_in_frames(&host, &mut answer);
                for b in 0..30 {
                    let values = case.values.as_ref().unwrap();
                    let expected = case.problem(b).retrieve(case.query(b), 2);
                    let bound = harness::bound(rule, 20, &case.keys, values, case.query(b), 2);
                    let error = harness::worst(answer.output_row(b), &expected.output);
                    assert!(error <= bound, "{name} {rule:?}: {error:e} of {bound:e}");
                }
                assert_eq!(await_in_frames(&host, &mut late), answer, "{name}");
            }
            assert_eq!(counts(&device), before, "{name}: recording neither submits nor waits");
        }
        // What is asked to submit does, and waits for nothing inside the device.
        let case = Case::random(22, 3, 90, 8, None, Rule::softmax(1.0));
        let memory = case.memory(&name, &device).unwrap();
        memory.retrieve_blocking(&case.queries, &RetrieveOptions::default()).unwrap();
        await_in_frames(&host, &mut memory.retrieve(&case.queries, &RetrieveOptions::default()).unwrap());
        assert_eq!(counts(&device).1, 0, "{name}");

        let mut encoder = host.create_command_encoder(&Default::default());
        let staging = host.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 256,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        encoder.copy_buffer_to_buffer(&own.words, 0, &staging, 0, 256);
        queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |mapped| mapped.unwrap());
        host.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let words: Vec<u32> = bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap());
        assert_eq!(words, [frames; 64], "{name}: the host's own passes ran");

        // Nothing was reported; the handlers are still the host's.
        assert_eq!(*errors.lock().unwrap(), Vec::<String>::new(), "{name}");
        let size = host.limits().max_buffer_size + 1;
        let usage = wgpu::BufferUsages::STORAGE;
        let _ = host.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        assert_eq!(errors.lock().unwrap().len(), 1, "{name}: the host's handler hears its own mistakes");
        assert_eq!(lost.load(Ordering::Relaxed), 0, "{name}");
        host.destroy();
        let _ = host.poll(wgpu::PollType::Poll);
        assert_eq!(lost.load(Ordering::Relaxed), 1, "{name}: and the loss of its device");
    }
}

/// The least that is taken is enough for every rule, and what is advised is there.
#[test]
fn least_and_advised_limits() {
    for (name, adapter) in harness::adapters() {
        let least = Device::minimum_limits();
        assert!(least.check_limits(&wgpu::Limits::default()), "{name}: WebGPU's defaults have all of it");
        let advised = Device::recommended_limits(&adapter);
        assert!(advised.check_limits(&adapter.limits()) && least.check_limits(&advised), "{name}");
        let features = Device::recommended_features(&adapter);
        assert!(adapter.features().contains(features), "{name}");
        for (limits, features) in [(least, wgpu::Features::empty()), (advised, features)] {
            let descriptor = wgpu::DeviceDescriptor {
                required_limits: limits.clone(),
                required_features: features,
                ..Default::default()
            };
            let (host, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
            let device = Device::from_wgpu(&host, &queue).unwrap();
            for rule in rules(&name) {
                for (batch, patterns, dim) in [(3, 300, 9), (70, 1500, 70)] {
                    let case = Case::random(23, batch, patterns, dim, Some(5), rule);
                    let got = case.run(&name, &device, &RetrieveOptions::default().statistics().top(3)).unwrap();
                    let share = case.judge(&got, [0, batch - 1]);
                    assert!(share <= 1.0, "{name} {rule:?}: {share}");
                }
            }
            host.destroy();
        }
        // A device with less is refused, and the error names what is missing.
        let short = wgpu::Limits { max_storage_buffers_per_shader_stage: 4, ..Device::minimum_limits() };
        let descriptor = wgpu::DeviceDescriptor { required_limits: short, ..Default::default() };
        let (host, queue) = pollster::block_on(adapter.request_device(&descriptor)).unwrap();
        match Device::from_wgpu(&host, &queue) {
            Err(Error::Limit { limit: "max_storage_buffers_per_shader_stage", need: 8, allowed: 4, .. }) => {}
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// What can be sent to, and shared among, threads.
#[test]
fn handles_are_send_and_sync() {
    fn both<T: Send + Sync>() {}
    fn send<T: Send>() {}
    both::<Device>();
    both::<Memory>();
    both::<Error>();
    both::<Pending<Retrieval>>();
    send::<attractor::job::Job>();
    send::<attractor::job::JobQueue>();
}

/// What was prepared is not compiled again, and nothing was submitted for it.
#[test]
fn preparing_leaves_the_first_retrieval_nothing_to_compile() {
    for Host { name, device: host, queue, .. } in hosts() {
        let device = Device::from_wgpu(&host, &queue).unwrap();
        for rule in rules(&name) {
            for options in [RetrieveOptions::default(), RetrieveOptions::converge(4, 1e-4).top(3).statistics()] {
                let case = Case::random(24, 40, 700, 12, Some(5), rule);
                let memory = case.memory(&name, &device).unwrap();
                memory.warm_up(40, &options).unwrap();
                let (compiled, before) = (attractor::internals::compiled(&device), counts(&device));
                let got = memory.retrieve_blocking(&case.queries, &options).unwrap();
                assert_eq!(got.batch, 40);
                assert_eq!(attractor::internals::compiled(&device), compiled, "{name} {rule:?}");
                assert!(compiled > 0 && counts(&device) != before, "{name}");
            }
        }
        assert!(matches!(
            Memory::new(&device, 3, Rule::softmax(1.0)).unwrap().warm_up(1, &RetrieveOptions::default()),
            Err(Error::Empty { operation: "Memory::warm_up", .. })
        ));
    }
}
