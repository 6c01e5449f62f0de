//! Retrievals on the threads of `rayon`, for callers that do not wait.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures::channel::oneshot;

use crate::answer::Answer;
use crate::cpu::engine::Engine;
use crate::error::{Error, Result};
use crate::partial::options::PartialOptions;
use crate::partial::state::Partial;
use crate::retrieval::options::RetrieveOptions;
use crate::retrieval::report::Retrieval;
use crate::room::copy;
use crate::search::{Hits, SearchOptions};
use crate::store::View;

impl Engine {
    /// [`Engine::retrieve`] in the background.
    pub fn begin(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &RetrieveOptions,
        view: View,
    ) -> Result<Answer<Retrieval>> {
        let options = options.try_clone(operation)?;
        let compute = move |engine: &Self, queries: &[f32]| engine.retrieve(operation, queries, &options, &view);
        self.in_background(operation, queries, compute)
    }

    /// [`Engine::search`] in the background.
    pub fn begin_search(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: SearchOptions,
        view: View,
    ) -> Result<Answer<Hits>> {
        let compute = move |engine: &Self, queries: &[f32]| engine.search(operation, queries, &options, &view);
        self.in_background(operation, queries, compute)
    }

    /// [`Engine::partials`] in the background.
    pub fn begin_partials(
        &self,
        operation: &'static str,
        queries: &[f32],
        options: &PartialOptions,
        view: View,
    ) -> Result<Answer<Vec<Partial>>> {
        let options = options.clone();
        let compute = move |engine: &Self, queries: &[f32]| engine.partials(operation, queries, &options, view.alive());
        self.in_background(operation, queries, compute)
    }

    /// Runs `compute` on the threads of `rayon`. Called on one of these threads, it computes before it returns: if all
    /// of them waited, none would be left to compute. Without threads, as in a browser, `rayon` computes on the calling
    /// thread.
    fn in_background<T: Send + Sync + 'static>(
        &self,
        operation: &'static str,
        queries: &[f32],
        compute: impl FnOnce(&Self, &[f32]) -> Result<T> + Send + 'static,
    ) -> Result<Answer<T>> {
        if is_on_pool() {
            return Ok(Answer::ready(compute(self, queries)?));
        }
        let (engine, queries) = (self.clone(), copy(operation, "queries", queries)?);
        Ok(spawned(operation, move || compute(&engine, &queries)))
    }
}

/// Runs `compute` on the threads of `rayon`, as [`Engine::in_background`] does.
pub(super) fn in_background<T: Send + Sync + 'static>(
    operation: &'static str,
    compute: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<Answer<T>> {
    if is_on_pool() { Ok(Answer::ready(compute()?)) } else { Ok(spawned(operation, compute)) }
}

/// Whether this is one of the threads that compute.
fn is_on_pool() -> bool {
    // Starts the pool, which `current_thread_index` depends on.
    let _ = rayon::current_num_threads();
    rayon::current_thread_index().is_some()
}

fn spawned<T: Send + Sync + 'static>(
    operation: &'static str,
    compute: impl FnOnce() -> Result<T> + Send + 'static,
) -> Answer<T> {
    let (sender, receiver) = oneshot::channel();
    rayon::spawn(move || {
        // The answer was dropped before it was computed.
        if sender.is_canceled() {
            return;
        }
        // A panic that leaves a spawned closure aborts the process. Nothing that it leaves unfinished is used
        // again, and the dropped sender reports the failure.
        if let Ok(answer) = catch_unwind(AssertUnwindSafe(compute)) {
            let _ = sender.send(answer);
        }
    });
    let lost = move |_| Error::Internal { operation, message: "its thread panicked".into() };
    Answer::new(async move { receiver.await.map_err(lost)? })
}
