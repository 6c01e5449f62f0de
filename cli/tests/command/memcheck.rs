//! The command on the CPU engine under a memory checker with its default options: no read of uninitialised memory.
//!
//! Needs valgrind; where it is missing the test is skipped, unless `ATTRACTOR_REQUIRE_TOOLS` lists it.

use std::process::Command;

use harness::Rng;
use harness::command::has_tool;

/// An `.npy` file of `rows x columns`.
fn npy(rows: usize, columns: usize, seed: u64) -> Vec<u8> {
    let mut header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}");
    header += &" ".repeat(63 - (10 + header.len()) % 64);
    header.push('\n');
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(Rng(seed).vector(rows * columns).iter().flat_map(|x| x.to_le_bytes()));
    file
}

#[test]
fn nothing_is_read_that_was_not_written() {
    if !has_tool("valgrind") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("keys.npy"), npy(300, 23, 1)).unwrap();
    std::fs::write(dir.path().join("queries.npy"), npy(40, 23, 2)).unwrap();
    for rule in [
        "--separation softmax --energy",
        "--separation softmax1 --similarity manhattan --converge 5 --tolerance 1e-3",
        "--separation sparsemax --similarity euclidean --steps 3 --energy",
        "--separation entmax --alpha 1.5 --precision f16",
        "--separation entmax --alpha 3 --similarity cosine",
        "--separation topk --k 5 --precision i8",
    ] {
        let mut command = Command::new("valgrind");
        command.args(["--error-exitcode=99", env!("CARGO_BIN_EXE_attractor"), "retrieve", "--tuning", "none"]);
        command.args(["--device", "cpu", "--keys", "keys.npy", "--queries", "queries.npy", "--out", "out.safetensors"]);
        command.args(["--weights", "--top", "3"]).args(rule.split(' '));
        let output = command.current_dir(dir.path()).env("XDG_RUNTIME_DIR", dir.path()).output().unwrap();
        assert!(output.status.success(), "{rule}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
