//! The plan: which kernels, tiles and splits serve a shape on a device. The one place that holds sizes: everything a
//! recording allocates or dispatches follows from here, and two recordings under one plan compute the same bits.

use super::kernels::fused::{matrix, register, stream};
use super::kernels::rows::{compact_queries, copy_states, load_queries, write_rows};
use super::kernels::sparse::{bracket_threshold, filter_candidates, gather_support, merge_candidates, solve_threshold};
use super::kernels::staged::{merge, projection, separation, similarity, update_states, weights};
use super::matrices::Ability;
use super::shader::Constant;
use crate::tuning::Tuning;

/// The most loop iterations that one invocation may make. Mesa's software drivers silently end an invocation after
/// 65,535, summed over nested loops (seen with Mesa 22.3); the counts below take nothing as unrolled.
pub const ITERATION_LIMIT: u64 = 60_000;
/// The most floats of one key or value on a GPU: a row's own loops must stay within [`ITERATION_LIMIT`].
pub const MAX_DIM: usize = 65_536;
/// Bytes of partial sums that a recording may hold.
const SCRATCH: u64 = 10 << 20;
/// Bytes of states, running sums and results that a recording may hold.
const ROWS: u64 = 24 << 20;
/// Bytes of all that a recording may hold beside patterns, queries and answers: the chunks of scores get what is left.
const WORKSPACE: u64 = 62 << 20;
/// Entries of a list of candidates.
pub const LIST_CAPACITY: u32 = 4096;
/// The most patterns that a list selects while it is filled; it needs room beside them.
pub const LIST_TOP: u32 = 1024;

/// How queries are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// Every stage fused over splits of the patterns: reads each pattern once for few queries.
    Stream,
    /// Every stage fused over splits of the patterns, each invocation with queries of its own: shares each pattern among
    /// many queries that are narrow enough to be held in registers.
    Hold,
    /// Every stage fused over splits of the patterns, products by cooperative matrices of halves: shares each pattern among
    /// many queries, where patterns are stored as halves and the device multiplies such matrices.
    Cooperate,
    /// Stage by stage over chunks of scores: shares each pattern among many queries.
    Tile,
}

/// Overrides of a plan. Any setting gives a right answer; sizes are rounded to what the kernels take.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hints {
    /// The regime.
    pub regime: Option<Regime>,
    /// Patterns of one split.
    pub rows_per_split: Option<u32>,
    /// Splits of one dispatch.
    pub splits: Option<u32>,
    /// Queries of one pass over the memory.
    pub query_block: Option<u32>,
    /// Queries of one invocation of a tile: 4, or 8.
    pub each: Option<u32>,
    /// Allocate fresh workspace filled with garbage, to show that nothing reads what it did not write.
    pub garbage: bool,
    /// Lift [`ITERATION_LIMIT`], to show that it is needed.
    pub unbounded: bool,
    /// Set one constant of one kernel behind the plan's back, to show that a wrong kernel is caught.
    pub damage: Option<(&'static str, Constant)>,
}

/// What a plan depends on, besides the device's [`Tuning`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes or no of its own")]
pub struct Shape {
    /// Queries of the batch that is planned for.
    pub batch: u64,
    /// Stored patterns.
    pub patterns: u64,
    /// Vectors of four floats in a key.
    pub key_vectors: u32,
    /// Vectors of four floats in a value; 0 where keys are their own values.
    pub value_vectors: u32,
    /// Whether the device has subgroups.
    pub subgroups: bool,
    /// Whether kernels with much that is unrolled take its compiler seconds: an invocation then holds less.
    pub unrolls_slowly: bool,
    /// What cooperative matrices the device has, where they serve the rule and how patterns are stored.
    pub cooperate: Option<Ability>,
    /// Halves that make up an element of a query and a weight where those multiply.
    pub parts: u32,
    /// Whether the rule can be computed in one pass with every stage fused.
    pub fused: bool,
    /// Whether queries have lists of candidates: sparse rules, top-k, and reports.
    pub lists: bool,
    /// Whether the workspace holds normalised copies of the states.
    pub cue: bool,
    /// Whether the workspace holds the states before the last step.
    pub previous: bool,
    /// Whether outputs are apart from states.
    pub result: bool,
}

/// The sizes that serve a [`Shape`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How queries are served.
    pub regime: Regime,
    /// Queries of one pass over the memory.
    pub query_block: u32,
    /// Queries of one invocation of a tile.
    pub each: u32,
    /// Patterns of one split.
    pub rows_per_split: u32,
    /// Splits of one dispatch.
    pub splits: u32,
    /// The stream kernel's shape when it sums over the widest rows.
    pub stream: stream::Shape,
    /// The hold kernel's shape when it sums over the keys.
    pub hold: register::Shape,
    /// The shape of the kernel of cooperative matrices when it sums over the keys, where it serves.
    pub cooperate: Option<matrix::Shape>,
}

impl Plan {
    /// The plan for `shape` on a device that `tuning` suits, under `hints`: the same whenever these are.
    pub fn new(shape: &Shape, tuning: &Tuning, hints: &Hints) -> Self {
        let tuning = &tuning.bounded();
        let columns = shape.columns();
        let most = if shape.lists { tuning.list_block } else { tuning.query_block };
        let query_block = (ROWS / shape.row_bytes()).clamp(1, most);
        let query_block = hints.query_block.map_or(query_block, |asked| u64::from(asked.max(1)).min(query_block));
        let query_block = query_block.min(shape.batch.max(1));
        let few = if hints.query_block.is_some() { query_block } else { shape.batch };
        let regime = match few {
            _ if few <= tuning.stream_batch => Regime::Stream,
            _ if shape.worth_cooperating(tuning) => Regime::Cooperate,
            _ if shape.worth_holding(tuning) => Regime::Hold,
            _ => Regime::Tile,
        };
        let regime = match hints.regime.unwrap_or(regime) {
            _ if !shape.fused => Regime::Tile,
            Regime::Cooperate if shape.cooperation().is_none() && shape.worth_holding(tuning) => Regime::Hold,
            Regime::Cooperate if shape.cooperation().is_none() => Regime::Tile,
            Regime::Hold if !shape.holdable(tuning) => Regime::Tile,
            regime => regime,
        };
        let each = match hints.each {
            None => similarity::each(query_block, tuning),
            Some(0..8) => 4,
            Some(_) => 8,
        };
        let hold = register::Shape::new(tuning, shape, query_block);
        let (rows_per_split, splits, stream) = match regime {
            Regime::Stream => stream_sizes(shape, tuning, hints, query_block, columns),
            Regime::Hold | Regime::Cooperate => {
                let cooperate = shape.cooperation().filter(|_| regime == Regime::Cooperate);
                hold_sizes(shape, tuning, hints, query_block, columns, (&hold, cooperate.as_ref()))
            }
            Regime::Tile => tile_sizes(shape, tuning, hints, query_block, each),
        };
        Self {
            regime,
            query_block: query_block as u32,
            each,
            rows_per_split: rows_per_split as u32,
            splits: splits as u32,
            stream,
            hold,
            cooperate: shape.cooperation(),
        }
    }

    /// Queries of one tile.
    pub fn tile_queries(&self) -> u32 {
        similarity::SIDE * self.each
    }

    /// Patterns of one dispatch.
    pub fn chunk(&self) -> u32 {
        self.rows_per_split.saturating_mul(self.splits)
    }

    /// This plan with every stage on its own, for what a fused kernel does not report.
    pub fn staged(&self, shape: &Shape, tuning: &Tuning, hints: &Hints) -> Self {
        let (rows, splits, stream) = tile_sizes(shape, &tuning.bounded(), hints, self.query_block.into(), self.each);
        Self { regime: Regime::Tile, rows_per_split: rows as u32, splits: splits as u32, stream, ..self.clone() }
    }

    /// This plan, which is staged, with the splits of a pass of the search over all patterns: each goes through its tiles
    /// of scores one by one, where those of a chunk are otherwise.
    pub fn searching(&self, shape: &Shape, tuning: &Tuning, hints: &Hints) -> Self {
        let tuning = &tuning.bounded();
        let (tile, group) = (u64::from(similarity::ROWS), self.tile_queries());
        let most = self.searched_splits();
        let wanted = tuning.workgroups.div_ceil(self.query_block.div_ceil(group).into()).clamp(1, most);
        let rows = shape.patterns.div_ceil(wanted).next_multiple_of(tile);
        let mut rows = bounded(rows, u64::from(group * 4) * u64::from(shape.key_vectors), tuning.search_work, tile);
        if let Some(asked) = hints.rows_per_split {
            rows = rows.min(u64::from(asked).max(1).next_multiple_of(tile));
        }
        while !hints.unbounded
            && rows > tile
            && similarity::iterations(shape.key_vectors.into(), rows) > ITERATION_LIMIT
        {
            rows = (rows / 2).next_multiple_of(tile);
        }
        let splits = hints.splits.map_or(most, |asked| u64::from(asked.max(1)).min(most));
        let splits = splits.min(shape.patterns.div_ceil(rows).max(1));
        Self { rows_per_split: rows as u32, splits: splits as u32, ..self.clone() }
    }

    /// The most splits of a pass of the search: each has a tile where the chunk has its scores.
    fn searched_splits(&self) -> u64 {
        let given = u64::from(self.query_block * similarity::GIVEN * 4);
        u64::from(self.chunk() / similarity::ROWS).min(SCRATCH / given).clamp(1, 1024)
    }

    /// Floats from one query's scores to the next, in the tile regime.
    pub fn score_stride(&self) -> u32 {
        match self.regime {
            Regime::Stream | Regime::Hold | Regime::Cooperate => 0,
            Regime::Tile => self.chunk(),
        }
    }

    /// Entries of a segment: half a span, which is no less than top-k selects while it is filled; all of it where there are
    /// so few patterns that a list holds any of them.
    pub fn room(&self) -> u32 {
        if self.chunk() <= LIST_CAPACITY { filter_candidates::SPAN } else { LIST_TOP }
    }

    /// The most loop iterations that an invocation of any kernel makes under this plan.
    pub fn iterations(&self, shape: &Shape, tuning: &Tuning) -> u64 {
        let rows = u64::from(self.rows_per_split);
        let columns = u64::from(shape.columns());
        let chunk = u64::from(self.chunk());
        let (capacity, top) = (u64::from(LIST_CAPACITY), u64::from(LIST_TOP));
        let shared = [
            load_queries::iterations(columns),
            compact_queries::iterations(self.query_block.into()),
            copy_states::iterations(columns),
            merge::iterations(self.splits.into(), shape.columns()),
            update_states::iterations(columns),
            write_rows::iterations(4 * columns),
            solve_threshold::iterations(capacity),
            gather_support::iterations(capacity, shape.columns()),
            bracket_threshold::iterations(1024),
        ];
        let regime = match self.regime {
            Regime::Stream => self.stream.iterations(rows, shape.key_vectors.into()),
            Regime::Hold => self.hold.iterations(rows),
            Regime::Cooperate => self.cooperate.map_or(0, |cooperate| cooperate.iterations(rows)),
            Regime::Tile => [
                similarity::iterations(
                    shape.key_vectors.into(),
                    self.searching(shape, tuning, &Hints::default()).rows_per_split.into(),
                ),
                separation::iterations(rows),
                projection::iterations(rows),
                filter_candidates::iterations(),
                merge_candidates::iterations(chunk, capacity, top),
                weights::iterations(chunk),
                write_rows::iterations(chunk),
            ]
            .into_iter()
            .fold(0, u64::max),
        };
        shared.into_iter().fold(regime, u64::max)
    }

    /// Bytes of the workspace: everything besides patterns, queries and outputs.
    pub fn workspace_bytes(&self, shape: &Shape, tuning: &Tuning) -> u64 {
        Sizes::new(self, &self.staged(shape, tuning, &Hints::default()), shape).total()
    }
}

impl Shape {
    /// Column vectors of the widest sums: keys, and values where there are some.
    pub fn columns(&self) -> u32 {
        self.key_vectors + self.value_vectors
    }

    /// Bytes of a query's states, running sums and results.
    fn row_bytes(&self) -> u64 {
        16 * u64::from(5 * self.key_vectors + 2 * self.value_vectors)
    }

    /// Whether an invocation can hold a query.
    fn holdable(&self, tuning: &Tuning) -> bool {
        let most = if self.unrolls_slowly { 4 * u64::from(register::UNROLLED_KEYS) } else { u64::MAX };
        4 * u64::from(self.key_vectors) <= tuning.hold_dim.min(most)
    }

    /// How cooperative matrices serve, if they do.
    fn cooperation(&self) -> Option<matrix::Shape> {
        matrix::Shape::new(&self.cooperate?, self.parts, self.key_vectors, self.value_vectors)
    }

    /// Whether that is faster than any other way.
    fn worth_cooperating(&self, tuning: &Tuning) -> bool {
        self.cooperation().is_some() && self.products() >= tuning.cooperate_least
    }

    /// Multiply-adds of the scores.
    fn products(&self) -> u64 {
        self.batch.saturating_mul(4 * self.patterns * u64::from(self.key_vectors))
    }

    /// Whether that is faster than stage by stage.
    fn worth_holding(&self, tuning: &Tuning) -> bool {
        self.holdable(tuning) && self.products() >= tuning.hold_least
    }
}

/// `rows` of a split, no more than a workgroup goes through with `work` multiply-adds at `cost` each.
fn bounded(rows: u64, cost: u64, work: u64, unit: u64) -> u64 {
    rows.min((work / cost / unit * unit).max(unit))
}

fn stream_sizes(shape: &Shape, tuning: &Tuning, hints: &Hints, block: u64, columns: u32) -> (u64, u64, stream::Shape) {
    let mut queries = block.next_power_of_two().min(1 << tuning.stream_queries.ilog2()) as u32;
    // A long row may leave no room for several queries within the iteration limit.
    let fits = |queries: u32, rows: u64| {
        stream::Shape::new(queries, columns).iterations(rows, shape.key_vectors.into()) <= ITERATION_LIMIT
    };
    while queries > 1 && !fits(queries, stream::TILE) {
        queries /= 2;
    }
    let groups = block.div_ceil(queries.into());
    let wanted = tuning.workgroups.div_ceil(groups);
    let rows = shape.patterns.div_ceil(wanted).next_multiple_of(stream::TILE);
    let cost = u64::from(queries) * 4 * u64::from(shape.key_vectors + columns);
    let mut rows = bounded(rows, cost, tuning.stream_work, stream::TILE);
    if let Some(asked) = hints.rows_per_split {
        rows = u64::from(asked).clamp(1, shape.patterns.max(1)).next_multiple_of(stream::TILE);
    }
    if !hints.unbounded {
        while rows > stream::TILE && !fits(queries, rows) {
            rows = (rows / 2).next_multiple_of(stream::TILE);
        }
    }
    let partial_bytes = 8 + 16 * u64::from(columns);
    let splits = hints.splits.map_or(u64::MAX, |asked| u64::from(asked.max(1)));
    let splits =
        splits.min((SCRATCH / (block * partial_bytes)).clamp(1, 1024)).min(shape.patterns.div_ceil(rows).max(1));
    (rows, splits, stream::Shape::new(queries, columns))
}

fn hold_sizes(
    shape: &Shape,
    tuning: &Tuning,
    hints: &Hints,
    block: u64,
    columns: u32,
    (hold, cooperate): (&register::Shape, Option<&matrix::Shape>),
) -> (u64, u64, stream::Shape) {
    let group = u64::from(cooperate.map_or(hold.group(), matrix::Shape::group));
    let (span, limit) =
        if cooperate.is_some() { (matrix::TILE, matrix::MOST_ROWS) } else { (register::SPAN, u64::MAX) };
    let iterations = |rows| cooperate.map_or(hold.iterations(rows), |cooperate| cooperate.iterations(rows));
    let wanted = tuning.workgroups.div_ceil(block.div_ceil(group));
    let rows = shape.patterns.div_ceil(wanted).max(tuning.hold_rows).next_multiple_of(span);
    let cost = group * 4 * u64::from(shape.key_vectors + columns);
    let mut rows = bounded(rows, cost, tuning.hold_work, span);
    if let Some(asked) = hints.rows_per_split {
        rows = u64::from(asked).clamp(1, shape.patterns.max(1)).next_multiple_of(span);
    }
    rows = rows.min(limit);
    while !hints.unbounded && rows > span && iterations(rows) > ITERATION_LIMIT {
        rows = (rows / 2).next_multiple_of(span);
    }
    let most = (SCRATCH / (block * (8 + 16 * u64::from(columns)))).clamp(1, 1024);
    let splits = hints.splits.map_or(most, |asked| u64::from(asked.max(1)).min(most));
    (rows, splits.min(shape.patterns.div_ceil(rows).max(1)), stream::Shape::new(1, columns))
}

fn tile_sizes(shape: &Shape, tuning: &Tuning, hints: &Hints, block: u64, each: u32) -> (u64, u64, stream::Shape) {
    let tile = u64::from(similarity::ROWS);
    let columns = shape.columns();
    let lists = u64::from(shape.lists);
    // A pattern has a score of each query, and beside lists half of what `sift` may pick, and what trials give.
    let others = SCRATCH + block * (shape.row_bytes() + lists * 8 * u64::from(LIST_CAPACITY));
    let spare = WORKSPACE.saturating_sub(others) / (block * (4 + 5 * lists));
    let chunk = (tuning.score_bytes / (4 * block)).min(tuning.chunk).min(spare);
    let chunk = ((chunk / tile).max(1) * tile).min(shape.patterns.max(1).next_multiple_of(tile));
    let groups =
        block.div_ceil((similarity::SIDE * each).into()) * u64::from(columns.div_ceil(projection::side(columns)));
    let partial_bytes = block * (8 + 16 * u64::from(columns));
    let most = (SCRATCH / partial_bytes).clamp(1, 1024).min(chunk / tile);
    let splits = tuning.workgroups.div_ceil(groups).clamp(1, most);
    let mut rows = chunk.div_ceil(splits).next_multiple_of(tile);
    if let Some(asked) = hints.rows_per_split {
        rows = u64::from(asked).max(1).next_multiple_of(tile).min(chunk);
    }
    while !hints.unbounded && rows > tile && projection::iterations(rows) > ITERATION_LIMIT {
        rows = (rows / 2).next_multiple_of(tile);
    }
    let splits = (chunk / rows).clamp(1, most);
    let splits = hints.splits.map_or(splits, |asked| u64::from(asked.max(1)).min(splits));
    (rows, splits, stream::Shape::new(1, columns))
}

/// The workspace buffers, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Padded states.
    pub state: u64,
    /// Padded outputs, where values are stored.
    pub result: u64,
    /// Status bits of the queries.
    pub flags: u64,
    /// Scores of a chunk, in the tile regime.
    pub scores: u64,
    /// Maximum and sum of every split.
    pub stats: u64,
    /// Sums of every split.
    pub sums: u64,
    /// Two slots of maximum and sum for every query.
    pub running_stats: u64,
    /// Running sums.
    pub running_sums: u64,
    /// Reports.
    pub report: u64,
    /// Normalised copies of the states.
    pub cue: u64,
    /// States before the last step.
    pub previous: u64,
    /// Each of the lists of queries: all, those that go on, and those whose threshold is found in one way or the other.
    pub queries: u64,
    /// Heads of the lists of candidates.
    pub heads: u64,
    /// Lists of candidates.
    pub list: u64,
    /// Segments of what was picked from each span of a chunk.
    pub segments: u64,
    /// Their heads.
    pub picked: u64,
    /// Brackets of the searches.
    pub brackets: u64,
    /// What their trials give of each split.
    pub given: u64,
    /// Records of how scores become weights.
    pub records: u64,
    /// Sums that are reported of the weights.
    pub tallies: u64,
}

impl Sizes {
    /// The sizes that `plan`, and where it reports more than a fused kernel does, `staged`, need for `shape`.
    pub fn new(plan: &Plan, staged: &Plan, shape: &Shape) -> Self {
        let block = u64::from(plan.query_block);
        let columns = u64::from(shape.columns());
        let key_rows = block * 16 * u64::from(shape.key_vectors);
        let staged_splits = if shape.lists { staged.splits } else { 0 };
        let staged_stride = if shape.lists { staged.score_stride() } else { 0 };
        let partials = block * u64::from(plan.splits.max(staged_splits));
        let lists = u64::from(shape.lists) * block;
        let spans = u64::from(staged.chunk().div_ceil(filter_candidates::SPAN));
        Self {
            state: key_rows,
            result: u64::from(shape.result) * block * 16 * u64::from(shape.value_vectors.max(shape.key_vectors)),
            flags: block * 4,
            scores: block * 4 * u64::from(plan.score_stride().max(staged_stride)),
            stats: partials * 8,
            sums: partials * 16 * columns,
            running_stats: block * 16,
            running_sums: block * 16 * columns,
            report: block * 16,
            cue: u64::from(shape.cue) * key_rows,
            previous: u64::from(shape.previous) * key_rows,
            queries: 4 * (1 + block),
            heads: lists * 16,
            list: lists * 8 * u64::from(LIST_CAPACITY),
            segments: lists * spans * 8 * u64::from(staged.room()),
            picked: lists * spans * 16,
            brackets: lists * 16,
            given: lists * staged.searched_splits() * 4 * u64::from(similarity::GIVEN),
            records: lists * 32,
            tallies: lists * 32,
        }
    }

    fn all(&self) -> [u64; 20] {
        [
            self.state,
            self.result,
            self.flags,
            self.scores,
            self.stats,
            self.sums,
            self.running_stats,
            self.running_sums,
            self.report,
            self.cue,
            self.previous,
            self.queries,
            self.heads,
            self.list,
            self.segments,
            self.picked,
            self.brackets,
            self.given,
            self.records,
            self.tallies,
        ]
    }

    /// All of them together.
    pub fn total(&self) -> u64 {
        // There are four lists of queries.
        self.all().into_iter().sum::<u64>() + 3 * self.queries
    }

    /// Whether buffers of these sizes hold everything that `other` asks for.
    pub fn hold(&self, other: &Self) -> bool {
        self.all().into_iter().zip(other.all()).all(|(have, need)| have >= need)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::SMALLEST_BINDING;
    use super::*;

    /// Shapes around every boundary that the sizes depend on.
    fn shapes() -> impl Iterator<Item = Shape> {
        let batches = [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 1024, 1025, 100_000];
        let patterns = [1, 2, 31, 32, 33, 63, 64, 65, 1000, 65_537, 2_000_000, 1 << 30];
        let widths =
            [(1, 0), (16, 0), (16, 3), (64, 64), (196, 0), (256, 1), (1024, 0), (4096, 4096), (16_384, 16_384)];
        batches.into_iter().flat_map(move |batch| {
            patterns.into_iter().flat_map(move |patterns| {
                widths.into_iter().flat_map(move |(key_vectors, value_vectors)| {
                    [(true, false), (true, true), (false, true)].map(|(fused, all)| Shape {
                        unrolls_slowly: !all && batch % 2 == 0,
                        batch,
                        patterns,
                        key_vectors,
                        value_vectors,
                        subgroups: all,
                        cooperate: fused.then_some(Ability {
                            side: if all { 8 } else { 16 },
                            subgroup: 32,
                            memory: 48 << 10,
                            vectors: !all,
                        }),
                        parts: 2,
                        fused,
                        lists: all,
                        cue: all,
                        previous: all,
                        result: all || value_vectors > 0,
                    })
                })
            })
        })
    }

    const KINDS: [wgpu::DeviceType; 3] =
        [wgpu::DeviceType::Cpu, wgpu::DeviceType::DiscreteGpu, wgpu::DeviceType::IntegratedGpu];

    /// Every shape on every kind of device under all hints.
    fn every_plan(mut check: impl FnMut(&Shape, &Tuning, &Hints)) {
        let hints = hints();
        for tuning in KINDS.map(Tuning::of) {
            for shape in shapes() {
                for hints in &hints {
                    check(&shape, &tuning, hints);
                }
            }
        }
    }

    fn hints() -> Vec<Hints> {
        let mut all = vec![Hints::default()];
        for regime in [Regime::Stream, Regime::Hold, Regime::Cooperate, Regime::Tile] {
            for rows_per_split in [None, Some(1), Some(1 << 31)] {
                for splits in [None, Some(1), Some(u32::MAX)] {
                    for query_block in [None, Some(3), Some(u32::MAX)] {
                        all.push(Hints {
                            regime: Some(regime),
                            rows_per_split,
                            splits,
                            query_block,
                            ..Hints::default()
                        });
                    }
                }
            }
        }
        all
    }

    /// What must hold of any plan.
    fn check(shape: &Shape, tuning: &Tuning, hints: &Hints) {
        let plan = Plan::new(shape, tuning, hints);
        let staged = plan.staged(shape, tuning, hints);
        let case = || format!("{shape:?} {tuning:?} {hints:?} {plan:?}");
        assert_eq!(plan, Plan::new(shape, tuning, hints), "the same whenever these are");
        for plan in [&plan, &staged] {
            let iterations = plan.iterations(shape, tuning);
            assert!(iterations <= ITERATION_LIMIT, "{iterations} iterations: {}", case());
            assert!(plan.query_block >= 1 && plan.rows_per_split >= 1 && plan.splits >= 1, "{}", case());
            assert!(plan.splits <= 1024 && plan.query_block <= 1024, "{}", case());
        }
        let sizes = Sizes::new(&plan, &staged, shape);
        for size in sizes.all() {
            assert!(size <= SMALLEST_BINDING, "{sizes:?} {}", case());
        }
        assert!(sizes.total() <= 64 << 20, "{sizes:?} {}", case());
    }

    #[test]
    fn loops_and_sizes_stay_within_what_every_device_allows() {
        every_plan(check);
    }

    /// A setting as a stored file may have it: around each power of two, and anything.
    fn setting() -> impl Strategy<Value = u64> {
        let near = (0u32..64, -1i64..=1).prop_map(|(power, more)| (1u64 << power).wrapping_add_signed(more));
        prop_oneof![near, any::<u64>(), prop::sample::select(vec![0, 3, u64::from(u32::MAX), u64::MAX])]
    }

    fn tuning() -> impl Strategy<Value = Tuning> {
        let start = Tuning::of(wgpu::DeviceType::Cpu);
        let count = start.settings().count();
        prop::collection::vec(prop::option::of(setting()), count).prop_map(move |values| {
            let mut tuning = start;
            for ((name, _), value) in start.settings().zip(values) {
                assert!(value.is_none_or(|value| tuning.set(name, value)));
            }
            tuning
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            cases: 400,
            rng_seed: proptest::test_runner::RngSeed::Fixed(20_260_102),
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        #[test]
        fn any_tuning_keeps_to_the_same(tuning in tuning(), width in 1u32..=16_384) {
            for shape in shapes() {
                check(&shape, &tuning, &Hints::default());
                check(&Shape { key_vectors: width, ..shape }, &tuning, &Hints::default());
            }
        }
    }

    #[test]
    fn cooperative_matrices_are_chosen_where_they_serve_and_pay() {
        let nvidia = Ability { side: 16, subgroup: 32, memory: 48 << 10, vectors: true };
        let [software, discrete] = [wgpu::DeviceType::Cpu, wgpu::DeviceType::DiscreteGpu].map(Tuning::of);
        let shape = Shape {
            batch: 4096,
            patterns: 65_536,
            key_vectors: 16,
            subgroups: true,
            cooperate: Some(nvidia),
            parts: 2,
            fused: true,
            ..Shape::default()
        };
        let plan = |shape, tuning, hint| Plan::new(&shape, tuning, &Hints { regime: hint, ..Hints::default() }).regime;
        let regime = |shape: Shape, hint| plan(shape, &discrete, hint);
        assert_eq!(regime(shape, None), Regime::Cooperate);
        assert_eq!(regime(shape, Some(Regime::Hold)), Regime::Hold);
        assert_eq!(regime(Shape { batch: 16, ..shape }, None), Regime::Stream);
        assert_eq!(regime(Shape { batch: 17, patterns: 1000, ..shape }, None), Regime::Tile);
        assert_eq!(regime(Shape { cooperate: None, ..shape }, Some(Regime::Cooperate)), Regime::Hold);
        assert_eq!(regime(Shape { key_vectors: 33, ..shape }, Some(Regime::Cooperate)), Regime::Tile);
        assert_eq!(regime(Shape { fused: false, ..shape }, Some(Regime::Cooperate)), Regime::Tile);
        assert_eq!(plan(shape, &software, None), Regime::Hold);
    }

    #[test]
    fn the_workspace_does_not_grow_with_the_memory() {
        for tuning in KINDS.map(Tuning::of) {
            for shape in shapes().filter(|shape| shape.patterns > 1_000_000) {
                let larger = Shape { patterns: 4 * shape.patterns, ..shape };
                let bytes =
                    |shape: &Shape| Plan::new(shape, &tuning, &Hints::default()).workspace_bytes(shape, &tuning);
                assert!(bytes(&larger) <= bytes(&shape).max(WORKSPACE), "{shape:?}");
            }
        }
    }
}
