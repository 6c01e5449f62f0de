#!/usr/bin/env bash
# Builds the command and the C library for Windows (x86_64-pc-windows-gnu), on Linux:
#
#     ./platforms/windows-build.sh [PROFILE]
#
# gives attractor.exe, attractor.dll, its import library libattractor.dll.a and attractor.h in
# target/platforms/windows-PROFILE; PROFILE is a profile of cargo, by default `release`.
set -euo pipefail
cd "$(dirname "$0")/.."
. platforms/common.sh

profile="${1:-release}"
triple=x86_64-pc-windows-gnu
need 'command -v x86_64-w64-mingw32-gcc && command -v x86_64-w64-mingw32-dlltool' \
    gcc-mingw-w64-x86-64-win32 binutils-mingw-w64-x86-64
# In one command, so that their dependencies have one set of features and are built once.
for_target "$triple" cargo build --locked --profile "$profile" --package attractor-cli --package attractor-capi ||
    failed "attractor.exe and attractor.dll do not build"

built="$target/$triple/${profile/#dev/debug}"
folder="$work/windows-$profile"
mkdir -p "$folder"
cp "$built/attractor.exe" "$built/attractor.dll" "$built/libattractor.dll.a" capi/include/attractor.h "$folder/"
echo "$folder"
