//! Patterns of a memory: adding, changing, removing and reading them.

use std::ptr;

use attractor::{PatternId, Patterns};

use crate::error::{Failure, Outcome, attractor_error, code, guard};
use crate::memory::attractor_memory;
use crate::pointer::{Array, Out, OutRows, borrow, optional_rows, rows};

impl attractor_memory {
    /// # Safety
    /// The crate's contract.
    unsafe fn patterns<'a>(
        &self,
        keys: Array<f32>,
        values: Array<f32>,
        bias: Array<f32>,
        count: usize,
    ) -> Outcome<Patterns<'a>> {
        // SAFETY: by this function's own contract.
        unsafe {
            let mut patterns = Patterns::new(rows("keys", keys, count, self.dim)?);
            let values = match self.value_dim {
                Some(value_dim) => optional_rows("values", values, count, value_dim)?,
                // The library refuses them, wherever the pointer points.
                None => (values != (ptr::null(), 0)).then_some(&[][..]),
            };
            if let Some(values) = values {
                patterns = patterns.values(values);
            }
            if let Some(bias) = optional_rows("bias", bias, count, 1)? {
                patterns = patterns.bias(bias);
            }
            Ok(patterns)
        }
    }
}

/// Writes the id of the pattern that is at `position` now to `id`. `attractor_retrieval_id_at` tells which pattern was
/// at a position when a retrieval saw the memory.
///
/// Errors: `ATTRACTOR_ERROR_PARAMETER` where no pattern is at that position; `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_id_at(
    memory: *const attractor_memory,
    position: usize,
    id: *mut u64,
) -> attractor_error {
    code("attractor_memory_id_at", || {
        // SAFETY: the crate's contract.
        let (memory, out) = unsafe { (borrow("memory", memory)?, Out::new("id", id)?) };
        let expected = "the position of a stored pattern";
        let refused = || Failure::Parameter { parameter: "position", expected, got: position.to_string() };
        out.write(memory.read()?.id_at(position).ok_or_else(refused)?.0);
        Ok(())
    })
}

/// Stores `count` patterns. `keys` has `keys_length` = count x d floats. `values` has `values_length` = count x dv
/// floats if the memory has a value dimension, and is NULL with length 0 otherwise. `bias` has `bias_length` = count
/// floats, or is NULL with length 0 for zeros; only memories with a bias accept one. Everything is copied. The ids of
/// the patterns are consecutive; the first is written to `first_id` unless that is NULL. With a `count` of 0 nothing is
/// stored, the pointers may be NULL, and `*first_id` is not written.
///
/// Errors: `ATTRACTOR_ERROR_SHAPE` for lengths that are not those of `count` patterns, for values or a bias that the
/// memory does not accept, and for missing values; `ATTRACTOR_ERROR_NOT_FINITE`; `ATTRACTOR_ERROR_RANGE` for a
/// row that halves cannot hold, unless the memory saturates; `ATTRACTOR_ERROR_LIMIT` or `ATTRACTOR_ERROR_OUT_OF_MEMORY`
/// where there is no room; `ATTRACTOR_ERROR_LOST`; `ATTRACTOR_ERROR_NULL_POINTER`. The memory is unchanged then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_add(
    memory: *mut attractor_memory,
    keys: *const f32,
    keys_length: usize,
    values: *const f32,
    values_length: usize,
    bias: *const f32,
    bias_length: usize,
    count: usize,
    first_id: *mut u64,
) -> attractor_error {
    code("attractor_memory_add", || {
        // SAFETY: the crate's contract.
        let (memory, out) = unsafe { (borrow("memory", memory)?, Out::optional("first_id", first_id)?) };
        let (keys, values, bias) = ((keys, keys_length), (values, values_length), (bias, bias_length));
        // SAFETY: the crate's contract.
        let patterns = unsafe { memory.patterns(keys, values, bias, count) }?;
        if count == 0 {
            return Ok(());
        }
        let ids = memory.write()?.add(patterns)?;
        if let (Some(out), Some(first)) = (out, ids.get(0)) {
            out.write(first.0);
        }
        Ok(())
    })
}

/// Replaces the pattern `id` by `key`, of `key_length` = d floats, `value`, of `value_length` = dv floats, or NULL with
/// length 0, and `bias`, of `bias_length` = 1, or NULL with length 0 for zero, as in `attractor_memory_add`. The id
/// stays the same.
///
/// Errors: `ATTRACTOR_ERROR_UNKNOWN_ID`, and those of `attractor_memory_add`. The memory is unchanged then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_update(
    memory: *mut attractor_memory,
    id: u64,
    key: *const f32,
    key_length: usize,
    value: *const f32,
    value_length: usize,
    bias: *const f32,
    bias_length: usize,
) -> attractor_error {
    code("attractor_memory_update", || {
        // SAFETY: the crate's contract.
        let memory = unsafe { borrow("memory", memory) }?;
        let (key, value, bias) = ((key, key_length), (value, value_length), (bias, bias_length));
        // SAFETY: the crate's contract.
        let pattern = unsafe { memory.patterns(key, value, bias, 1) }?;
        Ok(memory.write()?.update(PatternId(id), pattern)?)
    })
}

/// Removes the pattern `id`. A later add reuses its position, but never its id.
///
/// Errors: `ATTRACTOR_ERROR_UNKNOWN_ID`, `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_remove(memory: *mut attractor_memory, id: u64) -> attractor_error {
    code("attractor_memory_remove", || {
        // SAFETY: the crate's contract.
        Ok(unsafe { borrow("memory", memory) }?.write()?.remove(PatternId(id))?)
    })
}

/// Removes every pattern and keeps the allocated room. Ids are never reused.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_clear(memory: *mut attractor_memory) -> attractor_error {
    code("attractor_memory_clear", || {
        // SAFETY: the crate's contract.
        unsafe { borrow("memory", memory) }?.write()?.clear();
        Ok(())
    })
}

/// Allocates room for `additional` patterns.
///
/// Errors: `ATTRACTOR_ERROR_LIMIT` or `ATTRACTOR_ERROR_OUT_OF_MEMORY` where there is none; the memory is unchanged
/// then. `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_reserve(memory: *mut attractor_memory, additional: usize) -> attractor_error {
    code("attractor_memory_reserve", || {
        // SAFETY: the crate's contract.
        Ok(unsafe { borrow("memory", memory) }?.write()?.reserve(additional)?)
    })
}

/// Whether the pattern `id` is stored; false where `memory` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_contains(memory: *const attractor_memory, id: u64) -> bool {
    let contains = guard("attractor_memory_contains", || {
        // SAFETY: the crate's contract.
        Ok(unsafe { borrow("memory", memory) }?.read()?.contains(PatternId(id)))
    });
    contains.unwrap_or(false)
}

/// Reads the pattern `id` back as it is stored: its key to `key`, of `key_length` = d floats, its value to `value`, of
/// `value_length` = dv floats, its bias to `bias`. Each may be NULL, with length 0; `value_length` is 0 where keys are
/// their own values. On a GPU this waits.
///
/// Errors: `ATTRACTOR_ERROR_UNKNOWN_ID`, `ATTRACTOR_ERROR_SHAPE`, `ATTRACTOR_ERROR_LOST`,
/// `ATTRACTOR_ERROR_NULL_POINTER`. Nothing is written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_get(
    memory: *const attractor_memory,
    id: u64,
    key: *mut f32,
    key_length: usize,
    value: *mut f32,
    value_length: usize,
    bias: *mut f32,
) -> attractor_error {
    code("attractor_memory_get", || {
        // SAFETY: the crate's contract.
        let (memory, bias) = unsafe { (borrow("memory", memory)?, Out::optional("bias", bias)?) };
        // SAFETY: the crate's contract.
        let (key, value) = unsafe {
            (
                OutRows::new("key", memory.dim, key, key_length)?,
                OutRows::new("value", memory.value_dim.unwrap_or(0), value, value_length)?,
            )
        };
        let pattern = memory.read()?.get(PatternId(id))?;
        key.write(&pattern.key);
        value.write(pattern.value.as_deref().unwrap_or(&[]));
        if let Some(bias) = bias {
            bias.write(pattern.bias);
        }
        Ok(())
    })
}
