//! The native engine: `f32`, every core, tiled and online like the shaders. It serves the same API where there is no
//! GPU, and it shares no code with the reference that judges it.

mod merge;
mod projection;
mod retrieve;
mod separation;
mod similarity;

use crate::error::Result;
use crate::rule::Rule;
use crate::store::{Layout, Windows, pad_rows};

/// Rows of one window in host memory, padded as [`Layout`] says.
#[derive(Debug)]
struct Rows {
    keys: Vec<f32>,
    values: Option<Vec<f32>>,
}

/// Patterns in host memory and what retrieves from them.
#[derive(Debug)]
pub(crate) struct Engine {
    layout: Layout,
    rule: Rule,
    windows: Windows<Rows>,
}

impl Engine {
    pub fn new(layout: Layout, rule: Rule) -> Self {
        Self { layout, rule, windows: Windows::new(layout.max_rows) }
    }

    pub fn capacity(&self) -> usize {
        self.windows.capacity()
    }

    pub fn clear(&mut self) {
        self.windows.clear();
    }

    pub fn reserve(&mut self, additional: usize) -> Result<()> {
        let layout = self.layout;
        self.windows.reserve(additional, |rows| {
            let allocate = |floats: usize| {
                let mut storage = Vec::new();
                storage.try_reserve_exact(floats).map_err(|_| crate::Error::Limit {
                    operation: "Memory::reserve",
                    limit: "host memory (bytes)",
                    need: 4 * floats as u64,
                    allowed: isize::MAX as u64,
                })?;
                storage.resize(floats, 0.0);
                Ok(storage)
            };
            Ok(Rows {
                keys: allocate(rows * layout.key_stride())?,
                values: layout.value_dim.map(|_| allocate(rows * layout.value_stride())).transpose()?,
            })
        })
    }

    /// Stores rows whose shapes and finiteness have been checked and for which there is room.
    pub fn add(&mut self, keys: &[f32], values: Option<&[f32]>) {
        let layout = self.layout;
        let store = |to: &mut [f32], at: usize, rows: &[f32], columns: usize| {
            let rows = pad_rows(rows, columns);
            let at = at * crate::store::stride(columns);
            to[at..at + rows.len()].copy_from_slice(&rows);
        };
        self.windows.fill(keys.len() / layout.dim, |window, at, range| {
            store(&mut window.keys, at, &keys[range.start * layout.dim..range.end * layout.dim], layout.dim);
            if let (Some(to), Some(values), Some(columns)) = (&mut window.values, values, layout.value_dim) {
                store(to, at, &values[range.start * columns..range.end * columns], columns);
            }
        });
    }
}
