#!/usr/bin/env bash
# Runs a command that runs tests, repeats the test runners' own summaries, and fails if the command does or no test ran.
#
#   ci/tests.sh [-m MINIMUM] COMMAND...     MINIMUM: how many tests must have passed [1]
#   ci/tests.sh -r NAME                     the command at the marker ci:NAME in README.md, as it stands there
#
# Needs: awk, sed, tee.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh

minimum=1
case ${1:-} in
-m) minimum=$2 && shift 2 ;;
-r) set -- bash -c "$(readme "$2")" ;;
esac
[ $# -gt 0 ] || die "no command"

log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
[ "$1" != bash ] || printf '$ %s\n' "$3"
"$@" 2>&1 | tee "$log" || status=$?

printf '\n--- tests summary ---\n'
sed 's/\x1b\[[0-9;]*m//g' "$log" | awk -v minimum="$minimum" '
    /^ *(Running|Doc-tests) / { sub(/^ */, ""); suite = $0 }
    /^test result: / {
        if ($4 + $6 > 0) { print suite; print "    " $0 }
        passed += $4; failed += $6; ignored += $8
    }
    END {
        printf "%d passed, %d failed, %d ignored\n", passed, failed, ignored
        if (passed < minimum) { printf "at least %d should have passed\n", minimum; exit 1 }
    }' || status=1
[ "$status" -eq 0 ] || die "FAILED"
