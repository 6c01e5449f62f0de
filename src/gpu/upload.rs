//! Writes bytes and rows of patterns to the device.

use super::buffer::{self, Binding};
use super::handles::Handles;
use super::patterns::StoredRows;
use super::range::RowMagnitudes;
use crate::error::{Error, Result};
use crate::rule::{Rule, Similarity};
use crate::store::{EncodedRows, Layout, NewRows, decode};

/// A function that copies `bytes` to the start of a mapped buffer.
pub(super) fn fill(bytes: &[u8]) -> impl FnOnce(&mut wgpu::BufferViewMut) {
    move |view: &mut wgpu::BufferViewMut| view.slice(..bytes.len()).copy_from_slice(bytes)
}

impl Handles {
    /// A buffer for `size` bytes of answers, and a staging buffer that the host maps.
    pub fn answer_buffers(&self, size: u64) -> Result<(wgpu::Buffer, wgpu::Buffer)> {
        let usage = buffer::STORAGE | wgpu::BufferUsages::COPY_SRC;
        let answers = buffer::create(self, "attractor.answers", size, usage)?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = buffer::create(self, "attractor.staging", answers.size(), usage)?;
        Ok((answers, staging))
    }

    /// A storage buffer that starts with `bytes`.
    pub fn upload(&self, label: &'static str, bytes: &[u8]) -> Result<wgpu::Buffer> {
        buffer::create_with(self, label, bytes.len() as u64, buffer::STORAGE, Some(fill(bytes)))
    }

    /// Writes validated rows from row `at` of a window on. Returns their magnitudes, as they are stored.
    pub fn write_rows(
        &self,
        to: &StoredRows,
        at: usize,
        rows: &NewRows<'_>,
        layout: &Layout,
        rule: Rule,
    ) -> Result<RowMagnitudes> {
        self.write_encoded(to, at, &EncodedRows::new(rows, layout), layout, rule)
    }

    /// [`Handles::write_rows`] of rows that are encoded already.
    pub fn write_encoded(
        &self,
        to: &StoredRows,
        at: usize,
        rows: &EncodedRows<'_>,
        layout: &Layout,
        rule: Rule,
    ) -> Result<RowMagnitudes> {
        let write = |to: &Binding, row: usize, bytes: &[u8]| self.write(&to.buffer, (at * row) as u64, bytes);
        let element = layout.precision.bytes();
        let stored = element * layout.key_stride();
        // Rows that stream come from the host each time that they are needed.
        let resident = to.slot.is_none();
        if resident {
            write(&to.keys, stored, &rows.keys.rows)?;
        }
        if let (true, Some(to), Some(values)) = (resident, &to.values, &rows.values) {
            write(to, element * layout.value_stride(), &values.rows)?;
        }
        let squares = rows.keys.rows.chunks_exact(stored).zip(rows.keys.scales.iter()).map(|(row, scale)| {
            let row = decode(row, layout.dim, layout.precision, *scale);
            row.iter().map(|k| f64::from(*k) * f64::from(*k)).sum::<f64>()
        });
        let squares: Vec<f64> = squares.collect();
        if let Some(to) = &to.terms {
            let terms: Vec<[f32; 4]> = (0..rows.count)
                .map(|i| {
                    let cosine = rule.similarity == Similarity::Cosine;
                    let factor = if cosine { 1.0 / squares[i].sqrt().max(1e-12) } else { 1.0 };
                    let bias = rows.bias.as_ref().map_or(0.0, |bias| bias[i]);
                    let value_scale = rows.values.as_ref().map_or(1.0, |values| values.scales[i]);
                    [factor as f32, bias, rows.keys.scales[i], value_scale]
                })
                .collect();
            write(to, 16, bytemuck::cast_slice(&terms))?;
        }
        if let Some(to) = &to.levels {
            to.write(self, at, rows, &squares, (layout, rule.similarity))?;
        }
        let values = rows.values.as_ref().zip(layout.value_dim).map_or_else(Vec::new, |(values, columns)| {
            let stored = values.rows.chunks_exact(element * layout.value_stride()).zip(values.scales.iter());
            let largest = |row: Vec<f32>| row.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
            stored.map(|(row, scale)| largest(decode(row, columns, layout.precision, *scale))).collect()
        });
        let bias = |row: usize| rows.bias.as_ref().map_or(0.0, |bias| bias[row].abs());
        let biases = if layout.bias { (0..rows.count).map(bias).collect() } else { Vec::new() };
        Ok(RowMagnitudes { squares, values, biases })
    }

    /// Refuses a lost device. Such a device creates buffers without an error; only their mapping fails.
    ///
    /// # Errors
    /// [`Error::DeviceLost`].
    pub fn check_alive(&self) -> Result<()> {
        self.upload("attractor.probe", &[]).map(|_| ())
    }

    /// Schedules a write for the next submission.
    pub(super) fn write(&self, to: &wgpu::Buffer, offset: u64, bytes: &[u8]) -> Result<()> {
        let Some(size) = wgpu::BufferSize::new(bytes.len() as u64) else { return Ok(()) };
        // `Queue::write_buffer` does not report a lost device.
        let staged = buffer::scoped(self, "write", || {
            let view = self.queue.write_buffer_with(to, offset, size);
            view.map(|mut view| view.copy_from_slice(bytes))
        })?;
        staged.ok_or_else(|| Error::DeviceLost {
            operation: "write",
            message: "the device takes nothing any more".into(),
        })
    }

    /// Submits scheduled writes, on a device that this library opened. On a host's device the host's next submission
    /// does.
    pub fn flush(&self) -> Result<()> {
        match self.owned {
            true => buffer::scoped(self, "write", || self.submit(None)).map(|_| ()),
            false => Ok(()),
        }
    }
}
