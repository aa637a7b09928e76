# For ci/lint.sh: which calls of the system a file makes, by their names, as "FILE: NAME". Neither comments nor what follows
# `mod tests` count.
FNR == 1 { use = 0 }
/^mod tests/ { nextfile }
/^ *\/\// { next }
{
    text = $0
    sub(/ \/\/ .*/, "", text)
    rest = text
    while (match(rest, /libc::[a-z_0-9]+\(|SYS_[a-z_0-9]+|rustix::[a-z_0-9:]+\(|(epoll|sockopt)::[a-z_0-9]+\(/)) {
        name = substr(rest, RSTART, RLENGTH)
        rest = substr(rest, RSTART + RLENGTH)
        sub(/\($/, "", name)
        sub(/^(libc|rustix::[a-z]+)::/, "", name)
        print FILENAME ":", name
    }
    # Functions that are imported; of the two modules that are, the calls are seen above.
    if (text ~ /use rustix::/) use = 1
    while (use && match(text, /[A-Za-z_0-9]+/)) {
        name = substr(text, RSTART, RLENGTH)
        text = substr(text, RSTART + RLENGTH)
        if (name !~ /[A-Z]|^(use|rustix|self|buffer|event|fd|fs|io|net|process|epoll|sockopt|ipproto|spare_capacity)$/)
            print FILENAME ":", name
    }
    if ($0 ~ /;/) use = 0
}
