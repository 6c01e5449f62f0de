//! Progress bars: on standard error, where that is a terminal, and nowhere else.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over `len` items. `indicatif` hides it where standard error is not a terminal.
pub fn bar(len: usize, what: &'static str) -> ProgressBar {
    let bar = ProgressBar::new(len as u64).with_message(what);
    match ProgressStyle::with_template("{msg:>10} {bar:40} {pos}/{len} {eta}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
