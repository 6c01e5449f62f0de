//! Systems of attention: memory networks, CLOOB's retrieval, leave-one-out by nearest samples.

use attractor::network::Network;
use attractor::{RetrieveOptions, Rule, Similarity};

use super::file::{Array, Failure, Golden};
use super::{Allowed, On, Outcome, wide};

/// Hops over stories: a memory for each hop holds all stories, and each query sees the rows of its own. The hops are
/// retrieved one by one, and as a network in one call.
pub fn memory_network(golden: &Golden, on: On<'_>) -> Result<Outcome, Failure> {
    let ([batch, facts, dim], _) = golden.sides::<3>("embedding_0")?;
    let count = golden.names().count();
    let hops = (1..count).take_while(|hop| golden.has(&format!("embedding_{hop}"))).count();
    if hops == 0 {
        return Err(Failure::Case("there is no tensor `embedding_1`".into()));
    }
    let embedding = |hop: usize| golden.shaped(&format!("embedding_{hop}"), &[batch, facts, dim]);
    let (query, answer) = (golden.shaped("query", &[batch, dim])?, golden.shaped("answer", &[batch, dim])?);
    let beta = golden.told("beta")?.or_else(|| golden.number_after("beta", &["scale", "rule"])).unwrap_or(1.0);
    let rule = Rule { beta: beta as f32, ..Rule::memory_network() };
    let rows: Vec<_> = (0..batch).map(|story| story * facts..(story + 1) * facts).collect();
    let options = RetrieveOptions::steps(1).rows(&rows);
    let mut outcome = Outcome::new(format!("memory network of {hops} hops"));
    let mut memories = Vec::new();
    for hop in 0..hops {
        let (keys, values) = (embedding(hop)?.floats(), embedding(hop + 1)?.floats());
        memories.push(on.with_values(rule, (dim, &keys), (dim, &values))?);
    }
    let mut state = query.floats();
    for memory in &memories {
        state = memory.retrieve_blocking(&state, &options)?.state;
        outcome.used(memory, batch);
    }
    outcome.compare("answer", &wide(&state), answer, Allowed::OfLargest(2e-5))?;
    let mut network = Network::new(dim);
    let vector = network.vector();
    for memory in &memories {
        network.update(vector, memory, vector);
    }
    let found = network.retrieve_blocking(&[&query.floats()], &options)?;
    outcome.compare("answer", &wide(found.state(vector)), answer, Allowed::OfLargest(2e-5))?;
    Ok(outcome)
}

/// `normalize(softmax(beta K x) K)`.
pub fn cloob(golden: &Golden, on: On<'_>) -> Result<Outcome, Failure> {
    let ([_, dim], stored) = golden.sides::<2>("stored")?;
    let ([batch, _], _) = golden.sides::<2>("queries")?;
    let (queries, retrieved) = (golden.shaped("queries", &[batch, dim])?, golden.shaped("retrieved", &[batch, dim])?);
    let beta = golden.told("beta")?.or_else(|| golden.number_after("softmax(", &["rule"]));
    let beta = beta.ok_or_else(|| Failure::Case("neither `beta` nor `rule` of the metadata says beta".into()))?;
    let memory = on.memory(Rule::cloob(beta as f32), dim, &stored.floats())?;
    let state = memory.retrieve_blocking(&queries.floats(), &RetrieveOptions::steps(1))?.state;
    let mut outcome = Outcome::new("CLOOB");
    outcome.used(&memory, batch);
    outcome.compare("retrieved", &wide(&state), retrieved, Allowed::Within(1e-6))?;
    Ok(outcome)
}

/// Each sample asks all the others for its label.
pub fn leave_one_out(golden: &Golden, on: On<'_>) -> Result<Outcome, Failure> {
    let ([count, dim], samples) = golden.sides::<2>("samples")?;
    let ([_, classes], _) = golden.sides::<2>("expected")?;
    let (labels, expected) = (golden.shaped("labels", &[count])?, golden.shaped("expected", &[count, classes])?);
    let mut one_hot = vec![0.0f32; count * classes];
    for (sample, &label) in labels.numbers.iter().enumerate() {
        if label < 0.0 || label >= classes as f64 || label.fract() != 0.0 {
            return Err(Failure::Case(format!("label {sample} is {label}, of {classes} classes")));
        }
        one_hot[sample * classes + label as usize] = 1.0;
    }
    let beta = golden.told("beta")?.or_else(|| golden.number_after("beta", &["rule"])).unwrap_or(1.0);
    let samples = samples.floats();
    let rule = Rule { similarity: Similarity::Euclidean, ..Rule::softmax(beta as f32) };
    let memory = on.with_values(rule, (dim, &samples), (classes, &one_hot))?;
    let itself: Vec<_> = (0..count).map(|position| memory.id_at(position)).collect();
    let output = memory.retrieve_blocking(&samples, &RetrieveOptions::steps(1).exclude(&itself))?.output;
    let mut outcome = Outcome::new("leave-one-out by a softmax over distances (Hopular)");
    outcome.used(&memory, count);
    outcome.compare("expected", &wide(&output), expected, Allowed::OfLargest(2e-5))?;
    if let Some(accuracy) = golden.told("accuracy")? {
        let right = output.chunks_exact(classes).zip(&labels.numbers).filter(|(row, label)| largest(row) == **label);
        let got = right.count() as f64 / count as f64;
        let expected = Array { shape: vec![1], numbers: vec![accuracy] };
        outcome.compare("accuracy", &[got], &expected, Allowed::Within(1e-9))?;
    }
    Ok(outcome)
}

/// The place of the largest number, the first of equal ones.
fn largest(row: &[f32]) -> f64 {
    let mut best = 0;
    for (place, number) in row.iter().enumerate() {
        if *number > row[best] {
            best = place;
        }
    }
    best as f64
}
