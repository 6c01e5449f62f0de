#!/usr/bin/env bash
# The whole test suite, with the software adapters required. On Debian and Ubuntu the drivers are installed when they
# are missing, and SwiftShader is unpacked from Debian's chromium-common into the target folder, where the tests look
# for it; on macOS and Windows the system's own adapter is used and nothing needs installing. C programs are tested
# where there is a C compiler, and for leaks where there is valgrind; ATTRACTOR_REQUIRE_TOOLS=cc,c++,valgrind fails
# where they are missing.
#
# --slow: long tests, too (tests/README.md), and every stage of platforms.sh and habits.sh, which takes hours.
set -euo pipefail
cd "$(dirname "$0")"

stages=short
case "${1-}" in
'') ;;
--slow)
    export ATTRACTOR_SLOW="${ATTRACTOR_SLOW:-1}" ATTRACTOR_SOAK_MINUTES="${ATTRACTOR_SOAK_MINUTES:-10}"
    export ATTRACTOR_MUTATIONS="${ATTRACTOR_MUTATIONS:-5000}"
    stages=
    ;;
*)
    echo "test.sh: unknown argument \"$1\": expected --slow or nothing" >&2
    exit 2
    ;;
esac

vulkan_driver() { compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' >/dev/null; }
gl_driver() { ldconfig -p | grep -q 'libEGL\.so\.1' && compgen -G '/usr/lib/*/dri/swrast_dri.so' >/dev/null; }
loader() { ldconfig -p | grep -q 'libvulkan\.so\.1'; }

# Where SwiftShader's description is.
swiftshader_icd() {
    local folder
    for folder in "${CARGO_TARGET_DIR:-$PWD/target}/swiftshader" /usr/lib/chromium; do
        [ -f "$folder/vk_swiftshader_icd.json" ] && echo "$folder/vk_swiftshader_icd.json" && return
    done
    return 1
}

# SwiftShader, the Vulkan driver that Chromium carries. Only its two files are unpacked: nothing is installed.
swiftshader() {
    local folder="${CARGO_TARGET_DIR:-$PWD/target}/swiftshader" unpacked
    swiftshader_icd >/dev/null && return
    command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return
    unpacked=$(mktemp -d)
    # Only root can refresh the lists, and those at hand may do.
    if (cd "$unpacked" && { apt-get download chromium-common || { apt-get update && apt-get download chromium-common; }; }) >/dev/null 2>&1 &&
        dpkg-deb --fsys-tarfile "$unpacked"/chromium-common_*.deb |
        tar -x -C "$unpacked" --wildcards './usr/lib/chromium/*vk_swiftshader*' &&
        mkdir -p "$folder"; then
        # The description comes last: it is what the tests look for.
        mv "$unpacked/usr/lib/chromium/libvk_swiftshader.so" "$folder/" &&
            mv "$unpacked/usr/lib/chromium/vk_swiftshader_icd.json" "$folder/" || true
    fi
    rm -rf "$unpacked"
    swiftshader_icd >/dev/null
}

if [ "$(uname -s)" = Linux ]; then
    if ! { vulkan_driver && gl_driver && loader; }; then
        packages=(mesa-vulkan-drivers libvulkan1 libegl1 libgl1-mesa-dri)
        if command -v apt-get >/dev/null; then
            as_root=()
            [ "$(id -u)" -eq 0 ] || as_root=(sudo)
            "${as_root[@]}" apt-get update
            "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${packages[@]}"
        else
            echo "test.sh: install Mesa's software drivers (lavapipe for Vulkan, llvmpipe for EGL) and the Vulkan loader," >&2
            echo "as this system's packages: on Debian they are ${packages[*]}." >&2
            exit 1
        fi
    fi
    # Mesa's EGL complains where there is none.
    export XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}"
    required=lavapipe,llvmpipe
    if swiftshader; then
        required+=,swiftshader
        # Beside the system's drivers; only newer loaders know the variable.
        VK_ADD_DRIVER_FILES="$(swiftshader_icd)${VK_ADD_DRIVER_FILES:+:$VK_ADD_DRIVER_FILES}"
        export VK_ADD_DRIVER_FILES
    else
        echo "test.sh: no SwiftShader here (Debian's chromium-common has it): its tests are skipped" >&2
    fi
    export ATTRACTOR_REQUIRE_ADAPTERS="${ATTRACTOR_REQUIRE_ADAPTERS-$required}"
fi

cargo fmt --all --check
# Spelling, workflows and dependencies, as far as their tools are here: a stage without its tool says what it needs.
./habits.sh $stages
# Files are shared by the package attractor-harness, never included by path.
if git grep -n '^#\[path' -- '*.rs'; then
    echo "test.sh: the files above are included by path" >&2
    exit 1
fi
# Every lock knows the dependencies of its project.
for project in . fuzz platforms/browser examples/engine/bevy benches/peers/burn; do
    cargo metadata --locked --format-version 1 --manifest-path "$project/Cargo.toml" >/dev/null
done
cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
cargo clippy --locked --package attractor --lib --no-default-features -- -D warnings
cargo clippy --locked --package attractor --lib -- -D warnings
cargo clippy --locked --package attractor-capi --no-default-features -- -D warnings
# The library has neither the command's argument parser nor its pictures and progress bars; without its default features
# it has no file formats either.
depends_on() {
    if cargo tree --locked --package attractor --edges normal --prefix none "${@:2}" | grep -E "^($1) "; then
        echo "test.sh: the library depends on the crates above (cargo tree ${*:2})" >&2
        exit 1
    fi
}
depends_on 'clap|image|indicatif|plotters|flate2|env_logger|attractor-harness'
depends_on 'clap|image|indicatif|plotters|flate2|env_logger|safetensors|crc32fast|serde_json' --no-default-features
RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps --lib --package attractor --package attractor-harness --all-features

# Runs "LABEL|COMMAND", and prints all that it says when it is through.
one() {
    local label=${1%%|*} command=${1#*|} begun=$SECONDS status=0 log
    log=$(mktemp)
    # One test at a time: wgpu's GL backend gives up on its context after waiting six seconds for another thread's work.
    RUST_TEST_THREADS=1 bash -c "$command" >"$log" 2>&1 || status=$?
    {
        echo "==== $label: status $status after $((SECONDS - begun)) s"
        cat "$log"
    } >"$log.whole"
    cat "$log.whole"
    rm "$log" "$log.whole"
    [ "$status" -eq 0 ] || echo "$label" >>"$failed"
}
failed=$(mktemp)
export -f one
export failed

built=$(cargo test --locked --workspace --all-features --no-run 2>&1 | tee /dev/stderr |
    sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
program() { grep -E "[/\\]$1-[0-9a-f]+(\.exe)?\$" <<<"$built"; }
# The suite once for each device, which then compiles each kernel once; what needs a process has one. Long ones come
# first: two share a small machine well, as most of the time goes into compiling kernels, on one thread.
runs=()
for device in lavapipe swiftshader llvmpipe cpu hardware; do
    runs+=("suite on $device|ATTRACTOR_TEST_DEVICES=$device '$(program suite)' --skip across_devices")
done
runs+=("suite across devices|'$(program suite)' across_devices")
for module in $(sed -n 's/^mod \(.*\);$/\1/p' tests/process/main.rs); do
    runs+=("process $module|'$(program process)' $module::")
done
while read -r other; do
    run="$(basename "${other%-*}")|'$other'"
    case "$run" in
    command\|*) runs=("$run" "${runs[@]}") ;;
    *) runs+=("$run") ;;
    esac
done < <(grep -vE '[/\\](suite|process)-[0-9a-f]+(\.exe)?$' <<<"$built")
printf '%s\0' "${runs[@]}" | xargs -0 -n 1 -P "${ATTRACTOR_TEST_JOBS:-2}" bash -c 'one "$1"' one
if [ -s "$failed" ]; then
    echo "test.sh: these failed: $(sort "$failed" | paste -sd ';' -)" >&2
    exit 1
fi
cargo test --locked --workspace --all-features --doc
# Compilers of other platforms, as far as they are here: a stage without its tools says what it needs. In CI all are.
if [ "$(uname -s)" = Linux ]; then
    ./platforms.sh $stages
fi
