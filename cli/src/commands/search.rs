//! `attractor search`: the nearest patterns of each query.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use attractor::files::{self, Address, KeyType, NewTensor, PatternFiles, Role, Tensor};
use attractor::keyed::{Key, KeyedMemory};
use attractor::retrieval::MAX_TOP;
use attractor::{Device, Hits, Memory, PatternId, Rule, SearchOptions, Separation, Similarity};
use serde_json::Value;

use crate::args::{PrecisionArg, SimilarityArg, TunedArgs, at_least_one, check_extension, finite};
use crate::commands::stored::{PlacementArgs, StoreOptions, Stored};
use crate::failure::{Failure, emit};

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
\x20   attractor search --memory m.safetensors --queries q.npy --top 5
    attractor search --keys keys.npy --similarity cosine --queries q.npy \\
        --threshold 0.8 --out hits.safetensors

F is file.npy or file.safetensors:tensor, of f32, f16, bf16 or f64. Neither beta nor a separation nor a bias plays a \
part: patterns are ranked by their similarity alone.

Without --out a line of JSON is printed for each query: its number, its hits, nearest first, and with --threshold how \
many patterns meet it, listed or not:

    {\"query\":0,\"hits\":[{\"id\":7,\"similarity\":0.93}],\"found\":1}
    {\"query\":0,\"hits\":[{\"id\":7,\"key\":\"cat\",\"similarity\":0.93,\"metadata\":{}}]}

Under euclidean and manhattan similarity a hit has a distance instead (euclidean: the square |x - k|^2). An id is that \
of the memory, or the row of --keys; a memory with keys of its own has them and their metadata beside it, as in the \
second line. Lines are printed as queries are answered: those before a failure are right.

With --out these are written: ids (B x K, u64; 18446744073709551615 where there is no hit), similarity (B x K, f32), \
and with --threshold found (B, u64).

Exit status: 0, 2 for bad usage, 1 for a failure.";

/// The flags of `attractor search`.
#[derive(clap::Args, Debug)]
#[command(group = clap::ArgGroup::new("patterns").required(true))]
pub struct SearchArgs {
    /// The saved memory to search.
    #[arg(long, value_name = "F.safetensors", group = "patterns")]
    memory: Option<PathBuf>,
    /// The patterns to search, N x d, instead of --memory.
    #[arg(long, value_name = "F", group = "patterns")]
    keys: Option<Address>,
    /// The queries, B x d.
    #[arg(long, value_name = "F")]
    queries: Address,
    /// How many patterns to find for each query, at most 1024.
    #[arg(long, value_name = "K", default_value = "10", value_parser = at_least_one)]
    top: usize,
    /// Find only patterns of at least this similarity; under euclidean and manhattan, within this distance (euclidean:
    /// its square).
    #[arg(long, value_name = "S", value_parser = finite, allow_hyphen_values = true)]
    threshold: Option<f32>,
    /// The file to write, instead of lines of JSON on standard output.
    #[arg(long, value_name = "F.safetensors")]
    out: Option<PathBuf>,
    /// Print how the hits are computed, with --out: kernels, tiles, windows, dispatches, estimated bytes and
    /// operations.
    #[arg(long, requires = "out")]
    explain: bool,
    /// How a query is compared with a pattern [default: cosine, or that of --memory].
    #[arg(long, value_enum)]
    similarity: Option<SimilarityArg>,
    /// How the patterns of --keys are stored.
    #[arg(long, value_enum, default_value = "f32", conflicts_with = "memory")]
    precision: PrecisionArg,
    #[command(flatten)]
    placement: PlacementArgs,
    #[command(flatten)]
    device: TunedArgs,
}

/// Queries are asked this many numbers at a time.
const CHUNK: usize = 1 << 22;

impl SearchArgs {
    /// Every file that is read.
    fn inputs(&self) -> Vec<&Path> {
        let tensors = self.keys.as_ref().into_iter().chain([&self.queries]).map(Address::path);
        tensors.chain(self.memory.as_deref()).chain(self.device.tuning.file()).collect()
    }

    fn check(&self) -> Result<(), Failure> {
        if self.top > MAX_TOP {
            return Err(Failure::Usage(format!("--top {} is more than the {MAX_TOP} that can be found", self.top)));
        }
        match &self.out {
            Some(out) => {
                check_extension("--out", out, "safetensors")?;
                Ok(files::check_target(out, &self.inputs())?)
            }
            None => Ok(()),
        }
    }

    /// The patterns, and the rule to store them under.
    fn stored(&self) -> Result<(Stored, Rule), Failure> {
        let (stored, rule) = match (&self.memory, &self.keys) {
            (Some(path), _) => {
                let saved = Stored::saved(path)?;
                let rule = saved.rule();
                (Stored::Memory(saved.into()), rule)
            }
            (None, Some(keys)) => {
                let rule = Rule::new(Similarity::Cosine, Separation::Softmax, 1.0);
                (Stored::Tensors(PatternFiles::open(keys)?.into()), rule)
            }
            // The parser asks for one of them.
            (None, None) => return Err(Failure::Usage("expected --memory or --keys".into())),
        };
        let similarity = self.similarity.map_or(rule.similarity, SimilarityArg::into);
        Ok((stored, Rule { similarity, ..rule }))
    }

    fn options(&self, similarity: Similarity) -> SearchOptions {
        let options = SearchOptions::from(self.top);
        match (self.threshold, similarity) {
            (None, _) => options,
            (Some(most), Similarity::Euclidean | Similarity::Manhattan) => options.at_most(most),
            (Some(least), _) => options.at_least(least),
        }
    }
}

/// Searches, and prints or writes the hits.
pub fn run(args: &SearchArgs) -> Result<(), Failure> {
    args.check()?;
    let (stored, rule) = args.stored()?;
    let queries = Tensor::open(Role::Queries, &args.queries)?;
    let (batch, columns) = queries.matrix()?;
    if columns != stored.dim() {
        return Err(Failure::Work(format!("{queries}, but {stored}: expected as many columns in both")));
    }
    let device = args.device.open()?;
    let store = StoreOptions { precision: args.precision.into(), placement: args.placement, ..StoreOptions::default() };
    let searched = Searched::open(&stored, store, rule, &device)?;
    let memory = searched.memory();
    if memory.is_empty() {
        return Err(Failure::Work(format!("{stored}, but no pattern is stored: there is nothing to search")));
    }
    let chunk = (CHUNK / columns.max(args.top)).clamp(1, batch.max(1));
    // One plan for every chunk, so that a query's bits do not depend on where the cuts fall.
    let options = args.options(rule.similarity).plan_for(chunk);
    if args.explain && batch > 0 {
        emit(&format!("{}\n", memory.explain_search(chunk, &options)?))?;
    }
    let mut all = Found::default();
    for first in (0..batch).step_by(chunk) {
        let rows = first..batch.min(first + chunk);
        let part = queries.floats(rows.start * columns..rows.end * columns)?;
        let hits = memory.search_blocking(&part, &options)?;
        match &args.out {
            Some(_) => all.append(hits),
            None => emit(&lines(&searched, &hits, first))?,
        }
    }
    match &args.out {
        Some(out) => all.write(out, batch),
        None => Ok(()),
    }
}

/// The memory that is searched, with the keys of its patterns where they have some.
enum Searched {
    Plain(Memory),
    Numbers(KeyedMemory<u64>),
    Texts(KeyedMemory<String>),
}

impl Searched {
    fn open(stored: &Stored, store: StoreOptions, rule: Rule, device: &Device) -> Result<Self, Failure> {
        let Stored::Memory(saved) = stored else { return Ok(Self::Plain(stored.build(store, rule, device)?)) };
        let options = store.load(rule);
        Ok(match saved.key_type() {
            Some(KeyType::String) => Self::Texts(KeyedMemory::load_with(device, saved.path(), &options)?),
            Some(KeyType::U64) => Self::Numbers(KeyedMemory::load_with(device, saved.path(), &options)?),
            _ => Self::Plain(stored.build(store, rule, device)?),
        })
    }

    fn memory(&self) -> &Memory {
        match self {
            Self::Plain(memory) => memory,
            Self::Numbers(keyed) => keyed.memory(),
            Self::Texts(keyed) => keyed.memory(),
        }
    }

    /// A hit as JSON. Metadata are as they are stored, but on one line: outside of strings a line break is a space, and
    /// within them JSON has none.
    fn hit(&self, id: PatternId, name: &str, measured: f32) -> String {
        let (key, metadata) = match self {
            Self::Plain(_) => (None, None),
            Self::Numbers(keyed) => named(keyed, id, u64::to_string),
            Self::Texts(keyed) => named(keyed, id, |key| Value::from(key).to_string()),
        };
        let mut text = format!("{{\"id\":{}", id.0);
        // Writing to a String cannot fail.
        if let Some(key) = key {
            let _ = write!(text, ",\"key\":{key}");
        }
        let _ = write!(text, ",\"{name}\":{measured:?}");
        if let Some(metadata) = metadata {
            let _ = write!(text, ",\"metadata\":{}", metadata.replace(['\n', '\r'], " "));
        }
        text.push('}');
        text
    }
}

/// The key of a pattern as JSON, and its metadata, where it has some.
fn named<K: Key>(
    keyed: &KeyedMemory<K>,
    id: PatternId,
    json: impl Fn(&K::Ref) -> String,
) -> (Option<String>, Option<&str>) {
    let Some(key) = keyed.key_of(id) else { return (None, None) };
    (Some(json(key)), keyed.metadata(key).ok().flatten())
}

/// The hits of all queries.
#[derive(Default)]
struct Found {
    k: usize,
    ids: Vec<u64>,
    similarity: Vec<f32>,
    found: Option<Vec<u64>>,
}

impl Found {
    fn append(&mut self, hits: Hits) {
        self.k = hits.k;
        self.ids.extend(hits.ids.iter().map(|id| id.map_or(u64::MAX, |PatternId(id)| id)));
        self.similarity.extend(hits.similarity);
        if let Some(found) = hits.found {
            self.found.get_or_insert_default().extend(found);
        }
    }

    fn write(&self, out: &Path, batch: usize) -> Result<(), Failure> {
        let mut tensors = vec![
            NewTensor::u64("ids", &[batch, self.k], &self.ids),
            NewTensor::f32("similarity", &[batch, self.k], &self.similarity),
        ];
        if let Some(found) = &self.found {
            tensors.push(NewTensor::u64("found", &[batch], found));
        }
        files::write_tensors(out, &tensors)?;
        let list: Vec<String> = tensors.iter().map(ToString::to_string).collect();
        emit(&format!("wrote {}: {}\n", out.display(), list.join(", ")))
    }
}

/// A line for each query, the first of which is number `first`.
fn lines(searched: &Searched, hits: &Hits, first: usize) -> String {
    let name = match searched.memory().rule().similarity {
        Similarity::Euclidean | Similarity::Manhattan => "distance",
        _ => "similarity",
    };
    let mut text = String::new();
    for b in 0..hits.batch {
        let list: Vec<String> = hits.of(b).map(|(id, measured)| searched.hit(id, name, measured)).collect();
        // Writing to a String cannot fail.
        let _ = write!(text, "{{\"query\":{},\"hits\":[{}]", first + b, list.join(","));
        if let Some(found) = &hits.found {
            let _ = write!(text, ",\"found\":{}", found[b]);
        }
        text.push_str("}\n");
    }
    text
}
