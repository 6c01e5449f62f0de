//! Partial states: what some of the patterns make of one query, so that shards, wherever they are, answer as one memory.

use std::ops::Range;

use crate::cpu;
use crate::error::{Error, Result};
use crate::mask::Mask;
use crate::mask::MemoryExtent;
use crate::retrieval::report::{Statistics, Status};
use crate::room::room;
use crate::rule::{Rule, Separation, Similarity};

/// One update of one query over some of the patterns of a memory, which merges with those over the others.
///
/// Softmax and softmax1 are held as the log-sum-exp of the scores and the normalised next state and output (the merge of
/// split attention; Milakov 2018, Dao 2022, FlashInfer's `merge_state`). The sparse rules are held as the patterns whose
/// scores are within `1/(alpha-1)` of the largest, which are all that can have weight (Peters et al. 2019), and topk as
/// the `k` best; each with its key and value, so that such a partial is as large as its support may be.
///
/// [`Partial::merge`] is associative and, within rounding, independent of the order. The parts must not overlap: a
/// pattern in two of them counts twice.
///
/// ```
/// use attractor::{Device, Memory, Partial, PartialOptions, Rule};
/// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(3.0))?;
/// memory.add(&[1.0, 0.0, 0.0, 1.0, 0.5, 0.5])?;
/// let query = [0.9, 0.1];
/// let part = |subset| PartialOptions::default().subset(subset);
/// let left = memory.retrieve_partial_blocking(&query, &part(0..1))?.remove(0);
/// let right = memory.retrieve_partial_blocking(&query, &part(1..3))?.remove(0);
/// let sent = Partial::from_bytes(&right.to_bytes())?;
/// let whole = left.merge(sent)?.finish();
/// let expected = memory.retrieve_blocking(&query)?;
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
}

/// Which patterns a partial state covers; all that are stored by default.
///
/// ```
/// use attractor::{Mask, PartialOptions};
/// let second_shard = PartialOptions::default().first_id(1_000_000);
/// let some = PartialOptions::default().subset(10..20).mask(Mask::keep(&[true; 30]));
/// # let _ = (second_shard, some);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PartialOptions {
    /// Only the patterns at these positions; all when absent.
    pub subset: Option<Range<usize>>,
    /// Of these, only the ones that each query may use. What a mask leaves out is not covered: for that query it does
    /// not exist.
    pub mask: Option<Mask>,
    /// Where ties are broken by index (top-k), the index is that of the position plus this, so that shards of one memory
    /// that start where others end are told apart.
    pub first_id: u64,
}

impl PartialOptions {
    /// Sets [`PartialOptions::subset`].
    pub fn subset(mut self, positions: Range<usize>) -> Self {
        self.subset = Some(positions);
        self
    }

    /// Sets [`PartialOptions::mask`].
    pub fn mask(mut self, mask: Mask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Sets [`PartialOptions::first_id`].
    pub fn first_id(mut self, id: u64) -> Self {
        self.first_id = id;
        self
    }

    /// The positions of the subset, of `positions` in all.
    pub(crate) fn range(&self, positions: usize) -> Range<usize> {
        self.subset.clone().unwrap_or(0..positions)
    }

    /// Refuses options that do not fit `batch` queries of `memory`.
    pub(crate) fn validate(&self, operation: &'static str, batch: usize, memory: &MemoryExtent) -> Result<()> {
        let positions = memory.patterns;
        let subset = self.range(positions);
        if subset.start > subset.end || subset.end > positions {
            return Err(Error::Parameter {
                operation,
                parameter: "subset",
                expected: "a rising range of positions of the memory",
                got: format!("{subset:?} of {positions}"),
            });
        }
        self.mask.as_ref().map_or(Ok(()), |mask| mask.check(operation, batch, memory))
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Body {
    Mean(Mean),
    Candidates(Vec<Candidate>),
}

/// Softmax over some patterns, normalised over these.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Mean {
    /// `log sum exp z`; `-inf` over no pattern.
    pub log_sum: f64,
    /// `sum p z`, for the entropy.
    pub score: f64,
    /// The largest score.
    pub largest: f64,
    /// `sum p k`, then `sum p v` where there are values.
    pub rows: Vec<f64>,
}

/// A pattern that can have weight.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub score: f64,
    pub id: u64,
    /// The key, then the value where there are values.
    pub row: Vec<f32>,
}

/// What all parts of a memory make of one query.
#[derive(Clone, Debug, PartialEq)]
pub struct Finished {
    /// `y = sum_i p_i v_i`, `dv` long (`d` where keys are their own values).
    pub output: Vec<f32>,
    /// The next state `x' = sum_i p_i k_i`, `d` long.
    pub state: Vec<f32>,
    /// How many patterns it covers, `N`.
    pub patterns: u64,
    /// Whether there was any pattern.
    pub status: Status,
    /// What the weights look like. The support of softmax and softmax1 is every pattern.
    pub statistics: Statistics,
}

const MAGIC: &[u8; 8] = b"ATTRPART";
const VERSION: u32 = 1;
const NO_VALUES: u64 = u64::MAX;
const FROM_BYTES: &str = "Partial::from_bytes";

/// Drops the candidates that the others rule out, and sorts the rest by id.
pub(crate) fn prune(separation: Separation, candidates: &mut Vec<Candidate>) {
    let within = |candidates: &mut Vec<Candidate>, alpha: f64| {
        let largest = candidates.iter().fold(f64::NEG_INFINITY, |most, candidate| most.max(candidate.score));
        candidates.retain(|candidate| (alpha - 1.0) * (largest - candidate.score) <= 1.0);
    };
    match separation {
        Separation::Sparsemax => within(candidates, 2.0),
        Separation::Entmax { alpha } => within(candidates, f64::from(alpha)),
        Separation::TopK { k } => {
            candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
            candidates.truncate(k);
        }
        Separation::Softmax | Separation::Softmax1 => {}
    }
    candidates.sort_by_key(|candidate| candidate.id);
}

impl Body {
    /// What no pattern makes of a query, in rows of `columns`.
    pub fn nothing(separation: Separation, columns: usize) -> Self {
        match separation {
            Separation::Softmax | Separation::Softmax1 => {
                let none = f64::NEG_INFINITY;
                Self::Mean(Mean { log_sum: none, score: 0.0, largest: none, rows: vec![0.0; columns] })
            }
            _ => Self::Candidates(Vec::new()),
        }
    }
}

impl Mean {
    fn merge(mut self, other: Self) -> Self {
        if self.log_sum == f64::NEG_INFINITY {
            return other;
        }
        if other.log_sum == f64::NEG_INFINITY {
            return self;
        }
        let high = self.log_sum.max(other.log_sum);
        let log_sum = high + ((self.log_sum - high).exp() + (other.log_sum - high).exp()).ln();
        let (mine, theirs) = ((self.log_sum - log_sum).exp(), (other.log_sum - log_sum).exp());
        let mean = |a: f64, b: f64| (mine * a + theirs * b) / (mine + theirs);
        for (row, other) in self.rows.iter_mut().zip(&other.rows) {
            *row = mean(*row, *other);
        }
        Self {
            log_sum,
            score: mean(self.score, other.score),
            largest: self.largest.max(other.largest),
            rows: self.rows,
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

    /// Floats of one row: of the key, and of the value where there are values.
    fn columns(&self) -> usize {
        self.dim + self.value_dim.unwrap_or(0)
    }

    /// The partial state over the patterns of both.
    ///
    /// # Errors
    /// [`Error::Shape`] where the two have different rules or widths, or cover more than 2^64 patterns.
    pub fn merge(self, other: Self) -> Result<Self> {
        let refuse = |expected, got| Err(Error::Shape { operation: "Partial::merge", expected, got });
        if self.rule != other.rule {
            return refuse(format!("a partial state of {:?}", self.rule), format!("one of {:?}", other.rule));
        }
        if (self.dim, self.value_dim) != (other.dim, other.value_dim) {
            let say = |partial: &Self| format!("d = {}, dv = {:?}", partial.dim, partial.value_dim);
            return refuse(format!("a partial state of {}", say(&self)), format!("one of {}", say(&other)));
        }
        let Some(patterns) = self.patterns.checked_add(other.patterns) else {
            return refuse("at most 2^64 patterns".into(), format!("{} and {}", self.patterns, other.patterns));
        };
        let body = match (self.body, other.body) {
            (Body::Mean(mine), Body::Mean(other)) => Body::Mean(mine.merge(other)),
            (Body::Candidates(mut mine), Body::Candidates(other)) => {
                mine.extend(other);
                prune(self.rule.separation, &mut mine);
                Body::Candidates(mine)
            }
            _ => unreachable!("the rule says which it is"),
        };
        Ok(Self { patterns, body, ..self })
    }

    /// The answer, once every part has been merged.
    pub fn finish(self) -> Finished {
        let columns = self.columns();
        let (rows, support, entropy, largest, nothing) = match self.body {
            Body::Mean(mean) if mean.log_sum == f64::NEG_INFINITY => (vec![0.0; columns], 0, 0.0, 0.0, true),
            Body::Mean(mean) => {
                // log(1 + e^L), of which only the differences from L and from the scores matter.
                let total = match self.rule.separation {
                    Separation::Softmax1 => {
                        let high = mean.log_sum.max(0.0);
                        high + ((mean.log_sum - high).exp() + (-high).exp()).ln()
                    }
                    _ => mean.log_sum,
                };
                let share = (mean.log_sum - total).exp();
                let rows = mean.rows.iter().map(|row| row * share).collect();
                let support = u32::try_from(self.patterns).unwrap_or(u32::MAX);
                (rows, support, share * (total - mean.score), (mean.largest - total).exp(), false)
            }
            Body::Candidates(candidates) => {
                let entries: Vec<(f64, usize)> =
                    candidates.iter().enumerate().map(|(i, candidate)| (candidate.score, i)).collect();
                let mut rows = vec![0.0; columns];
                let (mut support, mut entropy, mut largest) = (0, 0.0, 0.0f64);
                for (candidate, weight) in candidates.iter().zip(cpu::weights(self.rule.separation, &entries)) {
                    support += u32::from(weight as f32 > 0.0);
                    if weight > 0.0 {
                        entropy -= weight * weight.ln();
                    }
                    largest = largest.max(weight);
                    for (sum, value) in rows.iter_mut().zip(&candidate.row) {
                        *sum += weight * f64::from(*value);
                    }
                }
                (rows, support, entropy, largest, candidates.is_empty())
            }
        };
        let narrow = |rows: &[f64]| -> Vec<f32> { rows.iter().map(|v| *v as f32).collect() };
        let perplexity = if nothing || largest as f32 == 0.0 { 0.0 } else { entropy.exp() as f32 };
        let (state, value) = rows.split_at(self.dim);
        Finished {
            output: narrow(if self.value_dim.is_some() { value } else { state }),
            state: narrow(state),
            patterns: self.patterns,
            status: if nothing { Status::NothingLeft } else { Status::Answered },
            statistics: Statistics::new(support, perplexity, largest as f32, self.patterns as usize),
        }
    }

    /// The partial state as bytes, little-endian: magic, version, rule, widths, and the numbers.
    pub fn to_bytes(&self) -> Vec<u8> {
        let (separation, alpha, k) = match self.rule.separation {
            Separation::Softmax => (0, 0.0, 0),
            Separation::Softmax1 => (1, 0.0, 0),
            Separation::Sparsemax => (2, 0.0, 0),
            Separation::Entmax { alpha } => (3, alpha, 0),
            Separation::TopK { k } => (4, 0.0, k as u64),
        };
        let similarity = match self.rule.similarity {
            Similarity::Dot => 0,
            Similarity::Cosine => 1,
            Similarity::Euclidean => 2,
            Similarity::Manhattan => 3,
        };
        let mut bytes = MAGIC.to_vec();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([similarity, separation]);
        bytes.extend(self.rule.beta.to_le_bytes());
        bytes.extend(f32::to_le_bytes(alpha));
        for number in [k, self.dim as u64, self.value_dim.map_or(NO_VALUES, |dv| dv as u64), self.patterns] {
            bytes.extend(number.to_le_bytes());
        }
        match &self.body {
            Body::Mean(mean) => {
                for number in [mean.log_sum, mean.score, mean.largest].iter().chain(&mean.rows) {
                    bytes.extend(number.to_le_bytes());
                }
            }
            Body::Candidates(candidates) => {
                bytes.extend((candidates.len() as u64).to_le_bytes());
                if candidates.is_empty() {
                    // So that no reader allocates for widths that the bytes do not fill.
                    bytes.resize(bytes.len() + self.columns(), 0);
                }
                for candidate in candidates {
                    bytes.extend(candidate.score.to_le_bytes());
                    bytes.extend(candidate.id.to_le_bytes());
                    candidate.row.iter().for_each(|value| bytes.extend(value.to_le_bytes()));
                }
            }
        }
        bytes
    }

    /// Reads what [`Partial::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`Error::Shape`] for bytes that are not a partial state, of another version, of another length than their widths
    /// ask for, or with numbers that none would have; [`Error::Parameter`] for a rule outside its domain. Nothing is
    /// allocated that the bytes do not fill.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader { bytes };
        if reader.take::<8>()? != *MAGIC {
            return reader.refuse("a partial state that starts with ATTRPART", "other bytes");
        }
        let version = u32::from_le_bytes(reader.take()?);
        if version != VERSION {
            return reader.refuse(&format!("version {VERSION}"), &format!("version {version}"));
        }
        let [similarity, separation] = reader.take()?;
        let beta = f32::from_le_bytes(reader.take()?);
        let alpha = f32::from_le_bytes(reader.take()?);
        let [k, dim, value_dim, patterns] = [reader.number()?, reader.number()?, reader.number()?, reader.number()?];
        let similarity = match similarity {
            0 => Similarity::Dot,
            1 => Similarity::Cosine,
            2 => Similarity::Euclidean,
            3 => Similarity::Manhattan,
            other => return reader.refuse("a similarity from 0 to 3", &other.to_string()),
        };
        let separation = match separation {
            0 => Separation::Softmax,
            1 => Separation::Softmax1,
            2 => Separation::Sparsemax,
            3 => Separation::Entmax { alpha },
            4 => Separation::TopK { k: usize::try_from(k).unwrap_or(usize::MAX) },
            other => return reader.refuse("a separation from 0 to 4", &other.to_string()),
        };
        let rule = Rule::new(similarity, separation, beta);
        rule.validate()?;
        let wide = |columns: u64| usize::try_from(columns).ok().filter(|columns| *columns <= bytes.len());
        let value_dim = match value_dim {
            NO_VALUES => Some(None),
            columns => wide(columns).filter(|columns| *columns > 0).map(Some),
        };
        let (Some(dim), Some(value_dim)) = (wide(dim).filter(|dim| *dim > 0), value_dim) else {
            return reader.refuse("widths above 0 that the bytes can fill", &format!("{} bytes", bytes.len()));
        };
        // Neither is above the number of bytes, so the sum does not overflow.
        let columns = dim + value_dim.unwrap_or(0);
        let scores = largest_score(dim);
        let body = match separation {
            Separation::Softmax | Separation::Softmax1 => Body::Mean(reader.mean(columns, patterns, scores)?),
            _ => Body::Candidates(reader.candidates(columns, patterns, scores, separation)?),
        };
        Ok(Self { rule, dim, value_dim, patterns, body })
    }
}

/// No score of finite keys and queries of `dim` dimensions is larger in magnitude: beta times d products, or d squares
/// of differences, and a bias.
fn largest_score(dim: usize) -> f64 {
    let most = f64::from(f32::MAX);
    most * (2.0 * most * most * dim as f64) + most
}

/// A mean of finite floats, within the rounding of sums.
fn is_mean(value: f64) -> bool {
    value.abs() <= f64::from(f32::MAX) * (1.0 + 1e-8)
}

/// Bytes that are left to read.
struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    #[allow(clippy::unused_self, reason = "it reads as what the reader does")]
    fn refuse<T>(&self, expected: &str, got: &str) -> Result<T> {
        Err(Error::Shape { operation: FROM_BYTES, expected: expected.into(), got: got.into() })
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((taken, rest)) = self.bytes.split_first_chunk() else {
            return self.refuse(&format!("{N} more bytes"), &format!("{}", self.bytes.len()));
        };
        self.bytes = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    /// A number that a sum of finite rows gives.
    fn finite(&mut self) -> Result<f64> {
        let value = f64::from_le_bytes(self.take()?);
        if value.is_finite() { Ok(value) } else { self.refuse("finite numbers", &value.to_string()) }
    }

    /// Refuses a rest that is not `count` times `each` bytes long.
    fn holds(&self, count: u64, each: u64) -> Result<()> {
        match count.checked_mul(each) {
            Some(length) if length == self.bytes.len() as u64 => Ok(()),
            _ => self.refuse(&format!("{count} times {each} more bytes"), &format!("{}", self.bytes.len())),
        }
    }

    fn mean(&mut self, columns: usize, patterns: u64, scores: f64) -> Result<Mean> {
        self.holds(3 + columns as u64, 8)?;
        let log_sum = f64::from_le_bytes(self.take()?);
        let score = self.finite()?;
        let largest = f64::from_le_bytes(self.take()?);
        let most = (patterns as f64).ln();
        // Over patterns, the log-sum-exp is between the largest score and that of as many equal ones; what it is above
        // the mean score is the entropy, which is that of as many equal weights at the most. Devices sum in `f32`.
        let rounding = 1e-9 * (1.0 + largest.abs());
        let likely = match patterns {
            0 => [log_sum, score, largest] == [f64::NEG_INFINITY, 0.0, f64::NEG_INFINITY],
            _ => {
                largest.abs() <= scores
                    && (-rounding..=most + rounding).contains(&(log_sum - largest))
                    && score <= largest + rounding
                    && log_sum - score <= most + rounding + 1e-3 * (1.0 + most)
            }
        };
        if !likely {
            let got = format!("a log-sum-exp of {log_sum} beside a largest score of {largest} and a mean of {score}");
            return self.refuse(&format!("those of {patterns} patterns"), &got);
        }
        let mut rows = room(FROM_BYTES, "rows", columns)?;
        for _ in 0..columns {
            let value = f64::from_le_bytes(self.take()?);
            if !is_mean(value) || (patterns == 0 && value != 0.0) {
                return self.refuse("a mean of finite rows", &value.to_string());
            }
            rows.push(value);
        }
        Ok(Mean { log_sum, score, largest, rows })
    }

    fn candidates(
        &mut self,
        columns: usize,
        patterns: u64,
        scores: f64,
        separation: Separation,
    ) -> Result<Vec<Candidate>> {
        let count = self.number()?;
        let most = match separation {
            Separation::TopK { k } => patterns.min(k as u64),
            _ => patterns,
        };
        if count > most || (count == 0) != (patterns == 0) {
            return self.refuse(&format!("at most {most} candidates of {patterns} patterns"), &count.to_string());
        }
        if count == 0 {
            let padding = std::mem::take(&mut self.bytes);
            return match padding.len() == columns && padding.iter().all(|byte| *byte == 0) {
                true => Ok(Vec::new()),
                false => self.refuse(&format!("{columns} zeros and no more"), &format!("{} bytes", padding.len())),
            };
        }
        self.holds(count, 16 + 4 * columns as u64)?;
        let mut candidates: Vec<Candidate> = room(FROM_BYTES, "candidates", count as usize)?;
        for _ in 0..count {
            let score = self.finite()?;
            if score.abs() > scores {
                return self.refuse("a score of finite rows", &score.to_string());
            }
            let id = self.number()?;
            let mut row = room(FROM_BYTES, "rows", columns)?;
            for _ in 0..columns {
                let value = f32::from_le_bytes(self.take()?);
                if !value.is_finite() {
                    return self.refuse("finite numbers", &value.to_string());
                }
                row.push(value);
            }
            candidates.push(Candidate { score, id, row });
        }
        let read = candidates.len();
        prune(separation, &mut candidates);
        if candidates.len() < read {
            let got = format!("{} that the others rule out", read - candidates.len());
            return self.refuse("candidates that can have weight", &got);
        }
        Ok(candidates)
    }
}
