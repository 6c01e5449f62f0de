//! From a request to a plan and a task: what of the memory, of the options and of the device they depend on.

use std::ops::Range;
use std::sync::Arc;

use super::answers::MemoryFacts;
use super::engine::Engine;
use super::operands::{KernelRule, Operands};
use super::plan::choice::Plan;
use super::plan::problem::Problem;
use super::quirks;
use super::range::States;
use super::task::{Goal, Task};
use super::workspace::{Sizes, Workspace};
use crate::error::{Error, Result};
use crate::precision::Precision;
use crate::retrieval::options::{RetrieveOptions, WeightsOf};
use crate::rule::{Rule, Similarity};
use crate::store::{Alive, View};
use crate::tuning::Tuning;

/// The most updates of one retrieval: each is recorded, whether or not all queries have stopped by then.
const MAX_STEPS: u32 = (1 << 20) - 1;

/// The most patterns that are selected or reported where bounds list candidates: a list has room for several times as
/// many.
const MOST_BOUNDED: u32 = 512;
/// The most queries of a batch whose candidates bounds list: each has lists of its own.
const MOST_BOUNDED_QUERIES: u64 = 64;

/// What queries are taken to see where a plan has to serve any.
const SEEN_BY_ANY: u64 = 2048;
/// Queries of a workgroup of a fused kernel whose invocations hold one, and several.
const SEEING: [usize; 2] = [64, 256];

/// The sizes of one retrieval.
pub(crate) struct Sizing {
    pub shape: Problem,
    pub tuning: Tuning,
    pub plan: Plan,
    pub staged: Plan,
    pub searching: Plan,
    pub sizes: Sizes,
}

impl Engine {
    /// The problem of a retrieval over all stored patterns.
    pub fn shape(&self, batch: usize, options: &RetrieveOptions) -> Problem {
        self.shape_of(self.rule, self.windows.len() as u64, batch, options)
    }

    /// The problem of a retrieval by `rule` over `patterns` of the stored patterns.
    pub fn shape_of(&self, rule: Rule, patterns: u64, batch: usize, options: &RetrieveOptions) -> Problem {
        let kernel_rule = KernelRule::of(rule, patterns);
        let softmax = matches!(kernel_rule, KernelRule::Softmax { .. });
        let at_once = kernel_rule.weighs_at_once();
        let own = &options.per_query;
        let alike = own.betas.is_none() && own.exclude.is_none() && own.rows.is_none();
        let (seen, apart) = match own.rows.as_deref() {
            None => (0, false),
            // A plan that is held fixed does not depend on who sees what.
            Some(_) if options.plan_for.is_some() => (SEEN_BY_ANY, true),
            Some(rows) => {
                let [few, many] = SEEING.map(|queries| seen_by(queries, rows));
                if many <= few + few / 4 { (many, false) } else { (few, true) }
            }
        };
        // Cooperative matrices multiply: euclidean scores from products would lose digits by cancellation.
        let products = matches!(rule.similarity, Similarity::Dot | Similarity::Cosine);
        let weighs = options.statistics || options.top > 0 || options.weights != WeightsOf::None;
        let features = self.context.device.features();
        Problem {
            batch: batch as u64,
            patterns,
            key_vectors: (self.layout.key_stride() / 4) as u32,
            value_vectors: (self.layout.value_stride() / 4) as u32,
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            unrolls_slowly: quirks::unrolls_slowly(self.context.adapter.backend, features),
            cooperate: self.context.cooperate.filter(|_| {
                // Weights that are not normalised leave what a half holds.
                softmax && alike && products && self.layout.precision == Precision::F16
            }),
            parts: if options.round_to_half { 1 } else { 2 },
            fused: at_once,
            lists: !at_once || weighs || options.energy || options.trace,
            top: options.top > 0,
            bounded: alike && rule.update.schedule.is_none() && self.bounds(kernel_rule, options),
            compared: rule.similarity == Similarity::Cosine,
            previous: weighs,
            saved: options.stops_early() && rule.update.is_discrete(),
            seen,
            apart,
            result: options.states_apart(&rule, self.layout.value_dim.is_some()),
            unbounded: options.faults.unbounded,
        }
    }

    /// Whether bounds from keys in 8 bits can list what `rule` selects and what is reported of it: not where all
    /// weights are reported, nor so much that lists would not hold it.
    fn bounds(&self, rule: KernelRule, options: &RetrieveOptions) -> bool {
        let listed = match rule {
            KernelRule::Softmax { .. } | KernelRule::Unnormalized { .. } => false,
            KernelRule::Entmax { .. } => !rule.is_steep(),
            KernelRule::Top { k } => k <= MOST_BOUNDED,
        };
        let all = options.statistics || options.energy || options.trace || options.weights != WeightsOf::None;
        listed
            && !all
            && options.listed(usize::MAX) <= MOST_BOUNDED as usize
            // Whether a browser has products of packed bytes is not known here.
            && cfg!(not(target_arch = "wasm32"))
            && self.layout.keeps_levels(self.rule.similarity)
            // Others may count as zero.
            && self.rule.beta.abs() >= f32::MIN_POSITIVE
    }

    /// The plans and sizes for a problem, under the device's present tuning.
    pub fn sizing(&self, shape: Problem, options: &RetrieveOptions) -> Sizing {
        let mut tuning = self.context.tuning();
        // The caller cannot know that this adapter needs small tiles.
        if quirks::needs_small_tiles(&self.context.adapter) {
            tuning.wide_tile_min_batch = u64::MAX;
        }
        let coordinates = shape.patterns.saturating_mul(self.layout.dim as u64);
        let bounds = tuning.bounded();
        // Where rows stream, what the bounds rule out is not even copied.
        let pays = coordinates >= bounds.bounds_min_coordinates || self.streams();
        let few = shape.batch <= bounds.stream_max_batch.min(MOST_BOUNDED_QUERIES);
        let bounded = shape.bounded && few && options.overrides.bounds.unwrap_or(pays);
        let shape = Problem { bounded, ..shape };
        let plan = Plan::new(&shape, &tuning, &options.overrides);
        let staged = plan.staged(&shape, &tuning, &options.overrides);
        let searching = staged.searching(&shape, &tuning, &options.overrides);
        let sizes = plan.sizes(&staged, &shape);
        Sizing { shape, tuning, plan, staged, searching, sizes }
    }

    /// What answers are computed from, besides what the device returns.
    pub fn facts(&self, alive: Option<&Alive>) -> MemoryFacts {
        let patterns = self.windows.len();
        MemoryFacts {
            layout: self.layout,
            rule: self.rule,
            patterns,
            stored: alive.map_or(patterns, Alive::count),
            largest_square: self
                .magnitudes
                .squares
                .iter()
                .enumerate()
                .filter(|(position, _)| alive.is_none_or(|alive| alive[*position]))
                .fold(0.0, |most, (_, square)| square.max(most)),
        }
    }

    /// Refuses more updates than one retrieval may have.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn check_steps(operation: &'static str, options: &RetrieveOptions) -> Result<()> {
        let (need, allowed) = (options.max_steps().into(), MAX_STEPS.into());
        match need <= allowed {
            true => Ok(()),
            false => Err(Error::Limit { operation, limit: "updates of one retrieval on a GPU", need, allowed }),
        }
    }

    /// The task for queries `part` of a batch.
    #[expect(clippy::too_many_arguments, reason = "what a task is made of")]
    pub fn task(
        &self,
        sizing: &Sizing,
        workspace: Arc<Workspace>,
        options: &RetrieveOptions,
        view: &View,
        part: impl Iterator<Item = usize> + Clone,
        stamp: u32,
        goal: Goal,
    ) -> Result<Task> {
        let (limits, alive) = (&self.context.limits, view.alive());
        let windows = match &workspace.slots {
            Some(slots) => self.windows.filled().map(|window| slots.place(window)).collect(),
            None => self.windows.filled().cloned().collect(),
        };
        let operands = Operands {
            layout: self.layout,
            rule: self.rule,
            biased: self.biased,
            problem: sizing.shape,
            workspace,
            first_query: part.clone().next().unwrap_or(0) as u32,
            advances: !self.rule.separation.is_normalized()
                || !self.rule.update.is_plain()
                || options.per_query.field.is_some(),
            decouples: self.rule.update.remove_self,
            cycles: sizing.shape.saved,
            keep: self.keep(options, view, part.clone())?,
            known: self.known(options, part)?,
            query_range: match goal {
                Goal::Hits(_) => self.magnitudes.query_range(
                    "Memory::search",
                    self.rule,
                    self.layout.dim,
                    States::OF_SEARCH,
                    alive,
                )?,
                _ => self.query_range("Memory::retrieve", options, alive)?,
            },
            tolerance: options.tolerance(),
            stops_early: options.stops_early(),
            stamp,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            offset_alignment: limits.min_storage_buffer_offset_alignment,
        };
        Ok(Task {
            operands,
            windows,
            range: 0..self.windows.len(),
            plan: sizing.plan.clone(),
            staged: sizing.staged.clone(),
            searching: sizing.searching.clone(),
            max_steps: options.max_steps(),
            goal,
        })
    }
}

/// Refuses what a GPU does not compute.
///
/// # Errors
/// [`Error::Unsupported`].
pub(crate) fn check_family(operation: &'static str, rule: &Rule, options: &RetrieveOptions) -> Result<()> {
    let tallied = options.statistics || options.weights != WeightsOf::None;
    // The device tells weights from the states before the last step, at the beta of one step.
    if rule.update.schedule.is_some()
        && options.stops_early()
        && (tallied || options.top > 0 && (options.energy || options.trace))
    {
        let what = "reports of weights where queries stop by themselves and beta changes from update to update";
        return Err(Error::Unsupported { operation, what: what.into() });
    }
    Ok(())
}

/// The most patterns that so many queries in a row see between them, of those whose ranges are given.
fn seen_by(queries: usize, rows: &[Range<usize>]) -> u64 {
    let widest = rows.chunks(queries).map(|rows| {
        let seeing = rows.iter().filter(|range| !range.is_empty());
        let (first, end) =
            seeing.fold((usize::MAX, 0), |(first, end), range| (first.min(range.start), end.max(range.end)));
        end.saturating_sub(first) as u64
    });
    widest.max().unwrap_or(0).max(1)
}
