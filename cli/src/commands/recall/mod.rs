//! `attractor recall`: store images, damage them, recall them, check every answer, show it.

mod damage;
mod digits;
mod judge;
mod table;
mod trial;

use std::path::{Path, PathBuf};

use attractor::device::{DeviceOptions, SoftwareAdapters};
use attractor::retrieval::{DEFAULT_TOLERANCE, Stop};
use attractor::{Device, Rule, Separation, Similarity};
use clap::ValueEnum;

use crate::args::{Place, TunedArgs, at_least_one, check_extension, finite, fraction};
use crate::failure::Failure;
use crate::ui::picture;
use crate::ui::report::JsonArgs;
use crate::ui::table::Table;
use crate::ui::terminal::wrap;
use damage::{Damage, Kind};
use trial::Trial;

/// Shown under the flags.
pub const AFTER_HELP: &str = "\
Pixels run from -1 (black) to 1 (white); hidden pixels are 0. Query i is image i, damaged. It counts as recalled \
when the cosine of the answer with the whole image is above 0.9; `nearest` is the share of answers for which no \
stored image is nearer than the right one. Steps and support (patterns with weight) are means over the queries. \
`fixed points` are the shares that rest on a single image (largest weight >= 0.99), on an average over some, and on \
an average over all (perplexity >= N/2).

Every answer y is held against a reference in f64. The largest error of a coordinate may be at most, with weights p, \
scores z, eps = 2 u = 2^-23, m_j = sum_i p_i |k_ij| and a = 2 eps sqrt(d) |beta| |x|:

    A_j + sum_i min(p_i |k_ij|, u m_j) + m_j sum_i min(p_i, u) + 8 eps m_j
    softmax: A_j = 2 sum_i p_i r_i |k_ij - y_j|
             r_i = a |k_i| + 8 eps + 3 eps |z_i - max z|
    entmax:  A_j = sum_i s_i (e_i + max e) |k_ij - y_j|
             e_i = a |k_i| + 16 eps
             s_i = [(alpha-1) (z_i + 2 max e) - tau]_+ ^ ((2-alpha)/(alpha-1))

at the worst j; sparsemax is alpha = 2. The derivative of entmax is diag(s) - s s^T / sum s, so errors e of the \
scores move y by sum_i s_i (e_i - mean e) (k_i - y); the s_i above are the largest within reach of e. Every update \
is judged: those before the last are asked for one by one, and each starts from the state that the device had. An \
answer must also have come to rest where its own changes say so. `of bound` is the worst error as a share of its \
bound, of the update that uses most of it. One above 1 makes the exit status 1.";

/// The most updates of a state that does not come to rest.
const CAP: u32 = 100;

/// The most queries that a software adapter gets that runs beside the CPU engine.
const JOINED: usize = 50;

/// The separations that can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SeparationArg {
    /// Every pattern has weight
    Softmax,
    /// Entmax 1.5: few patterns have weight
    Entmax,
    /// Fewer still
    Sparsemax,
    /// The three side by side
    All,
}

impl SeparationArg {
    fn separations(self) -> Vec<Separation> {
        const ENTMAX: Separation = Separation::Entmax { alpha: 1.5 };
        match self {
            Self::Softmax => vec![Separation::Softmax],
            Self::Entmax => vec![ENTMAX],
            Self::Sparsemax => vec![Separation::Sparsemax],
            Self::All => vec![Separation::Softmax, ENTMAX, Separation::Sparsemax],
        }
    }
}

/// The flags of `attractor recall`.
#[derive(clap::Args, Debug)]
pub struct RecallArgs {
    /// Images in IDX format, plain or gzip'd [default: 1,000 MNIST digits that come with the program].
    #[arg(long, value_name = "FILE")]
    images: Option<PathBuf>,
    /// How the images are damaged.
    #[arg(long, value_enum, default_value = "lower-half")]
    damage: Kind,
    /// How much, 0 to 1, where the damage has a level.
    #[arg(long, value_name = "LEVEL", value_parser = fraction, allow_hyphen_values = true)]
    level: Option<f32>,
    /// The seed of random damage.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many images to store [default: 1000, or all where there are fewer].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    patterns: Option<usize>,
    /// How many of them to damage and recall [default: all that are stored; 50 on a software adapter that runs beside
    /// the CPU engine].
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    queries: Option<usize>,
    /// How scores become weights.
    #[arg(long, value_enum, default_value = "all")]
    separation: SeparationArg,
    /// The inverse temperature. At 1 every rule recalls; at 0.1 softmax averages where the sparse rules still recall.
    #[arg(long, default_value = "1", value_parser = finite, allow_hyphen_values = true)]
    beta: f32,
    /// The number of updates [default: until no pixel moves by more than 1e-4, at most 100].
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    steps: Option<u32>,
    /// The picture to write.
    #[arg(long, value_name = "PNG", default_value = "recall.png")]
    output: PathBuf,
    #[command(flatten)]
    device: TunedArgs,
    #[command(flatten)]
    json: JsonArgs,
}

/// Runs the trial on the device asked for, and on a software adapter where nothing else would run the shaders.
pub fn run(args: &RecallArgs) -> Result<(), Failure> {
    let damage = Damage::new(args.damage, args.level, args.seed).map_err(Failure::Usage)?;
    if let (Some(queries), Some(patterns)) = (args.queries, args.patterns)
        && queries > patterns
    {
        return Err(Failure::Usage(format!("--queries {queries} is more than --patterns {patterns}")));
    }
    check_extension("--output", &args.output, "png")?;
    let inputs: Vec<&Path> = args.images.as_deref().into_iter().chain(args.device.tuning.file()).collect();
    attractor::files::check_target(&args.output, &inputs)?;
    let written: Vec<&Path> = inputs.into_iter().chain([args.output.as_path()]).collect();
    let report = args.json.begin("recall", &written)?;
    let images = match &args.images {
        Some(path) => digits::open(path, args.patterns)?,
        None => digits::built_in(args.patterns)?,
    };
    let count = args.queries.unwrap_or(images.count());
    if count > images.count() {
        return Err(Failure::Usage(format!("--queries {count} is more than the {} images stored", images.count())));
    }
    let device = args.device.open()?;
    let (devices, note) = with_software(device, &args.device);

    let dim = images.dim();
    let spoil = |(i, image)| damage.apply(i, image, images.height, images.width);
    let queries: Vec<f32> = images.pixels.chunks_exact(dim).take(count).enumerate().flat_map(spoil).collect();
    let separations = args.separation.separations();
    let rules = separations.into_iter().map(|separation| Rule::new(Similarity::Dot, separation, args.beta)).collect();
    let stop = match args.steps {
        Some(steps) => Stop::Steps(steps),
        None => Stop::Converge { max_steps: CAP, tolerance: DEFAULT_TOLERANCE },
    };
    let trial = Trial { images, damage, queries, rules, stop };
    report.say(&wrap(&table::heading(&trial)))?;
    report.set("images", trial.images.count().into());
    report.set("damage", trial.damage.to_string().into());

    let table = Table::new(&table::COLUMNS);
    let (mut rows, mut wrong) = (Vec::new(), Vec::new());
    for (joined, device) in devices.iter().enumerate() {
        let info = device.info();
        // A software adapter that was not asked for shows that the shaders are right; it should not keep people
        // waiting.
        let asked = if joined > 0 && args.queries.is_none() { count.min(JOINED) } else { count };
        report.say(&wrap(&format!("\n{info}: {asked} queries\n")))?;
        report.say(&table.header())?;
        for &rule in &trial.rules {
            let outcome = trial.run(device, rule, asked)?;
            let judgement = trial.judge(&outcome);
            report.push("/rows", table::row_json(&outcome, &judgement));
            report.say(&table.row(&table::cells(&outcome, &judgement)))?;
            if judgement.wrong > 0 {
                let of = outcome.batch.batch + outcome.alone.batch;
                let rule = rule.separation;
                wrong.push(format!("{} of {of} answers by {rule} of {info} exceed their bound", judgement.wrong));
            }
            if joined == 0 {
                rows.push((rule.separation.to_string(), outcome.batch.output, judgement.found));
            }
        }
    }
    draw(&args.output, &trial, &rows)?;
    report.set("picture", args.output.display().to_string().into());
    let first = devices.first().map(|device| device.info().to_string()).unwrap_or_default();
    let said = format!(
        "\nwrote {}: rows of stored, damaged and recalled images, by {first}; what was not recalled is framed in red\n",
        args.output.display(),
    );
    report.say(&wrap(&(table::legend() + &said)))?;
    if let Some(note) = note {
        report.say(&wrap(&note))?;
    }
    report.finish()?;
    if wrong.is_empty() { Ok(()) } else { Err(Failure::Work(format!("the reference disagrees: {}", wrong.join("; ")))) }
}

/// Draws what the first device recalled, by each rule: its name, the answers, and which images were recalled.
fn draw(path: &Path, trial: &Trial, answers: &[(String, Vec<f32>, Vec<bool>)]) -> Result<(), Failure> {
    let row = |label: &str, pixels, found| picture::Row { label: label.into(), pixels, found };
    let mut rows = vec![row("stored", &trial.images.pixels[..], None), row("damaged", &trial.queries, None)];
    rows.extend(answers.iter().map(|(label, output, found)| row(label, output, Some(found))));
    picture::write(path, &trial.images, trial.queries.len() / trial.images.dim(), &rows)
}

/// Adds a software adapter where `auto` found no GPU, and says why where there is none: the shaders should run wherever
/// they can.
fn with_software(device: Device, args: &TunedArgs) -> (Vec<Device>, Option<String>) {
    if args.device.device != Place::Auto || args.device.software || !device.is_cpu() {
        return (vec![device], None);
    }
    let options = DeviceOptions::default().software(SoftwareAdapters::Require);
    match pollster::block_on(Device::with_options(&options)) {
        Ok(software) => {
            args.tuning.apply_stored(&software);
            (vec![device, software], None)
        }
        Err(attractor::Error::NoAdapter { .. }) => {
            let note = "no GPU and no software adapter here, so no shader ran (Debian and Ubuntu have one in \
                        mesa-vulkan-drivers)";
            (vec![device], Some(note.into()))
        }
        Err(error) => (vec![device], Some(format!("the software adapter does not open: {error}"))),
    }
}
