//! The merge of partial states, and the answer that all of them give.

use crate::error::{Error, Result};
use crate::exact::separation;
use crate::partial::state::{Body, Candidate, Mean, Partial};
use crate::retrieval::report::{Statistics, Status};
use crate::rule::Separation;

/// The answer to one query from all parts of a memory.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MergedRetrieval {
    /// `y = sum_i p_i v_i`, `dv` long (`d` where keys are their own values).
    pub output: Vec<f32>,
    /// The next state `x' = sum_i p_i k_i`, `d` long.
    pub state: Vec<f32>,
    /// How many patterns it covers, `N`.
    pub patterns: u64,
    /// Whether any pattern was covered.
    pub status: Status,
    /// Statistics of the weights. The support of softmax and softmax1 is every pattern.
    pub statistics: Statistics,
}

/// Drops the candidates that the others rule out, and sorts the rest by id.
pub(crate) fn prune(separation: Separation, candidates: &mut Vec<Candidate>) {
    separation::prune(separation, candidates, |candidate| (candidate.score, candidate.id));
    candidates.sort_by_key(|candidate| candidate.id);
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
            _ => unreachable!("the rule determines the kind"),
        };
        Ok(Self { patterns, body, ..self })
    }

    /// The answer, after every part has been merged.
    pub fn finish(self) -> MergedRetrieval {
        let columns = self.columns();
        let (rows, support, entropy, largest, nothing) = match self.body {
            Body::Mean(mean) if mean.log_sum == f64::NEG_INFINITY => (vec![0.0; columns], 0, 0.0, 0.0, true),
            Body::Mean(mean) => {
                // log(1 + e^L); only its differences from L and from the scores are used.
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
                for (candidate, weight) in candidates.iter().zip(separation::weights(self.rule.separation, &entries)) {
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
        MergedRetrieval {
            output: narrow(if self.value_dim.is_some() { value } else { state }),
            state: narrow(state),
            patterns: self.patterns,
            status: if nothing { Status::NothingLeft } else { Status::Answered },
            statistics: Statistics::new(support, perplexity, largest as f32, self.patterns as usize),
        }
    }
}
