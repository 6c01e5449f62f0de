//! The command line as a user meets it: a process, its files, its exit status and what it says.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use super::common::{self, text};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use tempfile::TempDir;

/// Where to compute, and what the loader of Vulkan drivers is told.
struct Place {
    name: &'static str,
    args: &'static [&'static str],
    icd: Option<PathBuf>,
}

/// The engine that is always there.
const CPU: Place = Place { name: "cpu", args: &["--device", "cpu"], icd: None };

/// Runs the command in `dir`.
fn attractor(dir: &Path, args: &[&str]) -> Output {
    run(dir, args, None)
}

/// Runs the command in `dir` with the Vulkan driver that `icd` describes, or with those of the system.
fn run(dir: &Path, args: &[&str], icd: Option<&Path>) -> Output {
    let mut command = common::command(dir, args);
    if let Some(icd) = icd {
        // The second is for loaders from before 2022.
        command.env("VK_DRIVER_FILES", icd).env("VK_ICD_FILENAMES", icd);
    }
    // Kernels are kept beside what the command reads and writes.
    command.env("ATTRACTOR_CACHE_DIR", dir).output().expect("the command starts")
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

impl Place {
    /// Runs the command there, expects success, and returns what it printed.
    #[track_caller]
    fn succeeds(&self, dir: &Path, args: &[&str]) -> String {
        let output = run(dir, &[args, self.args].concat(), self.icd.as_deref());
        assert!(output.status.success(), "{args:?} on {} failed: {}", self.name, text(&output.stderr));
        text(&output.stdout)
    }
}

/// SwiftShader's description for the Vulkan loader: where `test.sh` puts it, or where Debian's chromium-common does.
fn swiftshader() -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("swiftshader");
    let places = [ours.as_path(), Path::new("/usr/lib/chromium")];
    places.iter().map(|place| place.join("vk_swiftshader_icd.json")).find(|icd| icd.exists())
}

/// Every device to test on. A software adapter that is not there is a skip, and a failure where
/// `ATTRACTOR_REQUIRE_ADAPTERS` (a list of names, or 1 for all) says that it must be.
fn places() -> &'static [Place] {
    static PLACES: OnceLock<Vec<Place>> = OnceLock::new();
    PLACES.get_or_init(|| {
        const VULKAN: &[&str] = &["--device", "vulkan", "--software"];
        let mut places = vec![CPU];
        let skip = |name: &str, why: &str| {
            eprintln!("SKIP {name}: {why}");
            let required = std::env::var("ATTRACTOR_REQUIRE_ADAPTERS").unwrap_or_default();
            let fatal = required.split(',').any(|asked| [name, "1"].contains(&asked.trim()));
            assert!(!fatal, "{name} is required by ATTRACTOR_REQUIRE_ADAPTERS and is not there: {why}");
        };
        let dir = TempDir::new().unwrap();
        let golden = golden("retrieve_softmax_one_pattern");
        let (keys, queries) = (format!("{golden}:keys"), format!("{golden}:queries"));
        let probe = ["retrieve", "--keys", &keys, "--queries", &queries, "--out", "probe.safetensors"];
        for place in [
            Place { name: "lavapipe", args: VULKAN, icd: None },
            Place { name: "llvmpipe", args: &["--device", "gl", "--software"], icd: None },
            Place { name: "swiftshader", args: VULKAN, icd: swiftshader() },
        ] {
            if place.name == "swiftshader" && place.icd.is_none() {
                skip(place.name, "no vk_swiftshader_icd.json in target/swiftshader or /usr/lib/chromium");
                continue;
            }
            let output = run(dir.path(), &[&probe[..], place.args].concat(), place.icd.as_deref());
            let said = text(&output.stderr);
            if said.contains("no adapter fits") {
                skip(place.name, said.trim());
            } else {
                assert!(output.status.success(), "{}: {said}", place.name);
                let on = text(&output.stdout);
                // The loader may still have found another driver than the one that it was told of.
                assert!(place.name != "swiftshader" || on.contains("SwiftShader"), "{on}");
                places.push(place);
            }
        }
        places
    })
}

/// [`places`] without SwiftShader, which compiles each kernel anew in each process, for seconds: what it makes of masks
/// and of all golden cases is tested within one. `ATTRACTOR_SLOW=swiftshader` leaves it in.
fn quick_places() -> impl Iterator<Item = &'static Place> {
    let all = std::env::var("ATTRACTOR_SLOW").is_ok_and(|slow| slow.contains("swiftshader"));
    places().iter().filter(move |place| all || place.name != "swiftshader")
}

fn golden(name: &str) -> String {
    format!("{}/../tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"))
}

/// A tensor as f64, whatever it was, and its shape.
fn tensor(file: &SafeTensors<'_>, name: &str) -> (Vec<usize>, Vec<f64>) {
    let view = file.tensor(name).unwrap();
    let bytes = view.data();
    let values = match view.dtype() {
        Dtype::F64 => bytes.chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
        Dtype::F32 => bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
        Dtype::U32 => bytes.chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap()).into()).collect(),
        Dtype::U64 => bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
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

/// Holds `output` and `state` of a written file against expected ones, to `tolerance` times the largest expected.
#[track_caller]
fn agrees(what: &str, written: &Path, expected: &SafeTensors<'_>, tolerance: f64) {
    let bytes = fs::read(written).unwrap();
    let written = SafeTensors::deserialize(&bytes).unwrap();
    for name in ["output", "state"] {
        assert_eq!(written.tensor(name).unwrap().dtype(), Dtype::F32);
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

/// A golden case as flags.
struct Case {
    name: String,
    args: Vec<String>,
    batch: usize,
    patterns: usize,
    steps: f64,
}

/// Every golden case.
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if !name.starts_with("retrieve_") {
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let case = &metadata.metadata().as_ref().unwrap()["case"];
        let case: serde_json::Value = serde_json::from_str(case).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let mut args = vec!["retrieve".to_owned()];
        for tensor in ["keys", "queries", "values", "mask"] {
            if file.tensor(tensor).is_ok() {
                args.extend([format!("--{tensor}"), format!("{}:{tensor}", path.display())]);
            }
        }
        let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
        let separation = &case["separation"];
        args.extend(["--similarity".into(), text(&case["similarity"])]);
        args.extend(["--separation".into(), text(&separation["kind"])]);
        for (flag, value) in [("alpha", &separation["alpha"]), ("k", &separation["k"])] {
            if !value.is_null() {
                args.extend([format!("--{flag}"), text(value)]);
            }
        }
        args.extend(["--beta".into(), text(&case["beta"]), "--steps".into(), text(&case["steps"])]);
        let size = |name: &str| case[name].as_u64().unwrap() as usize;
        cases.push(Case { name, args, batch: size("b"), patterns: size("n"), steps: case["steps"].as_f64().unwrap() });
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    assert_eq!(cases.len(), 24, "golden cases");
    cases
}

#[test]
fn golden_cases_come_back_on_every_device() {
    let dir = TempDir::new().unwrap();
    for place in places() {
        let start = std::time::Instant::now();
        // All of them are answered in one process by the suite; what a process adds is on the way in and out.
        let some = if place.name == "cpu" { 1 } else { 12 };
        let cases = cases();
        for case in cases.iter().step_by(some) {
            golden_case(dir.path(), place, case);
        }
        println!("every {some} of {} golden cases on {}: {:.1?}", cases.len(), place.name, start.elapsed());
    }
    // Nothing but the answer is left: the temporary file has its name.
    let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| name == "out.safetensors" || !name.to_string_lossy().contains(".tmp")), "{left:?}");
}

fn golden_case(dir: &Path, place: &Place, case: &Case) {
    let what = format!("{} on {}", case.name, place.name);
    let mut args: Vec<&str> = case.args.iter().map(String::as_str).collect();
    args.extend(["--out", "out.safetensors", "--weights", "--statistics", "--top", "20"]);
    let said = place.succeeds(dir, &args);
    assert!(said.contains("out.safetensors"), "{said}");

    let golden = fs::read(golden(&case.name)).unwrap();
    let golden = SafeTensors::deserialize(&golden).unwrap();
    let written = dir.join("out.safetensors");
    agrees(&what, &written, &golden, 2e-5);
    let bytes = fs::read(&written).unwrap();
    let written = SafeTensors::deserialize(&bytes).unwrap();
    let (batch, patterns) = (case.batch, case.patterns);
    let read = |name: &str, shape: &[usize]| {
        let (got, values) = tensor(&written, name);
        assert_eq!(got, shape, "{what}: {name}");
        values
    };
    let taken = read("steps", &[batch]);
    assert!(taken.iter().all(|taken| *taken == case.steps), "{what}: {taken:?}");
    assert!(read("converged", &[batch]).iter().all(|c| [0.0, 1.0].contains(c)));

    let weights = read("weights", &[batch, patterns]);
    let (_, expected) = tensor(&golden, "weights");
    for (i, (got, want)) in weights.iter().zip(&expected).enumerate() {
        assert!((got - want).abs() <= 2e-5, "{what}: weight {i} is {got}, expected {want}");
        let same = (*got > 0.0) == (*want > 0.0);
        assert!(same || f64::max(*got, *want) < 1e-6, "{what}: weight {i} is {got}, expected {want}");
    }

    // The reports are judged by the weights that came with them.
    let k = patterns.min(20);
    let (support, perplexity) = (read("support", &[batch]), read("perplexity", &[batch]));
    let largest = read("largest", &[batch]);
    let (index, weight) = (read("top_index", &[batch, k]), read("top_weight", &[batch, k]));
    read("top_similarity", &[batch, k]);
    for (b, row) in weights.chunks_exact(patterns).enumerate() {
        // What an f32 rounds to nothing may count or not.
        let counts = |least: f64| row.iter().filter(|p| **p > least).count() as f64;
        assert!((counts(1e-30)..=counts(0.0)).contains(&support[b]), "{what}: support {} of {b}", support[b]);
        let entropy: f64 = row.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        let expected = entropy.exp();
        assert!((perplexity[b] - expected).abs() <= 1e-4 * expected, "{what}: {} for {expected}", perplexity[b]);
        assert!((largest[b] - row.iter().copied().fold(0.0, f64::max)).abs() <= 1e-6);
        let top: Vec<(f64, f64)> = (b * k..(b + 1) * k).map(|at| (index[at], weight[at])).collect();
        assert!(top.windows(2).all(|pair| pair[0].1 >= pair[1].1), "{what}: {top:?}");
        for (index, weight) in top.iter().filter(|(index, _)| *index != f64::from(u32::MAX)) {
            assert!((row[*index as usize] - weight).abs() <= 1e-6, "{what}: {index} weighs {weight}");
        }
        let listed: f64 = top.iter().map(|(_, weight)| weight).sum();
        let mut sorted = row.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        assert!((listed - sorted[..k].iter().sum::<f64>()).abs() <= 1e-5, "{what}: {listed}");
    }
}

#[test]
fn small_windows_give_the_same_answer() {
    let dir = TempDir::new().unwrap();
    for case in
        cases().iter().filter(|case| ["retrieve_softmax_hetero", "retrieve_entmax15_large"].contains(&&*case.name))
    {
        let expected = fs::read(golden(&case.name)).unwrap();
        let expected = SafeTensors::deserialize(&expected).unwrap();
        for place in places() {
            let mut args: Vec<&str> = case.args.iter().map(String::as_str).collect();
            args.extend(["--window-bytes", "20000", "--out", "windows.safetensors"]);
            place.succeeds(dir.path(), &args);
            let written = dir.path().join("windows.safetensors");
            agrees(&format!("{} in windows on {}", case.name, place.name), &written, &expected, 2e-5);
        }
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
    let doubles = |value: f64| {
        let mut values = [0.5; 12];
        values[5] = value;
        values.into_iter().flat_map(f64::to_le_bytes).collect::<Vec<u8>>()
    };
    write_safetensors(
        &at("t.safetensors"),
        &[
            ("good", Dtype::F32, shape, &data),
            ("double", Dtype::F64, shape, &doubles(-1e300)),
            ("whole", Dtype::I64, &[3, 2], &data),
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
    write_npy(&at("double.npy"), "<f8", "(3, 4)", &doubles(1e39));
    write_npy(&at("i64.npy"), "<i8", "(3, 2)", &[0; 48]);
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
        ("double.npy", &["double.npy", "keys row 1, column 1 is 1e39, which is not finite in f32"]),
        ("i64.npy", &["i64.npy", "keys", "<i8", "f32, f16, bf16 or f64"]),
        ("big-endian.npy", &["big-endian.npy", ">f4", "f32, f16, bf16 or f64"]),
        ("flat.npy", &["flat.npy", "(12,)", "two dimensions"]),
        ("nan.npy", &["nan.npy", "keys row 1, column 2 is NaN"]),
        ("infinite.npy", &["infinite.npy", "keys row 1, column 2 is inf"]),
        ("cut.safetensors:good", &["cut.safetensors:good", "truncated"]),
        ("head.safetensors:good", &["head.safetensors:good", "truncated"]),
        ("liar.safetensors:good", &["liar.safetensors:good", "truncated"]),
        ("t.safetensors:other", &["t.safetensors:other", "no tensor", "double", "good"]),
        ("t.safetensors:double", &["t.safetensors:double", "keys row 1, column 1 is -1e300", "not finite in f32"]),
        ("t.safetensors:whole", &["t.safetensors:whole", "keys", "I64", "f32, f16, bf16 or f64"]),
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

/// Retrieves from `k.npy`, `q.npy` on a device with more flags, and returns the tensors written.
#[track_caller]
fn retrieved(dir: &Path, place: &Place, more: &[&str]) -> HashMap<String, (Vec<usize>, Vec<f64>)> {
    place.succeeds(dir, &[&GOOD[..], more].concat());
    let bytes = fs::read(dir.join("o.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    file.names().into_iter().map(|name| (name.to_owned(), tensor(&file, name))).collect()
}

/// Three orthogonal keys of four dimensions, and two queries: scores at beta 1 are (2, 1, 0) and (0, 0, 1).
fn plain_inputs() -> TempDir {
    let dir = TempDir::new().unwrap();
    let write = |name: &str, shape: &str, values: &[f64]| {
        write_npy(&dir.path().join(name), "<f4", shape, &f32_bytes(values));
    };
    write("k.npy", "(3, 4)", &[1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    write("q.npy", "(2, 4)", &[2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]);
    dir
}

fn close(got: &[f64], expected: &[f64]) -> bool {
    got.len() == expected.len() && got.iter().zip(expected).all(|(g, e)| (g - e).abs() <= 1e-5)
}

#[test]
fn a_bias_is_added_in_each_of_its_shapes() {
    let dir = plain_inputs();
    let at = |name: &str| dir.path().join(name);
    let bias = [-1.0, 0.5, 0.5];
    write_npy(&at("flat.npy"), "<f4", "(3,)", &f32_bytes(&bias));
    write_npy(&at("half.npy"), "<f2", "(1, 3)", &f16_bytes(&bias));
    write_safetensors(&at("b.safetensors"), &[("column", Dtype::F32, &[3, 1], &f32_bytes(&bias))]);
    for place in places() {
        for bias in ["flat.npy", "half.npy", "b.safetensors:column"] {
            let flags = ["--separation", "sparsemax", "--beta", "1", "--weights", "--bias", bias];
            let weights = &retrieved(dir.path(), place, &flags)["weights"];
            // Scores (1, 1.5, 0.5) and (-1, 0.5, 1.5): tau 0.75 and 0.5.
            assert!(close(&weights.1, &[0.25, 0.75, 0.0, 0.0, 0.0, 1.0]), "{} on {}: {weights:?}", bias, place.name);
        }
    }
}

#[test]
fn masks_go_by_pattern_or_by_query_and_rows_with_nothing_left_are_said() {
    let dir = plain_inputs();
    let at = |name: &str| dir.path().join(name);
    write_npy(&at("all.npy"), "|u1", "(3,)", &[0, 1, 1]);
    write_npy(&at("each.npy"), "|b1", "(2, 3)", &[0, 1, 1, 0, 0, 0]);
    let tensors: &[(&str, Dtype, &[usize], &[u8])] = &[
        ("all", Dtype::BOOL, &[3], &[0, 1, 1]),
        ("each", Dtype::U8, &[2, 3], &[0, 1, 1, 0, 0, 0]),
        ("none", Dtype::U8, &[3], &[0, 0, 0]),
    ];
    write_safetensors(&at("m.safetensors"), tensors);
    let flags = ["--separation", "sparsemax", "--beta", "1", "--weights", "--statistics", "--top", "2", "--mask"];
    for place in quick_places() {
        for (mask, second, nothing) in [
            ("all.npy", [0.0, 0.0, 1.0], 0),
            ("m.safetensors:all", [0.0, 0.0, 1.0], 0),
            ("each.npy", [0.0; 3], 1),
            ("m.safetensors:each", [0.0; 3], 1),
        ] {
            let flags = [&flags[..], &[mask]].concat();
            let said = place.succeeds(dir.path(), &[&GOOD[..], &flags].concat());
            let got = retrieved(dir.path(), place, &flags);
            let what = format!("{mask} on {}: {got:?}", place.name);
            let weights = [&[0.0, 1.0, 0.0][..], &second].concat();
            assert!(close(&got["weights"].1, &weights), "{what}");
            assert!(close(&got["output"].1, &[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, second[2], 0.0]), "{what}");
            assert!(close(&got["support"].1, &[1.0, second[2]]), "{what}");
            assert_eq!(got["top_index"].1[..2], [1.0, 2.0], "{what}");
            assert_eq!(said.contains("1 of 2 queries may use no pattern"), nothing == 1, "{said}");
            if nothing == 1 {
                assert_eq!(got["top_index"].1[2..], [f64::from(u32::MAX); 2], "{what}");
                assert_eq!(got["top_weight"].1[2..], [0.0; 2], "{what}");
            }
        }
        for separation in ["softmax", "softmax1", "entmax", "topk"] {
            let k: &[&str] = if separation == "topk" { &["--k", "2"] } else { &[] };
            let flags = [&["--separation", separation, "--mask", "m.safetensors:none", "--weights"], k].concat();
            let got = retrieved(dir.path(), place, &flags);
            assert!(
                ["output", "state", "weights"].iter().all(|name| got[*name].1.iter().all(|v| *v == 0.0)),
                "{got:?}"
            );
        }
    }
}

#[test]
fn convergence_stops_each_query_by_itself() {
    let dir = plain_inputs();
    for place in places() {
        let flags = ["--separation", "sparsemax", "--beta", "1", "--converge", "9", "--tolerance", "0.001"];
        let got = retrieved(dir.path(), place, &flags);
        // (2, 1) goes to (1, 0) at once and stays; (0, 0, 1) is there already.
        assert!(close(&got["steps"].1, &[2.0, 1.0]) && close(&got["converged"].1, &[1.0, 1.0]), "{got:?}");
        let capped = [&flags[..4], &["--converge", "1"]].concat();
        let said = place.succeeds(dir.path(), &[&GOOD[..], &capped].concat());
        assert!(said.contains("1 of 2 queries converged, after 1 to 1 steps"), "{said}");
        let got = retrieved(dir.path(), place, &capped);
        assert!(close(&got["steps"].1, &[1.0, 1.0]) && close(&got["converged"].1, &[0.0, 1.0]), "{got:?}");
    }
}

/// Energies by hand, at the last state: `retrieve` says what it is of.
#[test]
fn energies_follow_the_table_and_are_refused_where_there_is_none() {
    let dir = plain_inputs();
    let energies = |place: &Place, flags: &[&str]| {
        let got = retrieved(dir.path(), place, &[&["--energy", "--beta", "1"], flags].concat());
        assert_eq!(got["energy"].0, [2]);
        (got["energy"].1.clone(), got["state"].1.clone())
    };
    for place in places() {
        // Both end in a key: -(<p, z> + H(p)) + 1/2 |x|^2 + 1/2 M^2 = -1 + 1/2 + 1/2.
        let (got, _) = energies(place, &["--separation", "sparsemax"]);
        assert!(close(&got, &[0.0, 0.0]), "{got:?}");
        let (got, _) = energies(place, &["--separation", "sparsemax", "--similarity", "euclidean"]);
        assert!(close(&got, &[0.0, 0.0]), "{got:?}");
        let (got, states) = energies(place, &[]);
        for (energy, x) in got.iter().zip(states.chunks_exact(4)) {
            let sum: f64 = x[..3].iter().map(|z| z.exp()).sum();
            let expected = -sum.ln() + 0.5 * x.iter().map(|x| x * x).sum::<f64>() + 3f64.ln() + 0.5;
            assert!((energy - expected).abs() < 1e-5, "{energy} for {expected} on {}", place.name);
        }
    }
    for flags in [
        &["--similarity", "cosine"][..],
        &["--similarity", "manhattan"],
        &["--separation", "topk", "--k", "2"],
        &["--similarity", "euclidean", "--separation", "softmax1"],
        &["--beta", "0"],
    ] {
        refuses(dir.path(), &[&GOOD[..], &["--device", "cpu", "--energy"], flags].concat(), 1, &["energy"]);
    }
}

#[test]
fn top_is_cut_to_the_patterns_there_are_and_says_so() {
    let dir = plain_inputs();
    for place in places() {
        let flags = ["--separation", "softmax", "--beta", "1", "--top", "7"];
        let said = place.succeeds(dir.path(), &[&GOOD[..], &flags].concat());
        assert!(said.contains("--top 7: there are 3 patterns, so 3 at most are reported"), "{said}");
        assert!(said.contains("top_index 2 x 3"), "{said}");
        let got = retrieved(dir.path(), place, &flags);
        assert_eq!(got["top_index"], (vec![2, 3], vec![0.0, 1.0, 2.0, 2.0, 0.0, 1.0]), "{}", place.name);
        assert!(!got.contains_key("support") && !got.contains_key("weights"), "only what was asked for");
    }
}

#[test]
fn thresholds_cut_and_count_what_top_reports() {
    let dir = plain_inputs();
    let flags = ["--separation", "softmax", "--beta", "1", "--top", "2"];
    for place in places() {
        for (more, found, index) in [
            (&["--least-weight", "0.2"][..], [2.0, 3.0], [0.0, 1.0, 2.0, 0.0]),
            (&["--threshold", "1"], [2.0, 1.0], [0.0, 1.0, 2.0, f64::from(u32::MAX)]),
            (
                &["--least-weight", "0.6", "--threshold", "1"],
                [1.0, 0.0],
                [0.0, 1.0, 1.0, 1.0].map(|i| i * f64::from(u32::MAX)),
            ),
        ] {
            let got = retrieved(dir.path(), place, &[&flags[..], more].concat());
            assert_eq!(got["top_found"], (vec![2], found.to_vec()), "{} {more:?}", place.name);
            assert_eq!(got["top_index"].1, index, "{} {more:?}", place.name);
        }
    }
    for (more, status, words) in [
        (&["--threshold", "1"][..], 2, &["--top"][..]),
        (&["--least-weight", "0.5"], 2, &["--top"]),
        (&["--top", "2", "--least-weight", "0"], 2, &["--least-weight 0", "1/1024"]),
        (&["--top", "2", "--least-weight", "nan"], 2, &["--least-weight", "finite"]),
    ] {
        refuses(dir.path(), &[&GOOD[..], more].concat(), status, words);
    }
}

#[test]
fn explain_tells_how_answers_are_computed_and_changes_none() {
    let dir = plain_inputs();
    for place in places() {
        let flags = ["--separation", "sparsemax", "--explain"];
        let said = place.succeeds(dir.path(), &[&GOOD[..], &flags].concat());
        assert!(said.contains("2 queries against 3 patterns on"), "{}: {said}", place.name);
        let kernels = ["filter_candidates", "merge_candidates", "solve_threshold", "gather_support", "dispatches"];
        assert_eq!(kernels.iter().all(|kernel| said.contains(kernel)), place.name != "cpu", "{}: {said}", place.name);
        assert_eq!(retrieved(dir.path(), place, &flags), retrieved(dir.path(), place, &flags[..2]), "{}", place.name);
    }
}

#[test]
fn defaults_are_what_help_says() {
    let dir = plain_inputs();
    let plain = retrieved(dir.path(), &CPU, &[]);
    let defaults = ["--similarity", "dot", "--separation", "softmax", "--precision", "f32", "--steps", "1"];
    assert_eq!(plain, retrieved(dir.path(), &CPU, &[&defaults[..], &["--beta", "0.5"]].concat()));
    let entmax = ["--separation", "entmax", "--weights"];
    let explicit = [&entmax[..], &["--alpha", "1.5"]].concat();
    assert_eq!(retrieved(dir.path(), &CPU, &entmax), retrieved(dir.path(), &CPU, &explicit));
    let converge = ["--converge", "50"];
    let explicit = [&converge[..], &["--tolerance", "1e-4"]].concat();
    assert_eq!(retrieved(dir.path(), &CPU, &converge), retrieved(dir.path(), &CPU, &explicit));
}

#[test]
fn stored_halves_and_bytes_stay_near() {
    let dir = TempDir::new().unwrap();
    let case = cases().into_iter().find(|case| case.name == "retrieve_softmax_hetero").unwrap();
    let expected = fs::read(golden(&case.name)).unwrap();
    let expected = SafeTensors::deserialize(&expected).unwrap();
    for place in places() {
        let mut outputs = Vec::new();
        for (precision, tolerance) in [("f32", 2e-5), ("f16", 3e-3), ("i8", 6e-2)] {
            let mut args: Vec<&str> = case.args.iter().map(String::as_str).collect();
            args.extend(["--precision", precision, "--out", "p.safetensors"]);
            place.succeeds(dir.path(), &args);
            let written = dir.path().join("p.safetensors");
            agrees(&format!("{precision} on {}", place.name), &written, &expected, tolerance);
            outputs.push(fs::read(written).unwrap());
        }
        assert!(outputs[0] != outputs[1] && outputs[1] != outputs[2], "a precision was ignored on {}", place.name);
    }
}

/// More queries than one chunk takes: the second chunk has its own rows of the mask.
#[test]
fn chunks_have_their_rows_of_the_mask() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name);
    // 2^22 numbers of 8192 a query are 512 queries a chunk.
    let (dim, batch) = (8192, 600);
    let mut keys = vec![0.0; 2 * dim];
    (keys[0], keys[dim + 1]) = (1.0, 1.0);
    write_npy(&at("k.npy"), "<f4", &format!("(2, {dim})"), &f32_bytes(&keys));
    write_npy(&at("q.npy"), "<f2", &format!("({batch}, {dim})"), &vec![0; 2 * batch * dim]);
    let keep: Vec<u8> = (0..batch).flat_map(|b| if b % 3 == 0 { [1, 0] } else { [0, 1] }).collect();
    write_npy(&at("m.npy"), "|u1", &format!("({batch}, 2)"), &keep);
    let weights = &retrieved(dir.path(), &CPU, &["--mask", "m.npy", "--weights"])["weights"];
    assert_eq!(weights.0, [batch, 2]);
    assert!(weights.1.iter().zip(&keep).all(|(weight, keep)| *weight == f64::from(*keep)));
}

#[test]
fn bad_masks_and_biases_are_refused_with_both_shapes() {
    let dir = good_inputs();
    let at = |name: &str| dir.path().join(name);
    write_npy(&at("m2.npy"), "|u1", "(2,)", &[1; 2]);
    write_npy(&at("m32.npy"), "|u1", "(3, 2)", &[1; 6]);
    write_npy(&at("m13.npy"), "|u1", "(1, 3)", &[1; 3]);
    write_npy(&at("m31.npy"), "|u1", "(3, 1)", &[1; 3]);
    write_npy(&at("two.npy"), "|u1", "(2, 3)", &[1, 0, 1, 1, 2, 0]);
    write_npy(&at("cut.npy"), "|u1", "(2, 3)", &[1; 5]);
    write_npy(&at("float.npy"), "<f4", "(3,)", &f32_bytes(&[1.0; 3]));
    write_npy(&at("b2.npy"), "<f4", "(2,)", &f32_bytes(&[1.0; 2]));
    write_npy(&at("b33.npy"), "<f4", "(3, 3)", &f32_bytes(&[1.0; 9]));
    write_npy(&at("b0.npy"), "<f4", "()", &f32_bytes(&[1.0]));
    write_npy(&at("nan.npy"), "<f4", "(3,)", &f32_bytes(&[1.0, 2.0, f64::NAN]));
    write_npy(&at("bytes.npy"), "|u1", "(3,)", &[1; 3]);
    let tensors: &[(&str, Dtype, &[usize], &[u8])] = &[
        ("half", Dtype::F16, &[3], &[0; 6]),
        ("wide", Dtype::U8, &[1, 2, 3], &[1; 6]),
        ("i8", Dtype::I8, &[3], &[1; 3]),
        ("two", Dtype::U8, &[3], &[1, 0, 255]),
    ];
    write_safetensors(&at("t.safetensors"), tensors);
    let both = ["keys of k.npy are 3 x 4", "queries of q.npy are 2 x 4", "expected a mask of 3 or 2 x 3"];
    for (flag, address, words) in [
        ("--mask", "m2.npy", &[&["mask of m2.npy is (2,)"][..], &both].concat()[..]),
        ("--mask", "m32.npy", &[&["mask of m32.npy is 3 x 2"][..], &both].concat()),
        ("--mask", "m13.npy", &[&["mask of m13.npy is 1 x 3"][..], &both].concat()),
        ("--mask", "m31.npy", &[&["mask of m31.npy is 3 x 1"][..], &both].concat()),
        ("--mask", "t.safetensors:wide", &[&["mask of t.safetensors:wide is 1 x 2 x 3"][..], &both].concat()),
        ("--mask", "two.npy", &["two.npy: mask row 1, column 1 is 2", "0 and 1"]),
        ("--mask", "t.safetensors:two", &["t.safetensors:two: mask element 2 is 255", "0 and 1"]),
        ("--mask", "cut.npy", &["cut.npy", "truncated", "2 x 3", "6 bytes", "5"]),
        ("--mask", "float.npy", &["float.npy: mask has dtype <f4", "u8 or bool"]),
        ("--mask", "t.safetensors:half", &["t.safetensors:half: mask has dtype F16", "u8 or bool"]),
        ("--mask", "t.safetensors:i8", &["t.safetensors:i8: mask has dtype I8", "u8 or bool"]),
        ("--mask", "gone.npy", &["gone.npy", "cannot open"]),
        ("--bias", "b2.npy", &["bias of b2.npy is (2,)", "keys of k.npy are 3 x 4", "3, 1 x 3 or 3 x 1"]),
        ("--bias", "b33.npy", &["bias of b33.npy is 3 x 3", "keys of k.npy are 3 x 4"]),
        ("--bias", "b0.npy", &["bias of b0.npy is scalar", "keys of k.npy are 3 x 4"]),
        ("--bias", "nan.npy", &["nan.npy: bias element 2 is NaN", "finite"]),
        ("--bias", "bytes.npy", &["bytes.npy: bias has dtype |u1", "f32, f16"]),
        ("--bias", "t.safetensors:gone", &["t.safetensors:gone", "no tensor", "half"]),
        ("--keys", "bytes.npy", &["bytes.npy: keys have dtype |u1", "f32, f16"]),
    ] {
        let mut args = GOOD.to_vec();
        match flag {
            "--keys" => args[2] = address,
            _ => args.extend([flag, address]),
        }
        refuses(dir.path(), &[&args[..], &["--device", "cpu"]].concat(), 1, words);
        assert!(!at("o.safetensors").exists(), "{address} left an answer");
    }
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
        (&["--separation", "entmax", "--alpha", "1"], &["--alpha", "above 1"]),
        (&["--separation", "entmax", "--alpha", "-2"], &["--alpha", "above 1"]),
        (&["--separation", "entmax", "--alpha", "inf"], &["--alpha", "finite"]),
        (&["--separation", "sparsemax", "--alpha", "2"], &["--alpha needs --separation entmax"]),
        (&["--separation", "topk"], &["needs --k"]),
        (&["--separation", "topk", "--k", "0"], &["at least 1"]),
        (&["--separation", "hardmax"], &["hardmax", "softmax"]),
        (&["--separation", "power"], &["needs --n"]),
        (&["--separation", "rectified"], &["needs --n"]),
        (&["--separation", "power", "--n", "0"], &["--n", "1..=63"]),
        (&["--separation", "power", "--n", "64"], &["--n", "1..=63"]),
        (&["--n", "3"], &["--n needs --separation power or rectified"]),
        (&["--separation", "step"], &["needs --step-threshold"]),
        (&["--separation", "step", "--step-threshold", "nan"], &["--step-threshold", "finite"]),
        (&["--separation", "linear", "--step-threshold", "1"], &["--step-threshold needs --separation step"]),
        (&["--then", "sign"], &["--then", "sign keep"]),
        (&["--then", "sign keep without self"], &["--then", "without self"]),
        (&["--then", "damping 1"], &["--then", "damping", "below 1"]),
        (&["--then", "temperature 1"], &["--then", "temperature", "sign"]),
        (&["--then", "softmax blocks 0"], &["--then", "width", "at least 1"]),
        (&["--separation", "sparsemax", "--then", "sign keep, without self"], &["--then", "remove_self"]),
        (&["--tolerance", "0.1"], &["--converge"]),
        (&["--steps", "2", "--tolerance", "0.1"], &["--converge"]),
        (&["--converge", "0"], &["--converge"]),
        (&["--converge", "9", "--tolerance", "0"], &["--tolerance", "above 0"]),
        (&["--converge", "9", "--tolerance", "-1"], &["--tolerance", "above 0"]),
        (&["--converge", "9", "--tolerance", "nan"], &["--tolerance", "finite"]),
        (&["--top", "0"], &["--top", "at least 1"]),
        (&["--top", "1025"], &["--top 1025", "1024"]),
        (&["--precision", "f64"], &["f64", "i8"]),
        (&["--mask", "m.bin"], &["m.bin", "file.npy or file.safetensors:tensor"]),
        (&["--bias", "b"], &["file.npy or file.safetensors:tensor"]),
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
    refuses(dir.path(), &["recall", "--device", "-1"], 2, &["-1", "--device", "attractor devices"]);
    refuses(
        dir.path(),
        &["retrieve", "--device", "99", "--keys", "k.npy", "--queries", "q.npy", "--out", "o.safetensors"],
        1,
        &["no adapter fits", "99"],
    );
    let missing = attractor(dir.path(), &["recall", "--device", "99"]);
    assert!(!text(&missing.stderr).contains("--software"), "an index takes software without being told");
}

#[test]
fn help_and_version_are_there() {
    let dir = TempDir::new().unwrap();
    assert!(succeeds(dir.path(), &["--version"]).contains(env!("CARGO_PKG_VERSION")));
    let help = succeeds(dir.path(), &["--help"]);
    assert!(
        ["devices", "recall", "retrieve", "search", "bench", "tune", "verify"]
            .iter()
            .all(|command| help.contains(command)),
        "{help}"
    );
    let help = succeeds(dir.path(), &["retrieve", "--help"]);
    for flag in [
        "--keys",
        "--memory",
        "--saturate",
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
        "--statistics",
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
    for place in quick_places() {
        let picture = dir.path().join("digits.png");
        let _ = fs::remove_file(&picture);
        let args = ["recall", "--patterns", "50", "--queries", "45", "--output", "digits.png"];
        let table = place.succeeds(dir.path(), &args);
        for word in ["of bound", "50 images of 28 x 28", "lower-half", "beta 1;", "steps", "support", "digits.png"] {
            assert!(table.contains(word), "{word} is not in {table}");
        }
        for rule in ["softmax", "entmax 1.5", "sparsemax"] {
            let row = table.lines().find(|line| line.contains(rule)).unwrap_or_else(|| panic!("{rule} in {table}"));
            assert!(row.contains("100.0 %") && row.contains("% single"), "{row}");
        }
        // Two blocks of five rows of twenty digits, 56 pixels each and 3 between, 14 around a block and around labels
        // of ten letters, 12 pixels each.
        assert_eq!(png_size(&picture), (14 + 120 + 14 + 20 * 59 - 3 + 14, 2 * (5 * 59 - 3 + 14) + 14));
    }
}

#[test]
fn recall_takes_one_rule_or_a_number_of_steps() {
    let dir = TempDir::new().unwrap();
    let some = ["recall", "--patterns", "20", "--output", "p.png"];
    let table = CPU.succeeds(dir.path(), &[&some[..], &["--separation", "sparsemax"]].concat());
    assert!(table.contains("\nsparsemax ") && !table.contains("entmax") && !table.contains("softmax"), "{table}");
    assert_eq!(png_size(&dir.path().join("p.png")).1, 3 * 59 - 3 + 2 * 14);
    let table = CPU.succeeds(dir.path(), &[&some[..], &["--steps", "3"]].concat());
    assert!(table.contains("; 3 steps") && table.matches(" 3.00 ").count() == 3, "{table}");
}

/// With nothing said, the CPU engine is joined by a software adapter where there is one, and the picture has its name.
#[test]
fn recall_runs_the_shaders_where_it_can() {
    let dir = TempDir::new().unwrap();
    let table = succeeds(dir.path(), &["recall", "--patterns", "20", "--damage", "noise", "--level", "0.4"]);
    assert!(dir.path().join("recall.png").exists(), "{table}");
    let rows = ["softmax", "entmax 1.5", "sparsemax"].map(|rule| table.matches(&format!("\n{rule} ")).count());
    let list = succeeds(dir.path(), &["devices"]);
    let alone = list.lines().any(|line| line.starts_with("[cpu]") && line.contains("auto"));
    let software = list.contains("kind software");
    assert_eq!(rows, [if alone && software { 2 } else { 1 }; 3], "{table}\n{list}");
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
        assert!(table.contains("7 images of 6 x 5"), "{table}");
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
        (&["--output", "-"], 2, &["--output -", ".png"]),
        (&["--output", "images.idx"], 2, &["images.idx", ".png"]),
        (&["--patterns", "1001"], 1, &["1000", "1001"]),
        (&["--patterns", "10", "--queries", "11"], 2, &["--queries 11", "--patterns 10"]),
        (&["--queries", "1001"], 2, &["--queries 1001", "1000"]),
        (&["--patterns", "0"], 2, &["at least 1"]),
        (&["--damage", "noise", "--level", "1.5"], 2, &["--level", "between 0 and 1"]),
        (&["--level", "0.5"], 2, &["--level needs --damage"]),
        (&["--damage", "fire"], 2, &["fire", "lower-half"]),
        (&["--steps", "0"], 2, &["--steps"]),
        (&["--separation", "topk"], 2, &["topk", "sparsemax"]),
        (&["--beta", "nan"], 2, &["--beta", "finite"]),
        (&["--beta", "-inf"], 2, &["--beta", "finite"]),
    ] {
        refuses(dir.path(), &[&["recall", "--device", "cpu"], args].concat(), code, words);
    }
    assert!(!dir.path().join("recall.png").exists());
}

/// Saves a memory with values, biases, a removed pattern and a rule of its own to `m.safetensors`, and returns it.
fn saved_memory(dir: &Path, precision: attractor::Precision) -> attractor::Memory {
    use attractor::{Device, MemoryOptions, Patterns, Rule, Separation, Similarity};
    let rule = Rule::new(Similarity::Euclidean, Separation::Entmax { alpha: 1.3 }, 0.7);
    let options = MemoryOptions::new(4, rule).value_dim(2).bias().precision(precision);
    let mut memory = options.build(&Device::cpu()).unwrap();
    let numbers = |count: usize, by: f32| (0..count).map(|i| (i as f32 * by).sin()).collect::<Vec<f32>>();
    let (keys, values, bias) = (numbers(20, 1.7), numbers(10, 2.3), numbers(5, 0.9));
    let ids: Vec<_> = memory.add(Patterns::new(&keys).values(&values).bias(&bias)).unwrap().iter().collect();
    memory.remove(ids[1]).unwrap();
    memory.save(dir.join("m.safetensors")).unwrap();
    memory
}

#[test]
fn a_saved_memory_answers_by_its_own_rule_or_by_the_flags() {
    use attractor::retrieval::WeightsOf;
    use attractor::{Device, LoadOptions, Memory, Precision, RetrieveOptions, Rule, Separation, Similarity};
    let dir = plain_inputs();
    let args = ["retrieve", "--memory", "m.safetensors", "--queries", "q.npy", "--out", "o.safetensors", "--weights"];
    let queries = [2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    for precision in Precision::ALL {
        let own = saved_memory(dir.path(), precision).rule();
        let entmax = |alpha| Separation::Entmax { alpha };
        for (flags, rule) in [
            (&[][..], own),
            (&["--beta", "3"], Rule { beta: 3.0, ..own }),
            (&["--alpha", "2.5"], Rule { separation: entmax(2.5), ..own }),
            (&["--separation", "entmax"], own),
            (&["--similarity", "cosine"], Rule { similarity: Similarity::Cosine, ..own }),
            (&["--separation", "softmax"], Rule { separation: Separation::Softmax, ..own }),
            (&["--separation", "topk", "--k", "2"], Rule { separation: Separation::TopK { k: 2 }, ..own }),
            (&["--separation", "power", "--n", "2"], Rule { separation: Separation::Power { n: 2 }, ..own }),
            (&["--then", "tanh, carry 1"], own.then("tanh, carry 1".parse().unwrap())),
        ] {
            CPU.succeeds(dir.path(), &[&args[..], flags].concat());
            let options = LoadOptions::default().rule(rule);
            let memory = Memory::load_with(&Device::cpu(), dir.path().join("m.safetensors"), &options).unwrap();
            let asked = RetrieveOptions::steps(1).weights(WeightsOf::All);
            let expected = memory.retrieve_blocking(&queries, &asked).unwrap();
            let bytes = fs::read(dir.path().join("o.safetensors")).unwrap();
            let file = SafeTensors::deserialize(&bytes).unwrap();
            let wide = |of: &[f32]| of.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
            assert_eq!(tensor(&file, "output"), (vec![2, 2], wide(&expected.output)), "{precision:?} {flags:?}");
            let weights = tensor(&file, "weights");
            assert_eq!(weights, (vec![2, 5], wide(&expected.weights.unwrap())), "{precision:?} {flags:?}");
            assert!(weights.1[1] == 0.0 && weights.1[6] == 0.0, "a removed pattern stays removed");
        }
    }
    for place in quick_places() {
        let said = place.succeeds(dir.path(), &args);
        assert!(said.contains("5 patterns, euclidean entmax 1.3, beta 0.7"), "{said}");
    }
    write_npy(&dir.path().join("mask.npy"), "|u1", "(5,)", &[1, 1, 0, 0, 1]);
    CPU.succeeds(dir.path(), &[&args[..], &["--mask", "mask.npy", "--window-bytes", "64"]].concat());
    let bytes = fs::read(dir.path().join("o.safetensors")).unwrap();
    let weights = tensor(&SafeTensors::deserialize(&bytes).unwrap(), "weights").1;
    assert!([1, 2, 3].iter().all(|i| weights[*i] == 0.0) && weights[0] + weights[4] > 0.99, "{weights:?}");
}

/// Rules of the wider family, from files and from a memory that was saved under one of them.
#[test]
fn rules_of_other_networks_are_flags() {
    use attractor::reference::Problem;
    use attractor::{Device, Memory, Rule};
    let dir = TempDir::new().unwrap();
    let signs =
        |count: u32, by: u32| -> Vec<f64> { (0..count).map(|i| if (i * by) % 7 > 3 { -1.0 } else { 1.0 }).collect() };
    let (keys, queries) = (signs(24, 5), signs(16, 11));
    let at = |name: &str| dir.path().join(name);
    write_npy(&at("k.npy"), "<f4", "(3, 8)", &f32_bytes(&keys));
    write_npy(&at("q.npy"), "<f4", "(2, 8)", &f32_bytes(&queries));
    let narrow = |numbers: &[f64]| numbers.iter().map(|v| *v as f32).collect::<Vec<f32>>();
    let (keys, queries) = (narrow(&keys), narrow(&queries));
    let cases: [(&[&str], &str); 6] = [
        (
            &["--separation", "linear", "--then", "sign keep, without self"],
            "dot linear, beta 1 then sign keep, without self",
        ),
        (
            &["--separation", "power", "--n", "3", "--then", "sign plus, without self"],
            "dot power 3, beta 1 then sign plus, without self",
        ),
        (&["--separation", "rectified", "--n", "2"], "dot rectified 2, beta 1"),
        (&["--separation", "step", "--step-threshold", "-2"], "dot step -2, beta 1"),
        (&["--separation", "step", "--step-threshold", "1", "--beta", "0.5"], "dot step 1, beta 0.5"),
        (&["--beta", "2", "--then", "normalize, carry 0.5"], "dot softmax, beta 2 then carry 0.5, normalize"),
    ];
    for (flags, text) in cases {
        let rule: Rule = text.parse().unwrap();
        for place in places() {
            let said = place.succeeds(dir.path(), &[&GOOD[..], flags].concat());
            assert!(said.contains(&format!("3 patterns, {rule}")), "{said}");
            let bytes = fs::read(at("o.safetensors")).unwrap();
            let (_, states) = tensor(&SafeTensors::deserialize(&bytes).unwrap(), "state");
            for (query, state) in queries.chunks_exact(8).zip(states.chunks_exact(8)) {
                let expected = Problem::new(rule, 8, &keys).retrieve(query, 1).state;
                let error = state.iter().zip(&expected).fold(0.0, |most, (s, e)| f64::max(most, (s - e).abs()));
                assert!(error < 1e-5, "{text} on {}: {state:?}, expected {expected:?}", place.name);
            }
        }
    }
    let mut memory = Memory::new(&Device::cpu(), 8, Rule::dense(4)).unwrap();
    memory.add(&keys).unwrap();
    memory.save(at("m.safetensors")).unwrap();
    let args = ["retrieve", "--memory", "m.safetensors", "--queries", "q.npy", "--out", "o.safetensors"];
    for (flags, rule) in [
        (&[][..], "dot power 3, beta 1 then sign keep, without self"),
        (&["--n", "1"], "dot power 1, beta 1 then sign keep, without self"),
        (&["--then", "none"], "dot power 3, beta 1,"),
        (&["--separation", "linear"], "dot linear, beta 1 then sign keep, without self"),
    ] {
        let said = CPU.succeeds(dir.path(), &[&args[..], flags].concat());
        assert!(said.contains(rule), "{said}");
    }
}

#[test]
fn flags_that_contradict_a_saved_memory_are_refused() {
    let dir = good_inputs();
    saved_memory(dir.path(), attractor::Precision::I8);
    let args =
        ["retrieve", "--device", "cpu", "--memory", "m.safetensors", "--queries", "q.npy", "--out", "o.safetensors"];
    for (more, words) in [
        (&["--keys", "k.npy"][..], &["--memory", "--keys"][..]),
        (&["--values", "v.npy"], &["--memory", "--values"]),
        (&["--bias", "b.npy"], &["--memory", "--bias"]),
        (&["--precision", "f16"], &["--memory", "--precision"]),
        (&["--saturate"], &["--memory", "--saturate"]),
        (&["--k", "3"], &["--k needs --separation topk"]),
        (&["--separation", "topk"], &["needs --k"]),
        (&["--separation", "power"], &["needs --n"]),
        (&["--n", "2"], &["--n needs --separation power or rectified"]),
        (&["--separation", "softmax", "--alpha", "2"], &["--alpha needs --separation entmax"]),
        (&["--alpha", "1"], &["--alpha", "above 1"]),
    ] {
        refuses(dir.path(), &[&args[..], more].concat(), 2, words);
    }
    refuses(dir.path(), &["retrieve", "--queries", "q.npy", "--out", "o.safetensors"], 2, &["--keys"]);
    refuses(dir.path(), &[&GOOD[..], &["--saturate"]].concat(), 2, &["--saturate needs --precision f16"]);
    let hint = ["m.safetensors", "a saved memory", "--memory m.safetensors"];
    refuses(dir.path(), &keys("m.safetensors:keys"), 1, &hint);
    for flag in ["--values", "--bias"] {
        let address = format!("m.safetensors:{}", &flag[2..]);
        refuses(dir.path(), &[&GOOD[..], &[flag, &address]].concat(), 1, &hint);
    }
    let mut other = args;
    other[4] = "k.npy";
    refuses(dir.path(), &other, 1, &["k.npy", "safetensors"]);
    other[4] = "gone.safetensors";
    refuses(dir.path(), &other, 1, &["gone.safetensors", "cannot open"]);
    write_npy(&dir.path().join("wide.npy"), "<f4", "(1, 5)", &f32_bytes(&[0.0; 5]));
    let mut other = args;
    other[6] = "wide.npy";
    refuses(dir.path(), &other, 1, &["queries of wide.npy are 1 x 5", "keys of m.safetensors are 5 x 4", "columns"]);
    let mut bytes = fs::read(dir.path().join("m.safetensors")).unwrap();
    *bytes.last_mut().unwrap() ^= 4;
    fs::write(dir.path().join("m.safetensors"), bytes).unwrap();
    refuses(dir.path(), &args, 1, &["m.safetensors", "damaged", "checksum"]);
    assert!(!dir.path().join("o.safetensors").exists());
}

#[test]
fn halves_refuse_what_they_cannot_hold_unless_they_saturate() {
    let dir = plain_inputs();
    write_npy(&dir.path().join("k.npy"), "<f4", "(2, 4)", &f32_bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -7e4, 8.0]));
    let args = [&GOOD[..], &["--precision", "f16"]].concat();
    for place in places() {
        let output = run(dir.path(), &[&args[..], place.args].concat(), place.icd.as_deref());
        let said = text(&output.stderr);
        let words = ["keys row 1", "column 2 is -70000", "65520", "--saturate"];
        assert_eq!(output.status.code(), Some(1), "{}: {said}", place.name);
        assert!(words.iter().all(|word| said.contains(word)) && said.trim().lines().count() == 1, "{said}");
        assert!(!dir.path().join("o.safetensors").exists());
    }
    CPU.succeeds(dir.path(), &[&args[..], &["--saturate"]].concat());
}

/// Every command that writes, with `TARGET` for the file.
#[cfg(unix)]
const WRITERS: [&[&str]; 5] = [
    &["retrieve", "--device", "cpu", "--keys", "k.npy", "--queries", "q.npy", "--out", "TARGET.safetensors"],
    &["recall", "--device", "cpu", "--patterns", "20", "--output", "TARGET.png"],
    &[
        "bench",
        "--device",
        "cpu",
        "--sizes",
        "one",
        "--seconds",
        "0.01",
        "--divide",
        "4096",
        "--svg",
        "s.svg",
        "--json",
        "TARGET",
    ],
    &[
        "bench",
        "--device",
        "cpu",
        "--sizes",
        "one",
        "--seconds",
        "0.01",
        "--divide",
        "4096",
        "--json",
        "j.json",
        "--svg",
        "TARGET",
    ],
    &["tune", "--device", "vulkan", "--software", "--seconds", "1", "--out", "TARGET"],
];

/// The writers whose devices are there, with the name of their target, to which they write `target`.
#[cfg(unix)]
fn writers(target: &str) -> impl Iterator<Item = (Vec<String>, String)> {
    let tunes = places().iter().any(|place| place.name == "lavapipe");
    WRITERS.into_iter().filter(move |args| tunes || args[0] != "tune").map(move |args| {
        let args: Vec<String> = args.iter().map(|arg| arg.replace("TARGET", target)).collect();
        let path = args.iter().find(|arg| arg.starts_with(target)).unwrap().clone();
        (args, path)
    })
}

#[cfg(unix)]
#[test]
fn only_regular_files_are_written_and_links_modes_and_long_names_are_kept() {
    use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
    let mut written = 0;
    let run = |dir: &Path, args: &[String]| {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        attractor(dir, &args)
    };
    for kind in ["fifo", "socket", "folder", "device"] {
        for (args, name) in writers(kind) {
            let dir = good_inputs();
            let path = dir.path().join(&name);
            let mut socket = None;
            match kind {
                "fifo" => assert!(Command::new("mkfifo").arg(&path).status().unwrap().success()),
                "socket" => socket = Some(std::os::unix::net::UnixListener::bind(&path).unwrap()),
                "folder" => fs::create_dir(&path).unwrap(),
                // One that nothing depends on; a link to the system's own where none can be made.
                _ => {
                    let made = Command::new("mknod").arg(&path).args(["c", "1", "3"]).output();
                    if !made.is_ok_and(|output| output.status.success()) {
                        symlink("/dev/null", &path).unwrap();
                    }
                }
            }
            let before = fs::symlink_metadata(&path).unwrap();
            let output = run(dir.path(), &args);
            let said = text(&output.stderr);
            let words = match kind {
                "fifo" => "a FIFO",
                "socket" => "a socket",
                "folder" => "a directory",
                _ => "a character device",
            };
            assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
            assert!(said.contains(words) && said.trim().lines().count() == 1, "{args:?}: {said}");
            let after = fs::symlink_metadata(&path).unwrap();
            assert_eq!((after.ino(), after.mode()), (before.ino(), before.mode()), "{args:?}");
            assert!(output.stdout.is_empty(), "{args:?}: before any work");
            assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
            drop(socket);
        }
    }
    for (args, name) in writers("target") {
        let dir = good_inputs();
        fs::create_dir(dir.path().join("sub")).unwrap();
        let (path, real) = (dir.path().join(&name), dir.path().join("sub/real"));
        symlink("sub/real", &path).unwrap();
        // Once where the link leads to nothing yet, and once where there is a file.
        for mode in [None, Some(0o640)] {
            if let Some(mode) = mode {
                fs::set_permissions(&real, fs::Permissions::from_mode(mode)).unwrap();
            }
            let output = run(dir.path(), &args);
            assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
            assert_eq!(fs::read_link(&path).unwrap(), Path::new("sub/real"), "{args:?}");
            let found = fs::metadata(&real).unwrap();
            assert!(found.len() > 0 && mode.is_none_or(|mode| found.mode() & 0o777 == mode), "{args:?}");
            assert_eq!(fs::read_dir(dir.path().join("sub")).unwrap().count(), 1);
            written += 1;
        }
    }
    for (args, name) in writers(&"n".repeat(243)) {
        let dir = good_inputs();
        let output = run(dir.path(), &args);
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        assert!(dir.path().join(name).is_file());
        written += 1;
    }
    println!("{written} files written");
}

#[test]
fn no_input_is_overwritten() {
    let dir = good_inputs();
    let at = |name: &str| dir.path().join(name);
    saved_memory(dir.path(), attractor::Precision::F32);
    let f32s = |values: &[f64]| f32_bytes(values);
    write_safetensors(
        &at("t.safetensors"),
        &[
            ("k", Dtype::F32, &[3, 4], &f32s(&[0.5; 12])),
            ("q", Dtype::F32, &[2, 4], &f32s(&[0.5; 8])),
            ("v", Dtype::F32, &[3, 2], &f32s(&[0.5; 6])),
            ("b", Dtype::F32, &[3], &f32s(&[0.5; 3])),
            ("m", Dtype::U8, &[3], &[1; 3]),
        ],
    );
    idx(&at("images.png"), 0x803, 7, 7 * 30);
    fs::create_dir(at("sub")).unwrap();
    fs::hard_link(at("t.safetensors"), at("name.safetensors")).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("t.safetensors", at("link.safetensors")).unwrap();
    #[cfg(not(unix))]
    fs::hard_link(at("t.safetensors"), at("link.safetensors")).unwrap();
    let absolute = at("t.safetensors").into_os_string().into_string().unwrap();
    let out = |flags: &[&'static str], out: &str| {
        let mut args: Vec<String> = ["retrieve", "--device", "cpu", "--queries", "q.npy"].map(String::from).into();
        if !flags.contains(&"--memory") && !flags.contains(&"--keys") {
            args.extend(["--keys", "k.npy"].map(String::from));
        }
        if let Some(at) = flags.iter().position(|flag| *flag == "--queries") {
            args[4] = flags[at + 1].into();
        } else {
            args.extend(flags.iter().map(ToString::to_string));
        }
        args.extend(["--out".into(), out.into()]);
        args
    };
    let strings = |args: &[&str]| args.iter().map(ToString::to_string).collect::<Vec<_>>();
    let commands = [
        out(&["--keys", "t.safetensors:k"], "t.safetensors"),
        out(&["--keys", "t.safetensors:k"], "./sub/../t.safetensors"),
        out(&["--keys", "t.safetensors:k"], &absolute),
        out(&["--keys", "t.safetensors:k"], "link.safetensors"),
        out(&["--keys", "t.safetensors:k"], "name.safetensors"),
        out(&["--keys", "link.safetensors:k"], "t.safetensors"),
        out(&["--queries", "t.safetensors:q"], "t.safetensors"),
        out(&["--values", "t.safetensors:v"], "t.safetensors"),
        out(&["--bias", "t.safetensors:b"], "t.safetensors"),
        out(&["--mask", "t.safetensors:m"], "t.safetensors"),
        out(&["--memory", "m.safetensors"], "m.safetensors"),
        out(&["--tuning", "t.safetensors"], "t.safetensors"),
        strings(&["recall", "--device", "cpu", "--images", "images.png", "--output", "images.png"]),
        strings(&["recall", "--device", "cpu", "--tuning", "images.png", "--output", "images.png"]),
        strings(&["bench", "--device", "cpu", "--json", "same", "--svg", "same"]),
        strings(&["bench", "--device", "cpu", "--json", "same", "--svg", "./sub/../same"]),
        strings(&["bench", "--device", "cpu", "--tuning", "k.npy", "--json", "k.npy"]),
        strings(&["bench", "--device", "cpu", "--tuning", "k.npy", "--svg", "k.npy"]),
    ];
    let contents = || ["t.safetensors", "m.safetensors", "images.png", "k.npy"].map(|name| fs::read(at(name)).unwrap());
    let before = contents();
    for args in &commands {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        refuses(dir.path(), &args, 1, &["cannot write", "this is also"]);
    }
    assert!(contents() == before && !at("same").exists());
    // What has another name is another file.
    succeeds(
        dir.path(),
        &[
            "retrieve",
            "--device",
            "cpu",
            "--keys",
            "t.safetensors:k",
            "--queries",
            "t.safetensors:q",
            "--out",
            "o.safetensors",
        ],
    );
}

/// A FIFO without a writer, wherever a file is read.
#[cfg(unix)]
#[test]
fn nothing_waits_for_a_fifo() {
    let dir = good_inputs();
    for name in ["f.npy", "f.safetensors"] {
        assert!(Command::new("mkfifo").arg(dir.path().join(name)).status().unwrap().success());
    }
    let cpu = |args: &[&'static str]| [&["retrieve", "--device", "cpu"], args].concat();
    let rest = ["--queries", "q.npy", "--out", "o.safetensors"];
    let mut commands = vec![
        cpu(&[&["--keys", "f.npy"][..], &rest].concat()),
        cpu(&[&["--keys", "f.safetensors:k"][..], &rest].concat()),
        cpu(&[&["--memory", "f.safetensors"][..], &rest].concat()),
        cpu(&[&["--keys", "k.npy", "--mask", "f.npy"][..], &rest].concat()),
        cpu(&["--keys", "k.npy", "--queries", "f.npy", "--out", "o.safetensors"]),
        vec!["recall", "--device", "cpu", "--images", "f.npy"],
    ];
    if places().iter().any(|place| place.name == "lavapipe") {
        commands.push([&GOOD[..], &["--device", "vulkan", "--software", "--tuning", "f.npy"]].concat());
    }
    let start = std::time::Instant::now();
    for args in &commands {
        refuses(dir.path(), args, 1, &["not a regular file", "a FIFO"]);
    }
    assert!(start.elapsed().as_secs() < 60);
}

/// Lines of JSON, or tensors, with what a search finds; ids are those of the memory.
#[test]
fn searches_print_lines_or_write_tensors() {
    use attractor::{Device, Memory, MemoryOptions, Rule, Separation, Similarity};
    let dir = plain_inputs();
    let lines = |place: &Place, more: &[&str]| -> Vec<serde_json::Value> {
        let said = place.succeeds(dir.path(), &[&["search", "--queries", "q.npy"], more].concat());
        said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    for place in quick_places() {
        let got = lines(place, &["--keys", "k.npy", "--similarity", "dot", "--top", "2"]);
        let hit = |id: u64, similarity: f64| serde_json::json!({ "id": id, "similarity": similarity });
        assert_eq!(got[0], serde_json::json!({ "query": 0, "hits": [hit(0, 2.0), hit(1, 1.0)] }), "{}", place.name);
        assert_eq!(got[1]["hits"][0], hit(2, 1.0), "{}", place.name);
        let got = lines(place, &["--keys", "k.npy", "--similarity", "dot", "--top", "1", "--threshold", "1"]);
        assert_eq!((&got[0]["found"], &got[1]["found"]), (&2.into(), &1.into()), "{}", place.name);
        let got = lines(place, &["--keys", "k.npy", "--similarity", "euclidean", "--top", "1"]);
        assert_eq!(got[1]["hits"], serde_json::json!([{ "id": 2, "distance": 0.0 }]), "{}", place.name);
    }
    // By default by cosine.
    let cosine =
        lines(&CPU, &["--keys", "k.npy", "--top", "1", "--precision", "i8"])[0]["hits"][0]["similarity"].clone();
    assert!((cosine.as_f64().unwrap() - 2.0 / 5f64.sqrt()).abs() < 1e-6, "{cosine}");

    let rule = Rule::new(Similarity::Manhattan, Separation::Sparsemax, 3.0);
    let mut memory: Memory = MemoryOptions::new(4, rule).build(&Device::cpu()).unwrap();
    let ids: Vec<_> = memory.add(&[0.0; 12]).unwrap().iter().collect();
    memory.remove(ids[0]).unwrap();
    memory.save(dir.path().join("m.safetensors")).unwrap();
    let args = ["search", "--memory", "m.safetensors", "--queries", "q.npy"];
    let said = CPU
        .succeeds(dir.path(), &[&args[..], &["--top", "3", "--threshold", "2", "--out", "hits.safetensors"]].concat());
    assert!(said.contains("ids 2 x 3, similarity 2 x 3, found (2,)"), "{said}");
    let said = CPU.succeeds(dir.path(), &[&args[..], &["--explain", "--out", "other.safetensors"]].concat());
    assert!(said.contains("2 queries against 3 patterns on") && said.contains("wrote other"), "{said}");
    let bytes = fs::read(dir.path().join("hits.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let whole = |name: &str| -> Vec<u64> {
        let bytes = file.tensor(name).unwrap().data();
        bytes.as_chunks::<8>().0.iter().map(|bytes| u64::from_le_bytes(*bytes)).collect()
    };
    let none = u64::MAX;
    assert_eq!(whole("ids"), [none, none, none, ids[1].0, ids[2].0, none]);
    assert_eq!(whole("found"), [0, 2]);
    assert_eq!(tensor(&file, "similarity"), (vec![2, 3], vec![0.0, 0.0, 0.0, 1.0, 1.0, 0.0]));
    // Wherever the rows are: two of them on the device, or none in memory.
    for place in quick_places() {
        let rows = |more: &[&str]| lines(place, &[&["--memory", "m.safetensors", "--top", "1"], more].concat());
        let expected = rows(&[]);
        assert_eq!(rows(&["--rows-in-file"]), expected, "{}", place.name);
        assert_eq!(rows(&["--rows-in-file", "--device-bytes", "32"]), expected, "{}", place.name);
    }
}

/// A memory with keys of the caller's own is searched by them.
#[test]
fn searches_tell_the_keys_of_a_keyed_memory() {
    use attractor::keyed::{Entries, KeyedMemory};
    use attractor::{Device, Memory, Rule};
    let dir = plain_inputs();
    let fresh = || Memory::new(&Device::cpu(), 4, Rule::softmax(1.0)).unwrap();
    let rows = [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0];
    let mut texts = KeyedMemory::<String>::new(fresh()).unwrap();
    let metadata = [Some("{\"colour\":\n \"red\"}"), None];
    texts.add(Entries::new(&["one", "three"], &rows).metadata(&metadata)).unwrap();
    texts.save(dir.path().join("texts.safetensors")).unwrap();
    let mut numbers = KeyedMemory::<u64>::new(fresh()).unwrap();
    numbers.add(Entries::new(&[70u64, 90], &rows)).unwrap();
    numbers.save(dir.path().join("numbers.safetensors")).unwrap();
    let first = |file: &str, query: usize| -> serde_json::Value {
        let said = CPU.succeeds(dir.path(), &["search", "--memory", file, "--queries", "q.npy", "--top", "1"]);
        let line: serde_json::Value = serde_json::from_str(said.lines().nth(query).unwrap()).unwrap();
        line["hits"][0].clone()
    };
    let one = serde_json::json!({ "id": 0, "similarity": 2.0, "key": "one", "metadata": { "colour": "red" } });
    assert_eq!(first("texts.safetensors", 0), one);
    let said =
        CPU.succeeds(dir.path(), &["search", "--memory", "texts.safetensors", "--queries", "q.npy", "--top", "1"]);
    let line = r#"{"query":0,"hits":[{"id":0,"key":"one","similarity":2.0,"metadata":{"colour":  "red"}}]}"#;
    assert_eq!(said.lines().next(), Some(line));
    assert_eq!(first("texts.safetensors", 1), serde_json::json!({ "id": 1, "similarity": 1.0, "key": "three" }));
    assert_eq!(first("numbers.safetensors", 1), serde_json::json!({ "id": 1, "similarity": 1.0, "key": 90 }));
}

#[test]
fn searches_refuse_what_makes_no_sense() {
    let dir = plain_inputs();
    let args = ["search", "--device", "cpu", "--keys", "k.npy", "--queries", "q.npy"];
    for (more, status, words) in [
        (&["--top", "0"][..], 2, &["--top", "at least 1"][..]),
        (&["--top", "1025"], 2, &["--top 1025", "1024"]),
        (&["--threshold", "nan"], 2, &["--threshold", "finite"]),
        (&["--memory", "k.npy"], 2, &["--memory", "--keys"]),
        (&["--rows-in-file"], 2, &["--rows-in-file", "--keys"]),
        (&["--out", "hits.npy"], 2, &["--out", ".safetensors"]),
        (&["--explain"], 2, &["--out"]),
        (&["--out", "nowhere/hits.safetensors"], 1, &["nowhere"]),
    ] {
        refuses(dir.path(), &[&args[..], more].concat(), status, words);
    }
    refuses(dir.path(), &["search", "--queries", "q.npy"], 2, &["--memory"]);
    let hint = ["k.npy", "--memory takes what Memory::save wrote", "--keys k.npy"];
    refuses(dir.path(), &["search", "--device", "cpu", "--memory", "k.npy", "--queries", "q.npy"], 1, &hint);
    let args = ["retrieve", "--device", "cpu", "--memory", "k.npy", "--queries", "q.npy", "--out", "a.safetensors"];
    refuses(dir.path(), &args, 1, &hint);
    write_npy(&dir.path().join("wide.npy"), "<f4", "(1, 5)", &[0; 20]);
    refuses(
        dir.path(),
        &["search", "--device", "cpu", "--keys", "k.npy", "--queries", "wide.npy"],
        1,
        &["queries", "5", "4"],
    );
}
