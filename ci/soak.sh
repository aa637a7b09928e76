#!/usr/bin/env bash
# Full threads at random for a while: tests/soak.rs, which says what they do and what must hold. Then, as long, threads that
# block, hog, panic, fork and so on, on LWPs that come and go: tests/abuse.rs.
#
#   ci/soak.sh [SECONDS [SEED]]      [600, the clock]
#
# A failure names the seed. The interleaving is the machine's own, so that the seed repeats what is done, not the failure.
#
# Needs: cargo.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo

export LISLE_SOAK_SECONDS=${1:-600} LISLE_ABUSE_SECONDS=${1:-600}
[ -z "${2:-}" ] || export LISLE_SOAK_SEED=$2 LISLE_ABUSE_SEED=$2
cargo test --quiet --test soak -- --nocapture
cargo test --quiet --test abuse -- --nocapture
