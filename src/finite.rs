//! Whether rows are finite, or bipolar, and which element is not.

use rayon::prelude::*;

use crate::error::{Error, Result};

/// Floats checked by one loop without an exit, which compiles to vector code.
const CHUNK: usize = 1024;
/// Floats below which one thread checks all.
const PARALLEL_MIN: usize = 1 << 16;

/// Whether no value is NaN or infinite.
#[inline(always)]
#[allow(clippy::inline_always, reason = "vector code where the caller is")]
pub(crate) fn all_finite(values: &[f32]) -> bool {
    // A finite number times zero is a zero, and everything else is NaN, in every lane of a vector.
    let mut lanes = [0.0f32; 16];
    let (whole, rest) = values.as_chunks::<16>();
    for values in whole {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value * 0.0;
        }
    }
    lanes.iter().chain(rest).all(|v| v.is_finite())
}

/// Refuses `values` (row-major, `columns` wide) if any is NaN or infinite, naming the first.
pub(crate) fn check_finite(operation: &'static str, what: &'static str, values: &[f32], columns: usize) -> Result<()> {
    if values.len() > PARALLEL_MIN && values.par_chunks(PARALLEL_MIN).all(all_finite) {
        return Ok(());
    }
    for (i, part) in values.chunks(CHUNK).enumerate() {
        if all_finite(part) {
            continue;
        }
        for (j, value) in part.iter().copied().enumerate() {
            let at = i * CHUNK + j;
            if !value.is_finite() {
                return Err(Error::NotFinite { operation, what, row: at / columns, column: at % columns, value });
            }
        }
    }
    Ok(())
}

/// Refuses rows with a coordinate other than 1 and -1, naming the first; `first` is the row of the input that they begin
/// with.
pub(crate) fn check_bipolar(
    operation: &'static str,
    what: &'static str,
    values: &[f32],
    columns: usize,
    first: usize,
) -> Result<()> {
    match values.iter().position(|value| value.abs() != 1.0) {
        None => Ok(()),
        Some(at) => Err(Error::Range {
            operation,
            what,
            row: first + at / columns,
            expected: "coordinates of 1 and -1, without which self-couplings cannot be taken away".into(),
            got: format!("column {} is {}", at % columns, values[at]),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_that_is_not_finite_is_named() {
        let mut values = vec![0.0f32; 7 * 1000];
        assert!(check_finite("test", "keys", &values, 7).is_ok());
        for at in [6999, 5000, 1024, 1023, 0] {
            values[at] = f32::NEG_INFINITY;
            let error = check_finite("test", "keys", &values, 7).unwrap_err();
            let named = matches!(error, Error::NotFinite { row, column, .. } if (row, column) == (at / 7, at % 7));
            assert!(named, "{error} for element {at}");
        }
    }
}
