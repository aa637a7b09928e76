#!/usr/bin/env bash
# Checks README.md's statements about what a program gets that depends on lisle: how many crates, and which version.
#
# Needs: cargo, sed.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo sed

crates=$(cargo tree --locked --package lisle --edges normal --prefix none --no-dedupe | sort -u | wc -l)
said=$(sed -n 's/^.*\*\*\([0-9]*\) crates\*\*.*$/\1/p' README.md)
[ "$said" = "$crates" ] || die "README.md says ${said:-nothing} about the number of crates; there are $crates"

version=$(sed -n '/^\[workspace.package\]/,/^$/s/^version = "\(.*\)"$/\1/p' Cargo.toml)
grep -q "^lisle = .*\"${version%.*}\"" README.md || die "README.md does not name version ${version%.*}"
grep -q "^## .*\b${version//./\\.}\b" CHANGELOG.md || die "CHANGELOG.md does not name version $version"
rust=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
grep -q "Rust $rust" README.md || die "README.md does not say that Rust $rust is needed"
echo "ok: $crates crates, version $version, Rust $rust"
