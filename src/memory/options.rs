//! The shape of a memory, and how it is laid out.

use crate::precision::Precision;
use crate::rule::Rule;

/// The shape of a memory, and how it is laid out.
///
/// ```
/// use attractor::{Device, MemoryOptions, Rule};
/// let memory = MemoryOptions::new(64, Rule::attention(64)).value_dim(10).build(&Device::cpu())?;
/// assert_eq!((memory.dim(), memory.value_dim()), (64, 10));
/// # Ok::<(), attractor::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct MemoryOptions {
    pub(super) dim: usize,
    pub(super) value_dim: Option<usize>,
    pub(super) rule: Rule,
    pub(super) precision: Precision,
    pub(super) saturate: bool,
    pub(super) bias: bool,
    pub(super) window_bytes: Option<u64>,
    pub(super) host_copy: bool,
}

impl MemoryOptions {
    /// Keys of `dim` dimensions that are their own values, under `rule`.
    pub fn new(dim: usize, rule: Rule) -> Self {
        Self {
            dim,
            value_dim: None,
            rule,
            precision: Precision::F32,
            saturate: false,
            bias: false,
            window_bytes: None,
            host_copy: false,
        }
    }

    /// Store a value of `value_dim` dimensions beside each key.
    pub fn value_dim(mut self, value_dim: usize) -> Self {
        self.value_dim = Some(value_dim);
        self
    }

    /// How keys and values are stored; `f32` by default.
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// With [`Precision::F16`]: store numbers that round beyond the largest half as the largest half, 65,504, with
    /// their sign. Otherwise a row with such a number is refused ([`Error::Range`](crate::Error::Range)).
    pub fn saturate(mut self) -> Self {
        self.saturate = true;
        self
    }

    /// Patterns have a bias, which is added to their scores ([`Memory::add`](crate::Memory::add)).
    pub fn bias(mut self) -> Self {
        self.bias = true;
        self
    }

    /// The most bytes of keys, and of values, that one window holds. The device's limits apply in any case; a smaller
    /// bound is for tests and for hosts that prefer many small buffers.
    pub fn window_bytes(mut self, bytes: u64) -> Self {
        self.window_bytes = Some(bytes);
        self
    }

    /// Keep a copy of every row in host memory, so that [`Memory::rebuild`](crate::Memory::rebuild) works after the
    /// device was lost. It takes as much room again; a memory on the CPU engine is in host memory anyway.
    pub fn host_copy(mut self) -> Self {
        self.host_copy = true;
        self
    }

    /// `d`, the dimensions of a key.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The rule.
    pub fn rule(&self) -> Rule {
        self.rule
    }

    /// What [`MemoryOptions::value_dim`] set.
    pub fn get_value_dim(&self) -> Option<usize> {
        self.value_dim
    }

    /// What [`MemoryOptions::precision`] set.
    pub fn get_precision(&self) -> Precision {
        self.precision
    }

    /// Whether [`MemoryOptions::saturate`] was called.
    pub fn get_saturate(&self) -> bool {
        self.saturate
    }

    /// Whether [`MemoryOptions::bias`] was called.
    pub fn get_bias(&self) -> bool {
        self.bias
    }

    /// What [`MemoryOptions::window_bytes`] set.
    pub fn get_window_bytes(&self) -> Option<u64> {
        self.window_bytes
    }

    /// Whether [`MemoryOptions::host_copy`] was called.
    pub fn get_host_copy(&self) -> bool {
        self.host_copy
    }
}

/// How a saved memory is laid out again.
#[cfg(feature = "files")]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadOptions {
    pub(super) rule: Option<Rule>,
    pub(super) window_bytes: Option<u64>,
    pub(super) host_copy: bool,
}

#[cfg(feature = "files")]
impl LoadOptions {
    /// Recall by `rule` instead of the rule that was saved.
    pub fn rule(mut self, rule: Rule) -> Self {
        self.rule = Some(rule);
        self
    }

    /// The most bytes of keys, and of values, that one window holds, as [`MemoryOptions::window_bytes`]. Rows are then
    /// laid out anew, and answers may differ in their last bits from those of the memory that was saved.
    pub fn window_bytes(mut self, bytes: u64) -> Self {
        self.window_bytes = Some(bytes);
        self
    }

    /// Keep a copy in host memory, as [`MemoryOptions::host_copy`].
    pub fn host_copy(mut self) -> Self {
        self.host_copy = true;
        self
    }

    /// What [`LoadOptions::rule`] set.
    pub fn get_rule(&self) -> Option<Rule> {
        self.rule
    }

    /// What [`LoadOptions::window_bytes`] set.
    pub fn get_window_bytes(&self) -> Option<u64> {
        self.window_bytes
    }

    /// Whether [`LoadOptions::host_copy`] was called.
    pub fn get_host_copy(&self) -> bool {
        self.host_copy
    }
}
