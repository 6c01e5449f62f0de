//! Memories that their device does not hold: every answer is bit-exact that of a memory that it holds, also while
//! patterns change.

use std::time::Duration;

use attractor::internals::counts;
use attractor::partial::{Partial, PartialOptions};
use attractor::retrieval::WeightsOf;
use attractor::{
    Device, Error, LoadOptions, Mask, Memory, MemoryOptions, PatternId, Patterns, Precision, RetrieveOptions, Rule,
    SearchOptions, Separation, Similarity,
};
use harness::Rng;
use tempfile::TempDir;

/// The devices that hold only some of the rows.
fn gpus() -> impl Iterator<Item = &'static (String, Device)> {
    harness::devices().iter().filter(|(_, device)| !device.is_cpu())
}

/// Rows of a window that streams, and rows that the device holds, of `device_bytes`.
const WINDOW: usize = 50;
const HELD: usize = 8 * WINDOW;

/// The bytes of [`HELD`] rows.
fn device_bytes(dim: usize, value_dim: Option<usize>, precision: Precision) -> u64 {
    let element = match precision {
        Precision::F16 => 2,
        Precision::I8 => 1,
        _ => 4,
    };
    let floats = dim.next_multiple_of(4) + value_dim.map_or(0, |columns| columns.next_multiple_of(4));
    (HELD * element * floats) as u64
}

/// A memory of which the device holds [`HELD`] rows, and one with the same windows that it holds.
fn pair(device: &Device, options: &MemoryOptions) -> [Memory; 2] {
    let (dim, value_dim) = (options.dim(), options.get_value_dim());
    let streams = options.clone().device_bytes(device_bytes(dim, value_dim, options.get_precision()));
    let widest = dim.max(value_dim.unwrap_or(0)).next_multiple_of(4);
    let held = options.clone().window_bytes((WINDOW * 4 * widest) as u64);
    [streams, held].map(|options| options.build(device).unwrap())
}

fn fill(memories: &mut [Memory; 2], rng: &mut Rng, rows: usize) {
    let [first, _] = &*memories;
    let keys = rng.vector(rows * first.dim());
    let values = first.has_values().then(|| rng.vector(rows * first.value_dim()));
    let patterns = || harness::patterns(&keys, values.as_deref(), None);
    let [streamed, held] = memories;
    assert_eq!(streamed.add(patterns()).unwrap(), held.add(patterns()).unwrap());
}

/// Both memories give bit-exact answers, waited for and awaited.
#[track_caller]
fn alike(what: &str, memories: &[Memory; 2], queries: &[f32], options: &RetrieveOptions) {
    let [streamed, held] = memories;
    let answers = [streamed.retrieve_blocking(queries, options), held.retrieve_blocking(queries, options)];
    let [streamed_answer, expected] = answers.map(|answer| answer.unwrap());
    assert_eq!(streamed_answer, expected, "{what}");
    let later = streamed.retrieve(queries, options).unwrap();
    assert_eq!(pollster::block_on(later).unwrap(), expected, "{what}, awaited");
}

fn rules() -> [Rule; 6] {
    [
        Rule::softmax(0.7),
        Rule::new(Similarity::Cosine, Separation::Softmax1, 5.0),
        Rule::new(Similarity::Dot, Separation::Sparsemax, 1.5),
        Rule::new(Similarity::Euclidean, Separation::Entmax { alpha: 1.5 }, 0.3),
        Rule::new(Similarity::Manhattan, Separation::Entmax { alpha: 2.5 }, 0.3),
        Rule::new(Similarity::Cosine, Separation::TopK { k: 7 }, 4.0),
    ]
}

#[test]
fn rows_that_stream_answer_as_rows_that_stay() {
    for (name, device) in gpus() {
        let mut rng = Rng(77);
        let all = if harness::is_quick(name) { 6 } else { 3 };
        for (i, rule) in rules().into_iter().take(all).enumerate() {
            let precision = Precision::ALL[i % Precision::ALL.len()];
            let mut options = MemoryOptions::new(21, rule).precision(precision);
            if i % 2 == 1 {
                options = options.value_dim(9);
            }
            let mut memories = pair(device, &options);
            // As many as the device holds, then four times as many.
            for rows in [HELD - 2 * WINDOW, 2 * WINDOW + 1, 3 * HELD - 1] {
                fill(&mut memories, &mut rng, rows);
                let what = format!("{name} {rule:?} {precision:?} N {}", memories[0].len());
                for batch in [1, 9] {
                    let queries = rng.vector(batch * 21);
                    alike(&what, &memories, &queries, &RetrieveOptions::steps(2));
                    let search = memories.each_ref().map(|memory| memory.search_blocking(&queries, 5).unwrap());
                    assert_eq!(search[0], search[1], "{what}: search");
                }
            }
            let queries = rng.vector(3 * 21);
            let what = format!("{name} {rule:?} {precision:?}");
            let everything = RetrieveOptions::converge(4, 1e-3).statistics().top(5).weights(WeightsOf::All);
            alike(&what, &memories, &queries, &everything);
            if matches!(rule.similarity, Similarity::Dot) {
                alike(&what, &memories, &queries, &RetrieveOptions::steps(2).trace());
            }
        }
    }
}

#[test]
fn masks_partial_states_and_thresholds_stream() {
    for (name, device) in gpus() {
        for rule in [Rule::softmax(0.7), Rule::new(Similarity::Dot, Separation::TopK { k: 70 }, 1.0)] {
            let mut rng = Rng(78);
            let mut memories = pair(device, &MemoryOptions::new(12, rule));
            fill(&mut memories, &mut rng, 4 * HELD + 13);
            let queries = rng.vector(2 * 12);
            let kept: Vec<bool> = (0..memories[0].position_count()).map(|i| i % 97 == 3 || i > 4 * HELD).collect();
            let options = RetrieveOptions::default().mask(Mask::keep(&kept)).top(3);
            alike(name, &memories, &queries, &options);
            let search = SearchOptions::default().top(4).at_least(1.0);
            let hits = memories.each_ref().map(|memory| memory.search_blocking(&queries, &search).unwrap());
            assert_eq!(hits[0], hits[1], "{name}");
            for range in [0..memories[0].len(), 3..WINDOW, HELD..3 * HELD + 7] {
                let options = PartialOptions::default().subset(range.clone());
                let states: [Vec<Partial>; 3] = [
                    memories[0].retrieve_partial_blocking(&queries, &options).unwrap(),
                    memories[1].retrieve_partial_blocking(&queries, &options).unwrap(),
                    pollster::block_on(memories[0].retrieve_partial(&queries, &options).unwrap()).unwrap(),
                ];
                let finished = states.map(|states| states.into_iter().map(Partial::finish).collect::<Vec<_>>());
                assert_eq!(finished[0], finished[1], "{name} {range:?}");
                assert_eq!(finished[2], finished[1], "{name} {range:?}");
            }
        }
    }
}

#[test]
fn what_changes_meanwhile_changes_no_answer() {
    for (name, device) in gpus() {
        let mut rng = Rng(79);
        let rule = Rule::new(Similarity::Cosine, Separation::Sparsemax, 6.0);
        let mut memories = pair(device, &MemoryOptions::new(16, rule));
        fill(&mut memories, &mut rng, 3 * HELD);
        let (queries, options) = (rng.vector(2 * 16), RetrieveOptions::steps(2).top(4));
        let [streamed, held] = &mut memories;
        let expected = held.retrieve_blocking(&queries, &options).unwrap();
        // Two at once, of which the second is waited for first, and a third that is dropped on its way.
        let (mut first, mut dropped) =
            (streamed.retrieve(&queries, &options).unwrap(), streamed.retrieve(&queries, &options).unwrap());
        let second = streamed.retrieve(&queries, &options).unwrap();
        let _ = (first.is_ready(), dropped.is_ready());
        // What is asked of one keeps its rows as they are; so in the other.
        let kept = held.retrieve_partial(&queries, &PartialOptions::default()).unwrap();
        let nearest = expected.top.as_ref().unwrap().ids[0].unwrap();
        for memory in [&mut *streamed, &mut *held] {
            memory.update(nearest, &[1.0; 16]).unwrap();
            memory.remove(PatternId(nearest.0 ^ 1)).unwrap();
            memory.add(&[0.5; 32]).unwrap();
        }
        drop((dropped, kept));
        assert_eq!(second.wait().unwrap(), expected, "{name}");
        assert_eq!(first.wait().unwrap(), expected, "{name}");
        alike(name, &memories, &queries, &options);
        // Rows that were updated and added are read back as they were given.
        let [streamed, held] = &mut memories;
        assert_eq!(streamed.get(nearest).unwrap().key, [1.0; 16]);
        for memory in [&mut *streamed, &mut *held] {
            memory.clear();
            memory.add(&[1.0; 16]).unwrap();
        }
        alike(name, &memories, &queries, &options);
    }
}

#[test]
fn one_poll_loads_one_window_at_most() {
    for (name, device) in gpus() {
        let mut rng = Rng(82);
        let mut memories = pair(device, &MemoryOptions::new(8, Rule::softmax(1.0)));
        fill(&mut memories, &mut rng, 3 * HELD);
        let (queries, options) = (rng.vector(8), RetrieveOptions::default());
        let mut pending = memories[0].retrieve(&queries, &options).unwrap();
        let answer = loop {
            // The device has done all that was submitted: nothing but the poll itself ends it.
            std::thread::sleep(Duration::from_millis(5));
            let (before, _) = counts(device);
            let answer = pending.try_take();
            let (after, _) = counts(device);
            assert!(after - before <= 1, "{name}: {} submissions in a poll", after - before);
            if let Some(answer) = answer {
                break answer.unwrap();
            }
        };
        assert_eq!(answer, memories[1].retrieve_blocking(&queries, &options).unwrap(), "{name}");
    }
}

#[test]
fn threads_stream_side_by_side() {
    for (name, device) in gpus() {
        let mut rng = Rng(80);
        let mut memories = pair(device, &MemoryOptions::new(8, Rule::softmax(1.0)));
        fill(&mut memories, &mut rng, 4 * HELD);
        let [streamed, held] = &memories;
        std::thread::scope(|scope| {
            for seed in 0..3 {
                let name = &name;
                scope.spawn(move || {
                    for i in 0..4 {
                        let queries = Rng(100 * seed + i).vector(8);
                        let answers = [streamed, held].map(|memory| {
                            memory.retrieve_blocking(&queries, &RetrieveOptions::steps(2)).unwrap().output
                        });
                        assert_eq!(answers[0], answers[1], "{name}");
                    }
                });
            }
        });
    }
}

#[test]
fn a_device_that_holds_nothing_is_refused_and_so_are_recordings() {
    for (_, device) in gpus() {
        let options = MemoryOptions::new(16, Rule::softmax(1.0));
        for bytes in [0, 63, 127] {
            let refused = options.clone().device_bytes(bytes).build(device).unwrap_err();
            assert!(matches!(refused, Error::Limit { need: 128, allowed, .. } if allowed == bytes), "{refused}");
        }
        let mut memory = options.device_bytes(128).build(device).unwrap();
        memory.add(&[0.5; 32]).unwrap();
        assert!(matches!(memory.job(&[0.5; 16], &RetrieveOptions::default()), Err(Error::Unsupported { .. })));
        let explained = memory.explain(1, &RetrieveOptions::default()).unwrap();
        assert_eq!(explained.streamed_bytes, 128, "{explained}");
        assert!(explained.to_string().contains("128B of patterns streamed"), "{explained}");
        memory.add(&[0.25; 16]).unwrap();
        let bytes = |options: &RetrieveOptions| memory.explain(1, options).unwrap().streamed_bytes;
        assert_eq!(bytes(&RetrieveOptions::converge(20, 1e-3)), bytes(&RetrieveOptions::steps(20)));
        // Keys are searched, and values only summed.
        let options = MemoryOptions::new(16, Rule::softmax(1.0)).value_dim(400).device_bytes(2 * 4 * (16 + 400));
        let mut memory = options.build(device).unwrap();
        memory.add(Patterns::new(&[0.5; 48]).values(&[0.5; 1200])).unwrap();
        assert_eq!(memory.explain_search(1, 1).unwrap().streamed_bytes, 3 * 64);
        assert_eq!(memory.explain(1, &RetrieveOptions::default()).unwrap().streamed_bytes, 3 * (64 + 1600));
    }
}

#[test]
fn rows_stream_from_their_file() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("memory.safetensors");
    for (name, device) in gpus() {
        let mut rng = Rng(81);
        for precision in Precision::ALL {
            let rule = Rule::new(Similarity::Cosine, Separation::Entmax { alpha: 1.5 }, 6.0);
            let mut memories = pair(device, &MemoryOptions::new(13, rule).value_dim(5).precision(precision));
            fill(&mut memories, &mut rng, 4 * HELD);
            let [streamed, held] = memories;
            streamed.save(&path).unwrap();
            let bytes = device_bytes(13, Some(5), precision);
            let options = LoadOptions::default().device_bytes(bytes).rows_in_file();
            let memories = [Memory::load_with(device, &path, &options).unwrap(), held];
            let queries = rng.vector(2 * 13);
            alike(&format!("{name} {precision:?}"), &memories, &queries, &RetrieveOptions::steps(2).top(3));
        }
    }
}
