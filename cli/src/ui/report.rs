//! What a command has measured so far, for people and for machines: `--json`.
//!
//! A command prints what it finds as it finds it, and adds it to its report. The report is written when the command is
//! through, and when it is interrupted.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use attractor::device::DeviceInfo;
use attractor::files::{check_target, write_whole};
use serde_json::{Value, json};

use super::interrupt;
use crate::failure::{Failure, emit};

/// The flag that asks for a report.
#[derive(clap::Args, Clone, Debug)]
pub struct JsonArgs {
    /// Write what was found as JSON to this file; `-` or no file is standard output, which then gets nothing else.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = "-")]
    json: Option<PathBuf>,
}

impl JsonArgs {
    /// The report of `command`, which reads and writes `others`. Refuses a file that cannot be written.
    pub fn begin(&self, command: &str, others: &[&Path]) -> Result<Report, Failure> {
        Report::begin(self.json.clone(), command, others)
    }
}

/// What is known so far: a JSON object, and whether it is written.
struct State {
    value: Value,
    written: bool,
}

/// What a command has found so far.
pub struct Report {
    state: Arc<Mutex<State>>,
    target: Option<PathBuf>,
}

impl Report {
    /// As [`JsonArgs::begin`]; nothing is written where there is no `target`.
    pub fn begin(target: Option<PathBuf>, command: &str, others: &[&Path]) -> Result<Self, Failure> {
        if let Some(file) = target.as_deref().filter(|file| !is_stdout(file)) {
            check_target(file, others)?;
        }
        let value = json!({
            "attractor": env!("CARGO_PKG_VERSION"), "command": command, "system": std::env::consts::OS,
            "architecture": std::env::consts::ARCH, "threads": rayon::current_num_threads(),
            "unix_time": harness::clock::unix_time(), "complete": false,
        });
        let state = Arc::new(Mutex::new(State { value, written: false }));
        let (kept, at) = (state.clone(), target.clone());
        interrupt::then(move || lock(&kept).write(at.as_deref()));
        Ok(Self { state, target })
    }

    /// Whether standard output is for JSON alone.
    pub fn is_stdout(&self) -> bool {
        self.target.as_deref().is_some_and(is_stdout)
    }

    /// Prints for people, unless standard output is for JSON.
    pub fn say(&self, text: &str) -> Result<(), Failure> {
        if self.is_stdout() { Ok(()) } else { emit(text) }
    }

    /// Sets a field.
    pub fn set(&self, name: &str, to: Value) {
        lock(&self.state).value[name] = to;
    }

    /// Appends to the list at `pointer` (RFC 6901), which is made where it does not exist.
    pub fn push(&self, pointer: &str, item: Value) {
        let mut state = lock(&self.state);
        let (parent, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
        if let Some(Value::Object(parent)) = state.value.pointer_mut(parent)
            && let Value::Array(list) = parent.entry(name).or_insert_with(|| json!([]))
        {
            list.push(item);
        }
    }

    /// Writes the report, complete.
    pub fn finish(self) -> Result<(), Failure> {
        self.set("complete", true.into());
        lock(&self.state).write(self.target.as_deref())?;
        interrupt::done();
        Ok(())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// Writes the report once: who is interrupted while it is written waits for that.
    fn write(&mut self, target: Option<&Path>) -> Result<(), Failure> {
        if std::mem::replace(&mut self.written, true) {
            return Ok(());
        }
        let text = format!("{:#}\n", self.value);
        match target {
            None => Ok(()),
            Some(file) if is_stdout(file) => emit(&text),
            Some(file) => Ok(write_whole(file, text.as_bytes())?),
        }
    }
}

/// What reports say of a device.
pub fn device_json(info: &DeviceInfo) -> Value {
    let DeviceInfo { name, backend, driver, kind, .. } = info;
    json!({ "name": name, "backend": backend, "driver": driver, "kind": kind.name() })
}

fn is_stdout(file: &Path) -> bool {
    file.as_os_str() == "-"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_made_where_they_are_needed() {
        let report = Report { state: Arc::new(Mutex::new(State { value: json!({}), written: false })), target: None };
        report.push("/devices", json!({ "name": "a" }));
        report.push("/devices/0/rows", json!(1));
        report.push("/devices/0/rows", json!(2));
        report.push("/devices", json!({ "name": "b" }));
        assert_eq!(lock(&report.state).value, json!({ "devices": [{ "name": "a", "rows": [1, 2] }, { "name": "b" }] }));
    }
}
