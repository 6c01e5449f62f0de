//! Numbers that start at a cache line, so that no vector of them lies across two, in huge pages where there are many: a scan
//! of patterns that no cache holds is bound by memory, and every small page of them costs a walk through the page tables
//! and stops the processor from fetching ahead.
#![allow(unsafe_code, reason = "advice to the kernel is a system call")]

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use bytemuck::{AnyBitPattern, NoUninit, Pod, Zeroable};

use crate::error::{Error, Result};

/// Bytes of a cache line, and of the widest vector.
const LINE: usize = 64;
/// Bytes from which huge pages are asked for: what is in the smallest caches needs none.
const HUGE: usize = 4 << 20;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

/// A fixed number of `T`, whose size divides that of a cache line.
pub(super) struct Lines<T> {
    lines: Vec<Line>,
    length: usize,
    of: PhantomData<T>,
}

impl<T: NoUninit + AnyBitPattern> Lines<T> {
    /// `length` zeros.
    pub fn zeros(length: usize) -> Self {
        let count = Self::count(length);
        let mut lines = Vec::with_capacity(count);
        advise(&lines);
        lines.resize(count, Line::zeroed());
        Self { lines, length, of: PhantomData }
    }

    /// `length` zeros, or an error where the host has no room.
    pub fn try_zeros(length: usize) -> Result<Self> {
        let (count, mut lines) = (Self::count(length), Vec::new());
        lines.try_reserve_exact(count).map_err(|_| no_room(length.saturating_mul(size_of::<T>())))?;
        advise(&lines);
        lines.resize(count, Line::zeroed());
        Ok(Self { lines, length, of: PhantomData })
    }

    fn count(length: usize) -> usize {
        length.saturating_mul(size_of::<T>()).div_ceil(LINE)
    }
}

/// The error of an allocation of so many bytes.
pub(super) fn no_room(bytes: usize) -> Error {
    Error::Limit {
        operation: "Memory::reserve",
        limit: "host memory (bytes)",
        need: bytes as u64,
        allowed: isize::MAX as u64,
    }
}

impl<T: NoUninit + AnyBitPattern> Deref for Lines<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &bytemuck::cast_slice(&self.lines)[..self.length]
    }
}

impl<T: NoUninit + AnyBitPattern> DerefMut for Lines<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.length]
    }
}

/// Into memory of its own, which has to be asked for in the same way.
impl<T: NoUninit + AnyBitPattern> Clone for Lines<T> {
    fn clone(&self) -> Self {
        let mut lines = Vec::with_capacity(self.lines.len());
        advise(&lines);
        lines.extend_from_slice(&self.lines);
        Self { lines, length: self.length, of: PhantomData }
    }
}

impl<T> fmt::Debug for Lines<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lines({})", self.length)
    }
}

/// Asks for huge pages behind what is allocated and not yet written: where the system has none to give, nothing changes.
fn advise(lines: &Vec<Line>) {
    let bytes = lines.capacity() * LINE;
    if bytes < HUGE {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        /// Advice is for whole pages; no page of Linux is larger.
        const PAGE: usize = 64 << 10;
        let start = lines.as_ptr().addr().next_multiple_of(PAGE);
        let length = (lines.as_ptr().addr() + bytes).saturating_sub(start) / PAGE * PAGE;
        let start = lines.as_ptr().with_addr(start).cast_mut();
        // SAFETY: the pages lie within what the vector has allocated, and the advice changes nothing that can be read.
        unsafe { libc::madvise(start.cast(), length, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_start_at_a_line_and_are_zero() {
        for length in [0, 1, 15, 16, 17, 1000, HUGE / 4 + 3] {
            let mut lines = Lines::<f32>::zeros(length);
            assert_eq!(lines.as_ptr().addr() % LINE, 0);
            assert!(lines.len() == length && lines.iter().all(|x| *x == 0.0));
            if let Some(last) = lines.last_mut() {
                *last = 1.0;
            }
            let same = Lines::<f32>::try_zeros(length).unwrap();
            assert_eq!(*same == *lines, length == 0);
            assert!(*lines.clone() == *lines);
        }
        assert_eq!(Lines::<i8>::zeros(65).lines.len(), 2);
    }

    #[test]
    fn what_no_host_has_is_an_error() {
        for length in [usize::MAX, usize::MAX / 4, isize::MAX as usize / 4 - 100] {
            assert!(matches!(Lines::<f32>::try_zeros(length), Err(Error::Limit { .. })), "{length}");
        }
    }

    /// What the kernel says of its own huge pages: none where they are switched off.
    #[cfg(target_os = "linux")]
    #[test]
    fn many_are_in_huge_pages_where_the_system_has_them() {
        let setting = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
        if !setting.contains("[madvise]") && !setting.contains("[always]") {
            eprintln!("skipped: the system gives no huge pages ({setting:?})");
            return;
        }
        let lines = Lines::<f32>::zeros(64 << 18);
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
                assert!(line.split_whitespace().any(|flag| flag == "hg"), "no advice was taken: {line}");
                return;
            }
        }
        panic!("{address:x} is in no mapping");
    }
}
