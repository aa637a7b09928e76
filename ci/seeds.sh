#!/usr/bin/env bash
# Runs the tests that run under seeds with many seeds each: schedules that nobody thought of, and that can be repeated.
#
#   ci/seeds.sh [SEEDS [TEST...]]    SEEDS: of each test [5000]; TEST: words in names of tests of channels [seeds]
#
# A failure prints its seed; CI takes some hundreds of each. Needs: cargo. Writes to ${CARGO_TARGET_DIR:-target} only.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seeds=${1:-5000}
[ $# -eq 0 ] || shift
[ $# -gt 0 ] || set -- seeds
LISLE_TEST_SEEDS=$seeds exec ci/tests.sh cargo test --release --test channel -- "$@"
