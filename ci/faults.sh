#!/usr/bin/env bash
# What happens when the system refuses something: memory, mappings, kernel threads, descriptors, anything else.
#
#   ci/faults.sh [ROUNDS]      ROUNDS: of faults at random, over all parts of the runtime [20]
#
#   - lwp/tests/faults.rs       each call that stacks make, at each place, in turn and at random
#   - tests/faults.rs           each call that any part of the runtime makes, at each place, with errors that the system
#                               may give (`Call::errnos`), in turn and at random: threads, full threads, upcalls, sockets,
#                               files, names, children, signals, dumps
#   - tests/limits.rs           the limits of processes, reached for real
#
# After each failure descriptors, kernel threads and stacks are what they were before; mappings after many. If ROUNDS is
# given, each place fails at its first four calls, not at its first one only. Needs: cargo.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo

[ $# -eq 0 ] || export LISLE_FAULT_ROUNDS=$1
ci/tests.sh -m 5 cargo test -p lisle-lwp --features faults --test faults
ci/tests.sh -m 17 cargo test --test faults --test limits -- --nocapture
