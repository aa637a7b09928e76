#!/usr/bin/env bash
# Runs every example that ends by itself and expects a last line that begins with "ok: ".
#
#   ci/examples.sh [NAME...]     default: all but the server, which has a script of its own
#
# Needs: cargo, timeout.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo timeout

if [ $# -eq 0 ]; then
    for path in examples/*.rs examples/*/main.rs; do
        path=${path#examples/}
        path=${path%/main.rs}
        [ "$path" = server ] || set -- "$@" "${path%.rs}"
    done
fi
[ -f "examples/${1-}.rs" ] || [ -f "examples/${1-}/main.rs" ] || die "no examples"
cargo build --quiet --release --examples

input() { # the arguments of an example
    case $1 in
    ping_pong) echo 20000 ;;
    idle) echo 5 ;;
    million) echo 100000 2000 10000 ;;
    upcalls) echo --quick ;;
    esac
}

for example in "$@"; do
    # shellcheck disable=SC2046 # one word an argument
    output=$(timeout 120 "$(target_dir)/release/examples/$example" $(input "$example") 2>&1) ||
        die "$example failed (status $?): $(tail -n 20 <<<"$output")"
    last=$(tail -n 1 <<<"$output")
    printf '%-16s %s\n' "$example" "$last"
    case $last in
    "ok: "*) ;;
    *) die "$example does not end with an ok: line" ;;
    esac
done
