//! One dispatch for each kernel: its setting, parameters, bindings and grid.

use super::buffer::Binding;
use super::kernels::fused::{matrix, register, stream};
use super::kernels::rows::{compact_queries, copy_states, load_queries, write_rows};
use super::kernels::sparse::{bracket_threshold, filter_candidates, gather_support, merge_candidates, solve_threshold};
use super::kernels::staged::{merge, projection, separation, similarity, update_states, weights};
use super::plan::{LIST_CAPACITY, Regime};
use super::record::{Calls, Work, fold};
use super::retrieve::{Block, Kind, Task, Wanted};
use super::shader::{Constant, Substitution};
use super::{Place, StoredRows};
use crate::error::Result;
use crate::rule::{Separation, Similarity};
use crate::store::Precision;

/// Rows of one window that one dispatch takes.
pub(crate) struct Chunk<'a> {
    pub rows: &'a StoredRows,
    /// Where the window starts within the memory.
    pub window_first: u32,
    /// Where the chunk starts within the window.
    pub first_row: u32,
    pub count: u32,
    pub splits: u32,
}

/// Candidates, and patterns in a support, that work is counted for: how many there are is known on the device only.
const LIKELY: u32 = 256;

/// No constants set, no fragments substituted.
const PLAIN: (&[Constant], &[Substitution]) = (&[], &[]);

/// `gain = alpha - 1`, `margin = 1 / gain`, `exponent = 1 / gain`, as kernels take them. Under top-k no score is too low.
fn entmax(kind: Kind) -> (f32, f32, f32) {
    match kind {
        Kind::Entmax { gain } => (gain, 1.0 / gain, 1.0 / gain),
        _ => (1.0, 1.0e38, 1.0),
    }
}

/// `constants`, with how entmax weights are made, as `shaders/lib/entmax.wgsl` numbers it.
fn with_form(kind: Kind, constants: &[Constant]) -> Vec<Constant> {
    let mut constants = constants.to_vec();
    let form = match kind {
        Kind::Entmax { gain } if gain > 1.0 => 4,
        Kind::Entmax { gain: 0.5 } => 2,
        Kind::Entmax { gain } if gain < 1.0 => 3,
        // As the shader has it.
        _ => return constants,
    };
    constants.push(("FORM", form));
    constants
}

fn rule(kind: Kind) -> u32 {
    match kind {
        Kind::Softmax { .. } => 0,
        Kind::Entmax { .. } => 1,
        Kind::Top { .. } => 2,
    }
}

impl Task {
    /// Begins a block: its queries go into the states.
    pub async fn prepare(&self, calls: &Calls, source: &Place, block: Block) -> Result<()> {
        calls.begin_block(block.count);
        let columns = self.layout.dim as u32;
        let (binding, source_first, source_stride) = self.bind(source, columns, block.first, block.count);
        let grid = self.fold(block.count);
        let params = load_queries::Params {
            queries: block.count,
            columns,
            vectors: self.shape.key_vectors,
            source_first,
            source_stride,
            width: grid[0],
            smallest: self.query_range.smallest,
            largest: self.query_range.largest,
        };
        let storage = [&binding, &self.workspace.state, &self.workspace.flags];
        let words = u64::from(block.count) * u64::from(columns + 4 * self.shape.key_vectors);
        let work = Work { flops: 0, bytes: 4 * words };
        calls.push(&load_queries::KERNEL, PLAIN, params, &storage, grid, work).await
    }

    /// Those of `source` (or all) whose flags have none of the bits of `stopped` to `chosen`, the others to `rest`.
    pub async fn compact(
        &self,
        calls: &Calls,
        block: Block,
        source: Option<&Binding>,
        stopped: u32,
        chosen: &Binding,
        rest: &Binding,
    ) -> Result<()> {
        let params =
            compact_queries::Params { queries: block.count, from_source: source.is_some().into(), stopped, padding: 0 };
        // Without a source, any buffer that the dispatch does not write stands in for it.
        let storage = [source.unwrap_or(&self.workspace.state), &self.workspace.flags, chosen, rest];
        let work = Work { flops: 0, bytes: 12 * u64::from(block.count) };
        calls.push(&compact_queries::KERNEL, PLAIN, params, &storage, [1, 1, 1], work).await
    }

    /// Copies the states of `queries`, normalised if asked.
    pub async fn copy(
        &self,
        calls: &Calls,
        block: Block,
        queries: &Binding,
        from: &Binding,
        to: &Binding,
        normalize: bool,
    ) -> Result<()> {
        let params = copy_states::Params { vectors: self.shape.key_vectors, padding: [0; 3] };
        let constants = [("NORMALIZE", u32::from(normalize))];
        let vectors = u64::from(block.count) * u64::from(self.shape.key_vectors);
        let work = Work { flops: if normalize { 12 * vectors } else { 0 }, bytes: 32 * vectors };
        calls
            .push(&copy_states::KERNEL, (&constants, &[]), params, &[queries, from, to], [block.count, 1, 1], work)
            .await
    }

    pub async fn stream(
        &self,
        calls: &Calls,
        block: Block,
        cue: &Binding,
        queries: &Binding,
        wanted: Wanted,
        chunk: &Chunk<'_>,
    ) -> Result<()> {
        let columns = wanted.columns();
        let stream = stream::Shape::new(self.plan.stream.queries, columns);
        let hold = self.plan.hold.summing(columns, wanted.keys);
        let holds = self.plan.regime == Regime::Hold;
        let cooperate = self.plan.cooperate.filter(|_| self.plan.regime == Regime::Cooperate);
        let cooperate = cooperate.map(|cooperate| cooperate.summing(columns, wanted.keys));
        let (keep, keep_first, keep_stride) = self.keep(block, &chunk.rows.keys);
        let params = stream::Params {
            keep_first,
            keep_stride,
            window_first: chunk.window_first,
            first_row: chunk.first_row,
            end_row: chunk.first_row + chunk.count,
            rows_per_split: self.plan.rows_per_split,
            splits: chunk.splits,
            key_vectors: self.shape.key_vectors,
            value_vectors: self.shape.value_vectors,
            key_columns: wanted.keys,
            columns,
            beta: self.rule.beta,
        };
        let workspace = &self.workspace;
        let keys = &chunk.rows.keys;
        let storage = [
            queries,
            cue,
            keys,
            chunk.rows.values.as_ref().unwrap_or(keys),
            chunk.rows.terms.as_ref().unwrap_or(keys),
            keep,
            &workspace.stats,
            &workspace.sums,
        ];
        let (each, blocks) = match &cooperate {
            Some(cooperate) => (cooperate.group(), cooperate.blocks(columns)),
            None if holds => (hold.group(), hold.blocks(columns)),
            None => (stream.queries, stream.blocks(columns)),
        };
        // Halves that make up what is multiplied.
        let parts = cooperate.map_or(1, |cooperate| u64::from(cooperate.parts));
        let grid = [chunk.splits, block.count.div_ceil(each), blocks];
        let (count, rows) = (u64::from(block.count), u64::from(chunk.count));
        let groups = u64::from(grid[1]);
        let (keys_read, sums) = (u64::from(blocks * self.shape.key_vectors), u64::from(columns));
        // Keys that are summed are still in cache from their scores.
        let payload = rows * self.stored_bytes(blocks * self.shape.key_vectors + wanted.values);
        let partials = count * u64::from(chunk.splits) * (8 + 16 * sums);
        let cues = groups * u64::from(chunk.splits) * u64::from(each) * 16 * keys_read;
        let work = Work {
            flops: parts * count * rows * 8 * (keys_read + sums),
            bytes: groups * (payload + rows * term_bytes(chunk)) + cues + partials,
        };
        let (kernel, mut constants, fragments) = match &cooperate {
            Some(cooperate) => (&matrix::KERNEL, cooperate.constants(), cooperate.fragments()),
            None if holds => {
                let fragments = self.compared_fragments().into_iter().chain(hold.fragments()).collect();
                (&register::KERNEL, hold.constants(), fragments)
            }
            None => (&stream::KERNEL, stream.constants(), self.compared_fragments()),
        };
        constants.extend(self.compared_constants(chunk));
        calls.push(kernel, (&constants, &fragments), params, &storage, grid, work).await
    }

    /// The scores of a chunk.
    pub async fn similarity(
        &self,
        calls: &Calls,
        block: Block,
        cue: &Binding,
        queries: &Binding,
        chunk: &Chunk<'_>,
    ) -> Result<()> {
        let params = similarity::Params {
            score_stride: self.staged.score_stride(),
            rows_per_split: similarity::ROWS,
            ..similarity::Params::default()
        };
        let tiles = chunk.count.div_ceil(similarity::ROWS);
        let scores = u64::from(block.count) * u64::from(chunk.count);
        let more = Work { flops: 0, bytes: 4 * scores };
        self.compare(calls, block, cue, queries, chunk, params, tiles, more).await
    }

    /// Trial thresholds over the scores of a chunk, none of which is kept; the first chunk of a pass is `fresh`.
    #[expect(clippy::too_many_arguments, reason = "a dispatch has as many")]
    pub async fn trial(
        &self,
        calls: &Calls,
        block: Block,
        cue: &Binding,
        queries: &Binding,
        chunk: &Chunk<'_>,
        kind: Kind,
        trial: similarity::Trial,
        fresh: bool,
    ) -> Result<()> {
        let (gain, margin, exponent) = entmax(kind);
        let params = similarity::Params {
            score_stride: similarity::ROWS,
            trial: trial as u32,
            fresh: fresh.into(),
            rows_per_split: self.searching.rows_per_split,
            splits: self.searching.splits,
            split_stride: block.count * similarity::ROWS,
            gain,
            margin,
            exponent,
            ..similarity::Params::default()
        };
        // The first chunk clears the splits that it has no patterns for, too.
        let splits = if fresh { self.searching.splits } else { chunk.splits };
        let more = scanned(block, chunk, 4 * u64::from(similarity::STEPS), 4);
        self.compare(calls, block, cue, queries, chunk, params, splits, more).await
    }

    /// What `params` say of the scores of a chunk, by `groups` workgroups for as many queries as one takes: the product
    /// and `more`.
    #[expect(clippy::too_many_arguments, reason = "a dispatch has as many")]
    async fn compare(
        &self,
        calls: &Calls,
        block: Block,
        cue: &Binding,
        queries: &Binding,
        chunk: &Chunk<'_>,
        params: similarity::Params,
        groups: u32,
        more: Work,
    ) -> Result<()> {
        let (keep, keep_first, keep_stride) = self.keep(block, &chunk.rows.keys);
        let params = similarity::Params {
            keep_first,
            keep_stride,
            window_first: chunk.window_first,
            first_row: chunk.first_row,
            rows: chunk.count,
            key_vectors: self.shape.key_vectors,
            beta: self.rule.beta,
            ..params
        };
        let workspace = &self.workspace;
        let keys = &chunk.rows.keys;
        let terms = chunk.rows.terms.as_ref().unwrap_or(keys);
        let storage = [queries, cue, keys, terms, keep, &workspace.scores, &workspace.brackets, &workspace.given];
        let grid = [groups, block.count.div_ceil(self.staged.tile_queries()), 1];
        let (count, rows) = (u64::from(block.count), u64::from(chunk.count));
        let vectors = self.shape.key_vectors;
        let work = Work {
            flops: count * rows * 8 * u64::from(vectors) + more.flops,
            bytes: u64::from(grid[1]) * rows * (self.stored_bytes(vectors) + term_bytes(chunk))
                + rows.div_ceil(similarity::ROWS.into()) * count * 16 * u64::from(vectors)
                + more.bytes,
        };
        // One kernel for scores that are kept and those that are tried, or their bits might differ.
        let mut constants = with_form(self.kind(), &[("EACH", self.staged.each)]);
        constants.extend(self.compared_constants(chunk));
        let setting = (&constants[..], &self.compared_fragments()[..]);
        calls.push(&similarity::KERNEL, setting, params, &storage, grid, work).await
    }

    pub async fn separation(&self, calls: &Calls, block: Block, queries: &Binding, chunk: &Chunk<'_>) -> Result<()> {
        let params = separation::Params {
            rows: chunk.count,
            rows_per_split: self.staged.rows_per_split,
            splits: chunk.splits,
            score_stride: self.staged.score_stride(),
            padding: [0; 4],
        };
        let storage = [queries, &self.workspace.scores, &self.workspace.stats];
        let grid = [chunk.splits, block.count, 1];
        calls.push(&separation::KERNEL, PLAIN, params, &storage, grid, scanned(block, chunk, 4, 12)).await
    }

    /// Picks from the scores of a chunk those that may enter the lists.
    pub async fn sift(
        &self,
        calls: &Calls,
        block: Block,
        queries: &Binding,
        chunk: &Chunk<'_>,
        kind: Kind,
        first: bool,
    ) -> Result<()> {
        let (_, margin, _) = entmax(kind);
        let (top, k) = top_of(kind);
        let spans = chunk.count.div_ceil(filter_candidates::SPAN);
        let params = filter_candidates::Params {
            first: first.into(),
            first_pattern: chunk.window_first + chunk.first_row,
            rows: chunk.count,
            score_stride: self.staged.score_stride(),
            spans,
            room: self.staged.room(),
            k,
            margin,
        };
        let workspace = &self.workspace;
        let storage = [queries, &workspace.scores, &workspace.heads, &workspace.picked, &workspace.segments];
        let setting = (&[("TOP", top)][..], &[][..]);
        let grid = [spans, block.count, 1];
        calls.push(&filter_candidates::KERNEL, setting, params, &storage, grid, scanned(block, chunk, 2, 4)).await
    }

    /// Folds what was picked from a chunk into the lists.
    pub async fn candidates(
        &self,
        calls: &Calls,
        block: Block,
        queries: &Binding,
        chunk: &Chunk<'_>,
        kind: Kind,
        first: bool,
    ) -> Result<()> {
        let (_, margin, _) = entmax(kind);
        let (top, k) = top_of(kind);
        let spans = chunk.count.div_ceil(filter_candidates::SPAN);
        let params = merge_candidates::Params {
            first: first.into(),
            spans,
            room: self.staged.room(),
            capacity: LIST_CAPACITY,
            k,
            margin,
            padding: [0; 2],
        };
        let workspace = &self.workspace;
        let storage = [queries, &workspace.picked, &workspace.segments, &workspace.heads, &workspace.list];
        let grid = [block.count, 1, 1];
        let setting = (&[("TOP", top)][..], &[][..]);
        let heads = u64::from(block.count) * u64::from(spans);
        let work = Work { flops: heads, bytes: 16 * heads };
        calls.push(&merge_candidates::KERNEL, setting, params, &storage, grid, work).await
    }

    /// Lists to supports; under `scores` top-k lists keep their scores.
    pub async fn threshold(
        &self,
        calls: &Calls,
        block: Block,
        queries: &Binding,
        kind: Kind,
        scores: bool,
    ) -> Result<()> {
        let (gain, margin, exponent) = entmax(kind);
        let (top, k) = top_of(kind);
        let params = solve_threshold::Params { capacity: LIST_CAPACITY, k, margin, gain, exponent, padding: [0; 3] };
        let workspace = &self.workspace;
        let storage = [queries, &workspace.flags, &workspace.heads, &workspace.list, &workspace.records];
        let constants = with_form(kind, &[("TOP", top), ("SCORES", scores.into())]);
        let entries = u64::from(block.count) * u64::from(LIKELY);
        let work = Work { flops: 34 * 4 * entries, bytes: 16 * entries };
        calls.push(&solve_threshold::KERNEL, (&constants, &[]), params, &storage, [block.count, 1, 1], work).await
    }

    pub async fn refine(
        &self,
        calls: &Calls,
        block: Block,
        queries: &Binding,
        kind: Kind,
        stage: u32,
        slot: u32,
    ) -> Result<()> {
        let (_, margin, _) = entmax(kind);
        // The largest weight is at least 1/N; that of a pivot may be as small as any that an f32 holds.
        let lowest = if kind.is_steep() { -87.0 } else { -(self.shape.patterns as f32).ln() };
        let params = bracket_threshold::Params {
            stage,
            slot,
            k: top_of(kind).1,
            softmax1: (kind == Kind::Softmax { one_more: true }).into(),
            lowest,
            margin,
            pivot: (kind.is_steep()
                && [bracket_threshold::OPEN, bracket_threshold::APPROACH, bracket_threshold::TURN].contains(&stage))
            .into(),
            splits: self.searching.splits,
        };
        let workspace = &self.workspace;
        let storage = [
            queries,
            &workspace.running_stats,
            &workspace.heads,
            &workspace.given,
            &workspace.brackets,
            &workspace.records,
        ];
        let setting = (&[("RULE", rule(kind))][..], &[][..]);
        let grid = [block.count, 1, 1];
        let trials = u64::from(block.count) * u64::from(self.searching.splits * similarity::GIVEN);
        let work = match stage {
            bracket_threshold::OPEN => Work { flops: 0, bytes: 32 * u64::from(block.count) },
            _ => Work { flops: trials, bytes: 4 * trials },
        };
        calls.push(&bracket_threshold::KERNEL, setting, params, &storage, grid, work).await
    }

    pub async fn weigh(
        &self,
        calls: &Calls,
        block: Block,
        queries: &Binding,
        chunk: &Chunk<'_>,
        kind: Kind,
        first: bool,
    ) -> Result<()> {
        let (gain, margin, exponent) = entmax(kind);
        let params = weights::Params {
            first: first.into(),
            rows: chunk.count,
            score_stride: self.staged.score_stride(),
            splits: chunk.splits,
            gain,
            exponent,
            margin,
            padding: 0,
        };
        let workspace = &self.workspace;
        let storage = [queries, &workspace.records, &workspace.scores, &workspace.tallies, &workspace.stats];
        let constants = with_form(kind, &[("RULE", rule(kind))]);
        let setting = (&constants[..], &[][..]);
        calls.push(&weights::KERNEL, setting, params, &storage, [block.count, 1, 1], scanned(block, chunk, 10, 8)).await
    }

    /// Sums the rows of every query's support, window by window.
    pub async fn gather(&self, calls: &Calls, block: Block, queries: &Binding, wanted: Wanted) -> Result<()> {
        let workspace = &self.workspace;
        for (i, window) in self.windows.iter().enumerate() {
            let rows = &window.storage;
            let values = rows.values.as_ref().filter(|_| wanted.values > 0);
            let keys = (wanted.keys > 0).then_some((&rows.keys, wanted.keys, 0, 0u32));
            for (source, source_vectors, first_column, values) in
                keys.into_iter().chain(values.map(|values| (values, wanted.values, wanted.keys, 1)))
            {
                let side = gather_support::side(source_vectors);
                let params = gather_support::Params {
                    capacity: LIST_CAPACITY,
                    window_first: window.first as u32,
                    window_rows: window.rows as u32,
                    source_vectors,
                    first_column,
                    columns: wanted.columns(),
                    first: (i == 0).into(),
                    padding: 0,
                };
                let storage = [
                    queries,
                    &workspace.heads,
                    &workspace.records,
                    &workspace.list,
                    source,
                    rows.terms.as_ref().unwrap_or(source),
                    &workspace.running_stats,
                    &workspace.running_sums,
                ];
                let constants = [("COLUMNS", side), ("VALUES", values)];
                let grid = [source_vectors.div_ceil(side), block.count, 1];
                // All of a likely support in every window: an upper bound.
                let rows = u64::from(block.count) * u64::from(LIKELY);
                let work = Work {
                    flops: rows * 8 * u64::from(source_vectors),
                    bytes: rows * (8 * u64::from(grid[0]) + self.stored_bytes(source_vectors)),
                };
                let setting = (&constants[..], &self.stored_fragments()[..]);
                calls.push(&gather_support::KERNEL, setting, params, &storage, grid, work).await?;
            }
        }
        Ok(())
    }

    pub async fn projection(
        &self,
        calls: &Calls,
        block: Block,
        queries: &Binding,
        wanted: Wanted,
        chunk: &Chunk<'_>,
    ) -> Result<()> {
        let values = chunk.rows.values.as_ref().filter(|_| wanted.values > 0);
        let keys = (wanted.keys > 0).then_some((&chunk.rows.keys, wanted.keys, 0, 0u32));
        for (source, source_vectors, first_column, values) in
            keys.into_iter().chain(values.map(|values| (values, wanted.values, wanted.keys, 1)))
        {
            let params = projection::Params {
                first_row: chunk.first_row,
                rows: chunk.count,
                rows_per_split: self.staged.rows_per_split,
                splits: chunk.splits,
                weight_vectors: self.staged.score_stride() / 4,
                source_vectors,
                first_column,
                columns: wanted.columns(),
                padding: [0; 4],
            };
            let terms = chunk.rows.terms.as_ref().unwrap_or(source);
            let storage = [queries, &self.workspace.scores, source, terms, &self.workspace.sums];
            let (wide, tile) = (projection::wide(source_vectors), self.staged.tile_queries());
            let grid =
                [source_vectors.div_ceil(projection::side(source_vectors)), block.count.div_ceil(tile), chunk.splits];
            let (count, rows) = (u64::from(block.count), u64::from(chunk.count));
            let work = Work {
                flops: count * rows * 8 * u64::from(source_vectors),
                bytes: u64::from(grid[0]) * 4 * count * rows
                    + u64::from(grid[1]) * rows * self.stored_bytes(source_vectors)
                    + count * u64::from(chunk.splits) * 16 * u64::from(source_vectors),
            };
            let constants = [("EACH", self.staged.each), ("WIDE", wide), ("VALUES", values)];
            let setting = (&constants[..], &self.stored_fragments()[..]);
            calls.push(&projection::KERNEL, setting, params, &storage, grid, work).await?;
        }
        Ok(())
    }

    pub async fn merge(
        &self,
        calls: &Calls,
        block: Block,
        queries: &Binding,
        wanted: Wanted,
        splits: u32,
        chunks: u32,
    ) -> Result<()> {
        let columns = wanted.columns();
        let params = merge::Params { splits, columns, slot: chunks % 2, first: u32::from(chunks == 0) };
        let workspace = &self.workspace;
        let storage = [queries, &workspace.stats, &workspace.sums, &workspace.running_stats, &workspace.running_sums];
        // Without columns one workgroup still merges the statistics.
        let side = merge::side(columns);
        let grid = [columns.div_ceil(side).max(1), block.count, 1];
        let partials = u64::from(block.count) * u64::from(splits);
        let columns = u64::from(columns);
        let work = Work { flops: partials * 8 * columns, bytes: partials * (8 + 16 * columns) };
        let setting = (&[("COLUMNS", side)][..], &[][..]);
        calls.push(&merge::KERNEL, setting, params, &storage, grid, work).await
    }

    pub async fn finish(
        &self,
        calls: &Calls,
        block: Block,
        queries: &Binding,
        wanted: Wanted,
        step: u32,
        slot: u32,
    ) -> Result<()> {
        // The result is the values' part, or with clamped keys all of it, before the clamp.
        let result_from = match (self.shape.value_vectors, &self.known) {
            (0, Some(_)) => 0,
            (0, None) => wanted.columns(),
            _ => wanted.keys,
        };
        let known = self.known.as_ref();
        let stride = known.map_or(0, |bits| bits.stride);
        let params = update_states::Params {
            columns: wanted.columns(),
            key_columns: wanted.keys,
            result_from,
            slot,
            step,
            stamp: self.stamp,
            known_first: block.first * stride,
            known_stride: stride,
            tolerance: self.tolerance,
            stops_early: self.stops_early.into(),
            padding: [0; 2],
        };
        let workspace = &self.workspace;
        let storage = [
            queries,
            &workspace.running_stats,
            &workspace.running_sums,
            known.map_or(queries, |bits| &bits.words),
            &workspace.flags,
            &workspace.state,
            &workspace.result,
            &workspace.report,
        ];
        let constants = [
            ("SOFTMAX1", u32::from(self.rule.separation == Separation::Softmax1)),
            ("CLAMP", u32::from(known.is_some())),
        ];
        let vectors = u64::from(block.count) * u64::from(wanted.columns());
        let work = Work { flops: 16 * vectors, bytes: 48 * vectors };
        calls.push(&update_states::KERNEL, (&constants, &[]), params, &storage, [block.count, 1, 1], work).await
    }

    /// Rows of `columns` words, padded to whole vectors, of the queries of a block.
    pub async fn export(
        &self,
        calls: &Calls,
        source: &Binding,
        columns: u32,
        target: &Place,
        block: Block,
    ) -> Result<()> {
        self.export_strided(calls, source, columns, columns.next_multiple_of(4), 0, target, block).await
    }

    /// Rows of `columns` words, `source_stride` apart from word `source_first`.
    #[expect(clippy::too_many_arguments, reason = "a dispatch has as many")]
    pub async fn export_strided(
        &self,
        calls: &Calls,
        source: &Binding,
        columns: u32,
        source_stride: u32,
        source_first: u32,
        target: &Place,
        block: Block,
    ) -> Result<()> {
        let (binding, target_first, target_stride) = self.bind(target, columns, block.first, block.count);
        let grid = self.fold(block.count);
        let params = write_rows::Params {
            rows: block.count,
            columns,
            source_first,
            source_stride,
            target_first,
            target_stride,
            width: grid[0],
            padding: 0,
        };
        let work = Work { flops: 0, bytes: 8 * u64::from(block.count) * u64::from(columns) };
        calls.push(&write_rows::KERNEL, PLAIN, params, &[source, &binding], grid, work).await
    }

    /// The weights of a chunk, of `count` queries from `slot`, into rows from `row` of a target as wide as the memory.
    pub async fn export_weights(
        &self,
        calls: &Calls,
        chunk: &Chunk<'_>,
        target: &Place,
        row: u32,
        slot: u32,
        count: u32,
    ) -> Result<()> {
        let stride = self.staged.score_stride();
        let at = chunk.window_first + chunk.first_row;
        let rows = Place {
            buffer: target.buffer.clone(),
            offset: target.offset + 4 * u64::from(at),
            stride: Some(self.shape.patterns as u32),
        };
        let block = Block { first: row, count };
        self.export_strided(calls, &self.workspace.scores, chunk.count, stride, slot * stride, &rows, block).await
    }

    /// Rows `first .. first + count` of a caller's buffer: a binding of just those, aligned as the device asks, the word
    /// at which they start within it, and the words from row to row.
    fn bind(&self, rows: &Place, columns: u32, first: u32, count: u32) -> (Binding, u32, u32) {
        let stride = rows.stride(columns as usize);
        let begin = rows.offset + 4 * u64::from(first) * stride;
        let end = begin + 4 * (u64::from(count - 1) * stride + u64::from(columns));
        let alignment = u64::from(self.context.limits.min_storage_buffer_offset_alignment);
        let offset = begin / alignment * alignment;
        // Bindings are whole vectors where the buffer allows.
        let size = (end - offset).next_multiple_of(16).min(rows.buffer.size().saturating_sub(offset));
        let binding = Binding { buffer: rows.buffer.clone(), offset, size: Some(size) };
        (binding, ((begin - offset) / 4) as u32, stride as u32)
    }

    /// The bits that say which patterns may be used, the block's first word and the words from query to query. Without a
    /// mask `other` stands in.
    fn keep<'b>(&'b self, block: Block, other: &'b Binding) -> (&'b Binding, u32, u32) {
        match &self.keep {
            Some(bits) => (&bits.words, block.first * bits.stride, bits.stride),
            None => (other, 0, 0),
        }
    }

    fn compared_constants(&self, chunk: &Chunk<'_>) -> [Constant; 2] {
        [("TERMS", chunk.rows.terms.is_some().into()), ("KEEP", self.keep.is_some().into())]
    }

    fn compared_fragments(&self) -> Vec<Substitution> {
        let mut fragments = self.stored_fragments();
        match self.rule.similarity {
            Similarity::Dot | Similarity::Cosine => {}
            Similarity::Euclidean => fragments.push(("lib/compare_dot", "lib/compare_euclidean")),
            Similarity::Manhattan => fragments.push(("lib/compare_dot", "lib/compare_manhattan")),
        }
        fragments
    }

    fn stored_fragments(&self) -> Vec<Substitution> {
        match self.layout.precision {
            Precision::F32 => vec![],
            Precision::F16 => vec![("lib/stored_f32", "lib/stored_f16")],
            Precision::I8 => vec![("lib/stored_f32", "lib/stored_i8")],
        }
    }

    /// Bytes of `vectors` vectors of a stored row.
    fn stored_bytes(&self, vectors: u32) -> u64 {
        4 * u64::from(vectors) * self.layout.precision.bytes() as u64
    }

    fn fold(&self, workgroups: u32) -> [u32; 3] {
        fold(workgroups, self.context.limits.max_compute_workgroups_per_dimension)
    }
}

/// Whether a kernel selects the largest, and how many.
fn top_of(kind: Kind) -> (u32, u32) {
    match kind {
        Kind::Top { k } => (1, k),
        _ => (0, 0),
    }
}

/// Bytes of a pattern's terms, where there are any.
fn term_bytes(chunk: &Chunk<'_>) -> u64 {
    if chunk.rows.terms.is_some() { 16 } else { 0 }
}

/// Going through the scores of a chunk, with so many operations and bytes for each.
fn scanned(block: Block, chunk: &Chunk<'_>, operations: u64, bytes: u64) -> Work {
    let scores = u64::from(block.count) * u64::from(chunk.count);
    Work { flops: operations * scores, bytes: bytes * scores }
}
