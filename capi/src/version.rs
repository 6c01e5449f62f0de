//! The version of the library. The header has that of the header, as macros.

use std::ffi::{CStr, c_char};

/// The version of this library, such as `1.2.3`. The string is never freed.
#[unsafe(no_mangle)]
pub extern "C" fn attractor_version() -> *const c_char {
    const VERSION: &CStr = match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(version) => version,
        Err(_) => panic!("a version has no zero byte"),
    };
    VERSION.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_that_of_the_package() {
        // SAFETY: the string is a constant.
        let version = unsafe { CStr::from_ptr(attractor_version()) };
        assert_eq!(version.to_str(), Ok(env!("CARGO_PKG_VERSION")));
        let numbers = ["MAJOR", "MINOR", "PATCH"].map(|part| {
            let header = include_str!("../include/attractor.h");
            let line = header.lines().find_map(|line| line.strip_prefix(&format!("#define ATTRACTOR_VERSION_{part} ")));
            line.expect("a macro").to_owned()
        });
        assert!(env!("CARGO_PKG_VERSION").starts_with(&numbers.join(".")), "{numbers:?}");
    }
}
