//! Explains what a retrieval would run on a device, and compiles it in advance, without running it.

use std::ops::Range;
use std::sync::Arc;

use super::answers::Answers;
use super::buffer;
use super::engine::Engine;
use super::planning::Sizing;
use super::schedule::Schedule;
use super::targets::OwnedRows;
use super::task::{Goal, Task};
use super::workspace::Workspace;
use crate::error::{Error, Result};
use crate::explain::{Explanation, KernelWork};
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::weight_queries::WeightQueries;
use crate::store::View;
use crate::strategy::Faults;
use crate::tuning::Told;

/// The most dispatches that an explanation counts.
const MAX_COUNTED_DISPATCHES: u64 = 1 << 22;

impl Engine {
    /// Compiles what a retrieval of `batch` queries, at least one, would run.
    pub fn prepare(&self, operation: &'static str, batch: usize, options: &RetrieveOptions, view: &View) -> Result<()> {
        Self::check_steps(operation, options)?;
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(batch), options), options);
        let workspace = self.workspace(&sizing)?;
        let stand_in = buffer::create(&self.context, "attractor.answers", 16, buffer::STORAGE)?;
        // One query block uses every kernel, and so do the first, a middle and the last of its updates.
        let block = batch.min(sizing.plan.query_block as usize);
        let weights: Vec<usize> =
            WeightQueries::new(operation, &options.weights)?.of(0..block).map(|(query, _)| query).collect();
        let answers = Answers::new(self.facts(view.alive()), options, 0..block, &weights);
        let goal = Goal::Answers(Box::new(answers.outputs(&stand_in, OwnedRows::at(&stand_in, 0))));
        let mut task = self.task(&sizing, workspace.clone(), options, view, 0..block, 0, goal)?;
        task.max_steps = task.max_steps.min(3);
        self.compile(task, &options.faults)?;
        self.recycle(workspace);
        Ok(())
    }

    /// Compiles what `task` runs, without running it.
    pub fn compile(&self, task: Task, faults: &Faults) -> Result<()> {
        let mut program = Schedule::new(&self.context, faults.constant, [task]);
        while !program.is_done() {
            drop(program.next(f64::INFINITY)?);
            if program.take_pause().is_some() {
                program.resume(false);
            }
        }
        Ok(())
    }

    /// Explains a retrieval of `batch` queries, at least one.
    pub fn explain(
        &self,
        operation: &'static str,
        batch: usize,
        options: &RetrieveOptions,
        view: &View,
    ) -> Result<Explanation> {
        Self::check_steps(operation, options)?;
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(batch), options), options);
        let weighed = WeightQueries::new(operation, &options.weights)?;
        // Nothing is run: one small buffer stands in for queries and answers of any size.
        let stand_in = buffer::create(&self.context, "attractor.answers", 16, buffer::STORAGE)?;
        let facts = self.facts(view.alive());
        let parts = alike(batch, self.sub_batch_size(&sizing, options), &weighed);
        self.explained((operation, batch), &sizing, &options.faults, parts, |workspace, part| {
            let positions: Vec<usize> = weighed.of(part.clone()).map(|(query, _)| query - part.start).collect();
            let answers = Answers::new(facts, options, part.clone(), &positions);
            let goal = Goal::Answers(Box::new(answers.outputs(&stand_in, OwnedRows::at(&stand_in, 0))));
            self.task(&sizing, workspace, options, view, part, 0, goal)
        })
    }

    /// Explains the tasks of a batch, of which `parts` are alike: one of each, and how many.
    pub fn explained(
        &self,
        (operation, batch): (&'static str, usize),
        sizing: &Sizing,
        faults: &Faults,
        parts: Vec<(Range<usize>, usize)>,
        task: impl Fn(Arc<Workspace>, Range<usize>) -> Result<Task>,
    ) -> Result<Explanation> {
        self.context.check_alive()?;
        let workspace = self.workspace(sizing)?;
        let mut left = MAX_COUNTED_DISPATCHES;
        let mut kernels: Vec<KernelWork> = Vec::new();
        let (mut submissions, mut streamed) = (0usize, 0u64);
        let [key, value, _] = self.row_sizes().map(|bytes| bytes as u64);
        for (part, times) in parts {
            let program = Schedule::new(&self.context, faults.constant, [task(workspace.clone(), part)?]);
            let Some(counted) = program.count(self.context.submission(), left)? else {
                let (need, allowed) = (MAX_COUNTED_DISPATCHES + 1, MAX_COUNTED_DISPATCHES);
                return Err(Error::Limit { operation, limit: "dispatches of an explanation", need, allowed });
            };
            submissions = submissions.saturating_add(counted.pieces.saturating_mul(times));
            let [keys, values] = counted.loaded;
            let bytes = keys.saturating_mul(key).saturating_add(values.saturating_mul(value));
            streamed = streamed.saturating_add(bytes.saturating_mul(times as u64));
            for one in counted.kernels {
                left = left.saturating_sub(one.dispatches);
                one.times(times as u64).add_to(&mut kernels);
            }
        }
        let plan = &sizing.plan;
        let explanation = Explanation {
            device: (&self.context.adapter).into(),
            batch,
            patterns: self.windows.len(),
            tuning: Told { tuning: sizing.tuning, kind: self.context.adapter.device_type }.to_string(),
            strategy: plan.strategy.describe(),
            query_block: plan.query_block as usize,
            chunk: plan.chunk() as usize,
            rows_per_split: plan.rows_per_split as usize,
            splits: plan.splits as usize,
            windows: self.windows.filled().count(),
            submissions,
            workspace_bytes: sizing.sizes.total(),
            streamed_bytes: streamed,
            kernels,
        };
        self.recycle(workspace);
        Ok(explanation)
    }
}

/// The sub-batches of `size` queries of a batch, grouped by equal dispatches: one of each group, and how many it has.
pub(super) fn alike(batch: usize, size: usize, weighed: &WeightQueries) -> Vec<(Range<usize>, usize)> {
    let (full, rest) = (batch / size, batch % size);
    let part = |number: usize| number * size..(number + 1) * size;
    let mut parts = Vec::new();
    // Sub-batches with some reported weights are counted one by one. All others are alike, and so are all under `All`.
    let mut others = full;
    if let WeightQueries::Some(places) = weighed {
        let mut numbers: Vec<usize> = places.iter().map(|(query, _)| query / size).filter(|n| *n < full).collect();
        numbers.dedup();
        others -= numbers.len();
        let first = (0..full).find(|number| numbers.binary_search(number).is_err());
        parts.extend(first.map(|number| (part(number), others)));
        parts.extend(numbers.into_iter().map(|number| (part(number), 1)));
    } else if full > 0 {
        parts.push((part(0), others));
    }
    if rest > 0 {
        parts.push((full * size..batch, 1));
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::retrieval::options::WeightsOf;

    #[test]
    fn parts_that_are_alike_are_counted_once() {
        let parts = |batch, size, weights| alike(batch, size, &WeightQueries::new("test", &weights).unwrap());
        assert_eq!(parts(7, 10, WeightsOf::None), [(0..7, 1)]);
        assert_eq!(parts(20, 10, WeightsOf::All), [(0..10, 2)]);
        let all = parts(usize::MAX, 1 << 20, WeightsOf::None);
        assert_eq!(all, [(0..1 << 20, (1 << 44) - 1), (((1 << 44) - 1) << 20..usize::MAX, 1)]);
        let some = parts(45, 10, WeightsOf::Queries(vec![44, 31, 3, 3, 0]));
        assert_eq!(some, [(10..20, 2), (0..10, 1), (30..40, 1), (40..45, 1)]);
        assert_eq!(parts(20, 10, WeightsOf::Queries(vec![1, 11])), [(0..10, 1), (10..20, 1)]);
        for (batch, size) in [(1, 1), (7, 3), (64, 8), (65, 8)] {
            for weights in [WeightsOf::None, WeightsOf::Queries(vec![0]), WeightsOf::Queries(vec![batch - 1, 0])] {
                let all = parts(batch, size, weights);
                assert_eq!(all.iter().map(|(part, times)| part.len() * times).sum::<usize>(), batch);
            }
        }
    }
}
