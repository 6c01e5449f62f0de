//! A memory of many windows: right against the reference, in a workspace that does not grow with it.
//!
//! `two_million_patterns` takes minutes and runs where `ATTRACTOR_SLOW=1` is set:
//! `ATTRACTOR_SLOW=1 cargo test --release --test process scale:: -- --nocapture`.
#![allow(unsafe_code, reason = "an allocator that counts cannot be written without it")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use attractor::reference::{Answer, Problem};
use attractor::retrieval::WeightsOf;
use attractor::{Device, MemoryOptions, Retrieval, RetrieveOptions, Rule, Separation, Similarity, wgpu};

const DIM: usize = 64;
const BATCH: usize = 8;
/// Scores of the first four queries leave a sparse rule a handful of patterns; those of the others are so flat that
/// every pattern is a candidate, which overflows any list.
const FLAT: f32 = 0.02;
/// The queries that are compared with the reference: one of each kind, first and last of the batch.
const SAMPLED: [usize; 2] = [0, BATCH - 1];
/// Patterns of the large memory, and of the one that it is compared with.
const LARGE: usize = 2_000_000;
const SMALL: usize = 600_000;
/// Bytes of a window of the large memory.
const WINDOW: u64 = 16 << 20;
/// The most bytes of workspace.
const WORKSPACE: usize = 64 << 20;
/// Two workspaces are the same within this, as drivers round: both memories have as many splits as a retrieval may
/// have. A byte for each further pattern would be more.
const SAME: usize = 1 << 20;

const SEPARATIONS: [Separation; 5] = [
    Separation::Softmax,
    Separation::Softmax1,
    Separation::Sparsemax,
    Separation::Entmax { alpha: 1.5 },
    Separation::TopK { k: 32 },
];

/// The system's allocator, counting.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is handed to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Ordering::Relaxed) + layout.size();
        PEAK.fetch_max(live, Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Ordering::Relaxed);
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes of the device's buffers that are neither patterns nor part of wgpu's own staging, where the backend tells.
fn buffer_bytes(device: &wgpu::Device) -> Option<usize> {
    let report = device.generate_allocator_report()?;
    let ours = report.allocations.iter().filter(|allocation| {
        allocation.name.starts_with("attractor.")
            && !["attractor.keys", "attractor.values", "attractor.terms"].contains(&allocation.name.as_str())
    });
    Some(ours.map(|allocation| allocation.size as usize).sum())
}

/// The maximum that a retrieval takes while it runs: bytes on the host, and in buffers of the device where that is
/// told.
struct Taken {
    host: usize,
    device: Option<usize>,
}

/// Runs `work` and watches what is allocated meanwhile.
fn watch<T>(device: &Device, work: impl FnOnce() -> T) -> (T, Taken) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = device.wgpu().map(|(wgpu, _)| {
            let done = &done;
            scope.spawn(move || {
                let mut most = buffer_bytes(wgpu);
                while !done.load(Ordering::Acquire) {
                    most = most.max(buffer_bytes(wgpu));
                    std::thread::sleep(Duration::from_millis(2));
                }
                most.max(buffer_bytes(wgpu))
            })
        });
        let before = LIVE.load(Ordering::Relaxed);
        PEAK.store(before, Ordering::Relaxed);
        let result = work();
        let host = PEAK.load(Ordering::Relaxed) - before;
        done.store(true, Ordering::Release);
        (result, Taken { host, device: watcher.and_then(|watcher| watcher.join().unwrap()) })
    })
}

/// Patterns and queries; `patterns` of them are the first of any larger number.
struct Data {
    keys: Vec<f32>,
    queries: Vec<f32>,
}

impl Data {
    fn new(patterns: usize) -> Self {
        let keys = harness::Rng(1).vector(patterns * DIM);
        let mut queries = harness::Rng(2).vector(BATCH * DIM);
        queries[BATCH / 2 * DIM..].iter_mut().for_each(|x| *x *= FLAT);
        Self { keys, queries }
    }

    fn reference(&self, separation: Separation) -> Vec<Answer> {
        let problem = Problem::new(rule(separation), DIM, &self.keys);
        std::thread::scope(|scope| {
            let problem = &problem;
            let query = |q: usize| &self.queries[q * DIM..(q + 1) * DIM];
            let threads = SAMPLED.map(|q| scope.spawn(move || problem.retrieve(query(q), 1)));
            threads.map(|thread| thread.join().unwrap()).into_iter().collect()
        })
    }
}

fn rule(separation: Separation) -> Rule {
    Rule::new(Similarity::Dot, separation, 1.0)
}

/// Errors of the sampled queries: of outputs, of weights, and of weights as a share of the largest.
#[derive(Default)]
struct Errors {
    output: f64,
    weights: f64,
    share: f64,
}

impl Errors {
    fn new(got: &Retrieval, expected: &[Answer]) -> Self {
        let mut errors = Self::default();
        let weights = got.weights.as_ref().unwrap().chunks_exact(got.patterns);
        for ((q, expected), weights) in SAMPLED.into_iter().zip(expected).zip(weights) {
            let worst = harness::worst(weights, &expected.weights);
            let largest = expected.weights.iter().fold(0.0f64, |most, w| most.max(*w));
            errors.output = errors.output.max(harness::worst(got.output_row(q), &expected.output));
            errors.weights = errors.weights.max(worst);
            errors.share = errors.share.max(worst / largest);
            assert!(got.output_row(q).iter().any(|y| y.abs() > 1e-4), "an output of nothing but zeros shows nothing");
            let support = expected.weights.iter().filter(|w| **w > 0.0).count();
            let matters = expected.weights.iter().zip(weights).filter(|(e, g)| (**e > 1e-6) != (**g > 1e-6));
            let told = got.statistics.as_ref().unwrap()[q].support;
            println!("    query {q}: support {told} of {support}, {} apart near 1e-6", matters.count());
        }
        errors
    }
}

/// Retrieves under every separation with keys in windows of `window` bytes, and judges answers and workspace. Returns
/// the workspace of each separation.
fn check(name: &str, device: &Device, data: &Data, window: u64, expected: &[Vec<Answer>]) -> Vec<Taken> {
    let patterns = data.keys.len() / DIM;
    let mut all = Vec::new();
    for (separation, expected) in SEPARATIONS.into_iter().zip(expected) {
        let mut memory = MemoryOptions::new(DIM, rule(separation)).window_bytes(window).build(device).unwrap();
        // Once before it counts: pipelines are compiled.
        memory.add(&data.keys[..5000 * DIM]).unwrap();
        memory.retrieve_blocking(&data.queries, &RetrieveOptions::default()).unwrap();
        memory.clear();
        let start = Instant::now();
        memory.add(&data.keys).unwrap();
        let stored = start.elapsed();
        let start = Instant::now();
        let (_, taken) =
            watch(device, || memory.retrieve_blocking(&data.queries, &RetrieveOptions::default()).unwrap());
        let time = start.elapsed();
        let options = RetrieveOptions::steps(1).statistics().weights(WeightsOf::Queries(SAMPLED.to_vec()));
        let got = memory.retrieve_blocking(&data.queries, &options).unwrap();
        let errors = Errors::new(&got, expected);
        println!(
            "{name} {separation:?} N = {patterns}: output {:.1e}, weights {:.1e} ({:.1e} of the largest); stored in \
             {stored:.1?}, retrieved in {time:.1?}; workspace {:.1} MiB on the host, {} on the device",
            errors.output,
            errors.weights,
            errors.share,
            taken.host as f64 / f64::from(1 << 20),
            taken.device.map_or("untold".into(), |bytes| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))),
        );
        assert!(errors.output <= 2e-5 && errors.weights <= 2e-5, "{name} {separation:?}");
        // Weights of flat scores are all below 2e-5.
        assert!(errors.share <= 1e-3, "{name} {separation:?}");
        assert!(taken.host + taken.device.unwrap_or(0) <= WORKSPACE, "{name} {separation:?}");
        all.push(taken);
    }
    all
}

fn references(data: &Data) -> Vec<Vec<Answer>> {
    SEPARATIONS.map(|separation| data.reference(separation)).into()
}

#[test]
fn many_small_windows() {
    let data = Data::new(30_000);
    let expected = references(&data);
    for (name, device) in harness::quick_devices() {
        check(name, device, &data, 64 << 10, &expected);
    }
}

#[test]
fn two_million_patterns() {
    if std::env::var_os("ATTRACTOR_SLOW").is_none() {
        eprintln!("SKIP two_million_patterns: it takes minutes; set ATTRACTOR_SLOW=1 and use --release");
        return;
    }
    let mut data = Data::new(LARGE);
    let start = Instant::now();
    let expected = references(&data);
    println!("reference: {:.1?}", start.elapsed());
    let large: Vec<_> =
        harness::quick_devices().map(|(name, device)| check(name, device, &data, WINDOW, &expected)).collect();
    data.keys.truncate(SMALL * DIM);
    let expected = references(&data);
    for ((name, device), large) in harness::quick_devices().zip(large) {
        let small = check(name, device, &data, WINDOW, &expected);
        for ((small, large), separation) in small.iter().zip(large).zip(SEPARATIONS) {
            let all = |taken: &Taken| taken.host + taken.device.unwrap_or(0);
            let growth = all(&large).saturating_sub(all(small));
            assert!(growth <= SAME, "{name} {separation:?}: {growth} bytes more");
        }
    }
}
