//! The engine of one memory: its patterns on a device, and how they are stored.

use std::sync::{Arc, Mutex};

use super::buffer::{self, Binding};
use super::context::Context;
use super::levels::StoredLevels;
use super::patterns::{SLOTS, StoredRows};
use super::plan::limits::MAX_PATTERNS;
use super::range::{Magnitudes, QueryRange, States, unshared};
use super::slots::SlotSize;
use super::workspace::Workspace;
use crate::error::{Error, Result};
use crate::precision::Precision;
use crate::retrieval::options::RetrieveOptions;
use crate::rule::{Rule, Similarity};
use crate::store::{Alive, Growth, HostRows, Layout, NewRows, Windows};
use crate::sync::{lock, unpoisoned};

/// Bytes of an upload after which pending writes are flushed.
const MAX_UPLOAD_BYTES: usize = 16 << 20;

/// Rows after which pending writes are flushed.
fn rows_per_flush(layout: &Layout) -> usize {
    (MAX_UPLOAD_BYTES / (4 * layout.key_stride().max(layout.value_stride()))).max(1)
}

/// Patterns on a device, and the workspaces of retrievals from them.
#[derive(Debug)]
pub(crate) struct Engine {
    pub context: Arc<Context>,
    pub layout: Layout,
    pub rule: Rule,
    /// Whether biases count.
    pub biased: bool,
    pub windows: Windows<StoredRows>,
    /// Shared with engines that [`Engine::frozen`] made.
    pub magnitudes: Arc<Magnitudes>,
    /// The workspace that recordings share: the commands of one queue run one after another.
    pub recording_workspace: Mutex<Option<Arc<Workspace>>>,
    /// One bit for each position, set where a pattern is stored. Absent until a retrieval needs it.
    pub live: Mutex<Option<Binding>>,
    /// Rows that the device holds all the time; the rows behind stream through slots, window by window.
    pub resident_rows: Option<usize>,
    /// The rows of the host, in an engine that answers while some stream.
    pub host: Option<Arc<dyn HostRows>>,
    /// Idle workspaces. A retrieval of several submissions takes one for itself.
    pub idle_workspaces: Arc<Mutex<Vec<Arc<Workspace>>>>,
}

impl Engine {
    pub fn new(context: Arc<Context>, layout: Layout, rule: Rule, resident_rows: Option<usize>) -> Self {
        let windows = Windows::new(layout.max_rows);
        Self {
            context,
            layout,
            rule,
            biased: true,
            windows,
            magnitudes: Arc::default(),
            recording_workspace: Mutex::default(),
            live: Mutex::default(),
            resident_rows,
            host: None,
            idle_workspaces: Arc::default(),
        }
    }

    /// This engine as it is now, which reads the same buffers. The rows stay as they are while the caller holds a
    /// [`Snapshot`](crate::store::Snapshot) that was taken together with it.
    pub fn frozen(&self) -> Self {
        Self {
            context: self.context.clone(),
            layout: self.layout,
            rule: self.rule,
            biased: self.biased,
            windows: self.windows.clone(),
            magnitudes: self.magnitudes.clone(),
            recording_workspace: Mutex::default(),
            live: Mutex::new(lock(&self.live).clone()),
            resident_rows: self.resident_rows,
            host: self.host.clone(),
            idle_workspaces: self.idle_workspaces.clone(),
        }
    }

    /// Whether `other` is on the same device.
    pub fn shares_device(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.context, &other.context)
    }

    pub fn capacity(&self) -> usize {
        self.windows.capacity()
    }

    /// Invalidates the cached mask of live patterns, after an insertion or a removal.
    pub fn invalidate_live_mask(&mut self) {
        *unpoisoned(self.live.get_mut()) = None;
    }

    /// Forgets all patterns and keeps their buffers for others.
    pub fn clear(&mut self) {
        self.windows.clear();
        self.magnitudes = Arc::default();
    }

    /// Forgets all patterns and their buffers, which live until the last job or recording that reads them is done.
    pub fn detach(&mut self) {
        self.windows.drop_all();
        self.magnitudes = Arc::default();
    }

    /// What one slot holds: the largest window.
    pub fn slot_size(&self) -> SlotSize {
        let [key, value, _] = self.row_sizes();
        SlotSize { rows: self.layout.max_rows, key, value }
    }

    /// Whether rows have terms ([`StoredRows::terms`]).
    pub fn has_terms(&self) -> bool {
        self.rule.similarity == Similarity::Cosine || self.layout.bias || self.layout.precision == Precision::I8
    }

    /// Makes room for `additional` rows.
    pub fn reserve(&mut self, additional: usize, growth: Growth) -> Result<()> {
        let need = (self.windows.len() as u64).saturating_add(additional as u64);
        if need > MAX_PATTERNS {
            return Err(Error::Limit {
                operation: "Memory::reserve",
                limit: "patterns of one memory on a GPU",
                need,
                allowed: MAX_PATTERNS,
            });
        }
        let (layout, rule, terms) = (self.layout, self.rule, self.has_terms());
        let context = self.context.clone();
        let resident = self.resident_rows.unwrap_or(usize::MAX);
        let (mut end, mut number) = (self.windows.capacity(), self.windows.count());
        let usage = buffer::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        self.windows.reserve(additional, growth, |rows| {
            context.check_alive()?;
            let create = |label, row: usize| -> Result<Binding> {
                Ok(Binding::from(&buffer::create(&context, label, (rows * row) as u64, usage)?))
            };
            let element = layout.precision.bytes();
            end += rows;
            number += 1;
            let slot = (end > resident).then_some(number % SLOTS);
            // Nothing reads what stands in for the slot.
            let rows_of = |label, row| if slot.is_none() { create(label, row) } else { create(label, 0) };
            Ok(StoredRows {
                keys: rows_of("attractor.keys", element * layout.key_stride())?,
                values: match layout.value_dim {
                    Some(_) => Some(rows_of("attractor.values", element * layout.value_stride())?),
                    None => None,
                },
                terms: if terms { Some(create("attractor.terms", 16)?) } else { None },
                slot,
                levels: StoredLevels::create(&context, &layout, rule.similarity, rows)?,
            })
        })
    }

    /// Stores rows, which have been validated and for which there is room.
    pub fn add(&mut self, rows: &NewRows<'_>) -> Result<()> {
        let Self { context, layout, rule, windows, magnitudes, .. } = self;
        let magnitudes = unshared("Memory::add", magnitudes)?;
        magnitudes.try_reserve("Memory::add", rows.keys.len() / layout.dim, layout)?;
        let piece = rows_per_flush(layout);
        let filled = windows.fill(rows.keys.len() / layout.dim, |window, at, range| {
            for start in range.clone().step_by(piece) {
                let end = range.end.min(start + piece);
                let part = rows.slice(start..end, layout.dim, layout.value_dim);
                magnitudes.add(context.write_rows(window, at + start - range.start, &part, layout, *rule)?);
                if end - start == piece {
                    // Writes are staged until they are submitted: a large upload must not stage all of itself.
                    context.flush()?;
                }
            }
            Ok(())
        });
        magnitudes.truncate(windows.len());
        filled
    }

    /// Replaces the rows at `positions`, which are in use, by `rows`, one each.
    pub fn overwrite(&mut self, positions: &[usize], rows: &NewRows<'_>) -> Result<()> {
        let Self { context, layout, rule, windows, magnitudes, .. } = self;
        let magnitudes = unshared("Memory::update", magnitudes)?;
        let piece = rows_per_flush(layout);
        for (i, position) in positions.iter().enumerate() {
            let (window, at) = windows.row(*position);
            let row = rows.slice(i..i + 1, layout.dim, layout.value_dim);
            magnitudes.overwrite(*position, &context.write_rows(window, at, &row, layout, *rule)?);
            if (i + 1).is_multiple_of(piece) {
                context.flush()?;
            }
        }
        Ok(())
    }

    /// The magnitudes that coordinates of a query may have.
    ///
    /// # Errors
    /// As [`Magnitudes::query_range`].
    pub fn query_range(
        &self,
        operation: &'static str,
        options: &RetrieveOptions,
        alive: Option<&Alive>,
    ) -> Result<QueryRange> {
        self.magnitudes.query_range(operation, self.rule, self.layout.dim, States::of(self.rule, options), alive)
    }

    /// Refuses queries (`n x d`, finite) that this device may not answer correctly.
    ///
    /// # Errors
    /// [`Error::Range`](crate::Error::Range), naming the row; those of [`Engine::query_range`].
    pub fn check_range(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        alive: Option<&Alive>,
    ) -> Result<()> {
        self.query_range(operation, options, alive)?.check(operation, queries, self.layout.dim)
    }
}
