//! Memories: their options, their creation and their shape.

use std::fmt;
use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use attractor::rule::Next;
use attractor::{Memory, MemoryOptions, Rule, Update};

use crate::codes::{attractor_activation, attractor_precision, attractor_separation, attractor_similarity, decode};
use crate::device::attractor_device;
use crate::error::{Failure, Outcome, attractor_error, code, guard};
use crate::pointer::{Out, borrow, free};
use crate::versioned::{init, read, versioned};

/// Patterns on a device, and the rule that recalls them. Any number of threads may use it at once: retrievals and other
/// calls that read it run concurrently; a call that changes it waits for running calls, and later calls wait for it.
/// A retrieval that was begun does not count as a running call: it sees the memory as it was then. No thread may be in
/// a call with a memory that is freed.
///
/// Shapes: N patterns, keys N x d, values N x dv (the keys themselves unless the memory has a value dimension), queries
/// B x d; all row-major `float`. One update of a state x:
/// `z_i = beta similarity(x, k_i) + b_i`, `p = separation(z)`, `x' = sum_i p_i k_i`, `y = sum_i p_i v_i`, unless the
/// options end updates in another way.
pub struct attractor_memory {
    memory: RwLock<Memory>,
    pub(crate) dim: usize,
    pub(crate) value_dim: Option<usize>,
}

impl attractor_memory {
    pub(crate) fn new(memory: Memory) -> Self {
        let (dim, value_dim) = (memory.dim(), memory.has_values().then_some(memory.value_dim()));
        Self { memory: RwLock::new(memory), dim, value_dim }
    }

    pub(crate) fn read(&self) -> Outcome<RwLockReadGuard<'_, Memory>> {
        self.memory.read().map_err(|_| Failure::Poisoned)
    }

    pub(crate) fn write(&self) -> Outcome<RwLockWriteGuard<'_, Memory>> {
        self.memory.write().map_err(|_| Failure::Poisoned)
    }
}

impl fmt::Debug for attractor_memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("attractor_memory").field(&self.memory).finish()
    }
}

/// The shape of a memory, its rule, and how it is laid out; `attractor_memory_options_init` fills it.
///
/// The fields from `activation` on say how a state x goes on from the weighted sums s, of keys or of values:
/// `h = gain (s - T x) + carry x + field`, `x' = damping x + (1 - damping) activation(h)`. T is 0 unless `remove_self` is
/// set, and a retrieval may give a field. By default `x' = s`.
///
/// A classical Hopfield network has `separation` `ATTRACTOR_SEPARATION_LINEAR`, `activation`
/// `ATTRACTOR_ACTIVATION_SIGN_KEEP`, `remove_self` 1 and `beta` 1; a dense one `ATTRACTOR_SEPARATION_POWER`.
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
    /// The maximum number of bytes of keys, and of values, in one buffer; 0 for the limit of the device.
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
    /// The maximum number of bytes of keys and values that a GPU holds; the others are in host memory and stream
    /// through it. 0 for a GPU that holds all. Nothing can be recorded of such a memory.
    pub device_bytes: u64,
    /// For `ATTRACTOR_SEPARATION_POWER` and `ATTRACTOR_SEPARATION_RECTIFIED`: the exponent, from 1 to 63.
    pub n: u32,
    /// For `ATTRACTOR_SEPARATION_STEP`: the least score that has weight; finite.
    pub step_threshold: f32,
    /// One of `attractor_activation`.
    pub activation: u32,
    /// For `ATTRACTOR_ACTIVATION_SOFTMAX_BLOCKS` and `ATTRACTOR_ACTIVATION_ARGMAX_BLOCKS`: at least 1; d is a multiple.
    pub block_width: u32,
    /// The factor of the sums; finite.
    pub gain: f32,
    /// The factor of the state before; finite.
    pub carry: f32,
    /// The share of the state before in the next one, at least 0 and below 1.
    pub damping: f32,
    /// Not 0: the coupling of every coordinate with itself is taken away, exactly. For dot similarity, keys whose
    /// coordinates are all 1 or -1, and softmax or a separation that is not normalised; but for
    /// `ATTRACTOR_SEPARATION_LINEAR` states are such, too.
    pub remove_self: u32,
    /// Not 0: the sums of values go on as states, in place of those of keys; dv is d.
    pub next_values: u32,
    /// Each coordinate moves in one of this many updates, from 1 to 2^24; with d blocks one moves at a time.
    pub blocks: u32,
    /// Above 0: signs are drawn, 1 with the probability `1 / (1 + exp(-2 h / temperature))`; 0 for none.
    pub temperature: f32,
    /// The seed of what is drawn by chance.
    pub seed: u32,
    /// Beta goes from `beta` in the first update to `schedule_beta` in this one, by the same factor each time; 0 for a
    /// beta that stays.
    pub schedule_steps: u32,
    /// With `schedule_steps`: finite, not 0, and of the sign of `beta`.
    pub schedule_beta: f32,
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
        device_bytes: 0,
        n: 1,
        step_threshold: 0.0,
        activation: attractor_activation::ATTRACTOR_ACTIVATION_NONE as u32,
        block_width: 1,
        gain: 1.0,
        carry: 0.0,
        damping: 0.0,
        remove_self: 0,
        next_values: 0,
        blocks: 1,
        temperature: 0.0,
        seed: 0,
        schedule_steps: 0,
        schedule_beta: 0.0,
    }
}

impl attractor_memory_options {
    /// What ends an update.
    fn update(&self) -> Outcome<Update> {
        let activation = decode::<attractor_activation>("activation", self.activation)?.with(self.block_width);
        let update = Update::default().activation(activation).gain(self.gain).carry(self.carry);
        let update = update.damping(self.damping).blocks(self.blocks).temperature(self.temperature, self.seed);
        let update = if self.remove_self != 0 { update.remove_self() } else { update };
        let update = if self.next_values != 0 { update.next(Next::Values) } else { update };
        Ok(match self.schedule_steps {
            0 => update,
            steps => update.schedule(self.schedule_beta, steps),
        })
    }

    fn checked(&self) -> Outcome<MemoryOptions> {
        let separation = decode::<attractor_separation>("separation", self.separation)?;
        let rule = Rule::new(
            decode::<attractor_similarity>("similarity", self.similarity)?.into(),
            separation.with(self.alpha, self.k, self.n, self.step_threshold),
            self.beta,
        );
        let rule = rule.then(self.update()?);
        let precision = decode::<attractor_precision>("precision", self.precision)?.into();
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
            return Err(Failure::Unsupported { what: "a value of attractor_memory_options.reserved other than 0" });
        }
        if self.window_bytes > 0 {
            options = options.window_bytes(self.window_bytes);
        }
        if self.device_bytes > 0 {
            options = options.device_bytes(self.device_bytes);
        }
        Ok(options)
    }
}

/// Fills `*options`, of `size` = `sizeof(attractor_memory_options)` bytes, for keys of `dim` dimensions: dot similarity
/// and softmax at `beta` = 1/sqrt(dim), which is attention; `float` storage, no values, no bias.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_options_init(
    options: *mut attractor_memory_options,
    size: usize,
    dim: usize,
) -> attractor_error {
    const OPERATION: &str = "attractor_memory_options_init";
    // SAFETY: the crate's contract.
    code(OPERATION, || unsafe { init(options, size, defaults(size, dim)) })
}

/// Creates an empty memory on `device`.
///
/// Errors: `ATTRACTOR_ERROR_PARAMETER` for a zero dimension and for a rule outside its domain; `ATTRACTOR_ERROR_SHAPE`
/// where blocks, pairs or values do not fit the dimension; `ATTRACTOR_ERROR_LIMIT` where one row does not fit the device;
/// `ATTRACTOR_ERROR_NULL_POINTER`. `*memory` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_create(
    device: *const attractor_device,
    options: *const attractor_memory_options,
    memory: *mut *mut attractor_memory,
) -> attractor_error {
    const OPERATION: &str = "attractor_memory_create";
    code(OPERATION, || {
        // SAFETY: the crate's contract.
        let (out, device, options) = unsafe {
            let out = Out::handle("memory", memory)?;
            (out, borrow("device", device)?, read(options, defaults(0, 0))?)
        };
        out.give(attractor_memory::new(options.checked()?.build(&device.device)?));
        Ok(())
    })
}

/// Frees the handle; NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_free(memory: *mut attractor_memory) {
    // SAFETY: the crate's contract.
    unsafe { free("attractor_memory_free", memory) };
}

/// The number of stored patterns; 0 where `memory` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_len(memory: *const attractor_memory) -> usize {
    // SAFETY: the crate's contract.
    let len = guard("attractor_memory_len", || Ok(unsafe { borrow("memory", memory) }?.read()?.len()));
    len.unwrap_or(0)
}

/// d, the length of a key, a query and a state; 0 where `memory` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_dim(memory: *const attractor_memory) -> usize {
    // SAFETY: the crate's contract.
    guard("attractor_memory_dim", || Ok(unsafe { borrow("memory", memory) }?.dim)).unwrap_or(0)
}

/// dv, the length of a value and of an output, which is d where keys are their own values; 0 where `memory` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_value_dim(memory: *const attractor_memory) -> usize {
    let value_dim = guard("attractor_memory_value_dim", || {
        // SAFETY: the crate's contract.
        let memory = unsafe { borrow("memory", memory) }?;
        Ok(memory.value_dim.unwrap_or(memory.dim))
    });
    value_dim.unwrap_or(0)
}

/// N, the number of positions: those of the stored patterns, and those of removed ones that have not been reused. It is
/// the width of masks and weights; 0 where `memory` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_memory_positions(memory: *const attractor_memory) -> usize {
    let positions =
        // SAFETY: the crate's contract.
        guard("attractor_memory_positions", || Ok(unsafe { borrow("memory", memory) }?.read()?.position_count()));
    positions.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use std::ptr::{null, null_mut};

    use attractor::{Device, Precision};

    use super::*;
    use crate::patterns::{attractor_memory_add, attractor_memory_clear};
    use crate::retrieve::attractor_memory_retrieve_begin;

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
        assert_eq!(options.checked().unwrap(), expected);
        options.saturate = 1;
        assert_eq!(options.checked().unwrap(), expected.saturate());
        options.reserved = 1;
        assert!(matches!(options.checked(), Err(Failure::Unsupported { .. })));
    }

    #[test]
    fn updates_are_those_of_the_fields() {
        let size = size_of::<attractor_memory_options>();
        let rule = |change: &dyn Fn(&mut attractor_memory_options)| {
            let mut options = defaults(size, 6);
            options.beta = 1.0;
            change(&mut options);
            options.checked().map(|checked| checked.build(&Device::cpu()).unwrap().rule().to_string())
        };
        let text = |change: &dyn Fn(&mut attractor_memory_options)| rule(change).unwrap();
        assert_eq!(text(&|_| ()), "dot softmax, beta 1");
        let separation = |separation| {
            text(&|options| (options.separation, options.n, options.step_threshold) = (separation, 3, -2.5))
        };
        let separations = [5, 6, 7, 8].map(separation);
        let expected = ["linear", "power 3", "rectified 3", "step -2.5"];
        assert_eq!(separations, expected.map(|separation| format!("dot {separation}, beta 1")));
        let activations = (1..=8).map(|code| text(&|options| (options.activation, options.block_width) = (code, 2)));
        let expected = [
            "sign keep",
            "sign plus",
            "sign zero",
            "tanh",
            "normalize",
            "phasor",
            "softmax blocks 2",
            "argmax blocks 2",
        ];
        assert!(activations.eq(expected.map(|activation| format!("dot softmax, beta 1 then {activation}"))));
        let full = text(&|options| {
            (options.activation, options.gain, options.carry, options.damping) = (2, 0.5, -1.0, 0.25);
            (options.blocks, options.temperature, options.seed) = (3, 2.0, 9);
            (options.schedule_steps, options.schedule_beta) = (40, 8.0);
            (options.next_values, options.value_dim) = (1, 6);
        });
        let expected = "dot softmax, beta 1 then sign plus, gain 0.5, carry -1, damping 0.25, next values, blocks 3, \
                        temperature 2, seed 9, beta to 8 in 40";
        assert_eq!(full, expected);
        let hopfield = text(&|options| (options.separation, options.activation, options.remove_self) = (5, 1, 1));
        assert_eq!(hopfield, Rule::classical_hopfield().to_string());
        let unknown = rule(&|options| options.activation = 9).unwrap_err();
        assert!(unknown.to_string().contains("activation"), "{unknown}");
    }
}
