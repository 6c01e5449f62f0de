#!/usr/bin/env bash
# The cases of `attractor verify` on WebGPU: in headless Chromium, there on the CPU engine as well, and under Node on
# Dawn, both over SwiftShader.
set -euo pipefail
. platforms/common.sh
need 'command -v node' nodejs
need 'command -v chromium' chromium
dawn
swiftshader
browser_page
status=0
node platforms/browser/chromium.mjs "$page" chromium "$work/profile" 1800 cpu,webgpu >"$work/chromium.txt" || status=1
cat "$work/chromium.txt"
VK_DRIVER_FILES="$swiftshader" timeout 1800 node platforms/browser/node.mjs "$page" webgpu "$node_modules/webgpu" \
    >"$work/dawn.txt" || status=1
cat "$work/dawn.txt"
echo "Chromium $(tail -n 2 "$work/chromium.txt" | paste -sd '|' | sed 's/|/; /'); Dawn $(tail -n 1 "$work/dawn.txt")"
exit "$status"
