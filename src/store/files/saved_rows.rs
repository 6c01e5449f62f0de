//! Keys and values of a saved memory that stay in its file.

use std::sync::{Arc, OnceLock};

use super::contents::{LOAD, Part};
use super::saved::SavedMemory;
use super::source::Source;
use crate::error::{Error, Result};
use crate::file_error::unfit;
use crate::store::layout::stride;
use crate::store::row_source::{RowSource, RowSources};

/// A file whose rows are read while a memory is used.
#[derive(Debug)]
struct OpenRows {
    source: Arc<Source>,
    /// Why a read failed, of the first that did.
    failed: OnceLock<String>,
}

/// The rows of one tensor.
#[derive(Debug)]
struct SavedRows {
    file: Arc<OpenRows>,
    /// Where its first byte is in the file.
    at: u64,
    /// Bytes of a row in the file, and padded.
    row: usize,
    padded: usize,
}

impl OpenRows {
    /// Fills `to`; zeros where that fails, which is remembered.
    fn read(&self, at: u64, to: &mut [u8]) {
        if let Err(error) = self.source.read(LOAD, at, to) {
            to.fill(0);
            let why = match error {
                Error::File { why, .. } => why,
                other => other.to_string(),
            };
            // The first reason is the one that is told.
            let _ = self.failed.set(why);
        }
    }
}

impl RowSource for SavedRows {
    fn fill(&self, first: usize, to: &mut [u8]) {
        let rows = to.len() / self.padded;
        let at = self.at + (first * self.row) as u64;
        self.file.read(at, &mut to[..rows * self.row]);
        if self.row == self.padded {
            return;
        }
        // From the last row on, none is written before it has moved.
        for row in (0..rows).rev() {
            to.copy_within(row * self.row..(row + 1) * self.row, row * self.padded);
            to[row * self.padded + self.row..(row + 1) * self.padded].fill(0);
        }
    }

    fn check(&self, operation: &'static str) -> Result<()> {
        let source = &self.file.source;
        if let Some(why) = self.file.failed.get() {
            return Err(unfit(operation, source.path(), why.clone()));
        }
        match source.has_changed(operation)? {
            false => Ok(()),
            true => {
                let path = source.path();
                let why =
                    "the file has changed since a memory was loaded from it (LoadOptions::rows_in_file); load it again";
                Err(unfit(operation, path, format!("{}: {why}", path.display())))
            }
        }
    }
}

impl SavedMemory {
    /// Its rows, which stay in the file.
    pub(crate) fn row_sources(&self) -> Result<RowSources> {
        let file = Arc::new(OpenRows { source: self.source.clone(), failed: OnceLock::new() });
        let element = self.precision().bytes();
        let rows = |part: Part, columns: usize| -> Option<Arc<dyn RowSource>> {
            let place = self.place(part)?;
            let (row, padded) = (columns * element, stride(columns) * element);
            Some(Arc::new(SavedRows { file: file.clone(), at: place.data.start, row, padded }))
        };
        let Some(keys) = rows(Part::Keys, self.dim()) else {
            return Err(self.fail("keys: no tensor of this name"));
        };
        Ok(RowSources { keys, values: self.value_dim().and_then(|columns| rows(Part::Values, columns)) })
    }
}
