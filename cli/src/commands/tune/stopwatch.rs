//! How long a retrieval takes on a device: by its timestamps, or by the host's clock.

use std::cell::Cell;
use std::time::Instant;

use attractor::record::{RecordTargets, Rows};
use attractor::{RetrieveOptions, wgpu};
use harness::measure::timestamps::Timestamps;

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

impl Stopwatch {
    pub fn new(device: &wgpu::Device, queue: &wgpu::Queue) -> Self {
        let timestamps =
            device.features().contains(wgpu::Features::TIMESTAMP_QUERY).then(|| Timestamps::new(device, queue));
        Self { device: device.clone(), queue: queue.clone(), timestamps, trusted: Cell::new(true) }
    }

    /// The timestamps, unless they have told something impossible.
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
        let recording = RecordTargets::new(count, queries, output);
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let options = RetrieveOptions::default();
        match self.timestamps() {
            None => load.memory.record(&mut encoder, &recording, &options)?,
            Some(timestamps) => {
                let writes = wgpu::ComputePassTimestampWrites {
                    query_set: timestamps.set(),
                    beginning_of_pass_write_index: Some(0),
                    end_of_pass_write_index: Some(1),
                };
                load.memory.record(&mut encoder, &recording.timestamps(writes), &options)?;
                timestamps.resolve(&mut encoder);
            }
        }
        let begin = Instant::now();
        self.queue.submit([encoder.finish()]);
        self.wait()?;
        let took = begin.elapsed().as_secs_f64();
        let Some(timestamps) = self.timestamps() else { return Ok(took) };
        let seconds = timestamps.seconds(&self.device).map_err(|error| lost(&*error))?;
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
