//! 4: one LWP, a thread that computes, and one that reads a mapped file of which nothing is in memory: each page
//! fault waits for the disk.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use lisle::thread::{self, Builder};
use lisle::upcall::Source;

use crate::pipes::Worker;
use crate::{Figure, Plan, handovers, runtime};

const PAGE: usize = 4096;
/// So far apart that one fault does not read what the next one wants.
const STRIDE: usize = 64 * PAGE;

/// In percent, what the computing thread's speed is beside the page faults.
pub(crate) fn share(plan: &Plan, source: Source) -> Figure {
    let megabytes = if plan.quick { 16 } else { 256 };
    // Where the disk is: a temporary directory may be in memory.
    let directory = std::env::current_exe().expect("this program");
    let directory = directory.parent().expect("a directory");
    let path = directory.join(format!("lisle-mapped-{}", std::process::id()));
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .expect("a file");
    std::fs::remove_file(&path).expect("to be removed when it is closed");
    let block = vec![7_u8; 1 << 20];
    (0..megabytes).for_each(|_| file.write_all(&block).expect("room on the disk"));
    file.sync_all().expect("a disk");

    let rt = runtime(1, source);
    let worker = Worker::start(&rt);
    let before = worker.speed(|| std::thread::sleep(plan.window / 2));
    let handovers_before = handovers(&rt);
    let until = std::time::Instant::now() + plan.window;
    let beside = worker.speed(|| {
        let reader = move || {
            // At least one pass, and as many as fit.
            loop {
                read_cold(&file, megabytes << 20);
                if std::time::Instant::now() >= until {
                    return;
                }
            }
        };
        let reader = Builder::new().on(&rt).spawn(reader).expect("a thread");
        reader.join().expect("it does not panic");
    });
    let handovers = handovers(&rt) - handovers_before;
    let after = worker.speed(|| std::thread::sleep(plan.window / 2));
    worker.end();
    Figure {
        value: 200.0 * beside / (before + after),
        handovers,
        hog: None,
    }
}

fn read_cold(file: &File, bytes: usize) {
    // SAFETY: a new mapping of an open file, read within its bounds and unmapped once; nobody changes the file.
    unsafe {
        libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED);
        let map = libc::mmap(
            std::ptr::null_mut(),
            bytes,
            libc::PROT_READ,
            libc::MAP_PRIVATE,
            file.as_raw_fd(),
            0,
        );
        assert_ne!(map, libc::MAP_FAILED);
        libc::madvise(map, bytes, libc::MADV_RANDOM);
        let map = map.cast::<u8>();
        for at in (0..bytes).step_by(STRIDE) {
            assert_eq!(map.add(at).read_volatile(), 7);
            // Now and then it is one of lisle's threads again.
            if at % (16 * STRIDE) == 0 {
                thread::yield_now();
            }
        }
        libc::munmap(map.cast(), bytes);
    }
}
