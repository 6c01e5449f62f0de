//! The flags of `attractor retrieve`, and what they stand for.

use std::path::{Path, PathBuf};

use attractor::files::Address;
use attractor::retrieval::{DEFAULT_TOLERANCE, MAX_TOP, Stop, WeightsOf};
use attractor::{RetrieveOptions, Rule, Separation, Similarity, Update};
use clap::ValueEnum;

use crate::args::{PrecisionArg, SimilarityArg, TunedArgs, at_least_one, check_extension, finite};
use crate::commands::stored::{PlacementArgs, StoreOptions};
use crate::failure::Failure;

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
\x20   attractor retrieve --keys keys.npy --queries new.safetensors:q \\
        --out answers.safetensors

F is file.npy or file.safetensors:tensor, of f32, f16, bf16 or f64, rounded to f32 (a mask: u8 or bool). Keys are \
N x d, values N x dv (the keys themselves unless given), queries B x d. One update of a state x:

    z_i = beta similarity(x, k_i) + b_i     p = separation(z)
    x' = sum_i p_i k_i                      y = sum_i p_i v_i

--then ends an update in another way: parts with commas between them, of

    none, sign keep, sign plus, sign zero (what 0 becomes), tanh,
    normalize, phasor, softmax blocks W, argmax blocks W
                  the activation A of x' = A(h), h = sum_i p_i k_i
    gain G, carry C
                  h = G sum_i p_i k_i + C x
    damping D     x' = D x + (1 - D) A(h)
    without self  no coordinate couples with itself: for bipolar keys
    next values   values go on as states: h = sum_i p_i v_i
    blocks B      each coordinate moves in one of B updates
    temperature T, seed S
                  signs are drawn by chance
    beta to B in N
                  beta changes from --beta to B within N updates

Classical Hopfield networks are --separation linear --then 'sign keep, without self'; dense ones have --separation \
power; sparse distributed memories --separation step.

--memory answers from a memory that was saved (Memory::save), by its own rule unless --similarity, --separation, \
--alpha, --k, --n, --step-threshold, --beta or --then say otherwise. Its values, biases, scales and precision are its own, and removed patterns \
stay removed; N counts their positions, too.

Written: output (B x dv, f32), state (B x d, f32), steps (B, u32), converged (B, u8; under --steps: whether the last \
update changed no coordinate by more than 1e-4), and when asked

    --energy      energy (B, f32), of the last state; for dot with every
                  separation but topk, and for euclidean with softmax,
                  sparsemax and entmax; for linear, power, rectified and
                  step under dot with states of signs. None is defined for
                  other rules, nor at beta 0
    --statistics  support (B, u32): weights above zero; perplexity (B, f32):
                  exp of the entropy; largest (B, f32). Not of linear, power,
                  rectified and step, whose weights are no distribution
    --top K       top_index (B x K', u32), top_weight (B x K', f32) in falling
                  order, K' = min(K, N); a smaller index first where equal;
                  index 4294967295 with weight 0 where a mask leaves fewer
                  than K'; top_similarity (B x K', f32): dot product or
                  cosine, or the distance (euclidean: its square)
    --least-weight W, --threshold S
                  top_found (B, u64): how many patterns meet what is given:
                  with --least-weight of all patterns, with --threshold
                  alone of the K'; patterns that do not are left out of
                  --top
    --weights     weights (B x N, f32)

A query whose mask leaves no pattern gets zeros; their number is printed. Exit status: 0, 2 for bad usage, 1 for \
a failure.";

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
    /// z, without a normaliser: classical Hopfield networks, resonators
    Linear,
    /// z^n, with --n: dense associative memories
    Power,
    /// max(z, 0)^n, with --n
    Rectified,
    /// 1 where z >= --step-threshold, else 0: sparse distributed memories
    Step,
}

/// What ends an update.
fn update(text: &str) -> Result<Update, String> {
    text.parse().map_err(|error| match error {
        attractor::Error::Parameter { expected, .. } => format!("expected {expected}"),
        error => error.to_string(),
    })
}

/// The flags of `attractor retrieve`.
#[derive(clap::Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own")]
pub struct RetrieveArgs {
    /// The stored patterns, N x d.
    #[arg(long, value_name = "F", required_unless_present = "memory")]
    pub keys: Option<Address>,
    /// A saved memory to answer from, instead of --keys.
    #[arg(long, value_name = "F.safetensors", conflicts_with_all = ["keys", "values", "bias", "precision", "saturate"])]
    pub memory: Option<PathBuf>,
    /// The queries, B x d.
    #[arg(long, value_name = "F")]
    pub queries: Address,
    /// The file to write.
    #[arg(long, value_name = "F.safetensors")]
    pub out: PathBuf,
    /// What the patterns stand for, N x dv; the keys themselves unless given.
    #[arg(long, value_name = "F")]
    pub values: Option<Address>,
    /// What to add to each pattern's scores: N, 1 x N or N x 1.
    #[arg(long, value_name = "F")]
    pub bias: Option<Address>,
    /// 1 where a pattern may be used and 0 where not: N, or B x N with a row for each query.
    #[arg(long, value_name = "F")]
    pub mask: Option<Address>,
    /// How a state is compared with a key [default: dot, or that of --memory].
    #[arg(long, value_enum)]
    pub similarity: Option<SimilarityArg>,
    /// How scores become weights [default: softmax, or that of --memory].
    #[arg(long, value_enum)]
    pub separation: Option<SeparationArg>,
    /// The exponent of entmax, above 1 and at most 1e6 [default: 1.5, or that of --memory].
    #[arg(long, value_name = "A", value_parser = finite, allow_hyphen_values = true)]
    pub alpha: Option<f32>,
    /// How many scores topk keeps; required by it, unless --memory has it.
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    pub k: Option<usize>,
    /// The exponent of power and rectified, from 1 to 63; required by them, unless --memory has it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(Separation::MAX_POWER)))]
    pub n: Option<u32>,
    /// The least score that has weight under step; required by it, unless --memory has it.
    #[arg(long, value_name = "T", value_parser = finite, allow_hyphen_values = true)]
    pub step_threshold: Option<f32>,
    /// The inverse temperature, of any sign [default: 1/sqrt(d); 1 for linear, power, rectified and step; or that of
    /// --memory].
    #[arg(long, value_name = "B", value_parser = finite, allow_hyphen_values = true)]
    pub beta: Option<f32>,
    /// What ends an update, as below: `none`, `sign keep, without self` [default: none, or that of --memory].
    #[arg(long, value_name = "UPDATE", value_parser = update)]
    pub then: Option<Update>,
    /// The number of updates [default: 1].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "converge")]
    pub steps: Option<u32>,
    /// Update each query until its state stays put, at most this often.
    #[arg(long, value_name = "MAX", value_parser = clap::value_parser!(u32).range(1..))]
    pub converge: Option<u32>,
    /// The largest change of a coordinate that --converge takes for none [default: 1e-4].
    #[arg(long, value_name = "T", value_parser = finite, allow_hyphen_values = true)]
    pub tolerance: Option<f32>,
    /// How patterns are stored.
    #[arg(long, value_enum, default_value = "f32")]
    pub precision: PrecisionArg,
    /// With --precision f16: store numbers that halves cannot hold as the largest half, 65504, instead of refusing
    /// them.
    #[arg(long)]
    pub saturate: bool,
    /// Report the energy of each last state.
    #[arg(long)]
    pub energy: bool,
    /// Report every weight of the last update, B x N.
    #[arg(long)]
    pub weights: bool,
    /// Report support, perplexity and largest weight of the last update.
    #[arg(long)]
    pub statistics: bool,
    /// Report the K patterns of largest weight in the last update, at most 1024.
    #[arg(long, value_name = "K", value_parser = at_least_one)]
    pub top: Option<usize>,
    /// Of --top, report only patterns of at least this weight, from 1/1024 to 1, and count all that have it.
    #[arg(long, value_name = "W", value_parser = finite, allow_hyphen_values = true, requires = "top")]
    pub least_weight: Option<f32>,
    /// Of --top, report only patterns of at least this similarity; under euclidean and manhattan, within this distance
    /// (euclidean: its square).
    #[arg(long, value_name = "S", value_parser = finite, allow_hyphen_values = true, requires = "top")]
    pub threshold: Option<f32>,
    /// The most bytes of keys, and of values, in one window of device memory.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub window_bytes: Option<u64>,
    #[command(flatten)]
    pub placement: PlacementArgs,
    /// Print how the answers are computed: kernels, tiles, windows, dispatches, estimated bytes and operations.
    #[arg(long)]
    pub explain: bool,
    #[command(flatten)]
    pub device: TunedArgs,
}

impl RetrieveArgs {
    /// Refuses flags that contradict each other or leave their domain.
    pub fn check(&self) -> Result<(), Failure> {
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
        if let Some(weight) = self.least_weight
            && !(1.0 / MAX_TOP as f32..=1.0).contains(&weight)
        {
            return usage(&format!("--least-weight {weight} is not from 1/{MAX_TOP} to 1"));
        }
        check_extension("--out", &self.out, "safetensors")
    }

    /// The separation of the flags, over that of a saved memory.
    pub fn separation(&self, saved: Option<Separation>) -> Result<Separation, Failure> {
        let needs = |what: &str| Failure::Usage(format!("--separation {what}"));
        let saved_n = match saved {
            Some(Separation::Power { n } | Separation::Rectified { n }) => Some(n),
            _ => None,
        };
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
                (_, None) => return Err(needs("topk needs --k")),
            },
            Some(SeparationArg::Linear) => Separation::Linear,
            Some(SeparationArg::Power) => {
                Separation::Power { n: self.n.or(saved_n).ok_or_else(|| needs("power needs --n"))? }
            }
            Some(SeparationArg::Rectified) => {
                Separation::Rectified { n: self.n.or(saved_n).ok_or_else(|| needs("rectified needs --n"))? }
            }
            Some(SeparationArg::Step) => match (saved, self.step_threshold) {
                (Some(saved @ Separation::Step { .. }), _) => saved,
                (_, Some(threshold)) => Separation::Step { threshold },
                (_, None) => return Err(needs("step needs --step-threshold")),
            },
        };
        let refuse = |why: &str| Err(Failure::Usage(why.into()));
        match asked {
            _ if self.alpha.is_some() && !matches!(asked, Separation::Entmax { .. }) => {
                refuse("--alpha needs --separation entmax")
            }
            _ if self.k.is_some() && !matches!(asked, Separation::TopK { .. }) => refuse("--k needs --separation topk"),
            _ if self.n.is_some() && !matches!(asked, Separation::Power { .. } | Separation::Rectified { .. }) => {
                refuse("--n needs --separation power or rectified")
            }
            _ if self.step_threshold.is_some() && !matches!(asked, Separation::Step { .. }) => {
                refuse("--step-threshold needs --separation step")
            }
            Separation::Entmax { alpha } => Ok(Separation::Entmax { alpha: self.alpha.unwrap_or(alpha) }),
            Separation::TopK { k } => Ok(Separation::TopK { k: self.k.unwrap_or(k) }),
            Separation::Power { n } => Ok(Separation::Power { n: self.n.unwrap_or(n) }),
            Separation::Rectified { n } => Ok(Separation::Rectified { n: self.n.unwrap_or(n) }),
            Separation::Step { threshold } => {
                Ok(Separation::Step { threshold: self.step_threshold.unwrap_or(threshold) })
            }
            other => Ok(other),
        }
    }

    /// The rule of the flags, over that of a saved memory.
    pub fn rule(&self, dim: usize, saved: Option<Rule>) -> Result<Rule, Failure> {
        let separation = self.separation(saved.map(|rule| rule.separation))?;
        let default = match saved {
            Some(saved) => saved,
            None if separation.is_normalized() => Rule::attention(dim),
            None => Rule::softmax(1.0),
        };
        let similarity = self.similarity.map_or(default.similarity, SimilarityArg::into);
        let rule = Rule::new(similarity, separation, self.beta.unwrap_or(default.beta));
        let rule = rule.then(self.then.unwrap_or(default.update));
        match rule.validate() {
            Err(attractor::Error::Parameter { parameter, expected, got, .. }) if self.then.is_some() => {
                Err(Failure::Usage(format!("--then: {parameter} must be {expected}, got {got}")))
            }
            _ => Ok(rule),
        }
    }

    /// Every file that is read.
    pub fn inputs(&self) -> Vec<&Path> {
        let tensors =
            [self.keys.as_ref(), Some(&self.queries), self.values.as_ref(), self.bias.as_ref(), self.mask.as_ref()];
        let named = self.memory.as_deref().into_iter().chain(self.device.tuning.file());
        tensors.into_iter().flatten().map(Address::path).chain(named).collect()
    }

    /// How patterns are stored.
    pub fn store(&self) -> StoreOptions {
        let Self { precision, saturate, window_bytes, placement, .. } = *self;
        StoreOptions { precision: precision.into(), saturate, window_bytes, placement }
    }

    /// The options of a retrieval by a rule of this similarity.
    pub fn options(&self, similarity: Similarity) -> RetrieveOptions {
        let stop = match self.converge {
            Some(max_steps) => Stop::Converge { max_steps, tolerance: self.tolerance.unwrap_or(DEFAULT_TOLERANCE) },
            None => Stop::Steps(self.steps.unwrap_or(1)),
        };
        let mut options = RetrieveOptions::default().stop(stop).top(self.top.unwrap_or(0));
        if let Some(weight) = self.least_weight {
            options = options.weight_at_least(weight);
        }
        options = match (self.threshold, similarity) {
            (None, _) => options,
            (Some(most), Similarity::Euclidean | Similarity::Manhattan) => options.at_most(most),
            (Some(least), _) => options.at_least(least),
        };
        if self.energy {
            options = options.energy();
        }
        if self.statistics {
            options = options.statistics();
        }
        if self.weights {
            options = options.weights(WeightsOf::All);
        }
        options
    }
}
