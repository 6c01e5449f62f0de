#!/usr/bin/env bash
# Every kernel variant that HLSL can express, those with subgroups too, compiled by DXC at shader model 6.2.
set -euo pipefail
. platforms/common.sh
. platforms/compiled.sh

hlsl_ready
wine "$hlsl/hlsl.exe" dxc cs_6_2 "$hlsl"/*.hlsl >"$work/dxc.lines" || true
cat "$work/dxc.lines"
compiled "$work/dxc.lines" 3000
