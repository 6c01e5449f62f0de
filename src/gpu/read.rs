//! Stored patterns on their way back to the host, in pieces of bounded size.

use std::ops::Range;

use super::buffer;
use super::engine::Engine;
use super::readback::{Readback, Wait};
use super::upload::fill;
use crate::error::{Error, Result};
use crate::store::{Pattern, decode};

/// Bytes of one piece, at the most, unless one row is larger.
pub(super) const PIECE: usize = 16 << 20;
/// Bytes behind the rows of a piece, the first four of them a stamp.
const STAMP: usize = 16;

/// Rows that have been asked for, and the stamp that comes last: without it they did not come.
pub(super) struct Piece {
    readback: Readback,
    stamp: u32,
}

impl Piece {
    /// The rows, waiting for them on this thread.
    pub fn wait(self) -> Result<Vec<u8>> {
        stamped(self.readback.wait()?, self.stamp)
    }
}

fn stamped(bytes: Vec<u8>, stamp: u32) -> Result<Vec<u8>> {
    match bytes.last_chunk::<STAMP>().is_some_and(|end| end.starts_with(&stamp.to_ne_bytes())) {
        true => Ok(bytes),
        false => Err(lost("rows came back without their completion stamp")),
    }
}

fn lost(message: &str) -> Error {
    Error::Lost { operation: "read", message: message.into() }
}

impl Engine {
    /// The patterns at `positions`, which are stored and rise.
    pub async fn read(&self, positions: &[usize], wait: Wait) -> Result<Vec<Pattern>> {
        let row: usize = self.row_sizes().iter().sum();
        let mut patterns = Vec::with_capacity(positions.len());
        for positions in positions.chunks((PIECE / row).max(1)) {
            let Piece { readback, stamp } = self.stage(positions)?;
            let bytes = stamped(readback.get(wait).await?, stamp)?;
            patterns.extend(self.decoded(&bytes, positions.len()));
        }
        Ok(patterns)
    }

    /// The pattern at `position`, which is stored, waiting for it.
    pub fn read_one(&self, position: usize) -> Result<Pattern> {
        let bytes = self.stage(&[position])?.wait()?;
        let lost = || lost("no row came back");
        self.decoded(&bytes, 1).next().ok_or_else(lost)
    }

    /// Bytes of a stored key, value and row of terms; 0 where there are none.
    pub(super) fn row_sizes(&self) -> [usize; 3] {
        let element = self.layout.precision.bytes();
        let terms = if self.has_terms() { 16 } else { 0 };
        [element * self.layout.key_stride(), element * self.layout.value_stride(), terms]
    }

    /// Asks for the rows at `positions`: all keys, then all values, then all terms.
    pub(super) fn stage(&self, positions: &[usize]) -> Result<Piece> {
        let sizes = self.row_sizes();
        let context = &self.context;
        let size = positions.len() * sizes.iter().sum::<usize>();
        let mark = self.context.next_stamp();
        let fill = fill(bytemuck::bytes_of(&mark));
        let stamp =
            buffer::create_with(context, "attractor.stamp", STAMP as u64, wgpu::BufferUsages::COPY_SRC, Some(fill))?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let padded = size.next_multiple_of(STAMP);
        let staging = buffer::create(context, "attractor.staging", (padded + STAMP) as u64, usage)?;
        let mut encoder =
            context.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("attractor") });
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
        encoder.copy_buffer_to_buffer(&stamp, 0, &staging, padded as u64, STAMP as u64);
        let submission = buffer::scoped(context, "read", || context.submit(Some(encoder.finish())))?;
        Ok(Piece { readback: Readback::new(self.context.clone(), staging, submission), stamp: mark })
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
