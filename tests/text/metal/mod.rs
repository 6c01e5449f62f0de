//! Reads the Metal Shading Language that naga makes of every variant of every kernel for what Metal leaves undefined or
//! does not have. There is no compiler for it here, and none of this has run on Metal.
//!
//! Each check has a name, a reason and a source. MSL stands for the Metal Shading Language Specification, whose
//! sections are named by their titles, MFST for the Metal Feature Set Tables, hal for the Metal backend of wgpu-hal 30,
//! whose options these are.

mod flow;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use attractor::internals::{Ability, Constant, KERNELS, Kernel, Overrides, Plan, Problem, link};
use attractor::tuning::Tuning;
use attractor::{Device, wgpu};
use harness::kernels;
use naga::back::msl;
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};
use naga::valid::{FunctionInfo, ModuleInfo};
use naga::{
    AddressSpace, ArraySize, BinaryOperator, Expression, Function, Handle, Literal, Module, ScalarKind, StorageAccess,
    TypeInner, UnaryOperator,
};
use text::Statement;

/// MFST, maximum total threadgroup memory allocation: Apple4 and later, Mac2. Apple2 and Apple3 have half of it.
const THREADGROUP_BYTES: u32 = 32 << 10;
/// MFST, maximum number of entries in the buffer argument table.
const BUFFERS: u32 = 31;
/// MFST, maximum threads per threadgroup: Apple4 and later, Mac2. Apple2 and Apple3 have half of it.
const THREADS: u32 = 1024;
/// MFST, buffer length on the smallest devices that wgpu supports.
const SMALLEST_MOST_BUFFER: u64 = 256 << 20;
/// The maximum bytes of arrays of one thread; more needs a look at what it does to occupancy.
const PRIVATE_BYTES: u32 = 2560;
/// The versions of the language that hal asks for on macOS 11 and on macOS 26. Older ones lack simdgroup matrices.
const VERSIONS: [(u8, u8); 2] = [(2, 3), (4, 0)];

/// One translation of one variant.
struct Reading<'a> {
    /// The kernel's stem.
    stem: &'a str,
    /// Whether the variant uses simdgroup functions, and simdgroup matrices.
    subgroups: bool,
    cooperates: bool,
    version: (u8, u8),
    checked: bool,
    text: &'a str,
    module: &'a Module,
    info: &'a ModuleInfo,
    functions: Vec<text::Function<'a>>,
}

/// A check: what it is called, why it is made and by which source, and what it finds.
struct Check {
    name: &'static str,
    reason: &'static str,
    find: fn(&Reading<'_>) -> Vec<String>,
}

const CHECKS: &[Check] = &[
    Check {
        name: "barriers and simdgroup functions in uniform flow",
        reason: "MSL, Threadgroup and SIMD-Group Synchronization Functions: all threads must execute a barrier, \
                 and where it is in a conditional or a loop, all must enter it; SIMD-Group Functions: what \
                 inactive threads give is undefined",
        find: |reading| flow::varying_barriers(&reading.functions).into_iter().collect(),
    },
    Check {
        name: "threadgroup memory",
        reason: "MFST, total threadgroup memory allocation: 32 KiB, older devices 16 KiB; hal gives each argument \
                 what WGSL takes, rounded up to 16 bytes",
        find: threadgroup_memory,
    },
    Check {
        name: "buffer arguments",
        reason: "MFST, entries in the buffer argument table: 31; hal gives buffers their indices in the order of \
                 the bindings, and the sizes come last",
        find: buffer_arguments,
    },
    Check {
        name: "threads of a threadgroup",
        reason: "MFST, threads per threadgroup: 1,024, older devices 512; MSL, Kernel Functions: registers are \
                 shared out by max_total_threads_per_threadgroup, which must not be exceeded",
        find: threads,
    },
    Check {
        name: "memory of a thread",
        reason: "no limit is documented; what does not fit registers is spilled to device memory",
        find: |reading| {
            let bytes = private_memory(reading);
            if bytes > PRIVATE_BYTES { vec![format!("{bytes} bytes in arrays")] } else { Vec::new() }
        },
    },
    Check {
        name: "loops that end",
        reason: "C++ [intro.progress]: a loop that neither ends nor has an effect may be removed",
        find: loops,
    },
    Check {
        name: "no float becomes an integer",
        reason: "MSL, Conversion Rules for Floating-Point and Integer Types: what the integer cannot hold is \
                 undefined",
        find: |reading| expressions(reading, float_to_int),
    },
    Check {
        name: "divisors other than zero",
        reason: "MSL, Operators: integer division by zero, and of the smallest number by -1, is undefined",
        find: |reading| expressions(reading, divisors),
    },
    Check {
        name: "shifts within a word",
        reason: "C++ [expr.shift]: a shift by the width or more, or of a negative number to the left, is \
                 undefined",
        find: |reading| expressions(reading, shifts),
    },
    Check {
        name: "variables with a value",
        reason: "C++ [dcl.init]: reading what was never written is undefined",
        find: initialisers,
    },
    Check {
        name: "atomics",
        reason: "MSL, Atomic Functions: of 32-bit integers, relaxed. What threadgroups of one dispatch tell one \
                 another has no order then, so no kernel does",
        find: atomics,
    },
    Check {
        name: "device memory between threads",
        reason: "MSL, Threadgroup and SIMD-Group Synchronization Functions: mem_threadgroup orders threadgroup \
                 memory alone",
        find: device_memory,
    },
    Check {
        name: "NaN, infinity and the sign of zero",
        reason: "MSL, Math Intrinsics Compiler Options: hal leaves the math mode at fast, in which the compiler \
                 may assume that there is no NaN and no infinity, and ignore the sign of zero",
        find: special_numbers,
    },
    Check {
        name: "bits of floats",
        reason: "the same: bits are the way around it, so each place that takes or makes them is reviewed",
        find: bits_of_floats,
    },
    Check {
        name: "no error-free transformation",
        reason: "MSL, ULPs and Relative Error: in fast mode the compiler may reassociate, and (a + b) - a is b",
        find: |reading| expressions(reading, error_free),
    },
    Check {
        name: "literals that a float holds",
        reason: "MSL, INF, NaN, and Denormalized Rng: subnormal numbers may be flushed; Scalar Data Types: no \
                 double",
        find: literals,
    },
    Check {
        name: "functions with a known accuracy",
        reason: "MSL, ULPs and Relative Error: the table for fast mode, which the bounds of the tests allow for",
        find: library,
    },
    Check {
        name: "types and functions of the version",
        reason: "MSL, Scalar Data Types: no double; MFST: simdgroup functions from Apple7, matrices from Apple7 \
                 and MSL 2.3",
        find: types,
    },
];

/// Device buffers that a kernel reads and writes with no barrier between, and why that is right.
const OWN_ELEMENTS: &[(&str, &str, &str)] = &[
    ("solve_threshold", "flags", "the first thread alone"),
    ("weights", "tallies", "the first thread alone"),
    ("settle_listed", "flags", "the first thread alone"),
    ("count_scores", "found", "the first thread alone"),
    ("separation", "scores", "each thread turns its own scores into weights"),
    ("weights", "scores", "each thread turns its own scores into weights"),
    ("similarity", "given", "a trial is added up by one thread, always the same"),
    ("bracket_threshold", "brackets", "the first thread alone"),
    ("gather_support", "running_sums", "a column belongs to one thread of one threadgroup"),
    ("merge", "running_sums", "a column belongs to one thread of one threadgroup"),
    ("merge", "running_stats", "read from one slot, written to the other"),
    ("update_states", "state", "a column belongs to one thread"),
    ("advance_states", "state", "a column belongs to one thread"),
    ("advance_states", "report", "the first thread alone"),
    (
        "advance_states",
        "running_sums",
        "a column, then a block, belongs to one thread, with a barrier where that changes",
    ),
    ("bind_vectors", "product", "a column belongs to one thread"),
    ("bind_vectors", "flags", "the first thread alone"),
    ("find_cycles", "saved", "a column belongs to one thread"),
    ("find_cycles", "flags", "the first thread alone"),
    ("find_cycles", "report", "the first thread alone"),
];

/// Functions that look at the bits of a float or make a float of bits, by kernel, and why no NaN, infinity, subnormal
/// number or sign of zero matters there. Scores are finite (shaders/lib/score.wgsl), weights and their sums are, too.
const BITS: &[(&str, &str, &str)] = &[
    ("", "key_of", "of a score; both zeros give one key"),
    ("", "score_of", "of a key that was made of a score, or lies between two such"),
    ("", "listed_score", "a score of a list, as it was stored"),
    ("", "score_at", "a score or a weight of a list, as it was stored"),
    ("merge_candidates", "prune", "a score of the list, or zero"),
    ("merge_candidates", "select_top", "a score of the list, or zero"),
    ("merge_candidates", "main", "a score of a segment, or zero"),
    ("fused_matrix", "put_parts", "of a finite number, rounded to what a half holds"),
    ("fused_matrix", "scale_query", "a power of two by its exponent, within that of normal numbers"),
    ("update_states", "main", "a change that is told, and whether a sum is finite and above zero"),
    ("gather_support", "main", "a weight of the list, as it was stored"),
    ("", "beta_of", "a beta, as the host has it"),
    ("advance_states", "main", "a change that is told, a beta, and whether a sum is finite and above zero"),
    ("advance_states", "local_of", "a field, as the host has it"),
    ("load_queries", "main", "of the caller's, when they are a finite number; bounds as they are told"),
    ("load_queries", "flag_of", "a bound as it is told, compared as bits"),
    ("bracket_threshold", "add_up", "a score, as it was stored"),
    ("bracket_threshold", "is_after", "logarithms of weights, negative and finite"),
    ("bracket_threshold", "is_below", "a sum of weights"),
    ("bracket_threshold", "main", "logarithms of weights"),
    ("bracket_threshold", "open", "logarithms of weights"),
    ("bracket_threshold", "sum_of_two", "sums of weights; counts are added as integers"),
    ("bracket_threshold", "trial_of", "logarithms of weights"),
    ("filter_candidates", "main", "a score, as it is stored"),
    ("similarity", "forget_trials", "NO_SCORE, as it is stored"),
    ("similarity", "try_tile", "sums of weights, scores and logarithms, as they are stored"),
    ("solve_threshold", "main", "a score or a weight of the list, as it is stored"),
    ("settle_listed", "main", "a score, as it is stored"),
];

impl<'a> Reading<'a> {
    fn entry(&self) -> &text::Function<'a> {
        self.functions.iter().find(|function| function.entry).expect("a kernel")
    }

    /// Every function of the module, its name and what is known of it.
    fn all(&self) -> impl Iterator<Item = (&'a str, &'a Function, &'a FunctionInfo)> {
        let (module, info) = (self.module, self.info);
        let functions = module
            .functions
            .iter()
            .map(|(handle, function)| (function.name.as_deref().unwrap_or("?"), function, &info[handle]));
        functions.chain(std::iter::once(("main", &module.entry_points[0].function, info.get_entry_point(0))))
    }
}

/// A function, its information, and an expression of it.
type At<'a> = (&'a Module, &'a Function, &'a FunctionInfo, Handle<Expression>);

fn expressions(reading: &Reading<'_>, find: fn(At<'_>) -> Option<String>) -> Vec<String> {
    let mut found = Vec::new();
    for (name, function, info) in reading.all() {
        for (handle, _) in function.expressions.iter() {
            if let Some(what) = find((reading.module, function, info, handle)) {
                found.push(format!("{name}: {what}"));
            }
        }
    }
    found
}

/// The kind of a scalar or of a vector's components.
fn kind((module, _, info, _): At<'_>, expression: Handle<Expression>) -> Option<ScalarKind> {
    info[expression].ty.inner_with(&module.types).scalar_kind()
}

/// The least and the largest number that an unsigned expression may be, as far as its form tells.
fn bounds(at: At<'_>, expression: Handle<Expression>) -> Option<(u64, u64)> {
    let (module, function, ..) = at;
    let of = |handle: Handle<Expression>| bounds(at, handle);
    let literal = |literal: &Literal| match literal {
        Literal::U32(value) => Some((u64::from(*value), u64::from(*value))),
        Literal::I32(value) => u64::try_from(*value).ok().map(|value| (value, value)),
        _ => None,
    };
    match &function.expressions[expression] {
        Expression::Literal(value) => literal(value),
        Expression::Constant(constant) => match &module.global_expressions[module.constants[*constant].init] {
            Expression::Literal(value) => literal(value),
            _ => None,
        },
        Expression::Splat { value, .. } => of(*value),
        Expression::Compose { components, .. } => {
            let all: Option<Vec<_>> = components.iter().map(|component| of(*component)).collect();
            all?.into_iter().reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
        }
        Expression::Binary { op, left, right } => match op {
            BinaryOperator::Modulo => of(*right).filter(|right| right.0 > 0).map(|right| (0, right.1 - 1)),
            BinaryOperator::And => match (of(*left), of(*right)) {
                (Some(left), Some(right)) => Some((0, left.1.min(right.1))),
                (one, other) => one.or(other).map(|bounds| (0, bounds.1)),
            },
            BinaryOperator::Add => of(*left).zip(of(*right)).map(|(left, right)| (left.0 + right.0, left.1 + right.1)),
            BinaryOperator::Multiply => {
                of(*left).zip(of(*right)).map(|(left, right)| (left.0 * right.0, left.1 * right.1))
            }
            _ => None,
        },
        // The counter of a loop up to a constant, which it is compared with before all else.
        Expression::Load { pointer } => {
            let counted = function.expressions.iter().find_map(|(_, expression)| match expression {
                Expression::Binary { op: BinaryOperator::Less, left, right } => match function.expressions[*left] {
                    Expression::Load { pointer: compared } if compared == *pointer => of(*right),
                    _ => None,
                },
                _ => None,
            });
            matches!(function.expressions[*pointer], Expression::LocalVariable(_)).then_some(())?;
            counted.filter(|bounds| bounds.1 > 0).map(|bounds| (0, bounds.1 - 1))
        }
        _ => None,
    }
}

fn float_to_int(at: At<'_>) -> Option<String> {
    match at.1.expressions[at.3] {
        Expression::As { expr, kind: ScalarKind::Sint | ScalarKind::Uint, convert: Some(_) }
            if kind(at, expr) == Some(ScalarKind::Float) =>
        {
            Some("a float becomes an integer".into())
        }
        _ => None,
    }
}

fn divisors(at: At<'_>) -> Option<String> {
    let Expression::Binary { op: BinaryOperator::Divide | BinaryOperator::Modulo, right, .. } = at.1.expressions[at.3]
    else {
        return None;
    };
    match kind(at, right) {
        Some(ScalarKind::Uint) => match bounds(at, right) {
            Some((1.., _)) => None,
            _ => Some("a divisor that may be zero".into()),
        },
        Some(ScalarKind::Sint) => Some("a signed division".into()),
        _ => None,
    }
}

fn shifts(at: At<'_>) -> Option<String> {
    let Expression::Binary { op, left, right } = at.1.expressions[at.3] else { return None };
    match op {
        BinaryOperator::ShiftLeft if kind(at, left) == Some(ScalarKind::Sint) => {
            Some("a signed number is shifted to the left".into())
        }
        BinaryOperator::ShiftLeft | BinaryOperator::ShiftRight => match bounds(at, right) {
            Some((_, 0..=31)) => None,
            other => Some(format!("a shift by {other:?} bits")),
        },
        _ => None,
    }
}

/// The size that Metal gives a type, and its alignment.
fn layout(module: &Module, inner: &TypeInner) -> (u32, u32) {
    let vector = |width: u32, size: naga::VectorSize| {
        let lanes = if size == naga::VectorSize::Bi { 2 } else { 4 };
        (width * lanes, width * lanes)
    };
    match inner {
        TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) => (u32::from(scalar.width), u32::from(scalar.width)),
        TypeInner::Vector { size, scalar } => vector(scalar.width.into(), *size),
        TypeInner::Matrix { columns, rows, scalar } => {
            let (size, alignment) = vector(scalar.width.into(), *rows);
            (size * *columns as u32, alignment)
        }
        // A simdgroup holds it together: 64 numbers in 32 threads.
        TypeInner::CooperativeMatrix { columns, rows, scalar, .. } => {
            let numbers = *columns as u32 * *rows as u32;
            (numbers * u32::from(scalar.width) / 32, u32::from(scalar.width))
        }
        TypeInner::Array { base, size, .. } => {
            let (size_of, alignment) = layout(module, &module.types[*base].inner);
            let length = if let ArraySize::Constant(length) = size { length.get() } else { 0 };
            (size_of.next_multiple_of(alignment) * length, alignment)
        }
        TypeInner::Struct { members, .. } => {
            let (mut end, mut largest) = (0u32, 1);
            for member in members {
                let (size, alignment) = layout(module, &module.types[member.ty].inner);
                end = end.next_multiple_of(alignment) + size;
                largest = largest.max(alignment);
            }
            (end.next_multiple_of(largest), largest)
        }
        other => panic!("a variable of type {other:?}"),
    }
}

fn threadgroup_memory(reading: &Reading<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut total = 0;
    let mut variables = 0;
    for (handle, variable) in reading.module.global_variables.iter() {
        if variable.space != AddressSpace::WorkGroup || reading.info.get_entry_point(0)[handle].is_empty() {
            continue;
        }
        let inner = &reading.module.types[variable.ty].inner;
        let given = inner.size(reading.module.to_ctx()).next_multiple_of(16);
        let (needed, _) = layout(reading.module, inner);
        if needed > given {
            found.push(format!("{:?} needs {needed} bytes, and is given {given}", variable.name));
        }
        total += given;
        variables += 1;
    }
    let arguments = reading.entry().parameters.iter().filter(|parameter| parameter.has("threadgroup")).count();
    if arguments != variables {
        found.push(format!("{arguments} arguments in threadgroup memory for {variables} variables"));
    }
    // Devices without matrices may have half of it.
    let most = if reading.cooperates { THREADGROUP_BYTES } else { THREADGROUP_BYTES / 2 };
    if total > most {
        found.push(format!("{total} bytes of threadgroup memory"));
    }
    found
}

fn buffer_arguments(reading: &Reading<'_>) -> Vec<String> {
    let mut found = Vec::new();
    let mut indices = Vec::new();
    for parameter in &reading.entry().parameters {
        if !parameter.has("constant") && !parameter.has("device") {
            continue;
        }
        match parameter.attribute[..] {
            ["buffer", "(", index, ")"] => indices.push(index.parse::<u32>().expect("an index")),
            ref other => found.push(format!("{} has no index but {other:?}", parameter.name)),
        }
    }
    if !indices.iter().copied().eq(0..indices.len() as u32) {
        found.push(format!("indices {indices:?}"));
    }
    let bindings = reading.module.global_variables.iter().filter(|(_, variable)| variable.binding.is_some()).count();
    if indices.len() > bindings + 1 || indices.iter().any(|index| *index >= BUFFERS) {
        found.push(format!("{} buffers for {bindings} bindings", indices.len()));
    }
    found
}

fn threads(reading: &Reading<'_>) -> Vec<String> {
    let size = reading.module.entry_points[0].workgroup_size;
    let total: u32 = size.iter().product();
    let mut found = Vec::new();
    if total > THREADS / 2 || total == 0 {
        found.push(format!("{size:?} threads"));
    }
    let told = ["max_total_threads_per_threadgroup", "(", &total.to_string(), ")"].map(str::to_owned);
    if reading.entry().attribute != told {
        found.push(format!("the compiler is told {:?} of {total} threads", reading.entry().attribute));
    }
    found
}

/// Bytes of the arrays and matrices that one thread holds for itself, of all functions, though not all live at once.
fn private_memory(reading: &Reading<'_>) -> u32 {
    let bytes = |ty: Handle<naga::Type>| {
        let inner = &reading.module.types[ty].inner;
        let large = matches!(inner, TypeInner::Array { .. } | TypeInner::CooperativeMatrix { .. });
        if large { layout(reading.module, inner).0 } else { 0 }
    };
    let globals = reading.module.global_variables.iter();
    let globals =
        globals.filter(|(_, variable)| variable.space == AddressSpace::Private).map(|(_, variable)| bytes(variable.ty));
    let locals = reading
        .all()
        .flat_map(|(_, function, _)| function.local_variables.iter())
        .map(|(_, variable)| bytes(variable.ty));
    globals.chain(locals).sum()
}

/// A loop begins, behind what naga puts first, with the test that ends it.
fn loops(reading: &Reading<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for function in &reading.functions {
        text::each(&function.body, &mut |statement| {
            let Statement::Loop { body, .. } = statement else { return };
            let ends = body.iter().any(|statement| match statement {
                Statement::If { condition, accept, reject } => {
                    let bound = condition.first() == Some(&"metal::all");
                    !bound && accept.is_empty() && matches!(reject[..], [Statement::Break])
                }
                _ => false,
            });
            let bounded = body.iter().any(|statement| match statement {
                Statement::If { condition, accept, .. } => {
                    condition.first() == Some(&"metal::all") && matches!(accept[..], [Statement::Break])
                }
                _ => false,
            });
            if !ends {
                found.push(format!("{}: a loop without a test of its own", function.name));
            }
            if bounded != reading.checked {
                found.push(format!("{}: a loop is bounded: {bounded}", function.name));
            }
        });
    }
    found
}

fn initialisers(reading: &Reading<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for function in &reading.functions {
        // naga's own: declares a matrix, and fills it in the next statement.
        if function.name.starts_with("NagaCooperative") {
            continue;
        }
        text::each(&function.body, &mut |statement| {
            if let Statement::Plain(tokens) = statement
                && let effect = text::effect(tokens)
                && let Some(name) = effect.declares
                && effect.value.is_empty()
            {
                found.push(format!("{}: {name} has no value", function.name));
            }
        });
    }
    found
}

/// Whether a type has an atomic in it.
fn holds_atomic(module: &Module, ty: Handle<naga::Type>) -> bool {
    match &module.types[ty].inner {
        TypeInner::Atomic(_) => true,
        TypeInner::Array { base, .. } => holds_atomic(module, *base),
        TypeInner::Struct { members, .. } => members.iter().any(|member| holds_atomic(module, member.ty)),
        _ => false,
    }
}

fn atomics(reading: &Reading<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (_, variable) in reading.module.global_variables.iter() {
        if matches!(variable.space, AddressSpace::Storage { .. }) && holds_atomic(reading.module, variable.ty) {
            found.push(format!("{:?}: an atomic in device memory", variable.name));
        }
    }
    for token in text::tokens(reading.text) {
        let known = matches!(token, "metal::atomic_uint" | "metal::atomic_int" | "metal::memory_order_relaxed");
        let function = token.starts_with("metal::atomic_") && token.ends_with("_explicit");
        let atomic = token.starts_with("metal::atomic") || token.starts_with("metal::memory_order");
        if atomic && !known && !function {
            found.push(token.to_owned());
        }
    }
    found
}

fn device_memory(reading: &Reading<'_>) -> Vec<String> {
    let own = |buffer: &str| OWN_ELEMENTS.iter().any(|(stem, name, _)| *stem == reading.stem && *name == buffer);
    let found = flow::unordered_buffers(&reading.functions).into_iter().filter(|buffer| !own(buffer));
    found.map(|buffer| format!("{buffer}: read and written with no barrier for device memory between")).collect()
}

fn special_numbers(reading: &Reading<'_>) -> Vec<String> {
    let mut found = expressions(reading, |at| match at.1.expressions[at.3] {
        Expression::Binary { op: BinaryOperator::Equal | BinaryOperator::NotEqual, left, .. }
            if kind(at, left) == Some(ScalarKind::Float) =>
        {
            Some("floats compared for equality".into())
        }
        Expression::Unary { op: UnaryOperator::LogicalNot, expr } => match at.1.expressions[expr] {
            Expression::Binary { op, left, .. }
                if kind(at, left) == Some(ScalarKind::Float)
                    && matches!(
                        op,
                        BinaryOperator::Less
                            | BinaryOperator::LessEqual
                            | BinaryOperator::Greater
                            | BinaryOperator::GreaterEqual
                    ) =>
            {
                Some("a comparison of floats is negated, which only a NaN tells from its opposite".into())
            }
            _ => None,
        },
        Expression::Relational { fun: naga::RelationalFunction::IsNan | naga::RelationalFunction::IsInf, .. } => {
            Some("a test for NaN or infinity".into())
        }
        _ => None,
    });
    for token in text::tokens(reading.text) {
        let name = token.trim_start_matches("metal::").to_ascii_lowercase();
        let special = ["isnan", "isinf", "isfinite", "isnormal", "isordered", "isunordered", "signbit", "copysign"];
        if special.contains(&&*name) || matches!(&*name, "infinity" | "nan" | "huge_valf" | "nextafter") {
            found.push(token.to_owned());
        }
    }
    found
}

fn bits_of_floats(reading: &Reading<'_>) -> Vec<String> {
    let mut found = expressions(reading, |at| match at.1.expressions[at.3] {
        Expression::As { expr, kind: to, convert: None } => {
            let from = kind(at, expr);
            match (from == Some(ScalarKind::Float), to == ScalarKind::Float) {
                (true, false) => Some("bits of a float".into()),
                (false, true) => Some("a float of bits".into()),
                _ => None,
            }
        }
        _ => None,
    });
    let reviewed = |what: &String| {
        let of = |stem: &str| stem.is_empty() || stem == reading.stem;
        BITS.iter().any(|(stem, function, _)| of(stem) && what.starts_with(&format!("{function}:")))
    };
    found.retain(|what| !reviewed(what));
    found
}

/// Whether two expressions compute the same, as far as their form tells.
fn same(function: &Function, one: Handle<Expression>, other: Handle<Expression>) -> bool {
    let same = |one, other| same(function, one, other);
    one == other
        || match (&function.expressions[one], &function.expressions[other]) {
            (Expression::Load { pointer: one }, Expression::Load { pointer: other }) => same(*one, *other),
            (
                Expression::AccessIndex { base: one, index: first },
                Expression::AccessIndex { base: other, index: second },
            ) => first == second && same(*one, *other),
            (Expression::Access { base: one, index: first }, Expression::Access { base: other, index: second }) => {
                same(*one, *other) && same(*first, *second)
            }
            (
                Expression::Binary { op: first, left: a, right: b },
                Expression::Binary { op: second, left: c, right: d },
            ) => first == second && same(*a, *c) && same(*b, *d),
            (Expression::Literal(one), Expression::Literal(other)) => one == other,
            _ => false,
        }
}

/// A difference of a sum and one of its terms, the other way around, or of a number and its own rounding.
fn error_free(at: At<'_>) -> Option<String> {
    let function = at.1;
    let Expression::Binary { op: BinaryOperator::Subtract, left, right } = function.expressions[at.3] else {
        return None;
    };
    if kind(at, left) != Some(ScalarKind::Float) {
        return None;
    }
    let holds = |sum: Handle<Expression>, term: Handle<Expression>| match function.expressions[sum] {
        Expression::Binary { op: BinaryOperator::Add | BinaryOperator::Subtract, left, right } => {
            same(function, left, term) || same(function, right, term)
        }
        Expression::As { expr, kind: ScalarKind::Float, convert: Some(_) } => match function.expressions[expr] {
            Expression::As { expr, kind: ScalarKind::Float, convert: Some(_) } => same(function, expr, term),
            _ => false,
        },
        _ => false,
    };
    (holds(left, right) || holds(right, left)).then(|| "a rounding error is computed".into())
}

fn literals(reading: &Reading<'_>) -> Vec<String> {
    let of = |expression: &Expression| match expression {
        Expression::Literal(Literal::F32(value)) if *value != 0.0 && !value.is_normal() => Some(format!("{value:e}")),
        Expression::Literal(Literal::F64(value)) => Some(format!("{value:e} is a double")),
        _ => None,
    };
    let globals = reading.module.global_expressions.iter().filter_map(|(_, expression)| of(expression));
    let locals = reading.all().flat_map(|(_, function, _)| function.expressions.iter());
    globals.chain(locals.filter_map(|(_, expression)| of(expression))).collect()
}

/// Metal's functions that the kernels call, with the accuracy that fast mode promises where it is not exact.
const LIBRARY: &[&str] = &[
    // Exact, or rounded once.
    "abs",
    "all",
    "clamp",
    "fma",
    "max",
    "min",
    "popcount",
    "select",
    "transpose",
    // A sum of products in any order.
    "dot",
    // 3 + floor(|2 x|) ulp.
    "exp",
    // 3 ulp, or 2^-21 between 0.5 and 2.
    "log",
    // As x rsqrt(x), 2 ulp or so.
    "sqrt",
];

fn library(reading: &Reading<'_>) -> Vec<String> {
    let tokens = text::tokens(reading.text);
    let mut found = Vec::new();
    for pair in tokens.windows(2) {
        let Some(name) = pair[0].strip_prefix("metal::").filter(|_| pair[1] == "(") else { continue };
        // Constructors of vectors and matrices, atomics and barriers are read by other checks.
        let constructor = name.ends_with(|c: char| c.is_ascii_digit());
        let other = name.starts_with("atomic_") || flow::is_collective(name);
        if !constructor && !other && !LIBRARY.contains(&name) {
            found.push(name.to_owned());
        }
    }
    found
}

fn types(reading: &Reading<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for token in text::tokens(reading.text) {
        let name = token.trim_start_matches("metal::");
        let matrix =
            name.starts_with("simdgroup_") && name != "simdgroup_barrier" || name.starts_with("NagaCooperative");
        let half = name == "half" || name.starts_with("half") && name[4..].starts_with(|c: char| c.is_ascii_digit());
        let wide = ["double", "long", "ulong", "int64_t", "uint64_t", "bfloat"].contains(&name);
        let unpacked = half && !reading.cooperates && !reading.text.contains("as_type<half2>");
        if wide || unpacked {
            found.push(format!("{token}: a type that not every device has"));
        }
        if matrix && (!reading.cooperates || reading.version < (2, 3) || name.contains("16x16")) {
            found.push(format!("{token}: a matrix"));
        }
        if flow::is_collective(name) && name.starts_with("simd_") && !reading.subgroups {
            found.push(format!("{token}: a simdgroup function in a variant for every device"));
        }
    }
    found
}

/// hal's options for a module whose shader runtime checks are all on or all off.
fn options(module: &Module, version: (u8, u8), checked: bool) -> msl::Options {
    let mut bindings: Vec<_> =
        module.global_variables.iter().filter_map(|(_, variable)| Some((variable.binding?, variable.space))).collect();
    bindings.sort_by_key(|(binding, _)| *binding);
    let mut resources = msl::EntryPointResources::default();
    for (index, (binding, space)) in (0u8..).zip(&bindings) {
        let mutable = matches!(space, AddressSpace::Storage { access } if access.contains(StorageAccess::STORE));
        let target = msl::BindTarget { buffer: Some(index), mutable, ..Default::default() };
        resources.resources.insert(*binding, target);
    }
    let storage = bindings.iter().any(|(_, space)| matches!(space, AddressSpace::Storage { .. }));
    resources.sizes_buffer = storage.then_some(bindings.len() as u8);
    let policy = if checked { BoundsCheckPolicy::Restrict } else { BoundsCheckPolicy::Unchecked };
    msl::Options {
        lang_version: version,
        per_entry_point_map: [("main".to_owned(), resources)].into(),
        inline_samplers: Vec::new(),
        spirv_cross_compatibility: false,
        fake_missing_bindings: false,
        bounds_check_policies: BoundsCheckPolicies {
            index: policy,
            buffer: policy,
            image_load: policy,
            binding_array: BoundsCheckPolicy::Unchecked,
        },
        // What `compile` in src/gpu/kernel.rs asks for.
        zero_initialize_workgroup_memory: false,
        force_loop_bounding: checked,
        task_dispatch_limits: None,
        mesh_shader_primitive_indices_clamp: checked,
        emit_int_div_checks: checked,
        ray_query_initialization_tracking: checked,
    }
}

/// Calls `read` with every translation of a shader, of which the text is what `damage` makes of naga's.
fn translations(stem: &str, wgsl: &str, damage: impl Fn(String) -> String, mut read: impl FnMut(&Reading<'_>)) {
    let (module, info) = kernels::validate(stem, wgsl);
    let pipeline = msl::PipelineOptions {
        entry_point: Some((naga::ShaderStage::Compute, "main".into())),
        vertex_pulling_transform: true,
        ..Default::default()
    };
    for version in VERSIONS {
        for checked in [false, true] {
            let (text, _) = msl::write_string(&module, &info, &options(&module, version, checked), &pipeline)
                .unwrap_or_else(|error| panic!("{stem}: {error}"));
            let text = damage(text);
            read(&Reading {
                stem,
                subgroups: wgsl.contains("subgroup"),
                cooperates: kernels::cooperates(wgsl),
                version,
                checked,
                text: &text,
                module: &module,
                info: &info,
                functions: text::functions(&text::tokens(&text)),
            });
        }
    }
}

/// Every variant that a device of Metal may be given: matrices there are of 8 by 8, loaded number by number.
fn variants() -> impl Iterator<Item = (&'static Kernel, String, String)> {
    kernels::variants().filter_map(|kernels::Linked { kernel, variant, name, text }| {
        let has = |fragment: &str| variant.fragments.iter().any(|(_, linked)| *linked == fragment);
        let metal = kernel.stem != "fused_matrix" || has("lib/matrix_8") && has("lib/entries_scalar");
        metal.then_some((kernel, name, text))
    })
}

#[test]
fn no_variant_is_undefined() {
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let (mut read, mut translated) = (0, 0);
    let mut held = BTreeMap::new();
    for (kernel, name, wgsl) in variants() {
        read += 1;
        translations(
            kernel.stem,
            &wgsl,
            |text| text,
            |reading| {
                translated += 1;
                for check in CHECKS {
                    let findings = (check.find)(reading).into_iter().map(|finding| format!("{name}: {finding}"));
                    found.entry(check.name).or_default().extend(findings);
                }
                let bytes = private_memory(reading);
                if bytes > 0 {
                    held.insert(name.clone(), bytes);
                }
            },
        );
    }
    for check in CHECKS {
        println!(
            "{}: {} findings in {translated} translations ({})",
            check.name,
            found[check.name].len(),
            check.reason
        );
    }
    for (name, bytes) in held {
        println!("a thread holds {bytes} bytes in arrays: {name}");
    }
    let wrong: Vec<_> =
        found.iter().flat_map(|(check, found)| found.iter().map(move |what| format!("{check}: {what}"))).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{read} variants read, {} checks, none undefined", CHECKS.len());
}

/// hal's limits of the smallest device that wgpu supports on Metal, as far as they matter here.
fn smallest_limits() -> wgpu::Limits {
    wgpu::Limits {
        max_bind_groups: 8,
        max_bindings_per_bind_group: 1000,
        // Two are hal's own: immediates, and the sizes of the others.
        max_storage_buffers_per_shader_stage: BUFFERS - 2,
        max_uniform_buffers_per_shader_stage: BUFFERS - 2,
        max_dynamic_uniform_buffers_per_pipeline_layout: BUFFERS - 2,
        max_buffer_size: SMALLEST_MOST_BUFFER,
        max_storage_buffer_binding_size: SMALLEST_MOST_BUFFER,
        max_uniform_buffer_binding_size: SMALLEST_MOST_BUFFER,
        min_uniform_buffer_offset_alignment: 256,
        min_storage_buffer_offset_alignment: 32,
        max_compute_workgroup_storage_size: THREADGROUP_BYTES / 2,
        max_compute_invocations_per_workgroup: THREADS / 2,
        max_compute_workgroup_size_x: THREADS / 2,
        max_compute_workgroup_size_y: THREADS / 2,
        max_compute_workgroup_size_z: THREADS / 2,
        max_compute_workgroups_per_dimension: 0xffff,
        ..wgpu::Limits::default()
    }
}

#[test]
fn the_minimum_limits_are_within_those_of_every_device() {
    let mut wrong = Vec::new();
    Device::minimum_limits().check_limits_with_fail_fn(&smallest_limits(), false, |limit, need, allowed| {
        wrong.push(format!("{limit}: {need} of {allowed}"));
    });
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// A kernel's stem, its constants and its fragments.
type Linked = (&'static str, Vec<Constant>, Vec<(&'static str, &'static str)>);

/// Every shape that a plan gives the fused kernels on Apple's GPUs, and what every plan allocates.
#[test]
fn every_plan_fits() {
    let mut tunings = vec![Tuning::of(wgpu::DeviceType::IntegratedGpu), Tuning::of(wgpu::DeviceType::DiscreteGpu)];
    // Whatever `attractor tune` may find.
    let mut tuned = tunings[0];
    assert!(
        tuned.set("register_max_dim", 128)
            && tuned.set("register_max_floats", 256)
            && tuned.set("register_subgroups", 1)
    );
    tunings.push(tuned);
    let ability = Ability { side: 8, subgroup: 32, memory: THREADGROUP_BYTES, vectors: false };
    let mut linked: BTreeSet<Linked> = BTreeSet::new();
    let mut plans = 0;
    for tuning in &tunings {
        for key_vectors in (1..=33).chain([64, 257, 1024, 16_384]) {
            for value_vectors in [0, 1, 7, 32, 300] {
                for (batch, patterns) in [(1, 10), (4, 1 << 20), (70, 5000), (1024, 1 << 24)] {
                    for (cooperate, parts) in [(None, 2), (Some(ability), 1), (Some(ability), 2)] {
                        for lists in [false, true] {
                            let fused = !lists;
                            let shape = Problem {
                                batch,
                                patterns,
                                key_vectors,
                                value_vectors,
                                subgroups: true,
                                unrolls_slowly: false,
                                cooperate,
                                parts,
                                fused,
                                lists,
                                top: lists,
                                bounded: lists,
                                compared: true,
                                previous: true,
                                saved: true,
                                seen: 0,
                                apart: false,
                                result: true,
                                unbounded: false,
                            };
                            let plan = Plan::new(&shape, tuning, &Overrides::default());
                            let bytes = plan.workspace_bytes(&shape, tuning);
                            assert!(bytes <= SMALLEST_MOST_BUFFER, "{shape:?}: {bytes} bytes");
                            plans += 1;
                            let columns = shape.columns();
                            for summed in [key_vectors, columns] {
                                let hold = plan.register.summing(summed, key_vectors);
                                if 4 * u64::from(key_vectors) <= tuning.register_max_dim {
                                    linked.insert(("fused_register", hold.constants(), hold.fragments()));
                                }
                                if let Some(cooperate) = plan.matrix {
                                    let cooperate = cooperate.summing(summed, key_vectors);
                                    linked.insert(("fused_matrix", cooperate.constants(), cooperate.fragments()));
                                }
                            }
                            linked.insert(("fused_stream", plan.stream.constants(), Vec::new()));
                        }
                    }
                }
            }
        }
    }
    let checks = CHECKS.iter().filter(|check| ["threadgroup memory", "threads of a threadgroup"].contains(&check.name));
    let checks: Vec<_> = checks.collect();
    assert_eq!(checks.len(), 2);
    for stem in ["fused_stream", "fused_register", "fused_matrix"] {
        let shapes = linked.iter().filter(|(of, ..)| *of == stem);
        println!("{stem}: {} shapes of {plans} plans", shapes.clone().count());
        assert!(shapes.clone().count() > 3, "{stem}");
        let kernel = KERNELS.iter().find(|kernel| kernel.stem == stem).unwrap();
        for (_, constants, fragments) in shapes {
            // With what takes most memory besides.
            let constants: Vec<_> = constants.iter().copied().chain([("TERMS", 1), ("KEEP", 1)]).collect();
            let wgsl = link(stem, kernel.source, &constants, fragments).unwrap();
            translations(
                stem,
                &wgsl,
                |text| text,
                |reading| {
                    for check in &checks {
                        let found = (check.find)(reading);
                        assert!(found.is_empty(), "{stem} {constants:?} {fragments:?}: {found:?}");
                    }
                },
            );
        }
    }
}

/// What a check finds in a shader, or in what `damage` makes of its translation.
fn found(check: &str, wgsl: &str, damage: impl Fn(String) -> String) -> Vec<String> {
    let check = CHECKS.iter().find(|known| known.name == check).unwrap_or_else(|| panic!("no check is called {check}"));
    let mut all = BTreeSet::new();
    translations("test", wgsl, damage, |reading| all.extend((check.find)(reading)));
    all.into_iter().collect()
}

fn kernel(body: &str) -> String {
    format!(
        "struct Pair {{ a: f32, b: u32 }}
        @group(0) @binding(0) var<uniform> size: u32;
        @group(0) @binding(1) var<storage, read> given: array<u32>;
        @group(0) @binding(2) var<storage, read_write> made: array<u32>;
        @group(0) @binding(3) var<storage, read> floats: array<f32>;
        var<workgroup> word: u32;
        var<workgroup> votes: atomic<u32>;
        var<private> mine: u32;
        fn together() -> u32 {{ workgroupBarrier(); return atomicLoad(&votes); }}
        fn agreed() -> u32 {{ return workgroupUniformLoad(&word); }}
        fn early(i: u32) -> u32 {{ if (i > 3u) {{ return 1u; }} return 2u; }}
        @compute @workgroup_size(64)
        fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {{ {body} }}"
    )
}

#[test]
fn barriers_in_varying_flow_are_found() {
    let check = "barriers and simdgroup functions in uniform flow";
    for uniform in [
        "workgroupBarrier();",
        "if (group.x < size) { workgroupBarrier(); }",
        "if (given[group.x] > 3u) { return; } workgroupBarrier();",
        "for (var i = 0u; i < size; i += 1u) { workgroupBarrier(); }",
        "for (var i = local; i < size; i += 64u) { made[i] = 1u; } workgroupBarrier();",
        "for (var i = 0u; i < size; i += 9u) { if (i + local > size) { continue; } made[i] = 1u; } workgroupBarrier();",
        "let n = agreed(); if (n > 2u) { workgroupBarrier(); }",
        "if (local == 0u) { made[0] = 1u; } workgroupBarrier();",
        "if (false) { if (local > 3u) { workgroupBarrier(); } }",
        "switch (size) { case 1u: { workgroupBarrier(); } default: {} }",
        "switch (local) { case 1u: { made[0] = 1u; } default: {} } workgroupBarrier();",
        "made[local] = subgroupAdd(local);",
        "if (early(size) == 1u) { workgroupBarrier(); }",
    ] {
        assert_eq!(found(check, &kernel(uniform), |text| text), Vec::<String>::new(), "{uniform}");
    }
    for varying in [
        "if (local < 3u) { workgroupBarrier(); }",
        "if (local > size) { return; } workgroupBarrier();",
        "made[0] = 1u; if (made[0] > 3u) { workgroupBarrier(); }",
        "made[0] = 1u; if (made[0] > 3u) { return; } workgroupBarrier();",
        "for (var i = local; i < size; i += 64u) { workgroupBarrier(); }",
        "var n = 0u; if (local > 3u) { n = 1u; } if (n > 0u) { workgroupBarrier(); }",
        "for (var i = 0u; i < size; i += 1u) { workgroupBarrier(); if (local == i) { break; } }",
        "for (var i = 0u; i < size; i += 1u) { if (local == i) { continue; } workgroupBarrier(); }",
        "if (local > 3u) { made[0] = together(); }",
        "if (together() > 3u) { workgroupBarrier(); }",
        "if (word > 3u) { workgroupBarrier(); }",
        "mine = local; if (mine > 3u) { workgroupBarrier(); }",
        "if (early(local) == 1u) { workgroupBarrier(); }",
        "switch (local) { case 1u: { workgroupBarrier(); } default: {} }",
        "if (local < 3u) { storageBarrier(); }",
        "if (local < 3u) { made[local] = subgroupAdd(local); }",
        "if (local < 3u) { made[local] = subgroupBroadcast(local, 0u); }",
        "loop { workgroupBarrier(); continuing { break if local > 3u; } }",
    ] {
        assert_ne!(found(check, &kernel(varying), |text| text), Vec::<String>::new(), "{varying}");
    }
}

/// Every check reports the fault that it exists to find, in a shader or in a damaged translation.
#[test]
fn every_check_finds_its_fault() {
    let mut tried = BTreeSet::from(["barriers and simdgroup functions in uniform flow"]);
    let mut fault = |check: &'static str, body: &str| {
        tried.insert(check);
        assert_ne!(found(check, &kernel(body), |text| text), Vec::<String>::new(), "{check}: {body}");
    };
    fault("memory of a thread", "var many: array<vec4<f32>, 200>; made[0] = bitcast<u32>(many[local].x);");
    fault("loops that end", "loop { made[local] = 1u; }");
    fault("loops that end", "loop { if (given[local] > 3u) { break; } made[local] += 1u; }");
    fault("no float becomes an integer", "made[local] = u32(floats[local]);");
    fault("no float becomes an integer", "made[local] = bitcast<u32>(vec2<i32>(vec2(floats[local])).x);");
    fault("divisors other than zero", "made[local] = local / given[local];");
    fault("divisors other than zero", "made[local] = local % size;");
    fault("divisors other than zero", "made[local] = bitcast<u32>(bitcast<i32>(local) / 3i);");
    fault("shifts within a word", "made[local] = 1u << given[local];");
    fault("shifts within a word", "made[local] = local >> (given[local] % 33u);");
    fault("shifts within a word", "made[local] = bitcast<u32>(bitcast<i32>(local) << 3u);");
    fault("shifts within a word", "for (var i = 0u; i < 40u; i += 1u) { made[i] = 1u << i; }");
    fault("device memory between threads", "made[local] = 1u; workgroupBarrier(); mine = made[local + 1u];");
    fault("device memory between threads", "mine = made[local + 1u]; workgroupBarrier(); made[local] = mine;");
    fault(
        "device memory between threads",
        "for (var i = 0u; i < 3u; i += 1u) { made[i] = mine; storageBarrier(); mine = made[local]; }",
    );
    fault("NaN, infinity and the sign of zero", "if (floats[local] == 0.0) { made[local] = 1u; }");
    fault("NaN, infinity and the sign of zero", "if (floats[local] != floats[local]) { made[local] = 1u; }");
    fault("NaN, infinity and the sign of zero", "if (!(floats[local] > 0.0)) { made[local] = 1u; }");
    fault("bits of floats", "made[local] = bitcast<u32>(floats[local]);");
    fault("bits of floats", "if (bitcast<f32>(given[local]) > 1.0) { made[local] = 1u; }");
    fault("no error-free transformation", "let a = floats[0]; let b = floats[1]; made[0] = u32((a + b) - a > 1.0);");
    fault("no error-free transformation", "let a = floats[0]; let s = a + floats[1]; made[0] = u32(s - a > 1.0);");
    fault(
        "no error-free transformation",
        "let a = floats[0]; let s = a + floats[1]; made[0] = u32(a - (a - s) > 1.0);",
    );
    fault("literals that a float holds", "made[local] = u32(floats[local] > 1e-40f);");
    fault("functions with a known accuracy", "made[local] = u32(pow(floats[local], 1.5) > 1.0);");
    fault("functions with a known accuracy", "made[local] = u32(tanh(floats[local]) > 1.0);");

    // What is fine, close to the faults.
    for (check, body) in [
        ("loops that end", "for (var i = local; i < size; i += 64u) { made[i] = 1u; }"),
        ("divisors other than zero", "made[local] = local / 3u % 7u;"),
        ("shifts within a word", "for (var i = 0u; i < 32u; i += 1u) { made[i] = (1u << i) >> (given[i] % 32u); }"),
        ("device memory between threads", "made[local] = 1u; storageBarrier(); mine = made[local + 1u];"),
        ("NaN, infinity and the sign of zero", "if (floats[local] > 0.0) { made[local] = 1u; }"),
        ("no error-free transformation", "let a = floats[0]; made[0] = u32((a + floats[1]) - floats[2] > 1.0);"),
        ("functions with a known accuracy", "made[local] = u32(exp(floats[local]) > 1.0);"),
    ] {
        assert_eq!(found(check, &kernel(body), |text| text), Vec::<String>::new(), "{check}: {body}");
    }

    let mut whole = |check: &'static str, from: &str, to: &str| {
        tried.insert(check);
        let sound = kernel(
            "word = early(local); mine = word; made[local] = u32(floats[local] > 1.0) + given[local] + mine + size;",
        );
        assert_eq!(found(check, &sound, |text| text), Vec::<String>::new(), "{check}: a sound kernel");
        let damaged = sound.replace(from, to);
        assert_ne!(damaged, sound, "{check}: {from}");
        assert_ne!(found(check, &damaged, |text| text), Vec::<String>::new(), "{check}: {to}");
    };
    let large = "var<workgroup> words: array<u32, 5000>; fn early(i: u32) -> u32 { if (words[i] > 1u) { return 3u; }";
    whole("threadgroup memory", "fn early(i: u32) -> u32 {", large);
    whole("threads of a threadgroup", "@workgroup_size(64)", "@workgroup_size(32, 32, 2)");
    let told = "@group(0) @binding(4) var<storage, read_write> told: atomic<u32>;
        fn early(i: u32) -> u32 { if (atomicLoad(&told) > 1u) { return 3u; }";
    whole("atomics", "fn early(i: u32) -> u32 {", told);

    let mut written = |check: &'static str, from: &'static str, to: &'static str| {
        tried.insert(check);
        let sound = kernel(
            "var a: u32; word = local; a = word; atomicAdd(&votes, a);
            made[local] = u32(floats[local] > 1.0) + given[local] + size;",
        );
        assert_eq!(found(check, &sound, |text| text), Vec::<String>::new(), "{check}: a sound kernel");
        let damaged = |text: String| {
            assert!(text.contains(from), "{check}: {from} in {text}");
            text.replace(from, to)
        };
        assert_ne!(found(check, &sound, damaged), Vec::<String>::new(), "{check}: {to}");
    };
    written("buffer arguments", "[[buffer(2)]]", "[[buffer(31)]]");
    written("buffer arguments", "[[buffer(2)]]", "[[user(fake0)]]");
    written("buffer arguments", "[[buffer(2)]]", "[[buffer(1)]]");
    written("threadgroup memory", ", threadgroup uint& word", "");
    written(
        "threads of a threadgroup",
        "max_total_threads_per_threadgroup(64)",
        "max_total_threads_per_threadgroup(32)",
    );
    written("variables with a value", "uint a = {};", "uint a;");
    written("atomics", "memory_order_relaxed", "memory_order_seq_cst");
    written("atomics", "atomic_uint", "atomic_float");
    written("NaN, infinity and the sign of zero", "metal::uint3 group", "metal::uint3 isnan");
    written("types and functions of the version", "float", "double");
    written("types and functions of the version", "uint a", "metal::simdgroup_float8x8 a");

    let checks: BTreeSet<_> = CHECKS.iter().map(|check| check.name).collect();
    assert_eq!(tried, checks, "every check is seen to fail");
}
