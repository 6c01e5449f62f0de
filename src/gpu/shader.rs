//! The shader linker. A shader is a plain WGSL file in `shaders/`; `//! use lib/NAME` appends the fragment
//! `shaders/lib/NAME.wgsl` once, and the host sets constants that stand on their own lines as `const NAME: u32 = 1u;`.
//! There is nothing else: no overrides, no conditions, no build script.

use crate::error::{Error, Result};

/// Fragments: they declare no bindings and name no other fragment.
const FRAGMENTS: &[(&str, &str)] = &[
    ("lib/compare_dot", include_str!("../../shaders/lib/compare_dot.wgsl")),
    ("lib/compare_euclidean", include_str!("../../shaders/lib/compare_euclidean.wgsl")),
    ("lib/compare_manhattan", include_str!("../../shaders/lib/compare_manhattan.wgsl")),
    ("lib/entmax", include_str!("../../shaders/lib/entmax.wgsl")),
    ("lib/entries_scalar", include_str!("../../shaders/lib/entries_scalar.wgsl")),
    ("lib/entries_vector", include_str!("../../shaders/lib/entries_vector.wgsl")),
    ("lib/grid", include_str!("../../shaders/lib/grid.wgsl")),
    ("lib/list", include_str!("../../shaders/lib/list.wgsl")),
    ("lib/listed", include_str!("../../shaders/lib/listed.wgsl")),
    ("lib/matrix_16", include_str!("../../shaders/lib/matrix_16.wgsl")),
    ("lib/matrix_8", include_str!("../../shaders/lib/matrix_8.wgsl")),
    ("lib/order", include_str!("../../shaders/lib/order.wgsl")),
    ("lib/records", include_str!("../../shaders/lib/records.wgsl")),
    ("lib/score", include_str!("../../shaders/lib/score.wgsl")),
    ("lib/source", include_str!("../../shaders/lib/source.wgsl")),
    ("lib/spread_shared", include_str!("../../shaders/lib/spread_shared.wgsl")),
    ("lib/spread_subgroup", include_str!("../../shaders/lib/spread_subgroup.wgsl")),
    ("lib/stored_f16", include_str!("../../shaders/lib/stored_f16.wgsl")),
    ("lib/stored_f32", include_str!("../../shaders/lib/stored_f32.wgsl")),
    ("lib/stored_i8", include_str!("../../shaders/lib/stored_i8.wgsl")),
    ("lib/trial", include_str!("../../shaders/lib/trial.wgsl")),
    ("lib/workgroup", include_str!("../../shaders/lib/workgroup.wgsl")),
];

/// A constant that the host sets, by name.
pub type Constant = (&'static str, u32);

/// A fragment that a shader names, and the one with the same functions that is linked instead.
pub type Substitution = (&'static str, &'static str);

/// The text of one shader: `source` with its fragments appended, some of them substituted, and `constants` set.
///
/// # Errors
/// [`Error::Shader`] for a fragment that is not there or a constant that has no line of its own.
pub fn link(name: &str, source: &str, constants: &[Constant], substitutions: &[Substitution]) -> Result<String> {
    let refuse = |message: String| Error::Shader { shader: name.into(), message };
    let mut text = source.to_owned();
    let mut used = Vec::new();
    for fragment in source.lines().filter_map(|line| line.strip_prefix("//! use ")) {
        let fragment = fragment.trim();
        let fragment = substitutions.iter().find(|(named, _)| *named == fragment).map_or(fragment, |(_, other)| other);
        if used.contains(&fragment) {
            continue;
        }
        used.push(fragment);
        let (_, body) = FRAGMENTS
            .iter()
            .find(|(known, _)| *known == fragment)
            .ok_or_else(|| refuse(format!("no fragment is called {fragment}")))?;
        text.push('\n');
        text.push_str(body);
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
