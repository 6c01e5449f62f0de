//! Every file of `fuzz/corpus` through the entry functions of the fuzz targets, and a bounded number of mutations of
//! each. `ATTRACTOR_MUTATIONS=N` makes N of each file; `ATTRACTOR_WRITE_CORPUS=1` writes the seeds anew.

use std::fs;
use std::path::{Path, PathBuf};

use attractor::keyed::{Entries, KeyedMemory};
use attractor::partial::PartialOptions;
use attractor::rule::Activation;
use attractor::{Device, MemoryOptions, Precision, Rule, Separation, Similarity, Update, internals};
use harness::{Rng, inputs, seal};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// Names and contents, in order.
fn files(target: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(corpus(target)).unwrap_or_else(|error| panic!("{target}: {error}"));
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{target}: no corpus");
    files
}

/// Bits, bytes, numbers, pieces that are cut, repeated or taken from another input.
fn mutated(numbers: &mut Rng, from: &[u8], other: &[u8]) -> Vec<u8> {
    let mut bytes = from.to_vec();
    for _ in 0..=numbers.below(3) {
        let at = numbers.below(bytes.len());
        match numbers.below(9) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            1 if !bytes.is_empty() => bytes[at] = numbers.bits() as u8,
            2 => bytes.truncate(at),
            3 if !bytes.is_empty() => drop(bytes.remove(at)),
            4 => bytes.insert(at, b"0123456789{}[](),:'\"-. eE\0\xff"[numbers.below(27)]),
            5 if bytes.len() >= at + 8 => {
                let extremes = [0, 1, u64::MAX, 1 << 63, 1 << 32, u64::from(u32::MAX), 0x7ff0_0000_0000_0000];
                bytes[at..at + 8].copy_from_slice(&extremes[numbers.below(7)].to_le_bytes());
            }
            6 => {
                let end = at + numbers.below((bytes.len() - at).min(64));
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            7 => {
                let from = numbers.below(other.len());
                let piece = &other[from..from + numbers.below((other.len() - from).min(64))];
                let end = (at + piece.len()).min(bytes.len());
                bytes.splice(at..end, piece.iter().copied());
            }
            _ => {
                let end = at + numbers.below((bytes.len() - at).min(64));
                bytes.drain(at..end);
            }
        }
    }
    bytes
}

/// Runs the corpus of `target`. A name that begins with `good` must be accepted, one with `bad` refused.
fn run(target: &str, entry: fn(&[u8]) -> bool) {
    if !harness::runs_on("cpu") {
        return;
    }
    let each = std::env::var("ATTRACTOR_MUTATIONS").ok().and_then(|count| count.parse().ok()).unwrap_or(200);
    let files = files(target);
    let (mut accepted, mut mutations) = (0, 0);
    let mut numbers = Rng(20_261_129);
    for (name, bytes) in &files {
        let taken = entry(bytes);
        assert!(name.starts_with(if taken { "good" } else { "bad" }), "{target}/{name}: accepted {taken}");
        for _ in 0..each {
            let other = &files[numbers.below(files.len())].1;
            accepted += usize::from(entry(&mutated(&mut numbers, bytes, other)));
            mutations += 1;
        }
    }
    println!("{target}: {} files, {mutations} mutations, of which {accepted} were accepted", files.len());
}

#[test]
fn npy() {
    run("npy", inputs::npy);
}

#[test]
fn safetensors() {
    run("safetensors", inputs::safetensors);
}

#[test]
fn saved() {
    run("saved", inputs::saved);
}

#[test]
fn keyed() {
    run("keyed", inputs::keyed);
}

#[test]
fn partial() {
    run("partial", inputs::partial);
}

#[test]
fn tuning() {
    run("tuning", inputs::tuning);
}

#[test]
fn idx() {
    run("idx", inputs::idx);
}

#[test]
fn seeds() {
    if !harness::runs_on("cpu") {
        return;
    }
    if std::env::var_os("ATTRACTOR_WRITE_CORPUS").is_none() {
        return;
    }
    for (target, seeds) in [
        ("npy", npy_seeds()),
        ("safetensors", safetensors_seeds()),
        ("saved", saved_seeds()),
        ("keyed", keyed_seeds()),
        ("partial", partial_seeds()),
        ("tuning", tuning_seeds()),
        ("idx", idx_seeds()),
    ] {
        fs::create_dir_all(corpus(target)).unwrap();
        for (name, bytes) in seeds {
            fs::write(corpus(target).join(name), bytes).unwrap();
        }
    }
}

type Seeds = Vec<(String, Vec<u8>)>;

fn npy_seeds() -> Seeds {
    let file = |version: [u8; 2], header: &str, data: &[u8]| {
        let mut file = b"\x93NUMPY".to_vec();
        file.extend(version);
        match version[0] {
            1 => file.extend((header.len() as u16).to_le_bytes()),
            _ => file.extend((header.len() as u32).to_le_bytes()),
        }
        [&file, header.as_bytes(), data].concat()
    };
    let ones: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    let header = |descr: &str, fortran: &str, shape: &str| {
        format!("{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
    };
    let mut seeds = Seeds::new();
    let mut add = |name: &str, bytes: Vec<u8>| seeds.push((name.into(), bytes));
    let plain = header("'<f4'", "False", "(2, 3)");
    add("good_f4", file([1, 0], &plain, &ones));
    add("good_version_2", file([2, 0], &plain, &ones));
    add("good_version_3", file([3, 0], &plain, &ones));
    add("good_python_2_longs", file([1, 0], &header("'<f4'", "False", "(2L, 3L)"), &ones));
    add("good_f2", file([1, 0], &header("'<f2'", "False", "(2, 6)"), &[0, 0x3c].repeat(12)));
    add("good_f8", file([1, 0], &header("'<f8'", "False", "(3, 1)"), &1.5f64.to_le_bytes().repeat(3)));
    add("good_tight", file([1, 0], r#"{"shape":(2,3),"fortran_order":False,"descr":"<f4"}"#, &ones));
    add("good_f8_beyond_f32", file([1, 0], &header("'<f8'", "False", "(3, 1)"), &1e300f64.to_le_bytes().repeat(3)));
    add("good_not_finite", file([1, 0], &plain, &f32::NAN.to_le_bytes().repeat(6)));
    add("bad_mask_as_keys", file([1, 0], &header("'|u1'", "False", "(2, 3)"), &[0, 1, 1, 0, 2, 255]));
    for (i, fortran) in ["True", "1", "'True'", "true", "None", "0", ""].iter().enumerate() {
        add(&format!("bad_fortran_{i}"), file([1, 0], &header("'<f4'", fortran, "(2, 3)"), &ones));
    }
    let shapes = [
        "(,6,,4)", "(,2,3)", "(6)", "[2, 3]", "(-2, -3)", "(2.0, 3)", "(0x2, 3)", "(02, 3)", "()", "(6,)", "(2, 3",
        "(0, 3)",
    ];
    for (i, shape) in shapes.iter().enumerate() {
        add(&format!("bad_shape_{i}"), file([1, 0], &header("'<f4'", "False", shape), &ones));
    }
    add(
        "bad_two_shapes",
        file([1, 0], "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 6), 'shape': (2, 3)}", &ones),
    );
    add("bad_huge", file([1, 0], &header("'<f4'", "False", "(4611686018427387904, 4611686018427387904)"), &ones));
    // Names of safetensors: an input of the fuzz target, whose size was not held against its shape.
    for dtype in ["F32", "BF16", "U8"] {
        let short = header(&format!("'{dtype}'"), "False", "(2, 3)");
        add(&format!("bad_dtype_{dtype}"), file([1, 0], &short, &ones[..10]));
    }
    add("bad_big_endian", file([1, 0], &header("'>f4'", "False", "(2, 3)"), &ones));
    add("bad_structure", file([1, 0], &header("[('a', '<f4')]", "False", "(2, 3)"), &ones));
    add("bad_escape", file([1, 0], &header(r"'\x3cf4'", "False", "(2, 3)"), &ones));
    add("bad_truncated", file([1, 0], &plain, &ones[..23]));
    add("bad_too_long", file([1, 0], &plain, &[&ones[..], &[0]].concat()));
    add("bad_minor_version", file([1, 1], &plain, &ones));
    add("bad_header_length", b"\x93NUMPY\x02\x00\xff\xff\xff\xff{}".to_vec());
    add("bad_empty", Vec::new());
    add("bad_magic", b"\x93NUMPY".to_vec());
    seeds
}

fn framed(header: &str, data: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), data].concat()
}

fn safetensors_seeds() -> Seeds {
    let tensor = |dtype: &str, shape: &str, from: u64, to: u64| {
        format!(r#"{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
    };
    let one = |dtype: &str, shape: &str, from, to| format!(r#"{{"a":{}}}"#, tensor(dtype, shape, from, to));
    let halves = half::f16::from_f32(1.5).to_le_bytes();
    let mut seeds = Seeds::new();
    let mut add = |name: &str, bytes: Vec<u8>| seeds.push((name.into(), bytes));
    add("good_f32", framed(&one("F32", "[1,2]", 0, 8), &[0; 8]));
    add("good_f16", framed(&one("F16", "[2,3]", 0, 12), &halves.repeat(6)));
    add("good_bf16", framed(&one("BF16", "[3,2]", 0, 12), &half::bf16::from_f32(3e38).to_le_bytes().repeat(6)));
    add("good_f64", framed(&one("F64", "[2,1]", 0, 16), &f64::MAX.to_le_bytes().repeat(2)));
    let two = format!(r#"{{"a":{},"b":{}}}"#, tensor("F32", "[2,2]", 0, 16), tensor("U8", "[3]", 16, 19));
    add("good_two", framed(&two, &[1; 19]));
    add("good_odd_place", framed(&(one("F32", "[1,2]", 0, 8) + " "), &[0; 8]));
    add("bad_scalar", framed(&one("F32", "[]", 0, 4), &[0; 4]));
    add("bad_nothing", framed(&one("F32", "[0,4]", 0, 0), &[]));
    add("bad_f8", framed(&one("F8_E4M3", "[2,2]", 0, 4), &[0; 4]));
    add("bad_offsets", framed(&one("F32", "[1,2]", 8, 0), &[0; 8]));
    add(
        "bad_overlap",
        framed(&format!(r#"{{"a":{},"b":{}}}"#, tensor("U8", "[4]", 0, 4), tensor("U8", "[4]", 2, 6)), &[0; 6]),
    );
    add("bad_huge_shape", framed(&one("U8", "[9223372036854775807,9]", 0, 4), &[0; 4]));
    let size = (1u64 << 61) - 1;
    let many: Vec<String> =
        (0..8).map(|i| format!(r#""{i}":{}"#, tensor("U8", &format!("[{size}]"), i * size, (i + 1) * size))).collect();
    add("bad_sum_overflows", framed(&format!("{{{}}}", many.join(",")), &[]));
    add("bad_deep", framed(&"[".repeat(2000), &[]));
    add("bad_length", [&u64::MAX.to_le_bytes()[..], b"{}"].concat());
    add("bad_short", vec![1, 0, 0]);
    add("bad_metadata", framed(r#"{"__metadata__":{"a":1}}"#, &[]));
    seeds
}

fn saved_seeds() -> Seeds {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m");
    let mut seeds = Seeds::new();
    let rules = [
        Rule::softmax(0.5),
        Rule::new(Similarity::Cosine, Separation::Entmax { alpha: 1.5 }, 2.0),
        Rule::new(Similarity::Euclidean, Separation::TopK { k: 2 }, -1.0),
    ];
    for (rule, precision) in rules.into_iter().zip(Precision::ALL) {
        for whole in [true, false] {
            let mut options = MemoryOptions::new(3, rule).precision(precision).window_bytes(64);
            if !whole {
                options = options.value_dim(2).bias().saturate();
            }
            let mut memory = options.build(&Device::cpu()).unwrap();
            let keys: Vec<f32> = (0..15).map(|i| i as f32 - 4.5).collect();
            let patterns = harness::patterns(&keys, (!whole).then_some(&keys[..10]), (!whole).then_some(&keys[..5]));
            let ids: Vec<_> = memory.add(patterns).unwrap().iter().collect();
            if !whole {
                memory.remove(ids[1]).unwrap();
            }
            memory.save(&path).unwrap();
            let name = format!("good_{precision:?}_{}", if whole { "keys" } else { "all" });
            seeds.push((name, fs::read(&path).unwrap()));
        }
    }
    let good = seeds[1].1.clone();
    let changed = |from: &str, to: &str| {
        let at = good.windows(from.len()).position(|part| part == from.as_bytes()).unwrap();
        assert_eq!(from.len(), to.len());
        let mut bytes = good.clone();
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
        seal::sealed(&bytes).unwrap_or(bytes)
    };
    for (name, from, to) in [
        ("version", r#""version":"2""#, r#""version":"9""#),
        ("format", "attractor.memory", "attractor.mammal"),
        ("dim", r#""dim":"3""#, r#""dim":"4""#),
        ("value_dim", r#""value_dim":"2""#, r#""value_dim":"0""#),
        ("beta", r#""beta":"0.5""#, r#""beta":"NaN""#),
        ("bias", r#""bias":"true""#, r#""bias":"yes!""#),
        ("next_id", r#""next_id":"5""#, r#""next_id":"1""#),
        ("windows", r#""windows":"4,1""#, r#""windows":"9,9""#),
        ("checksum", r#""crc32.bias":""#, r#""crc32_bias":""#),
    ] {
        seeds.push((format!("bad_{name}"), changed(from, to)));
    }
    seeds.push(("bad_cut".into(), good[..good.len() - 1].to_vec()));
    let mut nan = good.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    seeds.push(("bad_not_finite".into(), seal::sealed(&nan).unwrap()));
    seeds.push(("bad_empty".into(), Vec::new()));
    seeds
}

fn keyed_seeds() -> Seeds {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m");
    let rows: Vec<f32> = (0..9).map(|i| i as f32 - 4.5).collect();
    let build = || MemoryOptions::new(3, Rule::softmax(0.5)).build(&Device::cpu()).unwrap();
    let mut seeds = Seeds::new();
    let mut numbers = KeyedMemory::<u64>::new(build()).unwrap();
    numbers.add(Entries::new(&[7, 0, u64::MAX], &rows)).unwrap();
    numbers.save(&path).unwrap();
    seeds.push(("good_numbers".into(), fs::read(&path).unwrap()));
    let mut texts = KeyedMemory::<String>::new(build()).unwrap();
    let metadata = [Some(r#"{"a": [1, null]}"#), None, Some("3.5")];
    texts.add(Entries::new(&["caf\u{e9}", "", "x"], &rows).metadata(&metadata)).unwrap();
    texts.save(&path).unwrap();
    seeds.push(("good_texts".into(), fs::read(&path).unwrap()));
    texts.remove(&[""]).unwrap();
    texts.save(&path).unwrap();
    seeds.push(("good_removed".into(), fs::read(&path).unwrap()));
    texts.clear();
    texts.save(&path).unwrap();
    seeds.push(("good_none".into(), fs::read(&path).unwrap()));
    numbers.into_memory().save(&path).unwrap();
    seeds.push(("bad_unkeyed".into(), fs::read(&path).unwrap()));
    let changed = |seed: usize, from: &[u8], to: &[u8]| {
        let mut bytes = seeds[seed].1.clone();
        let at = bytes.windows(from.len()).rposition(|part| part == from).unwrap();
        assert_eq!(from.len(), to.len());
        bytes[at..at + to.len()].copy_from_slice(to);
        seal::sealed(&bytes).unwrap()
    };
    let ends = |ends: [u64; 3]| ends.map(u64::to_le_bytes).concat();
    let bad = [
        ("bad_twice", changed(0, &u64::MAX.to_le_bytes(), &7u64.to_le_bytes())),
        ("bad_type", changed(0, br#""key_type":"u64""#, br#""key_type":"u46""#)),
        ("bad_utf8", changed(1, "caf\u{e9}".as_bytes(), b"caf\xe9\xe9")),
        ("bad_json", changed(1, b"[1, null]", b"[1, null)")),
        ("bad_falling_ends", changed(1, &ends([5, 5, 6]), &ends([6, 5, 6]))),
        ("bad_split_character", changed(1, &ends([5, 5, 6]), &ends([4, 5, 6]))),
        ("bad_short_ends", changed(1, &ends([5, 5, 6]), &ends([5, 5, 5]))),
        ("bad_long_ends", changed(1, &ends([5, 5, 6]), &ends([5, 5, u64::MAX]))),
        ("bad_text_twice", changed(1, &ends([5, 5, 6]), &ends([0, 0, 6]))),
    ];
    seeds.extend(bad.map(|(name, bytes)| (name.to_owned(), bytes)));
    seeds
}

fn partial_seeds() -> Seeds {
    let mut seeds = Seeds::new();
    for (i, separation) in [
        Separation::Softmax,
        Separation::Softmax1,
        Separation::Sparsemax,
        Separation::Entmax { alpha: 1.5 },
        Separation::TopK { k: 2 },
        Separation::Linear,
        Separation::Power { n: 3 },
        Separation::Step { threshold: 0.25 },
    ]
    .into_iter()
    .enumerate()
    {
        let mixed = Update::default().activation(Activation::Tanh).carry(0.5);
        let rule = Rule::new(Similarity::Dot, separation, 1.0);
        let options = MemoryOptions::new(2, if i > 5 { rule.then(mixed) } else { rule });
        let options = if i % 2 == 0 { options } else { options.value_dim(3) };
        let mut memory = options.build(&Device::cpu()).unwrap();
        let keys: Vec<f32> = (0..8).map(|i| i as f32 / 8.0).collect();
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        memory.add(harness::patterns(&keys, (i % 2 == 1).then_some(&values), None)).unwrap();
        for (name, subset) in [("some", 0..4), ("none", 1..1)] {
            let part = PartialOptions::default().subset(subset).top(2 * i);
            let partial = memory.retrieve_partial_blocking(&[0.5, -0.25], &part).unwrap().remove(0);
            seeds.push((format!("good_{i}_{name}"), partial.to_bytes()));
        }
    }
    let good = seeds[0].1.clone();
    let mut unordered = seeds[2].1.clone();
    unordered[74..114].rotate_left(20);
    seeds.push(("bad_order".into(), unordered));
    let text_at = seeds[12].1.windows(4).position(|bytes| bytes == b"tanh").unwrap();
    let mut text = seeds[12].1.clone();
    text[text_at] = b'x';
    seeds.push(("bad_update".into(), text));
    seeds.push(("bad_cut".into(), good[..good.len() - 1].to_vec()));
    seeds.push(("bad_long".into(), [&good[..], &[0]].concat()));
    seeds.push(("bad_empty".into(), Vec::new()));
    let mut infinite = good.clone();
    let end = infinite.len();
    infinite[end - 8..].copy_from_slice(&f64::INFINITY.to_le_bytes());
    seeds.push(("bad_infinite".into(), infinite));
    seeds
}

fn tuning_seeds() -> Seeds {
    let adapter = inputs::adapter();
    let whole = serde_json::json!({
        "format": "attractor.tuning 2",
        "for": {
            "name": adapter.name, "vendor": adapter.vendor, "device": adapter.device, "backend": "Vulkan",
            "driver": adapter.driver, "driver_info": adapter.driver_info, "attractor": env!("CARGO_PKG_VERSION"),
        },
        "settings": { "workgroups": 16, "max_chunk_rows": u64::MAX, "unknown": 1 },
    });
    let text = whole.to_string();
    assert!(internals::parse_tuning(text.as_bytes(), &adapter).is_ok());
    let mut seeds = vec![("good_whole".into(), text.clone().into_bytes())];
    for (name, from, to) in [
        ("format", "attractor.tuning 2", "attractor.tuning 3"),
        ("device", r#""name":"fuzz""#, r#""name":"wuzz""#),
        ("negative", r#""workgroups":16"#, r#""workgroups":-1"#),
        ("fraction", r#""workgroups":16"#, r#""workgroups":1.5"#),
        ("text", r#""workgroups":16"#, r#""workgroups":"16""#),
        ("huge", r#""workgroups":16"#, r#""workgroups":1e999"#),
        ("settings", r#""settings""#, r#""sottings""#),
    ] {
        assert!(text.contains(from), "{from} in {text}");
        seeds.push((format!("bad_{name}"), text.replace(from, to).into_bytes()));
    }
    seeds.push(("bad_deep".into(), "[".repeat(2000).into_bytes()));
    seeds.push(("bad_cut".into(), text.as_bytes()[..text.len() / 2].to_vec()));
    seeds.push(("bad_empty".into(), Vec::new()));
    seeds
}

fn idx_seeds() -> Seeds {
    use std::io::Write;
    let file = |magic: u32, count: u32, height: u32, width: u32, bytes: usize| {
        let mut file: Vec<u8> = [magic, count, height, width].into_iter().flat_map(u32::to_be_bytes).collect();
        file.extend((0..bytes).map(|i| (i * 37) as u8));
        file
    };
    let packed = |bytes: &[u8]| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packed.write_all(bytes).unwrap();
        packed.finish().unwrap()
    };
    let good = file(0x803, 3, 2, 4, 24);
    let seeds: [(&str, Vec<u8>); 13] = [
        ("good_plain", good.clone()),
        ("good_packed", packed(&good)),
        ("good_two_members", [packed(&good[..9]), packed(&good[9..])].concat()),
        ("bad_labels", file(0x801, 3, 2, 4, 24)),
        ("bad_short", file(0x803, 3, 2, 4, 23)),
        ("bad_long", file(0x803, 3, 2, 4, 25)),
        ("bad_none", file(0x803, 0, 2, 4, 0)),
        ("bad_flat", file(0x803, 3, 0, 4, 0)),
        ("bad_huge", file(0x803, u32::MAX, 4096, 4096, 0)),
        ("bad_wide", file(0x803, 1, u32::MAX, u32::MAX, 0)),
        ("bad_cut_packed", {
            let whole = packed(&good);
            whole[..whole.len() / 2].to_vec()
        }),
        ("bad_bomb", packed(&file(0x803, 100, 28, 28, 1 << 16))),
        ("bad_empty", Vec::new()),
    ];
    seeds.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect()
}
