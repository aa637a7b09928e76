#!/usr/bin/env bash
# Opens a space-time diagram in a real browser, headless: clicks an event and checks what is highlighted, searches, zooms,
# prints. Then ten thousand events.
#
#   ci/browser.sh [--screenshots DIRECTORY]
#
# Needs: cargo, node, chromium and chromedriver; installs the last three with apt-get if they are missing.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo

screenshots=
[ "${1-}" != --screenshots ] || screenshots=${2:?a directory}

missing=()
command -v node >/dev/null || missing+=(nodejs)
command -v chromium >/dev/null || missing+=(chromium)
command -v chromedriver >/dev/null || missing+=(chromium-driver)
if [ ${#missing[@]} -gt 0 ]; then
    as_root=
    [ "$(id -u)" -eq 0 ] || as_root="sudo -n"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq update
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

work=$(mktemp -d)
driver=
clean_up() {
    [ -z "$driver" ] || kill "$driver" 2>/dev/null || true
    rm -rf "$work"
}
trap clean_up EXIT

cargo build --quiet --release --example spacetime
spacetime=$(target_dir)/release/examples/spacetime
"$spacetime" --html "$work/evening.html"
"$spacetime" tests/trace/corpus/good/voting.log --html "$work/voting.html"
"$spacetime" --events 10000 --html "$work/many.html"

# A port of the driver's choice.
chromedriver --port=0 >"$work/driver.log" 2>&1 &
driver=$!
for _ in $(seq 600); do
    port=$(sed -n 's/^.*started successfully on port \([0-9]*\).*$/\1/p' "$work/driver.log")
    [ -z "$port" ] || break
    sleep 0.1
done
[ -n "$port" ] || die "chromedriver does not start: $(cat "$work/driver.log")"
timeout 240 node ci/browser.mjs "$port" "$work" "${screenshots:-$work}"
