//! The whole pipeline of a retrieval, as a list of dispatches: queries in blocks, patterns in windows and chunks.

use super::buffer::Binding;
use super::plan::{Plan, Regime, Shape};
use super::record::{Calls, fold};
use super::shader::Constant;
use super::workspace::Workspace;
use super::{Context, Recording, Rows, StoredRows, export, finish, merge, prepare, projection, separation};
use super::{similarity, stream};
use crate::error::Result;
use crate::store::{Layout, Window};

/// What a retrieval works on, besides the caller's buffers.
pub(crate) struct Task<'a> {
    pub context: &'a Context,
    pub layout: Layout,
    pub beta: f32,
    pub windows: Vec<&'a Window<StoredRows>>,
    pub plan: &'a Plan,
    pub shape: &'a Shape,
    pub workspace: &'a Workspace,
    pub steps: u32,
    pub stamp: u32,
    pub damage: Option<(&'static str, Constant)>,
}

/// Which sums a step asks for, in vectors of four columns.
#[derive(Clone, Copy)]
struct Wanted {
    keys: u32,
    values: u32,
}

impl Wanted {
    fn columns(self) -> u32 {
        self.keys + self.values
    }
}

impl<'a> Task<'a> {
    /// Every dispatch that answers `job`, in order.
    pub fn calls(&self, job: &Recording<'_>) -> Result<Calls<'a>> {
        let mut calls = Calls::new(self.context, self.damage);
        let count = job.count as u32;
        for first in (0..count).step_by(self.plan.query_block as usize) {
            let queries = self.plan.query_block.min(count - first);
            self.prepare(&mut calls, &job.queries, first, queries)?;
            for step in 1..=self.steps {
                let last = step == self.steps;
                // The next state is needed unless this is the last step and nobody looks at it.
                let keys = !last || self.shape.value_vectors == 0 || job.state.is_some() || job.report.is_some();
                let wanted = Wanted {
                    keys: if keys { self.shape.key_vectors } else { 0 },
                    values: if last { self.shape.value_vectors } else { 0 },
                };
                self.step(&mut calls, queries, wanted, step)?;
            }
            let workspace = self.workspace;
            let output = if self.shape.value_vectors == 0 { &workspace.state } else { &workspace.result };
            self.export(&mut calls, output, self.layout.output_dim(), &job.output, first, queries)?;
            if let Some(state) = &job.state {
                self.export(&mut calls, &workspace.state, self.layout.dim, state, first, queries)?;
            }
            if let Some(report) = &job.report {
                let words = finish::REPORT_WORDS as usize;
                self.export(&mut calls, &workspace.report, words, report, first, queries)?;
            }
        }
        Ok(calls)
    }

    /// One update of a block: every window chunk by chunk, each folded into the running state, then the new state.
    fn step(&self, calls: &mut Calls<'_>, queries: u32, wanted: Wanted, step: u32) -> Result<()> {
        let mut chunks = 0;
        for window in &self.windows {
            for first_row in (0..window.rows).step_by(self.plan.chunk() as usize) {
                let chunk = Chunk {
                    rows: &window.storage,
                    first_row: first_row as u32,
                    count: (window.rows - first_row).min(self.plan.chunk() as usize) as u32,
                };
                let splits = chunk.count.div_ceil(self.plan.rows_per_split);
                match self.plan.regime {
                    Regime::Stream => self.stream(calls, queries, wanted, &chunk, splits)?,
                    Regime::Tile => {
                        self.similarity(calls, queries, &chunk)?;
                        self.separation(calls, queries, &chunk, splits)?;
                        self.projection(calls, queries, wanted, &chunk, splits)?;
                    }
                }
                self.merge(calls, queries, wanted, splits, chunks)?;
                chunks += 1;
            }
        }
        self.finish(calls, queries, wanted, step, chunks)
    }

    fn prepare(&self, calls: &mut Calls<'_>, source: &Rows<'_>, first: u32, queries: u32) -> Result<()> {
        let columns = self.layout.dim as u32;
        let (binding, source_first, source_stride) = self.bind(source, columns, first, queries);
        let params = prepare::Params {
            queries,
            columns,
            vectors: self.shape.key_vectors,
            source_first,
            source_stride,
            padding: [0; 3],
        };
        let storage = [binding, self.workspace.state.clone(), self.workspace.flags.clone()];
        let cost = u64::from(queries) * u64::from(columns);
        calls.push(&prepare::KERNEL, &[], params, &storage, self.fold(queries), cost)
    }

    fn stream(
        &self,
        calls: &mut Calls<'_>,
        queries: u32,
        wanted: Wanted,
        chunk: &Chunk<'_>,
        splits: u32,
    ) -> Result<()> {
        let shape = stream::Shape::new(self.plan.stream.queries, wanted.columns());
        let params = stream::Params {
            queries,
            first_row: chunk.first_row,
            end_row: chunk.first_row + chunk.count,
            rows_per_split: self.plan.rows_per_split,
            splits,
            key_vectors: self.shape.key_vectors,
            value_vectors: self.shape.value_vectors,
            key_columns: wanted.keys,
            columns: wanted.columns(),
            beta: self.beta,
            padding: [0; 2],
        };
        let workspace = self.workspace;
        let storage = [
            workspace.state.clone(),
            (&chunk.rows.keys).into(),
            chunk.rows.values.as_ref().unwrap_or(&chunk.rows.keys).into(),
            workspace.stats.clone(),
            workspace.sums.clone(),
        ];
        let blocks = shape.blocks(wanted.columns());
        let grid = [splits, queries.div_ceil(shape.queries), blocks];
        let columns = 4 * (blocks * self.shape.key_vectors + wanted.columns());
        let cost = u64::from(queries) * u64::from(chunk.count) * u64::from(columns);
        calls.push(&stream::KERNEL, &shape.constants(), params, &storage, grid, cost)
    }

    fn similarity(&self, calls: &mut Calls<'_>, queries: u32, chunk: &Chunk<'_>) -> Result<()> {
        let params = similarity::Params {
            queries,
            first_row: chunk.first_row,
            rows: chunk.count,
            key_vectors: self.shape.key_vectors,
            score_stride: self.plan.score_stride(),
            beta: self.beta,
            padding: [0; 2],
        };
        let workspace = self.workspace;
        let storage = [workspace.state.clone(), (&chunk.rows.keys).into(), workspace.scores.clone()];
        let grid = [chunk.count.div_ceil(similarity::TILE), queries.div_ceil(similarity::TILE), 1];
        let cost = u64::from(queries) * u64::from(chunk.count) * u64::from(4 * self.shape.key_vectors);
        calls.push(&similarity::KERNEL, &[], params, &storage, grid, cost)
    }

    fn separation(&self, calls: &mut Calls<'_>, queries: u32, chunk: &Chunk<'_>, splits: u32) -> Result<()> {
        let params = separation::Params {
            queries,
            rows: chunk.count,
            rows_per_split: self.plan.rows_per_split,
            splits,
            score_stride: self.plan.score_stride(),
            padding: [0; 3],
        };
        let storage = [self.workspace.scores.clone(), self.workspace.stats.clone()];
        let cost = 8 * u64::from(queries) * u64::from(chunk.count);
        calls.push(&separation::KERNEL, &[], params, &storage, [splits, queries, 1], cost)
    }

    fn projection(
        &self,
        calls: &mut Calls<'_>,
        queries: u32,
        wanted: Wanted,
        chunk: &Chunk<'_>,
        splits: u32,
    ) -> Result<()> {
        let mut project = |source: &wgpu::Buffer, source_vectors: u32, first_column: u32| {
            let params = projection::Params {
                queries,
                first_row: chunk.first_row,
                rows: chunk.count,
                rows_per_split: self.plan.rows_per_split,
                splits,
                weight_vectors: self.plan.score_stride() / 4,
                source_vectors,
                first_column,
                columns: wanted.columns(),
                padding: [0; 3],
            };
            let storage = [self.workspace.scores.clone(), source.into(), self.workspace.sums.clone()];
            let grid = [source_vectors.div_ceil(projection::SIDE), queries.div_ceil(projection::TILE), splits];
            let cost = u64::from(queries) * u64::from(chunk.count) * u64::from(4 * source_vectors);
            calls.push(&projection::KERNEL, &[], params, &storage, grid, cost)
        };
        if wanted.keys > 0 {
            project(&chunk.rows.keys, wanted.keys, 0)?;
        }
        match &chunk.rows.values {
            Some(values) if wanted.values > 0 => project(values, wanted.values, wanted.keys),
            _ => Ok(()),
        }
    }

    fn merge(&self, calls: &mut Calls<'_>, queries: u32, wanted: Wanted, splits: u32, chunks: u32) -> Result<()> {
        let columns = wanted.columns();
        let params = merge::Params { splits, columns, slot: chunks % 2, first: u32::from(chunks == 0) };
        let workspace = self.workspace;
        let storage = [
            workspace.stats.clone(),
            workspace.sums.clone(),
            workspace.running_stats.clone(),
            workspace.running_sums.clone(),
        ];
        let grid = [columns.div_ceil(merge::side(columns)), queries, 1];
        let cost = 4 * u64::from(queries) * u64::from(splits) * u64::from(columns);
        calls.push(&merge::KERNEL, &merge::constants(columns), params, &storage, grid, cost)
    }

    fn finish(&self, calls: &mut Calls<'_>, queries: u32, wanted: Wanted, step: u32, chunks: u32) -> Result<()> {
        let params = finish::Params {
            queries,
            columns: wanted.columns(),
            key_columns: wanted.keys,
            slot: chunks % 2,
            step,
            stamp: self.stamp,
            padding: [0; 2],
        };
        let workspace = self.workspace;
        let storage = [
            workspace.running_stats.clone(),
            workspace.running_sums.clone(),
            workspace.flags.clone(),
            workspace.state.clone(),
            workspace.result.clone(),
            workspace.report.clone(),
        ];
        let cost = 4 * u64::from(queries) * u64::from(wanted.columns());
        calls.push(&finish::KERNEL, &[], params, &storage, self.fold(queries), cost)
    }

    fn export(
        &self,
        calls: &mut Calls<'_>,
        source: &Binding,
        columns: usize,
        target: &Rows<'_>,
        first: u32,
        rows: u32,
    ) -> Result<()> {
        let columns = columns as u32;
        let (binding, target_first, target_stride) = self.bind(target, columns, first, rows);
        let params = export::Params {
            rows,
            columns,
            source_stride: columns.next_multiple_of(4),
            target_first,
            target_stride,
            padding: [0; 3],
        };
        let cost = u64::from(rows) * u64::from(columns);
        calls.push(&export::KERNEL, &[], params, &[source.clone(), binding], self.fold(rows), cost)
    }

    /// Rows `first .. first + count` of a caller's buffer: a binding of just those, aligned as the device asks, the word
    /// at which they start within it, and the words from row to row.
    fn bind(&self, rows: &Rows<'_>, columns: u32, first: u32, count: u32) -> (Binding, u32, u32) {
        let stride = rows.stride(columns as usize);
        let begin = rows.offset + 4 * u64::from(first) * stride;
        let end = begin + 4 * (u64::from(count - 1) * stride + u64::from(columns));
        let alignment = u64::from(self.context.limits.min_storage_buffer_offset_alignment);
        let offset = begin / alignment * alignment;
        // Bindings are whole vectors where the buffer allows.
        let size = (end - offset).next_multiple_of(16).min(rows.buffer.size() - offset);
        let binding = Binding { buffer: rows.buffer.clone(), offset, size: Some(size) };
        (binding, ((begin - offset) / 4) as u32, stride as u32)
    }

    fn fold(&self, workgroups: u32) -> [u32; 3] {
        fold(workgroups, self.context.limits.max_compute_workgroups_per_dimension)
    }
}

/// Rows of one window that one dispatch takes.
struct Chunk<'a> {
    rows: &'a StoredRows,
    first_row: u32,
    count: u32,
}
