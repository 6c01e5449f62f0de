//! The WGSL engine. `plan` chooses sizes, `retrieve` is the pipeline as a list of dispatches, `dispatch` says what each
//! binds, `record` encodes them, `answers` turns what comes back into a [`Retrieval`](crate::Retrieval); each stage's
//! host file shares its stem with a shader. `shader` links texts, `kernel` compiles them.

mod answers;
mod batch;
mod buffer;
mod context;
mod deferred_errors;
mod dispatch;
mod encode;
mod engine;
mod estimate;
mod explain;
mod handles;
mod job;
pub(crate) mod kernel;
pub(crate) mod kernels;
pub(crate) mod limits;
mod masks;
pub(crate) mod matrices;
mod module;
mod operands;
mod partial;
mod patterns;
mod pipeline;
mod pipeline_cache;
pub(crate) mod pipelines;
pub(crate) mod plan;
mod planning;
mod poller;
mod quirks;
mod range;
mod rate;
mod read;
mod readback;
mod recording;
mod schedule;
pub(crate) mod shader;
mod stored;
mod submit;
mod sweep;
mod targets;
mod task;
mod timestamps;
mod upload;
mod workspace;

pub(crate) use context::Context;
pub(crate) use engine::Engine;
pub use job::{Job, Slice};
pub(crate) use readback::Wait;
pub use targets::{Recording, Rows};
