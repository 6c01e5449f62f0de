//! `attractor family` as a user meets it.

use std::fs;

use super::common::{attractor, text};
use safetensors::SafeTensors;
use serde_json::Value;
use tempfile::TempDir;

fn case(name: &str) -> String {
    format!("{}/../tests/golden/family/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn a_case_is_right_and_reported() {
    let dir = TempDir::new().unwrap();
    let path = case("dense_n4");
    let output = attractor(dir.path(), &["family", "--case", &path, "--device", "cpu"]);
    let said = text(&output.stdout);
    assert!(output.status.success() && output.stderr.is_empty(), "{said}{}", text(&output.stderr));
    for words in ["900 patterns of 60", "dot power 3", "states", "20 x 60", "equal"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert!(said.ends_with("\nright\n"), "{said}");

    let path = case("hopular_leave_one_out");
    let output = attractor(dir.path(), &["family", "--case", &path, "--device", "cpu", "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["right"], &report["complete"]), (&true.into(), &true.into()), "{report}");
    let names: Vec<_> = report["compared"].as_array().unwrap().iter().map(|c| c["name"].clone()).collect();
    assert_eq!(names, ["expected", "accuracy"], "{report}");
}

#[test]
fn a_difference_is_shown_and_is_status_1() {
    let dir = TempDir::new().unwrap();
    let mut bytes = fs::read(case("dense_n2")).unwrap();
    let states = SafeTensors::deserialize(&bytes).unwrap().tensor("states").unwrap().data().as_ptr();
    let at = states.addr() - bytes.as_ptr().addr() + 60 + 7;
    bytes[at] = bytes[at].wrapping_neg();
    fs::write(dir.path().join("wrong.safetensors"), bytes).unwrap();
    let output = attractor(dir.path(), &["family", "--case", "wrong.safetensors", "--device", "cpu"]);
    let (said, warned) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}{warned}");
    assert!(said.contains("states differs, first at [1, 7] is") && !said.contains("right"), "{said}");
    assert!(warned.contains("wrong.safetensors: states differs"), "{warned}");
}

#[test]
fn what_is_no_case_is_status_2() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("text.safetensors"), "not tensors").unwrap();
    let other = format!("{}/../tests/golden/retrieve_softmax_wide.safetensors", env!("CARGO_MANIFEST_DIR"));
    for (path, words) in [
        ("missing.safetensors", "cannot read"),
        ("text.safetensors", "not a safetensors file"),
        (".", "not a file"),
        (&other, "is known"),
    ] {
        let output = attractor(dir.path(), &["family", "--case", path, "--device", "cpu"]);
        let warned = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{warned}");
        assert!(warned.contains(words) && warned.contains(path) && warned.lines().count() == 1, "{warned}");
    }
}
