//! What the process holds of the system.

use std::time::Duration;

use lisle_lwp::stack::StackPool;

/// What must be as before once a runtime has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Counters {
    descriptors: usize,
    kernel_threads: usize,
    /// Those of donors, too: a donor that was not ended keeps its stack.
    stacks: usize,
    /// Thread-locals with a destructor, made and not destroyed.
    locals: isize,
    children: usize,
}

/// What may grow, within limits.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) mappings: usize,
    pub(crate) resident_kib: usize,
}

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

fn status(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

/// Children of this process, zombies too.
fn children() -> usize {
    let own = std::process::id().to_string();
    let parents = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let text = std::fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
        let (_, rest) = text.rsplit_once(") ")?;
        rest.split(' ').nth(1).map(str::to_owned)
    });
    parents.filter(|parent| *parent == own).count()
}

impl Held {
    pub(crate) fn of_counters() -> Counters {
        Counters {
            descriptors: entries("/proc/self/fd"),
            kernel_threads: entries("/proc/self/task"),
            stacks: StackPool::global().counters().live,
            locals: crate::ingredients::locals_alive(),
            children: children(),
        }
    }

    pub(crate) fn of_memory() -> Held {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        Held {
            mappings: maps.lines().count(),
            resident_kib: status("VmRSS:"),
        }
    }

    /// Slabs and arenas grow with the busiest round so far, but not with the number
    /// of rounds.
    pub(crate) fn assert_not_much_more_than(&self, before: &Held) {
        assert!(
            self.mappings <= 2 * before.mappings + 200
                && self.resident_kib <= 2 * before.resident_kib + (64 << 10),
            "{before:?} -> {self:?}"
        );
    }
}

impl Counters {
    /// Kernel threads end a little after they have been joined.
    pub(crate) fn assert_again(&self, when: &str) {
        let mut now = Held::of_counters();
        for _ in 0..5000 {
            if now == *self {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
            now = Held::of_counters();
        }
        assert_eq!(now, *self, "after {when}");
    }
}
