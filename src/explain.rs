//! What a retrieval would do: kernels, tiles, splits, windows, dispatches, and the work that they are.

use std::fmt;

use crate::device::info::DeviceInfo;

/// How a memory would answer a batch, from [`Memory::explain`](crate::Memory::explain).
///
/// Bytes and operations are those of the cap on steps: what stops early does less. [`fmt::Display`] prints a table.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation {
    /// Where.
    pub device: DeviceInfo,
    /// `B`, the queries.
    pub batch: usize,
    /// `N`, the patterns.
    pub patterns: usize,
    /// The device's [`Tuning`](crate::tuning::Tuning), in words: `default`, or the settings that are not what a device
    /// of its kind starts with. Empty on the CPU engine, which has none.
    pub tuning: String,
    /// The strategy that the plan chose, in words.
    pub strategy: &'static str,
    /// Queries of one pass over the patterns.
    pub query_block: usize,
    /// Patterns at a time: of one dispatch, or of one tile of the CPU engine.
    pub chunk: usize,
    /// Patterns of one split.
    pub rows_per_split: usize,
    /// The most splits that are computed side by side.
    pub splits: usize,
    /// Windows that hold the patterns.
    pub windows: usize,
    /// Submissions to the queue; 0 on the CPU engine.
    pub submissions: usize,
    /// Bytes besides patterns, queries and answers.
    pub workspace_bytes: u64,
    /// Bytes of patterns that are copied to the device meanwhile; 0 where it holds all of them.
    pub streamed_bytes: u64,
    /// The work by kernel, in the order of first use; empty on the CPU engine.
    pub kernels: Vec<KernelWork>,
}

/// What one kernel, in one setting, does in a retrieval.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KernelWork {
    /// The stem of its shader.
    pub kernel: &'static str,
    /// The constants and fragments that the host sets, in words; empty for the shader as it stands.
    pub setting: String,
    /// Dispatches.
    pub dispatches: u64,
    /// Workgroups of all of them.
    pub workgroups: u64,
    /// Bytes that its workgroups load and store, each datum once a workgroup: traffic where nothing is cached between
    /// workgroups.
    pub bytes: u64,
    /// Floating-point operations, a multiply-add being two.
    pub flops: u64,
}

impl KernelWork {
    fn add(&mut self, other: &Self) {
        self.dispatches = self.dispatches.saturating_add(other.dispatches);
        self.workgroups = self.workgroups.saturating_add(other.workgroups);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.flops = self.flops.saturating_add(other.flops);
    }

    /// The same work so many times.
    pub(crate) fn times(mut self, times: u64) -> Self {
        for count in [&mut self.dispatches, &mut self.workgroups, &mut self.bytes, &mut self.flops] {
            *count = count.saturating_mul(times);
        }
        self
    }

    /// Adds this to the work of the same kernel in the same setting, or as the first of its kind.
    pub(crate) fn add_to(self, kernels: &mut Vec<Self>) {
        match kernels.iter_mut().find(|all| all.kernel == self.kernel && all.setting == self.setting) {
            Some(all) => all.add(&self),
            None => kernels.push(self),
        }
    }
}

impl Explanation {
    /// Dispatches of all kernels.
    pub fn dispatches(&self) -> u64 {
        self.kernels.iter().map(|kernel| kernel.dispatches).sum()
    }

    /// Bytes of all kernels.
    pub fn bytes(&self) -> u64 {
        self.kernels.iter().map(|kernel| kernel.bytes).sum()
    }

    /// Operations of all kernels.
    pub fn flops(&self) -> u64 {
        self.kernels.iter().map(|kernel| kernel.flops).sum()
    }
}

/// A count with three digits and a decimal prefix.
fn short(count: u64) -> String {
    let (mut value, mut prefixes) = (count as f64, ["", " k", " M", " G", " T", " P"].into_iter());
    let mut prefix = prefixes.next().unwrap_or_default();
    while value >= 999.5 {
        match prefixes.next() {
            Some(next) => (value, prefix) = (value / 1000.0, next),
            None => break,
        }
    }
    let digits = usize::from(!prefix.is_empty() && value < 99.95);
    format!("{value:.digits$}{prefix}")
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} queries against {} patterns on {}", self.batch, self.patterns, self.device)?;
        if !self.tuning.is_empty() {
            writeln!(f, "tuning: {}", self.tuning)?;
        }
        writeln!(f, "{}", self.strategy)?;
        writeln!(
            f,
            "{} queries a pass, {} patterns at a time, splits of {} (at most {}), {} window{}",
            self.query_block,
            self.chunk,
            self.rows_per_split,
            self.splits,
            self.windows,
            if self.windows == 1 { "" } else { "s" },
        )?;
        write!(f, "workspace {}B", short(self.workspace_bytes))?;
        if self.kernels.is_empty() {
            return Ok(());
        }
        write!(f, ", {} submission", self.submissions)?;
        write!(f, "{}", if self.submissions == 1 { "" } else { "s" })?;
        write!(f, ", {} dispatches", self.dispatches())?;
        match self.streamed_bytes {
            0 => writeln!(f)?,
            bytes => writeln!(f, ", {}B of patterns streamed", short(bytes))?,
        }
        writeln!(
            f,
            "{:12} {:>10} {:>11} {:>9} {:>9}  setting",
            "kernel", "dispatches", "workgroups", "bytes", "flops"
        )?;
        let row = |f: &mut fmt::Formatter<'_>, work: &KernelWork| {
            let KernelWork { kernel, setting, dispatches, workgroups, bytes, flops } = work;
            let (workgroups, bytes, flops) = (short(*workgroups), short(*bytes), short(*flops));
            let line = format!("{kernel:12} {dispatches:>10} {workgroups:>11} {bytes:>9} {flops:>9}  {setting}");
            write!(f, "{}", line.trim_end())
        };
        for work in &self.kernels {
            row(f, work)?;
            writeln!(f)?;
        }
        let mut all = KernelWork { kernel: "all", ..KernelWork::default() };
        self.kernels.iter().for_each(|work| all.add(work));
        row(f, &all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short() {
        let short = [0, 999, 1000, 1049, 99_949, 99_951, 999_499, 999_500, 5_000_000_000].map(short);
        assert_eq!(short, ["0", "999", "1.0 k", "1.0 k", "99.9 k", "100 k", "999 k", "1.0 M", "5.0 G"]);
    }
}
