#!/usr/bin/env bash
# Shows that the models notice mistakes: makes one at a time, in a copy, and expects a model to fail.
#
#   ci/mutants.sh [-l|-c] [PATTERN]    all mutants, or those whose names match the extended regular expression; -l lists
#                                      them, -c counts them by file
#
# Needs: cargo, awk, sed, tar, timeout. Writes to ${CARGO_TARGET_DIR:-target}/mutants only.
#
# Mutants are
#   - each memory ordering of the modelled files, weakened: made here, named FILE FUNCTION OLD>NEW [#NTH];
#   - the mistakes in ci/mutants.txt: re-checks dropped, steps swapped.
# A mutant passes if it is killed, or if it survives and ci/mutants-survivors.txt says why it may. A mutant that does not
# compile, a text in the table that is not in its file, a listed survivor that is killed or that is no mutant at all: each
# is an error.
set -euo pipefail
exec </dev/null

limit=120 # seconds for one model of one mutant
shallow=2 # preemptions at first: enough for most mutants, and fast
# The modelled files, and the models that look at each.
modelled="
lwp/src/lock.rs              models::
lwp/src/sleep.rs             models::
lwp/src/owner.rs             models::
runtime/src/wait/word.rs     models::wait models::park models::list models::pin models::mark
runtime/src/wait/mod.rs      models::wait models::park models::list models::mark
runtime/src/wait/list.rs     models::list
runtime/src/wait/mark.rs     models::mark
runtime/src/wait/lot.rs      models::lot
runtime/src/wait/inherit.rs  models::inherit
runtime/src/join.rs          models::join
runtime/src/gate.rs          models::gate
runtime/src/life.rs          models::life
runtime/src/hold.rs          models::pin
runtime/src/census.rs        models::census
runtime/src/jobs/offers.rs   models::jobs
runtime/src/jobs/thief.rs    models::jobs
runtime/src/sched/queue.rs   models::queue
runtime/src/sched/next.rs    models::next
runtime/src/sched/coming.rs  models::coming
runtime/src/sched/roster.rs  models::roster
runtime/src/io/side.rs       models::side
runtime/src/sched/timers.rs  models::timers
runtime/src/io/slumber.rs    models::slumber
runtime/src/sched/sleepers.rs models::sleepers
runtime/src/watch/vigil.rs   models::vigil
runtime/src/shelf.rs         models::shelf
runtime/src/desk.rs          models::desk
runtime/src/trace/pass.rs    models::trace
sync/src/channel/core.rs     models::channel models::buffer models::select models::task
sync/src/channel/buffer/mod.rs models::buffer models::channel
sync/src/channel/buffer/ring.rs models::buffer models::channel
sync/src/channel/buffer/list.rs models::buffer models::channel
sync/src/channel/wait.rs     models::channel models::select
sync/src/channel/lone.rs     models::channel models::select
sync/src/channel/complete.rs models::select models::task
sync/src/channel/operand.rs  models::select
sync/src/channel/selecting.rs models::select
sync/src/channel/future.rs   models::task
sync/src/channel/signal.rs   models::shapes
sync/src/channel/watch.rs    models::shapes
sync/src/channel/broadcast.rs models::shapes
sync/src/channel/oneshot.rs  models::shapes
sync/src/channel/timer.rs    models::timer
sync/src/channel/rendezvous.rs models::rendezvous
sync/src/channel/stamped.rs  models::stamped
sync/src/delivery/hold_back.rs models::delivery
sync/src/delivery/causal.rs  models::delivery
sync/src/delivery/fifo.rs    models::delivery
sync/src/delivery/network.rs models::delivery
sync/src/semaphore/core.rs   models::semaphore
sync/src/mutex/raw.rs        models::mutex models::condvar
sync/src/condvar/raw.rs      models::condvar
sync/src/rwlock/raw.rs       models::rwlock
sync/src/rwlock/guard.rs     models::rwlock
sync/src/once/mod.rs         models::once
sync/src/possession.rs       models::monitor models::region models::serializer
sync/src/monitor/mod.rs      models::monitor
sync/src/region/mod.rs       models::region
sync/src/serializer/mod.rs   models::serializer
sync/src/path/mod.rs         models::path
sync/src/queue.rs            models::queue
sync/src/parker.rs           models::queue
sync/src/barrier.rs          models::queue
sync/src/wait_group.rs       models::queue
sync/src/poison.rs           models::condvar models::monitor models::serializer
sync/src/priority_mutex.rs   models::priority_mutex
"
# Models that play the part of code which cannot be modelled: only the table breaks them.
players="
runtime/src/models/list.rs       models::list
runtime/src/models/join.rs       models::join
runtime/src/models/census.rs     models::census
runtime/src/models/sleepers.rs   models::sleepers
runtime/src/models/jobs.rs       models::jobs
runtime/src/models/slumber.rs    models::slumber
runtime/src/models/vigil.rs      models::vigil
"

say() { printf 'mutants: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

# --- the list -------------------------------------------------------------------------------------------------------

# Prints NAME, file, line, nth ordering on that line, replacement, separated by tabs, for every ordering in FILE that
# can be weakened. Unit tests, comments and compiler fences (which loom does not have) are left out.
orderings() {
    awk -v file="$1" -v OFS='\t' '
        function mutant(old, new) {
            name = file " " fn " " old ">" new
            nth = ++seen[name] > 1 ? " #" seen[name] : ""
            print name nth, file, FNR, at, new
        }
        /^#\[cfg\(all\(test/ { exit }
        { sub(/\/\/.*/, "") }
        /^ *(pub )?use / || /compiler_fence/ { next }
        match($0, /fn [a-z_0-9]+/) { fn = substr($0, RSTART + 3, RLENGTH - 3) }
        {
            at = 0
            while (match($0, /Ordering::(Relaxed|Acquire|Release|AcqRel|SeqCst)/)) {
                at++
                old = substr($0, RSTART + 10, RLENGTH - 10)
                fenced = substr($0, RSTART - 6, 6) == "fence("
                $0 = substr($0, RSTART + RLENGTH)
                if (old == "SeqCst" && fenced) { mutant(old " fence", "AcqRel"); mutant(old " fence", "none") }
                else if (old == "SeqCst") mutant(old, "AcqRel")
                else if (old == "AcqRel") { mutant(old, "Acquire"); mutant(old, "Release") }
                else if (old != "Relaxed") mutant(old, "Relaxed")
            }
        }' "$1"
}

# Prints NAME, file, "table" for every entry of the table.
table() {
    awk -v OFS='\t' '
        /^\[.*\]$/ { name = substr($0, 2, length($0) - 2); next }
        /^file: / { print name, $2, "table" }' ci/mutants.txt
}

list_all() {
    local file
    for file in $(awk 'NF { print $1 }' <<<"$modelled"); do
        orderings "$file"
    done
    table
}

# chosen [PATTERN]
chosen() { list_all | awk -F '\t' -v pattern="${1:-.}" '$1 ~ pattern'; }

# --- one mutant -----------------------------------------------------------------------------------------------------

# mutate_ordering FILE LINE NTH NEW: to standard output
mutate_ordering() {
    awk -v line="$2" -v nth="$3" -v new="$4" '
        FNR == line {
            head = ""
            for (at = 1; match($0, /Ordering::(Relaxed|Acquire|Release|AcqRel|SeqCst)/); at++) {
                if (at == nth) {
                    if (new != "none") { print head substr($0, 1, RSTART + 9) new substr($0, RSTART + RLENGTH); next }
                    print head substr($0, 1, RSTART - 7) "()" substr($0, RSTART + RLENGTH + 1)
                    next
                }
                head = head substr($0, 1, RSTART + RLENGTH - 1)
                $0 = substr($0, RSTART + RLENGTH)
            }
        }
        { print }' "$1"
}

# mutate_table NAME FILE: replaces the "- " lines, which stand together somewhere in the file (after the "in: " line, if
# there is one), by the "+ " lines. Leading blanks do not count. Fails unless there is exactly one such place.
mutate_table() {
    awk -v name="[$1]" '
        function trim(s) { sub(/^[ \t]+/, "", s); return s }
        FNR == NR {
            if ($0 ~ /^\[.*\]$/) mine = ($0 == name)
            else if (mine && /^in: /) anchor = substr($0, 5)
            else if (mine && /^- /) old[++olds] = trim(substr($0, 3))
            else if (mine && /^\+ /) new[++news] = substr($0, 3)
            next
        }
        { text[++lines] = $0 }
        END {
            from = 1
            if (anchor) {
                while (from <= lines && !index(text[from], anchor)) from++
                if (from > lines) { print "no such place: " anchor > "/dev/stderr"; exit 1 }
            }
            for (l = from; l + olds - 1 <= lines; l++) {
                for (i = 1; i <= olds && trim(text[l + i - 1]) == old[i]; i++);
                if (i > olds && olds) { if (!found) place = l; found++; if (anchor) break }
            }
            if (found != 1) { print found + 0 " places" > "/dev/stderr"; exit 1 }
            for (l = 1; l <= lines; l++) {
                if (l == place) { for (i = 1; i <= news; i++) print new[i]; l += olds - 1 }
                else print text[l]
            }
        }' ci/mutants.txt "$2"
}

# A text that has changed since is found also if its mutant is not among the chosen.
check_table() {
    local name file
    while IFS=$'\t' read -r name file _; do
        mutate_table "$name" "$file" >/dev/null || die "[$name]: not found in $file"
    done < <(table)
}

# Builds the crate's models in the current tree; prints the path of their program.
build() {
    cargo test --locked --lib --no-run -p "lisle-$1" \
        --config 'profile.dev.package."*".opt-level=3' --config profile.dev.opt-level=1 --config profile.dev.debug=0 \
        2>"$CARGO_TARGET_DIR/build.log" || return 1
    sed -n 's/^ *Executable unittests src\/lib.rs (\(.*\))$/\1/p' "$CARGO_TARGET_DIR/build.log"
}

filters() { awk -v file="$1" '$1 == file { $1 = ""; print }' <<<"$modelled$players"; }

# judge NAME FILE [WHERE...]: prints "killed|survived|error" and a remark, separated by a tab. Runs in a worker's tree.
judge() {
    local name=$1 file=$2 program log=$CARGO_TARGET_DIR/run.log
    shift 2
    cp "$file" "$CARGO_TARGET_DIR/original"
    if [ "$1" = table ]; then
        mutate_table "$name" "$file" >"$CARGO_TARGET_DIR/mutant" 2>"$log" || { echo "error	$(cat "$log")"; return; }
    else
        mutate_ordering "$file" "$@" >"$CARGO_TARGET_DIR/mutant"
    fi
    if cmp -s "$CARGO_TARGET_DIR/mutant" "$file"; then
        echo "error	it changes nothing"
        return
    fi
    cat "$CARGO_TARGET_DIR/mutant" >"$file"
    program=$(build "${file%%/*}") || program=
    cat "$CARGO_TARGET_DIR/original" >"$file"
    if [ -z "$program" ]; then
        echo "error	it does not compile: $(grep -m 1 '^error' "$CARGO_TARGET_DIR/build.log" || true)"
        return
    fi
    # shellcheck disable=SC2046 # one word a filter
    try "$program" $(filters "$file")
}

# try PROGRAM FILTER...: runs the models one by one until one fails, first within a small bound, then all of them fully.
try() {
    local program=$1 models model bound status log=$CARGO_TARGET_DIR/run.log
    shift
    models=$("$program" --list "$@" 2>/dev/null | sed -n 's/: test$//p')
    if [ -z "$models" ]; then
        echo "error	no model looks at it"
        return
    fi
    for bound in "$shallow" ""; do
        for model in $models; do
            status=0
            LISLE_MODELS_AT_MOST=$bound timeout "$limit" "$program" --exact "$model" >"$log" 2>&1 || status=$?
            case $status in
            0) grep -q '^test result: ok\. 1 passed' "$log" || { echo "error	$model did not run"; return; } ;;
            124) echo "error	$model did not end in $limit s"; return ;;
            101 | 134 | 139) echo "killed	${model#models::}"; return ;; # panicked, aborted, or reached for what was gone
            *) echo "error	$model ended with $status"; return ;;
            esac
        done
    done
    echo "survived	"
}

# --- all of them ----------------------------------------------------------------------------------------------------

copy_tree() { # copy_tree DIRECTORY
    mkdir -p "$1"
    tar -cf - --exclude=./target --exclude=./.git . | tar -xf - -C "$1"
    # What an earlier run left may be newer than the originals, and is a mutant.
    find "$1"/{lwp,runtime,sync}/src -name '*.rs' -exec touch {} +
}

worker() { # worker NUMBER: every so many-th mutant of the list
    local number=$1 index=0 name verdict remark where
    export CARGO_TARGET_DIR=$work/$number/target
    cd "$work/$number/tree"
    while IFS=$'\t' read -r name where; do
        index=$((index + 1))
        [ $((index % workers)) -eq $((number - 1)) ] || continue
        IFS=$'\t' read -r -a where <<<"$where"
        IFS=$'\t' read -r verdict remark < <(judge "$name" "${where[@]}")
        printf '%s\t%s\t%s\n' "$verdict" "$name" "$remark" >>"$work/$number/results"
        printf '%-9s %s%s\n' "$verdict" "$name" "${remark:+  ($remark)}"
    done <"$work/list"
}

set_up() {
    local number crate file models program bound
    for number in $(seq "$workers"); do
        rm -rf "${work:?}/$number/tree" "$work/$number/results"
        copy_tree "$work/$number/tree"
    done
    # The first builds and runs the models concerned once, unharmed; the others begin with its dependencies.
    for crate in $(awk -F '\t' '{ sub(/\/.*/, "", $2); print $2 }' "$work/list" | sort -u); do
        program=$(cd "$work/1/tree" && CARGO_TARGET_DIR=$work/1/target && export CARGO_TARGET_DIR &&
            mkdir -p "$CARGO_TARGET_DIR" && build "$crate") || die "does not build unharmed: see $work/1/target/build.log"
        models=$(cut -f 2 "$work/list" | sort -u | while read -r file; do
            if [ "${file%%/*}" = "$crate" ]; then filters "$file"; fi
        done | tr ' ' '\n' | sort -u)
        for bound in "$shallow" ""; do
            # shellcheck disable=SC2086 # one word a filter
            LISLE_MODELS_AT_MOST=$bound "$program" $models >"$work/unharmed.log" 2>&1 ||
                die "fails unharmed${bound:+, within $bound preemptions}: see $work/unharmed.log"
        done
        say "$crate unharmed: $(grep '^test result' "$work/unharmed.log")"
    done
    for number in $(seq 2 "$workers"); do
        [ -d "$work/$number/target" ] || cp -r "$work/1/target" "$work/$number/target"
    done
}

summary() { # summary [all]: of the results, against the accepted survivors
    awk -F '\t' -v survivors=ci/mutants-survivors.txt -v all="${1:-}" '
        BEGIN {
            while ((getline line < survivors) > 0)
                if (line !~ /^(#|$)/) {
                    at = index(line, " -- ")
                    if (!at) { print "no reason: " line; failed++; continue }
                    accepted[substr(line, 1, at - 1)] = 1
                }
        }
        {
            known[$2] = 1
            if ($1 == "killed" && $2 in accepted) wrong("listed as a survivor, but killed")
            else if ($1 == "killed") killed++
            else if ($1 == "survived" && $2 in accepted) survived++
            else wrong($1)
        }
        function wrong(why) { print "FAILED: " $2 ": " why; failed++ }
        END {
            if (all) for (name in accepted) if (!(name in known)) { print "FAILED: no such mutant: " name; failed++ }
            printf "%d killed, %d accepted survivors\n", killed, survived
            printf "mutants: %d passed, %d failed\n", killed + survived, failed
            exit (failed > 0 || killed == 0)
        }' "$work"/*/results
}

main() {
    local number tool
    cd "$(dirname "${BASH_SOURCE[0]}")/.."
    for tool in cargo awk sed tar timeout; do
        command -v "$tool" >/dev/null || die "missing on this machine: $tool"
    done
    work=$(realpath -m "${CARGO_TARGET_DIR:-target}")/mutants
    workers=$(nproc)
    export RUSTFLAGS="${RUSTFLAGS:-} --cfg lisle_loom" CARGO_INCREMENTAL=1
    mkdir -p "$work"
    case ${1:-} in
    -l) shift && chosen "$@" | cut -f 1 && return ;;
    -c) shift && chosen "$@" | cut -f 2 | sort | uniq -c && return ;;
    esac
    chosen "$@" >"$work/list"
    [ -s "$work/list" ] || die "no such mutant"
    check_table
    rm -rf "$work"/*/results
    set_up
    for number in $(seq "$workers"); do
        worker "$number" &
    done
    wait
    printf '\n--- mutants summary ---\n'
    [ "$(cat "$work"/*/results | wc -l)" -eq "$(wc -l <"$work/list")" ] || die "a worker stopped early"
    if [ $# -eq 0 ]; then summary all; else summary; fi
}

main "$@"
