#!/usr/bin/env bash
# Counts the instructions of the hot paths, and those of them that lock the bus, and compares both with
# ci/instructions.txt.
#
#   ci/instructions.sh [-w] [WORKLOAD...]     -w: writes the table anew
#
# A count says nothing about time, but it is the same on a busy machine as on a quiet one, so that a path that has grown
# is seen at once. A count more than a tenth above the table's is an error; so is one more than a fifth below: the table is
# to be written anew then. A locked instruction takes as long as some thirty others, so their number must be the table's.
# Counted is what the program executes itself; what the kernel does is not. Locked instructions of shared libraries, libc's
# for instance, are not counted as such.
#
# Needs: cargo, valgrind, objdump.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo valgrind objdump awk

table=ci/instructions.txt
write=
if [ "${1:-}" = -w ]; then shift && write=yes; fi
workloads=(switch yield spawn_join unpark_park lock_unlock semaphore_round_trip send_receive channel_round_trip join)
[ $# -eq 0 ] || workloads=("$@")

program=$(cargo bench --bench instructions --profile release --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*\/instructions-[^"]*\)".*/\1/p' | tail -n 1)
[ -x "$program" ] || die "cargo named no program"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# The addresses of instructions that lock the bus: with a prefix, or as every exchange with memory does.
objdump -d --no-show-raw-insn "$program" |
    sed -nE 's/^ *([0-9a-f]+):[[:space:]]+(lock |xchg .*\(|mfence).*/\1/p' >"$scratch/locking"

# executed WORKLOAD N: prints how many instructions, and how many of those lock the bus.
executed() {
    valgrind --tool=callgrind --dump-instr=yes --compress-pos=no --compress-strings=no \
        --callgrind-out-file="$scratch/counts" "$program" "$1" "$2" >"$scratch/log" 2>&1 || return 0
    awk -v program="$program" '
        FNR == NR { locks["0x" $1]; next }
        /^summary:/ { total = $2 }
        /^ob=/ { ours = substr($0, 4) == program }
        # The line after is what the callee took.
        /^calls=/ { getline; next }
        ours && $1 in locks { locked += $3 }
        ours { met = 1 }
        END { if (total && met) print total, locked + 0 }' "$scratch/locking" "$scratch/counts"
}

# per_turn COLUMN: of what two runs, one of 20,000 turns and one of 120,000, have in it.
per_turn() { awk -v at="$1" -v few="$few" -v many="$many" 'BEGIN {
    split(few, a, " "); split(many, b, " ")
    each = (b[at] - a[at]) / 100000
    printf "%.1f", (each > 0.05 ? each : 0) }'; }

printf '\n--- instructions summary ---\n'
passed=0 failed=0 rows=()
for workload in "${workloads[@]}"; do
    few=$(executed "$workload" 20000)
    many=$(executed "$workload" 120000)
    [ -n "$few" ] && [ -n "$many" ] || die "callgrind did not count $workload"
    count=$(per_turn 1) locked=$(per_turn 2)
    known=$(awk -v name="$workload" '$1 == name { print $2 }' "$table" 2>/dev/null || true)
    known_locked=$(awk -v name="$workload" '$1 == name { print $3 }' "$table" 2>/dev/null || true)
    rows+=("$(printf '%-22s %8s %8s' "$workload" "$count" "$locked")")
    if [ -n "$write" ]; then
        verdict=written passed=$((passed + 1))
    elif awk -v now="$count" -v known="${known:-0}" -v locked="$locked" -v before="${known_locked:--1}" 'BEGIN {
        more = locked - before
        exit !(known && now <= known * 1.1 + 1 && now >= known * 0.8 - 1 && more < 0.25 && more > -0.25) }'; then
        verdict=ok passed=$((passed + 1))
    else
        verdict="FAILED: the table says ${known:-nothing} ${known_locked:-nothing}" failed=$((failed + 1))
    fi
    echo "${rows[-1]}  $verdict"
done
if [ -n "$write" ]; then
    { echo "# Instructions of the hot paths, and how many of them lock the bus, on one LWP, x86_64, light threads: ci/instructions.sh -w"; printf '%s\n' "${rows[@]}"; } >"$table"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] || die "FAILED"
