//! Retrievals that a host records into its own command encoders.

use super::handle::Memory;
use super::request::Queries;
use crate::error::{Error, Result};
use crate::gpu::{self, Job, RecordTargets, Rows};
use crate::pending::Pending;
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Retrieval;
use crate::store::View;

impl Memory {
    /// Records a retrieval into `encoder`: reads queries from, and writes answers to, buffers of the caller. Neither
    /// submits nor polls; the answers are there for later passes of the same encoder. The patterns are those that are
    /// stored now, even if the caller submits later.
    ///
    /// # Errors
    /// [`Error::NeedsGpu`](crate::Error::NeedsGpu) on the CPU engine, [`Error::Empty`](crate::Error::Empty),
    /// [`Error::Parameter`](crate::Error::Parameter) for the options, [`Error::Unsupported`](crate::Error::Unsupported)
    /// for reports, which the buffers have no place for ([`Memory::record_readback`] brings them),
    /// [`Error::Shape`](crate::Error::Shape) where a buffer is too small or lacks `STORAGE` usage,
    /// [`Error::OtherDevice`](crate::Error::OtherDevice) where it is of another device,
    /// [`Error::Limit`](crate::Error::Limit) for more dispatches than one encoder takes. Nothing has been recorded
    /// then.
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        targets: &RecordTargets<'_>,
        options: &RetrieveOptions,
    ) -> Result<()> {
        const OPERATION: &str = "Memory::record";
        options.without_reports(OPERATION)?;
        let (engine, view) = self.recorder(OPERATION, Queries::OnDevice(targets.count), options)?;
        engine.record(OPERATION, encoder, targets, options, &view, self.snapshots.take())
    }

    /// [`Memory::record`] of which the host wants the answers: `B = count` queries are read from a buffer of the
    /// caller, and everything that `options` ask for comes with the [`Pending`] once the caller has submitted
    /// `encoder`. Neither submits nor polls: the read-back is mapped by `wgpu::CommandEncoder::map_buffer_on_submit`.
    /// [`Pending::wait`] before that does not return unless another thread submits.
    ///
    /// # Errors
    /// As [`Memory::record`]. Where the encoder is dropped instead of submitted, the [`Pending`] gives
    /// [`Error::Cancelled`](crate::Error::Cancelled), and where the device is lost,
    /// [`Error::DeviceLost`](crate::Error::DeviceLost).
    pub fn record_readback(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        count: usize,
        queries: Rows<'_>,
        options: &RetrieveOptions,
    ) -> Result<Pending<Retrieval>> {
        const OPERATION: &str = "Memory::record_readback";
        let (engine, view) = self.recorder(OPERATION, Queries::OnDevice(count), options)?;
        let answer = engine.record_readback(OPERATION, encoder, count, queries, options, &view, self.snapshots.take());
        answer.map(Pending::new)
    }

    /// A retrieval for each row of `queries` (`B x d`) that the host records slice by slice ([`Job`]), and its answer,
    /// which comes once all slices have been submitted and run. It sees the patterns that are stored now, whatever is
    /// added, updated or removed before it ends; meanwhile the room of removed patterns is not used again.
    /// [`Pending::wait`] before the last slice does not return unless another thread advances the job.
    ///
    /// # Errors
    /// As [`Memory::retrieve`], and [`Error::NeedsGpu`](crate::Error::NeedsGpu) on the CPU engine.
    pub fn job(&self, queries: &[f32], options: &RetrieveOptions) -> Result<(Job, Pending<Retrieval>)> {
        const OPERATION: &str = "Memory::job";
        let (engine, view) = self.recorder(OPERATION, Queries::Given(queries), options)?;
        let (job, answer) = engine.job(OPERATION, queries, options, &view, self.snapshots.take())?;
        Ok((job, Pending::new(answer)))
    }

    /// [`Memory::job`] from and to buffers of the caller's, as [`Memory::record`] has it. Nothing is read back.
    ///
    /// # Errors
    /// As [`Memory::record`].
    pub fn job_to_buffers(&self, targets: &RecordTargets<'_>, options: &RetrieveOptions) -> Result<Job> {
        const OPERATION: &str = "Memory::job_to_buffers";
        options.without_reports(OPERATION)?;
        if targets.get_timestamps().is_some() {
            let what = "timestamps of a job, which measures itself where it can,".into();
            return Err(Error::Unsupported { operation: OPERATION, what });
        }
        let (engine, view) = self.recorder(OPERATION, Queries::OnDevice(targets.count), options)?;
        engine.job_to_buffers(OPERATION, targets, options, &view, self.snapshots.take())
    }

    /// The engine that records a request that it can answer, and the patterns that the request sees.
    fn recorder(
        &self,
        operation: &'static str,
        queries: Queries<'_>,
        options: &RetrieveOptions,
    ) -> Result<(&gpu::Engine, View)> {
        let view = self.facts().check(operation, queries, options)?;
        Ok((self.engine.recorder(operation)?, view))
    }
}
