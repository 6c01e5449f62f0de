//! What a retrieval or a search asks of a memory, checked once for every call that retrieves or searches.

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::finite::{check_bipolar, check_finite};
use crate::fork;
use crate::mask::MemoryExtent;
use crate::patterns::rows;
use crate::retrieval::options::RetrieveOptions;
use crate::rule::Rule;
use crate::search::SearchOptions;
use crate::store::{Layout, View};

/// What a memory is to those who check what is asked of it.
pub(super) struct MemoryFacts<'m> {
    pub layout: &'m Layout,
    pub rule: Rule,
    pub extent: MemoryExtent,
    /// The patterns as they are now.
    pub view: View,
    /// Whether no pattern is stored.
    pub is_empty: bool,
    pub engine: &'m Engine,
}

/// Where the queries of a request are.
#[derive(Clone, Copy)]
pub(super) enum Queries<'q> {
    /// In host memory, `B x d`.
    Given(&'q [f32]),
    /// So many, in a buffer on the device, which judges them.
    OnDevice(usize),
    /// So many, in a request that is only planned.
    Planned(usize),
}

impl MemoryFacts<'_> {
    /// Checks what `operation` asks of the memory, and gives the patterns as its answer sees them.
    ///
    /// # Errors
    /// [`Error::Forked`]; [`Error::Shape`] and [`Error::NotFinite`] for the queries; [`Error::Parameter`],
    /// [`Error::Shape`] and [`Error::Stale`] for the options; [`Error::Unsupported`] for an energy where the rule has
    /// none; [`Error::Empty`]; [`Error::Range`] for finite queries that the engine may not answer right;
    /// [`Error::Parameter`] and [`Error::Limit`] for a planned batch that no slice holds.
    pub fn check(self, operation: &'static str, queries: Queries<'_>, options: &RetrieveOptions) -> Result<View> {
        let batch = self.batch(operation, queries)?;
        options.validate(operation, batch, self.rule.similarity, &self.extent)?;
        options.check_rule(operation, &self.rule)?;
        self.engine.check_family(operation, &self.rule, options)?;
        if options.energy || options.trace {
            self.rule.check_energy(operation)?;
            if options.get_betas().is_some_and(|betas| betas.contains(&0.0)) {
                Rule { beta: 0.0, ..self.rule }.check_energy(operation)?;
            }
        }
        self.check_queries(operation, queries, batch)?;
        if let (Queries::Given(queries), true) = (queries, self.rule.needs_bipolar_states()) {
            check_bipolar(operation, "queries", queries, self.layout.dim, 0)?;
        }
        let (engine, alive) = (self.engine, self.view.alive());
        match queries {
            Queries::Given(queries) => engine.check_range(operation, queries, options, alive)?,
            Queries::OnDevice(_) => engine.check_range(operation, &[], options, alive)?,
            Queries::Planned(_) => {}
        }
        Ok(self.view)
    }

    /// [`MemoryFacts::check`] for a search.
    pub fn check_search(self, operation: &'static str, queries: Queries<'_>, options: &SearchOptions) -> Result<View> {
        let batch = self.batch(operation, queries)?;
        options.validate(operation, batch, self.rule.similarity, &self.extent)?;
        self.check_queries(operation, queries, batch)?;
        match queries {
            Queries::Given(queries) => self.engine.check_search_range(operation, queries, options, &self.view)?,
            Queries::OnDevice(_) => self.engine.check_search_range(operation, &[], options, &self.view)?,
            Queries::Planned(_) => {}
        }
        Ok(self.view)
    }

    /// The number of queries.
    fn batch(&self, operation: &'static str, queries: Queries<'_>) -> Result<usize> {
        fork::check(operation)?;
        match queries {
            Queries::Given(queries) => rows(operation, "queries", queries, self.layout.dim),
            Queries::OnDevice(batch) | Queries::Planned(batch) => Ok(batch),
        }
    }

    /// Refuses an empty memory, and queries that no options allow.
    fn check_queries(&self, operation: &'static str, queries: Queries<'_>, batch: usize) -> Result<()> {
        if self.is_empty {
            return Err(Error::Empty { operation });
        }
        match queries {
            Queries::Given(queries) => check_finite(operation, "queries", queries, self.layout.dim),
            Queries::OnDevice(_) => self.engine.recorder(operation).map(|_| ()),
            Queries::Planned(_) => check_size(operation, batch, self.layout),
        }
    }
}

/// Refuses batches whose queries or outputs no slice holds.
fn check_size(operation: &'static str, batch: usize, layout: &Layout) -> Result<()> {
    const MAX_FLOATS: usize = isize::MAX as usize / size_of::<f32>();
    match batch.checked_mul(layout.dim.max(layout.output_dim())) {
        Some(0) => Err(Error::Parameter { operation, parameter: "batch", expected: "at least 1", got: "0".into() }),
        Some(floats) if floats <= MAX_FLOATS => Ok(()),
        floats => {
            let (need, allowed) = (floats.map_or(u64::MAX, |floats| floats as u64), MAX_FLOATS as u64);
            Err(Error::Limit { operation, limit: "floats of one batch", need, allowed })
        }
    }
}
