//! `attractor retrieve`: from files to a file.

use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use attractor::files::{self, Address, NewTensor, PatternFiles, Role, SavedMemory, Tensor};
use attractor::{
    DEFAULT_TOLERANCE, Device, FixedPoint, LoadOptions, MAX_TOP, Mask, Memory, Precision, Retrieval, RetrieveOptions,
    Rule, Separation, Similarity, Status, Stop, WeightsOf,
};
use clap::ValueEnum;

use crate::args::{TunedArgs, at_least_one, finite};
use crate::failure::{Failure, emit};
use crate::ui::progress;

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
F is file.npy or file.safetensors:tensor, of f32, f16, bf16 or f64, rounded to f32 (a mask: u8 or bool). Keys are \
N x d, values N x dv (the keys themselves unless given), queries B x d. One update of a state x:

    z_i = beta similarity(x, k_i) + b_i     p = separation(z)
    x' = sum_i p_i k_i                      y = sum_i p_i v_i

--memory answers from a memory that was saved (Memory::save), by its own rule unless --similarity, --separation, \
--alpha, --k or --beta say otherwise. Its values, biases, scales and precision are its own, and removed patterns \
stay removed; N counts their positions, too.

Written: output (B x dv, f32), state (B x d, f32), steps (B, u32), converged (B, u8; under --steps: whether the last \
update changed no coordinate by more than 1e-4), and when asked

    --energy      energy (B, f32), of the last state; for dot with every
                  separation but topk, and for euclidean with softmax,
                  sparsemax and entmax. None is defined for other rules, nor
                  at beta 0
    --statistics  support (B, u32): weights above zero; perplexity (B, f32):
                  exp of the entropy; largest (B, f32)
    --top K       top_index (B x K', u32), top_weight (B x K', f32) in falling
                  order, K' = min(K, N); a smaller index first where equal;
                  index 4294967295 with weight 0 where a mask leaves fewer
                  than K'
    --weights     weights (B x N, f32)

A query whose mask leaves no pattern gets zeros; how many there are is said. Exit status: 0, 2 for bad usage, 1 for \
a failure.";

/// How a state is compared with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SimilarityArg {
    /// <x, k>
    Dot,
    /// <x, k> / (|x| |k|)
    Cosine,
    /// -1/2 |x - k|^2
    Euclidean,
    /// -|x - k|_1
    Manhattan,
}

/// How scores become weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SeparationArg {
    /// exp(z - lse z)
    Softmax,
    /// exp(z) / (1 + sum exp z)
    Softmax1,
    /// Sparse, entmax with alpha = 2
    Sparsemax,
    /// Sparse, with --alpha
    Entmax,
    /// Softmax over the --k largest scores
    Topk,
}

/// How patterns are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum PrecisionArg {
    /// As they are
    F32,
    /// As halves
    F16,
    /// As bytes, with a scale per row
    I8,
}

/// The flags of `attractor retrieve`.
#[derive(clap::Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct RetrieveArgs {
    /// The stored patterns, N x d.
    #[arg(long, value_name = "F", required_unless_present = "memory")]
    keys: Option<Address>,
    /// A saved memory to answer from, instead of --keys.
    #[arg(long, value_name = "F.safetensors", conflicts_with_all = ["keys", "values", "bias", "precision", "saturate"])]
    memory: Option<PathBuf>,
    /// The queries, B x d.
    #[arg(long, value_name = "F")]
    queries: Address,
    /// The file to write.
    #[arg(long, value_name = "F.safetensors")]
    out: PathBuf,
    /// What the patterns stand for, N x dv; the keys themselves unless given.
    #[arg(long, value_name = "F")]
    values: Option<Address>,
    /// What to add to each pattern's scores: N, 1 x N or N x 1.
    #[arg(long, value_name = "F")]
    bias: Option<Address>,
    /// 1 where a pattern may be used and 0 where not: N, or B x N with a row for each query.
    #[arg(long, value_name = "F")]
    mask: Option<Address>,
    /// How a state is compared with a key [default: dot, or that of --memory].
    #[arg(long, value_enum)]
    similarity: Option<SimilarityArg>,
    /// How scores become weights [default: softmax, or that of --memory].
    #[arg(long, value_enum)]
    separation: Option<SeparationArg>,
    /// The exponent of entmax, above 1 and at most 1e6 [default: 1.5, or that of --memory].
    #[arg(long, value_name = "A", value_parser = finite, allow_negative_numbers = true)]
    alpha: Option<f32>,
    /// How many scores topk keeps; required by it, unless --memory has it.
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    k: Option<usize>,
    /// The inverse temperature, of any sign [default: 1/sqrt(d), or that of --memory].
    #[arg(long, value_name = "B", value_parser = finite, allow_negative_numbers = true)]
    beta: Option<f32>,
    /// The number of updates [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "converge")]
    steps: Option<u32>,
    /// Update each query until its state stays put, at most this often.
    #[arg(long, value_name = "MAX", value_parser = clap::value_parser!(u32).range(1..))]
    converge: Option<u32>,
    /// The largest change of a coordinate that --converge takes for none [default: 1e-4].
    #[arg(long, value_name = "T", value_parser = finite, allow_negative_numbers = true)]
    tolerance: Option<f32>,
    /// How patterns are stored.
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArg,
    /// With --precision f16: store numbers that halves cannot hold as the largest half, 65504, instead of refusing
    /// them.
    #[arg(long)]
    saturate: bool,
    /// Report the energy of each last state.
    #[arg(long)]
    energy: bool,
    /// Report every weight of the last update, B x N.
    #[arg(long)]
    weights: bool,
    /// Report support, perplexity and largest weight of the last update.
    #[arg(long)]
    statistics: bool,
    /// Report the K patterns of largest weight in the last update, at most 1024.
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    top: Option<usize>,
    /// The most bytes of keys, and of values, in one window of device memory.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    window_bytes: Option<u64>,
    /// Print how the answers are computed: kernels, tiles, windows, dispatches, estimated bytes and operations.
    #[arg(long)]
    explain: bool,
    #[command(flatten)]
    device: TunedArgs,
}

impl RetrieveArgs {
    /// Refuses flags that contradict each other or leave their domain.
    fn check(&self) -> Result<(), Failure> {
        let usage = |why: &str| Err(Failure::Usage(why.into()));
        if self.alpha.is_some_and(|alpha| alpha <= 1.0) {
            return usage("--alpha must be above 1 (softmax is the limit at 1)");
        }
        if self.saturate && self.precision != PrecisionArg::F16 {
            return usage("--saturate needs --precision f16");
        }
        if self.memory.is_none() {
            self.separation(None)?;
        }
        match self.tolerance {
            // The parser lets this pass beside --steps, which excludes what --tolerance requires.
            Some(_) if self.converge.is_none() => return usage("--tolerance needs --converge"),
            Some(tolerance) if tolerance <= 0.0 => return usage("--tolerance must be above 0"),
            _ => {}
        }
        if let Some(top) = self.top
            && top > MAX_TOP
        {
            return usage(&format!("--top {top} is more than the {MAX_TOP} that can be reported"));
        }
        if !self.out.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) {
            let out = self.out.display();
            return usage(&format!("--out {out}: expected a name that ends in .safetensors"));
        }
        Ok(())
    }

    /// The separation of the flags, over that of a saved memory.
    fn separation(&self, saved: Option<Separation>) -> Result<Separation, Failure> {
        let asked = match self.separation {
            None => saved.unwrap_or_default(),
            Some(SeparationArg::Softmax) => Separation::Softmax,
            Some(SeparationArg::Softmax1) => Separation::Softmax1,
            Some(SeparationArg::Sparsemax) => Separation::Sparsemax,
            Some(SeparationArg::Entmax) => match saved {
                Some(saved @ Separation::Entmax { .. }) => saved,
                _ => Separation::Entmax { alpha: 1.5 },
            },
            Some(SeparationArg::Topk) => match (saved, self.k) {
                (Some(saved @ Separation::TopK { .. }), _) => saved,
                (_, Some(k)) => Separation::TopK { k },
                (_, None) => return Err(Failure::Usage("--separation topk needs --k".into())),
            },
        };
        if self.alpha.is_some() && !matches!(asked, Separation::Entmax { .. }) {
            return Err(Failure::Usage("--alpha needs --separation entmax".into()));
        }
        if self.k.is_some() && !matches!(asked, Separation::TopK { .. }) {
            return Err(Failure::Usage("--k needs --separation topk".into()));
        }
        Ok(match asked {
            Separation::Entmax { alpha } => Separation::Entmax { alpha: self.alpha.unwrap_or(alpha) },
            Separation::TopK { k } => Separation::TopK { k: self.k.unwrap_or(k) },
            other => other,
        })
    }

    /// The rule of the flags, over that of a saved memory.
    fn rule(&self, dim: usize, saved: Option<Rule>) -> Result<Rule, Failure> {
        let default = saved.unwrap_or(Rule::attention(dim));
        let similarity = match self.similarity {
            None => default.similarity,
            Some(SimilarityArg::Dot) => Similarity::Dot,
            Some(SimilarityArg::Cosine) => Similarity::Cosine,
            Some(SimilarityArg::Euclidean) => Similarity::Euclidean,
            Some(SimilarityArg::Manhattan) => Similarity::Manhattan,
        };
        let separation = self.separation(saved.map(|rule| rule.separation))?;
        Ok(Rule::new(similarity, separation, self.beta.unwrap_or(default.beta)))
    }

    /// Every file that is read.
    fn inputs(&self) -> Vec<&Path> {
        let tensors =
            [self.keys.as_ref(), Some(&self.queries), self.values.as_ref(), self.bias.as_ref(), self.mask.as_ref()];
        let named = self.memory.as_deref().into_iter().chain(self.device.tuning.file());
        tensors.into_iter().flatten().map(Address::path).chain(named).collect()
    }

    fn options(&self) -> RetrieveOptions {
        let stop = match self.converge {
            Some(max_steps) => Stop::Converge { max_steps, tolerance: self.tolerance.unwrap_or(DEFAULT_TOLERANCE) },
            None => Stop::Steps(self.steps.unwrap_or(1)),
        };
        let mut options = RetrieveOptions::default();
        options.stop = stop;
        options.energy = self.energy;
        options.top = self.top.unwrap_or(0);
        options.statistics = self.statistics;
        options.weights = if self.weights { WeightsOf::All } else { WeightsOf::None };
        options
    }
}

/// Queries are asked this many numbers at a time, so that a bar has something to show.
const CHUNK: usize = 1 << 22;
/// The most weights, or flags of a mask, that are in flight at a time: they are as many a query as there are patterns.
const WIDE_CHUNK: usize = 1 << 26;

/// Where the patterns come from.
enum Stored {
    Tensors(Box<PatternFiles>),
    Memory(SavedMemory),
}

impl Stored {
    fn dim(&self) -> usize {
        match self {
            Self::Tensors(patterns) => patterns.dim(),
            Self::Memory(saved) => saved.dim(),
        }
    }

    /// `N`.
    fn positions(&self) -> usize {
        match self {
            Self::Tensors(patterns) => patterns.len(),
            Self::Memory(saved) => saved.positions(),
        }
    }

    /// The patterns in a memory on `device`.
    fn build(&self, args: &RetrieveArgs, rule: Rule, device: &Device) -> Result<Memory, Failure> {
        match self {
            Self::Tensors(patterns) => {
                let mut options = patterns.options(rule).precision(match args.precision {
                    PrecisionArg::F32 => Precision::F32,
                    PrecisionArg::F16 => Precision::F16,
                    PrecisionArg::I8 => Precision::I8,
                });
                if let Some(bytes) = args.window_bytes {
                    options = options.window_bytes(bytes);
                }
                if args.saturate {
                    options = options.saturate();
                }
                let mut memory = options.build(device)?;
                let bar = progress::bar(patterns.len(), "storing");
                let stored = memory.import_with(patterns, |read| bar.set_position(read as u64));
                bar.finish_and_clear();
                stored.map_err(|error| match error {
                    range @ attractor::Error::Range { .. } => {
                        Failure::Work(format!("{range}; --saturate stores the largest half instead"))
                    }
                    error => error.into(),
                })?;
                Ok(memory)
            }
            Self::Memory(saved) => {
                let mut options = LoadOptions::default().rule(rule);
                if let Some(bytes) = args.window_bytes {
                    options = options.window_bytes(bytes);
                }
                Ok(saved.load(device, &options)?)
            }
        }
    }
}

/// Name and shape of the keys, as messages have them.
impl std::fmt::Display for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tensors(patterns) => patterns.keys().fmt(f),
            Self::Memory(saved) => {
                write!(f, "keys of {} are {} x {}", saved.path().display(), saved.positions(), saved.dim())
            }
        }
    }
}

/// What the flags name, opened and found to fit together.
struct Inputs {
    stored: Stored,
    rule: Rule,
    queries: Tensor,
    /// `B`.
    batch: usize,
    mask: Option<Tensor>,
}

impl Inputs {
    fn open(args: &RetrieveArgs) -> Result<Self, Failure> {
        let (stored, saved) = match (&args.memory, &args.keys) {
            (Some(path), _) => {
                let saved = SavedMemory::open(path)?;
                let rule = saved.rule();
                (Stored::Memory(saved), Some(rule))
            }
            (None, Some(keys)) => {
                let mut patterns = PatternFiles::open(keys)?;
                if let Some(values) = &args.values {
                    patterns = patterns.values(values)?;
                }
                if let Some(bias) = &args.bias {
                    patterns = patterns.bias(bias)?;
                }
                (Stored::Tensors(patterns.into()), None)
            }
            // The parser asks for one of them.
            (None, None) => return Err(Failure::Usage("expected --keys or --memory".into())),
        };
        let rule = args.rule(stored.dim(), saved)?;
        let queries = Tensor::open(Role::Queries, &args.queries)?;
        let (batch, columns) = queries.matrix()?;
        if columns != stored.dim() {
            return Err(Failure::Work(format!("{queries}, but {stored}: expected as many columns in both")));
        }
        let mask = args.mask.as_ref().map(|mask| Tensor::open(Role::Mask, mask)).transpose()?;
        let count = stored.positions();
        if let Some(mask) = &mask
            && ![&[count][..], &[batch, count]].contains(&mask.shape())
        {
            return Err(Failure::Work(format!(
                "{mask}, but {stored} and {queries}: expected a mask of {count} or {batch} x {count}"
            )));
        }
        Ok(Self { stored, rule, queries, batch, mask })
    }

    /// The mask over queries `part`, where there is one.
    fn mask(&self, part: Range<usize>) -> Result<Option<Mask>, Failure> {
        let patterns = self.stored.positions();
        let Some(mask) = &self.mask else { return Ok(None) };
        let keep = |elements: Range<usize>| -> Result<Vec<bool>, Failure> {
            Ok(mask.flags(elements)?.iter().map(|flag| *flag != 0).collect())
        };
        Ok(Some(match self.mask_per_query() {
            true => Mask::keep_per_query(&keep(part.start * patterns..part.end * patterns)?),
            false => Mask::keep(&keep(0..patterns)?),
        }))
    }

    /// Refuses a mask with a wrong flag before anything is stored.
    fn check_mask(&self) -> Result<(), Failure> {
        let Some(mask) = &self.mask else { return Ok(()) };
        for start in (0..mask.len()).step_by(WIDE_CHUNK) {
            mask.flags(start..mask.len().min(start + WIDE_CHUNK))?;
        }
        Ok(())
    }

    fn mask_per_query(&self) -> bool {
        self.mask.as_ref().is_some_and(|mask| mask.shape().len() == 2)
    }
}

/// Retrieves, and writes the answers.
pub fn run(args: &RetrieveArgs) -> Result<(), Failure> {
    args.check()?;
    let inputs = Inputs::open(args)?;
    files::check_target(&args.out, &args.inputs())?;
    // Numbers that only queries need come first: nothing is stored for a batch that will be refused.
    let queries = inputs.queries.floats(0..inputs.queries.len())?;
    inputs.check_mask()?;
    let mut answers = Retrieval::default();
    if args.weights {
        answers.weights = Some(room_for_weights(&inputs)?);
    }

    let device = args.device.open()?;
    let memory = inputs.stored.build(args, inputs.rule, &device)?;

    let chunk = (CHUNK / memory.dim().max(memory.value_dim())).max(1);
    let wide = args.weights || inputs.mask_per_query();
    let wide = if wide { WIDE_CHUNK / memory.positions().max(1) } else { usize::MAX };
    let tall = CHUNK / args.top.unwrap_or(1);
    let chunk = chunk.min(wide).min(tall).clamp(1, inputs.batch);
    let explanation = explanation(args, &inputs, &memory, chunk)?;
    let bar = progress::bar(inputs.batch, "retrieving");
    // One plan for every chunk, so that a query's bits do not depend on where the cuts fall.
    let mut options = args.options().plan_for(chunk);
    for (i, part) in queries.chunks(chunk * memory.dim()).enumerate() {
        let count = part.len() / memory.dim();
        if i == 0 || inputs.mask_per_query() {
            options.mask = inputs.mask(i * chunk..i * chunk + count)?;
        }
        append(&mut answers, memory.retrieve_with_blocking(part, &options)?);
        bar.inc(count as u64);
    }
    bar.finish_and_clear();

    let tensors = tensors(&answers);
    files::write_tensors(&args.out, &tensors)?;
    let list: Vec<String> = tensors.iter().map(ToString::to_string).collect();
    let head = format!("wrote {}: {}\n", args.out.display(), list.join(", "));
    emit(&(head + &remarks(args, &memory, &answers) + &explanation))
}

/// Room for all weights, taken before long work: where there is too little, now is the time to say so.
fn room_for_weights(inputs: &Inputs) -> Result<Vec<f32>, Failure> {
    let (batch, patterns) = (inputs.batch, inputs.stored.positions());
    let mut weights = Vec::new();
    batch.checked_mul(patterns).and_then(|count| weights.try_reserve_exact(count).ok()).ok_or_else(|| {
        Failure::Work(format!(
            "--weights: {batch} x {patterns} floats do not fit in memory; ask with fewer queries, or for --top"
        ))
    })?;
    Ok(weights)
}

/// Appends the answers to further queries.
fn append(to: &mut Retrieval, more: Retrieval) {
    fn extend<T>(to: &mut Option<Vec<T>>, more: Option<Vec<T>>) {
        if let Some(more) = more {
            to.get_or_insert_default().extend(more);
        }
    }
    (to.dim, to.value_dim, to.patterns) = (more.dim, more.value_dim, more.patterns);
    to.batch += more.batch;
    to.output.extend(more.output);
    to.state.extend(more.state);
    to.steps.extend(more.steps);
    to.converged.extend(more.converged);
    to.status.extend(more.status);
    extend(&mut to.energy, more.energy);
    extend(&mut to.statistics, more.statistics);
    extend(&mut to.weights, more.weights);
    if let Some(more) = more.top {
        let top = to.top.get_or_insert_default();
        top.k = more.k;
        top.ids.extend(more.ids);
        top.weight.extend(more.weight);
    }
}

/// What is written of `answers`.
fn tensors(answers: &Retrieval) -> Vec<NewTensor<'_>> {
    let batch = answers.batch;
    let mut tensors = vec![
        NewTensor::f32("output", &[batch, answers.value_dim], &answers.output),
        NewTensor::f32("state", &[batch, answers.dim], &answers.state),
        NewTensor::u32("steps", &[batch], &answers.steps),
        NewTensor::bool("converged", &[batch], &answers.converged),
    ];
    if let Some(energy) = &answers.energy {
        tensors.push(NewTensor::f32("energy", &[batch], energy.iter().map(|&e| e as f32).collect::<Vec<_>>()));
    }
    if let Some(statistics) = &answers.statistics {
        tensors.push(NewTensor::u32("support", &[batch], statistics.iter().map(|s| s.support).collect::<Vec<_>>()));
        tensors.push(NewTensor::f32(
            "perplexity",
            &[batch],
            statistics.iter().map(|s| s.perplexity).collect::<Vec<_>>(),
        ));
        tensors.push(NewTensor::f32("largest", &[batch], statistics.iter().map(|s| s.largest).collect::<Vec<_>>()));
    }
    if let Some(top) = &answers.top {
        // Patterns of a key file have their rows as ids.
        let rows: Vec<u32> =
            top.ids.iter().map(|id| id.and_then(|id| u32::try_from(id.0).ok()).unwrap_or(u32::MAX)).collect();
        tensors.push(NewTensor::u32("top_index", &[batch, top.k], rows));
        tensors.push(NewTensor::f32("top_weight", &[batch, top.k], &top.weight));
    }
    if let Some(weights) = &answers.weights {
        tensors.push(NewTensor::f32("weights", &[batch, answers.patterns], weights));
    }
    tensors
}

/// How the first `chunk` of queries are answered, and that there are others like it; empty unless asked for.
fn explanation(args: &RetrieveArgs, inputs: &Inputs, memory: &Memory, chunk: usize) -> Result<String, Failure> {
    if !args.explain {
        return Ok(String::new());
    }
    let mut options = args.options().plan_for(chunk);
    options.mask = inputs.mask(0..chunk)?;
    let mut text = format!("{}\n", memory.explain(chunk, &options)?);
    let chunks = inputs.batch.div_ceil(chunk);
    if chunks > 1 {
        let _ = writeln!(text, "the same {chunks} times, for {} queries", inputs.batch);
    }
    Ok(text)
}

/// What there is to say of `answers`, in lines.
fn remarks(args: &RetrieveArgs, memory: &Memory, answers: &Retrieval) -> String {
    let (batch, patterns) = (answers.batch, answers.patterns);
    let mut text = format!("{patterns} patterns, {}, on {}\n", describe(memory.rule()), memory.device().info());
    // Writing to a String cannot fail.
    if args.converge.is_some() {
        let converged = answers.converged.iter().filter(|converged| **converged).count();
        let (fewest, most) = (answers.steps.iter().min().unwrap_or(&0), answers.steps.iter().max().unwrap_or(&0));
        let _ = writeln!(text, "{converged} of {batch} queries converged, after {fewest} to {most} steps");
    }
    if let (Some(asked), Some(top)) = (args.top, &answers.top)
        && top.k < asked
    {
        let _ = writeln!(text, "--top {asked}: there are {patterns} patterns, so {} are reported", top.k);
    }
    if let Some(statistics) = &answers.statistics {
        let answered = || statistics.iter().zip(&answers.status).filter(|(_, status)| **status == Status::Answered);
        let of = |kind| answered().filter(|(s, _)| s.kind == kind).count();
        let (single, some, all) = (of(FixedPoint::Single), of(FixedPoint::Metastable), of(FixedPoint::Global));
        let _ = writeln!(
            text,
            "{single} answers are a single pattern (largest weight >= 0.99), {all} an average over all (perplexity >= \
             N/2), {some} an average over some"
        );
    }
    let nothing = answers.status.iter().filter(|status| **status == Status::NothingLeft).count();
    if nothing > 0 {
        let _ = writeln!(text, "{nothing} of {batch} queries may use no pattern: their answers are zero");
    }
    text
}

/// A rule in words, as the flags spell them.
pub fn describe(rule: Rule) -> String {
    let similarity = match rule.similarity {
        Similarity::Dot => "dot",
        Similarity::Cosine => "cosine",
        Similarity::Euclidean => "euclidean",
        Similarity::Manhattan => "manhattan",
    };
    format!("{similarity} {}, beta {}", separation_name(rule.separation), rule.beta)
}

/// A separation in words, with what it depends on.
pub fn separation_name(separation: Separation) -> String {
    match separation {
        Separation::Softmax => "softmax".into(),
        Separation::Softmax1 => "softmax1".into(),
        Separation::Sparsemax => "sparsemax".into(),
        Separation::Entmax { alpha } => format!("entmax {alpha}"),
        Separation::TopK { k } => format!("topk {k}"),
    }
}
