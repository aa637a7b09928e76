#!/usr/bin/env bash
# Checks the published crates with the oldest compiler that Cargo.toml declares.
#
# Needs: rustup and its download site. The toolchain goes to ${CARGO_TARGET_DIR:-target}/msrv-toolchain, so that the
# machine's own are left alone. Without rustup this prints SKIPPED and succeeds: distributions do not package that one.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh

version=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
[ -n "$version" ] || die "Cargo.toml declares no version"
target=$(target_dir)
export RUSTUP_HOME=$target/msrv-toolchain CARGO_TARGET_DIR=$target/msrv
if ! command -v rustup >/dev/null ||
    ! timeout 300 rustup --quiet toolchain install "$version" --profile minimal --no-self-update; then
    echo "SKIPPED: Rust $version is not to be had here; not checked"
    exit 0
fi
unset RUSTC RUSTDOC
RUSTUP_TOOLCHAIN=$version rustc --version
RUSTUP_TOOLCHAIN=$version cargo check --quiet --locked --package lisle --package lisle-sync --package lisle-runtime --package lisle-trace \
    --package lisle-lwp --package lisle-clock
echo "ok: Rust $version compiles the published crates"
