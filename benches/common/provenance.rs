//! Where figures come from, and where they go.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;

use crate::common::target_directory;

/// The machine, the kernel, the day and the commit, as far as the system tells.
pub(crate) fn provenance() -> String {
    let said = |program: &str, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        Some(text.trim().to_owned()).filter(|text| !text.is_empty())
    };
    let cpu = fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(": ")?.1.to_owned())
    });
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let or = |text: Option<String>| text.unwrap_or_else(|| "unknown".into());
    format!(
        "{} × {}, {}, {}, commit {}",
        cpus,
        or(cpu),
        or(said("uname", &["-sr"])),
        or(said("date", &["-u", "+%F"])),
        or(said("git", &["describe", "--always", "--dirty"])),
    )
}

/// The directory for results of this name, made if need be.
pub(crate) fn results(name: &str) -> io::Result<PathBuf> {
    let place = target_directory().join(name);
    fs::create_dir_all(&place)?;
    Ok(place)
}
