//! All that tasks do as one iterator of dispatches, phase by phase and chunk by chunk, with pauses for the host where
//! rows stream.

use std::collections::VecDeque;
use std::iter::empty;

use super::{Item, Listing, Phase, phases};
use crate::gpu::command::{Command, Pause};
use crate::gpu::dispatch::Dispatch;
use crate::gpu::operands::QueryBlock;
use crate::gpu::patterns::{Loaded, Wanted};
use crate::gpu::sweep::Sweep;
use crate::gpu::task::Task;

/// The dispatches of tasks, in order.
pub(crate) struct Dispatches {
    /// Those that are not under way yet.
    tasks: Box<dyn Iterator<Item = Task> + Send + Sync>,
    task: Option<Task>,
    /// Phases of the task that are not listed yet, once it is under way.
    phases: Option<Box<dyn Iterator<Item = (QueryBlock, Phase)> + Send + Sync>>,
    /// Items of the latest phase.
    items: VecDeque<Item>,
    /// The sweep that is under way, the position that it has come to, and how many chunks came before.
    sweep: Option<(Sweep, usize, u32)>,
    /// Dispatches of its latest chunk, or the one that a load is for.
    listed: VecDeque<Dispatch>,
    loaded: Loaded,
    /// How often lists were read back.
    lists: u32,
}

impl Default for Dispatches {
    fn default() -> Self {
        Self::new(empty())
    }
}

impl Dispatches {
    pub fn new(tasks: impl IntoIterator<Item = Task, IntoIter: Send + Sync + 'static>) -> Self {
        Self {
            tasks: Box::new(tasks.into_iter()),
            task: None,
            phases: None,
            items: VecDeque::new(),
            sweep: None,
            listed: VecDeque::new(),
            loaded: Loaded::default(),
            lists: 0,
        }
    }

    /// Skips what the list that was last asked for allows, where it is empty.
    pub fn skip_to_end(&mut self) {
        let mut open = 1;
        while open > 0 {
            match self.items.pop_front() {
                Some(Item::Unless { .. }) => open += 1,
                Some(Item::End) => open -= 1,
                Some(_) => {}
                None => return,
            }
        }
    }
}

impl Iterator for Dispatches {
    type Item = Command;

    fn next(&mut self) -> Option<Command> {
        loop {
            if let Some(dispatch) = self.listed.pop_front() {
                return Some(Command::Dispatch(dispatch));
            }
            let task = match &self.task {
                Some(task) => task,
                None => self.task.insert(self.tasks.next()?),
            };
            if let Some((sweep, position, number)) = &mut self.sweep {
                let window = task.window_from(*position);
                match task.chunk_from(*position, *number, sweep.plan(task)) {
                    Some(chunk) => {
                        *position = (chunk.window_first + chunk.first_row + chunk.count) as usize;
                        *number += 1;
                        sweep.list(task, &chunk, &mut self.listed);
                        let need = |window| self.loaded.need(window, Wanted::All, sweep.sides());
                        if let Some(load) = window.and_then(need) {
                            return Some(Command::Pause(Pause::Load(load)));
                        }
                    }
                    None => self.sweep = None,
                }
                continue;
            }
            match self.items.pop_front() {
                Some(Item::One(dispatch)) => return Some(Command::Dispatch(dispatch)),
                Some(Item::OfWindow(window, sides, dispatch)) => {
                    self.listed.push_back(dispatch);
                    if let Some(load) = self.loaded.need(&window, Wanted::Listed(self.lists), sides) {
                        return Some(Command::Pause(Pause::Load(load)));
                    }
                }
                Some(Item::Lists(lists, queries)) => {
                    self.lists += 1;
                    return Some(Command::Pause(Pause::Lists(lists, queries)));
                }
                Some(Item::Unless { list, rare }) => {
                    return Some(Command::Pause(Pause::Unless { list, rare }));
                }
                Some(Item::End) => {}
                Some(Item::Sweep(sweep)) => self.sweep = Some((sweep, task.range.start, 0)),
                None => match self.phases.get_or_insert_with(|| Box::new(phases(task))).next() {
                    Some((block, phase)) => Listing::of(task, block, phase, &mut self.items),
                    None => {
                        self.phases = None;
                        self.task = None;
                    }
                },
            }
        }
    }
}
