//! What is asked of a search.

use crate::error::{Error, Result};
use crate::mask::{Mask, MemoryExtent};
use crate::retrieval::bound::Bound;
use crate::retrieval::options::{RetrieveOptions, check_plan_for};
use crate::retrieval::top::MAX_TOP;
use crate::rule::{Rule, Separation, Similarity, Update};
use crate::strategy::{Faults, Overrides};

/// Options of a search ([`Memory::search`](crate::Memory::search)). A number is how many patterns to find:
///
/// ```
/// use attractor::SearchOptions;
/// let ten: SearchOptions = 10.into();
/// let close = SearchOptions::default().top(10).at_least(0.8);
/// assert_eq!((ten.get_top(), close.get_at_least()), (10, Some(0.8)));
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct SearchOptions {
    pub(crate) top: usize,
    pub(crate) bound: Option<Bound>,
    pub(crate) mask: Option<Mask>,
    pub(crate) plan_for: Option<usize>,
    /// What tests and measurements set ([`internals`](crate::internals)).
    pub(crate) overrides: Overrides,
    pub(crate) faults: Faults,
}

impl Default for SearchOptions {
    /// As many patterns as a search finds: [`MAX_TOP`].
    fn default() -> Self {
        let (overrides, faults) = (Overrides::default(), Faults::NONE);
        Self { top: MAX_TOP, bound: None, mask: None, plan_for: None, overrides, faults }
    }
}

impl From<usize> for SearchOptions {
    fn from(top: usize) -> Self {
        Self::default().top(top)
    }
}

impl From<&Self> for SearchOptions {
    fn from(options: &Self) -> Self {
        options.clone()
    }
}

impl SearchOptions {
    /// Finds at most this many patterns for each query: at least 1, and at most [`MAX_TOP`], the default.
    pub fn top(mut self, patterns: usize) -> Self {
        self.top = patterns;
        self
    }

    /// Finds only patterns of at least this similarity, and counts all of them ([`Hits::found`](crate::Hits::found)).
    /// For dot and cosine similarity.
    pub fn at_least(mut self, similarity: f32) -> Self {
        self.bound = Some(Bound::AtLeast(similarity));
        self
    }

    /// Finds only patterns within this distance, and counts all of them ([`Hits::found`](crate::Hits::found)). For
    /// euclidean similarity, of which it is the square `|x - k|^2`, and for manhattan similarity.
    pub fn at_most(mut self, distance: f32) -> Self {
        self.bound = Some(Bound::AtMost(distance));
        self
    }

    /// Searches only the patterns that `mask` keeps; by default all.
    pub fn mask(mut self, mask: Mask) -> Self {
        self.mask = Some(mask);
        self
    }

    /// As [`RetrieveOptions::plan_for`].
    pub fn plan_for(mut self, batch: usize) -> Self {
        self.plan_for = Some(batch);
        self
    }

    /// What [`SearchOptions::top`] set.
    pub fn get_top(&self) -> usize {
        self.top
    }

    /// What [`SearchOptions::at_least`] set.
    pub fn get_at_least(&self) -> Option<f32> {
        self.bound.and_then(Bound::at_least)
    }

    /// What [`SearchOptions::at_most`] set.
    pub fn get_at_most(&self) -> Option<f32> {
        self.bound.and_then(Bound::at_most)
    }

    /// What [`SearchOptions::mask`] set.
    pub fn get_mask(&self) -> Option<&Mask> {
        self.mask.as_ref()
    }

    /// What [`SearchOptions::plan_for`] set.
    pub fn get_plan_for(&self) -> Option<usize> {
        self.plan_for
    }

    /// Refuses options that do not fit a batch of `batch` queries against `memory`, whose similarity this is.
    pub(crate) fn validate(
        &self,
        operation: &'static str,
        batch: usize,
        similarity: Similarity,
        memory: &MemoryExtent,
    ) -> Result<()> {
        let refuse = |parameter, expected, got: String| Err(Error::Parameter { operation, parameter, expected, got });
        if !(1..=MAX_TOP).contains(&self.top) {
            return refuse("top", "at least 1 and at most 1024", self.top.to_string());
        }
        check_plan_for(operation, self.plan_for)?;
        if let Some(bound) = self.bound {
            bound.check(operation, similarity)?;
        }
        self.mask.as_ref().map_or(Ok(()), |mask| mask.check(operation, batch, memory))
    }

    /// The least score of a hit, where scores are similarities as [`Similarity`] defines them.
    pub(crate) fn least_score(&self, similarity: Similarity) -> Option<f32> {
        self.bound.map(|bound| match bound {
            Bound::AtLeast(least) => least,
            Bound::AtMost(most) => most / similarity.measure_factor(),
        })
    }

    /// The retrieval under [`search_rule`] that scores what is searched.
    pub(crate) fn as_retrieval(&self) -> RetrieveOptions {
        RetrieveOptions {
            mask: self.mask.clone(),
            plan_for: self.plan_for,
            overrides: self.overrides.clone(),
            faults: self.faults.clone(),
            ..RetrieveOptions::default()
        }
    }
}

/// The rule under which the scores of a memory that recalls by `rule` are similarities, and the `top` largest count.
pub(crate) fn search_rule(rule: Rule, top: usize) -> Rule {
    Rule { separation: Separation::TopK { k: top }, beta: 1.0, update: Update::default(), ..rule }
}
