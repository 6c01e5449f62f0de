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
    pub(super) device_bytes: Option<u64>,
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
            device_bytes: None,
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

    /// The most bytes of keys and values that a GPU holds, for memories that are larger. All rows are in host memory,
    /// too ([`MemoryOptions::host_copy`]), or in their file ([`LoadOptions::rows_in_file`]). Three quarters of the
    /// bytes are for rows that stay on the device; the others stream through two buffers of an eighth each: while the
    /// device works on one, the host fills the next, by way of two buffers of that size in host memory.
    ///
    /// On top of the bytes come what the device has of every pattern, 16 bytes of terms where there are any and `d +
    /// 16` bytes with [`Precision::I8Exact`], whose 8-bit keys make most copies needless for few queries; the
    /// workspace; and two such buffers for each further retrieval that runs at the same time.
    ///
    /// Answers are those of a memory that the device holds. A pass over the patterns takes the time of the copy, where
    /// that is longer; [`Precision::F16`] and [`Precision::I8`] copy less. There is a pass for each update and each
    /// search of a block of queries ([`Explanation::query_block`](crate::explain::Explanation)), and one more for
    /// reports that need one; rules of sparse weights copy the rows of their support besides.
    /// [`Explanation::streamed_bytes`](crate::explain::Explanation) has the sum.
    ///
    /// Such a retrieval is submitted while its [`Pending`](crate::Pending) is polled, awaited or waited for; a poll
    /// copies 16 MiB at most. It cannot be recorded ([`Error::Unsupported`](crate::Error::Unsupported)). The CPU
    /// engine has no use for the bound.
    ///
    /// ```
    /// use attractor::{Device, MemoryOptions, Rule, Separation, Similarity};
    /// let device = Device::new_blocking()?;
    /// let rule = Rule::new(Similarity::Cosine, Separation::Softmax, 8.0);
    /// // 1,000 patterns of 4 kB, of which the device holds 1 MB.
    /// let mut memory = MemoryOptions::new(1024, rule).device_bytes(1 << 20).build(&device)?;
    /// let keys: Vec<f32> = (0..1000 * 1024).map(|i| (i % 7919) as f32 / 7919.0 - 0.5).collect();
    /// memory.add(&keys)?;
    /// assert_eq!(memory.search_blocking(&keys[999 * 1024..], 1)?.ids, [memory.id_at(999)]);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    pub fn device_bytes(mut self, bytes: u64) -> Self {
        self.device_bytes = Some(bytes);
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

    /// What [`MemoryOptions::device_bytes`] set.
    pub fn get_device_bytes(&self) -> Option<u64> {
        self.device_bytes
    }
}

/// How a saved memory is laid out again.
#[cfg(feature = "files")]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoadOptions {
    pub(super) rule: Option<Rule>,
    pub(super) window_bytes: Option<u64>,
    pub(super) host_copy: bool,
    pub(super) device_bytes: Option<u64>,
    pub(super) rows_in_file: bool,
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

    /// The most bytes of keys and values that a GPU holds, as [`MemoryOptions::device_bytes`]. Where that makes smaller
    /// windows than those that were saved, answers may differ in their last bits.
    pub fn device_bytes(mut self, bytes: u64) -> Self {
        self.device_bytes = Some(bytes);
        self
    }

    /// Leave keys and values in the file, and read them from there whenever they are needed: for memories that are
    /// larger than the host's memory. On the CPU engine a retrieval reads the file tile by tile, which costs a copy of
    /// what it reads; 12 to 20 bytes a pattern are in memory, and with [`Precision::I8Exact`] the 8-bit keys, so that
    /// few queries of top-k, sparsemax and entmax, and searches, read only the rows that can matter. On a GPU it is
    /// the [`LoadOptions::host_copy`] that stays in the file.
    ///
    /// Answers are bit-exact those of the memory in the host's memory. Patterns can be removed, but not added or
    /// updated ([`Error::Unsupported`](crate::Error::Unsupported)), until [`Memory::clear`](crate::Memory::clear),
    /// after which rows are in host memory. The file must not be written to: once its length or its time of
    /// modification has changed, or a row cannot be read, every call that needs rows returns
    /// [`Error::File`](crate::Error::File). [`Memory::save`](crate::Memory::save) to the same path is no change: it
    /// puts another file in its place.
    ///
    /// ```
    /// use attractor::{Device, LoadOptions, Memory, Rule};
    /// # let folder = tempfile::tempdir().unwrap();
    /// let path = folder.path().join("memory.safetensors");
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(4.0))?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
    /// memory.save(&path)?;
    /// let memory = Memory::load_with(&Device::cpu(), &path, &LoadOptions::default().rows_in_file())?;
    /// assert_eq!(memory.search_blocking(&[0.1, 0.9], 1)?.ids, [memory.id_at(1)]);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    pub fn rows_in_file(mut self) -> Self {
        self.rows_in_file = true;
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

    /// What [`LoadOptions::device_bytes`] set.
    pub fn get_device_bytes(&self) -> Option<u64> {
        self.device_bytes
    }

    /// Whether [`LoadOptions::rows_in_file`] was called.
    pub fn get_rows_in_file(&self) -> bool {
        self.rows_in_file
    }
}
