//! Device buffers: created so that a refusal is an [`Error`], labelled, and bound by range.

use super::handles::Handles;
use crate::error::{Error, Result};

/// Storage that kernels read and write.
pub(crate) const STORAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE;

/// The errors that a scope catches, the innermost scope last.
#[cfg(not(target_arch = "wasm32"))]
const CAUGHT: [wgpu::ErrorFilter; 3] =
    [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation];

/// The same in a browser. wgpu 30 panics on an internal error that a browser reports; a pipeline with one is invalid,
/// and is refused when it is submitted.
#[cfg(target_arch = "wasm32")]
const CAUGHT: [wgpu::ErrorFilter; 2] = [wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation];

/// Runs `make` and turns errors that the device reports meanwhile into an [`Error`], which a host's own handlers do not
/// see: at once, or in a browser with the next answer ([`DeferredErrors`](super::deferred_errors::DeferredErrors)).
/// Error scopes belong to this thread: `make` must not await.
pub(crate) fn scoped<T>(handles: &Handles, operation: &'static str, make: impl FnOnce() -> T) -> Result<T> {
    let scopes = CAUGHT.map(|filter| handles.device.push_error_scope(filter));
    let made = make();
    handles.deferred_errors.collect(
        &handles.device,
        operation,
        scopes.into_iter().rev().map(wgpu::ErrorScopeGuard::pop),
    )?;
    Ok(made)
}

/// Refuses a buffer, of `STORAGE` usage, of another device.
///
/// # Errors
/// [`Error::OtherDevice`].
pub(crate) fn check_owner(
    handles: &Handles,
    operation: &'static str,
    what: &'static str,
    buffer: &wgpu::Buffer,
) -> Result<()> {
    let layout = handles.owner.get_or_init(|| {
        handles.device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("attractor.owner"),
            entries: &[wgpu::BindGroupLayoutEntry {
                binding: 0,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: true },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            }],
        })
    });
    match is_of(&handles.device, layout, buffer) {
        true => Ok(()),
        false => Err(Error::OtherDevice { operation, what }),
    }
}

/// Whether `buffer`, of `STORAGE` usage, is of `device`, whose `layout` has one storage buffer. A buffer that the
/// device refuses for any other reason counts as its own.
#[cfg(not(target_arch = "wasm32"))]
fn is_of(device: &wgpu::Device, layout: &wgpu::BindGroupLayout, buffer: &wgpu::Buffer) -> bool {
    let resource = wgpu::BufferBinding { buffer, offset: 0, size: std::num::NonZeroU64::new(4) };
    let entries = [wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(resource) }];
    let descriptor = wgpu::BindGroupDescriptor { label: Some("attractor.owner"), layout, entries: &entries };
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    // wgpu panics where a buffer of another instance is not in this instance's tables. Where another buffer has the
    // same index there, the two cannot be told apart.
    let bind = || drop(device.create_bind_group(&descriptor));
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(bind)).is_ok();
    match futures::FutureExt::now_or_never(scope.pop()) {
        Some(Some(error)) => found && !is_mismatch(&error),
        _ => found,
    }
}

/// A browser does not report it at once. Commands with a buffer of another device fail when they are submitted.
#[cfg(target_arch = "wasm32")]
fn is_of(_: &wgpu::Device, _: &wgpu::BindGroupLayout, _: &wgpu::Buffer) -> bool {
    true
}

/// Whether a validation error says that resources are of different devices.
#[cfg(not(target_arch = "wasm32"))]
fn is_mismatch(error: &wgpu::Error) -> bool {
    use wgpu::wgc::binding_model::CreateBindGroupError;
    use wgpu::wgc::device::DeviceError;
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        let refused = error.downcast_ref::<CreateBindGroupError>();
        if let Some(CreateBindGroupError::Device(DeviceError::DeviceMismatch(_))) = refused {
            return true;
        }
        cause = error.source();
    }
    false
}

/// A buffer of at least `size` bytes.
pub(crate) fn create(
    handles: &Handles,
    label: &'static str,
    size: u64,
    usage: wgpu::BufferUsages,
) -> Result<wgpu::Buffer> {
    create_with(handles, label, size, usage, None::<fn(&mut wgpu::BufferViewMut)>)
}

/// A buffer of at least `size` bytes, whose mapping `fill` writes, if given.
pub(crate) fn create_with(
    handles: &Handles,
    label: &'static str,
    size: u64,
    usage: wgpu::BufferUsages,
    fill: Option<impl FnOnce(&mut wgpu::BufferViewMut)>,
) -> Result<wgpu::Buffer> {
    let buffer = allocate(handles, label, size, usage, fill.is_some())?;
    if let Some(fill) = fill {
        let lost = |error: wgpu::MapRangeError| Error::DeviceLost { operation: label, message: error.to_string() };
        fill(&mut buffer.slice(..).get_mapped_range_mut().map_err(lost)?);
        buffer.unmap();
    }
    Ok(buffer)
}

/// A buffer of at least `size` bytes that is mapped.
pub(crate) fn create_mapped(
    handles: &Handles,
    label: &'static str,
    size: u64,
    usage: wgpu::BufferUsages,
) -> Result<wgpu::Buffer> {
    allocate(handles, label, size, usage, true)
}

fn allocate(
    handles: &Handles,
    label: &'static str,
    size: u64,
    usage: wgpu::BufferUsages,
    mapped_at_creation: bool,
) -> Result<wgpu::Buffer> {
    // Whole vectors of four words, so that any binding of the whole buffer suits any kernel.
    let size = size.max(16).next_multiple_of(16);
    let allowed = handles.limits.max_buffer_size;
    if size > allowed {
        return Err(Error::Limit { operation: label, limit: "max_buffer_size", need: size, allowed });
    }
    let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation };
    scoped(handles, label, || handles.device.create_buffer(&descriptor))
}

/// Part of a buffer, as a kernel's storage binding.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Binding {
    pub buffer: wgpu::Buffer,
    pub offset: u64,
    /// To the end of the buffer when absent.
    pub size: Option<u64>,
}

impl From<&wgpu::Buffer> for Binding {
    fn from(buffer: &wgpu::Buffer) -> Self {
        Self { buffer: buffer.clone(), offset: 0, size: None }
    }
}

impl Binding {
    pub fn resource(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: &self.buffer,
            offset: self.offset,
            size: self.size.and_then(std::num::NonZeroU64::new),
        })
    }
}
