//! Devices, on which memories live and compute, and the list of adapters.

use std::ffi::{CString, c_char};
use std::ptr;

use attractor::device::{AdapterChoice, DeviceInfo, DeviceOptions};
use attractor::{Device, wgpu};

use crate::codes::{attractor_backend, attractor_software, decode};
use crate::error::{Failure, Outcome, attractor_error, code, guard};
use crate::pointer::{Out, borrow, free, lend, text};
use crate::versioned::{init, read, versioned};

/// A device: a GPU, or the CPU engine. Any number of threads may use it at once. It may be freed before the memories on
/// it.
#[derive(Debug)]
pub struct attractor_device {
    pub(crate) device: Device,
    info: Info,
}

/// The adapters that this machine had when they were listed.
#[derive(Debug)]
pub struct attractor_adapters {
    adapters: Vec<Info>,
}

/// A [`DeviceInfo`] with strings of C.
#[derive(Debug)]
struct Info {
    name: CString,
    backend: CString,
    driver: CString,
    kind: CString,
}

impl From<DeviceInfo> for Info {
    fn from(info: DeviceInfo) -> Self {
        let text = |text: &str| CString::new(text.replace('\0', "")).unwrap_or_default();
        Self {
            name: text(&info.name),
            backend: text(&info.backend),
            driver: text(&info.driver),
            kind: text(info.kind.name()),
        }
    }
}

/// What to look for in `attractor_device_open`; `attractor_device_options_init` fills it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct attractor_device_options {
    /// `sizeof(attractor_device_options)`.
    pub size: usize,
    /// Part of the name or of the driver of the adapter, in UTF-8, in any case; NULL for any. An adapter that is chosen
    /// by name or by index may be software whatever `software` says.
    pub name: *const c_char,
    /// Position in the list of `attractor_adapters_list`, with `name` NULL; -1 for any.
    pub index: i64,
    /// One of `attractor_backend`.
    pub backend: u32,
    /// One of `attractor_software`.
    pub software: u32,
    /// Not 0: do without 16-bit floats in shaders even where the adapter has them.
    pub without_f16: u32,
    /// Not 0: do without subgroups even where the adapter has them.
    pub without_subgroups: u32,
    /// A folder, in UTF-8, for compiled kernels, which later runs reuse where the backend supports that; it is written
    /// when the device and the last memory on it are freed. NULL for none.
    pub pipeline_cache: *const c_char,
}

versioned!(attractor_device_options, without_subgroups: u32);

fn defaults(size: usize) -> attractor_device_options {
    attractor_device_options {
        size,
        name: ptr::null(),
        index: -1,
        backend: attractor_backend::ATTRACTOR_BACKEND_ANY as u32,
        software: attractor_software::ATTRACTOR_SOFTWARE_REFUSE as u32,
        without_f16: 0,
        without_subgroups: 0,
        pipeline_cache: ptr::null(),
    }
}

impl attractor_device_options {
    /// # Safety
    /// The crate's contract: the name and the folder are null or strings.
    unsafe fn checked(&self) -> Outcome<DeviceOptions> {
        let refuse = |expected, got: i64| Failure::Parameter { parameter: "index", expected, got: got.to_string() };
        // SAFETY: by this function's own contract.
        let adapter = match (unsafe { text("name", self.name) }?, self.index) {
            (None, -1) => None,
            (Some(name), -1) => Some(AdapterChoice::Name(name.to_owned())),
            (Some(_), index) => return Err(refuse("-1 where a name is given", index)),
            (None, index) => match usize::try_from(index) {
                Ok(index) => Some(AdapterChoice::Index(index)),
                Err(_) => return Err(refuse("-1 or a position in the list of adapters", index)),
            },
        };
        let backends: Option<wgpu::Backends> = decode::<attractor_backend>("backend", self.backend)?.into();
        let software = decode::<attractor_software>("software", self.software)?.into();
        let mut options = DeviceOptions::default().software(software);
        if let Some(backends) = backends {
            options = options.backends(backends);
        }
        if let Some(adapter) = adapter {
            options = options.adapter(adapter);
        }
        if self.without_f16 != 0 {
            options = options.without_f16();
        }
        if self.without_subgroups != 0 {
            options = options.without_subgroups();
        }
        // SAFETY: by this function's own contract.
        if let Some(folder) = unsafe { text("pipeline_cache", self.pipeline_cache) }? {
            options = options.pipeline_cache(folder);
        }
        Ok(options)
    }
}

fn give(out: Out<*mut attractor_device>, device: Device) {
    let info = device.info().into();
    out.give(attractor_device { device, info });
}

/// Opens the best hardware adapter, or the CPU engine where there is none; never a software adapter. Waits for the
/// driver.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`; `*device` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_device_best(device: *mut *mut attractor_device) -> attractor_error {
    code("attractor_device_best", || {
        // SAFETY: the crate's contract.
        let out = unsafe { Out::handle("device", device) }?;
        give(out, Device::new_blocking()?);
        Ok(())
    })
}

/// Opens the CPU engine, which uses every core and no GPU.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_device_cpu(device: *mut *mut attractor_device) -> attractor_error {
    code("attractor_device_cpu", || {
        // SAFETY: the crate's contract.
        give(unsafe { Out::handle("device", device) }?, Device::cpu());
        Ok(())
    })
}

/// Fills `*options`, of `size` = `sizeof(attractor_device_options)` bytes: any backend, no software adapters.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`, `ATTRACTOR_ERROR_PARAMETER` for a size that no version of the struct has.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_device_options_init(
    options: *mut attractor_device_options,
    size: usize,
) -> attractor_error {
    const OPERATION: &str = "attractor_device_options_init";
    // SAFETY: the crate's contract.
    code(OPERATION, || unsafe { init(options, size, defaults(size)) })
}

/// Opens a device that fits `options`. Waits for the driver. Falls back to the CPU engine only if `options` ask neither
/// for a backend, nor for an adapter, nor for software.
///
/// Errors: `ATTRACTOR_ERROR_NO_ADAPTER`, also where the adapter does not open; `ATTRACTOR_ERROR_PARAMETER`,
/// `ATTRACTOR_ERROR_UTF8` and `ATTRACTOR_ERROR_NULL_POINTER` for the arguments. `*device` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_device_open(
    options: *const attractor_device_options,
    device: *mut *mut attractor_device,
) -> attractor_error {
    const OPERATION: &str = "attractor_device_open";
    code(OPERATION, || {
        // SAFETY: the crate's contract.
        let out = unsafe { Out::handle("device", device) }?;
        // SAFETY: the crate's contract.
        let options = unsafe { read(options, defaults(0))?.checked() }?;
        give(out, pollster::block_on(Device::with_options(&options))?);
        Ok(())
    })
}

/// Frees the handle; NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_device_free(device: *mut attractor_device) {
    // SAFETY: the crate's contract.
    unsafe { free("attractor_device_free", device) };
}

/// The name of the adapter, or that of the CPU engine. This string and those below are UTF-8 and valid until the device
/// is freed; NULL where `device` is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_device_name(device: *const attractor_device) -> *const c_char {
    // SAFETY: the crate's contract.
    unsafe { device_text("attractor_device_name", device, |info| &info.name) }
}

/// `Vulkan`, `Metal`, `Dx12`, `Gl`, or `native` for the CPU engine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_device_backend(device: *const attractor_device) -> *const c_char {
    // SAFETY: the crate's contract.
    unsafe { device_text("attractor_device_backend", device, |info| &info.backend) }
}

/// The driver and its version, as far as the driver reports them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_device_driver(device: *const attractor_device) -> *const c_char {
    // SAFETY: the crate's contract.
    unsafe { device_text("attractor_device_driver", device, |info| &info.driver) }
}

/// `discrete`, `integrated`, `virtual`, `software`, `other` or `cpu engine`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_device_kind(device: *const attractor_device) -> *const c_char {
    // SAFETY: the crate's contract.
    unsafe { device_text("attractor_device_kind", device, |info| &info.kind) }
}

/// # Safety
/// The crate's contract.
unsafe fn device_text(
    operation: &'static str,
    device: *const attractor_device,
    of: impl FnOnce(&Info) -> &CString,
) -> *const c_char {
    // SAFETY: by this function's own contract.
    let text = guard(operation, || Ok(of(&unsafe { borrow("device", device) }?.info).as_ptr()));
    text.unwrap_or(ptr::null())
}

/// Lists every adapter of this machine, hardware and software, in the order of `index` in `attractor_device_options`,
/// and writes their number to `count` unless that is NULL. Free the list with `attractor_adapters_free`.
///
/// Errors: `ATTRACTOR_ERROR_NULL_POINTER`; `*adapters` is NULL then.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_adapters_list(
    adapters: *mut *mut attractor_adapters,
    count: *mut usize,
) -> attractor_error {
    code("attractor_adapters_list", || {
        // SAFETY: the crate's contract.
        let out = unsafe { Out::handle("adapters", adapters) }?;
        let found = pollster::block_on(Device::adapters());
        let list = attractor_adapters {
            adapters: found.iter().map(|adapter| DeviceInfo::from(&adapter.get_info()).into()).collect(),
        };
        // SAFETY: the crate's contract.
        unsafe { lend(&list.adapters, count) }?;
        out.give(list);
        Ok(())
    })
}

/// Frees the list; NULL is ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_adapters_free(adapters: *mut attractor_adapters) {
    // SAFETY: the crate's contract.
    unsafe { free("attractor_adapters_free", adapters) };
}

/// The name of the adapter at `index`. This string and those below are UTF-8 and valid until the list is freed; NULL
/// where `adapters` is NULL or has no such index.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_adapters_name(adapters: *const attractor_adapters, index: usize) -> *const c_char {
    // SAFETY: the crate's contract.
    unsafe { adapter_text("attractor_adapters_name", adapters, index, |info| &info.name) }
}

/// The backend of the adapter at `index`, as in `attractor_device_backend`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_adapters_backend(
    adapters: *const attractor_adapters,
    index: usize,
) -> *const c_char {
    // SAFETY: the crate's contract.
    unsafe { adapter_text("attractor_adapters_backend", adapters, index, |info| &info.backend) }
}

/// The driver of the adapter at `index`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_adapters_driver(adapters: *const attractor_adapters, index: usize) -> *const c_char {
    // SAFETY: the crate's contract.
    unsafe { adapter_text("attractor_adapters_driver", adapters, index, |info| &info.driver) }
}

/// The kind of the adapter at `index`, as in `attractor_device_kind`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attractor_adapters_kind(adapters: *const attractor_adapters, index: usize) -> *const c_char {
    // SAFETY: the crate's contract.
    unsafe { adapter_text("attractor_adapters_kind", adapters, index, |info| &info.kind) }
}

/// # Safety
/// The crate's contract.
unsafe fn adapter_text(
    operation: &'static str,
    adapters: *const attractor_adapters,
    index: usize,
    of: impl FnOnce(&Info) -> &CString,
) -> *const c_char {
    let text = guard(operation, || {
        // SAFETY: by this function's own contract.
        let list = &unsafe { borrow("adapters", adapters) }?.adapters;
        let info = list.get(index).ok_or_else(|| Failure::Parameter {
            parameter: "index",
            expected: "within the list",
            got: format!("{index} of {}", list.len()),
        })?;
        Ok(of(info).as_ptr())
    });
    text.unwrap_or(ptr::null())
}
