//! A memory network (Sukhbaatar, Szlam, Weston and Fergus 2015) that answers in three hops: who has the ball, where is
//! that, and what is this part of?
//!
//! Nothing is trained. Each word is a random vector, and a sentence is read as a fact about a few words, of which it
//! tells others: `Anna has the red ball` is about the red ball and tells Anna, `Anna is in the kitchen` is about Anna
//! and tells the kitchen. The key of a fact is the bag of the words that it is about; its value the bag of those that
//! it tells, less the key, so that `u + o` leaves the question behind and asks about what was found. No sentence has
//! both the ball and the house: one hop or two do not find it.
//!
//! All stories lie in one memory; each question sees the rows of its own.
//!
//! ```sh
//! cargo run --release --example story -- [--device cpu|vulkan|gl] [--software] [--quick]
//! ```

mod common;

use std::ops::Range;
use std::process::ExitCode;

use attractor::network::Network;
use attractor::{MemoryOptions, Patterns, RetrieveOptions, Rule};
use common::Result;
use common::family::{Options, bipolar, overlap};
use harness::Rng;

const DIM: usize = 256;
const HOPS: u32 = 3;
/// How sharply a fact is chosen: one more word in common makes it `exp(10)` times as likely.
const BETA: f32 = 10.0;

const STORIES: [&str; 2] = [
    "Anna has the red ball. Ben has the blue ball. Cora has the lamp. Anna is in the kitchen. Ben is in the shed. \
     Cora is in the attic. The kitchen is in the cottage. The shed is in the orchard. The attic is in the tower.",
    "Cora has the red ball. Anna has the blue ball. Ben has the lamp. Cora is in the shed. Anna is in the attic. \
     Ben is in the kitchen. The attic is in the mill. The kitchen is in the castle. The shed is in the forest.",
];
/// The story, the question, and what the three hops find.
const QUESTIONS: [(usize, &str, [&str; HOPS as usize]); 6] = [
    (0, "Where is the red ball?", ["anna", "kitchen", "cottage"]),
    (0, "Where is the blue ball?", ["ben", "shed", "orchard"]),
    (0, "Where is the lamp?", ["cora", "attic", "tower"]),
    (1, "Where is the red ball?", ["cora", "shed", "forest"]),
    (1, "Where is the blue ball?", ["anna", "attic", "mill"]),
    (1, "Where is the lamp?", ["ben", "kitchen", "castle"]),
];
/// Words that tell nothing.
const IDLE: [&str; 6] = ["the", "is", "in", "has", "where", "a"];

fn main() -> ExitCode {
    common::family::main(run)
}

/// Words and their vectors, of length 1.
#[derive(Default)]
struct Words {
    words: Vec<String>,
    vectors: Vec<f32>,
}

impl Words {
    /// The sum of the vectors of the words of a text; a new word gets a vector.
    fn bag(&mut self, text: &str, rng: &mut Rng) -> Vec<f32> {
        let mut bag = vec![0.0; DIM];
        for word in text.split_whitespace().map(|word| word.trim_matches('?').to_lowercase()) {
            if IDLE.contains(&word.as_str()) {
                continue;
            }
            let place = self.words.iter().position(|known| *known == word).unwrap_or_else(|| {
                let length = (DIM as f32).sqrt();
                self.vectors.extend(bipolar(rng, DIM).iter().map(|x| x / length));
                self.words.push(word);
                self.words.len() - 1
            });
            bag.iter_mut().zip(&self.vectors[place * DIM..]).for_each(|(sum, x)| *sum += x);
        }
        bag
    }

    fn nearest(&self, state: &[f32]) -> &str {
        let likeness: Vec<f64> = self.vectors.chunks_exact(DIM).map(|vector| overlap(vector, state)).collect();
        let best = (0..likeness.len()).max_by(|a, b| likeness[*a].total_cmp(&likeness[*b]));
        best.map_or("", |best| &self.words[best])
    }
}

fn run(options: &Options) -> Result<()> {
    let (mut words, mut rng) = (Words::default(), Rng(1));
    let (mut keys, mut values, mut facts) = (Vec::new(), Vec::new(), Vec::new());
    let mut rows: Vec<Range<usize>> = Vec::new();
    for story in STORIES {
        let first = facts.len();
        for fact in story.split_terminator('.').map(str::trim) {
            let (about, told) = match (fact.split_once(" has "), fact.split_once(" is in ")) {
                (Some((who, what)), _) => (what, who),
                (_, Some((what, place))) => (what, place),
                _ => return Err(format!("what does `{fact}` tell?").into()),
            };
            let key = words.bag(about, &mut rng);
            let value = words.bag(told, &mut rng);
            values.extend(value.iter().zip(&key).map(|(value, key)| value - key));
            keys.extend(key);
            facts.push(fact);
        }
        rows.push(first..facts.len());
    }
    let mut rule = Rule::memory_network();
    rule.beta = BETA;
    let mut memory = MemoryOptions::new(DIM, rule).value_dim(DIM).build(&options.device)?;
    let ids = memory.add(Patterns::new(&keys).values(&values))?;

    let questions: Vec<f32> = QUESTIONS.iter().flat_map(|(_, question, _)| words.bag(question, &mut rng)).collect();
    let seen: Vec<Range<usize>> = QUESTIONS.iter().map(|(story, ..)| rows[*story].clone()).collect();

    // One state, and an update for each hop.
    let mut network = Network::new(DIM);
    let thought = network.vector();
    for _ in 0..HOPS {
        network.update(thought, &memory, thought);
    }
    let answers = network.retrieve_blocking(&[&questions], &RetrieveOptions::steps(1).rows(&seen))?;

    // The same, hop by hop, to see what each finds.
    let hops: std::result::Result<Vec<_>, _> = (1..=HOPS)
        .map(|hops| memory.retrieve_blocking(&questions, &RetrieveOptions::steps(hops).top(1).rows(&seen)))
        .collect();
    let hops = hops?;
    let mut wrong = 0;
    for (number, story) in STORIES.iter().enumerate() {
        println!("\nStory {}: {story}", number + 1);
        for (query, (_, question, expected)) in QUESTIONS.iter().enumerate().filter(|(_, of)| of.0 == number) {
            let answer = words.nearest(answers.state_row(thought, query));
            println!("\n  {question} {}", answer.to_uppercase());
            for (hop, found) in hops.iter().enumerate() {
                let top = found.top.as_ref().ok_or("no top patterns came back")?;
                let fact =
                    (0..facts.len()).find(|fact| ids.get(*fact) == top.ids[query]).map_or("", |fact| facts[fact]);
                let word = words.nearest(found.state_row(query));
                println!("    hop {}: {:.3} {fact:<32} -> {word}", hop + 1, top.weight[query]);
                wrong += usize::from(word != expected[hop]);
            }
            wrong += usize::from(answer != expected[HOPS as usize - 1]);
        }
    }
    match wrong {
        0 => {
            println!("\nAll {} answers are right.", QUESTIONS.len());
            Ok(())
        }
        wrong => Err(format!("{wrong} words are wrong").into()),
    }
}

#[test]
fn quick_form() {
    common::family::test(run);
}
