//! Calls as a C program makes them, shorter.

use std::ffi::CStr;
use std::ptr::{null, null_mut};

use crate::attractor_error::*;
use crate::*;

/// The last error message of this thread.
pub(crate) fn message() -> String {
    // SAFETY: the string lives until the next failure of this thread.
    unsafe { CStr::from_ptr(attractor_last_error_message()) }.to_str().expect("UTF-8").to_owned()
}

/// Expects `code`, with all of `words` in its message.
#[track_caller]
pub(crate) fn refused(got: attractor_error, code: attractor_error, words: &[&str]) {
    assert_eq!(got, code, "{}", message());
    for word in words {
        assert!(message().contains(word), "\"{}\" does not say \"{word}\"", message());
    }
}

#[track_caller]
pub(crate) fn succeeds(got: attractor_error) {
    assert_eq!(got, ATTRACTOR_OK, "{}", message());
}

/// The handle that `fill` writes.
#[track_caller]
pub(crate) fn given<T>(fill: impl FnOnce(*mut *mut T) -> attractor_error) -> *mut T {
    let mut handle = null_mut();
    succeeds(fill(&raw mut handle));
    assert!(!handle.is_null());
    handle
}

pub(crate) fn memory_options(dim: usize) -> attractor_memory_options {
    let mut options = std::mem::MaybeUninit::<attractor_memory_options>::uninit();
    // SAFETY: a place for the struct, which a call that succeeds fills.
    unsafe {
        succeeds(attractor_memory_options_init(options.as_mut_ptr(), size_of::<attractor_memory_options>(), dim));
        options.assume_init()
    }
}

pub(crate) fn retrieve_options() -> attractor_retrieve_options {
    let mut options = std::mem::MaybeUninit::<attractor_retrieve_options>::uninit();
    // SAFETY: a place for the struct, which a call that succeeds fills.
    unsafe {
        succeeds(attractor_retrieve_options_init(options.as_mut_ptr(), size_of::<attractor_retrieve_options>()));
        options.assume_init()
    }
}

/// A memory on the CPU engine, freed when dropped.
pub(crate) struct Owned(pub(crate) *mut attractor_memory);

// SAFETY: the header allows it.
unsafe impl Sync for Owned {}

impl Owned {
    pub(crate) fn new(options: &attractor_memory_options) -> Self {
        // SAFETY: handles that were just created.
        unsafe {
            let device = given(|device| attractor_device_cpu(device));
            let memory = given(|memory| attractor_memory_create(device, options, memory));
            attractor_device_free(device);
            Self(memory)
        }
    }

    /// Patterns of two dimensions: (1, 0), (0, 1), (-1, 0), ...
    pub(crate) fn of_two(count: usize) -> Self {
        let memory = Self::new(&memory_options(2));
        let keys = circle(count);
        // SAFETY: an array of that many keys.
        unsafe { succeeds(add(memory.0, keys.as_ptr(), null(), null(), count, null_mut())) };
        memory
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: the handle belongs to this value.
        unsafe { attractor_memory_free(self.0) };
    }
}

/// `attractor_memory_add` of arrays with the lengths of their shapes.
pub(crate) unsafe fn add(
    memory: *mut attractor_memory,
    keys: *const f32,
    values: *const f32,
    bias: *const f32,
    count: usize,
    first_id: *mut u64,
) -> attractor_error {
    // SAFETY: the caller's contract.
    unsafe {
        let (dim, value_dim) = (attractor_memory_dim(memory), attractor_memory_value_dim(memory));
        let length = |array: *const f32, columns| if array.is_null() { 0 } else { count.saturating_mul(columns) };
        let (values_length, bias_length) = (length(values, value_dim), length(bias, 1));
        let keys_length = count.saturating_mul(dim);
        attractor_memory_add(memory, keys, keys_length, values, values_length, bias, bias_length, count, first_id)
    }
}

/// `attractor_memory_update`, likewise.
pub(crate) unsafe fn update(
    memory: *mut attractor_memory,
    id: u64,
    key: *const f32,
    value: *const f32,
    bias: *const f32,
) -> attractor_error {
    // SAFETY: the caller's contract.
    unsafe {
        let (dim, value_dim) = (attractor_memory_dim(memory), attractor_memory_value_dim(memory));
        let length = |array: *const f32, columns| if array.is_null() { 0 } else { columns };
        attractor_memory_update(memory, id, key, dim, value, length(value, value_dim), bias, length(bias, 1))
    }
}

/// `attractor_memory_retrieve`, likewise.
pub(crate) unsafe fn ask(
    memory: *const attractor_memory,
    queries: *const f32,
    count: usize,
    options: *const attractor_retrieve_options,
    output: *mut f32,
    output_length: usize,
    retrieval: *mut *mut attractor_retrieval,
) -> attractor_error {
    // SAFETY: the caller's contract.
    unsafe {
        let length = count.saturating_mul(attractor_memory_dim(memory));
        attractor_memory_retrieve(memory, queries, length, count, options, output, output_length, retrieval)
    }
}

/// `attractor_memory_retrieve_begin`, likewise.
pub(crate) unsafe fn begin(
    memory: *const attractor_memory,
    queries: *const f32,
    count: usize,
    options: *const attractor_retrieve_options,
    pending: *mut *mut attractor_pending,
) -> attractor_error {
    // SAFETY: the caller's contract.
    unsafe {
        let length = count.saturating_mul(attractor_memory_dim(memory));
        attractor_memory_retrieve_begin(memory, queries, length, count, options, pending)
    }
}

/// `count` points of two coordinates.
pub(crate) fn circle(count: usize) -> Vec<f32> {
    let quarter = std::f32::consts::FRAC_PI_2;
    (0..count).flat_map(|i| [(i as f32 * quarter).cos(), (i as f32 * quarter).sin()]).collect()
}
