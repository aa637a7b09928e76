#!/usr/bin/env bash
# Runs tests/full_threads against several releases of glibc, old and new, whatever this machine's own is.
#
#   ci/libc.sh [-q] [VERSION...]      of those below [all]; -q: without the tests that take longest
#
# The libraries come from Debian's releases by apt-get (packages libc6 and libgcc-s1; of the oldest also libc6-dev), and
# are unpacked, not installed, into ${CARGO_TARGET_DIR:-target}/libc/VERSION. The test program is linked against the
# oldest, so that one program runs with all, and is started by each one's loader. A test of the file itself makes sure that
# the version is the one that was meant. What is left out stands in ci/full-threads-skips.txt, with the evidence.
#
# On a machine without a source of Debian's packages it says SKIPPED: Ubuntu's releases have not been tried.
#
# Needs: cargo, apt-get, dpkg-deb, gcc (links, and compiles the libraries that a test loads).
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo apt-get dpkg-deb gcc awk

# Which of Debian's releases has it.
releases="
2.31 bullseye
2.36 bookworm
2.41 trixie
"
oldest=2.31

[ -n "$(debian_mirror)" ] || { echo "SKIPPED: this machine has no source of Debian's packages" && exit; }
leave_out=()
# shellcheck disable=SC2207 # a word each
if [ "${1:-}" = -q ]; then shift && leave_out=($(slow_full_threads)); fi
# shellcheck disable=SC2046
[ $# -gt 0 ] || set -- $(awk 'NF { print $1 }' <<<"$releases")
tools=$(target_dir)/libc
mkdir -p "$tools"

unpack() { # unpack VERSION
    local root=$tools/$1 release packages=(libc6 libgcc-s1)
    [ ! -e "$root/complete" ] || return 0
    release=$(awk -v version="$1" '$1 == version { print $2 }' <<<"$releases")
    [ -n "$release" ] || die "it is not said here which release of Debian has glibc $1"
    [ "$1" != "$oldest" ] || packages+=(libc6-dev)
    say "fetching glibc $1 from $release"
    rm -rf "$root"
    debian_apt "$root/apt" "$release"
    APT_CONFIG=$root/apt/apt.conf unpack_debian "$root" "${packages[@]}"
    rm -rf "$root/apt"
    : >"$root/complete"
}

loader_of() { # loader_of VERSION: the words that start a program with that libc
    local libraries
    libraries=$(dirname "$(find "$tools/$1" -name libc.so.6 | head -n 1)")
    echo "$libraries/ld-linux-x86-64.so.2 --library-path $libraries"
}

unpack "$oldest"
old=$tools/$oldest
# gcc looks where it is installed before it looks into a --sysroot, which alone the linker's scripts obey.
flags=(--sysroot="$old" -B"$old/usr/lib/x86_64-linux-gnu/" -L"$old/usr/lib/x86_64-linux-gnu" -L"$old/lib/x86_64-linux-gnu")
program=$(cargo rustc --quiet --test full_threads --message-format json -- "${flags[@]/#/-Clink-arg=}" | program_of)
[ -x "$program" ] || die "cargo named no program"
for version in "$@"; do
    unpack "$version"
    loader=$(loader_of "$version")
    say "glibc $version: $loader"
    # shellcheck disable=SC2046,SC2086 # words
    LISLE_TEST_LIBC=$version LISLE_TEST_LOADER=$loader run_full_threads "glibc $version" \
        $loader "$program" $(full_threads_skips "glibc-$version") "${leave_out[@]}"
done
end_of_full_threads
