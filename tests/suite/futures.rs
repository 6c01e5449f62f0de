//! Retrievals as futures: under several executors, dropped at every point, asked for once a frame, and on a device that
//! goes away.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use attractor::record::{RecordTargets, Rows};
use attractor::{
    Device, Error, Memory, MemoryOptions, Patterns, Pending, Result, Retrieval, RetrieveOptions, Rule, wgpu,
};
use futures::future::join_all;
use harness::host::{Host, hosts, within};
use harness::{Case, devices};
use wgpu::util::DeviceExt;

const DIM: usize = 12;
const BATCH: usize = 5;

/// A case, its memory, and the answer that somebody got who waited for it.
fn waited_for(name: &str, device: &Device, seed: u64) -> (Case, Arc<Memory>, Retrieval) {
    let case = Case { steps: 2, ..Case::random(seed, BATCH, 150, DIM, None, Rule::softmax(1.3)) };
    let memory = case.memory(name, device).expect("softmax is everywhere");
    let answer = memory.retrieve_blocking(&case.queries, &case.options()).unwrap();
    assert!(case.judge(&answer, 0..BATCH) <= 1.0, "{name}");
    (case, Arc::new(memory), answer)
}

/// Polls `future` once.
fn poll_once(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

/// The answer of a caller that polls, doing `meanwhile` between polls.
fn asked_for(mut pending: Pending<Retrieval>, mut meanwhile: impl FnMut()) -> Result<Retrieval> {
    loop {
        if let Some(answer) = pending.try_take() {
            return answer;
        }
        meanwhile();
    }
}

fn nap() {
    std::thread::sleep(Duration::from_millis(1));
}

#[test]
fn every_executor_gets_the_same_bits() {
    for (name, device) in devices() {
        let (case, memory, expected) = waited_for(name, device, 81);
        let queries: Arc<[f32]> = case.queries.clone().into();
        let options = Arc::new(case.options());
        let task = || {
            let (memory, queries, options) = (memory.clone(), queries.clone(), options.clone());
            async move { memory.retrieve(&queries, &options).unwrap().await.unwrap() }
        };
        let expected = |what: &str, answers: Vec<Retrieval>| {
            for answer in answers {
                assert_eq!(answer, expected, "{name}, {what}");
            }
        };

        expected("pollster", vec![pollster::block_on(task())]);
        expected("futures", vec![futures::executor::block_on(task())]);
        expected("many at once", futures::executor::block_on(join_all((0..20).map(|_| task()))));

        let mut pool = futures::executor::LocalPool::new();
        let handles: Vec<_> = (0..10)
            .map(|_| futures::task::LocalSpawnExt::spawn_local_with_handle(&pool.spawner(), task()).unwrap())
            .collect();
        expected("a local pool", pool.run_until(join_all(handles)));

        for (what, mut builder) in [
            ("tokio, one thread", tokio::runtime::Builder::new_current_thread()),
            ("tokio, three threads", tokio::runtime::Builder::new_multi_thread()),
        ] {
            let runtime = builder.worker_threads(3).enable_time().build().unwrap();
            let answers = runtime.block_on(async {
                let tasks: Vec<_> = (0..20).map(|_| tokio::spawn(task())).collect();
                // A blocked executor would not get to this.
                tokio::time::sleep(Duration::from_millis(1)).await;
                join_all(tasks).await
            });
            expected(what, answers.into_iter().map(|answer| answer.unwrap()).collect());
        }
    }
}

#[test]
fn a_pending_answer_is_given_once() {
    for (name, device) in devices() {
        let (case, memory, expected) = waited_for(name, device, 82);
        let begin = || memory.retrieve(&case.queries, &case.options()).unwrap();

        let mut pending = begin();
        while !pending.is_ready() {
            nap();
        }
        assert!(pending.is_ready(), "{name}: it stays ready");
        assert_eq!(pending.try_take().expect(name).unwrap(), expected, "{name}");
        assert!(pending.try_take().is_none() && !pending.is_ready(), "{name}: it is taken");
        assert!(!poll_once(&mut pending), "{name}: nothing more comes");

        let mut pending = begin();
        while !pending.is_ready() {
            nap();
        }
        assert_eq!(pollster::block_on(pending).unwrap(), expected, "{name}: awaited after it is ready");

        let mut pending = begin();
        let early = poll_once(&mut pending);
        let answer = if early { None } else { Some(asked_for(pending, nap).unwrap()) };
        assert!(answer.is_none_or(|answer| answer == expected), "{name}: asked for after it was awaited");

        assert_eq!(begin().wait().unwrap(), expected, "{name}: waited for");
        let mut pending = begin();
        while !pending.is_ready() {
            nap();
        }
        assert_eq!(pending.wait().unwrap(), expected, "{name}: waited for when it is there");
        assert_eq!(asked_for(begin(), std::thread::yield_now).unwrap(), expected, "{name}");

        // Last first: an answer does not wait for those before it.
        let mut all: Vec<_> = (0..10).map(|_| begin()).collect();
        while let Some(pending) = all.pop() {
            assert_eq!(pollster::block_on(pending).unwrap(), expected, "{name}");
        }
        let nothing = memory.retrieve(&[], &RetrieveOptions::default()).unwrap().wait();
        assert_eq!(nothing.unwrap().batch, 0, "{name}: an empty batch");
    }
}

/// The maximum number of command encoders that a round has open at once: wgpu keeps as many as there ever were.
const ENCODERS: isize = 64;

/// Objects of wgpu's that are alive on a device, without bind group layouts and pipelines, which are kept.
fn alive(device: &wgpu::Device) -> [isize; 4] {
    let hal = device.get_internal_counters().hal;
    let encoders = hal.command_encoders.read();
    assert!(encoders <= ENCODERS, "{encoders} encoders");
    [&hal.buffers, &hal.buffer_memory, &hal.bind_groups, &hal.fences].map(wgpu::wgt::InternalCounter::read)
}

#[test]
fn futures_dropped_midway_leave_nothing() {
    for (name, device) in devices() {
        let (case, memory, expected) = waited_for(name, device, 83);
        let (queries, options) = (&case.queries, case.options());
        let begin = || memory.retrieve(queries, &options).unwrap();
        let settle = || {
            // The last answer comes after all that was submitted before it.
            assert_eq!(pollster::block_on(begin()).unwrap(), expected, "{name}");
            device.wgpu().map(|(device, _)| {
                device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
                alive(device)
            })
        };
        let round = || {
            drop(begin());
            poll_once(begin());
            let mut asked = begin();
            asked.is_ready();
            drop(asked);

            // One of many, once some are there and some are not.
            let mut many: Vec<_> = (0..12).map(|_| begin()).collect();
            while !many[3].is_ready() {
                nap();
            }
            for pending in many.iter_mut().step_by(2) {
                pending.is_ready();
            }
            many.truncate(6);
            let kept = many.swap_remove(1);
            drop(many);
            assert_eq!(pollster::block_on(kept).unwrap(), expected, "{name}");

            // Begun here, awaited once here, dropped there.
            let mut elsewhere: Vec<_> = (0..4).map(|_| begin()).collect();
            for pending in &mut elsewhere {
                poll_once(pending);
            }
            std::thread::spawn(move || drop(elsewhere)).join().unwrap();

            // Aborted by an executor.
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
            let tasks: Vec<_> = (0..8).map(|_| runtime.spawn(begin())).collect();
            tasks.iter().step_by(2).for_each(tokio::task::JoinHandle::abort);
            for task in tasks {
                match runtime.block_on(task) {
                    Ok(answer) => assert_eq!(answer.unwrap(), expected, "{name}"),
                    Err(aborted) => assert!(aborted.is_cancelled(), "{name}"),
                }
            }
            runtime.shutdown_background();
        };
        round();
        let before = settle();
        for _ in 0..5 {
            round();
        }
        assert_eq!(settle(), before, "{name}: buffers, their bytes, bind groups and fences that are alive");
    }
}

#[test]
fn a_host_brings_answers_by_its_own_frames() {
    for host in hosts().map(Host::listening) {
        let name = &host.name;
        let (case, memory, expected) = waited_for(name, &host.guest(), 84);
        drop(memory);
        // Nothing was awaited on this device yet, so that no thread of the library polls.
        let memory = case.memory(name, &host.guest()).unwrap();
        let begin = || memory.retrieve(&case.queries, &case.options()).unwrap();

        let mut pending = begin();
        for _ in 0..30 {
            assert!(!pending.is_ready(), "{name}: somebody polled the host's device");
            nap();
        }
        let answer = asked_for(pending, || {
            host.device.poll(wgpu::PollType::Poll).unwrap();
        });
        assert_eq!(answer.unwrap(), expected, "{name}: the host polls");

        let answer = asked_for(begin(), || {
            host.queue.submit([]);
            nap();
        });
        assert_eq!(answer.unwrap(), expected, "{name}: the host submits");

        // Awaiting is on our own account.
        assert_eq!(pollster::block_on(begin()).unwrap(), expected, "{name}: no other thread polls");
        assert_eq!(begin().wait().unwrap(), expected, "{name}");

        // What is only asked for is the host's to bring, then as before.
        let mut pending = begin();
        for _ in 0..30 {
            assert!(
                !pending.is_ready(),
                "{name}: the library's thread polled the host's device for an answer that is not awaited"
            );
            nap();
        }
        host.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
        assert!(pending.is_ready(), "{name}");
        assert!(host.errors.lock().unwrap().is_empty(), "{name}: {:?}", host.errors);
    }
}

/// Queries in a buffer of the host's.
fn in_a_buffer(host: &Host, queries: &[f32]) -> wgpu::Buffer {
    host.device.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(queries),
        usage: wgpu::BufferUsages::STORAGE,
    })
}

#[test]
fn recorded_answers_come_or_are_cancelled_with_their_encoder() {
    for host in hosts().map(Host::listening) {
        let name = &host.name;
        let (case, memory, expected) = waited_for(name, &host.guest(), 85);
        let queries = in_a_buffer(&host, &case.queries);
        let encoder = || host.device.create_command_encoder(&Default::default());
        let record = |encoder: &mut wgpu::CommandEncoder| {
            memory.record_readback(encoder, BATCH, Rows::new(&queries), &case.options()).unwrap()
        };
        let poll = || {
            host.device.poll(wgpu::PollType::Poll).unwrap();
        };
        let cancelled = |answer: Result<Retrieval>, what: &str| match answer {
            Err(Error::Cancelled { .. }) => {}
            other => panic!("{name}, {what}: {other:?}"),
        };

        let mut commands = encoder();
        let mut pending = record(&mut commands);
        assert!(!pending.is_ready(), "{name}: nothing has been submitted");
        host.queue.submit([commands.finish()]);
        assert_eq!(asked_for(pending, poll).unwrap(), expected, "{name}");

        // Two in one encoder, the first given up.
        let mut commands = encoder();
        drop(record(&mut commands));
        let pending = record(&mut commands);
        host.queue.submit([commands.finish()]);
        assert_eq!(pollster::block_on(pending).unwrap(), expected, "{name}");

        let mut commands = encoder();
        let (asked, awaited) = (record(&mut commands), record(&mut commands));
        drop(commands);
        cancelled(
            within(20, "an answer whose encoder was dropped", move || asked_for(asked, nap)),
            "dropped, asked for",
        );
        cancelled(
            within(20, "an answer whose encoder was dropped", || pollster::block_on(awaited)),
            "dropped, awaited",
        );

        let mut commands = encoder();
        let pending = record(&mut commands);
        drop(commands.finish());
        cancelled(within(20, "an answer whose commands were dropped", || pending.wait()), "finished and dropped");

        // Awaited already when the encoder goes.
        let mut commands = encoder();
        let pending = record(&mut commands);
        let waiter = std::thread::spawn(|| pollster::block_on(pending));
        nap();
        drop(commands);
        cancelled(
            within(20, "an awaited answer whose encoder was dropped", || waiter.join().unwrap()),
            "awaited, dropped",
        );

        assert_eq!(pollster::block_on(memory.retrieve(&case.queries, &case.options()).unwrap()).unwrap(), expected);
        assert!(host.errors.lock().unwrap().is_empty(), "{name}: {:?}", host.errors);
    }
}

#[test]
fn a_destroyed_device_ends_everything_with_errors() {
    for (name, like) in harness::gpus() {
        // A device that the library opened, and a host's.
        for ours in [true, false] {
            let what = format!("{name}, {} device", if ours { "our" } else { "a host's" });
            let host = Host::open(name, like).listening();
            let device = match ours {
                true => harness::reopened(like),
                false => host.guest(),
            };
            within(60, &what.clone(), move || destroyed(&what, &host, &device, ours));
        }
    }
}

fn destroyed(what: &str, host: &Host, device: &Device, ours: bool) {
    let (raw, queue) = device.wgpu().unwrap();
    let case = Case { steps: 2, value_dim: None, ..Case::random(86, BATCH, 150, DIM, None, Rule::softmax(1.3)) };
    let mut memory = MemoryOptions::new(DIM, case.rule).bias().build(device).unwrap();
    let first = memory.add(&case.keys).unwrap().get(0).unwrap();
    memory.retrieve_blocking(&case.queries, &case.options()).unwrap();
    let queries = raw.create_buffer_init(&wgpu::util::BufferInitDescriptor {
        label: None,
        contents: bytemuck::cast_slice(&case.queries),
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC,
    });
    let output = raw.create_buffer(&wgpu::BufferDescriptor {
        label: None,
        size: queries.size(),
        usage: wgpu::BufferUsages::STORAGE,
        mapped_at_creation: false,
    });
    let begin = |memory: &Memory| memory.retrieve(&case.queries, &case.options());

    let mut pending: Vec<_> = (0..4).map(|_| begin(&memory).unwrap()).collect();
    let mut commands = raw.create_command_encoder(&Default::default());
    let recorded = memory.record_readback(&mut commands, BATCH, Rows::new(&queries), &case.options()).unwrap();
    let awaited = pending.remove(0);
    let awaited = std::thread::spawn(move || pollster::block_on(awaited));
    raw.destroy();
    // Refused by a device that is gone: the handler of a host would hear of it, and ours panics.
    if !ours {
        queue.submit([commands.finish()]);
    }

    // What had run by then may have come.
    let mut outcomes = vec![("awaited", awaited.join().unwrap())];
    outcomes.push(("waited for", pending.remove(0).wait()));
    outcomes.push(("awaited later", pollster::block_on(pending.remove(0))));
    outcomes.push((
        "asked for",
        asked_for(pending.remove(0), || {
            if !ours {
                let _ = raw.poll(wgpu::PollType::Poll);
            }
            nap();
        }),
    ));
    for (how, outcome) in outcomes {
        match outcome {
            Ok(answer) => assert!(case.judge(&answer, 0..BATCH) <= 1.0, "{what}, {how}"),
            Err(Error::DeviceLost { .. }) => {}
            Err(other) => panic!("{what}, {how}: {other}"),
        }
    }
    if !ours {
        assert!(matches!(pollster::block_on(recorded), Err(Error::DeviceLost { .. })), "{what}: recorded");
    }

    let before = memory.len();
    let lost = |call: &str, result: Result<()>| match result {
        Err(Error::DeviceLost { .. }) => {}
        other => panic!("{what}, {call} on a destroyed device: {other:?}"),
    };
    lost("begin", begin(&memory).map(|_| ()));
    lost(
        "retrieve",
        memory.retrieve(&case.queries, &RetrieveOptions::default()).and_then(pollster::block_on).map(|_| ()),
    );
    lost("retrieve_blocking", memory.retrieve_blocking(&case.queries, &RetrieveOptions::default()).map(|_| ()));
    lost("add", memory.add(&case.keys).map(|_| ()));
    lost("add to room that is there", memory.add(&case.keys[..DIM]).map(|_| ()));
    lost("get", memory.get(first).map(|_| ()));
    let pattern = Patterns::new(&case.keys[..DIM]);
    lost("update", memory.update(first, pattern));
    lost("retrieve_partial", memory.retrieve_partial_blocking(&case.queries, &Default::default()).map(|_| ()));
    let mut commands = raw.create_command_encoder(&Default::default());
    let rows = RecordTargets::new(BATCH, Rows::new(&queries), Rows::new(&output));
    lost("record", memory.record(&mut commands, &rows, &case.options()));
    let answers = memory.record_readback(&mut commands, BATCH, Rows::new(&queries), &case.options());
    lost("record_readback", answers.map(|_| ()));
    #[cfg(feature = "files")]
    {
        let folder = tempfile::tempdir().unwrap();
        lost("save", memory.save(folder.path().join("memory.safetensors")));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{what}: half a file");
    }
    lost("reserve", memory.reserve(10_000));
    lost("explain", memory.explain(BATCH, &case.options()).map(|_| ()));
    assert_eq!(memory.len(), before, "{what}: what could not be stored is not there");
    // A memory that is only forgotten, and one that would be made, ask nothing of the device.
    memory.remove(first).unwrap();
    memory.clear();
    let mut other = Memory::new(device, DIM, case.rule).unwrap();
    lost("add to a new memory", other.add(&case.keys).map(|_| ()));
    assert!(host.errors.lock().unwrap().is_empty(), "{what}: {:?}", host.errors);
}
