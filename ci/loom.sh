#!/usr/bin/env bash
# Runs the models: every protocol that waits, in every order that loom finds.
#
#   ci/loom.sh [NAME...]    all models, or those whose names contain a NAME
#
# LISLE_MODELS_DEEPER=1 allows one preemption more than the models say, which takes some ten times as long.
#
# Needs: cargo. Writes to ${CARGO_TARGET_DIR:-target}/loom only.
#
# A model says how many executions it explored and within which bound; see lwp/src/explore.rs, also for what loom
# overlooks. What it cannot see at all (spurious futex wake-ups, load buffering, compiler fences) stands in
# lwp/src/shim.rs. That the models notice mistakes is for ci/mutants.sh to show.
set -euo pipefail
exec </dev/null

die() { printf 'loom: %s\n' "$*" >&2; exit 1; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v cargo >/dev/null || die "missing on this machine: cargo"
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/loom
export CARGO_TARGET_DIR
export RUSTFLAGS="${RUSTFLAGS:-} --cfg lisle_loom"

[ $# -gt 0 ] || set -- models::
log=$CARGO_TARGET_DIR/models.log
mkdir -p "$CARGO_TARGET_DIR"
status=0
cargo test --release --lib -p lisle-lwp -p lisle-runtime -p lisle-sync --no-fail-fast -- "$@" --show-output 2>&1 |
    tee "$log" || status=$?

printf '\n--- loom summary ---\n'
sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
    /^ *Running / { sub(/^ */, ""); suite = $0 }
    /^model / { models++; executions += $3 }
    /^test result: / { print suite; print "    " $0; passed += $4; failed += $6; if ($4 + $6 == 0) empty++ }
    END {
        printf "%d executions of %d models\n%d passed, %d failed\n", executions, models, passed, failed
        if (passed + failed == 0) { print "no model ran"; exit 1 }
        if (all && empty) { print "a crate without models"; exit 1 }
    }' all="$([ "$*" = models:: ] && echo 1)" || status=1
[ "$status" -eq 0 ] || die "FAILED"
