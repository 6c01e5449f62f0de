//! One step of softmax for blocks of many queries without reports: from rows of `f32` to rows of `f32`, bit-exact with
//! the general path and without its rows in `f64`.

#![allow(clippy::inline_always, reason = "see `simd`")]

use crate::cpu::aligned::AlignedVec;
use crate::cpu::answers::{Answer, narrow};
use crate::cpu::pack::{Form, Packed, Query};
use crate::cpu::plan::Plan;
use crate::cpu::scan;
use crate::cpu::separation::softmax::Running;
use crate::cpu::simd::level::vectorized;
use crate::cpu::simd::vector::{Simd, Work};
use crate::cpu::transpose::{PART, into_panel, into_rows};
use crate::exact::scores::norm;
use crate::exact::softmax;
use crate::exact::solved::Solved;
use crate::finite::all_finite;
use crate::retrieval::options::{RetrieveOptions, WeightsOf};
use crate::retrieval::per_query::PerQuery;
use crate::rule::{Separation, Similarity};
use crate::store::stride;

impl Plan<'_> {
    /// Whether [`Plan::softmax_step`] computes this retrieval.
    pub(super) fn fits_softmax_step(&self, options: &RetrieveOptions) -> bool {
        let usable = self.view.usable;
        let reports = options.energy || options.trace || options.statistics || options.top > 0;
        matches!(self.separation, Separation::Softmax | Separation::Softmax1)
            && (self.form, self.splits) == (Form::Panel, 1)
            && self.view.engine.layout.value_dim.is_none()
            && (usable.alive.is_none() && usable.mask.is_none() && options.clamp.is_none())
            && (options.max_steps() == 1 && !options.stops_early())
            && !reports
            && (self.view.engine.rule.update.is_plain() && options.per_query == PerQuery::default())
            && matches!(options.weights, WeightsOf::None)
    }

    /// The answers to the queries of up to [`PANELS`](super::plan::PANELS) blocks. Writes their states, which are also
    /// their outputs, to the rows of `state` and `output`. Returns `None` and writes nothing if approximate scores do
    /// not suffice for one of the queries, or if sums overflow.
    pub(super) fn softmax_step(
        &self,
        rows: &[f32],
        (state, output): (&mut [f32], &mut [f32]),
        options: &RetrieveOptions,
    ) -> Option<Vec<Answer>> {
        let engine = self.view.engine;
        let dim = engine.layout.dim;
        let mut norms = vec![0.0; rows.len() / dim];
        self.level.run(Norms { rows, dim, norms: &mut norms });
        // The method depends on the norm only.
        let mut query =
            Query { position: 0, beta: f64::from(engine.rule.beta), exact: vec![0.0; stride(dim)], norm: 0.0 };
        for norm in &norms {
            query.norm = *norm;
            if !self.is_online(&query) {
                return None;
            }
        }
        let (scored_by, lanes) = ((engine.rule.similarity, engine.rule.beta), self.level.lanes());
        let blocks: Vec<Packed> = rows
            .chunks(self.block * dim)
            .zip(norms.chunks(self.block))
            .map(|(rows, norms)| Packed::panel(scored_by, lanes, rows, dim, norms))
            .collect();
        let scanned = scan::panels(&self.view, self.level, &blocks);
        if !scanned.iter().all(|(_, sums)| vectorized(|| all_finite(sums))) {
            return None;
        }
        let rows = rows.chunks(self.block * dim).zip(state.chunks_mut(self.block * dim));
        let answers = blocks.iter().zip(scanned).zip(rows).flat_map(|((block, (running, sums)), (rows, state))| {
            self.settle_panel(block, &running, &sums, (rows, state), options)
        });
        let answers = answers.collect();
        output.copy_from_slice(state);
        Some(answers)
    }

    /// Writes the states of one panel after its scan.
    fn settle_panel(
        &self,
        block: &Packed,
        running: &Running,
        sums: &[f32],
        (rows, state): (&[f32], &mut [f32]),
        options: &RetrieveOptions,
    ) -> Vec<Answer> {
        let dim = self.view.engine.layout.dim;
        let plus_one = self.separation == Separation::Softmax1;
        let solved_rows: Vec<Solved> =
            (0..block.queries).map(|q| softmax::from_sum(running.max(q), running.sum(q), plus_one)).collect();
        let mut shares = vec![0.0f64; block.width];
        shares.iter_mut().zip(&solved_rows).for_each(|(share, solved)| *share = solved.share());
        let mut changes = vec![0.0f64; block.width];
        // For cosine the panel holds the states divided by their norms.
        let scaled = self.view.engine.rule.similarity == Similarity::Cosine;
        let mut states = AlignedVec::zeros(if scaled { PART * block.width } else { 0 });
        let mut outputs = AlignedVec::zeros(PART * block.width);
        let (states, outputs, changes_of) = (&mut states[..], &mut outputs[..], &mut changes[..]);
        let shares = &shares[..];
        self.level.run(Settle { block, dim, sums, rows, shares, states, outputs, changes: changes_of, to: state });
        solved_rows
            .into_iter()
            .zip(changes)
            .map(|(solved, change)| Answer::of_step(solved, narrow(change), options))
            .collect()
    }
}

/// The norms of rows.
struct Norms<'a> {
    rows: &'a [f32],
    dim: usize,
    norms: &'a mut [f64],
}

impl Work for Norms<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (norm_of, row) in self.norms.iter_mut().zip(self.rows.chunks_exact(self.dim)) {
            *norm_of = norm(row);
        }
    }
}

/// Normalises weighted sums of rows to states, and measures how far these are from the states before.
struct Settle<'a> {
    block: &'a Packed,
    dim: usize,
    sums: &'a [f32],
    /// The states before.
    rows: &'a [f32],
    /// The factor of the sums of each query; zero beyond the last query.
    shares: &'a [f64],
    /// Scratch for one part of the states before, in columns; empty if the block holds them.
    states: &'a mut [f32],
    /// Scratch for one part of the states, in columns.
    outputs: &'a mut [f32],
    changes: &'a mut [f64],
    /// The states.
    to: &'a mut [f32],
}

impl Work for Settle<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let Self { block, dim, sums, rows, shares, states, outputs, changes, to } = self;
        let width = block.width;
        for (part, sums) in sums.chunks(PART * width).enumerate() {
            let before = match states.is_empty() {
                true => block.coordinates(part),
                false => {
                    into_panel(rows, dim, part, states, width);
                    &*states
                }
            };
            let columns = sums.chunks_exact(width).zip(before.chunks_exact(width)).zip(outputs.chunks_exact_mut(width));
            for ((sums, before), outputs) in columns.take(dim - PART * part) {
                let lanes = sums.iter().zip(before).zip(outputs).zip(shares.iter().zip(changes.iter_mut()));
                for (((sum, x), output), (share, change)) in lanes {
                    // Zero has one sign, whichever patterns were skipped.
                    let next = f64::from(*sum) * share + 0.0;
                    let moved = (f64::from(*x) - next).abs();
                    *change = if moved > *change { moved } else { *change };
                    *output = next as f32;
                }
            }
            into_rows(outputs, width, part, to, dim);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::cpu::engine::Engine;
    use crate::precision::Precision;
    use crate::retrieval::options::RetrieveOptions;
    use crate::rule::{Rule, Separation, Similarity};
    use crate::store::{Growth, Layout, NewRows};

    use super::Plan;

    #[test]
    fn it_is_bit_exact_with_the_general_path() {
        let numbers = |seed: usize, length: usize| -> Vec<f32> {
            (0..length).map(|i| ((i * 7919 + seed * 104_729) % 1009) as f32 / 504.5 - 1.0).collect()
        };
        for dim in [1, 6, 16, 30, 33, 150] {
            for (similarity, separation) in [
                (Similarity::Dot, Separation::Softmax),
                (Similarity::Cosine, Separation::Softmax1),
                (Similarity::Euclidean, Separation::Softmax),
            ] {
                let layout = Layout { dim, value_dim: None, precision: Precision::F32, bias: false, max_rows: 1000 };
                let mut engine = Engine::new(layout, Rule::new(similarity, separation, 0.1));
                engine.reserve(300, Growth::Doubling).unwrap();
                engine.add(&NewRows { keys: &numbers(1, 300 * dim), values: None, bias: None }).unwrap();
                let options = RetrieveOptions::steps(1);
                // The number of queries that fills a block.
                let batch = Plan::new(engine.view(&options, None), 100).level.panel();
                for batch in [batch, batch - 1, batch + 1, 2 * batch] {
                    let plan = Plan::new(engine.view(&options, None), batch);
                    assert!(plan.fits_softmax_step(&options) && !plan.fits_softmax_step(&RetrieveOptions::steps(2)));
                    let queries = numbers(2, batch * dim);
                    let mut rows = [(); 4].map(|()| vec![f32::NAN; batch * dim]);
                    let [state, output, general_state, general_output] = &mut rows;
                    let one_step =
                        plan.softmax_step(&queries, (state, output), &options).expect("approximate scores suffice");
                    let general = plan.wave(0, &queries, (general_state, general_output), &options, 300);
                    assert_eq!((&*state, &*output), (&*general_state, &*general_output), "{similarity:?} d {dim}");
                    let summary = |answers: Vec<super::Answer>| -> Vec<_> {
                        answers.into_iter().map(|answer| (answer.steps, answer.change, answer.status)).collect()
                    };
                    assert_eq!(summary(one_step), summary(general), "{similarity:?} d {dim}");
                }
            }
        }
    }
}
