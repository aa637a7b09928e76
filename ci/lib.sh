# What the scripts in this directory share; sourced, not run.

say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { say "$*"; exit 1; }

# need TOOL...: fails unless they are there.
need() {
    local tool missing=()
    for tool in "$@"; do
        command -v "$tool" >/dev/null || missing+=("$tool")
    done
    [ ${#missing[@]} -eq 0 ] || die "missing on this machine: ${missing[*]}"
}

# readme NAME: the command in README.md's first code block after the marker <!-- ci:NAME -->; exactly one line.
readme() {
    local command
    command=$(awk -v marker="<!-- ci:$1 -->" '
        $0 == marker { armed = 1; next }
        armed && /^```/ { if (inside) exit; inside = 1; next }
        inside { print }' README.md)
    [ -n "$command" ] || die "README.md has no command at the marker ci:$1"
    [ "$(wc -l <<<"$command")" -eq 1 ] || die "more than one line at the marker ci:$1: $command"
    printf '%s\n' "$command"
}

target_dir() { realpath -m "${CARGO_TARGET_DIR:-target}"; }

# --- Debian's packages, unpacked rather than installed ----------------------------------------------------------------

# Where this machine gets Debian's packages from; nothing if it does not.
debian_mirror() {
    local mirror
    mirror=$(known_debian_mirror)
    # Whose packages a source has, apt knows when it has asked.
    [ -n "$mirror" ] || { apt-get -qq update >&2 || true; mirror=$(known_debian_mirror); }
    echo "$mirror"
}

known_debian_mirror() {
    # shellcheck disable=SC2016 # apt's own variables
    apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 ~ /^http/ && !seen++ { print $2 }'
}

# debian_apt DIRECTORY RELEASE: makes an apt of its own there, for one of Debian's releases (bullseye, bookworm …) on this
# machine's own mirror and keys, with an empty record of installed packages. Use it as APT_CONFIG=DIRECTORY/apt.conf.
debian_apt() {
    local root=$1 mirror keys=/usr/share/keyrings/debian-archive-keyring.gpg
    mirror=$(debian_mirror)
    [ -n "$mirror" ] && [ -e "$keys" ] || die "this machine has no source of Debian's packages, or not its keys"
    mkdir -p "$root/lists/partial" "$root/cache/archives/partial"
    : >"$root/status"
    echo "deb [signed-by=$keys] $mirror $2 main" >"$root/sources.list"
    cat >"$root/apt.conf" <<CONF
Dir::State "$root";
Dir::State::lists "$root/lists";
Dir::State::status "$root/status";
Dir::Cache "$root/cache";
Dir::Etc::sourcelist "$root/sources.list";
Dir::Etc::sourceparts "/dev/null";
// The system's hooks clean or notify the system.
#clear APT::Update;
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Retries "3";
CONF
    APT_CONFIG=$root/apt.conf apt-get -qq update
}

# unpack_debian DIRECTORY PACKAGE...: fetches packages by the apt that APT_CONFIG names, or the system's, and unpacks them
# there. Links that are absolute are made to stay inside.
unpack_debian() {
    local root=$1 debs link
    shift
    debs=$(mktemp -d)
    (cd "$debs" && apt-get -qq download "$@" 2> >(grep -v unsandboxed >&2)) || die "cannot fetch: $*"
    mkdir -p "$root"
    for deb in "$debs"/*.deb; do dpkg-deb -x "$deb" "$root"; done
    rm -rf "$debs"
    find "$root" -type l -lname '/*' | while read -r link; do
        ln -sfrT "$root$(readlink "$link")" "$link"
    done
}

# --- tests/full_threads, run by several scripts -----------------------------------------------------------------------

# The longest of them, which look at limits rather than at libc: left out where time is short.
slow_full_threads() { printf -- '--skip %s\n' masses:: pool::a_pool_shrinks pool::warm_threads; }

# full_threads_skips WHERE: what cannot pass there, as arguments of the program; the reasons stand in the list.
full_threads_skips() {
    sed -nE "s/^$1 ([a-z_:]+) -- .*/--skip \1/p" ci/full-threads-skips.txt
}

# run_full_threads WHERE COMMAND...: runs the program, notes its summary, and fails unless it passed with most of its tests.
run_full_threads() {
    local where=$1 log status=0
    shift
    log=$(mktemp)
    "$@" 2>&1 | tee "$log" || status=$?
    summary+=("$where: $(grep '^test result: ' "$log" | tail -n 1)")
    [ "$(sed -nE 's/^test result: ok\. ([0-9]+) passed.*/\1/p' "$log" | tail -n 1)" -ge "${minimum:-40}" ] 2>/dev/null || status=1
    rm -f "$log"
    [ "$status" -eq 0 ] || { failed=yes && say "$where: FAILED"; }
}

end_of_full_threads() {
    printf '\n--- full threads summary ---\n'
    printf '%s\n' "${summary[@]}"
    [ -z "${failed:-}" ] || die "FAILED"
}

# program_of [TEST]: reads cargo's messages and prints the path of the test program.
program_of() { sed -n 's/.*"executable":"\([^"]*\/'"${1:-full_threads}"'-[0-9a-f]*\)".*/\1/p' | tail -n 1; }

# tests_package DIRECTORY TEST...: makes a package there that builds those tests and not much that they do not need.
tests_package() {
    local test
    mkdir -p "$1/src"
    : >"$1/src/lib.rs"
    cp Cargo.lock "$1/Cargo.lock"
    cat >"$1/Cargo.toml" <<TOML
[package]
name = "some-tests"
version = "0.0.0"
edition = "2024"

[lib]
test = false

[workspace]

[dependencies]
lisle = { path = "$PWD" }
lisle-lwp = { path = "$PWD/lwp" }
libc = "0.2"
rand = "0.10"
crossbeam-channel = "0.5"
TOML
    for test in "${@:2}"; do
        printf '\n[[test]]\nname = "%s"\npath = "%s"\n' "$test" "$PWD/tests/$test.rs" >>"$1/Cargo.toml"
    done
}
