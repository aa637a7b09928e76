//! The poller's sleeper: it sleeps over no deadline, and not without a period while an LWP is busy.
//!
//! The deadlines, the counts of who sleeps and what is known of the sleeper are the real ones. The poller is a
//! [`Sleeper`], whose token stands for the notifier's edge; time does not pass. A notification that is missing is a
//! deadlock.

use std::sync::Arc;
use std::time::Duration;

use lisle_lwp::explore::outcomes;
use lisle_lwp::sleep::Sleeper;
use loom::thread::spawn;

use crate::io::slumber::Slumber;
use crate::model::new_block;
use crate::sched::sleepers::Sleepers;
use crate::sched::timers::{NEVER, Timer, Timers};
use crate::wait::WaitKey;

struct Poller {
    slumber: Slumber,
    edge: Sleeper,
    sleepers: Sleepers,
    heaps: [Timers; 2],
    deadlines: Vec<Timer>,
}

// SAFETY: the nodes are touched under their heap's lock, as the models of `timers` check.
unsafe impl Sync for Poller {}
// SAFETY: as above.
unsafe impl Send for Poller {}

impl Poller {
    fn new(deadlines: &[u64]) -> Arc<Poller> {
        let timer = |deadline: &u64| Timer::new(*deadline, WaitKey::of(new_block(), 0));
        Arc::new(Poller {
            slumber: Slumber::new(),
            edge: Sleeper::new(),
            sleepers: Sleepers::new(2),
            heaps: [Timers::new(), Timers::new()],
            deadlines: deadlines.iter().map(timer).collect(),
        })
    }

    fn earliest(&self) -> u64 {
        let [one, other] = &self.heaps;
        one.earliest().min(other.earliest())
    }

    /// As `time::with_timer` does before its thread waits.
    fn set(&self, heap: usize, index: usize, deadline: u64) {
        // SAFETY: the nodes are in place until all threads have ended.
        let is_earliest = unsafe { self.heaps[heap].insert(&self.deadlines[index]) };
        if is_earliest && self.slumber.is_too_long_for(deadline) {
            self.edge.wake();
        }
    }

    /// As the idle context with `Reactor::wait`, again and again, until it sleeps until this deadline at the latest.
    /// Returns whether it slept until something else before.
    fn sleep_until(&self, deadline: u64) -> bool {
        let mut slept = false;
        loop {
            let (until, _) = self.slumber.begin(|| self.earliest(), || None);
            if until <= deadline {
                self.slumber.end();
                return slept;
            }
            slept = true;
            self.edge.sleep(None);
            self.slumber.end();
        }
    }

    /// As the idle context in a process without deadlines: it need not look round while both LWPs sleep. Returns
    /// whether it was so, and then it was told of the end of that.
    fn sleep_while_idle(&self) -> bool {
        let pause = || (self.sleepers.asleep() < 2).then_some(Duration::from_millis(10));
        let (until, pause) = self.slumber.begin(|| NEVER, pause);
        assert_eq!(until, NEVER);
        if pause.is_none() {
            self.edge.sleep(None);
        }
        self.slumber.end();
        pause.is_none()
    }
}

/// The only deadline is set while the poller's sleeper lies down.
#[test]
fn deadline_against_sleep() {
    let seen = outcomes(None, || {
        let poller = Poller::new(&[1]);
        let its = poller.clone();
        let sleeper = spawn(move || its.sleep_until(1));
        poller.set(0, 0, 1);
        sleeper.join().unwrap()
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// The sleeper knows of a deadline, and an earlier one is set, on the same LWP or another.
#[test]
fn earlier_deadline_against_sleep() {
    for heap in [0, 1] {
        let seen = outcomes(None, move || {
            let poller = Poller::new(&[2, 1]);
            poller.set(0, 0, 2);
            let its = poller.clone();
            let sleeper = spawn(move || its.sleep_until(1));
            poller.set(heap, 1, 1);
            sleeper.join().unwrap()
        });
        assert_eq!(Vec::from_iter(seen), [false, true]);
    }
}

/// Two are set at the same time. The setter of the later one relies on the other, whose thread goes at once.
#[test]
fn deadlines_against_sleep() {
    let seen = outcomes(Some(2), || {
        let poller = Poller::new(&[1, 2]);
        let its = poller.clone();
        let sleeper = spawn(move || its.sleep_until(2));
        let other = poller.clone();
        let passing = spawn(move || {
            other.set(0, 0, 1);
            other.heaps[0].remove(&other.deadlines[0]);
        });
        poller.set(0, 1, 2);
        passing.join().unwrap();
        sleeper.join().unwrap()
    });
    assert_eq!(Vec::from_iter(seen), [false, true]);
}

/// All sleep, and the other LWP gets up, for somebody's work or because it finds some after all: the sleeper looks
/// round from now on.
#[test]
fn work_against_long_sleep() {
    for roused in [true, false] {
        let seen = outcomes(None, move || {
            let poller = Poller::new(&[]);
            let sleepers = &poller.sleepers;
            (0..2).for_each(|_| sleepers.start_search());
            let bed = sleepers.fall_asleep(0, false);
            let _ = sleepers.fall_asleep(1, true);
            let its = poller.clone();
            let sleeper = spawn(move || its.sleep_while_idle());
            let gets_up = match roused {
                true => sleepers.announce() == Some(bed),
                false => sleepers.get_up(bed),
            };
            assert!(gets_up);
            if poller.slumber.end_if_long() {
                poller.edge.wake();
            }
            sleeper.join().unwrap()
        });
        assert_eq!(Vec::from_iter(seen), [false, true]);
    }
}
