//! Retrievals in progress, and threads that share handles.

use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::calls::*;
use crate::attractor_error::*;
use crate::*;

#[test]
fn an_answer_is_taken_once_and_may_be_dropped() {
    let memory = Owned::of_two(4);
    let query = [1.0f32, 0.0];
    // SAFETY: handles that were just given.
    unsafe {
        let begun = || given(|pending| begin(memory.0, query.as_ptr(), 1, null(), pending));
        let pending = begun();
        while !attractor_pending_is_ready(pending) {
            std::thread::yield_now();
        }
        attractor_retrieval_free(given(|retrieval| attractor_pending_take(pending, retrieval)));
        let mut none = null_mut();
        refused(attractor_pending_take(pending, &raw mut none), ATTRACTOR_ERROR_TAKEN, &["taken before"]);
        refused(attractor_pending_wait(pending, &raw mut none), ATTRACTOR_ERROR_TAKEN, &["taken before"]);
        assert!(none.is_null() && attractor_pending_is_ready(pending));
        attractor_pending_free(pending);

        let pending = begun();
        attractor_retrieval_free(given(|retrieval| attractor_pending_wait(pending, retrieval)));
        attractor_pending_free(pending);

        for _ in 0..100 {
            attractor_pending_free(begun());
        }
        // The memory is freed first, and the answer still arrives.
        let orphan = {
            let memory = Owned::of_two(1000);
            given(|pending| begin(memory.0, query.as_ptr(), 1, null(), pending))
        };
        let answer = given(|retrieval| attractor_pending_wait(orphan, retrieval));
        assert_eq!(attractor_retrieval_patterns(answer), 1000);
        attractor_retrieval_free(answer);
        attractor_pending_free(orphan);
    }
}

#[test]
fn hits_are_taken_once_and_may_be_dropped() {
    let memory = Owned::of_two(4);
    let query = [1.0f32, 0.0];
    // SAFETY: handles that were just given.
    unsafe {
        let begin =
            |memory: &Owned, pending| attractor_memory_search_begin(memory.0, query.as_ptr(), 2, 1, null(), pending);
        let now = given(|hits| attractor_memory_search(memory.0, query.as_ptr(), 2, 1, null(), hits));
        let ids = |hits| std::slice::from_raw_parts(attractor_hits_ids(hits, null_mut()), 4);
        let pending = given(|pending| begin(&memory, pending));
        // The search sees the memory as it was.
        succeeds(attractor_memory_remove(memory.0, ids(now)[0]));
        while !attractor_pending_hits_is_ready(pending) {
            std::thread::yield_now();
        }
        let taken = given(|hits| attractor_pending_hits_take(pending, hits));
        assert_eq!(ids(taken), ids(now));
        attractor_hits_free(taken);
        attractor_hits_free(now);
        let mut none = null_mut();
        refused(attractor_pending_hits_take(pending, &raw mut none), ATTRACTOR_ERROR_TAKEN, &["taken before"]);
        refused(attractor_pending_hits_wait(pending, &raw mut none), ATTRACTOR_ERROR_TAKEN, &["taken before"]);
        assert!(none.is_null() && attractor_pending_hits_is_ready(pending));
        attractor_pending_hits_free(pending);

        for _ in 0..100 {
            attractor_pending_hits_free(given(|pending| begin(&memory, pending)));
        }
        // The memory is freed first, and the hits still arrive.
        let orphan = {
            let memory = Owned::of_two(1000);
            given(|pending| begin(&memory, pending))
        };
        let hits = given(|hits| attractor_pending_hits_wait(orphan, hits));
        assert_eq!((attractor_hits_count(hits), attractor_hits_places(hits)), (1, 1000));
        attractor_hits_free(hits);
        attractor_pending_hits_free(orphan);
    }
}

/// Eight threads poll and wait for one search; one of them gets what it finds.
#[test]
fn one_thread_gets_the_hits() {
    struct Shared(*mut attractor_pending_hits);
    // SAFETY: the header allows it.
    unsafe impl Sync for Shared {}

    let memory = Owned::of_two(1000);
    let query = [1.0f32, 0.0];
    // SAFETY: a handle that is freed when every thread is done with it.
    let pending = Shared(unsafe {
        given(|pending| attractor_memory_search_begin(memory.0, query.as_ptr(), 2, 1, null(), pending))
    });
    let taken = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (pending, taken) = (&pending, &taken);
            scope.spawn(move || {
                let mut hits = null_mut();
                // SAFETY: the handle is alive.
                let code = unsafe {
                    match thread {
                        0 => attractor_pending_hits_wait(pending.0, &raw mut hits),
                        _ => loop {
                            let code = attractor_pending_hits_take(pending.0, &raw mut hits);
                            if code != ATTRACTOR_NOT_READY {
                                break code;
                            }
                        },
                    }
                };
                match code {
                    ATTRACTOR_OK => _ = taken.fetch_add(1, Ordering::Relaxed),
                    code => refused(code, ATTRACTOR_ERROR_TAKEN, &[]),
                }
                // SAFETY: this thread's own, or null.
                unsafe { attractor_hits_free(hits) };
            });
        }
    });
    assert_eq!(taken.into_inner(), 1);
    // SAFETY: every thread is done with it.
    unsafe { attractor_pending_hits_free(pending.0) };
}

/// One of the threads that ask for an answer at once gets it.
#[test]
fn one_thread_gets_the_answer() {
    struct Shared(*mut attractor_pending);
    // SAFETY: the header allows it.
    unsafe impl Sync for Shared {}

    let memory = Owned::of_two(1000);
    let query = [1.0f32, 0.0];
    for waits in [false, true] {
        // SAFETY: a handle that is freed when every thread is done with it.
        let pending = Shared(unsafe { given(|pending| begin(memory.0, query.as_ptr(), 1, null(), pending)) });
        let taken = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let pending = &pending;
                    let mut retrieval = null_mut();
                    // SAFETY: the handle is alive.
                    let code = unsafe {
                        match waits {
                            true => attractor_pending_wait(pending.0, &raw mut retrieval),
                            false => loop {
                                let code = attractor_pending_take(pending.0, &raw mut retrieval);
                                if code != ATTRACTOR_NOT_READY {
                                    break code;
                                }
                            },
                        }
                    };
                    match code {
                        ATTRACTOR_OK => taken.fetch_add(1, Ordering::Relaxed),
                        code => {
                            refused(code, ATTRACTOR_ERROR_TAKEN, &[]);
                            0
                        }
                    };
                    // SAFETY: this thread's own, or null.
                    unsafe { attractor_retrieval_free(retrieval) };
                });
            }
        });
        assert_eq!(taken.into_inner(), 1);
        // SAFETY: every thread is done with it.
        unsafe { attractor_pending_free(pending.0) };
    }
}

/// Eight threads retrieve, waiting and polling, while another adds, updates and removes: whatever they see is a memory
/// as it was at some time, and the first pattern, which stays, is recalled in all of them.
#[test]
fn eight_threads_retrieve_while_another_changes_the_memory() {
    let mut options = memory_options(2);
    options.beta = 50.0;
    let memory = Owned::new(&options);
    let keys = circle(3);
    // SAFETY: three keys.
    unsafe { succeeds(add(memory.0, keys.as_ptr(), null(), null(), 3, null_mut())) };
    let done = AtomicBool::new(false);
    let running = AtomicU32::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let memory = &memory;
                let query = [1.0f32, 0.0];
                for round in 0..200 {
                    let mut output = [0.0f32; 2];
                    // SAFETY: arrays have their lengths, and handles are this thread's own.
                    unsafe {
                        if round % 2 == 0 {
                            let out = output.as_mut_ptr();
                            succeeds(ask(memory.0, query.as_ptr(), 1, null(), out, 2, null_mut()));
                        } else {
                            let pending = given(|pending| begin(memory.0, query.as_ptr(), 1, null(), pending));
                            let answer = given(|answer| attractor_pending_wait(pending, answer));
                            let read = attractor_retrieval_output(answer, null_mut());
                            output.copy_from_slice(std::slice::from_raw_parts(read, 2));
                            attractor_retrieval_free(answer);
                            attractor_pending_free(pending);
                        }
                    }
                    assert!((output[0] - 1.0).abs() < 1e-3 && output[1].abs() < 1e-3, "{output:?}");
                }
                if running.fetch_sub(1, Ordering::AcqRel) == 1 {
                    done.store(true, Ordering::Release);
                }
            });
        }
        scope.spawn(|| {
            let memory = &memory;
            let far = [-1.0f32, -1.0];
            while !done.load(Ordering::Acquire) {
                let mut id = 0;
                // SAFETY: one key.
                unsafe {
                    succeeds(add(memory.0, far.as_ptr(), null(), null(), 1, &raw mut id));
                    succeeds(update(memory.0, id, far.as_ptr(), null(), null()));
                    succeeds(attractor_memory_remove(memory.0, id));
                    assert!(!attractor_memory_contains(memory.0, id));
                }
            }
        });
    });
    // SAFETY: it is alive.
    assert_eq!(unsafe { attractor_memory_len(memory.0) }, 3);
}
