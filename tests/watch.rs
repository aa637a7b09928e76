//! What a program can see of its kernel threads and upcalls, and what the monitor does when no LWP can.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use lisle::thread::{self, Builder, JoinHandle, State};
use lisle::upcall::{Doing, Handler, KernelThreads, Kind, Source};
use lisle::{Runtime, RuntimeBuilder};
use lisle_lwp::sys::{Call, fault};
use support::{alone, end, until, watchdog};

/// Faults are the process's: one test at a time.
fn exclusive() -> impl Drop {
    fault::exclusive()
}

fn spawn<T: Send + 'static>(rt: &Runtime, f: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    Builder::new().on(rt).name("busy".into()).spawn(f).unwrap()
}

fn pipe() -> (File, File) {
    let mut ends = [0; 2];
    // SAFETY: writes two descriptors, which are then owned once.
    unsafe {
        assert_eq!(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC), 0);
        (
            OwnedFd::from_raw_fd(ends[0]).into(),
            OwnedFd::from_raw_fd(ends[1]).into(),
        )
    }
}

fn one() -> RuntimeBuilder {
    Runtime::builder().lwps(1)
}

/// A thread that computes until told to stop, and does compute by now.
struct Hog(Arc<AtomicBool>, JoinHandle<()>);

impl Hog {
    fn start(rt: &Runtime) -> Hog {
        let running = Arc::new(AtomicBool::new(false));
        let hog = Hog::spawn(rt, running.clone());
        until(|| running.load(Ordering::SeqCst));
        hog
    }

    /// One that says when it computes.
    fn spawn(rt: &Runtime, running: Arc<AtomicBool>) -> Hog {
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = stop.clone();
        let body = move || {
            running.store(true, Ordering::SeqCst);
            while !theirs.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        Hog(stop, spawn(rt, body))
    }

    fn end(self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.join().unwrap();
    }
}

/// Threads without an LWP are counted, by what they do.
#[test]
fn who_blocks_and_who_runs_beyond_the_lwps() {
    let _faults = exclusive();
    let _dog = watchdog();
    let rt = one().build().unwrap();
    let hog = Hog::start(&rt);
    let (mut from, mut to) = pipe();
    // It runs only when the hog has been preempted.
    let reader = spawn(&rt, move || from.read_exact(&mut [0]).unwrap());
    let ids = [hog.1.thread().id(), reader.thread().id()].map(Some);
    until(|| rt.kernel_threads().left.len() == 2);
    until(|| rt.kernel_threads().running() == 1);
    let seen = rt.kernel_threads();
    assert_eq!(
        (seen.blocked(), seen.running(), seen.refused),
        (1, 1, 0),
        "{seen}"
    );
    let of = |id| seen.left.iter().find(|left| left.thread == id).unwrap();
    assert_eq!(of(ids[0]).doing, Some(Doing::Running));
    assert_eq!(of(ids[0]).name.as_deref(), Some("busy"));
    assert_eq!(of(ids[1]).doing, Some(Doing::Call(libc::SYS_read)));
    assert!(seen.to_string().contains("waits in read"), "{seen}");
    assert_eq!(rt.upcalls().without_lwp(), 2);
    hog.end();
    to.write_all(&[7]).unwrap();
    reader.join().unwrap();
    until(|| rt.kernel_threads().left.is_empty());
    // Each LWP's log tells the story of its own.
    let story: Vec<_> = rt.upcall_log_of(0).iter().map(|event| event.kind).collect();
    assert_eq!(story[0], Kind::Added);
    for kind in [Kind::Preempted, Kind::Blocked, Kind::Unblocked] {
        assert!(story.contains(&kind), "{story:?}");
    }
    // Who has been joined may be on its way out, and be left and come back once more.
    until(|| {
        let upcalls = rt.lwp_list()[0].upcalls;
        upcalls.blocked + upcalls.preempted == upcalls.unblocked + upcalls.switched
    });
    end(rt);
}

#[derive(Clone, Default)]
struct Refused(Arc<AtomicUsize>);

impl Handler for Refused {
    fn refused(&self, threads: &KernelThreads) {
        assert!(threads.refused > 0);
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// If the system refuses a kernel thread the LWP waits with its thread, and the report says for what; the others
/// go on as soon as the system gives in.
#[test]
fn a_refused_kernel_thread_is_reported() {
    let _faults = exclusive();
    let _dog = watchdog();
    let told = Refused::default();
    for round in 1..=3 {
        let rt = one()
            .spares(0)
            .warm_threads(4)
            // With one the reader would be made to give way to the other after a while.
            .preemption_signal(None)
            .upcall_handler(told.clone())
            .build()
            .unwrap();
        spawn(&rt, || ()).join().unwrap();
        let refuse = fault::arm(fault::Plan::always(Call::Clone));
        let (mut from, mut to) = pipe();
        let reader = spawn(&rt, move || from.read_exact(&mut [0]).unwrap());
        let (id, ran) = (reader.thread().id(), Arc::new(AtomicBool::new(false)));
        let other = spawn(&rt, {
            let ran = ran.clone();
            move || ran.store(true, Ordering::SeqCst)
        });
        until(|| told.0.load(Ordering::SeqCst) == round && !rt.kernel_threads().waiting.is_empty());
        let seen = rt.kernel_threads();
        let waiting = &seen.waiting[0];
        assert_eq!(waiting.thread, Some(id), "{seen}");
        assert_eq!(waiting.doing, Some(Doing::Call(libc::SYS_read)), "{seen}");
        assert_eq!(waiting.lwp.unwrap().0, 0);
        assert!(!ran.load(Ordering::SeqCst) && seen.refused > 0);
        drop(refuse);
        other.join().unwrap();
        assert_eq!(told.0.load(Ordering::SeqCst), round, "told once");
        to.write_all(&[7]).unwrap();
        reader.join().unwrap();
        end(rt);
    }
}

/// Adding stops where the system refuses, and can be tried again.
#[test]
fn a_refused_lwp_is_an_error() {
    let _faults = exclusive();
    let _dog = watchdog();
    let rt = one()
        .max_lwps(3)
        .spares(0)
        .upcalls(Source::Off)
        .build()
        .unwrap();
    let refuse = fault::arm(fault::Plan::always(Call::Clone));
    assert!(rt.set_lwps(3).is_err());
    assert_eq!(rt.lwps(), 1);
    drop(refuse);
    rt.set_lwps(3).unwrap();
    until(|| rt.kernel_threads().lwps == 3);
    assert_eq!(spawn(&rt, || 5).join().unwrap(), 5);
    end(rt);
}

/// What the system permits decides, and what is lost is said.
#[test]
fn the_source_is_probed_and_can_be_forced() {
    let _faults = exclusive();
    let _dog = watchdog();
    let source = |rt: &Runtime| rt.upcall_source();
    let rt = one().build().unwrap();
    let info = source(&rt);
    assert_eq!(info.source, Source::Sentinels, "{info}");
    assert!(
        info.preempts && info.kernel_states && info.lost().is_empty(),
        "{info}"
    );
    // They come when the monitor sees an LWP at work.
    let stop = Arc::new(AtomicBool::new(false));
    let theirs = stop.clone();
    let busy = spawn(&rt, move || {
        while !theirs.load(Ordering::Relaxed) {
            thread::yield_now();
        }
    });
    until(|| source(&rt).sentinels > 0);
    stop.store(true, Ordering::Relaxed);
    busy.join().unwrap();
    end(rt);
    for (wanted, lost) in [(Source::Monitor, 1), (Source::Off, 1)] {
        let rt = one().upcalls(wanted).build().unwrap();
        assert_eq!(source(&rt).source, wanted);
        assert_eq!(source(&rt).lost().len(), lost, "{}", source(&rt));
        end(rt);
    }
    let refuse = fault::arm(fault::Plan::always(Call::Sched));
    let refused = one().upcalls(Source::Sentinels).build().unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::Unsupported);
    let rt = one().time_slice(None).build().unwrap();
    let info = source(&rt);
    assert_eq!((info.source, info.sentinels), (Source::Monitor, 0));
    assert_eq!(info.lost().len(), 3, "{info}");
    // It works all the same.
    let (mut from, mut to) = pipe();
    let reader = spawn(&rt, move || from.read_exact(&mut [0]).unwrap());
    spawn(&rt, move || to.write_all(&[7]).unwrap())
        .join()
        .unwrap();
    reader.join().unwrap();
    drop(refuse);
    end(rt);
}

/// Without `/proc`, too.
#[test]
fn without_proc_it_works() {
    let _faults = exclusive();
    let _dog = watchdog();
    let refuse = fault::arm(fault::Plan::always(Call::Open));
    let rt = one().build().unwrap();
    assert_eq!(rt.upcall_source().source, Source::Monitor);
    let (mut from, mut to) = pipe();
    let reader = spawn(&rt, move || from.read_exact(&mut [0]).unwrap());
    spawn(&rt, move || to.write_all(&[7]).unwrap())
        .join()
        .unwrap();
    reader.join().unwrap();
    drop(refuse);
    end(rt);
}

/// A thread that keeps the only LWP, and may, does not keep deadlines and readiness.
#[test]
fn the_monitor_serves_if_no_lwp_does() {
    let _faults = exclusive();
    let _dog = watchdog();
    let rt = one().time_slice(None).build().unwrap();
    let listener = {
        let bind = || lisle::net::TcpListener::bind("127.0.0.1:0").unwrap();
        spawn(&rt, bind).join().unwrap()
    };
    let address = listener.local_addr().unwrap();
    // Bound: it needs no LWP to run, only somebody who looks at its socket.
    let bound = Builder::new().on(&rt).bound();
    let server = bound
        .spawn(move || listener.accept().unwrap().0.read(&mut [0]).unwrap())
        .unwrap();
    // The hog stands behind the sleeper, and has the LWP as soon as that one sleeps.
    let go = Arc::new(AtomicBool::new(false));
    let sleeper = spawn(&rt, {
        let go = go.clone();
        move || {
            while !go.load(Ordering::SeqCst) {
                std::hint::spin_loop();
            }
            thread::sleep(Duration::from_millis(20));
        }
    });
    support::until_state(sleeper.thread(), State::Running);
    let running = Arc::new(AtomicBool::new(false));
    let hog = Hog::spawn(&rt, running.clone());
    go.store(true, Ordering::SeqCst);
    until(|| running.load(Ordering::SeqCst));
    let mut client = std::net::TcpStream::connect(address).unwrap();
    client.write_all(&[7]).unwrap();
    assert_eq!(server.join().unwrap(), 1);
    support::until_state(sleeper.thread(), State::Ready);
    assert_eq!(rt.upcalls().preempted, 0);
    hog.end();
    sleeper.join().unwrap();
    end(rt);
}

/// How often each kernel thread of this process has gone to sleep, by its name.
fn sleeps(prefix: &str) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for task in std::fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |file: &str| std::fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let (name, status) = (read("comm"), read("status"));
        if name.starts_with(prefix) {
            let switches = status.lines().filter(|line| line.contains("ctxt_switches"));
            all.push((name, switches.collect()));
        }
    }
    all.sort();
    all
}

/// When nobody has anything to do, nobody wakes up: no LWP, no monitor, no sentinel.
#[test]
fn an_idle_process_sleeps() {
    alone("an_idle_process_sleeps", || {
        let _dog = watchdog();
        let rt = one()
            .lwps(2)
            .name_prefix("quiet")
            .account_cpu(true)
            .build()
            .unwrap();
        // One that computes beside the LWPs until it ends, and is charged meanwhile.
        let stop = Arc::new(AtomicBool::new(false));
        let theirs = stop.clone();
        let hog = spawn(&rt, move || {
            while !theirs.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
        let used = || hog.thread().info().cpu_time.unwrap();
        until(|| rt.upcalls().without_lwp() > 0);
        let before = used();
        until(|| used() > before);
        stop.store(true, Ordering::Relaxed);
        hog.join().unwrap();
        let tasks: Vec<_> = (0..20)
            .map(|_| spawn(&rt, || thread::sleep(Duration::from_millis(5))))
            .collect();
        tasks.into_iter().for_each(|t| t.join().unwrap());
        // The poller's sleeper gives memory back once after a second, and on a busy machine sentinels begin late;
        // then all is quiet.
        until(|| sleeps("quiet").len() >= 4);
        let mut last = sleeps("quiet");
        let (mut quiet, mut rounds) = (0, 0);
        while quiet < 10 {
            std::thread::sleep(Duration::from_millis(200));
            let now = sleeps("quiet");
            rounds += 1;
            assert!(rounds < 150, "somebody wakes up: {last:?} {now:?}");
            quiet = if now == last { quiet + 1 } else { 0 };
            last = now;
        }
        end(rt);
    });
}
