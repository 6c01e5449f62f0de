//! What one scan over some of the patterns leaves of one query, and how two of them become one.

use super::projection;
use super::separation::{Entry, preferred, softmax};
use super::walk::Tile;

/// Softmax over some patterns: the largest score, the sum of `exp(z - max)`, and the same sum weighted by the rows.
#[derive(Clone, Debug)]
pub(super) struct Online {
    pub max: f64,
    pub sum: f64,
    pub keys: Vec<f32>,
    /// Empty unless values are asked for.
    pub values: Vec<f32>,
}

/// Which entries a list may not lose.
#[derive(Clone, Copy, Debug)]
pub(super) enum Keep {
    /// Those less than this below the largest.
    Within(f64),
    /// The `k` most preferred, were scores off by up to half of `slack`.
    Largest { k: usize, slack: f64 },
}

/// The entries of some patterns that can have weight: a bounded list, or the news that it would have been too long.
#[derive(Clone, Debug)]
pub(super) struct Candidates {
    pub keep: Keep,
    pub entries: Vec<Entry>,
    pub overflow: bool,
    limit: usize,
    max: f64,
    /// Scores below this are out.
    floor: f64,
}

/// One of the two.
#[derive(Clone, Debug)]
pub(super) enum Scan {
    Online(Online),
    Candidates(Candidates),
}

impl Online {
    pub fn new(key_columns: usize, value_columns: usize) -> Self {
        Self { max: f64::NEG_INFINITY, sum: 0.0, keys: vec![0.0; key_columns], values: vec![0.0; value_columns] }
    }

    fn tile(&mut self, tile: &Tile<'_>, scores: &[f64], weights: &mut [f32]) {
        let shrink = softmax::tile(scores, weights, &mut self.max, &mut self.sum);
        projection::project(&mut self.keys, shrink, weights, tile.keys);
        if let Some(values) = tile.values {
            projection::project(&mut self.values, shrink, weights, values);
        }
    }

    fn merge(&mut self, other: &Self) {
        if other.max == f64::NEG_INFINITY {
            return;
        }
        let max = self.max.max(other.max);
        let (mine, theirs) = (softmax::shrink(self.max, max), softmax::shrink(other.max, max));
        self.max = max;
        self.sum = self.sum * mine + other.sum * theirs;
        for (into, from) in [(&mut self.keys, &other.keys), (&mut self.values, &other.values)] {
            for (sum, other) in into.iter_mut().zip(from) {
                *sum = *sum * mine as f32 + other * theirs as f32;
            }
        }
    }
}

impl Candidates {
    pub fn new(keep: Keep, limit: usize) -> Self {
        let max = f64::NEG_INFINITY;
        Self { keep, entries: Vec::new(), overflow: false, limit, max, floor: max }
    }

    pub fn push(&mut self, entry: Entry) {
        if self.overflow || entry.0 < self.floor || entry.0 == f64::NEG_INFINITY {
            return;
        }
        self.entries.push(entry);
        if entry.0 > self.max {
            self.max = entry.0;
            if let Keep::Within(width) = self.keep {
                self.floor = self.max - width;
            }
        }
        if self.entries.len() >= self.limit {
            self.prune();
            // A list that stays nearly full would be pruned again and again.
            if self.entries.len() > self.limit / 4 * 3 {
                self.overflow = true;
                self.entries = Vec::new();
            }
        }
    }

    /// Drops what the entries at hand rule out.
    pub fn prune(&mut self) {
        if let Keep::Largest { k, slack } = self.keep
            && self.entries.len() > k
        {
            self.floor = self.entries.select_nth_unstable_by(k - 1, preferred).1.0 - slack;
        }
        let floor = self.floor;
        self.entries.retain(|entry| entry.0 >= floor);
    }

    fn merge(&mut self, other: Self) {
        self.overflow |= other.overflow;
        if self.overflow {
            self.entries = Vec::new();
            return;
        }
        self.max = self.max.max(other.max);
        self.floor = self.floor.max(other.floor);
        let floor = self.floor;
        self.entries.retain(|entry| entry.0 >= floor);
        self.entries.extend(other.entries.into_iter().filter(|entry| entry.0 >= floor));
    }
}

impl Scan {
    /// Takes in the scores of one tile, `-inf` where masked.
    pub fn tile(&mut self, tile: &Tile<'_>, scores: &[f64], weights: &mut [f32]) {
        match self {
            Self::Online(online) => online.tile(tile, scores, weights),
            Self::Candidates(candidates) => {
                for (t, score) in scores.iter().enumerate() {
                    candidates.push((*score, tile.first + t));
                }
            }
        }
    }

    /// Takes in what later patterns left of the same query.
    pub fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Online(mine), Self::Online(other)) => mine.merge(&other),
            (Self::Candidates(mine), Self::Candidates(other)) => mine.merge(other),
            _ => unreachable!("one query is scanned in one way"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_keep_what_they_must_and_say_when_they_cannot() {
        let mut within = Candidates::new(Keep::Within(1.0), 8);
        for i in 0..1000 {
            within.push((f64::from(i) / 2.0, i as usize));
        }
        within.prune();
        let kept: Vec<usize> = within.entries.iter().map(|entry| entry.1).collect();
        assert_eq!(kept, [997, 998, 999]);

        let mut largest = Candidates::new(Keep::Largest { k: 2, slack: 0.0 }, 8);
        for i in 0..1000u32 {
            largest.push((f64::from(i * 7919 % 1009), i as usize));
        }
        largest.prune();
        largest.entries.sort_by(preferred);
        let mut all: Vec<Entry> = (0..1000u32).map(|i| (f64::from(i * 7919 % 1009), i as usize)).collect();
        all.sort_by(preferred);
        assert_eq!(largest.entries, all[..2]);

        let mut equal = Candidates::new(Keep::Within(1.0), 8);
        (0..8).for_each(|i| equal.push((0.0, i)));
        assert!(equal.overflow);
    }
}
