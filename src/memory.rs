//! The user's noun: patterns that are stored once and recalled by queries.

#[cfg(feature = "files")]
mod files;
mod rebuild;

use std::fmt;

#[cfg(feature = "files")]
pub use files::LoadOptions;

use crate::cpu;
use crate::device::handle::{Backend, Device};
use crate::error::{Error, Result};
use crate::explain::Explanation;
use crate::finite::check_finite;
use crate::fork;
use crate::gpu;
use crate::id::{PatternId, PatternIds};
use crate::mask::Mask;
use crate::mask::MemoryExtent;
use crate::partial::{Partial, PartialOptions};
use crate::patterns::{Patterns, rows};
use crate::pending::Pending;
use crate::precision::Precision;
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Retrieval;
use crate::rule::Rule;
use crate::store::{Growth, Ids, Layout, NewRows, Pattern, Snapshots, check_halves, stride};
use crate::wait;

/// The shape of a memory, and how it is laid out.
///
/// ```
/// use attractor::{Device, MemoryOptions, Rule};
/// let memory = MemoryOptions::new(64, Rule::attention(64)).value_dim(10).build(&Device::cpu())?;
/// assert_eq!((memory.dim(), memory.value_dim()), (64, 10));
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryOptions {
    dim: usize,
    value_dim: Option<usize>,
    rule: Rule,
    precision: Precision,
    saturate: bool,
    bias: bool,
    window_bytes: Option<u64>,
    host_copy: bool,
}

impl MemoryOptions {
    /// Keys of `dim` dimensions that are their own values, under `rule`.
    pub fn new(dim: usize, rule: Rule) -> Self {
        Self {
            dim,
            value_dim: None,
            rule,
            precision: Precision::F32,
            saturate: false,
            bias: false,
            window_bytes: None,
            host_copy: false,
        }
    }

    /// Store a value of `value_dim` dimensions beside each key.
    pub fn value_dim(mut self, value_dim: usize) -> Self {
        self.value_dim = Some(value_dim);
        self
    }

    /// How keys and values are stored; `f32` by default.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// With [`Precision::F16`]: store numbers that round beyond the largest half as the largest half, 65,504, with
    /// their sign. Otherwise a row with such a number is refused ([`Error::Range`]).
    pub fn saturate(mut self) -> Self {
        self.saturate = true;
        self
    }

    /// Patterns have a bias, which is added to their scores ([`Memory::add_patterns`]).
    pub fn bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// The most bytes of keys, and of values, that one window holds. The device's limits apply in any case; a smaller
    /// bound is for tests and for hosts that prefer many small buffers.
    pub fn window_bytes(mut self, bytes: u64) -> Self {
        self.window_bytes = Some(bytes);
        self
    }

    /// Keep a copy of every row in host memory, so that [`Memory::rebuild`] works after the device was lost. It takes as
    /// much room again; a memory on the CPU engine is in host memory anyway.
    pub fn host_copy(mut self) -> Self {
        self.host_copy = true;
        self
    }

    /// An empty memory on `device`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a zero dimension or a rule that does not [validate](Rule::validate);
    /// [`Error::Limit`] where one row does not fit a window.
    pub fn build(&self, device: &Device) -> Result<Memory> {
        const OPERATION: &str = "MemoryOptions::build";
        self.rule.validate().map_err(|error| error.named(OPERATION))?;
        for (parameter, dim) in [("dim", Some(self.dim)), ("value_dim", self.value_dim)] {
            if dim == Some(0) {
                return Err(Error::Parameter {
                    operation: OPERATION,
                    parameter,
                    expected: "at least 1",
                    got: "0".into(),
                });
            }
        }
        let (limit, max_dim) = match &device.backend {
            Backend::Cpu => (usize::MAX as u64 / 2, usize::MAX / 64),
            Backend::Gpu(context) => (context.window_limit(), gpu::plan::choice::MAX_DIM),
        };
        for dim in [self.dim, self.value_dim.unwrap_or(0)] {
            if dim > max_dim {
                let (need, allowed) = (dim as u64, max_dim as u64);
                return Err(Error::Limit { operation: OPERATION, limit: "dimensions of one row", need, allowed });
            }
        }
        let limit = self.window_bytes.unwrap_or(limit).min(limit);
        let widest = stride(self.dim).max(self.value_dim.map_or(0, stride)) as u64 * 4;
        if widest > limit {
            return Err(Error::Limit {
                operation: OPERATION,
                limit: "window bytes (max_storage_buffer_binding_size, or as asked)",
                need: widest,
                allowed: limit,
            });
        }
        // Row indices within a window are u32 in the shaders.
        let max_rows = (limit / widest).min(u64::from(u32::MAX / 2)) as usize;
        let layout =
            Layout { dim: self.dim, value_dim: self.value_dim, precision: self.precision, bias: self.bias, max_rows };
        let engine = match &device.backend {
            Backend::Cpu => Engine::Cpu(cpu::Engine::new(layout, self.rule)),
            Backend::Gpu(context) => Engine::Gpu(gpu::Engine::new(context.clone(), layout, self.rule)),
        };
        // Its windows are as long as the device's, so that the copy is rebuilt as it was.
        let copy = (self.host_copy && !device.is_cpu()).then(|| cpu::Engine::new(layout, self.rule));
        let (ids, snapshots) = (Ids::default(), Snapshots::default());
        Ok(Memory {
            device: device.clone(),
            layout,
            rule: self.rule,
            ids,
            snapshots,
            engine,
            options: self.clone(),
            copy,
        })
    }
}

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
/// use attractor::{Device, Memory, Rule};
/// let mut memory = Memory::new(&Device::cpu(), 4, Rule::softmax(8.0))?;
/// memory.add(&[1.0, 1.0, -1.0, -1.0, /* second pattern */ 1.0, -1.0, 1.0, -1.0])?;
/// let recalled = memory.retrieve_blocking(&[1.0, 0.9, 0.0, 0.0])?;
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
/// [`OutOfRange`](crate::Status::OutOfRange) instead.
pub struct Memory {
    device: Device,
    layout: Layout,
    rule: Rule,
    ids: Ids,
    snapshots: Snapshots,
    engine: Engine,
    options: MemoryOptions,
    /// The same rows in host memory, where that was asked for.
    copy: Option<cpu::Engine>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("patterns", &self.len())
            .field("positions", &self.positions())
            .field("capacity", &self.capacity())
            .field("windows", &self.window_rows().len())
            .field("dim", &self.layout.dim)
            .field("value_dim", &self.layout.value_dim)
            .field("precision", &self.layout.precision)
            .field("bias", &self.layout.bias)
            .field("rule", &self.rule)
            .field("host_copy", &self.copy.is_some())
            .field("device", &self.device.info())
            .finish_non_exhaustive()
    }
}

enum Engine {
    Cpu(cpu::Engine),
    Gpu(gpu::Engine),
}

impl Memory {
    /// An empty memory whose keys of `dim` dimensions are their own values.
    ///
    /// # Errors
    /// As [`MemoryOptions::build`].
    pub fn new(device: &Device, dim: usize, rule: Rule) -> Result<Self> {
        MemoryOptions::new(dim, rule).build(device)
    }

    /// An empty memory with values of `value_dim` dimensions beside keys of `dim`.
    ///
    /// # Errors
    /// As [`MemoryOptions::build`].
    pub fn with_values(device: &Device, dim: usize, value_dim: usize, rule: Rule) -> Result<Self> {
        MemoryOptions::new(dim, rule).value_dim(value_dim).build(device)
    }

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

    /// Whether values are stored beside the keys.
    #[cfg(feature = "capi")]
    pub(crate) fn has_values(&self) -> bool {
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
        match &self.engine {
            Engine::Cpu(engine) => engine.capacity(),
            Engine::Gpu(engine) => engine.capacity(),
        }
    }

    /// Makes room for `additional` patterns, in as few windows as the limits allow.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where the host has no room, [`Error::Limit`] or [`Error::Lost`] where the device has
    /// none; nothing has changed then. On the CPU engine room takes no memory until patterns are stored in it.
    pub fn reserve(&mut self, additional: usize) -> Result<()> {
        let fresh = self.ids.fresh(additional, &self.snapshots);
        self.reserve_fresh(fresh).map_err(|error| error.named("Memory::reserve"))
    }

    fn reserve_fresh(&mut self, rows: usize) -> Result<()> {
        if let Some(copy) = &mut self.copy {
            copy.reserve(rows, Growth::Doubling)?;
        }
        match &mut self.engine {
            Engine::Cpu(engine) => engine.reserve(rows, Growth::Doubling),
            Engine::Gpu(engine) => engine.reserve(rows, Growth::Doubling),
        }
    }

    /// Forgets every pattern and keeps the room. Ids are not used again.
    pub fn clear(&mut self) {
        self.ids_mut().clear();
        if let Some(copy) = &mut self.copy {
            copy.clear();
        }
        match &mut self.engine {
            Engine::Cpu(engine) => engine.clear(),
            // What a job or a recording still reads is the last that those buffers are for.
            Engine::Gpu(engine) if self.snapshots.any() => engine.leave(),
            Engine::Gpu(engine) => engine.clear(),
        }
    }

    /// The ids, to be changed.
    fn ids_mut(&mut self) -> &mut Ids {
        if let Engine::Gpu(engine) = &mut self.engine {
            engine.others_left();
        }
        &mut self.ids
    }

    /// Stores the rows of `keys` (`n x d`) as patterns that are their own values.
    ///
    /// # Errors
    /// As [`Memory::add_patterns`].
    pub fn add(&mut self, keys: &[f32]) -> Result<PatternIds> {
        self.store("Memory::add", &Patterns { keys, values: None, bias: None })
    }

    /// Stores the rows of `keys` (`n x d`) with the rows of `values` (`n x dv`).
    ///
    /// # Errors
    /// As [`Memory::add_patterns`].
    pub fn add_with_values(&mut self, keys: &[f32], values: &[f32]) -> Result<PatternIds> {
        self.store("Memory::add_with_values", &Patterns { keys, values: Some(values), bias: None })
    }

    /// Stores patterns with everything that they may have.
    ///
    /// ```
    /// use attractor::{Device, MemoryOptions, Patterns, Rule};
    /// let mut memory = MemoryOptions::new(2, Rule::softmax(1.0)).bias().build(&Device::cpu())?;
    /// let ids = memory.add_patterns(&Patterns { keys: &[1.0, 0.0, 0.0, 1.0], values: None, bias: Some(&[0.0, 2.0]) })?;
    /// assert_eq!(ids.len(), 2);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`] for lengths that are not whole rows or disagree, and for values or a bias that the memory was
    /// not built for; [`Error::NotFinite`]; [`Error::Range`] for a row that halves cannot hold
    /// ([`MemoryOptions::saturate`]); the errors of [`Memory::reserve`]; [`Error::Lost`] where the device is gone.
    /// The memory is then as it was.
    pub fn add_patterns(&mut self, patterns: &Patterns<'_>) -> Result<PatternIds> {
        self.store("Memory::add_patterns", patterns)
    }

    fn store(&mut self, operation: &'static str, patterns: &Patterns<'_>) -> Result<PatternIds> {
        let (rows, new) = self.checked(operation, patterns)?;
        let places = self.ids.places(rows, &self.snapshots);
        self.reserve_fresh(places.fresh).map_err(|error| error.named(operation))?;
        self.place(&places.freed, rows, &new).map_err(|error| error.named(operation))?;
        Ok(self.ids_mut().add(&places))
    }

    /// Writes checked rows, the first of them to the positions `freed`, the others behind all others, where there is room.
    /// On an error nothing is behind them.
    fn place(&mut self, freed: &[usize], rows: usize, new: &NewRows<'_>) -> Result<()> {
        let Layout { dim, value_dim, .. } = self.layout;
        for (i, position) in freed.iter().enumerate() {
            self.overwrite(*position, &new.slice(i..i + 1, dim, value_dim))?;
        }
        if rows == freed.len() {
            return Ok(());
        }
        let new = new.slice(freed.len()..rows, dim, value_dim);
        match &mut self.engine {
            Engine::Cpu(engine) => engine.add(&new),
            Engine::Gpu(engine) => engine.add(&new),
        }?;
        match &mut self.copy {
            Some(copy) => copy.add(&new),
            None => Ok(()),
        }
    }

    /// The number of patterns and their rows, if they are what this memory stores.
    fn checked<'p>(&self, operation: &'static str, patterns: &Patterns<'p>) -> Result<(usize, NewRows<'p>)> {
        let shape = |expected: String, got: String| Err(Error::Shape { operation, expected, got });
        fork::check(operation)?;
        let Patterns { keys, values, bias } = *patterns;
        let rows = rows(operation, "keys", keys, self.layout.dim)?;
        match (values, self.layout.value_dim) {
            (None, None) => {}
            (Some(values), Some(columns)) if rows.checked_mul(columns) == Some(values.len()) => {
                check_finite(operation, "values", values, columns)?;
            }
            (Some(values), Some(columns)) => {
                let floats = rows as u128 * columns as u128;
                let expected = format!("values of {rows} x {columns} = {floats} floats");
                return shape(expected, format!("{} floats", values.len()));
            }
            (None, Some(columns)) => {
                return shape(format!("keys with values of {columns} dimensions"), "keys alone".into());
            }
            (Some(_), None) => {
                let expected = "keys alone: this memory was created without a value dimension".into();
                return shape(expected, "keys with values".into());
            }
        }
        match bias {
            None => {}
            Some(_) if !self.layout.bias => {
                let expected = "no bias: this memory was built without (MemoryOptions::bias)".into();
                return shape(expected, "a bias".into());
            }
            Some(bias) if bias.len() == rows => check_finite(operation, "bias", bias, 1)?,
            Some(bias) => return shape(format!("a bias of {rows} floats"), format!("{} floats", bias.len())),
        }
        check_finite(operation, "keys", keys, self.layout.dim)?;
        let new = NewRows { keys, values, bias };
        self.check_range(operation, &new, 0)?;
        Ok((rows, new))
    }

    /// Refuses finite rows that the precision cannot hold; `first` is the row of the input that they begin with.
    fn check_range(&self, operation: &'static str, rows: &NewRows<'_>, first: usize) -> Result<()> {
        if self.layout.precision != Precision::F16 || self.options.saturate {
            return Ok(());
        }
        check_halves(operation, "keys", rows.keys, self.layout.dim, first)?;
        match (rows.values, self.layout.value_dim) {
            (Some(values), Some(columns)) => check_halves(operation, "values", values, columns, first),
            _ => Ok(()),
        }
    }

    fn overwrite(&mut self, position: usize, row: &NewRows<'_>) -> Result<()> {
        match &mut self.engine {
            Engine::Cpu(engine) => engine.overwrite(position, row)?,
            Engine::Gpu(engine) => engine.overwrite(position, row)?,
        }
        match &mut self.copy {
            Some(copy) => copy.overwrite(position, row),
            None => Ok(()),
        }
    }

    /// Replaces the pattern `id` by the one row of `pattern`; the id stays. So does its position, unless a recording or a
    /// job is under way, which goes on with the pattern as it was.
    ///
    /// # Errors
    /// [`Error::UnknownId`], [`Error::Shape`] for anything but one row, and as [`Memory::add_patterns`]. The memory is
    /// then as it was.
    pub fn update(&mut self, id: PatternId, pattern: &Patterns<'_>) -> Result<()> {
        const OPERATION: &str = "Memory::update";
        let position = self.position(OPERATION, id)?;
        let (rows, new) = self.checked(OPERATION, pattern)?;
        if rows != 1 {
            return Err(Error::Shape { operation: OPERATION, expected: "one pattern".into(), got: rows.to_string() });
        }
        if self.snapshots.any() {
            let places = self.ids.places(1, &self.snapshots);
            self.reserve_fresh(places.fresh).map_err(|error| error.named(OPERATION))?;
            self.place(&places.freed, 1, &new).map_err(|error| error.named(OPERATION))?;
            let snapshots = self.snapshots.clone();
            self.ids_mut().relocate(id, &places, &snapshots);
            return Ok(());
        }
        self.overwrite(position, &new).map_err(|error| error.named(OPERATION))
    }

    /// Forgets the pattern `id`. Its room is used again by a later `add`, its id is not.
    ///
    /// # Errors
    /// [`Error::UnknownId`].
    pub fn remove(&mut self, id: PatternId) -> Result<()> {
        let snapshots = self.snapshots.clone();
        self.ids_mut().remove(id, &snapshots).map(|_| ()).ok_or(Error::UnknownId { operation: "Memory::remove", id })
    }

    /// Whether the pattern `id` is stored.
    pub fn contains(&self, id: PatternId) -> bool {
        self.ids.position(id).is_some()
    }

    /// The pattern `id` as it is stored, in the memory's precision. On a GPU it is read back, which waits, unless there
    /// is a [host copy](MemoryOptions::host_copy).
    ///
    /// # Errors
    /// [`Error::UnknownId`], [`Error::Lost`] where the device fails, or [`Error::Unsupported`] where a browser would
    /// have to wait.
    pub fn get(&self, id: PatternId) -> Result<Pattern> {
        const OPERATION: &str = "Memory::get";
        let position = self.position(OPERATION, id)?;
        match (&self.copy, &self.engine) {
            (Some(engine), _) | (None, Engine::Cpu(engine)) => Ok(engine.read(position)),
            (None, Engine::Gpu(engine)) => {
                wait::check(OPERATION)?;
                engine.read_one(position)
            }
        }
    }

    /// Positions in use, those of removed patterns included: the width of [`Retrieval::weights`] and of a [`Mask`]. As
    /// long as nothing is removed this is [`Memory::len`].
    pub fn positions(&self) -> usize {
        self.ids.positions()
    }

    /// The pattern that is at `position` now. Positions of an answer are those of [`Retrieval::id_at`]: what is removed
    /// and added between may have changed what is where.
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
    /// let second = memory.filter(|id| id == PatternId(1));
    /// let options = RetrieveOptions::default().mask(second);
    /// assert_eq!(memory.retrieve_with_blocking(&[1.0, 0.0], &options)?.output, [0.0, 1.0]);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    pub fn filter(&self, mut keep: impl FnMut(PatternId) -> bool) -> Mask {
        let flags = (0..self.positions()).map(|position| self.ids.id(position).is_some_and(&mut keep)).collect();
        Mask::of_memory(flags, self.ids.generation())
    }

    fn position(&self, operation: &'static str, id: PatternId) -> Result<usize> {
        self.ids.position(id).ok_or(Error::UnknownId { operation, id })
    }

    /// One update for each row of `queries` (`B x d`).
    ///
    /// # Errors
    /// As [`Memory::retrieve_with`].
    pub async fn retrieve(&self, queries: &[f32]) -> Result<Retrieval> {
        self.submit("Memory::retrieve", queries, &RetrieveOptions::default())?.await
    }

    /// [`Memory::retrieve`], waiting for the answer on this thread.
    ///
    /// # Errors
    /// As [`Memory::retrieve_with_blocking`].
    pub fn retrieve_blocking(&self, queries: &[f32]) -> Result<Retrieval> {
        self.answer("Memory::retrieve_blocking", queries, &RetrieveOptions::default())
    }

    /// Retrieves for each row of `queries` (`B x d`) as `options` say; no row gives an answer of no row. On a GPU:
    /// uploads, records, submits and reads back in the same submission; the future completes under any executor.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::NotFinite`] for the queries, [`Error::Empty`], [`Error::Parameter`] for the
    /// options, [`Error::Stale`] for a mask that this memory has outlived, [`Error::Unsupported`] for an energy where
    /// the rule has none, [`Error::OutOfMemory`] where the host has no room for the answers, [`Error::Lost`] where the
    /// device fails.
    pub async fn retrieve_with(&self, queries: &[f32], options: &RetrieveOptions) -> Result<Retrieval> {
        self.submit("Memory::retrieve_with", queries, options)?.await
    }

    /// [`Memory::retrieve_with`] for callers that neither await nor wait: the answer is on its way, and this memory may
    /// change meanwhile. On a GPU everything has been submitted when this returns; the CPU engine computes on the
    /// threads of `rayon`, or in a browser, which has none, before this returns.
    ///
    /// # Errors
    /// As [`Memory::retrieve_with`]; the [`Error::Lost`] of a device that fails meanwhile, and on the CPU engine
    /// [`Error::OutOfMemory`], come with the answer.
    pub fn begin(&self, queries: &[f32], options: &RetrieveOptions) -> Result<Pending<Retrieval>> {
        self.submit("Memory::begin", queries, options)
    }

    fn submit(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
    ) -> Result<Pending<Retrieval>> {
        self.check(operation, queries, options)?;
        let view = self.ids.view();
        let answer = match &self.engine {
            Engine::Cpu(engine) => engine.begin(operation, queries, options, view),
            Engine::Gpu(engine) => engine.retrieve(operation, queries, options, &view, gpu::Wait::Forbidden),
        };
        answer.map(Pending::new)
    }

    /// [`Memory::retrieve_with`], waiting for the answer on this thread.
    ///
    /// # Errors
    /// As [`Memory::retrieve_with`], and [`Error::Unsupported`] on a GPU in a browser, where nothing can wait.
    pub fn retrieve_with_blocking(&self, queries: &[f32], options: &RetrieveOptions) -> Result<Retrieval> {
        self.answer("Memory::retrieve_with_blocking", queries, options)
    }

    fn answer(&self, operation: &'static str, queries: &[f32], options: &RetrieveOptions) -> Result<Retrieval> {
        self.check(operation, queries, options)?;
        let view = self.ids.view();
        match &self.engine {
            Engine::Cpu(engine) => engine.retrieve(operation, queries, options, &view),
            Engine::Gpu(engine) => {
                wait::check(operation)?;
                Pending::new(engine.retrieve(operation, queries, options, &view, gpu::Wait::Allowed)?).wait()
            }
        }
    }

    /// One update for each row of `queries` (`B x d`) over the patterns that `options` name, to be merged with those over
    /// other patterns, of this memory or of any other under the same rule ([`Partial`]).
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::NotFinite`] for the queries, [`Error::Parameter`] for a subset that is not within
    /// the memory, [`Error::Shape`] for a mask that does not fit, [`Error::Lost`] where the device fails.
    pub async fn retrieve_partial(&self, queries: &[f32], options: &PartialOptions) -> Result<Vec<Partial>> {
        self.partials(queries, options, gpu::Wait::Forbidden).await
    }

    /// [`Memory::retrieve_partial`], waiting for the answer on this thread.
    ///
    /// # Errors
    /// As [`Memory::retrieve_partial`], and [`Error::Unsupported`] on a GPU in a browser, where nothing can wait.
    pub fn retrieve_partial_blocking(&self, queries: &[f32], options: &PartialOptions) -> Result<Vec<Partial>> {
        const OPERATION: &str = "Memory::retrieve_partial_blocking";
        if let Engine::Gpu(_) = self.engine {
            wait::check(OPERATION)?;
        }
        wait::block_on(OPERATION, self.partials(queries, options, gpu::Wait::Allowed))
    }

    async fn partials(&self, queries: &[f32], options: &PartialOptions, wait: gpu::Wait) -> Result<Vec<Partial>> {
        const OPERATION: &str = "Memory::retrieve_partial";
        fork::check(OPERATION)?;
        let batch = rows(OPERATION, "queries", queries, self.layout.dim)?;
        options.validate(OPERATION, batch, &self.facing())?;
        check_finite(OPERATION, "queries", queries, self.layout.dim)?;
        self.check_queries(OPERATION, queries, &RetrieveOptions::default())?;
        let view = self.ids.view();
        match &self.engine {
            Engine::Cpu(engine) => Ok(engine.partials(queries, options, view.alive())),
            Engine::Gpu(engine) => engine.partials(queries, options, &view, wait).await,
        }
    }

    /// Compiles and allocates now what a retrieval of `batch` queries with these options needs, as a game does behind its
    /// loading screen: otherwise the first retrieval of its kind does. Neither submits nor waits. Other batches may go by
    /// other kernels ([`Memory::explain`]); the CPU engine has nothing to prepare.
    ///
    /// # Errors
    /// As [`Memory::explain`].
    pub fn prepare(&self, batch: usize, options: &RetrieveOptions) -> Result<()> {
        const OPERATION: &str = "Memory::prepare";
        self.foreseen(OPERATION, batch, options)?;
        match &self.engine {
            Engine::Cpu(_) => Ok(()),
            Engine::Gpu(engine) => engine.prepare(OPERATION, batch, options, &self.ids.view()),
        }
    }

    /// How this memory would answer `batch` queries: kernels, tiles, splits, windows, dispatches, and the work that they
    /// are. On a GPU the workspace is allocated, and nothing is compiled or run.
    ///
    /// ```
    /// use attractor::{Device, Memory, RetrieveOptions, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0))?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
    /// println!("{}", memory.explain(100, &RetrieveOptions::default())?);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Memory::retrieve_with`]; [`Error::Parameter`] for a batch of none, [`Error::Limit`] for one that no slice
    /// holds, and for more dispatches than are counted in reasonable time.
    pub fn explain(&self, batch: usize, options: &RetrieveOptions) -> Result<Explanation> {
        const OPERATION: &str = "Memory::explain";
        self.foreseen(OPERATION, batch, options)?;
        match &self.engine {
            Engine::Cpu(engine) => Ok(engine.explain(batch, options, self.device.info())),
            Engine::Gpu(engine) => engine.explain(OPERATION, batch, options, &self.ids.view()),
        }
    }

    /// Records a retrieval into `encoder`: reads queries from, and writes answers to, buffers of the caller. Neither
    /// submits nor polls; the answers are there for later passes of the same encoder. The patterns are those that are
    /// stored now, even if the caller submits later.
    ///
    /// # Errors
    /// [`Error::Device`] on the CPU engine, [`Error::Empty`], [`Error::Parameter`] for the options,
    /// [`Error::Unsupported`] for reports, which the buffers have no place for ([`Memory::record_answers`] brings
    /// them), [`Error::Shape`] where a buffer is too small or lacks `STORAGE` usage, [`Error::OtherDevice`] where it is
    /// of another device, [`Error::Limit`] for more dispatches than one encoder takes. Nothing has been recorded then.
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        job: &gpu::Recording<'_>,
        options: &RetrieveOptions,
    ) -> Result<()> {
        const OPERATION: &str = "Memory::record";
        options.without_reports(OPERATION)?;
        let engine = self.recorder(OPERATION, job.count, options)?;
        engine.record(OPERATION, encoder, job, options, None, &self.ids.view(), self.snapshots.take())
    }

    /// [`Memory::record`] with timestamps at the beginning and the end of its compute pass; none where there are no
    /// queries.
    ///
    /// # Errors
    /// As [`Memory::record`].
    pub fn record_timed(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        job: &gpu::Recording<'_>,
        options: &RetrieveOptions,
        timestamps: wgpu::ComputePassTimestampWrites<'_>,
    ) -> Result<()> {
        const OPERATION: &str = "Memory::record_timed";
        options.without_reports(OPERATION)?;
        let engine = self.recorder(OPERATION, job.count, options)?;
        engine.record(OPERATION, encoder, job, options, Some(timestamps), &self.ids.view(), self.snapshots.take())
    }

    /// [`Memory::record`] of which the host wants the answers: `B = count` queries are read from a buffer of the caller,
    /// and everything that `options` ask for comes with the [`Pending`] once the caller has submitted `encoder`. Neither
    /// submits nor polls: the read-back is mapped by `wgpu::CommandEncoder::map_buffer_on_submit`.
    ///
    /// # Errors
    /// As [`Memory::record`]. Where the encoder is dropped instead of submitted, or the device fails, the [`Pending`]
    /// gives [`Error::Lost`].
    pub fn record_answers(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        count: usize,
        queries: gpu::Rows<'_>,
        options: &RetrieveOptions,
    ) -> Result<Pending<Retrieval>> {
        const OPERATION: &str = "Memory::record_answers";
        let engine = self.recorder(OPERATION, count, options)?;
        let answer =
            engine.record_answers(OPERATION, encoder, count, queries, options, &self.ids.view(), self.snapshots.take());
        answer.map(Pending::new)
    }

    /// A retrieval for each row of `queries` (`B x d`) that the host records slice by slice ([`Job`](gpu::Job)), and its answer,
    /// which comes once all slices have been submitted and run. It sees the patterns that are stored now, whatever is
    /// added, updated or removed before it ends; meanwhile the room of removed patterns is not used again.
    ///
    /// # Errors
    /// As [`Memory::retrieve_with`], and [`Error::Device`] on the CPU engine.
    pub fn job(&self, queries: &[f32], options: &RetrieveOptions) -> Result<(gpu::Job, Pending<Retrieval>)> {
        const OPERATION: &str = "Memory::job";
        self.check(OPERATION, queries, options)?;
        let engine = self.recorder(OPERATION, queries.len() / self.layout.dim, options)?;
        let (job, answer) = engine.job(OPERATION, queries, options, &self.ids.view(), self.snapshots.take())?;
        Ok((job, Pending::new(answer)))
    }

    /// [`Memory::job`] from and to buffers of the caller's, as [`Memory::record`] has it. Nothing is read back.
    ///
    /// # Errors
    /// As [`Memory::record`].
    pub fn job_into(&self, recording: &gpu::Recording<'_>, options: &RetrieveOptions) -> Result<gpu::Job> {
        const OPERATION: &str = "Memory::job_into";
        options.without_reports(OPERATION)?;
        let engine = self.recorder(OPERATION, recording.count, options)?;
        engine.job_into(OPERATION, recording, options, &self.ids.view(), self.snapshots.take())
    }

    /// The engine that records, if it can record `count` queries.
    fn recorder(&self, operation: &'static str, count: usize, options: &RetrieveOptions) -> Result<&gpu::Engine> {
        fork::check(operation)?;
        options.validate(operation, count, &self.facing())?;
        self.defined(operation, options)?;
        if self.is_empty() {
            return Err(Error::Empty { operation });
        }
        match &self.engine {
            Engine::Cpu(_) => Err(Error::Device {
                operation,
                why: "the memory lives on the CPU engine, which has no command encoder".into(),
            }),
            Engine::Gpu(engine) => {
                // The device looks at the queries.
                engine.check_range(operation, &[], options, self.ids.view().alive())?;
                Ok(engine)
            }
        }
    }

    /// Refuses what could not be retrieved.
    fn foreseen(&self, operation: &'static str, batch: usize, options: &RetrieveOptions) -> Result<()> {
        // Floats of a slice.
        const MOST: usize = isize::MAX as usize / size_of::<f32>();
        fork::check(operation)?;
        options.validate(operation, batch, &self.facing())?;
        self.defined(operation, options)?;
        if self.is_empty() {
            return Err(Error::Empty { operation });
        }
        match batch.checked_mul(self.layout.dim.max(self.layout.output_dim())) {
            Some(0) => Err(Error::Parameter { operation, parameter: "batch", expected: "at least 1", got: "0".into() }),
            Some(floats) if floats <= MOST => Ok(()),
            floats => {
                let (need, allowed) = (floats.map_or(u64::MAX, |floats| floats as u64), MOST as u64);
                Err(Error::Limit { operation, limit: "floats of one batch", need, allowed })
            }
        }
    }

    /// What options must fit.
    fn facing(&self) -> MemoryExtent {
        MemoryExtent { dim: self.layout.dim, patterns: self.positions(), generation: self.ids.generation() }
    }

    /// Refuses reports that the rule has no definition of.
    fn defined(&self, operation: &'static str, options: &RetrieveOptions) -> Result<()> {
        match options.energy || options.trace {
            true => self.rule.check_energy(operation),
            false => Ok(()),
        }
    }

    fn check(&self, operation: &'static str, queries: &[f32], options: &RetrieveOptions) -> Result<()> {
        fork::check(operation)?;
        let batch = rows(operation, "queries", queries, self.layout.dim)?;
        options.validate(operation, batch, &self.facing())?;
        self.defined(operation, options)?;
        if self.is_empty() {
            return Err(Error::Empty { operation });
        }
        check_finite(operation, "queries", queries, self.layout.dim)?;
        self.check_queries(operation, queries, options)
    }

    /// Refuses finite queries that the engine may not answer right; the CPU engine answers all.
    fn check_queries(&self, operation: &'static str, queries: &[f32], options: &RetrieveOptions) -> Result<()> {
        match &self.engine {
            Engine::Cpu(_) => Ok(()),
            Engine::Gpu(engine) => engine.check_range(operation, queries, options, self.ids.view().alive()),
        }
    }
}
