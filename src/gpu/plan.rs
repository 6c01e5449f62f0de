//! The plan: which kernels, tiles and splits serve a shape on a device. The one place that holds sizes: everything a
//! recording allocates or dispatches follows from here, and two recordings under one plan compute the same bits.

use super::shader::Constant;
use super::{
    bracket, candidates, compact, cooperate, cue, export, finish, gather, hold, merge, prepare, projection, refine,
    separation, sift, similarity, stream, threshold, weigh,
};

/// The most loop iterations that one invocation may make. Mesa's software drivers silently end an invocation after
/// 65,535, summed over nested loops (seen with Mesa 22.3); the counts below take nothing as unrolled.
pub const ITERATION_LIMIT: u64 = 60_000;
/// The most floats of one key or value on a GPU: a row's own loops must stay within [`ITERATION_LIMIT`].
pub const MAX_DIM: usize = 65_536;
/// Bytes of scores, and of partial sums, that a recording may hold.
const SCRATCH: u64 = 10 << 20;
/// Bytes of states, running sums and results that a recording may hold.
const ROWS: u64 = 24 << 20;
/// Multiply-adds of one workgroup that streams, at the most: on hardware, and on a processor that plays it.
const STREAMED: [u64; 2] = [1 << 25, 1 << 18];
/// The same of one that holds queries, which goes faster.
const HELD: [u64; 2] = [1 << 27, 1 << 22];
/// Queries in one pass over the memory, at the most.
const QUERY_BLOCK: u64 = 1024;
/// The same where every query has a list of candidates.
const LIST_BLOCK: u64 = 256;
/// Entries of a list of candidates.
pub const LIST_CAPACITY: u32 = 4096;
/// The most patterns that a list selects while it is filled; it needs room beside them.
pub const LIST_TOP: u32 = 1024;
/// Patterns whose scores are held at once, at the most: kernels that go through them one workgroup a query loop so often.
const CHUNK: u64 = 65_536;
/// Batches up to this size stream; larger ones go tile by tile.
const FEW: u64 = 16;
/// Patterns of a split for which a query is worth fetching into registers.
const HELD_ROWS: u64 = 256;

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
    /// Allocate fresh workspace filled with garbage, to show that nothing reads what it did not write.
    pub garbage: bool,
    /// Lift [`ITERATION_LIMIT`], to show that it is needed.
    pub unbounded: bool,
    /// Set one constant of one kernel behind the plan's back, to show that a wrong kernel is caught.
    pub damage: Option<(&'static str, Constant)>,
}

/// What a plan depends on.
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
    /// Workgroups that keep the device busy.
    pub parallel: u64,
    /// Whether a processor plays the device: one of its threads is a workgroup, and slow.
    pub software: bool,
    /// What an invocation can hold.
    pub hold: hold::Ability,
    /// What cooperative matrices the device has, where they serve the rule and how patterns are stored.
    pub cooperate: Option<cooperate::Ability>,
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
    /// Patterns of one split.
    pub rows_per_split: u32,
    /// Splits of one dispatch.
    pub splits: u32,
    /// The stream kernel's shape when it sums over the widest rows.
    pub stream: stream::Shape,
    /// The hold kernel's shape when it sums over the keys.
    pub hold: hold::Shape,
    /// The shape of the kernel of cooperative matrices when it sums over the keys, where it serves.
    pub cooperate: Option<cooperate::Shape>,
}

impl Plan {
    /// The plan for `shape` under `hints`.
    pub fn new(shape: &Shape, hints: &Hints) -> Self {
        let columns = shape.columns();
        let row_bytes = 16 * u64::from(5 * shape.key_vectors + 2 * shape.value_vectors);
        let most = if shape.lists { LIST_BLOCK } else { QUERY_BLOCK };
        let query_block = (ROWS / row_bytes).clamp(1, most);
        let query_block = hints.query_block.map_or(query_block, |asked| u64::from(asked.max(1)).min(query_block));
        let query_block = query_block.min(shape.batch.max(1));
        let few = if hints.query_block.is_some() { query_block } else { shape.batch };
        let regime = match few {
            0..=FEW => Regime::Stream,
            _ if shape.worth_cooperating() => Regime::Cooperate,
            _ if shape.worth_holding() => Regime::Hold,
            _ => Regime::Tile,
        };
        let regime = match hints.regime.unwrap_or(regime) {
            _ if !shape.fused => Regime::Tile,
            Regime::Cooperate if shape.cooperation().is_none() && shape.worth_holding() => Regime::Hold,
            Regime::Cooperate if shape.cooperation().is_none() => Regime::Tile,
            Regime::Hold if !shape.holdable() => Regime::Tile,
            regime => regime,
        };
        let (rows_per_split, splits, stream) = match regime {
            Regime::Stream => stream_sizes(shape, hints, query_block, columns),
            Regime::Hold | Regime::Cooperate => hold_sizes(shape, hints, query_block, columns, regime),
            Regime::Tile => tile_sizes(shape, hints, query_block, columns),
        };
        Self {
            regime,
            query_block: query_block as u32,
            rows_per_split: rows_per_split as u32,
            splits: splits as u32,
            stream,
            hold: hold::Shape::new(&shape.hold, query_block, shape.key_vectors),
            cooperate: shape.cooperation(),
        }
    }

    /// Patterns of one dispatch.
    pub fn chunk(&self) -> u32 {
        self.rows_per_split.saturating_mul(self.splits)
    }

    /// This plan with every stage on its own, for what a fused kernel does not report.
    pub fn staged(&self, shape: &Shape, hints: &Hints) -> Self {
        let columns = shape.columns();
        let (rows, splits, stream) = tile_sizes(shape, hints, self.query_block.into(), columns);
        Self { regime: Regime::Tile, rows_per_split: rows as u32, splits: splits as u32, stream, ..self.clone() }
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
        if self.chunk() <= LIST_CAPACITY { sift::SPAN } else { LIST_TOP }
    }

    /// The most loop iterations that an invocation of any kernel makes under this plan.
    pub fn iterations(&self, shape: &Shape) -> u64 {
        let rows = u64::from(self.rows_per_split);
        let columns = u64::from(shape.columns());
        let chunk = u64::from(self.chunk());
        let (capacity, top) = (u64::from(LIST_CAPACITY), u64::from(LIST_TOP));
        let shared = [
            prepare::iterations(columns),
            compact::iterations(self.query_block.into()),
            cue::iterations(columns),
            merge::iterations(self.splits.into(), shape.columns()),
            finish::iterations(columns),
            export::iterations(4 * columns),
            threshold::iterations(capacity),
            gather::iterations(capacity, shape.columns()),
            refine::ITERATIONS,
        ];
        let regime = match self.regime {
            Regime::Stream => self.stream.iterations(rows, shape.key_vectors.into()),
            Regime::Hold => self.hold.iterations(rows),
            Regime::Cooperate => self.cooperate.map_or(0, |cooperate| cooperate.iterations(rows)),
            Regime::Tile => [
                similarity::iterations(shape.key_vectors.into()),
                separation::iterations(rows),
                projection::iterations(rows),
                sift::iterations(),
                candidates::iterations(chunk, capacity, top),
                bracket::iterations(chunk),
                weigh::iterations(chunk),
                export::iterations(chunk),
            ]
            .into_iter()
            .fold(0, u64::max),
        };
        shared.into_iter().fold(regime, u64::max)
    }

    /// Bytes of the workspace: everything besides patterns, queries and outputs.
    pub fn workspace_bytes(&self, shape: &Shape) -> u64 {
        Sizes::new(self, &self.staged(shape, &Hints::default()), shape).total()
    }
}

impl Shape {
    /// `rows` of a split, no more than a workgroup goes through in some milliseconds at `cost` multiply-adds each: nothing
    /// less than a workgroup can be put off to the next frame.
    fn bounded(&self, rows: u64, cost: u64, most: [u64; 2], unit: u64) -> u64 {
        let most = most[usize::from(self.software)] / cost / unit * unit;
        rows.min(most.max(unit))
    }

    /// Column vectors of the widest sums: keys, and values where there are some.
    pub fn columns(&self) -> u32 {
        self.key_vectors + self.value_vectors
    }

    /// Whether an invocation can hold a query.
    fn holdable(&self) -> bool {
        self.key_vectors <= self.hold.vectors
    }

    /// How cooperative matrices serve, if they do.
    fn cooperation(&self) -> Option<cooperate::Shape> {
        cooperate::Shape::new(&self.cooperate?, self.parts, self.key_vectors, self.value_vectors)
    }

    /// Whether that is faster than any other way.
    fn worth_cooperating(&self) -> bool {
        let least = self.cooperate.map_or(u64::MAX, |ability| ability.least);
        self.cooperation().is_some() && self.products() >= least
    }

    /// Products of queries, patterns and vectors of a key.
    fn products(&self) -> u64 {
        self.batch.saturating_mul(self.patterns * u64::from(self.key_vectors))
    }

    /// Whether that is faster than stage by stage.
    fn worth_holding(&self) -> bool {
        self.holdable() && self.products() >= self.hold.least
    }
}

fn stream_sizes(shape: &Shape, hints: &Hints, block: u64, columns: u32) -> (u64, u64, stream::Shape) {
    let mut queries = block.next_power_of_two().min(4) as u32;
    // A long row may leave no room for several queries within the iteration limit.
    let fits = |queries: u32, rows: u64| {
        stream::Shape::new(queries, columns).iterations(rows, shape.key_vectors.into()) <= ITERATION_LIMIT
    };
    while queries > 1 && !fits(queries, stream::TILE) {
        queries /= 2;
    }
    let groups = block.div_ceil(queries.into());
    let wanted = shape.parallel.div_ceil(groups);
    let rows = shape.patterns.div_ceil(wanted).next_multiple_of(stream::TILE);
    let cost = u64::from(queries) * 4 * u64::from(shape.key_vectors + columns);
    let mut rows = shape.bounded(rows, cost, STREAMED, stream::TILE);
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

fn hold_sizes(shape: &Shape, hints: &Hints, block: u64, columns: u32, regime: Regime) -> (u64, u64, stream::Shape) {
    let hold = hold::Shape::new(&shape.hold, block, shape.key_vectors);
    let cooperate = shape.cooperation().filter(|_| regime == Regime::Cooperate);
    let group = u64::from(cooperate.map_or(hold.group(), |cooperate| cooperate.group()));
    let (span, limit) =
        if cooperate.is_some() { (cooperate::TILE, cooperate::MOST_ROWS) } else { (hold::SPAN, u64::MAX) };
    let iterations = |rows| cooperate.map_or(hold.iterations(rows), |cooperate| cooperate.iterations(rows));
    let wanted = shape.parallel.div_ceil(block.div_ceil(group));
    let rows = shape.patterns.div_ceil(wanted).max(HELD_ROWS).next_multiple_of(span);
    let cost = group * 4 * u64::from(shape.key_vectors + columns);
    let mut rows = shape.bounded(rows, cost, HELD, span);
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

fn tile_sizes(shape: &Shape, hints: &Hints, block: u64, columns: u32) -> (u64, u64, stream::Shape) {
    let tile = u64::from(similarity::TILE);
    let chunk = (SCRATCH / (4 * block) / tile).max(1) * tile;
    let chunk = chunk.min(shape.patterns.max(1).next_multiple_of(tile)).min(CHUNK);
    let groups = block.div_ceil(projection::TILE.into()) * u64::from(columns.div_ceil(projection::SIDE));
    let partial_bytes = block * (8 + 16 * u64::from(columns));
    let most = (SCRATCH / partial_bytes).clamp(1, 1024).min(chunk / tile);
    let splits = shape.parallel.div_ceil(groups).clamp(1, most);
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
        let spans = u64::from(staged.chunk().div_ceil(sift::SPAN));
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
            brackets: lists * 48,
            records: lists * 32,
            tallies: lists * 32,
        }
    }

    fn all(&self) -> [u64; 19] {
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
                    [(4, false), (512, false), (4, true), (512, true)].map(|(parallel, all)| Shape {
                        batch,
                        patterns,
                        key_vectors,
                        value_vectors,
                        parallel,
                        software: parallel == 4,
                        hold: hold::Ability::new(
                            if parallel == 4 { wgpu::DeviceType::Cpu } else { wgpu::DeviceType::DiscreteGpu },
                            if all { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() },
                        ),
                        cooperate: (parallel == 512).then_some(cooperate::Ability {
                            side: if all { 8 } else { 16 },
                            subgroup: 32,
                            memory: 48 << 10,
                            vectors: !all,
                            least: 1 << 20,
                        }),
                        parts: 2,
                        fused: parallel == 512 || !all,
                        lists: all,
                        cue: all,
                        previous: all,
                        result: all || value_vectors > 0,
                    })
                })
            })
        })
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

    #[test]
    fn no_invocation_loops_longer_than_software_drivers_allow() {
        for shape in shapes() {
            for hints in hints() {
                let plan = Plan::new(&shape, &hints);
                let iterations = plan.iterations(&shape).max(plan.staged(&shape, &hints).iterations(&shape));
                assert!(iterations <= ITERATION_LIMIT, "{iterations} iterations: {shape:?} {hints:?} {plan:?}");
            }
        }
    }

    #[test]
    fn grids_and_sizes_stay_within_webgpu_defaults() {
        for shape in shapes() {
            for hints in hints() {
                let plan = Plan::new(&shape, &hints);
                let case = || format!("{shape:?} {hints:?} {plan:?}");
                assert!(plan.query_block >= 1 && plan.rows_per_split >= 1 && plan.splits >= 1, "{}", case());
                assert!(plan.splits <= 1024 && plan.query_block <= 1024, "{}", case());
                let sizes = Sizes::new(&plan, &plan.staged(&shape, &hints), &shape);
                for size in [sizes.scores, sizes.sums, sizes.running_sums, sizes.state, sizes.result] {
                    assert!(size <= 128 << 20, "{sizes:?} {}", case());
                }
                assert!(sizes.total() <= 64 << 20, "{sizes:?} {}", case());
            }
        }
    }

    #[test]
    fn cooperative_matrices_are_chosen_where_they_serve_and_pay() {
        let nvidia = cooperate::Ability { side: 16, subgroup: 32, memory: 48 << 10, vectors: true, least: 1 << 20 };
        let shape = Shape {
            batch: 4096,
            patterns: 65_536,
            key_vectors: 16,
            parallel: 512,
            hold: hold::Ability::new(wgpu::DeviceType::DiscreteGpu, wgpu::Features::SUBGROUP),
            cooperate: Some(nvidia),
            parts: 2,
            fused: true,
            ..Shape::default()
        };
        let regime = |shape: Shape, hint| Plan::new(&shape, &Hints { regime: hint, ..Hints::default() }).regime;
        assert_eq!(regime(shape, None), Regime::Cooperate);
        assert_eq!(regime(shape, Some(Regime::Hold)), Regime::Hold);
        assert_eq!(regime(Shape { batch: 16, ..shape }, None), Regime::Stream);
        assert_eq!(regime(Shape { batch: 17, patterns: 1000, ..shape }, None), Regime::Tile);
        assert_eq!(regime(Shape { cooperate: None, ..shape }, Some(Regime::Cooperate)), Regime::Hold);
        assert_eq!(regime(Shape { key_vectors: 33, ..shape }, Some(Regime::Cooperate)), Regime::Tile);
        assert_eq!(regime(Shape { fused: false, ..shape }, Some(Regime::Cooperate)), Regime::Tile);
        let slow = cooperate::Ability { least: u64::MAX, ..nvidia };
        assert_eq!(regime(Shape { cooperate: Some(slow), ..shape }, None), Regime::Hold);
    }

    #[test]
    fn the_workspace_does_not_grow_with_the_memory() {
        for shape in shapes().filter(|shape| shape.patterns > 1_000_000) {
            let larger = Shape { patterns: 4 * shape.patterns, ..shape };
            let bytes = |shape: &Shape| Plan::new(shape, &Hints::default()).workspace_bytes(shape);
            assert!(bytes(&larger) <= bytes(&shape).max(40 << 20), "{shape:?}");
        }
    }
}
