//! Submits a retrieval: in pieces of bounded cost, with few of them in flight, and at the end the copy of the answers
//! to their staging buffer.

use std::collections::VecDeque;
use std::sync::Arc;

use super::buffer;
use super::context::Context;
use super::encode::encode;
use super::readback::{Readback, Wait};
use super::schedule::{Compiled, Schedule};
use crate::error::Result;
use crate::sync::lock;

/// The most seconds that one submission may be estimated to take: well below a watchdog's limit, even where the
/// estimate is several times too low.
const MAX_SUBMISSION_SECONDS: f64 = 0.25;
/// The same on GL, where wgpu holds the context during a submission, which software runs to its end. A thread that
/// waits six seconds for the context panics.
const MAX_SUBMISSION_SECONDS_GL: f64 = 0.12;
/// Submissions that may be in flight while another is recorded, where the caller blocks anyway: each holds its
/// parameters, whose total must not grow with the memory.
const MAX_IN_FLIGHT: usize = 2;

impl Context {
    /// Submits the dispatches of `schedule`, then a copy of `answers` to `staging`.
    pub fn run(
        self: &Arc<Self>,
        mut schedule: Schedule,
        answers: &wgpu::Buffer,
        staging: wgpu::Buffer,
        wait: Wait,
    ) -> Result<Readback> {
        let mut in_flight = VecDeque::new();
        loop {
            let calls = schedule.next(self.submission())?;
            if schedule.is_done() {
                let copy = |encoder: &mut wgpu::CommandEncoder| {
                    encoder.copy_buffer_to_buffer(answers, 0, &staging, 0, staging.size());
                };
                let submission = self.submit_piece(&calls, copy)?;
                return Ok(Readback::new(self.clone(), staging, submission));
            }
            in_flight.push_back(self.submit_piece(&calls, |_| ())?);
            if in_flight.len() > MAX_IN_FLIGHT
                && wait == Wait::Allowed
                && let Some(submission) = in_flight.pop_front()
            {
                self.wait(&submission)?;
            }
        }
    }

    /// The most seconds that one submission may be estimated to take.
    pub fn submission(&self) -> f64 {
        if self.gl() { MAX_SUBMISSION_SECONDS_GL } else { MAX_SUBMISSION_SECONDS }
    }

    fn submit_piece(
        &self,
        dispatches: &[Compiled],
        then: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::SubmissionIndex> {
        self.submit_commands(|encoder| {
            encode(self, encoder, dispatches, None)?;
            then(encoder);
            Ok(())
        })
    }

    /// Submits what `record` records.
    pub fn submit_commands(
        &self,
        record: impl FnOnce(&mut wgpu::CommandEncoder) -> Result<()>,
    ) -> Result<wgpu::SubmissionIndex> {
        // On GL one thread submits at a time: any other thread that needs the context waits for one piece at most.
        let _guard = self.gl().then(|| lock(&self.submitting));
        buffer::scoped(self, "submit", || {
            let descriptor = wgpu::CommandEncoderDescriptor { label: Some("attractor") };
            let mut encoder = self.device.create_command_encoder(&descriptor);
            record(&mut encoder)?;
            Ok(self.submit(Some(encoder.finish())))
        })?
    }
}
