//! Retrievals: what is asked for, and what is reported.

mod assemble;
pub(crate) mod bound;
pub(crate) mod network;
pub(crate) mod options;
pub(crate) mod per_query;
mod query_options;
pub(crate) mod report;
pub(crate) mod top;
pub(crate) mod weight_queries;

pub use options::{DEFAULT_TOLERANCE, RetrieveOptions, Stop, WeightsOf};
pub use report::{FixedPoint, Retrieval, Statistics, Status, Top};
pub use top::MAX_TOP;
