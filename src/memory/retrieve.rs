//! Retrievals whose queries are in host memory.

use super::handle::Memory;
use super::request::{MemoryFacts, Queries};
use crate::error::Result;
use crate::explain::Explanation;
use crate::finite::{check_bipolar, check_finite};
use crate::fork;
use crate::partial::{Partial, PartialOptions};
use crate::patterns::rows;
use crate::pending::Pending;
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Retrieval;
use crate::store::View;

impl Memory {
    /// Retrieves for each row of `queries` (`B x d`) as `options` say: the answer may be awaited, waited for
    /// ([`Pending::wait`]) or asked for once a frame ([`Pending::try_take`]), and this memory may change meanwhile. No
    /// row gives an answer of no row.
    ///
    /// On a GPU everything has been submitted when this returns: uploads, dispatches and the read-back. The CPU engine
    /// computes on the threads of `rayon`, or in a browser, which has none, before this returns.
    ///
    /// ```
    /// use attractor::{Device, Memory, RetrieveOptions, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(8.0))?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
    /// let pending = memory.retrieve(&[0.9, 0.1], &RetrieveOptions::default())?;
    /// let answer = pollster::block_on(pending)?; // any executor; or pending.wait()?
    /// assert!(answer.output[0] > 0.9);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) and [`Error::NotFinite`](crate::Error::NotFinite) for the queries,
    /// [`Error::Range`](crate::Error::Range) for queries beyond the [range](Memory#range) of a GPU,
    /// [`Error::Empty`](crate::Error::Empty), [`Error::Parameter`](crate::Error::Parameter) for the options,
    /// [`Error::Stale`](crate::Error::Stale) for a mask that this memory has outlived,
    /// [`Error::Unsupported`](crate::Error::Unsupported) for an energy where the rule has none. With the answer come
    /// [`Error::DeviceLost`](crate::Error::DeviceLost) of a device that is lost meanwhile,
    /// [`Error::Internal`](crate::Error::Internal) where it did not complete its work, and on the CPU engine
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) where the host has no room for the answers; on a GPU that is
    /// returned here.
    pub fn retrieve(&self, queries: &[f32], options: &RetrieveOptions) -> Result<Pending<Retrieval>> {
        const OPERATION: &str = "Memory::retrieve";
        let view = self.facts().check(OPERATION, Queries::Given(queries), options)?;
        self.engine.begin(OPERATION, queries, options, view, self.snapshots.take()).map(Pending::new)
    }

    /// [`Memory::retrieve`] on this thread, until the answer is computed. On the CPU engine it saves what handing over
    /// to other threads takes: this thread computes, with the others of `rayon` where the batch is large enough.
    ///
    /// # Errors
    /// As [`Memory::retrieve`] and its answer, and [`Error::Unsupported`](crate::Error::Unsupported) on a GPU in a
    /// browser, where nothing can wait.
    pub fn retrieve_blocking(&self, queries: &[f32], options: &RetrieveOptions) -> Result<Retrieval> {
        const OPERATION: &str = "Memory::retrieve_blocking";
        let view = self.facts().check(OPERATION, Queries::Given(queries), options)?;
        self.engine.retrieve(OPERATION, queries, options, &view)
    }

    /// One update for each row of `queries` (`B x d`) over the patterns that `options` name, to be merged with those
    /// over other patterns, of this memory or of any other under the same rule ([`Partial`]). The answer sees the
    /// patterns that are stored now, and this memory may change meanwhile.
    ///
    /// On a GPU an answer may need several submissions, of which a later one depends on what an earlier one read back:
    /// the first is made when this returns, the others as the [`Pending`] is awaited or polled. Until the answer is
    /// taken or dropped, the room of removed patterns is not used again.
    ///
    /// # Errors
    /// [`Error::Shape`](crate::Error::Shape) and [`Error::NotFinite`](crate::Error::NotFinite) for the queries,
    /// [`Error::Parameter`](crate::Error::Parameter) for a subset that is not within the memory,
    /// [`Error::Shape`](crate::Error::Shape) for a mask that does not fit,
    /// [`Error::Unsupported`](crate::Error::Unsupported) where the patterns of largest weight are not those of largest
    /// score, [`Error::Range`](crate::Error::Range) for queries that are not signs where the rule wants these. With the
    /// answer,
    /// [`Error::DeviceLost`](crate::Error::DeviceLost) where the device fails and
    /// [`Error::OutOfMemory`](crate::Error::OutOfMemory) where the host has no room.
    pub fn retrieve_partial(&self, queries: &[f32], options: &PartialOptions) -> Result<Pending<Vec<Partial>>> {
        const OPERATION: &str = "Memory::retrieve_partial";
        let view = self.check_partial(OPERATION, queries, options)?;
        let answer = self.engine.begin_partials(OPERATION, queries, options, view, self.snapshots.take())?;
        let mut pending = Pending::new(answer);
        pending.is_ready(); // makes the first submission
        Ok(pending)
    }

    /// [`Memory::retrieve_partial`] on this thread, until the answer is computed.
    ///
    /// # Errors
    /// As [`Memory::retrieve_partial`] and its answer, and [`Error::Unsupported`](crate::Error::Unsupported) on a GPU
    /// in a browser, where nothing can wait.
    pub fn retrieve_partial_blocking(&self, queries: &[f32], options: &PartialOptions) -> Result<Vec<Partial>> {
        const OPERATION: &str = "Memory::retrieve_partial_blocking";
        let view = self.check_partial(OPERATION, queries, options)?;
        self.engine.partials_blocking(OPERATION, queries, options, &view)
    }

    fn check_partial(&self, operation: &'static str, queries: &[f32], options: &PartialOptions) -> Result<View> {
        let MemoryFacts { layout, rule, extent, view, engine, .. } = self.facts();
        fork::check(operation)?;
        let batch = rows(operation, "queries", queries, layout.dim)?;
        options.validate(operation, batch, &extent)?;
        let asked = RetrieveOptions::default().top(options.top);
        asked.check_rule(operation, &rule)?;
        engine.check_family(operation, &rule, &asked)?;
        check_finite(operation, "queries", queries, layout.dim)?;
        if rule.needs_bipolar_states() {
            check_bipolar(operation, "queries", queries, layout.dim, 0)?;
        }
        engine.check_range(operation, queries, &RetrieveOptions::default(), view.alive())?;
        Ok(view)
    }

    /// Compiles and allocates now what a retrieval of `batch` queries with these options needs, as a game does behind
    /// its loading screen: otherwise the first retrieval of its kind does. Neither submits nor waits. Other batches may
    /// need other kernels ([`Memory::explain`]); the CPU engine has nothing to prepare.
    ///
    /// # Errors
    /// As [`Memory::explain`].
    pub fn warm_up(&self, batch: usize, options: &RetrieveOptions) -> Result<()> {
        const OPERATION: &str = "Memory::warm_up";
        let view = self.facts().check(OPERATION, Queries::Planned(batch), options)?;
        self.engine.prepare(OPERATION, batch, options, &view)
    }

    /// How this memory would answer `batch` queries: kernels, tiles, splits, windows, dispatches, and the work that
    /// they are. On a GPU the workspace is allocated, and nothing is compiled or run.
    ///
    /// ```
    /// use attractor::{Device, Memory, RetrieveOptions, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0))?;
    /// memory.add(&[1.0, 0.0, 0.0, 1.0])?;
    /// println!("{}", memory.explain(100, &RetrieveOptions::default())?);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`Memory::retrieve`]; [`Error::Parameter`](crate::Error::Parameter) for a batch of none,
    /// [`Error::Limit`](crate::Error::Limit) for one that no slice holds, and for more dispatches than are counted in
    /// reasonable time.
    pub fn explain(&self, batch: usize, options: &RetrieveOptions) -> Result<Explanation> {
        const OPERATION: &str = "Memory::explain";
        let view = self.facts().check(OPERATION, Queries::Planned(batch), options)?;
        self.engine.explain(OPERATION, batch, options, &view, &self.device)
    }
}
