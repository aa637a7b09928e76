//! Any number of closures.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use lisle::sync::Semaphore;
use lisle::{channel, cobegin, thread};

use crate::everywhere;
use crate::support::watchdog;

#[test]
fn results_stand_in_the_order_of_the_closures() {
    let _dog = watchdog();
    everywhere(|| {
        for count in [0, 1, 2, 3, 7, 100] {
            let squares = cobegin((0..count).map(|n: u64| move || n * n));
            assert_eq!(squares, Vec::from_iter((0..count).map(|n| n * n)));
        }
        let array = cobegin([|| 1, || 2, || 3] as [fn() -> i32; 3]);
        assert_eq!(array, [1, 2, 3]);
        let slice: &[fn() -> i32] = &[|| 4, || 5];
        assert_eq!(cobegin(slice), [4, 5]);
        let boxes: Vec<Box<dyn FnOnce() -> String + Send>> =
            vec![Box::new(|| "a".into()), Box::new(|| "b".repeat(2))];
        assert_eq!(cobegin(boxes), ["a", "bb"]);
    });
}

#[test]
fn the_macro_takes_closures_of_all_types() {
    let _dog = watchdog();
    everywhere(|| {
        assert_eq!(cobegin!(|| 1), (1,));
        assert_eq!(cobegin!(|| 1, || "two"), (1, "two"));
        let mut counts = [0; 2];
        let (left, right) = counts.split_at_mut(1);
        let text = String::from("moved");
        let results = cobegin!(
            || left[0] += 1,
            move || text,
            || right[0] += 2,
            || None::<f64>,
            u8::default,
        );
        assert_eq!(results, ((), "moved".into(), (), None, 0));
        assert_eq!(counts, [1, 2]);
    });
}

#[test]
fn producers_and_consumers_may_wait_for_each_other() {
    let _dog = watchdog();
    everywhere(|| {
        let (sender, receiver) = channel::bounded(2);
        let (doubled, results) = channel::bounded(1);
        let ((), (), sum) = cobegin!(
            move || (0..200_u64).for_each(|n| sender.send(n).unwrap()),
            move || receiver.iter().for_each(|n| doubled.send(2 * n).unwrap()),
            move || results.iter().sum::<u64>(),
        );
        assert_eq!(sum, 39_800);
    });
}

#[test]
fn all_meet_at_a_barrier() {
    let _dog = watchdog();
    everywhere(|| {
        const COUNT: usize = 17;
        let (here, go) = (Semaphore::new(0), Semaphore::new(0));
        let passed = cobegin((0..COUNT).map(|n| {
            let (here, go) = (&here, &go);
            move || {
                here.v();
                if n == COUNT / 2 {
                    (0..COUNT).for_each(|_| here.p());
                    (0..COUNT).for_each(|_| go.v());
                }
                go.p();
                n
            }
        }));
        assert_eq!(passed, Vec::from_iter(0..COUNT));
    });
}

#[test]
fn the_first_panic_goes_on_when_all_have_ended() {
    let _dog = watchdog();
    everywhere(|| {
        let mut ended = [false; 16];
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            cobegin(ended.iter_mut().enumerate().map(|(n, ended)| {
                move || {
                    if n % 3 == 0 {
                        thread::yield_now();
                    }
                    *ended = true;
                    if n == 5 || n == 11 {
                        resume_unwind(Box::new(n));
                    }
                }
            }))
        }));
        assert_eq!(*outcome.unwrap_err().downcast::<usize>().unwrap(), 5);
        assert_eq!(ended, [true; 16]);
    });
}
