#!/usr/bin/env bash
# Searches for inputs that break something, longer than the tests do and each time elsewhere.
#
#   ci/fuzz.sh [SECONDS [NAME...]]    SECONDS: for each fuzzer [60]; NAME: words in names of tests [all]
#
# An input that fails is printed and kept: once mended, it belongs to tests/fuzz/corpus. Needs: cargo. Writes to
# ${CARGO_TARGET_DIR:-target}, and what fails to ${TMPDIR:-/tmp}.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo

export LISLE_FUZZ_SECONDS=${1:-60}
[ $# -eq 0 ] || shift
cargo build --quiet --release --example server
if [ $# -eq 0 ] || [ "$*" = requests ]; then
    ci/tests.sh cargo test --release --test server -- --nocapture fuzz::
fi
[ "$*" = requests ] || ci/tests.sh cargo test --release --test fuzz -- --nocapture "$@"
