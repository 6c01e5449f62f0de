#!/usr/bin/env bash
# The command, the C library and the tests as Windows programs, under Wine: on the CPU engine, on Vulkan (lavapipe) and
# on GL (llvmpipe). Wine's own Direct3D 12 is left out; dx12.sh has a newer one.
set -euo pipefail
. platforms/common.sh

triple=x86_64-pc-windows-gnu
modules=(files:: errors:: host:: ids:: arguments:: partial:: saves::)
need 'compgen -G "/usr/share/vulkan/icd.d/lvp_icd*.json" && compgen -G "/usr/lib/*/dri/swrast_dri.so"' \
    mesa-vulkan-drivers libvulkan1 libegl1 libgl1-mesa-dri libgl1
need 'command -v python3' python3-minimal
export WINEDLLOVERRIDES='mscoree,mshtml,d3d12=' LC_ALL=C.UTF-8 XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}}"
platforms/windows-build.sh || exit "$?"
wine_ready

# Programs and their libraries, in a folder of their own.
here="$work/windows"
rm -rf "$here"
mkdir -p "$here"
cp "$work"/windows-release/* "$here/"
compiler=(x86_64-w64-mingw32-gcc -std=c11 -Wall -Wextra -Werror -O1)
system="$WINEPREFIX/drive_c/windows/system32"
if [ ! -e "$system/bcryptprimitives.dll" ]; then
    "${compiler[@]}" -shared -o "$system/bcryptprimitives.dll" platforms/windows/bcryptprimitives.c -ladvapi32
fi
"${compiler[@]}" -o "$here/interrupt.exe" platforms/windows/interrupt.c
for source in capi/examples/recall.c platforms/windows/files.c; do
    program="$here/$(basename "$source" .c).exe"
    "${compiler[@]}" -pedantic -I "$here" -o "$program" "$source" "$here/libattractor.dll.a" -lm ||
        failed "$source does not build"
done
root=$PWD
check() { python3 "$root/platforms/windows/check.py" "$@"; }
cd "$here"

echo "==== devices"
wine attractor.exe devices | tee devices.txt || failed "devices ends with status $?"
for backend in Vulkan Gl; do
    grep -q "backend $backend, kind software" devices.txt || failed "devices lists no $backend"
done

counts=()
for device in cpu "vulkan --software" "gl --software"; do
    echo "==== verify --device $device"
    # shellcheck disable=SC2086 # an option and its value
    wine attractor.exe verify --device $device >verify.txt || failed "verify --device $device: $(tail -n 1 verify.txt)"
    tail -n 1 verify.txt
    read -r right _ all _ < <(tail -n 1 verify.txt)
    counts+=("$right of $all on ${device%% *}")
done

echo "==== recall, and paths"
folder='dir with space\Überblick й'
unix_folder="${folder//\\//}"
mkdir -p "$unix_folder"
wine attractor.exe recall --device cpu --output "$folder\\recall picture.png" || failed "recall ends with status $?"
check picture "$unix_folder/recall picture.png" || failed "recall's picture is not right"
cp "$root/tests/golden/retrieve_softmax_small.safetensors" "$unix_folder/golden.safetensors"
for inside in "$folder" "Z:${PWD//\//\\}\\$folder" "$unix_folder"; do
    golden="$inside\\golden.safetensors"
    wine attractor.exe retrieve --keys "$golden:keys" --queries "$golden:queries" --beta 0.5 --device cpu \
        --out "$folder\\answers.safetensors" || failed "retrieve from \"$golden\" ends with status $?"
    check output "$unix_folder/answers.safetensors" "$unix_folder/golden.safetensors" ||
        failed "retrieve from \"$golden\" is wrong"
    rm "$unix_folder/answers.safetensors"
done

echo "==== saves"
mkdir "$unix_folder/saved"
wine files.exe "$folder\\saved\\memory ж.safetensors" || failed "files.exe ends with status $?"
wine attractor.exe retrieve --memory "$folder\\saved\\memory ж.safetensors" --device cpu \
    --queries "$folder\\golden.safetensors:queries" --out "$folder\\answers.safetensors" 2>refused.txt &&
    failed "queries of another width are accepted"
grep -q "memory ж.safetensors" refused.txt || failed "an error that does not name its file: $(cat refused.txt)"

echo "==== exit statuses"
expect() {
    local expected="$1" status=0
    shift
    wine attractor.exe "$@" >out.txt 2>&1 || status=$?
    tail -n 1 out.txt
    [ "$status" -eq "$expected" ] || failed "attractor $*: status $status, expected $expected"
}
expect 0 --version
expect 1 retrieve --keys "$folder\\gone.npy" --queries "$folder\\gone.npy" --out "$folder\\answers.safetensors"
expect 1 retrieve --keys '\\.\pipe\keys.npy' --queries '\\.\pipe\keys.npy' --out "$folder\\answers.safetensors"
expect 1 verify --device dx12
expect 2 retrieve
expect 2 verify --device nonsense

echo "==== Ctrl-C"
interrupt() {
    local milliseconds="$1" ended
    shift
    ended=$(wine interrupt.exe "$milliseconds" attractor.exe "$@" 2>interrupted.txt | tr -d '\r' | tail -n 1) ||
        failed "attractor $* is not interrupted: $(tail -n 1 interrupted.txt)"
    echo "attractor $*: status and milliseconds $ended"
    # 130.
    [[ "$ended" =~ ^00000082\ [0-9]{1,3}$ ]] || failed "attractor $* ended with \"$ended\" after Ctrl-C"
}
mkdir interrupted
interrupt 3000 verify --device vulkan --software
interrupt 3000 recall --device vulkan --software --output 'interrupted\recall.png'
interrupt 3000 bench --device cpu --json 'interrupted\bench.json' --svg 'interrupted\bench.svg'
# What was measured is kept, and nothing else.
[ "$(ls -A interrupted)" = bench.json ] || failed "interrupted programs leave $(ls -A interrupted | tr '\n' ' ')"

echo "==== C"
for device in cpu vulkan-software gl-software; do
    wine recall.exe "$device" >recall.txt 2>complaints.txt || failed "recall.exe $device: $(tail -n 1 complaints.txt)"
    tr -d '\r' <recall.txt | tail -n 1 | grep -qx 'all is well' || failed "recall.exe $device does not end well"
    [ "$(grep -c '10 of 10 recalled' recall.txt)" -eq 2 ] || failed "recall.exe $device does not recall"
    sed -n 1,3p recall.txt
done

echo "==== tests"
cd "$root"
build=(cargo test --locked --workspace --all-features --no-run --lib --bins --test suite --test process --test exit)
built=$(for_target "$triple" "${build[@]}" 2>&1 | tee "$work/windows-tests.log" |
    sed -n 's/^ *Executable .*(\(.*\))$/\1/p') && [ -n "$built" ] ||
    failed "the tests do not build: $work/windows-tests.log"
tests_passed=0 skipped=0 broken=()
export ATTRACTOR_REQUIRE_ADAPTERS=lavapipe,llvmpipe
for program in $built; do
    case "$program" in
    */suite-* | */process-*) chosen=("${modules[@]}") ;;
    *) chosen=() ;;
    esac
    # A loaded Wine now and then starts no process, with an error of its own (1359): then once more.
    for _ in 1 2; do
        status=0
        wine "$program" --test-threads=1 --show-output "${chosen[@]}" >"$here/test.txt" 2>&1 || status=$?
        grep -aq 'code: 1359' "$here/test.txt" || break
    done
    echo "== $(basename "${program%-*}"): status $status"
    grep -aE '^SKIP|^test .*(FAILED|ignored)|panicked at|^test result' "$here/test.txt" || true
    [ "$status" -eq 0 ] || { broken+=("$(basename "${program%-*}")") && tail -n 30 "$here/test.txt"; }
    tests_passed=$((tests_passed + $(grep -acE '^test .* \.\.\. ok' "$here/test.txt" || true)))
    skipped=$((skipped + $(grep -acE '^SKIP' "$here/test.txt" || true)))
done
[ "${#broken[@]}" -eq 0 ] || failed "these tests failed: ${broken[*]}"

right=$(printf ', %s' "${counts[@]}")
passed "verify ${right:2}; paths, saves, Ctrl-C, C; $tests_passed tests passed, $skipped skips"
