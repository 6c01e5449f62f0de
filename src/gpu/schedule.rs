//! A cursor over the dispatches of retrievals that cuts them by cost: into submissions of this library's own, slices of
//! a job, one recording, or a count for `explain`. What was handed out is compiled, what was not costs nothing yet.

use std::sync::Arc;

use super::buffer::Binding;
use super::command::{Command, Pause};
use super::context::Context;
use super::dispatch::Dispatch;
use super::handles::Handles;
use super::patterns::{Load, Wanted};
use super::pipeline::walk::Dispatches;
use super::pipelines::Pipeline;
use super::shader::Constant;
use super::task::Task;
use crate::error::Result;
use crate::explain::KernelWork;

/// The most dispatches of one piece: a hundred iterations of a network are a few thousand, and the parameters of a
/// piece a megabyte at most.
const MAX_PIECE: usize = 4096;

/// A dispatch that is ready to be encoded: workgroups `base .. base + grid` of a kernel's grid.
pub(crate) struct Compiled {
    pub pipeline: Arc<Pipeline>,
    pub storage: Vec<Binding>,
    pub params: Vec<u8>,
    pub grid: [u32; 3],
    /// What it is expected to take, in seconds.
    pub estimate: f64,
    /// Whether it may do less than that, depending on data.
    pub data_dependent: bool,
}

/// Dispatches that are still to be run, in order.
pub(crate) struct Schedule {
    context: Arc<Context>,
    /// A constant of a kernel that is set to show that a wrong kernel is caught.
    fault: Option<(&'static str, Constant)>,
    rest: Dispatches,
    /// The dispatch that is cut next, and how many of its workgroups were handed out.
    current: Option<Dispatch>,
    done: u64,
    /// What the host has to do before the next dispatch.
    pause: Option<Pause>,
}

/// What a schedule comes to.
pub(crate) struct Counted {
    /// The work by kernel and setting.
    pub kernels: Vec<KernelWork>,
    /// Pieces of the budget.
    pub pieces: usize,
    /// Keys and values that are loaded, but those of which lists tell.
    pub loaded: [u64; 2],
}

/// What is handed out at once.
struct Piece {
    budget: f64,
    /// What it is expected to take so far, in seconds.
    estimate: f64,
    dispatches: usize,
}

/// Some of a dispatch's workgroups.
struct Part {
    base: [u32; 3],
    size: [u32; 3],
    estimate: f64,
}

impl Part {
    fn workgroups(&self) -> u64 {
        self.size.into_iter().map(u64::from).product()
    }
}

/// The next box of at most `most` workgroups of `grid` from the `done`-th on, in the order x, y, z: its base and size.
/// Whole rows and planes where they fit.
fn next_box(grid: [u32; 3], done: u64, most: u64) -> ([u32; 3], [u32; 3]) {
    let [x, y, z] = grid.map(u64::from);
    let at = [done % x, done / x % y, done / (x * y)];
    let size = if at[0] == 0 && at[1] == 0 && most >= x * y {
        [x, y, (most / (x * y)).min(z - at[2])]
    } else if at[0] == 0 && most >= x {
        [x, (most / x).min(y - at[1]), 1]
    } else {
        [most.clamp(1, x - at[0]), 1, 1]
    };
    (at.map(|v| v as u32), size.map(|v| v as u32))
}

impl Piece {
    /// What the piece has room for of `dispatch`, from workgroup `done` on, if anything. No part takes longer than
    /// `bound` or than a whole budget, as far as workgroups can be told apart.
    fn cut(&self, dispatch: &Dispatch, done: u64, rate: f64, overhead: f64, bound: f64) -> Option<Part> {
        let workgroups = dispatch.workgroups();
        let each = dispatch.work.units() * rate / workgroups as f64;
        let left = bound.min(self.budget - self.estimate) - overhead;
        let most = (left / each).max(0.0) as u64;
        // Something has to happen in every piece.
        let most = if self.dispatches == 0 { most.max(1) } else { most };
        let rest = workgroups - done;
        // A sixteenth is not worth a dispatch of its own, where another piece follows.
        let sliver = most < rest && most < workgroups.div_ceil(16) && self.dispatches > 0;
        if most == 0 || sliver || self.dispatches >= MAX_PIECE {
            return None;
        }
        let (base, size) = next_box(dispatch.grid, done, most.min(rest));
        let part = Part { base, size, estimate: 0.0 };
        Some(Part { estimate: overhead + each * part.workgroups() as f64, ..part })
    }
}

impl Schedule {
    /// The dispatches of `tasks`, one after the other; none without tasks.
    pub fn new(
        context: &Arc<Context>,
        fault: Option<(&'static str, Constant)>,
        tasks: impl IntoIterator<Item = Task, IntoIter: Send + Sync + 'static>,
    ) -> Self {
        let rest = Dispatches::new(tasks);
        let mut schedule = Self { context: context.clone(), fault, rest, current: None, done: 0, pause: None };
        schedule.fetch();
        schedule
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.current.is_none() && self.pause.is_none()
    }

    /// What the caller has to do before anything else is handed out, and before it calls [`Schedule::resume`].
    pub fn take_pause(&mut self) -> Option<Pause> {
        self.pause.take()
    }

    /// Goes on after a pause; without what its list allows to skip, if `skip`.
    pub fn resume(&mut self, skip: bool) {
        if skip {
            self.rest.skip_to_end();
        }
        self.fetch();
    }

    /// Goes on to the next dispatch.
    fn fetch(&mut self) {
        self.done = 0;
        self.current = match self.rest.next() {
            Some(Command::Dispatch(dispatch)) => Some(dispatch),
            Some(Command::Pause(pause)) => {
                self.pause = Some(pause);
                None
            }
            None => None,
        };
        if let (Some(dispatch), Some((stem, (name, value)))) = (&mut self.current, self.fault)
            && dispatch.kernel.stem == stem
        {
            dispatch.setting.constants.retain(|(constant, _)| *constant != name);
            dispatch.setting.constants.push((name, value));
        }
    }

    /// Hands out what `budget` seconds are expected to suffice for, but one dispatch at least, and no further than the
    /// next pause: `take` gets each part,
    /// the dispatch that it is of and, where they are wanted, its pipeline.
    fn advance(
        &mut self,
        budget: f64,
        compile: bool,
        mut take: impl FnMut(&Dispatch, u64, Part, Option<&Arc<Pipeline>>),
    ) -> Result<()> {
        let mut piece = Piece { budget, estimate: 0.0, dispatches: 0 };
        let context = self.context.clone();
        let handles: &Handles = &context;
        // Injected constants are not covered by the plan's bounds, so wgpu's checks stay in such shaders.
        let checked = handles.checked || self.fault.is_some();
        while let Some(dispatch) = &self.current {
            let (kernel, setting) = (dispatch.kernel, &dispatch.setting);
            let mut pipeline = context.pipelines.find(kernel, setting, checked);
            while self.done < dispatch.workgroups() {
                // It may have been timed since the last part.
                let rate = pipeline.as_ref().and_then(|pipeline| pipeline.rate.get());
                let rate = rate.unwrap_or_else(|| handles.initial_rate());
                let bound = context.dispatch_bound().as_secs_f64();
                let Some(part) = piece.cut(dispatch, self.done, rate, handles.overhead(), bound) else {
                    return Ok(());
                };
                if compile && pipeline.is_none() {
                    pipeline = Some(context.pipelines.get(handles, kernel, setting, checked)?);
                }
                piece.dispatches += 1;
                piece.estimate += part.estimate;
                let workgroups = part.workgroups();
                take(dispatch, self.done, part, pipeline.as_ref());
                self.done += workgroups;
            }
            self.fetch();
        }
        Ok(())
    }

    /// The next dispatches: what `budget` seconds are expected to suffice for, but one at least, and none behind the
    /// next pause. After an error nothing is left.
    pub fn next(&mut self, budget: f64) -> Result<Vec<Compiled>> {
        let mut compiled = Vec::new();
        let advanced = self.advance(budget, true, |dispatch, _, part, pipeline| {
            let Some(pipeline) = pipeline else { return };
            let header = [part.base[0], part.base[1], part.base[2], dispatch.queries];
            compiled.push(Compiled {
                pipeline: pipeline.clone(),
                storage: dispatch.storage.clone(),
                params: [bytemuck::bytes_of(&header), &dispatch.params].concat(),
                grid: part.size,
                estimate: part.estimate,
                data_dependent: dispatch.data_dependent,
            });
        });
        if let Err(error) = advanced {
            (self.rest, self.current, self.pause) = (Dispatches::default(), None, None);
            return Err(error);
        }
        Ok(compiled)
    }

    /// Counts instead. Nothing is compiled. `None` where there are more than `most` dispatches.
    pub fn count(mut self, budget: f64, most: u64) -> Result<Option<Counted>> {
        let mut kernels: Vec<KernelWork> = Vec::new();
        let (mut pieces, mut dispatches, mut loaded) = (0, 0u64, [0u64; 2]);
        while !self.is_done() {
            if let Some(pause) = self.take_pause() {
                if let Pause::Load(Load { rows, wanted: Wanted::All, sides, .. }) = &pause {
                    for (side, reads) in loaded.iter_mut().zip([sides.keys, sides.values]) {
                        *side += if reads { *rows as u64 } else { 0 };
                    }
                }
                // As if every list of candidates held what it is for.
                self.resume(matches!(pause, Pause::Unless { rare: true, .. }));
                continue;
            }
            self.advance(budget, false, |dispatch, done, part, _| {
                let (workgroups, all) = (part.workgroups(), dispatch.workgroups());
                let share = |of: u64| of * (done + workgroups) / all - of * done / all;
                let one = KernelWork {
                    kernel: dispatch.kernel.stem,
                    setting: dispatch.setting.to_string(),
                    dispatches: 1,
                    workgroups,
                    bytes: share(dispatch.work.bytes),
                    flops: share(dispatch.work.flops),
                };
                one.add_to(&mut kernels);
                dispatches += 1;
            })?;
            pieces += 1;
            if dispatches > most {
                return Ok(None);
            }
        }
        Ok(Some(Counted { kernels, pieces, loaded }))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn boxes_cover_every_workgroup_once() {
        for grid in [[1, 1, 1], [7, 1, 1], [3, 5, 1], [1, 4, 6], [5, 3, 4], [2, 1, 9]] {
            for most in [1u64, 2, 3, 7, 15, 16, 1000] {
                let mut seen = std::collections::HashSet::new();
                let (all, mut done) = (grid.iter().map(|v| u64::from(*v)).product::<u64>(), 0);
                while done < all {
                    let (base, size) = super::next_box(grid, done, most.min(all - done));
                    for z in base[2]..base[2] + size[2] {
                        for y in base[1]..base[1] + size[1] {
                            for x in base[0]..base[0] + size[0] {
                                assert!(x < grid[0] && y < grid[1] && z < grid[2]);
                                assert!(seen.insert((x, y, z)));
                            }
                        }
                    }
                    done += size.iter().map(|v| u64::from(*v)).product::<u64>();
                    assert_eq!(seen.len() as u64, done);
                }
                assert_eq!(seen.len() as u64, all);
            }
        }
    }
}
