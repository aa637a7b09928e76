//! How many processors the system gives the process, now.
//!
//! Two limits, both of which others may change while the process runs: the CPUs
//! that it may use (`sched_getaffinity`: `taskset`, cpusets), and the processor
//! time that its control group may use per period (`cpu.max` of version 2,
//! `cpu.cfs_quota_us` of version 1), here or in any group above.
//!
//! Of the affinity, that of the calling kernel thread counts, which is one of the
//! runtime's own (the stock): a program that pins one of its own kernel threads changes nothing.
//! A quota is rounded up: half a processor more is worth an LWP, which uses what
//! the others leave.
//!
//! *Rejected*: `num_cpus`, which reads the quota once in the life of a process,
//! and std's `available_parallelism`, which rounds down and reads only the
//! process's own group.

use std::fs;
use std::path::{Path, PathBuf};

use lisle_lwp::sys;

use crate::runtime::Shared;

/// See the module documentation.
#[derive(Debug)]
pub(crate) struct Processors {
    /// The groups whose quotas count: directories of either version.
    groups: Vec<PathBuf>,
}

impl Processors {
    /// With the quota of the group at `group`, or of the process's own and those
    /// above.
    pub(crate) fn new(group: Option<PathBuf>) -> Processors {
        let groups = match group {
            Some(group) => vec![group],
            None => own_groups(
                &fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
                &fs::read_to_string("/proc/self/mountinfo").unwrap_or_default(),
            ),
        };
        Processors { groups }
    }

    /// How many there are; at least one.
    pub(crate) fn count(&self) -> usize {
        let allowed = sys::allowed_cpus().len();
        let quotas = self.groups.iter().filter_map(|group| quota(group));
        let allowed = if allowed > 0 {
            allowed
        } else {
            sys::configured_cpus()
        };
        quotas.fold(allowed, usize::min).max(1)
    }
}

/// Has as many LWPs as the system gives processors, unless the program has said how
/// many. Reads files and may start kernel threads.
pub(super) fn follow(shared: &Shared) {
    let Some(processors) = &shared.watch.processors else {
        return;
    };
    if !shared.roster.is_fixed() {
        let count = processors.count().min(shared.lwps.len());
        // If the system refuses a kernel thread, the next look tries again.
        shared.roster.follow(count, |n| drop(shared.resize(n)));
    }
}

/// The quota of one group in processors, rounded up; `None`: no limit.
fn quota(group: &Path) -> Option<usize> {
    let read = |file: &str| fs::read_to_string(group.join(file)).ok();
    let (quota, period) = if let Some(max) = read("cpu.max") {
        let mut words = max.split_whitespace().map(str::to_owned);
        // "max 100000" is no number, and no limit.
        (words.next()?, words.next()?)
    } else {
        (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?)
    };
    // Without a limit version 1 says -1.
    let number = |text: &str| text.trim().parse::<u64>().ok().filter(|&n| n > 0);
    let processors = number(&quota)?.div_ceil(number(&period)?);
    usize::try_from(processors).ok()
}

/// The directories of the groups that the process is in, and of those above, as
/// far as they are to be seen. `membership` is `/proc/self/cgroup`, `mounts`
/// `/proc/self/mountinfo`.
fn own_groups(membership: &str, mounts: &str) -> Vec<PathBuf> {
    let mut groups = Vec::new();
    for line in membership.lines() {
        // hierarchy:controllers:path
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let second = controllers.is_empty();
        if !second && !controllers.split(',').any(|name| name == "cpu") {
            continue;
        }
        for mount in mounts.lines() {
            if let Some((root, point)) = mount_of(mount, second)
                && let Ok(below) = Path::new(path).strip_prefix(root)
            {
                let group = point.join(below);
                let above = group.ancestors().take_while(|dir| dir.starts_with(&point));
                groups.extend(above.map(Path::to_owned));
            }
        }
    }
    groups
}

/// If a line of `mountinfo` is a hierarchy of this version with quotas: which
/// group is mounted, and where.
fn mount_of(line: &str, second: bool) -> Option<(PathBuf, PathBuf)> {
    // id parent device root point options optional… - type source options
    let (left, right) = line.split_once(" - ")?;
    let mut left = left.split(' ').skip(3);
    let (root, point) = (left.next()?, left.next()?);
    let mut right = right.split(' ');
    let (kind, options) = (right.next()?, right.nth(1)?);
    let right_one = match second {
        true => kind == "cgroup2",
        false => kind == "cgroup" && options.split(',').any(|name| name == "cpu"),
    };
    right_one.then(|| (root.into(), point.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("lisle-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        path
    }

    #[test]
    fn quotas_are_rounded_up_and_may_be_missing() {
        let group = directory("quota");
        let write = |file: &str, text: &str| fs::write(group.join(file), text).unwrap();
        assert_eq!(quota(&group), None);
        write("cpu.cfs_quota_us", "-1\n");
        write("cpu.cfs_period_us", "100000\n");
        assert_eq!(quota(&group), None);
        write("cpu.cfs_quota_us", "250000\n");
        assert_eq!(quota(&group), Some(3));
        for (text, processors) in [
            ("max 100000\n", None),
            ("100000 100000\n", Some(1)),
            ("150000 100000\n", Some(2)),
            ("1000 100000\n", Some(1)),
            ("rubbish", None),
            ("7 0\n", None),
        ] {
            write("cpu.max", text);
            assert_eq!(quota(&group), processors, "{text}");
        }
        write("cpu.max", "10000 100000\n");
        assert_eq!(Processors::new(Some(group.clone())).count(), 1);
        fs::remove_dir_all(group).unwrap();
    }

    #[test]
    fn a_process_is_in_its_groups_and_those_above() {
        let mounts = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct\n\
            35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
            41 31 0:38 /pod /sys/fs/cgroup/unified rw shared:9 - cgroup2 cgroup2 rw\n";
        let membership = "4:memory:/a\n1:cpu,cpuacct:/a/b\n0::/pod/c\n";
        let groups = own_groups(membership, mounts);
        let expected = [
            "/sys/fs/cgroup/cpu/a/b",
            "/sys/fs/cgroup/cpu/a",
            "/sys/fs/cgroup/cpu",
            "/sys/fs/cgroup/unified/c",
            "/sys/fs/cgroup/unified",
        ];
        assert_eq!(groups, expected.map(PathBuf::from));
        assert!(own_groups("0::/elsewhere\n", mounts).is_empty());
        assert!(own_groups("", "").is_empty());
    }
}
