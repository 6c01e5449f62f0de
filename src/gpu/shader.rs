//! The shader linker. A shader is a plain WGSL file in `shaders/`; `//! use lib/NAME` appends the fragment
//! `shaders/lib/NAME.wgsl` once, and the host sets constants that stand on their own lines as `const NAME: u32 = 1u;`.
//! There is nothing else: no overrides, no conditions, no build script.

use crate::error::{Error, Result};

/// Fragments: they declare no bindings and use no other fragment.
const FRAGMENTS: &[(&str, &str)] = &[
    ("lib/grid", include_str!("../../shaders/lib/grid.wgsl")),
    ("lib/score", include_str!("../../shaders/lib/score.wgsl")),
];

/// A constant that the host sets, by name.
pub type Constant = (&'static str, u32);

/// The text of one shader: `source` with its fragments appended and `constants` set.
///
/// # Errors
/// [`Error::Shader`] for a fragment that is not there or a constant that has no line of its own.
pub fn link(name: &str, source: &str, constants: &[Constant]) -> Result<String> {
    let refuse = |message: String| Error::Shader { shader: name.into(), message };
    let mut text = source.to_owned();
    let mut used = Vec::new();
    for fragment in source.lines().filter_map(|line| line.strip_prefix("//! use ")) {
        let fragment = fragment.trim();
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
        let text = link("test", source, &[("A", 7)]).unwrap();
        assert!(text.contains("const A: u32 = 7u;\n") && text.contains("const AB: u32 = 2u;\n"), "{text}");
        assert_eq!(text.matches("fn flat_index").count(), 1);
    }

    #[test]
    fn refuses_what_is_not_there() {
        let message = link("test", "const A: u32 = 1u;\n", &[("B", 7)]).unwrap_err().to_string();
        assert!(message.contains("const B: u32"), "{message}");
        let message = link("test", "//! use lib/none\n", &[]).unwrap_err().to_string();
        assert!(message.contains("lib/none"), "{message}");
    }
}
