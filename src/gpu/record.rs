//! Dispatches, made as they are asked for: a retrieval is a program that stops whenever enough has been recorded and goes
//! on from there, at once for a submission of ours, frames later for a job. So what is recorded takes no more room for a
//! larger memory, and a retrieval is the same dispatches whoever records it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use super::Context;
use super::buffer::{self, Binding};
use super::kernel::{Kernel, Pipeline};
use super::shader::{Constant, Substitution};
use crate::error::Result;
use crate::explanation::KernelWork;

/// Bytes from one dispatch's parameters to the next: the largest alignment that a device may ask of a uniform offset.
const PARAMS_STRIDE: u64 = 256;

/// Dispatches of one piece, at the most.
const PIECE: usize = 256;

/// One dispatch: workgroups `base .. base + grid` of a kernel's grid.
pub(crate) struct Call {
    pub pipeline: Arc<Pipeline>,
    storage: Vec<Binding>,
    params: Vec<u8>,
    grid: [u32; 3],
    /// What it is expected to take, in seconds.
    pub estimate: f64,
    /// Whether it does all the work that it may do, whatever the data.
    pub certain: bool,
}

/// What one dispatch does: floating-point operations, and bytes that workgroups load and store, each datum once a
/// workgroup.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Work {
    pub flops: u64,
    pub bytes: u64,
}

impl Work {
    /// Multiply-adds and words: what takes time.
    pub fn units(self) -> f64 {
        (self.flops / 2) as f64 + (self.bytes / 4) as f64
    }
}

/// The dispatches of one program, in order. The program appends and is held up when its piece is full.
pub(crate) struct Calls {
    context: Arc<Context>,
    damage: Option<(&'static str, Constant)>,
    piece: Mutex<Piece>,
}

/// What has been appended since the program last went on.
#[derive(Default)]
struct Piece {
    calls: Vec<Call>,
    /// The work by kernel and setting, where dispatches are only counted.
    counted: Option<Vec<KernelWork>>,
    length: usize,
    /// Seconds that it is expected to take, and may take.
    estimate: f64,
    budget: f64,
    /// Whether dispatches do all that they may do: not where queries may have stopped.
    certain: bool,
    /// Queries of the block that is worked on.
    queries: u32,
}

/// Folds a grid that is longer than one dimension may be; kernels that use it call `flat_index`.
pub(crate) fn fold(workgroups: u32, limit: u32) -> [u32; 3] {
    let rows = workgroups.div_ceil(limit).max(1);
    [workgroups.div_ceil(rows), rows, 1]
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

impl Calls {
    fn piece(&self) -> MutexGuard<'_, Piece> {
        self.piece.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on dispatches work on a block of `queries`, and no list of theirs has more.
    pub fn begin_block(&self, queries: u32) {
        self.piece().queries = queries;
    }

    /// From here on dispatches may find nothing to do.
    pub fn maybe_idle(&self) {
        self.piece().certain = false;
    }

    /// Appends a dispatch of `kernel`, in parts where it would take too long: no part takes longer than the device's bound
    /// for one dispatch or than a whole budget, as far as workgroups can be told apart.
    pub async fn push<P: bytemuck::Pod>(
        &self,
        kernel: &'static Kernel,
        setting: (&[Constant], &[Substitution]),
        params: P,
        storage: &[&Binding],
        grid: [u32; 3],
        work: Work,
    ) -> Result<()> {
        debug_assert_eq!(kernel.params, size_of::<[u32; 4]>() + size_of::<P>());
        debug_assert_eq!(kernel.storage.len(), storage.len());
        let mut constants = setting.0.to_vec();
        if let Some((stem, (name, value))) = self.damage
            && stem == kernel.stem
        {
            constants.retain(|(constant, _)| *constant != name);
            constants.push((name, value));
        }
        let counts = self.piece().counted.is_some();
        let pipelines = &self.context.pipelines;
        // What is set behind a plan's back is proven by nobody.
        let checked = self.context.checked || self.damage.is_some();
        let pipeline = match counts {
            true => None,
            false => Some(pipelines.get(&self.context, kernel, &constants, setting.1, checked)?),
        };
        let workgroups: u64 = grid.into_iter().map(u64::from).product();
        let overhead = self.context.overhead();
        let mut done = 0;
        while done < workgroups {
            // It may have been timed since the last part.
            let pace = match &pipeline {
                Some(pipeline) => pipeline.pace.get(),
                None => pipelines.pace(kernel, &constants, setting.1, checked),
            };
            let each = work.units() * pace.unwrap_or_else(|| self.context.first_pace()) / workgroups as f64;
            let Some((base, size)) = self.next_part(grid, done, overhead, each) else {
                hold_up().await;
                continue;
            };
            let part: u64 = size.into_iter().map(u64::from).product();
            let estimate = overhead + each * part as f64;
            let mut piece = self.piece();
            piece.length += 1;
            piece.estimate += estimate;
            if let Some(kernels) = &mut piece.counted {
                let share = |of: u64| of * (done + part) / workgroups - of * done / workgroups;
                let one = KernelWork {
                    kernel: kernel.stem,
                    setting: in_words(&constants, setting.1),
                    dispatches: 1,
                    workgroups: part,
                    bytes: share(work.bytes),
                    flops: share(work.flops),
                };
                one.add_to(kernels);
            }
            if let Some(pipeline) = &pipeline {
                let header = [base[0], base[1], base[2], piece.queries];
                let params = [bytemuck::bytes_of(&header), bytemuck::bytes_of(&params)].concat();
                let storage = storage.iter().map(|binding| (*binding).clone()).collect();
                let certain = piece.certain;
                piece.calls.push(Call { pipeline: pipeline.clone(), storage, params, grid: size, estimate, certain });
            }
            done += part;
        }
        Ok(())
    }

    /// The part of a grid that comes next, from workgroup `done` on, if the piece has room for any: base and size.
    fn next_part(&self, grid: [u32; 3], done: u64, overhead: f64, each: f64) -> Option<([u32; 3], [u32; 3])> {
        let workgroups: u64 = grid.into_iter().map(u64::from).product();
        let bound = self.context.dispatch_bound().as_secs_f64();
        let piece = self.piece();
        let left = bound.min(piece.budget - piece.estimate) - overhead;
        let most = (left / each).max(0.0) as u64;
        // Something has to happen in every piece.
        let most = if piece.length == 0 { most.max(1) } else { most };
        let rest = workgroups - done;
        // A sixteenth is not worth a dispatch of its own, where there is another piece to come.
        let sliver = most < rest && most < workgroups.div_ceil(16) && piece.length > 0;
        (most > 0 && !sliver && piece.length < PIECE).then(|| next_box(grid, done, most.min(rest)))
    }
}

/// Stops the program until it is asked to go on.
async fn hold_up() {
    let mut held = false;
    std::future::poll_fn(|_| if std::mem::replace(&mut held, true) { Poll::Ready(()) } else { Poll::Pending }).await;
}

/// A retrieval as a program that is carried out piece by piece.
pub(crate) struct Program {
    calls: Arc<Calls>,
    /// Absent at the end.
    rest: Option<Pin<Box<dyn Future<Output = Result<()>> + Send>>>,
}

impl Program {
    /// The program that `write` writes.
    pub fn new<F: Future<Output = Result<()>> + Send + 'static>(
        context: &Arc<Context>,
        damage: Option<(&'static str, Constant)>,
        write: impl FnOnce(Arc<Calls>) -> F,
    ) -> Self {
        let piece = Piece { certain: true, ..Piece::default() };
        let calls = Arc::new(Calls { context: context.clone(), damage, piece: Mutex::new(piece) });
        Self { rest: Some(Box::pin(write(calls.clone()))), calls }
    }

    /// The program that is done.
    pub fn nothing(context: &Arc<Context>) -> Self {
        let calls = Arc::new(Calls { context: context.clone(), damage: None, piece: Mutex::default() });
        Self { rest: None, calls }
    }

    /// Whether nothing is left.
    pub fn is_done(&self) -> bool {
        self.rest.is_none()
    }

    /// The next dispatches: what `budget` seconds are expected to suffice for, but one at least.
    pub fn next(&mut self, budget: f64) -> Result<Vec<Call>> {
        self.go_on(budget)?;
        Ok(std::mem::take(&mut self.calls.piece().calls))
    }

    /// Counts instead: the work by kernel and setting, and the pieces of `budget` seconds. Nothing is compiled. `None`
    /// where there are more than `most` dispatches.
    pub fn count(mut self, budget: f64, most: u64) -> Result<Option<(Vec<KernelWork>, usize)>> {
        self.calls.piece().counted = Some(Vec::new());
        let mut pieces = 0;
        while !self.is_done() {
            self.go_on(budget)?;
            pieces += 1;
            let so_far = |kernels: &Vec<KernelWork>| kernels.iter().map(|work| work.dispatches).sum::<u64>();
            if self.calls.piece().counted.as_ref().map_or(0, so_far) > most {
                return Ok(None);
            }
        }
        let counted = self.calls.piece().counted.take();
        Ok(Some((counted.unwrap_or_default(), pieces)))
    }

    fn go_on(&mut self, budget: f64) -> Result<()> {
        {
            let mut piece = self.calls.piece();
            (piece.length, piece.estimate, piece.budget) = (0, 0.0, budget);
        }
        let Some(rest) = &mut self.rest else { return Ok(()) };
        match rest.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())) {
            Poll::Pending => Ok(()),
            Poll::Ready(end) => {
                self.rest = None;
                end
            }
        }
    }
}

/// Constants that are set and fragments that are linked, for people.
fn in_words(constants: &[Constant], fragments: &[Substitution]) -> String {
    let constants = constants.iter().map(|(name, value)| format!("{name} {value}"));
    let fragments = fragments.iter().map(|(_, fragment)| fragment.trim_start_matches("lib/").to_owned());
    constants.chain(fragments).collect::<Vec<_>>().join(", ")
}

/// Records `calls` as one compute pass.
pub(crate) fn encode(
    context: &Context,
    encoder: &mut wgpu::CommandEncoder,
    calls: &[Call],
    timestamps: Option<wgpu::ComputePassTimestampWrites<'_>>,
) -> Result<()> {
    if calls.is_empty() {
        return Ok(());
    }
    let timed = timestamps.is_some();
    let params = buffer::create_with(
        context,
        "attractor.params",
        calls.len() as u64 * PARAMS_STRIDE,
        wgpu::BufferUsages::UNIFORM,
        Some(|view: &mut wgpu::BufferViewMut| {
            for (i, call) in calls.iter().enumerate() {
                let at = i * PARAMS_STRIDE as usize;
                view.slice(at..at + call.params.len()).copy_from_slice(&call.params);
            }
        }),
    )?;
    let mut pass = encoder
        .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some("attractor"), timestamp_writes: timestamps });
    // The latest bind group of each kernel: most calls repeat the bindings of the call before.
    let mut groups: Vec<(&Call, wgpu::BindGroup)> = Vec::new();
    for (i, call) in calls.iter().enumerate() {
        let same = |other: &&(&Call, wgpu::BindGroup)| {
            Arc::ptr_eq(&other.0.pipeline, &call.pipeline) && other.0.storage == call.storage
        };
        let group = match groups.iter().rev().find(same) {
            Some((_, group)) => group.clone(),
            None => {
                let group = bind(context, call, &params);
                groups.retain(|other| !Arc::ptr_eq(&other.0.pipeline, &call.pipeline));
                groups.push((call, group.clone()));
                group
            }
        };
        pass.set_pipeline(&call.pipeline.pipeline);
        pass.set_bind_group(0, &group, &[(i as u64 * PARAMS_STRIDE) as u32]);
        if i == 0 && timed {
            // Lavapipe takes the time of the beginning when it next comes to a barrier, which is one dispatch late.
            pass.dispatch_workgroups(0, 0, 0);
        }
        pass.dispatch_workgroups(call.grid[0], call.grid[1], call.grid[2]);
    }
    Ok(())
}

fn bind(context: &Context, call: &Call, params: &wgpu::Buffer) -> wgpu::BindGroup {
    let size = std::num::NonZeroU64::new(call.params.len() as u64);
    let uniform = wgpu::BindingResource::Buffer(wgpu::BufferBinding { buffer: params, offset: 0, size });
    let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: uniform }];
    for (binding, storage) in (1..).zip(&call.storage) {
        entries.push(wgpu::BindGroupEntry { binding, resource: storage.resource() });
    }
    if let Some(watch) = context.pipelines.watch.get() {
        let resource = watch.buffer.as_entire_binding();
        entries.push(wgpu::BindGroupEntry { binding: entries.len() as u32, resource });
    }
    context.device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(&format!("attractor.{}", call.pipeline.stem)),
        layout: &call.pipeline.layout,
        entries: &entries,
    })
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

    #[test]
    fn folded_grids_cover_and_fit() {
        for workgroups in [1, 2, 65_535, 65_536, 100_003, 1 << 24] {
            let [x, y, z] = super::fold(workgroups, 65_535);
            assert!(x <= 65_535 && y <= 65_535 && z == 1);
            assert!(u64::from(x) * u64::from(y) >= u64::from(workgroups));
        }
    }
}
