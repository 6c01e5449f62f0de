//! Options that give each query of a batch something of its own, and those that networks take.

use std::ops::Range;

use super::options::{RetrieveOptions, WeightsOf};
use crate::error::{Error, Result};
use crate::id::PatternId;

impl RetrieveOptions {
    /// Adds a field to the sums of every update ([`Update`](crate::Update)): `B x d` numbers, row-major.
    pub fn field(mut self, field: &[f32]) -> Self {
        self.per_query.field = Some(field.to_vec());
        self
    }

    /// Gives each query a beta of its own, in place of the rule's: `B` numbers. A
    /// [`Schedule`](crate::rule::Schedule) multiplies them by the factors by which it changes the rule's.
    pub fn betas(mut self, betas: &[f32]) -> Self {
        self.per_query.betas = Some(betas.to_vec());
        self
    }

    /// Leaves one pattern out for each query, or none: `B` ids. As in leave-one-out evaluation, where each query is
    /// itself a pattern.
    ///
    /// ```
    /// use attractor::{Device, Memory, RetrieveOptions, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(8.0))?;
    /// let rows = [1.0, 0.0, 0.9, 0.1, 0.0, 1.0];
    /// let ids: Vec<_> = memory.add(&rows)?.iter().map(Some).collect();
    /// let options = RetrieveOptions::default().top(1).exclude(&ids);
    /// let top = memory.retrieve_blocking(&rows, &options)?.top.unwrap();
    /// assert_eq!(top.ids, [ids[1], ids[0], ids[1]]); // the nearest but itself
    /// # Ok::<(), attractor::Error>(())
    /// ```
    pub fn exclude(mut self, ids: &[Option<PatternId>]) -> Self {
        self.per_query.exclude = Some(ids.to_vec());
        self
    }

    /// Lets each query see the patterns at a range of positions only: `B` ranges. So one memory holds many, whose
    /// patterns lie together: the heads of a layer, bags, stories, tenants. Queries of one range should be next to each
    /// other in the batch: each pass over the patterns then reads, for them, those of their range alone.
    ///
    /// ```
    /// use attractor::{Device, Memory, RetrieveOptions, Rule};
    /// let mut memory = Memory::new(&Device::cpu(), 1, Rule::softmax(1.0))?;
    /// memory.add(&[1.0, 1.0, 1.0, 5.0, 5.0])?; // two groups: three patterns, and two
    /// let options = RetrieveOptions::default().rows(&[0..3, 3..5]);
    /// assert_eq!(memory.retrieve_blocking(&[1.0, 1.0], &options)?.output, [1.0, 5.0]);
    /// # Ok::<(), attractor::Error>(())
    /// ```
    pub fn rows(mut self, positions: &[Range<usize>]) -> Self {
        self.per_query.rows = Some(positions.to_vec());
        self
    }

    /// What [`RetrieveOptions::field`] set.
    pub fn get_field(&self) -> Option<&[f32]> {
        self.per_query.field.as_deref()
    }

    /// What [`RetrieveOptions::betas`] set.
    pub fn get_betas(&self) -> Option<&[f32]> {
        self.per_query.betas.as_deref()
    }

    /// What [`RetrieveOptions::exclude`] set.
    pub fn get_exclude(&self) -> Option<&[Option<PatternId>]> {
        self.per_query.exclude.as_deref()
    }

    /// What [`RetrieveOptions::rows`] set.
    pub fn get_rows(&self) -> Option<&[Range<usize>]> {
        self.per_query.rows.as_deref()
    }
}

impl RetrieveOptions {
    /// Refuses what has no meaning for a network, or no place in its answers.
    pub(crate) fn of_network(&self, operation: &'static str) -> Result<()> {
        let others = [
            ("energy", self.energy),
            ("trace", self.trace),
            ("top", self.top > 0),
            ("statistics", self.statistics),
            ("weights", self.weights != WeightsOf::None),
            ("mask", self.mask.is_some()),
            ("clamp", self.clamp.is_some()),
            ("field", self.per_query.field.is_some()),
            ("exclude", self.per_query.exclude.is_some()),
        ];
        match others.iter().find(|(_, asked)| *asked) {
            None => Ok(()),
            Some((name, _)) => {
                Err(Error::Unsupported { operation, what: format!("the option `{name}` for a network") })
            }
        }
    }
}
