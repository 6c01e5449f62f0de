#!/usr/bin/env bash
# The CPU engine for aarch64 under QEMU's user emulation: `verify`, the library's own tests and those that judge the
# CPU engine, on a processor with every extension that QEMU knows; the quicker ones also on a Cortex-A53, which does not
# convert halves. There is no GPU under emulation. The C library is linked with its example, which is run, too.
set -euo pipefail
. platforms/common.sh
need 'command -v aarch64-linux-gnu-gcc && test -d /usr/aarch64-linux-gnu/lib' \
    gcc-aarch64-linux-gnu libc6-dev-arm64-cross
need 'command -v qemu-aarch64' qemu-user

triple=aarch64-unknown-linux-gnu
quick=(entmax golden properties)
slow=(attacks differential rules)
# The kernel's huge pages, which QEMU does not ask for.
skip=(--skip large_arrays_request_huge_pages)
export ATTRACTOR_TEST_DEVICES=cpu CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc

for_target "$triple" cargo build --locked --package attractor-cli || failed "attractor does not build for $triple"
for_target "$triple" cargo test --locked --package attractor --no-run --lib --test suite 2>&1 | tee "$work/aarch64.txt" ||
    failed "the tests do not build for $triple"

said=()
# on PROCESSOR MODULE...: `verify`, the tests of the library, and these modules of the suite.
on() {
    local processor="$1" name program log passed ran=0
    shift
    local emulate=(qemu-aarch64 -cpu "$processor" -L /usr/aarch64-linux-gnu)
    log="$work/aarch64-$processor-verify.txt"
    "${emulate[@]}" "$target/$triple/debug/attractor" verify --device cpu >"$log" ||
        failed "$processor: verify: $(tail -n 1 "$log")"
    said+=("$processor: $(sed -n '$s/ are right.*/ right/p' "$log")")
    for name in lib "$@"; do
        local file=src/lib.rs chosen=()
        [ "$name" = lib ] || file=tests/suite/main.rs chosen=("$name::")
        program=$(sed -n "s|.*Executable .*$file (\(.*\))\$|\1|p" "$work/aarch64.txt")
        log="$work/aarch64-$processor-$name.txt"
        "${emulate[@]}" "$program" "${skip[@]}" "${chosen[@]}" >"$log" 2>&1 ||
            failed "$processor: $name: $(grep '^test result' "$log" || tail -n 1 "$log")"
        passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' "$log")
        [ "${passed:-0}" -gt 0 ] || failed "$processor: $name: no test was run"
        echo "$processor: $name: $passed tests passed"
        ran=$((ran + passed))
    done
    said[-1]+=", $ran tests passed"
}
on max "${quick[@]}" "${slow[@]}"
on cortex-a53 "${quick[@]}"

for_target "$triple" cargo rustc --locked --package attractor-capi --lib --crate-type staticlib ||
    failed "the C library does not build for $triple"
aarch64-linux-gnu-gcc -std=c11 -Icapi/include capi/examples/recall.c "$target/$triple/debug/libattractor.a" \
    -o "$work/aarch64-recall" -lpthread -ldl -lm || failed "capi/examples/recall.c does not link"
qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu "$work/aarch64-recall" cpu || failed "capi/examples/recall.c fails"
printf -v summary '%s; ' "${said[@]}"
passed "${summary}the C example recalls"
