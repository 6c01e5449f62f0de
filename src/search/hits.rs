//! What a search finds.

use crate::error::Result;
use crate::id::PatternId;
use crate::retrieval::report::Status;
use crate::room::{elements, room};
use crate::store::Names;

/// The nearest patterns of each query of a batch of `B`, nearest first.
///
/// ```
/// use attractor::{Device, Memory, PatternId, Rule};
/// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0))?;
/// memory.add(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0])?;
/// let hits = memory.search_blocking(&[0.2, 0.9], 2)?;
/// assert_eq!(hits.ids, [Some(PatternId(2)), Some(PatternId(1))]);
/// for (id, similarity) in hits.of(0) {
///     println!("{id:?}: {similarity}");
/// }
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Hits {
    /// `B`, the number of queries.
    pub batch: usize,
    /// Places per query: what was asked for, or `N` where the memory has fewer patterns.
    pub k: usize,
    /// `B x k` patterns, as the search saw the memory; nearest first, ties by rising position. `None` where there are
    /// fewer hits.
    pub ids: Vec<Option<PatternId>>,
    /// `B x k` similarities: dot products or cosines, which fall; or distances, which rise: squares `|x - k|^2` under
    /// euclidean similarity, `sum_c |x_c - k_c|` under manhattan. 0 where there is no hit.
    pub similarity: Vec<f32>,
    /// How many patterns meet the threshold, per query, listed or not; if there was a threshold.
    pub found: Option<Vec<u64>>,
    /// Whether there is an answer, per query: [`Status::NothingLeft`] where every pattern is masked.
    pub status: Vec<Status>,
}

impl Hits {
    pub(crate) fn with_room(operation: &'static str, batch: usize, k: usize, counts: bool) -> Result<Self> {
        Ok(Self {
            batch,
            k,
            ids: room(operation, "hits", elements(batch, k))?,
            similarity: room(operation, "hits", elements(batch, k))?,
            found: counts.then(|| room(operation, "counts", batch)).transpose()?,
            status: room(operation, "statuses", batch)?,
        })
    }

    /// Appends the hits of the next query, positions and similarities, at most `k`; `found` of them meet the threshold,
    /// if there is one.
    pub(crate) fn push(&mut self, hits: impl Iterator<Item = (usize, f32)>, found: u64, status: Status, names: &Names) {
        let mut places = self.k;
        for (position, similarity) in hits.take(self.k) {
            self.ids.push(names.id(position));
            self.similarity.push(similarity);
            places -= 1;
        }
        self.ids.extend((0..places).map(|_| None));
        self.similarity.extend((0..places).map(|_| 0.0));
        if let Some(counts) = &mut self.found {
            counts.push(found);
        }
        self.status.push(status);
    }

    /// The hits of query `b`, nearest first: patterns and similarities.
    ///
    /// # Panics
    /// If `b` is not below [`Hits::batch`].
    pub fn of(&self, b: usize) -> impl Iterator<Item = (PatternId, f32)> + '_ {
        assert!(b < self.batch, "query {b} of {}", self.batch);
        let row = b * self.k..(b + 1) * self.k;
        self.ids[row.clone()]
            .iter()
            .zip(&self.similarity[row])
            .filter_map(|(id, similarity)| Some(((*id)?, *similarity)))
    }
}
