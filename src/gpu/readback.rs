//! Answers on their way back: a staging buffer that is mapped once the device is done, awaited by whatever executor, or
//! waited for.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;

use super::{Context, Waiting};
use crate::error::{Error, Result};

/// A staging buffer whose mapping has been asked for.
pub(crate) struct Staged {
    context: Arc<Context>,
    buffer: wgpu::Buffer,
    mapped: oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>,
    /// What brings it, where that is known.
    submission: Option<wgpu::SubmissionIndex>,
}

impl Staged {
    /// Asks for the mapping of `buffer` after `submission`, which writes it.
    pub fn new(context: Arc<Context>, buffer: wgpu::Buffer, submission: wgpu::SubmissionIndex) -> Self {
        let (call_back, mapped) = expect();
        buffer.map_async(wgpu::MapMode::Read, .., call_back);
        Self { context, buffer, mapped, submission: Some(submission) }
    }

    /// Asks for the mapping of `buffer` once what `encoder` has recorded is done; whoever owns the encoder submits it.
    pub fn on_submit(context: Arc<Context>, buffer: wgpu::Buffer, encoder: &wgpu::CommandEncoder) -> Self {
        let (call_back, mapped) = expect();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., call_back);
        Self { context, buffer, mapped, submission: None }
    }

    /// The submission that brings the bytes.
    pub fn submission(&self) -> Option<wgpu::SubmissionIndex> {
        self.submission.clone()
    }

    /// The bytes, when they are there. Somebody else polls the device: see [`Context::bring`].
    pub async fn come(self) -> Result<Vec<u8>> {
        let result = self.mapped.await;
        Self::read(&self.buffer, result)
    }

    /// The bytes, when they are there. Nothing waits on the device meanwhile; a thread of ours looks now and then.
    pub async fn bytes(mut self) -> Result<Vec<u8>> {
        match self.mapped.try_recv() {
            Ok(None) => {}
            Ok(Some(result)) => return Self::read(&self.buffer, Ok(result)),
            Err(dropped) => return Self::read(&self.buffer, Err(dropped)),
        }
        let _awaited = self.context.bring();
        self.come().await
    }

    /// The bytes, waiting for them on this thread.
    pub fn wait(self) -> Result<Vec<u8>> {
        if let Some(submission) = self.submission() {
            self.context.wait(&submission)?;
        }
        pollster::block_on(self.bytes())
    }

    /// The bytes, waiting as the caller may.
    pub async fn get(self, waiting: Waiting) -> Result<Vec<u8>> {
        match waiting {
            Waiting::Allowed => self.wait(),
            Waiting::Forbidden => self.bytes().await,
        }
    }

    fn read(
        buffer: &wgpu::Buffer,
        result: Result<Result<(), wgpu::BufferAsyncError>, oneshot::Canceled>,
    ) -> Result<Vec<u8>> {
        match result {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return Err(lost(error.to_string())),
            Err(oneshot::Canceled) => return Err(lost("the commands were dropped before they ran".into())),
        }
        let bytes = buffer.slice(..).get_mapped_range().map_err(|error| lost(error.to_string()))?.to_vec();
        buffer.unmap();
        Ok(bytes)
    }
}

impl Context {
    /// Sees to it that what is awaited comes, as long as the result is kept.
    pub fn bring(&self) -> Awaited {
        let awaited = self.poller.awaited();
        self.poller.start(&self.device);
        awaited
    }

    /// Looks whether something has come, without waiting. A host's device is the host's to poll.
    pub fn look(&self) {
        if self.owned {
            // A lost device answers with an error and fails its mappings, which then resolve with theirs.
            let _ = self.device.poll(wgpu::PollType::Poll);
        }
    }

    /// Waits for `submission` on this thread, on a device of ours.
    pub fn wait(&self, submission: &wgpu::SubmissionIndex) -> Result<()> {
        if !self.owned {
            return Ok(());
        }
        self.waits.fetch_add(1, Ordering::Relaxed);
        // On GL whoever waits holds the context, for which others do not wait for ever.
        let timeout = self.gl().then_some(Duration::from_millis(100));
        loop {
            let wait = wgpu::PollType::Wait { submission_index: Some(submission.clone()), timeout };
            match self.device.poll(wait) {
                Ok(_) => return Ok(()),
                Err(wgpu::PollError::Timeout) => {}
                Err(error) => return Err(lost(error.to_string())),
            }
        }
    }
}

fn lost(message: String) -> Error {
    Error::Lost { operation: "read back", message }
}

/// Tells whether a buffer was mapped.
type Mapped = Result<(), wgpu::BufferAsyncError>;

/// What a mapping calls when it is there, and what then hears of it.
fn expect() -> (impl FnOnce(Mapped) + Send, oneshot::Receiver<Mapped>) {
    let (sender, mapped) = oneshot::channel();
    // Nobody listens any more where the future was dropped.
    let call_back = move |result| drop(sender.send(result));
    (call_back, mapped)
}

/// Looks after read-backs that are awaited: wgpu maps buffers only while somebody polls the device. The thread starts
/// with the first await, sleeps while nothing is awaited, never waits inside the device, and ends with the context.
#[derive(Debug, Default)]
pub(crate) struct Poller {
    shared: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Debug, Default)]
struct State {
    /// Read-backs that are awaited.
    count: usize,
    /// Whether one has come to them since the last look.
    another: bool,
    started: bool,
    stopped: bool,
}

/// One read-back that is awaited.
pub(crate) struct Awaited(Arc<(Mutex<State>, Condvar)>);

impl Poller {
    fn awaited(&self) -> Awaited {
        let (state, wake) = &*self.shared;
        {
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            state.count += 1;
            state.another = true;
        }
        wake.notify_all();
        Awaited(self.shared.clone())
    }

    #[cfg(target_arch = "wasm32")]
    fn start(&self, _: &wgpu::Device) {}

    #[cfg(not(target_arch = "wasm32"))]
    fn start(&self, device: &wgpu::Device) {
        let mut state = self.shared.0.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut state.started, true) {
            return;
        }
        let (shared, device) = (self.shared.clone(), device.clone());
        std::thread::spawn(move || {
            let (state, wake) = &*shared;
            let mut idle = 0u32;
            loop {
                {
                    let mut now = state.lock().unwrap_or_else(PoisonError::into_inner);
                    while now.count == 0 && !now.stopped {
                        now = wake.wait(now).unwrap_or_else(PoisonError::into_inner);
                    }
                    if now.stopped {
                        return;
                    }
                    if std::mem::take(&mut now.another) {
                        idle = 0;
                    }
                }
                // A lost device answers with an error and fails its mappings, which then resolve with theirs.
                let _ = device.poll(wgpu::PollType::Poll);
                // Short answers come within microseconds, long ones may wait a millisecond more.
                match idle {
                    0..50 => std::thread::yield_now(),
                    50..150 => std::thread::sleep(Duration::from_micros(50)),
                    _ => std::thread::sleep(Duration::from_millis(1)),
                }
                idle += 1;
            }
        });
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let mut state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.count -= 1;
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.shared.1.notify_all();
    }
}
