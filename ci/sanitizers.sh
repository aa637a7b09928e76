#!/usr/bin/env bash
# Tests under AddressSanitizer.
#
#   ci/sanitizers.sh [asan [TEST...]]      TEST: full_threads runtime sync channel [all]
#
# To the sanitizer a full thread is what it is to libc: a thread, with its own stack. Of light threads, and of stacks that
# are used again, it is told (`--cfg lisle_asan`, lwp/src/checkers.rs). Its
# leak check is off: it looks for each thread's kernel thread, which parked full threads do not have. So is its look for uses
# of a stack after return: light threads share what it keeps for each kernel thread.
#
# The standard library is the one that comes with the compiler, without checks of its own. The compiler's flag is unstable,
# which RUSTC_BOOTSTRAP permits here and nowhere else. Built into ${CARGO_TARGET_DIR:-target}/asan. What is left out stands
# in ci/full-threads-skips.txt, with the evidence.
#
# Needs: cargo, gcc.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo gcc

asan() {
    local package triple=x86_64-unknown-linux-gnu messages program test
    [ $# -gt 0 ] || set -- full_threads runtime sync channel
    package=$(target_dir)/asan/package
    tests_package "$package" "$@"
    messages=$(RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Zsanitizer=address --cfg lisle_asan" CARGO_TARGET_DIR=$(target_dir)/asan/built \
        cargo test --quiet --manifest-path "$package/Cargo.toml" --target "$triple" --no-run --message-format json)
    export ASAN_OPTIONS=detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=1
    for test in "$@"; do
        program=$(program_of "$test" <<<"$messages")
        [ -x "$program" ] || die "cargo named no program"
        grep -q __asan_report_load8 "$program" || die "$program is not instrumented"
        say "asan: $program"
        # shellcheck disable=SC2046 # words
        minimum=5 run_full_threads "asan, $test" "$program" $(full_threads_skips asan) $(slow_full_threads)
    done
}

name=${1:-asan}
[ $# -eq 0 ] || shift
case $name in
asan) asan "$@" ;;
*) die "no such sanitizer here: $name" ;;
esac
end_of_full_threads
