#!/usr/bin/env bash
# Tests under AddressSanitizer, LeakSanitizer and valgrind's memcheck; whether ThreadSanitizer can be believed here.
#
#   ci/sanitizers.sh [asan [TEST...]]      TEST: full_threads runtime sync channel [all]
#   ci/sanitizers.sh memcheck              tests/light.rs
#   ci/sanitizers.sh leaks                 tests/light.rs
#   ci/sanitizers.sh tsan
#
# To *AddressSanitizer* a full thread is what it is to libc: a thread, with its own stack. Of light threads, and of stacks that
# are used again, it is told (`--cfg lisle_asan`, lwp/src/checkers.rs). Its leak check is off: it looks for each thread's
# kernel thread, which parked full threads do not have. So is its look for uses of a stack after return: light threads share
# what it keeps for each kernel thread.
#
# The standard library is the one that comes with the compiler, without checks of its own. The compiler's flag is unstable,
# which RUSTC_BOOTSTRAP permits here and nowhere else. Each is built into a directory of its own in
# ${CARGO_TARGET_DIR:-target}. What is left out stands in ci/full-threads-skips.txt, with the evidence.
#
# *memcheck* and *LeakSanitizer* see light threads alone: valgrind does not know the instruction that writes the thread
# pointer, and LeakSanitizer does not find the kernel threads of parked full threads. Nothing is suppressed. memcheck is told
# of stacks (`--cfg lisle_valgrind`, lwp/src/checkers.rs); told nothing, it sees errors by the thousand in the same program.
# What it calls "possibly lost", because a pointer leads into the middle of it, is counted but is no error: so std keeps its
# handle of the first thread. LeakSanitizer takes a block for reachable whose allocation it cannot trace, and by default it
# traces between the ends of the kernel thread's own stack only: it would not see any leak of a light thread. So it is told
# to unwind by tables (`fast_unwind_on_malloc=0`). Control blocks, stacks and what else is kept for the life of the process
# are reachable from statics, and so are no leaks to either. memcheck runs one LWP and fewer turns (tests/light.rs).
#
# *ThreadSanitizer* has to see every synchronisation of a program, and does not see that of a standard library which is not
# compiled for it: `tsan` shows that, by a program of std alone that has no race and is said to have one. The compiler
# says so, too ("mixing `-Zsanitizer` will cause an ABI mismatch"). A standard library for it is built from its source,
# which the compilers that this was tried with did not bring (rustup's component rust-src: not for 1.95, nor for the nightly
# of May 2026), and Debian's source (see ci/static.sh) is for Debian's compiler, which has no sanitizers. Tried all the same,
# with lisle compiled for it: tests/sync's mutex tests gave a report in std's channel where only kernel threads took part, and
# 25 reports and a crash at the first full thread: the sanitizer keeps what it knows of a thread in thread-locals, and has
# to be told of a switch (`__tsan_switch_to_fiber`). That is not written: nobody could say what its reports mean.
# What is checked instead stands in ARCHITECTURE.md.
#
# Needs: cargo, gcc; valgrind for memcheck.
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

# light_program KIND FLAGS [ARGUMENT...]: builds tests/light.rs with those flags of the compiler and arguments of cargo in a
# directory of that kind's own, and prints the program's path.
light_program() {
    local directory messages program
    directory=$(target_dir)/$1
    tests_package "$directory/package" light
    messages=$(RUSTFLAGS=$2 CARGO_TARGET_DIR=$directory/built \
        cargo test --quiet --manifest-path "$directory/package/Cargo.toml" "${@:3}" --no-run --message-format json)
    program=$(program_of light <<<"$messages")
    [ -x "$program" ] || die "cargo named no program"
    printf '%s\n' "$program"
}

# run_light COMMAND...: runs the program, and fails unless it ends well and its tests have run.
run_light() {
    local log status=0
    log=$(mktemp)
    "$@" 2>&1 | tee "$log" || status=$?
    [ "$(sed -nE 's/^test result: ok\. ([0-9]+) passed.*/\1/p' "$log")" -ge 10 ] 2>/dev/null || status=1
    rm -f "$log"
    [ "$status" -eq 0 ] || die "FAILED"
}

memcheck() {
    local program
    need valgrind
    program=$(light_program memcheck "--cfg lisle_valgrind")
    LISLE_TEST_VALGRIND=1 LISLE_TEST_RUNNER=valgrind run_light valgrind --error-exitcode=9 --leak-check=full \
        --show-leak-kinds=definite,indirect --errors-for-leak-kinds=definite,indirect "$program" --test-threads=1
}

leaks() {
    local program
    program=$(RUSTC_BOOTSTRAP=1 light_program leaks -Zsanitizer=leak --target x86_64-unknown-linux-gnu)
    grep -q __lsan_do_leak_check "$program" || die "$program has no leak check"
    LSAN_OPTIONS=fast_unwind_on_malloc=0:exitcode=23 run_light "$program"
    say "leaks: none in $program"
}

# Says whether a race is reported where there is none.
tsan() {
    local directory log
    directory=$(target_dir)/tsan
    mkdir -p "$directory"
    cat >"$directory/counts.rs" <<'RUST'
fn main() {
    let count = std::sync::Mutex::new(0);
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| (0..100_000).for_each(|_| *count.lock().unwrap() += 1));
        }
    });
    assert_eq!(*count.lock().unwrap(), 400_000);
}
RUST
    RUSTC_BOOTSTRAP=1 rustc --edition 2024 -Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer \
        "$directory/counts.rs" -o "$directory/counts"
    if log=$(TSAN_OPTIONS=exitcode=66 "$directory/counts" 2>&1); then
        die "no false report any more: lisle can be compiled for it now"
    fi
    grep -q '^WARNING: ThreadSanitizer: data race' <<<"$log" || die "$log"
    printf 'SKIPPED: ThreadSanitizer sees a race in four threads that count under a std::sync::Mutex (%s)\n' "$(rustc --version)"
}

name=${1:-asan}
[ $# -eq 0 ] || shift
case $name in
asan)
    asan "$@"
    end_of_full_threads
    ;;
memcheck | leaks | tsan) "$name" ;;
*) die "no such sanitizer here: $name" ;;
esac
