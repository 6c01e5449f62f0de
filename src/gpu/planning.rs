//! From what is asked of a memory to a plan and a task.

use std::sync::Arc;

use super::answers::Facts;
use super::engine::Engine;
use super::plan::{Plan, Shape, Sizes};
use super::quirks;
use super::range::States;
use super::retrieve::{Kind, Task};
use super::workspace::Workspace;
use crate::error::{Error, Result};
use crate::retrieval::{RetrieveOptions, WeightsOf};
use crate::rule::{Rule, Similarity};
use crate::store::{Alive, Precision};
use crate::tuning::Tuning;

/// Updates of one retrieval, at the most: each is recorded, whether or not queries stop before it.
const MOST_STEPS: u32 = (1 << 20) - 1;

/// The sizes of one retrieval.
pub(crate) struct Sizing {
    pub shape: Shape,
    pub tuning: Tuning,
    pub plan: Plan,
    pub staged: Plan,
    pub searching: Plan,
    pub sizes: Sizes,
}

impl Engine {
    pub fn shape(&self, batch: usize, options: &RetrieveOptions) -> Shape {
        self.shape_of(self.rule, self.windows.len() as u64, batch, options)
    }

    /// The shape of a retrieval by `rule` from `patterns` of those that are stored.
    pub fn shape_of(&self, rule: Rule, patterns: u64, batch: usize, options: &RetrieveOptions) -> Shape {
        let softmax = matches!(Kind::of(rule, patterns), Kind::Softmax { .. });
        // Euclidean scores would lose by cancellation what their products keep.
        let products = matches!(rule.similarity, Similarity::Dot | Similarity::Cosine);
        let weighs = options.statistics || options.top > 0 || options.weights != WeightsOf::None;
        let features = self.context.device.features();
        Shape {
            batch: batch as u64,
            patterns,
            key_vectors: (self.layout.key_stride() / 4) as u32,
            value_vectors: (self.layout.value_stride() / 4) as u32,
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            unrolls_slowly: quirks::unrolls_slowly(self.context.adapter.backend, features),
            cooperate: self.context.cooperate.filter(|_| products && self.layout.precision == Precision::F16),
            parts: if options.round_to_half { 1 } else { 2 },
            fused: softmax,
            lists: !softmax || weighs || options.energy || options.trace,
            cue: rule.similarity == Similarity::Cosine,
            previous: weighs,
            result: self.layout.value_dim.is_some() || options.clamp.is_some(),
        }
    }

    /// The sizes of a retrieval of this shape, as the device is tuned now.
    pub fn sizing(&self, shape: Shape, options: &RetrieveOptions) -> Sizing {
        let mut tuning = self.context.tuning();
        // Whoever asks for one cannot know.
        if quirks::needs_small_tiles(&self.context.adapter) {
            tuning.tile_batch = u64::MAX;
        }
        let plan = Plan::new(&shape, &tuning, &options.hints);
        let staged = plan.staged(&shape, &tuning, &options.hints);
        let searching = staged.searching(&shape, &tuning, &options.hints);
        let sizes = Sizes::new(&plan, &staged, &shape);
        Sizing { shape, tuning, plan, staged, searching, sizes }
    }

    pub fn facts(&self, alive: Option<&Alive>) -> Facts {
        let patterns = self.windows.len();
        Facts {
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

    /// Refuses more updates than a device is given.
    pub fn check_steps(operation: &'static str, options: &RetrieveOptions) -> Result<()> {
        let (need, allowed) = (options.max_steps().into(), MOST_STEPS.into());
        match need <= allowed {
            true => Ok(()),
            false => Err(Error::Limit { operation, limit: "updates of one retrieval on a GPU", need, allowed }),
        }
    }

    /// The task for queries `part` of a batch.
    pub fn task(
        &self,
        sizing: &Sizing,
        workspace: Arc<Workspace>,
        options: &RetrieveOptions,
        alive: Option<&Alive>,
        part: impl Iterator<Item = usize> + Clone,
        stamp: u32,
    ) -> Result<Task> {
        Ok(Task {
            context: self.context.clone(),
            layout: self.layout,
            rule: self.rule,
            windows: self.windows.filled().cloned().collect(),
            range: 0..self.windows.len(),
            plan: sizing.plan.clone(),
            staged: sizing.staged.clone(),
            searching: sizing.searching.clone(),
            shape: sizing.shape,
            workspace,
            keep: self.keep(options.mask.as_ref(), alive, part.clone())?,
            known: self.known(options.clamp.as_deref(), part)?,
            max_steps: options.max_steps(),
            tolerance: options.tolerance(),
            stops_early: options.stops_early(),
            stamp,
            damage: options.hints.damage,
            query_range: self.query_range("Memory::retrieve", States::of(options), alive)?,
        })
    }
}
