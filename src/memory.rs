//! The user's noun: patterns that are stored once and recalled by queries.

use crate::cpu;
use crate::device::{Device, Kind};
use crate::error::{Error, Result, check_finite};
use crate::gpu;
use crate::retrieval::{Retrieval, RetrieveOptions, Stop};
use crate::rule::{Rule, Separation, Similarity};
use crate::store::{Layout, PatternIds, stride};

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
    window_bytes: Option<u64>,
}

impl MemoryOptions {
    /// Keys of `dim` dimensions that are their own values, under `rule`.
    pub fn new(dim: usize, rule: Rule) -> Self {
        Self { dim, value_dim: None, rule, window_bytes: None }
    }

    /// Store a value of `value_dim` dimensions beside each key.
    pub fn value_dim(mut self, value_dim: usize) -> Self {
        self.value_dim = Some(value_dim);
        self
    }

    /// The most bytes of keys, and of values, that one window holds. The device's limits apply in any case; a smaller
    /// bound is for tests and for hosts that prefer many small buffers.
    pub fn window_bytes(mut self, bytes: u64) -> Self {
        self.window_bytes = Some(bytes);
        self
    }

    /// An empty memory on `device`.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a zero dimension or a rule that does not [validate](Rule::validate);
    /// [`Error::Limit`] where one row does not fit a window; [`Error::Unsupported`] for a rule that the engines do not
    /// compute yet.
    pub fn build(&self, device: &Device) -> Result<Memory> {
        const OPERATION: &str = "MemoryOptions::build";
        self.rule.validate()?;
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
        if (self.rule.similarity, self.rule.separation) != (Similarity::Dot, Separation::Softmax) {
            return Err(Error::Unsupported {
                operation: OPERATION,
                what: format!("{:?} similarity with {:?}", self.rule.similarity, self.rule.separation),
            });
        }
        let (limit, max_dim) = match &device.kind {
            Kind::Cpu => (usize::MAX as u64 / 2, usize::MAX / 64),
            Kind::Gpu(context) => (context.window_limit(), gpu::plan::MAX_DIM),
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
        let layout = Layout { dim: self.dim, value_dim: self.value_dim, max_rows };
        let engine = match &device.kind {
            Kind::Cpu => Engine::Cpu(cpu::Engine::new(layout, self.rule)),
            Kind::Gpu(context) => Engine::Gpu(gpu::Engine::new(context.clone(), layout, self.rule)),
        };
        Ok(Memory { device: device.clone(), layout, rule: self.rule, len: 0, next_id: 0, engine })
    }
}

/// Patterns on a device, and the rule that recalls them.
///
/// Shapes: `N` patterns, keys `N x d`, values `N x dv` (the keys themselves unless the memory has a value dimension),
/// queries `B x d`; all row-major `f32`. One update of a state `x`:
///
/// ```text
/// z_i = beta <x, k_i>     p = softmax(z)     x' = sum_i p_i k_i     y = sum_i p_i v_i
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
#[derive(Debug)]
pub struct Memory {
    device: Device,
    layout: Layout,
    rule: Rule,
    len: usize,
    next_id: u64,
    engine: Engine,
}

#[derive(Debug)]
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
        self.len
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// `d`, the length of a key, a query and a state.
    pub fn dim(&self) -> usize {
        self.layout.dim
    }

    /// `dv`, the length of a value and of an output; `d` where keys are their own values.
    pub fn value_dim(&self) -> usize {
        self.layout.output_dim()
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
    /// [`Error::Limit`] or [`Error::Lost`] where the device has no room; nothing has changed then.
    pub fn reserve(&mut self, additional: usize) -> Result<()> {
        match &mut self.engine {
            Engine::Cpu(engine) => engine.reserve(additional),
            Engine::Gpu(engine) => engine.reserve(additional),
        }
    }

    /// Forgets every pattern and keeps the room. Ids are not used again.
    pub fn clear(&mut self) {
        self.len = 0;
        match &mut self.engine {
            Engine::Cpu(engine) => engine.clear(),
            Engine::Gpu(engine) => engine.clear(),
        }
    }

    /// Stores the rows of `keys` (`n x d`) as patterns that are their own values.
    ///
    /// # Errors
    /// [`Error::Shape`] for a length that is not a multiple of `d` or a memory that has values, [`Error::NotFinite`],
    /// or the errors of [`Memory::reserve`]. The memory is then as it was.
    pub fn add(&mut self, keys: &[f32]) -> Result<PatternIds> {
        const OPERATION: &str = "Memory::add";
        if let Some(value_dim) = self.layout.value_dim {
            return Err(Error::Shape {
                operation: OPERATION,
                expected: format!("keys with values of {value_dim} dimensions (Memory::add_with_values)"),
                got: "keys alone".into(),
            });
        }
        self.store(OPERATION, keys, None)
    }

    /// Stores the rows of `keys` (`n x d`) with the rows of `values` (`n x dv`).
    ///
    /// # Errors
    /// As [`Memory::add`], and [`Error::Shape`] where the two disagree on `n`.
    pub fn add_with_values(&mut self, keys: &[f32], values: &[f32]) -> Result<PatternIds> {
        const OPERATION: &str = "Memory::add_with_values";
        let Some(value_dim) = self.layout.value_dim else {
            return Err(Error::Shape {
                operation: OPERATION,
                expected: "keys alone: this memory was created without a value dimension".into(),
                got: "keys with values".into(),
            });
        };
        let rows = rows(OPERATION, "keys", keys, self.layout.dim)?;
        if values.len() != rows * value_dim {
            return Err(Error::Shape {
                operation: OPERATION,
                expected: format!("values of {rows} x {value_dim} = {} floats", rows * value_dim),
                got: format!("{} floats", values.len()),
            });
        }
        check_finite(OPERATION, "values", values, value_dim)?;
        self.store(OPERATION, keys, Some(values))
    }

    fn store(&mut self, operation: &'static str, keys: &[f32], values: Option<&[f32]>) -> Result<PatternIds> {
        let rows = rows(operation, "keys", keys, self.layout.dim)?;
        check_finite(operation, "keys", keys, self.layout.dim)?;
        self.reserve(rows)?;
        match &mut self.engine {
            Engine::Cpu(engine) => engine.add(keys, values),
            Engine::Gpu(engine) => engine.add(keys, values),
        }
        let ids = PatternIds { range: self.next_id..self.next_id + rows as u64 };
        self.len += rows;
        self.next_id = ids.range.end;
        Ok(ids)
    }

    /// One update for each row of `queries` (`B x d`).
    ///
    /// # Errors
    /// As [`Memory::retrieve_with`].
    pub async fn retrieve(&self, queries: &[f32]) -> Result<Retrieval> {
        self.retrieve_with(queries, &RetrieveOptions::default()).await
    }

    /// [`Memory::retrieve`], waiting for the answer on this thread.
    ///
    /// # Errors
    /// As [`Memory::retrieve_with`].
    pub fn retrieve_blocking(&self, queries: &[f32]) -> Result<Retrieval> {
        self.retrieve_with_blocking(queries, &RetrieveOptions::default())
    }

    /// Retrieves for each row of `queries` (`B x d`) as `options` say. On a GPU: uploads, records, submits and reads
    /// back in the same submission; the future completes under any executor.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::NotFinite`] for the queries, [`Error::Empty`], [`Error::Parameter`] for the
    /// options, [`Error::Unsupported`] for a stopping condition that is not there yet, [`Error::Lost`] where the device
    /// fails.
    pub async fn retrieve_with(&self, queries: &[f32], options: &RetrieveOptions) -> Result<Retrieval> {
        self.check(queries, options)?;
        match &self.engine {
            Engine::Cpu(engine) => Ok(engine.retrieve(queries, options)),
            Engine::Gpu(engine) => engine.retrieve(queries, options)?.await,
        }
    }

    /// [`Memory::retrieve_with`], waiting for the answer on this thread.
    ///
    /// # Errors
    /// As [`Memory::retrieve_with`].
    pub fn retrieve_with_blocking(&self, queries: &[f32], options: &RetrieveOptions) -> Result<Retrieval> {
        self.check(queries, options)?;
        match &self.engine {
            Engine::Cpu(engine) => Ok(engine.retrieve(queries, options)),
            Engine::Gpu(engine) => engine.retrieve(queries, options)?.wait(),
        }
    }

    /// Records a retrieval into `encoder`: reads queries from, and writes answers to, buffers of the caller. Neither
    /// submits nor polls; the answers are there for later passes of the same encoder.
    ///
    /// # Errors
    /// [`Error::Device`] on the CPU engine, [`Error::Empty`], [`Error::Parameter`] for the options, [`Error::Shape`]
    /// where a buffer is too small or lacks `STORAGE` usage. Nothing has been recorded then.
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        job: &gpu::Recording<'_>,
        options: &RetrieveOptions,
    ) -> Result<()> {
        const OPERATION: &str = "Memory::record";
        options.validate()?;
        Self::supported(OPERATION, options)?;
        if self.is_empty() {
            return Err(Error::Empty { operation: OPERATION });
        }
        match &self.engine {
            Engine::Cpu(_) => Err(Error::Device {
                operation: OPERATION,
                why: "the memory lives on the CPU engine, which has no command encoder".into(),
            }),
            Engine::Gpu(engine) => engine.record(encoder, job, options),
        }
    }

    fn supported(operation: &'static str, options: &RetrieveOptions) -> Result<()> {
        match options.stop {
            Stop::Steps(_) => Ok(()),
            Stop::Converge { .. } => Err(Error::Unsupported { operation, what: "stopping at convergence".into() }),
        }
    }

    fn check(&self, queries: &[f32], options: &RetrieveOptions) -> Result<()> {
        const OPERATION: &str = "Memory::retrieve";
        options.validate()?;
        Self::supported(OPERATION, options)?;
        rows(OPERATION, "queries", queries, self.layout.dim)?;
        if self.is_empty() {
            return Err(Error::Empty { operation: OPERATION });
        }
        check_finite(OPERATION, "queries", queries, self.layout.dim)
    }
}

/// The number of rows of `dim` in a slice.
fn rows(operation: &'static str, what: &str, slice: &[f32], dim: usize) -> Result<usize> {
    if slice.len().is_multiple_of(dim) {
        return Ok(slice.len() / dim);
    }
    Err(Error::Shape {
        operation,
        expected: format!("{what} as whole rows of {dim} floats"),
        got: format!("{} floats, {} too many", slice.len(), slice.len() % dim),
    })
}
