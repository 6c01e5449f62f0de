//! Keyed memories, batches of changes, and progress that is reported and cancelled, on every device.

use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};

use attractor::files::{Address, KeyType, NewTensor, PatternFiles, SavedMemory, write_tensors};
use attractor::keyed::{Entries, KeyedHits, KeyedMemory};
use attractor::{
    Device, Error, LoadOptions, Memory, MemoryOptions, PatternId, Patterns, Precision, Progress, RetrieveOptions, Rule,
    SearchOptions, Separation, Similarity,
};
use harness::Rng;
use tempfile::TempDir;

const DIM: usize = 3;

fn empty(device: &Device) -> Memory {
    MemoryOptions::new(DIM, Rule::softmax(2.0)).value_dim(2).bias().window_bytes(20 * 16).build(device).unwrap()
}

/// What a keyed memory should hold: key, value, bias and metadata by key.
type Model = BTreeMap<u64, (Vec<f32>, Vec<f32>, f32, Option<String>)>;

#[track_caller]
fn check(what: &str, memory: &KeyedMemory<u64>, model: &Model) {
    assert_eq!((memory.len(), memory.is_empty()), (model.len(), model.is_empty()), "{what}");
    let mut seen = 0;
    for batch in memory.batches(7).unwrap() {
        let batch = batch.unwrap();
        assert!((1..=7).contains(&batch.keys.len()), "{what}");
        let patterns = batch.patterns();
        for (i, key) in batch.keys.iter().enumerate() {
            let (row, value, bias, metadata) = &model[*key];
            assert_eq!(patterns.keys()[i * DIM..(i + 1) * DIM], row[..], "{what} {key}");
            assert_eq!(patterns.get_values().unwrap()[2 * i..2 * i + 2], value[..], "{what} {key}");
            assert_eq!(patterns.get_bias().unwrap()[i], *bias, "{what} {key}");
            assert_eq!(batch.metadata[i], metadata.as_deref(), "{what} {key}");
            seen += 1;
        }
    }
    assert_eq!(seen, model.len(), "{what}");
    assert_eq!(memory.keys().count(), model.len(), "{what}");
    for (key, (row, value, bias, metadata)) in model {
        let id = memory.id_of(key).unwrap();
        assert!(memory.contains(key) && memory.key_of(id) == Some(key), "{what} {key}");
        let pattern = memory.get(key).unwrap();
        assert_eq!((&pattern.key, pattern.value.as_ref(), pattern.bias), (row, Some(value), *bias), "{what} {key}");
        assert_eq!(memory.metadata(key).unwrap(), metadata.as_deref(), "{what} {key}");
    }
}

#[test]
fn random_changes_are_those_of_a_map() {
    for (name, device) in harness::quick_devices() {
        let mut numbers = Rng(41);
        let mut memory = KeyedMemory::<u64>::new(empty(device)).unwrap();
        let mut model = Model::new();
        let mut held = None;
        for round in 0..150 {
            let what = format!("{name} round {round}");
            let count = numbers.below(6);
            let mut keys: Vec<u64> = (0..count).map(|_| numbers.below(40) as u64).collect();
            keys.sort_unstable();
            keys.dedup();
            let turn = numbers.below(keys.len());
            keys.rotate_left(turn);
            let count = keys.len();
            let (rows, values, biases) =
                (numbers.vector(DIM * count), numbers.vector(2 * count), numbers.vector(count));
            let patterns = Patterns::new(&rows).values(&values).bias(&biases);
            let texts: Vec<Option<String>> =
                keys.iter().map(|key| (key % 3 > 0).then(|| format!("[{round}]"))).collect();
            let texts: Vec<Option<&str>> = texts.iter().map(Option::as_deref).collect();
            let described = numbers.once_in(2);
            let entries = Entries::new(&keys, patterns);
            let entries = if described { entries.metadata(&texts) } else { entries };
            let stored = keys.iter().filter(|key| model.contains_key(key)).count();
            let done = match numbers.below(8) {
                0 => {
                    let done = memory.add(entries);
                    assert_eq!(done.is_ok(), stored == 0, "{what}: {done:?}");
                    done.is_ok()
                }
                1 | 2 => {
                    let done = memory.update(entries);
                    assert_eq!(done.is_ok(), stored == count, "{what}: {done:?}");
                    done.is_ok()
                }
                3 | 4 => {
                    assert_eq!(memory.upsert(entries).unwrap(), count - stored, "{what}");
                    true
                }
                5 => {
                    let done = memory.remove(&keys);
                    assert_eq!(done.is_ok(), stored == count, "{what}: {done:?}");
                    if done.is_ok() {
                        for key in &keys {
                            model.remove(key);
                        }
                    }
                    false
                }
                6 => {
                    // What a job sees is not overwritten: entries move.
                    held = match device.is_cpu() || memory.is_empty() {
                        true => None,
                        false => Some(memory.memory().job(&[0.5; DIM], &RetrieveOptions::default()).unwrap()),
                    };
                    false
                }
                _ => {
                    held = None;
                    if round % 40 == 39 {
                        memory.clear();
                        model.clear();
                    }
                    false
                }
            };
            if done {
                for (i, key) in keys.iter().enumerate() {
                    let old = model.get(key).and_then(|(.., metadata)| metadata.clone());
                    let metadata = if described { texts[i].map(String::from) } else { old };
                    let row =
                        (rows[DIM * i..DIM * (i + 1)].to_vec(), values[2 * i..2 * i + 2].to_vec(), biases[i], metadata);
                    model.insert(*key, row);
                }
            }
            check(&what, &memory, &model);
        }
        drop(held);
        let loud = memory.memory().retrieve_blocking(&[0.1; DIM], &RetrieveOptions::default().top(3)).unwrap();
        assert!(loud.top.unwrap().ids.iter().flatten().all(|id| memory.key_of(*id).is_some()), "{name}");
        let rebuilt = memory.rebuild(&Device::cpu()).unwrap();
        check(name, &rebuilt, &model);
    }
}

#[test]
fn refusals_name_the_key_and_change_nothing() {
    for (name, device) in harness::quick_devices() {
        let mut memory = KeyedMemory::<String>::new(Memory::new(device, 2, Rule::softmax(1.0)).unwrap()).unwrap();
        let metadata = [Some("{}"), None];
        memory.add(Entries::new(&["one", "two"], &[1.0, 2.0, 3.0, 4.0]).metadata(&metadata)).unwrap();
        let rows = [9.0; 4];
        let nan = [9.0, 9.0, 9.0, f32::NAN];
        let long = "x".repeat(1000);
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        let new = ["three", "four"];
        let none: [&str; 0] = [];
        let refused = [
            (memory.add(Entries::new(&["new", "two"], &rows)), r#"KeyedMemory::add: the key "two" is stored already"#),
            (
                memory.add(Entries::new(&["a", "a"], &rows)),
                r#"KeyedMemory::add: the key "a" is given twice, at 0 and at 1"#,
            ),
            (memory.add(Entries::new(&new, &rows[..2])), "KeyedMemory::add: expected 2 patterns, got 1 pattern"),
            (memory.add(Entries::new(&new, &rows[..3])), "KeyedMemory::add: expected keys as whole rows of 2 floats"),
            (memory.add(Entries::new(&none, &rows[..2])), "KeyedMemory::add: expected 0 patterns, got 1 pattern"),
            (memory.add(Entries::new(&new, &nan)), "KeyedMemory::add: keys row 1, column 1 is NaN"),
            (
                memory.add(Entries::new(&new, &rows).metadata(&[Some("1")])),
                "KeyedMemory::add: expected metadata of 2 entries, one for each key, got 1",
            ),
            (
                memory.add(Entries::new(&new, &rows).metadata(&[None, Some("{")])),
                "KeyedMemory::add: metadata must be JSON, got other text for entry 1: EOF",
            ),
            (
                memory.add(Entries::new(&new, &rows).metadata(&[None, Some("")])),
                "KeyedMemory::add: metadata must be JSON",
            ),
            (
                memory.add(Entries::new(&new, &rows).metadata(&[Some(&nested(128)), None])),
                "KeyedMemory::add: metadata must be JSON, got other text for entry 0: arrays and objects are nested \
                 deeper than 127 at line 1",
            ),
            (
                memory.add(Entries::new(&["a"], Patterns::new(&rows[..2]).bias(&[1.0]))),
                "KeyedMemory::add: expected no bias",
            ),
            (
                memory.update(Entries::new(&["one", "new"], &rows)),
                r#"KeyedMemory::update: no pattern with key "new" is stored"#,
            ),
            (
                memory.update(Entries::new(&["one", "one"], &rows)),
                r#"KeyedMemory::update: the key "one" is given twice"#,
            ),
            (memory.update(Entries::new(&["one", "two"], &nan)), "KeyedMemory::update: keys row 1"),
            (memory.upsert(Entries::new(&["new", "one"], &nan)).map(|_| ()), "KeyedMemory::upsert: keys row 1"),
            (
                memory.upsert(Entries::new(&["one", "one"], &rows)).map(|_| ()),
                r#"KeyedMemory::upsert: the key "one" is given twice"#,
            ),
            (memory.remove(&["one", "new"]), r#"KeyedMemory::remove: no pattern with key "new" is stored"#),
            (
                memory.remove(&["one", "two", "one"]),
                r#"KeyedMemory::remove: the key "one" is given twice, at 0 and at 2"#,
            ),
            (memory.remove(&[long.as_str()]), "KeyedMemory::remove: no pattern with key \"xxxx"),
            (memory.set_metadata("new", None), "KeyedMemory::set_metadata: no pattern with key"),
            (memory.set_metadata("one", Some("nul")), "KeyedMemory::set_metadata: metadata must be JSON"),
            (memory.get("new").map(|_| ()), "KeyedMemory::get: no pattern with key \"new\""),
            (memory.mask_of_keys(["one", "new"]).map(|_| ()), "KeyedMemory::mask_of_keys: no pattern with key \"new\""),
            (memory.batches(0).map(|_| ()), "KeyedMemory::batches: rows must be at least 1"),
        ];
        for (i, (got, expected)) in refused.into_iter().enumerate() {
            let message = got.unwrap_err().to_string();
            assert!(message.starts_with(expected) && message.len() < 300, "{name} {i}: {message}");
        }
        assert_eq!(memory.keys().collect::<Vec<_>>(), ["one", "two"], "{name}");
        assert_eq!((memory.len(), memory.memory().position_count()), (2, 2), "{name}");
        assert_eq!(memory.get("one").unwrap().key, [1.0, 2.0], "{name}");
        assert_eq!(memory.metadata("one").unwrap(), Some("{}"), "{name}");
        // Ids were not used up either.
        memory.upsert(Entries::new(&["three", "one"], &rows)).unwrap();
        assert_eq!(memory.id_of("three"), Some(PatternId(2)), "{name}");
        memory.set_metadata("one", Some(&nested(127))).unwrap();
        memory.set_metadata("one", None).unwrap();
        assert_eq!(memory.metadata("one").unwrap(), None, "{name}");
        memory.add(Entries::new(&none, &[])).unwrap();

        let error = KeyedMemory::<u64>::new(memory.into_memory()).unwrap_err().to_string();
        assert!(error.contains("got 3 patterns"), "{error}");
    }
}

#[test]
fn masks_keep_what_keys_and_metadata_say() {
    for (name, device) in harness::quick_devices() {
        let rule = Rule::new(Similarity::Dot, Separation::Softmax, 1.0);
        let mut memory = KeyedMemory::<u64>::new(Memory::new(device, 2, rule).unwrap()).unwrap();
        let keys: Vec<u64> = (100..200).collect();
        let rows = Rng(3).vector(200);
        let texts: Vec<String> = keys.iter().map(|key| format!("{{\"even\": {}}}", key % 2 == 0)).collect();
        let metadata: Vec<Option<&str>> = texts.iter().map(|text| Some(text.as_str())).collect();
        memory.add(Entries::new(&keys, &rows).metadata(&metadata)).unwrap();
        memory.remove(&[104u64, 131]).unwrap();
        let top = |mask| {
            let options = RetrieveOptions::default().mask(mask).top(60);
            let found = memory.memory().retrieve_blocking(&[0.3, 0.2], &options).unwrap();
            let mut keys: Vec<u64> =
                found.top.unwrap().ids.iter().flatten().map(|id| *memory.key_of(*id).unwrap()).collect();
            keys.sort_unstable();
            keys
        };
        assert_eq!(top(memory.mask_of_keys([150u64, 103, 150, 199]).unwrap()), [103, 150, 199], "{name}");
        let even = memory.mask_where(|_, metadata| metadata.is_some_and(|text| text.contains("true")));
        let expected: Vec<u64> = (100..200).filter(|key| key % 2 == 0 && *key != 104).collect();
        assert_eq!(top(even), expected, "{name}");
        assert_eq!(top(memory.mask_where(|key, _| *key > 196)), [197, 198, 199], "{name}");
    }
}

/// A search finds keys by masks of keys, and the keys are those of its moment, whatever changes before it is read.
#[test]
fn searches_find_the_keys_of_their_moment() {
    for (name, device) in harness::quick_devices() {
        let rule = Rule::new(Similarity::Dot, Separation::Softmax, 1.0);
        let mut memory = KeyedMemory::<String>::new(Memory::new(device, 2, rule).unwrap()).unwrap();
        let keys: Vec<String> = (0..300).map(|i| format!("key {i}")).collect();
        let rows = Rng(5).vector(600);
        memory.add(Entries::new(&keys, &rows)).unwrap();
        memory.remove(&["key 7"]).unwrap();
        let queries = [0.3, 0.2, -0.9, 0.1];
        let found = |hits: &KeyedHits<String>| -> Vec<Vec<(String, f32)>> {
            (0..2).map(|b| hits.of(b).map(|(key, similarity)| (key.to_string(), similarity)).collect()).collect()
        };
        let now = memory.search_blocking(&queries, 5).unwrap();
        let expected = memory.memory().search_blocking(&queries, 5).unwrap();
        assert_eq!(now.hits, expected, "{name}");
        let named: Vec<Option<&str>> = expected.ids.iter().map(|id| id.and_then(|id| memory.key_of(id))).collect();
        assert_eq!(now.keys().collect::<Vec<_>>(), named, "{name}");
        assert_eq!(found(&now)[1].len(), 5, "{name}");

        let (removed, renamed, cleared) =
            (memory.search(&queries, 5), memory.search(&queries, 5), memory.search(&queries, 5));
        let first = found(&now)[0][0].0.clone();
        memory.remove(&[first.as_str()]).unwrap();
        assert_eq!(removed.unwrap().wait().unwrap(), now, "{name}: removed");
        // The key is of another pattern, and the pattern may be where the other was.
        memory.add(Entries::new(&[first.as_str(), "new"], &[-9.0, 0.0, 9.0, 9.0])).unwrap();
        assert_eq!(renamed.unwrap().wait().unwrap(), now, "{name}: added under the same key");
        memory.clear();
        assert!(memory.search_blocking(&queries, 5).is_err(), "{name}");
        assert_eq!(pollster::block_on(cleared.unwrap()).unwrap(), now, "{name}: cleared");

        memory.add(Entries::new(&keys, &rows)).unwrap();
        let some = memory.mask_of_keys(["key 3", "key 250"]).unwrap();
        let hits = memory.search_blocking(&queries, SearchOptions::from(4).at_least(-100.0).mask(some)).unwrap();
        assert_eq!((&hits.hits.found, hits.keys().len()), (&Some(vec![2, 2]), 8), "{name}");
        let mut listed: Vec<String> = found(&hits)[1].iter().map(|(key, _)| key.clone()).collect();
        listed.sort();
        assert_eq!(listed, ["key 250", "key 3"], "{name}");
        assert_eq!(hits.keys().flatten().count(), 4, "{name}");
        let odd = memory.mask_where(|key, _| key.ends_with('1'));
        let hits = memory.search_blocking(&queries, SearchOptions::from(6).mask(odd)).unwrap();
        assert!(hits.keys().all(|key| key.is_some_and(|key| key.ends_with('1'))), "{name}");

        for (got, operation) in [
            (memory.search_blocking(&[f32::NAN, 0.0], 1).map(drop), "KeyedMemory::search_blocking: "),
            (memory.search(&[0.0], 1).map(drop), "KeyedMemory::search: "),
            (memory.search(&[0.0, 0.0], 0).map(drop), "KeyedMemory::search: top"),
        ] {
            let error = got.unwrap_err().to_string();
            assert!(error.starts_with(operation), "{name}: {error}");
        }
        let numbers = KeyedMemory::<u64>::new(Memory::new(device, 2, rule).unwrap()).unwrap();
        assert!(matches!(numbers.search_blocking(&[0.0, 0.0], 1), Err(Error::Empty { .. })), "{name}");
    }
}

#[test]
fn keys_and_metadata_are_saved_with_the_patterns() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("keyed.safetensors");
    for (name, device) in harness::quick_devices() {
        for precision in [Precision::F32, Precision::I8] {
            let memory = MemoryOptions::new(DIM, Rule::softmax(2.0)).precision(precision).build(device).unwrap();
            let mut memory = KeyedMemory::<String>::new(memory).unwrap();
            let keys: Vec<String> = (0..300).map(|i| "\u{e9}".repeat(i % 50) + &i.to_string()).collect();
            let texts: Vec<String> = (0..300).map(|i| format!("\"{}\"", "\u{1f418}".repeat(i % 7))).collect();
            let metadata: Vec<Option<&str>> =
                texts.iter().enumerate().map(|(i, text)| (i % 5 > 0).then_some(text.as_str())).collect();
            memory.add(Entries::new(&keys, &Rng(5).vector(300 * DIM)).metadata(&metadata)).unwrap();
            memory.remove(&keys[10..20]).unwrap();
            memory.add(Entries::new(&[""], &[1.0; DIM])).unwrap();
            memory.save(&path).unwrap();

            let again = KeyedMemory::<String>::load(&Device::cpu(), &path).unwrap();
            assert!(again.keys().eq(memory.keys()), "{name}");
            for key in memory.keys() {
                assert_eq!(again.id_of(key), memory.id_of(key), "{name} {key}");
                assert_eq!(again.metadata(key).unwrap(), memory.metadata(key).unwrap(), "{name} {key}");
                assert_eq!(again.get(key).unwrap(), memory.get(key).unwrap(), "{name} {key}");
            }
            let bytes = fs::read(&path).unwrap();
            again.save(&path).unwrap();
            assert!(fs::read(&path).unwrap() == bytes, "{name}: saved again, the same bytes");
            assert!(safetensors::SafeTensors::deserialize(&bytes).is_ok(), "{name}");

            let saved = SavedMemory::open(&path).unwrap();
            assert_eq!(saved.key_type(), Some(KeyType::String), "{name}");
            let plain = Memory::load(device, &path).unwrap();
            assert_eq!(plain.len(), 291, "{name}");
            let error = KeyedMemory::<u64>::load(device, &path).unwrap_err();
            let wrong = "its keys are string, expected u64";
            assert!(matches!(error, Error::File { operation: "KeyedMemory::load", .. }), "{name}: {error:?}");
            assert!(error.to_string().ends_with(wrong), "{name}: {error}");
            plain.save(&path).unwrap();
            assert_eq!(SavedMemory::open(&path).unwrap().key_type(), None, "{name}");
            let error = KeyedMemory::<String>::load(device, &path).unwrap_err();
            assert!(error.to_string().ends_with("a memory without keys; Memory::load reads it"), "{name}: {error}");
            // Names for what had none.
            let keys: Vec<u64> = (0..291).map(|i| u64::MAX - i).collect();
            let named = KeyedMemory::<u64>::from_memory(Memory::load(device, &path).unwrap(), &keys).unwrap();
            named.save(&path).unwrap();
            let again =
                KeyedMemory::<u64>::load_with(device, &path, &LoadOptions::default().window_bytes(512)).unwrap();
            assert!(again.keys().eq(&keys), "{name}");
            let error = KeyedMemory::<u64>::from_memory(again.into_memory(), &keys[1..]).unwrap_err().to_string();
            assert!(error.contains("expected 291 keys, one for each pattern, got 290"), "{name}: {error}");
        }
    }
}

/// Every byte of the tensors of entries is covered by a checksum, and plain loading does not depend on them.
#[test]
fn damaged_keys_are_refused_and_the_patterns_load_without_them() {
    if !harness::runs_on("cpu") {
        return;
    }
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("keyed.safetensors");
    let mut memory = KeyedMemory::<String>::new(Memory::new(&Device::cpu(), 2, Rule::softmax(1.0)).unwrap()).unwrap();
    memory.add(Entries::new(&["one", "two"], &[1.0, 2.0, 3.0, 4.0]).metadata(&[Some("[1]"), None])).unwrap();
    memory.save(&path).unwrap();
    let good = fs::read(&path).unwrap();
    let header = harness::seal::header(&good).unwrap();
    let start = 8 + u64::from_le_bytes(*good.first_chunk().unwrap()) as usize;
    let mut damaged = 0;
    for tensor in ["entry_keys", "entry_key_ends", "entry_metadata", "entry_metadata_ends"] {
        let [from, to] = [0, 1].map(|i| start + header[tensor]["data_offsets"][i].as_u64().unwrap() as usize);
        for at in from..to {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            let error = KeyedMemory::<String>::load(&Device::cpu(), &path).unwrap_err().to_string();
            assert!(error.contains(&format!("{tensor} is damaged")), "{tensor} byte {at}: {error}");
            assert_eq!(Memory::load(&Device::cpu(), &path).unwrap().len(), 2);
            damaged += 1;
        }
    }
    assert_eq!(damaged, 6 + 16 + 3 + 16);
    // Keys of another memory.
    let text = String::from_utf8_lossy(&good[..start]).into_owned();
    let at = text.find(r#""crc32.entries":""#).unwrap() + 17;
    let mut bytes = good.clone();
    bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    fs::write(&path, &bytes).unwrap();
    let error = KeyedMemory::<String>::load(&Device::cpu(), &path).unwrap_err().to_string();
    assert!(error.contains("the metadata of entries is damaged"), "{error}");
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(KeyedMemory::<String>::load(&Device::cpu(), &path).is_err());
}

const ROWS: usize = 1500;
const WIDE: usize = 3001;

/// A callback that breaks at its `at`-th call, and the calls that it got.
fn breaking(calls: &mut Vec<Progress>, at: usize) -> impl FnMut(Progress) -> ControlFlow<()> {
    move |progress| {
        calls.push(progress);
        if calls.len() > at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[track_caller]
fn is_cancelled<T: std::fmt::Debug>(what: &str, operation: &str, got: Result<T, Error>) {
    let error = got.unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }) && error.operation() == operation, "{what}: {error:?}");
}

#[test]
fn long_work_reports_progress_and_a_break_leaves_everything_as_before() {
    let folder = TempDir::new().unwrap();
    let at = |name: &str| folder.path().join(name);
    let rows = Rng(8).vector(ROWS * WIDE);
    write_tensors(&at("k.safetensors"), &[NewTensor::f32("k", &[ROWS, WIDE], &rows)]).unwrap();
    let files = PatternFiles::open(&Address::safetensors(at("k.safetensors"), "k")).unwrap();
    let keys: Vec<u64> = (0..ROWS as u64).collect();
    for (name, device) in harness::quick_devices() {
        let options = MemoryOptions::new(WIDE, Rule::softmax(0.01)).window_bytes(8 << 20).host_copy();
        let mut memory = KeyedMemory::<u64>::new(options.build(device).unwrap()).unwrap();
        let first = Rng(2).vector(3 * WIDE);
        memory.add(Entries::new(&[5_000u64, 6_000, 7_000], &first)).unwrap();
        memory.remove(&[6_000u64]).unwrap();
        let unchanged = |memory: &KeyedMemory<u64>, what: &str| {
            assert_eq!((memory.len(), memory.memory().position_count()), (2, 3), "{name} {what}");
            assert_eq!(memory.keys().collect::<Vec<_>>(), [&5_000, &7_000], "{name} {what}");
            assert_eq!(memory.get(&7_000).unwrap().key, first[2 * WIDE..], "{name} {what}");
            let recall = memory.memory().retrieve_blocking(&first[..WIDE], &RetrieveOptions::default().top(2)).unwrap();
            assert_eq!(recall.top.unwrap().ids[0], Some(PatternId(0)), "{name} {what}");
        };
        for last in [0, 1] {
            let mut calls = Vec::new();
            let add = memory.add_with_progress(Entries::new(&keys, &rows), breaking(&mut calls, last));
            is_cancelled(name, "KeyedMemory::add", add);
            let done: Vec<_> = calls.iter().map(|progress| (progress.done, progress.total)).collect();
            assert_eq!(done, [(1397, ROWS), (ROWS, ROWS)][..=last], "{name}");
            unchanged(&memory, "add");
            let import = memory.import_with_progress(&keys, &files, breaking(&mut Vec::new(), last));
            is_cancelled(name, "KeyedMemory::import", import);
            unchanged(&memory, "import");
        }
        let mut mixed = keys.clone();
        mixed[700] = 7_000;
        let mut calls = Vec::new();
        let upsert = memory.upsert_with_progress(Entries::new(&mixed, &rows), breaking(&mut calls, 2));
        is_cancelled(name, "KeyedMemory::upsert", upsert);
        assert_eq!(calls.iter().map(|progress| progress.done).collect::<Vec<_>>(), [1397, 1499, 1500], "{name}");
        unchanged(&memory, "upsert");
        // A callback that panics is no different.
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            memory.add_with_progress(Entries::new(&keys, &rows), |_| panic!("on purpose"))
        }));
        assert!(panicked.is_err());
        unchanged(&memory, "panic");

        assert_eq!(memory.upsert(Entries::new(&mixed, &rows)).unwrap(), ROWS - 1, "{name}");
        for (row, key) in mixed.iter().enumerate().filter(|(row, _)| row % 100 == 0 || *row > 1490) {
            assert_eq!(memory.get(key).unwrap().key, rows[row * WIDE..(row + 1) * WIDE], "{name} row {row}");
        }
        assert_eq!(memory.id_of(&7_000), Some(PatternId(2)), "{name}");

        let path = at("saved.safetensors");
        fs::write(&path, "as before").unwrap();
        let mut calls = Vec::new();
        is_cancelled(name, "KeyedMemory::save", memory.save_with_progress(&path, breaking(&mut calls, 0)));
        assert!(calls.len() == 1 && calls[0].done < calls[0].total, "{name}: {calls:?}");
        assert_eq!(fs::read(&path).unwrap(), b"as before", "{name}");
        let mut calls = Vec::new();
        memory.save_with_progress(&path, breaking(&mut calls, usize::MAX)).unwrap();
        let last = calls.pop().unwrap();
        assert_eq!((last.done, last.total), (memory.memory().position_count(), last.done), "{name}");
        is_cancelled(
            name,
            "KeyedMemory::save",
            memory.save_with_progress(&path, breaking(&mut Vec::new(), calls.len())),
        );
        let options = LoadOptions::default();
        let mut calls = Vec::new();
        is_cancelled(
            name,
            "KeyedMemory::load",
            KeyedMemory::<u64>::load_with_progress(device, &path, &options, breaking(&mut calls, 1)),
        );
        assert!(calls.len() == 2 && calls[1].done == calls[1].total, "{name}: {calls:?}");
        is_cancelled(
            name,
            "Memory::load",
            Memory::load_with_progress(device, &path, &options, breaking(&mut Vec::new(), 0)),
        );
        let again = KeyedMemory::<u64>::load(device, &path).unwrap();
        assert!(again.keys().eq(memory.keys()), "{name}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "{name}: no temporary file is left");
    }
}

#[test]
fn batches_of_ids_change_all_or_nothing() {
    for (name, device) in harness::quick_devices() {
        for (host_copy, held) in [(false, false), (true, false), (true, true)] {
            let options = MemoryOptions::new(2, Rule::softmax(1.0)).window_bytes(4 * 16);
            let options = if host_copy { options.host_copy() } else { options };
            let mut memory = options.build(device).unwrap();
            let rows: Vec<f32> = (0..20).map(|i| i as f32).collect();
            let ids: Vec<PatternId> = memory.add(&rows).unwrap().iter().collect();
            let key = |memory: &Memory, id: usize| memory.get(PatternId(id as u64)).unwrap().key;
            let job = (held && !device.is_cpu()).then(|| memory.job(&[0.5, 0.5], &RetrieveOptions::default()).unwrap());
            let refused = [
                (
                    memory.update_batch(&[ids[1], ids[2], ids[1]], &rows[..6]),
                    "ids must be each id once, got 1 at 0 and at 2",
                ),
                (memory.update_batch(&[ids[1], PatternId(77)], &rows[..4]), "no pattern with id 77 is stored"),
                (memory.update_batch(&ids[..2], &rows[..2]), "expected 2 patterns, got 1 pattern"),
                (memory.update_batch(&ids[..2], &[1.0, 2.0, 3.0, f32::INFINITY]), "keys row 1, column 1 is inf"),
                (memory.remove_batch(&[ids[1], ids[1]]), "ids must be each id once, got 1 at 0 and at 1"),
                (memory.remove_batch(&[ids[1], PatternId(10)]), "no pattern with id 10 is stored"),
            ];
            for (got, expected) in refused {
                let message = got.unwrap_err().to_string();
                assert!(message.starts_with("Memory::") && message.contains("_batch: "), "{name}: {message}");
                assert!(message.contains(expected), "{name}: {message}");
            }
            assert_eq!((memory.len(), memory.position_count()), (10, 10), "{name}");
            assert!((0..10).all(|id| key(&memory, id) == rows[2 * id..2 * id + 2]), "{name}");

            memory.update_batch(&[ids[9], ids[0], ids[5]], &[90.0, 91.0, 0.5, 1.5, 50.0, 51.0]).unwrap();
            for (id, row) in [(9, [90.0, 91.0]), (0, [0.5, 1.5]), (5, [50.0, 51.0]), (4, [8.0, 9.0])] {
                assert_eq!(key(&memory, id), row, "{name} {id}");
            }
            let positions = if job.is_some() { 13 } else { 10 };
            assert_eq!((memory.len(), memory.position_count()), (10, positions), "{name}");
            drop(job);
            memory.remove_batch(&[ids[3], ids[9], ids[4]]).unwrap();
            assert_eq!(memory.len(), 7, "{name}");
            assert!(!memory.contains(ids[9]) && memory.contains(ids[5]), "{name}");
            memory.update_batch(&[], &[]).unwrap();
            memory.remove_batch(&[]).unwrap();
            let rebuilt = memory.rebuild(&Device::cpu()).unwrap();
            for id in [0, 1, 2, 5, 6, 7, 8] {
                assert_eq!(key(&memory, id), key(&rebuilt, id), "{name}");
            }
            assert_eq!(memory.add(&[7.0; 6]).unwrap().get(0), Some(PatternId(10)), "{name}");
            assert_eq!(key(&memory, 12), [7.0, 7.0], "{name}");
        }
    }
}
