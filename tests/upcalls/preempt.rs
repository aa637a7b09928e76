//! Full threads that are taken off their kernel thread in a signal handler.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use lisle::sync::Semaphore;
use lisle::thread::{self, Builder, JoinHandle};
use lisle::upcall::{Event, Handler};
use lisle::{Runtime, RuntimeBuilder};
use lisle_lwp::sys::Call;
use lisle_lwp::sys::fault::{self, Plan};

use super::spawn;
use crate::support::{alone, end, many, until, watchdog};

/// A runtime whose slices are short.
pub(crate) fn short_slices(lwps: usize) -> Runtime {
    let slice = Duration::from_millis(1);
    let builder = Runtime::builder().lwps(lwps).time_slice(Some(slice));
    builder.build().unwrap()
}

/// This runtime's kernel threads that carry LWPs, or did.
fn carriers(prefix: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("comm")).unwrap_or_default()
    };
    tasks
        .map(name)
        .filter(|name| name.starts_with(prefix))
        .count()
}

/// Threads that compute until told to stop; each counts its rounds.
pub(crate) struct Hogs {
    stop: Arc<AtomicBool>,
    rounds: Arc<Vec<AtomicUsize>>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    pub(crate) fn start(rt: &Runtime, count: usize, work: fn(usize)) -> Hogs {
        let stop = Arc::new(AtomicBool::new(false));
        let rounds: Arc<Vec<_>> = Arc::new((0..count).map(|_| AtomicUsize::new(0)).collect());
        let threads = (0..count)
            .map(|who| {
                let (stop, rounds) = (stop.clone(), rounds.clone());
                spawn(rt, move || {
                    while !stop.load(Ordering::Relaxed) {
                        work(who);
                        rounds[who].fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        Hogs {
            stop,
            rounds,
            threads,
        }
    }

    fn rounds(&self) -> Vec<usize> {
        let load = |rounds: &AtomicUsize| rounds.load(Ordering::Relaxed);
        self.rounds.iter().map(load).collect()
    }

    /// Waits until each has done so many rounds more.
    pub(crate) fn until_all_progress(&self, more: usize) {
        let before = self.rounds();
        until(|| {
            let mut pairs = self.rounds().into_iter().zip(&before);
            pairs.all(|(now, before)| now >= before + more)
        });
    }

    pub(crate) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|t| t.join().unwrap());
    }
}

fn spin(_: usize) {
    for _ in 0..1000 {
        std::hint::spin_loop();
    }
}

/// Threads that never call lisle all make progress, on few kernel threads.
#[test]
fn many_hogs_need_few_kernel_threads() {
    let _dog = watchdog();
    let slice = Duration::from_millis(1);
    // How many LWPs there could be does not matter.
    let builder = Runtime::builder().lwps(2).max_lwps(64);
    let builder = builder.time_slice(Some(slice)).name_prefix("hogs");
    let rt = builder.build().unwrap();
    let count = many(150);
    let hogs = Hogs::start(&rt, count, spin);
    // As soon as there is one slice for each.
    hogs.until_all_progress(1);
    let kernel_threads = carriers("hogs");
    // LWPs, as many handed over, spares, and three that watch.
    assert!(kernel_threads <= 40, "{kernel_threads} kernel threads");
    let counters = rt.upcalls();
    assert!(counters.switched as usize >= count - 40, "{counters:?}");
    assert!(counters.without_lwp() <= 30, "{counters:?}");
    hogs.stop();
    until(|| rt.upcalls().without_lwp() == 0);
    end(rt);
}

/// A thread's own slice counts also where the runtime has none.
#[test]
fn a_thread_has_a_slice_where_the_runtime_has_none() {
    let _dog = watchdog();
    let rt = Runtime::builder().lwps(1).time_slice(None);
    let rt = rt.build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    let hog = Builder::new()
        .on(&rt)
        .time_slice(Some(Duration::from_millis(1)))
        .spawn(move || {
            while !theirs.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
    let hog = hog.unwrap();
    until(|| hog.thread().info().switches > 0);
    spawn(&rt, move || stop.store(true, Ordering::Relaxed))
        .join()
        .unwrap();
    hog.join().unwrap();
    end(rt);
}

/// The alternate stack of each kernel thread, as first seen.
static STACKS: OnceLock<Mutex<HashMap<i32, usize>>> = OnceLock::new();

fn mask() -> u64 {
    let mut mask = 0u64;
    // SAFETY: only asks; the kernel's set has 8 bytes.
    unsafe {
        let none = std::ptr::null::<u64>();
        libc::syscall(libc::SYS_rt_sigprocmask, 0, none, &raw mut mask, 8);
    }
    mask
}

fn alternate_stack() -> (i32, usize) {
    loop {
        // SAFETY: only asks.
        unsafe {
            let before = libc::gettid();
            let mut stack: libc::stack_t = std::mem::zeroed();
            assert_eq!(libc::sigaltstack(std::ptr::null(), &mut stack), 0);
            if libc::gettid() == before {
                return (before, stack.ss_sp as usize);
            }
        }
    }
}

/// How this thread rounds: every other one towards zero.
#[cfg(target_arch = "x86_64")]
fn round(who: usize) -> impl Drop {
    struct Back;
    fn set(control: u32) {
        // SAFETY: changes how the thread rounds, until it is changed back.
        unsafe { std::arch::asm!("ldmxcsr [{}]", in(reg) &control) };
    }
    impl Drop for Back {
        fn drop(&mut self) {
            set(0x1f80);
        }
    }
    set(if who.is_multiple_of(2) {
        0x7f80
    } else {
        0x1f80
    });
    Back
}

#[cfg(target_arch = "aarch64")]
fn round(who: usize) -> impl Drop {
    struct Back;
    fn set(control: u64) {
        // SAFETY: changes how the thread rounds, until it is changed back.
        unsafe { std::arch::asm!("msr fpcr, {}", in(reg) control) };
    }
    impl Drop for Back {
        fn drop(&mut self) {
            set(0);
        }
    }
    set(if who.is_multiple_of(2) { 3 << 22 } else { 0 });
    Back
}

/// 1/10, rounded to nearest, is one unit larger than rounded towards zero.
#[inline(never)]
fn a_tenth(lanes: &mut [f64; 8]) {
    for lane in lanes {
        *lane = std::hint::black_box(1.0) / std::hint::black_box(10.0);
    }
}

/// Registers, vector state, rounding and errno are the thread's; mask and alternate stack those of
/// the kernel thread.
#[test]
fn what_is_a_threads_comes_along_and_what_is_not_stays() {
    let _dog = watchdog();
    // As the runtime's kernel threads inherit it.
    let expected = mask() & !(1 << (libc::SIGURG - 1));
    let rt = short_slices(2);
    static EXPECTED: OnceLock<u64> = OnceLock::new();
    EXPECTED.set(expected).unwrap();
    static MOVES: AtomicUsize = AtomicUsize::new(0);
    fn work(who: usize) {
        let _back = round(who);
        let nearest = 0.1_f64;
        let expected = match who.is_multiple_of(2) {
            true => f64::from_bits(nearest.to_bits() - 1),
            false => nearest,
        };
        let (first, _) = alternate_stack();
        // SAFETY: this thread's own word.
        unsafe { *libc::__errno_location() = 1000 + who as i32 };
        let mut lanes = [0.0; 8];
        for _ in 0..20_000 {
            a_tenth(&mut lanes);
            assert_eq!(lanes, [expected; 8], "vector state or rounding");
        }
        // SAFETY: as above.
        assert_eq!(unsafe { *libc::__errno_location() }, 1000 + who as i32);
        assert_eq!(mask(), *EXPECTED.get().unwrap());
        let (tid, stack) = alternate_stack();
        let mut stacks = STACKS.get_or_init(Mutex::default).lock().unwrap();
        assert_eq!(*stacks.entry(tid).or_insert(stack), stack);
        MOVES.fetch_add(usize::from(tid != first), Ordering::Relaxed);
        // One that was left without an LWP, because the machine was too busy for a
        // switch, comes back.
        thread::yield_now();
    }
    let hogs = Hogs::start(&rt, 12, work);
    until(|| rt.upcalls().switched >= many(200) as u64 && MOVES.load(Ordering::Relaxed) >= 5);
    hogs.until_all_progress(2);
    hogs.stop();
    end(rt);
}

/// A lock that an idle context of the runtime takes, in code of the program's.
struct Locks {
    lock: Arc<Mutex<()>>,
    armed: Arc<AtomicBool>,
    waits: Arc<AtomicBool>,
}

impl Handler for Locks {
    fn preempted(&self, _: &Event) {
        if self.armed.load(Ordering::SeqCst) {
            self.waits.store(true, Ordering::SeqCst);
            drop(self.lock.lock().unwrap());
        }
    }
}

/// The holder's part.
fn hold_until_waited_for(lock: &Mutex<()>, armed: &AtomicBool, waits: &AtomicBool) {
    let held = lock.lock().unwrap();
    armed.store(true, Ordering::SeqCst);
    while !waits.load(Ordering::SeqCst) {
        std::hint::spin_loop();
    }
    armed.store(false, Ordering::SeqCst);
    drop(held);
}

/// A kernel thread that may not be preempted waits for a lock whose holder was preempted: the holder
/// goes on, although the only LWP waits.
#[test]
fn a_preempted_holder_is_served_when_the_lwp_waits_for_it() {
    let _dog = watchdog();
    let (lock, armed, waits) = (
        Arc::new(Mutex::new(())),
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicBool::new(false)),
    );
    let handler = Locks {
        lock: lock.clone(),
        armed: armed.clone(),
        waits: waits.clone(),
    };
    let slice = Some(Duration::from_millis(1));
    let builder = Runtime::builder().lwps(1).time_slice(slice);
    let rt = builder.upcall_handler(handler).build().unwrap();
    // Others to run, so that the holder is preempted by a switch.
    let hogs = Hogs::start(&rt, 3, spin);
    hogs.until_all_progress(1);
    // On a busy machine the LWP may leave a holder that runs on instead, which then needs no rescue.
    let mut rounds = 0;
    while rounds < many(5) || rt.upcalls().rescued == 0 {
        rounds += 1;
        waits.store(false, Ordering::SeqCst);
        let (lock, armed, waits) = (lock.clone(), armed.clone(), waits.clone());
        let holder = spawn(&rt, move || {
            hold_until_waited_for(&lock, &armed, &waits);
        });
        holder.join().unwrap();
    }
    hogs.stop();
    until(|| rt.upcalls().without_lwp() == 0);
    end(rt);
}

/// So it is if the system gives no further kernel thread and many preempted threads stand before the
/// holder, none of which ends or waits: one spare serves them in turn.
#[test]
fn the_last_spare_serves_all_who_were_preempted() {
    fn deed() {
        let _dog = watchdog();
        let (lock, armed, waits) = (
            Arc::new(Mutex::new(())),
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let handler = Locks {
            lock: lock.clone(),
            armed: armed.clone(),
            waits: waits.clone(),
        };
        let slice = Some(Duration::from_millis(1));
        let builder = Runtime::builder().lwps(1).time_slice(slice);
        let rt = builder.upcall_handler(handler).build().unwrap();
        let hogs = Hogs::start(&rt, 12, spin);
        let rescued_in_a_round = || {
            waits.store(false, Ordering::SeqCst);
            let go = Arc::new(AtomicBool::new(false));
            let holder = spawn(&rt, {
                let (go, lock) = (go.clone(), lock.clone());
                let (armed, waits) = (armed.clone(), waits.clone());
                move || {
                    while !go.load(Ordering::SeqCst) {
                        std::hint::spin_loop();
                    }
                    hold_until_waited_for(&lock, &armed, &waits);
                }
            });
            hogs.until_all_progress(1);
            let refusal = fault::arm(Plan::always(Call::Clone));
            let before = rt.upcalls().rescued;
            go.store(true, Ordering::SeqCst);
            holder.join().unwrap();
            let rescued = rt.upcalls().rescued - before;
            drop(refusal);
            hogs.until_all_progress(1);
            rescued
        };
        // More than there can be spares. On a busy machine the LWP may leave a holder that runs on instead, which then
        // needs no rescue.
        while rescued_in_a_round() <= 4 {}
        hogs.stop();
        until(|| rt.upcalls().without_lwp() == 0);
        end(rt);
    }
    alone(
        "preempt::the_last_spare_serves_all_who_were_preempted",
        deed,
    );
}

/// A thread that has changed its signal mask is not switched in a handler; its LWP leaves it. So it
/// is with light threads, and without a signal.
#[test]
fn where_a_switch_is_refused_hand_over_serves() {
    let _dog = watchdog();
    fn masked(_: usize) {
        // SAFETY: a set of one signal, which nobody sends; the mask is put back.
        unsafe {
            let (mut set, mut old) = std::mem::zeroed::<(libc::sigset_t, libc::sigset_t)>();
            libc::sigemptyset(&mut set);
            libc::sigaddset(&mut set, libc::SIGUSR1);
            libc::pthread_sigmask(libc::SIG_BLOCK, &set, &mut old);
            for _ in 0..2_000_000 {
                std::hint::spin_loop();
            }
            libc::pthread_sigmask(libc::SIG_SETMASK, &old, std::ptr::null_mut());
        }
    }
    let slice = Some(Duration::from_millis(1));
    let with_signal = || Runtime::builder().lwps(1).time_slice(slice);
    let rt = with_signal().build().unwrap();
    let hogs = Hogs::start(&rt, 4, masked);
    hogs.until_all_progress(1);
    // Between two rounds one may be switched; but most time is masked. One of them
    // would be handed over in any case.
    until(|| {
        let counters = rt.upcalls();
        counters.preempted - counters.switched >= 3
    });
    hogs.stop();
    end(rt);
    let rt = with_signal().preemption_signal(None).build().unwrap();
    let hogs = Hogs::start(&rt, 4, spin);
    hogs.until_all_progress(1);
    // One may have been left because it waited for a page.
    until(|| rt.upcalls().preempted >= 3);
    assert_eq!(rt.upcalls().switched, 0);
    hogs.stop();
    end(rt);
    let rt = with_signal().build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let started = Arc::new(AtomicUsize::new(0));
    let light: Vec<_> = (0..4)
        .map(|_| {
            let (stop, started) = (stop.clone(), started.clone());
            let body = move || {
                started.fetch_add(1, Ordering::SeqCst);
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            };
            // SAFETY: the closure touches no thread-local.
            unsafe { Builder::new().on(&rt).spawn_light(body) }.unwrap()
        })
        .collect();
    until(|| started.load(Ordering::SeqCst) == 4);
    until(|| rt.upcalls().preempted >= 3);
    assert_eq!(rt.upcalls().switched, 0);
    stop.store(true, Ordering::Relaxed);
    light.into_iter().for_each(|t| t.join().unwrap());
    end(rt);
}

/// Threads that wait for each other as a server's do go on beside one that never yields and one that
/// is always in the allocator and in stdio, on one LWP.
#[test]
fn hogs_and_a_server_share_an_lwp() {
    let _dog = watchdog();
    fn allocate(who: usize) {
        let blocks: Vec<Vec<u8>> = (1..50).map(|n| vec![who as u8; n * 37]).collect();
        // SAFETY: a file of ours for each call, and a format that takes one number.
        unsafe {
            let file = libc::fopen(c"/dev/null".as_ptr(), c"w".as_ptr());
            libc::fprintf(file, c"%d\n".as_ptr(), blocks.len() as libc::c_int);
            libc::fclose(file);
        }
    }
    let rt = short_slices(1);
    let loops = Hogs::start(&rt, 1, spin);
    let allocates = Hogs::start(&rt, 2, allocate);
    let pairs: Vec<_> = (0..10)
        .map(|_| Arc::new((Semaphore::new(0), Semaphore::new(0))))
        .collect();
    let server: Vec<_> = pairs
        .iter()
        .flat_map(|pair| {
            let (one, other) = (pair.clone(), pair.clone());
            let rounds = many(500);
            [
                spawn(&rt, move || {
                    (0..rounds).for_each(|_| {
                        one.0.v();
                        one.1.p();
                    });
                }),
                spawn(&rt, move || {
                    (0..rounds).for_each(|_| {
                        other.0.p();
                        other.1.v();
                    });
                }),
            ]
        })
        .collect();
    server.into_iter().for_each(|t| t.join().unwrap());
    loops.until_all_progress(1);
    allocates.until_all_progress(1);
    assert!(rt.upcalls().switched > 0, "{:?}", rt.upcalls());
    loops.stop();
    allocates.stop();
    end(rt);
}

struct Limits(Arc<Mutex<Vec<u64>>>);

/// A runtime of one LWP, and of whom it tells that they have passed their limits.
fn with_limits() -> (RuntimeBuilder, Arc<Mutex<Vec<u64>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let builder = Runtime::builder().lwps(1).account_cpu(true);
    (builder.upcall_handler(Limits(told.clone())), told)
}

impl Handler for Limits {
    fn over_limit(&self, event: &Event) {
        let thread = event.thread.unwrap();
        self.0.lock().unwrap().push(thread.as_u64().get());
    }
}

/// The limit counts also beside the LWPs: a light thread cannot be switched, so its LWP leaves it
/// long before the limit, and it never calls lisle again.
#[test]
fn a_limit_of_cpu_time_is_told_without_an_lwp() {
    let _dog = watchdog();
    let (builder, told) = with_limits();
    let slice = Some(Duration::from_millis(1));
    let rt = builder.time_slice(slice).build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let hog = |limit: Option<Duration>| {
        let stop = stop.clone();
        let mut builder = Builder::new().on(&rt);
        if let Some(limit) = limit {
            builder = builder.cpu_limit(limit);
        }
        let body = move || {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        // SAFETY: the bodies use no thread-locals and end before the test does.
        unsafe { builder.spawn_light(body) }.unwrap()
    };
    let limit = Duration::from_millis(100);
    let limited = hog(Some(limit));
    let free = hog(None);
    // Nothing else runs, so all LWPs sleep.
    until(|| rt.upcalls().without_lwp() == 2);
    until(|| !told.lock().unwrap().is_empty());
    assert!(limited.thread().info().cpu_time.unwrap() > limit);
    until(|| free.thread().info().cpu_time.unwrap() > 2 * limit);
    assert_eq!(
        *told.lock().unwrap(),
        [limited.thread().id().as_u64().get()]
    );
    stop.store(true, Ordering::Relaxed);
    limited.join().unwrap();
    free.join().unwrap();
    assert_eq!(rt.upcalls().over_limit, 1);
    end(rt);
}

/// A thread that blocked without an LWP, for longer than the monitor looks, and then computes.
#[test]
fn a_limit_of_cpu_time_is_told_after_a_long_call() {
    let _dog = watchdog();
    let (builder, told) = with_limits();
    let rt = builder.build().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    let builder = Builder::new().on(&rt).cpu_limit(Duration::from_millis(50));
    let thread = builder.spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        while !theirs.load(Ordering::Relaxed) {
            std::hint::spin_loop();
        }
    });
    let thread = thread.unwrap();
    until(|| !told.lock().unwrap().is_empty());
    assert_eq!(rt.upcalls().unblocked, 0, "it never came back");
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    end(rt);
}

/// What the calling kernel thread has used.
fn cpu_time() -> Duration {
    // SAFETY: the place is valid.
    unsafe {
        let mut time: libc::timespec = std::mem::zeroed();
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time);
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
}

/// Two that pass their limits one right after the other are both told of.
#[test]
fn limits_of_two_threads_in_turn_are_both_told() {
    let _dog = watchdog();
    let (builder, told) = with_limits();
    // So that they give way when they like, and to each other.
    let rt = builder.time_slice(None).build().unwrap();
    let turn = move || {
        let begin = cpu_time();
        while cpu_time() - begin < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        thread::yield_now();
    };
    let limited = || {
        let builder = Builder::new().on(&rt).cpu_limit(Duration::from_millis(1));
        builder.spawn(turn).unwrap()
    };
    let many: Vec<_> = (0..10).map(|_| limited()).collect();
    let mut all: Vec<u64> = many
        .iter()
        .map(|t| t.thread().id().as_u64().get())
        .collect();
    many.into_iter().for_each(|thread| thread.join().unwrap());
    until(|| told.lock().unwrap().len() >= all.len());
    let mut told = told.lock().unwrap().clone();
    all.sort_unstable();
    told.sort_unstable();
    assert_eq!(told, all);
    end(rt);
}

/// A thread that uses more CPU time than it may is told of once; the others are not.
#[test]
fn a_limit_of_cpu_time_is_told_once() {
    let _dog = watchdog();
    let (builder, told) = with_limits();
    let rt = builder
        .time_slice(Some(Duration::from_millis(1)))
        .build()
        .unwrap();
    let hogs = Hogs::start(&rt, 2, spin);
    let stop = Arc::new(AtomicBool::new(false));
    let limit = Duration::from_millis(5);
    let limited = {
        let stop = stop.clone();
        let builder = Builder::new().on(&rt).cpu_limit(limit);
        let body = move || {
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        builder.spawn(body).unwrap()
    };
    let id = limited.thread().id().as_u64().get();
    until(|| !told.lock().unwrap().is_empty());
    assert!(limited.thread().info().cpu_time.unwrap() > limit);
    hogs.until_all_progress(100);
    assert_eq!(*told.lock().unwrap(), [id]);
    assert_eq!(rt.upcalls().over_limit, 1);
    stop.store(true, Ordering::Relaxed);
    limited.join().unwrap();
    hogs.stop();
    end(rt);
    let rt = short_slices(1);
    let refused = Builder::new().on(&rt).cpu_limit(limit).spawn(|| ());
    let error = refused.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    end(rt);
}
