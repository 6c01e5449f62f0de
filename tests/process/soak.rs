//! Long use of one device: patterns come, go and change, memories are saved and loaded, everything is asked for, and
//! the process must not grow.
//!
//! `ATTRACTOR_SOAK_MINUTES=30` runs for so long instead of some seconds, on the device that `ATTRACTOR_SOAK_DEVICE`
//! names (`lavapipe` unless set; `cpu`, `llvmpipe`).

use std::path::Path;
use std::time::{Duration, Instant};

use attractor::partial::PartialOptions;
use attractor::retrieval::WeightsOf;
use attractor::{Device, Memory, MemoryOptions, PatternId, Precision, RetrieveOptions, Rule, Separation, Similarity};
use harness::{Case, Rng};

/// The maximum number of patterns of one memory.
const MOST: usize = 1500;
/// What the process may grow by from the first third on: allocators and drivers keep what they may use again.
const SLACK: usize = 24 << 20;
/// What a pipeline may take that is first used after that: a software driver keeps its machine code.
const PIPELINE: usize = 2 << 20;
/// Things done where no time is set, so that every machine does the same.
const ACTS: usize = 500;

/// What was seen after some time.
struct Sample {
    /// How much of the run was over, of 1.
    at: f64,
    /// Bytes of this process in memory.
    bytes: usize,
    /// Pipelines compiled.
    pipelines: usize,
}

/// Bytes of this process that are in memory; absent where the system does not say.
fn resident() -> Option<usize> {
    let pages = std::fs::read_to_string("/proc/self/statm").ok()?;
    pages.split_whitespace().nth(1)?.parse::<usize>().ok().map(|pages| pages * 4096)
}

const KINDS: [(Similarity, Separation, Precision, Option<usize>); 6] = [
    (Similarity::Dot, Separation::Softmax, Precision::F32, None),
    (Similarity::Euclidean, Separation::Softmax1, Precision::F16, None),
    (Similarity::Dot, Separation::Sparsemax, Precision::F32, Some(5)),
    (Similarity::Cosine, Separation::Entmax { alpha: 1.5 }, Precision::F32, None),
    (Similarity::Dot, Separation::Entmax { alpha: 3.0 }, Precision::F16, Some(5)),
    (Similarity::Dot, Separation::TopK { k: 5 }, Precision::F32, None),
];

/// What was done so often.
#[derive(Debug, Default)]
struct Counts {
    added: usize,
    removed: usize,
    updated: usize,
    retrieved: usize,
    dropped: usize,
    judged: usize,
    saved: usize,
    memories: usize,
}

/// A memory, and what should be in it.
struct Subject {
    memory: Memory,
    rule: Rule,
    dim: usize,
    value_dim: Option<usize>,
    /// Ids, keys and values.
    patterns: Vec<(PatternId, Vec<f32>, Vec<f32>)>,
}

impl Subject {
    /// A memory of one of [`KINDS`]: few enough that all of their kernels are compiled early.
    fn new(device: &Device, kind: usize) -> Self {
        let (similarity, separation, precision, value_dim) = KINDS[kind % KINDS.len()];
        let (rule, dim) = (Rule::new(similarity, separation, 1.5), 16);
        let mut options = MemoryOptions::new(dim, rule).precision(precision);
        if let Some(value_dim) = value_dim {
            // Several windows.
            options = options.value_dim(value_dim).window_bytes(40_000);
        }
        Self { memory: options.build(device).unwrap(), rule, dim, value_dim, patterns: Vec::new() }
    }

    /// Rng that halves hold.
    fn row(numbers: &mut Rng, length: usize) -> Vec<f32> {
        (0..length).map(|_| (numbers.unit() * 64.0).round() / 64.0).collect()
    }

    fn rows(&self, numbers: &mut Rng, count: usize) -> (Vec<f32>, Option<Vec<f32>>) {
        let keys = Self::row(numbers, count * self.dim);
        (keys, self.value_dim.map(|columns| Self::row(numbers, count * columns)))
    }

    fn add(&mut self, numbers: &mut Rng, count: usize) {
        let (keys, values) = self.rows(numbers, count);
        let patterns = harness::patterns(&keys, values.as_deref(), None);
        let ids = self.memory.add(patterns).unwrap();
        for (i, key) in keys.chunks(self.dim).enumerate() {
            let value =
                values.as_ref().zip(self.value_dim).map_or(&[][..], |(values, dim)| &values[i * dim..(i + 1) * dim]);
            self.patterns.push((ids.get(i).unwrap(), key.to_vec(), value.to_vec()));
        }
    }

    fn remove(&mut self, numbers: &mut Rng) {
        let (id, ..) = self.patterns.swap_remove(numbers.below(self.patterns.len()));
        self.memory.remove(id).unwrap();
    }

    fn update(&mut self, numbers: &mut Rng) {
        let (keys, values) = self.rows(numbers, 1);
        let at = numbers.below(self.patterns.len());
        let patterns = harness::patterns(&keys, values.as_deref(), None);
        self.memory.update(self.patterns[at].0, patterns).unwrap();
        self.patterns[at] = (self.patterns[at].0, keys, values.unwrap_or_default());
    }

    /// Asks in some way; every so often the answer is judged.
    fn ask(&self, numbers: &mut Rng, counts: &mut Counts) {
        let batch = numbers.pick(&[1, 1, 3, 40]);
        let mut case = Case::random(0, batch, 1, self.dim, self.value_dim, self.rule);
        case.queries = Self::row(numbers, batch * self.dim);
        let mut options = match numbers.below(4) {
            0 => RetrieveOptions::converge(4, 1e-3),
            _ => case.options(),
        };
        if numbers.once_in(3) {
            options = options.statistics().top(4).weights(WeightsOf::Queries(vec![0]));
        }
        if numbers.once_in(4) {
            options = options.mask(self.memory.mask_where(|id| id.0 % 3 != 0));
        }
        counts.retrieved += 1;
        match numbers.below(5) {
            0 => {
                self.memory.retrieve(&case.queries, &options).and_then(pollster::block_on).unwrap();
            }
            1 => {
                counts.dropped += 1;
                drop(self.memory.retrieve(&case.queries, &options).unwrap());
            }
            2 => {
                let parts = self.memory.retrieve_partial_blocking(&case.queries, &PartialOptions::default()).unwrap();
                assert_eq!(parts.len(), batch);
            }
            3 => {
                let got = self.memory.retrieve_blocking(&case.queries, &case.options()).unwrap();
                case.keys = self.patterns.iter().flat_map(|(_, key, _)| key).copied().collect();
                case.values = self.value_dim.map(|_| self.patterns.iter().flat_map(|(.., v)| v).copied().collect());
                let share = case.judge(&got, [batch - 1]);
                // The bound is that of dot products, whose terms are no larger than those of a distance here.
                assert!(share <= 8.0, "{share} times the bound: {:?}, {} patterns", self.rule, self.patterns.len());
                counts.judged += 1;
            }
            _ => {
                self.memory.retrieve_blocking(&case.queries, &options).unwrap();
            }
        }
    }

    fn save_and_load(&mut self, device: &Device, path: &Path) {
        self.memory.save(path).unwrap();
        self.memory = Memory::load(device, path).unwrap();
        assert_eq!(self.memory.len(), self.patterns.len());
    }
}

/// One thing that is done to one of the memories.
fn act(device: &Device, subjects: &mut [Subject], numbers: &mut Rng, path: &Path, counts: &mut Counts) {
    let at = numbers.below(subjects.len());
    let subject = &mut subjects[at];
    let count = subject.patterns.len();
    match numbers.below(200) {
        _ if count < 20 => {
            counts.added += 50;
            subject.add(numbers, 50);
        }
        0 => {
            counts.memories += 1;
            *subject = Subject::new(device, at);
        }
        1 => {
            counts.saved += 1;
            subject.save_and_load(device, path);
        }
        2..30 if count < MOST => {
            let more = 1 + numbers.below(20);
            counts.added += more;
            subject.add(numbers, more);
        }
        30..60 => {
            for _ in 0..numbers.below(12) {
                counts.removed += 1;
                subject.remove(numbers);
            }
        }
        60..80 => {
            counts.updated += 1;
            subject.update(numbers);
        }
        _ => subject.ask(numbers, counts),
    }
}

#[test]
fn nothing_grows_and_nothing_fails() {
    let minutes = std::env::var("ATTRACTOR_SOAK_MINUTES").ok().map(|text| text.parse::<f64>().expect("a number"));
    let duration = minutes.map(|minutes| Duration::from_secs_f64(60.0 * minutes));
    let asked = std::env::var("ATTRACTOR_SOAK_DEVICE").unwrap_or_else(|_| "lavapipe".into());
    let Some((name, device)) = harness::devices().iter().find(|(name, _)| *name == asked) else {
        assert!(minutes.is_none(), "{asked} is not there");
        eprintln!("SKIP {asked}: it is not there");
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("memory.safetensors");
    let (mut numbers, mut counts) = (Rng(2026), Counts::default());
    let mut subjects: Vec<Subject> = (0..KINDS.len()).map(|kind| Subject::new(device, kind)).collect();
    let begun = Instant::now();
    // Of 1.
    let progress = |acts: usize| match duration {
        Some(duration) => begun.elapsed().div_duration_f64(duration),
        None => acts as f64 / ACTS as f64,
    };
    let mut samples: Vec<Sample> = Vec::new();
    for acts in 0.. {
        let at = progress(acts);
        if at >= 1.0 {
            break;
        }
        act(device, &mut subjects, &mut numbers, &path, &mut counts);
        if samples.last().is_none_or(|last| at >= last.at + 1.0 / 60.0) {
            let pipelines = attractor::internals::compiled(device);
            samples.extend(resident().map(|bytes| Sample { at, bytes, pipelines }));
        }
    }
    // The largest of the second third and of the last: what grows is larger in the last.
    let most = |from: f64, to: f64| {
        let within = samples.iter().filter(|sample| (from..to).contains(&sample.at));
        within.max_by_key(|sample| sample.bytes)
    };
    let (warm, end) = (most(0.33, 0.66), most(0.66, 2.0));
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    eprintln!("{name}, {:?}: {counts:?}", begun.elapsed());
    for Sample { at, bytes, pipelines } in samples.iter().step_by(6) {
        eprintln!("    {:3.0} %: {:.1} MiB, {pipelines} pipelines", 100.0 * at, mib(*bytes));
    }
    assert!(counts.judged > 0 && counts.removed > 0, "hardly anything was done: {counts:?}");
    if let (Some(warm), Some(end)) = (warm, end) {
        let compiled = end.pipelines.saturating_sub(warm.pipelines);
        let allowed = warm.bytes + SLACK + compiled * PIPELINE;
        let (from, to) = (mib(warm.bytes), mib(end.bytes));
        assert!(end.bytes <= allowed, "from {from:.1} to {to:.1} MiB, with {compiled} pipelines more");
    }
}
