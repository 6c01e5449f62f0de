//! Where queries are read from and answers are written to.

use crate::error::{Error, Result};
use crate::retrieval::options::RetrieveOptions;

/// Rows in a caller's buffer, for [`Memory::record`](crate::Memory::record). The buffer needs `STORAGE` usage; queries,
/// outputs, states and reports may share a buffer as long as their rows do not overlap.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    pub(super) buffer: &'a wgpu::Buffer,
    pub(super) offset: u64,
    pub(super) stride: Option<u32>,
}

impl<'a> Rows<'a> {
    /// Contiguous rows from the start of `buffer`.
    pub fn new(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0, stride: None }
    }

    /// Contiguous rows from byte `offset`, a multiple of 4, of `buffer`.
    pub fn at(buffer: &'a wgpu::Buffer, offset: u64) -> Self {
        Self { buffer, offset, stride: None }
    }

    /// Each row starts `words` words of 4 bytes after the row before; by default rows are contiguous.
    pub fn stride(mut self, words: u32) -> Self {
        self.stride = Some(words);
        self
    }

    /// The buffer.
    pub fn buffer(&self) -> &'a wgpu::Buffer {
        self.buffer
    }

    /// Where the first row starts, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// What [`Rows::stride`] set.
    pub fn get_stride(&self) -> Option<u32> {
        self.stride
    }

    /// Refuses `count`, at least 1, rows of `columns` words that do not fit the buffer.
    ///
    /// # Errors
    /// [`Error::Shape`].
    pub(super) fn check(
        &self,
        operation: &'static str,
        what: &'static str,
        count: usize,
        columns: usize,
    ) -> Result<()> {
        let refuse = |expected: String, got: String| {
            Err(Error::Shape { operation, expected: format!("{what}: {expected}"), got })
        };
        if !self.buffer.usage().contains(wgpu::BufferUsages::STORAGE) {
            return refuse("a buffer with STORAGE usage".into(), format!("{:?}", self.buffer.usage()));
        }
        if !self.offset.is_multiple_of(4) {
            return refuse("an offset that is a multiple of 4".into(), self.offset.to_string());
        }
        let stride = self.stride.map_or(columns as u64, u64::from);
        if stride < columns as u64 {
            return refuse(format!("a stride of at least {columns} words"), stride.to_string());
        }
        // Kernels count rows in 32 bits.
        let before = u32::try_from(count).ok().and_then(|count| u64::from(count).checked_sub(1)?.checked_mul(stride));
        let words = before.and_then(|before| before.checked_add(columns as u64));
        let end = words.and_then(|words| words.checked_mul(4)).and_then(|bytes| bytes.checked_add(self.offset));
        match end {
            Some(end) if end <= self.buffer.size() => Ok(()),
            _ => refuse(
                format!("{count} rows of {columns} words, {stride} apart, from byte {}", self.offset),
                format!("a buffer of {} bytes", self.buffer.size()),
            ),
        }
    }
}

/// [`Rows`] with a buffer of their own handle.
#[derive(Clone, Debug)]
pub(crate) struct OwnedRows {
    pub buffer: wgpu::Buffer,
    pub offset: u64,
    pub stride: Option<u32>,
}

impl OwnedRows {
    /// Contiguous rows from byte `offset` of `buffer`.
    pub fn at(buffer: &wgpu::Buffer, offset: u64) -> Self {
        Self { buffer: buffer.clone(), offset, stride: None }
    }

    pub(super) fn stride(&self, columns: usize) -> u64 {
        self.stride.map_or(columns as u64, u64::from)
    }
}

impl From<Rows<'_>> for OwnedRows {
    fn from(rows: Rows<'_>) -> Self {
        Self { buffer: rows.buffer.clone(), offset: rows.offset, stride: rows.stride }
    }
}

/// Where [`Memory::record`](crate::Memory::record) writes the patterns of largest weight of each query: `B x k` words a
/// buffer, in falling order of weight. What is not asked for is not computed.
///
/// ```no_run
/// # use attractor::record::{RecordTargets, Rows, TopRows};
/// # use attractor::wgpu;
/// # type Buffer = wgpu::Buffer;
/// # fn targets<'a>(queries: &'a Buffer, output: &'a Buffer, nearest: &'a Buffer) -> RecordTargets<'a> {
/// RecordTargets::new(256, Rows::new(queries), Rows::new(output)).top(TopRows::new(1, Rows::new(nearest)))
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TopRows<'a> {
    pub(super) k: usize,
    pub(super) positions: Rows<'a>,
    pub(super) weights: Option<Rows<'a>>,
    pub(super) similarity: Option<Rows<'a>>,
}

impl<'a> TopRows<'a> {
    /// The `k` patterns of largest weight, at least 1 and at most [`MAX_TOP`](crate::retrieval::MAX_TOP): their
    /// positions, as `u32` ([`Memory::id_at`](crate::Memory::id_at) tells which pattern a position is);
    /// `0xffff_ffff` where fewer patterns are stored or left by the mask.
    pub fn new(k: usize, positions: Rows<'a>) -> Self {
        Self { k, positions, weights: None, similarity: None }
    }

    /// Writes their weights, `f32`.
    pub fn weights(mut self, rows: Rows<'a>) -> Self {
        self.weights = Some(rows);
        self
    }

    /// Writes their similarities, `f32`, as those of [`Hits`](crate::Hits).
    pub fn similarity(mut self, rows: Rows<'a>) -> Self {
        self.similarity = Some(rows);
        self
    }

    /// The number of patterns.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Where their positions are written to.
    pub fn positions(&self) -> Rows<'a> {
        self.positions
    }

    /// What [`TopRows::weights`] set.
    pub fn get_weights(&self) -> Option<Rows<'a>> {
        self.weights
    }

    /// What [`TopRows::similarity`] set.
    pub fn get_similarity(&self) -> Option<Rows<'a>> {
        self.similarity
    }
}

/// Where [`Memory::record_search`](crate::Memory::record_search) reads `count` queries from and writes hits to: as many
/// places a query as [`SearchOptions::top`](crate::SearchOptions::top) says.
///
/// ```no_run
/// # use attractor::record::{Rows, SearchTargets};
/// # use attractor::wgpu;
/// # fn targets<'a>(queries: &'a wgpu::Buffer, nearest: &'a wgpu::Buffer) -> SearchTargets<'a> {
/// SearchTargets::new(256, Rows::new(queries), Rows::new(nearest))
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct SearchTargets<'a> {
    pub(crate) count: usize,
    pub(super) queries: Rows<'a>,
    pub(super) positions: Rows<'a>,
    pub(super) similarity: Option<Rows<'a>>,
    pub(super) report: Option<Rows<'a>>,
    pub(super) timestamps: Option<wgpu::ComputePassTimestampWrites<'a>>,
}

impl<'a> SearchTargets<'a> {
    /// `count` queries (`B x d` f32), and where the positions of their hits go (`B x k` u32), nearest first:
    /// `0xffff_ffff` where there are fewer hits. [`Memory::id_at`](crate::Memory::id_at) tells which pattern a position
    /// is.
    pub fn new(count: usize, queries: Rows<'a>, positions: Rows<'a>) -> Self {
        Self { count, queries, positions, similarity: None, report: None, timestamps: None }
    }

    /// Writes similarities to `rows`, `B x k` f32, as [`Hits::similarity`](crate::Hits::similarity) has them.
    pub fn similarity(mut self, rows: Rows<'a>) -> Self {
        self.similarity = Some(rows);
        self
    }

    /// Writes a report of each query to `rows`, `B x 4` words: a completion stamp (never 0), how many patterns meet the
    /// threshold (without one, the hits), the hits that were written, and a status (bit 0: the query was not finite;
    /// bit 1: every pattern is masked; bit 4: the query was out of [range](crate::Memory#range)).
    pub fn report(mut self, rows: Rows<'a>) -> Self {
        self.report = Some(rows);
        self
    }

    /// As [`RecordTargets::timestamps`].
    pub fn timestamps(mut self, writes: wgpu::ComputePassTimestampWrites<'a>) -> Self {
        self.timestamps = Some(writes);
        self
    }

    /// `B`, the number of queries.
    pub fn count(&self) -> usize {
        self.count
    }
}

/// Where the patterns of the `k` largest scores of each query go, in order.
#[derive(Clone, Debug)]
pub(crate) struct TopOutputs {
    pub k: u32,
    /// Places of a row, at least `k`.
    pub places: u32,
    pub positions: Option<OwnedRows>,
    pub weights: Option<OwnedRows>,
    pub similarity: Option<OwnedRows>,
}

/// Where the hits of one search go, and which there are.
#[derive(Debug)]
pub(crate) struct SearchOutputs {
    pub count: usize,
    pub queries: OwnedRows,
    /// The most patterns of a query, at least 1.
    pub k: u32,
    /// Places of a row, at least `k`.
    pub places: u32,
    /// The least score of a hit. Those that have it are counted.
    pub least: Option<f32>,
    /// What scores are multiplied by to be reported.
    pub factor: f32,
    pub positions: Option<OwnedRows>,
    pub similarity: Option<OwnedRows>,
    pub report: Option<OwnedRows>,
}

/// Where [`Memory::record`](crate::Memory::record) reads `count` queries from and writes their answers to.
///
/// Queries that are NaN, infinite or out of [range](crate::Memory#range) cannot be refused here: such a query gets a
/// row of zeros, and its report's status has bit 0 (not finite) or bit 4 (out of range) set. Bit 1 is set where no
/// pattern is left.
///
/// ```no_run
/// # use attractor::record::{RecordTargets, Rows};
/// # use attractor::wgpu;
/// # fn targets<'a>(queries: &'a wgpu::Buffer, output: &'a wgpu::Buffer) -> RecordTargets<'a> {
/// RecordTargets::new(256, Rows::new(queries), Rows::new(output)).report(Rows::at(output, 65536))
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RecordTargets<'a> {
    pub(crate) count: usize,
    pub(super) queries: Rows<'a>,
    pub(super) output: Rows<'a>,
    pub(super) state: Option<Rows<'a>>,
    pub(super) report: Option<Rows<'a>>,
    pub(super) top: Option<TopRows<'a>>,
    pub(super) timestamps: Option<wgpu::ComputePassTimestampWrites<'a>>,
}

impl<'a> RecordTargets<'a> {
    /// `count` queries (`B x d` f32), and where their outputs go (`B x dv` f32).
    pub fn new(count: usize, queries: Rows<'a>, output: Rows<'a>) -> Self {
        Self { count, queries, output, state: None, report: None, top: None, timestamps: None }
    }

    /// Writes the last states to `rows`, `B x d` f32.
    pub fn state(mut self, rows: Rows<'a>) -> Self {
        self.state = Some(rows);
        self
    }

    /// Writes a report of each query to `rows`, `B x 4` words: a completion stamp (never 0), updates done, the last
    /// update's largest change of a coordinate (f32 bits), and a status (bit 0: the query was not finite; bit 1: no
    /// pattern could have weight; bit 4: the query was out of range).
    pub fn report(mut self, rows: Rows<'a>) -> Self {
        self.report = Some(rows);
        self
    }

    /// Writes the patterns of largest weight, in falling order of weight.
    pub fn top(mut self, rows: TopRows<'a>) -> Self {
        self.top = Some(rows);
        self
    }

    /// Has [`Memory::record`](crate::Memory::record) write timestamps at the beginning and the end of its compute pass;
    /// none are written where there are no queries, and a job refuses them.
    pub fn timestamps(mut self, writes: wgpu::ComputePassTimestampWrites<'a>) -> Self {
        self.timestamps = Some(writes);
        self
    }

    /// `options` with what these targets ask for besides.
    pub(super) fn options(&self, operation: &'static str, options: &RetrieveOptions) -> Result<RetrieveOptions> {
        let options = options.try_clone(operation)?;
        Ok(match &self.top {
            Some(top) => options.top(top.k),
            None => options,
        })
    }

    /// `B`, the number of queries.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Where queries are read from.
    pub fn queries(&self) -> Rows<'a> {
        self.queries
    }

    /// Where outputs are written to.
    pub fn output(&self) -> Rows<'a> {
        self.output
    }

    /// What [`RecordTargets::state`] set.
    pub fn get_state(&self) -> Option<Rows<'a>> {
        self.state
    }

    /// What [`RecordTargets::report`] set.
    pub fn get_report(&self) -> Option<Rows<'a>> {
        self.report
    }

    /// What [`RecordTargets::timestamps`] set.
    pub fn get_timestamps(&self) -> Option<&wgpu::ComputePassTimestampWrites<'a>> {
        self.timestamps.as_ref()
    }
}
