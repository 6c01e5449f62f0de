//! The C ABI, from both sides: a C program with the libraries that a C programmer builds, and hostile calls from Rust.
//!
//! The libraries are built here, by the command that README.md gives, but in the profile of the tests and in their target
//! folder: an integration test links the Rust library, and neither of the two for C comes of that. Missing tools are
//! printed as skips; those in `ATTRACTOR_REQUIRE_TOOLS`, a comma-separated list, must be there.
#![cfg(feature = "capi")]
#![allow(unsafe_code, reason = "it is C's side of the border")]

use std::ffi::{CStr, CString, c_char};
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use attractor::capi::attractor_error::*;
use attractor::capi::*;

#[cfg(unix)]
mod programs {
    //! C programs, compiled, linked both ways, run, and run under a memory checker.

    use std::path::{Path, PathBuf};
    use std::process::{Command, Output};
    use std::sync::OnceLock;

    use tempfile::TempDir;

    const ROOT: &str = env!("CARGO_MANIFEST_DIR");

    /// What a C programmer builds.
    struct Libraries {
        shared: PathBuf,
        archive: PathBuf,
        /// What the archive has to be linked with.
        system: Vec<String>,
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes).into_owned()
    }

    fn required(what: &str, variable: &str) -> bool {
        std::env::var(variable).is_ok_and(|list| list.split(',').any(|name| name.trim() == what))
    }

    /// Whether `tool` starts; says so where it does not.
    fn has(tool: &str) -> bool {
        let there = Command::new(tool).arg("--version").output().is_ok_and(|output| output.status.success());
        if !there {
            eprintln!("SKIP {tool}: it is not here, or does not run");
            assert!(!required(tool, "ATTRACTOR_REQUIRE_TOOLS"), "{tool} is required by ATTRACTOR_REQUIRE_TOOLS");
        }
        there
    }

    /// Built without optimisation: in optimised code both halves of an `a && b` may be read before either is looked at, which
    /// memcheck takes for a use of memory that nobody wrote.
    fn libraries() -> &'static Libraries {
        static LIBRARIES: OnceLock<Libraries> = OnceLock::new();
        LIBRARIES.get_or_init(|| {
            let output = Command::new(env!("CARGO"))
                .args(["rustc", "--locked", "--lib", "--no-default-features", "--features", "capi,files"])
                .args(["--crate-type", "cdylib,staticlib", "--message-format", "json"])
                .args(["--config", "profile.dev.package.attractor.opt-level=0"])
                .args(["--", "--print", "native-static-libs"])
                .current_dir(ROOT)
                .output()
                .expect("cargo starts");
            assert!(output.status.success(), "cargo rustc: {}{}", text(&output.stdout), text(&output.stderr));
            let messages: Vec<serde_json::Value> =
                text(&output.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
            let artifact = messages.iter().find(|message| {
                message["reason"] == "compiler-artifact" && message["target"]["name"] == env!("CARGO_PKG_NAME")
            });
            let files = artifact.and_then(|artifact| artifact["filenames"].as_array()).expect("libraries");
            let file = |extensions: &[&str]| {
                let paths = files.iter().filter_map(|path| path.as_str()).map(PathBuf::from);
                let mut found =
                    paths.filter(|path| path.extension().is_some_and(|is| extensions.iter().any(|of| is == *of)));
                found.next().unwrap_or_else(|| panic!("no {extensions:?} among {files:?}"))
            };
            let said = messages.iter().filter_map(|message| message["message"]["message"].as_str());
            let system = said.filter_map(|words| words.strip_prefix("native-static-libs: ")).next_back();
            Libraries {
                shared: file(&["so", "dylib"]),
                archive: file(&["a"]),
                system: system.expect("what to link").split_whitespace().map(str::to_owned).collect(),
            }
        })
    }

    /// Compiles and links `source` both ways, into `dir`, in the language of `compiler`.
    fn build(compiler: &str, source: &Path, dir: &Path) -> [PathBuf; 2] {
        let libraries = libraries();
        let language: &[&str] = match compiler {
            "c++" => &["-x", "c++", "-std=c++17"],
            _ => &["-x", "c", "-std=c11"],
        };
        ["shared", "archive"].map(|way| {
            let program = dir.join(format!("{compiler}-{way}"));
            let mut command = Command::new(compiler);
            command.args(["-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic"]).args(language);
            command.arg("-I").arg(Path::new(ROOT).join("include")).arg(source).args(["-x", "none", "-o"]).arg(&program);
            if way == "shared" {
                let folder = libraries.shared.parent().expect("a folder");
                command.arg(&libraries.shared).arg(format!("-Wl,-rpath,{}", folder.display()));
            } else {
                command.arg(&libraries.archive).args(&libraries.system);
            }
            let output = command.arg("-lm").output().expect("the compiler starts");
            assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
            assert!(output.stderr.is_empty(), "{command:?}: {}", text(&output.stderr));
            program
        })
    }

    /// Runs a program with the system's Vulkan drivers alone.
    fn run(command: &mut Command) -> Output {
        let dir = tempfile::tempdir().expect("a folder");
        command.env_remove("VK_ADD_DRIVER_FILES").env("XDG_RUNTIME_DIR", dir.path());
        command.output().expect("the program starts")
    }

    /// Runs `recall` on `device`. Where that is not there, it says so.
    fn recall(program: &Path, device: &str, required_as: &str) {
        let output = run(Command::new(program).arg(device));
        let (said, complained) = (text(&output.stdout), text(&output.stderr));
        if output.status.code() == Some(77) {
            eprintln!("SKIP {}", complained.trim());
            assert!(!required(required_as, "ATTRACTOR_REQUIRE_ADAPTERS"), "{required_as} is required and is not there");
            return;
        }
        assert!(output.status.success(), "{} {device}: {said}{complained}", program.display());
        assert!(said.ends_with("all is well\n") && complained.is_empty(), "{said}{complained}");
    }

    fn source() -> PathBuf {
        Path::new(ROOT).join("examples/c/recall.c")
    }

    fn folder() -> TempDir {
        tempfile::tempdir().expect("a folder")
    }

    #[test]
    fn the_example_recalls_as_c_and_as_cpp_however_it_is_linked() {
        for compiler in ["cc", "c++"].into_iter().filter(|compiler| has(compiler)) {
            let dir = folder();
            for program in build(compiler, &source(), dir.path()) {
                recall(&program, "cpu", "cpu");
                recall(&program, "vulkan-software", "lavapipe");
            }
        }
    }

    /// Under the memory checker, on the CPU engine: drivers leak at their own discretion. Memory that is still reachable
    /// when the program ends is that of `rayon`'s threads.
    fn checked(program: &Path) -> Output {
        run(Command::new("valgrind")
            .args(["--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite", "--quiet"])
            .arg(program)
            .arg("cpu"))
    }

    #[test]
    fn the_example_leaks_nothing_and_reads_nothing_that_is_not_its_own() {
        if !(has("cc") && has("valgrind")) {
            return;
        }
        let dir = folder();
        for program in build("cc", &source(), dir.path()) {
            let output = checked(&program);
            let (said, complained) = (text(&output.stdout), text(&output.stderr));
            assert!(output.status.success() && said.ends_with("all is well\n"), "{said}{complained}");
        }
    }

    fn readme(dir: &Path, change: impl FnOnce(&str) -> String) -> [PathBuf; 2] {
        let readme = std::fs::read_to_string(Path::new(ROOT).join("README.md")).expect("README.md");
        let example = readme.split("```c\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example in C");
        let source = dir.join("readme.c");
        std::fs::write(&source, change(example)).expect("written");
        build("cc", &source, dir)
    }

    #[test]
    fn the_example_in_the_readme_recalls() {
        if !has("cc") {
            return;
        }
        let dir = folder();
        for program in readme(dir.path(), str::to_owned) {
            let output = run(&mut Command::new(&program));
            let (said, complained) = (text(&output.stdout), text(&output.stderr));
            assert!(output.status.success(), "{said}{complained}");
            assert_eq!(said, "1.00 1.00 -1.00 -1.00\n");
        }
    }

    /// The memory checker notices a handle that is not freed, and nothing else in the same program.
    #[test]
    fn a_handle_that_is_not_freed_is_noticed() {
        if !(has("cc") && has("valgrind")) {
            return;
        }
        let dir = folder();
        for (free, status) in [("attractor_memory_free(memory);", 0), ("", 99)] {
            let programs = readme(dir.path(), |example| {
                assert!(example.contains("attractor_memory_free(memory);") && example.contains("device_best("));
                example.replace("attractor_memory_free(memory);", free).replace("device_best(", "device_cpu(")
            });
            let output = checked(&programs[0]);
            assert_eq!(output.status.code(), Some(status), "{}", text(&output.stderr));
        }
    }
}

/// What the last failure of this thread said.
fn message() -> String {
    // SAFETY: the string lives until the next failure of this thread.
    unsafe { CStr::from_ptr(attractor_last_error_message()) }.to_str().expect("UTF-8").to_owned()
}

/// Expects `code`, with all of `words` in its message.
#[track_caller]
fn refused(got: attractor_error, code: attractor_error, words: &[&str]) {
    assert_eq!(got, code, "{}", message());
    for word in words {
        assert!(message().contains(word), "\"{}\" does not say \"{word}\"", message());
    }
}

#[track_caller]
fn succeeds(got: attractor_error) {
    assert_eq!(got, ATTRACTOR_OK, "{}", message());
}

/// What `fill` puts where it is given a place.
#[track_caller]
fn given<T>(fill: impl FnOnce(*mut *mut T) -> attractor_error) -> *mut T {
    let mut handle = null_mut();
    succeeds(fill(&raw mut handle));
    assert!(!handle.is_null());
    handle
}

fn memory_options(dim: usize) -> attractor_memory_options {
    let mut options = std::mem::MaybeUninit::<attractor_memory_options>::uninit();
    // SAFETY: there is room, and what succeeds has filled it.
    unsafe {
        succeeds(attractor_memory_options_init(options.as_mut_ptr(), size_of::<attractor_memory_options>(), dim));
        options.assume_init()
    }
}

fn retrieve_options() -> attractor_retrieve_options {
    let mut options = std::mem::MaybeUninit::<attractor_retrieve_options>::uninit();
    // SAFETY: there is room, and what succeeds has filled it.
    unsafe {
        succeeds(attractor_retrieve_options_init(options.as_mut_ptr(), size_of::<attractor_retrieve_options>()));
        options.assume_init()
    }
}

/// A memory on the CPU engine, freed in the end.
struct Owned(*mut attractor_memory);

// SAFETY: the header allows it.
unsafe impl Sync for Owned {}

impl Owned {
    fn new(options: &attractor_memory_options) -> Self {
        // SAFETY: handles that were just given.
        unsafe {
            let device = given(|device| attractor_device_cpu(device));
            let memory = given(|memory| attractor_memory_create(device, options, memory));
            attractor_device_free(device);
            Self(memory)
        }
    }

    /// Patterns of two dimensions: (1, 0), (0, 1), (-1, 0), ...
    fn of_two(count: usize) -> Self {
        let memory = Self::new(&memory_options(2));
        let keys = circle(count);
        // SAFETY: as many keys as there are.
        unsafe { succeeds(add(memory.0, keys.as_ptr(), null(), null(), count, null_mut())) };
        memory
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: it is ours.
        unsafe { attractor_memory_free(self.0) };
    }
}

/// `attractor_memory_add` of arrays as long as their shapes say.
unsafe fn add(
    memory: *mut attractor_memory,
    keys: *const f32,
    values: *const f32,
    bias: *const f32,
    count: usize,
    first_id: *mut u64,
) -> attractor_error {
    // SAFETY: the caller's.
    unsafe {
        let (dim, value_dim) = (attractor_memory_dim(memory), attractor_memory_value_dim(memory));
        let length = |array: *const f32, columns| if array.is_null() { 0 } else { count.saturating_mul(columns) };
        let (values_length, bias_length) = (length(values, value_dim), length(bias, 1));
        let keys_length = count.saturating_mul(dim);
        attractor_memory_add(memory, keys, keys_length, values, values_length, bias, bias_length, count, first_id)
    }
}

/// `attractor_memory_update`, likewise.
unsafe fn update(
    memory: *mut attractor_memory,
    id: u64,
    key: *const f32,
    value: *const f32,
    bias: *const f32,
) -> attractor_error {
    // SAFETY: the caller's.
    unsafe {
        let (dim, value_dim) = (attractor_memory_dim(memory), attractor_memory_value_dim(memory));
        let length = |array: *const f32, columns| if array.is_null() { 0 } else { columns };
        attractor_memory_update(memory, id, key, dim, value, length(value, value_dim), bias, length(bias, 1))
    }
}

/// `attractor_memory_retrieve`, likewise.
unsafe fn ask(
    memory: *const attractor_memory,
    queries: *const f32,
    count: usize,
    options: *const attractor_retrieve_options,
    output: *mut f32,
    output_length: usize,
    retrieval: *mut *mut attractor_retrieval,
) -> attractor_error {
    // SAFETY: the caller's.
    unsafe {
        let length = count.saturating_mul(attractor_memory_dim(memory));
        attractor_memory_retrieve(memory, queries, length, count, options, output, output_length, retrieval)
    }
}

/// `attractor_memory_retrieve_begin`, likewise.
unsafe fn begin(
    memory: *const attractor_memory,
    queries: *const f32,
    count: usize,
    options: *const attractor_retrieve_options,
    pending: *mut *mut attractor_pending,
) -> attractor_error {
    // SAFETY: the caller's.
    unsafe {
        let length = count.saturating_mul(attractor_memory_dim(memory));
        attractor_memory_retrieve_begin(memory, queries, length, count, options, pending)
    }
}

/// `count` points of two coordinates.
fn circle(count: usize) -> Vec<f32> {
    let quarter = std::f32::consts::FRAC_PI_2;
    (0..count).flat_map(|i| [(i as f32 * quarter).cos(), (i as f32 * quarter).sin()]).collect()
}

#[test]
fn null_is_refused_everywhere() {
    let memory = Owned::of_two(4);
    let (query, mut output, mut id) = ([1.0f32, 0.0], [0.0f32; 2], 0);
    let (none, path) = (null_mut::<attractor_memory>(), c"file".as_ptr());
    let options = memory_options(2);
    let null_pointer = |code, what: &str| refused(code, ATTRACTOR_ERROR_NULL_POINTER, &[what, "is NULL"]);
    // SAFETY: null is what the functions are to refuse; the rest is as it should be.
    unsafe {
        let device = given(|device| attractor_device_cpu(device));
        let (mut a_memory, mut a_retrieval, mut a_pending) = (null_mut(), null_mut(), null_mut());
        null_pointer(attractor_device_best(null_mut()), "device");
        null_pointer(attractor_device_cpu(null_mut()), "device");
        null_pointer(attractor_device_options_init(null_mut(), 40), "options");
        null_pointer(attractor_device_open(null(), &mut null_mut()), "options");
        null_pointer(attractor_adapters_list(null_mut(), null_mut()), "adapters");
        null_pointer(attractor_memory_options_init(null_mut(), 64, 2), "options");
        null_pointer(attractor_memory_create(null(), &raw const options, &raw mut a_memory), "device");
        null_pointer(attractor_memory_create(device, null(), &raw mut a_memory), "options");
        null_pointer(attractor_memory_create(device, &raw const options, null_mut()), "memory");
        null_pointer(attractor_memory_load(device, null(), 0, &raw mut a_memory), "path");
        null_pointer(attractor_memory_load(null(), path, 0, &raw mut a_memory), "device");
        null_pointer(attractor_memory_load(device, path, 0, null_mut()), "memory");
        null_pointer(attractor_memory_id_at(none, 0, &raw mut id), "memory");
        null_pointer(attractor_memory_id_at(memory.0, 0, null_mut()), "id");
        null_pointer(add(none, query.as_ptr(), null(), null(), 1, null_mut()), "memory");
        null_pointer(add(memory.0, null(), null(), null(), 1, null_mut()), "keys");
        null_pointer(update(none, 0, query.as_ptr(), null(), null()), "memory");
        null_pointer(update(memory.0, 0, null(), null(), null()), "keys");
        null_pointer(attractor_memory_remove(none, 0), "memory");
        null_pointer(attractor_memory_clear(none), "memory");
        null_pointer(attractor_memory_reserve(none, 1), "memory");
        null_pointer(attractor_memory_get(none, 0, null_mut(), 0, null_mut(), 0, null_mut()), "memory");
        null_pointer(attractor_memory_get(memory.0, 0, null_mut(), 2, null_mut(), 0, null_mut()), "key");
        null_pointer(attractor_memory_save(none, path), "memory");
        null_pointer(attractor_memory_save(memory.0, null()), "path");
        let out = output.as_mut_ptr();
        null_pointer(ask(none, query.as_ptr(), 1, null(), out, 2, null_mut()), "memory");
        null_pointer(ask(memory.0, null(), 1, null(), out, 2, null_mut()), "queries");
        null_pointer(ask(memory.0, query.as_ptr(), 1, null(), null_mut(), 2, null_mut()), "output");
        null_pointer(begin(none, query.as_ptr(), 1, null(), &raw mut a_pending), "memory");
        null_pointer(begin(memory.0, null(), 1, null(), &raw mut a_pending), "queries");
        null_pointer(begin(memory.0, query.as_ptr(), 1, null(), null_mut()), "pending");
        null_pointer(attractor_retrieve_options_init(null_mut(), 88), "options");
        null_pointer(attractor_pending_take(null_mut(), &raw mut a_retrieval), "pending");
        null_pointer(attractor_pending_wait(null_mut(), &raw mut a_retrieval), "pending");
        assert!(a_memory.is_null() && a_retrieval.is_null() && a_pending.is_null());

        assert!(attractor_pending_is_ready(null_mut()), "what waits for it does not wait for ever");
        assert!(!attractor_memory_contains(none, 0));
        let numbers =
            [attractor_memory_len, attractor_memory_dim, attractor_memory_value_dim, attractor_memory_positions];
        assert!(numbers.iter().all(|number| number(none) == 0));
        let numbers = [attractor_retrieval_count, attractor_retrieval_patterns, attractor_retrieval_top_count];
        assert!(numbers.iter().all(|number| number(null()) == 0));
        let mut length = 7;
        assert!(attractor_retrieval_output(null(), &raw mut length).is_null());
        assert_eq!((length, message().as_str()), (0, "attractor_retrieval_output: retrieval is NULL"));
        assert!(attractor_retrieval_energy_trace(null(), 0, null_mut()).is_null());
        assert!(attractor_device_name(null()).is_null() && attractor_adapters_name(null(), 0).is_null());

        attractor_device_free(null_mut());
        attractor_adapters_free(null_mut());
        attractor_memory_free(null_mut());
        attractor_pending_free(null_mut());
        attractor_retrieval_free(null_mut());
        attractor_device_free(device);
    }
}

/// What `attractor_last_error_message` gave stays as it is, through calls that succeed, until a call fails.
#[test]
fn a_message_stays_until_the_next_failure() {
    let memory = Owned::of_two(4);
    // SAFETY: handles and arrays are as they should be but where that is refused.
    unsafe {
        refused(attractor_memory_remove(memory.0, 77), ATTRACTOR_ERROR_UNKNOWN_ID, &["attractor_memory_remove", "77"]);
        let first = attractor_last_error_message();
        assert_eq!(attractor_last_error_message(), first);
        let before = CStr::from_ptr(first).to_owned();
        let mut output = [0.0f32; 2];
        succeeds(ask(memory.0, [1.0, 0.0].as_ptr(), 1, null(), output.as_mut_ptr(), 2, null_mut()));
        assert_eq!((attractor_last_error_message(), CStr::from_ptr(first)), (first, before.as_c_str()));
        // A message that is handed to the very call that fails.
        let opened = {
            let mut options = std::mem::MaybeUninit::<attractor_device_options>::uninit();
            let size = size_of::<attractor_device_options>();
            succeeds(attractor_device_options_init(options.as_mut_ptr(), size));
            let mut options = options.assume_init();
            options.name = first;
            attractor_device_open(&raw const options, &mut null_mut())
        };
        refused(opened, ATTRACTOR_ERROR_NO_ADAPTER, &["no pattern with id 77"]);
    }
}

#[test]
fn counts_lengths_and_alignment() {
    let memory = Owned::of_two(4);
    let keys = circle(4);
    let (key, mut place, mut id) = (keys.as_ptr(), [0.0f32; 4], 77);
    let out = place.as_mut_ptr();
    // SAFETY: what is refused is refused for its numbers, before a pointer is followed; the rest is as it should be.
    unsafe {
        for count in [usize::MAX, usize::MAX / 2, usize::MAX / 2 + 1, isize::MAX as usize / 4] {
            let limit = |code| refused(code, ATTRACTOR_ERROR_LIMIT, &["elements of one array"]);
            limit(add(memory.0, key, null(), null(), count, null_mut()));
            limit(begin(memory.0, key, count, null(), &mut null_mut()));
        }
        let into = |length| ask(memory.0, key, 1, null(), out, length, null_mut());
        for length in [0, 1, 3, usize::MAX] {
            refused(into(length), ATTRACTOR_ERROR_SHAPE, &["output of 2 elements"]);
        }
        succeeds(into(2));

        let odd = key.byte_add(1);
        refused(
            add(memory.0, odd, null(), null(), 1, null_mut()),
            ATTRACTOR_ERROR_ALIGNMENT,
            &["keys is not aligned to 4 bytes"],
        );
        assert_eq!(attractor_memory_len(memory.0), 4);

        // Nothing is nothing, wherever it is.
        succeeds(add(memory.0, null(), null(), null(), 0, &raw mut id));
        assert_eq!(id, 77);
        let none = given(|none| ask(memory.0, null(), 0, null(), null_mut(), 0, none));
        let mut length = 7;
        assert!(!attractor_retrieval_output(none, &raw mut length).is_null());
        assert_eq!((length, attractor_retrieval_count(none), attractor_retrieval_patterns(none)), (0, 0, 4));
        attractor_retrieval_free(none);

        let get = |key_length, value: *mut f32, value_length| {
            attractor_memory_get(memory.0, 1, out, key_length, value, value_length, null_mut())
        };
        refused(get(3, null_mut(), 0), ATTRACTOR_ERROR_SHAPE, &["key of 2 elements"]);
        refused(get(2, out, 2), ATTRACTOR_ERROR_SHAPE, &["value of 0 elements"]);
        refused(attractor_memory_id_at(memory.0, 4, &raw mut id), ATTRACTOR_ERROR_PARAMETER, &["position", "4"]);

        // Arrays of another length than their shape, such as rows of another width: nothing of them is read.
        let dangling = std::ptr::without_provenance::<f32>(4 << 10);
        let mut nothing = null_mut();
        for length in [0, 1, 3, 4, 6, usize::MAX] {
            let shape = |code, what: &str| refused(code, ATTRACTOR_ERROR_SHAPE, &[what, &length.to_string()]);
            let query = attractor_memory_retrieve(memory.0, dangling, length, 1, null(), out, 2, null_mut());
            shape(query, "attractor_memory_retrieve: expected queries of 1 x 2 = 2 elements");
            let begun = attractor_memory_retrieve_begin(memory.0, dangling, length, 1, null(), &raw mut nothing);
            shape(begun, "queries of 1 x 2 = 2 elements");
            let added = attractor_memory_add(memory.0, dangling, length, null(), 0, null(), 0, 1, null_mut());
            shape(added, "keys of 1 x 2 = 2 elements");
            let updated = attractor_memory_update(memory.0, 0, dangling, length, null(), 0, null(), 0);
            shape(updated, "keys of 1 x 2 = 2 elements");
        }
        let added = attractor_memory_add(memory.0, key, 2, null(), 2, null(), 0, 1, null_mut());
        refused(added, ATTRACTOR_ERROR_SHAPE, &["keys alone"]);
        let added = attractor_memory_add(memory.0, key, 2, null(), 0, dangling, 2, 1, null_mut());
        refused(added, ATTRACTOR_ERROR_SHAPE, &["bias of 1 x 1"]);
        let none = attractor_memory_add(memory.0, key, 2, null(), 0, null(), 0, 0, null_mut());
        refused(none, ATTRACTOR_ERROR_SHAPE, &["keys of 0 x 2"]);
        assert_eq!(attractor_memory_len(memory.0), 4);

        // Wider than the address space whatever the machine has.
        let wide = Owned::new(&memory_options(1 << 16));
        succeeds(add(wide.0, vec![1.0; 1 << 16].as_ptr(), null(), null(), 1, null_mut()));
        refused(
            attractor_memory_reserve(wide.0, usize::MAX),
            ATTRACTOR_ERROR_LIMIT,
            &["attractor_memory_reserve", "windows"],
        );
        let most = isize::MAX as usize >> 20;
        refused(attractor_memory_reserve(wide.0, most), ATTRACTOR_ERROR_OUT_OF_MEMORY, &["host memory"]);
        assert_eq!(attractor_memory_len(wide.0), 1);
    }
}

#[test]
fn numbers_that_are_not_finite_and_options_that_are_not_options() {
    let memory = Owned::of_two(4);
    let mut output = [0.0f32; 2];
    // SAFETY: arrays have their lengths.
    unsafe {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let pair = [0.0, bad];
            let code = add(memory.0, pair.as_ptr(), null(), null(), 1, null_mut());
            refused(code, ATTRACTOR_ERROR_NOT_FINITE, &["keys row 0, column 1", &bad.to_string()]);
            let out = output.as_mut_ptr();
            let code = ask(memory.0, pair.as_ptr(), 1, null(), out, 2, null_mut());
            refused(code, ATTRACTOR_ERROR_NOT_FINITE, &["queries row 0, column 1"]);
            let code = update(memory.0, 0, pair.as_ptr(), null(), null());
            refused(code, ATTRACTOR_ERROR_NOT_FINITE, &["keys row 0, column 1"]);
        }

        let query = [1.0f32, 0.0];
        let mut asked = |change: &dyn Fn(&mut attractor_retrieve_options)| {
            let mut options = retrieve_options();
            change(&mut options);
            ask(memory.0, query.as_ptr(), 1, &raw const options, output.as_mut_ptr(), 2, null_mut())
        };
        let parameter = |code, word: &str| refused(code, ATTRACTOR_ERROR_PARAMETER, &[word]);
        let flags = [1u8; 5];
        parameter(asked(&|options| options.size = 3), "size");
        parameter(asked(&|options| options.size = usize::MAX), "size");
        parameter(asked(&|options| options.steps = 0), "steps");
        parameter(asked(&|options| options.top = 2000), "top");
        parameter(asked(&|options| (options.converge, options.tolerance) = (1, f32::NAN)), "tolerance");
        parameter(asked(&|options| options.mask_layout = 5), "mask_layout");
        parameter(asked(&|options| options.mask = flags.as_ptr()), "mask_layout");
        let mask = |options: &mut attractor_retrieve_options, length| {
            (options.mask, options.mask_length) = (flags.as_ptr(), length);
            options.mask_layout = attractor_mask::ATTRACTOR_MASK_KEEP as u32;
        };
        refused(asked(&|options| mask(options, 5)), ATTRACTOR_ERROR_SHAPE, &["mask of 4 flags", "5"]);
        let huge = asked(&|options| mask(options, usize::MAX));
        refused(huge, ATTRACTOR_ERROR_LIMIT, &["elements of one array"]);
        let null_mask = asked(&|options| {
            mask(options, 4);
            options.mask = null();
        });
        refused(null_mask, ATTRACTOR_ERROR_NULL_POINTER, &["mask"]);
        let clamp = asked(&|options| (options.clamp, options.clamp_length) = (flags.as_ptr(), 5));
        refused(clamp, ATTRACTOR_ERROR_SHAPE, &["clamp of 1 x 2"]);
        refused(asked(&|options| options.clamp_length = 2), ATTRACTOR_ERROR_NULL_POINTER, &["clamp"]);
        succeeds(asked(&|options| mask(options, 4)));

        let device = given(|device| attractor_device_cpu(device));
        let create = |change: &dyn Fn(&mut attractor_memory_options)| {
            let mut options = memory_options(2);
            change(&mut options);
            let mut memory = null_mut();
            let code = attractor_memory_create(device, &raw const options, &raw mut memory);
            assert!(memory.is_null());
            code
        };
        parameter(create(&|options| options.dim = 0), "dim");
        parameter(create(&|options| options.similarity = 4), "similarity");
        parameter(create(&|options| options.separation = u32::MAX), "separation");
        parameter(create(&|options| options.precision = 3), "precision");
        parameter(create(&|options| options.beta = f32::NAN), "beta");
        let topk = attractor_separation::ATTRACTOR_SEPARATION_TOPK as u32;
        parameter(create(&|options| (options.separation, options.k) = (topk, 0)), "k");
        refused(create(&|options| options.dim = usize::MAX), ATTRACTOR_ERROR_LIMIT, &["dimensions of one row"]);
        refused(create(&|options| options.window_bytes = 1), ATTRACTOR_ERROR_LIMIT, &["window"]);
        attractor_device_free(device);
    }
}

#[test]
fn devices_that_are_not_there() {
    let open = |change: &dyn Fn(&mut attractor_device_options)| {
        let mut options = std::mem::MaybeUninit::<attractor_device_options>::uninit();
        let mut device = null_mut();
        // SAFETY: there is room, and what succeeds has filled it.
        unsafe {
            let size = size_of::<attractor_device_options>();
            succeeds(attractor_device_options_init(options.as_mut_ptr(), size));
            let mut options = options.assume_init();
            change(&mut options);
            let code = attractor_device_open(&raw const options, &raw mut device);
            assert!(device.is_null());
            code
        }
    };
    let not_utf8 = [0xff_u8 as c_char, 0];
    refused(open(&|options| options.name = c"no such thing".as_ptr()), ATTRACTOR_ERROR_NO_ADAPTER, &["no such thing"]);
    refused(open(&|options| options.index = 999), ATTRACTOR_ERROR_NO_ADAPTER, &["index 999"]);
    refused(open(&|options| options.index = -2), ATTRACTOR_ERROR_PARAMETER, &["index", "-2"]);
    refused(open(&|options| (options.index, options.name) = (0, c"x".as_ptr())), ATTRACTOR_ERROR_PARAMETER, &["index"]);
    refused(open(&|options| options.backend = 9), ATTRACTOR_ERROR_PARAMETER, &["backend"]);
    refused(open(&|options| options.software = 3), ATTRACTOR_ERROR_PARAMETER, &["software"]);
    refused(open(&|options| options.name = not_utf8.as_ptr()), ATTRACTOR_ERROR_UTF8, &["name"]);

    let mut count = 0;
    // SAFETY: a list that was just given.
    unsafe {
        let list = given(|list| attractor_adapters_list(list, &raw mut count));
        assert!((0..count).all(|index| !attractor_adapters_name(list, index).is_null()));
        assert!(attractor_adapters_kind(list, count).is_null() && message().contains("within the list"));
        attractor_adapters_free(list);
    }
}

#[test]
fn an_answer_is_taken_once_and_may_be_dropped() {
    let memory = Owned::of_two(4);
    let query = [1.0f32, 0.0];
    // SAFETY: handles that were just given.
    unsafe {
        let begun = || given(|pending| begin(memory.0, query.as_ptr(), 1, null(), pending));
        let pending = begun();
        while !attractor_pending_is_ready(pending) {
            std::thread::yield_now();
        }
        attractor_retrieval_free(given(|retrieval| attractor_pending_take(pending, retrieval)));
        let mut none = null_mut();
        refused(attractor_pending_take(pending, &raw mut none), ATTRACTOR_ERROR_TAKEN, &["taken before"]);
        refused(attractor_pending_wait(pending, &raw mut none), ATTRACTOR_ERROR_TAKEN, &["taken before"]);
        assert!(none.is_null() && attractor_pending_is_ready(pending));
        attractor_pending_free(pending);

        let pending = begun();
        attractor_retrieval_free(given(|retrieval| attractor_pending_wait(pending, retrieval)));
        attractor_pending_free(pending);

        for _ in 0..100 {
            attractor_pending_free(begun());
        }
        // The memory goes first, and the answer still comes.
        let orphan = {
            let memory = Owned::of_two(1000);
            given(|pending| begin(memory.0, query.as_ptr(), 1, null(), pending))
        };
        let answer = given(|retrieval| attractor_pending_wait(orphan, retrieval));
        assert_eq!(attractor_retrieval_patterns(answer), 1000);
        attractor_retrieval_free(answer);
        attractor_pending_free(orphan);
    }
}

/// One of the threads that ask for an answer at once gets it.
#[test]
fn one_thread_gets_the_answer() {
    struct Shared(*mut attractor_pending);
    // SAFETY: the header allows it.
    unsafe impl Sync for Shared {}

    let memory = Owned::of_two(1000);
    let query = [1.0f32, 0.0];
    for waits in [false, true] {
        // SAFETY: a handle that is freed when every thread is done with it.
        let pending = Shared(unsafe { given(|pending| begin(memory.0, query.as_ptr(), 1, null(), pending)) });
        let taken = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let pending = &pending;
                    let mut retrieval = null_mut();
                    // SAFETY: the handle is alive.
                    let code = unsafe {
                        match waits {
                            true => attractor_pending_wait(pending.0, &raw mut retrieval),
                            false => loop {
                                let code = attractor_pending_take(pending.0, &raw mut retrieval);
                                if code != ATTRACTOR_NOT_READY {
                                    break code;
                                }
                            },
                        }
                    };
                    match code {
                        ATTRACTOR_OK => taken.fetch_add(1, Ordering::Relaxed),
                        code => {
                            refused(code, ATTRACTOR_ERROR_TAKEN, &[]);
                            0
                        }
                    };
                    // SAFETY: this thread's own, or null.
                    unsafe { attractor_retrieval_free(retrieval) };
                });
            }
        });
        assert_eq!(taken.into_inner(), 1);
        // SAFETY: every thread is done with it.
        unsafe { attractor_pending_free(pending.0) };
    }
}

/// Eight threads retrieve, waiting and polling, while another adds, updates and removes: whatever they see is a memory as
/// it was at some time, and the first pattern, which stays, is recalled in all of them.
#[test]
fn eight_threads_retrieve_while_another_changes_the_memory() {
    let mut options = memory_options(2);
    options.beta = 50.0;
    let memory = Owned::new(&options);
    let keys = circle(3);
    // SAFETY: three keys.
    unsafe { succeeds(add(memory.0, keys.as_ptr(), null(), null(), 3, null_mut())) };
    let done = AtomicBool::new(false);
    let running = AtomicU32::new(8);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let memory = &memory;
                let query = [1.0f32, 0.0];
                for round in 0..200 {
                    let mut output = [0.0f32; 2];
                    // SAFETY: arrays have their lengths, and handles are this thread's own.
                    unsafe {
                        if round % 2 == 0 {
                            let out = output.as_mut_ptr();
                            succeeds(ask(memory.0, query.as_ptr(), 1, null(), out, 2, null_mut()));
                        } else {
                            let pending = given(|pending| begin(memory.0, query.as_ptr(), 1, null(), pending));
                            let answer = given(|answer| attractor_pending_wait(pending, answer));
                            let read = attractor_retrieval_output(answer, null_mut());
                            output.copy_from_slice(std::slice::from_raw_parts(read, 2));
                            attractor_retrieval_free(answer);
                            attractor_pending_free(pending);
                        }
                    }
                    assert!((output[0] - 1.0).abs() < 1e-3 && output[1].abs() < 1e-3, "{output:?}");
                }
                if running.fetch_sub(1, Ordering::AcqRel) == 1 {
                    done.store(true, Ordering::Release);
                }
            });
        }
        scope.spawn(|| {
            let memory = &memory;
            let far = [-1.0f32, -1.0];
            while !done.load(Ordering::Acquire) {
                let mut id = 0;
                // SAFETY: one key.
                unsafe {
                    succeeds(add(memory.0, far.as_ptr(), null(), null(), 1, &raw mut id));
                    succeeds(update(memory.0, id, far.as_ptr(), null(), null()));
                    succeeds(attractor_memory_remove(memory.0, id));
                    assert!(!attractor_memory_contains(memory.0, id));
                }
            }
        });
    });
    // SAFETY: it is alive.
    assert_eq!(unsafe { attractor_memory_len(memory.0) }, 3);
}

/// Values, bias, precision, ids, masks, clamps, reports and files: what comes through the border is what went in.
#[test]
fn everything_comes_through() {
    let mut options = memory_options(2);
    (options.value_dim, options.bias, options.beta) = (3, 1, 4.0);
    let memory = Owned::new(&options);
    let keys = circle(4);
    let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
    let bias = [0.0f32, 0.25, 0.5, 0.75];
    let dir = tempfile::tempdir().unwrap();
    let path = CString::new(dir.path().join("memory.safetensors").to_str().unwrap()).unwrap();
    // SAFETY: arrays have their lengths, and handles were just given.
    unsafe {
        assert_eq!((attractor_memory_dim(memory.0), attractor_memory_value_dim(memory.0)), (2, 3));
        let mut first = u64::MAX;
        let mut added = |values: *const f32| add(memory.0, keys.as_ptr(), values, bias.as_ptr(), 4, &raw mut first);
        refused(added(null()), ATTRACTOR_ERROR_SHAPE, &["values of 3"]);
        succeeds(added(values.as_ptr()));
        assert_eq!(first, 0);

        let (mut key, mut value, mut its_bias) = ([0.0f32; 2], [0.0f32; 3], 0.0);
        let out = (key.as_mut_ptr(), value.as_mut_ptr(), &raw mut its_bias);
        succeeds(attractor_memory_get(memory.0, 2, out.0, 2, out.1, 3, out.2));
        assert_eq!((key, value, its_bias), ([keys[4], keys[5]], [6.0, 7.0, 8.0], 0.5));
        succeeds(update(memory.0, 2, keys.as_ptr(), values.as_ptr(), null()));
        succeeds(attractor_memory_get(memory.0, 2, null_mut(), 0, value.as_mut_ptr(), 3, &raw mut its_bias));
        assert_eq!((value, its_bias), ([0.0, 1.0, 2.0], 0.0));
        succeeds(attractor_memory_remove(memory.0, 0));
        refused(attractor_memory_remove(memory.0, 0), ATTRACTOR_ERROR_UNKNOWN_ID, &["id 0"]);
        assert_eq!((attractor_memory_len(memory.0), attractor_memory_positions(memory.0)), (3, 4));
        let mut id = 0;
        succeeds(attractor_memory_id_at(memory.0, 3, &raw mut id));
        assert_eq!(id, 3);

        let keep = [1u8, 0, 0, 200, 1, 1, 1, 1, 0, 0, 0, 0];
        let known = [0u8, 7, 0, 0, 0, 0];
        let mut retrieve = retrieve_options();
        (retrieve.mask, retrieve.mask_length) = (keep.as_ptr(), keep.len());
        retrieve.mask_layout = attractor_mask::ATTRACTOR_MASK_KEEP_PER_QUERY as u32;
        (retrieve.clamp, retrieve.clamp_length) = (known.as_ptr(), known.len());
        (retrieve.converge, retrieve.steps, retrieve.top, retrieve.statistics, retrieve.weights) = (1, 9, 2, 1, 1);
        retrieve.energy_trace = 1;
        let queries = [0.5f32, 0.25, 0.0, 1.0, 1.0, 1.0];
        let retrieval =
            given(|retrieval| ask(memory.0, queries.as_ptr(), 3, &raw const retrieve, null_mut(), 0, retrieval));
        let mut length = 0;
        let output = attractor_retrieval_output(retrieval, &raw mut length);
        let output = std::slice::from_raw_parts(output, length);
        assert_eq!(&output[..3], [9.0, 10.0, 11.0], "query 0 may use pattern 3 alone");
        assert_eq!(&output[6..], [0.0; 3], "query 2 may use none");
        let state = std::slice::from_raw_parts(attractor_retrieval_state(retrieval, &raw mut length), 6);
        assert_eq!((length, state[1]), (6, 0.25), "it is known");
        let status = std::slice::from_raw_parts(attractor_retrieval_status(retrieval, null_mut()), 3);
        assert_eq!(status[0], attractor_status::ATTRACTOR_STATUS_ANSWERED);
        assert_eq!(status[2], attractor_status::ATTRACTOR_STATUS_NOTHING_LEFT);
        let top = std::slice::from_raw_parts(attractor_retrieval_top_ids(retrieval, null_mut()), 6);
        assert_eq!(&top[..2], [3, ATTRACTOR_NO_PATTERN]);
        for (position, expected) in [(0, ATTRACTOR_NO_PATTERN), (3, 3)] {
            succeeds(attractor_retrieval_id_at(retrieval, position, &raw mut id));
            assert_eq!(id, expected);
        }
        let beyond = attractor_retrieval_id_at(retrieval, 4, &raw mut id);
        refused(beyond, ATTRACTOR_ERROR_PARAMETER, &["attractor_retrieval_id_at", "4 of 4"]);
        let statistics = std::slice::from_raw_parts(attractor_retrieval_statistics(retrieval, null_mut()), 3);
        assert_eq!((statistics[0].support, statistics[0].largest), (1, 1.0));
        assert_eq!(statistics[0].kind, attractor_fixed_point::ATTRACTOR_FIXED_POINT_SINGLE);
        let weights = std::slice::from_raw_parts(attractor_retrieval_weights(retrieval, &raw mut length), 12);
        assert_eq!((length, &weights[..4]), (12, &[0.0, 0.0, 0.0, 1.0][..]));
        let steps = *attractor_retrieval_steps(retrieval, null_mut());
        assert!(!attractor_retrieval_energy_trace(retrieval, 0, &raw mut length).is_null());
        assert_eq!(length, steps as usize + 1);
        assert!(attractor_retrieval_energy_trace(retrieval, 3, &raw mut length).is_null());
        assert!(attractor_retrieval_energy(retrieval, &raw mut length).is_null());
        assert!(length == 0 && message().contains("not asked for"), "{}", message());
        attractor_retrieval_free(retrieval);

        let saved = attractor_memory_save(memory.0, path.as_ptr());
        let device = given(|device| attractor_device_cpu(device));
        if cfg!(feature = "files") {
            succeeds(saved);
            let again = given(|again| attractor_memory_load(device, path.as_ptr(), 0, again));
            assert_eq!((attractor_memory_len(again), attractor_memory_value_dim(again)), (3, 3));
            let (mut one, mut other) = ([0.0f32; 3], [0.0f32; 3]);
            let query = queries.as_ptr();
            succeeds(ask(memory.0, query, 1, null(), one.as_mut_ptr(), 3, null_mut()));
            succeeds(ask(again, query, 1, null(), other.as_mut_ptr(), 3, null_mut()));
            assert_eq!(one, other);
            attractor_memory_free(again);
        } else {
            refused(saved, ATTRACTOR_ERROR_UNSUPPORTED, &["files"]);
        }
        let mut none = null_mut();
        let missing = attractor_memory_load(device, c"/no/such/file".as_ptr(), 0, &raw mut none);
        let code = if cfg!(feature = "files") { ATTRACTOR_ERROR_FILE } else { ATTRACTOR_ERROR_UNSUPPORTED };
        refused(missing, code, &[]);
        attractor_device_free(device);

        succeeds(attractor_memory_clear(memory.0));
        let code = ask(memory.0, queries.as_ptr(), 1, null(), value.as_mut_ptr(), 3, null_mut());
        refused(code, ATTRACTOR_ERROR_EMPTY, &["empty"]);
    }
}
