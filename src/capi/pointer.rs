//! What C hands over, made into what Rust can use: checked as far as a pointer and a number can be.

use std::ffi::{CStr, c_char};
use std::ptr::{self, NonNull};

use super::error::{Failure, Outcome};
use crate::error::Error;

/// Neither null nor misaligned.
pub(super) fn sound<T>(what: &'static str, pointer: *const T) -> Outcome<NonNull<T>> {
    let pointer = NonNull::new(pointer.cast_mut()).ok_or(Failure::Null(what))?;
    match pointer.is_aligned() {
        true => Ok(pointer),
        false => Err(Failure::Alignment { what, to: align_of::<T>() }),
    }
}

/// What a handle or a pointer to one thing points to.
///
/// # Safety
/// The module's contract: where it is neither null nor misaligned there is a `T`, which outlives the call.
pub(super) unsafe fn borrow<'a, T>(what: &'static str, pointer: *const T) -> Outcome<&'a T> {
    let pointer = sound(what, pointer)?;
    // SAFETY: by this function's own contract.
    Ok(unsafe { pointer.as_ref() })
}

/// An array as the caller has it: where it is, and its length.
pub(super) type Array<T> = (*const T, usize);

/// `count` rows of `columns` elements, as many as the array says that it has. Where there are none of them the pointer
/// may be anything.
///
/// # Safety
/// The module's contract: where it is neither null nor misaligned there are as many as its length says, and nothing
/// writes them meanwhile.
pub(super) unsafe fn rows<'a, T>(
    operation: &'static str,
    what: &'static str,
    (pointer, length): Array<T>,
    count: usize,
    columns: usize,
) -> Outcome<&'a [T]> {
    let expected = elements::<T>(operation, count, columns)?;
    if length != expected {
        let expected = format!("{what} of {count} x {columns} = {expected} elements");
        return Err(Error::Shape { operation, expected, got: length.to_string() }.into());
    }
    if length == 0 {
        return Ok(&[]);
    }
    let pointer = sound(what, pointer)?;
    // SAFETY: by this function's own contract; the size is one that a slice may have.
    Ok(unsafe { std::slice::from_raw_parts(pointer.as_ptr(), length) })
}

/// [`rows`] that are absent where the pointer is null and the length 0.
///
/// # Safety
/// As [`rows`].
pub(super) unsafe fn optional_rows<'a, T>(
    operation: &'static str,
    what: &'static str,
    array: Array<T>,
    count: usize,
    columns: usize,
) -> Outcome<Option<&'a [T]>> {
    if array.0.is_null() && array.1 == 0 {
        return Ok(None);
    }
    // SAFETY: by this function's own contract.
    unsafe { rows(operation, what, array, count, columns) }.map(Some)
}

/// `count * columns`, if a slice may be so long.
fn elements<T>(operation: &'static str, count: usize, columns: usize) -> Outcome<usize> {
    let allowed = isize::MAX as usize / size_of::<T>();
    match count.checked_mul(columns) {
        Some(length) if length <= allowed => Ok(length),
        _ => {
            let need = (count as u64).saturating_mul(columns as u64);
            Err(Error::Limit { operation, limit: "elements of one array", need, allowed: allowed as u64 }.into())
        }
    }
}

/// Where rows go. It is looked at before the work is done, so that nothing has been written where a call is refused.
pub(super) struct OutRows<T> {
    /// Absent where the caller has no interest in them, and where there are none.
    to: Option<NonNull<T>>,
    length: usize,
    wanted: bool,
}

impl<T: Copy> OutRows<T> {
    /// An array of `length` elements, which are to be `expected`. A null pointer of length 0 says that nothing is wanted.
    ///
    /// # Safety
    /// The module's contract: where it is neither null nor misaligned there is room for so many, which nobody else uses.
    pub unsafe fn new(
        operation: &'static str,
        what: &'static str,
        expected: usize,
        pointer: *mut T,
        length: usize,
    ) -> Outcome<Self> {
        let wanted = !pointer.is_null() || length > 0;
        if wanted && length != expected {
            let expected = format!("{what} of {expected} elements");
            return Err(Error::Shape { operation, expected, got: length.to_string() }.into());
        }
        let to = (length > 0).then(|| sound(what, pointer)).transpose()?;
        Ok(Self { to, length, wanted })
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub fn write(self, rows: &[T]) {
        if let Some(to) = self.to {
            assert_eq!(rows.len(), self.length, "an array is as long as its shape says");
            // SAFETY: by the contract of `new`; what C has is not ours, so they do not overlap.
            unsafe { ptr::copy_nonoverlapping(rows.as_ptr(), to.as_ptr(), self.length) };
        }
    }
}

/// A string, absent where the pointer is null.
///
/// # Safety
/// The module's contract: where it is not null there is a string that ends with a zero.
pub(super) unsafe fn text<'a>(what: &'static str, pointer: *const c_char) -> Outcome<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: by this function's own contract.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map(Some).map_err(|_| Failure::Utf8(what))
}

/// Where an answer goes. It is looked at before the work is done, so that no answer is lost for want of a place.
pub(super) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// # Safety
    /// The module's contract: where it is neither null nor misaligned there is room for a `T`, which nobody else uses.
    pub unsafe fn new(what: &'static str, pointer: *mut T) -> Outcome<Self> {
        sound(what, pointer).map(Self)
    }

    /// [`Out::new`], absent where the pointer is null.
    ///
    /// # Safety
    /// As [`Out::new`].
    pub unsafe fn optional(what: &'static str, pointer: *mut T) -> Outcome<Option<Self>> {
        // SAFETY: by this function's own contract.
        (!pointer.is_null()).then(|| unsafe { Self::new(what, pointer) }).transpose()
    }

    pub fn write(self, value: T) {
        // SAFETY: by the contract of `new`.
        unsafe { self.0.write(value) };
    }
}

impl<T> Out<*mut T> {
    /// A place for a handle, NULL until there is one.
    ///
    /// # Safety
    /// As [`Out::new`].
    pub unsafe fn handle(what: &'static str, pointer: *mut *mut T) -> Outcome<Self> {
        // SAFETY: by this function's own contract.
        let out = unsafe { Self::new(what, pointer) }?;
        // SAFETY: by the contract of `new`.
        unsafe { out.0.write(ptr::null_mut()) };
        Ok(out)
    }

    /// Gives `value` away; [`free`] takes it back.
    pub fn give(self, value: T) {
        self.write(Box::into_raw(Box::new(value)));
    }
}

/// Drops what [`Out::give`] gave. Nothing happens where it is null.
///
/// # Safety
/// The module's contract: it was given and has not been freed, and nobody uses it.
pub(super) unsafe fn free<T>(operation: &'static str, handle: *mut T) {
    if handle.is_null() {
        return;
    }
    // Nobody is told where that panics, and the message says it.
    let _ = super::error::guard(operation, || {
        // SAFETY: by this function's own contract.
        drop(unsafe { Box::from_raw(handle) });
        Ok(())
    });
}

/// The data of a slice that is part of a handle, and its length where the caller wants that.
///
/// # Safety
/// The module's contract: `length` is null, or there is room for one.
pub(super) unsafe fn lend<T>(slice: &[T], length: *mut usize) -> Outcome<*const T> {
    // SAFETY: by this function's own contract.
    if let Some(length) = unsafe { Out::optional("length", length) }? {
        length.write(slice.len());
    }
    Ok(slice.as_ptr())
}
