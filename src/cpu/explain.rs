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
        let plan = Plan::new(self.view(options, None), options.plan_for.unwrap_or(batch));
        let patterns = plan.view.usable.patterns;
        let rows_per_split = patterns.div_ceil(plan.splits).next_multiple_of(TILE);
        let list_bytes = batch.min(CONCURRENT_LISTS) * plan.splits * plan.list_entries * size_of::<Entry>();
        Explanation {
            device,
            batch,
            patterns,
            tuning: String::new(),
            strategy: "scan: blocks of queries over splits of the patterns, both in parallel, tile by tile",
            query_block: plan.block,
            chunk: TILE,
            rows_per_split,
            splits: plan.splits,
            windows: self.windows.filled().count(),
            submissions: 0,
            workspace_bytes: list_bytes as u64,
            streamed_bytes: 0,
            kernels: Vec::new(),
        }
    }
}
