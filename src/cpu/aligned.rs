//! Arrays aligned to cache lines, so that no vector crosses one, and in huge pages where they are large: a scan of
//! patterns that no cache holds is bound by memory, and every small page costs a walk through the page tables and stops
//! the hardware prefetcher.
#![allow(unsafe_code, reason = "advice to the kernel is a system call")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::{AnyBitPattern, NoUninit};

use crate::error::Result;
use crate::room::{no_room, zeros};

/// Bytes of a cache line, which is as wide as the widest vector.
const LINE: usize = 64;
/// Bytes from which huge pages are requested: what fits the smaller caches needs none.
const HUGE: usize = 4 << 20;

/// The type of the allocation: zeros of this alignment are untouched pages of the system, zeros of a larger alignment
/// would be written.
type Word = u64;
/// Words of a cache line.
const WORDS: usize = LINE / size_of::<Word>();

/// A fixed number of `T`, aligned to a cache line. The size of `T` divides that of a line.
pub(super) struct AlignedVec<T> {
    /// Whole lines, from word `start` on.
    words: Vec<Word>,
    start: usize,
    length: usize,
    of: PhantomData<T>,
}

impl<T: NoUninit + AnyBitPattern> AlignedVec<T> {
    /// `length` zeros.
    pub fn zeros(length: usize) -> Self {
        Self::of(vec![0; Self::words(length)], length)
    }

    /// `length` zeros, or an error if the host has no room. Pages are only occupied once they are written.
    pub fn try_zeros(operation: &'static str, length: usize) -> Result<Self> {
        let what = "patterns";
        match zeros(operation, what, Self::words(length)) {
            Ok(words) => Ok(Self::of(words, length)),
            Err(_) => Err(no_room::<T>(operation, what, length)),
        }
    }

    /// A copy of the same length: the first `used` elements copied, the others zero. An error if the host has no room.
    pub fn try_clone(&self, operation: &'static str, used: usize) -> Result<Self> {
        let mut copy = Self::try_zeros(operation, self.length)?;
        copy[..used].copy_from_slice(&self[..used]);
        Ok(copy)
    }

    fn of(words: Vec<Word>, length: usize) -> Self {
        advise(&words);
        let start = words.as_ptr().addr().wrapping_neg() % LINE / size_of::<Word>();
        Self { words, start, length, of: PhantomData }
    }

    /// Words that contain the whole lines of `length` elements, wherever the first line starts.
    fn words(length: usize) -> usize {
        let lines = length.saturating_mul(size_of::<T>()).div_ceil(LINE);
        if lines == 0 { 0 } else { lines.saturating_mul(WORDS).saturating_add(WORDS - 1) }
    }

    /// The words of the lines.
    fn lines(&self) -> std::ops::Range<usize> {
        let lines = (self.length * size_of::<T>()).div_ceil(LINE);
        if lines == 0 { 0..0 } else { self.start..self.start + lines * WORDS }
    }
}

impl<T: NoUninit + AnyBitPattern> Deref for AlignedVec<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.words[self.lines()])[..self.length]
    }
}

impl<T: NoUninit + AnyBitPattern> DerefMut for AlignedVec<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        let lines = self.lines();
        &mut bytemuck::cast_slice_mut(&mut self.words[lines])[..self.length]
    }
}

impl<T> fmt::Debug for AlignedVec<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AlignedVec({})", self.length)
    }
}

/// Requests huge pages for an allocation that is not written yet; without effect where the system has none.
fn advise(words: &[Word]) {
    let bytes = size_of_val(words);
    if bytes < HUGE {
        return;
    }
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        /// Advice is for whole pages; no page of Linux is larger.
        const PAGE: usize = 64 << 10;
        let start = words.as_ptr().addr().next_multiple_of(PAGE);
        let length = (words.as_ptr().addr() + bytes).saturating_sub(start) / PAGE * PAGE;
        let start = words.as_ptr().with_addr(start).cast_mut();
        // SAFETY: the pages lie within the allocation, and the advice changes no byte.
        unsafe { libc::madvise(start.cast(), length, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn arrays_start_at_a_line_and_are_zero() {
        for length in [0, 1, 15, 16, 17, 1000, HUGE / 4 + 3] {
            let mut lines = AlignedVec::<f32>::zeros(length);
            assert!(length == 0 || lines.as_ptr().addr().is_multiple_of(LINE));
            assert!(lines.len() == length && lines.iter().all(|x| *x == 0.0));
            if let Some(last) = lines.last_mut() {
                *last = 1.0;
            }
            let same = AlignedVec::<f32>::try_zeros("test", length).unwrap();
            assert_eq!(*same == *lines, length == 0);
            let copy = lines.try_clone("test", length).unwrap();
            assert!(*copy == *lines && (length == 0 || copy.as_ptr().addr().is_multiple_of(LINE)));
        }
        assert_eq!(AlignedVec::<i8>::zeros(65).lines().len(), 2 * WORDS);
    }

    #[test]
    fn impossible_sizes_are_an_error() {
        for length in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4, isize::MAX as usize / 4 - 100] {
            let refused = AlignedVec::<f32>::try_zeros("test", length).err();
            let bytes = (length as u64).saturating_mul(4);
            let named = matches!(refused, Some(Error::OutOfMemory { bytes: Some(asked), .. }) if asked == bytes);
            assert!(named, "{length}: {refused:?}");
        }
    }

    /// Resident memory grows with what is written, not with what is reserved.
    #[cfg(target_os = "linux")]
    #[test]
    fn unwritten_pages_are_not_resident() {
        let resident = || {
            let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
            pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
        };
        let before = resident();
        let lines = AlignedVec::<f32>::try_zeros("test", 1 << 28).unwrap();
        let grown = resident().saturating_sub(before);
        assert!(grown < 256 << 20, "{grown} bytes of 1 GiB that nothing was written to");
        assert_eq!((lines[0], lines[lines.len() - 1]), (0.0, 0.0));
    }

    /// The flags of the mapping; skipped where huge pages are disabled.
    #[cfg(target_os = "linux")]
    #[test]
    fn large_arrays_request_huge_pages() {
        let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
        if !setting.contains("[madvise]") && !setting.contains("[always]") {
            eprintln!("skipped: huge pages are disabled ({setting:?})");
            return;
        }
        let lines = AlignedVec::<f32>::zeros(64 << 18);
        let address = lines.as_ptr().addr() + lines.len() * 2;
        let maps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in maps.lines() {
            let ends = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
            let ends = ends.and_then(|(a, b)| usize::from_str_radix(a, 16).ok().zip(usize::from_str_radix(b, 16).ok()));
            if let Some((start, end)) = ends {
                inside = (start..end).contains(&address);
            }
            if inside && line.starts_with("VmFlags:") {
                assert!(line.split_whitespace().any(|flag| flag == "hg"), "no huge pages were requested: {line}");
                return;
            }
        }
        panic!("{address:x} is in no mapping");
    }
}
