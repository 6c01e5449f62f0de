#!/usr/bin/env bash
# Barriers and subgroup operations in uniform control flow, by the rules of WGSL, of FXC and of MSL: tests/uniform.rs.
set -euo pipefail
. platforms/common.sh
log="$work/uniform.txt"
cargo test --locked --features capi --test uniform -- --nocapture --test-threads=1 | tee "$log" ||
    failed "tests/uniform.rs failed"
passed "$(grep -om 1 '[0-9]* variants .*' "$log")"
