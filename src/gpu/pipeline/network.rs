//! What the tasks of a network do.

use super::Listing;
use crate::gpu::kernels::rows::find_cycles::{self, Compared};
use crate::gpu::kernels::rows::write_rows::SourceRows;
use crate::gpu::kernels::rows::{bind_vectors, compact_queries, copy_states, load_queries};
use crate::gpu::kernels::staged::update_states;
use crate::gpu::operands::Sums;
use crate::gpu::task::{NetworkPart, NetworkUpdate};
use crate::rule::Next;

impl Listing<'_> {
    pub(super) fn network(&mut self, part: &NetworkPart) {
        let (task, workspace) = (self.task, &self.task.operands.workspace);
        match part {
            NetworkPart::Load { rows, further, lists } => {
                self.one(load_queries::dispatch(&self.pass, rows, *further));
                if *lists {
                    for list in [&workspace.everyone, &workspace.active] {
                        self.one(compact_queries::dispatch(&self.pass, None, 0, list, &workspace.searched));
                    }
                }
            }
            NetworkPart::Update(update) => self.network_update(update),
            NetworkPart::Answer { rows } => {
                self.write(SourceRows::padded(&workspace.state, task.operands.layout.dim as u32), rows);
            }
            NetworkPart::Report { rows } => {
                self.write(SourceRows::padded(&workspace.report, update_states::REPORT_WORDS), rows);
            }
        }
    }

    /// One update of the queries that go on: from the product of its factors.
    fn network_update(&mut self, update: &NetworkUpdate) {
        let (operands, workspace) = (&self.task.operands, &self.task.operands.workspace);
        let active = &workspace.active;
        self.pass.step = update.step;
        self.pass.data_dependent = self.task.operands.stops_early && update.step > 1;
        if update.first {
            if self.pass.data_dependent {
                let stopped = update_states::STOPPED;
                self.one(compact_queries::dispatch(&self.pass, None, stopped, active, &workspace.searched));
            }
            for (from, to) in &update.copied {
                self.one(copy_states::dispatch(&self.pass, active, from, to, false));
            }
        }
        let product = (&update.factors[..], update.complex);
        for dispatch in bind_vectors::dispatches(&self.pass, active, &update.vectors, product, &workspace.previous) {
            self.one(dispatch);
        }
        let compared = self.compared(active, &workspace.previous);
        let sums = match operands.rule.update.next {
            Next::Keys => Sums { keys: operands.problem.key_vectors, values: 0 },
            Next::Values => Sums { keys: 0, values: operands.problem.value_vectors },
        };
        self.recall(&compared, sums, update.step, (None, false));
        for (number, (state, saved)) in update.compared.iter().enumerate() {
            let (is_first, is_last) = (number == 0, number + 1 == update.compared.len());
            let compared = Compared { state, saved, is_first, is_last };
            self.one(find_cycles::dispatch(&self.pass, active, compared, self.task.max_steps));
        }
    }
}
