#!/usr/bin/env bash
# Runs the tests with many seeds each: schedules that nobody thought of, and that can be repeated.
#
#   ci/seeds.sh [-w WHOLE] [SEEDS [TEST...]]    SEEDS: of each test that is written for it [5000]; WHOLE: of each file
#                                               [a fiftieth of SEEDS]; TEST: test files [all that can]
#   ci/seeds.sh -l                              lists what is left out, and why
#
# Two ways:
#   - tests that are written for it run their body under each of SEEDS (`under_seeds` in tests/support);
#   - whole files run with the runtimes that tests/support makes for them seeded, a process for each of WHOLE
#     (LISLE_TEST_SEED). What cannot, stands in ci/seeds-skips.txt, with the reason.
#
# Half of the seeds choose at random, half by random priorities with one change or two (tests/support). A failure prints its
# seed; `cargo test` takes some hundreds of each of the first. Needs: cargo, awk. Writes to ${CARGO_TARGET_DIR:-target} only.
# SEEDS_PROFILE=dev takes the build that `cargo test` makes.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo awk

# What is left out of a file, as arguments of its program; or, without a file, whole files.
skips() { sed -nE "s/^$1 ([a-z_0-9:]+) -- .*/--skip \1/p" ci/seeds-skips.txt; }
left_out() { sed -nE 's/^([a-z_0-9]+) -- .*/\1/p' ci/seeds-skips.txt; }

# Each names a test that is there.
check_skips() {
    local file test
    while read -r file test _; do
        [ -e "tests/$file.rs" ] || die "ci/seeds-skips.txt names $file, which is not there"
        [ "$test" = -- ] || grep -rqE "fn ${test##*::}\(" tests/"$file".rs tests/"$file"/ 2>/dev/null ||
            die "ci/seeds-skips.txt names $test in $file, which is not there"
    done < <(grep -E '^[a-z]' ci/seeds-skips.txt)
}

check_skips
if [ "${1:-}" = -l ]; then
    grep -E '^[a-z]' ci/seeds-skips.txt
    exit
fi
whole=
if [ "${1:-}" = -w ]; then
    whole=$2
    shift 2
fi
seeds=${1:-5000}
whole=${whole:-$(((seeds + 49) / 50))}
[ $# -eq 0 ] || shift
# shellcheck disable=SC2046 # words
[ $# -gt 0 ] || set -- $(for file in tests/*.rs; do basename "$file" .rs; done | grep -vxFf <(left_out))

# written_for_it FILE: the names that its own tests under seeds share.
written_for_it() {
    case $1 in
    channel) echo seeds ;;
    classical) echo seeds contract ;;
    esac
}

profile=(--profile "${SEEDS_PROFILE:-release}")
processes=0 written=0
for file in "$@"; do
    say "$file"
    messages=$(cargo test --quiet "${profile[@]}" --test "$file" --no-run --message-format json)
    program=$(program_of "$file" <<<"$messages")
    [ -x "$program" ] || die "cargo named no program"
    # The others in these files do not look at a seed; all of the others' are short.
    if grep -rqE 'under_seeds\(|support::seeds|[^_]seeds\(' "tests/$file.rs" "tests/$file/" 2>/dev/null; then
        # shellcheck disable=SC2046 # words
        LISLE_TEST_SEEDS=$seeds ci/tests.sh "$program" $(written_for_it "$file")
        written=$((written + 1))
    fi
    for ((seed = 0; seed < whole; seed++)); do
        # shellcheck disable=SC2046 # words
        LISLE_TEST_SEED=$seed ci/tests.sh "$program" $(skips "$file") || die "$file failed with LISLE_TEST_SEED=$seed"
        processes=$((processes + 1))
    done
done
printf '\n--- seeds summary ---\n%d files with %d seeds each: %d processes; %d files with tests under %d seeds each\n' \
    $# "$whole" "$processes" "$written" "$seeds"
printf 'left out: %d files, %d tests (ci/seeds.sh -l)\n' \
    "$(left_out | wc -l)" "$(grep -cE '^[a-z_0-9]+ [a-z]' ci/seeds-skips.txt)"
