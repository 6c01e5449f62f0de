//! Walks through the text of a kernel as its threads do: which conditions vary among the threads of a threadgroup, and
//! what is read and written between barriers.

use std::collections::{BTreeMap, BTreeSet};

use super::text::{Function, Parameter, Statement, Token, closing, effect, is_word, parts};
use harness::control_flow::Leaves;

/// Whether all threads of a threadgroup, or of a simdgroup, must come to a function together.
pub fn is_collective(name: &str) -> bool {
    let name = name.trim_start_matches("metal::");
    name.ends_with("_barrier")
        || name.starts_with("simd")
            && !name.starts_with("simdgroup_half")
            && !name.starts_with("simdgroup_float")
            && !name.starts_with("simdgroup_bfloat")
        || name.starts_with("quad_")
        || name.starts_with("NagaCooperative")
}

fn is_barrier(statement: &Statement<'_>) -> bool {
    matches!(statement, Statement::Plain(tokens) if tokens[0] == "metal::threadgroup_barrier")
}

/// One function, called with arguments of which some vary.
struct Walk<'f, 'a> {
    all: &'f BTreeMap<Token<'a>, &'f Function<'a>>,
    /// Names whose value varies.
    varying: BTreeSet<Token<'a>>,
    /// Names of memory that the threadgroup shares and writes.
    shared: BTreeSet<Token<'a>>,
    returned: bool,
    path: String,
    findings: BTreeSet<String>,
    changed: bool,
}

/// What of a kernel's barriers and simdgroup functions may not be reached by all threads together.
pub fn varying_barriers(functions: &[Function<'_>]) -> BTreeSet<String> {
    let all: BTreeMap<_, _> = functions.iter().map(|function| (function.name, function)).collect();
    let mut findings = BTreeSet::new();
    for function in functions.iter().filter(|function| function.entry) {
        let uniform = ["threadgroup_position_in_grid", "threadgroups_per_grid"];
        let varies: Vec<bool> = function
            .parameters
            .iter()
            .map(|parameter| !uniform.iter().any(|uniform| parameter.attribute.contains(uniform)))
            .collect();
        findings.extend(Walk::of(&all, function, function.name, &varies, false).1);
    }
    findings
}

impl<'f, 'a> Walk<'f, 'a> {
    fn of(
        all: &'f BTreeMap<Token<'a>, &'f Function<'a>>,
        function: &'f Function<'a>,
        path: &str,
        arguments: &[bool],
        varies: bool,
    ) -> (bool, BTreeSet<String>) {
        let mut walk = Walk {
            all,
            varying: BTreeSet::new(),
            shared: BTreeSet::new(),
            returned: false,
            path: path.to_owned(),
            findings: BTreeSet::new(),
            changed: true,
        };
        for (parameter, varies) in function.parameters.iter().zip(arguments) {
            let constant = parameter.has("constant") || parameter.has("device") && parameter.has("const");
            if parameter.has("threadgroup") {
                walk.shared.insert(parameter.name);
            }
            // What another thread writes, and what a caller's variables hold, may differ from thread to thread.
            if !constant && (*varies || parameter.has("&")) {
                walk.varying.insert(parameter.name);
            }
        }
        while std::mem::take(&mut walk.changed) {
            walk.findings.clear();
            walk.block(&function.body, varies);
        }
        (walk.returned, walk.findings)
    }

    /// Whether the value of an expression varies. Members are named behind a dot.
    fn varies(&self, tokens: &[Token<'a>]) -> bool {
        tokens.iter().enumerate().any(|(at, token)| {
            let member = at > 0 && tokens[at - 1] == ".";
            !member && (self.varying.contains(token) || is_collective(token))
        })
    }

    fn find(&mut self, what: &str) {
        self.findings.insert(format!("{}: {what} in flow that may vary", self.path));
    }

    /// A name that is known to vary from here on.
    fn mark(&mut self, name: Token<'a>) {
        self.changed |= self.varying.insert(name);
    }

    fn block(&mut self, block: &'f [Statement<'a>], varies: bool) -> Leaves {
        let mut leaves = Leaves::default();
        for (at, statement) in block.iter().enumerate() {
            let varies = varies || leaves.any();
            // A load between two barriers gives all threads the same: nothing is written between them.
            let alone = at > 0 && is_barrier(&block[at - 1]) && block.get(at + 1).is_some_and(is_barrier);
            leaves = leaves.and(self.statement(statement, varies, alone));
        }
        leaves
    }

    fn statement(&mut self, statement: &'f Statement<'a>, varies: bool, alone: bool) -> Leaves {
        let nothing = Leaves::default();
        match statement {
            Statement::Block(body) => self.block(body, varies),
            Statement::If { condition, accept, reject } => match condition[..] {
                // A variant never takes a branch that its constants rule out.
                ["true"] => self.block(accept, varies),
                ["false"] => self.block(reject, varies),
                _ => {
                    self.collectives(condition, varies);
                    let varies = varies || self.varies(condition);
                    self.block(accept, varies).and(self.block(reject, varies))
                }
            },
            Statement::Switch { selector, cases } => {
                let varies = varies || self.varies(selector);
                cases.iter().fold(nothing, |leaves, case| {
                    let of_case = self.block(case, varies);
                    // A break leaves the switch, not the loop around it.
                    leaves.and(Leaves { of_loop: false, ..of_case })
                })
            }
            Statement::Loop { condition, body } => {
                // What leaves in one turn is missing in the next.
                let mut left = Leaves::default();
                for _ in 0..2 {
                    let varies = varies || left.of_loop || left.function || self.varies(condition);
                    left = left.and(self.block(body, varies));
                }
                Leaves { function: left.function, ..nothing }
            }
            Statement::Break => Leaves { of_loop: varies, ..nothing },
            Statement::Continue => Leaves { turn: varies, ..nothing },
            Statement::Return(value) => {
                self.collectives(value, varies);
                if (varies || self.varies(value)) && !self.returned {
                    self.returned = true;
                    self.changed = true;
                }
                Leaves { function: varies, ..nothing }
            }
            Statement::Plain(tokens) => {
                self.plain(tokens, varies, alone);
                nothing
            }
        }
    }

    fn collectives(&mut self, tokens: &[Token<'a>], varies: bool) {
        if let Some(name) = tokens.iter().find(|token| is_collective(token))
            && varies
        {
            self.find(name.trim_start_matches("metal::"));
        }
    }

    fn plain(&mut self, tokens: &'f [Token<'a>], varies: bool, alone: bool) {
        self.collectives(tokens, varies);
        let effect = effect(tokens);
        let call =
            effect.value.first().and_then(|name| self.all.get(name)).filter(|_| effect.value.get(1) == Some(&"("));
        let of_value = match call {
            Some(called) if !is_collective(called.name) => self.call(called, effect.value, varies),
            _ => {
                let shared = effect.value.iter().any(|token| self.shared.contains(token));
                let rest: Vec<_> = effect.value.iter().filter(|token| !self.shared.contains(*token)).copied().collect();
                if alone && shared { self.varies(&rest) } else { self.varies(effect.value) }
            }
        };
        let Some(root) = effect.target.first() else { return };
        let indexed = self.varies(&effect.target[1..]);
        // A name is declared where it is first assigned: naga gives each name once.
        if varies && effect.declares.is_none() || indexed || of_value {
            self.mark(root);
        }
    }

    /// Walks through a call; whether its result varies.
    fn call(&mut self, called: &'f Function<'a>, value: &'f [Token<'a>], varies: bool) -> bool {
        let close = closing(value, 1);
        let arguments = parts(&value[2..close]);
        let vary: Vec<bool> = arguments.iter().map(|argument| self.varies(argument)).collect();
        let writes = |parameter: &Parameter<'_>| parameter.has("thread") && !parameter.has("const");
        for (argument, parameter) in arguments.iter().zip(&called.parameters) {
            if writes(parameter) && argument.len() == 1 && is_word(argument[0]) {
                self.mark(argument[0]);
            }
        }
        let path = format!("{} > {}", self.path, called.name);
        let (returned, findings) = Walk::of(self.all, called, &path, &vary, varies);
        self.findings.extend(findings);
        returned || value[close + 1..].iter().any(|token| self.varying.contains(token))
    }
}

/// What has happened to a kernel's buffers since the last barrier for device memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Since<'a> {
    read: BTreeSet<Token<'a>>,
    written: BTreeSet<Token<'a>>,
}

impl Since<'_> {
    fn join(&mut self, other: Self) -> bool
    where
        Self: Sized,
    {
        let before = (self.read.len(), self.written.len());
        self.read.extend(other.read);
        self.written.extend(other.written);
        before != (self.read.len(), self.written.len())
    }
}

/// Buffers that a kernel reads and then writes, or writes and then reads, with no barrier for device memory between:
/// right only where each thread keeps to elements of its own. Each by its name in the shader.
pub fn unordered_buffers(functions: &[Function<'_>]) -> BTreeSet<String> {
    let all: BTreeMap<_, _> = functions.iter().map(|function| (function.name, function)).collect();
    let mut findings = BTreeSet::new();
    for function in functions.iter().filter(|function| function.entry) {
        let names = function.parameters.iter().filter(|parameter| parameter.has("device") && !parameter.has("const"));
        let buffers: BTreeMap<_, _> = names.map(|parameter| (parameter.name, parameter.name)).collect();
        let mut order = Order { all: &all, findings: &mut findings };
        order.block(&function.body, &buffers, &mut Since::default());
    }
    findings
}

struct Order<'f, 'a> {
    all: &'f BTreeMap<Token<'a>, &'f Function<'a>>,
    findings: &'f mut BTreeSet<String>,
}

impl<'f, 'a> Order<'f, 'a> {
    fn block(&mut self, block: &'f [Statement<'a>], buffers: &BTreeMap<Token<'a>, Token<'a>>, since: &mut Since<'a>) {
        for statement in block {
            match statement {
                Statement::Block(body) => self.block(body, buffers, since),
                Statement::If { condition, accept, reject } => {
                    self.read(condition, buffers, since);
                    let mut other = since.clone();
                    if condition[..] != ["false"] {
                        self.block(accept, buffers, since);
                    }
                    if condition[..] != ["true"] {
                        self.block(reject, buffers, &mut other);
                    }
                    match condition[..] {
                        ["true"] => {}
                        ["false"] => *since = other,
                        _ => _ = since.join(other),
                    }
                }
                Statement::Switch { selector, cases } => {
                    self.read(selector, buffers, since);
                    let before = since.clone();
                    for case in cases {
                        let mut of_case = before.clone();
                        self.block(case, buffers, &mut of_case);
                        since.join(of_case);
                    }
                }
                Statement::Loop { body, .. } => {
                    let before = since.clone();
                    for _ in 0..2 {
                        self.block(body, buffers, since);
                    }
                    since.join(before);
                }
                Statement::Break | Statement::Continue => {}
                Statement::Return(value) => self.read(value, buffers, since),
                Statement::Plain(tokens) if tokens[0] == "metal::threadgroup_barrier" => {
                    if tokens.contains(&"metal::mem_flags::mem_device") {
                        *since = Since::default();
                    }
                }
                Statement::Plain(tokens) => self.plain(tokens, buffers, since),
            }
        }
    }

    fn plain(&mut self, tokens: &'f [Token<'a>], buffers: &BTreeMap<Token<'a>, Token<'a>>, since: &mut Since<'a>) {
        let effect = effect(tokens);
        let call =
            effect.value.first().and_then(|name| self.all.get(name)).filter(|_| effect.value.get(1) == Some(&"("));
        if let Some(called) = call {
            let close = closing(effect.value, 1);
            let mut inner = BTreeMap::new();
            for (argument, parameter) in parts(&effect.value[2..close]).iter().zip(&called.parameters) {
                match buffers.get(argument[0]) {
                    Some(buffer) if parameter.has("device") => _ = inner.insert(parameter.name, *buffer),
                    _ => self.read(argument, buffers, since),
                }
            }
            self.block(&called.body, &inner, since);
        } else {
            self.read(effect.value, buffers, since);
        }
        if let Some((root, rest)) = effect.target.split_first() {
            self.read(rest, buffers, since);
            if let Some(buffer) = buffers.get(root) {
                if since.read.contains(buffer) {
                    self.findings.insert((*buffer).to_owned());
                }
                since.written.insert(buffer);
            }
        }
    }

    fn read(&mut self, tokens: &[Token<'a>], buffers: &BTreeMap<Token<'a>, Token<'a>>, since: &mut Since<'a>) {
        for (at, token) in tokens.iter().enumerate() {
            if let Some(buffer) = buffers.get(token)
                && !(at > 0 && tokens[at - 1] == ".")
            {
                if since.written.contains(buffer) {
                    self.findings.insert((*buffer).to_owned());
                }
                since.read.insert(buffer);
            }
        }
    }
}
