//! The whole pipeline of a retrieval, as a list of dispatches: queries in blocks, patterns in windows and chunks. What
//! each dispatch binds is in `dispatch`.

use std::ops::Range;
use std::sync::Arc;

use super::buffer::Binding;
use super::dispatch::Chunk;
use super::kernels::sparse::bracket_threshold;
use super::kernels::staged::similarity::{STEPS, Trial};
use super::kernels::staged::update_states;
use super::plan::{LIST_CAPACITY, LIST_TOP, Plan, Regime, Shape};
use super::range::QueryRange;
use super::record::{Calls, Program};
use super::shader::Constant;
use super::workspace::Workspace;
use super::{Context, Place, StoredRows};
use crate::error::Result;
use crate::rule::{Rule, Separation, Similarity};
use crate::store::{Layout, Window};

/// What a retrieval works on, besides the caller's buffers.
///
/// It owns what it reads, so that it can be carried out bit by bit while the memory changes.
pub(crate) struct Task {
    pub context: Arc<Context>,
    pub layout: Layout,
    pub rule: Rule,
    pub windows: Vec<Window<StoredRows>>,
    /// The positions to go over; nothing outside counts.
    pub range: Range<usize>,
    /// Sizes of the steps.
    pub plan: Plan,
    /// Sizes where every stage is on its own.
    pub staged: Plan,
    /// Sizes of a pass of the search.
    pub searching: Plan,
    pub shape: Shape,
    pub workspace: Arc<Workspace>,
    /// Which patterns may be used, as bits.
    pub keep: Option<Bits>,
    /// Which coordinates are known, as bits.
    pub known: Option<Bits>,
    pub max_steps: u32,
    pub tolerance: f32,
    pub stops_early: bool,
    pub stamp: u32,
    pub damage: Option<(&'static str, Constant)>,
    /// Queries beyond it are not answered.
    pub query_range: QueryRange,
}

/// Flags packed to bits, `stride` words from one query's to the next's (0 where all queries share them).
pub(crate) struct Bits {
    pub words: Binding,
    pub stride: u32,
}

/// Where the answers to one batch go.
pub(crate) struct Targets {
    pub count: usize,
    pub queries: Place,
    pub output: Place,
    pub state: Option<Place>,
    pub report: Option<Place>,
    /// Record and tally of the last step's weights.
    pub weighed: Option<Weighed>,
    /// Record and tally at the last state.
    pub energy: Option<Weighed>,
    /// The same at the query and after every step, with the states: one set of rows for each.
    pub trace: Vec<Weighed>,
    /// Heads and entries of lists of the `k` largest scores of the last step.
    pub top: Option<(Place, Place, u32)>,
    /// Unnormalised weights in full, for runs of queries: the first query, how many, and where theirs go.
    pub weights: Vec<(u32, u32, Place)>,
}

/// Where records and tallies go, 8 words each, and states where they are wanted too.
pub(crate) struct Weighed {
    pub records: Place,
    pub tallies: Place,
    pub state: Option<Place>,
}

/// Queries `first .. first + count` of a batch, which the workspace holds at once.
#[derive(Clone, Copy)]
pub(crate) struct Block {
    pub first: u32,
    pub count: u32,
}

/// Which sums a step asks for, in vectors of four columns.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub keys: u32,
    pub values: u32,
}

impl Wanted {
    pub fn columns(self) -> u32 {
        self.keys + self.values
    }
}

/// The rule, as far as kernels tell rules apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Softmax { one_more: bool },
    Entmax { gain: f32 },
    Top { k: u32 },
}

/// Passes of the search over all patterns: each divides the bracket by one more than the trials. For entmax the bracket is
/// at most 88 wide (logarithms of an `f32`) and ends below 1e-7; for top-k it holds all keys and ends with one.
const ENTMAX_PASSES: u32 = 10;
const TOP_PASSES: u32 = 12;

impl Task {
    /// What answers `targets`, as a program.
    pub fn program(self, targets: Targets) -> Program {
        let (context, damage) = (self.context.clone(), self.damage);
        Program::new(&context, damage, |calls| async move { self.answer(&calls, &targets).await })
    }

    pub fn kind(&self) -> Kind {
        Kind::of(self.rule, self.shape.patterns)
    }

    /// Appends every dispatch that answers `targets`, in order.
    pub async fn answer(&self, calls: &Calls, targets: &Targets) -> Result<()> {
        for block in self.blocks(targets.count) {
            self.block(calls, targets, block).await?;
        }
        Ok(())
    }

    /// A batch in blocks that the workspace holds.
    pub fn blocks(&self, count: usize) -> impl Iterator<Item = Block> + use<> {
        let (count, most) = (count as u32, self.plan.query_block);
        (0..count).step_by(most as usize).map(move |first| Block { first, count: most.min(count - first) })
    }

    async fn block(&self, calls: &Calls, targets: &Targets, block: Block) -> Result<()> {
        let workspace = &self.workspace;
        self.prepare(calls, &targets.queries, block).await?;
        self.compact(calls, block, None, 0, &workspace.everyone, &workspace.searched).await?;
        self.compact(calls, block, None, 0, &workspace.active, &workspace.searched).await?;
        let reports = targets.weighed.is_some() || targets.top.is_some() || !targets.weights.is_empty();
        let mut trace = targets.trace.iter();
        for step in 1..=self.max_steps {
            if let Some(weighed) = trace.next() {
                self.energy(calls, block, weighed).await?;
            }
            if step > 1 && self.stops_early {
                calls.maybe_idle();
                self.compact(calls, block, None, update_states::STOPPED, &workspace.active, &workspace.searched)
                    .await?;
            }
            if reports {
                self.copy(calls, block, &workspace.active, &workspace.state, &workspace.previous, false).await?;
            }
            // Under early stopping any step may be a query's last.
            let last = step == self.max_steps || self.stops_early;
            let keys = step < self.max_steps
                || self.shape.value_vectors == 0
                || targets.state.is_some()
                || targets.report.is_some()
                || targets.energy.is_some()
                || !targets.trace.is_empty();
            let wanted = Wanted {
                keys: if keys { self.shape.key_vectors } else { 0 },
                values: if last { self.shape.value_vectors } else { 0 },
            };
            self.step(calls, block, wanted, step).await?;
        }
        if let Some(weighed) = trace.next() {
            self.energy(calls, block, weighed).await?;
        }
        let output = if self.shape.result { &workspace.result } else { &workspace.state };
        self.export(calls, output, self.layout.output_dim() as u32, &targets.output, block).await?;
        if let Some(state) = &targets.state {
            self.export(calls, &workspace.state, self.layout.dim as u32, state, block).await?;
        }
        if let Some(report) = &targets.report {
            self.export(calls, &workspace.report, update_states::REPORT_WORDS, report, block).await?;
        }
        if let Some(weighed) = &targets.energy {
            self.energy(calls, block, weighed).await?;
        }
        if targets.weighed.is_some() || !targets.weights.is_empty() {
            let cue = self.compared(calls, block, &workspace.everyone, &workspace.previous).await?;
            self.weigh_all(calls, block, &cue, targets).await?;
            if let Some(weighed) = &targets.weighed {
                self.export_weighed(calls, block, weighed).await?;
            }
        }
        if let Some((heads, entries, k)) = &targets.top {
            let cue = self.compared(calls, block, &workspace.everyone, &workspace.previous).await?;
            self.list(calls, block, &cue, &workspace.everyone, Kind::Top { k: *k }).await?;
            self.threshold(calls, block, &workspace.everyone, Kind::Top { k: *k }, true).await?;
            self.export(calls, &workspace.heads, 4, heads, block).await?;
            self.export_strided(calls, &workspace.list, 2 * k, 2 * LIST_CAPACITY, 0, entries, block).await?;
        }
        Ok(())
    }

    /// What is compared with the keys, for `state`: itself, or a normalised copy.
    pub async fn compared(&self, calls: &Calls, block: Block, queries: &Binding, state: &Binding) -> Result<Binding> {
        if self.rule.similarity != Similarity::Cosine {
            return Ok(state.clone());
        }
        self.copy(calls, block, queries, state, &self.workspace.cue, true).await?;
        Ok(self.workspace.cue.clone())
    }

    /// One update of every query that goes on.
    async fn step(&self, calls: &Calls, block: Block, wanted: Wanted, step: u32) -> Result<()> {
        let workspace = &self.workspace;
        let active = &workspace.active;
        let cue = self.compared(calls, block, active, &workspace.state).await?;
        match self.kind() {
            Kind::Softmax { .. } => {
                let slot = match self.plan.regime {
                    Regime::Stream | Regime::Hold | Regime::Cooperate => self.fused(calls, block, &cue, wanted).await?,
                    Regime::Tile => self.softmax(calls, block, &cue, active, wanted).await?,
                };
                self.finish(calls, block, active, wanted, step, slot).await
            }
            kind => {
                let searched = if self.listable(kind) {
                    self.list(calls, block, &cue, active, kind).await?;
                    self.threshold(calls, block, active, kind, false).await?;
                    calls.maybe_idle();
                    self.compact(
                        calls,
                        block,
                        Some(active),
                        update_states::SEARCH,
                        &workspace.listed,
                        &workspace.searched,
                    )
                    .await?;
                    self.gather(calls, block, &workspace.listed, wanted).await?;
                    self.finish(calls, block, &workspace.listed, wanted, step, 0).await?;
                    if let Kind::Top { .. } = kind {
                        return Ok(());
                    }
                    &workspace.searched
                } else {
                    active
                };
                self.search(calls, block, &cue, searched, kind).await?;
                let slot = self.weigh_and_project(calls, block, &cue, searched, kind, wanted).await?;
                self.finish(calls, block, searched, wanted, step, slot).await
            }
        }
    }

    /// Whether a list can hold what the rule selects: of top-k always, or never.
    fn listable(&self, kind: Kind) -> bool {
        match kind {
            Kind::Top { k } => k <= LIST_TOP || self.shape.patterns <= LIST_CAPACITY.into(),
            _ => true,
        }
    }

    /// Softmax with every stage fused, chunk by chunk into the running state; returns the slot of its statistics.
    async fn fused(&self, calls: &Calls, block: Block, cue: &Binding, wanted: Wanted) -> Result<u32> {
        let active = &self.workspace.active;
        let mut chunks = 0;
        for chunk in self.chunks(&self.plan) {
            self.stream(calls, block, cue, active, wanted, &chunk).await?;
            self.merge(calls, block, active, wanted, chunk.splits, chunks).await?;
            chunks += 1;
        }
        Ok(chunks % 2)
    }

    /// Softmax stage by stage.
    async fn softmax(
        &self,
        calls: &Calls,
        block: Block,
        cue: &Binding,
        queries: &Binding,
        wanted: Wanted,
    ) -> Result<u32> {
        let mut chunks = 0;
        for chunk in self.chunks(&self.staged) {
            self.similarity(calls, block, cue, queries, &chunk).await?;
            self.separation(calls, block, queries, &chunk).await?;
            self.projection(calls, block, queries, wanted, &chunk).await?;
            self.merge(calls, block, queries, wanted, chunk.splits, chunks).await?;
            chunks += 1;
        }
        Ok(chunks % 2)
    }

    /// Scores every pattern once into the lists of candidates.
    pub async fn list(&self, calls: &Calls, block: Block, cue: &Binding, queries: &Binding, kind: Kind) -> Result<()> {
        for (i, chunk) in self.chunks(&self.staged).enumerate() {
            self.similarity(calls, block, cue, queries, &chunk).await?;
            self.sift(calls, block, queries, &chunk, kind, i == 0).await?;
            self.candidates(calls, block, queries, &chunk, kind, i == 0).await?;
        }
        Ok(())
    }

    /// Searches the thresholds of `queries` over all patterns, pass by pass. Where no query needs it, every workgroup
    /// ends at once.
    async fn search(&self, calls: &Calls, block: Block, cue: &Binding, queries: &Binding, kind: Kind) -> Result<()> {
        let steep = kind.is_steep();
        let passes = match kind {
            Kind::Top { .. } => TOP_PASSES,
            _ if steep => TOP_PASSES + ENTMAX_PASSES,
            _ => ENTMAX_PASSES,
        };
        debug_assert!(u64::from(STEPS + 1).pow(TOP_PASSES - 1) > u64::from(u32::MAX));
        self.refine(calls, block, queries, kind, bracket_threshold::OPEN, 0).await?;
        for pass in 1..=passes {
            // A pivot is found as a key is.
            let pivot = steep && pass <= TOP_PASSES;
            let trial = match kind {
                Kind::Top { .. } => Trial::Count,
                _ if pivot => Trial::Pivot,
                _ => Trial::Sum,
            };
            for (i, chunk) in self.chunks(&self.searching).enumerate() {
                self.trial(calls, block, cue, queries, &chunk, kind, trial, i == 0).await?;
            }
            let stage = match pass {
                _ if pass == passes => bracket_threshold::CLOSE,
                TOP_PASSES if pivot => bracket_threshold::TURN,
                _ if pivot => bracket_threshold::APPROACH,
                _ => bracket_threshold::NARROW,
            };
            self.refine(calls, block, queries, kind, stage, 0).await?;
        }
        Ok(())
    }

    /// Sums rows by the weights that the records give; returns the slot of the statistics.
    async fn weigh_and_project(
        &self,
        calls: &Calls,
        block: Block,
        cue: &Binding,
        queries: &Binding,
        kind: Kind,
        wanted: Wanted,
    ) -> Result<u32> {
        let mut chunks = 0;
        for chunk in self.chunks(&self.staged) {
            self.similarity(calls, block, cue, queries, &chunk).await?;
            self.weigh(calls, block, queries, &chunk, kind, chunks == 0).await?;
            self.projection(calls, block, queries, wanted, &chunk).await?;
            self.merge(calls, block, queries, wanted, chunk.splits, chunks).await?;
            chunks += 1;
        }
        Ok(chunks % 2)
    }

    /// Finds the record of every query of the block at `cue`.
    async fn resolve(&self, calls: &Calls, block: Block, cue: &Binding) -> Result<()> {
        let workspace = &self.workspace;
        let everyone = &workspace.everyone;
        let kind = self.kind();
        if let Kind::Softmax { .. } = kind {
            let slot = self.softmax(calls, block, cue, everyone, Wanted { keys: 0, values: 0 }).await?;
            return self.refine(calls, block, everyone, kind, bracket_threshold::CLOSE, slot).await;
        }
        let searched = if self.listable(kind) {
            self.list(calls, block, cue, everyone, kind).await?;
            self.threshold(calls, block, everyone, kind, false).await?;
            if let Kind::Top { .. } = kind {
                return Ok(());
            }
            self.compact(calls, block, Some(everyone), update_states::SEARCH, &workspace.listed, &workspace.searched)
                .await?;
            &workspace.searched
        } else {
            everyone
        };
        self.search(calls, block, cue, searched, kind).await
    }

    /// Weighs every pattern at `cue`, tallying, and writes out the weights that are asked for.
    async fn weigh_all(&self, calls: &Calls, block: Block, cue: &Binding, targets: &Targets) -> Result<()> {
        let everyone = &self.workspace.everyone;
        self.resolve(calls, block, cue).await?;
        for (i, chunk) in self.chunks(&self.staged).enumerate() {
            self.similarity(calls, block, cue, everyone, &chunk).await?;
            self.weigh(calls, block, everyone, &chunk, self.kind(), i == 0).await?;
            // They rise.
            let before = targets.weights.partition_point(|(first, count, _)| first + count <= block.first);
            let end = block.first + block.count;
            for (first, count, rows) in targets.weights[before..].iter().take_while(|(first, ..)| *first < end) {
                let from = block.first.max(*first);
                let to = end.min(first + count);
                self.export_weights(calls, &chunk, rows, from - first, from - block.first, to - from).await?;
            }
        }
        Ok(())
    }

    /// What the energy at the present state is computed from.
    async fn energy(&self, calls: &Calls, block: Block, weighed: &Weighed) -> Result<()> {
        let workspace = &self.workspace;
        let cue = self.compared(calls, block, &workspace.everyone, &workspace.state).await?;
        self.resolve(calls, block, &cue).await?;
        for (i, chunk) in self.chunks(&self.staged).enumerate() {
            self.similarity(calls, block, &cue, &workspace.everyone, &chunk).await?;
            self.weigh(calls, block, &workspace.everyone, &chunk, self.kind(), i == 0).await?;
        }
        self.export_weighed(calls, block, weighed).await
    }

    async fn export_weighed(&self, calls: &Calls, block: Block, weighed: &Weighed) -> Result<()> {
        self.export(calls, &self.workspace.records, 8, &weighed.records, block).await?;
        self.export(calls, &self.workspace.tallies, 8, &weighed.tallies, block).await?;
        match &weighed.state {
            Some(state) => self.export(calls, &self.workspace.state, self.layout.dim as u32, state, block).await,
            None => Ok(()),
        }
    }

    /// The patterns, as far as one dispatch takes them.
    pub fn chunks<'t>(&'t self, plan: &'t Plan) -> impl Iterator<Item = Chunk<'t>> + use<'t> {
        let range = self.range.clone();
        self.windows.iter().flat_map(move |window| {
            let from = range.start.max(window.first) - window.first;
            let to = range.end.min(window.first + window.rows).saturating_sub(window.first);
            (from..to).step_by(plan.chunk() as usize).map(move |first_row| {
                let count = (to - first_row).min(plan.chunk() as usize) as u32;
                Chunk {
                    rows: &window.storage,
                    window_first: window.first as u32,
                    first_row: first_row as u32,
                    count,
                    splits: count.div_ceil(plan.rows_per_split),
                }
            })
        })
    }
}

impl Kind {
    /// Whether weights at the edge of the support have no finite slope (alpha > 2): thresholds go by a pivot then.
    pub fn is_steep(self) -> bool {
        matches!(self, Self::Entmax { gain } if gain > 1.0)
    }

    pub fn of(rule: Rule, patterns: u64) -> Self {
        match rule.separation {
            Separation::Softmax => Self::Softmax { one_more: false },
            Separation::Softmax1 => Self::Softmax { one_more: true },
            Separation::Sparsemax => Self::Entmax { gain: 1.0 },
            Separation::Entmax { alpha } => Self::Entmax { gain: alpha - 1.0 },
            Separation::TopK { k } if k as u64 >= patterns => Self::Softmax { one_more: false },
            Separation::TopK { k } => Self::Top { k: k as u32 },
        }
    }
}
