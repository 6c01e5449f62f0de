#!/usr/bin/env bash
# Every portable kernel variant compiled by Tint, as Dawn and Chromium compile it, for SwiftShader.
set -euo pipefail
. platforms/common.sh
. platforms/compiled.sh

dawn
swiftshader
cargo build --locked --workspace --all-features --example kernels
rm -rf "$work/wgsl"
"$target/debug/examples/kernels" wgsl "$work/wgsl"
status=0
NODE_PATH="$node_modules" VK_DRIVER_FILES="$swiftshader" VK_ICD_FILENAMES="$swiftshader" \
    timeout 1200 node platforms/tint.mjs "$work/wgsl" >"$work/tint.lines" || status=$?
cat "$work/tint.lines"
[ "$status" -ne 2 ] || failed "Dawn finds no adapter: $swiftshader"
[ "$status" -lt 2 ] || failed "node ended with status $status"
files=("$work"/wgsl/*.wgsl)
compiled "$work/tint.lines" "${#files[@]}" 60000
