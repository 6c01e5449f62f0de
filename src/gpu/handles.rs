//! A wgpu device with what is known about it: the ground that every function of this engine that calls wgpu stands on.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::deferred_errors::DeferredErrors;
use super::limits::MAX_BINDING_BYTES;
use super::matrices::Ability;
use crate::fork;

/// A wgpu device and its queue, their limits and flags, and the errors that the device has yet to report.
#[derive(Debug)]
pub(crate) struct Handles {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub adapter: wgpu::AdapterInfo,
    pub limits: wgpu::Limits,
    /// The cooperative matrices that kernels may use on this device.
    pub cooperate: Option<Ability>,
    /// Whether this library opened the device, and so may poll it and wait for it.
    pub owned: bool,
    /// Whether shaders keep wgpu's run-time checks.
    pub checked: bool,
    /// Errors that are reported after the call that caused them has returned.
    pub deferred_errors: DeferredErrors,
    /// A layout of one storage buffer, which tells whether a caller's buffer is of this device.
    pub owner: OnceLock<wgpu::BindGroupLayout>,
    submissions: AtomicU64,
}

impl Handles {
    pub fn new(
        device: wgpu::Device,
        queue: wgpu::Queue,
        adapter: wgpu::AdapterInfo,
        configurations: &[wgpu::CooperativeMatrixProperties],
        owned: bool,
        checked: bool,
    ) -> Self {
        let limits = device.limits();
        let cooperate = Ability::new(&adapter, device.features(), &limits, configurations);
        let (deferred_errors, submissions) = (DeferredErrors::default(), AtomicU64::new(0));
        Self {
            device,
            queue,
            adapter,
            limits,
            cooperate,
            owned,
            checked,
            deferred_errors,
            owner: OnceLock::new(),
            submissions,
        }
    }

    /// Submits `commands`, if any, together with the writes that were scheduled. Nothing else calls `Queue::submit`.
    pub fn submit(&self, commands: Option<wgpu::CommandBuffer>) -> wgpu::SubmissionIndex {
        self.submissions.fetch_add(1, Ordering::Relaxed);
        self.queue.submit(commands)
    }

    /// How often something was submitted.
    pub fn submissions(&self) -> u64 {
        self.submissions.load(Ordering::Relaxed)
    }

    /// The largest window, in bytes: a multiple of 16.
    pub fn window_limit(&self) -> u64 {
        self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size).min(MAX_BINDING_BYTES) / 16 * 16
    }

    /// Whether the backend is OpenGL, where one thread at a time holds the context.
    pub fn gl(&self) -> bool {
        self.adapter.backend == wgpu::Backend::Gl
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        // Drivers wait for their threads, which the child of a fork does not have.
        if fork::is_child() {
            std::mem::forget((self.device.clone(), self.queue.clone()));
        }
    }
}
