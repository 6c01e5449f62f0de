//! Patterns on a device: what a memory is, and which patterns it holds.

use std::fmt;

use super::options::MemoryOptions;
use super::request::MemoryFacts;
use crate::device::handle::Device;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::id::PatternId;
use crate::mask::{Mask, MemoryExtent};
use crate::rule::Rule;
use crate::store::{Ids, Layout, Pattern, Snapshots};

/// Patterns on a device, and the rule that recalls them.
///
/// Shapes: `N` patterns, keys `N x d`, values `N x dv` (the keys themselves unless the memory has a value dimension),
/// queries `B x d`; all row-major `f32`. One update of a state `x`:
///
/// ```text
/// z_i = beta similarity(x, k_i) + b_i     p = separation(z)     x' = sum_i p_i k_i     y = sum_i p_i v_i
/// ```
///
/// ```
/// use attractor::{Device, Memory, RetrieveOptions, Rule};
/// let mut memory = Memory::new(&Device::cpu(), 4, Rule::softmax(8.0))?;
/// memory.add(&[1.0, 1.0, -1.0, -1.0, /* second pattern */ 1.0, -1.0, 1.0, -1.0])?;
/// let recalled = memory.retrieve_blocking(&[1.0, 0.9, 0.0, 0.0], &RetrieveOptions::default())?;
/// assert!(recalled.output[3] < -0.99);
/// # Ok::<(), attractor::Error>(())
/// ```
///
/// # Range
///
/// The CPU engine gives right answers for all finite patterns and queries. A GPU computes in `f32`, and a retrieval
/// that could leave it is refused with [`Error::Range`], which names the row and the limit. With `X` the largest norm
/// of a query or a later state, `K` that of a key, `B` the largest bias and `V` the largest norm of a key or coordinate
/// of a value, of which `n` are summed, a GPU answers where
///
/// ```text
/// sums        X K (dot), X and K (cosine), (X + K)^2 (euclidean), sqrt(d) (X + K) (manhattan)   at most 1e37
/// scores      |beta| similarity + B                                                            at most 1e37
/// n V         all N patterns (softmax), k (top-k), 2 (sparsemax, entmax)                       at most 1e38
/// |beta|      at most 8e32 / (d + sqrt(d) (X + K)); 4e32 k / (d + sqrt(d)) and 4e32 x / sqrt(d) (cosine)
/// ```
///
/// where `k` and `x` are the smallest norms of keys and queries that are not zero, and at least 1e-12. Numbers below
/// 1.2e-38 may count as zero on a GPU. Queries that only the device sees ([`Memory::record`]) get the status
/// [`OutOfRange`](crate::retrieval::Status::OutOfRange) instead.
pub struct Memory {
    pub(super) device: Device,
    pub(super) layout: Layout,
    pub(super) rule: Rule,
    pub(super) ids: Ids,
    pub(super) snapshots: Snapshots,
    pub(super) engine: Engine,
    pub(super) options: MemoryOptions,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("patterns", &self.len())
            .field("positions", &self.position_count())
            .field("capacity", &self.capacity())
            .field("windows", &self.engine.window_rows().len())
            .field("dim", &self.layout.dim)
            .field("value_dim", &self.layout.value_dim)
            .field("precision", &self.layout.precision)
            .field("bias", &self.layout.bias)
            .field("rule", &self.rule)
            .field("host_copy", &self.engine.has_mirror())
            .field("device", &self.device.info())
            .finish_non_exhaustive()
    }
}

impl Memory {
    /// The number of stored patterns, `N`.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `d`, the length of a key, a query and a state.
    pub fn dim(&self) -> usize {
        self.layout.dim
    }

    /// `dv`, the length of a value and of an output; `d` where keys are their own values.
    pub fn value_dim(&self) -> usize {
        self.layout.output_dim()
    }

    /// Whether values are stored beside the keys; otherwise the keys are their own values.
    pub fn has_values(&self) -> bool {
        self.layout.value_dim.is_some()
    }

    /// The rule that recalls.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// Where this memory lives.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How many patterns fit without another allocation.
    pub fn capacity(&self) -> usize {
        self.engine.capacity()
    }

    /// Whether the pattern `id` is stored.
    pub fn contains(&self, id: PatternId) -> bool {
        self.ids.position(id).is_some()
    }

    /// The pattern `id` as it is stored, in the memory's precision. On a GPU it is read back, which waits, unless there
    /// is a [host copy](MemoryOptions::host_copy).
    ///
    /// # Errors
    /// [`Error::UnknownId`], [`Error::DeviceLost`] where the device fails, or [`Error::Unsupported`] where a browser
    /// would have to wait.
    pub fn get(&self, id: PatternId) -> Result<Pattern> {
        const OPERATION: &str = "Memory::get";
        let position = self.position(OPERATION, id)?;
        self.engine.read(OPERATION, position)
    }

    /// Positions in use, those of removed patterns included: the width of
    /// [`Retrieval::weights`](crate::Retrieval::weights) and of a [`Mask`]. As long as nothing is removed this is
    /// [`Memory::len`].
    pub fn position_count(&self) -> usize {
        self.ids.positions()
    }

    /// The pattern that is at `position` now. Positions of an answer are those of
    /// [`Retrieval::id_at`](crate::Retrieval::id_at): what is removed and added between may have changed what is where.
    pub fn id_at(&self, position: usize) -> Option<PatternId> {
        self.ids.id(position)
    }

    /// A mask that keeps the patterns for which `keep` holds: a filter by id. It is for this memory as it is now: once
    /// a position means another pattern, or patterns were added behind, retrievals refuse it with [`Error::Stale`].
    /// Patterns that were removed since are left out as always.
    ///
    /// ```
    /// use attractor::{Device, Memory, PatternId, RetrieveOptions, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0))?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
    /// let second = memory.mask_where(|id| id == PatternId(1));
    /// let options = RetrieveOptions::default().mask(second);
    /// assert_eq!(memory.retrieve_blocking(&[1.0, 0.0], &options)?.output, [0.0, 1.0]);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    pub fn mask_where(&self, mut keep: impl FnMut(PatternId) -> bool) -> Mask {
        let flags = (0..self.position_count()).map(|position| self.ids.id(position).is_some_and(&mut keep)).collect();
        Mask::of_memory(flags, self.ids.generation())
    }

    pub(super) fn position(&self, operation: &'static str, id: PatternId) -> Result<usize> {
        self.ids.position(id).ok_or(Error::UnknownId { operation, id })
    }

    /// What a request of this memory is checked against.
    pub(super) fn facts(&self) -> MemoryFacts<'_> {
        let extent =
            MemoryExtent { dim: self.layout.dim, patterns: self.position_count(), generation: self.ids.generation() };
        let (layout, engine, view) = (&self.layout, &self.engine, self.ids.view());
        MemoryFacts { layout, rule: self.rule, extent, view, is_empty: self.is_empty(), engine }
    }
}
