//! A memory as one of a network's.

use super::handle::Memory;
use super::request::{MemoryFacts, Queries};
use crate::engine::networks::NetworkMemory;
use crate::error::Result;
use crate::retrieval::options::RetrieveOptions;

impl Memory {
    /// This memory, for an update of a network that starts from `vectors`: its patterns as they are now.
    ///
    /// # Errors
    /// Those of a retrieval of every vector.
    pub(crate) fn of_network(
        &self,
        operation: &'static str,
        vectors: &[Vec<f32>],
        options: &RetrieveOptions,
    ) -> Result<NetworkMemory<'_>> {
        for vector in vectors {
            self.facts().check(operation, Queries::Given(vector), options)?;
        }
        Ok(self.as_it_is())
    }

    /// The same of a network of `batch` queries that start from buffers on the device.
    ///
    /// # Errors
    /// Those of a retrieval that is recorded.
    pub(crate) fn of_recorded_network(
        &self,
        operation: &'static str,
        batch: usize,
        options: &RetrieveOptions,
    ) -> Result<NetworkMemory<'_>> {
        self.facts().check(operation, Queries::OnDevice(batch), options)?;
        Ok(self.as_it_is())
    }

    fn as_it_is(&self) -> NetworkMemory<'_> {
        let MemoryFacts { view, .. } = self.facts();
        NetworkMemory { engine: &self.engine, view, snapshot: self.snapshots.take() }
    }
}
