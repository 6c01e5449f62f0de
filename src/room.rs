//! Host memory whose size the caller determines: what the host does not have is an error, not the end of the process.

use bytemuck::Zeroable;
use bytemuck::allocation::try_zeroed_vec;

use crate::error::{Error, Result};

/// The error of an allocation of `length` elements of `T`.
pub(crate) fn no_room<T>(operation: &'static str, what: &'static str, length: usize) -> Error {
    let bytes = (length as u64).saturating_mul(size_of::<T>() as u64);
    Error::OutOfMemory { operation, what, bytes }
}

/// `rows * columns`, saturated: no allocation is as long.
pub(crate) fn elements(rows: usize, columns: usize) -> usize {
    rows.saturating_mul(columns)
}

/// An empty vector with room for `length` elements.
pub(crate) fn room<T>(operation: &'static str, what: &'static str, length: usize) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    vector.try_reserve_exact(length).map_err(|_| no_room::<T>(operation, what, length))?;
    Ok(vector)
}

/// `length` zeros. Where there are many, the system gives pages of zeros, which take no room until they are written.
pub(crate) fn zeros<T: Zeroable>(operation: &'static str, what: &'static str, length: usize) -> Result<Vec<T>> {
    // A length that no layout has is refused before there is one.
    if length.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize) {
        return Err(no_room::<T>(operation, what, length));
    }
    try_zeroed_vec(length).map_err(|()| no_room::<T>(operation, what, length))
}

/// A copy of `slice`.
pub(crate) fn copy<T: Copy>(operation: &'static str, what: &'static str, slice: &[T]) -> Result<Vec<T>> {
    let mut vector = room(operation, what, slice.len())?;
    vector.extend_from_slice(slice);
    Ok(vector)
}

/// As many as `slice` has: the first `used` of it, and zeros.
pub(crate) fn copy_first<T: Zeroable + Copy>(
    operation: &'static str,
    what: &'static str,
    slice: &[T],
    used: usize,
) -> Result<Vec<T>> {
    let mut copy = zeros(operation, what, slice.len())?;
    copy[..used].copy_from_slice(&slice[..used]);
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_host_has_is_an_error() {
        for length in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4, isize::MAX as usize / 4 - 100] {
            let refused = [room::<f32>("test", "rows", length).err(), zeros::<f32>("test", "rows", length).err()];
            for error in refused {
                assert!(matches!(error, Some(Error::OutOfMemory { what: "rows", .. })), "{length}: {error:?}");
            }
        }
        assert_eq!(elements(1 << 40, 1 << 40), usize::MAX);
        assert_eq!(zeros::<f64>("test", "rows", 3).unwrap(), [0.0; 3]);
        assert_eq!(copy("test", "rows", &[1, 2]).unwrap(), [1, 2]);
    }
}
