//! Memories in files.

use std::ffi::c_char;

use crate::device::attractor_device;
use crate::error::{Failure, attractor_error, code};
use crate::memory::attractor_memory;
use crate::pointer::{Out, borrow, text};

/// Saves the memory to the file at `path`, in UTF-8: a safetensors file with the rule, and every pattern with its id,
/// in the precision in which it is stored. A failure leaves the old file, never a part of the new one. On a GPU this
/// waits.
///
/// Errors: `ATTRACTOR_ERROR_FILE` where the system refuses, `ATTRACTOR_ERROR_LOST`, `ATTRACTOR_ERROR_UNSUPPORTED` where
/// this library was built without the feature `files`, `ATTRACTOR_ERROR_UTF8`, `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_save(
    memory: *const attractor_memory,
    path: *const c_char,
) -> attractor_error {
    code("attractor_memory_save", || {
        // SAFETY: the crate's contract.
        let (memory, path) = unsafe { (borrow("memory", memory)?, text("path", path)?) };
        let path = path.ok_or(Failure::Null("path"))?;
        #[cfg(feature = "files")]
        return Ok(memory.read()?.save(path)?);
        #[cfg(not(feature = "files"))]
        return without_files((memory, path));
    })
}

/// Loads a saved memory to any device: bit-exactly the same patterns, under the same ids. `window_bytes` is as in
/// `attractor_memory_options`.
///
/// Errors: `ATTRACTOR_ERROR_FILE` for a file that cannot be read, is damaged or is not a memory;
/// `ATTRACTOR_ERROR_LIMIT` or `ATTRACTOR_ERROR_OUT_OF_MEMORY` where the device has no room;
/// `ATTRACTOR_ERROR_UNSUPPORTED` where this library was built without the feature `files`; `ATTRACTOR_ERROR_UTF8`,
/// `ATTRACTOR_ERROR_NULL_POINTER`. `*memory` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_load(
    device: *const attractor_device,
    path: *const c_char,
    window_bytes: u64,
    memory: *mut *mut attractor_memory,
) -> attractor_error {
    code("attractor_memory_load", || {
        // SAFETY: the crate's contract.
        let (out, device, path) =
            unsafe { (Out::handle("memory", memory)?, borrow("device", device)?, text("path", path)?) };
        let path = path.ok_or(Failure::Null("path"))?;
        #[cfg(feature = "files")]
        {
            let mut options = attractor::LoadOptions::default();
            if window_bytes > 0 {
                options = options.window_bytes(window_bytes);
            }
            out.give(attractor_memory::new(attractor::Memory::load_with(&device.device, path, &options)?));
            Ok(())
        }
        #[cfg(not(feature = "files"))]
        without_files((out, device, path, window_bytes))
    })
}

/// Refuses a call whose arguments have been checked.
#[cfg(not(feature = "files"))]
fn without_files<T>(_: T) -> crate::error::Outcome<()> {
    Err(Failure::Unsupported { what: "a file, with a library that was built without the feature `files`," })
}
