//! The header that C programs include is what cbindgen makes of `src`, with the version of the package as macros.

use std::path::Path;

/// In the order in which a reader of the header meets them.
const FILES: [&str; 11] = [
    "error",
    "version",
    "codes",
    "device",
    "memory",
    "patterns",
    "files",
    "retrieve",
    "retrieval",
    "search",
    "pending",
];

/// What the header says of its own version.
fn version_macros() -> String {
    format!(
        "\n/**\n * The version of this header. `attractor_version` returns that of the library in use.\n */\n\
         #define ATTRACTOR_VERSION_MAJOR {}\n#define ATTRACTOR_VERSION_MINOR {}\n#define ATTRACTOR_VERSION_PATCH {}",
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR"),
        env!("CARGO_PKG_VERSION_PATCH"),
    )
}

#[test]
fn the_header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut config = cbindgen::Config::from_file(root.join("cbindgen.toml")).expect("cbindgen.toml");
    config.after_includes = Some(version_macros());
    let sources = FILES.map(|file| root.join("src").join(file).with_extension("rs"));
    let builder = sources.iter().fold(cbindgen::Builder::new().with_config(config), cbindgen::Builder::with_src);
    let mut made = Vec::new();
    builder.generate().expect("cbindgen understands the sources").write(&mut made);
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
        "include/attractor.h differs from the sources, first after line {}; ATTRACTOR_WRITE_HEADER=1 cargo test -p \
         attractor-capi --test header writes it anew",
        differs.unwrap_or(made.lines().count().min(committed.lines().count())),
    );
    assert!(made.contains(&version_macros()), "the header has its version");

    let functions = sources.iter().map(|path| std::fs::read_to_string(path).expect("a source"));
    for function in functions.collect::<String>().lines().filter_map(|line| line.split(" fn attractor_").nth(1)) {
        let name = format!("attractor_{}(", function.split('(').next().unwrap_or_default());
        assert!(made.contains(&name), "{name} is not in the header");
    }
}

/// A source that is missing in [`FILES`] would leave its functions out of the header.
#[test]
fn every_source_with_functions_for_c_is_read() {
    let sources = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("the sources");
    let mut found: Vec<_> = sources
        .map(|entry| entry.expect("a source").path())
        .filter(|path| path.is_file() && std::fs::read_to_string(path).expect("text").contains("extern \"C\" fn"))
        .map(|path| path.file_stem().expect("a name").to_string_lossy().into_owned())
        .collect();
    found.retain(|name| !FILES.contains(&name.as_str()));
    assert!(found.is_empty(), "{found:?} are not among the sources of the header");
}
