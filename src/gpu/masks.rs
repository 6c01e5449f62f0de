//! Masks, live patterns and clamped coordinates, as bits on the device.

use super::buffer::Binding;
use super::engine::Engine;
use super::operands::Bits;
use crate::error::Result;
use crate::mask::Mask;
use crate::store::Alive;
use crate::sync::lock;

impl Engine {
    /// One bit for each pattern, set where it is stored and unmasked: a row for all queries `part`, or one for each.
    pub fn mask_rows(
        &self,
        mask: Option<&Mask>,
        alive: Option<&Alive>,
        part: impl Iterator<Item = usize>,
    ) -> Result<Option<Bits>> {
        if mask.is_none() && alive.is_none() {
            return Ok(None);
        }
        let patterns = self.windows.len();
        if let (None, Some(alive)) = (mask, alive) {
            let mut live = lock(&self.live);
            let words = match &*live {
                Some(words) => words.clone(),
                None => {
                    let bits = bytemuck::cast_slice(alive.words());
                    live.insert(Binding::from(&self.context.upload("attractor.live", bits)?)).clone()
                }
            };
            return Ok(Some(Bits { words, stride: 0 }));
        }
        let per_query = mask.is_some_and(Mask::is_per_query);
        // A mask of one row is shared by all queries.
        let rows = part.take(if per_query { usize::MAX } else { 1 });
        let keeps = |b: usize, i: usize| {
            mask.is_none_or(|mask| mask.keeps(b, i, patterns)) && alive.is_none_or(|alive| alive[i])
        };
        let bits = pack(rows.map(|b| (0..patterns).map(move |i| keeps(b, i))));
        self.upload_bits("attractor.mask_rows", &bits, if per_query { patterns.div_ceil(32) } else { 0 })
    }

    /// One bit for each coordinate of queries `part`, set where it is clamped.
    pub fn clamp_bits(&self, clamp: Option<&[bool]>, part: impl Iterator<Item = usize>) -> Result<Option<Bits>> {
        let Some(clamp) = clamp else { return Ok(None) };
        let dim = self.layout.dim;
        let bits = pack(part.map(|b| clamp[b * dim..(b + 1) * dim].iter().copied()));
        self.upload_bits("attractor.clamp_bits", &bits, dim.div_ceil(32))
    }

    fn upload_bits(&self, label: &'static str, words: &[u32], stride: usize) -> Result<Option<Bits>> {
        let buffer = self.context.upload(label, bytemuck::cast_slice(words))?;
        Ok(Some(Bits { words: Binding::from(&buffer), stride: stride as u32 }))
    }
}

/// Packs rows of flags into rows of whole words, the first flag in the lowest bit.
fn pack<R: Iterator<Item = bool>>(rows: impl Iterator<Item = R>) -> Vec<u32> {
    let mut words = Vec::new();
    for row in rows {
        let first = words.len();
        for (i, flag) in row.enumerate() {
            if i % 32 == 0 {
                words.push(0);
            }
            words[first + i / 32] |= u32::from(flag) << (i % 32);
        }
    }
    words
}
