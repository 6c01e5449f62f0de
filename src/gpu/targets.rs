//! Where queries are read from and answers are written to.

use crate::error::{Error, Result};

/// Rows in a caller's buffer, for [`Memory::record`](crate::Memory::record). The buffer needs `STORAGE` usage; queries,
/// outputs, states and reports may share a buffer as long as their rows do not overlap.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// The buffer.
    pub buffer: &'a wgpu::Buffer,
    /// Where the first row starts, in bytes; a multiple of 4.
    pub offset: u64,
    /// Words from one row to the next; the width of a row when absent.
    pub stride: Option<u32>,
}

impl<'a> Rows<'a> {
    /// Contiguous rows from the start of `buffer`.
    pub fn new(buffer: &'a wgpu::Buffer) -> Self {
        Self { buffer, offset: 0, stride: None }
    }

    /// Contiguous rows from byte `offset` of `buffer`.
    pub fn at(buffer: &'a wgpu::Buffer, offset: u64) -> Self {
        Self { buffer, offset, stride: None }
    }

    pub(super) fn stride(&self, columns: usize) -> u64 {
        self.stride.map_or(columns as u64, u64::from)
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
        let stride = self.stride(columns);
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
#[derive(Clone, Copy, Debug)]
pub struct RecordTargets<'a> {
    /// `B`, the number of queries.
    pub count: usize,
    /// `B x d` f32.
    pub queries: Rows<'a>,
    /// `B x dv` f32.
    pub output: Rows<'a>,
    /// `B x d` f32, the last states, if wanted.
    pub state: Option<Rows<'a>>,
    /// `B x 4` words, if wanted: a completion stamp (never 0), updates done, the last update's largest change of a
    /// coordinate (f32 bits), and a status (bit 0: the query was not finite; bit 1: no pattern could have weight).
    pub report: Option<Rows<'a>>,
}
