//! Searches: the nearest patterns of each query, without weights and without an update.

pub(crate) mod hits;
pub(crate) mod options;

pub use hits::Hits;
pub use options::SearchOptions;
