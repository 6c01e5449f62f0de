#!/usr/bin/env bash
# The plugin for Bevy, a project of its own: it builds, and its tests pass on lavapipe.
set -euo pipefail
. platforms/common.sh
need 'compgen -G "/usr/share/vulkan/icd.d/lvp_icd*.json"' mesa-vulkan-drivers libvulkan1
bevy=(--manifest-path examples/engine/bevy/Cargo.toml)
cargo fmt --check "${bevy[@]}" || failed "examples/engine/bevy is not formatted"
# Bevy's shader compiler declares a later Rust than it needs.
WGPU_BACKEND=vulkan WGPU_ADAPTER_NAME=llvmpipe cargo test --locked --ignore-rust-version "${bevy[@]}" \
    --target-dir "$target" | tee "$work/bevy-tests.txt" || failed "a test of examples/engine/bevy fails"
passed "$(awk '/^test result: ok/ { passed += $4 } END { print passed + 0 }' "$work/bevy-tests.txt") tests passed"
