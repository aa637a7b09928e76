#!/usr/bin/env bash
# Runs what the tests run under seeds with many seeds each: schedules that nobody thought of, and that can be repeated.
#
#   ci/seeds.sh [SEEDS [TEST...]]    SEEDS: of each test [5000]; TEST: test files [all below]
#
# Half of the seeds choose at random, half by random priorities with one change or two (tests/support). A failure prints its
# seed; `cargo test` takes some hundreds of each. Then whole files with every runtime of theirs seeded: a process for each
# hundred SEEDS. Needs: cargo. Writes to ${CARGO_TARGET_DIR:-target} only.
#
# What is left out: tests that need several LWPs, kernel threads that wait in real time for a state of a light thread (virtual
# time jumps past it), signals, upcalls, descriptors, or the order of another policy. They are most of threads, runtime,
# lwps, upcalls, full_threads, net, processes, fork, faults, soak and server, and the other halves of the files below.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo

seeds=${1:-5000}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- sync channel classical logical_time fork_join

for file in "$@"; do
    words=()
    # The others in these files do not look at a seed; all of fork_join and sync are short.
    case $file in
    channel) words=(seeds) ;;
    classical) words=(seeds contract) ;;
    esac
    LISLE_TEST_SEEDS=$seeds ci/tests.sh cargo test --release --test "$file" -- "${words[@]}"
    [ "$file" = logical_time ] || continue
    for ((seed = 0; seed <= seeds / 100; seed++)); do
        LISLE_TEST_SEED=$seed ci/tests.sh cargo test --release --test "$file" || die "failed with LISLE_TEST_SEED=$seed"
    done
done
