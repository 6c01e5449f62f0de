//! Bytes on their way from the device: a staging buffer that is mapped once the device is done, awaited by any executor
//! or waited for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::channel::oneshot;

use super::context::Context;
use super::deferred_errors::{DeferredErrors, is_lost};
use super::poller::{Mapped, PollGuard, notify};
use crate::answer::Progress;
use crate::error::{Error, Result};
use crate::room::copy;
use crate::wait;

const OPERATION: &str = "read back";

/// Whether the calling thread may block until the device is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// The caller asked to block.
    Allowed,
    /// The thread may run an executor or a frame loop.
    Forbidden,
}

/// A staging buffer whose mapping has been requested.
pub(crate) struct Readback {
    context: Arc<Context>,
    buffer: wgpu::Buffer,
    mapped: oneshot::Receiver<Mapped>,
    /// The submission that writes the buffer; unknown where a host submits it.
    submission: Option<wgpu::SubmissionIndex>,
    /// Errors of earlier calls that the device has yet to report.
    deferred_errors: DeferredErrors,
}

impl Readback {
    /// Requests the mapping of `buffer` after `submission`, which writes it.
    pub fn new(context: Arc<Context>, buffer: wgpu::Buffer, submission: wgpu::SubmissionIndex) -> Self {
        let (notify, mapped) = mapping();
        buffer.map_async(wgpu::MapMode::Read, .., notify);
        let deferred_errors = context.deferred_errors.take();
        Self { context, buffer, mapped, submission: Some(submission), deferred_errors }
    }

    /// Requests the mapping of `buffer` once the commands of `encoder` are done. Its owner submits them.
    pub fn on_submit(context: Arc<Context>, buffer: wgpu::Buffer, encoder: &wgpu::CommandEncoder) -> Self {
        let (notify, mapped) = mapping();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., notify);
        let deferred_errors = context.deferred_errors.take();
        Self { context, buffer, mapped, submission: None, deferred_errors }
    }

    /// The submission that writes the bytes.
    pub fn submission(&self) -> Option<wgpu::SubmissionIndex> {
        self.submission.clone()
    }

    /// The bytes. The caller keeps the device polled: see [`Context::keep_polling`].
    pub async fn mapped(mut self) -> Result<Vec<u8>> {
        let result = (&mut self.mapped).await;
        std::mem::take(&mut self.deferred_errors).check().await?;
        Self::read(&self.context.device, &self.buffer, result)
    }

    /// The bytes. Never blocks on the device; a background thread polls it meanwhile.
    pub async fn bytes(mut self) -> Result<Vec<u8>> {
        let result = match self.mapped.try_recv() {
            Ok(Some(result)) => Ok(result),
            Err(dropped) => Err(dropped),
            Ok(None) => {
                let _polling = self.context.keep_polling();
                (&mut self.mapped).await
            }
        };
        std::mem::take(&mut self.deferred_errors).check().await?;
        Self::read(&self.context.device, &self.buffer, result)
    }

    /// The bytes, blocking this thread until they are mapped.
    pub fn wait(self) -> Result<Vec<u8>> {
        if let Some(submission) = self.submission() {
            self.context.wait(&submission)?;
        }
        wait::block_on(OPERATION, self.bytes())
    }

    /// The bytes, blocking only where the caller may; otherwise the caller keeps the device polled, as a
    /// [`Pending`](crate::Pending) does.
    pub async fn get(self, wait: Wait) -> Result<Vec<u8>> {
        match wait {
            Wait::Allowed => self.wait(),
            Wait::Forbidden => self.mapped().await,
        }
    }

    fn read(
        device: &wgpu::Device,
        buffer: &wgpu::Buffer,
        result: Result<Mapped, oneshot::Canceled>,
    ) -> Result<Vec<u8>> {
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(lost(OPERATION, error.to_string())),
            Err(oneshot::Canceled) => return Err(dropped(device, OPERATION, "the commands were dropped")),
        }
        let view = buffer.slice(..).get_mapped_range().map_err(|error| lost(OPERATION, error.to_string()))?;
        let bytes = copy(OPERATION, "answers of a device", &view)?;
        drop(view);
        buffer.unmap();
        Ok(bytes)
    }
}

impl Drop for Readback {
    /// Errors that were not reported with this answer are reported with the next.
    fn drop(&mut self) {
        self.context.deferred_errors.restore(std::mem::take(&mut self.deferred_errors));
    }
}

impl Context {
    /// Has the background thread poll the device while the guard exists.
    pub fn keep_polling(&self) -> PollGuard {
        self.poller.keep_polling(&self.device)
    }

    /// Polls the device once, without waiting. Does nothing on a host's device, which the host polls.
    pub fn poll(&self) {
        if self.owned {
            // A lost device answers with an error and fails its mappings, which then resolve with theirs.
            let _ = self.device.poll(wgpu::PollType::Poll);
        }
    }

    /// Blocks this thread until `submission` is done. Does nothing on a host's device.
    pub fn wait(&self, submission: &wgpu::SubmissionIndex) -> Result<()> {
        if !self.owned {
            return Ok(());
        }
        self.waits.fetch_add(1, Ordering::Relaxed);
        // On GL a thread that waits holds the context, which other threads do not wait for without end.
        let timeout = self.gl().then_some(Duration::from_millis(100));
        loop {
            let wait = wgpu::PollType::Wait { submission_index: Some(submission.clone()), timeout };
            match self.device.poll(wait) {
                Ok(_) => return Ok(()),
                Err(wgpu::PollError::Timeout) => {}
                Err(error) => return Err(lost(OPERATION, error.to_string())),
            }
        }
    }
}

/// A device that computes an answer.
pub(super) struct Submitted {
    pub context: Arc<Context>,
    /// The last submission that the answer needs; unknown where a host submits.
    pub submission: Option<wgpu::SubmissionIndex>,
}

impl Progress for Submitted {
    fn poll(&self) {
        self.context.poll();
    }

    fn keep_polling(&self) -> Box<dyn Send + Sync> {
        Box::new(self.context.keep_polling())
    }

    fn wait(&self) -> Result<()> {
        self.submission.as_ref().map_or(Ok(()), |submission| self.context.wait(submission))
    }
}

/// The error of commands that were dropped before they ran: by the host, or because the device is lost.
pub(super) fn dropped(device: &wgpu::Device, operation: &'static str, why: &'static str) -> Error {
    match is_lost(device) {
        true => Error::DeviceLost { operation, message: why.into() },
        false => Error::Cancelled { operation, why },
    }
}

/// The error of a device that reports `message`.
pub(super) fn lost(operation: &'static str, message: String) -> Error {
    Error::DeviceLost { operation, message }
}

/// The call-back of a mapping, and the channel that it reports to.
pub(super) fn mapping() -> (impl FnOnce(Mapped) + Send, oneshot::Receiver<Mapped>) {
    let (sender, mapped) = oneshot::channel();
    (move |result| notify(sender, result), mapped)
}
