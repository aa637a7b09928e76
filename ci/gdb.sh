#!/usr/bin/env bash
# Runs tools/gdb/lisle.py on a program in which threads wait for each other.
#
# Installs gdb with apt-get if it is not there. Needs: cargo, awk, grep, timeout.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo awk grep timeout

if ! command -v gdb >/dev/null; then
    as_root=()
    [ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends gdb >/dev/null
fi
gdb --version | head -n 1
cargo build --quiet --example debugging
program=$(target_dir)/debug/examples/debugging
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# debug NAME COMMAND...: the output of gdb's commands. Kernel threads are seen without libthread_db, which gdb does not
# find where there is none: with it, gdb asks libc's list for each one that stops, and fails ("Cannot find user-level
# thread") if it is on its way out.
#
# gdb 13 has difficulties of its own with kernel threads that end: it asserts that none does before it has looked at it
# ("wait returned unexpected status 0x0"), finds that one has ended ("No such process"), or is not told of the last one's
# end and waits for ever ("No unwaited-for children left"). That is not what is tested here, so it has five tries; what
# the commands print is looked at after the first that ends.
debug() {
    local name=$1 command tries arguments=()
    shift
    for command in "$@"; do arguments+=(-ex "$command"); done
    for ((tries = 5; tries > 0; tries--)); do
        if timeout -k 5 60 gdb -nx -batch -iex 'maintenance set internal-error corefile no' \
            -ex 'set pagination off' -ex 'set debuginfod enabled off' -ex 'set libthread-db-search-path /nonexistent' \
            -ex 'source tools/gdb/lisle.py' "${arguments[@]}" \
            >"$work/$name" 2>&1 </dev/null && ! grep -q 'No unwaited-for children left' "$work/$name"; then
            break
        fi
        [ "$tries" -gt 1 ] || die "gdb failed: $(tail -n 40 "$work/$name")"
        echo "gdb failed, once more; it said at last: $(tail -n 2 "$work/$name" | tr '\n' ' ')"
    done
    # Which error, and in which command, is told by Python or by gdb.
    ! grep -nE 'Traceback|Error occurred|^Python Exception|Undefined command' "$work/$name" ||
        die "gdb reported an error: $(cat "$work/$name")"
}

# expect NAME PATTERN [COUNT]: so many lines, or any number above 0.
expect() {
    local found
    found=$(grep -cE -- "$2" "$work/$1" || true)
    if [ $# -eq 3 ]; then [ "$found" -eq "$3" ]; else [ "$found" -gt 0 ]; fi ||
        die "$1: $found lines match $2, not ${3:-some}:"$'\n'"$(cat "$work/$1")"
}

line=$(awk '/println!\("all wait"\)/ { print FNR }' examples/debugging.rs)
stop=("file $program" 'handle SIGURG nostop noprint pass' "break debugging.rs:$line" 'run')

debug live "${stop[@]}" 'lisle threads' 'lisle bt all' "generate-core-file $work/dumped" 'kill'
expect live '^ *[0-9]+  (Kant|Hegel|Hume) +full +waiting: priority mutex 0x[0-9a-f]+$'
expect live '^#[0-9]+ .*\btake_second_fork(::h[0-9a-f]+)? \(' 3
expect live '^#[0-9]+ .*\beat(::h[0-9a-f]+)? \(' 3
expect live '^ *[0-9]+  main +kernel thread +running$'
expect live '^[0-9]+ threads$' 1
expect live '^Saved corefile '

# Nothing is written to the process, so it goes on.
debug switch "${stop[@]}" 'lisle thread Hegel' 'bt' 'lisle thread' 'bt 1' 'continue'
expect switch '^#[0-9]+ .*\btake_second_fork(::h[0-9a-f]+)? \(' 1
expect switch '^#0 .*\ball_wait(::h[0-9a-f]+)? \('
expect switch '^ok: 2 of 3 ate$' 1
expect switch 'exited normally' 1

# One thread, by its name or its number; and what is not there, or does not wait.
number='import re; number = re.search(r"(\d+) +Hume ", gdb.execute("lisle threads", to_string=True))[1]'
debug one "${stop[@]}" 'lisle bt Kant' "python $number" 'python gdb.execute("lisle thread " + number)' \
    'lisle bt Spinoza' 'lisle thread 99999999' 'lisle bt' 'lisle bt main' 'kill'
expect one '^ *[0-9]+  Kant +full +waiting: priority mutex' 1
expect one '^ *[0-9]+  Hume +full +waiting: priority mutex' 1
expect one '^ *[0-9]+  Hegel ' 0
# The frames of the one, and the frame that is selected of the other: the innermost, by its address.
expect one '^#[0-9]+ .*\btake_second_fork(::h[0-9a-f]+)? \(' 1
expect one '^#1 ' 2
expect one "^no thread has the number or name 'Spinoza'; \`lisle threads\` lists them$" 1
expect one "^no thread has the number or name '99999999'" 1
expect one '^which thread\? ' 1
expect one '^thread [0-9]+ is running$' 1

# The stacks are not in a core file that gdb writes: it gives up a mapping in which it cannot read a page, a guard for instance.
debug core "file $program" "core-file $work/dumped" 'lisle threads'
expect core '^ *[0-9]+  (Kant|Hegel|Hume) +full +waiting: priority mutex' 3

echo "ok: gdb lists user threads, also in a core file, shows the calls of one and of all, and switches to one by name or number"
