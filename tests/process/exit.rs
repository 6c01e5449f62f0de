//! A process that used a GPU ends as it should: no signal, no abort, no hang, whatever is still alive when it ends.
//!
//! Each test starts this program again as a child, many times. `ATTRACTOR_SLOW=1` runs the full counts.

use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::task::{Context, Wake, Waker};
use std::time::{Duration, Instant};

use attractor::device::{DeviceOptions, SoftwareAdapters};
use attractor::record::Rows;
use attractor::{Device, Memory, Pending, Retrieval, RetrieveOptions, Rule, wgpu};

/// The scenario and the backend of a child.
const CHILD: &str = "ATTRACTOR_EXIT_CHILD";
/// How a child says that there is no such adapter.
const ABSENT: i32 = 77;
/// A child that takes longer hangs.
const LONGEST: Duration = Duration::from_secs(60);

const DIM: usize = 16;

/// How a child ends, and how many of them the full count and the usual one are.
const SCENARIOS: &[(&str, usize, usize)] = &[
    // An answer is awaited, everything is dropped, `main` returns.
    ("returns", 500, 25),
    // The device and the memory are in a static, which is never dropped.
    ("static", 100, 10),
    // `main` returns while another thread awaits an answer.
    ("pending", 100, 10),
    // The same, by `std::process::exit`.
    ("exits", 100, 10),
    // The waker drops the device, the memory and the answer, wherever it is called.
    ("waker", 100, 10),
    // A child of a fork is refused, and ends.
    ("forks", 50, 5),
];

const BACKENDS: &[(&str, &str, wgpu::Backends)] = &[
    ("vulkan", "lavapipe", wgpu::Backends::VULKAN),
    ("gl", "llvmpipe", wgpu::Backends::GL),
    ("cpu", "cpu", wgpu::Backends::empty()),
];

fn open(backend: &str) -> Option<Device> {
    if backend == "cpu" {
        return Some(Device::cpu());
    }
    let backends = BACKENDS.iter().find(|(name, ..)| *name == backend).map(|(.., backends)| *backends)?;
    let options = DeviceOptions::default().backends(backends).software(SoftwareAdapters::Require);
    pollster::block_on(Device::with_options(&options)).ok()
}

/// A memory of `patterns` patterns.
fn memory(device: &Device, patterns: usize) -> Memory {
    let mut memory = Memory::new(device, DIM, Rule::softmax(4.0)).unwrap();
    let keys: Vec<f32> = (0..patterns * DIM).map(|i| ((i * 7919) % 1009) as f32 / 504.5 - 1.0).collect();
    memory.add(&keys).unwrap();
    memory
}

fn child(scenario: &str, backend: &str) {
    let Some(device) = open(backend) else { std::process::exit(ABSENT) };
    let query = [0.25; DIM];
    match scenario {
        "returns" => {
            let memory = memory(&device, 100);
            let answer = memory.retrieve(&query, &RetrieveOptions::default()).and_then(pollster::block_on).unwrap();
            assert_eq!(answer.batch, 1);
        }
        "static" => {
            static KEPT: OnceLock<(Device, Memory)> = OnceLock::new();
            let memory = memory(&device, 100);
            let (_, memory) = KEPT.get_or_init(|| (device, memory));
            memory.retrieve(&query, &RetrieveOptions::default()).and_then(pollster::block_on).unwrap();
        }
        "pending" | "exits" => {
            // An answer that never comes: its encoder is not submitted. So the polling thread polls until the end,
            // and no other thread uses the device.
            let (wgpu_device, wgpu_queue) = device.wgpu().expect("it is no CPU engine");
            let shared = Device::from_wgpu(wgpu_device, wgpu_queue).unwrap();
            let memory = memory(&shared, 100);
            let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
            let descriptor = wgpu::BufferDescriptor { label: None, size: 4096, usage, mapped_at_creation: false };
            let buffer = wgpu_device.create_buffer(&descriptor);
            let mut encoder = wgpu_device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
            let options = RetrieveOptions::default();
            let pending = memory.record_readback(&mut encoder, 1, Rows::new(&buffer), &options).unwrap();
            let (sender, begun) = mpsc::channel();
            std::thread::spawn(move || {
                sender.send(()).unwrap();
                pollster::block_on(pending)
            });
            begun.recv().unwrap();
            std::thread::sleep(Duration::from_micros(u64::from(std::process::id()) % 3000));
            // The encoder and the devices are alive.
            std::mem::forget((encoder, memory, shared, device));
            if scenario == "exits" {
                std::process::exit(0);
            }
        }
        "waker" => {
            let (sender, woken) = mpsc::channel();
            let owner = Arc::new(Owner { owned: Mutex::default(), sender: Mutex::new(sender) });
            let waker = Waker::from(owner.clone());
            let memory = memory(&device, 2_000);
            let mut pending = memory.retrieve(&query, &RetrieveOptions::default()).unwrap();
            // Under the lock: a call of the waker comes after everything is there.
            let mut owned = owner.owned.lock().unwrap();
            assert!(Future::poll(std::pin::Pin::new(&mut pending), &mut Context::from_waker(&waker)).is_pending());
            *owned = Some((pending, memory, device));
            drop(owned);
            woken.recv_timeout(LONGEST).expect("the waker is called");
        }
        #[cfg(unix)]
        "forks" => forks(device),
        _ => panic!("no scenario {scenario}"),
    }
}

/// Forks with a memory that has answered. The child calls everything, drops everything, and ends.
#[cfg(unix)]
#[allow(unsafe_code, reason = "a fork is a system call")]
fn forks(device: Device) {
    use attractor::Error;
    use attractor::partial::PartialOptions;
    let mut memory = memory(&device, 100);
    let query = [0.25; DIM];
    memory.retrieve(&query, &RetrieveOptions::default()).and_then(pollster::block_on).unwrap();
    let pending = memory.retrieve(&query, &RetrieveOptions::default()).unwrap();
    // SAFETY: the child calls nothing that needs another thread, which is what is tested.
    match unsafe { libc::fork() } {
        0 => {
            let refused = |result: attractor::Result<()>| match result {
                Err(Error::Forked { .. }) => {}
                other => panic!("a child of a fork got {other:?}"),
            };
            refused(memory.retrieve_blocking(&query, &RetrieveOptions::default()).map(drop));
            refused(memory.retrieve(&query, &RetrieveOptions::default()).and_then(pollster::block_on).map(drop));
            refused(memory.retrieve_partial_blocking(&query, &PartialOptions::default()).map(drop));
            refused(memory.add(&query).map(drop));
            refused(pollster::block_on(pending).map(drop));
            refused(pollster::block_on(Device::new()).map(drop));
            refused(Device::new_blocking().map(drop));
            drop((memory, device));
            // A driver's own exit handlers wait for its threads, too: a child ends without them, as after any fork.
            // SAFETY: the process ends.
            unsafe { libc::_exit(0) };
        }
        child => {
            assert!(child > 0, "fork failed");
            let mut status = 0;
            // SAFETY: it is a child of this process, and the status is written.
            let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!((waited, status), (child, 0), "the child ended with {status:#x}");
            assert_eq!(pending.wait().unwrap().batch, 1);
            assert_eq!(
                memory.retrieve_blocking(&query, &RetrieveOptions::default()).unwrap().batch,
                1,
                "the parent goes on"
            );
        }
    }
}

/// Owns everything, and drops it when it is woken.
struct Owner {
    owned: Mutex<Option<(Pending<Retrieval>, Memory, Device)>>,
    sender: Mutex<mpsc::Sender<()>>,
}

impl Wake for Owner {
    fn wake(self: Arc<Self>) {
        let owned = self.owned.lock().unwrap().take();
        // Before everything is dropped, so that the process ends meanwhile.
        let _ = self.sender.lock().unwrap().send(());
        drop(owned);
    }
}

/// Runs a child; `None` where it did not end.
fn run(scenario: &str, backend: &str) -> Option<(ExitStatus, String)> {
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command.env(CHILD, format!("{scenario} {backend}")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the child starts");
    let started = Instant::now();
    while started.elapsed() < LONGEST {
        if let Some(status) = child.try_wait().expect("the child is ours") {
            let mut said = String::new();
            std::io::Read::read_to_string(&mut child.stderr.take().expect("it is piped"), &mut said).ok();
            return Some((status, said));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().ok();
    child.wait().ok();
    None
}

/// Runs `count` children; the failures, or `None` where the adapter is absent.
fn failures(scenario: &str, backend: &str, count: usize) -> Option<Vec<String>> {
    let mut failures = Vec::new();
    for number in 0..count {
        match run(scenario, backend) {
            Some((status, _)) if status.code() == Some(ABSENT) => return None,
            Some((status, _)) if status.success() => {}
            Some((status, said)) => failures.push(format!("{status} at {number}: {}", said.trim())),
            None => failures.push(format!("{number} did not end within {LONGEST:?}")),
        }
    }
    Some(failures)
}

fn main() {
    if let Ok(asked) = std::env::var(CHILD) {
        let (scenario, backend) = asked.split_once(' ').expect("a scenario and a backend");
        return child(scenario, backend);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| arguments.iter().any(|argument| argument == flag);
    // nextest asks for `--list --format terse`, and once more for what is ignored, which nothing is.
    let listed = has("--list");
    if listed && has("--ignored") {
        return;
    }
    let is_filter = |argument: &&String| !argument.starts_with('-') && *argument != "terse";
    let filters: Vec<&String> = arguments.iter().filter(is_filter).collect();
    let slow = std::env::var_os("ATTRACTOR_SLOW").is_some();
    let required = std::env::var("ATTRACTOR_REQUIRE_ADAPTERS").unwrap_or_default();
    let mut failed = false;
    for (scenario, full, usual) in SCENARIOS {
        for (backend, adapter, _) in BACKENDS {
            // The CPU engine has no driver; and only Unix forks.
            let forks = *scenario == "forks";
            if (*backend == "cpu" && !forks) || (forks && cfg!(not(unix))) {
                continue;
            }
            let name = format!("{scenario}_{backend}");
            if !filters.is_empty() && !filters.iter().any(|filter| name.contains(*filter)) {
                continue;
            }
            if listed {
                println!("{name}: test");
                continue;
            }
            let count = if slow { *full } else { *usual };
            match failures(scenario, backend, count) {
                None if required.split(',').any(|asked| asked.trim() == *adapter) => {
                    println!("test {name} ... FAILED: {adapter} is required and is not there");
                    failed = true;
                }
                None => println!("test {name} ... SKIP: no {adapter} here"),
                Some(failures) if failures.is_empty() => println!("test {name} ... ok, {count} processes"),
                Some(failures) => {
                    println!("test {name} ... FAILED: {} of {count} processes", failures.len());
                    failures.iter().take(5).for_each(|failure| println!("    {failure}"));
                    failed = true;
                }
            }
        }
    }
    if failed {
        std::process::exit(101);
    }
}
