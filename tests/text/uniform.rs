//! Barriers and subgroup operations stand in uniform control flow in every kernel and variant: WebGPU requires it (Tint
//! refuses a kernel otherwise), FXC requires it in its own way, and Metal leaves the rest undefined. naga does not
//! check it, so this does, by the rules of WGSL (section 15.2) made a little stricter: a local variable is uniform only
//! if all that is ever stored in it is.

use std::collections::BTreeSet;

use attractor::internals::KERNELS;
use harness::control_flow::Leaves;
use harness::kernels::{parse, variants};
use naga::{AddressSpace, Block, BuiltIn, Expression, Function, Handle, Literal, Module, Statement, StorageAccess};

/// One function, called with arguments of which some vary.
struct Walk<'a> {
    module: &'a Module,
    function: &'a Function,
    /// Which arguments vary.
    arguments: Vec<bool>,
    /// Local variables that vary.
    locals: BTreeSet<Handle<naga::LocalVariable>>,
    /// Results of calls that vary.
    results: BTreeSet<Handle<Expression>>,
    /// Whether what is returned varies.
    returned: bool,
    name: String,
    findings: BTreeSet<String>,
    /// Whether something new is known to vary since this was cleared.
    changed: bool,
}

impl<'a> Walk<'a> {
    /// What is wrong with a function called from flow that varies or does not, and whether its result varies.
    fn of(
        module: &'a Module,
        function: &'a Function,
        name: &str,
        arguments: Vec<bool>,
        varies: bool,
    ) -> (bool, BTreeSet<String>) {
        let mut walk = Walk {
            module,
            function,
            arguments,
            locals: BTreeSet::new(),
            results: BTreeSet::new(),
            returned: false,
            name: name.to_owned(),
            findings: BTreeSet::new(),
            changed: true,
        };
        for (handle, variable) in function.local_variables.iter() {
            if variable.init.is_some_and(|init| walk.varies(init)) {
                walk.locals.insert(handle);
            }
        }
        while std::mem::take(&mut walk.changed) {
            walk.findings.clear();
            walk.block(&function.body, varies, false);
        }
        (walk.returned, walk.findings)
    }

    /// The variable behind a pointer, and whether an index on the way varies.
    fn root(&self, pointer: Handle<Expression>) -> (&'a Expression, bool) {
        match &self.function.expressions[pointer] {
            Expression::Access { base, index } => {
                let (root, varies) = self.root(*base);
                (root, varies || self.varies(*index))
            }
            Expression::AccessIndex { base, .. } => self.root(*base),
            other => (other, false),
        }
    }

    fn varies(&self, expression: Handle<Expression>) -> bool {
        let of = |handle: &Handle<Expression>| self.varies(*handle);
        match &self.function.expressions[expression] {
            // Constants, what all agree on, and addresses.
            Expression::Literal(_)
            | Expression::Constant(_)
            | Expression::Override(_)
            | Expression::ZeroValue(_)
            | Expression::WorkGroupUniformLoadResult { .. }
            | Expression::ArrayLength(_)
            | Expression::GlobalVariable(_)
            | Expression::LocalVariable(_) => false,
            Expression::FunctionArgument(index) => self.arguments[*index as usize],
            Expression::CallResult(_) => self.results.contains(&expression),
            Expression::Compose { components, .. } => components.iter().any(of),
            Expression::Access { base, index } => of(base) || of(index),
            Expression::AccessIndex { base, .. } => of(base),
            Expression::Splat { value, .. } => of(value),
            Expression::Swizzle { vector, .. } => of(vector),
            Expression::Unary { expr, .. } | Expression::As { expr, .. } => of(expr),
            Expression::Binary { left, right, .. } => of(left) || of(right),
            Expression::Select { condition, accept, reject } => of(condition) || of(accept) || of(reject),
            Expression::Relational { argument, .. } => of(argument),
            Expression::Math { arg, arg1, arg2, arg3, .. } => {
                [Some(arg), arg1.as_ref(), arg2.as_ref(), arg3.as_ref()].into_iter().flatten().any(of)
            }
            Expression::Load { pointer } => match self.root(*pointer) {
                (_, true) => true,
                (Expression::LocalVariable(variable), _) => self.locals.contains(variable),
                (Expression::GlobalVariable(variable), _) => {
                    match self.module.global_variables[*variable].space {
                        AddressSpace::Uniform => false,
                        AddressSpace::Storage { access } => access.contains(StorageAccess::STORE),
                        // Whatever another invocation may write.
                        _ => true,
                    }
                }
                _ => true,
            },
            // Atomics, subgroup operations, fragments of matrices.
            _ => true,
        }
    }

    fn find(&mut self, what: &str) {
        self.findings.insert(format!("{}: {what} in flow that may vary", self.name));
    }

    /// Walks through a block that is entered in flow that varies or does not.
    fn block(&mut self, block: &'a Block, varies: bool, in_loop: bool) -> Leaves {
        let mut leaves = Leaves::default();
        for statement in block {
            let varies = varies || leaves.any();
            leaves = leaves.and(self.statement(statement, varies, in_loop));
        }
        leaves
    }

    fn branches(&mut self, branches: &[&'a Block], varies: bool, in_loop: bool) -> Leaves {
        branches.iter().fold(Leaves::default(), |leaves, block| leaves.and(self.block(block, varies, in_loop)))
    }

    fn statement(&mut self, statement: &'a Statement, varies: bool, in_loop: bool) -> Leaves {
        let nothing = Leaves::default();
        match statement {
            Statement::Block(block) => self.block(block, varies, in_loop),
            Statement::If { condition, accept, reject } => {
                // A variant never takes a branch that its constants rule out.
                match self.function.expressions[*condition] {
                    Expression::Literal(Literal::Bool(true)) => return self.block(accept, varies, in_loop),
                    Expression::Literal(Literal::Bool(false)) => return self.block(reject, varies, in_loop),
                    _ => {}
                }
                let varies = varies || self.varies(*condition);
                self.branches(&[accept, reject], varies, in_loop)
            }
            Statement::Switch { selector, cases } => {
                let varies = varies || self.varies(*selector);
                let bodies: Vec<&Block> = cases.iter().map(|case| &case.body).collect();
                self.branches(&bodies, varies, in_loop)
            }
            Statement::Loop { body, continuing, break_if } => {
                // What leaves in one turn is missing in the next.
                let mut left = Leaves::default();
                for _ in 0..2 {
                    let varies = varies || left.of_loop || left.function;
                    let of_body = self.block(body, varies, true);
                    let varies = varies || of_body.of_loop || of_body.function;
                    let of_continuing = self.block(continuing, varies, true);
                    left = left.and(of_body).and(of_continuing);
                    left.of_loop |= break_if.is_some_and(|condition| varies || self.varies(condition));
                }
                self.header_breaks(body);
                Leaves { function: left.function, ..nothing }
            }
            Statement::Break => Leaves { of_loop: varies && in_loop, ..nothing },
            Statement::Continue => Leaves { turn: varies, ..nothing },
            Statement::Return { value } => {
                let returned = varies || value.is_some_and(|value| self.varies(value));
                if returned && !self.returned {
                    self.returned = true;
                    self.changed = true;
                }
                Leaves { function: varies, ..nothing }
            }
            Statement::ControlBarrier(_) | Statement::WorkGroupUniformLoad { .. } => {
                if varies {
                    self.find("a barrier");
                }
                nothing
            }
            Statement::SubgroupBallot { .. }
            | Statement::SubgroupGather { .. }
            | Statement::SubgroupCollectiveOperation { .. } => {
                if varies {
                    self.find("a subgroup operation");
                }
                nothing
            }
            Statement::Store { pointer, value } => {
                let (root, indexed) = self.root(*pointer);
                if let Expression::LocalVariable(variable) = root
                    && (varies || indexed || self.varies(*value))
                {
                    self.changed |= self.locals.insert(*variable);
                }
                nothing
            }
            Statement::Call { function, arguments, result } => {
                let called = &self.module.functions[*function];
                // A pointer to a local variable would carry variation back; the kernels hand none over.
                let arguments: Vec<bool> = arguments.iter().map(|argument| self.varies(*argument)).collect();
                let name = format!("{} > {}", self.name, called.name.as_deref().unwrap_or("?"));
                let (returned, findings) = Walk::of(self.module, called, &name, arguments, varies);
                self.findings.extend(findings);
                if let (Some(result), true) = (result, returned) {
                    self.changed |= self.results.insert(*result);
                }
                nothing
            }
            _ => nothing,
        }
    }

    /// FXC takes what follows a loop for varying flow if the loop has a `break` that varies, other than its own test.
    fn header_breaks(&mut self, body: &'a Block) {
        let tests = |statement: &Statement| match statement {
            Statement::If { accept, reject, .. } => {
                accept.is_empty() && matches!(reject.first(), Some(Statement::Break))
            }
            _ => false,
        };
        // The test, and what it is computed from, come first.
        let own = body.iter().position(tests).map_or(0, |test| test + 1);
        for statement in body.iter().skip(own) {
            if self.breaks(statement, false) {
                self.find("a break other than the test of its loop");
            }
        }
    }

    /// Whether a statement may leave the loop around it in flow that varies.
    fn breaks(&self, statement: &'a Statement, varies: bool) -> bool {
        let any = |block: &'a Block, varies: bool| block.iter().any(|statement| self.breaks(statement, varies));
        match statement {
            Statement::Break => varies,
            Statement::Block(block) => any(block, varies),
            Statement::If { condition, accept, reject } => {
                let varies = varies || self.varies(*condition);
                any(accept, varies) || any(reject, varies)
            }
            _ => false,
        }
    }
}

/// What is wrong with a kernel.
fn findings(text: &str) -> BTreeSet<String> {
    let module = parse("kernel", text);
    let main = &module.entry_points[0].function;
    let varies = |binding: &Option<naga::Binding>| {
        !matches!(binding, Some(naga::Binding::BuiltIn(BuiltIn::WorkGroupId | BuiltIn::NumWorkGroups)))
    };
    let arguments = main.arguments.iter().map(|argument| varies(&argument.binding)).collect();
    Walk::of(&module, main, "main", arguments, false).1
}

#[test]
fn barriers_stand_in_uniform_flow() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for variant in variants() {
        count += 1;
        let found = findings(&variant.text);
        wrong.extend(found.into_iter().map(|finding| format!("{}: {finding}", variant.name)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{count} variants of {} kernels, every barrier in uniform control flow", KERNELS.len());
}

/// Each of these was or could be in a kernel; all of them pass naga's validation.
#[test]
fn barriers_in_varying_flow_are_found() {
    let kernel = |body: &str| {
        format!(
            "@group(0) @binding(0) var<uniform> size: u32;
            @group(0) @binding(1) var<storage, read> given: array<u32>;
            @group(0) @binding(2) var<storage, read_write> made: array<u32>;
            var<workgroup> word: u32;
            var<workgroup> votes: atomic<u32>;
            fn together() -> u32 {{ workgroupBarrier(); return atomicLoad(&votes); }}
            fn agreed() -> u32 {{ return workgroupUniformLoad(&word); }}
            @compute @workgroup_size(64)
            fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) local: u32) {{ {body} }}"
        )
    };
    for uniform in [
        "workgroupBarrier();",
        "if (group.x < size) { workgroupBarrier(); }",
        "if (given[group.x] > 3u) { return; } workgroupBarrier();",
        "for (var i = 0u; i < size; i += 1u) { workgroupBarrier(); }",
        "for (var i = local; i < size; i += 64u) { made[i] = 1u; } workgroupBarrier();",
        "for (var i = 0u; i < size; i += 64u) { if (i + local >= size) { continue; } made[i] = 1u; } workgroupBarrier();",
        "let n = agreed(); if (n > 2u) { workgroupBarrier(); }",
        "if (local == 0u) { made[0] = 1u; } workgroupBarrier();",
        "if (false) { if (local > 3u) { workgroupBarrier(); } }",
    ] {
        assert_eq!(findings(&kernel(uniform)), BTreeSet::new(), "{uniform}");
    }
    for varying in [
        "if (local < 3u) { workgroupBarrier(); }",
        "if (local > size) { return; } workgroupBarrier();",
        "if (made[0] > 3u) { workgroupBarrier(); }",
        "if (made[0] > 3u) { return; } workgroupBarrier();",
        "for (var i = local; i < size; i += 64u) { workgroupBarrier(); }",
        "var n = 0u; if (local > 3u) { n = 1u; } if (n > 0u) { workgroupBarrier(); }",
        "var n = size; loop { if (n == 0u) { break; } workgroupBarrier(); n = made[n]; }",
        "let n = together(); if (n > 2u) { workgroupBarrier(); }",
        "if (local > 3u) { _ = together(); }",
        "if (local > 3u) { _ = agreed(); }",
        "for (var i = 0u; i < size; i += 1u) { if (local > i) { continue; } workgroupBarrier(); }",
        "for (var i = 0u; i < size; i += 1u) { if (local > i) { break; } made[i] = 1u; } workgroupBarrier();",
        "if (word > 2u) { workgroupBarrier(); }",
    ] {
        assert!(!findings(&kernel(varying)).is_empty(), "{varying}");
    }
}
