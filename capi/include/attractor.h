/*
 * attractor: associative memory on any GPU.
 *
 * Store patterns once, give noisy or partial queries, get back what they recall. A program opens a device
 * (attractor_device_best), creates a memory on it (attractor_memory_create), adds patterns (attractor_memory_add) and
 * retrieves: waiting (attractor_memory_retrieve), or in a loop that must not wait (attractor_memory_retrieve_begin,
 * then attractor_pending_take once a frame). capi/examples/recall.c shows both, capi/examples/networks.c other
 * networks than attention.
 *
 * Errors. Calls that may fail return an attractor_error; attractor_last_error_message returns the message. No panic
 * leaves the library. What can be seen from the arguments alone is checked: NULL, alignment, overflow, lengths that
 * disagree.
 *
 * Ownership. Free every handle once, with the function of its kind, in any order, and not while another thread is in a
 * call with it. Arrays that are passed are read or written during the call only. The length of each, in elements, is
 * passed with it and checked against the shape that the call needs, so that rows of another width are refused; an array
 * of length 0 may be NULL. Arrays and strings that are returned belong to the handle that they were asked of.
 *
 * Threads. Any number of threads may use a handle at once, without locks. The library has threads that live as long as
 * the process, so it cannot be unloaded.
 *
 * Options. Structs of options begin with their size, which lets later versions make them longer: fill one with its
 * _init function and its sizeof, then set what differs. Fields that hold a value of an enum are uint32_t, so that a
 * wrong number is an error and not undefined behaviour.
 *
 * Building. cargo build --release -p attractor-capi; capi/README.md tells how to link and how to install.
 */


#ifndef ATTRACTOR_H
#define ATTRACTOR_H

/* Made from capi/src by cbindgen: ATTRACTOR_WRITE_HEADER=1 cargo test -p attractor-capi */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The version of this header. `attractor_version` returns that of the library in use.
 */
#define ATTRACTOR_VERSION_MAJOR 0
#define ATTRACTOR_VERSION_MINOR 1
#define ATTRACTOR_VERSION_PATCH 0

/**
 * The id in an array of ids where there is no pattern.
 */
#define ATTRACTOR_NO_PATTERN UINT64_MAX

/**
 * The result of a call. The numbers do not change; later versions may add others.
 */
enum attractor_error
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Success.
   */
  ATTRACTOR_OK = 0,
  /**
   * No error and no message: the answer is not ready yet (`attractor_pending_take`).
   */
  ATTRACTOR_NOT_READY = 1,
  /**
   * A pointer is NULL that may not be.
   */
  ATTRACTOR_ERROR_NULL_POINTER = 2,
  /**
   * A pointer is not aligned for what it points to.
   */
  ATTRACTOR_ERROR_ALIGNMENT = 3,
  /**
   * A string is not UTF-8.
   */
  ATTRACTOR_ERROR_UTF8 = 4,
  /**
   * The answer of this pending retrieval has been taken before.
   */
  ATTRACTOR_ERROR_TAKEN = 5,
  /**
   * A defect of this library: it panicked. A memory that was being changed refuses every later call with this code.
   */
  ATTRACTOR_ERROR_PANIC = 6,
  /**
   * An array has the wrong length, is missing, or is one that the memory does not accept.
   */
  ATTRACTOR_ERROR_SHAPE = 10,
  /**
   * An input holds NaN or an infinity; the message names row and column.
   */
  ATTRACTOR_ERROR_NOT_FINITE = 11,
  /**
   * A parameter is outside its domain.
   */
  ATTRACTOR_ERROR_PARAMETER = 12,
  /**
   * A retrieval from a memory without patterns.
   */
  ATTRACTOR_ERROR_EMPTY = 13,
  /**
   * The request is not defined for this rule, or this library was built without the feature.
   */
  ATTRACTOR_ERROR_UNSUPPORTED = 14,
  /**
   * No pattern with this id is stored.
   */
  ATTRACTOR_ERROR_UNKNOWN_ID = 15,
  /**
   * No adapter fits the options; the message lists the adapters of this machine.
   */
  ATTRACTOR_ERROR_NO_ADAPTER = 16,
  /**
   * This device cannot do what was asked.
   */
  ATTRACTOR_ERROR_DEVICE = 17,
  /**
   * The request exceeds a limit of the device or of the address space.
   */
  ATTRACTOR_ERROR_LIMIT = 18,
  /**
   * The device was lost, and with it what is on it.
   */
  ATTRACTOR_ERROR_LOST = 19,
  /**
   * A file is missing, damaged or of another kind, or the system refused access.
   */
  ATTRACTOR_ERROR_FILE = 20,
  /**
   * A defect of this library or of a driver, to be reported.
   */
  ATTRACTOR_ERROR_INTERNAL = 21,
  /**
   * The work was cancelled before it was done.
   */
  ATTRACTOR_ERROR_CANCELLED = 22,
  /**
   * A finite row lies outside the range of right answers; the message names the row and the range.
   */
  ATTRACTOR_ERROR_RANGE = 23,
  /**
   * Memory ran out, of the host or of the device.
   */
  ATTRACTOR_ERROR_OUT_OF_MEMORY = 24,
  /**
   * An object was made from a memory that has changed since.
   */
  ATTRACTOR_ERROR_STALE = 40,
  /**
   * A buffer belongs to another device.
   */
  ATTRACTOR_ERROR_OTHER_DEVICE = 41,
  /**
   * The process was forked after its first device was made; make the first device in the child.
   */
  ATTRACTOR_ERROR_FORKED = 50,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum attractor_error attractor_error;
#else
typedef int32_t attractor_error;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Whether a query has an answer.
 */
enum attractor_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * It has.
   */
  ATTRACTOR_STATUS_ANSWERED = 0,
  /**
   * Every pattern is masked: the weights, the output and the state are zero.
   */
  ATTRACTOR_STATUS_NOTHING_LEFT = 1,
  /**
   * The query has a NaN or an infinity. Calls from C refuse such queries, so they never report this.
   */
  ATTRACTOR_STATUS_NOT_FINITE = 2,
  /**
   * The query has a coordinate beyond the range in which the device computes right answers.
   */
  ATTRACTOR_STATUS_OUT_OF_RANGE = 3,
  /**
   * It has; its state comes back after two or more updates and would for ever. The state is that after the last
   * update that was allowed. Only of rules whose states are discrete.
   */
  ATTRACTOR_STATUS_CYCLE = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum attractor_status attractor_status;
#else
typedef uint32_t attractor_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The kinds of fixed point of Ramsauer et al., told from the weights.
 */
enum attractor_fixed_point
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * One pattern: the largest weight is at least 0.99.
   */
  ATTRACTOR_FIXED_POINT_SINGLE = 0,
  /**
   * An average over all: the perplexity is at least N / 2.
   */
  ATTRACTOR_FIXED_POINT_GLOBAL = 1,
  /**
   * An average over some.
   */
  ATTRACTOR_FIXED_POINT_METASTABLE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum attractor_fixed_point attractor_fixed_point;
#else
typedef uint32_t attractor_fixed_point;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The graphics interface of the system.
 */
enum attractor_backend
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Any.
   */
  ATTRACTOR_BACKEND_ANY = 0,
  /**
   * Vulkan.
   */
  ATTRACTOR_BACKEND_VULKAN = 1,
  /**
   * Metal.
   */
  ATTRACTOR_BACKEND_METAL = 2,
  /**
   * Direct3D 12.
   */
  ATTRACTOR_BACKEND_DX12 = 3,
  /**
   * OpenGL and OpenGL ES.
   */
  ATTRACTOR_BACKEND_GL = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum attractor_backend attractor_backend;
#else
typedef uint32_t attractor_backend;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * Which software adapters (lavapipe, llvmpipe, SwiftShader, WARP) a search may return.
 */
enum attractor_software
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * None: they are for conformance, not for speed.
   */
  ATTRACTOR_SOFTWARE_REFUSE = 0,
  /**
   * Any, after all hardware.
   */
  ATTRACTOR_SOFTWARE_ALLOW = 1,
  /**
   * Software adapters alone.
   */
  ATTRACTOR_SOFTWARE_REQUIRE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum attractor_software attractor_software;
#else
typedef uint32_t attractor_software;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How keys and values are stored. Sums are `float` whatever the storage.
 */
enum attractor_precision
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * As given.
   */
  ATTRACTOR_PRECISION_F32 = 0,
  /**
   * Rounded to the nearest half: 11 bits, magnitudes up to 65,504 (`saturate` in `attractor_memory_options`).
   */
  ATTRACTOR_PRECISION_F16 = 1,
  /**
   * Rounded to 255 levels between plus and minus the row's largest magnitude.
   */
  ATTRACTOR_PRECISION_I8 = 2,
  /**
   * As given, and beside them the keys in 8 bits: few queries read these, and answers are those of
   * `ATTRACTOR_PRECISION_F32`.
   */
  ATTRACTOR_PRECISION_I8_EXACT = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum attractor_precision attractor_precision;
#else
typedef uint32_t attractor_precision;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How a state x is compared with a stored key k.
 */
enum attractor_similarity
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * `<x, k>`: the modern Hopfield network and attention.
   */
  ATTRACTOR_SIMILARITY_DOT = 0,
  /**
   * `<x, k> / (|x| |k|)`, norms clamped at 1e-12.
   */
  ATTRACTOR_SIMILARITY_COSINE = 1,
  /**
   * `-1/2 |x - k|^2`.
   */
  ATTRACTOR_SIMILARITY_EUCLIDEAN = 2,
  /**
   * `-|x - k|_1`.
   */
  ATTRACTOR_SIMILARITY_MANHATTAN = 3,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum attractor_similarity attractor_similarity;
#else
typedef uint32_t attractor_similarity;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How the scores z become weights p. Those of the last four are functions of one score each, and not normalised.
 */
enum attractor_separation
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * `exp(z - lse z)`.
   */
  ATTRACTOR_SEPARATION_SOFTMAX = 0,
  /**
   * `exp(z) / (1 + sum exp z)`: the weights may sum to less than 1.
   */
  ATTRACTOR_SEPARATION_SOFTMAX1 = 1,
  /**
   * `[z - tau]_+`: exact zeros; entmax with alpha = 2.
   */
  ATTRACTOR_SEPARATION_SPARSEMAX = 2,
  /**
   * `[(alpha-1) z - tau]_+ ^ (1/(alpha-1))`, with `alpha` above 1.
   */
  ATTRACTOR_SEPARATION_ENTMAX = 3,
  /**
   * Softmax over the `k` largest scores, zero elsewhere; ties keep the smaller index.
   */
  ATTRACTOR_SEPARATION_TOPK = 4,
  /**
   * `z`: classical Hopfield networks and resonators.
   */
  ATTRACTOR_SEPARATION_LINEAR = 5,
  /**
   * `z^n`: dense associative memories, with interactions of order n + 1.
   */
  ATTRACTOR_SEPARATION_POWER = 6,
  /**
   * `max(z, 0)^n`.
   */
  ATTRACTOR_SEPARATION_RECTIFIED = 7,
  /**
   * 1 where `z >= step_threshold`, else 0: sparse distributed memories.
   */
  ATTRACTOR_SEPARATION_STEP = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum attractor_separation attractor_separation;
#else
typedef uint32_t attractor_separation;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What is applied to each coordinate of `h`, or to each block of coordinates, at the end of an update.
 */
enum attractor_activation
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * Nothing: `h`.
   */
  ATTRACTOR_ACTIVATION_NONE = 0,
  /**
   * The sign of `h`; a coordinate whose `h` is 0 stays (Hopfield networks).
   */
  ATTRACTOR_ACTIVATION_SIGN_KEEP = 1,
  /**
   * The sign of `h`; 0 becomes 1 (resonator networks).
   */
  ATTRACTOR_ACTIVATION_SIGN_PLUS = 2,
  /**
   * The sign of `h`; 0 stays 0 (torchhd).
   */
  ATTRACTOR_ACTIVATION_SIGN_ZERO = 3,
  /**
   * `tanh(h)`.
   */
  ATTRACTOR_ACTIVATION_TANH = 4,
  /**
   * `h / max(|h|, 1e-12)`, over all coordinates.
   */
  ATTRACTOR_ACTIVATION_NORMALIZE = 5,
  /**
   * Each pair of coordinates (re, im) over its magnitude; a pair of zeros becomes (1, 0). d is even.
   */
  ATTRACTOR_ACTIVATION_PHASOR = 6,
  /**
   * Softmax within each block of `block_width` coordinates, of which d is a multiple.
   */
  ATTRACTOR_ACTIVATION_SOFTMAX_BLOCKS = 7,
  /**
   * 1 at the largest coordinate of each block of `block_width`, the first of equal ones, and 0 elsewhere.
   */
  ATTRACTOR_ACTIVATION_ARGMAX_BLOCKS = 8,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum attractor_activation attractor_activation;
#else
typedef uint32_t attractor_activation;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The direction and the shape of a mask.
 */
enum attractor_mask
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
  /**
   * There is no mask.
   */
  ATTRACTOR_MASK_NONE = 0,
  /**
   * N bytes: not 0 where a pattern may be used, by every query.
   */
  ATTRACTOR_MASK_KEEP = 1,
  /**
   * B x N bytes, row-major: not 0 where that query may use that pattern.
   */
  ATTRACTOR_MASK_KEEP_PER_QUERY = 2,
  /**
   * N bytes: not 0 where a pattern may not be used, by any query.
   */
  ATTRACTOR_MASK_EXCLUDE = 3,
  /**
   * B x N bytes, row-major: not 0 where that query may not use that pattern.
   */
  ATTRACTOR_MASK_EXCLUDE_PER_QUERY = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum attractor_mask attractor_mask;
#else
typedef uint32_t attractor_mask;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * The adapters that this machine had when they were listed.
 */
typedef struct attractor_adapters attractor_adapters;

/**
 * A device: a GPU, or the CPU engine. Any number of threads may use it at once. It may be freed before the memories on
 * it.
 */
typedef struct attractor_device attractor_device;

/**
 * What a search found: the nearest patterns of B queries, nearest first. It never changes, so any number of threads
 * may read it at once. The arrays that its functions return live until it is freed.
 */
typedef struct attractor_hits attractor_hits;

/**
 * Patterns on a device, and the rule that recalls them. Any number of threads may use it at once: retrievals and other
 * calls that read it run concurrently; a call that changes it waits for running calls, and later calls wait for it.
 * A retrieval that was begun does not count as a running call: it sees the memory as it was then. No thread may be in
 * a call with a memory that is freed.
 *
 * Shapes: N patterns, keys N x d, values N x dv (the keys themselves unless the memory has a value dimension), queries
 * B x d; all row-major `float`. One update of a state x:
 * `z_i = beta similarity(x, k_i) + b_i`, `p = separation(z)`, `x' = sum_i p_i k_i`, `y = sum_i p_i v_i`, unless the
 * options end updates in another way.
 */
typedef struct attractor_memory attractor_memory;

/**
 * A retrieval in progress. Its answer can be taken once. It depends neither on its memory nor on its device, which may
 * be changed or freed meanwhile. Any number of threads may use it at once; one of them gets the answer.
 */
typedef struct attractor_pending attractor_pending;

/**
 * A search in progress, as `attractor_pending` is a retrieval.
 */
typedef struct attractor_pending_hits attractor_pending_hits;

/**
 * A finished retrieval: the answers to B queries against N patterns. It never changes, so any number of threads may
 * read it at once. The arrays that its functions return live until it is freed.
 */
typedef struct attractor_retrieval attractor_retrieval;

/**
 * What to look for in `attractor_device_open`; `attractor_device_options_init` fills it.
 */
typedef struct attractor_device_options {
  /**
   * `sizeof(attractor_device_options)`.
   */
  size_t size;
  /**
   * Part of the name or of the driver of the adapter, in UTF-8, in any case; NULL for any. An adapter that is chosen
   * by name or by index may be software whatever `software` says.
   */
  const char *name;
  /**
   * Position in the list of `attractor_adapters_list`, with `name` NULL; -1 for any.
   */
  int64_t index;
  /**
   * One of `attractor_backend`.
   */
  uint32_t backend;
  /**
   * One of `attractor_software`.
   */
  uint32_t software;
  /**
   * Not 0: do without 16-bit floats in shaders even where the adapter has them.
   */
  uint32_t without_f16;
  /**
   * Not 0: do without subgroups even where the adapter has them.
   */
  uint32_t without_subgroups;
  /**
   * A folder, in UTF-8, for compiled kernels, which later runs reuse where the backend supports that; it is written
   * when the device and the last memory on it are freed. NULL for none.
   */
  const char *pipeline_cache;
} attractor_device_options;

/**
 * The shape of a memory, its rule, and how it is laid out; `attractor_memory_options_init` fills it.
 *
 * The fields from `activation` on say how a state x goes on from the weighted sums s, of keys or of values:
 * `h = gain (s - T x) + carry x + field`, `x' = damping x + (1 - damping) activation(h)`. T is 0 unless `remove_self` is
 * set, and a retrieval may give a field. By default `x' = s`.
 *
 * A classical Hopfield network has `separation` `ATTRACTOR_SEPARATION_LINEAR`, `activation`
 * `ATTRACTOR_ACTIVATION_SIGN_KEEP`, `remove_self` 1 and `beta` 1; a dense one `ATTRACTOR_SEPARATION_POWER`.
 */
typedef struct attractor_memory_options {
  /**
   * `sizeof(attractor_memory_options)`.
   */
  size_t size;
  /**
   * d, the length of a key, a query and a state; at least 1.
   */
  size_t dim;
  /**
   * dv, the length of a value and of an output; 0 where keys are their own values, and dv is d.
   */
  size_t value_dim;
  /**
   * For `ATTRACTOR_SEPARATION_TOPK`: how many patterns may have weight, at least 1.
   */
  size_t k;
  /**
   * The maximum number of bytes of keys, and of values, in one buffer; 0 for the limit of the device.
   */
  uint64_t window_bytes;
  /**
   * One of `attractor_precision`.
   */
  uint32_t precision;
  /**
   * One of `attractor_similarity`.
   */
  uint32_t similarity;
  /**
   * One of `attractor_separation`.
   */
  uint32_t separation;
  /**
   * Not 0: patterns have a bias, which is added to their scores.
   */
  uint32_t bias;
  /**
   * For `ATTRACTOR_SEPARATION_ENTMAX`: above 1; at 1 the rule would be softmax.
   */
  float alpha;
  /**
   * The inverse temperature: finite, of any sign. At 0 every pattern weighs the same.
   */
  float beta;
  /**
   * For `ATTRACTOR_PRECISION_F16`. Not 0: numbers that round beyond the largest half are stored as 65,504 with their
   * sign; 0: a row with such a number is refused (`ATTRACTOR_ERROR_RANGE`).
   */
  uint32_t saturate;
  /**
   * 0, for a later version.
   */
  uint32_t reserved;
  /**
   * The maximum number of bytes of keys and values that a GPU holds; the others are in host memory and stream
   * through it. 0 for a GPU that holds all. Nothing can be recorded of such a memory.
   */
  uint64_t device_bytes;
  /**
   * For `ATTRACTOR_SEPARATION_POWER` and `ATTRACTOR_SEPARATION_RECTIFIED`: the exponent, from 1 to 63.
   */
  uint32_t n;
  /**
   * For `ATTRACTOR_SEPARATION_STEP`: the least score that has weight; finite.
   */
  float step_threshold;
  /**
   * One of `attractor_activation`.
   */
  uint32_t activation;
  /**
   * For `ATTRACTOR_ACTIVATION_SOFTMAX_BLOCKS` and `ATTRACTOR_ACTIVATION_ARGMAX_BLOCKS`: at least 1; d is a multiple.
   */
  uint32_t block_width;
  /**
   * The factor of the sums; finite.
   */
  float gain;
  /**
   * The factor of the state before; finite.
   */
  float carry;
  /**
   * The share of the state before in the next one, at least 0 and below 1.
   */
  float damping;
  /**
   * Not 0: the coupling of every coordinate with itself is taken away, exactly. For dot similarity, keys whose
   * coordinates are all 1 or -1, and softmax or a separation that is not normalised; but for
   * `ATTRACTOR_SEPARATION_LINEAR` states are such, too.
   */
  uint32_t remove_self;
  /**
   * Not 0: the sums of values go on as states, in place of those of keys; dv is d.
   */
  uint32_t next_values;
  /**
   * Each coordinate moves in one of this many updates, from 1 to 2^24; with d blocks one moves at a time.
   */
  uint32_t blocks;
  /**
   * Above 0: signs are drawn, 1 with the probability `1 / (1 + exp(-2 h / temperature))`; 0 for none.
   */
  float temperature;
  /**
   * The seed of what is drawn by chance.
   */
  uint32_t seed;
  /**
   * Beta goes from `beta` in the first update to `schedule_beta` in this one, by the same factor each time; 0 for a
   * beta that stays.
   */
  uint32_t schedule_steps;
  /**
   * With `schedule_steps`: finite, not 0, and of the sign of `beta`.
   */
  float schedule_beta;
} attractor_memory_options;

/**
 * How a saved memory is laid out again; `attractor_load_options_init` fills it.
 */
typedef struct attractor_load_options {
  /**
   * `sizeof(attractor_load_options)`.
   */
  size_t size;
  /**
   * As in `attractor_memory_options`.
   */
  uint64_t window_bytes;
  /**
   * As in `attractor_memory_options`.
   */
  uint64_t device_bytes;
  /**
   * Not 0: keys and values stay in the file, which must not be written to, and are read whenever they are needed.
   * Patterns can be removed then, but not added or updated.
   */
  uint32_t rows_in_file;
  /**
   * 0, for a later version.
   */
  uint32_t reserved;
} attractor_load_options;

/**
 * Options of one retrieval of B queries; `attractor_retrieve_options_init` fills them.
 */
typedef struct attractor_retrieve_options {
  /**
   * `sizeof(attractor_retrieve_options)`.
   */
  size_t size;
  /**
   * Report this many patterns of largest weight, at most 1,024; 0 for none.
   */
  size_t top;
  /**
   * Choose kernels as for a batch of this many queries, so that a query gives the same bits alone as in any batch; 0
   * chooses for the batch of this call.
   */
  size_t plan_for;
  /**
   * `mask_length` bytes as `mask_layout` says, where N is `attractor_memory_positions`; NULL without a mask.
   */
  const uint8_t *mask;
  /**
   * N, or B x N.
   */
  size_t mask_length;
  /**
   * B x d bytes, row-major: not 0 where a coordinate is known and stays as the query has it in every state; NULL
   * where none is.
   */
  const uint8_t *clamp;
  /**
   * B x d.
   */
  size_t clamp_length;
  /**
   * One of `attractor_mask`.
   */
  uint32_t mask_layout;
  /**
   * The number of updates, at least 1; with `converge` the maximum.
   */
  uint32_t steps;
  /**
   * Not 0: each query stops as soon as no coordinate changes by more than `tolerance`.
   */
  uint32_t converge;
  /**
   * Above 0; ignored without `converge`.
   */
  float tolerance;
  /**
   * Not 0: report the energy of the last state. Not every rule has one.
   */
  uint32_t energy;
  /**
   * Not 0: report the energies of the query and of every state after it.
   */
  uint32_t energy_trace;
  /**
   * Not 0: report support, perplexity, largest weight and the kind of fixed point.
   */
  uint32_t statistics;
  /**
   * Not 0: report every weight, N of them for each query.
   */
  uint32_t weights;
  /**
   * With `has_threshold`: of `top`, report only patterns of at least this similarity; under euclidean and manhattan
   * similarity within this distance (euclidean: its square). Rounded to f32. Patterns that are not among the `top`
   * of largest weight are not looked at.
   */
  double threshold;
  /**
   * Not 0: `threshold` is one.
   */
  uint32_t has_threshold;
  /**
   * Of `top`, report only patterns of at least this weight, from 1/1,024 to 1, and count all that have it; 0 for no
   * least weight.
   */
  float least_weight;
  /**
   * B x d floats, row-major, to add to the sums of every update; NULL without.
   */
  const float *field;
  /**
   * B x d.
   */
  size_t field_length;
  /**
   * B floats: a beta for each query, in place of the rule's; NULL without.
   */
  const float *betas;
  /**
   * B.
   */
  size_t betas_length;
  /**
   * B ids of patterns: one for each query to leave out, or `ATTRACTOR_NO_PATTERN` for none; NULL without.
   */
  const uint64_t *exclude;
  /**
   * B.
   */
  size_t exclude_length;
  /**
   * 2 B positions: each query sees those patterns alone from the first position of its pair up to and without the
   * second; NULL where all see all. Queries of one range should be next to each other.
   */
  const size_t *rows;
  /**
   * 2 B.
   */
  size_t rows_length;
} attractor_retrieve_options;

/**
 * Statistics of the weights of the last step of one query.
 */
typedef struct attractor_statistics {
  /**
   * Patterns whose weight is above zero.
   */
  uint32_t support;
  /**
   * `exp(-sum_i p_i ln p_i)`: the effective number of patterns.
   */
  float perplexity;
  /**
   * The largest weight.
   */
  float largest;
  /**
   * The kind of fixed point that follows.
   */
  attractor_fixed_point kind;
} attractor_statistics;

/**
 * Options of one search of B queries; `attractor_search_options_init` fills them.
 */
typedef struct attractor_search_options {
  /**
   * `sizeof(attractor_search_options)`.
   */
  size_t size;
  /**
   * Find at most this many patterns for each query, at least 1 and at most 1,024.
   */
  size_t top;
  /**
   * Choose kernels as for a batch of this many queries, so that a query gives the same bits alone as in any batch; 0
   * chooses for the batch of this call.
   */
  size_t plan_for;
  /**
   * `mask_length` bytes as `mask_layout` says, where N is `attractor_memory_positions`; NULL without a mask.
   */
  const uint8_t *mask;
  /**
   * N, or B x N.
   */
  size_t mask_length;
  /**
   * With `has_threshold`: the least similarity of a hit; under euclidean and manhattan similarity the largest
   * distance (euclidean: its square). Rounded to f32.
   */
  double threshold;
  /**
   * Not 0: find only patterns that meet `threshold`, and count all of them.
   */
  uint32_t has_threshold;
  /**
   * One of `attractor_mask`.
   */
  uint32_t mask_layout;
} attractor_search_options;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The message of the last call of this thread that failed: one line of UTF-8, empty where none has. A call that
 * succeeds leaves the message unchanged. The string belongs to this library and stays valid until the next call of
 * this thread begins; this function is not such a call.
 */
const char *attractor_last_error_message(void);

/**
 * The version of this library, such as `1.2.3`. The string is never freed.
 */
const char *attractor_version(void);

/**
 * Opens the best hardware adapter, or the CPU engine where there is none; never a software adapter. Waits for the
 * driver.
 *
 * Errors: `ATTRACTOR_ERROR_NULL_POINTER`; `*device` is NULL then.
 */
attractor_error attractor_device_best(struct attractor_device **device);

/**
 * Opens the CPU engine, which uses every core and no GPU.
 *
 * Errors: `ATTRACTOR_ERROR_NULL_POINTER`.
 */
attractor_error attractor_device_cpu(struct attractor_device **device);

/**
 * Fills `*options`, of `size` = `sizeof(attractor_device_options)` bytes: any backend, no software adapters.
 *
 * Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
 */
attractor_error attractor_device_options_init(struct attractor_device_options *options, size_t size);

/**
 * Opens a device that fits `options`. Waits for the driver. Falls back to the CPU engine only if `options` ask neither
 * for a backend, nor for an adapter, nor for software.
 *
 * Errors: `ATTRACTOR_ERROR_NO_ADAPTER`, also where the adapter does not open; `ATTRACTOR_ERROR_PARAMETER`,
 * `ATTRACTOR_ERROR_UTF8` and `ATTRACTOR_ERROR_NULL_POINTER` for the arguments. `*device` is NULL then.
 */
attractor_error attractor_device_open(const struct attractor_device_options *options, struct attractor_device **device);

/**
 * Frees the handle; NULL is ignored.
 */
void attractor_device_free(struct attractor_device *device);

/**
 * The name of the adapter, or that of the CPU engine. This string and those below are UTF-8 and valid until the device
 * is freed; NULL where `device` is NULL.
 */
const char *attractor_device_name(const struct attractor_device *device);

/**
 * `Vulkan`, `Metal`, `Dx12`, `Gl`, or `native` for the CPU engine.
 */
const char *attractor_device_backend(const struct attractor_device *device);

/**
 * The driver and its version, as far as the driver reports them.
 */
const char *attractor_device_driver(const struct attractor_device *device);

/**
 * `discrete`, `integrated`, `virtual`, `software`, `other` or `cpu engine`.
 */
const char *attractor_device_kind(const struct attractor_device *device);

/**
 * Lists every adapter of this machine, hardware and software, in the order of `index` in `attractor_device_options`,
 * and writes their number to `count` unless that is NULL. Free the list with `attractor_adapters_free`.
 *
 * Errors: `ATTRACTOR_ERROR_NULL_POINTER`; `*adapters` is NULL then.
 */
attractor_error attractor_adapters_list(struct attractor_adapters **adapters, size_t *count);

/**
 * Frees the list; NULL is ignored.
 */
void attractor_adapters_free(struct attractor_adapters *adapters);

/**
 * The name of the adapter at `index`. This string and those below are UTF-8 and valid until the list is freed; NULL
 * where `adapters` is NULL or has no such index.
 */
const char *attractor_adapters_name(const struct attractor_adapters *adapters, size_t index);

/**
 * The backend of the adapter at `index`, as in `attractor_device_backend`.
 */
const char *attractor_adapters_backend(const struct attractor_adapters *adapters, size_t index);

/**
 * The driver of the adapter at `index`.
 */
const char *attractor_adapters_driver(const struct attractor_adapters *adapters, size_t index);

/**
 * The kind of the adapter at `index`, as in `attractor_device_kind`.
 */
const char *attractor_adapters_kind(const struct attractor_adapters *adapters, size_t index);

/**
 * Fills `*options`, of `size` = `sizeof(attractor_memory_options)` bytes, for keys of `dim` dimensions: dot similarity
 * and softmax at `beta` = 1/sqrt(dim), which is attention; `float` storage, no values, no bias.
 *
 * Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
 */
attractor_error attractor_memory_options_init(struct attractor_memory_options *options, size_t size, size_t dim);

/**
 * Creates an empty memory on `device`.
 *
 * Errors: `ATTRACTOR_ERROR_PARAMETER` for a zero dimension and for a rule outside its domain; `ATTRACTOR_ERROR_SHAPE`
 * where blocks, pairs or values do not fit the dimension; `ATTRACTOR_ERROR_LIMIT` where one row does not fit the device;
 * `ATTRACTOR_ERROR_NULL_POINTER`. `*memory` is NULL then.
 */
attractor_error attractor_memory_create(const struct attractor_device *device,
                                        const struct attractor_memory_options *options,
                                        struct attractor_memory **memory);

/**
 * Frees the handle; NULL is ignored.
 */
void attractor_memory_free(struct attractor_memory *memory);

/**
 * The number of stored patterns; 0 where `memory` is NULL.
 */
size_t attractor_memory_len(const struct attractor_memory *memory);

/**
 * d, the length of a key, a query and a state; 0 where `memory` is NULL.
 */
size_t attractor_memory_dim(const struct attractor_memory *memory);

/**
 * dv, the length of a value and of an output, which is d where keys are their own values; 0 where `memory` is NULL.
 */
size_t attractor_memory_value_dim(const struct attractor_memory *memory);

/**
 * N, the number of positions: those of the stored patterns, and those of removed ones that have not been reused. It is
 * the width of masks and weights; 0 where `memory` is NULL.
 */
size_t attractor_memory_positions(const struct attractor_memory *memory);

/**
 * Writes the id of the pattern that is at `position` now to `id`. `attractor_retrieval_id_at` tells which pattern was
 * at a position when a retrieval saw the memory.
 *
 * Errors: `ATTRACTOR_ERROR_PARAMETER` where no pattern is at that position; `ATTRACTOR_ERROR_NULL_POINTER`.
 */
attractor_error attractor_memory_id_at(const struct attractor_memory *memory, size_t position, uint64_t *id);

/**
 * Stores `count` patterns. `keys` has `keys_length` = count x d floats. `values` has `values_length` = count x dv
 * floats if the memory has a value dimension, and is NULL with length 0 otherwise. `bias` has `bias_length` = count
 * floats, or is NULL with length 0 for zeros; only memories with a bias accept one. Everything is copied. The ids of
 * the patterns are consecutive; the first is written to `first_id` unless that is NULL. With a `count` of 0 nothing is
 * stored, the pointers may be NULL, and `*first_id` is not written.
 *
 * Errors: `ATTRACTOR_ERROR_SHAPE` for lengths that are not those of `count` patterns, for values or a bias that the
 * memory does not accept, and for missing values; `ATTRACTOR_ERROR_NOT_FINITE`; `ATTRACTOR_ERROR_RANGE` for a
 * row that halves cannot hold, unless the memory saturates; `ATTRACTOR_ERROR_LIMIT` or `ATTRACTOR_ERROR_OUT_OF_MEMORY`
 * where there is no room; `ATTRACTOR_ERROR_LOST`; `ATTRACTOR_ERROR_NULL_POINTER`. The memory is unchanged then.
 */
attractor_error attractor_memory_add(struct attractor_memory *memory,
                                     const float *keys,
                                     size_t keys_length,
                                     const float *values,
                                     size_t values_length,
                                     const float *bias,
                                     size_t bias_length,
                                     size_t count,
                                     uint64_t *first_id);

/**
 * Replaces the pattern `id` by `key`, of `key_length` = d floats, `value`, of `value_length` = dv floats, or NULL with
 * length 0, and `bias`, of `bias_length` = 1, or NULL with length 0 for zero, as in `attractor_memory_add`. The id
 * stays the same.
 *
 * Errors: `ATTRACTOR_ERROR_UNKNOWN_ID`, and those of `attractor_memory_add`. The memory is unchanged then.
 */
attractor_error attractor_memory_update(struct attractor_memory *memory,
                                        uint64_t id,
                                        const float *key,
                                        size_t key_length,
                                        const float *value,
                                        size_t value_length,
                                        const float *bias,
                                        size_t bias_length);

/**
 * Removes the pattern `id`. A later add reuses its position, but never its id.
 *
 * Errors: `ATTRACTOR_ERROR_UNKNOWN_ID`, `ATTRACTOR_ERROR_NULL_POINTER`.
 */
attractor_error attractor_memory_remove(struct attractor_memory *memory, uint64_t id);

/**
 * Removes every pattern and keeps the allocated room. Ids are never reused.
 *
 * Errors: `ATTRACTOR_ERROR_NULL_POINTER`.
 */
attractor_error attractor_memory_clear(struct attractor_memory *memory);

/**
 * Allocates room for `additional` patterns.
 *
 * Errors: `ATTRACTOR_ERROR_LIMIT` or `ATTRACTOR_ERROR_OUT_OF_MEMORY` where there is none; the memory is unchanged
 * then. `ATTRACTOR_ERROR_NULL_POINTER`.
 */
attractor_error attractor_memory_reserve(struct attractor_memory *memory, size_t additional);

/**
 * Whether the pattern `id` is stored; false where `memory` is NULL.
 */
bool attractor_memory_contains(const struct attractor_memory *memory, uint64_t id);

/**
 * Reads the pattern `id` back as it is stored: its key to `key`, of `key_length` = d floats, its value to `value`, of
 * `value_length` = dv floats, its bias to `bias`. Each may be NULL, with length 0; `value_length` is 0 where keys are
 * their own values. On a GPU this waits.
 *
 * Errors: `ATTRACTOR_ERROR_UNKNOWN_ID`, `ATTRACTOR_ERROR_SHAPE`, `ATTRACTOR_ERROR_LOST`,
 * `ATTRACTOR_ERROR_NULL_POINTER`. Nothing is written then.
 */
attractor_error attractor_memory_get(const struct attractor_memory *memory,
                                     uint64_t id,
                                     float *key,
                                     size_t key_length,
                                     float *value,
                                     size_t value_length,
                                     float *bias);

/**
 * Fills `*options`, of `size` = `sizeof(attractor_load_options)` bytes: rows in host memory, or on the device.
 *
 * Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
 */
attractor_error attractor_load_options_init(struct attractor_load_options *options, size_t size);

/**
 * Saves the memory to the file at `path`, in UTF-8: a safetensors file with the rule, and every pattern with its id,
 * in the precision in which it is stored. A failure leaves the old file, never a part of the new one. On a GPU this
 * waits.
 *
 * Errors: `ATTRACTOR_ERROR_FILE` where the system refuses, `ATTRACTOR_ERROR_LOST`, `ATTRACTOR_ERROR_UNSUPPORTED` where
 * this library was built without the feature `files`, `ATTRACTOR_ERROR_UTF8`, `ATTRACTOR_ERROR_NULL_POINTER`.
 */
attractor_error attractor_memory_save(const struct attractor_memory *memory, const char *path);

/**
 * Loads a saved memory to any device: bit-exactly the same patterns, under the same ids. `options` may be NULL, for
 * those of `attractor_load_options_init`.
 *
 * Errors: `ATTRACTOR_ERROR_FILE` for a file that cannot be read, is damaged or is not a memory;
 * `ATTRACTOR_ERROR_LIMIT` or `ATTRACTOR_ERROR_OUT_OF_MEMORY` where the device has no room;
 * `ATTRACTOR_ERROR_UNSUPPORTED` where this library was built without the feature `files`; `ATTRACTOR_ERROR_UTF8`,
 * `ATTRACTOR_ERROR_NULL_POINTER`. `*memory` is NULL then.
 */
attractor_error attractor_memory_load(const struct attractor_device *device,
                                      const char *path,
                                      const struct attractor_load_options *options,
                                      struct attractor_memory **memory);

/**
 * Fills `*options`, of `size` = `sizeof(attractor_retrieve_options)` bytes: one update, without mask, clamp and
 * reports.
 *
 * Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
 */
attractor_error attractor_retrieve_options_init(struct attractor_retrieve_options *options, size_t size);

/**
 * Retrieves for `count` queries, of `queries_length` = count x d floats together, with `options`, or with one update
 * where they are NULL, and waits for the answer on this thread. The outputs are written to `output`, of
 * `output_length` = count x dv floats, unless it is NULL with length 0; outputs and reports go to `*retrieval`, to be
 * freed by `attractor_retrieval_free`, unless that is NULL. Not both may be NULL.
 *
 * Errors: `ATTRACTOR_ERROR_EMPTY`; `ATTRACTOR_ERROR_SHAPE` for queries, an output, or an array of the options of a wrong
 * length; `ATTRACTOR_ERROR_NOT_FINITE`; `ATTRACTOR_ERROR_PARAMETER` for the options; `ATTRACTOR_ERROR_UNSUPPORTED` for
 * a report that the rule does not have; `ATTRACTOR_ERROR_OUT_OF_MEMORY` where there is no room for the answers;
 * `ATTRACTOR_ERROR_LOST`; `ATTRACTOR_ERROR_NULL_POINTER`. `*retrieval` is NULL then, and nothing is written to
 * `output`.
 */
attractor_error attractor_memory_retrieve(const struct attractor_memory *memory,
                                          const float *queries,
                                          size_t queries_length,
                                          size_t count,
                                          const struct attractor_retrieve_options *options,
                                          float *output,
                                          size_t output_length,
                                          struct attractor_retrieval **retrieval);

/**
 * Begins the same retrieval without waiting for it; it waits only for a call that is changing the memory. `*pending`
 * gets the answer; free it with `attractor_pending_free` at any time. Queries and options have been copied when this
 * returns, and the memory may change or be freed: the retrieval sees it as it was.
 *
 * Errors: those of `attractor_memory_retrieve`; a device that fails later makes `attractor_pending_take` return
 * `ATTRACTOR_ERROR_LOST`. `*pending` is NULL then.
 */
attractor_error attractor_memory_retrieve_begin(const struct attractor_memory *memory,
                                                const float *queries,
                                                size_t queries_length,
                                                size_t count,
                                                const struct attractor_retrieve_options *options,
                                                struct attractor_pending **pending);

/**
 * Frees the handle; NULL is ignored.
 */
void attractor_retrieval_free(struct attractor_retrieval *retrieval);

/**
 * B, the number of queries; 0 where `retrieval` is NULL.
 */
size_t attractor_retrieval_count(const struct attractor_retrieval *retrieval);

/**
 * N, the number of positions that the memory had, those of removed patterns included; 0 where `retrieval` is NULL.
 */
size_t attractor_retrieval_patterns(const struct attractor_retrieval *retrieval);

/**
 * How many patterns are reported for each query: `top`, or N where there are fewer; 0 where `retrieval` is NULL.
 */
size_t attractor_retrieval_top_count(const struct attractor_retrieval *retrieval);

/**
 * The outputs `y = sum_i p_i v_i` of the last step, B x dv, row-major.
 *
 * For this array and every array below: its length is written to `length` unless that is NULL, and it lives until the
 * retrieval is freed. NULL, and a length of 0, where `retrieval` is NULL or the report was not asked for, which the
 * last error message says. An array of length 0 is not NULL, and must not be read.
 */
const float *attractor_retrieval_output(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * The last states `x' = sum_i p_i k_i`, clamped coordinates as in the query, B x d, row-major.
 */
const float *attractor_retrieval_state(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * The number of updates done, B of them.
 */
const uint32_t *attractor_retrieval_steps(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * `max |x' - x|` of the last update, B of them.
 */
const float *attractor_retrieval_change(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * Whether the change is within the tolerance (1e-4 without `converge`), B of them.
 */
const bool *attractor_retrieval_converged(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * Whether there is an answer, B of them.
 */
const attractor_status *attractor_retrieval_status(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * The energies of the last states, B of them, if `energy` was asked for.
 */
const double *attractor_retrieval_energy(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * The energies of query `query` and of every state after it, one more than its updates, if `energy_trace` was asked
 * for.
 */
const double *attractor_retrieval_energy_trace(const struct attractor_retrieval *retrieval,
                                               size_t query,
                                               size_t *length);

/**
 * The ids of the patterns of largest weight, in descending order of weight, B x `attractor_retrieval_top_count`, if
 * `top` was asked for, as the retrieval saw the memory; `ATTRACTOR_NO_PATTERN` where the memory or the mask leaves
 * fewer.
 */
const uint64_t *attractor_retrieval_top_ids(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * Writes the id of the pattern that was at `position` when the retrieval saw the memory, whose weight is at that
 * position of each row of `attractor_retrieval_weights`, to `id`; `ATTRACTOR_NO_PATTERN` where there was none.
 *
 * Errors: `ATTRACTOR_ERROR_PARAMETER` for a position that is not below `attractor_retrieval_patterns`;
 * `ATTRACTOR_ERROR_NULL_POINTER`.
 */
attractor_error attractor_retrieval_id_at(const struct attractor_retrieval *retrieval, size_t position, uint64_t *id);

/**
 * The weights of the same patterns, if `top` was asked for.
 */
const float *attractor_retrieval_top_weight(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * The similarities of the same patterns with the state that the last step started from, if `top` was asked for: dot
 * products or cosines, or distances, squared under euclidean similarity.
 */
const float *attractor_retrieval_top_similarity(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * How many patterns meet `threshold` and `least_weight`, B of them, if one of these was asked for: with `least_weight`
 * of all patterns, otherwise of the `top` of largest weight.
 */
const uint64_t *attractor_retrieval_top_found(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * Statistics of the weights of the last step, B of them, if `statistics` was asked for.
 */
const struct attractor_statistics *attractor_retrieval_statistics(const struct attractor_retrieval *retrieval,
                                                                  size_t *length);

/**
 * The weights of the last step, B x N, row-major, if `weights` was asked for.
 */
const float *attractor_retrieval_weights(const struct attractor_retrieval *retrieval, size_t *length);

/**
 * Fills `*options`, of `size` = `sizeof(attractor_search_options)` bytes: 1,024 patterns, without mask and threshold.
 *
 * Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
 */
attractor_error attractor_search_options_init(struct attractor_search_options *options, size_t size);

/**
 * Finds the nearest patterns of `count` queries, of `queries_length` = count x d floats together, with `options`, or
 * 1,024 patterns where they are NULL, and waits for them on this thread. Patterns are ranked by the similarity of the
 * memory; neither the separation nor beta nor a bias plays a part. `*hits` gets what was found; free it with
 * `attractor_hits_free`.
 *
 * Errors: `ATTRACTOR_ERROR_EMPTY`; `ATTRACTOR_ERROR_SHAPE` for queries or a mask of a wrong length;
 * `ATTRACTOR_ERROR_NOT_FINITE`; `ATTRACTOR_ERROR_PARAMETER` for the options; `ATTRACTOR_ERROR_OUT_OF_MEMORY` where
 * there is no room for the hits; `ATTRACTOR_ERROR_LOST`; `ATTRACTOR_ERROR_NULL_POINTER`. `*hits` is NULL then.
 */
attractor_error attractor_memory_search(const struct attractor_memory *memory,
                                        const float *queries,
                                        size_t queries_length,
                                        size_t count,
                                        const struct attractor_search_options *options,
                                        struct attractor_hits **hits);

/**
 * Begins the same search without waiting for it; it waits only for a call that is changing the memory. `*pending` gets
 * what will be found; free it with `attractor_pending_hits_free` at any time. Queries and mask have been copied when
 * this returns, and the memory may change or be freed: the search sees it as it was.
 *
 * Errors: those of `attractor_memory_search`; a device that fails later makes `attractor_pending_hits_take` return
 * `ATTRACTOR_ERROR_LOST`. `*pending` is NULL then.
 */
attractor_error attractor_memory_search_begin(const struct attractor_memory *memory,
                                              const float *queries,
                                              size_t queries_length,
                                              size_t count,
                                              const struct attractor_search_options *options,
                                              struct attractor_pending_hits **pending);

/**
 * Frees the handle; NULL is ignored.
 */
void attractor_hits_free(struct attractor_hits *hits);

/**
 * B, the number of queries; 0 where `hits` is NULL.
 */
size_t attractor_hits_count(const struct attractor_hits *hits);

/**
 * Places per query: `top`, or N where there are fewer patterns; 0 where `hits` is NULL.
 */
size_t attractor_hits_places(const struct attractor_hits *hits);

/**
 * The ids of the patterns that were found, nearest first, B x `attractor_hits_places`, as the search saw the memory;
 * `ATTRACTOR_NO_PATTERN` where there are fewer hits.
 *
 * For this array and every array below: its length is written to `length` unless that is NULL, and it lives until the
 * hits are freed. NULL, and a length of 0, where `hits` is NULL or there is no such array. An array of length 0 is not
 * NULL, and must not be read.
 */
const uint64_t *attractor_hits_ids(const struct attractor_hits *hits, size_t *length);

/**
 * Their similarities: dot products or cosines, or distances, squared under euclidean similarity; 0 where there is no
 * hit.
 */
const float *attractor_hits_similarity(const struct attractor_hits *hits, size_t *length);

/**
 * How many patterns meet the threshold, listed or not, B of them; if there was a threshold.
 */
const uint64_t *attractor_hits_found(const struct attractor_hits *hits, size_t *length);

/**
 * Whether there is an answer, B of them: a query may be left no pattern by the mask.
 */
const attractor_status *attractor_hits_status(const struct attractor_hits *hits, size_t *length);

/**
 * Whether `attractor_pending_take` would return the answer or an error. Never waits.
 */
bool attractor_pending_is_ready(struct attractor_pending *pending);

/**
 * Takes the answer if it is ready; free it with `attractor_retrieval_free`. Never waits: while the answer is not ready
 * it returns `ATTRACTOR_NOT_READY`. `pending` must still be freed.
 *
 * Errors: `ATTRACTOR_ERROR_LOST` where the device failed, once, in place of the answer; `ATTRACTOR_ERROR_TAKEN`;
 * `ATTRACTOR_ERROR_NULL_POINTER`. `*retrieval` is NULL then, and while the answer is not ready.
 */
attractor_error attractor_pending_take(struct attractor_pending *pending, struct attractor_retrieval **retrieval);

/**
 * Waits for the answer on this thread and takes it; free it with `attractor_retrieval_free`. `pending` must still be
 * freed.
 *
 * Errors: as `attractor_pending_take`.
 */
attractor_error attractor_pending_wait(struct attractor_pending *pending, struct attractor_retrieval **retrieval);

/**
 * Frees the handle at any time; NULL is ignored. Never waits: submitted work still completes, and its result is
 * discarded.
 */
void attractor_pending_free(struct attractor_pending *pending);

/**
 * Whether `attractor_pending_hits_take` would return the hits or an error. Never waits.
 */
bool attractor_pending_hits_is_ready(struct attractor_pending_hits *pending);

/**
 * Takes the hits if they are ready; free them with `attractor_hits_free`. Never waits: while they are not ready it
 * returns `ATTRACTOR_NOT_READY`. `pending` must still be freed.
 *
 * Errors: as `attractor_pending_take`. `*hits` is NULL then, and while they are not ready.
 */
attractor_error attractor_pending_hits_take(struct attractor_pending_hits *pending, struct attractor_hits **hits);

/**
 * Waits for the hits on this thread and takes them; free them with `attractor_hits_free`. `pending` must still be
 * freed.
 *
 * Errors: as `attractor_pending_take`.
 */
attractor_error attractor_pending_hits_wait(struct attractor_pending_hits *pending, struct attractor_hits **hits);

/**
 * Frees the handle at any time; NULL is ignored. As `attractor_pending_free`.
 */
void attractor_pending_hits_free(struct attractor_pending_hits *pending);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ATTRACTOR_H */
