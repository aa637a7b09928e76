//! Searching, sleeping, submitting: no ready item while every LWP sleeps.
//!
//! An LWP here does what the idle context does, with one look before it sleeps.
//! Its window is a stub: a count of anonymous items, looked at with a relaxed
//! load, as weak as anything that may stand there. The injector is the real one.
//! Readiness is a count of events, which a look moves to the window, as a poll does: nobody is told
//! of one but the LWP in the poller's bed, or the next one there.
//! Each LWP ends with the first item it takes, as if that item never ended, so
//! an item that nobody is told of stays for ever, and the model deadlocks.

use std::sync::Arc;

use lisle_lwp::explore::outcomes;
use lisle_lwp::shim::{AtomicU32, Ordering};
use lisle_lwp::sleep::Sleeper;
use loom::thread::{JoinHandle, spawn};

use crate::model::new_block;
use crate::sched::queue::Injector;
use crate::sched::roster::Roster;
use crate::sched::sleepers::{Bed, Sleepers};

struct Lwps {
    sleepers: Sleepers,
    beds: Vec<Sleeper>,
    /// Who is in the poller's bed sleeps here.
    poller: Sleeper,
    /// What is ready, if there are sources of it.
    ready: Option<AtomicU32>,
    window: AtomicU32,
    injector: Injector,
    slept: AtomicU32,
    stopping: AtomicU32,
    roster: Roster,
}

impl Lwps {
    fn new(count: usize) -> Arc<Lwps> {
        Lwps::with_sources(count, false)
    }

    fn with_sources(count: usize, has_sources: bool) -> Arc<Lwps> {
        Arc::new(Lwps {
            sleepers: Sleepers::new(count),
            beds: (0..count).map(|_| Sleeper::new()).collect(),
            poller: Sleeper::new(),
            ready: has_sources.then(|| AtomicU32::new(0)),
            window: AtomicU32::new(0),
            injector: Injector::new(),
            slept: AtomicU32::new(0),
            stopping: AtomicU32::new(0),
            roster: Roster::new(count),
        })
    }

    fn wake(&self, bed: Bed) {
        self.place(bed).wake();
    }

    fn place(&self, bed: Bed) -> &Sleeper {
        match bed {
            Bed::Alone(lwp) => &self.beds[lwp],
            Bed::Poller(_) => &self.poller,
        }
    }

    fn announce(&self) {
        if let Some(bed) = self.sleepers.announce() {
            self.wake(bed);
        }
    }

    /// A submitter.
    fn submit(&self) {
        self.window.fetch_add(1, Ordering::Release);
        self.announce();
    }

    fn inject(&self) {
        self.injector.push(new_block());
        self.announce();
    }

    /// An event, which the poller tells of.
    fn event(&self) {
        let ready = self.ready.as_ref().expect("a source");
        ready.fetch_add(1, Ordering::Release);
        self.poller.wake();
    }

    /// A look at what is ready.
    fn poll(&self) {
        if let Some(ready) = &self.ready {
            let events = ready.swap(0, Ordering::Acquire);
            self.window.fetch_add(events, Ordering::Release);
        }
    }

    fn work_left(&self) -> bool {
        !self.injector.is_empty() || self.window.load(Ordering::Relaxed) > 0
    }

    fn look(&self) -> bool {
        self.poll();
        if self.injector.take_all(|_| ()) > 0 {
            return true;
        }
        let take = |items: u32| items.checked_sub(1);
        // Acquire: as thieves do.
        self.window
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, take)
            .is_ok()
    }

    /// An LWP is not wanted any more.
    fn dismiss(&self, lwp: usize) {
        self.roster.want(lwp);
        if let Some(bed) = self.sleepers.rouse_one(lwp) {
            self.wake(bed);
        }
    }

    /// As the end of the real `hunt`.
    fn stop_search(&self) {
        let last = self.sleepers.stop_search();
        let needs_another = || match self.ready {
            Some(_) => self.sleepers.needs_another(|| self.work_left()),
            // Nobody need wait for readiness, which leaves fewer steps to explore.
            None => self.work_left(),
        };
        if last && needs_another() {
            self.announce();
        }
    }

    /// An LWP without work, until it has found some. Returns `false` if the
    /// runtime stops, or the LWP is not wanted.
    fn hunt(&self, lwp: usize, poll: bool) -> bool {
        self.sleepers.start_search();
        loop {
            if !self.roster.wants(lwp) {
                self.stop_search();
                return false;
            }
            if self.look() {
                self.stop_search();
                return true;
            }
            if self.stopping.load(Ordering::Acquire) != 0 {
                let _ = self.sleepers.stop_search();
                return false;
            }
            self.sleep(lwp, poll);
        }
    }

    fn sleep(&self, lwp: usize, poll: bool) {
        let bed = self.sleepers.fall_asleep(lwp, poll);
        let stays = self.stopping.load(Ordering::Acquire) == 0 && self.roster.wants(lwp);
        if !self.work_left() && stays {
            self.slept.fetch_add(1, Ordering::Relaxed);
            self.place(bed).sleep(None);
        }
        let _ = self.sleepers.get_up(bed);
    }

    fn start(self: &Arc<Self>, lwp: usize, poll: bool) -> JoinHandle<bool> {
        let lwps = self.clone();
        spawn(move || lwps.hunt(lwp, poll))
    }

    /// All LWPs are busy: the counts say so. Returns whether anybody slept.
    fn check(&self) -> bool {
        assert!(!self.sleepers.any_idle() && !self.sleepers.would_wake());
        assert!(self.sleepers.rouse_any().is_none());
        assert!(!self.work_left());
        self.slept.load(Ordering::Relaxed) > 0
    }
}

#[test]
fn submit_against_fall_asleep() {
    for poll in [false, true] {
        let seen = outcomes(Some(6), move || {
            let lwps = Lwps::new(1);
            let lwp = lwps.start(0, poll);
            lwps.submit();
            assert!(lwp.join().unwrap());
            lwps.check()
        });
        assert_eq!(seen.len(), 2);
    }
}

#[test]
fn inject_against_fall_asleep() {
    let seen = outcomes(Some(6), || {
        let lwps = Lwps::new(1);
        let lwp = lwps.start(0, true);
        lwps.inject();
        assert!(lwp.join().unwrap());
        lwps.check()
    });
    assert_eq!(seen.len(), 2);
}

/// Two items, two LWPs. A submitter that saw somebody search woke nobody: the
/// searcher sees to it that both items find an LWP.
#[test]
fn last_searcher_wakes_next() {
    let seen = outcomes(Some(2), || {
        let lwps = Lwps::new(2);
        let threads = [lwps.start(0, true), lwps.start(1, true)];
        lwps.submit();
        lwps.submit();
        threads.into_iter().for_each(|t| assert!(t.join().unwrap()));
        lwps.check()
    });
    assert_eq!(seen.len(), 2);
}

/// Two submitters, one of which relies on the LWP that the other wakes.
#[test]
fn submit_against_submit() {
    let seen = outcomes(Some(2), || {
        let lwps = Lwps::new(2);
        let other = lwps.clone();
        let submitter = spawn(move || other.submit());
        let lwp = lwps.start(0, false);
        lwps.submit();
        assert!(lwps.hunt(1, false));
        assert!(lwp.join().unwrap());
        submitter.join().unwrap();
        lwps.check()
    });
    assert_eq!(seen.len(), 2);
}

/// Who waited for readiness is busy with the first event: another one gets to know of the
/// second, be it asleep already, falling asleep or about to look.
#[test]
fn event_against_fall_asleep() {
    let seen = outcomes(Some(2), || {
        let lwps = Lwps::with_sources(2, true);
        let threads = [lwps.start(0, true), lwps.start(1, true)];
        lwps.event();
        lwps.event();
        threads.into_iter().for_each(|t| assert!(t.join().unwrap()));
        lwps.check()
    });
    assert_eq!(seen.len(), 2);
}

/// Who waits for readiness is woken for what was submitted, or for the event.
#[test]
fn event_against_submit() {
    let seen = outcomes(Some(2), || {
        let lwps = Lwps::with_sources(2, true);
        let threads = [lwps.start(0, true), lwps.start(1, true)];
        lwps.submit();
        lwps.event();
        threads.into_iter().for_each(|t| assert!(t.join().unwrap()));
        lwps.check()
    });
    assert_eq!(seen.len(), 2);
}

/// Getting up by oneself and being woken at the same time is one getting up.
#[test]
fn rouse_against_get_up() {
    let seen = outcomes(Some(6), || {
        let lwps = Lwps::new(1);
        lwps.sleepers.start_search();
        let bed = lwps.sleepers.fall_asleep(0, true);
        assert!(!lwps.sleepers.poller_vacant());
        let other = lwps.clone();
        let submitter = spawn(move || other.sleepers.announce().is_some());
        let by_itself = lwps.sleepers.get_up(bed);
        let roused = submitter.join().unwrap();
        assert!(by_itself != roused);
        assert_eq!(lwps.sleepers.asleep(), 0);
        assert!(lwps.sleepers.poller_vacant());
        assert!(lwps.sleepers.stop_search(), "counted as searching once");
        lwps.check();
        roused
    });
    assert_eq!(seen.len(), 2);
}

/// An LWP that was woken for work retires instead: another one does the work.
#[test]
fn retire_against_submit() {
    let seen = outcomes(Some(2), || {
        let lwps = Lwps::new(2);
        let [stays, leaves] = [lwps.start(0, true), lwps.start(1, false)];
        let other = lwps.clone();
        let submitter = spawn(move || other.submit());
        lwps.dismiss(1);
        submitter.join().unwrap();
        let took = leaves.join().unwrap();
        if took {
            lwps.submit();
        }
        assert!(stays.join().unwrap());
        lwps.check();
        took
    });
    assert_eq!(seen.len(), 2);
}

/// An LWP that falls asleep while it is dismissed is told, or sees it itself.
#[test]
fn retire_against_fall_asleep() {
    outcomes(Some(4), || {
        let lwps = Lwps::new(2);
        let leaves = lwps.start(1, true);
        lwps.dismiss(1);
        assert!(!leaves.join().unwrap());
        lwps.check();
    });
}

/// A retiring LWP hands its threads to the injector while a thief is at its window.
#[test]
fn retire_against_steal() {
    let seen = outcomes(Some(4), || {
        let lwps = Lwps::new(2);
        lwps.window.fetch_add(1, Ordering::Release);
        let thief = lwps.start(0, true);
        let take = |items: u32| items.checked_sub(1);
        let handed_over = lwps
            .window
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, take)
            .is_ok();
        if handed_over {
            lwps.inject();
        }
        assert!(thief.join().unwrap());
        lwps.check();
        handed_over
    });
    assert_eq!(seen.len(), 2);
}

/// Shutting down: whoever sleeps is told.
#[test]
fn stop_against_fall_asleep() {
    outcomes(Some(3), || {
        let lwps = Lwps::new(2);
        let threads = [lwps.start(0, true), lwps.start(1, true)];
        lwps.stopping.store(1, Ordering::Release);
        while let Some(bed) = lwps.sleepers.rouse_any() {
            lwps.wake(bed);
        }
        threads
            .into_iter()
            .for_each(|t| assert!(!t.join().unwrap()));
        lwps.check();
    });
}
