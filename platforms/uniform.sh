#!/usr/bin/env bash
# Barriers and subgroup operations in uniform control flow, by the rules of WGSL, of FXC and of MSL:
# tests/text/uniform.rs.
set -euo pipefail
. platforms/common.sh
test_module uniform
