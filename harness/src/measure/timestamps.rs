//! A device's own clock: two timestamps, and the seconds between them.

use attractor::wgpu;

use super::Result;

/// Two timestamps of a device that has [`wgpu::Features::TIMESTAMP_QUERY`].
pub struct Timestamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    /// Seconds of a tick.
    period: f64,
}

impl Timestamps {
    /// Not written yet.
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let label = Some("attractor.timestamps");
        let buffer =
            |usage| device.create_buffer(&wgpu::BufferDescriptor { label, size: 16, usage, mapped_at_creation: false });
        let ty = wgpu::QueryType::Timestamp;
        Self {
            set: device.create_query_set(&wgpu::QuerySetDescriptor { label, ty, count: 2 }),
            resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
            staging: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
            period: f64::from(queue.get_timestamp_period()) * 1e-9,
        }
    }

    /// The queries, of which 0 is to be written at the beginning and 1 at the end.
    pub fn set(&self) -> &wgpu::QuerySet {
        &self.set
    }

    /// Records what brings them to the host; after all that is timed.
    pub fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        encoder.resolve_query_set(&self.set, 0..2, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, 16);
    }

    /// The seconds between them. Waits until the device is through with what was submitted.
    pub fn seconds(&self, device: &wgpu::Device) -> Result<f64> {
        self.staging.map_async(wgpu::MapMode::Read, .., |_| ());
        device.poll(wgpu::PollType::wait_indefinitely())?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&self.staging.get_mapped_range(..)?);
        self.staging.unmap();
        Ok(ticks[1].saturating_sub(ticks[0]) as f64 * self.period)
    }
}
