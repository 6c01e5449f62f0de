//! `attractor retrieve`: from files to a file.

use std::path::PathBuf;

use attractor::{MemoryOptions, Retrieval, RetrieveOptions, Rule, Separation, Similarity};
use clap::ValueEnum;

use crate::args::{DeviceArgs, at_least_one, finite};
use crate::failure::{Failure, emit};
use crate::files::{self, Address, Matrix, Tensor};
use crate::progress;

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
F is file.npy or file.safetensors:tensor, of f32 or f16. Keys are N x d, values N x dv (the keys themselves unless \
given), queries B x d. One update of a state x:

    z_i = beta similarity(x, k_i)     p = separation(z)     x' = sum_i p_i k_i     y = sum_i p_i v_i

Written: output (B x dv, f32), state (B x d, f32), steps (B, u32), converged (B, u8).

This version computes dot similarity with softmax, for a fixed number of steps, in f32. It refuses every other rule, \
stop and report with exit status 2.";

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
    F32,
    F16,
    I8,
}

/// The flags of `attractor retrieve`.
#[derive(clap::Args, Debug)]
pub struct RetrieveArgs {
    /// The stored patterns, N x d.
    #[arg(long, value_name = "F")]
    keys: Address,
    /// The queries, B x d.
    #[arg(long, value_name = "F")]
    queries: Address,
    /// The file to write.
    #[arg(long, value_name = "F.safetensors")]
    out: PathBuf,
    /// What the patterns stand for, N x dv; the keys themselves unless given.
    #[arg(long, value_name = "F")]
    values: Option<Address>,
    /// A score to add per pattern, N. Not in this version.
    #[arg(long, value_name = "F")]
    bias: Option<Address>,
    /// 1 where a pattern may be used, B x N or N. Not in this version.
    #[arg(long, value_name = "F")]
    mask: Option<Address>,
    /// How a state is compared with a key.
    #[arg(long, value_enum, default_value = "dot")]
    similarity: SimilarityArg,
    /// How scores become weights.
    #[arg(long, value_enum, default_value = "softmax")]
    separation: SeparationArg,
    /// The exponent of entmax, above 1.
    #[arg(long, value_name = "A", value_parser = finite, allow_negative_numbers = true)]
    alpha: Option<f32>,
    /// The number of patterns that topk keeps.
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    k: Option<usize>,
    /// The inverse temperature, of any sign [default: 1/sqrt(d)].
    #[arg(long, value_name = "B", value_parser = finite, allow_negative_numbers = true)]
    beta: Option<f32>,
    /// The number of updates [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "converge")]
    steps: Option<u32>,
    /// Update until a state stays put, at most this often. Not in this version.
    #[arg(long, value_name = "MAX", value_parser = clap::value_parser!(u32).range(1..))]
    converge: Option<u32>,
    /// The largest change of a coordinate that --converge takes for none.
    #[arg(long, value_name = "T", value_parser = finite, allow_negative_numbers = true, requires = "converge")]
    tolerance: Option<f32>,
    /// How patterns are stored.
    #[arg(long, value_enum, default_value = "f32")]
    precision: PrecisionArg,
    /// Report the energy of each answer. Not in this version.
    #[arg(long)]
    energy: bool,
    /// Report every weight, B x N. Not in this version.
    #[arg(long)]
    weights: bool,
    /// Report the K patterns of largest weight. Not in this version.
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    top: Option<usize>,
    /// The most bytes of keys, and of values, in one window of device memory.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    window_bytes: Option<u64>,
    #[command(flatten)]
    device: DeviceArgs,
}

impl RetrieveArgs {
    /// Flags that contradict each other come first: they would be wrong in any version.
    fn check(&self) -> Result<(), Failure> {
        let usage = |why: &str| Err(Failure::Usage(why.into()));
        match self.alpha {
            Some(_) if self.separation != SeparationArg::Entmax => return usage("--alpha needs --separation entmax"),
            Some(alpha) if alpha <= 1.0 => return usage("--alpha must be above 1 (softmax is the limit at 1)"),
            None if self.separation == SeparationArg::Entmax => return usage("--separation entmax needs --alpha"),
            _ => {}
        }
        match self.k {
            Some(_) if self.separation != SeparationArg::Topk => return usage("--k needs --separation topk"),
            None if self.separation == SeparationArg::Topk => return usage("--separation topk needs --k"),
            _ => {}
        }
        if self.tolerance.is_some_and(|t| t <= 0.0) {
            return usage("--tolerance must be above 0");
        }
        if !self.out.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) {
            let out = self.out.display();
            return usage(&format!("--out {out}: expected a name that ends in .safetensors"));
        }

        let value = |flag: &str, value: &dyn ValueEnumName| format!("--{flag} {}", value.name());
        let missing = [
            (self.similarity != SimilarityArg::Dot, value("similarity", &self.similarity)),
            (self.separation != SeparationArg::Softmax, value("separation", &self.separation)),
            (self.precision != PrecisionArg::F32, value("precision", &self.precision)),
            (self.converge.is_some(), "--converge".into()),
            (self.bias.is_some(), "--bias".into()),
            (self.mask.is_some(), "--mask".into()),
            (self.energy, "--energy".into()),
            (self.weights, "--weights".into()),
            (self.top.is_some(), "--top".into()),
        ];
        let missing: Vec<&str> = missing.iter().filter(|(asked, _)| *asked).map(|(_, flag)| flag.as_str()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Failure::Usage(format!(
            "{} is not supported by this version, which computes dot similarity with softmax in f32 for a fixed \
             number of --steps",
            missing.join(", ")
        )))
    }
}

/// The spelling of a value as the command line has it.
trait ValueEnumName {
    fn name(&self) -> String;
}

impl<T: ValueEnum> ValueEnumName for T {
    fn name(&self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

/// Patterns are stored, and queries asked, this many numbers at a time, so that a bar has something to show.
const CHUNK: usize = 1 << 22;

/// Retrieves, and writes the answers.
pub fn run(args: &RetrieveArgs) -> Result<(), Failure> {
    args.check()?;
    let keys = Matrix::open("keys", &args.keys)?;
    let queries = Matrix::open("queries", &args.queries)?;
    let values = args.values.as_ref().map(|address| Matrix::open("values", address)).transpose()?;
    if queries.columns != keys.columns {
        let (queries, keys) = (queries.describe(), keys.describe());
        return Err(Failure::Work(format!("{queries}, but {keys}: expected as many columns in both")));
    }
    if let Some(values) = &values
        && values.rows != keys.rows
    {
        let (values, keys) = (values.describe(), keys.describe());
        return Err(Failure::Work(format!("{values}, but {keys}: expected as many rows in both")));
    }
    files::check_target(&args.out)?;

    let dim = keys.columns;
    let beta = args.beta.unwrap_or(Rule::attention(dim).beta);
    let rule = Rule::new(Similarity::Dot, Separation::Softmax, beta);
    let steps = args.steps.unwrap_or(1);
    let device = args.device.open()?;
    let mut options = MemoryOptions::new(dim, rule);
    if let Some(values) = &values {
        options = options.value_dim(values.columns);
    }
    if let Some(bytes) = args.window_bytes {
        options = options.window_bytes(bytes);
    }
    let mut memory = options.build(&device)?;
    // Queries first: nothing is stored for a batch that will be refused.
    let query_rows = queries.read()?;
    let key_rows = keys.read()?;
    let value_rows = values.as_ref().map(Matrix::read).transpose()?;

    memory.reserve(keys.rows)?;
    let bar = progress::bar(keys.rows, "storing");
    let chunk = (CHUNK / dim.max(memory.value_dim())).max(1);
    for (i, part) in key_rows.chunks(chunk * dim).enumerate() {
        match (&values, &value_rows) {
            (Some(values), Some(rows)) => {
                let from = i * chunk * values.columns;
                let to = from + part.len() / dim * values.columns;
                memory.add_with_values(part, &rows[from..to])?
            }
            _ => memory.add(part)?,
        };
        bar.inc((part.len() / dim) as u64);
    }
    bar.finish_and_clear();

    let bar = progress::bar(queries.rows, "retrieving");
    let chunk = chunk.min(queries.rows);
    // One plan for every chunk, so that a query's bits do not depend on where the cuts fall.
    let options = RetrieveOptions::steps(steps).plan_for(chunk);
    let mut answers = Retrieval::default();
    for part in query_rows.chunks(chunk * dim) {
        let answer = memory.retrieve_with_blocking(part, &options)?;
        answers.output.extend(answer.output);
        answers.state.extend(answer.state);
        answers.steps.extend(answer.steps);
        answers.converged.extend(answer.converged);
        bar.inc((part.len() / dim) as u64);
    }
    bar.finish_and_clear();

    let (batch, value_dim) = (queries.rows, memory.value_dim());
    files::write_tensors(
        &args.out,
        &[
            Tensor::f32("output", &[batch, value_dim], &answers.output),
            Tensor::f32("state", &[batch, dim], &answers.state),
            Tensor::u32("steps", &[batch], &answers.steps),
            Tensor::bool("converged", &[batch], &answers.converged),
        ],
    )?;
    emit(&format!(
        "wrote {}: output {batch} x {value_dim} and state {batch} x {dim} from {} patterns, on {}\n",
        args.out.display(),
        keys.rows,
        device.info()
    ))
}
