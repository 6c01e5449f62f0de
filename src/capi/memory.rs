//! Patterns on a device, and what they recall.

use std::ffi::c_char;
use std::fmt;
use std::ptr;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::device::attractor_device;
use super::error::{Failure, Outcome, attractor_error, code, guard};
use super::pending::attractor_pending;
use super::pointer::{Array, Out, OutRows, borrow, free, optional_rows, rows, text};
use super::retrieval::{attractor_retrieval, attractor_retrieve_options, defaults as retrieve_defaults};
use super::versioned::{choice, init, read, versioned};
use crate::error::Error;
use crate::id::PatternId;
use crate::memory::{Memory, MemoryOptions};
use crate::patterns::Patterns;
use crate::precision::Precision;
use crate::retrieval::RetrieveOptions;
use crate::rule::{Rule, Separation, Similarity};

/// Patterns on a device, and the rule that recalls them. Any number of threads may use it at once: retrievals and questions
/// run side by side, and whatever changes the memory waits for those that are inside and keeps out those that come. A
/// retrieval that was begun is not inside: it sees the memory as it was then. Freeing it needs it for oneself.
///
/// Shapes: N patterns, keys N x d, values N x dv (the keys themselves unless the memory has a value dimension), queries
/// B x d; all row-major `float`. One update of a state x:
/// `z_i = beta similarity(x, k_i) + b_i`, `p = separation(z)`, `x' = sum_i p_i k_i`, `y = sum_i p_i v_i`.
pub struct attractor_memory {
    memory: RwLock<Memory>,
    dim: usize,
    value_dim: Option<usize>,
}

impl attractor_memory {
    fn new(memory: Memory) -> Self {
        let (dim, value_dim) = (memory.dim(), memory.has_values().then_some(memory.value_dim()));
        Self { memory: RwLock::new(memory), dim, value_dim }
    }

    fn read(&self) -> Outcome<RwLockReadGuard<'_, Memory>> {
        self.memory.read().map_err(|_| Failure::Poisoned)
    }

    fn write(&self) -> Outcome<RwLockWriteGuard<'_, Memory>> {
        self.memory.write().map_err(|_| Failure::Poisoned)
    }

    /// # Safety
    /// The module's contract.
    unsafe fn patterns<'a>(
        &self,
        operation: &'static str,
        keys: Array<f32>,
        values: Array<f32>,
        bias: Array<f32>,
        count: usize,
    ) -> Outcome<Patterns<'a>> {
        // SAFETY: by this function's own contract.
        unsafe {
            Ok(Patterns {
                keys: rows(operation, "keys", keys, count, self.dim)?,
                values: match self.value_dim {
                    Some(value_dim) => optional_rows(operation, "values", values, count, value_dim)?,
                    // They are refused, whatever is behind the pointer.
                    None => (values != (ptr::null(), 0)).then_some(&[]),
                },
                bias: optional_rows(operation, "bias", bias, count, 1)?,
            })
        }
    }
}

impl fmt::Debug for attractor_memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("attractor_memory").field(&self.memory).finish()
    }
}

/// How a state x is compared with a stored key k.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_similarity {
    /// `<x, k>`: the modern Hopfield network and attention.
    ATTRACTOR_SIMILARITY_DOT = 0,
    /// `<x, k> / (|x| |k|)`, norms clamped at 1e-12.
    ATTRACTOR_SIMILARITY_COSINE = 1,
    /// `-1/2 |x - k|^2`.
    ATTRACTOR_SIMILARITY_EUCLIDEAN = 2,
    /// `-|x - k|_1`.
    ATTRACTOR_SIMILARITY_MANHATTAN = 3,
}

/// How the scores z become weights p.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_separation {
    /// `exp(z - lse z)`.
    ATTRACTOR_SEPARATION_SOFTMAX = 0,
    /// `exp(z) / (1 + sum exp z)`: may weigh nothing at all.
    ATTRACTOR_SEPARATION_SOFTMAX1 = 1,
    /// `[z - tau]_+`: exact zeros; entmax with alpha = 2.
    ATTRACTOR_SEPARATION_SPARSEMAX = 2,
    /// `[(alpha-1) z - tau]_+ ^ (1/(alpha-1))`, with `alpha` above 1.
    ATTRACTOR_SEPARATION_ENTMAX = 3,
    /// Softmax over the `k` largest scores, zero elsewhere; ties keep the smaller index.
    ATTRACTOR_SEPARATION_TOPK = 4,
}

/// How keys and values are stored. Sums are `float` whatever the storage.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_precision {
    /// As given.
    ATTRACTOR_PRECISION_F32 = 0,
    /// Rounded to the nearest half: 11 bits, magnitudes up to 65,504 (`saturate` in `attractor_memory_options`).
    ATTRACTOR_PRECISION_F16 = 1,
    /// Rounded to 255 levels between plus and minus the row's largest magnitude.
    ATTRACTOR_PRECISION_I8 = 2,
}

/// The shape of a memory, its rule, and how it is laid out; `attractor_memory_options_init` fills it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct attractor_memory_options {
    /// `sizeof(attractor_memory_options)`.
    pub size: usize,
    /// d, the length of a key, a query and a state; at least 1.
    pub dim: usize,
    /// dv, the length of a value and of an output; 0 where keys are their own values, and dv is d.
    pub value_dim: usize,
    /// For `ATTRACTOR_SEPARATION_TOPK`: how many patterns may have weight, at least 1.
    pub k: usize,
    /// The most bytes of keys, and of values, that one buffer holds; 0 for as many as the device allows.
    pub window_bytes: u64,
    /// One of `attractor_precision`.
    pub precision: u32,
    /// One of `attractor_similarity`.
    pub similarity: u32,
    /// One of `attractor_separation`.
    pub separation: u32,
    /// Not 0: patterns have a bias, which is added to their scores.
    pub bias: u32,
    /// For `ATTRACTOR_SEPARATION_ENTMAX`: above 1; at 1 the rule would be softmax.
    pub alpha: f32,
    /// The inverse temperature: finite, of any sign. At 0 every pattern weighs the same.
    pub beta: f32,
    /// For `ATTRACTOR_PRECISION_F16`. Not 0: numbers that round beyond the largest half are stored as 65,504 with their
    /// sign; 0: a row with such a number is refused (`ATTRACTOR_ERROR_RANGE`).
    pub saturate: u32,
    /// 0, for a later version.
    pub reserved: u32,
}

versioned!(attractor_memory_options, beta: f32);

fn defaults(size: usize, dim: usize) -> attractor_memory_options {
    attractor_memory_options {
        size,
        dim,
        value_dim: 0,
        k: 1,
        window_bytes: 0,
        precision: attractor_precision::ATTRACTOR_PRECISION_F32 as u32,
        similarity: attractor_similarity::ATTRACTOR_SIMILARITY_DOT as u32,
        separation: attractor_separation::ATTRACTOR_SEPARATION_SOFTMAX as u32,
        bias: 0,
        alpha: 1.5,
        beta: Rule::attention(dim).beta,
        saturate: 0,
        reserved: 0,
    }
}

impl attractor_memory_options {
    fn checked(&self, operation: &'static str) -> Outcome<MemoryOptions> {
        use attractor_precision::*;
        use attractor_separation::*;
        use attractor_similarity::*;
        let similarity = [
            (ATTRACTOR_SIMILARITY_DOT as u32, Similarity::Dot),
            (ATTRACTOR_SIMILARITY_COSINE as u32, Similarity::Cosine),
            (ATTRACTOR_SIMILARITY_EUCLIDEAN as u32, Similarity::Euclidean),
            (ATTRACTOR_SIMILARITY_MANHATTAN as u32, Similarity::Manhattan),
        ];
        let separation = [
            (ATTRACTOR_SEPARATION_SOFTMAX as u32, Separation::Softmax),
            (ATTRACTOR_SEPARATION_SOFTMAX1 as u32, Separation::Softmax1),
            (ATTRACTOR_SEPARATION_SPARSEMAX as u32, Separation::Sparsemax),
            (ATTRACTOR_SEPARATION_ENTMAX as u32, Separation::Entmax { alpha: self.alpha }),
            (ATTRACTOR_SEPARATION_TOPK as u32, Separation::TopK { k: self.k }),
        ];
        let precision = [
            (ATTRACTOR_PRECISION_F32 as u32, Precision::F32),
            (ATTRACTOR_PRECISION_F16 as u32, Precision::F16),
            (ATTRACTOR_PRECISION_I8 as u32, Precision::I8),
        ];
        let rule = Rule::new(
            choice(operation, "similarity", "one of attractor_similarity", self.similarity, &similarity)?,
            choice(operation, "separation", "one of attractor_separation", self.separation, &separation)?,
            self.beta,
        );
        let precision = choice(operation, "precision", "one of attractor_precision", self.precision, &precision)?;
        let mut options = MemoryOptions::new(self.dim, rule).precision(precision);
        if self.value_dim > 0 {
            options = options.value_dim(self.value_dim);
        }
        if self.bias != 0 {
            options = options.bias();
        }
        if self.saturate != 0 {
            options = options.saturate();
        }
        if self.reserved != 0 {
            let what = "a value of attractor_memory_options.reserved other than 0".into();
            return Err(Error::Unsupported { operation, what }.into());
        }
        if self.window_bytes > 0 {
            options = options.window_bytes(self.window_bytes);
        }
        Ok(options)
    }
}

/// Fills `*options`, of `size` = `sizeof(attractor_memory_options)` bytes, for keys of `dim` dimensions: dot similarity and
/// softmax at `beta` = 1/sqrt(dim), which is attention, `float` storage, neither values nor bias.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_options_init(
    options: *mut attractor_memory_options,
    size: usize,
    dim: usize,
) -> attractor_error {
    const OPERATION: &str = "attractor_memory_options_init";
    // SAFETY: the module's contract.
    code(OPERATION, || unsafe { init(OPERATION, options, size, defaults(size, dim)) })
}

/// Gives an empty memory on `device`.
///
/// Errors: `ATTRACTOR_ERROR_PARAMETER` for a zero dimension and for a rule outside its domain; `ATTRACTOR_ERROR_LIMIT`
/// where one row does not fit the device; `ATTRACTOR_ERROR_NULL_POINTER`. `*memory` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_create(
    device: *const attractor_device,
    options: *const attractor_memory_options,
    memory: *mut *mut attractor_memory,
) -> attractor_error {
    const OPERATION: &str = "attractor_memory_create";
    code(OPERATION, || {
        // SAFETY: the module's contract.
        let (out, device, options) = unsafe {
            let out = Out::handle("memory", memory)?;
            (out, borrow("device", device)?, read(OPERATION, options, defaults(0, 0))?)
        };
        out.give(attractor_memory::new(options.checked(OPERATION)?.build(&device.device)?));
        Ok(())
    })
}

/// Frees the handle; NULL is left alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_free(memory: *mut attractor_memory) {
    // SAFETY: the module's contract.
    unsafe { free("attractor_memory_free", memory) };
}

/// The number of stored patterns; 0 where `memory` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_len(memory: *const attractor_memory) -> usize {
    // SAFETY: the module's contract.
    let len = guard("attractor_memory_len", || Ok(unsafe { borrow("memory", memory) }?.read()?.len()));
    len.unwrap_or(0)
}

/// d, the length of a key, a query and a state; 0 where `memory` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_dim(memory: *const attractor_memory) -> usize {
    // SAFETY: the module's contract.
    guard("attractor_memory_dim", || Ok(unsafe { borrow("memory", memory) }?.dim)).unwrap_or(0)
}

/// dv, the length of a value and of an output, which is d where keys are their own values; 0 where `memory` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_value_dim(memory: *const attractor_memory) -> usize {
    let value_dim = guard("attractor_memory_value_dim", || {
        // SAFETY: the module's contract.
        let memory = unsafe { borrow("memory", memory) }?;
        Ok(memory.value_dim.unwrap_or(memory.dim))
    });
    value_dim.unwrap_or(0)
}

/// N, the positions in use: those of the stored patterns, and those of removed ones that no other pattern has taken yet. The
/// width of masks and weights; 0 where `memory` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_positions(memory: *const attractor_memory) -> usize {
    let positions =
        // SAFETY: the module's contract.
        guard("attractor_memory_positions", || Ok(unsafe { borrow("memory", memory) }?.read()?.positions()));
    positions.unwrap_or(0)
}

/// Gives the id of the pattern that is at `position` now. What was at a position of an answer is what
/// `attractor_retrieval_id_at` says.
///
/// Errors: `ATTRACTOR_ERROR_PARAMETER` where no pattern is there; `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_id_at(
    memory: *const attractor_memory,
    position: usize,
    id: *mut u64,
) -> attractor_error {
    const OPERATION: &str = "attractor_memory_id_at";
    code(OPERATION, || {
        // SAFETY: the module's contract.
        let (memory, out) = unsafe { (borrow("memory", memory)?, Out::new("id", id)?) };
        let expected = "the position of a stored pattern";
        let refused =
            || Error::Parameter { operation: OPERATION, parameter: "position", expected, got: position.to_string() };
        out.write(memory.read()?.id_at(position).ok_or_else(refused)?.0);
        Ok(())
    })
}

/// Stores `count` patterns: `keys`, of `keys_length` = count x d floats, with `values`, of `values_length` = count x
/// dv, exactly where the memory has a value dimension and NULL with length 0 otherwise, and with `bias`, of
/// `bias_length` = count, or NULL with length 0 for zeros, only where the memory has one. Everything is copied. The ids
/// of the patterns count on from the one that `first_id` gets unless it is NULL; with a `count` of 0 nothing is stored,
/// the pointers may be NULL, and `*first_id` stays as it is.
///
/// Errors: `ATTRACTOR_ERROR_SHAPE` for lengths that are not those of `count` patterns, and for values or a bias that
/// the memory has no use for or lacks; `ATTRACTOR_ERROR_NOT_FINITE`; `ATTRACTOR_ERROR_RANGE` for a row that halves
/// cannot hold, unless the memory saturates; `ATTRACTOR_ERROR_LIMIT` or `ATTRACTOR_ERROR_OUT_OF_MEMORY` where there is
/// no room;
/// `ATTRACTOR_ERROR_LOST`; `ATTRACTOR_ERROR_NULL_POINTER`. The memory is then as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_add(
    memory: *mut attractor_memory,
    keys: *const f32,
    keys_length: usize,
    values: *const f32,
    values_length: usize,
    bias: *const f32,
    bias_length: usize,
    count: usize,
    first_id: *mut u64,
) -> attractor_error {
    const OPERATION: &str = "attractor_memory_add";
    code(OPERATION, || {
        // SAFETY: the module's contract.
        let (memory, out) = unsafe { (borrow("memory", memory)?, Out::optional("first_id", first_id)?) };
        let (keys, values, bias) = ((keys, keys_length), (values, values_length), (bias, bias_length));
        // SAFETY: the module's contract.
        let patterns = unsafe { memory.patterns(OPERATION, keys, values, bias, count) }?;
        if count == 0 {
            return Ok(());
        }
        let ids = memory.write()?.add_patterns(&patterns)?;
        if let (Some(out), Some(first)) = (out, ids.get(0)) {
            out.write(first.0);
        }
        Ok(())
    })
}

/// Replaces the pattern `id` by `key`, of `key_length` = d floats, `value`, of `value_length` = dv, or NULL with length
/// 0, and `bias`, of `bias_length` = 1, or NULL with length 0 for zero, as `attractor_memory_add` takes them; the id
/// stays.
///
/// Errors: `ATTRACTOR_ERROR_UNKNOWN_ID`, and those of `attractor_memory_add`. The memory is then as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_update(
    memory: *mut attractor_memory,
    id: u64,
    key: *const f32,
    key_length: usize,
    value: *const f32,
    value_length: usize,
    bias: *const f32,
    bias_length: usize,
) -> attractor_error {
    const OPERATION: &str = "attractor_memory_update";
    code(OPERATION, || {
        // SAFETY: the module's contract.
        let memory = unsafe { borrow("memory", memory) }?;
        let (key, value, bias) = ((key, key_length), (value, value_length), (bias, bias_length));
        // SAFETY: the module's contract.
        let pattern = unsafe { memory.patterns(OPERATION, key, value, bias, 1) }?;
        Ok(memory.write()?.update(PatternId(id), &pattern)?)
    })
}

/// Forgets the pattern `id`. Its room is used again by a later add, its id is not.
///
/// Errors: `ATTRACTOR_ERROR_UNKNOWN_ID`, `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_remove(memory: *mut attractor_memory, id: u64) -> attractor_error {
    code("attractor_memory_remove", || {
        // SAFETY: the module's contract.
        Ok(unsafe { borrow("memory", memory) }?.write()?.remove(PatternId(id))?)
    })
}

/// Forgets every pattern and keeps the room. Ids are not used again.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_clear(memory: *mut attractor_memory) -> attractor_error {
    code("attractor_memory_clear", || {
        // SAFETY: the module's contract.
        unsafe { borrow("memory", memory) }?.write()?.clear();
        Ok(())
    })
}

/// Makes room for `additional` patterns.
///
/// Errors: `ATTRACTOR_ERROR_LIMIT` or `ATTRACTOR_ERROR_LOST` where there is none; nothing has changed then.
/// `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_reserve(memory: *mut attractor_memory, additional: usize) -> attractor_error {
    code("attractor_memory_reserve", || {
        // SAFETY: the module's contract.
        Ok(unsafe { borrow("memory", memory) }?.write()?.reserve(additional)?)
    })
}

/// Whether the pattern `id` is stored; false where `memory` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_contains(memory: *const attractor_memory, id: u64) -> bool {
    let contains = guard("attractor_memory_contains", || {
        // SAFETY: the module's contract.
        Ok(unsafe { borrow("memory", memory) }?.read()?.contains(PatternId(id)))
    });
    contains.unwrap_or(false)
}

/// Reads the pattern `id` back as it is stored: its key to `key`, of `key_length` = d floats, its value to `value`, of
/// `value_length` = dv floats, its bias to `bias`. Each may be NULL, with length 0; `value_length`
/// is 0 where keys are their own values. On a GPU this waits.
///
/// Errors: `ATTRACTOR_ERROR_UNKNOWN_ID`, `ATTRACTOR_ERROR_SHAPE`, `ATTRACTOR_ERROR_LOST`, `ATTRACTOR_ERROR_NULL_POINTER`.
/// Nothing has been written then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_get(
    memory: *const attractor_memory,
    id: u64,
    key: *mut f32,
    key_length: usize,
    value: *mut f32,
    value_length: usize,
    bias: *mut f32,
) -> attractor_error {
    const OPERATION: &str = "attractor_memory_get";
    code(OPERATION, || {
        // SAFETY: the module's contract.
        let (memory, bias) = unsafe { (borrow("memory", memory)?, Out::optional("bias", bias)?) };
        // SAFETY: the module's contract.
        let (key, value) = unsafe {
            (
                OutRows::new(OPERATION, "key", memory.dim, key, key_length)?,
                OutRows::new(OPERATION, "value", memory.value_dim.unwrap_or(0), value, value_length)?,
            )
        };
        let pattern = memory.read()?.get(PatternId(id))?;
        key.write(&pattern.key);
        value.write(pattern.value.as_deref().unwrap_or(&[]));
        if let Some(bias) = bias {
            bias.write(pattern.bias);
        }
        Ok(())
    })
}

/// Saves the memory to the file at `path`, in UTF-8: a safetensors file with the rule, and every pattern with its id, in the
/// precision in which it is stored. Whatever happens, there is the old file or the whole new one. On a GPU this waits.
///
/// Errors: `ATTRACTOR_ERROR_FILE` where the system refuses, `ATTRACTOR_ERROR_LOST`, `ATTRACTOR_ERROR_UNSUPPORTED` where this
/// library was built without the feature `files`, `ATTRACTOR_ERROR_UTF8`, `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_save(
    memory: *const attractor_memory,
    path: *const c_char,
) -> attractor_error {
    const OPERATION: &str = "attractor_memory_save";
    code(OPERATION, || {
        // SAFETY: the module's contract.
        let (memory, path) = unsafe { (borrow("memory", memory)?, text("path", path)?) };
        let path = path.ok_or(Failure::Null("path"))?;
        #[cfg(feature = "files")]
        return Ok(memory.read()?.save(path)?);
        #[cfg(not(feature = "files"))]
        return without_files(OPERATION, (memory, path));
    })
}

/// Loads a memory that was saved, to whichever device: the same patterns to the bit, under the same ids. `window_bytes` is as
/// in `attractor_memory_options`.
///
/// Errors: `ATTRACTOR_ERROR_FILE` for a file that cannot be read, is no memory or is damaged; `ATTRACTOR_ERROR_LIMIT` or
/// `ATTRACTOR_ERROR_LOST` where the device has no room; `ATTRACTOR_ERROR_UNSUPPORTED` where this library was built without
/// the feature `files`; `ATTRACTOR_ERROR_UTF8`, `ATTRACTOR_ERROR_NULL_POINTER`. `*memory` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_load(
    device: *const attractor_device,
    path: *const c_char,
    window_bytes: u64,
    memory: *mut *mut attractor_memory,
) -> attractor_error {
    const OPERATION: &str = "attractor_memory_load";
    code(OPERATION, || {
        // SAFETY: the module's contract.
        let (out, device, path) =
            unsafe { (Out::handle("memory", memory)?, borrow("device", device)?, text("path", path)?) };
        let path = path.ok_or(Failure::Null("path"))?;
        #[cfg(feature = "files")]
        {
            let mut options = crate::memory::LoadOptions::default();
            if window_bytes > 0 {
                options = options.window_bytes(window_bytes);
            }
            out.give(attractor_memory::new(Memory::load_with(&device.device, path, &options)?));
            Ok(())
        }
        #[cfg(not(feature = "files"))]
        without_files(OPERATION, (out, device, path, window_bytes))
    })
}

/// Refuses, having looked at the arguments.
#[cfg(not(feature = "files"))]
fn without_files<T>(operation: &'static str, _: T) -> Outcome<()> {
    let what = "a file, with a library that was built without the feature `files`,".into();
    Err(Error::Unsupported { operation, what }.into())
}

/// What a retrieval is asked: its queries, as they are with the caller, and its options.
///
/// # Safety
/// The module's contract.
unsafe fn asked<'a>(
    operation: &'static str,
    memory: &attractor_memory,
    queries: Array<f32>,
    count: usize,
    options: *const attractor_retrieve_options,
) -> Outcome<(&'a [f32], RetrieveOptions)> {
    // SAFETY: by this function's own contract.
    unsafe {
        let queries = rows(operation, "queries", queries, count, memory.dim)?;
        let options = match options.is_null() {
            true => RetrieveOptions::default(),
            false => read(operation, options, retrieve_defaults(0))?.checked(operation)?,
        };
        Ok((queries, options))
    }
}

/// Retrieves for `count` queries, of `queries_length` = count x d floats together, as `options` say, or with one update
/// where they are NULL, and waits for the answer on this thread. The outputs go to `output`, of `output_length` = count
/// x dv floats, unless it is NULL with length 0; everything there is goes to `*retrieval`, to be freed by
/// `attractor_retrieval_free`, unless that is NULL. One of the two must be there.
///
/// Errors: `ATTRACTOR_ERROR_EMPTY`; `ATTRACTOR_ERROR_SHAPE` for queries, an output, a mask or a clamp of a wrong
/// length;
/// `ATTRACTOR_ERROR_NOT_FINITE`; `ATTRACTOR_ERROR_PARAMETER` for the options; `ATTRACTOR_ERROR_UNSUPPORTED` for an energy
/// where the rule has none; `ATTRACTOR_ERROR_OUT_OF_MEMORY` where there is no room for the answers;
/// `ATTRACTOR_ERROR_LOST`;
/// `ATTRACTOR_ERROR_NULL_POINTER`. `*retrieval` is NULL then, and nothing is in `output`.
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
    const OPERATION: &str = "attractor_memory_retrieve";
    code(OPERATION, || {
        let out = match retrieval.is_null() {
            true => None,
            // SAFETY: the module's contract.
            false => Some(unsafe { Out::handle("retrieval", retrieval) }?),
        };
        // SAFETY: the module's contract.
        let memory = unsafe { borrow("memory", memory) }?;
        let expected = count.saturating_mul(memory.value_dim.unwrap_or(memory.dim));
        // SAFETY: the module's contract.
        let output = unsafe { OutRows::new(OPERATION, "output", expected, output, output_length) }?;
        if !output.is_wanted() && out.is_none() && count > 0 {
            return Err(Failure::Null("output"));
        }
        // SAFETY: the module's contract.
        let (queries, options) = unsafe { asked(OPERATION, memory, (queries, queries_length), count, options) }?;
        let answer = memory.read()?.retrieve_with_blocking(queries, &options)?;
        // What may fail comes first.
        match out {
            None => output.write(&answer.output),
            Some(out) => {
                let retrieval = attractor_retrieval::new(OPERATION, answer)?;
                output.write(retrieval.outputs());
                out.give(retrieval);
            }
        }
        Ok(())
    })
}

/// Begins the same retrieval and waits for nothing but a change of the memory that is under way: the answer is on its way to
/// `*pending`, which is to be freed by `attractor_pending_free` at any time. Queries, mask and clamp have been copied when
/// this returns, and the memory may change or be freed: the retrieval sees it as it was.
///
/// Errors: as `attractor_memory_retrieve`; the `ATTRACTOR_ERROR_LOST` of a device that fails meanwhile comes with the
/// answer. `*pending` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_retrieve_begin(
    memory: *const attractor_memory,
    queries: *const f32,
    queries_length: usize,
    count: usize,
    options: *const attractor_retrieve_options,
    pending: *mut *mut attractor_pending,
) -> attractor_error {
    const OPERATION: &str = "attractor_memory_retrieve_begin";
    code(OPERATION, || {
        // SAFETY: the module's contract.
        let (out, memory) = unsafe { (Out::handle("pending", pending)?, borrow("memory", memory)?) };
        // SAFETY: the module's contract.
        let (queries, options) = unsafe { asked(OPERATION, memory, (queries, queries_length), count, options) }?;
        out.give(attractor_pending::new(memory.read()?.begin(queries, &options)?));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use std::ptr::{null, null_mut};

    use super::*;
    use crate::device::Device;

    #[test]
    fn a_memory_in_which_a_change_panicked_refuses_every_call() {
        let memory = attractor_memory::new(Memory::new(&Device::cpu(), 2, Rule::softmax(1.0)).unwrap());
        let panics = || {
            let _half_done = memory.write()?;
            panic!("as a defect would");
        };
        assert_eq!(code("change", panics), attractor_error::ATTRACTOR_ERROR_PANIC);
        let (key, handle) = ([1.0f32, 0.0], (&raw const memory).cast_mut());
        // SAFETY: a memory as C has it, and arrays of their lengths.
        unsafe {
            let (mut pending, keys) = (null_mut(), key.as_ptr());
            let calls = [
                attractor_memory_add(handle, keys, 2, null(), 0, null(), 0, 1, null_mut()),
                attractor_memory_clear(handle),
                attractor_memory_retrieve_begin(handle, keys, 2, 1, null(), &raw mut pending),
            ];
            assert_eq!(calls, [attractor_error::ATTRACTOR_ERROR_PANIC; 3]);
            assert_eq!((attractor_memory_len(handle), attractor_memory_dim(handle)), (0, 2));
        }
    }

    #[test]
    fn saturation_is_asked_for_and_a_reserved_field_is_refused() {
        let size = size_of::<attractor_memory_options>();
        let mut options = defaults(size, 2);
        options.precision = attractor_precision::ATTRACTOR_PRECISION_F16 as u32;
        let expected = MemoryOptions::new(2, Rule::attention(2)).precision(Precision::F16);
        assert_eq!(options.checked("test").unwrap(), expected);
        options.saturate = 1;
        assert_eq!(options.checked("test").unwrap(), expected.saturate());
        options.reserved = 1;
        assert!(matches!(options.checked("test"), Err(Failure::Library(Error::Unsupported { .. }))));
    }
}
