//! What is asked of every device, what it makes of it, and what that is worth.

use std::time::{Duration, Instant};

use attractor::retrieval::Stop;
use attractor::{Device, Memory, Retrieval, RetrieveOptions, Rule};
use harness::idx::Images;
use rayon::prelude::*;

use super::damage::Damage;
use super::judge::{Update, Verdict};
use crate::failure::Failure;
use crate::ui::progress;

/// The cosine above which an image counts as recalled.
pub const RECALLED: f32 = 0.9;

/// What is asked of every device.
pub struct Trial {
    pub images: Images,
    pub damage: Damage,
    /// The damaged images, a row each.
    pub queries: Vec<f32>,
    pub rules: Vec<Rule>,
    pub stop: Stop,
}

/// What one device made of it by one rule.
pub struct Outcome {
    pub device: Device,
    pub rule: Rule,
    /// The answers to all queries.
    pub batch: Retrieval,
    /// The answer to the first query, asked alone.
    pub alone: Retrieval,
    /// One for each answer of the batch, and one for the query alone.
    pub verdicts: Vec<Verdict>,
    pub store_time: Duration,
    pub batch_time: Duration,
    pub alone_time: Duration,
}

/// What an outcome is worth.
pub struct Judgement {
    /// Whether each query brought its image back.
    pub found: Vec<bool>,
    /// The share of answers to which no stored image is nearer than the right one.
    pub nearest: f64,
    pub verdict: Verdict,
    pub wrong: usize,
}

/// A query on its way to its answer.
struct Walk {
    query: usize,
    state: Vec<f32>,
    next: Vec<f32>,
}

impl Walk {
    /// How far the largest change of a coordinate is.
    fn change(&self) -> f64 {
        self.state.iter().zip(&self.next).map(|(x, y)| f64::from((y - x).abs())).fold(0.0, f64::max)
    }
}

impl Trial {
    /// The outcome for the first `asked` queries.
    pub fn run(&self, device: &Device, rule: Rule, asked: usize) -> Result<Outcome, Failure> {
        let dim = self.images.dim();
        let start = Instant::now();
        let mut memory = Memory::new(device, dim, rule)?;
        memory.add(&self.images.pixels)?;
        let store_time = start.elapsed();

        // One query is asked first, with the plan of all that follow: it compiles the kernels. A query alone takes
        // another path than a batch, so its answer is checked like the rest.
        let timed = |queries: &[f32]| {
            let options = RetrieveOptions::default().stop(self.stop).statistics().plan_for(queries.len() / dim);
            memory.retrieve_blocking(&queries[..dim], &options)?;
            let start = Instant::now();
            let answer = memory.retrieve_blocking(queries, &options)?;
            Ok::<_, attractor::Error>((answer, start.elapsed()))
        };
        let (batch, batch_time) = timed(&self.queries[..asked * dim])?;
        let (alone, alone_time) = timed(&self.queries[..dim])?;
        let mut verdicts = self.verdicts(&memory, &batch)?;
        verdicts.extend(self.verdicts(&memory, &alone)?);
        Ok(Outcome { device: device.clone(), rule, batch, alone, verdicts, store_time, batch_time, alone_time })
    }

    /// Judges every update on the way to `answers`, which came to the first queries. The states before the last are not
    /// among the answers, so the memory is asked for them one update at a time, by the same plan.
    fn verdicts(&self, memory: &Memory, answers: &Retrieval) -> Result<Vec<Verdict>, Failure> {
        let dim = self.images.dim();
        let update = Update::new(memory.rule(), dim, &self.images.pixels);
        let (cap, tolerance) = match self.stop {
            Stop::Steps(steps) => (steps, None),
            Stop::Converge { max_steps, tolerance } => (max_steps, Some(f64::from(tolerance))),
            other => unreachable!("{other:?} is of another version"),
        };
        let mut verdicts: Vec<Verdict> = answers
            .steps
            .iter()
            .map(|steps| Verdict { stopped: (1..=cap).contains(steps), ..Verdict::default() })
            .collect();
        let options = RetrieveOptions::steps(1).plan_for(answers.batch);
        let mut walks: Vec<Walk> = (0..answers.batch)
            .zip(self.queries.chunks_exact(dim))
            .map(|(query, state)| Walk { query, state: state.to_vec(), next: Vec::new() })
            .collect();
        let bar = progress::bar(answers.steps.iter().map(|steps| *steps as usize).sum(), "reference");
        for step in 1..=cap {
            walks.retain(|walk| answers.steps[walk.query] >= step);
            let is_last = |walk: &Walk| answers.steps[walk.query] == step;
            let states: Vec<f32> =
                walks.iter().filter(|walk| !is_last(walk)).flat_map(|walk| &walk.state).copied().collect();
            let next = match states.is_empty() {
                true => Vec::new(),
                false => memory.retrieve_blocking(&states, &options)?.state,
            };
            let mut next = next.chunks_exact(dim);
            for walk in &mut walks {
                let next = if is_last(walk) { Some(answers.state_row(walk.query)) } else { next.next() };
                walk.next = next.unwrap_or_default().to_vec();
            }
            let judged: Vec<Verdict> = walks
                .par_iter()
                .map(|walk| {
                    let mut verdict = update.judge(&walk.state, &walk.next);
                    if let Some(tolerance) = tolerance {
                        verdict.stopped = match is_last(walk) {
                            true => step == cap || walk.change() <= tolerance + verdict.bound,
                            false => walk.change() >= tolerance - verdict.bound,
                        };
                    }
                    bar.inc(1);
                    verdict
                })
                .collect();
            for (walk, verdict) in walks.iter_mut().zip(judged) {
                verdicts[walk.query] = verdicts[walk.query].worse(verdict);
                walk.state = std::mem::take(&mut walk.next);
            }
        }
        bar.finish_and_clear();
        Ok(verdicts)
    }

    pub fn judge(&self, outcome: &Outcome) -> Judgement {
        let dim = self.images.dim();
        let wrong = outcome.verdicts.iter().filter(|verdict| !verdict.agrees()).count();
        let verdict = outcome.verdicts.iter().copied().reduce(Verdict::worse).unwrap_or_default();
        let output = &outcome.batch.output;
        let answers = output.chunks_exact(dim).zip(self.images.pixels.chunks_exact(dim));
        let found = answers.map(|(answer, image)| cosine(answer, image) > RECALLED).collect();
        Judgement { found, nearest: self.nearest(output), verdict, wrong }
    }

    fn nearest(&self, output: &[f32]) -> f64 {
        let dim = self.images.dim();
        let distance = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f32>();
        let right = output
            .par_chunks_exact(dim)
            .zip(self.images.pixels.par_chunks_exact(dim))
            .filter(|(answer, image)| {
                let own = distance(answer, image);
                self.images.pixels.chunks_exact(dim).all(|other| distance(answer, other) >= own)
            })
            .count();
        right as f64 / (output.len() / dim) as f64
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    (dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)) as f32
}

#[cfg(test)]
mod tests {
    use attractor::retrieval::DEFAULT_TOLERANCE;
    use attractor::{Separation, Similarity};

    use super::super::damage::Kind;
    use super::super::{CAP, digits, table};
    use super::*;

    #[test]
    fn cosine_of_nothing_is_nothing() {
        assert_eq!(cosine(&[0.0; 3], &[1.0, 2.0, 3.0]), 0.0);
        assert!((cosine(&[1.0, 2.0], &[2.0, 4.0]) - 1.0).abs() < 1e-6);
    }

    /// The check can fail: an answer is spoiled by more than rounding could, and one comes from a step too early.
    #[test]
    fn a_wrong_answer_is_reported() {
        let images = digits::built_in(Some(12)).unwrap();
        let damage = Damage::new(Kind::LowerHalf, None, 1).unwrap();
        let queries: Vec<f32> =
            (0..12).flat_map(|i| damage.apply(i, &images.pixels[i * 784..(i + 1) * 784], 28, 28)).collect();
        let separations = [Separation::Softmax, Separation::Entmax { alpha: 1.5 }, Separation::Sparsemax];
        let rules = separations.map(|separation| Rule::new(Similarity::Dot, separation, 1.0)).to_vec();
        let stop = Stop::Converge { max_steps: CAP, tolerance: DEFAULT_TOLERANCE };
        let trial = Trial { images, damage, queries, rules, stop };
        for &rule in &trial.rules {
            let mut outcome = trial.run(&Device::cpu(), rule, 12).unwrap();
            let right = trial.judge(&outcome);
            assert!(right.wrong == 0 && right.verdict.agrees() && right.nearest == 1.0, "{:?}", right.verdict);
            let mut memory = Memory::new(&Device::cpu(), 784, rule).unwrap();
            memory.add(&trial.images.pixels).unwrap();
            for spoil in [
                |answers: &mut Retrieval| answers.state[5 * 784 + 300] += 1e-4,
                |answers: &mut Retrieval| answers.steps[7] -= 1,
                |answers: &mut Retrieval| answers.steps[7] += 1,
                |answers: &mut Retrieval| answers.steps[7] = 0,
            ] {
                let mut answers = outcome.batch.clone();
                spoil(&mut answers);
                outcome.verdicts = trial.verdicts(&memory, &answers).unwrap();
                let wrong = trial.judge(&outcome);
                assert!(wrong.wrong == 1 && !wrong.verdict.agrees(), "{rule:?}");
                let row = table::cells(&outcome, &wrong).join(" ");
                assert!(row.contains("EXCEEDED") || row.contains("STOPPED ELSEWHERE"), "{row}");
            }
        }
    }
}
