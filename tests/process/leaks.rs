//! Nothing grows but what is stored: patterns that come and go, memories and devices that are made and dropped.
//!
//! `ATTRACTOR_SLOW=1` runs the full counts on software adapters, too.

use attractor::{Device, Memory, PatternId, RetrieveOptions, Rule, wgpu};
use harness::Rng;
use harness::host::{Host, hosts};

const DIM: usize = 24;

/// Bytes of this process that are in memory; absent where the system does not say.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split_whitespace().nth(1)?.parse::<usize>().ok().map(|pages| pages * 4096)
}

/// Threads of this process.
fn threads() -> Option<usize> {
    std::fs::read_dir("/proc/self/task").ok().map(Iterator::count)
}

/// The whole count, or a part of it on devices that are slow.
fn count(device: &Device, whole: usize) -> usize {
    let all = device.is_cpu() || std::env::var_os("ATTRACTOR_SLOW").is_some();
    if all { whole } else { whole / 20 }
}

/// What is alive at one time.
#[derive(Default)]
struct Alive {
    /// What has to be the same again after every round.
    objects: String,
    /// Command encoders that wgpu keeps to use again: as many as were ever in flight at once, which timing decides.
    encoders: isize,
}

/// What of wgpu's is alive on a host's device, and on all of its instance.
fn alive(host: &Host) -> Alive {
    host.device.poll(wgpu::PollType::wait_indefinitely()).unwrap();
    let hal = host.device.get_internal_counters().hal;
    let counters = [
        ("buffers", &hal.buffers),
        ("bytes of buffers", &hal.buffer_memory),
        ("bind groups", &hal.bind_groups),
        ("bind group layouts", &hal.bind_group_layouts),
        ("pipelines", &hal.compute_pipelines),
        ("shaders", &hal.shader_modules),
        ("fences", &hal.fences),
        ("allocations", &hal.memory_allocations),
    ]
    .map(|(what, counter)| format!("{what} {}", counter.read()));
    let report = host.instance.generate_report().expect("a native instance");
    let hub = report.hub_report();
    let registries = [
        ("devices", &hub.devices),
        ("buffers", &hub.buffers),
        ("bind groups", &hub.bind_groups),
        ("bind group layouts", &hub.bind_group_layouts),
        ("pipeline layouts", &hub.pipeline_layouts),
        ("pipelines", &hub.compute_pipelines),
        ("shaders", &hub.shader_modules),
        ("encoders", &hub.command_encoders),
        ("commands", &hub.command_buffers),
        ("passes", &hub.compute_passes),
    ]
    .map(|(what, registry)| format!("{what} {}", registry.num_allocated));
    let objects = format!("on the device: {}; in the instance: {}", counters.join(", "), registries.join(", "));
    Alive { objects, encoders: hal.command_encoders.read() }
}

/// Runs `round` `count` times; after a fifth of them neither `alive` nor the process may have grown.
fn stays_flat(what: &str, count: usize, slack: usize, alive: impl Fn() -> Alive, mut round: impl FnMut(usize)) {
    let warm = count / 5;
    (0..warm).for_each(&mut round);
    let (before, bytes) = (alive(), resident());
    (warm..count).for_each(&mut round);
    let (after, grown) = (alive(), resident().zip(bytes).map(|(now, then)| now as isize - then as isize));
    eprintln!(
        "{what}, {count} times: {} KiB more; {}, encoders {} and then {}",
        grown.map_or("?".into(), |grown| (grown / 1024).to_string()),
        after.objects,
        before.encoders,
        after.encoders,
    );
    assert_eq!(after.objects, before.objects, "{what}");
    // One lost in every fourth round (each way of retrieving has its own) would be twice that.
    let lost = after.encoders - before.encoders;
    assert!(lost <= (count - warm) as isize / 8, "{what}: {lost} encoders more after {} rounds", count - warm);
    assert!(grown.is_none_or(|grown| grown < slack as isize), "{what}: {grown:?} bytes more");
}

/// Adds, retrieves in one of the ways there are, and removes.
fn come_and_go(memory: &mut Memory, numbers: &mut Rng, round: usize) {
    let ids: Vec<PatternId> = memory.add(&numbers.vector(3 * DIM)).unwrap().iter().collect();
    let queries = numbers.vector(2 * DIM);
    let options = RetrieveOptions::steps(1 + (round % 2) as u32);
    let options = if round.is_multiple_of(3) { options.top(2) } else { options };
    match round % 4 {
        0 => drop(memory.retrieve_blocking(&queries, &options).unwrap()),
        1 => drop(memory.retrieve(&queries, &options).and_then(pollster::block_on).unwrap()),
        2 => drop(memory.retrieve(&queries, &options).unwrap().wait().unwrap()),
        _ => drop(memory.retrieve(&queries, &options).unwrap()),
    }
    for id in ids {
        memory.remove(id).unwrap();
    }
}

#[test]
fn patterns_that_come_and_go_leave_nothing() {
    let cycles = |what: &str, device: &Device, alive: &dyn Fn() -> Alive| {
        let mut numbers = Rng(95);
        let mut memory = Memory::new(device, DIM, Rule::softmax(1.0)).unwrap();
        memory.add(&numbers.vector(50 * DIM)).unwrap();
        let count = count(device, 10_000);
        stays_flat(what, count, 2 << 20, alive, |round| come_and_go(&mut memory, &mut numbers, round));
        assert_eq!(
            (memory.len(), memory.position_count(), memory.capacity()),
            (50, 53, 64),
            "{what}: positions are used again"
        );
    };
    cycles("cpu, patterns", &Device::cpu(), &Alive::default);
    for host in hosts().filter(|host| host.name == "lavapipe" || !host.is_software()) {
        cycles(&format!("{}, patterns", host.name), &host.guest(), &|| alive(&host));
    }
}

#[test]
fn memories_that_are_made_and_dropped_leave_nothing() {
    let cycles = |what: &str, device: &Device, alive: &dyn Fn() -> Alive| {
        let mut numbers = Rng(96);
        stays_flat(what, count(device, 1000), 2 << 20, alive, |round| {
            let mut memory = Memory::new(device, DIM, Rule::softmax(1.0)).unwrap();
            memory.add(&numbers.vector(100 * DIM)).unwrap();
            come_and_go(&mut memory, &mut numbers, round);
        });
    };
    cycles("cpu, memories", &Device::cpu(), &Alive::default);
    for host in hosts().filter(|host| host.name == "lavapipe" || !host.is_software()) {
        cycles(&format!("{}, memories", host.name), &host.guest(), &|| alive(&host));
    }
}

#[test]
fn devices_that_are_made_and_dropped_leave_no_thread_and_no_object() {
    for (name, device) in harness::gpus().filter(|(name, _)| name == "lavapipe") {
        let host = Host::open(name, device);
        let mut numbers = Rng(97);
        // Awaiting starts a thread of the library, which has to end with its device.
        let mut part = |device: &Device, round: usize| {
            let mut memory = Memory::new(device, DIM, Rule::softmax(1.0)).unwrap();
            memory.add(&numbers.vector(10 * DIM)).unwrap();
            memory.retrieve(&numbers.vector(DIM), &RetrieveOptions::default()).and_then(pollster::block_on).unwrap();
            come_and_go(&mut memory, &mut numbers, round);
        };
        let settled = |most: usize| {
            // A thread that has been told to end needs a moment.
            (0..500).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(10));
                threads().is_none_or(|threads| threads <= most)
            })
        };
        let before = threads().unwrap_or(0);
        stays_flat(
            &format!("{name}, our part in a host's device"),
            30,
            8 << 20,
            || alive(&host),
            |round| {
                part(&host.guest(), round);
                assert!(settled(before), "{name}: {before} threads, now {:?}", threads());
            },
        );
        part(&harness::reopened(device), 0);
        assert!(settled(usize::MAX), "{name}");
        let before = threads().unwrap_or(0);
        stays_flat(&format!("{name}, opened devices"), 20, 24 << 20, Alive::default, |round| {
            part(&harness::reopened(device), round);
        });
        assert!(settled(before), "{name}: {before} threads, now {:?}", threads());
    }
}
