//! Memories in and out of files.

use std::ops::ControlFlow;
use std::path::Path;

use super::handle::Memory;
use super::insertion::{Insertion, blocks, pieces};
use super::options::{LoadOptions, MemoryOptions};
use crate::device::handle::Device;
use crate::error::{Error, Result};
use crate::id::PatternIds;
use crate::patterns::Patterns;
use crate::progress::{Progress, Reporter, proceed};
use crate::rule::Rule;
use crate::store::files::{Buffers, Contents, EntryColumns, PatternFiles, SavedMemory, write_saved};
use crate::store::{Growth, Layout, NewRows};

/// Bytes that are loaded at a time.
const PIECE: usize = 16 << 20;

impl Memory {
    /// Saves this memory to `path`, a safetensors file ([`files`](crate::files) says what it holds): the rule, and
    /// every pattern with its id, in the precision in which it is stored. Patterns that were removed are not in the
    /// file; their positions are, so that [`Retrieval::weights`](crate::Retrieval::weights) and masks of flags mean the
    /// same after loading.
    ///
    /// The file is written to a temporary file beside it, synced and renamed: whatever happens, there is the old file
    /// or the whole new one at `path`. Symbolic links are followed, and mode and owner are kept. Temporary files of
    /// saves that were killed are removed by the next one. Rows are read back from a GPU piece by piece, which waits.
    ///
    /// On Windows a file is refused that has the read-only attribute, or that is open by a handle that does not share
    /// its deletion; handles of Rust share it. The new file has the access rights of its folder.
    ///
    /// ```
    /// use attractor::{Device, Memory, RetrieveOptions, Rule};
    /// # let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("memory.safetensors");
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(4.0))?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
    /// memory.save(&path)?;
    /// let again = Memory::load(&Device::cpu(), &path)?;
    /// let recall = |memory: &Memory| memory.retrieve_blocking(&[0.7, 0.1], &RetrieveOptions::default());
    /// assert_eq!(recall(&again)?.output, recall(&memory)?.output);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) where the system refuses to write, and where `path` is neither absent nor a
    /// regular file; [`Error::DeviceLost`](crate::Error::DeviceLost) where the device fails. What is at `path` is then
    /// unchanged.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        self.save_with_progress(path, proceed)
    }

    /// [`Memory::save`], telling `progress` after each piece how many positions are written.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) where `progress` returns [`ControlFlow::Break`], and as
    /// [`Memory::save`]. What is at `path` is then unchanged.
    pub fn save_with_progress(
        &self,
        path: impl AsRef<Path>,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<()> {
        self.save_entries(path.as_ref(), None, progress)
    }

    /// [`Memory::save_with_progress`] with what a keyed memory has beside its patterns.
    pub(crate) fn save_entries(
        &self,
        path: &Path,
        entries: Option<&EntryColumns<'_>>,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<()> {
        const OPERATION: &str = "Memory::save";
        let Layout { dim, value_dim, precision, bias, .. } = self.layout;
        let (windows, saturate) = (self.engine.window_rows(), self.options.saturate);
        let contents = Contents { rule: self.rule, dim, value_dim, precision, saturate, bias, windows };
        let mut reporter = Reporter::new(OPERATION, self.position_count(), progress);
        write_saved(
            path,
            &contents,
            &self.ids,
            entries,
            |rows| self.engine.stored(OPERATION, rows),
            |written| reporter.report(written),
        )
    }

    /// Loads a memory that [`Memory::save`] wrote on any engine: bit-exact rows, under the same ids at the same
    /// positions. On the device that it was saved from, its answers are bit-exact, too. (On a device whose limits do
    /// not allow windows as large, rows are laid out anew, as with [`LoadOptions::window_bytes`].)
    ///
    /// The file is read once, piece by piece, and every tensor is compared with its checksum: beside the stored rows,
    /// nothing grows with it. A memory that is larger than the host's memory stays in its file
    /// ([`LoadOptions::rows_in_file`]).
    ///
    /// # Errors
    /// [`Error::File`](crate::Error::File) for a file that cannot be read, is no memory or of another version, is
    /// truncated or damaged, or holds numbers that no memory stores, such as NaN; the errors of
    /// [`MemoryOptions::build`](crate::MemoryOptions::build) and [`Memory::reserve`].
    pub fn load(device: &Device, path: impl AsRef<Path>) -> Result<Self> {
        Self::load_with(device, path, &LoadOptions::default())
    }

    /// [`Memory::load`] as `options` say.
    ///
    /// # Errors
    /// As [`Memory::load`].
    pub fn load_with(device: &Device, path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        SavedMemory::open(path)?.load(device, options)
    }

    /// [`Memory::load_with`], telling `progress` after each piece how many positions are loaded.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) where `progress` returns [`ControlFlow::Break`], and as
    /// [`Memory::load`].
    pub fn load_with_progress(
        device: &Device,
        path: impl AsRef<Path>,
        options: &LoadOptions,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Self> {
        SavedMemory::open(path)?.load_with_progress(device, options, progress)
    }

    /// Stores the patterns of `files`. They are read once, chunk by chunk, and checked before they are stored: beside
    /// the stored rows, nothing grows with them.
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
    /// [`Error::File`](crate::Error::File) for patterns that do not fit this memory, naming both shapes, for numbers
    /// that are not finite in f32, and for a file that is truncated meanwhile; [`Error::Range`](crate::Error::Range)
    /// for a row that halves cannot hold, unless the memory [saturates](crate::MemoryOptions::saturate); the errors of
    /// [`Memory::reserve`]. The memory is then unchanged.
    pub fn import(&mut self, files: &PatternFiles) -> Result<PatternIds> {
        self.import_with_progress(files, proceed)
    }

    /// [`Memory::import`], telling `progress` after each chunk how many patterns are stored.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) where `progress` returns [`ControlFlow::Break`], and as
    /// [`Memory::import`]. The memory is then unchanged.
    pub fn import_with_progress(
        &mut self,
        files: &PatternFiles,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<PatternIds> {
        const OPERATION: &str = "Memory::import";
        let Layout { dim, value_dim, bias, .. } = self.layout;
        files.check(OPERATION, dim, value_dim, bias)?;
        let mut reporter = Reporter::new(OPERATION, files.len(), progress);
        let mut insertion = Insertion::new(OPERATION, self, files.len())?;
        let mut buffers = Buffers::default();
        for rows in blocks(files.len(), dim.max(value_dim.unwrap_or(0))) {
            let Patterns { keys, values, bias } = files.read(rows.clone(), &mut buffers)?;
            let new = NewRows { keys, values, bias };
            insertion.memory().check_range(OPERATION, &new, rows.start)?;
            insertion.write(&new, rows.len())?;
            reporter.report(rows.end)?;
        }
        Ok(insertion.commit(&[]))
    }
}

impl PatternFiles {
    /// Options for a memory that these patterns fit, under `rule`.
    pub fn options(&self, rule: Rule) -> MemoryOptions {
        let mut options = MemoryOptions::new(self.dim(), rule);
        if let Some(value_dim) = self.value_dim() {
            options = options.value_dim(value_dim);
        }
        if self.has_bias() {
            options = options.bias();
        }
        options
    }
}

impl SavedMemory {
    /// Loads this memory onto `device` as `options` say ([`Memory::load`]).
    ///
    /// # Errors
    /// As [`Memory::load`].
    pub fn load(&self, device: &Device, options: &LoadOptions) -> Result<Memory> {
        self.load_with_progress(device, options, proceed)
    }

    /// [`SavedMemory::load`], telling `progress` after each piece how many positions are loaded.
    ///
    /// # Errors
    /// [`Error::Cancelled`](crate::Error::Cancelled) where `progress` returns [`ControlFlow::Break`], and as
    /// [`Memory::load`].
    pub fn load_with_progress(
        &self,
        device: &Device,
        options: &LoadOptions,
        progress: impl FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Memory> {
        let Contents { rule, dim, value_dim, precision, saturate, bias, windows } = self.contents();
        if options.rule.is_some_and(|rule| rule.update.remove_self) && !rule.update.remove_self {
            let what = "taking self-couplings away from patterns that were saved under a rule that does not, \
                        and need not be bipolar,";
            return Err(Error::Unsupported { operation: "Memory::load", what: what.into() });
        }
        let asked = MemoryOptions {
            dim: *dim,
            value_dim: *value_dim,
            rule: options.rule.unwrap_or(*rule),
            precision: *precision,
            saturate: *saturate,
            bias: *bias,
            window_bytes: options.window_bytes,
            host_copy: options.host_copy,
            device_bytes: options.device_bytes,
        };
        let sources = options.rows_in_file.then(|| self.row_sources()).transpose()?;
        let mut memory = asked.build_from(device, sources)?;
        memory.ids = self.ids()?;
        let layout = memory.layout;
        if options.window_bytes.is_none() && windows.iter().all(|rows| *rows <= layout.max_rows) {
            for rows in windows {
                memory.engine.reserve_window(*rows)?;
            }
        }
        // Whatever has no window yet.
        memory.engine.reserve(self.position_count(), Growth::Doubling)?;
        let row = precision.bytes() * (layout.key_stride() + layout.value_stride());
        let mut reporter = Reporter::new("Memory::load", self.position_count(), progress);
        let mut reader = self.reader();
        for rows in pieces(self.position_count(), (PIECE / row).max(1)) {
            let end = rows.end;
            memory.engine.add_encoded(&reader.rows(rows, &layout)?)?;
            reporter.report(end)?;
        }
        reader.verify()?;
        // The file is read while it is loaded, and again for what follows from its rows.
        memory.engine.check_rows("Memory::load")?;
        Ok(memory)
    }
}
