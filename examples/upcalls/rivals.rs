//! Processes that compete for the CPUs.

use std::process::{Child, Command, Stdio};

/// One process per CPU that computes all the time, until dropped.
pub(crate) struct Rivals(Vec<Child>);

impl Rivals {
    pub(crate) fn start() -> Rivals {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        let start = |_| {
            Command::new(std::env::current_exe().expect("this program"))
                .arg("--rival")
                .stdin(Stdio::piped())
                .spawn()
                .expect("a process")
        };
        Rivals((0..cpus).map(start).collect())
    }
}

impl Drop for Rivals {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What such a process does: it computes until its parent has gone.
pub(crate) fn compete() -> ! {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    loop {
        std::hint::spin_loop();
    }
}
