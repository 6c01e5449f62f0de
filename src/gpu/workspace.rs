//! The workspace of a recording: every buffer besides patterns, queries and outputs.

use std::sync::Arc;

use super::buffer::{self, Binding, STORAGE};
use super::handles::Handles;
use super::slots::{SlotSize, Slots};
use crate::error::Result;

/// Buffers of the sizes that a plan asks for.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    pub sizes: Sizes,
    /// Room for rows that stream, where some do.
    pub slots: Option<Arc<Slots>>,
    pub state: Binding,
    pub result: Binding,
    pub flags: Binding,
    pub scores: Binding,
    pub stats: Binding,
    pub sums: Binding,
    pub running_stats: Binding,
    pub running_sums: Binding,
    pub report: Binding,
    pub compared: Binding,
    pub previous: Binding,
    pub saved: Binding,
    /// All queries of the block.
    pub everyone: Binding,
    /// Those that go on.
    pub active: Binding,
    /// Of these, those whose threshold comes from a list, and those whose it is searched for.
    pub listed: Binding,
    pub searched: Binding,
    /// Candidates of the rule.
    pub candidates: CandidateLists,
    /// Patterns of largest score, which are reported; until bounds are settled, of largest lower bound.
    pub top: CandidateLists,
    /// What was picked from each span of a chunk, and the heads that say how much.
    pub segments: Binding,
    pub picked: Binding,
    pub brackets: Binding,
    /// What the trials of a pass give of each split.
    pub given: Binding,
    pub records: Binding,
    pub tallies: Binding,
    /// Similarities of the patterns on the lists of largest scores, and scores of those that bounds did not rule out.
    pub similarities: Binding,
    /// What is compared in 16 bits, and numbers of each query beside it.
    pub levels: Binding,
    pub level_numbers: Binding,
    /// Upper bounds of the scores of a chunk, whose lower bounds are in `scores`.
    pub uppers: Binding,
}

/// Lists of candidates, and their heads.
#[derive(Clone, Debug)]
pub(crate) struct CandidateLists {
    pub heads: Binding,
    pub list: Binding,
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
    /// Scores of a chunk, in the tile strategy.
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
    pub compared: u64,
    /// States before the last step.
    pub previous: u64,
    /// States that later ones are compared with.
    pub saved: u64,
    /// Each of the lists of queries: all, those that go on, and those whose threshold is found in one way or the other.
    pub queries: u64,
    /// Heads of the lists of candidates.
    pub heads: u64,
    /// Lists of candidates.
    pub list: u64,
    /// Heads of the lists of largest scores.
    pub top_heads: u64,
    /// Lists of largest scores.
    pub top_list: u64,
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
    /// Similarities of listed patterns.
    pub similarities: u64,
    /// What is compared in 16 bits.
    pub levels: u64,
    /// Four numbers of each query beside it.
    pub level_numbers: u64,
    /// Upper bounds of the scores of a chunk.
    pub uppers: u64,
}

impl Sizes {
    /// Each of them.
    pub fn all(&self) -> [u64; 27] {
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
            self.compared,
            self.previous,
            self.saved,
            self.queries,
            self.heads,
            self.list,
            self.top_heads,
            self.top_list,
            self.segments,
            self.picked,
            self.brackets,
            self.given,
            self.records,
            self.tallies,
            self.similarities,
            self.levels,
            self.level_numbers,
            self.uppers,
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

/// A NaN with a mark, so that reading a word that was not written shows in the answer.
const POISON: u32 = 0x7fc0_dead;

impl Workspace {
    /// This workspace with the vector `state` of a network as its states, and with the lists, flags and reports of
    /// `first`, which the workspaces of all updates share.
    pub fn of_network(&self, first: &Self, state: &Binding) -> Self {
        Self {
            state: state.clone(),
            flags: first.flags.clone(),
            report: first.report.clone(),
            everyone: first.everyone.clone(),
            active: first.active.clone(),
            listed: first.listed.clone(),
            searched: first.searched.clone(),
            ..self.clone()
        }
    }

    /// Allocates; all but the slots filled with poison if asked.
    pub fn new(handles: &Handles, sizes: Sizes, slots: Option<SlotSize>, poison: bool) -> Result<Self> {
        // The lengths of lists of queries are read back where rows stream.
        let usage = STORAGE | wgpu::BufferUsages::COPY_SRC;
        let make = |label, size: u64| -> Result<Binding> {
            let fill = |view: &mut wgpu::BufferViewMut| {
                let words = view.len() / 4;
                view.copy_from_slice(bytemuck::cast_slice(&vec![POISON; words]));
            };
            let buffer = match poison {
                false => buffer::create(handles, label, size, usage)?,
                true => buffer::create_with(handles, label, size, usage, Some(fill))?,
            };
            Ok(Binding::from(&buffer))
        };
        Ok(Self {
            sizes,
            slots: slots.map(|size| Slots::new(handles, size).map(Arc::new)).transpose()?,
            state: make("attractor.state", sizes.state)?,
            result: make("attractor.result", sizes.result)?,
            flags: make("attractor.flags", sizes.flags)?,
            scores: make("attractor.scores", sizes.scores)?,
            stats: make("attractor.stats", sizes.stats)?,
            sums: make("attractor.sums", sizes.sums)?,
            running_stats: make("attractor.running_stats", sizes.running_stats)?,
            running_sums: make("attractor.running_sums", sizes.running_sums)?,
            report: make("attractor.report", sizes.report)?,
            compared: make("attractor.compared", sizes.compared)?,
            previous: make("attractor.previous", sizes.previous)?,
            saved: make("attractor.saved", sizes.saved)?,
            everyone: make("attractor.everyone", sizes.queries)?,
            active: make("attractor.active", sizes.queries)?,
            listed: make("attractor.listed", sizes.queries)?,
            searched: make("attractor.searched", sizes.queries)?,
            candidates: CandidateLists {
                heads: make("attractor.heads", sizes.heads)?,
                list: make("attractor.list", sizes.list)?,
            },
            top: CandidateLists {
                heads: make("attractor.top_heads", sizes.top_heads)?,
                list: make("attractor.top_list", sizes.top_list)?,
            },
            segments: make("attractor.segments", sizes.segments)?,
            picked: make("attractor.picked", sizes.picked)?,
            brackets: make("attractor.brackets", sizes.brackets)?,
            given: make("attractor.given", sizes.given)?,
            records: make("attractor.records", sizes.records)?,
            tallies: make("attractor.tallies", sizes.tallies)?,
            similarities: make("attractor.similarities", sizes.similarities)?,
            levels: make("attractor.query_levels", sizes.levels)?,
            level_numbers: make("attractor.level_numbers", sizes.level_numbers)?,
            uppers: make("attractor.uppers", sizes.uppers)?,
        })
    }
}
