//! What is asked of a retrieval, and what it found.

use std::ptr;

use super::error::{Outcome, attractor_error, code, guard};
use super::pointer::{Out, borrow, free, lend, optional_rows, rows};
use super::versioned::{choice, init, versioned};
use crate::error::Error;
use crate::id::PatternId;
use crate::mask::Mask;
use crate::retrieval::{
    DEFAULT_TOLERANCE, FixedPoint, Retrieval, RetrieveOptions, Statistics, Status, Stop, WeightsOf,
};
use crate::room::room;

/// A finished retrieval: the answers to B queries against N patterns. It never changes, so any number of threads may read it
/// at once. Everything that its functions point to lives until it is freed.
#[derive(Debug)]
pub struct attractor_retrieval {
    retrieval: Retrieval,
    status: Vec<attractor_status>,
    statistics: Option<Vec<attractor_statistics>>,
    top_ids: Option<Vec<u64>>,
}

/// What an array of ids has where there is no pattern.
pub const ATTRACTOR_NO_PATTERN: u64 = u64::MAX;

/// What the answer to a query is worth.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_status {
    /// It is an answer.
    ATTRACTOR_STATUS_ANSWERED = 0,
    /// Every pattern is masked: the weights, the output and the state are zero.
    ATTRACTOR_STATUS_NOTHING_LEFT = 1,
    /// The query has a NaN or an infinity; calls from C refuse it before it comes to that.
    ATTRACTOR_STATUS_NOT_FINITE = 2,
    /// The query has a coordinate beyond the range in which the device computes right answers.
    ATTRACTOR_STATUS_OUT_OF_RANGE = 3,
}

/// The kinds of fixed point of Ramsauer et al., told from the weights.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_fixed_point {
    /// One pattern: the largest weight is at least 0.99.
    ATTRACTOR_FIXED_POINT_SINGLE = 0,
    /// An average over all: the perplexity is at least N / 2.
    ATTRACTOR_FIXED_POINT_GLOBAL = 1,
    /// An average over some.
    ATTRACTOR_FIXED_POINT_METASTABLE = 2,
}

/// What the weights of the last step of one query look like.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct attractor_statistics {
    /// Patterns whose weight is above zero.
    pub support: u32,
    /// `exp(-sum_i p_i ln p_i)`: how many patterns the weights are spread over.
    pub perplexity: f32,
    /// The largest weight.
    pub largest: f32,
    /// What this makes of the state.
    pub kind: attractor_fixed_point,
}

/// The direction and the shape of a mask.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_mask {
    /// There is no mask.
    ATTRACTOR_MASK_NONE = 0,
    /// N bytes: not 0 where a pattern may be used, by every query.
    ATTRACTOR_MASK_KEEP = 1,
    /// B x N bytes, row-major: not 0 where that query may use that pattern.
    ATTRACTOR_MASK_KEEP_PER_QUERY = 2,
    /// N bytes: not 0 where a pattern may not be used, by any query.
    ATTRACTOR_MASK_EXCLUDE = 3,
    /// B x N bytes, row-major: not 0 where that query may not use that pattern.
    ATTRACTOR_MASK_EXCLUDE_PER_QUERY = 4,
}

/// What is asked of one retrieval of B queries; `attractor_retrieve_options_init` fills it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct attractor_retrieve_options {
    /// `sizeof(attractor_retrieve_options)`.
    pub size: usize,
    /// Report this many patterns of largest weight, at most 1,024; none at 0.
    pub top: usize,
    /// Choose kernels as for a batch of this many queries, so that a query gives the same bits alone as in any batch; 0
    /// chooses for the batch at hand.
    pub plan_for: usize,
    /// `mask_length` bytes as `mask_layout` says, where N is `attractor_memory_positions`; NULL without a mask.
    pub mask: *const u8,
    /// N, or B x N.
    pub mask_length: usize,
    /// B x d bytes, row-major: not 0 where a coordinate is known and stays as the query has it in every state; NULL where
    /// none is.
    pub clamp: *const u8,
    /// B x d.
    pub clamp_length: usize,
    /// One of `attractor_mask`.
    pub mask_layout: u32,
    /// Updates to do, at least 1; with `converge` the most of them.
    pub steps: u32,
    /// Not 0: each query stops by itself as soon as no coordinate moves by more than `tolerance`.
    pub converge: u32,
    /// Above 0; of no consequence without `converge`.
    pub tolerance: f32,
    /// Not 0: report the energy of the last state. Not every rule has one.
    pub energy: u32,
    /// Not 0: report the energies of the query and of every state after it.
    pub energy_trace: u32,
    /// Not 0: report support, perplexity, largest weight and the kind of fixed point.
    pub statistics: u32,
    /// Not 0: report every weight, N of them for each query.
    pub weights: u32,
}

versioned!(attractor_retrieve_options, weights: u32);

pub(super) fn defaults(size: usize) -> attractor_retrieve_options {
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
    }
}

impl attractor_retrieve_options {
    /// # Safety
    /// The module's contract: the mask and the clamp have their lengths.
    pub(super) unsafe fn checked(&self, operation: &'static str) -> Outcome<RetrieveOptions> {
        let stop = match self.converge {
            0 => Stop::Steps(self.steps),
            _ => Stop::Converge { max_steps: self.steps, tolerance: self.tolerance },
        };
        // SAFETY: by this function's own contract.
        let clamp = (self.clamp, self.clamp_length);
        // SAFETY: by this function's own contract.
        let clamp = unsafe { optional_rows(operation, "clamp", clamp, self.clamp_length, 1) }?;
        Ok(RetrieveOptions {
            stop,
            energy: self.energy != 0,
            trace: self.energy_trace != 0,
            top: self.top,
            statistics: self.statistics != 0,
            weights: if self.weights != 0 { WeightsOf::All } else { WeightsOf::None },
            // SAFETY: by this function's own contract.
            mask: unsafe { self.mask(operation) }?,
            clamp: clamp.map(flags),
            plan_for: (self.plan_for > 0).then_some(self.plan_for),
            ..RetrieveOptions::default()
        })
    }

    /// # Safety
    /// The module's contract: the mask has its length.
    unsafe fn mask(&self, operation: &'static str) -> Outcome<Option<Mask>> {
        type Layout = fn(&[bool]) -> Mask;
        use attractor_mask::*;
        let layouts: [(u32, Option<Layout>); 5] = [
            (ATTRACTOR_MASK_NONE as u32, None),
            (ATTRACTOR_MASK_KEEP as u32, Some(Mask::keep)),
            (ATTRACTOR_MASK_KEEP_PER_QUERY as u32, Some(Mask::keep_per_query)),
            (ATTRACTOR_MASK_EXCLUDE as u32, Some(Mask::exclude)),
            (ATTRACTOR_MASK_EXCLUDE_PER_QUERY as u32, Some(Mask::exclude_per_query)),
        ];
        let expected = "one of attractor_mask";
        match choice(operation, "mask_layout", expected, self.mask_layout, &layouts)? {
            // SAFETY: by this function's own contract.
            Some(mask) => Ok(Some(mask(&flags(unsafe {
                rows(operation, "mask", (self.mask, self.mask_length), self.mask_length, 1)
            }?)))),
            None if self.mask.is_null() && self.mask_length == 0 => Ok(None),
            None => {
                let (parameter, expected) = ("mask_layout", "that of the mask that is given");
                Err(Error::Parameter { operation, parameter, expected, got: "ATTRACTOR_MASK_NONE".into() }.into())
            }
        }
    }
}

/// What `of` makes of each.
fn each<T, U>(operation: &'static str, all: &[T], of: impl Fn(&T) -> U) -> Outcome<Vec<U>> {
    let mut made = room(operation, "answers", all.len())?;
    made.extend(all.iter().map(of));
    Ok(made)
}

/// Bytes as flags; C may have any number for true.
fn flags(bytes: &[u8]) -> Vec<bool> {
    bytes.iter().map(|byte| *byte != 0).collect()
}

impl attractor_retrieval {
    pub(super) fn outputs(&self) -> &[f32] {
        &self.retrieval.output
    }

    /// What C reads of `retrieval`, or an error where the host has no room for it.
    pub(super) fn new(operation: &'static str, retrieval: Retrieval) -> Outcome<Self> {
        let status = |status: &Status| match status {
            Status::Answered => attractor_status::ATTRACTOR_STATUS_ANSWERED,
            Status::NothingLeft => attractor_status::ATTRACTOR_STATUS_NOTHING_LEFT,
            Status::NotFinite => attractor_status::ATTRACTOR_STATUS_NOT_FINITE,
            Status::OutOfRange => attractor_status::ATTRACTOR_STATUS_OUT_OF_RANGE,
        };
        let kind = |kind| match kind {
            FixedPoint::Single => attractor_fixed_point::ATTRACTOR_FIXED_POINT_SINGLE,
            FixedPoint::Global => attractor_fixed_point::ATTRACTOR_FIXED_POINT_GLOBAL,
            FixedPoint::Metastable => attractor_fixed_point::ATTRACTOR_FIXED_POINT_METASTABLE,
        };
        let statistics = |of: &Statistics| attractor_statistics {
            support: of.support,
            perplexity: of.perplexity,
            largest: of.largest,
            kind: kind(of.kind),
        };
        let id = |id: &Option<PatternId>| id.map_or(ATTRACTOR_NO_PATTERN, |id| id.0);
        Ok(Self {
            status: each(operation, &retrieval.status, status)?,
            statistics: retrieval.statistics.as_deref().map(|all| each(operation, all, statistics)).transpose()?,
            top_ids: retrieval.top.as_ref().map(|top| each(operation, &top.ids, id)).transpose()?,
            retrieval,
        })
    }
}

/// Fills `*options`, of `size` = `sizeof(attractor_retrieve_options)` bytes: one update, without mask, clamp and reports.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieve_options_init(
    options: *mut attractor_retrieve_options,
    size: usize,
) -> attractor_error {
    const OPERATION: &str = "attractor_retrieve_options_init";
    // SAFETY: the module's contract.
    code(OPERATION, || unsafe { init(OPERATION, options, size, defaults(size)) })
}

/// Frees the handle; NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_free(retrieval: *mut attractor_retrieval) {
    // SAFETY: the module's contract.
    unsafe { free("attractor_retrieval_free", retrieval) };
}

/// B, the number of queries; 0 where `retrieval` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_count(retrieval: *const attractor_retrieval) -> usize {
    // SAFETY: the module's contract.
    unsafe { number("attractor_retrieval_count", retrieval, |retrieval| retrieval.batch) }
}

/// N, the number of patterns when it was asked, with the positions of removed ones; 0 where `retrieval` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_patterns(retrieval: *const attractor_retrieval) -> usize {
    // SAFETY: the module's contract.
    unsafe { number("attractor_retrieval_patterns", retrieval, |retrieval| retrieval.patterns) }
}

/// How many patterns are reported for each query: `top`, or N where there are fewer; 0 where `retrieval` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_top_count(retrieval: *const attractor_retrieval) -> usize {
    let count = |retrieval: &Retrieval| retrieval.top.as_ref().map_or(0, |top| top.k);
    // SAFETY: the module's contract.
    unsafe { number("attractor_retrieval_top_count", retrieval, count) }
}

/// # Safety
/// The module's contract.
unsafe fn number(
    operation: &'static str,
    retrieval: *const attractor_retrieval,
    of: impl FnOnce(&Retrieval) -> usize,
) -> usize {
    // SAFETY: by this function's own contract.
    let number = guard(operation, || Ok(of(&unsafe { borrow("retrieval", retrieval) }?.retrieval)));
    number.unwrap_or(0)
}

/// The outputs `y = sum_i p_i v_i` of the last step, B x dv, row-major.
///
/// Like every array below: its length goes to `length` unless that is NULL, and it lives until the retrieval is freed.
/// NULL, and a length of 0, where `retrieval` is NULL or what is wanted was not asked for, which the last error's message
/// says; an array of length 0 is not NULL, and not to be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_output(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f32 {
    // SAFETY: the module's contract.
    unsafe { array("attractor_retrieval_output", retrieval, length, |all| Some(&all.retrieval.output)) }
}

/// The last states `x' = sum_i p_i k_i`, clamped coordinates as in the query, B x d, row-major.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_state(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f32 {
    // SAFETY: the module's contract.
    unsafe { array("attractor_retrieval_state", retrieval, length, |all| Some(&all.retrieval.state)) }
}

/// Updates done, B of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_steps(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const u32 {
    // SAFETY: the module's contract.
    unsafe { array("attractor_retrieval_steps", retrieval, length, |all| Some(&all.retrieval.steps)) }
}

/// `max |x' - x|` of the last update, B of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_change(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f32 {
    // SAFETY: the module's contract.
    unsafe { array("attractor_retrieval_change", retrieval, length, |all| Some(&all.retrieval.change)) }
}

/// Whether the change is within the tolerance (1e-4 without `converge`), B of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_converged(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const bool {
    // SAFETY: the module's contract.
    unsafe { array("attractor_retrieval_converged", retrieval, length, |all| Some(&all.retrieval.converged)) }
}

/// Whether there is an answer, B of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_status(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const attractor_status {
    // SAFETY: the module's contract.
    unsafe { array("attractor_retrieval_status", retrieval, length, |all| Some(&all.status)) }
}

/// The energies of the last states, B of them, if `energy` was asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_energy(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f64 {
    // SAFETY: the module's contract.
    unsafe { array("attractor_retrieval_energy", retrieval, length, |all| all.retrieval.energy.as_deref()) }
}

/// The energies of query `query` and of every state after it, one more than its updates, if `energy_trace` was asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_energy_trace(
    retrieval: *const attractor_retrieval,
    query: usize,
    length: *mut usize,
) -> *const f64 {
    const OPERATION: &str = "attractor_retrieval_energy_trace";
    // SAFETY: the module's contract.
    unsafe {
        array(OPERATION, retrieval, length, |all| all.retrieval.energy_trace.as_ref()?.get(query).map(Vec::as_slice))
    }
}

/// The ids of the patterns of largest weight, in falling order of weight, B x `attractor_retrieval_top_count`, if `top`
/// was asked for, as the retrieval saw the memory; `ATTRACTOR_NO_PATTERN` where fewer are stored or left by the mask.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_top_ids(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const u64 {
    const OPERATION: &str = "attractor_retrieval_top_ids";
    // SAFETY: the module's contract.
    unsafe { array(OPERATION, retrieval, length, |all| all.top_ids.as_deref()) }
}

/// Gives the id of the pattern that was at `position` when the retrieval saw the memory, whose weight is at that
/// position of each row of `attractor_retrieval_weights`; `ATTRACTOR_NO_PATTERN` where none was.
///
/// Errors: `ATTRACTOR_ERROR_PARAMETER` for a position that is not below `attractor_retrieval_patterns`;
/// `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_id_at(
    retrieval: *const attractor_retrieval,
    position: usize,
    id: *mut u64,
) -> attractor_error {
    const OPERATION: &str = "attractor_retrieval_id_at";
    code(OPERATION, || {
        // SAFETY: the module's contract.
        let (retrieval, out) = unsafe { (&borrow("retrieval", retrieval)?.retrieval, Out::new("id", id)?) };
        if position >= retrieval.patterns {
            let expected = "a position that the memory had";
            let got = format!("{position} of {}", retrieval.patterns);
            return Err(Error::Parameter { operation: OPERATION, parameter: "position", expected, got }.into());
        }
        out.write(retrieval.id_at(position).map_or(ATTRACTOR_NO_PATTERN, |id| id.0));
        Ok(())
    })
}

/// The weights of the same patterns, if `top` was asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_top_weight(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f32 {
    const OPERATION: &str = "attractor_retrieval_top_weight";
    // SAFETY: the module's contract.
    unsafe { array(OPERATION, retrieval, length, |all| Some(&all.retrieval.top.as_ref()?.weight)) }
}

/// What the weights of the last step look like, B of them, if `statistics` was asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_statistics(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const attractor_statistics {
    // SAFETY: the module's contract.
    unsafe { array("attractor_retrieval_statistics", retrieval, length, |all| all.statistics.as_deref()) }
}

/// The weights of the last step, B x N, row-major, if `weights` was asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_weights(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f32 {
    // SAFETY: the module's contract.
    unsafe { array("attractor_retrieval_weights", retrieval, length, |all| all.retrieval.weights.as_deref()) }
}

/// # Safety
/// The module's contract.
unsafe fn array<T>(
    operation: &'static str,
    retrieval: *const attractor_retrieval,
    length: *mut usize,
    of: impl FnOnce(&attractor_retrieval) -> Option<&[T]>,
) -> *const T {
    let array = guard(operation, || {
        // SAFETY: by this function's own contract.
        unsafe { lend::<T>(&[], length) }?;
        // SAFETY: by this function's own contract.
        let array = of(unsafe { borrow("retrieval", retrieval) }?);
        let what = || Error::Unsupported { operation, what: "a report that was not asked for".into() };
        // SAFETY: by this function's own contract.
        unsafe { lend(array.ok_or_else(what)?, length) }
    });
    array.unwrap_or(ptr::null())
}
