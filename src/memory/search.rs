//! Searches for the nearest patterns.

use super::handle::Memory;
use super::request::Queries;
use crate::error::Result;
use crate::explain::Explanation;
use crate::gpu::{Job, SearchTargets};
use crate::pending::Pending;
use crate::search::{Hits, SearchOptions};

impl Memory {
    /// Finds the patterns nearest to each row of `queries` (`B x d`) by the similarity of the memory's rule: their ids
    /// and similarities. Neither the separation nor beta nor a bias plays a part, and no state is updated, which makes
    /// a search faster than a retrieval that reports its [top](crate::RetrieveOptions::top). The answer comes as that
    /// of [`Memory::retrieve`] does, and this memory may change meanwhile.
    ///
    /// The CPU engine ranks by exact `f64` similarities of the stored rows. A GPU ranks by its `f32` sums.
    ///
    /// ```
    /// use attractor::{Device, Memory, PatternId, Rule, SearchOptions, Separation, Similarity};
    /// let rule = Rule::new(Similarity::Cosine, Separation::Softmax, 8.0);
    /// let mut memory = Memory::new(&Device::cpu(), 2, rule)?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0, 0.6, 0.8])?;
    /// let nearest = memory.search(&[0.0, 2.0], 1)?.wait()?;
    /// assert_eq!(nearest.ids, [Some(PatternId(1))]);
    /// let close = memory.search(&[0.0, 2.0], SearchOptions::default().top(1).at_least(0.7))?.wait()?;
    /// assert_eq!((close.ids, close.found), (nearest.ids, Some(vec![2])));
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) and [`Error::NotFinite`](crate::Error::NotFinite) for the queries;
    /// [`Error::Range`](crate::Error::Range) for queries beyond the [range](Memory#range) of a GPU, at a beta of 1 and
    /// without biases; [`Error::Empty`](crate::Error::Empty); [`Error::Parameter`](crate::Error::Parameter) for the
    /// options, [`Error::Stale`](crate::Error::Stale) for a mask that this memory has outlived. With the answer come
    /// the errors of [`Memory::retrieve`].
    pub fn search(&self, queries: &[f32], options: impl Into<SearchOptions>) -> Result<Pending<Hits>> {
        const OPERATION: &str = "Memory::search";
        let options = options.into();
        let view = self.facts().check_search(OPERATION, Queries::Given(queries), &options)?;
        self.engine.begin_search(OPERATION, queries, options, view, self.snapshots.take()).map(Pending::new)
    }

    /// [`Memory::search`] on this thread, until the answer is computed.
    ///
    /// # Errors
    /// As [`Memory::search`] and its answer, and [`Error::Unsupported`](crate::Error::Unsupported) on a GPU in a
    /// browser, where nothing can wait.
    pub fn search_blocking(&self, queries: &[f32], options: impl Into<SearchOptions>) -> Result<Hits> {
        const OPERATION: &str = "Memory::search_blocking";
        let options = options.into();
        let view = self.facts().check_search(OPERATION, Queries::Given(queries), &options)?;
        self.engine.search(OPERATION, queries, &options, &view)
    }

    /// Compiles and allocates now what a search of `batch` queries, waited for or recorded, needs, as
    /// [`Memory::warm_up`] does for a retrieval.
    ///
    /// # Errors
    /// [`Error::Parameter`](crate::Error::Parameter) for a batch of none and for the options,
    /// [`Error::Limit`](crate::Error::Limit) for a batch that no slice holds, [`Error::Empty`](crate::Error::Empty),
    /// [`Error::Stale`](crate::Error::Stale) and [`Error::OutOfMemory`](crate::Error::OutOfMemory).
    pub fn warm_up_search(&self, batch: usize, options: impl Into<SearchOptions>) -> Result<()> {
        const OPERATION: &str = "Memory::warm_up_search";
        let options = options.into();
        let view = self.facts().check_search(OPERATION, Queries::Planned(batch), &options)?;
        self.engine.prepare_search(batch, &options, &view)
    }

    /// How this memory would search for `batch` queries, as [`Memory::explain`] tells it of a retrieval.
    ///
    /// ```
    /// use attractor::{Device, Memory, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0))?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
    /// println!("{}", memory.explain_search(100, 2)?);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Memory::warm_up_search`], and [`Error::Limit`](crate::Error::Limit) for more dispatches than are counted in
    /// reasonable time.
    pub fn explain_search(&self, batch: usize, options: impl Into<SearchOptions>) -> Result<Explanation> {
        const OPERATION: &str = "Memory::explain_search";
        let options = options.into();
        let view = self.facts().check_search(OPERATION, Queries::Planned(batch), &options)?;
        self.engine.explain_search(OPERATION, batch, &options, &view, &self.device)
    }

    /// A search for each row of `queries` (`B x d`) that the host records slice by slice, and its answer, as
    /// [`Memory::job`] has it of a retrieval.
    ///
    /// ```no_run
    /// # use attractor::wgpu;
    /// # fn frames(memory: &attractor::Memory, queries: &[f32], device: &wgpu::Device, queue: &wgpu::Queue)
    /// # -> Result<(), attractor::Error> {
    /// let (mut job, mut answer) = memory.search_job(queries, 10)?;
    /// let hits = loop {
    ///     let mut encoder = device.create_command_encoder(&Default::default());
    ///     job.advance(&mut encoder, std::time::Duration::from_millis(2))?;
    ///     queue.submit([encoder.finish()]);
    ///     if let Some(hits) = answer.try_take() {
    ///         break hits?;
    ///     }
    /// };
    /// # drop(hits); Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`Memory::search`], and [`Error::NeedsGpu`](crate::Error::NeedsGpu) on the CPU engine.
    pub fn search_job(&self, queries: &[f32], options: impl Into<SearchOptions>) -> Result<(Job, Pending<Hits>)> {
        const OPERATION: &str = "Memory::search_job";
        let options = options.into();
        let view = self.facts().check_search(OPERATION, Queries::Given(queries), &options)?;
        let engine = self.engine.recorder(OPERATION)?;
        let (job, answer) = engine.search_job(OPERATION, queries, &options, &view, self.snapshots.take())?;
        Ok((job, Pending::new(answer)))
    }

    /// Records a search into `encoder`: reads queries from, and writes hits to, buffers of the caller, as
    /// [`Memory::record`] does. A later pass of the same encoder finds the nearest patterns there, and no host waits.
    ///
    /// # Errors
    /// [`Error::NeedsGpu`](crate::Error::NeedsGpu) on the CPU engine, [`Error::Empty`](crate::Error::Empty),
    /// [`Error::Parameter`](crate::Error::Parameter) and [`Error::Stale`](crate::Error::Stale) for the options,
    /// [`Error::Shape`](crate::Error::Shape) where a buffer is too small or lacks `STORAGE` usage,
    /// [`Error::OtherDevice`](crate::Error::OtherDevice) where it is of another device,
    /// [`Error::Limit`](crate::Error::Limit) for more dispatches than one encoder takes. Nothing has been recorded
    /// then.
    pub fn record_search(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        targets: &SearchTargets<'_>,
        options: impl Into<SearchOptions>,
    ) -> Result<()> {
        const OPERATION: &str = "Memory::record_search";
        let options = options.into();
        let view = self.facts().check_search(OPERATION, Queries::OnDevice(targets.count), &options)?;
        let snapshot = self.snapshots.take();
        self.engine.recorder(OPERATION)?.record_search(OPERATION, encoder, targets, &options, &view, snapshot)
    }
}
