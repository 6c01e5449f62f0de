//! The plan: which kernels, tiles and splits serve a problem on a device. The one place that chooses sizes: everything
//! a retrieval allocates or dispatches follows from here, and two retrievals under one plan compute the same bits.

use super::limits::{ITERATION_LIMIT, ROWS, SCRATCH};
use super::problem::Problem;
use super::splits::{bounded, fused_splits, queries_at_once, staged_splits, stream_splits};
use crate::gpu::kernel::LoopSizes;
use crate::gpu::kernels::KERNELS;
use crate::gpu::kernels::common::{LIST_CAPACITY, LIST_TOP};
use crate::gpu::kernels::fused::matrix::MatrixTile;
use crate::gpu::kernels::fused::register::{self, RegisterTile};
use crate::gpu::kernels::fused::stream::StreamTile;
use crate::gpu::kernels::sparse::filter_candidates;
use crate::gpu::kernels::staged::similarity;
use crate::strategy::{Overrides, Strategy};
use crate::tuning::Tuning;

/// The sizes that serve a [`Problem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How queries are served.
    pub strategy: Strategy,
    /// Queries of one pass over the memory.
    pub query_block: u32,
    /// Queries of one invocation of a tile.
    pub queries_per_invocation: u32,
    /// How many queries `stream_similarity` scores at once, where there are few; `similarity` scores others.
    pub streamed: Option<u32>,
    /// Patterns of one split.
    pub rows_per_split: u32,
    /// Splits of one dispatch.
    pub splits: u32,
    /// How many pieces of a fused dispatch a split may go through, where queries see ranges: of most, the queries of a
    /// workgroup see nothing.
    pub pieces: u32,
    /// The tile of `fused_stream` where it sums over the widest rows.
    pub stream: StreamTile,
    /// The tile of `fused_register` where it sums over the keys.
    pub register: RegisterTile,
    /// The tile of `fused_matrix` where it sums over the keys, if that kernel serves.
    pub matrix: Option<MatrixTile>,
}

impl Plan {
    /// The plan for `problem` on a device that `tuning` suits, under `overrides`: the same whenever these are.
    pub fn new(problem: &Problem, tuning: &Tuning, overrides: &Overrides) -> Self {
        let tuning = &tuning.bounded();
        let columns = problem.columns();
        let most = if problem.lists { tuning.max_listed_queries } else { tuning.max_queries_per_block };
        let query_block = (ROWS / problem.row_bytes()).clamp(1, most);
        let query_block = overrides.query_block.map_or(query_block, |asked| u64::from(asked.max(1)).min(query_block));
        let query_block = query_block.min(problem.batch.max(1));
        let few = if overrides.query_block.is_some() { query_block } else { problem.batch };
        let strategy = match few {
            _ if few <= tuning.stream_max_batch => Strategy::FusedStream,
            _ if worth_cooperating(problem, tuning) => Strategy::FusedMatrix,
            _ if worth_holding(problem, tuning) => Strategy::FusedRegister,
            // A stage on its own goes through chunks of all patterns, of which such queries see little.
            _ if problem.seen > 0 && problem.seen < problem.patterns / 4 => Strategy::FusedStream,
            _ => Strategy::Staged,
        };
        let strategy = match overrides.strategy.unwrap_or(strategy) {
            _ if !problem.fused => Strategy::Staged,
            Strategy::FusedMatrix if cooperation(problem).is_none() && worth_holding(problem, tuning) => {
                Strategy::FusedRegister
            }
            Strategy::FusedMatrix if cooperation(problem).is_none() => Strategy::Staged,
            Strategy::FusedRegister if !holdable(problem, tuning) => Strategy::Staged,
            strategy => strategy,
        };
        let queries_per_invocation = match overrides.queries_per_invocation {
            None => similarity::queries_per_invocation(query_block, tuning),
            Some(0..8) => 4,
            Some(_) => 8,
        };
        let streamed = match overrides.strategy {
            None => few <= tuning.stream_max_batch || strategy == Strategy::FusedStream,
            asked => asked == Some(Strategy::FusedStream),
        };
        let streamed = streamed.then(|| queries_at_once(query_block, tuning));
        let register = RegisterTile::new(tuning, problem, query_block);
        let (rows_per_split, splits, stream) = match strategy {
            Strategy::FusedStream => stream_splits(problem, tuning, overrides, query_block, columns),
            Strategy::FusedRegister | Strategy::FusedMatrix => {
                let matrix = cooperation(problem).filter(|_| strategy == Strategy::FusedMatrix);
                fused_splits(problem, tuning, overrides, query_block, columns, (&register, matrix.as_ref()))
            }
            Strategy::Staged => staged_splits(problem, tuning, overrides, query_block, queries_per_invocation),
        };
        let pieces = match strategy {
            _ if problem.seen == 0 => 1,
            Strategy::Staged | Strategy::FusedMatrix => 1,
            _ => {
                let most = problem.patterns.div_ceil(rows_per_split * splits).max(1);
                let iterations = |pieces: u64| match strategy {
                    Strategy::FusedStream => stream.iterations(pieces * rows_per_split, problem.key_vectors.into()),
                    _ => register.iterations(pieces * rows_per_split),
                };
                let mut pieces = most;
                while pieces > 1 && iterations(pieces) > ITERATION_LIMIT {
                    pieces = pieces.div_ceil(2);
                }
                pieces
            }
        };
        Self {
            strategy,
            query_block: query_block as u32,
            queries_per_invocation,
            streamed,
            rows_per_split: rows_per_split as u32,
            splits: splits as u32,
            pieces: pieces as u32,
            stream,
            register,
            matrix: cooperation(problem),
        }
    }

    /// Queries of one tile.
    pub fn tile_queries(&self) -> u32 {
        similarity::SIDE * self.queries_per_invocation
    }

    /// Patterns of one dispatch.
    pub fn chunk(&self) -> u32 {
        self.rows_per_split.saturating_mul(self.splits).saturating_mul(self.pieces)
    }

    /// This plan with every stage on its own, for what a fused kernel does not report.
    pub fn staged(&self, problem: &Problem, tuning: &Tuning, overrides: &Overrides) -> Self {
        let (rows, splits, stream) =
            staged_splits(problem, &tuning.bounded(), overrides, self.query_block.into(), self.queries_per_invocation);
        Self {
            strategy: Strategy::Staged,
            rows_per_split: rows as u32,
            splits: splits as u32,
            pieces: 1,
            stream,
            ..self.clone()
        }
    }

    /// This plan, which is staged, with the splits of a pass of the search over all patterns: each goes through its
    /// tiles of scores one by one, where those of a chunk are otherwise.
    pub fn searching(&self, problem: &Problem, tuning: &Tuning, overrides: &Overrides) -> Self {
        let tuning = &tuning.bounded();
        let (tile, group) = (u64::from(similarity::ROWS), self.tile_queries());
        let most = self.searched_splits();
        let wanted = tuning.workgroups.div_ceil(self.query_block.div_ceil(group).into()).clamp(1, most);
        let rows = problem.patterns.div_ceil(wanted).next_multiple_of(tile);
        let mut rows = bounded(
            rows,
            u64::from(group * 4) * u64::from(problem.key_vectors),
            tuning.search_max_macs_per_workgroup,
            tile,
        );
        if let Some(asked) = overrides.rows_per_split {
            rows = rows.min(u64::from(asked).max(1).next_multiple_of(tile));
        }
        while !problem.unbounded
            && rows > tile
            && similarity::iterations(problem.key_vectors.into(), rows) > ITERATION_LIMIT
        {
            rows = (rows / 2).next_multiple_of(tile);
        }
        let splits = overrides.splits.map_or(most, |asked| u64::from(asked.max(1)).min(most));
        let splits = splits.min(problem.patterns.div_ceil(rows).max(1));
        Self { rows_per_split: rows as u32, splits: splits as u32, ..self.clone() }
    }

    /// The most splits of a pass of the search: each has a tile where the chunk has its scores.
    pub(super) fn searched_splits(&self) -> u64 {
        let given = u64::from(self.query_block * similarity::TRIAL_WORDS * 4);
        u64::from(self.chunk() / similarity::ROWS).min(SCRATCH / given).clamp(1, 1024)
    }

    /// Floats from one query's scores to the next, in the tile strategy.
    pub fn score_stride(&self) -> u32 {
        match self.strategy {
            Strategy::FusedStream | Strategy::FusedRegister | Strategy::FusedMatrix => 0,
            Strategy::Staged => self.chunk(),
        }
    }

    /// Entries of a segment: half a span, which is no less than top-k selects while it is filled; all of it where there
    /// are so few patterns that a list holds any of them.
    pub fn room(&self) -> u32 {
        if self.chunk() <= LIST_CAPACITY { filter_candidates::SPAN } else { LIST_TOP }
    }

    /// The most loop iterations that an invocation of any kernel makes under this plan.
    pub fn iterations(&self, problem: &Problem, tuning: &Tuning) -> u64 {
        let (rows, staged) =
            (u64::from(self.rows_per_split) * u64::from(self.pieces), self.strategy == Strategy::Staged);
        let searching = || self.searching(problem, tuning, &Overrides::default()).rows_per_split.into();
        let sizes = LoopSizes {
            queries: self.query_block.into(),
            key_vectors: problem.key_vectors.into(),
            columns: problem.columns(),
            splits: self.splits.into(),
            split_rows: if staged { rows } else { 0 },
            chunk_rows: if staged { self.chunk().into() } else { 0 },
            searched_rows: if staged { searching() } else { 0 },
        };
        let fused = match self.strategy {
            Strategy::FusedStream => self.stream.iterations(rows, problem.key_vectors.into()),
            Strategy::FusedRegister => self.register.iterations(rows),
            Strategy::FusedMatrix => self.matrix.map_or(0, |tile| tile.iterations(rows)),
            Strategy::Staged => 0,
        };
        KERNELS.iter().map(|kernel| (kernel.iterations)(&sizes)).fold(fused, u64::max)
    }
}

/// Whether an invocation can hold a query.
fn holdable(problem: &Problem, tuning: &Tuning) -> bool {
    let most = if problem.unrolls_slowly { 4 * u64::from(register::UNROLLED_KEYS) } else { u64::MAX };
    4 * u64::from(problem.key_vectors) <= tuning.register_max_dim.min(most)
}

/// How cooperative matrices serve, if they do.
fn cooperation(problem: &Problem) -> Option<MatrixTile> {
    MatrixTile::new(&problem.cooperate?, problem.parts, problem.key_vectors, problem.value_vectors)
}

/// Whether that is faster than any other way.
fn worth_cooperating(problem: &Problem, tuning: &Tuning) -> bool {
    cooperation(problem).is_some() && problem.products() >= tuning.matrix_min_macs
}

/// Whether that is faster than stage by stage.
fn worth_holding(problem: &Problem, tuning: &Tuning) -> bool {
    holdable(problem, tuning) && (problem.seen > 0 || problem.products() >= tuning.register_min_macs)
}
