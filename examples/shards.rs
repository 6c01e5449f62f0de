//! One memory in three processes: each holds a third of the patterns, sends the partial states of the queries over a
//! pipe, and the merged answer is that of a single memory. `cargo run --example shards`.

use std::io::{Read, Write};
use std::process::{Command, Stdio};

use attractor::partial::{Partial, PartialOptions};
use attractor::{Device, Memory, RetrieveOptions, Rule, Separation, Similarity};
use harness::Rng;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const SHARDS: usize = 3;
const PATTERNS: usize = 3000;
const DIM: usize = 32;
const BATCH: usize = 4;

fn rules() -> [Rule; 3] {
    let dot = |separation, beta| Rule::new(Similarity::Dot, separation, beta);
    [Rule::softmax(2.0), dot(Separation::Entmax { alpha: 1.5 }, 1.0), dot(Separation::TopK { k: 10 }, 1.0)]
}

/// A message: its length in four bytes, then its bytes.
fn send(to: &mut impl Write, bytes: &[u8]) -> Result<()> {
    to.write_all(&u32::try_from(bytes.len())?.to_le_bytes())?;
    to.write_all(bytes)?;
    Ok(to.flush()?)
}

fn receive(from: &mut impl Read) -> Result<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    // As it comes, so that a wrong length does not allocate what never arrives.
    let length = u64::from(u32::from_le_bytes(length));
    let mut bytes = Vec::new();
    from.take(length).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < length { Err("the message is cut short".into()) } else { Ok(bytes) }
}

/// One shard: patterns `shard * N/3 ..`, queries from standard input, partial states to standard output.
fn shard(shard: usize) -> Result<()> {
    let rows = PATTERNS / SHARDS;
    let keys = &Rng(1).vector(PATTERNS * DIM)[shard * rows * DIM..][..rows * DIM];
    let queries: Vec<f32> = bytemuck::pod_collect_to_vec(&receive(&mut std::io::stdin().lock())?);
    for rule in rules() {
        let mut memory = Memory::new(&Device::cpu(), DIM, rule)?;
        memory.add(keys)?;
        let options = PartialOptions::default().index_offset((shard * rows) as u64);
        for partial in memory.retrieve_partial_blocking(&queries, &options)? {
            send(&mut std::io::stdout().lock(), &partial.to_bytes())?;
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    if let Some(number) = std::env::args().nth(1) {
        return shard(number.parse::<usize>().ok().filter(|number| *number < SHARDS).ok_or("a shard from 0 to 2")?);
    }
    let queries = Rng(2).vector(BATCH * DIM);
    let mut children = Vec::new();
    for number in 0..SHARDS {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("a child without pipes".into());
        };
        send(&mut stdin, bytemuck::cast_slice(&queries))?;
        children.push((child, stdout));
    }
    for rule in rules() {
        let mut single = Memory::new(&Device::cpu(), DIM, rule)?;
        single.add(&Rng(1).vector(PATTERNS * DIM))?;
        let expected = single.retrieve_blocking(&queries, &RetrieveOptions::default())?;
        let (mut worst, mut bytes) = (0.0f32, 0);
        for b in 0..BATCH {
            let mut merged: Option<Partial> = None;
            for (_, stdout) in &mut children {
                let message = receive(stdout)?;
                bytes += message.len();
                let partial = Partial::from_bytes(&message)?;
                merged = Some(match merged {
                    None => partial,
                    Some(merged) => merged.merge(partial)?,
                });
            }
            let answer = merged.ok_or("no shard answered")?.finish();
            assert_eq!(answer.patterns, PATTERNS as u64);
            for (got, expected) in answer.output.iter().zip(expected.output_row(b)) {
                worst = worst.max((got - expected).abs());
            }
        }
        assert!(worst <= 1e-5, "{:?}: the shards are off by {worst}", rule.separation);
        println!(
            "{:?}: {SHARDS} processes give the single memory's answer within {worst:.1e} ({bytes} bytes)",
            rule.separation
        );
    }
    for (mut child, _) in children {
        assert!(child.wait()?.success());
    }
    Ok(())
}
