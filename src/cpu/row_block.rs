//! The rows of one window in host memory or in a file: keys, values, biases and the norms of the keys.

use std::sync::Arc;

use crate::cpu::bounds::levels::Levels;
use crate::cpu::rows::Rows;
use crate::error::Result;
use crate::exact::scores::key_norm;
use crate::room::{copy_first, zeros};
use crate::rule::Similarity;
use crate::store::{EncodedRows, Layout, NewRows, RowSources};

/// The rows of one window.
#[derive(Debug)]
pub(super) struct RowBlock {
    pub keys: Rows,
    /// The keys in 8 bits, where the precision has them beside the rows and the similarity has bounds from them.
    pub levels: Option<Levels>,
    pub values: Option<Rows>,
    pub bias: Vec<f32>,
    /// `|k|` of each stored key: for cosine, for error bounds and for energies.
    pub norms: Vec<f64>,
}

impl RowBlock {
    /// `rows` rows of zeros, whose keys are compared by `similarity`.
    pub fn allocate(operation: &'static str, rows: usize, layout: Layout, similarity: Similarity) -> Result<Self> {
        let allocate = |columns| Rows::allocate(operation, layout.precision, rows, columns);
        Self::of(
            operation,
            rows,
            layout,
            similarity,
            allocate(layout.dim)?,
            layout.value_dim.map(allocate).transpose()?,
        )
    }

    /// `rows` rows that `sources` has from row `first` on. What follows from them is stored with them.
    pub fn sourced(
        operation: &'static str,
        rows: usize,
        layout: Layout,
        similarity: Similarity,
        (sources, first): (&RowSources, usize),
    ) -> Result<Self> {
        let sourced = |source| Rows::sourced(operation, layout.precision, rows, (source, first));
        let values = sources.values.as_ref().map(sourced).transpose()?;
        Self::of(operation, rows, layout, similarity, sourced(&sources.keys)?, values)
    }

    fn of(
        operation: &'static str,
        rows: usize,
        layout: Layout,
        similarity: Similarity,
        keys: Rows,
        values: Option<Rows>,
    ) -> Result<Self> {
        let levels = layout.keeps_levels(similarity).then(|| Levels::allocate(operation, rows, layout.dim, similarity));
        Ok(Self {
            keys,
            levels: levels.transpose()?,
            values,
            bias: zeros(operation, "bias", rows)?,
            norms: zeros(operation, "norms", rows)?,
        })
    }

    /// The block, to be written to: a copy of its first `used` rows if a running retrieval shares it.
    pub fn own<'a>(
        operation: &'static str,
        of: &'a mut Arc<Self>,
        used: usize,
        layout: Layout,
    ) -> Result<&'a mut Self> {
        if Arc::get_mut(of).is_none() {
            *of = Arc::new(Self {
                keys: of.keys.try_clone(operation, used, layout.dim)?,
                levels: of.levels.as_ref().map(|levels| levels.try_clone(operation, used)).transpose()?,
                values: match (&of.values, layout.value_dim) {
                    (Some(values), Some(columns)) => Some(values.try_clone(operation, used, columns)?),
                    _ => None,
                },
                bias: copy_first(operation, "bias", &of.bias, used)?,
                norms: copy_first(operation, "norms", &of.norms, used)?,
            });
        }
        Ok(Arc::get_mut(of).expect("a new block is not shared"))
    }

    /// Stores checked rows from row `at` on.
    pub fn store(&mut self, at: usize, rows: &NewRows<'_>, layout: Layout) {
        let count = rows.keys.len() / layout.dim;
        self.keys.store(at, rows.keys, layout.dim);
        if let (Some(to), Some(values), Some(columns)) = (&mut self.values, rows.values, layout.value_dim) {
            to.store(at, values, columns);
        }
        match rows.bias {
            Some(bias) => self.bias[at..at + count].copy_from_slice(bias),
            None => self.bias[at..at + count].fill(0.0),
        }
        self.derive(at, count, layout);
    }

    /// Computes what follows from `count` keys from row `at` on: their norms, and their levels where there are some.
    fn derive(&mut self, at: usize, count: usize, layout: Layout) {
        let mut scratch = Vec::new();
        for row in at..at + count {
            let key = self.keys.load(row, 1, layout.key_stride(), &mut scratch);
            self.norms[row] = key_norm(key);
        }
        if let Some(levels) = &mut self.levels {
            let keys = self.keys.load(at, count, layout.key_stride(), &mut scratch);
            levels.store(at, keys, (layout.dim, layout.key_stride()), &self.norms[at..at + count]);
        }
    }

    /// Stores encoded rows from row `at` on.
    pub fn store_encoded(&mut self, at: usize, rows: &EncodedRows<'_>, layout: Layout) {
        self.keys.store_encoded(at, &rows.keys, layout.dim);
        if let (Some(to), Some(values), Some(columns)) = (&mut self.values, &rows.values, layout.value_dim) {
            to.store_encoded(at, values, columns);
        }
        match &rows.bias {
            Some(bias) => self.bias[at..at + rows.count].copy_from_slice(bias),
            None => self.bias[at..at + rows.count].fill(0.0),
        }
        self.derive(at, rows.count, layout);
    }
}
