#!/usr/bin/env bash
# Every kernel variant that needs no subgroups, compiled by FXC at shader model 5.1, each in three seconds or less.
set -euo pipefail
. platforms/common.sh
. platforms/compiled.sh

hlsl_ready
# Devices that FXC compiles for are not given keys of 32 vectors to hold: `unrolls_slowly` in src/gpu/quirks.rs.
wine "$hlsl/hlsl.exe" fxc cs_5_1 $(ls "$hlsl"/*.hlsl | grep -v -e subgroup -e hold-KEYS_32) >"$work/fxc.lines" || true
cat "$work/fxc.lines"
compiled "$work/fxc.lines" 3000
