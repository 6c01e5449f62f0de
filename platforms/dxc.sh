#!/usr/bin/env bash
# Every kernel variant that HLSL can express, those with subgroups too, compiled by DXC at shader model 6.2.
set -euo pipefail
. platforms/common.sh
. platforms/compiled.sh

hlsl_ready
files=("$hlsl"/*.hlsl)
wine "$hlsl/hlsl.exe" dxc cs_6_2 "${files[@]}" >"$work/dxc.lines" || true
cat "$work/dxc.lines"
compiled "$work/dxc.lines" "${#files[@]}" 10000
