//! Masks, live patterns, clamped coordinates, and what each query has of its own, as words on the device.

use std::ops::Range;

use super::buffer::Binding;
use super::engine::Engine;
use super::operands::{Keep, Known};
use crate::error::Result;
use crate::mask::Mask;
use crate::retrieval::options::RetrieveOptions;
use crate::store::View;
use crate::sync::lock;

/// Words of a query's record: its beta, the position that it leaves out, and those that it sees.
const RECORD: usize = 4;

impl Engine {
    /// Which patterns queries `part` may use: a bit for each, set where it is stored and unmasked, in a row for all
    /// queries or one for each; in front of them a record of what each query has of its own.
    pub fn keep(
        &self,
        options: &RetrieveOptions,
        view: &View,
        part: impl Iterator<Item = usize> + Clone,
    ) -> Result<Option<Keep>> {
        let (mask, alive, patterns) = (options.mask.as_ref(), view.alive(), self.windows.len());
        let records = self.records(options, view, part.clone());
        let masked = mask.is_some() || alive.is_some();
        let keep = |words, stride| Keep { words, records: !records.is_empty(), masked, first: 0, stride };
        if let (None, Some(alive), true) = (mask, alive, records.is_empty()) {
            let mut live = lock(&self.live);
            let words = match &*live {
                Some(words) => words.clone(),
                None => {
                    let bits = bytemuck::cast_slice(alive.words());
                    live.insert(Binding::from(&self.context.upload("attractor.live", bits)?)).clone()
                }
            };
            return Ok(Some(keep(words, 0)));
        }
        let per_query = mask.is_some_and(Mask::is_per_query);
        let mut words = records.clone();
        match (mask, alive) {
            (None, None) => {}
            (None, Some(alive)) => words.extend_from_slice(alive.words()),
            (Some(mask), _) => {
                // A mask of one row is shared by all queries.
                let rows = part.take(if per_query { usize::MAX } else { 1 });
                let keeps = |b: usize, i: usize| mask.keeps(b, i, patterns) && alive.is_none_or(|alive| alive[i]);
                pack(rows.map(|b| (0..patterns).map(move |i| keeps(b, i))), &mut words);
            }
        }
        if words.is_empty() {
            return Ok(None);
        }
        let buffer = self.context.upload("attractor.keep", bytemuck::cast_slice(&words))?;
        let stride = if per_query { patterns.div_ceil(32) as u32 } else { 0 };
        Ok(Some(Keep { first: records.len() as u32, ..keep(Binding::from(&buffer), stride) }))
    }

    /// A record for each query of `part`; none where all are alike.
    fn records(&self, options: &RetrieveOptions, view: &View, part: impl Iterator<Item = usize>) -> Vec<u32> {
        let own = &options.per_query;
        if own.betas.is_none() && own.exclude.is_none() && own.rows.is_none() {
            return Vec::new();
        }
        let part: Vec<usize> = part.collect();
        let excluded: Option<Vec<Option<usize>>> = own.exclude.as_ref().map(|ids| {
            let ids: Vec<_> = part.iter().map(|query| ids[*query]).collect();
            view.names.positions_of(&ids)
        });
        let mut words = Vec::with_capacity(RECORD * part.len());
        for (i, query) in part.iter().enumerate() {
            let beta = own.betas.as_ref().map_or(self.rule.beta, |betas| betas[*query]);
            let left_out = excluded.as_ref().and_then(|excluded| excluded[i]);
            let Range { start, end } = match &own.rows {
                None => 0..self.windows.len(),
                // Joined with the positions of others, none takes none.
                Some(rows) if rows[*query].is_empty() => u32::MAX as usize..0,
                Some(rows) => rows[*query].clone(),
            };
            // No position is so large.
            let left_out = left_out.map_or(u32::MAX, |position| position as u32);
            words.extend([beta.to_bits(), left_out, start as u32, end as u32]);
        }
        words
    }

    /// What queries `part` bring along besides their coordinates: which of them are clamped, a field, and their betas
    /// where an update depends on them.
    pub fn known(&self, options: &RetrieveOptions, part: impl Iterator<Item = usize>) -> Result<Option<Known>> {
        let (clamp, field) = (options.clamp.as_deref(), options.per_query.field.as_deref());
        let betas = options.per_query.betas.as_deref().filter(|_| self.rule.update.remove_self);
        if clamp.is_none() && field.is_none() && betas.is_none() {
            return Ok(None);
        }
        let dim = self.layout.dim;
        let bits = if clamp.is_some() { dim.div_ceil(32) } else { 0 };
        let floats = if field.is_some() { dim } else { 0 };
        let mut words = Vec::new();
        for b in part {
            if let Some(clamp) = clamp {
                pack(std::iter::once(clamp[b * dim..(b + 1) * dim].iter().copied()), &mut words);
            }
            if let Some(field) = field {
                words.extend(field[b * dim..(b + 1) * dim].iter().map(|number| number.to_bits()));
            }
            words.extend(betas.map(|betas| betas[b].to_bits()));
        }
        let buffer = self.context.upload("attractor.known", bytemuck::cast_slice(&words))?;
        Ok(Some(Known {
            words: Binding::from(&buffer),
            stride: (bits + floats + usize::from(betas.is_some())) as u32,
            clamped: clamp.is_some(),
            field: field.map(|_| bits as u32),
            beta: betas.map(|_| (bits + floats) as u32),
        }))
    }
}

/// Packs rows of flags into rows of whole words, behind `words`, the first flag in the lowest bit.
fn pack<R: Iterator<Item = bool>>(rows: impl Iterator<Item = R>, words: &mut Vec<u32>) {
    for row in rows {
        let first = words.len();
        for (i, flag) in row.enumerate() {
            if i % 32 == 0 {
                words.push(0);
            }
            words[first + i / 32] |= u32::from(flag) << (i % 32);
        }
    }
}
