//! Bounded lists of the patterns that can have weight, and the vectorized filter that fills them from tiles of scores.

#![allow(clippy::inline_always, reason = "see `simd`")]

use crate::cpu::pack::Form;
use crate::cpu::simd::vector::{MAX_LANES, Simd, Work};
use crate::exact::entry::{Entry, preferred};

/// The entries that a list must keep: those that either of its parts names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keep {
    /// Those at most this far below the largest score.
    pub width: Option<f64>,
    /// Those of at least this score.
    pub least: Option<f64>,
    /// Those that may be among so many most preferred.
    pub largest: usize,
    /// Twice the largest error of a score, for `largest`.
    pub margin: f64,
}

impl Keep {
    /// Those at most `width` below the largest score.
    pub fn within(width: f64) -> Self {
        Self { width: Some(width), least: None, largest: 0, margin: 0.0 }
    }

    /// Those of a score of at least `least`.
    pub fn at_least(least: f64) -> Self {
        Self { width: None, least: Some(least), largest: 0, margin: 0.0 }
    }

    /// Those that may be among the `k` most preferred if every score has an error of up to half of `margin`.
    pub fn largest(k: usize, margin: f64) -> Self {
        Self { width: None, least: None, largest: k, margin }
    }

    /// What a score must reach beside the largest, unless it is among the `largest`.
    pub fn floor(&self, largest: f64) -> f64 {
        match self.width {
            Some(width) => largest - width,
            None => self.least.unwrap_or(f64::INFINITY),
        }
    }

    /// These, and those that may be among the `k` most preferred.
    pub fn and_largest(self, k: usize, margin: f64) -> Self {
        Self { largest: self.largest.max(k), margin, ..self }
    }
}

/// The entries of some patterns that can have weight: a bounded list, or the fact that it would have been too long.
#[derive(Clone, Debug)]
pub(super) struct Candidates {
    pub keep: Keep,
    pub entries: Vec<Entry>,
    pub overflow: bool,
    limit: usize,
    /// The length at which the list is pruned next.
    full: usize,
    max: f64,
    /// Below the scores that may be among the `largest`; infinite if there are none of these.
    floor_of_largest: f64,
    /// Lower scores are not kept.
    floor: f64,
}

impl Candidates {
    pub fn new(keep: Keep, limit: usize) -> Self {
        let (max, entries) = (f64::NEG_INFINITY, Vec::new());
        // Only what is dropped from a list of the largest raises their floor.
        let (full, floor_of_largest) = match keep.largest {
            0 => (limit, f64::INFINITY),
            k => (limit.min(4 * k + 64), max),
        };
        let mut list = Self { keep, entries, overflow: false, limit, full, max, floor_of_largest, floor: max };
        list.raise_floor();
        list
    }

    /// Whether any pattern was usable, listed or not.
    pub fn has_seen(&self) -> bool {
        self.max > f64::NEG_INFINITY
    }

    /// Raises the floor by a score that is or will be pushed.
    fn observe(&mut self, score: f64) {
        if score > self.max {
            self.max = score;
            self.raise_floor();
        }
    }

    /// Sets the floor to what the maximum and the largest allow.
    fn raise_floor(&mut self) {
        self.floor = self.keep.floor(self.max).min(self.floor_of_largest);
    }

    /// Raises the floor by the largest score of a tile and returns the lowest score to push.
    fn floor_after(&mut self, largest: f32) -> f32 {
        self.observe(f64::from(largest));
        match self.overflow {
            true => f32::INFINITY,
            // Rounded down, since `push` compares again; at least the smallest number, which masked scores are below.
            false => ((self.floor - self.floor.abs() * f64::from(f32::EPSILON)) as f32).max(f32::MIN),
        }
    }

    /// Adds an entry, unless the others rule it out.
    pub fn push(&mut self, entry: Entry) {
        if self.overflow || entry.0 < self.floor || entry.0 == f64::NEG_INFINITY {
            return;
        }
        self.entries.push(entry);
        self.observe(entry.0);
        if self.entries.len() >= self.full {
            self.prune();
            // A list that stays nearly full would be pruned at every push.
            if self.entries.len() > self.full / 4 * 3 {
                if self.full == self.limit {
                    self.overflow = true;
                    self.entries = Vec::new();
                }
                self.full = self.limit.min(2 * self.full);
            }
        }
    }

    /// Drops the entries that the others rule out.
    pub fn prune(&mut self) {
        let Keep { largest, margin, .. } = self.keep;
        if largest > 0 && self.entries.len() > largest {
            let last = self.entries.select_nth_unstable_by(largest - 1, preferred).1.0;
            self.floor_of_largest = self.floor_of_largest.max(last - margin);
            self.raise_floor();
        }
        let floor = self.floor;
        self.entries.retain(|entry| entry.0 >= floor);
    }

    /// Merges the list of later patterns.
    pub fn merge(&mut self, mut other: Self) {
        self.overflow |= other.overflow;
        if self.overflow {
            self.entries = Vec::new();
            return;
        }
        self.max = self.max.max(other.max);
        self.floor_of_largest = self.floor_of_largest.max(other.floor_of_largest);
        let (mine, theirs) = (self.floor, other.floor);
        self.raise_floor();
        let floor = self.floor;
        if floor > mine {
            self.entries.retain(|entry| entry.0 >= floor);
        }
        if floor > theirs {
            other.entries.retain(|entry| entry.0 >= floor);
        }
        self.entries.append(&mut other.entries);
    }
}

/// Pushes the patterns of one tile that can have weight onto the lists of the queries. The layout of the scores is that
/// of [`Scores`](super::similarity::Scores); scores beyond `count` have any value.
pub(super) struct Filter<'a> {
    pub form: Form,
    /// Floats from one row of a panel to the next, or from one query to the next, in whole vectors.
    pub pitch: usize,
    pub count: usize,
    /// The position of the tile's first pattern.
    pub first: usize,
    /// The places in the tile of the patterns that have scores, if not all have.
    pub scored: Option<&'a [u8]>,
    pub scores: &'a mut [f32],
    pub lists: &'a mut [Candidates],
}

impl Filter<'_> {
    #[inline(always)]
    fn panel<S: Simd>(self, simd: S) {
        let scores = &self.scores[..self.count * self.pitch];
        for (lanes, lists) in self.lists.chunks_mut(S::LANES).enumerate() {
            let rows = || scores[lanes * S::LANES..].chunks(self.pitch).map(|row| simd.read(row));
            let mut maxima = simd.splat(f32::NEG_INFINITY);
            for row in rows() {
                maxima = simd.max(maxima, row);
            }
            let mut floors = [f32::INFINITY; MAX_LANES];
            simd.write(&mut floors, maxima);
            for (floor, list) in floors.iter_mut().zip(&mut *lists) {
                *floor = list.floor_after(*floor);
            }
            // Lanes without a query.
            floors[lists.len()..].fill(f32::INFINITY);
            let floors = simd.read(&floors);
            for (t, row) in rows().enumerate() {
                let mut bits = simd.ge_mask(row, floors);
                if bits != 0 {
                    let mut values = [0.0; MAX_LANES];
                    simd.write(&mut values, row);
                    while bits != 0 {
                        let lane = bits.trailing_zeros() as usize;
                        let place = self.scored.map_or(t, |scored| usize::from(scored[t]));
                        lists[lane].push((f64::from(values[lane]), self.first + place));
                        bits &= bits - 1;
                    }
                }
            }
        }
    }

    #[inline(always)]
    fn rows<S: Simd>(self, simd: S) {
        for (scores, list) in self.scores.chunks_exact_mut(self.pitch).zip(self.lists) {
            let padded = self.count.next_multiple_of(S::LANES);
            scores[self.count..padded].fill(f32::NEG_INFINITY);
            let parts = scores[..padded].chunks_exact(S::LANES);
            let mut maxima = simd.splat(f32::NEG_INFINITY);
            for part in parts.clone() {
                maxima = simd.max(maxima, simd.read(part));
            }
            let floor = simd.splat(list.floor_after(simd.reduce_max(maxima)));
            for (p, part) in parts.enumerate() {
                let mut bits = simd.ge_mask(simd.read(part), floor);
                while bits != 0 {
                    let lane = bits.trailing_zeros() as usize;
                    let t = p * S::LANES + lane;
                    let place = self.scored.map_or(t, |scored| usize::from(scored[t]));
                    list.push((f64::from(part[lane]), self.first + place));
                    bits &= bits - 1;
                }
            }
        }
    }
}

impl Work for Filter<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        match self.form {
            Form::Rows => self.rows(simd),
            Form::Panel => self.panel(simd),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_what_they_must_or_overflow() {
        let mut within = Candidates::new(Keep::within(1.0), 8);
        for i in 0..1000 {
            within.push((f64::from(i) / 2.0, i as usize));
        }
        within.prune();
        let kept: Vec<usize> = within.entries.iter().map(|entry| entry.1).collect();
        assert_eq!(kept, [997, 998, 999]);

        let mut largest = Candidates::new(Keep::largest(2, 0.0), 8);
        for i in 0..1000u32 {
            largest.push((f64::from(i * 7919 % 1009), i as usize));
        }
        largest.prune();
        largest.entries.sort_by(preferred);
        let mut all: Vec<Entry> = (0..1000u32).map(|i| (f64::from(i * 7919 % 1009), i as usize)).collect();
        all.sort_by(preferred);
        assert_eq!(largest.entries, all[..2]);

        // Scores 0 to 1008 in some order: 1008 and 1007 are within 1.5, and the largest three have 1006, too.
        let mut both = Candidates::new(Keep::within(1.5).and_largest(3, 0.0), 200);
        for i in 0..1009u32 {
            both.push((f64::from(i * 7919 % 1009), i as usize));
        }
        both.prune();
        both.entries.sort_by(preferred);
        assert_eq!(both.entries.iter().map(|entry| entry.0).collect::<Vec<_>>(), [1008.0, 1007.0, 1006.0]);

        let mut equal = Candidates::new(Keep::within(1.0), 8);
        (0..8).for_each(|i| equal.push((0.0, i)));
        assert!(equal.overflow);
    }
}
