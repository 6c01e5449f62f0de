//! Rows that many threads make, each part of them by one: nobody clears the whole beforehand.
#![allow(unsafe_code, reason = "a vector whose parts are written by threads has its length set when all are")]

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// `length` floats to be.
#[derive(Debug)]
pub(super) struct UninitRows {
    storage: Vec<f32>,
    length: usize,
    /// How many have been written.
    written: AtomicUsize,
}

impl UninitRows {
    /// `length` floats in an empty vector that has room for them.
    pub fn new(storage: Vec<f32>, length: usize) -> Self {
        assert!(storage.is_empty() && storage.capacity() >= length, "the room is there");
        Self { storage, length, written: AtomicUsize::new(0) }
    }

    /// The parts of `size` floats, all zero, made when they are come to.
    pub fn parts(&mut self, size: usize) -> impl IndexedParallelIterator<Item = &mut [f32]> {
        *self.written.get_mut() = 0;
        let written = &self.written;
        self.storage.spare_capacity_mut()[..self.length].par_chunks_mut(size).map(move |part| {
            part.fill(MaybeUninit::new(0.0));
            written.fetch_add(part.len(), Ordering::Relaxed);
            // SAFETY: every element has just been written, and the two types have one layout.
            unsafe { &mut *(std::ptr::from_mut::<[MaybeUninit<f32>]>(part) as *mut [f32]) }
        })
    }

    /// All of them, where every part was come to.
    pub fn whole(mut self) -> Vec<f32> {
        assert_eq!(*self.written.get_mut(), self.length, "every part is made");
        // SAFETY: parts are apart and are counted once they are written, so that all of the length has been.
        unsafe { self.storage.set_len(self.length) };
        self.storage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_there() {
        for (length, size) in [(0, 3), (1, 3), (7, 3), (9, 3), (1000, 64)] {
            let mut rows = UninitRows::new(Vec::with_capacity(length), length);
            rows.parts(size).enumerate().for_each(|(number, part)| {
                assert!(part.iter().all(|x| *x == 0.0));
                part.fill(number as f32);
            });
            let expected: Vec<f32> = (0..length).map(|i| (i / size) as f32).collect();
            assert_eq!(rows.whole(), expected);
        }
    }

    #[test]
    #[should_panic(expected = "every part is made")]
    fn parts_that_were_left_out_are_noticed() {
        let mut rows = UninitRows::new(Vec::with_capacity(10), 10);
        rows.parts(3).take(2).for_each(|_| ());
        rows.whole();
    }
}
