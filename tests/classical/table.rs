//! All problems with all mechanisms, and what is said of each pair.

use std::sync::Arc;

use super::harness::Stage;
use super::{
    alarm_clock, barber, bounded_buffer, disk_head, philosophers, readers_writers, smokers,
};

pub(crate) const MECHANISMS: [(&str, &str); 8] = [
    ("semaphore", "semaphore"),
    ("mesa", "monitor, Mesa"),
    ("hoare", "monitor, Hoare"),
    ("region", "region"),
    ("serializer", "serializer"),
    ("path", "path expression"),
    ("channel", "asynchronous channel"),
    ("rendezvous", "rendezvous"),
];

/// A problem: its key in the sources' markers, its name, its sources, and its solutions.
pub(crate) struct Row {
    pub(crate) key: &'static str,
    pub(crate) name: &'static str,
    source: &'static str,
    pub(crate) cells: [Cell; 8],
}

/// A solution, or why there is none.
pub(crate) type Cell = Result<fn(&Arc<Stage>), &'static str>;

const NO_PARAMETERS: &str = "a path expression knows names of operations, not their arguments: \
    T. Bloom, \"Evaluating synchronization mechanisms\", 1979";

macro_rules! row {
    ($key:literal, $name:literal, $module:ident, $drive:ident, $type:ident,
     $($rest:tt)*) => {
        Row {
            key: $key,
            name: $name,
            source: include_str!(concat!(stringify!($module), ".rs")),
            cells: row!(@ $module $drive [$type] $($rest)*),
        }
    };
    (@ $module:ident $drive:ident [$type:ident] all) => {
        row!(@ $module $drive [$type] path: Ok($module::$drive::<$module::path::$type>))
    };
    (@ $module:ident $drive:ident [$type:ident] path: $path:expr) => {
        [
            Ok($module::$drive::<$module::semaphore::$type>),
            Ok($module::$drive::<$module::mesa::$type>),
            Ok($module::$drive::<$module::hoare::$type>),
            Ok($module::$drive::<$module::region::$type>),
            Ok($module::$drive::<$module::serializer::$type>),
            $path,
            Ok($module::$drive::<$module::channel::$type>),
            Ok($module::$drive::<$module::rendezvous::$type>),
        ]
    };
}

pub(crate) fn rows() -> [Row; 9] {
    [
        row!(
            "first",
            "readers/writers, first",
            readers_writers,
            first,
            First,
            all
        ),
        row!(
            "second",
            "readers/writers, second",
            readers_writers,
            second,
            Second,
            all
        ),
        row!(
            "fair",
            "readers/writers, fair",
            readers_writers,
            fair,
            Fair,
            all
        ),
        row!(
            "buffer",
            "bounded buffer",
            bounded_buffer,
            drive,
            Bounded,
            all
        ),
        row!(
            "philosophers",
            "dining philosophers",
            philosophers,
            drive,
            Solution,
            all
        ),
        row!("barber", "sleeping barber", barber, drive, Barber, all),
        row!("smokers", "cigarette smokers", smokers, drive, Agent, all),
        row!("alarm", "alarm clock", alarm_clock, drive, Alarm, path: Err(NO_PARAMETERS)),
        row!("disk", "disk-head scheduler", disk_head, drive, Head, path: Err(NO_PARAMETERS)),
    ]
}

impl Row {
    /// Lines of code of a solution: those between markers `//: KEYS MECHANISMS` and `//:`
    /// that are neither empty nor comments.
    pub(crate) fn lines(&self, mechanism: &str) -> usize {
        let (mut counts, mut lines) = (false, 0);
        for line in self.source.lines().map(str::trim) {
            if let Some(marker) = line.strip_prefix("//:") {
                let mut lists = marker.split_whitespace();
                let mut names = |name: &str| {
                    let list = lists.next().unwrap_or("");
                    list.split(',').any(|other| other == name)
                };
                counts = names(self.key) && names(mechanism);
            } else if counts && !line.is_empty() && !line.starts_with("//") {
                lines += 1;
            }
        }
        assert_ne!(lines, 0, "no lines are marked as {} {mechanism}", self.key);
        lines
    }
}
