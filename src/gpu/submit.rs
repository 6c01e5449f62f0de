//! Submissions of ours: dispatches in pieces of bounded cost, few of them in flight at a time, and at the end the copy
//! that brings the answers back.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Context;
use super::buffer;
use super::readback::Staged;
use super::record::{Call, Calls, encode};
use super::shader::Constant;
use crate::error::Result;

/// Multiply-adds of one submission, at the most: a fraction of a second on slow hardware.
pub(super) const COST: u64 = 50_000_000_000;
/// Submissions that may be under way while another is recorded, where the caller waits anyway: what is in flight holds
/// its parameters, and is not to grow with the memory.
const IN_FLIGHT: usize = 2;

/// Whether the thread that submits may wait for the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// It will wait for the answer in any case.
    Allowed,
    /// It runs an executor.
    Forbidden,
}

impl Context {
    /// Submits what `record` appends, then a copy of `answers` to where the host reads it.
    pub fn submit(
        self: &Arc<Self>,
        damage: Option<(&'static str, Constant)>,
        answers: &wgpu::Buffer,
        waiting: Waiting,
        record: impl FnOnce(&mut Calls<'_>) -> Result<()>,
    ) -> Result<Staged> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = buffer::create(&self.device, "attractor.staging", answers.size(), usage)?;
        let mut under_way = VecDeque::new();
        let mut calls = Calls::cut(self, damage, COST, |calls| {
            under_way.push_back(self.submit_piece(calls, |_| ())?);
            if under_way.len() > IN_FLIGHT
                && waiting == Waiting::Allowed
                && let Some(submission) = under_way.pop_front()
            {
                self.wait(submission)?;
            }
            Ok(())
        });
        record(&mut calls)?;
        let rest = calls.rest();
        let copy = |encoder: &mut wgpu::CommandEncoder| {
            encoder.copy_buffer_to_buffer(answers, 0, &staging, 0, staging.size());
        };
        let submission = self.submit_piece(&rest, copy)?;
        Ok(Staged::new(self.clone(), staging, submission))
    }

    fn submit_piece(
        &self,
        calls: &[Call],
        then: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::SubmissionIndex> {
        let device = &self.device;
        buffer::scoped(device, "submit", || {
            let descriptor = wgpu::CommandEncoderDescriptor { label: Some("attractor") };
            let mut encoder = device.create_command_encoder(&descriptor);
            encode(self, &mut encoder, calls)?;
            then(&mut encoder);
            Ok(self.queue.submit([encoder.finish()]))
        })?
    }
}
