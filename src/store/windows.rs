//! Windows: the blocks of rows that hold a memory. A window never moves and never grows once it is made; a memory grows
//! by further windows, each as large as all before it together, so that adding one row at a time allocates
//! logarithmically often and copies nothing. One `reserve` or one large `add` gives one window.

use std::ops::Range;

use crate::error::{Error, Result};

/// Rows `first .. first + rows` of a memory, in storage `B` (a vector, or a pair of device buffers).
#[derive(Clone, Debug)]
pub(crate) struct Window<B> {
    pub first: usize,
    pub rows: usize,
    pub capacity: usize,
    pub storage: B,
}

/// All windows of a memory, in order of their rows. Only the last non-empty one is partly filled.
#[derive(Clone, Debug)]
pub(crate) struct Windows<B> {
    windows: Vec<Window<B>>,
    max_rows: usize,
    rows: usize,
    capacity: usize,
}

/// The most windows of one memory: each costs buffers, and dispatches of every retrieval.
const MOST: usize = 1 << 16;

/// Rows of the first window when nothing larger is asked for.
const SMALLEST: usize = 64;

/// How much room a new window has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Growth {
    /// As much as all windows before it together, at least.
    Doubling,
    /// What is asked for and no more: a window of a saved memory is made again as it was.
    Exact,
}

impl<B> Windows<B> {
    pub fn new(max_rows: usize) -> Self {
        Self { windows: Vec::new(), max_rows, rows: 0, capacity: 0 }
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of windows, those without rows included.
    pub fn count(&self) -> usize {
        self.windows.len()
    }

    /// The windows that hold rows.
    pub fn filled(&self) -> impl Iterator<Item = &Window<B>> {
        self.windows.iter().take_while(|w| w.rows > 0)
    }

    /// The storage of the row at `position`, which is filled, and the row within it.
    pub fn row(&self, position: usize) -> (&B, usize) {
        let window = &self.windows[self.index_of(position)];
        (&window.storage, position - window.first)
    }

    /// [`Windows::row`], to be changed.
    pub fn row_mut(&mut self, position: usize) -> (&mut B, usize) {
        let index = self.index_of(position);
        let window = &mut self.windows[index];
        (&mut window.storage, position - window.first)
    }

    /// The position behind the last row of the window that holds `position`.
    pub fn end(&self, position: usize) -> usize {
        let window = &self.windows[self.index_of(position)];
        window.first + window.rows
    }

    fn index_of(&self, position: usize) -> usize {
        self.windows.partition_point(|w| w.first <= position) - 1
    }

    /// Forgets all rows and keeps the storage.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Forgets all rows and the storage.
    pub fn drop_all(&mut self) {
        self.windows.clear();
        (self.rows, self.capacity) = (0, 0);
    }

    /// Forgets all rows but the first `rows`, and keeps the storage.
    pub fn truncate(&mut self, rows: usize) {
        for window in self.windows.iter_mut().rev() {
            if window.first + window.rows <= rows && window.rows > 0 {
                break;
            }
            window.rows = window.rows.min(rows.saturating_sub(window.first));
        }
        self.rows = self.rows.min(rows);
    }

    /// Makes room for `additional` rows with `make(capacity)`. On an error nothing has changed.
    ///
    /// # Errors
    /// [`Error::Limit`], before anything is made, for more windows than a memory may have; those of `make`.
    pub fn reserve(
        &mut self,
        additional: usize,
        growth: Growth,
        mut make: impl FnMut(usize) -> Result<B>,
    ) -> Result<()> {
        let (before, capacity_before) = (self.windows.len(), self.capacity);
        let mut missing = self.len().saturating_add(additional).saturating_sub(self.capacity());
        // However a memory grows, no window that is missing is smaller than it may be but the last.
        let need = before.saturating_add(missing.div_ceil(self.max_rows));
        if missing > 0 && need > MOST {
            return Err(Error::Limit {
                operation: "Memory::reserve",
                limit: "windows of one memory",
                need: need as u64,
                allowed: MOST as u64,
            });
        }
        while missing > 0 {
            let wanted = match growth {
                Growth::Doubling => missing.max(self.capacity()).max(SMALLEST),
                Growth::Exact => missing,
            };
            let capacity = wanted.min(self.max_rows);
            match make(capacity) {
                Ok(storage) => {
                    self.windows.push(Window { first: self.capacity, rows: 0, capacity, storage });
                    self.capacity += capacity;
                }
                Err(error) => {
                    self.windows.truncate(before);
                    self.capacity = capacity_before;
                    return Err(error);
                }
            }
            missing = missing.saturating_sub(capacity);
        }
        Ok(())
    }

    /// Fills `rows` reserved rows in order: calls `write(storage, first row within the window, rows of the input)` for
    /// every window that takes some. On an error of `write` there are as many rows as before.
    pub fn fill(
        &mut self,
        rows: usize,
        mut write: impl FnMut(&mut B, usize, Range<usize>) -> Result<()>,
    ) -> Result<()> {
        let before = self.len();
        let mut done = 0;
        let room = self.windows.partition_point(|window| window.rows == window.capacity);
        for window in &mut self.windows[room..] {
            let take = (window.capacity - window.rows).min(rows - done);
            if take == 0 {
                break;
            }
            if let Err(error) = write(&mut window.storage, window.rows, done..done + take) {
                self.truncate(before);
                return Err(error);
            }
            window.rows += take;
            self.rows += take;
            done += take;
        }
        debug_assert_eq!(done, rows, "fill takes rows that were reserved");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shapes(windows: &Windows<()>) -> Vec<(usize, usize, usize)> {
        windows.windows.iter().map(|w| (w.first, w.rows, w.capacity)).collect()
    }

    fn add(windows: &mut Windows<()>, rows: usize) {
        windows.reserve(rows, Growth::Doubling, |_| Ok(())).unwrap();
        windows.fill(rows, |(), _, _| Ok(())).unwrap();
    }

    #[test]
    fn grows_geometrically_up_to_the_largest_window() {
        let mut windows = Windows::new(300);
        for _ in 0..700 {
            add(&mut windows, 1);
        }
        assert_eq!(shapes(&windows), [(0, 64, 64), (64, 64, 64), (128, 128, 128), (256, 256, 256), (512, 188, 300)]);
        let mut one = Windows::new(1 << 20);
        add(&mut one, 100_003);
        assert_eq!(shapes(&one), [(0, 100_003, 100_003)]);
    }

    #[test]
    fn windows_smaller_than_the_smallest_are_kept() {
        let mut windows = Windows::new(3);
        add(&mut windows, 7);
        assert_eq!(shapes(&windows), [(0, 3, 3), (3, 3, 3), (6, 1, 3)]);
        windows.clear();
        assert_eq!((windows.len(), windows.capacity()), (0, 9));
        let mut parts = Vec::new();
        let mut note = |(): &mut (), at, range| {
            parts.push((at, range));
            Ok(())
        };
        windows.fill(4, &mut note).unwrap();
        assert_eq!(parts, [(0, 0..3), (0, 3..4)]);
    }

    #[test]
    fn a_failed_fill_forgets_what_it_filled() {
        let mut windows = Windows::new(3);
        add(&mut windows, 2);
        windows.reserve(6, Growth::Doubling, |_| Ok(())).unwrap();
        let before = shapes(&windows);
        let mut left = 2;
        let refused = windows.fill(6, |(), _, _| {
            left -= 1;
            if left < 0 { Err(Error::Empty { operation: "test" }) } else { Ok(()) }
        });
        assert!(refused.is_err());
        assert_eq!(shapes(&windows), before);
    }

    #[test]
    fn a_failed_reserve_changes_nothing() {
        let mut windows = Windows::new(10);
        add(&mut windows, 5);
        let before = shapes(&windows);
        let mut left = 2;
        let refused = windows.reserve(100, Growth::Doubling, |_| {
            left -= 1;
            if left < 0 { Err(Error::Empty { operation: "test" }) } else { Ok(()) }
        });
        assert!(refused.is_err());
        assert_eq!(shapes(&windows), before);
    }

    #[test]
    fn windows_are_made_again_as_they_were_and_cut_short() {
        let mut windows = Windows::new(100);
        for rows in [1, 7, 3] {
            windows.reserve(windows.capacity() + rows, Growth::Exact, |_| Ok(())).unwrap();
        }
        assert_eq!(shapes(&windows), [(0, 0, 1), (1, 0, 7), (8, 0, 3)]);
        windows.fill(10, |(), _, _| Ok(())).unwrap();
        windows.truncate(5);
        assert_eq!(shapes(&windows), [(0, 1, 1), (1, 4, 7), (8, 0, 3)]);
        add(&mut windows, 2);
        assert_eq!(shapes(&windows), [(0, 1, 1), (1, 6, 7), (8, 0, 3)]);
    }
}
