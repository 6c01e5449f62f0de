//! Enough of the Metal Shading Language to read what naga writes: its functions as statements, each with its tokens.

/// One token: an identifier with its namespaces, a number, or punctuation.
pub type Token<'a> = &'a str;

/// A statement.
#[derive(Clone, Debug)]
pub enum Statement<'a> {
    /// `{ ... }`
    Block(Vec<Statement<'a>>),
    /// `if (condition) accept else reject`
    If { condition: Vec<Token<'a>>, accept: Vec<Statement<'a>>, reject: Vec<Statement<'a>> },
    /// `while(condition) body`, and `do body while(condition)`, which naga writes for a switch of one case.
    Loop { condition: Vec<Token<'a>>, body: Vec<Statement<'a>> },
    /// `switch(selector) { ... }`: the bodies of all cases.
    Switch { selector: Vec<Token<'a>>, cases: Vec<Vec<Statement<'a>>> },
    /// `break;`
    Break,
    /// `continue;`
    Continue,
    /// `return value;`
    Return(Vec<Token<'a>>),
    /// Anything else that ends with a semicolon.
    Plain(Vec<Token<'a>>),
}

/// A parameter of a function.
#[derive(Clone, Debug)]
pub struct Parameter<'a> {
    /// Its tokens before its name: address space, type and `&`.
    pub kind: Vec<Token<'a>>,
    /// Its name.
    pub name: Token<'a>,
    /// What stands in `[[ ]]` behind it.
    pub attribute: Vec<Token<'a>>,
}

impl Parameter<'_> {
    /// Whether a word is in its type.
    pub fn has(&self, word: &str) -> bool {
        self.kind.contains(&word)
    }
}

/// A function.
#[derive(Clone, Debug)]
pub struct Function<'a> {
    /// Its name.
    pub name: Token<'a>,
    /// Whether it is a kernel.
    pub entry: bool,
    /// What stands in `[[ ]]` before it.
    pub attribute: Vec<Token<'a>>,
    /// Its parameters.
    pub parameters: Vec<Parameter<'a>>,
    /// Its body.
    pub body: Vec<Statement<'a>>,
}

/// Whether a token is an identifier.
pub fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// The tokens of a text, without comments and preprocessor lines.
pub fn tokens(text: &str) -> Vec<Token<'_>> {
    const LONG: [&str; 12] = ["<<", ">>", "==", "!=", "<=", ">=", "&&", "||", "+=", "-=", "*=", "/="];
    let mut tokens = Vec::new();
    for line in text.lines() {
        let mut rest = line.split("//").next().unwrap_or("").trim_start();
        if rest.starts_with('#') {
            continue;
        }
        while !rest.is_empty() {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let length = if is_word(rest) {
                let mut length = rest.find(|c| !word(c)).unwrap_or(rest.len());
                while rest[length..].starts_with("::") {
                    let more = &rest[length + 2..];
                    length += 2 + more.find(|c| !word(c)).unwrap_or(more.len());
                }
                length
            } else if rest.starts_with(|c: char| c.is_ascii_digit()) {
                // `1e-5` is one number.
                let mut before = ' ';
                rest.find(|c: char| {
                    let part = word(c) || c == '.' || (matches!(c, '+' | '-') && matches!(before, 'e' | 'E'));
                    before = c;
                    !part
                })
                .unwrap_or(rest.len())
            } else if LONG.iter().any(|long| rest.starts_with(long)) {
                2
            } else {
                rest.chars().next().map_or(1, char::len_utf8)
            };
            tokens.push(&rest[..length]);
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// The place of what closes the bracket at `open`.
pub fn closing(tokens: &[Token<'_>], open: usize) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match *token {
            "(" | "{" | "[" => depth += 1,
            ")" | "}" | "]" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    panic!("nothing closes {:?}", &tokens[open..tokens.len().min(open + 20)]);
}

/// The functions of a text in their order.
pub fn functions<'a>(tokens: &[Token<'a>]) -> Vec<Function<'a>> {
    let mut functions = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at] {
            ";" => begin = at + 1,
            // A struct or a constant; what they hold is not read here.
            "{" => {
                at = closing(tokens, at);
                if tokens.get(at + 1) != Some(&";") {
                    begin = at + 1;
                }
            }
            // An attribute is in brackets of its own.
            "(" if at > begin && is_word(tokens[at - 1]) && tokens[begin..at].iter().all(|token| *token != "=") => {
                let close = closing(tokens, at);
                if tokens.get(close + 1) == Some(&"{") {
                    let end = closing(tokens, close + 1);
                    let head = &tokens[begin..at - 1];
                    let attribute = match head.first() {
                        Some(&"[") => head[2..closing(head, 0) - 1].to_vec(),
                        _ => Vec::new(),
                    };
                    functions.push(Function {
                        name: tokens[at - 1],
                        entry: head.contains(&"kernel"),
                        attribute,
                        parameters: parameters(&tokens[at + 1..close]),
                        body: block(&tokens[close + 2..end]),
                    });
                    at = end;
                    begin = end + 1;
                } else {
                    at = close;
                }
            }
            "[" => at = closing(tokens, at),
            _ => {}
        }
        at += 1;
    }
    functions
}

/// The parts of a list between its commas.
pub fn parts<'t, 'a>(tokens: &'t [Token<'a>]) -> Vec<&'t [Token<'a>]> {
    let mut parts = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < tokens.len() {
        match tokens[at] {
            "(" | "{" | "[" => at = closing(tokens, at),
            "," => {
                parts.push(&tokens[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    if begin < tokens.len() {
        parts.push(&tokens[begin..]);
    }
    parts
}

fn parameters<'a>(tokens: &[Token<'a>]) -> Vec<Parameter<'a>> {
    let of = |part: &[Token<'a>]| {
        let end = part.iter().position(|token| *token == "[").unwrap_or(part.len());
        let attribute = if end < part.len() { part[end + 2..part.len() - 2].to_vec() } else { Vec::new() };
        Parameter { kind: part[..end - 1].to_vec(), name: part[end - 1], attribute }
    };
    parts(tokens).into_iter().map(of).collect()
}

fn block<'a>(tokens: &[Token<'a>]) -> Vec<Statement<'a>> {
    let mut statements = Vec::new();
    let mut rest = tokens;
    while !rest.is_empty() {
        let (statement, after) = statement(rest);
        statements.push(statement);
        rest = after;
    }
    statements
}

/// The first statement and what follows it.
fn statement<'t, 'a>(tokens: &'t [Token<'a>]) -> (Statement<'a>, &'t [Token<'a>]) {
    // What is in the brackets at `open`, and the place behind them.
    let inside = |open: usize| {
        let close = closing(tokens, open);
        (&tokens[open + 1..close], close + 1)
    };
    let body = |open: usize| {
        if tokens[open] == "{" {
            let (body, after) = inside(open);
            return (block(body), after);
        }
        let (one, after) = statement(&tokens[open..]);
        (vec![one], tokens.len() - after.len())
    };
    match tokens[0] {
        "{" => {
            let (statements, after) = body(0);
            (Statement::Block(statements), &tokens[after..])
        }
        "if" => {
            let (condition, then) = inside(1);
            let (accept, mut after) = body(then);
            let mut reject = Vec::new();
            if tokens.get(after) == Some(&"else") {
                (reject, after) = body(after + 1);
            }
            (Statement::If { condition: condition.to_vec(), accept, reject }, &tokens[after..])
        }
        "while" => {
            let (condition, then) = inside(1);
            let (body, after) = body(then);
            (Statement::Loop { condition: condition.to_vec(), body }, &tokens[after..])
        }
        "do" => {
            let (body, after) = body(1);
            let (condition, after) = inside(after + 1);
            (Statement::Loop { condition: condition.to_vec(), body }, &tokens[after + 1..])
        }
        "switch" => {
            let (selector, then) = inside(1);
            let (inner, after) = inside(then);
            let mut cases = Vec::new();
            let mut rest = inner;
            while !rest.is_empty() {
                match rest[0] {
                    "case" | "default" => {
                        let colon = rest.iter().position(|token| *token == ":").expect("a case ends with a colon");
                        rest = &rest[colon + 1..];
                        cases.push(Vec::new());
                    }
                    _ => {
                        let (one, after) = statement(rest);
                        cases.last_mut().expect("a switch begins with a case").push(one);
                        rest = after;
                    }
                }
            }
            (Statement::Switch { selector: selector.to_vec(), cases }, &tokens[after..])
        }
        first => {
            let mut end = 0;
            while tokens[end] != ";" {
                if matches!(tokens[end], "(" | "{" | "[") {
                    end = closing(tokens, end);
                }
                end += 1;
            }
            let rest = &tokens[end + 1..];
            let statement = match first {
                "break" => Statement::Break,
                "continue" => Statement::Continue,
                "return" => Statement::Return(tokens[1..end].to_vec()),
                _ => Statement::Plain(tokens[..end].to_vec()),
            };
            (statement, rest)
        }
    }
}

/// What a plain statement does.
#[derive(Clone, Debug)]
pub struct Effect<'t, 'a> {
    /// What it declares, if anything.
    pub declares: Option<Token<'a>>,
    /// What it assigns to: a variable with its members and indices.
    pub target: &'t [Token<'a>],
    /// What it computes.
    pub value: &'t [Token<'a>],
}

/// Takes a plain statement apart.
pub fn effect<'t, 'a>(tokens: &'t [Token<'a>]) -> Effect<'t, 'a> {
    let mut at = 0;
    while at < tokens.len() && !matches!(tokens[at], "=" | "+=" | "-=" | "*=" | "/=") {
        if matches!(tokens[at], "(" | "{" | "[") {
            at = closing(tokens, at);
        }
        at += 1;
    }
    let (left, value) = if at < tokens.len() { (&tokens[..at], &tokens[at + 1..]) } else { (&tokens[..0], tokens) };
    // Two words in a row: a type and a name.
    if tokens.len() > 1 && is_word(tokens[0]) && is_word(tokens[1]) {
        let value = tokens[2..].strip_prefix(&["="]).unwrap_or(&[]);
        return Effect { declares: Some(tokens[1]), target: &tokens[1..2], value };
    }
    Effect { declares: None, target: left, value }
}

/// Calls `visit` with every statement of a block, also of those inside.
pub fn each<'s, 'a>(block: &'s [Statement<'a>], visit: &mut impl FnMut(&'s Statement<'a>)) {
    for statement in block {
        visit(statement);
        match statement {
            Statement::Block(body) | Statement::Loop { body, .. } => each(body, visit),
            Statement::If { accept, reject, .. } => {
                each(accept, visit);
                each(reject, visit);
            }
            Statement::Switch { cases, .. } => cases.iter().for_each(|case| each(case, visit)),
            _ => {}
        }
    }
}
