//! A dispatch as a value: a kernel, how it is set, what it reads and writes, and how much work it does. Kernels build
//! them (`kernels`), `pipeline` lists them in order, `schedule` cuts and compiles the list.

use super::buffer::Binding;
use super::kernel::Kernel;
use super::shader::{Constant, Substitution};

/// All workgroups of one kernel, before they are cut by cost.
#[derive(Debug)]
pub(crate) struct Dispatch {
    pub kernel: &'static Kernel,
    pub setting: Setting,
    /// The kernel's `Params` without the header that every shader's begin with (`params!`).
    pub params: Vec<u8>,
    /// One binding for each storage buffer of the kernel.
    pub storage: Vec<Binding>,
    pub grid: [u32; 3],
    pub work: Work,
    /// Queries of the block that is worked on: no list of queries that the kernel reads has more.
    pub queries: u32,
    /// Whether it may do less than `work` says: queries may have stopped, or need no search.
    pub data_dependent: bool,
}

/// What of a kernel's text the host chooses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setting {
    pub constants: Vec<Constant>,
    pub fragments: Vec<Substitution>,
}

impl Setting {
    /// The shader as it stands, but for these constants.
    pub fn constants(constants: impl Into<Vec<Constant>>) -> Self {
        Self { constants: constants.into(), fragments: Vec::new() }
    }
}

/// Constants that are set and fragments that are linked, for people.
impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let constants = self.constants.iter().map(|(name, value)| format!("{name} {value}"));
        let fragments = self.fragments.iter().map(|(_, fragment)| fragment.trim_start_matches("lib/").to_owned());
        f.write_str(&constants.chain(fragments).collect::<Vec<_>>().join(", "))
    }
}

/// What one dispatch does: floating-point operations, and bytes that workgroups load and store, each datum once a
/// workgroup.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub flops: u64,
    pub bytes: u64,
}

impl Work {
    /// Multiply-adds and words: what takes time.
    pub fn units(self) -> f64 {
        (self.flops / 2) as f64 + (self.bytes / 4) as f64
    }
}

impl Dispatch {
    pub fn workgroups(&self) -> u64 {
        self.grid.into_iter().map(u64::from).product()
    }
}
