//! A memory with keys of the caller's own: the colours of CSS by their names, with metadata, filters, and a file.
//! `cargo run --example keyed`.

use attractor::keyed::{Entries, KeyedMemory};
use attractor::{Device, Mask, Memory, RetrieveOptions, Rule, Separation, Similarity};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Names, red, green and blue, and the family of each.
const COLOURS: [(&str, [u8; 3], &str); 12] = [
    ("crimson", [220, 20, 60], "red"),
    ("salmon", [250, 128, 114], "red"),
    ("tomato", [255, 99, 71], "red"),
    ("coral", [255, 127, 80], "red"),
    ("gold", [255, 215, 0], "yellow"),
    ("khaki", [240, 230, 140], "yellow"),
    ("olive", [128, 128, 0], "green"),
    ("seagreen", [46, 139, 87], "green"),
    ("teal", [0, 128, 128], "green"),
    ("navy", [0, 0, 128], "blue"),
    ("steelblue", [70, 130, 180], "blue"),
    ("orchid", [218, 112, 214], "purple"),
];

/// The `k` names that are nearest to a colour, of those that `mask` keeps.
fn nearest(memory: &KeyedMemory<String>, colour: [f32; 3], k: usize, mask: Option<Mask>) -> Result<Vec<&str>> {
    let options = RetrieveOptions::default().top(k);
    let options = mask.into_iter().fold(options, RetrieveOptions::mask);
    let found = memory.memory().retrieve_blocking(&colour, &options)?;
    let ids = found.top.ok_or("asked for")?.ids;
    Ok(ids.iter().flatten().filter_map(|id| memory.key_of(*id)).collect())
}

fn expect(what: &str, got: &[&str], expected: &[&str]) -> Result<()> {
    println!("{what}: {}", got.join(", "));
    if got == expected { Ok(()) } else { Err(format!("{what}: expected {}", expected.join(", ")).into()) }
}

fn main() -> Result<()> {
    let rule = Rule::new(Similarity::Euclidean, Separation::TopK { k: 3 }, 10.0);
    let mut memory = KeyedMemory::<String>::new(Memory::new(&Device::new_blocking()?, 3, rule)?)?;

    let names = COLOURS.map(|(name, ..)| name);
    let rows: Vec<f32> = COLOURS.iter().flat_map(|(_, rgb, _)| rgb.map(|c| f32::from(c) / 255.0)).collect();
    let families = COLOURS.map(|(.., family)| format!(r#"{{"family": "{family}"}}"#));
    let metadata = families.each_ref().map(|text| Some(text.as_str()));
    memory.add(Entries::new(&names, &rows).metadata(&metadata))?;

    let dusk = [0.9, 0.45, 0.5];
    expect("nearest", &nearest(&memory, dusk, 3, None)?, &["salmon", "coral", "tomato"])?;
    let others = memory.mask_where(|_, metadata| metadata.is_some_and(|text| !text.contains("red")));
    expect("nearest that is not red", &nearest(&memory, dusk, 1, Some(others))?, &["orchid"])?;
    let two = memory.mask_of_keys(["navy", "gold"])?;
    expect("nearest of navy and gold", &nearest(&memory, dusk, 1, Some(two))?, &["gold"])?;

    // One call, all or nothing: `tomato` changes, `plum` is new.
    memory.upsert(Entries::new(&["tomato", "plum"], &[0.9, 0.45, 0.5, 0.87, 0.63, 0.87]))?;
    memory.remove(&["coral"])?;
    expect("after the update", &nearest(&memory, dusk, 2, None)?, &["tomato", "salmon"])?;
    let refused = memory.add(Entries::new(&["pink", "plum"], &[1.0, 0.75, 0.8, 0.0, 0.0, 0.0])).unwrap_err();
    println!("refused: {refused}");

    let path = std::env::temp_dir().join(format!("colours-{}.safetensors", std::process::id()));
    memory.save(&path)?;
    let again = KeyedMemory::<String>::load(&Device::cpu(), &path);
    std::fs::remove_file(&path)?;
    let again = again?;
    expect("from the file", &nearest(&again, dusk, 2, None)?, &["tomato", "salmon"])?;
    println!("tomato has {}", again.metadata("tomato")?.ok_or("its metadata are gone")?);
    match again.len() == COLOURS.len() && !again.contains("pink") {
        true => Ok(()),
        false => Err("another number of colours".into()),
    }
}
