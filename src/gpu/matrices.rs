//! The cooperative matrices that a device has.

/// Subgroups of a workgroup that multiplies cooperative matrices.
pub const SUBGROUPS: u32 = 4;

/// The cooperative matrices of a device that suit the kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ability {
    /// Rows and columns of a fragment: 8 or 16.
    pub side: u32,
    /// Invocations of a subgroup, or more.
    pub subgroup: u32,
    /// The most bytes of workgroup memory.
    pub memory: u32,
    /// Whether fragments can be loaded from arrays of vectors.
    pub vectors: bool,
}

impl Ability {
    /// The feature that is requested where the adapter has fragments that suit.
    pub const FEATURE: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;

    /// The fragments that suit, of those in `configurations`, on a device with `features` and `limits`; `None` where
    /// none do.
    pub fn new(
        adapter: &wgpu::AdapterInfo,
        features: wgpu::Features,
        limits: &wgpu::Limits,
        configurations: &[wgpu::CooperativeMatrixProperties],
    ) -> Option<Self> {
        let needs = Self::FEATURE.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);
        let halves = |side: u32| {
            configurations.iter().any(|one| {
                [one.m_size, one.n_size, one.k_size] == [side; 3]
                    && one.ab_type == wgpu::CooperativeScalarType::F16
                    && one.cr_type == wgpu::CooperativeScalarType::F32
            })
        };
        let side = [16, 8].into_iter().find(|side| halves(*side))?;
        let metal = adapter.backend == wgpu::Backend::Metal;
        // Metal does not report it; where it has fragments, a subgroup has 32 invocations.
        let subgroup = if metal { 32 } else { adapter.subgroup_max_size };
        let invocations = SUBGROUPS * subgroup.max(side);
        let fits = invocations <= limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
        (features.contains(needs) && fits).then_some(Self {
            side,
            subgroup,
            memory: limits.max_compute_workgroup_storage_size,
            vectors: !metal,
        })
    }
}
