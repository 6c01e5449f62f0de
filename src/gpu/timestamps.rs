//! How long a compute pass took, by timestamps around it.

use super::buffer;
use super::handles::Handles;
use crate::error::Result;

/// Two timestamps, and the buffers that bring them to the host.
#[derive(Debug)]
pub(crate) struct TimestampQueries {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
}

/// Bytes of two timestamps.
const SIZE: u64 = 16;

impl TimestampQueries {
    /// `None` on a device without `TIMESTAMP_QUERY`.
    pub fn new(handles: &Handles) -> Result<Option<Self>> {
        if !handles.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Ok(None);
        }
        let descriptor =
            wgpu::QuerySetDescriptor { label: Some("attractor.times"), ty: wgpu::QueryType::Timestamp, count: 2 };
        let set = buffer::scoped(handles, "Job::advance", || handles.device.create_query_set(&descriptor))?;
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = buffer::create(handles, "attractor.times", SIZE, usage)?;
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = buffer::create(handles, "attractor.times", SIZE, usage)?;
        Ok(Some(Self { set, resolved, staging }))
    }

    /// What a compute pass is described with to be timed.
    pub fn writes(&self) -> wgpu::ComputePassTimestampWrites<'_> {
        wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(0),
            end_of_pass_write_index: Some(1),
        }
    }

    /// Has `done` called with these queries and the ticks that the pass took, once the commands of `encoder` are done;
    /// never, where the encoder is dropped or the device fails.
    pub fn read_after(self, encoder: &mut wgpu::CommandEncoder, done: impl FnOnce(Self, u64) + Send + 'static) {
        encoder.resolve_query_set(&self.set, 0..2, &self.resolved, 0);
        encoder.copy_buffer_to_buffer(&self.resolved, 0, &self.staging, 0, SIZE);
        let staging = self.staging.clone();
        encoder.map_buffer_on_submit(&staging, wgpu::MapMode::Read, .., move |mapped| {
            if mapped.is_err() {
                return;
            }
            let Ok(view) = self.staging.slice(..).get_mapped_range() else { return };
            let times: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
            drop(view);
            self.staging.unmap();
            done(self, times[1].saturating_sub(times[0]));
        });
    }
}
