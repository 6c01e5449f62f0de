//! What the reference expects of each answer, and how far rounding may take an answer from it.
//!
//! One update is bounded, per coordinate j of an answer y with weights p, by
//!
//! ```text
//! bound_j = 2 sum_i p_i r_i |k_ij - y_j|  +  sum_i min(p_i |k_ij|, u m_j)  +  m_j sum_i min(p_i, u)  +  8 eps m_j
//! r_i     = eps (2 sqrt(d) |beta| |x| |k_i|  +  8  +  3 |z_i - max z|),  m_j = sum_i p_i |k_ij|,  eps = 2 u = 2^-23
//! ```
//!
//! `r_i` is the relative error of a weight: a dot product of `d` terms whose errors add up like a random walk (Higham and
//! Mary 2019), and an exponential as WGSL allows it, 3 + 2 |argument| ulps, with room for the rescaling of an online
//! softmax. Relative errors of weights move `y` along `k_i - y` alone, so that a sharp answer, all weight on one pattern,
//! is held to little. The factor 2 covers what is not of first order.
//!
//! The next two terms are the sums over patterns, above and below the fraction. An addition rounds by at most `u` of the
//! sum, and never by more than what is added. They add up without any hope of cancelling: a long tail of weights near
//! `u` rounds the same way again and again, in every coordinate that the patterns share (measured: 5e-6 on digits at
//! beta 0.1). The last term is the products, the division and the merging of parts.
//!
//! An error `e` of the state from earlier updates (2-norm) adds `|beta| L e`, where `L` is the largest eigenvalue of the
//! covariance of the keys under `p`: the derivative of the update is `beta` times that covariance.

use attractor::reference::{Problem, project, separate};
use rayon::prelude::*;

use crate::progress;

const EPSILON: f64 = f32::EPSILON as f64;

/// What one answer should be.
#[derive(Clone, Debug)]
pub struct Expected {
    /// The reference's answer.
    pub output: Vec<f64>,
    /// The largest error of a coordinate that rounding explains.
    pub bound: f64,
}

/// How one answer compares.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdict {
    /// The largest error of a coordinate; infinite where the answer is not finite.
    pub error: f64,
    /// What it may be.
    pub bound: f64,
}

impl Verdict {
    /// Whether rounding explains the error.
    pub fn agrees(&self) -> bool {
        self.error <= self.bound
    }

    /// The one that uses more of its bound.
    pub fn worse(self, other: Self) -> Self {
        // Multiplied out: a bound may be zero.
        if other.error * self.bound > self.error * other.bound || !other.agrees() && self.agrees() {
            other
        } else {
            self
        }
    }
}

impl Expected {
    /// Holds `answer` against what was expected.
    pub fn judge(&self, answer: &[f32]) -> Verdict {
        let mut error = if answer.len() == self.output.len() { 0.0 } else { f64::INFINITY };
        for (&got, want) in answer.iter().zip(&self.output) {
            let off = if got.is_finite() { (f64::from(got) - want).abs() } else { f64::INFINITY };
            error = f64::max(error, off);
        }
        Verdict { error, bound: self.bound }
    }
}

/// What the reference expects for each row of `queries`, on all cores.
pub fn expect(problem: &Problem<'_>, queries: &[f32], steps: u32) -> Vec<Expected> {
    let norms: Vec<f64> = problem.keys.chunks_exact(problem.dim).map(norm32).collect();
    let bar = progress::bar(queries.len() / problem.dim, "reference");
    let expected = queries
        .par_chunks_exact(problem.dim)
        .map(|query| {
            let expected = expect_one(problem, &norms, query, steps);
            bar.inc(1);
            expected
        })
        .collect();
    bar.finish_and_clear();
    expected
}

fn expect_one(problem: &Problem<'_>, norms: &[f64], query: &[f32], steps: u32) -> Expected {
    let mut x: Vec<f64> = query.iter().map(|&q| f64::from(q)).collect();
    let mut carried = 0.0;
    let mut bound = 0.0;
    for step in 0..steps {
        let scores = problem.scores(&x);
        let weights = separate(problem.rule.separation, &scores);
        let y = project(&weights, problem.keys, problem.dim);
        let own = rounding(problem, norms, &x, &scores, &weights, &y);
        let inherited = if step == 0 { 0.0 } else { carried * sensitivity(problem, &weights, &y) };
        bound = own.iter().copied().fold(0.0, f64::max) + inherited;
        carried = norm(&own) + inherited;
        x = y;
    }
    Expected { output: x, bound }
}

/// `bound_j` of one update.
fn rounding(problem: &Problem<'_>, norms: &[f64], x: &[f64], scores: &[f64], weights: &[f64], y: &[f64]) -> Vec<f64> {
    let score = 2.0 * (problem.dim as f64).sqrt() * f64::from(problem.rule.beta).abs() * norm(x);
    let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut mass = vec![0.0; problem.dim];
    let mut divisor = 0.0;
    for (i, key) in carrying(problem, weights) {
        mass.iter_mut().zip(key).for_each(|(mass, &k)| *mass += weights[i] * f64::from(k).abs());
        divisor += f64::min(weights[i], EPSILON / 2.0);
    }
    let mut bound: Vec<f64> = mass.iter().map(|mass| mass * (divisor + 8.0 * EPSILON)).collect();
    for (i, key) in carrying(problem, weights) {
        let relative = 2.0 * EPSILON * (score * norms[i] + 8.0 + 3.0 * (scores[i] - top).abs());
        for (j, &k) in key.iter().enumerate() {
            let k = f64::from(k);
            let added = f64::min(weights[i] * k.abs(), EPSILON / 2.0 * mass[j]);
            bound[j] += weights[i] * relative * (k - y[j]).abs() + added;
        }
    }
    bound
}

/// `|beta| L`, with `L` by power iteration and doubled, because that approaches it from below.
fn sensitivity(problem: &Problem<'_>, weights: &[f64], y: &[f64]) -> f64 {
    const ROUNDS: usize = 12;
    // Any start does that is not orthogonal to the leading direction; this one has no structure that digits share.
    let mut v: Vec<f64> = (0..problem.dim).map(|j| (1.0 + j as f64 * 0.618_033_988_75).sin()).collect();
    let mut eigenvalue = 0.0;
    for _ in 0..ROUNDS {
        let length = norm(&v).max(f64::MIN_POSITIVE);
        for c in &mut v {
            *c /= length;
        }
        let mut next = vec![0.0; problem.dim];
        for (i, key) in carrying(problem, weights) {
            let off = || key.iter().zip(y).map(|(&k, y)| f64::from(k) - y);
            let along = weights[i] * off().zip(&v).map(|(a, b)| a * b).sum::<f64>();
            next.iter_mut().zip(off()).for_each(|(next, off)| *next += along * off);
        }
        eigenvalue = norm(&next);
        v = next;
    }
    2.0 * f64::from(problem.rule.beta).abs() * eigenvalue
}

/// The patterns whose weight can matter to an f32: the rest of them together stay far below its epsilon.
fn carrying<'a>(problem: &Problem<'a>, weights: &'a [f64]) -> impl Iterator<Item = (usize, &'a [f32])> {
    problem.keys.chunks_exact(problem.dim).enumerate().filter(|(i, _)| weights[*i] > 1e-18)
}

fn norm(v: &[f64]) -> f64 {
    v.iter().map(|c| c * c).sum::<f64>().sqrt()
}

fn norm32(v: &[f32]) -> f64 {
    v.iter().map(|&c| f64::from(c).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use attractor::{Device, Memory, RetrieveOptions, Rule};

    const DIM: usize = 24;

    fn keys() -> Vec<f32> {
        (0..40 * DIM).map(|i| ((i * i + 7 * i) as f32 * 0.37).sin()).collect()
    }

    /// At betas from blunt to sharp and over several steps: a right answer passes, the bound means something, and an
    /// answer that is off by twice the bound in one coordinate does not pass.
    #[test]
    fn right_answers_pass_and_wrong_ones_do_not() {
        let keys = keys();
        let queries: Vec<f32> = (0..20 * DIM).map(|i| keys[i] + ((i * 31) as f32).cos() * 0.3).collect();
        for beta in [0.0, 0.2, 1.0, 20.0, -0.1] {
            for steps in [1, 2, 5] {
                let rule = Rule::softmax(beta);
                let expected = expect(&Problem::new(rule, DIM, &keys), &queries, steps);
                let mut memory = Memory::new(&Device::cpu(), DIM, rule).unwrap();
                memory.add(&keys).unwrap();
                let answers = memory.retrieve_with_blocking(&queries, &RetrieveOptions::steps(steps)).unwrap();
                for (b, expected) in expected.iter().enumerate() {
                    let verdict = expected.judge(answers.output(b));
                    assert!(verdict.agrees(), "beta {beta}, steps {steps}, query {b}: {verdict:?}");
                    assert!(verdict.bound < 1e-2, "beta {beta}, steps {steps}: a bound of {}", verdict.bound);
                    let mut wrong = answers.output(b).to_vec();
                    wrong[DIM - 1] += 2.0 * verdict.bound as f32;
                    assert!(!expected.judge(&wrong).agrees());
                    wrong[DIM - 1] = f32::NAN;
                    assert!(!expected.judge(&wrong).agrees());
                    assert!(!expected.judge(&wrong[1..]).agrees());
                }
            }
        }
    }

    #[test]
    fn the_worse_verdict_is_kept() {
        let (good, bad) = (Verdict { error: 1.0, bound: 4.0 }, Verdict { error: 1e-6, bound: 1e-7 });
        assert!(!good.worse(bad).agrees() && !bad.worse(good).agrees());
        assert!(!Verdict::default().worse(bad).agrees());
        let lost = Verdict { error: f64::INFINITY, bound: 1.0 };
        assert!(!good.worse(lost).agrees() && !lost.worse(good).agrees() && !Verdict::default().worse(lost).agrees());
    }
}
