#!/usr/bin/env bash
# Checks that what the compiler is to refuse it refuses for the reason that is meant: the documentation tests that are marked
# `compile_fail,CODE` (docs/safety.md lists them). rustdoc compares the codes only where it takes itself for a nightly one, so
# `cargo test` would pass with any error, a wrong path for instance. Here it is told that it is; the libraries are built as
# ever, and shared with other builds.
#
# Needs: cargo (with rustdoc), awk, git, grep, mktemp, tee.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo awk git grep mktemp rustdoc tee

mark='^ *//[/!] *```.*compile_fail'
marks() { git ls-files -co --exclude-standard '*/src/*.rs' 'src/*.rs' | xargs grep -nE "$mark"; }

without=$(marks | grep -vE '```compile_fail,E[0-9]{4}$' || true)
[ -z "$without" ] || die "without the code of the error that is meant:"$'\n'"$without"
# Who has some, by the directory that is the crate's.
mapfile -t crates < <(marks | awk -F / '{ print $1 == "src" ? "lisle" : "lisle-" $1 }' | sort -u)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
printf '#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc "$@"\n' >"$work/rustdoc"
chmod +x "$work/rustdoc"
RUSTDOC=$work/rustdoc cargo test --no-fail-fast --doc "${crates[@]/#/--package=}" 2>&1 | tee "$work/log" ||
    die "a documentation test failed"

there=$(marks | wc -l)
refused=$(grep -cE ' - compile fail \.\.\. ok$' "$work/log" || true)
[ "$there" -gt 0 ] && [ "$refused" -eq "$there" ] || die "$refused attempts were refused, of $there"
echo "ok: $refused attempts in ${#crates[@]} crates do not compile, each with the error that it expects"
