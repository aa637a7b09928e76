//! The table, and looks at the process.

use std::io;
use std::time::Duration;

/// Prints rows of one width.
pub(crate) struct Table;

impl Table {
    pub(crate) fn begin() -> Self {
        println!("{:<22}{:>12}{:>16}{:>18}", "", "threads", "in all", "each");
        Self
    }

    pub(crate) fn times(&self, what: &str, threads: usize, time: Duration) {
        let each = time.as_nanos() / threads.max(1) as u128;
        let all = format!("{:.3} s", time.as_secs_f64());
        println!(
            "{what:<22}{threads:>12}{all:>16}{:>18}",
            format!("{each} ns")
        );
    }

    pub(crate) fn memory(&self, what: &str, threads: usize, bytes: usize) {
        let each = bytes / threads.max(1);
        let all = format!("{} MiB", bytes >> 20);
        println!(
            "{what:<22}{threads:>12}{all:>16}{:>18}",
            format!("{each} bytes")
        );
    }

    /// Percentiles of times that are sorted.
    pub(crate) fn percentiles(&self, what: &str, sorted: &[Duration]) {
        for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0)] {
            let place = (sorted.len() as f64 * share).ceil() as usize;
            let Some(time) = place.checked_sub(1).and_then(|place| sorted.get(place)) else {
                return;
            };
            let row = format!("{what}, {name}");
            let time = format!("{:.0} us", time.as_secs_f64() * 1e6);
            println!("{row:<22}{:>12}{:>16}{time:>18}", sorted.len(), "");
        }
    }
}

/// Bytes of memory that the process has resident.
pub(crate) fn resident() -> io::Result<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm")?;
    let pages = statm
        .split_whitespace()
        .nth(1)
        .and_then(|text| text.parse::<usize>().ok());
    let pages = pages.ok_or_else(|| io::Error::other("no number in /proc/self/statm"))?;
    Ok(pages * rustix::param::page_size())
}
