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
