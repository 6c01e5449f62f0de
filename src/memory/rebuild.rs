//! Rows of one memory into another: as they are stored, window by window.

use super::handle::Memory;
use crate::device::handle::Device;
use crate::error::Result;
use crate::store::Growth;

impl Memory {
    /// The same patterns under the same ids at the same positions, on `device`: after a device was lost, or to move.
    /// Rows come from the [host copy](crate::MemoryOptions::host_copy) where one is kept; otherwise they are read back
    /// from where they are, which waits. Rows that stay in a file
    /// ([`LoadOptions::rows_in_file`](crate::LoadOptions::rows_in_file)) stay there. On a device that allows windows as
    /// large its answers are bit-exact, as on any of its kind.
    ///
    /// ```
    /// use attractor::{Device, MemoryOptions, RetrieveOptions, Rule};
    /// let device = Device::new_blocking()?;
    /// let mut memory = MemoryOptions::new(2, Rule::softmax(4.0)).host_copy().build(&device)?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
    /// // The device is lost: retrieve gives Error::DeviceLost.
    /// let memory = memory.rebuild(&Device::cpu())?; // or a new GPU device
    /// assert!(memory.retrieve_blocking(&[0.9, 0.0], &RetrieveOptions::default())?.output[0] > 0.9);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost) where there is no host copy and the device is lost, or where the
    /// new one fails; [`Error::Unsupported`](crate::Error::Unsupported) where a browser would have to wait for rows of
    /// a GPU; the errors of [`MemoryOptions::build`](crate::MemoryOptions::build) and [`Memory::reserve`].
    pub fn rebuild(&self, device: &Device) -> Result<Self> {
        let mut memory = self.options.build_from(device, self.engine.sources())?;
        let positions = self.position_count();
        let windows = self.engine.window_rows();
        if windows.iter().all(|rows| *rows <= memory.layout.max_rows) {
            for rows in windows {
                memory.engine.reserve_window(rows)?;
            }
        }
        // Whatever has no window yet.
        memory.engine.reserve(positions, Growth::Doubling)?;
        let mut start = 0;
        while start < positions {
            let rows = self.engine.stored("Memory::rebuild", start..positions)?;
            start += rows.count;
            memory.engine.add_encoded(&rows)?;
        }
        memory.ids = self.ids.settled();
        Ok(memory)
    }
}
