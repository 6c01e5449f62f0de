//! Memories in and out of files.

use std::ops::Range;

use super::{Engine, Memory};
use crate::error::Result;
use crate::store::files::PatternFiles;
use crate::store::{Layout, NewRows, PatternIds};

/// Floats that are imported at a time.
const CHUNK: usize = 1 << 22;

impl Memory {
    /// Stores the patterns of `files`. They are mapped and read once, chunk by chunk: beside the stored rows, nothing
    /// grows with them.
    ///
    /// ```
    /// use attractor::files::{Address, NewTensor, PatternFiles, write_tensors};
    /// use attractor::{Device, Memory, Rule};
    /// # let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("model.safetensors");
    /// write_tensors(&path, &[NewTensor::f32("keys", &[2, 3], vec![1.0, 0.0, 0.0, 0.0, 1.0, 0.0])])?;
    /// let patterns = PatternFiles::open(&Address::safetensors(&path, "keys"))?; // or Address::npy("keys.npy")
    /// let mut memory = patterns.options(Rule::softmax(8.0)).build(&Device::cpu())?;
    /// assert_eq!(memory.import(&patterns)?.len(), 2);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for patterns that do not fit this memory, naming both shapes, and for numbers
    /// that are NaN or infinite; the errors of [`Memory::reserve`]. The memory is then as it was.
    pub fn import(&mut self, files: &PatternFiles) -> Result<PatternIds> {
        self.import_with(files, |_| ())
    }

    /// [`Memory::import`], telling `progress` after every chunk how many patterns have been read.
    ///
    /// # Errors
    /// As [`Memory::import`].
    pub fn import_with(&mut self, files: &PatternFiles, mut progress: impl FnMut(usize)) -> Result<PatternIds> {
        let Layout { dim, value_dim, bias, .. } = self.layout;
        files.check("Memory::import", dim, value_dim, bias)?;
        let places = self.ids.places(files.len());
        self.reserve_fresh(places.fresh)?;
        let chunk = (CHUNK / dim.max(value_dim.unwrap_or(0))).max(1);
        for rows in pieces(files.len(), chunk) {
            let freed = &places.freed[rows.start.min(places.freed.len())..rows.end.min(places.freed.len())];
            let stored = files.read(rows.clone(), |patterns| {
                let new = NewRows { keys: patterns.keys, values: patterns.values, bias: patterns.bias };
                self.place(freed, rows.len(), &new);
            });
            if let Err(error) = stored {
                // What went to freed positions has no id, as before.
                match &mut self.engine {
                    Engine::Cpu(engine) => engine.truncate(self.ids.positions()),
                    Engine::Gpu(engine) => engine.truncate(self.ids.positions()),
                }
                return Err(error);
            }
            progress(rows.end);
        }
        Ok(self.ids.add(&places))
    }
}

/// `0..count` in pieces of `size` at the most.
fn pieces(count: usize, size: usize) -> impl Iterator<Item = Range<usize>> {
    (0..count).step_by(size).map(move |start| start..count.min(start + size))
}
