//! Pointers and lengths from C, as references and slices. Null, alignment, overflow and lengths are checked.

use std::ffi::{CStr, c_char};
use std::ptr::{self, NonNull};

use crate::error::{Failure, Outcome, guard};

/// The pointer, if it is neither null nor misaligned.
pub(crate) fn sound<T>(what: &'static str, pointer: *const T) -> Outcome<NonNull<T>> {
    let pointer = NonNull::new(pointer.cast_mut()).ok_or(Failure::Null(what))?;
    match pointer.is_aligned() {
        true => Ok(pointer),
        false => Err(Failure::Alignment { what, to: align_of::<T>() }),
    }
}

/// The target of a handle or of a pointer to one value.
///
/// # Safety
/// The crate's contract: a pointer that is neither null nor misaligned points to a `T` that outlives the call.
pub(crate) unsafe fn borrow<'a, T>(what: &'static str, pointer: *const T) -> Outcome<&'a T> {
    let pointer = sound(what, pointer)?;
    // SAFETY: by this function's own contract.
    Ok(unsafe { pointer.as_ref() })
}

/// An array of the caller: a pointer and a length in elements.
pub(crate) type Array<T> = (*const T, usize);

/// `count` rows of `columns` elements; the length of the array must be their product. If that is 0 the pointer may be
/// anything.
///
/// # Safety
/// The crate's contract: a pointer that is neither null nor misaligned points to as many elements as the length says,
/// and nothing writes them during the call.
pub(crate) unsafe fn rows<'a, T>(
    what: &'static str,
    (pointer, length): Array<T>,
    count: usize,
    columns: usize,
) -> Outcome<&'a [T]> {
    let expected = elements::<T>(count, columns)?;
    if length != expected {
        let expected = format!("{what} of {count} x {columns} = {expected} elements");
        return Err(Failure::Shape { expected, got: length });
    }
    if length == 0 {
        return Ok(&[]);
    }
    let pointer = sound(what, pointer)?;
    // SAFETY: by this function's own contract; `elements` has checked the size.
    Ok(unsafe { std::slice::from_raw_parts(pointer.as_ptr(), length) })
}

/// [`rows`], or nothing where the pointer is null and the length 0.
///
/// # Safety
/// As [`rows`].
pub(crate) unsafe fn optional_rows<'a, T>(
    what: &'static str,
    array: Array<T>,
    count: usize,
    columns: usize,
) -> Outcome<Option<&'a [T]>> {
    if array.0.is_null() && array.1 == 0 {
        return Ok(None);
    }
    // SAFETY: by this function's own contract.
    unsafe { rows(what, array, count, columns) }.map(Some)
}

/// `count * columns`, if a slice may have that length.
fn elements<T>(count: usize, columns: usize) -> Outcome<usize> {
    let allowed = isize::MAX as usize / size_of::<T>();
    match count.checked_mul(columns) {
        Some(length) if length <= allowed => Ok(length),
        _ => {
            let need = (count as u64).saturating_mul(columns as u64);
            Err(Failure::Limit { limit: "elements of one array", need, allowed: allowed as u64 })
        }
    }
}

/// An array that a call writes. It is checked before the work is done, so that a call that is refused writes nothing.
pub(crate) struct OutRows<T> {
    /// Absent where the caller wants none, and where there are no elements.
    to: Option<NonNull<T>>,
    length: usize,
    wanted: bool,
}

impl<T: Copy> OutRows<T> {
    /// An array of `length` elements, which must be `expected`. A null pointer with length 0 stands for no array.
    ///
    /// # Safety The crate's contract: a pointer that is neither null nor misaligned has room for that many elements,
    /// which nothing else uses during the call.
    pub unsafe fn new(what: &'static str, expected: usize, pointer: *mut T, length: usize) -> Outcome<Self> {
        let wanted = !pointer.is_null() || length > 0;
        if wanted && length != expected {
            let expected = format!("{what} of {expected} elements");
            return Err(Failure::Shape { expected, got: length });
        }
        let to = (length > 0).then(|| sound(what, pointer)).transpose()?;
        Ok(Self { to, length, wanted })
    }

    pub fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub fn write(self, rows: &[T]) {
        if let Some(to) = self.to {
            assert_eq!(rows.len(), self.length, "the array has the length of its shape");
            // SAFETY: by the contract of `new`; `rows` belong to this library, so they do not overlap.
            unsafe { ptr::copy_nonoverlapping(rows.as_ptr(), to.as_ptr(), self.length) };
        }
    }
}

/// A string, or nothing where the pointer is null.
///
/// # Safety
/// The crate's contract: a pointer that is not null points to a string that ends with a zero.
pub(crate) unsafe fn text<'a>(what: &'static str, pointer: *const c_char) -> Outcome<Option<&'a str>> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: by this function's own contract.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map(Some).map_err(|_| Failure::Utf8(what))
}

/// A place for one result. It is checked before the work is done, so that no result is lost.
pub(crate) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// # Safety
    /// The crate's contract: a pointer that is neither null nor misaligned has room for a `T`, which nothing else uses
    /// during the call.
    pub unsafe fn new(what: &'static str, pointer: *mut T) -> Outcome<Self> {
        sound(what, pointer).map(Self)
    }

    /// [`Out::new`], or nothing where the pointer is null.
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
    /// A place for a handle, which is set to NULL.
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

    /// Hands `value` to the caller, who returns it to [`free`].
    pub fn give(self, value: T) {
        self.write(Box::into_raw(Box::new(value)));
    }
}

/// Drops what [`Out::give`] handed out; nothing where it is null.
///
/// # Safety
/// The crate's contract: [`Out::give`] handed it out, it has not been freed, and no call uses it.
pub(crate) unsafe fn free<T>(operation: &'static str, handle: *mut T) {
    if handle.is_null() {
        return;
    }
    // There is no code to return where dropping panics; the last message says it.
    let _ = guard(operation, || {
        // SAFETY: by this function's own contract.
        drop(unsafe { Box::from_raw(handle) });
        Ok(())
    });
}

/// The data of a slice that belongs to a handle; its length goes to `length` unless that is null.
///
/// # Safety
/// The crate's contract: `length` is null or has room for one number.
pub(crate) unsafe fn lend<T>(slice: &[T], length: *mut usize) -> Outcome<*const T> {
    // SAFETY: by this function's own contract.
    if let Some(length) = unsafe { Out::optional("length", length) }? {
        length.write(slice.len());
    }
    Ok(slice.as_ptr())
}
