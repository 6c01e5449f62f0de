//! The patterns of largest score of a partial state.

/// A pattern of largest weight, of all that merged partial states cover.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct TopPattern {
    /// Its position in its memory, and the [index offset](super::PartialOptions::index_offset) of its part.
    pub index: u64,
    /// Its weight among all patterns.
    pub weight: f32,
    /// Its similarity with the query, as [`Top`](crate::retrieval::Top) has it.
    pub similarity: f32,
}

/// A pattern with its score, its index and its similarity as it is reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scored {
    pub score: f64,
    pub id: u64,
    pub similarity: f32,
}

/// The `k` patterns of largest score, or all where there are fewer: by falling score, ties by rising index.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Best {
    pub k: usize,
    pub patterns: Vec<Scored>,
}

impl Scored {
    /// Whether this is reported before `other` or beside it.
    pub fn precedes(&self, other: &Self) -> bool {
        other.score.total_cmp(&self.score).then(self.id.cmp(&other.id)).is_le()
    }
}

impl Best {
    /// The `k` best of `patterns`.
    pub fn of(k: usize, mut patterns: Vec<Scored>) -> Self {
        patterns.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.id.cmp(&b.id)));
        patterns.truncate(k);
        Self { k, patterns }
    }

    /// The best of both.
    pub fn merge(mut self, other: Self) -> Self {
        self.patterns.extend(other.patterns);
        Self::of(self.k, self.patterns)
    }

    /// What is reported, under weights by score and index.
    pub fn weighed(&self, weight: impl Fn(&Scored) -> f64) -> Vec<TopPattern> {
        let mut most = f32::MAX;
        let pattern = |scored: &Scored| {
            // Devices may round a score in one way where they sum it and in another where they list it.
            most = most.min(weight(scored).max(f64::from(f32::MIN)) as f32);
            TopPattern { index: scored.id, weight: most, similarity: scored.similarity }
        };
        self.patterns.iter().map(pattern).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_of_parts_are_the_best_of_all() {
        let scored = |(score, id): (f64, u64)| Scored { score, id, similarity: score as f32 };
        let all: Vec<Scored> = [(1.0, 5), (3.0, 9), (3.0, 2), (0.5, 1), (3.0, 4), (-2.0, 7)].map(scored).to_vec();
        for k in 0..8 {
            let whole = Best::of(k, all.clone());
            assert!(whole.patterns.windows(2).all(|pair| pair[0].precedes(&pair[1])));
            for cut in 0..=all.len() {
                let (a, b) = (Best::of(k, all[..cut].to_vec()), Best::of(k, all[cut..].to_vec()));
                assert_eq!(a.clone().merge(b.clone()), whole, "{k} cut at {cut}");
                assert_eq!(b.merge(a), whole, "{k} cut at {cut}");
            }
        }
    }
}
