//! Attempts to break the safe interface that no other test makes: what is forgotten, what parks where nobody
//! expects it, what panics in the middle. docs/safety.md lists all attempts, with their tests.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use lisle::channel::{Select, broadcast, watch};
use lisle::future::block_on;
use lisle::sync::{Condvar, LazyLock, Monitor, Mutex, OnceLock, RwLock, Semaphore, Serializer};
use lisle::thread::{self, Builder};
use lisle::{channel, time};
use support::{end, message, on, runtime, until_waiting, watchdog};

fn soon() -> std::time::Instant {
    time::now() + Duration::from_millis(5)
}

/// A value that counts its drops, and parks while it is dropped.
struct Parks(Arc<AtomicUsize>);

impl Drop for Parks {
    fn drop(&mut self) {
        thread::park_timeout(Duration::from_millis(1));
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A value that panics when it is dropped, unless the thread panics already.
struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("dropped");
        }
    }
}

#[test]
fn a_forgotten_handle_leaks_the_result_and_nothing_else() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let drops = Arc::new(AtomicUsize::new(0));
    for _ in 0..100 {
        let drops = drops.clone();
        let handle = Builder::new().on(&rt).spawn(move || Parks(drops)).unwrap();
        std::mem::forget(handle);
    }
    // All of them end; what they return stays where it is.
    end(rt);
    assert_eq!(drops.load(Ordering::SeqCst), 0);
}

#[test]
fn a_forgotten_guard_locks_for_ever_and_frees_nothing() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let (mutex, shared) = (Arc::new(Mutex::new(1)), Arc::new(RwLock::new(1)));
    let semaphore = Arc::new(Semaphore::new(1));
    let forgets = {
        let (mutex, shared, semaphore) = (mutex.clone(), shared.clone(), semaphore.clone());
        Builder::new().on(&rt).spawn(move || {
            std::mem::forget(mutex.lock().unwrap());
            std::mem::forget(shared.read().unwrap());
            std::mem::forget(semaphore.acquire().unwrap());
        })
    };
    forgets.unwrap().join().unwrap();
    assert!(mutex.lock_deadline(soon()).is_err());
    assert!(shared.try_write().is_err());
    assert_eq!(*shared.read().unwrap(), 1);
    assert!(semaphore.try_acquire().is_err());
    end(rt);
    // Whoever has all of it can still have the value.
    assert_eq!(Arc::into_inner(mutex).unwrap().into_inner().unwrap(), 1);
}

/// Nobody can shut it down any more; its threads do not mind.
#[test]
fn a_forgotten_runtime_goes_on() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let (sender, receiver) = channel::bounded(1);
    let answers = Builder::new().on(&rt).spawn(move || {
        let asked: u32 = receiver.recv().unwrap();
        asked + thread::spawn(|| 1).join().unwrap()
    });
    std::mem::forget(rt);
    sender.send(2).unwrap();
    assert_eq!(answers.unwrap().join().unwrap(), 3);
}

/// A guard that is put where only the thread's end drops it is dropped then, by its owner.
#[test]
fn a_guard_in_a_thread_local_lives_until_the_thread_ends() {
    let _watchdog = watchdog();
    static MUTEX: Mutex<u32> = Mutex::new(0);
    thread_local!(static KEPT: RefCell<Option<lisle::sync::MutexGuard<'static, u32>>> = const { RefCell::new(None) });
    let rt = runtime(2);
    let keeps = |_| {
        Builder::new().on(&rt).fresh(true).spawn(|| {
            let mut guard = MUTEX.lock().unwrap();
            *guard += 1;
            KEPT.with(|kept| *kept.borrow_mut() = Some(guard));
            thread::yield_now();
        })
    };
    let threads: Vec<_> = (0..10).map(keeps).collect();
    threads
        .into_iter()
        .for_each(|thread| thread.unwrap().join().unwrap());
    assert_eq!(*MUTEX.try_lock().unwrap(), 10);
    end(rt);
}

/// A handle dropped by the thread that it is for, and results that hold each other's handles.
#[test]
fn handles_in_circles_are_let_go() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    for _ in 0..100 {
        let (give, take) = channel::bounded::<thread::JoinHandle<()>>(1);
        let own = Builder::new()
            .on(&rt)
            .spawn(move || drop(take.recv().unwrap()));
        give.send(own.unwrap()).unwrap();
        // Each returns what only the other could drop.
        let (to_one, one) = channel::bounded(1);
        let (to_two, two) = channel::bounded(1);
        let first = Builder::new().on(&rt).spawn(move || {
            let other: thread::JoinHandle<()> = one.recv().unwrap();
            other
        });
        let second = Builder::new().on(&rt).spawn(move || {
            let other: thread::JoinHandle<thread::JoinHandle<()>> = two.recv().unwrap();
            drop(other);
        });
        to_one.send(second.unwrap()).unwrap();
        to_two.send(first.unwrap()).unwrap();
    }
    // All of them end.
    end(rt);
}

struct Counts(AtomicUsize);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_forgotten_future_may_still_be_told() {
    let _watchdog = watchdog();
    let waker = Arc::new(Counts(AtomicUsize::new(0)));
    let (sender, receiver) = channel::unbounded();
    // Pinned on the heap and forgotten: its place stays, and so must what the channel knows of it.
    let mut future = Box::pin(receiver.recv_async());
    let task = Waker::from(waker.clone());
    assert!(
        future
            .as_mut()
            .poll(&mut Context::from_waker(&task))
            .is_pending()
    );
    std::mem::forget(future);
    sender.send(1).unwrap();
    sender.send(2).unwrap();
    assert_eq!(waker.0.load(Ordering::SeqCst), 1);
    drop(sender);
}

#[test]
fn guards_held_over_waits_and_moves_exclude_all_the_same() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let value = Arc::new(Mutex::new((0_u32, 0_u32)));
    let spawn = |_| {
        let value = value.clone();
        let body = move || {
            for _ in 0..200 {
                let mut both = value.lock().unwrap();
                both.0 += 1;
                thread::yield_now();
                thread::park_timeout(Duration::from_micros(20));
                both.1 += 1;
                assert_eq!(both.0, both.1);
            }
        };
        Builder::new().on(&rt).spawn(body).unwrap()
    };
    let threads: Vec<_> = (0..4).map(spawn).collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(*value.lock().unwrap(), (800, 800));
    end(rt);
}

#[test]
fn messages_that_park_when_dropped_are_dropped_once() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let drops = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = channel::bounded(8);
    for _ in 0..8 {
        sender.send(Parks(drops.clone())).unwrap();
    }
    let waits = {
        let drops = drops.clone();
        let body = move || sender.send(Parks(drops)).is_err();
        Builder::new().on(&rt).spawn(body).unwrap()
    };
    until_waiting(waits.thread(), "send on channel");
    let ends = Builder::new()
        .on(&rt)
        .spawn(move || drop(receiver))
        .unwrap();
    ends.join().unwrap();
    assert!(waits.join().unwrap());
    assert_eq!(drops.load(Ordering::SeqCst), 9);
    end(rt);
}

#[test]
fn messages_that_panic_when_dropped_harm_nobody_else() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let (sender, receiver) = channel::unbounded();
    let receives = {
        let receiver: channel::Receiver<Option<Panics>> = receiver.clone();
        let body = move || {
            let mut got = 0;
            while let Ok(message) = receiver.recv() {
                got += 1;
                std::mem::forget(message);
            }
            got
        };
        Builder::new().on(&rt).spawn(body).unwrap()
    };
    sender.send(None).unwrap();
    let fails = {
        let receiver = receiver.clone();
        let sender = sender.clone();
        let body = move || {
            sender.send(None).unwrap();
            drop(receiver);
            drop(Some(Panics));
        };
        Builder::new().on(&rt).spawn(body).unwrap()
    };
    assert!(fails.join().is_err());
    sender.send(Some(Panics)).unwrap();
    drop((sender, receiver));
    assert_eq!(receives.join().unwrap(), 3);
    end(rt);
}

#[test]
fn panics_in_initializers_and_under_locks_leave_them_usable() {
    let _watchdog = watchdog();
    let once: OnceLock<u32> = OnceLock::new();
    let first = catch_unwind(AssertUnwindSafe(|| once.get_or_init(|| panic!("first"))));
    assert!(first.is_err());
    assert_eq!(*once.get_or_init(|| 2), 2);
    let lazy: LazyLock<u32> = LazyLock::new(|| panic!("always"));
    for _ in 0..2 {
        assert!(catch_unwind(AssertUnwindSafe(|| *lazy)).is_err());
    }
    let mutex = Mutex::new(0);
    let under = catch_unwind(AssertUnwindSafe(|| {
        let _held = mutex.lock().unwrap();
        panic!("under the lock");
    }));
    assert!(under.is_err() && mutex.is_poisoned());
    mutex.clear_poison();
    assert_eq!(*mutex.lock().unwrap(), 0);
}

thread_local! {
    static LAST: RefCell<Option<Dumps>> = const { RefCell::new(None) };
}

/// Looks at all threads, waits and spawns while it is dropped.
struct Dumps(Arc<AtomicUsize>);

impl Drop for Dumps {
    fn drop(&mut self) {
        let me = thread::current().id();
        let dump = lisle::dump();
        assert!(dump.threads.iter().any(|found| found.info.id == me));
        assert!(lisle::debug::deadlock().is_none_or(|found| found.cycle.is_empty()));
        let inner = thread::spawn(|| 7).join().unwrap();
        self.0.fetch_add(inner, Ordering::SeqCst);
    }
}

#[test]
fn dumps_waits_and_spawns_work_in_destructors_of_every_kind() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let sum = Arc::new(AtomicUsize::new(0));
    // Of a thread-local.
    let local = {
        let sum = sum.clone();
        let body = move || LAST.with(|last| *last.borrow_mut() = Some(Dumps(sum)));
        Builder::new().on(&rt).fresh(true).spawn(body).unwrap()
    };
    local.join().unwrap();
    // Of what an unwinding thread has.
    let unwinds = {
        let sum = sum.clone();
        let body = move || {
            let _dumps = Dumps(sum);
            panic!("while it has it");
        };
        Builder::new().on(&rt).spawn(body).unwrap()
    };
    assert!(unwinds.join().is_err());
    // Of what a closure has captured that never ran.
    let captured = Dumps(sum.clone());
    drop(move || drop(captured));
    assert_eq!(sum.load(Ordering::SeqCst), 21);
    end(rt);
}

/// The value stays as the closure left it, nobody is told of it, and everybody may go on: who waits for a
/// change, and who waited for the end of this one to look.
#[test]
fn a_panic_while_a_watched_value_is_changed_is_the_senders() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let (sender, mut receiver) = watch::channel(1);
    let waits = on(&rt, {
        let mut receiver = receiver.clone();
        move || {
            receiver.changed().unwrap();
            *receiver.borrow()
        }
    });
    until_waiting(waits.thread(), "change of watched value");
    let fails = on(&rt, {
        let sender = sender.clone();
        move || {
            sender.send_modify(|value| {
                *value = 2;
                thread::park();
                panic!("half way");
            });
        }
    });
    until_waiting(fails.thread(), "park");
    let looks = on(&rt, {
        let receiver = receiver.clone();
        move || *receiver.borrow()
    });
    until_waiting(looks.thread(), "read of watched value");
    fails.thread().unpark();
    assert_eq!(message(&*fails.join().unwrap_err()), "half way");
    assert_eq!(looks.join().unwrap(), 2);
    assert!(!receiver.has_changed().unwrap());
    // A panic of who only looks ends the look.
    let looked = catch_unwind(AssertUnwindSafe(|| {
        receiver.wait_for(|_| panic!("looking")).map(|_| ())
    }));
    assert!(looked.is_err());
    until_waiting(waits.thread(), "change of watched value");
    sender.send(3).unwrap();
    assert_eq!(waits.join().unwrap(), 3);
    assert_eq!(*receiver.borrow_and_update(), 3);
    end(rt);
}

/// A message that cannot be cloned once, and counts its drops.
struct Fragile {
    broken: AtomicBool,
    drops: Arc<AtomicUsize>,
}

impl Clone for Fragile {
    fn clone(&self) -> Fragile {
        assert!(!self.broken.swap(false, Ordering::SeqCst), "not cloned");
        Fragile {
            broken: AtomicBool::new(false),
            drops: self.drops.clone(),
        }
    }
}

impl Drop for Fragile {
    fn drop(&mut self) {
        self.drops.fetch_add(1, Ordering::SeqCst);
    }
}

/// Whoever receives it has lost it; all others have theirs, and go on.
#[test]
fn a_panic_while_a_broadcast_message_is_cloned_is_the_receivers() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let drops = Arc::new(AtomicUsize::new(0));
    let (sender, mut unlucky) = broadcast::channel(2);
    let mut others = [sender.subscribe(), sender.subscribe()];
    for broken in [true, false] {
        let (broken, drops) = (AtomicBool::new(broken), drops.clone());
        assert!(sender.send(Fragile { broken, drops }).is_ok());
    }
    let unlucky = on(&rt, move || {
        let received = catch_unwind(AssertUnwindSafe(|| unlucky.recv().map(drop)));
        assert_eq!(message(&*received.unwrap_err()), "not cloned");
        // The next one.
        unlucky.recv().map(drop).unwrap();
        unlucky
    });
    let mut unlucky = unlucky.join().unwrap();
    for other in &mut others {
        other.recv().map(drop).unwrap();
        other.recv().map(drop).unwrap();
    }
    // Two messages, and one clone of the first, two of the second.
    assert_eq!(drops.load(Ordering::SeqCst), 5);
    drop(sender);
    assert!(unlucky.recv().is_err() && others[0].recv().is_err());
    end(rt);
}

/// It goes on in the thread whose predicate it is, which has the mutex then, and poisons it; others wait on.
#[test]
fn a_panic_in_a_conditions_predicate_is_the_waiters() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let shared = Arc::new((Mutex::new(0), Condvar::new()));
    let waits = |wrong: Option<u32>| {
        let shared = shared.clone();
        let waiter = on(&rt, move || {
            let (mutex, changed) = &*shared;
            let reached = |value: &mut u32| {
                assert_ne!(Some(*value), wrong, "a wrong value");
                *value < 2
            };
            *changed.wait_while(mutex.lock().unwrap(), reached).unwrap()
        });
        until_waiting(waiter.thread(), "condition variable");
        waiter
    };
    let (panics, patient) = (waits(Some(1)), waits(None));
    let (mutex, changed) = &*shared;
    *mutex.lock().unwrap() = 1;
    changed.notify_one();
    let payload = panics.join().unwrap_err();
    assert!(message(&*payload).contains("a wrong value"));
    assert!(mutex.is_poisoned());
    mutex.clear_poison();
    until_waiting(patient.thread(), "condition variable");
    *mutex.lock().unwrap() = 2;
    changed.notify_one();
    assert_eq!(patient.join().unwrap(), 2);
    end(rt);
}

/// Hands its waker out, and panics when it is polled again.
struct Fails {
    waker: Option<channel::Sender<Waker>>,
    _drops: Parks,
}

impl Future for Fails {
    type Output = ();
    fn poll(mut self: std::pin::Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let waker = self.waker.take().expect("polled again");
        waker.send(context.waker().clone()).unwrap();
        Poll::Pending
    }
}

/// It reaches who called `block_on`; the future is dropped, and its waker wakes nobody any more.
#[test]
fn a_panic_in_a_polled_future_is_its_threads() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let drops = Arc::new(AtomicUsize::new(0));
    let (give, take) = channel::bounded(1);
    let (go, goes) = channel::bounded(0);
    let polls = {
        let drops = drops.clone();
        on(&rt, move || {
            let fails = Fails {
                waker: Some(give),
                _drops: Parks(drops),
            };
            let outcome = catch_unwind(AssertUnwindSafe(|| block_on(fails)));
            // The thread can wait for others.
            assert_eq!(block_on(async { 7 }), 7);
            goes.recv().unwrap();
            if let Err(payload) = outcome {
                std::panic::resume_unwind(payload);
            }
        })
    };
    let waker: Waker = take.recv().unwrap();
    until_waiting(polls.thread(), "future");
    waker.wake_by_ref();
    until_waiting(polls.thread(), "receive on channel");
    assert_eq!(drops.load(Ordering::SeqCst), 1);
    waker.wake();
    until_waiting(polls.thread(), "receive on channel");
    go.send(()).unwrap();
    assert!(message(&*polls.join().unwrap_err()).contains("polled again"));
    end(rt);
}

/// What it held stays held: a message is in nobody's way, and goes with the channel; room is gone.
#[test]
fn a_forgotten_selected_operation_keeps_what_it_was_granted() {
    let _watchdog = watchdog();
    for capacity in [None, Some(2)] {
        let drops = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = match capacity {
            Some(capacity) => channel::bounded(capacity),
            None => channel::unbounded(),
        };
        sender.send(Parks(drops.clone())).unwrap();
        sender.send(Parks(drops.clone())).unwrap();
        let mut select = Select::new();
        select.recv(&receiver);
        std::mem::forget(select.select());
        drop(receiver.recv().unwrap());
        assert_eq!(drops.load(Ordering::SeqCst), 1);
        assert!(receiver.try_recv().is_err());
        // Others come and go past it.
        for _ in 0..5 {
            sender.send(Parks(drops.clone())).unwrap();
            drop(receiver.recv().unwrap());
        }
        assert_eq!(drops.load(Ordering::SeqCst), 6);
        drop((sender, receiver));
        assert_eq!(drops.load(Ordering::SeqCst), 7);
    }
    let (sender, receiver) = channel::bounded(1);
    let mut select = Select::new();
    select.send(&sender);
    std::mem::forget(select.select());
    assert!(sender.send_deadline(1, soon()).is_err());
    assert!(receiver.try_recv().is_err());
    drop(sender);
    assert!(receiver.recv().is_err());
}

/// As a forgotten guard of a readers-writer lock.
#[test]
fn a_forgotten_look_at_a_watched_value_keeps_others_looking() {
    let _watchdog = watchdog();
    let drops = Arc::new(AtomicUsize::new(0));
    let (sender, mut receiver) = watch::channel(Parks(drops.clone()));
    std::mem::forget(receiver.borrow());
    std::mem::forget(sender.borrow());
    assert_eq!(receiver.borrow_and_update().0.load(Ordering::SeqCst), 0);
    assert!(receiver.changed_deadline(soon()).is_err());
    drop(sender);
    assert!(receiver.changed().is_err());
    drop(receiver);
    assert_eq!(drops.load(Ordering::SeqCst), 1);
}

/// They stay possessed. (Regions cannot be forgotten: their bodies have a reference only.)
#[test]
fn forgotten_guards_of_monitors_and_serializers_hold_them_for_ever() {
    let _watchdog = watchdog();
    let rt = runtime(2);
    let monitor = Arc::new(Monitor::<u32, 1>::new(1));
    let serializer = Arc::new(Serializer::<u32>::new(1));
    let forgets = {
        let (monitor, serializer) = (monitor.clone(), serializer.clone());
        on(&rt, move || {
            std::mem::forget(monitor.enter());
            std::mem::forget(serializer.enter());
        })
    };
    forgets.join().unwrap();
    assert!(monitor.try_enter().is_none() && serializer.try_enter().is_none());
    let waits = {
        let (monitor, serializer) = (monitor.clone(), serializer.clone());
        on(&rt, move || {
            assert!(monitor.enter_deadline(soon()).is_none());
            assert!(serializer.enter_deadline(soon()).is_none());
        })
    };
    waits.join().unwrap();
    end(rt);
    // Whoever has all of it can still have the value.
    assert_eq!(Arc::into_inner(monitor).unwrap().into_inner(), 1);
    assert_eq!(Arc::into_inner(serializer).unwrap().into_inner(), 1);
}
