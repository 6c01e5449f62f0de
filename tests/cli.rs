//! The command line as a user meets it: a process, its files, its exit status and what it says.
#![cfg(feature = "cli")]

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use tempfile::TempDir;

/// Runs the command in `dir`.
fn attractor(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_attractor"))
        .args(args)
        .current_dir(dir)
        .env_remove("RUST_LOG")
        // Without it Mesa complains on standard error, and an error of ours is one line.
        .env("XDG_RUNTIME_DIR", dir)
        .output()
        .expect("the command starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Expects success, and returns what it printed.
#[track_caller]
fn succeeds(dir: &Path, args: &[&str]) -> String {
    let output = attractor(dir, args);
    assert!(output.status.success(), "{args:?} failed: {}", text(&output.stderr));
    text(&output.stdout)
}

/// Expects `code`, and one line on standard error with all of `words` in it.
#[track_caller]
fn refuses(dir: &Path, args: &[&str], code: i32, words: &[&str]) {
    let output = attractor(dir, args);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{args:?} said: {said}");
    assert!(!said.contains("panicked"), "{args:?} said: {said}");
    assert_eq!(said.trim_end().lines().count(), 1, "{args:?} said: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?} should say {word:?} and said: {said}");
    }
}

/// The arguments that pick each device to test on. A software adapter that is not there is a skip, and a failure where
/// `ATTRACTOR_REQUIRE_ADAPTERS` (a list of names, or 1 for all) says that it must be.
fn places() -> Vec<&'static [&'static str]> {
    const SOFTWARE: [(&str, &[&str]); 2] =
        [("lavapipe", &["--device", "vulkan", "--software"]), ("llvmpipe", &["--device", "gl", "--software"])];
    let dir = TempDir::new().unwrap();
    let golden = golden("retrieve_softmax_one_pattern");
    let mut places: Vec<&[&str]> = vec![&["--device", "cpu"]];
    for (name, place) in SOFTWARE {
        let (keys, queries) = (format!("{golden}:keys"), format!("{golden}:queries"));
        let mut args = vec!["retrieve", "--keys", &keys, "--queries", &queries, "--out", "probe.safetensors"];
        args.extend(place);
        let output = attractor(dir.path(), &args);
        let said = text(&output.stderr);
        if said.contains("no adapter fits") {
            eprintln!("SKIP {name}: {}", said.trim());
            let required = std::env::var("ATTRACTOR_REQUIRE_ADAPTERS").unwrap_or_default();
            let fatal = required.split(',').any(|asked| [name, "1"].contains(&asked.trim()));
            assert!(!fatal, "{name} is required by ATTRACTOR_REQUIRE_ADAPTERS and is not there");
        } else {
            assert!(output.status.success(), "{name}: {said}");
            places.push(place);
        }
    }
    places
}

fn golden(name: &str) -> String {
    format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))
}

/// A tensor as f64, whatever it was, and its shape.
fn tensor(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f64>) {
    let view = file.tensor(name).unwrap();
    let bytes = view.data();
    let values = match view.dtype() {
        Dtype::F64 => bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
        Dtype::U32 => bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
        Dtype::U8 => bytes.iter().map(|&b| f64::from(b)).collect(),
        other => panic!("unexpected dtype {other:?}"),
    };
    (view.shape().to_vec(), values)
}

fn f32_bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|&v| (v as f32).to_le_bytes()).collect()
}

fn f16_bytes(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|&v| half::f16::from_f64(v).to_le_bytes()).collect()
}

fn write_npy(path: &Path, dtype: &str, shape: &str, data: &[u8]) {
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    fs::write(path, file).unwrap();
}

fn write_safetensors(path: &Path, tensors: &[(&str, Dtype, &[usize], &[u8])]) {
    let views = tensors
        .iter()
        .map(|&(name, dtype, shape, data)| (name, TensorView::new(dtype, shape.to_vec(), data).unwrap()))
        .collect::<HashMap<_, _>>();
    fs::write(path, serialize(views, None).unwrap()).unwrap();
}

/// Holds `output` and `state` of a written file against expected ones.
#[track_caller]
fn agrees(what: &str, written: &Path, expected: &SafeTensors<'_>, tolerance: f64) {
    let bytes = fs::read(written).unwrap();
    let written = SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(written.tensor("output").unwrap().dtype(), Dtype::F32);
    for name in ["output", "state"] {
        let ((shape, got), (expected_shape, expected)) = (tensor(&written, name), tensor(expected, name));
        assert_eq!(shape, expected_shape, "{what}: {name}");
        let largest = expected.iter().fold(1.0, |most, e| f64::max(most, e.abs()));
        let worst = got.iter().zip(&expected).fold(0.0, |most, (g, e)| {
            assert!(g.is_finite(), "{what}: {name} holds {g}");
            f64::max(most, (g - e).abs())
        });
        assert!(worst <= tolerance * largest, "{what}: {name} is off by {worst:e}, largest expected {largest}");
    }
}

/// The golden cases that this version computes: name, beta, steps, and whether there are values.
fn cases() -> Vec<(String, String, String, bool)> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("retrieve_softmax_") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let case = &metadata.metadata().as_ref().unwrap()["case"];
        let case: serde_json::Value = serde_json::from_str(case).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        if case["similarity"] != "dot" || case["separation"]["kind"] != "softmax" || file.tensor("mask").is_ok() {
            continue;
        }
        let values = file.tensor("values").is_ok();
        cases.push((name, case["beta"].to_string(), case["steps"].to_string(), values));
    }
    cases
}

#[test]
fn golden_cases_come_back_on_every_device() {
    let cases = cases();
    assert!(cases.len() >= 7, "only {} golden cases of dot and softmax", cases.len());
    let dir = TempDir::new().unwrap();
    for place in places() {
        for (name, beta, steps, values) in &cases {
            let file = golden(name);
            let address = |tensor: &str| format!("{file}:{tensor}");
            let (keys, queries, value) = (address("keys"), address("queries"), address("values"));
            let mut args = vec!["retrieve", "--keys", &keys, "--queries", &queries, "--out", "out.safetensors"];
            args.extend(["--beta", beta, "--steps", steps]);
            args.extend(place);
            if *values {
                args.extend(["--values", &value]);
            }
            let said = succeeds(dir.path(), &args);
            assert!(said.contains("out.safetensors"), "{said}");
            let expected = fs::read(&file).unwrap();
            let expected = SafeTensors::deserialize(&expected).unwrap();
            let written = dir.path().join("out.safetensors");
            agrees(&format!("{name} on {place:?}"), &written, &expected, 2e-5);

            let bytes = fs::read(&written).unwrap();
            let written = SafeTensors::deserialize(&bytes).unwrap();
            let batch = expected.tensor("queries").unwrap().shape()[0];
            let (shape, taken) = tensor(&written, "steps");
            assert_eq!(shape, [batch]);
            assert!(taken.iter().all(|t| t.to_string() == *steps), "{name}: {taken:?}");
            let (shape, converged) = tensor(&written, "converged");
            assert!(shape == [batch] && converged.iter().all(|c| [0.0, 1.0].contains(c)));
        }
    }
    // Nothing but the answer is left: the temporary file has its name.
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "out.safetensors" || !name.to_string_lossy().contains(".tmp")), "{left:?}");
}

#[test]
fn small_windows_give_the_same_answer() {
    let dir = TempDir::new().unwrap();
    let file = golden("retrieve_softmax_hetero");
    let expected = fs::read(&file).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    let (keys, queries, values) = (format!("{file}:keys"), format!("{file}:queries"), format!("{file}:values"));
    for place in places() {
        let mut args = vec!["retrieve", "--keys", &keys, "--queries", &queries, "--values", &values];
        args.extend(["--beta", "0.125", "--window-bytes", "20000", "--out", "windows.safetensors"]);
        args.extend(place);
        succeeds(dir.path(), &args);
        agrees(&format!("windows on {place:?}"), &dir.path().join("windows.safetensors"), &expected, 2e-5);
    }
}

/// The same numbers as safetensors f32, NPY f32, NPY f16 and safetensors f16 (the f16 ones rounded alike in both).
#[test]
fn npy_and_f16_are_read_like_safetensors_of_f32() {
    let dir = TempDir::new().unwrap();
    let golden_bytes = fs::read(golden("retrieve_softmax_small")).unwrap();
    let file = SafeTensors::deserialize(&golden_bytes).unwrap();
    let at = |name: &str| dir.path().join(name);
    for (short, tensor_name) in [("k", "keys"), ("q", "queries")] {
        let (shape, values) = tensor(&file, tensor_name);
        let halves: Vec<f64> = values.iter().map(|&v| half::f16::from_f64(v).to_f64()).collect();
        let python = format!("({}, {})", shape[0], shape[1]);
        write_npy(&at(&format!("{short}32.npy")), "<f4", &python, &f32_bytes(&values));
        write_npy(&at(&format!("{short}16.npy")), "<f2", &python, &f16_bytes(&values));
        // An odd name length leaves the data at an odd place in some version of the file.
        let tensors: &[(&str, Dtype, &[usize], &[u8])] =
            &[("half", Dtype::F16, &shape, &f16_bytes(&values)), ("exact", Dtype::F32, &shape, &f32_bytes(&halves))];
        write_safetensors(&at(&format!("{short}.safetensors")), tensors);
    }
    let run = |keys: &str, queries: &str, out: &str| {
        succeeds(
            dir.path(),
            &["retrieve", "--device", "cpu", "--beta", "0.5", "--keys", keys, "--queries", queries, "--out", out],
        );
        fs::read(at(out)).unwrap()
    };
    run("k32.npy", "q32.npy", "a.safetensors");
    agrees("npy", &at("a.safetensors"), &file, 2e-5);
    let exact = run("k.safetensors:exact", "q.safetensors:exact", "b.safetensors");
    assert_ne!(exact, fs::read(at("a.safetensors")).unwrap(), "halves are not the numbers themselves");
    assert_eq!(exact, run("k16.npy", "q16.npy", "c.safetensors"));
    assert_eq!(exact, run("k.safetensors:half", "q16.npy", "d.safetensors"));
}

#[test]
fn beta_may_be_negative_and_defaults_to_that_of_attention() {
    let dir = TempDir::new().unwrap();
    let rows =
        |values: &[f64], shape: &str, name: &str| write_npy(&dir.path().join(name), "<f4", shape, &f32_bytes(values));
    rows(&[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0], "(2, 4)", "k.npy");
    rows(&[2.0, 0.0, 0.0, 0.0], "(1, 4)", "q.npy");
    let run = |more: &[&str]| {
        let mut args =
            vec!["retrieve", "--device", "cpu", "--keys", "k.npy", "--queries", "q.npy", "--out", "o.safetensors"];
        args.extend(more);
        succeeds(dir.path(), &args);
        let bytes = fs::read(dir.path().join("o.safetensors")).unwrap();
        tensor(&SafeTensors::deserialize(&bytes).unwrap(), "output").1[0]
    };
    // Two scores, 2 beta and 0: the first weight is the logistic of 2 beta.
    let logistic = |z: f64| 1.0 / (1.0 + (-z).exp());
    for (args, z) in [(&[][..], 1.0), (&["--beta", "-1"], -2.0), (&["--beta=-0.25"], -0.5), (&["--beta", "0"], 0.0)] {
        assert!((run(args) - logistic(z)).abs() < 1e-6, "{args:?}: {} against {}", run(args), logistic(z));
    }
}

/// Good inputs `k.npy` (3 x 4), `q.npy` (2 x 4), `v.npy` (3 x 2), and a directory to spoil them in.
fn good_inputs() -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, shape, count) in [("k", "(3, 4)", 12), ("q", "(2, 4)", 8), ("v", "(3, 2)", 6)] {
        let values: Vec<f64> = (0..count).map(|i| f64::from(i) / 8.0).collect();
        write_npy(&dir.path().join(format!("{name}.npy")), "<f4", shape, &f32_bytes(&values));
    }
    dir
}

const GOOD: [&str; 7] = ["retrieve", "--keys", "k.npy", "--queries", "q.npy", "--out", "o.safetensors"];

/// The good command with its keys replaced.
fn keys(address: &str) -> Vec<&str> {
    let mut args = GOOD.to_vec();
    args[2] = address;
    args.extend(["--device", "cpu"]);
    args
}

#[test]
fn bad_files_are_refused_in_one_line() {
    let dir = good_inputs();
    let at = |name: &str| dir.path().join(name);
    let data = f32_bytes(&[0.5; 12]);
    let with = |value: f64| {
        let mut values = [0.5; 12];
        values[6] = value;
        f32_bytes(&values)
    };
    let shape: &[usize] = &[3, 4];
    write_safetensors(
        &at("t.safetensors"),
        &[
            ("good", Dtype::F32, shape, &data),
            ("double", Dtype::F64, &[3, 2], &data),
            ("flat", Dtype::F32, &[12], &data),
            ("deep", Dtype::F32, &[1, 3, 4], &data),
            ("empty", Dtype::F32, &[0, 4], &[]),
            ("nan", Dtype::F32, shape, &with(f64::NAN)),
        ],
    );
    succeeds(dir.path(), &keys("t.safetensors:good"));
    let whole = fs::read(at("t.safetensors")).unwrap();
    fs::write(at("cut.safetensors"), &whole[..whole.len() - 1]).unwrap();
    fs::write(at("head.safetensors"), &whole[..5]).unwrap();
    fs::write(at("liar.safetensors"), [&u64::MAX.to_le_bytes()[..], b"{}"].concat()).unwrap();
    let whole = fs::read(at("k.npy")).unwrap();
    fs::write(at("cut.npy"), &whole[..whole.len() - 1]).unwrap();
    fs::write(at("head.npy"), &whole[..20]).unwrap();
    fs::write(at("empty.npy"), []).unwrap();
    fs::write(at("text.npy"), "1,2,3\n4,5,6\n").unwrap();
    fs::create_dir(at("dir.npy")).unwrap();
    write_npy(&at("double.npy"), "<f8", "(3, 2)", &[0; 48]);
    write_npy(&at("big-endian.npy"), ">f4", "(3, 4)", &data);
    write_npy(&at("flat.npy"), "<f4", "(12,)", &data);
    write_npy(&at("huge.npy"), "<f4", "(4611686018427387904, 4611686018427387904)", &data);
    write_npy(&at("nan.npy"), "<f4", "(3, 4)", &with(f64::NAN));
    write_npy(&at("infinite.npy"), "<f4", "(3, 4)", &with(f64::INFINITY));

    for (address, words) in [
        ("gone.npy", &["gone.npy", "cannot open"][..]),
        ("gone.safetensors:x", &["gone.safetensors", "cannot open"]),
        ("dir.npy", &["dir.npy", "not a regular file"]),
        ("empty.npy", &["empty.npy", "empty"]),
        ("text.npy", &["text.npy", "not an NPY file"]),
        ("cut.npy", &["cut.npy", "truncated", "3 x 4", "48", "47"]),
        ("head.npy", &["head.npy", "truncated"]),
        ("huge.npy", &["huge.npy", "truncated"]),
        ("double.npy", &["double.npy", "keys", "<f8", "f32 or f16"]),
        ("big-endian.npy", &["big-endian.npy", ">f4", "f32 or f16"]),
        ("flat.npy", &["flat.npy", "(12,)", "two dimensions"]),
        ("nan.npy", &["nan.npy", "keys row 1, column 2 is NaN"]),
        ("infinite.npy", &["infinite.npy", "keys row 1, column 2 is inf"]),
        ("cut.safetensors:good", &["cut.safetensors:good", "truncated"]),
        ("head.safetensors:good", &["head.safetensors:good", "truncated"]),
        ("liar.safetensors:good", &["liar.safetensors:good", "truncated"]),
        ("t.safetensors:other", &["t.safetensors:other", "no tensor", "double", "good"]),
        ("t.safetensors:double", &["t.safetensors:double", "keys", "F64", "f32 or f16"]),
        ("t.safetensors:flat", &["t.safetensors:flat", "two dimensions"]),
        ("t.safetensors:deep", &["t.safetensors:deep", "1 x 3 x 4", "two dimensions"]),
        ("t.safetensors:empty", &["t.safetensors:empty", "0 x 4", "at least one"]),
        ("t.safetensors:nan", &["t.safetensors:nan", "keys row 1, column 2 is NaN"]),
    ] {
        let _ = fs::remove_file(at("o.safetensors"));
        refuses(dir.path(), &keys(address), 1, words);
        assert!(!at("o.safetensors").exists(), "{address} left an answer");
    }
}

#[test]
fn shapes_that_do_not_fit_are_named_with_both_sides() {
    let dir = good_inputs();
    let cpu = |mut args: Vec<&'static str>| {
        args.extend(["--device", "cpu"]);
        args
    };
    let mut swapped = GOOD.to_vec();
    swapped[4] = "v.npy";
    refuses(dir.path(), &cpu(swapped), 1, &["queries of v.npy are 3 x 2", "keys of k.npy are 3 x 4", "columns"]);
    let mut args = GOOD.to_vec();
    args.extend(["--values", "q.npy"]);
    refuses(dir.path(), &cpu(args), 1, &["values of q.npy are 2 x 4", "keys of k.npy are 3 x 4", "rows"]);
    let mut args = GOOD.to_vec();
    args.extend(["--window-bytes", "15"]);
    refuses(dir.path(), &cpu(args), 1, &["window", "16", "15"]);
    let mut args = GOOD.to_vec();
    args[6] = "nowhere/o.safetensors";
    refuses(dir.path(), &cpu(args), 1, &["nowhere/o.safetensors", "no directory"]);
    let mut args = GOOD.to_vec();
    args.extend(["--values", "v.npy"]);
    succeeds(dir.path(), &cpu(args));
}

#[test]
fn what_this_version_lacks_is_refused_and_never_ignored() {
    let dir = good_inputs();
    for (more, word) in [
        (&["--similarity", "cosine"][..], "--similarity cosine"),
        (&["--similarity", "euclidean"], "--similarity euclidean"),
        (&["--similarity", "manhattan"], "--similarity manhattan"),
        (&["--separation", "softmax1"], "--separation softmax1"),
        (&["--separation", "sparsemax"], "--separation sparsemax"),
        (&["--separation", "entmax", "--alpha", "1.5"], "--separation entmax"),
        (&["--separation", "topk", "--k", "2"], "--separation topk"),
        (&["--converge", "10"], "--converge"),
        (&["--converge", "10", "--tolerance", "1e-3"], "--converge"),
        (&["--precision", "f16"], "--precision f16"),
        (&["--precision", "i8"], "--precision i8"),
        (&["--energy"], "--energy"),
        (&["--weights"], "--weights"),
        (&["--top", "3"], "--top"),
        (&["--mask", "m.npy"], "--mask"),
        (&["--bias", "b.npy"], "--bias"),
    ] {
        let args = [&GOOD[..], more].concat();
        refuses(dir.path(), &args, 2, &[word, "not supported by this version"]);
    }
    // All defaults by name are what it does have.
    let defaults = ["--similarity", "dot", "--separation", "softmax", "--precision", "f32", "--steps", "1"];
    succeeds(dir.path(), &[&GOOD[..], &defaults, &["--device", "cpu"]].concat());
}

#[test]
fn bad_usage_is_status_2_and_one_line() {
    let dir = good_inputs();
    for (more, words) in [
        (&["--steps", "0"][..], &["--steps"][..]),
        (&["--steps", "-1"], &["-1"]),
        (&["--steps", "2", "--converge", "3"], &["--steps", "--converge"]),
        (&["--beta", "nan"], &["--beta", "finite"]),
        (&["--beta", "inf"], &["--beta", "finite"]),
        (&["--beta", "1e99"], &["--beta", "finite"]),
        (&["--beta", "hot"], &["--beta", "not a number"]),
        (&["--alpha", "1.5"], &["--alpha needs --separation entmax"]),
        (&["--k", "3"], &["--k needs --separation topk"]),
        (&["--separation", "entmax"], &["needs --alpha"]),
        (&["--separation", "entmax", "--alpha", "1"], &["above 1"]),
        (&["--separation", "topk"], &["needs --k"]),
        (&["--separation", "topk", "--k", "0"], &["at least 1"]),
        (&["--separation", "hardmax"], &["hardmax", "softmax"]),
        (&["--tolerance", "0.1"], &["--converge"]),
        (&["--device", "abacus"], &["abacus", "vulkan"]),
        (&["--device", "cpu", "--software"], &["--software", "--device cpu"]),
        (&["--window-bytes", "0"], &["--window-bytes"]),
        (&["--frobnicate"], &["--frobnicate"]),
    ] {
        refuses(dir.path(), &[&GOOD[..], more].concat(), 2, words);
    }
    refuses(dir.path(), &keys("k.bin"), 2, &["k.bin", "file.npy or file.safetensors:tensor"]);
    refuses(dir.path(), &keys("k.safetensors"), 2, &["file.safetensors:tensor"]);
    refuses(dir.path(), &["retrieve", "--keys", "k.npy"], 2, &["--queries", "--out"]);
    let mut args = GOOD.to_vec();
    args[6] = "o.npy";
    refuses(dir.path(), &args, 2, &["o.npy", ".safetensors"]);
    refuses(dir.path(), &["forget"], 2, &["forget"]);
    refuses(
        dir.path(),
        &["retrieve", "--device", "99", "--keys", "k.npy", "--queries", "q.npy", "--out", "o.safetensors"],
        1,
        &["no adapter fits", "99"],
    );
}

#[test]
fn help_and_version_are_there() {
    let dir = TempDir::new().unwrap();
    assert!(succeeds(dir.path(), &["--version"]).contains(env!("CARGO_PKG_VERSION")));
    let help = succeeds(dir.path(), &["--help"]);
    assert!(["devices", "recall", "retrieve"].iter().all(|command| help.contains(command)), "{help}");
    assert!(!help.contains("bench") && !help.contains("verify"), "{help}");
    let help = succeeds(dir.path(), &["retrieve", "--help"]);
    for flag in [
        "--keys",
        "--queries",
        "--out",
        "--values",
        "--bias",
        "--mask",
        "--similarity",
        "--separation",
        "--alpha",
        "--k",
        "--beta",
        "--steps",
        "--converge",
        "--tolerance",
        "--precision",
        "--energy",
        "--weights",
        "--top",
        "--window-bytes",
        "--device",
        "--software",
    ] {
        assert!(help.contains(flag), "{flag} is not in {help}");
    }
    assert_eq!(attractor(dir.path(), &[]).status.code(), Some(2));
}

#[test]
fn devices_lists_the_cpu_engine_last_and_marks_one() {
    let dir = TempDir::new().unwrap();
    let list = succeeds(dir.path(), &["devices"]);
    let heads: Vec<&str> = list.lines().filter(|line| line.starts_with('[')).collect();
    assert!(heads.last().is_some_and(|head| head.starts_with("[cpu] CPU engine")), "{list}");
    assert_eq!(list.matches("<- auto").count(), 1, "{list}");
    assert_eq!(list.matches("storage binding").count(), heads.len() - 1, "{list}");
    assert_eq!(list.matches("EXPERIMENTAL_COOPERATIVE_MATRIX").count(), heads.len() - 1, "{list}");
    for (i, head) in heads[..heads.len() - 1].iter().enumerate() {
        assert!(head.starts_with(&format!("[{i}] ")), "{list}");
    }
}

/// Width and height from a PNG's first chunk.
fn png_size(path: &Path) -> (u32, u32) {
    let bytes = fs::read(path).unwrap();
    assert!(bytes.starts_with(b"\x89PNG\r\n\x1a\n"), "{} is no PNG", path.display());
    let word = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    (word(16), word(20))
}

#[test]
fn recall_shows_a_table_and_writes_a_picture_on_every_device() {
    let dir = TempDir::new().unwrap();
    for place in places() {
        let picture = dir.path().join("digits.png");
        let _ = fs::remove_file(&picture);
        let mut args = vec!["recall", "--patterns", "50", "--queries", "45", "--output", "digits.png"];
        args.extend(place);
        let table = succeeds(dir.path(), &args);
        for word in ["device", "worst error", "50 x 784", "lower-half", "dot softmax, beta 1", "100.0 %", "digits.png"]
        {
            assert!(table.contains(word), "{word} is not in {table}");
        }
        // Two blocks of three rows of twenty digits: 56 pixels each and 3 between, 14 around a block.
        assert_eq!(png_size(&picture), (20 * 59 - 3 + 28, 2 * (3 * 59 - 3 + 14) + 14));
    }
}

/// With nothing said, the CPU engine is joined by a software adapter where there is one, and the picture has its name.
#[test]
fn recall_runs_the_shaders_where_it_can() {
    let dir = TempDir::new().unwrap();
    let table = succeeds(dir.path(), &["recall", "--patterns", "20", "--damage", "noise", "--level", "0.4"]);
    assert!(dir.path().join("recall.png").exists(), "{table}");
    let rows = table.lines().filter(|line| line.contains("20 x 784")).count();
    let list = succeeds(dir.path(), &["devices"]);
    let alone = list.lines().any(|line| line.starts_with("[cpu]") && line.contains("auto"));
    let software = list.contains("kind software");
    assert_eq!(rows, if alone && software { 2 } else { 1 }, "{table}\n{list}");
    assert!(!alone || software || table.contains("no shader ran"), "{table}");
}

#[test]
fn random_damage_follows_its_seed() {
    let dir = TempDir::new().unwrap();
    let run = |seed: &str, name: &str| {
        let args = [
            "recall",
            "--device",
            "cpu",
            "--patterns",
            "20",
            "--damage",
            "salt-pepper",
            "--seed",
            seed,
            "--output",
            name,
        ];
        succeeds(dir.path(), &args);
        fs::read(dir.path().join(name)).unwrap()
    };
    let first = run("3", "a.png");
    assert_eq!(first, run("3", "b.png"));
    assert_ne!(first, run("4", "c.png"));
}

/// An IDX file of `count` images of 6 x 5, and as many bytes as are given.
fn idx(path: &Path, magic: u32, count: u32, bytes: usize) -> PathBuf {
    let mut file: Vec<u8> = [magic, count, 6, 5].into_iter().flat_map(u32::to_be_bytes).collect();
    file.extend((0..bytes).map(|i| (i * i % 251) as u8));
    fs::write(path, file).unwrap();
    path.to_owned()
}

#[test]
fn recall_reads_idx_files_plain_and_compressed() {
    let dir = TempDir::new().unwrap();
    let plain = idx(&dir.path().join("plain.idx"), 0x803, 7, 7 * 30);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(&fs::read(plain).unwrap()).unwrap();
    let packed = packed.finish().unwrap();
    fs::write(dir.path().join("packed.gz"), &packed).unwrap();
    fs::write(dir.path().join("cut.gz"), &packed[..packed.len() / 2]).unwrap();
    let mut pictures = Vec::new();
    for file in ["plain.idx", "packed.gz"] {
        let table = succeeds(dir.path(), &["recall", "--device", "cpu", "--images", file, "--output", "p.png"]);
        assert!(table.contains("7 x 30"), "{table}");
        pictures.push(fs::read(dir.path().join("p.png")).unwrap());
    }
    assert_eq!(pictures[0], pictures[1]);
    refuses(dir.path(), &["recall", "--images", "cut.gz"], 1, &["cut.gz"]);
    let many = ["recall", "--device", "cpu", "--images", "plain.idx", "--patterns", "8"];
    refuses(dir.path(), &many, 1, &["plain.idx", "holds 7 images", "asks for 8"]);
}

#[test]
fn recall_refuses_bad_input_in_one_line() {
    let dir = TempDir::new().unwrap();
    idx(&dir.path().join("short.idx"), 0x803, 7, 7 * 30 - 1);
    idx(&dir.path().join("long.idx"), 0x803, 7, 7 * 30 + 1);
    idx(&dir.path().join("labels.idx"), 0x801, 7, 7);
    idx(&dir.path().join("absurd.idx"), 0x803, u32::MAX, 30);
    fs::write(dir.path().join("empty.idx"), []).unwrap();
    for (args, code, words) in [
        (&["--images", "gone.idx"][..], 1, &["gone.idx", "cannot open"][..]),
        (&["--images", "."], 1, &["not a regular file"]),
        (&["--images", "empty.idx"], 1, &["empty.idx", "truncated"]),
        (&["--images", "short.idx"], 1, &["short.idx", "truncated", "210", "209"]),
        (&["--images", "long.idx"], 1, &["long.idx", "too long"]),
        (&["--images", "labels.idx"], 1, &["labels.idx", "0x00000801", "0x00000803"]),
        (&["--images", "absurd.idx"], 1, &["absurd.idx", "truncated"]),
        (&["--output", "nowhere/p.png"], 1, &["nowhere/p.png", "no directory"]),
        (&["--patterns", "1001"], 1, &["1000", "1001"]),
        (&["--patterns", "10", "--queries", "11"], 2, &["--queries 11", "--patterns 10"]),
        (&["--queries", "1001"], 2, &["--queries 1001", "1000"]),
        (&["--patterns", "0"], 2, &["at least 1"]),
        (&["--damage", "noise", "--level", "1.5"], 2, &["--level", "between 0 and 1"]),
        (&["--level", "0.5"], 2, &["--level needs --damage"]),
        (&["--damage", "fire"], 2, &["fire", "lower-half"]),
        (&["--steps", "0"], 2, &["--steps"]),
        (&["--beta", "nan"], 2, &["--beta", "finite"]),
    ] {
        refuses(dir.path(), &[&["recall", "--device", "cpu"], args].concat(), code, words);
    }
    assert!(!dir.path().join("recall.png").exists());
}
