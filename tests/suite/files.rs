//! Memories that are saved, loaded and imported, on every device; and files that lie.

use std::collections::HashMap;
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;

use attractor::files::{Address, NewTensor, PatternFiles, Role, SavedMemory, Tensor, write_tensors};
use attractor::retrieval::WeightsOf;
use attractor::{
    Device, Error, LoadOptions, Memory, MemoryOptions, PatternId, Patterns, Precision, RetrieveOptions, Rule,
    Separation, Similarity,
};
use harness::{Rng, seal};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize};
use tempfile::TempDir;

fn rules() -> [Rule; 5] {
    [
        Rule::softmax(0.3),
        Rule::new(Similarity::Cosine, Separation::Entmax { alpha: 1.3 }, 7.1),
        Rule::new(Similarity::Euclidean, Separation::TopK { k: 5 }, 1.0 / 3.0),
        Rule::new(Similarity::Manhattan, Separation::Softmax1, -0.0),
        Rule::new(Similarity::Dot, Separation::Sparsemax, -2.5e-7),
    ]
}

fn bits(floats: &[f32]) -> Vec<u32> {
    floats.iter().map(|float| float.to_bits()).collect()
}

/// `count` rows for `memory`, with everything that it stores.
fn add(memory: &mut Memory, numbers: &mut Rng, count: usize, values: bool, bias: bool) -> Vec<PatternId> {
    let keys = numbers.vector(count * memory.dim());
    let values = values.then(|| numbers.vector(count * memory.value_dim()));
    let bias = bias.then(|| numbers.vector(count));
    let patterns = harness::patterns(&keys, values.as_deref(), bias.as_deref());
    memory.add(patterns).unwrap().iter().collect()
}

/// The two have the same patterns in the same places.
#[track_caller]
fn alike(what: &str, got: &Memory, expected: &Memory) {
    assert_eq!((got.rule(), got.len()), (expected.rule(), expected.len()), "{what}");
    assert_eq!(got.rule().beta.to_bits(), expected.rule().beta.to_bits(), "{what}");
    assert_eq!((got.dim(), got.value_dim()), (expected.dim(), expected.value_dim()), "{what}");
    assert_eq!(got.position_count(), expected.position_count(), "{what}");
    for position in 0..expected.position_count() {
        let id = expected.id_at(position);
        assert_eq!(got.id_at(position), id, "{what} position {position}");
        let Some(id) = id else { continue };
        let (got, expected) = (got.get(id).unwrap(), expected.get(id).unwrap());
        assert_eq!(bits(&got.key), bits(&expected.key), "{what} {id:?}");
        assert_eq!(got.value.map(|value| bits(&value)), expected.value.map(|value| bits(&value)), "{what} {id:?}");
        assert_eq!(got.bias.to_bits(), expected.bias.to_bits(), "{what} {id:?}");
    }
}

/// The answers of the two are bit-exact.
#[track_caller]
fn answer_alike(what: &str, got: &Memory, expected: &Memory) {
    let queries = Rng(99).vector(3 * expected.dim());
    for steps in [1, 3] {
        let options = RetrieveOptions::steps(steps).weights(WeightsOf::All).top(4);
        let [got, expected] = [got, expected].map(|memory| memory.retrieve_blocking(&queries, &options).unwrap());
        assert_eq!(bits(&got.output), bits(&expected.output), "{what}");
        assert_eq!(bits(&got.state), bits(&expected.state), "{what}");
        assert_eq!(bits(got.weights.as_ref().unwrap()), bits(expected.weights.as_ref().unwrap()), "{what}");
        assert_eq!(got.top, expected.top, "{what}");
    }
}

#[test]
fn what_is_saved_is_loaded_to_the_bit() {
    let folder = TempDir::new().unwrap();
    let (path, again) = (folder.path().join("memory.safetensors"), folder.path().join("again.safetensors"));
    for (name, device) in harness::quick_devices() {
        for (i, rule) in rules().into_iter().enumerate() {
            // Every precision under the first rule, and one under each of the others.
            let stores = Precision::ALL;
            for precision in stores.iter().copied().filter(|store| i == 0 || *store == stores[i % stores.len()]) {
                let what = format!("{name} {rule:?} {precision:?}");
                let mut numbers = Rng(i as u64);
                let (values, bias) = (i % 2 == 0, i % 3 == 0);
                let mut options = MemoryOptions::new([5, 8][i % 2], rule).precision(precision);
                if values {
                    options = options.value_dim(3);
                }
                if bias {
                    options = options.bias();
                }
                // In three windows, the last of which is not full.
                let mut memory = options.window_bytes(40 * 32).build(device).unwrap();
                let saved_and_loaded = |memory: &Memory, more: &str| {
                    let what = format!("{what} {more}");
                    memory.save(&path).unwrap();
                    let loaded = Memory::load(device, &path).unwrap();
                    alike(&what, &loaded, memory);
                    answer_alike(&what, &loaded, memory);
                    loaded.save(&again).unwrap();
                    assert!(fs::read(&again).unwrap() == fs::read(&path).unwrap(), "{what}: it is saved alike again");
                    loaded
                };
                let ids = add(&mut memory, &mut numbers, 100, values, bias);
                saved_and_loaded(&memory, "as added");
                for id in [0, 39, 40, 99] {
                    memory.remove(ids[id]).unwrap();
                }
                let pattern = memory.get(ids[7]).unwrap();
                let update = harness::patterns(
                    &pattern.key,
                    pattern.value.as_deref(),
                    bias.then_some(&[0.5]).map(|bias| &bias[..]),
                );
                memory.update(ids[50], update).unwrap();
                let mut loaded = saved_and_loaded(&memory, "with holes");
                // Ids and positions go on as they would have.
                let mut same = Rng(7);
                let first = add(&mut memory, &mut Rng(7), 6, values, bias);
                assert_eq!(first, add(&mut loaded, &mut same, 6, values, bias), "{what}");
                assert_eq!(first[0], PatternId(100), "{what}");
                alike(&what, &loaded, &memory);
                saved_and_loaded(&memory, "filled again");
            }
        }
    }
}

#[test]
fn across_devices_a_file_of_one_engine_is_read_by_every_other() {
    let folder = TempDir::new().unwrap();
    for precision in Precision::ALL {
        let mut files = Vec::new();
        for (name, device) in harness::devices() {
            let options = MemoryOptions::new(6, Rule::softmax(1.0)).value_dim(9).bias().precision(precision);
            let mut memory = options.build(device).unwrap();
            let ids = add(&mut memory, &mut Rng(4), 150, true, true);
            memory.remove(ids[3]).unwrap();
            let path = folder.path().join(format!("{}.safetensors", files.len()));
            memory.save(&path).unwrap();
            for (other, there) in harness::devices() {
                let loaded = Memory::load(there, &path).unwrap();
                alike(&format!("{precision:?} from {name} to {other}"), &loaded, &memory);
            }
            files.push(fs::read(path).unwrap());
        }
        assert!(files.iter().all(|file| *file == files[0]), "{precision:?}: every engine saves the same file");
    }
}

#[test]
fn ids_are_never_used_again_and_memories_may_be_empty() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.safetensors");
    for (name, device) in harness::devices() {
        let mut memory = Memory::new(device, 2, Rule::softmax(1.0)).unwrap();
        memory.save(&path).unwrap();
        assert!(Memory::load(device, &path).unwrap().is_empty(), "{name}");
        memory.add(&[1.0; 6]).unwrap();
        memory.clear();
        memory.save(&path).unwrap();
        let mut loaded = Memory::load(device, &path).unwrap();
        assert!(loaded.is_empty());
        assert!(
            matches!(loaded.retrieve_blocking(&[1.0; 2], &RetrieveOptions::default()), Err(Error::Empty { .. })),
            "{name}"
        );
        assert_eq!(loaded.add(&[2.0; 4]).unwrap().get(0), Some(PatternId(3)), "{name}");
        loaded.save(&path).unwrap();
        let mut loaded = Memory::load(device, &path).unwrap();
        assert!(loaded.contains(PatternId(4)) && !loaded.contains(PatternId(2)), "{name}");
        for id in [3, 4] {
            loaded.remove(PatternId(id)).unwrap();
        }
        loaded.save(&path).unwrap();
        let mut loaded = Memory::load(device, &path).unwrap();
        assert_eq!((loaded.len(), loaded.position_count()), (0, 2), "{name}");
        assert_eq!(loaded.add(&[2.0; 2]).unwrap().get(0), Some(PatternId(5)), "{name}");
        // What was removed is not in the file.
        let bytes = fs::read(&path).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        assert!(file.tensor("keys").unwrap().data().iter().all(|byte| *byte == 0), "{name}");
    }
}

#[test]
fn windows_are_cut_as_the_loader_asks() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.safetensors");
    for (name, device) in harness::devices() {
        let mut memory = Memory::new(device, 4, Rule::softmax(1.0)).unwrap();
        memory.add(&Rng(1).vector(4 * 90)).unwrap();
        memory.save(&path).unwrap();
        let options = LoadOptions::default().window_bytes(16 * 16);
        let mut loaded = Memory::load_with(device, &path, &options).unwrap();
        alike(name, &loaded, &memory);
        // Six windows of sixteen rows, where there was one of ninety.
        assert_eq!(loaded.capacity(), 96, "{name}");
        loaded.add(&[0.0; 4 * 7]).unwrap();
        assert_eq!(loaded.capacity(), 112, "{name}");
        let refused = Memory::load_with(device, &path, &LoadOptions::default().window_bytes(8)).unwrap_err();
        assert!(matches!(refused, Error::Limit { .. }), "{name}: {refused}");
    }
}

#[test]
fn extreme_numbers_survive() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.safetensors");
    let rows = [f32::MAX, -f32::MAX, f32::MIN_POSITIVE, -1e-45, 0.0, -0.0, 65504.0, 1e-8];
    for (name, device) in harness::quick_devices() {
        for precision in Precision::ALL {
            for dim in [1, 2, 4] {
                let mut memory = MemoryOptions::new(dim, Rule::softmax(f32::MIN_POSITIVE))
                    .precision(precision)
                    .saturate()
                    .build(device)
                    .unwrap();
                memory.add(&rows).unwrap();
                memory.save(&path).unwrap();
                let mut loaded = Memory::load(device, &path).unwrap();
                alike(name, &loaded, &memory);
                // What it does with large numbers is saved, too.
                loaded.add(&rows).unwrap();
            }
        }
    }
}

#[test]
fn a_failed_save_leaves_the_old_file_and_nothing_behind() {
    if !harness::runs_on("cpu") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let mut memory = Memory::new(&Device::cpu(), 2, Rule::softmax(1.0)).unwrap();
    memory.add(&[1.0, 2.0]).unwrap();
    let refuses = |path: &Path, words: &[&str]| {
        let error = memory.save(path).unwrap_err();
        let Error::File { path: about, .. } = &error else { panic!("{error}") };
        assert_eq!(about, path);
        let text = error.to_string();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
    };
    refuses(&folder.path().join("gone/m.safetensors"), &["gone", "no directory"]);
    refuses(folder.path(), &["a directory"]);
    refuses(Path::new(""), &["a directory"]);
    // The system refuses even the superuser.
    #[cfg(target_os = "linux")]
    refuses(Path::new("/proc/m.safetensors"), &["/proc/m.safetensors", "cannot write"]);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let locked = folder.path().join("locked");
        fs::create_dir(&locked).unwrap();
        fs::write(locked.join("m.safetensors"), "old").unwrap();
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
        if fs::write(locked.join("probe"), "").is_err() {
            refuses(&locked.join("m.safetensors"), &["cannot write"]);
            assert_eq!(fs::read(locked.join("m.safetensors")).unwrap(), b"old");
        } else {
            eprintln!("SKIP a read-only directory: this user may write to it");
        }
        fs::set_permissions(&locked, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name == "locked"), "{names:?}");
    // A save replaces whatever was there.
    let path = folder.path().join("m");
    fs::write(&path, "something else").unwrap();
    memory.save(&path).unwrap();
    memory.save(&path).unwrap();
    assert_eq!(Memory::load(&Device::cpu(), &path).unwrap().len(), 1);
}

/// A small memory with everything that a file may hold, in 8 bits, with a hole.
fn small(path: &Path) -> Vec<u8> {
    let rule = Rule::new(Similarity::Cosine, Separation::Entmax { alpha: 1.5 }, 2.0);
    let options = MemoryOptions::new(3, rule).value_dim(2).bias().precision(Precision::I8);
    let mut memory = options.build(&Device::cpu()).unwrap();
    let ids = add(&mut memory, &mut Rng(5), 3, true, true);
    memory.remove(ids[1]).unwrap();
    memory.save(path).unwrap();
    fs::read(path).unwrap()
}

/// Loads what is at `path`: an error of the file, or a memory that works.
fn survives(path: &Path) -> bool {
    match Memory::load(&Device::cpu(), path) {
        Ok(mut memory) => {
            let _ = memory.retrieve_blocking(&vec![0.5; memory.dim().min(1 << 20)], &RetrieveOptions::default());
            let _ = add_one(&mut memory);
            true
        }
        Err(error) => {
            assert!(matches!(error, Error::File { .. } | Error::Limit { .. }), "{error:?}");
            false
        }
    }
}

fn add_one(memory: &mut Memory) -> attractor::Result<()> {
    let (keys, values) = (vec![1.0; memory.dim().min(1 << 20)], vec![1.0; memory.value_dim().min(1 << 20)]);
    memory.add(Patterns::new(&keys).values(&values)).map(|_| ())
}

#[test]
fn a_file_cut_short_is_refused_at_every_length() {
    if !harness::runs_on("cpu") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.safetensors");
    let whole = small(&path);
    assert!(survives(&path));
    fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
    assert!(!survives(&path));
    let file = fs::File::options().write(true).open(&path).unwrap();
    for length in (0..whole.len()).rev() {
        file.set_len(length as u64).unwrap();
        assert!(!survives(&path), "{length} of {} bytes", whole.len());
    }
}

#[test]
fn a_file_with_any_byte_changed_is_refused() {
    if !harness::runs_on("cpu") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.safetensors");
    let whole = small(&path);
    let mut file = fs::File::options().write(true).open(&path).unwrap();
    let mut put = |at: usize, byte: u8| {
        file.seek(SeekFrom::Start(at as u64)).unwrap();
        file.write_all(&[byte]).unwrap();
    };
    let mut tried = 0;
    for (at, &right) in whole.iter().enumerate() {
        for byte in [right ^ 1, right ^ 0x80, 0, b'9', b'"', b'}', right.wrapping_add(1), right.to_ascii_uppercase()] {
            if byte != right {
                put(at, byte);
                assert!(!survives(&path), "byte {at} is {byte:#x} instead of {right:#x}");
                tried += 1;
            }
        }
        put(at, right);
    }
    println!("{tried} changed bytes were found");
    assert!(survives(&path));
}

/// Bits that flip and sectors that are lost, in a file of several pieces.
#[test]
fn damage_anywhere_is_found() {
    const SECTOR: usize = 512;
    if !harness::runs_on("cpu") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.safetensors");
    for precision in Precision::ALL {
        let options = MemoryOptions::new(45, Rule::softmax(1.0)).value_dim(7).bias().precision(precision);
        let mut memory = options.build(&Device::cpu()).unwrap();
        let ids = add(&mut memory, &mut Rng(5), 3000, true, true);
        memory.remove(ids[77]).unwrap();
        memory.save(&path).unwrap();
        let whole = fs::read(&path).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        let put = |at: usize, bytes: &[u8]| {
            (&file).seek(SeekFrom::Start(at as u64)).unwrap();
            (&file).write_all(bytes).unwrap();
        };
        let mut numbers = Rng(17);
        let (mut flips, mut sectors) = (0, 0);
        while flips + sectors < 2000 {
            let (at, bytes) = if numbers.bits().is_multiple_of(2) {
                let at = (numbers.bits() % whole.len() as u64) as usize;
                (at, vec![whole[at] ^ 1 << (numbers.bits() % 8)])
            } else {
                let at = (numbers.bits() % whole.len() as u64) as usize / SECTOR * SECTOR;
                (at, vec![0; SECTOR.min(whole.len() - at)])
            };
            let right = &whole[at..at + bytes.len()];
            if bytes == right {
                continue;
            }
            *(if bytes.len() == 1 { &mut flips } else { &mut sectors }) += 1;
            put(at, &bytes);
            let error = Memory::load(&Device::cpu(), &path).map(|memory| memory.len()).unwrap_err();
            assert!(matches!(error, Error::File { .. }), "{precision:?} at {at}: {error:?}");
            put(at, right);
        }
        assert_eq!(Memory::load(&Device::cpu(), &path).unwrap().len(), 2999);
        println!(
            "{precision:?}: {flips} flipped bits and {sectors} lost sectors of {} bytes, none loaded",
            whole.len()
        );
    }
}

/// A file to be forged: metadata, and tensors by name.
struct Forged {
    metadata: HashMap<String, String>,
    tensors: Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)>,
}

impl Forged {
    fn set(&mut self, name: &str, text: &str) {
        self.metadata.insert(name.into(), text.into());
    }

    fn unset(&mut self, name: &str) {
        self.metadata.remove(name).unwrap();
    }

    fn without(&mut self, name: &str) {
        self.tensors.retain(|tensor| tensor.0 != name);
    }

    fn tensor(&mut self, name: &str) -> &mut (&'static str, Dtype, Vec<usize>, Vec<u8>) {
        self.tensors.iter_mut().find(|tensor| tensor.0 == name).unwrap()
    }

    fn put<const N: usize>(&mut self, name: &str, at: usize, bytes: [u8; N]) {
        self.tensor(name).3[at * N..(at + 1) * N].copy_from_slice(&bytes);
    }

    /// The file, with checksums that fit wherever there are some.
    fn bytes(self) -> Vec<u8> {
        let views = self
            .tensors
            .iter()
            .map(|(name, dtype, shape, data)| (*name, TensorView::new(*dtype, shape.clone(), data).unwrap()));
        let bytes = serialize(views.collect::<HashMap<_, _>>(), Some(self.metadata)).unwrap();
        seal::sealed(&bytes).unwrap_or(bytes)
    }
}

/// [`small`] taken apart, in a precision.
fn forged(precision: Precision) -> Forged {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m");
    let rule = Rule::new(Similarity::Dot, Separation::Softmax, 2.0);
    let options = MemoryOptions::new(3, rule).value_dim(2).bias().precision(precision);
    let mut memory = options.build(&Device::cpu()).unwrap();
    let ids = add(&mut memory, &mut Rng(5), 4, true, true);
    memory.remove(ids[1]).unwrap();
    memory.save(&path).unwrap();
    let bytes = fs::read(&path).unwrap();
    let metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let names = ["keys", "values", "bias", "ids", "key_scales", "value_scales"];
    let tensors = names.into_iter().filter_map(|name| {
        let view = file.tensor(name).ok()?;
        Some((name, view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    });
    Forged { metadata, tensors: tensors.collect() }
}

#[test]
fn forged_files_are_refused_with_what_is_wrong() {
    type Change = fn(&mut Forged);
    let nan = f32::NAN.to_le_bytes();
    assert_eq!(nan, [0, 0, 0xc0, 0x7f]);
    let cases: &[(Precision, Change, &[&str])] = &[
        (Precision::F32, |f| f.unset("format"), &["not a saved memory"]),
        (Precision::F32, |f| f.metadata.clear(), &["not a saved memory"]),
        (Precision::F32, |f| f.set("format", "another"), &["not a saved memory"]),
        (Precision::F32, |f| f.unset("version"), &["version", "reads versions 2 and 3"]),
        (Precision::F32, |f| f.set("version", "4"), &["version 4", "reads versions up to 3", "newer"]),
        (Precision::F32, |f| f.set("version", "1"), &["\"1\"", "reads versions 2 and 3"]),
        (Precision::F32, |f| f.set("version", "0"), &["\"0\"", "reads versions 2 and 3"]),
        (Precision::F32, |f| f.set("version", "one"), &["\"one\"", "reads versions 2 and 3"]),
        (Precision::F32, |f| f.unset("crc32.metadata"), &["`crc32.metadata` is missing"]),
        (Precision::F32, |f| f.unset("crc32.bias"), &["`crc32.bias` is missing"]),
        (Precision::F32, |f| f.set("saturate", "1"), &["`saturate`", "true or false"]),
        (Precision::F32, |f| f.set("similarity", "hamming"), &["`similarity`", "hamming", "unknown"]),
        (Precision::F32, |f| f.set("separation", "hardmax"), &["`separation`", "hardmax", "unknown"]),
        (Precision::F32, |f| f.set("separation", "entmax"), &["`alpha` is missing"]),
        (
            Precision::F32,
            |f| {
                f.set("separation", "entmax");
                f.set("alpha", "1");
            },
            &["`alpha` is 1", "above 1"],
        ),
        (
            Precision::F32,
            |f| {
                f.set("separation", "entmax");
                f.set("alpha", "NaN");
            },
            &["`alpha` is NaN"],
        ),
        (Precision::F32, |f| f.set("separation", "topk"), &["`k` is missing"]),
        (
            Precision::F32,
            |f| {
                f.set("separation", "topk");
                f.set("k", "0");
            },
            &["`k` is 0", "at least 1"],
        ),
        (
            Precision::F32,
            |f| {
                f.set("separation", "topk");
                f.set("k", "-1");
            },
            &["`k` is \"-1\""],
        ),
        (Precision::F32, |f| f.set("beta", "inf"), &["`beta` is inf", "finite"]),
        (Precision::F32, |f| f.set("beta", "hot"), &["`beta` is \"hot\"", "a number"]),
        (Precision::F32, |f| f.unset("beta"), &["`beta` is missing"]),
        (Precision::F32, |f| f.set("dim", "0"), &["`dim` is 0"]),
        (Precision::F32, |f| f.set("dim", "4"), &["keys is F32 4 x 3", "expected F32 4 x 4"]),
        (Precision::F32, |f| f.set("dim", "99999999999999999999"), &["`dim`"]),
        (Precision::F32, |f| f.set("value_dim", "3"), &["values is F32 4 x 2", "expected F32 4 x 3"]),
        (Precision::F32, |f| f.set("precision", "f64"), &["`precision`", "f64"]),
        (Precision::F32, |f| f.set("precision", "f16"), &["keys is F32", "expected F16"]),
        (Precision::F32, |f| f.set("precision", "i8"), &["keys is F32", "expected I8"]),
        (Precision::F32, |f| f.set("bias", "maybe"), &["`bias`", "maybe", "true or false"]),
        (Precision::F32, |f| f.set("next_id", "9223372036854775809"), &["`next_id`", "at most"]),
        (Precision::F32, |f| f.set("next_id", "3"), &["ids", "position 3 has the id 3", "next to be given is 3"]),
        (
            Precision::F32,
            |f| {
                f.without("ids");
                f.set("next_id", "3");
            },
            &["4 patterns", "next_id is 3"],
        ),
        (Precision::F32, |f| f.set("windows", "3"), &["`windows`", "4 rows"]),
        (Precision::F32, |f| f.set("windows", "4,18446744073709551615"), &["`windows`", "4 rows"]),
        (Precision::F32, |f| f.set("windows", "4,0"), &["`windows`", "without rows"]),
        (Precision::F32, |f| f.set("windows", "4;"), &["`windows`"]),
        (Precision::F32, |f| f.set("windows", &"1,".repeat(70_000)), &["`windows`", "more than"]),
        (Precision::F32, |f| f.without("keys"), &["keys: no tensor"]),
        (Precision::F32, |f| f.without("values"), &["values: no tensor"]),
        (Precision::F32, |f| f.without("bias"), &["bias: no tensor"]),
        (Precision::F32, |f| f.tensor("keys").2 = vec![12], &["keys is F32 (12,)"]),
        (Precision::F32, |f| f.tensor("values").2 = vec![2, 4], &["values is F32 2 x 4"]),
        (Precision::F32, |f| f.tensor("bias").2 = vec![4, 1], &["bias is F32 4 x 1"]),
        (Precision::F32, |f| f.tensor("ids").1 = Dtype::I64, &["ids is I64"]),
        (Precision::F32, |f| f.put("ids", 2, 0u64.to_le_bytes()), &["ids", "positions 0 and 2 both have the id 0"]),
        (Precision::F32, |f| f.put("keys", 7, f32::NAN.to_le_bytes()), &["keys row 2, column 1", "not finite"]),
        (Precision::F32, |f| f.put("keys", 3, f32::NAN.to_le_bytes()), &["keys row 1, column 0", "not finite"]),
        (Precision::F32, |f| f.put("values", 7, f32::INFINITY.to_le_bytes()), &["values row 3, column 1"]),
        (Precision::F32, |f| f.put("bias", 2, f32::NEG_INFINITY.to_le_bytes()), &["bias row 2", "-inf", "not finite"]),
        (Precision::F16, |f| f.put("keys", 7, 0x7c00u16.to_le_bytes()), &["keys row 2, column 1", "not finite"]),
        (Precision::F16, |f| f.put("values", 0, 0xfe00u16.to_le_bytes()), &["values row 0, column 0", "not finite"]),
        (Precision::I8, |f| f.put("keys", 4, [0x80]), &["keys row 1, column 1", "-128"]),
        (Precision::I8, |f| f.put("key_scales", 2, (-1.0f32).to_le_bytes()), &["key_scales row 2 is -1"]),
        (Precision::I8, |f| f.put("key_scales", 2, f32::NAN.to_le_bytes()), &["key_scales row 2 is NaN"]),
        (Precision::I8, |f| f.put("value_scales", 3, f32::MAX.to_le_bytes()), &["value_scales row 3"]),
        (Precision::I8, |f| f.without("key_scales"), &["key_scales: no tensor"]),
        (Precision::I8, |f| f.without("value_scales"), &["value_scales: no tensor"]),
        (Precision::I8, |f| f.set("precision", "f32"), &["keys is I8", "expected F32"]),
    ];
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.safetensors");
    for precision in Precision::ALL {
        fs::write(&path, forged(precision).bytes()).unwrap();
        assert_eq!(Memory::load(&Device::cpu(), &path).unwrap().len(), 3, "the forger's tools are sound");
    }
    for (i, (precision, change, words)) in cases.iter().enumerate() {
        let mut file = forged(*precision);
        change(&mut file);
        fs::write(&path, file.bytes()).unwrap();
        for (name, device) in harness::devices() {
            let error = Memory::load(device, &path).unwrap_err();
            assert!(matches!(error, Error::File { operation: "Memory::load", .. }), "case {i} on {name}: {error:?}");
            let text = error.to_string();
            let all = words.iter().all(|word| text.contains(word));
            assert!(all && text.contains("m.safetensors"), "case {i} on {name}: {text}");
        }
    }
    // What this version does not know of may be there.
    let mut file = forged(Precision::F32);
    file.set("note", "of mine");
    file.tensors.push(("labels", Dtype::U8, vec![4], vec![1, 2, 3, 4]));
    fs::write(&path, file.bytes()).unwrap();
    assert_eq!(Memory::load(&Device::cpu(), &path).unwrap().len(), 3);
}

#[test]
fn headers_that_claim_the_world_are_refused_at_once() {
    if !harness::runs_on("cpu") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.safetensors");
    let metadata = r#""__metadata__":{"format":"attractor.memory","version":"2","similarity":"dot","separation":"softmax",
        "beta":"1","dim":"4","precision":"f32","bias":"false","next_id":"1152921504606846976"}"#;
    let rows = 1u64 << 60;
    let tensor =
        |rows: u64, from: u64, to: u64| format!(r#"{{"dtype":"F32","shape":[{rows},4],"data_offsets":[{from},{to}]}}"#);
    let start = std::time::Instant::now();
    for (tensors, data) in [
        (format!(r#""keys":{}"#, tensor(rows, 0, 64)), 64),
        (format!(r#""keys":{}"#, tensor(rows, 0, u64::MAX)), 64),
        (format!(r#""keys":{}"#, tensor(1 << 40, 0, 1 << 44)), 64),
        (format!(r#""keys":{}"#, tensor(u64::MAX, 0, 64)), 64),
        (format!(r#""keys":{},"more":{}"#, tensor(4, 0, 64), tensor(4, 32, 96)), 96),
        (format!(r#""keys":{},"more":{}"#, tensor(4, 0, 64), tensor(4, 0, 64)), 64),
        (format!(r#""keys":{}"#, tensor(4, 64, 128)), 128),
    ] {
        let header = format!("{{{metadata},{tensors}}}");
        let file = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &vec![0; data]].concat();
        fs::write(&path, file).unwrap();
        let error = Memory::load(&Device::cpu(), &path).unwrap_err().to_string();
        assert!(error.contains("truncated or damaged"), "{error}");
    }
    for length in [u64::MAX, 1 << 60, 100_000_001, 3] {
        fs::write(&path, [&length.to_le_bytes()[..], b"{}"].concat()).unwrap();
        assert!(Memory::load(&Device::cpu(), &path).is_err());
    }
    assert!(start.elapsed().as_secs() < 5);
    for (bytes, word) in [(&b""[..], "empty"), (b"\x93NUMPY", "truncated"), (b"{}", "truncated")] {
        fs::write(&path, bytes).unwrap();
        let error = Memory::load(&Device::cpu(), &path).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    let error = Memory::load(&Device::cpu(), folder.path().join("gone")).unwrap_err();
    let Error::File { source: Some(source), .. } = &error else { panic!("{error:?}") };
    assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    assert!(Memory::load(&Device::cpu(), folder.path()).unwrap_err().to_string().contains("not a regular file"));
}

fn write_npy(path: &Path, dtype: &str, shape: &str, data: &[u8]) {
    let mut header = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let length = (header.len() as u16).to_le_bytes();
    fs::write(path, [&b"\x93NUMPY\x01\x00"[..], &length, header.as_bytes(), data].concat()).unwrap();
}

fn f16_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| half::f16::from_f32(*value).to_le_bytes()).collect()
}

#[test]
fn files_are_imported_like_slices_are_added() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    // Whole halves, so that f16 files say the same as f32 ones.
    let mut numbers = Rng(3);
    let mut halves = |count| -> Vec<f32> {
        numbers.vector(count).iter().map(|value| half::f16::from_f32(*value).to_f32()).collect()
    };
    let (keys, values, bias) = (halves(30 * 5), halves(30 * 3), halves(30));
    let floats = |values: &[f32]| -> Vec<u8> { values.iter().flat_map(|value| value.to_le_bytes()).collect() };
    write_npy(&at("k32.npy"), "<f4", "(30, 5)", &floats(&keys));
    write_npy(&at("k16.npy"), "<f2", "(30, 5)", &f16_bytes(&keys));
    write_npy(&at("v16.npy"), "<f2", "(30, 3)", &f16_bytes(&values));
    write_npy(&at("b.npy"), "<f4", "(30, 1)", &floats(&bias));
    let mut all = Forged { metadata: HashMap::new(), tensors: Vec::new() };
    all.tensors.push(("k", Dtype::F32, vec![30, 5], floats(&keys)));
    all.tensors.push(("half", Dtype::F16, vec![30, 5], f16_bytes(&keys)));
    all.tensors.push(("v", Dtype::F32, vec![30, 3], floats(&values)));
    all.tensors.push(("b", Dtype::F16, vec![30], f16_bytes(&bias)));
    let all = all.bytes();
    fs::write(at("all.safetensors"), &all).unwrap();
    // The same with the data at an odd place: headers need no padding.
    let length = u64::from_le_bytes(all[..8].try_into().unwrap()) + 1;
    let (header, data) = all[8..].split_at(length as usize - 1);
    fs::write(at("odd.safetensors"), [&length.to_le_bytes(), header, b" ", data].concat()).unwrap();
    let tensor = |file: &str, name: &str| Address::safetensors(at(file), name);
    for (name, device) in harness::quick_devices() {
        for precision in Precision::ALL {
            for (i, (k, v, b)) in [
                (Address::npy(at("k32.npy")), Address::npy(at("v16.npy")), Address::npy(at("b.npy"))),
                (Address::npy(at("k16.npy")), tensor("all.safetensors", "v"), tensor("all.safetensors", "b")),
                (tensor("all.safetensors", "half"), tensor("odd.safetensors", "v"), tensor("odd.safetensors", "b")),
                (tensor("odd.safetensors", "k"), Address::npy(at("v16.npy")), Address::npy(at("b.npy"))),
            ]
            .into_iter()
            .enumerate()
            {
                let files = PatternFiles::open(&k).unwrap().values(&v).unwrap().bias(&b).unwrap();
                assert_eq!((files.len(), files.dim(), files.value_dim()), (30, 5, Some(3)));
                let build = || {
                    let options = files.options(Rule::softmax(0.5)).precision(precision).window_bytes(32 * 16);
                    let mut memory = options.build(device).unwrap();
                    let ids = add(&mut memory, &mut Rng(1), 4, true, true);
                    memory.remove(ids[2]).unwrap();
                    memory.remove(ids[1]).unwrap();
                    memory
                };
                let (mut imported, mut added) = (build(), build());
                let ids = imported.import(&files).unwrap();
                let patterns = Patterns::new(&keys).values(&values).bias(&bias);
                assert_eq!(ids, added.add(patterns).unwrap());
                alike(&format!("{name} {precision:?} {i}"), &imported, &added);
                answer_alike(&format!("{name} {precision:?} {i}"), &imported, &added);
            }
        }
    }
}

/// More than one chunk of an import, one piece of a save, and one of a load.
#[test]
fn chunks_join_and_an_error_in_a_later_one_changes_nothing() {
    const ROWS: usize = 1500;
    const DIM: usize = 3001;
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut keys = Rng(8).vector(ROWS * DIM);
    let shape = [ROWS, DIM];
    write_tensors(&at("good.safetensors"), &[NewTensor::f32("k", &shape, &keys)]).unwrap();
    let files = PatternFiles::open(&Address::safetensors(at("good.safetensors"), "k")).unwrap();
    let bad = 1450;
    keys[bad * DIM + 17] = f32::NAN;
    write_tensors(&at("bad.safetensors"), &[NewTensor::f32("k", &shape, &keys)]).unwrap();
    let broken = PatternFiles::open(&Address::safetensors(at("bad.safetensors"), "k")).unwrap();
    keys[bad * DIM + 17] = 0.0;
    for (name, device) in harness::quick_devices() {
        let build = || {
            let mut memory = Memory::new(device, DIM, Rule::softmax(0.01)).unwrap();
            memory.add(&Rng(2).vector(3 * DIM)).unwrap();
            memory.remove(PatternId(1)).unwrap();
            memory
        };
        let (mut memory, untouched) = (build(), build());
        let mut reports = Vec::new();
        let error = memory.import_with_progress(&broken, |progress| {
            reports.push((progress.done, progress.total));
            ControlFlow::Continue(())
        });
        let error = error.unwrap_err();
        assert_eq!(reports, [(1397, 1500)], "{name}: the second chunk fails");
        let text = error.to_string();
        assert!(text.contains("bad.safetensors:k: keys row 1450, column 17 is NaN"), "{name}: {text}");
        alike(name, &memory, &untouched);
        answer_alike(name, &memory, &untouched);
        // The next import begins where this one would have.
        assert_eq!(memory.import(&files).unwrap().get(0), Some(PatternId(3)), "{name}");
        let rows = |memory: &Memory, i: usize| memory.get(PatternId(3 + i as u64)).unwrap().key;
        for i in [0, 1, 1395, 1396, 1397, 1398, 1449, 1451, 1499] {
            assert_eq!(rows(&memory, i), keys[i * DIM..(i + 1) * DIM], "{name} row {i}");
        }
        assert_eq!((memory.len(), memory.position_count()), (1502, 1502));
        memory.save(at("saved.safetensors")).unwrap();
        let loaded = Memory::load(device, at("saved.safetensors")).unwrap();
        answer_alike(name, &loaded, &memory);
        loaded.save(at("again.safetensors")).unwrap();
        let same = fs::read(at("saved.safetensors")).unwrap() == fs::read(at("again.safetensors")).unwrap();
        assert!(same, "{name}");
    }
}

#[test]
fn patterns_that_do_not_fit_are_refused_with_both_shapes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("t.safetensors");
    let tensors = [
        NewTensor::f32("k", &[3, 4], vec![1.0; 12]),
        NewTensor::f32("v", &[3, 2], vec![1.0; 6]),
        NewTensor::f32("v4", &[4, 2], vec![1.0; 8]),
        NewTensor::f32("b", &[1, 3], vec![1.0; 3]),
        NewTensor::f32("b2", &[2], vec![1.0; 2]),
        NewTensor::u32("whole", &[3, 4], vec![1; 12]),
        NewTensor::bool("flags", &[3], &[true; 3]),
    ];
    write_tensors(&path, &tensors).unwrap();
    let at = |name: &str| Address::safetensors(&path, name);
    let keys = || PatternFiles::open(&at("k")).unwrap();
    let refused = |error: Error, words: &[&str]| {
        let text = error.to_string();
        assert!(matches!(error, Error::File { .. }) && words.iter().all(|word| text.contains(word)), "{text}");
    };
    refused(keys().values(&at("v4")).unwrap_err(), &["v4 are 4 x 2", "k are 3 x 4", "as many rows"]);
    refused(keys().bias(&at("b2")).unwrap_err(), &["b2 is (2,)", "k are 3 x 4", "3, 1 x 3 or 3 x 1"]);
    refused(PatternFiles::open(&at("whole")).unwrap_err(), &["keys have dtype U32", "f32, f16, bf16 or f64"]);
    refused(PatternFiles::open(&at("flags")).unwrap_err(), &["keys have dtype U8"]);
    refused(PatternFiles::open(&at("b2")).unwrap_err(), &["(2,)", "two dimensions"]);
    refused(PatternFiles::open(&at("x")).unwrap_err(), &["no tensor", "flags"]);
    let rule = Rule::softmax(1.0);
    for (name, device) in harness::devices() {
        let refuses = |options: MemoryOptions, files: &PatternFiles, words: &[&str]| {
            let mut memory = options.build(device).unwrap();
            refused(memory.import(files).unwrap_err(), words);
            assert_eq!((memory.len(), memory.capacity()), (0, 0), "{name}");
        };
        refuses(MemoryOptions::new(5, rule), &keys(), &["k are 3 x 4", "N x 5"]);
        refuses(MemoryOptions::new(4, rule).value_dim(2), &keys(), &["k are 3 x 4", "values of N x 2"]);
        let both = keys().values(&at("v")).unwrap();
        refuses(MemoryOptions::new(4, rule), &both, &["v are 3 x 2", "keys alone"]);
        refuses(MemoryOptions::new(4, rule).value_dim(3), &both, &["v are 3 x 2", "N x 3"]);
        refuses(MemoryOptions::new(4, rule), &keys().bias(&at("b")).unwrap(), &["b is 1 x 3", "no bias"]);
        // A memory with biases takes patterns without.
        let mut memory = MemoryOptions::new(4, rule).bias().build(device).unwrap();
        assert_eq!(memory.import(&keys()).unwrap().len(), 3, "{name}");
    }
}

/// The input that is beyond halves, its row, and a way to store it.
type Store<'s> = (&'s str, usize, Box<dyn Fn(&mut Memory) -> attractor::Result<()> + 's>);

/// Rows that halves cannot hold: every way in refuses them, naming the row, unless the memory saturates.
#[test]
fn rows_beyond_halves_are_refused_unless_the_memory_saturates() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let good = [1.0, 65_519.0, -65_504.0, 2.0, 3.0, 4.0];
    for (name, device) in harness::quick_devices() {
        let build = |saturate: bool| {
            let options = MemoryOptions::new(2, Rule::softmax(1.0)).value_dim(2).precision(Precision::F16);
            let mut memory = if saturate { options.saturate() } else { options }.build(device).unwrap();
            memory.add(Patterns::new(&good).values(&good)).unwrap();
            memory
        };
        for beyond in [65_520.0, -1e5, f32::MAX, f32::MIN] {
            let mut bad = good;
            bad[3] = beyond;
            write_npy(&at("good.npy"), "<f4", "(3, 2)", bytemuck::cast_slice(&good));
            write_npy(&at("bad.npy"), "<f4", "(3, 2)", bytemuck::cast_slice(&bad));
            let files = |keys: &str, values: &str| {
                let keys = PatternFiles::open(&Address::npy(at(keys))).unwrap();
                keys.values(&Address::npy(at(values))).unwrap()
            };
            let patterns = |keys, values| Patterns::new(keys).values(values);
            let stores: [Store<'_>; 7] = [
                ("keys", 1, Box::new(|m| m.add(Patterns::new(&bad).values(&good)).map(drop))),
                ("values", 1, Box::new(|m| m.add(Patterns::new(&good).values(&bad)).map(drop))),
                ("keys", 1, Box::new(|m| m.add(patterns(&bad, &good)).map(drop))),
                ("keys", 0, Box::new(|m| m.update(PatternId(0), patterns(&bad[2..4], &good[..2])))),
                ("values", 0, Box::new(|m| m.update(PatternId(0), patterns(&good[..2], &bad[2..4])))),
                ("keys", 1, Box::new(|m| m.import(&files("bad.npy", "good.npy")).map(drop))),
                ("values", 1, Box::new(|m| m.import(&files("good.npy", "bad.npy")).map(drop))),
            ];
            for (i, (input, expected, store)) in stores.iter().enumerate() {
                let (mut memory, untouched) = (build(false), build(false));
                match store(&mut memory).unwrap_err() {
                    Error::Range { what, row, got, .. } => {
                        assert_eq!((what, row), (*input, *expected), "{name} {i}");
                        assert!(got.contains("column 1"), "{name} {i}: {got}");
                    }
                    error => panic!("{name} {i}: {error:?}"),
                }
                alike(&format!("{name} {i}"), &memory, &untouched);
                let mut memory = build(true);
                store(&mut memory).unwrap();
                let stored = memory.get(PatternId(if memory.len() == 3 { 0 } else { 4 })).unwrap();
                let row = if *input == "keys" { stored.key } else { stored.value.unwrap() };
                assert_eq!(row[1], 65_504f32.copysign(beyond), "{name} {i}");
            }
        }
    }
}

#[test]
fn doubles_and_bfloats_are_rounded() {
    if !harness::runs_on("cpu") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let doubles = [1.0f64, 1e-60, -0.1, 1.0 / 3.0, f64::from(f32::MAX), 3.402_823_5e38];
    let bytes: Vec<u8> = doubles.iter().flat_map(|v| v.to_le_bytes()).collect();
    write_npy(&at("d.npy"), "<f8", "(3, 2)", &bytes);
    let bfloats = [1.0f32, -3.0, 0.15625, 1e38, 2.0, 0.0].map(half::bf16::from_f32);
    let tensors = [
        ("d", Dtype::F64, bytes.clone()),
        ("b", Dtype::BF16, bfloats.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("nan", Dtype::BF16, [half::bf16::NAN; 6].iter().flat_map(|v| v.to_le_bytes()).collect()),
        ("large", Dtype::F64, [1.0, 2.0, 3.0, 4.0, 5.0, 3.5e38].iter().flat_map(|v: &f64| v.to_le_bytes()).collect()),
    ];
    let mut all = Forged { metadata: HashMap::new(), tensors: Vec::new() };
    all.tensors.extend(tensors.map(|(name, dtype, bytes)| (name, dtype, vec![3, 2], bytes)));
    fs::write(at("t.safetensors"), all.bytes()).unwrap();
    let read = |address: Address| {
        let files = PatternFiles::open(&address)?;
        let mut memory = files.options(Rule::softmax(1.0)).build(&Device::cpu())?;
        let ids: Vec<PatternId> = memory.import(&files)?.iter().collect();
        Ok::<Vec<f32>, Error>(ids.into_iter().flat_map(|id| memory.get(id).unwrap().key).collect())
    };
    let tensor = |name: &str| Address::safetensors(at("t.safetensors"), name);
    let rounded = doubles.map(|v| v as f32);
    assert_eq!(bits(&read(Address::npy(at("d.npy"))).unwrap()), bits(&rounded));
    assert_eq!(bits(&read(tensor("d")).unwrap()), bits(&rounded));
    assert_eq!(read(tensor("b")).unwrap(), bfloats.map(half::bf16::to_f32));
    for (name, words) in
        [("nan", "row 0, column 0 is NaN"), ("large", "row 2, column 1 is 3.5e38, which is not finite in f32")]
    {
        let error = read(tensor(name)).unwrap_err();
        assert!(matches!(error, Error::File { .. }) && error.to_string().contains(words), "{error}");
    }
}

#[test]
fn a_saved_memory_is_not_read_as_bare_patterns() {
    if !harness::runs_on("cpu") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.safetensors");
    for precision in Precision::ALL {
        fs::write(&path, forged(precision).bytes()).unwrap();
        let at = |name: &str| Address::safetensors(&path, name);
        for error in [
            PatternFiles::open(&at("keys")).unwrap_err(),
            Tensor::open(Role::Values, &at("values")).unwrap_err(),
            Tensor::open(Role::Bias, &at("bias")).unwrap_err(),
        ] {
            let text = error.to_string();
            let words = ["a saved memory", "Memory::load", "--memory", "m.safetensors"];
            assert!(words.iter().all(|word| text.contains(word)), "{text}");
        }
    }
}

#[test]
fn a_saved_memory_tells_what_it_is_and_takes_another_rule() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.safetensors");
    let (first, second) = (Rule::softmax(2.0), Rule::new(Similarity::Euclidean, Separation::Sparsemax, 0.5));
    for (name, device) in harness::quick_devices() {
        let build = |rule| {
            let mut memory = MemoryOptions::new(3, rule).value_dim(2).precision(Precision::F16).build(device).unwrap();
            let ids = add(&mut memory, &mut Rng(5), 40, true, false);
            memory.remove(ids[7]).unwrap();
            memory
        };
        build(first).save(&path).unwrap();
        let saved = SavedMemory::open(&path).unwrap();
        assert_eq!((saved.rule(), saved.dim(), saved.value_dim()), (first, 3, Some(2)));
        assert_eq!((saved.precision(), saved.position_count(), saved.path()), (Precision::F16, 40, path.as_path()));
        for (options, rule) in [(LoadOptions::default(), first), (LoadOptions::default().rule(second), second)] {
            let (loaded, expected) = (saved.load(device, &options).unwrap(), build(rule));
            alike(name, &loaded, &expected);
            answer_alike(name, &loaded, &expected);
        }
        let nonsense = LoadOptions::default().rule(Rule::softmax(f32::NAN));
        assert!(matches!(saved.load(device, &nonsense), Err(Error::Parameter { .. })), "{name}");
    }
}

/// As many windows as a file may name: each costs the same.
#[test]
fn many_windows_are_loaded_in_time_that_grows_with_their_number() {
    if !harness::runs_on("cpu") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("m.safetensors");
    let load = |windows: usize| {
        let mut memory = MemoryOptions::new(4, Rule::softmax(1.0)).window_bytes(16).build(&Device::cpu()).unwrap();
        memory.add(&Rng(1).vector(4 * windows)).unwrap();
        memory.save(&path).unwrap();
        let start = std::time::Instant::now();
        let loaded = Memory::load(&Device::cpu(), &path).unwrap();
        let time = start.elapsed();
        assert_eq!((loaded.len(), loaded.capacity()), (windows, windows));
        time
    };
    let (few, many) = (load(1 << 13), load(1 << 16));
    println!("8,192 windows in {few:.1?}, 65,536 in {many:.1?}");
    assert!(many.as_secs_f64() < 1.5, "65,536 windows take {many:?}");
}

/// A file that becomes shorter after it was opened: an error, and the memory is as it was.
#[test]
fn a_file_that_is_truncated_while_it_is_read_is_an_error() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let keys = Rng(8).vector(2000 * 64);
    for (name, device) in harness::quick_devices() {
        for length in [100, 200_000] {
            write_npy(&at("k.npy"), "<f4", "(2000, 64)", bytemuck::cast_slice(&keys));
            let files = PatternFiles::open(&Address::npy(at("k.npy"))).unwrap();
            let queries = Tensor::open(Role::Queries, &Address::npy(at("k.npy"))).unwrap();
            let build = || {
                let mut memory = Memory::new(device, 64, Rule::softmax(1.0)).unwrap();
                memory.add(&keys[..6400]).unwrap();
                memory
            };
            let (mut memory, untouched) = (build(), build());
            memory.save(at("m.safetensors")).unwrap();
            let saved = SavedMemory::open(at("m.safetensors")).unwrap();
            for file in ["k.npy", "m.safetensors"] {
                fs::File::options().write(true).open(at(file)).unwrap().set_len(length.min(20_000)).unwrap();
            }
            let errors = [
                memory.import(&files).map(drop).unwrap_err(),
                queries.floats(0..queries.len()).map(drop).unwrap_err(),
                saved.load(device, &LoadOptions::default()).map(drop).unwrap_err(),
            ];
            for error in errors {
                let text = error.to_string();
                assert!(matches!(error, Error::File { .. }) && text.contains("truncated while it was read"), "{text}");
            }
            alike(name, &memory, &untouched);
        }
    }
}

/// Stops the writer, also when a check fails.
struct Stop<'a>(&'a std::sync::atomic::AtomicBool);
impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Another thread writes NaN, truncates and extends the file in place all the while: nothing that is stored is NaN, and
/// nothing ends the process.
#[test]
fn files_that_change_while_they_are_read_do_no_harm() {
    use std::sync::atomic::{AtomicBool, Ordering};
    if !harness::runs_on("cpu") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (keys, saved) = (folder.path().join("k.npy"), folder.path().join("m.safetensors"));
    let (rows, dim) = (3000, 64);
    let floats = vec![0.5f32; rows * dim];
    write_npy(&keys, "<f4", &format!("({rows}, {dim})"), bytemuck::cast_slice(&floats));
    let mut memory = Memory::new(&Device::cpu(), dim, Rule::softmax(1.0)).unwrap();
    memory.add(&floats).unwrap();
    memory.save(&saved).unwrap();
    let whole = [&keys, &saved].map(|path| fs::read(path).unwrap());
    let stop = AtomicBool::new(false);
    let (mut imports, mut loads) = ([0; 2], [0; 2]);
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            let mut numbers = Rng(4);
            let files = [&keys, &saved].map(|path| fs::File::options().write(true).open(path).unwrap());
            while !stop.load(Ordering::Relaxed) {
                for (file, whole) in files.iter().zip(&whole) {
                    let at = (whole.len() / 4 + (numbers.bits() % (whole.len() as u64 / 2)) as usize) & !3;
                    let put = |bytes: &[u8]| {
                        let mut file = file;
                        file.seek(SeekFrom::Start(at as u64)).unwrap();
                        file.write_all(bytes).unwrap();
                    };
                    if numbers.bits().is_multiple_of(4) {
                        file.set_len(at as u64).unwrap();
                        put(&whole[at..]);
                    } else {
                        put(&f32::NAN.to_le_bytes());
                        std::thread::yield_now();
                        put(&whole[at..at + 4]);
                    }
                }
            }
        });
        let start = std::time::Instant::now();
        while start.elapsed().as_secs_f64() < 3.0 {
            let imported = PatternFiles::open(&Address::npy(&keys)).and_then(|files| {
                let mut memory = files.options(Rule::softmax(1.0)).build(&Device::cpu())?;
                memory.import(&files).map(|_| memory)
            });
            let loaded = Memory::load(&Device::cpu(), &saved);
            for (result, counts) in [(imported, &mut imports), (loaded, &mut loads)] {
                match result {
                    Ok(memory) => {
                        counts[0] += 1;
                        for position in 0..memory.len() {
                            let row = memory.get(memory.id_at(position).unwrap()).unwrap().key;
                            assert!(row.iter().all(|v| v.is_finite()), "position {position}");
                        }
                    }
                    Err(error) => {
                        counts[1] += 1;
                        assert!(matches!(error, Error::File { .. }), "{error:?}");
                    }
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    println!(
        "{} imports and {} loads went through, {} and {} were refused",
        imports[0], loads[0], imports[1], loads[1]
    );
    assert!(imports[1] + loads[1] > 0, "the writer was not seen");
}
