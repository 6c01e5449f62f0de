//! `attractor tune` as a user meets it.

use std::fs;
use std::path::{Path, PathBuf};

use super::common::{attractor, text};
use attractor::tuning::Tuning;
use attractor::wgpu;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Expects success and silence on standard error; returns what was printed.
#[track_caller]
fn succeeds(dir: &Path, args: &[&str]) -> String {
    let output = attractor(dir, args);
    assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Tunings in the cache folder.
fn kept(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir.join("cache")).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|kind| kind == "json")).collect()
}

const SOFTWARE: [&str; 3] = ["--device", "vulkan", "--software"];

#[test]
fn the_command_tunes_once_and_others_go_by_it() {
    if !harness::gpus().any(|(name, _)| name == "lavapipe") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let said = succeeds(dir, &[&["tune", "--seconds", "2", "--json", "tune.json"][..], &SOFTWARE].concat());
    // Paths are not broken.
    for line in said.lines().filter(|line| !line.contains('/')) {
        assert!(line.chars().count() <= 100, "{line}");
    }
    let report: Value = serde_json::from_slice(&fs::read(dir.join("tune.json")).unwrap()).unwrap();
    assert_eq!((&report["complete"], &report["device"]["kind"]), (&json!(true), &json!("software")), "{report}");
    let shapes = report["shapes"].as_array().unwrap();
    assert!(shapes.iter().all(|shape| shape["default_seconds"].as_f64().unwrap() > 0.0), "{report}");
    assert!(!shapes.is_empty() && report["settings"]["workgroups"].is_u64() && report["noise"].is_f64(), "{report}");
    let lines = ["llvmpipe", "noise", "settings tried", "one query (B 1, N ", "wrote "];
    assert!(lines.iter().all(|line| said.contains(line)), "{said}");
    let files = kept(dir);
    assert_eq!(files.len(), 1, "{files:?}");
    assert!(said.contains(files[0].to_str().unwrap()), "{said}");
    let mut file: Value = serde_json::from_slice(&fs::read(&files[0]).unwrap()).unwrap();
    assert_eq!((&file["format"], &file["for"]["backend"]), (&json!("attractor.tuning 2"), &json!("Vulkan")));
    assert_eq!(file["for"]["attractor"], env!("CARGO_PKG_VERSION"));
    assert!(file["for"]["driver_info"].as_str().unwrap().contains("Mesa"), "{file}");
    let settings = file["settings"].as_object_mut().unwrap();
    let start = Tuning::of(wgpu::DeviceType::Cpu);
    assert!(start.settings().all(|(name, _)| settings[name].is_u64()) && settings.len() == start.settings().count());

    // What is kept is gone by, unless told otherwise.
    settings.insert("workgroups".into(), json!(5));
    fs::write(&files[0], file.to_string()).unwrap();
    fs::write(dir.join("mine.json"), file.to_string()).unwrap();
    let golden = format!("{}/../tests/golden/retrieve_softmax_small.safetensors", env!("CARGO_MANIFEST_DIR"));
    let (keys, queries) = (format!("{golden}:keys"), format!("{golden}:queries"));
    let retrieve = |more: &[&str]| {
        let flags = ["retrieve", "--keys", &keys, "--queries", &queries, "--out", "out.safetensors", "--explain"];
        [&flags[..], &SOFTWARE, more].concat().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let run = |more: &[&str]| {
        let args = retrieve(more);
        attractor(dir, &args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let answers = |more: &[&str]| {
        let output = run(more);
        assert!(output.status.success(), "{more:?}: {}", text(&output.stderr));
        (text(&output.stdout), text(&output.stderr), fs::read(dir.join("out.safetensors")).unwrap())
    };
    let tuned = |said: &str| said.contains("tuning: ") && said.contains("workgroups 5 instead of 16");
    let (said, _, _) = answers(&[]);
    assert!(tuned(&said), "{said}");
    let (said, _, usual) = answers(&["--tuning", "none"]);
    assert!(said.contains("tuning: default"), "{said}");
    fs::remove_file(&files[0]).unwrap();
    let (said, _, _) = answers(&[]);
    assert!(said.contains("tuning: default"), "{said}");
    let (said, _, _) = answers(&["--tuning", "mine.json"]);
    assert!(tuned(&said), "{said}");

    // A cached tuning that is damaged or of another device is ignored with a warning; one that was named is refused.
    let text_of = file.to_string();
    let foreign = text_of.replace("llvmpipe", "something else");
    for (damaged, why) in [(&text_of[..100], "no tuning"), (&foreign, "another device"), ("", "no tuning")] {
        fs::write(&files[0], damaged).unwrap();
        fs::write(dir.join("mine.json"), damaged).unwrap();
        let (said, warned, got) = answers(&[]);
        assert!(said.contains("tuning: default") && warned.contains(why), "{said}{warned}");
        assert_eq!(got, usual, "bit-exact with the answers of the defaults");
        let refused = run(&["--tuning", "mine.json"]);
        let said = text(&refused.stderr);
        assert_eq!((refused.status.code(), said.lines().count()), (Some(1), 1), "{said}");
        assert!(said.contains("mine.json") && said.contains(why), "{said}");
    }
}

#[test]
fn the_command_refuses_what_it_cannot_tune() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    for (args, code, why) in [
        (&["tune", "--device", "cpu"][..], 1, "CPU engine"),
        (&["tune", "--device", "cpu", "--software"], 2, "--software"),
        (&["tune", "--seconds", "0"], 2, "at least 1"),
        (&["tune", "--seconds", "soon"], 2, "whole number"),
        (&["tune", "--tuning", "none"], 2, "--tuning"),
    ] {
        let output = attractor(dir, args);
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(code), 1), "{args:?}: {said}");
        assert!(said.contains(why), "{args:?}: {said}");
    }
    if harness::gpus().any(|(name, _)| name == "lavapipe") {
        let output = attractor(dir, &[&["tune", "--out", "no/such/file.json"][..], &SOFTWARE].concat());
        assert_eq!(output.status.code(), Some(1), "before anything is measured");
        assert!(text(&output.stderr).contains("no/such"), "{}", text(&output.stderr));
    }
    assert!(kept(dir).is_empty());
}
