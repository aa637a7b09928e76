#!/bin/bash
# Runs the workspace's tests as aarch64 programs.
#
#   ci/aarch64.sh [cargo test arguments...]      (default: --workspace)
#
# On an aarch64 machine this is `cargo test`. On x86_64 Debian or Ubuntu it cross-compiles and runs every test under
# user-mode emulation. The tools come from the machine's own package sources, are unpacked (not installed) into one
# directory, and are used as they are by later runs:
#
#   ${CARGO_TARGET_DIR:-target}/aarch64-tools      the tools; delete the directory to fetch newer ones
#   ${CARGO_TARGET_DIR:-target}/aarch64            cargo's target directory for these builds
#
# Tried on Debian 12 and 13. On Ubuntu not yet: its ports host has to be reachable, and its rustc new enough.
#
# The compiler is the distribution's, because it comes with a matching aarch64 standard library; cargo is the host's.
# Documentation tests run too: since 1.89 cargo cross-compiles them and passes the runner on to rustdoc. An older cargo
# leaves them out.
#
# What an emulated pass does not show
#   - Memory order. The emulator runs on x86_64's stronger order, where too weak an ordering passes. The models prove those.
#   - Guard pages by advice. madvise(MADV_GUARD_INSTALL) returns 0 and installs nothing, so a run-time probe must fault on
#     a guard before it trusts one. mprotect guards do fault.
#   - Time, and the cost of address space: a large PROT_NONE reservation is slow on older emulators (7.2: 1 GiB 10 ms,
#     64 GiB 1 s).
#   - Kernel interfaces the emulator does not know, which fail with ENOSYS: io_uring, perf_event_open, rseq, futex_waitv,
#     epoll_pwait2. (membarrier, futex, eventfd, epoll, timerfd and signals reach the kernel.)
#   - /proc/self/smaps, which is the emulator's.
#   - A second process. The kernel cannot execute an aarch64 program here: a test that starts a copy of itself must put
#     the program named in LISLE_TEST_RUNNER, when that is set, before its own path.
set -euo pipefail
exec </dev/null

target=aarch64-unknown-linux-gnu
recipe=1 # raise it when the contents of the tools directory change
scratch=
trap '[ -z "$scratch" ] || rm -rf "$scratch"' EXIT

say() { printf 'aarch64: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

need() {
    local tool missing=()
    for tool in "$@"; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} -eq 0 ] || die "missing on this machine: ${missing[*]}"
}

# --- the packages ---------------------------------------------------------------------------------------------------

# One private apt per architecture: own lists, own (empty) record of installed packages, the system's sources and keys.
# The empty record keeps the machine's foreign architectures and half-installed packages out of it.
make_apt() {
    local arch=$1 root=$scratch/apt/$1
    mkdir -p "$root/lists/partial" "$root/cache/archives/partial"
    : >"$root/status"
    cat >"$root/apt.conf" <<EOF
Dir::State "$root";
Dir::State::lists "$root/lists";
Dir::State::status "$root/status";
Dir::Cache "$root/cache";
APT::Architecture "$arch";
#clear APT::Architectures;
APT::Architectures { "$arch"; };
// The system's hooks clean or notify the system.
#clear APT::Update;
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::Retries "3";
EOF
    if [ "$arch" = arm64 ] && [ -n "$ubuntu" ]; then
        ubuntu_ports "$root"
    fi
    apt "$arch" get -qq update || say "some $arch package sources failed; going on with the others"
}

# Ubuntu serves arm64 from another host than amd64, which an x86_64 machine's sources do not name.
ubuntu_ports() {
    local root=$1 pocket
    for pocket in "$ubuntu" "$ubuntu-updates" "$ubuntu-security"; do
        echo "deb [signed-by=/usr/share/keyrings/ubuntu-archive-keyring.gpg]" \
            "http://ports.ubuntu.com/ubuntu-ports $pocket main universe"
    done >"$root/sources.list"
    cat >>"$root/apt.conf" <<EOF
Dir::Etc::sourcelist "$root/sources.list";
Dir::Etc::sourceparts "/dev/null";
EOF
}

apt() { # apt ARCH get|cache ARGUMENTS...
    local arch=$1 tool=$2
    shift 2
    "apt-$tool" -c "$scratch/apt/$arch/apt.conf" "$@"
}

depends() { # names NAME[=VERSION] depends on (amd64), one a line
    { apt amd64 cache show --no-all-versions "$1" || true; } |
        sed -n 's/^Depends: //p' | tr ',|' '\n' | sed -E 's/^ *([^ :]+).*/\1/' | sort -u
}

only() { grep -E "$1" || true; }

# Every rustc package in the index, newest first, as "VERSION NAME"; rustc-web and rustc-1.NN are newer than rustc.
compilers() {
    local names
    names=$(apt amd64 cache pkgnames rustc | only '^rustc(-web|-[0-9]+\.[0-9]+)?$')
    [ -n "$names" ] || return 0
    # shellcheck disable=SC2086 # one word a name
    apt amd64 cache madison $names | awk '{ print $3, $1 }' | sort -Vru
}

# Sets rustc_package, rust_version, std_package and std_version: the newest compiler whose build also exists as an arm64
# standard library. A rebuild of the same source for one architecture (+bN) is the same compiler.
pick_compiler() {
    while read -r rust_version rustc_package; do
        std_package=$(depends "$rustc_package=$rust_version" | only '^libstd-rust(-.*)?-dev$')
        [ -n "$std_package" ] || continue
        while read -r std_version; do
            [ "${std_version%+b[0-9]*}" != "${rust_version%+b[0-9]*}" ] || return 0
        done < <(apt arm64 cache madison "$std_package" | awk '{ print $3 }')
    done < <(compilers)
    die "the package index has no rustc with an arm64 standard library of the same build" \
        "(are the sources in /etc/apt restricted to one architecture?)"
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1:amd64" 2>/dev/null)" = installed ]; }

is_virtual() { [ -z "$(apt amd64 cache madison "$1")" ]; }

# The shared libraries that NAME[=VERSION]... need and the machine lacks; the compiler's own (whose package names carry
# their versions) always, so that they are the ones its dependencies name.
libraries() {
    local name dep queue=("$@")
    local -A seen=()
    while [ ${#queue[@]} -gt 0 ]; do
        name=${queue[0]}
        queue=("${queue[@]:1}")
        for dep in $(depends "$name" | only '^(lib|zlib)'); do
            [ -z "${seen[$dep]:-}" ] || continue
            seen[$dep]=1
            case $dep in
            libstd-rust-*) dep="$dep=$rust_version" ;;
            libllvm*) ;;
            *-dev) continue ;;
            *) if installed "$dep" || is_virtual "$dep"; then continue; fi ;;
            esac
            queue+=("$dep")
            echo "$dep"
        done
    done
}

fetch() {
    local gcc libgcc qemu libs
    pick_compiler
    say "using $rustc_package $rust_version"
    gcc=$(depends gcc-aarch64-linux-gnu | only '^gcc-[0-9]+-aarch64-linux-gnu$')
    [ -n "$gcc" ] || die "no aarch64 linker (gcc-aarch64-linux-gnu) in the package index"
    libgcc=$(depends "$gcc" | only '^libgcc-[0-9]+-dev-arm64-cross$')
    qemu=$(depends qemu-user-static | only '^qemu-user$') # where qemu-user-static is only another name for it
    # gcc only links here, so neither its compiler proper nor that one's libraries are wanted.
    libs=$(libraries "$rustc_package=$rust_version" binutils-aarch64-linux-gnu)
    mkdir "$scratch/debs"
    cd "$scratch/debs" # `apt-get download` has no option for this
    # shellcheck disable=SC2086 # one word a package
    apt amd64 get -qq download "$rustc_package=$rust_version" $libs \
        binutils-aarch64-linux-gnu gcc-aarch64-linux-gnu "$gcc" $libgcc \
        libgcc-s1-arm64-cross libc6-arm64-cross libc6-dev-arm64-cross \
        qemu-user-static $qemu
    apt arm64 get -qq download "$std_package=$std_version"
    say "fetched $(find . -name '*.deb' | wc -l) packages, $(du -sm . | cut -f1) MB"
    cd "$root"
}

# --- the tools ------------------------------------------------------------------------------------------------------

unpack() { # into $scratch/tools, without the parts that linking and running do not use
    local tools=$scratch/tools deb script
    mkdir "$tools"
    for deb in "$scratch"/debs/*.deb; do
        dpkg-deb -x "$deb" "$tools"
    done
    find "$tools/usr/bin" -name 'qemu-*' ! -name 'qemu-aarch64' ! -name 'qemu-aarch64-static' -delete
    find "$tools/usr" -type f \( -name lto1 -o -name '*-lto-dump-*' \) -delete
    rm -rf "${tools:?}"/{etc,var} "${tools:?}"/usr/{include,share,aarch64-linux-gnu/include}
    # Linker scripts name their libraries by the path they would be installed at.
    for script in "$tools"/usr/aarch64-linux-gnu/lib/*.so; do
        if grep -Iqs 'GNU ld script' "$script"; then
            sed -i 's#/usr/aarch64-linux-gnu/lib/##g' "$script"
        fi
    done
}

# wrap NAME < LINES: makes bin/NAME. It finds the tools relative to itself, so that the directory can be moved.
wrap() {
    mkdir -p "$scratch/tools/bin"
    {
        echo '#!/bin/sh'
        # shellcheck disable=SC2016 # for the script that is written
        echo 'tools=$(dirname "$0")/..'
        cat
    } >"$scratch/tools/bin/$1"
    chmod +x "$scratch/tools/bin/$1"
}

wrap_native() { # wrap_native NAME PROGRAM: an x86_64 program, with the libraries that were unpacked beside it
    wrap "$1" <<EOF
libraries=\$tools/usr/lib/x86_64-linux-gnu:\$tools/lib/x86_64-linux-gnu
LD_LIBRARY_PATH=\$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH} exec "\$tools/$2" "\$@"
EOF
}

wrap_all() {
    local name path emulator=usr/bin/qemu-aarch64-static
    for name in rustc rustdoc; do
        path=$(cd "$scratch/tools" && find usr/bin usr/lib -path "*/bin/$name" -type f | head -n 1)
        [ -n "$path" ] || die "$rustc_package contains no $name"
        wrap_native "$name" "$path"
    done
    wrap_native linker usr/bin/aarch64-linux-gnu-gcc
    [ -e "$scratch/tools/$emulator" ] || emulator=usr/bin/qemu-aarch64
    # The emulator is rustdoc's runner, too. rustdoc compiles documentation tests into one program that starts itself
    # once for each, but when there is a runner it does not say how, and all tests share a process. `again` is what that
    # program starts instead of itself; it hides the variable, without which a copy runs only the test it was started for.
    wrap emulator <<EOF
export RUSTDOC_DOCTEST_BIN_PATH="\$tools/bin/again" EMULATED="\${1-}"
exec "\$tools/$emulator" -L "\$tools/usr/aarch64-linux-gnu" "\$@"
EOF
    wrap again <<EOF
unset RUSTDOC_DOCTEST_BIN_PATH
exec "\$tools/$emulator" -L "\$tools/usr/aarch64-linux-gnu" "\$EMULATED" "\$@"
EOF
}

# A program that starts and ends shows that compiler, linker, C library and emulator fit each other.
prove() {
    local bin=$scratch/tools/bin
    echo 'fn main() { std::thread::spawn(|| assert!(cfg!(target_arch = "aarch64"))).join().unwrap() }' \
        >"$scratch/prove.rs"
    if ! "$bin/rustc" --target "$target" -C linker="$bin/linker" -o "$scratch/prove" "$scratch/prove.rs" ||
        ! "$bin/emulator" "$scratch/prove"; then
        die "the tools do not work on this machine (see above)"
    fi
}

set_up() { # set_up DIRECTORY
    need apt-get apt-cache dpkg-deb dpkg-query awk sed grep sort find mktemp
    say "setting up $1"
    rm -rf "$1"
    mkdir -p "$(dirname "$1")"
    scratch=$(mktemp -d "$1.XXXXXX")
    # shellcheck disable=SC1091
    ubuntu=$(. /etc/os-release && echo "${UBUNTU_CODENAME:-}")
    make_apt amd64
    make_apt arm64
    fetch
    unpack
    wrap_all
    prove
    echo "$recipe $rustc_package $rust_version" >"$scratch/tools/complete"
    mv -T "$scratch/tools" "$1" # last, so that a directory that exists is complete
    rm -rf "$scratch"
    scratch=
}

# --- the tests ------------------------------------------------------------------------------------------------------

# Runs cargo, repeats the test runners' own summaries, and fails when cargo does or when no test ran. Whether a test
# failed is cargo's to say: the summary of a copy that a test started of itself may be among the others.
run_tests() {
    local log=$1 status=0
    shift
    mkdir -p "$(dirname "$log")"
    cargo test "$@" 2>&1 | tee "$log" || status=$?
    printf '\n--- aarch64 summary ---\n'
    sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
        /^ *(Running|Doc-tests) / { sub(/^ */, ""); suite = $0 }
        /^test result: / { print suite; print "    " $0; passed += $4; failed += $6 }
        END {
            printf "%d passed, %d failed\n", passed, failed
            if (passed + failed == 0) { print "no test ran"; exit 1 }
        }' || status=1
    [ "$status" -eq 0 ] || die "FAILED"
}

main() {
    local built tools
    [ $# -gt 0 ] || set -- --workspace
    built=$(realpath -m "${CARGO_TARGET_DIR:-$root/target}")
    cd "$root"
    need cargo grep
    check_skips
    case $(uname -m) in
    aarch64)
        export CARGO_TARGET_DIR=$built
        run_tests "$built/aarch64-tests.log" "$@"
        return
        ;;
    x86_64) need cc ;; # build scripts run on the host and are linked by it
    *) die "neither an aarch64 nor an x86_64 machine" ;;
    esac
    case $built in
    *[[:space:]]*) die "cargo splits the runner at blanks; choose a CARGO_TARGET_DIR without them" ;;
    esac
    tools=$built/aarch64-tools
    case $(cat "$tools/complete" 2>/dev/null || true) in
    "$recipe "*) ;;
    *) set_up "$tools" ;;
    esac
    say "$("$tools/bin/rustc" -V), $("$tools/bin/emulator" --version | head -n 1)"
    export RUSTC=$tools/bin/rustc RUSTDOC=$tools/bin/rustdoc
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$tools/bin/linker
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER=$tools/bin/emulator
    export LISLE_TEST_RUNNER=$tools/bin/emulator
    export CARGO_TARGET_DIR=$built/aarch64
    # The server's tests start the example, which `cargo test --test server` does not build.
    case " $* " in
    *" --test server "*) cargo build --target "$target" --example server ;;
    esac
    # shellcheck disable=SC2046 # a word for each
    run_tests "$CARGO_TARGET_DIR/tests.log" --target "$target" "$@" -- $(skips)
}

# What cannot pass under emulation, as arguments of the test binaries. The reasons stand in the list.
skips() {
    sed -nE 's/^([a-z_0-9]+) -- .*/--skip \1/p' "$root/ci/aarch64-skips.txt"
}

# Each names a test that is there, and says why.
check_skips() {
    local line name
    while read -r line; do
        name=${line%% *}
        [[ $line =~ ^[a-z_0-9]+\ --\ . ]] || die "ci/aarch64-skips.txt: not NAME -- why: $line"
        grep -rqE --include='*.rs' "fn $name\(" tests ./*/src || die "ci/aarch64-skips.txt names $name, which is not there"
    done < <(grep -vE '^(#|$)' ci/aarch64-skips.txt)
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
main "$@"
