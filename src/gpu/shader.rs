//! The shader linker. A shader is a plain WGSL file in `shaders/`; `//! use lib/NAME` appends the fragment
//! `shaders/lib/NAME.wgsl` once, and the host sets constants that stand on their own lines as `const NAME: u32 = 1u;`.
//! There is nothing else: no overrides, no conditions, no build script.

use crate::error::{Error, Result};

/// A piece of shader text that several kernels share: it declares no bindings and names no other fragment.
#[derive(Clone, Copy, Debug)]
pub struct Fragment {
    /// How shaders name it.
    pub name: &'static str,
    /// The text of `shaders/{name}.wgsl`.
    pub source: &'static str,
    /// Loops in its text, each of which the loop bounds of the kernels that use it know.
    pub loops: usize,
}

/// Declares a fragment whose text has so many loops.
macro_rules! fragment {
    ($name:literal, $loops:literal) => {
        Fragment { name: $name, source: include_str!(concat!("../../shaders/", $name, ".wgsl")), loops: $loops }
    };
}

/// Every fragment.
pub const FRAGMENTS: &[Fragment] = &[
    fragment!("lib/compare_dot", 0),
    fragment!("lib/compare_euclidean", 0),
    fragment!("lib/compare_manhattan", 0),
    fragment!("lib/drawn", 0),
    fragment!("lib/entmax", 0),
    fragment!("lib/entries_scalar", 0),
    fragment!("lib/entries_vector", 0),
    fragment!("lib/fused_params", 0),
    fragment!("lib/grid", 0),
    fragment!("lib/kept", 1),
    fragment!("lib/list", 4),
    fragment!("lib/listed", 0),
    fragment!("lib/mask", 1),
    fragment!("lib/matrix_16", 0),
    fragment!("lib/matrix_8", 0),
    fragment!("lib/order", 0),
    fragment!("lib/own", 0),
    fragment!("lib/own_beta", 0),
    fragment!("lib/rank", 1),
    fragment!("lib/records", 0),
    fragment!("lib/scaled", 0),
    fragment!("lib/score", 0),
    fragment!("lib/source", 0),
    fragment!("lib/spread_shared", 2),
    fragment!("lib/spread_subgroup", 0),
    fragment!("lib/stored_f16", 0),
    fragment!("lib/stored_f32", 0),
    fragment!("lib/stored_i8", 0),
    fragment!("lib/stream_keys", 0),
    fragment!("lib/tile_mask", 0),
    fragment!("lib/trial", 0),
    fragment!("lib/unscaled", 0),
    fragment!("lib/vote", 0),
    fragment!("lib/weigh_softmax", 0),
    fragment!("lib/weigh_unnormalized", 0),
    fragment!("lib/workgroup", 3),
];

/// A constant that the host sets, by name.
pub type Constant = (&'static str, u32);

/// A fragment that a shader names, and the one with the same functions that is linked instead.
pub type Substitution = (&'static str, &'static str);

/// The text of one shader: `source` with its fragments appended, some of them substituted, and `constants` set.
///
/// # Errors
/// [`Error::Internal`] for a fragment that is not there or a constant that has no line of its own.
pub fn link(name: &str, source: &str, constants: &[Constant], substitutions: &[Substitution]) -> Result<String> {
    let refuse = |message: String| Error::Internal { operation: "link shader", message: format!("{name}: {message}") };
    let mut text = source.to_owned();
    let mut used = Vec::new();
    for fragment in source.lines().filter_map(|line| line.strip_prefix("//! use ")) {
        let fragment = fragment.trim();
        let fragment = substitutions.iter().find(|(named, _)| *named == fragment).map_or(fragment, |(_, other)| other);
        if used.contains(&fragment) {
            continue;
        }
        used.push(fragment);
        let known = FRAGMENTS
            .iter()
            .find(|known| known.name == fragment)
            .ok_or_else(|| refuse(format!("no fragment is called {fragment}")))?;
        text.push('\n');
        text.push_str(known.source);
    }
    for (constant, value) in constants {
        let start = format!("const {constant}: u32 = ");
        let mut found = 0;
        text = text
            .lines()
            .map(|line| {
                if line.starts_with(&start) && line.ends_with("u;") {
                    found += 1;
                    format!("{start}{value}u;\n")
                } else {
                    format!("{line}\n")
                }
            })
            .collect();
        if found != 1 {
            return Err(refuse(format!("expected one line `{start}...u;`, found {found}")));
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_constants_and_appends_each_fragment_once() {
        let source = "//! use lib/grid\n//! use lib/grid\nconst A: u32 = 1u;\nconst AB: u32 = 2u;\n";
        let text = link("test", source, &[("A", 7)], &[]).unwrap();
        assert!(text.contains("const A: u32 = 7u;\n") && text.contains("const AB: u32 = 2u;\n"), "{text}");
        assert_eq!(text.matches("fn flat_index").count(), 1);
    }

    #[test]
    fn links_one_fragment_instead_of_another() {
        let substitution = [("lib/compare_dot", "lib/compare_manhattan")];
        let text = link("test", "//! use lib/compare_dot\n", &[], &substitution).unwrap();
        assert!(text.contains("abs(x - k)") && !text.contains("return dot(x, k)"), "{text}");
    }

    #[test]
    fn refuses_what_is_not_there() {
        let message = link("test", "const A: u32 = 1u;\n", &[("B", 7)], &[]).unwrap_err().to_string();
        assert!(message.contains("const B: u32"), "{message}");
        let message = link("test", "//! use lib/none\n", &[], &[]).unwrap_err().to_string();
        assert!(message.contains("lib/none"), "{message}");
    }
}
