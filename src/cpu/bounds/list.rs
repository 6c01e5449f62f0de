//! Bounded lists of the patterns that bounds of their scores do not rule out.

use crate::cpu::candidates::Keep;

/// A pattern with bounds of its exact score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::cpu) struct Bounded {
    pub lower: f64,
    pub upper: f64,
    pub index: usize,
}

/// The patterns that may be kept, in order of their pushes: a bounded list, or the fact that it would have been too
/// long. What is kept is within `keep.width` of the largest score, at least `keep.least`, or among the `keep.largest`
/// largest; bounds replace `keep.margin`.
#[derive(Clone, Debug)]
pub(in crate::cpu) struct BoundedList {
    keep: Keep,
    pub entries: Vec<Bounded>,
    pub overflow: bool,
    limit: usize,
    /// The length at which the list is pruned next.
    full: usize,
    largest_lower: f64,
    /// Not above the lower bounds of `keep.largest` patterns; infinite if there are none to keep.
    floor_of_largest: f64,
    /// Patterns whose upper bound is lower are not kept.
    floor: f64,
}

impl BoundedList {
    pub fn new(keep: Keep, limit: usize) -> Self {
        let none = f64::NEG_INFINITY;
        let (full, floor_of_largest) = match keep.largest {
            0 => (limit, f64::INFINITY),
            k => (limit.min(4 * k + 64), none),
        };
        let entries = Vec::new();
        let largest_lower = none;
        let mut list =
            Self { keep, entries, overflow: false, limit, full, largest_lower, floor_of_largest, floor: none };
        list.raise_floor();
        list
    }

    /// An empty list for the same query that keeps nothing which the patterns of this one rule out.
    pub fn continued(&self) -> Self {
        let Self { overflow, largest_lower, floor_of_largest, floor, .. } = *self;
        Self { overflow, largest_lower, floor_of_largest, floor, ..Self::new(self.keep, self.limit) }
    }

    /// Whether what is kept grows with the patterns.
    pub fn is_wide(&self) -> bool {
        self.keep.width.is_some() || self.keep.least.is_some()
    }

    /// Stops listing, as if the list had been too long.
    pub fn give_up(&mut self) {
        self.overflow = true;
        self.entries = Vec::new();
    }

    /// What an upper bound must reach.
    pub fn floor(&self) -> f64 {
        if self.overflow { f64::INFINITY } else { self.floor }
    }

    fn raise_floor(&mut self) {
        self.floor = self.keep.floor(self.largest_lower).min(self.floor_of_largest);
    }

    /// Adds a pattern, unless the others rule it out.
    pub fn push(&mut self, (lower, upper): (f64, f64), index: usize) {
        // A bound that is not a number bounds nothing.
        let lower = if lower.is_nan() { f64::NEG_INFINITY } else { lower };
        let upper = if upper.is_nan() { f64::INFINITY } else { upper };
        if self.overflow || upper < self.floor {
            return;
        }
        self.entries.push(Bounded { lower, upper, index });
        if lower > self.largest_lower {
            self.largest_lower = lower;
            self.raise_floor();
        }
        if self.entries.len() >= self.full {
            self.prune();
            // A list that stays nearly full would be pruned at every push.
            if self.entries.len() > self.full / 4 * 3 {
                if self.full == self.limit {
                    self.give_up();
                }
                self.full = self.limit.min(2 * self.full);
            }
        }
    }

    /// Drops the patterns that the others rule out.
    pub fn prune(&mut self) {
        let k = self.keep.largest;
        if k > 0 && self.entries.len() >= k {
            let of_lower = |a: &Bounded, b: &Bounded| b.lower.total_cmp(&a.lower).then(a.index.cmp(&b.index));
            let last = self.entries.select_nth_unstable_by(k - 1, of_lower).1.lower;
            self.floor_of_largest = self.floor_of_largest.max(last);
            self.raise_floor();
        }
        let floor = self.floor;
        self.entries.retain(|entry| entry.upper >= floor);
    }

    /// Merges the list of other patterns.
    pub fn merge(&mut self, mut other: Self) {
        self.overflow |= other.overflow;
        if self.overflow {
            self.give_up();
            return;
        }
        self.largest_lower = self.largest_lower.max(other.largest_lower);
        self.floor_of_largest = self.floor_of_largest.max(other.floor_of_largest);
        self.raise_floor();
        let floor = self.floor;
        other.entries.retain(|entry| entry.upper >= floor);
        self.entries.append(&mut other.entries);
        if self.entries.len() >= self.limit {
            self.prune();
            if self.entries.len() >= self.limit {
                self.give_up();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scores with intervals of any width around them.
    fn intervals(count: usize) -> Vec<(f64, Bounded)> {
        let number = |i: usize, seed: usize| ((i * 7919 + seed * 104_729) % 1009) as f64 / 1009.0;
        let of = |index| {
            let (score, width) = (number(index, 1) * 20.0, number(index, 2).powi(4) * 3.0);
            let lower = score - width * number(index, 3);
            (score, Bounded { lower, upper: lower + width, index })
        };
        (0..count).map(of).collect()
    }

    #[test]
    fn lists_keep_what_may_matter_and_little_else() {
        let all = intervals(3000);
        let mut scores: Vec<f64> = all.iter().map(|(score, _)| *score).collect();
        scores.sort_by(|a, b| b.total_cmp(a));
        for (keep, least) in [
            (Keep::within(1.5), scores[0] - 1.5),
            (Keep::largest(1, 0.0), scores[0]),
            (Keep::largest(10, 0.0), scores[9]),
            (Keep::within(0.1).and_largest(40, 0.0), scores[39].min(scores[0] - 0.1)),
            (Keep::largest(4000, 0.0), f64::NEG_INFINITY),
        ] {
            let mut lists: Vec<BoundedList> = Vec::new();
            for part in all.chunks(700) {
                let mut list = lists.first().map_or_else(|| BoundedList::new(keep, 1 << 15), BoundedList::continued);
                for (_, one) in part {
                    list.push((one.lower, one.upper), one.index);
                }
                lists.push(list);
            }
            let mut lists = lists.into_iter();
            let mut list = lists.next().unwrap();
            lists.for_each(|other| list.merge(other));
            list.prune();
            assert!(!list.overflow);
            for (score, one) in &all {
                assert!(*score < least || list.entries.contains(one), "{keep:?}: {one:?} of {score}");
            }
            // Nothing is kept that the bounds of the others rule out.
            let mut lowers: Vec<f64> = all.iter().map(|(_, one)| one.lower).collect();
            lowers.sort_by(|a, b| b.total_cmp(a));
            let kth = if keep.largest == 0 { f64::INFINITY } else { *lowers.get(keep.largest - 1).unwrap_or(&-1e9) };
            let floor = kth.min(keep.width.map_or(f64::INFINITY, |width| lowers[0] - width));
            assert!(list.entries.iter().all(|one| one.upper >= floor), "{keep:?}");
        }
    }

    #[test]
    fn lists_that_are_too_long_overflow() {
        let mut list = BoundedList::new(Keep::within(1.0), 64);
        (0..64).for_each(|i| list.push((0.0, 0.5), i));
        assert!(list.overflow && list.floor() == f64::INFINITY);
        let [mut a, b] = [0, 40].map(|first| {
            let mut list = BoundedList::new(Keep::largest(2, 0.0), 64);
            (first..first + 40).for_each(|i| list.push((0.0, 0.5), i));
            list
        });
        assert!(!a.overflow && !b.overflow);
        a.merge(b);
        assert!(a.overflow, "equal scores");
    }

    #[test]
    fn bounds_that_are_no_numbers_rule_nothing_out() {
        let mut list = BoundedList::new(Keep::largest(1, 0.0), 1000);
        list.push((1.0, 2.0), 0);
        list.push((f64::NAN, f64::NAN), 1);
        list.push((f64::NEG_INFINITY, f64::INFINITY), 2);
        list.push((3.0, 4.0), 3);
        list.prune();
        let mut kept: Vec<usize> = list.entries.iter().map(|one| one.index).collect();
        kept.sort_unstable();
        assert_eq!(kept, [1, 2, 3]);
    }
}
