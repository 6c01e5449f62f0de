//! Searches: their options, the calls that search, and what is found.

use std::ptr;

use attractor::retrieval::MAX_TOP;
use attractor::{Hits, SearchOptions, Similarity};

use crate::codes::{attractor_mask, attractor_status};
use crate::error::{Failure, Outcome, attractor_error, code, guard};
use crate::memory::attractor_memory;
use crate::pending::attractor_pending_hits;
use crate::pointer::{Array, Out, borrow, free, lend, rows};
use crate::retrieval::{ATTRACTOR_NO_PATTERN, each};
use crate::retrieve::mask_of;
use crate::versioned::{init, read, versioned};

/// Options of one search of B queries; `attractor_search_options_init` fills them.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct attractor_search_options {
    /// `sizeof(attractor_search_options)`.
    pub size: usize,
    /// Find at most this many patterns for each query, at least 1 and at most 1,024.
    pub top: usize,
    /// Choose kernels as for a batch of this many queries, so that a query gives the same bits alone as in any batch; 0
    /// chooses for the batch of this call.
    pub plan_for: usize,
    /// `mask_length` bytes as `mask_layout` says, where N is `attractor_memory_positions`; NULL without a mask.
    pub mask: *const u8,
    /// N, or B x N.
    pub mask_length: usize,
    /// With `has_threshold`: the least similarity of a hit; under euclidean and manhattan similarity the largest
    /// distance (euclidean: its square). Rounded to f32.
    pub threshold: f64,
    /// Not 0: find only patterns that meet `threshold`, and count all of them.
    pub has_threshold: u32,
    /// One of `attractor_mask`.
    pub mask_layout: u32,
}

versioned!(attractor_search_options, mask_layout: u32);

fn defaults(size: usize) -> attractor_search_options {
    attractor_search_options {
        size,
        top: MAX_TOP,
        plan_for: 0,
        mask: ptr::null(),
        mask_length: 0,
        threshold: 0.0,
        has_threshold: 0,
        mask_layout: attractor_mask::ATTRACTOR_MASK_NONE as u32,
    }
}

impl attractor_search_options {
    /// # Safety
    /// The crate's contract: the mask has its length.
    unsafe fn checked(&self, similarity: Similarity) -> Outcome<SearchOptions> {
        let mut options = SearchOptions::from(self.top);
        if self.has_threshold != 0 {
            let threshold = self.threshold as f32;
            options = match similarity {
                Similarity::Euclidean | Similarity::Manhattan => options.at_most(threshold),
                _ => options.at_least(threshold),
            };
        }
        if self.plan_for > 0 {
            options = options.plan_for(self.plan_for);
        }
        // SAFETY: by this function's own contract.
        if let Some(mask) = unsafe { mask_of((self.mask, self.mask_length), self.mask_layout) }? {
            options = options.mask(mask);
        }
        Ok(options)
    }
}

/// Fills `*options`, of `size` = `sizeof(attractor_search_options)` bytes: 1,024 patterns, without mask and threshold.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_search_options_init(
    options: *mut attractor_search_options,
    size: usize,
) -> attractor_error {
    const OPERATION: &str = "attractor_search_options_init";
    // SAFETY: the crate's contract.
    code(OPERATION, || unsafe { init(options, size, defaults(size)) })
}

/// What a search found: the nearest patterns of B queries, nearest first. It never changes, so any number of threads
/// may read it at once. The arrays that its functions return live until it is freed.
#[derive(Debug)]
pub struct attractor_hits {
    hits: Hits,
    ids: Vec<u64>,
    status: Vec<attractor_status>,
}

impl attractor_hits {
    pub(crate) fn new(hits: Hits) -> Outcome<Self> {
        let ids = each(&hits.ids, |id| id.map_or(ATTRACTOR_NO_PATTERN, |id| id.0))?;
        Ok(Self { ids, status: each(&hits.status, |status| (*status).into())?, hits })
    }
}

/// Finds the nearest patterns of `count` queries, of `queries_length` = count x d floats together, with `options`, or
/// 1,024 patterns where they are NULL, and waits for them on this thread. Patterns are ranked by the similarity of the
/// memory; neither the separation nor beta nor a bias plays a part. `*hits` gets what was found; free it with
/// `attractor_hits_free`.
///
/// Errors: `ATTRACTOR_ERROR_EMPTY`; `ATTRACTOR_ERROR_SHAPE` for queries or a mask of a wrong length;
/// `ATTRACTOR_ERROR_NOT_FINITE`; `ATTRACTOR_ERROR_PARAMETER` for the options; `ATTRACTOR_ERROR_OUT_OF_MEMORY` where
/// there is no room for the hits; `ATTRACTOR_ERROR_LOST`; `ATTRACTOR_ERROR_NULL_POINTER`. `*hits` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_search(
    memory: *const attractor_memory,
    queries: *const f32,
    queries_length: usize,
    count: usize,
    options: *const attractor_search_options,
    hits: *mut *mut attractor_hits,
) -> attractor_error {
    code("attractor_memory_search", || {
        // SAFETY: the crate's contract.
        let out = unsafe { Out::handle("hits", hits) }?;
        // SAFETY: the crate's contract.
        let memory = unsafe { borrow("memory", memory) }?;
        // SAFETY: the crate's contract.
        let (queries, options) = unsafe { request(memory, (queries, queries_length), count, options) }?;
        out.give(attractor_hits::new(memory.read()?.search_blocking(queries, options)?)?);
        Ok(())
    })
}

/// Begins the same search without waiting for it; it waits only for a call that is changing the memory. `*pending` gets
/// what will be found; free it with `attractor_pending_hits_free` at any time. Queries and mask have been copied when
/// this returns, and the memory may change or be freed: the search sees it as it was.
///
/// Errors: those of `attractor_memory_search`; a device that fails later makes `attractor_pending_hits_take` return
/// `ATTRACTOR_ERROR_LOST`. `*pending` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_search_begin(
    memory: *const attractor_memory,
    queries: *const f32,
    queries_length: usize,
    count: usize,
    options: *const attractor_search_options,
    pending: *mut *mut attractor_pending_hits,
) -> attractor_error {
    code("attractor_memory_search_begin", || {
        // SAFETY: the crate's contract.
        let (out, memory) = unsafe { (Out::handle("pending", pending)?, borrow("memory", memory)?) };
        // SAFETY: the crate's contract.
        let (queries, options) = unsafe { request(memory, (queries, queries_length), count, options) }?;
        out.give(attractor_pending_hits::new(memory.read()?.search(queries, options)?));
        Ok(())
    })
}

/// The queries, in memory of the caller, and the options of a search.
///
/// # Safety
/// The crate's contract.
unsafe fn request<'a>(
    memory: &attractor_memory,
    queries: Array<f32>,
    count: usize,
    options: *const attractor_search_options,
) -> Outcome<(&'a [f32], SearchOptions)> {
    // SAFETY: by this function's own contract.
    unsafe {
        let queries = rows("queries", queries, count, memory.dim)?;
        let options = match options.is_null() {
            true => SearchOptions::default(),
            false => read(options, defaults(0))?.checked(memory.read()?.rule().similarity)?,
        };
        Ok((queries, options))
    }
}

/// Frees the handle; NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_hits_free(hits: *mut attractor_hits) {
    // SAFETY: the crate's contract.
    unsafe { free("attractor_hits_free", hits) };
}

/// B, the number of queries; 0 where `hits` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_hits_count(hits: *const attractor_hits) -> usize {
    // SAFETY: the crate's contract.
    guard("attractor_hits_count", || Ok(unsafe { borrow("hits", hits) }?.hits.batch)).unwrap_or(0)
}

/// Places per query: `top`, or N where there are fewer patterns; 0 where `hits` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_hits_places(hits: *const attractor_hits) -> usize {
    // SAFETY: the crate's contract.
    guard("attractor_hits_places", || Ok(unsafe { borrow("hits", hits) }?.hits.k)).unwrap_or(0)
}

/// The ids of the patterns that were found, nearest first, B x `attractor_hits_places`, as the search saw the memory;
/// `ATTRACTOR_NO_PATTERN` where there are fewer hits.
///
/// For this array and every array below: its length is written to `length` unless that is NULL, and it lives until the
/// hits are freed. NULL, and a length of 0, where `hits` is NULL or there is no such array. An array of length 0 is not
/// NULL, and must not be read.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_hits_ids(hits: *const attractor_hits, length: *mut usize) -> *const u64 {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_hits_ids", hits, length, |all| Some(&all.ids)) }
}

/// Their similarities: dot products or cosines, or distances, squared under euclidean similarity; 0 where there is no
/// hit.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_hits_similarity(hits: *const attractor_hits, length: *mut usize) -> *const f32 {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_hits_similarity", hits, length, |all| Some(&all.hits.similarity)) }
}

/// How many patterns meet the threshold, listed or not, B of them; if there was a threshold.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_hits_found(hits: *const attractor_hits, length: *mut usize) -> *const u64 {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_hits_found", hits, length, |all| all.hits.found.as_deref()) }
}

/// Whether there is an answer, B of them: a query may be left no pattern by the mask.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_hits_status(
    hits: *const attractor_hits,
    length: *mut usize,
) -> *const attractor_status {
    // SAFETY: the crate's contract.
    unsafe { array("attractor_hits_status", hits, length, |all| Some(&all.status)) }
}

/// # Safety
/// The crate's contract.
unsafe fn array<T>(
    operation: &'static str,
    hits: *const attractor_hits,
    length: *mut usize,
    of: impl FnOnce(&attractor_hits) -> Option<&[T]>,
) -> *const T {
    let array = guard(operation, || {
        // SAFETY: by this function's own contract.
        unsafe { lend::<T>(&[], length) }?;
        // SAFETY: by this function's own contract.
        let array = of(unsafe { borrow("hits", hits) }?);
        // SAFETY: by this function's own contract.
        unsafe { lend(array.ok_or(Failure::Unsupported { what: "a count without a threshold" })?, length) }
    });
    array.unwrap_or(ptr::null())
}
