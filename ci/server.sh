#!/usr/bin/env bash
# Runs README.md's command for the server as it stands there, talks to it, interrupts it, and expects it to end well.
#
# Needs: curl, cmp, awk. The port that the command implies (8080) must be free.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need curl cmp awk

start_limit=900 # seconds, compiling included
stop_limit=30

scratch=$(mktemp -d)
launcher=
server=
clean_up() {
    # shellcheck disable=SC2086 # no word if there is none
    [ -z "$server$launcher" ] || kill -KILL $server $launcher 2>/dev/null || true
    rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

descends() { # descends PID: from the launcher, or the launcher itself
    local pid=$1
    while [ "${pid:-0}" -gt 1 ]; do
        [ "$pid" != "$launcher" ] || return 0
        pid=$(awk '$1 == "PPid:" { print $2 }' "/proc/$pid/status" 2>/dev/null) || return 1
    done
    return 1
}

# Prints the server's own process: cargo may have become it, or be its parent.
find_server() {
    local exe pid
    for exe in /proc/[0-9]*/exe; do
        case $(readlink "$exe" 2>/dev/null || true) in
        */examples/server)
            pid=${exe#/proc/}
            if descends "${pid%/exe}"; then echo "${pid%/exe}"; fi
            ;;
        esac
    done
}

# wait_until SECONDS WHAT COMMAND...
wait_until() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@"; do
        if ! kill -0 "$launcher" 2>/dev/null; then
            cat "$scratch/output"
            die "the command ended before it was $what"
        fi
        [ "$SECONDS" -lt "$deadline" ] || { cat "$scratch/output"; die "not $what in time"; }
        sleep 0.2
    done
}

listening() { grep -q '^listening on http://' "$scratch/output"; }
gone() { ! kill -0 "$launcher" 2>/dev/null; }
ask() { curl --silent --show-error --fail --max-time 20 "$@"; }

command=$(readme server)
printf '$ %s\n' "$command"
bash -c "$command" >"$scratch/output" 2>&1 &
launcher=$!
wait_until "$start_limit" listening listening
url=$(sed -n 's/^listening on //p' "$scratch/output")
server=$(find_server)
[ "$(wc -w <<<"$server")" -eq 1 ] || die "which process is the server? ($server)"
echo "listening at $url, process $server (started as $launcher)"

ask "$url/" >"$scratch/page"
grep -q lisle "$scratch/page" || die "GET / does not answer with the page"
echo "GET /: $(head -n 1 "$scratch/page")"

head -c 300000 /dev/urandom >"$scratch/sent"
ask --data-binary "@$scratch/sent" "$url/echo" >"$scratch/received"
cmp "$scratch/sent" "$scratch/received" || die "POST /echo does not return what was sent"
echo "POST /echo: $(wc -c <"$scratch/received") bytes came back"

ask "$url/stats" >"$scratch/stats"
grep -q '"lwps"' "$scratch/stats" || die "GET /stats does not show the LWPs: $(head -c 300 "$scratch/stats")"
echo "GET /stats: $(head -c 200 "$scratch/stats" | tr -d '\n')"

kill -INT "$server"
deadline=$((SECONDS + stop_limit))
until gone; do
    [ "$SECONDS" -lt "$deadline" ] || die "still there $stop_limit s after SIGINT"
    sleep 0.1
done
status=0
wait "$launcher" || status=$?
server= launcher=
[ "$status" -eq 0 ] || { cat "$scratch/output"; die "exit status $status after SIGINT"; }
grep '^served ' "$scratch/output" || die "no account of what it served"
echo "ok: it ended with status 0"
