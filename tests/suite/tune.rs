//! Tunings: any of them gives right answers, and each comes back from its file alone.

use std::fs;
use std::time::Duration;

use attractor::record::{RecordTargets, Rows};
use attractor::tuning::Tuning;
use attractor::{Device, Error, Precision, RetrieveOptions, Rule, Separation, Similarity, wgpu};
use harness::{Case, Rng};
use serde_json::{Value, json};
use tempfile::TempDir;

/// `tuning` with every setting at what `value` says.
fn all(mut tuning: Tuning, mut value: impl FnMut() -> u64) -> Tuning {
    for (name, _) in tuning.settings() {
        assert!(tuning.set(name, value()));
    }
    tuning
}

/// Settings as a hostile file may have them: all alike, or any.
fn hostile(start: Tuning) -> Vec<Tuning> {
    let mut tunings: Vec<Tuning> = [0, 3, u64::MAX].map(|value| all(start, || value)).into();
    let mut numbers = Rng(20_261_126);
    let mut held = start;
    let settings = [
        ("stream_max_batch", 0),
        ("register_max_dim", 128),
        ("register_min_macs", 0),
        ("register_subgroups", 0),
        ("register_min_rows_per_split", 0),
    ];
    assert!(settings.iter().all(|(name, value)| held.set(name, *value)));
    tunings.push(held);
    tunings.extend((0..3).map(|_| all(start, || numbers.bits() >> (numbers.bits() % 64))));
    tunings
}

#[test]
fn hostile_tunings_answer_rightly() {
    let rule = |separation, beta| Rule::new(Similarity::Dot, separation, beta);
    let cases = [
        Case { steps: 2, ..Case::random(1, 3, 700, 20, Some(9), Rule::softmax(1.0)) },
        Case {
            precision: Precision::F32,
            window_bytes: Some(64 * 80),
            ..Case::random(2, 70, 150, 18, None, Rule::softmax(1.0))
        },
        Case::random(3, 18, 90, 260, None, rule(Separation::Softmax1, 0.2)),
        Case { steps: 2, ..Case::random(4, 5, 300, 12, Some(4), rule(Separation::Entmax { alpha: 1.5 }, 2.0)) },
        // No list holds what has weight here.
        Case::random(5, 2, 5000, 4, None, rule(Separation::Sparsemax, 1e-3)),
        Case::random(6, 3, 200, 7, None, rule(Separation::TopK { k: 5 }, 1.0)),
    ];
    for (name, device) in harness::gpus() {
        let device = harness::reopened(device);
        for tuning in hostile(device.tuning().unwrap()) {
            device.set_tuning(tuning);
            for case in &cases {
                let Some(got) = case.run(name, &device, &case.options()) else { continue };
                let share = case.judge(&got, [0, case.batch() - 1]);
                assert!(share <= 1.0, "{name}: {share:.2} times the bound of {:?} under {tuning:?}", case.rule);
            }
        }
    }
}

/// With one tuning, one plan has one set of bits; what has begun under another goes on as it was.
#[test]
fn bits_are_those_of_the_tuning() {
    let case = Case { steps: 3, ..Case::random(7, 30, 600, 24, None, Rule::softmax(2.0)) };
    for (name, device) in harness::gpus() {
        let device = harness::reopened(device);
        let memory = case.memory(name, &device).unwrap();
        let start = device.tuning().unwrap();
        let mut odd = start;
        assert!(
            odd.set("workgroups", 7)
                && odd.set("stream_max_batch", 40)
                && odd.set("stream_max_macs_per_workgroup", 1 << 15)
        );
        let options = case.options().plan_for(30);
        let under = |tuning| {
            device.set_tuning(tuning);
            memory.retrieve_blocking(&case.queries, &options).unwrap()
        };
        let (usual, other) = (under(start), under(odd));
        assert_ne!(usual.output, other.output, "{name}: sums are cut elsewhere");
        assert_eq!(under(start).output, usual.output, "{name}");
        device.set_tuning(odd);
        let alone = memory.retrieve_blocking(case.query(4), &options).unwrap();
        assert_eq!(alone.output_row(0), other.output_row(4), "{name}: a query does not see its batch");

        let (mut job, pending) = memory.job(&case.queries, &options).unwrap();
        let (gpu, queue) = device.wgpu().unwrap();
        let mut advance = |budget| {
            let mut encoder = gpu.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let slice = job.advance(&mut encoder, budget).unwrap();
            queue.submit([encoder.finish()]);
            slice.done
        };
        assert!(!advance(Duration::from_micros(300)), "{name}: there is more to do");
        // Another retrieval in between, by another plan.
        assert_eq!(under(start).output, usual.output, "{name}");
        while !advance(Duration::from_millis(50)) {}
        assert_eq!(pollster::block_on(pending).unwrap().output, other.output, "{name}: a job keeps its plan");
    }
}

#[test]
fn explain_says_what_a_plan_is_tuned_to() {
    let case = Case::random(8, 4, 50, 6, None, Rule::softmax(1.0));
    for (name, device) in harness::devices() {
        let device = if device.is_cpu() { device.clone() } else { harness::reopened(device) };
        let memory = case.memory(name, &device).unwrap();
        let told = || memory.explain(4, &RetrieveOptions::default()).unwrap();
        let Some(mut tuning) = device.tuning() else {
            device.set_tuning(Tuning::of(wgpu::DeviceType::Cpu));
            assert_eq!((told().tuning.as_str(), device.tuning()), ("", None));
            continue;
        };
        assert_eq!(told().tuning, "default", "{name}");
        let splits = told().splits;
        assert!(tuning.set("workgroups", 1) && tuning.set("register_min_rows_per_split", u64::MAX));
        device.set_tuning(tuning);
        assert!(told().tuning.starts_with("workgroups 1 instead of "), "{name}: {}", told().tuning);
        assert!(
            told().tuning.ends_with(", register_min_rows_per_split 65536 instead of 256"),
            "{name}: {}",
            told().tuning
        );
        assert!(told().splits < splits && told().to_string().contains("tuning: workgroups 1"), "{name}: {}", told());
    }
}

#[test]
fn a_tuning_comes_back_from_its_file_and_from_no_other() {
    let folder = TempDir::new().unwrap();
    let cpu = Device::cpu();
    assert_eq!(Tuning::file(&cpu, folder.path()), None);
    let any = Tuning::of(wgpu::DeviceType::Cpu);
    assert!(matches!(any.write(&folder.path().join("cpu"), &cpu), Err(Error::NeedsGpu { .. })));
    assert!(!cpu.load_tuning(folder.path()));
    let mut names = Vec::new();
    for (name, device) in harness::gpus() {
        let device = harness::reopened(device);
        let start = device.tuning().unwrap();
        let path = Tuning::file(&device, folder.path()).unwrap();
        assert!(!device.load_tuning(folder.path()), "{name}: nothing is stored");
        for tuning in hostile(start) {
            tuning.write(&path, &device).unwrap();
            assert_eq!(Tuning::read(&path, &device).unwrap(), tuning, "{name}");
            assert!(device.load_tuning(folder.path()));
            assert_eq!(device.tuning(), Some(tuning), "{name}");
        }
        device.set_tuning(start);
        assert!(!names.contains(&path), "{name} has a file of its own");

        let whole: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let changed = |pointer: &str, value: Value| {
            let mut file = whole.clone();
            *file.pointer_mut(pointer).unwrap() = value;
            file.to_string().into_bytes()
        };
        let text = fs::read(&path).unwrap();
        let mut wrong = vec![
            (b"".to_vec(), "no tuning"),
            (b"[]".to_vec(), "no tuning"),
            (b"\xff\xfe{".to_vec(), "no tuning"),
            (vec![b'['; 60_000], "no tuning"),
            (vec![b' '; 100_000], "too large"),
            (text[..text.len() / 2].to_vec(), "no tuning"),
            (changed("/format", json!("attractor.tuning 1")), "format"),
            (changed("/format", json!("attractor.tuning 3")), "format"),
            (changed("/for/attractor", json!("0.0.1")), "attractor is \"0.0.1\""),
            (changed("/for/driver_info", json!("other")), "driver_info"),
            (changed("/for/vendor", json!(-1)), "vendor is -1"),
            (changed("/for", Value::Null), "another device"),
            (changed("/settings", json!([1])), "no settings"),
        ];
        for nonsense in [json!(-1), json!(1.5), json!("8"), json!(null), json!([3]), json!(true)] {
            wrong.push((changed("/settings/max_chunk_rows", nonsense), "not a whole number"));
        }
        for (bytes, why) in wrong {
            fs::write(&path, bytes).unwrap();
            let error = Tuning::read(&path, &device).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("tuning-"), "{name}: {error}");
            assert!(!device.load_tuning(folder.path()), "{name}: {error}");
            assert_eq!(device.tuning(), Some(start), "{name}: as it was");
        }
        #[cfg(unix)]
        {
            // A FIFO without a writer: nothing waits for it, and nothing replaces it.
            fs::remove_file(&path).unwrap();
            assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
            let start_time = std::time::Instant::now();
            let error = Tuning::read(&path, &device).unwrap_err().to_string();
            assert!(error.contains("not a regular file") && error.contains("a FIFO"), "{name}: {error}");
            assert!(!device.load_tuning(folder.path()), "{name}");
            let error = start.write(&path, &device).unwrap_err().to_string();
            assert!(error.contains("a FIFO"), "{name}: {error}");
            assert!(start_time.elapsed().as_secs() < 5);
            fs::remove_file(&path).unwrap();
        }
        // What is missing is the default, and what is unknown is left alone.
        let settings = json!({ "workgroups": 5, "later": {} });
        fs::write(&path, changed("/settings", settings)).unwrap();
        let mut expected = start;
        assert!(expected.set("workgroups", 5));
        assert_eq!(Tuning::read(&path, &device).unwrap(), expected, "{name}");
        names.push(path);
    }
}

#[test]
fn a_recording_is_timed() {
    let case = Case::random(9, 40, 4000, 32, None, Rule::softmax(1.0));
    for (name, device) in harness::gpus() {
        let (gpu, queue) = device.wgpu().unwrap();
        if !gpu.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            eprintln!("SKIP {name}: no timestamps");
            continue;
        }
        let memory = case.memory(name, device).unwrap();
        let buffer = |size, usage| {
            gpu.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false })
        };
        let bytes = size_of_val(&case.queries[..]) as u64;
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        let (source, target) = (buffer(bytes, usage), buffer(bytes, usage));
        queue.write_buffer(&source, 0, bytemuck::cast_slice(&case.queries));
        let resolved = buffer(16, wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let read = buffer(16 + bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let ty = wgpu::QueryType::Timestamp;
        let set = gpu.create_query_set(&wgpu::QuerySetDescriptor { label: None, ty, count: 2 });
        let mut encoder = gpu.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let (queries, output) = (Rows::new(&source), Rows::new(&target));
        let recording = RecordTargets::new(40, queries, output);
        let writes = wgpu::ComputePassTimestampWrites {
            query_set: &set,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        };
        let recording = recording.timestamps(writes);
        let refused = memory.job_to_buffers(&recording, &case.options()).unwrap_err();
        assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
        memory.record(&mut encoder, &recording, &case.options()).unwrap();
        encoder.resolve_query_set(&set, 0..2, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &read, 0, 16);
        encoder.copy_buffer_to_buffer(&target, 0, &read, 16, bytes);
        let begin = std::time::Instant::now();
        queue.submit([encoder.finish()]);
        read.map_async(wgpu::MapMode::Read, .., |_| ());
        gpu.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let took = begin.elapsed().as_secs_f64();
        let view = read.get_mapped_range(..).unwrap();
        let times: Vec<u64> = bytemuck::pod_collect_to_vec(&view[..16]);
        let output: Vec<f32> = bytemuck::pod_collect_to_vec(&view[16..]);
        let seconds = times[1].saturating_sub(times[0]) as f64 * f64::from(queue.get_timestamp_period()) * 1e-9;
        assert!(seconds > 0.0 && seconds <= took, "{name}: {seconds} s of {took} s");
        let plain = memory.retrieve_blocking(&case.queries, &case.options()).unwrap();
        assert_eq!(output, plain.output, "{name}: the same bits");
    }
}
