# Sourced by scripts that run stages and end with a line for each.
#
# run_stages LOGS REQUIRED RUN STAGE...: calls `RUN STAGE` for each stage, with what it prints in LOGS/STAGE.log. The
# last line of that is the summary, the status 0 passed, 77 not run (a failure if REQUIRED is not empty), anything else
# failed. Prints a line for each stage and exits with 1 if one failed.
run_stages() {
    local logs=$1 required=$2 run=$3 stage code begun log last seconds summary=() status=0
    shift 3
    for stage in "$@"; do
        echo "${0##*/}: $stage" >&2
        code=0 begun=$SECONDS log="$logs/$stage.log"
        # `set -e` does not hold in a stage: each of its commands says what its failure means.
        ("$run" "$stage") >"$log" 2>&1 || code=$?
        last=$(grep -v '^[[:space:]]*$' "$log" | tail -n 1) || true
        seconds=$((SECONDS - begun))
        case "$code" in
        0) summary+=("$stage: ok, $last ($seconds s)") ;;
        77)
            summary+=("$stage: not run: $last")
            [ -z "$required" ] || status=1
            ;;
        *)
            summary+=("$stage: failed: $last ($seconds s; $log)")
            status=1
            tail -n 40 "$log" >&2
            ;;
        esac
    done
    printf '%s\n' "${summary[@]}"
    exit "$status"
}
