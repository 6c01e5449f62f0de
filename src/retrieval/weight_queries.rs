//! The queries whose weights are reported in full, and where in the report.

use std::ops::Range;

use super::options::WeightsOf;
use crate::error::Result;
use crate::room::room;

/// The queries whose weights are asked for.
#[derive(Clone, Debug)]
pub(crate) enum WeightQueries {
    None,
    All,
    /// With the place of each in the order that was asked for; by rising query, then place.
    Some(Vec<(usize, usize)>),
}

impl WeightQueries {
    pub fn new(operation: &'static str, weights: &WeightsOf) -> Result<Self> {
        Ok(match weights {
            WeightsOf::None => Self::None,
            WeightsOf::All => Self::All,
            WeightsOf::Queries(queries) => {
                let mut places = room(operation, "weights", queries.len())?;
                places.extend(queries.iter().enumerate().map(|(place, query)| (*query, place)));
                places.sort_unstable();
                Self::Some(places)
            }
        })
    }

    /// Those of `part`, with their places, by rising query.
    pub fn of(&self, part: Range<usize>) -> impl Iterator<Item = (usize, usize)> + '_ {
        let (all, some): (_, &[(usize, usize)]) = match self {
            Self::None => (0..0, &[]),
            Self::All => (part, &[]),
            Self::Some(places) => {
                let before = |end: usize| places.partition_point(|(query, _)| *query < end);
                (0..0, &places[before(part.start)..before(part.end)])
            }
        };
        all.map(|query| (query, query)).chain(some.iter().copied())
    }

    /// The first place of `query`, if it is asked for.
    pub fn place(&self, query: usize) -> Option<usize> {
        self.of(query..query + 1).next().map(|(_, place)| place)
    }

    /// For each query that is asked for again: the first place, and the other.
    pub fn repeated(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let some: &[(usize, usize)] = if let Self::Some(places) = self { places } else { &[] };
        some.chunk_by(|a, b| a.0 == b.0).flat_map(|same| same[1..].iter().map(|(_, place)| (same[0].1, *place)))
    }
}
