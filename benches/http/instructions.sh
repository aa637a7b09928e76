#!/usr/bin/env bash
# Instructions that the example server takes for a request, on full and on light threads.
#
#   benches/http/instructions.sh [ROUNDS]      [3]
#
# Counted by valgrind's callgrind, in user space, on one LWP without upcalls: no other program disturbs the count. 64
# connections ask all at once, then all wait for all answers, so that the server is busy; what a request takes is the
# difference between a long and a short run. (valgrind hides the instruction that writes the thread pointer, so that
# full threads write it by a system call, which costs instructions of the kernel's only.)
#
# Needs: cargo, valgrind, python3.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
. ci/lib.sh
need cargo valgrind python3

rounds=${1:-3}
work=$(target_dir)/http
mkdir -p "$work"
CARGO_TARGET_DIR=$work/lisle cargo build --quiet --profile bench --example server
server=$work/lisle/release/examples/server
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

for round in $(seq "$rounds"); do
    for kind in full light; do
        short=$(count "$kind" 20)
        long=$(count "$kind" 120)
        echo "$round $kind $(((long - short) / 6400))"
    done
done | awk '
    { print "round " $1 ": " $2 " " $3 " instructions a request"; sum[$2] += $3; n[$2]++ }
    END {
        full = sum["full"] / n["full"]; light = sum["light"] / n["light"]; ratio = full / light
        printf "target  server, full against light threads: %.0f / %.0f instructions  ratio %.3f  %s\n", full, light, ratio, \
            ratio <= 1.03 ? "ok" : "missed"
    }'
