//! A memory as one of a network's.

use super::handle::Memory;
use super::request::{MemoryFacts, Queries};
use crate::engine::networks::NetworkMemory;
use crate::error::Result;
use crate::retrieval::network::NetworkRequest;
use crate::retrieval::options::RetrieveOptions;

impl Memory {
    /// This memory, for an update of a network that is asked `request`: its patterns as they are now.
    ///
    /// # Errors
    /// Those of a retrieval of every vector of the request.
    pub(crate) fn of_network(
        &self,
        operation: &'static str,
        request: &NetworkRequest,
        options: &RetrieveOptions,
    ) -> Result<NetworkMemory<'_>> {
        for vector in &request.vectors {
            self.facts().check(operation, Queries::Given(vector), options)?;
        }
        let MemoryFacts { view, .. } = self.facts();
        Ok(NetworkMemory { engine: &self.engine, view, snapshot: self.snapshots.take() })
    }
}
