//! `attractor bench` as a user meets it.

use std::fs;
use std::path::Path;

use super::common::{attractor, text};
use serde_json::Value;
use tempfile::TempDir;

/// Measures in `dir`; what was printed, what was written, and the picture.
#[track_caller]
fn bench(dir: &Path, more: &[&str]) -> (String, Value, String) {
    let output = attractor(dir, &[&["bench", "--seconds", "0.01", "--divide", "512"], more].concat());
    let (said, warned) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && warned.is_empty(), "{more:?}: {said}{warned}");
    let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
    (said, serde_json::from_str(&read("bench.json")).unwrap(), read("bench.svg"))
}

/// What one device says of `sizes` makes sense, and is in the table and in the picture.
fn holds(said: &str, device: &Value, picture: &str, sizes: &[&str]) {
    let rows = device["rows"].as_array().unwrap();
    assert_eq!(rows.iter().map(|row| row["size"].as_str().unwrap()).collect::<Vec<_>>(), sizes, "{device}");
    assert!(device["left_out"].as_array().unwrap().is_empty(), "{device}");
    let clock = device["multiply_adds_flops"].is_f64();
    for row in rows {
        let number = |name: &str| row[name].as_f64().unwrap_or_else(|| panic!("{name}: {row}"));
        assert!(number("seconds") > 0.0 && number("whole_call_seconds") > 0.0 && number("error") < 2e-2, "{row}");
        assert!(row["quartiles"][0].as_f64() <= row["seconds"].as_f64(), "{row}");
        assert!(row["quartiles"][1].as_f64() >= row["seconds"].as_f64(), "{row}");
        // Eight bits are less than their scale and half a float each; products are counted by hand.
        let (n, d, b) = (number("patterns"), number("dim"), number("batch"));
        let bytes = match row["precision"].as_str().unwrap() {
            "f32" => 4.0 * n * d,
            "f16" => 2.0 * n * d,
            _ => n * (d + 4.0),
        };
        let products = if row["separation"] == "softmax" { 4.0 } else { 2.0 };
        assert_eq!(number("pattern_bytes"), bytes, "{row}");
        assert_eq!(number("flops"), products * b * n * d * number("mean_steps"), "{row}");
        let halves = row["precision"] == "f16" && b > 16.0;
        assert_eq!(row["floor_seconds"].is_f64(), clock && !halves, "{row}");
        let name = row["size"].as_str().unwrap();
        assert!(said.lines().any(|line| line.split_whitespace().next() == Some(name)), "{name}: {said}");
        assert!(picture.contains(&format!("{name}: {}", row["what"].as_str().unwrap())), "{name}: {picture}");
    }
    let name = device["name"].as_str().unwrap();
    assert!(said.contains(name) && picture.starts_with("<svg") && picture.contains(name), "{name}: {said}");
}

#[test]
fn the_cpu_engine_is_measured() {
    let dir = TempDir::new().unwrap();
    let (said, told, picture) = bench(dir.path(), &["--device", "cpu"]);
    let sizes = [
        "one",
        "one-f16",
        "one-i8",
        "eight",
        "batch",
        "large-64",
        "large-128",
        "large-128-f16",
        "wide",
        "softmax",
        "sparsemax",
        "entmax",
        "latency",
        "converge",
    ];
    let devices = told["devices"].as_array().unwrap();
    assert_eq!((devices.len(), &told["attractor"]), (1, &env!("CARGO_PKG_VERSION").into()));
    holds(&said, &devices[0], &picture, &sizes);
    assert_eq!(devices[0]["kind"], "cpu engine");
    // Its reads and its multiply-adds are those of a computer: 100 MB/s to 100 TB/s, 100 MFLOP/s to 1 PFLOP/s.
    let rate = |name: &str| devices[0][name].as_f64().unwrap();
    assert!((1e8..1e14).contains(&rate("bandwidth_bytes_per_second")), "{said}");
    assert!((1e8..1e15).contains(&rate("multiply_adds_flops")), "{said}");
}

#[test]
fn an_adapter_is_measured_by_its_own_clock() {
    if !harness::gpus().any(|(name, _)| name == "lavapipe") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let sizes = ["one", "one-i8", "sparsemax", "latency", "converge"];
    let more = ["--device", "vulkan", "--software", "--sizes", "one,one-i8,sparsemax,latency,converge"];
    let (said, told, picture) = bench(dir.path(), &more);
    let device = &told["devices"][0];
    holds(&said, device, &picture, &sizes);
    assert_eq!((&device["kind"], &device["backend"]), (&"software".into(), &"Vulkan".into()));
    for row in device["rows"].as_array().unwrap() {
        assert_eq!(row["clock"], "device", "{row}");
        assert!(row["recording_seconds"].as_f64().unwrap() > 0.0, "{row}");
        assert!(row["plan"].as_str().unwrap().contains("dispatches"), "{row}");
    }
    let steps = device["rows"][4]["mean_steps"].as_f64().unwrap();
    assert!((1.0..24.0).contains(&steps), "most stop early: {steps}");
}

#[test]
fn bad_usage_is_refused_before_anything_is_measured() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    for (more, code, word) in [
        (&["--sizes", "huge"][..], 2, "one-f16"),
        (&["--sizes", ""], 2, "one-f16"),
        (&["--divide", "0"], 2, "at least 1"),
        (&["--seconds", "nan"], 2, "finite"),
        (&["--seconds", "-1"], 2, "above 0"),
        (&["--device", "abacus"], 2, "expected all, auto"),
        (&["--device", "cpu", "--software"], 2, "--software"),
        (&["--device", "99"], 1, "no adapter fits"),
        (&["--json", "no/such/folder/bench.json"], 1, "no/such/folder"),
        (&["--svg", "."], 1, "."),
        (&["--tuning", "missing.json", "--device", "cpu"], 1, "no plans to tune"),
    ] {
        let output = attractor(dir, &[&["bench"], more].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{more:?} said: {said}");
        assert!(said.contains(word) && said.trim_end().lines().count() == 1, "{more:?} said: {said}");
    }
    assert!(fs::read_dir(dir).unwrap().all(|entry| entry.unwrap().file_name() == "cache"), "nothing was written");
}
