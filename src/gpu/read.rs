//! Reads stored patterns back to the host, in pieces of bounded size.

use std::ops::Range;

use super::buffer;
use super::engine::Engine;
use super::readback::{Readback, Wait};
use super::upload::fill;
use crate::error::{Error, Result};
use crate::room::room;
use crate::store::{Pattern, try_decode};

/// The most bytes of one piece, unless one row is larger.
pub(super) const MAX_PIECE_BYTES: usize = 16 << 20;
/// Bytes behind the rows of a piece, the first four of them a completion stamp.
const STAMP_BYTES: usize = 16;

/// Rows whose copy was submitted, followed by a stamp: without the stamp the copy did not complete.
pub(super) struct Piece {
    readback: Readback,
    stamp: u32,
}

impl Piece {
    /// The rows, blocking this thread until they are read back.
    pub fn wait(self) -> Result<Vec<u8>> {
        stamped(self.readback.wait()?, self.stamp)
    }
}

fn stamped(bytes: Vec<u8>, stamp: u32) -> Result<Vec<u8>> {
    match bytes.last_chunk::<STAMP_BYTES>().is_some_and(|end| end.starts_with(&stamp.to_ne_bytes())) {
        true => Ok(bytes),
        false => Err(incomplete("rows came back without their completion stamp")),
    }
}

fn incomplete(message: &str) -> Error {
    Error::Internal { operation: "read", message: message.into() }
}

impl Engine {
    /// The patterns at `positions`, which are stored and in rising order.
    ///
    /// # Errors
    /// [`Error::DeviceLost`]; [`Error::OutOfMemory`] where the host has no room for them.
    pub async fn read(&self, positions: &[usize], wait: Wait) -> Result<Vec<Pattern>> {
        if let Some(host) = &self.host {
            return positions.iter().map(|position| host.pattern("read", *position)).collect();
        }
        let row: usize = self.row_sizes().iter().sum();
        let mut patterns = room("read", "patterns", positions.len())?;
        for positions in positions.chunks((MAX_PIECE_BYTES / row).max(1)) {
            let Piece { readback, stamp } = self.stage(positions)?;
            let bytes = stamped(readback.get(wait).await?, stamp)?;
            for pattern in self.decoded(&bytes, positions.len()) {
                patterns.push(pattern?);
            }
        }
        Ok(patterns)
    }

    /// The pattern at `position`, which is stored, blocking this thread until it is read back.
    pub fn read_one(&self, position: usize) -> Result<Pattern> {
        let bytes = self.stage(&[position])?.wait()?;
        self.decoded(&bytes, 1).next().unwrap_or_else(|| Err(incomplete("no row came back")))
    }

    /// The bytes of a stored key, of a value and of a row of terms; 0 where rows have none.
    pub(super) fn row_sizes(&self) -> [usize; 3] {
        let element = self.layout.precision.bytes();
        let terms = if self.has_terms() { 16 } else { 0 };
        [element * self.layout.key_stride(), element * self.layout.value_stride(), terms]
    }

    /// Submits the copy of the rows at `positions`: all keys, then all values, then all terms.
    pub(super) fn stage(&self, positions: &[usize]) -> Result<Piece> {
        let sizes = self.row_sizes();
        let context = &self.context;
        let size = positions.len() * sizes.iter().sum::<usize>();
        let mark = self.context.next_stamp();
        let fill = fill(bytemuck::bytes_of(&mark));
        let stamp = buffer::create_with(
            context,
            "attractor.stamp",
            STAMP_BYTES as u64,
            wgpu::BufferUsages::COPY_SRC,
            Some(fill),
        )?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let padded = size.next_multiple_of(STAMP_BYTES);
        let staging = buffer::create(context, "attractor.staging", (padded + STAMP_BYTES) as u64, usage)?;
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
        encoder.copy_buffer_to_buffer(&stamp, 0, &staging, padded as u64, STAMP_BYTES as u64);
        let submission = buffer::scoped(context, "read", || context.submit(Some(encoder.finish())))?;
        Ok(Piece { readback: Readback::new(self.context.clone(), staging, submission), stamp: mark })
    }

    /// Runs of adjacent positions within one window, as ranges of `positions`.
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

    fn decoded(&self, bytes: &[u8], count: usize) -> impl Iterator<Item = Result<Pattern>> {
        let (layout, [key_size, value_size, terms_size]) = (self.layout, self.row_sizes());
        (0..count).map(move |i| {
            let row = |start: usize, size: usize| &bytes[start + i * size..][..size];
            let key = row(0, key_size);
            let value = row(count * key_size, value_size);
            let terms = row(count * (key_size + value_size), terms_size);
            let terms: [f32; 4] = bytemuck::pod_collect_to_vec(terms).try_into().unwrap_or([1.0, 0.0, 1.0, 1.0]);
            let value = layout.value_dim.map(|columns| try_decode("read", value, columns, layout.precision, terms[3]));
            Ok(Pattern {
                key: try_decode("read", key, layout.dim, layout.precision, terms[2])?,
                value: value.transpose()?,
                bias: terms[1],
            })
        })
    }
}
