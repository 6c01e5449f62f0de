//! Softmax online over tiles (Milakov and Gimelshein 2018): a running maximum and a running sum.

#![allow(clippy::inline_always, reason = "see `simd`")]

use crate::cpu::pack::Form;
use crate::cpu::simd::vector::{MAX_LANES, Simd, Work, by_vectors};

/// The running maxima and sums of some queries.
#[derive(Debug)]
pub struct Running {
    max: Vec<f32>,
    sum: Vec<f64>,
    /// The factor that rescales the sums of earlier tiles to the maximum after the last tile.
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

    /// Adds the sums of a tile; whether weighted sums of rows change.
    fn add(&mut self, tile: &[f32], from: usize) -> bool {
        let mut changes = false;
        for (q, tile) in (from..).zip(tile) {
            changes |= *tile > 0.0 || self.shrink[q] != 1.0;
            self.sum[q] = self.sum[q] * f64::from(self.shrink[q]) + f64::from(*tile);
        }
        changes
    }
}

/// Turns one tile of scores (`-inf` where masked) into weights `exp(z - max)`, after raising the running maxima, and
/// adds them to the running sums. The layout of the scores is that of [`Scores`](crate::cpu::similarity::Scores);
/// scores beyond `count` have any value. Returns false where all weights are zero and no sum is rescaled.
pub struct Fold<'a> {
    pub form: Form,
    /// Floats from one row of a panel to the next, or from one query to the next, in whole vectors.
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
        let mut maxima = [simd.splat(0.0); V];
        for (v, max) in maxima.iter_mut().enumerate() {
            *max = simd.read(&self.running.max[v * S::LANES..]);
        }
        let before = maxima;
        for row in scores.chunks_exact(width) {
            for (v, max) in maxima.iter_mut().enumerate() {
                *max = simd.max(*max, simd.read(&row[v * S::LANES..]));
            }
        }
        let mut changes = false;
        for v in 0..V {
            let lanes = v * S::LANES;
            simd.write(&mut self.running.max[lanes..], maxima[v]);
            // Finite where no pattern has been usable so far: no difference of infinities.
            maxima[v] = simd.max(maxima[v], simd.splat(f32::MIN));
            simd.write(&mut self.running.shrink[lanes..], simd.exp(simd.sub(before[v], maxima[v])));
        }
        let mut sums = [simd.splat(0.0); V];
        for row in scores.chunks_exact_mut(width) {
            for v in 0..V {
                let part = &mut row[v * S::LANES..];
                let weight = simd.exp(simd.sub(simd.read(part), maxima[v]));
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
            let mut maxima = simd.splat(before);
            for part in scores[..padded].chunks_exact(S::LANES) {
                maxima = simd.max(maxima, simd.read(part));
            }
            let max = simd.reduce_max(maxima);
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
                    // The first maximum rescales zeros.
                    assert_eq!(changed, changes, "{level:?} {form:?} {tile:?}");
                    assert!((0..queries).all(|q| (0..2).all(|t| (0.0..=1.0).contains(&scores[place(q, t)]))));
                }
                for q in 0..queries {
                    let (max, sum) = (running.max(q), running.sum(q));
                    assert!((max - 3.0f64.ln()).abs() < 1e-6 && (sum - 5.0 / 3.0).abs() < 1e-6, "{max} {sum}");
                }
            }
        }
    }
}
