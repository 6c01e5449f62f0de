//! One retrieval: what it works on, its plans, what it is for, and where its answers go.

use std::ops::Range;
use std::sync::Arc;

use super::buffer::Binding;
use super::kernels::common::{LIST_CAPACITY, LIST_TOP};
use super::operands::{Chunk, KernelRule, Operands};
use super::patterns::StoredRows;
use super::plan::choice::Plan;
use super::targets::{OwnedRows, SearchOutputs, TopOutputs};
use crate::factor::Factor;
use crate::store::Window;

/// A retrieval: what it works on, its plans, and what it is for.
#[derive(Debug)]
pub(crate) struct Task {
    pub operands: Operands,
    pub windows: Vec<Window<StoredRows>>,
    /// The positions to go over; nothing outside counts.
    pub range: Range<usize>,
    /// Sizes of the steps.
    pub plan: Plan,
    /// Sizes where every stage is on its own.
    pub staged: Plan,
    /// Sizes of a pass of the search.
    pub searching: Plan,
    pub max_steps: u32,
    pub goal: Goal,
}

/// What a retrieval is for.
#[derive(Debug)]
pub(crate) enum Goal {
    /// The answers to a batch.
    Answers(Box<Outputs>),
    /// Lists of candidates of `count` queries: their heads, and their entries.
    Candidates { queries: OwnedRows, count: usize, rule: KernelRule, heads: OwnedRows, entries: OwnedRows },
    /// The nearest patterns of queries.
    Hits(Box<SearchOutputs>),
    /// The scores of `count` queries, for each a row as wide as the range.
    Scores { queries: OwnedRows, count: usize, target: OwnedRows },
    /// A part of what a network does with queries that the workspace holds at once.
    Network(Box<NetworkGoal>),
}

impl Goal {
    /// The update of a network that it is, if it is one.
    pub fn network_update(&self) -> Option<&NetworkUpdate> {
        match self {
            Self::Network(goal) => match &goal.part {
                NetworkPart::Update(update) => Some(update),
                _ => None,
            },
            _ => None,
        }
    }
}

/// A part of what a network does with `count` queries.
#[derive(Clone, Debug)]
pub(crate) struct NetworkGoal {
    pub count: usize,
    pub part: NetworkPart,
}

/// What happens to one vector of a network, which is the state of the task's workspace.
#[derive(Clone, Debug)]
pub(crate) enum NetworkPart {
    /// It is loaded from rows of the caller, as the first vector or a further one; and the queries are listed, if it is
    /// the last vector.
    Load { rows: OwnedRows, further: bool, lists: bool },
    /// It is updated.
    Update(NetworkUpdate),
    /// It is written out.
    Answer { rows: OwnedRows },
    /// The reports are.
    Report { rows: OwnedRows },
}

/// One update of one iteration of a network.
#[derive(Clone, Debug)]
pub(crate) struct NetworkUpdate {
    /// The iteration, from 1.
    pub step: u32,
    /// Whether it is the first or the last update of its iteration.
    pub first: bool,
    pub last: bool,
    /// States that are copied before the iteration, and where to.
    pub copied: Vec<(Binding, Binding)>,
    /// States that are compared after the iteration with earlier ones, and where those are.
    pub compared: Vec<(Binding, Binding)>,
    /// The vectors that products are of.
    pub vectors: Arc<[Binding]>,
    pub factors: Vec<Factor>,
    pub complex: bool,
}

/// Where the answers to one batch go.
#[derive(Debug)]
pub(crate) struct Outputs {
    pub count: usize,
    pub queries: OwnedRows,
    pub output: OwnedRows,
    pub state: Option<OwnedRows>,
    pub report: Option<OwnedRows>,
    /// Record of the last step's weights; and tally, unless all that is reported are the largest weights and the record
    /// of the step remains.
    pub weighed: Option<WeightOutputs>,
    /// Record and tally at the last state.
    pub energy: Option<WeightOutputs>,
    /// The same at the query and after every step, with the states: one set of rows for each.
    pub trace: Vec<WeightOutputs>,
    /// Lists of the largest scores of the last step.
    pub top: Option<ListOutputs>,
    /// The patterns of the largest scores of the last step, in order.
    pub ranked: Option<TopOutputs>,
    /// Unnormalised weights in full, for runs of queries: the first query, how many, and where theirs go.
    pub weights: Vec<(u32, u32, OwnedRows)>,
}

/// Where lists of the `k` largest scores go, with the similarities of what they list.
#[derive(Debug)]
pub(crate) struct ListOutputs {
    pub k: u32,
    pub heads: OwnedRows,
    pub entries: OwnedRows,
    pub similarities: OwnedRows,
}

/// Where records and tallies go, 8 words each, and states where they are wanted too.
#[derive(Debug)]
pub(crate) struct WeightOutputs {
    pub records: OwnedRows,
    pub tallies: Option<OwnedRows>,
    pub state: Option<OwnedRows>,
}

impl Outputs {
    /// How many of the largest scores are reported, if any.
    pub fn top_count(&self) -> Option<u32> {
        self.top.as_ref().map(|top| top.k).or_else(|| self.ranked.as_ref().map(|ranked| ranked.k))
    }

    /// Whether energies overwrite the records that the last step leaves. They are solved again then, and tallied.
    pub fn overwrites_records(&self) -> bool {
        self.energy.is_some() || !self.trace.is_empty()
    }
}

impl Task {
    /// The same update of a network in iteration `step`.
    pub fn at_step(&self, step: u32) -> Self {
        let goal = match &self.goal {
            Goal::Network(goal) => {
                let mut goal = goal.clone();
                if let NetworkPart::Update(update) = &mut goal.part {
                    update.step = step;
                }
                Goal::Network(goal)
            }
            _ => unreachable!("only networks iterate by tasks"),
        };
        Self {
            operands: self.operands.clone(),
            windows: self.windows.clone(),
            range: self.range.clone(),
            plan: self.plan.clone(),
            staged: self.staged.clone(),
            searching: self.searching.clone(),
            max_steps: self.max_steps,
            goal,
        }
    }

    pub fn kernel_rule(&self) -> KernelRule {
        self.operands.kernel_rule()
    }

    /// Whether some rows stream.
    pub fn streams(&self) -> bool {
        self.windows.iter().any(|window| window.storage.slot.is_some())
    }

    /// The window that has `position`, or the next.
    pub fn window_from(&self, position: usize) -> Option<&Window<StoredRows>> {
        let passed = self.windows.partition_point(|window| window.first + window.rows <= position);
        self.windows.get(passed)
    }

    /// The windows with rows of the range.
    pub fn visited(&self) -> impl Iterator<Item = &Window<StoredRows>> {
        let Range { start, end } = self.range;
        self.windows.iter().filter(move |window| window.first < end && window.first + window.rows > start)
    }

    /// The chunk that starts at `position`, or behind it where no window has it.
    pub fn chunk_from(&self, position: usize, number: u32, plan: &Plan) -> Option<Chunk<'_>> {
        let window = self.window_from(position)?;
        let start = position.max(window.first);
        let end = self.range.end.min(window.first + window.rows);
        let count = end.checked_sub(start).filter(|count| *count > 0)?.min(plan.chunk() as usize) as u32;
        Some(Chunk {
            rows: &window.storage,
            window_first: window.first as u32,
            first_row: (start - window.first) as u32,
            count,
            rows_per_split: plan.rows_per_split,
            splits: count.div_ceil(plan.rows_per_split).min(plan.splits),
            number,
            is_all: number == 0 && self.chunks(plan) == 1,
        })
    }

    /// Chunks of a sweep under `plan`.
    pub fn chunks(&self, plan: &Plan) -> u32 {
        let rows = |window: &Window<StoredRows>| {
            let end = self.range.end.min(window.first + window.rows);
            end.saturating_sub(self.range.start.max(window.first))
        };
        self.windows.iter().map(|window| rows(window).div_ceil(plan.chunk() as usize) as u32).sum()
    }

    /// How many queries at once are scored by `stream_similarity`, if it scores them: where there are few, and nothing
    /// depends on whether a score is the same bits as one that a search tried. A threshold of top-k is one score of
    /// many, and at the threshold of a steep rule a weight has no finite slope.
    pub fn streamed(&self) -> Option<u32> {
        let rule = self.kernel_rule();
        let searches = match rule {
            KernelRule::Top { .. } => !self.listable(rule),
            _ => rule.is_steep(),
        };
        self.staged.streamed.filter(|_| !searches)
    }

    /// Whether candidates are listed by bounds from keys in 8 bits: where few queries are scored.
    pub fn bounded(&self) -> bool {
        self.operands.problem.bounded && self.streamed().is_some()
    }

    /// Whether a list can hold what the rule selects: of top-k always, or never.
    pub fn listable(&self, rule: KernelRule) -> bool {
        match rule {
            KernelRule::Top { k } => k <= LIST_TOP || self.operands.problem.patterns <= LIST_CAPACITY.into(),
            _ => true,
        }
    }
}
