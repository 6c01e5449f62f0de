//! Device buffers: created so that a refusal becomes an error of ours, labelled, and bound by range.

use futures::FutureExt;

use crate::error::{Error, Result};

/// Storage that kernels read and write.
pub(crate) const STORAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE;

/// Runs `make` and turns what the device complains about meanwhile into an error, leaving a host's own handlers out of
/// it. Error scopes belong to this thread; `make` must not await.
pub(crate) fn scoped<T>(device: &wgpu::Device, operation: &'static str, make: impl FnOnce() -> T) -> Result<T> {
    let scopes = [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Validation]
        .map(|filter| device.push_error_scope(filter));
    let made = make();
    let mut refused = None;
    for scope in scopes.into_iter().rev() {
        // Natively the answer is there at once; in a browser it comes later, and the browser's console has it.
        if let Some(Some(error)) = scope.pop().now_or_never() {
            refused = Some(error);
        }
    }
    match refused {
        None => Ok(made),
        Some(error) => Err(Error::Lost { operation, message: error.to_string().replace('\n', " ") }),
    }
}

/// Whether `buffer`, of `STORAGE` usage, is of `device`, for which `layout` has one storage buffer. One that the device
/// refuses for another reason is.
pub(crate) fn is_of(device: &wgpu::Device, layout: &wgpu::BindGroupLayout, buffer: &wgpu::Buffer) -> bool {
    let resource = wgpu::BufferBinding { buffer, offset: 0, size: std::num::NonZeroU64::new(4) };
    let entries = [wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(resource) }];
    let descriptor = wgpu::BindGroupDescriptor { label: Some("attractor.owner"), layout, entries: &entries };
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    // A buffer of another instance may not be in the tables of this one, which panics. Where another buffer has its
    // place there, nothing tells the two apart.
    let bind = || drop(device.create_bind_group(&descriptor));
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(bind)).is_ok();
    match scope.pop().now_or_never() {
        Some(Some(error)) => found && !is_mismatch(&error),
        _ => found,
    }
}

/// Whether a validation error is that of resources of different devices.
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

/// Browsers say so in words of their own.
#[cfg(target_arch = "wasm32")]
fn is_mismatch(_: &wgpu::Error) -> bool {
    false
}

/// A buffer of at least `size` bytes.
pub(crate) fn create(
    device: &wgpu::Device,
    label: &'static str,
    size: u64,
    usage: wgpu::BufferUsages,
) -> Result<wgpu::Buffer> {
    create_with(device, label, size, usage, None::<fn(&mut wgpu::BufferViewMut)>)
}

/// A buffer of at least `size` bytes that `fill`, if given, fills before the device sees it.
pub(crate) fn create_with(
    device: &wgpu::Device,
    label: &'static str,
    size: u64,
    usage: wgpu::BufferUsages,
    fill: Option<impl FnOnce(&mut wgpu::BufferViewMut)>,
) -> Result<wgpu::Buffer> {
    // Whole vectors of four words, so that any binding of the whole buffer suits any kernel.
    let size = size.max(16).next_multiple_of(16);
    let allowed = device.limits().max_buffer_size;
    if size > allowed {
        return Err(Error::Limit { operation: label, limit: "max_buffer_size", need: size, allowed });
    }
    let descriptor = wgpu::BufferDescriptor { label: Some(label), size, usage, mapped_at_creation: fill.is_some() };
    let buffer = scoped(device, label, || device.create_buffer(&descriptor))?;
    if let Some(fill) = fill {
        let lost = |error: wgpu::MapRangeError| Error::Lost { operation: label, message: error.to_string() };
        fill(&mut buffer.slice(..).get_mapped_range_mut().map_err(lost)?);
        buffer.unmap();
    }
    Ok(buffer)
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
