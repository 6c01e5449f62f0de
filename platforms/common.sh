# What the stages of platforms.sh share; sourced from the repository's root.
#
# A stage prints whatever it likes. Its last line is a summary. Its exit status is 0 if it passed, 77 if a tool is
# missing, and anything else if it failed.

target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work="$target/platforms"
mkdir -p "$work"
# Mesa's EGL complains where there is none.
export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}"

passed() { echo "$*"; exit 0; }
failed() { echo "$*"; exit 1; }
not_run() { echo "$*"; exit 77; }

# test_module NAME: passes with what the tests of that module of tests/text print of how many variants they read.
test_module() {
    local log="$work/$1.txt"
    cargo test --locked --workspace --all-features --test text -- --nocapture --test-threads=1 "$1::" | tee "$log" ||
        failed "tests/text/$1 failed"
    passed "$(grep -om 1 '[0-9]* variants .*' "$log")"
}

# need TEST PACKAGE...: where the command TEST fails, installs Debian's packages if that was asked for; otherwise the
# stage is not run.
need() {
    local test="$1"
    shift
    if eval "$test" >/dev/null 2>&1; then return; fi
    if [ -z "${ATTRACTOR_INSTALL-}" ] || ! command -v apt-get >/dev/null; then
        not_run "needs apt-get install --no-install-recommends $*, or --install"
    fi
    local as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo)
    { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" ||
        { "${as_root[@]}" apt-get update &&
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }; } ||
        failed "apt-get install $* failed"
    eval "$test" >/dev/null 2>&1 || failed "apt-get install $* did not bring what \"$test\" asks for"
}

# for_target TARGET COMMAND...: runs a cargo command that builds for TARGET: with the toolchain's own library for that
# target where rustup has installed it, and with a library built from the sources of Debian's rustc-web otherwise.
for_target() {
    local triple="$1" own
    shift
    own="$(rustc --print sysroot)/lib/rustlib/$triple/lib"
    if compgen -G "$own/libstd-*.rlib" >/dev/null; then
        "$@" --target "$triple"
        return
    fi
    need 'test -d "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library" && command -v wasm-ld-22' \
        rustc-web rust-web-src lld-22
    RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-22 \
        "$@" --target "$triple" -Zbuild-std=std,panic_abort,panic_unwind
}

# The test page of platforms/browser with the library in it: in $page.
page="$work/page"
browser_page() {
    local project=(--locked --manifest-path platforms/browser/Cargo.toml --target-dir "$work/browser")
    RUSTFLAGS='-D warnings' for_target wasm32-unknown-unknown cargo build --release "${project[@]}" ||
        failed "the test page does not build for wasm32"
    mkdir -p "$page"
    cargo run "${project[@]}" --package bindgen -- \
        "$work/browser/wasm32-unknown-unknown/release/attractor_browser.wasm" "$page" || failed "bindgen failed"
    cp platforms/browser/index.html platforms/browser/run.mjs "$page/"
}

# Dawn for Node, and with it Microsoft's two HLSL compilers: $node_modules/webgpu/dist.
node_modules="$work/node/node_modules"
dawn() {
    need 'command -v node && command -v npm' nodejs npm
    need 'compgen -G "/usr/lib/*/libvulkan.so.1"' libvulkan1
    compgen -G "$node_modules/webgpu/dist/linux-*/dawn.node" >/dev/null && return
    [ -n "${ATTRACTOR_INSTALL-}" ] || not_run "needs npm's webgpu@0.6.2, or --install"
    mkdir -p "$work/node"
    npm install --prefix "$work/node" --no-audit --no-fund webgpu@0.6.2 || failed "npm install webgpu failed"
}

# SwiftShader's description, from Debian's chromium-common: in $swiftshader.
swiftshader() {
    for swiftshader in "$target/swiftshader/vk_swiftshader_icd.json" /usr/lib/chromium/vk_swiftshader_icd.json; do
        [ -f "$swiftshader" ] && return
    done
    need 'test -f /usr/lib/chromium/vk_swiftshader_icd.json' chromium-common
}

# Wine with a display and a folder of its own, both ended with the stage: `wine PROGRAM ARGUMENTS...`, with Microsoft's
# own HLSL compiler where the stage says nothing else.
wine_ready() {
    need 'test -x /usr/lib/wine/wine64 || command -v wine64' wine64 wine
    need 'command -v Xvfb' xvfb
    wine_program=/usr/lib/wine/wine64
    [ -x "$wine_program" ] || wine_program=$(command -v wine64)
    export WINEPREFIX="$work/wine" WINEDEBUG="${WINEDEBUG--all}"
    export WINEDLLOVERRIDES="${WINEDLLOVERRIDES-d3dcompiler_47=n;mscoree,mshtml=}"
    local number
    exec {display}< <(exec Xvfb -displayfd 1 -screen 0 640x480x24 -nolisten tcp 2>/dev/null)
    xvfb=$!
    # The programs end before their display, which they would complain about.
    trap '{ wineserver -k || true; wineserver -w || true; kill "$xvfb" || true; } 2>/dev/null' EXIT
    read -r number <&"$display" || failed "Xvfb does not start"
    export DISPLAY=":$number"
    # What an ended stage has left behind would use the display of that stage.
    wineserver -k 2>/dev/null || true
    wine wineboot --init >/dev/null 2>&1 || failed "Wine does not start"
}
wine() { timeout 1800 "$wine_program" "$@"; }
wineserver() { "$(dirname "$wine_program")/wineserver64" "$@"; }

# All kernels in HLSL beside Microsoft's compilers and platforms/hlsl.c, in $hlsl. File names are relative to it.
hlsl_ready() {
    dawn
    wine_ready
    need 'command -v x86_64-w64-mingw32-gcc' gcc-mingw-w64-x86-64-win32 binutils-mingw-w64-x86-64
    hlsl="$work/hlsl"
    rm -rf "$hlsl"
    cargo build --locked --workspace --all-features --example kernels
    "$target/debug/examples/kernels" hlsl "$hlsl"
    cp "$node_modules"/webgpu/dist/win32-x64/{d3dcompiler_47,dxcompiler}.dll "$hlsl/"
    x86_64-w64-mingw32-gcc -O1 -Wall -Werror -o "$hlsl/hlsl.exe" platforms/hlsl.c
}
