//! Where queries are read from and answers are written to.

use crate::error::{Error, Result};

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
    pub(super) timestamps: Option<wgpu::ComputePassTimestampWrites<'a>>,
}

impl<'a> RecordTargets<'a> {
    /// `count` queries (`B x d` f32), and where their outputs go (`B x dv` f32).
    pub fn new(count: usize, queries: Rows<'a>, output: Rows<'a>) -> Self {
        Self { count, queries, output, state: None, report: None, timestamps: None }
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

    /// Has [`Memory::record`](crate::Memory::record) write timestamps at the beginning and the end of its compute pass;
    /// none are written where there are no queries, and a job refuses them.
    pub fn timestamps(mut self, writes: wgpu::ComputePassTimestampWrites<'a>) -> Self {
        self.timestamps = Some(writes);
        self
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
