//! What every flavour promises, a test for each promise, on full threads, light
//! threads and kernel threads at once.

use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lisle::channel::{Receiver, Sender, bounded, select, unbounded};
use lisle::{Runtime, thread};

use super::support::{end, many, message, on, runtime, watchdog};
use super::{FLAVOURS, TICK, channel};

/// Runs a part as a light thread, a full thread and a kernel thread, each
/// `copies` times; returns what they returned.
fn crowd<T, F>(runtime: &Runtime, copies: usize, part: F) -> Vec<T>
where
    F: Fn(usize) -> T + Send + Clone + 'static,
    T: Send + 'static,
{
    let parts = |kind: usize| {
        (0..copies).map(move |copy| kind * copies + copy).map({
            let part = part.clone();
            move |number| {
                let part = part.clone();
                move || part(number)
            }
        })
    };
    let light: Vec<_> = parts(0).map(|part| on(runtime, part)).collect();
    let full = parts(1).map(|part| thread::Builder::new().on(runtime).spawn(part).unwrap());
    let full: Vec<_> = full.collect();
    let kernel: Vec<_> = parts(2).map(std::thread::spawn).collect();
    let lisle = light
        .into_iter()
        .chain(full)
        .map(|thread| thread.join().unwrap());
    lisle
        .chain(kernel.into_iter().map(|thread| thread.join().unwrap()))
        .collect()
}

#[test]
fn first_in_first_out_per_sender_and_taken_exactly_once() {
    let _dog = watchdog();
    let rt = runtime(2);
    let each = many(300);
    for flavour in FLAVOURS {
        let (sender, receiver) = channel(flavour);
        let own = receiver.clone();
        let receiving = std::thread::spawn({
            let rt = runtime(1);
            move || {
                let got = crowd(&rt, 1, move |_| own.iter().collect::<Vec<(usize, usize)>>());
                end(rt);
                got
            }
        });
        drop(receiver);
        crowd(&rt, 2, move |number| {
            for i in 0..each {
                match i % 3 {
                    0 => sender.send((number, i)).unwrap(),
                    1 => select! { send(sender, (number, i)) -> sent => sent.unwrap() },
                    _ => {
                        let mut message = (number, i);
                        while let Err(late) = sender.send_timeout(message, TICK) {
                            message = late.into_inner();
                        }
                    }
                }
            }
        });
        let got = receiving.join().unwrap();
        let mut all: Vec<_> = got.concat();
        for received in &got {
            for number in 0..6 {
                let own = received.iter().filter(|message| message.0 == number);
                assert!(own.is_sorted(), "in order per sender");
            }
        }
        all.sort_unstable();
        let expected = (0..6).flat_map(|number| (0..each).map(move |i| (number, i)));
        assert!(all.into_iter().eq(expected), "each exactly once");
    }
    end(rt);
}

#[test]
fn after_disconnection_everything_buffered_is_still_received() {
    let _dog = watchdog();
    let rt = runtime(2);
    for flavour in [None, Some(30)] {
        let (sender, receiver) = channel(flavour);
        crowd(&rt, 1, move |number| {
            (0..10).for_each(|i| sender.send(number * 10 + i).unwrap());
        });
        let mut got: Vec<_> = crowd(&rt, 1, move |_| receiver.iter().collect::<Vec<_>>()).concat();
        got.sort_unstable();
        assert!(got.into_iter().eq(0..30));
    }
    end(rt);
}

#[test]
fn a_select_on_both_ends_of_the_same_channels_commits_exactly_one_arm() {
    let _dog = watchdog();
    let rt = runtime(2);
    let rounds = many(500);
    for flavour in FLAVOURS {
        let (a, b) = (channel::<isize>(flavour), channel::<isize>(flavour));
        let (ours, rest) = ((a.clone(), b.clone()), [a.1, b.1]);
        let still = Arc::new(AtomicUsize::new(6));
        let totals = crowd(&rt, 2, move |number| {
            let ((a, b), mut sum, mut round) = (&ours, 0, 0);
            let value = number as isize + 1;
            while round < rounds {
                sum += select! {
                    send(a.0, value) -> sent => { sent.unwrap(); -value }
                    send(b.0, value) -> sent => { sent.unwrap(); -value }
                    recv(a.1) -> value => value.unwrap(),
                    recv(b.1) -> value => value.unwrap(),
                    default(10 * TICK) => match still.load(Ordering::Relaxed) {
                        // The last one left has nobody to meet.
                        1 => break,
                        _ => continue,
                    },
                };
                round += 1;
            }
            still.fetch_sub(1, Ordering::Relaxed);
            (sum, round)
        });
        let commits: usize = totals.iter().map(|(_, rounds)| rounds).sum();
        assert!(commits >= 5 * rounds, "only {commits} arms were committed");
        let left: isize = rest.iter().flat_map(Receiver::try_iter).sum();
        let total: isize = totals.into_iter().map(|(sum, _)| sum).sum();
        assert_eq!(total + left, 0, "received or left is what was sent");
    }
    end(rt);
}

#[test]
fn no_arm_starves_under_the_fair_form() {
    let _dog = watchdog();
    let rt = runtime(1);
    let counts = on(&rt, || {
        let channels: Vec<(Sender<()>, Receiver<()>)> = (0..4).map(|_| unbounded()).collect();
        let mut counts = [0; 4];
        for _ in 0..4000 {
            channels
                .iter()
                .for_each(|(sender, _)| sender.send(()).unwrap());
            select! {
                recv(channels[0].1) -> _ => counts[0] += 1,
                recv(channels[1].1) -> _ => counts[1] += 1,
                recv(channels[2].1) -> _ => counts[2] += 1,
                recv(channels[3].1) -> _ => counts[3] += 1,
            }
        }
        counts
    });
    let counts = counts.join().unwrap();
    // Far beyond any deviation that chance allows.
    assert!(
        counts.iter().all(|count| (800..1200).contains(count)),
        "{counts:?}"
    );
    end(rt);
}

/// Counts how often it is dropped; one of them panics then.
struct Fragile(Arc<AtomicUsize>, bool);

impl Drop for Fragile {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
        assert!(!self.1, "fragile");
    }
}

#[test]
fn values_are_dropped_exactly_once_though_dropping_panics() {
    for flavour in [None, Some(4)] {
        let drops = Arc::new(AtomicUsize::new(0));
        let (sender, receiver) = channel(flavour);
        for n in 0..4 {
            assert!(sender.send(Fragile(drops.clone(), n % 2 == 0)).is_ok());
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| drop(receiver)));
        assert_eq!(message(&*panicked.unwrap_err()), "fragile");
        assert_eq!(drops.load(Ordering::Relaxed), 4);
        drop(sender);
        assert_eq!(drops.load(Ordering::Relaxed), 4);
    }
}

/// Says whether a type has an auto trait, as a value.
macro_rules! has {
    ($type:ty: $bound:path) => {{
        #[allow(dead_code)] // used only if the bound does not hold
        trait Otherwise {
            const HAS: bool = false;
        }
        impl<T: ?Sized> Otherwise for T {}
        struct Probe<T: ?Sized>(std::marker::PhantomData<T>);
        #[allow(dead_code)] // used only if the bound holds
        impl<T: ?Sized + $bound> Probe<T> {
            const HAS: bool = true;
        }
        <Probe<$type>>::HAS
    }};
}

/// Compares auto traits with crossbeam-channel's type of the same name.
macro_rules! as_crossbeams {
    ($($name:ident<$($argument:ty),*>;)*) => { $(
        {
            type Ours<'a> = lisle::channel::$name<$($argument),*>;
            type Theirs<'a> = crossbeam_channel::$name<$($argument),*>;
            let traits = [
                (has!(Ours<'static>: Send), has!(Theirs<'static>: Send)),
                (has!(Ours<'static>: Sync), has!(Theirs<'static>: Sync)),
                (has!(Ours<'static>: Unpin), has!(Theirs<'static>: Unpin)),
                (has!(Ours<'static>: UnwindSafe), has!(Theirs<'static>: UnwindSafe)),
                (has!(Ours<'static>: RefUnwindSafe), has!(Theirs<'static>: RefUnwindSafe)),
            ];
            for (at, (ours, theirs)) in traits.into_iter().enumerate() {
                assert!(ours || !theirs, "{} lacks trait {at}", stringify!($name<$($argument),*>));
                assert!(at > 1 || ours == theirs, "{} has trait {at}", stringify!($name));
            }
        }
    )* };
}

#[test]
fn auto_traits_are_crossbeams() {
    use std::cell::Cell;
    use std::rc::Rc;
    as_crossbeams! {
        Sender<u8>;
        Sender<Cell<u8>>;
        Sender<Rc<u8>>;
        Receiver<u8>;
        Receiver<Cell<u8>>;
        Receiver<Rc<u8>>;
        IntoIter<u8>;
        IntoIter<Rc<u8>>;
    }
    type OurIter = lisle::channel::Iter<'static, Rc<u8>>;
    assert!(!has!(OurIter: Send));
    type OurSelect = lisle::channel::Select<'static>;
    assert!(has!(OurSelect: Send) && has!(OurSelect: Sync));
    type Selected = lisle::channel::SelectedOperation<'static>;
    assert!(!has!(Selected: Send) && !has!(Selected: Sync));
    type Future = lisle::channel::RecvFuture<'static, Rc<u8>>;
    assert!(!has!(Future: Send));
    let _ = bounded::<u8>(0);
}

/// Two who each take one for one that they have sent never fill three places.
#[test]
fn a_channel_that_has_room_is_not_full() {
    let _dog = watchdog();
    let (sender, receiver) = bounded(2);
    let [one, other] = [0, 1].map(|tries| {
        let (sender, receiver) = (sender.clone(), receiver.clone());
        std::thread::spawn(move || {
            for n in 0..many(200_000) {
                match tries {
                    0 => sender.send(n).unwrap(),
                    _ => sender.try_send(n).expect("there is room"),
                }
                receiver.recv().unwrap();
            }
        })
    });
    one.join().unwrap();
    other.join().unwrap();
}
