//! Preempted threads that hold locks of code which knows nothing of lisle: the allocator's, stdio's, the dynamic
//! loader's, std's. Each variant has a process to itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lisle_lwp::owner;
use lisle_lwp::sys::Call;
use lisle_lwp::sys::fault::{self, Plan};

use super::preempt::{Hogs, short_slices};
use super::{pipe, spawn};
use crate::support::{emulated, end, in_child, many, skipped, stderr, stdout, until, watchdog};

static WRITTEN: AtomicUsize = AtomicUsize::new(0);
static SHARED: Mutex<Vec<u64>> = Mutex::new(Vec::new());

struct Stream(*mut libc::FILE);
// SAFETY: stdio locks its streams.
unsafe impl Sync for Stream {}
// SAFETY: as above.
unsafe impl Send for Stream {}
static STREAM: Mutex<Option<&'static Stream>> = Mutex::new(None);

/// How long it is from one call of lisle to the next: several slices, however fast the machine, so that slices
/// end in the midst of the deeds.
const BETWEEN_CALLS: Duration = Duration::from_millis(5);

fn allocate(who: usize) {
    let mut kept: Vec<Box<[u8]>> = Vec::new();
    for n in 1..200 {
        let block = vec![who as u8; (n * 31) % 3000 + 1].into_boxed_slice();
        if n % 3 == 0 {
            kept.push(block);
        }
    }
    assert!(
        kept.iter()
            .all(|block| block.iter().all(|&byte| byte == who as u8))
    );
}

fn write(_: usize) {
    let stream = *STREAM.lock().unwrap();
    for n in 0..100 {
        // SAFETY: an open stream, and a format that takes one number.
        let wrote =
            unsafe { libc::fprintf(stream.unwrap().0, c"%08d\n".as_ptr(), n as libc::c_int) };
        assert_eq!(wrote, 9);
        WRITTEN.fetch_add(9, Ordering::Relaxed);
    }
}

fn load(_: usize) {
    // SAFETY: a library of the system's that does nothing when loaded.
    unsafe {
        let library = libc::dlopen(c"libm.so.6".as_ptr(), libc::RTLD_NOW);
        assert!(!library.is_null());
        assert!(!libc::dlsym(library, c"cos".as_ptr()).is_null());
        libc::dlclose(library);
    }
}

fn lock(who: usize) {
    for _ in 0..100 {
        let mut shared = SHARED.lock().unwrap();
        shared.push(who as u64);
        if shared.len() > 1000 {
            shared.clear();
        }
    }
}

/// One that has blocked keeps its kernel thread until it calls lisle; if none ever did, all would sooner or
/// later compute without an LWP, and nobody would be preempted any more.
fn work(who: usize) {
    let begin = Instant::now();
    while begin.elapsed() < BETWEEN_CALLS {
        match who % 4 {
            0 => allocate(who),
            1 => write(who),
            2 => load(who),
            _ => lock(who),
        }
    }
    lisle::thread::yield_now();
}

/// Sixteen threads on two LWPs, then on one, until there were enough switches and everybody got on.
fn storm() {
    let _dog = watchdog();
    let mut buffer: *mut libc::c_char = std::ptr::null_mut();
    let mut size = 0usize;
    // SAFETY: both places outlive the stream.
    let stream = unsafe { libc::open_memstream(&mut buffer, &mut size) };
    *STREAM.lock().unwrap() = Some(Box::leak(Box::new(Stream(stream))));
    for lwps in [2, 1] {
        let rt = short_slices(lwps);
        let hogs = Hogs::start(&rt, 16, work);
        until(|| rt.upcalls().switched >= 100);
        hogs.until_all_progress(5);
        hogs.stop();
        until(|| rt.upcalls().without_lwp() == 0);
        println!("{lwps} LWPs: {:?}", rt.upcalls());
        end(rt);
    }
    // SAFETY: nobody uses the stream any more.
    unsafe { libc::fclose(stream) };
    assert_eq!(
        size,
        WRITTEN.load(Ordering::Relaxed),
        "nothing lost, nothing twice"
    );
}

fn variant(test: &str, what: &str, variables: &[(&str, &str)]) {
    let output = in_child(test, variables, storm);
    let (out, err) = (stdout(&output), stderr(&output));
    assert!(
        output.status.success(),
        "{what}: {}\n{out}\n{err}",
        output.status
    );
    assert!(!err.contains("cannot be preloaded"), "{what}: {err}");
    assert!(out.contains("1 LWPs"), "{what}: {out}");
}

#[test]
fn the_systems_allocator() {
    variant("foreign::the_systems_allocator", "as it is", &[]);
}

#[test]
fn the_systems_allocator_with_one_arena() {
    let one = [
        ("MALLOC_ARENA_MAX", "1"),
        ("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0"),
    ];
    variant(
        "foreign::the_systems_allocator_with_one_arena",
        "one arena",
        &one,
    );
}

/// Those that are installed: Debian's libjemalloc2 and libmimalloc2.0; or named in LISLE_TEST_ALLOCATORS,
/// with colons between.
#[test]
fn other_allocators() {
    let named = std::env::var("LISLE_TEST_ALLOCATORS").unwrap_or_default();
    let mut libraries: Vec<String> = named.split(':').map(str::to_owned).collect();
    for directory in ["/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu"] {
        libraries.push(format!("{directory}/libjemalloc.so.2"));
        libraries.push(format!("{directory}/libmimalloc.so.2"));
    }
    libraries.retain(|path| !path.is_empty() && std::path::Path::new(path).exists());
    if emulated() {
        return skipped("other allocators (they are the machine's, for the wrong processor)");
    }
    if libraries.is_empty() {
        return skipped("other allocators (neither jemalloc nor mimalloc is here)");
    }
    for library in libraries {
        variant(
            "foreign::other_allocators",
            &library,
            &[("LD_PRELOAD", &library)],
        );
    }
}

/// The same where the kernel refuses membarrier: every entry runs a fence.
#[test]
fn without_membarrier() {
    fn deed() {
        let plan = fault::arm(Plan::always(Call::Membarrier));
        storm();
        assert!(owner::has_fences() && plan.fired() > 0);
        let rt = short_slices(1);
        for _ in 0..many(20) {
            let (mut from, mut to) = pipe();
            let reader = spawn(&rt, move || {
                std::io::Read::read_exact(&mut from, &mut [0]).unwrap()
            });
            let writer = spawn(&rt, move || {
                std::io::Write::write_all(&mut to, &[7]).unwrap()
            });
            reader.join().unwrap();
            writer.join().unwrap();
        }
        assert!(rt.upcalls().blocked > 0);
        end(rt);
        drop(plan);
    }
    let output = in_child("foreign::without_membarrier", &[], deed);
    let (out, err) = (stdout(&output), stderr(&output));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
}
