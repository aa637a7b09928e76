//! 2: two LWPs and many threads that block in the C library, against one kernel thread for each of them.
//!
//! Every thread does the same over and over until the time is up; what is compared is how often all together did
//! it. The threads call nothing of lisle.

use std::cell::UnsafeCell;
use std::ffi::CString;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lisle::thread::Builder;
use lisle::upcall::Source;

use crate::{Figure, Plan, handovers, runtime};

/// What a thread does over and over.
type Deed = Box<dyn FnMut() + Send>;

/// Makes the deed of each thread.
pub(crate) type Deeds = fn() -> Box<dyn Fn() -> Deed>;

pub(crate) fn sleep() -> Box<dyn Fn() -> Deed> {
    Box::new(|| Box::new(|| std::thread::sleep(Duration::from_millis(10))))
}

/// A file that goes with the last who uses it.
struct TemporaryFile(PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

pub(crate) fn flock() -> Box<dyn Fn() -> Deed> {
    let path = std::env::temp_dir().join(format!("lisle-flock-{}", std::process::id()));
    File::create(&path).expect("a temporary file");
    let path = Arc::new(TemporaryFile(path));
    Box::new(move || {
        let path = path.clone();
        // Locks belong to open files: each thread has one of its own.
        let file = File::open(&path.0).expect("the file");
        Box::new(move || {
            let _keep = &path;
            // SAFETY: the descriptor is open.
            let lock = |how| unsafe { libc::flock(file.as_raw_fd(), how) };
            assert_eq!(lock(libc::LOCK_EX), 0);
            std::thread::sleep(Duration::from_micros(100));
            assert_eq!(lock(libc::LOCK_UN), 0);
        })
    })
}

pub(crate) fn getaddrinfo() -> Box<dyn Fn() -> Deed> {
    Box::new(|| {
        let name = CString::new("localhost").expect("no NUL");
        Box::new(move || {
            let mut list = std::ptr::null_mut();
            // SAFETY: the name ends with a NUL, no service and no hints are wanted; the list is freed once.
            unsafe {
                let status =
                    libc::getaddrinfo(name.as_ptr(), std::ptr::null(), std::ptr::null(), &mut list);
                assert_eq!(status, 0);
                libc::freeaddrinfo(list);
            }
        })
    })
}

struct CMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a C mutex is made to be shared.
unsafe impl Sync for CMutex {}
// SAFETY: it is moved only before it is used.
unsafe impl Send for CMutex {}

pub(crate) fn c_mutex() -> Box<dyn Fn() -> Deed> {
    let mutex = Arc::new(CMutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));
    Box::new(move || {
        let mutex = mutex.clone();
        Box::new(move || {
            // SAFETY: initialised, at a fixed place; locked and unlocked by the same thread.
            unsafe {
                assert_eq!(libc::pthread_mutex_lock(mutex.0.get()), 0);
                std::thread::sleep(Duration::from_millis(5));
                assert_eq!(libc::pthread_mutex_unlock(mutex.0.get()), 0);
            }
        })
    })
}

/// In percent, how often the deed was done by user threads, compared with kernel threads.
pub(crate) fn against_kernel_threads(plan: &Plan, source: Source, deeds: Deeds) -> Figure {
    let kernel = rate(plan, deeds, |body| {
        let thread = std::thread::spawn(body);
        Box::new(|| thread.join().expect("it does not panic"))
    });
    let rt = runtime(2, source);
    let user = rate(plan, deeds, |body| {
        let thread = Builder::new().on(&rt).spawn(body).expect("a thread");
        Box::new(|| thread.join().expect("it does not panic"))
    });
    Figure {
        value: 100.0 * user / kernel,
        handovers: handovers(&rt),
        hog: None,
    }
}

type Body = Box<dyn FnOnce() + Send>;
type Join = Box<dyn FnOnce()>;

/// How often per second all threads together do it. The time begins with the first thread.
fn rate(plan: &Plan, deeds: Deeds, spawn: impl Fn(Body) -> Join) -> f64 {
    let deeds = deeds();
    let (stop, done) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let began = Instant::now();
    let threads: Vec<Join> = (0..plan.threads)
        .map(|_| {
            let (mut deed, stop, done) = (deeds(), stop.clone(), done.clone());
            spawn(Box::new(move || {
                while !stop.load(Ordering::Relaxed) {
                    deed();
                    done.fetch_add(1, Ordering::Relaxed);
                }
            }))
        })
        .collect();
    std::thread::sleep(plan.window);
    let rate = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    threads.into_iter().for_each(|join| join());
    rate
}
