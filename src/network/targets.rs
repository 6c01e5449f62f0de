//! Where a recorded network reads its starts and writes its states.

use super::VectorId;
use crate::error::{Error, Result};
use crate::gpu::Rows;

/// Where [`Network::record`](super::Network::record) reads the starts of `count` queries from and writes states to.
///
/// Set a start for every vector. A state is written if [`NetworkTargets::state`] names it. Starts on the device are not
/// read by the host, so bad ones are flagged instead of refused: a query with a start that is NaN, infinite or out of
/// [range](crate::Memory#range) gets states of zeros, and its report's status has bit 0 (not finite) or bit 4 (out of
/// range) set.
///
/// ```no_run
/// # use attractor::network::{NetworkTargets, VectorId};
/// # use attractor::record::Rows;
/// # use attractor::wgpu;
/// # fn targets<'a>(scene: VectorId, shape: VectorId, scenes: &'a wgpu::Buffer, ones: &'a wgpu::Buffer,
/// #     shapes: &'a wgpu::Buffer) -> NetworkTargets<'a> {
/// NetworkTargets::new(256)
///     .start(scene, Rows::new(scenes))
///     .start_for_all(shape, Rows::new(ones))
///     .state(shape, Rows::new(shapes))
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct NetworkTargets<'a> {
    pub(super) count: usize,
    /// By vector: the rows, and whether one is for all queries.
    starts: Vec<(VectorId, Rows<'a>, bool)>,
    states: Vec<(VectorId, Rows<'a>)>,
    pub(super) report: Option<Rows<'a>>,
    pub(super) timestamps: Option<wgpu::ComputePassTimestampWrites<'a>>,
}

impl<'a> NetworkTargets<'a> {
    /// `count` queries, without starts yet.
    pub fn new(count: usize) -> Self {
        Self { count, starts: Vec::new(), states: Vec::new(), report: None, timestamps: None }
    }

    /// Reads the start of `vector` from `rows`, `B x d` f32.
    pub fn start(mut self, vector: VectorId, rows: Rows<'a>) -> Self {
        self.starts.push((vector, rows, false));
        self
    }

    /// Reads the start of `vector` for all queries from the first of `rows`, `d` f32.
    pub fn start_for_all(mut self, vector: VectorId, rows: Rows<'a>) -> Self {
        self.starts.push((vector, rows, true));
        self
    }

    /// Writes `vector` to `rows`, `B x d` f32, as the last iteration leaves it.
    pub fn state(mut self, vector: VectorId, rows: Rows<'a>) -> Self {
        self.states.push((vector, rows));
        self
    }

    /// Writes a report of each query to `rows`, `B x 4` words: a completion stamp (never 0), iterations done, the last
    /// iteration's largest change of a coordinate of a state (f32 bits), and a status (bit 0: a start was not finite;
    /// bit 1: in an update no pattern could have weight; bit 4: a start, a product or a state was out of range; bit 6:
    /// states repeat an earlier iteration).
    pub fn report(mut self, rows: Rows<'a>) -> Self {
        self.report = Some(rows);
        self
    }

    /// As [`RecordTargets::timestamps`](crate::record::RecordTargets::timestamps).
    pub fn timestamps(mut self, writes: wgpu::ComputePassTimestampWrites<'a>) -> Self {
        self.timestamps = Some(writes);
        self
    }

    /// `B`, the number of queries.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The starts of a network of so many vectors, in order.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a vector without a start, with two, or of another network.
    pub(super) fn starts(&self, operation: &'static str, vectors: usize) -> Result<Vec<(Rows<'a>, bool)>> {
        let refuse = |expected, got: String| Err(Error::Parameter { operation, parameter: "start", expected, got });
        let mut starts: Vec<Option<(Rows<'a>, bool)>> = vec![None; vectors];
        for (vector, rows, for_all) in &self.starts {
            match starts.get_mut(vector.0) {
                Some(start @ None) => *start = Some((*rows, *for_all)),
                Some(Some(_)) => return refuse("one for each vector", format!("two for vector {}", vector.0)),
                None => return refuse("of this network's vectors", format!("one of vector {}", vector.0)),
            }
        }
        match starts.iter().position(Option::is_none) {
            Some(vector) => refuse("one for each vector", format!("none for vector {vector}")),
            None => Ok(starts.into_iter().flatten().collect()),
        }
    }

    /// The states that a network of so many vectors writes.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a vector of another network.
    pub(super) fn states(&self, operation: &'static str, vectors: usize) -> Result<Vec<(usize, Rows<'a>)>> {
        let states = self.states.iter().map(|(vector, rows)| (vector.0, *rows));
        match states.clone().find(|(vector, _)| *vector >= vectors) {
            None => Ok(states.collect()),
            Some((vector, _)) => Err(Error::Parameter {
                operation,
                parameter: "state",
                expected: "of this network's vectors",
                got: format!("vector {vector}"),
            }),
        }
    }
}
