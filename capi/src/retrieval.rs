//! Finished retrievals: outputs and reports.

use std::ptr;

use attractor::retrieval::Statistics;
use attractor::{PatternId, Retrieval};

use crate::codes::{attractor_fixed_point, attractor_status};
use crate::error::{Failure, Outcome, attractor_error, code, guard};
use crate::pointer::{Out, borrow, free, lend};

/// A finished retrieval: the answers to B queries against N patterns. It never changes, so any number of threads may
/// read it at once. The arrays that its functions return live until it is freed.
#[derive(Debug)]
pub struct attractor_retrieval {
    retrieval: Retrieval,
    status: Vec<attractor_status>,
    statistics: Option<Vec<attractor_statistics>>,
    top_ids: Option<Vec<u64>>,
}

/// The id in an array of ids where there is no pattern.
pub const ATTRACTOR_NO_PATTERN: u64 = u64::MAX;

/// Statistics of the weights of the last step of one query.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct attractor_statistics {
    /// Patterns whose weight is above zero.
    pub support: u32,
    /// `exp(-sum_i p_i ln p_i)`: the effective number of patterns.
    pub perplexity: f32,
    /// The largest weight.
    pub largest: f32,
    /// The kind of fixed point that follows.
    pub kind: attractor_fixed_point,
}

/// What `of` makes of each.
pub(crate) fn each<T, U>(all: &[T], of: impl Fn(&T) -> U) -> Outcome<Vec<U>> {
    let mut made = Vec::new();
    let bytes = (all.len() as u64).saturating_mul(size_of::<U>() as u64);
    made.try_reserve_exact(all.len()).map_err(|_| Failure::OutOfMemory { what: "answers", bytes })?;
    made.extend(all.iter().map(of));
    Ok(made)
}

impl attractor_retrieval {
    pub(crate) fn outputs(&self) -> &[f32] {
        &self.retrieval.output
    }

    /// The arrays that C reads, or an error where the host has no room for them.
    pub(crate) fn new(retrieval: Retrieval) -> Outcome<Self> {
        let statistics = |of: &Statistics| attractor_statistics {
            support: of.support,
            perplexity: of.perplexity,
            largest: of.largest,
            kind: of.kind.into(),
        };
        let id = |id: &Option<PatternId>| id.map_or(ATTRACTOR_NO_PATTERN, |id| id.0);
        Ok(Self {
            status: each(&retrieval.status, |status| (*status).into())?,
            statistics: retrieval.statistics.as_deref().map(|all| each(all, statistics)).transpose()?,
            top_ids: retrieval.top.as_ref().map(|top| each(&top.ids, id)).transpose()?,
            retrieval,
        })
    }
}

/// Frees the handle; NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_free(retrieval: *mut attractor_retrieval) {
    // SAFETY: the crate's contract.
    unsafe { free("attractor_retrieval_free", retrieval) };
}

/// B, the number of queries; 0 where `retrieval` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_count(retrieval: *const attractor_retrieval) -> usize {
    // SAFETY: the crate's contract.
    unsafe { number("attractor_retrieval_count", retrieval, |retrieval| retrieval.batch) }
}

/// N, the number of positions that the memory had, those of removed patterns included; 0 where `retrieval` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_patterns(retrieval: *const attractor_retrieval) -> usize {
    // SAFETY: the crate's contract.
    unsafe { number("attractor_retrieval_patterns", retrieval, |retrieval| retrieval.patterns) }
}

/// How many patterns are reported for each query: `top`, or N where there are fewer; 0 where `retrieval` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_top_count(retrieval: *const attractor_retrieval) -> usize {
    let count = |retrieval: &Retrieval| retrieval.top.as_ref().map_or(0, |top| top.k);
    // SAFETY: the crate's contract.
    unsafe { number("attractor_retrieval_top_count", retrieval, count) }
}

/// # Safety
/// The crate's contract.
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
/// For this array and every array below: its length is written to `length` unless that is NULL, and it lives until the
/// retrieval is freed. NULL, and a length of 0, where `retrieval` is NULL or the report was not asked for, which the
/// last error message says. An array of length 0 is not NULL, and must not be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_output(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f32 {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_retrieval_output", retrieval, length, |all| Some(&all.retrieval.output)) }
}

/// The last states `x' = sum_i p_i k_i`, clamped coordinates as in the query, B x d, row-major.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_state(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f32 {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_retrieval_state", retrieval, length, |all| Some(&all.retrieval.state)) }
}

/// The number of updates done, B of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_steps(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const u32 {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_retrieval_steps", retrieval, length, |all| Some(&all.retrieval.steps)) }
}

/// `max |x' - x|` of the last update, B of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_change(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f32 {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_retrieval_change", retrieval, length, |all| Some(&all.retrieval.change)) }
}

/// Whether the change is within the tolerance (1e-4 without `converge`), B of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_converged(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const bool {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_retrieval_converged", retrieval, length, |all| Some(&all.retrieval.converged)) }
}

/// Whether there is an answer, B of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_status(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const attractor_status {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_retrieval_status", retrieval, length, |all| Some(&all.status)) }
}

/// The energies of the last states, B of them, if `energy` was asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_energy(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f64 {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_retrieval_energy", retrieval, length, |all| all.retrieval.energy.as_deref()) }
}

/// The energies of query `query` and of every state after it, one more than its updates, if `energy_trace` was asked
/// for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_energy_trace(
    retrieval: *const attractor_retrieval,
    query: usize,
    length: *mut usize,
) -> *const f64 {
    const OPERATION: &str = "attractor_retrieval_energy_trace";
    // SAFETY: the crate's contract.
    unsafe {
        array(OPERATION, retrieval, length, |all| all.retrieval.energy_trace.as_ref()?.get(query).map(Vec::as_slice))
    }
}

/// The ids of the patterns of largest weight, in descending order of weight, B x `attractor_retrieval_top_count`, if
/// `top` was asked for, as the retrieval saw the memory; `ATTRACTOR_NO_PATTERN` where the memory or the mask leaves
/// fewer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_top_ids(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const u64 {
    const OPERATION: &str = "attractor_retrieval_top_ids";
    // SAFETY: the crate's contract.
    unsafe { array(OPERATION, retrieval, length, |all| all.top_ids.as_deref()) }
}

/// Writes the id of the pattern that was at `position` when the retrieval saw the memory, whose weight is at that
/// position of each row of `attractor_retrieval_weights`, to `id`; `ATTRACTOR_NO_PATTERN` where there was none.
///
/// Errors: `ATTRACTOR_ERROR_PARAMETER` for a position that is not below `attractor_retrieval_patterns`;
/// `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_id_at(
    retrieval: *const attractor_retrieval,
    position: usize,
    id: *mut u64,
) -> attractor_error {
    code("attractor_retrieval_id_at", || {
        // SAFETY: the crate's contract.
        let (retrieval, out) = unsafe { (&borrow("retrieval", retrieval)?.retrieval, Out::new("id", id)?) };
        if position >= retrieval.patterns {
            let expected = "a position that the memory had";
            let got = format!("{position} of {}", retrieval.patterns);
            return Err(Failure::Parameter { parameter: "position", expected, got });
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
    // SAFETY: the crate's contract.
    unsafe { array(OPERATION, retrieval, length, |all| Some(&all.retrieval.top.as_ref()?.weight)) }
}

/// The similarities of the same patterns with the state that the last step started from, if `top` was asked for: dot
/// products or cosines, or distances, squared under euclidean similarity.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_top_similarity(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f32 {
    const OPERATION: &str = "attractor_retrieval_top_similarity";
    // SAFETY: the crate's contract.
    unsafe { array(OPERATION, retrieval, length, |all| Some(&all.retrieval.top.as_ref()?.similarity)) }
}

/// How many patterns meet `threshold` and `least_weight`, B of them, if one of these was asked for: with `least_weight`
/// of all patterns, otherwise of the `top` of largest weight.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_top_found(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const u64 {
    const OPERATION: &str = "attractor_retrieval_top_found";
    // SAFETY: the crate's contract.
    unsafe { array(OPERATION, retrieval, length, |all| all.retrieval.top.as_ref()?.found.as_deref()) }
}

/// Statistics of the weights of the last step, B of them, if `statistics` was asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_statistics(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const attractor_statistics {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_retrieval_statistics", retrieval, length, |all| all.statistics.as_deref()) }
}

/// The weights of the last step, B x N, row-major, if `weights` was asked for.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_retrieval_weights(
    retrieval: *const attractor_retrieval,
    length: *mut usize,
) -> *const f32 {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_retrieval_weights", retrieval, length, |all| all.retrieval.weights.as_deref()) }
}

/// # Safety
/// The crate's contract.
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
        // SAFETY: by this function's own contract.
        unsafe { lend(array.ok_or(Failure::Unsupported { what: "a report that was not asked for" })?, length) }
    });
    array.unwrap_or(ptr::null())
}
