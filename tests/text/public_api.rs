//! The public interface is the one in `tests/text/public-api.txt`, so that a change of it is seen where it is reviewed.
//!
//! The list is read from the texts of `src/`: every item that a program can name, by its public path, with its public
//! fields, variants, functions and the traits that it implements. Bodies and documentation are left out, and what is
//! `#[doc(hidden)]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{Attribute, Field, Fields, ImplItem, Item, ItemImpl, Type, UseTree, Visibility};

/// The most imports on the way from a name to what it names.
const MAX_IMPORTS: usize = 8;

/// The path of a module from the crate's root.
type Names = Vec<String>;

/// The items of every module, private ones too.
struct Modules(BTreeMap<Names, Vec<Item>>);

/// An item by the module that defines it and its name there.
type Defined = (Names, String);

impl Modules {
    /// The modules below `src`, whose root is `lib.rs`.
    fn read(src: &Path) -> Self {
        let mut all = Self(BTreeMap::new());
        all.add(Vec::new(), parse(&src.join("lib.rs")).items, src);
        all
    }

    /// Adds a module, whose own modules are files of `folder`.
    fn add(&mut self, names: Names, items: Vec<Item>, folder: &Path) {
        for item in &items {
            let Item::Mod(module) = item else { continue };
            if is_test(&module.attrs) {
                continue;
            }
            let name = module.ident.to_string();
            let (inner, mut path) = (folder.join(&name), names.clone());
            path.push(name);
            let items = match &module.content {
                Some((_, items)) => items.clone(),
                None => {
                    let files = [inner.with_extension("rs"), inner.join("mod.rs")];
                    let file = files.iter().find(|file| file.is_file());
                    parse(file.unwrap_or_else(|| panic!("no file of {path:?}"))).items
                }
            };
            self.add(path, items, &inner);
        }
        self.0.insert(names, items);
    }

    /// Where the item that `path` names within `module` is defined; `None` outside of the crate.
    fn find(&self, module: &[String], path: &[String]) -> Option<Defined> {
        self.follow(module, path, MAX_IMPORTS)
    }

    /// [`Modules::find`] through at most `imports` imports: where all variants of an enum are imported, each would lead
    /// to the enum again.
    fn follow(&self, module: &[String], path: &[String], imports: usize) -> Option<Defined> {
        let (first, rest) = path.split_first()?;
        let mut at = module.to_vec();
        match first.as_str() {
            "crate" => return self.follow(&[], rest, imports),
            "self" => return self.follow(module, rest, imports),
            "super" => {
                at.pop();
                return self.follow(&at, rest, imports);
            }
            _ => at.push(first.clone()),
        }
        if self.0.contains_key(&at) {
            return self.follow(&at, rest, imports);
        }
        let items = self.0.get(module)?;
        if rest.is_empty() && items.iter().any(|item| name_of(item).is_some_and(|name| name == *first)) {
            return Some((module.to_vec(), first.clone()));
        }
        let left = imports.checked_sub(1)?;
        let uses = items.iter().filter_map(|item| if let Item::Use(item) = item { Some(&item.tree) } else { None });
        uses.flat_map(leaves).find_map(|(name, mut target)| {
            if name == "*" {
                target.push(first.clone());
            } else if name != *first || target == [name] {
                return None;
            }
            target.extend_from_slice(rest);
            self.follow(module, &target, left)
        })
    }

    fn item(&self, (module, name): &Defined) -> &Item {
        let named = |item: &&Item| name_of(item).is_some_and(|other| other == *name);
        self.0[module].iter().find(named).expect("an item that was found")
    }
}

/// What is listed: a line for each thing that a program can name.
struct Listing<'m> {
    modules: &'m Modules,
    /// Inherent and trait implementations of each type.
    impls: BTreeMap<Defined, Vec<&'m ItemImpl>>,
    /// The path under which each item is listed.
    listed: BTreeMap<Defined, String>,
    lines: BTreeSet<String>,
}

impl<'m> Listing<'m> {
    fn new(modules: &'m Modules) -> Self {
        let mut impls: BTreeMap<Defined, Vec<&ItemImpl>> = BTreeMap::new();
        for (module, items) in &modules.0 {
            for item in items {
                let Item::Impl(block) = item else { continue };
                let Type::Path(of) = &*block.self_ty else { continue };
                let path: Names = of.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
                if let Some(defined) = modules.find(module, &path) {
                    impls.entry(defined).or_default().push(block);
                }
            }
        }
        Self { modules, impls, listed: BTreeMap::new(), lines: BTreeSet::new() }
    }

    /// Lists what a program sees in `module`, which it names `public`: its own items before those of its modules, so
    /// that what is in both is listed where it is shorter.
    fn module(&mut self, module: &[String], public: &str) {
        let (inner, own): (Vec<&Item>, Vec<&Item>) =
            self.modules.0[module].iter().partition(|item| matches!(item, Item::Mod(_)));
        for item in own.into_iter().chain(inner) {
            match item {
                Item::Mod(inner) if is_public(&inner.vis) && !is_hidden(&inner.attrs) => {
                    let name = inner.ident.to_string();
                    let path = [module, std::slice::from_ref(&name)].concat();
                    self.lines.insert(format!("mod {public}::{name}"));
                    self.module(&path, &format!("{public}::{name}"));
                }
                Item::Use(import) if is_public(&import.vis) && !is_hidden(&import.attrs) => {
                    for (name, path) in leaves(&import.tree) {
                        self.import(module, &path, &name, public);
                    }
                }
                Item::Macro(call) if call.ident.is_none() => {
                    // Docs and values are not listed: `NAME: ..` makes a field of that name.
                    for name in before_colons(call.mac.tokens.clone()) {
                        self.lines.insert(format!("{public}: {}! {name}", tidy(&call.mac.path)));
                    }
                }
                item => {
                    if let Some(name) = name_of(item).filter(|_| is_exported(item)) {
                        self.item(&(module.to_vec(), name.clone()), &format!("{public}::{name}"));
                    }
                }
            }
        }
    }

    fn import(&mut self, module: &[String], path: &[String], name: &str, public: &str) {
        if let Some(defined) = self.modules.find(module, path) {
            self.item(&defined, &format!("{public}::{name}"));
            return;
        }
        // A module, of which `find` tells nothing.
        let local = |names: Names| self.modules.0.contains_key(&names).then_some(names);
        let absolute = path.strip_prefix(&["crate".to_owned()]).unwrap_or(path).to_vec();
        match local([module, path].concat()).or_else(|| local(absolute)) {
            Some(inner) => {
                self.lines.insert(format!("mod {public}::{name}"));
                self.module(&inner, &format!("{public}::{name}"));
            }
            None => drop(self.lines.insert(format!("use {public}::{name} = {}", path.join("::")))),
        }
    }

    fn item(&mut self, defined: &Defined, public: &str) {
        if let Some(before) = self.listed.get(defined) {
            if before != public {
                self.lines.insert(format!("use {public} = {before}"));
            }
            return;
        }
        self.listed.insert(defined.clone(), public.to_owned());
        let modules = self.modules;
        match modules.item(defined) {
            Item::Struct(item) => {
                self.head("struct", public, &item.attrs, &item.generics);
                self.fields(public, &item.fields, true);
            }
            Item::Enum(item) => {
                self.head("enum", public, &item.attrs, &item.generics);
                for variant in &item.variants {
                    let value =
                        variant.discriminant.as_ref().map_or(String::new(), |(_, value)| format!(" = {}", tidy(value)));
                    let tuple = match &variant.fields {
                        Fields::Unnamed(fields) => tidy(fields),
                        _ => String::new(),
                    };
                    let grows = variant.attrs.iter().any(|attribute| attribute.path().is_ident("non_exhaustive"));
                    let grows = if grows { " #[non_exhaustive]" } else { "" };
                    self.lines.insert(format!("{public}::{}{tuple}{value}{grows}", variant.ident));
                    self.fields(&format!("{public}::{}", variant.ident), &variant.fields, false);
                }
            }
            Item::Fn(item) => drop(self.lines.insert(format!("{public}: {}", tidy(&item.sig)))),
            Item::Const(item) => {
                self.lines.insert(format!("const {public}: {} = {}", tidy(&item.ty), tidy(&item.expr)));
            }
            Item::Type(item) => {
                let generics = tidy(&item.generics);
                self.lines.insert(format!("type {public}{generics} = {}", tidy(&item.ty)));
            }
            Item::Trait(item) => drop(self.lines.insert(format!("trait {public}: {}", tidy(item)))),
            Item::Macro(item) => {
                self.lines.insert(format!("struct {public}, by a macro"));
                for function in behind(item.mac.tokens.clone(), &["pub", "fn"]) {
                    self.lines.insert(format!("{public}::{function}, by a macro"));
                }
            }
            _ => drop(self.lines.insert(format!("{public}: another kind of item"))),
        }
        for block in self.impls.get(defined).into_iter().flatten() {
            let generics = tidy(&block.generics);
            if let Some((of, _)) = &block.trait_ {
                self.lines.insert(format!("{public}: impl{generics} {}", tidy(of)));
                continue;
            }
            for item in &block.items {
                let line = match item {
                    ImplItem::Fn(function) if is_public(&function.vis) && !is_hidden(&function.attrs) => {
                        format!("{public}::{}: {}", function.sig.ident, tidy(&function.sig))
                    }
                    ImplItem::Const(constant) if is_public(&constant.vis) && !is_hidden(&constant.attrs) => {
                        format!("const {public}::{}: {} = {}", constant.ident, tidy(&constant.ty), tidy(&constant.expr))
                    }
                    _ => continue,
                };
                self.lines.insert(line);
            }
        }
    }

    /// The kind and name of a type, with the attributes that bind its users.
    fn head(&mut self, kind: &str, public: &str, attributes: &[Attribute], generics: &syn::Generics) {
        let binding = |attribute: &&Attribute| {
            ["derive", "non_exhaustive", "must_use", "repr"].iter().any(|name| attribute.path().is_ident(name))
        };
        let attributes: String = attributes.iter().filter(binding).map(|attribute| tidy(attribute) + " ").collect();
        self.lines.insert(format!("{kind} {public}{} {attributes}", tidy(generics)).trim_end().to_owned());
    }

    fn fields(&mut self, public: &str, fields: &Fields, need_public: bool) {
        let listed: &Punctuated<Field, _> = match fields {
            Fields::Named(fields) => &fields.named,
            Fields::Unnamed(fields) => &fields.unnamed,
            Fields::Unit => return,
        };
        for (i, field) in listed.iter().enumerate() {
            let seen = if need_public { is_public(&field.vis) } else { field.ident.is_some() };
            if seen && !is_hidden(&field.attrs) {
                let name = field.ident.as_ref().map_or_else(|| i.to_string(), ToString::to_string);
                self.lines.insert(format!("{public}.{name}: {}", tidy(&field.ty)));
            }
        }
    }
}

fn parse(file: &Path) -> syn::File {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| tidy(attribute) == "#[cfg(test)]")
}

fn is_hidden(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| tidy(attribute) == "#[doc(hidden)]") || is_test(attributes)
}

fn name_of(item: &Item) -> Option<String> {
    Some(match item {
        Item::Struct(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Const(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Union(item) => item.ident.to_string(),
        // The struct that a macro makes.
        Item::Macro(item) => return behind(item.mac.tokens.clone(), &["pub", "struct"]).pop(),
        _ => return None,
    })
}

/// Whether other modules can name the item. What a macro makes is public where it says so.
fn is_exported(item: &Item) -> bool {
    match item {
        Item::Struct(item) => is_public(&item.vis),
        Item::Enum(item) => is_public(&item.vis),
        Item::Fn(item) => is_public(&item.vis),
        Item::Const(item) => is_public(&item.vis),
        Item::Type(item) => is_public(&item.vis),
        Item::Trait(item) => is_public(&item.vis),
        Item::Static(item) => is_public(&item.vis),
        Item::Union(item) => is_public(&item.vis),
        Item::Macro(_) => true,
        _ => false,
    }
}

/// All tokens, those within brackets too.
fn flat(tokens: TokenStream) -> Vec<TokenTree> {
    let open = |token: TokenTree| match token {
        TokenTree::Group(group) => flat(group.stream()),
        token => vec![token],
    };
    tokens.into_iter().flat_map(open).collect()
}

/// The identifiers that come directly behind `words`.
fn behind(tokens: TokenStream, words: &[&str]) -> Vec<String> {
    let tokens: Vec<String> = flat(tokens).iter().map(ToString::to_string).collect();
    let found = tokens.windows(words.len() + 1).filter(|window| window[..words.len()] == *words);
    found.map(|window| window[words.len()].clone()).filter(|name| syn::parse_str::<syn::Ident>(name).is_ok()).collect()
}

/// The identifiers before single colons, outside of brackets.
fn before_colons(tokens: TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let named = tokens.windows(2).filter_map(|pair| match pair {
        [TokenTree::Ident(name), TokenTree::Punct(colon)] if colon.as_char() == ':' => Some(name.to_string()),
        _ => None,
    });
    named.collect()
}

/// The names that a `use` brings, `*` for all, and what each stands for.
fn leaves(tree: &UseTree) -> Vec<(String, Names)> {
    match tree {
        UseTree::Path(path) => {
            let prefix = path.ident.to_string();
            let behind = leaves(&path.tree).into_iter();
            behind.map(|(name, rest)| (name, [vec![prefix.clone()], rest].concat())).collect()
        }
        UseTree::Name(name) => vec![(name.ident.to_string(), vec![name.ident.to_string()])],
        UseTree::Rename(name) => vec![(name.rename.to_string(), vec![name.ident.to_string()])],
        UseTree::Glob(_) => vec![("*".into(), Vec::new())],
        UseTree::Group(group) => group.items.iter().flat_map(leaves).collect(),
    }
}

/// Tokens with the spaces that a reader expects.
fn tidy(tokens: &impl ToTokens) -> String {
    let mut text = tokens.to_token_stream().to_string().replace('\n', " ");
    for (wide, narrow) in [
        (" :: ", "::"),
        (":: ", "::"),
        (" : ", ": "),
        (" ,", ","),
        (" ;", ";"),
        ("& ", "&"),
        (" < ", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
        ("[ ", "["),
        (" ]", "]"),
        ("# [", "#["),
        (" ! ", "! "),
        (",)", ")"),
        // Whether a parameter is changed is a matter of the body.
        ("(mut ", "("),
        (", mut ", ", "),
    ] {
        text = text.replace(wide, narrow);
    }
    // The arrow of a function lost its space.
    text.replace("->", " -> ").replace("  ", " ")
}

fn interface() -> String {
    let modules = Modules::read(&root().join("src"));
    let mut listing = Listing::new(&modules);
    listing.module(&[], "attractor");
    listing.lines.into_iter().map(|line| line + "\n").collect()
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_public_interface_is_the_one_that_was_agreed_on() {
    let (path, found) = (root().join("tests/text/public-api.txt"), interface());
    if std::env::var_os("ATTRACTOR_WRITE_API").is_some() {
        std::fs::write(&path, &found).expect("written");
    }
    // A checkout on Windows may have other line ends.
    let agreed = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    let (found, agreed): (BTreeSet<&str>, BTreeSet<&str>) = (found.lines().collect(), agreed.lines().collect());
    let gone: Vec<String> = agreed.difference(&found).map(|line| format!("- {line}\n")).collect();
    let new: Vec<String> = found.difference(&agreed).map(|line| format!("+ {line}\n")).collect();
    assert!(
        gone.is_empty() && new.is_empty(),
        "the public interface has changed:\n{}{}ATTRACTOR_WRITE_API=1 cargo test --test text public_api writes it anew",
        gone.concat(),
        new.concat(),
    );
}
