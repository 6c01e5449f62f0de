//! Empty memories.

use super::handle::Memory;
use super::options::MemoryOptions;
use crate::device::handle::Device;
use crate::engine::{Engine, Limits, Placement};
use crate::error::{Error, Result};
use crate::rule::Rule;
use crate::store::{Ids, Layout, RowSources, Snapshots, stride};

impl MemoryOptions {
    /// An empty memory on `device`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a zero dimension or a rule that does not [validate](Rule::validate);
    /// [`Error::Limit`] where one row does not fit a window.
    pub fn build(&self, device: &Device) -> Result<Memory> {
        self.build_from(device, None)
    }

    /// [`MemoryOptions::build`] where the rows of the host may stay where `sources` says.
    pub(super) fn build_from(&self, device: &Device, sources: Option<RowSources>) -> Result<Memory> {
        const OPERATION: &str = "MemoryOptions::build";
        self.rule.validate().map_err(|error| error.named(OPERATION))?;
        for (parameter, dim) in [("dim", Some(self.dim)), ("value_dim", self.value_dim)] {
            if dim == Some(0) {
                return Err(Error::Parameter {
                    operation: OPERATION,
                    parameter,
                    expected: "at least 1",
                    got: "0".into(),
                });
            }
        }
        self.rule.update.check_shape(OPERATION, self.dim, self.value_dim)?;
        let Limits { window_bytes: limit, buffer_bytes, dim: max_dim } = Limits::of(device);
        for dim in [self.dim, self.value_dim.unwrap_or(0)] {
            if dim > max_dim {
                let (need, allowed) = (dim as u64, max_dim as u64);
                return Err(Error::Limit { operation: OPERATION, limit: "dimensions of one row", need, allowed });
            }
        }
        let limit = self.window_bytes.unwrap_or(limit).min(limit);
        let widest = stride(self.dim).max(self.value_dim.map_or(0, stride)) as u64 * 4;
        if widest > limit {
            return Err(Error::Limit {
                operation: OPERATION,
                limit: "window bytes (max_storage_buffer_binding_size, or as asked)",
                need: widest,
                allowed: limit,
            });
        }
        // Row indices within a window are u32 in the shaders.
        let mut max_rows = (limit / widest).min(u64::from(u32::MAX / 2));
        let mut resident_rows = None;
        if let (Some(bytes), false) = (self.device_bytes, device.is_cpu()) {
            let floats = stride(self.dim) + self.value_dim.map_or(0, stride);
            let row = (self.precision.bytes() * floats) as u64;
            let held = bytes / row;
            if held < 2 {
                let (limit, need) = ("bytes of keys and values on the device (device_bytes)", 2 * row);
                return Err(Error::Limit { operation: OPERATION, limit, need, allowed: bytes });
            }
            max_rows = max_rows.min(streamed_rows(held, row, buffer_bytes));
            // Two windows at a time stream.
            resident_rows = Some(usize::try_from(held - 2 * max_rows).unwrap_or(usize::MAX));
        }
        let max_rows = max_rows as usize;
        let layout =
            Layout { dim: self.dim, value_dim: self.value_dim, precision: self.precision, bias: self.bias, max_rows };
        let placement = Placement { host_copy: self.host_copy, sources, resident_rows };
        Ok(Memory {
            device: device.clone(),
            layout,
            rule: self.rule,
            ids: Ids::default(),
            snapshots: Snapshots::default(),
            engine: Engine::new(device, layout, self.rule, placement),
            options: self.clone(),
        })
    }
}

impl Memory {
    /// An empty memory whose keys of `dim` dimensions are their own values.
    ///
    /// # Errors
    /// As [`MemoryOptions::build`].
    pub fn new(device: &Device, dim: usize, rule: Rule) -> Result<Self> {
        MemoryOptions::new(dim, rule).build(device)
    }
}

/// The most rows, of `row` bytes of key and value, of a window that streams through a device that holds `held` of them:
/// an eighth, as far as one buffer of `buffer_bytes` takes keys and values to the device together.
fn streamed_rows(held: u64, row: u64, buffer_bytes: u64) -> u64 {
    // Buffers have whole vectors of 16 bytes.
    (held / 8).min(buffer_bytes / 16 * 16 / row).max(1)
}

#[cfg(test)]
mod tests {
    use super::streamed_rows;

    #[test]
    fn the_keys_and_values_of_a_window_that_streams_fit_one_buffer() {
        assert_eq!(streamed_rows(7, 32, u64::MAX), 1);
        assert_eq!(streamed_rows(800, 32, u64::MAX), 100);
        for (row, buffer) in [(32u64, 32 << 20), (12, (1 << 31) - 1), (4 * 800, 256 << 20), (6_710_888, 32 << 20)] {
            let rows = streamed_rows(u64::MAX, row, buffer);
            assert!((rows * row).next_multiple_of(16) <= buffer, "{rows} rows of {row} in {buffer}");
            assert!(((rows + 1) * row).next_multiple_of(16) > buffer, "{rows} rows of {row} in {buffer}");
        }
    }
}
