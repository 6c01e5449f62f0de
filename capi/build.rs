//! Gives the shared library its own file name as the name under which programs look for it at run time.
//!
//! Without it, a program that was linked by path would look at that path alone. A name with a version, such as
//! `libattractor.so.0.1`, would need a link of that name beside the library, which Cargo does not make; cargo-c makes
//! the link, and passes that name to the linker itself.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Set by cargo-c, which passes a name of its own.
    println!("cargo::rerun-if-env-changed=CARGO_C_CARGO");
    if env::var_os("CARGO_C_CARGO").is_some() {
        return;
    }
    let family = env::var("CARGO_CFG_TARGET_FAMILY").unwrap_or_default();
    match env::var("CARGO_CFG_TARGET_VENDOR").as_deref() {
        Ok("apple") => println!("cargo::rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libattractor.dylib"),
        _ if family == "unix" => println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libattractor.so"),
        _ => {}
    }
}
