//! The readers-writer lock: exclusion, no lost wake-up, upgrades. What it guards is a
//! loom cell, so a reader beside a writer is a race.

use std::sync::Arc;

use lisle_lwp::explore::{model, outcomes, outcomes_within};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::unless_cancelled;
use crate::{
    Barrier, Fair, PreferReaders, PreferWriters, RwLock, RwLockPolicy, RwLockUpgradableGuard,
    RwLockWriteGuard,
};

fn lock<P>() -> Arc<RwLock<u32, P>> {
    Arc::new(RwLock::with_policy(0))
}

fn add_one<P: RwLockPolicy>(lock: &RwLock<u32, P>) {
    *lock.write().unwrap() += 1;
}

fn look<P: RwLockPolicy>(lock: &RwLock<u32, P>) -> u32 {
    *lock.read().unwrap()
}

#[test]
fn write_against_write() {
    model(Some(3), || {
        let lock = lock::<Fair>();
        let other = lock.clone();
        let thread = spawn(move || add_one(&other));
        add_one(&lock);
        thread.join().unwrap();
        assert_eq!(look(&lock), 2);
    });
}

#[test]
fn read_against_write() {
    let seen = outcomes(Some(3), || {
        let lock = lock::<Fair>();
        let other = lock.clone();
        let writer = spawn(move || add_one(&other));
        let seen = look(&lock);
        writer.join().unwrap();
        seen
    });
    assert_eq!(Vec::from_iter(seen), [0, 1]);
}

/// Two readers and a writer: the last reader lets the writer in.
fn readers_against_writer<P: RwLockPolicy>() {
    model(Some(2), || {
        let lock = lock::<P>();
        let (reader, writer) = (lock.clone(), lock.clone());
        let held = lock.read().unwrap();
        let writer = spawn(move || add_one(&writer));
        let reader = spawn(move || look(&reader));
        drop(held);
        writer.join().unwrap();
        assert!(reader.join().unwrap() <= 1);
        assert_eq!(look(&lock), 1);
    });
}

#[test]
fn last_reader_lets_the_writer_in() {
    readers_against_writer::<Fair>();
}

#[test]
fn last_reader_lets_the_writer_in_although_readers_go_first() {
    readers_against_writer::<PreferReaders>();
}

/// A writer lets both waiting readers in, one after the other.
fn writer_against_readers<P: RwLockPolicy>() {
    model(Some(2), || {
        let lock = lock::<P>();
        let mut held = lock.write().unwrap();
        let readers = [lock.clone(), lock.clone()].map(|lock| spawn(move || look(&lock)));
        *held += 1;
        drop(held);
        for reader in readers {
            assert_eq!(reader.join().unwrap(), 1);
        }
    });
}

#[test]
fn a_writer_lets_all_readers_in() {
    writer_against_readers::<Fair>();
}

#[test]
fn a_writer_lets_all_readers_in_although_writers_go_first() {
    writer_against_readers::<PreferWriters>();
}

/// The lock is released and taken again: who was woken comes first, or waits once more and is
/// woken once more.
fn newcomer_against_a_woken_writer<P: RwLockPolicy>() {
    let seen = outcomes(Some(3), || {
        let lock = lock::<P>();
        let first = lock.write().unwrap();
        let other = lock.clone();
        let note = |lock: &RwLock<u32, P>, digit| {
            let mut noted = lock.write().unwrap();
            *noted = *noted * 10 + digit;
        };
        let writer = spawn(move || note(&other, 1));
        drop(first);
        note(&lock, 2);
        writer.join().unwrap();
        look(&lock)
    });
    assert_eq!(Vec::from_iter(seen), [12, 21]);
}

#[test]
fn a_woken_writer_waits_again() {
    newcomer_against_a_woken_writer::<Fair>();
}

#[test]
fn a_woken_writer_waits_again_although_writers_go_first() {
    newcomer_against_a_woken_writer::<PreferWriters>();
}

/// As above, for a reader that was woken.
#[test]
fn a_woken_reader_waits_again() {
    let seen = outcomes(Some(3), || {
        let lock = lock::<Fair>();
        let first = lock.write().unwrap();
        let other = lock.clone();
        let reader = spawn(move || look(&other));
        drop(first);
        add_one(&lock);
        let seen = reader.join().unwrap();
        assert_eq!(look(&lock), 1);
        seen
    });
    assert_eq!(Vec::from_iter(seen), [0, 1]);
}

#[test]
fn downgrade_lets_readers_in() {
    let seen = outcomes(Some(3), || {
        let lock = lock::<Fair>();
        let other = lock.clone();
        let mut held = lock.write().unwrap();
        let reader = spawn(move || look(&other));
        *held = 7;
        let held = RwLockWriteGuard::downgrade(held);
        // While the lock is still held for reading.
        let seen = reader.join().unwrap();
        drop(held);
        seen
    });
    assert_eq!(Vec::from_iter(seen), [7]);
}

/// The upgrade waits for the reader, and the writer for the upgrade.
#[test]
fn upgrade_against_reader() {
    model(Some(3), || {
        let lock = lock::<Fair>();
        let other = lock.clone();
        let reader = spawn(move || look(&other));
        let held = lock.upgradable_read().unwrap();
        let before = *held;
        *RwLockUpgradableGuard::upgrade(held) += 1;
        assert_eq!(before, 0);
        assert!(reader.join().unwrap() <= 1);
        assert_eq!(look(&lock), 1);
    });
}

/// Who gives an upgrade up lets in the reader that it kept out.
#[test]
fn upgrade_given_up() {
    let seen = outcomes(Some(2), || {
        let lock = lock::<Fair>();
        let (first, second) = (lock.clone(), lock.clone());
        let first = spawn(move || look(&first));
        let held = lock.upgradable_read().unwrap();
        let second = spawn(move || look(&second));
        let upgraded = RwLockUpgradableGuard::upgrade_deadline(held, time::now());
        let upgraded = match upgraded {
            Ok(mut writer) => {
                *writer = 1;
                true
            }
            Err(_) => false,
        };
        let seen = first.join().unwrap() + second.join().unwrap();
        assert!(upgraded || seen == 0);
        upgraded
    });
    assert_eq!(seen.len(), 2);
}

/// As above, while the lock stays held for reading: nobody else lets it in.
#[test]
fn upgrade_given_up_beside_a_reader() {
    model(Some(3), || {
        let lock = lock::<Fair>();
        let other = lock.clone();
        let first = lock.read().unwrap();
        let held = lock.upgradable_read().unwrap();
        let second = spawn(move || look(&other));
        let late = RwLockUpgradableGuard::upgrade_deadline(held, time::now());
        assert!(late.is_err());
        assert_eq!(second.join().unwrap(), *first);
        drop((late, first));
    });
}

/// A writer that gives up lets in the reader behind it.
#[test]
fn writer_given_up() {
    let seen = outcomes(Some(2), || {
        let lock = lock::<Fair>();
        let (writer, reader) = (lock.clone(), lock.clone());
        let held = lock.read().unwrap();
        let writer = spawn(move || {
            let late = writer.write_deadline(time::now());
            late.map(|mut value| *value = 1).is_ok()
        });
        let reader = spawn(move || look(&reader));
        // The reader gets in while the lock is held for reading, or the writer has
        // been in before: that is what a wake-up lost here would prevent.
        let seen = reader.join().unwrap();
        drop(held);
        let written = writer.join().unwrap();
        assert_eq!(look(&lock), u32::from(written));
        seen
    });
    assert_eq!(Vec::from_iter(seen), [0]);
}

#[test]
fn fair_unlock_against_readers() {
    model(Some(2), || {
        let lock = lock::<Fair>();
        let other = lock.clone();
        let reader = spawn(move || look(&other));
        let mut held = lock.write().unwrap();
        *held += 1;
        RwLockWriteGuard::unlock_fair(held);
        assert!(reader.join().unwrap() <= 1);
        assert_eq!(look(&lock), 1);
    });
}

/// Two readers that wait for a writer come in beside each other: each stays until it
/// has met the other.
#[test]
fn a_woken_reader_wakes_the_next() {
    model(Some(2), || {
        let (lock, met) = (lock::<Fair>(), Arc::new(Barrier::new(2)));
        let held = lock.write().unwrap();
        let readers = [(); 2].map(|()| {
            let (lock, met) = (lock.clone(), met.clone());
            spawn(move || {
                let _reading = lock.read().unwrap();
                met.wait();
            })
        });
        drop(held);
        readers.into_iter().for_each(|t| t.join().unwrap());
    });
}

/// A writer that is cancelled, woken already or not, lets in the reader behind it.
#[test]
fn writer_against_cancel() {
    let seen = outcomes_within(2, || {
        let (lock, me) = (lock::<Fair>(), thread::current());
        let (holder, reader) = (lock.clone(), lock.clone());
        let holder = spawn(move || {
            drop(holder.write().unwrap());
            let mut held = holder.write().unwrap();
            me.cancel();
            *held += 1;
        });
        let reader = spawn(move || look(&reader));
        let written = unless_cancelled(|| {
            let written = lock.write_cancellable().map(|mut value| *value += 1);
            assert!(written.is_ok());
        });
        let most = 1 + u32::from(written.is_some());
        holder.join().unwrap();
        assert!(reader.join().unwrap() <= most);
        assert_eq!(look(&lock), most);
        written.is_some()
    });
    assert_eq!(seen.len(), 2);
}

/// An upgrade that is cancelled keeps nothing of what it held.
#[test]
fn upgrade_against_cancel() {
    let seen = outcomes_within(2, || {
        let (lock, me) = (lock::<Fair>(), thread::current());
        let holder = lock.clone();
        let holder = spawn(move || {
            let held = holder.read().unwrap();
            me.cancel();
            *held
        });
        let upgraded = unless_cancelled(|| {
            let held = lock.upgradable_read().unwrap();
            *RwLockUpgradableGuard::upgrade_cancellable(held) += 1;
        });
        let upgraded = u32::from(upgraded.is_some());
        assert!(holder.join().unwrap() <= upgraded);
        add_one(&lock);
        assert_eq!(look(&lock), upgraded + 1);
        upgraded
    });
    assert_eq!(Vec::from_iter(seen), [0, 1]);
}
