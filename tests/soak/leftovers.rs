//! What the process holds of the system.

use std::time::Duration;

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
    /// Without what is only a file's pages, such as the program's debugging information.
    pub(crate) anonymous_kib: usize,
}

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// Helpers that look names up end some seconds after the last one, whatever becomes of runtimes.
fn kernel_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
    let (helpers, others): (Vec<_>, Vec<_>) = names.partition(|name| name == "lisle-helper\n");
    assert!(helpers.len() <= lisle::net::resolver::MOST);
    others.len()
}

fn status(field: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let number = line.unwrap().split_whitespace().next().unwrap();
    number.parse().unwrap()
}

pub(crate) fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().count()
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
            kernel_threads: kernel_threads(),
            stacks: crate::support::stacks(),
            locals: crate::ingredients::locals_alive(),
            children: children(),
        }
    }

    /// But for what is known of the program's symbols, which grows with each that a dump meets,
    /// and what libc keeps for the next who allocates.
    pub(crate) fn of_memory() -> Held {
        backtrace::clear_symbol_cache();
        // SAFETY: no preconditions.
        #[cfg(target_env = "gnu")]
        unsafe {
            libc::malloc_trim(0)
        };
        Held {
            mappings: mappings(),
            anonymous_kib: status("RssAnon:"),
        }
    }

    /// Slabs and arenas grow with the busiest round so far, but not with the number
    /// of rounds. What allocators other than glibc's keep is less sure, and so is what an emulator does.
    pub(crate) fn assert_little_more_than(&self, before: &Held) {
        let sure = allocates_with_glibc() && !crate::support::emulated();
        let (mappings, anonymous_kib) = match sure {
            true => (before.mappings + 32, before.anonymous_kib + (32 << 10)),
            false => (
                2 * before.mappings + 200,
                2 * before.anonymous_kib + (64 << 10),
            ),
        };
        assert!(
            self.mappings <= mappings && self.anonymous_kib <= anonymous_kib,
            "{before:?} -> {self:?}"
        );
    }
}

fn allocates_with_glibc() -> bool {
    cfg!(target_env = "gnu") && std::env::var_os("LD_PRELOAD").is_none()
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
