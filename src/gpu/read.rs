//! Stored patterns on their way back to the host, in pieces of bounded size.

use std::ops::Range;

use super::buffer;
use super::{Engine, Staged, Waiting};
use crate::error::{Error, Result};
use crate::store::{Pattern, decode};

/// Bytes of one piece, at the most, unless one row is larger.
const PIECE: usize = 16 << 20;

impl Engine {
    /// The patterns at `positions`, which are stored and rise.
    pub async fn read(&self, positions: &[usize], waiting: Waiting) -> Result<Vec<Pattern>> {
        let row: usize = self.row_sizes().iter().sum();
        let mut patterns = Vec::with_capacity(positions.len());
        for positions in positions.chunks((PIECE / row).max(1)) {
            let bytes = self.stage(positions)?.get(waiting).await?;
            patterns.extend(self.decoded(&bytes, positions.len()));
        }
        Ok(patterns)
    }

    /// The pattern at `position`, which is stored, waiting for it.
    pub fn read_one(&self, position: usize) -> Result<Pattern> {
        let bytes = self.stage(&[position])?.wait()?;
        let lost = || Error::Lost { operation: "read", message: "no row came back".into() };
        self.decoded(&bytes, 1).next().ok_or_else(lost)
    }

    /// Bytes of a stored key, value and row of terms; 0 where there are none.
    fn row_sizes(&self) -> [usize; 3] {
        let element = self.layout.precision.bytes();
        let terms = if self.has_terms() { 16 } else { 0 };
        [element * self.layout.key_stride(), element * self.layout.value_stride(), terms]
    }

    /// Asks for the rows at `positions`: all keys, then all values, then all terms.
    fn stage(&self, positions: &[usize]) -> Result<Staged> {
        let sizes = self.row_sizes();
        let device = self.context.device();
        let size = positions.len() * sizes.iter().sum::<usize>();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = buffer::create(device, "attractor.staging", size as u64, usage)?;
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("attractor") });
        let starts = [0, positions.len() * sizes[0], positions.len() * (sizes[0] + sizes[1])];
        for run in self.runs(positions) {
            let (rows, at) = self.windows.row(positions[run.start]);
            let sources = [Some(&rows.keys), rows.values.as_ref(), rows.terms.as_ref()];
            for ((source, size), start) in sources.into_iter().zip(sizes).zip(starts) {
                if let Some(source) = source {
                    let (from, to, bytes) = (at * size, start + run.start * size, run.len() * size);
                    encoder.copy_buffer_to_buffer(&source.buffer, from as u64, &staging, to as u64, bytes as u64);
                }
            }
        }
        let submission = buffer::scoped(device, "read", || self.context.queue.submit([encoder.finish()]))?;
        Ok(Staged::new(self.context.clone(), staging, submission))
    }

    /// `positions` in runs that are side by side in one window, as ranges of `positions`.
    fn runs(&self, positions: &[usize]) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        let mut end = 0;
        for (i, position) in positions.iter().enumerate() {
            match runs.last_mut() {
                Some(run) if positions[i - 1] + 1 == *position && *position < end => run.end = i + 1,
                _ => {
                    runs.push(i..i + 1);
                    end = self.windows.filled().map(|w| w.first + w.rows).find(|end| end > position).unwrap_or(0);
                }
            }
        }
        runs
    }

    fn decoded(&self, bytes: &[u8], count: usize) -> impl Iterator<Item = Pattern> {
        let (layout, [key_size, value_size, terms_size]) = (self.layout, self.row_sizes());
        (0..count).map(move |i| {
            let row = |start: usize, size: usize| &bytes[start + i * size..][..size];
            let key = row(0, key_size);
            let value = row(count * key_size, value_size);
            let terms = row(count * (key_size + value_size), terms_size);
            let terms: [f32; 4] = bytemuck::pod_collect_to_vec(terms).try_into().unwrap_or([1.0, 0.0, 1.0, 1.0]);
            Pattern {
                key: decode(key, layout.dim, layout.precision, terms[2]),
                value: layout.value_dim.map(|columns| decode(value, columns, layout.precision, terms[3])),
                bias: terms[1],
            }
        })
    }
}
