#!/usr/bin/env bash
# Packages every crate that is to be published and builds each from its package, with the packages of its siblings in
# place of a registry (cargo 1.90). Publishes nothing.
#
#   ci/package.sh [CARGO OPTION...]      say --allow-dirty, outside a clean checkout
#
# Needs: cargo, tar.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo tar

packages=$(target_dir)/package
rm -f "$packages"/*.crate
# Cargo keeps what it has unpacked from its registry of one run, and what it has built of that, and takes both for the next
# one's, the version being the same.
rm -rf "${CARGO_HOME:-$HOME/.cargo}"/registry/src/-*/lisle*-[0-9]* "$(target_dir)"/debug/.fingerprint/lisle*
cargo package --quiet --locked --workspace --exclude lisle-example-loom --exclude lisle-benches "$@"
for crate in lisle-lwp lisle-runtime lisle-clock lisle-sync lisle-trace lisle; do
    file=$(echo "$packages/$crate"-[0-9]*.crate)
    [ -s "$file" ] || die "no package of $crate"
    files=$(tar -tzf "$file")
    for wanted in README.md LICENSE-MIT LICENSE-APACHE src/lib.rs; do
        grep -q "/$wanted\$" <<<"$files" || die "$crate is packaged without $wanted"
    done
    printf '%-16s %3d files, %6d bytes\n' "$crate" "$(wc -l <<<"$files")" "$(wc -c <"$file")"
done
