//! What the reference expects of each answer, and how far rounding may take an answer from it.
//!
//! One update is bounded, per coordinate j of an answer y with weights p, by
//!
//! ```text
//! bound_j = A_j  +  sum_i min(p_i |k_ij|, u m_j)  +  m_j sum_i min(p_i, u)  +  8 eps m_j
//! m_j     = sum_i p_i |k_ij|,  eps = 2 u = 2^-23,  a = 2 eps sqrt(d) |beta| |x|
//!
//! softmax A_j = 2 sum_i p_i (a |k_i| + 8 eps + 3 eps |z_i - max z|) |k_ij - y_j|
//! entmax  A_j = sum_i s_i (e_i + max e) |k_ij - y_j|,  e_i = a |k_i| + 16 eps
//! s_i         = [(alpha-1) (z_i + 2 max e) - tau]_+ ^ ((2-alpha) / (alpha-1)),  1 < alpha <= 2
//! ```
//!
//! `a |k_i|` is the rounding of a score, a dot product of `d` terms whose errors add up like a random walk (Higham and
//! Mary 2019). The rest of a softmax weight's relative error is an exponential as WGSL allows it, 3 + 2 |argument|
//! ulps, with room for the rescaling of an online softmax; the factor 2 covers what is not of first order. Relative
//! errors of weights move `y` along `k_i - y` alone, so that a sharp answer, all weight on one pattern, is held to
//! little.
//!
//! Entmax needs no first order. Its Jacobian is `diag(s) - s s^T / sum s` with `s_i = p_i^(2-alpha)` on the support
//! (Peters et al. 2019), so that errors `e` of the scores move `y` at the rate `sum_i s_i (e_i - mean e) (k_ij - c)`,
//! whatever `c` is, the mean being weighted by `s`. Along the way from `z` to `z + e` the support changes, and `s` with
//! it; but `tau` moves by no more than the largest `(alpha-1) e` does, because it rises with every score and shifts
//! with all of them. The `s_i` above are the largest of the way: patterns just below the threshold count. The 16 eps
//! are for what stands between the scores and the weights: differences to the maximum and `tau`, all in [-1, 1].
//!
//! The next two terms are the sums over patterns, above and below the fraction. An addition rounds by at most `u` of
//! the sum, and never by more than what is added. They add up without any hope of cancelling: a long tail of weights
//! near `u` rounds the same way again and again, in every coordinate that the patterns share (measured: 5e-6 on digits
//! at beta 0.1). The last term is the products, the division and the merging of parts.
//!
//! Errors of the state are not followed from one update to the next: between attractors a network may multiply them by
//! `|beta| |k_1 - k_2|^2` with each, and a bound that allows for it soon allows everything. Every update is judged from
//! the state that the device had.

use attractor::reference::{project, separate};
use attractor::{Rule, Separation};

const EPSILON: f64 = f32::EPSILON as f64;

/// What one update is made of: a rule of dot similarity, and the keys.
pub struct Update<'a> {
    rule: Rule,
    dim: usize,
    keys: &'a [f32],
    /// `|k_i|`.
    norms: Vec<f64>,
}

/// How one answer compares.
#[derive(Clone, Copy, Debug)]
pub struct Verdict {
    /// The largest error of a coordinate; infinite where the answer is not finite.
    pub error: f64,
    /// What it may be.
    pub bound: f64,
    /// Whether it came to rest where it should.
    pub stopped: bool,
}

impl Default for Verdict {
    fn default() -> Self {
        Self { error: 0.0, bound: 0.0, stopped: true }
    }
}

impl Verdict {
    /// Whether rounding explains the error.
    pub fn agrees(&self) -> bool {
        self.error <= self.bound && self.stopped
    }

    /// The one that uses more of its bound.
    pub fn worse(self, other: Self) -> Self {
        if self.agrees() != other.agrees() {
            return if self.agrees() { other } else { self };
        }
        // Multiplied out: a bound may be zero. Between answers without error, the one that was held to less.
        let (used, more) = (self.error * other.bound, other.error * self.bound);
        if more > used || (more == used && other.bound > self.bound) { other } else { self }
    }
}

/// How a pattern that can have weight moves an answer.
struct Move {
    index: usize,
    /// How far along `k_i - y`.
    by: f64,
}

impl<'a> Update<'a> {
    /// Updates by `rule` over rows of `keys`, `dim` wide.
    pub fn new(rule: Rule, dim: usize, keys: &'a [f32]) -> Self {
        let norms = keys.chunks_exact(dim).map(|key| key.iter().map(|&k| f64::from(k).powi(2)).sum::<f64>().sqrt());
        Self { rule, dim, keys, norms: norms.collect() }
    }

    /// Holds `answer` against what the update of `state` should give.
    pub fn judge(&self, state: &[f32], answer: &[f32]) -> Verdict {
        let x: Vec<f64> = state.iter().map(|&x| f64::from(x)).collect();
        let beta = f64::from(self.rule.beta);
        let scores: Vec<f64> = self.keys.chunks_exact(self.dim).map(|key| beta * dot(&x, key)).collect();
        let weights = separate(self.rule.separation, &scores);
        let y = project(&weights, self.keys, self.dim);
        let bound = self.bound(&x, &scores, &weights, &y);
        let mut error = if answer.len() == y.len() { 0.0 } else { f64::INFINITY };
        for (&got, want) in answer.iter().zip(&y) {
            let off = if got.is_finite() { (f64::from(got) - want).abs() } else { f64::INFINITY };
            error = f64::max(error, off);
        }
        Verdict { error, bound, stopped: true }
    }

    /// The largest `bound_j`.
    fn bound(&self, x: &[f64], scores: &[f64], weights: &[f64], y: &[f64]) -> f64 {
        let moves = self.moves(x, scores, weights);
        let keys =
            || moves.iter().map(|moved| (moved, &self.keys[moved.index * self.dim..(moved.index + 1) * self.dim]));
        let mut mass = vec![0.0; self.dim];
        let mut divisor = 0.0;
        for (moved, key) in keys() {
            let p = weights[moved.index];
            mass.iter_mut().zip(key).for_each(|(mass, &k)| *mass += p * f64::from(k).abs());
            divisor += f64::min(p, EPSILON / 2.0);
        }
        let mut bound: Vec<f64> = mass.iter().map(|mass| mass * (divisor + 8.0 * EPSILON)).collect();
        for (moved, key) in keys() {
            let p = weights[moved.index];
            for (((bound, mass), y), &k) in bound.iter_mut().zip(&mass).zip(y).zip(key) {
                let k = f64::from(k);
                *bound += moved.by * (k - y).abs() + f64::min(p * k.abs(), EPSILON / 2.0 * mass);
            }
        }
        bound.into_iter().fold(0.0, f64::max)
    }

    fn moves(&self, x: &[f64], scores: &[f64], weights: &[f64]) -> Vec<Move> {
        /// Softmax weights below this together stay far below the epsilon of an f32.
        const NOTHING: f64 = 1e-12;
        let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let a = 2.0 * EPSILON * (self.dim as f64).sqrt() * f64::from(self.rule.beta).abs() * norm;
        let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let alpha = match self.rule.separation {
            Separation::Sparsemax => 2.0,
            Separation::Entmax { alpha } => f64::from(alpha),
            _ => {
                let heavy = weights.iter().enumerate().filter(|(_, p)| **p > NOTHING);
                return heavy
                    .map(|(index, p)| {
                        let relative = a * self.norms[index] + EPSILON * (8.0 + 3.0 * (scores[index] - top).abs());
                        Move { index, by: 2.0 * p * relative }
                    })
                    .collect();
            }
        };
        let gain = alpha - 1.0;
        let error = |index: usize| a * self.norms[index] + 16.0 * EPSILON;
        let largest = (0..scores.len()).map(error).fold(0.0, f64::max);
        // The largest weight tells tau, as every weight of the support does.
        let tau = gain * top - weights.iter().copied().fold(0.0, f64::max).powf(gain);
        let above = |score: f64| gain * (score + 2.0 * largest) - tau;
        let near = scores.iter().enumerate().filter(|(_, score)| above(**score) > 0.0);
        near.map(|(index, score)| {
            let s = above(*score).powf((2.0 - alpha) / gain);
            Move { index, by: s * (error(index) + largest) }
        })
        .collect()
    }
}

/// In eight sums, which the compiler turns into vectors.
fn dot(x: &[f64], key: &[f32]) -> f64 {
    let ((x, x_rest), (key, key_rest)) = (x.as_chunks::<8>(), key.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (x, key) in x.iter().zip(key) {
        for lane in 0..8 {
            sums[lane] += x[lane] * f64::from(key[lane]);
        }
    }
    let rest = x_rest.iter().zip(key_rest).map(|(x, k)| x * f64::from(*k));
    sums.into_iter().chain(rest).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use attractor::reference::{Problem, similarity};
    use attractor::{Device, Memory, RetrieveOptions, Similarity};

    const DIM: usize = 27;
    const RULES: [Separation; 3] = [Separation::Softmax, Separation::Entmax { alpha: 1.5 }, Separation::Sparsemax];

    fn keys() -> Vec<f32> {
        (0..40 * DIM).map(|i| ((i * i + 7 * i) as f32 * 0.37).sin()).collect()
    }

    /// At betas from blunt to sharp: a right answer passes, the bound means something, and an answer that is off by
    /// twice the bound in one coordinate does not pass.
    #[test]
    fn right_answers_pass_and_wrong_ones_do_not() {
        let keys = keys();
        let queries: Vec<f32> = (0..20 * DIM).map(|i| keys[i] + ((i * 31) as f32).cos() * 0.3).collect();
        for (separation, beta) in RULES.iter().flat_map(|rule| [0.0, 0.2, 1.0, 20.0, -0.1].map(|beta| (*rule, beta))) {
            let rule = Rule::new(Similarity::Dot, separation, beta);
            let mut memory = Memory::new(&Device::cpu(), DIM, rule).unwrap();
            memory.add(&keys).unwrap();
            let answers = memory.retrieve_blocking(&queries, &RetrieveOptions::default()).unwrap();
            let update = Update::new(rule, DIM, &keys);
            for (b, query) in queries.chunks_exact(DIM).enumerate() {
                let verdict = update.judge(query, answers.output_row(b));
                assert!(verdict.agrees(), "{rule:?}, query {b}: {verdict:?}");
                assert!(verdict.bound < 1e-3, "{rule:?}: a bound of {}", verdict.bound);
                let mut wrong = answers.output_row(b).to_vec();
                wrong[DIM - 1] += 2.0 * verdict.bound as f32;
                assert!(!update.judge(query, &wrong).agrees());
                wrong[DIM - 1] = f32::NAN;
                assert!(!update.judge(query, &wrong).agrees());
                assert!(!update.judge(query, &wrong[1..]).agrees());
            }
        }
    }

    #[test]
    fn scores_are_those_of_the_reference() {
        let x: Vec<f64> = (0..DIM).map(|j| (j as f64).cos()).collect();
        for key in keys().chunks_exact(DIM) {
            let wide: Vec<f64> = key.iter().map(|&k| f64::from(k)).collect();
            assert!((dot(&x, key) - similarity(Similarity::Dot, &x, &wide)).abs() < 1e-13);
        }
    }

    /// Scores are moved by as much as they may be off, in many directions, where patterns are about to enter or to
    /// leave the support: the bound must cover the change of the answer there, and not by miles.
    #[test]
    fn the_bound_of_sparse_rules_covers_supports_that_change() {
        let keys = keys();
        for (separation, beta) in RULES[1..].iter().flat_map(|rule| [0.05, 0.2, 0.5].map(|beta| (*rule, beta))) {
            // A state so large that the scores' errors, which grow with it, move whole patterns; beta makes up for it.
            let scale = 1e4;
            let x: Vec<f64> = keys[..DIM].iter().map(|k| f64::from(*k) * scale).collect();
            let rule = Rule::new(Similarity::Dot, separation, beta / scale as f32);
            let scores = Problem::new(rule, DIM, &keys).scores(&x);
            let update = Update::new(rule, DIM, &keys);
            let error = 1e-3;
            // The errors that `moves` allows for are relative to |x|: pretend that this is what they are.
            let a = 2.0
                * EPSILON
                * (DIM as f64).sqrt()
                * f64::from(rule.beta)
                * x.iter().map(|x| x * x).sum::<f64>().sqrt();
            let stretched: Vec<f64> = x.iter().map(|x| x * error / a).collect();
            let weights = separate(separation, &scores);
            let y = project(&weights, &keys, DIM);
            let bound = update.bound(&stretched, &scores, &weights, &y);
            let mut most: f64 = 0.0;
            for direction in 0..200 {
                let moved = |i: usize| error * update.norms[i] * ((direction * 40 + i) as f64 * 1.7).sin().signum();
                let moved: Vec<f64> = scores.iter().enumerate().map(|(i, z)| z + moved(i)).collect();
                let moved = project(&separate(separation, &moved), &keys, DIM);
                most = moved.iter().zip(&y).fold(most, |most, (a, b)| most.max((a - b).abs()));
            }
            assert!(most <= bound && bound < 20.0 * most.max(1e-4), "{separation:?}, beta {beta}: {most} of {bound}");
        }
    }

    #[test]
    fn the_worse_verdict_is_kept() {
        let verdict = |error, bound| Verdict { error, bound, stopped: true };
        let (good, bad) = (verdict(1.0, 4.0), verdict(1e-6, 1e-7));
        assert!(!good.worse(bad).agrees() && !bad.worse(good).agrees());
        assert!(!Verdict::default().worse(bad).agrees() && Verdict::default().worse(good).error == 1.0);
        assert!(!good.worse(Verdict { stopped: false, ..good }).agrees());
        let lost = verdict(f64::INFINITY, 1.0);
        assert!(!good.worse(lost).agrees() && !lost.worse(good).agrees() && !Verdict::default().worse(lost).agrees());
    }
}
