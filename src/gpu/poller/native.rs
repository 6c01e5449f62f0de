//! One polling thread per device. It starts with the first await, sleeps while nothing is awaited, and never waits
//! inside the device.
//!
//! The thread must not be inside a driver while the driver is torn down: neither while the context drops its device nor
//! while the process ends, when the drivers' libraries run their destructors. So it holds the device during a poll
//! alone, dropping the poller joins it, and `at_exit` puts all threads to sleep before the drivers' own exit handlers
//! run. Futures are woken after the poll, outside of the device: whatever a waker drops, the thread is not inside then.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, TryLockError, Weak};
use std::thread::{JoinHandle, ThreadId};
use std::time::{Duration, Instant};

use futures::channel::oneshot;

use super::mapped::Mapped;
use crate::fork;
use crate::sync::{lock, unpoisoned};

/// How long dropping a device, or ending the process, waits for a poll. A poll takes microseconds, or milliseconds
/// where another thread has the device.
const MAX_EXIT_WAIT: Duration = Duration::from_secs(10);

/// The polling thread of one device.
#[derive(Debug, Default)]
pub(crate) struct Poller {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Notified of every change of the state that a thread may wait for.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Guards that exist.
    guards: usize,
    /// Whether a guard was made since the last poll.
    new_guard: bool,
    /// The thread is to end.
    stopped: bool,
    /// The process ends: the thread is to sleep.
    ending: bool,
    phase: Phase,
    /// The device to poll, until the thread is stopped.
    device: Option<wgpu::Device>,
    thread: Option<JoinHandle<()>>,
    /// Of the thread, also while it is being joined.
    id: Option<ThreadId>,
}

/// What the thread is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// It was not started, or it has ended.
    #[default]
    Absent,
    /// It sleeps, or is about to lock the state.
    Asleep,
    /// It is inside the device.
    Inside,
    /// It wakes futures.
    Waking,
}

/// The device is polled while this exists.
pub(crate) struct PollGuard(Arc<Shared>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// The thread enters `phase`. Only `stop` waits for that.
    fn enter(&self, state: &mut State, phase: Phase) {
        state.phase = phase;
        if state.stopped {
            self.changed.notify_all();
        }
    }
}

impl Poller {
    /// Polls `device` while the guard exists.
    pub fn keep_polling(&self, device: &wgpu::Device) -> PollGuard {
        let guard = self.guard();
        self.start(device);
        guard
    }

    fn guard(&self) -> PollGuard {
        {
            let mut state = self.shared.lock();
            state.guards += 1;
            state.new_guard = true;
        }
        self.shared.changed.notify_all();
        PollGuard(self.shared.clone())
    }

    fn start(&self, device: &wgpu::Device) {
        let mut state = self.shared.lock();
        if state.thread.is_none() && !state.stopped {
            watch(&self.shared);
            let shared = self.shared.clone();
            let thread = std::thread::spawn(move || run(&shared));
            state.id = Some(thread.thread().id());
            state.phase = Phase::Asleep;
            (state.device, state.thread) = (Some(device.clone()), Some(thread));
        }
    }
}

impl Drop for PollGuard {
    fn drop(&mut self) {
        if fork::is_child() {
            return;
        }
        self.0.lock().guards -= 1;
    }
}

impl Drop for Poller {
    fn drop(&mut self) {
        // In the child of a fork there is no thread, and it may have held the lock.
        if fork::is_child() {
            std::mem::forget(self.shared.clone());
        } else {
            stop(&self.shared);
        }
    }
}

/// A mapping that is to be reported, and to whom.
type Notification = (oneshot::Sender<Mapped>, Mapped);

thread_local! {
    /// On a polling thread during a poll: what has been mapped so far.
    static MAPPED: RefCell<Option<Vec<Notification>>> = const { RefCell::new(None) };
}

/// Reports a mapping to `sender`: at once, or after the poll on a polling thread.
pub(crate) fn notify(sender: oneshot::Sender<Mapped>, mapped: Mapped) {
    let mut notification = Some((sender, mapped));
    // A thread that is ending may have lost it; such a thread does not poll.
    let _ = MAPPED.try_with(|later| {
        if let Some(later) = &mut *later.borrow_mut() {
            later.extend(notification.take());
        }
    });
    if let Some((sender, mapped)) = notification {
        // The receiver is gone where the future was dropped.
        let _ = sender.send(mapped);
    }
}

/// The loop of the polling thread.
fn run(shared: &Shared) {
    let mut idle = 0u32;
    let mut state = shared.lock();
    loop {
        while (state.guards == 0 || state.ending) && !state.stopped {
            state = unpoisoned(shared.changed.wait(state));
        }
        let Some(device) = state.device.clone().filter(|_| !state.stopped) else { break };
        if std::mem::take(&mut state.new_guard) {
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
                let _ = catch_unwind(AssertUnwindSafe(|| notify(sender, mapped)));
            }
        }
        state = shared.lock();
        shared.enter(&mut state, Phase::Asleep);
        // Short answers take microseconds; long ones may take a millisecond more.
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
        } else if !(state.new_guard || state.ending || state.stopped) {
            state = unpoisoned(shared.changed.wait_timeout(state, pause)).0;
        }
    }
    shared.enter(&mut state, Phase::Absent);
}

/// Polls once, without waiting. Returns what has been mapped.
fn poll(device: wgpu::Device) -> Vec<Notification> {
    MAPPED.set(Some(Vec::new()));
    // A lost device answers with an error and fails its mappings, which then resolve with theirs. On GL a poll panics
    // where another thread has the device for seconds; the next poll may be better off.
    let _ = catch_unwind(AssertUnwindSafe(|| device.poll(wgpu::PollType::Poll)));
    // Call-backs of the poll may have dropped every other owner of the device, whose tear-down this is then.
    drop(device);
    MAPPED.take().unwrap_or_default()
}

/// Ends the thread and gives its device up. Afterwards the thread is outside of the device and stays there. Waits for
/// the thread, unless it is this one, or wakes futures, whose wakers may wait for what the caller holds.
fn stop(shared: &Arc<Shared>) {
    let mut state = shared.lock();
    state.stopped = true;
    let (device, thread) = (state.device.take(), state.thread.take());
    shared.changed.notify_all();
    if thread.as_ref().is_some_and(|thread| !is_current(thread)) {
        let busy = |state: &mut State| matches!(state.phase, Phase::Asleep | Phase::Inside);
        state = unpoisoned(shared.changed.wait_timeout_while(state, MAX_EXIT_WAIT, busy)).0;
    }
    let ended = state.phase == Phase::Absent;
    drop(state);
    drop(device);
    let Some(thread) = thread else { return };
    if ended && !is_current(&thread) {
        // It has left its loop: nothing can keep it.
        let _ = thread.join();
    } else {
        let mut detached = lock(&DETACHED);
        detached.retain(|(_, thread)| !thread.is_finished());
        detached.push((shared.clone(), thread));
    }
}

fn is_current(thread: &JoinHandle<()>) -> bool {
    thread.thread().id() == std::thread::current().id()
}

/// The threads that may be polling when the process ends.
static WATCHED: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

/// Threads that end by themselves, because they could not be joined.
static DETACHED: Mutex<Vec<(Arc<Shared>, JoinHandle<()>)>> = Mutex::new(Vec::new());

/// Keeps the thread of `shared` out of its device once the process ends. Handlers run in the reverse order of their
/// registration: that of a thread runs before those of the drivers, which have been loaded before.
fn watch(shared: &Arc<Shared>) {
    {
        let mut watched = lock(&WATCHED);
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

/// Puts all polling threads to sleep, for good, once they are outside of their devices. They must not end now: drivers
/// keep data of each thread, which they free when the thread ends, and when the process does. Threads that are about to
/// end are joined. No lock is waited for without end: a thread that the system has ended may hold it.
extern "C" fn at_exit() {
    if fork::is_child() {
        return;
    }
    let end = Instant::now() + MAX_EXIT_WAIT;
    let watched = lock_until(&WATCHED, end).map_or_else(Vec::new, |watched| watched.clone());
    for shared in watched.iter().filter_map(Weak::upgrade) {
        while let Some(mut state) = lock_until(&shared.state, end) {
            state.ending = true;
            let own = state.id == Some(std::thread::current().id());
            if own || matches!(state.phase, Phase::Absent | Phase::Asleep) {
                break;
            }
            drop(state);
            std::thread::sleep(Duration::from_micros(50));
        }
        // Dropping the last owner would tear a device down.
        std::mem::forget(shared);
    }
    let detached = lock_until(&DETACHED, end).map_or_else(Vec::new, |mut all| std::mem::take(&mut *all));
    for (shared, thread) in detached {
        let running = || lock_until(&shared.state, end).is_some_and(|state| state.phase != Phase::Absent);
        while running() && !is_current(&thread) {
            std::thread::sleep(Duration::from_micros(50));
        }
        if lock_until(&shared.state, end).is_some_and(|state| state.phase == Phase::Absent) {
            let _ = thread.join();
        }
    }
}

/// Locks `mutex`, unless that takes until `end`.
fn lock_until<T>(mutex: &Mutex<T>, end: Instant) -> Option<MutexGuard<'_, T>> {
    while Instant::now() < end {
        match mutex.try_lock() {
            Ok(guard) => return Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => std::thread::yield_now(),
        }
    }
    None
}
