#!/usr/bin/env bash
# Reads the Metal Shading Language that naga makes of every kernel, for what Metal leaves undefined: tests/text/metal.
# Nothing is compiled or run: that takes macOS.
set -euo pipefail
. platforms/common.sh
test_module metal
