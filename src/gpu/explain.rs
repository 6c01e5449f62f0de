//! What a retrieval would do on a device, counted from the dispatches that it would record.

use super::plan::Regime;
use super::{Answers, Engine, Place, buffer};
use crate::error::Result;
use crate::explanation::{Explanation, KernelWork};
use crate::retrieval::RetrieveOptions;
use crate::tuning::Told;

impl Engine {
    /// Compiles what a retrieval of `batch` queries, at least one, would run.
    pub fn prepare(&self, batch: usize, options: &RetrieveOptions, alive: Option<&[bool]>) -> Result<()> {
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(batch), options), options);
        let workspace = self.workspace(&sizing)?;
        let stand_in = buffer::create(self.context.device(), "attractor.answers", 16, buffer::STORAGE)?;
        // One block of queries has every kernel.
        let block = batch.min(sizing.plan.query_block as usize);
        let task = self.task(&sizing, workspace.clone(), options, alive, 0..block, 0)?;
        let weights: Vec<usize> = options.weight_queries(batch).into_iter().filter(|query| *query < block).collect();
        let answers = Answers::new(self.facts(alive), options, block, &weights);
        let mut program = task.program(answers.targets(&stand_in, Place::at(&stand_in, 0)));
        while !program.is_done() {
            drop(program.next(f64::INFINITY)?);
        }
        self.give_back(workspace);
        Ok(())
    }

    /// Explains a retrieval of `batch` queries, at least one.
    pub fn explain(&self, batch: usize, options: &RetrieveOptions, alive: Option<&[bool]>) -> Result<Explanation> {
        let sizing = self.sizing(self.shape(options.plan_for.unwrap_or(batch), options), options);
        self.context.present()?;
        let workspace = self.workspace(&sizing)?;
        let usage = buffer::STORAGE;
        // Nothing is run, so one small buffer stands in for queries and answers of any size.
        let stand_in = buffer::create(self.context.device(), "attractor.answers", 16, usage)?;
        let weights = options.weight_queries(batch);
        let mut kernels: Vec<KernelWork> = Vec::new();
        let mut submissions = 0;
        for part in self.parts(batch, &sizing, options) {
            let task = self.task(&sizing, workspace.clone(), options, alive, part.clone(), 0)?;
            let positions: Vec<usize> =
                weights.iter().filter(|query| part.contains(query)).map(|query| query - part.start).collect();
            let answers = Answers::new(self.facts(alive), options, part.len(), &positions);
            let program = task.program(answers.targets(&stand_in, Place::at(&stand_in, 0)));
            let (counted, pieces) = program.count(self.context.submission())?;
            submissions += pieces;
            for one in counted {
                one.add_to(&mut kernels);
            }
        }
        let plan = &sizing.plan;
        let explanation = Explanation {
            device: self.context.adapter().into(),
            batch,
            patterns: self.windows.len(),
            tuning: Told { tuning: sizing.tuning, kind: self.context.adapter().device_type }.to_string(),
            regime: match plan.regime {
                Regime::Stream => "stream: every stage fused over splits of the patterns",
                Regime::Hold => "hold: every stage fused, and each invocation has queries of its own",
                Regime::Cooperate => "cooperate: every stage fused, products by cooperative matrices of halves",
                Regime::Tile => "tile: stage by stage over chunks of scores",
            },
            query_block: plan.query_block as usize,
            chunk: plan.chunk() as usize,
            rows_per_split: plan.rows_per_split as usize,
            splits: plan.splits as usize,
            windows: self.windows.filled().count(),
            submissions,
            workspace_bytes: sizing.sizes.total(),
            kernels,
        };
        self.give_back(workspace);
        Ok(explanation)
    }
}
