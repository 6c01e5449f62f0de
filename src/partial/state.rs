//! The partial state of one query.

use crate::partial::top::Best;
use crate::rule::{Rule, Separation};

/// One update of one query over some of the patterns of a memory, to be merged with the partial states over the others.
///
/// Softmax and softmax1 are kept as the log-sum-exp of the scores and the normalised next state and output (the merge
/// of split attention; Milakov 2018, Dao 2022, FlashInfer's `merge_state`). The sparse rules are kept as the patterns
/// whose scores are within `1/(alpha-1)` of the largest, which are all that can have weight (Peters et al. 2019), and
/// topk as the `k` best; each with its key and value, so that the size of such a partial state is that of its largest
/// support. Separations that are not normalised are kept as the weighted sums themselves, with
/// [`MergedRetrieval::self_coupling`](super::MergedRetrieval::self_coupling).
///
/// [`Partial::merge`] is associative and, within rounding, independent of the order. Parts must not overlap: a pattern
/// in two of them counts twice.
///
/// ```
/// use attractor::partial::{Partial, PartialOptions};
/// use attractor::{Device, Memory, RetrieveOptions, Rule};
/// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(3.0))?;
/// memory.add(&[1.0, 0.0, 0.0, 1.0, 0.5, 0.5])?;
/// let query = [0.9, 0.1];
/// let part = |subset| PartialOptions::default().subset(subset);
/// let left = memory.retrieve_partial_blocking(&query, &part(0..1))?.remove(0);
/// let right = memory.retrieve_partial_blocking(&query, &part(1..3))?.remove(0);
/// let sent = Partial::from_bytes(&right.to_bytes())?;
/// let whole = left.merge(sent)?.finish();
/// let expected = memory.retrieve_blocking(&query, &RetrieveOptions::default())?;
/// assert!((whole.output[0] - expected.output[0]).abs() < 1e-6);
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Partial {
    pub(crate) rule: Rule,
    /// `d`.
    pub(crate) dim: usize,
    /// `dv`, where the memory has values.
    pub(crate) value_dim: Option<usize>,
    /// How many patterns it covers.
    pub(crate) patterns: u64,
    pub(crate) body: Body,
    /// The patterns of largest score that are reported.
    pub(crate) best: Best,
}

/// What is kept of the patterns, by the kind of the separation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    Mean(Mean),
    Candidates(Vec<Candidate>),
    Sums(Sums),
}

/// Softmax over some patterns, normalised over these.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mean {
    /// `log sum exp z`; `-inf` without patterns.
    pub log_sum: f64,
    /// `sum p z`, for the entropy.
    pub score: f64,
    /// The largest score.
    pub largest: f64,
    /// `sum p k`, then `sum p v` if the memory has values.
    pub rows: Vec<f64>,
}

/// The sums of some patterns, by weights that are not normalised. Numbers beyond `f64` are its largest.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sums {
    /// `T`.
    pub of_self: f64,
    /// `sum w k`, then `sum w v` if the memory has values.
    pub rows: Vec<f64>,
}

impl Sums {
    /// Sums of which some may not be finite.
    pub fn of(mut of_self: f64, mut rows: Vec<f64>) -> Self {
        for number in rows.iter_mut().chain([&mut of_self]) {
            *number = if number.is_nan() { f64::MAX } else { number.clamp(f64::MIN, f64::MAX) + 0.0 };
        }
        Self { of_self, rows }
    }
}

/// A pattern that can have weight.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub score: f64,
    pub id: u64,
    /// The key, then the value if the memory has values.
    pub row: Vec<f32>,
}

impl Body {
    /// The partial state over no pattern, with rows of `columns` floats.
    pub fn empty(separation: Separation, columns: usize) -> Self {
        match separation {
            Separation::Softmax | Separation::Softmax1 => {
                let none = f64::NEG_INFINITY;
                Self::Mean(Mean { log_sum: none, score: 0.0, largest: none, rows: vec![0.0; columns] })
            }
            _ if !separation.is_normalized() => Self::Sums(Sums { of_self: 0.0, rows: vec![0.0; columns] }),
            _ => Self::Candidates(Vec::new()),
        }
    }
}

impl Partial {
    /// The rule that made it.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// How many patterns it covers.
    pub fn patterns(&self) -> u64 {
        self.patterns
    }

    /// Floats of one row: of the key, and of the value if the memory has values.
    pub(crate) fn columns(&self) -> usize {
        self.dim + self.value_dim.unwrap_or(0)
    }
}
