//! Memories in files.

use std::ffi::c_char;

use crate::device::attractor_device;
use crate::error::{Failure, attractor_error, code};
use crate::memory::attractor_memory;
use crate::pointer::{Out, borrow, text};
use crate::versioned::{init, read, versioned};

/// How a saved memory is laid out again; `attractor_load_options_init` fills it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct attractor_load_options {
    /// `sizeof(attractor_load_options)`.
    pub size: usize,
    /// As in `attractor_memory_options`.
    pub window_bytes: u64,
    /// As in `attractor_memory_options`.
    pub device_bytes: u64,
    /// Not 0: keys and values stay in the file, which must not be written to, and are read whenever they are needed.
    /// Patterns can be removed then, but not added or updated.
    pub rows_in_file: u32,
    /// 0, for a later version.
    pub reserved: u32,
}

versioned!(attractor_load_options, reserved: u32);

fn defaults(size: usize) -> attractor_load_options {
    attractor_load_options { size, window_bytes: 0, device_bytes: 0, rows_in_file: 0, reserved: 0 }
}

/// Fills `*options`, of `size` = `sizeof(attractor_load_options)` bytes: rows in host memory, or on the device.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_load_options_init(
    options: *mut attractor_load_options,
    size: usize,
) -> attractor_error {
    const OPERATION: &str = "attractor_load_options_init";
    // SAFETY: the crate's contract.
    code(OPERATION, || unsafe { init(options, size, defaults(size)) })
}

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

/// Loads a saved memory to any device: bit-exactly the same patterns, under the same ids. `options` may be NULL, for
/// those of `attractor_load_options_init`.
///
/// Errors: `ATTRACTOR_ERROR_FILE` for a file that cannot be read, is damaged or is not a memory;
/// `ATTRACTOR_ERROR_LIMIT` or `ATTRACTOR_ERROR_OUT_OF_MEMORY` where the device has no room;
/// `ATTRACTOR_ERROR_UNSUPPORTED` where this library was built without the feature `files`; `ATTRACTOR_ERROR_UTF8`,
/// `ATTRACTOR_ERROR_NULL_POINTER`. `*memory` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_load(
    device: *const attractor_device,
    path: *const c_char,
    options: *const attractor_load_options,
    memory: *mut *mut attractor_memory,
) -> attractor_error {
    code("attractor_memory_load", || {
        // SAFETY: the crate's contract.
        let (out, device, path) =
            unsafe { (Out::handle("memory", memory)?, borrow("device", device)?, text("path", path)?) };
        let path = path.ok_or(Failure::Null("path"))?;
        // SAFETY: the crate's contract.
        let asked = if options.is_null() { defaults(0) } else { unsafe { read(options, defaults(0))? } };
        if asked.reserved != 0 {
            return Err(Failure::Unsupported { what: "a value of attractor_load_options.reserved other than 0" });
        }
        #[cfg(feature = "files")]
        {
            let mut options = attractor::LoadOptions::default();
            if asked.window_bytes > 0 {
                options = options.window_bytes(asked.window_bytes);
            }
            if asked.device_bytes > 0 {
                options = options.device_bytes(asked.device_bytes);
            }
            if asked.rows_in_file != 0 {
                options = options.rows_in_file();
            }
            out.give(attractor_memory::new(attractor::Memory::load_with(&device.device, path, &options)?));
            Ok(())
        }
        #[cfg(not(feature = "files"))]
        without_files((out, device, path, asked))
    })
}

/// Refuses a call whose arguments have been checked.
#[cfg(not(feature = "files"))]
fn without_files<T>(_: T) -> crate::error::Outcome<()> {
    Err(Failure::Unsupported { what: "a file, with a library that was built without the feature `files`," })
}
