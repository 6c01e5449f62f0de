//! What the host has no memory for is an error, and the memory answers on. Each case runs in a process of its own,
//! whose address space is limited: the system would promise more than it has.

use std::ffi::OsStr;
use std::process::Command;

use attractor::retrieval::WeightsOf;
use attractor::{
    Device, Error, LoadOptions, Memory, MemoryOptions, Patterns, RetrieveOptions, Rule, Separation, Similarity,
};

const CASE: &str = "ATTRACTOR_TEST_CASE";

/// Runs `case` where no more than `mebibytes` of addresses are to be had; in that process, runs `work`.
fn limited(case: &str, mebibytes: usize, work: impl FnOnce()) {
    limited_with(case, mebibytes, &[], work);
}

/// [`limited`], with further variables of the environment.
fn limited_with(case: &str, mebibytes: usize, variables: &[(&str, &OsStr)], work: impl FnOnce()) {
    if std::env::var(CASE).is_ok_and(|asked| asked == case) {
        return work();
    }
    let binary = std::env::current_exe().unwrap();
    let output = Command::new("sh")
        .arg("-c")
        .arg(format!(
            "ulimit -v {}; exec \"$0\" --exact --nocapture --test-threads=1 host_memory::{case}",
            mebibytes << 10
        ))
        .arg(binary)
        .env(CASE, case)
        .envs(variables.iter().copied())
        .env("RAYON_NUM_THREADS", "2")
        .output()
        .unwrap();
    let told = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && told.contains("1 passed"), "{case}: {}\n{told}", output.status);
}

/// `result` is the error of the call `operation`, which had no room for `what`.
#[track_caller]
fn out_of_memory<T>(result: attractor::Result<T>, operation: &str, what: &str) {
    match result {
        Err(Error::OutOfMemory { operation: named, what: asked, bytes: Some(bytes), .. }) => {
            assert_eq!((named, asked), (operation, what));
            assert!(bytes > 1 << 20, "{bytes} bytes");
        }
        Err(error) => panic!("{operation} {what}: {error}"),
        Ok(_) => panic!("{operation} {what}: there was room"),
    }
}

fn answers_on(memory: &Memory) {
    let query = vec![0.5; memory.dim()];
    let got = memory.retrieve_blocking(&query, &RetrieveOptions::default().top(1)).unwrap();
    assert!(got.output.iter().all(|x| x.is_finite()) && got.top.unwrap().ids[0].is_some());
}

#[test]
fn outputs() {
    limited("outputs", 1500, || {
        let mut memory = MemoryOptions::new(1, Rule::softmax(1.0)).value_dim(4096).build(&Device::cpu()).unwrap();
        memory.add(Patterns::new(&[1.0, -1.0]).values(&vec![0.5; 2 * 4096])).unwrap();
        let queries = vec![0.25; 200_000];
        let options = RetrieveOptions::default();
        let answer = memory.retrieve_blocking(&queries, &options);
        out_of_memory(answer, "Memory::retrieve_blocking", "outputs");
        out_of_memory(memory.retrieve(&queries, &options).unwrap().wait(), "Memory::retrieve", "outputs");
        answers_on(&memory);
    });
}

#[test]
fn weights() {
    limited("weights", 1500, || {
        let mut memory = Memory::new(&Device::cpu(), 1, Rule::softmax(1.0)).unwrap();
        memory.add(&vec![0.5; 100_000]).unwrap();
        let queries = vec![0.25; 10_000];
        for weights in [WeightsOf::All, WeightsOf::Queries((0..10_000).collect())] {
            let answer = memory.retrieve_blocking(&queries, &RetrieveOptions::default().weights(weights));
            out_of_memory(answer, "Memory::retrieve_blocking", "weights");
        }
        answers_on(&memory);
    });
}

#[test]
fn tops() {
    limited("tops", 1500, || {
        let mut memory = Memory::new(&Device::cpu(), 1, Rule::softmax(1.0)).unwrap();
        memory.add(&vec![0.5; 2000]).unwrap();
        let answer = memory.retrieve_blocking(&vec![0.25; 200_000], &RetrieveOptions::default().top(1024));
        out_of_memory(answer, "Memory::retrieve_blocking", "top patterns");
        answers_on(&memory);
    });
}

#[test]
fn patterns() {
    limited("patterns", 1500, || {
        for value_dim in [None, Some(4)] {
            let options = MemoryOptions::new(4, Rule::softmax(1.0));
            let options = value_dim.map_or(options.clone(), |columns| options.value_dim(columns));
            let mut memory = options.build(&Device::cpu()).unwrap();
            let values = value_dim.map(|_| [0.5; 8]);
            let two = harness::patterns(&[1.0; 8], values.as_ref().map(|v| &v[..]), None);
            memory.add(two).unwrap();
            out_of_memory(memory.reserve(1 << 30), "Memory::reserve", "patterns");
            assert_eq!((memory.len(), memory.capacity()), (2, 64));
            answers_on(&memory);
            memory.add(two).unwrap();
            // What is reserved takes room when it is written, not before.
            memory.reserve(10_000_000).unwrap();
        }
    });
}

/// An update of rows that a retrieval reads copies them.
#[test]
fn a_copy_for_a_retrieval() {
    limited("a_copy_for_a_retrieval", 820, || {
        let (dim, patterns) = (8, 10_000_000);
        let mut memory = Memory::new(&Device::cpu(), dim, Rule::softmax(1.0)).unwrap();
        memory.reserve(patterns).unwrap();
        let rows = vec![0.5; dim * 1_000_000];
        for _ in 0..10 {
            memory.add(&rows).unwrap();
        }
        drop(rows);
        let row = Patterns::new(&[1.0; 8]);
        let pending = memory.retrieve(&vec![0.5; dim * 64], &RetrieveOptions::steps(3)).unwrap();
        let id = memory.id_at(3).unwrap();
        out_of_memory(memory.update(id, row), "Memory::update", "patterns");
        assert_eq!(pending.wait().unwrap().output[0], 0.5);
        // Nobody reads them any more once the thread that answered has let go.
        while memory.update(id, row).is_err() {
            std::thread::yield_now();
        }
        assert_eq!(memory.get(id).unwrap().key, [1.0; 8]);
        answers_on(&memory);
    });
}

/// Answers of a device come to the host, and are refused before anything is submitted.
#[test]
fn answers_of_a_device() {
    limited("answers_of_a_device", 20_000, || {
        for (_, device) in harness::gpus() {
            let mut memory = Memory::new(device, 1, Rule::softmax(1.0)).unwrap();
            memory.add(&vec![0.5; 100_000]).unwrap();
            let queries = vec![0.25; 100_000];
            let options = RetrieveOptions::default().weights(WeightsOf::All);
            let answer = memory.retrieve_blocking(&queries, &options);
            out_of_memory(answer, "Memory::retrieve_blocking", "weights");
            out_of_memory(memory.retrieve(&queries, &options), "Memory::retrieve", "weights");
            out_of_memory(memory.job(&queries, &options), "Memory::job", "weights");
            answers_on(&memory);
        }
    });
}

/// The file of a memory that is larger than all that its process may have.
const FILE: &str = "ATTRACTOR_TEST_FILE";

#[test]
fn rows_in_a_file() {
    const DIM: usize = 1000;
    const ROWS: usize = 120_000;
    let key = |row: usize| harness::Rng(row as u64).vector(DIM);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("memory.safetensors");
    if std::env::var_os(FILE).is_none() {
        let mut memory = Memory::new(&Device::cpu(), DIM, Rule::new(Similarity::Cosine, Separation::Softmax, 10.0));
        let memory = memory.as_mut().unwrap();
        memory.reserve(ROWS).unwrap();
        for first in (0..ROWS).step_by(1000) {
            memory.add(&(first..first + 1000).flat_map(key).collect::<Vec<f32>>()).unwrap();
        }
        memory.save(&path).unwrap();
    }
    // 480 MB of rows.
    limited_with("rows_in_a_file", 400, &[(FILE, path.as_os_str())], || {
        let path = std::env::var_os(FILE).unwrap();
        out_of_memory(Memory::load(&Device::cpu(), &path), "Memory::reserve", "patterns");
        let memory = Memory::load_with(&Device::cpu(), &path, &LoadOptions::default().rows_in_file()).unwrap();
        answers_on(&memory);
        for position in [0, ROWS - 1] {
            let hits = memory.search_blocking(&key(position), 2).unwrap();
            assert_eq!(hits.ids[0], memory.id_at(position));
            assert_eq!(memory.get(hits.ids[0].unwrap()).unwrap().key, key(position));
        }
    });
}
