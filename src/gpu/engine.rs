//! Patterns on a device and what retrieves from them: rows in.

use std::sync::{Arc, Mutex};

use super::buffer::{self, Binding};
use super::context::Context;
use super::patterns::StoredRows;
use super::range::{Magnitudes, QueryRange, States};
use super::workspace::Workspace;
use crate::error::Result;
use crate::precision::Precision;
use crate::retrieval::options::RetrieveOptions;
use crate::rule::{Rule, Similarity};
use crate::store::{Alive, Growth, Layout, NewRows, Windows};
use crate::sync::unpoisoned;

/// Bytes of an upload after which pending writes are flushed on a device of ours.
const UPLOAD: usize = 32 << 20;

/// Patterns on a device and what retrieves from them.
#[derive(Debug)]
pub(crate) struct Engine {
    pub context: Arc<Context>,
    pub layout: Layout,
    pub rule: Rule,
    pub windows: Windows<StoredRows>,
    pub magnitudes: Magnitudes,
    /// The workspace that recordings share: on one queue, each is through with it before the next begins.
    pub recorded: Mutex<Option<Arc<Workspace>>>,
    /// The patterns that are left, as bits, since they last changed.
    pub left: Mutex<Option<Binding>>,
    /// Workspaces for retrievals of ours, which may span several submissions: one taken out by each.
    pub spare: Arc<Mutex<Vec<Arc<Workspace>>>>,
}

impl Engine {
    pub fn new(context: Arc<Context>, layout: Layout, rule: Rule) -> Self {
        let windows = Windows::new(layout.max_rows);
        let (recorded, left, spare) = (Mutex::default(), Mutex::default(), Arc::default());
        Self { context, layout, rule, windows, magnitudes: Magnitudes::default(), recorded, left, spare }
    }

    pub fn capacity(&self) -> usize {
        self.windows.capacity()
    }

    /// Other patterns are left than before.
    pub fn others_left(&mut self) {
        *unpoisoned(self.left.get_mut()) = None;
    }

    pub fn clear(&mut self) {
        self.windows.clear();
        self.magnitudes.clear();
    }

    /// Forgets all patterns and leaves their buffers to whoever still reads them.
    pub fn leave(&mut self) {
        self.windows.drop_all();
        self.magnitudes.clear();
    }

    pub fn has_terms(&self) -> bool {
        self.rule.similarity == Similarity::Cosine || self.layout.bias || self.layout.precision == Precision::I8
    }

    pub fn reserve(&mut self, additional: usize, growth: Growth) -> Result<()> {
        let (layout, terms) = (self.layout, self.has_terms());
        let context = self.context.clone();
        let usage = buffer::STORAGE | wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::COPY_SRC;
        self.windows.reserve(additional, growth, |rows| {
            context.present()?;
            let create = |label, row: usize| -> Result<Binding> {
                Ok(Binding::from(&buffer::create(&context, label, (rows * row) as u64, usage)?))
            };
            let element = layout.precision.bytes();
            Ok(StoredRows {
                keys: create("attractor.keys", element * layout.key_stride())?,
                values: match layout.value_dim {
                    Some(_) => Some(create("attractor.values", element * layout.value_stride())?),
                    None => None,
                },
                terms: if terms { Some(create("attractor.terms", 16)?) } else { None },
            })
        })
    }

    /// Stores rows whose shapes and finiteness have been checked and for which there is room.
    pub fn add(&mut self, rows: &NewRows<'_>) -> Result<()> {
        let Self { context, layout, rule, windows, magnitudes, .. } = self;
        magnitudes.try_reserve("Memory::add", rows.keys.len() / layout.dim, layout)?;
        let piece = (UPLOAD / (4 * layout.key_stride().max(layout.value_stride()))).max(1);
        let filled = windows.fill(rows.keys.len() / layout.dim, |window, at, range| {
            for start in range.clone().step_by(piece) {
                let end = range.end.min(start + piece);
                let part = rows.slice(start..end, layout.dim, layout.value_dim);
                magnitudes.add(context.write_rows(window, at + start - range.start, &part, layout, *rule)?);
                if end < range.end {
                    // An upload of gigabytes must not stage gigabytes.
                    context.flush()?;
                }
            }
            Ok(())
        });
        magnitudes.truncate(windows.len());
        filled
    }

    /// Replaces the row at `position`, which is stored.
    pub fn overwrite(&mut self, position: usize, rows: &NewRows<'_>) -> Result<()> {
        let (window, at) = self.windows.row(position);
        let written = self.context.write_rows(window, at, rows, &self.layout, self.rule)?;
        self.magnitudes.overwrite(position, &written);
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
        self.magnitudes.query_range(operation, self.rule, self.layout.dim, States::of(options), alive)
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
