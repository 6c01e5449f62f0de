#!/usr/bin/env bash
# Holds the kernels and the library against every platform that can be had on this machine:
#
#     ./platforms.sh [--install] [STAGE ...]
#
# Stages: uniform msl tint fxc dxc wasm browser bevy windows dx12 aarch64; `short` stands for tint, fxc, dxc and wasm
# (uniform and msl are among the tests), and without a stage all of them run. Each ends with one line: `ok`, `failed` or
# `not run`, and why. The exit status is 1 where a stage failed. What a stage prints is kept in
# target/platforms/STAGE.log. A stage that lacks a tool is not run, and says which Debian packages bring it; --install
# installs them, and then a stage that is not run counts as failed.
set -euo pipefail
cd "$(dirname "$0")"

all=(uniform msl tint fxc dxc wasm browser bevy windows dx12 aarch64)
short=(tint fxc dxc wasm)
export ATTRACTOR_INSTALL="${ATTRACTOR_INSTALL-}"
[ "$ATTRACTOR_INSTALL" != 0 ] || ATTRACTOR_INSTALL=
stages=()
for argument in "$@"; do
    case "$argument" in
    --install) ATTRACTOR_INSTALL=1 ;;
    short) stages+=("${short[@]}") ;;
    *)
        if [[ " ${all[*]} " != *" $argument "* ]]; then
            echo "platforms.sh: unknown stage \"$argument\": expected --install, short, ${all[*]}" >&2
            exit 2
        fi
        stages+=("$argument")
        ;;
    esac
done
[ "${#stages[@]}" -gt 0 ] || stages=("${all[@]}")

. platforms/common.sh
. ./stages.sh
run_stage() { "platforms/$1.sh"; }
run_stages "$work" "$ATTRACTOR_INSTALL" run_stage "${stages[@]}"
