//! Serializers: no guarantee that has become true is overlooked, whoever comes, leaves a
//! crowd or gives up meanwhile.

use std::sync::Arc;

use lisle_lwp::explore::{Data, model, outcomes, outcomes_within};
use lisle_runtime::thread::{self, spawn};
use lisle_runtime::time;

use super::unless_cancelled;
use crate::Serializer;

const QUEUE: usize = 0;
const READERS: usize = 0;
const WRITERS: usize = 1;

type Shared = Arc<Serializer<u32, 1, 2>>;

fn serializer() -> Shared {
    Arc::new(Serializer::new(0))
}

fn add(shared: &Shared) {
    *shared.enter() += 1;
}

fn take(shared: &Shared) {
    let mut items = shared.enter();
    items.enqueue(QUEUE, |items| **items > 0);
    *items -= 1;
}

fn take_unless_late(shared: &Shared) -> bool {
    let mut items = shared.enter();
    let there = items.enqueue_deadline(QUEUE, time::now(), |items| **items > 0);
    if there {
        *items -= 1;
    }
    there
}

fn write(shared: &Shared, data: &Data) {
    let mut resource = shared.enter();
    resource.enqueue(QUEUE, |resource| {
        resource.crowd_is_empty(READERS) && resource.crowd_is_empty(WRITERS)
    });
    resource.join_crowd(WRITERS, || data.add_one());
}

fn read(shared: &Shared, data: &Data) {
    let mut resource = shared.enter();
    resource.enqueue(QUEUE, |resource| resource.crowd_is_empty(WRITERS));
    resource.join_crowd(READERS, || data.get());
}

#[test]
fn release_against_guarantee() {
    model(Some(3), || {
        let shared = serializer();
        let other = shared.clone();
        let adder = spawn(move || add(&other));
        take(&shared);
        adder.join().unwrap();
        assert_eq!(*shared.enter(), 0);
    });
}

/// The writer's guarantee becomes true when the crowd is left.
#[test]
fn crowd_against_guarantee() {
    model(Some(2), || {
        let (shared, data) = (serializer(), Data::new());
        let (other, its_data) = (shared.clone(), data.clone());
        let writer = spawn(move || write(&other, &its_data));
        read(&shared, &data);
        write(&shared, &data);
        writer.join().unwrap();
        assert_eq!(data.get(), 2);
    });
}

#[test]
fn guarantee_against_timeout() {
    let seen = outcomes(Some(2), || {
        let shared = serializer();
        let other = shared.clone();
        let adder = spawn(move || add(&other));
        let taken = take_unless_late(&shared);
        adder.join().unwrap();
        assert_eq!(*shared.enter(), u32::from(!taken));
        taken
    });
    assert_eq!(seen.len(), 2);
}

/// The first of the queue gives up, and uncovers one whose guarantee is true.
#[test]
fn uncovered_when_the_first_timed_out() {
    let seen = outcomes(Some(1), || {
        let shared = serializer();
        *shared.enter() = 1;
        let (hasty, patient) = (shared.clone(), shared.clone());
        let hasty = spawn(move || {
            let mut items = hasty.enter();
            items.enqueue_deadline(QUEUE, time::now(), |items| **items > 1)
        });
        let patient = spawn(move || take(&patient));
        let early = hasty.join().unwrap();
        patient.join().unwrap();
        assert_eq!(*shared.enter(), 0);
        early
    });
    assert_eq!(Vec::from_iter(seen), [false]);
}

/// Who is cancelled in a queue has possession again, and gives it up while it unwinds.
#[test]
fn guarantee_against_cancel() {
    let seen = outcomes_within(1, || {
        let (shared, me) = (serializer(), thread::current());
        let other = shared.clone();
        let adder = spawn(move || add(&other));
        let canceller = spawn(move || me.cancel());
        let taken = unless_cancelled(|| take(&shared)).is_some();
        adder.join().unwrap();
        canceller.join().unwrap();
        assert_eq!(*shared.enter(), u32::from(!taken));
        taken
    });
    assert_eq!(seen.len(), 2);
}
