#!/usr/bin/env bash
# The example server on full against light threads: instructions for a request, and requests per second.
#
#   benches/http/kinds.sh [instructions] [rate]      [both]
#
# Instructions are counted by valgrind's callgrind, in user space, on one LWP without upcalls: no other program disturbs the
# count. 64 connections ask all at once, then all wait for all answers, so that the server is busy; what a request takes is
# the difference between a long and a short run. (valgrind hides the instruction that writes the thread pointer, so full
# threads write it by a system call then, a few instructions more.)
#
# Rates are those of wrk on the same machine, 64 connections, in alternating rounds of 3 s: median, least and most.
#
# Needs: cargo, valgrind, python3; wrk, curl.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. ci/lib.sh

rounds=5
work=$(target_dir)/http
mkdir -p "$work"
need cargo
cargo build --quiet --release --example server
server=$(target_dir)/release/examples/server
pid=
clean_up() { [ -z "$pid" ] || kill -KILL "$pid" 2>/dev/null || true; }
trap clean_up EXIT
trap 'exit 130' INT TERM

# ask PORT BATCHES: so many times 64 requests.
ask() {
    python3 - "$1" "$2" <<'PYTHON'
import socket, sys
port, batches = int(sys.argv[1]), int(sys.argv[2])
def connect():
    for _ in range(600):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=60)
        except ConnectionRefusedError:
            import time; time.sleep(0.1)
    sys.exit("nobody listens")
connections = [connect() for _ in range(64)]
request = b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n"
for _ in range(batches):
    for connection in connections:
        connection.sendall(request)
    for connection in connections:
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.startswith(b"HTTP/1.1 200"):
            part = connection.recv(65536)
            if not part: sys.exit("closed")
            answer += part
PYTHON
}

count() { # count KIND BATCHES: instructions of a run
    local arguments=() port=$((20000 + RANDOM % 10000)) out=$work/callgrind
    [ "$1" = full ] || arguments=(--light)
    LISLE_LWPS=1 LISLE_UPCALLS=off valgrind --tool=callgrind --callgrind-out-file="$out" "$server" \
        --addr "127.0.0.1:$port" "${arguments[@]}" >"$work/valgrind.log" 2>&1 &
    pid=$!
    ask "$port" "$2" || { tail -n 30 "$work/valgrind.log" >&2 && die "$1: no answer"; }
    kill -INT "$pid"
    wait "$pid" || true
    pid=
    sed -n 's/^\(summary\|totals\): //p' "$out" | head -n 1
}

# Connections come together more or less well: the least of three runs.
least_count() { # least_count KIND BATCHES
    for _ in 1 2 3; do count "$@"; done | sort -n | head -n 1
}

instructions() {
    local kind short long
    need valgrind python3
    for kind in full light; do
        short=$(least_count "$kind" 20)
        long=$(least_count "$kind" 220)
        echo "$kind $(((long - short) / 12800))"
    done | awk '
        { print "        " $1 " threads: " $2 " instructions a request"; of[$1] = $2 }
        END {
            ratio = of["full"] / of["light"]
            printf "target  server, full against light threads, instructions: ratio %.3f  %s\n", ratio, (ratio > 0.9 && ratio <= 1.03) ? "ok" : "missed"
        }'
}

rate_of() { # rate_of KIND: requests per second
    local arguments=() port=$((20000 + RANDOM % 10000))
    [ "$1" = full ] || arguments=(--light)
    "$server" --addr "127.0.0.1:$port" "${arguments[@]}" >/dev/null 2>&1 &
    pid=$!
    until curl --silent --fail --output /dev/null "http://127.0.0.1:$port/hello"; do sleep 0.1; done
    wrk --threads 1 --connections 64 --duration 3s "http://127.0.0.1:$port/hello" | awk '/^Requests\/sec/ { print $2 }'
    kill -INT "$pid"
    wait "$pid" || true
    pid=
}

rate() {
    local round kind
    need wrk curl
    for round in $(seq "$rounds"); do
        for kind in full light; do echo "$kind $(rate_of "$kind")"; done
    done | sort -k1,1 -k2,2n | awk '
        { n[$1]++; values[$1, n[$1]] = $2 }
        END {
            for (kind in n) {
                middle[kind] = values[kind, int((n[kind] + 1) / 2)]
                printf "        %s threads: %.0f requests/s (%.0f to %.0f)\n", kind, middle[kind], values[kind, 1], values[kind, n[kind]]
            }
            printf "        full against light threads, requests/s: ratio %.3f\n", middle["full"] / middle["light"]
        }'
}

[ $# -gt 0 ] || set -- instructions rate
for what in "$@"; do
    case $what in
    instructions | rate) "$what" ;;
    *) die "no such measurement: $what" ;;
    esac
done
