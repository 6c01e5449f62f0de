//! Answers on their way back: a staging buffer that is mapped once the device is done, awaited by whatever executor, or
//! waited for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
#[cfg(not(target_arch = "wasm32"))]
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::channel::oneshot;

use super::complaints::Complaints;
use super::context::Context;
use super::submit::Waiting;
use crate::error::{Error, Result};
#[cfg(not(target_arch = "wasm32"))]
use crate::fork;
use crate::wait;

/// A staging buffer whose mapping has been asked for.
pub(crate) struct Staged {
    context: Arc<Context>,
    buffer: wgpu::Buffer,
    mapped: oneshot::Receiver<Result<(), wgpu::BufferAsyncError>>,
    /// What brings it, where that is known.
    submission: Option<wgpu::SubmissionIndex>,
    /// What the device may have to say against the calls before.
    complaints: Complaints,
}

impl Staged {
    /// Asks for the mapping of `buffer` after `submission`, which writes it.
    pub fn new(context: Arc<Context>, buffer: wgpu::Buffer, submission: wgpu::SubmissionIndex) -> Self {
        let (call_back, mapped) = expect();
        buffer.map_async(wgpu::MapMode::Read, .., call_back);
        let complaints = context.complaints.take();
        Self { context, buffer, mapped, submission: Some(submission), complaints }
    }

    /// Asks for the mapping of `buffer` once what `encoder` has recorded is done; whoever owns the encoder submits it.
    pub fn on_submit(context: Arc<Context>, buffer: wgpu::Buffer, encoder: &wgpu::CommandEncoder) -> Self {
        let (call_back, mapped) = expect();
        encoder.map_buffer_on_submit(&buffer, wgpu::MapMode::Read, .., call_back);
        let complaints = context.complaints.take();
        Self { context, buffer, mapped, submission: None, complaints }
    }

    /// The submission that brings the bytes.
    pub fn submission(&self) -> Option<wgpu::SubmissionIndex> {
        self.submission.clone()
    }

    /// The bytes, when they are there. Somebody else polls the device: see [`Context::bring`].
    pub async fn come(mut self) -> Result<Vec<u8>> {
        let result = (&mut self.mapped).await;
        std::mem::take(&mut self.complaints).hear().await?;
        Self::read(&self.buffer, result)
    }

    /// The bytes, when they are there. Nothing waits on the device meanwhile; a thread of ours looks now and then.
    pub async fn bytes(mut self) -> Result<Vec<u8>> {
        let result = match self.mapped.try_recv() {
            Ok(Some(result)) => Ok(result),
            Err(dropped) => Err(dropped),
            Ok(None) => {
                let _awaited = self.context.bring();
                (&mut self.mapped).await
            }
        };
        std::mem::take(&mut self.complaints).hear().await?;
        Self::read(&self.buffer, result)
    }

    /// The bytes, waiting for them on this thread.
    pub fn wait(self) -> Result<Vec<u8>> {
        if let Some(submission) = self.submission() {
            self.context.wait(&submission)?;
        }
        wait::block_on("read back", self.bytes())
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

impl Drop for Staged {
    /// What was not heard comes with another answer.
    fn drop(&mut self) {
        self.context.complaints.put_back(std::mem::take(&mut self.complaints));
    }
}

impl Context {
    /// Sees to it that what is awaited comes, as long as the result is kept.
    pub fn bring(&self) -> Awaited {
        self.poller.bring(&self.device)
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
    #[cfg(not(target_arch = "wasm32"))]
    let call_back = move |result| thread::tell(sender, result);
    #[cfg(target_arch = "wasm32")]
    let call_back = move |result| drop(sender.send(result));
    (call_back, mapped)
}

/// Polls the device while a read-back is awaited: wgpu maps buffers only while somebody polls. Its thread starts with
/// the first await, sleeps while nothing is awaited, and never waits inside the device.
///
/// The thread must not be inside a driver while the driver is torn down: neither while the context drops its device nor
/// while the process ends, when the drivers' libraries run their destructors. So it holds the device during a poll
/// alone, dropping the poller joins it, and `thread::at_exit` puts all threads to sleep before the drivers' own exit
/// handlers run. Futures are woken after the poll, outside of the device: whatever a waker drops, the thread is not
/// inside then.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Default)]
pub(crate) struct Poller {
    shared: Arc<Shared>,
}

#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified of every change of the state that a thread may wait for.
    changed: Condvar,
}

#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Default)]
struct State {
    /// Read-backs that are awaited.
    count: usize,
    /// Whether one has come to them since the last poll.
    another: bool,
    /// The thread is to end.
    stopped: bool,
    /// The process ends: the thread is to sleep.
    ending: bool,
    phase: Phase,
    /// The device to poll, until the thread is stopped.
    device: Option<wgpu::Device>,
    thread: Option<std::thread::JoinHandle<()>>,
    /// Of the thread, also once it is being joined.
    id: Option<std::thread::ThreadId>,
}

/// What the thread is doing.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// There is none, or it has ended.
    #[default]
    Absent,
    /// It sleeps, or is about to lock the state.
    Asleep,
    /// It is inside the device.
    Inside,
    /// It wakes futures.
    Waking,
}

/// One read-back that is awaited.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) struct Awaited(Arc<Shared>);

#[cfg(not(target_arch = "wasm32"))]
impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread enters `phase`, which only who has stopped it waits for.
    fn enter(&self, state: &mut State, phase: Phase) {
        state.phase = phase;
        if state.stopped {
            self.changed.notify_all();
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Poller {
    /// Polls `device` as long as the result is kept.
    fn bring(&self, device: &wgpu::Device) -> Awaited {
        let awaited = self.awaited();
        self.start(device);
        awaited
    }

    fn awaited(&self) -> Awaited {
        {
            let mut state = self.shared.lock();
            state.count += 1;
            state.another = true;
        }
        self.shared.changed.notify_all();
        Awaited(self.shared.clone())
    }

    fn start(&self, device: &wgpu::Device) {
        let mut state = self.shared.lock();
        if state.thread.is_none() && !state.stopped {
            thread::watch(&self.shared);
            let shared = self.shared.clone();
            let thread = std::thread::spawn(move || thread::run(&shared));
            state.id = Some(thread.thread().id());
            state.phase = Phase::Asleep;
            (state.device, state.thread) = (Some(device.clone()), Some(thread));
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Awaited {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        self.0.lock().count -= 1;
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Drop for Poller {
    fn drop(&mut self) {
        // In the child of a fork there is no thread, and it may have held the lock.
        if fork::is_child() {
            std::mem::forget(self.shared.clone());
        } else {
            thread::stop(&self.shared);
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod browser {
    //! The browser calls back by itself: there is nothing to poll.

    #[derive(Debug, Default)]
    pub struct Poller;

    /// One read-back that is awaited.
    pub struct Awaited;

    impl Poller {
        pub fn bring(&self, _: &wgpu::Device) -> Awaited {
            Awaited
        }
    }
}

#[cfg(target_arch = "wasm32")]
pub(crate) use browser::{Awaited, Poller};

#[cfg(not(target_arch = "wasm32"))]
mod thread {
    //! The polling threads of all devices, and how they stop.

    use std::cell::RefCell;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
    use std::thread::JoinHandle;
    use std::time::{Duration, Instant};

    use futures::channel::oneshot;

    use super::{Mapped, Phase, Shared};
    use crate::fork;

    /// How long a device that is dropped, or a process that ends, waits for a poll, at the most. A poll takes
    /// microseconds, or milliseconds where another thread has the device.
    const PATIENCE: Duration = Duration::from_secs(10);

    /// Who is told of a mapping, and what.
    type News = (oneshot::Sender<Mapped>, Mapped);

    thread_local! {
        /// On a polling thread, what has been mapped in the poll that is under way.
        static MAPPED: RefCell<Option<Vec<News>>> = const { RefCell::new(None) };
    }

    /// Tells `sender` of a mapping: at once, or after the poll on a polling thread.
    pub fn tell(sender: oneshot::Sender<Mapped>, mapped: Mapped) {
        let mut told = Some((sender, mapped));
        // A thread that is ending may have lost it; it is none that polls.
        let _ = MAPPED.try_with(|later| {
            if let Some(later) = &mut *later.borrow_mut() {
                later.extend(told.take());
            }
        });
        if let Some((sender, mapped)) = told {
            // The receiver is gone where the future was dropped.
            let _ = sender.send(mapped);
        }
    }

    pub fn run(shared: &Shared) {
        let mut idle = 0u32;
        let mut state = shared.lock();
        loop {
            while (state.count == 0 || state.ending) && !state.stopped {
                state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let Some(device) = state.device.clone().filter(|_| !state.stopped) else { break };
            if std::mem::take(&mut state.another) {
                idle = 0;
            }
            state.phase = Phase::Inside;
            drop(state);
            let mapped = poll(device);
            if !mapped.is_empty() {
                state = shared.lock();
                shared.enter(&mut state, Phase::Waking);
                drop(state);
                for (sender, mapped) in mapped {
                    // A waker that panics must not keep the others from being woken.
                    let _ = catch_unwind(AssertUnwindSafe(|| tell(sender, mapped)));
                }
            }
            state = shared.lock();
            shared.enter(&mut state, Phase::Asleep);
            // Short answers come within microseconds, long ones may wait a millisecond more.
            let pause = match idle {
                0..50 => Duration::ZERO,
                50..150 => Duration::from_micros(50),
                _ => Duration::from_millis(1),
            };
            idle = idle.saturating_add(1);
            if pause.is_zero() {
                drop(state);
                std::thread::yield_now();
                state = shared.lock();
            } else if !(state.another || state.ending || state.stopped) {
                state = shared.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        shared.enter(&mut state, Phase::Absent);
    }

    /// Polls once, without waiting. Returns what has been mapped.
    fn poll(device: wgpu::Device) -> Vec<News> {
        MAPPED.set(Some(Vec::new()));
        // A lost device answers with an error and fails its mappings, which then resolve with theirs. On GL a poll
        // panics where another thread has the device for seconds; the next poll may be better off.
        let _ = catch_unwind(AssertUnwindSafe(|| device.poll(wgpu::PollType::Poll)));
        // Call-backs of the poll may have dropped every other owner of the device, whose tear-down this is then.
        drop(device);
        MAPPED.take().unwrap_or_default()
    }

    /// Ends the thread and gives its device up. Afterwards the thread is outside of the device and stays there. Waits
    /// for the thread, unless it is this one, or wakes futures, whose wakers may wait for what the caller holds.
    pub fn stop(shared: &Arc<Shared>) {
        let mut state = shared.lock();
        state.stopped = true;
        let (device, thread) = (state.device.take(), state.thread.take());
        shared.changed.notify_all();
        if thread.as_ref().is_some_and(|thread| !own(thread)) {
            let until = |state: &mut super::State| matches!(state.phase, Phase::Asleep | Phase::Inside);
            state = shared.changed.wait_timeout_while(state, PATIENCE, until).unwrap_or_else(PoisonError::into_inner).0;
        }
        let ended = state.phase == Phase::Absent;
        drop(state);
        drop(device);
        let Some(thread) = thread else { return };
        if ended && !own(&thread) {
            // It has left its loop: nothing can keep it.
            let _ = thread.join();
        } else {
            let mut left = LEFT.lock().unwrap_or_else(PoisonError::into_inner);
            left.retain(|(_, thread)| !thread.is_finished());
            left.push((shared.clone(), thread));
        }
    }

    fn own(thread: &JoinHandle<()>) -> bool {
        thread.thread().id() == std::thread::current().id()
    }

    /// The threads that may be polling when the process ends.
    static WATCHED: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

    /// Threads that end by themselves, because they could not be joined.
    static LEFT: Mutex<Vec<Ending>> = Mutex::new(Vec::new());

    type Ending = (Arc<Shared>, JoinHandle<()>);

    /// Keeps the thread of `shared` out of its device once the process ends. Handlers run in the reverse order of their
    /// registration: that of a thread runs before those of the drivers, which have been loaded before.
    pub fn watch(shared: &Arc<Shared>) {
        {
            let mut watched = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
            watched.retain(|shared| shared.strong_count() > 0);
            watched.push(Arc::downgrade(shared));
        }
        register();
    }

    #[allow(unsafe_code, reason = "there is no other way to run code when a process ends")]
    fn register() {
        // SAFETY: the handler is a function of this program or library, does not unwind, and may run at any time.
        let refused = unsafe { libc::atexit(at_exit) };
        if refused != 0 {
            log::warn!("attractor: no handler for the end of the process: do not end it while an answer is awaited");
        }
    }

    /// Puts all polling threads to sleep, for good, once they are outside of their devices. They must not end now:
    /// drivers keep data of each thread, which they free when the thread ends, and when the process does. Threads
    /// that are about to end are joined. No lock is waited for without end: a thread that the system has ended may
    /// hold it.
    extern "C" fn at_exit() {
        if fork::is_child() {
            return;
        }
        let end = Instant::now() + PATIENCE;
        let watched = patiently(&WATCHED, end).map_or_else(Vec::new, |watched| watched.clone());
        for shared in watched.iter().filter_map(Weak::upgrade) {
            while let Some(mut state) = patiently(&shared.state, end) {
                state.ending = true;
                let own = state.id == Some(std::thread::current().id());
                if own || matches!(state.phase, Phase::Absent | Phase::Asleep) {
                    break;
                }
                drop(state);
                std::thread::sleep(Duration::from_micros(50));
            }
            // What drops the last owner would tear a device down.
            std::mem::forget(shared);
        }
        let left = patiently(&LEFT, end).map_or_else(Vec::new, |mut left| std::mem::take(&mut *left));
        for (shared, thread) in left {
            while patiently(&shared.state, end).is_some_and(|state| state.phase != Phase::Absent) && !own(&thread) {
                std::thread::sleep(Duration::from_micros(50));
            }
            if patiently(&shared.state, end).is_some_and(|state| state.phase == Phase::Absent) {
                let _ = thread.join();
            }
        }
    }

    /// Locks, unless it is `end` before that succeeds.
    fn patiently<T>(mutex: &Mutex<T>, end: Instant) -> Option<MutexGuard<'_, T>> {
        while Instant::now() < end {
            match mutex.try_lock() {
                Ok(guard) => return Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        None
    }
}
