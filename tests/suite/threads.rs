//! Many threads, one memory: every answer is that of the memory as it was when the retrieval began.

use std::sync::RwLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use attractor::{
    Device, Mask, Memory, MemoryOptions, PatternId, Patterns, Pending, Result, Retrieval, RetrieveOptions, Rule,
    Separation, Similarity,
};
use harness::{Rng, devices, quick_devices};

const THREADS: usize = 8;
const DIM: usize = 16;
const MOST: usize = 200;

/// One change of the memory; the version counts them.
enum Change {
    Add(Vec<f32>),
    Remove(PatternId),
    Update(PatternId, Vec<f32>),
}

impl Change {
    fn random(numbers: &mut Rng, memory: &Memory) -> Self {
        let stored: Vec<PatternId> =
            (0..memory.position_count()).filter_map(|position| memory.id_at(position)).collect();
        let id = stored[numbers.bits() as usize % stored.len()];
        match numbers.bits() % 4 {
            0 | 1 if stored.len() < MOST => {
                let rows = 1 + numbers.bits() as usize % 12;
                Self::Add(numbers.vector(rows * DIM))
            }
            2 => Self::Update(id, numbers.vector(DIM)),
            _ if stored.len() > 20 => Self::Remove(id),
            _ => Self::Add(numbers.vector(DIM)),
        }
    }

    fn apply(&self, memory: &mut Memory) {
        match self {
            Self::Add(keys) => memory.add(keys).map(|_| ()),
            Self::Remove(id) => memory.remove(*id),
            Self::Update(id, keys) => memory.update(*id, Patterns::new(keys)),
        }
        .unwrap();
    }
}

/// One retrieval, and the version that it saw.
struct Asked {
    version: usize,
    queries: Vec<f32>,
    options: RetrieveOptions,
    answer: Retrieval,
}

/// Anything that one may ask for of `memory`.
fn options(numbers: &mut Rng, batch: usize, memory: &Memory) -> RetrieveOptions {
    let mut options = match numbers.bits() % 4 {
        0 => RetrieveOptions::converge(4, 1e-3),
        steps => RetrieveOptions::steps(1 + (steps / 2) as u32),
    };
    let mut one_in = |n: u64| numbers.bits().is_multiple_of(n);
    if one_in(3) {
        options = options.top(3);
    }
    if one_in(4) {
        options = options.statistics();
    }
    if one_in(4) {
        options = options.plan_for(16);
    }
    if one_in(3) {
        let rows = if one_in(2) { batch } else { 1 };
        let flags: Vec<bool> = (0..rows * memory.position_count()).map(|_| !one_in(4)).collect();
        options = options.mask(if rows == 1 { Mask::keep(&flags) } else { Mask::keep_per_query(&flags) });
    }
    options
}

/// Takes an answer in one of the ways there are.
fn take(way: u64, mut pending: Pending<Retrieval>) -> Result<Retrieval> {
    match way % 3 {
        0 => pending.wait(),
        1 => pollster::block_on(pending),
        _ => loop {
            if let Some(answer) = pending.try_take() {
                break answer;
            }
            std::thread::yield_now();
        },
    }
}

fn empty(device: &Device, rule: Rule) -> Memory {
    // Several windows, the last of which changes all the time.
    MemoryOptions::new(DIM, rule).window_bytes(128 * 4 * DIM as u64).build(device).unwrap()
}

/// `THREADS` threads of `each` retrievals beside a thread that changes the memory, then everything again by one thread.
fn agrees(name: &str, device: &Device, rule: Rule, each: usize) {
    let started = Instant::now();
    let first = Change::Add(Rng(90).vector(100 * DIM));
    let mut memory = empty(device, rule);
    first.apply(&mut memory);
    let shared = RwLock::new((memory, vec![first]));
    let left = AtomicUsize::new(THREADS);

    let mut asked: Vec<Asked> = std::thread::scope(|scope| {
        let (shared, left) = (&shared, &left);
        let readers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    let mut numbers = Rng(1000 + thread as u64);
                    let one = |_| {
                        let batch = 1 + numbers.bits() as usize % 4;
                        let queries = numbers.vector(batch * DIM);
                        let (version, options, pending) = {
                            let guard = shared.read().unwrap();
                            let options = options(&mut numbers, batch, &guard.0);
                            let pending = guard.0.retrieve(&queries, &options).unwrap();
                            (guard.1.len(), options, pending)
                        };
                        let answer = take(numbers.bits(), pending).unwrap();
                        Asked { version, queries, options, answer }
                    };
                    let asked: Vec<Asked> = (0..each).map(one).collect();
                    left.fetch_sub(1, Ordering::Relaxed);
                    asked
                })
            })
            .collect();
        scope.spawn(move || {
            let mut numbers = Rng(2000);
            while left.load(Ordering::Relaxed) > 0 {
                {
                    let (memory, changes) = &mut *shared.write().unwrap();
                    let change = Change::random(&mut numbers, memory);
                    change.apply(memory);
                    changes.push(change);
                }
                // Or there were far more versions than retrievals, and each is made again.
                std::thread::sleep(Duration::from_micros(if device.is_cpu() { 100 } else { 1000 }));
            }
        });
        readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
    });
    let (together, alone) = (started.elapsed(), Instant::now());

    let (_, changes) = shared.into_inner().unwrap();
    asked.sort_by_key(|asked| asked.version);
    let mut memory = empty(device, rule);
    let mut version = 0;
    let mut versions = 0;
    for asked in &asked {
        versions += usize::from(version < asked.version);
        while version < asked.version {
            changes[version].apply(&mut memory);
            version += 1;
        }
        let alone = memory.retrieve_blocking(&asked.queries, &asked.options).unwrap();
        assert_eq!(asked.answer, alone, "{name}, {rule:?}, version {version}");
        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<u32>>();
        assert_eq!(bits(&asked.answer.output), bits(&alone.output), "{name}, {rule:?}, version {version}");
        assert_eq!(bits(&asked.answer.state), bits(&alone.state), "{name}, {rule:?}, version {version}");
    }
    eprintln!(
        "{name}, {:?}: {} retrievals of {versions} versions out of {}, {} threads {:.1} s, then alone {:.1} s",
        rule.separation,
        asked.len(),
        changes.len(),
        THREADS,
        together.as_secs_f32(),
        alone.elapsed().as_secs_f32(),
    );
    assert!(versions >= 3, "{name}: only {versions} versions were seen");
}

#[test]
fn every_answer_is_that_of_the_version_that_it_saw() {
    for (name, device) in devices() {
        let all = device.is_cpu() || std::env::var_os("ATTRACTOR_SLOW").is_some();
        // SwiftShader runs each invocation between two barriers as a fibre.
        let each = match name.as_str() {
            "swiftshader" => 3,
            _ if all => 200,
            _ => 40,
        };
        agrees(name, device, Rule::softmax(1.5), each);
    }
}

#[test]
fn so_it_is_under_sparse_rules() {
    for (name, device) in quick_devices() {
        let each = if device.is_cpu() { 200 } else { 6 };
        for separation in [Separation::Entmax { alpha: 1.5 }, Separation::TopK { k: 5 }] {
            agrees(name, device, Rule::new(Similarity::Euclidean, separation, 1.5), each);
        }
    }
}

/// wgpu's GL backend panics in a thread that waits for six seconds for a context, which the driver has while a
/// submission runs.
#[test]
fn a_long_retrieval_keeps_no_other_thread_from_gl() {
    let Some((name, device)) = devices().iter().find(|(_, device)| device.info().backend == "Gl") else { return };
    let mut numbers = Rng(91);
    let mut large = Memory::new(device, 64, Rule::softmax(1.0)).unwrap();
    large.add(&numbers.vector(64 * 100_000)).unwrap();
    let mut small = Memory::new(device, DIM, Rule::softmax(1.0)).unwrap();
    small.add(&numbers.vector(DIM * 50)).unwrap();
    let explained = large.explain(4096, &RetrieveOptions::default()).unwrap();
    let work = explained.kernels.iter().map(|kernel| kernel.flops / 2 + kernel.bytes / 4).sum::<u64>();
    let each = work / explained.submissions as u64;
    assert!(each < 500_000_000, "{name}: submissions of {each} multiply-adds and words");
    // Or the test takes a minute.
    let batch = if std::env::var_os("ATTRACTOR_SLOW").is_some() { 4096 } else { 128 };
    let (queries, few) = (numbers.vector(batch * 64), numbers.vector(DIM * 4));
    std::thread::scope(|scope| {
        let large = scope.spawn(|| {
            let started = Instant::now();
            large.retrieve(&queries, &RetrieveOptions::default()).unwrap().wait().unwrap();
            started.elapsed()
        });
        let mut slowest = Duration::ZERO;
        while !large.is_finished() {
            let started = Instant::now();
            small.retrieve_blocking(&few, &RetrieveOptions::default()).unwrap();
            slowest = slowest.max(started.elapsed());
        }
        eprintln!("{name}: a long retrieval {:?}, the slowest of others meanwhile {slowest:?}", large.join().unwrap());
    });
}
