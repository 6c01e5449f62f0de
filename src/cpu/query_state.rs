//! The iteration of one query.

use crate::cpu::answers::narrow;
use crate::cpu::pack::Query;
use crate::cpu::report::Report;
use crate::cpu::simd::level::vectorized;
use crate::cpu::update::{Updates, in_range};
use crate::exact::solved::Solved;
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Status;

/// The iteration of one query.
pub(super) struct QueryState {
    /// The state.
    pub query: Query,
    /// The state before the last update.
    pub before: Option<Query>,
    /// The weighted sums of keys, where they are not the state.
    sum: Option<Vec<f64>>,
    /// The weighted sums of values, where they are summed.
    pub value: Vec<f64>,
    pub solved: Solved,
    /// Whether `solved` is of exact scores.
    pub exact: bool,
    pub steps: u32,
    /// Of the last update, or where coordinates move in blocks, of the updates of the last sweep.
    pub change: f32,
    pub trace: Vec<f64>,
    /// What the last step tells of its weights.
    pub report: Report,
    pub status: Status,
    pub done: bool,
    /// A state to compare later ones with, and the number of its update: the last power of two.
    saved: Option<(u32, Vec<f64>)>,
    /// After how many updates states are known to come back.
    period: Option<u32>,
}

impl QueryState {
    pub fn new(query: Query, trace: Vec<f64>) -> Self {
        Self {
            query,
            before: None,
            sum: None,
            value: Vec::new(),
            solved: Solved::Nothing,
            exact: false,
            steps: 0,
            change: 0.0,
            trace,
            report: Report::default(),
            status: Status::Answered,
            done: false,
            saved: None,
            period: None,
        }
    }

    /// Updates the state by weighted sums of keys and of values, which are empty where they were not asked for. Clamped
    /// coordinates are those of `row`.
    pub fn advance(&mut self, updates: &Updates<'_>, solved: &Solved, sums: (Vec<f64>, Vec<f64>), row: &[f32]) {
        let (keys, values) = sums;
        let mut next = if updates.next_values() { values.clone() } else { keys };
        self.value = values;
        self.steps += 1;
        self.solved = *solved;
        self.sum = None;
        // A query that no pattern is left for has the state zero, clamped coordinates included.
        if solved.is_nothing() {
            self.status = Status::NothingLeft;
        } else {
            self.sum = (!updates.keeps_sums() && !updates.next_values()).then(|| next.clone());
            if !updates.end(&mut next, solved, (row, &self.query), self.steps) {
                self.status = Status::OutOfRange;
                next.fill(0.0);
            }
        }
        let change = if self.is_out_of_range() { f32::MAX } else { narrow(largest_move(&self.query.exact, &next)) };
        self.change = if updates.begins_sweep(self.steps) { change } else { self.change.max(change) };
        let position = self.query.position;
        let next = Query::new(position, updates.beta(position, self.steps.saturating_add(1)), next);
        self.before = Some(std::mem::replace(&mut self.query, next));
    }

    /// Decides whether the last update was the last of all.
    pub fn stop(&mut self, updates: &Updates<'_>, options: &RetrieveOptions) {
        let capped = self.steps == options.max_steps();
        let converged = options.stops_early() && self.has_converged(updates);
        self.done = capped || converged || self.is_out_of_range();
        if !updates.may_cycle() || converged || self.is_out_of_range() {
            return;
        }
        if let (None, Some((step, state))) = (self.period, &self.saved)
            && *state == self.query.exact
        {
            self.period = Some(self.steps - step);
        }
        if self.steps.is_power_of_two() && self.period.is_none() {
            self.saved = Some((self.steps, self.query.exact.clone()));
        }
        // The state that the last update of all would give.
        if self.period.is_some_and(|period| (options.max_steps() - self.steps).is_multiple_of(period)) {
            (self.status, self.done) = (Status::Cycle, true);
        }
    }

    /// Whether the last update changed no more than the tolerance, and ended a sweep.
    pub fn has_converged(&self, updates: &Updates<'_>) -> bool {
        self.change <= updates.options().tolerance() && updates.ends_sweep(self.steps)
    }

    fn is_out_of_range(&self) -> bool {
        self.status == Status::OutOfRange
    }

    /// Whether the state and the output are zero, whatever the sums are.
    pub fn is_zero(&self) -> bool {
        self.is_out_of_range() || self.status == Status::NothingLeft
    }

    /// The output, where it is not the state.
    pub fn output(&self) -> Option<&[f64]> {
        match (&self.value[..], &self.sum) {
            ([], sum) => sum.as_deref(),
            (value, _) => Some(value),
        }
    }

    /// Ends a query whose output, of `columns` coordinates, has left the range of `f32`.
    pub fn check_output(&mut self, updates: &Updates<'_>, columns: usize) {
        let leaves = |output: &[f64]| !in_range(&output[..columns]);
        if updates.may_diverge() && !self.is_zero() && self.output().is_some_and(leaves) {
            self.status = Status::OutOfRange;
            self.change = f32::MAX;
            self.query.exact.fill(0.0);
        }
    }
}

/// `max |a - b|`, in lanes, for speed; the length of rows is a multiple of four.
pub(super) fn largest_move(a: &[f64], b: &[f64]) -> f64 {
    vectorized(|| {
        let mut lanes = [0.0f64; 4];
        for (a, b) in a.as_chunks::<4>().0.iter().zip(b.as_chunks::<4>().0) {
            for lane in 0..4 {
                let move_of = (a[lane] - b[lane]).abs();
                lanes[lane] = if move_of > lanes[lane] { move_of } else { lanes[lane] };
            }
        }
        lanes.into_iter().fold(0.0, f64::max)
    })
}
