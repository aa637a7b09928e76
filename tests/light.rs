//! Light threads alone, in all that they do to memory: for checkers of memory, which full threads
//! bewilder (`ci/sanitizers.sh memcheck`, `ci/sanitizers.sh leaks`). Short, since those are slow.
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

mod support;

use std::hint::black_box;
use std::io::{Read, Write};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lisle::cancel::Cancelled;
use lisle::channel::{RecvTimeoutError, bounded, select, unbounded};
use lisle::net::{TcpListener, TcpStream};
use lisle::sync::{Condvar, Mutex, Semaphore};
use lisle::thread::{self, Builder, JoinHandle};
use lisle::{Runtime, time};

use support::{
    Log, child, end, many, message, on, runtime, spawn, steady, until_waiting, watchdog,
};

/// A time that no test lives to see.
const LONG: Duration = Duration::from_secs(1 << 30);
const TICK: Duration = Duration::from_millis(1);

/// Two LWPs. Under valgrind one, because that has one current stack for all kernel threads
/// (lwp/src/checkers.rs), and nobody who hands it over to another kernel thread: valgrind runs one
/// at a time, and to the monitor each of the others seems to block.
fn machine() -> Runtime {
    match std::env::var_os("LISLE_TEST_VALGRIND") {
        Some(_) => steady(1),
        None => runtime(2),
    }
}

fn ready<T: Send + 'static>(value: T) -> T {
    thread::yield_now();
    value
}

/// Writes so many KiB of stack, comes back after others have run, and finds them as they were.
#[inline(never)]
fn descend(kib: usize, seed: usize) -> usize {
    let mut frame = [0; 128];
    for (place, word) in frame.iter_mut().enumerate() {
        *word = place ^ seed ^ kib;
    }
    let below = match kib {
        0 => 0,
        _ => 1 + descend(kib - 1, seed),
    };
    if kib.is_multiple_of(8) {
        thread::yield_now();
    }
    let words = black_box(&frame).iter().enumerate();
    assert!(words.fold(true, |same, (place, word)| same
        & (*word == place ^ seed ^ kib)));
    below
}

#[test]
fn many_are_spawned_and_joined() {
    let _dog = watchdog();
    let rt = machine();
    let threads: Vec<_> = (0..many(1_000))
        .map(|n| {
            on(&rt, move || {
                thread::yield_now();
                child(move || ready(n)).join().unwrap() + 1
            })
        })
        .collect();
    let sum: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
    assert_eq!(sum, (1..=many(1_000)).sum());
    end(rt);
}

#[test]
fn stacks_of_every_size_are_used_deeply_and_again() {
    let _dog = watchdog();
    let rt = machine();
    for round in 0..3 {
        let threads: Vec<_> = [64, 128, 256, 1 << 10, 4 << 10]
            .iter()
            .flat_map(|size| [(size, 0), (size, 1)])
            .map(|(size, which)| {
                // Debug builds use more than twice what it asks for. In each round another part.
                let kib = size / 5 / (round + 1);
                let builder = Builder::new().on(&rt).stack_size(size << 10);
                (kib, spawn(builder, move || descend(kib, round * 2 + which)))
            })
            .collect();
        for (kib, thread) in threads {
            assert_eq!(thread.join().unwrap(), kib);
        }
    }
    end(rt);
}

#[test]
fn results_and_closures_own_memory() {
    let _dog = watchdog();
    let rt = machine();
    let drops = Arc::new(());
    for n in 0..many(200) {
        let held = drops.clone();
        let text = format!("{n} and more");
        let thread = on(&rt, move || (text.repeat(n % 7), vec![n; n], held));
        let (text, numbers, held) = thread.join().unwrap();
        assert_eq!(text.len(), (n % 7) * format!("{n} and more").len());
        assert!(numbers.len() == n && numbers.iter().all(|m| *m == n));
        drop(held);
    }
    assert_eq!(Arc::strong_count(&drops), 1);
    end(rt);
}

#[test]
fn detached_threads_drop_what_they_own_and_return() {
    let _dog = watchdog();
    let rt = machine();
    let (drops, ran) = (Arc::new(()), Arc::new(AtomicUsize::new(0)));
    for n in 0..many(100) {
        let (held, ran) = (drops.clone(), ran.clone());
        let thread = on(&rt, move || {
            if n % 2 == 0 {
                thread::yield_now();
            }
            ran.fetch_add(1, Ordering::Relaxed);
            (vec![n; 100], held)
        });
        // Some have ended by now, and some have not begun.
        drop(thread);
    }
    end(rt);
    assert_eq!(ran.load(Ordering::Relaxed), many(100));
    assert_eq!(Arc::strong_count(&drops), 1);
}

#[test]
fn panics_unwind_and_reach_the_joiner() {
    let _dog = watchdog();
    let rt = machine();
    let drops = Arc::new(());
    let threads: Vec<JoinHandle<()>> = (0..many(50))
        .map(|n| {
            let held = drops.clone();
            on(&rt, move || {
                let _held = held;
                let deep: JoinHandle<()> = child(move || {
                    descend(4, n);
                    // Without the hook, which would fill the log.
                    resume_unwind(Box::new(format!("no {n}")))
                });
                resume_unwind(deep.join().unwrap_err())
            })
        })
        .collect();
    for (n, thread) in threads.into_iter().enumerate() {
        let payload = thread.join().unwrap_err();
        assert_eq!(message(&*payload), format!("no {n}"));
    }
    assert_eq!(Arc::strong_count(&drops), 1);
    end(rt);
}

#[test]
fn values_move_through_channels_of_every_kind() {
    let _dog = watchdog();
    let rt = machine();
    let drops = Arc::new(());
    for capacity in [None, Some(0), Some(1), Some(16)] {
        let (sender, receiver) = capacity.map_or_else(unbounded, bounded);
        let count = many(200);
        let senders = [0, 1].map(|which| {
            let (sender, drops) = (sender.clone(), drops.clone());
            on(&rt, move || {
                for n in 0..count {
                    let sent = sender.send((which, vec![n; 3], drops.clone()));
                    assert!(sent.is_ok());
                }
            })
        });
        drop(sender);
        let reader = on(&rt, move || {
            let mut next = [0; 2];
            while let Ok((which, numbers, _held)) = receiver.recv() {
                assert_eq!(numbers, [next[which]; 3]);
                next[which] += 1;
            }
            next
        });
        senders.into_iter().for_each(|t| t.join().unwrap());
        assert_eq!(reader.join().unwrap(), [count; 2]);
        // Nobody takes these.
        let (sender, receiver) = bounded(4);
        (0..4).for_each(|_| assert!(sender.send(drops.clone()).is_ok()));
        let refused = on(&rt, move || {
            sender.send_timeout(Arc::new(()), TICK).is_err()
        });
        assert!(refused.join().unwrap());
        drop(receiver);
    }
    assert_eq!(Arc::strong_count(&drops), 1);
    end(rt);
}

#[test]
fn select_takes_each_value_once() {
    let _dog = watchdog();
    let rt = machine();
    let (one, ones) = unbounded();
    let (two, twos) = bounded(0);
    let count = many(200);
    let reader = on(&rt, move || {
        let (mut seen, mut late) = ([Vec::new(), Vec::new()], 0);
        while seen[0].len() + seen[1].len() < 2 * count {
            select! {
                recv(ones) -> text => seen[0].push(text.unwrap()),
                recv(twos) -> text => seen[1].push(text.unwrap()),
                default(TICK) => late += 1,
            }
        }
        black_box(late);
        seen
    });
    // So that neither is closed before the reader has seen all of both.
    let _open = (one.clone(), two.clone());
    let text = |n: usize| format!("number {n}");
    let first = on(&rt, move || {
        (0..count).for_each(|n| one.send(text(n)).unwrap())
    });
    let second = on(&rt, move || {
        (0..count).for_each(|n| two.send(text(n)).unwrap())
    });
    let expected: Vec<_> = (0..count).map(text).collect();
    assert_eq!(reader.join().unwrap(), [expected.clone(), expected]);
    first.join().unwrap();
    second.join().unwrap();
    end(rt);
}

#[test]
fn locks_conditions_and_permits_count_right() {
    let _dog = watchdog();
    let rt = machine();
    let shared = Arc::new((Mutex::new(Vec::new()), Condvar::new(), Semaphore::new(2)));
    let inside = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..10)
        .map(|n| {
            let (shared, inside) = (shared.clone(), inside.clone());
            on(&rt, move || {
                let (list, grown, permits) = &*shared;
                for _ in 0..many(50) {
                    let permit = permits.acquire().unwrap();
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 2);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(permit);
                    let mut list = list.lock().unwrap();
                    list.push(Box::new(n));
                    thread::yield_now();
                    drop(list);
                    grown.notify_all();
                }
            })
        })
        .collect();
    let (list, grown, _) = &*shared;
    let list = grown.wait_while(list.lock().unwrap(), |list| list.len() < 10 * many(50));
    assert_eq!(
        list.unwrap().iter().map(|n| **n).sum::<usize>(),
        45 * many(50)
    );
    threads.into_iter().for_each(|t| t.join().unwrap());
    end(rt);
}

#[test]
fn deadlines_pass_and_are_withdrawn() {
    let _dog = watchdog();
    let rt = machine();
    let order = Log::new();
    let sleepers: Vec<_> = (0..many(100))
        .map(|n| {
            let order = order.clone();
            on(&rt, move || {
                thread::sleep(TICK * (n as u32 % 5));
                order.note(Box::new(n));
            })
        })
        .collect();
    let until = on(&rt, || {
        let deadline = time::now() + TICK;
        time::sleep_until(deadline);
        time::now() >= deadline
    });
    assert!(until.join().unwrap());
    // The timeout is taken out of the heap before its frame goes.
    let (sender, receiver) = unbounded();
    let early = on(&rt, move || receiver.recv_timeout(LONG));
    sender.send(vec![7; 7]).unwrap();
    assert_eq!(early.join().unwrap(), Ok(vec![7; 7]));
    let (_sender, receiver) = unbounded::<Vec<u8>>();
    let late = on(&rt, move || receiver.recv_timeout(TICK));
    assert_eq!(late.join().unwrap(), Err(RecvTimeoutError::Timeout));
    sleepers.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!(order.len(), many(100));
    end(rt);
}

#[test]
fn cancelled_threads_drop_what_they_own() {
    let _dog = watchdog();
    let rt = machine();
    let drops = Arc::new(());
    let (_sender, receiver) = unbounded::<()>();
    type Wait = Box<dyn FnOnce() + Send>;
    let waits: [(&str, Wait); 3] = [
        ("park", Box::new(thread::park)),
        ("sleep", Box::new(|| thread::sleep(LONG))),
        (
            "receive on channel",
            Box::new(move || receiver.recv().unwrap()),
        ),
    ];
    for (reason, wait) in waits {
        let held = vec![drops.clone(); 3];
        let waiter = on(&rt, move || {
            wait();
            held.len()
        });
        until_waiting(waiter.thread(), reason);
        waiter.thread().cancel();
        assert!(waiter.join().unwrap_err().is::<Cancelled>());
    }
    assert_eq!(Arc::strong_count(&drops), 1);
    end(rt);
}

#[test]
fn a_server_echoes() {
    let _dog = watchdog();
    let rt = machine();
    let clients = 4;
    let (listener, address) = on(&rt, || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    })
    .join()
    .unwrap();
    let server = on(&rt, move || {
        let serve = |mut stream: TcpStream| {
            let mut buffer = [0; 256];
            let mut served = 0;
            loop {
                match stream.read(&mut buffer).unwrap() {
                    0 => break served,
                    n => stream.write_all(&buffer[..n]).unwrap(),
                }
                served += 1;
            }
        };
        let served: Vec<_> = (0..clients)
            .map(|_| {
                let stream = listener.accept().unwrap().0;
                child(move || serve(stream))
            })
            .collect();
        served.into_iter().all(|t| t.join().unwrap() > 0)
    });
    let clients: Vec<_> = (0..clients)
        .map(|which| {
            on(&rt, move || {
                let mut stream = TcpStream::connect(address).unwrap();
                for n in 0..many(50) {
                    let said = format!("{n} of {which}").into_bytes();
                    stream.write_all(&said).unwrap();
                    let mut heard = vec![0; said.len()];
                    stream.read_exact(&mut heard).unwrap();
                    assert_eq!(heard, said);
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|t| t.join().unwrap());
    assert!(server.join().unwrap());
    end(rt);
}

#[test]
fn runtimes_come_and_go() {
    let _dog = watchdog();
    for round in 0..4 {
        let rt = machine();
        let threads: Vec<_> = (0..20)
            .map(|n| on(&rt, move || descend(n % 5, round) + ready(vec![n]).len()))
            .collect();
        let sum: usize = threads.into_iter().map(|t| t.join().unwrap()).sum();
        assert_eq!(sum, 20 + 4 * (1 + 2 + 3 + 4));
        end(rt);
    }
}
