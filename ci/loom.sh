#!/usr/bin/env bash
# Runs the models: every protocol that waits, in every order that loom finds.
#
#   ci/loom.sh [NAME...]    all models, or those whose names contain a NAME
#   ci/loom.sh -t           all models; then writes executions, seconds and mutants into the table in ARCHITECTURE.md
#
# LISLE_MODELS_DEEPER=1 allows one preemption more than the models say, which takes some ten times as long.
#
# Needs: cargo. Writes to ${CARGO_TARGET_DIR:-target}/loom only.
#
# A model says how many executions it explored and within which bound; see lwp/src/explore.rs, also for what loom
# overlooks. What it cannot see at all (spurious futex wake-ups, load buffering, compiler fences) stands in
# lwp/src/shim.rs. That the models notice mistakes is for ci/mutants.sh to show.
set -euo pipefail
exec </dev/null

die() { printf 'loom: %s\n' "$*" >&2; exit 1; }

cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v cargo >/dev/null || die "missing on this machine: cargo"
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-target}")/loom
export CARGO_TARGET_DIR
export RUSTFLAGS="${RUSTFLAGS:-} --cfg lisle_loom"

write=
if [ "${1:-}" = -t ]; then
    [ $# -eq 1 ] || die "-t takes all models"
    shift
    write=yes
fi
[ $# -gt 0 ] || set -- models::
log=$CARGO_TARGET_DIR/models.log
mkdir -p "$CARGO_TARGET_DIR"
status=0
cargo test --release --lib -p lisle-lwp -p lisle-runtime -p lisle-sync --no-fail-fast -- "$@" --show-output 2>&1 |
    tee "$log" || status=$?

printf '\n--- loom summary ---\n'
sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
    /^ *Running / { sub(/^ */, ""); suite = $0 }
    /^model / { models++; executions += $3 }
    /^test result: / { print suite; print "    " $0; passed += $4; failed += $6; if ($4 + $6 == 0) empty++ }
    END {
        printf "%d executions of %d models\n%d passed, %d failed\n", executions, models, passed, failed
        if (passed + failed == 0) { print "no model ran"; exit 1 }
        if (all && empty) { print "a crate without models"; exit 1 }
    }' all="$([ "$*" = models:: ] && echo 1)" || status=1
[ "$status" -eq 0 ] || die "FAILED"

# A row has the models of its first cell's files, or of the last such cell above; of lwp/src/models.rs, which has several
# rows, the ones that it names.
write_table() {
    local counts
    counts=$(mktemp)
    {
        ci/mutants.sh -c
        sed 's/\x1b\[[0-9;]*m//g' "$log" | grep '^model '
    } >"$counts"
    awk -v counts="$counts" '
        function plain(cell) { gsub(/[`…]/, "", cell); return cell }
        function thousands(n) { return n < 1000 ? n "" : thousands(int(n / 1000)) sprintf(",%03d", n % 1000) }
        BEGIN {
            while ((getline line < counts) > 0) {
                words = split(line, word, " ")
                if (word[1] != "model") { mutants[word[2]] = word[1]; continue }
                sub(/:$/, "", word[2])
                executions[word[2]] += word[3]
                seconds[word[2]] += word[words - 1]
            }
        }
        /^\| models \|/ { inside = 1; print; next }
        !inside || !/^\|/ { inside = 0; print; next }
        /^\|---/ { print; next }
        {
            split($0, cell, / *\| */)
            if (cell[2] != "") files = cell[2]
            tried = took = broken = 0
            for (model in executions) {
                parts = split(model, part, "::")
                crate = substr(part[1], length("lisle_") + 1)
                if (parts == 3) mine = index(cell[5], "`" part[3] "`")
                else mine = index(files, "`" crate "/src/models/" part[3] ".rs`")
                if (!mine) continue
                tried += executions[model]
                took += seconds[model]
                met[model] = 1
            }
            if (!tried) { print "no model ran of: " $0 > "/dev/stderr"; failed = 1 }
            files_of_code = split(plain(cell[4]), code, " ")
            for (i = 1; i <= files_of_code; i++) broken += mutants[code[i]]
            printf "| %s | %s | %s | %s | %s | %.1f | %d | %s|\n", cell[2], cell[3], cell[4], cell[5], thousands(tried), took, broken, (cell[9] == "" ? "" : cell[9] " ")
        }
        END {
            for (model in executions) if (!(model in met)) { print "in no row: " model > "/dev/stderr"; failed = 1 }
            exit failed
        }' ARCHITECTURE.md >"$counts.table" || die "the table in ARCHITECTURE.md does not fit the models"
    cat "$counts.table" >ARCHITECTURE.md
    rm -f "$counts" "$counts.table"
}
[ -z "$write" ] || write_table
