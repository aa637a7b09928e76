#!/usr/bin/env bash
# Full threads under other allocators: storms of allocations that are freed by other threads, and the soak.
#
#   ci/allocators.sh [NAME...]      glibc one-arena mimalloc jemalloc [all]
#
# The allocators are Debian's (packages libmimalloc2.0 or newer, libjemalloc2), fetched by apt-get, unpacked, not installed,
# into ${CARGO_TARGET_DIR:-target}/allocators, and loaded before libc. Each keeps something for each thread. A test makes sure
# that the program's memory comes from the one that was meant.
#
# Needs: cargo, apt-get, dpkg-deb.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo apt-get dpkg-deb awk

[ $# -gt 0 ] || set -- glibc one-arena mimalloc jemalloc
root=$(target_dir)/allocators
tests=(storm:: surroundings:: locals:: ends:: pool::fresh pool::a_crowd process::a_forked_child_has unwinding::nested)

unpack() {
    local mimalloc
    [ ! -e "$root/complete" ] || return 0
    apt-get -qq update || say "some package sources failed; going on with the others"
    mimalloc=$(apt-cache pkgnames libmimalloc | grep -xE 'libmimalloc[0-9.]+' | sort -V | tail -n 1)
    [ -n "$mimalloc" ] || die "the package index has no libmimalloc"
    rm -rf "$root"
    unpack_debian "$root" "$mimalloc" libjemalloc2
    : >"$root/complete"
}

library() { # library NAME: the path
    unpack
    find "$root" -name "lib$1.so*" -type f | head -n 1
}

messages=$(cargo test --quiet --test full_threads --test soak --no-run --message-format json)
program=$(program_of <<<"$messages")
soak=$(sed -n 's/.*"executable":"\([^"]*\/soak-[^"]*\)".*/\1/p' <<<"$messages" | tail -n 1)
[ -x "$program" ] && [ -x "$soak" ] || die "cargo named no program"
export LISLE_SOAK_SECONDS=${LISLE_SOAK_SECONDS:-3}
summary=()
for name in "$@"; do
    settings=()
    case $name in
    glibc) ;;
    one-arena) settings=(MALLOC_ARENA_MAX=1) ;;
    mimalloc | jemalloc) settings=(LD_PRELOAD="$(library "$name")" LISLE_TEST_ALLOCATOR="$name") ;;
    *) die "no such allocator: $name" ;;
    esac
    say "$name: ${settings[*]}"
    minimum=20 run_full_threads "$name" env "${settings[@]}" "$program" "${tests[@]}"
    minimum=1 run_full_threads "$name, soak" env "${settings[@]}" "$soak"
done
end_of_full_threads
