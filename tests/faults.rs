//! Every system call that the runtime makes is made to fail, one after the
//! other: the failure comes out as an error or is overcome, nothing hangs, and
//! nothing is left over.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[path = "faults/donors.rs"]
mod donors;
#[path = "faults/everywhere.rs"]
mod everywhere;
mod support;

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lisle::net::{TcpListener, TcpStream};
use lisle::thread::{self, Builder, JoinHandle};
use lisle::{Runtime, cancel};
use lisle_lwp::stack::StackSize;
use lisle_lwp::sys::Call;
use lisle_lwp::sys::fault::{self, Plan};

use support::{many, watchdog};

/// Whatever takes as long hangs.
const HANGS: Duration = Duration::from_secs(20);

/// How many rounds of faults at random: as many as `ci/faults.sh` says, if it does.
fn rounds(usual: usize) -> u64 {
    let wanted = std::env::var("LISLE_FAULT_ROUNDS");
    wanted.map_or(many(usual) as u64, |text| text.parse().unwrap())
}

/// How many of the first calls at a place are made to fail.
fn hits() -> u32 {
    match std::env::var_os("LISLE_FAULT_ROUNDS") {
        Some(_) => 4,
        None => 1,
    }
}

fn light<T: Send + 'static>(
    builder: Builder,
    f: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    // SAFETY: the closures touch thread-locals in leaves only.
    unsafe { builder.spawn_light(f) }
}

/// Flattens what a thread returned; its panics go on.
fn joined<T>(handle: JoinHandle<io::Result<T>>) -> io::Result<T> {
    match handle.join() {
        Ok(result) => result,
        Err(payload) => std::panic::resume_unwind(payload),
    }
}

/// What must be as before once everything is over.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    kernel_threads: usize,
    stacks: usize,
}

fn entries(directory: &str) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

/// Of memory.
fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().count()
}

/// All but those that wait ten seconds for another name to look up, or child to wait for, before they
/// end.
fn kernel_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let lingers = |task: io::Result<std::fs::DirEntry>| {
        let name = std::fs::read_to_string(task.unwrap().path().join("comm"));
        name.is_ok_and(|name| name.starts_with("lisle-helper"))
    };
    tasks.map(lingers).filter(|lingers| !lingers).count()
}

impl Held {
    fn now() -> Held {
        Held {
            descriptors: entries("/proc/self/fd"),
            kernel_threads: kernel_threads(),
            stacks: support::stacks(),
        }
    }

    /// What is left once nothing more ends: kernel threads do so a little after they have been joined.
    fn settled() -> Held {
        let mut held = Held::now();
        let mut same = 0;
        while same < 200 {
            std::thread::sleep(Duration::from_millis(1));
            let now = Held::now();
            same = if now == held { same + 1 } else { 0 };
            held = now;
        }
        held
    }

    /// The most of each.
    fn most(self, other: Held) -> Held {
        Held {
            descriptors: self.descriptors.max(other.descriptors),
            kernel_threads: self.kernel_threads.max(other.kernel_threads),
            stacks: self.stacks.max(other.stacks),
        }
    }

    /// A kernel thread that a busy machine let end only after this was taken is no leftover.
    fn covers(&self, now: &Held) -> bool {
        now.descriptors <= self.descriptors
            && now.kernel_threads <= self.kernel_threads
            && now.stacks <= self.stacks
    }

    fn assert_again(&self, what: &dyn std::fmt::Debug) {
        let mut now = Held::now();
        for _ in 0..5000 {
            if self.covers(&now) {
                return;
            }
            std::thread::sleep(Duration::from_millis(1));
            now = Held::now();
        }
        panic!("{now:?} after {what:?}, {self:?} before");
    }
}

/// A client and an echo on light threads.
fn echo() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let client = light(Builder::new(), move || -> io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(HANGS))?;
        stream.write_all(b"hello")?;
        let mut heard = [0; 5];
        stream.read_exact(&mut heard)?;
        assert_eq!(&heard, b"hello");
        Ok(())
    })?;
    let server = light(Builder::new(), move || -> io::Result<()> {
        let (mut stream, _) = listener.accept()?;
        stream.set_read_timeout(Some(HANGS))?;
        let mut heard = [0; 5];
        stream.read_exact(&mut heard)?;
        stream.write_all(&heard)
    })?;
    let spoke = joined(client);
    // Nobody comes if the client failed.
    server.thread().cancel();
    let outcome = match server.join() {
        Ok(served) => served,
        Err(payload) if payload.is::<cancel::Cancelled>() => Err(io::ErrorKind::Interrupted.into()),
        Err(payload) => std::panic::resume_unwind(payload),
    };
    match spoke {
        // The server may have been cancelled on its way out.
        Ok(()) => Ok(()),
        Err(error) => outcome.and(Err(error)),
    }
}

/// Sleeps in a destructor while unwinding, so that the LWP changes hands.
fn hand_over() -> io::Result<()> {
    struct Sleeps;
    impl Drop for Sleeps {
        fn drop(&mut self) {
            thread::sleep(Duration::from_micros(100));
        }
    }
    let unwound = light(Builder::new(), || {
        let _sleeps = Sleeps;
        std::panic::resume_unwind(Box::new(7u8));
    })?;
    let outcome: std::thread::Result<()> = unwound.join();
    assert_eq!(outcome.unwrap_err().downcast_ref(), Some(&7u8));
    Ok(())
}

/// Builds a runtime, uses it in every way, shuts it down. An error is fine; a
/// hang, a panic or a leftover is not.
fn scenario() -> io::Result<()> {
    let runtime = Runtime::builder().lwps(2).build()?;
    let outcome = (|| {
        let main = light(Builder::new().on(&runtime), || -> io::Result<()> {
            let sleeper = light(Builder::new(), || thread::sleep(Duration::from_millis(2)))?;
            let large = light(Builder::new().stack_size(StackSize::MAX.bytes()), || 5)?;
            assert_eq!(large.join().unwrap(), 5);
            let _ = thread::stack_high_water();
            let bound = Builder::new().bound().spawn(|| {
                thread::park_timeout(Duration::from_micros(10));
                6
            })?;
            assert_eq!(bound.join().unwrap(), 6);
            sleeper.join().unwrap();
            hand_over()?;
            echo()
        })?;
        joined(main)
    })();
    // Whatever failed, what was begun ends.
    runtime.shutdown(HANGS).unwrap();
    outcome
}

fn settled() -> Held {
    // What is made once in a process is made now.
    for _ in 0..3 {
        scenario().unwrap();
    }
    Held::settled()
}

/// The first failure of a kind comes out as the error of the call that met it.
#[test]
fn errors_are_the_systems() {
    let _faults = fault::exclusive();
    let _dog = watchdog();
    let before = settled();
    for call in [Call::Clone, Call::Create] {
        let plan = fault::arm(Plan::always(call));
        let error = Runtime::builder().lwps(3).build().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(call.usual_errno()), "{call:?}");
        drop(plan);
        before.assert_again(&call);
    }
    // The second of three kernel threads.
    for skip in 0..3 {
        let plan = fault::arm(Plan::once(Call::Clone).after(skip));
        let error = Runtime::builder().lwps(3).build().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EAGAIN));
        drop(plan);
        before.assert_again(&skip);
    }
    let plan = fault::arm(Plan::always(Call::Clone));
    let refused = Builder::new().bound().spawn(|| ());
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EAGAIN));
    drop(plan);
    before.assert_again(&"bound");
}

/// No memory for stacks: spawning is refused, and works again afterwards.
#[test]
fn a_lack_of_stacks_is_an_error() {
    let _faults = fault::exclusive();
    let _dog = watchdog();
    let before = settled();
    let runtime = Runtime::builder().lwps(1).build().unwrap();
    let dropped = Arc::new(AtomicUsize::new(0));
    struct Counted(Arc<AtomicUsize>);
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let plan = fault::arm(Plan::always(Call::Mmap));
    // A class that nothing else uses, so that none is at hand.
    let builder = || Builder::new().on(&runtime).stack_size(32 << 20);
    let mut made = Vec::new();
    let error = loop {
        let counted = Counted(dropped.clone());
        match light(builder(), move || drop(counted)) {
            Ok(handle) => made.push(handle),
            Err(error) => break error,
        }
        assert!(made.len() < 10_000, "stacks without memory");
    };
    assert_eq!(error.raw_os_error(), Some(libc::ENOMEM));
    drop(plan);
    let spawned = made.len();
    made.into_iter().for_each(|handle| handle.join().unwrap());
    assert_eq!(dropped.load(Ordering::SeqCst), spawned + 1);
    light(builder(), || ()).unwrap().join().unwrap();
    runtime.shutdown(HANGS).unwrap();
    before.assert_again(&"stacks");
}

/// If no kernel thread can take the LWP over, it waits with the thread.
#[test]
fn a_refused_hand_over_waits() {
    let _faults = fault::exclusive();
    let _dog = watchdog();
    let before = settled();
    for lwps in [1, 2] {
        // Without spares every hand-over needs a new kernel thread.
        let runtime = Runtime::builder().lwps(lwps).spares(0).build().unwrap();
        let plan = fault::arm(Plan::always(Call::Clone));
        for _ in 0..20 {
            let main = light(Builder::new().on(&runtime), hand_over).unwrap();
            joined(main).unwrap();
        }
        assert!(plan.fired() >= 20);
        drop(plan);
        runtime.shutdown(HANGS).unwrap();
    }
    before.assert_again(&"hand-over");
}

/// Waits that are interrupted time and again still end as they should.
#[test]
fn interruptions_are_overcome() {
    let _faults = fault::exclusive();
    let _dog = watchdog();
    let before = settled();
    let interrupted = [Call::FutexWait, Call::Wait, Call::Read, Call::Write];
    for seed in 0..many(20) as u64 {
        let storm = fault::random(seed, 0.3, &interrupted);
        scenario().unwrap();
        assert!(storm.fired() > 0);
        drop(storm);
    }
    before.assert_again(&"interruptions");
}

/// Everything may fail at any time.
#[test]
fn a_random_storm_leaves_nothing_behind() {
    let _faults = fault::exclusive();
    let _dog = watchdog();
    let before = settled();
    let all = [
        Call::Mmap,
        Call::Madvise,
        Call::Mprotect,
        Call::Mincore,
        Call::FutexWait,
        Call::Sigaltstack,
        Call::Clone,
        Call::Create,
        Call::Register,
        Call::Wait,
        Call::Connect,
        Call::Accept,
        Call::Read,
        Call::Write,
    ];
    for seed in 0..many(60) as u64 {
        let storm = fault::random(seed, 0.1, &all);
        // Whether it fails is the seed's affair.
        let _ = scenario();
        drop(storm);
        before.assert_again(&seed);
    }
    scenario().unwrap();
}
