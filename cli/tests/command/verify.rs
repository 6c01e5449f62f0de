//! `attractor verify` as a user meets it.

use super::common::{attractor, text};
use tempfile::TempDir;

/// Verifies a device, expects that all is right, and returns what was printed.
#[track_caller]
fn verify(args: &[&str]) -> String {
    let dir = TempDir::new().unwrap();
    let output = attractor(dir.path(), &[&["verify"], args].concat());
    let (said, warned) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && warned.is_empty(), "{args:?}: {said}{warned}");
    said
}

/// The number of cases in the last line, those that are not supported, and those that are out of range.
fn counts(said: &str) -> [usize; 4] {
    let words: Vec<&str> = said.lines().last().unwrap().split_whitespace().collect();
    [0, 2, 6, 9].map(|word| words[word].parse().unwrap_or_else(|_| panic!("{said}")))
}

#[test]
fn the_cpu_engine_is_right_in_every_case() {
    let said = verify(&["--device", "cpu"]);
    let [right, all, unsupported, refused] = counts(&said);
    assert!(right == all && all > 80 && unsupported == 0 && refused == 0, "{said}");
    assert!(said.lines().count() > all + 3 && said.contains("CPU engine"), "{said}");
}

#[test]
fn an_adapter_is_right_in_every_case_by_every_kernel() {
    if !harness::gpus().any(|(name, _)| name == "lavapipe") {
        return;
    }
    let said = verify(&["--device", "vulkan", "--software"]);
    let [right, all, unsupported, refused] = counts(&said);
    // Cooperative matrices came to lavapipe after the version that Debian 12 has.
    assert!(right + unsupported + refused == all && unsupported <= 1 && refused <= 10, "{said}");
    for kernel in ["fused_stream", "fused_register", "similarity", "projection", "bracket_threshold", "gather_support"]
    {
        assert!(said.lines().any(|line| line.split_whitespace().any(|word| word == kernel)), "{kernel}: {said}");
    }
}
