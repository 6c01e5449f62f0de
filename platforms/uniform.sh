#!/usr/bin/env bash
# Barriers and subgroup operations in uniform control flow, by the rules of WGSL, of FXC and of MSL: tests/uniform.rs.
set -euo pipefail
. platforms/common.sh
cargo test --locked --test uniform -- --nocapture --test-threads=1 || failed "tests/uniform.rs found a barrier in varying control flow"
