//! The GPU engine. A retrieval passes `planning` (sizes and a task), `pipeline` (its dispatches, phase by phase),
//! `schedule` (cut by cost, compiled), `encode` (into a compute pass), `submit` or a host's encoder, `readback`, and
//! `answers` (into a [`Retrieval`](crate::Retrieval)). `kernels` has the host side of each shader.

mod answers;
mod batch;
mod buffer;
mod command;
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
mod levels;
pub(crate) mod limits;
mod masks;
pub(crate) mod matrices;
mod module;
pub(crate) mod network;
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
mod search;
pub(crate) mod shader;
mod slots;
mod stored;
mod streaming;
mod submit;
mod sweep;
mod targets;
mod task;
mod timestamps;
mod upload;
mod workspace;

pub(crate) use context::Context;
pub(crate) use engine::Engine;
pub use job::{Job, JobSlice};
pub(crate) use readback::Wait;
pub use targets::{RecordTargets, Rows, SearchTargets, TopRows};
