//! The mailbox under test: once as it is, and broken on purpose.

use std::sync::Arc;

use crate::Mailbox;
use spawn::spawn;

/// Threads: loom's in a model, else std's (kernel threads, which lisle's
/// primitives serve like its own).
mod spawn {
    #[cfg(lisle_loom)]
    pub(super) use loom::thread::spawn;
    #[cfg(not(lisle_loom))]
    pub(super) use std::thread::spawn;
}

/// Runs the test: once, or under all interleavings with at most one involuntary
/// switch (switches where a thread waits are not counted). Each more takes some
/// fifty times as long.
fn check(test: impl Fn() + Send + Sync + 'static) {
    #[cfg(lisle_loom)]
    {
        let mut model = loom::model::Builder::new();
        model.preemption_bound = Some(1);
        model.check(test);
    }
    #[cfg(not(lisle_loom))]
    test();
}

#[test]
fn messages_arrive_in_order() {
    check(|| {
        let mailbox = Arc::new(Mailbox::new());
        let sender = mailbox.clone();
        let putting = spawn(move || {
            sender.put(1);
            sender.put(2);
        });
        assert_eq!([mailbox.take(), mailbox.take()], [1, 2]);
        putting.join().unwrap();
    });
}

/// Puts a message, and takes it back and puts it again if nobody was faster.
fn put_twice(mailbox: &Mailbox<u32>) {
    mailbox.put(1);
    if let Some(message) = mailbox.try_take() {
        mailbox.put(message);
    }
}

#[test]
fn a_taker_waits_on_if_another_was_faster() {
    check(|| {
        let mailbox = Arc::new(Mailbox::new());
        let other = mailbox.clone();
        let putting = spawn(move || put_twice(&other));
        assert_eq!(mailbox.take(), 1);
        putting.join().unwrap();
    });
}

/// Mistakes that an ordinary test seldom meets and a model always does.
#[cfg(lisle_loom)]
mod broken {
    use super::*;

    /// Looks and waits in two steps: a message that is put between them is not
    /// noticed, and its notify finds nobody.
    fn take_hastily(mailbox: &Mailbox<u32>) -> u32 {
        loop {
            if let Some(message) = mailbox.slot.lock().unwrap().take() {
                return message;
            }
            let slot = mailbox.slot.lock().unwrap();
            drop(mailbox.filled.wait(slot).unwrap());
        }
    }

    #[test]
    #[should_panic(expected = "deadlock")]
    fn the_model_finds_a_lost_wake_up() {
        check(|| {
            let mailbox = Arc::new(Mailbox::new());
            let sender = mailbox.clone();
            let putting = spawn(move || sender.put(1));
            assert_eq!(take_hastily(&mailbox), 1);
            putting.join().unwrap();
        });
    }

    /// Waits once and trusts the notify: another taker may have come first.
    fn take_trustingly(mailbox: &Mailbox<u32>) -> u32 {
        let mut slot = mailbox.slot.lock().unwrap();
        if slot.is_none() {
            slot = mailbox.filled.wait(slot).unwrap();
        }
        let message = slot.take().expect("somebody said that it is filled");
        mailbox.emptied.notify_one();
        message
    }

    #[test]
    #[should_panic(expected = "somebody said that it is filled")]
    fn the_model_finds_a_stolen_message() {
        check(|| {
            let mailbox = Arc::new(Mailbox::new());
            let other = mailbox.clone();
            let putting = spawn(move || put_twice(&other));
            assert_eq!(take_trustingly(&mailbox), 1);
            putting.join().unwrap();
        });
    }
}
