//! What a device reports of a buffer that it was asked to map.

/// Whether the buffer was mapped.
pub(crate) type Mapped = Result<(), wgpu::BufferAsyncError>;
