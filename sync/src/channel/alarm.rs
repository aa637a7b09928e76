//! Wakes a task at an instant.
//!
//! A thread sleeps for it, one for a future that waits for a timer: it is set again only
//! if the instant changes, and cancelled with the future.
//!
//! *States*: set, while the waker is in its place; rung, or dropped, when it has been
//! taken out. Whoever takes it decides, under the lock: the sleeper wakes, or the owner
//! cancels the sleeper. So no cancel meets a waker at work, and no wake-up is lost: who
//! polls again either replaces the waker before it is taken, or finds that the alarm has
//! rung and sets another.

use core::task::Waker;
use std::time::Instant;

#[cfg(not(lisle_loom))]
pub(super) use self::real::Alarm;

#[cfg(not(lisle_loom))]
mod real {
    use super::*;
    use std::sync::Arc;

    use lisle_runtime::thread::{Builder, Thread};
    use lisle_runtime::time;
    use lisle_runtime::wait::Waiters;

    /// Rings at an instant, unless it is dropped before.
    #[derive(Debug)]
    pub(in super::super) struct Alarm {
        due: Instant,
        task: Arc<Waiters<Option<Waker>>>,
        sleeper: Thread,
    }

    impl Alarm {
        /// Sets an alarm, or changes whom it wakes. Where the system refuses the thread,
        /// it rings at once.
        pub(in super::super) fn set(alarm: &mut Option<Alarm>, due: Instant, waker: &Waker) {
            if let Some(set) = alarm.as_ref().filter(|set| set.due == due)
                && set.is_redirected(waker)
            {
                return;
            }
            let task = Arc::new(Waiters::new(Some(waker.clone())));
            let its_task = task.clone();
            let sleeper = Builder::new().spawn(move || {
                time::sleep_until(due);
                let waker = its_task.lock().take();
                // User code, outside the lock.
                if let Some(waker) = waker {
                    waker.wake();
                }
            });
            // What was set before is cancelled, outside the locks.
            *alarm = match sleeper {
                Ok(sleeper) => Some(Alarm {
                    due,
                    task,
                    sleeper: sleeper.thread().clone(),
                }),
                Err(_) => {
                    waker.wake_by_ref();
                    None
                }
            };
        }

        /// Has it wake this task. `false`: it has rung.
        fn is_redirected(&self, waker: &Waker) -> bool {
            let mut waker = Some(waker.clone());
            let mut task = self.task.lock();
            let waits = task.is_some();
            if waits {
                core::mem::swap(&mut *task, &mut waker);
            }
            // Dropping a waker is user code.
            drop(task);
            waits
        }
    }

    impl Drop for Alarm {
        fn drop(&mut self) {
            let task = self.task.lock().take();
            if task.is_some() {
                self.sleeper.cancel();
            }
        }
    }
}

/// Every instant has come in a model.
#[cfg(lisle_loom)]
#[derive(Debug)]
pub(super) struct Alarm;

#[cfg(lisle_loom)]
impl Alarm {
    pub(super) fn set(_: &mut Option<Alarm>, _: Instant, waker: &Waker) {
        waker.wake_by_ref();
    }
}
