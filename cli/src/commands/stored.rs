//! Patterns in files, from which commands answer.

use std::ops::ControlFlow;
use std::path::Path;

use attractor::files::{PatternFiles, SavedMemory};
use attractor::{Device, LoadOptions, Memory, Precision, Rule};

use crate::failure::Failure;
use crate::ui::progress;

/// Where the rows of patterns are kept.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct PlacementArgs {
    /// Leave the rows of --memory in its file, and read them as they are needed: for memories larger than this
    /// machine's.
    #[arg(long, conflicts_with = "keys")]
    pub rows_in_file: bool,
    /// The most bytes of keys and values that a GPU holds; the others stream through it.
    #[arg(long, value_name = "BYTES")]
    pub device_bytes: Option<u64>,
}

/// How patterns are stored. Those of a saved memory have the precision that it was saved with.
#[derive(Clone, Copy, Default)]
pub struct StoreOptions {
    pub precision: Precision,
    pub saturate: bool,
    pub window_bytes: Option<u64>,
    pub placement: PlacementArgs,
}

impl StoreOptions {
    /// The options of a saved memory that answers by `rule`.
    pub fn load(&self, rule: Rule) -> LoadOptions {
        let mut options = LoadOptions::default().rule(rule);
        if let Some(bytes) = self.window_bytes {
            options = options.window_bytes(bytes);
        }
        if let Some(bytes) = self.placement.device_bytes {
            options = options.device_bytes(bytes);
        }
        if self.placement.rows_in_file { options.rows_in_file() } else { options }
    }
}

/// Where the patterns come from.
pub enum Stored {
    Tensors(Box<PatternFiles>),
    Memory(Box<SavedMemory>),
}

impl Stored {
    /// The saved memory that `--memory` names.
    pub fn saved(path: &Path) -> Result<SavedMemory, Failure> {
        SavedMemory::open(path).map_err(|error| match Failure::from(error) {
            Failure::Work(why) if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npy")) => {
                let file = path.display();
                Failure::Work(format!("{why}; --memory takes what Memory::save wrote, --keys {file} the array itself"))
            }
            failure => failure,
        })
    }

    pub fn dim(&self) -> usize {
        match self {
            Self::Tensors(patterns) => patterns.dim(),
            Self::Memory(saved) => saved.dim(),
        }
    }

    /// `N`.
    pub fn positions(&self) -> usize {
        match self {
            Self::Tensors(patterns) => patterns.len(),
            Self::Memory(saved) => saved.position_count(),
        }
    }

    /// The patterns in a memory on `device`.
    pub fn build(&self, asked: StoreOptions, rule: Rule, device: &Device) -> Result<Memory, Failure> {
        match self {
            Self::Tensors(patterns) => {
                let mut options = patterns.options(rule).precision(asked.precision);
                if let Some(bytes) = asked.window_bytes {
                    options = options.window_bytes(bytes);
                }
                if let Some(bytes) = asked.placement.device_bytes {
                    options = options.device_bytes(bytes);
                }
                if asked.saturate {
                    options = options.saturate();
                }
                let mut memory = options.build(device)?;
                let bar = progress::bar(patterns.len(), "storing");
                let stored = memory.import_with_progress(patterns, |progress| {
                    bar.set_position(progress.done as u64);
                    ControlFlow::Continue(())
                });
                bar.finish_and_clear();
                stored.map_err(|error| match error {
                    range @ attractor::Error::Range { .. } => {
                        Failure::Work(format!("{range}; --saturate stores the largest half instead"))
                    }
                    error => error.into(),
                })?;
                Ok(memory)
            }
            Self::Memory(saved) => Ok(saved.load(device, &asked.load(rule))?),
        }
    }
}

/// Name and shape of the keys, as messages have them.
impl std::fmt::Display for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tensors(patterns) => patterns.keys().fmt(f),
            Self::Memory(saved) => {
                write!(f, "keys of {} are {} x {}", saved.path().display(), saved.position_count(), saved.dim())
            }
        }
    }
}
