//! Softmax and softmax1, online over tiles (Milakov and Gimelshein 2018): a running maximum and a running sum.

#![allow(clippy::inline_always, reason = "see `simd`")]

use super::{Entry, Solved};
use crate::cpu::simd::vector::{MAX_LANES, Simd, Work, by_vectors};
use crate::cpu::similarity::Form;

/// The running maxima and sums of some queries.
#[derive(Debug)]
pub struct Running {
    max: Vec<f32>,
    sum: Vec<f64>,
    /// By how much what was summed before the last tile must shrink.
    pub shrink: Vec<f32>,
}

impl Running {
    pub fn new(queries: usize) -> Self {
        Self { max: vec![f32::NEG_INFINITY; queries], sum: vec![0.0; queries], shrink: vec![1.0; queries] }
    }

    pub fn max(&self, query: usize) -> f64 {
        f64::from(self.max[query])
    }

    pub fn sum(&self, query: usize) -> f64 {
        self.sum[query]
    }

    /// Takes in the sums of a tile; whether anything changes for what is summed by weight.
    fn add(&mut self, tile: &[f32], from: usize) -> bool {
        let mut changes = false;
        for (q, tile) in (from..).zip(tile) {
            changes |= *tile > 0.0 || self.shrink[q] != 1.0;
            self.sum[q] = self.sum[q] * f64::from(self.shrink[q]) + f64::from(*tile);
        }
        changes
    }
}

/// Turns one tile of scores (`-inf` where masked) into weights `exp(z - max)`, after raising the running maxima, and adds
/// them to the running sums. The scores are as in [`Scores`](crate::cpu::similarity::Scores), those beyond `count` being
/// anything. False where all weights are zero and nothing shrinks.
pub struct Fold<'a> {
    pub form: Form,
    /// Of a panel, the floats of a row; else from one query's scores to the next, in whole vectors.
    pub pitch: usize,
    pub count: usize,
    pub scores: &'a mut [f32],
    pub running: &'a mut Running,
}

impl Fold<'_> {
    #[inline(always)]
    fn panel<S: Simd, const V: usize>(self, simd: S) -> bool {
        let width = V * S::LANES;
        let scores = &mut self.scores[..self.count * width];
        let mut most = [simd.splat(0.0); V];
        for (v, most) in most.iter_mut().enumerate() {
            *most = simd.read(&self.running.max[v * S::LANES..]);
        }
        let before = most;
        for row in scores.chunks_exact(width) {
            for (v, most) in most.iter_mut().enumerate() {
                *most = simd.max(*most, simd.read(&row[v * S::LANES..]));
            }
        }
        let mut changes = false;
        for v in 0..V {
            let lanes = v * S::LANES;
            simd.write(&mut self.running.max[lanes..], most[v]);
            // Nothing usable so far: no difference of infinities is taken.
            most[v] = simd.max(most[v], simd.splat(f32::MIN));
            simd.write(&mut self.running.shrink[lanes..], simd.exp(simd.sub(before[v], most[v])));
        }
        let mut sums = [simd.splat(0.0); V];
        for row in scores.chunks_exact_mut(width) {
            for v in 0..V {
                let part = &mut row[v * S::LANES..];
                let weight = simd.exp(simd.sub(simd.read(part), most[v]));
                simd.write(part, weight);
                sums[v] = simd.add(sums[v], weight);
            }
        }
        for (v, sum) in sums.iter().enumerate() {
            let mut tile = [0.0; MAX_LANES];
            simd.write(&mut tile, *sum);
            changes |= self.running.add(&tile[..S::LANES], v * S::LANES);
        }
        changes
    }

    #[inline(always)]
    fn rows<S: Simd>(self, simd: S) -> bool {
        let mut changes = false;
        for (q, scores) in self.scores.chunks_exact_mut(self.pitch).enumerate() {
            let padded = self.count.next_multiple_of(S::LANES);
            scores[self.count..padded].fill(f32::NEG_INFINITY);
            let before = self.running.max[q];
            let mut most = simd.splat(before);
            for part in scores[..padded].chunks_exact(S::LANES) {
                most = simd.max(most, simd.read(part));
            }
            let max = simd.reduce_max(most);
            self.running.max[q] = max;
            let base = simd.splat(max.max(f32::MIN));
            let mut shrink = [0.0; MAX_LANES];
            simd.write(&mut shrink, simd.exp(simd.sub(simd.splat(before), base)));
            self.running.shrink[q] = shrink[0];
            let mut sum = simd.splat(0.0);
            for part in scores[..padded].chunks_exact_mut(S::LANES) {
                let weight = simd.exp(simd.sub(simd.read(part), base));
                simd.write(part, weight);
                sum = simd.add(sum, weight);
            }
            changes |= self.running.add(&[simd.reduce_sum(sum)], q);
        }
        changes
    }
}

impl Work for Fold<'_> {
    type Output = bool;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> bool {
        match self.form {
            Form::Rows => self.rows(simd),
            Form::Panel => by_vectors!(S, self.pitch, self.panel::<S; V>(simd)),
        }
    }
}

/// How far below the largest of `patterns` scores an `f64` sum of their exponentials can show anything: all others together
/// are less than an eighth of its last place.
pub fn window(patterns: usize) -> f64 {
    39.0 + (patterns.max(1) as f64).ln()
}

/// `exp(before - max)`, also where there was nothing before.
pub fn shrink(before: f64, max: f64) -> f64 {
    if before == max { 1.0 } else { (before - max).exp() }
}

/// The solved of a row whose largest score is `max` and whose `exp(z - max)` sum to `sum`. Softmax1 has one more score,
/// zero, which takes part in the maximum and in the sum and belongs to no pattern.
pub fn solved(max: f64, sum: f64, plus_one: bool) -> Solved {
    if max == f64::NEG_INFINITY {
        return Solved::Nothing;
    }
    if !plus_one {
        return Solved::Softmax { max, sum, share: 1.0 / sum };
    }
    let high = max.max(0.0);
    let shrink = (max - high).exp();
    let sum = sum * shrink + (-high).exp();
    Solved::Softmax { max: high, sum, share: shrink / sum }
}

/// Solves a row of at least one entry.
pub fn solve(entries: &[Entry], plus_one: bool) -> Solved {
    let max = entries.iter().fold(f64::NEG_INFINITY, |max, entry| max.max(entry.0));
    solved(max, entries.iter().map(|entry| (entry.0 - max).exp()).sum(), plus_one)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::simd::level::Level;

    #[test]
    fn masked_tiles_before_between_and_after() {
        const MASKED: f32 = f32::NEG_INFINITY;
        let tiles = [[MASKED; 2], [0.0, MASKED], [MASKED; 2], [3.0f32.ln(), 0.0]];
        for level in Level::available() {
            let panels = (level.lanes()..=level.panel()).step_by(level.lanes()).map(|width| (Form::Panel, width));
            for (form, width) in std::iter::once((Form::Rows, 0)).chain(panels) {
                let (pitch, queries) = if form == Form::Rows { (MAX_LANES, 3) } else { (width, width) };
                let mut running = Running::new(queries);
                for (tile, changes) in tiles.iter().zip([true, true, false, true]) {
                    let mut scores = vec![f32::NAN; pitch * queries.max(2)];
                    let place = |q: usize, t: usize| if form == Form::Rows { q * pitch + t } else { t * pitch + q };
                    (0..queries).for_each(|q| (0..2).for_each(|t| scores[place(q, t)] = tile[t]));
                    let scores = &mut scores[..pitch * if form == Form::Rows { queries } else { 2 }];
                    let changed = level.run(Fold { form, pitch, count: 2, scores, running: &mut running });
                    // A maximum that was not there yet shrinks zeros.
                    assert_eq!(changed, changes, "{level:?} {form:?} {tile:?}");
                    assert!((0..queries).all(|q| (0..2).all(|t| (0.0..=1.0).contains(&scores[place(q, t)]))));
                }
                for q in 0..queries {
                    let (max, sum) = (running.max(q), running.sum(q));
                    assert!((max - 3.0f64.ln()).abs() < 1e-6 && (sum - 5.0 / 3.0).abs() < 1e-6, "{max} {sum}");
                }
            }
        }
        assert!(solved(f64::NEG_INFINITY, 0.0, true).is_nothing());
    }

    #[test]
    fn softmax1_far_below_zero_weighs_nothing() {
        let solved = solve(&[(-1e30, 0)], true);
        assert_eq!(solved.weight((-1e30, 0)), 0.0);
        assert_eq!(solve(&[(1e30, 0)], true).weight((1e30, 0)), 1.0);
    }
}
