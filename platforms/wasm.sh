#!/usr/bin/env bash
# The library for browsers: builds for wasm32 with and without `files`, reaches no clock, process or folder of its own
# accord that a browser lacks, and passes the cases of `attractor verify` on the CPU engine under Node.
set -euo pipefail
. platforms/common.sh
need 'command -v node' nodejs
cargo fmt --check --all --manifest-path platforms/browser/Cargo.toml || failed "platforms/browser is not formatted"
browser_page
RUSTFLAGS='-D warnings' for_target wasm32-unknown-unknown cargo check --locked --release --package attractor --lib \
    --no-default-features --target-dir "$work/browser" || failed "the library does not build for wasm32 without files"
# What the standard library says before it panics is there only where the call is.
for said in 'time not implemented on this platform' 'no pids on this platform' 'no filesystem on this platform'; do
    if grep -qaF "$said" "$page/attractor_browser_bg.wasm"; then
        failed "the library reaches a call that panics: $said"
    fi
done
node --input-type=module - "$page/attractor_browser_bg.wasm" <<'NODE' || failed "the module imports what no browser has"
import { readFileSync } from "node:fs";
const from = WebAssembly.Module.imports(new WebAssembly.Module(readFileSync(process.argv[2]))).map((one) => one.module);
const others = [...new Set(from)].filter((module) => module !== "./attractor_browser_bg.js");
if (others.length) console.log(`imports from ${others.join(" ")}`);
process.exit(others.length ? 1 : 0);
NODE
node platforms/browser/node.mjs "$page" cpu
