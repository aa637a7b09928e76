//! The system's limits, reached for real: each in a child process that has little of one thing. What is
//! refused comes out as an error, and works again when there is some.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lisle::net::{TcpListener, TcpStream};
use lisle::thread::{self, Builder, JoinHandle};
use lisle::upcall::Source;
use lisle::{Runtime, blocking};
use lisle_lwp::stack::StackPool;

use support::{alone, emulated, end, on, skipped, watchdog};

fn page_size() -> usize {
    // SAFETY: a plain call.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}

fn set_limit(of: libc::__rlimit_resource_t, limit: u64) {
    let limit = libc::rlimit {
        rlim_cur: limit,
        rlim_max: limit,
    };
    // SAFETY: a readable value.
    assert_eq!(unsafe { libc::setrlimit(of, &raw const limit) }, 0);
}

/// Does something until it is refused; what was made, and why no more.
fn until_refused<T>(mut make: impl FnMut() -> io::Result<T>) -> (Vec<T>, io::Error) {
    let mut made = Vec::new();
    loop {
        match make() {
            Ok(one) => made.push(one),
            Err(error) => return (made, error),
        }
        assert!(made.len() < 100_000, "nothing is ever refused");
    }
}

#[test]
fn descriptors_run_out() {
    alone("descriptors_run_out", || {
        let _dog = watchdog();
        let rt = support::runtime(2);
        on(&rt, || {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap();
            // Starts what is started with the first connection.
            pair(&listener, address).unwrap();
            set_limit(libc::RLIMIT_NOFILE, 100);
            let (pairs, error) = until_refused(|| pair(&listener, address));
            assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
            assert!(pairs.len() > 10);
            // A runtime needs some, too.
            let refused = Runtime::builder().lwps(1).build().unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EMFILE));
            drop(pairs);
            // As many again; those that nobody has accepted were closed with their clients.
            let (again, _) = until_refused(|| pair(&listener, address));
            assert!(again.len() > 10);
        })
        .join()
        .unwrap();
        end(rt);
    });
}

/// A connection, and its other end.
fn pair(listener: &TcpListener, address: SocketAddr) -> io::Result<[TcpStream; 2]> {
    let client = TcpStream::connect(address)?;
    let (server, _) = listener.accept_deadline(Instant::now() + Duration::from_secs(20))?;
    Ok([client, server])
}

#[test]
fn kernel_threads_run_out() {
    if emulated() {
        return skipped("kernel threads run out (the emulator needs some of its own)");
    }
    alone("kernel_threads_run_out", || {
        // The limit is a user's, and root has none: this process becomes a user of its own.
        let user = 100_000 + std::process::id() % 400_000;
        // SAFETY: plain system calls.
        let (root, alone) = unsafe { (libc::getuid() == 0, libc::setuid(user) == 0) };
        if !root {
            // Its user has threads enough elsewhere.
            set_limit(libc::RLIMIT_NPROC, 1);
            let refused = Runtime::builder().lwps(1).build().unwrap_err();
            assert_eq!(refused.raw_os_error(), Some(libc::EAGAIN));
        }
        if !alone {
            return skipped("kernel threads run out under way (needs to become another user)");
        }
        let _dog = watchdog();
        // Without a kernel thread for each processor.
        let builder = Runtime::builder().lwps(2).upcalls(Source::Monitor);
        let rt = builder.build().unwrap();
        on(&rt, || ()).join().unwrap();
        let there = std::fs::read_dir("/proc/self/task").unwrap().count();
        set_limit(libc::RLIMIT_NPROC, there as u64 + 20);
        for _ in 0..3 {
            let bound = || Builder::new().on(&rt).bound().spawn(thread::park);
            let (parked, error) = until_refused(bound);
            assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
            assert!(!parked.is_empty());
            // Kernel threads to take over an LWP cannot be had either: all goes on when its thread does.
            let blocked: Vec<JoinHandle<()>> = (0..4)
                .map(|_| {
                    on(&rt, || {
                        blocking(|| std::thread::sleep(Duration::from_millis(2)))
                    })
                })
                .collect();
            on(&rt, || ()).join().unwrap();
            blocked
                .into_iter()
                .for_each(|thread| thread.join().unwrap());
            for thread in parked {
                thread.thread().unpark();
                thread.join().unwrap();
            }
        }
        end(rt);
    });
}

/// More stacks than two LWPs keep that have run next to nothing.
const CACHED: usize = 2;

/// A class of stacks of which nobody has one.
fn large(rt: &Runtime) -> io::Result<JoinHandle<()>> {
    let builder = Builder::new().on(rt).stack_size(64 << 20);
    // SAFETY: touches no thread-local.
    unsafe { builder.spawn_light(thread::park) }
}

#[test]
fn address_space_runs_out() {
    if emulated() {
        return skipped("address space runs out (the limit would be the emulator's)");
    }
    alone("address_space_runs_out", || {
        let _dog = watchdog();
        let rt = support::runtime(2);
        on(&rt, || ()).join().unwrap();
        let status = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = status.split_whitespace().next().unwrap().parse().unwrap();
        set_limit(libc::RLIMIT_AS, pages * page_size() as u64 + (1 << 30));
        let mut counts = Vec::new();
        for _ in 0..3 {
            // A thread has been joined a little before it leaves its stack.
            support::until(|| StackPool::global().counters().live <= CACHED);
            let (parked, error) = until_refused(|| large(&rt));
            assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
            counts.push(parked.len());
            for thread in parked {
                thread.thread().unpark();
                thread.join().unwrap();
            }
        }
        // Stacks that were given back are used again. (libc's allocator takes 64 MiB of address space for
        // a kernel thread that meets another one.)
        assert!(counts[0] > 8, "{counts:?}");
        assert!(
            counts.iter().all(|count| count + 4 >= counts[0]),
            "{counts:?}"
        );
        end(rt);
    });
}

/// As many mappings as the system allows a process, but for a few.
struct Mappings {
    base: *mut libc::c_void,
    pages: usize,
}

impl Mappings {
    /// Takes all of so many.
    fn all(pages: usize) -> Mappings {
        let page_size = page_size();
        let (flags, none) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, libc::PROT_NONE);
        // SAFETY: a new mapping; its pages are never touched.
        unsafe {
            let base = libc::mmap(core::ptr::null_mut(), pages * page_size, none, flags, -1, 0);
            assert_ne!(base, libc::MAP_FAILED);
            // Every other page becomes a mapping of its own, as long as that is allowed.
            let split = |page: usize| {
                let page = base.byte_add(page * page_size);
                libc::mprotect(page, page_size, libc::PROT_READ) == 0
            };
            assert!((1..pages).step_by(2).any(|page| !split(page)));
            let why = io::Error::last_os_error();
            assert_eq!(why.raw_os_error(), Some(libc::ENOMEM));
            Mappings { base, pages }
        }
    }
}

impl Drop for Mappings {
    fn drop(&mut self) {
        // SAFETY: its own mapping.
        unsafe { libc::munmap(self.base, self.pages * page_size()) };
    }
}

#[test]
fn mappings_run_out() {
    if emulated() {
        return skipped("mappings run out (the emulator has others)");
    }
    alone("mappings_run_out", || {
        let most = std::fs::read_to_string("/proc/sys/vm/max_map_count").unwrap();
        let most: usize = most.trim().parse().unwrap();
        if most > 1 << 18 {
            // Each takes the kernel's memory.
            return skipped("mappings run out (vm.max_map_count is too large)");
        }
        let _dog = watchdog();
        let rt = support::runtime(2);
        on(&rt, || ()).join().unwrap();
        for _ in 0..3 {
            let mappings = Mappings::all(most);
            let (parked, error) = until_refused(|| large(&rt));
            // Kernel threads need one each; libc keeps stacks, but none of this size.
            let bound = Builder::new().on(&rt).bound().stack_size(48 << 20);
            let bound = bound.spawn(|| ());
            let other = Runtime::builder().lwps(1).build();
            // What has its stack already is not concerned.
            let runs = on(&rt, || 7).join();
            drop(mappings);
            assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
            assert_eq!(
                bound.map(|_| ()).unwrap_err().raw_os_error(),
                Some(libc::EAGAIN)
            );
            assert!(other.is_err());
            assert_eq!(runs.unwrap(), 7);
            for thread in parked {
                thread.thread().unpark();
                thread.join().unwrap();
            }
            let works = large(&rt).unwrap();
            works.thread().unpark();
            works.join().unwrap();
        }
        end(rt);
    });
}
