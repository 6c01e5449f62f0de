#!/usr/bin/env bash
# Every kernel variant that needs no subgroups, compiled by FXC at shader model 5.1. The slowest took 5.0 s of processor
# time when this was written; the stage fails where one takes more than twice as long.
set -euo pipefail
. platforms/common.sh
. platforms/compiled.sh

hlsl_ready
files=()
for file in "$hlsl"/*.hlsl; do
    # Devices that FXC compiles for get no register tile of 32 key vectors: `unrolls_slowly` in src/gpu/quirks.rs.
    case "${file##*/}" in
    *subgroup* | fused_register-KEYS_32*) ;;
    *) files+=("$file") ;;
    esac
done
wine "$hlsl/hlsl.exe" fxc cs_5_1 "${files[@]}" >"$work/fxc.lines" || true
cat "$work/fxc.lines"
compiled "$work/fxc.lines" "${#files[@]}" 11000
