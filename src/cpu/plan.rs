//! How a retrieval is computed: the form of its blocks, the splits of the patterns, the length of candidate lists, and
//! the method for each query.

use crate::cpu::candidates::Keep;
use crate::cpu::error_bound::{is_well_scaled, max_error};
use crate::cpu::pack::{Form, Query};
use crate::cpu::simd::level::Level;
use crate::cpu::tiles::{NormBounds, PatternView, TASKS, TILE};
use crate::cpu::weight_rows::WeightRows;
use crate::exact::{entmax, softmax};
use crate::rule::Separation;

/// Queries of one wave: those that iterate together, in blocks that are formed again at every step without the queries
/// that have stopped. Many blocks, so that every core is busy.
pub(super) const QUERIES_PER_WAVE: usize = 4096;
/// Blocks (panels) of one task of the single-step softmax, which share every tile that is fetched.
pub(super) const PANELS: usize = 2;
/// Tasks per thread that keep every thread busy to the end.
pub(super) const TASKS_PER_THREAD: usize = 2;
/// The least number of queries of one parallel task where each query costs a few rows only.
pub(super) const MIN_QUERIES_FOR_TASKS: usize = 8;
/// Queries whose candidate lists are assumed to exist at the same time.
pub(super) const CONCURRENT_LISTS: usize = 256;
/// Entries of all candidate lists together, 16 bytes each: 32 MiB.
const TOTAL_LIST_ENTRIES: usize = 1 << 21;
/// Entries of one candidate list, at most.
const MAX_LIST_ENTRIES: usize = 1 << 16;
/// Entries of one list of exact scores, at most. Only one query at a time has such lists, one for each of [`TASKS`]
/// splits: 4 MiB.
pub(super) const MAX_EXACT_ENTRIES: usize = 1 << 12;
/// Patterns of a split of a panel, at least: a split must be worth many tiles to pay for its merge.
const MIN_PATTERNS_PER_SPLIT: usize = 1024;
/// The largest error of approximate scores, as a difference of scores, from which softmax is computed directly.
const SOFTMAX_MAX_ERROR: f64 = 1e-3;
/// The largest error of approximate scores from which any separation selects candidates: above it the lists would be
/// too long.
const MAX_ERROR: f64 = 0.1;

/// How one retrieval is computed. Results depend on the form and on the splits, never on the block size, so the block
/// size may depend on the number of threads.
pub(super) struct Plan<'a> {
    pub view: PatternView<'a>,
    /// The rule's separation; softmax for a top-k of every pattern.
    pub separation: Separation,
    pub norm_bounds: NormBounds,
    pub level: Level,
    pub form: Form,
    /// Queries of one block.
    pub block: usize,
    pub splits: usize,
    /// Entries of one query's list in one split, at most.
    pub list_entries: usize,
    /// How many patterns of largest score are reported of each query.
    pub top: usize,
    /// The rows for reports of weights in full.
    pub weights: Option<&'a WeightRows<'a>>,
}

/// How the separation is solved for a query.
pub(super) enum Method {
    /// One scan folds the softmax of approximate scores, or weights that are not normalised.
    Online,
    /// One scan lists candidates, whose exact scores are solved.
    Candidates,
    /// Exact scores of every pattern.
    Exact,
}

impl<'a> Plan<'a> {
    pub fn new(view: PatternView<'a>, batch: usize) -> Self {
        Self::on(Level::best(), view, batch)
    }

    /// The plan for a batch of `batch` queries on one instruction set.
    pub fn on(level: Level, view: PatternView<'a>, batch: usize) -> Self {
        let patterns = view.range.len();
        let lanes = level.lanes();
        // A panel costs as much as if all its lanes were queries, a row about four times as much as a lane.
        let form = if batch <= lanes / 4 { Form::Rows } else { Form::Panel };
        let (narrow, wide, min_patterns) = match form {
            Form::Rows => (batch.max(1), batch.max(1), TILE),
            Form::Panel => (2 * lanes, level.panel(), MIN_PATTERNS_PER_SPLIT),
        };
        let splits = (TASKS / batch.div_ceil(narrow).max(1)).clamp(1, patterns.div_ceil(min_patterns).max(1));
        // Each thread needs a block, and one thread merges the splits of a block: narrow blocks where wide ones would
        // leave threads without work.
        let (blocks, threads) = (batch.div_ceil(wide), rayon::current_num_threads());
        let block = if blocks < threads || blocks * splits < TASKS_PER_THREAD * threads { narrow } else { wide };
        let separation = match view.engine.rule.separation {
            Separation::TopK { k } if k >= patterns => Separation::Softmax,
            separation => separation,
        };
        let norm_bounds = match view.usable.alive {
            None => view.norm_bounds(),
            Some(alive) => view.norm_bounds_of(|index| alive[index]),
        };
        let list_entries = (TOTAL_LIST_ENTRIES / (batch.clamp(1, CONCURRENT_LISTS) * splits)).min(MAX_LIST_ENTRIES);
        Self { view, separation, norm_bounds, level, form, block, splits, list_entries, top: 0, weights: None }
    }

    /// Twice the largest error of the approximate scores of a query: scores whose approximations differ by more are in
    /// the right order. `None` where approximate scores may overflow.
    pub fn margin(&self, query: &Query) -> Option<f64> {
        let rule = self.view.engine.rule;
        let NormBounds { norm, bias } = self.norm_bounds;
        is_well_scaled(rule.similarity, query, norm, bias)
            .then(|| 2.0 * max_error(self.form, self.level.lanes(), rule.similarity, query, norm, bias))
    }

    /// The method for a query.
    pub fn method(&self, query: &Query) -> Method {
        // Weights that are not normalised are as exact as the scores are, whatever their magnitude.
        let fits = |margin: &f64| *margin <= 2.0 * MAX_ERROR || !self.separation.is_normalized();
        let Some(margin) = self.margin(query).filter(fits) else {
            return Method::Exact;
        };
        match self.separation {
            Separation::Softmax | Separation::Softmax1 if margin <= 2.0 * SOFTMAX_MAX_ERROR => Method::Online,
            Separation::Step { .. } => Method::Candidates,
            separation if !separation.is_normalized() => Method::Online,
            Separation::TopK { k } if k > self.list_entries / 2 => Method::Exact,
            _ => Method::Candidates,
        }
    }

    /// Whether one scan of approximate scores answers a query.
    pub fn is_online(&self, query: &Query) -> bool {
        matches!(self.method(query), Method::Online)
    }

    /// Whether lists hold the patterns that are reported, too.
    pub fn lists_top(&self) -> bool {
        (1..=self.list_entries / 2).contains(&self.top)
    }

    /// [`Plan::keep`] for one query, of whose beta it depends which patterns pass a step where self-couplings are taken
    /// away.
    pub fn keep_for(&self, query: &Query, margin: f64) -> Keep {
        let Separation::Step { threshold } = self.separation else { return self.keep(margin) };
        let flip = if self.view.engine.rule.update.remove_self { 2.0 * query.beta.abs() } else { 0.0 };
        let weighed = Keep::at_least(f64::from(threshold) - margin - flip);
        if self.lists_top() { weighed.and_largest(self.top, margin) } else { weighed }
    }

    /// The entries that may have weight or be reported if scores are out of order by up to `margin`.
    pub fn keep(&self, margin: f64) -> Keep {
        let weighed = match self.separation {
            Separation::Softmax | Separation::Softmax1 => Keep::within(softmax::window(self.view.range.len()) + margin),
            Separation::Sparsemax => Keep::within(1.0 + margin),
            Separation::Entmax { alpha } => Keep::within(entmax::support_width(f64::from(alpha)) + margin),
            Separation::TopK { k } => Keep::largest(k, margin),
            Separation::Linear | Separation::Power { .. } | Separation::Rectified { .. } | Separation::Step { .. } => {
                // Every pattern counts: more than any list has room for.
                Keep::largest(usize::MAX, margin)
            }
        };
        if self.lists_top() && weighed.largest < usize::MAX { weighed.and_largest(self.top, margin) } else { weighed }
    }
}
