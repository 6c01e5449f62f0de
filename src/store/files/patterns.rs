//! Patterns to be stored, in files.

use std::ops::Range;

use super::address::Address;
use super::tensor::{Role, Tensor};
use crate::error::Result;
use crate::file_error::unfit;
use crate::patterns::Patterns;

/// Keys in a file, with the values and biases that go with them: what [`Memory::import`](crate::Memory::import) stores.
#[derive(Debug)]
pub struct PatternFiles {
    keys: Tensor,
    values: Option<Tensor>,
    bias: Option<Tensor>,
    dim: usize,
    value_dim: Option<usize>,
    rows: usize,
}

const OPERATION: &str = "PatternFiles::open";

impl PatternFiles {
    /// Keys, `N x d`, at least one of at least one dimension.
    ///
    /// # Errors
    /// As [`Tensor::open`] and [`Tensor::matrix`].
    pub fn open(keys: &Address) -> Result<Self> {
        let keys = Tensor::open(Role::Keys, keys)?;
        let (rows, dim) = keys.matrix()?;
        Ok(Self { keys, values: None, bias: None, dim, value_dim: None, rows })
    }

    /// With values, `N x dv`.
    ///
    /// # Errors
    /// As [`PatternFiles::open`], and where there are not as many as keys.
    pub fn values(mut self, values: &Address) -> Result<Self> {
        let values = Tensor::open(Role::Values, values)?;
        let (rows, columns) = values.matrix()?;
        if rows != self.rows {
            return Err(values.unlike(OPERATION, &self.keys, "as many rows in both"));
        }
        (self.values, self.value_dim) = (Some(values), Some(columns));
        Ok(self)
    }

    /// With biases: `N`, `1 x N` or `N x 1`.
    ///
    /// # Errors
    /// As [`Tensor::open`], and where there are not as many as keys.
    pub fn bias(mut self, bias: &Address) -> Result<Self> {
        let bias = Tensor::open(Role::Bias, bias)?;
        let rows = self.rows;
        if ![&[rows][..], &[1, rows], &[rows, 1]].contains(&bias.shape()) {
            return Err(bias.unlike(OPERATION, &self.keys, &format!("a bias of {rows}, 1 x {rows} or {rows} x 1")));
        }
        self.bias = Some(bias);
        Ok(self)
    }

    /// The keys' tensor.
    pub fn keys(&self) -> &Tensor {
        &self.keys
    }

    /// `N`, the number of patterns.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no patterns, which [`PatternFiles::open`] refuses.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// `d`.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// `dv`, where there are values.
    pub fn value_dim(&self) -> Option<usize> {
        self.value_dim
    }

    /// Whether there are biases.
    pub fn has_bias(&self) -> bool {
        self.bias.is_some()
    }

    /// Refuses patterns that do not fit a memory of `dim`, `value_dim` and, if `bias`, biases.
    pub(crate) fn check(
        &self,
        operation: &'static str,
        dim: usize,
        value_dim: Option<usize>,
        bias: bool,
    ) -> Result<()> {
        let refuse = |tensor: &Tensor, expected: String| {
            let path = tensor.address().path();
            Err(unfit(operation, path, format!("{tensor}: the memory stores {expected}")))
        };
        if self.dim != dim {
            return refuse(&self.keys, format!("keys of N x {dim}"));
        }
        match (&self.values, self.value_dim, value_dim) {
            (Some(values), _, None) => return refuse(values, "keys alone".into()),
            (None, _, Some(columns)) => return refuse(&self.keys, format!("values of N x {columns} beside its keys")),
            (Some(values), got, Some(columns)) if got != Some(columns) => {
                return refuse(values, format!("values of N x {columns}"));
            }
            _ => {}
        }
        match &self.bias {
            Some(given) if !bias => refuse(given, "no bias".into()),
            _ => Ok(()),
        }
    }

    /// Reads the patterns `rows` into `buffers`, which are used again.
    pub(crate) fn read<'b>(&self, rows: Range<usize>, buffers: &'b mut Buffers) -> Result<Patterns<'b>> {
        let Buffers { keys, values, bias } = buffers;
        let read = |tensor: &Tensor, columns: usize, to: &'b mut Vec<f32>| -> Result<&'b [f32]> {
            tensor.read_floats(rows.start * columns..rows.end * columns, to)?;
            Ok(to.as_slice())
        };
        Ok(Patterns {
            keys: read(&self.keys, self.dim, keys)?,
            values: self.values.as_ref().map(|of| read(of, self.value_dim.unwrap_or(0), values)).transpose()?,
            bias: self.bias.as_ref().map(|of| read(of, 1, bias)).transpose()?,
        })
    }
}

/// Numbers of some of the patterns.
#[derive(Debug, Default)]
pub(crate) struct Buffers {
    keys: Vec<f32>,
    values: Vec<f32>,
    bias: Vec<f32>,
}
