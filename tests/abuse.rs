//! Abuse: threads of both kinds that block in the kernel, compute, allocate, lock, panic, are cancelled, fork, and
//! spawn others, on runtimes whose LWPs come and go, beside signals from outside, processes that want the CPUs, stops of
//! the whole process, and a debugger that attaches to all its kernel threads and goes again. Nothing is lost, nothing hangs, nothing leaks.
//!
//! | variable | meaning | default |
//! |---|---|---|
//! | `LISLE_ABUSE_SECONDS` | how long | 15 |
//! | `LISLE_ABUSE_SEED` | what is chosen | from the clock; printed |
//! | `LISLE_ABUSE_HANDOVERS` | how many hand-overs there must be at least | 1000 |
//! | `LISLE_ABUSE_LIGHT` | how many of a hundred threads are light ones | 25 |
//!
//! The seed fixes what is chosen, not how it is interleaved.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::cell::UnsafeCell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use lisle::thread::{self, Builder, JoinHandle};
use lisle::upcall::{Counters, Source};
use lisle::{Runtime, blocking};
use support::{emulated, say, skipped, until};

/// SplitMix64.
#[derive(Clone)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn micros(&mut self, most: u64) -> Duration {
        Duration::from_micros(self.below(most))
    }
}

fn number(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else {
        return default;
    };
    text.parse()
        .unwrap_or_else(|_| panic!("{name}={text} is no number"))
}

struct CMutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: a C mutex is made to be shared.
unsafe impl Sync for CMutex {}
// SAFETY: it is moved only before it is used.
unsafe impl Send for CMutex {}

/// What the threads of one runtime share.
struct World {
    rt: Runtime,
    counter: Mutex<u64>,
    changed: Condvar,
    c_mutex: CMutex,
    user_mutex: lisle::sync::Mutex<u64>,
    channel: (lisle::channel::Sender<u64>, lisle::channel::Receiver<u64>),
    file: File,
    /// How many times each lock's counter was raised.
    raised: [AtomicU64; 2],
    begun: AtomicUsize,
    ended: AtomicUsize,
    panics: AtomicUsize,
    cancels: AtomicUsize,
    light: u64,
}

/// Deeds done since the process began: while it rises, nothing hangs.
static DEEDS: AtomicU64 = AtomicU64::new(0);
static FORKS: AtomicU64 = AtomicU64::new(0);
static SIGNALS: AtomicU64 = AtomicU64::new(0);
static STOPS: AtomicU64 = AtomicU64::new(0);
/// Kernel threads that a debugger had stopped.
static ATTACHED: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Counts a thread's end, however it ends.
struct Life(Arc<World>);

impl Life {
    fn begin(world: &Arc<World>) -> Life {
        world.begun.fetch_add(1, Ordering::SeqCst);
        Life(world.clone())
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// Waits while it is dropped, which may be while unwinding.
struct WaitsInDrop;

impl Drop for WaitsInDrop {
    fn drop(&mut self) {
        thread::sleep(Duration::from_micros(100));
        thread::yield_now();
    }
}

fn start(
    world: &Arc<World>,
    random: &mut Random,
    body: impl FnOnce() + Send + 'static,
) -> JoinHandle<()> {
    let builder = Builder::new().on(&world.rt);
    let life = Life::begin(world);
    let body = move || {
        let _life = life;
        body();
    };
    match random.below(100) < world.light {
        // SAFETY: all that touches thread-locals is in leaves that are not inlined.
        true => unsafe { builder.spawn_light(body) }.unwrap(),
        false => builder.spawn(body).unwrap(),
    }
}

// Leaves: what they do knows nothing of lisle ------------------------------------------------------------------------

#[inline(never)]
fn sleep_in_kernel(time: Duration) {
    std::thread::sleep(time);
}

#[inline(never)]
fn read_a_pipe() {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors, which are then owned once.
    let (mut from, mut to): (File, File) = unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (
            OwnedFd::from_raw_fd(ends[0]).into(),
            OwnedFd::from_raw_fd(ends[1]).into(),
        )
    };
    let writer = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_micros(200));
        to.write_all(&[7]).unwrap();
    });
    let mut byte = [0];
    from.read_exact(&mut byte).unwrap();
    assert_eq!(byte, [7]);
    writer.join().unwrap();
}

#[inline(never)]
fn use_std_locks(world: &World, wait: bool) {
    let mut counter = world.counter.lock().unwrap_or_else(PoisonError::into_inner);
    *counter += 1;
    world.raised[0].fetch_add(1, Ordering::Relaxed);
    if wait {
        let time = Duration::from_micros(300);
        let waited = world.changed.wait_timeout(counter, time);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    } else {
        world.changed.notify_all();
    }
}

#[inline(never)]
fn use_a_c_mutex(world: &World, hold: Duration) {
    // SAFETY: initialised, at a fixed place; locked and unlocked by the same thread.
    unsafe {
        assert_eq!(libc::pthread_mutex_lock(world.c_mutex.0.get()), 0);
        std::thread::sleep(hold);
        assert_eq!(libc::pthread_mutex_unlock(world.c_mutex.0.get()), 0);
    }
}

#[inline(never)]
fn flock(world: &World) {
    let path = format!("/proc/self/fd/{}", world.file.as_raw_fd());
    let own = File::open(path).unwrap();
    // SAFETY: an open descriptor; closing it unlocks.
    let locked = unsafe { libc::flock(own.as_raw_fd(), libc::LOCK_EX) };
    assert_eq!(locked, 0);
    std::thread::sleep(Duration::from_micros(50));
}

#[inline(never)]
fn compute(time: Duration) {
    let until = Instant::now() + time;
    while Instant::now() < until {
        (0..100).for_each(|_| std::hint::spin_loop());
    }
}

#[inline(never)]
fn allocate_and_print(times: u64) {
    // SAFETY: the stream is checked, the blocks are the allocator's, the format has its argument.
    unsafe {
        let file = libc::fopen(c"/dev/null".as_ptr(), c"w".as_ptr());
        assert!(!file.is_null());
        for n in 0..times {
            let block = libc::malloc(16 + (n as usize * 37) % 5000);
            libc::fprintf(file, c"%p\n".as_ptr(), block);
            libc::free(block);
        }
        libc::fclose(file);
    }
}

#[inline(never)]
fn fault_pages(world: &World) {
    // SAFETY: a new mapping of an open file that nobody shortens, read within its bounds and unmapped once.
    unsafe {
        let fd = world.file.as_raw_fd();
        libc::posix_fadvise(fd, 0, 0, libc::POSIX_FADV_DONTNEED);
        let map = libc::mmap(
            std::ptr::null_mut(),
            PAGES << 12,
            libc::PROT_READ,
            libc::MAP_SHARED,
            fd,
            0,
        );
        assert_ne!(map, libc::MAP_FAILED);
        for page in 0..PAGES {
            assert_eq!(map.cast::<u8>().add(page << 12).read_volatile(), 7);
        }
        libc::munmap(map, PAGES << 12);
    }
}

const PAGES: usize = 64;

#[inline(never)]
fn fork_and_wait() {
    // SAFETY: the child ends at once, without running anything of the parent's.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            libc::_exit(7);
        }
        if pid < 0 {
            return; // the system has enough
        }
        let mut status = 0;
        while libc::waitpid(pid, &mut status, 0) < 0 {
            let interrupted = std::io::Error::last_os_error();
            assert_eq!(interrupted.kind(), std::io::ErrorKind::Interrupted);
        }
        assert_eq!(libc::WEXITSTATUS(status), 7);
    }
    FORKS.fetch_add(1, Ordering::Relaxed);
}

// What a thread does -------------------------------------------------------------------------------------------------

fn act(world: &Arc<World>, random: &mut Random, depth: u32) {
    DEEDS.fetch_add(1, Ordering::Relaxed);
    match random.below(32) {
        0..=2 => sleep_in_kernel(random.micros(600)),
        3 => read_a_pipe(),
        4 | 5 => use_std_locks(world, random.one_in(3)),
        6 => use_a_c_mutex(world, random.micros(200)),
        7 => flock(world),
        8 => compute(random.micros(4_000)),
        9 => compute(random.micros(100)),
        10 => allocate_and_print(random.below(300)),
        11 => fault_pages(world),
        12 | 13 => {
            let time = random.micros(300);
            blocking(|| sleep_in_kernel(time));
        }
        14 => blocking(|| ()),
        15 => thread::sleep(random.micros(300)),
        16 | 17 => (0..random.below(20)).for_each(|_| thread::yield_now()),
        18 => thread::park_timeout(random.micros(200)),
        19 => {
            let mut user = world.user_mutex.lock().unwrap();
            *user += 1;
            world.raised[1].fetch_add(1, Ordering::Relaxed);
            if random.one_in(4) {
                sleep_in_kernel(random.micros(100));
            }
        }
        20 => {
            let _ = world.channel.0.try_send(random.next());
        }
        21 => {
            let _ = world.channel.1.recv_timeout(random.micros(200));
        }
        22 => world
            .rt
            .set_lwps(1 + random.below(world.rt.max_lwps() as u64) as usize)
            .unwrap(),
        23 if depth < 2 => spawn_and_join(world, random, depth),
        24 if depth < 2 => cancel_one(world, random),
        25 if depth < 2 => panic_in_one(world, random),
        26 if depth < 2 => scope_of_some(random),
        27 if random.one_in(20) => fork_and_wait(),
        28 => assert!(!lisle::thread::list().is_empty()),
        29 => drop(world.rt.kernel_threads().to_string()),
        _ => {
            thread::yield_now();
        }
    }
}

fn spawn_and_join(world: &Arc<World>, random: &mut Random, depth: u32) {
    let (mut other, inner) = (Random(random.next()), world.clone());
    let deeds = random.below(8);
    let child = start(world, random, move || {
        (0..deeds).for_each(|_| act(&inner, &mut other, depth + 1));
    });
    child.join().unwrap();
}

fn cancel_one(world: &Arc<World>, random: &mut Random) {
    let time = random.micros(200);
    let child = start(world, random, move || {
        let _waits = WaitsInDrop;
        sleep_in_kernel(time);
        // For ever, but for the cancel.
        thread::sleep(Duration::from_secs(3_600));
    });
    thread::sleep(random.micros(300));
    child.thread().cancel();
    let payload = child.join().unwrap_err();
    assert!(payload.is::<lisle::cancel::Cancelled>());
    world.cancels.fetch_add(1, Ordering::Relaxed);
}

fn panic_in_one(world: &Arc<World>, random: &mut Random) {
    let waits = random.one_in(2);
    let child = start(world, random, move || {
        let _waits = waits.then_some(WaitsInDrop);
        sleep_in_kernel(Duration::from_micros(50));
        std::panic::resume_unwind(Box::new(5_u8));
    });
    assert!(child.join().unwrap_err().is::<u8>());
    world.panics.fetch_add(1, Ordering::Relaxed);
}

fn scope_of_some(random: &mut Random) {
    let sum = AtomicU64::new(0);
    let count = random.below(5);
    let time = random.micros(300);
    thread::scope(|scope| {
        for n in 0..count {
            let sum = &sum;
            scope.spawn(move || {
                if n % 2 == 0 {
                    sleep_in_kernel(time);
                }
                sum.fetch_add(n, Ordering::Relaxed);
            });
        }
    });
    assert_eq!(sum.into_inner(), count * count.saturating_sub(1) / 2);
}

// The world around ---------------------------------------------------------------------------------------------------

fn kernel_threads() -> Vec<libc::pid_t> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let number = |task: std::fs::DirEntry| task.file_name().to_str()?.parse().ok();
    tasks.filter_map(number).collect()
}

/// What a debugger does: a process attaches to every kernel thread, looks around, and detaches. (Where the system does not
/// let it, to none.)
fn attach_a_debugger(look: Duration) {
    let mut threads = kernel_threads();
    // SAFETY: the child makes system calls only, and writes to what it has got a copy of.
    unsafe {
        // Where only parents may: anybody may, now.
        libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY, 0, 0, 0);
        let debugger = libc::fork();
        if debugger == 0 {
            let mut attached = 0;
            for thread in &mut threads {
                let stopped = trace(libc::PTRACE_ATTACH, *thread, 0) && wait_for_stop(*thread);
                attached += i32::from(stopped);
                *thread *= i32::from(stopped);
            }
            let look = libc::timespec {
                tv_sec: 0,
                tv_nsec: look.subsec_nanos().into(),
            };
            libc::nanosleep(&raw const look, std::ptr::null_mut());
            for &thread in threads.iter().filter(|&&thread| thread != 0) {
                trace(libc::PTRACE_DETACH, thread, 0);
            }
            libc::_exit(attached.min(99));
        }
        let mut status = 0;
        if debugger > 0 && libc::waitpid(debugger, &raw mut status, 0) == debugger {
            assert!(libc::WIFEXITED(status), "the debugger failed");
            ATTACHED.fetch_add(libc::WEXITSTATUS(status) as u64, Ordering::Relaxed);
        }
    }
}

/// Whether the thread has stopped because it was attached to, and not ended. Other signals that it gets meanwhile, it gets.
///
/// # Safety
/// For the child of a fork.
unsafe fn wait_for_stop(thread: libc::pid_t) -> bool {
    let mut status = 0;
    loop {
        // SAFETY: waits for what the caller traces.
        let stopped = unsafe { libc::waitpid(thread, &raw mut status, libc::__WALL) } == thread;
        if !stopped || !libc::WIFSTOPPED(status) {
            return false;
        }
        match libc::WSTOPSIG(status) {
            libc::SIGSTOP => return true,
            // SAFETY: passed on.
            signal => _ = unsafe { trace(libc::PTRACE_CONT, thread, signal) },
        }
    }
}

/// # Safety
/// For the child of a fork; none of these requests reads or writes memory.
unsafe fn trace(request: libc::c_uint, thread: libc::pid_t, signal: libc::c_int) -> bool {
    let nowhere = std::ptr::null_mut::<libc::c_void>();
    // SAFETY: see above.
    unsafe { libc::ptrace(request, thread, nowhere, libc::c_long::from(signal)) == 0 }
}

/// Sends signals to the process and its kernel threads, stops it now and then, and has a debugger attach, until told to
/// end.
fn harass(stop: &AtomicBool, mut random: Random) {
    let own = std::process::id() as libc::pid_t;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(random.micros(3_000));
        // SAFETY: sends signals that have a handler, to kernel threads that may have ended.
        unsafe {
            if random.one_in(4) {
                libc::kill(own, libc::SIGUSR1);
            } else {
                let threads = kernel_threads();
                let thread = threads[random.below(threads.len() as u64) as usize];
                libc::syscall(libc::SYS_tgkill, own, thread, libc::SIGUSR1);
            }
        }
        if random.one_in(300) && !emulated() {
            attach_a_debugger(random.micros(5_000));
        }
        // Once at least, however slow the machine is.
        if random.one_in(300) || STOPS.load(Ordering::Relaxed) == 0 {
            let script = format!(
                "kill -STOP {own}; sleep 0.0{}; kill -CONT {own}",
                1 + random.below(8)
            );
            let status = Command::new("sh").args(["-c", &script]).status();
            STOPS.fetch_add(
                u64::from(status.is_ok_and(|status| status.success())),
                Ordering::Relaxed,
            );
        }
    }
}

/// Processes that compute, until dropped.
struct Rivals(Vec<Child>);

impl Rivals {
    fn start(count: u64) -> Rivals {
        let start = |_| {
            let mut command = Command::new("sh");
            // Not for ever, should nobody be left to kill it.
            command.args(["-c", "n=0; while [ $n -lt 5000000 ]; do n=$((n+1)); done"]);
            command.stdin(Stdio::null()).spawn().unwrap()
        };
        Rivals((0..count).map(start).collect())
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

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// What must not be more once all runtimes have ended.
#[derive(Debug)]
struct Held {
    descriptors: usize,
    stacks: usize,
}

impl Held {
    fn now() -> Held {
        Held {
            descriptors: entries("/proc/self/fd"),
            stacks: support::stacks(),
        }
    }

    fn is_within(&self, before: &Held) -> bool {
        self.descriptors <= before.descriptors && self.stacks <= before.stacks
    }
}

/// A file of some pages that are not all in memory.
fn pages() -> File {
    let path = std::env::temp_dir().join(format!("lisle-abuse-{}", std::process::id()));
    let mut options = File::options();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .unwrap();
    std::fs::remove_file(path).unwrap();
    file.write_all(&vec![7; PAGES << 12]).unwrap();
    file.sync_all().unwrap();
    file
}

/// One runtime and its threads, from beginning to end.
fn epoch(random: &mut Random, rivals: u64) -> (Counters, u64) {
    let most = 1 + random.below(4) as usize;
    let slice = [1, 2, 10][random.below(3) as usize];
    let source = match random.below(4) {
        0 => Source::Monitor,
        _ => Source::Auto,
    };
    let rt = Runtime::builder()
        .lwps(1 + random.below(most as u64) as usize)
        .max_lwps(most)
        .spares(random.below(6) as usize)
        .upcalls(source)
        .time_slice(Some(Duration::from_millis(slice)))
        .build()
        .unwrap();
    let world = Arc::new(World {
        rt: rt.clone(),
        counter: Mutex::new(0),
        changed: Condvar::new(),
        c_mutex: CMutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)),
        user_mutex: lisle::sync::Mutex::new(0),
        channel: lisle::channel::bounded(8),
        file: pages(),
        raised: [AtomicU64::new(0), AtomicU64::new(0)],
        begun: AtomicUsize::new(0),
        ended: AtomicUsize::new(0),
        panics: AtomicUsize::new(0),
        cancels: AtomicUsize::new(0),
        light: number("LISLE_ABUSE_LIGHT", 25),
    });
    let _rivals = Rivals::start(rivals);
    let deeds = if emulated() { 10 } else { 60 };
    let threads: Vec<_> = (0..8 + random.below(60))
        .map(|_| {
            let (mut own, inner) = (Random(random.next()), world.clone());
            start(&world, random, move || {
                (0..deeds).for_each(|_| act(&inner, &mut own, 0));
            })
        })
        .collect();
    threads.into_iter().for_each(|t| t.join().unwrap());
    let world = Arc::into_inner(world).expect("no thread keeps it");
    finish(rt, world)
}

fn finish(rt: Runtime, world: World) -> (Counters, u64) {
    assert_eq!(
        world.begun.into_inner(),
        world.ended.into_inner(),
        "a thread has not ended"
    );
    let [std_lock, user_lock] = world.raised.map(AtomicU64::into_inner);
    assert_eq!(
        world
            .counter
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner),
        std_lock
    );
    assert_eq!(world.user_mutex.into_inner().unwrap(), user_lock);
    drop(world.rt);
    let watch = rt.clone();
    rt.shutdown(Duration::from_secs(30)).unwrap();
    // Those who leave and those who take count apart from each other, a thread that has ended
    // after it was joined: all have when their kernel threads have ended.
    let taken_back = watch.lwp_list().iter().map(|lwp| lwp.taken_back).sum();
    (watch.upcalls(), taken_back)
}

/// How many LWPs went on without their kernel thread. (Who makes way in a handler leaves no kernel thread behind.)
fn handovers(counters: &Counters) -> u64 {
    (counters.blocked + counters.preempted + counters.rescued).wrapping_sub(counters.switched)
}

/// Aborts, with a report, if nothing happens for long.
fn watch_progress(stop: &AtomicBool) {
    let limit = if emulated() { 600 } else { 60 };
    let (mut last, mut since) = (0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(100));
        let deeds = DEEDS.load(Ordering::Relaxed);
        if deeds != last {
            (last, since) = (deeds, Instant::now());
        } else if since.elapsed() > Duration::from_secs(limit) {
            support::report_and_abort(&format!("nothing happens after {deeds} deeds"));
        }
    }
}

#[test]
fn abuse() {
    let clock = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    let seed = number("LISLE_ABUSE_SEED", clock.as_nanos() as u64);
    let seconds = number("LISLE_ABUSE_SECONDS", 15);
    say(&format!("abuse: LISLE_ABUSE_SEED={seed}, {seconds} s\n"));
    let mut random = Random(seed);
    // SAFETY: a handler that only counts; interrupted calls go on.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = on_signal as extern "C" fn(libc::c_int) as libc::sighandler_t;
        action.sa_flags = libc::SA_RESTART | libc::SA_ONSTACK;
        assert_eq!(
            libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()),
            0
        );
    }
    let before = Held::now();
    let stop = Arc::new(AtomicBool::new(false));
    let around: Vec<_> = [random.next(), 0]
        .map(|seed| {
            let stop = stop.clone();
            std::thread::spawn(move || match seed {
                0 => watch_progress(&stop),
                _ => harass(&stop, Random(seed)),
            })
        })
        .into();
    let mut sum = Counters::default();
    let (mut taken_back, mut epochs) = (0, 0);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) || epochs < 4 {
        let rivals = if random.one_in(4) {
            1 + random.below(2)
        } else {
            0
        };
        let (counters, back) = epoch(&mut random, rivals);
        taken_back += back;
        sum.added += counters.added;
        sum.blocked += counters.blocked;
        sum.preempted += counters.preempted;
        sum.unblocked += counters.unblocked;
        sum.retired += counters.retired;
        sum.switched += counters.switched;
        sum.rescued += counters.rescued;
        epochs += 1;
    }
    stop.store(true, Ordering::Relaxed);
    around.into_iter().for_each(|t| t.join().unwrap());
    let handovers = handovers(&sum);
    say(&format!(
        "abuse: seed {seed}, {:.0} s, {epochs} runtimes, {} deeds, {handovers} hand-overs ({} blocked, {} preempted), \
         {} made way in a handler, {} rescued, {} back, {taken_back} offers taken back, {} added, {} retired, {} forks, {} signals, {} stops, {} kernel threads debugged\n",
        began.elapsed().as_secs_f64(),
        DEEDS.load(Ordering::Relaxed),
        sum.blocked,
        sum.preempted,
        sum.switched,
        sum.rescued,
        sum.unblocked,
        sum.added,
        sum.retired,
        FORKS.load(Ordering::Relaxed),
        SIGNALS.load(Ordering::Relaxed),
        STOPS.load(Ordering::Relaxed),
        ATTACHED.load(Ordering::Relaxed),
    ));
    if ATTACHED.load(Ordering::Relaxed) == 0 {
        skipped(if emulated() {
            "abuse by a debugger (an emulator's threads cannot be traced)"
        } else {
            "abuse by a debugger (the system does not let one attach, or the time was too short)"
        });
    }
    let around = [&FORKS, &SIGNALS, &STOPS].map(|count| count.load(Ordering::Relaxed));
    assert!(
        emulated() || around.iter().all(|&n| n > 0),
        "the world around kept still"
    );
    assert_eq!(
        sum.unblocked, handovers,
        "a thread was left and has not come back"
    );
    let transitions = [
        sum.added,
        sum.blocked,
        sum.preempted,
        sum.unblocked,
        taken_back,
    ];
    assert!(
        transitions.iter().all(|&n| n > 0),
        "a transition of the owner word did not happen"
    );
    assert!(sum.retired > 0 && SIGNALS.load(Ordering::Relaxed) > 0);
    let least = if emulated() { 10 } else { 1_000 };
    assert!(handovers >= number("LISLE_ABUSE_HANDOVERS", least));
    // Kernel threads end a little after they have been joined.
    until(|| entries("/proc/self/task") <= 3);
    for _ in 0..5_000 {
        if Held::now().is_within(&before) {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("a leak: {before:?} before, {:?} after", Held::now());
}
