//! The lives of a control block, and who visits it without having a reference: a visitor sees
//! one life, complete, or none, and none begins before all have done with the one before.

use std::sync::Arc;

use lisle_lwp::explore::{ALL, Turns, outcomes};
use lisle_lwp::lock::RawLock;
use lisle_lwp::shim::Ordering;
use loom::thread::spawn;

use crate::hold::{PINNED, RUNNABLE};
use crate::life::Identity;
use crate::tcb::{Kind, Tcb};

/// A control block, and the pool.
struct Pool {
    block: Tcb,
    /// How often it is in the list of free blocks.
    free: RawLock<u32>,
    turns: Turns,
}

impl Pool {
    fn new() -> Arc<Pool> {
        Arc::new(Pool {
            block: Tcb::blank(),
            free: RawLock::new(1),
            turns: Turns::new(),
        })
    }

    /// The block, for one step in any order with the others'.
    fn block(&self) -> &Tcb {
        self.turns.take();
        &self.block
    }

    /// A thread begins, if the block is free. All that tells of it says its number.
    fn begin(&self, id: u8) -> bool {
        let mut free = self.free.lock();
        if *free == 0 {
            return false;
        }
        *free -= 1;
        drop(free);
        assert_eq!(self.block.id.load(Ordering::Relaxed), 0);
        self.block().publish(Identity {
            kind: Kind::Light,
            priority: id,
            name: Some(id.to_string().into()),
            id: id.into(),
            parent: id.into(),
        });
        true
    }

    /// As `pool::release`.
    fn release(&self) {
        if self.block().release() {
            let mut free = self.free.lock();
            *free += 1;
            assert_eq!(*free, 1, "nobody took it, and it came back");
        }
    }

    /// As `pool::visit`, by who pins what it looks at. Returns whom it saw.
    fn visit(&self) -> Option<u64> {
        if !self.block().try_retain() {
            return None;
        }
        let id = self.look();
        let _ = self.block.ask_to_hold(PINNED);
        assert_eq!(self.look(), id, "another life");
        assert!(!self.block.let_go(PINNED));
        self.release();
        Some(id)
    }

    /// The caller has a reference.
    fn look(&self) -> u64 {
        let id = self.block.id.load(Ordering::Relaxed);
        assert_eq!(self.block.name(), Some(&*id.to_string()));
        assert_eq!(u64::from(self.block.priority.load(Ordering::Relaxed)), id);
        assert_eq!(self.block.parent.load(Ordering::Relaxed), id);
        id
    }

    /// All have gone: nobody has left anything.
    fn check(&self) {
        assert_eq!(self.block.suspension.load(Ordering::Relaxed), RUNNABLE);
        assert!(!self.block.try_retain());
        assert_eq!(*self.free.lock(), 1);
    }
}

/// A thread ends and another one begins in its block: a visitor sees the first one, the second
/// one, or nobody, and the second one does not begin while the first is looked at.
#[test]
fn refs_against_visit() {
    let seen = outcomes(ALL, || {
        let pool = Pool::new();
        assert!(pool.begin(1));
        let other = pool.clone();
        let visitor = spawn(move || other.visit());
        pool.release();
        let begun = pool.begin(2);
        if begun {
            assert_eq!(pool.look(), 2);
        }
        let saw = visitor.join().unwrap();
        if begun {
            pool.release();
        }
        pool.check();
        (begun, saw)
    });
    let expected = [
        (false, Some(1)),
        (true, None),
        (true, Some(1)),
        (true, Some(2)),
    ];
    assert_eq!(Vec::from_iter(seen), expected);
}

/// A block is used for the first time while somebody looks round.
#[test]
fn publish_against_visit() {
    let seen = outcomes(ALL, || {
        let pool = Pool::new();
        let other = pool.clone();
        let visitor = spawn(move || other.visit());
        assert!(pool.begin(1));
        pool.release();
        let saw = visitor.join().unwrap();
        pool.check();
        saw
    });
    assert_eq!(Vec::from_iter(seen), [None, Some(1)]);
}

/// Whichever goes last, the thread or one of two visitors, gives the block back, once.
#[test]
fn visit_against_visit() {
    let seen = outcomes(Some(3), || {
        let pool = Pool::new();
        assert!(pool.begin(1));
        let visitors = [pool.clone(), pool.clone()].map(|pool| spawn(move || pool.visit()));
        pool.release();
        let saw = visitors.map(|visitor| visitor.join().unwrap().is_some());
        assert!(pool.begin(2));
        pool.release();
        pool.check();
        saw
    });
    assert_eq!(seen.len(), 4);
}

/// A handle is cloned and given to another thread; what that does with it comes before the
/// next life.
#[test]
fn retain_against_release() {
    let seen = outcomes(ALL, || {
        let pool = Pool::new();
        assert!(pool.begin(1));
        pool.block.retain();
        let other = pool.clone();
        let holder = spawn(move || {
            assert_eq!(other.look(), 1);
            other.release();
        });
        pool.release();
        let begun = pool.begin(2);
        holder.join().unwrap();
        assert!(begun || pool.begin(2));
        pool.release();
        pool.check();
        begun
    });
    assert_eq!(seen.len(), 2);
}
