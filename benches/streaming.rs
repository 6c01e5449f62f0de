//! Measures memories whose rows are not where they are computed with, alternating with the same memories that are, and
//! with a copy of all rows:
//!
//! `cargo bench --locked --bench streaming [-- cpu|vulkan [NAME]]`. NAME selects the rows whose names contain it.
//!
//! The memory has patterns of 384 dimensions, compared by cosine: 100,000 on the CPU engine, 16,384 on an adapter. On
//! the CPU engine the rows stay in their file, which the system has in its cache; an adapter holds a quarter of them.

use std::hint::black_box;

use attractor::{LoadOptions, Memory, Precision, RetrieveOptions, Separation};
use harness::Rng;
use harness::measure::Result;
use harness::measure::beside::{DIM, Place, medians};

const ROUNDS: usize = 9;

fn main() -> Result<()> {
    let place = Place::from_args(ROUNDS)?;
    let folder = tempfile::tempdir()?;
    let rows = Rng(1).vector(place.patterns * DIM);
    for (name, separation) in [("softmax", Separation::Softmax), ("sparsemax", Separation::Sparsemax)] {
        for precision in [Precision::F32, Precision::I8Exact] {
            // Softmax reads all rows.
            if precision == Precision::I8Exact && separation == Separation::Softmax {
                continue;
            }
            let options = Place::options(separation).precision(precision);
            let memory = place.memory_of(&options)?;
            let away = if place.device.is_cpu() {
                let path = folder.path().join("memory.safetensors");
                memory.save(&path)?;
                Memory::load_with(&place.device, &path, &LoadOptions::default().rows_in_file())?
            } else {
                place.memory_of(&options.device_bytes((place.patterns * DIM) as u64))?
            };
            for batch in [1, 64] {
                measure(&place, &format!("{name} {precision}"), [&memory, &away], &rows, batch);
            }
        }
    }
    Ok(())
}

/// Prints the median times of retrievals and searches of the memory whose rows are away, of the other, and of a copy of
/// all rows.
fn measure(place: &Place, name: &str, memories: [&Memory; 2], rows: &[f32], batch: usize) {
    let queries = Rng(7).vector(batch * DIM);
    let retrieve = |memory: &Memory| {
        drop(black_box(memory.retrieve_blocking(&queries, &RetrieveOptions::default()).expect("an answer")));
    };
    let search = |memory: &Memory| drop(black_box(memory.search_blocking(&queries, 10).expect("an answer")));
    let mut to = vec![0.0f32; rows.len()];
    let copied = std::cell::RefCell::new(&mut to);
    let copy = || {
        let mut to = copied.borrow_mut();
        to.copy_from_slice(black_box(rows));
        black_box(&to[..]);
    };
    let works: [&dyn Fn(&Memory); 2] = [&retrieve, &search];
    for (what, work) in ["retrieve", "search"].into_iter().zip(works) {
        let row = format!("{name}, B {batch}, {what}");
        if place.measures(&row) {
            let [here, away] = memories;
            let [here, away, copied] = medians(ROUNDS, [&|| work(here), &|| work(away), &copy]);
            let ratio = away / here;
            println!("{row:34} {away:9.2} ms, held {here:9.2} ms, {ratio:5.2} x; a copy {copied:6.2} ms");
        }
    }
}
