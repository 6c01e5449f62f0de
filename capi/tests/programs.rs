//! C programs, compiled as C and as C++, linked with both libraries, run, and run under a memory checker.
//!
//! Cargo builds the libraries with this test and puts them beside it. Tools that are missing are reported as skips;
//! those in `ATTRACTOR_REQUIRE_TOOLS`, a comma-separated list, must be installed.
#![cfg(unix)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::command::{has_tool, is_required, text};
use tempfile::TempDir;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The folder of the libraries: that of this test.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().expect("this program");
    test.parent().expect("a folder").to_owned()
}

/// What a program needs beside the archive.
const SYSTEM: &[&str] = match () {
    () if cfg!(target_os = "macos") => &[
        "-lobjc",
        "-framework",
        "CoreFoundation",
        "-framework",
        "CoreGraphics",
        "-framework",
        "Foundation",
        "-framework",
        "Metal",
        "-framework",
        "QuartzCore",
    ],
    () => &["-lpthread", "-ldl", "-lm"],
};

/// Runs a compiler, which must not complain.
fn compile(command: &mut Command) {
    let output = command.output().expect("the compiler starts");
    assert!(output.status.success(), "{command:?}: {}", text(&output.stderr));
    assert!(output.stderr.is_empty(), "{command:?}: {}", text(&output.stderr));
}

/// `compiler` with the flags for `source`.
fn compiler(compiler: &str, source: &Path, program: &Path) -> Command {
    let language: &[&str] = match compiler {
        "c++" => &["-x", "c++", "-std=c++17"],
        _ => &["-x", "c", "-std=c11"],
    };
    let mut command = Command::new(compiler);
    command.args(["-g", "-O1", "-Wall", "-Wextra", "-Werror", "-pedantic"]).args(language);
    command.arg("-I").arg(Path::new(ROOT).join("include")).arg(source).args(["-x", "none", "-o"]).arg(program);
    command
}

/// Compiles `source` in the language of `compiler` and links it both ways, into `dir`.
fn build(with: &str, source: &Path, dir: &Path) -> [PathBuf; 2] {
    ["shared", "archive"].map(|way| {
        let program = dir.join(format!("{with}-{way}"));
        let mut command = compiler(with, source, &program);
        if way == "shared" {
            let folder = libraries();
            command.arg("-L").arg(&folder).args(["-lattractor", "-lm"]).arg(format!("-Wl,-rpath,{}", folder.display()));
        } else {
            command.arg(libraries().join("libattractor.a")).args(SYSTEM);
        }
        compile(&mut command);
        program
    })
}

/// Runs a program with the system's Vulkan drivers alone.
fn run(command: &mut Command) -> Output {
    let dir = tempfile::tempdir().expect("a folder");
    command.env_remove("VK_ADD_DRIVER_FILES").env("XDG_RUNTIME_DIR", dir.path());
    command.output().expect("the program starts")
}

/// Runs an example on `device`; where that is missing, a skip is reported.
fn recall(program: &Path, device: &str, required_as: &str) {
    let output = run(Command::new(program).arg(device));
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    if output.status.code() == Some(77) {
        eprintln!("SKIP {}", complained.trim());
        assert!(!is_required(required_as, "ATTRACTOR_REQUIRE_ADAPTERS"), "{required_as} is required and is not there");
        return;
    }
    assert!(output.status.success(), "{} {device}: {said}{complained}", program.display());
    assert!(said.ends_with("all is well\n") && complained.is_empty(), "{said}{complained}");
}

fn source() -> PathBuf {
    Path::new(ROOT).join("examples/recall.c")
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

/// Both examples.
fn sources() -> [PathBuf; 2] {
    ["recall", "networks"].map(|name| Path::new(ROOT).join("examples").join(name).with_extension("c"))
}

#[test]
fn the_examples_run_as_c_and_as_cpp_however_they_are_linked() {
    for compiler in ["cc", "c++"].into_iter().filter(|compiler| has_tool(compiler)) {
        for source in sources() {
            let dir = folder();
            for program in build(compiler, &source, dir.path()) {
                recall(&program, "cpu", "cpu");
                recall(&program, "vulkan-software", "lavapipe");
            }
        }
    }
}

/// A program that was linked by path finds the library elsewhere: it looks for a name and not for that path.
#[test]
#[cfg(target_os = "linux")]
fn a_library_that_was_moved_is_found() {
    if !has_tool("cc") {
        return;
    }
    let dir = folder();
    let [here, there] = ["here", "there"].map(|name| dir.path().join(name));
    std::fs::create_dir(&here).expect("a folder");
    let library = here.join("libattractor.so");
    std::fs::copy(libraries().join("libattractor.so"), &library).expect("copied");
    let program = dir.path().join("recall");
    compile(compiler("cc", &source(), &program).arg(&library).arg("-lm"));
    std::fs::rename(&here, &there).expect("moved");
    let lost = run(Command::new(&program).arg("cpu"));
    assert!(!lost.status.success() && text(&lost.stderr).contains("libattractor.so"), "{}", text(&lost.stderr));
    let found = run(Command::new(&program).arg("cpu").env("LD_LIBRARY_PATH", &there));
    assert!(found.status.success(), "{}", text(&found.stderr));
}

/// Under the memory checker, on the CPU engine: drivers leak at their own discretion. Memory that is still reachable
/// when the program ends is that of `rayon`'s threads.
fn checked(program: &Path) -> Output {
    // Valgrind runs one thread at a time. Unless that is fair, a thread that polls leaves none to those that compute.
    run(Command::new("valgrind")
        .arg("--fair-sched=yes")
        .args(["--error-exitcode=99", "--leak-check=full", "--errors-for-leak-kinds=definite", "--quiet"])
        .arg(program)
        .arg("cpu"))
}

#[test]
fn the_examples_leak_nothing_and_read_nothing_that_is_not_their_own() {
    if !(has_tool("cc") && has_tool("valgrind")) {
        return;
    }
    for source in sources() {
        let dir = folder();
        for program in build("cc", &source, dir.path()) {
            let output = checked(&program);
            let (said, complained) = (text(&output.stdout), text(&output.stderr));
            assert!(output.status.success() && said.ends_with("all is well\n"), "{said}{complained}");
        }
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
    if !has_tool("cc") {
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
    if !(has_tool("cc") && has_tool("valgrind")) {
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
