//! Recording into an encoder of the caller's, on a device of the caller's.

use attractor::record::{RecordTargets, Rows};
use attractor::retrieval::Status;
use attractor::{Device, Error, Memory, MemoryOptions, Patterns, RetrieveOptions, Rule, wgpu};
use harness::Case;
use harness::host::{Host, hosts};
use wgpu::util::DeviceExt;

/// What a buffer holds once the commands have run.
pub fn read(
    device: &wgpu::Device,
    queue: &wgpu::Queue,
    encoder: wgpu::CommandEncoder,
    buffer: &wgpu::Buffer,
) -> Vec<u32> {
    let mut encoder = encoder;
    let staging = device.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: buffer.size(),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    });
    encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
    queue.submit([encoder.finish()]);
    staging.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
    device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let view = staging.get_mapped_range(..).unwrap();
    bytemuck::pod_collect_to_vec(&view)
}

const GARBAGE: u32 = 0xdead_beef;

#[test]
fn into_one_buffer_with_offsets_and_strides() {
    for Host { name, device: host, queue, .. } in hosts() {
        let case = Case { steps: 2, ..Case::random(71, 37, 300, 10, Some(7), Rule::softmax(0.9)) };
        let device = Device::from_wgpu(&host, &queue).unwrap();
        let mut memory = MemoryOptions::new(10, case.rule).value_dim(7).window_bytes(4096).build(&device).unwrap();
        memory.add(Patterns::new(&case.keys).values(case.values.as_deref().unwrap())).unwrap();

        // One buffer, in words: queries from 3 with a stride of 11, outputs from 500 (stride 9), states from 1,000 side
        // by side, reports from 1,500.
        let mut words = vec![GARBAGE; 2000];
        for b in 0..37 {
            let row: Vec<u32> = case.query(b).iter().map(|q| q.to_bits()).collect();
            words[3 + 11 * b..][..10].copy_from_slice(&row);
        }
        let buffer = host.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&words),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        });
        let mut encoder = host.create_command_encoder(&Default::default());
        let rows = |word: u64, stride: Option<u32>| {
            let rows = Rows::at(&buffer, 4 * word);
            stride.map_or(rows, |words| rows.stride(words))
        };
        let job = RecordTargets::new(37, rows(3, Some(11)), rows(500, Some(9)))
            .state(rows(1000, None))
            .report(rows(1500, None));
        memory.record(&mut encoder, &job, &RetrieveOptions::steps(2)).unwrap();
        let after = read(&host, &queue, encoder, &buffer);

        let floats = |words: &[u32]| words.iter().map(|&word| f32::from_bits(word)).collect::<Vec<f32>>();
        let mut written = vec![false; words.len()];
        for b in 0..37 {
            let expected = case.reference(b);
            let bound = harness::bound(case.rule, 10, &case.keys, case.values.as_ref().unwrap(), case.query(b), 2);
            let (output, state, report) =
                (500 + 9 * b..507 + 9 * b, 1000 + 10 * b..1010 + 10 * b, 1500 + 4 * b..1504 + 4 * b);
            assert!(harness::worst(&floats(&after[output.clone()]), &expected.output) <= bound, "{name} query {b}");
            assert!(harness::worst(&floats(&after[state.clone()]), &expected.state) <= bound, "{name} query {b}");
            let [stamp, steps, change, status] = after[report.clone()] else { unreachable!() };
            assert!(stamp != 0 && stamp == after[1500], "{name}: one stamp for one recording");
            assert_eq!((steps, status), (2, 0), "{name}");
            assert!((f64::from(f32::from_bits(change)) - expected.change).abs() <= 2.0 * bound, "{name}");
            for range in [output, state, report] {
                written[range].fill(true);
            }
        }
        for (i, written) in written.iter().enumerate() {
            assert!(*written || after[i] == words[i], "{name}: word {i} is not ours to write");
        }
    }
}

#[test]
fn queries_that_are_not_finite_or_out_of_range_are_reported() {
    for Host { name, device: host, queue, .. } in hosts() {
        let device = Device::from_wgpu(&host, &queue).unwrap();
        let mut memory = Memory::new(&device, 5, Rule::softmax(1.0)).unwrap();
        memory.add(&[1.0; 10]).unwrap();
        let mut queries = [0.5f32; 20];
        queries[7] = f32::NAN;
        queries[14] = f32::NEG_INFINITY;
        queries[16] = 3e38;
        let queries = host.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&queries),
            usage: wgpu::BufferUsages::STORAGE,
        });
        let answers = host.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&[GARBAGE; 36]),
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
        });
        let mut encoder = host.create_command_encoder(&Default::default());
        let job = RecordTargets::new(4, Rows::new(&queries), Rows::new(&answers)).report(Rows::at(&answers, 80));
        memory.record(&mut encoder, &job, &RetrieveOptions::default()).unwrap();
        let options = RetrieveOptions::default();
        let mut told = memory.record_readback(&mut encoder, 4, Rows::new(&queries), &options).unwrap();
        let after = read(&host, &queue, encoder, &answers);
        let told = told.try_take().unwrap().unwrap();
        let expected = [Status::Answered, Status::NotFinite, Status::NotFinite, Status::OutOfRange];
        assert_eq!(told.status, expected, "{name}");
        assert_eq!(told.output[5..], [0.0; 15], "{name}");
        let output: Vec<f32> = after[..20].iter().map(|&word| f32::from_bits(word)).collect();
        assert_eq!(output[..5], [1.0; 5], "{name}");
        assert_eq!(output[5..], [0.0; 15], "{name}");
        assert_eq!([after[23], after[27], after[31], after[35]], [0, 1, 1, 16], "{name}: status");
    }
}

#[test]
fn retrieval_and_recording_give_the_same_bits() {
    for Host { name, device: host, queue, .. } in hosts() {
        let case = Case::random(72, 20, 500, 33, None, Rule::softmax(0.4));
        let device = Device::from_wgpu(&host, &queue).unwrap();
        let mut memory = Memory::new(&device, 33, case.rule).unwrap();
        memory.add(&case.keys).unwrap();
        // Awaited on an executor that never polls the device.
        let retrieved =
            memory.retrieve(&case.queries, &RetrieveOptions::default()).and_then(futures::executor::block_on).unwrap();
        assert!(case.judge(&retrieved, 0..20) <= 1.0, "{name}");
        let queries = host.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&case.queries),
            usage: wgpu::BufferUsages::STORAGE,
        });
        let output = host.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 4 * 20 * 33,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let mut encoder = host.create_command_encoder(&Default::default());
        let job = RecordTargets::new(20, Rows::new(&queries), Rows::new(&output));
        memory.record(&mut encoder, &job, &RetrieveOptions::default()).unwrap();
        let recorded = read(&host, &queue, encoder, &output);
        let retrieved: Vec<u32> = retrieved.output.iter().map(|v| v.to_bits()).collect();
        assert_eq!(recorded, retrieved, "{name}");
    }
}

#[test]
fn buffers_that_do_not_fit_are_refused() {
    for Host { name, device: host, queue, .. } in hosts() {
        let device = Device::from_wgpu(&host, &queue).unwrap();
        let mut memory = Memory::new(&device, 4, Rule::softmax(1.0)).unwrap();
        let buffer = |size, usage| {
            host.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
        };
        let (small, plain) = (buffer(60, wgpu::BufferUsages::STORAGE), buffer(64, wgpu::BufferUsages::COPY_DST));
        let good = buffer(64, wgpu::BufferUsages::STORAGE);
        let mut encoder = host.create_command_encoder(&Default::default());
        let mut refused = |queries, output| {
            let job = RecordTargets::new(4, queries, output);
            memory.record(&mut encoder, &job, &RetrieveOptions::default()).unwrap_err().to_string()
        };
        assert!(refused(Rows::new(&good), Rows::new(&good)).contains("empty"), "{name}");
        memory.add(&[0.0; 4]).unwrap();
        let mut refused = |queries, output| {
            let job = RecordTargets::new(4, queries, output);
            memory.record(&mut encoder, &job, &RetrieveOptions::default()).unwrap_err().to_string()
        };
        assert!(refused(Rows::new(&small), Rows::new(&good)).contains("60 bytes"), "{name}");
        assert!(refused(Rows::new(&good), Rows::new(&plain)).contains("STORAGE"), "{name}");
        assert!(refused(Rows::at(&good, 2), Rows::new(&good)).contains("multiple of 4"), "{name}");
        let narrow = Rows::new(&good).stride(3);
        assert!(refused(narrow, Rows::new(&good)).contains("at least 4"), "{name}");
        let far = Rows::at(&good, u64::MAX - 3).stride(u32::MAX);
        assert!(refused(far, Rows::new(&good)).contains("64 bytes"), "{name}");
    }
    let mut memory = Memory::new(&Device::cpu(), 4, Rule::softmax(1.0)).unwrap();
    memory.add(&[0.0; 4]).unwrap();
    for Host { device: host, .. } in hosts().take(1) {
        let buffer = host.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: 64,
            usage: wgpu::BufferUsages::STORAGE,
            mapped_at_creation: false,
        });
        let rows = Rows::new(&buffer);
        let job = RecordTargets::new(1, rows, rows);
        let mut encoder = host.create_command_encoder(&Default::default());
        let refused = memory.record(&mut encoder, &job, &RetrieveOptions::default());
        assert!(matches!(refused, Err(Error::NeedsGpu { .. })));
    }
}
