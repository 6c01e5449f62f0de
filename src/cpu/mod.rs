//! The native engine: `f32`, every core, tiled and online like the shaders. It serves the same API where there is no
//! GPU, and it shares no code with the reference that judges it.
//!
//! Patterns are scanned with `f32` products in the widest vectors of the processor. Rules that give weight to few patterns keep those that the rounding of the
//! scan cannot rule out, score them again in `f64` and solve exactly; whatever does not fit a bounded list is computed by
//! further passes over the patterns instead. So memory is bounded and nothing is ever truncated.

mod aligned;
mod answers;
mod energy;
mod merge;
mod partial;
mod peak;
mod product;
mod projection;
mod report;
mod retrieve;
mod rows;
mod scan;
mod separation;
mod simd;
mod similarity;
mod softmax_step;
mod stages;
mod stored;
mod tiles;
mod transpose;
mod uninit;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures::channel::oneshot;

use crate::answer::Answer;
use crate::error::{Error, Result};
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Retrieval;
use crate::room::{copy, copy_first, zeros};
use crate::rule::Rule;
use crate::store::{Growth, Layout, NewRows, Pattern, View, Windows, stride};
pub(crate) use partial::{Scorer, weights};
use rows::Rows;

/// What the project's benches reach for.
pub mod internals {
    pub use super::peak::{Reads, multiply_adds};
    pub use super::stages::Stages;
}

/// What one window stores of its rows.
#[derive(Debug)]
struct RowBlock {
    keys: Rows,
    values: Option<Rows>,
    bias: Vec<f32>,
    /// `|k|` of each key as it is stored: for cosine, for bounds on rounding and for energies.
    norms: Vec<f64>,
}

impl RowBlock {
    fn allocate(operation: &'static str, rows: usize, layout: Layout) -> Result<Self> {
        let values = |columns| Rows::allocate(operation, layout.precision, rows, columns);
        Ok(Self {
            keys: Rows::allocate(operation, layout.precision, rows, layout.dim)?,
            values: layout.value_dim.map(values).transpose()?,
            bias: zeros(operation, "bias", rows)?,
            norms: zeros(operation, "norms", rows)?,
        })
    }

    /// The block to be written to, of which the first `used` rows matter: a copy where a retrieval reads it.
    fn own<'a>(operation: &'static str, of: &'a mut Arc<Self>, used: usize, layout: Layout) -> Result<&'a mut Self> {
        if Arc::get_mut(of).is_none() {
            *of = Arc::new(Self {
                keys: of.keys.try_clone(operation, used, layout.dim)?,
                values: match (&of.values, layout.value_dim) {
                    (Some(values), Some(columns)) => Some(values.try_clone(operation, used, columns)?),
                    _ => None,
                },
                bias: copy_first(operation, "bias", &of.bias, used)?,
                norms: copy_first(operation, "norms", &of.norms, used)?,
            });
        }
        Ok(Arc::get_mut(of).expect("it was just made"))
    }

    /// Stores checked rows from row `at` on.
    fn store(&mut self, at: usize, rows: &NewRows<'_>, layout: Layout) {
        let count = rows.keys.len() / layout.dim;
        self.keys.store(at, rows.keys, layout.dim);
        if let (Some(to), Some(values), Some(columns)) = (&mut self.values, rows.values, layout.value_dim) {
            to.store(at, values, columns);
        }
        match rows.bias {
            Some(bias) => self.bias[at..at + count].copy_from_slice(bias),
            None => self.bias[at..at + count].fill(0.0),
        }
        self.measure(at, count, layout);
    }

    /// Brings the norms of `count` keys from row `at` on up to date.
    fn measure(&mut self, at: usize, count: usize, layout: Layout) {
        let mut scratch = Vec::new();
        for row in at..at + count {
            let key = self.keys.load(row, 1, layout.key_stride(), &mut scratch);
            self.norms[row] = key.iter().map(|k| f64::from(*k) * f64::from(*k)).sum::<f64>().sqrt();
        }
    }
}

/// Patterns in host memory and what retrieves from them. A clone shares the blocks of rows: a retrieval that is under way
/// has one, and a block that it goes through is copied before it is written.
#[derive(Clone, Debug)]
pub(crate) struct Engine {
    layout: Layout,
    rule: Rule,
    windows: Windows<Arc<RowBlock>>,
}

impl Engine {
    pub fn new(layout: Layout, rule: Rule) -> Self {
        Self { layout, rule, windows: Windows::new(layout.max_rows) }
    }

    pub fn capacity(&self) -> usize {
        self.windows.capacity()
    }

    pub fn clear(&mut self) {
        self.windows.clear();
    }

    pub fn reserve(&mut self, additional: usize, growth: Growth) -> Result<()> {
        let layout = self.layout;
        self.windows
            .reserve(additional, growth, |rows| Ok(Arc::new(RowBlock::allocate("Memory::reserve", rows, layout)?)))
    }

    /// Stores rows whose shapes and finiteness have been checked and for which there is room.
    pub fn add(&mut self, rows: &NewRows<'_>) -> Result<()> {
        let layout = self.layout;
        self.windows.fill(rows.keys.len() / layout.dim, |block, at, range| {
            let part = rows.slice(range, layout.dim, layout.value_dim);
            RowBlock::own("Memory::add", block, at, layout)?.store(at, &part, layout);
            Ok(())
        })
    }

    /// Replaces the pattern at `position`, which is stored, by one checked row. On an error it is as it was.
    pub fn overwrite(&mut self, position: usize, row: &NewRows<'_>) -> Result<()> {
        let layout = self.layout;
        let end = self.windows.end(position);
        let (block, at) = self.windows.row_mut(position);
        RowBlock::own("Memory::update", block, end - (position - at), layout)?.store(at, row, layout);
        Ok(())
    }

    /// [`Engine::retrieve`] on the threads of `rayon`. On one of these it is computed at once: were they all to wait,
    /// none would be left to answer. Where there are no threads, as in a browser, `rayon` makes do with the one that
    /// first asks for its pool.
    pub fn begin(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        view: View,
    ) -> Result<Answer<Retrieval>> {
        // Starts the pool, so that `current_thread_index` knows its threads.
        let _ = rayon::current_num_threads();
        if rayon::current_thread_index().is_some() {
            let answer = self.retrieve(operation, queries, options, &view)?;
            return Ok(Answer::ready(answer));
        }
        let (sender, receiver) = oneshot::channel();
        let (engine, queries) = (self.clone(), copy(operation, "queries", queries)?);
        let options = options.try_clone(operation)?;
        rayon::spawn(move || {
            // Nobody listens any more where the answer was dropped; then it need not be computed either.
            if sender.is_canceled() {
                return;
            }
            // A panic that leaves a spawned closure ends the process. Nothing that it leaves half-done is seen again, and
            // the sender that is dropped says that there is no answer.
            let answer = catch_unwind(AssertUnwindSafe(|| engine.retrieve(operation, &queries, &options, &view)));
            if let Ok(answer) = answer {
                let _ = sender.send(answer);
            }
        });
        let lost = move |_| Error::Lost { operation, message: "its thread panicked".into() };
        Ok(Answer::new(async move { receiver.await.map_err(lost)? }))
    }

    /// The pattern at `position`, which is stored, as its precision has it.
    pub fn read(&self, position: usize) -> Pattern {
        let (block, at) = self.windows.row(position);
        let mut scratch = Vec::new();
        let mut row = |rows: &Rows, columns: usize| rows.load(at, 1, stride(columns), &mut scratch)[..columns].to_vec();
        Pattern {
            key: row(&block.keys, self.layout.dim),
            value: block.values.as_ref().zip(self.layout.value_dim).map(|(values, columns)| row(values, columns)),
            bias: block.bias[at],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::precision::Precision;

    #[test]
    fn rows_are_read_back_and_overwritten_in_any_window() {
        for precision in [Precision::F32, Precision::F16, Precision::I8] {
            let layout = Layout { dim: 3, value_dim: Some(2), precision, bias: true, max_rows: 4 };
            let mut engine = Engine::new(layout, Rule::softmax(1.0));
            let keys: Vec<f32> = (0..30).map(|i| i as f32).collect();
            let values: Vec<f32> = (0..20).map(|i| -(i as f32)).collect();
            let bias: Vec<f32> = (0..10).map(|i| i as f32 / 2.0).collect();
            engine.reserve(10, Growth::Doubling).unwrap();
            engine.add(&NewRows { keys: &keys, values: Some(&values), bias: Some(&bias) }).unwrap();
            let row = engine.read(9);
            assert_eq!((row.bias, row.key[2]), (4.5, 29.0));
            assert!((row.value.unwrap()[0] + 18.0).abs() < 0.2);
            let row = NewRows { keys: &[1.0, 0.0, -1.0], values: Some(&[2.0, 2.0]), bias: None };
            // A clone sees what was there when it was made.
            let (before, held) = (engine.read(5), engine.clone());
            engine.overwrite(5, &row).unwrap();
            assert_eq!(held.read(5), before, "{precision:?}");
            let expected = Pattern { key: vec![1.0, 0.0, -1.0], value: Some(vec![2.0, 2.0]), bias: 0.0 };
            assert_eq!(engine.read(5), expected, "{precision:?}");
            assert_eq!(engine.read(4).bias, 2.0, "its neighbour is as it was");
            assert_eq!(engine.read(6).bias, 3.0);
        }
    }
}
