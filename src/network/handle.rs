//! A network: which memories update which vectors.

use super::{NetworkRetrieval, NetworkTargets, Product, VectorId};
use crate::answer::Answer;
use crate::engine::networks::{NetworkMemory, begin_network, network, recorders};
use crate::error::{Error, Result};
use crate::gpu::network::NetworkRows;
use crate::gpu::{self, Job};
use crate::memory::Memory;
use crate::pending::Pending;
use crate::retrieval::network::{NetworkRequest, NetworkStates, NetworkStep};
use crate::retrieval::options::RetrieveOptions;
use crate::room::zeros;

/// Memories that update vectors of `d` coordinates, one after the other or together: see the [module](super).
///
/// All memories are on one device, and as wide as the vectors.
#[derive(Debug)]
pub struct Network<'m> {
    dim: usize,
    vectors: usize,
    updates: Vec<(&'m Memory, NetworkStep)>,
    together: bool,
}

impl<'m> Network<'m> {
    /// A network of vectors of `dim` coordinates, without any yet.
    pub fn new(dim: usize) -> Self {
        Self { dim, vectors: 0, updates: Vec::new(), together: false }
    }

    /// Adds a vector: a state, if an update has it as its target, else an input.
    pub fn vector(&mut self) -> VectorId {
        self.vectors += 1;
        VectorId(self.vectors - 1)
    }

    /// Adds an update to every iteration: `target` becomes what the rule of `memory` makes of the sums that the product
    /// `query` recalls. The state before, of which a carry, a damping or a sign of 0 depend, is that of `target`.
    pub fn update(&mut self, target: VectorId, memory: &'m Memory, query: impl Into<Product>) -> &mut Self {
        let Product { factors, complex } = query.into();
        self.updates.push((memory, NetworkStep { target: target.0, factors, complex }));
        self
    }

    /// Lets every update of an iteration see the vectors as they were before it, in place of the newest.
    pub fn together(&mut self) -> &mut Self {
        self.together = true;
        self
    }

    /// Iterates from `start` as `options` say: for each vector, in the order in which they were added, `B x d` numbers,
    /// or `d` that are the same for all queries. Of the options, those count that say when queries stop, and
    /// [`RetrieveOptions::betas`], [`RetrieveOptions::rows`] and [`RetrieveOptions::plan_for`], for every update.
    ///
    /// On a GPU all iterations are submitted when this returns, in one submission unless they are many or long. A query
    /// whose states repeat an earlier iteration stops at the states that the last iteration would give
    /// ([`Status::Cycle`](crate::retrieval::Status::Cycle)), if every update ends in signs or in maxima of blocks.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a network without updates, an update without a query, two updates of one state that go
    /// together, memories on several devices, and options as [`Memory::retrieve`]; [`Error::Shape`] where widths or
    /// numbers of queries disagree; [`Error::NotFinite`]; [`Error::Empty`] for a memory without patterns;
    /// [`Error::Unsupported`] for other options.
    pub fn retrieve(&self, start: &[&[f32]], options: &RetrieveOptions) -> Result<Pending<NetworkRetrieval>> {
        const OPERATION: &str = "Network::retrieve";
        let (request, starts, memories) = self.check(OPERATION, start, options)?;
        let answer = begin_network(OPERATION, request, starts, memories, options)?;
        Ok(self.pending(answer, options))
    }

    /// [`Network::retrieve`] on this thread, until the answer is computed.
    ///
    /// # Errors
    /// As [`Network::retrieve`] and its answer, and [`Error::Unsupported`] on a GPU in a browser, where nothing can
    /// wait.
    pub fn retrieve_blocking(&self, start: &[&[f32]], options: &RetrieveOptions) -> Result<NetworkRetrieval> {
        const OPERATION: &str = "Network::retrieve_blocking";
        let (request, starts, memories) = self.check(OPERATION, start, options)?;
        let states = network(OPERATION, request, starts, memories, options)?;
        Ok(NetworkRetrieval::new(self.dim, options.tolerance(), states))
    }

    /// [`Network::retrieve`] as a [`Job`] that the host records slice by slice, and its answer, which comes once all
    /// slices have been submitted and run; as [`Memory::job`].
    ///
    /// # Errors
    /// As [`Network::retrieve`], and [`Error::NeedsGpu`] on the CPU engine.
    pub fn job(&self, start: &[&[f32]], options: &RetrieveOptions) -> Result<(Job, Pending<NetworkRetrieval>)> {
        const OPERATION: &str = "Network::job";
        let (request, starts, memories) = self.check(OPERATION, start, options)?;
        let (job, answer) = gpu::network::job(OPERATION, request, starts, recorders(OPERATION, memories)?, options)?;
        Ok((job, self.pending(answer, options)))
    }

    /// Records all iterations into `encoder`: reads starts from, and writes states to, buffers of the caller. Neither
    /// submits nor polls; as [`Memory::record`].
    ///
    /// # Errors
    /// As [`Network::retrieve`]; [`Error::NeedsGpu`] on the CPU engine; [`Error::Parameter`] for a vector without a
    /// start; [`Error::Shape`] for a buffer that is too small or lacks `STORAGE` usage; [`Error::OtherDevice`];
    /// [`Error::Limit`] for more dispatches than one encoder takes. On an error nothing is recorded.
    pub fn record(
        &self,
        encoder: &mut wgpu::CommandEncoder,
        targets: &NetworkTargets<'_>,
        options: &RetrieveOptions,
    ) -> Result<()> {
        const OPERATION: &str = "Network::record";
        let (request, rows, memories) = self.check_targets(OPERATION, targets, options)?;
        gpu::network::record(OPERATION, encoder, &request, rows, recorders(OPERATION, memories)?, options)
    }

    /// [`Network::job`] from and to buffers of the caller, as [`Network::record`] has it. Nothing is read back.
    ///
    /// # Errors
    /// As [`Network::record`], and [`Error::Unsupported`] for timestamps.
    pub fn job_to_buffers(&self, targets: &NetworkTargets<'_>, options: &RetrieveOptions) -> Result<Job> {
        const OPERATION: &str = "Network::job_to_buffers";
        let (request, rows, memories) = self.check_targets(OPERATION, targets, options)?;
        if rows.timestamps.is_some() {
            let what = "timestamps of a job, which measures itself where it can,".into();
            return Err(Error::Unsupported { operation: OPERATION, what });
        }
        gpu::network::job_to_buffers(OPERATION, &request, &rows, recorders(OPERATION, memories)?, options)
    }

    fn pending(&self, answer: Answer<NetworkStates>, options: &RetrieveOptions) -> Pending<NetworkRetrieval> {
        let (dim, tolerance) = (self.dim, options.tolerance());
        Pending::new(answer.map(move |states| NetworkRetrieval::new(dim, tolerance, states)))
    }

    /// Checks the network.
    fn check_updates(&self, operation: &'static str, options: &RetrieveOptions) -> Result<()> {
        let shape = |expected: String, got: String| Err(Error::Shape { operation, expected, got });
        let parameter =
            |parameter, expected, got: String| Err(Error::Parameter { operation, parameter, expected, got });
        options.of_network(operation)?;
        if self.updates.is_empty() {
            return parameter("updates", "at least one", "a network without updates".into());
        }
        for (number, (memory, step)) in self.updates.iter().enumerate() {
            let what = format!("update {number}");
            if memory.dim() != self.dim {
                return shape(
                    format!("memories of {} dimensions, as the network's vectors", self.dim),
                    format!("one of {} ({what})", memory.dim()),
                );
            }
            if memory.rule().update.blocks > 1 {
                return Err(Error::Unsupported {
                    operation,
                    what: format!("an update that moves coordinates in blocks ({what}) in a network"),
                });
            }
            if step.factors.is_empty() {
                return parameter("query", "a product of at least one vector", format!("none ({what})"));
            }
            if step.complex && !self.dim.is_multiple_of(2) {
                return shape("an even dimension, for complex products".into(), format!("{} ({what})", self.dim));
            }
            let vectors = step.factors.iter().map(|factor| factor.vector).chain([step.target]);
            if let Some(vector) = vectors.into_iter().find(|vector| *vector >= self.vectors) {
                return parameter(
                    "vector",
                    "of this network",
                    format!("vector {vector}, counted from 0, of a network of {} ({what})", self.vectors),
                );
            }
            if self.together && self.updates[..number].iter().any(|(_, other)| other.target == step.target) {
                let expected = "updated once in an iteration where updates go together";
                return parameter("target", expected, format!("vector {} a second time ({what})", step.target));
            }
        }
        Ok(())
    }

    /// What happens in an iteration to the vectors of `batch` queries.
    fn request(&self, batch: usize) -> NetworkRequest {
        let steps = self.updates.iter().map(|(_, step)| step.clone()).collect();
        NetworkRequest { dim: self.dim, batch, vectors: self.vectors, steps, together: self.together }
    }

    /// Checks the network and where it starts from in host memory.
    fn check(
        &self,
        operation: &'static str,
        start: &[&[f32]],
        options: &RetrieveOptions,
    ) -> Result<(NetworkRequest, Vec<Vec<f32>>, Vec<NetworkMemory<'m>>)> {
        let shape = |expected: String, got: String| Err(Error::Shape { operation, expected, got });
        self.check_updates(operation, options)?;
        if start.len() != self.vectors {
            return shape(format!("a start for each of {} vectors", self.vectors), format!("{} starts", start.len()));
        }
        let batch = start.iter().map(|rows| rows.len() / self.dim).max().unwrap_or(0);
        let mut vectors = Vec::with_capacity(start.len());
        for (number, rows) in start.iter().enumerate() {
            let mut vector = zeros(operation, "vectors", batch.saturating_mul(self.dim))?;
            match rows.len() {
                length if length == self.dim => {
                    vector.chunks_exact_mut(self.dim).for_each(|to| to.copy_from_slice(rows));
                }
                length if length == vector.len() && batch > 0 => vector.copy_from_slice(rows),
                length => {
                    let expected = match batch {
                        0 => format!("starts of {} floats a query, of at least one query", self.dim),
                        _ => format!("starts of {batch} x {} floats, or of {} for all queries", self.dim, self.dim),
                    };
                    return shape(expected, format!("{length} floats for vector {number}"));
                }
            }
            vectors.push(vector);
        }
        let memories = self.updates.iter().map(|(memory, _)| memory.of_network(operation, &vectors, options));
        let memories = memories.collect::<Result<Vec<_>>>()?;
        Ok((self.request(batch), vectors, memories))
    }

    /// Checks the network and the buffers that it starts from and ends in.
    fn check_targets<'t>(
        &self,
        operation: &'static str,
        targets: &NetworkTargets<'t>,
        options: &RetrieveOptions,
    ) -> Result<(NetworkRequest, NetworkRows<'t>, Vec<NetworkMemory<'m>>)> {
        self.check_updates(operation, options)?;
        let rows = NetworkRows {
            starts: targets.starts(operation, self.vectors)?,
            states: targets.states(operation, self.vectors)?,
            report: targets.report,
            timestamps: targets.timestamps.clone(),
        };
        let recorded =
            |(memory, _): &(&'m Memory, NetworkStep)| memory.of_recorded_network(operation, targets.count, options);
        let memories = self.updates.iter().map(recorded).collect::<Result<Vec<_>>>()?;
        Ok((self.request(targets.count), rows, memories))
    }
}
