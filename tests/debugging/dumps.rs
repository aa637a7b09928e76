//! What a dump says of each thread.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lisle::debug::{Dump, ThreadDump, ThreadKind};
use lisle::os::unix::net::UnixStream;
use lisle::sync::{Mutex, PriorityMutex, Semaphore};
use lisle::thread::{self, Builder, State, Thread};
use lisle::upcall::{Doing, Source};
use lisle::{channel, dump};

use crate::support::{
    emulated, end, many, on, runtime, skipped, until, until_state, until_waiting, watchdog,
};

fn of<'a>(dump: &'a Dump, thread: &Thread) -> &'a ThreadDump {
    let mut all = dump.threads.iter();
    all.find(|found| found.info.id == thread.id()).unwrap()
}

fn calls(thread: &ThreadDump, function: &str) -> bool {
    let mut frames = thread.backtrace.frames().iter();
    frames.any(|frame| {
        let known = frame.function.as_deref().unwrap_or("");
        known.ends_with(function)
    })
}

/// A dump for which the thread has answered: on a busy machine it may not run for longer than
/// one waits for it.
fn answered(thread: &Thread) -> Dump {
    const LATE: [&str; 2] = [
        "it runs, and does not answer a signal",
        "another dump is being made",
    ];
    loop {
        let dump = dump();
        let why_not = of(&dump, thread).backtrace.why_not();
        if why_not.is_none_or(|why| !LATE.contains(&why)) {
            return dump;
        }
    }
}

#[inline(never)]
fn parks_three_calls_deep(depth: usize) -> usize {
    if depth == 0 {
        thread::park();
        0
    } else {
        parks_three_calls_deep(depth - 1) + std::hint::black_box(1)
    }
}

#[test]
fn a_parked_threads_calls_are_named() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let light = on(&rt, || parks_three_calls_deep(3));
    let full = Builder::new()
        .name("full one".into())
        .on(&rt)
        .spawn(|| parks_three_calls_deep(3))
        .unwrap();
    for thread in [light.thread(), full.thread()] {
        until_waiting(thread, "park");
    }
    let dump = dump();
    for thread in [light.thread(), full.thread()] {
        let found = of(&dump, thread);
        let frames = found.backtrace.frames().iter();
        let deep = frames.filter(|frame| {
            let function = frame.function.as_deref().unwrap_or("");
            function.ends_with("parks_three_calls_deep")
        });
        assert_eq!(deep.count(), 4, "{found}");
        assert!(calls(found, "park"), "{found}");
        // As far as the thread's own first call.
        assert!(
            found.backtrace.frames().iter().any(|frame| {
                let function = frame.function.as_deref().unwrap_or("");
                function.starts_with("lisle_runtime::thread::packet::")
            }),
            "{found}"
        );
    }
    assert_eq!(of(&dump, full.thread()).kind, ThreadKind::Full);
    assert_eq!(
        of(&dump, full.thread()).info.name.as_deref(),
        Some("full one")
    );
    assert!(
        dump.to_string()
            .contains("'full one': waiting: park (full)")
    );
    light.thread().unpark();
    full.thread().unpark();
    assert_eq!((light.join().unwrap(), full.join().unwrap()), (3, 3));
    end(rt);
}

#[test]
fn dumps_at_once_find_each_others_threads() {
    let _watchdog = watchdog();
    let rt = runtime(1);
    let light = on(&rt, || parks_three_calls_deep(3));
    until_waiting(light.thread(), "park");
    let dumps = many(100);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..dumps {
                    let dump = dump();
                    let found = of(&dump, light.thread());
                    assert!(calls(found, "parks_three_calls_deep"), "{found}");
                }
            });
        }
    });
    light.thread().unpark();
    assert_eq!(light.join().unwrap(), 3);
    end(rt);
}

#[test]
fn a_dump_says_what_each_thread_waits_for() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let (sender, receiver) = channel::bounded::<u32>(0);
    let semaphore = Arc::new(Semaphore::new(0));
    let urgent = Arc::new(PriorityMutex::new(0));
    let (here, there) = UnixStream::pair().unwrap();
    let descriptor = there.as_raw_fd() as usize;

    let holder = on(&rt, {
        let urgent = urgent.clone();
        move || {
            let _held = urgent.lock().unwrap();
            thread::park();
        }
    });
    until_waiting(holder.thread(), "park");
    let locks = on(&rt, {
        let urgent = urgent.clone();
        move || *urgent.lock().unwrap()
    });
    let sleeps = on(&rt, || thread::sleep(Duration::from_secs(1000)));
    let receives = on(&rt, move || receiver.recv());
    let waits = on(&rt, {
        let semaphore = semaphore.clone();
        move || semaphore.p()
    });
    let reads = on(&rt, move || (&there).read(&mut [0; 1]));
    let holder_thread = holder.thread().clone();
    let joins = on(&rt, move || holder.join().is_ok());
    for (thread, reason) in [
        (locks.thread(), "priority mutex"),
        (sleeps.thread(), "sleep"),
        (receives.thread(), "receive on channel"),
        (waits.thread(), "semaphore"),
        (reads.thread(), "readable descriptor"),
        (joins.thread(), "join of thread"),
    ] {
        until_waiting(thread, reason);
    }
    let dump = dump();
    let lock = of(&dump, locks.thread());
    let join = of(&dump, joins.thread());
    let held_by = lock.holder.as_ref().unwrap().id;
    assert_eq!(join.holder.as_ref().unwrap().id, held_by);
    assert_eq!(
        join.info.state,
        State::Waiting {
            reason: "join of thread",
            detail: held_by.as_u64().get() as usize
        }
    );
    let left = of(&dump, sleeps.thread()).left.unwrap();
    assert!(left > Duration::from_secs(900) && left <= Duration::from_secs(1000));
    assert_eq!(
        of(&dump, reads.thread()).info.state,
        State::Waiting {
            reason: "readable descriptor",
            detail: descriptor
        }
    );
    for unlimited in [&receives.thread(), &waits.thread(), &reads.thread()] {
        let found = of(&dump, unlimited);
        assert_eq!((found.left, &found.holder), (None, &None), "{found}");
    }
    let runtimes = dump.runtimes.iter().filter(|found| found.lwps.len() == 2);
    assert!(runtimes.count() >= 1);

    sleeps.thread().cancel();
    sender.send(7).unwrap();
    semaphore.v();
    drop(here);
    assert_eq!(held_by, holder_thread.id());
    holder_thread.unpark();
    assert!(sleeps.join().is_err());
    assert_eq!(receives.join().unwrap(), Ok(7));
    waits.join().unwrap();
    assert_eq!(reads.join().unwrap().unwrap(), 0);
    assert!(joins.join().unwrap());
    assert_eq!(locks.join().unwrap(), 0);
    end(rt);
}

#[test]
fn the_caller_sees_itself() {
    let _watchdog = watchdog();
    #[inline(never)]
    fn asks() -> (Dump, Thread) {
        (dump(), thread::current())
    }
    let rt = runtime(1);
    let asking = Builder::new().on(&rt).spawn(asks).unwrap();
    let (seen, thread) = asking.join().unwrap();
    let found = of(&seen, &thread);
    assert_eq!(found.info.state, State::Running);
    assert!(calls(found, "the_caller_sees_itself::asks"), "{found}");
    // From a light thread, and from a kernel thread.
    let (seen, thread) = on(&rt, asks).join().unwrap();
    assert!(calls(of(&seen, &thread), "the_caller_sees_itself::asks"));
    let (seen, thread) = asks();
    assert!(calls(of(&seen, &thread), "the_caller_sees_itself::asks"));
    assert_eq!(of(&seen, &thread).kind, ThreadKind::Kernel);
    end(rt);
}

#[inline(never)]
fn computes_three_calls_deep(depth: usize, stop: &AtomicBool) -> usize {
    if depth == 0 {
        while !stop.load(Ordering::Relaxed) {}
        0
    } else {
        computes_three_calls_deep(depth - 1, stop) + std::hint::black_box(1)
    }
}

#[test]
fn a_running_threads_calls_are_named() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let stop = Arc::new(AtomicBool::new(false));
    let computes = {
        let stop = stop.clone();
        move || computes_three_calls_deep(3, &stop)
    };
    let light = on(&rt, computes.clone());
    let full = Builder::new().on(&rt).spawn(computes).unwrap();
    for hog in [light.thread(), full.thread()] {
        until(|| hog.info().state == State::Running);
        // A full one may be preempted, and is then ready for a while.
        until(|| {
            let dump = dump();
            let found = of(&dump, hog);
            let frames = found.backtrace.frames().iter();
            let deep = frames.filter(|frame| {
                let function = frame.function.as_deref().unwrap_or("");
                function.ends_with("computes_three_calls_deep")
            });
            let deep = deep.count();
            assert!(deep == 4 || deep == 0, "{found}");
            let Some((kernel_thread, _)) = found.kernel_thread else {
                return false;
            };
            assert!(std::path::Path::new(&format!("/proc/self/task/{kernel_thread}")).exists());
            deep == 4
        });
    }
    stop.store(true, Ordering::Relaxed);
    assert_eq!((light.join().unwrap(), full.join().unwrap()), (3, 3));
    end(rt);
}

#[inline(never)]
fn reads_one_byte(mut from: std::io::PipeReader) -> usize {
    from.read(&mut [0]).unwrap()
}

#[inline(never)]
fn polls_for_input(descriptor: i32) -> i32 {
    let mut entry = libc::pollfd {
        fd: descriptor,
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one entry.
    unsafe { libc::poll(&mut entry, 1, -1) }
}

/// A call that the kernel begins again is interrupted; one that would fail is not.
#[test]
fn a_thread_that_waits_in_the_kernel_does_not_notice() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let spawn = |f: Box<dyn FnOnce() -> i32 + Send>| Builder::new().on(&rt).spawn(f).unwrap();
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (polled, mut other) = std::io::pipe().unwrap();
    let reads = spawn(Box::new(move || reads_one_byte(reader) as i32));
    let polls = spawn(Box::new(move || polls_for_input(polled.as_raw_fd())));
    let waits_in = |thread: &Thread, calls: [i64; 2]| {
        until(|| {
            let dump = dump();
            let found = of(&dump, thread);
            matches!(found.kernel_thread, Some((_, Some(Doing::Call(number)))) if calls.contains(&number))
        });
    };
    waits_in(reads.thread(), [libc::SYS_read; 2]);
    // aarch64 has no call of that name.
    waits_in(polls.thread(), [7, libc::SYS_ppoll]);
    for _ in 0..many(100) {
        let dump = answered(reads.thread());
        let found = of(&dump, reads.thread());
        assert!(calls(found, "reads_one_byte"), "{found}");
        let found = of(&dump, polls.thread());
        assert!(found.backtrace.why_not().is_some(), "{found}");
    }
    writer.write_all(&[1]).unwrap();
    other.write_all(&[1]).unwrap();
    assert_eq!((reads.join().unwrap(), polls.join().unwrap()), (1, 1));
    end(rt);
}

#[test]
fn a_suspended_threads_calls_are_named() {
    let _watchdog = watchdog();
    #[inline(never)]
    fn walks(stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            thread::yield_now();
        }
    }
    let rt = runtime(2);
    let stop = Arc::new(AtomicBool::new(false));
    let walking = on(&rt, {
        let stop = stop.clone();
        move || walks(&stop)
    });
    until(|| walking.thread().info().switches > 1);
    walking.thread().suspend();
    until_state(walking.thread(), State::Suspended);
    let dump = dump();
    let found = of(&dump, walking.thread());
    assert!(calls(found, "walks"), "{found}");
    stop.store(true, Ordering::Relaxed);
    walking.thread().resume();
    walking.join().unwrap();
    end(rt);
}

#[test]
fn a_thread_suspended_before_it_begins_has_no_calls() {
    let _watchdog = watchdog();
    let rt = lisle::Runtime::builder().lwps(1).upcalls(Source::Off);
    let rt = rt.build().unwrap();
    let parent = on(&rt, || {
        // SAFETY: it does nothing.
        let child = unsafe { Builder::new().spawn_light(|| 7) }.unwrap();
        child.thread().suspend();
        // It is its turn, and it is held.
        while child.thread().info().state != State::Suspended {
            thread::yield_now();
        }
        let dump = dump();
        let found = of(&dump, child.thread());
        assert!(found.backtrace.frames().is_empty(), "{found}");
        assert_eq!(found.backtrace.why_not(), None, "{found}");
        child.thread().resume();
        child.join().unwrap()
    });
    assert_eq!(parent.join().unwrap(), 7);
    end(rt);
}

/// Bound threads, and kernel threads that call in: whether they wait in lisle or compute.
#[test]
fn kernel_threads_calls_are_named() {
    let _watchdog = watchdog();
    let rt = runtime(1);
    let stop = Arc::new(AtomicBool::new(false));
    let bound = Builder::new().on(&rt).bound().spawn({
        let stop = stop.clone();
        move || computes_three_calls_deep(3, &stop)
    });
    let bound = bound.unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let outside = std::thread::spawn(move || {
        tell.send(thread::current()).unwrap();
        parks_three_calls_deep(3)
    });
    let parked = told.recv().unwrap();
    until_waiting(&parked, "park");
    if emulated() {
        skipped(
            "backtraces of kernel threads (copies are the kernel's, which an emulator may not know)",
        );
    } else {
        until(|| calls(of(&dump(), bound.thread()), "computes_three_calls_deep"));
        let dump = answered(&parked);
        let found = of(&dump, &parked);
        assert!(calls(found, "parks_three_calls_deep"), "{found}");
    }
    stop.store(true, Ordering::Relaxed);
    parked.unpark();
    assert_eq!((bound.join().unwrap(), outside.join().unwrap()), (3, 3));
    end(rt);
}

/// Nobody waits for ever for a thread that does not answer.
#[test]
fn a_thread_that_blocks_the_signal_is_reported_so() {
    let _watchdog = watchdog();
    #[inline(never)]
    fn blocks_signals_until(stop: &AtomicBool) {
        // SAFETY: a set is made and used, on a kernel thread that stays the thread's own.
        unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
        }
        while !stop.load(Ordering::Relaxed) {}
    }
    let rt = runtime(1);
    let stop = Arc::new(AtomicBool::new(false));
    let bound = Builder::new().on(&rt).bound().spawn({
        let stop = stop.clone();
        move || blocks_signals_until(&stop)
    });
    let bound = bound.unwrap();
    until(|| {
        let dump = dump();
        of(&dump, bound.thread()).backtrace.why_not()
            == Some("it runs, and does not answer a signal")
    });
    stop.store(true, Ordering::Relaxed);
    bound.join().unwrap();
    end(rt);
}

#[test]
fn a_program_that_wants_no_signals_gets_none() {
    let _watchdog = watchdog();
    let rt = lisle::Runtime::builder()
        .lwps(1)
        .preemption_signal(None)
        .build()
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let computes = Builder::new().on(&rt).spawn({
        let stop = stop.clone();
        move || computes_three_calls_deep(3, &stop)
    });
    let computes = computes.unwrap();
    until(|| computes.thread().info().state == State::Running);
    let dump = dump();
    let found = of(&dump, computes.thread());
    assert_eq!(
        found.backtrace.why_not(),
        Some("its runtime sends no signals")
    );
    stop.store(true, Ordering::Relaxed);
    computes.join().unwrap();
    end(rt);
}

#[test]
fn a_mutex_is_named_by_its_address() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let mutex = Arc::new(Mutex::new(()));
    let held = mutex.lock().unwrap();
    let (first, second) = [(); 2].map(|()| mutex.clone()).into();
    let waiters =
        [first, second].map(|mutex: Arc<Mutex<()>>| on(&rt, move || drop(mutex.lock().unwrap())));
    for waiter in &waiters {
        until_waiting(waiter.thread(), "mutex");
    }
    let dump = dump();
    let details = waiters
        .each_ref()
        .map(|waiter| match of(&dump, waiter.thread()).info.state {
            State::Waiting {
                reason: "mutex",
                detail,
            } => detail,
            ref other => panic!("{other}"),
        });
    let range = Arc::as_ptr(&mutex).addr()..Arc::as_ptr(&mutex).addr() + size_of::<Mutex<()>>();
    assert!(details[0] == details[1] && range.contains(&details[0]));
    drop(held);
    waiters
        .into_iter()
        .for_each(|waiter| waiter.join().unwrap());
    end(rt);
}
