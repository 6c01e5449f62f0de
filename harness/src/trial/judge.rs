//! A trial is run on a device and held against the bounds of [`crate::interval`].

use std::panic::{AssertUnwindSafe, catch_unwind};

use attractor::partial::{Partial, PartialOptions};
use attractor::retrieval::{Status, WeightsOf};
use attractor::{Device, Error, Mask, Memory, PatternId, Precision, Retrieval, RetrieveOptions};

use super::{Outcome, Trial, Way};
use crate::case::Case;
use crate::interval::{Expected, Store};

impl Trial {
    /// Which patterns are left.
    pub fn alive(&self) -> Vec<bool> {
        (0..self.case.patterns()).map(|i| !self.removed.contains(&i)).collect()
    }

    fn without_reports(&self, steps: u32, tolerance: Option<f32>) -> RetrieveOptions {
        Case { steps, tolerance, ..self.case.clone() }.options()
    }

    fn options(&self, steps: u32, tolerance: Option<f32>) -> RetrieveOptions {
        let mut options = self.without_reports(steps, tolerance).top(self.top).weights(match self.weights {
            true => WeightsOf::All,
            false => WeightsOf::None,
        });
        if self.energy {
            options = options.energy();
        }
        if self.statistics {
            options = options.statistics();
        }
        if let Some(least) = self.least_weight {
            options = options.weight_at_least(least);
        }
        options
    }

    fn build(&self, device: &Device) -> attractor::Result<Memory> {
        let mut memory = self.case.build(device)?;
        for i in &self.removed {
            memory.remove(PatternId(*i as u64))?;
        }
        Ok(memory)
    }

    fn ask(&self, memory: &Memory, options: &RetrieveOptions) -> attractor::Result<Retrieval> {
        match self.way {
            Way::Blocking | Way::Parts => memory.retrieve_blocking(&self.case.queries, options),
            Way::Awaited => memory.retrieve(&self.case.queries, options).and_then(pollster::block_on),
        }
    }

    /// What the memory stores of its rows.
    fn stored(&self, memory: &Memory) -> attractor::Result<Store> {
        let mut store = Store::new(&self.case);
        store.flushes = !memory.device().is_cpu();
        if self.case.precision != Precision::F32 {
            for i in (0..self.case.patterns()).filter(|i| !self.removed.contains(i)) {
                store.set(i, &memory.get(PatternId(i as u64))?);
            }
        }
        Ok(store)
    }

    /// Asks the device, and judges what comes. `damage` is done to the answer before.
    pub fn run(&self, device: &Device, damage: impl Fn(&mut Retrieval)) -> Outcome {
        let asked = catch_unwind(AssertUnwindSafe(|| self.outcome(device, &damage)));
        match asked {
            Ok(Ok(outcome)) => outcome,
            // Finite numbers and sound options are refused for their range, or because a device lacks something.
            Ok(Err(
                error @ (Error::Range { .. }
                | Error::Parameter { parameter: "beta", .. }
                | Error::Unsupported { .. }
                | Error::Limit { .. }),
            )) => Outcome::Refused(error.to_string()),
            Ok(Err(error)) => Outcome::Wrong(format!("error: {error}")),
            Err(_) => Outcome::Wrong("it panicked".into()),
        }
    }

    fn outcome(&self, device: &Device, damage: &dyn Fn(&mut Retrieval)) -> attractor::Result<Outcome> {
        let memory = self.build(device)?;
        let store = self.stored(&memory)?;
        if let Some(wrong) = store.wrong(self) {
            return Ok(Outcome::Wrong(wrong));
        }
        if self.way == Way::Parts {
            return self.parts(&memory, &store);
        }
        let max = self.case.steps;
        // The states on the way, by retrievals of fewer steps: each update is judged by itself, from the state that the
        // device had.
        let mut states = vec![self.case.queries.clone()];
        let mut changes: Vec<Vec<f32>> = Vec::new();
        let mut refused: Vec<Option<Status>> = vec![None; self.case.batch()];
        for steps in 1..=max {
            let got = self.ask(&memory, &self.without_reports(steps, None))?;
            for (b, status) in got.status.iter().enumerate() {
                if !matches!(status, Status::Answered | Status::NothingLeft) {
                    refused[b].get_or_insert(*status);
                }
            }
            states.push(got.state);
            changes.push(got.change);
        }
        let mut got = self.ask(&memory, &self.options(max, self.case.tolerance))?;
        damage(&mut got);
        for (b, refused) in refused.iter_mut().enumerate() {
            if !matches!(got.status[b], Status::Answered | Status::NothingLeft) {
                refused.get_or_insert(got.status[b]);
            }
            if refused.is_some() {
                continue;
            }
            if let Err(wrong) = self.judge(&store, &got, &states, &changes, b) {
                return Ok(Outcome::Wrong(format!("query {b}: {wrong}")));
            }
        }
        match refused.iter().flatten().next() {
            Some(status) => Ok(Outcome::Refused(format!("status {status:?}"))),
            None => Ok(Outcome::Right),
        }
    }

    /// Judges the answer to query `b`.
    fn judge(
        &self,
        store: &Store,
        got: &Retrieval,
        states: &[Vec<f32>],
        changes: &[Vec<f32>],
        b: usize,
    ) -> Result<(), String> {
        let case = &self.case;
        let row = |rows: &[f32]| rows[b * case.dim..(b + 1) * case.dim].to_vec();
        let steps = got.steps[b];
        if steps == 0 || steps > case.steps {
            return Err(format!("{steps} steps of at most {}", case.steps));
        }
        // Whether it stopped where its own changes say.
        for (step, changes) in changes.iter().enumerate().take(case.steps as usize) {
            let (step, change) = (step as u32 + 1, changes[b]);
            let Some(tolerance) = case.tolerance else {
                if steps != case.steps {
                    return Err(format!("{steps} steps instead of {}", case.steps));
                }
                break;
            };
            // A change that differs in the last digits from one way to the other.
            let margin = 1e-5 * tolerance.max(change);
            if step < steps && change < tolerance - margin {
                return Err(format!("went on after step {step}, which changed {change:e} under {tolerance:e}"));
            }
            if step == steps && step < case.steps && change > tolerance + margin {
                return Err(format!("stopped after step {step}, which changed {change:e} over {tolerance:e}"));
            }
        }
        let mut expected = None;
        for step in 1..=steps as usize {
            let before = row(&states[step - 1]);
            let update = Expected::new(self, store, b, &before, step > 1);
            let after = if step == steps as usize { got.state_row(b).to_vec() } else { row(&states[step]) };
            update.state(&after).map_err(|wrong| format!("state of step {step}: {wrong}"))?;
            let change = if step == steps as usize { got.change[b] } else { changes[step - 1][b] };
            Expected::change(&before, &after, change).map_err(|wrong| format!("change of step {step}: {wrong}"))?;
            expected = Some(update);
        }
        let expected = expected.expect("there is a step");
        if got.converged[b] != (got.change[b] <= case.tolerance.unwrap_or(attractor::retrieval::DEFAULT_TOLERANCE)) {
            return Err(format!("converged {} at a change of {:e}", got.converged[b], got.change[b]));
        }
        expected.status(got.status[b])?;
        expected.output(got.output_row(b)).map_err(|wrong| format!("output: {wrong}"))?;
        if self.weights {
            let n = case.patterns();
            let weights = got.weights.as_ref().ok_or("no weights")?;
            expected.weights(weights.get(b * n..(b + 1) * n).ok_or("too few weights")?)?;
        }
        if self.top > 0 {
            let top = got.top.as_ref().ok_or("no top")?;
            let ranks = b * top.k..(b + 1) * top.k;
            let found = top.found.as_ref().and_then(|found| found.get(b));
            let least = self.least_weight.map(|least| Ok((least, *found.ok_or("no count")?)));
            let least = least.transpose().map_err(|why: &str| why.to_string())?;
            expected.top(self.top, least, &top.ids[ranks.clone()], &top.weight[ranks])?;
        }
        if self.statistics {
            expected.statistics(&got.statistics.as_ref().ok_or("no statistics")?[b])?;
        }
        if self.energy {
            expected.energy(got.state_row(b), got.energy.as_ref().ok_or("no energy")?[b])?;
        }
        Ok(())
    }

    /// Asks parts of the memory, and judges what they come to.
    fn parts(&self, memory: &Memory, store: &Store) -> attractor::Result<Outcome> {
        let n = self.case.patterns();
        let cuts = [0, n / 3, n / 2, n];
        let mut merged: Vec<Option<Partial>> = vec![None; self.case.batch()];
        for cut in cuts.windows(2) {
            let mut options = PartialOptions::default().subset(cut[0]..cut[1]).top(self.top);
            if let Some(keep) = &self.case.keep {
                options = options.mask(Mask::keep_per_query(keep));
            }
            let parts = memory.retrieve_partial_blocking(&self.case.queries, &options)?;
            for (merged, part) in merged.iter_mut().zip(parts) {
                // Over the wire, as parts go.
                let part = Partial::from_bytes(&part.to_bytes())?;
                *merged = Some(match merged.take() {
                    Some(before) => before.merge(part)?,
                    None => part,
                });
            }
        }
        for (b, merged) in merged.into_iter().enumerate() {
            let Some(merged) = merged else { return Ok(Outcome::Wrong("no parts".into())) };
            let finished = merged.finish();
            if !matches!(finished.status, Status::Answered | Status::NothingLeft) {
                return Ok(Outcome::Refused(format!("status {:?}", finished.status)));
            }
            let expected = Expected::new(self, store, b, self.case.query(b), false);
            let places = self.top.min(n);
            let mut ids: Vec<Option<PatternId>> = finished.top.iter().map(|one| Some(PatternId(one.index))).collect();
            let mut weights: Vec<f32> = finished.top.iter().map(|one| one.weight).collect();
            ids.resize(places.max(ids.len()), None);
            weights.resize(places.max(weights.len()), 0.0);
            let judged = expected
                .status(finished.status)
                .and_then(|()| expected.state(&finished.state))
                .and_then(|()| expected.output(&finished.output))
                .and_then(|()| expected.top(self.top, None, &ids, &weights));
            if let Err(wrong) = judged {
                return Ok(Outcome::Wrong(format!("query {b} of merged parts: {wrong}")));
            }
        }
        Ok(Outcome::Right)
    }
}
