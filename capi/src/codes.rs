//! Enums of the header, and what each of their numbers means to the library.
//!
//! Fields of options hold them as `u32`, so that a wrong number is an error; as a Rust enum it would be undefined
//! behaviour.

use attractor::device::SoftwareAdapters;
use attractor::retrieval::{FixedPoint, Status};
use attractor::rule::{Activation, Zero};
use attractor::{Mask, Precision, Separation, Similarity, wgpu};

use crate::error::{Failure, Outcome};

/// A number that no variant of an enum has.
#[derive(Debug)]
pub struct Unknown {
    /// The domain, as an error names it.
    expected: &'static str,
}

/// The variant whose number the field `parameter` holds.
pub(crate) fn decode<T: TryFrom<u32, Error = Unknown>>(parameter: &'static str, code: u32) -> Outcome<T> {
    T::try_from(code).map_err(|unknown| Failure::Parameter {
        parameter,
        expected: unknown.expected,
        got: code.to_string(),
    })
}

/// `TryFrom<u32>` for an enum of which these are all variants.
macro_rules! decoded {
    ($name:ident: $($variant:ident),+) => {
        impl TryFrom<u32> for $name {
            type Error = Unknown;

            fn try_from(code: u32) -> Result<Self, Unknown> {
                // A variant that is missing above does not compile here.
                const ALL: &[$name] = {
                    const fn _listed(one: $name) { match one { $($name::$variant => ()),+ } }
                    &[$($name::$variant),+]
                };
                let known = ALL.iter().copied().find(|known| *known as u32 == code);
                known.ok_or(Unknown { expected: concat!("one of ", stringify!($name)) })
            }
        }
    };
}

/// The graphics interface of the system.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_backend {
    /// Any.
    ATTRACTOR_BACKEND_ANY = 0,
    /// Vulkan.
    ATTRACTOR_BACKEND_VULKAN = 1,
    /// Metal.
    ATTRACTOR_BACKEND_METAL = 2,
    /// Direct3D 12.
    ATTRACTOR_BACKEND_DX12 = 3,
    /// OpenGL and OpenGL ES.
    ATTRACTOR_BACKEND_GL = 4,
}

decoded!(attractor_backend: ATTRACTOR_BACKEND_ANY, ATTRACTOR_BACKEND_VULKAN, ATTRACTOR_BACKEND_METAL,
    ATTRACTOR_BACKEND_DX12, ATTRACTOR_BACKEND_GL);

impl From<attractor_backend> for Option<wgpu::Backends> {
    fn from(backend: attractor_backend) -> Self {
        use attractor_backend::*;
        match backend {
            ATTRACTOR_BACKEND_ANY => None,
            ATTRACTOR_BACKEND_VULKAN => Some(wgpu::Backends::VULKAN),
            ATTRACTOR_BACKEND_METAL => Some(wgpu::Backends::METAL),
            ATTRACTOR_BACKEND_DX12 => Some(wgpu::Backends::DX12),
            ATTRACTOR_BACKEND_GL => Some(wgpu::Backends::GL),
        }
    }
}

/// Which software adapters (lavapipe, llvmpipe, SwiftShader, WARP) a search may return.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_software {
    /// None: they are for conformance, not for speed.
    ATTRACTOR_SOFTWARE_REFUSE = 0,
    /// Any, after all hardware.
    ATTRACTOR_SOFTWARE_ALLOW = 1,
    /// Software adapters alone.
    ATTRACTOR_SOFTWARE_REQUIRE = 2,
}

decoded!(attractor_software: ATTRACTOR_SOFTWARE_REFUSE, ATTRACTOR_SOFTWARE_ALLOW, ATTRACTOR_SOFTWARE_REQUIRE);

impl From<attractor_software> for SoftwareAdapters {
    fn from(software: attractor_software) -> Self {
        use attractor_software::*;
        match software {
            ATTRACTOR_SOFTWARE_REFUSE => Self::Refuse,
            ATTRACTOR_SOFTWARE_ALLOW => Self::Allow,
            ATTRACTOR_SOFTWARE_REQUIRE => Self::Require,
        }
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

decoded!(attractor_similarity: ATTRACTOR_SIMILARITY_DOT, ATTRACTOR_SIMILARITY_COSINE, ATTRACTOR_SIMILARITY_EUCLIDEAN,
    ATTRACTOR_SIMILARITY_MANHATTAN);

impl From<attractor_similarity> for Similarity {
    fn from(similarity: attractor_similarity) -> Self {
        use attractor_similarity::*;
        match similarity {
            ATTRACTOR_SIMILARITY_DOT => Self::Dot,
            ATTRACTOR_SIMILARITY_COSINE => Self::Cosine,
            ATTRACTOR_SIMILARITY_EUCLIDEAN => Self::Euclidean,
            ATTRACTOR_SIMILARITY_MANHATTAN => Self::Manhattan,
        }
    }
}

/// How the scores z become weights p. Those of the last four are functions of one score each, and not normalised.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_separation {
    /// `exp(z - lse z)`.
    ATTRACTOR_SEPARATION_SOFTMAX = 0,
    /// `exp(z) / (1 + sum exp z)`: the weights may sum to less than 1.
    ATTRACTOR_SEPARATION_SOFTMAX1 = 1,
    /// `[z - tau]_+`: exact zeros; entmax with alpha = 2.
    ATTRACTOR_SEPARATION_SPARSEMAX = 2,
    /// `[(alpha-1) z - tau]_+ ^ (1/(alpha-1))`, with `alpha` above 1.
    ATTRACTOR_SEPARATION_ENTMAX = 3,
    /// Softmax over the `k` largest scores, zero elsewhere; ties keep the smaller index.
    ATTRACTOR_SEPARATION_TOPK = 4,
    /// `z`: classical Hopfield networks and resonators.
    ATTRACTOR_SEPARATION_LINEAR = 5,
    /// `z^n`: dense associative memories, with interactions of order n + 1.
    ATTRACTOR_SEPARATION_POWER = 6,
    /// `max(z, 0)^n`.
    ATTRACTOR_SEPARATION_RECTIFIED = 7,
    /// 1 where `z >= step_threshold`, else 0: sparse distributed memories.
    ATTRACTOR_SEPARATION_STEP = 8,
}

decoded!(attractor_separation: ATTRACTOR_SEPARATION_SOFTMAX, ATTRACTOR_SEPARATION_SOFTMAX1,
    ATTRACTOR_SEPARATION_SPARSEMAX, ATTRACTOR_SEPARATION_ENTMAX, ATTRACTOR_SEPARATION_TOPK,
    ATTRACTOR_SEPARATION_LINEAR, ATTRACTOR_SEPARATION_POWER, ATTRACTOR_SEPARATION_RECTIFIED,
    ATTRACTOR_SEPARATION_STEP);

impl attractor_separation {
    /// The separation, with the parameters that some of them have.
    pub(crate) fn with(self, alpha: f32, k: usize, n: u32, threshold: f32) -> Separation {
        use attractor_separation::*;
        match self {
            ATTRACTOR_SEPARATION_SOFTMAX => Separation::Softmax,
            ATTRACTOR_SEPARATION_SOFTMAX1 => Separation::Softmax1,
            ATTRACTOR_SEPARATION_SPARSEMAX => Separation::Sparsemax,
            ATTRACTOR_SEPARATION_ENTMAX => Separation::Entmax { alpha },
            ATTRACTOR_SEPARATION_TOPK => Separation::TopK { k },
            ATTRACTOR_SEPARATION_LINEAR => Separation::Linear,
            ATTRACTOR_SEPARATION_POWER => Separation::Power { n },
            ATTRACTOR_SEPARATION_RECTIFIED => Separation::Rectified { n },
            ATTRACTOR_SEPARATION_STEP => Separation::Step { threshold },
        }
    }
}

/// What is applied to each coordinate of `h`, or to each block of coordinates, at the end of an update.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_activation {
    /// Nothing: `h`.
    ATTRACTOR_ACTIVATION_NONE = 0,
    /// The sign of `h`; a coordinate whose `h` is 0 stays (Hopfield networks).
    ATTRACTOR_ACTIVATION_SIGN_KEEP = 1,
    /// The sign of `h`; 0 becomes 1 (resonator networks).
    ATTRACTOR_ACTIVATION_SIGN_PLUS = 2,
    /// The sign of `h`; 0 stays 0 (torchhd).
    ATTRACTOR_ACTIVATION_SIGN_ZERO = 3,
    /// `tanh(h)`.
    ATTRACTOR_ACTIVATION_TANH = 4,
    /// `h / max(|h|, 1e-12)`, over all coordinates.
    ATTRACTOR_ACTIVATION_NORMALIZE = 5,
    /// Each pair of coordinates (re, im) over its magnitude; a pair of zeros becomes (1, 0). d is even.
    ATTRACTOR_ACTIVATION_PHASOR = 6,
    /// Softmax within each block of `block_width` coordinates, of which d is a multiple.
    ATTRACTOR_ACTIVATION_SOFTMAX_BLOCKS = 7,
    /// 1 at the largest coordinate of each block of `block_width`, the first of equal ones, and 0 elsewhere.
    ATTRACTOR_ACTIVATION_ARGMAX_BLOCKS = 8,
}

decoded!(attractor_activation: ATTRACTOR_ACTIVATION_NONE, ATTRACTOR_ACTIVATION_SIGN_KEEP,
    ATTRACTOR_ACTIVATION_SIGN_PLUS, ATTRACTOR_ACTIVATION_SIGN_ZERO, ATTRACTOR_ACTIVATION_TANH,
    ATTRACTOR_ACTIVATION_NORMALIZE, ATTRACTOR_ACTIVATION_PHASOR, ATTRACTOR_ACTIVATION_SOFTMAX_BLOCKS,
    ATTRACTOR_ACTIVATION_ARGMAX_BLOCKS);

impl attractor_activation {
    /// The activation, with the width that some of them have.
    pub(crate) fn with(self, width: u32) -> Activation {
        use attractor_activation::*;
        let width = width as usize;
        match self {
            ATTRACTOR_ACTIVATION_NONE => Activation::None,
            ATTRACTOR_ACTIVATION_SIGN_KEEP => Activation::Sign { zero: Zero::Keep },
            ATTRACTOR_ACTIVATION_SIGN_PLUS => Activation::Sign { zero: Zero::Plus },
            ATTRACTOR_ACTIVATION_SIGN_ZERO => Activation::Sign { zero: Zero::Zero },
            ATTRACTOR_ACTIVATION_TANH => Activation::Tanh,
            ATTRACTOR_ACTIVATION_NORMALIZE => Activation::Normalize,
            ATTRACTOR_ACTIVATION_PHASOR => Activation::Phasor,
            ATTRACTOR_ACTIVATION_SOFTMAX_BLOCKS => Activation::SoftmaxBlocks { width },
            ATTRACTOR_ACTIVATION_ARGMAX_BLOCKS => Activation::ArgmaxBlocks { width },
        }
    }
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
    /// As given, and beside them the keys in 8 bits: few queries read these, and answers are those of
    /// `ATTRACTOR_PRECISION_F32`.
    ATTRACTOR_PRECISION_I8_EXACT = 3,
}

decoded!(
    attractor_precision: ATTRACTOR_PRECISION_F32,
    ATTRACTOR_PRECISION_F16,
    ATTRACTOR_PRECISION_I8,
    ATTRACTOR_PRECISION_I8_EXACT
);

impl From<attractor_precision> for Precision {
    fn from(precision: attractor_precision) -> Self {
        use attractor_precision::*;
        match precision {
            ATTRACTOR_PRECISION_F32 => Self::F32,
            ATTRACTOR_PRECISION_F16 => Self::F16,
            ATTRACTOR_PRECISION_I8 => Self::I8,
            ATTRACTOR_PRECISION_I8_EXACT => Self::I8Exact,
        }
    }
}

/// Whether a query has an answer.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum attractor_status {
    /// It has.
    ATTRACTOR_STATUS_ANSWERED = 0,
    /// Every pattern is masked: the weights, the output and the state are zero.
    ATTRACTOR_STATUS_NOTHING_LEFT = 1,
    /// The query has a NaN or an infinity. Calls from C refuse such queries, so they never report this.
    ATTRACTOR_STATUS_NOT_FINITE = 2,
    /// The query has a coordinate beyond the range in which the device computes right answers.
    ATTRACTOR_STATUS_OUT_OF_RANGE = 3,
    /// It has; its state comes back after two or more updates and would for ever. The state is that after the last
    /// update that was allowed. Only of rules whose states are discrete.
    ATTRACTOR_STATUS_CYCLE = 4,
}

impl From<Status> for attractor_status {
    fn from(status: Status) -> Self {
        match status {
            Status::Answered => Self::ATTRACTOR_STATUS_ANSWERED,
            Status::NothingLeft => Self::ATTRACTOR_STATUS_NOTHING_LEFT,
            Status::NotFinite => Self::ATTRACTOR_STATUS_NOT_FINITE,
            Status::OutOfRange => Self::ATTRACTOR_STATUS_OUT_OF_RANGE,
            Status::Cycle => Self::ATTRACTOR_STATUS_CYCLE,
            other => unreachable!("{other:?} is of another version"),
        }
    }
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

impl From<FixedPoint> for attractor_fixed_point {
    fn from(kind: FixedPoint) -> Self {
        match kind {
            FixedPoint::Single => Self::ATTRACTOR_FIXED_POINT_SINGLE,
            FixedPoint::Global => Self::ATTRACTOR_FIXED_POINT_GLOBAL,
            FixedPoint::Metastable => Self::ATTRACTOR_FIXED_POINT_METASTABLE,
            other => unreachable!("{other:?} is of another version"),
        }
    }
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

decoded!(attractor_mask: ATTRACTOR_MASK_NONE, ATTRACTOR_MASK_KEEP, ATTRACTOR_MASK_KEEP_PER_QUERY,
    ATTRACTOR_MASK_EXCLUDE, ATTRACTOR_MASK_EXCLUDE_PER_QUERY);

/// Makes a mask of flags.
pub(crate) type Layout = fn(&[bool]) -> Mask;

impl From<attractor_mask> for Option<Layout> {
    fn from(layout: attractor_mask) -> Self {
        use attractor_mask::*;
        match layout {
            ATTRACTOR_MASK_NONE => None,
            ATTRACTOR_MASK_KEEP => Some(Mask::keep),
            ATTRACTOR_MASK_KEEP_PER_QUERY => Some(Mask::keep_per_query),
            ATTRACTOR_MASK_EXCLUDE => Some(Mask::exclude),
            ATTRACTOR_MASK_EXCLUDE_PER_QUERY => Some(Mask::exclude_per_query),
        }
    }
}
