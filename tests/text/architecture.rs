//! Imports between the files of `src/` run one way: no circle, and no import against the order of layers that
//! `docs/ARCHITECTURE.md` gives. No file there is longer than 450 lines.
//!
//! A path such as `crate::gpu::Context` is resolved to the file that defines what it names, through any re-exports, so
//! that a `mod.rs` that only lists modules adds nothing to the graph. Tests inside the files are left out.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::path::Path;

use proc_macro2::{TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

/// The longest file, in lines.
const MAX_LINES: usize = 450;

/// The path of a module from the crate's root, or of an item from a module.
type Names = Vec<String>;

/// What one module holds and names.
#[derive(Default)]
struct Module {
    file: String,
    /// What it defines itself.
    items: HashSet<String>,
    /// What `use` brings into it, by name; several under exclusive `cfg`s.
    imports: HashMap<String, Vec<Names>>,
    /// Modules and enums whose names it imports all, with the lines.
    globs: Vec<(Names, usize)>,
    /// Every path in it, with its line.
    paths: Vec<(Names, usize)>,
}

/// Where a path leads.
enum Target {
    Module(Names),
    /// An item, and the file that defines it.
    Item(String),
    /// Something that no module here names, and the file of the last module on the way.
    Unknown(String),
}

/// One import: from a file, on a line, of another file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    from: String,
    to: String,
    line: usize,
    path: String,
}

/// The modules of a crate, from the texts of its files by their paths below `src/`.
struct Tree(BTreeMap<Names, Module>);

struct Collector<'a> {
    tree: &'a mut Tree,
    module: Names,
    file: &'a str,
}

impl Tree {
    fn parse(files: &BTreeMap<String, String>) -> Self {
        let mut tree = Self(BTreeMap::new());
        for (file, text) in files {
            let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
            let mut module: Names = file.trim_end_matches(".rs").split('/').map(Into::into).collect();
            if matches!(module.last().map(String::as_str), Some("mod" | "lib")) {
                module.pop();
            }
            let mut collector = Collector { tree: &mut tree, module, file };
            collector.open();
            collector.visit_file(&syntax);
        }
        tree
    }

    fn resolve(&self, from: &[String], path: &[String], depth: usize) -> Option<Target> {
        let mut at = from.to_vec();
        let mut i = 0;
        match path.first().map(String::as_str) {
            _ if depth > 32 => return None,
            Some("crate") => (at, i) = (Names::new(), 1),
            Some("self") => i = 1,
            _ => {}
        }
        while path.get(i).is_some_and(|name| name == "super") {
            at.pop();
            i += 1;
        }
        let relative = i == 0;
        while let Some(name) = path.get(i) {
            let module = self.0.get(&at)?;
            let mut child = at.clone();
            child.push(name.clone());
            if self.0.contains_key(&child) {
                (at, i) = (child, i + 1);
                continue;
            }
            if module.items.contains(name) {
                return Some(Target::Item(module.file.clone()));
            }
            let imported = module.imports.get(name).into_iter().flatten().find_map(|target| {
                let whole: Names = target.iter().chain(&path[i + 1..]).cloned().collect();
                self.resolve(&at, &whole, depth + 1)
            });
            let from_glob = || {
                module.globs.iter().find_map(|(glob, _)| {
                    let whole: Names = glob.iter().chain(&path[i..]).cloned().collect();
                    self.resolve(&at, &whole, depth + 1).filter(|target| !matches!(target, Target::Unknown(_)))
                })
            };
            return match imported.or_else(from_glob) {
                None if relative && i == 0 => None,
                None => Some(Target::Unknown(module.file.clone())),
                found => found,
            };
        }
        Some(Target::Module(at))
    }

    /// The imports between different files, one for each pair and line.
    fn imports(&self) -> BTreeSet<Import> {
        let mut imports = BTreeSet::new();
        for (name, module) in &self.0 {
            let mut insert = |to: &str, line, path: &[String]| {
                if to != module.file {
                    let (from, to, path) = (module.file.clone(), to.into(), path.join("::"));
                    imports.insert(Import { from, to, line, path });
                }
            };
            for (path, line) in &module.paths {
                // A module that is named is not used yet: what is used of it is a path of its own.
                if let Some(Target::Item(to) | Target::Unknown(to)) = self.resolve(name, path, 0) {
                    insert(&to, *line, path);
                }
            }
            for (path, line) in &module.globs {
                match self.resolve(name, path, 0) {
                    Some(Target::Module(of)) if self.0.get(&of).is_some_and(|of| !of.items.is_empty()) => {
                        insert(&self.0[&of].file, *line, path);
                    }
                    Some(Target::Item(to) | Target::Unknown(to)) => insert(&to, *line, path),
                    _ => {}
                }
            }
        }
        imports
    }
}

impl Collector<'_> {
    fn open(&mut self) -> &mut Module {
        let module = self.tree.0.entry(self.module.clone()).or_default();
        module.file = self.file.into();
        module
    }

    fn path(&mut self, path: Names, line: usize) {
        if path.len() > 1 {
            self.open().paths.push((path, line));
        }
    }

    fn use_tree(&mut self, tree: &syn::UseTree, before: &Names) {
        let line = tree.span().start().line;
        let with = |name: &syn::Ident| before.iter().cloned().chain([name.to_string()]).collect::<Names>();
        let (name, target) = match tree {
            syn::UseTree::Path(path) => return self.use_tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Group(group) => return group.items.iter().for_each(|tree| self.use_tree(tree, before)),
            syn::UseTree::Glob(_) => {
                self.open().globs.push((before.clone(), line));
                return;
            }
            syn::UseTree::Name(name) if name.ident == "self" => (before.last().cloned(), before.clone()),
            syn::UseTree::Name(name) => (Some(name.ident.to_string()), with(&name.ident)),
            syn::UseTree::Rename(name) if name.ident == "self" => (Some(name.rename.to_string()), before.clone()),
            syn::UseTree::Rename(name) => (Some(name.rename.to_string()), with(&name.ident)),
        };
        let Some(name) = name else { return };
        self.open().imports.entry(name).or_default().push(target.clone());
        self.path(target, line);
    }

    /// The paths in the unparsed input of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path = Names::new();
        let mut colons = 0;
        let mut line = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.path(std::mem::take(&mut path), line);
                    }
                    line = ident.span().start().line;
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.path(std::mem::take(&mut path), line);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.path(path, line);
    }
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    use syn::Item;
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// Whether an item is compiled with the tests alone.
fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        syn::Meta::List(list) if list.path.is_ident("cfg") => {
            let cfg = list.tokens.to_string();
            cfg == "test" || cfg.starts_with("all (test") || cfg.starts_with("all(test")
        }
        _ => false,
    })
}

impl<'ast> Visit<'ast> for Collector<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        use syn::Item;
        if is_test(attributes(item)) {
            return;
        }
        let name = match item {
            Item::Const(item) => Some(&item.ident),
            Item::Enum(item) => Some(&item.ident),
            Item::Fn(item) => Some(&item.sig.ident),
            Item::Macro(item) => item.ident.as_ref(),
            Item::Static(item) => Some(&item.ident),
            Item::Struct(item) => Some(&item.ident),
            Item::Trait(item) => Some(&item.ident),
            Item::Type(item) => Some(&item.ident),
            Item::Union(item) => Some(&item.ident),
            _ => None,
        };
        if let Some(name) = name {
            self.open().items.insert(name.to_string());
        }
        visit::visit_item(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        if !is_test(&item.attrs) {
            visit::visit_impl_item_fn(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if item.content.is_some() {
            self.module.push(item.ident.to_string());
            self.open();
            visit::visit_item_mod(self, item);
            self.module.pop();
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if item.leading_colon.is_none() {
            self.use_tree(&item.tree, &Names::new());
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(names, path.span().start().line);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, item: &'ast syn::Macro) {
        self.visit_path(&item.path);
        self.tokens(item.tokens.clone());
    }

    fn visit_attribute(&mut self, _: &'ast syn::Attribute) {}

    fn visit_vis_restricted(&mut self, _: &'ast syn::VisRestricted) {}
}

/// The groups of files that import each other, directly or by way of others, each with the shortest circle through
/// every file of it.
fn circles(imports: &BTreeSet<Import>) -> Vec<(BTreeSet<String>, Vec<Vec<Import>>)> {
    let mut next: BTreeMap<&str, BTreeMap<&str, &Import>> = BTreeMap::new();
    for import in imports {
        next.entry(&import.from).or_default().entry(&import.to).or_insert(import);
    }
    // The shortest ways from one file to all others.
    let ways = |start| {
        let mut ways: BTreeMap<&str, &Import> = BTreeMap::new();
        let mut queue = VecDeque::from([start]);
        while let Some(file) = queue.pop_front() {
            for (to, import) in next.get(file).into_iter().flatten() {
                if !ways.contains_key(to) {
                    ways.insert(to, import);
                    queue.push_back(to);
                }
            }
        }
        ways
    };
    let all: BTreeMap<&str, _> = next.keys().map(|file| (*file, ways(file))).collect();
    let circle = |start: &str| {
        let mut circle = Vec::new();
        let mut file = start;
        loop {
            let import = all[start][file];
            circle.insert(0, import.clone());
            file = &import.from;
            if file == start {
                return circle;
            }
        }
    };
    let mut found: Vec<(BTreeSet<String>, Vec<Vec<Import>>)> = Vec::new();
    for (file, ways) in &all {
        if !ways.contains_key(file) || found.iter().any(|(files, _)| files.contains(*file)) {
            continue;
        }
        let files: BTreeSet<String> = ways
            .keys()
            .filter(|other| all.get(**other).is_some_and(|back| back.contains_key(file)))
            .map(|other| (*other).to_string())
            .collect();
        let mut shortest: Vec<Vec<Import>> = files.iter().map(|file| circle(file)).collect();
        shortest.sort_by_key(|circle| {
            let mut imports = circle.clone();
            imports.sort();
            (circle.len(), imports)
        });
        shortest.dedup_by(|one, other| one.len() == other.len() && one.iter().all(|import| other.contains(import)));
        found.push((files, shortest));
    }
    found
}

/// The layers, highest first; each is a row of groups that do not import one another.
struct Layers(Vec<(String, Vec<Vec<String>>)>);

impl Layers {
    /// Reads the fenced block `layers` of a document.
    fn parse(document: &str) -> Self {
        let block = document.split("```layers\n").nth(1).and_then(|rest| rest.split("```").next());
        let lines = block.expect("a fenced block `layers`").lines().filter(|line| !line.trim().is_empty());
        let mut layers: Vec<(String, Vec<Vec<String>>)> = Vec::new();
        for line in lines {
            let (name, files) = line.split_once(':').unwrap_or_else(|| panic!("no `name: files`: {line}"));
            let groups = files.split('|').map(|group| group.split_whitespace().map(Into::into).collect());
            match layers.last_mut() {
                // A line without a name goes on with the layer before.
                Some((_, last)) if name.trim().is_empty() => {
                    for (i, group) in groups.enumerate() {
                        match last.last_mut() {
                            Some(files) if i == 0 => files.extend::<Vec<String>>(group),
                            _ => last.push(group),
                        }
                    }
                }
                _ => layers.push((name.trim().into(), groups.collect())),
            }
        }
        Self(layers)
    }

    /// The layer and the group of a file: those of the longest entry that it matches.
    fn place(&self, file: &str) -> Option<(usize, usize)> {
        let mut best = None;
        for (i, (_, groups)) in self.0.iter().enumerate() {
            for (j, group) in groups.iter().enumerate() {
                for entry in group {
                    let matches = if entry.ends_with('/') { file.starts_with(entry) } else { file == entry };
                    if matches && best.is_none_or(|(length, _)| entry.len() > length) {
                        best = Some((entry.len(), (i, j)));
                    }
                }
            }
        }
        best.map(|(_, place)| place)
    }
}

/// What is wrong with files, by kind and with counts; empty where nothing is.
fn findings(files: &BTreeMap<String, String>, document: &str) -> String {
    let layers = Layers::parse(document);
    let imports = Tree::parse(files).imports();
    let mut report = String::new();
    let mut section = |title: &str, lines: &[String]| {
        if !lines.is_empty() {
            writeln!(report, "\n{}: {title}", lines.len()).unwrap();
            for line in lines {
                writeln!(report, "  {line}").unwrap();
            }
        }
    };
    let told = |import: &Import| format!("{}:{} -> {} ({})", import.from, import.line, import.to, import.path);

    let mut lines = Vec::new();
    for (files, shortest) in circles(&imports) {
        let mut group = format!("{} files: {}", files.len(), files.iter().cloned().collect::<Vec<_>>().join(" "));
        for circle in shortest {
            let circle: Vec<String> = circle.iter().map(told).collect();
            write!(group, "\n    {}", circle.join("\n      ")).unwrap();
        }
        lines.push(group);
    }
    section("groups of files with circles of imports, and the shortest circle through each file", &lines);

    let mut upward = Vec::new();
    let mut across = Vec::new();
    for import in &imports {
        let (Some(from), Some(to)) = (layers.place(&import.from), layers.place(&import.to)) else { continue };
        let line = format!("{}: {} -> {}", told(import), layers.0[from.0].0, layers.0[to.0].0);
        if to.0 < from.0 {
            upward.push(line);
        } else if to.0 == from.0 && to.1 != from.1 {
            across.push(line);
        }
    }
    section("imports of a higher layer", &upward);
    section("imports across a wall within a layer", &across);

    let homeless: Vec<String> = files.keys().filter(|file| layers.place(file).is_none()).cloned().collect();
    section("files in no layer", &homeless);
    let entries = layers.0.iter().flat_map(|(_, groups)| groups.iter().flatten());
    let idle: Vec<String> = entries
        .filter(|entry| !files.keys().any(|file| file == *entry || (entry.ends_with('/') && file.starts_with(*entry))))
        .cloned()
        .collect();
    section("entries of layers that no file matches", &idle);
    let long: Vec<String> = files
        .iter()
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(file, lines)| format!("{file}: {lines} lines"))
        .collect();
    section(&format!("files longer than {MAX_LINES} lines"), &long);
    report
}

fn read(folder: &Path, below: &str, files: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            // Programs are crates of their own.
            if name != "bin" {
                read(&entry.path(), &format!("{name}/"), files);
            }
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            files.insert(name, std::fs::read_to_string(entry.path()).unwrap());
        }
    }
}

#[test]
fn imports_run_one_way_and_files_are_short() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = BTreeMap::new();
    read(&root.join("src"), "", &mut files);
    let document = std::fs::read_to_string(root.join("docs/ARCHITECTURE.md")).unwrap();
    let report = findings(&files, &document);
    assert!(report.is_empty(), "src/ is not as docs/ARCHITECTURE.md says:\n{report}");
}

const TWO_LAYERS: &str = "# Layers\n```layers\ntop: lib.rs high.rs\nbottom: left/ | right/\n      : low.rs\n```\n";

fn found(files: &[(&str, &str)]) -> String {
    let mut all = BTreeMap::from(
        [("lib.rs", ""), ("high.rs", ""), ("low.rs", ""), ("left/mod.rs", ""), ("right/mod.rs", "")]
            .map(|(file, text)| (file.to_string(), text.to_string())),
    );
    all.extend(files.iter().map(|(file, text)| ((*file).to_string(), (*text).to_string())));
    findings(&all, TWO_LAYERS)
}

#[test]
fn a_circle_is_found() {
    let report = found(&[
        ("right/mod.rs", "pub mod a; pub mod b; pub mod c;"),
        ("right/a.rs", "use super::b::{nested::B, self}; pub struct A(B, b::Other);"),
        ("right/b.rs", "pub mod nested { pub struct B; } pub struct Other; fn f() { vec![crate::right::c::C] }"),
        ("right/c.rs", "\npub struct C(crate::right::a::A);"),
    ]);
    assert!(report.contains("3 files: right/a.rs right/b.rs right/c.rs"), "{report}");
    assert!(report.contains("right/c.rs:2 -> right/a.rs (crate::right::a::A)"), "{report}");
    assert!(!report.contains("higher layer"), "{report}");
}

#[test]
fn an_import_of_a_higher_layer_is_found() {
    let report = found(&[("high.rs", "pub struct High;"), ("low.rs", "\n\nuse crate::high::High;")]);
    assert!(report.contains("1: imports of a higher layer"), "{report}");
    assert!(report.contains("low.rs:3 -> high.rs (crate::high::High): bottom -> top"), "{report}");
    assert!(!report.contains("circle"), "{report}");
    assert_eq!(found(&[("high.rs", "use crate::low::Low;"), ("low.rs", "pub struct Low;")]), "");
}

#[test]
fn an_import_across_a_wall_is_found() {
    let report =
        found(&[("left/mod.rs", "use crate::right;\nfn f() { right::g() }"), ("right/mod.rs", "pub fn g() {}")]);
    assert!(report.contains("1: imports across a wall"), "{report}");
    assert!(report.contains("left/mod.rs:2 -> right/mod.rs (right::g)"), "{report}");
}

#[test]
fn an_import_of_all_names_of_a_module_counts() {
    let high = ("high.rs", "use crate::low::*;\npub struct High;");
    let report = found(&[high, ("low.rs", "use crate::high::High;\npub struct Low;")]);
    assert!(report.contains("2 files: high.rs low.rs"), "{report}");
}

#[test]
fn reexports_lead_to_what_they_name() {
    let list = ("right/mod.rs", "mod a;\nmod b;\npub use a::A;\npub use b::*;");
    let a = ("right/a.rs", "use super::{B, b};\npub struct A(B);");
    let report = found(&[list, a, ("right/b.rs", "pub struct B;")]);
    assert_eq!(report, "", "a list of modules is on no circle");
    let report = found(&[list, a, ("right/b.rs", "use crate::right::A;\npub struct B;")]);
    assert!(report.contains("2 files: right/a.rs right/b.rs"), "{report}");
}

#[test]
fn tests_and_words_in_strings_are_left_out() {
    let text = "//! See crate::high::High.\n#[cfg(test)]\nmod tests {\n    use crate::high::High;\n}\n\
        #[cfg(test)]\nuse crate::high;\nconst WORDS: &str = \"crate::high::High\";";
    assert_eq!(found(&[("high.rs", "pub struct High;"), ("low.rs", text)]), "");
}

#[test]
fn long_files_and_files_without_a_layer_are_found() {
    let report = found(&[("low.rs", &"\n".repeat(MAX_LINES + 1)), ("lost.rs", "")]);
    assert!(report.contains("low.rs: 451 lines") && report.contains("1: files in no layer\n  lost.rs"), "{report}");
    assert_eq!(found(&[("low.rs", &"\n".repeat(MAX_LINES))]), "");
}
