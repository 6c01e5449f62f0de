//! What to look for when a device is opened.

use std::path::{Path, PathBuf};

/// Which software adapters (lavapipe, llvmpipe, SwiftShader, WARP) a search may return.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
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
#[non_exhaustive]
pub enum AdapterChoice {
    /// Position in [`Device::adapters`](crate::Device::adapters).
    Index(usize),
    /// The first adapter whose name or driver contains this, without regard to case.
    Name(String),
}

/// What to look for when a device is opened ([`Device::with_options`](crate::Device::with_options)). The default is the
/// search of [`Device::new`](crate::Device::new).
///
/// ```
/// use attractor::device::{DeviceOptions, SoftwareAdapters};
/// use attractor::{Device, wgpu};
/// # async fn open() -> attractor::Result<()> {
/// let options = DeviceOptions::default().backends(wgpu::Backends::VULKAN).software(SoftwareAdapters::Allow);
/// let device = Device::with_options(&options).await?;
/// # drop(device); Ok(()) }
/// ```
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a yes or no of its own")]
pub struct DeviceOptions {
    pub(crate) backends: Option<wgpu::Backends>,
    pub(crate) adapter: Option<AdapterChoice>,
    pub(crate) software: SoftwareAdapters,
    pub(crate) without_f16: bool,
    pub(crate) without_subgroups: bool,
    pub(crate) without_cooperative_matrices: bool,
    pub(crate) checked_shaders: bool,
    pub(crate) pipeline_cache: Option<PathBuf>,
}

impl DeviceOptions {
    /// Only adapters of these backends; all by default.
    pub fn backends(mut self, backends: wgpu::Backends) -> Self {
        self.backends = Some(backends);
        self
    }

    /// One adapter by index or name. An adapter asked for in this way may be software.
    pub fn adapter(mut self, adapter: AdapterChoice) -> Self {
        self.adapter = Some(adapter);
        self
    }

    /// Which software adapters a search may return; none by default.
    pub fn software(mut self, software: SoftwareAdapters) -> Self {
        self.software = software;
        self
    }

    /// Keep `SHADER_F16` off even where the adapter has it.
    pub fn without_f16(mut self) -> Self {
        self.without_f16 = true;
        self
    }

    /// Keep `SUBGROUP` off even where the adapter has it.
    pub fn without_subgroups(mut self) -> Self {
        self.without_subgroups = true;
        self
    }

    /// Keep `EXPERIMENTAL_COOPERATIVE_MATRIX` off even where the adapter has it.
    pub fn without_cooperative_matrices(mut self) -> Self {
        self.without_cooperative_matrices = true;
        self
    }

    /// Keep the checks that wgpu writes into shaders that it does not know (indices clamped, loops counted), to look
    /// for a fault in the kernels of this library, which go without. `ATTRACTOR_CHECKED=1` in the environment does it
    /// for every device, a host's too.
    pub fn checked_shaders(mut self) -> Self {
        self.checked_shaders = true;
        self
    }

    /// Keep compiled kernels from one run to the next in `folder`, such as
    /// [`user_cache_folder`](crate::device::user_cache_folder), where the backend lets them out (Vulkan; Metal, DX12
    /// and many drivers keep their own). They are written when the last handle of the device and the last memory on it
    /// are dropped, and by [`Device::save_pipeline_cache`](crate::Device::save_pipeline_cache); a file that is damaged,
    /// or not this adapter's, driver's and crate version's, is ignored. By default nothing is kept.
    pub fn pipeline_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.pipeline_cache = Some(folder.into());
        self
    }

    /// What [`DeviceOptions::backends`] set.
    pub fn get_backends(&self) -> Option<wgpu::Backends> {
        self.backends
    }

    /// What [`DeviceOptions::adapter`] set.
    pub fn get_adapter(&self) -> Option<&AdapterChoice> {
        self.adapter.as_ref()
    }

    /// What [`DeviceOptions::software`] set.
    pub fn get_software(&self) -> SoftwareAdapters {
        self.software
    }

    /// Whether [`DeviceOptions::without_f16`] was called.
    pub fn get_without_f16(&self) -> bool {
        self.without_f16
    }

    /// Whether [`DeviceOptions::without_subgroups`] was called.
    pub fn get_without_subgroups(&self) -> bool {
        self.without_subgroups
    }

    /// Whether [`DeviceOptions::without_cooperative_matrices`] was called.
    pub fn get_without_cooperative_matrices(&self) -> bool {
        self.without_cooperative_matrices
    }

    /// Whether [`DeviceOptions::checked_shaders`] was called.
    pub fn get_checked_shaders(&self) -> bool {
        self.checked_shaders
    }

    /// What [`DeviceOptions::pipeline_cache`] set.
    pub fn get_pipeline_cache(&self) -> Option<&Path> {
        self.pipeline_cache.as_deref()
    }
}
