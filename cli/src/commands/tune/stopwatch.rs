//! How long a retrieval takes on a device: by its timestamps, or by the host's clock.

use std::cell::Cell;
use std::time::Instant;

use attractor::{Recording, RetrieveOptions, Rows, wgpu};

use super::load::Load;
use crate::failure::Failure;

/// Times retrievals.
pub struct Stopwatch {
    pub device: wgpu::Device,
    queue: wgpu::Queue,
    timestamps: Option<Timestamps>,
    /// Whether they have told nothing impossible yet.
    trusted: Cell<bool>,
}

pub struct Timestamps {
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    staging: wgpu::Buffer,
    /// Seconds of a tick.
    period: f64,
}

impl Stopwatch {
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let timestamps = device.features().contains(wgpu::Features::TIMESTAMP_QUERY).then(|| {
            let label = Some("attractor.tune");
            let buffer = |usage| {
                device.create_buffer(&wgpu::BufferDescriptor { label, size: 16, usage, mapped_at_creation: false })
            };
            Timestamps {
                set: device.create_query_set(&wgpu::QuerySetDescriptor {
                    label,
                    ty: wgpu::QueryType::Timestamp,
                    count: 2,
                }),
                resolved: buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC),
                staging: buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST),
                period: f64::from(queue.get_timestamp_period()) * 1e-9,
            }
        });
        Self { device: device.clone(), queue: queue.clone(), timestamps, trusted: Cell::new(true) }
    }

    /// The timestamps, as long as they are to be believed.
    pub fn timestamps(&self) -> Option<&Timestamps> {
        self.timestamps.as_ref().filter(|_| self.trusted.get())
    }

    /// Seconds of a retrieval as the device is tuned now. The one before it, untimed, has what there is to compile and
    /// to allocate.
    pub fn time(&self, load: &Load) -> Result<f64, Failure> {
        self.once(load)?;
        self.once(load)
    }

    fn once(&self, load: &Load) -> Result<f64, Failure> {
        let (count, queries, output) = (load.batch, Rows::new(&load.source), Rows::new(&load.target));
        let recording = Recording { count, queries, output, state: None, report: None };
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let options = RetrieveOptions::default();
        match self.timestamps() {
            None => load.memory.record(&mut encoder, &recording, &options)?,
            Some(Timestamps { set, resolved, staging, .. }) => {
                let writes = wgpu::ComputePassTimestampWrites {
                    query_set: set,
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                };
                load.memory.record_timed(&mut encoder, &recording, &options, writes)?;
                encoder.resolve_query_set(set, 0..2, resolved, 0);
                encoder.copy_buffer_to_buffer(resolved, 0, staging, 0, 16);
            }
        }
        let begin = Instant::now();
        self.queue.submit([encoder.finish()]);
        self.wait()?;
        let took = begin.elapsed().as_secs_f64();
        let Some(Timestamps { staging, period, .. }) = self.timestamps() else { return Ok(took) };
        staging.map_async(wgpu::MapMode::Read, .., |_| ());
        self.wait()?;
        let view = staging.get_mapped_range(..).map_err(|error| lost(&error))?;
        let times: Vec<u64> = bytemuck::pod_collect_to_vec(&view);
        drop(view);
        staging.unmap();
        let seconds = times[1].saturating_sub(times[0]) as f64 * period;
        self.trusted.set(seconds > 0.0 && seconds <= took);
        Ok(if self.trusted.get() { seconds } else { took })
    }

    fn wait(&self) -> Result<(), Failure> {
        self.device.poll(wgpu::PollType::wait_indefinitely()).map(|_| ()).map_err(|error| lost(&error))
    }
}

fn lost(error: &dyn std::error::Error) -> Failure {
    Failure::Work(format!("the device does not answer: {error}"))
}
