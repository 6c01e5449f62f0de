#!/usr/bin/env bash
# Reads the Metal Shading Language that naga makes of every kernel, for what Metal leaves undefined: tests/metal.
# Nothing is compiled or run: that takes macOS.
set -euo pipefail
. platforms/common.sh
log="$work/msl.txt"
cargo test --locked --features capi --test metal -- --nocapture --test-threads=1 | tee "$log" ||
    failed "tests/metal failed"
passed "$(grep -om 1 '[0-9]* variants read.*' "$log")"
