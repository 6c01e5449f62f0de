//! What a retrieval on the CPU engine would do.

use crate::cpu::engine::Engine;
use crate::cpu::plan::{CONCURRENT_LISTS, Plan};
use crate::cpu::tiles::TILE;
use crate::device::info::DeviceInfo;
use crate::exact::entry::Entry;
use crate::explain::Explanation;
use crate::retrieval::options::RetrieveOptions;

impl Engine {
    /// Explains a retrieval of `batch` queries, at least one.
    pub fn explain(&self, batch: usize, options: &RetrieveOptions, device: DeviceInfo) -> Explanation {
        Plan::new(self.view(options, None), options.plan_for.unwrap_or(batch)).explain(batch, device)
    }
}

impl Plan<'_> {
    /// Explains what this plan does with `batch` queries.
    pub fn explain(&self, batch: usize, device: DeviceInfo) -> Explanation {
        let patterns = self.view.usable.patterns;
        let rows_per_split = patterns.div_ceil(self.splits).next_multiple_of(TILE);
        let list_bytes = batch.min(CONCURRENT_LISTS) * self.splits * self.list_entries * size_of::<Entry>();
        Explanation {
            device,
            batch,
            patterns,
            tuning: String::new(),
            strategy: "scan: blocks of queries over splits of the patterns, both in parallel, tile by tile",
            query_block: self.block,
            chunk: TILE,
            rows_per_split,
            splits: self.splits,
            windows: self.view.engine.windows.filled().count(),
            submissions: 0,
            workspace_bytes: list_bytes as u64,
            streamed_bytes: 0,
            kernels: Vec::new(),
        }
    }
}
