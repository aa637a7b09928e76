#!/usr/bin/env bash
# Runs tests/full_threads as programs that contain their libc: glibc's static library, and musl's.
#
#   ci/static.sh [-q] [glibc] [musl]      [both]; -q: without the tests that take longest
#
# What is left out stands in ci/full-threads-skips.txt, with the evidence.
#
# musl: this machine's compiler has no standard library for it. So Debian's compiler, its source of the standard library
# (rustc-web and rust-web-src, or rustc and rust-src), musl and an unwinder that is not glibc's (libunwind-*-dev) are fetched
# by apt-get, unpacked, not installed, into ${CARGO_TARGET_DIR:-target}/static, and cargo builds the standard library from its
# source. That is what RUSTC_BOOTSTRAP is for here: lisle itself uses no feature that is not stable.
#
# Needs: cargo, gcc, libc6-dev; for musl apt-get, dpkg-deb, ar.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo gcc awk

leave_out=()
# shellcheck disable=SC2207 # a word each
if [ "${1:-}" = -q ]; then shift && leave_out=($(slow_full_threads)); fi
[ $# -gt 0 ] || set -- glibc musl
tools=$(target_dir)/static

run() { # run WHERE LIBC PROGRAM
    [ -x "$3" ] || die "cargo named no program"
    ! ldd "$3" 2>/dev/null | grep -q '=>' || die "$3 is not static"
    say "$1: $3"
    # shellcheck disable=SC2046 # words
    LISLE_TEST_LIBC=$2 run_full_threads "$1" "$3" $(full_threads_skips "$1") "${leave_out[@]}"
}

build_glibc() {
    cargo rustc --quiet --test full_threads --message-format json -- -C target-feature=+crt-static | program_of
}

gnu_version() { ldd --version | awk 'NR == 1 { print $NF }'; }

# --- musl -----------------------------------------------------------------------------------------------------------

# The newest compiler whose source is there, too: prints its name, its source's name and the version.
compiler() {
    local name version
    while read -r version name; do
        source=rust${name#rustc}-src
        [ -z "$(apt-cache madison "$source" | awk -v version="$version" '$3 == version')" ] ||
            { echo "$name $source $version" && return; }
    done < <(apt-cache madison rustc rustc-web | awk '{ print $3, $1 }' | sort -Vru)
    die "the package index has no rustc with its source"
}

depends() { apt-cache show --no-all-versions "$1" | sed -n 's/^Depends: //p' | tr ',|' '\n' | sed -E 's/^ *([^ :]+).*/\1/'; }

unpack_musl() {
    local root=$tools/musl name source version libraries unwinder
    [ ! -e "$root/complete" ] || return 0
    need apt-get dpkg-deb ar
    rm -rf "$root"
    apt-get -qq update || say "some package sources failed; going on with the others"
    read -r name source version < <(compiler)
    # The compiler's own libraries, and what those need and this machine lacks.
    libraries=$(depends "$name=$version" | grep '^libstd-rust')
    libraries+=" $(for library in $libraries; do depends "$library=$version" | grep '^libstd-rust'; done)"
    libraries+=" $(for library in $libraries; do depends "$library=$version" | grep -i '^libllvm' || true; done)"
    unwinder=$(apt-cache pkgnames libunwind- | grep -xE 'libunwind-1[0-9]-dev' | sort -V | head -n 1)
    say "musl: $name $version, $unwinder"
    # shellcheck disable=SC2046,SC2086,SC2001 # words
    unpack_debian "$root" "$name=$version" "$source=$version" musl-dev "$unwinder" \
        $(for library in $libraries; do echo "$library" | sed "s/^libstd.*/&=$version/"; done | sort -u)
    make_linker "$root"
    : >"$root/complete"
}

# What gcc needs to link for musl, without installing anything; and the compiler with its libraries.
make_linker() { # make_linker ROOT
    local root=$1 musl=$1/usr/lib/x86_64-linux-musl
    mkdir -p "$root/bin" "$root/lib"
    sed "s#/usr/lib/x86_64-linux-musl#$musl#g; s#/usr/include/x86_64-linux-musl#$root/usr/include/x86_64-linux-musl#g" \
        "$musl/musl-gcc.specs" >"$root/lib/specs"
    printf '#!/bin/sh\nexec gcc "$@" -specs %s\n' "$root/lib/specs" >"$root/bin/linker"
    printf '#!/bin/sh\nLD_LIBRARY_PATH=%s exec %s "$@"\n' "$root/usr/lib/x86_64-linux-gnu" "$root/usr/bin/rustc" >"$root/bin/rustc"
    chmod +x "$root"/bin/*
    # Compiled for glibc with checks that musl does not have.
    printf '%s\n' '#include <stdarg.h>' 'typedef struct file FILE; int vfprintf(FILE *, const char *, va_list);' \
        'int __fprintf_chk(FILE *file, int flag, const char *format, ...) { va_list list; (void)flag;' \
        'va_start(list, format); int n = vfprintf(file, format, list); va_end(list); return n; }' |
        gcc -x c -O1 -fno-builtin -U_FORTIFY_SOURCE -c -o "$root/lib/checked.o" -
    cp -L "$(find "$root/usr" -name libunwind.a | head -n 1)" "$root/lib/libunwind.a"
    ar r "$root/lib/libunwind.a" "$root/lib/checked.o"
}

# Ubuntu's releases have not been tried.
can_build_musl() { [ -e "$tools/musl/complete" ] || { [ -n "$(debian_mirror)" ] && (compiler >/dev/null); }; }

build_musl() (
    root=$tools/musl
    unpack_musl >&2
    tests_package "$tools/package" full_threads
    export RUSTC=$root/bin/rustc RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$tools/built
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=$root/bin/linker
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_RUSTFLAGS="-C link-self-contained=no -C relocation-model=static \
-L native=$root/lib -L native=$root/usr/lib/x86_64-linux-musl"
    cargo test --quiet --manifest-path "$tools/package/Cargo.toml" --target x86_64-unknown-linux-musl -Zbuild-std \
        --no-run --message-format json | program_of
)

for libc in "$@"; do
    case $libc in
    glibc) run static-glibc "$(gnu_version)" "$(build_glibc)" ;;
    musl) can_build_musl || { echo "SKIPPED: this machine has no source of Debian's packages, or no compiler there" && continue; }
        run static-musl musl "$(build_musl)" ;;
    *) die "no such libc: $libc" ;;
    esac
done
end_of_full_threads
