//! Cases of the wider family of associative memories: what independent software computed, in files, held against what
//! a device computes through the public interface. `tests/golden/family/README.md` describes the files.

mod attention;
mod compare;
mod file;
mod hopfield;
mod resonator;
mod torchhd;

pub use compare::{Allowed, Comparison, Difference};
pub use file::{Array, Failure, Golden, shape_text};

use attractor::rule::{Activation, Update, Zero};
use attractor::{Device, Memory, MemoryOptions, Patterns, Rule, Separation};

/// What a case was about, and what came out.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The system.
    pub system: String,
    /// Sizes and rule of each memory, a line each.
    pub memories: Vec<String>,
    /// Every tensor that was compared.
    pub comparisons: Vec<Comparison>,
}

impl Outcome {
    fn new(system: impl Into<String>) -> Self {
        Self { system: system.into(), memories: Vec::new(), comparisons: Vec::new() }
    }

    /// Whether nothing differs.
    pub fn is_right(&self) -> bool {
        self.comparisons.iter().all(Comparison::is_right)
    }

    fn used(&mut self, memory: &Memory, queries: usize) {
        let (patterns, dim, rule) = (memory.len(), memory.dim(), memory.rule());
        let values =
            if memory.has_values() { format!(" with values of {}", memory.value_dim()) } else { String::new() };
        self.memories.push(format!("{patterns} patterns of {dim}{values}, {queries} queries: {rule}"));
    }

    fn compare(&mut self, name: &str, got: &[f64], expected: &Array, allowed: Allowed) -> Result<(), Failure> {
        self.comparisons.push(Comparison::new(name, got, expected, allowed)?);
        Ok(())
    }
}

/// A mistake to make on purpose: the cases must show each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mistake {
    /// Self-couplings stay.
    SelfTerm,
    /// Another convention for the sign of 0.
    SignOfZero,
    /// A softmax over patterns and their negatives at a tiny beta in place of linear sums.
    SoftmaxForLinear,
}

/// Runs a case on `device`.
pub fn run(golden: &Golden, device: &Device) -> Result<Outcome, Failure> {
    run_with(golden, device, None)
}

/// Runs a case on `device` with a mistake.
pub fn run_with(golden: &Golden, device: &Device, mistake: Option<Mistake>) -> Result<Outcome, Failure> {
    let on = On { device, mistake };
    let (system, source) = (golden.text("system").unwrap_or_default(), golden.text("source").unwrap_or_default());
    match (system, source) {
        ("classical Hopfield", _) => hopfield::classical(golden, on),
        ("dense associative memory", _) => hopfield::dense(golden, on),
        _ if system.starts_with("resonator network") => resonator::factorize(golden, on),
        ("end-to-end memory network", _) => attention::memory_network(golden, on),
        ("CLOOB", _) => attention::cloob(golden, on),
        _ if system.starts_with("Hopular") => attention::leave_one_out(golden, on),
        _ if source.starts_with("torchhd.memory.SparseDistributed") => torchhd::sparse_distributed(golden, on),
        _ if source.starts_with("torchhd.memory.Hopfield") => torchhd::clipped_hopfield(golden, on),
        _ if source.starts_with("torchhd.memory") => torchhd::memories(golden, on),
        _ => Err(Failure::Case(format!("no system {system:?} of source {source:?} is known"))),
    }
}

/// Where a case runs, and what is done wrong there.
#[derive(Clone, Copy)]
struct On<'a> {
    device: &'a Device,
    mistake: Option<Mistake>,
}

impl On<'_> {
    /// A memory of patterns under `rule`.
    fn memory(self, rule: Rule, dim: usize, keys: &[f32]) -> Result<Memory, Failure> {
        if self.mistake == Some(Mistake::SoftmaxForLinear) && rule.separation == Separation::Linear {
            let both: Vec<f32> = keys.iter().copied().chain(keys.iter().map(|key| -key)).collect();
            let imitation = Rule { separation: Separation::Softmax, beta: 1e-3 / dim as f32, ..rule };
            return Ok(self.filled(&MemoryOptions::new(dim, imitation), Patterns::new(&both))?);
        }
        Ok(self.filled(&MemoryOptions::new(dim, self.rule(rule)), Patterns::new(keys))?)
    }

    /// A memory of patterns with values under `rule`.
    fn with_values(
        self,
        rule: Rule,
        (dim, keys): (usize, &[f32]),
        (value_dim, values): (usize, &[f32]),
    ) -> Result<Memory, Failure> {
        let options = MemoryOptions::new(dim, self.rule(rule)).value_dim(value_dim);
        Ok(self.filled(&options, Patterns::new(keys).values(values))?)
    }

    fn filled(self, options: &MemoryOptions, patterns: Patterns<'_>) -> attractor::Result<Memory> {
        let mut memory = options.build(self.device)?;
        memory.add(patterns)?;
        Ok(memory)
    }

    /// The rule, with the mistake.
    fn rule(self, rule: Rule) -> Rule {
        let update = match (self.mistake, rule.update.activation) {
            (Some(Mistake::SelfTerm), _) => {
                let mut update = rule.update;
                update.remove_self = false;
                update
            }
            (Some(Mistake::SignOfZero), Activation::Sign { zero }) => rule.update.activation(other(zero)),
            _ => rule.update,
        };
        rule.then(update)
    }
}

/// Signs with another convention than `zero`.
fn other(zero: Zero) -> Activation {
    Activation::Sign { zero: if zero == Zero::Plus { Zero::Zero } else { Zero::Plus } }
}

/// Updates that end with signs.
fn signs(zero: Zero) -> Update {
    Update::default().activation(Activation::Sign { zero })
}

/// Numbers of a device in `f64`.
fn wide(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().map(|number| f64::from(*number)).collect()
}
