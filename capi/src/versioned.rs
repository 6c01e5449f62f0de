//! Structs of options, which later versions of the header may make longer.

use std::ptr;

use crate::error::{Failure, Outcome};
use crate::pointer::sound;

/// A struct of options whose first field is its size as the caller knows it. A shorter one, of an older header, leaves
/// the fields that it lacks at their defaults; a longer one, of a newer header, is accepted if everything behind what
/// is known here is zero (the convention of Linux's `copy_struct_from_user`).
///
/// # Safety `repr(C)`, of integers, floats and raw pointers only, `size: usize` first, and without padding: a field
/// that is added later must not lie where older callers have padding.
pub(crate) unsafe trait Versioned: Copy {
    /// What an error calls fields that this library does not know.
    const NEWER: &'static str;
    /// The size in the first version of the header.
    const FIRST: usize;
}

/// Implements [`Versioned`] for a struct of which `$last` was the last field in the first version of the header.
macro_rules! versioned {
    ($name:ident, $last:ident: $type:ty) => {
        // SAFETY: the caller of the macro lists such fields; what can be asserted is asserted below.
        unsafe impl $crate::versioned::Versioned for $name {
            const NEWER: &'static str =
                concat!("what ", stringify!($name), " sets in fields that are newer than this library");
            const FIRST: usize = std::mem::offset_of!($name, $last) + size_of::<$type>();
        }
        const _: () = {
            use $crate::versioned::Versioned;
            assert!(std::mem::offset_of!($name, size) == 0);
            assert!($name::FIRST.is_multiple_of(align_of::<$name>()));
        };
    };
}
pub(crate) use versioned;

/// The caller's options; fields that an older header lacks are those of `defaults`.
///
/// # Safety
/// The crate's contract: a pointer that is neither null nor misaligned points to as many bytes as the size says.
pub(crate) unsafe fn read<T: Versioned>(options: *const T, defaults: T) -> Outcome<T> {
    let from = sound("options", options)?;
    // SAFETY: the size is first.
    let size = unsafe { from.cast::<usize>().read() };
    check_size::<T>(size)?;
    let known = size.min(size_of::<T>());
    let mut read = defaults;
    // SAFETY: both have that many bytes, and any bits are a value.
    unsafe { ptr::copy_nonoverlapping(from.cast::<u8>().as_ptr(), (&raw mut read).cast(), known) };
    // SAFETY: by this function's own contract.
    let rest = unsafe { std::slice::from_raw_parts(from.cast::<u8>().as_ptr().add(known), size - known) };
    if rest.iter().any(|byte| *byte != 0) {
        return Err(Failure::Unsupported { what: T::NEWER });
    }
    Ok(read)
}

/// Fills the caller's options, of `size` bytes, with `defaults`, whose own size is `size`; fields that a newer header
/// adds are set to zero.
///
/// # Safety
/// The crate's contract: a pointer that is neither null nor misaligned has room for `size` bytes.
pub(crate) unsafe fn init<T: Versioned>(options: *mut T, size: usize, defaults: T) -> Outcome<()> {
    let to = sound("options", options)?;
    check_size::<T>(size)?;
    let known = size.min(size_of::<T>());
    // SAFETY: by this function's own contract, and `T` has that many bytes.
    unsafe {
        to.cast::<u8>().write_bytes(0, size);
        ptr::copy_nonoverlapping((&raw const defaults).cast::<u8>(), to.cast::<u8>().as_ptr(), known);
    }
    Ok(())
}

/// Refuses sizes that no version of the header has; no struct will ever reach the upper bound.
fn check_size<T: Versioned>(size: usize) -> Outcome<()> {
    if (T::FIRST..=4096).contains(&size) {
        return Ok(());
    }
    let expected = "sizeof of the struct that is passed";
    Err(Failure::Parameter { parameter: "size", expected, got: size.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let read_old = unsafe { read((&raw const old).cast::<New>(), DEFAULTS) }.unwrap();
        assert_eq!((read_old.steps, read_old.later), (5, 9));

        let mut new = New { size: size_of::<New>(), steps: 5, later: 0 };
        let defaults = Old { size: size_of::<Old>(), steps: 1 };
        // SAFETY: as many bytes as the size says.
        let read_new = |new: &New| unsafe { read((&raw const *new).cast::<Old>(), defaults) };
        assert_eq!(read_new(&new).unwrap().steps, 5);
        new.later = 1;
        let error = read_new(&new).unwrap_err();
        assert!(matches!(&error, Failure::Unsupported { .. }), "{error}");
        for size in [0, 1, size_of::<Old>() - 1, 4097, usize::MAX] {
            new.size = size;
            let error = read_new(&new).unwrap_err();
            assert!(matches!(&error, Failure::Parameter { .. }), "{error}");
        }
    }

    #[test]
    fn options_are_filled_as_far_as_the_caller_has_them() {
        let mut new = New { size: 77, steps: 77, later: 77 };
        let old_size = size_of::<Old>();
        // SAFETY: there is room for so many bytes.
        unsafe { init(&raw mut new, old_size, New { size: old_size, ..DEFAULTS }) }.unwrap();
        assert_eq!(new, New { size: old_size, steps: 1, later: 77 });
        let defaults = Old { size: size_of::<New>(), steps: 3 };
        // SAFETY: there is room for so many bytes.
        unsafe { init((&raw mut new).cast::<Old>(), size_of::<New>(), defaults) }.unwrap();
        assert_eq!(new, New { size: size_of::<New>(), steps: 3, later: 0 });
    }
}
