//! What a plan depends on besides the shape of a retrieval: sizes that suit an adapter. They are named after the
//! kernels of today, and may change in minor versions.

#[cfg(feature = "files")]
pub(crate) mod file;

use std::fmt;

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident: [$software:expr, $discrete:expr, $other:expr] within $range:expr;)*) => {
        /// The sizes by which a plan fits a retrieval to an adapter. `attractor tune` measures them; until then they
        /// are those of the adapter's kind, by count.
        ///
        /// **Any numbers give right answers**: a plan takes what is out of bounds for the nearest that is within,
        /// rounds to what the kernels take, and keeps to the limits of the device and of the workspace. They decide how
        /// long retrievals take and, since sums are cut differently, their last bits: with one tuning, equal plans give
        /// equal bits ([`RetrieveOptions::plan_for`](crate::RetrieveOptions::plan_for)).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub struct Tuning {
            $($(#[$doc])* #[doc = concat!("\n\nWithin `", stringify!($range), "`.")] pub $name: u64,)*
        }

        impl Tuning {
            /// What an adapter of this kind starts with.
            pub fn of(kind: wgpu::DeviceType) -> Self {
                match kind {
                    wgpu::DeviceType::Cpu => Self { $($name: $software,)* },
                    wgpu::DeviceType::DiscreteGpu => Self { $($name: $discrete,)* },
                    _ => Self { $($name: $other,)* },
                }
            }

            /// Each setting within its bounds.
            pub(crate) fn bounded(&self) -> Self {
                Self { $($name: self.$name.clamp(*$range.start(), *$range.end()),)* }
            }

            /// Every setting by name.
            pub fn settings(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }

            /// Sets the setting of this name; whether there is one.
            pub fn set(&mut self, name: &str, value: u64) -> bool {
                match name {
                    $(stringify!($name) => self.$name = value,)*
                    _ => return false,
                }
                true
            }
        }
    };
}

// Defaults are for software adapters, discrete GPUs, and whatever else there is.
settings! {
    /// Workgroups that keep the device busy: patterns are split until there are as many.
    workgroups: [16, 512, 512] within 1..=1 << 14;
    /// The largest batch that is streamed: each pattern is read once for few queries.
    stream_max_batch: [16, 16, 16] within 0..=1 << 10;
    /// The most queries of one workgroup that streams; rounded down to 1, 2 or 4.
    stream_max_queries: [4, 4, 4] within 1..=4;
    /// The most multiply-adds of one workgroup that streams. A workgroup is the least that can be put off to the next
    /// frame.
    stream_max_macs_per_workgroup: [1 << 18, 1 << 25, 1 << 25] within 1..=1 << 27;
    /// Coordinates of the widest key for which invocations hold queries in registers; 0 where they hold none. On a
    /// processor they are in the nearest cache. On a discrete GPU 128 registers hold a query of 64 and its sums.
    register_max_dim: [128, 64, 0] within 0..=128;
    /// The most coordinates of all queries that one invocation holds.
    register_max_floats: [256, 64, 64] within 4..=256;
    /// 1 where subgroups hand on what they fetch, if the device has them; 0 where it goes through workgroup memory. A
    /// processor fetches one by one unless a subgroup shares; on a GPU, memory that all invocations read at one place
    /// is as fast.
    register_subgroups: [1, 0, 0] within 0..=1;
    /// The least multiply-adds of a batch's scores, `B N d`, for which queries are held in registers: on a processor
    /// that kernel compiles for seconds.
    register_min_macs: [1 << 27, 1 << 22, 1 << 22] within 0..=1 << 62;
    /// The least patterns of a split for which it pays to fetch and hold a query.
    register_min_rows_per_split: [256, 256, 256] within 1..=1 << 16;
    /// The most multiply-adds of one workgroup that holds queries in registers.
    register_max_macs_per_workgroup: [1 << 22, 1 << 27, 1 << 27] within 1..=1 << 29;
    /// The least multiply-adds of a batch's scores, `B N d`, for which cooperative matrices are used, where patterns
    /// and device suit them. Software adapters emulate them, so they never pay off there.
    matrix_min_macs: [1 << 62, 1 << 22, 1 << 22] within 0..=1 << 62;
    /// The most queries of one pass over the memory.
    max_queries_per_block: [1024, 1024, 1024] within 1..=1 << 10;
    /// The same where every query has a list of candidates: under sparse rules, top-k, and reports.
    max_listed_queries: [256, 256, 256] within 1..=1 << 8;
    /// The least queries of a batch for which an invocation of a tile has 8 of them instead of 4. SwiftShader, which
    /// would compile that for minutes, never does.
    wide_tile_min_batch: [1 << 62, 65, 65] within 0..=1 << 62;
    /// The most bytes of scores at once: a chunk has to keep all of a chip busy, and its dispatches cost what millions
    /// of multiply-adds do.
    max_score_bytes: [10 << 20, 32 << 20, 32 << 20] within 1 << 10..=32 << 20;
    /// The most patterns whose scores are computed at once. Kernels that scan them with one workgroup a query loop so
    /// often.
    max_chunk_rows: [1 << 16, 1 << 17, 1 << 17] within 1..=1 << 17;
    /// The least coordinates of all patterns, `N d`, of a memory of [`I8Exact`](crate::Precision::I8Exact) in which few
    /// queries are answered from the 8-bit keys: what fewer bytes save has to pay for the dispatches that score some
    /// patterns again. Measured on lavapipe; those of GPUs are estimates from their bandwidth.
    bounds_min_coordinates: [1 << 24, 1 << 24, 1 << 22] within 0..=1 << 62;
    /// The most multiply-adds of one workgroup that tries thresholds of sparse rules whose lists overflow.
    search_max_macs_per_workgroup: [1 << 23, 1 << 27, 1 << 27] within 1..=1 << 29;
}

/// The settings in which a tuning differs from what an adapter of its kind starts with, in words.
pub(crate) struct Told {
    pub tuning: Tuning,
    pub kind: wgpu::DeviceType,
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = Tuning::of(self.kind);
        let both = self.tuning.bounded().settings().zip(start.settings());
        let mut others = both.filter(|(now, start)| now != start).map(|((name, now), (_, was))| (name, now, was));
        let Some((name, now, was)) = others.next() else { return f.write_str("default") };
        write!(f, "{name} {now} instead of {was}")?;
        others.try_for_each(|(name, now, was)| write!(f, ", {name} {now} instead of {was}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_within_their_bounds() {
        for kind in [wgpu::DeviceType::Cpu, wgpu::DeviceType::DiscreteGpu, wgpu::DeviceType::Other] {
            let tuning = Tuning::of(kind);
            assert_eq!(tuning.bounded(), tuning);
            assert_eq!(Told { tuning, kind }.to_string(), "default");
        }
    }

    #[test]
    fn settings_are_known_by_name() {
        let kind = wgpu::DeviceType::Cpu;
        let mut tuning = Tuning::of(kind);
        for (name, value) in tuning.settings() {
            assert!(tuning.set(name, value + 1), "{name}");
        }
        assert!(!tuning.set("nonsense", 1));
        assert!(tuning.settings().zip(Tuning::of(kind).settings()).all(|(one, other)| one.1 == other.1 + 1));
        let (workgroups, max_chunk_rows) = (32, u64::MAX);
        let tuning = Tuning { workgroups, max_chunk_rows, stream_max_queries: 0, ..Tuning::of(kind) };
        let told = Told { tuning, kind }.to_string();
        let expected =
            "workgroups 32 instead of 16, stream_max_queries 1 instead of 4, max_chunk_rows 131072 instead of 65536";
        assert_eq!(told, expected, "what plans take it for");
    }
}
