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
