#!/usr/bin/env bash
# Checks and measures on a machine that has a GPU but no Rust, in one go.
#
#   benches/peers/device.sh pack DIR         here: builds what is needed and strips it into DIR
#   benches/peers/device.sh run DIR OUT      there: the tests that need no files, then every size beside PyTorch with CUDA
#
# The run writes OUT/tests.log, OUT/gpu.json and OUT/table.txt, and ends with the table. BACKEND (vulkan) is our side's
# backend, PYTHON (python3) has torch, and entmax where the sparse rows are to have a peer. SOFTWARE=1 takes a software
# adapter, to try the script itself; TEST_SECONDS (40) is what one test may take.
set -euo pipefail
cd "$(dirname "$0")/../.."

tests=(shapes rules attacks partial properties cooperate)

pack() {
    local to=$1 built stem
    mkdir -p "$to"
    cargo build --release --locked --example measure
    built=$(cargo test --release --locked --no-run --message-format=json "${tests[@]/#/--test=}" |
        python3 -c 'import json, sys
for line in sys.stdin:
    told = json.loads(line)
    if told.get("executable") and told["target"]["kind"] == ["test"]:
        print(told["target"]["name"], told["executable"])')
    while read -r stem path; do
        cp "$path" "$to/$stem"
    done <<<"$built"
    cp target/release/examples/measure "$to/"
    strip "$to"/*
    du -sh "$to"
}

run() {
    local from=$1 out=$2 stem software=()
    mkdir -p "$out"
    [ -z "${SOFTWARE:-}" ] || software=(--software)
    for stem in "${tests[@]}"; do
        # A failure is said in the table's place, and what can be measured still is.
        if timeout "${TEST_SECONDS:-40}" "$from/$stem" --test-threads=1 >"$out/$stem.log" 2>&1; then
            echo "$stem passed"
        else
            echo "$stem FAILED with status $?: $(grep -m 1 -A 2 'panicked at' "$out/$stem.log" | tr '\n' ' ')"
        fi
        cat "$out/$stem.log" >>"$out/tests.log"
        rm "$out/$stem.log"
    done | tee "$out/table.txt"
    "${PYTHON:-python3}" benches/peers/run.py --python "${PYTHON:-python3}" --measure "$from/measure" \
        --device "${BACKEND:-vulkan}" "${software[@]}" --rounds 5 --seconds 0.3 ${ROWS:+--rows "$ROWS"} \
        --out "$out/gpu.json" 2>&1 | tee -a "$out/table.txt"
}

case "${1:-}" in
    pack) pack "$2" ;;
    run) run "$2" "$3" ;;
    *) sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//' >&2 && exit 2 ;;
esac
