//! What to look for when a device is opened.

use std::path::PathBuf;

/// Which software adapters (lavapipe, llvmpipe, SwiftShader, WARP) a search may return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SoftwareAdapters {
    /// None: they are for conformance, not for speed.
    #[default]
    Refuse,
    /// Any, after all hardware.
    Allow,
    /// Nothing else.
    Require,
}

/// One adapter, picked by hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdapterChoice {
    /// Position in [`Device::adapters`](crate::Device::adapters).
    Index(usize),
    /// The first adapter whose name or driver contains this, without regard to case.
    Name(String),
}

/// What to look for in [`Device::with_options`](crate::Device::with_options). The default is
/// [`Device::new`](crate::Device::new)'s search.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes or no of its own")]
pub struct DeviceOptions {
    /// Only these backends; all when absent.
    pub backends: Option<wgpu::Backends>,
    /// One adapter by index or name. An adapter asked for in this way may be software.
    pub adapter: Option<AdapterChoice>,
    /// Which software adapters count.
    pub software: SoftwareAdapters,
    /// Keep `SHADER_F16` off even where the adapter has it.
    pub without_f16: bool,
    /// Keep `SUBGROUP` off even where the adapter has it.
    pub without_subgroups: bool,
    /// Keep the checks that wgpu writes into shaders that it does not know (indices clamped, loops counted), to look
    /// for a fault in ours, which go without. `ATTRACTOR_CHECKED=1` in the environment does it for every device, a
    /// host's too.
    pub checked_shaders: bool,
    /// A folder in which compiled kernels are kept from one run to the next, such as [`user_cache_folder`], where the
    /// backend lets them out (Vulkan; Metal, DX12 and many drivers keep their own). They are written when the last
    /// handle of the device and the last memory on it go, and by
    /// [`Device::save_pipeline_cache`](crate::Device::save_pipeline_cache); a file that is damaged, or not this
    /// adapter's, driver's and crate version's, is ignored. Nothing is kept when absent.
    ///
    /// [`user_cache_folder`]: crate::user_cache_folder
    pub pipeline_cache: Option<PathBuf>,
    /// Keep `EXPERIMENTAL_COOPERATIVE_MATRIX` off even where the adapter has it.
    pub without_cooperative_matrices: bool,
}
