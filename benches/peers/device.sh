#!/usr/bin/env bash
# Checks and measures on a machine that has a GPU but no Rust, in one go.
#
#   benches/peers/device.sh pack DIR         here: builds what is needed and strips it into DIR
#   benches/peers/device.sh run DIR OUT      there: verifies, runs the tests that need no files, every size beside PyTorch
#                                            with CUDA, then tunes and measures without and with what was found
#
# The run writes OUT/tests.log, OUT/gpu.json, OUT/tuning.json, OUT/bench*.json with pictures and OUT/table.txt, which it
# prints as it goes. BACKEND (vulkan) is our side's backend, PYTHON (python3) has torch, and entmax where the sparse rows are
# to have a peer. SOFTWARE=1 takes a software adapter, to try the script itself; TEST_SECONDS (40) is what one test may take,
# TUNE_SECONDS (60) how long to tune; ROWS and SIZES choose rows of run.py and sizes of attractor bench; STEPS some of "verify
# tests peers tune", where one call may not take as long as all of them.
set -euo pipefail
cd "$(dirname "$0")/../.."

# Modules of tests/suite.
tests=(shapes rules attacks partial properties cooperate)

pack() {
    local to=$1 suite
    mkdir -p "$to"
    cargo build --release --locked --package attractor-cli --package attractor --bin attractor --example measure
    suite=$(cargo test --release --locked --all-features --no-run --test suite 2>&1 | tee /dev/stderr |
        sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
    cp "$suite" "$to/suite"
    cp target/release/examples/measure target/release/attractor "$to/"
    strip "$to"/*
    du -sh "$to"
}

run() {
    local from=$1 out=$2 stem software=()
    mkdir -p "$out"
    [ -z "${SOFTWARE:-}" ] || software=(--software)
    # A failure is reported in place of the table, and the rest is still measured.
    ours() {
        timeout "$1" "$from/attractor" "${@:2}" --device "${BACKEND:-vulkan}" "${software[@]}" 2>&1 ||
            echo "attractor $2 FAILED with status $?"
    }
    for step in ${STEPS:-verify tests peers tune}; do
        "$step" "$from" "$out"
    done 2>&1 | tee "$out/table.txt"
}

verify() {
    ours 120 verify
}

tests() {
    local devices=hardware
    [ -z "${SOFTWARE:-}" ] || devices=lavapipe
    export ATTRACTOR_TEST_DEVICES=$devices
    for stem in "${tests[@]}"; do
        if timeout "${TEST_SECONDS:-40}" "$1/suite" --test-threads=1 "$stem::" >"$2/$stem.log" 2>&1; then
            echo "$stem passed"
        else
            echo "$stem FAILED with status $?: $(grep -m 1 -A 2 'panicked at' "$2/$stem.log" | tr '\n' ' ')"
        fi
        cat "$2/$stem.log" >>"$2/tests.log"
        rm "$2/$stem.log"
    done
}

peers() {
    "${PYTHON:-python3}" benches/peers/run.py --python "${PYTHON:-python3}" --measure "$1/measure" \
        --device "${BACKEND:-vulkan}" "${software[@]}" --rounds 5 --seconds 0.3 ${ROWS:+--rows "$ROWS"} \
        --out "$2/gpu.json" || echo "run.py FAILED with status $?"
}

tune() {
    ours $((2 * ${TUNE_SECONDS:-60})) tune --seconds "${TUNE_SECONDS:-60}" --out "$2/tuning.json"
    for tuning in none "$2/tuning.json"; do
        # Not there where tuning failed.
        [ "$tuning" = none ] || [ -f "$tuning" ] || continue
        stem=$2/bench$([ "$tuning" = none ] || echo -tuned)
        ours 240 bench --tuning "$tuning" --seconds 0.3 ${SIZES:+--sizes "$SIZES"} --json "$stem.json" --svg "$stem.svg"
    done
}

case "${1:-}" in
    pack) pack "$2" ;;
    run) run "$2" "$3" ;;
    *) sed -n '2,13p' "$0" | sed 's/^# \{0,1\}//' >&2 && exit 2 ;;
esac
