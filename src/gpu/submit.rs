//! Submissions of ours: dispatches in pieces of bounded cost, few of them in flight at a time, and at the end the copy
//! that brings the answers back.

use std::collections::VecDeque;
use std::sync::Arc;

use super::buffer;
use super::context::Context;
use super::encode::encode;
use super::readback::{Readback, Wait};
use super::schedule::{Compiled, Schedule};
use crate::error::Result;
use crate::sync::lock;

/// Seconds that one submission is expected to take, at the most: well under what a watchdog allows, even where the
/// expectation is several times too short.
const SUBMISSION: f64 = 0.25;
/// The same on GL, where wgpu holds the context while the driver takes a submission in, which on software is until it has
/// run. Whoever waits six seconds for the context panics.
const SUBMISSION_GL: f64 = 0.12;
/// Submissions that may be under way while another is recorded, where the caller waits anyway: what is in flight holds
/// its parameters, and is not to grow with the memory.
const IN_FLIGHT: usize = 2;

impl Context {
    /// Submits the dispatches of `schedule`, then a copy of `answers` to where the host reads it.
    pub fn submit(
        self: &Arc<Self>,
        mut schedule: Schedule,
        answers: &wgpu::Buffer,
        staging: wgpu::Buffer,
        wait: Wait,
    ) -> Result<Readback> {
        let mut under_way = VecDeque::new();
        loop {
            let calls = schedule.next(self.submission())?;
            if schedule.is_done() {
                let copy = |encoder: &mut wgpu::CommandEncoder| {
                    encoder.copy_buffer_to_buffer(answers, 0, &staging, 0, staging.size());
                };
                let submission = self.submit_piece(&calls, copy)?;
                return Ok(Readback::new(self.clone(), staging, submission));
            }
            under_way.push_back(self.submit_piece(&calls, |_| ())?);
            if under_way.len() > IN_FLIGHT
                && wait == Wait::Allowed
                && let Some(submission) = under_way.pop_front()
            {
                self.wait(&submission)?;
            }
        }
    }

    /// Seconds that one submission is expected to take, at the most.
    pub fn submission(&self) -> f64 {
        if self.gl() { SUBMISSION_GL } else { SUBMISSION }
    }

    fn submit_piece(
        &self,
        dispatches: &[Compiled],
        then: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::SubmissionIndex> {
        // On GL one at a time: what else waits for the context then waits for one piece, however many threads submit.
        let _turn = self.gl().then(|| lock(&self.submitting));
        buffer::scoped(self, "submit", || {
            let descriptor = wgpu::CommandEncoderDescriptor { label: Some("attractor") };
            let mut encoder = self.device.create_command_encoder(&descriptor);
            encode(self, &mut encoder, dispatches, None)?;
            then(&mut encoder);
            Ok(self.hand_in(Some(encoder.finish())))
        })?
    }
}
