//! The files that `attractor retrieve` reads, opened and found to fit together.

use std::ops::Range;

use attractor::files::{PatternFiles, Role, Tensor};
use attractor::{Mask, Rule};

use super::args::RetrieveArgs;
use crate::commands::stored::Stored;
use crate::failure::Failure;

/// The most weights, or flags of a mask, that are in flight at a time: they are as many a query as there are patterns.
pub const WIDE_CHUNK: usize = 1 << 26;

/// What the flags name, opened and found to fit together.
pub struct Inputs {
    pub stored: Stored,
    pub rule: Rule,
    pub queries: Tensor,
    /// `B`.
    pub batch: usize,
    pub mask: Option<Tensor>,
}

impl Inputs {
    pub fn open(args: &RetrieveArgs) -> Result<Self, Failure> {
        let (stored, saved) = match (&args.memory, &args.keys) {
            (Some(path), _) => {
                let saved = Stored::saved(path)?;
                let rule = saved.rule();
                (Stored::Memory(saved.into()), Some(rule))
            }
            (None, Some(keys)) => {
                let mut patterns = PatternFiles::open(keys)?;
                if let Some(values) = &args.values {
                    patterns = patterns.values(values)?;
                }
                if let Some(bias) = &args.bias {
                    patterns = patterns.bias(bias)?;
                }
                (Stored::Tensors(patterns.into()), None)
            }
            // The parser asks for one of them.
            (None, None) => return Err(Failure::Usage("expected --keys or --memory".into())),
        };
        let rule = args.rule(stored.dim(), saved)?;
        let queries = Tensor::open(Role::Queries, &args.queries)?;
        let (batch, columns) = queries.matrix()?;
        if columns != stored.dim() {
            return Err(Failure::Work(format!("{queries}, but {stored}: expected as many columns in both")));
        }
        let mask = args.mask.as_ref().map(|mask| Tensor::open(Role::Mask, mask)).transpose()?;
        let count = stored.positions();
        if let Some(mask) = &mask
            && ![&[count][..], &[batch, count]].contains(&mask.shape())
        {
            return Err(Failure::Work(format!(
                "{mask}, but {stored} and {queries}: expected a mask of {count} or {batch} x {count}"
            )));
        }
        Ok(Self { stored, rule, queries, batch, mask })
    }

    /// The mask over queries `part`, where there is one.
    pub fn mask(&self, part: Range<usize>) -> Result<Option<Mask>, Failure> {
        let patterns = self.stored.positions();
        let Some(mask) = &self.mask else { return Ok(None) };
        let keep = |elements: Range<usize>| -> Result<Vec<bool>, Failure> {
            Ok(mask.flags(elements)?.iter().map(|flag| *flag != 0).collect())
        };
        Ok(Some(match self.mask_per_query() {
            true => Mask::keep_per_query(&keep(part.start * patterns..part.end * patterns)?),
            false => Mask::keep(&keep(0..patterns)?),
        }))
    }

    /// Refuses a mask with a wrong flag before anything is stored.
    pub fn check_mask(&self) -> Result<(), Failure> {
        let Some(mask) = &self.mask else { return Ok(()) };
        for start in (0..mask.len()).step_by(WIDE_CHUNK) {
            mask.flags(start..mask.len().min(start + WIDE_CHUNK))?;
        }
        Ok(())
    }

    pub fn mask_per_query(&self) -> bool {
        self.mask.as_ref().is_some_and(|mask| mask.shape().len() == 2)
    }
}
