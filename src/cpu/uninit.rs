//! Uninitialised rows filled by parallel tasks, each writing a disjoint part.
#![allow(unsafe_code, reason = "the length of a vector is set once all of its parts are initialised")]

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;

/// `length` floats, of which none is initialised at first.
#[derive(Debug)]
pub(super) struct UninitRows {
    storage: Vec<f32>,
    length: usize,
    /// How many have been initialised.
    written: AtomicUsize,
}

impl UninitRows {
    /// `length` floats in an empty vector of at least that capacity.
    pub fn new(storage: Vec<f32>, length: usize) -> Self {
        assert!(storage.is_empty() && storage.capacity() >= length, "the vector has the capacity");
        Self { storage, length, written: AtomicUsize::new(0) }
    }

    /// The parts of `size` floats, each set to zeros when the iterator reaches it.
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

    /// The vector, after every part was reached.
    pub fn into_vec(mut self) -> Vec<f32> {
        assert_eq!(*self.written.get_mut(), self.length, "every part is initialised");
        // SAFETY: parts are disjoint and counted once they are initialised, so the whole length is.
        unsafe { self.storage.set_len(self.length) };
        self.storage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_initialised() {
        for (length, size) in [(0, 3), (1, 3), (7, 3), (9, 3), (1000, 64)] {
            let mut rows = UninitRows::new(Vec::with_capacity(length), length);
            rows.parts(size).enumerate().for_each(|(number, part)| {
                assert!(part.iter().all(|x| *x == 0.0));
                part.fill(number as f32);
            });
            let expected: Vec<f32> = (0..length).map(|i| (i / size) as f32).collect();
            assert_eq!(rows.into_vec(), expected);
        }
    }

    #[test]
    #[should_panic(expected = "every part is initialised")]
    fn parts_that_were_left_out_are_noticed() {
        let mut rows = UninitRows::new(Vec::with_capacity(10), 10);
        rows.parts(3).take(2).for_each(|_| ());
        rows.into_vec();
    }
}
