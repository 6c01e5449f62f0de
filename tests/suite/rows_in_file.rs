//! Memories whose rows stay in their file: answers are bit-exact those of memories in host memory, and a file that has
//! changed is refused.

use std::fs::{self, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use attractor::files::{Address, NewTensor, PatternFiles, write_tensors};
use attractor::keyed::{Entries, KeyedMemory};
use attractor::partial::PartialOptions;
use attractor::retrieval::WeightsOf;
use attractor::{
    Device, Error, LoadOptions, Mask, Memory, MemoryOptions, PatternId, Patterns, Precision, RetrieveOptions, Rule,
    SearchOptions, Separation, Similarity,
};
use harness::Rng;
use tempfile::TempDir;

fn rules() -> [Rule; 6] {
    [
        Rule::softmax(0.7),
        Rule::new(Similarity::Euclidean, Separation::Softmax1, 0.5),
        Rule::new(Similarity::Dot, Separation::Sparsemax, 1.5),
        Rule::new(Similarity::Cosine, Separation::Entmax { alpha: 1.5 }, 6.0),
        Rule::new(Similarity::Manhattan, Separation::Entmax { alpha: 2.5 }, 0.3),
        Rule::new(Similarity::Cosine, Separation::TopK { k: 7 }, 4.0),
    ]
}

/// A memory of `rows` patterns with values and biases, of which some were removed, in several windows.
fn memory(device: &Device, rule: Rule, precision: Precision, dim: usize, rows: usize) -> Memory {
    let options = MemoryOptions::new(dim, rule).value_dim(6).bias().precision(precision).window_bytes(100_000);
    let (mut memory, mut rng) = (options.build(device).unwrap(), Rng(5));
    let (keys, values, bias) = (rng.vector(rows * dim), rng.vector(rows * 6), rng.vector(rows));
    memory.add(Patterns::new(&keys).values(&values).bias(&bias)).unwrap();
    for id in [3, 77, rows as u64 - 1] {
        memory.remove(PatternId(id)).unwrap();
    }
    memory
}

fn in_file(device: &Device, path: &Path) -> Memory {
    Memory::load_with(device, path, &LoadOptions::default().rows_in_file()).unwrap()
}

#[track_caller]
fn alike(what: &str, memories: [&Memory; 2], batch: usize) {
    let queries = Rng(9).vector(batch * memories[0].dim());
    let kept: Vec<bool> = (0..memories[0].position_count()).map(|position| position % 11 < 2).collect();
    let everything = RetrieveOptions::steps(3).statistics().top(4).weights(WeightsOf::All);
    for options in [RetrieveOptions::default(), everything, RetrieveOptions::default().mask(Mask::keep(&kept))] {
        let answers = memories.map(|memory| memory.retrieve_blocking(&queries, &options).unwrap());
        assert_eq!(answers[0].output, answers[1].output, "{what}");
        assert_eq!(answers[0], answers[1], "{what}");
        let later = pollster::block_on(memories[0].retrieve(&queries, &options).unwrap()).unwrap();
        assert_eq!(later, answers[1], "{what}");
    }
    let hits = memories.map(|memory| memory.search_blocking(&queries, 6).unwrap());
    assert_eq!(hits[0], hits[1], "{what}");
    let states = memories.map(|memory| memory.retrieve_partial_blocking(&queries, &PartialOptions::default()).unwrap());
    assert_eq!(states[0], states[1], "{what}");
}

#[test]
fn rows_in_a_file_answer_as_rows_in_memory() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.safetensors");
    for (name, device) in harness::quick_devices() {
        for (i, rule) in rules().into_iter().enumerate() {
            // Every precision on the CPU engine, and one elsewhere, where the device has the rows.
            let precisions = if device.is_cpu() { &Precision::ALL[..] } else { &Precision::ALL[i % 4..=i % 4] };
            for precision in precisions {
                // Keys that need padding, and keys that do not.
                let dim = [13, 12][i % 2];
                memory(device, rule, *precision, dim, 700).save(&path).unwrap();
                let (kept, loaded) = (in_file(device, &path), Memory::load(device, &path).unwrap());
                for batch in [1, 40] {
                    alike(&format!("{name} {rule:?} {precision:?} B {batch}"), [&kept, &loaded], batch);
                }
                for id in [0, 4, 500, 698].map(PatternId) {
                    assert_eq!(kept.get(id).unwrap(), loaded.get(id).unwrap(), "{name} {precision:?}");
                }
                // On another engine, and in another file: the same rows.
                let mut rebuilt = kept.rebuild(&Device::cpu()).unwrap();
                alike(&format!("rebuilt {precision:?}"), [&rebuilt, &loaded.rebuild(&Device::cpu()).unwrap()], 2);
                assert!(matches!(rebuilt.reserve(1), Err(Error::Unsupported { .. })), "they stay where they are");
                let again = folder.path().join("again.safetensors");
                kept.save(&again).unwrap();
                assert_eq!(fs::read(&again).unwrap(), fs::read(&path).unwrap(), "{name} {precision:?}");
            }
        }
    }
}

#[test]
fn rows_in_a_file_can_be_removed_but_not_replaced() {
    let folder = TempDir::new().unwrap();
    let (path, tensors) = (folder.path().join("memory.safetensors"), folder.path().join("keys.safetensors"));
    write_tensors(&tensors, &[NewTensor::f32("keys", &[1, 13], vec![0.5; 13])]).unwrap();
    for (name, device) in harness::quick_devices() {
        let rule = Rule::new(Similarity::Cosine, Separation::Sparsemax, 3.0);
        memory(device, rule, Precision::F32, 13, 300).save(&path).unwrap();
        let (mut kept, mut loaded) = (in_file(device, &path), Memory::load(device, &path).unwrap());
        let (key, value) = ([0.5; 13], [0.5; 6]);
        let pattern = || Patterns::new(&key).values(&value);
        let files = PatternFiles::open(&Address::safetensors(&tensors, "keys")).unwrap();
        let refusals = [
            kept.add(pattern()).map(|_| ()).unwrap_err(),
            kept.update(PatternId(5), pattern()).unwrap_err(),
            kept.update_batch(&[PatternId(5)], pattern()).unwrap_err(),
            kept.reserve(10).unwrap_err(),
        ];
        let operations = ["Memory::add", "Memory::update", "Memory::update_batch", "Memory::reserve"];
        for (refused, operation) in refusals.into_iter().zip(operations) {
            assert!(matches!(refused, Error::Unsupported { .. }), "{name}: {refused}");
            assert_eq!(refused.operation(), operation);
        }
        assert!(kept.import(&files).is_err(), "{name}");
        alike(name, [&kept, &loaded], 3);
        for memory in [&mut kept, &mut loaded] {
            memory.remove(PatternId(10)).unwrap();
            memory.remove_batch(&[PatternId(11), PatternId(250)]).unwrap();
        }
        alike(name, [&kept, &loaded], 3);
        // Its own file is replaced, which it still reads; nothing of it is left once all patterns are forgotten.
        kept.save(&path).unwrap();
        alike(name, [&kept, &loaded], 3);
        alike(name, [&in_file(device, &path), &loaded], 3);
        kept.clear();
        kept.add(pattern()).unwrap();
        assert_eq!(kept.search_blocking(&[1.0; 13], 1).unwrap().ids, [kept.id_at(0)], "{name}");
    }
}

/// Every call that needs rows says that the file has changed.
#[track_caller]
fn refused(memory: &Memory, path: &Path, why: &str) {
    let queries = [0.5; 13];
    let refusals = [
        memory.retrieve_blocking(&queries, &RetrieveOptions::default()).map(|_| ()),
        memory.retrieve(&queries, &RetrieveOptions::default()).and_then(pollster::block_on).map(|_| ()),
        memory.search_blocking(&queries, 3).map(|_| ()),
        memory.search(&queries, SearchOptions::default()).and_then(pollster::block_on).map(|_| ()),
        memory.retrieve_partial_blocking(&queries, &PartialOptions::default()).map(|_| ()),
        memory.get(PatternId(0)).map(|_| ()),
        memory.save(path.with_extension("copy")),
        memory.rebuild(&Device::cpu()).map(|_| ()),
    ];
    for refused in refusals {
        match refused {
            Err(Error::File { path: named, why: told, .. }) => {
                assert_eq!(named, path);
                assert!(told.contains(why), "{told}");
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A memory on the CPU engine whose rows are in the file at `path`.
fn open(path: &Path) -> Memory {
    memory(&Device::cpu(), Rule::softmax(1.0), Precision::F32, 13, 300).save(path).unwrap();
    in_file(&Device::cpu(), path)
}

#[test]
fn across_devices_a_file_that_changes_is_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.safetensors");
    // Another program writes to it.
    let memory = open(&path);
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::End(-1)).unwrap();
    file.write_all(&[1]).unwrap();
    file.set_modified(SystemTime::now() + Duration::from_secs(5)).unwrap();
    drop(file);
    refused(&memory, &path, "has changed since a memory was loaded from it");
    // Truncates it: rows that cannot be read are never zeros in an answer.
    let memory = open(&path);
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.set_len(fs::metadata(&path).unwrap().len() / 2).unwrap();
    file.set_modified(modified).unwrap();
    refused(&memory, &path, "memory.safetensors: ");
    // Removes it, or puts another in its place: the open file is as it was.
    let memory = open(&path);
    let expected = memory.search_blocking(&[0.5; 13], 3).unwrap();
    fs::remove_file(&path).unwrap();
    assert_eq!(memory.search_blocking(&[0.5; 13], 3).unwrap(), expected);
    fs::write(&path, b"something else").unwrap();
    assert_eq!(memory.search_blocking(&[0.5; 13], 3).unwrap(), expected);
}

#[test]
fn across_devices_keys_stay_with_rows_in_a_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.safetensors");
    let mut memory = KeyedMemory::<String>::new(Memory::new(&Device::cpu(), 2, Rule::softmax(8.0)).unwrap()).unwrap();
    memory.add(Entries::new(&["east", "north"], &[1.0, 0.0, 0.0, 1.0])).unwrap();
    memory.save(&path).unwrap();
    let options = LoadOptions::default().rows_in_file();
    let mut memory = KeyedMemory::<String>::load_with(&Device::cpu(), &path, &options).unwrap();
    assert_eq!(memory.get("north").unwrap().key, [0.0, 1.0]);
    assert!(matches!(memory.add(Entries::new(&["west"], &[-1.0, 0.0])), Err(Error::Unsupported { .. })));
    memory.remove(&["east"]).unwrap();
    assert_eq!(memory.len(), 1);
    assert!(!memory.contains("west") && !memory.contains("east"));
}
