//! A network: which memories update which vectors.

use super::{NetworkRetrieval, Product, VectorId};
use crate::engine::networks::{NetworkMemory, begin_network, network};
use crate::error::{Error, Result};
use crate::memory::Memory;
use crate::pending::Pending;
use crate::retrieval::network::{NetworkRequest, NetworkStep};
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
    /// On a GPU all iterations are submitted when this returns, in one submission unless they are many or long. States
    /// that come back ([`Status::Cycle`](crate::retrieval::Status::Cycle)) are looked for on the CPU engine alone; a
    /// GPU goes through all updates that are allowed, to the same states.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a network without updates, an update without a query, two updates of one state that go
    /// together, memories on several devices, and options as [`Memory::retrieve`]; [`Error::Shape`] where widths or
    /// numbers of queries disagree; [`Error::NotFinite`]; [`Error::Empty`] for a memory without patterns;
    /// [`Error::Unsupported`] for other options.
    pub fn retrieve(&self, start: &[&[f32]], options: &RetrieveOptions) -> Result<Pending<NetworkRetrieval>> {
        const OPERATION: &str = "Network::retrieve";
        let (request, memories) = self.check(OPERATION, start, options)?;
        let (dim, tolerance) = (self.dim, options.tolerance());
        let answer = begin_network(OPERATION, request, memories, options)?;
        Ok(Pending::new(answer.map(move |states| NetworkRetrieval::new(dim, tolerance, states))))
    }

    /// [`Network::retrieve`] on this thread, until the answer is computed.
    ///
    /// # Errors
    /// As [`Network::retrieve`] and its answer, and [`Error::Unsupported`] on a GPU in a browser, where nothing can
    /// wait.
    pub fn retrieve_blocking(&self, start: &[&[f32]], options: &RetrieveOptions) -> Result<NetworkRetrieval> {
        const OPERATION: &str = "Network::retrieve_blocking";
        let (request, memories) = self.check(OPERATION, start, options)?;
        let states = network(OPERATION, request, memories, options)?;
        Ok(NetworkRetrieval::new(self.dim, options.tolerance(), states))
    }

    /// Checks the network and what is asked of it.
    fn check(
        &self,
        operation: &'static str,
        start: &[&[f32]],
        options: &RetrieveOptions,
    ) -> Result<(NetworkRequest, Vec<NetworkMemory<'m>>)> {
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
        let steps = self.updates.iter().map(|(_, step)| step.clone()).collect();
        let request = NetworkRequest { dim: self.dim, batch, vectors, steps, together: self.together };
        let memories = self.updates.iter().map(|(memory, _)| memory.of_network(operation, &request, options));
        let memories = memories.collect::<Result<Vec<_>>>()?;
        Ok((request, memories))
    }
}
