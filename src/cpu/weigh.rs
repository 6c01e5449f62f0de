//! Weights of softmax once its maximum and sum are known: one more scan of approximate scores for a block of queries,
//! for statistics and for weights in full.

#![allow(clippy::inline_always, reason = "see `simd`")]

use std::sync::MutexGuard;

use rayon::prelude::*;

use crate::cpu::pack::{Form, Packed, Query};
use crate::cpu::parts::{ranges_of, taken};
use crate::cpu::plan::Plan;
use crate::cpu::scan;
use crate::cpu::simd::vector::{MAX_LANES, Simd, Work, by_vectors};
use crate::cpu::tiles::split;
use crate::exact::softmax::UNWEIGHED;
use crate::exact::solved::Solved;

/// A query to weigh: the state that was compared, and its softmax.
pub(super) struct Weighed<'q, 'w> {
    pub query: &'q Query,
    pub max: f64,
    pub sum: f64,
    /// The row for its weights, of zeros, if they are reported.
    pub row: Option<MutexGuard<'w, &'w mut [f32]>>,
}

impl<'q, 'w> Weighed<'q, 'w> {
    /// `None` where no pattern is usable, or for another separation.
    pub fn new(query: &'q Query, solved: Solved, row: Option<MutexGuard<'w, &'w mut [f32]>>) -> Option<Self> {
        match solved {
            Solved::Softmax { max, sum, .. } => Some(Self { query, max, sum, row }),
            _ => None,
        }
    }
}

/// Sums over the patterns of one query, `w` being `exp(z - max)`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Patterns with weight in `f32`.
    pub support: u32,
    /// `sum w`.
    pub mass: f64,
    /// `sum w (z - max)`.
    pub moment: f64,
    /// The largest `w`.
    pub largest: f32,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.support += other.support;
        self.mass += other.mass;
        self.moment += other.moment;
        self.largest = self.largest.max(other.largest);
    }
}

impl Plan<'_> {
    /// Weighs a block of queries, writes their rows of weights, and returns a tally of each.
    pub(super) fn weigh(&self, mut block: Vec<Weighed<'_, '_>>) -> Vec<Tally> {
        let ranges = split(&self.view.range, self.splits);
        let mut guards: Vec<_> = block.iter_mut().map(|one| one.row.take()).collect();
        let rows: Vec<_> =
            guards.iter_mut().map(|row| ranges_of(row.as_mut().map(|row| &mut row[..]), &ranges)).collect();
        let queries: Vec<&Query> = block.iter().map(|one| one.query).collect();
        let packed = Packed::new(self.form, self.view.engine.rule.similarity, self.level.lanes(), &queries);
        let lanes = if packed.form == Form::Panel { packed.width } else { packed.queries };
        // Rounded as the scores are: softmax1 alone may have a maximum of its own, which is zero.
        let mut maxima = vec![0.0; lanes];
        maxima.iter_mut().zip(&block).for_each(|(max, one)| *max = one.max as f32);
        let shares: Vec<f32> = block.iter().map(|one| (1.0 / one.sum) as f32).collect();
        let parts: Vec<Vec<Tally>> = ranges
            .par_iter()
            .enumerate()
            .map(|(number, range)| {
                let mut rows: Vec<_> = rows.iter().map(|row| taken(row, number)).collect();
                let mut tallies = vec![Tally::default(); lanes];
                scan::scores(&self.view, self.level, &packed, &queries, range, false, |tile, pitch, scores| {
                    let (form, count) = (packed.form, scan::scored(packed.form, tile));
                    let tallies = &mut tallies;
                    self.level.run(Weigh { form, pitch, count, scores: &mut *scores, maxima: &maxima, tallies });
                    for (q, (row, share)) in rows.iter_mut().zip(&shares).enumerate() {
                        let Some(row) = row else { continue };
                        let row = &mut row[tile.first - range.start..][..tile.span];
                        match form {
                            Form::Panel => {
                                let column = scores[q..].iter().step_by(pitch).take(count).enumerate();
                                column.for_each(|(t, weight)| row[tile.place(t)] = weight * share);
                            }
                            Form::Rows => {
                                let weights = &scores[q * pitch..][..count];
                                row.iter_mut().zip(weights).for_each(|(to, weight)| *to = weight * share);
                            }
                        }
                    }
                });
                tallies
            })
            .collect();
        let mut totals = vec![Tally::default(); block.len()];
        for part in &parts {
            totals.iter_mut().zip(part).for_each(|(total, tally)| total.add(tally));
        }
        totals
    }
}

/// Turns one tile of scores (`-inf` where masked) into `exp(z - max)`, and adds them to the tallies. The layout of the
/// scores is that of [`Scores`](super::similarity::Scores); scores beyond `count` have any value.
struct Weigh<'a> {
    form: Form,
    /// Floats from one row of a panel to the next, or from one query to the next, in whole vectors.
    pitch: usize,
    count: usize,
    scores: &'a mut [f32],
    maxima: &'a [f32],
    tallies: &'a mut [Tally],
}

/// The sums of one tile in the lanes of vectors.
struct Lanes<V> {
    support: V,
    mass: V,
    moment: V,
    largest: V,
}

impl<V: Copy> Lanes<V> {
    #[inline(always)]
    fn zeros<S: Simd<Vector = V>>(simd: S) -> Self {
        let zero = simd.splat(0.0);
        Self { support: zero, mass: zero, moment: zero, largest: zero }
    }

    /// Turns scores at `part` into weights, and adds them.
    #[inline(always)]
    fn fold<S: Simd<Vector = V>>(&mut self, simd: S, part: &mut [f32], max: V) {
        // Bounded below, so that no weight of zero is multiplied by an infinity.
        let difference = simd.max(simd.sub(simd.read(part), max), simd.splat(UNWEIGHED - 1.0));
        let weight = simd.exp(difference);
        simd.write(part, weight);
        self.support = simd.add(self.support, simd.select_ge(difference, simd.splat(UNWEIGHED), simd.splat(1.0)));
        self.mass = simd.add(self.mass, weight);
        self.moment = simd.mul_add(weight, difference, self.moment);
        self.largest = simd.max(self.largest, weight);
    }
}

impl Weigh<'_> {
    #[inline(always)]
    fn panel<S: Simd, const V: usize>(self, simd: S) {
        let width = V * S::LANES;
        let maxima: [S::Vector; V] = std::array::from_fn(|v| simd.read(&self.maxima[v * S::LANES..]));
        let mut sums: [Lanes<S::Vector>; V] = std::array::from_fn(|_| Lanes::zeros(simd));
        for row in self.scores[..self.count * width].chunks_exact_mut(width) {
            for v in 0..V {
                sums[v].fold(simd, &mut row[v * S::LANES..], maxima[v]);
            }
        }
        for (sums, tallies) in sums.iter().zip(self.tallies.chunks_exact_mut(S::LANES)) {
            let [mut support, mut mass, mut moment, mut largest] = [[0.0; MAX_LANES]; 4];
            simd.write(&mut support, sums.support);
            simd.write(&mut mass, sums.mass);
            simd.write(&mut moment, sums.moment);
            simd.write(&mut largest, sums.largest);
            for (lane, tally) in tallies.iter_mut().enumerate() {
                tally.add(&Tally {
                    support: support[lane] as u32,
                    mass: f64::from(mass[lane]),
                    moment: f64::from(moment[lane]),
                    largest: largest[lane],
                });
            }
        }
    }

    #[inline(always)]
    fn rows<S: Simd>(self, simd: S) {
        let rows = self.scores.chunks_exact_mut(self.pitch).zip(self.maxima).zip(self.tallies);
        for ((scores, max), tally) in rows {
            let padded = self.count.next_multiple_of(S::LANES);
            scores[self.count..padded].fill(f32::NEG_INFINITY);
            let mut sums = Lanes::zeros(simd);
            for part in scores[..padded].chunks_exact_mut(S::LANES) {
                sums.fold(simd, part, simd.splat(*max));
            }
            tally.add(&Tally {
                support: simd.reduce_sum(sums.support) as u32,
                mass: f64::from(simd.reduce_sum(sums.mass)),
                moment: f64::from(simd.reduce_sum(sums.moment)),
                largest: simd.reduce_max(sums.largest),
            });
        }
    }
}

impl Work for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.form {
            Form::Rows => self.rows(simd),
            Form::Panel => by_vectors!(S, self.pitch, self.panel::<S; V>(simd)),
        }
    }
}
