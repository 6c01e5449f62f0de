//! What the host files of several kernels share.

use crate::gpu::buffer::Binding;
use crate::gpu::dispatch::{Dispatch, Setting, Work};
use crate::gpu::kernel::Kernel;
use crate::gpu::operands::{Chunk, Keep, KernelRule, Operands, QueryBlock, Sums, Weight};
use crate::gpu::patterns::StoredRows;
use crate::gpu::shader::{Constant, Substitution};
use crate::gpu::targets::OwnedRows;
use crate::precision::Precision;
use crate::rule::Similarity;

/// Entries of a list of candidates.
pub const LIST_CAPACITY: u32 = 4096;
/// The most patterns that a list selects while it is filled; it needs room beside them.
pub const LIST_TOP: u32 = 1024;
/// Candidates, and patterns of a support, that work is estimated for: how many there are is known on the device only.
pub const ESTIMATED_SUPPORT: u32 = 256;

/// Invocations of a workgroup that has one row of `elements`, one or more of them an invocation: no more than find
/// work, as an adapter that runs on a processor pays for all of them.
pub fn invocations(elements: u32) -> u32 {
    elements.next_power_of_two().clamp(8, 64)
}

/// One block of queries of a retrieval, for which kernels build dispatches.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass<'a> {
    pub operands: &'a Operands,
    pub block: QueryBlock,
    /// Whether its dispatches may find less to do than they could.
    pub data_dependent: bool,
    /// The update that it is part of, on which beta depends.
    pub step: u32,
}

impl<'a> Pass<'a> {
    /// A dispatch over the queries of this block. `params` and `storage` are those of `kernel`, in its order.
    pub fn dispatch<P: bytemuck::Pod>(
        &self,
        kernel: &'static Kernel,
        setting: Setting,
        params: &P,
        storage: &[&Binding],
        grid: [u32; 3],
        work: Work,
    ) -> Dispatch {
        debug_assert_eq!(kernel.params, size_of::<[u32; 4]>() + size_of::<P>());
        debug_assert_eq!(kernel.storage.len(), storage.len());
        Dispatch {
            kernel,
            setting,
            params: bytemuck::bytes_of(params).to_vec(),
            storage: storage.iter().map(|binding| (*binding).clone()).collect(),
            grid,
            work,
            queries: self.block.count,
            data_dependent: self.data_dependent,
        }
    }

    /// Rows of this block in a caller's buffer: a binding of just those, aligned as the device asks, the word at which
    /// they start within it, and the words from row to row.
    pub fn bind(&self, rows: &OwnedRows, columns: u32) -> (Binding, u32, u32) {
        let QueryBlock { first, count } = self.block;
        let stride = rows.stride(columns as usize);
        let begin = rows.offset + 4 * u64::from(first) * stride;
        let end = begin + 4 * (u64::from(count - 1) * stride + u64::from(columns));
        let alignment = u64::from(self.operands.offset_alignment);
        let offset = begin / alignment * alignment;
        // Bindings are whole vectors where the buffer allows.
        let size = (end - offset).next_multiple_of(16).min(rows.buffer.size().saturating_sub(offset));
        let binding = Binding { buffer: rows.buffer.clone(), offset, size: Some(size) };
        (binding, ((begin - offset) / 4) as u32, stride as u32)
    }

    /// [`Pass::bind`] of rows that a caller may not want: what is not wanted is bound to a buffer that the kernel
    /// writes nothing to. With the bits of those that are wanted, the first in the lowest.
    pub fn bind_wanted<const N: usize>(&self, rows: [(&Option<OwnedRows>, u32); N]) -> (u32, [(Binding, u32, u32); N]) {
        let wanted = rows.iter().enumerate().map(|(bit, (rows, _))| u32::from(rows.is_some()) << bit).sum();
        let bound = rows.map(|(rows, columns)| match rows {
            Some(rows) => self.bind(rows, columns),
            None => (self.operands.workspace.segments.clone(), 0, 0),
        });
        (wanted, bound)
    }

    /// The bits that say which patterns may be used, the block's first word and the words from query to query. Without
    /// a mask `other` stands in.
    pub fn mask_rows<'b>(&self, other: &'b Binding) -> (&'b Binding, u32, u32)
    where
        'a: 'b,
    {
        match &self.operands.keep {
            Some(Keep { words, first, stride, .. }) => (words, first + self.block.first * stride, *stride),
            None => (other, 0, 0),
        }
    }

    /// Where the records of the block's queries start, in the binding of [`Pass::mask_rows`].
    pub fn records_first(&self) -> u32 {
        4 * self.block.first
    }

    /// The beta of its scores.
    pub fn beta(&self) -> f32 {
        self.operands.beta_of(self.step)
    }

    /// One workgroup a query, folded where that is more than a dimension of a grid may have; kernels that use it call
    /// `flat_index`.
    pub fn folded_grid(&self) -> [u32; 3] {
        fold(self.block.count, self.operands.max_workgroups)
    }

    /// How stored rows are compared with queries.
    pub fn compared_constants(&self, chunk: &Chunk<'_>) -> Vec<Constant> {
        let mut constants = self.kept_constants();
        constants.push(("TERMS", chunk.rows.terms.is_some().into()));
        constants
    }

    /// Whether patterns are masked, and whether queries have anything of their own.
    pub fn kept_constants(&self) -> Vec<Constant> {
        let keep = self.operands.keep.as_ref();
        let mut constants = vec![("KEEP", keep.is_some_and(|keep| keep.masked).into())];
        constants.extend(self.own_constant());
        constants
    }

    /// `RECORDS`, where queries have something of their own.
    pub fn own_constant(&self) -> Option<Constant> {
        self.operands.keep.as_ref().is_some_and(|keep| keep.records).then_some(("RECORDS", 1))
    }

    /// [`Pass::compared_constants`] of scores that may leave biases out.
    pub fn scored_constants(&self, chunk: &Chunk<'_>) -> impl Iterator<Item = Constant> {
        let unbiased = self.operands.layout.bias && !self.operands.biased;
        self.compared_constants(chunk).into_iter().chain(unbiased.then_some(("BIAS", 0)))
    }

    /// See [`Pass::compared_constants`].
    pub fn compared_fragments(&self) -> Vec<Substitution> {
        let mut fragments = self.stored_fragments();
        match self.operands.rule.similarity {
            Similarity::Dot | Similarity::Cosine => {}
            Similarity::Euclidean => fragments.push(("lib/compare_dot", "lib/compare_euclidean")),
            Similarity::Manhattan => fragments.push(("lib/compare_dot", "lib/compare_manhattan")),
        }
        fragments
    }

    /// How rows are stored.
    pub fn stored_fragments(&self) -> Vec<Substitution> {
        match self.operands.layout.precision {
            Precision::F32 | Precision::I8Exact => vec![],
            Precision::F16 => vec![("lib/stored_f32", "lib/stored_f16")],
            Precision::I8 => vec![("lib/stored_f32", "lib/stored_i8")],
        }
    }

    /// Bytes of `vectors` vectors of a stored row.
    pub fn stored_bytes(&self, vectors: u32) -> u64 {
        4 * u64::from(vectors) * self.operands.layout.precision.bytes() as u64
    }

    /// Going through the scores of a chunk, with so many operations and bytes for each.
    pub fn scanned(&self, chunk: &Chunk<'_>, operations: u64, bytes: u64) -> Work {
        let scores = u64::from(self.block.count) * u64::from(chunk.count);
        Work { flops: operations * scores, bytes: bytes * scores }
    }
}

/// A grid of at least `workgroups`, no dimension longer than `limit`.
pub fn fold(workgroups: u32, limit: u32) -> [u32; 3] {
    let rows = workgroups.div_ceil(limit).max(1);
    [workgroups.div_ceil(rows), rows, 1]
}

/// One side of stored rows that is summed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SummedRows<'a> {
    pub rows: &'a Binding,
    pub terms: &'a Binding,
    /// Vectors of a row.
    pub vectors: u32,
    /// Where its columns start among those of the sums.
    pub first_column: u32,
    /// `VALUES` of the kernels that sum: 1 for values.
    pub values: u32,
}

/// The sides of stored rows that `sums` asks for: keys, then values.
pub(crate) fn summed_rows(rows: &StoredRows, sums: Sums) -> impl Iterator<Item = SummedRows<'_>> {
    let keys = (sums.keys > 0).then_some((&rows.keys, sums.keys, 0, 0));
    let values = rows.values.as_ref().filter(|_| sums.values > 0).map(|values| (values, sums.values, sums.keys, 1));
    keys.into_iter().chain(values).map(|(side, vectors, first_column, values)| SummedRows {
        rows: side,
        terms: rows.terms.as_ref().unwrap_or(side),
        vectors,
        first_column,
        values,
    })
}

/// Entmax as kernels take it: `gain = alpha - 1`, `margin = 1 / gain`, `exponent = 1 / gain`. Under top-k no score is
/// too low.
pub(crate) fn entmax_numbers(rule: KernelRule) -> (f32, f32, f32) {
    match rule {
        KernelRule::Entmax { gain } => (gain, 1.0 / gain, 1.0 / gain),
        _ => (1.0, 1.0e38, 1.0),
    }
}

/// `constants`, with how entmax weights are made, as `shaders/lib/entmax.wgsl` numbers it.
pub(crate) fn with_form(rule: KernelRule, constants: &[Constant]) -> Vec<Constant> {
    let mut constants = constants.to_vec();
    let form = match rule {
        KernelRule::Entmax { gain } if gain > 1.0 => 4,
        KernelRule::Entmax { gain: 0.5 } => 2,
        KernelRule::Entmax { gain } if gain < 1.0 => 3,
        // The shader's own.
        _ => return constants,
    };
    constants.push(("FORM", form));
    constants
}

/// The rule as shaders number it in `RULE`.
pub(crate) fn rule_number(rule: KernelRule) -> u32 {
    match rule {
        KernelRule::Softmax { .. } => 0,
        KernelRule::Entmax { .. } => 1,
        KernelRule::Top { .. } => 2,
        KernelRule::Unnormalized { .. } => 3,
    }
}

/// How scores become weights while rows are summed (`shaders/lib/weigh_softmax.wgsl`): constants, and the fragments that
/// take the place of softmax's.
pub(crate) fn weighing(rule: KernelRule) -> (Vec<Constant>, Vec<Substitution>) {
    let KernelRule::Unnormalized { weight, without_self } = rule else { return Default::default() };
    let mut constants = vec![("SELF", without_self.into())];
    constants.extend(match weight {
        Weight::Power(n) => vec![("POWER", n)],
        Weight::Rectified(n) => vec![("POWER", n), ("RECTIFIED", 1)],
        Weight::Step(_) => vec![("STEP", 1)],
    });
    (constants, UNNORMALIZED.to_vec())
}

/// How weights that are not normalised are made.
pub(crate) const UNNORMALIZED: [Substitution; 2] =
    [("lib/weigh_softmax", "lib/weigh_unnormalized"), ("lib/scaled", "lib/unscaled")];

/// The threshold of weights that have one, within twice what a score may be, so that no difference leaves `f32`.
pub(crate) fn threshold_of(rule: KernelRule) -> f32 {
    match rule {
        KernelRule::Unnormalized { weight: Weight::Step(threshold), .. } => threshold.clamp(-2e38, 2e38),
        _ => 0.0,
    }
}

/// Whether a kernel selects the largest scores (`TOP`), and how many.
pub(crate) fn top_of(rule: KernelRule) -> (u32, u32) {
    match rule {
        KernelRule::Top { k } => (1, k),
        _ => (0, 0),
    }
}

/// The position of a place of a ranking without a pattern: `shaders/lib/rank.wgsl`.
pub(crate) const NO_PATTERN: u32 = u32::MAX;

/// Loop iterations of one of 128 invocations that rank the entries of a list (`shaders/lib/rank.wgsl`).
pub(crate) fn ranking_iterations() -> u64 {
    let k = u64::from(LIST_TOP);
    k.div_ceil(128) * (1 + k) + k.div_ceil(128)
}

/// Bytes of a pattern's terms, where there are any.
pub(crate) fn term_bytes(chunk: &Chunk<'_>) -> u64 {
    if chunk.rows.terms.is_some() { 16 } else { 0 }
}

#[cfg(test)]
mod tests {
    #[test]
    fn folded_grids_cover_and_fit() {
        for workgroups in [1, 2, 65_535, 65_536, 100_003, 1 << 24] {
            let [x, y, z] = super::fold(workgroups, 65_535);
            assert!(x <= 65_535 && y <= 65_535 && z == 1);
            assert!(u64::from(x) * u64::from(y) >= u64::from(workgroups));
        }
    }
}
