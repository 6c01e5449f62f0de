//! Structs of options, which later versions of the header may make longer.

use std::ptr;

use super::error::Outcome;
use super::pointer::sound;
use crate::error::Error;

/// A struct of options whose first field is its size as the caller knows it. A shorter one, of an older header, leaves the
/// fields that it lacks at their defaults; a longer one, of a newer header, is taken as long as everything behind what is
/// known here is zero (the convention of Linux's `copy_struct_from_user`).
///
/// # Safety
/// `repr(C)`, of integers, floats and raw pointers only, `size: usize` first, and without padding: a field that is added
/// later must not lie where older callers have some.
pub(super) unsafe trait Versioned: Copy {
    const NAME: &'static str;
    /// The size in the first version of the header.
    const FIRST: usize;
}

/// Implements [`Versioned`] for a struct of which `$last` was the last field in the first version of the header.
macro_rules! versioned {
    ($name:ident, $last:ident: $type:ty) => {
        // SAFETY: what can be asserted is asserted below; the fields are listed above.
        unsafe impl $crate::capi::versioned::Versioned for $name {
            const NAME: &'static str = stringify!($name);
            const FIRST: usize = std::mem::offset_of!($name, $last) + size_of::<$type>();
        }
        const _: () = {
            use $crate::capi::versioned::Versioned;
            assert!(std::mem::offset_of!($name, size) == 0);
            assert!($name::FIRST.is_multiple_of(align_of::<$name>()));
        };
    };
}
pub(super) use versioned;

/// The caller's options; where they are of an older header, `defaults` has the rest.
///
/// # Safety
/// The module's contract: where the pointer is neither null nor misaligned, so many bytes are there as the size says.
pub(super) unsafe fn read<T: Versioned>(operation: &'static str, options: *const T, defaults: T) -> Outcome<T> {
    let from = sound("options", options)?;
    // SAFETY: the size is first.
    let size = unsafe { from.cast::<usize>().read() };
    check_size::<T>(operation, size)?;
    let known = size.min(size_of::<T>());
    let mut read = defaults;
    // SAFETY: both have so many bytes, and any bits are a value.
    unsafe { ptr::copy_nonoverlapping(from.cast::<u8>().as_ptr(), (&raw mut read).cast(), known) };
    // SAFETY: by this function's own contract.
    let rest = unsafe { std::slice::from_raw_parts(from.cast::<u8>().as_ptr().add(known), size - known) };
    if rest.iter().any(|byte| *byte != 0) {
        let what = format!("what {} sets in fields that are newer than this library", T::NAME);
        return Err(Error::Unsupported { operation, what }.into());
    }
    Ok(read)
}

/// Fills the caller's options, `size` bytes of them, with `defaults`, whose own size is `size`; zeros where they are of a
/// newer header.
///
/// # Safety
/// The module's contract: where the pointer is neither null nor misaligned, there is room for `size` bytes.
pub(super) unsafe fn init<T: Versioned>(
    operation: &'static str,
    options: *mut T,
    size: usize,
    defaults: T,
) -> Outcome<()> {
    let to = sound("options", options)?;
    check_size::<T>(operation, size)?;
    let known = size.min(size_of::<T>());
    // SAFETY: by this function's own contract, and `T` has so many bytes.
    unsafe {
        to.cast::<u8>().write_bytes(0, size);
        ptr::copy_nonoverlapping((&raw const defaults).cast::<u8>(), to.cast::<u8>().as_ptr(), known);
    }
    Ok(())
}

/// Refuses sizes that no version of the header has; no struct will ever reach the upper bound.
fn check_size<T: Versioned>(operation: &'static str, size: usize) -> Outcome<()> {
    if (T::FIRST..=4096).contains(&size) {
        return Ok(());
    }
    let expected = "sizeof of the struct that is passed";
    Err(Error::Parameter { operation, parameter: "size", expected, got: size.to_string() }.into())
}

/// What `code` stands for.
pub(super) fn choice<T: Copy>(
    operation: &'static str,
    parameter: &'static str,
    expected: &'static str,
    code: u32,
    choices: &[(u32, T)],
) -> Outcome<T> {
    match choices.iter().find(|(known, _)| *known == code) {
        Some((_, meant)) => Ok(*meant),
        None => Err(Error::Parameter { operation, parameter, expected, got: code.to_string() }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::error::Failure;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Old {
        size: usize,
        steps: usize,
    }
    versioned!(Old, steps: usize);

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct New {
        size: usize,
        steps: usize,
        later: usize,
    }
    versioned!(New, steps: usize);

    const DEFAULTS: New = New { size: size_of::<New>(), steps: 1, later: 9 };

    #[test]
    fn older_and_newer_callers() {
        let old = Old { size: size_of::<Old>(), steps: 5 };
        // SAFETY: as many bytes as the size says.
        let read_old = unsafe { read("read", (&raw const old).cast::<New>(), DEFAULTS) }.unwrap();
        assert_eq!((read_old.steps, read_old.later), (5, 9));

        let mut new = New { size: size_of::<New>(), steps: 5, later: 0 };
        let defaults = Old { size: size_of::<Old>(), steps: 1 };
        // SAFETY: as many bytes as the size says.
        let read_new = |new: &New| unsafe { read("read", (&raw const *new).cast::<Old>(), defaults) };
        assert_eq!(read_new(&new).unwrap().steps, 5);
        new.later = 1;
        let error = read_new(&new).unwrap_err();
        assert!(matches!(&error, Failure::Library(Error::Unsupported { .. })), "{error}");
        for size in [0, 1, size_of::<Old>() - 1, 4097, usize::MAX] {
            new.size = size;
            let error = read_new(&new).unwrap_err();
            assert!(matches!(&error, Failure::Library(Error::Parameter { .. })), "{error}");
        }
    }

    #[test]
    fn options_are_filled_as_far_as_the_caller_has_them() {
        let mut new = New { size: 77, steps: 77, later: 77 };
        let old_size = size_of::<Old>();
        // SAFETY: there is room for so many bytes.
        unsafe { init("init", &raw mut new, old_size, New { size: old_size, ..DEFAULTS }) }.unwrap();
        assert_eq!(new, New { size: old_size, steps: 1, later: 77 });
        let defaults = Old { size: size_of::<New>(), steps: 3 };
        // SAFETY: there is room for so many bytes.
        unsafe { init("init", (&raw mut new).cast::<Old>(), size_of::<New>(), defaults) }.unwrap();
        assert_eq!(new, New { size: size_of::<New>(), steps: 3, later: 0 });
    }
}
