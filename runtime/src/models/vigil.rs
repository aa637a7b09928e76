//! The monitor's sleep: it does not last while an LWP is at work. Whoever is left asleep for
//! ever deadlocks. Sleepers, roster and vigil are the real ones.

use std::sync::Arc;

use lisle_lwp::explore::{Turns, outcomes};
use lisle_lwp::owner::{Holder, HolderId, OwnerWord};
use lisle_lwp::sleep::Sleeper;
use loom::thread::{JoinHandle, spawn};

use crate::sched::roster::Roster;
use crate::sched::sleepers::{Bed, Sleepers};
use crate::watch::vigil::Vigil;

struct Runtime {
    vigil: Vigil,
    sleepers: Sleepers,
    roster: Roster,
    /// Where LWP 0 sleeps.
    bed: Sleeper,
    /// Of the last LWP.
    word: OwnerWord,
    holder: Holder,
    turns: Turns,
}

impl Runtime {
    /// All LWPs sleep but the last one, which is about to fall asleep or retire.
    fn new(lwps: usize) -> Arc<Runtime> {
        let runtime = Runtime {
            vigil: Vigil::new(),
            sleepers: Sleepers::new(lwps),
            roster: Roster::new(lwps),
            bed: Sleeper::new(),
            word: OwnerWord::new(),
            holder: Holder::new(),
            turns: Turns::new(),
        };
        let id = HolderId::new(1).unwrap();
        assert!(runtime.word.claim(&runtime.holder, id));
        for lwp in 1..lwps {
            let _ = runtime.fall_asleep(lwp - 1);
        }
        Arc::new(runtime)
    }

    fn fall_asleep(&self, lwp: usize) -> Bed {
        self.sleepers.start_search();
        self.sleepers.fall_asleep(lwp, false)
    }

    /// As `Shared::all_sleep`.
    fn all_sleep(&self) -> bool {
        self.turns.take();
        self.sleepers.asleep() >= self.roster.serving()
    }

    /// A monitor that has found nothing to do, until it sees an LWP at work. Returns how
    /// often it slept.
    fn monitor(self: &Arc<Self>) -> JoinHandle<u32> {
        let runtime = self.clone();
        spawn(move || {
            let mut sleeps = 0;
            while runtime.all_sleep() {
                let sleep = || {
                    sleeps += 1;
                    None
                };
                runtime.vigil.rest(|| runtime.all_sleep(), sleep);
            }
            sleeps
        })
    }

    /// The LWP gets up by itself, and stays at work.
    fn get_up(&self, bed: Bed) {
        self.turns.take();
        assert!(self.sleepers.get_up(bed));
        self.turns.take();
        self.vigil.look_out();
        let _ = self.sleepers.stop_search();
    }

    /// As the idle context: the last LWP retires. It is at work again if it is wanted after all.
    fn retire(&self, lwp: usize) -> bool {
        let again = self.roster.leave(lwp, &self.word, &self.holder);
        if again {
            self.vigil.look_out();
        }
        again
    }
}

#[test]
fn get_up_against_monitor_sleep() {
    let seen = outcomes(Some(6), || {
        let runtime = Runtime::new(1);
        let bed = runtime.fall_asleep(0);
        let monitor = runtime.monitor();
        runtime.get_up(bed);
        monitor.join().unwrap()
    });
    assert_eq!(Vec::from_iter(seen), [0, 1]);
}

/// A submitter wakes the LWP, which wakes the monitor.
#[test]
fn submit_against_monitor_sleep() {
    let seen = outcomes(Some(3), || {
        let runtime = Runtime::new(1);
        let bed = runtime.fall_asleep(0);
        let monitor = runtime.monitor();
        let lwp = runtime.clone();
        let lwp = spawn(move || {
            lwp.bed.sleep(None);
            assert!(!lwp.sleepers.get_up(bed));
            lwp.vigil.look_out();
        });
        runtime.turns.take();
        assert_eq!(runtime.sleepers.announce(), Some(bed));
        runtime.bed.wake();
        lwp.join().unwrap();
        monitor.join().unwrap()
    });
    assert_eq!(Vec::from_iter(seen), [0, 1]);
}

/// Two get up: one of them wakes it.
#[test]
fn get_up_against_get_up() {
    let seen = outcomes(Some(2), || {
        let runtime = Runtime::new(2);
        let bed = runtime.fall_asleep(1);
        let monitor = runtime.monitor();
        let other = runtime.clone();
        let other = spawn(move || other.get_up(bed));
        runtime.get_up(Bed::Alone(0));
        other.join().unwrap();
        monitor.join().unwrap()
    });
    assert_eq!(Vec::from_iter(seen), [0, 1]);
}

/// It is woken because spares are few, and falls asleep again while an LWP gets up.
#[test]
fn get_up_against_second_sleep() {
    let seen = outcomes(Some(3), || {
        let runtime = Runtime::new(1);
        let bed = runtime.fall_asleep(0);
        let monitor = runtime.monitor();
        let other = runtime.clone();
        let other = spawn(move || other.vigil.wake());
        runtime.get_up(bed);
        other.join().unwrap();
        monitor.join().unwrap()
    });
    assert_eq!(Vec::from_iter(seen), [0, 1, 2]);
}

/// An LWP is added again while it retires: before, while or after the monitor falls asleep because all
/// others sleep.
#[test]
fn add_against_retire_and_monitor_sleep() {
    let seen = outcomes(Some(3), || {
        let runtime = Runtime::new(2);
        runtime.roster.want(1);
        let monitor = runtime.monitor();
        let lwp = runtime.clone();
        let lwp = spawn(move || lwp.retire(1));
        runtime.turns.take();
        runtime.roster.want(2);
        let sent = runtime.roster.revive(1, &runtime.word);
        runtime.vigil.look_out();
        assert!(lwp.join().unwrap() != sent);
        (sent, monitor.join().unwrap() > 0)
    });
    assert_eq!(seen.len(), 4, "{seen:?}");
}
