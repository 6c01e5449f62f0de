//! The command in a terminal: tables and help that fit it, colours, Ctrl-C, completions, and what scripts get of it.

use std::path::Path;

use super::common::{self, attractor, command, text};
use serde_json::Value;
use tempfile::TempDir;

const RECALL: [&str; 7] = ["recall", "--device", "cpu", "--patterns", "20", "--output", "recall.png"];
const BENCH: [&str; 9] =
    ["bench", "--device", "cpu", "--sizes", "large-128-f16,entmax", "--seconds", "0.01", "--divide", "512"];

/// Runs the command, which succeeds without a word on standard error.
#[track_caller]
fn succeeds(dir: &Path, args: &[&str]) -> String {
    let output = attractor(dir, args);
    assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {}", text(&output.stderr));
    text(&output.stdout)
}

/// That no line is wider than `columns`, and that there are some.
#[track_caller]
fn fits(said: &str, columns: usize, what: &[&str]) {
    assert!(said.lines().count() > 3, "{what:?}: {said}");
    for line in said.lines() {
        assert!(line.chars().count() <= columns, "{what:?}: {} characters of {columns}: {line}", line.chars().count());
    }
}

/// Every command that prints a table of its own accord and takes no GPU.
fn tables() -> Vec<Vec<&'static str>> {
    const CASE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/family/torchhd_memories.safetensors");
    let family = vec!["family", "--device", "cpu", "--case", CASE];
    vec![vec!["devices"], RECALL.to_vec(), BENCH.to_vec(), vec!["verify", "--device", "cpu"], family]
}

#[test]
fn tables_fit_where_the_width_is_not_known() {
    let dir = TempDir::new().unwrap();
    for args in tables() {
        fits(&succeeds(dir.path(), &args), 100, &args);
    }
}

#[cfg(unix)]
#[test]
fn tables_fit_the_terminal() {
    let dir = TempDir::new().unwrap();
    for columns in [80, 100] {
        for args in tables() {
            let (said, _, status) = common::in_terminal(columns, &mut command(dir.path(), &args));
            assert_eq!(status, Some(0), "{args:?}: {said}");
            fits(&said, usize::from(columns), &args);
        }
    }
}

#[cfg(unix)]
#[test]
fn help_fits_a_terminal_of_80_columns() {
    let dir = TempDir::new().unwrap();
    let commands = ["devices", "recall", "retrieve", "bench", "tune", "verify", "family", "completions"];
    for name in commands {
        let (said, _, status) = common::in_terminal(80, command(dir.path(), &[name, "--help"]).env("NO_COLOR", "1"));
        assert_eq!(status, Some(0), "{name}");
        fits(&said, 80, &[name]);
        assert!(said.contains("Usage: attractor"), "{said}");
    }
    let (said, _, _) = common::in_terminal(80, command(dir.path(), &["--help"]).env("NO_COLOR", "1"));
    fits(&said, 80, &["--help"]);
    assert!(commands.iter().all(|name| said.contains(name)), "{said}");
}

#[cfg(unix)]
#[test]
fn colours_are_for_terminals_that_want_them() {
    let dir = TempDir::new().unwrap();
    let help = |colour: Option<&str>| {
        let mut command = command(dir.path(), &["--help"]);
        command.env_remove("NO_COLOR").env("TERM", "xterm-256color").envs(colour.map(|value| ("NO_COLOR", value)));
        common::in_terminal(100, &mut command).0
    };
    assert!(help(None).contains("\x1b["), "a terminal is given styles");
    assert!(!help(Some("1")).contains('\x1b'), "NO_COLOR forbids them");
    assert!(!succeeds(dir.path(), &["--help"]).contains('\x1b'), "a pipe is given none");
}

/// Rows appear as they are measured, Ctrl-C keeps them, and the exit status is 130.
#[cfg(unix)]
#[test]
fn an_interrupted_command_leaves_what_it_measured() {
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;

    let dir = TempDir::new().unwrap();
    // Each size takes three seconds.
    let args = ["bench", "--device", "cpu", "--sizes", "latency,batch", "--seconds", "3", "--json", "interrupted.json"];
    let mut started = command(dir.path(), &args);
    started.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = started.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let row = lines.find(|line| line.as_ref().unwrap().starts_with("latency ")).expect("the row is printed").unwrap();
    kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
    let status = child.wait().unwrap();
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!(status.code(), Some(130), "{row}: {complaints}");
    assert_eq!(complaints, "attractor: interrupted\n");
    let kept: Value = serde_json::from_slice(&std::fs::read(dir.path().join("interrupted.json")).unwrap()).unwrap();
    assert_eq!((&kept["complete"], &kept["command"]), (&false.into(), &"bench".into()));
    let rows = kept["devices"][0]["rows"].as_array().unwrap();
    assert!(rows.len() == 1 && rows[0]["size"] == "latency", "{kept}");
    assert!(!dir.path().join("bench.svg").exists(), "it was not through");
}

/// `--json -` is a document and nothing else; `--json FILE` is the same beside what people read.
#[test]
fn reports_are_json() {
    let dir = TempDir::new().unwrap();
    let dir = dir.path();
    let all: [(&[&str], &str); 4] = [
        (&["devices"], "/devices/0/name"),
        (&RECALL, "/rows/0/recalled"),
        (&BENCH, "/devices/0/rows/0/seconds"),
        (&["verify", "--device", "cpu"], "/cases/0/share_of_bound"),
    ];
    for (args, pointer) in all {
        let whole: Value = serde_json::from_str(&succeeds(dir, &[args, &["--json", "-"]].concat()))
            .unwrap_or_else(|error| panic!("{args:?}: {error}"));
        assert!(whole.pointer(pointer).is_some_and(|found| !found.is_null()), "{pointer}: {whole}");
        assert_eq!((&whole["command"], &whole["complete"]), (&args[0].into(), &true.into()));
        let said = succeeds(dir, &[args, &["--json", "report.json"]].concat());
        assert!(!said.contains("\"command\""), "{said}");
        let written: Value = serde_json::from_slice(&std::fs::read(dir.join("report.json")).unwrap()).unwrap();
        let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys(&written), keys(&whole), "{args:?}");
        // Without a value, it is standard output.
        let bare = succeeds(dir, &[args, &["--json"]].concat());
        assert!(serde_json::from_str::<Value>(&bare).is_ok(), "{args:?}: {bare}");
        // A file that cannot be written is refused before anything is measured.
        let refused = attractor(dir, &[args, &["--json", "no/such/folder/report.json"]].concat());
        assert_eq!((refused.status.code(), text(&refused.stdout)), (Some(1), String::new()), "{args:?}");
    }
}

/// Two runs on one device give the same bits, case by case; and cases have bits of their own.
#[test]
fn verify_tells_the_bits_of_every_case() {
    let dir = TempDir::new().unwrap();
    let bits = || -> Vec<String> {
        let whole: Value =
            serde_json::from_str(&succeeds(dir.path(), &["verify", "--device", "cpu", "--json"])).unwrap();
        let of = |case: &Value| case["bits"].as_str().unwrap_or_else(|| panic!("{case}")).to_owned();
        whole["cases"].as_array().unwrap().iter().map(of).collect()
    };
    let first = bits();
    assert_eq!(first, bits());
    assert!(first.len() > 80 && first.iter().all(|bits| bits.len() == 16), "{first:?}");
    let different: std::collections::BTreeSet<&String> = first.iter().collect();
    assert!(different.len() > first.len() - 8, "{} of {}", different.len(), first.len());
}

#[test]
fn shells_get_completions() {
    let dir = TempDir::new().unwrap();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let script = succeeds(dir.path(), &["completions", shell]);
        for word in ["attractor", "verify", "recall", "json"] {
            assert!(script.contains(word), "{shell}: {word}");
        }
    }
    let refused = attractor(dir.path(), &["completions", "abacus"]);
    assert_eq!(refused.status.code(), Some(2));
}

/// What drivers complain about is not the user's, and errors are words.
#[test]
fn nothing_strange_is_said() {
    let dir = TempDir::new().unwrap();
    for variable in [None, Some("relative"), Some("")] {
        let mut devices = command(dir.path(), &["devices"]);
        devices.env_remove("XDG_RUNTIME_DIR").envs(variable.map(|value| ("XDG_RUNTIME_DIR", value)));
        let output = devices.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{variable:?}: {}", text(&output.stderr));
    }
    let other = if cfg!(target_os = "macos") { "dx12" } else { "metal" };
    let refused = attractor(dir.path(), &["verify", "--device", other]);
    let said = text(&refused.stderr);
    assert_eq!((refused.status.code(), said.lines().count()), (Some(1), 1), "{said}");
    assert!(said.contains(&format!("backend {other}")) && !said.contains("Backends("), "{said}");
}
