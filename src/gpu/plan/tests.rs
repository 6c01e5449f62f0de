//! What must hold of any plan.

use proptest::prelude::*;

use super::choice::Plan;
use super::limits::{ITERATION_LIMIT, WORKSPACE};
use super::problem::Problem;
use crate::gpu::limits::SMALLEST_BINDING;
use crate::gpu::matrices::Ability;
use crate::strategy::{Overrides, Strategy as How};
use crate::tuning::Tuning;

/// Shapes around every boundary that the sizes depend on.
fn shapes() -> impl Iterator<Item = Problem> {
    let batches = [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 1000, 1024, 1025, 100_000];
    let patterns = [1, 2, 31, 32, 33, 63, 64, 65, 1000, 65_537, 2_000_000, 1 << 30];
    let widths = [(1, 0), (16, 0), (16, 3), (64, 64), (196, 0), (256, 1), (1024, 0), (4096, 4096), (16_384, 16_384)];
    batches.into_iter().flat_map(move |batch| {
        patterns.into_iter().flat_map(move |patterns| {
            widths.into_iter().flat_map(move |(key_vectors, value_vectors)| {
                [(true, false), (true, true), (false, true)].map(|(fused, all)| Problem {
                    unrolls_slowly: !all && batch % 2 == 0,
                    batch,
                    patterns,
                    key_vectors,
                    value_vectors,
                    subgroups: all,
                    cooperate: fused.then_some(Ability {
                        side: if all { 8 } else { 16 },
                        subgroup: 32,
                        memory: 48 << 10,
                        vectors: !all,
                    }),
                    parts: 2,
                    fused,
                    lists: all,
                    top: all,
                    bounded: !fused && batch <= 64,
                    compared: all,
                    previous: all,
                    saved: all,
                    seen: if all { patterns / 3 } else { 0 },
                    apart: all && batch % 3 == 0,
                    result: all || value_vectors > 0,
                    unbounded: false,
                })
            })
        })
    })
}

const KINDS: [wgpu::DeviceType; 3] =
    [wgpu::DeviceType::Cpu, wgpu::DeviceType::DiscreteGpu, wgpu::DeviceType::IntegratedGpu];

/// Every problem on every kind of device under all overrides.
fn every_plan(mut check: impl FnMut(&Problem, &Tuning, &Overrides)) {
    let overrides = overrides();
    for tuning in KINDS.map(Tuning::of) {
        for problem in shapes() {
            for overrides in &overrides {
                check(&problem, &tuning, overrides);
            }
        }
    }
}

fn overrides() -> Vec<Overrides> {
    let mut all = vec![Overrides::default()];
    for strategy in [How::FusedStream, How::FusedRegister, How::FusedMatrix, How::Staged] {
        for rows_per_split in [None, Some(1), Some(1 << 31)] {
            for splits in [None, Some(1), Some(u32::MAX)] {
                for query_block in [None, Some(3), Some(u32::MAX)] {
                    all.push(Overrides {
                        strategy: Some(strategy),
                        rows_per_split,
                        splits,
                        query_block,
                        ..Overrides::default()
                    });
                }
            }
        }
    }
    all
}

/// What must hold of any plan.
fn check(problem: &Problem, tuning: &Tuning, overrides: &Overrides) {
    let plan = Plan::new(problem, tuning, overrides);
    let staged = plan.staged(problem, tuning, overrides);
    let case = || format!("{problem:?} {tuning:?} {overrides:?} {plan:?}");
    assert_eq!(plan, Plan::new(problem, tuning, overrides), "the same whenever these are");
    for plan in [&plan, &staged] {
        let iterations = plan.iterations(problem, tuning);
        assert!(iterations <= ITERATION_LIMIT, "{iterations} iterations: {}", case());
        assert!(plan.query_block >= 1 && plan.rows_per_split >= 1 && plan.splits >= 1, "{}", case());
        assert!(plan.splits <= 1024 && plan.query_block <= 1024, "{}", case());
    }
    let sizes = plan.sizes(&staged, problem);
    for size in sizes.all() {
        assert!(size <= SMALLEST_BINDING, "{sizes:?} {}", case());
    }
    assert!(sizes.total() <= 64 << 20, "{sizes:?} {}", case());
}

#[test]
fn loops_and_sizes_stay_within_what_every_device_allows() {
    every_plan(check);
}

/// A setting as a stored file may have it: around each power of two, and anything.
fn setting() -> impl Strategy<Value = u64> {
    let near = (0u32..64, -1i64..=1).prop_map(|(power, more)| (1u64 << power).wrapping_add_signed(more));
    prop_oneof![near, any::<u64>(), prop::sample::select(vec![0, 3, u64::from(u32::MAX), u64::MAX])]
}

fn tuning() -> impl Strategy<Value = Tuning> {
    let start = Tuning::of(wgpu::DeviceType::Cpu);
    let count = start.settings().count();
    prop::collection::vec(prop::option::of(setting()), count).prop_map(move |values| {
        let mut tuning = start;
        for ((name, _), value) in start.settings().zip(values) {
            assert!(value.is_none_or(|value| tuning.set(name, value)));
        }
        tuning
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        rng_seed: proptest::test_runner::RngSeed::Fixed(20_260_102),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_tuning_keeps_to_the_same(tuning in tuning(), width in 1u32..=16_384) {
        for problem in shapes() {
            check(&problem, &tuning, &Overrides::default());
            check(&Problem { key_vectors: width, ..problem }, &tuning, &Overrides::default());
        }
    }
}

/// Stage by stage every query goes through all patterns, however few it sees.
#[test]
fn queries_that_see_few_patterns_never_go_stage_by_stage() {
    let seeing = shapes().filter(|problem| problem.fused && problem.seen > 0 && problem.patterns >= 64);
    let mut count = 0;
    for problem in seeing.map(|problem| Problem { seen: problem.patterns / 8, ..problem }) {
        for tuning in KINDS.map(Tuning::of) {
            let plan = Plan::new(&problem, &tuning, &Overrides::default());
            assert_ne!(plan.strategy, How::Staged, "{problem:?}");
            // Kernels find the pieces of a range by shifts.
            assert!((plan.rows_per_split * plan.splits).is_power_of_two(), "{problem:?}: {plan:?}");
            count += 1;
        }
    }
    assert!(count > 1000, "{count} plans");
}

#[test]
fn cooperative_matrices_are_chosen_where_they_serve_and_pay() {
    let nvidia = Ability { side: 16, subgroup: 32, memory: 48 << 10, vectors: true };
    let [software, discrete] = [wgpu::DeviceType::Cpu, wgpu::DeviceType::DiscreteGpu].map(Tuning::of);
    let problem = Problem {
        batch: 4096,
        patterns: 65_536,
        key_vectors: 16,
        subgroups: true,
        cooperate: Some(nvidia),
        parts: 2,
        fused: true,
        ..Problem::default()
    };
    let plan = |problem, tuning, hint| {
        Plan::new(&problem, tuning, &Overrides { strategy: hint, ..Overrides::default() }).strategy
    };
    let strategy = |problem: Problem, hint| plan(problem, &discrete, hint);
    assert_eq!(strategy(problem, None), How::FusedMatrix);
    assert_eq!(strategy(problem, Some(How::FusedRegister)), How::FusedRegister);
    assert_eq!(strategy(Problem { batch: 16, ..problem }, None), How::FusedStream);
    assert_eq!(strategy(Problem { batch: 17, patterns: 1000, ..problem }, None), How::Staged);
    assert_eq!(strategy(Problem { cooperate: None, ..problem }, Some(How::FusedMatrix)), How::FusedRegister);
    assert_eq!(strategy(Problem { key_vectors: 33, ..problem }, Some(How::FusedMatrix)), How::Staged);
    assert_eq!(strategy(Problem { fused: false, ..problem }, Some(How::FusedMatrix)), How::Staged);
    assert_eq!(plan(problem, &software, None), How::FusedRegister);
}

#[test]
fn the_workspace_does_not_grow_with_the_memory() {
    for tuning in KINDS.map(Tuning::of) {
        for problem in shapes().filter(|problem| problem.patterns > 1_000_000) {
            let larger = Problem { patterns: 4 * problem.patterns, ..problem };
            let bytes = |problem: &Problem| {
                Plan::new(problem, &tuning, &Overrides::default()).workspace_bytes(problem, &tuning)
            };
            assert!(bytes(&larger) <= bytes(&problem).max(WORKSPACE), "{problem:?}");
        }
    }
}
