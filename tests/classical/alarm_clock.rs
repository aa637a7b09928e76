//! The alarm clock (Hoare, 1974): a thread sleeps a number of ticks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lisle::thread;

use super::harness::{Kind, Stage, child, quiesce, serve};

pub(crate) trait Clock: Send + Sync + 'static {
    fn new() -> Self;
    fn tick(&self);
    fn sleep(&self, ticks: u64);
}

pub(crate) fn drive<S: Clock>(stage: &Arc<Stage>) {
    if stage.kind == Kind::Seeded {
        punctual::<S>();
    }
    let (clock, now) = (Arc::new(S::new()), Arc::new(AtomicU64::new(0)));
    let over = Arc::new(AtomicBool::new(false));
    let ticker = child({
        let (clock, now, over) = (clock.clone(), now.clone(), over.clone());
        move || {
            while !over.load(Ordering::SeqCst) {
                now.fetch_add(1, Ordering::SeqCst);
                clock.tick();
                thread::yield_now();
            }
        }
    });
    let actors = stage.clone();
    stage.crowd(4, 0..2, move |_, _| {
        let ticks = actors.random(4);
        // A tick may be under way.
        let begun = now.load(Ordering::SeqCst).saturating_sub(1);
        let operation = actors.ask();
        clock.sleep(ticks);
        operation.enter();
        assert!(
            now.load(Ordering::SeqCst) >= begun + ticks,
            "woken too early"
        );
    });
    over.store(true, Ordering::SeqCst);
    ticker.join().unwrap();
}

/// Everybody is woken by the tick that is due, not by another.
fn punctual<S: Clock>() {
    let clock = Arc::new(S::new());
    let sleepers = [3, 1, 2, 1, 5].map(|ticks| {
        let clock = clock.clone();
        (ticks, child(move || clock.sleep(ticks)))
    });
    for now in 1..=5 {
        quiesce();
        clock.tick();
        quiesce();
        for (ticks, sleeper) in &sleepers {
            assert_eq!(
                sleeper.is_finished(),
                *ticks <= now,
                "{ticks} ticks, at {now}"
            );
        }
    }
    for (_, sleeper) in sleepers {
        sleeper.join().unwrap();
    }
}

pub(crate) mod semaphore {
    use super::*;
    use lisle::sync::{Mutex, Semaphore};

    //: alarm semaphore
    /// A private semaphore for each sleeper.
    #[derive(Default)]
    pub(crate) struct Alarm(Mutex<(u64, Vec<(u64, Arc<Semaphore>)>)>);

    impl Clock for Alarm {
        fn new() -> Self {
            Alarm::default()
        }

        fn tick(&self) {
            let (now, sleepers) = &mut *self.0.lock().unwrap();
            *now += 1;
            for (_, sleeper) in sleepers.extract_if(.., |(due, _)| due <= now) {
                sleeper.v();
            }
        }

        fn sleep(&self, ticks: u64) {
            if ticks == 0 {
                return;
            }
            let wake = Arc::new(Semaphore::new(0));
            let mut alarm = self.0.lock().unwrap();
            let due = alarm.0 + ticks;
            alarm.1.push((due, wake.clone()));
            drop(alarm);
            wake.p();
        }
    }
    //:
}

pub(crate) mod mesa {
    use super::*;
    use lisle::sync::Monitor;

    //: alarm mesa
    const TICK: usize = 0;

    #[derive(Default)]
    pub(crate) struct Alarm(Monitor<u64>);

    impl Clock for Alarm {
        fn new() -> Self {
            Alarm::default()
        }

        fn tick(&self) {
            let mut now = self.0.enter();
            *now += 1;
            now.notify_all(TICK);
        }

        fn sleep(&self, ticks: u64) {
            let mut now = self.0.enter();
            let due = *now + ticks;
            now.wait_while(TICK, |now| *now < due);
        }
    }
    //:
}

pub(crate) mod hoare {
    use super::*;
    use lisle::sync::Monitor;

    //: alarm hoare
    const WAKE_UP: usize = 0;

    #[derive(Default)]
    pub(crate) struct Alarm(Monitor<u64>);

    impl Clock for Alarm {
        fn new() -> Self {
            Alarm::default()
        }

        fn tick(&self) {
            let mut now = self.0.enter();
            *now += 1;
            now.signal(WAKE_UP);
        }

        fn sleep(&self, ticks: u64) {
            let mut now = self.0.enter();
            let due = *now + ticks;
            while *now < due {
                now.wait_ranked(WAKE_UP, due);
            }
            // Somebody else may be due now, too.
            now.signal(WAKE_UP);
        }
    }
    //:
}

pub(crate) mod region {
    use super::*;
    use lisle::sync::Region;

    //: alarm region
    #[derive(Default)]
    pub(crate) struct Alarm(Region<u64>);

    impl Clock for Alarm {
        fn new() -> Self {
            Alarm::default()
        }

        fn tick(&self) {
            self.0.enter(|now| **now += 1);
        }

        fn sleep(&self, ticks: u64) {
            self.0.enter(|now| {
                let due = **now + ticks;
                now.wait_until(|now| *now >= due);
            });
        }
    }
    //:
}

pub(crate) mod serializer {
    use super::*;
    use lisle::sync::Serializer;

    //: alarm serializer
    const QUEUE: usize = 0;

    #[derive(Default)]
    pub(crate) struct Alarm(Serializer<u64, 1, 0>);

    impl Clock for Alarm {
        fn new() -> Self {
            Alarm::default()
        }

        fn tick(&self) {
            *self.0.enter() += 1;
        }

        fn sleep(&self, ticks: u64) {
            let mut now = self.0.enter();
            let due = *now + ticks;
            now.enqueue_ranked(QUEUE, due, |now| **now >= due);
        }
    }
    //:
}

pub(crate) mod channel {
    use super::*;
    use lisle::channel::{Sender, oneshot, unbounded};

    //: alarm channel
    enum Message {
        Tick,
        Sleep(u64, oneshot::Sender<()>),
    }

    pub(crate) struct Alarm(Sender<Message>);

    impl Clock for Alarm {
        fn new() -> Self {
            let (sender, messages) = unbounded();
            serve(move || {
                let (mut now, mut sleepers) = (0, Vec::new());
                for message in messages.iter() {
                    match message {
                        Message::Tick => now += 1,
                        Message::Sleep(ticks, wake) => sleepers.push((now + ticks, wake)),
                    }
                    for (_, wake) in sleepers.extract_if(.., |(due, _)| *due <= now) {
                        // Who has been cancelled hears nothing.
                        let _ = wake.send(());
                    }
                }
            });
            Alarm(sender)
        }

        fn tick(&self) {
            self.0.send(Message::Tick).unwrap();
        }

        fn sleep(&self, ticks: u64) {
            let (wake, woken) = oneshot::channel();
            self.0.send(Message::Sleep(ticks, wake)).unwrap();
            woken.recv().unwrap();
        }
    }
    //:
}

pub(crate) mod rendezvous {
    use super::*;
    use lisle::channel::rendezvous::{Accept, Chosen, Entry, entry};
    use lisle::channel::{Receiver, bounded};

    //: alarm rendezvous
    /// To sleep is to be given a bell, and to wait at it.
    pub(crate) struct Alarm {
        tick: Entry<(), ()>,
        sleep: Entry<u64, Receiver<()>>,
    }

    impl Clock for Alarm {
        fn new() -> Self {
            let ((tick, ticks), (sleep, sleeps)) = (entry(), entry());
            serve(move || {
                let (mut now, mut bells) = (0, Vec::new());
                loop {
                    let mut accept = Accept::new();
                    let tick = accept.or(&ticks);
                    accept.or(&sleeps);
                    match accept.or_terminate().select() {
                        Ok(Chosen::Call(call)) if call.index() == tick => {
                            call.accept(&ticks, |()| now += 1);
                        }
                        Ok(Chosen::Call(call)) => call.accept(&sleeps, |ticks| {
                            let (ring, bell) = bounded(0);
                            bells.push((now + ticks, ring));
                            bell
                        }),
                        _ => return,
                    }
                    for (_, ring) in bells.extract_if(.., |(due, _)| *due <= now) {
                        // Who has been cancelled does not hear it.
                        let _ = ring.send(());
                    }
                }
            });
            Alarm { tick, sleep }
        }

        fn tick(&self) {
            self.tick.call(()).unwrap();
        }

        fn sleep(&self, ticks: u64) {
            self.sleep.call(ticks).unwrap().recv().unwrap();
        }
    }
    //:
}
