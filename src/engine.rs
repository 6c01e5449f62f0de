//! The engine that a memory computes on, and the copy of its rows in host memory: every choice between the CPU engine
//! and a GPU is made here.

pub(crate) mod networks;
mod requests;

use std::ops::Range;

use crate::cpu;
use crate::device::handle::{Backend, Device};
use crate::error::{Error, Result};
use crate::gpu;
use crate::rule::Rule;
use crate::store::{EncodedRows, Growth, Layout, NewRows, Pattern, RowSources};
use crate::wait;

/// What a device allows a memory.
pub(crate) struct Limits {
    /// Bytes of keys, and of values, in one window.
    pub window_bytes: u64,
    /// Bytes of one buffer, through which keys and values stream together.
    pub buffer_bytes: u64,
    /// Dimensions of a key or a value.
    pub dim: usize,
}

impl Limits {
    pub fn of(device: &Device) -> Self {
        match &device.backend {
            Backend::Cpu => Self { window_bytes: usize::MAX as u64 / 2, buffer_bytes: u64::MAX, dim: usize::MAX / 64 },
            Backend::Gpu(context) => Self {
                window_bytes: context.window_limit(),
                buffer_bytes: context.limits.max_buffer_size,
                dim: gpu::plan::limits::MAX_DIM,
            },
        }
    }
}

/// Where the rows of a memory are.
pub(crate) struct Placement {
    /// In host memory, too.
    pub host_copy: bool,
    /// The rows of the host stay there.
    pub sources: Option<RowSources>,
    /// A GPU holds so many all the time. The others are with the host, and stream.
    pub resident_rows: Option<usize>,
}

enum Kind {
    Cpu(cpu::engine::Engine),
    Gpu(gpu::Engine),
}

/// The rows of one memory, and what computes with them.
pub(crate) struct Engine {
    kind: Kind,
    /// The same rows in host memory, where a host copy was asked for and the rows are on a GPU.
    mirror: Option<cpu::engine::Engine>,
}

impl Engine {
    /// An engine without rows. The windows of a host copy are as long as the device's, so that it is rebuilt as it was.
    pub fn new(device: &Device, layout: Layout, rule: Rule, placement: Placement) -> Self {
        let Placement { host_copy, sources, resident_rows } = placement;
        let mirrored = host_copy || sources.is_some() || resident_rows.is_some();
        let cpu = move || match sources {
            Some(sources) => cpu::engine::Engine::sourced(layout, rule, sources),
            None => cpu::engine::Engine::new(layout, rule),
        };
        match &device.backend {
            Backend::Cpu => Self { kind: Kind::Cpu(cpu()), mirror: None },
            Backend::Gpu(context) => Self {
                kind: Kind::Gpu(gpu::Engine::new(context.clone(), layout, rule, resident_rows)),
                mirror: mirrored.then(cpu),
            },
        }
    }

    /// Where the rows of the host are, if they stay elsewhere.
    pub fn sources(&self) -> Option<RowSources> {
        self.rows().ok().and_then(cpu::engine::Engine::sources)
    }

    /// Refuses to store patterns where rows stay in a file, which is only read.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn check_writable(&self, operation: &'static str) -> Result<()> {
        match self.rows() {
            Ok(engine) if engine.is_sourced() => {
                let what = "storing patterns in a memory whose rows stay in its file (LoadOptions::rows_in_file)";
                Err(Error::Unsupported { operation, what: what.into() })
            }
            _ => Ok(()),
        }
    }

    /// Refuses rows of the host that could not be read, or that have changed.
    ///
    /// # Errors
    /// [`Error::File`].
    #[cfg(feature = "files")]
    pub fn check_rows(&self, operation: &'static str) -> Result<()> {
        self.rows().map_or(Ok(()), |engine| engine.check_rows(operation))
    }

    /// Whether the rows are in host memory besides being on a GPU.
    pub fn has_mirror(&self) -> bool {
        self.mirror.is_some()
    }

    /// Rows for which there is room.
    pub fn capacity(&self) -> usize {
        match &self.kind {
            Kind::Cpu(engine) => engine.capacity(),
            Kind::Gpu(engine) => engine.capacity(),
        }
    }

    /// Rows of each window that has some.
    pub fn window_rows(&self) -> Vec<usize> {
        match &self.kind {
            Kind::Cpu(engine) => engine.window_rows(),
            Kind::Gpu(engine) => engine.window_rows(),
        }
    }

    /// Makes room for `rows` more than are stored.
    pub fn reserve(&mut self, rows: usize, growth: Growth) -> Result<()> {
        if let Some(mirror) = &mut self.mirror {
            mirror.reserve(rows, growth)?;
        }
        match &mut self.kind {
            Kind::Cpu(engine) => engine.reserve(rows, growth),
            Kind::Gpu(engine) => engine.reserve(rows, growth),
        }
    }

    /// Makes room for `rows` more than there is room for, in a window of their own.
    pub fn reserve_window(&mut self, rows: usize) -> Result<()> {
        let additional = self.capacity() + rows;
        if let Some(mirror) = &mut self.mirror {
            mirror.reserve(mirror.capacity() + rows, Growth::Exact)?;
        }
        match &mut self.kind {
            Kind::Cpu(engine) => engine.reserve(additional, Growth::Exact),
            Kind::Gpu(engine) => engine.reserve(additional, Growth::Exact),
        }
    }

    /// Forgets all rows and keeps the room. Where a job or a recording still reads them, their buffers are left to it.
    pub fn clear(&mut self, still_read: bool) {
        if let Some(mirror) = &mut self.mirror {
            mirror.clear();
        }
        match &mut self.kind {
            Kind::Cpu(engine) => engine.clear(),
            Kind::Gpu(engine) if still_read => engine.detach(),
            Kind::Gpu(engine) => engine.clear(),
        }
    }

    /// Forgets the rows from the `rows`-th on.
    pub fn truncate(&mut self, rows: usize) {
        if let Some(mirror) = &mut self.mirror {
            mirror.truncate(rows);
        }
        match &mut self.kind {
            Kind::Cpu(engine) => engine.truncate(rows),
            Kind::Gpu(engine) => engine.truncate(rows),
        }
    }

    /// Drops what was kept about which positions have a pattern: that is about to change.
    pub fn invalidate_live_mask(&mut self) {
        if let Kind::Gpu(engine) = &mut self.kind {
            engine.invalidate_live_mask();
        }
    }

    /// Stores rows behind all others, for which there is room.
    pub fn add(&mut self, rows: &NewRows<'_>) -> Result<()> {
        match &mut self.kind {
            Kind::Cpu(engine) => engine.add(rows)?,
            Kind::Gpu(engine) => engine.add(rows)?,
        }
        self.mirror.as_mut().map_or(Ok(()), |mirror| mirror.add(rows))
    }

    /// Replaces the rows at `positions` by `rows`, one each. On an error no row in host memory has changed; a device
    /// that fails after it took some of the rows has those.
    pub fn overwrite(&mut self, positions: &[usize], rows: &NewRows<'_>) -> Result<()> {
        if let Some(mirror) = &mut self.mirror {
            mirror.own(positions)?;
        }
        match &mut self.kind {
            Kind::Cpu(engine) => engine.overwrite(positions, rows)?,
            Kind::Gpu(engine) => engine.overwrite(positions, rows)?,
        }
        self.mirror.as_mut().map_or(Ok(()), |mirror| mirror.overwrite(positions, rows))
    }

    /// Stores encoded rows behind all others, for which there is room.
    pub fn add_encoded(&mut self, rows: &EncodedRows<'_>) -> Result<()> {
        match &mut self.kind {
            Kind::Cpu(engine) => engine.add_encoded(rows)?,
            Kind::Gpu(engine) => engine.add_encoded(rows)?,
        }
        self.mirror.as_mut().map_or(Ok(()), |mirror| mirror.add_encoded(rows))
    }

    /// The engine whose rows are in host memory, or the one that has to read them back.
    fn rows(&self) -> std::result::Result<&cpu::engine::Engine, &gpu::Engine> {
        match (&self.mirror, &self.kind) {
            (Some(engine), _) | (None, Kind::Cpu(engine)) => Ok(engine),
            (None, Kind::Gpu(engine)) => Err(engine),
        }
    }

    /// The pattern at `position`, from host memory where it is kept; otherwise it is read back, which waits.
    pub fn read(&self, operation: &'static str, position: usize) -> Result<Pattern> {
        match self.rows() {
            Ok(engine) => engine.read(operation, position),
            Err(engine) => {
                wait::check(operation)?;
                engine.read_one(position)
            }
        }
    }

    /// The first rows at `positions` as they are stored, at most as many as are read at a time. As [`Engine::read`].
    pub fn stored(&self, operation: &'static str, positions: Range<usize>) -> Result<EncodedRows<'_>> {
        let piece = |max: usize| positions.start..positions.end.min(positions.start.saturating_add(max));
        match self.rows() {
            Ok(engine) => engine.stored(operation, piece(engine.piece())),
            Err(engine) => {
                wait::check(operation)?;
                engine.stored(piece(engine.piece()))
            }
        }
    }
}
