//! Which patterns queries may use, tile by tile, as bits.

use std::ops::Range;

use crate::cpu::pack::Query;
use crate::mask::Mask;
use crate::store::Alive;

/// Flags of up to 128 consecutive patterns, the first in the lowest bit.
pub(super) type Flags = u128;

/// Which patterns each query may use.
#[derive(Default, Clone, Copy, Debug)]
pub(super) struct Usable<'a> {
    pub alive: Option<&'a Alive>,
    pub mask: Option<&'a Mask>,
    /// The positions that each query sees; all when absent.
    pub rows: Option<&'a [Range<usize>]>,
    /// The position that each query does not see, if any.
    pub exclude: Option<&'a [Option<usize>]>,
    /// Positions in use, of which some may have been freed.
    pub patterns: usize,
}

impl Usable<'_> {
    /// Whether the query at position `query` of the batch may use `pattern`.
    pub fn keeps(&self, query: usize, pattern: usize) -> bool {
        self.alive.is_none_or(|alive| alive[pattern])
            && self.mask.is_none_or(|mask| mask.keeps(query, pattern, self.patterns))
            && self.rows.is_none_or(|rows| rows[query].contains(&pattern))
            && self.exclude.is_none_or(|exclude| exclude[query] != Some(pattern))
    }

    /// Writes to `flags` which of the `count` patterns from `first` on `queries` may use: one element for each query,
    /// or one for all of them where they may use the same; nothing where they may use every pattern. Returns those that
    /// any of the queries may use.
    pub fn flags(&self, queries: &[&Query], first: usize, count: usize, flags: &mut Vec<Flags>) -> Flags {
        flags.clear();
        let every = Flags::MAX >> (Flags::BITS as usize - count);
        let stored = match self.alive {
            Some(alive) => every & bits_of_words(alive.words(), first),
            None => every,
        };
        let ranged = self.rows.is_some() || self.exclude.is_some();
        if self.mask.is_none() && !ranged {
            if self.alive.is_some() {
                flags.push(stored);
            }
            return stored;
        }
        let per_query = ranged || self.mask.is_some_and(Mask::is_per_query);
        let each = if per_query { queries } else { &queries[..1] };
        let (mut any, mut all) = (0, every);
        for query in each {
            let kept = match self.mask {
                _ if stored == 0 => 0,
                Some(mask) => stored & bits_of_bools(&mask.row(query.position, self.patterns)[first..first + count]),
                None => stored,
            };
            let kept = kept & self.ranged(query.position, first, count);
            flags.push(kept);
            any |= kept;
            all &= kept;
        }
        if ranged && all == every {
            flags.clear();
        }
        any
    }

    /// Which of the `count` patterns from `first` on are in the rows of a query, and not the one that it leaves out.
    fn ranged(&self, query: usize, first: usize, count: usize) -> Flags {
        let mut kept = Flags::MAX;
        if let Some(rows) = self.rows {
            let place = |position: usize| position.clamp(first, first + count) - first;
            let (from, to) = (place(rows[query].start), place(rows[query].end));
            kept = below(to) & !below(from);
        }
        if let Some(at) = self.exclude.and_then(|exclude| exclude[query])
            && (first..first + count).contains(&at)
        {
            kept &= !(1 << (at - first));
        }
        kept
    }

    /// The positions that some of `queries` see, in rising ranges that do not touch; nothing where they see all.
    pub fn seen(&self, queries: &[&Query]) -> Option<Vec<Range<usize>>> {
        let rows = self.rows?;
        let mut ranges: Vec<Range<usize>> = queries.iter().map(|query| rows[query.position].clone()).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut seen: Vec<Range<usize>> = Vec::new();
        for range in ranges.into_iter().filter(|range| !range.is_empty()) {
            match seen.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => seen.push(range),
            }
        }
        Some(seen)
    }
}

/// The first `count` places, of at most all.
fn below(count: usize) -> Flags {
    if count == 0 { 0 } else { Flags::MAX >> (Flags::BITS as usize - count) }
}

/// As many bits as fit, from bit `first` of `words` on; zeros behind the last word.
fn bits_of_words(words: &[u32], first: usize) -> Flags {
    let mut bits = 0;
    for (i, word) in words[first / 32..].iter().take(5).enumerate() {
        let word = Flags::from(*word);
        match (32 * i).checked_sub(first % 32) {
            Some(shift) if shift < Flags::BITS as usize => bits |= word << shift,
            Some(_) => {}
            None => bits |= word >> (first % 32),
        }
    }
    bits
}

/// Up to 128 flags as bits.
fn bits_of_bools(flags: &[bool]) -> Flags {
    let mut bits = 0;
    let (eights, rest) = flags.as_chunks::<8>();
    for (i, eight) in eights.iter().enumerate() {
        let bytes = u64::from_le_bytes(eight.map(u8::from));
        if bytes != 0 {
            // The bit of byte `j` comes to place `56 + j`, and no two bits to the same place.
            bits |= Flags::from(bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56) << (8 * i);
        }
    }
    for (i, flag) in rest.iter().enumerate() {
        bits |= Flags::from(*flag) << (8 * eights.len() + i);
    }
    bits
}

/// The places of the set bits, rising.
pub(super) fn places(mut flags: Flags) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        (flags != 0).then(|| {
            let place = flags.trailing_zeros() as usize;
            flags &= flags - 1;
            place
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_every_flag() {
        let flags: Vec<bool> = (0..400usize).map(|i| i * i % 7 < 3 || i % 50 < 9).collect();
        let mut words = vec![0u32; flags.len().div_ceil(32)];
        flags.iter().enumerate().for_each(|(i, flag)| words[i / 32] |= u32::from(*flag) << (i % 32));
        for first in 0..flags.len() {
            for count in [1, 7, 8, 9, 16, 31, 33, 64, 127, 128] {
                let count = count.min(flags.len() - first);
                let expected: Flags = (0..count).map(|i| Flags::from(flags[first + i]) << i).sum();
                assert_eq!(bits_of_bools(&flags[first..first + count]), expected, "{first} {count}");
                let every = Flags::MAX >> (128 - count);
                assert_eq!(bits_of_words(&words, first) & every, expected, "{first} {count}");
                let set: Vec<usize> = (0..count).filter(|i| flags[first + i]).collect();
                assert_eq!(places(expected).collect::<Vec<_>>(), set);
            }
        }
    }

    #[test]
    fn flags_are_what_keeps_says() {
        let patterns = 300;
        let kept: Vec<bool> = (0..2 * patterns).map(|i| i % 3 == 0 || i % 64 == 5).collect();
        let queries = [1, 0].map(|position| Query::new(position, 1.0, vec![0.0; 4]));
        let queries: Vec<&Query> = queries.iter().collect();
        for mask in [None, Some(Mask::keep(&kept[..patterns])), Some(Mask::keep_per_query(&kept))] {
            let usable = Usable { mask: mask.as_ref(), patterns, ..Usable::default() };
            let mut flags = vec![7];
            for first in (0..patterns).step_by(37) {
                let count = 128.min(patterns - first);
                let any = usable.flags(&queries, first, count, &mut flags);
                let expected = [1, 0].map(|query| -> Flags {
                    (0..count).map(|i| Flags::from(usable.keeps(query, first + i)) << i).sum()
                });
                assert_eq!(any, expected[0] | expected[1]);
                match &mask {
                    None => assert!(flags.is_empty()),
                    Some(mask) if mask.is_per_query() => assert_eq!(flags, expected),
                    Some(_) => assert_eq!(flags, [expected[0]]),
                }
            }
        }
    }

    #[test]
    fn ranges_and_patterns_left_out_are_arithmetic() {
        let patterns = 300;
        let kept: Vec<bool> = (0..3 * patterns).map(|i| i % 5 != 1).collect();
        let queries = [2, 0, 1].map(|position| Query::new(position, 1.0, vec![0.0; 4]));
        let queries: Vec<&Query> = queries.iter().collect();
        let ranges = [0..300, 37..140, 140..141, 90..90, 299..300, 5..290];
        let mask = Mask::keep_per_query(&kept);
        for (number, mask) in [None, Some(&mask)].into_iter().cycle().take(36).enumerate() {
            let rows = [0, 1, 2].map(|q| ranges[(number + q * (number / 6 + 1)) % 6].clone());
            let exclude = [Some(number * 8), None, Some(140)];
            for (rows, exclude) in [(Some(&rows[..]), None), (None, Some(&exclude[..])), (Some(&rows), Some(&exclude))]
            {
                let usable = Usable { mask, rows, exclude, patterns, ..Usable::default() };
                let (mut flags, mut visited) = (Vec::new(), vec![false; patterns]);
                for (first, count) in (0..patterns).step_by(37).map(|first| (first, 37.min(patterns - first))) {
                    let any = usable.flags(&queries, first, count, &mut flags);
                    for (place, query) in [2, 0, 1].into_iter().enumerate() {
                        let expected: Flags =
                            (0..count).map(|i| Flags::from(usable.keeps(query, first + i)) << i).sum();
                        let every = Flags::MAX >> (128 - count);
                        assert_eq!(flags.get(place).copied().unwrap_or(every), expected);
                        assert_eq!(any & expected, expected);
                    }
                    (0..count).for_each(|i| visited[first + i] = any >> i & 1 == 1);
                }
                if let Some(seen) = usable.seen(&queries) {
                    assert!(seen.windows(2).all(|pair| pair[0].end < pair[1].start));
                    let within = |i: usize| seen.iter().any(|range| range.contains(&i));
                    assert!(visited.iter().enumerate().all(|(i, visited)| !visited || within(i)), "{rows:?}");
                    let rows = rows.unwrap();
                    assert!((0..patterns).all(|i| within(i) == rows.iter().any(|range| range.contains(&i))));
                }
            }
        }
    }
}
