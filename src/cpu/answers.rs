//! Where answers are written: the arrays of a retrieval, allocated before the work begins and divided between threads.

use crate::cpu::parts::cut;
use crate::cpu::report::Report;
use crate::error::Result;
use crate::exact::solved::Solved;
use crate::id::PatternId;
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::{Retrieval, Statistics, Status};
use crate::room::room;
use crate::store::Names;

/// The answer to one query, except its output and state.
pub(super) struct Answer {
    pub steps: u32,
    pub change: f32,
    pub converged: bool,
    pub status: Status,
    pub trace: Vec<f64>,
    pub energy: Option<f64>,
    pub report: Report,
}

impl Answer {
    /// The answer after one step, without reports.
    pub fn of_step(solved: Solved, change: f32, options: &RetrieveOptions) -> Self {
        let converged = change <= options.tolerance();
        let status = if solved.is_nothing() { Status::NothingLeft } else { Status::Answered };
        let (trace, report) = (Vec::new(), Report::default());
        Self { steps: 1, change, converged, status, trace, energy: None, report }
    }
}

/// A change as `f32`, in which the difference of two finite numbers may overflow: the largest number then.
pub(super) fn narrow(change: f64) -> f32 {
    change.min(f64::from(f32::MAX)) as f32
}

/// The elements of consecutive queries in each array; empty for what was not asked for.
pub(super) struct AnswerRows<'a> {
    steps: &'a mut [u32],
    change: &'a mut [f32],
    converged: &'a mut [bool],
    status: &'a mut [Status],
    energy: &'a mut [f64],
    traces: &'a mut [Vec<f64>],
    statistics: &'a mut [Statistics],
    ids: &'a mut [Option<PatternId>],
    weights: &'a mut [f32],
    similarities: &'a mut [f32],
    found: &'a mut [u64],
    /// Patterns of a top list.
    k: usize,
}

impl<'a> AnswerRows<'a> {
    /// The elements of every `wave` queries of `retrieval`, in order. The capacity of its arrays is that of the batch.
    pub fn of(operation: &'static str, retrieval: &'a mut Retrieval, wave: usize) -> Result<Vec<Self>> {
        let batch = retrieval.batch;
        retrieval.steps.resize(batch, 0);
        retrieval.change.resize(batch, 0.0);
        retrieval.converged.resize(batch, false);
        retrieval.status.resize(batch, Status::Answered);
        let mut all = Self {
            steps: &mut retrieval.steps,
            change: &mut retrieval.change,
            converged: &mut retrieval.converged,
            status: &mut retrieval.status,
            energy: &mut [],
            traces: &mut [],
            statistics: &mut [],
            ids: &mut [],
            weights: &mut [],
            similarities: &mut [],
            found: &mut [],
            k: 0,
        };
        if let Some(energy) = &mut retrieval.energy {
            energy.resize(batch, 0.0);
            all.energy = energy;
        }
        if let Some(traces) = &mut retrieval.energy_trace {
            traces.resize_with(batch, Vec::new);
            all.traces = traces;
        }
        if let Some(statistics) = &mut retrieval.statistics {
            statistics.resize(batch, Statistics::new(0, 0.0, 0.0, retrieval.patterns));
            all.statistics = statistics;
        }
        if let Some(top) = &mut retrieval.top {
            top.ids.resize(batch * top.k, None);
            top.weight.resize(batch * top.k, 0.0);
            top.similarity.resize(batch * top.k, 0.0);
            (all.ids, all.weights, all.similarities) = (&mut top.ids, &mut top.weight, &mut top.similarity);
            all.k = top.k;
            if let Some(found) = &mut top.found {
                found.resize(batch, 0);
                all.found = found;
            }
        }
        let mut parts = room(operation, "parts of a batch", batch.div_ceil(wave))?;
        while !all.steps.is_empty() {
            parts.push(all.part(wave));
        }
        Ok(parts)
    }

    /// Takes the elements of the first `queries` queries.
    fn part(&mut self, queries: usize) -> Self {
        let k = self.k;
        Self {
            steps: cut(&mut self.steps, queries),
            change: cut(&mut self.change, queries),
            converged: cut(&mut self.converged, queries),
            status: cut(&mut self.status, queries),
            energy: cut(&mut self.energy, queries),
            traces: cut(&mut self.traces, queries),
            statistics: cut(&mut self.statistics, queries),
            ids: cut(&mut self.ids, queries.saturating_mul(k)),
            weights: cut(&mut self.weights, queries.saturating_mul(k)),
            similarities: cut(&mut self.similarities, queries.saturating_mul(k)),
            found: cut(&mut self.found, queries),
            k,
        }
    }

    /// Writes the answers to its queries.
    pub fn write(mut self, answers: Vec<Answer>, options: &RetrieveOptions, names: &Names) {
        for answer in answers {
            let one = self.part(1);
            one.steps[0] = answer.steps;
            one.change[0] = answer.change;
            one.converged[0] = answer.converged;
            one.status[0] = answer.status;
            one.energy.iter_mut().zip(answer.energy).for_each(|(to, energy)| *to = energy);
            one.statistics.iter_mut().zip(answer.report.statistics).for_each(|(to, statistics)| *to = statistics);
            let top = answer.report.top.unwrap_or_default().into_iter().zip(answer.report.similarities);
            let listed = top.map(|((position, weight), similarity)| (names.id(position), weight, similarity));
            let mut places = one.ids.iter_mut().zip(one.weights).zip(one.similarities);
            let found = options.thresholds.select(listed, |weighed| {
                if let Some(((id, weight), similarity)) = places.next() {
                    (*id, *weight, *similarity) = weighed;
                }
            });
            one.found.iter_mut().for_each(|to| *to = found);
            one.traces.iter_mut().zip([answer.trace]).for_each(|(to, trace)| *to = trace);
        }
    }
}
