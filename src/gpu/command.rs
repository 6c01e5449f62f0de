//! What a task comes to, one after the other: dispatches, and what the host does between them where rows stream.

use super::buffer::Binding;
use super::dispatch::Dispatch;
use super::patterns::Load;
use super::workspace::CandidateLists;

/// What is done next.
#[derive(Debug)]
pub(crate) enum Command {
    Dispatch(Dispatch),
    Pause(Pause),
}

/// What the host does between dispatches of a task whose rows stream.
#[derive(Debug)]
pub(crate) enum Pause {
    /// Rows go into a slot.
    Load(Load),
    /// A list of queries is read back: what follows is skipped where it is empty, so that rows are not loaded in vain.
    /// It is empty as a rule where it is `rare`.
    Unless { list: Binding, rare: bool },
    /// The lists of so many queries are read back: of what follows, only the patterns that they name are loaded.
    Lists(CandidateLists, u32),
}
