//! The buffers that hold the patterns of one window on the device.

use super::buffer::Binding;
use super::levels::StoredLevels;
use crate::store::Window;

/// Slots through which windows stream.
pub(crate) const SLOTS: usize = 2;

/// Rows of one window, padded as [`Layout`](crate::store::Layout) says.
#[derive(Clone, Debug)]
pub(crate) struct StoredRows {
    pub keys: Binding,
    pub values: Option<Binding>,
    /// Four floats for each row: the factor of its similarity (1, or under cosine the inverse norm), its bias, and the
    /// scales of its key and value. Absent where every row would have 1, 0, 1, 1.
    pub terms: Option<Binding>,
    /// The slot that keys and values are in while they are worked on, if the device does not hold them all the time.
    /// A task then has the bindings of the slot, the memory has others, which nothing reads.
    pub slot: Option<usize>,
    /// The keys in 8 bits, where bounds of scores are computed from them.
    pub levels: Option<StoredLevels>,
}

/// Rows `first .. first + rows` of a memory, one window, that have to be in a slot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub slot: usize,
    pub first: usize,
    pub rows: usize,
    pub wanted: Wanted,
    pub sides: Sides,
}

/// Which sides of rows are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sides {
    pub keys: bool,
    pub values: bool,
}

impl Sides {
    pub const KEYS: Self = Self { keys: true, values: false };
}

/// Which rows of a window are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    All,
    /// Those that were listed the last time that the host read lists back, which it has done so often.
    Listed(u32),
}

/// What is in the slots, as dispatches are listed: windows by their first rows.
#[derive(Debug, Default)]
pub(crate) struct Loaded([Held; SLOTS]);

/// What a slot has of keys, and of values.
type Held = [Option<(usize, Wanted)>; 2];

impl Loaded {
    /// What has to be loaded before a dispatch reads `sides` of what is `wanted` of `window`, if anything; it is in its
    /// slot from then on.
    pub fn need(&mut self, window: &Window<StoredRows>, wanted: Wanted, sides: Sides) -> Option<Load> {
        let slot = window.storage.slot?;
        let Window { first, rows, .. } = *window;
        let has_values = window.storage.values.is_some();
        let held = &mut self.0[slot];
        let mut load = |side: usize, reads: bool| {
            let there = held[side].is_some_and(|(held, of)| held == first && (of == Wanted::All || of == wanted));
            let load = reads && !there;
            if load {
                held[side] = Some((first, wanted));
            }
            load
        };
        let sides = Sides { keys: load(0, sides.keys), values: load(1, sides.values && has_values) };
        (sides.keys || sides.values).then_some(Load { slot, first, rows, wanted, sides })
    }
}
