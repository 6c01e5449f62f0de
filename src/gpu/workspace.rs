//! The workspace of a recording: every buffer besides patterns, queries and outputs.

use super::buffer::{self, Binding, STORAGE};
use super::plan::Sizes;
use crate::error::Result;

/// Buffers of the sizes that a plan asks for.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub sizes: Sizes,
    pub state: Binding,
    pub result: Binding,
    pub flags: Binding,
    pub scores: Binding,
    pub stats: Binding,
    pub sums: Binding,
    pub running_stats: Binding,
    pub running_sums: Binding,
    pub report: Binding,
}

/// A NaN with a mark: whatever reads a word that nobody wrote shows it.
const GARBAGE: u32 = 0x7fc0_dead;

impl Workspace {
    /// Allocates; filled with garbage if asked.
    pub fn new(device: &wgpu::Device, sizes: Sizes, garbage: bool) -> Result<Self> {
        let make = |label, size: u64| -> Result<Binding> {
            let fill = |view: &mut wgpu::BufferViewMut| {
                let words = view.len() / 4;
                view.copy_from_slice(bytemuck::cast_slice(&vec![GARBAGE; words]));
            };
            let buffer = match garbage {
                false => buffer::create(device, label, size, STORAGE)?,
                true => buffer::create_with(device, label, size, STORAGE, Some(fill))?,
            };
            Ok(Binding::from(&buffer))
        };
        Ok(Self {
            sizes,
            state: make("attractor.state", sizes.state)?,
            result: make("attractor.result", sizes.result)?,
            flags: make("attractor.flags", sizes.flags)?,
            scores: make("attractor.scores", sizes.scores)?,
            stats: make("attractor.stats", sizes.stats)?,
            sums: make("attractor.sums", sizes.sums)?,
            running_stats: make("attractor.running_stats", sizes.running_stats)?,
            running_sums: make("attractor.running_sums", sizes.running_sums)?,
            report: make("attractor.report", sizes.report)?,
        })
    }
}
