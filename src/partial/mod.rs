//! Partial states: the part that some of the patterns have in the answer to one query, so that shards, wherever they
//! are, answer as one memory.

mod codec;
pub(crate) mod merge;
pub(crate) mod options;
pub(crate) mod state;
pub(crate) mod top;

pub use merge::MergedRetrieval;
pub use options::PartialOptions;
pub use state::Partial;
pub use top::TopPattern;
