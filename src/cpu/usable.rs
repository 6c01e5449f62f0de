//! Which patterns queries may use, tile by tile, as bits.

use crate::cpu::pack::Query;
use crate::mask::Mask;
use crate::store::Alive;

/// Flags of up to 128 consecutive patterns, the first in the lowest bit.
pub(super) type Flags = u128;

/// Which patterns each query may use.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usable<'a> {
    pub alive: Option<&'a Alive>,
    pub mask: Option<&'a Mask>,
    /// Positions in use, of which some may have been freed.
    pub patterns: usize,
}

impl Usable<'_> {
    /// Whether the query at position `query` of the batch may use `pattern`.
    pub fn keeps(&self, query: usize, pattern: usize) -> bool {
        self.alive.is_none_or(|alive| alive[pattern])
            && self.mask.is_none_or(|mask| mask.keeps(query, pattern, self.patterns))
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
        let Some(mask) = self.mask else {
            if self.alive.is_some() {
                flags.push(stored);
            }
            return stored;
        };
        let each = if mask.is_per_query() { queries } else { &queries[..1] };
        let mut any = 0;
        for query in each {
            let kept = match stored {
                0 => 0,
                _ => stored & bits_of_bools(&mask.row(query.position, self.patterns)[first..first + count]),
            };
            flags.push(kept);
            any |= kept;
        }
        any
    }
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
        let queries = [1, 0].map(|position| Query::new(position, vec![0.0; 4]));
        let queries: Vec<&Query> = queries.iter().collect();
        for mask in [None, Some(Mask::keep(&kept[..patterns])), Some(Mask::keep_per_query(&kept))] {
            let usable = Usable { alive: None, mask: mask.as_ref(), patterns };
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
}
