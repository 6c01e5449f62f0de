//! The merge of partial states, and the answer that all of them give.

use crate::error::{Error, Result};
use crate::exact::separation;
use crate::exact::unnormalized::Unnormalized;
use crate::partial::state::{Body, Candidate, Mean, Partial, Sums};
use crate::partial::top::{Scored, TopPattern};
use crate::retrieval::report::{Statistics, Status};
use crate::rule::Separation;

/// The answer to one query from all parts of a memory.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct MergedRetrieval {
    /// `y = sum_i p_i v_i`, `dv` long (`d` where keys are their own values).
    pub output: Vec<f32>,
    /// `sum_i p_i k_i`, `d` long: the next state `x'` of rules whose updates end with the sums. What an
    /// [`Update`](crate::Update) makes of the sums is for the caller to compute.
    pub state: Vec<f32>,
    /// `T`, the coupling of every coordinate with itself ([`Update::remove_self`](crate::Update::remove_self)); 0 unless
    /// the rule takes it away.
    pub self_coupling: f64,
    /// How many patterns it covers, `N`.
    pub patterns: u64,
    /// Whether any pattern was covered; [`Status::OutOfRange`], beside sums of zero, where sums of weights that are not
    /// normalised are beyond the range of `f32`.
    pub status: Status,
    /// Statistics of the weights, zeros where these are not normalised. The support of softmax and softmax1 is every
    /// pattern.
    pub statistics: Statistics,
    /// The patterns of largest weight, in falling order of weight (of score, where weights are equal; then of rising
    /// index): as many as [`PartialOptions::top`](super::PartialOptions::top) asked for, or all where there are fewer.
    pub top: Vec<TopPattern>,
}

/// Drops the candidates that the others rule out, and sorts the rest by id.
pub(crate) fn prune(separation: Separation, candidates: &mut Vec<Candidate>) {
    separation::prune(separation, candidates, |candidate| (candidate.score, candidate.id));
    candidates.sort_by_key(|candidate| candidate.id);
}

/// The weight of a pattern: that of the candidate it is, of those by rising index.
fn weight_among(candidates: &[Candidate], weights: &[f64], scored: &Scored) -> f64 {
    let first = candidates.partition_point(|candidate| candidate.id < scored.id);
    let same = candidates[first..].iter().take_while(|candidate| candidate.id == scored.id).zip(&weights[first..]);
    same.filter(|(candidate, _)| candidate.score == scored.score).map(|(_, weight)| *weight).next().unwrap_or(0.0)
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
        if self.best.k != other.best.k {
            let say = |partial: &Self| format!("{} patterns of largest weight", partial.best.k);
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
            (Body::Sums(mine), Body::Sums(other)) => {
                let rows = mine.rows.iter().zip(&other.rows).map(|(mine, other)| mine + other).collect();
                Body::Sums(Sums::of(mine.of_self + other.of_self, rows))
            }
            _ => unreachable!("the rule determines the kind"),
        };
        let best = self.best.merge(other.best);
        Ok(Self { patterns, body, best, ..self })
    }

    /// The answer, after every part has been merged.
    pub fn finish(self) -> MergedRetrieval {
        let columns = self.columns();
        let best = &self.best;
        let beta = f64::from(self.rule.beta);
        let self_coupling = match &self.body {
            Body::Sums(sums) => sums.of_self,
            _ if self.rule.update.remove_self && self.patterns > 0 => beta.tanh(),
            _ => 0.0,
        };
        let (rows, support, entropy, largest, top) = match self.body {
            Body::Mean(mean) if mean.log_sum == f64::NEG_INFINITY => (vec![0.0; columns], 0, 0.0, 0.0, None),
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
                let top = best.weighed(|scored| (scored.score - total).exp());
                (rows, support, share * (total - mean.score), (mean.largest - total).exp(), Some(top))
            }
            Body::Candidates(candidates) => {
                let entries: Vec<(f64, usize)> =
                    candidates.iter().enumerate().map(|(i, candidate)| (candidate.score, i)).collect();
                let mut rows = vec![0.0; columns];
                let (mut support, mut entropy, mut largest) = (0, 0.0, 0.0f64);
                let weights = separation::weights(self.rule.separation, &entries);
                for (candidate, &weight) in candidates.iter().zip(&weights) {
                    support += u32::from(weight as f32 > 0.0);
                    if weight > 0.0 {
                        entropy -= weight * weight.ln();
                    }
                    largest = largest.max(weight);
                    for (sum, value) in rows.iter_mut().zip(&candidate.row) {
                        *sum += weight * f64::from(*value);
                    }
                }
                let top = best.weighed(|scored| weight_among(&candidates, &weights, scored));
                (rows, support, entropy, largest, (!candidates.is_empty()).then_some(top))
            }
            Body::Sums(sums) => {
                let weigher = Unnormalized::of(&self.rule, beta);
                let weight = |scored: &Scored| weigher.map_or(0.0, |weigher| weigher.count(scored.score).weight);
                (sums.rows, 0, 0.0, 0.0, (self.patterns > 0).then(|| best.weighed(weight)))
            }
        };
        let narrow = |rows: &[f64]| -> Vec<f32> { rows.iter().map(|v| *v as f32).collect() };
        let perplexity = if top.is_none() || largest as f32 == 0.0 { 0.0 } else { entropy.exp() as f32 };
        let in_range = rows.iter().all(|sum| (*sum as f32).is_finite());
        let rows = if in_range { rows } else { vec![0.0; columns] };
        let status = match &top {
            None => Status::NothingLeft,
            Some(_) if in_range => Status::Answered,
            Some(_) => Status::OutOfRange,
        };
        let (state, value) = rows.split_at(self.dim);
        MergedRetrieval {
            output: narrow(if self.value_dim.is_some() { value } else { state }),
            state: narrow(state),
            patterns: self.patterns,
            self_coupling,
            status,
            statistics: Statistics::new(support, perplexity, largest as f32, self.patterns as usize),
            top: top.unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_the_same_pattern() {
        let candidate = |(id, score)| Candidate { score, id, row: Vec::new() };
        let candidates = [(1, 0.0), (3, 2.0), (3, 1.0), (8, 2.0)].map(candidate);
        let of = |score, id| weight_among(&candidates, &[0.1, 0.2, 0.3, 0.4], &Scored { score, id, similarity: 0.0 });
        assert_eq!([of(0.0, 1), of(2.0, 3), of(1.0, 3), of(2.0, 8)], [0.1, 0.2, 0.3, 0.4]);
        assert_eq!([of(0.0, 0), of(0.5, 3), of(2.0, 9)], [0.0; 3], "patterns without weight");
    }
}
