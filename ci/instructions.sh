#!/usr/bin/env bash
# Counts the instructions of the hot paths, and compares them with ci/instructions.txt.
#
#   ci/instructions.sh [-w] [WORKLOAD...]     -w: writes the table anew
#
# A count says nothing about time, but it is the same on a busy machine as on a quiet one, so that a path that has grown
# is seen at once. A count more than a tenth above the table's is an error; so is one more than a fifth below: the table is
# to be written anew then. Counted is what the program executes itself; what the kernel does is not.
#
# Needs: cargo, valgrind.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo valgrind awk

table=ci/instructions.txt
write=
if [ "${1:-}" = -w ]; then shift && write=yes; fi
workloads=(switch yield spawn_join unpark_park lock_unlock semaphore_round_trip send_receive channel_round_trip join)
[ $# -eq 0 ] || workloads=("$@")

program=$(cargo bench --bench instructions --profile release --no-run --message-format json |
    sed -n 's/.*"executable":"\([^"]*\/instructions-[^"]*\)".*/\1/p' | tail -n 1)
[ -x "$program" ] || die "cargo named no program"

executed() { # executed WORKLOAD N
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 |
        awk '/Collected/ { print $NF }'
}

printf '\n--- instructions summary ---\n'
passed=0 failed=0 rows=()
for workload in "${workloads[@]}"; do
    few=$(executed "$workload" 20000)
    many=$(executed "$workload" 120000)
    [ -n "$few" ] && [ -n "$many" ] || die "callgrind did not count $workload"
    count=$(awk -v few="$few" -v many="$many" 'BEGIN { printf "%.1f", (many - few) / 100000 }')
    known=$(awk -v name="$workload" '$1 == name { print $2 }' "$table" 2>/dev/null || true)
    rows+=("$(printf '%-22s %8s' "$workload" "$count")")
    if [ -n "$write" ]; then
        verdict=written passed=$((passed + 1))
    elif awk -v now="$count" -v known="${known:-0}" 'BEGIN { exit !(known && now <= known * 1.1 + 1 && now >= known * 0.8 - 1) }'; then
        verdict=ok passed=$((passed + 1))
    else
        verdict="FAILED: the table says ${known:-nothing}" failed=$((failed + 1))
    fi
    echo "${rows[-1]}  $verdict"
done
if [ -n "$write" ]; then
    { echo "# Instructions of the hot paths on one LWP, x86_64, light threads: ci/instructions.sh -w"; printf '%s\n' "${rows[@]}"; } >"$table"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ] || die "FAILED"
