#!/usr/bin/env bash
# Reads a trace back by Perfetto's own schema, from its Python package: every packet parses, no field is unknown to it, slices nest
# and end, flows have two ends. (Its trace processor is a binary that the package would fetch from elsewhere.)
#
# Needs: cargo, python3 with venv; installs Debian's python3-venv if that is missing, and the package into a directory of
# its own.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo python3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if ! python3 -m venv "$work/venv" >/dev/null 2>&1; then
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root="sudo -n"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >/dev/null
    python3 -m venv "$work/venv"
fi
"$work/venv/bin/pip" -q install --disable-pip-version-check perfetto==0.59.1

cargo build --quiet --release --example spacetime
spacetime=$(target_dir)/release/examples/spacetime
"$spacetime" --perfetto "$work/evening.perfetto"
"$spacetime" --events 20000 --perfetto "$work/many.perfetto"
"$work/venv/bin/python" ci/read_perfetto.py "$work/evening.perfetto" "$work/many.perfetto"
