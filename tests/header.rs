//! The header that C programs include is what cbindgen makes of `src/capi`.

use std::path::Path;

/// In the order in which a reader of the header meets them.
const FILES: [&str; 5] = ["error", "device", "memory", "retrieval", "pending"];

#[test]
fn the_header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    let sources = FILES.map(|file| root.join("src/capi").join(file).with_extension("rs"));
    let builder = sources.iter().fold(cbindgen::Builder::new().with_config(config), cbindgen::Builder::with_src);
    let mut made = Vec::new();
    builder.generate().expect("cbindgen understands src/capi").write(&mut made);
    let made = String::from_utf8(made).expect("a header of UTF-8");

    let path = root.join("include/attractor.h");
    if std::env::var_os("ATTRACTOR_WRITE_HEADER").is_some() {
        std::fs::create_dir_all(root.join("include")).and_then(|()| std::fs::write(&path, &made)).expect("written");
    }
    // A checkout on Windows may have other line ends.
    let committed = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    let differs = made.lines().zip(committed.lines()).position(|(made, committed)| made != committed);
    assert!(
        made == committed,
        "include/attractor.h differs from src/capi, first after line {}; ATTRACTOR_WRITE_HEADER=1 cargo test --test \
         header writes it anew",
        differs.unwrap_or(made.lines().count().min(committed.lines().count())),
    );

    let functions = sources.iter().map(|path| std::fs::read_to_string(path).expect("a source"));
    for function in functions.collect::<String>().lines().filter_map(|line| line.split(" fn attractor_").nth(1)) {
        let name = format!("attractor_{}(", function.split('(').next().unwrap_or_default());
        assert!(made.contains(&name), "{name} is not in the header");
    }
}
