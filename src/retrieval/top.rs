//! Which of the patterns of largest weight are reported, and how many there are.

use super::bound::Bound;
use super::report::Top;
use crate::error::{Error, Result};
use crate::id::PatternId;
use crate::rule::Similarity;

/// The most patterns that [`RetrieveOptions::top`](crate::RetrieveOptions::top) may ask for.
pub const MAX_TOP: usize = 1024;

/// The thresholds of patterns that are reported.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Thresholds {
    /// The least weight.
    pub weight: Option<f32>,
    pub similarity: Option<Bound>,
}

/// A pattern with its weight and its similarity, as they are reported.
pub(crate) type Weighed = (Option<PatternId>, f32, f32);

impl Thresholds {
    /// Whether there is one, so that patterns are counted.
    pub fn counts(&self) -> bool {
        self.weight.is_some() || self.similarity.is_some()
    }

    /// How many patterns of largest weight are listed where `top` are reported: all that can have the least weight, of
    /// which there are no more than its reciprocal, and one, as weights are rounded.
    pub fn listed(&self, top: usize) -> usize {
        match self.weight {
            Some(weight) => top.max(((1.0 / f64::from(weight)) as usize).saturating_add(1).min(MAX_TOP)),
            None => top,
        }
    }

    /// Refuses thresholds outside their domain, and any where nothing is reported.
    ///
    /// # Errors
    /// [`Error::Parameter`].
    pub fn check(&self, operation: &'static str, top: usize, similarity: Similarity) -> Result<()> {
        let refuse = |parameter, expected, got: String| Err(Error::Parameter { operation, parameter, expected, got });
        if let Some(weight) = self.weight {
            if top == 0 {
                return refuse("weight_at_least", "left out without top", weight.to_string());
            }
            if !(1.0 / MAX_TOP as f32..=1.0).contains(&weight) {
                return refuse("weight_at_least", "at least 1/1024 and at most 1", weight.to_string());
            }
        }
        if let Some(bound) = self.similarity {
            bound.check(operation, similarity)?;
            if top == 0 {
                let (Bound::AtLeast(measure) | Bound::AtMost(measure)) = bound;
                return refuse(bound.name(), "left out without top", measure.to_string());
            }
        }
        Ok(())
    }

    fn are_met(&self, (_, weight, similarity): &Weighed) -> bool {
        self.weight.is_none_or(|least| *weight >= least)
            && self.similarity.is_none_or(|bound| bound.is_met(*similarity))
    }

    /// Hands the patterns that meet the thresholds, of those that are listed for a query, to `each`; returns how many.
    pub fn select(&self, listed: impl Iterator<Item = Weighed>, mut each: impl FnMut(Weighed)) -> u64 {
        let mut found = 0;
        for weighed in listed.filter(|weighed| self.are_met(weighed)) {
            each(weighed);
            found += 1;
        }
        found
    }
}

impl Top {
    /// Appends the patterns of the next query: of those that are listed, which are in order, the first `k` that meet
    /// the thresholds.
    pub(crate) fn push(&mut self, thresholds: &Thresholds, listed: impl Iterator<Item = Weighed>) {
        let end = self.ids.len() + self.k;
        let found = thresholds.select(listed, |(id, weight, similarity)| {
            if self.ids.len() < end {
                self.ids.push(id);
                self.weight.push(weight);
                self.similarity.push(similarity);
            }
        });
        self.ids.resize(end, None);
        self.weight.resize(end, 0.0);
        self.similarity.resize(end, 0.0);
        if let Some(counts) = &mut self.found {
            counts.push(found);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many patterns as can have a weight are listed, however it is rounded.
    #[test]
    fn every_pattern_of_a_least_weight_is_listed() {
        for count in 1..=MAX_TOP {
            for ulps in -2i32..=2 {
                let weight = f32::from_bits((1.0 / count as f32).to_bits().saturating_add_signed(ulps));
                let thresholds = Thresholds { weight: Some(weight), similarity: None };
                if thresholds.check("test", 1, Similarity::Dot).is_err() {
                    continue;
                }
                // As many equal weights as sum to 1, as they are reported.
                let most = (1..=MAX_TOP).rev().find(|n| 1.0 / *n as f32 >= weight).unwrap_or(0);
                assert!(thresholds.listed(1) >= most, "{weight}: {} of {most}", thresholds.listed(1));
            }
        }
    }

    #[test]
    fn what_meets_no_threshold_is_neither_reported_nor_counted() {
        let all = [(0, 0.5, 1.0), (1, 0.25, 3.0), (2, 0.25, 2.0), (3, 0.0, 2.5)];
        let listed = || all.iter().map(|(id, weight, similarity)| (Some(PatternId(*id)), *weight, *similarity));
        let top = |k, weight, similarity: Option<Bound>| {
            let mut top = Top { k, found: Some(Vec::new()), ..Top::default() };
            top.push(&Thresholds { weight, similarity }, listed());
            (top.ids.iter().map(|id| id.map(|id| id.0)).collect::<Vec<_>>(), top.found.unwrap())
        };
        assert_eq!(top(2, Some(0.25), None), (vec![Some(0), Some(1)], vec![3]));
        assert_eq!(top(3, Some(0.3), None), (vec![Some(0), None, None], vec![1]));
        assert_eq!(top(2, None, Some(Bound::AtLeast(2.0))), (vec![Some(1), Some(2)], vec![3]));
        assert_eq!(top(3, Some(0.25), Some(Bound::AtMost(2.0))), (vec![Some(0), Some(2), None], vec![2]));
    }
}
