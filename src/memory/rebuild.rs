//! Rows of one memory into another: as they are stored, window by window.

use std::ops::Range;

use super::{Engine, Memory};
use crate::cpu;
use crate::device::handle::Device;
use crate::error::Result;
use crate::store::{EncodedRows, Growth};
use crate::wait;

impl Memory {
    /// The same patterns under the same ids at the same positions, on `device`: after a device was lost, or to move. Rows
    /// come from the [host copy](crate::MemoryOptions::host_copy) where there is one; otherwise they are read back from
    /// where they are, which waits. On a device that allows windows as large it gives the same answers to the bit as on
    /// any of its kind.
    ///
    /// ```
    /// use attractor::{Device, MemoryOptions, Rule};
    /// let device = pollster::block_on(Device::new())?;
    /// let mut memory = MemoryOptions::new(2, Rule::softmax(4.0)).host_copy().build(&device)?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
    /// // The device is lost: retrieve gives Error::Lost.
    /// let memory = memory.rebuild(&Device::cpu())?; // or a new GPU device
    /// assert!(memory.retrieve_blocking(&[0.9, 0.0])?.output[0] > 0.9);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Lost`](crate::Error::Lost) where there is no host copy and the device is lost, or where the new one fails;
    /// [`Error::Unsupported`](crate::Error::Unsupported) where a browser would have to wait for rows of a GPU;
    /// the errors of [`MemoryOptions::build`](crate::MemoryOptions::build) and [`Memory::reserve`].
    pub fn rebuild(&self, device: &Device) -> Result<Self> {
        let mut memory = self.options.build(device)?;
        let positions = self.positions();
        let windows = self.window_rows();
        if windows.iter().all(|rows| *rows <= memory.layout.max_rows) {
            for rows in windows {
                memory.reserve_window(rows)?;
            }
        }
        // Whatever has no window yet.
        memory.reserve_fresh(positions)?;
        let mut start = 0;
        while start < positions {
            let rows = self.stored(start..positions)?;
            start += rows.count;
            memory.add_encoded(&rows)?;
        }
        memory.ids = self.ids.settled();
        Ok(memory)
    }

    /// The first rows at `positions`, as they are stored, from wherever they are at hand.
    fn stored(&self, positions: Range<usize>) -> Result<EncodedRows<'_>> {
        let piece = |most: usize| positions.start..positions.end.min(positions.start + most);
        match (&self.copy, &self.engine) {
            (Some(engine), _) | (None, Engine::Cpu(engine)) => Ok(engine.stored(piece(cpu::Engine::PIECE))),
            (None, Engine::Gpu(engine)) => {
                wait::check("Memory::rebuild")?;
                engine.stored(piece(engine.piece()))
            }
        }
    }

    /// Rows of each window that has some.
    pub(super) fn window_rows(&self) -> Vec<usize> {
        match &self.engine {
            Engine::Cpu(engine) => engine.window_rows(),
            Engine::Gpu(engine) => engine.window_rows(),
        }
    }

    /// Makes room for `rows` more than there is, in a window of their own.
    pub(super) fn reserve_window(&mut self, rows: usize) -> Result<()> {
        let additional = self.capacity() + rows;
        if let Some(copy) = &mut self.copy {
            copy.reserve(copy.capacity() + rows, Growth::Exact)?;
        }
        match &mut self.engine {
            Engine::Cpu(engine) => engine.reserve(additional, Growth::Exact),
            Engine::Gpu(engine) => engine.reserve(additional, Growth::Exact),
        }
    }

    /// Stores rows for which there is room.
    pub(super) fn add_encoded(&mut self, rows: &EncodedRows<'_>) -> Result<()> {
        match &mut self.engine {
            Engine::Cpu(engine) => engine.add_encoded(rows),
            Engine::Gpu(engine) => engine.add_encoded(rows),
        }?;
        match &mut self.copy {
            Some(copy) => copy.add_encoded(rows),
            None => Ok(()),
        }
    }
}
