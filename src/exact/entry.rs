//! A pattern with its score, and the order in which patterns are preferred.

use std::cmp::Ordering;

/// A score and the index of the pattern that it belongs to.
pub(crate) type Entry = (f64, usize);

/// Orders by falling score, ties by rising index.
pub(crate) fn preferred(a: &Entry, b: &Entry) -> Ordering {
    b.0.total_cmp(&a.0).then(a.1.cmp(&b.1))
}

/// Keeps the `k` most preferred entries, in order of preference.
pub(crate) fn keep_best(entries: &mut Vec<Entry>, k: usize) {
    entries.sort_unstable_by(preferred);
    entries.truncate(k);
}
