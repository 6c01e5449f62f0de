//! Jobs: the same bits as the one-shot call, however they are cut and whatever happens between their slices.

use std::time::Duration;

use attractor::job::{Job, JobQueue};
use attractor::record::{RecordTargets, Rows};
use attractor::{
    Device, Error, Mask, Memory, PatternId, Patterns, Pending, RetrieveOptions, Rule, SearchOptions, Separation,
    Similarity, wgpu,
};
use harness::Case;
use harness::host::{Host, hosts};
use wgpu::util::DeviceExt;

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(3600);

/// Submits one frame with the next slice of `job`.
fn frame(device: &Device, job: &mut Job, budget: Duration) -> attractor::job::JobSlice {
    let (device, queue) = device.wgpu().unwrap();
    let mut encoder = device.create_command_encoder(&Default::default());
    let slice = job.advance(&mut encoder, budget).unwrap();
    queue.submit([encoder.finish()]);
    slice
}

/// Takes `job` to its end and gives the answer and the number of frames.
fn run<T>(device: &Device, mut job: Job, answer: Pending<T>, budget: Duration) -> (T, usize) {
    let mut frames = 0;
    loop {
        frames += 1;
        if frame(device, &mut job, budget).done {
            break;
        }
    }
    assert!(job.is_done() && job.slices() <= frames);
    assert_eq!(frame(device, &mut job, budget).dispatches, 0, "nothing is left");
    (answer.wait().unwrap(), frames)
}

/// Rules and what is asked of them; where kernels take long to compile, two of them.
fn rules(name: &str) -> Vec<(Rule, RetrieveOptions)> {
    let everything = RetrieveOptions::steps(2).statistics().top(5);
    let mut rules = vec![
        (Rule::softmax(0.7), RetrieveOptions::steps(2)),
        (Rule::softmax(4.0), RetrieveOptions::converge(6, 1e-5)),
        (Rule::new(Similarity::Dot, Separation::Sparsemax, 2.0), everything.clone()),
        (Rule::new(Similarity::Euclidean, Separation::Entmax { alpha: 3.0 }, 2.0), RetrieveOptions::default()),
        (Rule::new(Similarity::Cosine, Separation::TopK { k: 7 }, 2.0), everything),
    ];
    rules.truncate(if harness::is_quick(name) { 5 } else { 2 });
    rules
}

#[test]
fn the_bits_do_not_depend_on_the_cut() {
    for (name, device) in harness::gpus() {
        for (rule, options) in rules(name) {
            for (batch, patterns, dim) in [(1, 600, 33), (70, 700, 20)] {
                let case = Case::random(5, batch, patterns, dim, None, rule);
                let memory = case.memory(name, device).unwrap();
                let whole = memory.retrieve_blocking(&case.queries, &options).unwrap();
                let mut most = 0;
                // A workgroup a frame, where that does not take too long.
                let few = batch == 1 && matches!(rule.separation, Separation::Softmax | Separation::TopK { .. });
                let least = if few { NOW } else { Duration::from_micros(500) };
                for budget in [least, Duration::from_millis(5), LONG] {
                    let (job, answer) = memory.job(&case.queries, &options).unwrap();
                    let (sliced, frames) = run(device, job, answer, budget);
                    assert_eq!(sliced, whole, "{name} {rule:?} {budget:?}");
                    most = most.max(frames);
                }
                assert!(!few || most > 10, "{name} {rule:?}: {most} frames at most");
            }
        }
    }
}

#[test]
fn a_bound_on_dispatches_is_kept_and_changes_no_bit() {
    for (name, device) in harness::gpus() {
        let case = Case::random(6, 128, 4096, 64, None, Rule::softmax(0.5));
        let memory = case.memory(name, device).unwrap();
        device.set_max_dispatch_time(LONG);
        let whole = memory.retrieve_blocking(&case.queries, &RetrieveOptions::default()).unwrap();
        let few = memory.explain(128, &RetrieveOptions::default()).unwrap();
        let bound = Duration::from_millis(1);
        device.set_max_dispatch_time(bound);
        let many = memory.explain(128, &RetrieveOptions::default()).unwrap();
        let software = device.info().kind == attractor::device::DeviceKind::Software;
        assert!(!software || many.dispatches() > 2 * few.dispatches(), "{name}: {} dispatches", many.dispatches());
        let work = |told: &attractor::explain::Explanation| {
            (told.flops(), told.bytes(), told.kernels.iter().map(|kernel| kernel.workgroups).sum::<u64>())
        };
        assert_eq!(work(&many), work(&few), "{name}: the work is the same");
        assert_eq!(memory.retrieve_blocking(&case.queries, &RetrieveOptions::default()).unwrap(), whole, "{name}");

        // A budget of one dispatch: every slice keeps the bound.
        let (mut job, answer) = memory.job(&case.queries, &RetrieveOptions::default()).unwrap();
        let mut slices = 0;
        loop {
            let slice = frame(device, &mut job, bound);
            slices += 1;
            assert!(slice.estimate <= bound || slice.dispatches == 1, "{name}: {slice:?}");
            if slice.done {
                break;
            }
        }
        assert!(!software || slices > 20, "{name}: {slices} slices");
        assert_eq!(answer.wait().unwrap(), whole, "{name}");
        device.set_max_dispatch_time(Duration::from_millis(50));
    }
}

#[test]
fn a_job_sees_the_memory_as_it_was() {
    for (name, device) in harness::gpus() {
        for (rule, options) in rules(name) {
            let case = Case::random(7, 20, 600, 16, Some(5), rule);
            let mut memory = case.memory(name, device).unwrap();
            memory.remove(memory.id_at(17).unwrap()).unwrap();
            let before = memory.retrieve_blocking(&case.queries, &options).unwrap();
            let (mut job, answer) = memory.job(&case.queries, &options).unwrap();
            let new = Case::random(8, 1, 40, 16, Some(5), rule);
            let values = new.values.as_ref().unwrap();
            for i in 0.. {
                let budget = if i < 6 { Duration::from_micros(100) } else { LONG };
                let done = frame(device, &mut job, budget).done;
                match i {
                    0 => {
                        let other = memory.retrieve_blocking(&case.queries, &options).unwrap();
                        assert_eq!(other, before, "{name}: others are answered between slices");
                    }
                    // The position that was free before may be filled, the others are left alone.
                    1 => {
                        for position in 0..30 {
                            memory.remove(memory.id_at(position).or(memory.id_at(99)).unwrap()).unwrap();
                        }
                        memory.add(Patterns::new(&new.keys).values(values)).unwrap();
                        assert!(memory.id_at(17).is_some() && memory.id_at(16).is_none(), "{name}");
                        assert_eq!(memory.position_count(), 639, "{name}");
                    }
                    2 => {
                        let id = memory.id_at(50).unwrap();
                        let pattern = Patterns::new(&new.keys[..16]).values(&values[..5]);
                        memory.update(id, pattern).unwrap();
                        assert_eq!(memory.get(id).unwrap().key, new.keys[..16], "{name}");
                    }
                    3 => memory.clear(),
                    4 => drop(memory.add(Patterns::new(&new.keys).values(values)).unwrap()),
                    5 => memory.add(Patterns::new(&case.keys).values(case.values.as_ref().unwrap())).map(drop).unwrap(),
                    _ => {}
                }
                if i >= 3 && done {
                    break;
                }
                if i == 3 {
                    memory.add(Patterns::new(&new.keys).values(values)).unwrap();
                }
            }
            assert_eq!(answer.wait().unwrap(), before, "{name} {rule:?}");
        }
    }
}

/// What was recorded and not yet submitted is safe from what is stored meanwhile.
#[test]
fn a_recording_sees_the_memory_as_it_was() {
    for Host { name, device: host, queue, .. } in hosts() {
        let case = Case::random(9, 20, 300, 16, None, Rule::softmax(2.0));
        let device = Device::from_wgpu(&host, &queue).unwrap();
        let mut memory = case.memory(&name, &device).unwrap();
        let before = memory.retrieve_blocking(&case.queries, &RetrieveOptions::default()).unwrap();
        let queries = host.create_buffer_init(&wgpu::util::BufferInitDescriptor {
            label: None,
            contents: bytemuck::cast_slice(&case.queries),
            usage: wgpu::BufferUsages::STORAGE,
        });
        let mut encoder = host.create_command_encoder(&Default::default());
        let answer =
            memory.record_readback(&mut encoder, 20, Rows::new(&queries), &RetrieveOptions::default()).unwrap();
        for position in 0..100 {
            memory.remove(memory.id_at(position).unwrap()).unwrap();
        }
        memory.add(&Case::random(10, 1, 100, 16, None, case.rule).keys).unwrap();
        queue.submit([encoder.finish()]);
        assert_eq!(answer.wait().unwrap(), before, "{name}");
        // Once it has run, the room is used again: what held it goes right after the answer.
        let positions = memory.position_count();
        host.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        std::thread::sleep(Duration::from_millis(100));
        memory.add(&Case::random(11, 1, 100, 16, None, case.rule).keys).unwrap();
        assert_eq!((positions, memory.position_count()), (400, 400), "{name}");
    }
}

#[test]
fn into_buffers_of_the_host() {
    for Host { name, device: host, queue, .. } in hosts() {
        let case = Case::random(12, 33, 2000, 24, None, Rule::new(Similarity::Dot, Separation::Sparsemax, 3.0));
        let device = Device::from_wgpu(&host, &queue).unwrap();
        let memory = case.memory(&name, &device).unwrap();
        let expected = memory.retrieve_blocking(&case.queries, &RetrieveOptions::default()).unwrap();
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let contents = bytemuck::cast_slice(&case.queries);
        let queries = host.create_buffer_init(&wgpu::util::BufferInitDescriptor { label: None, contents, usage });
        let size = queries.size();
        let output =
            host.create_buffer(&wgpu::BufferDescriptor { label: None, size, usage, mapped_at_creation: false });
        let (queries, output) = (Rows::new(&queries), Rows::new(&output));
        let recording = RecordTargets::new(33, queries, output);
        let mut job = memory.job_to_buffers(&recording, &RetrieveOptions::default()).unwrap();
        while !frame(&device, &mut job, Duration::from_micros(300)).done {}
        let staging = host.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = host.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(output.buffer(), 0, &staging, 0, size);
        queue.submit([encoder.finish()]);
        staging.map_async(wgpu::MapMode::Read, .., |result| result.unwrap());
        host.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        let got: Vec<f32> = bytemuck::pod_collect_to_vec(&staging.get_mapped_range(..).unwrap());
        assert_eq!(got, expected.output, "{name}");
        let none = RecordTargets::new(0, queries, output);
        assert!(memory.job_to_buffers(&none, &RetrieveOptions::default()).unwrap().is_done());
        let short = RecordTargets::new(34, queries, output);
        let refused = memory.job_to_buffers(&short, &RetrieveOptions::default()).unwrap_err().to_string();
        assert!(refused.starts_with("Memory::job_to_buffers: expected queries: 34 rows"), "{refused}");
    }
}

/// Hits do not depend on the cut either, nor on what happens to the memory between slices; and a job of a search that
/// ends says so.
#[test]
fn searches_slice_by_slice() {
    for (name, device) in harness::gpus() {
        for (batch, patterns, dim) in [(1, 3000, 24), (70, 1500, 20)] {
            let rule = Rule::new(Similarity::Euclidean, Separation::Softmax, -3.0);
            let case = Case::random(14, batch, patterns, dim, None, rule);
            let mut memory = case.memory(name, device).unwrap();
            memory.remove(PatternId(5)).unwrap();
            let keep: Vec<bool> = (0..patterns).map(|i| i % 5 > 0).collect();
            for options in [SearchOptions::from(9), SearchOptions::from(20).at_most(6.0).mask(Mask::keep(&keep))] {
                let whole = memory.search_blocking(&case.queries, &options).unwrap();
                let mut most = 0;
                for budget in [if batch == 1 { NOW } else { Duration::from_micros(500) }, LONG] {
                    let (job, answer) = memory.search_job(&case.queries, &options).unwrap();
                    let (sliced, frames) = run(device, job, answer, budget);
                    assert_eq!(sliced, whole, "{name} {budget:?}");
                    most = most.max(frames);
                }
                assert!(batch > 1 || most > 3, "{name}: {most} frames at most");
            }
            let whole = memory.search_blocking(&case.queries, 9).unwrap();
            let (mut job, answer) = memory.search_job(&case.queries, 9).unwrap();
            frame(device, &mut job, NOW);
            for id in whole.ids.iter().flatten().take(3) {
                if memory.contains(*id) {
                    memory.remove(*id).unwrap();
                }
            }
            memory.add(Patterns::new(&case.queries[..dim])).unwrap();
            while !frame(device, &mut job, Duration::from_millis(5)).done {}
            assert_eq!(answer.wait().unwrap(), whole, "{name}");

            let (mut job, answer) = memory.search_job(&case.queries, 9).unwrap();
            frame(device, &mut job, NOW);
            job.cancel();
            let ended = answer.wait().unwrap_err();
            assert!(matches!(ended, Error::Cancelled { operation: "Memory::search_job", .. }), "{name}: {ended}");
            let (job, answer) = memory.search_job(&[], 9).unwrap();
            assert!(job.is_done() && answer.wait().unwrap().batch == 0, "{name}");
            let error = memory.search_job(&case.queries, 0).unwrap_err().to_string();
            assert!(error.starts_with("Memory::search_job: top must be at least 1"), "{name}: {error}");
        }
    }
    let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0)).unwrap();
    memory.add(&[1.0, 0.0]).unwrap();
    assert!(matches!(memory.search_job(&[1.0, 0.0], 1), Err(Error::NeedsGpu { .. })));
}

#[test]
fn ended_and_broken_jobs_say_so() {
    for (name, device) in harness::gpus() {
        let case = Case::random(13, 40, 2000, 24, None, Rule::softmax(1.0));
        let memory = case.memory(name, device).unwrap();
        let options = RetrieveOptions::steps(3);
        let (mut job, answer) = memory.job(&case.queries, &options).unwrap();
        frame(device, &mut job, NOW);
        job.cancel();
        let cancelled = answer.wait().unwrap_err();
        assert!(matches!(cancelled, Error::Cancelled { operation: "Memory::job", .. }), "{name}: {cancelled}");

        // A slice that is dropped.
        let (mut job, answer) = memory.job(&case.queries, &options).unwrap();
        frame(device, &mut job, NOW);
        let (host, queue) = device.wgpu().unwrap();
        let mut encoder = host.create_command_encoder(&Default::default());
        job.advance(&mut encoder, NOW).unwrap();
        drop(encoder);
        let mut encoder = host.create_command_encoder(&Default::default());
        let broken = job.advance(&mut encoder, NOW).unwrap_err();
        assert!(matches!(&broken, Error::Cancelled { why, .. } if why.contains("dropped")), "{name}: {broken}");
        assert!(matches!(answer.wait().unwrap_err(), Error::Cancelled { .. }), "{name}");
        queue.submit([encoder.finish()]);

        // The last one.
        let (mut job, answer) = memory.job(&case.queries, &options).unwrap();
        while !job.is_done() {
            let mut encoder = host.create_command_encoder(&Default::default());
            job.advance(&mut encoder, LONG).unwrap();
            match job.is_done() {
                true => drop(encoder.finish()),
                false => drop(queue.submit([encoder.finish()])),
            }
        }
        assert!(matches!(answer.wait().unwrap_err(), Error::Cancelled { .. }), "{name}");

        // Nothing of this matters to the memory.
        let expected = memory.retrieve_blocking(&case.queries, &options).unwrap();
        let (job, answer) = memory.job(&case.queries, &options).unwrap();
        assert_eq!(run(device, job, answer, LONG).0, expected, "{name}");
        let (job, answer) = memory.job(&[], &options).unwrap();
        assert_eq!(run(device, job, answer, LONG).0.batch, 0, "{name}");
    }
    let case = Case::random(14, 1, 3, 2, None, Rule::softmax(1.0));
    let memory: Memory = case.memory("cpu", &Device::cpu()).unwrap();
    assert!(matches!(memory.job(&case.queries, &RetrieveOptions::default()), Err(Error::NeedsGpu { .. })));
}

#[test]
fn the_more_urgent_goes_first() {
    for (name, device) in harness::gpus() {
        let case = Case::random(15, 40, 3000, 24, None, Rule::softmax(1.0));
        let memory = case.memory(name, device).unwrap();
        let options = RetrieveOptions::default();
        let expected = memory.retrieve_blocking(&case.queries, &RetrieveOptions::default()).unwrap();
        let mut jobs = JobQueue::new();
        let mut answers = Vec::new();
        let mut ids = Vec::new();
        for priority in [0, 5, 5, -1, 9] {
            let (job, answer) = memory.job(&case.queries, &options).unwrap();
            ids.push(jobs.push(job, priority));
            answers.push(answer);
        }
        assert!(jobs.cancel(ids[3]) && !jobs.cancel(ids[3]), "{name}");
        let (host, queue) = device.wgpu().unwrap();
        let mut order = Vec::new();
        while !jobs.is_empty() {
            let before = jobs.len();
            let mut encoder = host.create_command_encoder(&Default::default());
            let slice = jobs.advance(&mut encoder, Duration::from_micros(500)).unwrap();
            assert!(slice.dispatches > 0 && slice.done == jobs.is_empty(), "{name}");
            queue.submit([encoder.finish()]);
            if jobs.len() < before {
                host.poll(wgpu::PollType::wait_indefinitely()).unwrap();
                order.extend((0..5).filter(|i| !order.contains(i) && answers[*i].is_ready()).collect::<Vec<_>>());
            }
        }
        // Whatever was recorded in the same frame came with it; the first and the last are far apart.
        order.retain(|i| *i != 3);
        assert_eq!((order.len(), order[0], order[3]), (4, 4, 0), "{name}: {order:?}");
        for (i, mut answer) in answers.into_iter().enumerate() {
            match (i, answer.try_take().unwrap()) {
                (3, Err(Error::Cancelled { .. })) => {}
                (_, answer) => assert_eq!(answer.unwrap(), expected, "{name}: {i}"),
            }
        }
    }
}
