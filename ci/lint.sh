#!/usr/bin/env bash
# What compilers and linters say, and rules that they cannot check.
#
#   ci/lint.sh [STEP...]     text format clippy doc [all]
#
# Needs: cargo (with rustfmt and clippy), git, grep, awk.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need cargo git grep awk

# The compiler may keep a thread-local's address over a switch to another kernel thread, so only these files name one:
# the runtime's current-thread word; the model backend, whose contexts are kernel threads; what models are told, whose
# threads all run on one; tests.
# (Not clippy's disallowed_macros: for this macro it does not obey an allow in the file that needs one.)
text() {
    local found
    found=$(git ls-files -co --exclude-standard '*/src/*.rs' 'src/*.rs' |
        grep -vxE 'lwp/src/(current|arch/model|arch/tests|donor/tests)\.rs|runtime/src/trace/model\.rs' |
        xargs grep -nE '^[^/]*\bthread_local!' || true)
    [ -z "$found" ] || die "only lwp/src/current.rs may name thread_local!:"$'\n'"$found"
    # A test that is skipped, and code that is not there, are not noticed by anything else.
    found=$(git ls-files -co --exclude-standard '*.rs' |
        xargs grep -nE '^[^/]*(#\[ignore|\b(todo|unimplemented)!)|^ *//[/!] *```.*\bignore\b' || true)
    [ -z "$found" ] || die "left out or unfinished:"$'\n'"$found"
    calls
    architecture
    unseen
    modelled
    echo "text: ok"
}

# Calls of the system outside lwp/src/sys.rs are those of ci/calls.txt.
calls() {
    local made listed
    made=$(git ls-files -co --exclude-standard '*/src/*.rs' 'src/*.rs' |
        grep -vE '^(examples|tools)/|^lwp/src/sys(\.rs|/)|/tests\.rs$' | xargs awk -f ci/calls.awk | sort -u)
    listed=$(sed -n '/^#/d; s/ *|.*//p' ci/calls.txt | awk '{ for (i = 2; i <= NF; i++) print $1, $i }' | sort)
    [ "$made" = "$listed" ] ||
        die "calls that are made (<) and those of ci/calls.txt (>):"$'\n'"$(diff <(echo "$made") <(echo "$listed"))"
}

# Files and models that ARCHITECTURE.md names are there.
architecture() {
    local name
    for name in $(grep -oE '`[a-z_0-9/]+(\.rs|\.sh|/)`' ARCHITECTURE.md | tr -d '`' | sort -u); do
        [ -n "$(git ls-files -co --exclude-standard "$name" "$name*" "runtime/src/$name*" "runtime/src/sched/$name*")" ] ||
            die "ARCHITECTURE.md names $name, which is not there"
    done
    for name in $(sed -n '/^| models/,/^$/p' ARCHITECTURE.md | grep -oE '`[a-z_]+`' | tr -d '`'); do
        git ls-files -co --exclude-standard '*/src/models.rs' '*/src/models/*.rs' | xargs grep -q "fn $name()" ||
            die "ARCHITECTURE.md names a model $name, which is not there"
    done
}

# What loom does not see at each protocol: A stands where code has a SeqCst fence, R where models take turns,
# T where a model has a deadline; and what a letter means stands below.
unseen() {
    local models last of code letters has letter
    while IFS='|' read -r _ models of code _ _ _ _ letters _; do
        [ -n "${models// /}" ] || models=$last
        last=$models
        of=${of# } of=${of% } models=${models//\`/} code=${code//\`/}
        for letter in $letters; do
            grep -q "^| $letter | " ARCHITECTURE.md || die "ARCHITECTURE.md: $of has $letter, which stands for nothing"
        done
        # shellcheck disable=SC2086 # words
        while read -r letter has; do
            [[ " $letters" == *" $letter "* ]] && [ "$has" = no ] && die "ARCHITECTURE.md: $of has $letter without cause"
            [[ " $letters" != *" $letter "* ]] && [ "$has" = yes ] && die "ARCHITECTURE.md: $of lacks $letter"
        done < <(
            says A '[^r_]fence\(Ordering::SeqCst' $code
            [[ $models == *lwp/* ]] || says R 'Turns' $models
            [[ $models == *lwp/* ]] || says T 'TimedOut|timeout|deadline|expire' $models
        )
    done < <(sed -n '/^| models/,/^$/p' ARCHITECTURE.md | sed '1,2d; /^$/d')
    return 0
}

# says LETTER PATTERN FILE...: whether code there, and not its comments, matches.
says() {
    local letter=$1 pattern=$2
    shift 2
    if grep -hvE '^ *//' "$@" | grep -E "$pattern" >/dev/null; then echo "$letter yes"; else echo "$letter no"; fi
}

# A file with orderings stronger than relaxed is modelled, or ci/unmodelled.txt says why not; and what that lists is so.
modelled() {
    local file
    comm -3 <(sed -nE 's/^([a-z_0-9/]+\.rs) -- .*/\1/p' ci/unmodelled.txt | sort) <(
        git ls-files -co --exclude-standard '*/src/*.rs' 'src/*.rs' | grep -vE '/models(/|\.rs$)|/tests\.rs$' |
            grep -vxFf <(sed -n '/^modelled="/,/^"/s/\.rs .*/.rs/p' ci/mutants.sh) |
            while read -r file; do
                # Up to its unit tests, and without comments.
                if sed -E '/^#\[cfg\((all\()?test/,$d; s,//.*,,' "$file" |
                    grep -v compiler_fence | grep -E 'Ordering::(Acquire|Release|AcqRel|SeqCst)' >/dev/null; then
                    echo "$file"
                fi
            done | sort
    ) | while read -r file; do
        die "$file: neither modelled (ci/mutants.sh) nor listed in ci/unmodelled.txt, or listed without need"
    done
}

format() {
    cargo fmt --all --check
    echo "format: ok"
}

clippy() {
    cargo clippy --quiet --workspace --all-targets -- -D warnings
    echo "clippy: ok"
}

doc() {
    export RUSTDOCFLAGS="-D warnings"
    cargo doc --quiet --workspace --no-deps --document-private-items
    cargo doc --quiet --workspace --no-deps # last, so that this one is there to be read
    echo "doc: ok"
}

[ $# -gt 0 ] || set -- text format clippy doc
for step in "$@"; do
    "$step"
done
