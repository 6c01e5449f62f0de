//! Host memory whose size the caller determines: what the host does not have is an error, not the end of the process.

use bytemuck::allocation::try_zeroed_vec;
use bytemuck::{Pod, Zeroable};

use crate::error::{Error, Result};

/// The error of an allocation of `length` elements of `T`.
pub(crate) fn no_room<T>(operation: &'static str, what: &'static str, length: usize) -> Error {
    let bytes = (length as u64).saturating_mul(size_of::<T>() as u64);
    Error::OutOfMemory { operation, what, bytes: Some(bytes) }
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

/// Appends `items`, however many there are.
pub(crate) fn extend<T>(
    operation: &'static str,
    what: &'static str,
    vector: &mut Vec<T>,
    items: impl IntoIterator<Item = T>,
) -> Result<()> {
    let mut items = items.into_iter();
    while let Some(item) = items.next() {
        if vector.len() == vector.capacity() {
            let more = items.size_hint().0.saturating_add(1);
            let length = vector.len().saturating_add(more);
            vector.try_reserve(more).map_err(|_| no_room::<T>(operation, what, length))?;
        }
        vector.push(item);
    }
    Ok(())
}

/// A vector of `items`, however many there are.
pub(crate) fn collect<T>(
    operation: &'static str,
    what: &'static str,
    items: impl IntoIterator<Item = T>,
) -> Result<Vec<T>> {
    let mut vector = Vec::new();
    extend(operation, what, &mut vector, items)?;
    Ok(vector)
}

/// The numbers that `bytes` are a whole number of, at any alignment.
pub(crate) fn numbers<T: Pod>(operation: &'static str, what: &'static str, bytes: &[u8]) -> Result<Vec<T>> {
    let mut numbers = zeros(operation, what, bytes.len() / size_of::<T>())?;
    bytemuck::cast_slice_mut(&mut numbers).copy_from_slice(bytes);
    Ok(numbers)
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
        let refused = collect("test", "rows", std::iter::repeat_n(0.0f32, usize::MAX));
        assert!(matches!(refused, Err(Error::OutOfMemory { what: "rows", bytes: Some(u64::MAX), .. })), "{refused:?}");
        assert_eq!(collect("test", "rows", (0..100).filter(|i| i % 30 == 0)).unwrap(), [0, 30, 60, 90]);
        assert_eq!(numbers::<u32>("test", "rows", &[0, 1, 0, 0, 0, 2, 0, 0, 0][1..]).unwrap(), [1, 2]);
        assert_eq!(elements(1 << 40, 1 << 40), usize::MAX);
        assert_eq!(zeros::<f64>("test", "rows", 3).unwrap(), [0.0; 3]);
        assert_eq!(copy("test", "rows", &[1, 2]).unwrap(), [1, 2]);
    }
}
