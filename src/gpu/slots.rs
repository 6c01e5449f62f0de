//! The room on a device through which rows stream that it does not hold: two slots, each with the rows of one window at
//! a time, and for each a staging buffer that the host fills while the device works on the other slot.

use std::sync::{Arc, Mutex};
use std::task::Poll;

use futures::channel::oneshot;

use super::buffer::{self, Binding};
use super::context::Context;
use super::handles::Handles;
use super::patterns::{Load, SLOTS, Sides, StoredRows};
use super::poller::Mapped;
use super::readback::{Wait, dropped, lost, mapping};
use crate::error::Result;
use crate::store::{EncodedRows, HostRows, Window};
use crate::sync::lock;

const OPERATION: &str = "stream patterns";

/// What a slot holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SlotSize {
    pub rows: usize,
    /// Bytes of a key and of a value; 0 without values.
    pub key: usize,
    pub value: usize,
}

impl SlotSize {
    fn bytes(self) -> u64 {
        self.rows as u64 * (self.key + self.value) as u64
    }
}

/// The slots of one run.
#[derive(Debug)]
pub(crate) struct Slots {
    size: SlotSize,
    keys: [Binding; SLOTS],
    values: Option<[Binding; SLOTS]>,
    /// Absent while it is filled, and until it is first needed.
    staging: Mutex<[Option<Staging>; SLOTS]>,
}

#[derive(Debug)]
struct Staging {
    buffer: wgpu::Buffer,
    /// The submission that reads it, and its mapping once that is done; absent while it is mapped.
    used: Option<(wgpu::SubmissionIndex, oneshot::Receiver<Mapped>)>,
}

/// Rows that the host has put into a staging buffer, on their way to a slot.
#[derive(Debug)]
pub(crate) struct Staged {
    slot: usize,
    buffer: wgpu::Buffer,
    /// Consecutive rows that lie together in the staging buffer: where they begin there, where in the slot, and how
    /// many they are.
    runs: Vec<[usize; 3]>,
    sides: Sides,
}

/// Bytes after which a poll that must not block has copied enough.
const MAX_COPIED_BYTES: usize = 16 << 20;

/// A window of which fewer rows than one in so many are read is loaded row by row.
const MIN_SHARE_LOADED: usize = 4;

impl Slots {
    pub fn new(handles: &Handles, size: SlotSize) -> Result<Self> {
        let usage = buffer::STORAGE | wgpu::BufferUsages::COPY_DST;
        let slots = |label, row: usize| -> Result<[Binding; SLOTS]> {
            let make = || buffer::create(handles, label, (size.rows * row) as u64, usage);
            Ok([Binding::from(&make()?), Binding::from(&make()?)])
        };
        Ok(Self {
            size,
            keys: slots("attractor.keys", size.key)?,
            values: (size.value > 0).then(|| slots("attractor.values", size.value)).transpose()?,
            staging: Mutex::default(),
        })
    }

    /// A window whose rows stream, where kernels find them.
    pub fn place(&self, window: &Window<StoredRows>) -> Window<StoredRows> {
        let mut window = window.clone();
        if let Some(slot) = window.storage.slot {
            window.storage.keys = self.keys[slot].clone();
            window.storage.values = self.values.as_ref().map(|values| values[slot].clone());
        }
        window
    }

    /// Puts the rows of `load`, or those at the `positions` that it has, which rise, into the staging buffer of its
    /// slot, once the device has read what was there before. Nothing where there are none.
    ///
    /// # Errors
    /// [`Error::DeviceLost`](crate::Error::DeviceLost); those of [`HostRows::encoded`].
    pub async fn stage(
        &self,
        operation: &'static str,
        context: &Arc<Context>,
        host: &dyn HostRows,
        load: Load,
        positions: Option<&[u32]>,
        wait: Wait,
    ) -> Result<Option<Staged>> {
        let runs = match positions {
            Some([]) => return Ok(None),
            Some(positions) if MIN_SHARE_LOADED * positions.len() <= load.rows => runs(positions, load.first),
            _ => vec![[0, 0, load.rows]],
        };
        let taken = lock(&self.staging)[load.slot].take();
        let Staging { buffer, used } = match taken {
            Some(staging) => staging,
            None => Staging { buffer: self.staging_buffer(context)?, used: None },
        };
        if let Some((submission, mapped)) = used {
            let _polling = match wait {
                Wait::Allowed => {
                    context.wait(&submission)?;
                    Some(context.keep_polling())
                }
                Wait::Forbidden => None,
            };
            match mapped.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(lost(OPERATION, error.to_string())),
                Err(oneshot::Canceled) => {
                    return Err(dropped(&context.device, OPERATION, "the commands were dropped"));
                }
            }
        }
        let most = (MAX_COPIED_BYTES / (self.size.key + self.size.value)).max(1);
        let mut copied = 0;
        for [staged, row, count] in &runs {
            let mut done = 0;
            while done < *count {
                if copied >= most && wait == Wait::Forbidden {
                    copied = 0;
                    next_poll().await;
                }
                let begin = load.first + row + done;
                let rows = host.encoded(operation, begin..begin + most.min(count - done))?;
                self.write(&buffer, staged + done, &rows, load.sides)?;
                (done, copied) = (done + rows.count, copied + rows.count);
            }
        }
        buffer.unmap();
        if wait == Wait::Forbidden {
            next_poll().await;
        }
        Ok(Some(Staged { slot: load.slot, buffer, runs, sides: load.sides }))
    }

    /// Writes `sides` of rows to a staging buffer, which is mapped, as its rows from row `at` on.
    fn write(&self, buffer: &wgpu::Buffer, at: usize, rows: &EncodedRows<'_>, sides: Sides) -> Result<()> {
        let SlotSize { rows: capacity, key, value } = self.size;
        let range = buffer.slice(..).get_mapped_range_mut();
        let mut view = range.map_err(|error| lost(OPERATION, error.to_string()))?;
        let keys = sides.keys.then_some((at * key, &rows.keys));
        let values = rows.values.as_ref().filter(|_| sides.values);
        let values = values.map(|values| (capacity * key + at * value, values));
        for (start, side) in keys.into_iter().chain(values) {
            view.slice(start..start + side.rows.len()).copy_from_slice(&side.rows);
        }
        Ok(())
    }

    fn staging_buffer(&self, handles: &Handles) -> Result<wgpu::Buffer> {
        let usage = wgpu::BufferUsages::MAP_WRITE | wgpu::BufferUsages::COPY_SRC;
        buffer::create_mapped(handles, "attractor.streaming", self.size.bytes(), usage)
    }

    /// Records the copy of staged rows to their slot.
    pub fn copy(&self, staged: &Staged, encoder: &mut wgpu::CommandEncoder) {
        let SlotSize { rows, key, value } = self.size;
        let keys = staged.sides.keys.then_some((&self.keys, 0, key));
        let values = self.values.as_ref().filter(|_| staged.sides.values);
        let values = values.map(|values| (values, rows * key, value));
        for (slots, first, bytes) in keys.into_iter().chain(values) {
            for [from, to, count] in &staged.runs {
                let [from, to, size] = [first + from * bytes, to * bytes, count * bytes].map(|at| at as u64);
                encoder.copy_buffer_to_buffer(&staged.buffer, from, &slots[staged.slot].buffer, to, size);
            }
        }
    }

    /// Has the staging buffer mapped again once `submission`, which copies from it, is done.
    pub fn reuse(&self, staged: Staged, submission: &wgpu::SubmissionIndex) {
        let (notify, mapped) = mapping();
        staged.buffer.map_async(wgpu::MapMode::Write, .., notify);
        let staging = Staging { buffer: staged.buffer, used: Some((submission.clone(), mapped)) };
        lock(&self.staging)[staged.slot] = Some(staging);
    }
}

/// Ends this poll, which has copied as much as one poll may: a caller that must not block polls again.
async fn next_poll() {
    let mut polled = false;
    let poll = move |context: &mut std::task::Context<'_>| {
        if std::mem::replace(&mut polled, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    };
    std::future::poll_fn(poll).await;
}

/// Runs of consecutive rows at `positions`, which rise, of a window that begins at `first`.
fn runs(positions: &[u32], first: usize) -> Vec<[usize; 3]> {
    let mut staged = 0;
    let run = |run: &[u32]| {
        let begin = staged;
        staged += run.len();
        [begin, run[0] as usize - first, run.len()]
    };
    positions.chunk_by(|a, b| a + 1 == *b).map(run).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn rows_that_are_read_lie_together() {
        assert_eq!(super::runs(&[100, 101, 105, 107, 108], 100), [[0, 0, 2], [2, 5, 1], [3, 7, 2]]);
    }
}
