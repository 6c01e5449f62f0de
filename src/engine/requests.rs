//! What is asked of a memory, handed to the engine of its device: the CPU engine, a GPU, or a GPU through which rows
//! stream.

use std::ops::Deref;
use std::sync::Arc;

use super::{Engine, Kind};
use crate::answer::Answer;
use crate::device::handle::Device;
use crate::error::{Error, Result};
use crate::explain::Explanation;
use crate::gpu;
use crate::partial::{Partial, PartialOptions};
use crate::pending::Pending;
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Retrieval;
use crate::rule::Rule;
use crate::search::{Hits, SearchOptions};
use crate::store::{Alive, Snapshot, View};
use crate::wait;

/// An engine of a GPU that holds all rows, or one that reads some from the host.
enum Answering<'e> {
    Held(&'e gpu::Engine),
    Streaming(Box<gpu::Engine>),
}

impl Deref for Answering<'_> {
    type Target = gpu::Engine;

    fn deref(&self) -> &gpu::Engine {
        match self {
            Self::Held(engine) => engine,
            Self::Streaming(engine) => engine,
        }
    }
}

impl Engine {
    /// Refuses finite queries that the engine may not answer right; the CPU engine answers all. Without `queries`, only
    /// what is stored is judged.
    pub fn check_range(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        alive: Option<&Alive>,
    ) -> Result<()> {
        match &self.kind {
            Kind::Cpu(_) => Ok(()),
            Kind::Gpu(engine) => engine.check_range(operation, queries, options, alive),
        }
    }

    /// Refuses what the engine does not compute; the CPU engine computes all.
    pub fn check_family(&self, operation: &'static str, rule: &Rule, options: &RetrieveOptions) -> Result<()> {
        match &self.kind {
            Kind::Cpu(_) => Ok(()),
            Kind::Gpu(_) => gpu::check_family(operation, rule, options),
        }
    }

    /// The engine that answers: where rows stream through a GPU, one with those of the host, as they are now.
    fn answering<'e>(&self, engine: &'e gpu::Engine) -> Answering<'e> {
        match &self.mirror {
            Some(mirror) if engine.streams() => {
                Answering::Streaming(Box::new(engine.reading(Arc::new(mirror.clone()))))
            }
            _ => Answering::Held(engine),
        }
    }

    /// Begins a retrieval of checked queries, without waiting for the device. `snapshot` is one of now.
    pub fn begin(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        view: View,
        snapshot: Snapshot,
    ) -> Result<Answer<Retrieval>> {
        match &self.kind {
            Kind::Cpu(engine) => engine.begin(operation, queries, options, view),
            Kind::Gpu(engine) => self.answering(engine).retrieve(
                operation,
                queries,
                options,
                &view,
                gpu::Wait::Forbidden,
                Some(snapshot),
            ),
        }
    }

    /// Retrieves for checked queries on this thread.
    pub fn retrieve(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        view: &View,
    ) -> Result<Retrieval> {
        match &self.kind {
            Kind::Cpu(engine) => engine.retrieve(operation, queries, options, view),
            Kind::Gpu(engine) => {
                wait::check(operation)?;
                let engine = self.answering(engine);
                Pending::new(engine.retrieve(operation, queries, options, view, gpu::Wait::Allowed, None)?).wait()
            }
        }
    }

    /// [`Engine::check_range`] for a search.
    pub fn check_search_range(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &SearchOptions,
        view: &View,
    ) -> Result<()> {
        match &self.kind {
            Kind::Cpu(_) => Ok(()),
            Kind::Gpu(engine) => engine.check_search_range(operation, queries, options, view),
        }
    }

    /// Begins a search for checked queries, without waiting for the device. `snapshot` is one of now.
    pub fn begin_search(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: SearchOptions,
        view: View,
        snapshot: Snapshot,
    ) -> Result<Answer<Hits>> {
        match &self.kind {
            Kind::Cpu(engine) => engine.begin_search(operation, queries, options, view),
            Kind::Gpu(engine) => {
                self.answering(engine).search(operation, queries, &options, &view, gpu::Wait::Forbidden, Some(snapshot))
            }
        }
    }

    /// Searches for checked queries on this thread.
    pub fn search(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &SearchOptions,
        view: &View,
    ) -> Result<Hits> {
        match &self.kind {
            Kind::Cpu(engine) => engine.search(operation, queries, options, view),
            Kind::Gpu(engine) => {
                wait::check(operation)?;
                let engine = self.answering(engine);
                Pending::new(engine.search(operation, queries, options, view, gpu::Wait::Allowed, None)?).wait()
            }
        }
    }

    /// Begins the partial states of checked queries, without waiting for the device. `snapshot` is one of now.
    pub fn begin_partials(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &PartialOptions,
        view: View,
        snapshot: Snapshot,
    ) -> Result<Answer<Vec<Partial>>> {
        match &self.kind {
            Kind::Cpu(engine) => engine.begin_partials(operation, queries, options, view),
            Kind::Gpu(engine) => {
                let engine = self.answering(engine);
                engine.begin_partials(operation, queries, options, view, snapshot)
            }
        }
    }

    /// The partial states of checked queries, computed on this thread.
    pub fn partials_blocking(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &PartialOptions,
        view: &View,
    ) -> Result<Vec<Partial>> {
        match &self.kind {
            Kind::Cpu(engine) => engine.partials(operation, queries, options, view.alive()),
            Kind::Gpu(engine) => {
                wait::check(operation)?;
                let engine = self.answering(engine);
                wait::block_on(operation, engine.partials(operation, queries, options, view, gpu::Wait::Allowed))
            }
        }
    }

    /// Compiles and allocates what a retrieval of `batch` queries needs. The CPU engine has nothing to prepare.
    pub fn prepare(&self, operation: &'static str, batch: usize, options: &RetrieveOptions, view: &View) -> Result<()> {
        match &self.kind {
            Kind::Cpu(_) => Ok(()),
            Kind::Gpu(engine) => engine.prepare(operation, batch, options, view),
        }
    }

    /// Compiles and allocates what a search of `batch` queries needs. The CPU engine has nothing to prepare.
    pub fn prepare_search(&self, batch: usize, options: &SearchOptions, view: &View) -> Result<()> {
        match &self.kind {
            Kind::Cpu(_) => Ok(()),
            Kind::Gpu(engine) => engine.prepare_search(batch, options, view),
        }
    }

    /// How a retrieval of `batch` queries on `device`, which this engine is on, would be computed.
    pub fn explain(
        &self,
        operation: &'static str,
        batch: usize,
        options: &RetrieveOptions,
        view: &View,
        device: &Device,
    ) -> Result<Explanation> {
        match &self.kind {
            Kind::Cpu(engine) => Ok(engine.explain(batch, options, device.info())),
            Kind::Gpu(engine) => engine.explain(operation, batch, options, view),
        }
    }

    /// How a search of `batch` queries on `device`, which this engine is on, would be computed.
    pub fn explain_search(
        &self,
        operation: &'static str,
        batch: usize,
        options: &SearchOptions,
        view: &View,
        device: &Device,
    ) -> Result<Explanation> {
        match &self.kind {
            Kind::Cpu(engine) => Ok(engine.explain_search(batch, options, device.info())),
            Kind::Gpu(engine) => engine.explain_search(operation, batch, options, view),
        }
    }

    /// The engine that records into command encoders.
    ///
    /// # Errors
    /// [`Error::NeedsGpu`] on the CPU engine; [`Error::Unsupported`] where rows stream.
    pub fn recorder(&self, operation: &'static str) -> Result<&gpu::Engine> {
        match &self.kind {
            Kind::Cpu(_) => Err(Error::NeedsGpu {
                operation,
                why: "the memory lives on the CPU engine, which has no command encoder".into(),
            }),
            Kind::Gpu(engine) if engine.streams() => {
                let what = "recording from a memory that its device does not hold (MemoryOptions::device_bytes)";
                Err(Error::Unsupported { operation, what: what.into() })
            }
            Kind::Gpu(engine) => Ok(engine),
        }
    }
}
