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

/// Runs the test: under all interleavings, or once.
fn check(test: impl Fn() + Send + Sync + 'static) {
    #[cfg(lisle_loom)]
    {
        let mut model = loom::model::Builder::new();
        // Most mistakes need no more than two involuntary switches; the bound
        // keeps the models to seconds.
        model.preemption_bound = Some(2);
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

#[test]
fn two_takers_get_one_message_each() {
    check(|| {
        let mailbox = Arc::new(Mailbox::new());
        let other = mailbox.clone();
        let taking = spawn(move || other.take());
        let sender = mailbox.clone();
        let putting = spawn(move || {
            sender.put(1);
            sender.put(2);
        });
        let mut taken = [mailbox.take(), taking.join().unwrap()];
        taken.sort_unstable();
        assert_eq!(taken, [1, 2]);
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
            let taking = spawn(move || take_trustingly(&other));
            let sender = mailbox.clone();
            let putting = spawn(move || {
                sender.put(1);
                sender.put(2);
            });
            take_trustingly(&mailbox);
            taking.join().unwrap();
            putting.join().unwrap();
        });
    }
}
