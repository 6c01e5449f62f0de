//! Retrievals: their options, and the calls that begin them.

use std::ptr;

use attractor::retrieval::{DEFAULT_TOLERANCE, WeightsOf};
use attractor::{Mask, PatternId, RetrieveOptions, Similarity};

use crate::codes::{Layout, attractor_mask, decode};
use crate::error::{Failure, Outcome, attractor_error, code};
use crate::memory::attractor_memory;
use crate::pending::attractor_pending;
use crate::pointer::{Array, Out, OutRows, borrow, optional_rows, rows};
use crate::retrieval::{ATTRACTOR_NO_PATTERN, attractor_retrieval};
use crate::versioned::{init, read, versioned};

/// Options of one retrieval of B queries; `attractor_retrieve_options_init` fills them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct attractor_retrieve_options {
    /// `sizeof(attractor_retrieve_options)`.
    pub size: usize,
    /// Report this many patterns of largest weight, at most 1,024; 0 for none.
    pub top: usize,
    /// Choose kernels as for a batch of this many queries, so that a query gives the same bits alone as in any batch; 0
    /// chooses for the batch of this call.
    pub plan_for: usize,
    /// `mask_length` bytes as `mask_layout` says, where N is `attractor_memory_positions`; NULL without a mask.
    pub mask: *const u8,
    /// N, or B x N.
    pub mask_length: usize,
    /// B x d bytes, row-major: not 0 where a coordinate is known and stays as the query has it in every state; NULL
    /// where none is.
    pub clamp: *const u8,
    /// B x d.
    pub clamp_length: usize,
    /// One of `attractor_mask`.
    pub mask_layout: u32,
    /// The number of updates, at least 1; with `converge` the maximum.
    pub steps: u32,
    /// Not 0: each query stops as soon as no coordinate changes by more than `tolerance`.
    pub converge: u32,
    /// Above 0; ignored without `converge`.
    pub tolerance: f32,
    /// Not 0: report the energy of the last state. Not every rule has one.
    pub energy: u32,
    /// Not 0: report the energies of the query and of every state after it.
    pub energy_trace: u32,
    /// Not 0: report support, perplexity, largest weight and the kind of fixed point.
    pub statistics: u32,
    /// Not 0: report every weight, N of them for each query.
    pub weights: u32,
    /// With `has_threshold`: of `top`, report only patterns of at least this similarity; under euclidean and manhattan
    /// similarity within this distance (euclidean: its square). Rounded to f32. Patterns that are not among the `top`
    /// of largest weight are not looked at.
    pub threshold: f64,
    /// Not 0: `threshold` is one.
    pub has_threshold: u32,
    /// Of `top`, report only patterns of at least this weight, from 1/1,024 to 1, and count all that have it; 0 for no
    /// least weight.
    pub least_weight: f32,
    /// B x d floats, row-major, to add to the sums of every update; NULL without.
    pub field: *const f32,
    /// B x d.
    pub field_length: usize,
    /// B floats: a beta for each query, in place of the rule's; NULL without.
    pub betas: *const f32,
    /// B.
    pub betas_length: usize,
    /// B ids of patterns: one for each query to leave out, or `ATTRACTOR_NO_PATTERN` for none; NULL without.
    pub exclude: *const u64,
    /// B.
    pub exclude_length: usize,
    /// 2 B positions: each query sees those patterns alone from the first position of its pair up to and without the
    /// second; NULL where all see all. Queries of one range should be next to each other.
    pub rows: *const usize,
    /// 2 B.
    pub rows_length: usize,
}

versioned!(attractor_retrieve_options, weights: u32);

fn defaults(size: usize) -> attractor_retrieve_options {
    attractor_retrieve_options {
        size,
        top: 0,
        plan_for: 0,
        mask: ptr::null(),
        mask_length: 0,
        clamp: ptr::null(),
        clamp_length: 0,
        mask_layout: attractor_mask::ATTRACTOR_MASK_NONE as u32,
        steps: 1,
        converge: 0,
        tolerance: DEFAULT_TOLERANCE,
        energy: 0,
        energy_trace: 0,
        statistics: 0,
        weights: 0,
        threshold: 0.0,
        has_threshold: 0,
        least_weight: 0.0,
        field: ptr::null(),
        field_length: 0,
        betas: ptr::null(),
        betas_length: 0,
        exclude: ptr::null(),
        exclude_length: 0,
        rows: ptr::null(),
        rows_length: 0,
    }
}

impl attractor_retrieve_options {
    /// # Safety
    /// The crate's contract: the arrays have their lengths.
    unsafe fn checked(&self, similarity: Similarity) -> Outcome<RetrieveOptions> {
        let mut options = match self.converge {
            0 => RetrieveOptions::steps(self.steps),
            _ => RetrieveOptions::converge(self.steps, self.tolerance),
        };
        options = options.top(self.top);
        if self.has_threshold != 0 {
            let threshold = self.threshold as f32;
            options = match similarity {
                Similarity::Euclidean | Similarity::Manhattan => options.at_most(threshold),
                _ => options.at_least(threshold),
            };
        }
        if self.least_weight != 0.0 {
            options = options.weight_at_least(self.least_weight);
        }
        if self.energy != 0 {
            options = options.energy();
        }
        if self.energy_trace != 0 {
            options = options.trace();
        }
        if self.statistics != 0 {
            options = options.statistics();
        }
        if self.weights != 0 {
            options = options.weights(WeightsOf::All);
        }
        if self.plan_for > 0 {
            options = options.plan_for(self.plan_for);
        }
        // SAFETY: by this function's own contract.
        if let Some(mask) = unsafe { mask_of((self.mask, self.mask_length), self.mask_layout) }? {
            options = options.mask(mask);
        }
        // SAFETY: by this function's own contract.
        if let Some(clamp) = unsafe { optional_rows("clamp", (self.clamp, self.clamp_length), self.clamp_length, 1) }? {
            options = options.clamp(&flags(clamp));
        }
        // SAFETY: by this function's own contract.
        unsafe { self.per_query(options) }
    }

    /// `options` with what each query has of its own.
    ///
    /// # Safety
    /// The crate's contract: the arrays have their lengths.
    unsafe fn per_query(&self, mut options: RetrieveOptions) -> Outcome<RetrieveOptions> {
        // SAFETY: by this function's own contract.
        let (field, betas, exclude, positions) = unsafe {
            (
                optional_rows("field", (self.field, self.field_length), self.field_length, 1)?,
                optional_rows("betas", (self.betas, self.betas_length), self.betas_length, 1)?,
                optional_rows("exclude", (self.exclude, self.exclude_length), self.exclude_length, 1)?,
                optional_rows("rows", (self.rows, self.rows_length), self.rows_length, 1)?,
            )
        };
        if let Some(field) = field {
            options = options.field(field);
        }
        if let Some(betas) = betas {
            options = options.betas(betas);
        }
        if let Some(ids) = exclude {
            let ids: Vec<_> = ids.iter().map(|id| (*id != ATTRACTOR_NO_PATTERN).then_some(PatternId(*id))).collect();
            options = options.exclude(&ids);
        }
        if let Some(positions) = positions {
            let (pairs, []) = positions.as_chunks::<2>() else {
                let expected = "rows of 2 positions for each query".into();
                return Err(Failure::Shape { expected, got: positions.len() });
            };
            let ranges: Vec<_> = pairs.iter().map(|[first, end]| *first..*end).collect();
            options = options.rows(&ranges);
        }
        Ok(options)
    }
}

/// The mask of options, in one of the layouts of `attractor_mask`; `None` without a mask.
///
/// # Safety
/// The crate's contract: the mask has its length.
pub(crate) unsafe fn mask_of((mask, length): Array<u8>, layout: u32) -> Outcome<Option<Mask>> {
    let layout: Option<Layout> = decode::<attractor_mask>("mask_layout", layout)?.into();
    match layout {
        // SAFETY: by this function's own contract.
        Some(made) => Ok(Some(made(&flags(unsafe { rows("mask", (mask, length), length, 1) }?)))),
        None if mask.is_null() && length == 0 => Ok(None),
        None => {
            let (parameter, expected) = ("mask_layout", "that of the mask that is given");
            Err(Failure::Parameter { parameter, expected, got: "ATTRACTOR_MASK_NONE".into() })
        }
    }
}

/// Bytes as flags; any number but 0 is true.
fn flags(bytes: &[u8]) -> Vec<bool> {
    bytes.iter().map(|byte| *byte != 0).collect()
}

/// Fills `*options`, of `size` = `sizeof(attractor_retrieve_options)` bytes: one update, without mask, clamp and
/// reports.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieve_options_init(
    options: *mut attractor_retrieve_options,
    size: usize,
) -> attractor_error {
    const OPERATION: &str = "attractor_retrieve_options_init";
    // SAFETY: the crate's contract.
    code(OPERATION, || unsafe { init(options, size, defaults(size)) })
}

/// The queries, in memory of the caller, and the options of a retrieval.
///
/// # Safety
/// The crate's contract.
unsafe fn request<'a>(
    memory: &attractor_memory,
    queries: Array<f32>,
    count: usize,
    options: *const attractor_retrieve_options,
) -> Outcome<(&'a [f32], RetrieveOptions)> {
    // SAFETY: by this function's own contract.
    unsafe {
        let queries = rows("queries", queries, count, memory.dim)?;
        let options = match options.is_null() {
            true => RetrieveOptions::default(),
            false => read(options, defaults(0))?.checked(memory.read()?.rule().similarity)?,
        };
        Ok((queries, options))
    }
}

/// Retrieves for `count` queries, of `queries_length` = count x d floats together, with `options`, or with one update
/// where they are NULL, and waits for the answer on this thread. The outputs are written to `output`, of
/// `output_length` = count x dv floats, unless it is NULL with length 0; outputs and reports go to `*retrieval`, to be
/// freed by `attractor_retrieval_free`, unless that is NULL. Not both may be NULL.
///
/// Errors: `ATTRACTOR_ERROR_EMPTY`; `ATTRACTOR_ERROR_SHAPE` for queries, an output, or an array of the options of a wrong
/// length; `ATTRACTOR_ERROR_NOT_FINITE`; `ATTRACTOR_ERROR_PARAMETER` for the options; `ATTRACTOR_ERROR_UNSUPPORTED` for
/// a report that the rule does not have; `ATTRACTOR_ERROR_OUT_OF_MEMORY` where there is no room for the answers;
/// `ATTRACTOR_ERROR_LOST`; `ATTRACTOR_ERROR_NULL_POINTER`. `*retrieval` is NULL then, and nothing is written to
/// `output`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_retrieve(
    memory: *const attractor_memory,
    queries: *const f32,
    queries_length: usize,
    count: usize,
    options: *const attractor_retrieve_options,
    output: *mut f32,
    output_length: usize,
    retrieval: *mut *mut attractor_retrieval,
) -> attractor_error {
    code("attractor_memory_retrieve", || {
        let out = match retrieval.is_null() {
            true => None,
            // SAFETY: the crate's contract.
            false => Some(unsafe { Out::handle("retrieval", retrieval) }?),
        };
        // SAFETY: the crate's contract.
        let memory = unsafe { borrow("memory", memory) }?;
        let expected = count.saturating_mul(memory.value_dim.unwrap_or(memory.dim));
        // SAFETY: the crate's contract.
        let output = unsafe { OutRows::new("output", expected, output, output_length) }?;
        if !output.is_wanted() && out.is_none() && count > 0 {
            return Err(Failure::Null("output"));
        }
        // SAFETY: the crate's contract.
        let (queries, options) = unsafe { request(memory, (queries, queries_length), count, options) }?;
        let answer = memory.read()?.retrieve_blocking(queries, &options)?;
        // Nothing is written before the last step that may fail.
        match out {
            None => output.write(&answer.output),
            Some(out) => {
                let retrieval = attractor_retrieval::new(answer)?;
                output.write(retrieval.outputs());
                out.give(retrieval);
            }
        }
        Ok(())
    })
}

/// Begins the same retrieval without waiting for it; it waits only for a call that is changing the memory. `*pending`
/// gets the answer; free it with `attractor_pending_free` at any time. Queries and options have been copied when this
/// returns, and the memory may change or be freed: the retrieval sees it as it was.
///
/// Errors: those of `attractor_memory_retrieve`; a device that fails later makes `attractor_pending_take` return
/// `ATTRACTOR_ERROR_LOST`. `*pending` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_retrieve_begin(
    memory: *const attractor_memory,
    queries: *const f32,
    queries_length: usize,
    count: usize,
    options: *const attractor_retrieve_options,
    pending: *mut *mut attractor_pending,
) -> attractor_error {
    code("attractor_memory_retrieve_begin", || {
        // SAFETY: the crate's contract.
        let (out, memory) = unsafe { (Out::handle("pending", pending)?, borrow("memory", memory)?) };
        // SAFETY: the crate's contract.
        let (queries, options) = unsafe { request(memory, (queries, queries_length), count, options) }?;
        out.give(attractor_pending::new(memory.read()?.retrieve(queries, &options)?));
        Ok(())
    })
}
