#!/usr/bin/env bash
# Holds the kernels and the library against every platform that can be had on this machine:
#
#     ./platforms.sh [--install] [STAGE ...]
#
# Stages: uniform tint fxc dxc wasm browser windows dx12 msl aarch64; `short` stands for those that take minutes, and
# without a stage all of them run. Each ends with one line: `ok`, `failed` or `not run`, and why. The exit status is 1
# where a stage failed. What a stage prints is kept in target/platforms/STAGE.log. A stage that lacks a tool is not run,
# and says which Debian packages bring it; --install installs them, and then a stage that is not run counts as failed.
set -euo pipefail
cd "$(dirname "$0")"

all=(uniform msl tint fxc dxc wasm browser windows dx12 aarch64)
short=(uniform msl tint fxc dxc wasm)
export ATTRACTOR_INSTALL="${ATTRACTOR_INSTALL-}"
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
summary=() status=0
for stage in "${stages[@]}"; do
    echo "platforms.sh: $stage" >&2
    code=0 begun=$SECONDS log="$work/$stage.log"
    "platforms/$stage.sh" >"$log" 2>&1 || code=$?
    last=$(grep -v '^[[:space:]]*$' "$log" | tail -n 1) || true
    seconds=$((SECONDS - begun))
    case "$code" in
    0) summary+=("$stage: ok, $last ($seconds s)") ;;
    77)
        summary+=("$stage: not run: $last")
        [ -z "$ATTRACTOR_INSTALL" ] || status=1
        ;;
    *)
        summary+=("$stage: failed: $last ($seconds s; $log)")
        status=1
        tail -n 40 "$log" >&2
        ;;
    esac
done
printf '%s\n' "${summary[@]}"
exit "$status"
