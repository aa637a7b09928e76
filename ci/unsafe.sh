#!/usr/bin/env bash
# Counts `unsafe` by module, without tests and models, and compares with the table in docs/safety.md, which says for each
# module what its unsafe code rests on. So a module with unsafe code that nobody has argued for, and counts that have changed
# since, are noticed.
#
#   ci/unsafe.sh            compares
#   ci/unsafe.sh --write    writes the counts of the modules that the table has
#
# Needs: awk, diff, git.
set -euo pipefail
exec </dev/null
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. ci/lib.sh
need awk diff git

# Lines "MODULE BLOCKS FUNCTIONS IMPLS". A module is a directory below src, or a file in it.
counts() {
    git ls-files -co --exclude-standard 'lwp/src/*.rs' 'runtime/src/*.rs' 'sync/src/*.rs' 'clock/src/*.rs' 'trace/src/*.rs' 'src/*.rs' |
        grep -vE '/(tests|models?)(\.rs$|/)|/model\.rs$' | xargs awk '
        FNR == 1 {
            over = 0
            module = FILENAME
            sub(/\.rs$/, "", module)
            split(module, part, "/")
            if (part[1] != "src") module = part[1] "/" part[3]
        }
        /^mod tests \{/ { over = 1 }
        over { next }
        { line = $0; sub(/\/\/.*/, "", line) }
        {
            impls[module] += gsub(/unsafe impl/, "", line)
            functions[module] += gsub(/unsafe (extern "C" )?fn [a-z_]/, "", line)
            blocks[module] += gsub(/unsafe \{/, "", line)
        }
        END { for (m in blocks) if (blocks[m] + functions[m] + impls[m]) print m, blocks[m], functions[m] + 0, impls[m] + 0 }' |
        sort
}

table() { awk -F ' *[|] *' '/^\| `/ { gsub(/`/, "", $2); print $2, $3, $4, $5 }' docs/safety.md | sort; }

if [ "${1:-}" = --write ]; then
    awk -v counts="$(counts)" '
        BEGIN {
            n = split(counts, line, "\n")
            for (i = 1; i <= n; i++) { split(line[i], word, " "); of[word[1]] = word[2] " | " word[3] " | " word[4] }
        }
        /^\| `/ {
            split($0, cell, / *[|] */)
            name = cell[2]
            gsub(/`/, "", name)
            if (name in of) { print "| `" name "` | " of[name] " | " cell[6] " |"; next }
        }
        { print }' docs/safety.md >docs/safety.md.new
    mv docs/safety.md.new docs/safety.md
fi

difference=$(diff <(table) <(counts)) ||
    die "docs/safety.md (<) does not say what is there (>): module, blocks, functions, impls"$'\n'"$difference"
# What the list of attempts names is there.
while read -r file name; do
    grep -q "fn $name()" "$file" || die "docs/safety.md names $name in $file, which is not there"
done < <(grep -oE '`tests/[a-z_/]+\.rs` `[a-z_0-9]+`' docs/safety.md | tr -d '`')
while read -r file what; do
    [ "$(grep -c "$what" "$file")" -gt 0 ] || die "docs/safety.md says that $file has a $what test; it has none"
done < <(grep -oE '`[a-z]+/src/[a-z_/]+\.rs` `compile_fail`' docs/safety.md | tr -d '`')
# And what is refused is in the list.
git ls-files -co --exclude-standard '*/src/*.rs' 'src/*.rs' | xargs grep -l '```.*compile_fail' | while read -r file; do
    grep -qF "\`$file\` \`compile_fail\`" docs/safety.md || die "$file has a compile_fail test, which docs/safety.md does not name"
done

counts | awk '
    { blocks += $2; functions += $3; impls += $4 }
    END { printf "ok: %d modules, %d unsafe blocks, %d unsafe functions, %d unsafe impls, each argued in docs/safety.md\n", NR, blocks, functions, impls }'
