//! A service: many tasks share one memory through a front that gathers their queries for at most a millisecond and
//! answers them together.
//!
//! ```sh
//! cargo run --release --example tokio_service -- [--tasks 64] [--queries 200] [--patterns 20000] [--dim 64]
//!     [--batch 256] [--device auto|cpu|NAME]
//! ```
//!
//! `--queries` are those of each task, `--batch` is the most that are answered together, and `NAME` is part of an
//! adapter's name or driver. Each task asks for one thing after the other, as the clients of a service do.

#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use attractor::device::{AdapterChoice, DeviceOptions};
use attractor::{Device, Memory, RetrieveOptions, Rule};
use harness::Rng;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// How long a query waits for others at most.
const PATIENCE: Duration = Duration::from_millis(1);
/// Batches under way while another is gathered.
const UNDER_WAY: usize = 2;

/// Why a query has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RecallError {
    /// It is not one row of finite numbers. It does not affect the answers to others.
    #[error("a query is {expected} finite numbers")]
    Query {
        /// The length of a row.
        expected: usize,
    },
    /// The retrieval failed, for everyone in the batch.
    #[error(transparent)]
    Retrieval(Arc<attractor::Error>),
    /// The service has ended.
    #[error("the service has ended")]
    Ended,
}

/// What tasks hold. Clones share the memory behind it; when the last is dropped, the service answers what has been
/// asked and ends.
#[derive(Clone)]
pub struct Front {
    dim: usize,
    requests: mpsc::Sender<Request>,
}

struct Request {
    query: Vec<f32>,
    answer: oneshot::Sender<Result<Vec<f32>, RecallError>>,
}

/// What a service has done by its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served {
    /// Retrievals.
    pub batches: usize,
    /// Queries in them.
    pub queries: usize,
    /// Queries that were given up before they were asked of the memory.
    pub given_up: usize,
}

impl Front {
    /// Starts a service on the runtime at hand that answers up to `most` queries together, and no more than that wait
    /// to be gathered.
    pub fn start(memory: Arc<Memory>, most: usize) -> (Self, JoinHandle<Served>) {
        let (requests, receiver) = mpsc::channel(most);
        let front = Self { dim: memory.dim(), requests };
        (front, tokio::spawn(serve(memory, most, receiver)))
    }

    /// What the memory recalls from `query`. Waits while too many queries are waiting. Dropping the future gives the
    /// query up, whether it is waiting, gathered or being answered.
    pub async fn recall(&self, query: Vec<f32>) -> Result<Vec<f32>, RecallError> {
        if query.len() != self.dim || !query.iter().all(|value| value.is_finite()) {
            return Err(RecallError::Query { expected: self.dim });
        }
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { query, answer }).await.map_err(|_| RecallError::Ended)?;
        answered.await.map_err(|_| RecallError::Ended)?
    }
}

async fn serve(memory: Arc<Memory>, most: usize, mut requests: mpsc::Receiver<Request>) -> Served {
    let mut served = Served::default();
    let (turns, mut answering) = (Arc::new(Semaphore::new(UNDER_WAY)), JoinSet::new());
    while let Some(mut batch) = gather(&mut requests, most).await {
        // Queries go on gathering in the channel while the memory is busy.
        let Ok(turn) = turns.clone().acquire_owned().await else { break };
        let gathered = batch.len();
        batch.retain(|request| !request.answer.is_closed());
        served.given_up += gathered - batch.len();
        if batch.is_empty() {
            continue;
        }
        served.batches += 1;
        served.queries += batch.len();
        while answering.try_join_next().is_some() {}
        let queries: Vec<f32> = batch.iter().flat_map(|request| &request.query).copied().collect();
        // Submits and does not wait: the memory is free again at once.
        let pending = memory.retrieve(&queries, &RetrieveOptions::default());
        let columns = memory.value_dim();
        answering.spawn(async move {
            let answer = match pending {
                Ok(pending) => pending.await,
                Err(error) => Err(error),
            };
            drop(turn);
            match answer {
                Ok(recalled) => {
                    for (request, row) in batch.into_iter().zip(recalled.output.chunks_exact(columns)) {
                        // Whoever has gone wants no answer.
                        let _ = request.answer.send(Ok(row.to_vec()));
                    }
                }
                Err(error) => {
                    let error = RecallError::Retrieval(Arc::new(error));
                    for request in batch {
                        let _ = request.answer.send(Err(error.clone()));
                    }
                }
            }
        });
    }
    while answering.join_next().await.is_some() {}
    served
}

/// The next batch: what comes within [`PATIENCE`] of its first query, or `most`; nothing once no caller is left.
async fn gather(requests: &mut mpsc::Receiver<Request>, most: usize) -> Option<Vec<Request>> {
    let mut batch = vec![requests.recv().await?];
    let end = tokio::time::Instant::now() + PATIENCE;
    while batch.len() < most {
        let room = most - batch.len();
        match tokio::time::timeout_at(end, requests.recv_many(&mut batch, room)).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => break,
        }
    }
    Some(batch)
}

/// What to measure.
#[derive(Clone, Debug)]
pub struct Arguments {
    /// Tasks that ask.
    pub tasks: usize,
    /// Queries of each task.
    pub queries: usize,
    /// Patterns in the memory.
    pub patterns: usize,
    /// Dimensions of a pattern.
    pub dim: usize,
    /// At most so many queries are answered together.
    pub batch: usize,
    /// `auto`, `cpu`, or part of an adapter's name or driver.
    pub device: String,
}

impl Arguments {
    fn parse(mut given: impl Iterator<Item = String>) -> Result<Self> {
        let mut arguments =
            Self { tasks: 64, queries: 200, patterns: 20_000, dim: 64, batch: 256, device: "auto".into() };
        while let Some(name) = given.next() {
            let value = given.next().ok_or_else(|| format!("{name} needs a value"))?;
            let number = || match value.parse() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("{name}: {value} is not a number above 0")),
            };
            match name.as_str() {
                "--tasks" => arguments.tasks = number()?,
                "--queries" => arguments.queries = number()?,
                "--patterns" => arguments.patterns = number()?,
                "--dim" => arguments.dim = number()?,
                "--batch" => arguments.batch = number()?,
                "--device" => arguments.device = value,
                _ => return Err(format!("{name} is not known").into()),
            }
        }
        Ok(arguments)
    }

    async fn device(&self) -> Result<Device> {
        let options = DeviceOptions::default().adapter(AdapterChoice::Name(self.device.clone()));
        Ok(match self.device.as_str() {
            "cpu" => Device::cpu(),
            "auto" => Device::new().await?,
            _ => Device::with_options(&options).await?,
        })
    }
}

fn main() -> ExitCode {
    let run = || -> Result<String> {
        let arguments = Arguments::parse(std::env::args().skip(1))?;
        tokio::runtime::Builder::new_multi_thread().enable_time().build()?.block_on(async {
            let device = arguments.device().await?;
            compare(&arguments, &device).await
        })
    };
    match run() {
        Ok(table) => {
            print!("{table}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("tokio_service: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Corners of a cube, and each task's queries: stored patterns with a quarter of their coordinates unknown.
struct Work {
    memory: Arc<Memory>,
    keys: Vec<f32>,
    /// For each query the pattern that it was made from, and the query.
    asked: Vec<Vec<(usize, Vec<f32>)>>,
}

impl Work {
    fn new(arguments: &Arguments, device: &Device) -> Result<Self> {
        let mut rng = Rng(1);
        let dim = arguments.dim;
        let keys: Vec<f32> = (0..arguments.patterns * dim).map(|_| rng.pick(&[-1.0, 1.0])).collect();
        let mut memory = Memory::new(device, dim, Rule::softmax(1.0))?;
        memory.add(&keys)?;
        let mut one = |_| {
            let pattern = rng.below(arguments.patterns);
            let key = &keys[pattern * dim..][..dim];
            (pattern, key.iter().map(|k| if rng.once_in(4) { 0.0 } else { *k }).collect())
        };
        let asked = (0..arguments.tasks).map(|_| (0..arguments.queries).map(&mut one).collect()).collect();
        Ok(Self { memory: Arc::new(memory), keys, asked })
    }
}

/// The answers to every query, and how long each took to come.
type Answers = Vec<(Vec<f32>, Duration)>;

/// One query after the other, each a retrieval of its own.
async fn one_at_a_time(work: &Work) -> Result<Answers> {
    let mut answers = Vec::new();
    for (_, query) in work.asked.iter().flatten() {
        let begun = Instant::now();
        answers.push((work.memory.retrieve(query, &RetrieveOptions::default())?.await?.output, begun.elapsed()));
    }
    Ok(answers)
}

/// Every task at once, each query a retrieval of its own.
async fn each_by_itself(work: &Work) -> Result<Answers> {
    let ask = |memory: Arc<Memory>, query: Vec<f32>| async move {
        Ok(memory.retrieve(&query, &RetrieveOptions::default())?.await?.output)
    };
    at_once(work, &work.memory, ask).await
}

/// Every task at once, through a front.
async fn gathered(work: &Work, most: usize) -> Result<(Answers, Served)> {
    let (front, service) = Front::start(work.memory.clone(), most);
    let ask = |front: Front, query: Vec<f32>| async move { Ok(front.recall(query).await?) };
    let answers = at_once(work, &front, ask).await?;
    drop(front);
    Ok((answers, service.await?))
}

async fn at_once<C, F>(work: &Work, of: &C, ask: impl Fn(C, Vec<f32>) -> F + Copy + Send + 'static) -> Result<Answers>
where
    C: Clone + Send + 'static,
    F: Future<Output = Result<Vec<f32>>> + Send,
{
    let tasks: Vec<JoinHandle<Result<Answers>>> = work
        .asked
        .iter()
        .map(|asked| {
            let (queries, of) = (asked.iter().map(|(_, query)| query.clone()).collect::<Vec<_>>(), of.clone());
            tokio::spawn(async move {
                let mut answers = Vec::new();
                for query in queries {
                    let begun = Instant::now();
                    answers.push((ask(of.clone(), query).await?, begun.elapsed()));
                }
                Ok(answers)
            })
        })
        .collect();
    let mut answers = Vec::new();
    for task in tasks {
        answers.extend(task.await??);
    }
    Ok(answers)
}

/// Answers the same queries in three ways and compares them; the table of what that took.
///
/// # Errors
/// Whatever fails, and any answer that is not right.
pub async fn compare(arguments: &Arguments, device: &Device) -> Result<String> {
    let work = Work::new(arguments, device)?;
    let mut table = format!(
        "{}\n{} tasks with {} queries each, {} patterns of {} dimensions, up to {} queries together\n\n",
        device.info(),
        arguments.tasks,
        arguments.queries,
        arguments.patterns,
        arguments.dim,
        arguments.batch
    );
    // Compiles what is compiled once.
    work.memory.retrieve(&work.asked[0][0].1, &RetrieveOptions::default())?.await?;
    gathered(&work, arguments.batch).await?;

    let begun = Instant::now();
    let alone = one_at_a_time(&work).await?;
    let alone = (alone, begun.elapsed());
    let begun = Instant::now();
    let apart = each_by_itself(&work).await?;
    let apart = (apart, begun.elapsed());
    let begun = Instant::now();
    let (together, served) = gathered(&work, arguments.batch).await?;
    let together = (together, begun.elapsed());

    writeln!(table, "{:<30}{:>12}{:>10}{:>14}{:>14}", "", "queries/s", "ratio", "median ms", "99 % ms")?;
    let base = alone.1.as_secs_f64();
    for (way, (answers, took)) in
        [("one at a time", &alone), ("each by itself, all at once", &apart), ("through the front", &together)]
    {
        check(&work, way, answers, &alone.0)?;
        let mut times: Vec<f64> = answers.iter().map(|(_, took)| took.as_secs_f64() * 1e3).collect();
        times.sort_unstable_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        let (rate, ratio) = (answers.len() as f64 / took.as_secs_f64(), base / took.as_secs_f64());
        writeln!(table, "{way:<30}{rate:>12.0}{ratio:>10.2}{:>14.3}{:>14.3}", at(0.5), at(0.99))?;
    }
    let mean = served.queries as f64 / served.batches as f64;
    writeln!(table, "\n{} batches of {mean:.1} queries; every answer is the stored pattern", served.batches)?;
    Ok(table)
}

/// Refuses answers that are not the patterns that the queries were made from, or differ from those of single
/// retrievals.
fn check(work: &Work, way: &str, answers: &Answers, alone: &Answers) -> Result<()> {
    let dim = work.memory.dim();
    let asked: Vec<usize> = work.asked.iter().flatten().map(|(pattern, _)| *pattern).collect();
    if answers.len() != asked.len() {
        return Err(format!("{way}: {} answers to {} queries", answers.len(), asked.len()).into());
    }
    for (i, (pattern, ((answer, _), (single, _)))) in asked.into_iter().zip(answers.iter().zip(alone)).enumerate() {
        let key = &work.keys[pattern * dim..][..dim];
        if answer.iter().zip(key).any(|(a, k)| a * k <= 0.5) {
            return Err(format!("{way}: query {i} recalls something else than pattern {pattern}").into());
        }
        if answer.iter().zip(single).any(|(a, s)| (a - s).abs() > 1e-4) {
            return Err(format!("{way}: query {i} has another answer than alone").into());
        }
    }
    Ok(())
}
