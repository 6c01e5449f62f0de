//! Kernels as data: a shader, its bindings, the size of its parameters, and the settings that it is compiled in.

use super::shader::{Constant, Substitution};

/// How a kernel uses a storage buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`
    Read,
    /// `var<storage, read_write>`
    Write,
}

/// One shader: binding 0 is its uniform parameters, bindings 1 and up its storage buffers, the first of which is an
/// array of `u32` that it reads.
#[derive(Debug)]
pub struct Kernel {
    /// The stem of its files.
    pub stem: &'static str,
    /// The text of `shaders/{stem}.wgsl`.
    pub source: &'static str,
    /// One entry per storage buffer, from binding 1.
    pub storage: &'static [Access],
    /// The bytes of its `Params`.
    pub params: usize,
    /// Name and byte offset of every field of its `Params`.
    pub fields: &'static [(&'static str, usize)],
    /// Loops in its text, each of which the loop bound of its host file knows. Fragments count their own.
    pub loops: usize,
    /// The most loop iterations that one invocation makes under a plan; 0 for the fused kernels, whose tiles say so.
    pub iterations: fn(&LoopSizes) -> u64,
    /// Settings that the plan may choose; the first is the shader's own.
    pub variants: &'static [Variant],
}

/// The sizes of a plan that bound the loops of kernels. Those of stages on their own are 0 where all stages are fused.
#[derive(Clone, Copy, Debug)]
pub struct LoopSizes {
    /// Queries of a block.
    pub queries: u64,
    /// Vectors of a key.
    pub key_vectors: u64,
    /// Column vectors of the widest sums.
    pub columns: u32,
    /// Splits of a dispatch.
    pub splits: u64,
    /// Patterns of a split, where stages are on their own.
    pub split_rows: u64,
    /// Patterns of a chunk, where stages are on their own.
    pub chunk_rows: u64,
    /// Patterns of a split of the search.
    pub searched_rows: u64,
}

/// A setting of a kernel: constants that the host sets, and fragments that stand in for others.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    /// Constants and their values.
    pub constants: &'static [Constant],
    /// A fragment that the shader names, and the one that is linked instead.
    pub fragments: &'static [Substitution],
}

impl Variant {
    /// The shader as it stands.
    pub const PLAIN: Self = Self { constants: &[], fragments: &[] };
    /// Each way in which rows are stored.
    pub const STORED: [Self; 3] = [
        Self::PLAIN,
        Self { constants: &[], fragments: &[("lib/stored_f32", "lib/stored_f16")] },
        Self { constants: &[], fragments: &[("lib/stored_f32", "lib/stored_i8")] },
    ];
    /// Each way in which a state is compared with a key, with terms, masks and storage in turn.
    pub const COMPARED: [Self; 5] = [
        Self::PLAIN,
        Self {
            constants: &[("TERMS", 1)],
            fragments: &[("lib/compare_dot", "lib/compare_euclidean"), ("lib/stored_f32", "lib/stored_f16")],
        },
        Self {
            constants: &[("KEEP", 1)],
            fragments: &[("lib/compare_dot", "lib/compare_manhattan"), ("lib/stored_f32", "lib/stored_i8")],
        },
        Self { constants: &[("TERMS", 1)], fragments: &[("lib/stored_f32", "lib/stored_i8")] },
        Self {
            constants: &[("TERMS", 1), ("KEEP", 1)],
            fragments: &[("lib/compare_dot", "lib/compare_euclidean"), ("lib/stored_f32", "lib/stored_i8")],
        },
    ];
    /// Softmax, entmax and top-k.
    pub const RULES: [Self; 3] = [
        Self { constants: &[("RULE", 0)], fragments: &[] },
        Self { constants: &[("RULE", 1)], fragments: &[] },
        Self { constants: &[("RULE", 2)], fragments: &[] },
    ];
}

/// Declares the uniform `Params` of a shader, with its fields listed for the test that compares it with the shader's.
macro_rules! params {
    ($($field:ident: $type:ty,)*) => {
        /// The uniform `Params` of the shader.
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, bytemuck::Pod, bytemuck::Zeroable)]
        pub struct Params {
            $(pub $field: $type,)*
        }

        impl Params {
            /// With what comes first in every shader's: the base of its grid, and how many queries
            /// there are (`lib/listed`).
            pub const FIELDS: &[(&str, usize)] =
                &[("base", 0), $((stringify!($field), 16 + std::mem::offset_of!(Params, $field)),)*];
            pub const SIZE: usize = 16 + size_of::<Params>();
        }
    };
}
pub(crate) use params;
